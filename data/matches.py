"""Find the bundled crystals that the Materials Project holds as well: ``python -m data.matches PATH``.

PATH has one crystal of that database per line, as ``data/pbe_prototypes/validate.py`` describes it, with its ``id``.
The rule is that of ``data/results/PROTOCOL.md``: same formula, same space group, and ``StructureMatcher`` fits. Only
ids are written.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pymatgen.core import Composition

from course_lib.datasets import load_dataset
from course_lib.matches import store_matches
from data.pbe_prototypes.prototypes import PROTOTYPES
from data.pbe_prototypes.validate import MATCHER, read_crystals, structure_of

SOURCE = "the Materials Project (Jain et al. 2013, CC BY 4.0), as in the repository kdmsit/MEGNet, commit 4f3c76c6"


def matches(ours: pd.DataFrame, theirs: Iterable[dict]) -> pd.Series:
    """Return the id of the first match of each of our crystals that has one, by its own id."""
    wanted = set(ours["formula"])
    candidates = defaultdict(list)
    for crystal in theirs:
        formula = Composition(crystal["formula"]).reduced_formula
        if formula in wanted:
            candidates[formula, crystal["spacegroup"]].append(crystal)
    found = {}
    for row in ours.itertuples():
        same = candidates[row.formula, PROTOTYPES[row.prototype].space_group]
        fitting = (crystal["id"] for crystal in same if MATCHER.fit(row.structure, structure_of(crystal)))
        if (first := next(fitting, None)) is not None:
            found[row.Index] = first
    return pd.Series(found, dtype=str)


def main() -> None:
    """Read PATH, and store the matches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="crystals of the Materials Project, JSON lines, also gzipped")
    crystals = load_dataset("pbe_prototypes")
    theirs = list(read_crystals(parser.parse_args().path))
    found = matches(crystals, theirs)
    store_matches(found, crystals, f"{len(theirs):,} crystals of our elements, of {SOURCE}")
    print(f"{len(found)} of {len(crystals)} crystals have a match")


if __name__ == "__main__":
    main()
