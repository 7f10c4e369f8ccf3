"""Training of GAT against the plain network made of PyG's GATConv, same sizes, same crystals, one thread."""

from __future__ import annotations

import torch
from bench_training import BATCH_SIZE, BUNDLED, DISPLACED, REPEATS, bench, displaced
from recording import asked_file
from timing import verdict
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch_geometric.data import Batch
from torch_geometric.nn import GATConv, global_mean_pool
from torch_geometric.utils import add_self_loops

from course_lib.datasets import load_dataset
from course_lib.models import GAT
from course_lib.models.atom_features import atom_feature_table

TARGET = 2


class PlainNetwork(nn.Module):
    """As networks on GATConv are usually written: batch norm and softplus after each layer."""

    def __init__(self, hidden: int = 128, n_conv: int = 3, heads: int = 4, n_basis: int = 41):
        super().__init__()
        self.atom_embedding = nn.Linear(92, hidden)
        self.convs = nn.ModuleList(
            GATConv(hidden, hidden, heads, concat=False, edge_dim=n_basis, add_self_loops=False, bias=False)
            for _ in range(n_conv)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(n_conv))
        self.out = nn.Linear(hidden, 1)

    def forward(self, data: Batch) -> Tensor:
        """Predict: (B, 1)."""
        x = self.atom_embedding(data.x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(norm(conv(x, data.edge_index, data.edge_attr)))
        return self.out(global_mean_pool(x, data.batch))


def plain_batch(batch: Batch) -> Batch:
    """Return the batch as such a network reads it: no edges joined, and one from each atom to itself."""
    distance = batch.edge_vector.norm(dim=1)
    edge_index, distance = add_self_loops(batch.edge_index, distance, fill_value=0.0, num_nodes=batch.num_nodes)
    return Batch(
        x=atom_feature_table()[batch.species],
        edge_index=edge_index,
        edge_attr=torch.exp(-((distance[:, None] - torch.linspace(0, 8, 41)) ** 2) / 0.2**2),
        batch=batch.batch,
        y=batch.y,
    )


def main() -> int:
    file = asked_file(__doc__)
    torch.set_num_threads(1)
    structures = list(load_dataset("pbe_prototypes")["structure"])
    print(
        "Training step (forward, backward, optimiser) per crystal: 128 hidden features, 3 layers of 4 heads,\n"
        f"batches of {BATCH_SIZE} made before. One thread, CPU time, medians of {REPEATS} interleaved repeats."
    )
    bundled = bench(GAT, PlainNetwork, plain_batch, BUNDLED, structures, file)
    low = bench(GAT, PlainNetwork, plain_batch, DISPLACED, displaced(structures), file)
    print()
    return max(
        verdict("training on the bundled crystals", bundled, TARGET),
        verdict("training on displaced crystals", low, TARGET),
    )


if __name__ == "__main__":
    raise SystemExit(main())
