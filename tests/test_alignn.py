"""ALIGNN: line graphs against NetworkX and pymatgen, layers against the published equations and the authors' code."""

from __future__ import annotations

import warnings
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from example_crystals import examples, random_crystal, randomize, unweighted
from pymatgen.core import Lattice, Molecule, Structure
from scipy.spatial import cKDTree
from torch import nn
from torch.nn.functional import embedding

from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN, ALIGNNSimple, equivalent_edges
from course_lib.models.alignn import EdgeGatedConv, SimpleConv, _GatedMean
from course_lib.models.equivalent_edges import CountedGraph, crystal_line_graph
from course_lib.models.line_graph import line_graph, undirected

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
# One lattice with all lengths and angles equal, so that only the species, also those further away, tell atoms apart.
DECORATED = Structure(
    Lattice.orthorhombic(4, 4, 8),
    ["Cu", "Cu", "Au", "Cu", "Pd", "Cu", "Cu", "Au"],
    [
        [0, 0, 0],
        [0.5, 0.5, 0],
        [0.5, 0, 0.25],
        [0, 0.5, 0.25],
        [0, 0, 0.5],
        [0.5, 0.5, 0.5],
        [0.5, 0, 0.75],
        [0, 0.5, 0.75],
    ],
)
CHAIN = Structure(Lattice.orthorhombic(2.5, 11, 13), ["C"], [[0, 0, 0]])


def graphs_of(*structures: Structure):
    graphs = CrystalGraphs.from_structures(structures)
    return graphs.batch(range(len(graphs)))


def double(batch):
    return batch.apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


# ---------------------------------------------------------------- graphs


def rows(edge_index, edge_vector) -> np.ndarray:
    """One row per edge, far from all rows of other pairs of atoms."""
    return np.column_stack([1e3 * edge_index.numpy().T, edge_vector.double().numpy()])


@pytest.mark.parametrize("crystals", ["bundled", "random"])
def test_undirected_adds_each_missing_reverse_once(crystals):
    """For every bundled crystal, against a search for the reverse of each edge."""
    structures = (
        load_dataset("pbe_prototypes")["structure"] if crystals == "bundled" else map(random_crystal, range(99))
    )
    batch = graphs_of(*structures, CHAIN)
    before = rows(batch.edge_index, batch.edge_vector)
    edge_index, edge_vector, weight = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    after = rows(edge_index, edge_vector)
    assert (edge_index[1].diff() >= 0).all()

    nearest, match = cKDTree(after).query(rows(edge_index.flip(0), -edge_vector), k=2)
    assert nearest[:, 0].max() < 1e-4  # there is a reverse
    assert nearest[:, 1].min() > 0.1  # and no second one
    assert len(np.unique(match[:, 0])) == len(after)
    np.testing.assert_allclose(weight, weight[match[:, 0]], atol=2e-5)  # which counts as much

    missing = cKDTree(before).query(rows(batch.edge_index.flip(0), -batch.edge_vector))[0] > 1e-4
    assert len(after) == len(before) + missing.sum()
    nearest, match = cKDTree(after).query(before)
    assert nearest.max() == 0
    assert missing.any()
    own = (batch.bond_weight / batch.bond_count).repeat_interleave(batch.bond_count)
    assert (weight[match] - own).min() > -1e-4  # at least as much as where it was found
    mutual = torch.from_numpy(~missing)
    assert (weight[match] - own)[mutual].max() > 0.1  # more, where the reverse counts more
    np.testing.assert_allclose(weight[match][~mutual], own[~mutual], atol=1e-4)


def test_an_edge_hardly_longer_than_those_of_its_source_lacks_its_reverse():
    edge_index = torch.tensor([[1, 2, 1], [0, 1, 2]])
    edge_vector = torch.tensor([[3.0, 0, 0], [0, 2.9999, 0], [0, -2.9999, 0]])
    found = undirected(edge_index, edge_vector, torch.full((3,), 3.1))
    assert sorted(found.edge_index.T.tolist()) == [[0, 1], [1, 0], [1, 2], [2, 1]]


def test_graphs_are_made_on_the_device_of_the_batch():
    batch = graphs_of(CHAIN, ROCKSALT)
    with torch.device("meta"):  # where tensors go that get no device; they cannot be combined with those of the batch
        assert crystal_line_graph(batch, 2).cosine.device.type == "cpu"


def small_graph():
    """A graph of four crystals, one with edges from an atom to its own images."""
    batch = graphs_of(examples()[0], random_crystal(0), random_crystal(4), CHAIN)
    return *undirected(batch.edge_index, batch.edge_vector, batch.cutoff)[:2], batch.num_nodes


def test_line_graph_is_that_of_networkx():
    edge_index, edge_vector, n_atoms = small_graph()
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(n_atoms))
    for number, (source, target) in enumerate(edge_index.T.tolist()):
        graph.add_edge(source, target, key=number)
    expected = {(first[2], second[2]) for first, second in nx.line_graph(graph).edges()}
    found = list(map(tuple, line_graph(edge_index, edge_vector, n_atoms).pair_index.T.tolist()))
    assert len(found) == len(expected)
    assert set(found) == expected


def test_line_graph_by_a_double_loop():
    """Pairs and angles; the first edge's reversed vector points from the atom before to the one in the middle."""
    edge_index, edge_vector, n_atoms = small_graph()
    edges = list(zip(*edge_index.tolist(), edge_vector.double().numpy(), strict=True))
    expected = {
        (f, g): -(u @ v) / np.linalg.norm(u) / np.linalg.norm(v)
        for f, (_, b, u) in enumerate(edges)
        for g, (also_b, _, v) in enumerate(edges)
        if b == also_b
    }
    pair_index, cosine = line_graph(edge_index, edge_vector, n_atoms)
    assert (pair_index[1].diff() >= 0).all()
    assert set(map(tuple, pair_index.T.tolist())) == set(expected)
    for pair, value in zip(map(tuple, pair_index.T.tolist()), cosine.tolist(), strict=True):
        assert value == pytest.approx(expected[pair], abs=1e-6)
    assert cosine.abs().max() <= 1


@pytest.mark.parametrize("structure", [ROCKSALT, random_crystal(3), random_crystal(8)], ids=["NaCl", "3", "8"])
def test_angles_are_those_of_pymatgen(structure):
    """Three atoms of pymatgen's own neighbour list, as a molecule whose angle pymatgen measures."""
    batch = graphs_of(structure)
    edge_index, edge_vector, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    (first, second), cosine = line_graph(edge_index, edge_vector, len(structure))
    around = structure.get_all_neighbors(float(edge_vector.norm(dim=1).max()) + 0.1)

    def neighbor(atom: int, other: int, vector) -> np.ndarray:
        """Return where pymatgen sees the image of the other atom."""
        places = [site.coords for site in around[atom] if site.index == other]
        distance = np.linalg.norm(np.array(places) - structure[atom].coords - vector, axis=1)
        assert distance.min() < 1e-4
        return places[int(distance.argmin())]

    for pair in np.random.default_rng(0).integers(len(cosine), size=150):
        f, g = first[pair], second[pair]
        (a, b), (also_b, c) = edge_index[:, f].tolist(), edge_index[:, g].tolist()
        assert b == also_b
        a = neighbor(b, a, edge_vector[f].numpy())
        c = neighbor(b, c, -edge_vector[g].numpy())
        angle = Molecule("HHH", [a, structure[b].coords, c]).get_angle(0, 1, 2)
        assert float(cosine[pair]) == pytest.approx(np.cos(np.radians(angle)), abs=1e-5)


def test_counts_of_merged_rock_salt():
    """All Na are equivalent, all Cl too; each has 6 edges to the other kind and 12 to its own: 4 kinds of edges."""
    graph = crystal_line_graph(graphs_of(ROCKSALT), rounds=2)
    assert graph.atom_class.tolist() in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)
    assert graph.atoms.node_weight.tolist() == [4, 4]
    # The 12 edges to its own kind count half each.
    torch.testing.assert_close(graph.atoms.edge_weight, torch.full((4,), 24.0), rtol=0, atol=1e-3)
    torch.testing.assert_close(graph.atoms.parallel, torch.full((4,), 6.0), rtol=0, atol=1e-3)
    assert sorted(round(length, 3) for length in graph.length.tolist()) == [2.82, 2.82, 3.988, 3.988]
    for weights in (graph.edges.edge_weight, graph.cosine_weight):
        assert float(weights.sum()) == pytest.approx(8 * 12**2, rel=1e-4)
    incoming = torch.zeros(4).index_add(0, graph.edges.edge_index[1], graph.edges.parallel)
    torch.testing.assert_close(incoming, torch.full((4,), 12.0), rtol=0, atol=1e-3)
    quarters = sorted({round(cosine, 4) for cosine in graph.cosine.tolist()})
    assert quarters == [-1, -0.7071, -0.5, 0, 0.5, 0.7071, 1]


def test_merged_graphs_are_in_order_and_complete():
    structures = (*examples(), CHAIN)
    batch = unweighted(graphs_of(*structures))
    edge_index, edge_vector, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    graph = crystal_line_graph(batch, rounds=4)
    n_pairs = line_graph(edge_index, edge_vector, batch.num_nodes).pair_index.shape[1]
    assert graph.atoms.node_weight.sum() == batch.num_nodes
    assert graph.atoms.edge_weight.sum() == graph.edges.node_weight.sum() == edge_index.shape[1]
    assert graph.edges.edge_weight.sum() == graph.cosine_weight.sum() == n_pairs
    torch.testing.assert_close(graph.species[graph.atom_class], batch.species)
    for part in (graph.atoms, graph.edges):
        assert (part.edge_index[1].diff() >= 0).all()
        torch.testing.assert_close(part.parallel, part.parallel.round(), rtol=0, atol=1e-6)
    # Merging pays in symmetric crystals; those without symmetry stay as they are.
    symmetric = crystal_line_graph(unweighted(graphs_of(*structures[:24])), rounds=4)
    assert 10 * len(symmetric.pair_cosine) < symmetric.edges.edge_weight.sum()
    alone = crystal_line_graph(graphs_of(*structures[24:]), rounds=4)
    assert alone.atoms.node_weight.max() <= 2


def test_a_supercell_is_merged_to_the_same_graph():
    for structure in (ROCKSALT, random_crystal(3)):
        one = crystal_line_graph(graphs_of(structure), rounds=3)
        two = crystal_line_graph(graphs_of(structure.make_supercell([3, 1, 1], in_place=False)), rounds=3)
        assert len(one.pair_cosine) == len(two.pair_cosine)
        found, expected = two.edges.edge_weight.sort()[0], 3 * one.edges.edge_weight.sort()[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- the published equations, edge by edge


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


class PlainConv(nn.Module):
    """Edge-gated convolution, edge by edge."""

    def __init__(self, hidden: int):
        super().__init__()
        for name in ("gate_source", "gate_target", "gate_edge", "message", "update"):
            setattr(self, name, nn.Linear(hidden, hidden))
        self.node_norm, self.edge_norm = nn.BatchNorm1d(hidden), nn.BatchNorm1d(hidden)

    def forward(self, x, y, edge_index, weight=None):
        m = []
        above = [torch.zeros_like(x[0]) for _ in x]
        below = [torch.full_like(x[0], 1e-6) for _ in x]
        for number, (j, i) in enumerate(edge_index.T.tolist()):
            m.append(self.gate_source(x[j]) + self.gate_target(x[i]) + self.gate_edge(y[number]))
            gate = (1 if weight is None else weight[number]) / (1 + torch.exp(-m[-1]))
            above[i] = above[i] + gate * self.message(x[j])
            below[i] = below[i] + gate
        h = torch.stack(above) / torch.stack(below)
        return x + silu(self.node_norm(self.update(x) + h)), y + silu(self.edge_norm(torch.stack(m)))


class PlainALIGNN(nn.Module):
    """The whole network, on all atoms, edges and pairs, none of them merged; the parameters' names are ours."""

    def __init__(self, hidden: int, n_layers: int):
        super().__init__()
        self.hidden = hidden
        self.atom_embedding = self.embedding(92, hidden)
        self.edge_embedding = self.embedding(80, 64, hidden)
        self.angle_embedding = self.embedding(40, 64, hidden)
        self.alignn_layers = nn.ModuleList(
            nn.ModuleDict({"atoms": PlainConv(hidden), "edges": PlainConv(hidden)}) for _ in range(n_layers)
        )
        self.gcn_layers = nn.ModuleList(PlainConv(hidden) for _ in range(n_layers))
        self.out = nn.Linear(hidden, 1)

    @staticmethod
    def embedding(*sizes):
        return nn.ModuleDict(
            {
                "linears": nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes)),
                "norms": nn.ModuleList(nn.BatchNorm1d(b) for b in sizes[1:]),
            }
        )

    @staticmethod
    def embed(layers, values):
        for linear, norm in zip(layers["linears"], layers["norms"], strict=True):
            values = silu(norm(linear(values)))
        return values

    @staticmethod
    def expand(values, start, stop, n):
        centers = torch.linspace(start, stop, n, dtype=torch.float32).double()
        return torch.exp(-((values[:, None] - centers) ** 2) / ((stop - start) / (n - 1)))

    def forward(self, batch, bits):
        edge_index, edge_vector, weight = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
        pair_index, cosine = line_graph(edge_index, edge_vector, batch.num_nodes)
        x = self.embed(self.atom_embedding, bits[batch.species])
        y = self.embed(self.edge_embedding, self.expand(edge_vector.norm(dim=1), 0, 8, 80))
        z = self.embed(self.angle_embedding, self.expand(cosine, -1, 1, 40))
        for layer in self.alignn_layers:
            x, m = layer["atoms"](x, y, edge_index, weight)
            y, z = layer["edges"](m, z, pair_index, weight[pair_index[0]])
        for layer in self.gcn_layers:
            x, y = layer(x, y, edge_index, weight)
        crystals = torch.stack([x[start:end].mean(0) for start, end in pairwise(batch.ptr.tolist())])
        return self.out(crystals)


def assert_same_state(ours: nn.Module, plain: nn.Module, unused: tuple[str, ...] = ()):
    """Compare gradients of all parameters, and running statistics."""
    expected = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        if not name.startswith(unused):
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-10, atol=1e-10, msg=name)
    expected = plain.state_dict()
    for name, tensor in ours.state_dict().items():
        if not name.startswith(unused):
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("level", ["atom graph", "line graph"])
def test_convolution_is_the_published_one(level, training):
    """Outputs, gradients of inputs and weights, and running statistics, to 1e-10 in double precision."""
    edge_index, edge_vector, n_nodes = small_graph()
    if level == "line graph":
        n_nodes, edge_index = edge_index.shape[1], line_graph(edge_index, edge_vector, n_nodes).pair_index
    n_edges = edge_index.shape[1]
    one = torch.ones(n_edges, dtype=torch.double)
    graph = CountedGraph(edge_index, one.new_ones(n_nodes), one, one)
    ours = randomize(EdgeGatedConv(4)).train(training)
    plain = PlainConv(4).double().train(training)
    plain.load_state_dict(ours.state_dict())
    weights = normal(n_nodes, 4, seed=3), normal(n_edges, 4, seed=4)
    inputs = []
    for conv, structure in ((ours, graph), (plain, edge_index)):
        x, y = normal(n_nodes, 4).requires_grad_(), normal(n_edges, 4, seed=1).requires_grad_()
        with torch.no_grad():
            conv(x, y, structure)  # once more, so that the running statistics are used and moved
        outputs = conv(x, y, structure)
        sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True)).backward()
        inputs.append((*outputs, x.grad, y.grad))
    for found, expected in zip(*inputs, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert_same_state(ours, plain)


@pytest.mark.parametrize("training", [True, False])
def test_network_is_the_published_one(training):
    """On symmetric crystals, where most is merged, and random ones; the plain network sees every edge by itself.

    PyTorch's batch norm knows no weights, so in training every edge has the weight 1.
    """
    rows = [*range(0, 24, 6), 24, 25]
    graphs = CrystalGraphs.from_structures([*(examples()[row] for row in rows), CHAIN, DECORATED])
    batch = double(graphs.batch(range(len(graphs))))
    batch = unweighted(batch) if training else batch
    ours = randomize(ALIGNN(hidden=3, alignn_layers=2, gcn_layers=2)).train(training)
    plain = PlainALIGNN(hidden=3, n_layers=2).double().train(training)
    plain.load_state_dict(ours.state_dict())
    weight = normal(len(graphs), 1)
    found, expected = ours(batch), plain(batch, ours.atom_features)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_same_state(ours, plain, unused=("alignn_layers.1.edges.edge_norm", "gcn_layers.1.edge_norm"))


def test_merging_what_is_nearly_equivalent_is_exact_to_second_order(monkeypatch):
    """Crystals distorted by less than the tolerance: edges and angles that differ get the mean of their class."""
    structures = [structure.copy().perturb(2e-5, seed=k) for k, structure in enumerate(examples()[:24])]
    batch = double(graphs_of(*structures))
    model = randomize(ALIGNN(hidden=8, alignn_layers=2, gcn_layers=2)).eval()
    with torch.no_grad():
        merged, sizes = model(batch), len(crystal_line_graph(batch, 4).pair_cosine)
        monkeypatch.setattr(equivalent_edges, "MERGE_TOLERANCE", 1e-12)
        exact = model(batch)
        assert sizes < 0.5 * len(crystal_line_graph(batch, 4).pair_cosine)
    torch.testing.assert_close(merged, exact, rtol=0, atol=1e-8)


def gated_mean(m, a, b, v, source, target, parallel):
    """Return what _GatedMean does, left to autograd."""
    m = m + a[source] + b[target]
    gate = torch.sigmoid(m) * parallel
    zeros = torch.zeros_like(v)
    return m, zeros.index_add(0, target, gate * v[source]) / (zeros.index_add(0, target, gate) + 1e-6)


def gated_mean_inputs(n_nodes, n_edges):
    index = torch.randint(n_nodes, (2, n_edges), generator=torch.Generator().manual_seed(0))
    tables = [normal(n_edges, 3), *(normal(n_nodes, 3, seed=k) for k in range(1, 4))]
    return [table.requires_grad_() for table in tables], (index[0], index[1].sort()[0], normal(n_edges, 1).abs())


def test_edges_that_differ_by_more_than_the_tolerance_are_not_merged():
    batch = graphs_of(*(structure.copy().perturb(0.03, seed=k) for k, structure in enumerate(examples()[:24])))
    edges = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    assert len(crystal_line_graph(batch, 4).length) == len(edges.edge_weight)


def test_gated_mean_of_more_rows_than_one_block():
    leaves, rest = gated_mean_inputs(300, 400_000)
    results = []
    for function in (lambda m, *others: _GatedMean.apply(m.clone(), *others), gated_mean):
        outputs = function(*leaves, *rest)
        weighted = sum((output * normal(*output.shape, seed=7)).sum() for output in outputs)
        results.append([*outputs, *torch.autograd.grad(weighted, leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_gradcheck():
    leaves, rest = gated_mean_inputs(4, 9)
    assert torch.autograd.gradcheck(lambda m, *others: _GatedMean.apply(m.clone(), *others, *rest), leaves)
    edge_index, one = torch.stack(rest[:2]), torch.ones(9, dtype=torch.double)
    graph = CountedGraph(edge_index, torch.tensor([1.0, 2, 1, 3]).double(), 2 * one, rest[2][:, 0])
    conv = randomize(EdgeGatedConv(3)).train()
    assert torch.autograd.gradcheck(lambda x, y: conv(x, y, graph), (leaves[1], leaves[0]))


def test_number_of_parameters():
    h = 256
    conv = 5 * (h * h + h) + 2 * 2 * h
    embeddings = sum(a * b + b + 2 * b for a, b in [(92, h), (80, 64), (64, h), (40, 64), (64, h)])
    assert embeddings + (4 * 2 + 4) * conv + h + 1 == 4_026_753
    assert sum(parameter.numel() for parameter in ALIGNN().parameters()) == 4_026_753


# ---------------------------------------------------------------- the authors' package


def authors_modules():
    """Return the published package (2025 or later) and DGL, on which it is built, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("alignn.models.alignn"), pytest.importorskip("dgl")


def authors_name(name: str) -> str:
    """Return the name of the parameter in the published package."""
    for ours, theirs in {
        "atom_embedding.linears.0": "atom_embedding.layer.0",
        "atom_embedding.norms.0": "atom_embedding.layer.1",
        "edge_embedding.": "edge_embedding.NUMBER.",
        "angle_embedding.": "angle_embedding.NUMBER.",
        "NUMBER.linears.0": "1.layer.0",
        "NUMBER.norms.0": "1.layer.1",
        "NUMBER.linears.1": "2.layer.0",
        "NUMBER.norms.1": "2.layer.1",
        "atoms.": "node_update.",
        "edges.": "edge_update.",
        "node_norm": "bn_nodes",
        "edge_norm": "bn_edges",
        "gate_source": "src_gate",
        "gate_target": "dst_gate",
        "gate_edge": "edge_gate",
        "message": "dst_update",
        ".update.": ".src_update.",
        "out.": "fc.",
    }.items():
        name = name.replace(ours, theirs)
    return name


def authors_graphs(dgl, batch, atom_features, own_line_graph: bool):
    """Return atom graph and line graph as the published package reads them."""
    edge_index, edge_vector, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    graph = dgl.graph(tuple(edge_index), num_nodes=batch.num_nodes)
    graph.ndata["atom_features"] = atom_features[batch.species]
    graph.edata["r"] = edge_vector
    graph.set_batch_num_nodes(batch.ptr.diff())
    graph.set_batch_num_edges(torch.bincount(batch.batch[edge_index[1]]))
    pair_index, cosine = line_graph(edge_index, edge_vector, batch.num_nodes)
    if own_line_graph:
        return graph, graph.line_graph(shared=True), pair_index
    lines = dgl.graph(tuple(pair_index), num_nodes=edge_index.shape[1])
    lines.edata["h"] = cosine
    return graph, lines, pair_index


@pytest.mark.parametrize("training", [True, False])
def test_predictions_are_those_of_the_authors_package(training):
    """With our random weights copied, the sizes as published; the whole batch at once and mode by mode."""
    alignn, dgl = authors_modules()
    ours = ALIGNN(hidden=32, alignn_layers=2, gcn_layers=2)
    config = alignn.ALIGNNConfig(name="alignn", hidden_features=32, alignn_layers=2, gcn_layers=2)
    theirs = alignn.ALIGNN(config)
    wanted = {authors_name(name): tensor for name, tensor in randomize(ours).float().state_dict().items()}
    theirs.load_state_dict(wanted, strict=False)
    left = set(theirs.state_dict()) ^ set(wanted)
    assert all(name.endswith("centers") for name in left), left
    batch = unweighted(graphs_of(*examples()))
    graph, lines, _ = authors_graphs(dgl, batch, ours.atom_features, own_line_graph=False)
    with torch.no_grad():
        expected = theirs.train(training)([graph, lines, None])
        found = ours.train(training)(batch)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_line_graph_of_the_authors_package_lacks_pairs_of_an_edge_with_itself():
    """An edge to the next image of its own atom goes on straight as its own successor; DGL drops this pair.

    In a supercell the same two edges are different ones, and DGL keeps the pair: so a prediction of the published
    package depends on the choice of the cell. Ours has the pair in both.
    """
    _, dgl = authors_modules()
    batch = graphs_of(*examples())
    _, lines, pair_index = authors_graphs(dgl, batch, ALIGNN(hidden=2).atom_features, own_line_graph=True)
    theirs, ours = (set(map(tuple, torch.stack(list(pairs)).T.tolist())) for pairs in (lines.edges(), pair_index))
    assert theirs < ours
    assert ours - theirs == {(first, second) for first, second in ours if first == second}


# ---------------------------------------------------------------- the whole network


def test_the_last_norms_of_edges_are_not_trained():
    """Nothing reads what these two would normalise. They stay for the published size, and say so."""
    model = ALIGNN(hidden=16, alignn_layers=2, gcn_layers=2)
    idle = {name for name, parameter in model.named_parameters() if "norm" in name and not parameter.requires_grad}
    last = ("alignn_layers.1.edges.edge_norm", "gcn_layers.1.edge_norm")
    assert idle == {f"{norm}.{part}" for norm in last for part in ("weight", "bias")}


def test_equal_crystals_of_a_batch_stay_apart():
    graphs = CrystalGraphs.from_structures([examples()[0], random_crystal(2), examples()[0], random_crystal(2)])
    graph = crystal_line_graph(graphs.batch(range(4)), rounds=4)
    crystal = graphs.batch(range(4)).batch
    for number in graph.atom_class.unique():
        assert len(crystal[graph.atom_class == number].unique()) == 1


@pytest.mark.parametrize("structure", [CHAIN, Structure(Lattice.cubic(30), ["He"], [[0.2, 0.3, 0.4]])])
def test_sparse_crystals_and_their_supercells(structure):
    torch.manual_seed(0)
    model = ALIGNN(hidden=16, alignn_layers=1, gcn_layers=1).eval()
    one, two = model(graphs_of(structure, structure.make_supercell([2, 1, 1], in_place=False)))
    assert one.item() == pytest.approx(two.item(), abs=1e-6)


def test_without_angles_it_is_alignn_on_right_angles(monkeypatch):
    sizes = {"hidden": 16, "alignn_layers": 2, "gcn_layers": 2}
    model, blind = randomize(ALIGNN(**sizes)).eval(), ALIGNN(**sizes, angles=False).double().eval()
    blind.load_state_dict(model.state_dict())  # not one parameter more or fewer
    batch = double(graphs_of(random_crystal(0), random_crystal(1)))
    with torch.no_grad():
        found = blind(batch)
        assert (found - model(batch)).abs().min() > 1e-7  # rounding is at 1e-15
        spread = model.angle_basis.forward
        monkeypatch.setattr(model.angle_basis, "forward", lambda cosine: spread(torch.zeros_like(cosine)))
        torch.testing.assert_close(model(batch), found)


@pytest.mark.parametrize("layers", [{"alignn_layers": 0}, {"gcn_layers": 0}])
def test_both_kinds_of_layers_are_needed(layers):
    with pytest.raises(ValueError, match=f"{next(iter(layers))} is 0; it must be at least 1"):
        ALIGNN(**layers)


# ---------------------------------------------------------------- the simplified model


class PlainSimpleConv(nn.Module):
    """Message and update networks on every edge by itself."""

    def __init__(self, hidden: int, n_basis: int):
        super().__init__()
        self.message_in, self.message_out = nn.Linear(2 * hidden + n_basis, hidden), nn.Linear(hidden, hidden)
        self.update = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Softplus(), nn.Linear(hidden, hidden))

    def forward(self, x, edge_index, e):
        total = [torch.zeros_like(x[0]) for _ in x]
        for number, (j, i) in enumerate(edge_index.T.tolist()):
            inner = torch.log(1 + torch.exp(self.message_in(torch.cat([x[i], x[j], e[number]]))))
            total[i] = total[i] + self.message_out(inner)
        return self.update(torch.cat([x, torch.stack(total)], dim=1))


def test_simple_convolution_is_its_formula_on_every_edge():
    batch = unweighted(double(graphs_of(*examples()[:3], random_crystal(1))))
    count = batch.bond_count
    assert count.max() > 1
    ours, plain = randomize(SimpleConv(4, 5)), PlainSimpleConv(4, 5).double()
    plain.load_state_dict(ours.state_dict())
    results = []
    for conv in (ours, plain):
        x, e = normal(batch.num_nodes, 4).requires_grad_(), normal(len(count), 5, seed=1).requires_grad_()
        if conv is ours:
            output = conv(x, batch.bond_index, batch.bond_weight, e)
        else:
            output = conv(x, batch.edge_index, e.repeat_interleave(count, 0))
        (output * normal(*output.shape, seed=2)).sum().backward()
        results.append((output, x.grad, e.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert_same_state(ours, plain)


def test_simple_network_is_its_formula():
    model = randomize(ALIGNNSimple(n_targets=2, hidden=4, n_conv=2, embedding=3)).eval()
    batch = unweighted(double(graphs_of(*examples()[:3])))
    with torch.no_grad():
        length = batch.bond_length.repeat_interleave(batch.bond_count)
        e = torch.exp(-((length[:, None] - model.basis.centers) ** 2) / 0.2**2)
        x = model.atom_embedding(embedding(batch.species, model.atom_features))
        for conv, norm in zip(model.convs, model.norms, strict=True):
            plain = PlainSimpleConv(4, 41).double()
            plain.load_state_dict(conv.state_dict())
            new = (plain(x, batch.edge_index, e) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
            x = torch.log(1 + torch.exp(x + new * norm.weight + norm.bias))
        crystals = torch.stack([x[start:end].mean(0) for start, end in pairwise(batch.ptr.tolist())])
        expected = model.out(torch.log(1 + torch.exp(model.crystal_embedding(crystals))))
        torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-10)


def test_simple_gradcheck():
    conv = randomize(SimpleConv(3, 2))
    batch = double(graphs_of(examples()[0]))
    count = batch.bond_weight
    leaves = normal(batch.num_nodes, 3).requires_grad_(), normal(len(count), 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, e: conv(x, batch.bond_index, count, e), leaves)


def test_number_of_parameters_of_the_simple_model():
    conv = (2 * 128 + 41) * 128 + 128 + 128 * 128 + 128 + 2 * 128 * 128 + 128 + 128 * 128 + 128 + 2 * 128
    expected = 92 * 128 + 128 + 3 * conv + 128 * 64 + 64 + 64 + 1
    assert sum(parameter.numel() for parameter in ALIGNNSimple().parameters()) == expected
