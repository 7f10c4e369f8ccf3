"""What the theme and other tools write is corrected for screen readers, and everything else left as it is."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from accessible import corrected


def test_the_cell_above_row_names_is_not_a_heading():
    html = pd.DataFrame({"energy": [1.0]}, index=["NaCl"]).to_html()
    assert "<th></th>" in html
    fixed = corrected(html)
    assert fixed.count("<th") == html.count("<th") - 1
    assert fixed.replace("<td></td>", "<th></th>") == html


@pytest.mark.parametrize("html", ["<p>role list</p>", '<th scope="col">energy</th>', '<div role="list">'])
def test_all_else_is_left_as_it_is(html):
    assert corrected(html) == html
