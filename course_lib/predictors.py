"""Train any method by name, keep it in a folder, and predict with what is kept there.

The folder of a run holds ``run.json``, which says what is trained on what, and the model: ``best.ckpt`` of a network,
``forest.npz`` of trees, ``kernel_ridge.npz`` of a kernel ridge regression. ``run.json`` exists from the start, so that
a run can be told from another when it is resumed; at the end it holds the model's checksum. Reading them runs no code.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from course_lib import __version__, training
from course_lib.composition import feature_groups, magpie
from course_lib.datasets import Folds, folds, stream_dataset
from course_lib.features import features_of
from course_lib.files import CHECKSUM, check_folder, sha256_of, with_checksum, without_checksum, write_atomically
from course_lib.flat_models import FlatForest, FlatKernelRidge, FlatModel
from course_lib.graphs import CrystalGraphs
from course_lib.makers import (
    SETTINGS,
    all_settings,
    check_trained_from_graphs,
    make_config,
    make_learner,
    make_network,
    method_named,
)
from course_lib.methods import METHODS, trained
from course_lib.models import describe
from course_lib.parallel import started_as, together
from course_lib.published import UNITS, load_published
from course_lib.training import CrystalRegressor
from course_lib.validation import check_jobs, check_number, named, plain

RUN = "run.json"
_NETWORK, _FOREST, _KERNEL_RIDGE = "best.ckpt", "forest.npz", "kernel_ridge.npz"
_FLAT = {
    "random_forest": (FlatForest.of, _FOREST),
    "boosting": (FlatForest.of_boosting, _FOREST),
    "kernel_ridge": (FlatKernelRidge.of, _KERNEL_RIDGE),
}  # how a fitted regressor is kept, by the function that makes it: what flattens it, and its file
_MODELS = (_NETWORK, _FOREST, _KERNEL_RIDGE)
CONFIG = "config.yaml"
_KNOWN_OF_A_MODEL = ("method", "units", "training_range")  # what ``run.json`` must say to predict with a model,
_KNOWN_OF_A_RUN = (*_KNOWN_OF_A_MODEL, "network", "settings", "seed", "checksums", "version")  # to resume a run,
_OBJECTS = ("units", "network", "settings", "checksums", "files", "training_range")  # and its mappings
_WHERE = ("accelerator", "devices", "num_nodes", "n_jobs", "verbose")  # settings that may change when a run is resumed
_ROUNDING = 1e-6  # a feature is beyond its range by more than this share of it


@dataclass(frozen=True)
class TrainingRange:
    """The range of compositions that a model was trained on.

    A composition is out of domain when it has an element that no training crystal has, or when one of its 145
    composition features is smaller or larger than in any training crystal. That says nothing about the structure, so
    even a crystal in the domain may be predicted badly; a prediction out of domain is a guess.

    Attributes
    ----------
    elements : list of int
        Atomic numbers of the elements that occur.
    low, high : list of float
        Smallest and largest value of each composition feature.
    """

    elements: list[int]
    low: list[float]
    high: list[float]

    def __post_init__(self):
        for name in ("elements", "low", "high"):
            for one in getattr(self, name):
                check_number(f"a number of {name}", one, whole=name == "elements")
        if len(self.low) != len(self.high):
            raise ValueError("a training range must have as many smallest values as largest.")

    @classmethod
    def of(cls, *parts: CrystalGraphs) -> TrainingRange:
        """Return the range of the crystals of all these parts."""
        features = np.concatenate([graphs.features for graphs in parts])
        species = (graphs.species_of(row).tolist() for graphs in parts for row in range(len(graphs)))
        return cls(sorted(set().union(*species)), features.min(axis=0).tolist(), features.max(axis=0).tolist())

    def outside(self, graphs: CrystalGraphs) -> list[str]:
        """Describe for each crystal what is out of domain; an empty text if nothing is."""
        from pymatgen.core import Element

        self.check_features(graphs)
        low, high = np.array(self.low), np.array(self.high)
        margin = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        beyond = (graphs.features < low - margin) | (graphs.features > high + margin)
        names = list(chain(*feature_groups().values()))
        words = []
        for row, features in enumerate(beyond):
            unknown = sorted(set(graphs.species_of(row).tolist()) - set(self.elements))
            if unknown:
                words.append("element " + ", ".join(Element.from_Z(number).symbol for number in unknown))
            elif features.any():
                others = f" and {features.sum() - 1} more" if features.sum() > 1 else ""
                words.append(names[int(features.argmax())] + others)
            else:
                words.append("")
        return words

    def check_features(self, graphs: CrystalGraphs) -> None:
        """Raise ``ValueError`` unless the crystals have as many composition features as the training crystals."""
        found, wanted = graphs.features.shape[1], len(self.low)
        if found != wanted:
            raise ValueError(
                f"the crystals have {found} composition features, the training crystals had {wanted}. Build the graphs "
                "of both in the same way."
            )


@dataclass(frozen=True)
class Predictor:
    """A trained model with its description.

    Attributes
    ----------
    model : CrystalRegressor or FlatModel
        What predicts.
    method : str
        How it was made.
    units : dict
        Unit of each target, by name; the targets in their order.
    training_range : TrainingRange or None
        None if it is not known.
    """

    model: CrystalRegressor | FlatModel
    method: str
    units: dict[str, str]
    training_range: TrainingRange | None

    def predict(self, graphs: CrystalGraphs) -> pd.DataFrame:
        """Predict all crystals of `graphs`, which have composition features: (len(graphs), n_targets), by id."""
        if isinstance(self.model, CrystalRegressor):
            return training.predict(self.model, graphs)
        if self.training_range is not None:
            self.training_range.check_features(graphs)
        values = self.model.predict(features_of(graphs, self.model.reads.tolist()))
        return pd.DataFrame(values, index=pd.Index(graphs.names, name="id"), columns=self.model.target_names)


def open_graphs(
    dataset: str | os.PathLike, *, folder: str | os.PathLike | None = None, n_jobs: int = 1
) -> CrystalGraphs:
    """Return the graphs of a dataset, with composition features, all its targets, and its ``attrs``.

    Parameters
    ----------
    dataset : str or path
        A folder that ``CrystalGraphs.save`` wrote, or what `course_lib.datasets.load_dataset` takes.
    folder : path, optional
        Where to keep graphs that must be built; in memory only where not given.
    n_jobs : int, default 1
        Worker processes for building.

    Raises
    ------
    ValueError
        If the saved graphs have no composition features, or `folder` is given for saved graphs; and as `load_dataset`.
    """
    check_jobs(n_jobs)
    with named(dataset):
        if (Path(dataset) / "meta.json").is_file():
            if folder is not None:
                raise ValueError(f"{dataset} holds graphs already. Use them where they are.")
            graphs = CrystalGraphs.load(dataset)
            if not graphs.composition.shape[1]:
                raise ValueError(
                    f"the graphs in {dataset} have no composition features. Build them with composition=magpie."
                )
            return graphs
        stream = stream_dataset(dataset)
        return CrystalGraphs.from_structures(
            # Shown on terminals only: a bar in a log file is noise.
            tqdm(stream.structures, "Building graphs", len(stream.ids), unit=" crystals", disable=None),
            ids=stream.ids,
            targets=stream.targets,
            composition=magpie,
            attrs=stream.attrs,
            folder=folder,
            n_jobs=n_jobs,
        )


def graph_folds(graphs: CrystalGraphs, kind: str = "random", n_splits: int = 5) -> Folds:
    """Split graphs as `course_lib.datasets.folds` splits the frame that they were made from.

    Parameters
    ----------
    graphs : CrystalGraphs
        As from `open_graphs`; a Matbench task is known by ``attrs["name"]``.
    kind : {"random", "formula"}
        As for `course_lib.datasets.folds`.
    n_splits : int, default 5
        Number of folds.
    """
    frame = pd.DataFrame(index=pd.Index(graphs.names))
    frame.attrs["name"] = graphs.attrs.get("name")
    if kind == "formula":
        frame["formula"] = formulas(graphs)
    return folds(frame, kind, n_splits)


def formulas(graphs: CrystalGraphs) -> list[str]:
    """Return the reduced formula of each crystal."""
    from pymatgen.core import Composition, Element

    counts = (np.unique(graphs.species_of(row), return_counts=True) for row in range(len(graphs)))
    return [
        Composition({Element.from_Z(int(number)): int(n) for number, n in zip(*count, strict=True)}).reduced_formula
        for count in counts
    ]


def train(
    method: str,
    train: CrystalGraphs,
    validation: CrystalGraphs,
    folder: str | os.PathLike,
    *,
    seed: int = 0,
    sizes: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    resume: bool = False,
    progress: bool = False,
    config: str | None = None,
) -> Predictor:
    """Train a method and keep it in `folder`.

    Parameters
    ----------
    method : str
        As `method_named` takes it, but for those that read what a pretrained network makes of the crystals.
    train, validation : CrystalGraphs
        With composition features. The validation set chooses the best epoch of a network. A regressor on features
        is trained on it as well, so its error there says nothing about new crystals.
    folder : path
        Where the run is kept; ``~`` is the home folder.
    seed : int, default 0
        Seed of the initial weights, the shuffling and dropout, or the trees.
    sizes : mapping, optional
        Arguments of the network that differ from the method's, for example ``{"hidden": 256}``.
    settings : mapping, optional
        Arguments of `FitConfig`, or settings of the regressor, that differ from the method's.
    resume : bool, default False
        Continue the run in `folder`, if it holds one: the same method, data, settings, seed and version. Where it is
        computed may differ (devices, processes).
    progress : bool, default False
        Show a progress bar.
    config : str, optional
        What to keep as ``config.yaml`` when a run starts: the options of the command line.

    Returns
    -------
    Predictor
        The same that `load` gives.

    Raises
    ------
    FileExistsError
        If `folder` holds a run and `resume` is false, or holds something else.
    OSError
        If nothing can be written into `folder`.
    TimeoutError
        If another training run is active in `folder`.
    ValueError
        If the method, a size or a setting is unknown, or a value is out of range; if a part has too few crystals or
        the two differ in their targets or features; or if the run to continue is another one.
    """
    folder, seed = _path(folder), plain(seed)
    check_folder(folder)
    check_trained_from_graphs(method)
    _check_parts(train, validation)
    if method_named(method).network is None:
        if (kind := METHODS[method].learner.name) not in _FLAT:
            raise ValueError(f"no file holds a {kind}, which {method} trains. Add it to _FLAT in {__file__}.")
        wanted = all_settings(method, settings, seed=seed, sizes=sizes)
        _check_labels(method, train, validation)
        parts, n_processes = None, 1
    else:
        if "::" in str(folder):  # only after the training would the checkpoint turn out to be unreadable
            raise ValueError(f"{folder} has '::' in its name, which Lightning takes for an address. Rename it.")
        model = make_network(method, len(train.target_names), seed=seed, sizes=sizes)
        how = make_config(method, settings, seed=seed, folder=folder, resume=resume, progress=progress)
        parts, n_processes = describe(model), how.n_processes
        wanted = {name: getattr(how, name) for name in SETTINGS}
    learned_from = (train, validation) if parts is None else (train,)
    about = {
        "method": method,
        "network": parts,
        "settings": wanted,
        "seed": seed,
        "units": {name: train.attrs.get("units", {}).get(name, "unknown") for name in train.target_names},
        "data": {name: train.attrs.get(name) for name in ("name", "sha256")},
        "checksums": {"training": train.checksum, "validation": validation.checksum},
        "n_train": len(train),
        "n_validation": len(validation),
        "version": __version__,
        "training_range": asdict(TrainingRange.of(*learned_from)),
    }
    with together(n_processes), training.alone_in(folder):
        before = _begin(folder, about, resume, config)
        if _finished(before):
            return load(folder)
        start = time.perf_counter()
        if parts is None:
            kept, details = _fit_learner(method, seed, wanted, train, validation, folder), {}
        else:
            result = training.fit(model, train, validation, how)
            kept, details = result.model, {"best_epoch": result.best_epoch}
        details["seconds"] = round(time.perf_counter() - start, 2)
        _finish(folder, before, details)
    return Predictor(kept, method, before["units"], TrainingRange(**before["training_range"]))


def _path(path: str | os.PathLike) -> Path:
    """Return the path with the home folder for ``~``: Lightning takes it so, and must not write elsewhere."""
    return Path(os.path.expanduser(path))


def _check_parts(train: CrystalGraphs, validation: CrystalGraphs) -> None:
    """Raise ``ValueError`` unless both parts have crystals, with the same targets and as many features."""
    for part, graphs, least in (("training", train, 2), ("validation", validation, 1)):
        if len(graphs) < least:
            raise ValueError(f"the {part} set has {len(graphs)} crystals; it needs at least {least}.")
    if train.target_names != validation.target_names:
        raise ValueError(f"training and validation targets differ: {train.target_names}, {validation.target_names}.")
    if not train.target_names:
        raise ValueError("the crystals have no targets. Give from_structures some.")
    found, wanted = validation.features.shape[1], train.features.shape[1]
    if found != wanted:
        raise ValueError(
            f"the validation crystals have {found} composition features, the training crystals {wanted}. Build the "
            "graphs of both in the same way."
        )


def _check_labels(method: str, *parts: CrystalGraphs) -> None:
    if any(np.isnan(graphs.targets).any() for graphs in parts):
        raise ValueError(f"{method} cannot be trained on missing labels. Drop these crystals, or train a network.")
    if parts[0].targets.shape[1] > 1 and METHODS[method].learner.name == "boosting":
        raise ValueError(f"{method} predicts one property, not {', '.join(parts[0].target_names)}. Choose one target.")


def _fit_learner(
    method: str, seed: int, settings: dict, train: CrystalGraphs, validation: CrystalGraphs, folder: Path
) -> FlatModel:
    reads, names = METHODS[method].learner.reads, train.target_names
    features = np.concatenate([features_of(graphs, reads) for graphs in (train, validation)])
    targets = np.concatenate([train.targets, validation.targets])
    learner = make_learner(method, features.shape[1], seed=seed, settings=settings)
    learner.fit(features, targets[:, 0] if targets.shape[1] == 1 else targets)
    make, file = _FLAT[METHODS[method].learner.name]
    flat, path = make(learner, names, reads), folder / file
    with named(f"{method} with these settings"):
        flat.check()
    flat.save(path)
    return flat


# --- what a folder holds ------------------------------------------------------------------------------------------


def holds_run(folder: str | os.PathLike) -> bool:
    """Return whether something was trained in the folder; a run without a checkpoint does not count."""
    return any(Path(folder, name).exists() for name in ("last.ckpt", *_MODELS))


def check_free(folder: str | os.PathLike) -> None:
    """Raise ``FileExistsError`` when the folder holds a run, or something else that must not be mixed with one."""
    if holds_run(folder):
        raise FileExistsError(f"{folder} holds a run. Choose another folder, or continue that run (--resume).")
    for name, what in (("benchmark.json", "a benchmark"), ("meta.json", "graphs")):
        if Path(folder, name).exists():
            raise FileExistsError(f"{folder} holds {what} ({name}). Choose another folder.")


def _begin(folder: Path, about: dict, resume: bool, config: str | None) -> dict:
    """Write ``run.json``, or check that the folder holds this run; return its content at the end."""
    with named(f"settings of {about['method']}"):
        about = json.loads(json.dumps(about))  # as it is read again
    if started_as() > 0:  # the first process has started it, or is about to
        return _read_run(folder, _KNOWN_OF_A_RUN) if holds_run(folder) else about
    if resume and holds_run(folder):
        before = _read_run(folder, _KNOWN_OF_A_RUN)
        _check_same_run(folder, before, about)
        return before
    check_free(folder)
    if config is None:
        (folder / CONFIG).unlink(missing_ok=True)  # of a run that failed
    else:
        write_atomically(folder / CONFIG, config)
    _write_run(folder, about)
    return about


def _finish(folder: Path, about: dict, details: dict) -> None:
    """Add to ``run.json`` what is known at the end, with the checksum of the model; one process does it for all."""
    if started_as() > 0:
        return
    model = next(name for name in _MODELS if (folder / name).exists())
    about = about | details | {"files": {model: sha256_of(folder / model)}}
    _write_run(folder, about)


def _write_run(folder: Path, about: dict) -> None:
    write_atomically(folder / RUN, json.dumps(with_checksum(about), indent=1) + "\n")


def _read_run(folder: Path, needed: Sequence[str]) -> dict:
    """Return the content of ``run.json``; raise ``ValueError`` if it is not what `train` wrote."""
    path = folder / RUN
    if not path.exists():
        raise ValueError(f"{folder} holds a model, but no {RUN} that describes it. Choose another folder.")
    with named(path):
        about = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(about, dict) and CHECKSUM in about:  # runs from before there were checksums have none
            about = without_checksum(about)
        missing = [name for name in needed if name not in about] if isinstance(about, dict) else needed
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}, which files of this library have. Fetch it again.")
        wrong = [name for name in _OBJECTS if name in about and not isinstance(about[name], dict)]
        if about.get("network") is None:  # of a forest
            wrong = [name for name in wrong if name != "network"]
        if wrong:
            raise ValueError(f"{wrong[0]} is {about[wrong[0]]!r}, not an object. Fetch it again.")
        TrainingRange(**about["training_range"])
    return about


def _finished(about: dict) -> bool:
    return "seconds" in about


def _check_same_run(folder: Path, before: dict, now: dict) -> None:
    """Raise ``ValueError`` when the folder holds a different run."""
    old, new = _identity(before), _identity(now)
    for name in old | new:
        if old.get(name) != new.get(name):
            raise ValueError(
                f"the run in {folder} was started with {name} = {old.get(name)!r}, not {new.get(name)!r}. Continue "
                "with the same, or choose another folder."
            )


def _identity(about: dict) -> dict[str, object]:
    """Return by name what two runs must have in common to be the same."""
    return {
        "method": about["method"],
        "version of course_lib": about["version"],
        **{f"{name} of the network": value for name, value in (about["network"] or {}).items()},
        **{name: value for name, value in about["settings"].items() if name not in _WHERE},
        "seed": about["seed"],
        **{f"unit of {name}": unit for name, unit in about["units"].items()},
        **{f"{part} crystals of checksum": checksum for part, checksum in about["checksums"].items()},
    }


def load(path: str | os.PathLike) -> Predictor:
    """Load a trained model.

    Parameters
    ----------
    path : path
        The folder of a run (`train`), a model in such a folder, or a checkpoint of the original CGCNN code
        (``.pth.tar``).

    Raises
    ------
    FileNotFoundError
        If there is nothing to load.
    ValueError
        If it is something else.
    """
    path = _path(path)
    if path.is_dir():
        about = _read_run(path, _KNOWN_OF_A_MODEL) if (path / RUN).is_file() else {}
        kept = [path / name for name in about.get("files", _MODELS) if (path / name).is_file()]
        if not kept or not _finished(about):
            raise FileNotFoundError(f"{path} holds no finished run: it needs {RUN} and a model.")
        path = kept[0]
    with named(path):
        if path.suffix not in {".ckpt", ".npz"}:
            model = load_published(path)
            units = {name: UNITS.get(name, "unknown") for name in model.target_names}
            return Predictor(model, "published CGCNN", units, None)
        if not (path.parent / RUN).is_file():
            model = _load_model(path)
            return Predictor(model, "unknown", dict.fromkeys(map(str, model.target_names), "unknown"), None)
    return _load_of_run(path, _read_run(path.parent, _KNOWN_OF_A_MODEL))


def _load_of_run(path: Path, about: dict) -> Predictor:
    """Load the model that ``run.json`` describes; raise ``ValueError`` if it is another model."""
    files = about.get("files", {})  # what killed processes and runs from before there were checksums lack
    known = files.get(path.name)
    other = files and path.name in _MODELS and known is None
    if path.is_file() and (other or known not in (None, sha256_of(path))):
        raise ValueError(f"{path} is damaged, or not the model that {RUN} describes (by checksum). Fetch it again.")
    with named(path):
        if about["method"] in trained() and METHODS[about["method"]].network:
            METHODS[about["method"]].network.load()  # so that its class is known, wherever it is defined
        model = _load_model(path)
    if list(about["units"]) != list(model.target_names):
        raise ValueError(
            f"{path} predicts {', '.join(model.target_names)}, but {RUN} names {', '.join(about['units'])}. Fetch both "
            "again."
        )
    return Predictor(model, about["method"], about["units"], TrainingRange(**about["training_range"]))


def _load_model(path: Path) -> CrystalRegressor | FlatModel:
    if path.suffix != ".npz":
        return training.load(path)
    return (FlatKernelRidge if path.name == _KERNEL_RIDGE else FlatForest).load(path)
