"""What reading CIF files costs, and what of it is pymatgen.

The recorded results come from ``python tools/benchmarks/bench_reading.py --record data/results/reading.jsonl``.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from bench_large_data import N_ATOMS, write_cifs
from pymatgen.io.cif import CifParser
from recording import asked_file, ran_on, record

from course_lib.datasets import read_structure

FILES = 1000


def cpu_seconds(read: Callable[[Path], object], files: list[Path]) -> float:
    """Return the CPU time of reading all files in this process."""
    start = time.process_time()
    for file in files:
        read(file)
    return time.process_time() - start


def with_pymatgen(file: Path) -> object:
    """Read a file with pymatgen alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CifParser(file).parse_structures(primitive=False)[0]


def share_of_pymatgen(files: list[Path]) -> float:
    """Return the share of the time in functions of pymatgen and all that they call, by the profiler."""
    profile = cProfile.Profile()
    profile.runcall(cpu_seconds, read_structure, files)
    inside = 0.0
    for (path, _, _), (_, _, _, _, callers) in pstats.Stats(profile).stats.items():
        if "pymatgen" in path:
            inside += sum(of_call[3] for (caller, _, _), of_call in callers.items() if "pymatgen" not in caller)
    return inside / pstats.Stats(profile).total_tt


def main() -> None:
    """Measure, print and record."""
    path = asked_file(__doc__)
    with tempfile.TemporaryDirectory() as name:
        write_cifs(Path(name), FILES)
        files = sorted(Path(name).glob("*.cif"))
        for read in (read_structure, with_pymatgen):  # imports
            read(files[0])
        machine = ran_on()
        ours = cpu_seconds(read_structure, files)
        theirs = cpu_seconds(with_pymatgen, files[: FILES // 10]) * 10
        row = {
            "step": "read CIF files",
            "files": FILES,
            "cpu_seconds": round(ours, 2),
            "share_of_pymatgen": round(share_of_pymatgen(files[: FILES // 5]), 2),
            "pymatgen_alone_times": round(theirs / ours, 1),
            "atoms": N_ATOMS,
        }
    print(row)
    if path is not None:
        record(path, row | machine, ("step", "files"))


if __name__ == "__main__":
    main()
