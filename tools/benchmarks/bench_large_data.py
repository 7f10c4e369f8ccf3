r"""Datasets larger than memory: graphs built from a stream and from CIF files, trained from a memory map, shared.

The recorded results come from

    python tools/benchmarks/bench_large_data.py --crystals 1000 8000 28000 130000 --train 20000 --cifs 28000 \
        --record data/results/large_data.jsonl
"""

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
from joblib.externals.loky import get_reusable_executor
from pymatgen.core import Lattice, Structure
from recording import ran_on, record

from course_lib.composition import magpie
from course_lib.datasets import stream_dataset
from course_lib.graphs import CrystalGraphs

N_ATOMS = 30
TARGET_MB = 1000  # for everything done with the CIF files, without the pages of files
IN_MEMORY = 30_000  # crystals; above, they are only built from a stream
READERS = 2  # processes that share a memory map
MEMORY = ["own_mb", "all_mb"]  # of all processes of a step: without and with pages of files, each page counted once
SHARES = ("Pss_Anon", "Pss")  # what Linux calls them, in /proc/PID/smaps_rollup


def memory_of(process: int) -> np.ndarray:
    """Return the memory of a process as `MEMORY`, in MB; pages that it shares with others count in part."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return np.array([kilobytes[name] for name in SHARES]) * 1024 / 1e6


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
                    used += memory_of(process.pid)
                except (FileNotFoundError, ProcessLookupError):  # it ended in between
                    continue
            self.peak = np.maximum(self.peak, used)

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
    """Build the graphs of generated crystals from a stream."""
    structures = (crystal(number) for number in range(count))
    CrystalGraphs.from_structures(structures, composition=magpie, targets=energies(count), folder=folder)
    return {"crystals": count, "disk_mb": size_on_disk(folder)}


def build_in_memory(count: int) -> dict:
    """Build the graphs of generated crystals from a list, and keep all of it."""
    structures = [crystal(number) for number in range(count)]
    graphs = CrystalGraphs.from_structures(structures, composition=magpie(structures), targets=energies(count))
    return {"crystals": len(graphs)}


def build_from_cifs(cifs: Path, folder: Path) -> dict:
    """Build the graphs of the crystals in CIF files."""
    stream = stream_dataset(cifs)
    options = {"ids": stream.ids, "targets": stream.targets, "composition": magpie, "attrs": stream.attrs}
    graphs = CrystalGraphs.from_structures(stream.structures, **options, folder=folder)
    get_reusable_executor().shutdown()  # joblib's idle workers would hold this spawned process for five minutes
    return {"crystals": len(graphs), "disk_mb": size_on_disk(folder)}


def train(folder: Path, most: int) -> dict:
    """Train CGCNN for one epoch on crystals from all over the files, and validate with an eighth as many."""
    import torch

    from course_lib.models import CGCNN
    from course_lib.training import FitConfig, fit

    torch.set_num_threads(1)
    graphs = CrystalGraphs.load(folder)
    rows = np.random.default_rng(0).permutation(len(graphs))
    count = min(most, len(rows) * 8 // 9)
    rows = rows[: count + count // 8]
    result = fit(CGCNN(), graphs.subset(rows[:count]), graphs.subset(rows[count:]), FitConfig(epochs=1))
    return {"crystals": len(graphs), "learned": count, "epoch_seconds": result.seconds}


def share(folder: Path) -> dict:
    """Make every batch of the dataset in several processes at a time; tell what memory they have in the end."""
    context = get_context("spawn")
    meeting = context.Barrier(READERS + 1)
    readers = [context.Process(target=_read_all, args=(folder, meeting)) for _ in range(READERS)]
    start = time.perf_counter()
    for reader in readers:
        reader.start()
    meeting.wait()  # all have read everything
    seconds = time.perf_counter() - start
    own, total = sum(memory_of(reader.pid) for reader in readers)
    meeting.wait()
    for reader in readers:
        reader.join()
    return {
        "crystals": len(CrystalGraphs.load(folder)),
        "seconds": seconds,
        "own_mb": own,
        "all_mb": total,
    }


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
    graphs = work / "graphs"
    for count in sorted(options.crystals):
        yield "build from a stream", run_apart(build, graphs, count)
        yield "train", run_apart(train, graphs, options.train)
        if count <= IN_MEMORY:
            yield "build in memory", run_apart(build_in_memory, count)
    yield f"{READERS} processes read all batches", share(graphs)
    (work / "cifs").mkdir()
    write_cifs(work / "cifs", options.cifs)
    yield "build from CIF files", run_apart(build_from_cifs, work / "cifs", work / "from_cifs")
    yield "train on CIF files", run_apart(train, work / "from_cifs", options.cifs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--crystals", type=int, nargs="+", default=[20_000], help="generated crystals, one or several numbers (20000)"
    )
    parser.add_argument("--train", type=int, default=5_000, help="how many to train on, at most (%(default)s)")
    parser.add_argument("--cifs", type=int, default=1_000, help="CIF files (%(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="where to put some 10 kB per crystal (the system's temporary folder)"
    )
    parser.add_argument("--record", type=Path, help="file to keep the numbers in, one step per line")
    options = parser.parse_args()
    print(
        f"Crystals of {N_ATOMS} atoms; CGCNN of default size, batches of 64, one epoch. Each step in a process of its "
        "own, with\nits child processes; highest memory without ('own') and with ('all') pages of files, which the "
        "system takes back when\nit needs them. Pages that processes share count once."
    )
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        machine = ran_on()
        for step, measured in steps(Path(name), options):
            row = {"step": step} | {key: round(value, 1) for key, value in measured.items()}
            rows.append(row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            if options.record is not None:
                record(options.record, row | {"atoms": N_ATOMS} | machine, ("step", "crystals"))
            machine = ran_on()
    table = pd.DataFrame(rows).set_index("step")
    most = table.loc[["build from CIF files", "train on CIF files"], MEMORY[0]].max()
    met = "Met." if most <= TARGET_MB else "NOT met."
    print(f"Target: {options.cifs} CIF files with at most {TARGET_MB} MB of its own. Measured: {most:.0f}. {met}")
    return 0 if most <= TARGET_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
