"""CGCNN's messages in training, only for speed: the function of `CGCNNConv.messages`, with a gradient of its own.

The table of all messages has one row per bond, and each step of the formula is a pass over it. Here a few thousand rows
at a time go through all steps, so that they stay in the CPU's cache, and the tables for the gradient are computed again
in the backward pass: only two are kept. A reader of the network can skip this module.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from course_lib.parallel import sum_over_processes

_ROWS = 2048  # of a block; with 128 columns they take 1 MiB


def _blocks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tables with one row per bond into blocks of rows."""
    return zip(*(table.split(_ROWS) for table in tables), strict=True)


class GatedSum(torch.autograd.Function):
    r"""Add up the messages that each atom receives, with the batch norm of this batch.

    .. math::

        z_m = W_e e_m + a_{i} + b_{j}, \qquad
        [u_m, v_m] = \gamma \odot \frac{z_m - \mu}{\sqrt{s^2 + \varepsilon}} + \beta, \qquad
        t_i = \sum_m w_m\, \sigma(u_m) \odot \mathrm{softplus}(v_m)

    with mean :math:`\mu` and variance :math:`s^2` over all bonds, by their weights :math:`w_m`, on all processes.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, e: Tensor, a: Tensor, b: Tensor, w_e: Tensor, bonds: Tensor, weight: Tensor, share: Tensor,
        gamma: Tensor, beta: Tensor, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Return the sums (N, F), and mean and variance of z (2F,) each.

        Bonds have features ``e`` (M, K), ends ``bonds`` (2, M), weights (M,) and shares of all weights (M,); atoms have
        ``a`` and ``b`` (N, 2F); ``w_e`` is (2F, K), ``gamma`` and ``beta`` (2F,).
        """
        source, target = bonds
        columns = w_e.T.contiguous()
        of_target, of_source = (share.new_zeros(len(a)).index_add(0, atoms, share) for atoms in (target, source))
        # z is linear in its inputs, so its mean needs no table; taken from a, it centres every row.
        mean = sum_over_processes((share @ e) @ columns + of_target @ a + of_source @ b)
        a = a - mean
        z = a.new_empty(len(e), a.shape[1])
        variance = torch.zeros_like(mean)
        for rows, features, j, i, part in _blocks(z, e, source, target, share):
            torch.index_select(a, 0, i, out=rows)
            rows += b.index_select(0, j)
            rows.addmm_(features, columns)
            variance += part @ rows.square()
        variance = sum_over_processes(variance)
        inverse = torch.rsqrt(variance + eps)

        half = a.shape[1] // 2
        core, total = a.new_empty(len(e), half), a.new_zeros(len(a), half)
        for rows, kept, i, w in _blocks(z, core, target, weight):
            normal = (rows * (gamma * inverse)).add_(beta)
            kept.copy_(torch.nn.functional.softplus(normal[:, half:]))
            total.index_add_(0, i, normal[:, :half].sigmoid().mul_(kept).mul_(w[:, None]))
        ctx.save_for_backward(e, z, core, w_e, bonds, weight, share, gamma * inverse, beta, inverse)
        ctx.n_atoms = len(a)
        ctx.mark_non_differentiable(mean, variance)
        return total, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of e, a, b, w_e, gamma and beta."""
        e, z, core, w_e, (source, target), weight, share, scale, beta, inverse = ctx.saved_tensors
        half = core.shape[1]
        normal_grad = torch.empty_like(z)
        grad_beta, grad_scale = torch.zeros_like(beta), torch.zeros_like(beta)
        for rows, kept, out, i, w in _blocks(z, core, normal_grad, target, weight):
            both = (rows * scale).add_(beta).sigmoid_()  # of u: the gate; of v: the slope of the softplus
            gate = both[:, :half]
            of_message = grad.index_select(0, i).mul_(w[:, None]).mul_(gate)
            torch.mul(of_message, both[:, half:], out=out[:, half:])
            torch.mul(of_message.mul_(kept), gate.neg_().add_(1), out=out[:, :half])
            grad_beta += out.sum(0)
            grad_scale += (out * rows).sum(0)
        grad_gamma = grad_scale * inverse
        # Every row also changes the mean and the variance of all rows, including those in other processes, by its
        # share.
        of_all_beta, of_all_gamma = sum_over_processes(torch.stack([grad_beta, grad_gamma]))

        grad_e = torch.empty_like(e) if ctx.needs_input_grad[0] else None
        grad_a, grad_b = z.new_zeros(2, ctx.n_atoms, z.shape[1])
        grad_columns = z.new_zeros(e.shape[1], z.shape[1])
        for number, (rows, features, out, j, i, part) in enumerate(_blocks(z, e, normal_grad, source, target, share)):
            out -= (rows * (inverse * of_all_gamma)).add_(of_all_beta).mul_(part[:, None])
            grad_a.index_add_(0, i, out)
            grad_b.index_add_(0, j, out)
            grad_columns.addmm_(features.T, out)
            if grad_e is not None:
                grad_e[number * _ROWS : number * _ROWS + len(out)] = out @ (w_e * scale[:, None])
        grad_w = (grad_columns * scale).T
        return grad_e, grad_a * scale, grad_b * scale, grad_w, None, None, None, grad_gamma, grad_beta, None
