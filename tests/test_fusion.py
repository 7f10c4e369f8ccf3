"""Fusion: what each network does with the two views, against plain formulas; whose statistics scale the composition."""

import copy
import io

import numpy as np
import pytest
import torch
from example_crystals import bundled, bundled_graphs
from test_cgcnn import PlainConv, double_batch, randomize, unweighted
from torch import nn

from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, GAT, AttentionFusion, EarlyFusion, IntermediateFusion, build, describe
from course_lib.models.ablations import EqualWeightFusion


def ready(make=EarlyFusion, **settings):
    torch.manual_seed(0)
    model = make(**settings)
    model.fit_preprocessing(torch.from_numpy(bundled_graphs(24).features))
    return model.eval()


def ready_in_double(make, **settings):
    """A small network with random weights and statistics that are not those of the start."""
    model = randomize(make(CGCNN(hidden=5, n_conv=2, embedding=7), **settings))
    model.standardize.fit(torch.from_numpy(bundled_graphs(24).features))
    return model.eval()


def plain_standardized(batch):
    features = bundled_graphs(24).features.astype("float64")
    mean, std = features.mean(0), features.std(0)
    std[std < 1e-12] = 1
    within = batch.composition.numpy().clip(features.min(0), features.max(0))
    return torch.from_numpy((within - mean) / std)


def plain_embedding(trunk, batch, change=lambda number, atoms: atoms):
    """The published equations; `change` says what happens to the atoms before each convolution."""
    length = batch.bond_length.repeat_interleave(batch.bond_count)
    e = torch.exp(-((length[:, None] - trunk.basis.centers) ** 2) / 0.2**2)
    x = torch.stack([trunk.atom_embedding(trunk.atom_features[z]) for z in batch.species])
    for number, conv in enumerate(trunk.convs):
        plain = PlainConv(conv.hidden, e.shape[1]).double().eval()
        plain.load_state_dict(conv.state_dict())
        x = plain(change(number, x), batch.edge_index, e)
    crystals = torch.stack([x[batch.batch == b].mean(0) for b in range(batch.num_graphs)])
    return torch.log(1 + torch.exp(trunk.crystal_embedding(torch.log(1 + torch.exp(crystals)))))


# Early fusion


def test_the_head_reads_145_and_128():
    model = EarlyFusion()
    assert model.head[0].in_features == 145 + 128 == 273
    assert [layer.out_features for layer in model.head if isinstance(layer, nn.Linear)] == [128, 64, 1]
    with_own_trunk = EarlyFusion(CGCNN(embedding=32), n_features=7, n_targets=3, hidden=(16,))
    assert with_own_trunk.head[0].in_features == 39
    assert with_own_trunk.head[-1].out_features == 3


def test_prediction_is_the_head_on_standardised_features_and_embedding():
    model, batch = ready(), bundled_graphs(24).batch([3, 8, 1])
    features = torch.from_numpy(bundled_graphs(24).features).double()
    scaled = (batch.composition - features.mean(0)) / features.std(0, correction=0).masked_fill(features.std(0) == 0, 1)
    expected = model.head(torch.cat([scaled.float(), model.trunk.embed(batch)], dim=1))
    torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-5)
    assert model(batch).shape == (3, 1)
    assert model(bundled_graphs(24).batch([3])).shape == (1, 1)


def test_both_views_count():
    model, batch = ready(), bundled_graphs(24).batch([3, 8, 1])
    before = model(batch)
    for name in ("composition", "bond_length"):
        changed = batch.clone()
        changed[name] = changed[name] * 1.1
        assert (model(changed) - before).abs().min() > 1e-5, name


def test_the_scale_does_not_follow_what_is_predicted():
    """Standardisation is that of the training set: extreme crystals elsewhere do not move it."""
    model = ready()
    graphs = bundled_graphs(24)
    mean, std = model.standardize.mean.clone(), model.standardize.std.clone()
    expected = model(graphs.batch([3]))
    model.train()
    model(graphs.batch(range(24)))
    model.eval()
    model.trunk.load_state_dict(ready().trunk.state_dict())  # undo what the batch norms saw
    extreme = graphs.batch([3, 4])
    extreme.composition[1] = 1e6
    torch.testing.assert_close(model(extreme)[:1], expected)
    torch.testing.assert_close(model.standardize.mean, mean, rtol=0, atol=0)
    torch.testing.assert_close(model.standardize.std, std, rtol=0, atol=0)


def test_the_scale_travels_in_the_state():
    model, batch = ready(), bundled_graphs(24).batch([3, 8, 1])
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = build(describe(model)).eval()
    assert not torch.allclose(again(batch), model(batch))
    again.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(again(batch), model(batch), rtol=0, atol=0)


def test_description_with_a_trunk_of_other_size():
    model = EarlyFusion(CGCNN(hidden=8, n_conv=1, embedding=4), n_targets=2, hidden=(5,), dropout=0.1)
    again = build(describe(model))
    again.load_state_dict(model.state_dict())
    assert describe(again) == describe(model)
    assert again.head[2].p == 0.1


def test_dropout_only_in_training():
    model, batch = ready(), bundled_graphs(24).batch(range(24))
    torch.testing.assert_close(model(batch), model(batch), rtol=0, atol=0)
    model.head.train()
    assert not torch.allclose(model(batch), model(batch))


@pytest.mark.parametrize("training", [True, False])
def test_mixed_precision(training):
    model, batch = ready(dropout=0.0).train(training), bundled_graphs(24).batch(range(24))
    expected = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch)
    assert (found - expected).abs().max() < 0.2 * expected.std()


def test_wrong_number_of_features():
    graphs = CrystalGraphs.from_structures(bundled(6)["structure"])
    message = (
        r"the crystals have 0 composition features, the model reads 145. Build .* composition=magpie\(structures\)"
    )
    with pytest.raises(ValueError, match=message):
        EarlyFusion().eval()(graphs.batch([0]))
    with pytest.raises(ValueError, match=message):
        EarlyFusion().fit_preprocessing(torch.from_numpy(graphs.features))


# Intermediate fusion


@pytest.mark.parametrize("training", [True, False])
def test_intermediate_fusion_starts_as_the_plain_network(training):
    torch.manual_seed(0)
    plain = CGCNN(n_targets=2)
    fusion = IntermediateFusion(copy.deepcopy(plain), n_targets=2)
    fusion.out.load_state_dict(plain.out.state_dict())
    fusion.fit_preprocessing(torch.from_numpy(bundled_graphs(24).features))
    batch = bundled_graphs(24).batch(range(24))
    torch.testing.assert_close(fusion.train(training)(batch), plain.train(training)(batch), rtol=0, atol=0)


def test_intermediate_fusion_is_its_formula():
    """Scale and shift of the atoms before every convolution, crystal by crystal, to 1e-10 in double precision."""
    model, batch = ready_in_double(IntermediateFusion, hidden=4, n_targets=2), unweighted(double_batch())
    first, last = model.condition[0], model.condition[-1]
    hidden = torch.log(1 + torch.exp(plain_standardized(batch) @ first.weight.T + first.bias))
    both = hidden @ last.weight.T + last.bias  # (B, 2 convolutions * 2 * 5)

    def modulated(number, x):
        atoms = []
        for i, crystal in enumerate(batch.batch.tolist()):
            gamma, beta = (
                both[crystal, 10 * number : 10 * number + 5],
                both[crystal, 10 * number + 5 : 10 * number + 10],
            )
            atoms.append((1 + gamma) * x[i] + beta)
        return torch.stack(atoms)

    with torch.no_grad():
        expected = model.out(plain_embedding(model.trunk, batch, modulated))
        torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-10)
        unmodulated = model.out(plain_embedding(model.trunk, batch))
    assert (expected - unmodulated).abs().min() > 1e-6


@pytest.mark.parametrize("make", [EarlyFusion, IntermediateFusion, AttentionFusion])
def test_a_composition_out_of_range_is_read_as_the_edge_of_the_range(make):
    """A prediction does not grow without bounds with a feature that hardly varies among the training crystals."""
    graphs, model = bundled_graphs(24), ready_in_double(make)
    far = graphs.batch(range(4))
    inside = far.clone()
    low, high = graphs.features.min(0), graphs.features.max(0)
    far.composition = torch.from_numpy(np.where(np.arange(145) % 2, high + 1e6, low - 1e6)).double().expand(4, -1)
    inside.composition = torch.from_numpy(np.where(np.arange(145) % 2, high, low)).double().expand(4, -1)
    torch.testing.assert_close(model(far), model(inside), rtol=0, atol=0)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_composition_reaches_every_convolution(number):
    """With scale and shift of one convolution only, another composition still changes the prediction of its crystal."""
    model, batch = ready(IntermediateFusion), bundled_graphs(24).batch([3, 8, 1])
    rows = torch.zeros(3, 2 * 64, dtype=torch.bool)
    rows[number] = True
    with torch.no_grad():
        model.condition[-1].weight[rows.flatten()] = 0.1 * torch.randn(2 * 64, 64)
    changed = batch.clone()
    changed.composition[1] *= 1.1
    difference = (model(changed) - model(batch)).abs().flatten()
    assert difference[1] > 1e-4
    assert difference[[0, 2]].max() < 1e-6
    varies = (model.scale_and_shift(changed) != model.scale_and_shift(batch))[1].flatten(1).any(1)
    assert varies.tolist() == [k == number for k in range(3)]


def test_training_leaves_the_plain_network():
    """All that starts at zero gets a gradient at once, and what lies before it in the next step."""
    model, batch = ready(IntermediateFusion, dropout=0.0).train(), bundled_graphs(24).batch(range(24))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(batch).square().sum().backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in model.condition[-1].parameters())
    optimizer.step()
    optimizer.zero_grad()
    model(batch).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters() if parameter.requires_grad)


def test_intermediate_fusion_needs_convolutions_that_it_knows():
    with pytest.raises(TypeError, match="the trunk is a GAT; IntermediateFusion needs a CGCNN"):
        IntermediateFusion(GAT())


# Attention fusion


def test_attention_fusion_is_its_formula():
    """Two vectors, normalised, weighed by a softmax and added; to 1e-10 in double precision."""
    model, batch = ready_in_double(AttentionFusion, hidden=6, n_targets=2), unweighted(double_batch())
    views = []
    with torch.no_grad():
        first, last = model.from_composition[0], model.from_composition[-1]
        views.append(last(torch.log(1 + torch.exp(first(plain_standardized(batch))))))
        views.append(model.from_structure(plain_embedding(model.trunk, batch)))
        predictions, weights = [], []
        for pair in zip(*views, strict=True):
            pair = [(view - view.mean()) / (view.var(correction=0) + 1e-5).sqrt() for view in pair]
            score = [
                torch.exp(layer.weight[0] @ view + layer.bias[0])
                for layer, view in zip(model.scores, pair, strict=True)
            ]
            weights.append(torch.stack(score) / sum(score))
            hidden = torch.log(1 + torch.exp(model.head[0](weights[-1][0] * pair[0] + weights[-1][1] * pair[1])))
            predictions.append(model.head[-1](hidden))
        torch.testing.assert_close(model.views_and_weights(batch)[1], torch.stack(weights), rtol=0, atol=1e-10)
        torch.testing.assert_close(model(batch), torch.stack(predictions), rtol=0, atol=1e-10)


def test_weights_are_shares_that_depend_on_the_crystal():
    weights = ready(AttentionFusion).views_and_weights(bundled_graphs(24).batch(range(24)))[1]
    assert weights.shape == (24, 2)
    torch.testing.assert_close(weights.sum(1), torch.ones(24))
    assert (weights > 0).all()
    assert (weights < 1).all()
    assert weights[:, 0].unique().numel() > 12


def test_weights_depend_on_both_views():
    model, batch = ready(AttentionFusion), bundled_graphs(24).batch([3, 8, 1])
    before = model.views_and_weights(batch)[1]
    for name in ("composition", "bond_length"):
        changed = batch.clone()
        changed[name] = changed[name] * 1.1
        assert (model.views_and_weights(changed)[1] - before).abs().min() > 1e-6, name


def test_equal_weights_are_all_that_the_ablation_changes():
    batch = bundled_graphs(24).batch(range(24))
    scored, equal = ready(AttentionFusion), ready(EqualWeightFusion)
    views, weights = equal.views_and_weights(batch)
    assert torch.equal(views, scored.views_and_weights(batch)[0])
    assert torch.equal(weights, torch.full((24, 2), 0.5))
    for parameter in scored.scores.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(equal(batch), scored(batch))
    pairs = zip(equal.named_parameters(), scored.parameters(), strict=True)
    fixed = {name for (name, parameter), same in pairs if parameter.requires_grad != same.requires_grad}
    assert fixed == {f"scores.{view}.{part}" for view in range(2) for part in ("weight", "bias")}


def test_no_view_can_outgrow_its_weight():
    """Also after training both vectors have one length, so the weights alone say how the sum is made."""
    model, batch = ready(AttentionFusion).train(), bundled_graphs(24).batch(range(24))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        (model(batch) - batch.y).square().mean().backward()
        optimizer.step()
    views = model.views_and_weights(batch)[0]
    assert views.shape == (24, 2, 64)
    torch.testing.assert_close(views.mean(2), torch.zeros(24, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(views.var(2, correction=0), torch.ones(24, 2), rtol=0, atol=1e-2)


@pytest.mark.parametrize("chosen", [0, 1])
def test_an_extreme_score_picks_one_view(chosen):
    model, batch = ready(AttentionFusion), bundled_graphs(24).batch([3, 8, 1])
    with torch.no_grad():
        model.scores[chosen].bias.fill_(1e4)
    views, weights = model.views_and_weights(batch)
    assert weights[:, chosen].tolist() == [1, 1, 1]
    torch.testing.assert_close(model(batch), model.head(views[:, chosen]))
    changed = batch.clone()
    changed.composition = changed.composition * 1.1
    same = torch.equal(model(changed), model(batch))
    assert same == (chosen == 1)  # the structure alone does not change with it
    model(batch).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.requires_grad)
