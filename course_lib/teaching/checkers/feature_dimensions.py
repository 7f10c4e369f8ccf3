"""Exercise 1: the inputs of early fusion, and what helps against overfitting."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from course_lib.teaching.checkers.declarative import Found, Function, Judge, Number, asks, yes_or_no
from course_lib.teaching.checkers.feedback import Hint, Unfinished, as_dict, checker, finished, listed

N_COMPOSITION, N_EMBEDDING, N_HIDDEN = 145, 256, 128
"""Composition features, graph embedding, and width of the first layer."""

BASELINE = {"dropout": 0.0, "weight_decay": 0.0, "hidden": (128, 64), "n_crystals": 100}
"""The settings that a variant changes one of."""

_JOINED = N_COMPOSITION + N_EMBEDDING

_INPUTS = (
    ("You multiplied. Concatenation writes one vector after the other: how long is a list of 2 numbers followed by "
     "a list of 3?", N_COMPOSITION * N_EMBEDDING),
    ("You counted 132 composition features: that is matminer's preset `magpie` alone. Which three groups of features "
     "does the course add to it (notebook 1)?", 132 + N_EMBEDDING),
    ("That is the network of notebook 2, whose graph embedding has 128 numbers. How long is the embedding here?",
     N_COMPOSITION + 128),
    ("That is the graph embedding alone. What is concatenated with it?", N_EMBEDDING),
    ("Those are the composition features alone. What is concatenated with them?", N_COMPOSITION),
    ("You took the difference. Both vectors are kept whole; nothing is subtracted.", N_EMBEDDING - N_COMPOSITION),
    ("You first made both the same length. That is needed for adding vectors, or for attention; concatenation takes "
     "them as they are.", max(N_COMPOSITION, N_EMBEDDING) * 2),
    ("Two vectors of 145 and 256 numbers do not give {value:g} inputs. Put one after the other and count what "
     "you have.", lambda value: True),
)  # fmt: skip

_WEIGHTS = (
    ("Nearly: those are the entries of the matrix. A dense layer adds one more number to each of its outputs. What "
     "is it called, and how many outputs are there?", _JOINED * N_HIDDEN),
    ("The matrix is right, but there is one bias for each *output* of the layer, not for each input.",
     _JOINED * N_HIDDEN + _JOINED),
    ("That is how many numbers go in and come out. Each output is a weighted sum of *all* inputs: how many weights "
     "does one output need?", _JOINED + N_HIDDEN),
    ("That is the first layer of notebook 2, with an embedding of 128. Use the number of inputs of this one.",
     273 * N_HIDDEN + N_HIDDEN),
    ("Those are the inputs again. Each of the 128 outputs has a weight for every one of them.", _JOINED),
    ("{value:g} is not right. Picture one of the 128 outputs: it multiplies every input by a weight of its own, and "
     "then adds one more number.", lambda value: True),
)  # fmt: skip

check_dimensions = asks(
    Number("n_inputs", _JOINED, _INPUTS, atol=0),
    Number("n_weights", _JOINED * N_HIDDEN + N_HIDDEN, _WEIGHTS, atol=0),
    shows=lambda inputs, weights: (
        f"{N_COMPOSITION} + {N_EMBEDDING} = {inputs:g} inputs, and {weights:,.0f} numbers to learn in the first layer "
        f"alone: {weights / BASELINE['n_crystals']:.0f} for each of the {BASELINE['n_crystals']} crystals that it will "
        "learn from. That is enough to memorise them."
    ),
)


# --- two variants ---------------------------------------------------------------------------------------------------

_DROPOUT = Number("dropout", (1e-9, 0.8), (
    ("A dropout of {value:g} is impossible. It is a share: 0.3 drops 30 % of the numbers.", lambda p: p > 1),
    ("A dropout of 1 drops every number, so nothing can be learned. Leave some.", 1),
    ("A dropout of {value:g} leaves so few of the numbers that hardly anything can be learned, so the model would "
     "memorise less, but also know less. Usual values are 0.1 to 0.5.", lambda p: p > 0.8),
    ("A dropout of {value:g} drops nothing: that is the baseline, or less. Choose a share above zero.", lambda p: True),
), atol=0)  # fmt: skip

_WEIGHT_DECAY = Number("weight_decay", (1e-3, 10), (
    ("A weight decay of {value:g} would make the weights grow. Which sign shrinks them?",
     lambda w: w < 0),
    ("A weight decay of zero is the baseline. How strongly should the weights shrink?", 0),
    ("A weight decay of {value:g} takes the share learning rate × {value:g} from a weight at each step: over the 120 "
     "steps of this training that is next to nothing. Try 0.1 or more.", lambda w: w < 1e-3),
    ("A weight decay of {value:g} takes the share learning rate × {value:g} from a weight at each step: hardly "
     "anything of what it learns is left. Choose 10 at most.", lambda w: True),
), atol=0)  # fmt: skip


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_hidden(value: object) -> None:
    if not isinstance(value, tuple | list) or not value:
        raise Hint("`hidden` is a tuple of layer sizes, such as `(128, 64)`; for one layer `(32,)`.")
    if not all(_is_whole(size) and size > 0 for size in value):
        raise Hint("A size in `hidden` counts outputs: write whole numbers, without a decimal point.")

    def weights(layers: tuple) -> float:
        return sum(a * b + b for a, b in zip((_JOINED, *layers), (*layers, 1), strict=True))

    if weights(tuple(value)) >= weights(BASELINE["hidden"]):
        raise Hint(
            "That network has at least as many weights as the baseline, so it can memorise as much. Make it smaller."
        )


def _n_crystals(available: int) -> Number:
    """Return how many training crystals a variant may have: more than the baseline, and as many as there are."""
    baseline = BASELINE["n_crystals"]
    return Number("n_crystals", (baseline + 1, available), (
        (f"{{value:g}} crystals are no more than the baseline's {baseline}: the fewer crystals, the easier they are to "
         "memorise.", lambda count: count < baseline + 1),
        (f"The training set has {available} crystals; choose a whole number up to that.", lambda count: True),
    ), atol=0)  # fmt: skip


def variants_on_page(available: int) -> tuple[Number, ...]:
    """Return what the website asks for in task 2: settings that are single numbers, for so many training crystals."""
    return _DROPOUT, _WEIGHT_DECAY, _n_crystals(available)


def _check_n_crystals(value: object, available: int) -> None:
    if not _is_whole(value):
        raise Hint(
            "`n_crystals` counts crystals, and the next cell takes that many from a list. Write a whole number, "
            "without quotes, decimal point or exponent."
        )
    _n_crystals(available).check(value)


@checker
def check_variants(first: object, second: object, available: int) -> str:
    """Check two variants of the baseline, each of which should work against overfitting.

    Parameters
    ----------
    first, second : dict
        What to change of `BASELINE`, such as ``{"dropout": 0.3}``.
    available : int
        Number of training crystals.

    Returns
    -------
    Feedback
    """
    changed = [_changed_setting(first, "first", available), _changed_setting(second, "second", available)]
    if changed[0] == changed[1]:
        raise Hint(f"Both change `{changed[0]}`. Choose a different setting for the second.")
    return f"Two remedies, `{changed[0]}` and `{changed[1]}`, each on its own. The next cell measures what they do."


def _changed_setting(answer: object, name: str, available: int) -> str:
    """Return which setting a variant changes; raise `Hint` unless it is one that could help."""
    variant = as_dict(answer, name)
    if not variant:
        raise Unfinished(f'`{name}` is empty. Change one setting of the baseline: `{{"...": ...}}`.')
    for key in variant:
        if key in ("patience", "epochs"):
            raise Hint(
                f"`{key}`: stopping early is a good thought. But the trainer does it already: it keeps the weights of "
                "the epoch with the smallest validation error. So choose another."
            )
        if key not in BASELINE:
            raise Hint(
                f"`{name}` changes {key!r}, which is not a setting here. The settings are: {', '.join(BASELINE)}."
            )
    if len(variant) > 1:
        raise Hint(
            f"`{name}` changes {listed([f'`{key}`' for key in variant])} at once. If the error changes, which of "
            "them was it? Change one at a time."
        )
    key, value = next(iter(variant.items()))
    finished(value, key)
    check = {
        "dropout": _DROPOUT.check,
        "weight_decay": _WEIGHT_DECAY.check,
        "hidden": _check_hidden,
        "n_crystals": lambda count: _check_n_crystals(count, available),
    }[key]
    check(value)
    return key


# --- is it better? --------------------------------------------------------------------------------------------------


_LEVEL = 1 - 0.05 / 2
"""Of each interval: two variants are compared with the baseline."""


def _t(degrees: int, level: float = _LEVEL) -> float:
    """Return the factor of an interval of this level."""
    return stats.t.ppf((1 + level) / 2, degrees)


def _low(
    differences: np.ndarray, ddof: int = 1, factor: float | None = None, divisor: float | None = None, power: int = 1
) -> float:
    """Return the lower end of the mean's interval, or of what a mistake takes for it."""
    n = len(differences)
    factor = _t(n - 1) if factor is None else factor
    divisor = math.sqrt(n) if divisor is None else divisor
    return differences.mean() - factor * differences.std(ddof=ddof) ** power / divisor


_T_OF_FIVE = _t(4)


_VERDICTS = (
    ("You look at the mean alone. Pure chance gives a mean above zero every second time. How far is it from "
     "zero, compared with its own uncertainty?", lambda d: d.mean() > 0),
    ("Your answers are those for the opposite question. The differences are baseline minus variant: which sign do "
     "they have where the variant has the smaller error?", lambda d: _low(-d) > 0),
    ("You ask whether the variant won with every seed. Three wins out of three happen by chance one time in eight, and "
     "one lost seed in twenty would veto a clear gain. Use the interval of the mean.", lambda d: (d > 0).all()),
    ("You look at the *upper* end of the interval. Where it lies above zero, the lower end may still lie below.",
     lambda d: -_low(-d) > 0),
    ("Your interval says where a *single* run lies. The mean of n runs is known better than one run: by which "
     "factor, in n?", lambda d: _low(d, divisor=1) > 0),
    ("You divide the spread by n. Four times as many runs make the mean only twice as certain: what should stand "
     "there?", lambda d: _low(d, divisor=len(d)) > 0),
    ("You used the variance, which has the unit of the error squared. What has the same unit as the mean?",
     lambda d: _low(d, power=2) > 0),
    ("You put the numbers for n = 5 into the function. It is also asked about 3, 10 or 20 differences: what in the "
     "formula depends on n, and where does the function get n from?",
     lambda d: _low(d, factor=_T_OF_FIVE, divisor=math.sqrt(5)) > 0,
     lambda d: _low(d, factor=_T_OF_FIVE) > 0,
     lambda d: _low(d, divisor=math.sqrt(5)) > 0),
    ("NumPy's `std` divides by n unless told otherwise. With so few runs that makes the spread look too small. Which "
     "argument of `std` makes it divide by n − 1?", lambda d: _low(d, ddof=0) > 0),
    ("You took Student's t with n degrees of freedom. One of them is used up by the mean: how many are left?",
     lambda d: _low(d, factor=_t(len(d))) > 0),
    ("You used 1.96, which is for many runs and one comparison. With few runs the spread itself is uncertain, and the "
     "factor is larger: `stats.t.ppf(0.9875, n - 1)`.", lambda d: _low(d, factor=1.96) > 0),
    ("You used 2, a rule of thumb for many runs. With few runs the spread itself is uncertain, and the factor is "
     "larger: `stats.t.ppf(0.9875, n - 1)`.", lambda d: _low(d, factor=2) > 0),
    ("You took the factor from the normal distribution, 2.24, which is for many runs. With few runs the spread itself "
     "is uncertain: which distribution takes that into account?", lambda d: _low(d, factor=stats.norm.ppf(0.9875)) > 0),
    ("Your interval is mean ± standard error: it holds the truth about two times in three. Which factor makes it 97.5 "
     "%?", lambda d: _low(d, factor=1) > 0),
    ("`ppf(0.975, ...)` leaves 2.5 % above it *and* 2.5 % below its mirror image: that is a 95 % interval, right for "
     "one comparison. How much may lie outside on each side for 97.5 %?",
     lambda d: _low(d, factor=_t(len(d) - 1, 0.95)) > 0),
    ("`ppf(0.95, ...)` leaves 5 % above it *and* 5 % below its mirror image: that is a 90 % interval. How much may "
     "lie outside on each side for 97.5 %?", lambda d: _low(d, factor=_t(len(d) - 1, 0.9)) > 0),
    ("You say yes wherever the interval excludes zero, also where the variant is shown to be *worse*. On which side "
     "of zero must the interval lie?", lambda d: _low(d) > 0 or _low(-d) > 0),
    ("Two things at once: NumPy's `std` divides by n unless told otherwise (`ddof`), and 1.96, 2 or 2.24 is a factor "
     "for many runs. Both make the interval of a few runs too narrow; the task has the formula.",
     lambda d: _low(d, ddof=0, factor=1.96) > 0, lambda d: _low(d, ddof=0, factor=2) > 0,
     lambda d: _low(d, ddof=0, factor=stats.norm.ppf(0.9875)) > 0),
    ("Two things at once: NumPy's `std` divides by n unless told otherwise (`ddof`), and `ppf(0.975, ...)` gives the "
     "factor for 95 %. Which level does the task ask for?",
     lambda d: _low(d, ddof=0, factor=_t(len(d) - 1, 0.95)) > 0),
    ("Your interval is mean ± standard error, with a `std` that divides by n: it is far too narrow for 97.5 %. The "
     "task has the formula.", lambda d: _low(d, ddof=0, factor=1) > 0),
)  # fmt: skip


# Each mistake answers at least one of these differently from the rule, and no two agree on all of them. Some were
# chosen so that rules that are not listed, such as the median or a 99 % interval, are not taken for one that is.
_PROBES = tuple(
    np.array(differences)
    for differences in (
        [0.018, 0.028, 0.021, 0.014, 0.024],
        [-0.018, -0.028, -0.021, -0.014, -0.024],
        [6.0, 4.0, 13.0],
        [0.002, 0.005, 0.027],
        [0.005, 0.011, 0.013, 0.016, 0.025],
        [0.013, 0.005, 0.024, 0.024, 0.021, 0.009, -0.053, 0.022, -0.018, 0.025],
        [-0.009, 0.030, -0.001, 0.015, 0.021, 0.010, -0.009, 0.002, 0.006, 0.011],
        [0.029, 0.012, 0.027],
        [0.000, -0.001, 0.020],
        [0.001, 0.013, 0.022],
        [0.005, -0.026, -0.032],
        [0.004, 0.003, 0.002],
        [-0.004, 0.032, 0.054],
        [-0.002, -0.004, 0.020, 0.008, -0.003, 0.002, 0.010, 0.002, 0.001, 0.001,
         -0.017, 0.031, 0.023, 0.028, 0.003, 0.007, 0.014, 0.017, -0.022, 0.010],
        [0.013, 0.011, 0.012, 0.010, 0.003, 0.005, 0.015, 0.009, -0.001, 0.003,
         0.004, 0.010, 0.012, 0.011, 0.004, 0.011, -0.003, -0.018, 0.010, -0.006],
    )
)  # fmt: skip


def _about_one_interval(found: Found) -> str:
    (differences,), _, right = found.first()
    low, high = _low(differences), -_low(-differences)
    return (
        f"For the differences {differences.tolist()} the 97.5 % interval of the mean goes from {low:.4f} to "
        f"{high:.4f}. Your function says {not right}. What does it say about this interval, and what should it?"
    )


check_shown_better = asks(
    Function(
        "shown_better",
        lambda d: _low(d) > 0,
        [(probe,) for probe in _PROBES],
        _VERDICTS,
        _about_one_interval,
        read=yes_or_no,
    ),
    shows="Better is what the whole interval says, not the mean alone. Now the rule meets your two variants: run the "
    "next cell.",
)

check_conclusions = asks(
    Judge("conclusions", {
        "smaller gap": (False, "A model that guesses the mean for every crystal has hardly any gap between training "
         "and test error. Is it good?"),
        "not shown": (False, "Look at the width of your intervals. How large an effect could hide in one of them?"),
        "one seed": (True, "Where neither is shown, the single gains scatter so much that their mean may be zero. "
         "What may one of them, alone, look like?"),
        "early stopping": (True, "Which epoch's weights does the trainer keep (notebook 2), and how does that "
         "resemble stopping there?"),
    }),
    shows="What counts is the error on crystals that the model has not seen, over several runs, with an interval.",
)  # fmt: skip
