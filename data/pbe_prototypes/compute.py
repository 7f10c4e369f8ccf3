"""Compute the crystals of the work list with PBE (GPAW, plane waves) and append one JSON line for each.

Run from the root of the repository, with a Python that has GPAW (22.8 or newer), ASE and spglib: Debian's packages
``gpaw``, ``gpaw-data`` and ``python3-spglib`` for ``/usr/bin/python3``, or conda-forge's ``gpaw``. Students never need
it::

    export OMP_NUM_THREADS=1  # one process per core is faster than threads
    python3 -m data.pbe_prototypes.compute references                        # energies of the elements
    python3 -m data.pbe_prototypes.compute slopes                            # how they fall with the cutoff
    python3 -m data.pbe_prototypes.compute crystals --worker 0 --workers 2   # the first of two processes

Every command can be stopped at any time and started again: what is done is not done twice. `check` computes single rows
again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from course_lib.files import write_atomically
from data.pbe_prototypes.prototypes import ELEMENTS, PROTOTYPES, Decoration, Prototype, start_volume, work_list

# GPAW and ASE are imported where they are used: the build and the tests read this module without them.
if TYPE_CHECKING:
    from ase import Atoms
    from gpaw import GPAW

RAW = Path(__file__).resolve().parent / "raw"
"""Folder of the raw results from which the bundled file is built."""

NEXT = RAW.with_name("next")
"""Folder in which the results are being computed again, at converged cells; they replace `RAW` all at once."""

CUTOFF = 600
"""Plane-wave cutoff in eV."""

SLOPES = RAW.with_name("slopes.json")
"""dE/dE_cut per atom of each element at `CUTOFF`, as `slopes` measured it.

The stress of a plane-wave basis that is not complete lacks the derivative of the basis with respect to the volume
(Pulay stress), (2/3) E_cut (dE/dE_cut) / V; without it lattice constants of oxides come out 1 % too small. Only N, O,
Ti and F exceed 0.1 meV/eV, but a soft crystal feels less. GPAW's own estimate is up to twenty times off.
"""

RELAXATION_DENSITY, METAL_DENSITY, REFERENCE_DENSITY = 2.4, 3.2, 4.0
"""k-points per inverse angstrom: of the relaxation, of the recorded point of a metal, and of the elements.

Every mesh is even and Gamma-centred; an odd one misses the zone boundary. An element is computed once and its error
enters every crystal that holds it, so its mesh is the finest one.
"""

SMALL_GAP = 1.0
"""Gap (eV) below which a crystal counts as a metal when its mesh is chosen: a coarse mesh may miss the band edges."""

WITHOUT_SPIN = frozenset(["V"])
"""Elements that the work list holds and that need spin: zinc blende VTe lies 395 meV/atom lower with it."""

EMPTY_BANDS = 8
"""Number of empty bands.

GPAW's default stops at the bound partial waves, so an element without a bound d state (Ca, Sr, Ba and many more) gets
no band of d symmetry: their band edges come out up to 1 eV too high, and barium metal 83 meV/atom.
"""

STRAIN_TOLERANCE = 0.004
"""A relaxation is done when its next step would change every lattice constant by a smaller share than this."""

STRESS_TOLERANCE = 0.05
"""Stress (GPa) below which the first point is accepted; above it the next step needs a measured stiffness.

The softest crystals (bulk modulus 5 GPa) are then within the tolerance of the strain.
"""

_FIRST_STEP, _LARGEST_STEP = 0.025, 0.07  # largest relative changes of a lattice constant in a step
_MAX_STEPS = 9
_RIDGE = 0.02  # regularises the fits on earlier crystals, so that an element seen once does not decide
_ROWS_FOR_FIT = 100  # with fewer crystals, volumes come from covalent radii and every crystal is as stiff as the next
_TYPICAL_BULK_MODULUS = 80.0  # GPa


class NotConvergedError(Exception):
    """The relaxation did not end within its steps."""


class Point(NamedTuple):
    """One self-consistent calculation: energy (eV per cell), stress (GPa; xx, yy, zz, yz, xz, xy), its calculator."""

    energy: float
    stress: np.ndarray
    calculator: GPAW


# --- settings -----------------------------------------------------------------------------------------------------


def kpoint_mesh(cell: np.ndarray, density: float) -> tuple[int, int, int]:
    """Return the even k-mesh for a ``cell`` of shape (3, 3) in angstrom and k-points per inverse angstrom."""
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return tuple(even_mesh(length * density) for length in reciprocal)


def even_mesh(size: float) -> int:
    """Return the smallest even number of k-points along an axis that is at least ``size``."""
    return 2 * ceil(size / 2)


def finest(*meshes: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the k-mesh that is along each axis as fine as the finest of ``meshes``."""
    return tuple(int(size) for size in np.max(meshes, axis=0))


@cache
def _slopes() -> dict[str, float]:
    return json.loads(SLOPES.read_text())


def slope(symbols: Iterable[str]) -> float:
    """Return dE/dE_cut at `CUTOFF` of a cell of these elements; the elements' slopes add up to it within 4 %."""
    return sum(_slopes()[symbol] for symbol in symbols)


# --- files --------------------------------------------------------------------------------------------------------


def read_lines(paths: Iterable[Path]) -> list[dict]:
    """Read the JSON lines of several files; a last line that is still being written is left out."""
    lines = chain.from_iterable(path.read_text().splitlines(keepends=True) for path in sorted(paths))
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append_line(path: Path, row: dict) -> None:
    """Append ``row`` as one JSON line in one write, after dropping a line that an interruption left incomplete.

    Processes that append to one file wait for each other.
    """
    with path.open("a+b") as file:
        if sys.platform != "win32":  # where GPAW does not run, but the tests do
            from fcntl import LOCK_EX, flock

            flock(file, LOCK_EX)
        file.seek(0)
        complete = file.read().rfind(b"\n") + 1
        file.truncate(complete)
        file.write((json.dumps(row) + "\n").encode())


# --- what earlier crystals tell of the next one -------------------------------------------------------------------


Guess = Callable[[Prototype, dict[str, str]], float]
"""A quantity that is guessed for a prototype with given species."""


def fit(rows: list[dict], targets: Iterable[float]) -> Guess:
    """Return a guess of a positive quantity, fitted to the ``targets`` of earlier crystals.

    A ridge regression of its logarithm: share of each element, prototype, and the variance of the electronegativities
    as a measure of ionicity.
    """
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
    y = np.log(list(targets))
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return lambda prototype, species: float(np.exp(features(prototype, species) @ weights + y.mean()))


def volume_per_atom(row: dict) -> float:
    """Return the volume per atom (cubic angstrom) of a raw result."""
    return abs(np.linalg.det(row["cell"])) / len(row["numbers"])


def volume_model(rows: list[dict]) -> Guess:
    """Return a guess of the volume per atom (cubic angstrom) from the crystals done so far."""
    return fit(rows, map(volume_per_atom, rows)) if len(rows) >= _ROWS_FOR_FIT else start_volume


def stiffness_model(rows: list[dict]) -> Guess:
    """Return a guess of the bulk modulus (GPa) from the crystals done so far."""
    if len(rows) < _ROWS_FOR_FIT:
        return lambda prototype, species: _TYPICAL_BULK_MODULUS
    return fit(rows, (row["bulk_modulus"] for row in rows))


def growth_model(rows: list[dict], first: dict[str, dict]) -> Guess:
    """Return a guess of the ratio of a crystal's volume to that of the ``first`` result of the same id."""
    again = [row for row in rows if row["id"] in first]
    if len(again) < _ROWS_FOR_FIT:
        return lambda prototype, species: 1.0
    return fit(again, (volume_per_atom(row) / volume_per_atom(first[row["id"]]) for row in again))


# --- relaxation ---------------------------------------------------------------------------------------------------


def start_constants(prototype: Prototype, volume_per_atom: float) -> tuple[float, ...]:
    """Return the lattice constants (angstrom) at which a relaxation starts, from a volume in cubic angstrom."""
    unit_volume = abs(np.linalg.det(prototype.cell(1.0)))
    edge = (volume_per_atom * len(prototype.sites) / unit_volume) ** (1 / 3)
    return (edge,) if prototype.cubic else (edge, edge * prototype.c_over_a)


class Relaxed(NamedTuple):
    """A crystal without stress.

    Attributes
    ----------
    constants : tuple of float
        Lattice constants in angstrom.
    point : Point
        The calculation at them.
    steps : int
        Number of calculations that it took.
    strain : float
        Largest relative change of a lattice constant that the stress still asks for.
    bulk_modulus : float
        As the changes of the stress gave it, in GPa.
    """

    constants: tuple[float, ...]
    point: Point
    steps: int
    strain: float
    bulk_modulus: float


def relax(
    start: tuple[float, ...], evaluate: Callable[..., Point], bulk_modulus: float = _TYPICAL_BULK_MODULUS
) -> Relaxed:
    """Find the lattice constants (angstrom) without stress, by Broyden's method on their logarithms.

    Parameters
    ----------
    start : tuple of float
        Lattice constants in angstrom: ``(a,)`` of a cubic crystal, ``(a, c)`` of a uniaxial one.
    evaluate : callable
        ``evaluate(*constants)`` returns a `Point`.
    bulk_modulus : float
        A guess of it in GPa, for the first step.

    Raises
    ------
    NotConvergedError
        If the stress is still too large after nine steps.
    """
    cubic = len(start) == 1
    x = np.log(start)
    jacobian = _stiffness(cubic, bulk_modulus)  # of the stress with respect to x, GPa
    last: tuple[np.ndarray, np.ndarray] | None = None
    for step in range(1, _MAX_STEPS + 1):
        point = evaluate(*np.exp(x))
        stress = _components(point.stress, cubic)
        if last is not None:
            dx, change = x - last[0], stress - last[1]
            if step == 2:
                # A guess that was too stiff along the first step was too stiff across it: the update below corrects
                # only the former, and a soft uniaxial crystal would keep a wrong c/a.
                expected = jacobian @ dx
                jacobian = jacobian * max(0.1, (change @ expected) / (expected @ expected))
            jacobian = jacobian + np.outer(change - jacobian @ dx, dx) / (dx @ dx)
            if not _plausible(jacobian):
                jacobian = _stiffness(cubic, max(10.0, 20 * abs(stress[0])) if cubic else 60.0)
        move = -np.linalg.solve(jacobian, stress)
        strain = float(np.abs(move).max())
        # Before the second point the stiffness is a guess, and a soft crystal may be far from where it wants to be.
        if strain < STRAIN_TOLERANCE and (last is not None or np.abs(stress).max() < STRESS_TOLERANCE):
            return Relaxed(tuple(np.exp(x)), point, step, strain, float(jacobian.sum(axis=1).mean() / 3))
        limit = _FIRST_STEP if last is None else _LARGEST_STEP
        last = x, stress
        x = x + move * min(1.0, limit / strain)
    raise NotConvergedError(f"stress {np.round(stress, 2).tolist()} GPa after {_MAX_STEPS} steps")


def _components(stress: np.ndarray, cubic: bool) -> np.ndarray:
    """Return the stress along ``a``, and along ``c`` for a uniaxial crystal."""
    return np.array([stress[:3].mean()] if cubic else [(stress[0] + stress[1]) / 2, stress[2]])


def _stiffness(cubic: bool, bulk_modulus: float) -> np.ndarray:
    """Return a guess of the derivative of the stress (GPa) with respect to the logarithms of the constants."""
    return np.array([[3 * bulk_modulus]]) if cubic else bulk_modulus * np.array([[2.35, 0.65], [1.3, 1.7]])


def _plausible(jacobian: np.ndarray) -> bool:
    """Return whether a crystal could be that stiff; Broyden's update can go astray."""
    if np.linalg.det(jacobian) <= 0:
        return False
    return len(jacobian) > 1 or 5 < jacobian[0, 0] < 3000


# --- GPAW ---------------------------------------------------------------------------------------------------------


def calculator(
    mesh: tuple[int, int, int],
    cutoff: float = CUTOFF,
    dedecut: float | None = None,
    spin: bool = False,
    gamma: bool = True,
) -> GPAW:
    """Return the PBE calculator of every crystal, on a Gamma-centred ``mesh`` or, even and without Gamma, around it.

    ``dedecut`` is the change of the cell's energy with the ``cutoff`` (eV), from which its stress is corrected.
    """
    from gpaw import GPAW, PW, FermiDirac, Mixer, MixerSum

    return GPAW(
        xc="PBE",
        mode=PW(cutoff, dedecut=dedecut),
        kpts={"size": mesh, "gamma": gamma},
        occupations=FermiDirac(0.05),
        nbands=-EMPTY_BANDS,
        # GPAW's default mixes carefully, for cells in which charge sloshes. Ours are too small for that: 1.4 to 1.8
        # times faster, the same energy within 0.03 meV/atom.
        mixer=MixerSum(0.1, 5, 1.0) if spin else Mixer(0.3, 5, 1.0),
        spinpol=spin,
        maxiter=120,
        convergence={"energy": 5e-4, "density": 5e-4, "eigenstates": 1e-5},
        txt=None,
    )


def crystal(prototype: Prototype, species: dict[str, str], constants: tuple[float, ...]) -> Atoms:
    """Return a prototype with given species at these lattice constants (angstrom)."""
    from ase import Atoms

    return Atoms(
        prototype.symbols(species), positions=prototype.positions(*constants), cell=prototype.cell(*constants), pbc=True
    )


def single_point(
    prototype: Prototype,
    species: dict[str, str],
    constants: tuple[float, ...],
    mesh: tuple[int, int, int],
    cutoff: float = CUTOFF,
) -> Point:
    """Run one self-consistent calculation at the given lattice constants (angstrom) and k-mesh."""
    from ase.units import GPa

    atoms = crystal(prototype, species, constants)
    atoms.calc = calculator(mesh, cutoff, slope(atoms.get_chemical_symbols()))
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


def crystals(worker: int, workers: int, folder: Path, start: Path) -> None:
    """Relax the compositions of the work list whose number is ``worker`` modulo ``workers``.

    A crystal of which the folder ``start`` holds a result begins at its cell and with its k-mesh.
    """
    first = {row["id"]: row for row in first_results(start)}
    entries = chain.from_iterable(entries for number, entries in enumerate(work_list()) if number % workers == worker)

    def relaxed(entry: Decoration) -> dict:
        prototype = PROTOTYPES[entry.prototype]
        done = read_lines(folder.glob("crystals-*.jsonl"))
        stiffness = stiffness_model(done)(prototype, entry.species)
        if entry.id not in first:
            volume = volume_model(done)(prototype, entry.species)
            return relaxed_row(entry, start_constants(prototype, volume), stiffness)
        row = first[entry.id]
        growth = growth_model(done, first)(prototype, entry.species) ** (1 / 3)
        constants = lattice_constants(prototype, np.array(row["cell"]))
        return relaxed_row(entry, tuple(growth * constant for constant in constants), stiffness, recorded_mesh(row))

    _run((entry for entry in entries if WITHOUT_SPIN.isdisjoint(entry.species.values())), relaxed, worker, folder)


def first_results(folder: Path) -> list[dict]:
    """Return the results of a folder, each in its refined form where there is one."""
    refined = {row["id"]: row for row in read_lines(folder.glob("refined-*.jsonl"))}
    return [refined.get(row["id"], row) for row in read_lines(folder.glob("crystals-*.jsonl"))]


def recorded_mesh(row: dict) -> tuple[int, int, int]:
    """Return the k-mesh of a raw result; the first ones hold only its number of points."""
    if "mesh" in row:
        return tuple(row["mesh"])
    mesh = kpoint_mesh(np.array(row["cell"]), RELAXATION_DENSITY)
    return mesh if np.prod(mesh) == row["nk"] else (round(row["nk"] ** (1 / 3)),) * 3


def _run(entries: Iterable[Decoration], compute: Callable[[Decoration], dict], worker: int, folder: Path) -> None:
    """Append what ``compute`` returns for each entry to ``crystals-<worker>.jsonl``, unless the folder holds it.

    A crystal that does not converge is recorded in ``failed-<worker>.jsonl``. Anything else that goes wrong stops the
    worker and records nothing, so the next run begins with that crystal.
    """
    from gpaw import KohnShamConvergenceError

    seen = {row["id"] for row in read_lines([*folder.glob("crystals-*.jsonl"), *folder.glob("failed-*.jsonl")])}
    for entry in entries:
        if entry.id in seen:
            continue
        seen.add(entry.id)
        begin = time.process_time()
        try:
            kind, row = "crystals", compute(entry)
        except (NotConvergedError, KohnShamConvergenceError) as error:
            kind, row = "failed", {"id": entry.id, "error": repr(error)[:200]}
        row["cpu_seconds"] = round(time.process_time() - begin, 1)
        append_line(folder / f"{kind}-{worker}.jsonl", row)
        print(kind, entry.id, row["cpu_seconds"], "s", flush=True)


def relaxed_row(
    entry: Decoration, start: tuple[float, ...], bulk_modulus: float, mesh: tuple[int, int, int] = (2, 2, 2)
) -> dict:
    """Return the raw result of one crystal, relaxed from the lattice constants ``start`` on this mesh or a finer one.

    One relaxation keeps to one mesh, for stresses on two do not compare; where the cell that it finds asks for a finer
    one, another follows on that. The mesh never gets coarser.
    """
    prototype = PROTOTYPES[entry.prototype]
    needed = finest(mesh, kpoint_mesh(prototype.cell(*start), RELAXATION_DENSITY))
    steps = 0
    while needed != mesh or not steps:
        mesh = needed
        relaxed = relax(
            start, lambda *constants, mesh=mesh: single_point(prototype, entry.species, constants, mesh), bulk_modulus
        )
        start, bulk_modulus, steps = relaxed.constants, relaxed.bulk_modulus, steps + relaxed.steps
        needed = finest(mesh, kpoint_mesh(prototype.cell(*start), RELAXATION_DENSITY))
    point, cell = relaxed.point, prototype.cell(*relaxed.constants)
    metal_mesh = finest(mesh, kpoint_mesh(cell, METAL_DENSITY))
    if metal_mesh != mesh and band_gap(point.calculator) < SMALL_GAP:
        mesh = metal_mesh
        point = single_point(prototype, entry.species, relaxed.constants, mesh)
    return {
        "id": entry.id,
        "prototype": entry.prototype,
        "species": entry.species,
        "numbers": [ELEMENTS[symbol].number for symbol in prototype.symbols(entry.species)],
        "cell": np.round(cell, 5).tolist(),
        "frac": np.round(prototype.fractional(), 6).tolist(),
        "energy": round(point.energy, 5),
        "gap": converged_gap(point.calculator),
        "stress": np.round(_components(relaxed.point.stress, prototype.cubic), 3).tolist(),
        "strain": round(relaxed.strain, 5),
        "bulk_modulus": round(relaxed.bulk_modulus, 1),
        "mesh": mesh,
        "bands": point.calculator.get_number_of_bands(),
        "steps": steps,
    }


def references(folder: Path) -> None:
    """Compute the energy per atom (eV) of each element in its reference phase."""
    path = folder / "references.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    for symbol in ELEMENTS:
        if symbol in done:
            continue
        done[symbol] = reference_energy(symbol)
        write_atomically(path, json.dumps(done, indent=0) + "\n")
        print(symbol, done[symbol], flush=True)


def reference_energy(symbol: str, cutoff: float = CUTOFF) -> dict:
    """Return energy per atom (eV), name and number of bands of an element's reference phase, at a ``cutoff`` in eV."""
    atoms, phase = reference_phase(symbol, cutoff)
    energy = float(atoms.get_potential_energy() / len(atoms))
    return {"energy_per_atom": energy, "phase": phase, "bands": atoms.calc.get_number_of_bands()}


def slopes(folder: Path, half_width: float = 40.0) -> None:
    """Measure dE/dE_cut per atom of each element's Delta-codes crystal and keep it in `SLOPES`.

    Between ``CUTOFF`` plus and minus ``half_width`` (eV), on one cell and one mesh.
    """
    done = json.loads(SLOPES.read_text()) if SLOPES.exists() else {}
    for symbol in ELEMENTS:
        if symbol in done:
            continue
        atoms = _delta_crystal(symbol)
        mesh = kpoint_mesh(atoms.cell[:], RELAXATION_DENSITY)
        energies = []
        for cutoff in (CUTOFF - half_width, CUTOFF + half_width):
            atoms.calc = calculator(mesh, cutoff)
            energies.append(float(atoms.get_potential_energy()))
        done[symbol] = round((energies[1] - energies[0]) / (2 * half_width) / len(atoms), 8)
        write_atomically(SLOPES, json.dumps(done, indent=0) + "\n")
        print(symbol, done[symbol], flush=True)


def reference_phase(symbol: str, cutoff: float) -> tuple[Atoms, str]:
    """Return an element in its reference phase, with its calculator at a ``cutoff`` in eV, and the name of that phase.

    H, N, O and F are molecules, sulfur is the S8 ring, and all others are the crystals of the Delta-codes project
    (Lejaeghere et al., Science 351, aad3000 (2016)) without spin. For Cl, Br and I the crystal is the phase with the
    lower energy.
    """
    if symbol in ("H", "N", "O", "F"):
        return _molecule(symbol, cutoff), "molecule"
    if symbol == "S":
        return _sulfur_ring(cutoff), "S8 ring"
    atoms = _delta_crystal(symbol)
    atoms.calc = calculator(kpoint_mesh(atoms.cell[:], REFERENCE_DENSITY), cutoff)
    return atoms, f"Delta-codes crystal, {len(atoms)} atoms"


def _molecule(symbol: str, cutoff: float) -> Atoms:
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
    atoms.calc = GPAW(xc="PBE", mode=PW(cutoff), occupations=occupations, spinpol=magnetic, txt=None)
    BFGS(atoms, logfile=None).run(fmax=0.03, steps=12)
    return atoms


def _sulfur_ring(cutoff: float) -> Atoms:
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
    atoms.calc = GPAW(xc="PBE", mode=PW(cutoff), occupations=FermiDirac(0.0), txt=None)
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


def lattice_constants(prototype: Prototype, cell: np.ndarray) -> tuple[float, ...]:
    """Return ``(a,)`` or ``(a, c)`` in angstrom of a ``cell``, shape (3, 3), of the prototype."""
    a = float(2 * cell[0, 1] if prototype.lattice == "fcc" else cell[0, 0])
    return (a,) if prototype.cubic else (a, float(cell[2, 2]))


def main() -> None:
    """Read the command line and run the command at the lowest priority."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=NEXT, help="folder of the raw results (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("references", help="energies of the elements")
    commands.add_parser("slopes", help="how the energies of the elements fall with the cutoff")
    run = commands.add_parser("crystals", help="the crystals of the work list")
    run.add_argument("--worker", type=int, default=0, help="number of this process, from 0 (default: %(default)s)")
    run.add_argument("--workers", type=int, default=1, help="how many processes there are (default: %(default)s)")
    run.add_argument("--start", type=Path, default=RAW, help="folder of earlier results (default: %(default)s)")
    arguments = vars(parser.parse_args())
    os.nice(19)
    arguments["folder"].mkdir(parents=True, exist_ok=True)
    command = {"references": references, "slopes": slopes, "crystals": crystals}
    command[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
