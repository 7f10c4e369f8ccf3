"""The glossary: in order, each term in use where it says; the first use on a page links to it."""

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from conftest import ROOT
from docutils import nodes
from docutils.utils import new_document
from glossary_links import link_first_uses, names, pattern

ENTRIES = re.findall(
    r"^(\S.*)\n((?:  .+\n)+)", (ROOT / "pages/glossary.md").read_text(encoding="utf-8").split("```{glossary}")[1], re.M
)


def places(text: str) -> list[str]:
    """Return how the files begin in which the glossary says that a term is used."""
    found = re.findall(r"\((notebook|exercise|data card) ?(\d*)\)", text)
    begin = {"notebook": "{:0>2}", "exercise": "ex{}", "data card": "data"}
    return [begin[kind].format(number) for kind, number in found]


def prose(name: str) -> str:
    """Return the Markdown of the notebook or exercise whose file begins so."""
    (path,) = ROOT.glob(f"notebooks/{name}*.py")
    return " ".join(" ".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown").split())


# Italics and bold type also stress words. What has one of these words, or is listed below, is not a term.
FUNCTION_WORDS = (
    r"\b(all|and|another|are|below|best|both|can|every|everything|first|has|have|here|in|is|it|more|no|not|of|once|one|our|"
    r"per|same|the|these|this|to|was|we|within|without|worst|your)\b"
)
STRESSED = (
    "absolute|angles|atom embedding|bits|builds|cell|contributes|core|days|difference|early|easy|element|"
    "energy|errors|eV|eV/atom|expect|falls|fixed|formula|formulas|gain|hard|intermediate|lowers|"
    "memorise|negative|network|new formulas|predict|predictions|random|rocksalt|shown|shuffles|single|"
    "size|slope|smallest|source|spread, scaled|square|test|three seeds|total|training|uncertainty|weight|"
    "weighted mean"
)


def possible_terms(text: str) -> Iterator[str]:
    """Yield what Markdown sets in italics or bold type, begins with a small letter and is not only stressed."""
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", " ", text, flags=re.DOTALL)
    for _, found in re.findall(r"(?<![*\w\\])(\*\*?)([a-z][^*]*?)\1(?![*\w])", text):
        written = " ".join(found.split())
        if not re.search(FUNCTION_WORDS, written) and not re.fullmatch(STRESSED, written):
            yield written


def test_possible_terms_are_found():
    text = "A *line\ngraph* and **GATs**, `a*b*`, $x*y*z$; *not* so, *a mean of all*: **bonds** are\n\n* item * item*"
    assert list(possible_terms(text)) == ["line graph", "bonds"]


@pytest.mark.parametrize("path", [*ROOT.glob("notebooks/*.py"), *ROOT.glob("pages/*.md")], ids=lambda path: path.stem)
def test_terms_that_a_page_introduces_are_in_the_glossary(path: Path):
    known = pattern([term for term, _ in ENTRIES])
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path.stem)
    missing = [term for term in possible_terms(text) if not known.fullmatch(term)]
    assert not missing, f"add to pages/glossary.md, or to STRESSED in tests/test_glossary.py: {missing}"


def test_terms_are_in_order():
    terms = [term.lower().replace("'", "") for term, _ in ENTRIES]
    assert len(terms) > 80
    assert terms == sorted(terms)


def test_places_are_read():
    assert places("As in (notebook 10), (notebook 2),\n  (exercise 8) and (data card).") == ["10", "02", "ex8", "data"]


@pytest.mark.parametrize(("term", "text"), ENTRIES, ids=[term for term, _ in ENTRIES])
def test_term_is_used_where_the_glossary_says(term, text):
    for place in places(text):
        assert not names(term) or pattern([term]).search(prose(place)), f"{term} is not on the page {place}_..."


def page(*paragraphs: str) -> nodes.document:
    found = new_document("page")
    found += nodes.section("", nodes.title("", "Folds"), *(nodes.paragraph("", text) for text in paragraphs))
    return found


def links(of: nodes.document) -> list[tuple[str, str]]:
    return [(link.astext(), link["refuri"]) for link in of.findall(nodes.reference)]


def test_first_uses_are_linked():
    made = page("Two folds, and a fold.", "Line graphs are graphs; GAT is not gat.")
    text = made.astext()
    link_first_uses(made, {"fold": "#fold", "line graph": "#line", "graph": "#graph", "attention, GAT": "#gat"})
    assert links(made) == [("folds", "#fold"), ("Line graphs", "#line"), ("graphs", "#graph"), ("GAT", "#gat")]
    assert made.astext() == text


def test_headings_code_and_longer_words_are_not_linked():
    made = page("Out-of-fold is one word, unfold another.")
    made += nodes.paragraph("", "", nodes.literal("", "fold"), nodes.reference("", "a fold", refuri="x"))
    link_first_uses(made, {"fold": "#fold"})
    assert links(made) == [("a fold", "x")]
