"""Measurements kept in a file: what they ran on, and one measurement per line."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from course_lib import __version__
from course_lib.files import locked, write_atomically


def asked_file(description: str) -> Path | None:
    """Read the command line of a benchmark: the file that keeps its numbers, if one is named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--record", type=Path, help="file to keep the numbers in, one comparison per line")
    return parser.parse_args().record


def ran_on() -> dict:
    """Return what the numbers depend on; others may use the machine at the same time, which the load shows."""
    packages = ("torch", "lightning", "numpy", "pymatgen", "vesin")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {"course_lib": __version__, "python": platform.python_version()}
        | {name: version(name) for name in packages},
    }


def _processor() -> str:
    """Return the model's name if the system provides it, else the architecture."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def record(path: Path, row: dict, keys: Sequence[str]) -> None:
    """Add a row to the recorded ones; it replaces an earlier one that has the same values of `keys`."""
    with locked(path.with_name(f".{path.name}.lock"), path.name, seconds=10):
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = {tuple(one[key] for key in keys): one for one in [*map(json.loads, lines), row]}
        write_atomically(path, "".join(json.dumps(one) + "\n" for one in rows.values()))
