"""Train methods on the same folds with several seeds, and record every run as it ends.

A study is a list of runs. Killed and started again, it goes on where it was. See ``python -m course_lib.experiments``.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from course_lib import __version__
from course_lib.composition import magpie
from course_lib.datasets import DATA, Fold, folds, load_dataset
from course_lib.experiments.provenance import code_sha256, git_commit
from course_lib.files import CHECKSUM, locked, with_checksum, without_checksum, write_atomically
from course_lib.graphs import CrystalGraphs
from course_lib.makers import make_config, make_forest, make_network
from course_lib.methods import METHODS, trained, twins
from course_lib.training import FitConfig, fit, predict
from course_lib.validation import check_jobs, named

RESULTS = DATA / "results"

_PATIENCE = 10  # seconds to wait for the end of another process that writes to a file of results

ONE_OF_EACH_KIND = ("random_forest", "cgcnn", "early_fusion")
"""Composition, structure and hybrid, for the studies that need no more."""

ENERGY, GAP = "formation_energy_per_atom", "band_gap"
SPLITS, N_FOLDS = ("random", "formula"), 5


@dataclass(frozen=True)
class Run:
    """One method, trained once: the key under which its result is recorded.

    Attributes
    ----------
    target : str
        What is predicted; several targets are joined by ``+``.
    method : str
        A key of `METHODS`.
    split : str
        How the folds are made: ``"random"`` or ``"formula"`` (``kind`` of `course_lib.datasets.folds`).
    fold, seed : int
        Which fold is the test set, and the seed of everything random in the method.
    part : str
        Which part of the fold is predicted: ``"test"``, ``"validation"`` or ``"train"``.
    n_train : int, optional
        Crystals to learn from, validation included, drawn with the seed; all of the fold where not given.
    settings : tuple of (str, value)
        What differs from the settings of the method.
    """

    target: str
    method: str
    split: str
    fold: int
    seed: int = 0
    part: str = "test"
    n_train: int | None = None
    settings: tuple[tuple[str, object], ...] = ()


_ENTRIES = frozenset(Run.__dataclass_fields__) | {
    "configuration", "mae", "seconds", "n_parameters", "best_epoch", "n_learned", "predictions", "data_sha256",
    "version", "commit", "code_sha256",
}  # fmt: skip
"""What a record has, its checksum left out."""


# --- studies ------------------------------------------------------------------------------------------------------


def comparison(n_crystals: int) -> list[Run]:
    """All methods side by side, on the kinds of folds that `METHODS` names, with three seeds."""
    return [
        Run(target, name, split, fold, seed)
        for seed, split, fold in product(range(3), SPLITS, range(N_FOLDS))
        for name, method in trained().items()
        if split in method.compared
        for target in _targets(name)
    ]


def _targets(name: str) -> list[str]:
    """Return what a method is compared on: a twin on each property that its multi-task network predicts."""
    if METHODS[name].multitask:
        return [f"{ENERGY}+{GAP}"]
    return [ENERGY, GAP] if name in twins().values() else [ENERGY]


def learning_curves(n_crystals: int) -> list[Run]:
    """Composition, structure and hybrid, with fewer and fewer crystals to learn from, in equally many steps."""
    most = n_crystals * (N_FOLDS - 1) // N_FOLDS
    sizes = [most // 2**halvings for halvings in (1, 2, 3, 4)]
    return [
        Run(ENERGY, method, split, fold, n_train=size, settings=_equal_steps(method, most / size))
        for split, fold, size, method in product(SPLITS, range(N_FOLDS), sizes, ONE_OF_EACH_KIND)
    ]


def _equal_steps(method: str, ratio: float) -> tuple[tuple[str, object], ...]:
    if METHODS[method].network is None:
        return ()
    epochs = METHODS[method].settings.get("epochs", FitConfig.epochs)
    return (("epochs", max(1, round(epochs * ratio))),)


def lambda_sweep(n_crystals: int) -> list[Run]:
    """Multi-task GAT with the gap's weight from 1/30 to 30 (the energy's is 1), and with the other schemes."""
    weights: list[object] = ["inverse_scale", "uncertainty"]
    weights += [(1.0, round(float(weight), 4)) for weight in np.geomspace(1 / 30, 30, 9)]
    return [
        Run(f"{ENERGY}+{GAP}", "multitask_gat", "formula", fold, settings=(("task_weights", weight),))
        for fold, weight in product(range(N_FOLDS), weights)
    ]


def training_predictions(n_crystals: int) -> list[Run]:
    """Predictions of composition, structure and hybrid for the very crystals that they learned from."""
    return [Run(ENERGY, name, split, 0, part="train") for split, name in product(SPLITS, ONE_OF_EACH_KIND)]


def tuning(n_crystals: int) -> list[Run]:
    """Eight settings of every method on the validation parts of two folds by formula; no test set is read.

    Methods that are to differ from another in one thing are not tuned: they have its settings.
    """
    # Of length and rate, the best should lie inside what is tried, not at its edge.
    rates_of = {50: (5e-3,), 100: (1e-3, 2e-3, 5e-3, 1e-2, 2e-2), 200: (2e-3, 5e-3)}
    networks = [(("epochs", epochs), ("learning_rate", rate)) for epochs, rates in rates_of.items() for rate in rates]
    forests = [
        (("max_features", features), ("min_samples_leaf", leaf))
        for features, leaf in product((1.0, 0.5, 0.25, 0.1), (1, 3))
    ]
    return [
        Run(target, name, "formula", fold, part="validation", settings=settings)
        for (name, method), fold in product(trained().items(), range(2))
        if method.tuned_as is None
        for target in _targets(name)
        for settings in (networks if method.network else forests)
    ]


def training_sizes(n_crystals: int) -> list[Run]:
    """On crystals of your own: four methods, more and more crystals to learn from, three folds by formula."""
    # As many steps for all sizes as the methods were tuned to, on the 1,600 bundled crystals of a fold.
    sizes = [size for size in (500, 2000, 8000) if size < n_crystals * (N_FOLDS - 1) // N_FOLDS]
    return [
        Run(ENERGY, method, "formula", fold, seed=fold, n_train=size, settings=_equal_steps(method, 1600 / size))
        for fold, size, method in product(range(3), sizes, (*ONE_OF_EACH_KIND, "alignn"))
    ]


class Study(NamedTuple):
    """A list of runs that answers one question.

    Attributes
    ----------
    runs : callable
        Makes the list from the number of crystals; the first line of its docstring says what it is.
    predictions : bool
        Whether predictions are recorded, not just errors.
    bundled : bool
        Whether it belongs to the recorded results on the bundled crystals.
    """

    runs: Callable[[int], list[Run]]
    predictions: bool = True
    bundled: bool = True


STUDIES = {
    "tuning": Study(tuning, predictions=False),
    "comparison": Study(comparison),
    "learning_curves": Study(learning_curves, predictions=False),
    "lambda_sweep": Study(lambda_sweep),
    "training_predictions": Study(training_predictions),
    "training_sizes": Study(training_sizes, predictions=False, bundled=False),
}
"""What can be run, by name."""


# --- running ------------------------------------------------------------------------------------------------------


def run_study(name: str, dataset: str = "pbe_prototypes", n_jobs: int = 1) -> None:
    """Run what is missing of a study, and record it.

    Runs made on other data (by checksum), with other settings of their method or by other code are dropped first: they
    do not compare with the others.

    Parameters
    ----------
    name : str
        A key of `STUDIES`.
    dataset : str
        As `load_dataset` takes it; with the formation energy per atom, and with the band gap where the study has
        multi-task runs.
    n_jobs : int, default 1
        Runs at a time, each on one core.

    Raises
    ------
    FileExistsError
        If the file of results is a symbolic link.
    TimeoutError
        If another process runs the same study on the same dataset.
    ValueError
        If the file of results is damaged.
    """
    check_jobs(n_jobs)
    with named(dataset):
        frame, study = load_dataset(dataset), STUDIES[name]
    dataset = Path(frame.attrs["name"]).name.split(".")[0]
    path = results_file(dataset, name)
    if path.is_symlink():
        raise FileExistsError(f"{path} is a symbolic link, through which nothing is written. Remove the link.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), f"the study in {path}", _PATIENCE):
        _run_missing(name, study, dataset, frame, n_jobs)


def _run_missing(name: str, study: Study, dataset: str, frame: pd.DataFrame, n_jobs: int) -> None:
    """Do what `run_study` does, as the only writer of the file of results."""
    path, wanted = results_file(dataset, name), study.runs(len(frame))
    recorded = _recorded(path, wanted, frame.attrs["sha256"])
    missing = [run for run in wanted if run not in recorded]
    print(f"{name}: {len(wanted) - len(missing)} of {len(wanted)} runs are recorded.", flush=True)
    if not missing:
        return
    if study.predictions:
        _write_folds(frame, dataset)
    targets = sorted({target for run in missing for target in run.target.split("+")}, reverse=True)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, composition=magpie(frame["structure"]), targets=frame[targets]
    )
    frame = frame[[*targets, "formula"]]  # the workers need no structures
    with path.open("a", encoding="utf-8") as file:
        for record in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(execute)(run, frame, graphs) for run in missing
        ):
            if not study.predictions:
                record["predictions"] = None
            file.write(json.dumps(with_checksum(record)) + "\n")
            file.flush()
            print("{method} {split} fold {fold} seed {seed} MAE {mae} {seconds} s".format(**record), flush=True)


def execute(run: Run, frame: pd.DataFrame, graphs: CrystalGraphs) -> dict:
    """Train one method on one fold and return its record."""
    torch.set_num_threads(1)
    targets = run.target.split("+")
    fold = folds(frame, kind=run.split, n_splits=N_FOLDS)[run.fold]
    predicted = getattr(fold, run.part)
    fold = _fewer(fold, run)
    fit_and_predict = _forest if METHODS[run.method].network is None else _network
    predictions, details = fit_and_predict(run, frame[targets], graphs.select_targets(targets), fold, predicted)
    error = np.abs(predictions - frame[targets].to_numpy()[predicted])
    return {
        **asdict(run),
        "configuration": _configuration(run),
        "mae": np.round(error.mean(0), 5).tolist(),
        **details,
        "n_learned": len(fold.train) + len(fold.validation),
        "predictions": np.round(predictions.T, 4).tolist(),
        "data_sha256": frame.attrs["sha256"],
        "version": __version__,
        "commit": git_commit(),
        "code_sha256": _code(run.method),
    }


@cache
def _code(method: str) -> str:
    """Return the hash of the code that the results of a method depend on."""
    network = METHODS[method].network
    own = ["course_lib.forest"] if network is None else [network.module, "course_lib.training"]
    return code_sha256([*own, "course_lib.composition"])


def _configuration(run: Run) -> dict:
    """Return all that differs from the defaults: the settings of the method, and of the run."""
    return METHODS[run.method].settings | dict(run.settings)


def _fewer(fold: Fold, run: Run) -> Fold:
    """Keep `n_train` crystals of training and validation set together, their ratio unchanged.

    A smaller set is part of every larger one with the same seed.
    """
    if run.n_train is None:
        return fold
    rng = np.random.default_rng(run.seed)
    total = len(fold.train) + len(fold.validation)
    if run.n_train > total:
        raise ValueError(f"n_train is {run.n_train}, but fold {run.fold} has {total} crystals to learn from.")
    n_validation = math.ceil(run.n_train * len(fold.validation) / total)
    return Fold(
        rng.permutation(fold.train)[: run.n_train - n_validation],
        rng.permutation(fold.validation)[:n_validation],
        fold.test,
    )


def _forest(
    run: Run, targets: pd.DataFrame, graphs: CrystalGraphs, fold: Fold, predicted: np.ndarray
) -> tuple[np.ndarray, dict]:
    # A forest needs no validation set; it learns from all that a network learns from or is chosen by. In tuning the
    # validation set is what it is judged by.
    seen = fold.train if run.part == "validation" else np.concatenate([fold.train, fold.validation])
    forest = make_forest(run.method, seed=run.seed, settings=dict(run.settings) | {"n_jobs": 1})
    start = time.process_time()
    forest.fit(graphs.features[seen], targets.to_numpy()[seen, 0])
    seconds = time.process_time() - start
    details = {"seconds": round(seconds, 2), "n_parameters": None, "best_epoch": None}
    return forest.predict(graphs.features[predicted])[:, None], details


def _network(
    run: Run, targets: pd.DataFrame, graphs: CrystalGraphs, fold: Fold, predicted: np.ndarray
) -> tuple[np.ndarray, dict]:
    network = make_network(run.method, targets.shape[1], seed=run.seed)
    config = make_config(run.method, dict(run.settings), seed=run.seed)
    start = time.process_time()
    result = fit(network, graphs.subset(fold.train), graphs.subset(fold.validation), config)
    details = {
        "seconds": round(time.process_time() - start, 2),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "best_epoch": result.best_epoch,
    }
    return predict(result.model, graphs.subset(predicted)).to_numpy().astype(float), details


# --- records ------------------------------------------------------------------------------------------------------


def results_file(dataset: str, study: str) -> Path:
    """Return the file that holds the recorded runs of a study: one JSON object a line."""
    return RESULTS / f"{study}_{dataset}.jsonl"


def load_results(
    dataset: str = "pbe_prototypes",
    study: str = "comparison",
    *,
    crystals: pd.DataFrame | None = None,
    target: str | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the recorded runs of a study, one row per run and target.

    Parameters
    ----------
    dataset : str, default "pbe_prototypes"
        What the runs are on.
    study : str, default "comparison"
        A key of `STUDIES`.
    crystals : DataFrame, optional
        The dataset as loaded now: the runs must have been made on it, by its checksum.
    target : str, optional
        Only rows on this target.
    methods : sequence of str, optional
        Only rows of these methods, in this order.

    Returns
    -------
    DataFrame
        The columns of `Run`, with one ``target`` in each row and ``task``, the targets of the run as recorded; ``mae``
        (in the target's unit); ``configuration``, all settings that differ from the defaults; ``seconds``, processor
        time of the training; ``n_parameters``; ``best_epoch``; ``n_learned``, crystals to learn from, validation
        included; ``ids`` and ``predictions``, the crystals predicted and what was predicted for them; ``data_sha256``
        and ``version``; ``commit`` and ``code_sha256``, the code that made the run (missing where it was not recorded).

    Warns
    -----
    UserWarning
        If a run was made by other code than its method has now.

    Raises
    ------
    FileNotFoundError
        If nothing is recorded.
    ValueError
        If there is no run on the target, or of a method; or if one was made on other crystals.
    """
    path = results_file(dataset, study)
    if not path.is_file():
        raise FileNotFoundError(
            f"no runs of {study!r} on {dataset!r} are recorded. Make them: python -m course_lib.experiments {study}."
        )
    rows, outdated = [], set()
    for _, record in _read_records(path):
        if record["method"] in METHODS and record.get("code_sha256") not in (None, _code(record["method"])):
            outdated.add(record["method"])
        of_run, errors = record["target"].split("+"), record.pop("mae")
        predictions = record.pop("predictions")
        ids = None if predictions is None else _ids(dataset, record["split"], record["fold"], record["part"])
        shared = record | {"task": record["target"], "settings": dict(record["settings"]), "ids": ids}
        for name, mae, values in zip(of_run, errors, predictions or [None] * len(of_run), strict=True):
            rows.append(shared | {"target": name, "mae": mae, "predictions": values})
    table = pd.DataFrame(rows)
    if target is not None:
        table = _only(table, "target", [target])
    if methods is not None:
        table = _only(table, "method", methods)
    if crystals is not None and (table["data_sha256"] != crystals.attrs["sha256"]).any():
        raise ValueError(
            f"{path.name} has runs on other crystals than these (by checksum). Make them again: "
            f"python -m course_lib.experiments {study}."
        )
    outdated &= set(table["method"])
    if outdated:
        warnings.warn(
            f"{path.name}: runs of {', '.join(sorted(outdated))} were made by other code than is here now. Make them "
            f"again: python -m course_lib.experiments {study}.",
            stacklevel=2,
        )
    return table


def _only(table: pd.DataFrame, column: str, wanted: Sequence[str]) -> pd.DataFrame:
    parts = dict(list(table.groupby(column)))
    missing = [name for name in wanted if name not in parts]
    if missing:
        raise ValueError(f"no run has the {column} {missing[0]!r}; there are {', '.join(parts)}.")
    return pd.concat([parts[name] for name in wanted], ignore_index=True)


def _folds_file(dataset: str) -> Path:
    return RESULTS / f"folds_{dataset}.json"


def _write_folds(frame: pd.DataFrame, dataset: str) -> None:
    """Record which crystals each fold holds, as positions in one list of ids, so that records need not repeat them."""
    content = {"ids": frame.index.tolist()}
    for split in SPLITS:
        parts = folds(frame, kind=split, n_splits=N_FOLDS)
        content[split] = [
            {part: getattr(fold, part).tolist() for part in ("train", "validation", "test")} for fold in parts
        ]
    write_atomically(_folds_file(dataset), json.dumps(with_checksum(content)) + "\n")
    _read_folds.cache_clear()


@cache
def _read_folds(path: Path) -> dict:
    with named(path):
        return _checked(json.loads(path.read_text(encoding="utf-8")), frozenset({"ids", *SPLITS}))


@cache
def _ids(dataset: str, split: str, fold: int, part: str) -> list[str]:
    recorded = _read_folds(_folds_file(dataset))
    return [recorded["ids"][row] for row in recorded[split][fold][part]]


def _recorded(path: Path, wanted: Iterable[Run], sha256: str) -> set[Run]:
    """Return the runs recorded with this very data and with their methods' present settings, and drop all others.

    Runs that are not wanted are dropped from the file, too, and so is a last line without its end: it was being written
    when the run was killed.
    """
    if not path.is_file():
        return set()
    wanted, runs, kept = set(wanted), set(), []
    for line, record in _read_records(path):
        run = _key(record)
        same = record["data_sha256"] == sha256 and record["configuration"] == _as_json(_configuration(run))
        # Runs of before there was a hash are kept: nothing tells which code made them.
        same = same and record.get("code_sha256") in (None, _code(run.method))
        if same and run in wanted and run not in runs:
            runs.add(run)
            kept.append(line)
    if "".join(kept) != path.read_text(encoding="utf-8"):
        write_atomically(path, "".join(kept))
    return runs


def _read_records(path: Path) -> list[tuple[str, dict]]:
    """Return the lines of a file of results with what they hold, but for a last line without its end.

    Raises
    ------
    ValueError
        If a line is damaged; it names the file and the line.
    """
    with named(path):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = []
    for number, line in enumerate(lines, start=1):
        if line.endswith("\n"):
            with named(f"{path}, line {number}"):
                record = _checked(json.loads(line), _ENTRIES)
                _key(record)
            found.append((line, record))
    return found


def _checked(content: dict, known: frozenset[str]) -> dict:
    """Return what was recorded; raise ``ValueError`` where it is something else now."""
    if CHECKSUM in content:  # what was recorded before there were checksums has none
        content = without_checksum(content)
    unknown = sorted(set(content) - known)
    if unknown:
        raise ValueError(f"it has an entry {unknown[0]!r}, which this library does not write")
    return content


def _as_json(value: dict) -> dict:
    return json.loads(json.dumps(value))  # tuples become lists


def _key(record: dict) -> Run:
    """Return the `Run` of a record, whose tuples JSON has made lists."""
    settings = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in record["settings"])
    return Run(**{name: record[name] for name in Run.__dataclass_fields__ if name != "settings"}, settings=settings)
