"""The exercises: solutions are accepted, each typical mistake gets a hint of its own, and nothing ends in a traceback.

The mistakes that the checkers hold in their tables come from there. Right answers are written here by hand, and so are
wrong ones: those that no table holds, and for each table a few that are reached by another way.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import pages_of_the_book, public_functions
from derive_exercises import COPIES, is_exercise, learners_copy, page, stub, without_markers
from example_crystals import TARGET, bundled
from pymatgen.core import Lattice, Structure
from scipy import optimize, stats
from torch_geometric.utils import softmax

from course_lib.composition import element_properties, magpie
from course_lib.dataset_sources import matbench_tasks
from course_lib.datasets import DATA, catalogue, load_dataset
from course_lib.experiments.analysis import summarize_differences
from course_lib.experiments.records import load_results
from course_lib.graphs import CrystalGraphs
from course_lib.late_fusion import alpha_from_errors, blended_error_variance, optimal_alpha
from course_lib.losses import task_errors
from course_lib.models import CGCNN, CrystalModel, IntermediateFusion, MultiTask
from course_lib.models.line_graph import line_graph
from course_lib.pretrained import ENERGY as PRETRAINED
from course_lib.pretrained import stored_features
from course_lib.teaching import checkers
from course_lib.teaching.checkers import choosing, quests
from course_lib.teaching.checkers.declarative import Part
from course_lib.teaching.checkers.feedback import Feedback
from course_lib.teaching.checkers.line_graphs import EDGES, WATER, along_chain, selenium, straightened
from course_lib.teaching.checkers.quests import told_apart
from course_lib.teaching.checkers.reading_alpha import two_models
from course_lib.teaching.checkers.task_weights import losses_on_page
from course_lib.teaching.figures.block_importance import plot_block_orders, plot_block_values
from course_lib.teaching.figures.choosing import plot_error_ratios
from course_lib.teaching.figures.invariance import plot_prediction_changes
from course_lib.teaching.figures.line_graphs import plot_chains, plot_line_graph, plot_numbered_edges
from course_lib.teaching.figures.task_weights import plot_task_shares
from tools.run_notebooks import NOTEBOOKS

EXERCISES = sorted(path.stem for path in NOTEBOOKS.glob("ex[0-9]*.py"))


# --- what the checkers are asked --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A checker with answers to it; an answer is the tuple of its arguments."""

    right: tuple[tuple, ...]
    unfinished: tuple[tuple, ...]
    wrong: Mapping[str, tuple[tuple, str]] = field(default_factory=dict)  # answer, and words of its hint
    given: tuple = ()  # arguments that are not the learner's


def says(truths: Mapping[str, bool], **changes: bool) -> dict:
    """Return judgements of statements, some of them changed; underscores stand for spaces."""
    return dict(truths) | {name.replace("_", " "): value for name, value in changes.items()}


def empty_stub(*_):
    """A stub that the learner has not filled in."""


def questions(*right: str | float) -> Case:
    """Return the case of *Check yourself*: letters and numbers, in the order of the questions."""
    rank = next(rank for rank, answer in enumerate(right) if isinstance(answer, str))
    unknown = (*right[:rank], "z", *right[rank + 1 :])
    return Case((right,), ((...,) * len(right), (*right[:-1], ...)), {"no answer": (unknown, "one of the letters")})


# Exercise 1.


def interval_low(d, ddof=1, t=None, divisor=None, spread=np.std):
    t = stats.t.ppf(0.9875, len(d) - 1) if t is None else t
    return np.mean(d) - t * spread(d, ddof=ddof) / (np.sqrt(len(d)) if divisor is None else divisor)


def true_or_nothing(d):
    if interval_low(d) > 0:
        return True


def false_or_nothing(d):
    if interval_low(d) <= 0:
        return False


CONCLUSIONS = {"smaller gap": False, "not shown": False, "one seed": True, "early stopping": True}

# Exercise 2.

ALPHA_STATEMENTS = {
    "one fifth": True, "four times": False, "one in five": False, "forest helps": True, "cut off": False,
    "both errors": True,
}  # fmt: skip


def uncut_alpha(a, b, r):
    return (b * b - r * a * b) / (a * a + b * b - 2 * r * a * b)


def best_alpha(a, b, r):
    return np.clip(uncut_alpha(a, b, r), 0, 1)


def alpha_by_minimising(a, b, r):
    return optimize.minimize_scalar(blended_error_variance, bounds=(0, 1), args=(a, b, r), method="bounded").x


def alpha_on_grid(a, b, r, n):
    grid = np.linspace(0, 1, n)
    return grid[np.argmin(blended_error_variance(grid, a, b, r))]


def fixed_alpha(training, out_of_fold):
    y, forest, cgcnn = out_of_fold
    return optimal_alpha(y, forest, cgcnn[y.index])


def by_position(part):
    return optimal_alpha(part.y, part.forest, pd.Series(part.cgcnn.to_numpy(), part.y.index))


# Exercise 3.


def unit(vector):
    return vector / np.sqrt((vector**2).sum(-1, keepdims=True))


def angle_cosine(a, b, c):
    return float(unit(a - b) @ unit(c - b))


def pair_cosines(vectors, pairs):
    return np.array([-unit(vectors[first]) @ unit(vectors[second]) for first, second in pairs])


def dots(vectors, pairs):
    return np.einsum("tx,tx->t", *vectors[pairs.T])


def lengths(vectors):
    return np.sqrt((vectors**2).sum(1))


OTHER_VECTORS = np.random.default_rng(7).normal(size=(6, 3))


def paths(rule) -> list[tuple[int, int]]:
    return [(e, f) for e, one in enumerate(EDGES) for f, two in enumerate(EDGES) if e != f and rule(*one, *two)]


PATHS = paths(lambda a, b, b2, c: b == b2)
CHAIN_STATEMENTS = {
    "edges": True, "line graph": True, "distances tell": False, "cosines tell": True, "never": False,
}  # fmt: skip

# Exercise 4.

WEIGHT_STATEMENTS = {
    "larger error": False, "units": True, "must exist": False, "common factor": True, "always": False,
}  # fmt: skip
TARGETS = np.array([[0.0, 1.0], [2.0, 4.0], [-1.0, 0.5], [1.0, np.nan], [np.nan, 3.0]])
ALL_TARGETS = np.concatenate([TARGETS, [[1.5, 1.0], [0.5, 2.0]]])
SPREAD = np.nanstd(TARGETS, axis=0)
SPREAD_OF_ALL = np.nanstd(ALL_TARGETS.astype(np.float32), axis=0)  # as a learner has it, who takes `graphs.targets`


def inverse_scale(targets):
    inverse = 1 / np.nanstd(targets, axis=0)
    return inverse / inverse.sum()


def by_two_names(targets):
    energy, gap = np.nanstd(targets, axis=0)
    return np.array([gap, energy]) / (energy + gap)


def as_shares(weights):
    return weights / weights.sum()


def three_losses(**changes) -> dict:
    right = {"one each": (1, 1), "inverse scale": tuple(1 / SPREAD), "gap in meV": (1, 1000)}
    return right | {name.replace("_", " "): value for name, value in changes.items()}


# Exercise 5.


def front(e, t):
    pairs = list(zip(e, t, strict=True))
    return [not any(x <= a and y <= b and (x, y) != (a, b) for x, y in pairs) for a, b in pairs]


def made_up(**worse_by) -> pd.DataFrame:
    """Return runs of methods that are worse by these amounts, and by chance; the folds get harder."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"method": method, "split": split, "fold": fold, "seed": 0, "mae": 0.3 + 0.1 * fold + by + 0.02 * rng.normal()}
        | {"seconds": 2000.0 if method == "megnet" else 20.0, "n_learned": 700, "target": "energy"}
        for method, by in worse_by.items()
        for split in ("random", "formula")
        for fold in range(5)
    )


RUNS = made_up(random_forest=0.2, cgcnn=0.01, early_fusion=0.0, late_fusion=0.0, megnet=0.0)
CRYSTALS = load_dataset("pbe_prototypes")


@cache
def recorded(*methods: str) -> pd.DataFrame:
    """Return recorded predictions for new formulas, one column per method and target, by crystal."""
    runs = load_results(crystals=CRYSTALS, methods=methods)
    runs = runs[(runs["split"] == "formula") & (runs["seed"] == 0)].explode(["ids", "predictions"])
    table = runs.astype({"predictions": float}).pivot_table("predictions", "ids", ["method", "target"])
    return table.reindex(CRYSTALS.index.intersection(table.index))


def holding(symbol: str, table: pd.DataFrame) -> pd.Index:
    """Return the crystals of a table whose name has this element."""
    return table.index[[symbol in name.split("-")[1:] for name in table.index]]


def best_alpha_of_fluorides() -> float:
    """Return the answer of quest 3."""
    table = recorded("early_fusion", "cgcnn").xs(TARGET, level="target", axis=1)
    rows = holding("F", table)
    return optimal_alpha(CRYSTALS.loc[rows, TARGET], *(table.loc[rows, name] for name in ("early_fusion", "cgcnn")))


def loss_of_nitrides() -> torch.Tensor:
    """Return the answer of quest 6."""
    table = recorded("multitask_gat")["multitask_gat"]
    rows = holding("N", table)
    predicted = torch.from_numpy(table.loc[rows, [TARGET, "band_gap"]].to_numpy())
    labels = torch.from_numpy(CRYSTALS.loc[rows, [TARGET, "band_gap"]].to_numpy())
    mask = torch.stack([torch.ones(len(rows), dtype=torch.bool), labels[:, 1] > 0], dim=1)
    return task_errors(predicted, labels, mask, "mae") @ torch.tensor([1, 0.5], dtype=predicted.dtype)


def energy_of_mgcl2(of_mg: float = 1 / 3, of_cl: float = 2 / 3) -> float:
    """Return the answer of quest 9, or that with other shares of the references."""
    energy, y = stored_features(CRYSTALS)[PRETRAINED], CRYSTALS[TARGET]
    three = ["rocksalt-K-Cl", "rocksalt-Mg-S", "fluorite-S-K"]
    shares = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [4 / 3, 0, 2 / 3, 0]]) / 2  # of K, Mg, S, Cl
    _, mg, _, cl = np.linalg.pinv(shares) @ (y[three] - energy[three])
    return float(energy["fluorite-Mg-Cl"] + of_mg * mg + of_cl * cl)


def gigabytes_of_edges() -> float:
    """Return the answer of quest 10."""
    graphs = CrystalGraphs.from_structures(CRYSTALS["structure"].iloc[-200:])
    return len(graphs.vector) / 200 * 20 * 5e6 / 1e9


OXIDES = pd.DataFrame({"formula": ["MgO"] * 3 + ["CaO"], "formation_energy_per_atom": [-1.2, -1.1, -0.6, -3.0]})
BOARD = pd.DataFrame({"mp_e_form (eV/atom)": [0.02, 0.03, 0.1]}, index=["ALIGNN", "CGCNN v2019", "RF-SCM/Magpie"])
RIGHT = {
    "A": ("early_fusion", "holds and fits"), "B": ("alignn", "large data"), "C": ("late_fusion", "no new training"),
}  # fmt: skip


def chosen(situation, method=None, reason=None) -> tuple[dict]:
    """Return the right choices, but in one situation another method or reason."""
    right = RIGHT[situation]
    return (RIGHT | {situation: (method or right[0], reason or right[1])},)


def new_ones(runs):
    return runs[runs["split"] == "formula"]


def first(runs):
    return runs.groupby("method")["mae"].mean().idxmin()


def hold(runs):
    best = first(runs)
    return [best, *summarize_differences(runs, best).query("low <= 0").index.get_level_values("method")]


def overlapping(runs, size=np.std):
    table = runs.groupby("method")["mae"].agg(["mean", lambda errors: size(errors, ddof=1)])
    table.columns = ["mean", "size"]
    low, high = table["mean"] - table["size"], table["mean"] + table["size"]
    return list(table.index[low <= high[first(runs)]])


def as_if_independent(runs, by=("fold",)):
    errors = runs.groupby([*by, "method"])["mae"].mean().unstack()
    best = first(runs)
    return [
        m
        for m in errors
        if m == best or stats.ttest_1samp(errors[m] - errors[best], 0, alternative="greater").pvalue > 0.025
    ]


def distances(runs):
    errors = runs.pivot_table(index="fold", columns="method", values="mae")
    return errors.sub(errors[first(runs)], axis=0)


def near(runs, border):
    far = distances(runs).mean()
    return list(far.index[far < border])


# Exercise 6.


def attention_weights(v, a, b):
    return torch.softmax(torch.einsum("bvh,vh->bv", v, a) + b, 1)


def fuse(v, w):
    return torch.einsum("bvh,bv->bh", v, w)


def follows_the_crystal(layer, v):
    w = layer(v)
    return bool(
        (w[0] - w[1:]).abs().max() > 1e-5 and torch.allclose(layer(v[[3, 1, 0, 2]]), w[[3, 1, 0, 2]], atol=1e-6)
    )


def pooling(summarise, weigh, asks=True, sums_up=True):
    """Return a class whose forward pass takes its summary and its weights from these functions."""

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ask, self.summary = torch.nn.Linear(145, 32), torch.nn.Linear(32, 32)
            self.answer = torch.nn.Linear(32, 32)

        def forward(self, atoms, composition, crystal):
            question = asks * self.ask(composition)
            if sums_up:
                question = question + self.summary(summarise(atoms, crystal))
            weights = weigh((question[crystal] * self.answer(atoms)).mean(1), crystal)
            return sums(weights[:, None] * atoms, crystal)

    return Layer


def first_atoms(rows, crystal):
    return torch.stack([rows[crystal == k][0] for k in crystal.unique()])


def sums(rows, crystal):
    return torch.stack([rows[crystal == k].sum(0) for k in crystal.unique()])


def averages(rows, crystal):
    return torch.stack([rows[crystal == k].mean(0) for k in crystal.unique()])


def within_crystals(scores, crystal):
    return scores.exp() / sums(scores.exp(), crystal)[crystal]


def uniform(scores, crystal):
    return 1 / torch.bincount(crystal)[crystal]


class Empty(pooling(averages, uniform)):
    """Has the stub's forward pass."""

    def forward(self, atoms, composition, crystal): ...


class Unattentive(pooling(averages, uniform)):
    def forward(self, atoms, composition, crystal):
        average = averages(atoms, crystal)
        return average + self.ask(composition) + self.summary(average)


class Pruned(torch.nn.Module):
    """Lacks the colleague's layers."""

    def forward(self, atoms, composition, crystal):
        return averages(atoms, crystal)


# Exercise 7.

TRANSFER_STATEMENTS = {
    "one run": True, "opposite": False, "not shown": False, "small weight": True, "always less": False,
}  # fmt: skip


def other_sign(d):
    return (d * d.mean() < 0).mean()


def by_training(runs):
    errors = runs.set_index(["method", "fold", "seed"])["mae"]
    return errors["shared"] - errors["alone"]


def with_interval(values, corrected=True, size=1.0, level=0.95):
    values = np.asarray(values)
    half = size * stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1)
    half *= np.sqrt(1 / len(values) + corrected / (len(values) - 1))
    return np.mean(values), np.mean(values) - half, np.mean(values) + half


def transfer(runs):
    return with_interval(by_training(runs).groupby("fold").mean())


def transfer_by_position(runs):
    shared, alone = (runs[runs["method"] == method].reset_index() for method in ("shared", "alone"))
    return with_interval((shared["mae"] - alone["mae"]).groupby(shared["fold"]).mean())


def averaged_by_position(runs):
    shared, alone = (runs[runs["method"] == method].reset_index() for method in ("shared", "alone"))
    return with_interval((shared["mae"] - alone["mae"]).groupby(alone["fold"]).mean())


def verdict(mean, low, high):
    return "harm shown" if low > 0 else "gain shown" if high < 0 else "neither shown"


def known_labels(first, second):
    return pd.DataFrame({"first": first, "second": second}).dropna()


def related(first, second):
    return abs(known_labels(first, second).corr(method="spearman").iloc[0, 1])


HARMS = {"minus the energy": False, "noise": True}


def small_network(n_targets=1):
    return MultiTask(CGCNN(hidden=8, embedding=8), n_targets=n_targets, hidden=8)


def share_first(first, second):
    second.trunk.atom_embedding = first.trunk.atom_embedding
    second.trunk.convs[0] = first.trunk.convs[0]


def share_two(first, second):
    share_first(first, second)
    second.trunk.convs[1] = first.trunk.convs[1]


def share_second(first, second):
    share_embedding(first, second)
    second.trunk.convs[1] = first.trunk.convs[1]


def copy_first(first, second):
    second.trunk.atom_embedding = copy.deepcopy(first.trunk.atom_embedding)
    second.trunk.convs[0] = copy.deepcopy(first.trunk.convs[0])


def share_embedding(first, second):
    second.trunk.atom_embedding = first.trunk.atom_embedding


def share_last(first, second):
    second.trunk.convs[2] = first.trunk.convs[2]
    second.trunk.crystal_embedding = first.trunk.crystal_embedding


def share_first_and_last(first, second):
    share_first(first, second)
    second.trunk.crystal_embedding = first.trunk.crystal_embedding


def share_all_but_heads(first, second):
    second.trunk = first.trunk


def share_nothing(first, second):
    pass


def side_by_side(predictions):
    return torch.cat(predictions, dim=1)


def pair_of_networks(share=share_first, join=side_by_side, holder=torch.nn.ModuleList, base=CrystalModel):
    """Return a class of two networks with something in common."""

    class Pair(base):
        def __init__(self, n_tasks):
            super().__init__(**({"n_targets": n_tasks} if base is CrystalModel else {}))
            self.networks = holder([small_network() for _ in range(n_tasks)])
            share(*self.networks)

        def forward(self, batch):
            return join([one(batch) for one in self.networks])

    return Pair


# Exercise 8.

IMPORTANCE_STATEMENTS = {
    "adds up": True, "importances too": False, "zero is ignorance": False, "this model": True,
    "structure is minor": False,
}  # fmt: skip


def shuffled(block, rng):
    return block[rng.permutation(len(block))]


def columns_shuffled(block, rng):
    return np.stack([rng.permutation(column) for column in block.T], axis=1)


def shuffled_in_place(block, rng):
    rng.shuffle(block)
    return block


def toy_model(composition, structure):
    return composition @ [1.0, 2.0] - structure @ [0.5]


def toy_crystals(count: int, seed: int, noise: float) -> tuple:
    rng = np.random.default_rng(seed)
    composition, structure = rng.normal(size=(count, 2)), rng.normal(size=(count, 1))
    return composition, structure, toy_model(composition, structure) + rng.normal(0, noise, count)


# What was learned by heart: hardly any error on the training crystals, and so more that can grow.
TOY_PARTS = {"training": toy_crystals(80, 0, 0.01), "test": toy_crystals(60, 1, 2.0)}


def absolute_error(difference):
    return np.abs(difference).mean()


def importance_by(
    take=shuffled, take_structure=None, error=absolute_error, grown=np.subtract, repeats=None, reseed=False,
    spread=np.std,
):  # fmt: skip
    """Return an importance function that differs from the right one in what is given."""

    def importance(model, composition, structure, y, rng, n_repeats=10):
        both = error(model(composition, structure) - y)
        growth = []
        for _ in range(repeats or n_repeats):
            if reseed:
                rng = np.random.default_rng(0)
            without = (take(composition, rng), structure), (composition, (take_structure or take)(structure, rng))
            growth.append([grown(error(model(*pair) - y), both) for pair in without])
        return np.stack([np.mean(growth, axis=0), spread(growth, axis=0)], axis=1)

    return importance


def at_once(model, composition, structure, y, rng, n_repeats=10):
    own = absolute_error(model(composition, structure) - y)
    growth = [absolute_error(model(shuffled(composition, rng), shuffled(structure, rng)) - y) - own for _ in range(9)]
    return np.tile([np.mean(growth), np.std(growth)], (2, 1))


def composition_only(model, composition, structure, y, rng, n_repeats=10):
    own = absolute_error(model(composition, structure) - y)
    growth = [absolute_error(model(shuffled(composition, rng), structure) - y) - own for _ in range(n_repeats)]
    return np.tile([np.mean(growth), np.std(growth)], (2, 1))


def labels_shuffled(model, composition, structure, y, rng, n_repeats=10):
    predicted = model(composition, structure)
    own = absolute_error(predicted - y)
    growth = [absolute_error(predicted - rng.permutation(y)) - own for _ in range(n_repeats)]
    return np.tile([np.mean(growth), np.std(growth)], (2, 1))


def never_as_it_is(model, composition, structure, y, rng, n_repeats=10):
    pairs = [(shuffled(composition, rng), structure) for _ in range(n_repeats)]
    others = [(composition, shuffled(structure, rng)) for _ in range(n_repeats)]
    errors = [[absolute_error(model(*pair) - y) for pair in block] for block in (pairs, others)]
    return np.stack([np.mean(errors, axis=1), np.std(errors, axis=1)], axis=1)


def own_seeds(model, composition, structure, y, rng, n_repeats=10):
    return importance_by()(model, composition, structure, y, np.random.default_rng(0), n_repeats)


def toy_importance(function=None, part="test", measured=None, seed=0, n_repeats=10):
    """Return a function, the right one if none is given, and what the right one measures on the toy's crystals."""
    right, rng = importance_by(), np.random.default_rng(seed)
    table = right(toy_model, *TOY_PARTS[part], rng, n_repeats) if measured is None else measured
    return function or right, table


def measured_by(function):
    return function, function(toy_model, *TOY_PARTS["test"], np.random.default_rng(0))


def measured_second():
    """Use one generator for the training crystals, then for the test crystals."""
    rng = np.random.default_rng(0)
    return [importance_by()(toy_model, *TOY_PARTS[part], rng) for part in ("training", "test")][1]


def shapley_by(composition, structure):
    """Return a function of the four errors: neither, composition, structure and both."""
    names = ("neither", "composition", "structure", "both")
    return lambda error: [value(*(error[name] for name in names)) for value in (composition, structure)]


def of_composition(n, c, s, b):
    return (n - c + s - b) / 2


def of_structure(n, c, s, b):
    return (n - s + c - b) / 2


# Exercise 9.

CLAIM = {"first": "cgcnn", "second": "random_forest", "folds": "formula", "comparisons": 1, "at_least": 0.1}
REPORT = {
    "first better": True, "second better": False, "neither shown": False, "as claimed": False, "claim excluded": False,
    "equal": False, "any crystals": False, "because": False,
}  # fmt: skip


def claiming(**changes) -> tuple[dict]:
    return (CLAIM | changes,)


def effect(s, k, m):
    return (stats.t.ppf(1 - 0.025 / m, k - 1) + stats.t.ppf(0.8, k - 1)) * s * np.sqrt(1 / k + 1 / (k - 1))


def gains(errors):
    table = errors.pivot(index="fold", columns="method", values="mae")
    return table["second"] - table["first"]


def gain_with_interval(errors, n_comparisons, **settings):
    return with_interval(gains(errors), level=1 - 0.05 / n_comparisons, **settings)


# Nine crystals, three structures for each of three formulas, in this order.
NINE = pd.DataFrame(
    {"structure": [Structure(Lattice.cubic(a), symbols, [[0, 0, 0], [0.5, 0.5, 0.5]])
                   for symbols in (["Na", "Cl"], ["Cs", "Cl"], ["Ni", "Al"]) for a in (3.0, 3.1, 3.2)]}
)  # fmt: skip
THIRDS = np.arange(9).reshape(3, 3)
WHOLE_FORMULAS = [(THIRDS[k], THIRDS[k - 1], THIRDS[k - 2]) for k in range(3)]


def changed_fold(**parts) -> tuple[list]:
    """Return the folds with other parts in the first one."""
    names = ("training", "validation", "test")
    first_fold = tuple(parts.get(name, rows) for name, rows in zip(names, WHOLE_FORMULAS[0], strict=True))
    return ([first_fold, *WHOLE_FORMULAS[1:]],)


CASES: dict[str, Case] = {
    "check_dimensions": Case(
        right=((401, 51456), (np.int64(401), 51456.0), (torch.tensor(401), np.array(51456))),
        wrong={
            "product": ((145 * 256, 51456), "multiplied"),
            "preset alone": ((132 + 256, 51456), "132"),
            "embedding of notebook 2": ((145 + 128, 51456), "notebook 2"),
            "some other number": ((400, 51456), "400 inputs"),
            "in a list": (([401], 51456), "without brackets"),
            "some other weight": ((401, 17), "17 is not right"),
        },
        unfinished=((..., ...), (401, ...), (None, 51456)),
    ),
    "check_variants": Case(
        right=(
            ({"dropout": 0.3}, {"n_crystals": 300}),
            ({"weight_decay": 0.3}, {"hidden": (16,)}),
            ({"hidden": [32]}, {"dropout": 0.5}),
        ),
        wrong={
            "two at once": (({"dropout": 0.3, "n_crystals": 200}, {"hidden": (16,)}), "`dropout` and `n_crystals` at"),
            "three at once": (
                ({"dropout": 0.3, "n_crystals": 200, "hidden": (16,)}, {"hidden": (8,)}),
                "`dropout`, `n_crystals` and `hidden` at once",
            ),
            "the same twice": (({"dropout": 0.3}, {"dropout": 0.5}), "Both change"),
            "percent": (({"dropout": 30}, {"hidden": (16,)}), "30 %"),
            "nearly all dropped": (({"dropout": 0.95}, {"hidden": (16,)}), "so few of the numbers"),
            "nine tenths dropped": (({"dropout": 0.9}, {"hidden": (16,)}), "dropout of 0.9 leaves"),
            "crystals as a float": (({"n_crystals": 300.0}, {"hidden": (16,)}), "a whole number, without"),
            "sizes as floats": (({"hidden": (32.0, 16)}, {"dropout": 0.3}), "counts outputs"),
            "all dropped": (({"dropout": 1}, {"hidden": (16,)}), "nothing can be learned"),
            "nothing dropped": (({"dropout": 0.0}, {"hidden": (16,)}), "drops nothing"),
            "larger network": (({"hidden": (512, 64)}, {"dropout": 0.3}), "Make it smaller"),
            "fewer crystals": (({"n_crystals": 50}, {"dropout": 0.3}), "memorise"),
            "more crystals than there are": (({"n_crystals": 5000}, {"dropout": 0.3}), "has 618"),
            "negative decay": (({"weight_decay": -1}, {"dropout": 0.3}), "make the weights grow"),
            "no decay": (({"weight_decay": 0}, {"dropout": 0.3}), "is the baseline"),
            "decay too small": (({"weight_decay": 1e-5}, {"dropout": 0.3}), "next to nothing"),
            "decay too large": (({"weight_decay": 1000}, {"dropout": 0.3}), "10 at most"),
            "early stopping": (({"patience": 5}, {"dropout": 0.3}), "does it already"),
            "unknown setting": (({"batch_norm": True}, {"dropout": 0.3}), "not a setting"),
            "sizes that are none": (({"hidden": "small"}, {"dropout": 0.3}), "layer sizes"),
            "not a dict": ((0.3, {"dropout": 0.3}), "dict"),
        },
        unfinished=((..., ...), ({"dropout": 0.3}, ...), ({}, {"dropout": 0.3}), ({"dropout": ...}, {"hidden": (8,)})),
        given=(618,),
    ),
    "check_shown_better": Case(
        right=(
            (lambda d: interval_low(d) > 0,),
            (lambda d: bool(stats.ttest_1samp(d, 0, alternative="greater").pvalue < 0.0125),),
        ),
        wrong={
            "mean only": ((lambda d: np.mean(d) > 0,), "mean alone"),
            "opposite sign": ((lambda d: interval_low(-d) > 0,), "opposite"),
            "upper end": ((lambda d: -interval_low(-d) > 0,), "*upper*"),
            "nothing for no": ((true_or_nothing,), "-0.024])` returns nothing"),
            "nothing for yes": ((false_or_nothing,), " 0.024])` returns nothing"),
            "always": ((lambda d: True,), "What does it say"),
            "99 % interval": (
                (lambda d: interval_low(d, t=stats.t.ppf(0.995, len(d) - 1)) > 0,), "0.016, 0.025] the 97.5 %"
            ),
            "95 % interval": (
                (lambda d: interval_low(d, t=stats.t.ppf(0.975, len(d) - 1)) > 0,), "that is a 95 % interval"
            ),
            "median": ((lambda d: np.median(d) > 0,), "13.0] the 97.5 %"),
            "a number": ((lambda d: float(np.mean(d)),), "yes or no"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_conclusions": Case(
        right=((CONCLUSIONS,), ({name: np.bool_(value) for name, value in CONCLUSIONS.items()},)),
        unfinished=((...,), (says(CONCLUSIONS, one_seed=...),)),
    ),
    "check_blended_prediction": Case(
        right=((-1.74,), (0.2 * -1.5 + 0.8 * -1.8,), (np.array(-1.74),)),
        wrong={
            "roles swapped": ((0.8 * -1.5 + 0.2 * -1.8,), "Whose weight"),
            "plain mean": ((-1.65,), "plain mean"),
            "forest's part": ((-0.3,), "forest's part alone"),
            "outside": ((-2.5,), "does not lie between"),
            "in an array": ((np.array([-1.74]),), "without brackets"),
            "inside": ((-1.71,), "lies between"),
        },
        unfinished=((...,), (None,)),
    ),
    "check_alpha_statements": Case(
        right=((ALPHA_STATEMENTS,),),
        unfinished=((...,), (says(ALPHA_STATEMENTS, cut_off=...),)),
    ),
    "check_best_alpha": Case(
        right=(
            (best_alpha,), (alpha_from_errors,), (lambda a, b, r: torch.tensor(float(best_alpha(a, b, r))),),
            (alpha_by_minimising,), (lambda *given: alpha_on_grid(*given, n=1001),),
        ),
        wrong={
            "not cut": ((uncut_alpha,), "Clip it"),
            "upper end cut": ((lambda a, b, r: min(1, uncut_alpha(a, b, r)),), "-0.370, your weight"),
            "lower end cut": ((lambda a, b, r: max(0, uncut_alpha(a, b, r)),), "1.370, your weight"),
            "coarse grid": ((lambda *given: alpha_on_grid(*given, n=101),), "or try values in steps?"),
            "grid of fiftieths": ((lambda *given: alpha_on_grid(*given, n=51),), "Close: with standard deviations"),
            "outside": ((lambda a, b, r: -0.4,), "outside the range"),
            "always one half": ((lambda a, b, r: 0.5,), "smaller"),
            "no number": ((lambda a, b, r: "0.5",), "text"),
            "other arguments": ((lambda a, b: 0.5,), "should take 3 arguments"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_fixed_alpha": Case(
        right=((fixed_alpha,), (lambda training, new: optimal_alpha(*new),)),
        wrong={
            "not fixed": ((lambda training, new: by_position(training),), "still your colleague's weight"),
            "order fixed": ((lambda training, new: fixed_alpha(new, training),), "trained on these very crystals"),
            "crystals fixed": ((lambda training, new: by_position(new),), "in the order of its loader"),
            "one half": ((lambda training, new: 0.5,), "change only what you hand over"),
            "no number": ((lambda training, new: new.y,), "fixed_alpha"),
            "other arguments": ((lambda new: 0.5,), "should take 2 arguments"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_error_correlation": Case(
        right=((0.39, 0.65), (0.8**2 / 1.64, 0.6501)),
        wrong={
            "weight of cgcnn": ((0.61, 0.65), "CGCNN's weight"),
            "errors not squared": ((0.8 / 1.8, 0.65), "squared"),
            "the given weight": ((0.2, 0.65), "were uncorrelated"),
            "percent": ((39, 0.65), "`alpha_uncorrelated` is 100 times too large"),
            "correlation in percent": ((0.39, 65), "`correlation` is 100 times too large"),
            "rounded": ((0.4, 0.65), "right to 1 digit after"),
            "in a list": ((0.39, [0.65]), "without brackets"),
            "some other weight": ((0.1, 0.65), "three arguments"),
            "forest and cgcnn swapped": ((0.39, 1.4), "is impossible"),
            "some other correlation": ((0.39, 0.5), "best weight is"),
        },
        unfinished=((..., ...), (0.39, ...)),
    ),
    "check_angle_cosine": Case(
        right=((angle_cosine,), (lambda a, b, c: torch.tensor(angle_cosine(a, b, c)),)),
        wrong={
            "radians": ((lambda a, b, c: np.arccos(angle_cosine(a, b, c)),), "radians"),
            "degrees": ((lambda a, b, c: np.degrees(np.arccos(angle_cosine(a, b, c))),), "in degrees"),
            "head to tail": ((lambda a, b, c: unit(b - a) @ unit(c - b),), "sign is not"),
            "no cosine": ((lambda a, b, c: 3 * angle_cosine(a, b, c),), "between −1 and 1"),
            "rounded": ((lambda a, b, c: round(angle_cosine(a, b, c), 2),), "right to 2 digits"),
            "constant": ((lambda a, b, c: 0.1,), "scale both to length one"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_pairs": Case(
        right=((PATHS,), ([list(path) for path in PATHS[::-1]],), (np.array(PATHS),), (set(PATHS),)),
        wrong={
            "the other way round": (([(f, e) for e, f in PATHS],), "other way round"),
            "no way back": ((paths(lambda a, b, b2, c: b == b2 and a != c),), "go back"),
            "same target": ((paths(lambda a, b, c, d: b == d),), "*end* at the same"),
            "same source": ((paths(lambda a, b, c, d: a == c),), "*begin* at the same"),
            "only the way back": ((paths(lambda a, b, b2, c: b == b2 and a == c),), "own reverse"),
            "no direction": ((paths(lambda a, b, c, d: bool({a, b} & {c, d})),), "direction"),
            "each once": (([p for p in PATHS if p[0] < p[1]],), "smaller number first"),
            "itself": (([*PATHS, (0, 0)],), "to itself"),
            "twice": (([*PATHS, PATHS[0]],), "twice"),
            "no edge": (([*PATHS, (0, 6)],), "from 0 to 5"),
            "triples": (([(1, 0, 1)],), "shape"),
            "transposed": ((np.array(PATHS).T,), "Transpose it"),
            "no path": (([*PATHS, (0, 5)],), "not a path"),
            "some are missing": ((PATHS[:5],), "5 of 12"),
            "empty": (([],), "empty"),
        },
        unfinished=((...,), ([...],), (None,)),
    ),
    "check_pair_cosines": Case(
        right=(
            (pair_cosines,),
        ),
        wrong={
            "sign": ((lambda v, p: -pair_cosines(v, p),), "sign is wrong"),
            "not normalised": ((lambda v, p: -(v[p[:, 0]] * v[p[:, 1]]).sum(1),), "length one"),
            "plain dot product": ((lambda v, p: (v[p[:, 0]] * v[p[:, 1]]).sum(1),), "Two things"),
            "one number": ((lambda v, p: 0.5,), "one number per pair"),
            "tensor": ((lambda v, p: torch.tensor(pair_cosines(v, p)),), "is a Tensor. The next cells"),
            "list": ((lambda v, p: list(pair_cosines(v, p)),), "is a list. The next cells"),
            "one length for all": ((lambda v, p: -dots(v, p) / 2.373**2,), "by the same number"),
            "rounded": ((lambda v, p: pair_cosines(v, p).round(2),), "Do you round"),
            "not its argument": ((lambda v, p: pair_cosines(OTHER_VECTORS, p),), "its argument"),
            "too large": ((lambda v, p: 3 * pair_cosines(v, p),), "between −1 and 1"),
            "too small": ((lambda v, p: 0.5 * pair_cosines(v, p),), "The signs are right"),
            "first pairs only": ((lambda v, p: np.append(pair_cosines(v, p), np.zeros(12))[:12],), "For 2 pairs"),
            "something else": ((lambda v, p: pair_cosines(v[::-1], p),), "For one pair"),
            "pairs transposed": ((lambda v, p: pair_cosines(v, p.T),), "stopped with"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_straight_or_bent": Case(
        right=((CHAIN_STATEMENTS,),),
        unfinished=((...,), (says(CHAIN_STATEMENTS, never=...),)),
    ),
    "check_contributions": Case(
        right=((0.18 / 0.21, 2 / 3.5, 0.36 * 2 / (0.06 * 1.5 + 0.36 * 2)), (0.857, 0.571, 0.889)),
        wrong={
            "the other task": ((0.03 / 0.21, 0.571, 0.889), "formation energy"),
            "ratio": ((6, 0.571, 0.889), "how many times larger"),
            "percent": ((85.7, 0.571, 0.889), "percent"),
            "the error": ((0.18, 0.571, 0.889), "error itself"),
            "no share": ((2.0, 0.571, 0.889), "between 0 and 1"),
            "some other share": ((0.3, 0.571, 0.889), "second term"),
            "part for pull": ((0.857, 0.18 / 0.21, 0.889), "share of the loss again"),
            "no spread": ((0.857, 0.5, 0.889), "with respect to z"),
            "some other pull": ((0.857, 0.7, 0.889), "two slopes"),
            "absolute for squared": ((0.857, 0.571, 2 / 3.5), "slopes of the absolute errors"),
            "squared without spread": ((0.857, 0.571, 0.36 / 0.42), "factor is missing"),
            "some other square": ((0.857, 0.571, 0.7), "slope of r²"),
        },
        unfinished=((..., ..., ...), (0.857, ..., 0.889)),
    ),
    "check_inverse_scale": Case(
        right=(
            (inverse_scale,),
            (lambda t: as_shares(1 / pd.DataFrame(t).std().to_numpy()),),
        ),
        wrong={
            "proportional": ((lambda t: as_shares(np.nanstd(t, axis=0)),), "Which way round"),
            "not normalised": ((lambda t: 1 / np.nanstd(t, axis=0),), "add up to one: divide"),
            "variance": ((lambda t: as_shares(1 / np.nanvar(t, axis=0)),), "*squared*"),
            "missing labels spoil it": ((lambda t: as_shares(1 / np.std(t, axis=0)),), "NaN"),
            "missing as a mean": (
                (lambda t: as_shares(1 / np.std(np.where(np.isnan(t), np.nanmean(t, axis=0), t), axis=0)),),
                "each for its own task only",
            ),
            "two names": ((by_two_names,), "too many values to unpack"),
            "two of three": ((lambda t: inverse_scale(t[:, :2]),), "for three it gives"),
            "tensor": ((lambda t: torch.tensor(inverse_scale(t)),), "need a NumPy array"),
            "percent": ((lambda t: 100 * inverse_scale(t),), "100 times too large"),
            "one against the rest": (
                (lambda t: np.array([1 - x / np.nanstd(t, axis=0)[-2:].sum() for x in np.nanstd(t, axis=0)]),),
                "for three it gives [",
            ),
            "wrong axis": ((lambda t: as_shares(1 / np.nanstd(t + 0 * t, axis=1)),), "which axis"),
            "one number": ((lambda t: 0.5,), "one weight per task"),
            "negative": ((lambda t: np.array([-0.5, 1.5]),), "negative"),
            "constant": ((lambda t: np.array([0.9, 0.1]),), "should their ratio be"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_three_losses": Case(
        right=(
            (three_losses(),),
            (three_losses(one_each=(5, 5), inverse_scale=tuple(as_shares(1 / SPREAD)), gap_in_meV=[0.001, 1]),),
        ),
        wrong={
            "scale where one is asked": ((three_losses(one_each=tuple(1 / SPREAD)),), "common factor"),
            "all crystals": ((three_losses(inverse_scale=tuple(1 / SPREAD_OF_ALL)),), "the test set too"),
            "proportional": ((three_losses(inverse_scale=tuple(SPREAD)),), "swapped the two"),
            "variance": ((three_losses(inverse_scale=tuple(SPREAD**-2)),), "variances"),
            "one each again": ((three_losses(inverse_scale=(1, 1)),), "again"),
            "the example's spreads": ((three_losses(inverse_scale=(2, 1.5)),), "of the example"),
            "unit turned round": ((three_losses(gap_in_meV=(1, 0.001)),), "1000 meV"),
            "unit ignored": ((three_losses(gap_in_meV=(1, 1)),), "how many times"),
            "wrong task": ((three_losses(gap_in_meV=(1, 100)),), "order"),
            "zero": ((three_losses(one_each=(1, 0)),), "above zero"),
            "one number": ((three_losses(one_each=1),), "2 numbers"),
            "a loss is missing": (({"one each": (1, 1)},), "lacks the key"),
            "one too many": ((three_losses(mine=(1, 1)),), "not in the stub"),
        },
        unfinished=((...,), (three_losses(inverse_scale=...),), (three_losses(inverse_scale=(1, ...)),)),
        given=(TARGETS, ALL_TARGETS),
    ),
    "check_weight_statements": Case(
        right=((WEIGHT_STATEMENTS,),),
        unfinished=((...,), (says(WEIGHT_STATEMENTS, units=...),)),
    ),
    "check_contradictions": Case(
        right=(
            (other_sign,),
            (lambda d: np.mean(np.sign(d) != np.sign(d.mean())),),
            (lambda d: torch.tensor(other_sign(d)),),
        ),
        wrong={
            "agreement": ((lambda d: 1 - other_sign(d),), "*agrees* with the mean. Return"),
            "count": ((lambda d: other_sign(d) * d.size,), "count them"),
            "percent": ((lambda d: 100 * other_sign(d),), "percent"),
            "against the first": ((lambda d: (d * d[0, 0] < 0).mean(),), "another single pair"),
            "constant": ((lambda d: 0.4,), "How many of these"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_transfer": Case(
        right=(
            (transfer, verdict),
            (lambda runs: np.array(transfer(runs)), verdict),
            (lambda runs: list(transfer(runs.sample(frac=1, random_state=3))), verdict),
        ),
        wrong={
            "sign": ((lambda runs: -np.array(transfer(runs))[[0, 2, 1]], verdict), "is *worse*"),
            "ends": ((lambda runs: np.array(transfer(runs))[[0, 2, 1]], verdict), "ends of your interval are swapped"),
            "by position": ((transfer_by_position, verdict), "row by row"),
            "some other interval": (
                (lambda runs: with_interval(by_training(runs).groupby("fold").mean(), size=0.5), verdict), "0.50 times"
            ),
            "by position, seeds averaged": ((averaged_by_position, verdict), "same fold *and* the same seed"),
            **{
                f"level of {level:g}": (
                    (lambda runs, level=level: with_interval(by_training(runs).groupby("fold").mean(), level=level),
                     verdict),
                    f"interval has a level of {100 * level:g} %",
                )
                for level in (0.68, 0.9, 0.975, 0.99)
            },
            "something else": ((lambda runs: (0.1, 0.0, 0.2), verdict), "mean difference is"),
            "mean only": ((lambda runs: transfer(runs)[0], verdict), "3 numbers"),
            "always": ((transfer, lambda m, lo, hi: "harm shown"), "On which side"),
            "other words": ((transfer, lambda m, lo, hi: "no effect"), "three texts"),
        },
        unfinished=((..., ...), (transfer, ...), (transfer, empty_stub), (empty_stub, verdict)),
    ),
    "check_partners": Case(
        right=(
            (related, HARMS),
            (lambda x, y: abs(stats.spearmanr(x, y, nan_policy="omit").statistic), HARMS),
        ),
        wrong={
            "signed": ((lambda x, y: known_labels(x, y).corr(method="spearman").iloc[0, 1], HARMS), "kept the sign"),
            "straight line": ((lambda x, y: abs(known_labels(x, y).corr().iloc[0, 1]), HARMS), "*straight line*"),
            "signed straight line": ((lambda x, y: known_labels(x, y).corr().iloc[0, 1], HARMS), "Change two things"),
            "missing spoils it": ((lambda x, y: abs(stats.spearmanr(x, y).statistic), HARMS), "returns NaN"),
            "missing as a mean": (
                (lambda x, y: related(np.nan_to_num(x, nan=np.nanmean(x)), np.nan_to_num(y, nan=np.nanmean(y))), HARMS),
                "have both labels",
            ),
            "a threshold": ((lambda x, y: bool(related(x, y) > 0.5), HARMS), "one number"),
            "constant": ((lambda x, y: 0.5, HARMS), "correlation of the ranks is"),
        },
        unfinished=((..., ...), (empty_stub, HARMS), (related, ...), (related, HARMS | {"noise": ...})),
    ),
    "check_less_shared": Case(
        right=((pair_of_networks(),), (pair_of_networks(share_two),)),
        wrong={
            "nothing shared": ((pair_of_networks(share_nothing),), "two networks. Which"),
            "copies": ((pair_of_networks(copy_first),), "copies"),
            "embedding only": ((pair_of_networks(share_embedding),), "Only the embedding"),
            "second convolution": ((pair_of_networks(share_second),), "only after one that each task"),
            "forgotten return": ((pair_of_networks(join=empty_stub),), "Is a `return` missing"),
            "last layers": ((pair_of_networks(share_last),), "come *first*"),
            "all but the heads": ((pair_of_networks(share_all_but_heads),), "Only the heads"),
            "first and last": ((pair_of_networks(share_first_and_last),), "You share later layers as well"),
            "one head": ((lambda n_tasks: CGCNN(n_targets=n_tasks, hidden=8, embedding=8),), "up to the last one"),
            "plain list": ((pair_of_networks(holder=list),), "`nn.ModuleList`"),
            "squeeze": ((pair_of_networks(join=lambda p: torch.stack(p, dim=-1).squeeze(),),), "squeeze()"),
            "added": ((pair_of_networks(join=sum),), "added the two"),
            "below each other": ((pair_of_networks(join=torch.cat),), "below each other"),
            "one row per task": ((pair_of_networks(join=lambda p: torch.cat(p, dim=1).T),), "one row per task"),
            "a list": ((pair_of_networks(join=list),), "return a tensor"),
            "other shape": ((pair_of_networks(join=lambda p: torch.stack(p)),), "For 3 crystals"),
            "detached": ((pair_of_networks(join=lambda p: torch.cat(p, dim=1).detach()),), "can learn"),
            "no crystal model": ((pair_of_networks(base=torch.nn.Module),), "not a `CrystalModel`"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_transfer_statements": Case(
        right=((TRANSFER_STATEMENTS,),),
        unfinished=((...,), (says(TRANSFER_STATEMENTS, opposite=...),)),
    ),
    "check_shuffled": Case(
        right=(
            (shuffled,),
            (lambda b, r: r.permutation(b),),
        ),
        wrong={
            "zeros": ((lambda b, r: 0 * b,), "does not exist"),
            "means": ((lambda b, r: np.tile(b.mean(0), (len(b), 1)),), "mean of all"),
            "columns by themselves": ((columns_shuffled,), "column by column"),
            "within the rows": ((lambda b, r: r.permuted(b, axis=1),), "inside each row"),
            "columns instead of rows": ((lambda b, r: b[:, [1, 2, 3, 0]],), "order of the columns"),
            "with replacement": ((lambda b, r: r.choice(b, len(b)),), "replacement"),
            "unchanged": ((lambda b, r: b.copy(),), "as it was"),
            "in place": ((shuffled_in_place,), "in place"),
            "noise": ((lambda b, r: r.normal(size=b.shape),), "belong to no crystal"),
            "turned round": ((lambda b, r: b[::-1],), "whichever generator"),
            "chance of its own": ((lambda b, r: np.random.default_rng().permutation(b),), "Draw only from `rng`"),
            "row numbers": ((lambda b, r: r.permutation(len(b)),), "`block[order]`"),
            "fewer rows": ((lambda b, r: r.permutation(b)[1:],), "as before"),
            "list": ((lambda b, r: r.permutation(b).tolist(),), "is a list"),
            "tensor": ((lambda b, r: torch.tensor(shuffled(b, r)),), "is a Tensor"),
            "table": ((lambda b, r: pd.DataFrame(shuffled(b, r)),), "add `.to_numpy()`"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_importance": Case(
        right=(
            toy_importance(),
            measured_by(importance_by(spread=lambda g, axis: np.std(g, axis=axis, ddof=1))),
            measured_by(importance_by(take=lambda b, r: r.choice(b, len(b), replace=False))),
            toy_importance(measured=(1 + 1e-6) * toy_importance()[1]),  # another machine's rounding
        ),
        wrong={
            "zero here, shuffled there": (
                toy_importance(importance_by(take=lambda b, r: 0 * b, take_structure=shuffled)),
                "both blocks in the same way",
            ),
            "zeros": (toy_importance(importance_by(take=lambda b, r: 0 * b)), "does not exist"),
            "columns by themselves": (toy_importance(importance_by(take=columns_shuffled)), "column by column"),
            "with replacement": (toy_importance(importance_by(take=lambda b, r: r.choice(b, len(b)))), "of task 1"),
            "one permutation": (toy_importance(importance_by(repeats=1)), "only repeats show"),
            "the same order again": (toy_importance(importance_by(reseed=True)), "same order"),
            "number of repeats": (toy_importance(importance_by(repeats=3)), "3 times"),
            "both at once": (toy_importance(at_once), "at the same time"),
            "one block only": (toy_importance(composition_only), "never shuffled"),
            "labels": (toy_importance(labels_shuffled), "shuffled `y`"),
            "no error to compare with": (toy_importance(never_as_it_is), "both blocks in place"),
            "sign": (toy_importance(importance_by(grown=lambda e, own: own - e)), "sign"),
            "error itself": (toy_importance(importance_by(grown=lambda e, own: e)), "is its *growth*"),
            "relative": (toy_importance(importance_by(grown=lambda e, own: e / own - 1)), "without the division"),
            "ratio": (toy_importance(importance_by(grown=lambda e, own: e / own)), "ratio"),
            "squared": (toy_importance(importance_by(error=lambda d: (d**2).mean())), "squared error"),
            "root": (toy_importance(importance_by(error=lambda d: (d**2).mean() ** 0.5)), "root of the mean"),
            "signed": (toy_importance(importance_by(error=np.mean)), "np.abs"),
            "rows": (toy_importance(lambda *a: importance_by()(*a)[::-1]), "rows are swapped"),
            "transposed": (toy_importance(lambda *a: importance_by()(*a).T), "transposed"),
            "error of the mean": (
                toy_importance(importance_by(spread=lambda g, axis: np.std(g, axis=axis) / len(g) ** 0.5)), "root of "
                "their",
            ),
            "no spread": (toy_importance(importance_by(spread=lambda g, axis: np.zeros(2))), "second column"),
            "means only": (toy_importance(lambda *a: importance_by()(*a)[:, 0]), "shape"),
            "something else": (toy_importance(lambda *a: importance_by()(*a) + 1), "on average"),
            "training crystals": (toy_importance(part="training"), "memorised it"),
            "chance of its own": (
                toy_importance(importance_by(take=lambda b, r: np.random.default_rng().permutation(b))),
                "two different tables",
            ),
            "seeds of its own": (toy_importance(own_seeds), "whichever generator"),
            "table rounded": (toy_importance(lambda *a: importance_by()(*a).round(3)), "right, but rounded"),
            "fewer repeats": (toy_importance(n_repeats=5), "from 5 repeats"),
            "one repeat": (toy_importance(n_repeats=1), "as after one repeat"),
            "more repeats": (toy_importance(n_repeats=20), "from 20 repeats"),
            "rounded": (toy_importance(measured=toy_importance()[1].round(2)), "but rounded"),
            "another seed": (toy_importance(seed=1), "another generator, it seems"),
            "an earlier function": (
                toy_importance(importance_by(spread=lambda g, axis: np.std(g, axis=axis, ddof=1))), "run the whole "
                "cell",
            ),
            "not measured": (toy_importance(measured=[[9.0, 1.0], [9.0, 1.0]]), "`measured` is"),
            "a table": (toy_importance(measured=pd.DataFrame(toy_importance()[1])), "is a DataFrame"),
        },
        unfinished=((..., ...), (empty_stub, ...), (importance_by(), ...)),
        given=(toy_model, TOY_PARTS),
    ),
    "check_shapley": Case(
        right=(
            (shapley_by(of_composition, of_structure),),
            (lambda e: np.array(shapley_by(of_composition, of_structure)(e)),),
            (lambda e: tuple(map(torch.tensor, shapley_by(of_composition, of_structure)(e))),),
        ),
        wrong={
            "c first": ((shapley_by(lambda n, c, s, b: n - c, lambda n, c, s, b: c - b),), "structure second"),
            "s first": ((shapley_by(lambda n, c, s, b: s - b, lambda n, c, s, b: n - s),), "composition second"),
            "both first": ((shapley_by(lambda n, c, s, b: n - c, lambda n, c, s, b: n - s),), "counted twice"),
            "something else": ((shapley_by(lambda *v: 0.1, lambda *v: 0.3),), "the whole gain is"),
            "percent": (
                (lambda e: 100 * as_shares(np.array(shapley_by(of_composition, of_structure)(e))),), "as shares of"
            ),
            "one number": ((lambda e: e["neither"] - e["both"],), "2 numbers"),
            "another key": ((lambda e: [e["none"], 1],), "stopped with KeyError"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_importance_statements": Case(
        right=((IMPORTANCE_STATEMENTS,),),
        unfinished=((...,), (says(IMPORTANCE_STATEMENTS, adds_up=...),)),
    ),
    "check_worth_considering": Case(
        right=((lambda e, t: front(e.tolist(), t.tolist()),), (lambda e, t: np.array(front(list(e), list(t))),)),
        wrong={
            "quotient": ((lambda e, t: e / t == (e / t).min(),), "quotient"),
            "product": ((lambda e, t: e * t == (e * t).min(),), "product"),
            "smallest error": ((lambda e, t: e == e.min(),), "only the smallest error"),
            "all": ((lambda e, t: e > 0,), "yours is True for number 3, counted from 0"),
            "names": ((lambda e, t: ["a", "b"],), "cannot be read"),
            "zeros and ones": ((lambda e, t: np.array(front(list(e), list(t)), dtype=float),), "needs True and False"),
            "one too few": ((lambda e, t: front(list(e), list(t))[1:],), "For 5 methods yours returns 4"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_campaign_days": Case(
        right=((lambda s, m, n, k: s / m * n * k / 86400,), (lambda s, m, n, k: torch.tensor(s / m * n * k / 86400),)),
        wrong={
            "no size": ((lambda s, m, n, k: s * k / 86400,), "as it is"),
            "upside down": ((lambda s, m, n, k: s * m / n * k / 86400,), "upside down"),
            "one training run": ((lambda s, m, n, k: s * n / m / 86400,), "How many"),
            "constant": ((lambda s, m, n, k: 14,), "yours gives 14 days"),
            "rounded": ((lambda s, m, n, k: round(s * n / m * k / 86400, 2),), "right to 2 digits"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_contenders": Case(
        right=(
            (lambda r: hold(new_ones(r)),),
            (lambda r: [m for m in "abcdefghi" if m in hold(new_ones(r))],),
        ),
        wrong={
            "set": ((lambda r: set(hold(new_ones(r))),), "A set has no order"),
            "best last": ((lambda r: hold(new_ones(r))[::-1],), "come first in a list"),
            "mean only": ((lambda r: [first(new_ones(r))],), "only the one with the smallest mean"),
            "random folds": ((lambda r: hold(r[r["split"] == "random"]),), "read the random folds"),
            "mean on random folds": ((lambda r: [first(r[r["split"] == "random"])],), "one mean alone"),
            "some": ((lambda r: ["b"],), "yours returns ['b']. Look at 'd'"),
            "one standard error": (
                (lambda r: [m for m, d in distances(new_ones(r)).items() if d.mean() <= stats.sem(d)],), "Look at 'b'",
            ),
            "one text": ((lambda r: "a",), "a list of methods"),
            "numbers": ((lambda r: [0, 1],), "not in the column"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_choices": Case(
        right=((RIGHT,), chosen("A", "late_fusion"), ({name: list(pair) for name, pair in RIGHT.items()},)),
        wrong={
            "the forest": (chosen("A", "random_forest"), "shown to be worse"),
            "too slow": (chosen("A", "megnet"), "do not fit"),
            "not recorded": (chosen("A", "alignn"), "no runs of"),
            "forest for large data": (chosen("B", "random_forest"), "5.0 times smaller"),
            "no evidence": (chosen("B", "early_fusion"), "no row on the leaderboard"),
            "one of two": (chosen("C", "cgcnn"), "is not used"),
            "trained again": (chosen("C", "early_fusion"), "risks less"),
            "quotient": (chosen("A", reason="smallest quotient"), "where the time is long"),
            "mean": (chosen("A", reason="smallest mean"), "without its interval"),
            "random": (chosen("A", reason="random folds"), "another question"),
            "other data": (chosen("B", reason="across datasets"), "other crystals"),
            "A, large data": (chosen("A", reason="large data"), "fewer than a quarter"),
            "A, no training": (chosen("A", reason="no new training"), "no model exists yet"),
            "B, fits": (chosen("B", reason="holds and fits"), "no time limit"),
            "B, no training": (chosen("B", reason="no new training"), "not an obstacle"),
            "C, fits": (chosen("C", reason="holds and fits"), "nothing may be trained"),
            "C, large data": (chosen("C", reason="large data"), "how large"),
            "no reason": (chosen("A", reason="because"), "from the list"),
            "no method": (chosen("A", "gut feeling"), "has that name"),
            "no pair": ((RIGHT | {"A": "early_fusion"},), "a pair of texts"),
            "one is missing": (({"A": RIGHT["A"]},), "lacks the key"),
        },
        unfinished=((...,), (RIGHT | {"B": ...},), (RIGHT | {"C": ("late_fusion", ...)},)),
        given=(RUNS, BOARD),
    ),
    "check_attention_weights": Case(
        right=((attention_weights,), (lambda v, a, b: ((v * a).sum(-1) + b).softmax(-1),)),
        wrong={
            "over the batch": ((lambda v, a, b: ((v * a).sum(2) + b).softmax(0),), "*crystals*"),
            "global": ((lambda v, a, b: b.softmax(0).repeat(len(v), 1),), "learned `b` alone"),
            "mean over the batch": (
                (lambda v, a, b: ((v * a).sum(2) + b).mean(0).softmax(0).repeat(len(v), 1),), "mean over the batch"
            ),
            "one weight": ((lambda v, a, b: attention_weights(v, a, b)[:, 0],), "two weights for each"),
            "not one": ((lambda v, a, b: 0.3 * attention_weights(v, a, b),), "add up to 0.300"),
            "constant": ((lambda v, a, b: torch.tensor([0.3, 0.7]).repeat(len(v), 1),), "without a gradient"),
            "squares": ((lambda v, a, b: attention_weights(v**2, a, b),), "not the right ones"),
            "NumPy": ((lambda v, a, b: np.einsum("bvh,vh->bv", v, a),), "stopped with RuntimeError"),
            "detached": ((lambda v, a, b: attention_weights(v, a, b).detach().numpy(),), "a NumPy array, which"),
            "list": ((lambda v, a, b: attention_weights(v, a, b).tolist(),), "is a list, which"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_fuse": Case(
        right=((fuse,), (lambda v, w: w[:, :1] * v[:, 0] + w[:, 1:] * v[:, 1],)),
        wrong={
            "mean": ((lambda v, w: v.mean(1),), "plain mean"),
            "sum": ((lambda v, w: v.sum(1),), "plain sum"),
            "swapped": ((lambda v, w: fuse(v, w.flip(1)),), "of the other one"),
            "one number": ((lambda v, w: fuse(v, w).sum(),), "one vector per crystal"),
            "zeros": ((lambda v, w: torch.zeros(len(v), v.shape[2]),), "without a gradient"),
            "squares": ((lambda v, w: fuse(v, w**2),), "numbers are not"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_dependence_test": Case(
        right=(
            (follows_the_crystal,),
            (lambda f, v: bool(f(v)[:, 0].std() > 1e-5 and torch.allclose(f(v.flip(0)).flip(0), f(v), atol=1e-5)),),
        ),
        wrong={
            "adds up to one": ((lambda f, v: torch.allclose(f(v).sum(1), torch.ones(len(v))),), "to everything"),
            "views differ": ((lambda f, v: bool((f(v)[:, 0] - f(v)[:, 1]).abs().max() > 1e-5),), "0.69 and 0.31"),
            "from batch to batch": (
                (lambda f, v: bool((f(v[:4])[0] - f(v[4:])[0]).abs().max() > 1e-5),), "from batch to batch"
            ),
            "exact": ((lambda f, v: bool(f(v)[:, 0].max() > f(v)[:, 0].min()),), "seventh digit"),
            "too strict": ((lambda f, v: bool(f(v)[:, 0].std() > 0.05),), "hundredth"),
            "not turned back": (
                (lambda f, v: bool(f(v)[:, 0].std() > 1e-5 and torch.allclose(f(v.flip(0)), f(v), atol=1e-5)),),
                "after `flip`",
            ),
            "first two": (
                (lambda f, v: bool((f(v)[0] - f(v)[1]).abs().max() > 1e-5 and torch.allclose(f(v.flip(0)).flip(0), f(v),
                                                                                      atol=1e-5)),), "*all* crystals"
            ),
            "spread only": ((lambda f, v: bool(f(v)[:, 0].std() > 1e-5),), "*place*"),
            "place only": (
                (lambda f, v: bool(f(v)[:, 0].std() > 1e-5 and not torch.allclose(f(v), f(v.flip(0)), atol=1e-5)
                 and torch.allclose(f(v[:4].flip(0))[0], f(v)[3], atol=2.0)),), "drawn at random"
            ),
            "a number": ((lambda f, v: float(f(v).std()),), "True or False"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_culprits": Case(
        right=(
            ({"supercell": "summary", "rest of the batch": "weights"},),
            ({"rest of the batch": "weights", "supercell": "summary"},),
        ),
        wrong={
            "none": (({},), "is empty"),
            "only the batch": (({"rest of the batch": "weights"},), "where there is one bug"),
            "turned": (({"orientation": "scores"},), "only on distances"),
            "moved": (({"origin": "scores"},), "No position"),
            "reordered": (({"order of atoms": "scores"},), "does not depend on the order"),
            "cell": (({"choice of cell": "summary"},), "same neighbours"),
            "no promise": (({"dropout": "weights"},), "labels of the figure"),
            "no variable": (({"supercell": "atoms", "rest of the batch": "weights"},), "name a variable"),
            **{
                f"supercell, {variable}": (({"supercell": variable, "rest of the batch": "weights"},), words)
                for variable, words in {
                    "question": "computed from", "scores": "first variable that changes",
                    "weights": "must halve", "empty": "twice the atoms?",
                }.items()
            },
            **{
                f"batch, {variable}": (({"supercell": "summary", "rest of the batch": variable},), words)
                for variable, words in {
                    "summary": "stay out of", "question": "further down", "scores": "one line further",
                    "empty": "only has more rows",
                }.items()
            },
        },
        unfinished=((...,), ({"supercell": ..., "rest of the batch": "weights"},)),
    ),
    "check_fixed_attention": Case(
        right=(
            (pooling(averages, within_crystals),),
            (pooling(lambda x, c: averages(x, c) * 2, within_crystals),),
        ),
        wrong={
            "as before": ((pooling(sums, lambda s, c: s.softmax(0)),), "what the colleague's layer did"),
            "summary only": ((pooling(averages, lambda s, c: s.softmax(0)),), "`summary` is fixed"),
            "weights only": ((pooling(sums, within_crystals),), "`weights` is fixed"),
            "atoms of the batch": ((pooling(lambda x, c: sums(x, c) / len(x), within_crystals),), "whole *batch*"),
            "mean pooling": ((pooling(averages, uniform),), "not attention any more"),
            "sigmoid": ((pooling(averages, lambda s, c: s.sigmoid()),), "one atom at a time"),
            "exponentials": ((pooling(averages, lambda s, c: s.exp()),), "*its* atoms"),
            "no summary": ((pooling(lambda x, c: 0 * sums(x, c), within_crystals),), "instead of removing it"),
            "number of atoms": (
                (pooling(averages, lambda s, c: s.softmax(0) / torch.bincount(c)[c]),), "whole batch before"
            ),
            "largest score of the batch": (
                (pooling(averages, lambda s, c: within_crystals(s / s.abs().max(), c)),), "batch` is broken"
            ),
            "number of atoms in the score": (
                (pooling(averages, lambda s, c: within_crystals(s * torch.bincount(c)[c], c)),), "`supercell` is broken"
            ),
            "another class": ((Pruned,), "three layers"),
            "first atom": ((pooling(first_atoms, within_crystals),), "`order of atoms` is broken"),
            "no summary at all": ((pooling(averages, within_crystals, sums_up=False),), "instead of removing it"),
            "no pooling": ((Unattentive,), "does not depend on the scores"),
            "no composition": ((pooling(averages, within_crystals, asks=False),), "query comes from the composition"),
            "no crystals given": ((pooling(averages, lambda s, c: softmax(s)),), "stopped with NotImplementedError"),
            "dim instead of crystals": (
                (pooling(averages, lambda s, c: softmax(s, dim=0)),), "softmax(s, dim=0)"
            ),
        },
        unfinished=((...,), (Empty,)),
    ),
    "check_detectable": Case(
        right=((effect,), (lambda s, k, m: np.array(effect(s, k, m)),)),
        wrong={
            "independent folds": ((lambda s, k, m: effect(s, k, m) * np.sqrt((k - 1) / (2 * k - 1)),), "besides 1/k"),
            "half the interval": (
                (lambda s, k, m: stats.t.ppf(1 - 0.025 / m, k - 1) * s * np.sqrt(1 / k + 1 / (k - 1)),), "second time"
            ),
            "comparisons left out": ((lambda s, k, m: effect(s, k, 1),), "number of comparisons"),
            "percent": ((lambda s, k, m: 100 * effect(s, k, m),), "100 times too large"),
            "something else": ((lambda s, k, m: 0.3,), "it should be"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_claim": Case(
        right=((CLAIM,), claiming(first="early_fusion", second="cgcnn", comparisons=np.int64(2), at_least=0.3)),
        wrong={
            "no method": (claiming(first="gut feeling"), "is not a method"),
            "pretrained": (claiming(first="embedding"), "task 4 cannot train it"),
            "itself": (claiming(second="cgcnn"), "A claim compares two"),
            "random folds": (claiming(folds="random"), "*new* formulas"),
            "half a comparison": (claiming(comparisons=1.5), "Count the comparisons"),
            "none": (claiming(comparisons=0), "is 0. Count"),
            "too small to see": (claiming(at_least=0.01), "next to nothing"),
            "too many comparisons": (claiming(comparisons=50), "compare fewer things"),
            "a loss": (claiming(at_least=-0.1), "above zero"),
            "more than guessing": (claiming(at_least=3), "no method can gain"),
            "a key is missing": (({"first": "cgcnn"},), "lacks the key"),
        },
        unfinished=((...,), claiming(at_least=...)),
        given=(0.03, 5, pd.Series([0.0, 0.0, 0.0, 0.5, 1.0, 1.5])),
    ),
    "check_folds": Case(
        right=((WHOLE_FORMULAS,), ([tuple(map(list, fold)) for fold in WHOLE_FORMULAS],)),
        wrong={
            "random": (
                ([(THIRDS[:, k], THIRDS[:, k - 1], THIRDS[:, k - 2]) for k in range(3)],),
                "3 formulas have structures in training and test",
            ),
            "tested crystals trained on": (changed_fold(training=np.arange(9)), "in training and test, the first"),
            "validated on the test": (changed_fold(validation=THIRDS[1]), "in validation and test"),
            "formula validated": (changed_fold(training=[0, 1], validation=[2, 6]), "trained on"),
            "never tested": (([*WHOLE_FORMULAS[:2], changed_fold(test=[3])[0][0]],), "is never tested"),
            "tested twice": (([*WHOLE_FORMULAS, WHOLE_FORMULAS[0]],), "more than one fold"),
            "one fold": ((WHOLE_FORMULAS[:1],), "has 1 fold."),
            "two parts": (([fold[:2] for fold in WHOLE_FORMULAS],), "three parts"),
            "masks": (changed_fold(test=np.arange(9) < 3), "np.flatnonzero"),
            "out of range": (changed_fold(test=[3, 4, 9]), "not rows from 0 to 8"),
            "ids": (changed_fold(test=["a", "b"]), "cannot be read as numbers"),
            "a row twice": (changed_fold(test=[3, 3]), "more than once"),
            "nothing to validate": (changed_fold(validation=[]), "is empty"),
        },
        unfinished=((...,), ([...],)),
        given=(NINE, 3),
    ),
    "check_comparison": Case(
        right=((gain_with_interval,), (lambda e, m: list(gain_with_interval(e.sample(frac=1, random_state=3), m)),)),
        wrong={
            "sign": ((lambda e, m: -np.array(gain_with_interval(e, m))[[0, 2, 1]],), "which error do you subtract"),
            "level of one": ((lambda e, m: gain_with_interval(e, 1),), "however many comparisons there are. `level"),
            "plain": ((lambda e, m: gain_with_interval(e, m, corrected=False),), "widens it"),
            "mean only": ((lambda e, m: gains(e).mean(),), "3 numbers"),
            "half as wide": ((lambda e, m: gain_with_interval(e, m, size=0.5),), "The mean is right"),
            "something else": ((lambda e, m: (0.1, 0.0, 0.2),), "mean difference is"),
        },
        unfinished=((...,), (empty_stub,)),
    ),
    "check_report": Case(
        right=((REPORT,), ({name: np.bool_(value) for name, value in REPORT.items()},)),
        wrong={
            "nothing shown": ((says(REPORT, first_better=False),), "from 0.02 to 0.12. Is all of it"),
            "the other way": ((says(REPORT, second_better=True),), "second method is better, below zero"),
            "neither": ((says(REPORT, neither_shown=True),), "hold zero"),
            "the mean is as large": ((says(REPORT, as_claimed=True),), "not the mean alone"),
            "excluded": ((says(REPORT, claim_excluded=True),), "no value in the interval"),
            "equal": ((says(REPORT, equal=True),), "nothing else"),
            "any crystals": ((says(REPORT, any_crystals=True),), "who chose them"),
            "because": ((says(REPORT, because=True),), "keep the rest"),
        },
        unfinished=((...,), (says(REPORT, equal=...),)),
        given=((0.07, 0.02, 0.12), 0.06),
    ),
    "check_yourself_1": questions("c", "b", "c", "a", "b"),
    "check_yourself_2": questions(401, "b", "c", "a"),
    "check_yourself_3": questions("c", "b", "b", "c"),
    "check_yourself_4": questions("b", "a", "c"),
    "check_yourself_5": questions(144, -1, "a", "b", "c"),
    "check_yourself_6": questions(2, "a", "c", "b"),
    "check_yourself_7": questions("b", "a", "c"),
    "check_yourself_8": questions(13.4, "b", "a", "c"),
    "check_yourself_9": questions(5, "b", "a", "c"),
    "check_yourself_10": questions("c", "b", "b", "c"),
    "check_quest_0": Case(
        right=((0.3,), (np.float32(0.301),)),
        wrong={
            "range": ((0.6,), "how far apart"),
            "mean": ((1.1 / 3,), "say the mean"),
            "median": ((0.5,), "say the median"),
            "mean error": ((0.2,), "a mean error"),
            "spread": ((np.std([-1.2, -1.1, -0.6]),), "standard deviation"),
            "energy": ((-1.1,), "That is an energy"),
            "unit": ((300,), "in meV/atom"),
            "sign": ((-0.3,), "negative"),
            "some other": ((3.0,), "3 is not right"),
        },
        unfinished=((...,),),
        given=(OXIDES,),
    ),
    "check_quest_1": Case(
        right=((6,), (np.int64(6),)), wrong={"some other": ((5,), "5 is not right")}, unfinished=((...,),)
    ),
    "check_quest_2": Case(
        right=((3.0,), (np.float32(3.001),)), wrong={"some other": ((1.5,), "1.5 is not right")}, unfinished=((...,),)
    ),
    "check_quest_3": Case(
        right=((best_alpha_of_fluorides(),), (np.float32(best_alpha_of_fluorides() + 0.004),)),
        wrong={
            "none": ((1.2,), "between 0 and 1"),
        },
        unfinished=((...,),),
        given=(CRYSTALS,),
    ),
    "check_quest_4": Case(right=((384,),), wrong={"some other": ((145,), "145 is not right")}, unfinished=((...,),)),
    "check_quest_5": Case(
        right=((-0.1153,), (np.cos(np.radians(96.62)),)),
        wrong={"tetrahedron": ((-1 / 3,), "of a tetrahedron"), "some other": ((0.3,), "0.3 is not right")},
        unfinished=((...,),),
    ),
    "check_quest_6": Case(
        right=((loss_of_nitrides(),), (loss_of_nitrides().item(),)),
        wrong={
            "some other": ((50.0,), "50 is not right"),
            "missing spoils it": ((float("nan"),), "value missing"),
        },
        unfinished=((...,),),
        given=(CRYSTALS,),
    ),
    "check_quest_7": Case(right=((0.132,),), wrong={"percent": ((13.2,), "percent")}, unfinished=((...,),)),
    "check_quest_8": Case(
        right=((1.003,), (np.float32(1.0029),)),
        wrong={
            "bond of rock salt": ((1.158,), "the bond of rock salt"),
            "lattice constant": ((2.316,), "How far apart"),
            "length": ((2.347,), "length of the bond in"),
            "mean radius": ((2.006,), "*mean* of"),
            "one radius": ((1.778,), "over one radius"),
            "some other": ((0.7,), "0.7 is not right"),
        },
        unfinished=((...,),),
    ),
    "check_quest_9": Case(
        right=((energy_of_mgcl2(),), (np.float32(energy_of_mgcl2() + 1e-3),)),
        wrong={
            "no references": ((energy_of_mgcl2(0, 0),), "left the references out"),
            "every atom": ((energy_of_mgcl2(1, 2),), "take the shares"),
            "equal shares": ((energy_of_mgcl2(1 / 2, 1 / 2),), "how many are chlorine"),
            "exchanged": ((energy_of_mgcl2(2 / 3, 1 / 3),), "exchanged the shares"),
            "some other": ((-30.0,), "-30 is not right"),
        },
        unfinished=((...,),),
        given=(CRYSTALS,),
    ),
    "check_quest_10": Case(
        right=((gigabytes_of_edges(),), (1.005 * gigabytes_of_edges(),)),
        wrong={
            "megabytes": ((1000 * gigabytes_of_edges(),), "in megabytes."),
            "crystals of 30 atoms": ((40.0,), "400 edges"),
            "no bytes": ((gigabytes_of_edges() / 20,), "How many bytes"),
            "binary": ((gigabytes_of_edges() * (1000 / 1024) ** 3,), "steps of 1024"),
            "sample": ((gigabytes_of_edges() * 200 / 5e6,), "How many of the same kind"),
            "not per crystal": ((gigabytes_of_edges() * 200,), "for those of one crystal"),
            "some other": ((77.0,), "77 GB is not right"),
        },
        unfinished=((...,),),
        given=(CRYSTALS,),
    ),
}  # fmt: skip


CHECKERS = public_functions(checkers, "check_")


def ask(name: str, answer: tuple) -> Feedback:
    return CHECKERS[name](*answer, *CASES[name].given)


@cache
def parts_of(name: str) -> tuple[Part, ...]:
    """Return the parts of a checker that is made of data, also where these depend on the crystals of its case."""
    if hasattr(CHECKERS[name], "question"):
        return (CHECKERS[name].question(*CASES[name].given),)
    return getattr(CHECKERS[name], "parts", ())


each_checker = pytest.mark.parametrize("name", CASES)


def test_as_many_folds_as_the_claim_was_checked_for():
    found = CHECKERS["check_folds"](WHOLE_FORMULAS, NINE)
    assert "`my_folds` has 3 folds, but your claim was checked for 5" in found.message


def test_every_checker_has_cases():
    assert set(CASES) == CHECKERS.keys()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(name, answer, id=f"{name}-{k}")
        for name, case in CASES.items()
        for k, answer in enumerate(case.right)
    ],
)
def test_accepts_what_is_right(name, answer):
    feedback = ask(name, answer)
    assert feedback.state == "right", feedback
    assert len(feedback.message) > 30, "it should say what was shown"


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        pytest.param(name, answer, words, id=f"{name}-{mistake}")
        for name, case in CASES.items()
        for mistake, (answer, words) in case.wrong.items()
    ],
)
def test_gives_a_hint_for_each_mistake(name, answer, words):
    feedback = ask(name, answer)
    assert feedback.state == "hint", feedback
    assert words in feedback.message


VARIANTS = [
    *(
        ("check_pair_cosines", "by the same number", (answer,))
        for answer in (
            lambda v, p: -dots(v / np.linalg.norm(v), p),
            lambda v, p: dots(v / np.linalg.norm(v), p),
            lambda v, p: -dots(v / lengths(v).mean(), p),
        )
    ),
    ("check_contenders", "bars of two", (lambda r: overlapping(new_ones(r), stats.sem),)),
    ("check_contenders", "share training crystals", (lambda r: as_if_independent(new_ones(r), by=["fold", "seed"]),)),
    ("check_contenders", "limit on the mean", (lambda r: near(new_ones(r), 0.022),)),
    ("check_importance", "another generator", toy_importance(measured=measured_second())),
    ("check_importance", "another generator", toy_importance(seed=123, n_repeats=5)),
    ("check_importance", "and 10 repeats your function gives", toy_importance(n_repeats=33)),  # not tried
    ("check_importance", "memorised it", toy_importance(part="training", seed=1)),
    ("check_importance", "memorised it", toy_importance(part="training", n_repeats=3)),
]


@pytest.mark.parametrize(("name", "words", "answer"), VARIANTS)
def test_variants_of_one_mistake_get_its_hint(name, words, answer):
    feedback = ask(name, answer)
    assert feedback.state == "hint", feedback
    assert words in feedback.message


@each_checker
def test_known_mistakes_get_their_hints(name):
    """What the checkers' own tables hold: the right answers are accepted, and no two mistakes agree on everything."""
    parts = parts_of(name)
    right = [part.right for part in parts]
    assert not parts or ask(name, tuple(right))
    for k, part in enumerate(parts):
        for wrong, hint in part.known:
            feedback = ask(name, (*right[:k], wrong, *right[k + 1 :]))
            assert feedback.state == "hint"
            assert hint in feedback.message


@each_checker
def test_each_mistake_has_a_hint_of_its_own(name):
    messages = {mistake: ask(name, answer).message for mistake, (answer, _) in CASES[name].wrong.items()}
    known = [hint for part in parts_of(name) for _, hint in part.known]
    assert len(set(messages.values())) == len(messages)
    assert len(messages) + len(known) >= 3


@pytest.mark.parametrize(
    ("name", "answer"),
    [pytest.param(name, a, id=f"{name}-{k}") for name, case in CASES.items() for k, a in enumerate(case.unfinished)],
)
def test_is_friendly_to_what_is_not_finished(name, answer):
    feedback = ask(name, answer)
    assert feedback.state == "unfinished", feedback
    assert "Traceback" not in repr(feedback)


class Hostile:
    """An object that fails at whatever is done with it."""

    def __array__(self, *_, **__):
        raise KeyError("no array")

    def __repr__(self):
        raise KeyError("no text")

    def __eq__(self, other):
        raise KeyError("no comparison")

    __hash__ = None


def fails(*_):
    raise KeyError("mine")


def spoils(*arguments):
    """Change the arguments in place."""
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            argument[...] = 0
    return 0.0


ABSURD = [
    None, ..., True, "401", b"1", 1j, float("nan"), float("inf"), -7, 10**400, 1e308, [], [[1], [2, 3]], [None], {},
    set(), {"a": Hostile()}, {1: 2}, object(), Hostile(), [Hostile()], int, np.array([]), np.full((3, 3), np.nan),
    np.array("x"), np.array([1j]), torch.tensor(1.0, requires_grad=True), torch.zeros(2, 3), pd.Series(["a"]),
    pd.DataFrame(), iter([1]), lambda: 1, lambda *_: "x", lambda *_: [], lambda *_: Hostile(), lambda *_: float("nan"),
    lambda *_: np.zeros((2, 2)), lambda *_: 1 / 0, fails, spoils, print, Hostile, (1, 2), [(0, 1)], [(0.5, 1)],
    [(-1, 2)], range(2),
]  # fmt: skip


PLACES = [(name, k) for name, case in CASES.items() for k in range(len(case.right[0]))]


@pytest.mark.parametrize(("name", "position"), PLACES)
def test_nothing_ends_in_a_traceback(name, position):
    for absurd in ABSURD:
        answer = list(CASES[name].right[0])
        answer[position] = absurd
        feedback = ask(name, tuple(answer))
        assert feedback.state in ("hint", "unfinished"), feedback
        assert repr(feedback)
        assert feedback._repr_html_()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case.right[0][0], dict)])
def test_nothing_inside_an_answer_ends_in_a_traceback(name):
    right, *others = CASES[name].right[0]
    for absurd in ABSURD:
        for key in right:
            feedback = ask(name, (right | {key: absurd}, *others))
            assert feedback.state in ("hint", "unfinished") or absurd is right[key], feedback
            assert repr(feedback)


def test_a_report_waits_for_its_interval():
    feedback = CHECKERS["check_report"](REPORT, ..., 0.1)
    assert feedback.state == "unfinished"
    assert "tasks 1 to 4" in feedback.message


# --- what the exercises are made of ---------------------------------------------------------------------------------


def test_the_made_up_models_have_the_errors_of_the_exercise():
    models = two_models()
    errors = models[["forest", "cgcnn"]].sub(models["y"], axis=0)
    assert errors.abs().mean().tolist() == pytest.approx([0.035, 0.028], rel=1e-9)
    assert errors.corr().iloc[0, 1] == pytest.approx(0.65, abs=1e-9)
    for loss in ("mae", "mse"):
        assert optimal_alpha(models["y"], models["forest"], models["cgcnn"], loss) == pytest.approx(0.20, abs=0.01)


def test_the_catalogue_has_the_leaderboards_datasets_with_the_sizes_that_matbench_gives():
    tasks, crystals_of = matbench_tasks(), catalogue()["crystals"]
    board = pd.read_csv(DATA / "matbench_leaderboard.csv", index_col="model")
    for column in board.columns:
        name = f"matbench_{column.split(' ')[0]}"
        assert tasks[name]["n_samples"] == crystals_of[name]
    assert set(choosing.BOARD.values()) <= set(board.index)


def test_error_ratios_are_drawn_from_the_smallest_dataset_to_the_largest():
    figure = plot_error_ratios(pd.Series({"large": 5.0, "small": 1.25}), {"small": 100, "large": 20_000}, "a / b")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "small: 100 crystals",
        "large: 20,000 crystals",
    ]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.25, 5.0]
    with pytest.raises(ValueError, match="no size of the dataset 'other'"):
        plot_error_ratios(pd.Series({"other": 1.0}), {"small": 100}, "a / b")


def test_promises_are_drawn_as_kept_or_broken():
    figure = plot_prediction_changes(pd.DataFrame({"kept": [1e-7, 1e-6], "broken": [0.0, 0.1]}))
    assert texts(figure)[1:] == ["kept", "broken"]


def test_the_quests_of_the_notebooks_have_the_answers_that_the_library_gives():
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    graph = CrystalGraphs.from_structures([perovskite]).batch([0])
    source, target = graph.species[graph.edge_index]
    arsenic = Structure.from_spacegroup("R-3m", Lattice.hexagonal(3.760, 10.548), ["As"], [[0, 0, 0.2271]])
    bonds = CrystalGraphs.from_structures([arsenic], neighbors=3).batch([0])
    first, second = bonds.edge_vector[bonds.edge_index[1] == 0][:2]
    number = magpie(["Li2O", "Na2O", "K2O"])["MagpieData mean Number"].to_numpy(float)
    sulfide = Structure(Lattice.cubic(4.0), ["Zn", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    sulfide = CrystalGraphs.from_structures([sulfide], composition=magpie).batch([0])
    layered = pd.read_csv(DATA / "matbench_leaderboard.csv", index_col="model")["jdft2d (meV/atom)"]
    answers = {
        1: int(((source == 8) & (target == 22)).sum()),
        2: (number[2] - number[:2].mean()) / number[:2].std(),
        4: IntermediateFusion().eval().scale_and_shift(sulfide).numel(),
        5: first @ second / (first.norm() * second.norm()),
        7: 1 - layered["ALIGNN"] / layered["RF-SCM/Magpie"],
        8: 5.42 * np.sqrt(3) / 4 / (element_properties().loc[["Cu", "Cl"], "CovalentRadius"].sum() / 100),
    }
    for k, answer in answers.items():
        assert CHECKERS[f"check_quest_{k}"](answer), k


def quest_of(number: int, uses: str = "", **known: object) -> dict:
    """Run the cell of a notebook that gives the data of its quest, after what it `uses`; return its variables."""
    (name,) = (path.stem for path in NOTEBOOKS.glob(f"{number:02d}_*.py"))
    cells = [cell.source for cell in source(name).cells if cell.cell_type == "code"]
    variables = {"crystals": CRYSTALS, "np": np, **known}
    exec(next((cell for cell in cells if uses and uses in cell), ""), variables)
    exec(cells[-2], variables)
    return variables


def test_the_quests_about_our_crystals_are_answered_by_what_their_pages_give():
    """As a reader would, from the variables of the page's cell and nothing else."""
    table = quest_of(3)["table"]
    alphas = np.linspace(0, 1, 10_001)
    blends = alphas[:, None] * table["early_fusion"].to_numpy() + (1 - alphas[:, None]) * table["cgcnn"].to_numpy()
    assert CHECKERS["check_quest_3"](alphas[np.abs(blends - table["computed"].to_numpy()).mean(1).argmin()], CRYSTALS)

    energy, gap = quest_of(6)["off_by"].abs().mean()
    assert CHECKERS["check_quest_6"](energy + 0.5 * gap, CRYSTALS)

    known = {"y": CRYSTALS[TARGET], "pretrained": stored_features(CRYSTALS), "ENERGY": PRETRAINED}
    cell = quest_of(9, uses="def shares(", **known)
    _, magnesium, _, chlorine = cell["references"]
    assert CHECKERS["check_quest_9"](cell["energy_of_mgcl2"] + magnesium / 3 + chlorine * 2 / 3, CRYSTALS)

    graphs = quest_of(10, load_dataset=load_dataset, CrystalGraphs=CrystalGraphs)["others"]
    assert CHECKERS["check_quest_10"](len(graphs.vector) / len(graphs) * 20 * 5_000_000 / 1e9, CRYSTALS)


def test_mistakes_that_data_put_at_one_place_are_told_once():
    """At the right answer they would be no mistake, and at an earlier one they would never be told."""
    mistakes = (("a", 0.5, 0.2), ("b", 0.501), ("c", 0.9), ("d", 0.201), ("e", lambda value: True))
    *kept, (last, _) = told_apart(0.5, mistakes, 0.01)
    assert kept == [("a", 0.2), ("c", 0.9)]
    assert last == "e"


@pytest.fixture
def made_up_runs(monkeypatch):
    """Let quests read made-up predictions, so that no recorded number decides which mistakes can be told apart."""

    def predicted(method: str, target: str) -> pd.Series:
        rng = np.random.default_rng(len(method))
        by, spread = {"early_fusion": (0.1, 0.6), "cgcnn": (0.0, 0.4)}.get(method, (-0.3, 0.5))
        off = by + spread * rng.standard_t(3, len(CRYSTALS))
        gap = CRYSTALS["band_gap"]
        return CRYSTALS[target] + off * (2 if target == gap.name else 1.5 - 0.5 * (gap == 0))

    monkeypatch.setattr(quests, "_predicted", predicted)


def test_mistakes_of_the_quest_on_a_blend_get_their_hints(made_up_runs):
    table = quests.fluorides(CRYSTALS)
    models = [table[name] for name in ("computed", "early_fusion", "cgcnn")]
    alpha = optimal_alpha(*models)
    check = CHECKERS["check_quest_3"]
    assert check(alpha, CRYSTALS)
    assert "the weight of CGCNN" in check(1 - alpha, CRYSTALS).message
    assert "*squared* error" in check(optimal_alpha(*models, loss="mse"), CRYSTALS).message
    assert "error of the best blend" in check(sum_of_blend(alpha, *models) / len(table), CRYSTALS).message
    assert "plain mean" in check(0.5, CRYSTALS).message


def sum_of_blend(alpha: float, y: pd.Series, a: pd.Series, b: pd.Series) -> float:
    return float((y - alpha * a - (1 - alpha) * b).abs().sum())


def test_mistakes_of_the_quest_on_a_loss_get_their_hints(made_up_runs):
    off_by = quests.nitrides(CRYSTALS)
    metals = CRYSTALS.loc[off_by.index, "band_gap"] == 0
    assert off_by["band_gap"].isna().equals(metals)
    (energy, gap), check = off_by.abs().mean(), CHECKERS["check_quest_6"]
    assert check(energy + gap / 2, CRYSTALS)
    for answer, words in (
        (off_by.abs().fillna(0).mean() @ [1, 0.5], "an error of zero"),
        (energy + gap, "left λ out"),
        (energy / 2 + gap, "exchanged the two weights"),
        (off_by.dropna().abs().mean() @ [1, 0.5], "dropped the metals"),
        (energy, "energy's part alone"),
        (gap / 2, "gap's part alone"),
        (off_by.mean() @ [1, 0.5], "Errors of different sign"),
        (off_by.abs().stack().mean(), "one mean over all labels"),
        (off_by.abs().sum() @ [1, 0.5], "added the errors up"),
    ):
        assert words in check(answer, CRYSTALS).message, words


def test_the_pages_say_which_way_the_vector_of_an_edge_points():
    pair = Structure(Lattice.cubic(9), ["Na", "Cl"], [[0, 0, 0], [0.2, 0, 0]])
    batch = CrystalGraphs.from_structures([pair], neighbors=1).batch([0])
    position = torch.tensor(pair.cart_coords, dtype=torch.float32)
    source_, target = position[batch.edge_index]
    assert torch.allclose(batch.edge_vector, source_ - target, atol=1e-5)
    told = [line for path in NOTEBOOKS.glob("*.py") for line in path.read_text("utf-8").splitlines()]
    told = [line for line in told if re.search(r"edge_vector  #|vectors?\b.*\bfrom (?:its |source|target)", line)]
    assert told
    assert not [line for line in told if "from source to target" in line]


def test_the_page_does_not_tell_the_answer_of_its_quest_on_angles():
    """The cosine and the angle of grey arsenic are nowhere in the notebook, neither in texts nor in outputs."""
    notebook = nbformat.read(NOTEBOOKS / "05_alignn.ipynb", as_version=4)
    texts = [cell.source for cell in notebook.cells] + [str(cell.metadata) for cell in notebook.cells]
    texts += [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
    (part,) = parts_of("check_quest_5")
    assert not re.search(r"0\.11[56]|96\.6", " ".join(texts))
    assert f"{part.right:.3f}" == "-0.115"
    assert not any(abs(part.right - np.cos(np.radians(angle))) < 0.05 for angle in (60, 90, 109.47, 120, 180))


def test_what_is_worked_out_on_paper_is_what_the_functions_give():
    spreads = np.array([[1.5, 2.0], [-1.5, -2.0]])
    error = {"neither": 1.0, "composition": 0.4, "structure": 0.7, "both": 0.3}
    order = (error["neither"] - error["composition"], error["structure"] - error["both"])
    right = {
        "check_inverse_scale": inverse_scale(spreads),
        "check_shapley": [*order, shapley_by(of_composition, of_structure)(error)[0]],
        "check_pairs": [len(EDGES), len(PATHS)],
    }
    for name, values in right.items():
        on_paper = [part for part in CHECKERS[name].on_page if part not in getattr(CHECKERS[name], "parts", ())]
        assert [part.right for part in on_paper] == pytest.approx(list(values))
    ratios = [gap / energy for energy, gap in three_losses().values()]
    assert [part.right for part in losses_on_page(*SPREAD)] == pytest.approx(ratios)


def test_selenium_has_the_published_bonds_and_angles():
    """Cherin and Unger give 2.373(5) angstrom and 103.1(2) degrees."""
    chain = along_chain(selenium(), 7)
    assert np.linalg.norm(np.diff(chain, axis=0), axis=1) == pytest.approx(2.373, abs=5e-3)
    assert np.degrees(np.arccos(angle_cosine(*chain[2:5]))) == pytest.approx(103.1, abs=0.2)
    # Space group P3_121, or its mirror image: what the space group finder says does not depend on how we wrote it.
    assert selenium().get_space_group_info()[1] in (152, 154)


def test_the_straight_chain_keeps_the_bonds():
    straight = along_chain(straightened(selenium()), 7)
    assert np.linalg.norm(np.diff(straight, axis=0), axis=1) == pytest.approx(2.3732, abs=1e-3)
    assert angle_cosine(*straight[:3]) == pytest.approx(-1)


def test_the_numbered_edges_are_the_librarys():
    for crystal in (selenium(), straightened(selenium())):
        batch = CrystalGraphs.from_structures([crystal], neighbors=2).batch([0])
        assert tuple(map(tuple, batch.edge_index.T.tolist())) == EDGES
        pairs = line_graph(batch.edge_index, batch.edge_vector, 3).pair_index.T.tolist()
        assert sorted(map(tuple, pairs)) == sorted(PATHS)


def test_water_has_its_angle():
    assert np.linalg.norm(WATER, axis=1).tolist() == pytest.approx([0.958, 0, 0.958], abs=1e-4)
    assert np.degrees(np.arccos(angle_cosine(*WATER))) == pytest.approx(104.5, abs=1e-2)


# --- the figures ----------------------------------------------------------------------------------------------------


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_chains_are_drawn_with_their_bonds_and_angles():
    figure = plot_chains({"bent": along_chain(selenium(), 5), "straight": along_chain(straightened(selenium()), 5)})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["bent: bonds of 2.37 Å, angles of 103.1°", "straight: bonds of 2.37 Å, angles of 180.0°"]


def test_numbered_edges_show_each_edge_once():
    drawn = texts(plot_numbered_edges(np.array(EDGES).T))
    assert sorted(drawn) == sorted(["atom 0", "atom 1", "atom 2", *map(str, range(6))])


def test_line_graph_shows_its_nodes_and_tells_cosines_apart():
    cosine = np.where([EDGES[e] == EDGES[f][::-1] for e, f in PATHS], 1.0, -0.226)
    figure = plot_line_graph(np.array(EDGES).T, np.array(PATHS).T, cosine)
    assert {"0\n1→0", "5\n1→2"} <= set(texts(figure))
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["cosine 1.00", "cosine -0.23"]
    assert len(figure.axes[1].patches) == 6 + 12


def test_task_shares_add_up():
    figure = plot_task_shares({"both": {"a": 0.03, "b": 0.18}, "other": {"a": 3.0, "b": 0.001}})
    bars = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches]
    assert np.allclose(bars, [(0, 1 / 7), (0, 3 / 3.001), (1 / 7, 6 / 7), (3 / 3.001, 0.001 / 3.001)])


def two_blocks() -> pd.DataFrame:
    return pd.DataFrame({"both": [0.2, 0.4], "composition": [0.4, 0.6], "structure": [0.7, 0.9], "neither": [1.0, 1.2]})


def test_block_orders_lead_from_neither_to_both():
    axes = plot_block_orders(two_blocks(), "eV/atom").axes[0]
    ends = {(round(bar.get_x(), 6), round(bar.get_x() + bar.get_width(), 6)) for bar in axes.patches}
    assert ends == {(1.1, 0.5), (0.5, 0.3), (1.1, 0.8), (0.8, 0.3), (1.1, 0.55), (0.55, 0.3)}
    assert texts(axes.figure) == ["0.60", "0.20", "0.30", "0.50", "0.55", "0.25", "both", "neither"]


def test_block_values_show_mean_and_spread():
    table = pd.DataFrame({"mean": [0.5, -0.1], "std": [0.05, 0.02]}, index=["composition", "structure"])
    figure = plot_block_values({"one": table, "two": 2 * table}, "eV/atom")
    assert texts(figure) == ["0.50 ± 0.05", "1.00 ± 0.10", "−0.10 ± 0.02", "−0.20 ± 0.04"]
    with pytest.raises(ValueError, match="no column 'std'"):
        plot_block_values({"one": table[["mean"]]}, "eV/atom")


# --- the notebooks --------------------------------------------------------------------------------------------------


def source(name: str) -> nbformat.NotebookNode:
    return jupytext.read(NOTEBOOKS / f"{name}.py")


def test_there_are_exercises():
    assert len(EXERCISES) >= 4
    assert {f"notebooks/{name}" for name in EXERCISES} <= set(pages_of_the_book())


@pytest.mark.parametrize("name", EXERCISES)
def test_learners_copy_is_what_the_source_gives(name):
    stored = nbformat.read(NOTEBOOKS / COPIES / f"{name}.ipynb", as_version=4)
    assert stored == learners_copy(source(name)), "run `make notebooks`"


def test_no_copy_without_a_source():
    assert {path.stem for path in (NOTEBOOKS / COPIES).glob("*.ipynb")} == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_learners_copy_holds_no_solution(name):
    given = nbformat.read(NOTEBOOKS / COPIES / f"{name}.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in given.cells)
    cells = source(name).cells
    answers = [cell for cell in cells if "answer" in cell.metadata.get("tags", [])]
    shown = [line for cell in cells if not cell.metadata.get("tags") for line in cell.source.splitlines()]
    assert answers
    for cell in answers:
        given_lines = [*stub(cell.source).splitlines(), *shown]  # a solution may repeat code that is given, to fix it
        solved = without_markers(cell.source).splitlines()
        taken_out = [line.strip() for line in solved if line not in given_lines and len(line.strip()) > 12]
        assert [line for line in taken_out if line in code] == []
    assert "SOLUTION" not in code
    assert not re.search(r"\{[\w:-]+\}`", code), "a role, which only the website can show"
    assert not any(cell.get("outputs") for cell in given.cells)


@pytest.mark.parametrize("name", EXERCISES)
def test_stored_page_shows_stub_then_solution(name):
    """What the checker said when the page was made; nbval compares it with what it says now."""
    stored = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    checks = [cell for cell in stored.cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    said = [cell.outputs[0].data["text/plain"] for cell in checks]
    assert len(said) >= 4
    assert all(text.startswith("… Not done yet.") for text in said[::2]), said
    assert all(text.startswith("✓ Right.") for text in said[1::2]), said


def test_your_own_question_can_be_asked_of_a_folder_of_cif_files(tmp_path, capsys):
    """The code of exercise 9, with its solutions, on a few crystals."""
    crystals = bundled(30)
    for name, structure in crystals["structure"].items():
        structure.to(filename=str(tmp_path / f"{name}.cif"))
    crystals[TARGET].to_csv(tmp_path / "id_prop.csv", header=False)
    changed = {
        '"pbe_prototypes", "band_gap"': f'{str(tmp_path)!r}, "target"',
        "0.08,": "detectable_effect(spread, N_FOLDS, 1),",
        '"epochs": 15': '"epochs": 1',
    }
    known = {"__name__": "exercise"}
    for cell in source("ex9_your_own_question").cells:
        if cell.cell_type == "code" and "solution" not in cell.metadata.get("tags", []):
            code = cell.source
            for old, new in changed.items():
                code = code.replace(old, new)
            exec(code, known)
    assert known["ready"]
    assert f"{len(crystals)} crystals; target in unknown" in capsys.readouterr().out
    assert list(known["errors"].groupby("role").size()) == [5, 5]
    mean, low, high = known["interval"]
    assert low < mean < high
    assert known["ahead"] == known["first" if mean > 0 else "second"]
    assert known["verdict"] == ("not shown" if low <= 0 <= high else "shown")


@pytest.mark.parametrize("name", EXERCISES)
def test_every_task_is_numbered_and_has_a_hint(name):
    cells = source(name).cells
    headings = [c.source.splitlines()[0] for c in cells if "task" in c.metadata.get("tags", [])]
    assert [heading.partition(":")[0] for heading in headings] == [f"## Task {k + 1}" for k in range(len(headings))]
    hints = [c.source for c in cells if "hint" in c.metadata.get("tags", [])]
    assert all(hint.startswith("<details><summary>Hint") and hint.endswith("</details>") for hint in hints)


# --- the tool that derives them ---------------------------------------------------------------------------------------

SOURCE = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An exercise

# %%
# NBVAL_CHECK_OUTPUT
given = 2

# %% [markdown] tags=["task"]
# ## Task 1: Double it
#
# 1. Double `given`.

# %% tags=["answer"]
doubled = 2 * given  # SOLUTION


def double(x):
    "Double x."
    # BEGIN SOLUTION
    twice = 2 * x
    return twice
    # END SOLUTION


# %% tags=["check"]
check_double(doubled)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Add it to itself.
#
# </details>

# %% tags=["after"]
if check_double(doubled):
    print(doubled)

# %% [markdown] tags=["solution"]
# That was easy.

# %% [markdown]
# The end.
"""


def written(text: str = SOURCE) -> nbformat.NotebookNode:
    return jupytext.reads(text, fmt="py:percent")


def sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells]


def test_page_has_the_stub_and_the_folded_solution():
    shown = sources(page(written(), "ex9_doubling"))
    start = next(k for k, text in enumerate(shown) if "solution-start" in text)
    end = next(k for k, text in enumerate(shown) if "solution-end" in text)
    task = next(text for text in shown if "{exercise}" in text)
    assert task.startswith("## Task 1: Double it\n\n````{exercise}\n:label: ex9-doubling-task-1\n")
    assert "solution-start} ex9-doubling-task-1\n:class: dropdown" in shown[start]
    assert "doubled = ..." in "".join(shown[:start])
    assert "2 * " not in "".join(shown[:start])
    fold = shown[start + 1 : end]
    assert fold[0].startswith("doubled = 2 * given\n")
    assert "SOLUTION" not in "".join(shown)
    assert [fold[1], fold[2][:2], fold[3]] == ["check_double(doubled)", "if", "That was easy."]
    assert shown[-1] == "The end."


def test_page_lets_nbval_compare_what_the_checker_says():
    checks = [cell for cell in page(written(), "ex9").cells if cell.source == "check_double(doubled)"]
    assert [cell.metadata.tags for cell in checks] == [["nbval-check-output"]] * 2


def test_learners_copy_has_the_stub_only():
    given = learners_copy(written())
    assert "doubled = ...  # your answer\n\n\ndef double(x):\n" in "\n".join(sources(given))
    assert '    "Double x."\n    ...  # your code' in "\n".join(sources(given))
    text = "\n".join(sources(given))
    assert "twice" not in text
    assert "That was easy." not in text
    assert "NBVAL" not in text
    assert "if check_double" in text
    assert all(not cell.metadata for cell in given.cells)
    assert given == learners_copy(written()), "the same every time"


def test_links_lead_on_from_the_learners_copy_too():
    links = "Back to [one](01_two_views.ipynb); on to [two](ex2_reading_alpha.ipynb)."
    text = SOURCE.replace("The end.", links)
    assert sources(page(written(text), "ex9"))[-1] == links
    assert sources(learners_copy(written(text)))[-1] == links.replace("(01", "(../01")


@pytest.mark.parametrize(
    ("citation", "shown"),
    [
        ("{cite:t}`cherin1967selenium`", "Cherin and Unger (1967)"),
        ("{cite:p}`shapley1953value`", "(Shapley, 1953)"),
        ("{cite:p}`shapley1953value, cherin1967selenium`", "(Shapley, 1953; Cherin and Unger, 1967)"),
        ("{cite:t}`dunn2020matbench`", "Dunn et al. (2020)"),
    ],
)
def test_learners_copy_cites_by_author_and_year(citation, shown):
    text = SOURCE.replace("The end.", f"As in {citation}.")
    assert sources(learners_copy(written(text)))[-1] == f"As in {shown}."
    assert sources(page(written(text), "ex9"))[-1] == f"As in {citation}."


def test_notices_a_citation_without_a_reference():
    with pytest.raises(ValueError, match=r"cites 'nobody1900', which is not in pages/references\.bib"):
        learners_copy(written(SOURCE.replace("The end.", "{cite:p}`nobody1900`")))


def test_other_notebooks_stay_as_they_are():
    plain = written("# %% [markdown]\n# # A title\n\n# %%\n1 + 1\n")
    assert not is_exercise(plain)
    assert page(plain, "a") is plain


@pytest.mark.parametrize(
    ("solution", "emptied"),
    [
        ("a = 1 + 1  # SOLUTION", "a = ...  # your answer"),
        ('    "key: x": (1, 2),  # SOLUTION', '    "key: x": ...,  # your answer'),
        ('d = {\n    "a": True,  # SOLUTION\n}', 'd = {\n    "a": ...,  # your answer\n}'),
        ("d = [\n    # BEGIN SOLUTION\n    1,\n    2,\n    # END SOLUTION\n]", "d = [\n    ...  # your code\n]"),
        ("# BEGIN SOLUTION\na = 1\n# END SOLUTION", "...  # your code"),
    ],
)
def test_stub_takes_out_what_is_marked(solution, emptied):
    assert stub(solution) == emptied
    assert "SOLUTION" not in without_markers(solution)


@pytest.mark.parametrize("broken", ["a = 1", "# BEGIN SOLUTION\na = 1", "a = 1\n# END SOLUTION", "f(1)  # SOLUTION"])
def test_notices_markers_that_are_missing_or_broken(broken):
    with pytest.raises(ValueError, match=r"marker|marked"):
        stub(broken)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tags=["check"]', "", "inside a task|Each task needs"),
        ('tags=["hint"]', "", "inside a task|Each task needs"),
        ('tags=["answer"]', 'tags=["check"]', "Each task needs"),
        ("# %% [markdown]\n# # An exercise\n\n# %%\n# NBVAL_CHECK_OUTPUT\ngiven = 2\n\n", "", "first cell"),
        ("# ## Task 1: Double it\n#\n", "", "a task without a heading"),
        ("# That was easy.", "# ### Easy\n#\n# That was easy.", "a heading in what is folded"),
        ('# %% [markdown] tags=["hint"]', '# %%\n1\n\n# %% [markdown] tags=["hint"]', "inside a task"),
    ],
)
def test_notices_a_task_whose_cells_are_not_in_order(old, new, message):
    assert old in SOURCE
    with pytest.raises(ValueError, match=message):
        page(written(SOURCE.replace(old, new)), "ex9")
