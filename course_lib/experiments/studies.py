"""What is run and recorded: the lists of runs, one for each question, as ``data/results/PROTOCOL.md`` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, product
from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_lib.datasets import Fold
from course_lib.experiments.protocol import (
    CHECK,
    LEFT_OUT,
    N_FOLDS,
    N_REPEATS,
    N_TUNING_FOLDS,
    SPLITS,
    TUNING,
    folds_of,
    n_validation,
    share_trained_on,
)
from course_lib.methods import METHODS, trained, twins
from course_lib.training import FitConfig

ENERGY, GAP = "formation_energy_per_atom", "band_gap"

ONE_OF_EACH_KIND = ("random_forest", "cgcnn", "early_fusion")
"""Composition, structure and hybrid, for the studies that need no more."""

_KERNEL_RIDGE = ("kernel_ridge", "kernel_ridge_composition", "kernel_ridge_structure")
_EMBEDDINGS = ("embedding", "embedding_composition")

PRIMARY = (
    "cgcnn", "early_fusion", "cgcnn_chemistry", "alignn", "alignn_chemistry", *_KERNEL_RIDGE,
    "pretrained_references", "delta_learning",
)  # fmt: skip
"""The methods of the primary comparisons, which are run on the folds of all repeats."""

AT_SIZES = (
    "random_forest", "cgcnn", "early_fusion", "intermediate_fusion", "cgcnn_chemistry", *_KERNEL_RIDGE, "alignn",
)  # fmt: skip
"""The methods that are trained on crystals of your own; the blends are made of their predictions."""

SIZES = (500, 2000, 8000)
"""Numbers of training crystals on which they are trained."""

BUNDLED = 1600
"""Training crystals of a fold of the bundled crystals. On more of your own, networks make as many steps as on these."""

N_TRIALS = 16
"""Settings that are tried for each method."""

_TRIALS_AT_SIZES = 8  # at each size

_SEEDS = range(3)
_SIZES = (50, 100, 200, 400, 800)  # training crystals of the learning curves
_FEW = 300  # training crystals where the forest and CGCNN are about equally good
_FUSIONS = ("intermediate_fusion", "attention_fusion")

GRIDS: dict[str, dict[str, tuple]] = {
    "network": {
        "epochs": (50, 100, 200),
        "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 4e-2),
        "weight_decay": (0.0, 1e-5, 1e-3, 1e-2, 1e-1),
    },
    "random_forest": {"max_features": (1.0, 0.5, 0.25, 0.1, 0.05), "min_samples_leaf": (1, 2, 3, 5, 8)},
    "kernel_ridge": {
        "alpha": (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0),
        "reach": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    },
    "boosting": {
        "learning_rate": (0.02, 0.05, 0.1, 0.2, 0.4),
        "max_iter": (200, 400, 800),
        "max_leaf_nodes": (4, 8, 16, 32, 64),
        "l2_regularization": (0.01, 0.1, 1.0, 10.0, 100.0),
    },
}
"""The values of the settings that tuning draws from."""

GRIDS["fusion"] = GRIDS["network"] | {"dropout": (0.0, 0.1, 0.2, 0.4, 0.6)}

ADDED: dict[str, tuple[dict, ...]] = {
    "network": ({"epochs": 200, "learning_rate": 2e-2, "weight_decay": 1.0},),
    "fusion": ({"epochs": 100, "learning_rate": 2e-2, "weight_decay": 1.0, "dropout": 0.0},),
    "kernel_ridge": (
        {"alpha": 1e-6, "reach": 1.0},
        {"alpha": 1e-6, "reach": 4.0},
        {"alpha": 1e-4, "reach": 0.125},
        {"alpha": 1e-7, "reach": 1.0},
        {"alpha": 1e-7, "reach": 4.0},
    ),
    "boosting": (
        {"learning_rate": 0.2, "max_iter": 100, "max_leaf_nodes": 8, "l2_regularization": 100.0},
        {"learning_rate": 0.2, "max_iter": 200, "max_leaf_nodes": 8, "l2_regularization": 1000.0},
        {"learning_rate": 0.01, "max_iter": 800, "max_leaf_nodes": 8, "l2_regularization": 0.01},
        {"learning_rate": 0.02, "max_iter": 800, "max_leaf_nodes": 8, "l2_regularization": 0.001},
    ),
}
"""By grid: settings that every method of it tries besides those drawn, because the best of one lay at an end."""

_NATURAL_ENDS = {
    "epochs": 200, "max_iter": 800,  # a budget, the same for all
    "weight_decay": 0.0, "dropout": 0.0, "max_features": 1.0, "min_samples_leaf": 1,  # nothing lies beyond
}  # fmt: skip
"""Ends of the grids at which a best setting may lie."""


@dataclass(frozen=True)
class Run:
    """One method, trained once: the key under which its result is recorded.

    Attributes
    ----------
    target : str
        What is predicted; several targets are joined by ``+``.
    method : str
        A key of `METHODS`.
    split : str
        How the folds are made (`course_lib.experiments.protocol.folds_of`).
    fold, seed : int
        Which fold is the test set, and the seed of everything random in the method. Of random folds and folds by
        formula, each five in a row are one assignment of the crystals to folds: one repeat.
    part : str
        Which part of the fold is predicted: ``"test"``, ``"validation"`` or ``"train"``.
    n_train : int, optional
        Number of training crystals, validation included, the same for all seeds; all of the fold where not given.
    settings : tuple of (str, value)
        What differs from the settings of the method.
    control : str, optional
        What is permuted so that it loses its meaning: ``"composition"`` (the composition features, among the crystals)
        or ``"elements"`` (the element properties of `course_lib.models.chemistry`, among the elements).
    """

    target: str
    method: str
    split: str
    fold: int
    seed: int = 0
    part: str = "test"
    n_train: int | None = None
    settings: tuple[tuple[str, object], ...] = ()
    control: str | None = None


def comparison(crystals: pd.DataFrame) -> list[Run]:
    """All methods side by side, with three seeds."""
    return [
        Run(target, name, split, fold, seed)
        for seed, split, fold in product(_SEEDS, SPLITS, range(N_FOLDS))
        for name, method in trained().items()
        if split in method.compared
        for target in _targets(name)
    ]


def repeats(crystals: pd.DataFrame) -> list[Run]:
    """Train the primary methods on the other four repeats of the folds by formula."""
    return [
        Run(ENERGY, name, "formula", fold, seed)
        for fold, name in product(range(N_FOLDS, N_REPEATS * N_FOLDS), PRIMARY)
        for seed in _seeds(name)
    ]


def _seeds(name: str) -> range:
    """Return the seeds where one is enough: ALIGNN has two, whose mean is the control of its blends."""
    return range(2 if name == "alignn" else 1)


def _targets(name: str) -> list[str]:
    """Return what a method is compared on: a twin on each property that its multi-task network predicts."""
    if METHODS[name].multitask:
        return [f"{ENERGY}+{GAP}"]
    return [ENERGY, GAP] if name in twins().values() else [ENERGY]


def controls(crystals: pd.DataFrame) -> list[Run]:
    """Permute what carries the meaning: compositions among crystals, element properties among elements."""
    fusions = [name for name in trained() if _grid_of(name) == "fusion"]
    wanted = [*product(fusions, ["composition"]), ("cgcnn_chemistry", "elements"), ("alignn_chemistry", "elements")]
    return [
        Run(ENERGY, name, "formula", fold, control=control) for fold, (name, control) in product(range(N_FOLDS), wanted)
    ]


def learning_curves(crystals: pd.DataFrame) -> list[Run]:
    """Every family with fewer training crystals, in equally many steps."""
    families = dict.fromkeys((*ONE_OF_EACH_KIND, *_FUSIONS, *PRIMARY, *_EMBEDDINGS))
    whole = folds_of(crystals, "formula")[0]
    return [
        _shorter(Run(ENERGY, name, "formula", fold, seed, n_train=size), whole)
        for fold, size, name in product(range(N_FOLDS), _SIZES, families)
        for seed in _seeds(name)
    ]


def few_crystals(crystals: pd.DataFrame) -> list[Run]:
    """Forest and CGCNN, which late fusion blends, with so few training crystals that neither is far ahead."""
    predicted = [*product(range(N_FOLDS), ["test"]), (0, "train")]
    whole = {split: folds_of(crystals, split)[0] for split in SPLITS}
    return [
        _shorter(Run(ENERGY, name, split, fold, part=part, n_train=_FEW), whole[split])
        for split, (fold, part), name in product(SPLITS, predicted, METHODS["late_fusion"].blends)
    ]


def _shorter(run: Run, whole: Fold) -> Run:
    """Give a run on fewer crystals as many steps as the whole fold has, in more epochs."""
    share = len(whole.validation) / (len(whole.train) + len(whole.validation))
    steps = _steps(run.n_train - n_validation(run.n_train, share))
    return replace(run, settings=_equal_steps(run.method, _steps(len(whole.train)) / steps))


def _steps(n_train: int) -> int:
    """Return the number of steps in an epoch."""
    return ceil(n_train / FitConfig.batch_size)


def _equal_steps(method: str, ratio: float, settings: dict | None = None) -> tuple[tuple[str, object], ...]:
    """Return settings with `ratio` times as many epochs, where the method has epochs."""
    settings = settings or {}
    if METHODS[method].network is not None:
        epochs = (METHODS[method].settings | settings).get("epochs", FitConfig.epochs)
        settings = settings | {"epochs": max(1, round(epochs * ratio))}
    return tuple(settings.items())


def band_gaps(crystals: pd.DataFrame) -> list[Run]:
    """Predict the band gap with the primary methods, a pretrained embedding in place of the pretrained energy."""
    names = [name for name in PRIMARY if not METHODS[name].reads_pretrained]
    return [
        Run(GAP, name, split, fold, seed)
        for split, fold, name in product(SPLITS, range(N_FOLDS), (*names, *_EMBEDDINGS))
        for seed in _seeds(name)
    ]


def left_out(crystals: pd.DataFrame) -> list[Run]:
    """All crystals with one element, or of one prototype, are left out and predicted."""
    names = ("random_forest", *_KERNEL_RIDGE, "cgcnn", "cgcnn_chemistry")
    # A pretrained energy needs a reference for each element, which nothing gives for one that is left out.
    further = {"element": (), "prototype": ("pretrained_references", "delta_learning")}
    return [
        Run(ENERGY, name, split, fold)
        for split in LEFT_OUT
        for fold, name in product(range(len(folds_of(crystals, split))), (*names, *further[split]))
    ]


def lambda_sweep(crystals: pd.DataFrame) -> list[Run]:
    """Multi-task GAT with the gap's weight from 1/30 to 30 (the energy's is 1), and with the other schemes."""
    weights: list[object] = ["inverse_scale", "uncertainty"]
    weights += [(1.0, round(float(weight), 4)) for weight in np.geomspace(1 / 30, 30, 9)]
    return [
        Run(f"{ENERGY}+{GAP}", "multitask_gat", "formula", fold, settings=(("task_weights", weight),))
        for fold, weight in product(range(N_FOLDS), weights)
    ]


def training_predictions(crystals: pd.DataFrame) -> list[Run]:
    """Predictions of composition, structure and hybrid for their own training crystals."""
    return [Run(ENERGY, name, split, 0, part="train") for split, name in product(SPLITS, ONE_OF_EACH_KIND)]


def tuning(crystals: pd.DataFrame) -> list[Run]:
    """Try settings of every method on the crystals that are set aside for it; no test crystal is read.

    Methods that are to differ from another in one thing are not tuned: they have its settings.
    """
    return [
        Run(target, name, TUNING, fold, settings=tuple(trial.items()))
        for name, method in trained().items()
        if method.tuned_as is None and _grid_of(name)
        for target in _targets(name)
        for trial in trials(name)
        for fold in range(N_TUNING_FOLDS)
    ]


def tuning_check(crystals: pd.DataFrame) -> list[Run]:
    """Try all settings of CGCNN and early fusion with three times as many crystals as the tuning has.

    The crystals that are set aside are judged, all others are trained on. No setting is chosen by these runs: they tell
    whether the ones that the tuning chose hold.
    """
    return [
        Run(ENERGY, name, CHECK, 0, settings=tuple(trial.items()))
        for name in ("cgcnn", "early_fusion")
        for trial in trials(name)
    ]


def trials(method: str, number: int = N_TRIALS) -> Iterator[dict]:
    """Draw different settings of a method from its grid, always the same ones; those `ADDED` follow."""
    grid = GRIDS[_grid_of(method)]
    points = list(product(*grid.values()))
    chosen = np.random.default_rng(0).permutation(len(points))[:number]
    drawn = (dict(zip(grid, points[place], strict=True)) for place in sorted(chosen))
    return chain(drawn, ADDED.get(_grid_of(method), ()))


def at_an_end(best: Mapping[str, dict]) -> list[tuple[str, str]]:
    """Say which best settings, by method, lie at an end of their grid: the method and the setting.

    Then settings beyond that end belong into `ADDED`, and the tuning is run again: only they are missing.
    """
    found = []
    for method, settings in best.items():
        grid = _grid_of(method)
        for name, value in settings.items():
            tried = [*GRIDS[grid][name], *(trial[name] for trial in ADDED.get(grid, ()))]
            if value in (min(tried), max(tried)) and value != _NATURAL_ENDS.get(name):
                found.append((method, name))
    return found


def _grid_of(name: str) -> str | None:
    """Return the name of a method's grid; None for a method without settings."""
    method = METHODS[name]
    if method.network is not None:
        return "fusion" if method.network.module == "course_lib.models.fusion" else "network"
    grid = {"delta_learning": "kernel_ridge"}.get(method.learner.name, method.learner.name)
    return grid if grid in GRIDS else None


def tuning_sizes(crystals: pd.DataFrame) -> list[Run]:
    """On crystals of your own: try settings at every number of training crystals."""
    largest = int(share_trained_on(TUNING) * len(crystals))
    return [
        Run(ENERGY, name, TUNING, 0, n_train=size, settings=_equal_steps(name, min(1, BUNDLED / size), trial))
        for size, name in product(_within(largest), AT_SIZES)
        if METHODS[name].tuned_as is None
        for trial in trials(name, _TRIALS_AT_SIZES)
    ]


def training_sizes(crystals: pd.DataFrame) -> list[Run]:
    """On crystals of your own: more and more training crystals, with the settings that `tuning_sizes` found."""
    largest = int(share_trained_on("formula") * len(crystals))
    return [
        Run(ENERGY, name, "formula", fold, seed, n_train=size)
        for seed, fold, size, name in product(_SEEDS, range(N_FOLDS), _within(largest), AT_SIZES)
    ]


def _within(largest: int) -> list[int]:
    """Return `SIZES`, each at most the largest number of crystals that there is to train on."""
    return sorted({min(size, largest) for size in SIZES})


def tuned(wanted: list[Run], tuning: pd.DataFrame) -> list[Run]:
    """Give each run the best settings of its method, tried at the same number of crystals or the largest below it.

    Parameters
    ----------
    wanted : list of Run
        Runs with `n_train`.
    tuning : DataFrame
        The results of `tuning_sizes`, as from ``load_results``.

    Returns
    -------
    list of Run
        The same runs with settings, which make as many steps as those that were tried.
    """
    best = tuning.loc[tuning.groupby(["method", "n_train"])["mae"].idxmin()].set_index(["method", "n_train"])[
        "settings"
    ]

    def with_settings(run: Run) -> Run:
        name = METHODS[run.method].tuned_as or run.method
        tried = max(size for size in best[name].index if size <= run.n_train)
        return replace(run, settings=_equal_steps(name, tried / run.n_train, best[name, tried]))

    return [with_settings(run) for run in wanted]


class Study(NamedTuple):
    """A list of runs that answers one question.

    Attributes
    ----------
    runs : callable
        Makes the list from the crystals; the first line of its docstring says what it is.
    predictions : bool
        Whether predictions are recorded, not just errors.
    bundled : bool
        Whether it belongs to the recorded results on the bundled crystals.
    tuned_by : str, optional
        The study, on the same crystals, whose best settings its runs get (`tuned`).
    """

    runs: Callable[[pd.DataFrame], list[Run]]
    predictions: bool = True
    bundled: bool = True
    tuned_by: str | None = None


STUDIES = {
    "tuning": Study(tuning, predictions=False),
    "tuning_check": Study(tuning_check, predictions=False),
    "comparison": Study(comparison),
    "repeats": Study(repeats),
    "controls": Study(controls, predictions=False),
    "learning_curves": Study(learning_curves),
    "band_gaps": Study(band_gaps),
    "left_out": Study(left_out),
    "lambda_sweep": Study(lambda_sweep),
    "training_predictions": Study(training_predictions),
    "few_crystals": Study(few_crystals),
    "tuning_sizes": Study(tuning_sizes, predictions=False, bundled=False),
    "training_sizes": Study(training_sizes, bundled=False, tuned_by="tuning_sizes"),
}
"""What can be run, by name."""
