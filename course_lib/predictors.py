"""Train any method by name, keep it in a folder, and predict with what is kept there.

The folder of a run holds ``run.json``, which says what was trained on what, and the model: ``best.ckpt`` of a network,
``forest.npz`` of a random forest. Reading them runs no code.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm

from course_lib import __version__, training
from course_lib.composition import feature_groups, magpie
from course_lib.datasets import Folds, folds, stream_dataset
from course_lib.files import write_atomically
from course_lib.forest import FlatForest, forest_pipeline
from course_lib.graphs import CrystalGraphs
from course_lib.methods import METHODS, Method, trained
from course_lib.models import CrystalModel
from course_lib.published import UNITS, load_published
from course_lib.training import CrystalRegressor, FitConfig

RUN = "run.json"
_NETWORK, _FOREST = "best.ckpt", "forest.npz"
_ROUNDING = 1e-6  # a feature is beyond its range by more than this share of it


@dataclass(frozen=True)
class TrainingRange:
    """Which compositions a model has learned from.

    A composition is outside when it has an element that no training crystal has, or when one of its 145 composition
    features is smaller or larger than in any training crystal. That says nothing about the structure, and a crystal
    inside may be predicted badly; one outside is a guess.

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

    @classmethod
    def of(cls, graphs: CrystalGraphs) -> TrainingRange:
        """Return the range of some crystals."""
        features = graphs.features
        elements = set().union(*(_species(graphs, row).tolist() for row in range(len(graphs))))
        return cls(sorted(elements), features.min(axis=0).tolist(), features.max(axis=0).tolist())

    def outside(self, graphs: CrystalGraphs) -> list[str]:
        """Return for each crystal what is outside, in words; an empty text where nothing is."""
        from pymatgen.core import Element

        low, high = np.array(self.low), np.array(self.high)
        margin = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        beyond = (graphs.features < low - margin) | (graphs.features > high + margin)
        names = list(chain(*feature_groups().values()))
        words = []
        for row, features in enumerate(beyond):
            unknown = sorted(set(_species(graphs, row).tolist()) - set(self.elements))
            if unknown:
                words.append("element " + ", ".join(Element.from_Z(number).symbol for number in unknown))
            elif features.any():
                others = f" and {features.sum() - 1} more" if features.sum() > 1 else ""
                words.append(names[int(features.argmax())] + others)
            else:
                words.append("")
        return words


def _species(graphs: CrystalGraphs, row: int) -> np.ndarray:
    """Return the atomic numbers of the atoms of one crystal of a view."""
    b = graphs.rows[row]
    return graphs.species[graphs.atom_offset[b] : graphs.atom_offset[b + 1]]


@dataclass(frozen=True)
class Predictor:
    """A trained model with what is known about it.

    Attributes
    ----------
    model : CrystalRegressor or FlatForest
        What predicts.
    method : str
        How it was made.
    units : dict
        Unit of each target, by name; the targets in their order.
    training_range : TrainingRange or None
        None where it is not known.
    """

    model: CrystalRegressor | FlatForest
    method: str
    units: dict[str, str]
    training_range: TrainingRange | None

    def predict(self, graphs: CrystalGraphs) -> pd.DataFrame:
        """Predict all crystals of `graphs`, which have composition features: (len(graphs), n_targets), by id."""
        if isinstance(self.model, CrystalRegressor):
            return training.predict(self.model, graphs)
        values = self.model.predict(graphs.features)
        return pd.DataFrame(values, index=pd.Index(graphs.names, name="id"), columns=self.model.target_names)


def method_named(name: str) -> Method:
    """Return a method that is trained: an entry of `course_lib.methods.METHODS`.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in trained():
        raise ValueError(f"there is no method {name!r}; choose one of {', '.join(trained())}.")
    return METHODS[name]


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
        If the saved graphs have no composition features; and as `load_dataset`.
    """
    if (Path(dataset) / "meta.json").is_file():
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

    counts = (np.unique(_species(graphs, row), return_counts=True) for row in range(len(graphs)))
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
) -> Predictor:
    """Train a method and keep it in `folder`.

    Parameters
    ----------
    method : str
        As `method_named` takes it.
    train, validation : CrystalGraphs
        With composition features. A network chooses its best epoch by the validation set; a forest learns from it too.
    folder : path
        Where the run is kept.
    seed : int, default 0
        Seed of the initial weights, the shuffling and dropout, or the trees.
    sizes : mapping, optional
        Arguments of the network that differ from the method's, for example ``{"hidden": 256}``.
    settings : mapping, optional
        Arguments of `FitConfig`, or parameters of the forest, that differ from the method's.
    resume : bool, default False
        Go on with the run in `folder`, if there is one.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    Predictor
        The same that `load` gives.

    Raises
    ------
    FileExistsError
        If `folder` holds a run and `resume` is false.
    ValueError
        If the method, a size or a setting is not known, or has a value that it cannot have.
    """
    chosen, folder = method_named(method), Path(folder)
    if not resume:
        check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = chosen.settings | dict(settings or {})
    start = time.perf_counter()
    if chosen.network is None:
        model, details = _train_forest(method, train, validation, folder, seed, dict(sizes or {}), settings)
    else:
        network = _make_network(method, chosen, len(train.target_names), seed, dict(sizes or {}))
        config = _fit_config(settings, seed=seed, folder=folder, resume=resume, progress=progress)
        result = training.fit(network, train, validation, config)
        model, details = result.model, {"best_epoch": result.best_epoch}
    units = {name: train.attrs.get("units", {}).get(name, "unknown") for name in train.target_names}
    predictor = Predictor(model, method, units, TrainingRange.of(train))
    about = {
        "method": method,
        "units": units,
        "sizes": dict(sizes or {}),
        "settings": settings,
        "seed": seed,
        "data": {name: train.attrs.get(name) for name in ("name", "sha256")},
        "n_train": len(train),
        "n_validation": len(validation),
        "seconds": round(time.perf_counter() - start, 2),
        "version": __version__,
        **details,
        "training_range": asdict(predictor.training_range),
    }
    rank_zero_only(write_atomically)(folder / RUN, json.dumps(about, indent=1) + "\n")
    return predictor


def holds_run(folder: str | os.PathLike) -> bool:
    """Return whether a run was begun in the folder."""
    return any(Path(folder, name).exists() for name in (RUN, "last.ckpt"))


def check_free(folder: str | os.PathLike) -> None:
    """Raise ``FileExistsError`` when the folder holds a run."""
    if holds_run(folder):
        raise FileExistsError(f"{folder} holds a run. Choose another folder, or go on with that run (--resume).")


def _make_network(name: str, method: Method, n_targets: int, seed: int, sizes: dict) -> CrystalModel:
    torch.manual_seed(seed)
    try:
        return method.network(n_targets=n_targets, **sizes)
    except (TypeError, RuntimeError) as error:  # an argument that it has not, or one that makes no layer
        raise ValueError(f"sizes of {name}: {error}") from error


def _fit_config(settings: dict, **ours: object) -> FitConfig:
    """Return the settings of a training; raise ``ValueError`` for one that is not known, or is not a number."""
    known = {name: field.default for name, field in FitConfig.__dataclass_fields__.items() if name not in ours}
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"there is no setting {name!r} of a network; there are {', '.join(known)}.")
        if isinstance(known[name], int | float) and not isinstance(value, int | float):
            raise ValueError(f"the setting {name} is {value!r}, not a number.")
    return FitConfig(**{**settings, **ours})


def _train_forest(
    name: str, train: CrystalGraphs, validation: CrystalGraphs, folder: Path, seed: int, sizes: dict, settings: dict
) -> tuple[FlatForest, dict]:
    if sizes:
        raise ValueError(f"sizes of {name}: a forest has none. Give {sorted(sizes)[0]!r} as a setting.")
    forest = forest_pipeline(seed)["forest"].set_params(**settings)
    features = np.concatenate([train.features, validation.features])
    targets = np.concatenate([train.targets, validation.targets])
    if np.isnan(targets).any():
        raise ValueError("a forest cannot learn from missing labels. Drop these crystals, or train a network.")
    forest.fit(features, targets[:, 0] if targets.shape[1] == 1 else targets)
    flat = FlatForest.of(forest, train.target_names)
    flat.save(folder / _FOREST)
    return flat, {}


def load(path: str | os.PathLike) -> Predictor:
    """Load a trained model.

    Parameters
    ----------
    path : path
        The folder of a run (`train`), a checkpoint in such a folder, or a checkpoint of the original CGCNN code
        (``.pth.tar``).

    Raises
    ------
    FileNotFoundError
        If there is nothing to load.
    ValueError
        If it is something else.
    """
    path = Path(path)
    if path.is_dir():
        kept = [path / name for name in (_NETWORK, _FOREST) if (path / name).is_file()]
        if not (path / RUN).is_file() or not kept:
            raise FileNotFoundError(f"{path} holds no finished run: there is no {RUN} with a model beside it.")
        path = kept[0]
    if path.suffix not in {".ckpt", ".npz"}:
        model = load_published(path)
        return Predictor(
            model, "published CGCNN", {name: UNITS.get(name, "unknown") for name in model.target_names}, None
        )
    about = json.loads((path.parent / RUN).read_text(encoding="utf-8")) if (path.parent / RUN).is_file() else None
    if about and about["method"] in trained() and METHODS[about["method"]].network:
        METHODS[about["method"]].network.load()  # so that its class is known, wherever it is defined
    model = FlatForest.load(path) if path.suffix == ".npz" else training.load(path)
    if about is None:
        return Predictor(model, "unknown", dict.fromkeys(model.target_names, "unknown"), None)
    return Predictor(model, about["method"], about["units"], TrainingRange(**about["training_range"]))
