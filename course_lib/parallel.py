"""Several processes that train one network together, each on its part of every batch (PyTorch's ``distributed``).

Where there is one process, all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from course_lib.validation import named

# Where what starts processes tells each its own number; Lightning reads the same.
_NUMBERS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_together = ContextVar("together", default=False)


@contextmanager
def together(number: int) -> Iterator[None]:
    """Say how many processes train together inside; where it is one, `started_as` is 0, whatever started it.

    In a SLURM job each process has a number even if it works alone.
    """
    token = _together.set(number > 1)
    try:
        yield
    finally:
        _together.reset(token)


def started_as() -> int:
    """Return which of the processes that train `together` this one is, even before they have found each other.

    What started them tells it by the environment, counted from 0; 0 where nothing does.
    """
    if n_processes() > 1:
        return dist.get_rank()
    return next((from_environment(name) for name in _NUMBERS if name in os.environ), 0) if _together.get() else 0


def from_environment(name: str) -> int:
    """Return a whole number that what started this process has set; raise ``ValueError`` where it is something else."""
    with named(f"the environment variable {name}", "Unset it, or start the processes with torchrun or srun."):
        return int(os.environ[name])


def check_environment() -> None:
    """Raise ``ValueError`` where the number of this process is not one: Lightning cannot be imported then."""
    for name in _NUMBERS:
        if name in os.environ:
            from_environment(name)


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


class Share(Sampler[int]):
    """The crystals that one of n processes takes: every n-th of an order that all share.

    Parameters
    ----------
    n_crystals : int
        Number of crystals.
    shuffle : bool, default False
        Whether each epoch has an order of its own. It is drawn as ``RandomSampler`` does.
    left_out : int, default 0
        How many crystals at the end of the order are left out.
    """

    def __init__(self, n_crystals: int, shuffle: bool = False, left_out: int = 0):
        self.n_crystals, self.shuffle, self.n_taken = n_crystals, shuffle, n_crystals - left_out

    def __len__(self) -> int:
        return len(range(process_number(), self.n_taken, n_processes()))

    def __iter__(self) -> Iterator[int]:
        order = self._shuffled() if self.shuffle else range(self.n_crystals)
        yield from order[process_number() : self.n_taken : n_processes()]

    def _shuffled(self) -> list[int]:
        seed = from_first_process(int(torch.empty((), dtype=torch.int64).random_().item()))
        if process_number() > 0:
            # Dropout differs between processes, and continues as it would have when a run is resumed.
            torch.manual_seed(seed + process_number())
        return torch.randperm(self.n_crystals, generator=torch.Generator().manual_seed(seed)).tolist()
