"""Tables in JSON files: read row by row, whatever the pieces, and refused where they are damaged."""

from __future__ import annotations

import gzip
import json
from unittest import mock

import pandas as pd
import pytest
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
        "index": st.lists(st.integers() | st.text(), max_size=5),
        "columns": st.lists(st.text(), max_size=3),
        "data": st.lists(st.lists(values, max_size=3), max_size=6),
    }
).map(lambda frame: {name: frame[name] for name in ("index", "columns", "data")})


@settings(deadline=None, derandomize=True, max_examples=200, database=None)
@given(frames, st.integers(1, 60), st.sampled_from([None, 1]), st.booleans())
def test_it_is_what_json_reads(tmp_path_factory, frame, block, indent, ascii_only):
    path = tmp_path_factory.getbasetemp() / "frame.json"
    path.write_text(json.dumps(frame, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with mock.patch.object(json_frames, "_BLOCK", block):
        found = read_json_frame(path)
        assert {"index": found.index, "columns": found.columns, "data": list(found.rows)} == frame


def test_what_matminer_writes(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["one", "two"])
    store_dataframe_as_json(frame, str(tmp_path / "a.json.gz"), compression="gz", pbar=False)
    found = read_json_frame(tmp_path / "a.json.gz")
    assert (found.index, found.columns, list(found.rows)) == (["one", "two"], ["a", "b"], [[1, "x"], [2, "y"]])


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    rows = [["x" * 100] for _ in range(1000)]
    (tmp_path / "a.json").write_text(json.dumps({"index": [], "columns": [], "data": rows}))
    read = []
    with mock.patch.object(json_frames, "_BLOCK", 1000):
        original = json_frames._pieces
        with mock.patch.object(json_frames, "_pieces", lambda path: (read.append(p) or p for p in original(path))):
            frame = read_json_frame(tmp_path / "a.json")
            for _ in range(20):
                next(frame.rows)
    assert sum(map(len, read)) < 4000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"index": [0], "columns": ["a"], "data": [[1]', "it ends in the middle"),
        ('{"index": [0], "columns": ["a"], "data": [[1], [2', "it ends in the middle"),
        ('{"index": [0], "columns": ["a"', "it ends in the middle"),
        ("", "it ends in the middle"),
        ('[{"a": 1}]', "there is '\\[' where '{' should be"),
        ('{"data": [[1]], "columns": ["a"], "index": [0]}', "index and columns do not stand before the data"),
        ('{"columns": ["a"], "data": []}', "index and columns do not stand before the data"),
        ('{"a": {"0": 1}}', "there is '}' where ',' should be"),
        ('{"index": [0], "columns": ["a"], "data": [[1] [2]]}', "there is '\\[' where ',' should be"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json is not a table of matminer's.*, or damaged: {message}"):
        list(read_json_frame(tmp_path / "a.json").rows)


def test_damaged_compression(tmp_path):
    content = gzip.compress(json.dumps({"index": [0], "columns": ["a"], "data": [[k] for k in range(9999)]}).encode())
    (tmp_path / "a.json.gz").write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"a\.json\.gz is not a table .*Compressed file ended"):
        list(read_json_frame(tmp_path / "a.json.gz").rows)
    (tmp_path / "a.json.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"a\.json\.gz is not a table .*Not a gzipped file"):
        list(read_json_frame(tmp_path / "a.json.gz").rows)
