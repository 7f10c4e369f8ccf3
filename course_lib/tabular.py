"""Learners from scikit-learn on any table of features: kernel ridge regression and gradient boosting."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from course_lib.graphs import CrystalGraphs
from course_lib.local_environments import local_environments

FEATURES = ("composition", "structure", "both")
"""What a learner may read: Magpie's features, those of the local environments, or both."""


def features_of(graphs: CrystalGraphs, views: str = "both") -> np.ndarray:
    """Return the features of crystals as a table.

    Parameters
    ----------
    graphs : CrystalGraphs
        B crystals with composition features.
    views : {"both", "composition", "structure"}
        One of `FEATURES`.

    Returns
    -------
    numpy.ndarray of float32, shape (B, n_features)
        145 composition features (Magpie), 158 of the local environments, or both.

    Raises
    ------
    ValueError
        If there are no such features, or the graphs have no composition features.
    """
    if views not in FEATURES:
        raise ValueError(f"views is {views!r}; choose one of {', '.join(FEATURES)}.")
    if views != "structure" and not graphs.features.shape[1]:
        raise ValueError("the graphs have no composition features. Build them with composition=magpie.")
    parts = {"composition": lambda: graphs.features, "structure": lambda: local_environments(graphs).to_numpy()}
    return np.hstack([make() for name, make in parts.items() if views in (name, "both")])


def kernel_ridge(n_features: int, alpha: float = 3e-3, reach: float = 4.0) -> Pipeline:
    r"""Return a kernel ridge regression, not yet fitted, on standardised features.

    .. math:: k(x, x') = \exp\Bigl(-\frac{1}{\rho n} \sum_{k=1}^{n} |x_k - x'_k|\Bigr)

    Parameters
    ----------
    n_features : int
        Columns of the table, n.
    alpha : float, default 0.003
        Strength of the ridge penalty.
    reach : float, default 4
        The mean distance per feature :math:`\rho`, in standard deviations, over which the kernel falls to 1/e.
    """
    return make_pipeline(StandardScaler(), KernelRidge(alpha=alpha, kernel="laplacian", gamma=1 / (reach * n_features)))


def boosting(seed: int = 0, learning_rate: float = 0.06, max_iter: int = 400) -> HistGradientBoostingRegressor:
    """Return gradient boosting of trees with 16 leaves (Friedman, Ann. Stat. 29, 1189 (2001)), not yet fitted.

    Parameters
    ----------
    seed : int, default 0
        Seed of the bins.
    learning_rate : float, default 0.06
        How much of each tree is added.
    max_iter : int, default 400
        Number of trees.
    """
    return HistGradientBoostingRegressor(
        learning_rate=learning_rate, max_iter=max_iter, max_leaf_nodes=16, l2_regularization=1.0, random_state=seed
    )
