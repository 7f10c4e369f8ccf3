"""Training of CGCNN against the plain network made of PyG's CGConv, same sizes, same crystals, one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Structure
from recording import asked_file
from timing import compare, verdict
from torch import Tensor, nn
from torch.nn.functional import l1_loss, softplus
from torch_geometric.data import Batch, Data
from torch_geometric.nn import CGConv, global_mean_pool

from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN
from course_lib.models.atom_features import atom_feature_table

TARGET, TARGET_DISPLACED = 6, 4
BATCH_SIZE = 256
REPEATS = 9
OURS, PLAIN = "library, fused AdamW", "PyG, Adam"
BUNDLED = "bundled"
DISPLACED = "bundled, atoms displaced"  # by 0.1 angstrom: few edges are equivalent, as in most real crystals


class PlainNetwork(nn.Module):
    """As networks on CGConv are usually written: batch norm and softplus after each convolution."""

    def __init__(self, hidden: int = 64, n_conv: int = 3, n_basis: int = 41, embedding: int = 128):
        super().__init__()
        self.atom_embedding = nn.Linear(92, hidden)
        self.convs = nn.ModuleList(CGConv(hidden, n_basis) for _ in range(n_conv))
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(n_conv))
        self.crystal_embedding = nn.Linear(hidden, embedding)
        self.out = nn.Linear(embedding, 1)

    def forward(self, data: Batch) -> Tensor:
        """Predict: (B, 1)."""
        x = self.atom_embedding(data.x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(norm(conv(x, data.edge_index, data.edge_attr)))
        crystal = global_mean_pool(x, data.batch)
        return self.out(softplus(self.crystal_embedding(softplus(crystal))))


def plain_batch(batch: Batch) -> Batch:
    """Return the batch as such a network reads it: the atoms' and the edges' features stored, no edges joined."""
    distance = batch.edge_vector.norm(dim=1)
    return Batch(
        x=atom_feature_table()[batch.species],
        edge_index=batch.edge_index,
        edge_attr=torch.exp(-((distance[:, None] - torch.linspace(0, 8, 41)) ** 2) / 0.2**2),
        batch=batch.batch,
        y=batch.y,
    )


def training(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Data]) -> Callable:
    """Return a function that trains one epoch and returns the number of crystals."""

    def epoch() -> int:
        for batch in batches:
            optimizer.zero_grad()
            l1_loss(model(batch), batch.y).backward()
            optimizer.step()
        return sum(len(batch.y) for batch in batches)

    return epoch


def displaced(structures: list[Structure]) -> list[Structure]:
    """Return the crystals with all atoms moved by 0.1 angstrom."""
    return [structure.copy().perturb(0.1, seed=k) for k, structure in enumerate(structures)]


def bench(
    network: type[nn.Module],
    plain_network: type[nn.Module],
    as_plain: Callable[[Batch], Batch],
    crystals: str,
    structures: list[Structure],
    file: Path | None,
) -> float:
    """Print and return how many times as long the plain network takes; ``as_plain`` makes its batches."""
    targets = load_dataset("pbe_prototypes")[["formation_energy_per_atom"]]
    graphs = CrystalGraphs.from_structures(structures, targets=targets)
    order = np.random.default_rng(0).permutation(len(graphs))
    batches = [graphs.batch(rows) for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))]
    torch.manual_seed(0)
    plain, ours = plain_network(), network()
    plain_batches = [as_plain(batch) for batch in batches]
    epochs = {
        OURS: training(ours, torch.optim.AdamW(ours.parameters(), fused=True), batches),
        PLAIN: training(plain, torch.optim.Adam(plain.parameters()), plain_batches),
    }
    describe(crystals, graphs)
    return compare(network.__name__, crystals, epochs, REPEATS, file)[PLAIN]


def describe(crystals: str, graphs: CrystalGraphs) -> None:
    """Print how many edges the graphs have, and how many of them are one bond for the library."""
    n_edges, n_bonds = len(graphs.vector), len(graphs.count)
    print(f"\n{crystals}, {n_edges / len(graphs.species):.1f} edges per atom, {n_edges / n_bonds:.2f} edges per bond:")


def main() -> int:
    file = asked_file(__doc__)
    torch.set_num_threads(1)
    structures = list(load_dataset("pbe_prototypes")["structure"])
    print(
        "Training step (forward, backward, optimiser) per crystal: 64 hidden features, 3 convolutions, 41 Gaussians,\n"
        f"batches of {BATCH_SIZE} made before. One thread, CPU time, medians of {REPEATS} interleaved repeats."
    )
    bundled = bench(CGCNN, PlainNetwork, plain_batch, BUNDLED, structures, file)
    low = bench(CGCNN, PlainNetwork, plain_batch, DISPLACED, displaced(structures), file)
    print()
    return max(
        verdict("training on the bundled crystals", bundled, TARGET),
        verdict("training on displaced crystals", low, TARGET_DISPLACED),
    )


if __name__ == "__main__":
    raise SystemExit(main())
