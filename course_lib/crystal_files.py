"""Crystals in files: folders with a table as CGCNN and ALIGNN have them, JSON frames of matminer, single structures.

There is one reader per format. It yields structures one after the other (`Stream`); a frame is made of its stream.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from joblib import Parallel, delayed

from course_lib.id_prop import read_id_prop
from course_lib.json_frames import read_json_frame
from course_lib.validation import check_structure, check_targets, check_unique_ids, describe_row

if TYPE_CHECKING:
    from pymatgen.core import Structure

_FILES_FOR_PROCESSES = 1000  # from so many files on, starting processes costs less than it saves
_FILES_AT_A_TIME = 500  # structures that processes have read and nobody has taken yet

# Warnings of pymatgen's parsers that change nothing about the crystal; any other warning is an error.
_HARMLESS_WARNINGS = (
    "fractional coordinates rounded to ideal values",
    "Skipping relative stoichiometry check",
    "Cannot determine chemical composition from CIF",  # no formula in the file to compare with
    "type key found. Spacegroup from",  # the symmetry is given by its name
    "A 1-line symmetry op P1 CIF is detected",
    "No Pauling electronegativity for",  # noble gases
)


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
    if path.suffix == ".csv":
        return _stream_folder(path)
    if path.name.endswith((".json", ".json.gz")):
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

    Nobody may have asked for a column with gaps, so they are an error only where it is the only one of numbers.
    """
    numbers = table.select_dtypes(["number", "bool"])
    incomplete = {str(name): gap for name in numbers if (gap := _gap(numbers[name]))}
    targets = [str(name) for name in numbers if str(name) not in incomplete or len(numbers.columns) == 1]
    others = [str(name) for name in table if name not in numbers]
    return _attrs(path, targets) | {"incomplete": incomplete, "other_columns": others}


def _gap(column: pd.Series) -> str:
    """Return the first row that is not a finite number, in words; an empty text where there is none."""
    try:
        check_targets(column.to_numpy(), str(column.name), list(column.index))
    except ValueError as error:
        return str(error)
    return ""


def _read_table(path: Path, targets: list[str]) -> pd.DataFrame:
    """Return all of a frame in a JSON file but its structures; it must have these targets."""
    from monty.json import MontyDecoder

    frame = read_json_frame(path)
    for needed in ("structure", *targets):
        if needed not in frame.columns:
            raise ValueError(f"{path} has no column {needed!r}, only {', '.join(map(str, frame.columns))}.")
    kept = [column for column, name in enumerate(frame.columns) if name != "structure"]
    cells = [[row[column] for column in kept] for row in frame.rows]
    index = pd.Index([str(label) for label in frame.index], name="id")
    return pd.DataFrame(MontyDecoder().process_decoded(cells), index, [frame.columns[column] for column in kept])


def _read_structures(path: Path, ids: list[str]) -> Iterator[Structure]:
    """Yield the checked structures of a frame in a JSON file."""
    from monty.json import MontyDecoder

    frame, decode = read_json_frame(path), MontyDecoder().process_decoded
    column = frame.columns.index("structure")
    for row, cells in enumerate(frame.rows):
        structure = decode(cells[column])
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


def read_structure(path: str | os.PathLike, where: str = "") -> Structure:
    """Read one crystal from a file: CIF, POSCAR, or what else pymatgen knows by its name.

    Parameters
    ----------
    path : path
        The file. What pymatgen only warns about is an error too, unless it changes nothing about the crystal.
    where : str, optional
        What an error message begins with, for example the row that asks for the file.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it cannot be read, is suspect, or holds more than one structure.
    """
    path, begin = Path(path), f"{where}: " if where else ""
    if not path.is_file():
        raise FileNotFoundError(f"{begin}{path} is missing. Add the file or leave it out.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            structures = _parse(path)
        # The parsers have no error of their own: what a broken file raises depends on where it is broken.
        except Exception as error:
            raise ValueError(f"{begin}cannot read {path} ({error}). Fix the file or leave it out.") from error
    serious = [
        str(warning.message)
        for warning in caught
        if issubclass(warning.category, UserWarning)
        and not any(harmless in str(warning.message) for harmless in _HARMLESS_WARNINGS)
    ]
    if serious:
        raise ValueError(f"{begin}{path} is suspect: {serious[0]} Fix the file or leave it out.")
    if len(structures) > 1:
        raise ValueError(f"{begin}{path} holds {len(structures)} structures. Keep one per file.")
    return structures[0]


def _parse(path: Path) -> list[Structure]:
    """Return what pymatgen reads from the file."""
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifParser

    if path.suffix.lower() == ".cif":
        return CifParser(path).parse_structures(primitive=False, on_error="raise")
    return [Structure.from_file(path)]
