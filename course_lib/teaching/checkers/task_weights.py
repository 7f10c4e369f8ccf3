"""Exercise 4: how to weigh two tasks whose errors have different sizes and units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.teaching.checkers.feedback import (
    Hint,
    Mistake,
    Statement,
    array_from,
    as_array,
    as_dict,
    as_number,
    checker,
    close,
    finished,
    judge,
    recognise,
    recognise_function,
    same_keys,
)

LOSS_ENERGY, LOSS_GAP = 0.03, 0.18  # eV/atom and eV
STD_ENERGY, STD_GAP = 1.5, 2.0  # eV/atom and eV

_SHARES = (
    Mistake(
        LOSS_ENERGY / (LOSS_ENERGY + LOSS_GAP),
        "That is the share of the formation energy. The band gap's is asked for; the two add up to one.",
    ),
    Mistake(
        LOSS_GAP / LOSS_ENERGY,
        "That is how many times larger the band gap's part is. The share is its part of the *sum* of both.",
    ),
    Mistake(
        100 * LOSS_GAP / (LOSS_ENERGY + LOSS_GAP),
        "Right in percent. Give the share as a number between 0 and 1.",
    ),
    Mistake(LOSS_GAP, "That is the band gap's error itself. Which part of the whole loss is it?"),
    Mistake(LOSS_GAP + LOSS_ENERGY, "That is the whole loss. Which part of it comes from the band gap?"),
    Mistake(0.5, "One half would be equal parts. Both weights are 1, but are both errors equally large?"),
    Mistake(
        STD_GAP / (STD_ENERGY + STD_GAP),
        "You used the standard deviations. The loss is made of the mean absolute errors.",
    ),
)

_LAMBDAS = (
    Mistake(
        LOSS_GAP / LOSS_ENERGY,
        "That makes the larger part larger still. Which of the two errors must be turned down?",
    ),
    Mistake(1.0, "With both weights 1 you have the first question again: one part is much larger than the other."),
    Mistake(
        LOSS_ENERGY / (LOSS_ENERGY + LOSS_GAP),
        "With this weight the gap's part is still not equal to the energy's: multiply it out. It would be one of two "
        "weights that add up to one, but here λ of the formation energy stays 1.",
    ),
    Mistake(0.5, "Try it: 0.5 · 0.18 is 0.09, and the formation energy's part is 0.03. What makes them equal?"),
    Mistake(
        STD_ENERGY / STD_GAP,
        "That makes errors in units of the standard deviation count alike. Here the two parts of the loss itself are "
        "to be equal; for that the errors are needed.",
    ),
)


@checker
def check_contributions(share_gap: object, lambda_gap: object) -> str:
    """Check the band gap's share of the loss, and the weight that makes both parts equal.

    Parameters
    ----------
    share_gap, lambda_gap : number
        The learner's answers.

    Returns
    -------
    Feedback
    """
    finished(share_gap, "share_gap")
    share, right = as_number(share_gap, "share_gap"), LOSS_GAP / (LOSS_GAP + LOSS_ENERGY)
    if not close(share, right, atol=5e-3):
        recognise(share, _SHARES, rtol=1e-2, atol=2e-3)
        if not 0 <= share <= 1:
            raise Hint(f"`share_gap` is {share:g}; a share lies between 0 and 1.")
        raise Hint(
            f"{share:g} is not the band gap's part of the loss. The loss is 1 · {LOSS_ENERGY} + 1 · {LOSS_GAP}: which "
            "part of that sum is the second term?"
        )
    finished(lambda_gap, "lambda_gap")
    weight = as_number(lambda_gap, "lambda_gap")
    if not close(weight, LOSS_ENERGY / LOSS_GAP, atol=5e-3):
        recognise(weight, _LAMBDAS, atol=2e-3)
        raise Hint(
            f"With λ = {weight:g} the gap's part is {weight * LOSS_GAP:.3g}, and the formation energy's is "
            f"{LOSS_ENERGY}. Which λ makes them equal?"
        )
    return (
        f"With both weights 1, {100 * right:.0f} % of the loss is the band gap's. A weight of "
        f"{LOSS_ENERGY / LOSS_GAP:.2f} gives both tasks the same part."
    )


# --- weights from the targets ---------------------------------------------------------------------------------------


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def _inverse_std(targets: np.ndarray) -> np.ndarray:
    return _normalised(1 / np.nanstd(targets, axis=0))


def _with_rows(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function on the rows in which no label is missing."""
    return lambda targets: function(targets[~np.isnan(targets).any(axis=1)])


_WEIGHTS = (
    Mistake(
        lambda t: _normalised(np.nanstd(t, axis=0)),
        "You weighted each task by its standard deviation, so the task with the larger spread counts even more. Which "
        "way round should it be?",
    ),
    Mistake(
        lambda t: 1 / np.nanstd(t, axis=0),
        "The ratio is right. Bring the weights to a sum of one: divide by their sum.",
    ),
    Mistake(
        lambda t: _normalised(1 / np.nanvar(t, axis=0)),
        "You used the variances. They have the unit of the target *squared*: right for the squared error. The error "
        "here is the absolute one.",
    ),
    Mistake(
        lambda t: np.full(t.shape[1], 1 / t.shape[1]),
        "Both tasks get the same weight: have you taken one spread of all numbers together? Each task needs its own, "
        "along `axis=0`.",
    ),
    Mistake(
        lambda t: np.full(t.shape[1], 1 / np.nanstd(t)),
        "You took one spread of all numbers together, energies and gaps in one bag. Each task needs its own: along "
        "`axis=0`.",
    ),
    Mistake(
        lambda t: _normalised(1 / np.abs(np.nanmean(t, axis=0))),
        "You used the means. A mean depends on where zero lies, and it may be negative or zero; how far the values "
        "*spread* says how large errors can be.",
    ),
    Mistake(
        lambda t: _normalised(1 / np.nanmean(np.abs(t), axis=0)),
        "You used the mean sizes of the values. If all energies were lower by 10 eV/atom, nothing would be harder to "
        "learn, but your weight would change. Use how far they *spread*.",
    ),
    Mistake(
        _with_rows(_inverse_std),
        "You dropped every crystal that lacks one of its labels, and with it the label that it has. Leave out only "
        "what is missing: `np.nanstd`.",
    ),
    Mistake(
        lambda t: _normalised(1 / np.std(np.nan_to_num(t), axis=0)),
        "You took a missing label for a zero. A crystal whose gap is not known has no gap of zero: leave it out, with "
        "`np.nanstd`.",
    ),
    Mistake(
        lambda t: _normalised(1 / np.nanstd(t, axis=0)) * t.shape[1],
        "Your weights add up to the number of tasks, so that their mean is one. That is used, too, but the task asks "
        "for a sum of one.",
    ),
    Mistake(
        lambda t: np.exp(-np.nanstd(t, axis=0)) / np.exp(-np.nanstd(t, axis=0)).sum(),
        "You used a softmax, which knows no units: give one target in meV, and its weight vanishes. The inverse is "
        "enough.",
    ),
)


_TWO_COLUMNS_ONLY = (
    Mistake(
        lambda t: 1 - _normalised(np.nanstd(t, axis=0)),
        "For two tasks yours is right, but for three it adds up to two: 1 − share is the inverse scale of two tasks "
        "only. Where does the formula have the inverse?",
    ),
    *(
        Mistake(
            swapped,
            "For two tasks it is enough to give each the spread of the other. With three there is no *other* one: "
            "follow the formula, one step for all tasks.",
        )
        for swapped in (
            lambda t: _normalised(np.nanstd(t, axis=0))[::-1],
            lambda t: np.roll(_normalised(np.nanstd(t, axis=0)), 1),
            lambda t: np.roll(_normalised(np.nanstd(t, axis=0)), -1),
        )
    ),
)


def _made_up_targets() -> tuple[np.ndarray, ...]:
    """Return targets of made-up crystals: complete, with gaps in them, and in other units."""
    rng = np.random.default_rng(0)
    complete = np.stack([rng.normal(-1.0, 1.5, 40), rng.gamma(1.0, 2.0, 40)], axis=1)
    lacking = complete.copy()
    lacking[:9, 1] = np.nan
    lacking[-3:, 0] = np.nan
    return complete, lacking, lacking * [1.0, 1000.0]


@checker
def check_inverse_scale(function: object) -> str:
    """Check weights that are the inverse standard deviations of the targets, adding up to one.

    Parameters
    ----------
    function : callable
        ``function(targets) -> (T,)`` for targets (N, T), NaN where a label is missing.

    Returns
    -------
    Feedback
    """
    probes = [(targets,) for targets in _made_up_targets()]
    complete = array_from(function, "inverse_scale", None, *probes[0])
    right = [_inverse_std(*probe) for probe in probes]
    if complete.shape != right[0].shape:
        raise Hint(
            f"For two tasks yours returns the shape {complete.shape}. Return one weight per task: which axis runs over "
            "the crystals?"
        )
    sample = [_normalised(1 / np.nanstd(*probe, axis=0, ddof=1)) for probe in probes]
    if not any(close(complete, wanted[0]) for wanted in (right, sample)):
        recognise_function([complete], probes[:1], [*_WEIGHTS[:7], *_WEIGHTS[9:]])
        if (complete < 0).any():
            raise Hint("One of your weights is negative: that task would be learned to be *wrong*.")
        raise Hint(
            f"Your weights are {np.round(complete, 3).tolist()} for standard deviations of "
            f"{np.round(np.nanstd(*probes[0], axis=0), 3).tolist()}. In which ratio should they stand?"
        )
    _check_three_tasks(function, probes[0][0] @ [[1, 0, 1], [0, 1, 2]])
    values = [complete]
    for number, probe in enumerate(probes[1:]):
        try:
            values.append(array_from(function, "inverse_scale", (2,), *probe))
        except Hint:
            if number == 0:
                raise Hint(
                    "All is right while every label is there. But here some are missing (NaN), and one NaN makes a "
                    "whole standard deviation NaN. Which function of NumPy leaves them out?"
                ) from None
            raise
    if any(all(map(close, values, wanted)) for wanted in (right, sample)):
        return (
            "Each task counts in units of its own spread: in whatever unit a target is given, the loss stays the same "
            "up to a common factor."
        )
    recognise_function(values, probes, _WEIGHTS)
    raise Hint(
        "All is right while every label is there, but not where some are missing. Leave out the missing labels, each "
        "for its own task only, and nothing else."
    )


def _check_three_tasks(function: object, targets: np.ndarray) -> None:
    """Raise `Hint` where a function that is right for two tasks is not for these three."""
    try:
        value = array_from(function, "inverse_scale", (3,), targets)
    except Hint as hint:
        raise Hint(f"For two tasks yours is right. It should take any number of them, but with three: {hint}") from None
    recognise_function([value], [(targets,)], _TWO_COLUMNS_ONLY)
    if not any(close(value, _normalised(1 / np.std(targets, axis=0, ddof=ddof))) for ddof in (0, 1)):
        raise Hint(
            f"For two tasks yours is right, but for three it gives {np.round(value, 3).tolist()} for standard "
            f"deviations of {np.round(np.std(targets, axis=0), 3).tolist()}. Follow the formula, for any number of "
            "tasks."
        )


# --- three losses to train with ---------------------------------------------------------------------------------------


@checker
def check_three_losses(answer: object, targets: np.ndarray, all_targets: np.ndarray) -> str:
    """Check the weights of three losses for formation energies (eV/atom) and band gaps (eV).

    Parameters
    ----------
    answer : dict of str to pair of numbers
        Weights of formation energy and band gap under ``"one each"``, ``"inverse scale"`` and ``"gap in meV"``.
    targets : array, shape (N, 2)
        Targets of the training set in eV/atom and eV, NaN where a label is missing.
    all_targets : array, shape (M, 2)
        Those of all crystals, test set included.

    Returns
    -------
    Feedback
    """
    weights = as_dict(answer, "task_weights")
    same_keys(weights, "task_weights", ["one each", "inverse scale", "gap in meV"])
    energy, gap = np.nanstd(np.asarray(targets, dtype=float), axis=0)
    leaked_energy, leaked_gap = np.nanstd(np.asarray(all_targets, dtype=float), axis=0)
    mistakes = {
        "one each": (
            1.0,
            (Mistake(energy / gap, "These are weights by scale; `one each` means 1 and 1, up to a common factor."),),
        ),
        "inverse scale": (
            energy / gap,
            (
                Mistake(gap / energy, "You have turned the two round, or weighted with the spread, not its inverse."),
                Mistake((energy / gap) ** 2, "You used the variances: right for the squared error, but not here."),
                Mistake(1.0, "That is `one each` again. Use the spreads of the training targets."),
                Mistake(
                    STD_ENERGY / STD_GAP,
                    "You used the spreads of the example. Take those of *these* crystals: `train.targets`.",
                ),
            ),
        ),
        "gap in meV": (
            1000.0,
            (
                Mistake(
                    1e-3,
                    "Turned round: 1 eV is 1000 meV. So the *same* error, written in meV, is a larger number, and "
                    "with a λ of 1 it counts for more.",
                ),
                Mistake(
                    1.0,
                    "That would leave the gap in eV. If it is written in meV, every error in it becomes a number how "
                    "many times as large?",
                ),
            ),
        ),
    }
    for name, (right, typical) in mistakes.items():
        pair = as_array(weights[name], f'task_weights["{name}"]', (2,))
        if (pair <= 0).any():
            raise Hint(
                f"`{name}`: both weights must be above zero, or one task is not learned, or is learned to be wrong."
            )
        ratio = pair[1] / pair[0]
        # The two spreads may differ by less than what rounding is allowed to change.
        if name == "inverse scale" and close(ratio, leaked_energy / leaked_gap) and not close(ratio, right):
            raise Hint(
                f"`{name}`: you used all crystals, the test set too. What a model is tested on must not take part in "
                "its training, not even in a weight. Take `train.targets`."
            )
        if not close(ratio, right, rtol=0.02):
            for mistake in typical:
                if close(ratio, mistake.answer, rtol=0.02):
                    raise Hint(f"`{name}`: {mistake.hint}")
            raise Hint(
                f"`{name}`: the gap's weight is {ratio:.3g} times the energy's. Only this ratio matters. What should "
                "it be, and in which order do the two stand?"
            )
    return "Three losses that differ in one ratio. What it does to the two errors, the next cell measures."


_STATEMENTS = {
    "units": Statement(
        True,
        "look at the row for the gap in meV. The crystals, the network and the physics are the same; what else "
        "changed?",
    ),
    "must exist": Statement(
        False,
        "does anything guarantee it? Each error alone has a λ at which it is smallest; must the two be the same one? "
        "And what would a single table prove about *any* two tasks?",
    ),
    "common factor": Statement(
        True,
        "if both weights are doubled, the loss doubles, and so does its slope everywhere. Where is it smallest then? "
        "(AdamW also divides each step by the size of the slopes it has seen.)",
    ),
    "always": Statement(
        False,
        "compare `one each` with `inverse scale` in your table, and the standard deviations of the two targets, "
        "printed above it. When must the two losses be nearly the same?",
    ),
}


check_weight_statements = judge(
    "statements",
    _STATEMENTS,
    "Weights without units in mind are chosen by the units. Inverse scales take the units out, and leave the rest.",
)
"""Check what is concluded about task weights."""
