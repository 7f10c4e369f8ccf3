"""GAT: the layer against PyG's GATConv and against the equations; shares of attention; the network; what it keeps."""

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from example_crystals import AWKWARD, bundled_graphs, double_batch, one_by_one, randomize, unweighted
from torch import Tensor, nn

from course_lib.graphs import CrystalGraphs
from course_lib.models import GAT
from course_lib.models.gat import GATConv

HIDDEN, N_BASIS, HEADS = 6, 5, 3
NAMES_IN_PYG = {
    "score_source": "att_src", "score_target": "att_dst", "score_edge": "att_edge", "linear.weight": "lin.weight",
    "linear_edge.weight": "lin_edge.weight",
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def batch_and_inputs():
    """Crystals in which bonds stand for several edges, and atoms are their own neighbours."""
    batch = unweighted(double_batch())
    source, target = batch.bond_index
    assert batch.bond_count.max() > 1
    assert (source == target).any()
    return batch, normal(batch.num_nodes, HIDDEN), normal(len(batch.bond_count), N_BASIS, seed=1)


class LayerOfPyG(nn.Module):
    """PyG's layer with our weights, under our names."""

    def __init__(self, ours: GATConv, n_basis: int = N_BASIS):
        super().__init__()
        settings = {"heads": HEADS, "concat": False, "add_self_loops": False, "edge_dim": n_basis, "bias": False}
        self.layer = pyg.GATConv(HIDDEN, HIDDEN, **settings).double()
        state, theirs = ours.state_dict(), self.layer.state_dict()
        self.layer.load_state_dict({other: state[name].view_as(theirs[other]) for name, other in NAMES_IN_PYG.items()})

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        return self.layer(x, edge_index, e)

    def gradients(self) -> dict[str, Tensor]:
        parameters = dict(self.layer.named_parameters())
        return {name: parameters[other].grad.squeeze(0) for name, other in NAMES_IN_PYG.items()}


class PlainLayer(GATConv):
    """The equations, atom by atom and head by head."""

    def __init__(self, ours: GATConv):
        super().__init__(HIDDEN, N_BASIS, HEADS)
        self.double().load_state_dict(ours.state_dict())

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
        source, target = edge_index.tolist()
        matrices, edge_matrices = self.linear.weight.chunk(HEADS), self.linear_edge.weight.chunk(HEADS)
        rows = []
        for i in range(len(x)):
            mine = [k for k in range(len(target)) if target[k] == i]
            row = torch.zeros_like(x[0])
            for h, (w, v) in enumerate(zip(matrices, edge_matrices, strict=True)):
                exponentials = []
                for k in mine:
                    s = self.score_target[h] @ w @ x[i] + self.score_source[h] @ w @ x[source[k]]
                    s = s + self.score_edge[h] @ v @ e[k]
                    exponentials.append(torch.exp(s if s > 0 else 0.2 * s))
                messages = [p / sum(exponentials) * (w @ x[source[k]]) for p, k in zip(exponentials, mine, strict=True)]
                row = row + sum(messages) / HEADS
            rows.append(row)
        return torch.stack(rows)

    def gradients(self) -> dict[str, Tensor]:
        return {name: parameter.grad for name, parameter in self.named_parameters()}


@pytest.mark.parametrize("reference", [LayerOfPyG, PlainLayer])
def test_layer(reference):
    """Outputs, and gradients of inputs and weights, the same as on edges that are not joined."""
    ours = randomize(GATConv(HIDDEN, N_BASIS, HEADS))
    other = reference(ours)
    batch, x, e = batch_and_inputs()
    x1, e1, x2, e2 = (tensor.clone().requires_grad_() for tensor in (x, e, x, e))
    found = ours(x1, batch.bond_index, batch.bond_weight, e1)
    expected = other(x2, batch.edge_index, e2.repeat_interleave(batch.bond_count, 0))
    for output in (found, expected):
        (output * normal(*output.shape, seed=2)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    assert len(gradients) == 5
    for one, two in ((found, expected), (x1.grad, x2.grad), (e1.grad, e2.grad), (gradients, other.gradients())):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def test_attention_is_a_share():
    """It is positive, one in sum, and for equal features proportional to the number of edges of a bond."""
    conv = randomize(GATConv(HIDDEN, N_BASIS, HEADS))
    batch, x, e = batch_and_inputs()
    target, count = batch.bond_index[1], batch.bond_weight
    share = conv.attention(x, batch.bond_index, count, e)
    assert share.shape == (len(e), HEADS)
    assert share.min() > 0
    total = torch.zeros_like(x[:, :HEADS]).index_add(0, target, share)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)
    share = conv.attention(torch.ones_like(x), batch.bond_index, count, torch.ones_like(e))
    n_edges = torch.zeros_like(x[:, 0]).index_add(0, target, count)
    torch.testing.assert_close(share, (count / n_edges[target])[:, None].expand_as(share), rtol=0, atol=1e-12)


def test_gradcheck():
    """The sum over the neighbours has a gradient of its own."""
    conv = randomize(GATConv(3, 2, heads=2))
    batch = unweighted(double_batch(rows=[0, 23]))
    names = [name for name, _ in conv.named_parameters()]

    def function(x, e, *weights):
        arguments = (x, batch.bond_index, batch.bond_weight, e)
        return torch.func.functional_call(conv, dict(zip(names, weights, strict=True)), arguments)

    inputs = normal(batch.num_nodes, 3), normal(len(batch.bond_count), 2), *conv.parameters()
    assert torch.autograd.gradcheck(function, [tensor.detach().clone().requires_grad_() for tensor in inputs])


@pytest.mark.parametrize("training", [True, False])
def test_network(training):
    """PyG's layers on all edges and one of length zero from each atom to itself; norm and softplus; the mean."""
    model = randomize(GAT(n_targets=2, hidden=HIDDEN, n_conv=2, heads=HEADS)).train(training)
    plain, batch = copy.deepcopy(model), unweighted(double_batch())
    atoms = torch.arange(batch.num_nodes)
    edge_index = torch.cat([batch.edge_index, torch.stack([atoms, atoms])], dim=1)
    length = torch.cat([batch.bond_length.repeat_interleave(batch.bond_count), torch.zeros(len(atoms))])
    e = torch.exp(-((length[:, None] - plain.basis.centers) ** 2) / 0.2**2)
    x = plain.atom_embedding(plain.atom_features[batch.species])
    for conv, norm in zip(plain.convs, plain.norms, strict=True):
        x = torch.log(1 + torch.exp(norm(LayerOfPyG(conv, n_basis=41)(x, edge_index, e))))
    crystals = torch.stack([x[batch.batch == b].mean(0) for b in range(batch.num_graphs)])
    torch.testing.assert_close(model(batch), plain.out(crystals), rtol=1e-10, atol=1e-10)


def test_an_atom_is_told_from_its_images():
    """An atom's bond to itself, of length zero, is another than those to its images in other cells."""
    model = randomize(GAT(hidden=HIDDEN, n_conv=1, heads=HEADS)).eval()
    conv, shares = model.convs[0], []
    conv.register_forward_hook(lambda module, inputs, output: shares.append(module.attention(*inputs)))
    batch = unweighted(double_batch(CrystalGraphs.from_structures([AWKWARD["left-handed"]]), [0]))  # one atom
    model(batch)
    assert shares[0].shape == (len(batch.bond_count) + 1, HEADS)
    per_edge = shares[0] / torch.cat([batch.bond_count, torch.ones(1)])[:, None]
    assert (per_edge[-1] - per_edge[:-1]).abs().amax(1).min() > 1e-3


def test_the_messages_of_all_heads_are_not_kept():
    """What a layer keeps for its gradient is far less than they would be: bonds times heads times features."""
    conv, batch = GATConv(64, 41, heads=4), one_by_one(bundled_graphs(24).batch(range(24)))
    x, e = torch.randn(batch.num_nodes, 64, requires_grad=True), torch.randn(len(batch.bond_count), 41)
    numbers = {}

    def note(tensor):
        numbers[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() / 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        conv(x, batch.bond_index, batch.bond_weight, e)
    assert sum(numbers.values()) < len(e) * 4 * 64 / 2


def test_number_of_parameters():
    layer = 4 * 128 * (128 + 41 + 3)
    norm = 2 * 128
    assert sum(parameter.numel() for parameter in GAT().parameters()) == 93 * 128 + 3 * (layer + norm) + 129
