"""Line graphs of crystals, whose nodes are the edges between atoms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from course_lib.graphs import neighbor_weight


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


class UndirectedEdges(NamedTuple):
    """Edges together with their reverses, which have the same weight.

    Attributes
    ----------
    edge_index : Tensor of int64, shape (2, E)
        Source and target of each edge, sorted by target.
    edge_vector : Tensor, shape (E, 3)
        From the target to the source, in angstrom.
    edge_weight : Tensor, shape (E,)
        How much each edge counts, between 0 and 1.
    """

    edge_index: Tensor
    edge_vector: Tensor
    edge_weight: Tensor


def undirected(edge_index: Tensor, edge_vector: Tensor, cutoff: Tensor) -> UndirectedEdges:
    """Add the reverse of each edge that lacks it, as ALIGNN's graphs have both directions of every edge.

    An atom can be among the nearest neighbours of another without the opposite being true. Each direction has a weight
    from the cutoff of its own target (`course_lib.graphs.neighbor_weight`); both get the larger of the two. An edge
    lacks its reverse if the reverse has weight zero.

    Parameters
    ----------
    edge_index : Tensor of int64, shape (2, E)
        Source and target of each edge.
    edge_vector : Tensor, shape (E, 3)
        From the target to the source, in angstrom.
    cutoff : Tensor, shape (N,)
        Of each atom, in angstrom.

    Returns
    -------
    UndirectedEdges
    """
    source, target = edge_index
    length = edge_vector.norm(dim=1)
    reach = length.new_zeros(len(cutoff)).scatter_reduce(0, target, length, "amax")
    alone = length > reach[source] + 1e-5  # angstrom; an atom has all edges up to its longest
    weight = torch.maximum(neighbor_weight(length, cutoff[target]), neighbor_weight(length, cutoff[source]))
    edge_index = torch.cat([edge_index, edge_index[:, alone].flip(0)], dim=1)
    order = torch.argsort(edge_index[1], stable=True)
    return UndirectedEdges(
        edge_index[:, order],
        torch.cat([edge_vector, -edge_vector[alone]])[order],
        torch.cat([weight, weight[alone]])[order],
    )


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
