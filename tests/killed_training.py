"""What `test_training.py` runs in processes of its own, to kill them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, EarlyFusion
from course_lib.training import FitConfig, fit


def go_on(folder: Path, moment: tuple[str, int] | None = None) -> None:
    """Train in `folder` from where the last process stopped, on the graphs next to it.

    Parameters
    ----------
    folder : path
        Of the run.
    moment : ("write" or "rename", int), optional
        At the n-th time that a checkpoint is half written, or is to be renamed, this process is killed.
    """
    if moment is not None:
        _kill_at(*moment)
    crystals = CrystalGraphs.load(folder.parent / "graphs")
    torch.manual_seed(3)
    model = EarlyFusion(CGCNN(hidden=16, n_conv=1, embedding=16), hidden=(16,))  # with dropout
    config = FitConfig(epochs=8, batch_size=8, folder=folder, resume=True)
    fit(model, crystals.subset(range(0, 30)), crystals.subset(range(30, 40)), config)


def _kill_at(kind: str, number: int) -> None:
    calls, save, rename = [], torch.save, os.replace

    def count() -> None:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def save_half(content: object, path: str) -> None:
        save(content, path)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        count()
        Path(path).write_bytes(whole)

    def rename_later(*paths: str) -> None:
        count()
        rename(*paths)

    if kind == "write":
        torch.save = save_half
    else:
        os.replace = rename_later
