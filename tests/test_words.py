"""Words and turns that the course replaces by plainer ones, on pages, in messages, docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from conftest import ROOT

# What to write is on the right. Only what can be searched without false alarms is here.
INSTEAD = {
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\b(?:rows?|vectors?|messages?|neighbours|dots?|marks?|markers?|files?|trainings?|bars?|ms) an? "
    r"(?:crystal|atom|fold|method|formula|training|run|process|array|structure|row)\b(?! has)": "one row per crystal",
    r"\b(?:crystals|pairs|steps|edges|bytes) an? (?:second|atom|edge|bond)\b(?! has)": "crystals per second",
    r"\b(?:is|are) no (?:numbers?|elements?|pymatgen|group|method|compound|ratio|proof|property)\b": "is not a",
    r"\bhighest rate\b": "peak learning rate",
    r"\bpull\w* .{0,20}\btowards zero\b": "weight decay",
    r"\bfirst weights\b": "initial weights",
    r"\brandom starts?\b": "initial weights, seed",
    r"\bprocessor time\b": "CPU time",
    r"\bcrystals (?:there are )?to learn from\b": "training crystals",
    r"\blearned from (?:these|few|fewer|far|them|all)\b": "trained on",
    r"\b(?:short|long) (?:numbers|ones)\b": "low precision, full precision",
    r"\bheat at room temperature\b": "thermal energy at room temperature",
    r"\bhears?\b": "receives messages from",
    r"\blistens? to\b": "receives messages from, uses",
    r"\balike\b": "equivalent, in the same way",
    r"\bturn(?:s|ed)? (?:it |them |the two |two |one of these )?round\b": "reverse, change the sign",
    r"\b(?:tear|tears|tearing) \w+ apart\b": "split polymorphs across folds",
    r"\bdoubtful\b": "suspect",
    r"\bowes?\b": "attribution",
    r"\banew\b": "again",
    r"\bbeside (?:it|them)\b": "alongside",
    r"\bbehind (?:each|one an)other\b": "concatenated",
    r"\bwhile you wait\b": "a live cell",
    r"\b(?:it is told|is said to|are said to)\b": "we say; the docs state",
    r"\bneighbouring columns\b": "adjacent columns",
    r"\b(?:method|one|model) of the (?:smallest|largest) error\b": "the method with the smallest error",
    r"\btrainings\b|\b(?:a|any|another|each|every|first|long|next|one|same|second|single) training(?=[.,;:?)]| (?:again"
    r"|alone|at|for|in|is|may|of|once|on|taken|that|to|waits|was|which|with)\b|$)": "training run",
    r"\bshall\b": "must, will",
    r"\bso-and-so\b": "a number",
    r"\bthere is a catch\b": "name the problem",
}


# What is replaced in hints and messages alone: elsewhere the same words may be right.
IN_HINTS = {
    r"\bit is not\.": "is not right",
    r"\bstands? (?:a|the|each)\b": "the natural order: a control is next to each blend",
    r"\b(?:is|are) no networks?\b": "is not a network",
    r"\bthat are no\b": "that are not",
}


def quoted(source: str) -> Iterator[str]:
    """Yield the texts of a Python file: string literals, docstrings and comments."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def shown(notebook: Path) -> Iterator[str]:
    """Yield what a notebook says to its reader: its Markdown, and what stands for its figures."""
    for cell in jupytext.read(notebook).cells:
        if cell.cell_type == "markdown":
            yield cell.source
        yield cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def helpers(notebook: Path) -> Iterator[str]:
    """Yield the docstrings of the functions in a notebook."""
    for cell in jupytext.read(notebook).cells:
        if cell.cell_type == "code":
            yield from docstrings(cell.source)


def texts() -> Iterator[tuple[str, str]]:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("pages/*.md"), ROOT / "data/README.md"]:
        yield path.name, path.read_text(encoding="utf-8")
    for path in ROOT.glob("notebooks/*.py"):
        yield from ((path.name, text) for text in (*shown(path), *helpers(path)))
    code = [
        ROOT / "course.py",
        *(path for part in ("course_lib", "tools", "data") for path in ROOT.glob(f"{part}/**/*.py")),
    ]
    for path in code:
        yield from ((str(path.relative_to(ROOT)), text) for text in quoted(path.read_text(encoding="utf-8")))
    for path in ROOT.glob("tests/*.py"):
        yield from ((path.name, text) for text in docstrings(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def all_texts() -> list[tuple[str, str]]:
    return [(place, re.sub(r"\s+", " ", text)) for place, text in texts()]


def places(pattern: str, searched: list[tuple[str, str]]) -> list[str]:
    """Return where the pattern occurs, with some words around it."""
    found = re.compile(pattern, re.IGNORECASE)
    return [
        f"{place}: {text[max(0, hit.start() - 40) : hit.end() + 20]}"
        for place, text in searched
        for hit in found.finditer(text)
    ]


@pytest.mark.parametrize("pattern", INSTEAD)
def test_plain_words(pattern, all_texts):
    hits = places(pattern, all_texts)
    assert not hits, f"write {INSTEAD[pattern]!r} in: " + "; ".join(hits)


@pytest.mark.parametrize("pattern", IN_HINTS)
def test_plain_words_in_hints(pattern, all_texts):
    hits = places(pattern, [(place, text) for place, text in all_texts if place.startswith("course_lib/teaching")])
    assert not hits, f"write {IN_HINTS[pattern]!r} in: " + "; ".join(hits)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("how to mend it", r"\bmend(?:s|ed|ing)?\b"),
        ("random starts", r"\brandom starts?\b"),
        ("We SHALL", r"\bshall\b"),
    ],
)
def test_words_are_found(text, pattern):
    assert places(pattern, [("a.md", text)]) == [f"a.md: {text}"]


PLACES = re.compile(
    r"(?<!# )\b(?:Left|Right|Middle)[,:]|\b(?:Above|Below): [a-z0-9]|, (?:left|right|middle),"
    r"|\b(?:Two|Three|Four) rows[.,]|\bin a row\b"
    r"|\b(?:left|right|upper|lower|top|bottom)(?:most)? (?:panel|picture|figure)\b"
)
"""Places of a figure's panels. They hold for its wide form only: on a phone the panels are stacked."""


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("notebooks/*.py")), ids=lambda path: path.stem)
def test_texts_tell_panels_apart_by_what_they_show(notebook):
    """Those that stand for figures, and those that explain them."""
    assert [text for text in shown(notebook) if PLACES.search(text)] == []


@pytest.mark.parametrize("text", ["Left: a crystal.", "with F, left, and Ti", "Two rows. First", "The lower panel has"])
def test_places_of_panels_are_found(text):
    assert PLACES.search(text)


def test_texts_of_a_file():
    found = set(quoted('"""What it is."""\nx = f"no {x} here"  # a remark\n'))
    assert {"What it is.", "no ", " here", "a remark"} <= found
