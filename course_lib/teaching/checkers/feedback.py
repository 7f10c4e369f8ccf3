"""What all checkers share: the feedback that a notebook shows, and safe ways to look at an answer.

A checker is a function that returns what a right answer has shown, and raises `Hint` where the answer is not right.
`checker` turns it into one that returns `Feedback` in every case. Answers are looked at only through the functions
below, which turn whatever a learner hands over into plain numbers, or into a hint.
"""

from __future__ import annotations

import copy
import html
import inspect
import math
import re
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple

import numpy as np

_CUT = " …"  # stands for the rest of a long text
_WIDTH = 88  # characters in a line of plain text; a page of the website has as many
_LEADS = {"right": ("✓", "Right."), "hint": ("→", "Not yet."), "unfinished": ("…", "Not done yet.")}
_COLORS = {"right": "#009e73", "hint": "#d95f02", "unfinished": "#8c8c8c"}


@dataclass(frozen=True)
class Feedback:
    """What a checker says; true where the answer is right.

    Attributes
    ----------
    state : "right", "hint" or "unfinished"
        How far the answer is.
    message : str
        What it has shown, or what to think about next. Code stands between backticks, emphasis between asterisks.
    """

    state: str
    message: str

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        sign, lead = _LEADS[self.state]
        return textwrap.fill(f"{sign} {lead} {self.message}", _WIDTH, break_long_words=False, break_on_hyphens=False)

    def _repr_html_(self) -> str:
        """Return what JupyterLab and the website show; the words, not the colour, say how it stands."""
        lead = _LEADS[self.state][1]
        pieces = html.escape(self.message).split("`")  # every second one is code
        pieces[::2] = [re.sub(r"\*(\S.*?)\*", r"<em>\1</em>", piece) for piece in pieces[::2]]
        pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
        message = "".join(pieces)
        style = f"border-left: 4px solid {_COLORS[self.state]}; padding: 0.3em 0.9em; margin: 0.4em 0"
        return f'<div class="feedback" style="{style}"><strong>{lead}</strong> {message}</div>'


class Hint(Exception):
    """Raised in a checker where an answer is not right: what to think about next."""


class Unfinished(Hint):
    """Raised in a checker where there is no answer yet."""


def checker(check: Callable[..., str]) -> Callable[..., Feedback]:
    """Let `check` return `Feedback`: its message where it returns, the hint where it raises one."""

    @wraps(check)
    def checked(*answers, **named_answers) -> Feedback:
        try:
            return Feedback("right", check(*answers, **named_answers))
        except Unfinished as reason:
            return Feedback("unfinished", str(reason))
        except Hint as hint:
            return Feedback("hint", str(hint))

    return checked


# --- looking at an answer -----------------------------------------------------------------------------------------


def finished(answer: object, name: str) -> None:
    """Raise `Unfinished` where the answer is still the stub's ``...``, holds it, or is nothing at all."""
    if answer is ... or answer is None or (isinstance(answer, list | tuple) and any(item is ... for item in answer)):
        raise Unfinished(f"Put your answer for `{name}` in the place of the dots.")


def as_array(answer: object, name: str, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """Return the answer as an array of finite floats.

    Parameters
    ----------
    answer : object
        Anything.
    name : str
        What the answer is called in the notebook.
    shape : tuple or None
        How many numbers it has along each axis, None for any number; ``()`` for a single number. None for any shape.

    Raises
    ------
    Hint
        Where it is no such array.
    """
    finished(answer, name)
    wanted = _describe_shape(shape)
    if isinstance(answer, str | bytes):
        raise Hint(f"`{name}` is the text {_short(answer)}. Give {wanted}, without quotes.")
    if isinstance(answer, bool | np.bool_):
        raise Hint(f"`{name}` is {answer}. Give {wanted}.")
    if callable(answer):
        raise Hint(f"`{name}` is a function. Call it, and give what it returns: {wanted}.")
    array = _to_floats(answer)
    if array is None:
        raise Hint(f"`{name}` is {_kind(answer)} that cannot be read as numbers. Give {wanted}.")
    if shape == () and array.size == 1:  # a tensor or list of one number is a number
        array = array.reshape(())
    if shape is not None and not _fits(array.shape, shape):
        raise Hint(
            f"`{name}` has the shape {array.shape}, where {wanted} {'are' if len(shape) == 1 else 'is'} asked for."
        )
    if not np.isfinite(array).all():
        raise Hint(f"`{name}` holds {_first_strange(array)}. Is something divided by zero, or a value missing?")
    return array


def as_number(answer: object, name: str) -> float:
    """Return the answer as a finite float; raise `Hint` where it is none."""
    return float(as_array(answer, name, ()))


def _to_floats(answer: object) -> np.ndarray | None:
    if hasattr(answer, "detach"):  # a tensor with a gradient
        answer = answer.detach()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.asarray(answer)
            if array.dtype.kind == "c" or array.dtype.kind in "SU":
                return None
            return array.astype(float)
    except Exception:  # the answer's own class may do anything
        return None


def _first_strange(array: np.ndarray) -> str:
    value = array[~np.isfinite(array)].flat[0]
    return "NaN, which is not a number" if math.isnan(value) else "infinity"


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(m in (None, n) for n, m in zip(found, wanted, strict=True))


def _describe_shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "an array of numbers"
    if not shape:
        return "one number"
    if len(shape) == 1:
        return f"{shape[0]} numbers in a row" if shape[0] else "numbers in a row"
    return "an array of shape (" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


def as_dict(answer: object, name: str) -> dict:
    """Return the answer if it is a dict; raise `Hint` where it is none."""
    finished(answer, name)
    if not isinstance(answer, Mapping):
        raise Hint(f"`{name}` is {_kind(answer)}. Keep the dict of the stub, with its keys, and fill in the values.")
    return dict(answer)


def same_keys(answer: Mapping, name: str, keys: Iterable) -> None:
    """Raise `Hint` unless the dict has exactly these keys."""
    keys = list(keys)
    missing = [key for key in keys if key not in answer]
    extra = [key for key in answer if key not in keys]
    if missing:
        raise Hint(f"`{name}` lacks the key {_short(missing[0])}. Keep all keys of the stub.")
    if extra:
        raise Hint(f"`{name}` has the key {_short(extra[0])}, which nobody asked for. Take it out.")


class Statement(NamedTuple):
    """A statement to judge: whether it is true, and what to think about for those who judge it wrongly."""

    truth: bool
    hint: str


def judged(answer: object, name: str, statements: Mapping[str, Statement]) -> None:
    """Raise `Hint` at the first statement that is judged wrongly.

    Parameters
    ----------
    answer : object
        Should be a dict of True and False by statement.
    name : str
        What the answer is called in the notebook.
    statements : mapping of str to Statement
        By the key that the answer has for it.
    """
    judgements = as_dict(answer, name)
    same_keys(judgements, name, statements)
    for key, value in judgements.items():
        if value is ... or value is None:
            raise Unfinished(f"Statement {key!r} waits for your True or False.")
        if not isinstance(value, bool | np.bool_):
            unquoted = ", without quotes" if isinstance(value, str) else ""
            raise Hint(f"Statement {key!r} has the answer {_short(value)}. Say True or False{unquoted}.")
    wrong = [key for key, statement in statements.items() if bool(judgements[key]) != statement.truth]
    if wrong:
        count = f"{len(statements) - len(wrong)} of {len(statements)} are right. "
        raise Hint(f"{count}Think again about {wrong[0]!r}: {statements[wrong[0]].hint}")


def judge(name: str, statements: Mapping[str, Statement], message: str) -> Callable[[object], Feedback]:
    """Return a checker of a dict of True and False by statement, which names the first that is judged wrongly.

    Parameters
    ----------
    name : str
        What the answer is called in the notebook.
    statements : mapping of str to Statement
        By the key that the answer has for it.
    message : str
        What the right answer shows.
    """

    @checker
    def check(answer: object) -> str:
        judged(answer, name, statements)
        return message

    return check


# --- calling a learner's function -----------------------------------------------------------------------------------


def call(function: object, name: str, *arguments: object) -> object:
    """Call a learner's function with copies of the arguments, and return what it returns.

    Raises
    ------
    Unfinished
        Where it returns nothing, or ``...``, or says that it is not implemented.
    Hint
        Where it is not a function, takes other arguments, or stops with an error, which the hint then tells.
    """
    finished(function, name)
    if not callable(function):
        raise Hint(f"`{name}` is {_kind(function)}; a function is asked for. Keep the stub's `def {name}(...)` line.")
    _check_arguments(function, name, len(arguments))
    shown = _call_text(name, arguments)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            returned = function(*copy.deepcopy(arguments))
    except NotImplementedError:
        raise Unfinished(f"Write the body of `{name}`.") from None
    except Exception as error:
        where = _failing_line(function, error)
        raise Hint(
            f"`{shown}` stopped with {type(error).__name__}: {_short(str(error), 160).rstrip('.')}{where}"
        ) from None
    if returned is ...:
        raise Unfinished(f"Write the body of `{name}`, in the place of the dots.")
    if returned is None:
        raise Unfinished(f"`{name}` returns nothing yet. Write its body, and end it with `return`.")
    return returned


def _check_arguments(function: Callable, name: str, count: int) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        raise Hint(
            f"`{name}` should take {count} argument{'s' if count > 1 else ''}, but yours is `{name}{signature}`. "
            "Keep the first line of the stub."
        ) from None


def _failing_line(function: Callable, error: Exception) -> str:
    """Return where in the learner's own code the error arose, as the end of a sentence."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename and frame.line]
    return f", in the line `{own[-1].line}`." if own else "."


def number_from(function: object, name: str, *arguments: object) -> float:
    """Call a learner's function and return the number that it returns; see `call` and `as_number`."""
    return as_number(call(function, name, *arguments), _call_text(name, arguments))


def array_from(function: object, name: str, shape: tuple[int | None, ...] | None, *arguments: object) -> np.ndarray:
    """Call a learner's function and return the array that it returns; see `call` and `as_array`."""
    return as_array(call(function, name, *arguments), f"{name}(...)", shape)


# --- recognising mistakes -----------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """A typical wrong answer and the hint that leads on from it.

    Attributes
    ----------
    answer : float, array or function
        What a learner with this misunderstanding gives; where a function is asked for, that function.
    hint : str
        What to think about.
    """

    answer: object
    hint: str


def recognise(value: object, mistakes: Sequence[Mistake], rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """Raise the hint of the first mistake whose answer is `value`, a number or an array."""
    for mistake in mistakes:
        if close(value, mistake.answer, rtol, atol):
            raise Hint(mistake.hint)


def recognise_function(
    values: Sequence, probes: Sequence[tuple], mistakes: Sequence[Mistake], rtol: float = 1e-6, atol: float = 1e-9
) -> None:
    """Raise the hint of the first mistaken function that gives all of `values` at the `probes`.

    Parameters
    ----------
    values : sequence of float or array
        What the learner's function returned for each probe.
    probes : sequence of tuple
        The arguments.
    mistakes : sequence of Mistake
        Their answers are functions of the same arguments; what is not finite there matches nothing.
    rtol, atol : float
        As in ``numpy.isclose``.
    """
    for mistake in mistakes:
        with np.errstate(all="ignore"):
            theirs = [mistake.answer(*probe) for probe in probes]
        if all(close(value, wrong, rtol, atol) for value, wrong in zip(values, theirs, strict=True)):
            raise Hint(mistake.hint)


def close(value: object, other: object, rtol: float = 1e-6, atol: float = 1e-9) -> bool:
    """Return whether two numbers or arrays are equal up to rounding, and of one shape."""
    value, other = np.asarray(value, dtype=float), np.asarray(other, dtype=float)
    return value.shape == other.shape and bool(np.isclose(value, other, rtol, atol).all())


def first_wrong(
    probes: Sequence, values: Sequence, right: Sequence, rtol: float = 1e-6, atol: float = 1e-9
) -> tuple[object, object, object]:
    """Return the first probe at which the value is not the right one, with both: an example for a hint.

    Parameters
    ----------
    probes : sequence
        What the function was called with.
    values, right : sequence of float or array
        What the learner's function returned for each probe, and what it should; they differ somewhere.
    rtol, atol : float
        As in ``numpy.isclose``.

    Returns
    -------
    tuple
        The probe, the value and the right value.
    """
    cases = zip(probes, values, right, strict=True)
    return next(case for case in cases if not close(case[1], case[2], rtol, atol))


# --- words ----------------------------------------------------------------------------------------------------------


def _call_text(name: str, arguments: Iterable) -> str:
    """Return a call as it would be written in Python, with dots for arguments that are long."""
    texts = map(_short, arguments)
    return f"{name}({', '.join('...' if text.endswith(_CUT.strip()) else text for text in texts)})"


def _short(value: object, width: int = 60) -> str:
    """Return a value as it would be written in Python, in one line, cut where it is long."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    try:
        text = value if isinstance(value, str) and width > 60 else repr(value)
    except Exception:  # the learner's own class may do anything
        text = f"a {type(value).__name__}"
    return textwrap.shorten(" ".join(text.split()), width, placeholder=_CUT)


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
