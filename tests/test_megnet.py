"""MEGNet: layer and network against the published equations, Set2Set against PyG's, predictions against matgl's."""

import copy
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch_geometric.nn as pyg
from example_crystals import bundled_graphs, double_batch, one_by_one, random_crystal, randomize, unweighted
from pymatgen.core import Element
from torch import Tensor, nn

from course_lib.graphs import CrystalGraphs
from course_lib.models import MEGNet
from course_lib.models.megnet import MEGNetConv, Set2Set, Softplus2


def small_batch():
    """Two bundled crystals, in which bonds stand for several edges, and one in which none does."""
    symmetric = double_batch(bundled_graphs(24), [0, 23])
    other = double_batch(CrystalGraphs.from_structures([random_crystal(4)]), [0])
    return unweighted(symmetric), unweighted(other)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def ready(module: nn.Module) -> nn.Module:
    """Give small random weights: beyond 20, softplus of PyTorch is right to 2e-9 only."""
    module = randomize(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= 0.4
    return module


def linears(*modules: nn.Module) -> list[nn.Linear]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


def plain_mlp(module: nn.Module | list[nn.Module], x: Tensor, activate_last: bool) -> Tensor:
    """Linear maps with ln(1 + exp(x)) - ln 2 between them."""
    layers = linears(*module) if isinstance(module, list) else linears(module)
    for number, layer in enumerate(layers, 1):
        x = layer.weight @ x + layer.bias
        if number < len(layers) or activate_last:
            x = torch.log(1 + torch.exp(x)) - math.log(2)
    return x


def plain_conv(conv: MEGNetConv, v: list[Tensor], e: list[Tensor], u: list[Tensor], batch) -> tuple[list[Tensor], ...]:
    """Eqs. 1 to 7 of the paper, edge by edge, on edges that are not joined."""
    source, target = batch.edge_index.tolist()
    crystal = batch.batch.tolist()
    e = [
        plain_mlp([conv.bond_in, conv.bond_out], torch.cat([v[i], v[j], e[k], u[crystal[i]]]), activate_last=False)
        for k, (j, i) in enumerate(zip(source, target, strict=True))
    ]
    new_v = []
    for i, old in enumerate(v):
        mine = [e[k] for k in range(len(e)) if target[k] == i]
        new_v.append(plain_mlp(conv.atom, torch.cat([sum(mine) / len(mine), old, u[crystal[i]]]), activate_last=False))
    new_u = []
    for b, old in enumerate(u):
        edges = [e[k] for k in range(len(e)) if crystal[target[k]] == b]
        atoms = [new_v[i] for i in range(len(v)) if crystal[i] == b]
        both = [sum(edges) / len(edges), sum(atoms) / len(atoms)]
        new_u.append(plain_mlp(conv.state, torch.cat([*both, old]), activate_last=False))
    return new_v, e, new_u


def set2set_of_pyg(ours: Set2Set) -> pyg.Set2Set:
    theirs = pyg.Set2Set(ours.size, processing_steps=ours.steps).double()
    theirs.load_state_dict({f"{name}_l0": tensor for name, tensor in ours.state_dict().items()})
    return theirs


def plain_network(model: MEGNet, atom_set: nn.Module, bond_set: nn.Module, batch) -> Tensor:
    """Compute the whole network with loops; PyG's Set2Set reads every edge."""
    distance = batch.bond_length.repeat_interleave(batch.bond_count)
    e = [torch.exp(-((d - model.basis.centers) ** 2) / 0.5**2) for d in distance]
    v = [model.elements.weight[z] for z in batch.species]
    u = [torch.zeros(2, dtype=torch.double) for _ in range(batch.num_graphs)]
    for number, (dense, conv) in enumerate(zip(model.dense, model.convs, strict=True)):
        before = v, e, u
        inner = tuple(
            [plain_mlp(dense[name], x, activate_last=True) for x in rows]
            for name, rows in zip(["atom", "bond", "state"], before, strict=True)
        )
        kept = inner if number == 0 else before
        after = plain_conv(conv, *inner, batch)
        v, e, u = ([old + new for old, new in zip(*pair, strict=True)] for pair in zip(kept, after, strict=True))
    atoms = atom_set(model.atoms_to_set(torch.stack(v)), batch.batch)
    bonds = bond_set(model.bonds_to_set(torch.stack(e)), batch.batch[batch.edge_index[1]])
    rows = torch.cat([atoms, bonds, torch.stack(u)], dim=1)
    return torch.stack([plain_mlp([model.join, model.out], row, activate_last=False) for row in rows])


def assert_same_gradients(one: nn.Module, other: nn.Module):
    for (name, found), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-10, atol=1e-10, msg=name)


def test_activation():
    x = torch.linspace(-40, 20, 101, dtype=torch.double)
    expected = x.relu() + torch.log(0.5 * torch.exp(-x.abs()) + 0.5)  # as in the authors' code
    torch.testing.assert_close(Softplus2()(x), expected, rtol=0, atol=1e-12)
    assert Softplus2()(torch.zeros(1)).item() == 0


@pytest.mark.parametrize("batch", small_batch(), ids=["joined edges", "single edges"])
def test_layer_is_the_published_one(batch):
    """Outputs and gradients of inputs and weights."""
    ours = ready(MEGNetConv())
    plain = copy.deepcopy(ours)
    count = batch.bond_count
    v, e, u = normal(batch.num_nodes, 32), normal(len(count), 32, seed=1), normal(batch.num_graphs, 32, seed=2)
    leaves = [tensor.clone().requires_grad_() for tensor in (v, e, u)]
    found = ours(*leaves, batch)
    leaves_of_plain = [tensor.clone().requires_grad_() for tensor in (v, e, u)]
    v, e, u = leaves_of_plain
    expected = plain_conv(plain, list(v), list(e.repeat_interleave(count, 0)), list(u), batch)
    expected = [torch.stack(rows) for rows in expected]
    found = [found[0], found[1].repeat_interleave(count, 0), found[2]]
    for rows in (found, expected):
        sum((row * normal(*row.shape, seed=3)).sum() for row in rows).backward()
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)
    for one, two in zip(leaves, leaves_of_plain, strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-10)
    assert_same_gradients(ours, plain)


@pytest.mark.parametrize("batch", small_batch(), ids=["joined edges", "single edges"])
def test_network_is_the_published_one(batch):
    ours = ready(MEGNet(n_targets=2, n_blocks=2))
    plain = copy.deepcopy(ours)
    sets = set2set_of_pyg(plain.atom_set), set2set_of_pyg(plain.bond_set)
    found, expected = ours(batch), plain_network(plain, *sets, batch)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for output in (found, expected):
        (output * normal(*output.shape)).sum().backward()
    for mine, theirs in zip([plain.atom_set, plain.bond_set], sets, strict=True):
        for parameter, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            parameter.grad = other.grad
    assert_same_gradients(ours, plain)


def members_of_sets():
    """Sets of 5, 1 and 9 members, not in a row, some of which stand for several."""
    index = torch.tensor([0] * 5 + [1] + [2] * 9)[torch.randperm(15, generator=torch.Generator().manual_seed(0))]
    return normal(15, 4), index, torch.randint(1, 7, (15,), generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("counted", [True, False])
def test_set2set_is_that_of_pyg(counted):
    ours = randomize(Set2Set(4))
    theirs = set2set_of_pyg(ours)
    values, index, count = members_of_sets()
    times = count.long() if counted else torch.ones(15, dtype=torch.long)
    x, y = (values.clone().requires_grad_() for _ in range(2))
    found = ours(x, index, 3, count if counted else None)
    repeated = index.repeat_interleave(times)
    order = repeated.argsort(stable=True)  # as PyG wants it
    expected = theirs(y.repeat_interleave(times, 0)[order], repeated[order], dim_size=3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for output in (found, expected):
        (output * normal(3, 8)).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=1e-12)
    assert_same_gradients(ours, theirs)


def test_an_empty_set_is_summed_up_to_its_query():
    values, index, count = members_of_sets()
    sums = Set2Set(4).double()(values, index, 4, count)[3]
    assert sums[:4].any()
    assert not sums[4:].any()


def test_gradcheck():
    values, index, count = members_of_sets()
    module = randomize(Set2Set(4))
    assert torch.autograd.gradcheck(lambda x: module(x, index, 3, count), values.requires_grad_())
    conv, batch = ready(MEGNetConv()), small_batch()[0]
    v, e, u = normal(batch.num_nodes, 32), normal(len(batch.bond_count), 32), normal(batch.num_graphs, 32)
    leaves = [tensor.requires_grad_() for tensor in (v, e, u)]
    assert torch.autograd.gradcheck(lambda *rows: conv(*rows, batch), leaves, fast_mode=True)


def test_a_bond_of_several_edges_weighs_more():
    """Counts reach the means and Set2Set: to forget them would not go unseen."""
    model, batch = ready(MEGNet()), unweighted(double_batch())
    expected = model(batch)
    torch.testing.assert_close(model(one_by_one(batch)), expected, rtol=1e-10, atol=1e-10)
    forgotten = batch.clone()
    forgotten.bond_weight = torch.ones_like(batch.bond_weight)
    assert (model(forgotten) - expected).abs().min() > 1e-6


def linear(n_in: int, n_out: int) -> int:
    return n_in * n_out + n_out


def mlp(*sizes: int) -> int:
    return sum(linear(n_in, n_out) for n_in, n_out in pairwise(sizes))


def test_number_of_parameters():
    """The published sizes, with one vector for each of our elements (and for number 0) where theirs has 95."""
    first = mlp(16, 64, 32) + mlp(100, 64, 32) + mlp(2, 64, 32)
    layer = mlp(4 * 32, 64, 64, 32) + 2 * mlp(3 * 32, 64, 64, 32)
    rest = 2 * (3 * mlp(32, 64, 32) + layer)
    # The LSTM of PyTorch has a second bias, and reads the query twice: as part of its input, and as its own output.
    set2set, additional = linear(32, 16) + linear(32, 64), 16 * 64 + 64
    readout = mlp(4 * 16 + 32, 32, 16, 1)
    published = 95 * 16 + first + layer + rest + 2 * set2set + readout
    model = MEGNet()
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters == published + (len(model.elements.weight) - 95) * 16 + 2 * additional
    assert published == 167_761


def test_weights_start_as_in_the_authors_code():
    """Uniform between the bounds of Glorot and Bengio, biases zero."""
    torch.manual_seed(0)
    weight = MEGNet().convs[0].bond_in.weight
    bound = math.sqrt(6 / (64 + 128))
    assert 0.95 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert all(not layer.bias.any() for layer in MEGNet().modules() if isinstance(layer, nn.Linear))


def test_long_bonds_look_alike():
    """As the docstring says: the last of the 100 Gaussians stands at 5 angstrom."""
    torch.testing.assert_close(MEGNet().basis.centers, torch.arange(100) * 5 / 99)
    basis = MEGNet().basis(torch.tensor([4.0, 4.5, 6.6, 12.0]))
    assert (basis[0] - basis[1]).abs().max() > 0.5
    torch.testing.assert_close(basis[2], basis[3], rtol=0, atol=1e-4)


class Narrowed(nn.Module):
    """A linear map before matgl's Set2Set, as in the authors' code."""

    def __init__(self, linear: nn.Linear, set2set: nn.Module):
        super().__init__()
        self.linear, self.set2set = linear, set2set

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        return self.set2set(self.linear(x), *args, **kwargs)


def copy_linears(ours: list[nn.Module], theirs: nn.Module, order: tuple[int, ...] = ()):
    """Copy weights; `order` says where matgl has the pieces of 32 columns that the first linear map reads."""
    pairs = list(zip(linears(*ours), linears(theirs), strict=True))
    for one, other in pairs:
        other.load_state_dict(one.state_dict())
    if order:
        pieces = pairs[0][0].weight.detach().split(32, dim=1)
        pairs[0][1].weight.data = torch.cat([pieces[piece] for piece in order], dim=1)


def network_of_matgl(model: MEGNet) -> nn.Module:
    """Return matgl's network with our weights, and without that in which it left the authors' code."""
    from matgl.layers import MLP, EdgeSet2Set, Set2SetReadOut
    from matgl.models import MEGNet as Theirs

    symbols = tuple(Element.from_Z(z).symbol for z in range(1, 95))
    # Its Gaussians have a factor in the exponent, not a width.
    theirs = Theirs(element_types=symbols, gauss_width=1 / 0.5**2)
    theirs.embedding.layer_edge_embedding = nn.Identity()  # a layer more
    theirs.embedding.layer_node_embedding = nn.Embedding.from_pretrained(model.elements.weight[1:95])
    first = theirs.node_encoder, theirs.edge_encoder, theirs.state_encoder
    others = [(block.node_func, block.edge_func, block.state_func) for block in theirs.blocks[1:]]
    for dense, functions in zip(model.dense, [first, *others], strict=True):
        for part, function in zip(dense.values(), functions, strict=True):
            copy_linears([part], function)
    for conv, block in zip(model.convs, theirs.blocks, strict=True):
        copy_linears([conv.bond_in, conv.bond_out], block.conv.edge_func)
        copy_linears([conv.atom], block.conv.node_func, order=(1, 0, 2))
        copy_linears([conv.state], block.conv.state_func, order=(2, 0, 1))
        for function in (block.conv.edge_func, block.conv.node_func, block.conv.state_func):
            function.layers = function.layers[:-1]  # an activation after the last linear map
    # Set2Set of 32 features in 2 steps.
    theirs.node_s2s = Narrowed(model.atoms_to_set, Set2SetReadOut(16, n_iters=3, n_layers=1))
    theirs.edge_s2s = Narrowed(model.bonds_to_set, EdgeSet2Set(16, n_iters=3, n_layers=1))
    for ours, other in ((model.atom_set, theirs.node_s2s), (model.bond_set, theirs.edge_s2s)):
        other.set2set.lstm.load_state_dict({f"{name}_l0": tensor for name, tensor in ours.lstm.state_dict().items()})
    theirs.output_proj = MLP([96, 32, 16, 1], Softplus2())
    copy_linears([model.join, model.out], theirs.output_proj)
    return theirs.double()


def test_predictions_are_those_of_matgl():
    """On the same graphs; optional, as matgl is not among the packages that the course needs."""
    pytest.importorskip("matgl")
    torch.manual_seed(0)
    model, batch = MEGNet().double(), unweighted(double_batch())
    count = batch.bond_count
    length = batch.bond_length.repeat_interleave(count)
    graph = SimpleNamespace(
        node_type=batch.species - 1,
        pos=torch.zeros(batch.num_nodes, 3).double(),
        edge_index=batch.edge_index.flip(0),  # messages go to the first of the two there
        pbc_offshift=nn.functional.pad(length[:, None], (0, 2)),
        batch=batch.batch,
        num_graphs=batch.num_graphs,
    )
    expected = network_of_matgl(model)(graph, torch.zeros(batch.num_graphs, 2).double())
    found = model(batch)[:, 0]
    assert found.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
