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
from course_lib.scaling import mean_and_std
from course_lib.validation import check_number, check_same_length, check_targets, check_unique_ids

_OFFSET = 1024  # standard deviations: how large a mean is left where it is


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


class Forest(RandomForestRegressor):
    """A random forest (Breiman, 2001) that learns targets of any size and on any offset as well.

    scikit-learn stops to split where the variance is below 2e-16, in whatever unit, and rounding hides small
    differences on a large offset. So it gets the targets in units of about their standard deviation; a setting such as
    ``min_impurity_decrease`` is in the square of that. The unit is a power of two, and the offset is left where it is
    small: then nothing is rounded, and the trees are those that scikit-learn grows.
    """

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Forest:
        """Grow the trees on features ``X`` (B, n_features) and targets ``y`` (B,) or (B, n_targets)."""
        targets = np.asarray(y, dtype=float)
        mean, std = mean_and_std(targets.reshape(len(targets), -1), [f"target {k}" for k in range(targets[:1].size)])
        scale = np.exp2(np.round(np.log2(std)))
        step = _OFFSET * scale
        self.scale_, self.offset_ = scale, np.round(mean / step) * step
        scaled = (targets.reshape(len(targets), -1) - self.offset_) / scale
        return super().fit(X, scaled.reshape(targets.shape), sample_weight)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return predictions in the unit of the targets, (B,) or (B, n_targets)."""
        values = super().predict(X)
        return (values.reshape(len(values), -1) * self.scale_ + self.offset_).reshape(values.shape)


def random_forest(n_features: int, seed: int = 0, **parameters: object) -> Forest:
    """Return the forest of `forest_pipeline` with some parameters changed, not yet fitted.

    Parameters
    ----------
    n_features : int
        Columns of the table; a forest takes any number.
    seed : int, default 0
        Seed of the trees.
    **parameters
        Those of scikit-learn's ``RandomForestRegressor``.

    Raises
    ------
    ValueError
        If a parameter is unknown or out of range.
    """
    forest = forest_pipeline(seed)["forest"]
    for name, default in forest.get_params().items():
        if isinstance(parameters.get(name), bool) and not isinstance(default, bool):
            raise ValueError(f"the setting {name} is {parameters[name]}; it is not one that is true or false.")
    forest.set_params(**parameters)
    forest._validate_params()  # scikit-learn itself asks for it only when the forest is fitted
    return forest


def forest_pipeline(seed: int = 0) -> Pipeline:
    """Return the model, not yet fitted: Magpie features, then a random forest of 100 trees, at most 30 deep.

    Parameters
    ----------
    seed : int, default 0
        Seed of the trees.
    """
    forest = Forest(n_estimators=100, max_depth=30, random_state=seed, n_jobs=-1)
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
            f"row {row}: structure {structures.index[row]!r} stands next to target {targets.index[row]!r}. "
            "Give both in the same order, for example as columns of one DataFrame."
        )
    check_unique_ids(list(structures.index))
    check_targets(targets.to_numpy(), "target", list(targets.index))
    if groups is not None:
        check_same_length(structures=structures, groups=groups)
    kept_apart, what = (len(structures), "crystals") if groups is None else (len(set(groups)), "groups")
    check_number("n_folds", n_folds, whole=True)
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
