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
from course_lib.validation import MOST_ATOMS, check_occupancy, is_element

if TYPE_CHECKING:
    from pymatgen.core import Structure

_LARGEST = 50_000_000  # characters; a CIF file with its diffraction data has a tenth of it
_SPECIES = re.compile(r"([A-Z][a-z]?)(?:_\w+)?(?:/[0-9a-f]+)?")  # Mg_pv/f474ac0d is magnesium, with a hash of VASP
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
        raise FileNotFoundError(f"{begin}{path} is missing. Add the file or leave it out.")
    try:
        return _reader(path.name)(_text(path))
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, RecursionError) as error:
        what = str(error).rstrip(".") or type(error).__name__
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
        If it is not a POSCAR, its elements are not stated or contradict each other, or it has more lines than atoms.
    """
    lines = text.splitlines()
    try:
        scale = float(lines[1])
        cell = np.array([line.split()[:3] for line in lines[2:5]], dtype=float).reshape(3, 3)
        symbols, counts, at = _species_of_poscar(lines)
        selective = lines[at].strip()[:1] in tuple("sS")
        at += 1 + selective
        cartesian = lines[at - 1].strip()[:1] in tuple("cCkK")
        atoms = [line.split() for line in lines[at : at + sum(counts)]]
        places = np.array([atom[:3] for atom in atoms], dtype=float).reshape(sum(counts), 3)
    except (IndexError, ValueError) as error:
        raise ValueError(f"it is not a whole POSCAR ({error})") from error
    after = lines[at + sum(counts) :]
    if (after and after[0].strip() and not after[0].strip().lower().startswith("lattice")) or not all(
        _AFTER_ATOMS.fullmatch(line.strip()) for line in after
    ):
        raise ValueError(f"it continues after the {sum(counts)} atoms of its counts; keep one structure per file")
    # A negative scale is the volume.
    factor = scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3)
    names = [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    names = _check_names(names, [atom[6:7] if selective else atom[3:4] for atom in atoms])
    return _structure(cell * factor, names, places * factor if cartesian else places, cartesian)


def _species_of_poscar(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Return symbols (empty texts where they are missing), counts, and the number of the line that follows."""
    at, words = 5, []
    while not lines[at].split()[0].isdigit():
        words += lines[at].split()
        at += 1
    counts = []
    while lines[at].split() and all(word.isdigit() for word in lines[at].split()):
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


def _check_names(names: list[str], written: list[list[str]]) -> list[str]:
    """Return the element of each atom, from the head or, in old files, from its line; the two must agree."""
    found = []
    for number, (name, words) in enumerate(zip(names, written, strict=True)):
        match = re.match(r"[A-Z][a-z]?(?![a-z])", words[0]) if words else None
        own = match[0] if match and is_element(match[0]) else ""
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
        If it is something else, or not a crystal of whole atoms.
    """
    from pymatgen.core import Element, Species

    n_sites = len(content["sites"]) if isinstance(content, dict) and isinstance(content.get("sites"), list) else 0
    if n_sites > MOST_ATOMS:
        raise ValueError(f"{n_sites} atoms; crystals have at most {MOST_ATOMS} here. Drop the row.")
    try:
        kind, matrix, sites = content.get("@class", "Structure"), content["lattice"]["matrix"], content["sites"]
        species = [
            [(one["element"], one.get("oxidation_state"), float(one["occu"])) for one in site["species"]]
            for site in sites
        ]
        cell = np.array(matrix, dtype=float).reshape(3, 3)
        places = np.array([site["abc"] for site in sites], dtype=float).reshape(len(sites), 3)
        if kind not in ("Structure", "IStructure"):
            raise TypeError(kind)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{reprlib.repr(content)} is not a pymatgen Structure. Convert it or drop the row.") from error
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
        check_occupancy(occupancy, f"site {number}")
        names.append(Element(element) if oxidation is None else Species(element, oxidation))
    return _structure(cell, names, places)


def _structure(cell: np.ndarray, names: list, places: np.ndarray, cartesian: bool = False) -> Structure:
    """Return a structure; raise ``ValueError`` for NaN or infinity, which files may hold and pymatgen accepts."""
    from pymatgen.core import Structure

    if not (np.isfinite(cell).all() and np.isfinite(places).all()):
        raise ValueError("NaN or infinity among its coordinates or lattice vectors. Fix it or drop the row.")
    return Structure(cell, names, places, coords_are_cartesian=cartesian)
