"""Training of ALIGNN against the plain network on PyG and, where it is installed, the authors' package; one thread."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench_training import BUNDLED, DISPLACED, displaced
from pymatgen.core import Structure
from recording import asked_file
from timing import compare, verdict
from torch import Tensor, nn
from torch.nn.functional import l1_loss, silu
from torch_geometric.data import Batch
from torch_geometric.nn import MessagePassing, global_mean_pool
from torch_geometric.utils import scatter

from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN
from course_lib.models.atom_features import atom_feature_table
from course_lib.models.line_graph import line_graph, undirected

TARGET_PLAIN = 1.5
TARGET_PUBLISHED, TARGET_LARGER = 1.0, 2.0
BATCH_SIZE = 64
PLAIN, PUBLISHED, OURS = "PyG", "alignn, the authors' package", "library"


class PlainConv(MessagePassing):
    """Edge-gated convolution as it is usually written: one linear map of both ends and the edge, concatenated."""

    def __init__(self, hidden: int):
        super().__init__(aggr="add")
        self.gate = nn.Linear(3 * hidden, hidden)
        self.message_linear = nn.Linear(hidden, hidden)
        self.update_linear = nn.Linear(hidden, hidden)
        self.node_norm = nn.BatchNorm1d(hidden)
        self.edge_norm = nn.BatchNorm1d(hidden)

    def forward(self, x: Tensor, edge_index: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Update nodes and edges."""
        m = self.edge_updater(edge_index, x=x, y=y)
        gate = torch.sigmoid(m)
        norm = scatter(gate, edge_index[1], dim_size=len(x))
        h = self.propagate(edge_index, v=self.message_linear(x), gate=gate) / (norm + 1e-6)
        return x + silu(self.node_norm(self.update_linear(x) + h)), y + silu(self.edge_norm(m))

    def edge_update(self, x_j: Tensor, x_i: Tensor, y: Tensor) -> Tensor:
        """Return the gates' arguments."""
        return self.gate(torch.cat([x_j, x_i, y], dim=1))

    def message(self, v_j: Tensor, gate: Tensor) -> Tensor:
        """Return the messages."""
        return gate * v_j


def plain_embedding(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.SiLU())


def plain_basis(values: Tensor, start: float, stop: float, n: int) -> Tensor:
    return torch.exp(-((values[:, None] - torch.linspace(start, stop, n)) ** 2) * (n - 1) / (stop - start))


class PlainNetwork(nn.Module):
    """The published network, without any thought of speed."""

    def __init__(self, hidden: int, n_layers: int):
        super().__init__()
        self.atom_embedding = plain_embedding(92, hidden)
        self.edge_embedding = nn.Sequential(plain_embedding(80, 64), plain_embedding(64, hidden))
        self.angle_embedding = nn.Sequential(plain_embedding(40, 64), plain_embedding(64, hidden))
        self.alignn_layers = nn.ModuleList(
            nn.ModuleList([PlainConv(hidden), PlainConv(hidden)]) for _ in range(n_layers)
        )
        self.gcn_layers = nn.ModuleList(PlainConv(hidden) for _ in range(n_layers))
        self.out = nn.Linear(hidden, 1)

    def forward(self, data: Batch) -> Tensor:
        """Predict: (B, 1)."""
        x = self.atom_embedding(data.x)
        y = self.edge_embedding(plain_basis(data.edge_vector.norm(dim=1), 0, 8, 80))
        z = self.angle_embedding(plain_basis(data.cosine, -1, 1, 40))
        for atoms, edges in self.alignn_layers:
            x, m = atoms(x, data.edge_index, y)
            y, z = edges(m, data.pair_index, z)
        for atoms in self.gcn_layers:
            x, y = atoms(x, data.edge_index, y)
        return self.out(global_mean_pool(x, data.batch))


def plain_batch(batch: Batch) -> Batch:
    """Return the batch as such a network reads it: the line graph made before, all edges and angles kept."""
    edge_index, edge_vector, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    pair_index, cosine = line_graph(edge_index, edge_vector, batch.num_nodes)
    return Batch(
        x=atom_feature_table()[batch.species],
        edge_index=edge_index,
        edge_vector=edge_vector,
        pair_index=pair_index,
        cosine=cosine,
        batch=batch.batch,
        y=batch.y,
        num_nodes=batch.num_nodes,
    )


def published(hidden: int, n_layers: int) -> tuple[nn.Module, Callable]:
    """Return the authors' network and a function that makes what it reads: the same edges and pairs as DGL graphs."""
    import dgl
    from alignn.models.alignn import ALIGNN as Published
    from alignn.models.alignn import ALIGNNConfig

    def graphs(batch: Batch) -> Callable:
        plain = plain_batch(batch)
        atoms = dgl.graph(tuple(plain.edge_index), num_nodes=plain.num_nodes)
        atoms.ndata["atom_features"], atoms.edata["r"] = plain.x, plain.edge_vector
        atoms.set_batch_num_nodes(batch.ptr.diff())
        atoms.set_batch_num_edges(torch.bincount(plain.batch[plain.edge_index[1]]))
        lines = dgl.graph(tuple(plain.pair_index), num_nodes=plain.edge_index.shape[1])
        lines.edata["h"] = plain.cosine
        # The network takes the features out of what it is given.
        return lambda: [atoms.local_var(), lines.local_var(), None]

    config = ALIGNNConfig(name="alignn", hidden_features=hidden, alignn_layers=n_layers, gcn_layers=n_layers)
    network = Published(config)

    class TwoDimensional(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, make: Callable) -> Tensor:
            return self.network(make())[:, None]

    return TwoDimensional(), graphs


def training(model: nn.Module, inputs: list, targets: list[Tensor]) -> Callable:
    """Return a function that trains one epoch and returns the number of crystals."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch() -> int:
        for given, wanted in zip(inputs, targets, strict=True):
            optimizer.zero_grad()
            l1_loss(model(given), wanted).backward()
            optimizer.step()
        return sum(map(len, targets))

    return epoch


def bench(
    crystals: str, structures: list[Structure], hidden: int, n_layers: int, repeats: int, file: Path | None
) -> pd.Series:
    """Print and return how many times as long each of the others takes."""
    targets = load_dataset("pbe_prototypes")[["formation_energy_per_atom"]].iloc[: len(structures)]
    graphs = CrystalGraphs.from_structures(structures, targets=targets.reset_index(drop=True))
    order = np.random.default_rng(0).permutation(len(graphs))
    batches = [graphs.batch(rows) for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))]
    plain = [plain_batch(batch) for batch in batches]
    wanted = [batch.y for batch in batches]
    torch.manual_seed(0)
    epochs = {OURS: training(ALIGNN(1, hidden, n_layers, n_layers), batches, wanted)}
    epochs[PLAIN] = training(PlainNetwork(hidden, n_layers), plain, wanted)
    if find_spec("alignn") is not None:
        network, prepare = published(hidden, n_layers)
        epochs[PUBLISHED] = training(network, [prepare(batch) for batch in batches], wanted)
    n_atoms, n_pairs = (sum(count) for count in zip(*((b.num_nodes, len(b.cosine)) for b in plain), strict=True))
    print(
        f"\n{crystals}: {len(graphs)} crystals of {n_atoms / len(graphs):.1f} atoms, {n_pairs / n_atoms:.0f} pairs per "
        f"atom; {hidden} features, {n_layers} + {n_layers} layers:"
    )
    return compare(f"ALIGNN, {hidden} features", crystals, epochs, repeats, file)


def main() -> int:
    file = asked_file(__doc__)
    torch.set_num_threads(1)
    structures = list(load_dataset("pbe_prototypes")["structure"])
    larger = [structure.make_supercell([2, 2, 1], in_place=False) for structure in structures[::14]]
    print(
        f"Training step (forward, backward, fused AdamW) per crystal, batches of {BATCH_SIZE}. The line graphs of the"
        "\nothers were made before; the library makes and merges its own in each step. One thread, CPU time."
    )
    symmetric = bench(BUNDLED, structures[::3], 64, 2, 7, file)
    low = bench(DISPLACED, displaced(structures[::3]), 64, 2, 7, file)
    larger = bench("supercells of the bundled, atoms displaced", displaced(larger), 64, 2, 5, file)
    bench(DISPLACED, displaced(structures[::28]), 256, 4, 3, file)
    print()
    exit_code = verdict("training on the bundled crystals", symmetric[PLAIN], TARGET_PLAIN)
    exit_code |= verdict("training on displaced crystals", low[PLAIN], TARGET_PLAIN)
    if PUBLISHED in low:
        what = "at the same number of pairs, compared with the authors' package,"
        exit_code |= verdict(what, low[PUBLISHED], TARGET_PUBLISHED)
        exit_code |= verdict(f"{what} larger crystals,", larger[PUBLISHED], TARGET_LARGER)
    return exit_code


if __name__ == "__main__":
    raise SystemExit(main())
