"""One network, several properties: a shared trunk with a head for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.models.base import CrystalModel, Trunk, describe
from course_lib.models.cgcnn import CGCNN
from course_lib.models.gat import GAT
from course_lib.models.megnet import MEGNet

if TYPE_CHECKING:
    from torch_geometric.data import Batch

TRUNKS: dict[str, type[Trunk]] = {"gat": GAT, "megnet": MEGNet, "cgcnn": CGCNN}
"""The shared networks that `MultiTask` knows by name."""


class MultiTask(CrystalModel):
    """Predict several properties from one embedding (Caruana, Machine Learning 28, 41 (1997)).

    Parameters
    ----------
    trunk : "gat", "megnet", "cgcnn" or Trunk, default "gat"
        The shared network: one of default size, by name, or your own. Its output layer is not used.
    n_targets : int, default 2
        Number of properties, each with a head of its own.
    hidden : int, default 64
        Size of the hidden layer of a head.

    Raises
    ------
    ValueError
        If the trunk is unknown.
    """

    def __init__(self, trunk: str | Trunk = "gat", n_targets: int = 2, hidden: int = 64):
        if isinstance(trunk, str):
            if trunk not in TRUNKS:
                raise ValueError(f"unknown trunk {trunk!r}; choose one of {', '.join(TRUNKS)}.")
            trunk = TRUNKS[trunk]()
        super().__init__(trunk=describe(trunk), n_targets=n_targets, hidden=hidden)
        self.trunk = trunk.without_output()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(trunk.embedding_size, hidden), nn.Softplus(), nn.Linear(hidden, 1))
            for _ in range(n_targets)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Predict all properties: (B, n_targets)."""
        crystal = self.trunk.embed(batch)
        return torch.cat([head(crystal) for head in self.heads], dim=1)
