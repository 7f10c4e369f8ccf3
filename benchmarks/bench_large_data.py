"""Datasets larger than memory: graphs built from a stream and from CIF files, trained from a memory map, shared."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from pymatgen.core import Lattice, Structure

from course_lib.composition import magpie
from course_lib.datasets import stream_dataset
from course_lib.graphs import CrystalGraphs

N_ATOMS = 30
TARGET_MB = 1000  # for everything done with the CIF files; other code was killed at 500 GB with 28,000 of them
MEMORY = ["own MB", "all MB"]  # of all processes of a step: without and with pages of files, each page counted once


class Watch(threading.Thread):
    """Follow the memory of this process and its children until stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = np.zeros(2)  # MB, as MEMORY
        self._stop_asked = threading.Event()
        self._me = psutil.Process()
        self.start()

    def run(self) -> None:
        """Take the highest values until `stop`."""
        while not self._stop_asked.wait(0.1):
            used = np.zeros(2)
            for process in (self._me, *self._me.children(recursive=True)):
                try:
                    memory = process.memory_full_info()
                except psutil.NoSuchProcess:  # it ended in between
                    continue
                used += [memory.uss, memory.pss]
            self.peak = np.maximum(self.peak, used / 1e6)

    def stop(self) -> np.ndarray:
        """Stop, and return the peaks."""
        self._stop_asked.set()
        self.join()
        return self.peak


def run_apart(function: Callable, *arguments: object) -> dict:
    """Call the function in a process of its own; return its result with wall time and peak memory (MB)."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(_watched, function, *arguments).result()


def _watched(function: Callable, *arguments: object) -> dict:
    watch, start = Watch(), time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - start
    return {**result, "seconds": seconds, **dict(zip(MEMORY, watch.stop(), strict=True))}


# --- what is measured -------------------------------------------------------------------------------------------------


def crystal(number: int) -> Structure:
    """Return a triclinic crystal of 30 atoms of up to 6 elements, none nearer than 1.6 angstrom to another."""
    rng = np.random.default_rng(number)
    shape = np.array([2, 3, 5])
    places = np.stack(np.meshgrid(*map(range, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    fractions = (places + rng.uniform(-0.15, 0.15, (N_ATOMS, 3))) / shape
    lattice = Lattice.from_parameters(*(2.6 * shape), *rng.uniform(75, 105, 3))
    return Structure(lattice, rng.integers(3, 60, 6)[rng.integers(0, 6, N_ATOMS)], fractions)


def energies(count: int) -> pd.Series:
    return pd.Series(np.random.default_rng(0).normal(size=count), name="energy")


def write_cifs(folder: Path, count: int) -> None:
    """Write CIF files and ``id_prop.csv``, as CGCNN users have them."""
    for number in range(count):
        structure = crystal(number)
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        lines = [f"data_{number}", "_symmetry_space_group_name_H-M 'P 1'"]
        lines += [f"_cell_{name} {value:.8f}" for name, value in zip(names, structure.lattice.parameters, strict=True)]
        lines += ["loop_", "_atom_site_type_symbol", "_atom_site_label"]
        lines += [f"_atom_site_fract_{axis}" for axis in "xyz"] + ["_atom_site_occupancy"]
        lines += [
            f"{site.specie} {site.specie}{k} {' '.join(f'{x:.8f}' for x in site.frac_coords)} 1"
            for k, site in enumerate(structure)
        ]
        (folder / f"{number}.cif").write_text("\n".join(lines) + "\n")
    energies(count).to_csv(folder / "id_prop.csv", header=False)


def build(folder: Path, count: int) -> dict:
    """Build the graphs of generated crystals."""
    structures = (crystal(number) for number in range(count))
    CrystalGraphs.from_structures(structures, composition=magpie, targets=energies(count), folder=folder)
    return {"crystals": count}


def build_from_cifs(cifs: Path, folder: Path) -> dict:
    """Build the graphs of the crystals in CIF files."""
    stream = stream_dataset(cifs)
    options = {"ids": stream.ids, "targets": stream.targets, "composition": magpie, "attrs": stream.attrs}
    return {"crystals": len(CrystalGraphs.from_structures(stream.structures, **options, folder=folder))}


def train(folder: Path, count: int) -> dict:
    """Train CGCNN for one epoch on crystals from all over the files."""
    import torch

    from course_lib.models import CGCNN
    from course_lib.training import FitConfig, fit

    torch.set_num_threads(1)
    graphs = CrystalGraphs.load(folder)
    rows = np.random.default_rng(0).permutation(len(graphs))[: count + count // 8]
    fit(CGCNN(), graphs.subset(rows[:count]), graphs.subset(rows[count:]), FitConfig(epochs=1))
    return {"crystals": len(rows)}


def share(folder: Path, n_processes: int) -> str:
    """Make every batch of the dataset in several processes at a time; return what memory they have in the end."""
    context = get_context("spawn")
    meeting = context.Barrier(n_processes + 1)
    readers = [context.Process(target=_read_all, args=(folder, meeting)) for _ in range(n_processes)]
    for reader in readers:
        reader.start()
    meeting.wait()  # all have read everything
    memory = [psutil.Process(reader.pid).memory_full_info() for reader in readers]
    meeting.wait()
    for reader in readers:
        reader.join()
    own, total = np.mean([one.uss for one in memory]) / 1e6, sum(one.pss for one in memory) / 1e6
    return (
        f"{n_processes} processes that have both made every batch: {own:.0f} MB of its own each, {total:.0f} MB in all."
    )


def _read_all(folder: Path, meeting: threading.Barrier) -> None:
    graphs = CrystalGraphs.load(folder)
    for rows in np.array_split(np.random.default_rng(0).permutation(len(graphs)), len(graphs) // 64):
        graphs.batch(rows)
    meeting.wait()
    meeting.wait()  # until the memory is measured


def size_on_disk(folder: Path) -> float:
    """Return the size of all files, MB."""
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def steps(work: Path, options: argparse.Namespace) -> Iterator[tuple[str, dict]]:
    """Run one step after the other."""
    write_cifs(work / "cifs", options.cifs)
    yield "build, CIF files", run_apart(build_from_cifs, work / "cifs", work / "from_cifs")
    yield "train, CIF files", run_apart(train, work / "from_cifs", options.cifs * 8 // 9)
    yield "build, generated", run_apart(build, work / "graphs", options.crystals)
    yield "train, generated", run_apart(train, work / "graphs", options.train)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=20_000, help="generated crystals (%(default)s; try 130000)")
    parser.add_argument("--train", type=int, default=5_000, help="how many of them to train on (%(default)s)")
    parser.add_argument("--cifs", type=int, default=1_000, help="CIF files (%(default)s; try 28000)")
    parser.add_argument("--folder", type=Path, help="where to put some 10 kB a crystal (the system's temporary folder)")
    options = parser.parse_args()
    print(
        f"Crystals of {N_ATOMS} atoms; CGCNN of default size, batches of 64, one epoch. Each step in a process of its "
        "own, with\nits child processes; highest memory without ('own') and with ('all') pages of files, which the "
        "system takes back when\nit needs them. Pages that processes share count once."
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        (work / "cifs").mkdir()
        table = pd.DataFrame.from_dict(dict(steps(work, options)), orient="index")
        table.insert(2, "crystals/s", table["crystals"] / table["seconds"])
        disk = size_on_disk(work / "graphs")
        print(table.round().astype(int).to_string())
        print(f"On disk: {disk:.0f} MB, {1000 * disk / options.crystals:.1f} kB a crystal.")
        print(share(work / "graphs", 2))
    most = table.loc[["build, CIF files", "train, CIF files"], MEMORY[-1]].max()
    met = "Met." if most <= TARGET_MB else "NOT met."
    print(f"Target: {options.cifs} CIF files with at most {TARGET_MB} MB in all. Measured: {most:.0f}. {met}")
    return 0 if most <= TARGET_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
