"""On the website, a figure that was drawn for a phone too is shown there in that form."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode

from narrow_figures import narrow_forms, with_narrow_forms

from course_lib.teaching.figures.narrow import KEY

WIDE, NARROW = b"a wide picture", b"a narrow one"
NAME = hashlib.sha256(WIDE).hexdigest()
IMAGE = f'<img alt="Bars." src="../_images/{NAME}.png" />'


def output(picture: bytes) -> dict:
    return {"data": {"image/png": b64encode(picture).decode()}, "metadata": {}}


def test_figures_with_a_narrow_form_are_found():
    with_form = output(WIDE) | {"metadata": {"image/png": {KEY: b64encode(NARROW).decode()}}}
    outputs = [with_form, output(b"alone"), {"name": "stdout"}]
    notebook = {"cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}]}
    assert list(narrow_forms(json.dumps(notebook))) == [(NAME, NARROW)]


def test_only_their_images_change():
    other = IMAGE.replace(NAME, "0" * 64)
    page = with_narrow_forms(f"<p>{IMAGE}</p>{other}", {NAME})
    assert page.endswith(f"/></picture></p>{other}")
    assert f'<picture><source media="(max-width: 576px)" srcset="../_images/{NAME}-narrow.png" />{IMAGE}' in page
    assert with_narrow_forms(page, {NAME}) == page
