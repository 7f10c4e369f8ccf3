"""Exercise 4: how to weight two tasks whose errors have different sizes and units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.teaching.checkers.declarative import (
    Found,
    Function,
    Judge,
    Number,
    Reader,
    asks,
    instead,
    numpy_array,
    same_keys,
)
from course_lib.teaching.checkers.feedback import Hint, as_array, as_dict, checker, close

LOSS_ENERGY, LOSS_GAP = 0.03, 0.18  # eV/atom and eV
STD_ENERGY, STD_GAP = 1.5, 2.0  # eV/atom and eV
_SHARE_LOSS = LOSS_GAP / (LOSS_ENERGY + LOSS_GAP)
_SHARE_SQUARED = LOSS_GAP * STD_GAP / (LOSS_ENERGY * STD_ENERGY + LOSS_GAP * STD_GAP)

_SHARES = (
    ("That is the share of the formation energy. How large is that of the band gap?",
     LOSS_ENERGY / (LOSS_ENERGY + LOSS_GAP)),
    ("That is how many times larger the band gap's part is. The share is its part of the *sum* of both.",
     LOSS_GAP / LOSS_ENERGY),
    ("That is the band gap's error itself. Which part of the whole loss is it?", LOSS_GAP),
    ("That is the whole loss. Which part of it comes from the band gap?", LOSS_GAP + LOSS_ENERGY),
    ("One half would be equal parts. Both weights are 1, but are both errors equally large?", 0.5),
    ("You used the standard deviations. The loss is made of the mean absolute errors.",
     STD_GAP / (STD_ENERGY + STD_GAP)),
    ("`share_loss` is {value:g}; a share lies between 0 and 1.", lambda share: not 0 <= share <= 1),
    ("{value:g} is not the band gap's part of the loss. The loss is 1 · 0.03 + 1 · 0.18: which part of that sum is the "
     "second term?", lambda share: True),
)  # fmt: skip

_ABSOLUTE = (
    ("That is the share of the loss again. How steep is |r| where r is 0.03, and where it is 0.18?", _SHARE_LOSS),
    ("Those are the slopes with respect to the errors themselves. Take those with respect to z: by how much does a "
     "prediction change, in eV, when z changes by 1?", 0.5),
    ("That is the share of the formation energy. Give that of the band gap.", STD_ENERGY / (STD_ENERGY + STD_GAP)),
    ("That is the ratio of the two slopes. The share is the band gap's part of their *sum*.", STD_GAP / STD_ENERGY),
    ("You multiplied by the errors: that is the slope of the squared error. What is that of |r|?", _SHARE_SQUARED),
    ("`share_absolute` is {value:g}; a share lies between 0 and 1.", lambda share: not 0 <= share <= 1),
    ("{value:g} is not right. Write down each of the two slopes: which factor comes from |r|, which from the "
     "prediction m + s z?", lambda share: True),
)  # fmt: skip

_SQUARED = (
    ("Those are the slopes of the absolute errors. The slope of r² depends on r.", STD_GAP / (STD_ENERGY + STD_GAP)),
    ("The slopes with respect to the errors are right: 0.06 and 0.36. A factor is missing, the same as in the second "
     "question.", _SHARE_LOSS),
    ("That is the share of the formation energy. Give that of the band gap.", 1 - _SHARE_SQUARED),
    ("That is the share in the sum of the squared errors. Use their slopes.",
     LOSS_GAP**2 / (LOSS_ENERGY**2 + LOSS_GAP**2)),
    ("That is the ratio of the two slopes. The share is the band gap's part of their *sum*.",
     LOSS_GAP * STD_GAP / (LOSS_ENERGY * STD_ENERGY)),
    ("`share_squared` is {value:g}; a share lies between 0 and 1.", lambda share: not 0 <= share <= 1),
    ("{value:g} is not right. The slope of r² with respect to r is 2r: what is it for 0.03, and for 0.18? And then "
     "with respect to z?", lambda share: True),
)  # fmt: skip

check_contributions = asks(
    Number("share_loss", _SHARE_LOSS, _SHARES),
    Number("share_absolute", STD_GAP / (STD_ENERGY + STD_GAP), _ABSOLUTE),
    Number("share_squared", _SHARE_SQUARED, _SQUARED),
    shows=f"{100 * _SHARE_LOSS:.0f} % of the loss is the band gap's, but only "
    f"{100 * STD_GAP / (STD_ENERGY + STD_GAP):.0f} % of the slope. With squared errors the larger error pulls harder, "
    "too.",
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
    ("You weighted each task by its standard deviation, so the task with the larger spread counts even more. Which way "
     "round should it be?", lambda t: _normalised(np.nanstd(t, axis=0))),
    ("The ratio is right. The weights must add up to one: divide by their sum.",
     lambda t: 1 / np.nanstd(t, axis=0), lambda t: _inverse_std(t) / _inverse_std(t)[0],
     lambda t: _inverse_std(t) / _inverse_std(t)[-1]),
    ("You used the variances. They have the unit of the target *squared*: right for the squared error. The error "
     "here is the absolute one.", lambda t: _normalised(1 / np.nanvar(t, axis=0))),
    ("Both tasks get the same weight: have you computed one spread of all numbers together? Each task needs its own, "
     "along `axis=0`.", lambda t: np.full(t.shape[1], 1 / t.shape[1])),
    ("You computed one spread of all numbers together, energies and gaps mixed. Each task needs its own: along "
     "`axis=0`.", lambda t: np.full(t.shape[1], 1 / np.nanstd(t))),
    ("You used the means. A mean depends on where zero lies, and it may be negative or zero; how far the values "
     "*spread* says how large errors can be.", lambda t: _normalised(1 / np.abs(np.nanmean(t, axis=0)))),
    ("You used the mean sizes of the values. If all energies were lower by 10 eV/atom, nothing would be harder to "
     "learn, but your weight would change. Use how far they *spread*.",
     lambda t: _normalised(1 / np.nanmean(np.abs(t), axis=0))),
    ("Your weights add up to the number of tasks, so that their mean is one. That is used, too, but the task asks "
     "for a sum of one.", lambda t: _inverse_std(t) * t.shape[1]),
    ("You used a softmax, whose result depends on the units: give one target in meV, and its weight vanishes. The "
     "inverse is enough.", lambda t: np.exp(-np.nanstd(t, axis=0)) / np.exp(-np.nanstd(t, axis=0)).sum()),
)  # fmt: skip

_TWO_COLUMNS_ONLY = (
    ("For two tasks yours is right, but for three it adds up to two: 1 − share is the inverse scale of two tasks "
     "only. Where does the formula have the inverse?", lambda t: 1 - _normalised(np.nanstd(t, axis=0))),
    ("For two tasks it is enough to give each the spread of the other. With three there is no *other* one: follow "
     "the formula, one step for all tasks.",
     lambda t: _normalised(np.nanstd(t, axis=0))[::-1],
     lambda t: np.roll(_normalised(np.nanstd(t, axis=0)), 1),
     lambda t: np.roll(_normalised(np.nanstd(t, axis=0)), -1)),
)  # fmt: skip

_MISSING = (
    ("You dropped every crystal that lacks one of its labels, and with it the label that it has. Leave out only what "
     "is missing: `np.nanstd`.", _with_rows(_inverse_std)),
    ("You took a missing label for a zero. A crystal whose gap is unknown does not have a gap of zero: leave it out, "
     "with `np.nanstd`.", lambda t: _normalised(1 / np.std(np.nan_to_num(t), axis=0))),
)  # fmt: skip


def _made_up_targets() -> tuple[np.ndarray, ...]:
    """Return targets of made-up crystals: complete, with gaps in them, and in other units."""
    rng = np.random.default_rng(0)
    complete = np.stack([rng.normal(-1.0, 1.5, 40), rng.gamma(1.0, 2.0, 40)], axis=1)
    lacking = complete.copy()
    lacking[:9, 1] = np.nan
    lacking[-3:, 0] = np.nan
    return complete, lacking, lacking * [1.0, 1000.0]


def _about_two(found: Found) -> str:
    ((targets,),), (value,), (right,) = found
    if value.shape != right.shape:
        return (
            f"For two tasks yours returns the shape {value.shape}. Return one weight per task: which axis runs over "
            "the crystals?"
        )
    if (value < 0).any():
        return "One of your weights is negative: that task would be learned to be *wrong*."
    return (
        f"Your weights are {np.round(value, 3).tolist()} for standard deviations of "
        f"{np.round(np.std(targets, axis=0), 3).tolist()}. What should their ratio be?"
    )


def _about_three(found: Found) -> str:
    ((targets,),), (value,), _ = found
    return (
        f"For two tasks yours is right, but for three it gives {np.round(value, 3).tolist()} for standard deviations "
        f"of {np.round(np.std(targets, axis=0), 3).tolist()}. Follow the formula, for any number of tasks."
    )


def _inverse_scale(
    probes: Callable[[], list[tuple]], mistakes: tuple, read: Reader = numpy_array, **settings: object
) -> Function:
    sample = (lambda targets: _normalised(1 / np.nanstd(targets, axis=0, ddof=1)),)
    return Function("inverse_scale", _inverse_std, probes, mistakes, read=read, also=sample, **settings)


_WITH_MISSING = _inverse_scale(
    lambda: [(targets,) for targets in _made_up_targets()[1:]],
    _MISSING,
    read=instead(
        numpy_array,
        "All is right as long as no label is missing. But here some are (NaN), and one NaN makes a whole standard "
        "deviation NaN. Which function of NumPy leaves them out?",
    ),
    otherwise=lambda found: (
        "All is right as long as no label is missing, but not where some are. Leave out the missing labels, each "
        "for its own task only, and nothing else."
    ),
)
_FOR_THREE = _inverse_scale(
    lambda: [(_made_up_targets()[0] @ [[1, 0, 1], [0, 1, 2]],)],
    _TWO_COLUMNS_ONLY,
    otherwise=_about_three,
    then=_WITH_MISSING,
    lead="For two tasks yours is right. It should take any number of them, but with three: ",
)


def _by_hand(task: str, own: float, other: float) -> Number:
    """Return the weight of a task with the spread `own`, next to one with the spread `other`."""
    return Number(f"weight of the {task}", other / (own + other), (
        ("That is the weight of the other task. Which of the two has the smaller spread, and so the larger 1/s?",
         own / (own + other)),
        ("That is 1/s. Both weights should add up to one: by what do you divide?", 1 / own),
        ("You used the variances, whose unit is that of the target *squared*. Which number has the unit of an error?",
         other**2 / (own**2 + other**2), own**2 / (own**2 + other**2)),
        ("{value:g} cannot be one of two weights that add up to one.", lambda weight: not 0 <= weight <= 1),
        ("{value:g} is not right. How large is 1/s for each task, and what do the two add up to?", lambda weight: True),
    ))  # fmt: skip


check_inverse_scale = asks(
    _inverse_scale(lambda: [(_made_up_targets()[0],)], _WEIGHTS, otherwise=_about_two, then=_FOR_THREE),
    on_paper=(_by_hand("energy", STD_ENERGY, STD_GAP), _by_hand("gap", STD_GAP, STD_ENERGY)),
    shows="Each task counts in units of its own spread: in whatever unit a target is given, the loss stays the same up "
    "to a common factor.",
)

# --- three losses to train with ---------------------------------------------------------------------------------------


_RATIO = ", gap's weight / energy's"


def losses_on_page(energy: float, gap: float) -> tuple[Number, ...]:
    """Return what the gap's weight over the energy's should be in each loss, for targets of these spreads."""
    anything = (
        "The gap's weight is {value:.3g} times the energy's. Only this ratio matters. What should it be, and in which "
        "order are the two?",
        lambda ratio: True,
    )
    return (
        Number(f"one each{_RATIO}", 1.0, (
            ("These are weights by scale; `one each` means 1 and 1, up to a common factor.", energy / gap),
            anything,
        ), atol=0.02),
        Number(f"inverse scale{_RATIO}", energy / gap, (
            ("You swapped the two, or weighted with the spread instead of its inverse.", gap / energy),
            ("You used the variances: right for the squared error, but not here.", (energy / gap) ** 2),
            ("That is `one each` again. Use the spreads of the training targets.", 1.0),
            ("You used the spreads of the example. Take those of *these* crystals: `train.targets`.",
             STD_ENERGY / STD_GAP),
            anything,
        ), atol=0.02 * energy / gap),
        Number(f"gap in meV{_RATIO}", 1000.0, (
            ("The wrong way round: 1 eV is 1000 meV. So the *same* error, written in meV, is a larger number, and with "
             "a λ of 1 it counts for more.", 1e-3),
            ("That would leave the gap in eV. If it is written in meV, every error in it becomes a number how many "
             "times as large?", 1.0),
            anything,
        ), atol=0.02),
    )  # fmt: skip


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
    energy, gap = np.nanstd(np.asarray(targets, dtype=float), axis=0)
    leaked_energy, leaked_gap = np.nanstd(np.asarray(all_targets, dtype=float), axis=0)
    losses = {loss.name.removesuffix(_RATIO): loss for loss in losses_on_page(energy, gap)}
    same_keys(weights, "task_weights", losses)
    for name, loss in losses.items():
        pair = as_array(weights[name], f'task_weights["{name}"]', (2,))
        if (pair <= 0).any():
            raise Hint(
                f"`{name}`: both weights must be above zero, or one task is not learned, or is learned to be wrong."
            )
        ratio = pair[1] / pair[0]
        # The two spreads may differ by less than rounding may change, and may be taken in single precision.
        leaked, own = (close(ratio, one, rtol=1e-5) for one in (leaked_energy / leaked_gap, energy / gap))
        if name == "inverse scale" and leaked and not own:
            raise Hint(
                f"`{name}`: you used all crystals, the test set too. What a model is tested on must not take part in "
                "its training, not even in a weight. Take `train.targets`."
            )
        try:
            loss.check(ratio)
        except Hint as hint:
            raise Hint(f"`{name}`: {hint}", hint.answer) from None
    return "Three losses that differ in one ratio. The next cell measures how it changes the two errors."


check_weight_statements = asks(
    Judge("statements", {
        "larger error": (False, "Look at the shares that were measured. What happened to the gradient when the gap's "
         "absolute errors were ten times as large?"),
        "units": (True, "Look at the row for the gap in meV. The crystals, the network and the physics are the same; "
         "what else changed?"),
        "must exist": (False, "Does anything guarantee it? Each error is smallest for some ratio of the weights. Must "
         "it be the same ratio for both? And what would a single table prove about *any* two tasks?"),
        "common factor": (True, "If both weights are doubled, the loss doubles, and so does its slope everywhere. "
         "Where is it smallest then? (AdamW also divides each step by the size of the slopes it has seen.)"),
        "always": (False, "Compare `one each` with `inverse scale` in your table, and the standard deviations of the "
         "two targets, printed above it. When must the two losses be nearly the same?"),
    }),
    shows="If nobody thinks about the units, the units choose the weights. Inverse scales remove the units, and "
    "nothing else.",
)  # fmt: skip
