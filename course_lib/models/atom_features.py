"""The 92 binary atom features of CGCNN, computed from nine properties of the elements.

Every property has a block of bits. The bit of the bin that holds the element's value is 1, the others are 0, and where
an element has no value the whole block is 0. Group, period, valence electrons and s/p/d/f block have one bin per
value. The five continuous properties have ten bins of equal width, for ionisation energy and atomic volume equal in
the natural logarithm.

Ranges: Xie and Grossman, PRL 120, 145301 (2018), supplementary table. Property values: ``element_properties.csv``
next to this file, whose heading names their sources. For H to Fm the result equals the table published with CGCNN bit
for bit, with a single exception to the rule (``_EXCEPTIONS``).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

# Block name -> number of bits, in the order of the blocks in the feature vector.
ATOM_FEATURE_BLOCKS: dict[str, int] = {
    "group": 19,
    "period": 7,
    "electronegativity": 10,
    "covalent radius": 10,
    "valence electrons": 12,
    "first ionisation energy": 10,
    "electron affinity": 10,
    "block": 4,
    "atomic volume": 10,
}


class _EqualBins(NamedTuple):
    """Ten bins of equal width from ``low`` to ``high``, of the value or of its natural logarithm."""

    column: str
    unit: str
    low: float
    high: float
    logarithmic: bool = False
    decimals: int = 2


_N_BINS = 10
_EQUAL_BINS = {
    "electronegativity": _EqualBins("electronegativity", "", 0.5, 4.0),
    "covalent radius": _EqualBins("covalent_radius_pm", " pm", 25.0, 250.0, decimals=1),
    "first ionisation energy": _EqualBins("first_ionisation_energy_ev", " eV", 1.3, 3.3, logarithmic=True),
    "electron affinity": _EqualBins("electron_affinity_ev", " eV", -3.0, 3.7),
    "atomic volume": _EqualBins("atomic_volume_cm3_per_mol", " cm3/mol", 1.5, 4.3, logarithmic=True),
}
_BLOCK_LETTERS = "spdf"

# (element, block): the value with which the published table must have been made.
# Palladium's 5s shell is empty (4d10), so its outermost shell is n = 4, and the rule "s electrons of shell n and
# d electrons of shell n - 1" counts 4s2 and 3d10: twelve instead of ten.
_EXCEPTIONS = {("Pd", "valence electrons"): 12}

_BEYOND_TABLE = (
    "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
)  # fmt: skip


def element_properties() -> list[dict[str, str]]:
    """Return the property table as text, one dictionary per element from H to Fm; an empty field means no value."""
    path = Path(__file__).with_name("element_properties.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def atom_feature_table() -> Tensor:
    """Return the features of all covered elements.

    Returns
    -------
    Tensor
        Shape (101, 92), float32. The row is the atomic number, 1 (H) to 100 (Fm); row 0 is zero.
    """
    elements = element_properties()
    table = torch.zeros(len(elements) + 1, sum(ATOM_FEATURE_BLOCKS.values()))  # (Z_max + 1, 92)
    for element in elements:
        row = table[int(element["atomic_number"])]
        for block, bits in zip(ATOM_FEATURE_BLOCKS, row.split(list(ATOM_FEATURE_BLOCKS.values())), strict=True):
            index = _bin_index(block, element)
            if index is not None:
                bits[index] = 1.0
    return table


def atom_features(numbers: Tensor | Sequence[int]) -> Tensor:
    """Return the features of the atoms with the given atomic numbers.

    Parameters
    ----------
    numbers : Tensor or sequence of int
        Atomic numbers, shape (N,), each from 1 (H) to 100 (Fm).

    Returns
    -------
    Tensor
        Shape (N, 92), float32.

    Raises
    ------
    ValueError
        If an atomic number is not covered; the message names the atom, the element and the covered range.
    """
    table = atom_feature_table()
    numbers = torch.as_tensor(numbers, dtype=torch.long)
    z_max = len(table) - 1
    outside = (numbers < 1) | (numbers > z_max)
    if outside.any():
        atom = int(outside.nonzero()[0])
        z = int(numbers[atom])
        beyond = z - z_max - 1
        name = f"{_BEYOND_TABLE[beyond]} (Z = {z})" if 0 <= beyond < len(_BEYOND_TABLE) else f"Z = {z}, no element"
        raise ValueError(
            f"atom {atom} is {name}; the CGCNN atom features cover H (Z = 1) to Fm (Z = {z_max}). "
            "Drop the crystals that contain it or fix the atomic number."
        )
    return table.to(numbers.device)[numbers]


def feature_labels() -> list[str]:
    """Return the 92 labels of the bits, for example ``"electronegativity 0.85 to 1.20"``.

    The bounds are those of the property itself, also where the bins are equal in its logarithm.
    """
    return [f"{block} {label}" for block, size in ATOM_FEATURE_BLOCKS.items() for label in _bin_labels(block, size)]


def _bin_index(block: str, element: dict[str, str]) -> int | None:
    """Return which bit of ``block`` the element sets, or None where it has no value."""
    if block in _EQUAL_BINS:
        bins = _EQUAL_BINS[block]
        return _equal_bin(bins, float(element[bins.column])) if element[bins.column] else None
    if block == "group":
        return int(element["group"] or 0)  # bit 0: no group number, the f block
    if block == "block":
        return _BLOCK_LETTERS.index(element["block"])
    value = _EXCEPTIONS.get((element["symbol"], block), int(element[block.replace(" ", "_")]))
    return value - 1


def _equal_bin(bins: _EqualBins, value: float) -> int:
    """Return the bin of ``value``; a value on an edge belongs to the bin above, except for rounding.

    The rounding is part of the published table. 1.9 (Si, Cu, Re, Hg, Bi) and 1.2 (Gd) are edges of electronegativity
    bins, but (1.9 - 0.5) / 3.5 * 10 is 3.9999999999999996 in double precision, so these elements are in the bin below.
    Keep this order of operations.
    """
    position = math.log(value) if bins.logarithmic else value
    return math.floor((position - bins.low) / (bins.high - bins.low) * _N_BINS)


def _bin_labels(block: str, size: int) -> list[str]:
    """Return the meaning of each bit of ``block``."""
    if block == "group":
        return ["none (f block)"] + [str(group) for group in range(1, size)]
    if block == "block":
        return list(_BLOCK_LETTERS)
    if block not in _EQUAL_BINS:
        return [str(value) for value in range(1, size + 1)]
    bins = _EQUAL_BINS[block]
    edges = [bins.low + (bins.high - bins.low) * k / size for k in range(size + 1)]
    if bins.logarithmic:
        edges = [math.exp(edge) for edge in edges]
    text = [f"{edge:.{bins.decimals}f}" for edge in edges]
    return [f"{low} to {high}{bins.unit}" for low, high in pairwise(text)]
