"""GAT, the graph attention network of Velickovic et al., ICLR 2018, with edge features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import leaky_relu, softplus

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.layers import GaussianBasis, WeightedBatchNorm1d, mean_pool

if TYPE_CHECKING:
    from torch_geometric.data import Batch


class GATConv(nn.Module):
    r"""Graph attention (eqs. 1 to 4 and 6 of the paper), whose scores also read the bonds.

    For each head, with learned matrices :math:`W`, :math:`V` and vectors :math:`a`:

    .. math::

        s_{ij} = \mathrm{LeakyReLU}(a_t \cdot W x_i + a_s \cdot W x_j + a_e \cdot V e_{ij}), \qquad
        \alpha_{ij} = \frac{\exp s_{ij}}{\sum_k \exp s_{ik}}, \qquad
        x_i' = \sum_j \alpha_{ij} W x_j

    The outputs of the heads are averaged. The same function as ``GATConv`` of PyTorch Geometric with ``concat=False``,
    without its self-loops, which would replace the edges from an atom to its own images in other cells, and without its
    bias, which the batch norm after it would cancel.

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
        for parameter in (self.linear.weight, self.linear_edge.weight):
            nn.init.xavier_uniform_(parameter)
        for parameter in (self.score_source, self.score_target, self.score_edge):
            nn.init.xavier_uniform_(parameter)

    def attention(self, x: Tensor, bond_index: Tensor, bond_weight: Tensor, e: Tensor) -> Tensor:
        """Return the share of each bond in what its target atom receives, (M, H); arguments as for `forward`."""
        from torch_geometric.utils import softmax  # importing PyG takes longer than many a use of this package

        source, target = bond_index
        # a . W x = (a W) . x: with the vector multiplied into the matrix first, a bond costs K * H products.
        of_source = self._fold(self.score_source, self.linear)
        of_target = self._fold(self.score_target, self.linear)
        score = e @ self._fold(self.score_edge, self.linear_edge)
        score = score + (x @ of_source).index_select(0, source) + (x @ of_target).index_select(0, target)
        # A bond that stands for several edges has the sum of their shares: count * exp(score).
        return softmax(leaky_relu(score, 0.2) + bond_weight.log()[:, None], target, num_nodes=len(x))

    def _fold(self, vector: Tensor, linear: nn.Linear) -> Tensor:
        return torch.einsum("hf,hfk->kh", vector, linear.weight.view(self.heads, self.hidden, -1))

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
        weight = self.attention(x, bond_index, bond_weight, e) / self.heads
        # sum_j w_ij W x_j = W sum_j w_ij x_j: the sum is over the same x_j for every head, so they are read once.
        # In mixed precision the sums are taken in the precision of the weights.
        sums = _WeightedSum.apply(weight, x.to(torch.promote_types(x.dtype, weight.dtype)), *bond_index)  # (N, H * F)
        by_head = self.linear.weight.view(self.heads, self.hidden, -1).transpose(1, 2)  # (H, F in, F out)
        return sums @ by_head.flatten(0, 1)


class _WeightedSum(torch.autograd.Function):
    """For each head, add to every atom the rows of ``x`` (N, F) of its neighbours, times ``weight`` (M, H).

    Returns (N, H * F). Only the arguments are kept for the gradient; autograd would keep each product, (M, H * F).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, weight: Tensor, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x, source, target)
        x_source = x.index_select(0, source)
        heads = [torch.zeros_like(x).index_add_(0, target, w[:, None] * x_source) for w in weight.unbind(1)]
        return torch.cat(heads, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, x, source, target = ctx.saved_tensors
        x_source = x.index_select(0, source)
        grad_weight, grad_source = [], torch.zeros_like(x_source)
        for w, of_head in zip(weight.unbind(1), grad.chunk(weight.shape[1], dim=1), strict=True):
            of_bond = of_head.index_select(0, target)
            grad_weight.append((of_bond * x_source).sum(1))
            grad_source.addcmul_(of_bond, w[:, None])
        return torch.stack(grad_weight, dim=1), torch.zeros_like(x).index_add_(0, source, grad_source), None, None


class GAT(Trunk):
    """Graph attention on crystal graphs: each atom weighs its neighbours, and itself, by a learned score.

    As in the paper, an atom is among its own neighbours: a bond of length zero joins it to itself, alongside those to
    its images in other cells. All heads are averaged, which the paper does only in the last layer.

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
        self.norms = nn.ModuleList(WeightedBatchNorm1d(hidden) for _ in range(n_conv))
        self.out = nn.Linear(hidden, n_targets)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, hidden)."""
        x = self.atom_embedding(self.atom_features)[batch.species]  # (N, F)
        itself = torch.arange(len(x), device=x.device).expand(2, -1)
        bond_index = torch.cat([batch.bond_index, itself], dim=1)  # (2, M + N)
        bond_weight = torch.cat([batch.bond_weight, batch.bond_weight.new_ones(len(x))])
        e = self.basis(torch.cat([batch.bond_length, batch.bond_length.new_zeros(len(x))]))  # (M + N, K)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(norm(conv(x, bond_index, bond_weight, e)))
        return mean_pool(x, batch.batch, batch.ptr)
