"""What `test_parallel.py` has computed: as a script in two processes, and once more in its own, for comparison.

``python two_processes.py FOLDER`` reads the graphs in the folder and writes ``0.pt`` and ``1.pt``, one per process.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from course_lib.graphs import CrystalGraphs
from course_lib.lightning_parts import Fitting
from course_lib.models import ALIGNN, CGCNN, ALIGNNSimple, CrystalModel, EarlyFusion, MultiTask
from course_lib.models.gat import GAT
from course_lib.models.layers import WeightedBatchNorm1d
from course_lib.parallel import process_number
from course_lib.training import FitConfig, FitResult, fit, predict

CONFIG = FitConfig(epochs=3, batch_size=8, accelerator="cpu")
TRAIN, VALIDATION = range(29), range(29, 40)  # the last training batch has five, so the processes have not as many


def with_unused(model: CrystalModel) -> CrystalModel:
    """Add parameters that nothing reads, as the last layers of some networks have."""
    model.unused = nn.Linear(2, 2)
    return model


def cases() -> dict[str, tuple[Callable[[], CrystalModel], str, FitConfig]]:
    """Return what is trained: network, graphs and settings. There is no dropout: it differs between processes."""
    small = {"hidden": 16, "n_conv": 2}
    return {
        "cgcnn": (lambda: CGCNN(**small, embedding=16), "one", CONFIG),
        "cgcnn_single": (CGCNN, "one", CONFIG),
        "alignn_single": (lambda: ALIGNN(hidden=64, alignn_layers=2, gcn_layers=2), "one", CONFIG),
        "unused_parameters": (lambda: with_unused(CGCNN(**small, embedding=16)), "one", CONFIG),
        "alignn": (lambda: ALIGNN(hidden=16, alignn_layers=1, gcn_layers=1), "one", CONFIG),
        "alignn_simple": (lambda: ALIGNNSimple(**small, embedding=16), "one", replace(CONFIG, loss="mse")),
        "gat": (lambda: MultiTask(GAT(**small, heads=2)), "two", replace(CONFIG, task_weights="uncertainty")),
        "megnet": (lambda: MultiTask("megnet"), "two", replace(CONFIG, epochs=2)),
        "early_fusion": (lambda: EarlyFusion(CGCNN(**small), n_targets=2, dropout=0.0), "two", CONFIG),
    }


def train(name: str, folder: Path, devices: int) -> dict:
    """Train in double precision, in which rounding does not grow into differences that could be seen, or in single."""
    make, targets, config = cases()[name]
    graphs = CrystalGraphs.load(folder / targets)
    torch.manual_seed(3)
    config = replace(config, devices=devices)
    model = make() if name.endswith("single") else make().double()
    result = fit(model, graphs.subset(TRAIN), graphs.subset(VALIDATION), config)
    return {
        "history": result.history.to_numpy().tolist(),
        "best_epoch": result.best_epoch,
        "state": result.model.state_dict(),
        "predictions": predict(result.model, graphs).to_numpy().tolist(),
    }


def watch(folder: Path, devices: int) -> dict:
    """Return the crystals of every batch that this process trains on, validates with or predicts.

    By the size of the set that they are of: 29 to train, 11 to validate, 40 to predict.
    """
    seen, tensors = defaultdict(list), CrystalGraphs.tensors

    def remember(self: CrystalGraphs, indices: list[int]):
        seen[len(self)].append(self.names[indices].tolist())
        return tensors(self, indices)

    CrystalGraphs.tensors = remember
    train("cgcnn", folder, devices)
    CrystalGraphs.tensors = tensors
    return dict(seen)


def normalise(rows: slice) -> dict:
    """Apply batch norm to some rows of a table, with and without counts, and return what comes of it."""
    generator = torch.Generator().manual_seed(0)
    values, weight = (torch.randn(11, 4, generator=generator, dtype=torch.double)[rows] for _ in range(2))
    count = torch.randint(1, 9, (11,), generator=generator)[rows]
    found = {}
    for name, argument in (("plain", None), ("weighted", count)):
        norm = WeightedBatchNorm1d(4).double()
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        x = values.clone().requires_grad_()
        for _ in range(2):
            out = norm(x, argument)
        (count[:, None] * (out * weight).square()).sum().backward()
        found[name] = {"out": out.detach(), "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
        found[name] |= {"running_mean": norm.running_mean, "running_var": norm.running_var}
    return found


def interrupt_and_resume(folder: Path) -> dict:
    """Train a network with dropout undisturbed, and once more with an interruption, each process with its own masks."""
    graphs, step, masks = CrystalGraphs.load(folder / "one"), Fitting.training_step, []

    def fit_in(name: str, **changes: bool) -> FitResult:
        torch.manual_seed(3)
        model = EarlyFusion(CGCNN(hidden=16, n_conv=1, embedding=16), dropout=0.5)
        config = replace(CONFIG, devices=2, folder=folder / name, **changes)
        return fit(model, graphs.subset(TRAIN), graphs.subset(VALIDATION), config)

    def failing(self: Fitting, *args: object) -> torch.Tensor:
        masks.append(torch.get_rng_state())
        if len(masks) == 6:  # of eleven or twelve
            raise InterruptedError
        return step(self, *args)

    whole = fit_in("whole")
    Fitting.training_step = failing
    try:
        fit_in("interrupted")
    except InterruptedError:
        Fitting.training_step = step
    torch.rand(process_number())
    resumed = fit_in("interrupted", resume=True)
    return {
        "histories": [result.history.to_numpy().tolist() for result in (whole, resumed)],
        "states": [result.model.state_dict() for result in (whole, resumed)],
        "masks": masks,
    }


def main(folder: Path) -> None:
    """Do all of it in two processes; the first call of `fit` starts the other."""
    found = {name: train(name, folder, devices=2) for name in cases()}
    found["watched"] = watch(folder, devices=2)
    found["norms"] = normalise(slice(process_number(), None, 2))
    found["resumed"] = interrupt_and_resume(folder)
    torch.save(found, folder / f"{process_number()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
