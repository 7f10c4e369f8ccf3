"""Predictors: every method by name, kept in a folder and loaded from there, and the range that it was trained on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled, bundled_graphs
from pymatgen.core import Lattice, Structure

from course_lib import predictors
from course_lib.composition import magpie
from course_lib.datasets import folds
from course_lib.forest import forest_pipeline
from course_lib.graphs import CrystalGraphs
from course_lib.methods import METHODS, trained
from course_lib.predictors import (
    TrainingRange,
    formulas,
    graph_folds,
    load,
    method_named,
    open_graphs,
    train,
)

QUICK = {"epochs": 1, "batch_size": 8}


def parts():
    graphs = replace(bundled_graphs(40), attrs={"name": "some", "sha256": "0" * 64, "units": {TARGET: "eV/atom"}})
    return graphs.subset(range(24)), graphs.subset(range(24, 32)), graphs.subset(range(32, 40))


@pytest.mark.parametrize("method", trained())
def test_every_method_predicts_the_same_when_loaded(method, tmp_path):
    learn, validate, rest = parts()
    settings = QUICK if METHODS[method].network else {"n_estimators": 5, "n_jobs": 1}
    predictor = train(method, learn, validate, tmp_path / "run", settings=settings, seed=3)
    loaded = load(tmp_path / "run")
    expected = predictor.predict(rest)
    pd.testing.assert_frame_equal(loaded.predict(rest), expected, rtol=1e-6)
    assert expected.index.tolist() == rest.names.tolist()
    assert list(expected.columns) == [TARGET]
    assert loaded.method == method
    assert loaded.units == {TARGET: "eV/atom"}
    assert loaded.training_range == predictor.training_range
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["data"] == {"name": "some", "sha256": "0" * 64}
    assert about["n_train"] == 24
    assert about["seed"] == 3


def test_a_size_that_is_asked_for_goes_before_that_of_the_method(tmp_path):
    learn, validate, _ = parts()
    predictor = train("cgcnn", learn, validate, tmp_path, sizes={"hidden": 4, "n_conv": 1}, settings=QUICK)
    assert predictor.model.network.config["hidden"] == 4
    assert METHODS["alignn"].network(hidden=16).config["hidden"] == 16


def test_a_run_repeats_with_its_seed(tmp_path):
    learn, validate, rest = parts()
    one, same, other = (
        train("cgcnn", learn, validate, tmp_path / str(k), settings=QUICK, seed=seed).predict(rest)
        for k, seed in enumerate([1, 1, 2])
    )
    pd.testing.assert_frame_equal(one, same)
    assert not np.allclose(one, other)


def test_the_forest_is_that_of_the_library(tmp_path):
    learn, validate, rest = parts()
    found = train("random_forest", learn, validate, tmp_path, seed=5).predict(rest)
    frame = bundled(40)
    expected = forest_pipeline(5).set_params(
        **{f"forest__{name}": value for name, value in METHODS["random_forest"].settings.items()}
    )
    expected.fit(frame["structure"][:32], frame[TARGET][:32].astype(np.float32))
    np.testing.assert_allclose(found[TARGET], expected.predict(frame["structure"][32:]), rtol=1e-9)


def test_several_targets(tmp_path):
    frame = bundled(40)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], composition=magpie, targets=frame[[TARGET, "band_gap"]], attrs=frame.attrs
    )
    for method, settings in (("multitask_gat", QUICK), ("random_forest", {"n_estimators": 3})):
        train(method, graphs.subset(range(30)), graphs.subset(range(30, 40)), tmp_path / method, settings=settings)
        predictor = load(tmp_path / method)
        assert list(predictor.predict(graphs).columns) == [TARGET, "band_gap"]
        assert predictor.units == {TARGET: "eV/atom", "band_gap": "eV"}


def test_a_run_is_not_overwritten_but_goes_on(tmp_path):
    learn, validate, rest = parts()
    first = train("cgcnn", learn, validate, tmp_path, settings=QUICK)
    with pytest.raises(FileExistsError, match=r"holds a run. Choose another folder, or go on"):
        train("cgcnn", learn, validate, tmp_path, settings=QUICK)
    again = train("cgcnn", learn, validate, tmp_path, settings=QUICK, resume=True)
    pd.testing.assert_frame_equal(again.predict(rest), first.predict(rest))


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("cgcn", {}, "there is no method 'cgcn'; choose one of random_forest, cgcnn, .*alignn"),
        ("cgcnn", {"sizes": {"hiden": 3}}, "sizes of cgcnn: .*'hiden'"),
        ("cgcnn", {"settings": {"epoch": 3}}, "no setting 'epoch' of a network; there are epochs"),
        ("cgcnn", {"settings": {"epochs": 0}}, "epochs is 0"),
        ("cgcnn", {"settings": {"epochs": "ten"}}, "the setting epochs is 'ten', not a number"),
        ("cgcnn", {"settings": {"folder": "x"}}, "no setting 'folder' of a network"),
        ("cgcnn", {"settings": {"seed": 3}}, "no setting 'seed' of a network"),
        ("cgcnn", {"sizes": {"hidden": -1}}, "sizes of cgcnn: .*negative"),
        ("random_forest", {"settings": {"trees": 3}}, "Invalid parameter 'trees'"),
        ("random_forest", {"sizes": {"hidden": 3}}, "a forest has none"),
    ],
)
def test_bad_arguments(tmp_path, method, arguments, message):
    learn, validate, _ = parts()
    with pytest.raises(ValueError, match=message):
        train(method, learn, validate, tmp_path, **arguments)


def test_a_forest_needs_all_labels(tmp_path):
    frame = bundled(10)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], composition=magpie, targets=pd.Series([np.nan] + [1.0] * 9, name="t"), allow_missing=True
    )
    with pytest.raises(ValueError, match="cannot learn from missing labels"):
        train("random_forest", graphs.subset(range(8)), graphs.subset([8, 9]), tmp_path)


def test_what_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere.ckpt")
    (tmp_path / "best.ckpt").write_text("nonsense")
    with pytest.raises(ValueError, match=r"best\.ckpt is damaged, or not a checkpoint"):
        load(tmp_path / "best.ckpt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"best\.ckpt is not a checkpoint of this library"):
        load(tmp_path / "best.ckpt")


def test_a_checkpoint_without_its_run_still_predicts(tmp_path):
    learn, validate, rest = parts()
    expected = train("cgcnn", learn, validate, tmp_path, settings=QUICK).predict(rest)
    (tmp_path / "run.json").unlink()
    alone = load(tmp_path / "best.ckpt")
    pd.testing.assert_frame_equal(alone.predict(rest), expected)
    assert (alone.method, alone.units, alone.training_range) == ("unknown", {TARGET: "unknown"}, None)


def graphs_of(*formulas):
    """Crystals of the elements in each formula, one atom each."""
    structures = []
    for formula in formulas:
        n = len(formula)
        coordinates = [[k / n, 0, 0] for k in range(n)]
        structures.append(Structure(Lattice.orthorhombic(3 * n, 3, 3), formula, coordinates))
    return CrystalGraphs.from_structures(structures, composition=magpie)


def test_training_range():
    known = TrainingRange.of(graphs_of(["Na", "Cl"], ["K", "Br"], ["Mg", "O"]))
    assert known.elements == [8, 11, 12, 17, 19, 35]
    assert known.outside(graphs_of(["Na", "Cl"], ["O", "Mg"])) == ["", ""]
    assert known.outside(graphs_of(["Na", "Xe", "F"])) == ["element F, Xe"]
    one, two = known.outside(graphs_of(["Na", "Cl", "Mg"], ["K", "K"]))
    assert one.startswith("0-norm and ")  # three elements, where there were never more than two
    assert two
    assert TrainingRange(known.elements, [-1e9] * 145, [1e9] * 145).outside(graphs_of(["K", "K"])) == [""]


def test_the_range_is_that_of_the_view():
    graphs = graphs_of(["Na", "Cl"], ["K", "Br"])
    assert TrainingRange.of(graphs.subset([1])).elements == [19, 35]
    assert TrainingRange.of(graphs.subset([1])).outside(graphs.subset([0, 1])) == ["element Na, Cl", ""]


@pytest.mark.parametrize("kind", ["random", "formula"])
def test_graphs_are_split_like_their_frame(kind):
    frame = bundled(60)
    expected = folds(frame, kind, 4)
    found = graph_folds(bundled_graphs(60), kind, 4)
    for one, other in zip(found, expected, strict=True):
        for rows, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(rows, same)
    assert formulas(bundled_graphs(60).subset([7, 2])) == frame["formula"].iloc[[7, 2]].tolist()


def test_saved_graphs_are_opened(tmp_path):
    frame = bundled(6)
    graphs = CrystalGraphs.from_structures(frame["structure"], composition=magpie, folder=tmp_path / "graphs")
    assert open_graphs(tmp_path / "graphs").names.tolist() == graphs.names.tolist()
    CrystalGraphs.from_structures(frame["structure"], folder=tmp_path / "plain")
    with pytest.raises(ValueError, match=r"no composition features\. Build them with"):
        open_graphs(tmp_path / "plain")
    whole = open_graphs("pbe_prototypes")
    assert whole.target_names == (TARGET, "band_gap")
    assert whole.attrs["units"][TARGET] == "eV/atom"
    assert method_named("cgcnn") is predictors.METHODS["cgcnn"]
