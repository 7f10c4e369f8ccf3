"""Late fusion: the best weight against searches and against every breakpoint, folds, ids, the theory of two errors."""

import csv
import io
import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from course_lib.late_fusion import (
    alpha_from_errors,
    alpha_path,
    blend,
    blended_error_variance,
    cross_fitted,
    optimal_alpha,
    optimal_weights,
    stacked,
)


def series(*columns) -> tuple[pd.Series, ...]:
    ids = [f"crystal-{k}" for k in range(len(columns[0]))]
    return tuple(pd.Series(np.asarray(column), index=ids) for column in columns)


def example(seed: int, size: int | None = None) -> tuple[pd.Series, ...]:
    """True values and two predictions; with many seeds, all kinds of errors: large, biased, rounded, heavy-tailed."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60)) if size is None else size
    y = rng.normal(size=size)
    noise = rng.normal(size=(2, size)) if rng.random() < 0.5 else rng.standard_cauchy((2, size))
    a, b = y + rng.uniform(-1, 1, (2, 1)) + rng.uniform(0.1, 3, (2, 1)) * noise
    if rng.random() < 0.3:  # equal breakpoints, equal weights and equal predictions
        y, a, b = np.round(y), np.round(a), np.round(b)
    return series(y, a, b)


def error(alpha: float, y: pd.Series, a: pd.Series, b: pd.Series, loss: str) -> float:
    wrong = np.asarray(y) - alpha * np.asarray(a) - (1 - alpha) * np.asarray(b)
    return np.abs(wrong).mean() if loss == "mae" else (wrong**2).mean()


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("seed", range(60))
def test_no_search_finds_a_better_weight(seed, loss):
    y, a, b = example(seed)
    found = error(optimal_alpha(y, a, b, loss), y, a, b, loss)
    searched = minimize_scalar(error, bounds=(0, 1), args=(y, a, b, loss), method="bounded").fun
    grid = min(error(alpha, y, a, b, loss) for alpha in np.linspace(0, 1, 501))
    assert found <= min(searched, grid) + 1e-12
    assert found >= searched - 1e-3 * searched - 1e-9  # the search comes as near as it can


@pytest.mark.parametrize("seed", range(300))
def test_absolute_error_is_that_of_the_best_breakpoint(seed):
    """A sum of |r - alpha d| is smallest where one of its terms is zero, or at an end of [0, 1]."""
    y, a, b = example(seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = ((y - b) / (a - b)).to_numpy()
    candidates = np.array([0.0, 1.0, *ratio[(ratio > 0) & (ratio < 1)]])
    errors = np.array([error(alpha, y, a, b, "mae") for alpha in candidates])
    alpha = optimal_alpha(y, a, b)
    assert error(alpha, y, a, b, "mae") == pytest.approx(errors.min(), abs=1e-12, rel=1e-12)
    best = candidates[errors <= errors.min() + 1e-12]
    assert best.min() - 1e-12 <= alpha <= best.max() + 1e-12
    if np.ptp(best) < 1e-12:
        assert alpha == pytest.approx(best[0], abs=1e-12)


def test_weights_worked_out_by_hand():
    # Breakpoints (y - b) / (a - b): 0.2, 0.6, 0.9, with weights 1, 1, 3: the median is 0.9. Squares: (0.2 + 0.6 +
    # 3 * 2.7) / 11.
    y, a, b = series([0.2, 0.6, 2.7], [1.0, 1.0, 3.0], [0.0, 0.0, 0.0])
    assert optimal_alpha(y, a, b) == pytest.approx(0.9)
    assert optimal_alpha(y, a, b, loss="mse") == pytest.approx((0.2 + 0.6 + 8.1) / 11)


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_a_model_that_is_always_right_gets_everything(loss):
    y, a, _ = example(0, size=20)
    assert optimal_alpha(y, y, a, loss) == pytest.approx(1, abs=1e-12)
    assert optimal_alpha(y, a, y, loss) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize(("shift", "end"), [(1.0, 0.0), (-1.0, 1.0)])
def test_a_minimum_outside_gives_the_nearer_end(loss, shift, end):
    """Both models too low: more of the higher one is better, up to all of it."""
    y, a, b = series([0.0, 0.0, 0.0], [-2.0, -2.5, -3.0], [-2.0 + shift, -2.5 + shift, -3.0 + shift])
    assert optimal_alpha(y, a, b, loss) == end


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("seed", range(20))
def test_exchanging_the_models_exchanges_the_weights(seed, loss):
    y, a, b = example(seed)
    assert optimal_alpha(y, b, a, loss) == pytest.approx(1 - optimal_alpha(y, a, b, loss), abs=1e-12)


def test_of_equally_good_weights_the_one_nearest_to_a_half():
    y, a, _ = example(1, size=10)
    assert optimal_alpha(y, a, a) == optimal_alpha(y, a, a, loss="mse") == 0.5
    zeros, ones = np.zeros(2), np.ones(2)
    # Between two breakpoints of equal weight the absolute error is flat.
    for breakpoints, expected in (
        ([0.1, 0.3], 0.3),
        ([0.7, 0.9], 0.7),
        ([0.2, 0.9], 0.5),
        ([-1, 3], 0.5),
        ([-2, -1], 0),
    ):
        assert optimal_alpha(*series(breakpoints, ones, zeros)) == expected
    # Ten times 0.1 is not 1 for a computer, and a tie all the same.
    assert optimal_alpha(*series([0.02] * 10 + [0.6], [0.1] * 10 + [1.0], np.zeros(11))) == pytest.approx(0.5)


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_crystals_on_which_the_models_agree_do_not_count(loss):
    y, a, b = example(2, size=30)
    agree = pd.Series([1.0, -7.0], index=["x", "z"])
    longer = pd.concat([y, agree + 5]), pd.concat([a, agree]), pd.concat([b, agree])
    assert optimal_alpha(*longer, loss=loss) == pytest.approx(optimal_alpha(y, a, b, loss), abs=1e-12)


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("tiny", [1e-300, 5e-324])
def test_models_that_differ_by_next_to_nothing(loss, tiny):
    assert optimal_alpha(*series([2.0, 3.0], [tiny, tiny], [0.0, 0.0]), loss=loss) == 1
    assert optimal_alpha(*series([-2.0, -3.0], [tiny, tiny], [0.0, 0.0]), loss=loss) == 0


def test_numbers_of_other_types_are_read_as_doubles():
    rng = np.random.default_rng(0)
    y = rng.normal(size=40)
    y, a, b = series(*np.stack([y, y + rng.normal(size=40), y + rng.normal(size=40)]).astype("float32"))
    alpha = optimal_alpha(y, a, b)
    assert 0 < alpha < 1
    assert alpha == optimal_alpha(*(column.astype(float) for column in (y, a, b)))
    assert 0 <= optimal_alpha(*series([1, 2, 3], [2, 2, 2], [0, 1, 4])) <= 1


def test_many_crystals_take_no_quadratic_time():
    y, a, b = series(*np.random.default_rng(0).normal(size=(3, 200_000)))
    begin = time.process_time()
    optimal_alpha(y, a, b)
    assert time.process_time() - begin < 5


# Ids


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_ids_say_what_belongs_together_whatever_the_order(loss):
    y, a, b = example(4, size=30)
    shuffled = (a.sample(frac=1, random_state=1), b.sample(frac=1, random_state=2))
    assert optimal_alpha(y, *shuffled, loss=loss) == optimal_alpha(y, a, b, loss)
    pd.testing.assert_series_equal(blend(0.3, *shuffled), blend(0.3, a, b).loc[shuffled[0].index])
    folds = pd.Series(np.arange(30) % 3, index=y.index)
    expected, expected_alpha = cross_fitted(y, a, b, folds, loss)
    found, found_alpha = cross_fitted(y, *shuffled, folds.sample(frac=1, random_state=3), loss)
    pd.testing.assert_series_equal(found, expected)
    pd.testing.assert_series_equal(found_alpha, expected_alpha)
    pd.testing.assert_frame_equal(alpha_path(y, *shuffled), alpha_path(y, a, b))


def calls(y, a, b):
    """Every function that joins Series by id."""
    folds = pd.Series(np.arange(len(y)) % 2, index=y.index)
    return {
        "optimal_alpha": lambda: optimal_alpha(y, a, b),
        "alpha_path": lambda: alpha_path(y, a, b),
        "cross_fitted": lambda: cross_fitted(y, a, b, folds),
    }


@pytest.mark.parametrize("function", ["optimal_alpha", "alpha_path", "cross_fitted"])
def test_other_crystals_are_an_error(function):
    y, a, b = example(5, size=6)
    cases = [
        (y, a.iloc[:-1], b, r"y and a .* row 5 of y is 'crystal-5', which a lacks \(1 such crystals\)"),
        (y.iloc[1:], a, b, r"y and a .* row 0 of a is 'crystal-0', which y lacks .* y.index.intersection\(a.index\)"),
        (y, a, b.rename({"crystal-2": "mp-2"}), "y and b .* row 2 of y is 'crystal-2', which b lacks"),
        (y, a.reset_index(drop=True), b, "row 0 of y is 'crystal-0', which a lacks .6 such crystals"),
        (y, a, pd.concat([b, b.iloc[[3]]]), r"b: duplicate id 'crystal-3' in rows \[3, 6\]"),
        (y, a.where(a.index != "crystal-4"), b, r"a: row 4 \(id 'crystal-4'\) is nan"),
        (y.where(y.index != "crystal-1", np.inf), a, b, r"y: row 1 \(id 'crystal-1'\) is inf"),
        (y[:0], a[:0], b[:0], "no crystals: y and a and b are empty"),
    ]
    for *columns, message in cases:
        with pytest.raises(ValueError, match=message):
            calls(*columns)[function]()
    with pytest.raises(TypeError, match=r"a is of type ndarray, which does not say .* pd.Series\(values, index=ids\)"):
        calls(y, a.to_numpy(), b)[function]()


def test_the_row_named_is_that_of_the_series_at_fault():
    y, a, b = example(5, size=6)
    a = a.where(a.index != "crystal-4")[::-1]
    with pytest.raises(ValueError, match=r"a: row 1 \(id 'crystal-4'\) is nan"):
        optimal_alpha(y, a, b)


@pytest.mark.parametrize(
    ("ids", "types"),
    [(["7", "8", "9"], "int"), (["00012", "1e5", "7"], "float"), (["NaN", "mp-1", "mp-2"], "float")],
)
def test_ids_that_a_csv_reader_changed(ids, types):
    a = pd.Series([1.1, 2.2, 2.9], index=pd.Index(ids, name="id"), name="a")
    y = pd.read_csv(io.StringIO(a.to_csv()), index_col="id")["a"]
    message = (
        rf"y and a belong to different crystals: .* it has '{ids[0]}'. One is of type {types}, the other of type str"
    )
    with pytest.raises(ValueError, match=message):
        optimal_alpha(y, a, a * 0)
    as_text = {"index_col": "id", "dtype": {"id": str}, "keep_default_na": False}  # what the message says
    assert optimal_alpha(pd.read_csv(io.StringIO(a.to_csv()), **as_text)["a"], a, a * 0) == 1


IDS = st.sampled_from(
    ["7", "8.0", "007", "1e5", "100000", "NaN", "NA", "True", "mp-1", " mp-1", "größe", "1_0", "-0", "0"]
)
VALUES = st.sampled_from(
    ["1.5", "-2", "3e-1", "1_5", "1,5", "", "nan", "inf", "1e39", "x", "True", " 4 ", "\uff11", "0x1"]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(IDS, VALUES), min_size=1, max_size=5, unique_by=lambda row: row[0]),
    as_text=st.booleans(),
)
def test_predictions_in_a_csv_file_are_joined_rightly_or_refused(rows, as_text):
    content = io.StringIO()
    csv.writer(content).writerows([("id", "prediction"), *rows])
    options = {"dtype": {"id": str}, "keep_default_na": False} if as_text else {}
    a = pd.read_csv(io.StringIO(content.getvalue()), index_col="id", **options)["prediction"]
    b = pd.Series(np.arange(len(rows), dtype=float), index=[one for one, _ in rows])[::-1]
    found, said = None, ""
    try:
        found = blend(0.25, a, b)
    except ValueError as error:
        said = str(error)
    if found is None:
        assert re.search(r"\b(row|rows) [0-9[]", said)  # says where
        return
    for one, value in rows:
        expected = 0.25 * float(value.replace("True", "1")) + 0.75 * b[one]
        assert found[one] == pytest.approx(expected)


def test_wrong_settings():
    y, a, b = example(6, size=6)
    with pytest.raises(ValueError, match="loss is 'rmse'; choose one of mae, mse"):
        optimal_alpha(y, a, b, loss="rmse")
    for alpha, message in ((-0.1, "at least 0"), (1.1, "at most 1"), (np.nan, "finite")):
        with pytest.raises(ValueError, match=f"alpha is {alpha}; it must be {message}"):
            blend(alpha, a, b)
        with pytest.raises(ValueError, match=f"a number of alphas is {alpha}; it must be {message}"):
            alpha_path(y, a, b, [0.5, alpha])
        for some in (alpha, np.array([0.5, alpha])):
            with pytest.raises(ValueError, match=f"alpha is {alpha}; it must be {message}"):
                blended_error_variance(some, 1.0, 1.0, 0.0)
    for alpha in (True, "0.5", None, np.array([0.5, 0.2])):
        with pytest.raises(ValueError, match=r"alpha is .*, not a number"):
            blend(alpha, a, b)
    for refused in (
        lambda loss: optimal_alpha(y, a, b, loss),
        lambda loss: optimal_weights(y, {"a": a, "b": b, "c": b}, loss),
    ):
        with pytest.raises(ValueError, match=r"loss is \['mae'\]; choose one of mae, mse"):
            refused(["mae"])
    folds = pd.Series(7, index=y.index)
    with pytest.raises(ValueError, match="all crystals are in fold 7; at least 2"):
        cross_fitted(y, a, b, folds)
    with pytest.raises(ValueError, match="folds: crystal 'crystal-3' has no fold"):
        cross_fitted(y, a, b, folds.where(folds.index != "crystal-3"))
    with pytest.raises(ValueError, match="y and folds belong to different crystals"):
        cross_fitted(y, a, b, folds.iloc[1:])


# Blend, folds and path


def test_blend_is_the_weighted_mean():
    _, a, b = example(7, size=9)
    assert blend(0.25, a, b).to_numpy() == pytest.approx(0.25 * a.to_numpy() + 0.75 * b.to_numpy())
    pd.testing.assert_series_equal(blend(1, a, b), a, check_names=False)
    pd.testing.assert_series_equal(blend(0, a, b), b, check_names=False)


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_each_fold_is_blended_with_the_weight_of_the_others(loss):
    y, a, b = example(8, size=50)
    folds = pd.Series(np.random.default_rng(0).choice(["p", "q", "r"], 50), index=y.index)
    predictions, alpha = cross_fitted(y, a, b, folds, loss)
    assert alpha.index.name == "fold"
    assert list(alpha.index) == ["p", "q", "r"]
    for fold in alpha.index:
        inside = folds == fold
        assert alpha[fold] == optimal_alpha(y[~inside], a[~inside], b[~inside], loss)
        assert predictions[inside].to_numpy() == pytest.approx(blend(alpha[fold], a[inside], b[inside]).to_numpy())
    assert list(predictions.index) == list(y.index)


def test_true_values_of_a_fold_do_not_reach_its_weight():
    y, a, b = example(9, size=40)
    folds = pd.Series(np.arange(40) % 4, index=y.index)
    before, alpha = cross_fitted(y, a, b, folds)
    after, changed = cross_fitted(y.where(folds != 2, 100.0), a, b, folds)
    assert changed[2] == alpha[2]
    assert (changed.drop(2) != alpha.drop(2)).any()
    pd.testing.assert_series_equal(after[folds == 2], before[folds == 2])


def test_weights_from_training_predictions_prefer_the_model_that_memorises():
    """Why the weight needs predictions that the models did not train on."""
    rng = np.random.default_rng(1)
    y, out_a, out_b = series(*(rng.normal(size=(3, 2000)) * [[1], [0.5], [0.3]]))
    out_a, out_b = y + out_a, y + out_b
    train_a = y + 0.1 * (out_a - y)  # a forest has seen its training crystals
    wrong, right = optimal_alpha(y, train_a, out_b), optimal_alpha(y, out_a, out_b)
    assert wrong > 0.8 > 0.5 > right
    assert error(wrong, y, out_a, out_b, "mae") > error(right, y, out_a, out_b, "mae")


def test_path_is_the_error_of_each_blend_and_meets_its_minimum():
    y, a, b = example(10, size=35)
    path = alpha_path(y, a, b)
    assert path["alpha"].to_numpy() == pytest.approx(np.linspace(0, 1, 101))
    assert path["mae"].to_numpy() == pytest.approx([(blend(x, a, b) - y).abs().mean() for x in path["alpha"]])
    best = optimal_alpha(y, a, b)
    assert alpha_path(y, a, b, alphas=[0, 1])["alpha"].dtype == float
    with_best = alpha_path(y, a, b, alphas=[0, best, 1])
    assert with_best["mae"].iloc[1] <= path["mae"].min() + 1e-12
    assert (np.diff(path["mae"], 2) >= -1e-12).all()  # convex


# Two errors and their correlation


@pytest.mark.parametrize("std_a", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.3, 0.6, 0.95, 1.0])
def test_weight_from_errors_makes_their_variance_smallest(std_a, correlation):
    std_b = 0.05
    alpha = alpha_from_errors(std_a, std_b, correlation)
    search = np.linspace(0, 1, 10_001)
    variance = blended_error_variance(search, std_a, std_b, correlation)
    assert blended_error_variance(alpha, std_a, std_b, correlation) <= variance.min() + 1e-15
    if std_a != std_b or correlation < 1:
        assert alpha == pytest.approx(search[variance.argmin()], abs=1e-4)
    assert alpha_from_errors(std_b, std_a, correlation) == pytest.approx(1 - alpha)


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.5, 0.9])
def test_theory_is_what_the_mse_weight_finds_for_errors_of_mean_zero(correlation):
    rng = np.random.default_rng(2)
    noise = rng.multivariate_normal([0, 0], [[0.04, correlation * 0.06], [correlation * 0.06, 0.09]], 500).T
    noise -= noise.mean(axis=1, keepdims=True)
    y = rng.normal(size=500)
    stds, found = noise.std(axis=1), np.corrcoef(noise)[0, 1]
    alpha = optimal_alpha(*series(y, y + noise[0], y + noise[1]), loss="mse")
    assert alpha == pytest.approx(alpha_from_errors(*stds, found), abs=1e-12)
    blended = alpha * noise[0] + (1 - alpha) * noise[1]
    assert blended.var() == pytest.approx(blended_error_variance(alpha, *stds, found), rel=1e-12)


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
def test_variance_of_the_blend_against_simulation(correlation):
    rng = np.random.default_rng(3)
    std_a, std_b = 0.2, 0.3
    covariance = [[std_a**2, correlation * std_a * std_b], [correlation * std_a * std_b, std_b**2]]
    wrong = rng.multivariate_normal([0, 0], covariance, 200_000)
    for alpha in (0.0, 0.35, 1.0):
        simulated = (alpha * wrong[:, 0] + (1 - alpha) * wrong[:, 1]).var()
        assert blended_error_variance(alpha, std_a, std_b, correlation) == pytest.approx(simulated, rel=0.02)


def test_the_better_model_alone_when_errors_are_too_much_alike():
    assert alpha_from_errors(0.06, 0.04, 0.9) == 0  # 0.9 > 0.04 / 0.06
    assert alpha_from_errors(0.04, 0.06, 0.9) == 1
    assert 0 < alpha_from_errors(0.06, 0.04, 0.6) < 0.5
    assert alpha_from_errors(0.04, 0.04, 0.99) == pytest.approx(0.5)
    assert alpha_from_errors(0.04, 0.04, 1.0) == alpha_from_errors(0.0, 0.0, 0.0) == 0.5
    assert alpha_from_errors(0.0, 0.04, 0.2) == 1
    # Independent errors: in inverse proportion to the variances.
    assert alpha_from_errors(0.1, 0.2, 0.0) == pytest.approx(0.8)


def test_impossible_errors():
    with pytest.raises(ValueError, match=r"std_a is -0\.1"):
        alpha_from_errors(-0.1, 0.2, 0.0)
    with pytest.raises(ValueError, match="std_b is nan"):
        alpha_from_errors(0.1, np.nan, 0.0)
    for correlation, message in ((1.2, "at most 1"), (-1.2, "at least -1"), (np.nan, "finite")):
        with pytest.raises(ValueError, match=f"correlation is {correlation}; it must be {message}"):
            alpha_from_errors(0.1, 0.2, correlation)
    for errors in (
        (-0.1, 0.2, 0.0),
        (0.1, -0.2, 0.0),
        (0.1, np.inf, 0.0),
        (0.1, 0.2, 5),
        ("1", 0.2, 0.0),
        (0.1, True, 0.0),
    ):
        for function in (alpha_from_errors, lambda *errors: blended_error_variance(0.5, *errors)):
            with pytest.raises(ValueError, match=r"(std_a|std_b|correlation) is"):
                function(*errors)


# Stacking of several models


def several(seed: int, models: int = 4) -> tuple[pd.Series, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(models + 1, 80))
    y = rng.normal(size=size)
    shared = rng.normal(size=(size, 1))
    predictions = y[:, None] + rng.uniform(0.2, 2, models) * (rng.normal(size=(size, models)) + rng.uniform() * shared)
    ids = [f"crystal-{k}" for k in range(size)]
    return pd.Series(y, ids), pd.DataFrame(predictions, ids, [f"model-{k}" for k in range(models)])


def stacking_error(weights: np.ndarray, y: pd.Series, predictions: pd.DataFrame, loss: str) -> float:
    wrong = np.abs(y.to_numpy() - predictions.to_numpy() @ weights)
    return wrong.mean() if loss == "mae" else (wrong**2).mean()


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("seed", range(25))
def test_no_search_finds_better_weights(seed, loss):
    """Against ten thousand sets of weights, steps from the best towards each model, and SciPy's own minimiser."""
    y, predictions = several(seed)
    weights = optimal_weights(y, predictions, loss).to_numpy()
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    found = stacking_error(weights, y, predictions, loss)
    tried = np.random.default_rng(0).dirichlet(np.full(4, 0.7), 10_000)
    near = [(1 - step) * weights + step * corner for step in (1e-4, 1e-2, 0.3) for corner in np.eye(4)]
    slsqp = minimize(
        stacking_error, np.full(4, 0.25), (y, predictions, loss), bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    ).x  # fmt: skip
    others = [*tried, *near, slsqp / slsqp.sum()]
    assert found <= min(stacking_error(other, y, predictions, loss) for other in others) + 1e-9
    if loss == "mse":
        np.testing.assert_allclose(weights, slsqp, atol=2e-3)


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize(("unit", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1.0, 1e6)])
def test_weights_are_the_same_in_any_unit(unit, offset, loss):
    y, predictions = several(0)
    predictions.iloc[0, 0] = y.iloc[0]  # an error of zero in any unit
    found = optimal_weights(y * unit + offset, predictions * unit + offset, loss)
    pd.testing.assert_series_equal(found, optimal_weights(y, predictions, loss))


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_weights_of_models_that_are_always_right_add_up_to_one(loss):
    (y,) = series([1.0, 2.0, 3.0])
    assert optimal_weights(y, {name: y for name in "abc"}, loss).sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_two_models_are_stacked_as_they_are_blended(seed):
    y, a, b = example(seed, 40)
    n_folds = 2 + seed % 4
    folds = pd.Series(np.arange(40) % n_folds, index=y.index)
    blended, alpha = cross_fitted(y, a, b, folds)
    together, weights = stacked(y, {"a": a, "b": b}, folds)
    assert together.name == "stack"
    for fold in range(n_folds):
        others = folds.index[folds != fold]
        assert alpha[fold] == weights.loc[fold, "a"] == optimal_alpha(y[others], a[others], b[others])
    pd.testing.assert_series_equal(blended, together, check_names=False)


def test_a_crystal_has_no_part_in_its_own_weights():
    y, predictions = several(3)
    folds = pd.Series(np.arange(len(y)) % 3, index=y.index)
    _, before = stacked(y, predictions, folds)
    y.iloc[0] += 1e3  # in fold 0
    _, after = stacked(y, predictions, folds)
    np.testing.assert_allclose(after.loc[0], before.loc[0])
    assert not np.allclose(after.loc[1], before.loc[1])


def test_stacking_refuses():
    y, predictions = several(0)
    folds = pd.Series(0, index=y.index)
    with pytest.raises(ValueError, match=r"1 model\(s\) to stack: model-0. Give at least two"):
        optimal_weights(y, predictions[["model-0"]])
    with pytest.raises(ValueError, match="loss is 'r2'; choose one of mae, mse"):
        optimal_weights(y, predictions, "r2")
    with pytest.raises(ValueError, match="all crystals are in fold 0"):
        stacked(y, predictions, folds)
    with pytest.raises(ValueError, match="called 'y'"):
        optimal_weights(y, predictions.rename(columns={"model-1": "y"}))
    with pytest.raises(ValueError, match="called 'y'"):
        optimal_weights(y, {"y": predictions["model-1"], "a": predictions["model-0"]})
    with pytest.raises(TypeError, match=r"predictions are of type list\. Give a dict"):
        stacked(y, [predictions["model-0"], predictions["model-1"]], folds)
    with pytest.raises(ValueError, match="model-2"):
        optimal_weights(y, predictions.assign(**{"model-2": np.nan}))


def test_models_may_have_any_names():
    """Numbers, for example; and one is not taken for another."""
    y, predictions = several(0)
    columns = list(predictions.items())
    folds = pd.Series(np.arange(len(y)) % 3, index=y.index)
    for names in ([0, 1, 2], [1, "1", None], [("a", 1), ("a", 2), "a"]):
        named = {name: column for name, (_, column) in zip(names, columns[:3], strict=True)}
        expected = stacked(y, dict(columns[:3]), folds)
        found = stacked(y, named, folds)
        np.testing.assert_array_equal(found[1].to_numpy(), expected[1].to_numpy())
        pd.testing.assert_series_equal(found[0], expected[0])
