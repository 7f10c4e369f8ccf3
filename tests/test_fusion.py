"""Early fusion: what the head reads, whose statistics scale the composition, wrong features."""

import io

import pytest
import torch
from example_crystals import bundled, bundled_graphs
from torch import nn

from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, EarlyFusion, build, describe


def ready(**settings) -> EarlyFusion:
    torch.manual_seed(0)
    model = EarlyFusion(**settings)
    model.fit_preprocessing(torch.from_numpy(bundled_graphs(24).features))
    return model.eval()


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


def test_every_parameter_is_trained():
    """Also none is left over: a parameter without a gradient stops training on several machines."""
    model = ready().train()
    model(bundled_graphs(24).batch(range(24))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


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
