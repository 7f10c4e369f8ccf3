"""ALIGNN, the atomistic line graph neural network of Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus
from torch_geometric.data import Batch

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.layers import GaussianBasis, mean_pool


class LineGraph(NamedTuple):
    """The graph whose nodes are the edges of another graph: two are joined where one ends and the other begins.

    Attributes
    ----------
    pair_index : Tensor of int64, shape (2, T)
        For each pair (a -> b), (b -> c) the positions of the first and of the second edge; sorted by the second.
    cosine : Tensor, shape (T,)
        Cosine of the angle at b between a and c.
    """

    pair_index: Tensor
    cosine: Tensor


def undirected(edge_index: Tensor, edge_vector: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Add the reverse of each edge that lacks it, as ALIGNN's graphs have both directions of every edge.

    An atom can be among the nearest neighbours of another without the opposite being true. Neighbourhoods are
    whole shells, so the reverse of an edge is missing exactly when the edge is longer than all edges of its source.

    Parameters
    ----------
    edge_index : Tensor of int64, shape (2, E)
        Source and target of each edge.
    edge_vector : Tensor, shape (E, 3)
        From the target to the source, in angstrom.
    n_atoms : int
        Number of atoms.

    Returns
    -------
    edge_index, edge_vector : Tensor, shapes (2, E') and (E', 3)
        Sorted by target.
    """
    source, target = edge_index
    length = edge_vector.norm(dim=1)
    reach = length.new_zeros(n_atoms).scatter_reduce(0, target, length, "amax")
    alone = length > reach[source] + 1e-5  # angstrom; far above rounding, far below a shell's tolerance
    edge_index = torch.cat([edge_index, edge_index[:, alone].flip(0)], dim=1)
    edge_vector = torch.cat([edge_vector, -edge_vector[alone]])
    order = torch.argsort(edge_index[1], stable=True)
    return edge_index[:, order], edge_vector[order]


def line_graph(edge_index: Tensor, edge_vector: Tensor, n_atoms: int) -> LineGraph:
    """Join every edge (a -> b) to every edge (b -> c), c = a included.

    Parameters
    ----------
    edge_index : Tensor of int64, shape (2, E)
        Source and target of each edge, sorted by target.
    edge_vector : Tensor, shape (E, 3)
        From the target to the source.
    n_atoms : int
        Number of atoms.

    Returns
    -------
    LineGraph
    """
    source, target = edge_index
    n_edges = len(source)
    n_incoming = torch.bincount(target, minlength=n_atoms)
    first_incoming = n_incoming.cumsum(0) - n_incoming
    n_pairs = n_incoming[source]  # of each edge as the second of the pair
    second = torch.arange(n_edges, device=source.device).repeat_interleave(n_pairs)
    first_pair = n_pairs.cumsum(0) - n_pairs
    place = torch.arange(len(second), device=source.device) - first_pair[second]
    first = first_incoming[source[second]] + place
    unit = nn.functional.normalize(edge_vector, dim=1)
    # At b, the first edge's vector points to a; the second's points from c to b, so it is turned round.
    cosine = -(unit[first] * unit[second]).sum(1)
    return LineGraph(torch.stack([first, second]), cosine.clamp(-1.0, 1.0))


class EdgeGatedConv(nn.Module):
    r"""Edge-gated graph convolution (eqs. 4 to 6 of the paper, in the normalised form of the authors' code).

    For an edge e from node j to node i:

    .. math::

        m_e = A x_j + B x_i + C y_e, \qquad
        h_i = \frac{\sum_e \sigma(m_e) \odot D x_j}{\sum_e \sigma(m_e) + 10^{-6}}

        x_i' = x_i + \mathrm{SiLU}(\mathrm{BN}(E x_i + h_i)), \qquad
        y_e' = y_e + \mathrm{SiLU}(\mathrm{BN}(m_e))

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
        self.node_norm = nn.BatchNorm1d(hidden)
        self.edge_norm = nn.BatchNorm1d(hidden)

    def forward(self, x: Tensor, edge_index: Tensor, y: Tensor, update_edges: bool = True) -> tuple[Tensor, Tensor]:
        """Update the nodes, and the edges unless nothing reads them any more.

        Parameters
        ----------
        x : Tensor, shape (N, F)
            Node features.
        edge_index : Tensor of int64, shape (2, E)
            Source and target node of each edge.
        y : Tensor, shape (E, F)
            Edge features.
        update_edges : bool, default True
            Without, `y` is returned as it came.

        Returns
        -------
        x, y : Tensor, shapes (N, F) and (E, F)
        """
        source, target = edge_index
        m = self.gate_edge(y) + self.gate_source(x).index_select(0, source)
        m = m + self.gate_target(x).index_select(0, target)  # (E, F)
        gate = torch.sigmoid(m)
        zeros = gate.new_zeros(x.shape)
        total = zeros.index_add(0, target, gate * self.message(x).to(gate.dtype).index_select(0, source))
        h = total / (zeros.index_add(0, target, gate) + 1e-6)
        x = x + silu(self.node_norm(self.update(x) + h))
        return x, (y + silu(self.edge_norm(m)) if update_edges else y)


class ALIGNNLayer(nn.Module):
    """One ALIGNN layer: a convolution on the atom graph, then one on the line graph, which share the edges' features.

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
        self, x: Tensor, y: Tensor, z: Tensor, edge_index: Tensor, pair_index: Tensor, update_angles: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update atoms (N, F), edges (E, F) and angles (T, F)."""
        x, m = self.atoms(x, edge_index, y)
        y, z = self.edges(m, pair_index, z, update_edges=update_angles)
        return x, y, z


def _embedding(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.SiLU())


class ALIGNN(Trunk):
    """The network as published: 4,026,753 parameters with the default sizes.

    Atoms (92 bits), edges (80 functions of the distance) and angles (40 functions of the cosine) are each mapped to
    `hidden` numbers. `alignn_layers` update all three, `gcn_layers` more only atoms and edges; the mean over the
    atoms is the embedding. The graph has both directions of every edge.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 256
        Features of an atom, of an edge and of an angle.
    alignn_layers : int, default 4
        Layers with angles.
    gcn_layers : int, default 4
        Layers without, after them.
    """

    def __init__(self, n_targets: int = 1, hidden: int = 256, alignn_layers: int = 4, gcn_layers: int = 4):
        super().__init__(n_targets=n_targets, hidden=hidden, alignn_layers=alignn_layers, gcn_layers=gcn_layers)
        self.embedding_size = hidden
        self.register_buffer("atom_features", atom_feature_table(), persistent=False)  # (Z + 1, 92)
        self.atom_embedding = _embedding(self.atom_features.shape[1], hidden)
        # The authors' basis has the exponent 1/spacing, which is a width of the root of the spacing.
        self.distance_basis = GaussianBasis(stop=8.0, n_centers=80, width=(8.0 / 79) ** 0.5)
        self.edge_embedding = nn.Sequential(_embedding(80, 64), _embedding(64, hidden))
        self.angle_basis = GaussianBasis(start=-1.0, stop=1.0, n_centers=40, width=(2.0 / 39) ** 0.5)
        self.angle_embedding = nn.Sequential(_embedding(40, 64), _embedding(64, hidden))
        self.alignn_layers = nn.ModuleList(ALIGNNLayer(hidden) for _ in range(alignn_layers))
        self.gcn_layers = nn.ModuleList(EdgeGatedConv(hidden) for _ in range(gcn_layers))
        self.out = nn.Linear(hidden, n_targets)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector a crystal, (B, hidden)."""
        n_atoms = len(batch.species)
        edge_index, edge_vector = undirected(batch.edge_index, batch.edge_vector, n_atoms)
        pair_index, cosine = line_graph(edge_index, edge_vector, n_atoms)
        x = self.atom_embedding(self.atom_features[batch.species])  # (N, F)
        y = self.edge_embedding(self.distance_basis(edge_vector.norm(dim=1)))  # (E, F)
        z = self.angle_embedding(self.angle_basis(cosine))  # (T, F)
        for number, layer in enumerate(self.alignn_layers, 1):
            x, y, z = layer(x, y, z, edge_index, pair_index, update_angles=number < len(self.alignn_layers))
        for number, layer in enumerate(self.gcn_layers, 1):
            x, y = layer(x, edge_index, y, update_edges=number < len(self.gcn_layers))
        return mean_pool(x, batch.batch, batch.ptr)


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

    def forward(self, x: Tensor, bond_index: Tensor, bond_count: Tensor, e: Tensor) -> Tensor:
        """Return the new atom features (N, F) from ``x`` (N, F), bonds (2, M), their counts (M,) and ``e`` (M, K)."""
        source, target = bond_index
        # As in CGCNN, the parts of the atoms are computed once an atom.
        w_i, w_j, w_e = self.message_in.weight.split([self.hidden, self.hidden, e.shape[1]], dim=1)
        receiver = torch.addmm(self.message_in.bias, x, w_i.T).index_select(0, target)
        sender = (x @ w_j.T).index_select(0, source)
        message = self.message_out(softplus(torch.addmm(receiver + sender, e, w_e.T))) * bond_count[:, None]
        total = message.new_zeros(x.shape).index_add(0, target, message)
        return self.update(torch.cat([x, total], dim=1))


class ALIGNNSimple(Trunk):
    """A simplified model, for comparison: no line graph, so no angles. It shares only the residual idea with `ALIGNN`.

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
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(n_conv))
        self.crystal_embedding = nn.Linear(hidden, embedding)
        self.out = nn.Linear(embedding, n_targets)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector a crystal, (B, embedding)."""
        x = self.atom_embedding(self.atom_features)[batch.species]  # (N, F)
        e = self.basis(batch.bond_length)  # (M, K)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = softplus(x + norm(conv(x, batch.bond_index, batch.bond_count, e)))
        return softplus(self.crystal_embedding(mean_pool(x, batch.batch, batch.ptr)))
