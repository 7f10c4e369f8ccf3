"""The atom features: bit for bit those of CGCNN, from property values that pymatgen confirms."""

import hashlib
import json
import math
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
import torch
from pymatgen.core import Element

from course_lib.models.atom_features import (
    ATOM_FEATURE_BLOCKS,
    atom_feature_table,
    atom_features,
    element_properties,
    feature_labels,
)

# SHA-256 of numpy.packbits of the (100, 92) table published with the CGCNN code (atom_init.json).
ORIGINAL_SHA256 = "c59fe57b55a93e8363d990480bfbda12b292b31ddeaaba759035bc423d516821"
SIZES = list(ATOM_FEATURE_BLOCKS.values())
PROPERTIES = element_properties()
ELEMENTS = [Element.from_Z(int(row["atomic_number"])) for row in PROPERTIES]


def block_bits(name: str) -> np.ndarray:
    """Bits of one block for H to Fm, (100, size)."""
    return dict(zip(ATOM_FEATURE_BLOCKS, atom_feature_table()[1:].split(SIZES, dim=1), strict=True))[name].numpy()


def values(column: str) -> np.ndarray:
    """One column of the property table, (100,), NaN where empty."""
    return np.array([float(row[column] or "nan") for row in PROPERTIES])


def from_pymatgen(attribute: str) -> np.ndarray:
    """One property from pymatgen for H to Fm, (100,), NaN where it has none."""
    found = [element.data.get(attribute) for element in ELEMENTS]
    return np.array([np.nan if value is None else float(value) for value in found])


def symbols(mask: np.ndarray) -> set[str]:
    return {element.symbol for element, chosen in zip(ELEMENTS, mask, strict=True) if chosen}


def test_shape_and_order():
    table = atom_feature_table()
    assert table.shape == (101, 92)
    assert table.dtype == torch.float32
    assert sum(SIZES) == 92
    assert not table[0].any()
    assert [row["symbol"] for row in PROPERTIES] == [Element.from_Z(z).symbol for z in range(1, 101)]


def test_equals_the_published_table_by_hash():
    bits = atom_feature_table()[1:].numpy().astype(np.uint8)
    assert hashlib.sha256(np.packbits(bits).tobytes()).hexdigest() == ORIGINAL_SHA256


def test_equals_the_copy_that_matminer_ships():
    published = json.loads(files("matminer").joinpath("utils/data_files/cgcnn_atom_feature.json").read_text())
    expected = np.array([published[str(z)] for z in range(1, 101)])
    np.testing.assert_array_equal(atom_feature_table()[1:].numpy(), expected)


@pytest.mark.parametrize("name", ATOM_FEATURE_BLOCKS)
def test_one_bit_where_there_is_a_value_and_none_elsewhere(name):
    column = {
        "covalent radius": "covalent_radius_pm",
        "first ionisation energy": "first_ionisation_energy_ev",
        "electron affinity": "electron_affinity_ev",
        "atomic volume": "atomic_volume_cm3_per_mol",
    }.get(name, name.replace(" ", "_"))
    has_value = np.array([bool(row[column]) or name == "group" for row in PROPERTIES])
    np.testing.assert_array_equal(block_bits(name).sum(1), has_value)


@pytest.mark.parametrize(
    ("name", "column", "low", "high", "logarithmic"),
    [
        ("electronegativity", "electronegativity", 0.5, 4.0, False),
        ("covalent radius", "covalent_radius_pm", 25, 250, False),
        ("first ionisation energy", "first_ionisation_energy_ev", 1.3, 3.3, True),
        ("electron affinity", "electron_affinity_ev", -3, 3.7, False),
        ("atomic volume", "atomic_volume_cm3_per_mol", 1.5, 4.3, True),
    ],
)
def test_bins_follow_the_value_and_agree_with_their_labels(name, column, low, high, logarithmic):
    value = values(column)
    known = ~np.isnan(value)
    value, chosen = value[known], block_bits(name)[known].argmax(1)
    position = np.log(value) if logarithmic else value
    assert np.all((position >= low) & (position < high))
    assert np.all(np.diff(chosen[np.argsort(value, kind="stable")]) >= 0)

    labels = [label for label in feature_labels() if label.startswith(name)]
    bounds = [[float(number) for number in label.removeprefix(name).split()[:3:2]] for label in labels]
    half_digit = 0.005 if name != "covalent radius" else 0.05
    for x, (lower, upper) in zip(value, (bounds[k] for k in chosen), strict=True):
        assert lower - half_digit <= x <= upper + half_digit
    assert math.isclose(bounds[0][0], math.exp(low) if logarithmic else low, abs_tol=half_digit)
    assert math.isclose(bounds[-1][1], math.exp(high) if logarithmic else high, abs_tol=half_digit)


def test_electronegativities_on_an_edge():
    chosen = dict(zip((e.symbol for e in ELEMENTS), block_bits("electronegativity").argmax(1), strict=True))
    # 1.9 and 1.2 fall into the bin below their edge, 1.55 and 2.6 into the bin above.
    assert {symbol: int(chosen[symbol]) for symbol in ("Si", "Cu", "Re", "Hg", "Bi", "Gd", "Mn", "Xe")} == {
        "Si": 3, "Cu": 3, "Re": 3, "Hg": 3, "Bi": 3, "Gd": 1, "Mn": 3, "Xe": 6,
    }  # fmt: skip


def test_group_period_and_block_against_pymatgen():
    f_block = np.array([element.block == "f" for element in ELEMENTS])
    group = np.where(f_block, 0, [element.group for element in ELEMENTS])  # CGCNN gives the f block no group
    np.testing.assert_array_equal(block_bits("group").argmax(1), group)
    np.testing.assert_array_equal(block_bits("period").argmax(1) + 1, [element.row for element in ELEMENTS])
    # pymatgen puts helium into the p block, after its column; its electrons are 1s2.
    block = ["s" if element.symbol == "He" else element.block for element in ELEMENTS]
    np.testing.assert_array_equal(block_bits("block").argmax(1), ["spdf".index(letter) for letter in block])


def test_valence_electrons_against_the_configurations_of_pymatgen():
    expected = []
    for element, row in zip(ELEMENTS, PROPERTIES, strict=True):
        shells = {(n, orbital): count for n, orbital, count in element.full_electronic_structure}
        count = sum(shells.get((element.row, orbital), 0) for orbital in "sp")
        expected.append(count + (shells[element.row - 1, "d"] if row["block"] == "d" else 0))
    np.testing.assert_array_equal(values("valence_electrons"), expected)
    differs = block_bits("valence electrons").argmax(1) + 1 != expected
    assert symbols(differs) == {"Pd"}  # the one documented exception


def test_electronegativity_against_pymatgen():
    ours, theirs = values("electronegativity"), from_pymatgen("X")
    differs = np.abs(ours - theirs) > 1e-9  # False where either has none
    assert (~np.isnan(ours - theirs)).sum() > 80
    # CRC Handbook and pymatgen's table give different values for these.
    assert symbols(differs) <= {"Tc", "Lu", "W", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "U", "Np", "Pu"}
    assert np.all(np.abs(ours - theirs)[differs] < 0.7)
    only_ours = ~np.isnan(ours) & np.isnan(theirs)
    assert not only_ours.any()


def test_ionisation_energy_against_pymatgen():
    ours, theirs = values("first_ionisation_energy_ev"), np.array([e.ionization_energy for e in ELEMENTS], dtype=float)
    np.testing.assert_allclose(ours, theirs, atol=0.005)
    chosen = np.floor((np.log(theirs) - 1.3) / 2.0 * 10)
    np.testing.assert_array_equal(block_bits("first ionisation energy").argmax(1), chosen)


def test_electron_affinity_against_pymatgen():
    ours, theirs = values("electron_affinity_ev"), from_pymatgen("Electron affinity")
    assert (~np.isnan(ours - theirs)).sum() > 70
    differs = np.abs(ours - theirs) > 0.02
    # Measured again or computed since the CRC Handbook of 2014; negative values differ by their definition.
    assert symbols(differs) <= {
        "Be", "N", "Ga", "In", "Xe", "La", "Ce", "Pr", "Nd", "Eu", "Tb", "Dy", "Lu", "Hf", "Re", "Os", "Tl", "Po", "At",
    }  # fmt: skip


def test_covalent_radius_against_the_cordero_radii_of_matminer():
    from matminer.utils.data import MagpieData

    table = MagpieData(impute_nan=False)
    theirs = np.array([table.get_elemental_property(element, "CovalentRadius") for element in ELEMENTS], dtype=float)
    ours = values("covalent_radius_pm")
    known = ~np.isnan(theirs)
    assert known.sum() > 90
    # Two definitions of the same quantity: they give the elements the same order and differ by at most 41 pm (Ce).
    assert np.abs(ours - theirs)[known].max() <= 41
    assert np.corrcoef(ours[known], theirs[known])[0, 1] > 0.95


def test_atomic_volume_against_pymatgen():
    ours = values("atomic_volume_cm3_per_mol")
    theirs = from_pymatgen("Molar volume")
    assert (~np.isnan(ours / theirs)).sum() > 80
    differs = np.abs(ours / theirs - 1) > 0.1
    # Gases and bromine, whose volume depends on temperature and phase; Ca, Np (see the table's heading) and Am.
    assert symbols(differs) <= {"H", "He", "N", "O", "F", "Ne", "Ca", "Br", "Kr", "Xe", "Np", "Am"}


def test_labels():
    labels = feature_labels()
    assert len(labels) == len(set(labels)) == 92
    assert "electronegativity 0.85 to 1.20" in labels
    iron = [label for label, bit in zip(labels, atom_feature_table()[26], strict=True) if bit]
    assert iron == [
        "group 8",
        "period 4",
        "electronegativity 1.55 to 1.90",
        "covalent radius 115.0 to 137.5 pm",
        "valence electrons 8",
        "first ionisation energy 6.69 to 8.17 eV",
        "electron affinity -0.32 to 0.35 eV",
        "block d",
        "atomic volume 5.93 to 7.85 cm3/mol",
    ]


def test_atom_features_of_a_crystal():
    features = atom_features([8, 26, 8])
    assert features.shape == (3, 92)
    torch.testing.assert_close(features, atom_feature_table()[torch.tensor([8, 26, 8])], rtol=0, atol=0)
    assert atom_features(torch.tensor([], dtype=torch.long)).shape == (0, 92)


@pytest.mark.parametrize(
    ("number", "name"), [(101, r"Md \(Z = 101\)"), (118, r"Og \(Z = 118\)"), (0, "Z = 0, no"), (119, "Z = 119, no")]
)
def test_uncovered_element_is_named(number, name):
    with pytest.raises(ValueError, match=rf"atom 1 is {name}.*H \(Z = 1\) to Fm \(Z = 100\).*Drop"):
        atom_features([26, number])


def test_import_needs_neither_pymatgen_nor_matminer():
    code = (
        "import sys, course_lib.models.atom_features as a; a.atom_feature_table(); "
        "print({'pymatgen', 'matminer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
