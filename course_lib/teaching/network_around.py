"""The small network around the pooling layer of exercise 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from course_lib.models import CGCNN
from course_lib.models.fusion import FusionModel

if TYPE_CHECKING:
    from torch_geometric.data import Batch


class NetworkAround(FusionModel):
    """A small graph network that pools its atoms with a layer of yours.

    Parameters
    ----------
    layer : Module
        ``layer(atoms, composition, crystal)`` returns one vector per crystal, (B, 32), from the atoms (N, 32), the
        standardised composition features (B, 145) and the number of the crystal that each atom belongs to, (N,).
    """

    def __init__(self, layer: nn.Module):
        super().__init__(CGCNN(hidden=32, n_conv=2), 145, n_targets=1)
        self.layer = layer
        self.out = nn.Linear(32, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Predict from both views: (B, 1)."""
        x, e = self.trunk.atoms_and_bonds(batch)
        for conv in self.trunk.convs:
            x = conv(x, batch.bond_index, batch.bond_weight, e)
        return self.out(self.layer(x, self.composition(batch), batch.batch))
