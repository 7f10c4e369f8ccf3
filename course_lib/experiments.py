"""Compare methods fairly: the same folds for all, several seeds, every run recorded as it ends.

One command reproduces what stands under ``data/results``; killed and started again, it goes on where it was::

    python -m course_lib.experiments
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy import stats

from course_lib import __version__
from course_lib.composition import magpie
from course_lib.datasets import DATA, Fold, folds, load_dataset
from course_lib.files import write_atomically
from course_lib.forest import forest_pipeline
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, CrystalModel, EarlyFusion
from course_lib.training import FitConfig, fit, predict

RESULTS = DATA / "results"

NETWORKS: dict[str, Callable[[], CrystalModel]] = {"cgcnn": CGCNN, "early_fusion": EarlyFusion}
"""Methods that are trained by `course_lib.training.fit`: name and how the untrained network is made."""

FOREST = "random_forest"
METHODS = (FOREST, *NETWORKS)

LABELS = {FOREST: "random forest", "cgcnn": "CGCNN", "early_fusion": "early fusion"}
"""What the methods are called in tables and figures."""


@dataclass(frozen=True)
class Run:
    """One method, trained once: the key under which its result is recorded.

    Attributes
    ----------
    dataset, target : str
        What is predicted.
    method : str
        One of `METHODS`.
    split : str
        How the folds are made: ``"random"`` or ``"formula"`` (``kind`` of `course_lib.datasets.folds`).
    fold, seed : int
        Which fold is the test set, and the seed of everything random in the method.
    """

    dataset: str
    target: str
    method: str
    split: str
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
        Run(dataset, target, method, split, fold, seed)
        for seed, split, fold, method in product(range(seeds), ("random", "formula"), range(5), METHODS)
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
            print("{method:14s} {split:8s} fold {fold} seed {seed}  MAE {mae:.4f}  {seconds:.1f} s".format(**record))


def paired_differences(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare every method with `reference` on equal terms: the same test set and seed, then the mean over seeds.

    What makes a test set hard for all methods drops out of the difference.

    Parameters
    ----------
    runs : DataFrame
        Columns ``method``, ``split``, ``fold``, ``seed`` and ``mae``, as from `load_results`.
    reference : str
        One of the methods.

    Returns
    -------
    DataFrame
        Columns ``split``, ``method``, ``fold`` and ``difference``: error of the method minus error of the
        reference, positive where the reference is better.

    Raises
    ------
    ValueError
        If `reference` is not among the methods, or a method lacks a run that another has.
    """
    errors = runs.pivot(index=["split", "fold", "seed"], columns="method", values="mae")
    if reference not in errors:
        raise ValueError(f"no runs of {reference!r}; there are runs of {', '.join(errors.columns)}.")
    if errors.isna().any(axis=None):
        split, fold, seed = errors.index[errors.isna().any(axis=1)][0]
        raise ValueError(f"not every method has a run for split {split!r}, fold {fold}, seed {seed}. Run the rest.")
    differences = errors.drop(columns=reference).sub(errors[reference], axis=0)
    per_fold = differences.groupby(level=["split", "fold"], sort=False).mean()
    return per_fold.melt(ignore_index=False, value_name="difference").reset_index()


def corrected_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the mean difference over the folds of one cross-validation.

    The folds share training crystals, so their results vary less than those of independent studies would. Nadeau and
    Bengio, Machine Learning 52, 239 (2003), https://doi.org/10.1023/A:1024068626366, widen the variance of the mean
    from :math:`s^2 / k` to :math:`s^2 (1/k + n_{test} / n_{train})`, here with k folds of equal size.

    Parameters
    ----------
    differences : array, shape (k,)
        One difference a fold, k at least 2.
    level : float, default 0.95
        Confidence level.

    Returns
    -------
    low, high : float
    """
    k = len(differences)
    if k < 2:
        raise ValueError(f"{k} fold gives no interval; at least 2 are needed.")
    scale = np.std(differences, ddof=1) * np.sqrt(1 / k + 1 / (k - 1))
    low, high = stats.t.interval(level, k - 1, loc=np.mean(differences), scale=scale)
    return float(low), float(high)


def summarize_differences(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return mean and 95 % interval of `paired_differences`, one row for each split and method.

    Parameters
    ----------
    runs, reference
        As for `paired_differences`.

    Returns
    -------
    DataFrame
        Indexed by ``split`` and ``method``; columns ``mean``, ``low`` and ``high`` (see `corrected_interval`).
    """
    differences = paired_differences(runs, reference).groupby(["split", "method"], sort=False)["difference"]
    rows = {key: (values.mean(), *corrected_interval(values.to_numpy())) for key, values in differences}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["split", "method"])
    return table


def level_and_difference_errors(runs: pd.DataFrame, crystals: pd.DataFrame) -> pd.DataFrame:
    r"""Split the error on polymorphs in two: the level of a formula, and the differences between its polymorphs.

    With the mean over the polymorphs of a formula :math:`\bar y` and its prediction :math:`\bar{\hat y}`, the level
    error of a crystal is :math:`|\bar{\hat y} - \bar y|` and its difference error is
    :math:`|(\hat y - \bar{\hat y}) - (y - \bar y)|`. The absolute error is at most their sum. A model that sees only
    the composition predicts no differences at all.

    Parameters
    ----------
    runs : DataFrame
        As from `load_results`, with folds that keep the polymorphs of a formula together.
    crystals : DataFrame
        The dataset of the runs.

    Returns
    -------
    DataFrame
        Two rows a run, in the form of `load_results`: columns ``method``, ``fold`` and ``seed``; ``split``, which is
        ``"difference"`` or ``"level"``; and ``mae``, the mean of that error over the test crystals that have a
        polymorph, in the target's unit.

    Raises
    ------
    ValueError
        If a run is on folds that tear formulas apart.
    """
    torn = runs.loc[runs["split"] != "formula", "split"]
    if len(torn):
        raise ValueError(f"runs on {torn.iloc[0]!r} folds tear polymorphs apart; give those with split 'formula' only.")
    rows = []
    for run in runs.itertuples():
        formula = crystals.loc[run.ids, "formula"]
        values = pd.DataFrame({"y": crystals.loc[run.ids, run.target], "prediction": run.predictions})
        values = values[formula.duplicated(keep=False)]
        level = values.groupby(formula).transform("mean")
        rest = values - level
        for part, of_part in (("difference", rest), ("level", level)):
            error = (of_part["prediction"] - of_part["y"]).abs().mean()
            rows.append((run.method, part, run.fold, run.seed, error))
    return pd.DataFrame(rows, columns=["method", "split", "fold", "seed", "mae"])


def _recorded(dataset: str, sha256: str) -> set[Run]:
    """Return the runs that are recorded for this very data, after dropping the others from the file.

    A last line without its end was being written when the run was killed; it is dropped too.
    """
    path = results_file(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]
    current = [line for line in whole if json.loads(line)["data_sha256"] == sha256]
    if current != lines:
        write_atomically(path, "".join(current))
    records = (json.loads(line) for line in current)
    return {Run(**{key: record[key] for key in Run.__dataclass_fields__}) for record in records}


def _run(run: Run, frame: pd.DataFrame, graphs: CrystalGraphs) -> dict:
    """Train one method on one fold and return its record."""
    torch.set_num_threads(1)
    fold = folds(frame, kind=run.split)[run.fold]
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
    start = time.perf_counter()
    model = forest_pipeline(run.seed).set_params(forest__n_jobs=1).fit(train["structure"], train[run.target])
    seconds = time.perf_counter() - start
    return model.predict(frame["structure"].iloc[fold.test]), seconds


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
