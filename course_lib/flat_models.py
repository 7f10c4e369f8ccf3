"""Fitted regressors as plain arrays, which a file can hold without being able to run code."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.pipeline import Pipeline

from course_lib.files import check_zip, replacing
from course_lib.validation import named

_CHUNK = 2048  # crystals predicted together by a kernel: a table of these by all training crystals is held


@dataclass(frozen=True, eq=False)
class FlatModel(ABC):
    """Base class: all attributes are arrays.

    Attributes
    ----------
    target_names : numpy.ndarray of str, shape (n_targets,)
        Names of what is predicted.
    reads : numpy.ndarray of str
        Which features it reads: keys of `course_lib.tabular.PARTS`, in this order.
    """

    target_names: np.ndarray
    reads: np.ndarray

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict (B, n_targets) from features (B, n_features)."""

    @abstractmethod
    def _check(self) -> None:
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
            model._check()
            return model


@dataclass(frozen=True, eq=False)
class FlatKernelRidge(FlatModel):
    r"""A fitted `course_lib.tabular.kernel_ridge`.

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
        One over the reach of the kernel.
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
        x = (np.asarray(features, dtype=float) - self.center) / self.scale
        values = np.empty((len(x), len(self.offset)))
        for start in range(0, len(x), _CHUNK):
            kernel = laplacian_kernel(x[start : start + _CHUNK], self.points, gamma=float(self.gamma))
            values[start : start + _CHUNK] = kernel @ self.coefficients
        return values + self.offset

    def _check(self) -> None:
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
