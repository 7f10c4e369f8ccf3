"""What `course_lib.training.fit` gives to Lightning, and guards around it."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torchmetrics import MeanMetric

from course_lib import __version__
from course_lib.files import replacing
from course_lib.losses import task_errors
from course_lib.parallel import n_processes, sum_over_processes
from course_lib.validation import named

if TYPE_CHECKING:
    from pathlib import Path

    from torch_geometric.data import Batch

    from course_lib.training import CrystalRegressor, FitConfig

_HASTE = 10  # factor for learned task weights: at the rate of the network they would not converge before it stops


class Fitting(lightning.LightningModule):
    """How Lightning trains a `course_lib.training.CrystalRegressor`: its parts are this module's, under the same names.

    Parameters
    ----------
    regressor : CrystalRegressor
        What is trained, in place.
    """

    def __init__(self, regressor: CrystalRegressor):
        super().__init__()
        self.about = regressor.about
        self.network = regressor.network
        self.target_scaler, self.task_weights = regressor.target_scaler, regressor.task_weights
        # An error that is NaN must show in the mean; by default the metric would leave it out. (What the metric calls
        # "disable" would do as well, but torchmetrics 1.9 then forgets the weights.)
        self.train_loss = MeanMetric(nan_strategy=math.nan)
        names = self.about["target_names"]
        self.val_errors = torch.nn.ModuleList(MeanMetric(nan_strategy=math.nan) for _ in names)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; Lightning's own way looks at every entry of it in Python first."""
        return batch.to(device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch with standardised targets, over the labels that are known."""
        known = batch.y_mask
        output, wanted = self.network(batch), batch.y
        n_labels = sum_over_processes(known.sum(0))  # the processes may hold different numbers of them
        per_process = n_labels.clamp(min=1) / n_processes()
        errors = task_errors(output, wanted, known, self.task_weights.loss, per_process)
        loss = self.task_weights(errors, n_labels > 0)
        self.train_loss.update(loss.detach(), n_labels.sum())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the absolute errors of one batch with standardised targets to the epoch's means."""
        error = (self.network(batch) - batch.y).abs()
        for k, metric in enumerate(self.val_errors):
            metric.update(error[:, k][batch.y_mask[:, k]])

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's training loss and the error that chooses the best epoch; keep the rest for the history."""
        errors = torch.stack([metric.compute() for metric in self.val_errors])
        in_units = errors.cpu().double() * self.target_scaler.std
        self.epoch = {}
        for name, error, weight in zip(self.about["target_names"], in_units, self.task_weights.lambda_k, strict=True):
            self.epoch |= {f"val_mae_{name}": error.item(), f"lambda_{name}": weight.item()}
        found = {"train_loss": self.train_loss.compute(), "val_error": (self.task_weights.shares * errors).sum()}
        for metric in (self.train_loss, *self.val_errors):
            metric.reset()
        # The metrics have joined the processes already; `sync_dist` is only what silences Lightning.
        self.log_dict(found, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add what the regressor is made from, and the version of this library."""
        checkpoint |= {"hyper_parameters": self.about, "course_lib": __version__}

    def configure_optimizers(self) -> dict:
        """AdamW with a one-cycle learning rate over all steps; learned task weights have a higher rate and no decay."""
        rate, decay = self.about["config"]["learning_rate"], self.about["config"]["weight_decay"]
        groups = [
            {"params": self.network.parameters(), "weight_decay": decay},
            {"params": self.task_weights.parameters(), "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [rate, _HASTE * rate], total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class History(Callback):
    """Keep the logged numbers of every epoch; they travel in the checkpoint, so a resumed run has them all.

    The random generators' states go along: they decide the shuffling and dropout of the next epoch. Those of the first
    process are enough, see `course_lib.parallel.Share`.
    """

    def __init__(self):
        self.rows: list[dict] = []
        self.begun = False  # whether training has started, after a checkpoint was read

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Fitting) -> None:
        """Note that errors are no longer about the checkpoint."""
        self.begun = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Fitting) -> None:
        """Keep what was logged in this epoch."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"train_loss": logged["train_loss"], **pl_module.epoch, "val_error": logged["val_error"]})

    def state_dict(self) -> dict:
        """Return what goes into the checkpoint."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return {"rows": self.rows, "rng": torch.get_rng_state(), "cuda_rng": cuda}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take what `state_dict` returned."""
        self.rows = state_dict["rows"]
        torch.set_rng_state(state_dict["rng"])  # next, Lightning makes the loader's iterator, which draws from it
        if state_dict["cuda_rng"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state_dict["cuda_rng"])


def trainer(config: FitConfig, history: History, folder: Path) -> lightning.Trainer:
    """Return what trains; raise ``ValueError`` where the settings do not work on this machine."""
    # Both at the end of an epoch, after the history: a resumed run finds the epoch finished.
    settings = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks = [history, EndAtSigterm(), ModelCheckpoint(folder, "best", monitor="val_error", **settings)]
    if config.folder is not None:
        callbacks.append(ModelCheckpoint(folder, "last", **settings))
    if config.patience is not None:
        callbacks.append(EarlyStopping("val_error", patience=config.patience))
    # A graph that stays the same may have parameters that nothing uses. Buffers need no copying around: batch norm
    # computes the same running means in all processes.
    strategy = "auto" if config.n_processes == 1 else DDPStrategy(static_graph=True, forward_sync_buffers=False)
    # A process that trains alone does so in a SLURM job with several tasks, too.
    alone = [LightningEnvironment()] if config.n_processes == 1 else []
    with named("the settings accelerator, devices, num_nodes and precision do not work here"):
        return lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=strategy,
            use_distributed_sampler=False,  # Lightning's uses some crystals twice, to give each process equally many
            plugins=[WholeFiles(), *alone],
            precision=config.precision,
            max_epochs=config.epochs,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=config.progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )


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
