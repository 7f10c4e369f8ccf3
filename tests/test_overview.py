"""The overview of notebooks and exercises on other pages says what the first cell of each says."""

from __future__ import annotations

import overview
import pytest

EXERCISE = """# Exercise 9: Counting

**Question.** How many
atoms are there?

**You need** notebooks 2, 3 and 4, and exercise 1 for intervals. **Difficulty:** hard. **Time to work:** 75 min.
**Time to run:** at most 90 s on two
cores.
"""


@pytest.fixture
def two_pages(monkeypatch):
    """An exercise that belongs to notebooks 2 and 3."""
    notebook = (
        "# {0}\n\n**Question.** What is {0}?\n\n**You need** patience. **Time to read:** 5 min. **Time to run:** 6 s."
    )
    pages = {f"0{n}_{name}": notebook.format(name) for n, name in ((1, "one"), (2, "two"))} | {"ex9_counting": EXERCISE}
    found = [overview.summarised(name, text) for name, text in pages.items()]
    monkeypatch.setattr(overview, "notebooks", lambda: found[:2])
    monkeypatch.setattr(overview, "exercises", lambda: found[2:])


def test_first_cell_of_an_exercise():
    found = overview.summarised("ex9_counting", EXERCISE)
    assert (found.number, found.title, found.question) == (9, "Counting", "How many atoms are there?")
    assert found.notebooks == [2, 3, 4]
    assert found.facts == {"Difficulty": "hard", "Time to work": "75 min", "Time to run": "90 s"}
    assert found.link == "../notebooks/ex9_counting.ipynb"


@pytest.mark.parametrize("part", ["Exercise 9: Counting", "**Question.**", "**Difficulty:**", "**Time to work:**"])
def test_incomplete_first_cell_is_named(part):
    with pytest.raises(ValueError, match=r"notebooks/ex9_counting\.py.*CONTRIBUTING\.md"):
        overview.summarised("ex9_counting", EXERCISE.replace(part, ""))


@pytest.mark.usefixtures("two_pages")
def test_card_shows_the_exercises_that_belong_to_its_notebook():
    first, second = overview.cards().split("::::{grid-item-card} ")[1:]
    assert first.startswith("1 · [one](../notebooks/01_one.ipynb)\n\nWhat is one?")
    assert "read 5 min, run 6 s\n:::" in first
    assert "exercise [9](../notebooks/ex9_counting.ipynb)" in second


@pytest.mark.usefixtures("two_pages")
def test_table_has_wrong_answers_where_there_are_some():
    assert overview.table([]).splitlines()[-1].endswith("| 2 and 3 and 4 | hard | 75 min |")
    assert overview.table(["9: a double count"]).splitlines()[-1].endswith("| 75 min | a double count |")


def test_wrong_answers_of_no_exercise_are_an_error():
    with pytest.raises(ValueError, match="exercise 99 does not exist"):
        overview.table(["99: a double count"])
