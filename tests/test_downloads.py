"""Downloads: complete or absent, whatever the server, the network and other processes do."""

import gzip
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
from forked import fork, wait
from local_server import digest

from course_lib import datasets, downloads
from course_lib.downloads import download


def test_download_is_kept(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content
    assert not path.with_name("file.bin.part").exists()
    download(server.url, digest(server.content), path)
    assert server.ranges == [None]  # the second call asked for nothing


def test_interrupted_download_continues(server, tmp_path):
    path = tmp_path / "file.bin"
    server.break_after = 100_000
    with pytest.raises(ConnectionError, match=r"could not download file\.bin.*continues where it stopped"):
        download(server.url, digest(server.content), path)
    assert not path.exists()
    assert path.with_name("file.bin.part").stat().st_size == 100_000
    server.break_after = None
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content
    assert server.ranges == [None, "bytes=100000-"]


def test_complete_part_is_taken_over(server, tmp_path):
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(server.content)
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content


def test_wrong_hash_leaves_no_file(server, tmp_path):
    path = tmp_path / "file.bin"
    with pytest.raises(ValueError, match=f"sha256 {digest(server.content)}, expected {'0' * 64}"):
        download(server.url, "0" * 64, path)
    assert not path.exists()
    assert not path.with_name("file.bin.part").exists()


def test_spoilt_file_in_the_cache_is_noticed(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(server.content[:-1])
    with pytest.raises(ValueError, match=r"corrupt or truncated.*Delete .*file\.bin"):
        download(server.url, digest(server.content), path)


@pytest.mark.parametrize("status", [404, 503])
def test_server_error_says_what_to_fetch_and_where_to_put_it(server, tmp_path, status):
    server.status = status
    path = tmp_path / "file.bin"
    with pytest.raises(ConnectionError) as caught:
        download(server.url, "a" * 64, path)
    message = str(caught.value)
    assert f"fetch {server.url} elsewhere (sha256 {'a' * 64}) and put it at {path}" in message


def test_a_compressed_file_stays_compressed(server, tmp_path):
    server.content = gzip.compress(b"crystals" * 1000)
    server.headers = {"Content-Encoding": "gzip", "Content-Type": "application/gzip"}  # as some servers say of .gz
    download(server.url, digest(server.content), tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == server.content


def test_without_a_network_the_reason_is_told(server, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(ConnectionError, match=rf"could not download file\.bin: .*refused.*fetch {url} elsewhere"):
            download(url, "a" * 64, tmp_path / "file.bin")


def test_server_that_knows_no_ranges_sends_all_again(server, tmp_path):
    server.knows_ranges = False
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(server.content[:1000])
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content


@pytest.mark.parametrize("part", [b"of another file", b"x" * 400_000], ids=["shorter", "longer"])
def test_part_of_another_file_is_thrown_away(server, tmp_path, part):
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(part)
    with pytest.raises(ValueError, match=r"sha256.*Removed it; load the dataset again"):
        download(server.url, digest(server.content), path)
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_part_that_is_a_link_is_not_followed(server, tmp_path, link, knows_ranges):
    server.knows_ranges = knows_ranges
    theirs, path = tmp_path / "theirs.bin", tmp_path / "file.bin"
    theirs.write_bytes(b"irreplaceable")
    getattr(path.with_name("file.bin.part"), link)(theirs)
    download(server.url, digest(server.content), path)
    assert theirs.read_bytes() == b"irreplaceable"
    assert path.read_bytes() == server.content
    assert not path.is_symlink()


@pytest.mark.parametrize("endless", [True, False])
def test_a_file_that_is_too_large_is_not_kept(server, tmp_path, monkeypatch, endless):
    monkeypatch.setattr(downloads, "_LARGEST", 299_999)
    server.endless = endless
    for _ in range(2):  # nothing is left that the second download would continue
        with pytest.raises(ValueError, match=rf"{server.url} sends more than 299,999 bytes. Fetch file.bin from"):
            download(server.url, digest(server.content), tmp_path / "file.bin")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0


def download_elsewhere(server, path):
    """Start a process that downloads the file."""
    code = (
        "import sys, pathlib; from course_lib.downloads import download; "
        "download(*sys.argv[1:3], pathlib.Path(sys.argv[3]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, server.url, digest(server.content), path], stderr=subprocess.PIPE, text=True
    )


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_processes_that_ask_at_once_share_one_download(server, tmp_path):
    path = tmp_path / "file.bin"
    server.stop_after = 100_000
    processes = [download_elsewhere(server, path) for _ in range(3)]
    wait_for(lambda: server.ranges)
    time.sleep(4)  # for the others to come and wait
    assert not path.exists()
    server.released.set()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(said) == ["", *["Another process is using the download of file.bin: waiting up to 3600 s.\n"] * 2]
    assert path.read_bytes() == server.content
    assert server.ranges == [None]


def test_a_killed_download_continues(server, tmp_path):
    path = tmp_path / "file.bin"
    part = path.with_name("file.bin.part")
    server.stop_after = 100_000
    process = download_elsewhere(server, path)
    wait_for(lambda: part.exists() and part.stat().st_size)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    have = part.stat().st_size
    server.stop_after = None
    download(server.url, digest(server.content), path)
    assert path.read_bytes() == server.content
    assert server.ranges == [None, f"bytes={have}-"]


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_sends_byte_by_byte_is_given_up(server, tmp_path, monkeypatch, part):
    monkeypatch.setattr(downloads, "_PATIENCE", 1.0)
    server.seconds_per_byte[part] = 0.05
    path, begin = tmp_path / "file.bin", time.monotonic()
    with pytest.raises(
        ConnectionError, match=r"could not download file\.bin: (no answer after 1 s|the server sent \d+ b)"
    ):
        download(server.url, digest(server.content), path)
    assert time.monotonic() - begin < 10
    server.seconds_per_byte[part] = 0.0
    download(server.url, digest(server.content), path)  # the lock is free
    assert path.read_bytes() == server.content


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_SILENCE", 0.5)
    server.stop_after = 100_000
    with pytest.raises(ConnectionError, match=r"could not download file\.bin.*timed out"):
        download(server.url, digest(server.content), tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").stat().st_size == 100_000


def test_a_server_that_is_slow_but_goes_on_is_not_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_PATIENCE", 0.2)
    monkeypatch.setattr(downloads, "_SLOWEST", 5)
    server.content = b"slow but sure"
    server.seconds_per_byte["body"] = 0.05
    download(server.url, digest(server.content), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_progress_is_shown_on_a_terminal_and_nowhere_else(server, tmp_path, monkeypatch, capfd):
    download(server.url, digest(server.content), tmp_path / "file.bin")
    assert capfd.readouterr() == ("", "")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    part = tmp_path / "other.bin.part"
    part.write_bytes(server.content[:200_000])
    download(server.url, digest(server.content), tmp_path / "other.bin")
    lines = terminal.getvalue().split("\r")
    assert "other.bin:  67%" in lines[1]  # it begins where the part ends
    assert "200k/300k" in lines[1]
    assert "100%" in lines[-1]


def test_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PermissionError, match=r"cannot write to the cache folder.*COURSE_DATA_DIR"):
        download(server.url, digest(server.content), tmp_path / "file" / "folder" / "data.bin")


def test_a_full_disk_is_named(server, tmp_path):
    def fetch() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError, match=r"\[Errno 27\] .*file\.bin\.part"):
            download(server.url, digest(server.content), tmp_path / "file.bin")

    assert wait(fork(fetch)) == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_cache_without_permission(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"cannot write to the cache folder.*COURSE_DATA_DIR"):
        download(server.url, digest(server.content), tmp_path / "file.bin")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    assert datasets.cache_folder() == tmp_path
    monkeypatch.delenv("COURSE_DATA_DIR")
    assert datasets.cache_folder().name == "course_lib"
