"""Build the bundled dataset from the first results, in ``raw``, until those at converged cells replace them.

They have one reference of each element per cutoff, the number of k-points instead of the mesh, and no strain.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from data.pbe_prototypes import build as converged
from data.pbe_prototypes.compute import RAW, first_results, recorded_mesh

HEADER = {
    **converged.HEADER,
    "units": {
        "formation_energy_per_atom": "eV/atom",
        "band_gap": "eV",
        "energy": "eV/cell",
        "residual_stress": "GPa",
        "cutoff": "eV",
    },
}


def build(raw: Path = RAW) -> tuple[list[dict], list[dict]]:
    """Return the rows of the dataset and the rejected results, as `converged.build`."""
    references = json.loads((raw / "references.json").read_text())
    results = {row["id"]: {**row, "mesh": recorded_mesh(row), "strain": 0.0} for row in first_results(raw)}
    rows, rejected = [], []
    for cutoff in (400, 600):  # a formula has one cutoff, so no crystal is like one of the other half
        elements = {name.split("-")[0]: entry for name, entry in references.items() if name.endswith(f"-{cutoff}")}
        half = converged.select([row for row in results.values() if row["ecut"] == cutoff], elements)
        rows += [_with_stress(row, results[row["id"]]) for row in half[0]]
        rejected += half[1]
    order = {row["id"]: place for place, (_, row) in enumerate(converged.in_work_order(list(results.values())))}
    return sorted(rows, key=lambda row: order[row["id"]]), sorted(rejected, key=lambda row: order[row["id"]])


def _with_stress(row: dict, raw: dict) -> dict:
    """Return a row with the residual stress and the cutoff in place of the strain."""
    stress = {"residual_stress": max(abs(component) for component in raw["stress"]), "cutoff": raw["ecut"]}
    names = list(row)
    place = names.index("residual_strain")
    return {
        **{name: row[name] for name in names[:place]},
        **stress,
        **{name: row[name] for name in names[place + 1 :]},
    }


def summary(rows: list[dict], rejected: list[dict]) -> dict:
    """Return what the dataset covers and what was left out, with percentiles of the stress in place of the strain."""
    report = converged.summary([row | {"residual_strain": 0.0} for row in rows], rejected, RAW)
    stress = np.percentile([row["residual_stress"] for row in rows], (50, 95, 100))
    report["residual_strain"] = {
        f"percentile_{q}": round(float(value), 3) for q, value in zip((50, 95, 100), stress, strict=True)
    }
    return {("residual_stress_gpa" if name == "residual_strain" else name): value for name, value in report.items()}


def raw_hash() -> str:
    """Return one SHA-256 hash of the raw results that `build` reads."""
    paths = [*sorted(RAW.glob("crystals-*.jsonl")), *sorted(RAW.glob("refined-*.jsonl")), RAW / "references.json"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
