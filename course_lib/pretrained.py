"""Embeddings and energies of CHGNet, a network that was trained elsewhere, and where they are stored.

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023), https://doi.org/10.1038/s42256-023-00716-3) was trained on 1.5
million structures from relaxations of the Materials Project. Its weights come with the package ``chgnet`` (BSD
licence), which is an extra: ``pip install 'course-lib[pretrained]'``. Its outputs for the bundled crystals are stored
in ``data``, so the pages need neither package nor network.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from course_lib.datasets import DATA
from course_lib.files import write_atomically
from course_lib.graphs import CrystalGraphs
from course_lib.validation import check_same_length, named

if TYPE_CHECKING:
    from pymatgen.core import Structure

ENERGY = "pretrained energy"
"""The column of the pretrained energy, in eV/atom."""

EMBEDDING_SIZE = 64
N_ELEMENTS = 119  # atomic numbers 0 to 118
PACKAGE, VERSION, LICENCE = "chgnet", "0.4.2", "BSD-3-Clause"
STORED = DATA / "pretrained_chgnet.csv"
"""Where the features of the bundled crystals are."""

_BATCH = 32  # crystals that the network reads at a time


def pretrained_features(structures: Sequence[Structure], ids: Sequence[str] | None = None) -> pd.DataFrame:
    """Return CHGNet's energy and crystal embedding of each crystal. This takes about 30 ms per crystal on one core.

    Parameters
    ----------
    structures : sequence of pymatgen.core.Structure
        B ordered crystals. Their positions are read as they are; nothing is relaxed.
    ids : sequence of str, optional
        Their names; those of a Series, or the row numbers, where not given.

    Returns
    -------
    DataFrame of float32, shape (B, 65)
        `ENERGY` in eV/atom, with the corrections of the Materials Project and its reference of each element, and the 64
        numbers of the embedding, the mean over the atoms, which have no unit.

    Raises
    ------
    ImportError
        If the package is not installed in the right version; the message says how to install it.
    """
    from_package = _load_chgnet()
    own = structures.index if isinstance(structures, pd.Series) else range(len(structures))
    labels = own if ids is None else ids
    check_same_length(structures=structures, ids=labels)
    found = from_package.predict_structure(list(structures), task="e", return_crystal_feas=True, batch_size=_BATCH)
    found = [found] if isinstance(found, dict) else found  # one structure does not give a list
    # The package adds the atoms' vectors up, so a supercell would have another embedding; their mean does not change.
    rows = zip(structures, found, strict=True)
    numbers = np.array([[one["e"], *one["crystal_fea"] / len(atoms)] for atoms, one in rows], dtype=np.float32)
    return pd.DataFrame(numbers.reshape(len(labels), -1), index=pd.Index(labels), columns=_columns())


def _columns() -> list[str]:
    return [ENERGY, *(f"embedding {k}" for k in range(EMBEDDING_SIZE))]


def _load_chgnet() -> object:
    """Return the network; raise ``ImportError`` where it is not installed as the stored features had it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        found = None
    if found != VERSION:
        state = "not installed" if found is None else f"installed as {found}"
        raise ImportError(
            f"{PACKAGE} {VERSION} is {state}. Install it: pip install 'course-lib[pretrained]'. On a Python newer "
            "than 3.12, pip builds it from source, which needs a C compiler."
        )
    from chgnet.model import CHGNet

    return CHGNet.load(use_device="cpu", verbose=False)


def store(features: pd.DataFrame, crystals: pd.DataFrame, path: Path = STORED) -> None:
    """Write features of the bundled crystals, with their origin: package, version, licence, checksum.

    Parameters
    ----------
    features : DataFrame, shape (B, 65)
        As from `pretrained_features`, in the order of the crystals.
    crystals : DataFrame
        The dataset, with the column ``structure``.
    path : Path, optional
        Where to.
    """
    table = features.to_csv(index_label="id", float_format="%.6g")
    write_made_of(path, f"{PACKAGE} {VERSION} ({LICENCE})", crystals, table)


def write_made_of(path: Path, what: str, crystals: pd.DataFrame, table: str) -> None:
    """Write a table, as CSV text, below lines that say what it is, and the checksums of its crystals and its own."""
    about = f"# {what}; made of crystals with the checksum\n# {checksum(crystals)}\n"
    write_atomically(path, about + _seal(about + table) + table)


def _seal(rest: str) -> str:
    return f"# sha256 of all other lines: {hashlib.sha256(rest.encode()).hexdigest()}\n"


def read_made_of(path: Path, crystals: pd.DataFrame, command: str, dtype: object) -> pd.DataFrame:
    """Read the table that `write_made_of` wrote, by id.

    Raises
    ------
    ValueError
        If it has changed, or was made of other crystals; the message names the `command` that makes it again.
    """
    with named(path, f"Make it again: {command}."):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        about, seal, table = "".join(lines[:2]), "".join(lines[2:3]), "".join(lines[3:])
        if seal != _seal(about + table):
            raise ValueError("its content has a wrong checksum")
        if lines[1] != f"# {checksum(crystals)}\n":
            raise ValueError("it was made from other crystals; give all bundled ones, and choose rows afterwards")
        return pd.read_csv(io.StringIO(table), index_col="id", dtype=dtype)


def stored_features(crystals: pd.DataFrame, path: Path = STORED) -> pd.DataFrame:
    """Read the stored features of the bundled crystals; as `pretrained_features`, without the package.

    Parameters
    ----------
    crystals : DataFrame
        The bundled dataset, all of it: the checksum is that of all crystals.
    path : Path, optional
        Where from.

    Raises
    ------
    ValueError
        If the file has changed, or the features are not those of these crystals.
    """
    types = {"id": str} | dict.fromkeys(_columns(), np.float32)
    return read_made_of(path, crystals, "python -m data.pretrained_chgnet", types)


def checksum(crystals: pd.DataFrame) -> str:
    """Return the SHA-256 of ids, elements and positions, rounded to 1e-4 of an angstrom."""
    digest = hashlib.sha256()
    for name, structure in crystals["structure"].items():
        numbers = np.vstack([structure.lattice.matrix, structure.cart_coords]).round(4) + 0.0  # no -0.0
        digest.update(f"{name} {structure.atomic_numbers}".encode() + numbers.tobytes())
    return digest.hexdigest()


def element_fractions(graphs: CrystalGraphs) -> np.ndarray:
    """Return the share of each element among the atoms of each crystal, (B, 119), by atomic number."""
    counts = np.array([np.bincount(graphs.species_of(row), minlength=N_ELEMENTS) for row in range(len(graphs))])
    return counts / counts.sum(1, keepdims=True)
