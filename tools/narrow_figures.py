"""Show a figure on a phone as it was drawn for one; a Sphinx extension.

The outputs of the notebooks hold a narrow form of the figures that have one (`course_lib.teaching.figures.narrow`).
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

from course_lib.teaching.figures.narrow import KEY

SCREEN = "(max-width: 576px)"
"""Which screens show it; ``custom.css`` has the same bound."""

_IMAGE = re.compile(r'<img [^>]*src="((?:\.\./)*_images/)([0-9a-f]{64})\.png"[^>]*>')


def narrow_forms(notebook: str) -> Iterator[tuple[str, bytes]]:
    """Yield, for each figure of a notebook's JSON that has a narrow form, its name on the site and that form (PNG)."""
    for cell in json.loads(notebook)["cells"]:
        for output in cell.get("outputs", ()):
            form = output.get("metadata", {}).get("image/png", {}).get(KEY)
            if form:
                wide = b64decode("".join(output["data"]["image/png"]))
                yield hashlib.sha256(wide).hexdigest(), b64decode(form)  # the name that MyST-NB gives


def with_narrow_forms(html: str, names: set[str]) -> str:
    """Return a page on which the images of these `names` have a narrow form alongside."""

    def picture(found: re.Match) -> str:
        folder, name = found.groups()
        if name not in names or f"{name}-narrow.png" in html:  # a page that was not built again has it already
            return found[0]
        return f'<picture><source media="{SCREEN}" srcset="{folder}{name}-narrow.png" />{found[0]}</picture>'

    return _IMAGE.sub(picture, html)


def _add_narrow_forms(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for page in app.env.found_docs:
        source, built = Path(app.env.doc2path(page)), Path(app.outdir, page).with_suffix(".html")
        if source.suffix == ".ipynb":
            forms = dict(narrow_forms(source.read_text(encoding="utf-8")))
            for name, form in forms.items():
                Path(app.outdir, "_images", f"{name}-narrow.png").write_bytes(form)
            built.write_text(with_narrow_forms(built.read_text(encoding="utf-8"), forms.keys()), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.connect("build-finished", _add_narrow_forms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
