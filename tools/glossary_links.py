"""Link the first use of each glossary term on a page to the glossary; a Sphinx extension.

So the sources stay free of markup, and JupyterLab shows plain text. A term is found as it is written in
``pages/glossary.md``, in its plural, and with a capital at its beginning.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "pages/glossary"
NOT_LINKED = (GLOSSARY, "pages/references")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z' -]+")  # a name that readers write; not a symbol such as $\alpha$
# Where a link would be out of place, or inside another one.
_SKIPPED = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw)


def names(term: str) -> list[str]:
    """Return the names of a glossary entry, such as "mean absolute error" and "MAE"."""
    return [name for part in term.split(",") if _PLAIN.fullmatch(name := part.strip())]


def pattern(terms: list[str]) -> re.Pattern:
    """Return what finds the names of all terms, the longest first, and not within a longer word."""
    written = [
        f"[{name[0].upper()}{name[0]}]{re.escape(name[1:])}" if name[1:].islower() else re.escape(name)
        for name in sorted((name for term in terms for name in names(term)), key=len, reverse=True)
    ]
    return re.compile(rf"(?<![\w-])(?P<name>{'|'.join(written)})(?:s|es|d)?(?![\w-])")


def link_first_uses(page: nodes.document, targets: dict[str, str]) -> None:
    """Replace the first use of each term in the text of a page by a link.

    Parameters
    ----------
    page : document
        Changed in place.
    targets : dict of str to str
        The address of each glossary entry, by its term.
    """
    term_of = {name.lower(): term for term in targets for name in names(term)}
    found, used = pattern(list(targets)), set()
    for text in list(page.findall(nodes.Text)):
        if _is_skipped(text):
            continue
        pieces, end = [], 0
        for match in found.finditer(text):
            term = term_of[match["name"].lower()]
            if term in used:
                continue
            used.add(term)
            link = nodes.reference("", match[0], internal=True, refuri=targets[term], classes=["glossary-term"])
            pieces += [nodes.Text(text[end : match.start()]), link]
            end = match.end()
        if pieces:
            text.parent.replace(text, [piece for piece in [*pieces, nodes.Text(text[end:])] if piece.astext()])


def _is_skipped(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, _SKIPPED) or "cell" in node.get("classes", []):
            return True
        node = node.parent
    return False


def _on_page(app: Sphinx, page: nodes.document, docname: str) -> None:
    if docname not in NOT_LINKED and app.builder.format == "html":
        glossary = app.builder.get_relative_uri(docname, GLOSSARY)
        objects = app.env.get_domain("std").get_objects()
        entries = {name: anchor for name, _, kind, _, anchor, _ in objects if kind == "term"}
        link_first_uses(page, {term: f"{glossary}#{anchor}" for term, anchor in entries.items()})


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("doctree-resolved", _on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
