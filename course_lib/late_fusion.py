r"""Late fusion: blend the predictions of two fitted models, or stack those of any number.

.. math:: \hat y = \alpha\, a + (1 - \alpha)\, b, \qquad 0 \le \alpha \le 1

with the predictions a and b of the two models; for more of them, a weight for each, which add up to 1. All predictions
are pandas Series indexed by crystal id, and they are matched by these ids, never by position. Bates and Granger,
"The combination of forecasts", Operational Research Quarterly 20, 451 (1969), https://doi.org/10.1057/jors.1969.103.

The weights must come from predictions for crystals that the models were not trained on: on its training set a model
looks better than it is. `cross_fitted` and `stacked` keep to this.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linprog, nnls

from course_lib.validation import IDS_AS_TEXT, check_number, check_targets, check_unique_ids, nearest_id

INDIFFERENT = 0.5
"""Where several weights are equally good, the one nearest to this is returned: neither model is preferred."""


def optimal_alpha(y: pd.Series, a: pd.Series, b: pd.Series, loss: str = "mae") -> float:
    r"""Return the weight of model a with the smallest error of the blend.

    With the residual :math:`r_i = y_i - b_i` and the difference :math:`d_i = a_i - b_i`, the error of crystal i is
    :math:`r_i - \alpha d_i`. The mean absolute error is

    .. math:: \frac1n \sum_i |r_i - \alpha d_i| = \frac1n \sum_i |d_i|\, \Bigl|\frac{r_i}{d_i} - \alpha\Bigr|
        + \text{const},

    smallest at the median of :math:`r_i / d_i` with weights :math:`|d_i|` (Bloomfield and Steiger, *Least Absolute
    Deviations: Theory, Applications and Algorithms*, Birkhäuser 1983). The mean squared error is smallest at

    .. math:: \alpha = \frac{\sum_i r_i d_i}{\sum_i d_i^2}.

    Both errors are convex in alpha, so where the minimum lies outside [0, 1], the nearer end is best. Both results are
    exact; no grid is searched. Sorting costs O(n log n) for n crystals, the squared error O(n).

    Parameters
    ----------
    y : Series of float
        True values, indexed by crystal id.
    a, b : Series of float
        Predictions of the two models for the same crystals, in any order and in the same unit.
    loss : "mae" or "mse", default "mae"
        The error to minimise: mean absolute or mean squared.

    Returns
    -------
    float
        In [0, 1]: 1 is model a alone, 0 is model b alone. Where several weights are equally good, the one nearest to
        0.5; that is 0.5 itself where the two models agree on every crystal.

    Raises
    ------
    ValueError
        If the three do not belong to the same crystals, an id repeats, a value is NaN or infinite, or they are empty.
    """
    _check_loss(loss)
    table = _numbers({"y": y, "a": a, "b": b})
    difference = (table["a"] - table["b"]).to_numpy()
    if not difference.any():
        return INDIFFERENT
    with np.errstate(over="ignore"):  # the models hardly differ: infinity lies beyond the right end
        low, high = _MINIMISERS[loss]((table["y"] - table["b"]).to_numpy(), difference)
    return float(np.clip(np.clip(INDIFFERENT, low, high), 0.0, 1.0))


def _median_interval(rest: np.ndarray, difference: np.ndarray) -> tuple[float, float]:
    """Return the first and the last of the weighted medians of rest / difference."""
    counts = difference != 0
    ratio = rest[counts] / difference[counts]
    weight = np.abs(difference[counts])
    rounding = len(weight) * np.finfo(float).eps  # of the sum of the weights, which may miss a half that is exact
    levels = (0.5 - rounding, 0.5 + rounding)
    first, last = np.quantile(ratio, levels, weights=weight, method="inverted_cdf")
    return first, last


def _least_squares(rest: np.ndarray, difference: np.ndarray) -> tuple[float, float]:
    """Return the only minimiser of the squared error, as both ends of an interval."""
    scaled = difference / np.abs(difference).max()  # squares of tiny numbers would vanish
    alpha = scaled @ rest / (scaled @ difference)
    return alpha, alpha


_MINIMISERS = {"mae": _median_interval, "mse": _least_squares}


def _check_loss(loss: object) -> None:
    if loss not in tuple(_MINIMISERS):
        raise ValueError(f"loss is {loss!r}; choose one of {', '.join(_MINIMISERS)}.")


def blend(alpha: float, a: pd.Series, b: pd.Series) -> pd.Series:
    r"""Return :math:`\alpha a + (1 - \alpha) b`.

    Parameters
    ----------
    alpha : float
        Weight of model a, in [0, 1].
    a, b : Series of float
        Predictions of the two models, indexed by crystal id, in any order.

    Returns
    -------
    Series
        In the order of `a`.

    Raises
    ------
    ValueError
        If alpha is outside [0, 1], or for the same reasons as in `optimal_alpha`.
    """
    check_number("alpha", alpha, least=0, most=1)
    table = _numbers({"a": a, "b": b})
    return (alpha * table["a"] + (1 - alpha) * table["b"]).rename("blend")


def cross_fitted(
    y: pd.Series, a: pd.Series, b: pd.Series, folds: pd.Series, loss: str = "mae"
) -> tuple[pd.Series, pd.Series]:
    """Blend out-of-fold predictions, with a weight for each fold that comes from all the other folds.

    So no crystal helps to choose the weight of its own prediction, and the error of the result is unbiased by it.
    Wolpert, "Stacked generalization", Neural Networks 5, 241 (1992), https://doi.org/10.1016/S0893-6080(05)80023-1.

    Parameters
    ----------
    y : Series of float
        True values, indexed by crystal id.
    a, b : Series of float
        Predictions of the two models for the same crystals, each by a model that was not trained on its crystal.
    folds : Series
        The fold in which each crystal was left out.
    loss : "mae" or "mse", default "mae"
        As for `optimal_alpha`.

    Returns
    -------
    predictions : Series
        The blend, in the order of `y`.
    alpha : Series
        The weight of model a, indexed by fold.

    Raises
    ------
    ValueError
        If there is only one fold or a crystal has none, or for the same reasons as in `optimal_alpha`.
    """
    predictions, weights = stacked(y, {"a": a, "b": b}, folds, loss)
    return predictions.rename("blend"), weights["a"].rename("alpha")


def optimal_weights(y: pd.Series, predictions: Mapping[str, pd.Series], loss: str = "mae") -> pd.Series:
    r"""Return the weights of any number of models with the smallest error of their weighted mean.

    .. math:: \min_{w} \sum_i \Bigl| y_i - \sum_k w_k\, p_{ki} \Bigr|^q, \qquad w_k \ge 0, \quad \sum_k w_k = 1

    with :math:`q` = 1 or 2 (Breiman, "Stacked regressions", Machine Learning 24, 49 (1996)). For two models this is
    `optimal_alpha`. For more, the absolute error is a linear program, and the squared error a least-squares problem
    with non-negative weights. Both results are exact, but where several sets of weights are equally good, one of them
    is returned.

    Parameters
    ----------
    y : Series of float
        True values, indexed by crystal id.
    predictions : mapping of str to Series of float
        The predictions of each model by its name, for the same crystals, in any order and in the same unit; a
        DataFrame works.
    loss : "mae" or "mse", default "mae"
        The error to minimise: mean absolute or mean squared.

    Returns
    -------
    Series of float
        A weight for each model, indexed by name.

    Raises
    ------
    ValueError
        If there are fewer than two models, or for the same reasons as in `optimal_alpha`.
    """
    _check_loss(loss)
    table = _table(y, predictions)
    names = list(predictions)
    if len(names) == 2:
        alpha = optimal_alpha(y, *(predictions[name] for name in names), loss)
        return pd.Series([alpha, 1 - alpha], index=names)
    errors = table["y"].to_numpy()[:, None] - table[names].to_numpy()
    errors /= np.abs(errors).max() or 1.0  # the solvers have absolute tolerances
    weights = (_linear_program if loss == "mae" else _not_negative_least_squares)(errors)
    return pd.Series(weights / weights.sum(), index=names)


def stacked(
    y: pd.Series, predictions: Mapping[str, pd.Series], folds: pd.Series, loss: str = "mae"
) -> tuple[pd.Series, pd.DataFrame]:
    """Stack out-of-fold predictions of any number of models, as `cross_fitted` blends those of two.

    Parameters
    ----------
    y, predictions, loss
        As for `optimal_weights`, each prediction by a model that was not trained on its crystal.
    folds : Series
        The fold in which each crystal was left out.

    Returns
    -------
    predictions : Series
        The weighted means, in the order of `y`.
    weights : DataFrame
        One row per fold, one column per model.

    Raises
    ------
    ValueError
        If there is only one fold or a crystal has none, or for the same reasons as in `optimal_weights`.
    """
    table = _table(y, predictions)
    names = list(predictions)
    fold = _joined({"y": y, "folds": folds})["folds"]
    if fold.isna().any():
        raise ValueError(f"folds: crystal {fold.index[fold.isna()][0]!r} has no fold. Give it one.")
    if fold.nunique() < 2:
        raise ValueError(f"all crystals are in fold {fold.iloc[0]}; at least 2 folds are needed.")
    weights = {}
    for number, here in table.groupby(fold.to_numpy()):
        others = table.drop(here.index)
        weights[number] = optimal_weights(others["y"], others[names], loss)
    weights = pd.DataFrame(weights).T.rename_axis("fold")
    total = (weights.loc[fold, names].to_numpy() * table[names].to_numpy()).sum(1)
    return pd.Series(total, index=table.index, name="stack"), weights


def _linear_program(errors: np.ndarray) -> np.ndarray:
    """Minimise the sum of absolute errors over weights; errors are (B, K)."""
    n, k = errors.shape
    # How much each prediction is too high and too low: both at least 0, and one of them 0 at the minimum.
    both = sparse.hstack([errors, sparse.eye(n), -sparse.eye(n)])
    equations = sparse.vstack([both, np.append(np.ones(k), np.zeros(2 * n))[None]])
    costs = np.concatenate([np.zeros(k), np.ones(2 * n)])
    return linprog(costs, A_eq=equations, b_eq=np.append(np.zeros(n), 1.0)).x[:k]  # at least 0 by default


def _not_negative_least_squares(errors: np.ndarray) -> np.ndarray:
    """Minimise the sum of squared errors over weights; errors are (B, K).

    With w = s v and the v adding up to 1, the rows of errors and one row of ones, which should give 1, have the squared
    error s^2 |E v|^2 + (s - 1)^2. Its minimum over s grows with |E v|^2, so the minimum has the v that we want.
    """
    n, k = errors.shape
    return nnls(np.vstack([errors, np.ones(k)]), np.append(np.zeros(n), 1.0))[0]


def alpha_path(y: pd.Series, a: pd.Series, b: pd.Series, alphas: np.ndarray | None = None) -> pd.DataFrame:
    """Return the mean absolute error of the blend for many weights.

    The error is a convex function of alpha, made of straight pieces that meet where a crystal is predicted exactly.

    Parameters
    ----------
    y, a, b : Series of float
        As for `optimal_alpha`.
    alphas : array, shape (m,), optional
        The weights, in [0, 1]; 0, 0.01, ... 1 where not given.

    Returns
    -------
    DataFrame
        Columns ``alpha`` and ``mae``, in the unit of `y`.

    Raises
    ------
    ValueError
        If a weight is outside [0, 1], or for the same reasons as in `optimal_alpha`.
    """
    table = _numbers({"y": y, "a": a, "b": b})
    rest, difference = (table["y"] - table["b"]).to_numpy(), (table["a"] - table["b"]).to_numpy()
    alphas = np.linspace(0, 1, 101) if alphas is None else np.ravel(alphas)
    for alpha in alphas:
        check_number("a number of alphas", alpha, least=0, most=1)
    # One weight at a time: a table of all crystals by all weights would not fit in memory for large sets.
    return pd.DataFrame(
        {"alpha": alphas.astype(float), "mae": [np.abs(rest - alpha * difference).mean() for alpha in alphas]}
    )


def alpha_from_errors(std_a: float, std_b: float, correlation: float) -> float:
    r"""Return the weight of model a that makes the variance of the blend's error smallest.

    .. math:: \alpha = \frac{s_b^2 - \rho s_a s_b}{s_a^2 + s_b^2 - 2 \rho s_a s_b}

    (Bates and Granger, 1969), clipped to [0, 1]: where the correlation is larger than the smaller standard deviation
    over the larger one, the better model alone is best. For errors of mean zero this is what
    ``optimal_alpha(y, a, b, loss="mse")`` returns.

    Parameters
    ----------
    std_a, std_b : float
        Standard deviations :math:`s_a` and :math:`s_b` of the errors of the two models, in one unit.
    correlation : float
        Correlation :math:`\rho` of the two errors, in [-1, 1].

    Returns
    -------
    float
        In [0, 1]; 0.5 where every weight is equally good (equal errors).

    Raises
    ------
    ValueError
        If a standard deviation is negative or not finite, or the correlation is outside [-1, 1].
    """
    _check_errors(std_a, std_b, correlation)
    # Each weight in proportion to its numerator; one that is negative before clipping becomes 0.
    for_a = max(std_b * (std_b - correlation * std_a), 0.0)
    for_b = max(std_a * (std_a - correlation * std_b), 0.0)
    return for_a / (for_a + for_b) if for_a + for_b else INDIFFERENT


def blended_error_variance(
    alpha: float | np.ndarray, std_a: float, std_b: float, correlation: float
) -> float | np.ndarray:
    r"""Return the variance of the error of the blend.

    .. math:: s^2(\alpha) = \alpha^2 s_a^2 + (1 - \alpha)^2 s_b^2 + 2 \alpha (1 - \alpha)\, \rho s_a s_b

    Parameters
    ----------
    alpha : float or array
        Weight of model a.
    std_a, std_b, correlation : float
        As for `alpha_from_errors`.

    Returns
    -------
    float or array
        In the squared unit of the standard deviations.

    Raises
    ------
    ValueError
        If a weight is outside [0, 1], or for the same reasons as in `alpha_from_errors`.
    """
    for one in np.ravel(alpha):
        check_number("alpha", one, least=0, most=1)
    _check_errors(std_a, std_b, correlation)
    of_a, of_b = alpha * std_a, (1 - alpha) * std_b
    return of_a**2 + of_b**2 + 2 * correlation * of_a * of_b


def _check_errors(std_a: float, std_b: float, correlation: float) -> None:
    check_number("std_a", std_a, least=0)
    check_number("std_b", std_b, least=0)
    check_number("correlation", correlation, least=-1, most=1)


def _joined(columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Put Series side by side, in the order of the first; raise ``ValueError`` unless all have the same ids."""
    for name, column in columns.items():
        if not isinstance(column, pd.Series):
            raise TypeError(
                f"{name} is of type {type(column).__name__}, which does not say which crystals its values belong to. "
                "Give a pandas Series indexed by crystal id: pd.Series(values, index=ids)."
            )
        check_unique_ids(column.index.tolist(), name)
    first, *others = columns
    for name in others:
        _check_same_ids(first, columns[first].index, name, columns[name].index)
    ids = columns[first].index
    return pd.DataFrame({name: column.loc[ids].to_numpy() for name, column in columns.items()}, index=ids)


def _check_same_ids(first: str, ids: pd.Index, second: str, other_ids: pd.Index) -> None:
    for has, lacks, inside, outside in ((first, second, ids, other_ids), (second, first, other_ids, ids)):
        alone = np.flatnonzero(~inside.isin(outside))
        if not len(alone):
            continue
        one = inside.tolist()[alone[0]]
        message = (
            f"{first} and {second} belong to different crystals: row {alone[0]} of {has} is {one!r}, which {lacks} "
            f"lacks ({len(alone)} such crystals)"
        )
        changed = nearest_id(one, outside.tolist())
        if changed is not None:
            raise ValueError(
                f"{message}; it has {changed!r}. One is of type {type(one).__name__}, the other of type "
                f"{type(changed).__name__}: a CSV reader or a spreadsheet changes ids that look like numbers. "
                f"{IDS_AS_TEXT}"
            )
        raise ValueError(
            f"{message}. Give both the same crystals, for example those that both have: "
            f"{first}.index.intersection({second}.index)."
        )


def _table(y: pd.Series, predictions: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Put true values and the predictions of two or more models side by side."""
    if not isinstance(predictions, Mapping | pd.DataFrame):
        raise TypeError(
            f"predictions are of type {type(predictions).__name__}. Give a dict: {{name: predictions, ...}}."
        )
    names = list(predictions)
    if len(names) < 2:
        raise ValueError(f"{len(names)} model(s) to stack: {', '.join(map(str, names)) or 'none'}. Give at least two.")
    if "y" in names:
        raise ValueError("a model is called 'y', as the true values are. Give it another name.")
    return _numbers({"y": y} | {name: predictions[name] for name in names})


def _numbers(columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Do what `_joined` does; also raise ``ValueError`` where a value is not a finite number or there are none."""
    table = _joined(columns)
    if table.empty:
        raise ValueError(f"no crystals: {' and '.join(map(str, columns))} are empty.")
    for name, column in columns.items():
        check_targets(column.to_numpy(), name, column.index)
    return table.astype(float)
