"""Crystals that several test files share: some of the bundled ones, and random ones without any symmetry."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from pymatgen.core import Lattice, Structure

from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs

TARGET = "formation_energy_per_atom"


@cache
def bundled(count: int) -> pd.DataFrame:
    """Return `count` bundled crystals, evenly taken from the whole file."""
    frame = load_dataset("pbe_prototypes")
    return frame.iloc[np.linspace(0, len(frame) - 1, count).astype(int)]


def random_crystal(seed: int) -> Structure:
    """Return a triclinic crystal of 1 to 6 atoms at random places at least 1.5 angstrom apart."""
    rng = np.random.default_rng(seed)
    while True:
        lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *rng.uniform(60, 115, 3))
        n_atoms = int(rng.integers(1, 7))
        structure = Structure(lattice, rng.integers(1, 95, n_atoms), rng.random((n_atoms, 3)))
        if structure.is_valid(tol=1.5) and min(lattice.abc) > 1.5 and lattice.volume / n_atoms > 8:
            return structure


@cache
def examples() -> tuple[Structure, ...]:
    """Return bundled and random crystals."""
    return (*bundled(24)["structure"], *(random_crystal(seed) for seed in range(16)))


@cache
def bundled_graphs(count: int) -> CrystalGraphs:
    """Return the graphs of `bundled(count)` with composition features and the formation energy."""
    frame = bundled(count)
    return CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, composition=magpie(frame["structure"]), targets=frame[[TARGET]]
    )
