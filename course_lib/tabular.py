"""Learners on any table of features, with scikit-learn: kernel ridge regression, gradient boosting, delta learning."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_lib.pretrained import N_ELEMENTS
from course_lib.scaling import mean_and_std
from course_lib.validation import check_number


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
        Seed of what is drawn with more than 10,000 crystals; without effect on fewer.
    learning_rate : float, default 0.06
        How much of each tree is added.
    max_iter : int, default 400
        Number of trees. With more than 10,000 crystals it is the largest number: scikit-learn then sets a tenth of them
        aside, and stops when the error on these no longer falls.
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


class DeltaLearning(RegressorMixin, BaseEstimator):
    r"""Correct a pretrained energy by a reference for each element, and by a model of the rest.

    .. math:: \hat y = E^{\text{pre}} + \sum_z x_z\, \mu_z + g(f)

    with the share :math:`x_z` of each element among the atoms, a reference :math:`\mu_z` fitted for each element, and
    a model :math:`g` of any features :math:`f`, trained on the residual of the first two (Ramakrishnan et al., J. Chem.
    Theory Comput. 11, 2087 (2015)). An element that no training crystal holds has the reference 0.

    Parameters
    ----------
    model : scikit-learn regressor, optional
        What learns the rest; only the references where not given.

    Attributes
    ----------
    references_ : numpy.ndarray, shape (119,)
        Fitted reference of each element in eV/atom, by atomic number.
    """

    def __init__(self, model: RegressorMixin | None = None):
        self.model = model

    def fit(self, X: np.ndarray, y: np.ndarray) -> DeltaLearning:
        """Fit references and model.

        Parameters
        ----------
        X : array, shape (B, 120 + n_features)
            The pretrained energies in eV/atom, then the columns of `element_fractions`, then what the model reads.
        y : array, shape (B,)
            What to predict, in eV/atom.

        Raises
        ------
        ValueError
            If a model is given, but no features for it.
        """
        energy, fractions, features = self._columns(X)
        if self.model is not None and not features.shape[1]:
            raise ValueError(
                "the model needs features in addition to energy and fractions. Give them, or leave the model out."
            )
        # A penalty far below any error of an energy: it only keeps what the data leave open at zero.
        self.references_ = Ridge(alpha=1e-4, fit_intercept=False).fit(fractions, y - energy).coef_
        if self.model is not None:
            self.model_ = clone(self.model).fit(features, y - energy - fractions @ self.references_)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict for crystals given as in `fit`: (B,) in eV/atom."""
        energy, fractions, features = self._columns(X)
        base = energy + fractions @ self.references_
        return base if self.model is None else base + self.model_.predict(features)

    @staticmethod
    def _columns(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return X[:, 0], X[:, 1 : 1 + N_ELEMENTS], X[:, 1 + N_ELEMENTS :]


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
