"""Checks on user input: every message names the row, the value found and how to fix it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

HEAVIEST = 100
"""Atomic number of the heaviest element that the atom features of the models cover."""

# pymatgen names the hydrogen isotopes as elements; no feature table of the course has them.
_ISOTOPES = {"D": "H", "T": "H"}


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

    Rows are joined by position; labels that are not the ids at all (plain row numbers, say) tell nothing and pass.
    """
    labels, ids = [str(label) for label in labels], [str(one) for one in ids]
    if labels == ids or len(labels) != len(ids) or set(labels).isdisjoint(ids):
        return
    row = next(row for row, (label, one) in enumerate(zip(labels, ids, strict=True)) if label != one)
    message = f"row {row}: crystal {ids[row]!r} stands beside {labels[row]!r} in {name}. "
    known = set(labels)
    missing = [one for one in ids if one not in known]
    if missing:
        raise ValueError(
            f"{message}Crystal {missing[0]!r} has no row there at all ({len(missing)} have none). Take the row of each "
            f"crystal, {name}.reindex(ids), which is NaN where there is none, or drop those crystals."
        )
    raise ValueError(f"{message}Give both in the same order, for example {name}.loc[ids].")


def check_unique_ids(ids: Sequence[str], name: str | None = None) -> None:
    """Raise ``ValueError`` naming the rows (of table `name`) when an id stands in more than one row."""
    repeated = [one for one, count in Counter(ids).items() if count > 1]
    if repeated:
        rows = [row for row, one in enumerate(ids) if one == repeated[0]]
        where = "" if name is None else f"{name}: "
        raise ValueError(
            f"{where}duplicate id {repeated[0]!r} in rows {rows} ({len(repeated)} ids are repeated). "
            "Drop the repeated rows or give each crystal an id of its own."
        )


def check_targets(targets: np.ndarray, name: str = "target", ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` naming the first NaN or infinite entry of ``targets``, shape (B,) or (B, n_targets)."""
    finite = np.isfinite(np.asarray(targets, dtype=float))
    if finite.all():
        return
    position = tuple(int(i) for i in np.argwhere(~finite)[0])
    value = np.asarray(targets)[position]
    raise ValueError(
        f"{name}: {describe_row(position[0], ids)} is {value} ({int((~finite).sum())} such values). "
        "Drop these rows (df.dropna()) or fix the values."
    )


def check_composition(composition: Composition, row: int, ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` when ``composition`` is empty or has something other than elements of the periodic table."""
    from pymatgen.core import DummySpecies

    where = describe_row(row, ids)
    if len(composition) == 0:
        raise ValueError(f"{where}: empty, it has no atoms. Drop the row or fix its file.")
    for species in composition:
        element = getattr(species, "element", species)
        if isinstance(species, DummySpecies):
            raise ValueError(
                f"{where}: {species.symbol!r} is not an element. Replace it with a real element or drop the row."
            )
        if element.name in _ISOTOPES:  # its symbol is that of the element: 'H' for 'D'
            raise ValueError(
                f"{where}: {element.name!r} is an isotope, and the tables know elements only. "
                f"Replace it with {_ISOTOPES[element.name]!r} (structure.replace_species)."
            )


def check_structure(structure: Structure, row: int, ids: Sequence[str] | None = None) -> None:
    """Raise ``ValueError`` when ``structure`` is empty, disordered or holds anything but elements."""
    where = describe_row(row, ids)
    if not hasattr(structure, "lattice"):
        raise ValueError(f"{where}: {structure!r} is not a pymatgen Structure. Convert it or drop the row.")
    for site_index, site in enumerate(structure):
        if not site.is_ordered:
            raise ValueError(
                f"{where}: site {site_index} is disordered ({site.species_string}). "
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
