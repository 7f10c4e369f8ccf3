r"""How the errors of several tasks become one loss, :math:`L = \sum_k \lambda_k L_k`.

:math:`L_k` is the mean error of task k in the unit of its target, over the crystals of the batch whose label k is
known; :math:`\lambda_k` is the weight of the task, and makes errors in different units comparable. Networks work on
standardised targets, so a loss module reads the standardised error, :math:`\ell_k = L_k / s_k` with the target's
standard deviation :math:`s_k` over the training set, or :math:`L_k / s_k^2` for the squared error. The loss is the
same:

.. math:: \sum_k \lambda_k L_k = \sum_k w_k\, \ell_k, \qquad w_k = \lambda_k s_k \ (\text{or } \lambda_k s_k^2)

(divided by a constant where you choose the weights, see `FixedWeights`). Training is the same in whatever unit a target
is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

LOSSES = ("mae", "mse")
"""The errors that a network can be trained on: absolute and squared."""


def task_errors(output: Tensor, target: Tensor, known: Tensor, loss: str, n_labels: Tensor | None = None) -> Tensor:
    """Return the mean error of each task over the crystals whose label is known.

    Parameters
    ----------
    output, target : Tensor, shape (B, T)
        Predictions and labels; what is stored in the place of an unknown label is not read.
    known : Tensor of bool, shape (B, T)
        Where there is a label.
    loss : "mae" or "mse"
        Absolute or squared error.
    n_labels : Tensor, shape (T,), optional
        What the sum of the errors is divided by, if not the number of labels: where several processes share a batch,
        and the gradients are averaged over them, the mean number of labels per process.

    Returns
    -------
    Tensor, shape (T,)
        Zero for a task without any label, and so is its gradient.
    """
    _check_loss(loss)
    # Unknown labels are cut out before the error is computed: the gradient of a NaN times zero would be NaN.
    difference = torch.where(known, output - target, 0.0)
    error = difference.abs() if loss == "mae" else difference.square()
    return error.sum(0) / (known.sum(0).clamp(min=1) if n_labels is None else n_labels)


def _check_loss(loss: str) -> None:
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; choose one of {', '.join(LOSSES)}.")


def task_shares(terms: Tensor, shared: nn.Module) -> Tensor:
    """Return how much each task counts in a loss, and in the gradient of the loss by shared weights.

    The two differ: the derivative of an absolute error is 1 or -1, however large the error is.

    Parameters
    ----------
    terms : Tensor, shape (T,)
        What each task adds to the loss, such as its weight times its error, with the graph of its computation.
    shared : Module
        The part of the network that all tasks use, for example `MultiTask.trunk`.

    Returns
    -------
    Tensor, shape (2, T)
        Shares that add up to one in each row. First row: of the sum of the terms. Second row: of the sum of the
        lengths of their gradients.
    """
    weights = [weight for weight in shared.parameters() if weight.requires_grad]
    lengths = []
    for term in terms:
        gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        lengths.append(torch.cat([one.flatten() for one in gradients if one is not None]).norm())
    sizes = torch.stack([terms.detach(), torch.stack(lengths)])
    return sizes / sizes.sum(1, keepdim=True)


class TaskWeights(nn.Module):
    """The common part of three ways to weight tasks; a subclass defines `relative_weights`.

    Parameters
    ----------
    scale : Tensor, shape (T,)
        Standard deviation of each target over the training set, in its unit.
    loss : "mae" or "mse"
        The error that the weights multiply.
    """

    def __init__(self, scale: Tensor, loss: str):
        _check_loss(loss)
        super().__init__()
        self.register_buffer("scale", scale.detach().clone())
        self.loss = loss

    @property
    def relative_weights(self) -> Tensor:
        """The factors w_k in front of the errors of standardised targets, (T,)."""
        raise NotImplementedError

    @property
    def lambda_k(self) -> Tensor:
        """The weights of the tasks, (T,): factors in front of the errors in the units of the targets.

        In double precision: in joule, the weight of a squared error is beyond single precision.
        """
        return self.relative_weights.detach().cpu().double() / self._unit

    @property
    def shares(self) -> Tensor:
        """How much each task counts where an epoch is chosen, (T,), adding up to one: all equal.

        Learned weights change from epoch to epoch, so sums weighted by them could not be compared.
        """
        return torch.full_like(self.scale, 1 / len(self.scale))

    def forward(self, errors: Tensor, labelled: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        errors : Tensor, shape (T,)
            Mean error of each task, of standardised targets, as `task_errors` gives it.
        labelled : Tensor of bool, shape (T,)
            Which tasks have a label in this batch; the others contribute nothing.

        Returns
        -------
        Tensor, shape ()
        """
        return torch.where(labelled, self._terms(errors), 0.0).sum()

    def _terms(self, errors: Tensor) -> Tensor:
        return self.relative_weights * errors

    @property
    def _unit(self) -> Tensor:
        """What one unit of the standardised error is in the unit of the target, or its square, in double precision."""
        scale = self.scale.cpu().double()
        return scale if self.loss == "mae" else scale.square()


class FixedWeights(TaskWeights):
    r"""Weights that you choose, in front of the errors in their own units.

    The loss is divided by a constant, the mean over the tasks of :math:`\lambda_k s_k` (or :math:`\lambda_k s_k^2`), so
    that the size of its gradients depends neither on the units nor on whether all weights are made ten times as large.

    Parameters
    ----------
    weights : sequence of float, length T
        The lambdas, none negative and not all zero; a task of weight zero is not learned.
    scale, loss
        As for `TaskWeights`.

    Raises
    ------
    ValueError
        If a weight is negative or not a number, all are zero, their number is not that of the tasks, or they differ by
        more than single precision can hold.
    """

    def __init__(self, weights: Sequence[float], scale: Tensor, loss: str):
        super().__init__(scale, loss)
        check_task_weights(weights)
        if len(weights) != len(scale):
            raise ValueError(
                f"task_weights has {len(weights)} numbers, {tuple(weights)}, for {len(scale)} targets. "
                "Give one for each target."
            )
        self._weights = torch.tensor(weights, dtype=torch.float64)
        relative = self._weights * self._unit
        relative = (relative / relative.mean()).to(scale.dtype)
        lost = ~relative.isfinite() | ((relative == 0) & (self._weights > 0))
        if lost.any():
            number = int(lost.int().argmax())
            raise ValueError(
                f"number {number} of task_weights is {weights[number]}, which single precision cannot hold beside the "
                "others, each times the spread of its target. Give numbers that differ less."
            )
        self.register_buffer("relative", relative)

    @property
    def relative_weights(self) -> Tensor:
        """The factors w_k in front of the errors of standardised targets, (T,): in the mean one."""
        return self.relative

    @property
    def lambda_k(self) -> Tensor:
        """The weights as they were given, (T,)."""
        return self._weights

    @property
    def shares(self) -> Tensor:
        """How much each task counts where an epoch is chosen, (T,), adding up to one: as much as in the loss.

        So a task of weight zero does not count there either.
        """
        return self.relative_weights / self.relative_weights.sum()


class InverseScaleWeights(TaskWeights):
    """Each task counts in units of its own spread: lambda_k is 1/s_k, or 1/s_k squared for the squared error.

    In whatever unit a target is given, training is the same.
    """

    @property
    def relative_weights(self) -> Tensor:
        """The factors w_k in front of the errors of standardised targets, (T,): all one."""
        return torch.ones_like(self.scale)


class UncertaintyWeights(TaskWeights):
    r"""Weights that are learned with the network (Kendall, Gal and Cipolla, CVPR 2018).

    Each task is given a spread of its own, and the loss is the negative log-likelihood of the labels, without its
    constants. For the absolute error the labels scatter around the predictions by Laplace's law,
    :math:`p(y) = \exp(-|y - \hat y| / b_k) / 2 b_k`, and the mean over the labels gives

    .. math:: L = \sum_k \left( \frac{L_k}{b_k} + \log b_k \right), \qquad \lambda_k = \frac{1}{b_k}

    For the squared error the law is Gauss's, :math:`p(y) = \exp(-(y - \hat y)^2 / 2 s_k^2) / \sqrt{2 \pi} s_k`:

    .. math:: L = \sum_k \left( \frac{L_k}{2 s_k^2} + \log s_k \right), \qquad \lambda_k = \frac{1}{2 s_k^2}

    The first term alone would drive the spread to infinity, the logarithm keeps it small. Both together are smallest
    where :math:`b_k = L_k`, and :math:`s_k^2 = L_k`: a task counts in units of its own current error.

    What is learned is the logarithm of the spread in units of the target's standard deviation. It starts at zero, where
    the tasks are weighted as by `InverseScaleWeights` (for the squared error, all multiplied by one half).

    Parameters
    ----------
    scale, loss
        As for `TaskWeights`.
    """

    def __init__(self, scale: Tensor, loss: str):
        super().__init__(scale, loss)
        self.log_spread = nn.Parameter(torch.zeros_like(self.scale))

    @property
    def relative_weights(self) -> Tensor:
        """The factors w_k in front of the errors of standardised targets, (T,)."""
        return torch.exp(-self.log_spread) if self.loss == "mae" else torch.exp(-2 * self.log_spread) / 2

    @property
    def spread(self) -> Tensor:
        """The learned spreads b_k, or s_k for the squared error, (T,), in the units of the targets."""
        return self.log_spread.detach().exp() * self.scale

    def _terms(self, errors: Tensor) -> Tensor:
        return super()._terms(errors) + self.log_spread


_BY_NAME = {"inverse_scale": InverseScaleWeights, "uncertainty": UncertaintyWeights}


def check_task_weights(weights: str | Sequence[float]) -> None:
    """Raise ``ValueError`` if `make_task_weights` could not use `weights` for any number of tasks."""
    if isinstance(weights, str):
        if weights not in _BY_NAME:
            raise ValueError(
                f"task_weights is {weights!r}; choose one of {', '.join(_BY_NAME)}, or give a number for each target."
            )
        return
    if not isinstance(weights, Sequence):
        raise ValueError(
            f"task_weights is {weights!r}; choose one of {', '.join(_BY_NAME)}, or give a list of numbers."
        )
    for position, weight in enumerate(weights):
        if isinstance(weight, bool) or not (isinstance(weight, Real) and 0 <= weight < float("inf")):  # nor NaN
            raise ValueError(f"number {position} of task_weights is {weight}; give numbers from zero up.")
    if not any(weights):
        raise ValueError(f"task_weights is {tuple(weights)}: nothing would be learned. Give one target a weight.")


def make_task_weights(weights: str | Sequence[float], scale: Tensor, loss: str) -> TaskWeights:
    """Make the module that weights the tasks.

    Parameters
    ----------
    weights : "inverse_scale", "uncertainty" or sequence of float, length T
        Which of them, or the lambdas of `FixedWeights`.
    scale : Tensor, shape (T,)
        Standard deviation of each target over the training set, in its unit.
    loss : "mae" or "mse"
        Absolute or squared error.

    Returns
    -------
    TaskWeights

    Raises
    ------
    ValueError
        If no scheme has that name, or the numbers cannot be used.
    """
    check_task_weights(weights)
    return _BY_NAME[weights](scale, loss) if isinstance(weights, str) else FixedWeights(weights, scale, loss)
