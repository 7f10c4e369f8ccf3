"""Importance of the two blocks: models whose answer is known, scikit-learn's permutations, the axioms of Shapley."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled_graphs
from pymatgen.core import Lattice, Structure
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from course_lib import interpret
from course_lib.graphs import CrystalGraphs
from course_lib.interpret import (
    attention_weights,
    block_errors,
    block_permutation_importance,
    shapley_values,
)
from course_lib.models import CGCNN, AttentionFusion, EarlyFusion, describe
from course_lib.training import CrystalRegressor, predict

BLOCKS = ["composition", "structure"]


@cache
def cubic(count: int, equal: bool = False) -> CrystalGraphs:
    """Cubic crystals of one atom, whose structure is one number, the lattice constant; the composition is another."""
    rng = np.random.default_rng(0)
    lattice, feature = rng.uniform(3, 6, count), rng.normal(size=count)
    structures = [Structure(Lattice.cubic(a), ["Po"], [[0, 0, 0]]) for a in lattice]
    graphs = CrystalGraphs.from_structures(structures, ids=[f"po-{k}" for k in range(count)])
    return graphs.with_features(signals(graphs)[1][:, None] if equal else feature[:, None])


def signals(graphs: CrystalGraphs) -> tuple[np.ndarray, np.ndarray]:
    """Return the two numbers of each crystal: composition and lattice constant (of one atom, its shortest bond)."""
    batch = graphs.batch(range(len(graphs)))
    first_bond = np.searchsorted(batch.bond_index[1].numpy(), np.arange(len(graphs)))
    lattice = np.minimum.reduceat(batch.bond_length.numpy(), first_bond)
    return graphs.features.astype(float).sum(1), lattice.astype(float)


def total(c: np.ndarray, s: np.ndarray) -> np.ndarray:
    return c + s


def model(function):
    """A model of two numbers that reads graphs."""
    return lambda graphs: pd.DataFrame({"y": function(*signals(graphs))}, index=graphs.names)


def labelled(function, graphs: CrystalGraphs) -> CrystalGraphs:
    """The graphs with what the function gives as their target: the model is perfect."""
    y = function(*signals(graphs)).astype(np.float32)
    return replace(graphs, y=y[:, None], target_names=("y",))


def mean_difference(values: np.ndarray) -> float:
    """Mean of |x_i - x_j| over all pairs of two."""
    return np.abs(values[:, None] - values).sum() / (len(values) * (len(values) - 1))


def errors_of(function, count: int = 24, n_repeats: int = 10, seed: int = 0, equal: bool = False) -> pd.DataFrame:
    return block_errors(model(function), labelled(function, cubic(count, equal)), n_repeats, seed)


def test_importance_in_an_additive_world_is_the_mean_difference():
    """y = 2 c + 3 s: without c the error is twice the mean distance between two compositions; likewise without s."""
    errors = errors_of(lambda c, s: 2 * c + 3 * s, n_repeats=150)
    composition, structure = signals(cubic(24))
    expected = [2 * mean_difference(composition), 3 * mean_difference(structure)]
    found = block_permutation_importance(errors)
    assert list(found.index) == BLOCKS
    assert found.index.name == "block"
    assert (np.abs(found["mean"] - expected) < 4 * found["std"] / np.sqrt(150) + 1e-6).all()
    assert (found["std"] > 0).all()
    assert errors["both"].max() < 1e-6
    both = 2 * composition + 3 * structure
    assert errors["neither"].mean() == pytest.approx(mean_difference(both), rel=0.05)


def test_importance_is_that_of_scikit_learn():
    """Theirs may give a crystal its own value back, one time in n."""

    class Additive(BaseEstimator):
        def fit(self, x, y):
            return self

        def predict(self, x):
            return 2 * x[:, 0] + 3 * x[:, 1]

    table = np.column_stack(signals(cubic(24)))
    theirs = permutation_importance(
        Additive(), table, Additive().predict(table), scoring="neg_mean_absolute_error", n_repeats=300, random_state=0
    )
    ours = block_permutation_importance(errors_of(lambda c, s: 2 * c + 3 * s, n_repeats=150))
    assert ours["mean"].to_numpy() == pytest.approx(theirs.importances_mean * 24 / 23, rel=0.05)
    assert ours["std"].to_numpy() == pytest.approx(theirs.importances_std, rel=0.3)


def test_values_of_a_product_that_needs_both():
    """y = c s with signs at random: one block alone is worth nothing, so each gets half of the whole."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(9):
        c, s, other_c, other_s = rng.choice([-1, 1], (4, 2000))
        pairs = {"both": (c, s), "composition": (c, other_s), "structure": (other_c, s), "neither": (other_c, other_s)}
        rows.append({known: np.abs(x * z - c * s).mean() for known, (x, z) in pairs.items()})
    errors = pd.DataFrame(rows)
    assert block_permutation_importance(errors)["mean"].to_numpy() == pytest.approx([1, 1], abs=0.05)
    assert shapley_values(errors)["mean"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.05)


def test_values_worked_out_by_hand():
    errors = pd.DataFrame(
        {"both": [1.0, 1.0], "composition": [4.0, 6.0], "structure": [2.0, 4.0], "neither": [10.0, 12.0]}
    )
    # Composition: first 10 - 4 and 12 - 6, second 2 - 1 and 4 - 1. Structure: first 8 and 8, second 3 and 5.
    shapley = shapley_values(errors)
    assert shapley["mean"].to_dict() == {"composition": (3.5 + 4.5) / 2, "structure": (5.5 + 6.5) / 2}
    assert shapley["std"].to_dict() == pytest.approx({"composition": 0.5**0.5, "structure": 0.5**0.5})
    importance = block_permutation_importance(errors)
    assert importance["mean"].to_dict() == {"composition": 2.0, "structure": 4.0}
    assert importance["std"].to_dict() == pytest.approx({"composition": 2**0.5, "structure": 2**0.5})


def test_values_add_up_to_the_whole_gain():
    errors = errors_of(lambda c, s: np.sin(3 * c) * s + c**2)
    total = shapley_values(errors)["mean"].sum()
    assert total == pytest.approx((errors["neither"] - errors["both"]).mean(), rel=1e-12)
    assert errors["both"].nunique() == 1


def test_what_enters_alike_counts_alike():
    errors = errors_of(lambda c, s: np.exp(c) + np.exp(s), equal=True)
    assert errors["composition"].mean() > 0.1
    for values in (block_permutation_importance(errors), shapley_values(errors)):
        assert values.loc["composition", "mean"] == pytest.approx(values.loc["structure", "mean"], rel=1e-6)


@pytest.mark.parametrize(
    ("ignored", "function"), [("composition", lambda c, s: 9 - s), ("structure", lambda c, s: 4 - c)]
)
def test_an_ignored_block_gets_exactly_nothing(ignored, function):
    graphs = labelled(total, cubic(24))  # the truth needs both, so the model errs
    errors = block_errors(model(function), graphs)
    used = next(block for block in BLOCKS if block != ignored)
    for values in (block_permutation_importance(errors), shapley_values(errors)):
        assert values.loc[ignored].to_list() == [0, 0]
        assert values.loc[used, "std"] > 0


def regressor(network) -> CrystalRegressor:
    model = CrystalRegressor(describe(network), [TARGET], {}, network=network)
    network.fit_preprocessing(torch.from_numpy(bundled_graphs(24).features))
    return model.eval()


def test_networks_and_forests_that_ignore_a_block():
    """To the last bit: the batches that the two errors come from are the same."""
    graphs = bundled_graphs(24)
    torch.manual_seed(0)
    plain, forest = regressor(CGCNN()), RandomForestRegressor(10, random_state=0)
    forest.fit(graphs.features, graphs.targets[:, 0])
    models = {
        "composition": lambda some: predict(plain, some),
        "structure": lambda some: pd.DataFrame({TARGET: forest.predict(some.features)}),
    }
    for ignored, function in models.items():
        errors = block_errors(function, graphs, n_repeats=3)
        for values in (block_permutation_importance(errors), shapley_values(errors)):
            assert values.loc[ignored].to_list() == [0, 0]
            assert values.drop(ignored)["mean"].abs().item() > 1e-6


def test_a_hybrid_network_uses_both_blocks():
    torch.manual_seed(0)
    fusion, graphs = regressor(EarlyFusion()), bundled_graphs(24)
    errors = block_errors(lambda some: predict(fusion, some), graphs, n_repeats=3)
    predictions = predict(fusion, graphs)[TARGET]
    assert errors["both"].iloc[0] == pytest.approx(np.abs(predictions - graphs.targets[:, 0]).mean(), rel=1e-6)
    assert (errors.nunique() == [1, 3, 3, 3]).all()


def test_every_crystal_gets_the_block_of_another_and_none_is_left_out():
    rng = np.random.default_rng(0)
    for count in (2, 3, 10):
        own = np.arange(count)
        for _ in range(20):
            other = interpret._others(count, rng)
            assert (other != own).all()
            np.testing.assert_array_equal(np.sort(other), own)
    draws = np.array([interpret._others(5, rng) for _ in range(4000)])
    shares = [(draws[:, 0] == k).mean() for k in range(5)]
    assert shares == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.03)


def test_a_seed_repeats():
    first = errors_of(total, seed=1)
    pd.testing.assert_frame_equal(errors_of(total, seed=1), first)
    assert (errors_of(total, seed=2)["neither"] != first["neither"]).all()
    assert list(first.columns) == ["both", "composition", "structure", "neither"]
    assert len(first) == 10
    assert first.index.name == "repeat"


def test_a_view_and_a_target_among_several():
    """What the graphs hold beside the view plays no part, and a model may predict more than is asked."""
    both = np.column_stack([np.arange(30), signals(cubic(30))[0]]).astype(np.float32)
    graphs = replace(cubic(30), y=both, target_names=("other", "y"))

    def predict_both(some):
        return pd.DataFrame({"other": 0.0, "y": np.multiply(*signals(some))})

    view = graphs.select_targets(["y"]).subset(np.arange(0, 30, 2))
    alone = view.with_features(view.features)
    assert len(alone.ids) == 15
    pd.testing.assert_frame_equal(block_errors(predict_both, view), block_errors(predict_both, alone))


def test_bad_input():
    graphs = labelled(total, cubic(24))
    with pytest.raises(ValueError, match=r"the graphs have 0 targets \(none\). Choose one: graphs.select_targets"):
        block_errors(model(total), cubic(24))
    with pytest.raises(ValueError, match="the number of crystals is 1; it must be at least 2"):
        block_errors(model(total), graphs.subset([0]))
    with pytest.raises(ValueError, match="n_repeats is 1; it must be at least 2"):
        block_errors(model(total), graphs, n_repeats=1)
    with pytest.raises(ValueError, match=r"n_repeats is 2\.5, not a whole number"):
        block_errors(model(total), graphs, n_repeats=2.5)
    for seed in (-1, True, None):
        with pytest.raises(ValueError, match=f"seed is {seed}"):
            block_errors(model(total), graphs, seed=seed)
    with pytest.raises(ValueError, match="predict returned the columns gap; none is the target 'y'"):
        block_errors(lambda some: pd.DataFrame({"gap": signals(some)[0]}), graphs)
    for wrong, message in (
        (lambda some: model(total)(some)[:1], "predictions has 1, crystals has 24"),
        (lambda some: model(total)(some).sort_index(), "meets .* in predictions"),
        (lambda some: model(total)(some) * np.nan, "prediction: row 0 .* is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            block_errors(wrong, graphs)
    with pytest.raises(TypeError, match="predict returned something of type Series, not a DataFrame"):
        block_errors(lambda some: model(total)(some)["y"], graphs)
    graphs.y[3] = np.nan
    with pytest.raises(ValueError, match=r"target: row 3 \(id 'po-3'\) is nan"):
        block_errors(model(total), graphs)


# Attention


def test_attention_weights_of_all_crystals(monkeypatch):
    torch.manual_seed(0)
    fusion, graphs = regressor(AttentionFusion()), bundled_graphs(24).subset(np.arange(24)[::-1])
    expected = fusion.network.views_and_weights(graphs.batch(range(24)))[1].detach()
    monkeypatch.setattr(interpret, "_BATCH", 7)
    weights = attention_weights(fusion.train(), graphs)
    assert weights.index.tolist() == graphs.names.tolist()
    assert weights.index.name == "id"
    assert list(weights.columns) == BLOCKS
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights["structure"].nunique() > 12
    assert attention_weights(fusion, graphs.subset([])).shape == (0, 2)


def test_the_columns_name_the_views():
    fusion = regressor(AttentionFusion())
    with torch.no_grad():
        fusion.network.scores[0].bias.fill_(1e4)
    assert (attention_weights(fusion, bundled_graphs(24))["composition"] == 1).all()


def test_only_attention_fusion_has_attention_weights():
    with pytest.raises(TypeError, match="the network is a CGCNN; only AttentionFusion"):
        attention_weights(regressor(CGCNN()), bundled_graphs(24))
