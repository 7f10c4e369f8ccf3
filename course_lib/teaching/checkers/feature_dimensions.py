"""Exercise 1: the inputs of early fusion, and what helps against overfitting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy import stats

from course_lib.teaching.checkers.feedback import (
    Hint,
    Mistake,
    Statement,
    Unfinished,
    as_dict,
    as_number,
    call,
    checker,
    finished,
    judge,
    recognise,
    recognise_function,
)

N_COMPOSITION, N_EMBEDDING, N_HIDDEN = 145, 256, 128
"""Composition features, graph embedding, and width of the first layer."""

BASELINE = {"dropout": 0.0, "weight_decay": 0.0, "hidden": (128, 64), "n_crystals": 100}
"""The settings that a variant changes one of."""

_JOINED = N_COMPOSITION + N_EMBEDDING

_INPUTS = (
    Mistake(
        N_COMPOSITION * N_EMBEDDING,
        "You multiplied. Concatenation writes one vector behind the other: how long is a list of 2 numbers followed by "
        "a list of 3?",
    ),
    Mistake(
        132 + N_EMBEDDING,
        "You counted 132 composition features: that is matminer's preset `magpie` alone. Which three groups of "
        "features does the course add to it (notebook 1)?",
    ),
    Mistake(
        N_COMPOSITION + 128,
        "That is the network of notebook 2, whose graph embedding has 128 numbers. How long is the embedding here?",
    ),
    Mistake(N_EMBEDDING, "That is the graph embedding alone. What stands beside it?"),
    Mistake(N_COMPOSITION, "Those are the composition features alone. What stands beside them?"),
    Mistake(
        N_EMBEDDING - N_COMPOSITION,
        "You took the difference. Both vectors are kept whole; nothing is subtracted.",
    ),
    Mistake(
        max(N_COMPOSITION, N_EMBEDDING) * 2,
        "You brought both to one length first. That is needed for adding vectors, or for attention; concatenation "
        "takes them as they are.",
    ),
)

_WEIGHTS = (
    Mistake(
        _JOINED * N_HIDDEN,
        "Nearly: those are the entries of the matrix. A dense layer adds one more number to each of its outputs. What "
        "is it called, and how many outputs are there?",
    ),
    Mistake(
        _JOINED * N_HIDDEN + _JOINED,
        "The matrix is right, but there is one bias for each *output* of the layer, not for each input.",
    ),
    Mistake(
        _JOINED + N_HIDDEN,
        "That is how many numbers go in and come out. Each output is a weighted sum of *all* inputs: how many weights "
        "does one output need?",
    ),
    Mistake(
        273 * N_HIDDEN + N_HIDDEN,
        "That is the first layer of notebook 2, with an embedding of 128. Use the number of inputs that you found "
        "above.",
    ),
    Mistake(
        _JOINED,
        "Those are the inputs again. Each of the 128 outputs has a weight for every one of them.",
    ),
)


@checker
def check_dimensions(n_inputs: object, n_weights: object) -> str:
    """Check the number of inputs of the first layer, and how many numbers that layer learns.

    Parameters
    ----------
    n_inputs, n_weights : number
        The learner's answers.

    Returns
    -------
    Feedback
    """
    finished(n_inputs, "n_inputs")
    inputs = as_number(n_inputs, "n_inputs")
    if inputs != _JOINED:
        recognise(inputs, _INPUTS)
        raise Hint(
            f"{inputs:g} inputs do not come out of two vectors of {N_COMPOSITION} and {N_EMBEDDING} numbers. Put one "
            "behind the other and count what you have."
        )
    finished(n_weights, "n_weights")
    weights = as_number(n_weights, "n_weights")
    if weights != _JOINED * N_HIDDEN + N_HIDDEN:
        recognise(weights, _WEIGHTS)
        raise Hint(
            f"`n_inputs` is right, but {weights:g} numbers in the first layer are not. Picture one of its "
            f"{N_HIDDEN} outputs: it weighs every input with a number of its own, and then adds one more."
        )
    per_crystal = weights / BASELINE["n_crystals"]
    return (
        f"{N_COMPOSITION} + {N_EMBEDDING} = {_JOINED} inputs, and {weights:,.0f} numbers to learn in the first layer "
        f"alone: {per_crystal:.0f} for each of the {BASELINE['n_crystals']} crystals that it will learn from. Room "
        "enough to memorise them."
    )


def _check_dropout(value: object) -> None:
    dropout = as_number(value, "dropout")
    if dropout > 1:
        raise Hint(f"A dropout of {dropout:g} is more than everything. It is a share: 0.3 drops 30 % of the numbers.")
    if dropout == 1:
        raise Hint("A dropout of 1 drops every number, and nothing is left to learn from. Leave some.")
    if dropout > 0.9:
        raise Hint(
            f"A dropout of {dropout:g} leaves only {100 * (1 - dropout):.2g} % of the numbers: hardly anything to "
            "learn from. Usual are 0.1 to 0.5."
        )
    if dropout <= 0:
        raise Hint(f"A dropout of {dropout:g} drops nothing: that is the baseline, or less. Choose a share above zero.")


def _check_weight_decay(value: object) -> None:
    decay = as_number(value, "weight_decay")
    if decay < 0:
        raise Hint(f"A weight decay of {decay:g} would push the weights away from zero. Which sign pulls them there?")
    if decay == 0:
        raise Hint("A weight decay of zero is the baseline. How strongly should the weights be pulled towards zero?")
    if decay < 1e-3:
        raise Hint(
            f"A weight decay of {decay:g} takes the share learning rate × {decay:g} from a weight at each step: over "
            "the 120 steps of this training that is next to nothing. Try 0.1 or more."
        )
    if decay > 10:
        raise Hint(
            f"A weight decay of {decay:g} takes the share learning rate × {decay:g} from a weight at each step: hardly "
            "anything of what it learns is left. Choose 10 at most."
        )


def _check_hidden(value: object) -> None:
    sizes = [as_number(size, "a size in hidden") for size in value] if isinstance(value, tuple | list) else []
    if not sizes or any(size < 1 or size != int(size) for size in sizes):
        raise Hint("`hidden` is a tuple of layer sizes, whole numbers, such as `(128, 64)`; for one layer `(32,)`.")

    def weights(layers: tuple) -> float:
        return sum(a * b + b for a, b in zip((_JOINED, *layers), (*layers, 1), strict=True))

    if weights(tuple(sizes)) >= weights(BASELINE["hidden"]):
        raise Hint("That network has at least as many weights as the baseline, so it can memorise more. Other way!")


def _check_n_crystals(value: object, available: int) -> None:
    count = as_number(value, "n_crystals")
    if count <= BASELINE["n_crystals"]:
        raise Hint(
            f"{count:g} crystals are no more than the baseline's {BASELINE['n_crystals']}: the fewer there are, the "
            "easier they are to memorise."
        )
    if count > available or count != int(count):
        raise Hint(f"The training set has {available} crystals; choose a whole number up to that.")


_CHECKS: Mapping[str, Callable[[object], None]] = {
    "dropout": _check_dropout,
    "weight_decay": _check_weight_decay,
    "hidden": _check_hidden,
}


@checker
def check_variants(first: object, second: object, available: int) -> str:
    """Check two variants of the baseline, each of which should work against overfitting.

    Parameters
    ----------
    first, second : dict
        What to change of `BASELINE`, such as ``{"dropout": 0.3}``.
    available : int
        Crystals there are to learn from.

    Returns
    -------
    Feedback
    """
    changed = [_changed_setting(first, "first", available), _changed_setting(second, "second", available)]
    if changed[0] == changed[1]:
        raise Hint(f"Both change `{changed[0]}`. Take a second way that is different in kind.")
    return f"Two different ways, `{changed[0]}` and `{changed[1]}`, each alone. What they do, the next cell measures."


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
            raise Hint(f"`{name}` changes {key!r}, which is no setting here. There are: {', '.join(BASELINE)}.")
    if len(variant) > 1:
        raise Hint(
            f"`{name}` changes {' and '.join(f'`{key}`' for key in variant)} at once. If the error changes, which of "
            "them was it? Change one at a time."
        )
    key, value = next(iter(variant.items()))
    if value is ... or value is None:
        raise Unfinished(f"Give `{key}` in `{name}` a value.")
    if key == "n_crystals":
        _check_n_crystals(value, available)
    else:
        _CHECKS[key](value)
    return key


# --- is it better? --------------------------------------------------------------------------------------------------


def _low(
    differences: np.ndarray, ddof: int = 1, factor: float | None = None, divisor: float | None = None, power: int = 1
) -> float:
    """Return the lower end of the mean's interval, or of what a mistake takes for it."""
    n = len(differences)
    factor = stats.t.ppf(0.975, n - 1) if factor is None else factor
    divisor = math.sqrt(n) if divisor is None else divisor
    return differences.mean() - factor * differences.std(ddof=ddof) ** power / divisor


_T_OF_FIVE = stats.t.ppf(0.975, 4)


_VERDICTS = (
    Mistake(
        lambda d: d.mean() > 0,
        "You look at the mean alone. A mean above zero comes out of pure chance every second time. How far is it from "
        "zero, compared with its own uncertainty?",
    ),
    Mistake(
        lambda d: _low(-d) > 0,
        "Your answers are those for the opposite question. The differences are baseline minus variant: which sign do "
        "they have where the variant has the smaller error?",
    ),
    Mistake(
        lambda d: (d > 0).all(),
        "You ask whether the variant won with every seed. Three wins of three happen by chance one time in eight, and "
        "one lost seed of twenty would veto a clear gain. Use the interval of the mean.",
    ),
    Mistake(
        lambda d: -_low(-d) > 0,
        "You look at the *upper* end of the interval. Where it lies above zero, the lower end may still lie below.",
    ),
    Mistake(
        lambda d: _low(d, divisor=1) > 0,
        "Your interval tells where a *single* run lies. The mean of n runs is known better than one run: by which "
        "factor, in n?",
    ),
    Mistake(
        lambda d: _low(d, divisor=len(d)) > 0,
        "You divide the spread by n. Four times as many runs make the mean only twice as certain: what should stand "
        "there?",
    ),
    Mistake(
        lambda d: _low(d, power=2) > 0,
        "You used the variance, which has the unit of the error squared. What has the same unit as the mean?",
    ),
    *(
        Mistake(
            verdict,
            "You put the numbers for n = 5 into the function. It is also asked about 3, 10 or 20 differences: what in "
            "the formula depends on n, and where does the function get n from?",
        )
        for verdict in (
            lambda d: _low(d, factor=_T_OF_FIVE, divisor=math.sqrt(5)) > 0,
            lambda d: _low(d, factor=_T_OF_FIVE) > 0,
            lambda d: _low(d, divisor=math.sqrt(5)) > 0,
        )
    ),
    Mistake(
        lambda d: _low(d, ddof=0) > 0,
        "NumPy's `std` divides by n unless told otherwise. With so few runs that makes the spread look too small. "
        "Which argument of `std` makes it divide by n − 1?",
    ),
    Mistake(
        lambda d: _low(d, factor=stats.t.ppf(0.975, len(d))) > 0,
        "You took Student's t with n degrees of freedom. One of them is used up by the mean: how many are left?",
    ),
    Mistake(
        lambda d: _low(d, factor=1.96) > 0,
        "You used 1.96, which is for many runs. With few runs the spread itself is uncertain, and the factor is "
        "larger: `stats.t.ppf(0.975, n - 1)`.",
    ),
    Mistake(
        lambda d: _low(d, factor=2) > 0,
        "You used 2, a rule of thumb for many runs. With few runs the spread itself is uncertain, and the factor is "
        "larger: `stats.t.ppf(0.975, n - 1)`.",
    ),
    Mistake(
        lambda d: _low(d, factor=1) > 0,
        "Your interval is mean ± standard error: it holds the truth about two times in three. Which factor makes it "
        "95 %?",
    ),
    Mistake(
        lambda d: _low(d, factor=stats.t.ppf(0.95, len(d) - 1)) > 0,
        "`ppf(0.95, ...)` leaves 5 % above it *and* 5 % below its mirror image: that is a 90 % interval. How much may "
        "lie outside on each side for 95 %?",
    ),
    Mistake(
        lambda d: _low(d) > 0 or _low(-d) > 0,
        "You say yes wherever the interval excludes zero, also where the variant is shown to be *worse*. On which side "
        "of zero must the interval lie?",
    ),
)

# Each mistake answers at least one of these differently from the rule, and no two answer all alike. Some were
# chosen so that rules that are not listed, such as the median or a 99 % interval, are not taken for one that is.
_PROBES = tuple(
    np.array(differences)
    for differences in (
        [0.018, 0.028, 0.021, 0.014, 0.024],
        [-0.018, -0.028, -0.021, -0.014, -0.024],
        [0.020, -0.008, 0.017],
        [0.018, 0.001, 0.024, 0.006, -0.001],
        [-0.003, 0.004, 0.033, 0.019, 0.017],
        [0.020, 0.026, 0.041, 0.010, -0.002],
        [0.033, 0.037, 0.034, -0.008, 0.035],
        [0.013, 0.010, 0.057],
        [0.005, 0.011, 0.013, 0.016, 0.025],
        [-1.0, 9.0, 6.0, -1.0, 0.0],
        [6.0, 4.0, 13.0],
        [0.005, -0.026, -0.032],
        [0.003, 0.012, 0.023],
        [11.0, 12.0, 5.0, 18.0, 15.0],
        [-0.007, -0.024, -0.025],
        [0.014, 0.006, -0.006],
        [0.028, 0.008, 0.021],
        [0.019, 0.034, 0.019, -0.030, 0.036, 0.022, -0.007, 0.027, 0.020, 0.018],
        [
            0.016,
            0.028,
            -0.001,
            0.012,
            0.005,
            0.029,
            0.016,
            0.009,
            -0.002,
            0.010,
            0.016,
            0.009,
            0.044,
            0.038,
            -0.045,
            -0.027,
            0.012,
            0.006,
            0.020,
            0.020,
        ],
    )
)


@checker
def check_shown_better(function: object) -> str:
    """Check a function that says whether a variant is shown to be better than the baseline.

    Parameters
    ----------
    function : callable
        ``function(differences) -> bool``, where ``differences`` (n,) is the baseline's error minus the variant's.

    Returns
    -------
    Feedback
    """
    answers, nothing = [], None
    for probe in _PROBES:
        try:
            answer = call(function, "shown_better", probe)
        except Unfinished as reason:
            nothing = reason
            continue
        if not isinstance(answer, bool | np.bool_):
            raise Hint(
                f"`shown_better` returns something of type {type(answer).__name__}. It should answer yes or no: "
                "compare the lower end of the interval with zero, and return True or False."
            )
        answers.append(bool(answer))
    if nothing and answers:
        raise Hint(
            f"For some differences `shown_better` returns {answers[0]}, for others nothing at all. Does it reach a "
            "`return` whatever the interval is?"
        )
    if nothing:
        raise nothing
    if answers == [bool(_low(probe) > 0) for probe in _PROBES]:
        return (
            "Better is what the whole interval says, not the mean alone. Now the rule meets your two variants: run the "
            "next cell."
        )
    probes = [(probe,) for probe in _PROBES]
    recognise_function(answers, probes, _VERDICTS)
    wrong = next(probe for probe, answer in zip(_PROBES, answers, strict=True) if answer != (_low(probe) > 0))
    low, high = _low(wrong), -_low(-wrong)
    raise Hint(
        f"For the differences {wrong.tolist()} the 95 % interval of the mean goes from {low:.4f} to {high:.4f}. Your "
        f"function says {not low > 0}. What does it say about this interval, and what should it?"
    )


_CONCLUSIONS = {
    "smaller gap": Statement(
        False,
        "a model that guesses the mean for every crystal has hardly any gap between training and test error. Is it "
        "good?",
    ),
    "not shown": Statement(
        False,
        "look at the width of your intervals. How large an effect could hide in one of them?",
    ),
    "one seed": Statement(
        True,
        "a gain is not shown where the single gains scatter so much that their mean may be zero. What may one of "
        "them, alone, look like?",
    ),
    "early stopping": Statement(
        True,
        "which epoch's weights does the trainer keep (notebook 2), and how does that resemble stopping there?",
    ),
}


check_conclusions = judge(
    "conclusions",
    _CONCLUSIONS,
    "What counts is the error on crystals that the model has not seen, over several runs, with an interval.",
)
"""Check what is concluded from the measurement."""
