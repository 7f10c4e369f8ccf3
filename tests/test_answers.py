"""What the website is given of the checkers: right answers and hints are those that the checkers give themselves."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest

from course_lib.teaching import checkers
from course_lib.teaching.checkers.declarative import Judge, Number
from course_lib.teaching.checkers.feedback import Hint

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import answers

CHECKS = {
    name: check
    for module in pkgutil.iter_modules(checkers.__path__)
    for name, check in vars(importlib.import_module(f"{checkers.__name__}.{module.name}")).items()
    if name.startswith("check_") and hasattr(check, "parts")
}
PARTS = [
    (name, number, part, given)
    for name, found in answers.answers().items()
    for number, (part, given) in enumerate(
        zip([part for part in CHECKS[name].parts if isinstance(part, Judge | Number)], found, strict=True)
    )
]
NUMBERS = [(part, given) for _, _, part, given in PARTS if isinstance(part, Number)]


def told(part: Number, value: float) -> str | None:
    """Return the checker's hint for a number, None where it is right."""
    try:
        part.check(value)
    except Hint as hint:
        return str(hint)
    return None


def on_the_page(given: dict, value: float) -> str | None:
    """Return what the page would say of a number, None where it is right; as pages/_static/exercises.js does."""

    def within(ranges):
        return any(low <= value <= high for low, high in ranges)

    if within(given["ranges"]):
        return None
    hint = next(mistake["hint"] for mistake in given["mistakes"] if within(mistake["ranges"]))
    return hint.format(value=value)


def test_every_statement_and_number_is_given():
    assert sum(isinstance(part, Judge) for *_, part, _ in PARTS) >= 7
    assert len(NUMBERS) >= 7


@pytest.mark.parametrize(("part", "given"), NUMBERS, ids=[part.name for part, _ in NUMBERS])
def test_numbers_get_the_hints_of_the_checker(part, given):
    """For known mistakes and a thousand other numbers; only hints that are made of the number itself may differ."""
    rng = np.random.default_rng(0)
    values = [wrong for wrong, _ in part.known] + [*rng.normal(0, 3, 500), *np.geomspace(1e-3, 1e6, 300), 0.0, -1.0]
    same = 0
    for value in map(float, values):
        expected, found = told(part, value), on_the_page(given, value)
        assert (expected is None) == (found is None), value
        if found not in (None, answers._NOT_YET) and "100 times too large" not in expected and "digit" not in expected:
            assert found == expected, value
            same += 1
    assert same > 20 or any(callable(hint) for hint, *_ in part.mistakes)


def test_statements_are_those_of_the_checker():
    for _, _, part, given in PARTS:
        if isinstance(part, Judge):
            rows = {row["key"]: (row["truth"], row["hint"]) for row in given["statements"]}
            assert rows == dict(part.statements)
