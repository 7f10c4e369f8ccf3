"""Learners from scikit-learn on any table of features: kernel ridge regression and gradient boosting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_lib.graphs import CrystalGraphs
from course_lib.local_environments import local_environments
from course_lib.pretrained import ENERGY, N_ELEMENTS, DeltaLearning, element_fractions
from course_lib.scaling import mean_and_std
from course_lib.validation import check_number


def _composition(graphs: CrystalGraphs, pretrained: pd.DataFrame | None) -> np.ndarray:
    if not graphs.features.shape[1]:
        raise ValueError("the graphs have no composition features. Build them with composition=magpie.")
    return graphs.features


def _of_pretrained(columns: Callable[[str], bool]) -> Callable[[CrystalGraphs, pd.DataFrame | None], np.ndarray]:
    def select(graphs: CrystalGraphs, pretrained: pd.DataFrame | None) -> np.ndarray:
        if pretrained is None:
            raise ValueError("pretrained features are missing. Give those of course_lib.pretrained.")
        return pretrained.loc[list(graphs.names), [name for name in pretrained if columns(name)]].to_numpy()

    return select


PARTS: dict[str, Callable[[CrystalGraphs, pd.DataFrame | None], np.ndarray]] = {
    "composition": _composition,
    "environments": lambda graphs, pretrained: local_environments(graphs).to_numpy(),
    "fractions": lambda graphs, pretrained: element_fractions(graphs),
    "energy": _of_pretrained(lambda name: name == ENERGY),
    "embedding": _of_pretrained(lambda name: name != ENERGY),
}
"""What a table of features may hold, by name: 145 composition features (Magpie), 158 of the local environments, 119
fractions of elements, the pretrained energy, 64 numbers of the pretrained embedding."""


def features_of(graphs: CrystalGraphs, parts: Sequence[str], pretrained: pd.DataFrame | None = None) -> np.ndarray:
    """Return features of crystals as a table.

    Parameters
    ----------
    graphs : CrystalGraphs
        B crystals; with composition features where these are wanted.
    parts : sequence of str
        Keys of `PARTS`.
    pretrained : DataFrame, optional
        As from `course_lib.pretrained.pretrained_features`, by crystal id; needed for the energy and the embedding.

    Returns
    -------
    numpy.ndarray of float, shape (B, n_features)
        The parts concatenated, in their order.

    Raises
    ------
    ValueError
        If a part is unknown, or its source is missing.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ValueError(f"unknown features {', '.join(unknown)!r}; choose from {', '.join(PARTS)}.")
    return np.hstack([PARTS[part](graphs, pretrained) for part in parts])


class TargetScaler(TransformerMixin, BaseEstimator):
    """Targets (B, n_targets) minus their mean, in units of their standard deviation (`mean_and_std`)."""

    def fit(self, targets: np.ndarray, y: None = None) -> TargetScaler:
        """Take mean and standard deviation."""
        self.mean_, self.std_ = mean_and_std(targets, [f"target {k}" for k in range(targets.shape[1])])
        return self

    def transform(self, targets: np.ndarray) -> np.ndarray:
        """Return the scaled targets."""
        return (targets - self.mean_) / self.std_

    def inverse_transform(self, targets: np.ndarray) -> np.ndarray:
        """Return targets in their unit."""
        return targets * self.std_ + self.mean_


def _in_any_unit(regressor: RegressorMixin) -> TransformedTargetRegressor:
    return TransformedTargetRegressor(regressor, transformer=TargetScaler(), check_inverse=False)


def kernel_ridge(n_features: int, seed: int = 0, alpha: float = 3e-3, reach: float = 4.0) -> RegressorMixin:
    r"""Return a kernel ridge regression, not yet fitted, on standardised features and targets.

    .. math:: k(x, x') = \exp\Bigl(-\frac{1}{\rho n} \sum_{k=1}^{n} |x_k - x'_k|\Bigr)

    Parameters
    ----------
    n_features : int
        Columns of the table, n.
    seed : int, default 0
        Of no effect: nothing in it is random.
    alpha : float, default 0.003
        Strength of the ridge penalty.
    reach : float, default 4
        The mean distance per feature :math:`\rho`, in standard deviations, over which the kernel falls to 1/e.

    Raises
    ------
    ValueError
        If alpha or reach is not positive.
    """
    check_number("alpha", alpha, above=0)
    check_number("reach", reach, above=0)
    ridge = KernelRidge(alpha=alpha, kernel="laplacian", gamma=1 / (reach * n_features))
    return make_pipeline(StandardScaler(), _in_any_unit(ridge))


def boosting(
    n_features: int,
    seed: int = 0,
    learning_rate: float = 0.06,
    max_iter: int = 400,
    max_leaf_nodes: int = 16,
    l2_regularization: float = 1.0,
) -> RegressorMixin:
    """Return gradient boosting of trees (Friedman, Ann. Stat. 29, 1189 (2001)) on standardised targets, not yet fitted.

    Parameters
    ----------
    n_features : int
        Columns of the table; the trees take any number.
    seed : int, default 0
        Seed of the bins.
    learning_rate : float, default 0.06
        How much of each tree is added.
    max_iter : int, default 400
        Number of trees.
    max_leaf_nodes : int, default 16
        Leaves of each tree, at most.
    l2_regularization : float, default 1
        Penalty on the leaves' values.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    trees = HistGradientBoostingRegressor(
        learning_rate=learning_rate,
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        l2_regularization=l2_regularization,
        random_state=seed,
    )
    trees._validate_params()  # scikit-learn itself asks for it only when the trees are fitted
    return _in_any_unit(trees)


def delta_learning(n_features: int, seed: int = 0, alpha: float = 3e-3, reach: float = 4.0) -> DeltaLearning:
    """Return delta learning with a kernel ridge regression, not yet fitted.

    Parameters
    ----------
    n_features : int
        Columns of the table, the energy and the fractions included.
    seed, alpha, reach
        As for `kernel_ridge`.
    """
    return DeltaLearning(kernel_ridge(n_features - 1 - N_ELEMENTS, seed, alpha, reach))


def references_alone(n_features: int, seed: int = 0) -> DeltaLearning:
    """Return delta learning without a model: the pretrained energy and a reference of each element.

    Parameters
    ----------
    n_features, seed
        Of no effect: what it reads is fixed, and nothing in it is random.
    """
    return DeltaLearning()
