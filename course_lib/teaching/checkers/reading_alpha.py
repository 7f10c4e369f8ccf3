"""Exercise 2: what the weight of a blend says, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from course_lib.late_fusion import alpha_from_errors, optimal_alpha
from course_lib.teaching.checkers.feedback import (
    Hint,
    Mistake,
    Statement,
    as_number,
    checker,
    close,
    finished,
    first_wrong,
    judge,
    number_from,
    recognise,
    recognise_function,
)

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
    Mistake(
        (1 - ALPHA) * FOREST + ALPHA * CGCNN,
        "That gives CGCNN the weight 0.20. Whose weight is α in the formula above?",
    ),
    Mistake(
        (FOREST + CGCNN) / 2,
        "That is the plain mean: it would be right for α = 0.5. Here the two opinions do not count alike.",
    ),
    Mistake(
        ALPHA * FOREST,
        "That is the forest's part alone. The rest of the weight belongs to CGCNN.",
    ),
    Mistake(
        (1 - ALPHA) * CGCNN,
        "That is CGCNN's part alone. What does the forest add?",
    ),
    Mistake(
        FOREST + CGCNN,
        "That is the sum. The weights of the two must add up to one, so that a blend of two equal predictions is that "
        "prediction.",
    ),
    Mistake(
        FOREST + (1 - ALPHA) * CGCNN,
        "You weighted CGCNN, but took the forest's prediction whole. What is its weight?",
    ),
    Mistake(
        -(ALPHA * FOREST + (1 - ALPHA) * CGCNN),
        "The size is right. Both models predict a negative energy: which sign must a mean of the two have?",
    ),
)


@checker
def check_blended_prediction(blended: object) -> str:
    """Check the blend of two predictions for one crystal.

    Parameters
    ----------
    blended : number
        The learner's answer, in eV/atom.

    Returns
    -------
    Feedback
    """
    value = as_number(blended, "blended")
    if close(value, ALPHA * FOREST + (1 - ALPHA) * CGCNN, atol=1e-6):
        return f"{value:.2f} eV/atom: one fifth of the way from CGCNN's prediction to the forest's."
    recognise(value, _BLENDS)
    if not min(FOREST, CGCNN) <= value <= max(FOREST, CGCNN):
        raise Hint(f"{value:g} does not lie between the two predictions, and a weighted mean always does.")
    raise Hint(
        f"{value:g} lies between the two predictions, as it must. α says how far it is from CGCNN's to the forest's: "
        "put the numbers into the formula above."
    )


_STATEMENTS = {
    "one fifth": Statement(
        True,
        "look at the formula. What stands in front of the forest's prediction, for whichever crystal?",
    ),
    "four times": Statement(
        False,
        f"the errors are given: {MAE_FOREST} and {MAE_CGCNN} eV/atom. What is their ratio? Is it the ratio of the "
        "weights?",
    ),
    "one in five": Statement(
        False,
        "is there any crystal for which the blend takes one prediction and leaves the other? α is the same for all.",
    ),
    "forest helps": Statement(
        True,
        "compare the curve at α = 0, CGCNN alone, with its lowest point. What is different there?",
    ),
    "cut off": Statement(
        False,
        "a weight below one half says that CGCNN's opinion counts for more. At which α would the curve be lowest if "
        "the forest added nothing?",
    ),
    "both errors": Statement(
        True,
        "if the two models made the very same errors, only of different size, would the worse one have anything to "
        "add? So do the sizes alone settle α?",
    ),
}


check_alpha_statements = judge(
    "statements",
    _STATEMENTS,
    "α is a share of the prediction. It is not a ratio of errors and not a share of crystals.",
)
"""Check what is read into a weight of 0.20."""


# --- the best weight ------------------------------------------------------------------------------------------------


def _cut(
    function: Callable[[float, float, float], float], low: float = 0.0, high: float = 1.0
) -> Callable[[float, float, float], float]:
    return lambda a, b, r: np.clip(function(a, b, r), low, high)


def _uncut(a: float, b: float, r: float) -> float:
    return (b**2 - r * a * b) / (a**2 + b**2 - 2 * r * a * b)


_CUTS = (
    Mistake(
        _uncut,
        "The formula is right. But for a poor model whose errors resemble those of a good one it leaves the range "
        "from 0 to 1. Cut it there, for example with `np.clip`.",
    ),
    Mistake(
        _cut(_uncut, low=-np.inf),
        f"The formula is right, but {_uncut(3, 1, 0.9):.3f}, your weight for standard deviations 3 and 1 and "
        "correlation 0.9, is outside the range from 0 to 1: you cut at one end only.",
    ),
    Mistake(
        _cut(_uncut, high=np.inf),
        f"The formula is right, but {_uncut(1, 3, 0.9):.3f}, your weight for standard deviations 1 and 3 and "
        "correlation 0.9, is outside the range from 0 to 1: you cut at one end only.",
    ),
)

_FORMULAS = (
    Mistake(
        lambda a, b, r: _uncut(b, a, r),
        "Your weight is the one of model b. With a poor model a (a large `std_a`) and a good model b, should the "
        "weight of a be large or small?",
    ),
    Mistake(
        lambda a, b, r: b**2 / (a**2 + b**2),
        "That is right where the errors are uncorrelated. `correlation` does not appear in yours. Which term of the "
        "variance of a sum did you leave out?",
    ),
    Mistake(
        lambda a, b, r: b / (a + b),
        "You weighted by the standard deviations. What is to be made small is the *variance*: write down its formula "
        "and take the derivative. And where does `correlation` come in?",
    ),
    Mistake(
        lambda a, b, r: (b**2 - r) / (a**2 + b**2 - 2 * r),
        "In the variance of a sum stands the covariance. You put the correlation in its place: how does one get from "
        "the correlation to the covariance?",
    ),
    Mistake(
        lambda a, b, r: (b**2 - r * a * b) / (a**2 + b**2 - r * a * b),
        "Nearly: the variance of a sum of two errors holds their covariance how many times? Look at the denominator.",
    ),
    Mistake(
        lambda a, b, r: (b**2 + r * a * b) / (a**2 + b**2 + 2 * r * a * b),
        "Check the signs: two errors that go together should make blending worth *less*. Take the derivative once "
        "more; where does the product α (1 − α) turn its sign?",
    ),
    Mistake(
        lambda a, b, r: b**2 / (a**2 + b**2 - 2 * r * a * b),
        "The denominator is right. In the numerator something is missing: the derivative of 2 α (1 − α) times the "
        "covariance also has a part without α.",
    ),
)

_PROBES = (
    (1.0, 1.0, 0.0),
    (2.0, 1.0, 0.0),
    (1.0, 2.0, 0.3),
    (0.044, 0.035, 0.65),
    (2.0, 1.0, -0.5),
    (3.0, 1.0, 0.9),
    (1.0, 3.0, 0.9),
)


@checker
def check_best_alpha(function: object) -> str:
    """Check the weight that makes the variance of a blend's error smallest.

    Parameters
    ----------
    function : callable
        ``function(std_a, std_b, correlation) -> alpha``, the weight of model a, cut to [0, 1].

    Returns
    -------
    Feedback
    """
    values = [number_from(function, "best_alpha", *probe) for probe in _PROBES]
    best = [alpha_from_errors(*probe) for probe in _PROBES]
    if close(values, best, atol=1e-4):  # a search for the minimum is right, too
        return (
            "The weight depends on both errors and on their correlation. `course_lib.late_fusion.alpha_from_errors` "
            "gives the same."
        )
    ends = ((-np.inf, np.inf), (0, 1), (-np.inf, 1), (0, np.inf))
    formulas = [Mistake(_cut(mistake.answer, *between), mistake.hint) for mistake in _FORMULAS for between in ends]
    recognise_function(values, _PROBES, [*_CUTS, *formulas])
    (a, b, r), value, right = first_wrong(_PROBES, values, best, atol=1e-4)
    if close(values, best, atol=0.05):
        raise Hint(
            f"Close: with standard deviations {a:g} and {b:g} and correlation {r:g} your weight is {value:.6g}, and "
            f"the best is {right:.6g}. Do you round, or try values? The formula gives it exactly."
        )
    if not 0 <= value <= 1:
        raise Hint(
            f"With standard deviations {a:g} and {b:g} and correlation {r:g} your weight is {value:.3f}, outside the "
            f"range from 0 to 1; the best within it is {right:.3f}. Cut there, and check the formula."
        )
    raise Hint(
        f"With standard deviations {a:g} and {b:g} and correlation {r:g} your weight is {value:.3f}; the variance of "
        f"the blend is smaller {'below' if right < value else 'above'} that. Write down the variance as a function of "
        "α and set its derivative to zero."
    )


# --- which correlation? ---------------------------------------------------------------------------------------------

_RATIO = MAE_CGCNN / MAE_FOREST
_UNCORRELATED = _RATIO**2 / (1 + _RATIO**2)

_ALPHAS = (
    Mistake(
        1 - _UNCORRELATED,
        "That is CGCNN's weight. The forest is model a, with the larger error: which of the two weights is its?",
    ),
    Mistake(
        _RATIO / (1 + _RATIO),
        "You weighted by the errors themselves. In the formula of task 3 they stand squared.",
    ),
    Mistake(ALPHA, "0.20 is what was found on the data. What would it be if the errors had nothing in common?"),
    Mistake(100 * _UNCORRELATED, "Right in percent. Give the weight as a number between 0 and 1."),
    Mistake(0.5, "One half would be right for two equally good models. These two are not."),
)

_CORRELATIONS = (
    Mistake(100 * _CORRELATION, "Right in percent. A correlation is a number between −1 and 1."),
    Mistake(
        _RATIO,
        "At that correlation, the ratio of the two errors, the forest's weight becomes zero. It has 0.20, so their "
        "errors have a little less in common.",
    ),
    Mistake(
        1 - _CORRELATION,
        "That is one minus the right number. Check the sign when you solve for the correlation.",
    ),
    Mistake(
        -_CORRELATION,
        "The size is right, the sign is not. Models that learn from the same data tend to err on the same side.",
    ),
    Mistake(
        _CORRELATION**2,
        "That is the square of the right number: the share of the variance that is common. The correlation is asked "
        "for.",
    ),
    Mistake(0.0, "With correlation zero you found another weight in the first question. Which way must it change?"),
)


@checker
def check_error_correlation(alpha_uncorrelated: object, correlation: object) -> str:
    """Check the weight without correlation, and the correlation that gives the weight 0.20.

    Parameters
    ----------
    alpha_uncorrelated, correlation : number
        The learner's answers.

    Returns
    -------
    Feedback
    """
    finished(alpha_uncorrelated, "alpha_uncorrelated")
    alpha = as_number(alpha_uncorrelated, "alpha_uncorrelated")
    if not close(alpha, _UNCORRELATED, atol=5e-3):
        recognise(alpha, _ALPHAS, rtol=5e-3, atol=2e-3)
        raise Hint(
            f"`alpha_uncorrelated` is {alpha:g}. Call `best_alpha` with the two errors and correlation 0; only their "
            "ratio matters."
        )
    finished(correlation, "correlation")
    value = as_number(correlation, "correlation")
    if close(value, _CORRELATION, atol=5e-3):
        return (
            f"Uncorrelated errors would give the forest {_UNCORRELATED:.2f}. It has {ALPHA:.2f} because its errors "
            f"resemble those of CGCNN: their correlation is {_CORRELATION:g}."
        )
    recognise(value, _CORRELATIONS, rtol=5e-3, atol=2e-3)
    if not -1 <= value <= 1:
        raise Hint(
            f"A correlation of {value:.3g} cannot be. If you solved the equation, see whether α = 0.20 stands for the "
            "forest, the model with the larger error."
        )
    weight = alpha_from_errors(MAE_FOREST, MAE_CGCNN, value)
    raise Hint(
        f"With a correlation of {value:g} the best weight is {weight:.3f}, not {ALPHA:.2f}. "
        f"{'More' if weight > ALPHA else 'Less'} in common, and it comes nearer."
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
    """Make up predictions for the crystals that two models learned from, and for as many that they did not.

    The forest nearly remembers what it learned from; CGCNN remembers a little. Both loaders shuffle.

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
    Mistake(
        lambda training, _: _by_position(training),
        "That is your colleague's weight still. Print the first three ids of `y` and of `cgcnn`; and ask which of the "
        "crystals here a model has never seen.",
    ),
    Mistake(
        lambda training, _: _by_id(training),
        "The predictions now belong to the crystals. But both models learned from these very crystals, and the forest "
        "nearly remembers them. Is it as good on new ones?",
    ),
    Mistake(
        lambda _, out_of_fold: _by_position(out_of_fold),
        "The right crystals: neither model learned from them. But CGCNN's predictions come in the order of its "
        "loader. Compare the ids of `y` and of `cgcnn`.",
    ),
    Mistake(
        lambda training, _: _sorted(training),
        "You sorted the values. That pairs the smallest prediction with the smallest energy, whatever the crystal, "
        "so every model looks good. Put them in order by crystal id. And look at which crystals you take.",
    ),
    Mistake(
        lambda _, out_of_fold: _sorted(out_of_fold),
        "You sorted the values. That pairs the smallest prediction with the smallest energy, whatever the crystal, "
        "so every model looks good. Put them in order by crystal id.",
    ),
    Mistake(
        lambda _, out_of_fold: 1 - _by_id(out_of_fold),
        "Both bugs are gone, but this is the weight of CGCNN. In `optimal_alpha` the weight belongs to the model that "
        "is named first.",
    ),
)


@checker
def check_fixed_alpha(function: object) -> str:
    """Check the fixed procedure that finds the weight of the forest.

    Parameters
    ----------
    function : callable
        ``function(training, out_of_fold) -> alpha``; both are `Predicted`.

    Returns
    -------
    Feedback
    """
    probes = [two_parts(seed) for seed in (1, 2, 3)]
    values = [number_from(function, "fixed_alpha", *probe) for probe in probes]
    right = [_by_id(out_of_fold) for _, out_of_fold in probes]
    if close(values, right, atol=1e-6):
        return (
            "The weight comes from crystals that neither model has seen, and each prediction is compared with the "
            "energy of its own crystal."
        )
    recognise_function(values, probes, _PROCEDURES)
    raise Hint(
        f"On made-up crystals your weight is {values[0]:.3f}; it should be {right[0]:.3f}. Keep `optimal_alpha(y, "
        "forest, cgcnn)` as it is, and change only what you hand over."
    )
