"""Writing files so that nothing is lost half-way or in a race, and reading them so that damage is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

# What few callers need is imported where it is used: the generator of the crystals writes files with this module on a
# Python that has GPAW and little else.

CHECKSUM = "checksum"
"""Key under which an object in a JSON file holds the SHA-256 hash of all else in it."""


def add_name(error: OSError, what: object) -> None:
    """Name a file in an error of the system that does not: while it is read or written, most say only what is wrong."""
    if error.errno is not None and error.filename is None and not isinstance(error, ConnectionError):
        error.filename = str(what)


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Name what is written in errors of the system."""
    try:
        yield
    except OSError as error:
        add_name(error, what)
        if type(error) is OSError and error.errno is None and str(what) not in str(error):
            raise OSError(f"{what}: {error}. Is the disk full?") from error  # NumPy says only how much it has written
        raise


# --- writing ------------------------------------------------------------------------------------------------------


def check_folder(folder: str | os.PathLike) -> None:
    """Raise ``OSError`` unless files can be written into the folder, or it can be made; nothing is left behind."""
    path = Path(folder).absolute()
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is not a folder. Choose another folder than {folder}.")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(
            f"{folder}: nothing can be written in {there}: {error.strerror}. Choose another folder."
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step: the file is the old one or the new one, never half of either.

    The folder is created if it is missing. Line ends are written as they are in ``text``.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give an empty temporary file that takes the place of `path` in the end; after an error `path` is as it was.

    Every temporary file has a name of its own, so any number of processes may write to one path: the last one wins.
    A symbolic link at `path` is replaced, and what it points to stays. What killed processes left there is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    temporary.touch(exist_ok=False)
    try:
        with writing(path):
            yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` whose process, on this machine, has ended."""
    leftovers = list(path.parent.glob(f".{escape(path.name)}.*-*-*.tmp"))
    if not leftovers:
        return
    import psutil

    ours = re.compile(rf"\.{re.escape(path.name)}\.{re.escape(platform.node())}-([0-9]{{1,9}})-[0-9a-f]{{16}}\.tmp")
    for file in leftovers:
        named = ours.fullmatch(file.name)
        if named and not psutil.pid_exists(int(named[1])):
            with suppress(OSError):  # another process has been faster, or it is not ours
                file.unlink()


@contextmanager
def locked(path: Path, what: str, seconds: float) -> Iterator[None]:
    """Hold a lock, so that one process at a time runs the code inside; that process may take the same lock again there.

    A process that has to wait says so on standard error. The lock of a killed process is free.

    Parameters
    ----------
    path : path
        The file that represents the lock; its folder must exist.
    what : str
        What is locked, for messages.
    seconds : float
        How long to wait for another process; 0: not at all.

    Raises
    ------
    TimeoutError
        If another process has it for longer.
    """
    from filelock import FileLock, Timeout

    path = path.absolute()  # the current folder may change while it is held
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if seconds > 0:
            print(f"Another process is using {what}: waiting up to {seconds:.0f} s.", file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            raise TimeoutError(f"another process is using {what}. Try again when it has ended.") from None
    try:
        yield
    finally:
        # Removed while it is held: a process that opened it meanwhile sees that its name is gone, and makes it again.
        # Where an open file cannot be removed (Windows), or not by this user, it stays and does no harm.
        if lock.lock_counter == 1 and isinstance(lock, FileLock):
            with suppress(OSError):
                path.unlink()
        lock.release()


# --- reading ------------------------------------------------------------------------------------------------------


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 hash of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_zip(path: str | os.PathLike) -> None:
    """Raise an error when a part of a zip file, as checkpoints and forests are, does not have its checksum.

    The libraries that read them check the checksums of only some parts, or of none.
    """
    with zipfile.ZipFile(path) as file:
        broken = file.testzip()
    if broken is not None:
        raise ValueError(f"its part {broken} has a wrong checksum")


def with_checksum(content: dict) -> dict:
    """Return the content of a JSON file, or of a line in one, together with its checksum."""
    content = json.loads(json.dumps(content))  # as it is read again: tuples are lists then, and keys are strings
    return content | {CHECKSUM: _checksum(content)}


def without_checksum(content: dict) -> dict:
    """Return what `with_checksum` was given; raise ``ValueError`` when it has changed."""
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    if content.get(CHECKSUM) != _checksum(rest):
        raise ValueError("its content has a wrong checksum")
    return rest


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
