"""Several processes that train one network together, each on its part of every batch (PyTorch's ``distributed``).

Where there is one process, all of this does nothing.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def n_processes() -> int:
    """Return how many processes work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_number() -> int:
    """Return which of them this one is, counted from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def sum_over_processes(values: Tensor) -> Tensor:
    """Add up the tensors of all processes, which are of one shape; no gradient flows through the sum."""
    if n_processes() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def from_first_process(value: object) -> object:
    """Return what process 0 gives, in all of them."""
    if n_processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all_processes(value: object) -> list:
    """Return what each process gives, in the order of their numbers."""
    if n_processes() == 1:
        return [value]
    box = [None] * n_processes()
    dist.all_gather_object(box, value)
    return box
