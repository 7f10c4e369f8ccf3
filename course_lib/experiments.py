"""Compare methods fairly: the same folds for all, several seeds, every run recorded as it ends.

One command reproduces what stands under ``data/results``; killed and started again, it goes on where it was::

    python -m course_lib.experiments
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from course_lib import __version__
from course_lib.composition import magpie
from course_lib.datasets import DATA, Fold, folds, load_dataset
from course_lib.forest import fit_forest
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, CrystalModel, EarlyFusion
from course_lib.training import FitConfig, fit, predict

RESULTS = DATA / "results"

NETWORKS: dict[str, Callable[[], CrystalModel]] = {"cgcnn": CGCNN, "early_fusion": EarlyFusion}
"""Methods that are trained by `course_lib.training.fit`: name and how the untrained network is made."""

FOREST = "random_forest"
METHODS = (FOREST, *NETWORKS)


@dataclass(frozen=True)
class Run:
    """One method, trained once: the key under which its result is recorded.

    Attributes
    ----------
    dataset, target : str
        What is predicted.
    method : str
        One of `METHODS`.
    kind : str
        How the folds are made: ``"random"`` or ``"formula"`` (see `course_lib.datasets.folds`).
    fold, seed : int
        Which fold is the test set, and the seed of everything random in the method.
    """

    dataset: str
    target: str
    method: str
    kind: str
    fold: int
    seed: int


def results_file(dataset: str) -> Path:
    """Return the file that holds the recorded runs on `dataset`: one JSON object a line."""
    return RESULTS / f"comparison_{dataset}.jsonl"


def load_results(dataset: str) -> pd.DataFrame:
    """Return the recorded runs on `dataset`, one row a run.

    Returns
    -------
    DataFrame
        The columns of `Run`; ``mae`` (in the target's unit), ``seconds`` (training), ``n_train`` (crystals to
        learn from, validation included); ``ids`` and
        ``predictions``, the test crystals and what was predicted for them; ``data_sha256`` and ``version``.

    Raises
    ------
    FileNotFoundError
        If nothing is recorded.
    """
    path = results_file(dataset)
    if not path.is_file():
        raise FileNotFoundError(f"no runs on {dataset!r} are recorded. Make them: python -m course_lib.experiments.")
    return pd.DataFrame(json.loads(line) for line in path.read_text().splitlines())


def compare(dataset: str, target: str, seeds: int = 3, n_jobs: int = 1) -> None:
    """Run all methods on all folds of both kinds with several seeds, and record what is not recorded yet.

    Runs made on other data (by checksum) are dropped first: results of different data do not compare.

    Parameters
    ----------
    dataset : str
        As `load_dataset` takes it.
    target : str
        Column to predict.
    seeds : int, default 3
        Trainings of each method on each fold.
    n_jobs : int, default 1
        Runs at a time, each on one core.
    """
    frame = load_dataset(dataset)
    recorded = _recorded(dataset, frame.attrs["sha256"])
    wanted = [
        Run(dataset, target, method, kind, fold, seed)
        for seed, kind, fold, method in product(range(seeds), ("random", "formula"), range(5), METHODS)
    ]
    missing = [run for run in wanted if run not in recorded]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are recorded.", flush=True)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, composition=magpie(frame["structure"]), targets=frame[[target]]
    )
    with results_file(dataset).open("a") as file:
        for record in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_run)(run, frame, graphs) for run in missing
        ):
            file.write(json.dumps(record) + "\n")
            file.flush()
            print("{method:14s} {kind:8s} fold {fold} seed {seed}  MAE {mae:.4f}  {seconds:.1f} s".format(**record))


def _recorded(dataset: str, sha256: str) -> set[Run]:
    """Return the runs that are recorded for this very data, after dropping the others from the file."""
    path = results_file(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.is_file() else []
    current = [line for line in lines if json.loads(line)["data_sha256"] == sha256]
    if current != lines:
        partial = path.with_suffix(".tmp")
        partial.write_text("".join(line + "\n" for line in current))
        os.replace(partial, path)
    records = (json.loads(line) for line in current)
    return {Run(**{key: record[key] for key in Run.__dataclass_fields__}) for record in records}


def _run(run: Run, frame: pd.DataFrame, graphs: CrystalGraphs) -> dict:
    """Train one method on one fold and return its record."""
    torch.set_num_threads(1)
    fold = folds(frame, kind=run.kind)[run.fold]
    if run.method == FOREST:
        predictions, seconds = _train_forest(run, frame, fold)
    else:
        predictions, seconds = _train_network(run, graphs, fold)
    error = np.abs(predictions - frame[run.target].to_numpy()[fold.test])
    return {
        **vars(run),
        "mae": round(float(error.mean()), 5),
        "seconds": round(seconds, 2),
        "n_train": len(fold.train) + len(fold.validation),
        "ids": frame.index[fold.test].tolist(),
        "predictions": np.round(predictions, 4).tolist(),
        "data_sha256": frame.attrs["sha256"],
        "version": __version__,
    }


def _train_forest(run: Run, frame: pd.DataFrame, fold: Fold) -> tuple[np.ndarray, float]:
    # A forest needs no validation set; it learns from all that a network learns from or is chosen by.
    train = frame.iloc[np.concatenate([fold.train, fold.validation])]
    result = fit_forest(train["structure"], train[run.target], seed=run.seed)
    return result.model.predict(frame["structure"].iloc[fold.test]), result.seconds


def _train_network(run: Run, graphs: CrystalGraphs, fold: Fold) -> tuple[np.ndarray, float]:
    torch.manual_seed(run.seed)
    network = NETWORKS[run.method]()
    result = fit(network, graphs.subset(fold.train), graphs.subset(fold.validation), FitConfig(seed=run.seed))
    return predict(result.model, graphs.subset(fold.test)).to_numpy()[:, 0].astype(float), result.seconds


def main() -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.experiments", description=compare.__doc__.split("\n")[0]
    )
    parser.add_argument("--dataset", default="pbe_prototypes", help="as load_dataset takes it (%(default)s)")
    parser.add_argument("--target", default="formation_energy_per_atom", help="column to predict (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method on each fold (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one core (%(default)s)")
    arguments = parser.parse_args()
    compare(arguments.dataset, arguments.target, arguments.seeds, arguments.jobs)


if __name__ == "__main__":
    main()
