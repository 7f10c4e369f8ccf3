"""Train methods on the folds of the protocol, and record every run as it ends.

Killed and started again, a study continues where it stopped. See ``python -m course_lib.experiments``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from course_lib import __version__
from course_lib.composition import magpie
from course_lib.datasets import Fold, load_dataset
from course_lib.experiments import records
from course_lib.experiments.analysis import best_settings
from course_lib.experiments.protocol import folds_of, with_fewer
from course_lib.experiments.provenance import git_commit
from course_lib.experiments.studies import STUDIES, Run, Study, at_an_end, tuned
from course_lib.features import features_of
from course_lib.files import locked, with_checksum
from course_lib.graphs import CrystalGraphs
from course_lib.makers import SETTINGS, make_config, make_learner, make_network
from course_lib.methods import METHODS
from course_lib.models.chemistry import Chemistry
from course_lib.pretrained import pretrained_features, stored_features
from course_lib.training import fit, predict
from course_lib.validation import check_jobs, named


@dataclass(frozen=True)
class Inputs:
    """What all runs of a study are made from.

    Attributes
    ----------
    targets : DataFrame
        One row per crystal, one column per target.
    sha256 : str
        Of the dataset.
    graphs : CrystalGraphs
        With composition features and these targets.
    folds : dict of str to list of Fold
        The folds of each split.
    features : dict of tuple of str to numpy.ndarray, shape (B, n_features)
        The table that a regressor reads, by the names of its parts (`course_lib.features.PARTS`).
    """

    targets: pd.DataFrame
    sha256: str
    graphs: CrystalGraphs
    folds: dict[str, list[Fold]]
    features: dict[tuple[str, ...], np.ndarray]


def run_study(name: str, dataset: str = "pbe_prototypes", n_jobs: int = 1) -> None:
    """Run and record what is missing of a study.

    Runs made on other data (by checksum), with other settings of their method or by other code are dropped first,
    because they cannot be compared with the others.

    Parameters
    ----------
    name : str
        A key of `STUDIES`.
    dataset : str
        As `load_dataset` takes it; with the formation energy per atom, and with the band gap where the study has
        runs on it.
    n_jobs : int, default 1
        Runs at a time, each on one core.

    Raises
    ------
    FileExistsError
        If the file of results is a symbolic link.
    FileNotFoundError
        If the study is tuned by another one, of which nothing is recorded.
    TimeoutError
        If another process runs the same study on the same dataset.
    ValueError
        If the file of results is damaged.
    """
    check_jobs(n_jobs)
    with named(dataset):
        frame, study = load_dataset(dataset), STUDIES[name]
    dataset = Path(frame.attrs["name"]).name.split(".")[0]
    path = records.results_file(dataset, name)
    if path.is_symlink():
        raise FileExistsError(f"{path} is a symbolic link, through which nothing is written. Remove the link.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), f"the study in {path}", records.PATIENCE):
        _run_missing(name, study, dataset, frame, n_jobs)


def _run_missing(name: str, study: Study, dataset: str, frame: pd.DataFrame, n_jobs: int) -> None:
    """Do what `run_study` does, as the only writer of the file of results."""
    path, wanted = records.results_file(dataset, name), study.runs(frame)
    if study.tuned_by:
        wanted = tuned(wanted, records.load_results(dataset, study.tuned_by, crystals=frame))
    elif name not in ("tuning", "tuning_check") and records.results_file(dataset, "tuning").is_file():
        _check_tuned(wanted, records.load_results(dataset, "tuning", crystals=frame))
    recorded = records.keep(path, wanted, frame.attrs["sha256"])
    missing = [run for run in wanted if run not in recorded]
    print(f"{name}: {len(wanted) - len(missing)} of {len(wanted)} runs are recorded.", flush=True)
    if not missing:
        return
    inputs = _inputs(frame, missing)
    if study.predictions:
        records.write_folds(dataset, frame.index.tolist(), inputs.folds)
    with path.open("a", encoding="utf-8") as file:
        for record in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(execute)(run, inputs) for run in missing
        ):
            if not study.predictions:
                record["predictions"] = None
            file.write(json.dumps(with_checksum(record)) + "\n")
            file.flush()
            print("{method} {split} fold {fold} seed {seed} MAE {mae} {seconds} s".format(**record), flush=True)


def _check_tuned(wanted: list[Run], tuning: pd.DataFrame) -> None:
    """Raise ``ValueError`` unless the methods have the best settings of the tuning, none at an end of a grid."""
    best = best_settings(tuning)
    for method, name in at_an_end(best):
        raise ValueError(
            f"the best {name} of {method}, {best[method][name]}, lies at an end of its grid. Add settings beyond it to "
            "ADDED in course_lib/experiments/studies.py and run the tuning again."
        )
    for name in dict.fromkeys(run.method for run in wanted):
        found = best.get(METHODS[name].tuned_as or name, METHODS[name].tuned_settings)
        if METHODS[name].tuned_settings != found:
            raise ValueError(f"{name} has not the best settings of the recorded tuning. Give it {found} in METHODS.")


def _inputs(frame: pd.DataFrame, wanted: list[Run]) -> Inputs:
    """Return what these runs need, all of it made from the dataset."""
    targets = sorted({target for run in wanted for target in run.target.split("+")}, reverse=True)
    structures = frame["structure"]
    graphs = CrystalGraphs.from_structures(
        structures, ids=frame.index, composition=magpie(structures), targets=frame[targets]
    )
    folds = {split: folds_of(frame, split) for split in sorted({run.split for run in wanted})}
    methods = {run.method for run in wanted}
    pretrained = _pretrained(frame) if any(METHODS[name].reads_pretrained for name in methods) else None
    return Inputs(frame[targets], frame.attrs["sha256"], graphs, folds, _features(graphs, methods, pretrained))


def _features(
    graphs: CrystalGraphs, methods: Iterable[str], pretrained: pd.DataFrame | None
) -> dict[tuple[str, ...], np.ndarray]:
    """Return the tables that the regressors among these methods read, each made once for all runs."""
    learners = [METHODS[name].learner for name in methods]
    read = {learner.reads for learner in learners if learner is not None}
    return {parts: features_of(graphs, parts, pretrained) for parts in read}


def _pretrained(frame: pd.DataFrame) -> pd.DataFrame:
    bundled = frame.attrs["name"] == "pbe_prototypes"
    return stored_features(frame) if bundled else pretrained_features(frame["structure"])


def execute(run: Run, inputs: Inputs) -> dict:
    """Train one method on one fold and return its record."""
    torch.set_num_threads(1)
    targets = run.target.split("+")
    fold = with_fewer(inputs.folds[run.split][run.fold], run.n_train, run.fold)
    predicted = getattr(fold, run.part)
    if METHODS[run.method].network is None:
        features = inputs.features[METHODS[run.method].learner.reads]
        predictions, details = _learner(run, features, inputs.targets[run.target].to_numpy(), fold, predicted)
    else:
        predictions, details = _network(run, inputs.graphs.select_targets(targets), fold, predicted)
    error = np.abs(predictions - inputs.targets[targets].to_numpy()[predicted])
    return {
        **asdict(run),
        "configuration": records.configuration(run),
        "mae": [float(f"{mae:.5g}") for mae in error.mean(0)],
        **details,
        "n_learned": len(fold.train) + len(fold.validation),
        "predictions": [_rounded(of_target) for of_target in predictions.T],
        "data_sha256": inputs.sha256,
        "version": __version__,
        "commit": git_commit(),
        "code_sha256": records.code_of(run.method),
    }


def _rounded(values: np.ndarray) -> list[float]:
    """Return values with as many digits as tell ten thousandths of their spread, in any unit."""
    spread = float(np.ptp(values)) or 1.0
    return np.round(values, 4 - math.floor(math.log10(spread))).tolist()


def _permuted_composition(graphs: CrystalGraphs, seed: int) -> CrystalGraphs:
    """Give every crystal the composition features of another, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(graphs.composition))
    return replace(graphs, composition=graphs.composition[order])


def _learner(
    run: Run, features: np.ndarray, target: np.ndarray, fold: Fold, predicted: np.ndarray
) -> tuple[np.ndarray, dict]:
    if run.control is not None:
        raise ValueError(f"controls permute what a network reads; {run.method} is none.")
    # A regressor needs no validation set, so it is trained on both sets of a network, except where it is judged by the
    # validation set.
    seen = fold.train if run.part == "validation" else np.concatenate([fold.train, fold.validation])
    settings = dict(run.settings) | ({"n_jobs": 1} if run.method == "random_forest" else {})
    learner = make_learner(run.method, features.shape[1], seed=run.seed, settings=settings)
    start = time.process_time()
    learner.fit(features[seen], target[seen])
    seconds = time.process_time() - start
    details = {"seconds": round(seconds, 2), "n_parameters": None, "best_epoch": None}
    return learner.predict(features[predicted])[:, None], details


def _network(run: Run, graphs: CrystalGraphs, fold: Fold, predicted: np.ndarray) -> tuple[np.ndarray, dict]:
    seed_of_control = run.seed + run.fold  # another permutation in each fold
    if run.control == "composition":
        graphs = _permuted_composition(graphs, seed_of_control)
    settings = dict(run.settings)
    sizes = {name: settings.pop(name) for name in list(settings) if name not in SETTINGS}  # of the network, as dropout
    network = make_network(run.method, graphs.targets.shape[1], seed=run.seed, sizes=sizes)
    if run.control == "elements":
        _permute_elements(network.chemistry, np.unique(graphs.species), seed_of_control)
    config = make_config(run.method, settings, seed=run.seed)
    start = time.process_time()
    result = fit(network, graphs.subset(fold.train), graphs.subset(fold.validation), config)
    details = {
        "seconds": round(time.process_time() - start, 2),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "best_epoch": result.best_epoch,
    }
    return predict(result.model, graphs.subset(predicted)).to_numpy().astype(float), details


def _permute_elements(chemistry: Chemistry, numbers: np.ndarray, seed: int) -> None:
    """Give every element that occurs, by atomic number, the properties of another of them, drawn at random."""
    numbers = numbers.astype(np.int64)  # torch treats 8-bit numbers as a mask
    drawn = np.random.default_rng(seed).permutation(numbers)
    for values in chemistry.buffers(recurse=False):
        values[numbers] = values[drawn]
