"""CGCNN: against the published equations in double precision, against PyG's CGConv, its size."""

import copy

import pytest
import torch
from example_crystals import double_batch, randomize, unweighted
from torch import nn
from torch_geometric.nn import CGConv

from course_lib.models import CGCNN, gated_sum
from course_lib.models.cgcnn import CGCNNConv


class PlainConv(nn.Module):
    """The published equations, edge by edge: z = W [x_i, x_j, e_ij] + b; sum of sigmoid(z_1) * softplus(z_2)."""

    def __init__(self, hidden: int, n_basis: int):
        super().__init__()
        self.linear = nn.Linear(2 * hidden + n_basis, 2 * hidden)
        self.message_norm = nn.BatchNorm1d(2 * hidden)
        self.sum_norm = nn.BatchNorm1d(hidden)

    def forward(self, x, edge_index, e):
        source, target = edge_index.tolist()
        z = torch.stack(
            [self.linear(torch.cat([x[i], x[j], e[k]])) for k, (j, i) in enumerate(zip(source, target, strict=True))]
        )
        z = self.message_norm(z)  # over all edges of the batch
        hidden = x.shape[1]
        total = [torch.zeros(hidden, dtype=x.dtype) for _ in x]
        for k, i in enumerate(target):
            gate = 1 / (1 + torch.exp(-z[k, :hidden]))
            core = torch.log(1 + torch.exp(z[k, hidden:]))
            total[i] = total[i] + gate * core
        return torch.log(1 + torch.exp(x + self.sum_norm(torch.stack(total))))


@pytest.mark.parametrize("training", [True, False])
def test_convolution_is_the_published_one(training):
    """Outputs, gradients of inputs and weights, and running statistics, to 1e-10 in double precision."""
    hidden, n_basis = 6, 5
    ours = randomize(CGCNNConv(hidden, n_basis)).train(training)
    plain = PlainConv(hidden, n_basis).double().train(training)
    plain.load_state_dict(ours.state_dict())
    batch = unweighted(double_batch())
    count = batch.bond_count
    assert count.max() > 1
    inputs = [torch.randn(batch.num_nodes, hidden).double(), torch.randn(len(count), n_basis).double()]
    weight = torch.randn(batch.num_nodes, hidden).double()
    results = []
    for _ in range(2):  # twice, so that the running statistics are used and moved
        x, e = (tensor.clone().requires_grad_() for tensor in inputs)
        x2, e2 = (tensor.clone().requires_grad_() for tensor in inputs)
        results = [
            (ours(x, batch.bond_index, batch.bond_weight, e), ours, x, e),
            (plain(x2, batch.edge_index, e2.repeat_interleave(count, 0)), plain, x2, e2),
        ]
    gradients = []
    for output, module, *leaves in results:
        (output * weight).sum().backward()
        gradients.append([*(leaf.grad for leaf in leaves), *(parameter.grad for parameter in module.parameters())])
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-10)
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for name, expected in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], expected, rtol=0, atol=1e-10, msg=name)
    assert not any(buffer.requires_grad for buffer in ours.buffers())  # or they would keep the graph of every batch


def test_network_is_the_published_one():
    """Embedding, convolutions, mean over atoms, softplus, hidden layer, softplus, output."""
    model = randomize(CGCNN(n_targets=2, hidden=5, n_conv=2, embedding=7)).train()
    batch = unweighted(double_batch())
    convs = [PlainConv(5, 41).double().train() for _ in model.convs]
    for plain, conv in zip(convs, model.convs, strict=True):
        plain.load_state_dict(conv.state_dict())
    with torch.no_grad():
        length = batch.bond_length.repeat_interleave(batch.bond_count)
        e = torch.exp(-((length[:, None] - model.basis.centers) ** 2) / 0.2**2)
        x = model.atom_embedding(torch.stack([model.atom_features[z] for z in batch.species]))
        for conv in convs:
            x = conv(x, batch.edge_index, e)
        crystals = torch.stack([x[start:end].mean(0) for start, end in zip(batch.ptr, batch.ptr[1:], strict=False)])
        embedding = torch.log(1 + torch.exp(model.crystal_embedding(torch.log(1 + torch.exp(crystals)))))
        expected = model.out(embedding)
        before = copy.deepcopy(model.state_dict())
        torch.testing.assert_close(model.embed(batch), embedding, rtol=0, atol=1e-10)
        model.load_state_dict(before)
        torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-10)


def test_convolution_without_norms_is_the_cgconv_of_pyg():
    """PyG's layer has no batch norm on the messages and no softplus at the end; take both away and the two agree."""
    hidden, n_basis = 6, 5
    ours = randomize(CGCNNConv(hidden, n_basis)).eval()
    for norm in (ours.message_norm, ours.sum_norm):
        norm.load_state_dict(nn.BatchNorm1d(norm.num_features, eps=0).double().state_dict())
        norm.eps = 0.0
    theirs = CGConv(hidden, n_basis).double()
    for k, linear in enumerate([theirs.lin_f, theirs.lin_s]):  # gate, core
        linear.load_state_dict({name: tensor.chunk(2)[k] for name, tensor in ours.linear.state_dict().items()})
    batch = unweighted(double_batch())
    x, e = torch.randn(batch.num_nodes, hidden).double(), torch.randn(len(batch.bond_count), n_basis).double()
    expected = theirs(x, batch.edge_index, e.repeat_interleave(batch.bond_count, 0))
    found = ours(x, batch.bond_index, batch.bond_weight, e)
    torch.testing.assert_close(found, nn.functional.softplus(expected), rtol=0, atol=1e-10)


def test_gradcheck():
    conv = randomize(CGCNNConv(3, 2)).train()
    batch = unweighted(double_batch(rows=[0, 23]))

    def function(x, e, weight):
        arguments = (x, batch.bond_index, batch.bond_weight, e)
        return torch.func.functional_call(conv, {"linear.weight": weight}, arguments)

    x, e = torch.randn(batch.num_nodes, 3).double(), torch.randn(len(batch.bond_count), 2).double()
    leaves = [tensor.clone().requires_grad_() for tensor in (x, e, conv.linear.weight.detach())]
    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("rows", [7, 10**6])
def test_blocks_give_what_the_readable_form_gives(monkeypatch, rows):
    """Outputs, gradients of everything, running statistics; many blocks and one; weights that are not counts."""
    monkeypatch.setattr(gated_sum, "_ROWS", rows)
    batch = double_batch()
    blocks = randomize(CGCNNConv(6, 5)).train()
    plain = copy.deepcopy(blocks)
    plain._sums_in_blocks = plain.sums
    results = []
    for conv in (blocks, plain):
        x = torch.randn(batch.num_nodes, 6, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        e = torch.randn(len(batch.bond_length), 5, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
        out = conv(x, batch.bond_index, batch.bond_weight, e)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append([out, x.grad, e.grad, *(p.grad for p in conv.parameters()), *conv.state_dict().values()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_number_of_parameters():
    assert sum(parameter.numel() for parameter in CGCNN().parameters()) == 80_833
    published = 92 * 64 + 64 + 3 * ((2 * 64 + 41) * 128 + 128 + 2 * 128 + 2 * 64) + 64 * 128 + 128 + 128 + 1
    assert published == 80_833
