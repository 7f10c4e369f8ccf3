"""Predictors: every method by name, kept in a folder and loaded from there, and the range that it was trained on."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled, bundled_graphs
from forked import fork, wait
from pymatgen.core import Lattice, Structure

import course_lib
from course_lib import predictors
from course_lib.composition import magpie
from course_lib.datasets import folds
from course_lib.features import features_of
from course_lib.files import locked, with_checksum, without_checksum
from course_lib.forest import forest_pipeline
from course_lib.graphs import CrystalGraphs
from course_lib.lightning_parts import Fitting
from course_lib.makers import make_learner, method_named
from course_lib.methods import METHODS, Method, Network, trained
from course_lib.models import CGCNN
from course_lib.predictors import (
    TrainingRange,
    formulas,
    graph_folds,
    load,
    open_graphs,
    train,
)
from course_lib.training import FitConfig, fit

QUICK = {"epochs": 1, "batch_size": 8}
FOREST = {"n_estimators": 3, "n_jobs": 1}


def parts():
    graphs = replace(bundled_graphs(40), attrs={"name": "some", "sha256": "0" * 64, "units": {TARGET: "eV/atom"}})
    return graphs.subset(range(24)), graphs.subset(range(24, 32)), graphs.subset(range(32, 40))


FEW_TREES = {"random_forest": {"n_estimators": 5, "n_jobs": 1}, "boosting": {"max_iter": 5}}


@pytest.mark.parametrize("method", [name for name, method in trained().items() if not method.reads_pretrained])
def test_every_method_predicts_the_same_when_loaded(method, tmp_path):
    learn, validate, rest = parts()
    settings = QUICK if METHODS[method].network else FEW_TREES.get(METHODS[method].learner.name)
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
    expected.fit(frame["structure"][:32], frame[TARGET][:32])
    np.testing.assert_allclose(found[TARGET], expected.predict(frame["structure"][32:]), rtol=1e-9)


@pytest.mark.parametrize("method", ["kernel_ridge", "boosting_structure"])
def test_a_regressor_on_features_predicts_as_scikit_learn_does(method, tmp_path):
    learn, validate, rest = parts()
    found = train(method, learn, validate, tmp_path, seed=5).predict(rest)
    reads = METHODS[method].learner.reads
    x = np.concatenate([features_of(part, reads) for part in (learn, validate)])
    expected = make_learner(method, x.shape[1], seed=5).fit(x, bundled(40)[TARGET][:32])
    np.testing.assert_allclose(found[TARGET], expected.predict(features_of(rest, reads)), rtol=1e-6)


def test_what_reads_pretrained_features_is_not_kept(tmp_path):
    learn, validate, _ = parts()
    with pytest.raises(ValueError, match=r"delta_learning reads what a pretrained network .*course_lib\.pretrained"):
        train("delta_learning", learn, validate, tmp_path)
    assert not any(tmp_path.iterdir())


def test_several_targets(tmp_path):
    frame = bundled(40)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], composition=magpie, targets=frame[[TARGET, "band_gap"]], attrs=frame.attrs
    )
    with pytest.raises(ValueError, match=f"boosting predicts one property, not {TARGET}, band_gap"):
        train("boosting", graphs.subset(range(30)), graphs.subset(range(30, 40)), tmp_path / "boosting")
    for method, settings in (("multitask_gat", QUICK), ("random_forest", {"n_estimators": 3}), ("kernel_ridge", None)):
        train(method, graphs.subset(range(30)), graphs.subset(range(30, 40)), tmp_path / method, settings=settings)
        predictor = load(tmp_path / method)
        assert list(predictor.predict(graphs).columns) == [TARGET, "band_gap"]
        assert predictor.units == {TARGET: "eV/atom", "band_gap": "eV"}


def test_a_run_is_not_overwritten_but_goes_on(tmp_path):
    learn, validate, rest = parts()
    first = train("cgcnn", learn, validate, tmp_path, settings=QUICK)
    with pytest.raises(FileExistsError, match=r"holds a run. Choose another folder, or continue"):
        train("cgcnn", learn, validate, tmp_path, settings=QUICK)
    again = train("cgcnn", learn, validate, tmp_path, settings=QUICK, resume=True)
    pd.testing.assert_frame_equal(again.predict(rest), first.predict(rest))


@pytest.mark.parametrize("method", ["cgcnn", "random_forest"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("method", "method = '{method}', not 'early_fusion'"),
        ("setting", "(batch_size = 8, not 9|n_estimators = 3, not 4)"),
        ("seed", "seed = 0, not 1"),
        ("training", "training crystals of checksum"),
        ("validation", "validation crystals of checksum"),
        ("unit", f"unit of {TARGET} = 'eV/atom', not 'J'"),
        ("version", f"version of course_lib = '{course_lib.__version__}', not '99'"),
    ],
)
def test_another_run_is_not_gone_on_with(tmp_path, monkeypatch, method, changed, message):
    learn, validate, rest = parts()
    settings = FOREST if method == "random_forest" else QUICK
    options = {"settings": settings, "seed": 0}
    before = train(method, learn, validate, tmp_path, **options).predict(rest)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    other, given = method, [learn, validate]
    match changed:
        case "method":
            other, options["settings"] = "early_fusion", QUICK
        case "setting":
            options["settings"] = {name: value + (value > 2) for name, value in settings.items()}
        case "seed":
            options["seed"] = 1
        case "unit":
            given[0] = replace(learn, attrs=learn.attrs | {"units": {TARGET: "J"}})
        case "version":
            monkeypatch.setattr(predictors, "__version__", "99")
        case part:
            number = ["training", "validation"].index(part)
            given[number] = replace(given[number], y=given[number].y * np.float32(1.001))
    with pytest.raises(ValueError, match=f"was started with {message.format(method=method)}"):
        train(other, *given, tmp_path, **options, resume=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files
    pd.testing.assert_frame_equal(load(tmp_path).predict(rest), before)


def test_going_on_elsewhere_and_with_defaults_written_out(tmp_path):
    """The device does not belong to the identity of a run, nor does an explicit default."""
    learn, validate, rest = parts()
    forest = train("random_forest", learn, validate, tmp_path / "forest", settings=FOREST)
    again = train("random_forest", learn, validate, tmp_path / "forest", settings=FOREST | {"n_jobs": 2}, resume=True)
    pd.testing.assert_frame_equal(again.predict(rest), forest.predict(rest))
    network = train("cgcnn", learn, validate, tmp_path / "network", settings=QUICK)
    more = {"settings": QUICK | {"weight_decay": 1e-5, "accelerator": "cpu"}, "sizes": {"hidden": 64}}
    again = train("cgcnn", learn, validate, tmp_path / "network", **more, resume=True)
    pd.testing.assert_frame_equal(again.predict(rest), network.predict(rest))


def test_an_unfinished_run_is_told_from_another(tmp_path, monkeypatch):
    """GAT and its multi-task twin are one network: only ``run.json`` says which was started."""
    learn, validate, rest = parts()

    def killed(self, *arguments):
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, *arguments)

    step, settings = Fitting.training_step, QUICK | {"epochs": 2}
    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "training_step", killed)
        with pytest.raises(RuntimeError, match="power cut"):
            train("gat", learn, validate, tmp_path, settings=settings)
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        load(tmp_path)
    assert load(tmp_path / "best.ckpt").method == "gat"
    for method, settings_of_another in (("multitask_gat", settings), ("random_forest", FOREST)):
        with pytest.raises(ValueError, match=f"was started with method = 'gat', not '{method}'"):
            train(method, learn, validate, tmp_path, settings=settings_of_another, resume=True)
    found = train("gat", learn, validate, tmp_path, settings=settings, resume=True)
    pd.testing.assert_frame_equal(load(tmp_path).predict(rest), found.predict(rest))


def test_a_folder_that_holds_something_else(tmp_path):
    learn, validate, _ = parts()
    learn.save(tmp_path / "graphs")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "benchmark.json").write_text("{}")
    for name, what in (("graphs", "graphs"), ("bench", "a benchmark")):
        for resume in (False, True):
            with pytest.raises(FileExistsError, match=f"{name} holds {what} "):
                train("random_forest", learn, validate, tmp_path / name, settings=FOREST, resume=resume)
    fit(METHODS["cgcnn"].network(), learn, validate, FitConfig(epochs=1, batch_size=8, folder=tmp_path / "fit"))
    with pytest.raises(ValueError, match=r"fit holds a model, but no run.json that describes it"):
        train("cgcnn", learn, validate, tmp_path / "fit", settings=QUICK, resume=True)


def test_a_model_of_another_run_is_noticed(tmp_path):
    learn, validate, _ = parts()
    for seed in (0, 1):
        train("random_forest", learn, validate, tmp_path / str(seed), settings=FOREST, seed=seed)
    (tmp_path / "0" / "forest.npz").write_bytes((tmp_path / "1" / "forest.npz").read_bytes())
    with pytest.raises(ValueError, match=r"forest.npz is damaged, or not the model that run.json describes"):
        load(tmp_path / "0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: [], "run.json: it lacks method, units, training_range"),
        (lambda about: {"method": "cgcnn"}, "run.json: it lacks units, training_range"),
        (lambda about: about | {"units": ["eV"]}, "run.json: units is .*, not an object"),
        (lambda about: about | {"units": {"gap": "eV"}}, f"predicts {TARGET}, but run.json names gap"),
        (lambda about: about | {"training_range": {"low": []}}, "run.json: TypeError"),
        (
            lambda about: about | {"training_range": about["training_range"] | {"low": [None]}},
            "run.json: a number of low",
        ),
        (
            lambda about: about | {"training_range": about["training_range"] | {"low": [1]}},
            "run.json: a training range",
        ),
        (lambda about: about | {"seconds": 1, "files": 3}, "run.json: files is 3, not an object"),
        (lambda about: with_checksum(about) | {"units": {TARGET: "meV"}}, "run.json: its content has a wrong checksum"),
    ],
)
def test_a_run_file_that_is_none(tmp_path, change, message):
    learn, validate, _ = parts()
    train("random_forest", learn, validate, tmp_path, settings=FOREST)
    about = without_checksum(json.loads((tmp_path / "run.json").read_text()))
    (tmp_path / "run.json").write_text(json.dumps(about))  # as before there were checksums
    load(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(change(about)))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("text", ['{"me', "[" * 100000, "\udc80"])
def test_a_run_file_that_is_not_read(tmp_path, text):
    learn, validate, _ = parts()
    train("random_forest", learn, validate, tmp_path, settings=FOREST)
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"run\.json: "):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"run\.json: "):
        train("random_forest", learn, validate, tmp_path, settings=FOREST, resume=True)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("cgcn", {}, "unknown method 'cgcn'; choose one of random_forest, cgcnn, .*alignn"),
        ("cgcnn", {"sizes": {"hiden": 3}}, "sizes of cgcnn: .*'hiden'"),
        ("cgcnn", {"settings": {"epoch": 3}}, "unknown setting 'epoch' of cgcnn; the settings are epochs"),
        ("cgcnn", {"settings": {"epochs": 0}}, "epochs is 0"),
        ("cgcnn", {"settings": {"epochs": "ten"}}, "epochs is 'ten', not a whole number"),
        ("cgcnn", {"settings": {"folder": "x"}}, "unknown setting 'folder' of cgcnn"),
        ("cgcnn", {"settings": {"seed": 3}}, "unknown setting 'seed' of cgcnn"),
        ("cgcnn", {"sizes": {"hidden": -1}}, "sizes of cgcnn: hidden is -1; it must be at least 1"),
        ("cgcnn", {"sizes": {"n_conv": 0}}, "sizes of cgcnn: n_conv is 0; it must be at least 1"),
        ("cgcnn", {"sizes": {"n_targets": 2}}, "sizes of cgcnn: .*n_targets"),
        ("early_fusion", {"sizes": {"trunk": "cgcnn"}}, "sizes of early_fusion: .*'cgcnn' is not a network"),
        ("early_fusion", {"sizes": {"dropout": 1}}, "dropout is 1; it must be less than 1"),
        ("cgcnn", {"settings": {"learning_rate": 0}}, "learning_rate is 0; it must be more than 0"),
        ("cgcnn", {"settings": {"accelerator": "mps"}}, "accelerator, devices, .* do not work here"),
        ("cgcnn", {"seed": -1}, "seed is -1; it must be at least 0"),
        (
            "kernel_ridge",
            {"settings": {"trees": 3}},
            "unknown setting 'trees' of kernel_ridge; the settings are: alpha, reach",
        ),
        ("kernel_ridge", {"settings": {"reach": -1}}, "reach is -1; it must be more than 0"),
        ("boosting", {"settings": {"max_iter": 0}}, "The 'max_iter' parameter .* Got 0"),
        (
            "random_forest",
            {"settings": {"trees": 3}},
            "unknown setting 'trees' of random_forest; the settings are: bootstrap, ccp",
        ),
        ("random_forest", {"settings": {"n_estimators": 0}}, "The 'n_estimators' parameter .* Got 0"),
        ("random_forest", {"settings": {"max_depth": 1.5}}, "The 'max_depth' parameter .* Got 1.5"),
        ("random_forest", {"settings": {"n_estimators": True}}, "n_estimators is True"),
        ("random_forest", {"settings": {"random_state": 3}}, "random_state is the seed"),
        ("random_forest", {"settings": {"n_features": 3}}, "unknown setting 'n_features' of random_forest"),
        ("random_forest", {"settings": {"n_jobs": 0}}, "n_jobs is 0; it must be at least 1"),
        ("random_forest", {"settings": {"max_depth": 10**30}}, "max_depth is about 1e30"),
        ("random_forest", {"settings": {"ccp_alpha": 10**400}}, "ccp_alpha is about 1e400"),
        ("kernel_ridge", {"settings": {"alpha": 10**400}}, "alpha is about 1e400"),
        ("kernel_ridge", {"settings": {"reach": 1e308}}, "kernel_ridge with these settings: its points are not finite"),
        ("boosting", {"settings": {"learning_rate": True}}, "learning_rate is True, not a number"),
        ("boosting", {"settings": {"max_iter": True}}, "max_iter is True, not a number"),
        ("cgcnn", {"settings": {"epochs": 10**400}}, "epochs is about 1e400"),
        ("cgcnn", {"settings": {"learning_rate": 10**400}}, "learning_rate is about 1e400"),
        ("cgcnn", {"settings": 5}, "settings of cgcnn: TypeError"),
        ("random_forest", {"settings": "x"}, "settings of random_forest: "),
        (["cgcnn"], {}, r"unknown method \['cgcnn'\]; choose one of"),
        ("random_forest", {"seed": 2**32}, "seed is 4294967296; it must be at most 4294967295"),
        ("random_forest", {"sizes": {"hidden": 3}}, "only a network has them"),
    ],
)
def test_bad_arguments(tmp_path, method, arguments, message):
    learn, validate, _ = parts()
    with pytest.raises(ValueError, match=message):
        train(method, learn, validate, tmp_path, **arguments)
    train("random_forest", learn, validate, tmp_path, settings=FOREST)  # nothing was begun: the folder is free


def test_a_forest_needs_all_labels(tmp_path):
    frame = bundled(10)
    graphs = CrystalGraphs.from_structures(
        frame["structure"], composition=magpie, targets=pd.Series([np.nan] + [1.0] * 9, name="t"), allow_missing=True
    )
    with pytest.raises(ValueError, match="cannot be trained on missing labels"):
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
    assert TrainingRange.of(graphs.subset([0]), graphs.subset([1])) == TrainingRange.of(graphs.subset([0, 1]))
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
    assert method_named("cgcnn") is METHODS["cgcnn"]


@pytest.mark.parametrize(("method", "settings"), [("cgcnn", QUICK), ("random_forest", FOREST), ("kernel_ridge", None)])
@pytest.mark.parametrize("alone", [False, True])
def test_every_flipped_bit_of_a_model_is_noticed_or_changes_nothing(tmp_path, method, settings, alone):
    learn, validate, rest = parts()
    train(method, learn, validate, tmp_path / "run", settings=settings)
    model = next(path for path in (tmp_path / "run").iterdir() if path.name in predictors._MODELS)
    if alone:  # a model without run.json, which holds its checksum
        (tmp_path / "run" / "run.json").unlink()
    rng, reference, noticed = np.random.default_rng(0), load(model), 0
    values = reference.predict(rest).to_numpy()
    for path in [model] if alone else [model, tmp_path / "run" / "run.json"]:
        good = path.read_bytes()
        for _ in range(40):
            bad = bytearray(good)
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            said = ""
            try:
                found = load(model)
            except (ValueError, OSError) as error:
                said = str(error)
            if said:
                noticed += 1
                assert path.name in said
            else:
                np.testing.assert_array_equal(found.predict(rest).to_numpy(), values)
                assert (found.units, found.method) == (reference.units, reference.method)
                assert found.training_range == reference.training_range  # what the column `outside` comes from
        path.write_bytes(good)
    assert noticed > 20


@pytest.mark.parametrize(("method", "settings"), [("cgcnn", QUICK), ("random_forest", FOREST)])
def test_the_range_is_that_of_all_crystals_trained_on(tmp_path, method, settings):
    learn, validate, _ = parts()
    found = train(method, learn, validate, tmp_path / "run", settings=settings).training_range
    expected = (learn,) if method == "cgcnn" else (learn, validate)
    assert found == TrainingRange.of(*expected) != TrainingRange.of(learn.subset([0, 1]))


def test_a_regressor_that_no_file_holds_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    learn, validate, _ = parts()
    monkeypatch.delitem(predictors._FLAT, "boosting")
    monkeypatch.setattr(predictors, "_fit_learner", lambda *arguments: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match=r"no file holds a boosting, which boosting_composition trains\. Add it"):
        train("boosting_composition", learn, validate, tmp_path / "run")


@pytest.mark.parametrize(("method", "settings"), [("cgcnn", QUICK), ("random_forest", FOREST)])
def test_a_second_training_in_a_folder_in_use_is_refused(tmp_path, method, settings, monkeypatch):
    learn, validate, _ = parts()
    folder = tmp_path / "run"

    def first() -> None:
        torch.set_num_threads(1)  # boosting may have left threads in this process, which a forked one has not
        for name in ("fit", "_fit_learner"):
            module = predictors.training if name == "fit" else predictors
            work = getattr(module, name)
            monkeypatch.setattr(module, name, lambda *a, work=work: (time.sleep(3), work(*a))[1])
        train(method, learn, validate, folder, settings=settings)

    child = fork(first)
    while not (folder / "run.json").exists():
        time.sleep(0.01)
    for resume in (False, True):
        with pytest.raises(TimeoutError, match=r"another process is using the run in .*run\. Try again when it has"):
            train(method, learn, validate, folder, settings=settings, resume=resume)
    if method == "cgcnn":
        model = method_named(method).network()
        with pytest.raises(TimeoutError, match="another process is using the run in"):
            fit(model, learn, validate, FitConfig(epochs=1, folder=folder))
    assert wait(child) == 0
    assert load(folder).method == method
    assert not any(name.startswith(".") for name in os.listdir(folder))


def test_leftovers_and_locks_of_killed_trainings_do_not_stand_in_the_way(tmp_path):
    learn, validate, _ = parts()

    def die() -> None:
        with locked(tmp_path / ".lock", "the run", 0):
            os.kill(os.getpid(), 9)

    assert wait(fork(die)) == -9
    (tmp_path / "forest.npz.tmp").symlink_to(tmp_path / "theirs")
    train("random_forest", learn, validate, tmp_path, settings=FOREST)
    assert not (tmp_path / "theirs").exists()
    load(tmp_path)


def test_parts_that_do_not_fit(tmp_path):
    """Whatever the method: nothing is trained on crystals with other targets or features, or on too few."""
    learn, validate, _ = parts()
    frame = bundled(10)
    other = CrystalGraphs.from_structures(frame["structure"], composition=magpie, targets=frame[["band_gap"]])
    bare = CrystalGraphs.from_structures(frame["structure"], targets=frame[[TARGET]])
    without = CrystalGraphs.from_structures(frame["structure"], composition=magpie)
    for method, settings in (("cgcnn", QUICK), ("random_forest", FOREST), ("kernel_ridge", {}), ("boosting", {})):
        for given, message in (
            ((learn, other), f"training and validation targets differ: .*{TARGET}.*band_gap"),
            ((learn, bare), "the validation crystals have 0 composition features, the training crystals 145"),
            ((without, without), "the crystals have no targets"),
            ((learn.subset([]), validate), "the training set has 0 crystals; it needs at least 2"),
            ((learn.subset([0]), validate), "the training set has 1 crystals; it needs at least 2"),
            ((learn, validate.subset([])), "the validation set has 0 crystals; it needs at least 1"),
        ):
            with pytest.raises(ValueError, match=message):
                train(method, *given, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_crystals_with_other_features_are_not_predicted(tmp_path):
    learn, validate, _ = parts()
    forest = train("random_forest", learn, validate, tmp_path / "forest", settings=FOREST)
    for n_features in (1, 146):  # one would be repeated, and of more the first would be read
        other = learn.with_features(np.ones((len(learn), n_features)))
        for function in (forest.predict, forest.training_range.outside):
            with pytest.raises(ValueError, match=f"have {n_features} composition features, the training crystals had"):
                function(other)


def test_a_model_of_another_kind_is_not_taken_for_that_of_the_run(tmp_path):
    learn, validate, rest = parts()
    settings = {"cgcnn": QUICK, "random_forest": FOREST, "kernel_ridge": {}}
    files = {"cgcnn": "best.ckpt", "random_forest": "forest.npz", "kernel_ridge": "kernel_ridge.npz"}
    for method in files:
        train(method, learn, validate, tmp_path / method, settings=settings[method])
    expected = {method: load(tmp_path / method).predict(rest) for method in files}
    for method in files:
        for other in files.keys() - {method}:
            (tmp_path / method / files[other]).write_bytes((tmp_path / other / files[other]).read_bytes())
            with pytest.raises(
                ValueError, match=rf"{files[other]} is damaged, or not the model that run.json describes"
            ):
                load(tmp_path / method / files[other])
            pd.testing.assert_frame_equal(load(tmp_path / method).predict(rest), expected[method])
            (tmp_path / method / files[other]).unlink()


@pytest.mark.parametrize(
    "numbers",
    [([True], [0.0], [1.0]), ([1.5], [0.0], [1.0]), ([1], [np.nan], [1.0]), ([1], [True], [1.0]), ([1], ["a"], [1.0])],
)
def test_a_range_of_what_are_not_numbers(numbers):
    with pytest.raises(ValueError, match=r"a number of (elements|low) is"):
        TrainingRange(*numbers)


@pytest.mark.parametrize(("method", "settings"), [("cgcnn", QUICK), ("random_forest", FOREST)])
def test_the_home_folder(tmp_path, monkeypatch, method, settings):
    """Lightning takes ``~`` for the home folder; everything else must, too."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    learn, validate, rest = parts()
    made = train(method, learn, validate, "~/run", settings=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    pd.testing.assert_frame_equal(load("~/run").predict(rest), made.predict(rest))


def test_settings_in_numpy_numbers(tmp_path):
    learn, validate, _ = parts()
    sizes = {"hidden": np.array([4, 2]), "dropout": np.float32(0.25)}
    made = train("early_fusion", learn, validate, tmp_path, seed=np.int64(3), sizes=sizes, settings=QUICK)
    about = json.loads((tmp_path / "run.json").read_text())
    assert (about["seed"], about["network"]["hidden"], about["network"]["dropout"]) == (3, [4, 2], 0.25)
    assert load(tmp_path).model.about == made.model.about


def test_a_name_of_a_folder_that_lightning_misreads(tmp_path):
    learn, validate, rest = parts()
    with pytest.raises(ValueError, match="a::b has '::' in its name"):
        train("cgcnn", learn, validate, tmp_path / "a::b", settings=QUICK)
    for name in ("{epoch}", "x:y", "a b", os.fsdecode(b"\xff")):
        made = train("cgcnn", learn, validate, tmp_path / name, settings=QUICK)
        pd.testing.assert_frame_equal(load(tmp_path / name).predict(rest), made.predict(rest))


class Patient(CGCNN):
    """A network with an argument that is called like a setting."""

    def __init__(self, n_targets: int = 1, patience: int = 1):
        super().__init__(n_targets, hidden=4, n_conv=1)
        self.config = {"n_targets": n_targets}
        self.keep_arguments(patience=patience)


def test_an_argument_of_a_network_is_not_taken_for_a_setting(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "patient", Method("patient", "structure", Network(__name__, "Patient")))
    learn, validate, _ = parts()
    train("patient", learn, validate, tmp_path, settings=QUICK)
    with pytest.raises(ValueError, match="was started with patience of the network = 1, not 2"):
        train("patient", learn, validate, tmp_path, sizes={"patience": 2}, settings=QUICK, resume=True)
    with pytest.raises(ValueError, match="was started with patience = None, not 3"):
        train("patient", learn, validate, tmp_path, settings=QUICK | {"patience": 3}, resume=True)
    assert train("patient", learn, validate, tmp_path, settings=QUICK, resume=True).method == "patient"
