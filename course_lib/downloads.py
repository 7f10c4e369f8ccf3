"""Downloads: where they are kept, and how a file is fetched so that it is either complete or absent."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.files import locked, writing

if TYPE_CHECKING:
    from requests import Response
    from urllib3.response import HTTPResponse

_PATIENCE = 60.0  # seconds for a server to answer, and between two checks of its speed
_SILENCE = 30.0  # seconds to wait for the next byte
_PIECE = 1 << 16  # bytes read at once, at most
_LONGEST = 3600.0  # seconds to wait for another process that fetches the same file
_SLOWEST = 500  # bytes per second; a time limit for each byte would let a server send one per second without end
_LARGEST = 4 << 30  # bytes of a file; no dataset is half as large, and a body without end would fill the disk


def cache_folder() -> Path:
    """Return the folder that holds downloads: ``COURSE_DATA_DIR``, by default in the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("COURSE_DATA_DIR") or user_cache_dir("course_lib", appauthor=False)).expanduser()


def download(url: str, sha256: str, path: Path) -> None:
    """Fetch ``url`` to ``path``, unless it exists, and check its SHA-256 hash.

    The file grows under the name ``<path>.part`` and gets its own name only when it is complete and its hash
    is right. An interrupted download continues where it stopped; a second process waits for the first. A file may have
    4 GiB.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched, or the server has not answered after a minute or sends hardly anything.
    PermissionError
        If the folder of ``path`` cannot be written.
    TimeoutError
        If another process has been fetching the file for an hour.
    ValueError
        If the hash differs, or the file is too large.
    """
    if not path.exists():
        _check_writable(path.parent)
        with locked(path.with_name(f".{path.name}.lock"), f"the download of {path.name}", _LONGEST):
            if not path.exists():  # another process may have fetched it while this one waited
                part = path.with_name(path.name + ".part")
                _fetch(url, sha256, part, path)
                _check_hash(part, sha256, f"Removed it; load the dataset again to fetch it from {url}.", keep=False)
                os.replace(part, path)
                return
    _check_hash(path, sha256, f"Delete {path} and load the dataset again to fetch it from {url}.", keep=True)


def _check_writable(folder: Path) -> None:
    """Raise ``PermissionError`` unless a file can be written to ``folder``, which is created first if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"cannot write to the cache folder {folder} ({error.strerror}). Make it writable, or set the environment "
            "variable COURSE_DATA_DIR to a folder you may write to."
        ) from error


def _check_hash(path: Path, sha256: str, how_to_fix: str, *, keep: bool) -> None:
    """Raise ``ValueError`` when the file has another SHA-256 hash; remove it then unless ``keep``."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        if not keep:
            path.unlink()
        raise ValueError(f"{path} is corrupt or truncated: sha256 {found}, expected {sha256}. {how_to_fix}")


def _fetch(url: str, sha256: str, part: Path, path: Path) -> None:
    """Append to ``part`` what it still lacks of ``url``."""
    import requests
    import urllib3
    from tqdm import tqdm

    have = _size_of_own(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with _within(_PATIENCE, lambda: requests.get(url, headers=headers, stream=True, timeout=_SILENCE)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return  # it is complete
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            have = have if resumed else 0
            rest = response.raw.length_remaining  # None where the server does not say
            total = None if rest is None else have + rest
            with (
                writing(part),
                open(part, "ab" if resumed else "wb", opener=_open_no_link) as file,
                # Shown on terminals only: a bar in a log file is noise.
                tqdm(desc=path.name, total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
            ):
                for piece in _pieces(response.raw):
                    have += len(piece)
                    if max(have, total or 0) > _LARGEST:
                        file.truncate(0)
                        raise ValueError(f"{url} sends more than {_LARGEST:,} bytes. Fetch {path.name} from elsewhere.")
                    file.write(piece)
                    bar.update(len(piece))
    except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise ConnectionError(
            f"could not download {path.name}: {error}. With a network, try again: it continues where it stopped. "
            f"Without one, fetch {url} elsewhere (sha256 {sha256}) and put it at {path}."
        ) from error


def _size_of_own(part: Path) -> int:
    """Return the size of an interrupted download, or 0; remove a link, or whatever else has its name."""
    try:
        found = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:  # another name of the file may be someone's
        return found.st_size
    part.unlink()
    return 0


def _open_no_link(path: str, flags: int) -> int:
    """Open a file as ``open`` does; raise ``OSError`` for a symbolic link, where the system can tell."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _within(seconds: float, call: Callable[[], Response]) -> Response:
    """Return what `call` returns; raise ``TimeoutError`` when that takes longer."""
    results: list[Response | BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised again by the waiting thread
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError(f"no answer after {seconds:.0f} s")
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    """Yield what the server sends as it comes; raise ``TimeoutError`` when it is too slow."""
    since, received = time.monotonic(), 0
    while piece := response.read1(_PIECE, decode_content=False):
        yield piece
        received += len(piece)
        seconds = time.monotonic() - since
        if seconds > _PATIENCE:
            if received < _SLOWEST * seconds:
                raise TimeoutError(f"the server sent {received} bytes in {seconds:.0f} s")
            since, received = time.monotonic(), 0
