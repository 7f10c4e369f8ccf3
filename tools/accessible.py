"""Correct what the theme and other tools write that screen readers stumble over; a Sphinx extension.

Each correction is one that axe-core asks for (``tests/test_site.py`` runs it on every page).
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

CORRECTIONS = {
    # pandas puts an empty cell above the row names, which is not a heading.
    "<th></th>": "<td></td>",
    '<th class="head"><p></p></th>': '<td class="head"><p></p></td>',  # the same of a table in a page's text
    # The name of a button must hold what is written on it; without a label, it is that.
    'title="Search" aria-label="Search"': 'title="Search"',
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # The logo and the search stand outside of all landmarks.
    '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar">': (
        '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar" role="region" aria-label="Site">'
    ),
    # An id names one part of a page; exercises and solutions all have the same.
    '<section id="exercise-content">': "<section>",
    '<section id="solution-content">': "<section>",
    # A list of what is not a list item, and a role that was withdrawn.
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
}
"""What is replaced, and by what."""


_HEADER = re.compile(r"(?<=<thead>).*?(?=</thead>)", re.DOTALL)
_ROW = re.compile(r"(<tr[^>]*>)(.*?)</tr>", re.DOTALL)
_CELL = re.compile(r'<th(?:[^>]*? colspan="(\d+)")?[^>]*>(.*?)</th>', re.DOTALL)


def one_header_row(header: str) -> str:
    """Return the content of a ``<thead>`` with its rows in one, in which each column has its full name.

    pandas writes the names of the index below the row of column names, which leaves half of both rows empty. Where the
    columns have a name too, it stands above the row names: "fold ↓ method →".
    """
    rows = _ROW.findall(header)
    if len(rows) < 2:
        return header
    texts = [[text for span, text in _CELL.findall(row) for _ in range(int(span or 1))] for _, row in rows]
    n_named = sum(map(bool, texts[-1]))
    names = texts.pop() if not any(texts[-1][n_named:]) else [""] * len(texts[-1])
    cells = []
    for name, *levels in zip(names, *texts, strict=True):
        column = ", ".join(filter(None, levels))
        cells.append(f"{name} ↓ {column} →" if name and column else name or column)
    return f"\n    {rows[0][0]}\n" + "".join(f"      <th>{cell}</th>\n" for cell in cells) + "    </tr>\n  "


def corrected(html: str) -> str:
    """Return a page with all corrections."""
    html = _HEADER.sub(lambda found: one_header_row(found[0]), html)
    for wrong, right in CORRECTIONS.items():
        html = html.replace(wrong, right)
    return html


def _correct_pages(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            path.write_text(corrected(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.connect("build-finished", _correct_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
