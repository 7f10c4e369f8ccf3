"""Show the notebooks and the exercises on other pages, from what the first cell of each says; a Sphinx extension.

``{notebook-cards}`` shows a card for each notebook. ``{exercise-table}`` shows a row for each exercise; lines
``1: text`` in the directive add a column of typical wrong answers. So a new notebook or exercise appears on the pages
without an edit there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@dataclass(frozen=True)
class Summary:
    """What the first cell of a notebook or an exercise says about it."""

    name: str
    number: int
    title: str
    question: str
    needs: str
    facts: dict[str, str]

    @property
    def link(self) -> str:
        """The address of its page, from a page in ``pages/``."""
        return f"../notebooks/{self.name}.ipynb"

    @property
    def notebooks(self) -> list[int]:
        """The notebooks that it needs, by number."""
        listed = re.search(r"notebooks? (\d(?:(?:, | and )\d)*)", self.needs)
        return [int(number) for number in re.findall(r"\d", listed[1])] if listed else []


def summary(name: str) -> Summary:
    """Read the first cell of a stored notebook.

    Raises
    ------
    ValueError
        If the cell lacks the title, the question, or a fact that `FACTS` names for this kind of page.
    """
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return summarised(name, "".join(cells[0]["source"]))


FACTS = {"notebook": ("Time to read", "Time to run"), "exercise": ("Difficulty", "Time to work", "Time to run")}


def summarised(name: str, text: str) -> Summary:
    """Return what the first cell of a page says, as `summary`, which reads it."""
    kind = "exercise" if name.startswith("ex") else "notebook"
    parts = {
        "title": re.match(r"# (?:Exercise \d+: )?(.+)", text),
        "question": re.search(r"\*\*Question\.\*\* (.+?)\n\n", text, re.DOTALL),
        "needs": re.search(r"\*\*You need\*\* (.+?)\.", text, re.DOTALL),
    }
    for fact in FACTS[kind]:
        parts[fact] = re.search(rf"\*\*{fact}:\*\* (?:at most )?([\w ]+?)(?: on two\s+cores)?\.", text)
    if missing := [part for part, found in parts.items() if not found]:
        raise ValueError(f"notebooks/{name}.py: its first cell does not say {', '.join(missing)}; see CONTRIBUTING.md.")
    title, question, needs, *facts = (" ".join(found[1].split()) for found in parts.values())
    number = int(re.match(r"(?:ex)?(\d+)", name)[1])
    return Summary(name, number, title, question, needs, dict(zip(FACTS[kind], facts, strict=True)))


def summaries(pattern: str) -> list[Summary]:
    """Return the summaries of all pages whose source matches, by number."""
    return sorted((summary(path.stem) for path in NOTEBOOKS.glob(pattern)), key=lambda one: one.number)


def notebooks() -> list[Summary]:
    """Return the summaries of the notebooks, which have a number of two digits."""
    return summaries("[0-9][0-9]_*.py")


def exercises() -> list[Summary]:
    """Return the summaries of the exercises."""
    return summaries("ex[0-9]*.py")


def cards() -> str:
    """Return a card for each notebook in MyST Markdown: question, times, and the exercises that belong to it."""
    tasks = exercises()
    lines = [":::::{grid} 1 2 2 3", ":gutter: 3", ""]
    for one in notebooks():
        links = [f"[{task.number}]({task.link})" for task in tasks if one.number in task.notebooks]
        word = "exercise" if len(links) == 1 else "exercises"
        lines += [
            f"::::{{grid-item-card}} {one.number} · [{one.title}]({one.link})", "", one.question, ":::{card-footer}",
            f"read {one.facts['Time to read']}, run {one.facts['Time to run']}" + (" \\" if links else ""),
            *([f"{word} {' and '.join(links)}"] if links else []), ":::", "::::", "",
        ]  # fmt: skip
    return "\n".join([*lines, ":::::"])


def table(wrong_answers: list[str]) -> str:
    """Return a table of the exercises in MyST Markdown.

    Parameters
    ----------
    wrong_answers : list of str
        ``1: text`` for exercise 1; without any, the table has no column for them.

    Raises
    ------
    ValueError
        If a line names an exercise that does not exist.
    """
    texts = {int(number): text.strip() for number, _, text in (line.partition(":") for line in wrong_answers)}
    found = exercises()
    if unknown := texts.keys() - {one.number for one in found}:
        raise ValueError(f"exercise-table: exercise {min(unknown)} does not exist; remove or correct its line.")
    header = ["exercise", "with notebook", "difficulty", "time to work"]
    rows = [
        [
            f"{one.number}&nbsp;· [{one.title}]({one.link})",
            " and ".join(map(str, one.notebooks)),
            one.facts["Difficulty"],
            one.facts["Time to work"],
        ]
        for one in found
    ]
    if texts:
        header.append("typical wrong answers, each with its own hint")
        rows = [[*row, texts.get(one.number, "")] for row, one in zip(rows, found, strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


class _Written(SphinxDirective):
    """A directive that is replaced by the Markdown that `written` returns."""

    has_content = True

    def written(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        parent = nodes.Element()
        lines = StringList(self.written().splitlines(), source=self.get_source_info()[0])
        self.state.nested_parse(lines, self.content_offset, parent)
        return parent.children


class _Cards(_Written):
    def written(self) -> str:
        return cards()


class _Table(_Written):
    def written(self) -> str:
        return table(list(self.content))


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx the directives."""
    app.add_directive("notebook-cards", _Cards)
    app.add_directive("exercise-table", _Table)
    return {"parallel_read_safe": True}
