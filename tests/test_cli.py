"""The command line: what it prints and where, its configuration files, and its messages about bad input."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from damaged_text import damaged
from example_crystals import TARGET, bundled
from forked import fork, wait
from hypothesis import example, given, settings
from local_server import FileServer, in_matbench_format, serve_as
from pymatgen.core import Element, Lattice, Structure
from sklearn.ensemble import RandomForestRegressor

from course_lib import cli, datasets, files, predictors
from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.files import locked
from course_lib.graphs import CrystalGraphs
from course_lib.lightning_parts import Fitting
from course_lib.methods import METHODS

QUICK = ["--set", "epochs=1", "--size", "hidden=4", "n_conv=1"]


@pytest.fixture
def run(capsys):
    """``run(arguments...)`` gives the exit code, the output and the messages."""

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse ends so
            code = error.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def table(output, separator=","):
    return pd.read_csv(io.StringIO(output), sep=separator, keep_default_na=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of 40 CIF files with id_prop.csv."""
    folder = tmp_path_factory.mktemp("cifs")
    frame = bundled(40)
    for name, structure in frame["structure"].items():
        structure.to(filename=str(folder / f"{name}.cif"))
    frame[TARGET].to_csv(folder / "id_prop.csv", header=False)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert cli.main(["train", "--dataset", str(small), "--folder", str(folder), *QUICK]) == 0
    return folder


# --- help ---


COMMANDS = [
    (), ("train",), ("predict",), ("benchmark",), ("data",), ("data", "list"), ("data", "fetch"), ("data", "check"),
    ("data", "build"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_examples_that_are_valid(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, text, _ = run(*command, "--help")
    assert code == 0
    lines = text.replace("\\\n", " ").splitlines()
    examples = [line.split("course-lib ", 1)[1] for line in lines if re.match(r"(  |Each.*|  .*\| )course-lib ", line)]
    assert examples
    for line in examples:
        words = shlex.split(line.split(">")[0])
        if words[-1] == "--help":
            assert run(*words)[0] == 0
        elif "--config" not in words:
            cli._parser().parse_args(words)


def test_help_names_every_method(run):
    _, text, _ = run("train", "--help")
    for name, method in METHODS.items():
        expected = not method.blends and not method.reads_pretrained  # all that the command can train
        assert bool(re.search(rf"\b{name}\b", text)) == expected, name


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from course_lib import cli; cli._parser(); "
        "print({'torch', 'pymatgen', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_entry_point_is_there(root):
    target = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]["course-lib"]
    module, function = target.split(":")
    assert getattr(importlib.import_module(module), function) is cli.main


# --- train ---


def test_an_error_on_crystals_that_were_trained_on_is_called_so(run, small, tmp_path):
    arguments = ("--dataset", small, "--fold", 0, "--method", "random_forest", "--set", "n_estimators=2")
    code, output, _ = run("train", *arguments, "--folder", tmp_path / "run")
    assert code == 0
    assert list(table(output)["part"]) == ["validation, trained on", "test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "late_fusion"], "late_fusion is not trained: it blends random_forest and cgcnn. Train these."),
        (["--method", "delta_learning"], "delta_learning reads what a pretrained network makes of the crystals"),
        (["--method", "early_fusion", "--set", "dropout=0.2"], "such as hidden or dropout, are sizes (--size)"),
        (["--size", "epochs=3"], "argument 'epochs'. A setting is given as such (--set): epochs."),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(predictors, "open_graphs", lambda *arguments, **options: pytest.fail("the data were read"))
    code, _, messages = run("train", *arguments, "--folder", tmp_path / "run")
    assert code == 2
    assert message in messages


@pytest.mark.parametrize("name", ["file", "file/run", "nowhere/run"])
@pytest.mark.parametrize("command", ["train", "train --resume", "data build", "benchmark"])
def test_a_folder_that_cannot_be_one_is_refused_before_anything_is_read(run, tmp_path, monkeypatch, command, name):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    monkeypatch.setattr(predictors, "open_graphs", lambda *arguments, **options: pytest.fail("the data were read"))
    first = {"data build": ["pbe_prototypes"], "benchmark": ["--task", "matbench_phonons"]}.get(command, [])
    code, _, messages = run(*command.split(), *first, "--folder", tmp_path / name)
    assert code == 2
    there = tmp_path / name.split("/")[0]
    assert f"{there} is not a folder. Choose another folder than {tmp_path / name}." in messages


def test_a_folder_in_which_nothing_can_be_written_is_refused(tmp_path, monkeypatch):
    def full(**options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", full)
    folder = tmp_path / "new" / "run"
    with pytest.raises(OSError, match=rf"run: nothing can be written in {tmp_path}: No space left .*Choose another"):
        files.check_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_train_prints_errors_and_keeps_everything(run, small, tmp_path):
    arguments = ("--dataset", small, "--fold", 1, "--split", "formula", "--seed", 7, "--folder", tmp_path / "run")
    code, output, messages = run("train", *arguments, *QUICK)
    assert code == 0
    found = table(output)
    assert list(found.columns) == ["method", "part", "target", "crystals", "mae", "unit"]
    assert list(found["part"]) == ["validation", "test"]
    frame = load_dataset(small)
    fold = datasets.folds(frame, "formula")[1]
    assert list(found["crystals"]) == [len(fold.validation), len(fold.test)]
    predictor = predictors.load(tmp_path / "run")
    graphs = CrystalGraphs.from_structures(frame["structure"], ids=frame.index, composition=magpie)
    predicted = predictor.predict(graphs.subset(fold.test))["target"]
    assert found["mae"][1] == pytest.approx((predicted - frame["target"].iloc[fold.test]).abs().mean(), rel=1e-4)
    assert f"{len(fold.train)} crystals for train" in messages
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == {
        "command": "train",
        "dataset": str(small),
        "split": "formula",
        "fold": 1,
        "method": "cgcnn",
        "folder": str(tmp_path / "run"),
        "seed": 7,
        "size": {"hidden": 4, "n_conv": 1},
        "set": {"epochs": 1},
        "jobs": 1,
    }


def test_a_run_is_repeated_from_its_configuration(run, trained, tmp_path):
    code, output, _ = run("train", "--config", trained / "config.yaml", "--folder", tmp_path / "again")
    assert code == 0
    assert list(table(output)["part"]) == ["validation"]
    weights = [
        torch.load(folder / "best.ckpt", weights_only=True)["state_dict"] for folder in (trained, tmp_path / "again")
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=0)


def test_the_command_line_comes_before_the_configuration(run, small, tmp_path):
    config = {"dataset": str(small), "method": "random_forest", "seed": 3, "set": {"n_estimators": 5, "n_jobs": 1}}
    (tmp_path / "forest.json").write_text(json.dumps(config))
    arguments = ("--seed", 4, "--set", "n_estimators=2", "--folder", tmp_path / "run")
    assert run("train", "--config", tmp_path / "forest.json", *arguments)[0] == 0
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["method"] == "random_forest"
    assert about["seed"] == 4
    wanted = METHODS["random_forest"].settings | {"n_estimators": 2, "n_jobs": 1}
    assert wanted.items() <= about["settings"].items()


def test_yaml_numbers_of_all_kinds(run, small, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"dataset: {small}\nresume: true\nfold: null\nset:\n  learning_rate: 1e-3\n  epochs: 1\n"
        "size: {hidden: 4, n_conv: 1}\n"
    )
    assert run("train", "--config", tmp_path / "c.yaml", "--folder", tmp_path / "run")[0] == 0
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"learning_rate": 0.001, "epochs": 1, "batch_size": 64}.items() <= about["settings"].items()


CONFIG = """command: train
dataset: pbe_prototypes
target:
- band_gap
method: cgcnn
fold: 1
set:
  epochs: 2
  learning_rate: 1e-3
size: {hidden: 4}
"""


def test_a_damaged_configuration_is_an_error_or_a_configuration(run, tmp_path):
    file = tmp_path / "c.yaml"

    @settings(deadline=None, derandomize=True, max_examples=200, database=None)
    @given(damaged(CONFIG))
    @example("set: {epochs: 2001-01-01}")
    @example("set:\n  epochs: &a [*a]")
    @example("? [a]\n: 1")
    @example("fold: !!binary abc")
    @example("[" * 3000)
    def check(content):
        file.write_bytes(content.encode("utf-8", "surrogatepass"))
        code, _, messages = run("train", "--config", file, "--folder", tmp_path / "run", "--seed", "-1")
        assert code == 2  # that of the seed, if everything else is right
        assert messages.startswith(("usage: ", "course-lib: "))

    check()


def test_several_targets_and_another_target(run, tmp_path):
    options = ("--method", "random_forest", "--set", "n_estimators=1", "n_jobs=1", "--folder", tmp_path / "run")
    code, output, _ = run("train", "--target", "band_gap", TARGET, *options)
    assert code == 0
    assert list(table(output)["target"]) == ["band_gap", TARGET]
    assert list(table(output)["unit"]) == ["eV", "eV/atom"]


def with_two_columns(small, tmp_path):
    lines = [f"{line},{number}" for number, line in enumerate((small / "id_prop.csv").read_text().splitlines())]
    (small / "two.csv").write_text("\n".join(lines))
    return small / "two.csv"


def test_train_asks_which_column_where_several_would_do(run, small, tmp_path):
    options = ("--method", "random_forest", "--set", "n_estimators=1", "n_jobs=1", "--folder", tmp_path / "run")
    dataset = with_two_columns(small, tmp_path)
    assert run("data", "build", dataset, "--folder", tmp_path / "graphs")[0] == 0
    for data in (dataset, tmp_path / "graphs"):
        code, _, messages = run("train", "--dataset", data, *options)
        assert code == 2
        assert re.search(r"has 2 columns of numbers: target_1, target_2. Choose with --target which", messages)
        assert not (tmp_path / "run").exists()
    code, _, messages = run("train", "--dataset", dataset, "--target", "target_2", *options)
    assert code == 0
    assert "learns target_2; leaves out target_1" in messages


def test_train_says_what_it_learns(run, small, tmp_path):
    options = ("--method", "random_forest", "--set", "n_estimators=1", "n_jobs=1", "--folder")
    code, _, messages = run("train", "--dataset", small, *options, tmp_path / "one")
    assert code == 0
    assert re.search(r"learns target$", messages, re.MULTILINE)
    code, _, messages = run("train", *options, tmp_path / "two")
    assert f"learns {TARGET}; leaves out band_gap" in messages


def test_a_column_with_gaps_stops_nobody_who_did_not_ask_for_it(run, tmp_path):
    frame = bundled(12)
    rows = [
        [k, structure.as_dict(), energy, None if k else 1.0, "text"]
        for k, (structure, energy) in enumerate(zip(frame["structure"], frame[TARGET], strict=True))
    ]
    content = {"index": list(range(12)), "columns": ["n", "structure", "energy", "kappa", "note"], "data": rows}
    (tmp_path / "frame.json").write_text(json.dumps(content))
    options = ("--dataset", tmp_path / "frame.json", "--method", "random_forest", "--set", "n_estimators=1", "--folder")
    code, output, messages = run("train", "--target", "energy", *options, tmp_path / "run")
    assert code == 0
    assert table(output)["target"].tolist() == ["energy"]
    assert "learns energy; leaves out n, kappa, note" in messages
    code, _, messages = run("train", *options, tmp_path / "other")
    assert code == 2
    assert "3 columns of numbers: n, energy, kappa. Choose with --target" in messages
    code, _, messages = run("train", "--target", "kappa", *options, tmp_path / "other")
    assert code == 2
    assert re.search(r"kappa: row 1 \(id '1'\) is nan \(11 such values\)", messages)


def test_training_on_saved_graphs(run, small, tmp_path):
    code, output, _ = run("data", "build", small, "--folder", tmp_path / "graphs")
    assert code == 0
    code, _, messages = run("data", "build", tmp_path / "graphs", "--folder", tmp_path / "again")
    assert code == 2
    assert "graphs holds graphs already. Use them where they are" in messages
    assert not (tmp_path / "again").exists()
    assert table(output).loc[0, ["crystals", "targets"]].tolist() == [40, "target"]
    assert CrystalGraphs.load(tmp_path / "graphs").features.shape == (40, 145)
    outputs = [
        run("train", "--dataset", dataset, "--fold", 0, "--split", "formula", "--folder", tmp_path / str(k), *QUICK)[1]
        for k, dataset in enumerate((small, tmp_path / "graphs"))
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("dataset", ["small", "pbe_prototypes"])
def test_a_run_is_resumed_from_any_folder(run, small, tmp_path, monkeypatch, dataset):
    """Its configuration holds no path that means something else there."""
    monkeypatch.chdir(small.parent)
    dataset = small.name if dataset == "small" else dataset
    folder = os.path.relpath(tmp_path / "run")
    options = ("--dataset", dataset, "--folder", folder, "--method", "random_forest", "--set", "n_estimators=1")
    assert run("train", *options)[0] == 0
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path / "run")
    assert run("train", "--config", "config.yaml", "--resume")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_the_home_folder(run, small, tmp_path, monkeypatch):
    """A shell leaves ``~`` in ``--folder=~/run`` and in files as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("folder: ~/run\nmethod: random_forest\nset: {n_estimators: 1}\n")
    assert run("train", "--config=~/c.yaml", "--dataset", small)[0] == 0
    assert run("predict", "--model=~/run", next(small.glob("*.cif")))[0] == 0
    assert run("data", "build", small, "--folder=~/graphs")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml", "run", "graphs"}


def test_resume(run, trained, small, tmp_path):
    before = (trained / "config.yaml").read_text()
    code, _, messages = run("train", "--config", trained / "config.yaml")
    assert code == 2
    assert "holds a run. Choose another folder, or continue that run (--resume)" in messages
    assert (trained / "config.yaml").read_text() == before
    code, output, _ = run("train", "--config", trained / "config.yaml", "--resume")
    assert code == 0
    assert len(table(output)) == 1
    code, _, messages = run("train", "--config", trained / "config.yaml", "--resume", "--set", "epochs=2")
    assert code == 2
    assert "was started with epochs = 1, not 2" in messages
    assert (trained / "config.yaml").read_text() == before


# --- predict ---


def test_predict_prints_a_row_for_each_file(run, trained, small):
    files = sorted(str(file) for file in small.glob("*.cif"))[:5]
    code, output, messages = run("predict", "--model", trained, *files)
    assert code == 0
    assert messages == ""
    found = table(output)
    assert list(found.columns) == ["file", "formula", "target", "prediction", "unit", "model", "method", "outside"]
    assert list(found["file"]) == files
    frame = load_dataset(small).loc[[Path(file).stem for file in files]]
    assert list(found["formula"]) == list(frame["formula"])
    graphs = CrystalGraphs.from_structures(frame["structure"], composition=magpie)
    expected = predictors.load(trained).predict(graphs)["target"]
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-5)
    assert set(found["unit"]) == {"unknown"}
    assert set(found["model"]) == {str(trained)}
    assert set(found["method"]) == {"cgcnn"}


def test_a_prediction_waits_for_no_package_that_it_does_not_need(trained, small):
    arguments = ["predict", "--model", str(trained), str(next(small.glob("*.cif")))]
    code = f"import sys; from course_lib import cli; assert cli.main({arguments}) == 0; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines())
    assert "torch" in loaded
    assert not loaded & {"torch_geometric", "torch._dynamo", "lightning", "sklearn", "matminer", "matplotlib"}


@pytest.mark.parametrize(("name", "separator"), [("tsv", "\t"), ("table", r"\s\s+")])
def test_other_formats(run, trained, small, name, separator):
    file = next(small.glob("*.cif"))
    _, csv, _ = run("predict", "--model", trained, file)
    _, other, _ = run("predict", "--model", trained, file, "--format", name)
    found = table(other.strip(), separator) if name == "tsv" else other
    if name == "tsv":
        pd.testing.assert_frame_equal(found, table(csv))
    else:
        assert len(other.splitlines()) == 2
        assert other.split()[: len(table(csv).columns)] == list(table(csv).columns)


def test_compositions_outside_the_training_range(run, trained, tmp_path):
    about = json.loads((trained / "run.json").read_text())["training_range"]
    known = [Element.from_Z(number) for number in about["elements"][:5]]
    many = Structure(Lattice.orthorhombic(20, 4, 4), known, [[k / 5, 0, 0] for k in range(5)])
    xenon = Structure(Lattice.cubic(4), ["Xe", "Pu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    inside = next(s for s in bundled(40)["structure"] if set(s.atomic_numbers) <= set(about["elements"]))
    files = [tmp_path / f"POSCAR_{number}" for number in range(3)]
    for file, structure in zip(files, (inside, xenon, many), strict=True):
        structure.to(filename=str(file), fmt="poscar")
    outside = table(run("predict", "--model", trained, *files)[1])["outside"]
    assert outside[0] == "no"
    assert outside[1] == "element Xe, Pu"
    assert outside[2].startswith("0-norm and ")  # more elements than any training crystal has


def test_several_models_side_by_side(run, trained, small, tmp_path):
    forest = ("--method", "random_forest", "--set", "n_estimators=2", "n_jobs=1", "--folder", tmp_path / "forest")
    run("train", "--dataset", small, *forest)
    files = [str(file) for file in sorted(small.glob("*.cif"))[:2]]
    models = ("--model", tmp_path / "forest", "--model", trained / "best.ckpt")
    _, output, _ = run("predict", *models, *files)
    found = table(output)
    assert list(found["method"]) == ["random_forest", "cgcnn"] * 2
    assert list(found["file"]) == [files[0], files[0], files[1], files[1]]


def test_file_names_from_input_and_patterns(run, trained, small, monkeypatch):
    files = sorted(str(file) for file in small.glob("rocksalt*.cif"))
    assert len(files) > 1
    _, expected, _ = run("predict", "--model", trained, *files)
    assert run("predict", "--model", trained, small / "rocksalt*.cif")[1] == expected
    for mark, end, encoding in (
        ("", "\n", "utf-8"),
        ("\ufeff", "\r\n", "utf-8"),
        ("\ufeff", "\r", "utf-8"),
        ("", "\r\n", "utf-16"),  # with a mark; as Windows PowerShell writes it
        ("\ufeff", "\n", "utf-16-be"),
    ):
        given = (mark + end.join([*files[:1], "", "  ", *files[1:]])).encode(encoding)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        assert run("predict", "--model", trained, "-")[1] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a.cif\nb.cif\n".encode("utf-16-le"), "standard input: line 1 holds a NUL character. Write one name per line"),
        (b"a.cif\nb.cif\0c.cif\0", "standard input: line 2 holds a NUL character. Write one name per line"),
        ("a.cif".encode("utf-16")[:-1], "standard input: .*truncated data"),
        (None, "standard input is closed. Send names of files to it"),
    ],
)
def test_a_list_that_is_not_read_is_named(run, trained, monkeypatch, given, message):
    monkeypatch.setattr(sys, "stdin", None if given is None else io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
    code, _, messages = run("predict", "--model", trained, "-")
    assert code == 2
    assert re.search(f"error: {message}", messages), messages


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not have such names")
def test_a_name_that_no_encoding_has_is_predicted_like_others(trained, small, tmp_path):
    odd = os.fsencode(tmp_path) + b"/K\xf6nig.cif"
    for content, code in ((next(small.glob("*.cif")).read_text(), 0), ("nonsense", 2)):
        with open(odd, "w", encoding="utf-8") as file:
            file.write(content)
        command = [sys.executable, "-m", "course_lib", "predict", "--model", str(trained)]
        for last, names in (([odd], None), ([b"-"], odd + b"\n")):
            done = subprocess.run([*command, *last], input=names, capture_output=True)
            assert done.returncode == code, done.stderr
            assert b"K\\udcf6nig.cif" in (done.stderr if code else done.stdout)


def test_a_missing_file_is_not_another_one(run, trained, small, tmp_path):
    content = next(small.glob("*.cif")).read_text()
    for name in ("x1.cif", "y[1].cif", "y*.cif", "y2.cif"):
        (tmp_path / name).write_text(content)
    for name, expected in (
        ("x[1].cif", None),
        ("y[1].cif", ["y[1].cif"]),
        ("y*.cif", ["y*.cif"]),  # a file has this name
        ("y[1]*", ["y[1].cif"]),
        ("?1.cif", ["x1.cif"]),
        ("z*.cif", None),
    ):
        code, output, messages = run("predict", "--model", trained, tmp_path / name)
        found = [Path(file).name for file in table(output)["file"]]
        assert (code, found) == ((0, expected) if expected else (2, []))
        assert expected or f"{tmp_path / name} is missing" in messages
    assert f"error: {tmp_path} is not a file." in run("predict", "--model", trained, tmp_path)[2]


def test_closed_outputs(trained, small):
    command = f"{sys.executable} -m course_lib predict --model {trained} {next(small.glob('*.cif'))} nowhere.cif"
    done = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "course-lib: error: standard output is closed. Send it to a file, or to /dev/null.\n"
    done = subprocess.run(["bash", "-c", f"{command} 2>&-"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(table(done.stdout)) == 1


def test_bad_files_are_named_and_the_others_predicted(run, trained, small, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "FILES_AT_A_TIME", 2)
    good = sorted(str(file) for file in small.glob("*.cif"))[:3]
    (tmp_path / "bad.cif").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    disordered.to(filename=str(tmp_path / "alloy.cif"))
    double = Structure(Lattice.cubic(3.6), ["Cu", "Cu"], [[0, 0, 0], [0, 0, 0.001]])
    double.to(filename=str(tmp_path / "POSCAR"))
    double.to(filename=str(tmp_path / "far.cif"))
    far = re.sub("(_cell_length_c) .*", r"\1 1e9", (tmp_path / "far.cif").read_text())
    (tmp_path / "far.cif").write_text(far)
    bad = [tmp_path / name for name in ("bad.cif", "notes.txt", "alloy.cif", "POSCAR", "far.cif", "nowhere.cif", "")]
    code, output, messages = run("predict", "--model", trained, bad[0], good[0], *bad[1:5], *good[1:], *bad[5:])
    assert code == 2
    assert list(table(output)["file"]) == good
    lines = messages.splitlines()
    for file, fix in zip(
        bad,
        (
            "leave it out",
            "leave it out",
            "one ordered arrangement",
            "merge_sites",
            "long",
            "leave it out",
            "leave it out",
        ),
        strict=True,
    ):
        assert sum(str(file) in line and fix in line for line in lines) >= 1, file
    assert run("predict", "--model", trained, bad[0])[1].count("\n") == 1  # the heading


def test_published_weights(run, small, tmp_path):
    from test_published import checkpoint

    torch.save(checkpoint(), tmp_path / "model_best.pth.tar")
    code, output, _ = run("predict", "--model", tmp_path / "model_best.pth.tar", next(small.glob("*.cif")))
    assert code == 0
    assert table(output).loc[0, ["method", "outside"]].tolist() == ["published CGCNN", "unknown"]


# --- one task of a SLURM job, which has a number even where it works alone ---


@pytest.mark.parametrize("options", [QUICK, ("--method", "random_forest", "--set", "n_estimators=2", "n_jobs=1")])
def test_a_process_that_trains_alone_does_all_of_it(run, small, tmp_path, monkeypatch, options):
    monkeypatch.setenv("SLURM_PROCID", "1")
    folder = tmp_path / "run"
    code, output, messages = run("train", "--dataset", small, "--folder", folder, *options)
    assert (code, len(table(output))) == (0, 1)
    assert "the model is in" in messages
    assert {"run.json", "config.yaml"} < set(os.listdir(folder))
    code, output, _ = run("predict", "--model", folder, next(small.glob("*.cif")))
    assert (code, len(table(output))) == (0, 1)
    assert len(table(run("data", "list")[1])) > 1
    with locked(folder / ".lock", "it", 0):
        command = ["train", "--dataset", str(small), "--folder", str(folder), "--resume", *options]
        assert wait(fork(lambda: os._exit(cli.main(command)))) == 2


def test_a_number_that_is_none_stops_only_a_network(run, small, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "abc")
    assert run("predict", "--model", trained, next(small.glob("*.cif")))[0] == 0
    code, _, messages = run("train", "--dataset", small, "--folder", tmp_path / "run", *QUICK, "--set", "devices=2")
    assert code == 2
    assert "error: the environment variable RANK: " in messages


# --- benchmark and data ---


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A small matbench_jdft2d on a server of this test's own."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    frame = load_dataset("pbe_prototypes").iloc[:636]
    crystals = pd.DataFrame({"structure": list(frame["structure"]), "exfoliation_en": frame[TARGET].to_numpy()})
    server = FileServer()
    server.content = in_matbench_format(crystals, tmp_path)
    serve_as("matbench_jdft2d", server, monkeypatch)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "cache"))
    yield server
    server.close()


def test_benchmark(run, served, tmp_path):
    options = ("--method", "random_forest", "--set", "n_estimators=1", "n_jobs=1", "--folder", tmp_path / "run")
    code, output, messages = run("benchmark", "--task", "matbench_jdft2d", *options, "--folds", 1, 3)
    assert code == 0
    assert list(table(output).columns) == ["fold", "mae", "rmse", "mape", "max_error"]
    assert list(table(output)["fold"]) == [1, 3]
    assert "2 of 5 folds are done" in messages
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["folds"] == [1, 3]
    code, output, messages = run("benchmark", "--task", "matbench_jdft2d", *options)
    assert list(table(output)["fold"]) == [0, 1, 2, 3, 4]
    assert "results.json.gz" in messages
    assert (tmp_path / "run" / "results.json.gz").exists()
    code, _, messages = run("benchmark", "--task", "matbench_jdft2d", *options, "--seed", 5)
    assert code == 2
    assert "holds a benchmark with seed = 0" in messages


def test_data_list_fetch_and_check(run, served, tmp_path):
    code, output, messages = run("data", "list")
    listed = table(output).set_index("name")
    assert code == 0
    assert str(tmp_path / "cache") in messages
    assert not listed.loc["matbench_jdft2d", "exists"]
    code, output, _ = run("data", "fetch", "matbench_jdft2d")
    assert code == 0
    file = Path(table(output)["file"][0])
    assert file.read_bytes() == served.content
    assert table(run("data", "list")[1]).set_index("name").loc["matbench_jdft2d", "exists"]
    code, output, _ = run("data", "check")
    assert code == 0
    assert table(output)["hash"].tolist() == ["right", "right"]
    file.write_bytes(file.read_bytes()[:-1])
    code, output, messages = run("data", "check")
    assert code == 2
    assert table(output)["hash"].tolist() == ["right", "wrong"]
    assert f"{file} is corrupt or truncated" in messages


def test_data_build_of_a_bad_folder(run, tmp_path):
    (tmp_path / "id_prop.csv").write_text("a,1\n")
    code, output, messages = run("data", "build", tmp_path, "--folder", tmp_path / "graphs")
    assert (code, output) == (2, "")
    assert re.search(
        r"course-lib: error: .*id_prop.csv, line 1 \(id 'a'\): .*a\.cif is missing, .* Add the file or leave", messages
    )
    assert not (tmp_path / "graphs").exists()


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "the following arguments are required: --folder"),
        (["train", "--folder", ""], "argument --folder: the path is empty. For the current folder, write a dot"),
        (["train", "--folder", "{}", "--dataset", ""], "argument --dataset: the path is empty"),
        (["train", "--folder", "{}", "--config", ""], "argument --config: the path is empty"),
        (["predict", "--model", "", "a.cif"], "argument --model: the path is empty"),
        (["data", "build", "", "--folder", "{}"], "argument DATASET: the path is empty"),
        (["data", "build", "pbe_prototypes", "--folder", ""], "argument --folder: the path is empty"),
        (["train", "--folder", "{}", "--dataset", "pbe_prototype"], "unknown dataset 'pbe_prototype'.*Nearest names"),
        (["train", "--folder", "{}", "--method", "cgcn"], "unknown method 'cgcn'; choose one of"),
        (
            ["train", "--folder", "{}", "--target", "gap"],
            "no target 'gap'; the targets are formation_energy_per_atom, band",
        ),
        (["train", "--folder", "{}", "--target", TARGET, TARGET], "targets .* name one of them twice"),
        (["train", "--folder", "{}", "--set", "epochs=1.5"], "epochs is 1.5, not a whole number"),
        (["train", "--folder", "{}", "--set", "task_weights={}"], "task_weights is .*; choose one of"),
        (["train", "--folder", "{}", "--set", "epochs=" + "9" * 5000], "--set epochs: .*digits"),
        (["train", "--folder", "{}", "--size", "n_conv=0"], "sizes of cgcnn: n_conv is 0; it must be at least 1"),
        (["train", "--folder", "{}", "--method", "my_fusion"], "unknown method 'my_fusion'; choose one of"),
        (["train", "--folder", "{}", "--seed", "-1"], "seed is -1; it must be at least 0"),
        (["train", "--folder", "{}", "--seed", "1_0"], "argument --seed: '1_0' is not a whole number"),
        (["train", "--folder", "{}", "--jobs", "1000000"], "n_jobs is 1000000; it must be at most"),
        (["train", "--folder", "{}", "--set", "learning_rate=-.5"], "learning_rate is -0.5; it must be more than 0"),
        (["train", "--folder", "{}", "--method", "random_forest", "--set", "n_jobs=0"], "n_jobs is 0; it must be at"),
        (["train", "--folder", "{}", "--jobs", "0"], "n_jobs is 0; it must be at least 1"),
        (["benchmark", "--task", "matbench_phonons", "--folder", "{}", "--set", "patience=-1"], "patience is -1"),
        (["data", "build", "pbe_prototypes", "--folder", "{}/g", "--jobs", "0"], "n_jobs is 0"),
        (["train", "--folder", "{}", "--set", "epochs"], "--set epochs: write NAME=VALUE"),
        (
            ["train", "--folder", "{}", "--set", "epoch=1"],
            "unknown setting 'epoch' of cgcnn; the settings are epochs",
        ),
        (["train", "--folder", "{}", "--set", "epochs=0"], "epochs is 0; it must be at least 1"),
        (["train", "--folder", "{}", "--size", "hiden=1"], "sizes of cgcnn: .*'hiden'"),
        (["train", "--folder", "{}", "--fold", "5"], "invalid choice: 5"),
        (["train", "--folder", "{}", "--epochs", "5"], "unrecognized arguments: --epochs 5"),
        (["predict", "--model", "{}/nowhere", "a.cif"], "no checkpoint at .*nowhere"),
        (["predict", "--model", "{}", "a.cif"], "holds no finished run"),
        (["benchmark", "--task", "matbench_steels", "--folder", "{}"], "no structure task 'matbench_steels'"),
        (["data", "fetch", "pbe"], "unknown dataset 'pbe'"),
        (["data", "build", "nowhere", "--folder", "{}/g"], "unknown dataset 'nowhere', and no such path"),
        ([], "the following arguments are required: command"),
        (["trian"], "invalid choice: 'trian'"),
    ],
)
def test_bad_input_is_named(run, tmp_path, arguments, message):
    code, output, messages = run(*(argument.replace("{}", str(tmp_path)) for argument in arguments))
    assert code == 2
    assert output == ""
    assert re.search(message, messages), messages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "epochs: 3",
            "config.yaml: unknown option 'epochs'; the options are dataset, debug, fold, folder, format, jobs",
        ),
        ("command: benchmark", "config.yaml is for the command 'benchmark', not 'train'"),
        ("- 1\n- 2", "config.yaml holds no options. Write them as 'name: value'"),
        ("a: [", "config.yaml is neither YAML nor JSON"),
        ("seed: many", "argument --seed: 'many' is not a whole number"),
        ("seed: 0100", "argument --seed: '0100' is not a whole number"),
        ("seed: 1_5", "argument --seed: '1_5' is not a whole number"),
        ("seed: ' 5'", "argument --seed: ' 5' is not a whole number"),
        ("fold: \u0663", "argument --fold: '\u0663' is not a whole number"),
        ("set: {}\nsize: {}\ntarget: []\nseed: -1", "seed is -1; it must be at least 0"),
        ("set: {learning_rate: 1" + "0" * 400 + "}", "learning_rate is about 1e400"),
        ("seed: [1, 2]", "config.yaml: seed has 2 values. Give it one"),
        ("help: true", "config.yaml: unknown option 'help'"),
        ("set: {epochs: 2020-01-01}", "epochs is '2020-01-01', not a whole number"),
        ("set: {epochs: 0100}", "epochs is '0100', not a whole number"),
        ("set: {epochs: 1:30}", "epochs is '1:30', not a whole number"),
        ("seed: 1\nfold: 2\nseed: 3", "config.yaml: line 3 repeats 'seed'. Write each name once"),
        ("set:\n  epochs: 1\n  epochs: 2", "config.yaml: line 3 repeats 'epochs'"),
        ('{"seed": 1, "seed": 2}', "config.yaml: line 1 repeats 'seed'"),
        ("resume: yes", "config.yaml: resume is 'yes'. Write true or false"),
        ("target: [[a]]", "config.yaml: target holds a list in a list"),
        ("target: 00012", "no target '00012'"),
        ("target: 1.50", "no target '1.50'"),
        ("target: no", "no target 'no'"),
        ("target: [0x10, 1:30]", "no target '0x10'"),
        ('folder: ""', "argument --folder: the path is empty"),
        ("a: " + "[" * 5000, "config.yaml: RecursionError"),
        ("set: {epochs: 1.5}", "epochs is 1.5, not a whole number"),
        (None, "No such file.*config.yaml"),
    ],
)
def test_bad_configuration_is_named(run, tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    code, output, messages = run("train", "--config", tmp_path / "config.yaml", "--folder", tmp_path / "run")
    assert (code, output) == (2, "")
    assert re.search(message, messages), messages


def test_a_command_that_reads_no_configuration_says_so(run, tmp_path):
    (tmp_path / "config.yaml").write_text("folder: x")
    code, output, messages = run("data", "list", "--config", tmp_path / "config.yaml")
    assert (code, output) == (2, "")
    assert "data takes no configuration file. Those of train, predict and benchmark do" in messages


def test_debug_shows_where(tmp_path):
    with pytest.raises(ValueError, match="unknown dataset"):
        cli.main(["train", "--dataset", "nowhere", "--folder", str(tmp_path), "--debug"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("method", ["cgcnn", "random_forest"])
def test_told_to_end(run, small, tmp_path, monkeypatch, method, number, code):
    """The message says so; the folder then holds a run that can be resumed, or is free."""

    def told(*arguments, **options):
        signal.raise_signal(number)

    where = (Fitting, "on_validation_epoch_end") if method == "cgcnn" else (RandomForestRegressor, "fit")
    options = (
        "train",
        "--dataset",
        small,
        "--method",
        method,
        "--folder",
        tmp_path,
        *(QUICK if method == "cgcnn" else ()),
    )
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(*where, told)
        found, output, messages = run(*options)
    assert (found, output) == (code, "")
    word = "ended by SIGTERM" if code == 143 else "interrupted"
    go_on = "No checkpoint exists yet; the same command starts again."  # it is written when an epoch ends
    assert messages.splitlines()[-1] == f"course-lib: {word}. {go_on}"
    assert signal.getsignal(signal.SIGTERM) == handler
    assert run("predict", "--model", tmp_path, next(small.glob("*.cif")))[0] == 2
    assert run(*options)[0] == 0


def test_told_to_end_in_the_second_epoch(run, small, tmp_path, monkeypatch):
    def told(self, *arguments):
        if self.current_epoch == 1:
            signal.raise_signal(signal.SIGTERM)
        return validate(self, *arguments)

    validate = Fitting.on_validation_epoch_end
    options = ("train", "--dataset", small, "--folder", tmp_path, *QUICK, "--set", "epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "on_validation_epoch_end", told)
        code, _, messages = run(*options)
    assert code == 143
    assert messages.splitlines()[-1].endswith("The last checkpoint is kept; continue with --resume.")
    assert run(*options, "--resume")[0] == 0


def test_a_reader_of_messages_that_is_gone_does_not_stop_a_training(small, tmp_path):
    command = f"{sys.executable} -m course_lib train --dataset {small} --method random_forest --set n_estimators=1"
    shell = f"{command} --folder {tmp_path / 'run'} 2>&1 | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["course-lib: learns target", "0"]
    assert done.stderr == ""
    assert (tmp_path / "run" / "forest.npz").exists()


def test_a_full_disk(run, small, trained):
    """Output that cannot be written is an error, as is a checkpoint."""
    files = sorted(str(file) for file in small.glob("*.cif"))[:3]
    command = [sys.executable, "-m", "course_lib", "predict", "--model", str(trained), *files]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "course-lib: error: [Errno 28] No space left on device: 'standard output'\n"


def test_the_description_of_a_run_is_that_of_its_model(run, small, tmp_path):
    """``config.yaml`` and ``run.json`` of failed runs are removed, those of a run stay."""
    forest = ("train", "--dataset", small, "--method", "random_forest", "--folder", tmp_path)
    assert run("train", "--dataset", small, "--folder", tmp_path, "--set", "accelerator=mps")[0] == 2
    assert run(*forest, "--set", "n_estimators=2", "n_jobs=1")[0] == 0
    kept = [(tmp_path / name).read_text() for name in ("config.yaml", "run.json")]
    assert yaml.safe_load(kept[0])["method"] == json.loads(kept[1])["method"] == "random_forest"
    for other in (
        ("train", "--dataset", small, "--folder", tmp_path, *QUICK),
        (*forest, "--set", "n_estimators=2", "n_jobs=1", "--seed", 1),
        (*forest, "--set", "n_estimators=2", "n_jobs=1", "--fold", 1),
        (*forest, "--set", "n_estimators=2", "n_jobs=1", "--split", "formula"),
        ("benchmark", "--task", "matbench_phonons", "--folder", tmp_path),
        ("data", "build", small, "--folder", tmp_path),
    ):
        code, _, messages = run(*other, *(["--resume"] if other[0] == "train" else []))
        assert code == 2
        assert re.search("was started with|holds a run", messages), messages
    assert [(tmp_path / name).read_text() for name in ("config.yaml", "run.json")] == kept


def test_the_recorded_studies_end_in_the_same_way(monkeypatch, capsys):
    from course_lib.experiments import __main__ as studies

    assert studies.main(["comparison", "--dataset", "nowhere"]) == 2
    assert "course-lib: error: unknown dataset 'nowhere'" in capsys.readouterr().err
    monkeypatch.setattr(studies, "run_study", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert studies.main(["comparison"]) == 143
    assert "ended by SIGTERM. Recorded runs are kept; the same command continues." in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code(run, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(predictors, "train", interrupted)
    code, _, messages = run("train", "--folder", tmp_path / "run")
    assert code == 130
    assert "interrupted" in messages


# --- as a program ---


def test_output_can_be_piped(trained, small, tmp_path):
    """Standard output has only the table, even if a library prints; and `head` may stop reading."""
    files = [str(file) for file in sorted(small.glob("*.cif"))[:5]]
    command = [sys.executable, "-m", "course_lib", "predict", "--model", str(trained), "-"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, input="\n".join([*files, "nowhere.cif"]), capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert len(table(done.stdout)) == 5
    assert done.stderr == "course-lib: error: nowhere.cif is missing. Add the file or leave it out.\n"
    shell = " ".join([*command[:-1], *files]) + " | head -n 1; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[0].startswith("file,formula")
    assert done.stdout.splitlines()[1] in ("0", "141")
    assert done.stderr == ""


@pytest.mark.parametrize("start", [[], ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]])
def test_two_processes_train_and_one_speaks(small, tmp_path, start):
    """Started by Lightning, and by torchrun."""
    arguments = ["train", "--dataset", str(small), "--folder", str(tmp_path / "run"), "--size", "hidden=4", "n_conv=1"]
    settings = ["--set", "epochs=1", "devices=2", "accelerator=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", *start, "course_lib", *arguments, *settings],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert len(table(done.stdout)) == 1
    assert done.stderr.count("crystals for train") == 1
    assert done.stderr.count("the model is in") == 1
    assert predictors.load(tmp_path / "run").method == "cgcnn"
