"""Guards around Lightning while `course_lib.training.fit` runs, and the sampler of several processes."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import Sampler

from course_lib.files import replacing
from course_lib.parallel import from_first_process, n_processes, process_number


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint under another name, then rename it, so that a kill never leaves a half-written one.

    Lightning writes to the system's temporary folder first; if that is another disk, the file is then copied.
    """

    def save_checkpoint(self, checkpoint: dict, path: str, storage_options: object = None) -> None:
        """Write the whole file; raise ``OSError`` where that cannot be done."""
        try:
            with replacing(path) as temporary:
                torch.save(checkpoint, temporary)
        except RuntimeError as error:  # PyTorch raises this if the disk is full
            raise OSError(f"{path} cannot be written; is the disk full? {str(error).splitlines()[0]}") from error


class EndAtSigterm(Callback):
    """End the training as soon as the process receives SIGTERM, with the exit code 143 that this signal implies.

    Lightning would continue to the end of the batch, wait there for the other processes, and exit with code 0, as if
    the training were complete.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Replace Lightning's handler, which it removes when the training ends."""

        def end(number: int, frame: FrameType | None) -> None:
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)  # the processes that Lightning started
            raise SystemExit(128 + number)

        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, end)


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


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says at every start: devices found, tips, advice on loader processes.

    Batches are cut from arrays in memory, faster than a worker process could send them.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # Lightning 2.6.6 still calls torch 2.13 in the old way.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Round denormal numbers to zero: small gradients become denormal, and some processors are very slow with them."""
    before = bool(torch.tensor(torch.finfo(torch.float32).tiny) / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C, or a notebook's stop button, arrive as ``KeyboardInterrupt``; Lightning makes it ``SystemExit``.

    It also turns SIGTERM into a success, if the signal comes before `EndAtSigterm` waits for it.
    """
    try:
        yield
    except SIGTERMException as error:
        raise SystemExit(128 + signal.SIGTERM) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
