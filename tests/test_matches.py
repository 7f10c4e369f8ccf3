"""Matches in the Materials Project: found by the rule of the protocol, stored and read again, refused for others."""

import re

import pandas as pd
import pytest
from conftest import ROOT
from example_crystals import bundled
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition

from course_lib.datasets import load_dataset
from course_lib.matches import store_matches, stored_matches
from data.matches import matches
from data.pbe_prototypes.prototypes import PROTOTYPES
from data.pbe_prototypes.validate import MATCHER


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


def test_the_page_tells_how_to_look_for_a_match_of_ones_own_crystal(tmp_path, monkeypatch, capsys):
    """Its code, with another database in the place of the Materials Project."""
    page = (ROOT / "notebooks/09_a_view_that_has_read_more.py").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"# ```python\n(.*?)# ```", page, re.DOTALL) if "def has_match" in block)
    code = re.sub("^# ?", "", code, flags=re.MULTILINE)
    crystals = load_dataset("pbe_prototypes")["structure"]
    crystals["rocksalt-Ca-S"].to(filename=str(tmp_path / "my_crystal.cif"))
    monkeypatch.chdir(tmp_path)
    asked, held = [], []

    class Project:
        def __init__(self, key): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def get_structures(self, formula):
            asked.append(formula)
            return list(held)

    monkeypatch.setattr("pymatgen.ext.matproj.MPRester", Project)
    same = crystals["rocksalt-Ca-S"].copy().apply_strain(0.02).make_supercell(2, in_place=False)
    others = [crystals["rocksalt-Mg-S"], crystals["zincblende-Ca-S"], crystals["cscl-Ca-S"]]
    for more, told in ((others, "False"), ([same], "True")):
        held += more
        exec(code, {})
        assert capsys.readouterr().out.strip() == told
    assert asked == ["CaS", "CaS"]
    assert MATCHER.as_dict() == StructureMatcher(**matcher_settings(code)).as_dict()


def matcher_settings(code: str) -> dict[str, float]:
    """Return the settings of the matcher in the page's code."""
    (settings,) = re.findall(r"StructureMatcher\((.+)\)", code)
    return {key: float(value) for key, value in (pair.split("=") for pair in settings.split(", "))}


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
