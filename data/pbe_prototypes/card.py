"""Write the data card of the crystals, ``data/pbe_prototypes/README.md``, and its picture ``convergence.png``.

``python -m data.pbe_prototypes.card``, run from the root of the repository, fills the template ``card.md`` with the
settings of the generator and the results that `build` and `validate` recorded. No number is written by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import pandas as pd
from matplotlib.figure import Figure

from course_lib.datasets import DATA
from course_lib.files import write_atomically
from course_lib.teaching.figures.dataset import plot_convergence
from data.pbe_prototypes import check, compute, validate

TEMPLATE = Path(__file__).with_name("card.md")
PICTURE = "convergence.png"


def table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def card(built: dict, validation: dict) -> str:
    """Return the card, from what `build` and `validate` recorded.

    Raises
    ------
    ValueError
        If the results of a check are missing.
    """
    missing = {"finer", "spin", "volumes", "gaps"} - validation["checks"].keys()
    if missing:
        raise ValueError(
            f"no {' and no '.join(sorted(missing))} in the checks of pbe_validation.json. Run "
            f"'python3 -m data.pbe_prototypes.check' with {', '.join(sorted(missing))}, then validate again."
        )
    fields = {**_settings(), **_contents(built), **_convergence(validation), **_comparison(validation)}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(fields, **_spin(validation))


def _settings() -> dict:
    return {
        "cutoff": compute.CUTOFF,
        "empty_bands": compute.EMPTY_BANDS,
        "density": compute.RELAXATION_DENSITY,
        "metal_density": compute.METAL_DENSITY,
        "reference_density": compute.REFERENCE_DENSITY,
        "small_gap": compute.SMALL_GAP,
        "tolerance": f"{100 * compute.STRAIN_TOLERANCE:g}",
        "coarse_cutoff": check.COARSE_CUTOFF,
        "finer_cutoff": check.FINER_CUTOFF,
        "finer_mesh": check.FINER_MESH,
        "outlier": f"{1000 * validate.OUTLIER:.0f}",
    }


def _contents(built: dict) -> dict:
    return {
        "crystals": f"{built['crystals']:,}",
        "formulas": f"{built['formulas']:,}",
        "polymorphs": built["formulas_with_several_structures"],
        "prototypes": len(built["prototypes"]),
        "elements": len(built["elements"]),
        "with_gap": built["with_band_gap"],
        "rejected": sum(built["rejected"].values()),
        "reasons": "; ".join(f"{reason}: {count}" for reason, count in built["rejected"].items()),
        "not_converged": built["not_converged"],
        "strain_50": _percent(built["residual_strain"]["percentile_50"]),
        "strain_95": _percent(built["residual_strain"]["percentile_95"]),
    }


def _convergence(validation: dict) -> dict:
    volumes, finer = validation["checks"]["volumes"], validation["checks"]["finer"]
    lowest, published = volumes["lattice_constant_of_lowest_energy"], validation["lattice_constants_percent"]
    columns = ("recorded", "plain", "coarse")
    return {
        "cells": table(
            ["crystal", "lattice constant of the lowest energy (angstrom)", "recorded (%)", "plain (%)", "coarse (%)"],
            [
                [name, f"{lowest[name]:.3f}", *(_signed(row[column]) for column in columns)]
                for name, row in volumes["percent_off_it"].items()
            ],
        ),
        "n_finer": finer["formation_energy"]["n"],
        "finer_mean": _mev(finer["formation_energy"]["mean_absolute"]),
        "finer": table(
            ["crystal", "change (meV/atom)"],
            [[name, f"{1000 * change:+.1f}"] for name, change in finer["by_crystal"].items()],
        ),
        "n_lattice": published["n"],
        "lattice_mean": f"{published['mean_absolute']:.2f}",
        "lattice_bias": _signed(published["mean"]),
        "lattice_largest": f"{abs(published['largest']['difference']):.2f}",
        "lattice_worst": published["largest"]["id"],
    }


def _comparison(validation: dict) -> dict:
    energy, volume = validation["formation_energy_ev_per_atom"], validation["volume_ratio"]
    plain, shifted, gap = energy["without_correction"], energy["with_correction"], validation["band_gap_ev"]
    differences, gap = gap["by_crystal"], gap["either_insulates"]
    return {
        "gaps": table(
            ["crystal", "gap (eV)", "ours on a mesh without Gamma (eV)", "difference from the Materials Project (eV)"],
            [
                [name, f"{row['recorded']:.2f}", f"{row['without_gamma']:.2f}", _signed(differences[name])]
                for name, row in validation["checks"]["gaps"].items()
                if name in differences
            ],
        ),
        "n_plain": plain["n"],
        "plain": _mev(plain["mean_absolute"]),
        "plain_bias": _mev(plain["mean"], "+"),
        "n_shifted": shifted["n"],
        "shifted": _mev(shifted["mean_absolute"]),
        "shifted_bias": _mev(shifted["mean"], "+"),
        "n_gap": gap["n"],
        "gap": f"{gap['mean_absolute']:.2f}",
        "gap_bias": _signed(gap["mean"]),
        "volume": f"{volume['percentile_50']:.3f}",
        "volume_5": f"{volume['percentile_5']:.2f}",
        "volume_95": f"{volume['percentile_95']:.2f}",
        "outliers": table(
            ["crystal", "difference (meV/atom)", "why"],
            [[row["id"], _mev(row["difference"], "+"), row["reason"]] for row in validation["outliers"]],
        ),
    }


def _spin(validation: dict) -> dict:
    magnetic = validation["magnetic_there"]
    return {
        "spin": table(
            ["crystal", "energy with spin (meV/atom)", "moment (Bohr magnetons per cell)"],
            [
                [name, f"{1000 * row['energy']:+.1f}", f"{row['moment']:.2f}"]
                for name, row in validation["checks"]["spin"]["by_crystal"].items()
            ],
        ),
        "n_magnetic": len(magnetic),
        "magnetic": ", ".join(magnetic),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(value: float | None) -> str:
    return "beyond −3" if value is None else f"{value:+.2f}"


def _mev(energy: float, sign: str = "") -> str:
    return f"{1000 * energy:{sign}.0f}"


def picture(validation: dict) -> Figure:
    """Return the picture of the card, from what `validate` recorded."""
    checks = validation["checks"]
    return plot_convergence(
        pd.DataFrame.from_dict(checks["volumes"]["percent_off_it"], orient="index").astype(float),
        pd.Series(validation["lattice_constants_percent"]["by_crystal"]),
        pd.Series(checks["finer"]["by_crystal"]),
    )


def main() -> None:
    """Write card and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the dataset (default: %(default)s)")
    data = parser.parse_args().data
    built, validation = (
        json.loads((data / "results" / f"pbe_{name}.json").read_text()) for name in ("build", "validation")
    )
    folder = data / "pbe_prototypes"
    write_atomically(folder / "README.md", card(built, validation))
    picture(validation).savefig(folder / PICTURE, dpi=130)


if __name__ == "__main__":
    main()
