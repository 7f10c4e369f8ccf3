"""How commands end when memory runs out: a sentence and exit code 2, as for all that a user can change."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from course_lib.commands import BAD_INPUT, INTERRUPTED, TERMINATED, run_command, say


def fails_with(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError("Unable to allocate 7.45 TiB for an array"),
    ],
)
def test_full_memory_is_told(error, capsys):
    assert run_command(fails_with(error)) == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("course-lib: error: ")
    assert "memory is full" in said or "Unable to allocate" in said
    assert len(said.splitlines()) == 1
    with pytest.raises(type(error)):
        run_command(fails_with(error), debug=True)


def test_a_fault_of_the_library_is_not_hidden():
    with pytest.raises(RuntimeError, match="a fault"):
        run_command(fails_with(RuntimeError("a fault")))


def test_standard_error_that_cannot_be_written_ends_nothing(monkeypatch):
    """A full disk, or a reader that is gone, does not end a training run, and does not make a success of an error."""
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        say("it begins")
        assert run_command(fails_with(ValueError("wrong"))) == BAD_INPUT
        full.flush = lambda: None  # what is left in it cannot be written when it is closed either
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, INTERRUPTED)])
def test_an_error_that_a_signal_has_made_is_its_end(number, code, capsys):
    """NumPy and PyTorch are left in pieces, and raise anything, where a signal interrupts their import."""

    def command():
        with suppress(BaseException):
            signal.raise_signal(number)
        raise RecursionError("half imported")

    before = signal.getsignal(number)
    assert run_command(command, go_on="Go on.") == code
    word = "ended by SIGTERM" if code == TERMINATED else "interrupted"
    assert capsys.readouterr().err == f"course-lib: {word}. Go on.\n"
    assert signal.getsignal(number) == before
