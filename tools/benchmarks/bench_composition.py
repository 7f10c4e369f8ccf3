"""Magpie features: all 145 by course_lib against matminer, one process, on the same random compositions."""

from __future__ import annotations

import warnings

import numpy as np
from matminer.featurizers.base import MultipleFeaturizer
from matminer.featurizers.composition import ElementProperty, IonProperty, Stoichiometry, ValenceOrbital
from pymatgen.core import Composition, Element
from timing import interleaved_ratio, verdict

from course_lib.composition import magpie

TARGET = 200
N_MANY, N_FEW = 20_000, 1_000  # at a time; the fewer, the more the fixed cost of a call counts
N_SAMPLE = 200  # of them go through matminer in each repeat
REPEATS = 7
# matminer searches the whole periodic table again for some of these, which have no electronegativity.
# Leaving them out favours it.
NOBLE_GASES = (2, 10, 18, 36, 54, 86)


def random_compositions(count: int) -> list[Composition]:
    """Return compositions of 1 to 6 elements up to Pu with 1 to 8 atoms of each."""
    rng = np.random.default_rng(0)
    elements = np.array([Element.from_Z(z) for z in range(1, 95) if z not in NOBLE_GASES])
    chosen = (rng.choice(elements, rng.integers(1, 7), replace=False) for _ in range(count))
    return [Composition({element: int(rng.integers(1, 9)) for element in some}) for some in chosen]


def main() -> int:
    # matminer's imputation makes pymatgen warn about missing values.
    warnings.filterwarnings("ignore", module="pymatgen|matminer")
    compositions = random_compositions(N_MANY)
    matminer = MultipleFeaturizer(
        [
            Stoichiometry(),
            ElementProperty.from_preset("magpie"),
            ValenceOrbital(props=["avg"]),
            IonProperty(fast=True),
        ]
    )
    matminer.set_n_jobs(1)
    sample = compositions[:N_SAMPLE]
    np.testing.assert_allclose(
        magpie(sample), np.array(matminer.featurize_many(sample, pbar=False), dtype=float), rtol=1e-6, atol=1e-6
    )

    table = interleaved_ratio(
        {
            "matminer": lambda: len(matminer.featurize_many(sample, pbar=False)),
            f"course_lib, {N_FEW} at once": lambda: len(magpie(compositions[:N_FEW])),
            f"course_lib, {N_MANY} at once": lambda: len(magpie(compositions)),
        },
        REPEATS,
    )
    print(
        f"All 145 Magpie features, time per pymatgen Composition: matminer (featurize_many, n_jobs=1, {N_SAMPLE} of "
        f"them) against course_lib, reading the Composition objects included.\nThe numbers agree to 1e-6. "
        f"Medians of {REPEATS} interleaved repeats, wall time; random compositions of 1 to 6 elements."
    )
    print(table.round(1).to_string())
    return verdict("all 145 features, in the slower of the two cases,", table["times faster"].iloc[1:].min(), TARGET)


if __name__ == "__main__":
    raise SystemExit(main())
