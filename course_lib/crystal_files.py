"""Datasets in files: folders with a table as CGCNN and ALIGNN have them, and JSON frames of matminer.

There is one reader per format. It yields structures one after the other (`Stream`); a frame is made of its stream.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from joblib import Parallel, delayed

from course_lib.id_prop import read_id_prop
from course_lib.json_frames import read_json_frame
from course_lib.structure_files import read_structure, structure_from_dict
from course_lib.validation import NUMBER, check_structure, check_targets, check_unique_ids, describe_row

if TYPE_CHECKING:
    from pymatgen.core import Structure

_FILES_FOR_PROCESSES = 1000  # from so many files on, starting processes costs less than it saves
_FILES_AT_A_TIME = 500  # structures that processes have read and that wait to be used
_LARGEST = sys.float_info.max


class Stream(NamedTuple):
    """A dataset whose structures come one after the other.

    Attributes
    ----------
    table : DataFrame
        All columns but the structures, indexed by id: one row per crystal.
    structures : iterator of pymatgen Structure
        In the same order; to be read once.
    attrs : dict
        As ``df.attrs`` of `course_lib.datasets.load_dataset`.
    """

    table: pd.DataFrame
    structures: Iterator[Structure]
    attrs: dict

    @property
    def ids(self) -> list[str]:
        """Name of each crystal."""
        return list(self.table.index)

    @property
    def targets(self) -> pd.DataFrame:
        """The columns to predict, shape (B, n_targets)."""
        return self.table[self.attrs["targets"]]

    def frame(self) -> pd.DataFrame:
        """Read all structures into a frame with the columns ``structure``, ``formula`` and those of the table."""
        structures = list(self.structures)
        frame = self.table.drop(columns="formula", errors="ignore")
        frame.insert(0, "structure", structures)
        frame.insert(1, "formula", [structure.composition.reduced_formula for structure in structures])
        frame.attrs = self.attrs
        return frame


def stream_files(path: Path) -> Stream:
    """Open a folder of structure files with ``id_prop.csv``, such a CSV file, or a JSON file of matminer.

    Raises
    ------
    ValueError
        If the path is none of these, or something in it is unusable.
    FileNotFoundError
        If ``id_prop.csv`` or a structure file is missing.
    """
    if path.is_dir():
        return _stream_folder(path / "id_prop.csv")
    if path.suffix.lower() == ".csv":
        return _stream_folder(path)
    if path.name.lower().endswith((".json", ".json.gz")):
        return stream_json(path)
    raise ValueError(
        f"cannot read {str(path)!r}: give a folder with id_prop.csv and structure files, its CSV file, or a JSON file."
    )


def stream_json(path: Path, attrs: dict | None = None) -> Stream:
    """Open a frame that matminer's ``store_dataframe_as_json`` wrote, row by row.

    Parameters
    ----------
    path : Path
        The file, with a column ``structure``.
    attrs : dict, optional
        What is known about the dataset, with its ``targets``. By default, all columns of numbers are targets.

    Raises
    ------
    ValueError
        If a column is missing, an id is repeated, a target is NaN or infinite; for a bad structure when its turn comes.
    """
    table = _read_table(path, attrs["targets"] if attrs else [])
    return _checked(path, table, _read_structures(path, list(table.index)), attrs)


def _checked(path: Path, table: pd.DataFrame, structures: Iterator[Structure], attrs: dict | None = None) -> Stream:
    """Return the stream; raise ``ValueError`` for a repeated id or a target that is not finite."""
    ids = list(table.index)
    check_unique_ids(ids)
    attrs = _user_attrs(path, table) if attrs is None else attrs
    for name in attrs["targets"]:
        check_targets(table[name].to_numpy(), name, ids)
    return Stream(table, structures, attrs)


def _user_attrs(path: Path, table: pd.DataFrame) -> dict:
    """Return ``attrs`` of the user's table: its columns of numbers are targets, but for those with gaps.

    A column with gaps may not be needed, so gaps are an error only if no other column has numbers.
    """
    numbers = table.select_dtypes(["number", "bool"])
    mixed = {name: text for name in table if name not in numbers and (text := _text_for_number(table[name]))}
    if mixed and numbers.empty:
        raise ValueError(f"{path}: {next(iter(mixed.values()))}")
    incomplete = {str(name): gap for name in numbers if (gap := _gap(numbers[name]))} | mixed
    targets = [str(name) for name in numbers if str(name) not in incomplete or len(numbers.columns) == 1]
    others = [str(name) for name in table if name not in numbers and name not in mixed]
    return _attrs(path, targets) | {"incomplete": incomplete, "other_columns": others}


def _gap(column: pd.Series) -> str:
    """Describe the first row that is not a finite number; return an empty text if all are."""
    try:
        check_targets(column.to_numpy(), str(column.name), list(column.index))
    except ValueError as error:
        return str(error)
    return ""


def _text_for_number(column: pd.Series) -> str:
    """Describe the first row without a number, if the others have one or all have it as text."""
    cells = column.tolist()
    number = [isinstance(cell, int) or (isinstance(cell, float) and cell == cell) for cell in cells]
    if not any(number) and not all(isinstance(cell, str) and NUMBER.fullmatch(cell) for cell in cells):
        return ""
    # Where all are numbers, pandas keeps them as objects because of an integer of more than 64 bits.
    row = number.index(False) if not all(number) else max(range(len(cells)), key=lambda row: abs(cells[row]))
    return (
        f"column {column.name!r}: {describe_row(row, list(column.index))} is {str(cells[row])[:40]!r}, "
        "not a number that fits the others. Store numbers, or drop the row."
    )


def _read_table(path: Path, targets: list[str]) -> pd.DataFrame:
    """Return a frame in a JSON file without its structures; it must have these targets."""
    frame = read_json_frame(path)
    for needed in ("structure", *targets):
        if needed not in frame.columns:
            others = ", ".join(map(str, frame.columns)) or "none at all"
            raise ValueError(f"{path} has no column {needed!r}; it has {others}.")
    if not frame.index:
        raise ValueError(f"{path} has no rows. Store at least one crystal.")
    kept = [column for column, name in enumerate(frame.columns) if name != "structure"]
    cells = [[row[column] for column in kept] for row in frame.rows]
    index = pd.Index(frame.index, name="id", dtype=object)
    try:
        table = pd.DataFrame(cells, index, [frame.columns[column] for column in kept])
    except OverflowError as error:  # pandas' message names no row
        large = (any(isinstance(cell, int) and abs(cell) > _LARGEST for cell in row) for row in cells)
        where = describe_row(list(large).index(True), frame.index)
        raise ValueError(f"{path}: {where} has a number beyond {_LARGEST:.0e}. Fix it or drop the row.") from error
    return table


def _read_structures(path: Path, ids: list[str]) -> Iterator[Structure]:
    """Yield the checked structures of a frame in a JSON file."""
    frame = read_json_frame(path)
    column = frame.columns.index("structure")
    for row, cells in enumerate(frame.rows):
        try:
            structure = structure_from_dict(cells[column])
        except ValueError as error:
            raise ValueError(f"{describe_row(row, ids)}: {error}") from error
        check_structure(structure, row, ids)
        yield structure


def _attrs(path: Path, targets: list[str]) -> dict:
    """Return ``attrs`` of the user's own crystals."""
    return {
        "name": str(path),
        "targets": targets,
        "units": dict.fromkeys(targets, "unknown"),
        "source": str(path),
        "licence": "unknown",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _stream_folder(path: Path) -> Stream:
    """Read ``id_prop.csv``, and the structure files that it names when they are asked for."""
    table = read_id_prop(path)
    width = table.targets.shape[1]
    names = ["target"] if width == 1 else [f"target_{number + 1}" for number in range(width)]
    frame = pd.DataFrame(table.targets, index=pd.Index(table.ids, name="id"), columns=names)
    return Stream(frame, _read_files(table.files, table.ids), _attrs(path, names))


def _read_files(files: list[Path], ids: list[str]) -> Iterator[Structure]:
    """Yield the checked structures of the files, a few hundred of them in memory at a time."""
    rows = iter(range(len(ids)))
    with Parallel(n_jobs=-1 if len(ids) >= _FILES_FOR_PROCESSES else 1) as parallel:
        while some := list(islice(rows, _FILES_AT_A_TIME)):
            structures = parallel(delayed(read_structure)(files[row], describe_row(row, ids)) for row in some)
            for row, structure in zip(some, structures, strict=True):
                check_structure(structure, row, ids)
                yield structure
