"""Exercise 2: what the weight of a blend says, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_lib.late_fusion import alpha_from_errors, optimal_alpha
from course_lib.teaching.checkers.declarative import Found, Function, Judge, Number, asks
from course_lib.teaching.checkers.feedback import close

ALPHA = 0.20
"""Weight of the forest in the blend."""

MAE_FOREST, MAE_CGCNN = 0.035, 0.028  # eV/atom
_CORRELATION = 0.65


def two_models() -> pd.DataFrame:
    """Make up the predictions of a forest and a CGCNN whose errors have the sizes of the exercise.

    Returns
    -------
    DataFrame
        Columns ``y``, ``forest`` and ``cgcnn`` in eV/atom, one row per made-up crystal. The errors are normally
        distributed and have no mean.
    """
    rng = np.random.default_rng(0)
    errors = rng.standard_normal((20_000, 2))
    errors -= errors.mean(axis=0)
    errors = errors @ np.linalg.inv(np.linalg.cholesky(np.cov(errors.T))).T  # variances 1, correlation 0, exactly
    errors[:, 0] = _CORRELATION * errors[:, 1] + np.sqrt(1 - _CORRELATION**2) * errors[:, 0]
    errors *= np.array([MAE_FOREST, MAE_CGCNN]) / np.abs(errors).mean(axis=0)
    y = rng.normal(-1.0, 1.0, len(errors))
    return pd.DataFrame({"y": y, "forest": y + errors[:, 0], "cgcnn": y + errors[:, 1]})


FOREST, CGCNN = -1.50, -1.80  # predictions for one crystal, eV/atom

_BLENDS = (
    ("That gives CGCNN the weight 0.20. Whose weight is α in the formula above?",
     (1 - ALPHA) * FOREST + ALPHA * CGCNN),
    ("That is the plain mean: it would be right for α = 0.5. Here the two opinions do not count equally.",
     (FOREST + CGCNN) / 2),
    ("That is the forest's part alone. The rest of the weight belongs to CGCNN.", ALPHA * FOREST),
    ("That is CGCNN's part alone. What does the forest add?", (1 - ALPHA) * CGCNN),
    ("That is the sum. The weights of the two must add up to one, so that a blend of two equal predictions is that "
     "prediction.", FOREST + CGCNN),
    ("You weighted CGCNN, but took the forest's prediction whole. What is its weight?", FOREST + (1 - ALPHA) * CGCNN),
    ("Both models predict a negative energy: which sign must a mean of the two have?",
     -(ALPHA * FOREST + (1 - ALPHA) * CGCNN)),
    ("{value:g} does not lie between the two predictions, and a weighted mean always does.",
     lambda value: not CGCNN <= value <= FOREST),
    ("{value:g} lies between the two predictions, as it must. α says how far it is from CGCNN's to the forest's: put "
     "the numbers into the formula above.", lambda value: True),
)  # fmt: skip

check_blended_prediction = asks(
    Number("blended", ALPHA * FOREST + (1 - ALPHA) * CGCNN, _BLENDS, atol=1e-6),
    shows=lambda value: f"{value:.2f} eV/atom: one fifth of the way from CGCNN's prediction to the forest's.",
)

check_alpha_statements = asks(
    Judge("statements", {
        "one fifth": (True, "Look at the formula. Which factor does the forest's prediction have, for whichever "
         "crystal?"),
        "four times": (False, f"The errors are given: {MAE_FOREST} and {MAE_CGCNN} eV/atom. What is their "
         "ratio? Is it the ratio of the weights?"),
        "one in five": (False, "Is there any crystal for which the blend takes one prediction and leaves the other? "
         "α is the same for all."),
        "forest helps": (True, "Compare the curve at α = 0, CGCNN alone, with its lowest point. What is different "
         "there?"),
        "cut off": (False, "A weight below one half says that CGCNN's opinion counts for more. At which α would the "
         "curve be lowest if the forest added nothing?"),
        "both errors": (True, "If the two models made the same errors, only of different size, would the worse one "
         "have anything to add? So do the sizes alone settle α?"),
    }),
    shows="α is a share of the prediction. It is not a ratio of errors and not a share of crystals.",
)  # fmt: skip

# --- the best weight ------------------------------------------------------------------------------------------------


def _cut(function: Callable[..., float], low: float = 0.0, high: float = 1.0) -> Callable[..., float]:
    return lambda a, b, r: np.clip(function(a, b, r), low, high)


def _uncut(a: float, b: float, r: float) -> float:
    return (b**2 - r * a * b) / (a**2 + b**2 - 2 * r * a * b)


def _however_cut(function: Callable[..., float]) -> tuple[Callable[..., float], ...]:
    return tuple(_cut(function, *ends) for ends in ((-np.inf, np.inf), (0, 1), (-np.inf, 1), (0, np.inf)))


_MISTAKEN_ALPHAS = (
    ("The formula is right. But for a poor model whose errors resemble those of a good one it leaves the range from 0 "
     "to 1. Clip it, for example with `np.clip`.", _uncut),
    *((f"The formula is right, but {_uncut(*at):.3f}, your weight for standard deviations {at[0]} and {at[1]} and "
       "correlation 0.9, is outside the range from 0 to 1: you clip only one end.", wrong)
      for wrong, at in ((_cut(_uncut, low=-np.inf), (3, 1, 0.9)), (_cut(_uncut, high=np.inf), (1, 3, 0.9)))),
    *((hint, *_however_cut(formula)) for hint, formula in (
    ("Your weight is the one of model b. With a poor model a (a large `std_a`) and a good model b, should the weight "
     "of a be large or small?", lambda a, b, r: _uncut(b, a, r)),
    ("That is right where the errors are uncorrelated. `correlation` does not appear in yours. Which term of the "
     "variance of a sum did you leave out?", lambda a, b, r: b**2 / (a**2 + b**2)),
    ("You weighted by the standard deviations. The *variance* should be smallest: write down its formula and take the "
     "derivative. And where does `correlation` come in?", lambda a, b, r: b / (a + b)),
    ("The variance of a sum contains the covariance. You put the correlation in its place: how do you get from the "
     "correlation to the covariance?", lambda a, b, r: (b**2 - r) / (a**2 + b**2 - 2 * r)),
    ("Nearly: how many times does the covariance appear in the variance of a sum of two errors? Look at the "
     "denominator.",
     lambda a, b, r: (b**2 - r * a * b) / (a**2 + b**2 - r * a * b)),
    ("Check the signs: correlated errors should make blending worth *less*. Take the derivative again; where does the "
     "derivative of α (1 − α) change its sign?",
     lambda a, b, r: (b**2 + r * a * b) / (a**2 + b**2 + 2 * r * a * b)),
    ("The denominator is right. In the numerator something is missing: the derivative of 2 α (1 − α) times the "
     "covariance also has a part without α.", lambda a, b, r: b**2 / (a**2 + b**2 - 2 * r * a * b)),
    )),
)  # fmt: skip

_PROBES = (
    (1.0, 1.0, 0.0),
    (2.0, 1.0, 0.0),
    (1.0, 2.0, 0.3),
    (0.044, 0.035, 0.65),
    (2.0, 1.0, -0.5),
    (3.0, 1.0, 0.9),
    (1.0, 3.0, 0.9),
)


def _about_one_alpha(found: Found) -> str:
    (a, b, r), value, right = found.first(atol=1e-4)
    at = f"With standard deviations {a:g} and {b:g} and correlation {r:g} your weight is"
    if close(found.values, found.right, atol=0.05):
        return (
            f"Close: {at[0].lower()}{at[1:]} {value:.6g}, and the best is {right:.6g}. Do you round, or try values? "
            "The formula gives it exactly."
        )
    if not 0 <= value <= 1:
        return (
            f"{at} {value:.3f}, outside the range from 0 to 1; the best within it is {right:.3f}. Clip it, and check "
            "the formula."
        )
    return (
        f"{at} {value:.3f}; the variance of the blend is smaller {'below' if right < value else 'above'} that. Write "
        "down the variance as a function of α and set its derivative to zero."
    )


check_best_alpha = asks(
    Function(
        "best_alpha",
        alpha_from_errors,
        _PROBES,
        _MISTAKEN_ALPHAS,
        _about_one_alpha,
        atol=5.1e-4,  # a search for the minimum in steps of 0.001 is right, too
    ),
    shows="The weight depends on both errors and on their correlation. `course_lib.late_fusion.alpha_from_errors` "
    "gives the same.",
)

# --- which correlation? ---------------------------------------------------------------------------------------------

_RATIO = MAE_CGCNN / MAE_FOREST
_UNCORRELATED = _RATIO**2 / (1 + _RATIO**2)

_ALPHAS = (
    ("That is CGCNN's weight. The forest is model a, with the larger error: which of the two weights is its?",
     1 - _UNCORRELATED),
    ("You weighted by the errors themselves. In the formula of task 3 they are squared.", _RATIO / (1 + _RATIO)),
    ("0.20 is the weight that the data gave. What would it be if the errors were uncorrelated?", ALPHA),
    ("One half would be right for two equally good models. These two are not.", 0.5),
    ("`alpha_uncorrelated` is {value:g}. With which three arguments did you call `best_alpha`?", lambda value: True),
)  # fmt: skip


def _about_the_weight(correlation: float) -> str:
    weight = alpha_from_errors(MAE_FOREST, MAE_CGCNN, correlation)
    return (
        f"With a correlation of {correlation:g} the best weight is {weight:.3f}, not {ALPHA:.2f}. "
        f"{'More' if weight > ALPHA else 'Less'} correlation brings it nearer."
    )


_CORRELATIONS = (
    ("At that correlation, the ratio of the two errors, the forest's weight becomes zero. It has 0.20, so their errors "
     "are a little less correlated.", _RATIO),
    ("Does `best_alpha` give 0.20 for that correlation? If not, which terms of your equation hold the correlation, and "
     "with which sign?", 1 - _CORRELATION),
    ("With a negative correlation one model errs upwards where the other errs downwards. Would two models that learn "
     "from the same data do that?",
     -_CORRELATION),
    ("Is that the correlation, or the share of the variance that the two have in common?",
     _CORRELATION**2),
    (f"With correlation zero `best_alpha` gives another weight than {ALPHA:.2f}. Which way must the correlation change "
     "it?", 0.0),
    ("A correlation of {value:.3g} is impossible. If you solved the equation, check whether α = 0.20 stands for the "
     "forest, the model with the larger error.", lambda value: not -1 <= value <= 1),
    (_about_the_weight, lambda value: True),
)  # fmt: skip

check_error_correlation = asks(
    Number("alpha_uncorrelated", _UNCORRELATED, _ALPHAS),
    Number("correlation", _CORRELATION, _CORRELATIONS),
    shows=f"Uncorrelated errors would give the forest {_UNCORRELATED:.2f}. It has {ALPHA:.2f} because its errors "
    f"resemble those of CGCNN: their correlation is {_CORRELATION:g}.",
)

# --- a flawed procedure ---------------------------------------------------------------------------------------------


class Predicted(NamedTuple):
    """What two models predict for some crystals, in eV/atom, as `Series` by crystal id.

    Attributes
    ----------
    y, forest : Series
        The truth and the forest's predictions, in the order of the table of crystals.
    cgcnn : Series
        CGCNN's predictions, in the order in which the loader gave the crystals.
    """

    y: pd.Series
    forest: pd.Series
    cgcnn: pd.Series


def two_parts(seed: int = 0, n: int = 400) -> tuple[Predicted, Predicted]:
    """Make up predictions for the crystals that two models were trained on, and for as many other crystals.

    The forest has nearly memorised its training crystals; CGCNN has memorised a little. Both loaders shuffle.

    Parameters
    ----------
    seed : int, default 0
        Seed of the numbers.
    n : int, default 400
        Crystals in each part.

    Returns
    -------
    training, out_of_fold : Predicted
    """
    rng = np.random.default_rng(seed)
    parts = []
    for part, forest_error, cgcnn_error in (("learned", 0.10, 0.15), ("new", 0.33, 0.25)):  # eV/atom
        y = pd.Series(rng.normal(-1.0, 1.0, n), index=[f"{part}-{number:03d}" for number in range(n)])
        common, *own = rng.standard_normal((3, n))
        forest = y + forest_error * (0.6 * common + 0.8 * own[0])
        cgcnn = y + cgcnn_error * (0.6 * common + 0.8 * own[1])
        parts.append(Predicted(y, forest, cgcnn.iloc[rng.permutation(n)]))
    return parts[0], parts[1]


def _by_position(part: Predicted) -> float:
    return optimal_alpha(part.y, part.forest, pd.Series(part.cgcnn.to_numpy(), part.y.index))


def _by_id(part: Predicted) -> float:
    return optimal_alpha(part.y, part.forest, part.cgcnn[part.y.index])


def _sorted(part: Predicted) -> float:
    return optimal_alpha(*(pd.Series(np.sort(values.to_numpy()), part.y.index) for values in part))


_PROCEDURES = (
    ("That is still your colleague's weight. Print the first three ids of `y` and of `cgcnn`; and ask which of these "
     "crystals neither model has seen.", lambda training, _: _by_position(training)),
    ("The predictions now belong to the crystals. But both models were trained on these very crystals, and the forest "
     "has nearly memorised them. Is it as good on new ones?", lambda training, _: _by_id(training)),
    ("The right crystals: neither model was trained on them. But CGCNN's predictions come in the order of its loader. "
     "Compare the ids of `y` and of `cgcnn`.", lambda _, out_of_fold: _by_position(out_of_fold)),
    ("You sorted the values. That pairs the smallest prediction with the smallest energy, whatever the crystal, so "
     "every model looks good. Put them in order by crystal id. And look at which crystals you take.",
     lambda training, _: _sorted(training)),
    ("You sorted the values. That pairs the smallest prediction with the smallest energy, whatever the crystal, so "
     "every model looks good. Put them in order by crystal id.", lambda _, out_of_fold: _sorted(out_of_fold)),
    ("Both bugs are gone, but this is the weight of CGCNN. In `optimal_alpha` the weight belongs to the model that "
     "is named first.", lambda _, out_of_fold: 1 - _by_id(out_of_fold)),
)  # fmt: skip

check_fixed_alpha = asks(
    Function(
        "fixed_alpha",
        lambda _, out_of_fold: _by_id(out_of_fold),
        lambda: [two_parts(seed) for seed in (1, 2, 3)],
        _PROCEDURES,
        lambda found: (
            f"On made-up crystals your weight is {found.values[0]:.3f}; it should be {found.right[0]:.3f}. Keep "
            "`optimal_alpha(y, forest, cgcnn)` as it is, and change only what you hand over."
        ),
    ),
    shows="The weight comes from crystals that neither model has seen, and each prediction is compared with the energy "
    "of its own crystal.",
)
