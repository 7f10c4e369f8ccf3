"""How the errors of several tasks become one loss: by hand, by their likelihoods, and by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error
from torch import Tensor

from course_lib.losses import (
    FixedWeights,
    InverseScaleWeights,
    TaskWeights,
    UncertaintyWeights,
    check_task_weights,
    make_task_weights,
    task_errors,
    task_shares,
)

LOSSES = ("mae", "mse")
SCALE = torch.tensor([0.5, 4.0, 10.0], dtype=torch.double)
ALL = torch.ones(3, dtype=torch.bool)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def labels_with_gaps() -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions, labels and where the labels are known; the second task has one, the third none."""
    known = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]).bool()
    return normal(4, 3, seed=1), normal(4, 3, seed=2), known


def of_each_kind(loss: str) -> list[TaskWeights]:
    return [make_task_weights(kind, SCALE, loss) for kind in ("inverse_scale", "uncertainty", (2.0, 0.0, 0.25))]


# ---------------------------------------------------------------- the error of each task


@pytest.mark.parametrize(("loss", "metric"), [("mae", mean_absolute_error), ("mse", mean_squared_error)])
def test_error_of_each_task_over_its_known_labels(loss, metric):
    output, target, known = labels_with_gaps()
    found = task_errors(output, target, known, loss)
    expected = [metric(target[known[:, k], k], output[known[:, k], k]) for k in range(2)]
    np.testing.assert_allclose(found, [*expected, 0.0], rtol=1e-12)
    whole = task_errors(output, target, torch.ones_like(known), loss)
    np.testing.assert_allclose(whole, metric(target, output, multioutput="raw_values"), rtol=1e-12)


@pytest.mark.parametrize("loss", ["MAE", "huber", None])
def test_an_unknown_loss_is_refused(loss):
    with pytest.raises(ValueError, match=f"loss is {loss!r}; choose one of mae, mse"):
        task_errors(*labels_with_gaps(), loss)
    for kind in ("inverse_scale", "uncertainty", (2.0, 0.0, 0.25)):
        with pytest.raises(ValueError, match=f"loss is {loss!r}; choose one of mae, mse"):
            make_task_weights(kind, SCALE, loss)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("nonsense", [math.nan, math.inf, 1e30])
def test_what_stands_in_the_place_of_an_unknown_label_is_not_read(loss, nonsense):
    output, target, known = labels_with_gaps()
    output.requires_grad_()
    (expected,) = torch.autograd.grad(task_errors(output, target, known, loss).sum(), output)
    target[~known] = nonsense
    errors = task_errors(output, target, known, loss)
    (gradient,) = torch.autograd.grad(errors.sum(), output)
    assert errors.isfinite().all()
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)
    assert (gradient[~known] == 0).all()
    assert (gradient[known] != 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_the_errors(loss):
    output, target, known = labels_with_gaps()
    assert torch.autograd.gradcheck(lambda values: task_errors(values, target, known, loss), output.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_short_numbers(loss):
    """Under bf16 autocast the network has low precision; the sum of the errors must not."""
    output = normal(4096, 2).bfloat16()
    target, known = torch.full((4096, 2), 0.1), torch.ones(4096, 2, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = task_errors(output, target, known, loss)
        total = make_task_weights("uncertainty", torch.ones(2), loss)(found, ALL[:2])
    assert found.dtype == total.dtype == torch.float32
    torch.testing.assert_close(found.double(), task_errors(output.double(), target, known, loss), rtol=1e-5, atol=0)


# ---------------------------------------------------------------- the weights, by hand


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_weighted_sum_of_the_errors_in_their_own_units(loss):
    output, target, known = normal(5, 3, seed=1), normal(5, 3, seed=2), torch.ones(5, 3, dtype=torch.bool)
    own_units = task_errors(output * SCALE, target * SCALE, known, loss)
    for weights in of_each_kind(loss):
        expected = (weights.lambda_k * own_units).sum()
        if isinstance(weights, FixedWeights):  # but for a constant, so that gradients have one size in any unit
            expected = expected / (weights.lambda_k * (SCALE if loss == "mae" else SCALE**2)).mean()
        if isinstance(weights, UncertaintyWeights):  # the logarithms are zero where it starts
            assert not weights.lambda_k.requires_grad
        torch.testing.assert_close(weights(task_errors(output, target, known, loss), ALL), expected)


def test_weights_by_hand():
    assert FixedWeights((2.0, 0.0, 0.25), SCALE, "mae").lambda_k.tolist() == [2.0, 0.0, 0.25]
    assert FixedWeights((2.0, 0.0, 0.25), SCALE, "mse").lambda_k.tolist() == [2.0, 0.0, 0.25]
    assert InverseScaleWeights(SCALE, "mae").lambda_k.tolist() == [2.0, 0.25, 0.1]
    assert InverseScaleWeights(SCALE, "mse").lambda_k.tolist() == [4.0, 0.0625, 0.01]
    assert UncertaintyWeights(SCALE, "mae").lambda_k.tolist() == [2.0, 0.25, 0.1]
    assert UncertaintyWeights(SCALE, "mse").lambda_k.tolist() == [2.0, 0.03125, 0.005]
    found = FixedWeights((2.0, 0.0, 0.25), SCALE, "mae")(torch.tensor([1.0, 7.0, 2.0]), ALL).item()
    assert found == pytest.approx((2 * 0.5 + 0.25 * 10 * 2) / ((2 * 0.5 + 0.25 * 10) / 3))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("unit", [1e-30, 1.602176634e-19, 1e30])
def test_the_loss_is_the_same_in_any_unit(loss, unit):
    errors, scale = normal(3).abs().float(), torch.tensor([0.5, 4.0, 10.0])
    power = 1 if loss == "mae" else 2
    fixed = np.array((2.0, 0.0, 0.25))
    for kind, other in (("inverse_scale",) * 2, ("uncertainty",) * 2, (fixed.tolist(), (fixed / unit**power).tolist())):
        here, there = make_task_weights(kind, scale, loss), make_task_weights(other, scale * unit, loss)
        torch.testing.assert_close(here(errors, ALL), there(errors, ALL))
        np.testing.assert_allclose(there.lambda_k, here.lambda_k / unit**power, rtol=1e-6)
        torch.testing.assert_close(here.shares, there.shares)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_task_without_label_in_the_batch_contributes_nothing(loss):
    output, target, known = labels_with_gaps()
    for weights in of_each_kind(loss):
        for parameter in weights.parameters():
            parameter.data.fill_(0.3)
        found = weights(task_errors(output.requires_grad_(), target, known, loss), known.any(0))
        alone = make_task_weights(
            "inverse_scale" if isinstance(weights, InverseScaleWeights) else "uncertainty", SCALE[:2], loss
        )
        if isinstance(weights, FixedWeights):
            # One task less makes the mean of the factors, by which they are divided, larger.
            alone = FixedWeights((2.0, 0.0), SCALE[:2], loss)
            share = (weights.relative_weights / alone.relative_weights[0])[0]
        for parameter in alone.parameters():
            parameter.data.fill_(0.3)
        expected = alone(task_errors(output[:, :2], target[:, :2], known[:, :2], loss), ALL[:2])
        torch.testing.assert_close(found, expected * (share if isinstance(weights, FixedWeights) else 1))
        found.backward()
        assert all(parameter.grad[2] == 0 for parameter in weights.parameters())
        empty = weights(task_errors(output, target, torch.zeros_like(known), loss), ~ALL)
        assert empty == 0
        assert torch.autograd.grad(empty, output)[0].eq(0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_the_loss(loss):
    errors = normal(3).abs().requires_grad_()
    for weights in of_each_kind(loss):
        parameters = list(weights.parameters())
        assert len(parameters) == isinstance(weights, UncertaintyWeights)
        for parameter in parameters:
            parameter.data = normal(3, seed=4)
        assert torch.autograd.gradcheck(lambda e, *_, weights=weights: weights(e, ALL), (errors, *parameters))


@pytest.mark.parametrize("loss", LOSSES)
def test_how_much_each_task_counts_where_an_epoch_is_chosen(loss):
    inverse, learned, fixed = of_each_kind(loss)
    for weights in (inverse, learned):
        torch.testing.assert_close(weights.shares, torch.full((3,), 1 / 3, dtype=torch.double))
    # In front of errors in units of the spread: 2 * 0.5 and 0.25 * 10; squared, 2 * 0.5^2 and 0.25 * 10^2.
    expected = torch.tensor([1.0, 0.0, 2.5] if loss == "mae" else [0.5, 0.0, 25.0]).double()
    torch.testing.assert_close(fixed.shares, expected / expected.sum())


# ---------------------------------------------------------------- learned weights


@pytest.mark.parametrize(
    ("loss", "law"), [("mae", torch.distributions.Laplace), ("mse", torch.distributions.Normal)], ids=LOSSES
)
def test_uncertainty_is_the_likelihood_of_the_labels(loss, law):
    """Up to a constant, so the two are compared at two spreads."""
    output, target = normal(6, 3, seed=1), normal(6, 3, seed=2)
    errors = task_errors(output, target, torch.ones(6, 3, dtype=torch.bool), loss)
    weights = UncertaintyWeights(SCALE, loss)
    found, expected = [], []
    for log_spread in (torch.zeros(3), torch.tensor([0.3, -1.0, 2.0])):
        weights.log_spread.data = log_spread.double()
        found.append(weights(errors, ALL).item())
        expected.append(-law(output * SCALE, weights.spread).log_prob(target * SCALE).mean(0).sum().item())
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_best_spread_is_the_error_itself(loss):
    errors = torch.tensor([0.02, 1.0, 3.0], dtype=torch.double)  # of standardised targets
    own_units = errors * (SCALE if loss == "mae" else SCALE**2)
    weights = UncertaintyWeights(SCALE, loss)
    best = own_units if loss == "mae" else own_units.sqrt()
    weights.log_spread.data = (best / SCALE).log()
    (slope,) = torch.autograd.grad(weights(errors, ALL), weights.log_spread)
    torch.testing.assert_close(slope, torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(weights.spread, best)
    torch.testing.assert_close(weights.lambda_k, 1 / own_units if loss == "mae" else 1 / (2 * own_units))
    lowest = weights(errors, ALL)
    for step in 0.1 * torch.cat([torch.eye(3), -torch.eye(3)]):
        weights.log_spread.data = (best / SCALE).log() + step
        assert weights(errors, ALL) > lowest
    # Gradient descent finds the same.
    weights.log_spread.data.zero_()
    optimizer = torch.optim.LBFGS(weights.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = weights(errors, ALL)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(weights.spread, best, rtol=1e-3, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_uncertainty_starts_as_inverse_scale(loss):
    output, target, known = labels_with_gaps()
    slopes = []
    for kind in (InverseScaleWeights, UncertaintyWeights):
        value = kind(SCALE, loss)(task_errors(output.requires_grad_(), target, known, loss), known.any(0))
        slopes.append(torch.autograd.grad(value, output)[0])
    torch.testing.assert_close(slopes[1], slopes[0] * (1 if loss == "mae" else 0.5))


# ---------------------------------------------------------------- as a module


@pytest.mark.parametrize("loss", LOSSES)
def test_scales_and_weights_are_saved(loss):
    for weights in of_each_kind(loss):
        for parameter in weights.parameters():
            parameter.data = normal(3)
        kind = weights.lambda_k.tolist() if isinstance(weights, FixedWeights) else None
        name = "uncertainty" if isinstance(weights, UncertaintyWeights) else "inverse_scale"
        other = make_task_weights(kind or name, torch.ones(3, dtype=torch.double), loss)
        other.load_state_dict(weights.state_dict())
        torch.testing.assert_close(other.lambda_k, weights.lambda_k)
        torch.testing.assert_close(other.relative_weights, weights.relative_weights)


def test_learned_spreads_are_read_without_a_gradient():
    assert not UncertaintyWeights(SCALE, "mae").spread.requires_grad


def test_the_scale_is_a_copy():
    scale = SCALE.clone()
    weights = InverseScaleWeights(scale, "mae")
    scale.fill_(7)
    assert weights.lambda_k.tolist() == [2.0, 0.25, 0.1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("gradnorm", "task_weights is 'gradnorm'; choose one of inverse_scale, uncertainty, or give a number for each"),
        (2.0, r"task_weights is 2\.0; choose one of inverse_scale, uncertainty, or give a list of numbers"),
        ({0: 1.0, 1: 1.0, 2: 1.0}, r"task_weights is \{0: .* or give a list of numbers"),
        ((1.0, -2.0, 3.0), "number 1 of task_weights is -2.0; give numbers from zero up"),
        ((math.nan, 1.0, 1.0), "number 0 of task_weights is nan"),
        ((1.0, math.inf, 1.0), "number 1 of task_weights is inf"),
        ((0.0, 0.0, 0.0), r"task_weights is \(0.0, 0.0, 0.0\): nothing would be learned"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        check_task_weights(weights)
    with pytest.raises(ValueError, match=message):
        make_task_weights(weights, SCALE, "mae")


@pytest.mark.parametrize("weights", [(1.0, -2.0, 3.0), (0.0, 0.0, 0.0)])
def test_bad_weights_are_refused_by_the_module_itself(weights):
    with pytest.raises(ValueError, match="task_weights is"):
        FixedWeights(weights, SCALE, "mae")


@pytest.mark.parametrize("weights", [(1e300, 1e-30), (1e308, 1e308), (1e-320, 1.0)])
def test_weights_that_single_precision_cannot_hold_beside_each_other(weights):
    with pytest.raises(ValueError, match=r"number [01] of task_weights is 1e.* single precision cannot hold"):
        FixedWeights(weights, torch.tensor([1.0, 1e10]), "mae")


def test_weights_of_any_common_size():
    ours = FixedWeights((1e300, 2e300), torch.tensor([1.0, 1.0]), "mae")
    torch.testing.assert_close(ours.relative_weights, torch.tensor([2 / 3, 4 / 3]))


def test_a_weight_for_each_target():
    with pytest.raises(ValueError, match=r"task_weights has 2 numbers, \(1.0, 2.0\), for 3 targets. Give one for each"):
        make_task_weights((1.0, 2.0), SCALE, "mae")


# ---------------------------------------------------------------- shares of the tasks


@pytest.mark.parametrize("loss", LOSSES)
def test_share_of_the_gradient_follows_the_size_of_squared_errors_only(loss):
    shared, heads = torch.nn.Linear(3, 4).double(), torch.nn.Linear(4, 2).double()
    output = heads(shared(normal(8, 3)))
    known = torch.ones(8, 2, dtype=torch.bool)
    found = []
    for factor in (1.0, 10.0):
        target = output.detach() + torch.tensor([1.0, factor], dtype=torch.double) * normal(8, 2, seed=1)
        found.append(task_shares(task_errors(output, target, known, loss), shared))
        np.testing.assert_allclose(found[-1].sum(1), 1.0)
    (loss_before, before), (loss_after, after) = ((first[1], second[1]) for first, second in found)
    assert loss_after > loss_before + 0.2
    assert after - before > 0.2 if loss == "mse" else after == pytest.approx(before)


def test_shares_of_the_gradient_are_those_of_finite_differences():
    shared = torch.nn.Linear(1, 1, bias=False).double()
    x = torch.tensor([[1.0], [2.0]], dtype=torch.double)
    terms = torch.stack([(3 * shared(x)).sum() + 50, (9 * shared(x)).sum()])  # slopes 9 and 27 by the one weight
    assert task_shares(terms, shared)[1].tolist() == pytest.approx([0.25, 0.75])


def test_shares_of_tasks_that_share_only_a_part_of_the_network():
    """The first uses one layer, the second two; none uses the third."""
    shared = torch.nn.ModuleList(torch.nn.Linear(*sizes) for sizes in ((2, 3), (3, 1), (1, 1))).double()
    hidden = shared[0](normal(4, 2)).tanh()
    terms = torch.stack([hidden.square().sum(), shared[1](hidden).square().sum()])
    found, lengths = task_shares(terms, shared)[1], []
    for term in terms:
        shared.zero_grad()
        term.backward(retain_graph=True)
        lengths.append(torch.nn.utils.clip_grad_norm_(shared.parameters(), math.inf).item())
    assert found.tolist() == pytest.approx([length / sum(lengths) for length in lengths])
