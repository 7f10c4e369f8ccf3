"""Attribution to blocks: what the composition and the structure contribute to a fitted hybrid.

Two answers, both in the unit of the target and both made of the same four errors, which `block_errors` measures:
`block_permutation_importance` says how much worse the model gets when it loses one block, and `shapley_values` shares
the whole gain between the two. `attention_weights` reads what an attention network itself reports.

The *composition* block is the row of composition features, the *structure* block is the crystal graph. The graph also
holds the elements. So some information is in both blocks, and a model may take it from either.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from course_lib.graphs import CrystalGraphs
from course_lib.models import AttentionFusion
from course_lib.training import CrystalRegressor
from course_lib.validation import check_number, check_same_length, check_same_order, check_seed, check_targets

_BATCH = 512  # crystals; the result does not depend on it


def block_errors(
    predict: Callable[[CrystalGraphs], pd.DataFrame], graphs: CrystalGraphs, n_repeats: int = 10, seed: int = 0
) -> pd.DataFrame:
    """Measure the error of a model that is given both blocks of a crystal, only one, or neither.

    A block is taken away by giving each crystal that of another one, drawn at random. So the model still sees numbers
    of the kind that it knows, and both blocks are treated equally. It sees pairs that no crystal has (Hooker, Mentch
    and Zhou, Statistics and Computing 31, 82 (2021), https://arxiv.org/abs/1905.03151); with neither block, both are
    those of the same other crystal.

    Parameters
    ----------
    predict : callable
        Takes graphs and returns a DataFrame of predictions, one row per crystal in the graphs' order, with a column
        named as the target: ``lambda graphs: training.predict(model, graphs)``, or any model or blend that reads graphs
        and their composition features.
    graphs : CrystalGraphs
        Labelled crystals that the model was not trained on, with one target.
    n_repeats : int, default 10
        How often the other crystals are drawn, at least 2.
    seed : int, default 0
        Seed of the random draws.

    Returns
    -------
    DataFrame, shape (n_repeats, 4)
        Mean absolute error in the target's unit; the columns say which block is the crystal's own: ``both`` (the same
        in every row), ``composition``, ``structure`` or ``neither``.

    Raises
    ------
    ValueError
        If there are fewer than two crystals or repeats, not exactly one target or a label is missing, or the
        predictions have no column of the target's name, are not those of the graphs in their order, or not finite.
    """
    target = _only_target(graphs)
    check_number("the number of crystals", len(graphs), least=2)
    check_number("n_repeats", n_repeats, whole=True, least=2)
    check_seed(seed)

    def error(structure_of: np.ndarray, composition_of: np.ndarray) -> float:
        mixed = graphs.subset(structure_of).with_features(graphs.features[composition_of])
        return float(np.abs(_column(predict(mixed), target, mixed) - graphs.targets[:, 0]).mean())

    rng = np.random.default_rng(seed)
    own = np.arange(len(graphs))
    both = error(own, own)
    rows = []
    for _ in range(n_repeats):
        other = _others(len(graphs), rng)
        rows.append((both, error(other, own), error(own, other), error(other, other)))
    return pd.DataFrame(rows, columns=["both", "composition", "structure", "neither"]).rename_axis("repeat")


def block_permutation_importance(errors: pd.DataFrame) -> pd.DataFrame:
    r"""Return how much the error grows when a block is that of another crystal.

    .. math:: I_c = v(s) - v(c, s), \qquad I_s = v(c) - v(c, s)

    with the error :math:`v` of a model that has the composition c, the structure s or both. Breiman, Machine Learning
    45, 5 (2001); for any model: Fisher, Rudin and Dominici, JMLR 20, 177 (2019). Information that is in both blocks
    counts for neither, because the other block makes up for it.

    Parameters
    ----------
    errors : DataFrame
        As from `block_errors`.

    Returns
    -------
    DataFrame
        Indexed by ``block``, ``"composition"`` and ``"structure"``; ``mean`` and ``std`` (standard deviation) over the
        repeats, in the target's unit.
    """
    return _summary(
        composition=errors["structure"] - errors["both"],
        structure=errors["composition"] - errors["both"],
    )


def shapley_values(errors: pd.DataFrame) -> pd.DataFrame:
    r"""Return the share of each block in what the model gains from both: their Shapley values.

    .. math::

        \phi_c = \tfrac12 \bigl[ v(\varnothing) - v(c) \bigr] + \tfrac12 \bigl[ v(s) - v(c, s) \bigr], \qquad
        \phi_c + \phi_s = v(\varnothing) - v(c, s)

    and :math:`\phi_s` likewise, with the error :math:`v` of a model that has the composition c, the structure s, both
    or neither. A block's value is the mean of its contributions as the first and as the second block, so information
    that is in both blocks is shared equally. With two players that is the exact value; only the errors themselves are
    estimates. Shapley, "A value for n-person games" (1953); of a model's error: Covert, Lundberg and Lee, NeurIPS
    (2020), https://arxiv.org/abs/2004.00668.

    Parameters
    ----------
    errors : DataFrame
        As from `block_errors`.

    Returns
    -------
    DataFrame
        Indexed by ``block``, ``"composition"`` and ``"structure"``; ``mean`` and ``std`` (standard deviation) over the
        repeats, in the target's unit. The means add up to the mean of ``neither`` minus ``both``.
    """
    first = {block: errors["neither"] - errors[block] for block in ("composition", "structure")}
    return _summary(
        composition=(first["composition"] + errors["structure"] - errors["both"]) / 2,
        structure=(first["structure"] + errors["composition"] - errors["both"]) / 2,
    )


def attention_weights(model: CrystalRegressor, graphs: CrystalGraphs) -> pd.DataFrame:
    """Return the two weights that an attention network gives to each crystal.

    Parameters
    ----------
    model : CrystalRegressor
        A fitted `course_lib.models.AttentionFusion`, from ``fit(...).model`` or `course_lib.training.load`.
    graphs : CrystalGraphs
        The crystals.

    Returns
    -------
    DataFrame, shape (len(graphs), 2)
        Indexed by crystal id; columns ``composition`` and ``structure``, whose sum is 1.

    Raises
    ------
    TypeError
        If the model holds another network.
    """
    network = model.eval().network
    if not isinstance(network, AttentionFusion):
        raise TypeError(f"the network is a {type(network).__name__}; only AttentionFusion has attention weights.")
    weights = np.zeros((len(graphs), 2), np.float32)
    with torch.inference_mode():
        for start in range(0, len(graphs), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(graphs)))
            weights[rows] = network.views_and_weights(graphs.batch(rows).to(model.device))[1].cpu().numpy()
    return pd.DataFrame(weights, index=pd.Index(graphs.names, name="id"), columns=["composition", "structure"])


def _others(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return another crystal for each of `count`, none twice: the next one in a random circle."""
    circle = rng.permutation(count)
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)
    return other


def _summary(**by_block: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(by_block).agg(["mean", "std"]).T.rename_axis("block")


def _only_target(graphs: CrystalGraphs) -> str:
    """Return the name of the target; raise ``ValueError`` unless there is one, with a label for every crystal."""
    if len(graphs.target_names) != 1:
        raise ValueError(
            f"the graphs have {len(graphs.target_names)} targets ({', '.join(graphs.target_names) or 'none'}). "
            "Choose one: graphs.select_targets([name])."
        )
    check_targets(graphs.targets, "target", graphs.names)
    return graphs.target_names[0]


def _column(predictions: pd.DataFrame, target: str, graphs: CrystalGraphs) -> np.ndarray:
    if not isinstance(predictions, pd.DataFrame):
        raise TypeError(f"predict returned something of type {type(predictions).__name__}, not a DataFrame.")
    if target not in predictions:
        columns = ", ".join(map(str, predictions))
        raise ValueError(f"predict returned the columns {columns}; none is the target {target!r}.")
    check_same_length(predictions=predictions, crystals=graphs)
    if not isinstance(predictions.index, pd.RangeIndex):  # numbers of rows may look like ids
        check_same_order("predictions", predictions.index, graphs.names)
    check_targets(predictions[target].to_numpy(), "prediction", graphs.names)
    return predictions[target].to_numpy(dtype=float)
