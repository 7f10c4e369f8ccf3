"""Crystal graphs: neighbours against the pymatgen path of the original CGCNN, batches against PyG's collate."""

from __future__ import annotations

from time import process_time

import numpy as np
from pymatgen.core import Structure
from timing import interleaved_ratio, verdict
from torch_geometric.data import Batch, Data

from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs

TARGET_BUILD, TARGET_BATCH = 25, 10
N_SAMPLE = 150  # crystals that go through pymatgen in each repeat
BATCH_SIZE = 256
REPEATS = 9


def pymatgen_neighbors(structures: list[Structure]) -> int:
    """Do what the loader of the original CGCNN does: all neighbours within 8 angstrom, sorted, the first 12 kept."""
    for structure in structures:
        neighbors = structure.get_all_neighbors(8.0, include_index=True)
        nearest = [sorted(some, key=lambda neighbor: neighbor[1])[:12] for some in neighbors]
        np.array([[neighbor[2] for neighbor in some] for some in nearest])
        np.array([[neighbor[1] for neighbor in some] for some in nearest])
    return len(structures)


def larger(structures: list[Structure]) -> list[Structure]:
    """Return supercells of 2 x 2 x 1 with all atoms displaced: crystals of the usual size, without symmetry."""
    crystals = [structure.make_supercell([2, 2, 1], in_place=False) for structure in structures]
    return [crystal.perturb(0.1, seed=k) for k, crystal in enumerate(crystals)]


def bench_build(name: str, structures: list[Structure]) -> float:
    """Print and return how many times faster all graphs are built."""
    step = max(1, len(structures) // N_SAMPLE)
    table = interleaved_ratio(
        {
            "pymatgen, 8 angstrom, 12 nearest": lambda: pymatgen_neighbors(structures[::step]),
            "CrystalGraphs.from_structures": lambda: len(CrystalGraphs.from_structures(structures)),
        },
        REPEATS,
        clock=process_time,
    )
    atoms = np.mean([len(structure) for structure in structures])
    print(f"\n{name}, {atoms:.1f} atoms on average:")
    print(table.round(1).to_string())
    return table["times faster"].iloc[-1]


def bench_batches(graphs: CrystalGraphs) -> float:
    """Print and return how many times faster a batch is put together."""
    singles = []
    for row in range(len(graphs)):
        single = Data(**dict(graphs.batch([row]).items()))
        del single.batch, single.ptr
        singles.append(single)
    rng = np.random.default_rng(0)

    def with_pyg() -> int:
        return Batch.from_data_list([singles[row] for row in rng.integers(0, len(graphs), BATCH_SIZE)]).num_graphs

    def with_slices() -> int:
        return graphs.batch(rng.integers(0, len(graphs), BATCH_SIZE)).num_graphs

    def many_times(function):
        return lambda: sum(function() for _ in range(20))

    table = interleaved_ratio(
        {"PyG, Batch.from_data_list": many_times(with_pyg), "CrystalGraphs.batch": many_times(with_slices)},
        REPEATS,
        clock=process_time,
    )
    print(f"\nBatches of {BATCH_SIZE}, time per crystal, the same tensors in both:")
    print(table.round(1).to_string())
    return table["times faster"].iloc[-1]


def main() -> int:
    frame = load_dataset("pbe_prototypes")
    structures = list(frame["structure"])
    print(
        "Crystal graphs, time per crystal: from pymatgen Structures, checks of the input included, against what the\n"
        f"original CGCNN does with pymatgen. One process, CPU time, medians of {REPEATS} interleaved repeats."
    )
    bundled = bench_build("Bundled crystals", structures)
    bench_build("The same as supercells with displaced atoms", larger(structures))
    graphs = CrystalGraphs.from_structures(
        structures, composition=magpie(structures), targets=frame[["formation_energy_per_atom"]]
    )
    batches = bench_batches(graphs)
    print()
    missed = verdict("graphs of the bundled crystals", bundled, TARGET_BUILD)
    return missed | verdict("batch assembly", batches, TARGET_BATCH)


if __name__ == "__main__":
    raise SystemExit(main())
