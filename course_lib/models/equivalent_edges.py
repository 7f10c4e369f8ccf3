"""Merging the atoms, edges and angles of a batch that symmetry makes equivalent.

This only saves time: predictions are the same up to rounding. On the bundled crystals, which are highly
symmetric, ALIGNN trains 4.4 times faster with it. On crystals whose atoms are displaced from their symmetric positions,
nothing is equivalent, and nothing is gained. The graphs themselves are those of `course_lib.models.line_graph`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from course_lib.models.line_graph import line_graph, undirected

if TYPE_CHECKING:
    from torch_geometric.data import Batch

MERGE_TOLERANCE = 1e-3
"""Edges may be equivalent if lengths (in angstrom) and weights round to one multiple of this; angles, if cosines do.

Merged members get their mean, so the resulting error of a prediction is of second order.
"""


class CountedGraph(NamedTuple):
    """A graph in which a node stands for several equivalent nodes, and an edge for several equivalent edges.

    An edge that fades out (`course_lib.graphs.neighbor_weight`) counts less than once.

    Attributes
    ----------
    edge_index : Tensor of int64, shape (2, E)
        Source and target of each edge, sorted by target.
    node_weight : Tensor, shape (N,)
        How many nodes each node stands for, each counted by its weight.
    edge_weight : Tensor, shape (E,)
        How many edges each edge stands for, each counted by its weight.
    parallel : Tensor, shape (E,)
        The weight of the messages that come along these to any one of the nodes that the edge's target stands for.
    """

    edge_index: Tensor
    node_weight: Tensor
    edge_weight: Tensor
    parallel: Tensor


class CrystalLineGraph(NamedTuple):
    """Atom graph and line graph of a batch, with symmetry-equivalent nodes and edges merged.

    Attributes
    ----------
    atom_class : Tensor of int64, shape (n_atoms,)
        The node of the atom graph that stands for each atom of the batch.
    species : Tensor of int64, shape (N,)
        Atomic number of each node of the atom graph.
    length : Tensor, shape (E,)
        Of each edge of the atom graph, in angstrom.
    cosine : Tensor, shape (A,)
        The different cosines of angles.
    cosine_weight : Tensor, shape (A,)
        How many angles have each cosine, each counted by its weight.
    pair_cosine : Tensor of int64, shape (T,)
        Which of the cosines each edge of the line graph has.
    atoms, edges : CountedGraph
        The atom graph with N nodes and E edges, and the line graph with E nodes, in the same order, and T edges.
    """

    atom_class: Tensor
    species: Tensor
    length: Tensor
    cosine: Tensor
    cosine_weight: Tensor
    pair_cosine: Tensor
    atoms: CountedGraph
    edges: CountedGraph


@torch.compiler.disable  # the shapes depend on the numbers
def crystal_line_graph(batch: Batch, rounds: int) -> CrystalLineGraph:
    """Make atom graph and line graph of a batch and merge what a network of `rounds` layers cannot tell apart.

    In a symmetric crystal most edges and angles are copies of others: a network computes the same features for all of
    them. Colour refinement (Weisfeiler and Leman, 1968) finds them: every atom, edge and pair gets a colour, first
    from its species, length or angle alone; in each round an edge takes in the colours of its two atoms, an atom
    those of all edges into it, and an edge those of all pairs into it, just as the layers pass messages. Members with
    the same colour at the end had equal messages in every round. One representative with a count then stands for all.
    An edge's colour starts from its weight, too. A pair has the weight of its first edge where it brings a message to
    its second, and the product of both where all pairs are counted.

    Colours are hashes in 64 bits; two that should differ are equal by chance about once in a million batches.

    Parameters
    ----------
    batch : Batch
        From `CrystalGraphs.batch`.
    rounds : int
        At least the number of layers of the network.

    Returns
    -------
    CrystalLineGraph
    """
    n_atoms = len(batch.species)
    edge_index, edge_vector, weight = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    (first, second), cosine = line_graph(edge_index, edge_vector, n_atoms)
    (source, target), length = edge_index, edge_vector.norm(dim=1)

    atom = _hash(batch.species)
    edge = _hash(_rounded(length), _rounded(weight))
    angle = _hash(_rounded(cosine))
    for _ in range(rounds):
        edge = _hash(edge, atom[source], atom[target])
        atom = _hash(atom, torch.zeros_like(atom).index_add(0, target, edge))
        edge = _hash(edge, torch.zeros_like(edge).index_add(0, second, _hash(angle, edge.index_select(0, first))))
    edge = _hash(edge, atom[source], atom[target])

    atom_class, atom_count, some_atom = _classes(atom, batch.batch)
    edge_class, edge_count, some_edge = _classes(edge, atom_class[target])
    pair_class, pair_count, some_pair = _classes(
        _hash(angle, edge.index_select(0, first)), edge_class.index_select(0, second)
    )
    atom_count, edge_count, pair_count = (count.to(length.dtype) for count in (atom_count, edge_count, pair_count))
    edge_weight = _class_sum(weight, edge_class, edge_count)
    # a -> b -> c and c -> b -> a have the same angle, as have many others.
    cosine, pair_cosine = torch.unique(_class_sum(cosine, pair_class, pair_count) / pair_count, return_inverse=True)
    atoms_index = atom_class[edge_index[:, some_edge]]
    edges_index = edge_class[torch.stack([first, second])[:, some_pair]]
    # The edges of a class have one weight, so those of the pairs follow from their counts.
    first_weight, second_weight = (edge_weight / edge_count)[edges_index]
    to_edge = pair_count * first_weight
    pair_weight = to_edge * second_weight
    return CrystalLineGraph(
        atom_class=atom_class,
        species=batch.species[some_atom],
        length=_class_sum(length, edge_class, edge_count) / edge_count,
        cosine=cosine,
        cosine_weight=torch.zeros_like(cosine).index_add(0, pair_cosine, pair_weight),
        pair_cosine=pair_cosine,
        atoms=CountedGraph(atoms_index, atom_count, edge_weight, edge_weight / atom_count[atoms_index[1]]),
        edges=CountedGraph(edges_index, edge_weight, pair_weight, to_edge / edge_count[edges_index[1]]),
    )


def _rounded(values: Tensor) -> Tensor:
    return (values / MERGE_TOLERANCE).round().long()


def _class_sum(values: Tensor, number: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add(0, number, values)


def _hash(*columns: Tensor) -> Tensor:
    """Map rows of integers to numbers that look random and differ where the rows do; sums wrap around at 64 bits."""
    out = sum((2 * k + 3) * column for k, column in enumerate(columns))
    # The mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
    out = (out ^ (out >> 30)) * -0x40A7B892E31B1A47
    out = (out ^ (out >> 27)) * -0x6B2FB644ECCEEE15
    return out ^ (out >> 31)


def _classes(colour: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give equal colours one number, counting group after group.

    Returns
    -------
    number : Tensor of int64, shape of `colour`
        The class of each member.
    count : Tensor of int64, shape (n_classes,)
        Members of each class.
    member : Tensor of int64, shape (n_classes,)
        One member of each class.
    """
    key = (group << 40) | (colour & (2**40 - 1))  # within a group, 40 bits are enough
    _, number, count = torch.unique(key, return_inverse=True, return_counts=True)
    member = torch.empty_like(count).scatter_(0, number, torch.arange(len(number), device=number.device))
    return number, count, member
