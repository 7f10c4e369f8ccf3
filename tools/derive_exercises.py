"""Derive from an exercise's source what is shown and what is handed out, so that stub and solution cannot drift apart.

``notebooks/exN_topic.py`` is the only source of an exercise, and it holds the solutions. Two notebooks come from it,
both written by ``make notebooks`` (`tools/run_notebooks.py`), both committed:

``notebooks/exN_topic.ipynb``
    The page of the website, with outputs. Each task has its statement, the stub and what the checker says to it, the
    hints, and the folded solution and what the checker says to that. It is run from top to bottom like every notebook:
    the stub first, then the solution, which takes the stub's place. nbval runs it again; where the checker no longer
    accepts the solution, the stored output differs, and nbval fails (tag ``nbval-check-output``).
``notebooks/exercises/exN_topic.ipynb``
    The learner's copy: statements, stubs, checkers and hints, without solutions and outputs. nbval runs it, so no
    stub and no cell after it may stop with an error. The page links to it, and the page's download and launch buttons
    lead to it (``pages/_static/learner_copy.js``).

``tests/test_exercises.py`` derives both again and compares.

How to write an exercise
------------------------
A task is a row of cells with these tags, in this order (``# %% tags=["answer"]``):

``task``
    Markdown. A heading, then the numbered tasks. On the page the text is in a box.
``answer``
    Code: the solution. What the learner writes is marked as in Otter Assign. A line ``name = value  # SOLUTION``
    becomes ``name = ...``, and so does an entry of a dict; the lines from ``# BEGIN SOLUTION`` to
    ``# END SOLUTION``, each on a line of its own, become ``...  # your code``. All else stays: the names, the first
    line of a function and its docstring say what the learner has to write.
``check``
    Code: one call of a checker, ``check_topic(answer)``, as the cell's value.
``hint``
    Markdown, one or more, each ``<details><summary>Hint 1</summary> ... </details>``, which unfolds in JupyterLab too.
``after``
    Markdown or code, any number: what follows from a right answer, such as a figure or a training run with it. On the
    page it is folded with the solution, which it would give away. In the learner's copy it runs after an unfinished
    stub, too, so it asks first: ``if check_topic(answer): ...``. That is also how a long training run waits until there
    is something to train.
``solution``
    Markdown or code, any number: what to say and to show about the solution, in the fold and on the page only. Claims
    about what a solution shows are asserted here: a learner who makes another choice may rightly see something else.

All other cells stay as they are, in both notebooks, and use no answer. In the learner's copy, links and citations are
written so that JupyterLab can show them. The comment ``# NBVAL_CHECK_OUTPUT`` stays on the page only.

Checkers live in ``course_lib/teaching/checkers``, one module for each exercise. Most are data: `asks` makes a checker
of the parts `Judge` (statements), `Number` and `Function`, each of which holds the right answer and the known mistakes
with their hints (`course_lib.teaching.checkers.declarative`). All look at an answer only through `as_number`,
`as_array`, `call`, ..., so that nothing that a learner hands over ends in a traceback. A hint says what the answer
would mean, or asks the question that leads on; it never gives the answer away and never says only "wrong". The test
asks each checker with all that its tables hold, and, written by hand, with the solution, the unfinished stub and wrong
answers of other kinds; each must get a hint of its own. It hands every checker a list of absurd answers, too.

After a change: ``make notebooks NB=exN_topic RECORD_TIMES=1``. ``CONTRIBUTING.md`` says what a new exercise needs.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from pybtex.database import BibliographyData, parse_file

ROOT = Path(__file__).resolve().parent.parent

ROLES = ("task", "answer", "check", "hint", "after", "solution")
_FOLDED = ("hint", "after", "solution")  # the last of these in a row ends a task
COPIES = "exercises"  # folder of the learner's copies, below that of the pages

_BLOCK = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION(\n|\Z)", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r'^(?P<name>[ \t]*(?:"[^"]*": |[^=#\n]+ = ))(?P<value>.+?)(?P<comma>,?)  # SOLUTION$', re.MULTILINE)
_MARKER = re.compile(r"^[ \t]*# (?:BEGIN|END) SOLUTION\n?", re.MULTILINE)
_LINK = re.compile(r"\]\((?!ex\d)(\w+\.ipynb)\)")  # to a notebook that is not an exercise
_CITATION = re.compile(r"\{cite:([tp])\}`([^`]+)`")
_ORDER = re.compile(r"(task answer check (hint )+((after|solution) )*)*")

_PAGE_NOTE = """\
```{{admonition}} Your copy
:class: tip
{{download}}`{name}.ipynb <{folder}/{name}.ipynb>` has the tasks without the solutions. `make lab` puts it in
`work/{folder}`; on Binder and Colab it is in `notebooks/{folder}`. This page shows what the checkers say to the
empty stubs and, below each task, its solution, folded.
```"""

_COPY_NOTE = """\
**How it works.** Put your answer wherever you see `...`, run the cell, and run the cell below it: it says that the
answer is right and what it shows, or it gives a hint. As often as you like. More hints unfold below each task. The
solutions are on the website's page of this exercise."""


def is_exercise(notebook: NotebookNode) -> bool:
    """Return whether a source has tasks; all others stay as they are."""
    return any(_role(cell) for cell in notebook.cells)


def page(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return the notebook that the website shows: stub and solution of each task, with a checker after each.

    Parameters
    ----------
    notebook : NotebookNode
        The source. What has no tasks comes back unchanged.
    name : str
        Its file name without suffix.

    Raises
    ------
    ValueError
        If the cells of a task are not in order, or a marker has no partner.
    """
    if not is_exercise(notebook):
        return notebook
    _check_order(notebook)
    shown = [notebook.cells[0], nbformat.v4.new_markdown_cell(_PAGE_NOTE.format(name=name, folder=COPIES))]
    tasks = 0
    for cell, following in zip(notebook.cells[1:], [*notebook.cells[2:], None], strict=True):
        role = _role(cell)
        if role == "task":
            tasks += 1
            label = f"{name.replace('_', '-')}-task-{tasks}"
            shown.append(_boxed(cell, label))
        elif role == "answer":
            answer = _with_source(cell, without_markers(cell.source))
            shown.append(_with_source(cell, stub(cell.source)))
        elif role == "check":
            check, rest = cell, []
            shown.append(_checked(cell))
        elif role in ("after", "solution"):
            rest.append(cell)
        else:
            shown.append(cell)
        if role in _FOLDED and (following is None or _role(following) not in _FOLDED):
            start = nbformat.v4.new_markdown_cell(f"```{{solution-start}} {label}\n:class: dropdown\n```")
            end = nbformat.v4.new_markdown_cell("```{solution-end}\n```")
            shown += [start, answer, _checked(check), *rest, end]
    return _with_cells(notebook, [_without_role(cell) for cell in shown])


def learners_copy(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook that the learner works in: no solutions, no outputs, no metadata but the kernel's.

    Raises
    ------
    ValueError
        As for `page`, and for a citation that is not in ``pages/references.bib``.
    """
    _check_order(notebook)
    note = nbformat.v4.new_markdown_cell(_COPY_NOTE)
    cells = [cell for cell in (notebook.cells[0], note, *notebook.cells[1:]) if _role(cell) != "solution"]
    given = []
    for number, cell in enumerate(cells):
        source = stub(cell.source) if _role(cell) == "answer" else cell.source
        source = source.removeprefix("# NBVAL_CHECK_OUTPUT\n")
        if cell.cell_type == "code":
            new = nbformat.v4.new_code_cell
        else:
            new = nbformat.v4.new_markdown_cell
            source = _LINK.sub(r"](../\1)", source)  # the copies of the other exercises are in the same folder
            source = _CITATION.sub(_author_and_year, source)  # JupyterLab shows roles as they are written
        given.append(new(source, id=f"cell-{number}"))
    return _with_cells(notebook, given)


def stub(solution: str) -> str:
    """Return a cell's code with what the learner has to write taken out."""
    emptied = _BLOCK.sub(r"\1...  # your code\n", solution)
    emptied = _LINE.sub(r"\g<name>...\g<comma>  # your answer", emptied)
    if "SOLUTION" in emptied:
        line = next(line for line in emptied.splitlines() if "SOLUTION" in line)
        raise ValueError(f"a marker that cannot be read: {line!r}. See the docstring of tools/derive_exercises.py.")
    if emptied == solution:
        raise ValueError(f"an answer in which nothing is marked as the solution: {solution.splitlines()[0]!r}")
    return emptied.rstrip("\n")


def without_markers(solution: str) -> str:
    """Return a cell's code as the page shows the solution."""
    return re.sub(r"  # SOLUTION$", "", _MARKER.sub("", solution), flags=re.MULTILINE).rstrip("\n")


def _role(cell: NotebookNode) -> str | None:
    return next((tag for tag in cell.metadata.get("tags", []) if tag in ROLES), None)


def _check_order(notebook: NotebookNode) -> None:
    roles = [role for cell in notebook.cells if (role := _role(cell))]
    if _role(notebook.cells[0]):
        raise ValueError("the first cell is a task; begin with a title and what the exercise is about.")
    if not _ORDER.fullmatch("".join(f"{role} " for role in roles)):
        raise ValueError(
            f"the tagged cells are {', '.join(roles)}. Each task needs: task, answer, check, hint (one or more), then "
            "after and solution where there is something to show."
        )
    for cell, following in pairwise(notebook.cells):
        if not _role(cell) and _role(following) in ROLES[1:]:
            raise ValueError(f"a cell without a tag inside a task: {cell.source[:60]!r}")
    for cell in notebook.cells:
        heading = re.search("^#.*", cell.source, re.MULTILINE)
        if _role(cell) in _FOLDED and cell.cell_type == "markdown" and heading:
            raise ValueError(f"a heading in what is folded, where Sphinx allows none: {heading[0]!r}. Use bold text.")


def _boxed(task: NotebookNode, label: str) -> NotebookNode:
    """Return a statement as sphinx-exercise's box, which the folded solution refers to."""
    heading, _, text = task.source.partition("\n")
    if not heading.startswith("#"):
        raise ValueError(f"a task without a heading: {heading!r}")
    box = f"````{{exercise}}\n:label: {label}\n:nonumber:\n\n{text.strip()}\n````"
    return _with_source(task, f"{heading}\n\n{box}")


def _checked(check: NotebookNode) -> NotebookNode:
    """Return a checker's call whose output nbval compares with the stored one."""
    check = copy.deepcopy(check)
    check.metadata.tags = [*check.metadata.tags, "nbval-check-output"]
    return check


@cache
def _references() -> BibliographyData:
    return parse_file(ROOT / "pages" / "references.bib")


def _author_and_year(citation: re.Match) -> str:
    """Return what the website's citation says, such as "Cherin and Unger (1967)" or "(Cherin and Unger, 1967)"."""
    works = []
    for key in citation[2].split(","):
        if key.strip() not in _references().entries:
            raise ValueError(f"{citation[0]} cites {key.strip()!r}, which is not in pages/references.bib.")
        entry = _references().entries[key.strip()]
        names = [" ".join(map(str, (*one.rich_prelast_names, *one.rich_last_names))) for one in entry.persons["author"]]
        authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        year = entry.fields["year"]
        works.append(f"{authors} ({year})" if citation[1] == "t" else f"{authors}, {year}")
    return ", ".join(works) if citation[1] == "t" else f"({'; '.join(works)})"


def _with_source(cell: NotebookNode, source: str) -> NotebookNode:
    cell = copy.deepcopy(cell)
    cell.source = source
    return cell


def _without_role(cell: NotebookNode) -> NotebookNode:
    cell = copy.deepcopy(cell)
    cell.metadata.tags = [tag for tag in cell.metadata.get("tags", []) if tag not in ROLES]
    if not cell.metadata.tags:
        del cell.metadata["tags"]
    cell.id = nbformat.v4.new_markdown_cell().id  # a cell shown twice is two cells
    return cell


def _with_cells(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    notebook = copy.copy(notebook)
    notebook.metadata = nbformat.from_dict({"kernelspec": notebook.metadata["kernelspec"]})
    notebook.cells = cells
    return notebook
