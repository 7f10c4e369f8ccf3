"""Hold the bundled crystals against the bars that they must clear.

``python -m data.pbe_prototypes.validate PATH``, run from the root of the repository, compares them with published
lattice constants (`lattice_constants`), with crystals of the Materials Project (`pairs`), and with what `check`
computed. It writes ``data/results/pbe_validation.json``, prints every bar, and fails if one is missed.

PATH has one crystal of the Materials Project per line (also gzipped), a JSON object with ``formula``, ``spacegroup``
(number), ``formation_energy_per_atom`` (eV), ``band_gap`` (eV), ``total_magnetization`` (Bohr magnetons per cell) and
``structure`` (``lattice``, ``species``, ``frac_coords``). Only differences are written, nothing of that database.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from course_lib.datasets import DATA
from course_lib.files import write_atomically
from data.pbe_prototypes.check import CHECKS, is_titanium_or_copper
from data.pbe_prototypes.compute import read_lines
from data.pbe_prototypes.prototypes import ELEMENTS, PROTOTYPES

ANIONS = {
    "O": "oxide", "S": "sulfide", "Se": "selenide", "Te": "telluride", "F": "fluoride", "Cl": "chloride",
    "Br": "bromide", "I": "iodide", "N": "nitride", "P": "phosphide", "As": "arsenide", "Sb": "antimonide",
    "C": "carbide", "H": "hydride",
}  # fmt: skip
"""Class of a crystal by its most electronegative element; all others are intermetallic."""

CORRECTED = ("oxide", "sulfide", "fluoride", "chloride", "nitride")
"""Classes whose energies the Materials Project shifts by a constant per anion, to agree with experiment."""

VOLUME_TOLERANCE = 0.1
"""Largest relative difference of the volumes of two crystals that are compared."""

MOMENT_TOLERANCE = 0.1
"""Largest magnetisation (Bohr magnetons per cell) of a crystal that is compared; ours have no spin."""

MAGNETIC = "magnetic there"
"""Why a crystal with a larger magnetisation is not compared."""

MATCHER = StructureMatcher(ltol=0.1, stol=0.1, angle_tol=3)
"""Decides whether two crystals have the same structure, whatever their volumes."""

LITERATURE = Path(__file__).with_name("literature.csv")
"""Published lattice constants ``a`` (angstrom) by id, with their source; see `lattice_constants`."""

OUTLIER = 0.08
"""Difference in formation energy (eV/atom) that is looked at one by one."""

LOOKED_AT = {
    "rocksalt-Nb-C": "not our k-mesh, which makes 9 meV/atom; NbC and ZrC differ equally in all their structures, so "
    "probably the PAW data sets, in bonds of Nb and Zr with carbon",
}
"""What was found for outliers without an obstacle; ``check finer`` tries them with better settings."""


class Bar(NamedTuple):
    """A number that the dataset must reach: at least, or at most, ``limit``."""

    what: str
    value: float
    side: str
    limit: float

    @property
    def met(self) -> bool:
        """Whether the number is on the right side of the limit."""
        return self.value >= self.limit if self.side == "at least" else self.value <= self.limit


class Pair(NamedTuple):
    """One of our crystals and the nearest one of the other database with its formula and space group.

    Differences are ours minus theirs, in eV/atom and eV; ``volume`` is the ratio; ``obstacle`` says why the two
    are not the same crystal in the same state, and is empty when they are.
    """

    id: str
    formula: str
    kind: str
    anion_share: float
    energy: float
    gap: float
    insulating: tuple[bool, bool]
    volume: float
    obstacle: str


def read_dataset(folder: Path) -> tuple[pd.DataFrame, str]:
    """Return the crystals of ``pbe_prototypes.json`` with a column ``structure``, and the hash of the file."""
    content = (folder / "pbe_prototypes.json").read_bytes()
    frame = pd.DataFrame(json.loads(content)["rows"]).set_index("id")
    geometry = zip(frame["lattice"], frame["species"], frame["coordinates"], strict=True)
    frame["structure"] = [Structure(Lattice(cell), species, places) for cell, species, places in geometry]
    return frame, hashlib.sha256(content).hexdigest()


def read_checks(ours: pd.DataFrame, path: Path = CHECKS) -> dict[str, pd.DataFrame]:
    """Return what `check` found of our crystals by its command: ``"finer"``, ``"spin"``, ``"volumes"``, ``"gaps"``.

    Raises
    ------
    ValueError
        If a row has another energy than when it was checked.
    """
    found = defaultdict(dict)
    for line in read_lines([path]):
        if line["kind"] == "element" or line["id"] not in ours.index:
            continue
        if line["row_energy"] != ours.loc[line["id"], "energy"]:
            raise ValueError(
                f"{line['id']} has changed since its check ({line['kind']}). Take the line out of {path.name} and run "
                f"'python3 -m data.pbe_prototypes.check {line['kind']} {line['id']}'."
            )
        found[line["kind"]][line["id"]] = line
    return {kind: pd.DataFrame.from_dict(lines, orient="index") for kind, lines in found.items()}


def read_crystals(path: Path) -> Iterator[dict]:
    """Yield the crystals of a file of JSON lines that have no other elements than ours."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            crystal = json.loads(line)
            if ELEMENTS.keys() >= set(re.findall("[A-Z][a-z]?", crystal["formula"])):
                yield crystal


def kind_of(composition: Composition) -> tuple[str, float]:
    """Return the class of a crystal and the share of the anion that gives it its name (0 for an intermetallic)."""
    element = max(composition.elements, key=lambda element: ELEMENTS[element.symbol].electronegativity)
    kind = ANIONS.get(element.symbol, "intermetallic")
    return kind, 0.0 if kind == "intermetallic" else composition.get_atomic_fraction(element)


def pairs(ours: pd.DataFrame, theirs: Iterable[dict]) -> list[Pair]:
    """Pair each of our crystals with the one of the same formula and space group that is nearest in volume."""
    wanted = set(ours["formula"])
    candidates = defaultdict(list)
    for crystal in theirs:
        formula = Composition(crystal["formula"]).reduced_formula
        if formula in wanted:
            candidates[formula, crystal["spacegroup"]].append(crystal)
    found = []
    for name, row in ours.iterrows():
        same = candidates[row["formula"], PROTOTYPES[row["prototype"]].space_group]
        if same:
            volume = row["structure"].volume / len(row["structure"])
            structures = [structure_of(crystal) for crystal in same]
            ratios = [volume * len(structure) / structure.volume for structure in structures]
            nearest = int(np.argmin(np.abs(np.log(ratios))))
            found.append(_pair(name, row, same[nearest], structures[nearest], ratios[nearest]))
    return found


def structure_of(crystal: dict) -> Structure:
    """Return the pymatgen structure of a crystal of the other database."""
    geometry = crystal["structure"]
    return Structure(Lattice(geometry["lattice"]), geometry["species"], geometry["frac_coords"])


def _pair(name: str, row: pd.Series, crystal: dict, structure: Structure, ratio: float) -> Pair:
    """Return the differences between one of our rows and a crystal of the other database."""
    kind, share = kind_of(structure.composition)
    obstacle = ""
    if abs(crystal["total_magnetization"]) > MOMENT_TOLERANCE:
        obstacle = MAGNETIC
    elif not MATCHER.fit(row["structure"], structure):
        obstacle = "other order of the sites, or other shape of the cell"
    elif abs(ratio - 1) > VOLUME_TOLERANCE:
        obstacle = "other volume"
    return Pair(
        id=str(name),
        formula=row["formula"],
        kind=kind,
        anion_share=share,
        energy=row["formation_energy_per_atom"] - crystal["formation_energy_per_atom"],
        gap=row["band_gap"] - crystal["band_gap"],
        insulating=(row["band_gap"] > 0, crystal["band_gap"] > 0),
        volume=ratio,
        obstacle=obstacle,
    )


def lattice_constants(ours: pd.DataFrame) -> pd.Series:
    """Return the relative difference of each cubic lattice constant from the published all-electron one, by id.

    `LITERATURE` has those of the full-potential code WIEN2k by Garrity et al., Comput. Mater. Sci. 81, 446 (2014), for
    rock salts, perovskites and half-Heuslers, and the mean of WIEN2k and FLEUR by Bosoni et al., Nat. Rev. Phys. 6, 45
    (2024), for oxides; PBE without spin, as here.
    """
    published = pd.read_csv(LITERATURE, index_col="id")["a"]
    both = published.index.intersection(ours.index)
    conventional = {"sc": 1, "fcc": 4}  # primitive cells in the cubic one
    found = [
        (row.structure.volume * conventional[PROTOTYPES[row.prototype].lattice]) ** (1 / 3)
        for row in ours.loc[both].itertuples()
    ]
    return pd.Series(found, index=both) / published[both] - 1


def lattice_report(differences: pd.Series) -> dict:
    """Return what `main` records of the lattice constants, in percent."""
    percent = 100 * differences
    largest = percent.abs().idxmax()
    return {
        "n": len(percent),
        "mean_absolute": round(float(percent.abs().mean()), 3),
        "mean": round(float(percent.mean()), 3),
        "largest": {"id": largest, "difference": round(float(percent[largest]), 3)},
        "by_crystal": percent.round(3).to_dict(),
    }


def wrong_space_groups(ours: pd.DataFrame) -> list[str]:
    """Return the ids of crystals whose space group is not that of their prototype."""
    return [
        row.Index
        for row in ours.itertuples()
        if SpacegroupAnalyzer(row.structure).get_space_group_number() != PROTOTYPES[row.prototype].space_group
    ]


def check_report(checks: dict[str, pd.DataFrame]) -> dict:
    """Return what `main` records of the checks: in eV/atom, eV, Bohr magnetons, and percent of a lattice constant."""
    report = {}
    if "finer" in checks:
        finer = checks["finer"]
        report["finer"] = {
            "formation_energy": statistics(finer["formation_energy"]),
            "band_gap": statistics(finer["gap"]),
            "by_crystal": finer["formation_energy"].to_dict(),
        }
    if "spin" in checks:
        report["spin"] = {"by_crystal": checks["spin"][["energy", "moment"]].to_dict("index")}
    if "volumes" in checks:
        constants = checks["volumes"][["recorded", "plain", "coarse"]].astype(float)
        percent = 100 * constants.div(checks["volumes"]["energy"], axis=0) - 100
        report["volumes"] = {
            "lattice_constant_of_lowest_energy": checks["volumes"]["energy"].to_dict(),
            "percent_off_it": {
                name: {column: None if np.isnan(value) else round(value, 3) for column, value in row.items()}
                for name, row in percent.to_dict("index").items()
            },
        }
    if "gaps" in checks:
        report["gaps"] = checks["gaps"][["recorded", "without_gamma"]].to_dict("index")
    return report


def bars(ours: pd.DataFrame, result: dict, wrong_groups: list[str]) -> list[Bar]:
    """Return every bar with the value that the dataset reaches, from what `main` records."""
    lattice, volume = result["lattice_constants_percent"], result["volume_ratio"]["percentile_50"]
    energy = result["formation_energy_ev_per_atom"]["without_correction"]
    gap = result["band_gap_ev"]["either_insulates"]
    finer = result["checks"].get("finer", {"formation_energy": {"n": 0, "mean_absolute": np.inf}})["formation_energy"]
    with_spin = [
        name
        for name in result["checks"].get("spin", {"by_crystal": ()})["by_crystal"]
        if is_titanium_or_copper({site.specie.symbol for site in ours.loc[name, "structure"]})
    ]
    elements = {site.specie.symbol for structure in ours["structure"] for site in structure}
    return [
        Bar("crystals", len(ours), "at least", 2000),
        Bar("prototypes", ours["prototype"].nunique(), "at least", 17),
        Bar("elements", len(elements), "at least", 54),
        Bar("formulas with polymorphs", int((ours["formula"].value_counts() > 1).sum()), "at least", 500),
        Bar("crystals in a wrong space group", len(wrong_groups), "at most", 0),
        Bar("published lattice constants", lattice["n"], "at least", 25),
        Bar("mean absolute difference from them (%)", lattice["mean_absolute"], "at most", 0.5),
        Bar("largest difference from them (%)", abs(lattice["largest"]["difference"]), "at most", 1.0),
        Bar("median volume ratio, distance from 1", round(abs(volume - 1), 4), "at most", 0.01),
        Bar("formation energies that were compared", energy["n"], "at least", 150),
        Bar("their mean absolute difference (eV/atom)", energy.get("mean_absolute", np.inf), "at most", 0.020),
        Bar("outliers without an explanation", sum(not o["reason"] for o in result["outliers"]), "at most", 0),
        Bar("mean absolute difference of the gaps (eV)", gap.get("mean_absolute", np.inf), "at most", 0.15),
        Bar("rows computed again with finer settings", finer["n"], "at least", 10),
        Bar("their mean absolute change (eV/atom)", finer["mean_absolute"], "at most", 0.010),
        Bar("compounds of Ti and Cu computed again with spin", len(with_spin), "at least", 10),
    ]


def statistics(differences: Iterable[float]) -> dict:
    """Return number, mean absolute, mean and median of some differences."""
    values = np.array(list(differences))
    if len(values) == 0:
        return {"n": 0}
    return {
        "n": len(values),
        "mean_absolute": round(float(np.abs(values).mean()), 4),
        "mean": round(float(values.mean()), 4),
        "median": round(float(np.median(values)), 4),
    }


def report(found: list[Pair]) -> dict:
    """Return what `main` records: aggregates, and the names of the crystals that differ most."""
    same = [pair for pair in found if not pair.obstacle]
    plain = [pair for pair in same if pair.kind not in CORRECTED]
    by_kind = defaultdict(list)
    for pair in same:
        by_kind[pair.kind].append(pair)
    insulators = [pair for pair in same if any(pair.insulating)]
    outliers = [pair for pair in found if pair.kind not in CORRECTED and abs(pair.energy) > OUTLIER]
    return {
        "paired_by_formula_and_space_group": len(found),
        "left_out": dict(Counter(pair.obstacle for pair in found if pair.obstacle).most_common()),
        "magnetic_there": [pair.id for pair in found if pair.obstacle == MAGNETIC],
        "formation_energy_ev_per_atom": {
            "without_correction": statistics(pair.energy for pair in plain),
            "with_correction": statistics(pair.energy for pair in same if pair.kind in CORRECTED),
            "by_class": {kind: statistics(pair.energy for pair in by_kind[kind]) for kind in sorted(by_kind)},
            "shift_per_anion_of_corrected_classes": {
                kind: statistics(pair.energy / pair.anion_share for pair in by_kind[kind])
                for kind in CORRECTED
                if kind in by_kind
            },
        },
        "band_gap_ev": {
            "all": statistics(pair.gap for pair in same),
            "either_insulates": statistics(pair.gap for pair in insulators),
            "by_crystal": {pair.id: round(pair.gap, 3) for pair in sorted(insulators, key=lambda pair: pair.gap)},
            "metal_or_insulator_agree": sum(pair.insulating[0] == pair.insulating[1] for pair in same),
        },
        "volume_ratio": {
            f"percentile_{q}": round(float(np.percentile([pair.volume for pair in same], q)), 4) for q in (5, 50, 95)
        },
        "outliers": [
            {
                "id": pair.id,
                "formula": pair.formula,
                "difference": round(pair.energy, 3),
                "reason": pair.obstacle or LOOKED_AT.get(pair.id, ""),
            }
            for pair in sorted(outliers, key=lambda pair: -abs(pair.energy))
        ],
    }


def main() -> None:
    """Compare, record, and print every bar.

    Raises
    ------
    SystemExit
        If a bar is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="crystals of the Materials Project, one JSON object per line")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the dataset (default: %(default)s)")
    path, data = vars(parser.parse_args()).values()
    ours, sha256 = read_dataset(data)
    result = {
        "data_sha256": sha256,
        "compared_with_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **report(pairs(ours, read_crystals(path))),
        "lattice_constants_percent": lattice_report(lattice_constants(ours)),
        "checks": check_report(read_checks(ours)),
    }
    found = bars(ours, result, wrong_space_groups(ours))
    result["bars"] = [{**bar._asdict(), "met": bar.met} for bar in found]
    write_atomically(data / "results" / "pbe_validation.json", json.dumps(result, indent=1) + "\n")
    for bar in found:
        print(f"{'met' if bar.met else 'MISSED':8}{bar.what}: {bar.value:g}, {bar.side} {bar.limit:g}")
    if not all(bar.met for bar in found):
        raise SystemExit("a bar is missed")


if __name__ == "__main__":
    main()
