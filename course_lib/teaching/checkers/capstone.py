"""Exercise 9: a question of one's own, from the claim to the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from course_lib.teaching.checkers.declarative import Found, Function, Judge, Match, Number, asks, numbers, same_keys
from course_lib.teaching.checkers.feedback import (
    Hint,
    Unfinished,
    as_array,
    as_dict,
    checker,
    close,
    finished,
    kind_of,
    short,
)

# --- what can be detected -------------------------------------------------------------------------------------------


def detectable(
    spread: float, n_folds: int, n_comparisons: int, power: float = 0.8, sides: int = 2, shared: float = 1.0
) -> float:
    """Return the difference that one cross-validation shows with a probability of 80 %, or what a mistake takes for it.

    Parameters
    ----------
    spread : float
        Standard deviation of the differences over the folds, in any unit.
    n_folds, n_comparisons : int
        How many folds, and how many comparisons are made (Bonferroni).
    power : float, default 0.8
        Probability that a difference of this size is shown.
    sides : int, default 2
        Ends of an interval.
    shared : float, default 1
        1 with the correction for shared training crystals, 0 without.

    Returns
    -------
    float
        In the unit of `spread`.
    """
    error = spread * np.sqrt(1 / n_folds + shared / (n_folds - 1))
    quantiles = stats.t.ppf([1 - 0.05 / n_comparisons / sides, power], n_folds - 1)
    return float(quantiles.sum() * error)


def _standard_error(spread: float, n_folds: int, n_comparisons: int) -> float:
    return float(spread * np.sqrt(1 / n_folds + 1 / (n_folds - 1)))


def _normal(spread: float, n_folds: int, n_comparisons: int) -> float:
    quantiles = stats.norm.ppf([1 - 0.025 / n_comparisons, 0.8])
    return float(quantiles.sum() * _standard_error(spread, n_folds, n_comparisons))


_EFFECTS = (
    ("Your standard error is that of independent folds, s over the root of k. Folds share training crystals: what "
     "stands under the root besides 1/k?", lambda s, k, m: detectable(s, k, m, shared=0)),
    ("That is half the width of the interval. A true difference of just this size would be shown only every second "
     "time. Which second quantile makes that four times out of five?", lambda s, k, m: detectable(s, k, m, power=0.5)),
    ("You leave out the number of comparisons. With more of them, each interval is wider, and less can be detected.",
     lambda s, k, m: detectable(s, k, 1)),
    ("An interval has two ends, and 0.05/m is shared between them: which quantile leaves half of it outside?",
     lambda s, k, m: detectable(s, k, m, sides=1)),
    ("You took the quantiles of the normal distribution, such as 1.96. With few folds the spread itself is uncertain: "
     "take those of Student's t with k − 1 degrees of freedom.", _normal),
    ("That is the standard error alone. By which two quantiles is it multiplied?", _standard_error),
    ("That is the spread of single folds. The mean of k folds is known better than one of them.", lambda s, k, m: s),
    ("You used the variance: its unit is that of the error squared. What has the unit of the error?",
     lambda s, k, m: detectable(s**2, k, m)),
)  # fmt: skip


def _about_one_effect(found: Found) -> str:
    (spread, k, m), value, right = found.first()
    return (
        f"For a spread of {spread:g}, {k} folds and {m} comparison{'s' if m > 1 else ''} yours gives {value:.4g}; it "
        f"should be {right:.4g}. Compute the standard error first, then the two quantiles, then the product."
    )


check_detectable = asks(
    Function(
        "detectable_effect",
        detectable,
        [(0.02, 5, 1), (0.02, 5, 4), (0.3, 10, 2), (1.0, 25, 6)],
        _EFFECTS,
        _about_one_effect,
    ),
    shows="A difference of this size is shown four times out of five. A smaller one may be real and not be shown. "
    "`course_lib.experiments.analysis.detectable_difference` does this with the differences of a study.",
)

# --- the claim ------------------------------------------------------------------------------------------------------

_CLAIM = ("first", "second", "folds", "comparisons", "at_least")


@checker
def check_claim(claim: object, spread: float, n_folds: int, targets: pd.Series) -> str:
    """Check a claim that is stated before the first training run.

    Parameters
    ----------
    claim : dict
        ``"first"`` is to be better than ``"second"``, two methods of `course_lib.methods`, on ``"folds"`` of this kind,
        by ``"at_least"`` so much, as one of so many ``"comparisons"``.
    spread : float
        Standard deviation of the differences over the folds of an earlier study, in the unit of the target.
    n_folds : int
        Folds of the study to come.
    targets : Series
        What is predicted.

    Returns
    -------
    Feedback
    """
    answer = as_dict(claim, "claim")
    same_keys(answer, "claim", dict.fromkeys(_CLAIM))
    for key, value in answer.items():
        if value is ... or value is None:
            raise Unfinished(f"`claim` waits for {key!r}.")
    _check_methods(answer["first"], answer["second"])
    if hint := _about_folds(answer["folds"]):
        raise Hint(hint, _FOLDS.answer)
    count = _comparisons(answer["comparisons"])
    effect = detectable(spread, n_folds, count)
    gain = _at_least(effect, targets).check(answer["at_least"])
    return (
        f"A claim that can fail. With {n_folds} folds a difference of {effect:.3g} is shown four times out of five; "
        f"you ask for {gain:g}. Do not change it from now on."
    )


def claim_on_page(spread: float, n_folds: int, targets: pd.Series) -> tuple[Match, Number]:
    """Return what the website asks for in task 2: what does not depend on the reader's plans, for one comparison."""
    return _FOLDS, _at_least(detectable(spread, n_folds, 1), targets)


def _about_folds(kind: object) -> str:
    """Return the hint for a kind of folds, nothing where it is right."""
    if isinstance(kind, str) and kind == "formula":
        return ""
    return (
        f"`folds` is {short(kind)}. Where polymorphs of a test formula are among the training crystals, nothing is "
        "learned about *new* formulas. Which kind of folds keeps them together?"
    )


_FOLDS = Match(
    "folds",
    "Which folds does the claim need?",
    {"folds": {kind: _about_folds(kind) for kind in ("random", "formula")}},
)


def _check_methods(*names: object) -> None:
    from course_lib.methods import trained

    possible = [name for name, method in trained().items() if not method.reads_pretrained]
    for name in names:
        if not isinstance(name, str) or name not in trained():
            raise Hint(f"{short(name)} is not a method. There are: {', '.join(possible)}.")
        if name not in possible:
            raise Hint(f"{name!r} reads what a pretrained network makes of the crystals; task 4 cannot train it.")
    if names[0] == names[1]:
        raise Hint(f"Both methods are {names[0]!r}. A claim compares two.")


def _comparisons(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= 1000:
        raise Hint(f"`comparisons` is {short(value)}. Count the comparisons that you will look at: 1, 2, 3, ...")
    return int(value)


def _at_least(effect: float, targets: pd.Series) -> Number:
    """Return what the gain may be: from what can be detected to the error of guessing one number for all crystals."""
    guessing = float((targets - targets.median()).abs().mean())
    return Number("at_least", (effect, guessing), (
        ("`at_least` is {value:g}. Give the size of a gain, in the unit of the target: a number above zero.",
         lambda value: value <= 0),
        (f"`at_least` is {{value:g}}, but always guessing the median has an error of {guessing:.3g}: no method can "
         "gain so much.", lambda value: value > guessing),
        (f"`at_least` is {{value:g}}, but with so few folds only a difference of {effect:.3g} is shown four times out "
         "of five. \"Not shown\" would then say next to nothing. Ask for a larger gain, compare fewer things, or plan "
         "more folds.", lambda value: True),
    ), atol=0)  # fmt: skip


# --- the folds ------------------------------------------------------------------------------------------------------

_PARTS = ("training", "validation", "test")


@checker
def check_folds(answer: object, crystals: pd.DataFrame, n_folds: int = 5) -> str:
    """Check folds for leaks: a formula's structures in training and test, and crystals that are tested twice or never.

    Parameters
    ----------
    answer : sequence of (training, validation, test)
        Row positions, as `course_lib.datasets.folds` gives them.
    crystals : DataFrame
        With the column ``structure``, as from `course_lib.datasets.load_dataset`.
    n_folds : int, default 5
        How many folds the claim was checked for.

    Returns
    -------
    Feedback
    """
    finished(answer, "my_folds")
    if isinstance(answer, str) or not isinstance(answer, Sequence):
        raise Hint(f"`my_folds` is {kind_of(answer)}. Give a list with one (training, validation, test) per fold.")
    if len(answer) < 3:
        raise Hint(
            f"`my_folds` has {len(answer)} fold{'' if len(answer) == 1 else 's'}. The spread over so few says next to "
            "nothing; take five."
        )
    formula = _formulas(crystals)
    tested = np.zeros(len(crystals), dtype=int)
    for number, fold in enumerate(answer):
        parts = _parts(fold, number, len(crystals))
        _check_overlaps(parts, formula, number)
        tested[parts["test"]] += 1
    for times, words in ((tested == 0, "is never tested"), (tested > 1, "is tested in more than one fold")):
        if times.any():
            raise Hint(
                f"{times.sum()} of {len(tested)} crystals: row {int(np.argmax(times))}, for example, {words}. In "
                "cross-validation each crystal is tested exactly once."
            )
    if len(answer) != n_folds:
        raise Hint(f"`my_folds` has {len(answer)} folds, but your claim was checked for {n_folds}. Make {n_folds}.")
    return (
        f"{len(answer)} folds, {len(tested)} crystals, each tested once; no formula is on both sides of a test. The "
        "folds share training crystals, so the interval needs its correction."
    )


def _formulas(crystals: pd.DataFrame) -> np.ndarray:
    return np.array([structure.composition.reduced_formula for structure in crystals["structure"]])


def _parts(fold: object, number: int, n_rows: int) -> dict[str, np.ndarray]:
    """Return the three parts of a fold as row positions."""
    if isinstance(fold, str) or not isinstance(fold, Sequence) or len(fold) != len(_PARTS):
        raise Hint(f"Fold {number} is {kind_of(fold)}. Give three parts: training, validation, test.")
    parts = {}
    for name, rows in zip(_PARTS, fold, strict=True):
        where = f"{name} of fold {number}"
        if isinstance(rows, np.ndarray) and rows.dtype.kind == "b":
            raise Hint(f"`{where}` is a mask of True and False. Give row numbers: `np.flatnonzero(mask)`.")
        values = as_array(rows, where, (None,))
        if not len(values):
            raise Hint(f"`{where}` is empty. Each part needs crystals: to train, to choose the epoch, to test.")
        if (values != np.floor(values)).any() or values.min() < 0 or values.max() >= n_rows:
            raise Hint(f"`{where}` holds numbers that are not rows from 0 to {n_rows - 1}. Give row numbers, not ids.")
        if len(np.unique(values)) < len(values):
            raise Hint(f"`{where}` holds a row more than once.")
        parts[name] = values.astype(int)
    return parts


def _check_overlaps(parts: dict[str, np.ndarray], formula: np.ndarray, number: int) -> None:
    """Raise a hint where two parts of a fold share a crystal or a formula."""
    for one, other in (("training", "test"), ("validation", "test"), ("training", "validation")):
        rows = np.intersect1d(parts[one], parts[other])
        if len(rows):
            raise Hint(
                f"Fold {number}: {len(rows)} crystals are in {one} and {other}, the first in row {rows[0]}. A crystal "
                "belongs to one part."
            )
        both = np.intersect1d(formula[parts[one]], formula[parts[other]])
        if len(both):
            reads = (
                "the best epoch is then chosen on formulas that the model was trained on"
                if other == "validation"
                else "the formulas of the test are then not new"
            )
            raise Hint(
                f"Fold {number}: {len(both)} formulas have structures in {one} and {other}, {both[0]} for example; "
                f"{reads}. Put all structures of a formula into one part."
            )


# --- the comparison -------------------------------------------------------------------------------------------------


def _differences(errors: pd.DataFrame) -> np.ndarray:
    table = errors.pivot(index="fold", columns="method", values="mae")
    return (table["second"] - table["first"]).to_numpy()


def _compared(
    errors: pd.DataFrame, n_comparisons: int, corrected: float = 1.0, differences: np.ndarray | None = None
) -> np.ndarray:
    values = _differences(errors) if differences is None else differences
    k = len(values)
    half = stats.t.ppf(1 - 0.025 / n_comparisons, k - 1) * values.std(ddof=1) * np.sqrt(1 / k + corrected / (k - 1))
    return np.array([values.mean(), values.mean() - half, values.mean() + half])


def _row_by_row(errors: pd.DataFrame, n_comparisons: int) -> np.ndarray:
    of = {name: errors.loc[errors["method"] == name, "mae"].to_numpy() for name in ("first", "second")}
    return _compared(errors, n_comparisons, differences=of["second"] - of["first"])


def _unpaired(errors: pd.DataFrame, n_comparisons: int) -> np.ndarray:
    table = errors.pivot(index="fold", columns="method", values="mae")
    mean, k = table["second"].mean() - table["first"].mean(), len(table)
    half = stats.t.ppf(1 - 0.025 / n_comparisons, k - 1) * np.sqrt(table.var().sum() * (1 / k + 1 / (k - 1)))
    return np.array([mean, mean - half, mean + half])


_COMPARISONS = (
    ("Your difference is the error of the first minus that of the second. Positive should mean that the *first* is "
     "better: which error do you subtract?", lambda e, m: -_compared(e, m)[[0, 2, 1]]),
    ("Each of your intervals has 95 %, however many comparisons there are. `level_of_each` says which level each "
     "needs.", lambda e, m: _compared(e, 1)),
    ("That is the plain interval of a mean. The folds share training crystals, so it is too narrow; "
     "`corrected_interval` widens it.", lambda e, m: _compared(e, m, corrected=0)),
    ("Two things: the folds share training crystals, so the plain interval is too narrow, and each interval has 95 %, "
     "however many comparisons there are.", lambda e, m: _compared(e, 1, corrected=0)),
    ("You subtracted row by row, but the rows are in any order. Join them by `fold`, for example with `pivot`.",
     _row_by_row),
    ("Your interval comes from the spread of the *errors*. A fold that is hard for one method is hard for the other, "
     "and that drops out if you subtract first, fold by fold.", _unpaired),
    ("Your interval has its ends interchanged: low first, then high.", lambda e, m: _compared(e, m)[[0, 2, 1]]),
)  # fmt: skip


def _made_up_errors(seed: int, n_folds: int) -> pd.DataFrame:
    """Return errors of two methods, in any order, on folds that are hard for both or for neither."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.4, 0.05, n_folds)
    rows = [
        (method, fold, value + better + rng.normal(0, 0.01))
        for method, better in (("first", -0.02), ("second", 0.0))
        for fold, value in enumerate(hard)
    ]
    return pd.DataFrame(rows, columns=["method", "fold", "mae"]).sample(frac=1, random_state=seed, ignore_index=True)


def _about_one_comparison(found: Found) -> str:
    (_, count), value, right = found.first()
    if close(value[0], right[0]):
        return (
            f"The mean is right. For {count} comparison{'s' if count > 1 else ''} the interval should go from "
            f"{right[1]:.4f} to {right[2]:.4f}; yours goes from {value[1]:.4f} to {value[2]:.4f}."
        )
    return (
        f"For made-up errors the mean difference is {right[0]:.4f}; yours is {value[0]:.4f}. For each fold, subtract "
        "the error of the first method from that of the second, then average."
    )


check_comparison = asks(
    Function(
        "compare",
        _compared,
        lambda: [(_made_up_errors(1, 5), 1), (_made_up_errors(2, 5), 4), (_made_up_errors(3, 10), 2)],
        _COMPARISONS,
        _about_one_comparison,
        read=numbers(3),
    ),
    shows="Paired by fold, corrected for shared training crystals and for the number of comparisons.",
)

# --- the report -----------------------------------------------------------------------------------------------------


def judged_report(low: float, high: float, claimed: float) -> Judge:
    """Return the statements of a report, as an interval and a claim make them true or false.

    Parameters
    ----------
    low, high : float
        Ends of the interval of the gain, in the unit of the target.
    claimed : float
        The gain that was claimed.

    Returns
    -------
    Judge
    """
    found = f"The interval goes from {low:.3g} to {high:.3g}"
    return Judge("report", {
        "first better": (low > 0, f"{found}. Is all of it on the side where the first method is better, above zero?"),
        "second better": (high < 0, f"{found}. Is all of it on the side where the second method is better, below "
         "zero?"),
        "neither shown": (low <= 0 <= high, f"{found}. Does it hold zero, so that either method may be the better "
         "one?"),
        "as claimed": (low >= claimed, f"{found}; the claim was {claimed:g}. A gain of that size is shown where "
         "*every* value in the interval is at least as large, not the mean alone."),
        "claim excluded": (high < claimed, f"{found}; the claim was {claimed:g}. It is excluded where no value in the "
         "interval is so large."),
        "equal": (False, f"{found}. All values in it agree with what was measured. Could an interval hold zero and "
         "nothing else?"),
        "any crystals": (False, "Which crystals did the test sets hold, and who chose them?"),
        "because": (False, "The two methods differ in many things. Which study would change one of them and keep the "
         "rest?"),
    })  # fmt: skip


@checker
def check_report(report: object, interval: object, at_least: object) -> str:
    """Check that a report says what its interval shows, and no more.

    Parameters
    ----------
    report : dict of str to bool
        Statements, judged.
    interval : (mean, low, high)
        Error of the second method minus that of the first.
    at_least : float
        The gain that was claimed.

    Returns
    -------
    Feedback
    """
    if interval is ...:
        raise Unfinished("There is no interval yet. Finish tasks 1 to 4, and run the cells below them.")
    mean, low, high = as_array(interval, "interval", (3,))
    claimed = float(as_array(at_least, "at_least", ()))
    if not low <= mean <= high:
        raise Hint(f"`interval` is {short(interval)}, which is not a mean between two ends. Run the cells above again.")
    judged_report(low, high, claimed).check(report)
    shown = "first better" if low > 0 else "second better" if high < 0 else "neither shown better"
    return (
        f"The interval goes from {low:.3g} to {high:.3g}: {shown}. Your report says that, and nothing that was not "
        "measured."
    )
