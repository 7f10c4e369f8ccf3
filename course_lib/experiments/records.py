"""Read and write recorded runs: a file for each study and dataset, with one JSON object per line for each run."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from course_lib.datasets import DATA, Fold
from course_lib.experiments.protocol import ALL_SPLITS, with_fewer
from course_lib.experiments.provenance import code_sha256
from course_lib.experiments.studies import Run
from course_lib.files import CHECKSUM, locked, with_checksum, without_checksum, write_atomically
from course_lib.methods import METHODS, TUNED_ARGUMENTS, Network
from course_lib.validation import named

RESULTS = DATA / "results"

PATIENCE = 10
"""Seconds to wait for the end of another process that writes to a file of results."""

_ENTRIES = frozenset(Run.__dataclass_fields__) | {
    "configuration", "mae", "seconds", "n_parameters", "best_epoch", "n_learned", "predictions", "data_sha256",
    "version", "commit", "code_sha256",
}  # fmt: skip
"""The entries of a record, without its checksum."""


def results_file(dataset: str, study: str) -> Path:
    """Return the file that holds the recorded runs of a study, with one JSON object per line."""
    return RESULTS / f"{study}_{dataset}.jsonl"


@cache
def code_of(method: str) -> str:
    """Return the hash of the code that the results of a method depend on, and of the arguments that make it.

    Arguments that are tuned are part of the `configuration` instead: the tuning itself was run without the best ones.
    """
    network, learner = METHODS[method].network, METHODS[method].learner
    if network is None:
        made_by, own = learner, {learner.module, "course_lib.features"}
    else:
        untuned = {name: value for name, value in network.arguments.items() if name not in TUNED_ARGUMENTS}
        made_by, own = replace(network, arguments=untuned), {*_modules(network), "course_lib.training"}
    code = code_sha256(own | {"course_lib.composition"})
    return hashlib.sha256(f"{code} {made_by}".encode()).hexdigest()


def _modules(network: Network) -> set[str]:
    """Return the module of a network, and those of the networks that it is made of."""
    parts = (value for value in network.arguments.values() if isinstance(value, Network))
    return {network.module}.union(*map(_modules, parts))


def configuration(run: Run) -> dict:
    """Return all that differs from the defaults: the settings of the method, and of the run."""
    return METHODS[run.method].tuned_settings | dict(run.settings)


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
        (in the target's unit); ``configuration``, all settings that differ from the defaults; ``seconds``, CPU time of
        the training; ``n_parameters``; ``best_epoch``; ``n_learned``, training crystals, validation included; ``ids``
        and ``predictions``, the predicted crystals and their predictions; ``ratio``, the size of the test set over that
        of the rest of the fold, by which intervals are corrected; ``data_sha256`` and ``version``; ``commit`` and
        ``code_sha256``, the code that made the run (missing where it was not recorded).

    Warns
    -----
    UserWarning
        If a run was made by code that differs from the present code of its method.

    Raises
    ------
    FileNotFoundError
        If nothing is recorded.
    ValueError
        If a target or a method has no run, or if a run was made on other crystals.
    """
    path = results_file(dataset, study)
    if not path.is_file():
        raise FileNotFoundError(
            f"no runs of {study!r} on {dataset!r} are recorded. Make them: python -m course_lib.experiments {study}."
        )
    rows, outdated = [], set()
    for _, record in _read_records(path):
        if record["method"] in METHODS and record.get("code_sha256") not in (None, code_of(record["method"])):
            outdated.add(record["method"])
        of_run, errors = record["target"].split("+"), record.pop("mae")
        predictions = record.pop("predictions")
        place = (_folds_file(dataset), record["split"], record["fold"])
        ids = None if predictions is None else _ids(*place, record["part"], record["n_train"])
        shared = record | {"task": record["target"], "settings": dict(record["settings"]), "ids": ids}
        shared["ratio"] = _ratio(*place)
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
            f"{path.name}: runs of {', '.join(sorted(outdated))} were made by code that has changed since. Make them "
            f"again: python -m course_lib.experiments {study}.",
            stacklevel=2,
        )
    return table


def _only(table: pd.DataFrame, column: str, wanted: Sequence[str]) -> pd.DataFrame:
    parts = dict(list(table.groupby(column)))
    missing = [name for name in wanted if name not in parts]
    if missing:
        raise ValueError(f"no run has the {column} {missing[0]!r}; recorded are {', '.join(parts)}.")
    return pd.concat([parts[name] for name in wanted], ignore_index=True)


def _folds_file(dataset: str) -> Path:
    return RESULTS / f"folds_{dataset}.json"


def write_folds(dataset: str, ids: list[str], folds: Mapping[str, Sequence[Fold]]) -> None:
    """Record which crystals each fold holds, as positions in one list of ids, so that records need not repeat them.

    Splits that other studies have recorded for the same crystals are kept.

    Raises
    ------
    TimeoutError
        If another process writes the file for longer than ten seconds.
    ValueError
        If other folds are recorded for the same crystals: the results that refer to them would be misread.
    """
    path = _folds_file(dataset)
    with locked(path.with_name(f".{path.name}.lock"), f"the folds in {path}", PATIENCE):
        _forget_folds()  # another study may have written it
        before = _read_folds(path) if path.is_file() else {}
        content = before if before.get("ids") == ids else {"ids": ids}
        for split, parts in folds.items():
            made = [{name: rows.tolist() for name, rows in fold._asdict().items()} for fold in parts]
            if content.setdefault(split, made) != made:
                raise ValueError(
                    f"{path} holds other folds for split {split!r}, to which recorded results refer. Remove it "
                    "together with the results on this dataset, and run the studies again."
                )
        write_atomically(path, json.dumps(with_checksum(content)) + "\n")
        _forget_folds()


@cache
def _read_folds(path: Path) -> dict:
    with named(path):
        return _checked(json.loads(path.read_text(encoding="utf-8")), frozenset({"ids", *ALL_SPLITS}))


@cache
def _ids(path: Path, split: str, fold: int, part: str, n_train: int | None) -> list[str]:
    recorded = _read_folds(path)
    whole = Fold(**{name: np.array(rows) for name, rows in recorded[split][fold].items()})
    return [recorded["ids"][row] for row in getattr(with_fewer(whole, n_train, fold), part)]


@cache
def _ratio(path: Path, split: str, fold: int) -> float:
    """Return the size of the test set over that of all other parts of a fold; NaN where it is not recorded."""
    parts = _read_folds(path).get(split) if path.is_file() else None
    if parts is None:
        return nan
    sizes = {part: len(rows) for part, rows in parts[fold].items()}
    return sizes["test"] / (sizes["train"] + sizes["validation"])


def _forget_folds() -> None:
    """Drop what this process remembers of files of folds."""
    for function in (_read_folds, _ids, _ratio):
        function.cache_clear()


def keep(path: Path, wanted: Iterable[Run], sha256: str) -> set[Run]:
    """Return the runs recorded with exactly these data and with their methods' present settings, and drop all others.

    Runs that are not wanted are dropped from the file, too, and so is a last line without its end: it was being written
    when the run was killed. What is dropped is appended to ``<path>.dropped``: it may have taken hours.
    """
    if not path.is_file():
        return set()
    wanted, runs, kept, dropped = set(wanted), set(), [], []
    for line, record in _read_records(path):
        run = key_of(record)
        same = run in wanted and record["data_sha256"] == sha256  # first, for a method that is no longer there
        same = same and record["configuration"] == _as_json(configuration(run))
        # Runs from before hashes were recorded are kept: nothing says which code made them.
        same = same and record.get("code_sha256") in (None, code_of(run.method))
        if not same:
            dropped.append(line)
        elif run not in runs:
            runs.add(run)
            kept.append(line)
    if dropped:
        beside = path.with_name(f"{path.name}.dropped")
        with beside.open("a", encoding="utf-8") as file:
            file.writelines(dropped)
        print(f"{len(dropped)} runs on other data, of other code or settings, or not wanted are now in {beside}.")
    if "".join(kept) != path.read_text(encoding="utf-8"):
        write_atomically(path, "".join(kept))
    return runs


def _read_records(path: Path) -> list[tuple[str, dict]]:
    """Return the lines of a file of results with their content, except an incomplete last line.

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
                key_of(record)
            found.append((line, record))
    return found


def _checked(content: dict, known: frozenset[str]) -> dict:
    """Return what was recorded; raise ``ValueError`` if it has changed."""
    if CHECKSUM in content:  # records from before checksums were introduced have none
        content = without_checksum(content)
    unknown = sorted(set(content) - known)
    if unknown:
        raise ValueError(f"it has an entry {unknown[0]!r}, which this library does not write")
    return content


def _as_json(value: dict) -> dict:
    return json.loads(json.dumps(value))  # tuples become lists


def key_of(record: dict) -> Run:
    """Return the `Run` of a record, whose tuples JSON has made lists."""
    settings = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in record["settings"])
    return Run(**{name: record[name] for name in Run.__dataclass_fields__ if name in record} | {"settings": settings})
