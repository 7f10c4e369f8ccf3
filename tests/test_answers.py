"""What the website is given of the checkers: right answers and hints are those that the checkers give themselves."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import answers
import jupytext
import numpy as np
import pytest
from conftest import ROOT

from course_lib.datasets import folds, load_dataset
from course_lib.teaching import checkers
from course_lib.teaching.checkers import attention, capstone, choosing, feature_dimensions, quests, task_weights
from course_lib.teaching.checkers.declarative import Choose, Judge, Number
from course_lib.teaching.checkers.feedback import Hint

CHECKS = {
    name: check
    for module in pkgutil.iter_modules(checkers.__path__)
    for name, check in vars(importlib.import_module(f"{checkers.__name__}.{module.name}")).items()
    if name.startswith("check_") and getattr(check, "on_page", ())
}
ANSWERS = answers.answers()
PARTS = [
    (name, part, given)
    for name, check in CHECKS.items()
    for part, given in zip(check.on_page, ANSWERS[name]["parts"], strict=True)
]
NUMBERS = [(part, given) for _, part, given in PARTS if isinstance(part, Number)]
CRYSTALS = load_dataset("pbe_prototypes")
LEARNED = CRYSTALS.iloc[folds(CRYSTALS)[0][0]]  # the training crystals of exercises 1 and 4
SPREADS = LEARNED[["formation_energy_per_atom", "band_gap"]].std(ddof=0).round(2)
(EXPECTED_SPREAD,) = answers._on_page("ex9_your_own_question.ipynb", r"expected spread from fold to fold: (\S+) ")
GAPS = CRYSTALS["band_gap"].dropna()
OF_PAGES = {  # numbers whose answers depend on the bundled crystals, or on what a page prints
    **{name: (check.question(CRYSTALS),) for name, check in vars(quests).items() if hasattr(check, "question")},
    "check_variants": feature_dimensions.variants_on_page(len(LEARNED)),
    "check_three_losses": task_weights.losses_on_page(*SPREADS),
    "check_claim": capstone.claim_on_page(EXPECTED_SPREAD, 5, GAPS),
}
for name, parts in OF_PAGES.items():
    given = zip(parts, ANSWERS[name]["parts"], strict=True)
    NUMBERS += [(part, asked) for part, asked in given if isinstance(part, Number)]


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
    assert set(ANSWERS) == {*CHECKS, *OF_PAGES, "check_report", "check_choices", "check_culprits"}
    assert sum(isinstance(part, Choose) for _, part, _ in PARTS) >= 20
    assert sum(isinstance(part, Judge) for _, part, _ in PARTS) >= 7
    assert len(NUMBERS) >= 12


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
    for _, part, given in PARTS:
        if isinstance(part, Judge):
            rows = {row["key"]: (row["truth"], row["hint"]) for row in given["statements"]}
            assert rows == dict(part.statements)
            assert [row["which"] for row in given["statements"]] == [part.which(key) for key in part.statements]
            assert all(hint[0].isupper() for _, hint in rows.values()), "it is a sentence without the key"


SINGLE = [(part, given) for part, given in NUMBERS if not isinstance(part.right, tuple)]


@pytest.mark.parametrize(("part", "given"), SINGLE, ids=[part.name for part, _ in SINGLE])
def test_the_number_that_is_shown_on_request_is_right(part, given):
    name, _, value = given["answer"].rpartition(" = ")
    assert name == part.name
    assert told(part, float(value)) is None


def test_what_right_answers_show_is_what_the_checker_says():
    """As soon as Python need not look at another part; what is worked out on paper has no such end."""
    assert ANSWERS["check_quest_7"]["shows"].startswith("13 % less, for 636 layered crystals.")
    assert ANSWERS["check_dimensions"]["shows"].startswith("145 + 256 = 401 inputs")
    assert ANSWERS["check_three_losses"]["shows"].startswith("Three losses that differ in one ratio.")
    assert {name for name, asked in ANSWERS.items() if not asked["shows"]} == {
        "check_variants",
        "check_claim",
        *(name for name, check in CHECKS.items() if check.on_page != getattr(check, "parts", ())),
    }


def test_the_report_is_judged_by_the_study_of_the_page():
    solution = (ROOT / "notebooks/ex9_your_own_question.py").read_text(encoding="utf-8")
    truths = dict(re.findall(r'^    "([a-z ]+)": (True|False),  # SOLUTION$', solution, flags=re.MULTILINE))
    (report,) = ANSWERS["check_report"]["parts"]
    assert {row["key"]: str(row["truth"]) for row in report["statements"]} == truths
    assert "with a claim of 0.08?" in report["legend"]
    assert "neither shown better" in ANSWERS["check_report"]["shows"]


def test_choices_are_those_of_the_checker():
    for _, part, given in PARTS:
        if isinstance(part, Choose):
            assert given["right"] == part.right
            assert given["hints"] == dict(part.hints)


def test_numbers_of_exercises_1_4_and_9_are_judged_by_what_their_pages_print():
    inverse = next(given for part, given in NUMBERS if part.name.startswith("inverse scale"))
    assert inverse["answer"] == f"inverse scale, gap's weight / energy's = {SPREADS.iloc[0] / SPREADS.iloc[1]:.4g}"
    n_crystals = next(given for part, given in NUMBERS if part.name == "n_crystals")
    assert told(OF_PAGES["check_variants"][2], 300) is on_the_page(n_crystals, 300) is None
    assert f"has {len(LEARNED)} crystals" in on_the_page(n_crystals, 2000)
    at_least = ANSWERS["check_claim"]["parts"][1]
    assert at_least["legend"] == "A number, in eV, with one comparison: at_least"
    effect = capstone.detectable(EXPECTED_SPREAD, 5, 1)
    assert on_the_page(at_least, 1.01 * effect) is None
    assert f"only a difference of {effect:.3g} is shown four times out of five" in on_the_page(at_least, 0.9 * effect)


def test_folds_get_the_hint_of_the_checker():
    claim = {"first": "cgcnn", "second": "random_forest", "comparisons": 1, "at_least": 0.08}
    for _, option, hint in options("check_claim"):
        feedback = capstone.check_claim(claim | {"folds": option}, EXPECTED_SPREAD, 5, GAPS)
        assert bool(feedback) == (not hint)
        assert hint in feedback.message
        assert feedback.answer == ("folds: formula" if hint else "")


def test_no_two_forms_of_a_page_have_one_name():
    """A screen reader tells them apart by the legend, which names what is asked."""
    for path in (ROOT / "notebooks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        called = [name for name in ANSWERS if re.search(rf"^(# )?{name}\(", text, flags=re.MULTILINE)]
        legends = [part["legend"] for name in called for part in ANSWERS[name]["parts"]]
        assert len(set(legends)) == len(legends), path.name
        for name in called:
            for part in ANSWERS[name]["parts"]:
                assert part["name"] in part["legend"] or "rows" in part or name == "check_report"


def options(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each row of a form, option and hint; every row has an option that is right."""
    (part,) = (part for part in ANSWERS[name]["parts"] if "rows" in part)
    for row in part["rows"]:
        assert "" in {option["hint"] for option in row["options"]}, row["key"]
        yield from ((row["key"], option["text"], option["hint"]) for option in row["options"])


def test_methods_and_reasons_get_the_hints_of_the_checker():
    runs, board = answers.evidence()
    right = choosing.first_right(choosing.choices_on_page(runs, board))
    for key, option, hint in options("check_choices"):
        situation, what = key.split(", ")
        method, reason = right[situation]
        choice = (option, reason) if what == "method" else (method, option)
        feedback = choosing.check_choices(right | {situation: choice}, runs, board)
        assert bool(feedback) == (not hint)
        assert hint in feedback.message
        assert feedback.answer == (ANSWERS["check_choices"]["parts"][0]["answer"] if hint else "")
    assert ANSWERS["check_choices"]["shows"].startswith("Three situations, three reasons.")


def test_promises_and_variables_get_the_hints_of_the_checker():
    for promise, option, hint in options("check_culprits"):
        culprits = {name: variable for name, variable in attention.CULPRITS.items() if name != promise}
        feedback = attention.check_culprits(culprits | ({} if option == "kept" else {promise: option}))
        assert bool(feedback) == (not hint)
        assert hint in feedback.message or option == "kept"
        assert feedback.answer == (ANSWERS["check_culprits"]["parts"][0]["answer"] if hint else "")
    assert ANSWERS["check_culprits"]["parts"][0]["answer"].endswith("supercell: summary; rest of the batch: weights")


# --- the statements of a page ---------------------------------------------------------------------------------------

JUDGED = {
    name: [row["key"] for part in asked["parts"] for row in part.get("statements", ())]
    for name, asked in ANSWERS.items()
    if "statements" in asked["parts"][-1]
}


def statements_of(page: str) -> dict[str, str]:
    """Return the words of each list item that begins with a name in code, as pages/_static/exercises.js finds them."""
    found = re.findall(r"^ *- `([^`]+)`:? (.+(?:\n +(?![- ]).+)*)", page, flags=re.MULTILINE)
    return {key.replace('"', ""): " ".join(words.split()) for key, words in found}


def test_statements_of_a_page_are_found():
    page = '1. Judge:\n   - `one`: is it\n     so?\n   - `"two"`: is it?\n\nNo list: `three`: no.'
    assert statements_of(page) == {"one": "is it so?", "two": "is it?"}


@pytest.mark.parametrize("name", JUDGED)
def test_each_statement_stands_on_its_page(name):
    """As a list item that begins with its key; without it the form on the website would show the key alone."""
    (path,) = (path for path in (ROOT / "notebooks").glob("*.py") if f"\n{name}(" in path.read_text(encoding="utf-8"))
    cells = jupytext.read(path).cells
    words = statements_of("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
    assert [key for key in JUDGED[name] if len(words.get(key, "")) < 30] == []


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
    letters = [part.right for _, part, _ in PARTS if isinstance(part, Choose)]
    assert min(letters.count(letter) for letter in "abc") > len(letters) / 5


def test_the_scripts_of_a_page_stay_small():
    """All that we wrote; others' scripts are in ``pages/_extra``."""
    scripts = [*ROOT.glob("pages/_static/*.js"), *ROOT.glob("course_lib/**/*.js")]
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in scripts}
    assert lines
    assert sum(lines.values()) < 300, lines
