"""Compute the crystals of the work list with PBE (GPAW, plane waves) and append one JSON line for each.

Run from the root of the repository, with a Python that has GPAW (22.8 or newer), ASE and spglib: Debian's packages
``gpaw``, ``gpaw-data`` and ``python3-spglib`` for ``/usr/bin/python3``, or conda-forge's ``gpaw``. Students never need
it::

    export OMP_NUM_THREADS=1  # one process per core is faster than threads
    python3 -m data.pbe_prototypes.compute references                        # energies of the elements
    python3 -m data.pbe_prototypes.compute crystals --worker 0 --workers 2   # the first of two processes
    python3 -m data.pbe_prototypes.compute refine --worker 0 --workers 2     # the first results, better
    python3 -m data.pbe_prototypes.compute check rocksalt-Na-Cl              # one row again, at its recorded cell

Every command can be stopped at any time and started again: what is done is not done twice.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from itertools import chain
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from course_lib.files import write_atomically
from data.pbe_prototypes.prototypes import ELEMENTS, PROTOTYPES, Decoration, Prototype, start_volume, work_list

# GPAW and ASE are imported where they are used: the build and the tests read this module without them.
if TYPE_CHECKING:
    from ase import Atoms
    from gpaw import GPAW

RAW = Path(__file__).resolve().parent / "raw"
"""Folder of the raw results."""

CRYSTAL_DENSITY, REFERENCE_DENSITY = 2.4, 4.0
"""k-points per inverse angstrom, for the crystals and for the elements.

Every mesh is even and Gamma-centred; an odd one misses the zone boundary. An element is computed once and its error
enters every crystal that holds it, so its mesh is the finer one.
"""

HARD_CUTOFF, SOFT_CUTOFF = 600, 400
"""Plane-wave cutoffs in eV, with and without an element whose PAW data set is hard."""

HARD_ELEMENTS = frozenset(["H", "B", "C", "N", "O", "F", "Be", "Ti", "V", "Cu", "Zn", "Ga", "Sc"])
"""The elements whose PAW data sets are hard."""

EMPTY_BANDS = 8
"""Number of empty bands.

GPAW's default stops at the bound partial waves, so an element without a bound d state (Ca, Sr, Ba and many more) gets
no band of d symmetry: their band edges come out up to 1 eV too high, and barium metal 83 meV/atom.
"""

D_STATES_MISSING = frozenset(["K", "Ca", "Rb", "Sr", "Cs", "Ba"])
"""The elements for which GPAW's default leaves out bands of d symmetry that can matter even in a metal."""

STRAIN_TOLERANCE = 0.012
"""A relaxation is done when its next step would change every lattice constant by a smaller share than this."""

STRESS_TOLERANCE = 0.3
"""Stress (GPa) below which the first point is accepted; above it the next step needs a measured stiffness."""

_LARGEST_STEP = 0.07  # largest relative change of a lattice constant in one step
_MAX_STEPS = 9
_RIDGE = 0.02  # regularises the volume fit, so that an element seen once does not decide
_ROWS_FOR_FIT = 100  # with fewer crystals the volume comes from covalent radii


class NotConvergedError(Exception):
    """The relaxation did not end within its steps."""


class Point(NamedTuple):
    """One self-consistent calculation: energy (eV per cell), stress (GPa; xx, yy, zz, yz, xz, xy), its calculator."""

    energy: float
    stress: np.ndarray
    calculator: GPAW


# --- settings -----------------------------------------------------------------------------------------------------


def cutoff(symbols: Iterable[str]) -> int:
    """Return the plane-wave cutoff (eV) for a crystal of these elements."""
    return SOFT_CUTOFF if HARD_ELEMENTS.isdisjoint(symbols) else HARD_CUTOFF


def kpoint_mesh(cell: np.ndarray, density: float) -> tuple[int, int, int]:
    """Return the even k-mesh for a ``cell`` of shape (3, 3) in angstrom and k-points per inverse angstrom."""
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return tuple(2 * ceil(length * density / 2) for length in reciprocal)


# --- files --------------------------------------------------------------------------------------------------------


def read_lines(paths: Iterable[Path]) -> list[dict]:
    """Read the JSON lines of several files; a last line that is still being written is left out."""
    lines = chain.from_iterable(path.read_text().splitlines(keepends=True) for path in sorted(paths))
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append_line(path: Path, row: dict) -> None:
    """Append ``row`` as one JSON line in one write, after dropping a line that an interruption left incomplete."""
    with path.open("a+b") as file:
        file.seek(0)
        complete = file.read().rfind(b"\n") + 1
        file.truncate(complete)
        file.write((json.dumps(row) + "\n").encode())


# --- starting volumes ---------------------------------------------------------------------------------------------


def volume_model(rows: list[dict]) -> Callable[[Prototype, dict[str, str]], float]:
    """Return a function that guesses the volume per atom (cubic angstrom) of a prototype with given species.

    A ridge regression of the logarithm of the volume on the crystals done so far: share of each element,
    prototype, and the variance of the electronegativities as a measure of ionicity.
    """
    if len(rows) < _ROWS_FOR_FIT:
        return start_volume
    elements, prototypes = list(ELEMENTS), list(PROTOTYPES)

    def features(prototype: Prototype, species: dict[str, str]) -> np.ndarray:
        symbols = prototype.symbols(species)
        row = np.zeros(len(elements) + len(prototypes) + 1)
        for symbol in symbols:
            row[elements.index(symbol)] += 1 / len(symbols)
        row[len(elements) + prototypes.index(prototype.name)] = 1
        row[-1] = np.var([ELEMENTS[symbol].electronegativity for symbol in symbols])
        return row

    x = np.array([features(PROTOTYPES[row["prototype"]], row["species"]) for row in rows])
    y = np.log([abs(np.linalg.det(row["cell"])) / len(row["numbers"]) for row in rows])
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return lambda prototype, species: float(np.exp(features(prototype, species) @ weights + y.mean()))


# --- relaxation ---------------------------------------------------------------------------------------------------


def start_constants(prototype: Prototype, volume_per_atom: float) -> tuple[float, ...]:
    """Return the lattice constants (angstrom) at which a relaxation starts, from a volume in cubic angstrom."""
    unit_volume = abs(np.linalg.det(prototype.cell(1.0)))
    edge = (volume_per_atom * len(prototype.sites) / unit_volume) ** (1 / 3)
    return (edge,) if prototype.cubic else (edge, edge * prototype.c_over_a)


def relax(start: tuple[float, ...], evaluate: Callable[..., Point]) -> tuple[tuple[float, ...], Point, int]:
    """Find the lattice constants (angstrom) without stress, by Broyden's method on their logarithms.

    Returns them, the calculation at them, and the number of calculations that it took.

    Parameters
    ----------
    start : tuple of float
        Lattice constants in angstrom: ``(a,)`` of a cubic crystal, ``(a, c)`` of a uniaxial one.
    evaluate : callable
        ``evaluate(*constants)`` returns a `Point`.

    Raises
    ------
    NotConvergedError
        If the stress is still too large after nine steps.
    """
    cubic = len(start) == 1
    x = np.log(start)
    jacobian = _stiffness(cubic, 80.0)  # of the stress with respect to x, GPa
    last: tuple[np.ndarray, np.ndarray] | None = None
    for step in range(1, _MAX_STEPS + 1):
        point = evaluate(*np.exp(x))
        stress = _components(point.stress, cubic)
        if last is not None:
            dx, change = x - last[0], stress - last[1]
            jacobian = jacobian + np.outer(change - jacobian @ dx, dx) / (dx @ dx)
            if not _plausible(jacobian):
                jacobian = np.array([[max(30.0, 60 * abs(stress[0]))]]) if cubic else _stiffness(cubic, 60.0)
        move = -np.linalg.solve(jacobian, stress)
        # Before the second point the stiffness is a guess, and a soft crystal may be far from where it wants to be.
        trusted = last is not None or np.abs(stress).max() < STRESS_TOLERANCE
        if trusted and np.abs(move).max() < STRAIN_TOLERANCE:
            return tuple(np.exp(x)), point, step
        last = x, stress
        x = x + move * min(1.0, _LARGEST_STEP / np.abs(move).max())
    raise NotConvergedError(f"stress {np.round(stress, 2).tolist()} GPa after {_MAX_STEPS} steps")


def _components(stress: np.ndarray, cubic: bool) -> np.ndarray:
    """Return the stress along ``a``, and along ``c`` for a uniaxial crystal."""
    return np.array([stress[:3].mean()] if cubic else [(stress[0] + stress[1]) / 2, stress[2]])


def _stiffness(cubic: bool, scale: float) -> np.ndarray:
    """Return a first guess of the derivative of the stress with respect to the logarithms of the constants, in GPa."""
    return np.array([[3 * scale]]) if cubic else scale * np.array([[2.2, 0.6], [1.2, 1.6]])


def _plausible(jacobian: np.ndarray) -> bool:
    """Return whether a crystal could be that stiff; Broyden's update can go astray."""
    if np.linalg.det(jacobian) <= 0:
        return False
    return len(jacobian) > 1 or 15 < jacobian[0, 0] < 3000


# --- GPAW ---------------------------------------------------------------------------------------------------------


def calculator(cutoff_ev: int, mesh: tuple[int, int, int]) -> GPAW:
    """Return the spin-paired PBE calculator of every crystal, on a Gamma-centred ``mesh``."""
    from gpaw import GPAW, PW, FermiDirac, Mixer

    return GPAW(
        xc="PBE",
        mode=PW(cutoff_ev),
        kpts={"size": mesh, "gamma": True},
        occupations=FermiDirac(0.05),
        nbands=-EMPTY_BANDS,
        # GPAW's default mixes carefully, for cells in which charge sloshes. Ours are too small for that: 1.4 to 1.8
        # times faster, the same energy within 0.03 meV/atom.
        mixer=Mixer(0.3, 5, 1.0),
        maxiter=120,
        convergence={"energy": 5e-4, "density": 5e-4, "eigenstates": 1e-5},
        txt=None,
    )


def single_point(
    prototype: Prototype, species: dict[str, str], constants: tuple[float, ...], density: float = CRYSTAL_DENSITY
) -> Point:
    """Run one self-consistent calculation at the given lattice constants (angstrom) and density of the k-mesh."""
    from ase import Atoms
    from ase.units import GPa

    symbols = prototype.symbols(species)
    cell = prototype.cell(*constants)
    atoms = Atoms(symbols, positions=prototype.positions(*constants), cell=cell, pbc=True)
    atoms.calc = calculator(cutoff(symbols), kpoint_mesh(cell, density))
    return Point(float(atoms.get_potential_energy()), atoms.get_stress() / GPa, atoms.calc)


def converged_gap(calc: GPAW) -> float:
    """Return the band gap on the k-mesh (eV), 0 for a metal, with the lowest empty bands converged too.

    A self-consistent calculation converges occupied bands only. Its empty ones lie too high, never too low,
    so a metal is known at once.
    """
    if band_gap(calc) == 0:
        return 0.0
    return band_gap(calc.fixed_density(convergence={"bands": 2 - EMPTY_BANDS}, txt=None))


def band_gap(calc: GPAW) -> float:
    """Return the difference between the lowest empty and the highest occupied state (eV), at least 0."""
    electrons = round(calc.get_number_of_electrons())
    if electrons % 2:
        return 0.0
    occupied = electrons // 2
    bands = np.array([calc.get_eigenvalues(kpt=k) for k in range(len(calc.get_ibz_k_points()))])  # (n_k, n_bands)
    return round(max(0.0, float(bands[:, occupied].min() - bands[:, occupied - 1].max())), 4)


# --- commands -----------------------------------------------------------------------------------------------------


def crystals(worker: int, workers: int, folder: Path = RAW) -> None:
    """Relax the compositions of the work list whose number is ``worker`` modulo ``workers``."""
    mine = (entries for number, entries in enumerate(work_list()) if number % workers == worker)

    def relaxed(entry: Decoration) -> dict:
        prototype = PROTOTYPES[entry.prototype]
        volume = volume_model(results(folder)[0])(prototype, entry.species)
        return relaxed_row(entry, start_constants(prototype, volume))

    _run(chain.from_iterable(mine), relaxed, "crystals", worker, folder)


def refine(worker: int, workers: int, folder: Path = RAW) -> None:
    """Compute those of the first results again that may be wrong, from where they ended.

    One that was accepted at its first point is relaxed further; all others keep their cell.
    """
    first = [row for row in read_lines(folder.glob("crystals-*.jsonl")) if needs_refining(row)]
    by_id = {row["id"]: row for row in first}

    def refined(entry: Decoration) -> dict:
        constants = lattice_constants(PROTOTYPES[entry.prototype], np.array(by_id[entry.id]["cell"]))
        return relaxed_row(entry, constants, keep_cell=by_id[entry.id]["scf"] > 1)

    # Dealt by name: the list of first results may still grow.
    mine = [row for row in first if crc32(row["id"].encode()) % workers == worker]
    entries = [Decoration(row["prototype"], row["species"]) for row in mine]
    _run(entries, refined, "refined", worker, folder)


def needs_refining(row: dict) -> bool:
    """Return whether a raw result is one of the first, with too few bands, and can be wrong because of it.

    A relaxed metal is right: with more bands, energies of 82 relaxed crystals changed by 0.1 meV/atom at most.
    """
    relaxed_metal = row["scf"] > 1 and row["gap"] == 0 and D_STATES_MISSING.isdisjoint(row["species"].values())
    return "bands" not in row and not relaxed_metal


def _run(
    entries: Iterable[Decoration], compute: Callable[[Decoration], dict], kind: str, worker: int, folder: Path
) -> None:
    """Append what ``compute`` returns for each entry to ``<kind>-<worker>.jsonl``, leaving out what is there already.

    A crystal that does not converge is recorded in ``failed-<kind>-<worker>.jsonl``. Anything else that goes wrong
    stops the worker and records nothing, so the next run begins with that crystal.
    """
    from gpaw import KohnShamConvergenceError

    seen = {row["id"] for row in read_lines([*folder.glob(f"{kind}-*.jsonl"), *folder.glob("failed-*.jsonl")])}
    for entry in entries:
        if entry.id in seen:
            continue
        seen.add(entry.id)
        begin = time.time()
        try:
            row = compute(entry)
        except (NotConvergedError, KohnShamConvergenceError) as error:
            path, row = folder / f"failed-{kind}-{worker}.jsonl", {"id": entry.id, "error": repr(error)[:200]}
        else:
            path = folder / f"{kind}-{worker}.jsonl"
        row["seconds"] = round(time.time() - begin, 1)
        append_line(path, row)
        print(path.stem, entry.id, row["seconds"], "s", flush=True)


def relaxed_row(entry: Decoration, start: tuple[float, ...], keep_cell: bool = False) -> dict:
    """Return the raw result of one crystal, relaxed from the lattice constants ``start`` or computed right there."""
    prototype = PROTOTYPES[entry.prototype]
    symbols = prototype.symbols(entry.species)

    def evaluate(*constants: float) -> Point:
        return single_point(prototype, entry.species, constants)

    constants, point, steps = (start, evaluate(*start), 1) if keep_cell else relax(start, evaluate)
    return {
        "id": entry.id,
        "prototype": entry.prototype,
        "species": entry.species,
        "numbers": [ELEMENTS[symbol].number for symbol in symbols],
        "cell": np.round(prototype.cell(*constants), 5).tolist(),
        "frac": np.round(prototype.fractional(), 6).tolist(),
        "energy": round(point.energy, 5),
        "gap": converged_gap(point.calculator),
        "stress": np.round(_components(point.stress, prototype.cubic), 3).tolist(),
        "ecut": cutoff(symbols),
        "nk": len(point.calculator.get_bz_k_points()),
        "bands": point.calculator.get_number_of_bands(),
        "scf": steps,
    }


def results(folder: Path = RAW) -> tuple[list[dict], list[str]]:
    """Return the raw results, refined ones instead of first ones, and the ids that `refine` has yet to do."""
    refined = {row["id"]: row for row in read_lines(folder.glob("refined-*.jsonl"))}
    rows = [refined.get(row["id"], row) for row in read_lines(folder.glob("crystals-*.jsonl"))]
    return rows, [row["id"] for row in rows if needs_refining(row)]


def references(folder: Path = RAW) -> None:
    """Compute the energy per atom (eV) of each element in its reference phase, at each cutoff it occurs with."""
    path = folder / "references.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    for symbol in ELEMENTS:
        for cutoff_ev in (HARD_CUTOFF,) if symbol in HARD_ELEMENTS else (SOFT_CUTOFF, HARD_CUTOFF):
            key = f"{symbol}-{cutoff_ev}"
            first = done.get(key, {"phase": "crystal"})
            if "bands" in first or "crystal" not in first["phase"]:  # the first crystals had too few empty bands
                continue
            atoms, phase = reference_phase(symbol, cutoff_ev)
            energy = float(atoms.get_potential_energy() / len(atoms))
            done[key] = {"energy_per_atom": energy, "phase": phase, "bands": atoms.calc.get_number_of_bands()}
            write_atomically(path, json.dumps(done, indent=0) + "\n")
            print(key, done[key], flush=True)


def reference_phase(symbol: str, cutoff_ev: int) -> tuple[Atoms, str]:
    """Return an element in its reference phase, with its calculator, and the name of that phase.

    H, N, O and F are molecules, sulfur is the S8 ring, and all others are the crystals of the Delta-codes project
    (Lejaeghere et al., Science 351, aad3000 (2016)) without spin. For Cl, Br and I the crystal is the phase with the
    lower energy.
    """
    if symbol in ("H", "N", "O", "F"):
        return _molecule(symbol, cutoff_ev), "molecule"
    if symbol == "S":
        return _sulfur_ring(cutoff_ev), "S8 ring"
    atoms = _delta_crystal(symbol)
    atoms.calc = calculator(cutoff_ev, kpoint_mesh(atoms.cell[:], REFERENCE_DENSITY))
    return atoms, f"Delta-codes crystal, {len(atoms)} atoms"


def _molecule(symbol: str, cutoff_ev: int) -> Atoms:
    """Return the relaxed diatomic molecule in a box; oxygen is a triplet."""
    from ase.build import molecule
    from ase.optimize import BFGS
    from gpaw import GPAW, PW, FermiDirac

    magnetic = symbol == "O"
    atoms = molecule(symbol + "2")
    atoms.set_cell([7.0, 7.1, 8.8])
    atoms.center()
    atoms.pbc = True
    if magnetic:
        atoms.set_initial_magnetic_moments([1, 1])
    occupations = FermiDirac(0.0, fixmagmom=magnetic)
    atoms.calc = GPAW(xc="PBE", mode=PW(cutoff_ev), occupations=occupations, spinpol=magnetic, txt=None)
    BFGS(atoms, logfile=None).run(fmax=0.03, steps=12)
    return atoms


def _sulfur_ring(cutoff_ev: int) -> Atoms:
    """Return the relaxed crown-shaped S8 molecule in a box."""
    from ase import Atoms
    from ase.optimize import BFGS
    from gpaw import GPAW, PW, FermiDirac

    angle = np.arange(8) * np.pi / 4
    radius, height = 2.34, 0.495  # angstrom
    ring = np.c_[radius * np.cos(angle), radius * np.sin(angle), height * (-1) ** np.arange(8)]
    atoms = Atoms("S8", ring)
    atoms.set_cell([10.2, 10.2, 7.5])
    atoms.center()
    atoms.pbc = True
    atoms.calc = GPAW(xc="PBE", mode=PW(cutoff_ev), occupations=FermiDirac(0.0), txt=None)
    BFGS(atoms, logfile=None).run(fmax=0.06, steps=10)
    return atoms


def _delta_crystal(symbol: str) -> Atoms:
    """Return the primitive cell of an element's Delta-codes crystal, without magnetic moments."""
    import spglib
    from ase import Atoms
    from ase.collections import dcdft

    conventional = dcdft[symbol]
    cell = (conventional.cell[:], conventional.get_scaled_positions(), conventional.numbers)
    lattice, positions, numbers = spglib.find_primitive(cell, symprec=1e-3)
    return Atoms(numbers, scaled_positions=positions, cell=lattice, pbc=True)


def check(ids: list[str], folder: Path = RAW, density: float = CRYSTAL_DENSITY) -> None:
    """Compute recorded crystals again at their recorded cells and print the differences in energy and gap.

    With a higher ``density`` (k-points per inverse angstrom) they show what the mesh of the crystals does.
    """
    rows = {row["id"]: row for row in results(folder)[0]}
    for name in ids:
        if name not in rows:
            raise SystemExit(f"no result is named {name!r}; names look like {next(iter(rows), 'rocksalt-Na-Cl')!r}")
        row = rows[name]
        prototype = PROTOTYPES[row["prototype"]]
        constants = lattice_constants(prototype, np.array(row["cell"]))
        point = single_point(prototype, row["species"], constants, density)
        energy = (point.energy - row["energy"]) / len(row["numbers"])
        gap = converged_gap(point.calculator) - row["gap"]
        print(f"{name}: energy differs by {energy:.5f} eV/atom, band gap by {gap:.4f} eV", flush=True)


def lattice_constants(prototype: Prototype, cell: np.ndarray) -> tuple[float, ...]:
    """Return ``(a,)`` or ``(a, c)`` in angstrom of a ``cell``, shape (3, 3), of the prototype."""
    a = float(2 * cell[0, 1] if prototype.lattice == "fcc" else cell[0, 0])
    return (a,) if prototype.cubic else (a, float(cell[2, 2]))


def main() -> None:
    """Read the command line and run the command at the lowest priority."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=RAW, help="folder of the raw results (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("references", help="energies of the elements")
    for name, purpose in (
        ("crystals", "the crystals of the work list"),
        ("refine", "the first results again, with more bands"),
    ):
        run = commands.add_parser(name, help=purpose)
        run.add_argument("--worker", type=int, default=0, help="number of this process, from 0 (default: %(default)s)")
        run.add_argument("--workers", type=int, default=1, help="how many processes there are (default: %(default)s)")
    again = commands.add_parser("check", help="compute recorded crystals again")
    again.add_argument("ids", nargs="+", help="names such as rocksalt-Na-Cl")
    again.add_argument(
        "--density", type=float, default=CRYSTAL_DENSITY, help="k-points per inverse angstrom (default: %(default)s)"
    )
    arguments = parser.parse_args()
    os.nice(19)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.command == "references":
        references(arguments.folder)
    elif arguments.command == "check":
        check(arguments.ids, arguments.folder, arguments.density)
    else:
        work = crystals if arguments.command == "crystals" else refine
        work(arguments.worker, arguments.workers, arguments.folder)


if __name__ == "__main__":
    main()
