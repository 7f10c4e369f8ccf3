"""Single crystals in files: CIF, POSCAR and pymatgen's JSON. A file is read to the letter, or an error is raised."""

from __future__ import annotations

import lzma
import os
import re
import reprlib
import zlib
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.cif import read_cif
from course_lib.json_frames import loads
from course_lib.validation import LARGEST, MOST_ATOMS, NUMBER, check_occupancy, is_element

if TYPE_CHECKING:
    from pymatgen.core import Structure

_LARGEST = 50_000_000  # characters; a CIF file with its diffraction data has a tenth of it
_LONGEST_MESSAGE = 500  # characters; a damaged file may have millions where a number is expected
_FILE_NAME = re.compile(
    r"(?P<id>(?:(?:poscar|contcar)[-_])?(?P<inner>.+?))(?:\.(?:cif|mcif|vasp|json)|[-_.](?:poscar|contcar))?"
    r"(?:\.txt)?(?:\.(?:gz|bz2|xz))?",
    re.IGNORECASE | re.DOTALL,
)
_SPECIES = re.compile(r"([A-Z][a-z]?)(?:_\w+)?(?:/[0-9a-f]+)?")  # Mg_pv/f474ac0d is magnesium, with a hash of VASP
_LABEL = re.compile(  # Na, Na1, Na0.9+, Na_pv
    r"([A-Z][a-z]?)(?:[0-9]+[a-z]?|[0-9]*(?:\.[0-9]+)?[+-](?:,spin=\S+)?|_\w+)?(?:/[0-9a-f]+)?"
)
_FLAG = re.compile(r"\.?[TF].*", re.IGNORECASE)  # T, .FALSE.
_AFTER_ATOMS = re.compile(r"\s*|lattice velocities.*|cartesian|direct|[-+.0-9eE\s]+", re.IGNORECASE)


def read_structure(path: str | os.PathLike, where: str = "") -> Structure:
    """Read one crystal from a file.

    Parameters
    ----------
    path : path
        CIF (``*.cif``, ``*.mcif``), POSCAR (``*POSCAR*``, ``*CONTCAR*``, ``*.vasp``), or a structure that pymatgen
        wrote as ``*.json``; each may be compressed (``.gz``, ``.bz2``, ``.xz``).
    where : str, optional
        How an error message starts, for example with the row that names the file.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is of another kind, is not one crystal of whole atoms at known positions, or holds several.
    """
    path, begin = Path(path), f"{where}: " if where else ""
    if not path.is_file():
        state = "not a file" if path.exists() else "missing"
        raise FileNotFoundError(f"{begin}{path} is {state}. Add the file or leave it out.")
    try:
        return _reader(path.name)(_text(path))
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, RecursionError) as error:
        what = str(error)[:_LONGEST_MESSAGE].rstrip(".") or type(error).__name__
        raise ValueError(f"{begin}cannot read {path}: {what}. Fix the file or leave it out.") from error


def _reader(name: str) -> object:
    """Return the function that reads files of this name."""
    for patterns, reader in (
        (("*.cif*", "*.mcif*"), read_cif),
        (("*poscar*", "*contcar*", "*.vasp*"), read_poscar),
        (("*.json*",), lambda text: structure_from_dict(loads(text))),
    ):
        if any(fnmatch(name.lower(), pattern) for pattern in patterns):
            return reader
    raise ValueError("by its name it is not CIF (.cif), POSCAR (.vasp) or JSON (.json)")


def ids_of_file(name: str) -> set[str]:
    """Return what a table may call the crystal of a file.

    Parameters
    ----------
    name : str
        Name of the file, without its folder.

    Returns
    -------
    set of str
        The whole name, and those without what says the kind of the file: ``POSCAR-c0`` is also ``c0``, and
        ``c0.cif.gz`` is also ``c0``. Only the whole name where `read_structure` does not read files of this name.
    """
    try:
        _reader(name)
    except ValueError:
        return {name}
    return {name, *_FILE_NAME.fullmatch(name).groups()}


def _text(path: Path) -> str:
    """Return what is in a file, which may be compressed."""
    from monty.io import zopen

    # Authors' names are sometimes in other encodings; an unreadable character is never part of a number or symbol.
    with zopen(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        text = file.read(_LARGEST)
    if len(text) == _LARGEST:
        raise ValueError(f"it is larger than any crystal of up to {MOST_ATOMS} atoms")
    return text


def read_poscar(text: str) -> Structure:
    """Read the one crystal of a POSCAR or CONTCAR; a POTCAR alongside it changes nothing.

    Raises
    ------
    ValueError
        If it is not a POSCAR, a number or symbol is not readable, its elements are not stated or contradict each
        other, or it has more lines than atoms.
    """
    from pymatgen.core import Structure

    lines = re.split(r"\r\n?|\n", text)  # a comment may hold what Unicode calls the end of a line
    try:
        scale = _numbers_of_poscar([[lines[1].strip()]], 1).item()  # of several factors, none is left out
        cell = _numbers_of_poscar([line.split() for line in lines[2:5]])
        symbols, counts, at = _species_of_poscar(lines)
        selective = lines[at].strip()[:1] in tuple("sS")
        at += 1 + selective
        mode = lines[at - 1].strip()[:1]
        if not mode.isalpha():
            raise ValueError(f"line {at} is {lines[at - 1]!r}, not 'Direct' or 'Cartesian'")
        atoms = [line.split() for line in lines[at : at + sum(counts)]]
        places = _numbers_of_poscar(atoms)
        if len(atoms) < sum(counts):
            raise ValueError(f"{sum(counts)} atoms by the counts, but {len(atoms)} lines of coordinates")
        if selective and not all(len(atom) >= 6 and all(map(_FLAG.fullmatch, atom[3:6])) for atom in atoms):
            raise ValueError("selective dynamics, but not three flags T or F after the coordinates of each atom")
        if scale == 0 or np.linalg.det(cell) == 0:
            raise ValueError("its cell has no volume")
    except (IndexError, ValueError) as error:
        raise ValueError(f"it is not a whole POSCAR ({error})") from error
    after = lines[at + sum(counts) :]
    if (after and after[0].strip() and not after[0].strip().lower().startswith("lattice")) or not all(
        _AFTER_ATOMS.fullmatch(line.strip()) for line in after
    ):
        raise ValueError(f"it continues after the {sum(counts)} atoms of its counts; keep one structure per file")
    if not all(np.abs(numbers).max() <= LARGEST for numbers in (cell, places, scale)):
        raise ValueError(f"a number in it is larger than {LARGEST:.1e}")
    # A negative scale is the volume.
    factor = scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3)
    names = [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    names = _check_names(names, [atom[6:7] if selective else atom[3:4] for atom in atoms])
    cartesian = mode in "cCkK"
    places = places * factor if cartesian else places
    return Structure(cell * factor, names, places, coords_are_cartesian=cartesian)


def _numbers_of_poscar(lines: list[list[str]], count: int = 3) -> np.ndarray:
    """Return the numbers at the beginning of lines, of which what follows is not one; shape (n, count)."""
    for words in lines:
        if len(words) < count:
            raise ValueError(f"{' '.join(words)!r} has {len(words)} numbers, not {count}")
        for word in words[:count]:
            if not NUMBER.fullmatch(word):
                raise ValueError(f"{word!r} is not a number")
    return np.array([words[:count] for words in lines], dtype=float).reshape(len(lines), count)


def _species_of_poscar(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Return symbols (empty texts where they are missing), counts, and the number of the line that follows."""
    at, words = 5, []
    while not _is_count(lines[at].split()[0]):
        words += lines[at].split()
        at += 1
    counts = []
    while lines[at].split() and all(map(_is_count, lines[at].split())):
        counts += [int(word) for word in lines[at].split()]
        at += 1
    if not 0 < sum(counts) <= MOST_ATOMS or min(counts) < 1:
        raise ValueError(f"the counts of atoms are {counts}; crystals have 1 to {MOST_ATOMS} atoms here")
    if words and len(words) != len(counts):
        raise ValueError(f"{len(words)} elements and {len(counts)} counts of atoms")
    symbols = []
    for word in words:
        match = _SPECIES.fullmatch(word)
        if not (match and is_element(match[1])):
            raise ValueError(f"{word!r} is not an element")
        symbols.append(match[1])
    return symbols or [""] * len(counts), counts, at


def _is_count(word: str) -> bool:
    """Return whether a word is a whole number, of digits that VASP knows."""
    return word.isascii() and word.isdigit()


def _check_names(names: list[str], written: list[list[str]]) -> list[str]:
    """Return the element of each atom, from the head or, in old files, from its line; the two must agree."""
    found = []
    for number, (name, words) in enumerate(zip(names, written, strict=True)):
        match = _LABEL.fullmatch(words[0]) if words else None
        own = match[1] if match and is_element(match[1]) else ""
        if words and words[0][0].isalpha() and not own:
            raise ValueError(f"atom {number} has {words[0]!r} after its coordinates, which is not an element")
        if not (name or own):
            raise ValueError(f"it does not say which element atom {number} is")
        if name and own and name != own:
            raise ValueError(f"atom {number} is {name} by the counts, but {own} on its line")
        found.append(name or own)
    return found


def structure_from_dict(content: object) -> Structure:
    """Make a structure from what pymatgen's ``Structure.as_dict`` returns; site properties are left out.

    Raises
    ------
    ValueError
        If it is something else, or not a crystal of whole atoms, periodic in three dimensions.
    """
    from pymatgen.core import Element, Species, Structure

    n_sites = len(content["sites"]) if isinstance(content, dict) and isinstance(content.get("sites"), list) else 0
    if n_sites > MOST_ATOMS:
        raise ValueError(f"{n_sites} atoms; crystals have at most {MOST_ATOMS} here. Drop the row.")
    try:
        kind, matrix, sites = content.get("@class", "Structure"), content["lattice"]["matrix"], content["sites"]
        periodic = np.ravel(content["lattice"].get("pbc", True)).tolist()
        species = [
            [(one["element"], one.get("oxidation_state"), one["occu"]) for one in site["species"]] for site in sites
        ]
        places = [site["abc"] for site in sites]
        if kind not in ("Structure", "IStructure") or len(matrix) != 3:
            raise TypeError(kind)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{reprlib.repr(content)} is not a pymatgen Structure. Convert it or drop the row.") from error
    if not all(one is True for one in periodic):
        raise ValueError(f"it is not periodic in all directions: its pbc is {periodic}. Drop the row.")
    cell, places = _numbers(matrix, "lattice vector"), _numbers(places, "site")
    names = []
    for number, parts in enumerate(species):
        if len(parts) != 1:
            what = ", ".join(f"{element}: {occupancy!r}" for element, _, occupancy in parts) or "no atom"
            raise ValueError(f"site {number} is disordered ({what}). Choose one ordered arrangement or drop the row.")
        element, oxidation, occupancy = parts[0]
        if not is_element(element):
            raise ValueError(
                f"site {number}: {element!r} is not an element. Replace it with a real one or drop the row."
            )
        for value, what in ((occupancy, "occupancy"), (0 if oxidation is None else oxidation, "oxidation state")):
            if not _is_number(value):
                raise ValueError(f"site {number}: its {what} is {value!r}, not a number. Fix it or drop the row.")
        check_occupancy(float(occupancy), f"site {number}")
        names.append(Element(element) if oxidation is None else Species(element, oxidation))
    return Structure(cell, names, places)


def _numbers(rows: list, what: str) -> np.ndarray:
    """Return rows of three numbers of a JSON text, shape (n, 3); raise ``ValueError`` naming one that is not."""
    for number, row in enumerate(rows):
        if not (isinstance(row, list | tuple) and len(row) == 3 and all(map(_is_number, row))):
            raise ValueError(f"{what} {number}: {reprlib.repr(row)} is not three numbers. Fix it or drop the row.")
    return np.array(rows, dtype=float).reshape(-1, 3)


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number; in JSON, text, true and null are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
