"""Tables in JSON files: read row by row, whatever the pieces, and refused where they are damaged."""

from __future__ import annotations

import gzip
import json
from unittest import mock

import pandas as pd
import pytest
from damaged_text import damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from matminer.utils.io import store_dataframe_as_json

from course_lib import json_frames
from course_lib.json_frames import read_json_frame

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
frames = st.fixed_dictionaries(
    {
        "columns": st.lists(st.text() | st.integers(), max_size=3, unique_by=str),
        "rows": st.lists(st.tuples(st.integers() | st.text(), st.tuples(values, values, values)), max_size=6),
    }
).map(
    lambda made: {
        "index": [label for label, _ in made["rows"]],
        "columns": made["columns"],
        "data": [list(cells[: len(made["columns"])]) for _, cells in made["rows"]],
    }
)


@settings(deadline=None, derandomize=True, max_examples=200, database=None)
@given(frames, st.integers(1, 60), st.sampled_from([None, 1]), st.booleans())
def test_it_is_what_json_reads(tmp_path_factory, frame, block, indent, ascii_only):
    path = tmp_path_factory.getbasetemp() / "frame.json"
    path.write_text(json.dumps(frame, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with mock.patch.object(json_frames, "_BLOCK", block):
        found = read_json_frame(path)
        assert (found.index, found.columns) == ([str(one) for one in frame["index"]], [*map(str, frame["columns"])])
        assert list(found.rows) == frame["data"]


def test_what_matminer_writes(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["one", "two"])
    store_dataframe_as_json(frame, str(tmp_path / "a.json.gz"), compression="gz", pbar=False)
    found = read_json_frame(tmp_path / "a.json.gz")
    assert (found.index, found.columns, list(found.rows)) == (["one", "two"], ["a", "b"], [[1, "x"], [2, "y"]])


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    rows = [["x" * 100] for _ in range(1000)]
    (tmp_path / "a.json").write_text(json.dumps({"index": list(range(1000)), "columns": ["a"], "data": rows}))
    read = []
    with mock.patch.object(json_frames, "_BLOCK", 1000):
        original = json_frames._pieces
        with mock.patch.object(json_frames, "_pieces", lambda path: (read.append(p) or p for p in original(path))):
            frame = read_json_frame(tmp_path / "a.json")
            for _ in range(20):
                next(frame.rows)
    assert sum(map(len, read)) < 12_000  # of 110 000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"index": [0], "columns": ["a"], "data": [[1]', "it ends in the middle"),
        ('{"index": [0, 1], "columns": ["a"], "data": [[1], [2', "it ends in the middle"),
        ('{"index": [0], "columns": ["a"], "data": [["a', "it ends in the middle"),
        ('{"index": [0], "columns": ["a"], "data": [[1]]', "it ends in the middle"),
        ('{"index": [0], "columns": ["a"', "it ends in the middle"),
        ("", "it ends in the middle"),
        ('[{"a": 1}]', "found '\\[' instead of '{'"),
        ('{"data": [[1]], "columns": ["a"], "index": [0]}', "index and columns do not come before the data"),
        ('{"columns": ["a"], "data": []}', "index and columns do not come before the data"),
        ('{"a": {"0": 1}}', "found '}' instead of ','"),
        ('{"index": [0, 1], "columns": ["a"], "data": [[1] [2]]}', "found '\\[' instead of ','"),
        ('{"index": [0], "columns": ["a"], "data": [[1, oops, "and much more text"]]}', "row 0: .*oops"),
        ('{"index": [0], "columns": ["a"], "data": [[1], [2]]}', "the number of rows is not 1"),
        ('{"index": [0, 1], "columns": ["a"], "data": [[1]]}', "found ']' instead of ','"),
        ('{"index": [0], "columns": ["a"], "data": [[1, 2]]}', "row 0 does not have 1 cells"),
        ('{"index": [0], "columns": ["a"], "data": [{"a": 1}]}', "row 0 does not have 1 cells"),
        ('{"index": [0], "columns": ["a", "a"], "data": [[1, 2]]}', "the column 'a' is repeated"),
        ('{"index": [0], "columns": [5, "5"], "data": [[1, 2]]}', "the column '5' is repeated"),
        ('{"index": [0], "columns": [["a", "b"]], "data": [[1]]}', "the name of column 0 is .*'b'.*one level"),
        ('{"index": [[0, 1]], "columns": ["a"], "data": [[1]]}', "the name of row 0 is .0, 1..*one level"),
        ('{"index": [0, null], "columns": ["a"], "data": [[1], [2]]}', "the name of row 1 is None"),
        ('{"index": [NaN], "columns": ["a"], "data": [[1]]}', "the name of row 0 is nan"),
        (r'{"index": ["\ud800"], "columns": ["a"], "data": [[1]]}', r"the name of row 0 is '\\ud800', not text"),
        (r'{"index": [0], "columns": ["a\udfff"], "data": [[1]]}', r"the name of column 0 is 'a\\udfff', not text"),
        ('{"index": {"0": 0}, "columns": ["a"], "data": [[1]]}', "index and columns do not come before"),
        ('{"index": [0], "index": [1], "columns": ["a"], "data": [[1]]}', "the key 'index' is repeated"),
        ('{"index": [0], "columns": ["a"], "data": [[{"x": 1, "x": 2}]]}', "row 0: the key 'x' is repeated"),
        ('{"index": [0], "columns": ["a"], "data": [[1]], "data": [[2]]}', "found ',' instead of '}'"),
        ('{"index": [0], "columns": ["a"], "data": [[1]]} {"index": [0]}', "it continues after its end"),
        ('{"index": [0], "columns": ["a"], "data": [[' + "[" * 100_000, "row 0: .*recursion"),
        ('{"index": [0], "columns": ["a"], "data": [[' + "1" * 5000 + "]]}", "row 0: .*limit"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json is not a table of matminer's.*, or damaged: {message}"):
        list(read_json_frame(tmp_path / "a.json").rows)


@pytest.mark.parametrize("row", [[{"sites": [{"abc": [0.5] * 3}] * 3000}], ["x" * 100_000]])
def test_a_long_row_is_decoded_a_few_times(tmp_path, row):
    text = json.dumps({"index": [0, 1], "columns": ["a"], "data": [[1], row]})
    (tmp_path / "a.json").write_text(text)
    read = []

    class Decoder(json.JSONDecoder):
        def raw_decode(self, text, at=0):
            read.append(len(text) - at)
            return super().raw_decode(text, at)

    with mock.patch.multiple(json_frames, _BLOCK=100, _DECODER=Decoder()):
        assert list(read_json_frame(tmp_path / "a.json").rows) == [[1], row]
        assert sum(read) < 5 * len(text)
        read.clear()
        (tmp_path / "a.json").write_text(text[:-6])  # the row does not end
        with pytest.raises(ValueError, match="it ends in the middle"):
            list(read_json_frame(tmp_path / "a.json").rows)
        assert sum(read) < 5 * len(text)


def test_a_row_that_is_too_long_is_named(tmp_path):
    content = {"index": [0, 1], "columns": ["a"], "data": [[1], ["x" * 1000]]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with (
        mock.patch.multiple(json_frames, _BLOCK=10, _LONGEST_VALUE=500),
        pytest.raises(ValueError, match=r"a\.json .*: row 1: it has more than 500 characters"),
    ):
        list(read_json_frame(tmp_path / "a.json").rows)


@pytest.mark.parametrize("where", ["cell", "deep inside", "callable"])
def test_modules_that_a_file_names_are_not_imported(tmp_path, monkeypatch, where):
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    planted = {"@module": "planted", "@class": "A"}
    if where == "callable":
        planted = {"@module": "pymatgen.core", "@callable": "Structure", "@bound": None}
    cell = {"sites": [{"properties": {"magmom": [planted]}}]} if where == "deep inside" else planted
    content = {"index": [0, 1], "columns": ["a"], "data": [[1], [cell]]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json .*: row 1: it names the Python module"):
        list(read_json_frame(tmp_path / "a.json").rows)


def test_other_objects_of_pymatgen_stay_plain(tmp_path):
    composition = {"@module": "pymatgen.core.composition", "@class": "Composition", "Na": 1.0}
    (tmp_path / "a.json").write_text(json.dumps({"index": [0], "columns": ["a"], "data": [[composition]]}))
    assert list(read_json_frame(tmp_path / "a.json").rows) == [[composition]]


def test_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_text('\ufeff{"index": [0], "columns": ["a"], "data": [[1]]}', encoding="utf-8")
    assert list(read_json_frame(tmp_path / "a.json").rows) == [[1]]


@settings(deadline=None, derandomize=True, max_examples=150, database=None)
@given(st.data())
def test_damage_is_an_error_or_changes_no_form(tmp_path_factory, data):
    text = '{"index": ["x", 1], "columns": ["a", 5], "data": [[{"@module": "pymatgen", "b": [1.5]}, "t"], [null, -2]]}'
    text = data.draw(damaged(text))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        frame = read_json_frame(path)
        rows = list(frame.rows)
    except ValueError as error:
        if "damaged.json" not in str(error):
            raise
        return
    assert len(rows) == len(frame.index) == 2
    assert {len(row) for row in rows} == {len(frame.columns)}
    assert json.loads(text.lstrip("\ufeff"))["data"] == rows


def test_damaged_compression(tmp_path):
    content = gzip.compress(json.dumps({"index": [0], "columns": ["a"], "data": [[k] for k in range(9999)]}).encode())
    (tmp_path / "a.json.gz").write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"a\.json\.gz is not a table .*Compressed file ended"):
        list(read_json_frame(tmp_path / "a.json.gz").rows)
    (tmp_path / "a.json.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"a\.json\.gz is not a table .*Not a gzipped file"):
        list(read_json_frame(tmp_path / "a.json.gz").rows)
