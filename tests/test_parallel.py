"""Two processes that share each batch do what one does alone; no crystal is taken twice or left out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from example_crystals import TARGET, bundled, bundled_graphs
from two_processes import CONFIG, cases, normalise

from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN
from course_lib.parallel import (
    from_all_processes,
    from_first_process,
    n_processes,
    process_number,
    started_as,
    sum_over_processes,
    together,
)
from course_lib.training import FitConfig, fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with graphs of one target, and of two with gaps: no crystal has a gap where ids are even."""
    folder, frame = tmp_path_factory.mktemp("parallel"), bundled(40)
    bundled_graphs(40).save(folder / "one")
    targets = frame[[TARGET, "band_gap"]].copy()
    targets.iloc[3:28, 1] = np.nan
    targets.iloc[::5, 0] = np.nan
    CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, composition=magpie(frame["structure"]), targets=targets, allow_missing=True
    ).save(folder / "two")
    return folder


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    """Return what each of two processes found; Lightning starts the second."""
    command = [sys.executable, two_processes.__file__, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2)]


@pytest.mark.parametrize("name", cases())
def test_two_processes_are_one(found, folder, name):
    alone = two_processes.train(name, folder, devices=1)
    for process in found:
        np.testing.assert_allclose(process[name]["history"], alone["history"], rtol=1e-5)
        np.testing.assert_allclose(process[name]["predictions"], alone["predictions"], rtol=1e-5, atol=1e-5)
        assert process[name]["best_epoch"] == alone["best_epoch"]
        rtol, atol = (1e-3, 1e-3) if name.endswith("single") else (1e-5, 1e-6)
        for key, expected in alone["state"].items():
            torch.testing.assert_close(process[name]["state"][key], expected, rtol=rtol, atol=atol, msg=key)


def test_batch_norm_over_the_rows_of_both(found):
    """The plain one alone is PyTorch's own. What the gradients of the parameters add up to is the gradient."""
    both, alone = [process["norms"] for process in found], normalise(slice(None))
    for kind in ("plain", "weighted"):
        for name in ("out", "x"):
            for number in range(2):
                torch.testing.assert_close(both[number][kind][name], alone[kind][name][number::2], msg=f"{kind} {name}")
        for name in ("weight", "bias"):
            torch.testing.assert_close(both[0][kind][name] + both[1][kind][name], alone[kind][name])
        for name in ("running_mean", "running_var"):
            for number in range(2):
                torch.testing.assert_close(both[number][kind][name], alone[kind][name])


def test_every_crystal_once(found, folder):
    one, other = (process["watched"] for process in found)
    alone = two_processes.watch(folder, devices=1)
    ids = bundled_graphs(40).ids.tolist()
    assert one.keys() == other.keys() == alone.keys() == {29, 11, 40}
    for size, times in ((29, CONFIG.epochs), (11, CONFIG.epochs), (40, 1)):
        crystals = [name for batch in one[size] + other[size] for name in batch]
        assert Counter(crystals) == Counter(name for batch in alone[size] for name in batch)
        assert set(Counter(crystals).values()) == {times}
    assert {name for batch in one[40] + other[40] for name in batch} == set(ids)
    # Step by step, the two have the batches of the one, half each.
    assert [len(batch) for batch in one[29][:4]] == [4, 4, 4, 3]
    assert [len(batch) for batch in other[29][:4]] == [4, 4, 4, 2]
    for mine, yours, whole in zip(one[29], other[29], alone[29], strict=True):
        assert sorted(mine + yours) == sorted(whole)


def test_an_interrupted_run_of_two_processes_goes_on(found):
    for process in found:
        whole, resumed = process["resumed"]["histories"]
        assert whole == resumed
        for name, tensor in process["resumed"]["states"][0].items():
            torch.testing.assert_close(process["resumed"]["states"][1][name], tensor, rtol=0, atol=0)
    assert found[0]["resumed"]["histories"] == found[1]["resumed"]["histories"]


def test_dropout_differs_between_the_processes(found):
    for mine, yours in zip(found[0]["resumed"]["masks"], found[1]["resumed"]["masks"], strict=True):
        assert not torch.equal(mine, yours)


# ---------------------------------------------------------------- one process, and bad input


def test_alone_nothing_is_exchanged():
    values = torch.tensor([1.0, 2.0])
    assert (n_processes(), process_number()) == (1, 0)
    assert sum_over_processes(values) is values
    assert from_first_process("a") == "a"
    assert from_all_processes("a") == ["a"]


def test_the_environment_numbers_only_processes_that_train_together(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert started_as() == 0
    with together(1):
        assert started_as() == 0
    with together(2):
        assert started_as() == 3
        with together(1):
            assert started_as() == 0
        monkeypatch.setenv("RANK", "abc")
        with pytest.raises(
            ValueError, match=r"the environment variable RANK: .*'abc'. Unset it, or start the processes"
        ):
            started_as()
    assert started_as() == 0


def test_one_task_of_a_job_trains_alone(monkeypatch, tmp_path):
    for name, value in {"NTASKS": "2", "PROCID": "1", "LOCALID": "1", "NODEID": "0", "JOB_NAME": "some"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    graphs, config = bundled_graphs(40), FitConfig(accelerator="cpu", epochs=1, folder=tmp_path)
    fit(CGCNN(hidden=8, n_conv=1), graphs, graphs, config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "WORLD_SIZE"])
def test_a_number_of_a_process_that_is_none_is_named(monkeypatch, name):
    monkeypatch.setenv(name, "abc")
    with pytest.raises(ValueError, match=f"the environment variable {name}: "):
        fit(CGCNN(hidden=8, n_conv=1), bundled_graphs(40), bundled_graphs(40), FitConfig(accelerator="cpu", epochs=1))


@pytest.mark.parametrize(
    ("n_train", "n_val", "settings", "message"),
    [
        (20, 10, {"devices": 2, "batch_size": 9}, "batch_size is 9; it must be a multiple of the 2 devices"),
        (20, 1, {"devices": 2}, "the validation set has 1 crystals; it needs 2 or more, one per device"),
        (3, 10, {"devices": 4}, "the training set has 3 crystals; it needs 4 or more, one per device"),
    ],
)
def test_what_cannot_be_shared_out(n_train, n_val, settings, message):
    graphs = bundled_graphs(40)
    train, val = graphs.subset(range(n_train)), graphs.subset(range(30, 30 + n_val))
    with pytest.raises(ValueError, match=message):
        fit(CGCNN(hidden=8, n_conv=1), train, val, FitConfig(accelerator="cpu", epochs=1, **settings))


def test_processes_that_the_settings_do_not_know_of(monkeypatch):
    """Started by torchrun with one device in the settings, each would train on everything and write to one folder."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="4 processes run this script, but the settings ask for 1"):
        fit(CGCNN(hidden=8, n_conv=1), bundled_graphs(40), bundled_graphs(40), FitConfig(accelerator="cpu", epochs=1))
