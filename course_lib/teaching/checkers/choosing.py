"""Exercise 5: choosing a method for a situation, from recorded runs and from a public leaderboard."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.teaching.checkers.declarative import Found, Function, Match, asks, same_keys
from course_lib.teaching.checkers.feedback import Hint, as_array, as_dict, checker, finished, listed

DAY = 24 * 60 * 60  # seconds

N_TRAININGS, DAYS = 31, 7
"""Training runs of a study (eight settings on two folds, three seeds on five), and the days available for them."""

BOARD = {"random_forest": "RF-SCM/Magpie", "cgcnn": "CGCNN v2019", "alignn": "ALIGNN"}
"""Methods of the course that have a row on the leaderboard."""

# --- which are worth considering --------------------------------------------------------------------------------------


def _front(errors: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    from course_lib.experiments.analysis import pareto_front

    return pareto_front(pd.DataFrame({"error": errors, "time": seconds}), ["error", "time"]).to_numpy()


def _smallest(values: np.ndarray) -> np.ndarray:
    return values == values.min()


def _beats_one(errors: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    not_worse = (errors <= errors[:, None]) & (seconds <= seconds[:, None])
    better = (errors < errors[:, None]) | (seconds < seconds[:, None])
    return (not_worse & better).any(axis=0)


def _unbeaten(not_worse: np.ndarray) -> np.ndarray:
    return ~not_worse.any(axis=1)


_FRONTS = (
    ("You take the smallest quotient of error and time. If a method trains twice as long for nothing, its quotient "
     "halves and looks better. What does that pick?", lambda e, t: _smallest(e / t)),
    ("You take the smallest product of error and time. It halves with half the time as with half the error: who says "
     "that the two are worth the same to you? Compare methods in each of the two separately.",
     lambda e, t: _smallest(e * t)),
    ("You keep only the smallest error. Somebody in a hurry may prefer a method that is a little worse and much "
     "faster.", lambda e, t: _smallest(e)),
    ("You keep only the fastest. What about a method that is slower, but more accurate?", lambda e, t: _smallest(t)),
    ("You keep the two ends: the most accurate and the fastest. A method in between may be faster than the one and "
     "more accurate than the other, and no other beats it.", lambda e, t: _smallest(e) | _smallest(t)),
    ("Yours is True for exactly those that are beaten. Reverse it.", lambda e, t: ~_front(e, t)),
    ("Yours keeps a method that has the *same* error as another one and takes longer. Beaten means: worse in one, "
     "and not better in the other.",
     lambda e, t: _unbeaten((e < e[:, None]) & (t < t[:, None])),
     lambda e, t: _unbeaten((e < e[:, None]) & (t <= t[:, None]))),
    ("Yours keeps a method that takes as long as another one and has a larger error. Beaten means: worse in one, "
     "and not better in the other.", lambda e, t: _unbeaten((e <= e[:, None]) & (t < t[:, None]))),
    ("Yours is False for those that beat another one, which is not a fault. Rows and columns are mixed up: which of "
     "the two is the method that is beaten?", lambda e, t: ~_beats_one(e, t)),
    ("In yours, two methods with the same error and the same time rule each other out, and neither is left. Beaten "
     "means: nowhere better, and worse in at least one of the two.",
     lambda e, t: _unbeaten((e <= e[:, None]) & (t <= t[:, None]) & ~np.eye(len(e), dtype=bool))),
    ("In yours every method is beaten, even the best. Is each compared with itself? It takes another one that is "
     "nowhere worse and *better* in at least one of the two.",
     lambda e, t: _unbeaten((e <= e[:, None]) & (t <= t[:, None]))),
)  # fmt: skip

_MADE_UP = (
    (np.array([0.40, 0.34, 0.31, 0.36, 0.34]), np.array([4.0, 22.0, 24.0, 30.0, 60.0])),
    (np.array([0.5, 0.2, 0.3, 0.25]), np.array([1.0, 50.0, 10.0, 60.0])),
    (np.array([0.5, 0.1, 0.1, 0.12]), np.array([1.0, 3.0, 5.0, 8.0])),
    (np.array([0.5, 0.2, 0.2]), np.array([1.0, 3.0, 3.0])),
    (np.array([0.5, 0.3, 0.2]), np.array([2.0, 2.0, 9.0])),
)


def _flags(returned: object, shown: str) -> np.ndarray:
    array = as_array(returned, "worth_considering(...)", (None,))
    if np.asarray(returned).dtype != bool:
        raise Hint(
            "`worth_considering(...)` holds numbers. The next cell picks methods with it and needs True and False."
        )
    return array


def _about_one_method(found: Found) -> str:
    (errors, seconds), value, right = found.first()
    if value.shape != right.shape:
        return f"For {len(errors)} methods yours returns {len(value)} values. Return True or False for each method."
    wrong = np.flatnonzero(value != right)[0]
    return (
        f"With the errors {errors.tolist()} and the times {seconds.tolist()}, yours is {bool(value[wrong])} for number "
        f"{wrong}, counted from 0. Is another method nowhere worse, and better in one of the two?"
    )


check_worth_considering = asks(
    Function("worth_considering", _front, _MADE_UP, _FRONTS, _about_one_method, read=_flags),
    shows="What is left is for you to decide: how much time a smaller error is worth. No quotient knows that.",
)

# --- how long at another size -----------------------------------------------------------------------------------------


def _days(seconds: float, n_learned: float, n_crystals: float, n_trainings: float) -> float:
    return seconds * n_crystals / n_learned * n_trainings / DAY


_TIMES = (
    ("You used the recorded time as it is. It was for `n_learned` crystals: how much longer does an epoch over "
     "`n_crystals` take?", lambda s, m, n, k: s * k / DAY),
    ("The ratio of the sizes is upside down: more crystals take longer.", lambda s, m, n, k: _days(s, n, m, k)),
    ("That is one training run. How many are there?", lambda s, m, n, k: _days(s, m, n, 1)),
    ("Right, in seconds. Give days.", lambda s, m, n, k: _days(s, m, n, k) * DAY),
    ("Right, in hours. Give days.", lambda s, m, n, k: _days(s, m, n, k) * 24),
    ("Right, in minutes. Give days.", lambda s, m, n, k: _days(s, m, n, k) * 24 * 60),
    ("You squared the ratio of the sizes. A graph network looks at each crystal by itself: twice the crystals, twice "
     "the work.", lambda s, m, n, k: _days(s, m, n, k) * n / m),
    ("You took the recorded time for that of one crystal. It is that of `n_learned` of them.",
     lambda s, m, n, k: s * n * k / DAY),
    ("More training runs take longer, but you divided by their number.", lambda s, m, n, k: _days(s, m, n, 1) / k),
    (f"Right for {N_TRAININGS} training runs, but the same for any other number. It is an argument: use it.",
     lambda s, m, n, k: _days(s, m, n, N_TRAININGS)),
)  # fmt: skip


def _about_one_campaign(found: Found) -> str:
    (seconds, n_learned, n_crystals, n_trainings), value, _ = found.first()
    return (
        f"For {seconds:.0f} s on {n_learned} crystals, and {n_trainings} training runs on {n_crystals}, yours gives "
        f"{value:.6g} days. Start with the time for one crystal; a day has 86,400 s. Do not round."
    )


check_campaign_days = asks(
    Function("campaign_days", _days, [(24.0, 700, 24000, 31), (100.0, 1000, 500, 2)], _TIMES, _about_one_campaign),
    shows=lambda days: (
        f"One training run of 24 s on 700 crystals becomes {days[0]:.1f} days for 31 training runs on 24,000 crystals, "
        "on the one core that the runs were recorded on."
    ),
)

# --- who is not shown to be worse ------------------------------------------------------------------------------------


def contenders(runs: pd.DataFrame) -> list[str]:
    """Return the method with the smallest mean error on new formulas, and those not shown to be worse than it.

    Parameters
    ----------
    runs : DataFrame
        As from `course_lib.experiments.load_results`, on one target.

    Returns
    -------
    list of str
        Methods; those of whose paired difference to the best the corrected interval does not lie above zero.
    """
    return _not_worse(_of("formula", runs))


def _best(runs: pd.DataFrame) -> str:
    return runs.groupby("method")["mae"].mean().idxmin()


def _not_worse(
    runs: pd.DataFrame, best: str | None = None, decides: str = "max", level: float | None = None
) -> list[str]:
    """Return `best` and what is not shown to be worse: on all kinds of folds ("max") or on one ("min")."""
    from course_lib.experiments.analysis import summarize_differences

    best = _best(runs) if best is None else best
    table = summarize_differences(runs, best, level).groupby("method")["low"].agg(decides)
    return [best, *table.index[table <= 0]]


def _per_fold(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the error minus that of the best, one row per fold, one column per method."""
    errors = runs.groupby(["fold", "method"])["mae"].mean().unstack()
    return errors.sub(errors[_best(runs)], axis=0)


def _unpaired(runs: pd.DataFrame, size: str) -> list[str]:
    """Return the methods whose bars overlap with that of the best: "std" or "sem", about the mean."""
    table = runs.groupby("method")["mae"].agg(["mean", size])
    best = table.loc[_best(runs)]
    return list(table.index[table["mean"] - table[size] <= best["mean"] + best[size]])


def _uncorrected(runs: pd.DataFrame) -> list[str]:
    differences = _per_fold(runs)
    low = differences.mean() - 2.776 * differences.std() / np.sqrt(len(differences))  # Student's t, four degrees
    return list(low.index[low <= 0])


def _nearest(runs: pd.DataFrame, count: int) -> list[str]:
    """Return what a border on the mean difference keeps, or on its ratio, if it lets `count` methods pass."""
    return list(_per_fold(runs).mean().nsmallest(count).index)


def _ahead_once(runs: pd.DataFrame) -> list[str]:
    differences = _per_fold(runs)
    return list(differences.columns[(differences <= 0).any()])


def _of(split: str, runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["split"] == split]


_METHODS = list("abcdefghi")  # of the made-up runs


def _less_strict(runs: pd.DataFrame) -> list[str]:
    """Give each interval 95 %, however many there are."""
    return _not_worse(_of("formula", runs), level=0.95)


_CONTENDERS = (
    ("You keep only the one with the smallest mean. How far are the others from it, compared with how much that "
     "differs from fold to fold?", lambda runs: [_best(_of("formula", runs))]),
    ("You read the random folds, where models are trained on polymorphs of test formulas. Which folds have formulas "
     "that are new?", lambda runs: _not_worse(_of("random", runs))),
    ("You keep the smallest mean on the random folds. The formulas should be new, and one mean alone shows little.",
     lambda runs: [_best(_of("random", runs))]),
    ("The best one itself is missing: the differences to it have no row for it. Add it.",
     lambda runs: contenders(runs)[1:]),
    ("Those are the ones that *are* shown to be worse. Return the others.",
     lambda runs: [method for method in _METHODS if method not in contenders(runs)]),
    ("That is the result if you check whether the bars of two methods overlap. Such bars are wide because some folds "
     "are hard for *all* methods. Compare pairs on the same fold: `summarize_differences`.",
     *(lambda runs, size=size: _unpaired(_of("formula", runs), size) for size in ("std", "sem"))),
    ("Each of your intervals has 95 %. With eight comparisons the chance that one of them misses is far larger than 5 "
     "%. By itself, `summarize_differences` allows for their number.", _less_strict),
    ("Your best one has the smallest mean over *both* kinds of folds. On new formulas another one has. Keep the runs "
     "on new formulas before you look for the smallest mean.",
     lambda runs: _not_worse(_of("formula", runs), _best(runs)), lambda runs: [_best(runs)],
     _not_worse, lambda runs: _not_worse(runs, decides="min")),
    ("Your best one is right, but the intervals of the random folds take part in what you keep. The table of "
     "differences has rows for both kinds of folds: which of them are about new formulas?",
     lambda runs: _not_worse(runs, _best(_of("formula", runs)), "max"),
     lambda runs: _not_worse(runs, _best(_of("formula", runs)), "min")),
    ("That is the result if the folds are treated as independent. But they share training crystals: the interval "
     "must be wider. `summarize_differences` does that; see its `low`.",
     lambda runs: _uncorrected(_of("formula", runs))),
    ("You drop every method that is behind on all folds. Five small differences of one sign can be chance. What does "
     "the interval say?", lambda runs: _ahead_once(_of("formula", runs))),
    ("You keep all. First print your best one: does it have the smallest *mean* error on new formulas? If so, one of "
     "the others is much worse on every fold. What does the lower end of its interval say?", lambda runs: _METHODS),
    ("That is what a limit on the mean difference gives: the nearest few, however certain their distance is. A small "
     "difference that is the same on every fold is shown; a large one that comes from two bad folds is not. What does "
     "the interval say?",
     *(lambda runs, count=count: _nearest(_of("formula", runs), count) for count in range(2, len(_METHODS)))),
)  # fmt: skip


def made_up_runs() -> pd.DataFrame:
    """Return runs of methods that do not exist, on folds that differ more than most of the methods do.

    On new formulas ``a`` has the smallest mean, and ``b``, ``d``, ``f``, ``g`` and ``i`` are not shown to be worse. The
    folds and methods are such that no two hints in `_CONTENDERS` belong to one and the same answer.
    """
    hard = [0.0, 0.06, -0.04, 0.1, -0.07]
    worse_by = {
        "formula": {
            "a": [0.0, 0.0, 0.0, 0.0, 0.0],
            "b": [0.135, 0.002, 0.045, 0.002, 0.003],  # behind on every fold, yet not shown
            "c": [0.03, 0.03, 0.03, 0.03, 0.03],  # shown, though small; the best over both kinds of folds
            "d": [0.005, 0.03, 0.015, 0.04, 0.015],  # shown only if the folds were independent
            "e": [0.3, 0.24, 0.34, 0.2, 0.37],  # one error on all folds: its bar overlaps with no other
            "f": [-0.4, 1.7, -0.35, 1.0, -0.4],  # the largest mean, by two bad folds
            "g": [0.027, 0.051, 0.035, 0.059, 0.027],  # shown only if each interval had 95 %
            "h": [0.043, 0.042, 0.044, 0.042, 0.043],  # shown to be worse than a and c, and its bar overlaps
            "i": [0.09, -0.015, 0.045, -0.015, 0.03],  # ahead on two folds
        },
        "random": {
            "a": [0.1, 0.1, 0.1, 0.1, 0.1],
            "b": [0.205, 0.198, 0.201, 0.194, 0.203],
            "c": [0.0, 0.0, 0.0, 0.0, 0.0],
            "d": [0.03, -0.016, -0.04, 0.006, 0.02],  # the best on random folds
            "e": [0.105, 0.098, 0.094, 0.103, 0.101],
            "f": [0.06, 0.106, 0.12, 0.13, 0.084],
            "g": [0.315, 0.303, 0.292, 0.28, 0.31],
            "h": [0.152, 0.158, 0.147, 0.138, 0.16],
            "i": [0.142, 0.16, 0.165, 0.153, 0.13],
        },
    }
    rows = [
        (method, split, fold, seed, 0.5 + hard[fold] + difference + 0.001 * seed)
        for split, methods in worse_by.items()
        for method, differences in methods.items()
        for fold, difference in enumerate(differences)
        for seed in range(2)
    ]
    return pd.DataFrame(rows, columns=["method", "split", "fold", "seed", "mae"])


def _chosen(returned: object, shown: str) -> np.ndarray:
    """Read a collection of methods as a row of zeros and ones."""
    if not isinstance(returned, list | tuple | set | frozenset | np.ndarray | pd.Index):
        raise Hint("`contenders` should return a list of methods, such as `['a', 'b']`.")
    named = list(returned)
    if not all(isinstance(name, str) and name in _METHODS for name in named):
        raise Hint("`contenders` returns something that is not in the column `method`. Return names of methods.")
    right = contenders(made_up_runs())
    if isinstance(returned, set | frozenset):
        raise Hint("A set has no order. Return a list, with the method of the smallest mean error first.")
    if set(named) == set(right) and named[0] != right[0]:
        raise Hint(
            "The method with the smallest mean error should come first in a list: the next cell compares the others "
            "with it."
        )
    return np.array([float(method in named) for method in _METHODS])


def _about_one_contender(found: Found) -> str:
    from course_lib.experiments.analysis import summarize_differences

    ((runs,),), (value,), (right,) = found
    best = _best(_of("formula", runs))
    wrong = next(
        name for name, own, wanted in zip(_METHODS, value, right, strict=True) if own != wanted and name != best
    )
    mean, low, high = summarize_differences(_of("formula", runs), best).loc[("formula", wrong)]
    return (
        f"For the made-up runs yours returns {[name for name, own in zip(_METHODS, value, strict=True) if own]}. Look "
        f"at {wrong!r}: on new formulas its difference to the best is {mean:.3f}, with an interval from {low:.3f} to "
        f"{high:.3f}. Is it shown to be worse, and is it in your list?"
    )


check_contenders = asks(
    Function("contenders", contenders, lambda: [(made_up_runs(),)], _CONTENDERS, _about_one_contender, read=_chosen),
    shows="Of nine made-up methods, six remain: the best, and five that the folds cannot tell from it. The order of "
    "these five means nothing.",
)

# --- three situations -----------------------------------------------------------------------------------------------

_REASONS = {
    "A": "holds and fits",
    "B": "large data",
    "C": "no new training",
}

_WRONG_REASONS = {
    "smallest quotient": "error divided by time is small where the time is long. That is not a reason.",
    "smallest mean": "a mean without its interval does not say whether the next study would find the same.",
    "random folds": "on random folds, the models were trained on polymorphs of the test formulas. That is another "
    "question.",
    "across datasets": "the crystals of the leaderboard are other crystals, with other energies: an error there cannot "
    "be compared with one recorded here.",
}

_MISPLACED = {
    ("A", "large data"): (
        "there are fewer than a quarter of the crystals of `mp_e_form`, time is limited, and the leaderboard's folds "
        "do not keep a formula together. Which runs have test formulas that are new, and does the method fit?"
    ),
    ("A", "no new training"): "no model exists yet, so everything has to be trained. What limits you?",
    ("B", "holds and fits"): (
        "the recorded runs had far fewer training crystals, and there is no time limit. Where is evidence at 100,000?"
    ),
    ("B", "no new training"): (
        "training is not an obstacle here: there is no deadline. What counts is the error at this size."
    ),
    ("C", "holds and fits"): "nothing may be trained, however briefly. What can be made of the existing models?",
    ("C", "large data"): "nobody said how large the data are. Which models exist already, and what must not be risked?",
}


def choices_on_page(runs: pd.DataFrame, board: pd.DataFrame) -> Match:
    """Return task 4 as the website asks for it: a method and a reason for each situation, by the same evidence."""
    methods = list(dict.fromkeys([*runs["method"], *BOARD]))
    reasons = [*_REASONS.values(), *_WRONG_REASONS]
    rows = {}
    for situation in _REASONS:
        rows[f"{situation}, method"] = {one: _about_method(situation, one, runs, board) for one in methods}
        rows[f"{situation}, reason"] = {one: _about_reason(situation, one) for one in reasons}
    return Match("choices", "A method and a reason for each", rows)


def first_right(choices: Match) -> dict[str, tuple[str, str]]:
    """Return right choices as the notebook asks for them."""
    right = choices.right
    return {one: (right[f"{one}, method"][0], right[f"{one}, reason"][0]) for one in _REASONS}


@checker
def check_choices(answer: object, runs: pd.DataFrame, board: pd.DataFrame) -> str:
    """Check a method and a reason for each of three situations, against the evidence.

    Parameters
    ----------
    answer : dict of str to (str, str)
        Method and reason for ``"A"``, ``"B"`` and ``"C"``.
    runs : DataFrame
        Recorded runs on the formation energy, late fusion among them.
    board : DataFrame
        The leaderboard, indexed by model.

    Returns
    -------
    Feedback
    """
    from course_lib.methods import LABELS

    choices = as_dict(answer, "choices")
    same_keys(choices, "choices", _REASONS)
    known = {*runs["method"], *BOARD}
    for situation, choice in choices.items():
        finished(choice, f"choices[{situation!r}]")
        if (
            not isinstance(choice, tuple | list)
            or len(choice) != 2
            or not all(isinstance(part, str) for part in choice)
        ):
            raise Hint(f"{situation}: give a pair of texts, the method and the reason.")
        method, reason = choice
        if method not in known:
            raise Hint(
                f"{situation}: no method in the evidence has that name. The names are: {', '.join(sorted(known))}."
            )
        if hint := _about_method(situation, method, runs, board):
            raise Hint(f"{situation}: {hint}", choices_on_page(runs, board).answer)
        if reason not in {*_REASONS.values(), *_WRONG_REASONS}:
            raise Hint(f"{situation}: take a reason from the list: {', '.join([*_REASONS.values(), *_WRONG_REASONS])}.")
        if hint := _about_reason(situation, reason):
            raise Hint(f"{situation}, {reason!r}: {hint}", choices_on_page(runs, board).answer)
    allowed = [LABELS[name] for name in contenders(runs) if _fits(name, runs)]
    return f"Three situations, three reasons. For A the evidence allows {listed(allowed)}."


def _about_reason(situation: str, reason: str) -> str:
    """Return the hint for a reason of the list, nothing where it is right."""
    if reason == _REASONS[situation]:
        return ""
    return _WRONG_REASONS.get(reason) or _MISPLACED[situation, reason]


def _about_method(situation: str, method: str, runs: pd.DataFrame, board: pd.DataFrame) -> str:
    """Return the hint for a method, nothing where the evidence allows it."""
    about = {"A": _about_a, "B": _about_b, "C": _about_c}
    return about[situation](method, runs, board)


def _fits(method: str, runs: pd.DataFrame) -> bool:
    mine = _of("formula", runs[runs["method"] == method])
    return _days(mine["seconds"].mean(), mine["n_learned"].mean(), 24000, N_TRAININGS) <= DAYS


def _about_a(method: str, runs: pd.DataFrame, board: pd.DataFrame) -> str:
    from course_lib.experiments.analysis import summarize_differences
    from course_lib.methods import LABELS

    if method not in set(runs["method"]):
        return f"no runs of {LABELS[method]} are recorded yet, so nothing is known about it here."
    if method not in contenders(runs):
        best = _best(_of("formula", runs))
        row = summarize_differences(_of("formula", runs), best).loc[("formula", method)]
        return (
            f"accuracy comes first, but {LABELS[method]} is shown to be worse than {LABELS[best]} on new formulas, "
            f"by {row['mean']:.3f} eV/atom with an interval from {row['low']:.3f}. Which methods does your "
            "`contenders` keep?"
        )
    if not _fits(method, runs):
        return (
            f"{LABELS[method]} is not shown to be worse, but {N_TRAININGS} training runs do not fit into {DAYS} "
            "days. Which is faster?"
        )
    return ""


def _about_b(method: str, runs: pd.DataFrame, board: pd.DataFrame) -> str:
    from course_lib.methods import LABELS

    column = board["mp_e_form (eV/atom)"]
    best = min(BOARD, key=lambda name: column[BOARD[name]])
    if method not in BOARD:
        return (
            f"{LABELS[method]} has no row on the leaderboard, and the recorded runs had far fewer training "
            "crystals. What is known at 100,000?"
        )
    if method != best:
        ratio = column[BOARD[method]] / column[BOARD[best]]
        return f"at this size another method of the course has an error {ratio:.1f} times smaller than that one's."
    return ""


def _about_c(method: str, runs: pd.DataFrame, board: pd.DataFrame) -> str:
    from course_lib.methods import LABELS

    if method in ("random_forest", "cgcnn"):
        return (
            f"{LABELS[method]} alone is what C has already, and the other model is not used. The errors of the two "
            "differ: how can both be used without changing either?"
        )
    if method != "late_fusion":
        return f"{LABELS[method]} has to be trained, tuned and trusted again. What risks less?"
    return ""
