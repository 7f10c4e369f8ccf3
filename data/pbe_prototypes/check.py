"""Compute recorded crystals again: with the same settings, with better ones, with spin, at other volumes.

Needs the same Python as `compute`. Every command takes ids such as ``rocksalt-Na-Cl``; all but the first have crystals
of their own when none is given, append one JSON line per crystal to ``checks.jsonl``, and leave out what is done::

    python3 -m data.pbe_prototypes.check row rocksalt-Na-Cl  # the recorded settings again: prints the differences
    python3 -m data.pbe_prototypes.check finer               # ten random rows at 800 eV and on a denser k-mesh
    python3 -m data.pbe_prototypes.check spin                # ten compounds of titanium and copper with spin
    python3 -m data.pbe_prototypes.check volumes             # energy and stress of twelve crystals along their volume
    python3 -m data.pbe_prototypes.check gaps                # gaps of three crystals on a mesh without Gamma
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np

from data.pbe_prototypes.compute import (
    CUTOFF,
    NEXT,
    RAW,
    append_line,
    calculator,
    converged_gap,
    crystal,
    even_mesh,
    first_results,
    lattice_constants,
    read_lines,
    recorded_mesh,
    reference_energy,
    single_point,
    slope,
)
from data.pbe_prototypes.prototypes import PROTOTYPES, work_list

CHECKS = RAW.with_name("checks.jsonl")
"""What the commands found, one line per crystal; ``row_energy`` is the energy (eV) of the row that was checked."""

FINER_CUTOFF, FINER_MESH = 800, 1.5
"""Cutoff (eV) of `finer`, and how many times as many k-points it takes along each axis."""

VOLUMES_OF = (
    "rocksalt-K-Br", "rocksalt-Na-Cl", "rocksalt-Mg-S", "rocksalt-Mg-O", "rocksalt-Zr-N", "rocksalt-Sn-Te",
    "zincblende-Al-N", "zincblende-In-P", "zincblende-Al-Sb", "zincblende-In-Sb", "zincblende-Cd-Se", "cscl-Mg-Ru",
)  # fmt: skip
"""Crystals of `volumes`: soft and hard, ionic, covalent and metallic; all cubic."""

GAPS_OF = ("cscl-Rb-I", "cscl-Mg-O", "zincblende-Zn-Se")
"""Crystals of `gaps`: their conduction band is lowest at a point that only a mesh with Gamma holds."""

COARSE_CUTOFF = 400
"""Cutoff (eV) at which `volumes` shows what a basis that is too small does to the stress."""

_STRAINS = np.array([-0.03, -0.02, -0.01, 0.0, 0.01])  # of the lattice constant; a small basis asks for a smaller one
_EV_PER_CUBIC_ANGSTROM = 160.21766  # in GPa


# --- which crystals -----------------------------------------------------------------------------------------------


def random_ids(rows: dict[str, dict], number: int = 10) -> list[str]:
    """Return ids by the order of their SHA-256 hashes: at random, the same every time, whatever rows come later."""
    return sorted(rows, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:number]


def is_titanium_or_copper(elements: set[str]) -> bool:
    """Return whether these are the elements of an oxide, chalcogenide or halide of Ti or Cu."""
    return bool(elements & {"Ti", "Cu"} and elements & {"O", "S", "Se", "Te", "F", "Cl", "Br", "I"})


def titanium_and_copper(rows: dict[str, dict], number: int = 10) -> list[str]:
    """Return the least stable row of each of the first oxides, chalcogenides and halides of Ti and Cu on the work list.

    Moments form where bonds are weak, so the least stable structure of a formula is the likeliest to have one.
    """
    found: dict[tuple, list[dict]] = {}
    for entry in chain.from_iterable(work_list()):
        if entry.id in rows and is_titanium_or_copper(set(entry.species.values())):
            row = rows[entry.id]
            shares = {number: row["numbers"].count(number) / len(row["numbers"]) for number in row["numbers"]}
            found.setdefault(tuple(sorted(shares.items())), []).append(row)
    highest = [max(same, key=lambda row: row["energy"] / len(row["numbers"])) for same in found.values()]
    return [row["id"] for row in highest][:number]


def recorded(ids: list[str], folder: Path) -> list[dict]:
    """Return the raw results of these ids.

    Raises
    ------
    SystemExit
        If the folder has no result of that id.
    """
    rows = _rows(folder)
    for name in ids:
        if name not in rows:
            raise SystemExit(f"no result is named {name!r}; names look like {next(iter(rows), 'rocksalt-Na-Cl')!r}")
    return [rows[name] for name in ids]


def _rows(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for row in first_results(folder)}


# --- the checks ---------------------------------------------------------------------------------------------------


def check_row(row: dict) -> dict:
    """Compute a crystal again at its recorded cell and settings; return by how much energy (eV/atom) and gap differ."""
    mesh, cutoff = recorded_mesh(row), row.get("ecut", CUTOFF)
    point = single_point(PROTOTYPES[row["prototype"]], row["species"], _constants(row), mesh, cutoff)
    return {
        "energy": round((point.energy - row["energy"]) / len(row["numbers"]), 5),
        "gap": round(converged_gap(point.calculator) - row["gap"], 4),
    }


def check_finer(row: dict, change_of_element: Callable[[str], float]) -> dict:
    """Compute a crystal on a denser k-mesh at `FINER_CUTOFF`; return what its formation energy and gap change by.

    A larger basis lowers the energies of the elements too: ``change_of_element`` gives it in eV/atom by symbol.
    """
    prototype = PROTOTYPES[row["prototype"]]
    symbols = prototype.symbols(row["species"])
    mesh = tuple(even_mesh(FINER_MESH * size) for size in row["mesh"])
    point = single_point(prototype, row["species"], _constants(row), mesh, FINER_CUTOFF)
    change = (point.energy - row["energy"] - sum(map(change_of_element, symbols))) / len(symbols)
    return {
        "cutoff": FINER_CUTOFF,
        "mesh": mesh,
        "formation_energy": round(change, 5),
        "gap": round(converged_gap(point.calculator) - row["gap"], 4),
    }


def check_spin(row: dict) -> dict:
    """Compute a crystal with spin, from one Bohr magneton on every atom of a d metal.

    Return its energy (eV/atom) relative to that without spin, and the moment of its cell (Bohr magnetons).
    """
    atoms = crystal(PROTOTYPES[row["prototype"]], row["species"], _constants(row))
    atoms.set_initial_magnetic_moments([float(number in (*range(21, 31), *range(39, 49))) for number in atoms.numbers])
    atoms.calc = calculator(recorded_mesh(row), spin=True)
    energy = (float(atoms.get_potential_energy()) - row["energy"]) / len(atoms)
    return {"energy": round(energy, 5), "moment": round(float(atoms.get_magnetic_moment()), 3)}


def check_volumes(row: dict) -> dict:
    """Compute a cubic crystal at five volumes; return lattice constants (angstrom).

    ``recorded`` is that of the row, ``energy`` that of the lowest energy at `CUTOFF` on the recorded mesh. ``plain``
    and ``coarse`` are those at which the stress vanishes without the Pulay term, at `CUTOFF` and at `COARSE_CUTOFF`;
    None where that is beyond the volumes that were computed.
    """
    (a,) = _constants(row)
    energies, plain = _along_volume(row, CUTOFF)
    _, coarse = _along_volume(row, COARSE_CUTOFF)
    curves = {
        "energy": np.polyder(np.polyfit(_STRAINS, energies, 4)),
        "plain": np.polyfit(_STRAINS, plain, 3),
        "coarse": np.polyfit(_STRAINS, coarse, 3),
    }
    zeros = {name: _zero(curve) for name, curve in curves.items()}
    return {
        "recorded": round(a, 5),
        **{name: None if zero is None else round(float(a * np.exp(zero)), 5) for name, zero in zeros.items()},
    }


def check_gap(row: dict) -> dict:
    """Compute a crystal on a mesh without Gamma, with two more k-points along each axis; return the gap (eV) there."""
    atoms = crystal(PROTOTYPES[row["prototype"]], row["species"], _constants(row))
    mesh = tuple(size + 2 for size in row["mesh"])
    atoms.calc = calculator(mesh, gamma=False)
    atoms.get_potential_energy()
    return {"mesh": mesh, "recorded": row["gap"], "without_gamma": converged_gap(atoms.calc)}


def _along_volume(row: dict, cutoff: float) -> tuple[list[float], list[float]]:
    """Return energy (eV) and stress without the Pulay term (GPa) at each of `_STRAINS`."""
    prototype = PROTOTYPES[row["prototype"]]
    (a,) = _constants(row)
    pulay = 2 / 3 * cutoff * slope(prototype.symbols(row["species"])) * _EV_PER_CUBIC_ANGSTROM  # times the volume
    energies, stresses = [], []
    for strain in _STRAINS:
        constants = (float(a * np.exp(strain)),)
        point = single_point(prototype, row["species"], constants, tuple(row["mesh"]), cutoff)
        energies.append(point.energy)
        stresses.append(point.stress[:3].mean() - pulay / abs(np.linalg.det(prototype.cell(*constants))))
    return energies, stresses


def _zero(polynomial: np.ndarray) -> float | None:
    """Return the strain within `_STRAINS` at which a polynomial is 0."""
    roots = np.roots(polynomial)
    within = np.isreal(roots) & (roots.real > _STRAINS.min()) & (roots.real < _STRAINS.max())
    return float(roots.real[within][0]) if within.any() else None


def _constants(row: dict) -> tuple[float, ...]:
    return lattice_constants(PROTOTYPES[row["prototype"]], np.array(row["cell"]))


# --- commands -----------------------------------------------------------------------------------------------------


def run(kind: str, ids: list[str], folder: Path, record: Path = CHECKS) -> None:
    """Check the crystals of these ids, or those of the check's own, unless ``record`` has them."""
    if kind == "row":
        for row in recorded(ids, folder):
            print(row["id"], check_row(row), flush=True)
        return
    rows = _rows(folder)
    own = {
        "finer": lambda: random_ids(rows),
        "spin": lambda: titanium_and_copper(rows),
        "volumes": lambda: [name for name in VOLUMES_OF if name in rows],
        "gaps": lambda: [name for name in GAPS_OF if name in rows],
    }
    checks = {
        "finer": lambda row: check_finer(row, lambda symbol: element_change(symbol, folder, record)),
        "spin": check_spin,
        "volumes": check_volumes,
        "gaps": check_gap,
    }
    for row in recorded(ids or own[kind](), folder):
        line = {"kind": kind, "id": row["id"], "row_energy": row["energy"]}
        if _is_done(line, record):
            continue
        found = checks[kind](row)
        if not _is_done(line, record):  # by a second process, meanwhile
            append_line(record, line | found)
        print(line | found, flush=True)


def element_change(symbol: str, folder: Path, record: Path = CHECKS) -> float:
    """Return the energy (eV/atom) of an element at `FINER_CUTOFF` minus the recorded one; computed once."""
    line = {"kind": "element", "id": symbol, "cutoff": FINER_CUTOFF}
    done = [found for found in _lines(record) if found.items() >= line.items()]
    if not done:
        done = [line | {"energy": round(reference_energy(symbol, FINER_CUTOFF)["energy_per_atom"], 5)}]
        append_line(record, done[0])
        print(done[0], flush=True)
    return done[0]["energy"] - json.loads((folder / "references.json").read_text())[symbol]["energy_per_atom"]


def _is_done(line: dict, record: Path) -> bool:
    return any(done.items() >= line.items() for done in _lines(record))


def _lines(record: Path) -> list[dict]:
    return read_lines([record]) if record.exists() else []


def main() -> None:
    """Read the command line and run the check at the lowest priority."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["row", "finer", "spin", "volumes", "gaps"])
    parser.add_argument("ids", nargs="*", help="names such as rocksalt-Na-Cl")
    parser.add_argument("--folder", type=Path, default=NEXT, help="folder of the raw results (default: %(default)s)")
    arguments = vars(parser.parse_args())
    if arguments["kind"] == "row" and not arguments["ids"]:
        parser.error("row needs ids, such as rocksalt-Na-Cl")
    os.nice(19)
    run(**arguments)


if __name__ == "__main__":
    main()
