"""Fitted regressors as plain arrays, which a file can hold without being able to run code."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_lib.files import check_zip, replacing
from course_lib.validation import named

if TYPE_CHECKING:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    from course_lib.forest import Forest

_CHUNK = 2048  # crystals predicted together by a kernel: a table of these by all training crystals is held


@dataclass(frozen=True, eq=False)
class FlatModel(ABC):
    """Base class: all attributes are arrays.

    Attributes
    ----------
    target_names : numpy.ndarray of str, shape (n_targets,)
        Names of what is predicted.
    reads : numpy.ndarray of str
        Which features it reads: keys of `course_lib.features.PARTS`, in this order.
    """

    target_names: np.ndarray
    reads: np.ndarray

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict (B, n_targets) from features (B, n_features)."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` when the arrays make no model."""

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to an ``.npz`` file, in one step."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> FlatModel:
        """Read what `save` wrote; no pickle is read.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If it is damaged, or holds something else.
        """
        with named(path):
            check_zip(path)
            with np.load(path, allow_pickle=False) as file:
                missing = set(cls.__dataclass_fields__) - set(file)
                if missing:
                    raise ValueError(
                        f"{path} is not a {cls.__name__}: it lacks {', '.join(sorted(missing))}. Train it again."
                    )
                model = cls(**{name: file[name] for name in cls.__dataclass_fields__})
            model.check()
            return model


@dataclass(frozen=True, eq=False)
class FlatKernelRidge(FlatModel):
    r"""A fitted `course_lib.tabular.kernel_ridge`, as arrays.

    .. math:: \hat y = b + \sum_j c_j\, \exp\bigl(-\gamma\, \lVert (x - m) / s - p_j \rVert_1\bigr)

    Attributes
    ----------
    target_names, reads
        As in `FlatModel`.
    center, scale : numpy.ndarray of float64, shape (n_features,)
        Mean m and standard deviation s of each feature.
    points : numpy.ndarray of float64, shape (n_train, n_features)
        The standardised features :math:`p_j` of the training crystals.
    coefficients : numpy.ndarray of float64, shape (n_train, n_targets)
        The weights :math:`c_j`, in the unit of the targets.
    offset : numpy.ndarray of float64, shape (n_targets,)
        The mean b of the targets.
    gamma : numpy.ndarray of float64, shape ()
        One over the reach of the kernel times the number of features.
    """

    center: np.ndarray
    scale: np.ndarray
    points: np.ndarray
    coefficients: np.ndarray
    offset: np.ndarray
    gamma: np.ndarray

    @classmethod
    def of(cls, fitted: Pipeline, target_names: Sequence[str], reads: Sequence[str]) -> FlatKernelRidge:
        """Take the arrays of a fitted pipeline."""
        scaler, scaled = fitted
        ridge, targets = scaled.regressor_, scaled.transformer_
        return cls(
            np.asarray(target_names, dtype=str),
            np.asarray(reads, dtype=str),
            scaler.mean_,
            scaler.scale_,
            ridge.X_fit_.astype(float),
            ridge.dual_coef_.reshape(len(ridge.X_fit_), -1) * targets.std_,
            targets.mean_,
            np.array(ridge.gamma, dtype=float),
        )

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict (B, n_targets) from features (B, n_features)."""
        from scipy.spatial.distance import cdist  # importing SciPy takes longer than many a use of this package

        x = (np.asarray(features, dtype=float) - self.center) / self.scale
        values = np.empty((len(x), len(self.offset)))
        for start in range(0, len(x), _CHUNK):
            kernel = np.exp(-self.gamma * cdist(x[start : start + _CHUNK], self.points, "cityblock"))
            values[start : start + _CHUNK] = kernel @ self.coefficients
        return values + self.offset

    def check(self) -> None:
        """Raise ``ValueError`` when the arrays make no kernel ridge regression."""
        n_train, n_features, n_targets = *self.points.shape, len(self.target_names)
        shapes = {
            "center": (n_features,),
            "scale": (n_features,),
            "coefficients": (n_train, n_targets),
            "offset": (n_targets,),
            "gamma": (),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"its {name} has the shape {values.shape}, not {shape}, or holds what is not finite.")
        if not np.isfinite(self.points).all() or not (self.scale > 0).all() or self.gamma <= 0:
            raise ValueError("its points are not finite, or its scales are not positive.")


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
        """Return the mean over the trees, (B, n_targets), for features (B, n_features)."""
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

    def check(self) -> None:
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
