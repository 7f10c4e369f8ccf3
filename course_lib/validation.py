"""Checks on user input: every message names the row, the value found and how to fix it."""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from course_lib.files import add_name

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

CLOSEST = 0.5
"""In no crystal are two atoms nearer than this, in angstrom; those of a hydrogen molecule are 0.74 apart."""

MOST_ATOMS = 20_000
"""Atoms that a crystal may have; the search for neighbours of more takes too long."""

HEAVIEST = 100
"""Atomic number of the heaviest element that the atom features of the models cover."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that single precision holds, 3.4e38: networks compute with such numbers."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""How a table writes a finite number. Python reads more: ``1_5``, ``nan`` and the digits of other scripts."""

IDS_AS_TEXT = "Read ids as text: pd.read_csv(file, index_col='id', dtype={'id': str}, keep_default_na=False)."
"""How to keep a CSV reader from turning ids into numbers."""

_FULL = 2e-4  # an occupancy that differs from 1 by less is rounded; 0.9999 is 1 with four digits

# pymatgen names the hydrogen isotopes as elements; no feature table of the course has them.
_ISOTOPES = {"D": "H", "T": "H"}


_LARGEST_SEED = 2**32 - 1  # of NumPy and scikit-learn
_WHOLE = 2**63  # libraries hold whole numbers in 63 bits and a sign
_MOST_JOBS = 1024  # all are started at once


@contextmanager
def named(what: object, advice: str = "") -> Iterator[None]:
    """Name what is read: an error of another library becomes a ``ValueError`` that starts with `what`.

    All files and settings are read in this way. Libraries raise whatever they like at a damaged file (a
    ``KeyError``, ``zipfile.BadZipFile``, ``RecursionError``), and do not say which file it was. Errors that already
    name it pass unchanged, and so do those of the network; those of the system stay what they are, with the name.

    Parameters
    ----------
    what : path or str
        The file, or the settings, as the user gave them.
    advice : str, optional
        How to fix it: a sentence that ends the message.
    """
    try:
        yield
    except Exception as error:
        clear = isinstance(error, OSError | ValueError | ImportError)
        of_the_system = isinstance(error, ConnectionError | ImportError) or getattr(error, "errno", None)
        if of_the_system or (clear and str(what) in str(error)):
            if isinstance(error, OSError):
                add_name(error, what)
            raise
        lines = str(error).strip().splitlines() or ["no further word"]
        message = f"{what}: {'' if clear else f'{type(error).__name__}: '}{lines[0][:300]}"
        raise ValueError(f"{message}. {advice}" if advice else message) from error


def check_number(
    name: str,
    value: object,
    *,
    whole: bool = False,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raise ``ValueError`` unless the setting `name` is a finite number within limits; true and false are not numbers.

    Only Python's and NumPy's numbers are accepted, because files of settings hold no others; whole numbers must be
    below 2**63.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : object
        What was given.
    whole : bool, default False
        Whether it must be an integer.
    least, most, above, below : float, optional
        Limits: the first two are inclusive, the others exclusive.
    """
    is_whole = isinstance(value, int | np.integer)
    if isinstance(value, bool | np.timedelta64) or not (
        is_whole or (not whole and isinstance(value, float | np.floating))
    ):
        raise ValueError(f"{name} is {value!r}, not a {'whole ' if whole else ''}number.")
    if is_whole and not -_WHOLE < value < _WHOLE:
        about = f"{'-' if value < 0 else ''}1e{(int(value).bit_length() - 1) * math.log10(2):.0f}"
        raise ValueError(f"{name} is about {about}; whole numbers must be below 9.2e18 here.")
    if not np.isfinite(float(value)):
        raise ValueError(f"{name} is {value}; it must be finite.")
    limits = (
        ("at least", least, lambda limit: value >= limit),
        ("at most", most, lambda limit: value <= limit),
        ("more than", above, lambda limit: value > limit),
        ("less than", below, lambda limit: value < limit),
    )
    for words, limit, holds in limits:
        if limit is not None and not holds(limit):
            raise ValueError(f"{name} is {value}; it must be {words} {limit}.")


def plain(value: object) -> object:
    """Return NumPy numbers, also those in a list, as Python numbers, which files of settings may hold."""
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def check_seed(seed: object) -> None:
    """Raise ``ValueError`` unless all libraries accept the seed."""
    check_number("seed", seed, whole=True, least=0, most=_LARGEST_SEED)


def check_jobs(n_jobs: object, name: str = "n_jobs") -> None:
    """Raise ``ValueError`` unless `n_jobs` is a number of processes, or -1 for as many as there are cores."""
    if not (isinstance(n_jobs, int | np.integer) and n_jobs == -1):
        check_number(name, n_jobs, whole=True, least=1, most=_MOST_JOBS)


def check_positions(name: str, positions: object, n_rows: int) -> None:
    """Raise ``ValueError`` unless `positions` are places of rows, counted from 0.

    Parameters
    ----------
    name : str
        What the message calls them.
    positions : array-like
        What was given.
    n_rows : int
        How many rows there are.
    """
    positions = np.asarray(positions)
    if positions.ndim != 1 or (len(positions) and positions.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} holds {positions.dtype} of shape {positions.shape}, not positions. Give a list of whole numbers "
            "counted from 0, for example np.flatnonzero(mask)."
        )
    outside = (positions < 0) | (positions >= n_rows)
    if outside.any():
        raise ValueError(f"{name} has the position {positions[outside][0]}, but there are {n_rows} rows, from 0 on.")


def check_given_ids(ids: Iterable[object] | None) -> None:
    """Raise ``ValueError`` naming the first row without an id: None, NaN or no letter."""
    import pandas as pd

    for row, one in enumerate(() if ids is None else ids):
        if (pd.api.types.is_scalar(one) and pd.isna(one)) or not str(one).strip():
            raise ValueError(f"row {row} has the id {one!r}. Give every crystal an id, for example the row numbers.")


def check_columns(name: str, table: object) -> None:
    """Raise ``ValueError`` unless `table` is a DataFrame or Series (or None) whose columns may hold labels.

    Dates, durations and complex numbers are refused: pandas would make some number of them.
    """
    import pandas as pd

    if table is None:
        return
    if not isinstance(table, pd.DataFrame | pd.Series):
        raise ValueError(
            f"{name} is of type {type(table).__name__}. Give a DataFrame or a Series, whose columns have names: "
            "pd.Series(values, name='band_gap')."
        )
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    for column, dtype in frame.dtypes.items():
        if getattr(dtype, "kind", "O") in "mMc":
            raise ValueError(f"{name}: column {column!r} holds {dtype}, not numbers. Convert it first.")


def describe_row(row: int, ids: Sequence[str] | None = None) -> str:
    """Return how a message names a row: ``"row 3 (id 'mp-22862')"``."""
    return f"row {row}" if ids is None else f"row {row} (id {str(ids[row])!r})"


def check_same_length(**columns: Sized) -> None:
    """Raise ``ValueError`` unless all named columns have one length."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"lengths differ: {listed}. Give one entry per crystal in each, in the same order.")


def check_same_order(name: str, labels: Sequence[object], ids: Sequence[object]) -> None:
    """Raise ``ValueError`` when the row labels of table `name` are the `ids` in another order, or some of them.

    Rows are joined by position; labels that are not ids at all (plain row numbers, say) cannot be checked and pass.
    """
    labels, ids = list(labels), list(ids)
    keys, wanted = [_spelling(label) for label in labels], [_spelling(one) for one in ids]
    if len(keys) != len(wanted) or set(keys).isdisjoint(wanted):
        return
    exact = set(map(str, ids))  # 7 may mean "007", unless "7" is another crystal
    rows = zip(keys, wanted, map(str, labels), map(str, ids), strict=True)
    moved = (key != want or (label != one and label in exact) for key, want, label, one in rows)
    row = next((row for row, wrong in enumerate(moved) if wrong), None)
    if row is None:
        return
    message = f"row {row}: crystal {str(ids[row])!r} meets {str(labels[row])!r} in {name}. "
    known = set(keys)
    missing = [str(one) for one, key in zip(ids, wanted, strict=True) if key not in known]
    if missing:
        raise ValueError(
            f"{message}Crystal {missing[0]!r} has no row there ({len(missing)} have none). Use {name}.reindex(ids), "
            "which is NaN where a row is missing, or drop those crystals."
        )
    raise ValueError(f"{message}Give both in the same order, for example {name}.loc[ids].")


def _spelling(one: object) -> object:
    """Return the part of an id that survives a spreadsheet or a CSV reader: 12.0 for ``"00012"`` and 12."""
    text = unicodedata.normalize("NFKC", str(one)).strip().casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    return text if number != number else number  # NaN differs from itself


def nearest_id(one: object, others: Iterable[object]) -> object | None:
    """Return which of `others` is the same id in another spelling or type (``7`` and ``"007"``); or None."""
    wanted = _spelling(one)
    return next((other for other in others if _spelling(other) == wanted), None)


def check_unique_ids(ids: Sequence[str], name: str | None = None) -> None:
    """Raise ``ValueError`` naming the rows (of table `name`) when an id occurs in more than one row."""
    repeated = [one for one, count in Counter(ids).items() if count > 1]
    if repeated:
        rows = [row for row, one in enumerate(ids) if one == repeated[0]]
        where = "" if name is None else f"{name}: "
        as_text = "" if isinstance(repeated[0], str) else f" If they differ in the file: {IDS_AS_TEXT}"
        raise ValueError(
            f"{where}duplicate id {repeated[0]!r} in rows {rows} ({len(repeated)} ids are repeated). "
            f"Drop the repeated rows or give each crystal an id of its own.{as_text}"
        )


def check_targets(targets: np.ndarray, name: str = "target", ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` naming the first entry of ``targets`` that is not a finite number in single precision.

    Parameters
    ----------
    targets : array of numbers, shape (B,) or (B, n_targets)
        What to look at.
    name : str, optional
        What the message calls it.
    ids : sequence of str, length B, optional
        Name of each row.
    """
    targets = np.asarray(targets)
    if targets.dtype.kind not in "biuf":
        _check_numbers(targets, name, ids)
    numbers = targets.astype(float)
    usable = np.abs(numbers) <= LARGEST  # not true of NaN either
    if usable.all():
        return
    position = tuple(int(i) for i in np.argwhere(~usable)[0])
    too_large = ", more than single precision holds" if np.isfinite(numbers[position]) else ""
    raise ValueError(
        f"{name}: {describe_row(position[0], ids)} is {targets[position]}{too_large} "
        f"({int((~usable).sum())} such values). "
        f"{'Use another unit.' if too_large else 'Drop these rows (df.dropna()) or fix the values.'}"
    )


def _check_numbers(values: np.ndarray, name: str, ids: Sequence[str] | None) -> None:
    """Raise ``ValueError`` naming the first entry of an array of objects or text that is not a number; None is NaN."""
    for (row, *_), value in np.ndenumerate(values):
        is_number = isinstance(value, Real) and not isinstance(value, np.timedelta64)  # NumPy has those among integers
        if isinstance(value, int) and abs(value) > LARGEST:  # Python's have any number of digits, maybe thousands
            raise ValueError(
                f"{name}: {describe_row(row, ids)} is larger than single precision holds. Use another unit."
            )
        if value is None or is_number or (isinstance(value, str) and NUMBER.fullmatch(value.strip())):
            continue
        raise ValueError(
            f"{name}: {describe_row(row, ids)} is {value!r}, not a number with a decimal point. Fix the value or drop "
            "the row."
        )


@cache
def _symbols() -> frozenset[str]:
    from pymatgen.core import Element

    return frozenset(Element.__members__)


def is_element(symbol: object) -> bool:
    """Return whether ``symbol`` is that of an element, as ``"Na"``, or of an isotope of hydrogen (``"D"``, ``"T"``)."""
    return isinstance(symbol, str) and symbol in _symbols()


def check_occupancy(occupancy: float, where: str) -> None:
    """Raise ``ValueError`` unless the occupancy of the site that ``where`` names is 1, up to rounding."""
    if not abs(occupancy - 1) < _FULL:
        raise ValueError(
            f"{where} is disordered: its occupancy is {occupancy!r}. "
            "Choose one ordered arrangement (pymatgen's OrderDisorderedStructureTransformation) or drop the row."
        )


def check_composition(composition: Composition, row: int, ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` when ``composition`` is empty or has something other than elements of the periodic table."""
    from pymatgen.core import DummySpecies

    where = describe_row(row, ids)
    if len(composition) == 0:
        raise ValueError(f"{where}: the crystal has no atoms. Drop the row or fix its file.")
    for species in composition:
        element = getattr(species, "element", species)
        if isinstance(species, DummySpecies):
            raise ValueError(
                f"{where}: {species.symbol!r} is not an element. Replace it with a real element or drop the row."
            )
        if element.name in _ISOTOPES:  # its symbol is that of the element: 'H' for 'D'
            raise ValueError(
                f"{where}: {element.name!r} is an isotope, but the tables hold only elements. "
                f"Replace it with {_ISOTOPES[element.name]!r} (structure.replace_species)."
            )


def check_structure(structure: Structure, row: int, ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` when ``structure`` is no crystal, empty, too large, disordered or not made of elements."""
    from pymatgen.core import IStructure

    where = describe_row(row, ids)
    if not isinstance(structure, IStructure):
        raise ValueError(f"{where}: {reprlib.repr(structure)} is not a pymatgen Structure. Convert it or drop the row.")
    if not all(structure.pbc):
        raise ValueError(
            f"{where}: it is not periodic in all directions: its pbc is {list(structure.pbc)}. Drop the row."
        )
    if len(structure) > MOST_ATOMS:
        raise ValueError(f"{where}: {len(structure)} atoms; crystals have at most {MOST_ATOMS} here. Drop the row.")
    for site_index, site in enumerate(structure):
        if not site.is_ordered:
            parts = ", ".join(f"{species}:{site.species[species]!r}" for species in sorted(site.species))
            raise ValueError(
                f"{where}: site {site_index} is disordered ({parts}). "
                "Choose one ordered arrangement (pymatgen's OrderDisorderedStructureTransformation) or drop the row."
            )
    composition = structure.composition
    check_composition(composition, row, ids)
    heaviest = max(composition, key=lambda species: species.Z)
    if heaviest.Z > HEAVIEST:
        raise ValueError(
            f"{where}: {heaviest.symbol} (Z = {heaviest.Z}) is heavier than fermium (Z = {HEAVIEST}), the last element "
            "that the atom features cover. Drop the row."
        )
