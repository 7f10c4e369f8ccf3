"""The training and test crystals of each fold, as ``data/results/PROTOCOL.md`` defines them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import ceil

import numpy as np
import pandas as pd
from pymatgen.core import Element

from course_lib.datasets import MATBENCH_SEED, Fold, fold_of_test, folds

SPLITS, N_FOLDS, N_REPEATS = ("random", "formula"), 5, 5

TUNING, N_TUNING_FOLDS = "tuning", 3
"""The split of the crystals that are set aside: a third of them is judged, the others are trained on."""

CHECK = "check"
"""The split that asks whether settings hold for more crystals: those set aside are judged, all others trained on."""

LEFT_OUT = ("element", "prototype")
"""Splits in which all crystals with one element, or of one prototype, are judged."""

ALL_SPLITS = (*SPLITS, TUNING, CHECK, *LEFT_OUT)
"""Every split that has folds."""

_PARTS = 3  # one of them is set aside


def set_aside(formulas: Sequence[str]) -> np.ndarray:
    """Return which crystals settings are tuned on: those of about a third of the formulas, whatever else is given.

    Parameters
    ----------
    formulas : sequence of str, length B
        Reduced formulas.

    Returns
    -------
    numpy.ndarray of bool, shape (B,)
        Where the SHA-256 hash of the formula, read as a number, is divisible by three.
    """
    return np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % _PARTS == 0 for name in formulas])


def share_trained_on(split: str) -> float:
    """Return which share of all crystals is trained on, validation included, in a fold of the split."""
    if split == TUNING:
        return 1 / _PARTS * (1 - 1 / N_TUNING_FOLDS)
    return 1 - (1 - 1 / _PARTS) / N_FOLDS


def n_validation(n_learned: int, share: float) -> int:
    """Return how many of fewer training crystals are validation crystals.

    Their share stays what it is in the whole fold, but a network needs some to choose its epoch by: 32, or a fifth of
    the crystals where that is less.
    """
    return max(ceil(share * n_learned), min(32, ceil(n_learned / 5)))


def with_fewer(fold: Fold, n_train: int | None, number: int) -> Fold:
    """Keep `n_train` crystals of training and validation set together, the same for every method and seed.

    Parameters
    ----------
    fold : Fold
        A whole fold.
    n_train : int, optional
        How many to keep; all where not given. A smaller training set is part of every larger one.
    number : int
        The number of the fold; each draws its own crystals.

    Raises
    ------
    ValueError
        If the fold has fewer.
    """
    if n_train is None:
        return fold
    rng = np.random.default_rng(number)
    total = len(fold.train) + len(fold.validation)
    if n_train > total:
        raise ValueError(f"n_train is {n_train}, but fold {number} has {total} training crystals.")
    size = min(n_validation(n_train, len(fold.validation) / total), len(fold.validation))
    return Fold(
        rng.permutation(fold.train)[: n_train - size],
        rng.permutation(fold.validation)[:size],
        fold.test,
    )


def folds_of(frame: pd.DataFrame, split: str) -> list[Fold]:
    """Return the folds of a split, as positions in the frame.

    Parameters
    ----------
    frame : DataFrame
        With the column ``formula``, and ``prototype`` where that is the split.
    split : str
        One of `SPLITS`, five folds five times: the crystals that are not set aside are judged, each once in a repeat.
        All others are trained on. `TUNING`: three folds of those set aside. `CHECK`: those set aside are judged. One of
        `LEFT_OUT`: a fold for each element, by atomic number, or for each prototype, by name, whose crystals that are
        not set aside are judged; nothing is trained on with that element, or of that prototype.

    Raises
    ------
    ValueError
        If the split is unknown.
    """
    aside = set_aside(frame["formula"])
    if split in SPLITS:
        seeds = range(MATBENCH_SEED, MATBENCH_SEED + N_REPEATS)
        return [_with(fold, np.flatnonzero(aside)) for seed in seeds for fold in _within(frame, ~aside, split, seed)]
    if split == TUNING:
        return _within(frame, aside, "formula", MATBENCH_SEED, N_TUNING_FOLDS)
    if split == CHECK:
        return [fold_of_test(frame[["formula"]], np.flatnonzero(aside))]
    if split in LEFT_OUT:
        return [_left_out(frame, has, aside) for has in members(frame, split).values()]
    raise ValueError(f"unknown split {split!r}; the splits are {', '.join(ALL_SPLITS)}.")


def _within(frame: pd.DataFrame, chosen: np.ndarray, kind: str, seed: int, n_splits: int = N_FOLDS) -> list[Fold]:
    """Return the folds of the chosen rows, a mask, as positions in the whole frame."""
    place = np.flatnonzero(chosen)
    part = frame[["formula"]].iloc[place]
    part.attrs = {}  # these are not the rows that a benchmark has official folds of
    return [Fold(*(place[rows] for rows in fold)) for fold in folds(part, kind, n_splits, seed)]


def _with(fold: Fold, rows: np.ndarray) -> Fold:
    """Train on these rows as well."""
    return fold._replace(train=np.union1d(fold.train, rows))


def members(frame: pd.DataFrame, split: str) -> dict[str, np.ndarray]:
    """Return for each element (by atomic number) or each prototype (by name) which rows have it: one of `LEFT_OUT`."""
    if split == "prototype":
        return {name: (frame["prototype"] == name).to_numpy() for name in sorted(frame["prototype"].unique())}
    numbers = [set(structure.atomic_numbers) for structure in frame["structure"]]
    return {
        Element.from_Z(number).symbol: np.array([number in of_row for of_row in numbers])
        for number in sorted(set().union(*numbers))
    }


def _left_out(frame: pd.DataFrame, has: np.ndarray, aside: np.ndarray) -> Fold:
    kept = np.flatnonzero(~(has & aside))
    fold = fold_of_test(frame[["formula"]].iloc[kept], np.flatnonzero(has[kept]))
    return Fold(*(kept[rows] for rows in fold))
