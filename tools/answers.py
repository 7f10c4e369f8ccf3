"""Give the website what exercises, quests and *Check yourself* ask for; a Sphinx extension.

The checkers (`course_lib.teaching.checkers`) hold right answers, known mistakes and their hints. Statements, choices
and numbers, which can be checked without Python, are written to ``_static/answers.js`` of the website, for
``pages/_static/exercises.js``, with what the checker says once all is right: one source for both.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from sphinx.application import Sphinx

from course_lib.datasets import DATA, folds, load_dataset
from course_lib.experiments.analysis import with_late_fusion
from course_lib.experiments.records import load_results
from course_lib.methods import compared
from course_lib.teaching import checkers
from course_lib.teaching.checkers import attention, capstone, choosing, feature_dimensions, task_weights
from course_lib.teaching.checkers.declarative import Choose, Judge, Match, Number

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_STUDY = "ex9_your_own_question.ipynb"
_NOT_YET = "Not yet. Work it out once more; the checker in the notebook says more about a number like this one."


def answers() -> dict[str, dict]:
    """Return what the page asks for, by the checker's name: ``parts`` that need no Python, and what it ``shows``."""
    crystals = load_dataset("pbe_prototypes")
    found = {
        "check_report": _report(),
        "check_claim": _claim(crystals["band_gap"].dropna()),
        "check_three_losses": _three_losses(),
        "check_variants": _without_end(feature_dimensions.variants_on_page(len(folds(crystals)[0][0]))),
        "check_choices": _choices(),
        "check_culprits": _culprits(),
    }
    for module in pkgutil.iter_modules(checkers.__path__):
        for name, check in vars(importlib.import_module(f"{checkers.__name__}.{module.name}")).items():
            if name.startswith("check_") and (question := getattr(check, "question", None)):
                number = question(crystals)
                found[name] = {"parts": [_as_json(number)], "shows": check(number.right, crystals).message}
            elif name.startswith("check_") and (parts := getattr(check, "on_page", ())):
                complete = parts == getattr(check, "parts", None)
                shows = check(*(part.right for part in parts)).message if complete else ""
                found[name] = {"parts": [_as_json(part) for part in parts], "shows": shows}
    return found


def _on_page(notebook: str, pattern: str) -> tuple[float, ...]:
    """Return the numbers that this pattern finds in what a notebook prints, or else in its code."""
    cells = [cell for cell in nbformat.read(NOTEBOOKS / notebook, as_version=4).cells if cell.cell_type == "code"]
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    return tuple(map(float, re.search(pattern, "\n".join([printed, *(cell.source for cell in cells)])).groups()))


def _without_end(parts: Iterable[Number | Match]) -> dict:
    """Return parts of a checker that looks at more than the page asks for, so that nothing follows at the end."""
    return {"parts": [_as_json(part) for part in parts], "shows": ""}


def _claim(targets: pd.Series) -> dict:
    """Return what the claim of exercise 9 can be asked without Python, with the spread that the page prints."""
    (spread,) = _on_page(_STUDY, r"expected spread from fold to fold: (\S+) ")
    claim = _without_end(capstone.claim_on_page(spread, 5, targets))
    claim["parts"][1]["legend"] = "A number, in eV, with one comparison: at_least"
    return claim


def _three_losses() -> dict:
    """Return the weights of exercise 4, for the spreads that the page prints."""
    spreads = _on_page("ex4_task_weights.ipynb", r"spread: (\S+) eV/atom and (\S+) eV")
    parts = task_weights.losses_on_page(*spreads)
    targets = np.outer([1, -1], spreads)  # two crystals with these spreads
    right = {"one each": (1, 1), "inverse scale": spreads[::-1], "gap in meV": (1, 1000)}
    shows = task_weights.check_three_losses(right, targets, targets).message
    return {"parts": [_as_json(part) for part in parts], "shows": shows}


def _report() -> dict:
    """Return the statements of exercise 9, whose truth depends on a study: on the one that the page shows."""
    mean, low, high = _on_page(_STUDY, r"minus .*: (\S+), from (\S+) to (\S+) ")
    (claimed,) = _on_page(_STUDY, r'"at_least": (\d[\d.]*)')
    judge = capstone.judged_report(low, high, claimed)
    legend = f"True or false, by the interval of this page, from {low:g} to {high:g}, with a claim of {claimed:g}?"
    shows = capstone.check_report(judge.right, (mean, low, high), claimed).message
    return {"parts": [_as_json(judge) | {"legend": legend}], "shows": shows}


def evidence() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the recorded runs and the leaderboard that the page of exercise 5 shows."""
    crystals = load_dataset("pbe_prototypes")
    target = "formation_energy_per_atom"
    runs = with_late_fusion(load_results(crystals=crystals, target=target, methods=compared()), crystals[target])
    return runs, pd.read_csv(DATA / "matbench_leaderboard.csv", index_col="model")


def _choices() -> dict:
    """Return the choices of exercise 5, which depend on the evidence."""
    runs, board = evidence()
    choices = choosing.choices_on_page(runs, board)
    shows = choosing.check_choices(choosing.first_right(choices), runs, board).message
    return {"parts": [_as_json(choices)], "shows": shows}


def _culprits() -> dict:
    """Return the promises of exercise 6, each with the variables to choose from."""
    shows = attention.check_culprits(attention.CULPRITS).message
    return {"parts": [_as_json(attention.culprits_on_page())], "shows": shows}


def _as_json(part: Judge | Choose | Number | Match) -> dict:
    common = {"name": part.name, "answer": part.answer}
    if isinstance(part, Choose):
        return common | {"legend": f"Your answer to {part.name}", "right": part.right, "hints": dict(part.hints)}
    if isinstance(part, Match):
        rows = [
            {"key": row, "options": [{"text": option, "hint": hint} for option, hint in options.items()]}
            for row, options in part.rows.items()
        ]
        return common | {"legend": part.legend, "rows": rows}
    if isinstance(part, Judge):
        rows = [
            {"key": key, "truth": truth, "hint": hint, "which": part.which(key)}
            for key, (truth, hint) in part.statements.items()
        ]
        return common | {"legend": f"True or false: {part.name}", "statements": rows}
    return common | {
        "legend": f"A number: {part.name}",
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
