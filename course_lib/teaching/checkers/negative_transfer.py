"""Exercise 7: whether sharing has done harm, and what helps against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from course_lib.teaching.checkers.declarative import Found, Function, Judge, asks, instead, numbers, one_number
from course_lib.teaching.checkers.feedback import Hint, call, checker, close

if TYPE_CHECKING:
    from torch import Tensor, nn

    from course_lib.graphs import CrystalGraphs

# --- one run --------------------------------------------------------------------------------------------------------


def _contradictions(d: np.ndarray) -> float:
    return float((np.sign(d) != np.sign(d.mean())).mean())


_SHARES = (
    ("That is the share that *agrees* with the mean. Return the share of the others.",
     lambda d: (np.sign(d) == np.sign(d.mean())).mean()),
    ("You count them. The share is their number divided by the number of all pairs.",
     lambda d: (np.sign(d) != np.sign(d.mean())).sum()),
    ("You compare all pairs of training runs with the first one. That is just another single pair: compare with the "
     "mean over all.",
     lambda d: (np.sign(d) != np.sign(d.flat[0])).mean()),
    ("You averaged the seeds of each fold first. Somebody with time for one pair of training runs has no mean over "
     "seeds: look at every pair separately.", lambda d: (np.sign(d.mean(axis=1)) != np.sign(d.mean())).mean()),
    ("That is the share in which sharing was worse. Where the mean itself is above zero, these are the ones that "
     "*agree* with it.", lambda d: (d > 0).mean()),
    ("That is the share in which sharing was better. Where the mean itself is below zero, these are the ones that "
     "*agree* with it.", lambda d: (d < 0).mean()),
    ("You take the side of the majority. A few large differences can put the mean on the other side: compare with "
     "the sign of the *mean*.", lambda d: min((d > 0).mean(), (d < 0).mean())),
    ("You count the pairs below the mean. A pair contradicts it when it lies on the other side of *zero*.",
     lambda d: (d < d.mean()).mean()),
    ("You count what is far from the mean. A pair contradicts it when it lies on the other side of *zero*.",
     lambda d: (np.abs(d - d.mean()) > d.std()).mean()),
)  # fmt: skip

_DIFFERENCES = tuple(
    np.array(table)
    for table in (
        [[-0.01, 0.02, 0.03], [0.01, 0.04, -0.06], [0.02, 0.01, 0.06], [-0.01, 0.03, 0.02]],
        [[0.01, -0.03], [-0.02, -0.04], [-0.01, 0.005], [-0.03, 0.02], [0.01, -0.02]],
        [[0.09, 0.08], [-0.01, -0.01], [-0.01, -0.02], [-0.02, -0.01]],
    )
)


def _about_one_share(found: Found) -> str:
    (differences,), value, _ = found.first()
    return (
        f"For the differences {differences.tolist()}, with mean {differences.mean():.4f}, yours gives {value:.3f}. How "
        f"many of these {differences.size} numbers have a different sign from the mean?"
    )


check_contradictions = asks(
    Function(
        "share_of_contradictions",
        _contradictions,
        [(probe,) for probe in _DIFFERENCES],
        _SHARES,
        _about_one_share,
    ),
    shows="This is how often somebody with time for a single pair of training runs would have reported the opposite of "
    "what the mean says.",
)

# --- many runs ------------------------------------------------------------------------------------------------------


def _paired(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the error with sharing minus that alone: one row per fold, one column per seed."""
    errors = runs.pivot(index=["fold", "seed"], columns="method", values="mae")
    return (errors["shared"] - errors["alone"]).unstack("seed")


def _summary(differences: np.ndarray, level: float = 0.95) -> np.ndarray:
    from course_lib.experiments.analysis import corrected_interval

    differences = np.asarray(differences, dtype=float)
    return np.array([differences.mean(), *corrected_interval(differences, level)])


def _with_half_width(values: np.ndarray, half: float) -> np.ndarray:
    return np.array([values.mean(), values.mean() - half, values.mean() + half])


def _t_interval(differences: np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=float)
    return _with_half_width(values, stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def _normal_interval(differences: np.ndarray, factor: float) -> np.ndarray:
    values = np.asarray(differences, dtype=float)
    return _with_half_width(values, factor * values.std(ddof=1) * np.sqrt(1 / len(values) + 1 / (len(values) - 1)))


def _transfer(runs: pd.DataFrame) -> np.ndarray:
    return _summary(_paired(runs).mean(axis=1))


def _by_method(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return runs[runs["method"] == "shared"], runs[runs["method"] == "alone"]


def _by_position(runs: pd.DataFrame) -> np.ndarray:
    shared, alone = _by_method(runs)
    differences = pd.Series(shared["mae"].to_numpy() - alone["mae"].to_numpy())
    return _summary(differences.groupby(shared["fold"].to_numpy()).mean())


def _unpaired(runs: pd.DataFrame) -> np.ndarray:
    """Return the interval from the spread of the errors of the two methods, instead of that of their differences."""
    of_fold = [part.groupby("fold")["mae"].mean() for part in _by_method(runs)]
    k = len(of_fold[0])
    scale = np.sqrt(sum(errors.var() for errors in of_fold) * (1 / k + 1 / (k - 1)))
    mean = of_fold[0].mean() - of_fold[1].mean()
    half = stats.t.ppf(0.975, k - 1) * scale
    return np.array([mean, mean - half, mean + half])


def _turned(function: Callable[[pd.DataFrame], np.ndarray]) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda runs: -function(runs)[[0, 2, 1]]


_TRANSFERS = (
    ("Your difference is the error alone minus the error with sharing. Positive should mean that sharing is *worse*: "
     "which of the two errors do you subtract?", _turned(_transfer)),
    ("The two ends of your interval are swapped: low first, then high.", lambda runs: _transfer(runs)[[0, 2, 1]]),
    ("You subtracted row by row, in whatever order the rows are. Row 1 of one method has a different fold and seed "
     "from row 1 of the other. Join them by `fold` and `seed`, for example with `pivot`.", _by_position),
    ("You gave every training run to `corrected_interval`, as if each were a fold of its own. Runs with different "
     "seeds share all their crystals. Average the seeds of a fold first; then there are as many numbers as folds.",
     lambda runs: _summary(_paired(runs).to_numpy().ravel())),
    ("You treated every training run as independent, and used the plain interval of a mean. Seeds share all their "
     "crystals, folds share most of them. Average the seeds first; then `corrected_interval` accounts for the rest.",
     lambda runs: _t_interval(_paired(runs).to_numpy().ravel())),
    ("Paired and averaged as it should be. But yours is the plain interval of a mean, with s over the root of k. The "
     "folds share training crystals, so it is too narrow. Which function of the library widens it?",
     lambda runs: _t_interval(_paired(runs).mean(axis=1))),
    ("The interval comes from the spread of the *errors*. A fold that is hard for one network is hard for the other, "
     "too, and that cancels if you subtract first, fold by fold and seed by seed, and average afterwards.",
     _unpaired),
    ("You used only one seed. All seeds of a fold count: take their mean.", lambda runs: _summary(_paired(runs)[0])),
    ("Right as shares of the error alone. Give the difference itself, in eV/atom.",
     lambda runs: _transfer(runs) / runs.loc[runs["method"] == "alone", "mae"].mean()),
    ("These are the right numbers in the wrong order. Return the mean, then the low end, then the high end.",
     *(lambda runs, order=order: _transfer(runs)[list(order)] for order in permutations(range(3)) if order[0] != 0)),
    ("Paired, averaged and corrected as it should be. But you used 1.96, or 2, which is for many folds. With few the "
     "factor is that of Student's t, larger; `corrected_interval` takes it.",
     lambda runs: _normal_interval(_paired(runs).mean(axis=1), 1.96),
     lambda runs: _normal_interval(_paired(runs).mean(axis=1), 2)),
)  # fmt: skip


def _made_up_runs(effect: float, seed: int, n_folds: int = 5, n_seeds: int = 3) -> pd.DataFrame:
    """Return runs whose folds differ in how hard they are; the rows are in no order."""
    rng = np.random.default_rng(seed)
    rows = []
    for fold, hard in enumerate(rng.normal(0.4, 0.05, n_folds)):
        for method, more in (("alone", 0.0), ("shared", effect + rng.normal(0, 0.008))):
            rows += [(method, fold, start, hard + more + rng.normal(0, 0.01)) for start in range(n_seeds)]
    runs = pd.DataFrame(rows, columns=["method", "fold", "seed", "mae"])
    return runs.sample(frac=1, random_state=seed, ignore_index=True)


def _level(probes: Sequence[tuple[pd.DataFrame]], widths: list[float]) -> float | None:
    """Return the level of intervals that are this many times as wide as those of 95 %; None where no level fits."""
    degrees = [runs["fold"].nunique() - 1 for (runs,) in probes]
    level = 2 * stats.t.cdf(widths[0] * stats.t.ppf(0.975, degrees[0]), degrees[0]) - 1
    expected = [stats.t.ppf((1 + level) / 2, d) / stats.t.ppf(0.975, d) for d in degrees]
    return level if close(widths, expected, rtol=1e-4) else None


def _about_the_transfer(found: Found) -> str:
    probes, values, right = found
    if all(close(value[0], wanted[0]) for value, wanted in zip(values, right, strict=True)):
        widths = [np.ptp(value[1:]) / np.ptp(wanted[1:]) for value, wanted in zip(values, right, strict=True)]
        if level := _level(probes, widths):
            return (
                f"Paired, averaged and corrected as it should be. But your interval has a level of {100 * level:.4g} "
                "%; for 95 %, `corrected_interval` needs no level."
            )
        wide = widths[0]
        look = (
            "Are the two errors that you subtract of the same fold *and* the same seed? The rows are in any order."
            if wide > 1
            else "Give `corrected_interval` one difference for each fold, the mean over its seeds."
        )
        return f"The mean is right, the interval is not: yours is {wide:.2f} times as wide. {look}"
    return (
        f"For made-up runs the mean difference is {right[0][0]:.4f}; yours is {values[0][0]:.4f}. For each fold and "
        "seed, subtract the error alone from the error with sharing; then average."
    )


_HARM, _GAIN, _NEITHER = "harm shown", "gain shown", "neither shown"
# mean, low, high
_INTERVALS = ((0.03, 0.01, 0.05), (-0.03, -0.05, -0.01), (0.01, -0.01, 0.03), (-0.01, -0.03, 0.01))


def _verdict(mean: float, low: float, high: float) -> str:
    return _HARM if low > 0 else _GAIN if high < 0 else _NEITHER


_MISTAKEN_VERDICTS = (
    ("Your verdict is the sign of the mean. A mean is never exactly zero, so this always shows something. What does "
     "the interval say about zero?", lambda mean, low, high: _HARM if mean > 0 else _GAIN),
    ("Harm and gain are swapped: the difference is the error with sharing minus the error alone. What does it mean if "
     "the whole interval is above zero?",
     lambda mean, low, high: _GAIN if low > 0 else _HARM if high < 0 else _NEITHER),
    ("You look at the wrong end of the interval. For harm *every* value in the interval must be above "
     "zero: which end decides that?", lambda mean, low, high: _HARM if high > 0 else _GAIN),
    ("An interval that starts below zero may still reach above it. For a gain *every* value in it must be below zero: "
     "which end decides that?", lambda mean, low, high: _GAIN if low < 0 else _HARM),
    ("Yours never shows anything. What does an interval look like that lies wholly on one side of zero?",
     lambda mean, low, high: _NEITHER),
)  # fmt: skip


def _one_of_three(returned: object, shown: str) -> np.ndarray:
    """Read a verdict as 1, -1 or 0."""
    codes = {_HARM: 1, _GAIN: -1, _NEITHER: 0}
    if not isinstance(returned, str) or returned not in codes:
        raise Hint(
            'The verdict is one of three texts: "harm shown", "gain shown" and "neither shown". The third says only '
            "that nothing is shown. It does not say that there is no effect."
        )
    return np.array(float(codes[returned]))


def _about_one_verdict(found: Found) -> str:
    (mean, low, high), value, _ = found.first()
    return (
        f"For a mean of {mean} with the interval from {low} to {high} your verdict is "
        f"{(_NEITHER, _HARM, _GAIN)[int(value)]!r}. On which side of zero does the interval lie: above, below, or on "
        "both?"
    )


check_transfer = asks(
    Function(
        "transfer",
        _transfer,
        lambda: [(_made_up_runs(0.03, seed=1),), (_made_up_runs(-0.02, seed=2, n_folds=4, n_seeds=2),)],
        _TRANSFERS,
        _about_the_transfer,
        read=numbers(3),
    ),
    Function("verdict", _verdict, _INTERVALS, _MISTAKEN_VERDICTS, _about_one_verdict, read=_one_of_three),
    shows="Paired by fold and seed, seeds averaged, folds corrected. A verdict needs the whole interval on one side.",
)


# --- partners -------------------------------------------------------------------------------------------------------


def _each_without_gaps(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    n = min(len(first), len(second))
    return abs(stats.spearmanr(first[:n], second[:n]).statistic)


def _on_known(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the measure on the rows in which neither value is missing."""

    def measured(first: np.ndarray, second: np.ndarray) -> float:
        known = ~(np.isnan(first) | np.isnan(second))
        return measure(first[known], second[known])

    return measured


_related = _on_known(lambda x, y: abs(stats.spearmanr(x, y).statistic))

_RELATIONS = (
    ("You kept the sign. A head can change the sign with one weight, so −0.9 is as close a relation as 0.9. What "
     "does the *size* say?", _on_known(lambda x, y: stats.spearmanr(x, y).statistic)),
    ("That is the size of Pearson's correlation: how well a *straight line* joins the two. Correlate the ranks: "
     "`scipy.stats.spearmanr`, or Pearson's correlation of the ranks.",
     _on_known(lambda x, y: abs(np.corrcoef(x, y)[0, 1]))),
    ("That is Pearson's correlation, with its sign. Change two things: use the ranks, and take the absolute value.",
     _on_known(lambda x, y: np.corrcoef(x, y)[0, 1])),
    ("You squared the correlation. That removes the sign, too, but 0.5 becomes 0.25. Take the absolute value.",
     _on_known(lambda x, y: stats.spearmanr(x, y).statistic ** 2)),
    ("You returned the p-value: how surprising such a correlation would be without any relation. Its size is in "
     "`.statistic`.", _on_known(lambda x, y: stats.spearmanr(x, y).pvalue)),
    ("That is Kendall's rank correlation. It would do as well, but use Spearman's.",
     _on_known(lambda x, y: abs(stats.kendalltau(x, y).statistic))),
)  # fmt: skip

_MISSING = (
    ("You dropped the missing values of each column separately. After that, row 5 of one is no longer the same crystal "
     "as row 5 of the other. Keep a row only if *both* values exist.", _each_without_gaps),
    ("You took a missing value for a zero. Leave out the crystals that lack one of the two values.",
     lambda x, y: abs(stats.spearmanr(np.nan_to_num(x), np.nan_to_num(y)).statistic)),
)  # fmt: skip


def _made_up_labels() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return pairs of labels of made-up crystals: negatively related, hardly related, with missing values."""
    rng = np.random.default_rng(7)
    first = rng.normal(size=40)
    second = np.exp(-2 * first) + rng.normal(0, 0.5, 40)
    unrelated = rng.normal(size=40)
    one, other = first.copy(), second.copy()
    one[[3, 17, 30]], other[[1, 8, 25]] = np.nan, np.nan
    return (first, second), (first, unrelated), (one, other)


def _about_one_relation(found: Found) -> str:
    _, value, wanted = found.first()
    return (
        f"For two made-up labels the correlation of the ranks is {wanted:.3f} in size; yours is {value:.3f}. "
        "`scipy.stats.spearmanr(first, second).statistic` is the correlation of the ranks."
    )


_RELATED_WITH_MISSING = Function(
    "related",
    _related,
    lambda: _made_up_labels()[2:],
    _MISSING,
    lambda found: (
        "All is right as long as no label is missing. With missing ones yours gives a different number from the "
        "crystals that have both labels."
    ),
    read=instead(
        one_number,
        "With missing labels (NaN) yours returns NaN. Leave out the crystals that lack one of the two; "
        "`~np.isnan(first)` says where the first is known.",
    ),
)

check_partners = asks(
    Function(
        "related",
        _related,
        lambda: _made_up_labels()[:2],
        _RELATIONS,
        _about_one_relation,
        then=_RELATED_WITH_MISSING,
    ),
    Judge("harms", {
        "minus the energy": (False, "The labels are the energies with the other sign. What would the shared layers "
         "have to learn for it that they do not learn for the energy anyway? And what can the head do about a sign?"),
        "noise": (True, "These labels have nothing to do with the crystals. The only way to lower their error is to "
         "memorise each training crystal. Whose layers are used for that?"),
    }),
    shows="Before training, you know only the size of the correlation. The next cell trains, and shows what sharing "
    "does.",
)  # fmt: skip


# --- less sharing ---------------------------------------------------------------------------------------------------


@cache
def _three_crystals() -> CrystalGraphs:
    from pymatgen.core import Lattice, Structure

    from course_lib.graphs import CrystalGraphs

    structures = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]]),
        Structure.from_spacegroup("Pm-3m", Lattice.cubic(2.99), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    ]
    return CrystalGraphs.from_structures([structure.get_primitive_structure() for structure in structures])


def _moved_by(output: Tensor) -> tuple[list[dict[int, Tensor]], dict[int, int]]:
    """Return what training on the output would change.

    Returns
    -------
    moved : list of dict
        For each column of `output`, the tensors that a loss on it would change, by their identity.
    turn : dict
        For each of these tensors, a number that grows with the time of its first use in the forward pass.
    """
    import torch

    leaves, turn, seen, stack = {}, {}, set(), [output.grad_fn]
    while stack:  # through the computational graph, so that layers that PyTorch does not know of are found as well
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            if hasattr(following, "variable"):
                leaf = following.variable
                leaves[id(leaf)] = leaf
                turn[id(leaf)] = min(node._sequence_nr(), turn.get(id(leaf), node._sequence_nr()))
            stack.append(following)
    moved = []
    for column in output.unbind(1):
        gradients = torch.autograd.grad(column.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
        moved.append(
            {
                key: leaf
                for (key, leaf), gradient in zip(leaves.items(), gradients, strict=True)
                if gradient is not None and gradient.abs().max() > 0
            }
        )
    return moved, turn


def _is_convolution(parameter: Tensor) -> bool:
    """Say whether this is the matrix of a CGCNN convolution, which reads two atoms and 41 numbers of a bond."""
    return parameter.dim() == 2 and parameter.shape[1] == parameter.shape[0] + 41


def _is_embedding(parameter: Tensor) -> bool:
    """Say whether this is the matrix that reads the 92 bits of an atom."""
    return parameter.dim() == 2 and parameter.shape[1] == 92


@checker
def check_less_shared(model: object) -> str:
    """Check a network of two tasks that share the atom embedding and the first convolution, and nothing else.

    Parameters
    ----------
    model : class
        ``model(n_tasks)`` is a `CrystalModel` made of CGCNN's parts.

    Returns
    -------
    Feedback
    """
    import torch

    from course_lib.models import CrystalModel

    network = call(model, "LessShared", 2)
    if not isinstance(network, CrystalModel):
        raise Hint(
            "`LessShared(2)` is not a `CrystalModel`, so it cannot be trained. Keep the first lines of the stub, with "
            "`super().__init__(...)`."
        )
    graphs = _three_crystals()
    output = _output(network.train(), graphs, 3)
    with torch.no_grad():
        _output(network.eval(), graphs, 1)
    _check_sharing(network, *_moved_by(output))
    return (
        "Both tasks read the same first layers. After these each has its own layers, and what one task learns there "
        "does not affect the other."
    )


def _output(network: nn.Module, graphs: CrystalGraphs, count: int) -> Tensor:
    """Return what the network says of the first crystals; raise a hint unless it is one number per crystal and task."""
    import torch

    output = call(network.forward, "forward", graphs.batch(range(count)))
    if not isinstance(output, torch.Tensor):
        raise Hint(
            "`forward` should return a tensor: one row per crystal, one column per task. `torch.cat` joins columns."
        )
    shape = tuple(output.shape)
    if count == 1 and shape != (1, 2):
        raise Hint(
            f"For a batch of one crystal the output has the shape {shape}, not (1, 2). A `squeeze()` also removes the "
            "axis of the crystals if there is only one. Leave it out, and join with `torch.cat(..., dim=1)`."
        )
    told = {
        (2, 3): "one row per task. A row should be a crystal: `torch.cat(..., dim=1)`.",
        (6, 1): "the tasks are below each other. Join them side by side: `dim=1`.",
        (3, 1): "one column, where two tasks need two. If you added the two predictions up, join them instead, with "
        "`torch.cat(..., dim=1)`.",
    }
    if shape in told:
        raise Hint(f"The output has the shape {shape}: {told[shape]}")
    if shape != (count, 2):
        raise Hint(f"For {count} crystals and two tasks the output has the shape {shape}, not ({count}, 2).")
    if not output.requires_grad and torch.is_grad_enabled():
        raise Hint("Nothing in the network can learn from its output. Has a `detach()` or `no_grad()` got into it?")
    return output


def _check_sharing(network: nn.Module, moved: list[dict[int, Tensor]], turn: dict[int, int]) -> None:
    """Raise a hint unless the two columns share embedding and first convolution, and have convolutions of their own."""
    first, second = moved
    known = {id(parameter) for parameter in network.parameters()}
    shared = [parameter for key, parameter in first.items() if key in second]
    own = [[p for key, p in one.items() if key not in other] for one, other in ((first, second), (second, first))]
    if not set(first) | set(second) <= known:
        raise Hint(
            "PyTorch does not know of some of the layers, so they would not be trained. It does not look into "
            "a plain list: put the networks into an `nn.ModuleList`."
        )
    if not shared:
        if any(
            close(a.detach(), b.detach()) for a, b in zip(*own, strict=False) if a.dim() == 2 and a.shape == b.shape
        ):
            raise Hint(
                "The two networks start with equal numbers, but these are copies: after the first training step they "
                "differ. To share a layer, both networks must hold the same object: `second.layer = first.layer`."
            )
        raise Hint("The two columns have no layer in common: that is two networks. Which layers should they share?")
    if not all(own):
        raise Hint(
            "Both columns come from the same layers, up to the last one: if one task changes them, they change for the "
            "other, too. Give each task a network of its own, and share only the first layers."
        )
    if not any(map(_is_convolution, own[0])):
        raise Hint(
            "Only the heads are separate; all convolutions are still shared. Separate the tasks earlier: share only "
            "the first convolution."
        )
    if not any(map(_is_embedding, shared)):
        raise Hint(
            "You share later layers, but each task has its own atom embedding. The shared layers should be those that "
            "come *first*: the atom embedding and the first convolution."
        )
    if not any(map(_is_convolution, shared)):
        raise Hint("Only the embedding of the atoms is shared. Share the first convolution, `trunk.convs[0]`, as well.")

    def first_turn(parameters: list[Tensor]) -> int:
        return min(turn[id(parameter)] for parameter in parameters if _is_convolution(parameter))

    apart_from = first_turn([*own[0], *own[1]])
    if first_turn(shared) > apart_from:
        raise Hint(
            "A convolution is shared, but only after one that each task has for itself. The shared layers should be "
            "those that come *first*: `trunk.convs[0]`."
        )
    if any(turn[id(parameter)] > apart_from for parameter in shared):
        raise Hint(
            "You share later layers as well, such as the last one. After the first convolution each task should have "
            "its own layers."
        )


check_transfer_statements = asks(
    Judge("statements", {
        "one run": (True, "Look at the table of single training runs with the band gap, and at your share of "
         "contradictions. What would have been reported from one line of it?"),
        "opposite": (False, "Which of the made-up partners has a correlation of −1 with the energy, and what did it "
         "do?"),
        "not shown": (False, "How wide is the interval? Could an effect of a few hundredths of an eV/atom hide in it?"),
        "small weight": (True, "What does the loss look like if the weight of the partner goes to zero, and which "
         "network is trained then?"),
        "always less": (False, "What does less sharing take away where the partner has something to teach, such as "
         "many more labels of a related property?"),
    }),
    shows="Harm is a difference with a sign and an interval, between networks that differ in one thing.",
)  # fmt: skip
