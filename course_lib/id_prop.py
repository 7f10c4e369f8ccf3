"""The table ``id_prop.csv`` next to structure files, in the format of CGCNN and ALIGNN.

Each line is ``id,target[,target...]``. The id is the name of a file in the folder, with what says its kind or without:
``c0`` for ``c0.cif.gz`` or ``POSCAR-c0``. What can be read in two ways is an error that names the line.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_lib.structure_files import ids_of_file
from course_lib.validation import LARGEST, NUMBER, nearest_id

_FORM = "It has one line 'id,target' for each file, the id being the file's name."
_DECIMALS = re.compile(r"0[0-9]+")  # what a decimal comma leaves of 1,05


class IdProp(NamedTuple):
    """The content of a table.

    Attributes
    ----------
    ids : list of str, length B
        The first column.
    files : list of Path, length B
        The structure file of each row.
    targets : numpy.ndarray of float64, shape (B, n_targets)
        The other columns.
    """

    ids: list[str]
    files: list[Path]
    targets: np.ndarray


def read_id_prop(table: Path) -> IdProp:
    """Read a table and find the file of each row.

    Raises
    ------
    FileNotFoundError
        If the table, or the file of a row, does not exist.
    ValueError
        If the table is empty, is not UTF-8 text separated by commas, a target is not a number that single precision
        holds, an id or a file occurs in two rows, or several files have the id as their name. The message names the
        line.
    """
    if not table.is_file():
        raise FileNotFoundError(f"{table} is missing. {_FORM}")
    lines = list(_lines(table))
    if not lines:
        raise ValueError(f"{table} is empty. {_FORM}")
    width = len(lines[0][1])
    targets = [_targets(f"{table}, line {number}", line, width) for number, line in lines]
    ids = [line[0] for _, line in lines]
    files_of = cache(_files_by_id)
    files = [
        _file(f"{table}, line {number} (id {line[0]!r})", table.parent, line[0], files_of) for number, line in lines
    ]
    folder_of = cache(os.path.realpath)  # ``a`` and ``d/../a`` are one file
    for names in (ids, [(folder_of(file.parent), file.name) for file in files]):
        first: dict[object, int] = {}
        for (number, line), name in zip(lines, names, strict=True):
            if first.setdefault(name, number) != number:
                raise ValueError(
                    f"{table}, line {number}: duplicate id {line[0]!r}, first in line {first[name]}. Drop one of the "
                    "lines, or give each crystal a file of its own."
                )
    return IdProp(ids, files, np.array(targets))


def _text(table: Path) -> str:
    """Return the text of the table; raise ``ValueError`` with the line where it is not UTF-8."""
    content = table.read_bytes()
    try:
        text = content.decode("utf-8")
        wrong = text.find("\0")  # as in UTF-16 without a mark at its beginning
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = len(content[:wrong].splitlines()) or 1
        raise ValueError(
            f"{table}, line {line}: the text is not encoded in UTF-8. Save the table again as 'CSV UTF-8' "
            "(a spreadsheet offers it under 'Save as')."
        )
    return text.removeprefix("\ufeff")


def _lines(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line that is not blank, with its number."""
    reader = csv.reader(io.StringIO(_text(table), newline=""), strict=True)
    try:
        for line in reader:
            fields = [field.strip() for field in line]
            if any(fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(
            f"{table}, line {reader.line_num}: {error}. Write 'id,target', with no quotation marks."
        ) from error


def _targets(where: str, line: list[str], width: int) -> list[float]:
    """Return the numbers of a line; raise ``ValueError`` where it is not of the form ``id,target,...``."""
    text = ",".join(line)
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark in text:
            raise ValueError(
                f"{where}: {text!r} is separated by {name}. Separate id and targets by commas, and write numbers with "
                "a decimal point."
            )
    if not text.isprintable():
        hidden = next(character for character in text if not character.isprintable())
        raise ValueError(f"{where}: {text!r} has an invisible character, U+{ord(hidden):04X}. Write the line again.")
    if len(line) < 2 or len(line) != width:
        raise ValueError(
            f"{where}: {text!r} has {len(line)} fields, expected {max(width, 2)}. Write the id and then the target, or "
            "as many targets on every line, separated by commas; numbers have a decimal point, not a comma."
        )
    if not line[0]:
        raise ValueError(f"{where}: {text!r} has no id. {_FORM}")
    return [_number(f"{where} (id {line[0]!r})", field, len(line) > 2) for field in line[1:]]


def _number(where: str, field: str, several: bool) -> float:
    """Return a target; not everything that Python reads as a number is meant as one in a table."""
    if not NUMBER.fullmatch(field):
        hint = "Delete the line if it is a header." if ", line 1 " in where else "Write a number or drop the line."
        if "," in field:
            hint = "Write a decimal point."
        raise ValueError(f"{where}: target {field!r} is not a number. {hint}")
    if several and _DECIMALS.fullmatch(field):
        raise ValueError(
            f"{where}: {field!r} seems to be the part after a decimal comma. Write numbers with a decimal point."
        )
    value = float(field)
    too_small = value == 0 and re.search("[1-9]", re.split("[eE]", field)[0])
    if too_small or abs(value) > LARGEST:
        raise ValueError(
            f"{where}: target {field} is too {'small' if too_small else 'large'} for single precision. "
            "Give the target in another unit."
        )
    return value


def _files_by_id(folder: Path) -> dict[str, list[str]]:
    """Return the names of the files in a folder by the ids that a table may give them."""
    found = defaultdict(list)
    if os.path.isdir(folder):
        for file in sorted(file.name for file in os.scandir(folder) if file.is_file()):
            for one in ids_of_file(file):
                found[one].append(file)
    return found


def _file(where: str, folder: Path, name: str, files_of: Callable[[Path], dict[str, list[str]]]) -> Path:
    """Return the file that an id names; raise an error unless there is exactly one."""
    folder, name = folder / os.path.dirname(name), os.path.basename(name)
    files = files_of(folder)
    found = files.get(name, [])
    if name in found and len(ids_of_file(name)) > 1:  # a whole name, with what says the kind
        found = [name]
    if len(found) > 1:
        raise ValueError(f"{where}: the files {' and '.join(found)} match. Write the whole name of the file.")
    if not found:
        near = nearest_id(name, files)
        hint = f" The folder has {near!r}, whose name a spreadsheet may have changed in the table." if near else ""
        others = [file for names in files.values() for file in names if Path(file).stem == name]
        if others:
            hint = f" By its name, {others[0]} is none of these."
        raise FileNotFoundError(
            f"{where}: {folder / name}.cif is missing, and no other CIF, POSCAR or JSON file has this name.{hint} Add "
            "the file or leave out the line."
        )
    return folder / found[0]
