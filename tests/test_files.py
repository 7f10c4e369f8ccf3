"""Writing and reading files: races, kills, locks, links, checksums."""

from __future__ import annotations

import os
import platform
import re
import resource
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from example_crystals import bundled_graphs
from forked import fork, wait

from course_lib.files import (
    check_zip,
    locked,
    replacing,
    with_checksum,
    without_checksum,
    write_atomically,
    writing,
)
from course_lib.validation import named


def test_three_writers_and_a_reader_see_whole_versions(tmp_path):
    path = tmp_path / "small.json"
    write_atomically(path, "0" * 20000)

    def write(letter: str) -> None:
        for _ in range(300):
            write_atomically(path, letter * 20000)

    writers, seen = [fork(write, letter) for letter in "abc"], set()
    while any(os.waitid(os.P_PID, writer, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for writer in writers):
        text = path.read_text()
        assert len(text) == 20000
        assert len(set(text)) == 1
        seen.add(text[0])
    assert [wait(writer) for writer in writers] == [0, 0, 0]
    assert seen & set("abc")
    assert os.listdir(tmp_path) == ["small.json"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_tidies(tmp_path):
    path = tmp_path / "run.json"
    write_atomically(path, "old")

    def write_and_die() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(write_and_die)) == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    of_another_machine = tmp_path / f".run.json.not-{platform.node()}-1-0123456789abcdef.tmp"
    of_another_machine.touch()
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == sorted([of_another_machine.name, "run.json"])


def test_what_only_looks_like_a_leftover_does_not_stand_in_the_way(tmp_path):
    before = f".run.json.{platform.node()}-"
    names = [f"{before}{'9' * 30}-0123456789abcdef.tmp", f"{before}999999999-x.tmp", f"{before}x-0123456789abcdef.tmp"]
    for name in names:
        (tmp_path / name).touch()
    folder = tmp_path / f"{before}999999999-0123456789abcdef.tmp"
    folder.mkdir()
    write_atomically(tmp_path / "run.json", "new")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, folder.name, "run.json"])


def test_an_error_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a" / "file.txt"
    write_atomically(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_an_error_of_the_system_names_the_file(tmp_path):
    def write(path: Path, save: Callable) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError, match=re.escape(str(path))):
            save()

    big, graphs = tmp_path / "big.txt", tmp_path / "graphs"
    for path, save in (
        (big, lambda: write_atomically(big, "0" * 20000)),
        (graphs, lambda: bundled_graphs(24).save(graphs)),
    ):
        assert wait(fork(write, path, save)) == 0
    assert os.listdir(tmp_path) == []
    with pytest.raises(IsADirectoryError, match=r"\[Errno 21\] Is a directory: '.*'"), named(tmp_path):
        os.read(os.open(tmp_path, os.O_RDONLY), 1)
    with pytest.raises(OSError, match=r"^y.npy: 3 requested and 2 written. Is the disk full"), writing("y.npy"):
        raise OSError("3 requested and 2 written")
    with pytest.raises(ConnectionError, match=r"^\[Errno 104\] reset$"), named("it"):
        raise ConnectionError(104, "reset")


def test_links_are_not_followed(tmp_path):
    theirs, path = tmp_path / "theirs.txt", tmp_path / "mine.txt"
    theirs.write_text("irreplaceable")
    path.symlink_to(theirs)
    (tmp_path / "mine.txt.tmp").symlink_to(theirs)
    write_atomically(path, "new")
    assert theirs.read_text() == "irreplaceable"
    assert path.read_text() == "new"
    assert not path.is_symlink()
    (tmp_path / ".lock").symlink_to(theirs)
    with pytest.raises(OSError, match="lock"), locked(tmp_path / ".lock", "it", 0):
        pass
    assert theirs.read_text() == "irreplaceable"


def test_a_lock_is_held_by_one_and_who_waits_is_told(tmp_path, capfd):
    path = tmp_path / ".lock"

    def hold() -> None:
        with locked(path, "the folder", 0):
            (tmp_path / "held").touch()
            time.sleep(1)

    holder = fork(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(TimeoutError, match=r"is using the folder\. Try again"), locked(path, "the folder", 0):
        pass
    assert capfd.readouterr().err == ""
    with locked(path, "the folder", 20):
        assert wait(holder) == 0
        with locked(path, "the folder", 0):  # once more, by the same process
            pass
        assert path.exists()
        assert wait(fork(hold)) == 99
    assert "Another process is using the folder: waiting up to 20 s." in capfd.readouterr().err
    assert not path.exists()


def test_a_lock_is_that_of_its_folder_wherever_the_process_goes(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with locked(Path("x.lock"), "one", 0):
        monkeypatch.chdir(tmp_path / "b")
        with locked(Path("x.lock"), "the other", 0):
            assert len(list(tmp_path.glob("*/x.lock"))) == 2
        Path("x.lock").touch()  # of another process
    assert list(tmp_path.glob("*/x.lock")) == [tmp_path / "b" / "x.lock"]


def test_a_lock_counts_right_under_contention(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(15):
            with locked(tmp_path / ".lock", "the count", 30):
                number = int(count.read_text())
                time.sleep(0.001)
                count.write_text(str(number + 1))

    assert [wait(child) for child in [fork(add) for _ in range(4)]] == [0] * 4
    assert count.read_text() == "60"


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    def hold_and_die() -> None:
        with locked(tmp_path / ".lock", "it", 0):
            os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(hold_and_die)) == -signal.SIGKILL
    with locked(tmp_path / ".lock", "it", 0):
        pass


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_of_a_part_is_noticed(tmp_path, compression):
    path, content = tmp_path / "some.zip", np.random.default_rng(0).bytes(500)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("part", content)
    check_zip(path)
    good = path.read_bytes()
    for at in range(40, 40 + 400, 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises((ValueError, zipfile.BadZipFile, zipfile.zlib.error)):
            check_zip(path)


def test_checksums_of_objects():
    content = {"b": [1.5, float("inf")], "a": {1: (2, None)}}
    sealed = with_checksum(content)
    assert without_checksum(sealed) == {"b": [1.5, float("inf")], "a": {"1": [2, None]}}
    for changed in (sealed | {"b": [1.5, 2.0]}, sealed | {"c": 1}, {"a": sealed["a"], "b": sealed["b"]}):
        with pytest.raises(ValueError, match="has a wrong checksum"):
            without_checksum(changed)
