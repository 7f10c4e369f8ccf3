"""Crystals with their properties as DataFrames, and the folds on which models are compared.

`load_dataset` reads the bundled crystals, a Matbench task or a folder of CIF files into one form: a row per
crystal, a ``structure`` column and the targets. `stream_dataset` reads the same crystal by crystal, for sets that are
larger than the memory. `folds` splits the rows for cross-validation.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from course_lib.json_frames import read_json_frame
from course_lib.validation import check_structure, check_targets, check_unique_ids, describe_row

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from sklearn.model_selection import BaseShuffleSplit

DATA = Path(__file__).resolve().parent.parent / "data"
"""Folder of the bundled data."""

BUNDLED = "pbe_prototypes"
"""Name of the dataset that comes with the course."""

MATBENCH_SEED = 18012019
"""Seed of the official Matbench folds (Dunn et al., npj Comput. Mater. 6, 138 (2020))."""

VALIDATION_SHARE = 1 / 8
"""Share of the training part that `folds` sets aside for early stopping."""

_CIFS_FOR_PROCESSES = 1000  # from so many files on, starting processes costs less than it saves
_CIFS_AT_A_TIME = 500  # structures that processes have read and nobody has taken yet

# Remarks of pymatgen's parsers that change nothing about the crystal; any other remark is an error.
_HARMLESS_REMARKS = (
    "fractional coordinates rounded to ideal values",
    "Skipping relative stoichiometry check",
    "Cannot determine chemical composition from CIF",  # no formula in the file to compare with
    "type key found. Spacegroup from",  # the symmetry is given by its name
    "A 1-line symmetry op P1 CIF is detected",
    "No Pauling electronegativity for",  # noble gases
)


def load_dataset(name: str | os.PathLike) -> pd.DataFrame:
    """Load crystals and their properties.

    Parameters
    ----------
    name : str or path
        ``"pbe_prototypes"``, the crystals that come with the course (``data/README.md`` tells how they were
        computed); a Matbench structure task such as ``"matbench_phonons"``, downloaded once into the cache
        (environment variable ``COURSE_DATA_DIR``, by default the user's cache folder); or the path of a folder of
        CIF files with ``id_prop.csv`` (one line ``id,target[,target...]`` per file ``id.cif``, no header, as
        CGCNN reads it), of such a CSV file, or of a JSON file written by matminer's ``store_dataframe_as_json``.

    Returns
    -------
    pandas.DataFrame
        One row per crystal. The index holds unique ids (str). Columns: ``structure`` (pymatgen ``Structure``),
        ``formula`` (reduced), the targets, and what else the dataset has; the bundled one has
        ``formation_energy_per_atom`` (eV/atom), ``band_gap`` (eV) and ``prototype``. ``df.attrs`` holds ``name``,
        ``targets`` (column names), ``units`` (by column), ``source``, ``licence`` and ``sha256`` of the file read.

    Raises
    ------
    ValueError
        If the name is unknown (the message has the nearest ones), or a row is unusable: disordered, unreadable
        or missing crystal, NaN or infinite target, repeated id.
    ConnectionError
        If a download fails; the message says what to fetch and where to put it.
    PermissionError
        If the cache cannot be written.

    Examples
    --------
    >>> df = load_dataset("pbe_prototypes")
    >>> df.attrs["units"]["band_gap"]
    'eV'
    """
    if name == BUNDLED:
        return _load_bundled()
    if name in _matbench_tasks():
        return _load_matbench(str(name))
    path = Path(name)
    if path.is_dir():
        return _load_cifs(path / "id_prop.csv")
    if path.is_file() and path.suffix == ".csv":
        return _load_cifs(path)
    if path.is_file() and path.name.endswith((".json", ".json.gz")):
        return _load_json(path)
    raise _unknown_dataset(name)


class Stream(NamedTuple):
    """A dataset whose structures come one after the other.

    Attributes
    ----------
    ids : list of str
        Name of each crystal.
    targets : DataFrame, shape (B, n_targets)
        Indexed by id.
    structures : iterator of pymatgen Structure
        In the same order; to be read once.
    attrs : dict
        As ``df.attrs`` of `load_dataset`.
    """

    ids: list[str]
    targets: pd.DataFrame
    structures: Iterator[Structure]
    attrs: dict


def stream_dataset(name: str | os.PathLike) -> Stream:
    """Open a dataset without holding its structures in memory, as far as its files allow that.

    A folder of CIF files is read file by file, by all cores where there are many; the JSON file of a Matbench task, or
    one of your own, row by row.

    Parameters
    ----------
    name : str or path
        As for `load_dataset`.

    Returns
    -------
    Stream
        Give it to ``CrystalGraphs.from_structures(stream.structures, ids=stream.ids, targets=stream.targets,
        folder=...)``.

    Raises
    ------
    ValueError, ConnectionError, PermissionError
        As `load_dataset`; for a bad file only when its turn comes.
    """
    if name == BUNDLED:
        frame = _load_bundled()
        return Stream(list(frame.index), frame[frame.attrs["targets"]], iter(frame["structure"]), frame.attrs)
    if name in _matbench_tasks():
        return _stream_matbench(str(name))
    path = Path(name)
    if path.is_dir():
        return _stream_cifs(path / "id_prop.csv")
    if path.is_file() and path.suffix == ".csv":
        return _stream_cifs(path)
    if path.is_file() and path.name.endswith((".json", ".json.gz")):
        return _stream_json(path)[0]
    raise _unknown_dataset(name)


def read_structure(path: str | os.PathLike, where: str = "") -> Structure:
    """Read one crystal from a file: CIF, POSCAR, or what else pymatgen knows by its name.

    Parameters
    ----------
    path : path
        The file. Whatever pymatgen only remarks on is an error too, but for what changes nothing.
    where : str, optional
        What an error message begins with, for example the row that asks for the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, is doubtful, or holds more than one structure.
    """
    path, begin = Path(path), f"{where}: " if where else ""
    if not path.is_file():
        raise FileNotFoundError(f"{begin}{path} is missing. Add the file or leave it out.")
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", UserWarning)
        try:
            structures = _parse(path)
        # The parsers have no error of their own: what a broken file raises depends on where it is broken.
        except Exception as error:
            raise ValueError(f"{begin}cannot read {path} ({error}). Mend the file or leave it out.") from error
    serious = [
        str(remark.message)
        for remark in remarks
        if issubclass(remark.category, UserWarning)
        and not any(harmless in str(remark.message) for harmless in _HARMLESS_REMARKS)
    ]
    if serious:
        raise ValueError(f"{begin}{path} is doubtful: {serious[0]} Mend the file or leave it out.")
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


def _unknown_dataset(name: str | os.PathLike) -> Exception:
    """Return the error for something that is neither a dataset nor a readable path."""
    if str(name).startswith("matbench_") and find_spec("matbench") is None:
        # Its pinned dependencies are years old; it works with today's.
        return ModuleNotFoundError(f"{name} needs the matbench package: pip install --no-deps matbench==0.6")
    if Path(name).exists():
        return ValueError(
            f"cannot read {str(name)!r}: give a folder with id_prop.csv and CIF files, its CSV file, or a JSON file."
        )
    known = [BUNDLED, *(task for task, meta in _matbench_tasks().items() if meta["input_type"] == "structure")]
    nearest = get_close_matches(str(name), known, n=3, cutoff=0.5) or known
    return ValueError(f"unknown dataset {str(name)!r}, and no such path. Nearest names: {', '.join(nearest)}.")


# --- the bundled crystals -----------------------------------------------------------------------------------------


def _load_bundled() -> pd.DataFrame:
    """Read ``data/pbe_prototypes.json``."""
    from pymatgen.core import Lattice, Structure

    path = DATA / f"{BUNDLED}.json"
    restore = (
        f"Restore it with 'git checkout -- data/{path.name} data/checksums.sha256', "
        "or rebuild it with 'python -m data.pbe_prototypes.build'."
    )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {restore}")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if f"{sha256}  {path.name}" not in (DATA / "checksums.sha256").read_text().splitlines():
        raise ValueError(f"{path} is corrupt or truncated: its checksum is not the one in checksums.sha256. {restore}")
    dataset = json.loads(content)
    frame = pd.DataFrame(dataset.pop("rows")).set_index("id")
    geometry = [frame.pop(column) for column in ("lattice", "species", "coordinates")]
    structures = [
        Structure(Lattice(lattice), species, coordinates)
        for lattice, species, coordinates in zip(*geometry, strict=True)
    ]
    frame.insert(0, "structure", structures)
    frame.attrs = {**dataset, "sha256": sha256}
    return frame


# --- Matbench -----------------------------------------------------------------------------------------------------


def _matbench_file(name: str) -> Path:
    """Return the path of a file of the installed matbench package, without the seconds that importing it takes."""
    return Path(find_spec("matbench").submodule_search_locations[0]) / name


@cache
def _matbench_tasks() -> dict[str, dict]:
    """Return matbench's own description of each of its tasks; nothing when the package is not installed."""
    if find_spec("matbench") is None:
        return {}
    return json.loads(_matbench_file("matbench_v0.1_dataset_metadata.json").read_text())


@cache
def _matbench_folds() -> dict[str, dict]:
    """Return the official folds: ids by task, fold (``"fold_0"``) and part (``"train"``, ``"test"``)."""
    return json.loads(_matbench_file("matbench_v0.1_validation.json").read_text())["splits"]


class _Source(NamedTuple):
    """Where the file of a Matbench task comes from, and where it is kept."""

    url: str
    sha256: str
    reference: str
    path: Path


def _matbench_source(name: str) -> _Source:
    """Return what matminer says of a Matbench task."""
    from matminer.datasets.dataset_retrieval import get_dataset_attribute

    url, sha256, reference, file_type = (
        get_dataset_attribute(name, attribute) for attribute in ("url", "hash", "reference", "file_type")
    )
    return _Source(url, sha256, reference, cache_folder() / f"{name}.{file_type}")


def fetch_dataset(name: str) -> Path:
    """Download the file of a Matbench task into the cache, if it is not there, check its hash and return its path.

    Raises
    ------
    ValueError
        If there is no such task, or the file's hash is wrong.
    ConnectionError, PermissionError
        As `download`.
    """
    if name not in _matbench_tasks():
        raise _unknown_dataset(name)
    source = _matbench_source(name)
    download(source.url, source.sha256, source.path)
    return source.path


def check_dataset(name: str) -> None:
    """Raise ``ValueError`` when the file of a dataset that is here is not what it should be."""
    if name == BUNDLED:
        _load_bundled()
    else:
        fetch_dataset(name)  # which checks what is there, and downloads nothing then


def catalogue() -> pd.DataFrame:
    """List the datasets that `load_dataset` knows by name.

    Returns
    -------
    DataFrame
        Indexed by name; columns ``crystals`` (how many), ``target``, ``unit``, ``task`` (``"regression"`` or
        ``"classification"``) and ``file``, where it lies; ``here`` says whether it does.
    """
    bundled = _load_bundled()
    attrs = bundled.attrs
    targets, units = attrs["targets"], [attrs["units"][target] for target in attrs["targets"]]
    path = DATA / f"{BUNDLED}.json"
    rows = {BUNDLED: (len(bundled), ", ".join(targets), ", ".join(units), "regression", str(path), path.is_file())}
    for name, task in _matbench_tasks().items():
        if task["input_type"] == "structure":
            path = _matbench_source(name).path
            unit = task["unit"] or "class"
            rows[name] = (task["n_samples"], task["target"], unit, task["task_type"], str(path), path.is_file())
    columns = ["crystals", "target", "unit", "task", "file", "here"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("name")


def _load_matbench(name: str) -> pd.DataFrame:
    """Read a Matbench task through the matbench package, from the cache or from the network."""
    attrs, path = _matbench_attrs(name), fetch_dataset(name)

    from matbench.data_ops import load  # takes seconds, so only when there is something to read

    with _environment(MATMINER_DATA=str(path.parent)):
        frame = load(name)
    frame.insert(1, "formula", [structure.composition.reduced_formula for structure in frame["structure"]])
    frame.attrs = attrs
    return frame


def _stream_matbench(name: str) -> Stream:
    """Read a Matbench task row by row; the ids are those that the matbench package gives."""
    attrs, path = _matbench_attrs(name), fetch_dataset(name)
    labels = _read_labels(path)
    prefix, digits = name.replace("matbench", "mb").replace("_", "-"), len(str(len(labels)))
    labels.index = pd.Index([f"{prefix}-{number + 1:0{digits}d}" for number in labels.index], name="mbid")
    return Stream(list(labels.index), labels[attrs["targets"]], _read_structures(path, list(labels.index)), attrs)


def _matbench_attrs(name: str) -> dict:
    """Return ``attrs`` of a Matbench task; raise ``ValueError`` when it has no structures."""
    task = _matbench_tasks()[name]
    if task["input_type"] != "structure":
        raise ValueError(f"{name} has compositions but no structures; the models of this course need structures.")
    source = _matbench_source(name)
    return {
        "name": name,
        "targets": [task["target"]],
        "units": {task["target"]: task["unit"] or "class"},
        "source": f"{source.url} ({source.reference})",
        "licence": "as stated by the source",
        "sha256": source.sha256,
    }


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while: the only way to tell matbench where its files are."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- the cache and downloads --------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return the folder that holds downloads: ``COURSE_DATA_DIR``, by default in the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("COURSE_DATA_DIR") or user_cache_dir("course_lib", appauthor=False)).expanduser()


def download(url: str, sha256: str, path: Path) -> None:
    """Fetch ``url`` to ``path``, unless it is there already, and check its SHA-256 hash.

    The file grows under the name ``<path>.part`` and gets its own name only when it is complete and its hash
    is right. An interrupted download continues where it stopped; a second process waits for the first.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched.
    PermissionError
        If the folder of ``path`` cannot be written.
    ValueError
        If the hash differs.
    """
    from filelock import FileLock

    if not path.exists():
        _check_writable(path.parent)
        with FileLock(f"{path}.lock"):
            if not path.exists():  # another process may have fetched it while this one waited
                part = path.with_name(path.name + ".part")
                _fetch(url, sha256, part, path)
                _check_hash(part, sha256, f"Removed it; load the dataset again to fetch it anew from {url}.")
                os.replace(part, path)
                return
    _check_hash(path, sha256, f"Delete {path} and load the dataset again to fetch it anew from {url}.", keep=True)


def _check_writable(folder: Path) -> None:
    """Raise ``PermissionError`` unless a file can be made in ``folder``, which is made first where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"cannot write to the cache folder {folder} ({error.strerror}). Make it writable, or set the environment "
            "variable COURSE_DATA_DIR to a folder you may write to."
        ) from error


def _check_hash(path: Path, sha256: str, mend: str, keep: bool = False) -> None:
    """Raise ``ValueError`` when the file has another SHA-256 hash; remove it then unless ``keep``."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        if not keep:
            path.unlink()
        raise ValueError(f"{path} is corrupt or truncated: sha256 {found}, expected {sha256}. {mend}")


def _fetch(url: str, sha256: str, part: Path, path: Path) -> None:
    """Append to ``part`` what it still lacks of ``url``."""
    import requests
    import urllib3
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=30) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return  # nothing is lacking
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            total = int(response.headers.get("Content-Length", 0)) + (have if resumed else 0)
            with (
                part.open("ab" if resumed else "wb") as file,
                # Shown on terminals only: a bar in a log file is noise.
                tqdm(
                    desc=path.name, total=total or None, initial=file.tell(), unit="B", unit_scale=True, disable=None
                ) as bar,
            ):
                for chunk in response.raw.stream(1 << 16, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(
            f"could not download {path.name}: {error}. With a network, try again: it continues where it stopped. "
            f"Without one, fetch {url} elsewhere (sha256 {sha256}) and put it at {path}."
        ) from error


# --- the user's own files -----------------------------------------------------------------------------------------


def _load_cifs(table: Path) -> pd.DataFrame:
    """Read the CIF files that a CGCNN-style ``id_prop.csv`` lists; they lie in its folder."""
    stream = _stream_cifs(table)
    frame = stream.targets.copy()
    frame.insert(0, "structure", list(stream.structures))
    frame.insert(1, "formula", [structure.composition.reduced_formula for structure in frame["structure"]])
    frame.attrs = stream.attrs
    return frame


def _stream_cifs(table: Path) -> Stream:
    """Read ``id_prop.csv``, and the CIF files when they are asked for."""
    ids, targets = _read_id_prop(table)
    check_unique_ids(ids)
    names = ["target"] if targets.shape[1] == 1 else [f"target_{number + 1}" for number in range(targets.shape[1])]
    for name, column in zip(names, targets.T, strict=True):
        check_targets(column, name, ids)
    frame = pd.DataFrame(targets, index=pd.Index(ids, name="id"), columns=names)
    return Stream(ids, frame, _read_cifs(table.parent, ids), _attrs(table, names))


def _read_cifs(folder: Path, ids: list[str]) -> Iterator[Structure]:
    """Yield the checked structures of the CIF files, a few hundred of them in memory at a time."""
    rows = iter(range(len(ids)))
    with Parallel(n_jobs=-1 if len(ids) >= _CIFS_FOR_PROCESSES else 1) as parallel:
        while some := list(islice(rows, _CIFS_AT_A_TIME)):
            structures = parallel(
                delayed(read_structure)(folder / f"{ids[row]}.cif", describe_row(row, ids)) for row in some
            )
            for row, structure in zip(some, structures, strict=True):
                check_structure(structure, row, ids)
                yield structure


def _load_json(path: Path) -> pd.DataFrame:
    """Read a frame of structures and targets that matminer's ``store_dataframe_as_json`` wrote."""
    stream, labels = _stream_json(path)
    structures = list(stream.structures)
    formulas = [structure.composition.reduced_formula for structure in structures]
    columns = {"structure": structures, "formula": formulas}
    frame = pd.DataFrame(columns, index=labels.index).join(labels.drop(columns="formula", errors="ignore"))
    frame.attrs = stream.attrs
    return frame


def _stream_json(path: Path) -> tuple[Stream, pd.DataFrame]:
    """Open such a frame row by row; its columns of numbers are the targets. Return all other columns, too."""
    labels = _read_labels(path)
    labels.index = pd.Index([str(label) for label in labels.index], name="id")
    ids = list(labels.index)
    check_unique_ids(ids)
    names = [str(name) for name in labels.select_dtypes(["number", "bool"])]
    for name in names:
        check_targets(labels[name].to_numpy(), name, ids)
    return Stream(ids, labels[names], _read_structures(path, ids), _attrs(path, names)), labels


def _read_labels(path: Path) -> pd.DataFrame:
    """Return all of a frame in a JSON file but its structures."""
    from monty.json import MontyDecoder

    frame = read_json_frame(path)
    if "structure" not in frame.columns:
        raise ValueError(f"{path} has no column 'structure', only {', '.join(map(str, frame.columns))}.")
    kept = [column for column, name in enumerate(frame.columns) if name != "structure"]
    cells = [[row[column] for column in kept] for row in frame.rows]
    names = [frame.columns[column] for column in kept]
    return pd.DataFrame(MontyDecoder().process_decoded(cells), index=frame.index, columns=names)


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


def _read_id_prop(table: Path) -> tuple[list[str], np.ndarray]:
    """Return the ids and the targets, shape (B, n_targets), of a CGCNN-style ``id_prop.csv``."""
    if not table.is_file():
        raise FileNotFoundError(f"{table} is missing. It has one line 'id,target' for each file id.cif.")
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        lines = [(reader.line_num, [field.strip() for field in line]) for line in reader if line]
    if not lines:
        raise ValueError(f"{table} is empty. It has one line 'id,target' for each file id.cif.")
    width = len(lines[0][1])
    for number, line in lines:
        if len(line) < 2 or len(line) != width:
            raise ValueError(
                f"{table}, line {number}: {','.join(line)!r} has {len(line)} fields, expected {max(width, 2)}. "
                "Write the id and then the target, or as many targets on every line, separated by commas."
            )
        for field in line[1:]:
            if not _is_number(field):
                hint = "Delete the line if it is a header." if number == 1 else "Write a number or drop the line."
                raise ValueError(f"{table}, line {number} (id {line[0]!r}): target {field!r} is no number. {hint}")
    return [line[0] for _, line in lines], np.array([line[1:] for _, line in lines], dtype=float)


def _is_number(text: str) -> bool:
    """Return whether ``float`` can read ``text``."""
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- folds --------------------------------------------------------------------------------------------------------


class Fold(NamedTuple):
    """Row positions (int64, ascending) of the three parts of one fold; together they are all rows, each once."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Folds(Sequence):
    """The folds of a cross-validation, numbered from 0: ``len(folds)``, ``folds[0]``, ``for fold in folds``."""

    def __init__(self, parts: Sequence[Fold]):
        self._parts = tuple(parts)

    def __len__(self) -> int:
        """Return how many folds there are."""
        return len(self._parts)

    def __getitem__(self, number: int) -> Fold:
        """Return fold ``number``; ``IndexError`` when there is none of that number."""
        if not 0 <= number < len(self._parts):
            raise IndexError(
                f"fold {number} does not exist: there are {len(self._parts)}, numbered 0 to {len(self._parts) - 1}"
            )
        return self._parts[number]


def folds(df: pd.DataFrame, kind: str = "random", n_splits: int = 5) -> Folds:
    """Split the rows of a dataset for cross-validation: each row is tested in exactly one fold.

    The part that is not tested is divided again: one eighth (`VALIDATION_SHARE`) is for early stopping, the
    rest for training. The same frame always gives the same folds.

    Parameters
    ----------
    df : pandas.DataFrame
        As from `load_dataset`.
    kind : {"random", "formula"}
        ``"random"``: rows are dealt at random, with the seed and method of Matbench; a Matbench task gets its
        official test sets. ``"formula"``: rows are dealt by reduced formula, so all structures of one formula
        are in the same part, and the validation share counts formulas.
    n_splits : int
        Number of folds, at least 2.

    Returns
    -------
    Folds
        A sequence of `Fold`, three arrays of row positions each.

    Raises
    ------
    ValueError
        If ``kind`` is another word, or there are too few rows or formulas.
    """
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit

    if kind == "random":
        groups = None
        n_groups, counted = len(df), "rows"
        outer = KFold(n_splits, shuffle=True, random_state=MATBENCH_SEED)
        inner = ShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=MATBENCH_SEED)
    elif kind == "formula":
        groups = _formulas(df).to_numpy()
        n_groups, counted = len(np.unique(groups)), "formulas"
        outer = GroupKFold(n_splits, shuffle=True, random_state=MATBENCH_SEED)
        inner = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=MATBENCH_SEED)
    else:
        raise ValueError(f"folds(kind={kind!r}): kind is 'random' or 'formula'")
    if n_groups < n_splits or n_groups - math.ceil(n_groups / n_splits) < 2:
        raise ValueError(
            f"folds(kind={kind!r}, n_splits={n_splits}) cannot split {n_groups} {counted}: each fold needs one to "
            "test, one to validate and one to train on. Give more crystals or fewer splits."
        )
    if kind == "random" and n_splits == 5 and df.attrs.get("name") in _matbench_tasks():
        tests = _official_tests(df)
    else:
        tests = [test for _, test in outer.split(np.zeros(len(df)), groups=groups)]
    return Folds([_fold(len(df), groups, test, inner) for test in tests])


def _formulas(df: pd.DataFrame) -> pd.Series:
    """Return the reduced formula of each row."""
    if "formula" in df:
        return df["formula"]
    return df["structure"].map(lambda structure: structure.composition.reduced_formula)


def _official_tests(df: pd.DataFrame) -> list[np.ndarray]:
    """Return the rows of each official Matbench test set, found by id."""
    official = _matbench_folds()[df.attrs["name"]]
    tests = [np.flatnonzero(df.index.isin(official[f"fold_{number}"]["test"])) for number in range(len(official))]
    if sum(map(len, tests)) != len(df):
        raise ValueError(
            f"some ids in the index are not those of {df.attrs['name']}, so it has no official folds. "
            "Keep the index of load_dataset, or clear df.attrs['name'] to split the rows at random."
        )
    return tests


def _fold(n_rows: int, groups: np.ndarray | None, test: np.ndarray, inner: BaseShuffleSplit) -> Fold:
    """Divide the rows outside ``test`` into training and validation; rows with one group, shape (B,), stay together."""
    rest = np.setdiff1d(np.arange(n_rows), test)
    train, validation = next(inner.split(rest, groups=None if groups is None else groups[rest]))
    return Fold(*(np.sort(part).astype(np.int64) for part in (rest[train], rest[validation], test)))
