"""Processes that tests start from where they are, and that may be killed."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable


def fork(function: Callable, *arguments: object) -> int:
    """Start `function` in a process of its own; it exits with 0, or with 99 after an error, whose text it prints."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        code = 99
    finally:
        os._exit(code)


def wait(child: int, seconds: float = 60) -> int:
    """Return the exit code of a forked process, negative where a signal ended it; end it after some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
