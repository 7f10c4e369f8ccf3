"""Exercise 8: the attribution of a hybrid's predictions to composition and structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from course_lib.teaching.checkers.declarative import Found, Function, Judge, Number, asks, numbers, numpy_array
from course_lib.teaching.checkers.feedback import Hint, as_array, call, checker, close, finished

BLOCKS = ("composition", "structure")

_ZEROED = (
    "set to zero. A zero is a value like any other: a crystal whose features are all zero does not exist, and the "
    "model has never seen one. Which numbers of the kind that it knows could be used instead?"
)
_NOT_KEPT_TOGETHER = (
    "shuffled column by column: each feature now comes from another crystal, and the row describes no crystal at all. "
    "Keep the rows whole, and change only which crystal each belongs to."
)


# --- taking a block away ----------------------------------------------------------------------------------------------


class _Kept(np.ndarray):
    """An array that `call` hands over as it is, not as a copy, so that a change in place shows."""

    def __deepcopy__(self, memo: dict) -> _Kept:
        return self


@checker
def check_shuffled(function: object) -> str:
    """Check a function that gives each crystal the block of another one.

    Parameters
    ----------
    function : callable
        ``function(block, rng) -> block``, for a block of shape (B, F) and a NumPy generator: the same rows in random
        order.

    Returns
    -------
    Feedback
    """

    def returned(given: np.ndarray, seed: int) -> np.ndarray:
        return numpy_array(call(function, "shuffled", given, np.random.default_rng(seed)), "shuffled")

    block = np.random.default_rng(8).normal(3.0, 1.0, (12, 4))
    given = block.copy().view(_Kept)
    found = [returned(given, 0)]
    if not np.array_equal(given, block):
        raise Hint(
            "Your function changes the block that it is given, so afterwards the true rows are lost. Return a new "
            "array: `rng.shuffle` works in place, `rng.permutation` does not."
        )
    found += [returned(block, seed) for seed in (1, 2)]
    for one in found:
        _check_kind(block, one)
    if close(found[0], found[1]) and close(found[0], found[2]):
        raise Hint(
            "Your function gives the same order whichever generator it gets. Draw from `rng`, or all repeats will be "
            "the same."
        )
    if not close(found[1], returned(block, 1)):
        raise Hint(
            "Two generators with the same seed give two different orders in yours. Draw only from `rng`, so that a run "
            "can be repeated."
        )
    return (
        "Whole rows, each once, in random order. Every number is one that the model knows; only which crystal it "
        "belongs to is lost."
    )


def _check_kind(block: np.ndarray, found: np.ndarray) -> None:
    """Raise the hint for what is not a new order of whole rows."""
    if found.shape == (len(block),):
        raise Hint(
            "Your function returns one number per crystal. If that is a random order of row numbers, use it to pick "
            "the rows: `block[order]`."
        )
    if found.shape != block.shape:
        raise Hint(
            f"For a block of shape {block.shape} yours returns {found.shape}. As many crystals and features as before "
            "should come back."
        )
    hint = {
        "own": "The block comes back as it was: every crystal still has its own row.",
        "zeros": f"The block comes back {_ZEROED}",
        "means": (
            "Every crystal gets the mean of all crystals. No crystal is like that, so the model must guess far from "
            "its training data. Give it rows that exist: those of other crystals."
        ),
        "columns": f"The block comes back {_NOT_KEPT_TOGETHER}",
        "within": (
            "You shuffled the features inside each row: what was an electronegativity is now a radius. Leave the rows "
            "as they are, and change their order."
        ),
        "moved": (
            "You changed the order of the columns: every crystal keeps its own numbers, under the names of others. "
            "Which axis runs over the crystals?"
        ),
        "repeated": (
            "Some rows appear twice, and others not at all: that is drawing with replacement. Use each crystal's row "
            "once, in another order."
        ),
        "other": ("Some rows belong to no crystal. Take the existing rows, whole and unchanged, in another order."),
    }
    kind = _kind_of(block, found)
    if kind != "shuffled":
        raise Hint(hint[kind])


def _kind_of(block: np.ndarray, found: np.ndarray) -> str:
    """Say what has been done to a block: ``"own"``, ``"shuffled"`` or the name of a mistake."""
    if close(found, block):
        return "own"
    if not found.any():
        return "zeros"
    if close(found, np.broadcast_to(block.mean(axis=0), block.shape)):
        return "means"
    same = np.isclose(found[:, None], block[None]).all(axis=2)  # [row found, row of the block]
    if same.any(axis=1).all():
        return "shuffled" if same.any(axis=0).all() else "repeated"
    if close(np.sort(found, axis=0), np.sort(block, axis=0)):
        return "columns"
    if all(np.isclose(column[:, None], block).all(axis=0).any() for column in found.T):
        return "moved"
    return "within" if close(np.sort(found, axis=1), np.sort(block, axis=1)) else "other"


# --- importance -------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """What a model was asked: what had been done to each block, the rows, and what it answered."""

    composition: str
    structure: str
    key: bytes
    prediction: np.ndarray


class _World:
    """Made-up crystals whose energies need both blocks, and a model of them that records its calls."""

    def __init__(self, n_crystals: int = 40):
        rng = np.random.default_rng(80)
        self.composition, self.structure = rng.normal(1.0, 1.0, (2, n_crystals, 3))
        self.y = self._energy(self.composition, self.structure) + rng.normal(0.3, 0.4, n_crystals)
        self.asked: list[_Asked] = []

    @staticmethod
    def _energy(composition: np.ndarray, structure: np.ndarray) -> np.ndarray:
        return composition @ [2.0, -1.0, 0.5] + structure @ [0.5, 0.4, -0.3] + 3.0

    def answer(self, composition: object, structure: object) -> np.ndarray:
        composition, structure = (np.asarray(block, dtype=float) for block in (composition, structure))
        for name, block in zip(BLOCKS, (composition, structure), strict=True):
            if block.shape != (*self.y.shape, 3):
                raise ValueError(f"the {name} block has the shape {block.shape}; the model needs {(*self.y.shape, 3)}")
        kinds = _kind_of(self.composition, composition), _kind_of(self.structure, structure)
        prediction = self._energy(composition, structure)
        self.asked.append(_Asked(*kinds, composition.tobytes() + structure.tobytes(), prediction))
        return prediction.copy()

    def errors(self, composition: str, structure: str, error: Callable[[np.ndarray], float]) -> np.ndarray:
        """Return the error of each question in which this had been done to the blocks."""
        return np.array([error(asked.prediction - self.y) for asked in self._where(composition, structure)])

    def n_orders(self, composition: str, structure: str) -> int:
        """Return how many different questions of this kind there were."""
        return len({asked.key for asked in self._where(composition, structure)})

    def _where(self, composition: str, structure: str) -> list[_Asked]:
        return [asked for asked in self.asked if (asked.composition, asked.structure) == (composition, structure)]

    def kinds(self) -> set[tuple[str, str]]:
        return {(asked.composition, asked.structure) for asked in self.asked}


_ALONE = (("shuffled", "own"), ("own", "shuffled"))  # composition taken away, structure taken away
_REPEATS = 5  # in the checker's own crystals

SEED, REPEATS = 0, 10
"""How `measured` is to be made."""

_OTHER_REPEATS = (*range(2, REPEATS), 20, 50)


@checker
def check_importance(
    function: object,
    measured: object,
    model: Callable[[np.ndarray, np.ndarray], np.ndarray],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> str:
    """Check the permutation importance of two blocks, and on which crystals it was measured.

    Parameters
    ----------
    function : callable
        ``function(model, composition, structure, y, rng, n_repeats) -> (2, 2)``: a row for the composition and one for
        the structure; mean and standard deviation of the growth of the mean absolute error over the repeats.
    measured : array, shape (2, 2)
        What it gave for the crystals of the learner's choice.
    model : callable
        ``model(composition, structure) -> (B,)``, the fitted model.
    parts : mapping of str to (composition, structure, y)
        The blocks and true values of the ``"training"`` and the ``"test"`` crystals.

    Returns
    -------
    Feedback
    """
    world, returned = _asked_by(function, seed=0)
    _check_questions(world)
    table = as_array(returned, "importance(...)", (2, 2))
    _check_table(table, world)
    again, other = (as_array(_asked_by(function, seed)[1], "importance(...)", (2, 2)) for seed in (0, 1))
    if not close(again, table):
        raise Hint(
            "With two generators that have the same seed, yours gives two different tables. Every shuffle must draw "
            "only from the `rng` that it is given, so that a run can be repeated."
        )
    if close(other, table):
        raise Hint(
            "Yours gives the same table whichever generator it gets, so it has generators of its own. Let every "
            "shuffle draw from `rng`."
        )
    finished(measured, "measured")
    _check_measured(as_array(measured, "measured", (2, 2)), function, model, parts)
    return "Both blocks are treated equally, on crystals that the model has not seen, and each number has its spread."


def _asked_by(function: object, seed: int) -> tuple[_World, object]:
    """Let the function measure the made-up crystals; return the world that noted its questions, and its answer."""
    world = _World()

    def asked_model(composition: np.ndarray, structure: np.ndarray) -> np.ndarray:
        return world.answer(composition, structure)  # a method would be copied by `call`, and its world with it

    arguments = (asked_model, world.composition, world.structure, world.y, np.random.default_rng(seed), _REPEATS)
    return world, call(function, "importance", *arguments)


def _check_measured(
    measured: np.ndarray,
    function: object,
    model: Callable[[np.ndarray, np.ndarray], np.ndarray],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    """Raise a hint unless `measured` is what the function, found to be right, gives on the test crystals."""

    def table(part: str, repeats: int = REPEATS) -> np.ndarray:
        returned = call(function, "importance", model, *parts[part], np.random.default_rng(SEED), repeats)
        return as_array(returned, "importance(...)", (2, 2))

    def same(one: np.ndarray, other: np.ndarray) -> bool:
        return close(one, other, rtol=1e-4, atol=1e-5)  # the rounding of single precision

    right = table("test")
    if same(measured, right):
        return
    if any(close(measured, right.round(digits)) for digits in range(6)):
        raise Hint("`measured` is what your function gives, but rounded. Leave the numbers as they are returned.")
    training = table("training")
    away, away_from_training = (np.abs(measured - own)[:, 0].max() for own in (right, training))
    uncertainty = 2 * right[:, 1].max()  # of another generator or number of repeats
    if same(measured, training) or away_from_training < min(away, uncertainty):
        raise Hint(
            "You measured on the training crystals. There the model has seen the answers, so a block can look "
            "important only because the model memorised it. On which crystals is the error honest?"
        )
    if same(measured[:, 0], right[:, 0]):
        raise Hint(
            "The means in `measured` are those of your function, the spreads are not. If you have changed the function "
            "since, measure again: run the whole cell."
        )
    if not measured[:, 1].any():
        raise Hint(
            "Both spreads in `measured` are zero, as after one repeat: another order could give another number, and "
            f"nothing shows how different. Use {REPEATS} repeats."
        )
    if away > uncertainty:
        raise Hint(
            f"Your function gives {np.round(right, 3).tolist()} for the test crystals; `measured` is "
            f"{np.round(measured, 3).tolist()}. Call it as `importance(model, *parts[...], rng)`."
        )
    repeats = next((n for n in _OTHER_REPEATS if same(measured, table("test", repeats=n))), None)
    if repeats:
        raise Hint(
            f"The right crystals and the right generator, but `measured` comes from {repeats} repeats instead of "
            f"{REPEATS}. What would another number of them change about the two columns?"
        )
    raise Hint(
        f"The right crystals, but another generator, it seems: with `np.random.default_rng({SEED})` and {REPEATS} "
        f"repeats your function gives {np.round(right, 4).tolist()}, while `measured` is "
        f"{np.round(measured, 4).tolist()}. A used generator continues from where it stopped: make a new "
        "one in the call."
    )


def _check_questions(world: _World) -> None:
    """Raise a hint unless the model was asked with own blocks, and with each block alone shuffled, often enough."""
    kinds = world.kinds()
    composition, structure = ({kind[k] for kind in kinds} - {"own"} for k in (0, 1))
    if not composition | structure:
        raise Hint(
            "Your function never shows the model a crystal without one of its own blocks. Shuffle a *block*; if you "
            "shuffled `y`, the model would lose both at once."
        )
    for name, done, other in (("composition", composition, structure), ("structure", structure, composition)):
        if "zeros" in done and "shuffled" in other:
            raise Hint(
                f"The {name} is set to zero, but the other block is shuffled. These are two different ways to lose a "
                "block, so the two numbers cannot be compared. Treat both blocks in the same way: shuffle."
            )
    for name, done in (("composition", composition), ("structure", structure)):
        if "zeros" in done:
            raise Hint(f"The {name} block is {_ZEROED}")
        if "columns" in done:
            raise Hint(f"The {name} block is {_NOT_KEPT_TOGETHER}")
        strange = done - {"shuffled"}
        if strange:
            raise Hint(
                f"The {name} block holds rows that are not the crystals' own, each once. Use `shuffled` of task 1."
            )
    if not kinds & set(_ALONE):
        raise Hint(
            "Both blocks are shuffled at the same time, so nobody can say which of the two mattered. Shuffle one, "
            "and leave the other with its own crystal."
        )
    for (name, alone), other in zip(zip(BLOCKS, _ALONE, strict=True), BLOCKS[::-1], strict=True):
        if alone not in kinds:
            raise Hint(f"The {name} is never shuffled while the {other} stays. Do for one what you do for the other.")
    if ("own", "own") not in kinds:
        raise Hint(
            "The model is never asked with both blocks in place. The growth of an error is its difference from the "
            "error without any shuffling."
        )
    for name, alone in zip(BLOCKS, _ALONE, strict=True):
        times = len(world.errors(*alone, np.mean))
        if times == 1:
            raise Hint(
                f"The {name} is shuffled once. Another order gives another number; only repeats show how different. "
                "Shuffle `n_repeats` times."
            )
        if world.n_orders(*alone) == 1:
            raise Hint(
                f"The {name} is shuffled {times} times, each time in the same order. Draw from the `rng` that you are "
                "given; a new generator with the same seed starts again from the beginning."
            )
        if times != _REPEATS:
            raise Hint(
                f"With n_repeats={_REPEATS} the {name} is shuffled {times} times. Where does the number come from?"
            )


def _absolute(difference: np.ndarray) -> float:
    return float(np.abs(difference).mean())


def _squared(difference: np.ndarray) -> float:
    return float((difference**2).mean())


def _signed(difference: np.ndarray) -> float:
    return float(difference.mean())


def _check_table(table: np.ndarray, world: _World) -> None:
    """Raise a hint unless the table holds mean and standard deviation of the growth of the error, by block."""

    def growth(error: Callable[[np.ndarray], float]) -> np.ndarray:  # (2, repeats)
        return np.stack([world.errors(*alone, error) for alone in _ALONE]) - world.errors("own", "own", error)[0]

    def summary(values: np.ndarray, ddof: int = 1) -> np.ndarray:
        return np.stack([values.mean(axis=1), values.std(axis=1, ddof=ddof)], axis=1)

    right = summary(growth(_absolute))
    if close(table, right) or close(table, summary(growth(_absolute), ddof=0)):
        return
    if any(close(table, summary(growth(_absolute), ddof).round(digits)) for ddof in (0, 1) for digits in range(6)):
        raise Hint("Your table is right, but rounded. Leave the numbers as they are computed.")
    own = world.errors("own", "own", _absolute)[0]
    rms = growth(lambda difference: float(np.sqrt(_squared(difference))))
    mistakes = [
        (-growth(_absolute), "Your numbers are negative where a block matters: the sign is wrong. Which error is "
            "larger, the one with a block missing or the one with both? Subtract the smaller."),
        (growth(_absolute) + own, "You return the error with a block shuffled. The importance is its *growth*: what "
            "must be subtracted?"),
        (growth(_absolute) / own, "You return the relative growth of the error. Return the growth itself, in eV/atom, "
            "without the division."),
        (growth(_absolute) / own + 1, "You return the ratio of the two errors. Return their difference, in "
        "eV/atom."),
        (growth(_squared), "You used the squared error. Use the mean *absolute* error, in eV/atom."),
        (rms, "You used the root of the mean squared error. Use the mean *absolute* error."),
        (growth(_signed), "You left out the absolute value: positive and negative errors cancel, and the mean "
         "says little. `np.abs` before the mean."),
        (growth(_absolute)[::-1], "Your two rows are swapped: the first belongs to the composition. Its importance "
            "comes from the error with the *composition* shuffled."),
    ]  # fmt: skip
    for values, hint in mistakes:
        if any(close(table, summary(values, ddof)) for ddof in (0, 1)) or close(table[:, 0], values.mean(axis=1)):
            raise Hint(hint)
    if close(table.T, right) or close(table.T, summary(growth(_absolute), ddof=0)):
        raise Hint(
            "All numbers are right, but your table is transposed: a row is a block, a column is the mean or the spread."
        )
    if close(table[:, 0], right[:, 0]):
        if any(close(table[:, 1], summary(growth(_absolute), ddof)[:, 1] / np.sqrt(_REPEATS)) for ddof in (0, 1)):
            raise Hint(
                "Your second column is the standard error of the *mean*. Return the spread of the single repeats: do "
                "not divide by the root of their number."
            )
        raise Hint("The means are right. The second column should be the standard deviation over the repeats.")
    raise Hint(
        f"Shuffling the composition made the error grow by {right[0, 0]:.3f} on average, shuffling the structure by "
        f"{right[1, 0]:.3f}; your table says {np.round(table[:, 0], 3).tolist()}."
    )


# --- Shapley values ---------------------------------------------------------------------------------------------------


def _values(formula: Callable[..., tuple[float, float]]) -> Callable[[dict], np.ndarray]:
    """Return a formula of the four errors (neither, composition, structure, both) as a function of their dict."""
    return lambda error: np.array(formula(*(error[name] for name in ("neither", "composition", "structure", "both"))))


def _shapley(n: float, c: float, s: float, b: float) -> tuple[float, float]:
    return ((n - c) + (s - b)) / 2, ((n - s) + (c - b)) / 2


_MISTAKEN_VALUES = tuple((hint, *map(_values, formulas)) for hint, *formulas in (
    ("Your values add up, but they hold only one order: composition first, structure second. The second block gets "
     "only what the first has left. What are the values in the other order, and on average?",
     lambda n, c, s, b: (n - c, c - b)),
    ("Your values add up, but they hold only one order: structure first, composition second. What is the other order, "
     "and what is the average of the two?", lambda n, c, s, b: (s - b, n - s)),
    ("You let both blocks come first. Information that is in both is then counted twice: add your values up and "
     "compare with `neither` minus `both`.", lambda n, c, s, b: (n - c, n - s)),
    ("You let both blocks come second: that is the permutation importance again. Information that is in both counts "
     "for neither, so your values do not add up to `neither` minus `both`.",
     lambda n, c, s, b: (s - b, c - b)),
    ("The sizes are right, the signs are not. A block that helps makes the error *smaller*: error before minus error "
     "after.", lambda *v: -np.array(_shapley(*v))),
    ("Your two values are swapped. `error['composition']` is the error of a model that *has* the composition, "
     "not of one that lost it.", lambda *v: _shapley(*v)[::-1]),
    ("You added the two orders. With two orders, the mean is half of that; then the values add up to `neither` "
     "minus `both`.", lambda *v: 2 * np.array(_shapley(*v))),
    ("Your values add up to zero, so there is nothing to share. A block that comes first meets a model with "
     "*neither* block: is that the error you start from?",
     lambda n, c, s, b: ((s - c) / 2, (c - s) / 2)),
    ("Right as shares of the whole. Give the values themselves, in eV/atom: they should add up to `neither` minus "
     "`both`, not to one.",
     *(lambda *v, whole=whole: whole * np.array(_shapley(*v)) / (v[0] - v[3]) for whole in (1, 100))),
    ("Half for each, whatever the blocks contribute? Look at what a block changes in each of the two orders.",
     lambda n, c, s, b: ((n - b) / 2, (n - b) / 2)),
    ("These are the errors that are left with one block alone. The contribution of a block is a difference of two "
     "errors.",
     lambda n, c, s, b: (c, s)),
    ("Those are the values of the example, whatever the errors are. Compute them from `error`.",
     lambda *v: (0.5, 0.2)),
    ("You took the size of each difference. Where the error *grows* when a block is added, the block does harm, and "
     "that counts against it.",
     lambda n, c, s, b: ((abs(n - c) + abs(s - b)) / 2, (abs(n - s) + abs(c - b)) / 2)),
    ("Both values are zero. Does no block change the error?", lambda *v: (0.0, 0.0)),
))  # fmt: skip

_PROBES = (
    ({"neither": 1.0, "composition": 0.4, "structure": 0.7, "both": 0.3},),
    ({"neither": 0.9, "composition": 0.75, "structure": 0.55, "both": 0.2},),
    ({"neither": 2.0, "composition": 1.5, "structure": 2.2, "both": 0.1},),
)


def _about_one_sharing(found: Found) -> str:
    (error,), value, _ = found.first()
    return (
        f"For the errors {error} your values are {np.round(value, 3).tolist()}, together {value.sum():.3f}; the whole "
        f"gain is {error['neither'] - error['both']:.3f}. Start with one order: neither, then one block, then both."
    )


_BY_HAND = (
    Number("composition first", 0.6, (
        ("That is the gain of the structure, if it comes first.", 0.3),
        ("That is the whole gain, of both blocks. How much comes with the first of them?", 0.7),
        ("That is the error with the composition alone. How large was it before?", 0.4),
        ("Count by how much the error gets *smaller*.", lambda gain: gain < 0),
        ("{value:g} is not right. How large is the error with neither block, and how large with the composition?",
         lambda gain: True),
    )),
    Number("composition second", 0.4, (
        ("That is the gain of the composition if it comes first. Which block does the model have already?", 0.6),
        ("That is the gain of the structure, after the composition. In this order the structure comes first.", 0.1),
        ("That is the error with both blocks. How large was it before the composition was added?", 0.3),
        ("That is the error with the structure alone. How large is it when the composition is added?", 0.7),
        ("Count by how much the error gets *smaller*.", lambda gain: gain < 0),
        ("{value:g} is not right. How large is the error with the structure alone, and how large with both?",
         lambda gain: True),
    )),
    Number("value of the composition", 0.5, (
        ("You added the two orders up. How many are there?", 1.0),
        ("That is one of the two orders. What is the other one?", 0.6, 0.4),
        ("That is the value of the structure.", 0.2),
        ("That is the whole gain, which both blocks share.", 0.7),
        ("{value:g} is not right. What does the composition contribute in each of the two orders?", lambda value: True),
    )),
)  # fmt: skip

check_shapley = asks(
    Function("shapley", _values(_shapley), _PROBES, _MISTAKEN_VALUES, _about_one_sharing, read=numbers(2)),
    on_paper=_BY_HAND,
    shows="What a block brings, averaged over both orders. The two values add up to all that the blocks bring "
    "together.",
)

check_importance_statements = asks(
    Judge("statements", {
        "adds up": (True, "Write the four differences in the two values one below the other. Which of the four "
         "errors cancel?"),
        "importances too": (False, "Compare the two sums in the table. In what order does a block come when only the "
         "other one is in place?"),
        "zero is ignorance": (False, "Think of two blocks with exactly the same numbers, and a model that reads only "
         "the first. What is the importance of the second, and what does it know?"),
        "this model": (True, "Which part of the measurement would change if another network had been trained on the "
         "same crystals?"),
        "structure is minor": (False, "The graph, too, holds the elements. And think of two polymorphs: "
         "which block alone tells them apart?"),
    }),
    shows="Both numbers describe what a model takes from its inputs. What is in the crystals is another question.",
)  # fmt: skip
