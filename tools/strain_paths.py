"""How far predictions jump while crystals are strained, for every network.

The recorded results come from ``python tools/strain_paths.py FILE --record data/results/strain_paths.jsonl``. FILE
is a dataset of crystals of the Materials Project, as a JSON file of matminer. Networks are trained
briefly; 40 bundled crystals and 40 of FILE are strained along a random direction, from -1 to 1 %. Where neighbours come
and go, a prediction may jump. It does where they end at once, as in the published networks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from pymatgen.core import Lattice, Structure

import course_lib.graphs
from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.experiments.protocol import folds_of
from course_lib.files import write_atomically
from course_lib.graphs import CrystalGraphs
from course_lib.makers import make_config, make_network
from course_lib.methods import trained
from course_lib.training import fit, predict

CRYSTALS, STRAINS = 40, np.linspace(-0.01, 0.01, 81)
ENERGY, GAP = "formation_energy_per_atom", "band_gap"
ENDS_AT_ONCE = 1e-3  # angstrom, as in the study neighbor_weights


def strained(structure: Structure, direction: np.ndarray) -> list[Structure]:
    """Return a crystal at all strains along a direction, a symmetric matrix of norm 1."""
    return [
        Structure(Lattice(structure.lattice.matrix @ (np.eye(3) + strain * direction)), structure.species,
                  structure.frac_coords)
        for strain in STRAINS
    ]  # fmt: skip


def paths(structures: list[Structure], seed: int = 0) -> CrystalGraphs:
    """Return the graphs of all crystals at all strains, one crystal after the other."""
    rng = np.random.default_rng(seed)
    found = []
    for structure in structures:
        direction = rng.normal(size=(3, 3))
        direction += direction.T
        found += strained(structure, direction / np.linalg.norm(direction))
    composition = magpie(structures)
    composition = composition.loc[composition.index.repeat(len(STRAINS))].reset_index(drop=True)
    return CrystalGraphs.from_structures(found, composition=composition)


def largest_jump(predictions: np.ndarray) -> float:
    """Return by how much, at most, a step of a prediction along a path differs from the step before it."""
    return float(np.abs(np.diff(predictions.reshape(-1, len(STRAINS)), n=2, axis=1)).max())


def measure(sets: dict[str, list[Structure]], epochs: int) -> Iterator[dict]:
    """Train every network, and yield the largest jump of its energies on each set of crystals."""
    bundled = load_dataset("pbe_prototypes")
    fold = folds_of(bundled, "formula")[0]
    for fading in (True, False):
        with patch.object(course_lib.graphs, "FADE_WIDTH", course_lib.graphs.FADE_WIDTH if fading else ENDS_AT_ONCE):
            graphs = CrystalGraphs.from_structures(
                bundled["structure"], composition=magpie(bundled["structure"]), targets=bundled[[ENERGY, GAP]]
            )
            strained_sets = {name: paths(structures) for name, structures in sets.items()}
        for name, method in trained().items():
            if method.network is None or not (fading or name in ("cgcnn", "alignn")):
                continue
            targets = [ENERGY, GAP] if method.multitask else [ENERGY]
            own = graphs.select_targets(targets)
            network = make_network(name, len(targets))
            model = fit(network, own.subset(fold.train), own.subset(fold.validation),
                        make_config(name, {"epochs": epochs})).model  # fmt: skip
            for which, of_set in strained_sets.items():
                energies = predict(model, of_set).iloc[:, 0].to_numpy().astype(float)
                row = {"method": name, "crystals": which, "number": len(sets[which]), "fading": fading}
                yield row | {"epochs": epochs, "largest_jump": float(f"{largest_jump(energies):.3g}")}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="crystals of the Materials Project, as load_dataset takes them")
    parser.add_argument("--epochs", type=int, default=10, help="of the training (%(default)s)")
    parser.add_argument("--number", type=int, default=CRYSTALS, help="crystals of each set (%(default)s)")
    parser.add_argument("--record", type=Path, help="file to keep the results in, one per line")
    options = parser.parse_args()
    sets = {}
    for name, dataset in (("bundled", "pbe_prototypes"), ("Materials Project", options.dataset)):
        structures = load_dataset(dataset)["structure"]
        sets[name] = list(structures.sample(options.number, random_state=0))
    rows = []
    for row in measure(sets, options.epochs):
        print(row, flush=True)
        rows.append(row)
    if options.record is not None:
        write_atomically(options.record, "".join(json.dumps(row) + "\n" for row in rows))
    print(pd.DataFrame(rows).pivot_table("largest_jump", ["fading", "method"], "crystals"))


if __name__ == "__main__":
    main()
