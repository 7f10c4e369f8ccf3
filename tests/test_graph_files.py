"""The folder of saved graphs: damage, kills at every step, two writers, a reader during replacement."""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_crystals import bundled_graphs
from forked import fork, wait

from course_lib import files, graph_files
from course_lib.graphs import CrystalGraphs


def seal(folder: Path) -> None:
    """Give a folder of saved graphs the checksums of what it holds now, as if it had been made like that."""
    meta = folder / "meta.json"
    about = files.without_checksum(json.loads(meta.read_text()))
    graph_files.finish(folder, {name: about[name] for name in ("target_names", "ids", "attrs")})
    sealed = files.without_checksum(json.loads(meta.read_text())) | {"files_in": about["files_in"]}
    meta.write_text(json.dumps(files.with_checksum(sealed)))


@pytest.fixture
def folder(tmp_path):
    bundled_graphs(24).save(tmp_path / "graphs")
    return tmp_path / "graphs"


def test_every_flipped_bit_is_noticed_or_changes_nothing(folder):
    rng, reference = np.random.default_rng(0), CrystalGraphs.load(folder).checksum
    noticed = 0
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        for _ in range(20):
            bad = bytearray(good)
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            said = ""
            try:
                found = CrystalGraphs.load(folder).checksum
            except ValueError as error:
                said = str(error)
            if said:
                noticed += 1
                assert f"{path}: " in said
            else:  # white space, say
                assert path.name == "meta.json"
                assert found == reference
        path.write_bytes(good)
    assert noticed >= 12 * 20


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("species", 3, 0, "row 3 holds 0"),
        ("species", 3, 101, "row 3 holds 101"),
        ("atom_offset", 0, 1, "does not rise from 0"),
        ("edge_offset", 4, -1, "does not rise from 0"),
        ("bond_offset", -1, 10**6, r"shape is .* instead of \(1000000,\)"),
        ("source", 2, 90, "row 2 holds 90"),
        ("target", 2, -1, "row 2 holds -1"),
        ("count", 5, 0, "row 5 holds 0"),
        ("count", 5, 7, "bonds of crystal 1 do not add up to its edges"),
        ("weight", 5, 1.5, "row 5 holds 1.5"),
        ("cutoff", 1, np.nan, "row 1 holds nan"),
        ("vector", (7, 2), np.inf, "row 7 holds inf"),
        ("composition", (2, 9), np.nan, "row 2 holds nan"),
        ("y", (1, 0), np.inf, "row 1 holds inf"),
    ],
)
def test_numbers_out_of_range_are_refused_whatever_the_checksum(folder, monkeypatch, name, at, value, message):
    monkeypatch.setattr(graph_files, "_BLOCK", 3)  # so that there are several blocks
    CrystalGraphs.load(folder)
    array = np.load(folder / f"{name}.npy")
    array[at] = value
    np.save(folder / f"{name}.npy", array)
    seal(folder)
    with pytest.raises(ValueError, match=rf"(?s)\.npy: .*{message}.*Save the graphs again"):
        CrystalGraphs.load(folder)


def test_last_counts_are_checked_with_those_before_them(folder, monkeypatch):
    monkeypatch.setattr(graph_files, "_BLOCK", 1000)
    count = np.load(folder / "count.npy")
    one, other = len(count) - 1, 0
    count[[one, other]] += [1, -1] if count[other] > 1 else [1, 1]
    np.save(folder / "count.npy", count)
    seal(folder)
    with pytest.raises(ValueError, match=r"count.npy: the counts of the bonds of crystal 0 do not"):
        CrystalGraphs.load(folder)


def test_edges_of_a_crystal_without_bonds(folder):
    for name, number in (("bond_offset", 0), ("edge_offset", 5)):
        array = np.load(folder / f"{name}.npy")
        array[1] = number
        np.save(folder / f"{name}.npy", array)
    seal(folder)
    with pytest.raises(ValueError, match=r"count\.npy: the counts of the bonds of crystal 0 do not add up"):
        CrystalGraphs.load(folder)


def test_other_types_and_orders_are_refused(folder):
    for name, change in (("source", np.int64), ("vector", np.asfortranarray)):
        shutil.copytree(folder, folder.with_name(name))
        array = np.load(folder / f"{name}.npy")
        np.save(folder.with_name(name) / f"{name}.npy", array.astype(change) if change is np.int64 else change(array))
        seal(folder.with_name(name))
        with pytest.raises(ValueError, match=rf"{name}.npy: it holds .* instead of"):
            CrystalGraphs.load(folder.with_name(name))


@pytest.mark.parametrize("name", graph_files.ARRAYS)
@pytest.mark.parametrize(
    "change", [lambda array: array[..., None], lambda array: array[..., 0], lambda array: array[1:]]
)
def test_other_shapes_are_refused(folder, name, change):
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", change(array))
    seal(folder)
    with pytest.raises(ValueError, match=r"\.npy: (its shape is|it does not rise|TypeError: len\(\))"):
        CrystalGraphs.load(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ids", "a" * 24, "its ids are not a list of text"),
        ("ids", dict.fromkeys(map(str, range(24))), "its ids are not a list of text"),
        ("ids", [None] * 24, "its ids are not a list of text"),
        ("target_names", None, "its target_names are not a list of text"),
        ("target_names", [["a"], ["b"]], "its target_names are not a list of text"),
        ("target_names", ["a", "b", "c"], r"y\.npy: its shape is \(24, 1\) instead of \(24, 3\)"),
        ("attrs", ["units"], "its attrs are not an object"),
    ],
)
def test_names_of_another_form_are_refused(folder, name, value, message):
    meta = folder / "meta.json"
    about = files.without_checksum(json.loads(meta.read_text())) | {name: value}
    meta.write_text(json.dumps(files.with_checksum(about)))
    with pytest.raises(ValueError, match=rf"{message}\. Save the graphs again"):
        CrystalGraphs.load(folder)


def test_arrays_in_columns_are_saved_row_by_row(folder, tmp_path):
    graphs = CrystalGraphs.load(folder)
    replace(graphs, composition=np.asfortranarray(graphs.composition)).save(tmp_path / "turned")
    np.testing.assert_array_equal(CrystalGraphs.load(tmp_path / "turned").composition, graphs.composition)


STEPS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "open")


def save_and_die(graphs: CrystalGraphs, folder: Path, at: int) -> None:
    """Save, and be killed at the `at`-th call that makes, renames or removes something."""
    calls = 0

    def dying(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    for name in STEPS:
        setattr(os, name, dying(getattr(os, name)))
    graphs.save(folder)


def test_a_kill_at_any_step_leaves_the_old_set_or_the_new_one(folder):
    old, new = bundled_graphs(24), bundled_graphs(24).subset(range(7))
    found = []
    for at in range(1, 100):
        code = wait(fork(save_and_die, new, folder, at))
        found.append(len(CrystalGraphs.load(folder)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        old.save(folder)
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["meta.json", *(f"{name}.npy" for name in graph_files.ARRAYS)]
        )
        assert len(CrystalGraphs.load(folder)) == 24
    assert at > 15
    assert set(found) == {24, 7}
    assert found == sorted(found, reverse=True)


def test_a_kill_of_the_first_save_leaves_a_folder_that_can_be_saved_to(tmp_path):
    graphs = bundled_graphs(24).subset(range(3))
    for at in range(1, 100):
        code = wait(fork(save_and_die, graphs, tmp_path / "graphs", at))
        graphs.save(tmp_path / "graphs")
        assert len(CrystalGraphs.load(tmp_path / "graphs")) == 3
        shutil.rmtree(tmp_path / "graphs")
        if code == 0:
            break
    assert at > 15


def test_readers_and_two_writers_never_meet_a_mixture(folder):
    one, other = bundled_graphs(24), bundled_graphs(24).subset(range(5))
    sums, parent = {one.checksum: "one", other.checksum: "other"}, os.getpid()

    def save(first: CrystalGraphs, second: CrystalGraphs) -> None:
        while os.getppid() == parent:
            first.save(folder)
            second.save(folder)

    writers = [fork(save, one, other), fork(save, other, one)]
    found, end = collections.Counter(), time.monotonic() + 4
    try:
        while time.monotonic() < end:
            loaded = CrystalGraphs.load(folder)
            found[sums[loaded.checksum]] += 1
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    assert set(found) == {"one", "other"}


def test_a_writer_waits_for_another_and_says_so(folder, monkeypatch, capfd):
    monkeypatch.setattr(graph_files, "_PATIENCE", 0.3)
    with files.locked(folder / ".lock", "the graphs", 0):
        assert wait(fork(bundled_graphs(24).save, folder)) == 99
        assert "Another process is using the graphs in" in capfd.readouterr().err
    assert wait(fork(bundled_graphs(24).subset([1]).save, folder)) == 0
    assert len(CrystalGraphs.load(folder)) == 1


def test_a_link_with_the_name_of_new_files_is_removed(folder, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    (folder / ".new-0123456789abcdef").symlink_to(theirs)
    (folder / ".new-fedcba9876543210").touch()
    CrystalGraphs.load(folder).subset([2]).save(folder)
    assert (theirs / "file").exists()
    assert len(CrystalGraphs.load(folder)) == 1
    assert not list(folder.glob(".new-*"))


def test_saving_follows_no_links(folder, tmp_path):
    theirs = tmp_path / "theirs.npy"
    shutil.move(folder / "y.npy", theirs)
    (folder / "y.npy").symlink_to(theirs)
    kept = theirs.read_bytes()
    CrystalGraphs.load(folder).subset([2]).save(folder)
    assert theirs.read_bytes() == kept
    assert not (folder / "y.npy").is_symlink()


def test_a_file_of_others_with_the_name_of_ours_stays(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "meta.json").write_text('{"format": "mine"}')
    (other / "table.npy").write_bytes(b"x")
    with pytest.raises(FileExistsError, match=r"other exists and holds no crystal graphs. Choose another folder"):
        CrystalGraphs.load(folder).save(other)
    assert (other / "meta.json").read_text() == '{"format": "mine"}'
