"""What the theme and other tools write is corrected for screen readers, and everything else left as it is."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from accessible import corrected, one_header_row


def test_the_cell_above_row_names_is_not_a_heading():
    html = pd.DataFrame({"energy": [1.0]}, index=["NaCl"]).to_html()
    assert "<th></th>" in html
    fixed = corrected(html)
    assert fixed.count("<th") == html.count("<th") - 1
    assert fixed.replace("<td></td>", "<th></th>") == html


BY_FOLD = pd.DataFrame(
    {"CGCNN": [1.0, 2.0], "forest": [3.0, 4.0]},
    index=pd.MultiIndex.from_product([["random"], [0, 1]], names=["split", "fold"]),
)


@pytest.mark.parametrize(
    ("table", "headings"),
    [
        (BY_FOLD, ["split", "fold", "CGCNN", "forest"]),
        (BY_FOLD.rename_axis(columns="method"), ["split", "fold ↓ method →", "CGCNN", "forest"]),
        (BY_FOLD.rename_axis([None, None]).rename_axis(columns="method"), ["", "method", "CGCNN", "forest"]),
        (pd.concat({"mae": BY_FOLD}, axis=1), ["split", "fold", "mae, CGCNN", "mae, forest"]),
        (
            pd.concat({"mae": BY_FOLD.reset_index(drop=True).rename_axis("run").rename_axis(columns="method")}, axis=1),
            ["run ↓ method →", "mae, CGCNN", "mae, forest"],
        ),
        (BY_FOLD.reset_index(drop=True), ["", "CGCNN", "forest"]),
    ],
    ids=["named rows", "both named", "named columns", "two levels", "all", "nothing"],
)
def test_a_table_of_pandas_has_one_header_row(table, headings):
    html = corrected(table.to_html())
    header, body = html.split("</thead>")
    assert header.count("<tr") == 1
    assert re.findall(r"<t[hd]>(.*?)</t[hd]>", header) == headings
    assert body == table.to_html().split("</thead>")[1]


def test_a_single_header_row_is_left_as_it_is():
    header = '<tr><th class="head"><p>a</p></th></tr>'
    assert one_header_row(header) == header


@pytest.mark.parametrize("html", ["<p>role list</p>", '<th scope="col">energy</th>', '<div role="list">'])
def test_all_else_is_left_as_it_is(html):
    assert corrected(html) == html
