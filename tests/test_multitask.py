"""Multi-task: a shared trunk, a head for each property; labels that belong to the crystals in their rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled, bundled_graphs, double_batch, randomize
from torch import nn
from torch.nn.functional import softplus

from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN, CGCNN, GAT, MEGNet, MultiTask, build, describe

TRUNKS = {"gat": GAT, "megnet": MEGNet, "cgcnn": CGCNN}
each_trunk = pytest.mark.parametrize("trunk", TRUNKS)


@each_trunk
def test_each_property_has_a_head_of_its_own(trunk):
    """A hidden layer of 64 with softplus, and one number, from the embedding."""
    model, batch = randomize(MultiTask(trunk, n_targets=3)).eval(), double_batch()
    assert isinstance(model.trunk, TRUNKS[trunk])
    crystal = model.trunk.embed(batch)
    columns = []
    for first, _, last in model.heads:
        assert first.weight.shape == (64, model.trunk.embedding_size)
        columns.append(softplus(crystal @ first.weight.T + first.bias) @ last.weight.T + last.bias)
    torch.testing.assert_close(model(batch), torch.cat(columns, dim=1), rtol=1e-10, atol=1e-10)


@each_trunk
def test_two_heads_give_what_each_gives_alone(trunk):
    """The same predictions; and for the sum of both errors, the trunk's gradient is the sum of both gradients."""
    torch.manual_seed(0)
    both, batch = MultiTask(trunk).double().requires_grad_(), double_batch()
    weight = torch.arange(1.0, 1 + 2 * batch.num_graphs, dtype=torch.double).view(-1, 2).cos()
    (both(batch) * weight).sum().backward()
    alone = []
    for number in range(2):
        one = MultiTask(trunk, n_targets=1).double().requires_grad_()
        one.trunk.load_state_dict(both.trunk.state_dict())
        one.heads[0].load_state_dict(both.heads[number].state_dict())
        (one(batch) * weight[:, [number]]).sum().backward()
        assert_equal_gradients(one.heads[0], both.heads[number])
        alone.append(one)
    for parameters in zip(*(model.trunk.parameters() for model in (both, *alone)), strict=True):
        found, first, second = (parameter.grad for parameter in parameters)
        torch.testing.assert_close(found, first + second, rtol=1e-9, atol=1e-10)
    found = both.eval()(batch)
    for number, one in enumerate(alone):
        one.trunk.load_state_dict(both.trunk.state_dict())
        torch.testing.assert_close(found[:, [number]], one.eval()(batch), rtol=1e-12, atol=1e-12)


def assert_equal_gradients(one: nn.Module, other: nn.Module):
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-10)


def test_a_head_learns_nothing_from_the_other_property():
    model = MultiTask("cgcnn")
    model(bundled_graphs(24).batch(range(24)))[:, 0].square().mean().backward()
    assert all(parameter.grad.any() for parameter in model.heads[0].parameters())
    assert not any(parameter.grad.any() for parameter in model.heads[1].parameters())


def test_the_trunk_is_used_once():
    model, calls = MultiTask("cgcnn", n_targets=4).eval(), []
    model.trunk.convs[0].register_forward_hook(lambda *_: calls.append(1))
    model(bundled_graphs(24).batch([0, 1]))
    assert len(calls) == 1


def test_any_trunk_will_do():
    model = MultiTask(ALIGNN(hidden=16, alignn_layers=1, gcn_layers=1), n_targets=3, hidden=8).eval()
    batch = bundled_graphs(24).batch([0, 1])
    assert model(batch).shape == (2, 3)
    again = build(describe(model)).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(batch), model(batch), rtol=0, atol=0)


def test_the_output_layer_of_the_trunk_is_left_out():
    """Nothing would train it."""
    trunk = CGCNN()
    alone = sum(parameter.numel() for parameter in trunk.parameters())
    heads = 2 * (128 * 64 + 64 + 64 + 1)
    assert sum(parameter.numel() for parameter in MultiTask(trunk).parameters()) == alone - 129 + heads


def test_an_unknown_trunk_is_named():
    with pytest.raises(ValueError, match="unknown trunk 'schnet'; choose one of gat, megnet, cgcnn"):
        MultiTask("schnet")


# Labels


def two_targets(count: int) -> pd.DataFrame:
    return bundled(count)[[TARGET, "band_gap"]]


def test_labels_reach_their_crystals():
    """Two tables, one of which lacks crystals and has another order, are joined by the crystals' names."""
    frame = two_targets(12)
    energy, gap = frame[TARGET], frame["band_gap"].iloc[[7, 3, 11, 0]]
    joined = pd.concat([energy, gap.reindex(energy.index)], axis=1)
    graphs = CrystalGraphs.from_structures(
        bundled(12)["structure"], ids=frame.index, targets=joined, allow_missing=True
    )
    order = np.random.default_rng(0).permutation(12)
    batch, names = graphs.batch(order), graphs.ids[order]
    for name, labels, known in zip(names, batch.y.tolist(), batch.y_mask.tolist(), strict=True):
        assert labels[0] == pytest.approx(energy[name], rel=1e-6)
        assert known == [True, name in gap.index]
        assert labels[1] == pytest.approx(gap.get(name, 0.0), rel=1e-6)


@pytest.mark.parametrize("as_column", [True, False])
def test_labels_of_other_crystals_are_refused(as_column):
    """In another order, or of some other crystals, a table is never joined by position."""
    structures, frame = bundled(12)["structure"], two_targets(13).set_axis(["other", *bundled(12).index])
    given = {"ids": None if as_column else structures.index}
    structures = structures if as_column else list(structures)
    with pytest.raises(ValueError, match=r"row 0: crystal .* in targets.*targets.loc\[ids\]"):
        CrystalGraphs.from_structures(structures, targets=frame.iloc[:0:-1], **given)
    with pytest.raises(ValueError, match=r"row 0: crystal .* meets 'other' in targets.*reindex\(ids\)"):
        CrystalGraphs.from_structures(structures, targets=frame.iloc[:12], **given)
