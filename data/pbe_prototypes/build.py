"""Build the bundled dataset from the raw results of `compute`.

``python -m data.pbe_prototypes.build``, run from the root of the repository, writes ``data/pbe_prototypes.json``,
``data/checksums.sha256`` and ``data/results/pbe_build.json``. The same raw results give the same bytes. With ``--raw``
and ``--data`` it reads and writes other folders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from course_lib.files import write_atomically
from data.pbe_prototypes.compute import (
    RAW,
    RELAXATION_DENSITY,
    finest,
    kpoint_mesh,
    lattice_constants,
    read_lines,
)
from data.pbe_prototypes.prototypes import ELEMENTS, PROTOTYPES, Decoration, Prototype, work_list

DATA = Path(__file__).resolve().parent.parent

SYMMETRY_TOLERANCE = 0.1
"""Tolerance of the space group, in angstrom.

The relaxation stops when the next step would change a lattice constant by less than 1.2 %, about 0.05 angstrom,
so a higher symmetry that is nearer than this is not told apart.
"""

DISTANCE_RANGE = (0.6, 1.6)
"""Shortest distance between atoms, in units of the sum of their covalent radii, that a crystal may have."""

ENERGY_LIMIT = 5.0
"""Largest formation energy, in eV/atom and of either sign, that is believed."""

HEADER = {
    "name": "pbe_prototypes",
    "source": "Computed for this course with PBE (GPAW, plane waves); see data/README.md",
    "licence": "CC BY 4.0",
    "targets": ["formation_energy_per_atom", "band_gap"],
    "units": {
        "formation_energy_per_atom": "eV/atom",
        "band_gap": "eV",
        "energy": "eV/cell",
    },
}


def has_even_mesh(mesh: Sequence[int], cell: np.ndarray) -> bool:
    """Return whether a k-``mesh`` is even and fine enough for a ``cell`` of shape (3, 3) in angstrom."""
    needed = kpoint_mesh(cell, RELAXATION_DENSITY)
    return finest(mesh, needed) == tuple(mesh) and all(size % 2 == 0 for size in mesh)


def shortest_distance(structure: Structure) -> float:
    """Return the shortest distance between atoms, periodic images included, over the sum of the covalent radii."""
    centre, neighbour, _, distance = structure.get_neighbor_list(structure.volume ** (1 / 3) * 2)
    radius = np.array([ELEMENTS[site.specie.symbol].covalent_radius for site in structure])
    return float((distance / (radius[centre] + radius[neighbour])).min())


def formation_energy(raw: dict, symbols: list[str], references: dict[str, dict]) -> float:
    """Return the formation energy per atom (eV)."""
    reference = sum(references[symbol]["energy_per_atom"] for symbol in symbols)
    return (raw["energy"] - reference) / len(symbols)


def rejection(raw: dict, prototype: Prototype, structure: Structure, energy: float) -> str | None:
    """Return why a raw result is not good enough for the dataset, or None when it is."""
    fractional = np.array(raw["frac"])
    shift = (fractional - structure.frac_coords + 0.5) % 1 - 0.5
    if np.abs(shift).max() > 2e-6 or np.abs(np.array(raw["cell"]) - structure.lattice.matrix).max() > 2e-5:
        return "not the geometry of its prototype"
    if raw["numbers"] != list(structure.atomic_numbers):
        return "not the elements of its name"
    if not has_even_mesh(raw["mesh"], structure.lattice.matrix):
        return "k-mesh odd or too coarse"
    if raw["gap"] is None:
        return "band gap unknown: too few bands"
    cell = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    if spglib.get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE).number != prototype.space_group:
        return "relaxed into a prototype of higher symmetry"
    if not DISTANCE_RANGE[0] <= shortest_distance(structure) <= DISTANCE_RANGE[1]:
        return "atoms too near or too far"
    if not abs(energy) <= ENERGY_LIMIT:
        return "formation energy not believable"
    return None


def bundle_row(raw: dict, structure: Structure, energy: float) -> dict:
    """Return one row of the bundled file."""
    return {
        "id": raw["id"],
        "formula": structure.composition.reduced_formula,
        "prototype": raw["prototype"],
        "formation_energy_per_atom": round(energy, 6),
        "band_gap": raw["gap"],
        "energy": raw["energy"],
        "residual_strain": raw["strain"],
        "n_kpoints": int(np.prod(raw["mesh"])),
        "lattice": np.round(structure.lattice.matrix, 8).tolist(),
        "species": [site.specie.symbol for site in structure],
        "coordinates": np.round(structure.frac_coords, 10).tolist(),
    }


def in_work_order(rows: list[dict]) -> list[tuple[Decoration, dict]]:
    """Pair every raw result with its entry of the work list, in the order of that list.

    Raises
    ------
    ValueError
        If a crystal was computed twice or is not on the work list.
    """
    by_id = {row["id"]: row for row in rows}
    if len(by_id) < len(rows):
        repeated = Counter(row["id"] for row in rows).most_common(1)[0][0]
        raise ValueError(f"{repeated!r} is in the raw results more than once. Keep one of its lines.")
    ordered = {}
    for decoration in chain.from_iterable(work_list()):
        if decoration.id in by_id:
            ordered[decoration.id] = (decoration, by_id[decoration.id])
    if len(ordered) < len(by_id):
        unknown = sorted(by_id.keys() - ordered.keys())
        raise ValueError(f"{unknown[0]!r} in the raw results is not on the work list ({len(unknown)} such rows).")
    return list(ordered.values())


def build(raw: Path) -> tuple[list[dict], list[dict]]:
    """Return the rows of the dataset and the rejected results, as `select`, from a folder of raw results."""
    return select(read_lines(raw.glob("crystals-*.jsonl")), json.loads((raw / "references.json").read_text()))


def select(results: Iterable[dict], references: dict[str, dict]) -> tuple[list[dict], list[dict]]:
    """Return the rows of the dataset and the rejected results (``id`` and ``reason``), both in work-list order."""
    matcher = StructureMatcher(ltol=0.05, stol=0.1, angle_tol=2)
    kept: dict[tuple, list[tuple[str, Structure]]] = defaultdict(list)
    rows, rejected = [], []
    for decoration, result in in_work_order(list(results)):
        prototype = PROTOTYPES[decoration.prototype]
        symbols = prototype.symbols(decoration.species)
        cell = prototype.cell(*lattice_constants(prototype, np.array(result["cell"])))
        structure = Structure(Lattice(cell), symbols, prototype.fractional())
        energy = formation_energy(result, symbols, references)
        reason = rejection(result, prototype, structure, energy)
        # Prototypes whose sites can change places give the same crystal for two of the list's entries.
        alike = kept[structure.composition.reduced_formula, prototype.space_group]
        if reason is None and any(matcher.fit(structure, other) for _, other in alike):
            reason = "the same crystal as an earlier row"
        if reason is None:
            alike.append((result["id"], structure))
            rows.append(bundle_row(result, structure, energy))
        else:
            rejected.append({"id": result["id"], "reason": reason})
    return rows, rejected


def summary(rows: list[dict], rejected: list[dict], raw: Path) -> dict:
    """Return what the dataset covers and what was left out, for the data card."""
    formulas = Counter(row["formula"] for row in rows)
    elements = Counter(symbol for row in rows for symbol in set(row["species"]))
    return {
        "crystals": len(rows),
        "formulas": len(formulas),
        "formulas_with_several_structures": sum(count > 1 for count in formulas.values()),
        "prototypes": dict(Counter(row["prototype"] for row in rows).most_common()),
        "elements": {symbol: elements[symbol] for symbol in ELEMENTS if symbol in elements},
        "with_band_gap": sum(row["band_gap"] > 0 for row in rows),
        "residual_strain": {
            f"percentile_{q}": round(float(np.percentile([row["residual_strain"] for row in rows], q)), 5)
            for q in (50, 95, 100)
        },
        "rejected": dict(Counter(row["reason"] for row in rejected).most_common()),
        "rejected_ids": rejected,
        "not_converged": len(read_lines(raw.glob("failed-*.jsonl"))),
    }


def raw_hash(raw: Path) -> str:
    """Return one SHA-256 hash of the raw results that `build` reads, to tell from which ones a file was built."""
    paths = [*sorted(raw.glob("crystals-*.jsonl")), raw / "references.json"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def encode(rows: list[dict], raw_sha256: str, header: dict = HEADER) -> str:
    """Return the bundled file: one JSON document, one line per crystal."""
    fields = {**header, "raw_sha256": raw_sha256}
    header = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
    body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    return f'{{\n{header},\n"rows": [\n{body}\n]\n}}\n'


def main() -> None:
    """Build the dataset and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, default=RAW, help="folder of the raw results (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder to write to (default: %(default)s)")
    raw, data = vars(parser.parse_args()).values()
    if raw == RAW:  # until the results at converged cells take their place
        from data.pbe_prototypes import first

        rows, rejected = first.build()
        content, report = encode(rows, first.raw_hash(), first.HEADER), first.summary(rows, rejected)
    else:
        rows, rejected = build(raw)
        content, report = encode(rows, raw_hash(raw)), summary(rows, rejected, raw)
    write_atomically(data / "pbe_prototypes.json", content)
    sha256 = hashlib.sha256(content.encode("utf-8")).hexdigest()
    write_atomically(data / "checksums.sha256", f"{sha256}  pbe_prototypes.json\n")
    write_atomically(data / "results" / "pbe_build.json", json.dumps(report, indent=1) + "\n")
    print(f"{len(rows)} crystals, {len(rejected)} rejected {report['rejected']}, {len(content)} bytes")


if __name__ == "__main__":
    main()
