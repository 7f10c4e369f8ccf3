"""Checkers as data: statements to judge, answers to choose, numbers to find, functions to write.

`asks` makes a checker of parts, one for each argument: `Judge`, `Choose`, `Number` and `Function`. A part holds the
right answer and the known mistakes, each with its hint, and nothing else; how an answer is compared with them is
written here, once. Its `right` is an answer that must be accepted, its `known` lists wrong ones with the hint that
each must get: the test of the exercises draws from both. A hint carries what is right, for those who ask for it next:
the part's `answer`, or a call with what a `Function` should return. What needs no Python, all but `Function`, is asked
on the website as well (`tools/answers.py`). `Match` is for the website alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from course_lib.teaching.checkers.feedback import (
    Feedback,
    Hint,
    Unfinished,
    as_array,
    as_dict,
    as_number,
    call,
    call_text,
    checker,
    close,
    finished,
    kind_of,
    short,
)

Mistakes = Sequence[tuple]
"""Known mistakes: tuples of a hint and one or more wrong answers that deserve it."""


class Part(Protocol):
    """One of the answers that a checker looks at."""

    @property
    def right(self) -> object:
        """A right answer."""

    @property
    def known(self) -> list[tuple[object, str]]:
        """Wrong answers, each with what its hint says."""

    def check(self, answer: object) -> object:
        """Return the answer in a form that the message can use; raise `Hint` where it is not right."""


def asks(*parts: Part, shows: str | Callable[..., str], on_paper: Sequence[Part] = ()) -> Callable[..., Feedback]:
    """Return a checker that looks at one answer for each part, in order, and stops at the first that is not right.

    Parameters
    ----------
    *parts : Part
        What is asked.
    shows : str or callable
        What right answers show: a text, or a function that makes it of what the parts return.
    on_paper : sequence of Part
        What the task asks for with pencil and paper, before the parts: only the website has a form for it.
    """

    @checker
    def check(*answers: object) -> str:
        found = [part.check(answer) for part, answer in zip(parts, answers, strict=True)]
        return shows(*found) if callable(shows) else shows

    check.parts = parts
    check.on_page = (*on_paper, *(part for part in parts if isinstance(part, Judge | Choose | Number)))
    return check


def asks_of_crystals(
    question: Callable[[pd.DataFrame], Part], shows: Callable[[object, pd.DataFrame], str]
) -> Callable[..., Feedback]:
    """Return a checker of an answer that depends on crystals: it takes the answer and the crystals.

    Parameters
    ----------
    question : callable
        Makes the question of the crystals.
    shows : callable
        Makes the text about a right answer of what the question returns and the crystals.
    """

    @checker
    def check(answer: object, crystals: pd.DataFrame) -> str:
        return shows(question(crystals).check(answer), crystals)

    check.question = question
    return check


# --- statements -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Statements to judge as true or false.

    A hint counts those that are right and asks a question about the first that is judged wrongly. Which one that is
    would give its answer away, so that comes on request only.

    Attributes
    ----------
    name : str
        What the answer, a dict of True and False by statement, is called in the notebook.
    statements : mapping of str to (bool, str)
        By the key in the answer: whether it is true, and what those who judge it wrongly are asked: a sentence that can
        be understood without the key.
    """

    name: str
    statements: Mapping[str, tuple[bool, str]]

    @property
    def right(self) -> dict[str, bool]:
        """Return the right judgements."""
        return {key: truth for key, (truth, _) in self.statements.items()}

    @property
    def answer(self) -> str:
        """Return the right judgements as a text."""
        return ", ".join(f"{key}: {truth}" for key, truth in self.right.items())

    @staticmethod
    def which(key: str) -> str:
        """Return what is said of the statement that is judged wrongly, for those who ask which one it is."""
        return f"Think again about “{key}”."

    @property
    def known(self) -> list[tuple[dict[str, bool], str]]:
        """Return, for each statement, the judgements of which only this one is wrong."""
        return [(self.right | {key: not truth}, hint) for key, (truth, hint) in self.statements.items()]

    def check(self, answer: object) -> dict[str, bool]:
        """Return the judgements; raise `Hint` where one is wrong."""
        judgements = as_dict(answer, self.name)
        same_keys(judgements, self.name, self.statements)
        for key, value in judgements.items():
            if value is ... or value is None:
                raise Unfinished(f"Statement {key!r} waits for your True or False.")
            if not isinstance(value, bool | np.bool_):
                unquoted = ", without quotes" if isinstance(value, str) else ""
                raise Hint(f"Statement {key!r} has the answer {short(value)}. Say True or False{unquoted}.")
        wrong = [key for key, (truth, _) in self.statements.items() if bool(judgements[key]) != truth]
        if wrong:
            count = f"{len(self.statements) - len(wrong)} of {len(self.statements)} are right. "
            raise Hint(count + self.statements[wrong[0]][1], self.answer, self.which(wrong[0]))
        return judgements


@dataclass(frozen=True)
class Choose:
    """One answer to choose of several that the notebook lists, each with its letter.

    Attributes
    ----------
    name : str
        What the question is called.
    right : str
        The letter of the right answer.
    hints : mapping of str to str
        By the letter of each wrong answer: what to think about for those who choose it.
    """

    name: str
    right: str
    hints: Mapping[str, str]

    @property
    def answer(self) -> str:
        """Return the right letter as a text."""
        return f"{self.right} is right. The reason is in the fold below the questions."

    @property
    def known(self) -> list[tuple[str, str]]:
        """Return the letters of the wrong answers."""
        return list(self.hints.items())

    def check(self, answer: object) -> str:
        """Return the letter; raise `Hint` where it is not the right one."""
        finished(answer, self.name)
        letters = sorted([self.right, *self.hints])
        if not isinstance(answer, str) or answer not in letters:
            raise Hint(f"`{self.name}` is {short(answer)}. Give one of the letters {', '.join(map(repr, letters))}.")
        if answer != self.right:
            raise Hint(f"Think again about {self.name}: {self.hints[answer]}", self.answer)
        return answer


@dataclass(frozen=True)
class Match:
    """An option to choose in each row of a form; only the website asks for it, in the notebook the answer is a dict.

    Attributes
    ----------
    name : str
        What the answer is called in the notebook.
    legend : str
        What the form asks for.
    rows : mapping of str to mapping of str to str
        By row and option: what to think about for those who choose it; empty where the option is right.
    """

    name: str
    legend: str
    rows: Mapping[str, Mapping[str, str]]

    @property
    def right(self) -> dict[str, list[str]]:
        """Return the right options of each row."""
        return {row: [option for option, hint in options.items() if not hint] for row, options in self.rows.items()}

    @property
    def answer(self) -> str:
        """Return the right options as a text."""
        return "; ".join(f"{row}: {' or '.join(options)}" for row, options in self.right.items())


def same_keys(answer: Mapping, name: str, keys: Mapping) -> None:
    """Raise `Hint` unless the dict has exactly these keys."""
    missing = [key for key in keys if key not in answer]
    extra = [key for key in answer if key not in keys]
    if missing:
        raise Hint(f"`{name}` lacks the key {short(missing[0])}. Keep all keys of the stub.")
    if extra:
        raise Hint(f"`{name}` has the key {short(extra[0])}, which is not in the stub. Remove it.")


# --- numbers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A number to find.

    Attributes
    ----------
    name : str
        What the answer is called in the notebook.
    right : float or (float, float)
        The right answer, or the range in which it may lie.
    mistakes : sequence of (str, float or callable, ...)
        Hints, each with the wrong answers that get it: values, or functions that say whether a number is meant. A
        hint may hold ``{value:g}``, or be a function of the number. The first that fits is shown, so the last one may
        fit everything else.
    atol : float
        By how much the answer, and a known mistake, may differ from the number given here.
    """

    name: str
    right: float | tuple[float, float]
    mistakes: Mistakes
    atol: float = 5e-3

    @property
    def answer(self) -> str:
        """Return the right number as a text; nothing where a whole range is right."""
        if isinstance(self.right, tuple):
            return ""
        return f"{self.name} = {self.right:{'.0f' if float(self.right).is_integer() else '.4g'}}"

    @property
    def known(self) -> list[tuple[float, str]]:
        """Return the mistakes that are values."""
        return [(wrong, hint) for hint, *answers in self.mistakes for wrong in answers if not callable(wrong)]

    def check(self, answer: object) -> float:
        """Return the number; raise `Hint` where it is not right."""
        value = as_number(answer, self.name)
        if self._is(value, self.right):
            return value
        told = next(hint for hint, *answers in self.mistakes if any(self._is(value, wrong) for wrong in answers))
        general = callable(told) or "{" in told
        if general and not isinstance(self.right, tuple):
            _common(self.name, self.answer, [np.asarray(value)], [np.asarray(self.right)], 100 * self.atol)
        raise Hint(told(value) if callable(told) else told.format(value=value), self.answer)

    def _is(self, value: float, wanted: float | tuple[float, float] | Callable[[float], bool]) -> bool:
        if isinstance(wanted, tuple):
            return wanted[0] <= value <= wanted[1]
        return wanted(value) if callable(wanted) else abs(value - wanted) <= self.atol + 1e-6 * abs(wanted)


def _common(name: str, answer: str, values: list[np.ndarray], right: list[np.ndarray], atol: float = 1e-9) -> None:
    """Raise `Hint` for an answer that is right except for rounding, or for being in percent."""
    if all(close(value, 100 * wanted, atol=atol) for value, wanted in zip(values, right, strict=True)):
        raise Hint(f"`{name}` is 100 times too large: right in percent. Give the number itself.", answer)
    if all(value.size == 1 and value == values[0] for value in values) and len(values) > 1:
        return  # one number whatever is asked
    for digits in range(6, 0, -1):
        if all(close(value, np.round(wanted, digits)) for value, wanted in zip(values, right, strict=True)):
            raise Hint(
                f"`{name}` is right to {digits} {'digit' if digits == 1 else 'digits'} after the decimal point. Do you "
                "round, or try values in steps? Give more digits, as the formula gives them.",
                answer,
            )


# --- functions ------------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a learner's function returned for the probes, and what it should have: they differ somewhere."""

    probes: Sequence[tuple]
    values: list[np.ndarray]
    right: list[np.ndarray]

    def first(self, atol: float = 1e-9, rtol: float = 1e-6) -> tuple[tuple, np.ndarray, np.ndarray]:
        """Return the first probe at which the value is not the right one, with both: an example for a hint."""
        cases = zip(self.probes, self.values, self.right, strict=True)
        return next(case for case in cases if not close(case[1], case[2], rtol, atol))


Reader = Callable[[object, str], np.ndarray]
"""Turns what a function returned into an array, or raises `Hint`; the text is the call."""


def one_number(returned: object, shown: str) -> np.ndarray:
    """Read one number."""
    return np.asarray(as_number(returned, shown))


def numbers(*shape: int | None) -> Reader:
    """Return what reads numbers of this shape."""
    return lambda returned, shown: as_array(returned, without_arguments(shown), shape)


def without_arguments(shown: str) -> str:
    """Return a call as text with dots for its arguments."""
    return f"{shown.partition('(')[0]}(...)"


def instead(read: Reader, told: str) -> Reader:
    """Return what reads like `read`, and raises `told` where that would raise another hint."""

    def read_or_tell(returned: object, shown: str) -> np.ndarray:
        try:
            return read(returned, shown)
        except Hint:
            raise Hint(told) from None

    return read_or_tell


def numpy_array(returned: object, shown: str) -> np.ndarray:
    """Read a NumPy array of any shape, which the next cells need, and nothing that only looks like one."""
    name = without_arguments(shown)
    array = as_array(returned, name, None)
    if array.ndim and not isinstance(returned, np.ndarray):
        raise Hint(f"`{name}` is {kind_of(returned)}. The next cells need a NumPy array: `np.array(...)` makes one.")
    return array


def yes_or_no(returned: object, shown: str) -> np.ndarray:
    """Read True or False."""
    if getattr(returned, "shape", None) == ():  # a tensor or array of one value
        returned = returned.item()
    if not isinstance(returned, bool | np.bool_):
        raise Hint(f"`{without_arguments(shown)}` is {kind_of(returned)}. It should answer yes or no: True or False.")
    return np.asarray(float(returned))


@dataclass(frozen=True)
class Function:
    """A function to write, compared with a reference at some probes.

    Attributes
    ----------
    name : str
        What it is called in the notebook.
    right : callable
        The reference.
    probes : sequence of tuple, or callable that makes it
        The arguments of each call.
    mistakes : sequence of (str, callable, ...)
        Hints, each with the mistaken functions that deserve it: what returns the same for all probes gets the hint.
    otherwise : callable
        ``otherwise(found) -> hint`` for what is none of these.
    read : callable
        Turns what one call returned into an array, or raises `Hint`.
    also : tuple of callable
        Other references that are accepted as well.
    rtol, atol : float
        As in ``numpy.isclose``.
    then : Function, optional
        More that the same function must do, looked at once all this is right.
    lead : str
        How the hint starts where a call fails.
    """

    name: str
    right: Callable
    probes: Sequence[tuple] | Callable[[], Sequence[tuple]]
    mistakes: Mistakes
    otherwise: Callable[[Found], str]
    read: Reader = one_number
    also: tuple[Callable, ...] = ()
    rtol: float = 1e-6
    atol: float = 1e-9
    then: Function | None = None
    lead: str = ""

    @property
    def known(self) -> list[tuple[Callable, str]]:
        """Return the mistaken functions."""
        own = [(wrong, hint) for hint, *answers in self.mistakes for wrong in answers]
        return own + (self.then.known if self.then else [])

    def check(self, answer: object) -> list[np.ndarray]:
        """Return what the function returned for each probe; raise `Hint` where it is not right."""
        probes = self.probes() if callable(self.probes) else self.probes
        values = [self._returned(answer, probe) for probe in probes]
        if not any(self._same(values, probes, one) for one in (self.right, *self.also)):
            right = [self._at(self.right, probe) for probe in probes]
            example = self._example(Found(probes, values, right))
            for hint, *answers in self.mistakes:
                if any(self._same(values, probes, wrong) for wrong in answers):
                    raise Hint(hint, example)
            _common(f"{self.name}(...)", example, values, right)
            raise Hint(self.otherwise(Found(probes, values, right)), example)
        if self.then:
            self.then.check(answer)
        return values

    def _example(self, found: Found) -> str:
        """Return the first call that is not right with what it should give; nothing where it is long to write."""
        probe, _, _ = found.first(self.atol, self.rtol)
        shown = call_text(self.name, probe)
        if "..." in shown:
            return ""
        right = np.asarray(self.right(*copy.deepcopy(probe)))
        if right.dtype.kind == "f":
            right = np.vectorize(lambda number: float(f"{number:.6g}"))(right)
        told = short(right)
        return "" if told.endswith("…") else f"{shown} should be {told}."

    def _returned(self, answer: object, probe: tuple) -> np.ndarray:
        try:
            return self.read(call(answer, self.name, *probe), call_text(self.name, probe))
        except Unfinished:
            raise
        except Hint as hint:
            raise Hint(f"{self.lead}{hint}") from None

    def _at(self, function: Callable, probe: tuple) -> np.ndarray | None:
        """Return what one of our own functions gives at a probe; None where that is not an answer at all."""
        with np.errstate(all="ignore"):
            try:
                return self.read(function(*copy.deepcopy(probe)), call_text(self.name, probe))
            except Hint:
                return None

    def _same(self, values: list[np.ndarray], probes: Sequence[tuple], function: Callable) -> bool:
        for value, probe in zip(values, probes, strict=True):
            theirs = self._at(function, probe)
            if theirs is None or not close(value, theirs, self.rtol, self.atol):
                return False
        return True
