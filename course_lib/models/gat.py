"""GAT, the graph attention network of Velickovic et al., ICLR 2018, with edge features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus
from torch_geometric.data import Batch
from torch_geometric.utils import softmax

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.layers import GaussianBasis, mean_pool


class GATConv(nn.Module):
    r"""Graph attention (eqs. 1 to 4 and 6 of the paper), whose scores also read the bonds.

    For each head, with learned matrices :math:`W`, :math:`V` and vectors :math:`a`:

    .. math::

        s_{ij} = \mathrm{LeakyReLU}(a_t \cdot W x_i + a_s \cdot W x_j + a_e \cdot V e_{ij}), \qquad
        \alpha_{ij} = \frac{\exp s_{ij}}{\sum_k \exp s_{ik}}, \qquad
        x_i' = b + \sum_j \alpha_{ij} W x_j

    The outputs of the heads are averaged. The same function as ``GATConv`` of PyTorch Geometric with ``concat=False``
    and without its self-loops, which would replace the edges from an atom to its own images in other cells.

    Parameters
    ----------
    hidden : int
        Features of an atom, F.
    n_basis : int
        Features of a bond, K.
    heads : int
        Attention heads, H.
    """

    def __init__(self, hidden: int, n_basis: int, heads: int):
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.linear = nn.Linear(hidden, heads * hidden, bias=False)  # W
        self.linear_edge = nn.Linear(n_basis, heads * hidden, bias=False)  # V
        self.score_source = nn.Parameter(torch.empty(heads, hidden))
        self.score_target = nn.Parameter(torch.empty(heads, hidden))
        self.score_edge = nn.Parameter(torch.empty(heads, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        for parameter in (self.linear.weight, self.linear_edge.weight):
            nn.init.xavier_uniform_(parameter)
        for parameter in (self.score_source, self.score_target, self.score_edge):
            nn.init.xavier_uniform_(parameter)

    def attention(self, x: Tensor, bond_index: Tensor, bond_count: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``W x``, (N, H, F), and how much each atom attends to each bond, (M, H); see `forward`."""
        source, target = bond_index
        values = self.linear(x).view(-1, self.heads, self.hidden)  # (N, H, F)
        # a . V e = (a . V) e: with the vector multiplied into the matrix first, a bond costs K * H products.
        fold = torch.einsum("hf,hfk->kh", self.score_edge, self.linear_edge.weight.view(self.heads, self.hidden, -1))
        score = e @ fold + (values * self.score_source).sum(2).index_select(0, source)
        score = leaky_relu(score + (values * self.score_target).sum(2).index_select(0, target), 0.2)
        # A bond that stands for several edges has their weights together: count * exp(score).
        return values, softmax(score + bond_count.log()[:, None], target, num_nodes=len(x))

    def forward(self, x: Tensor, bond_index: Tensor, bond_count: Tensor, e: Tensor) -> Tensor:
        """Update the atoms.

        Parameters
        ----------
        x : Tensor, shape (N, F)
            Atom features.
        bond_index : Tensor of int64, shape (2, M)
            Source and target atom of each bond.
        bond_count : Tensor, shape (M,)
            How many edges each bond stands for.
        e : Tensor, shape (M, K)
            Bond features.

        Returns
        -------
        Tensor, shape (N, F)
        """
        source, target = bond_index
        values, weight = self.attention(x, bond_index, bond_count, e)
        message = torch.einsum("mh,mhf->mf", weight / self.heads, values.index_select(0, source))
        return message.new_zeros(x.shape).index_add(0, target, message) + self.bias


class GAT(Trunk):
    """Graph attention on crystal graphs: each atom weighs its neighbours by a learned score.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 128
        Features of an atom, and of the crystal.
    n_conv : int, default 3
        Attention layers.
    heads : int, default 4
        Attention heads of a layer.
    """

    def __init__(self, n_targets: int = 1, hidden: int = 128, n_conv: int = 3, heads: int = 4):
        super().__init__(n_targets=n_targets, hidden=hidden, n_conv=n_conv, heads=heads)
        self.embedding_size = hidden
        self.register_buffer("atom_features", atom_feature_table(), persistent=False)  # (Z + 1, 92)
        self.atom_embedding = nn.Linear(self.atom_features.shape[1], hidden)
        self.basis = GaussianBasis(stop=8.0, n_centers=41)
        self.convs = nn.ModuleList(GATConv(hidden, len(self.basis.centers), heads) for _ in range(n_conv))
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(n_conv))
        self.out = nn.Linear(hidden, n_targets)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector a crystal, (B, hidden)."""
        x = self.atom_embedding(self.atom_features)[batch.species]  # (N, F)
        e = self.basis(batch.bond_length)  # (M, K)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(norm(conv(x, batch.bond_index, batch.bond_count, e)))
        return mean_pool(x, batch.batch, batch.ptr)
