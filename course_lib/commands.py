"""How a command ends: what it says, and its exit code. One way for all commands of the library."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from types import FrameType

BAD_INPUT, INTERRUPTED, TERMINATED = 2, 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes: something that the user gave is wrong; ended by Ctrl-C; ended by SIGTERM."""


def run_command(command: Callable[[], int], *, go_on: str | Callable[[], str] = "", debug: bool = False) -> int:
    """Run a command and return the exit code: its own; 2 after an error, 130 or 143 when it was told to end.

    Parameters
    ----------
    command : callable
        What to run; it returns its exit code.
    go_on : str or callable, optional
        What to print when somebody ends it, or what returns that then.
    debug : bool, default False
        Raise errors instead of printing them in one line.
    """
    try:
        with _ended_by_signals():
            return command()
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        say(f"interrupted. {go_on() if callable(go_on) else go_on}".rstrip())
        return INTERRUPTED
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        say(f"ended by SIGTERM. {go_on() if callable(go_on) else go_on}".rstrip())
        return TERMINATED
    except (OSError, ValueError, ImportError, FloatingPointError, MemoryError) as error:
        if debug:
            raise
        say(f"error: {str(error) or type(error).__name__}")
        return BAD_INPUT
    except RuntimeError as error:
        if debug or not _memory_is_full(error):
            raise
        say("error: the memory is full. Use smaller batches (batch_size), a smaller network or another device.")
        return BAD_INPUT


def _memory_is_full(error: RuntimeError) -> bool:
    """Return whether torch says so: of a GPU by a type of its own, of the machine in words alone."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM arrive as ``SystemExit``, so that open files are closed and half-written ones are removed.

    What SIGTERM or Ctrl-C interrupts may fail for that reason: a package that is half imported, for example. Such an
    error is the signal's.
    """
    told: list[BaseException] = []

    def end(number: int, frame: FrameType | None) -> None:
        told.append(SystemExit(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt())
        raise told[-1]

    if current_thread() is not main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in a process that ignores it
        before[signal.SIGINT] = signal.signal(signal.SIGINT, end)
    try:
        yield
    except Exception as error:
        if told:
            raise told[-1] from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(message: str) -> None:
    """Tell the user something; errors from every process, all else from the first."""
    if message.startswith("error") or first_process():
        with suppress(OSError):  # nobody can be told that standard error is full or closed; the command goes on
            print(f"course-lib: {message}", file=sys.stderr, flush=True)


def first_process() -> bool:
    """Return whether this process speaks for all that train together."""
    parallel = sys.modules.get("course_lib.parallel")  # where it is not loaded, nothing is trained
    return parallel is None or parallel.started_as() == 0
