"""Published CGCNN checkpoints: the files that the original code writes, read into this library's network.

The original code is https://github.com/txie-93/cgcnn (Xie and Grossman, PRL 120, 145301 (2018)); its folder
``pre-trained`` has checkpoints of seven properties and one classifier.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.files import check_zip
from course_lib.models import PublishedCGCNN, describe
from course_lib.training import CrystalRegressor
from course_lib.validation import check_number, named

UNITS = {
    "formation_energy_per_atom": "eV/atom",
    "final_energy_per_atom": "eV/atom",
    "band_gap": "eV",
    "efermi": "eV",
    "bulk_moduli": "log10(GPa)",
    "shear_moduli": "log10(GPa)",
    "poisson_ratio": "1",
    "metal_semi": "probability",
}
"""Unit of each property that the authors published weights for, by the name in the file."""

_NAMES = {  # part of a parameter's name: theirs -> ours
    "embedding": "atom_embedding",
    "fc_full": "linear",
    "bn1": "message_norm",
    "bn2": "sum_norm",
    "conv_to_fc": "crystal_embedding",
    "fc_out": "out",
}
_PARTS = {"state_dict", "normalizer", "args"}
# A classifier's file holds its best score as a NumPy number, under the module's name of NumPy 1.
_NUMPY_NUMBER = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np._core.multiarray.scalar,
    np.dtype,
    np.dtypes.Float64DType,
]


def load_published(path: str | os.PathLike) -> CrystalRegressor:
    """Read a checkpoint that the original CGCNN code wrote (``model_best.pth.tar``), ready for `training.predict`.

    Only tensors and plain values are read (``weights_only=True``): the file cannot run code. The target is called
    ``"target"``, or what the file calls it, as the authors' own files do. A classifier predicts the probability of
    class 1. Their own files, of PyTorch before 1.6, hold no checksums: damage to numbers in them is not noticed.

    Parameters
    ----------
    path : path
        The file; any number of convolutions and any sizes of `CGCNN`.

    Returns
    -------
    CrystalRegressor
        Its network is a `PublishedCGCNN`: it counts 12 neighbours per atom, as the original does.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file was not written by the original code, its network has more than one hidden layer or other features
        of atoms or bonds than the original, or a number in it is not finite.
    """
    with named(path):
        return _load(Path(path))


def _load(path: Path) -> CrystalRegressor:
    checkpoint = _read(path)
    weights, arguments = checkpoint["state_dict"], checkpoint["args"]
    _check_layers(path, weights)
    classifier = arguments["task"] == "classification"
    if classifier:  # softmax of two outputs is the sigmoid of their difference
        for name in ("fc_out.weight", "fc_out.bias"):
            weights[name] = weights[name][1:] - weights[name][:1]
    network = PublishedCGCNN(
        classifier=classifier,
        hidden=weights["embedding.weight"].shape[0],
        n_conv=len({name.split(".")[1] for name in weights if name.startswith("convs.")}),
        embedding=weights["conv_to_fc.weight"].shape[0],
    )
    _load_weights(path, network, weights)
    model = CrystalRegressor(describe(network), [_target_name(arguments)], {}, network=network)
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds what is not a finite number.")
    mean, std = (float(checkpoint["normalizer"][name]) for name in ("mean", "std"))
    check_number("the mean of the targets", mean)
    check_number("the standard deviation of the targets", std, above=0)
    model.target_scaler.mean.fill_(mean)
    model.target_scaler.std.fill_(std)
    return model.eval()


def _read(path: Path) -> dict:
    """Return the content of the file; raise ``ValueError`` where it is not a checkpoint of the original code."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.")
    content = io.BytesIO(path.read_bytes())
    try:
        if zipfile.is_zipfile(path):  # files of PyTorch before 1.6 are not zip files, and have no checksums
            check_zip(path)
        with torch.serialization.safe_globals(_NUMPY_NUMBER):
            checkpoint = torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        damaged = "it is damaged or was not written by torch.save"
        why = f"it holds {found[1]}, which might run code" if found else damaged
        raise ValueError(f"cannot read {path}: {why}. Fetch it again from where it was published.") from error
    missing = _PARTS - set(checkpoint) if isinstance(checkpoint, dict) else _PARTS
    if missing:
        raise ValueError(
            f"{path} is not a checkpoint of the original CGCNN code: it has no {', '.join(sorted(missing))}. "
            "A checkpoint of this library is read by course_lib.training.load."
        )
    return checkpoint


def _check_layers(path: Path, weights: dict[str, Tensor]) -> None:
    """Raise ``ValueError`` where the network was made in a way that ours is not."""
    if any(name.startswith("fcs.") for name in weights):
        raise ValueError(f"{path} has more than one hidden layer after pooling (--n-h); only one is supported.")
    for name, wanted, what in (
        ("embedding.weight", 92, "features per atom (atom_init.json)"),
        ("convs.0.fc_full.weight", 41, "features per bond (radius 8, step 0.2)"),
    ):
        if name not in weights:
            raise ValueError(f"{path} is not a checkpoint of CGCNN: it has no weights {name!r}.")
        found = weights[name].shape[1]
        if name.startswith("convs"):
            found -= weights[name].shape[0]  # (2F, 2F + K)
        if found != wanted:
            raise ValueError(f"{path} was made with {found} {what}; only the original's {wanted} are supported.")


def _load_weights(path: Path, network: PublishedCGCNN, weights: dict[str, Tensor]) -> None:
    """Copy the weights to their places in our network, and check that none is left over."""
    renamed = {".".join(_NAMES.get(part, part) for part in name.split(".")): w for name, w in weights.items()}
    # Files from before PyTorch 0.4.1 lack these counters, which nothing reads.
    counters = {name: w for name, w in network.state_dict().items() if name.endswith("num_batches_tracked")}
    try:
        network.load_state_dict(counters | renamed)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the network: {error}") from error


def _target_name(arguments: dict) -> str:
    """Return the property that a file of the authors names, ``"target"`` for all others."""
    options = arguments.get("data_options", [])
    return options[2] if len(options) > 2 and options[2] in UNITS else "target"
