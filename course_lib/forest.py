"""The composition-only baseline: a random forest on Magpie features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from course_lib.composition import magpie
from course_lib.flat_models import FlatModel
from course_lib.scaling import mean_and_std
from course_lib.validation import check_same_length, check_targets, check_unique_ids

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


@dataclass(frozen=True, eq=False)
class FlatForest(FlatModel):
    """Fitted trees: a random forest, which predicts their mean, or boosted trees, whose sum is written as a mean.

    Attributes
    ----------
    target_names, reads
        As in `FlatModel`.
    feature : numpy.ndarray of int64, shape (n_nodes,)
        The feature that a node tests; negative at a leaf.
    threshold : numpy.ndarray of float64, shape (n_nodes,)
        Where the feature is at most this, the way goes left.
    left, right : numpy.ndarray of int64, shape (n_nodes,)
        The next nodes.
    value : numpy.ndarray of float64, shape (n_nodes, n_targets)
        What a leaf predicts.
    root : numpy.ndarray of int64, shape (n_trees,)
        Where each tree begins.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, forest: Forest, target_names: Sequence[str], reads: Sequence[str] = ("composition",)) -> FlatForest:
        """Lay the trees of a fitted forest end to end."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        return cls(
            target_names=np.asarray(target_names, dtype=str),
            reads=np.asarray(reads, dtype=str),
            feature=np.concatenate([tree.feature for tree in trees]),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=np.concatenate([tree.children_left + start for tree, start in zip(trees, root, strict=True)]),
            right=np.concatenate([tree.children_right + start for tree, start in zip(trees, root, strict=True)]),
            value=np.concatenate([tree.value[:, :, 0] for tree in trees]) * forest.scale_ + forest.offset_,
            root=root,
        )

    @classmethod
    def of_boosting(
        cls, fitted: TransformedTargetRegressor, target_names: Sequence[str], reads: Sequence[str]
    ) -> FlatForest:
        """Lay the trees of a fitted `course_lib.tabular.boosting` end to end."""
        boosted, targets = fitted.regressor_, fitted.transformer_
        trees = [tree.nodes for of_step in boosted._predictors for tree in of_step]
        root = np.cumsum([0, *map(len, trees[:-1])])
        start = np.repeat(root, [len(tree) for tree in trees])
        nodes = np.concatenate(trees)
        leaf = nodes["is_leaf"].astype(bool)
        # The sum of the trees, and what they start from, is the mean of trees with these values.
        value = nodes["value"] * len(trees) + float(np.ravel(boosted._baseline_prediction)[0])
        return cls(
            target_names=np.asarray(target_names, dtype=str),
            reads=np.asarray(reads, dtype=str),
            feature=np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)),
            threshold=nodes["num_threshold"],
            left=nodes["left"].astype(np.int64) + start,
            right=nodes["right"].astype(np.int64) + start,
            value=value[:, None] * targets.std_ + targets.mean_,
            root=root,
        )

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the mean over the trees, (B, n_targets), for composition features (B, n_features)."""
        features = np.asarray(features, dtype=np.float32)  # as scikit-learn compares them
        total = np.zeros((len(features), self.value.shape[1]))
        rows = np.arange(len(features))
        for root in self.root:
            node = np.full(len(features), root)
            while (inner := self.feature[node] >= 0).any():
                at = node[inner]
                goes_left = features[rows[inner], self.feature[at]] <= self.threshold[at]
                node[inner] = np.where(goes_left, self.left[at], self.right[at])
            total += self.value[node]
        return total / len(self.root)

    def _check(self) -> None:
        """Raise ``ValueError`` when the arrays make no trees, on which every way ends at a leaf."""
        n_nodes = len(self.feature)
        for name in ("threshold", "left", "right", "value"):
            if len(getattr(self, name)) != n_nodes:
                raise ValueError(f"it has {n_nodes} features, but {len(getattr(self, name))} of {name}.")
        if self.value.shape != (n_nodes, len(self.target_names)) or not np.isfinite(self.value).all():
            raise ValueError(f"its values are not {len(self.target_names)} finite numbers per node.")
        inner = np.flatnonzero(self.feature >= 0)
        for name in ("left", "right"):
            after = getattr(self, name)[inner]
            if ((after <= inner) | (after >= n_nodes)).any():
                raise ValueError(f"a node of it has none of the later nodes on its {name}.")
        if not len(self.root) or ((self.root < 0) | (self.root >= n_nodes)).any():
            raise ValueError("its trees do not begin at nodes of it.")
