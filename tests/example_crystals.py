"""What several test files share: bundled crystals, random and awkward ones, their batches, and random weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
import torch
from pymatgen.core import Lattice, Structure
from torch import nn
from torch_geometric.data import Batch

from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs

TARGET = "formation_energy_per_atom"
ROWS = (0, 5, 11, 17, 23)


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


ISOLATED = Structure(Lattice.cubic(30), ["He"], [[0.2, 0.3, 0.4]])
SLAB = Structure(Lattice.hexagonal(2.46, 30), ["C", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0]])
MOLECULE = Structure(Lattice.cubic(25), ["O", "H", "H"], [[0, 0, 0], [0.04, 0, 0], [-0.01, 0.038, 0]])
# Far outside the cell; and a cell whose long axis is nearly parallel to the short ones.
OUTSIDE = Structure(Lattice.orthorhombic(3, 4, 5), ["K", "F"], [[10.3, -7, 0.1], [-0.2, 3.4, 99.5]])
SKEWED = Structure(
    Lattice(np.array([[1, 0, 0], [3, 1, 0], [-2, 3, 1]]) @ random_crystal(3).lattice.matrix),
    random_crystal(3).species,
    random_crystal(3).cart_coords,
    coords_are_cartesian=True,
)
LEFT_HANDED = Structure(Lattice(-random_crystal(5).lattice.matrix), ["Ti"], [[0, 0, 0]])
AWKWARD = {
    "isolated": ISOLATED, "slab": SLAB, "molecule": MOLECULE, "outside": OUTSIDE, "skewed": SKEWED,
    "left-handed": LEFT_HANDED,
}  # fmt: skip


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


def double_batch(graphs: CrystalGraphs | None = None, rows: Sequence[int] = ROWS) -> Batch:
    """Return a batch in double precision; of the bundled crystals where no graphs are given."""
    graphs = bundled_graphs(24) if graphs is None else graphs
    return graphs.batch(rows).apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def one_by_one(batch: Batch) -> Batch:
    """Return the batch with every edge a bond of its own."""
    count = batch.bond_count
    batch = batch.clone()
    batch.bond_index, batch.bond_count = batch.edge_index, torch.ones_like(batch.edge_index[0])
    batch.bond_length = batch.bond_length.repeat_interleave(count)
    batch.bond_weight = (batch.bond_weight / count).repeat_interleave(count)
    return batch


def unweighted(batch: Batch) -> Batch:
    """Return the batch with the weight 1 for every edge, as the networks of others have it."""
    batch = batch.clone()
    batch.bond_weight = batch.bond_count.to(batch.bond_length.dtype)
    batch.cutoff = torch.full_like(batch.cutoff, torch.inf)
    return batch


def randomize(module: nn.Module, seed: int = 1) -> nn.Module:
    """Give all weights and statistics random values, in double precision, and each weight a gradient."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().requires_grad_()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.double))
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.running_var.abs_().add_(0.1)
    return module
