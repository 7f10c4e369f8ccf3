"""CGCNN, the crystal graph convolutional neural network of Xie and Grossman, PRL 120, 145301 (2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.functional import softplus

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.gated_sum import GatedSum
from course_lib.models.layers import GaussianBasis, WeightedBatchNorm1d, mean_pool, without_gradient
from course_lib.parallel import sum_over_processes

if TYPE_CHECKING:
    from torch_geometric.data import Batch


class CGCNNConv(nn.Module):
    r"""One graph convolution of CGCNN (eq. 5 of the paper, with the batch norms of the authors' code).

    .. math::

        z_{ij} = W\,[x_i, x_j, e_{ij}] + b, \qquad [u_{ij}, v_{ij}] = \mathrm{BN}(z_{ij})

        x_i' = \mathrm{softplus}\Bigl(x_i + \mathrm{BN}\bigl(\textstyle\sum_j \sigma(u_{ij}) \odot
        \mathrm{softplus}(v_{ij})\bigr)\Bigr)

    :math:`\sigma(u)` is the gate, between 0 and 1; :math:`\mathrm{softplus}(v)` is the core, the message itself.

    Parameters
    ----------
    hidden : int
        Features of an atom, F.
    n_basis : int
        Features of a bond, K.
    """

    def __init__(self, hidden: int, n_basis: int):
        super().__init__()
        self.hidden = hidden
        self.linear = nn.Linear(2 * hidden + n_basis, 2 * hidden)
        without_gradient(self.linear.bias)
        self.message_norm = WeightedBatchNorm1d(2 * hidden)
        self.sum_norm = WeightedBatchNorm1d(hidden)

    def forward(self, x: Tensor, bond_index: Tensor, bond_weight: Tensor, e: Tensor) -> Tensor:
        """Update the atoms.

        Parameters
        ----------
        x : Tensor, shape (N, F)
            Atom features.
        bond_index : Tensor of int64, shape (2, M)
            Source and target atom of each bond.
        bond_weight : Tensor, shape (M,)
            How many edges each bond stands for, each counted by its weight.
        e : Tensor, shape (M, K)
            Bond features.

        Returns
        -------
        Tensor, shape (N, F)
        """
        fast = self.training and x.device.type == "cpu" and not (torch.is_autocast_enabled("cpu") or is_compiling())
        total = (self._sums_in_blocks if fast else self.sums)(x, bond_index, bond_weight, e)
        return softplus(x + self.sum_norm(total))

    def sums(self, x: Tensor, bond_index: Tensor, bond_weight: Tensor, e: Tensor) -> Tensor:
        """Add up the messages that each atom receives, (N, F); arguments as for `forward`."""
        source, target = bond_index
        of_target, of_source, w_e = self._parts(x, e)
        z = e @ w_e.T  # (M, 2F)
        z += of_target.index_select(0, target)
        z += of_source.index_select(0, source)
        gate, core = self.message_norm(z, bond_weight).chunk(2, dim=1)  # (M, F) each
        message = torch.sigmoid(gate) * softplus(core) * bond_weight[:, None]
        return message.new_zeros(x.shape).index_add(0, target, message)

    def _sums_in_blocks(self, x: Tensor, bond_index: Tensor, bond_weight: Tensor, e: Tensor) -> Tensor:
        """Do what `sums` does in training, faster on a CPU."""
        norm, bond_weight = self.message_norm, bond_weight.to(x.dtype)
        total_weight = sum_over_processes(bond_weight.sum())
        of_target, of_source, w_e = self._parts(x, e)
        total, mean, variance = GatedSum.apply(
            e, of_target, of_source, w_e, bond_index, bond_weight, bond_weight / total_weight, norm.weight, norm.bias,
            norm.eps,
        )  # fmt: skip
        norm.update_running(mean, variance, total_weight)
        return total

    def _parts(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return W's products with every atom as target and as source, (N, 2F) each, and its part for bonds, (2F, K).

        W [x_i, x_j, e_ij] = W_i x_i + W_j x_j + W_e e_ij: the parts of the atoms are computed once per atom.
        """
        w_i, w_j, w_e = self.linear.weight.split([self.hidden, self.hidden, e.shape[1]], dim=1)
        return torch.addmm(self.linear.bias, x, w_i.T), x @ w_j.T, w_e


class CGCNN(Trunk):
    """The network as published: 80,833 parameters with the default sizes.

    Atom features (92 bits) are mapped to `hidden` numbers, `n_conv` convolutions follow, then the mean over the atoms,
    and one hidden layer, whose output is the embedding.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 64
        Features of an atom.
    n_conv : int, default 3
        Graph convolutions.
    embedding : int, default 128
        Features of a crystal.
    """

    def __init__(self, n_targets: int = 1, hidden: int = 64, n_conv: int = 3, embedding: int = 128):
        super().__init__(n_targets=n_targets, hidden=hidden, n_conv=n_conv, embedding=embedding)
        self.embedding_size = embedding
        self.register_buffer("atom_features", atom_feature_table(), persistent=False)  # (Z + 1, 92)
        self.atom_embedding = nn.Linear(self.atom_features.shape[1], hidden)
        self.basis = GaussianBasis(stop=8.0, n_centers=41)
        self.convs = nn.ModuleList(CGCNNConv(hidden, len(self.basis.centers)) for _ in range(n_conv))
        self.crystal_embedding = nn.Linear(hidden, embedding)
        self.out = nn.Linear(embedding, n_targets)

    def atoms_and_bonds(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features that the first convolution reads: atoms (N, hidden) and bonds (M, 41)."""
        atoms = self.atom_embedding(self.atom_features)[batch.species]  # each element is embedded once
        return atoms, self.basis(batch.bond_length)

    def pool(self, x: Tensor, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, embedding), from the atoms (N, hidden) after the last convolution."""
        crystal = mean_pool(x, batch.batch, batch.ptr)  # (B, hidden)
        return softplus(self.crystal_embedding(softplus(crystal)))

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, embedding)."""
        x, e = self.atoms_and_bonds(batch)
        for conv in self.convs:
            x = conv(x, batch.bond_index, batch.bond_weight, e)
        return self.pool(x, batch)
