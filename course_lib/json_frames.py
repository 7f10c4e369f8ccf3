"""Tables in JSON files, read row by row: a file of structures is many times larger in memory than on disk.

The format is pandas' ``to_dict(orient="split")``, as matminer's ``store_dataframe_as_json`` writes it and Matbench's
files have it: ``{"index": [...], "columns": [...], "data": [[...], ...]}``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = 1 << 20  # characters read at a time


class JSONFrame(NamedTuple):
    """A table whose rows come one after the other.

    Attributes
    ----------
    index : list
        Name of each row.
    columns : list of str
        Names of the columns.
    rows : iterator of list
        The cells of one row after the other; to be read once.
    """

    index: list
    columns: list[str]
    rows: Iterator[list]


def read_json_frame(path: Path) -> JSONFrame:
    """Open a table; a file that ends in ``.gz`` is decompressed.

    Raises
    ------
    ValueError
        If the file is not such a table, or ends in the middle.
    """
    text = _Text(path)
    head = {}
    text.expect("{")
    while (key := text.value()) != "data":
        text.expect(":")
        head[key] = text.value()
        text.expect(",")
    text.expect(":")
    if set(head) != {"index", "columns"}:
        raise text.error("index and columns do not stand before the data")
    return JSONFrame(head["index"], head["columns"], _rows(text))


def _rows(text: _Text) -> Iterator[list]:
    text.expect("[")
    if text.next() == "]":
        return
    while True:
        yield text.value()
        if text.next() == "]":
            return
        text.expect(",")


class _Text:
    """A JSON text of which a little is in memory at a time."""

    def __init__(self, path: Path):
        self._path = path
        self._pieces = _pieces(path)
        self._text, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def error(self, what: str) -> ValueError:
        """Return the error for a file that is not a table."""
        return ValueError(
            f"{self._path} is not a table of matminer's store_dataframe_as_json(orient='split'), or damaged: {what}."
        )

    def _read_more(self) -> None:
        try:
            piece = next(self._pieces, "")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise self.error(str(error)) from error
        if not piece:
            raise self.error("it ends in the middle")
        self._text, self._at = self._text[self._at :] + piece, 0

    def next(self) -> str:
        """Return the next character that is not a space, and stay before it."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            self._read_more()

    def expect(self, character: str) -> None:
        """Go behind the next character, which must be this one."""
        if self.next() != character:
            raise self.error(f"there is {self.next()!r} where {character!r} should be")
        self._at += 1

    def value(self) -> object:
        """Return the next value and go behind it."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:  # it goes on in the next piece, if the file is whole
                self._read_more()
                continue
            if end == len(self._text):  # a number may go on
                self._read_more()
                continue
            self._at = end
            return value


def _pieces(path: Path) -> Iterator[str]:
    """Yield the text of the file piece by piece."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as file:
        while piece := file.read(_BLOCK):
            yield piece
