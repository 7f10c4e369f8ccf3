"""What the website is given of the checkers: right answers and hints are those that the checkers give themselves."""

from __future__ import annotations

import importlib
import pkgutil
import re

import answers
import numpy as np
import pytest
from conftest import ROOT

from course_lib.teaching import checkers
from course_lib.teaching.checkers.declarative import Choose, Judge, Number
from course_lib.teaching.checkers.feedback import Hint

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
        zip([part for part in CHECKS[name].parts if isinstance(part, answers.ON_THE_PAGE)], found, strict=True)
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
    assert sum(isinstance(part, Choose) for *_, part, _ in PARTS) >= 20
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


def test_choices_are_those_of_the_checker():
    for _, _, part, given in PARTS:
        if isinstance(part, Choose):
            assert given["right"] == part.right
            assert given["hints"] == dict(part.hints)


# --- Check yourself ------------------------------------------------------------------------------------------------

QUESTIONS = {
    path.name: text[text.index("# ## Check yourself") :]
    for path in sorted((ROOT / "notebooks").glob("*.py"))
    if "check_yourself_" in (text := path.read_text(encoding="utf-8"))
}


def test_each_checker_of_questions_belongs_to_a_notebook():
    called = {re.search(r"check_yourself_\d+(?=\()", text)[0] for text in QUESTIONS.values()}
    assert called == {name for name in CHECKS if name.startswith("check_yourself")}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_notebook_lists_what_the_checker_asks_for(name):
    """One question for each part, with the letters of its answers; and the reasons for all in a fold."""
    text = re.sub("^# ?", "", QUESTIONS[name].partition("# %%")[0], flags=re.MULTILINE)
    asked, _, reasons = text.partition("<details><summary>Answers</summary>")
    call = re.search(r"^(check_yourself_\d+)\((.*)\)$", asked, flags=re.MULTILINE)
    parts = CHECKS[call[1]].parts
    questions = re.split(r"^\d+\. ", asked, flags=re.MULTILINE)[1:]
    assert len(questions) == len(parts) == call[2].count("...")
    assert len(re.findall(r"^\d+\. ", reasons.partition("</details>")[0], flags=re.MULTILINE)) == len(parts)
    for question, part in zip(questions, parts, strict=True):
        letters = re.findall(r"^   - `(\w)` ", question, flags=re.MULTILINE)
        assert letters == (sorted([part.right, *part.hints]) if isinstance(part, Choose) else [])


def test_right_answers_are_not_always_in_one_place():
    letters = [part.right for *_, part, _ in PARTS if isinstance(part, Choose)]
    assert min(letters.count(letter) for letter in "abc") > len(letters) / 5
