"""Fit a network to crystals and predict with it, on Lightning.

On several GPUs, or several machines, one process per device trains on its part of every batch, and all take the same
steps as one process would: batch norm and loss are those of the whole batch. The processes are started

- on one machine, by ``FitConfig(devices=4)`` in a script (not in a notebook): Lightning runs the script again for every
  other device;
- by ``torchrun --nproc-per-node 4 script.py``, with ``--nnodes`` and ``--rdzv-endpoint`` for several machines;
- by ``srun python script.py`` in a SLURM job with ``--ntasks-per-node`` equal to ``devices`` and ``--nodes`` to
  ``num_nodes``.

Every process runs the whole script, so all of them call `fit` and `predict`, and all get the whole result.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from packaging.version import Version
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_lib import __version__
from course_lib.files import check_zip, locked
from course_lib.graphs import CrystalGraphs
from course_lib.losses import LOSSES, check_task_weights, make_task_weights
from course_lib.models import CrystalModel, build, describe
from course_lib.parallel import (
    Share,
    check_environment,
    from_all_processes,
    from_environment,
    from_first_process,
    n_processes,
    started_as,
    together,
)
from course_lib.scaling import mean_and_std
from course_lib.validation import LARGEST, check_number, check_seed, describe_row, named, plain

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    from course_lib.lightning_parts import History

_PREDICT_BATCH = 128  # crystals; the result does not depend on it, and 512 of 30 atoms would take 300 MB more
PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")
"""Number formats that a network can be trained in, as Lightning calls them."""

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
"""Kinds of devices, as Lightning calls them."""

_SETTINGS_OF_A_RUN = (
    "epochs", "batch_size", "learning_rate", "weight_decay", "loss", "task_weights", "patience", "seed", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Parameters
    ----------
    epochs : int, default 100
        Passes over the training set; fewer where `patience` ends it.
    batch_size : int, default 64
        Crystals in a step, all devices together.
    learning_rate : float, default 5e-3
        Peak learning rate of the one-cycle schedule (Smith and Topin, 2018) with AdamW.
    weight_decay : float, default 1e-5
        Weight decay of AdamW, for the network's weights only.
    loss : "mae" or "mse", default "mae"
        Absolute or squared error.
    task_weights : "inverse_scale", "uncertainty" or tuple of float, default "inverse_scale"
        How the mean errors of several targets become one loss: each in units of the target's standard deviation,
        with weights learned alongside the network (at ten times its learning rate, without decay), or multiplied by
        numbers of your own, one for each target, in their own units. See `course_lib.losses`. A target of weight zero
        is not trained on, and does not count in the choice of the best epoch.
    patience : int, optional
        Stop after this many epochs without a better validation error. None: never.
    seed : int, default 0
        Seed of the shuffling and of dropout. Seed the model's initial weights yourself, before you make it.
    precision : str, default "32-true"
        Lightning's name for the number format, one of `PRECISIONS`, for example "bf16-mixed".
    accelerator, devices, num_nodes : default "auto", 1, 1
        Where to run: the kind (one of `ACCELERATORS`) and number of devices in a machine, and the number of machines.
    folder : path, optional
        Where ``best.ckpt`` and ``last.ckpt`` are kept; several machines have to share it. None: nowhere.
    resume : bool, default False
        Continue from ``last.ckpt`` in `folder`, if it exists. If False, the files of an earlier run are removed there.
    progress : bool, default False
        Show a progress bar.

    Raises
    ------
    ValueError
        If a setting is not a value of its kind, or out of range.
    """

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-5
    loss: str = "mae"
    task_weights: str | tuple[float, ...] = "inverse_scale"
    patience: int | None = None
    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    folder: str | os.PathLike | None = None
    resume: bool = False
    progress: bool = False

    @property
    def n_processes(self) -> int:
        """How many processes train together, one per device."""
        return self.devices * self.num_nodes

    def __post_init__(self):
        # Plain values only, as checkpoints hold them: settings may come from NumPy, and lists from a JSON file.
        values = {name: plain(value) for name, value in vars(self).items()}
        if isinstance(self.task_weights, tuple | list | np.ndarray):
            values["task_weights"] = tuple(plain(weight) for weight in self.task_weights)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Raise ``ValueError`` naming a setting that is out of range."""
        for name, least in (("epochs", 1), ("batch_size", 2), ("devices", 1), ("num_nodes", 1)):
            check_number(name, getattr(self, name), whole=True, least=least)  # batch norm needs more than one crystal
        if self.patience is not None:
            check_number("patience", self.patience, whole=True, least=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, least=0)
        check_seed(self.seed)
        check_task_weights(self.task_weights)
        for name, choices in (("loss", LOSSES), ("precision", PRECISIONS), ("accelerator", ACCELERATORS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}.")
        for name in ("resume", "progress"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be true or false.")
        if self.folder is not None and os.fspath(self.folder).startswith("~"):
            raise ValueError(
                f"folder is {os.fspath(self.folder)!r}: only a shell expands '~'. Give Path({os.fspath(self.folder)!r})"
                ".expanduser()."
            )
        if self.resume and self.folder is None:
            raise ValueError("resume=True needs the folder of the run to continue.")


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes
    ----------
    model : CrystalRegressor
        With the weights of the epoch that had the smallest validation error, ready for `predict`.
    history : DataFrame
        One row per epoch: ``train_loss``; ``val_mae_NAME`` for each target, in its unit; ``lambda_NAME``, the target's
        weight in the loss after the epoch; and ``val_error``, by which the best epoch is chosen: the mean over the
        targets of their mean absolute errors in units of their standard deviations, where each counts as much as
        in the loss if you chose the weights yourself.
    best_epoch : int
        The epoch of `model`'s weights.
    seconds : float
        Wall time of the training.
    """

    model: CrystalRegressor
    history: pd.DataFrame
    best_epoch: int
    seconds: float


class TargetScaler(nn.Module):
    """Mean and standard deviation of the targets over the training set, which predictions return to.

    Both are in double precision and stay on the CPU, whatever device the network is on: total energies may differ by
    little on a large offset, and not every device has double precision. They are saved with the model.

    Parameters
    ----------
    n_targets : int
        Number of targets, T.
    """

    def __init__(self, n_targets: int):
        super().__init__()
        # No buffers: those would follow the network to its device.
        self.mean = torch.zeros(n_targets, dtype=torch.float64)
        self.std = torch.ones(n_targets, dtype=torch.float64)

    def fit(self, graphs: CrystalGraphs) -> TargetScaler:
        """Take mean and standard deviation from the known labels of `graphs`; returns itself."""
        self.mean, self.std = map(torch.from_numpy, mean_and_std(graphs.targets, graphs.target_names, graphs.names))
        return self

    def standardised(self, graphs: CrystalGraphs) -> CrystalGraphs:
        """Return the same crystals with standardised targets; raise ``ValueError`` for an extreme outlier."""
        with np.errstate(over="ignore"):
            y = (graphs.y - self.mean.numpy()) / self.std.numpy()
        beyond = np.argwhere(np.abs(y[graphs.rows]) > LARGEST)
        if len(beyond):
            row, column = beyond[0]
            value = graphs.targets[row, column]
            raise ValueError(
                f"{graphs.target_names[column]}: {describe_row(row, graphs.names)} is {value}; too far from the "
                "training set for single precision. Fix the value or drop the row."
            )
        return replace(graphs, y=y)

    def inverse(self, values: Tensor) -> Tensor:
        """Return standardised ``values`` (B, T) to the units of the targets, in double precision on the CPU."""
        return values.cpu().double() * self.std + self.mean

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}mean"], destination[f"{prefix}std"] = self.mean, self.std

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *others: object) -> None:
        self.mean, self.std = (state_dict[prefix + name].cpu().double() for name in ("mean", "std"))


class CrystalRegressor(nn.Module):
    """A network with everything that turns its output into predictions: target scaler, target names, training settings.

    Attributes
    ----------
    network : CrystalModel
        Works on standardised targets.
    target_scaler : TargetScaler
        Mean and standard deviation of the targets over the training set.
    task_weights : TaskWeights or None
        Combines the errors of all targets into one loss; None where the network was not trained here.
    about : dict
        What makes another of its kind: ``description`` of the network, ``target_names``, ``config`` of the training and
        ``checksums`` of its crystals.
    """

    def __init__(
        self,
        description: dict,
        target_names: list[str],
        config: dict,
        checksums: dict[str, str] | None = None,
        network: CrystalModel | None = None,
        target_scaler: TargetScaler | None = None,
    ):
        super().__init__()
        self.about = {
            "description": description,
            "target_names": target_names,
            "config": config,
            "checksums": checksums,
        }
        self.network = build(description) if network is None else network
        self.target_scaler = TargetScaler(len(target_names)) if target_scaler is None else target_scaler
        self.task_weights = (
            make_task_weights(config["task_weights"], self.target_scaler.std.float(), config["loss"])
            if config
            else None
        )

    @property
    def target_names(self) -> list[str]:
        """Names of the columns that it predicts."""
        return self.about["target_names"]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def forward(self, batch: Batch) -> Tensor:
        """Predict in the units of the targets: (B, n_targets), in double precision on the CPU."""
        return self.target_scaler.inverse(self.network(batch))


def fit(model: CrystalModel, train: CrystalGraphs, val: CrystalGraphs, config: FitConfig | None = None) -> FitResult:
    """Train `model` and return it with the weights that had the smallest validation error.

    Targets are standardised with the mean and standard deviation of the training set, and so is anything else that the
    model scales (`CrystalModel.fit_preprocessing`). The model's weights are changed in place.

    Parameters
    ----------
    model : CrystalModel
        With as many outputs as the graphs have targets.
    train, val : CrystalGraphs
        Training crystals, and crystals to choose the best epoch.
    config : FitConfig, optional
        How to train.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If there is nothing to train on or to validate with, the model's outputs and the targets do not fit, the batches
        cannot be divided among the devices, or the run to continue had other settings, other crystals or another
        version of this library, or its checkpoint is damaged.
    FloatingPointError
        If the validation error is not a number after every epoch.
    OSError
        If a checkpoint cannot be written, or another training run is active in the folder (``TimeoutError``).
    SystemExit
        With code 143, when the process receives SIGTERM; the last checkpoint stays.
    """
    check_environment()
    from lightning import seed_everything  # importing Lightning takes longer than to predict

    from course_lib import lightning_parts as parts

    config = FitConfig() if config is None else config
    _check(model, train, val)
    seed_everything(config.seed, verbose=False)
    scaler = TargetScaler(len(train.target_names)).fit(train)
    scaled_train, scaled_val = scaler.standardised(train), scaler.standardised(val)
    checksums = {"training": train.checksum, "validation": val.checksum}
    regressor = CrystalRegressor(
        describe(model), list(train.target_names), _plain(config), checksums, network=model, target_scaler=scaler
    )
    model.fit_preprocessing(torch.from_numpy(train.features))
    history = parts.History()
    with (
        together(config.n_processes),
        _checkpoint_folder(config) as folder,
        parts.quiet_lightning(),
        flush_denormals(),
        parts.interruptible(),
    ):
        last_checkpoint = folder / "last.ckpt"
        resume = config.resume and last_checkpoint.exists()
        if resume:
            for checkpoint in filter(Path.exists, (last_checkpoint, folder / "best.ckpt")):
                with named(checkpoint):
                    _check_same_run(checkpoint, regressor)
        trainer = parts.trainer(config, history, folder)
        _check_shares(trainer.world_size, config.batch_size, train, val)
        if not resume:  # a kill before the first epoch ends must not leave an earlier run to be resumed
            for name in ("best.ckpt", "last.ckpt"):
                (folder / name).unlink(missing_ok=True)
        start = time.perf_counter()
        history.begun = not resume
        with _restoring(last_checkpoint, history):
            trainer.fit(
                parts.Fitting(regressor),
                _training_loader(scaled_train, config.batch_size, trainer.world_size),
                _loader(scaled_val, scaled_val.batch),
                ckpt_path=last_checkpoint if resume else None,
                weights_only=True,
            )
            seconds = time.perf_counter() - start
            rows = pd.DataFrame(history.rows).rename_axis("epoch")
            not_learned = rows["val_error"].isna().all()
        if not_learned:
            raise FloatingPointError("the validation error was never a number: lower the learning rate.")
        with named(folder / "best.ckpt"):
            best = _read(folder / "best.ckpt")["state_dict"] if trainer.is_global_zero else None
            regressor.load_state_dict(from_first_process(best))
    return FitResult(regressor.eval(), rows, int(rows["val_error"].idxmin()), seconds)


def load(checkpoint: str | os.PathLike) -> CrystalRegressor:
    """Load what `fit` kept in its folder (``best.ckpt`` or ``last.ckpt``), ready for `predict`.

    Only tensors and plain values are read (``weights_only=True``): a checkpoint cannot run code.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is damaged, not a checkpoint of this library, or written by a newer version of it.
    """
    with named(checkpoint):
        content = _read(Path(checkpoint))
        model = CrystalRegressor(**content["hyper_parameters"])
        if not all(isinstance(name, str) for name in model.target_names):
            raise ValueError(f"the target names are {model.target_names!r}, not text.")
        model.load_state_dict(content["state_dict"])
    return model.eval()


def predict(model: CrystalRegressor, graphs: CrystalGraphs) -> pd.DataFrame:
    """Predict the targets of all crystals.

    If several processes have trained together, all must call this; each predicts a part and gets the whole.

    Parameters
    ----------
    model : CrystalRegressor
        From ``fit(...).model`` or `load`.
    graphs : CrystalGraphs
        The crystals; their own targets, if they have any, are not read.

    Returns
    -------
    DataFrame, shape (len(graphs), n_targets)
        Indexed by crystal id, one column per target, in the targets' units.
    """
    model.eval()
    with torch.inference_mode():
        parts = [model(_on(model.device, tensors)).numpy() for tensors in _loader(graphs, graphs.tensors)]
    values = np.zeros((len(graphs), len(model.target_names)))
    for number, part in enumerate(from_all_processes(np.concatenate(parts) if parts else values[:0])):
        values[number :: n_processes()] = part
    return pd.DataFrame(values, index=pd.Index(graphs.names, name="id"), columns=model.target_names)


def _check(model: CrystalModel, train: CrystalGraphs, val: CrystalGraphs) -> None:
    for name, graphs, least in (("training", train, 2), ("validation", val, 1)):
        if len(graphs) < least:
            raise ValueError(f"the {name} set has {len(graphs)} crystals; it needs at least {least}.")
    if train.target_names != val.target_names:
        raise ValueError(f"training and validation targets differ: {train.target_names}, {val.target_names}.")
    if model.n_targets != len(train.target_names):
        raise ValueError(
            f"the model predicts {model.n_targets} targets, the graphs have {len(train.target_names)} "
            f"({', '.join(train.target_names) or 'none'}). Make the model with n_targets={len(train.target_names)}, "
            "or give from_structures other targets."
        )
    for part, graphs in (("training", train), ("validation", val)):
        unlabelled = np.isnan(graphs.targets).all(axis=0)
        if unlabelled.any():
            name = graphs.target_names[int(np.argmax(unlabelled))]
            raise ValueError(
                f"target {name!r} has no label in the {part} set. Drop the target or split the crystals differently."
            )


def _check_shares(n_shares: int, batch_size: int, train: CrystalGraphs, val: CrystalGraphs) -> None:
    """Raise ``ValueError`` when some process would have nothing to do, or something different."""
    started = (
        from_environment("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1
    )  # by torchrun, or by Lightning for an earlier call
    if started not in (1, n_shares):
        raise ValueError(
            f"{started} processes run this script, but the settings ask for {n_shares}. Give FitConfig the "
            "devices per machine and num_nodes that match."
        )
    if batch_size % n_shares:
        raise ValueError(f"batch_size is {batch_size}; it must be a multiple of the {n_shares} devices that share it.")
    for name, graphs in (("training", train), ("validation", val)):
        if len(graphs) < n_shares:
            raise ValueError(f"the {name} set has {len(graphs)} crystals; it needs {n_shares} or more, one per device.")


def _check_same_run(checkpoint: Path, regressor: CrystalRegressor) -> None:
    """Raise ``ValueError`` when the run to continue is a different one."""
    content, now = _read(checkpoint), regressor.about
    before = content["hyper_parameters"]
    pairs = [
        ("version of course_lib", content["course_lib"], __version__),
        ("model", before["description"], now["description"]),
        ("target_names", before["target_names"], now["target_names"]),
    ]
    pairs += [
        (f"{part} crystals of checksum", before["checksums"][part], checksum)
        for part, checksum in now["checksums"].items()
    ]
    pairs += [(name, before["config"][name], now["config"][name]) for name in _SETTINGS_OF_A_RUN]
    for name, old, new in pairs:
        if old != new:
            raise ValueError(
                f"the run in {checkpoint.parent} was started with {name} = {old!r}, not {new!r}. Continue with the "
                "same settings, or choose another folder."
            )


def _plain(config: FitConfig) -> dict:
    """Return the settings as a dict of plain values, as a checkpoint may hold them."""
    return {key: str(value) if isinstance(value, os.PathLike) else value for key, value in asdict(config).items()}


def _training_loader(graphs: CrystalGraphs, batch_size: int, n_shares: int) -> DataLoader:
    # A last batch of one crystal with one atom has no spread to normalise by, and each process needs a crystal. A
    # smaller last batch is left out until the next shuffle.
    rest = len(graphs) % batch_size
    left_out = rest if len(graphs) > batch_size and rest < max(2, n_shares) else 0
    share = Share(len(graphs), shuffle=True, left_out=left_out)
    return DataLoader(range(len(graphs)), batch_size // n_shares, sampler=share, collate_fn=graphs.batch)


def _loader(graphs: CrystalGraphs, gather: Callable) -> DataLoader:
    return DataLoader(range(len(graphs)), _PREDICT_BATCH, sampler=Share(len(graphs)), collate_fn=gather)


def _on(device: torch.device, tensors: dict[str, Tensor]) -> SimpleNamespace:
    """Return the attributes of a PyG batch that a network reads; importing PyG takes longer than many a prediction."""
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    return SimpleNamespace(**on_device, num_graphs=len(tensors["y"]), num_nodes=len(tensors["species"]))


@contextmanager
def _restoring(checkpoint: Path, history: History) -> Iterator[None]:
    """Name the checkpoint in errors raised before the training continues: they are about its content."""
    try:
        yield
    except Exception:
        if history.begun:
            raise
        with named(checkpoint):
            raise


def _read(checkpoint: Path) -> dict:
    """Return the content of a checkpoint of `fit`; raise an error that says what is wrong with it."""
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {checkpoint}. fit(..., FitConfig(folder=...)) writes best.ckpt there."
        )
    try:
        check_zip(checkpoint)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"{checkpoint} is damaged, or not a checkpoint: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
    if not isinstance(content, dict) or "course_lib" not in content:
        raise ValueError(
            f"{checkpoint} is not a checkpoint of this library. Those of the original CGCNN code are read by "
            "course_lib.published.load_published."
        )
    if Version(content["course_lib"]) > Version(__version__):
        raise ValueError(
            f"{checkpoint} was written by course_lib {content['course_lib']}, this is {__version__}: install the newer."
        )
    return content


@contextmanager
def _checkpoint_folder(config: FitConfig) -> Iterator[Path]:
    if config.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        with alone_in(config.folder):
            yield Path(config.folder)


@contextmanager
def alone_in(folder: str | os.PathLike) -> Iterator[None]:
    """Lock a folder, created if missing, against other training runs; processes that train together count as one.

    Raises
    ------
    TimeoutError
        If another training run is active there.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    if started_as() > 0:
        yield
        return
    with locked(Path(folder, ".lock"), f"the run in {folder}", seconds=0):
        yield


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Round denormal numbers to zero: small gradients become denormal, and some processors are very slow with them."""
    before = bool(torch.tensor(torch.finfo(torch.float32).tiny) / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
