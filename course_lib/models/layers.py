"""Building blocks that several models share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from course_lib.parallel import n_processes, sum_over_processes


class GaussianBasis(nn.Module):
    r"""Expand numbers, such as distances or cosines, in Gaussians on an even grid of centres.

    .. math:: e_k(d) = \exp\left(-(d - \mu_k)^2 / w^2\right)

    as in Xie and Grossman, PRL 120, 145301 (2018) (their code has no factor 1/2).

    Values below 1e-17 are set to zero. They do not change a sum of order one, and the smallest of them are denormal
    numbers, which a CPU multiplies many times more slowly.

    Parameters
    ----------
    start, stop : float, default 0.0 and 8.0
        First and last centre; angstrom, where distances are expanded.
    n_centers : int, default 41
        Number of centres, K.
    width : float, optional
        The width :math:`w`; the distance between two centres where not given.
    """

    def __init__(self, start: float = 0.0, stop: float = 8.0, n_centers: int = 41, width: float | None = None):
        super().__init__()
        self.register_buffer("centers", torch.linspace(start, stop, n_centers), persistent=False)
        self.width = (stop - start) / (n_centers - 1) if width is None else width

    def forward(self, values: Tensor) -> Tensor:
        """Expand ``values`` (E,) into (E, K)."""
        exponent = ((values[:, None] - self.centers) / self.width).square_()
        # The clamp keeps exp() itself out of the denormal range, and the threshold clears what the clamp left.
        return nn.functional.threshold(exponent.clamp_(max=80.0).neg_().exp_(), 1e-17, 0.0)


class Standardize(nn.Module):
    """Shift and scale every column by the mean and standard deviation of the training set.

    The two are buffers: they are saved with the model, so a prediction uses the numbers of the training set.
    A column that does not vary in the training set is only shifted.

    Parameters
    ----------
    n_columns : int
        Number of columns, C.
    """

    def __init__(self, n_columns: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("std", torch.ones(n_columns))

    def fit(self, values: Tensor) -> Standardize:
        """Take mean and standard deviation from ``values`` (B, C), leaving NaN entries out; returns itself."""
        values = values.double()
        known = ~values.isnan()
        count = known.sum(0).clamp(min=1)
        mean = torch.where(known, values, 0.0).sum(0) / count
        std = (torch.where(known, values - mean, 0.0).square().sum(0) / count).sqrt()
        # Rounding leaves a constant column with a tiny spread, which must not be amplified.
        varies = std > 1e-6 * mean.abs().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(varies, std, 1.0))
        return self

    def forward(self, values: Tensor) -> Tensor:
        """Standardise ``values`` (B, C)."""
        return (values - self.mean) / self.std

    def inverse(self, values: Tensor) -> Tensor:
        """Return standardised ``values`` (B, C) to their own units."""
        return values * self.std + self.mean


class StandardizeWithin(Standardize):
    """`Standardize`, in which a value beyond those of the training set is taken for the nearest one of them.

    A column that hardly varies in the training set would otherwise be thousands of standard deviations off for another
    crystal, and the output of a network that multiplies by it would grow without bounds.

    Parameters
    ----------
    n_columns : int
        Number of columns, C.
    """

    def __init__(self, n_columns: int):
        super().__init__(n_columns)
        self.register_buffer("low", torch.full((n_columns,), -torch.inf))
        self.register_buffer("high", torch.full((n_columns,), torch.inf))

    def fit(self, values: Tensor) -> StandardizeWithin:
        """Take the range as well, of ``values`` (B, C) without NaN."""
        self.low.copy_(values.amin(0))
        self.high.copy_(values.amax(0))
        return super().fit(values)

    def forward(self, values: Tensor) -> Tensor:
        """Standardise ``values`` (B, C)."""
        return super().forward(values.clamp(self.low, self.high))


def without_gradient(*biases: nn.Parameter) -> None:
    """Leave biases whose effect a later batch norm cancels as they were initialised.

    Their gradient is zero except for rounding, and Adam, which divides by its size, would turn that into full steps:
    the weights of one run would drift from those of the same run on another number of processes.
    """
    for bias in biases:
        bias.requires_grad_(False)


class WeightedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy, 2015) in which a row may stand for several, on several processes.

    Gives what ``BatchNorm1d`` gives for the table in which row ``m`` is written ``count[m]`` times. Where several
    processes train together, mean and variance are those of the rows of all of them. (PyTorch's ``SyncBatchNorm``
    does the latter too, but only on GPUs.)
    """

    def forward(self, values: Tensor, count: Tensor | None = None) -> Tensor:
        """Normalise ``values`` (M, C).

        Row ``m`` stands for ``count[m]`` rows, with ``count`` of shape (M,), or only for itself if no count is given.
        """
        if count is None:
            if not self.training or n_processes() == 1:
                return super().forward(values)
            count = values.new_ones(len(values))
        # In mixed precision the products before this have low precision; mean and variance need full precision.
        with torch.autocast(values.device.type, enabled=False):
            values = values.to(torch.promote_types(values.dtype, self.weight.dtype))
            if not self.training:
                scale = self.weight * torch.rsqrt(self.running_var + self.eps)
                return torch.addcmul(self.bias, values - self.running_mean, scale)
            count = count.to(values.dtype)
            total = sum_over_processes(count.sum())
            out, mean, variance = _Normalize.apply(values, count / total, self.weight, self.bias, self.eps)
            self.update_running(mean, variance, total)
            return out

    def update_running(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        """Track mean and unbiased variance over the batches, as ``BatchNorm1d`` does."""
        unbiased = variance * (total / (total - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked.add_(1)


class _Normalize(torch.autograd.Function):
    """Normalise rows by their weighted mean and variance; returns these two as well.

    Autograd would find the same gradient in three times as many passes over the table, and the passes dominate the
    cost.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, values: Tensor, share: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = sum_over_processes(share @ values)
        centered = values - mean
        variance = sum_over_processes(share @ centered.square())
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centered, share, weight, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(bias, centered, weight * inverse), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centered, share, weight, inverse = ctx.saved_tensors
        grad_bias = grad.sum(0)
        grad_weight = (grad * centered).sum(0) * inverse
        # Every row also changes the mean and the variance of all rows, including those in other processes, by its
        # share.
        of_all_bias, of_all_weight = sum_over_processes(torch.stack([grad_bias, grad_weight]))
        common = torch.addcmul(of_all_bias, centered, inverse * of_all_weight).mul_(share[:, None])
        return (grad - common).mul_(weight * inverse), None, grad_weight, grad_bias, None


def mean_pool(atoms: Tensor, batch: Tensor, ptr: Tensor) -> Tensor:
    """Average over the atoms of each crystal.

    Parameters
    ----------
    atoms : Tensor, shape (N, F)
        One row per atom.
    batch : Tensor of int64, shape (N,)
        The crystal of each atom.
    ptr : Tensor of int64, shape (B + 1,)
        Where each crystal's atoms begin.

    Returns
    -------
    Tensor, shape (B, F)
    """
    total = atoms.new_zeros(len(ptr) - 1, atoms.shape[1]).index_add(0, batch, atoms)
    return total / ptr.diff()[:, None]
