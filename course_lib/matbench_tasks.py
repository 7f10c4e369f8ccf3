"""Matbench: any structure task on its official folds, recorded by the ``matbench`` package itself.

Dunn et al., npj Comput. Mater. 6, 138 (2020), https://doi.org/10.1038/s41524-020-00406-3. The file that `benchmark`
writes, ``results.json.gz``, is one of the three that the public leaderboard asks for; the others are ``info.json``
(authors, description, references) and the source code, see https://matbench.materialsproject.org.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from course_lib import __version__, predictors
from course_lib.datasets import catalogue
from course_lib.files import (
    CHECKSUM,
    check_folder,
    locked,
    replacing,
    with_checksum,
    without_checksum,
    write_atomically,
)
from course_lib.graph_files import META
from course_lib.graphs import CrystalGraphs
from course_lib.makers import check_settings, method_named
from course_lib.parallel import started_as, together
from course_lib.validation import check_jobs, check_number, check_same_length, named, plain

if TYPE_CHECKING:
    from matbench.bench import MatbenchBenchmark

_SHORT, _LONG = 10, 24 * 3600  # seconds to wait for another process: while it looks at a folder, and builds graphs

BENCHMARK = "benchmark.json"
"""Name of the file that describes what is run in a folder."""

RESULTS = "results.json.gz"
"""Name of the file that the leaderboard asks for. The package writes it as plain text in spite of its name."""


def benchmark(
    task: str,
    method: str,
    folder: str | os.PathLike,
    *,
    fold_numbers: Sequence[int] = range(5),
    seed: int = 0,
    sizes: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    n_jobs: int = 1,
    progress: bool = False,
    config: str | None = None,
) -> pd.DataFrame:
    """Train and test a method on official folds of a Matbench structure task.

    Of each fold's training part, one eighth is set aside to choose the epoch by (`course_lib.datasets.folds`). The test
    part is predicted once, by the trained model; nothing is chosen by it. Settings must be chosen beforehand, without
    these test sets; those of `course_lib.methods.METHODS` were, on other data.

    Killed and started again, it continues with the next fold, and within a fold with the last finished epoch. Different
    folds of one task may run at the same time, in the same folder.

    Parameters
    ----------
    task : str
        For example ``"matbench_phonons"``; see `course_lib.datasets.catalogue`.
    method : str
        As `course_lib.predictors.train` takes it.
    folder : path
        Where the graphs, the models, the predictions of each fold and, when all folds are done, ``results.json.gz`` are
        kept.
    fold_numbers : sequence of int, default 0 to 4
        Which folds to run.
    seed : int, default 0
        Seed of each training run.
    sizes, settings : mapping, optional
        As for `course_lib.predictors.train`. In a classification task the loss is the squared error where not given,
        so that predictions are probabilities.
    n_jobs : int, default 1
        Worker processes for building the graphs.
    progress : bool, default False
        Show progress bars.
    config : str, optional
        What to keep as ``config.yaml`` when a benchmark starts: the options of the command line.

    Returns
    -------
    DataFrame
        One row for each of all finished folds, indexed by ``fold``; columns are Matbench's scores: ``mae``, ``rmse``,
        ``mape`` and ``max_error``, or ``accuracy``, ``balanced_accuracy``, ``f1`` and ``rocauc``. The last is the area
        under the ROC curve of the probabilities; Matbench itself, and ``results.json.gz``, have that of labels rounded
        at 0.5.

    Raises
    ------
    ValueError
        If the task or a fold does not exist, the task has no structures, a size or a setting is out of range, or
        `folder` holds another benchmark.
    FileExistsError
        If `folder` holds a run of another kind.
    OSError
        If nothing can be written into `folder`.
    ConnectionError
        If the dataset must be downloaded and cannot be.
    """
    listed = catalogue()
    tasks = [name for name in listed.index if name.startswith("matbench_")]
    if task not in tasks:
        raise ValueError(f"Matbench has no structure task {task!r}; it has {', '.join(tasks)}.")
    is_class = listed.loc[task, "task"] == "classification"
    fold_numbers = list(fold_numbers)
    for number in fold_numbers:
        check_number("fold", number, whole=True, least=0, most=4)
    settings = ({"loss": "mse"} if is_class and method_named(method).network else {}) | dict(settings or {})
    n_processes = check_settings(method, seed=seed, sizes=sizes, settings=settings)
    check_jobs(n_jobs)
    run = {"task": task, "method": method, "seed": seed, "sizes": dict(sizes or {}), "settings": settings}
    with named("sizes and settings"):
        run = json.loads(json.dumps(run | {"version": __version__}, default=plain))  # as it is read again
    folder = Path(os.path.expanduser(folder))
    check_folder(folder)
    with together(n_processes):
        _begin(folder / BENCHMARK, run, config)
        graphs = _graphs(task, folder, n_jobs)
        parts = predictors.graph_folds(graphs)
        for number in fold_numbers:
            if not _fold_file(folder, number).exists():
                fold = parts[number]
                options = {"seed": seed, "sizes": sizes, "settings": settings, "resume": True, "progress": progress}
                learn, validate = graphs.subset(fold.train), graphs.subset(fold.validation)
                predictor = predictors.train(method, learn, validate, folder / f"fold_{number}", **options)
                values = predictor.predict(graphs.subset(fold.test)).iloc[:, 0].astype(float)
                values = values.clip(0, 1) if is_class else values
                found = {"predictions": values.to_dict(), "run": run}
                _write(_fold_file(folder, number), json.dumps(with_checksum(found)) + "\n")
        return _record(task, run, folder, graphs)


def _write(path: Path, text: str) -> None:
    """Write a file; of several processes that train together, one does."""
    if started_as() == 0:
        write_atomically(path, text)


def _begin(path: Path, run: dict, config: str | None) -> None:
    """Keep what is run in the folder; raise an error when something else was run there."""
    if started_as() > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(".lock"), f"the benchmark in {path.parent}", _SHORT):  # folds may start at the same time
        _keep_or_compare(path, run, config)


def _keep_or_compare(path: Path, run: dict, config: str | None) -> None:
    if not path.exists():
        predictors.check_free(path.parent)
        if config is not None:
            _write(path.with_name(predictors.CONFIG), config)
        _write(path, json.dumps(run, indent=1) + "\n")
        return
    with named(path):
        before = json.loads(path.read_text(encoding="utf-8"))
        for name, value in run.items():
            if before[name] != value:
                raise ValueError(
                    f"{path.parent} holds a benchmark with {name} = {before[name]!r}. Choose another folder."
                )


def _graphs(task: str, folder: Path, n_jobs: int) -> CrystalGraphs:
    """Open the task's graphs, memory-mapped; the first to come builds them."""
    with locked(folder / "graphs.lock", f"the graphs of {task}", _LONG):
        if not (folder / "graphs" / META).exists():
            predictors.open_graphs(task, folder=folder / "graphs", n_jobs=n_jobs)
    graphs = CrystalGraphs.load(folder / "graphs")
    if graphs.attrs.get("name") != task:
        raise ValueError(
            f"{folder / 'graphs'} holds graphs of {graphs.attrs.get('name')!r}, not {task!r}. Remove that folder, or "
            "choose another one for the benchmark."
        )
    return graphs


def _fold_file(folder: Path, number: int) -> Path:
    return folder / f"fold_{number}.json"


def _record(task: str, run: dict, folder: Path, graphs: CrystalGraphs) -> pd.DataFrame:
    """Let the package score all finished folds; write its file when no fold is missing."""
    bench = _empty_benchmark(task)
    recorder = bench.tasks_map[task]
    truth = pd.Series(graphs.targets[:, 0].astype(float), index=graphs.names)
    if recorder.metadata.task_type == "classification":
        truth = truth.astype(bool)
    # All that the package reads of the dataset now; loading it again would take minutes and gigabytes.
    recorder.df = pd.DataFrame({recorder.metadata.input_type: None, recorder.metadata.target: truth})
    scores = {}
    for number in recorder.folds:
        if _fold_file(folder, number).exists():
            ids = recorder.get_test_data(number).index
            with named(_fold_file(folder, number)):
                recorded = json.loads(_fold_file(folder, number).read_text(encoding="utf-8"))
                # A file from before there were checksums holds the predictions alone.
                found = without_checksum(recorded) if CHECKSUM in recorded else {"predictions": recorded}
                if found.get("run", run) != run:
                    raise ValueError("it is of another benchmark. Remove it, or choose another folder.")
                values = found["predictions"]
                check_same_length(predictions=values, test_crystals=ids)
                predicted = np.array([values[name] for name in ids], dtype=float)
            recorder.record(number, predicted, params=run)
            scores[number] = dict(recorder.results[f"fold_{number}"].scores)
            if recorder.metadata.task_type == "classification":  # the package rounds before it computes the area
                scores[number]["rocauc"] = roc_auc_score(truth[ids], predicted)
    if recorder.all_folds_recorded and started_as() == 0:
        bench.add_metadata(run)
        recorder.validate()
        with replacing(folder / RESULTS) as temporary:
            bench.to_file(temporary)
    return pd.DataFrame.from_dict(scores, orient="index").rename_axis("fold")


def _empty_benchmark(task: str) -> MatbenchBenchmark:
    """Return the package's own benchmark of one task, with nothing recorded."""
    from matbench.bench import MatbenchBenchmark  # takes seconds

    # It reports each step on standard output, where the command line writes its table.
    logging.getLogger("matbench").setLevel(logging.WARNING)
    return MatbenchBenchmark(autoload=False, subset=[task])
