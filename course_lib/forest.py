"""The composition-only baseline: a random forest on Magpie features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from course_lib.composition import magpie
from course_lib.validation import check_same_length, check_targets, check_unique_ids


@dataclass(frozen=True)
class ForestResult:
    """What `fit_forest` returns.

    Attributes
    ----------
    model : sklearn.pipeline.Pipeline
        Steps ``"magpie"`` and ``"forest"``; ``model.predict(structures)`` gives an array (B,).
    out_of_fold : Series
        For each training crystal the prediction of a forest that was fitted without it, indexed by crystal id.
    seconds : float
        Wall time of fitting `model`, features included, out-of-fold forests not.
    """

    model: Pipeline
    out_of_fold: pd.Series
    seconds: float


def forest_pipeline(seed: int = 0) -> Pipeline:
    """Return the model, not yet fitted: Magpie features, then a random forest of 100 trees, at most 30 deep.

    Parameters
    ----------
    seed : int, default 0
        Seed of the trees.
    """
    forest = RandomForestRegressor(n_estimators=100, max_depth=30, random_state=seed, n_jobs=-1)
    return Pipeline([("magpie", FunctionTransformer(magpie)), ("forest", forest)])


def fit_forest(
    structures: pd.Series, targets: pd.Series, *, groups: Sequence[str] | None = None, n_folds: int = 5, seed: int = 0
) -> ForestResult:
    """Fit a random forest (Breiman, 2001) to Magpie features, with out-of-fold predictions.

    Parameters
    ----------
    structures : Series of pymatgen Structure, Composition or formula
        Indexed by crystal id; only the composition is read.
    targets : Series of float
        What to predict, in any unit, with the same index.
    groups : sequence of str, optional
        Crystals with one label, for example one reduced formula, stay in one fold of the out-of-fold predictions.
    n_folds : int, default 5
        Folds of the out-of-fold predictions.
    seed : int, default 0
        Seed of the trees and of the folds.

    Returns
    -------
    ForestResult

    Raises
    ------
    ValueError
        If the indices differ, an id repeats, a target is NaN or infinite, a composition has no features, or there are
        fewer crystals (or groups) than folds.
    """
    check_same_length(structures=structures, targets=targets)
    if not structures.index.equals(targets.index):
        row = int(np.argmax(structures.index != targets.index))
        raise ValueError(
            f"row {row}: structure {structures.index[row]!r} stands beside target {targets.index[row]!r}. "
            "Give both in the same order, for example as columns of one DataFrame."
        )
    check_unique_ids(list(structures.index))
    check_targets(targets.to_numpy(), "target", list(targets.index))
    if groups is not None:
        check_same_length(structures=structures, groups=groups)
    kept_apart, what = (len(structures), "crystals") if groups is None else (len(set(groups)), "groups")
    if not 2 <= n_folds <= kept_apart:
        raise ValueError(f"n_folds is {n_folds} for {kept_apart} {what}; choose a number from 2 to {kept_apart}.")
    model = forest_pipeline(seed)
    folds = KFold if groups is None else GroupKFold
    splitter = folds(n_folds, shuffle=True, random_state=seed)
    # The features of a crystal do not depend on the fold: computed once, they serve all folds.
    out_of_fold = cross_val_predict(model["forest"], magpie(structures), targets, groups=groups, cv=splitter)
    start = time.perf_counter()
    model.fit(structures, targets)
    seconds = time.perf_counter() - start
    return ForestResult(model, pd.Series(out_of_fold, index=targets.index, name=targets.name), seconds)
