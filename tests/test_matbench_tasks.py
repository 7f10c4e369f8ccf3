"""Matbench: official folds, no look at a test set, results that the package accepts, and resuming fold by fold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from example_crystals import bundled_graphs
from local_server import FileServer, digest, in_matbench_format, serve_as
from matbench.bench import MatbenchBenchmark

from course_lib import matbench_tasks, predictors
from course_lib.dataset_sources import matbench_folds
from course_lib.datasets import load_dataset
from course_lib.files import with_checksum
from course_lib.matbench_tasks import benchmark

TASK = "matbench_jdft2d"  # the smallest; its folds are for 636 crystals
TEST_IDS = set(matbench_folds()[TASK]["fold_0"]["test"])
QUICK = {"sizes": {"hidden": 4, "n_conv": 1}, "settings": {"epochs": 1}}


@pytest.fixture(scope="module")
def crystals():
    frame = load_dataset("pbe_prototypes").iloc[:636]
    energy = frame["formation_energy_per_atom"].to_numpy() * 1000
    return pd.DataFrame({"structure": list(frame["structure"]), "exfoliation_en": energy})


@pytest.fixture(scope="module")
def spoilt(crystals):
    """The same crystals with other targets in the test set of fold 0."""
    ids = [f"mb-jdft2d-{number + 1:03d}" for number in range(len(crystals))]
    in_test = np.array([name in TEST_IDS for name in ids])
    assert in_test.sum() == len(TEST_IDS)
    return crystals.assign(exfoliation_en=np.where(in_test, 1e6, crystals["exfoliation_en"]))


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """``serve(frame, task)`` makes a server offer the frame as the data of that task; returns the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        server = FileServer()
        files: dict[int, bytes] = {}

        def offer(frame, task=TASK):
            folder = tmp_path_factory.mktemp("data")
            if id(frame) not in files:
                files[id(frame)] = in_matbench_format(frame, folder)
            server.content = files[id(frame)]
            server.ranges.clear()
            serve_as(task, server, patch)
            patch.setenv("COURSE_DATA_DIR", str(folder / "cache"))
            return server

        yield offer
        server.close()


def test_a_whole_benchmark_is_what_the_package_accepts(serve, crystals, tmp_path):
    serve(crystals)
    scores = benchmark(TASK, "random_forest", tmp_path / "run", settings={"n_estimators": 3, "n_jobs": 1})
    assert scores.index.tolist() == [0, 1, 2, 3, 4]
    assert list(scores.columns) == ["mae", "rmse", "mape", "max_error"]
    read = MatbenchBenchmark.from_file(tmp_path / "run" / "results.json.gz")  # checks the file's own hash
    assert read.is_valid
    assert read.is_recorded
    assert read.user_metadata["method"] == "random_forest"
    task = read.tasks_map[TASK]
    assert task.scores.mae.mean == pytest.approx(scores["mae"].mean())
    # The scores are those of the predictions, against the served targets and the package's folds.
    truth = dict(zip((f"mb-jdft2d-{k + 1:03d}" for k in range(636)), crystals["exfoliation_en"], strict=True))
    for number, fold in enumerate(matbench_folds()[TASK].values()):
        predicted = task.results[f"fold_{number}"].data
        assert set(predicted) == set(fold["test"])
        error = np.mean([abs(value - truth[name]) for name, value in predicted.items()])
        assert scores.loc[number, "mae"] == pytest.approx(error, rel=1e-5)
    assert scores["mae"].max() < crystals["exfoliation_en"].std()  # and the predictions stand beside their crystals


@pytest.mark.parametrize("method", ["cgcnn", "random_forest"])
def test_no_label_of_a_test_set_has_a_say(serve, crystals, spoilt, tmp_path, method):
    options = QUICK if method == "cgcnn" else {"settings": {"n_estimators": 2, "n_jobs": 1}}
    predictions = []
    for number, frame in enumerate((crystals, spoilt)):
        serve(frame)
        scores = benchmark(TASK, method, tmp_path / str(number), fold_numbers=[0], **options)
        predictions.append(json.loads((tmp_path / str(number) / "fold_0.json").read_text())["predictions"])
        about = json.loads((tmp_path / str(number) / "fold_0" / "run.json").read_text())
        assert about["n_train"] + about["n_validation"] == 636 - len(TEST_IDS)
    assert predictions[0] == predictions[1]
    assert set(predictions[0]) == TEST_IDS
    assert scores["mae"].item() > 1e5  # the second time, only the score saw them


def test_it_goes_on_with_the_next_fold(serve, crystals, tmp_path, monkeypatch):
    server = serve(crystals)
    trained = []

    def train(*arguments, **options):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments[3].name)
        return original(*arguments, **options)

    original = predictors.train
    with monkeypatch.context() as patch:
        patch.setattr(predictors, "train", train)
        with pytest.raises(KeyboardInterrupt):
            benchmark(TASK, "cgcnn", tmp_path, **QUICK)
    assert trained == ["fold_0", "fold_1"]
    assert not (tmp_path / "results.json.gz").exists()
    first = (tmp_path / "fold_0.json").read_text()
    trained = []
    monkeypatch.setattr(predictors, "train", lambda *a, **b: trained.append(a[3].name) or original(*a, **b))
    scores = benchmark(TASK, "cgcnn", tmp_path, **QUICK)
    assert trained == ["fold_2", "fold_3", "fold_4"]
    assert (tmp_path / "fold_0.json").read_text() == first
    assert MatbenchBenchmark.from_file(tmp_path / "results.json.gz").is_valid
    assert len(scores) == 5
    assert len(server.ranges) == 1
    with pytest.raises(ValueError, match=r"holds a benchmark with seed = 0. Choose another folder"):
        benchmark(TASK, "cgcnn", tmp_path, seed=1, **QUICK)
    (tmp_path / "benchmark.json").unlink()
    with pytest.raises(ValueError, match=r"fold_0\.json: it is of another benchmark. Remove it, or choose another"):
        benchmark(TASK, "cgcnn", tmp_path, seed=1, **QUICK)


def test_an_interruption_while_writing_leaves_no_half_file(serve, crystals, tmp_path, monkeypatch):
    serve(crystals)
    options = {"settings": {"n_estimators": 1, "n_jobs": 1}}
    benchmark(TASK, "random_forest", tmp_path, **options)
    before = (tmp_path / "results.json.gz").read_bytes()

    def half(self, filename):
        filename.write_text("{")
        raise OSError("no space left")

    monkeypatch.setattr(MatbenchBenchmark, "to_file", half)
    with pytest.raises(OSError, match="no space left"):
        benchmark(TASK, "random_forest", tmp_path, **options)
    assert (tmp_path / "results.json.gz").read_bytes() == before


def test_classification_predicts_probabilities(serve, crystals, tmp_path, monkeypatch):
    """No classification task with structures is small: jdft2d stands in for one."""
    labels = crystals["exfoliation_en"] > crystals["exfoliation_en"].median()
    serve(crystals.assign(exfoliation_en=labels))
    listed = matbench_tasks.catalogue()
    listed.loc[TASK, "task"] = "classification"
    monkeypatch.setattr(matbench_tasks, "catalogue", lambda: listed)

    def as_classification(task):
        bench = empty(task)
        changed = bench.tasks_map[task].metadata | {"task_type": "classification"}
        bench.tasks_map[task].metadata = type(bench.tasks_map)(changed)  # of the package's own kind of dict
        return bench

    empty = matbench_tasks._empty_benchmark
    monkeypatch.setattr(matbench_tasks, "_empty_benchmark", as_classification)
    settings = {"epochs": 6, "learning_rate": 2e-2}
    scores = benchmark(TASK, "cgcnn", tmp_path, fold_numbers=[2], sizes={"hidden": 16}, settings=settings)
    assert list(scores.columns) == ["accuracy", "balanced_accuracy", "f1", "rocauc"]
    file = tmp_path / "fold_2.json"
    predicted = json.loads(file.read_text())["predictions"]
    values = np.array(list(predicted.values()))
    assert ((values >= 0) & (values <= 1)).all()
    assert scores["rocauc"].item() > 0.6
    # A model that is never sure ranks as well as one that is: the area is that of the probabilities.
    less_sure = {"predictions": {name: 0.4 * value for name, value in predicted.items()}}
    file.write_text(json.dumps(less_sure | {"checksum": "of others"}))
    with pytest.raises(ValueError, match=r"fold_2.json: its content has a wrong checksum"):
        benchmark(TASK, "cgcnn", tmp_path, fold_numbers=[2], sizes={"hidden": 16}, settings=settings)
    for content in (with_checksum(less_sure), less_sure["predictions"]):  # the second as before there were checksums
        file.write_text(json.dumps(content))
        again = benchmark(TASK, "cgcnn", tmp_path, fold_numbers=[2], sizes={"hidden": 16}, settings=settings)
        assert again["rocauc"].item() == pytest.approx(scores["rocauc"].item())
        assert again["accuracy"].item() < scores["accuracy"].item()
    assert json.loads((tmp_path / "benchmark.json").read_text())["settings"]["loss"] == "mse"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("matbench_phonon", "cgcnn"),
            "Matbench has no structure task 'matbench_phonon'; it has matbench_di",
        ),
        (("matbench_steels", "cgcnn"), "no structure task 'matbench_steels'"),
        (("pbe_prototypes", "cgcnn"), "no structure task 'pbe_prototypes'"),
    ],
)
def test_unknown_task(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        benchmark(*arguments, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_graphs_of_something_else_are_refused(tmp_path):
    bundled_graphs(24).save(tmp_path / "graphs")
    with pytest.raises(ValueError, match=rf"graphs holds graphs of .*, not '{TASK}'. Remove that folder, or"):
        benchmark(TASK, "cgcnn", tmp_path, **QUICK)


@pytest.mark.parametrize(
    ("number", "message"),
    [(5, "it must be at most 4"), (-1, "it must be at least 0"), (True, "not a whole number"), (1.0, "not a whole")],
)
def test_unknown_fold(tmp_path, number, message):
    with pytest.raises(ValueError, match=f"fold is {number}[,;] {message}"):
        benchmark(TASK, "cgcnn", tmp_path / "run", fold_numbers=iter([0, number]))


def test_the_data_is_checked(serve, crystals, tmp_path):
    server = serve(crystals)
    server.content = server.content[:-1] + b"x"
    with pytest.raises(ValueError, match=f"sha256 {digest(server.content)}, expected"):
        benchmark(TASK, "cgcnn", tmp_path / "run", **QUICK)
    assert not (tmp_path / "run" / "graphs").exists()
