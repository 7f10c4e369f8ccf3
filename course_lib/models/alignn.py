"""ALIGNN, the atomistic line graph neural network of Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import silu, softplus

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.layers import GaussianBasis, WeightedBatchNorm1d, mean_pool, without_gradient

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    from course_lib.models.equivalent_edges import CountedGraph, CrystalLineGraph


class _GatedMean(torch.autograd.Function):
    r"""Add the nodes' parts to the gates, and average the messages of the sources over each target.

    .. math::

        s_e = m_e + a_j + b_i, \qquad
        h_i = \frac{\sum_e p_e \sigma(s_e) \odot v_j}{\sum_e p_e \sigma(s_e) + 10^{-6}}

    :math:`s_e` overwrites m. Autograd would keep five tables with one row per edge for the gradient, and this is the
    largest table there is. Here only :math:`s_e` is kept. A CPU works on a few thousand rows at a time, so that they
    stay in its cache.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, m: Tensor, a: Tensor, b: Tensor, v: Tensor, source: Tensor, target: Tensor, parallel: Tensor
    ) -> tuple[Tensor, Tensor]:
        v = v.to(parallel.dtype)  # in mixed precision the products have low precision; sums need full precision
        total, norm = torch.zeros_like(v), torch.zeros_like(v)
        for rows, j, i, p in _blocks(m, source, target, parallel):
            rows += a.index_select(0, j)
            rows += b.index_select(0, i)
            gate = torch.sigmoid(rows.to(v.dtype)).mul_(p)
            norm.index_add_(0, i, gate)
            total.index_add_(0, i, gate.mul_(v.index_select(0, j)))
        norm += 1e-6
        h = total.div_(norm)
        ctx.mark_dirty(m)
        ctx.save_for_backward(m, v, h, norm, source, target, parallel)
        ctx.set_materialize_grads(False)
        return m, h

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_m: Tensor | None, grad_h: Tensor | None) -> tuple[Tensor | None, ...]:
        m, v, h, norm, source, target, parallel = ctx.saved_tensors
        grad_total = torch.zeros_like(h) if grad_h is None else grad_h / norm
        grad_m = torch.zeros_like(m) if grad_m is None else grad_m.clone()
        grad_a, grad_b, grad_v = (torch.zeros_like(v) for _ in range(3))
        for grad, rows, j, i, p in _blocks(grad_m, m, source, target, parallel):
            gate = torch.sigmoid(rows.to(v.dtype))
            weighted = grad_total.index_select(0, i).mul_(gate).mul_(p)
            grad_v.index_add_(0, j, weighted)
            grad += weighted.mul_(v.index_select(0, j).sub_(h.index_select(0, i))).mul_(gate.neg_().add_(1))
            grad_a.index_add_(0, j, grad.to(v.dtype))
            grad_b.index_add_(0, i, grad.to(v.dtype))
        return grad_m, grad_a, grad_b, grad_v, None, None, None


def _blocks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tables with one row per edge, the first of shape (E, F), into blocks of rows; a GPU takes all at once."""
    n_rows, width = tables[0].shape
    rows = max(2**19 // width if tables[0].device.type == "cpu" else n_rows, 1)
    return zip(*(table.split(rows) for table in tables), strict=True)


class EdgeGatedConv(nn.Module):
    r"""Edge-gated graph convolution (eqs. 4 to 6 of the paper, in the normalised form of the authors' code).

    As in their code, the gate is made of :math:`s_e`; in the paper it is made of the new edge :math:`y_e'`.

    For an edge e from node j to node i:

    .. math::

        s_e = A x_j + B x_i + C y_e, \qquad
        h_i = \frac{\sum_e \sigma(s_e) \odot D x_j}{\sum_e \sigma(s_e) + 10^{-6}}

        x_i' = x_i + \mathrm{SiLU}(\mathrm{BN}(E x_i + h_i)), \qquad
        y_e' = y_e + \mathrm{SiLU}(\mathrm{BN}(s_e))

    In the code ``m`` is first :math:`C y_e`, and :math:`s_e` once `_GatedMean` returns it.

    Parameters
    ----------
    hidden : int
        Features of a node and of an edge, F.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.gate_source = nn.Linear(hidden, hidden)  # A
        self.gate_target = nn.Linear(hidden, hidden)  # B
        self.gate_edge = nn.Linear(hidden, hidden)  # C
        self.message = nn.Linear(hidden, hidden)  # D
        self.update = nn.Linear(hidden, hidden)  # E
        without_gradient(self.message.bias, self.update.bias)  # a mean over edges adds D's bias to every node equally
        self.node_norm = WeightedBatchNorm1d(hidden)
        self.edge_norm = WeightedBatchNorm1d(hidden)

    def forward(
        self, x: Tensor, y: Tensor, graph: CountedGraph, row: Tensor | None = None, update_edges: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Update the nodes, and the edges unless nothing reads them afterwards.

        Parameters
        ----------
        x : Tensor, shape (N, F)
            Node features.
        y : Tensor, shape (E, F), or (A, F) with `row`
            Edge features.
        graph : CountedGraph
            N nodes and E edges, each of which may stand for several.
        row : Tensor of int64, shape (E,), optional
            The row of `y` that belongs to each edge, where several edges share one.
        update_edges : bool, default True
            If False, the edge features are returned unchanged.

        Returns
        -------
        x, y : Tensor, shapes (N, F) and (E, F)
        """
        m = self.gate_edge(y)
        if row is not None:
            m, y = m.index_select(0, row), y.index_select(0, row)
        m, h = _GatedMean.apply(  # the maps of the nodes are computed once per node, not once per edge
            m,
            self.gate_source(x),
            self.gate_target(x),
            self.message(x),
            *graph.edge_index,
            graph.parallel[:, None],
        )
        x = x + silu(self.node_norm(self.update(x) + h, graph.node_weight))
        return x, (y + silu(self.edge_norm(m, graph.edge_weight)) if update_edges else y)


class ALIGNNLayer(nn.Module):
    """One ALIGNN layer: a convolution on the atom graph, then one on the line graph, which share the edges' features.

    The order is that of the authors' code; in the paper the line graph comes first.

    Parameters
    ----------
    hidden : int
        Features of an atom, of an edge and of an angle, F.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.atoms = EdgeGatedConv(hidden)
        self.edges = EdgeGatedConv(hidden)

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        atoms: CountedGraph,
        edges: CountedGraph,
        row: Tensor | None = None,
        update_angles: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update atoms ``x`` (N, F), edges ``y`` (E, F) and angles ``z`` (T, F), or (A, F) with ``row`` (T,)."""
        x, y = self.atoms(x, y, atoms)
        y, z = self.edges(y, z, edges, row, update_edges=update_angles)
        return x, y, z


class Embedding(nn.Module):
    """Linear map, batch norm and SiLU, repeated as `sizes` says, for rows that may stand for several."""

    def __init__(self, *sizes: int):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        without_gradient(*(linear.bias for linear in self.linears))
        self.norms = nn.ModuleList(WeightedBatchNorm1d(n_out) for n_out in sizes[1:])

    def forward(self, values: Tensor, weight: Tensor) -> Tensor:
        """Map ``values`` (M, sizes[0]), whose row ``m`` stands for ``weight[m]`` rows, to (M, sizes[-1])."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            values = silu(norm(linear(values), weight))
        return values


class ALIGNN(Trunk):
    """The network as published: 4,026,753 parameters with the default sizes.

    Atoms (92 bits), edges (80 functions of the distance) and angles (40 functions of the cosine) are each mapped to
    `hidden` numbers. `alignn_layers` update all three, `gcn_layers` more only atoms and edges; the mean over the
    atoms is the embedding. The graph has both directions of every edge.

    Symmetry-equivalent parts are computed once and counted (`crystal_line_graph`), and so are the angles that many
    pairs of edges share: the same function for a fraction of the work.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 256
        Features of an atom, of an edge and of an angle.
    alignn_layers : int, default 4
        Layers with angles.
    gcn_layers : int, default 4
        Layers without angles, after those. In them, what the last layer with angles learned reaches the atoms.
    angles : bool, default True
        If False, every angle is read as a right angle, all else equal, to measure what the angles are worth.
    """

    def __init__(
        self, n_targets: int = 1, hidden: int = 256, alignn_layers: int = 4, gcn_layers: int = 4, angles: bool = True
    ):
        super().__init__(
            n_targets=n_targets, hidden=hidden, alignn_layers=alignn_layers, gcn_layers=gcn_layers, angles=angles
        )
        self.embedding_size = hidden
        self.angles = angles
        self.register_buffer("atom_features", atom_feature_table(), persistent=False)  # (Z + 1, 92)
        self.atom_embedding = Embedding(self.atom_features.shape[1], hidden)
        # The authors' basis has the exponent 1/spacing, which is a width of the root of the spacing.
        self.distance_basis = GaussianBasis(stop=8.0, n_centers=80, width=(8.0 / 79) ** 0.5)
        self.edge_embedding = Embedding(80, 64, hidden)
        self.angle_basis = GaussianBasis(start=-1.0, stop=1.0, n_centers=40, width=(2.0 / 39) ** 0.5)
        self.angle_embedding = Embedding(40, 64, hidden)
        self.alignn_layers = nn.ModuleList(ALIGNNLayer(hidden) for _ in range(alignn_layers))
        self.gcn_layers = nn.ModuleList(EdgeGatedConv(hidden) for _ in range(gcn_layers))
        self.out = nn.Linear(hidden, n_targets)
        # Nothing reads the last angles and the last edges, so their norms stay as they are. Declaring this also keeps
        # several processes that train together from waiting for gradients that never come.
        self.alignn_layers[-1].edges.edge_norm.requires_grad_(False)
        self.gcn_layers[-1].edge_norm.requires_grad_(False)

    def atoms_and_edges(self, graph: CrystalLineGraph) -> tuple[Tensor, Tensor]:
        """Return what is read of the atoms, (N, 92), and of the edges, (E, 80)."""
        return self.atom_features[graph.species], self.distance_basis(graph.length)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, hidden)."""
        # This module is kept out of `torch.compile`, for which it loads the compiler.
        from course_lib.models.equivalent_edges import crystal_line_graph

        graph = crystal_line_graph(batch, rounds=len(self.alignn_layers) + len(self.gcn_layers))
        atoms, edges = graph.atoms, graph.edges
        of_atoms, of_edges = self.atoms_and_edges(graph)
        x = self.atom_embedding(of_atoms, atoms.node_weight)  # (N, F)
        y = self.edge_embedding(of_edges, atoms.edge_weight)  # (E, F)
        cosine = graph.cosine if self.angles else torch.zeros_like(graph.cosine)
        z = self.angle_embedding(self.angle_basis(cosine), graph.cosine_weight)  # (A, F)
        row = graph.pair_cosine  # after the first layer z is (T, F), and each pair has a row of its own
        for number, layer in enumerate(self.alignn_layers, 1):
            x, y, z = layer(x, y, z, atoms, edges, row, update_angles=number < len(self.alignn_layers))
            row = None
        for number, layer in enumerate(self.gcn_layers, 1):
            x, y = layer(x, y, atoms, update_edges=number < len(self.gcn_layers))
        return mean_pool(x[graph.atom_class], batch.batch, batch.ptr)


class SimpleConv(nn.Module):
    r"""The convolution of the simplified model: one network makes the messages, another updates the atom.

    .. math:: x_i' = U\bigl([x_i,\ \textstyle\sum_j M([x_i, x_j, e_{ij}])]\bigr)

    with two-layer networks :math:`M` and :math:`U`.

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
        self.message_in = nn.Linear(2 * hidden + n_basis, hidden)
        self.message_out = nn.Linear(hidden, hidden)
        self.update = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Softplus(), nn.Linear(hidden, hidden))
        without_gradient(self.update[-1].bias)

    def forward(self, x: Tensor, bond_index: Tensor, bond_weight: Tensor, e: Tensor) -> Tensor:
        """Return the new atom features (N, F) from ``x`` (N, F), bonds (2, M), their weights (M,) and ``e`` (M, K)."""
        source, target = bond_index
        # As in CGCNN, the parts of the atoms are computed once per atom.
        w_i, w_j, w_e = self.message_in.weight.split([self.hidden, self.hidden, e.shape[1]], dim=1)
        receiver = torch.addmm(self.message_in.bias, x, w_i.T).index_select(0, target)
        sender = (x @ w_j.T).index_select(0, source)
        inner = softplus(torch.addmm(receiver + sender, e, w_e.T)) * bond_weight[:, None]
        # The sum over the neighbours comes before the second linear map of the messages, which then costs one product
        # per atom.
        total = inner.new_zeros(x.shape).index_add(0, target, inner)
        n_edges = bond_weight.new_zeros(len(x)).index_add(0, target, bond_weight)
        total = total @ self.message_out.weight.T + torch.outer(n_edges, self.message_out.bias)
        return self.update(torch.cat([x, total], dim=1))


class ALIGNNSimple(Trunk):
    """A simplified model, for comparison: no line graph, so no angles.

    It shares only the residual connections with `ALIGNN`.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 128
        Features of an atom.
    n_conv : int, default 3
        Convolutions.
    embedding : int, default 64
        Features of a crystal.
    """

    def __init__(self, n_targets: int = 1, hidden: int = 128, n_conv: int = 3, embedding: int = 64):
        super().__init__(n_targets=n_targets, hidden=hidden, n_conv=n_conv, embedding=embedding)
        self.embedding_size = embedding
        self.register_buffer("atom_features", atom_feature_table(), persistent=False)  # (Z + 1, 92)
        self.atom_embedding = nn.Linear(self.atom_features.shape[1], hidden)
        self.basis = GaussianBasis(stop=8.0, n_centers=41)
        self.convs = nn.ModuleList(SimpleConv(hidden, len(self.basis.centers)) for _ in range(n_conv))
        self.norms = nn.ModuleList(WeightedBatchNorm1d(hidden) for _ in range(n_conv))
        self.crystal_embedding = nn.Linear(hidden, embedding)
        self.out = nn.Linear(embedding, n_targets)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, embedding)."""
        x = self.atom_embedding(self.atom_features)[batch.species]  # (N, F)
        e = self.basis(batch.bond_length)  # (M, K)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(x + norm(conv(x, batch.bond_index, batch.bond_weight, e)))
        return softplus(self.crystal_embedding(mean_pool(x, batch.batch, batch.ptr)))
