"""Give the website what exercises, quests and *Check yourself* ask for; a Sphinx extension.

The checkers (`course_lib.teaching.checkers`) hold right answers, known mistakes and their hints. Statements, choices
and numbers, which can be checked without Python, are written to ``_static/answers.js`` of the website, for
``pages/_static/exercises.js``: one source for both.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sphinx.application import Sphinx

from course_lib.teaching import checkers
from course_lib.teaching.checkers.declarative import Choose, Judge, Number

ON_THE_PAGE = Judge | Choose | Number
"""The parts of a checker that need no Python."""
_NOT_YET = "Not yet. Work it out once more; the checker in the notebook says more about a number like this one."


def answers() -> dict[str, list[dict]]:
    """Return the parts of each checker that need no Python, by the checker's name."""
    found = {}
    for module in pkgutil.iter_modules(checkers.__path__):
        for name, check in vars(importlib.import_module(f"{checkers.__name__}.{module.name}")).items():
            parts = [_as_json(part) for part in getattr(check, "parts", ()) if isinstance(part, ON_THE_PAGE)]
            if name.startswith("check_") and parts:
                found[name] = parts
    return found


def _as_json(part: Judge | Choose | Number) -> dict:
    if isinstance(part, Choose):
        return {"name": part.name, "right": part.right, "hints": dict(part.hints)}
    if isinstance(part, Judge):
        rows = [{"key": key, "truth": truth, "hint": hint} for key, (truth, hint) in part.statements.items()]
        return {"name": part.name, "statements": rows}
    return {
        "name": part.name,
        "ranges": [_range(part.right, part.atol)],
        "mistakes": [
            {
                "hint": _NOT_YET if callable(hint) else hint,
                "ranges": [one for wrong in wrongs for one in _ranges(wrong, part.atol)],
            }
            for hint, *wrongs in part.mistakes
        ],
    }


def _range(wanted: float | tuple[float, float], atol: float) -> tuple[float, float]:
    """Return the range in which a number counts as the right one."""
    return wanted if isinstance(wanted, tuple) else (wanted - atol, wanted + atol)


def _ranges(wanted: float | tuple[float, float] | Callable[[float], bool], atol: float) -> list[tuple[float, float]]:
    """Return the ranges of numbers that are meant; those of a function are found by trying."""
    if not callable(wanted):
        return [_range(wanted, atol)]
    grid = np.geomspace(1e-6, 1e9, 3001)
    grid = np.concatenate([-grid[::-1], [0.0], grid])
    inside = np.array([bool(wanted(float(value))) for value in grid])
    first = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
    last = np.flatnonzero(inside & ~np.concatenate([inside[1:], [False]]))
    return [
        (
            -1e300 if start == 0 else _edge(wanted, grid[start - 1], grid[start]),
            1e300 if end == len(grid) - 1 else _edge(wanted, grid[end + 1], grid[end]),
        )
        for start, end in zip(first, last, strict=True)
    ]


def _edge(wanted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the last matching number between one that matches and one that does not."""
    for _ in range(80):
        middle = (outside + inside) / 2
        outside, inside = (outside, middle) if wanted(float(middle)) else (middle, inside)
    return float(inside)


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        text = json.dumps(answers(), ensure_ascii=False)
        Path(app.outdir, "_static", "answers.js").write_text(f"window.ANSWERS = {text};\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.add_js_file("answers.js", priority=400)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
