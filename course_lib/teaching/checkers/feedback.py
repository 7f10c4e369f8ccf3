"""What all checkers share: the feedback that a notebook shows, and safe ways to look at an answer.

A checker is a function that returns what a right answer has shown, and raises `Hint` where the answer is not right.
`checker` turns it into one that returns `Feedback` in every case. Answers are looked at only through the functions
below, which turn whatever a learner hands over into plain numbers, or into a hint. Most checkers are made of the parts
in `course_lib.teaching.checkers.declarative`, which are data.
"""

from __future__ import annotations

import copy
import dis
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
        What it has shown, or what to think about next. Code is in backticks, emphasis in asterisks.
    answer : str, default ""
        What is right, where a hint can be followed by that. JupyterLab shows it on request, in a fold.
    which : str, default ""
        Which of several answers is wrong, where the hint does not say that. It is shown on request, before `answer`.
    """

    state: str
    message: str
    answer: str = ""
    which: str = ""

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        sign, lead = _LEADS[self.state]
        return textwrap.fill(f"{sign} {lead} {self.message}", _WIDTH, break_long_words=False, break_on_hyphens=False)

    def _repr_html_(self) -> str:
        """Return what JupyterLab and the website show; the words, not the colour, say how far the answer is."""
        lead = _LEADS[self.state][1]
        pieces = html.escape(self.message).split("`")  # every second one is code
        pieces[::2] = [re.sub(r"\*(\S.*?)\*", r"<em>\1</em>", piece) for piece in pieces[::2]]
        pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
        message = "".join(pieces)
        style = f"border-left: 4px solid {_COLORS[self.state]}; padding: 0.3em 0.9em; margin: 0.4em 0"
        fold = ""
        for summary, text in (("Show the answer", self.answer), ("Show which one", self.which)):
            if text:
                fold = f"<details><summary>{summary}</summary>{html.escape(text)}{fold}</details>"
        return f'<div class="feedback" style="{style}"><strong>{lead}</strong> {message}{fold}</div>'


class Hint(Exception):
    """Raised in a checker where an answer is not right: what to think about next.

    Parameters
    ----------
    message : str
        The hint.
    answer : str, default ""
        What is right, for those who ask for it after the hint.
    which : str, default ""
        Which of several answers is wrong, for those who ask for that first.
    """

    def __init__(self, message: str, answer: str = "", which: str = ""):
        super().__init__(message)
        self.answer = answer
        self.which = which


class Unfinished(Hint):
    """Raised in a checker where no answer is given yet."""


def checker(check: Callable[..., str]) -> Callable[..., Feedback]:
    """Let `check` return `Feedback`: its message where it returns, the hint where it raises one."""

    @wraps(check)
    def checked(*answers, **named_answers) -> Feedback:
        try:
            return Feedback("right", check(*answers, **named_answers))
        except Unfinished as reason:
            return Feedback("unfinished", str(reason))
        except Hint as hint:
            return Feedback("hint", str(hint), hint.answer, hint.which)

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
        Where the answer is not such an array.
    """
    finished(answer, name)
    wanted = _describe_shape(shape)
    if isinstance(answer, str | bytes):
        raise Hint(f"`{name}` is the text {short(answer)}. Give {wanted}, without quotes.")
    if isinstance(answer, bool | np.bool_):
        raise Hint(f"`{name}` is {answer}. Give {wanted}.")
    if hasattr(answer, "to_numpy") and np.ndim(answer) > 1:
        raise Hint(f"`{name}` is {kind_of(answer)}. The next cells need the plain numbers: add `.to_numpy()`.")
    if callable(answer):
        raise Hint(f"`{name}` is a function. Call it, and give what it returns: {wanted}.")
    array = _to_floats(answer)
    if array is None:
        raise Hint(f"`{name}` is {kind_of(answer)} that cannot be read as numbers. Give {wanted}.")
    if shape == () and array.size == 1 and array.ndim:
        raise Hint(f"`{name}` is {kind_of(answer)} with one number in it. Give the number itself, without brackets.")
    if shape is not None and not _fits(array.shape, shape):
        raise Hint(
            f"`{name}` has the shape {array.shape}, where {wanted} {'are' if len(shape) == 1 else 'is'} asked for."
        )
    if not np.isfinite(array).all():
        raise Hint(f"`{name}` holds {_first_strange(array)}. Is something divided by zero, or a value missing?")
    return array


def as_number(answer: object, name: str) -> float:
    """Return the answer as a finite float; raise `Hint` where it is not one."""
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
    """Return the answer if it is a dict; raise `Hint` where it is another kind of thing."""
    finished(answer, name)
    if not isinstance(answer, Mapping):
        raise Hint(f"`{name}` is {kind_of(answer)}. Keep the dict of the stub, with its keys, and fill in the values.")
    return dict(answer)


# --- calling a learner's function -----------------------------------------------------------------------------------


def call(function: object, name: str, *arguments: object) -> object:
    """Call a learner's function with copies of the arguments, and return what it returns.

    Raises
    ------
    Unfinished
        Where it returns nothing, or ``...``, or says that it is not implemented.
    Hint
        Where it is not a function, takes other arguments, or stops with an error, which the hint then shows.
    """
    finished(function, name)
    if not callable(function):
        raise Hint(f"`{name}` is {kind_of(function)}, not a function. Keep the stub's `def {name}(...)` line.")
    _check_arguments(function, name, len(arguments))
    shown = call_text(name, arguments)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            returned = function(*copy.deepcopy(arguments))
    except Exception as error:
        if isinstance(error, NotImplementedError) and _is_own(function, error):
            raise Unfinished(f"Write the body of `{name}`.") from None
        where = _failing_line(function, error)
        raise Hint(
            f"`{shown}` stopped with {type(error).__name__}: {short(str(error), 160).rstrip('.')}{where}"
        ) from None
    if returned is ...:
        raise Unfinished(f"Write the body of `{name}`, in the place of the dots.")
    if returned is None and _has_body(function):
        raise Hint(f"`{shown}` returns nothing. Is a `return` missing, or not reached in this case?")
    if returned is None:
        raise Unfinished(f"`{name}` returns nothing yet. Write its body, and end it with `return`.")
    return returned


def _check_arguments(function: Callable, name: str, count: int) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        raise Hint(
            f"`{name}` should take {count} argument{'s' if count > 1 else ''}, but yours is `{name}{signature}`. "
            "Keep the first line of the stub."
        ) from None


def _has_body(function: Callable) -> bool:
    """Return whether a function does anything beyond the docstring and the dots of a stub."""
    code = getattr(function, "__code__", None)
    stub = ("RESUME", "LOAD_CONST", "RETURN", "NOP")
    return code is None or not all(step.opname.startswith(stub) for step in dis.get_instructions(code))


def _is_own(function: Callable, error: Exception) -> bool:
    """Return whether the learner's own code raised the error, not a library that it calls."""
    code = getattr(function, "__code__", None)
    return code is None or traceback.extract_tb(error.__traceback__)[-1].filename == code.co_filename


def _failing_line(function: Callable, error: Exception) -> str:
    """Return where in the learner's own code the error arose, as the end of a sentence."""
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename and frame.line]
    return f", in the line `{own[-1].line}`." if own else "."


# --- comparing -------------------------------------------------------------------------------------------------------


def close(value: object, other: object, rtol: float = 1e-6, atol: float = 1e-9) -> bool:
    """Return whether two numbers or arrays are equal up to rounding, and of one shape."""
    value, other = np.asarray(value, dtype=float), np.asarray(other, dtype=float)
    return value.shape == other.shape and bool(np.isclose(value, other, rtol, atol).all())


# --- words ----------------------------------------------------------------------------------------------------------


def call_text(name: str, arguments: Iterable) -> str:
    """Return a call as it would be written in Python, with dots for arguments that are long."""
    texts = map(short, arguments)
    return f"{name}({', '.join('...' if text.endswith(_CUT.strip()) else text for text in texts)})"


def listed(words: Sequence[str]) -> str:
    """Return words with commas between them, and "and" before the last: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def short(value: object, width: int = 60) -> str:
    """Return a value as it would be written in Python, in one line, cut where it is long."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    try:
        text = value if isinstance(value, str) and width > 60 else repr(value)
    except Exception:  # the learner's own class may do anything
        text = f"a {type(value).__name__}"
    return textwrap.shorten(" ".join(text.split()), width, placeholder=_CUT)


def kind_of(value: object) -> str:
    """Return the name of a value's type with its article."""
    name = {"ndarray": "NumPy array"}.get(type(value).__name__, type(value).__name__)
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
