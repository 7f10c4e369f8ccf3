"""CGCNN as its authors' own weights need it: with a fixed number of neighbours per atom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from course_lib.models.cgcnn import CGCNN

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_SAME_SHELL = 1e-3  # angstrom; wider than the rounding in a CIF file, and otherwise as narrow as the original


class PublishedCGCNN(CGCNN):
    """CGCNN in which each atom receives messages from exactly `neighbors` neighbours, for weights trained in this way.

    The original code keeps the 12 nearest neighbours and cuts a shell in the middle where it must. Here the neighbours
    in the last shell share the remaining ones of the 12 places, each counting for the same fraction of a neighbour.
    Where they are equivalent, this is the original's sum; where they are not, it is the mean over all choices that the
    original could make, and so does not depend on the order of the atoms. Our graphs' own weights, which fade over 0.3
    angstrom, would be the same for such a shell, but count a neighbour that is a little farther away than the twelfth:
    predictions of the original jump where two neighbours change places, and so do those of this network.

    Parameters
    ----------
    neighbors : int, default 12
        Neighbours of each atom that count.
    classifier : bool, default False
        Predict the probability of the second of two classes.
    **sizes
        As for `CGCNN`.
    """

    def __init__(self, neighbors: int = 12, classifier: bool = False, **sizes: int):
        super().__init__(**sizes)
        self.keep_arguments(neighbors=neighbors, classifier=classifier)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, embedding)."""
        count = share_of_neighbors(batch, self.config["neighbors"])
        x, e = self.atoms_and_bonds(batch)
        for conv in self.convs:
            x = conv(x, batch.bond_index, count, e)
        return self.pool(x, batch)

    def forward(self, batch: Batch) -> Tensor:
        """Predict from the embedding: (B, n_targets)."""
        out = super().forward(batch)
        return torch.sigmoid(out) if self.config["classifier"] else out


def share_of_neighbors(batch: Batch, neighbors: int) -> Tensor:
    """Return how many of each atom's nearest neighbours every bond stands for, a fraction in the last shell.

    Parameters
    ----------
    batch : Batch
        As from `CrystalGraphs.batch`, with at least `neighbors` neighbours per atom.
    neighbors : int
        The shares of the bonds of every atom add up to it.

    Returns
    -------
    Tensor, shape (M,)
    """
    target, length, count = batch.bond_index[1], batch.bond_length, batch.bond_count.to(batch.bond_length.dtype)
    n_atoms = len(batch.species)
    # target is sorted, so a stable sort by length and then by target leaves each atom's bonds together.
    order = length.argsort(stable=True)
    order = order[target[order].argsort(stable=True)]
    counted = count[order].long().cumsum(0)  # edges up to and with each bond
    before = count.new_zeros(n_atoms).index_add(0, target, count).long().cumsum(0)
    before = torch.cat([before.new_zeros(1), before[:-1]])  # edges of the atoms before
    enough = order[counted - before[target[order]] >= neighbors]
    last = length.new_full((n_atoms,), torch.inf)
    last = last.scatter_reduce(0, target[enough], length[enough], "amin")  # distance of the last neighbour that counts
    inner = length < last[target] - _SAME_SHELL
    shell = ~inner & (length <= last[target] + _SAME_SHELL)
    zeros = count.new_zeros(n_atoms)
    n_inner = zeros.index_add(0, target[inner], count[inner])
    n_shell = zeros.index_add(0, target[shell], count[shell])
    return count * torch.where(inner, 1.0, shell * ((neighbors - n_inner) / n_shell)[target])
