"""The shared layers against PyTorch's, PyG's and scikit-learn's own, and against their formulas."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch_geometric.nn import global_mean_pool

from course_lib.models import layers
from course_lib.models.layers import (
    GaussianBasis,
    Standardize,
    StandardizeWithin,
    WeightedBatchNorm1d,
    mean_pool,
    without_gradient,
)

DENORMAL = torch.finfo(torch.float32).tiny  # the smallest normal number


def normal(*shape: int, seed: int = 0, dtype=torch.double) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---------------------------------------------------------------- batch norm


def pair_of_norms(size: int, dtype=torch.double) -> tuple[WeightedBatchNorm1d, nn.BatchNorm1d]:
    """Return ours and PyTorch's with the same random state."""
    ours, theirs = WeightedBatchNorm1d(size, dtype=dtype), nn.BatchNorm1d(size, dtype=dtype)
    with torch.no_grad():
        for k, tensor in enumerate([theirs.weight, theirs.bias, theirs.running_mean]):
            tensor.copy_(normal(size, seed=k))
        theirs.running_var.copy_(normal(size, seed=9).exp())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("counts", [[1, 7, 2, 1, 12, 3], [1, 1]])
@pytest.mark.parametrize("training", [True, False])
def test_weighted_batch_norm_is_batch_norm_of_repeated_rows(training, counts):
    ours, theirs = pair_of_norms(5)
    count = torch.tensor(counts).float()
    one, other = normal(len(counts), 5, seed=3).requires_grad_(), normal(len(counts), 5, seed=3).requires_grad_()
    repeats = count.long()
    weight = normal(len(counts), 5, seed=4)  # any function of the output
    for norm in (ours, theirs):
        norm.train(training)
    for _ in range(3):  # the running statistics follow too
        found, expected = ours(one, count), theirs(other.repeat_interleave(repeats, 0))
        torch.testing.assert_close(found.repeat_interleave(repeats, 0), expected, rtol=0, atol=1e-12)
    (count[:, None] * (found * weight).square()).sum().backward()
    (expected * weight.repeat_interleave(repeats, 0)).square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-10)
    for (name, found), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=0, atol=1e-10, msg=name)
    for name, expected in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], expected, rtol=0, atol=1e-12, msg=name)
    assert not any(buffer.requires_grad for buffer in ours.buffers())  # or they would keep the graph of every batch


def test_weighted_batch_norm_of_one_row_has_no_unbiased_variance():
    ours, _ = pair_of_norms(3)
    before = ours.running_var.clone()
    ours(normal(1, 3), torch.ones(1))
    torch.testing.assert_close(ours.running_var, 0.9 * before)  # BatchNorm1d refuses the row


def test_batch_norm_of_two_processes_with_the_same_rows(monkeypatch):
    monkeypatch.setattr(layers, "n_processes", lambda: 2)
    monkeypatch.setattr(layers, "sum_over_processes", lambda tensor: 2 * tensor)
    ours, theirs = pair_of_norms(3)
    rows = normal(4, 3)
    torch.testing.assert_close(ours(rows).repeat(2, 1), theirs(rows.repeat(2, 1)), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=1e-12)


def test_a_bias_before_a_norm_stays_as_it_was_initialised():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    (linear, _), before = network, network[0].bias.clone()
    without_gradient(linear.bias)
    network(normal(9, 4, dtype=torch.float32)).square().sum().backward()
    torch.optim.Adam(network.parameters()).step()
    assert linear.weight.grad is not None
    torch.testing.assert_close(linear.bias, before, rtol=0, atol=0)


def test_weighted_batch_norm_gradcheck():
    ours, _ = pair_of_norms(3)
    count = torch.tensor([1.0, 4, 2, 1]).double()
    assert torch.autograd.gradcheck(lambda values: ours(values, count), normal(4, 3).requires_grad_())


@pytest.mark.parametrize("training", [True, False])
def test_weighted_batch_norm_of_short_numbers(training):
    """In mixed precision the statistics are as exact as those of BatchNorm1d, also where the mean is large."""
    ours, theirs = pair_of_norms(4, torch.float32)
    values = (normal(1000, 4, dtype=torch.float32) + 5).bfloat16()
    for norm in (ours, theirs):
        norm.train(training)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = ours(values, torch.ones(1000)), theirs(values.float())
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=2e-3)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-4, atol=0)


# ---------------------------------------------------------------- standardisation


def table() -> np.ndarray:
    """Return columns that vary much, little, not at all (two of them), and with gaps."""
    values = np.random.default_rng(0).normal(size=(50, 6)) * [1, 1e4, 1e-3, 0, 0, 1] + [0, 1e5, 3, 0.1, -7e3, 2]
    values[::7, 5] = np.nan
    values[:40, 0] = np.nan
    return values


def test_standardize_is_the_standard_scaler():
    values = table()
    scaler, ours = StandardScaler().fit(values), Standardize(6).fit(torch.from_numpy(values))
    np.testing.assert_allclose(ours.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(ours.std, scaler.scale_, rtol=1e-6)
    np.testing.assert_allclose(
        ours.double()(torch.from_numpy(values)), scaler.transform(values), atol=1e-3, equal_nan=True
    )


def test_standardize_constant_column_in_single_precision():
    values = torch.full((1000, 1), 0.1) * 12345
    ours = Standardize(1).fit(values)
    assert ours.std.item() == 1
    assert ours(values).abs().max() < 1e-3


def test_standardize_columns_of_any_size_and_of_little_spread():
    """The squares of the first are beyond single precision; the second varies by five millionths."""
    values = normal(200, 2, dtype=torch.float32) * torch.tensor([1e25, 1e-5]) + torch.tensor([0.0, 2.0])
    ours, scaler = Standardize(2).fit(values), StandardScaler().fit(values.double())
    np.testing.assert_allclose(ours.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(ours.std, scaler.scale_, rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "std"),
    [
        ([np.nan, np.nan], 1),
        ([1e-13, -1e-13], 1),
        ([1e-11, -1e-11], 1e-11),
        ([1e4, 1e4 * (1 + 1e-8)], 1),
        ([-1e4, -1e4 * (1 + 1e-8)], 1),
        ([np.nan, 5.0], 1),
    ],
)
def test_standardize_amplifies_no_rounding(column, std):
    ours = Standardize(1).fit(torch.tensor(column, dtype=torch.double)[:, None])
    assert ours.mean.item() == pytest.approx(0 if np.isnan(column).all() else np.nanmean(column))
    assert ours.std.item() == pytest.approx(std)


def test_standardize_and_back():
    values = torch.from_numpy(table()).float()
    ours = Standardize(6).fit(values)
    torch.testing.assert_close(ours.inverse(ours(values)), values, rtol=1e-5, atol=1e-5, equal_nan=True)
    again = Standardize(6)
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again(values), ours(values), rtol=0, atol=0, equal_nan=True)


def test_standardize_within_keeps_to_the_range():
    values = torch.from_numpy(table()[40:, 1:5]).float()
    plain, ours = Standardize(4).fit(values), StandardizeWithin(4).fit(values)
    torch.testing.assert_close(ours(values), plain(values), rtol=0, atol=0)
    new = torch.stack([values.amin(0) - 100, values.amax(0) + 0.01])
    torch.testing.assert_close(ours(new), plain(torch.stack([values.amin(0), values.amax(0)])), rtol=0, atol=0)
    again = StandardizeWithin(4)
    torch.testing.assert_close(again(new), new, rtol=0, atol=0)  # not fitted yet: nothing is cut
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again(new), ours(new), rtol=0, atol=0)


def test_standardize_has_nothing_to_train():
    assert list(Standardize(3).parameters()) == []
    untouched = torch.tensor([[1.0, -2.0, 3.0]])
    torch.testing.assert_close(Standardize(3)(untouched), untouched)


# ---------------------------------------------------------------- distance basis


def test_gaussian_basis_is_its_formula():
    distance = torch.linspace(0, 60, 7001)
    basis = GaussianBasis()
    centers = np.arange(41) * 0.2
    expected = np.exp(-((distance.double().numpy()[:, None] - centers) ** 2) / 0.2**2)
    found = basis(distance)
    assert found.shape == (7001, 41)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(basis.centers, centers, atol=1e-6)
    assert basis.state_dict() == {}, "checkpoints hold what is learned"


def test_gaussian_basis_other_sizes():
    basis = GaussianBasis(stop=5.0, n_centers=100, width=0.5)
    np.testing.assert_allclose(basis.centers, np.linspace(0, 5, 100), atol=1e-6)
    np.testing.assert_allclose(
        basis(torch.tensor([2.0]))[0], np.exp(-((2 - np.linspace(0, 5, 100)) ** 2) / 0.25), atol=1e-6
    )


def test_gaussian_basis_makes_no_denormal_numbers():
    distance = torch.linspace(0, 60, 7001, requires_grad=True)
    values = GaussianBasis()(distance)
    plain = torch.exp(-(((distance[:, None] - GaussianBasis().centers) / 0.2) ** 2))
    assert ((plain > 0) & (plain < DENORMAL)).any()  # what is to be avoided does happen
    # Nor may they arise where the values meet weights and gradients, so the smallest are far above.
    assert not ((values > 0) & (values < 1e-17)).any()
    (slope,) = torch.autograd.grad(values.sum(), distance)
    assert not ((slope != 0) & (slope.abs() < DENORMAL)).any()


def test_gaussian_basis_gradcheck():
    distance = torch.tensor([0.3, 1.234, 5.55, 12.0], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(GaussianBasis().double(), distance)


# ---------------------------------------------------------------- pooling


def test_mean_pool_is_that_of_pyg():
    atoms, batch = normal(9, 4), torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 3])
    ptr = torch.tensor([0, 3, 4, 8, 9])
    torch.testing.assert_close(mean_pool(atoms, batch, ptr), global_mean_pool(atoms, batch))
    assert mean_pool(atoms[:0], batch[:0], ptr[:1]).shape == (0, 4)
