"""Matches in the Materials Project: found by the rule of the protocol, stored and read again, refused for others."""

import pandas as pd
import pytest
from example_crystals import bundled
from pymatgen.core import Composition

from course_lib.datasets import load_dataset
from course_lib.matches import store_matches, stored_matches
from data.matches import matches
from data.pbe_prototypes.prototypes import PROTOTYPES


def there(row, name, **changes):
    """Return a bundled crystal as the other database would have it."""
    structure = row["structure"]
    geometry = {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }
    space_group = PROTOTYPES[row["prototype"]].space_group
    return {"id": name, "formula": row["formula"], "spacegroup": space_group, "structure": geometry} | changes


def test_a_match_has_formula_space_group_and_structure():
    ours = bundled(12)
    row = ours.iloc[0]
    larger = row.copy()
    larger["structure"] = row["structure"].copy().apply_strain(0.02)  # the volume is left out of the comparison
    doubled = Composition(row["formula"]) * 2
    sheared = [[1.3, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.4, 1.0]]
    theirs = [
        there(row, "another formula", formula="Xe"),
        there(row, "another space group", spacegroup=1),
        there(row, "another structure", structure=there(row, "")["structure"] | {"lattice": sheared}),
        there(larger, "a match", formula=doubled.formula),
        there(row, "the second match"),
    ]
    assert matches(ours, theirs).to_dict() == {ours.index[0]: "a match"}
    assert matches(ours, theirs[:3]).empty


def test_what_is_stored_is_read_again_and_refused_for_other_crystals(tmp_path):
    crystals, path = bundled(12), tmp_path / "folder" / "matches.csv"
    found = pd.Series({crystals.index[3]: "mp-1", crystals.index[5]: "mp-22"})
    store_matches(found, crystals, "5 crystals of a database", path)
    pd.testing.assert_series_equal(stored_matches(crystals, path), found, check_names=False)
    assert "5 crystals of a database" in path.read_text().splitlines()[0]
    with pytest.raises(ValueError, match=r"matches.csv: it was made from other crystals.*python -m data.matches PATH"):
        stored_matches(crystals.iloc[:6], path)
    path.write_text(path.read_text().replace("mp-22", "mp-23"))
    with pytest.raises(ValueError, match=r"matches.csv: its content has a wrong checksum. Make it again: python -m"):
        stored_matches(crystals, path)


def test_matches_of_the_bundled_crystals_are_stored():
    crystals = load_dataset("pbe_prototypes")
    found = stored_matches(crystals)
    assert found.index.isin(crystals.index).all()
    assert found.str.fullmatch(r"mp-\d+|mvc-\d+").all()
    assert 100 < len(found) < len(crystals) / 2
