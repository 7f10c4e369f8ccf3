"""The folder that holds saved graphs: one ``.npy`` file per array, and ``meta.json`` with the rest and all checksums.

A set of files changes in one step. The new files are written to a folder of their own inside; then the new
``meta.json``, which names that folder, takes the place of the old one; then the files move up. A reader first looks in
the folder that ``meta.json`` names, and starts again if ``meta.json`` has changed meanwhile. A kill at any moment
leaves the old set or the new one, and the next writer removes what is left over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from course_lib.files import locked, sha256_of, with_checksum, without_checksum, writing
from course_lib.validation import HEAVIEST, LARGEST, named

META = "meta.json"
"""The file that is not an array."""

_FORMAT = 4
_LOCK = ".lock"
_NEW = re.compile(r"\.new-[0-9a-f]{16}")  # a folder of new files
_PATIENCE = 10  # seconds to wait for another writer, or for a set that stays as it is while it is read
_BLOCK = 1 << 20  # values checked at a time
_ADVICE = "Save the graphs again."


class _Kind(NamedTuple):
    """What an array may hold: its type, what it has one row of, and the smallest and largest value."""

    dtype: str
    per: str
    low: float = -np.inf
    high: float = np.inf
    may_be_nan: bool = False


_DOUBLE = float(np.finfo(np.float64).max)
_KINDS = {
    "atom_offset": _Kind("int64", "offset", 0),
    "bond_offset": _Kind("int64", "offset", 0),
    "edge_offset": _Kind("int64", "offset", 0),
    "species": _Kind("uint8", "atom", 1, HEAVIEST),
    "cutoff": _Kind("float32", "atom", 0, LARGEST),
    "source": _Kind("int32", "bond", 0),
    "target": _Kind("int32", "bond", 0),
    "count": _Kind("int32", "bond", 1),
    "weight": _Kind("float32", "bond", 0, 1),
    "vector": _Kind("float32", "edge", -LARGEST, LARGEST),
    "composition": _Kind("float32", "crystal", -LARGEST, LARGEST),
    "y": _Kind("float64", "crystal", -_DOUBLE, _DOUBLE, may_be_nan=True),
}
ARRAYS = tuple(_KINDS)
"""Names of the arrays, as attributes of `course_lib.graphs.CrystalGraphs`."""


# --- writing ------------------------------------------------------------------------------------------------------


@contextmanager
def replaced(folder: str | os.PathLike) -> Iterator[Path]:
    """Give a folder for new files, which replace those in `folder` in the end.

    All arrays go there, and what `finish` writes. After an error `folder` is as it was before.

    Raises
    ------
    FileExistsError
        If `folder` exists and holds anything other than graphs.
    TimeoutError
        If another process writes there.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    if not is_new and not _is_ours(folder):
        raise FileExistsError(f"{folder} exists and holds no crystal graphs. Choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / _LOCK, f"the graphs in {folder}", _PATIENCE):
            _tidy(folder)
            new = folder / f".new-{secrets.token_hex(8)}"
            new.mkdir()
            try:
                with writing(folder):
                    yield new
                os.replace(new / META, folder / META)  # the one step
            except BaseException:
                shutil.rmtree(new)
                raise
            _tidy(folder)
    except BaseException:
        if is_new:
            with suppress(OSError):  # another process has come first
                folder.rmdir()
        raise


def _is_ours(folder: Path) -> bool:
    """Return whether the folder holds graphs, the remains of a first attempt to write some, or nothing.

    A ``meta.json`` alone may be anybody's.
    """
    names = {path.name for path in folder.iterdir()} - {_LOCK}
    new = {name for name in names if _NEW.fullmatch(name)}
    return names == new or (META in names and bool(new or names & {f"{name}.npy" for name in ARRAYS}))


def _tidy(folder: Path) -> None:
    """Move the files of the present set up, and remove the folders of all others; called by the one writer."""
    present = None
    if (folder / META).exists():
        with suppress(ValueError):  # damaged: no set is the present one, and this writer replaces it
            present = _read_meta(folder / META)["files_in"]
    for new in folder.iterdir():
        if not _NEW.fullmatch(new.name):
            continue
        if new.is_symlink() or not new.is_dir():  # what a link points to is someone's
            new.unlink()
            continue
        if new.name != present:
            shutil.rmtree(new)
            continue
        for file in new.iterdir():
            # Windows does not replace a file that is open, as a memory-mapped one is: it is read from where it lies.
            with suppress(PermissionError):
                os.replace(file, folder / file.name)
        with suppress(OSError):
            new.rmdir()


def finish(new: Path, about: dict) -> None:
    """Write ``meta.json`` next to the arrays in the folder for new files.

    Parameters
    ----------
    new : path
        What `replaced` gave.
    about : dict
        All that is not an array, in plain values; with the ``ids``.
    """
    sums = {name: sha256_of(new / f"{name}.npy") for name in ARRAYS}
    content = {"format": _FORMAT, "files_in": new.name, "sha256": sums} | about
    (new / META).write_text(json.dumps(with_checksum(content)), encoding="utf-8")


# --- reading ------------------------------------------------------------------------------------------------------


def read(folder: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what `finish` was given, and all arrays, memory-mapped; every byte of them is checked.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If the files are of another format, damaged, or do not fit together; it names the file.
    """
    folder = Path(folder)
    meta, end = folder / META, time.monotonic() + _PATIENCE
    while True:
        if not meta.is_file():
            raise FileNotFoundError(f"no crystal graphs in {folder}: no {META} there. Make them with graphs.save().")
        before = meta.read_bytes()
        try:
            return _read(folder)
        except (OSError, ValueError):
            # Another process has replaced the set between the opening of two files: start again with the new one.
            if meta.read_bytes() == before or time.monotonic() > end:
                raise


def _read(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    about = _read_meta(folder / META)
    arrays: dict[str, np.ndarray] = {}
    for name, sha256 in about["sha256"].items():
        path = folder / f"{name}.npy"
        inside = folder / about["files_in"] / path.name
        try:
            file = inside.open("rb")
        except FileNotFoundError:
            file = path.open("rb")
        with file, named(path, _ADVICE):
            arrays[name] = _read_array(file, _KINDS[name], sha256)
            _check_shape(name, arrays, about)
            _check_values(name, arrays)
    return about, arrays


def _read_meta(meta: Path) -> dict:
    """Return the content of ``meta.json``; raise ``ValueError`` where it is not what `finish` wrote."""
    with named(meta, _ADVICE):
        content = json.loads(meta.read_text(encoding="utf-8"))
        if content.get("format") != _FORMAT:
            raise ValueError(f"it has format {content.get('format')!r}, but this library reads {_FORMAT}")
        content = without_checksum(content)
        if tuple(content["sha256"]) != ARRAYS or not _NEW.fullmatch(content["files_in"]):
            raise ValueError("it does not name the arrays of graphs")
        for name in ("ids", "target_names"):
            if not (isinstance(content[name], list) and all(isinstance(one, str) for one in content[name])):
                raise ValueError(f"its {name} are not a list of text")
        if not isinstance(content["attrs"], dict):
            raise ValueError("its attrs are not an object")
    return content


def _read_array(file: BinaryIO, kind: _Kind, sha256: str) -> np.ndarray:
    """Return the array of an open ``.npy`` file, memory-mapped; no pickle is read."""
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        raise ValueError("it has a wrong checksum")
    file.seek(0)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype != kind.dtype or fortran:
        raise ValueError(f"it holds {dtype} instead of {kind.dtype}, row by row")
    return np.memmap(file, dtype, "r", file.tell(), shape)


def _check_shape(name: str, arrays: dict[str, np.ndarray], about: dict) -> None:
    """Raise ``ValueError`` when an array has not one row per crystal, atom, bond or edge, or not the right columns."""
    array, per, n_crystals = arrays[name], _KINDS[name].per, len(about["ids"])
    whole = {"crystal": n_crystals, "offset": n_crystals + 1}
    length = whole[per] if per in whole else int(arrays[f"{per}_offset"][-1])
    columns = {"vector": (3,), "composition": array.shape[1:2] or (0,), "y": (len(about["target_names"]),)}
    shape = (length, *columns.get(name, ()))
    if array.shape != shape:
        raise ValueError(f"its shape is {array.shape} instead of {shape}")


def _check_values(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Raise ``ValueError`` when a number is out of range, by itself or in its crystal."""
    array, kind = arrays[name], _KINDS[name]
    if kind.per == "offset":
        if len(array) == 0 or array[0] != 0 or (np.diff(array) < 0).any():
            raise ValueError("it does not rise from 0")
        return
    rows_at_once = max(1, _BLOCK // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), rows_at_once):
        block = np.asarray(array[start : start + rows_at_once])
        right = (block >= kind.low) & (block <= kind.high)
        if kind.may_be_nan:
            right |= np.isnan(block)
        if name in ("source", "target"):
            right &= block < _atoms_around(np.arange(start, start + len(block)), arrays)
        if not right.all():
            raise ValueError(f"row {start + int(np.argwhere(~right)[0][0])} holds {block[~right][0]}")
    if name == "count":
        _check_counts(arrays)


def _atoms_around(bonds: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return for each bond how many atoms its crystal has."""
    crystal = np.searchsorted(arrays["bond_offset"], bonds, side="right") - 1
    return np.diff(arrays["atom_offset"])[crystal]


def _check_counts(arrays: dict[str, np.ndarray]) -> None:
    """Raise ``ValueError`` when the counts of a crystal's bonds do not add up to its edges."""
    bonds, edges, counted = arrays["bond_offset"], arrays["edge_offset"], np.zeros(1, dtype=np.int64)
    for start in range(0, max(1, len(arrays["count"])), _BLOCK):
        block = np.cumsum(arrays["count"][start : start + _BLOCK], dtype=np.int64)
        counted = np.append(counted[-1], counted[-1] + block)
        ends = (bonds >= start) & (bonds < start + len(counted))
        wrong = counted[bonds[ends] - start] != edges[ends]
        if wrong.any():
            crystal = int(np.flatnonzero(ends)[np.argmax(wrong)]) - 1
            raise ValueError(f"the counts of the bonds of crystal {crystal} do not add up to its edges")
