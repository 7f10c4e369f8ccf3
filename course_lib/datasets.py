"""Crystals with their properties as DataFrames, and the folds on which models are compared.

`load_dataset` reads the bundled crystals, a Matbench task or a folder of CIF files into one form: one row per
crystal, a ``structure`` column and the targets. `stream_dataset` reads the same crystal by crystal, for sets that are
larger than the memory. `folds` splits the rows for cross-validation. The datasets that have a name are in one table,
`course_lib.dataset_sources.SOURCES`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from course_lib.crystal_files import Stream, stream_files
from course_lib.dataset_sources import BUNDLED as BUNDLED
from course_lib.dataset_sources import DATA as DATA
from course_lib.dataset_sources import SOURCES, Source, matbench_tasks
from course_lib.downloads import cache_folder as cache_folder
from course_lib.structure_files import read_structure as read_structure
from course_lib.validation import check_number, check_positions, check_seed

if TYPE_CHECKING:
    from sklearn.model_selection import BaseShuffleSplit

MATBENCH_SEED = 18012019
"""Seed of the official Matbench folds (Dunn et al., npj Comput. Mater. 6, 138 (2020))."""

VALIDATION_SHARE = 1 / 8
"""Share of the training part that `folds` sets aside for early stopping."""


def load_dataset(name: str | os.PathLike) -> pd.DataFrame:
    """Load crystals and their properties.

    Parameters
    ----------
    name : str or path
        ``"pbe_prototypes"``, the crystals that come with the course (``data/README.md`` says how they were computed);
        another name of `catalogue`, such as the Matbench structure task ``"matbench_phonons"``, downloaded once into
        the cache (environment variable ``COURSE_DATA_DIR``, by default the user's cache folder); or the path of a
        folder of CIF or POSCAR files with ``id_prop.csv``, of such a CSV file, or of a JSON file written by matminer's
        ``store_dataframe_as_json``. ``id_prop.csv`` has one line ``id,target[,target...]`` per file and no header. The
        id is the name of the file, with its extension as ALIGNN has it, or without as CGCNN does; `read_structure`
        says which files are read.

    Returns
    -------
    pandas.DataFrame
        One row per crystal. The index holds unique ids (str). Columns: ``structure`` (pymatgen ``Structure``),
        ``formula`` (reduced), the targets, and what else the dataset has; the bundled one has
        ``formation_energy_per_atom`` (eV/atom), ``band_gap`` (eV) and ``prototype``. ``df.attrs`` holds ``name``,
        ``targets`` (column names), ``units`` (by column), ``source``, ``licence`` and ``sha256`` of the file read. The
        targets of a JSON file of your own are its columns of numbers; ``incomplete`` describes the first gap of each
        column with gaps, which is not a target, and ``other_columns`` has the names of all others.

    Raises
    ------
    FileNotFoundError
        If ``id_prop.csv``, or a file that it names, does not exist.
    ValueError
        If the name is unknown (the message has the nearest ones), ``id_prop.csv`` can be read in several ways or not at
        all (the message has the line), or a row is unusable: disordered or unreadable crystal, NaN or infinite target,
        repeated id.
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
    return SOURCES[name].load() if name in SOURCES else _stream_path(name).frame()


def stream_dataset(name: str | os.PathLike) -> Stream:
    """Open a dataset without holding its structures in memory, as far as its files allow.

    A folder of CIF files is read file by file, by all cores where there are many; the JSON file of a downloaded
    dataset, or one of your own, row by row.

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
    return SOURCES[name].stream() if name in SOURCES else _stream_path(name)


def catalogue() -> pd.DataFrame:
    """List the datasets that `load_dataset` knows by name.

    Returns
    -------
    DataFrame
        Indexed by name; columns ``crystals`` (how many), ``target``, ``unit``, ``task`` (``"regression"`` or
        ``"classification"``), ``licence``, ``file`` (its path), ``exists`` (whether it is on the disk) and
        ``citation``.
    """
    columns = ["crystals", "target", "unit", "task", "licence", "file", "exists", "citation"]
    rows = {name: _describe(source) for name, source in SOURCES.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("name")


def _describe(source: Source) -> tuple:
    """Return a row of the catalogue."""
    about, path = source.about, source.path
    target, unit = ", ".join(about.units), ", ".join(about.units.values())
    return about.crystals, target, unit, about.task, about.licence, str(path), path.is_file(), about.citation


def fetch_dataset(name: str) -> Path:
    """Download the file of a dataset into the cache unless it exists, check its hash and return its path.

    Raises
    ------
    ValueError
        If the name is unknown, or the file's hash is wrong.
    ConnectionError, PermissionError
        As `load_dataset`.
    """
    if name not in SOURCES:
        raise _unknown_dataset(name)
    return SOURCES[name].fetch()


def check_dataset(name: str) -> None:
    """Raise ``ValueError`` if the file of a dataset has the wrong hash; a missing file is fetched."""
    fetch_dataset(name)


def _stream_path(path: str | os.PathLike) -> Stream:
    """Open the user's own files."""
    if not Path(path).exists():
        raise _unknown_dataset(path)
    return stream_files(Path(path))


def _unknown_dataset(name: str | os.PathLike) -> Exception:
    """Return the error for something that is neither a dataset nor a path."""
    if str(name).startswith("matbench_") and not matbench_tasks():
        # The pinned dependencies of matbench are years old; it works with today's.
        return ModuleNotFoundError(
            f"{name} needs the packages matbench and matminer: pip install matminer, and then pip install --no-deps "
            "matbench==0.6"
        )
    if name in matbench_tasks():
        return ValueError(f"{name} has compositions but no structures; the models of this course need structures.")
    nearest = get_close_matches(str(name), SOURCES, n=3, cutoff=0.5) or SOURCES
    return ValueError(f"unknown dataset {str(name)!r}, and no such path. Nearest names: {', '.join(nearest)}.")


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
        """Return fold ``number``; ``IndexError`` if no fold has that number."""
        if not 0 <= number < len(self._parts):
            raise IndexError(
                f"fold {number} does not exist: the {len(self._parts)} folds are numbered 0 to {len(self._parts) - 1}"
            )
        return self._parts[number]


def folds(df: pd.DataFrame, kind: str = "random", n_splits: int = 5, seed: int = MATBENCH_SEED) -> Folds:
    """Split the rows of a dataset for cross-validation: each row is tested in exactly one fold.

    The part that is not tested is divided again: one eighth (`VALIDATION_SHARE`) is for early stopping, the
    rest for training. The same frame and seed always give the same folds.

    Parameters
    ----------
    df : pandas.DataFrame
        As from `load_dataset`.
    kind : {"random", "formula"}
        ``"random"``: rows are assigned at random, with the seed and method of Matbench; a Matbench task gets its
        official test sets. ``"formula"``: rows are assigned by reduced formula, so all structures of one formula
        are in the same part, and the validation share counts formulas.
    n_splits : int
        Number of folds, at least 2.
    seed : int, default `MATBENCH_SEED`
        How the rows are assigned: another seed gives another set of folds, for a repeated cross-validation.

    Returns
    -------
    Folds
        A sequence of `Fold`, three arrays of row positions each.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, or there are too few rows or formulas.
    """
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit

    check_seed(seed)
    check_number("n_splits", n_splits, whole=True, least=2)
    if kind == "random":
        groups = None
        n_groups, counted = len(df), "rows"
        outer = KFold(n_splits, shuffle=True, random_state=seed)
        inner = ShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    elif kind == "formula":
        groups = _formulas(df).to_numpy()
        n_groups, counted = len(np.unique(groups)), "formulas"
        outer = GroupKFold(n_splits, shuffle=True, random_state=seed)
        inner = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    else:
        raise ValueError(f"folds(kind={kind!r}): kind is 'random' or 'formula'")
    if n_groups < n_splits or n_groups - math.ceil(n_groups / n_splits) < 2:
        raise ValueError(
            f"folds(kind={kind!r}, n_splits={n_splits}) cannot split {n_groups} {counted}: each fold needs one to "
            "test, one to validate and one to train on. Give more crystals or fewer splits."
        )
    source = SOURCES.get(df.attrs.get("name")) if kind == "random" else None
    official = source.official_folds() if source else []
    if len(official) == n_splits:
        tests = _official_tests(df, official)
    else:
        tests = [test for _, test in outer.split(np.zeros(len(df)), groups=groups)]
    return Folds([_fold(len(df), groups, test, inner) for test in tests])


def fold_of_test(df: pd.DataFrame, test: np.ndarray) -> Fold:
    """Return the fold that has these test rows, for example all crystals with one element.

    Parameters
    ----------
    df : pandas.DataFrame
        As from `load_dataset`.
    test : array of int
        Positions of the rows to test on.

    Returns
    -------
    Fold
        One eighth (`VALIDATION_SHARE`) of the other formulas for validation, the rest for training.

    Raises
    ------
    ValueError
        If `test` is not a list of different positions of rows, such as a mask, or leaves fewer than two formulas.
    """
    from sklearn.model_selection import GroupShuffleSplit

    _check_test(df, test)
    inner = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=MATBENCH_SEED)
    return _fold(len(df), _formulas(df).to_numpy(), test, inner)


def _check_test(df: pd.DataFrame, test: np.ndarray) -> None:
    check_positions("test", test, len(df))
    rows = np.unique(np.arange(len(df))[test])
    if not len(rows) or len(rows) < len(test):
        raise ValueError(f"test has {len(test)} positions of {len(rows)} rows. Give each row of the test set once.")
    if len(np.unique(np.delete(_formulas(df).to_numpy(), rows))) < 2:
        raise ValueError("test leaves fewer than two formulas: one is needed to validate and one to train on.")


def _formulas(df: pd.DataFrame) -> pd.Series:
    """Return the reduced formula of each row."""
    if "formula" in df:
        return df["formula"]
    return df["structure"].map(lambda structure: structure.composition.reduced_formula)


def _official_tests(df: pd.DataFrame, official: list[list[str]]) -> list[np.ndarray]:
    """Return the rows of each official test set, found by id."""
    tests = [np.flatnonzero(df.index.isin(ids)) for ids in official]
    if sum(map(len, tests)) != len(df):
        raise ValueError(
            f"some ids in the index do not belong to {df.attrs['name']}, so the rows have no official folds. "
            "Keep the index of load_dataset, or clear df.attrs['name'] to split the rows at random."
        )
    return tests


def _fold(n_rows: int, groups: np.ndarray | None, test: np.ndarray, inner: BaseShuffleSplit) -> Fold:
    """Divide the rows outside ``test`` into training and validation; rows with one group, shape (B,), stay together."""
    rest = np.setdiff1d(np.arange(n_rows), test)
    train, validation = next(inner.split(rest, groups=None if groups is None else groups[rest]))
    return Fold(*(np.sort(part).astype(np.int64) for part in (rest[train], rest[validation], test)))
