"""Tables in JSON files, read row by row: a file of structures is many times larger in memory than on disk.

The format is pandas' ``to_dict(orient="split")``, as matminer's ``store_dataframe_as_json`` writes it and Matbench's
files have it: ``{"index": [...], "columns": [...], "data": [[...], ...]}``.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = 1 << 20  # characters read at a time
_LONGEST_VALUE = 50_000_000  # characters; a row with a crystal of 20,000 atoms has a fifth of it
_LONGEST_WORD = 20  # characters that may be cut at the end of a piece: -Infinity, or the escapes of one character
_SPACE = re.compile(r"\s*")
_HALF = re.compile("[\ud800-\udfff]")  # half of a character, which no file can hold
_DATA_MODULES = ("pymatgen", "numpy", "datetime")  # of objects that are data, as monty writes them


def _plain(pairs: list[tuple[str, object]]) -> dict:
    """Return an object of a JSON text as a dict; raise ``ValueError`` for a repeated key, or one that means code."""
    plain = dict(pairs)
    if len(plain) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is repeated")
    if "@module" in plain or "@callable" in plain:
        module = str(plain.get("@module"))
        if "@callable" in plain or module.partition(".")[0] not in _DATA_MODULES:
            raise ValueError(
                f"it names the Python module {module!r}; only pymatgen structures and plain values are read"
            )
    return plain


_DECODER = json.JSONDecoder(object_pairs_hook=_plain)
loads = _DECODER.decode
"""Read a JSON text as plain values: nothing is imported that it names, and no repeated key passes."""


class JSONFrame(NamedTuple):
    """A table whose rows come one after the other.

    Attributes
    ----------
    index : list of str
        Name of each row.
    columns : list of str
        Names of the columns.
    rows : iterator of list
        The cells of one row after the other, plain values; to be read once.
    """

    index: list
    columns: list[str]
    rows: Iterator[list]


def read_json_frame(path: Path) -> JSONFrame:
    """Open a table; a file that ends in ``.gz`` is decompressed.

    Raises
    ------
    ValueError
        If the file is not such a table, ends in the middle or continues after its end, repeats a key or the name of a
        column, has rows that are too long or do not fit the index and the columns, or names a Python module other
        than pymatgen.
    """
    text = _Text(path)
    head = {}
    text.expect("{")
    while (key := text.value()) != "data":
        text.expect(":")
        if not isinstance(key, str) or key in head:
            raise text.error(f"the key {key!r} is repeated, or not text")
        head[key] = text.value()
        text.expect(",")
    text.expect(":")
    if set(head) != {"index", "columns"} or not all(isinstance(names, list) for names in head.values()):
        raise text.error("index and columns do not come before the data")
    columns = [_name(name, f"column {number}", text) for number, name in enumerate(head["columns"])]
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise text.error(f"the column {repeated[0]!r} is repeated")
    index = [_name(label, f"row {row}", text) for row, label in enumerate(head["index"])]
    return JSONFrame(index, columns, _rows(text, len(index), len(columns)))


def _name(name: object, what: str, text: _Text) -> str:
    """Return the name of a row or column as text; it may be a number."""
    if isinstance(name, str | int | float) and name == name and not _HALF.search(str(name)):  # NaN is not
        return str(name)
    raise text.error(
        f"the name of {what} is {name!r}, not text or a number. Give the index and the columns only one level"
    )


def _rows(text: _Text, n_rows: int, n_columns: int) -> Iterator[list]:
    """Yield the rows, one per name."""
    text.expect("[")
    for row in range(n_rows):
        if row:
            text.expect(",")
        cells = text.value(f"row {row}: ")
        if not isinstance(cells, list) or len(cells) != n_columns:
            raise text.error(f"row {row} does not have {n_columns} cells, one per column")
        yield cells
    if text.next() != "]":
        raise text.error(f"the number of rows is not {n_rows}, that of the index")
    text.expect("]")
    text.expect("}")
    text.end()


class _Text:
    """A JSON text of which a little is in memory at a time."""

    def __init__(self, path: Path):
        self._path = path
        self._pieces = _pieces(path)
        self._text, self._at = "", 0

    def error(self, what: str) -> ValueError:
        """Return the error for a file that is not a table."""
        return ValueError(
            f"{self._path} is not a table of matminer's store_dataframe_as_json(orient='split'), or damaged: {what}."
        )

    def _piece(self) -> str:
        """Return the next piece of the file; nothing at its end."""
        try:
            return next(self._pieces, "")
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise self.error(str(error)) from error

    def _read_more(self, where: str = "") -> None:
        """Read as much as is in memory, so that a long value is decoded from its start only a few times."""
        pieces = [self._text[self._at :]]
        wanted = 2 * len(pieces[0]) or 1
        if wanted > 2 * _LONGEST_VALUE:
            raise self.error(f"{where}it has more than {_LONGEST_VALUE} characters, as no crystal has")
        while sum(map(len, pieces)) < wanted and (piece := self._piece()):
            pieces.append(piece)
        if len(pieces) == 1:
            raise self.error("it ends in the middle")
        self._text, self._at = "".join(pieces), 0

    def next(self) -> str:
        """Return the next character that is not a space, and stay before it."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            self._read_more()

    def end(self) -> None:
        """Raise ``ValueError`` unless only white space follows."""
        rest = self._text[self._at :]
        while not rest.strip():
            if not (rest := self._piece()):
                return
        raise self.error(f"it continues after its end: {rest.strip()[:20]!r}")

    def expect(self, character: str) -> None:
        """Move past the next character, which must be this one."""
        if self.next() != character:
            raise self.error(f"found {self.next()!r} instead of {character!r}")
        self._at += 1

    def value(self, where: str = "") -> object:
        """Return the next value and move past it."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                ends = error.msg.startswith("Unterminated") or len(self._text) - error.pos < _LONGEST_WORD
                if not ends:
                    raise self.error(f"{where}{error.msg} at {self._text[error.pos :][:20]!r}") from error
                self._read_more(where)  # it continues in the next piece, if the file is whole
                continue
            except (ValueError, RecursionError) as error:
                raise self.error(f"{where}{error}") from error
            if end == len(self._text):  # a number may continue
                self._read_more(where)
                continue
            self._at = end
            return value


def _pieces(path: Path) -> Iterator[str]:
    """Yield the text of the file piece by piece."""
    open_text = gzip.open if path.suffix.lower() == ".gz" else open
    with open_text(path, "rt", encoding="utf-8-sig") as file:
        while piece := file.read(_BLOCK):
            yield piece
