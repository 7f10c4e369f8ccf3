"""Line graphs of crystals, whose nodes are the edges between atoms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize


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
    shift = first_incoming[source] - first_pair  # from the position of a pair to that of its first edge
    first = torch.arange(len(second), device=source.device) + shift.index_select(0, second)
    unit = normalize(edge_vector, dim=1)
    # At b, the first edge's vector points to a; the second's points from c to b, so its sign changes.
    cosine = -(unit.index_select(0, first) * unit.index_select(0, second)).sum(1)
    return LineGraph(torch.stack([first, second]), cosine.clamp(-1.0, 1.0))
