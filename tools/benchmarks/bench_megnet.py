"""Training of MEGNet against matgl's and against the plain network made of PyG's parts, same crystals, one thread."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench_training import BATCH_SIZE, BUNDLED, DISPLACED, OURS, PLAIN, describe, displaced, training
from pymatgen.core import Structure
from recording import asked_file
from timing import compare, verdict
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MetaLayer, Set2Set
from torch_geometric.utils import scatter

from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import MEGNet
from course_lib.models.megnet import Softplus2

TARGET_MATGL = 1.0
TARGET_PLAIN, TARGET_DISPLACED = 1.5, 2.5
REPEATS = 9
MATGL = "matgl, Adam"


def mlp(*sizes: int, activate_last: bool) -> nn.Sequential:
    layers = [layer for n_in, n_out in pairwise(sizes) for layer in (nn.Linear(n_in, n_out), Softplus2())]
    return nn.Sequential(*(layers if activate_last else layers[:-1]))


class EdgeModel(nn.Module):
    """The update of the edges, as PyG's ``MetaLayer`` calls it."""

    def __init__(self):
        super().__init__()
        self.mlp = mlp(128, 64, 64, 32, activate_last=False)

    def forward(self, source: Tensor, target: Tensor, e: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        """Read the two atoms, the edge and the state of the crystal."""
        return self.mlp(torch.cat([target, source, e, u[batch]], dim=1))


class NodeModel(nn.Module):
    """The update of the atoms."""

    def __init__(self):
        super().__init__()
        self.mlp = mlp(96, 64, 64, 32, activate_last=False)

    def forward(self, v: Tensor, edge_index: Tensor, e: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        """Read the mean of the edges, the atom and the state of the crystal."""
        mean = scatter(e, edge_index[1], dim_size=len(v), reduce="mean")
        return self.mlp(torch.cat([mean, v, u[batch]], dim=1))


class StateModel(nn.Module):
    """The update of the states."""

    def __init__(self):
        super().__init__()
        self.mlp = mlp(96, 64, 64, 32, activate_last=False)

    def forward(self, v: Tensor, edge_index: Tensor, e: Tensor, u: Tensor, batch: Tensor) -> Tensor:
        """Read the means of edges and atoms, and the state."""
        edges = scatter(e, batch[edge_index[1]], dim_size=len(u), reduce="mean")
        return self.mlp(torch.cat([edges, scatter(v, batch, dim_size=len(u), reduce="mean"), u], dim=1))


class PlainNetwork(nn.Module):
    """The published network as it is usually written in PyG: every edge by itself, its Gaussians stored."""

    def __init__(self, n_blocks: int = 3):
        super().__init__()
        self.elements = nn.Embedding(101, 16)
        sizes = [(16, 100, 2), *[(32, 32, 32)] * (n_blocks - 1)]
        self.dense = nn.ModuleList(
            nn.ModuleList(mlp(size, 64, 32, activate_last=True) for size in of_block) for of_block in sizes
        )
        self.convs = nn.ModuleList(MetaLayer(EdgeModel(), NodeModel(), StateModel()) for _ in range(n_blocks))
        self.to_set = nn.ModuleList(nn.Linear(32, 16) for _ in range(2))
        self.sets = nn.ModuleList(Set2Set(16, processing_steps=3) for _ in range(2))
        self.out = mlp(96, 32, 16, 1, activate_last=False)

    def forward(self, data: Batch) -> Tensor:
        """Predict: (B, 1)."""
        rows = self.elements(data.species), data.edge_attr, data.state
        for number, (dense, conv) in enumerate(zip(self.dense, self.convs, strict=True)):
            inner = [layer(x) for layer, x in zip(dense, rows, strict=True)]
            v, e, u = conv(inner[0], data.edge_index, inner[1], inner[2], data.batch)
            rows = [old + new for old, new in zip(rows if number else inner, (v, e, u), strict=True)]
        v, e, u = rows
        atoms = self.sets[0](self.to_set[0](v), data.batch)
        edges = self.sets[1](self.to_set[1](e), data.batch[data.edge_index[1]])
        return self.out(torch.cat([atoms, edges, u], dim=1))


class MatglNetwork(nn.Module):
    """matgl's network, which returns (B,)."""

    def __init__(self):
        super().__init__()
        from matgl.models import MEGNet as Theirs

        self.network = Theirs()

    def forward(self, data: Batch) -> Tensor:
        """Predict: (B, 1)."""
        return self.network(data, data.state)[:, None]


def edge_batch(batch: Batch) -> Batch:
    """Return the batch as the other two read it: no edges joined; for matgl also its names of things."""
    distance = batch.edge_vector.norm(dim=1)
    return Batch(
        species=batch.species,
        edge_index=batch.edge_index,
        edge_attr=torch.exp(-((distance[:, None] - torch.linspace(0, 5, 100)) ** 2) / 0.5**2),
        state=torch.zeros(batch.num_graphs, 2),
        batch=batch.batch,
        y=batch.y,
        node_type=batch.species.clamp(max=88),  # it knows fewer elements; for the time it takes, any will do
        pos=torch.zeros(batch.num_nodes, 3),
        pbc_offshift=batch.edge_vector,
        num_nodes=batch.num_nodes,
    )


def bench(crystals: str, structures: list[Structure], file: Path | None) -> pd.Series:
    """Print and return how many times as long each of the others takes."""
    graphs = CrystalGraphs.from_structures(structures, targets=load_dataset("pbe_prototypes")[["band_gap"]])
    order = np.random.default_rng(0).permutation(len(graphs))
    batches = [graphs.batch(rows) for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))]
    of_edges = [edge_batch(batch) for batch in batches]
    torch.manual_seed(0)
    ours, others = MEGNet(), {PLAIN: PlainNetwork()}
    if find_spec("matgl"):
        others[MATGL] = MatglNetwork()
    functions = {OURS: training(ours, torch.optim.AdamW(ours.parameters(), fused=True), batches)}
    for other, network in others.items():
        functions[other] = training(network, torch.optim.Adam(network.parameters()), of_edges)
    describe(crystals, graphs)
    return compare("MEGNet", crystals, functions, REPEATS, file)


def main() -> int:
    file = asked_file(__doc__)
    torch.set_num_threads(1)
    structures = list(load_dataset("pbe_prototypes")["structure"])
    print(
        "Training step (forward, backward, optimiser) per crystal: published sizes, the same graphs for all,\n"
        f"batches of {BATCH_SIZE} made before. One thread, CPU time, medians of {REPEATS} interleaved repeats."
    )
    bundled = bench(BUNDLED, structures, file)
    low = bench(DISPLACED, displaced(structures), file)
    print()
    what = "training, against the plain network,"
    outcome = max(
        verdict(what, bundled[PLAIN], TARGET_PLAIN),
        verdict(f"displaced: {what}", low[PLAIN], TARGET_DISPLACED),
    )
    if MATGL not in bundled:
        print("matgl is not installed, so it was not measured (pip install matgl, in an environment of its own).")
        return outcome
    return max(outcome, verdict("training, against matgl's MEGNet,", bundled[MATGL], TARGET_MATGL))


if __name__ == "__main__":
    raise SystemExit(main())
