"""Composition features, compared with matminer's own featurizers, which we did not write."""

import functools
import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matminer.featurizers.base import MultipleFeaturizer
from matminer.featurizers.composition import ElementProperty, IonProperty, Stoichiometry, ValenceOrbital
from pymatgen.core import Composition, DummySpecies, Element, Lattice, Species, Structure

from course_lib import composition as composition_module
from course_lib.composition import TABLES, element_properties, feature_groups, magpie
from tools.element_tables import of_matminer

# matminer asks pymatgen for values that it then imputes; pymatgen warns about each.
pytestmark = pytest.mark.filterwarnings("ignore:No Pauling electronegativity")

ELEMENTS = [Element.from_Z(z) for z in range(1, 113)]  # all that the tables have
HEAVY = ELEMENTS[83:]  # Po to Cn, actinides among them
MISSING = [Element.from_Z(z) for z in (2, 10, 18, 85, 86, 87, *range(97, 113))]  # some value is missing
MULTIVALENT = [Element.from_Z(z) for z in (6, 7, 14, 15, 16, 17, 32, 33, 34, 35, 50, 51, 52, 53)]
MOST_CHOICES = 200  # of oxidation states: matminer tries them one by one, and the tests must stay quick


def matminer_featurizer():
    featurizer = MultipleFeaturizer(
        [
            Stoichiometry(),
            ElementProperty.from_preset("magpie"),
            ValenceOrbital(props=["avg"]),
            IonProperty(fast=True),
        ]
    )
    featurizer.set_n_jobs(1)
    return featurizer


def quick_in_matminer(composition):
    return np.prod([max(1, len(Element(el.symbol).common_oxidation_states)) for el in composition]) <= MOST_CHOICES


def draw(rng, elements, amounts, count, most=8):
    """Return `count` random compositions of 1 to `most` of the elements; `amounts(n)` gives the amounts."""
    found = []
    while len(found) < count:
        chosen = rng.choice(np.array(elements), rng.integers(1, most + 1), replace=False)
        composition = Composition(dict(zip(chosen, amounts(len(chosen)).tolist(), strict=True)))
        if quick_in_matminer(composition):
            found.append(composition)
    return found


@functools.cache
def single_elements():
    return [Composition({element: amount}) for element in ELEMENTS for amount in (1, 2.5)]


@functools.cache
def integer_amounts():
    rng = np.random.default_rng(1)
    return draw(rng, ELEMENTS[:94], lambda n: rng.integers(1, 13, n), 1000)


@functools.cache
def balanced_compounds():
    """Salts of up to three cations and one anion, amounts chosen so that the charges balance."""
    rng = np.random.default_rng(2)
    cations = [element for element in ELEMENTS[:103] if min(element.common_oxidation_states, default=0) > 0]
    anions = {"O": 2, "F": 1, "Cl": 1, "S": 2, "N": 3}
    found = []
    for _ in range(400):
        chosen = rng.choice(np.array(cations), rng.integers(1, 4), replace=False)
        anion, valence = list(anions.items())[rng.integers(len(anions))]
        amounts = rng.integers(1, 5, len(chosen)) * valence
        charge = sum(n * element.common_oxidation_states[0] for element, n in zip(chosen, amounts, strict=True))
        found.append(Composition({**dict(zip(chosen, amounts.tolist(), strict=True)), anion: int(charge // valence)}))
    return found


@functools.cache
def fractional_amounts():
    rng = np.random.default_rng(3)
    rounded = draw(rng, ELEMENTS[:94], lambda n: rng.integers(1, 100, n) / 100, 300)
    thirds = [composition.fractional_composition for composition in integer_amounts()[:150]]
    spread = draw(rng, ELEMENTS[:94], lambda n: 10.0 ** rng.uniform(-6, 6, n), 150)
    return [*rounded, *thirds, *spread]


@functools.cache
def tied_amounts():
    """Equal largest amounts, and amounts just inside and just outside what counts as equal (1e-5)."""
    rng = np.random.default_rng(4)
    nearly = 1 + np.array([0, 5e-6, 9.9e-6, 1.01e-5, 1e-4, -9.9e-6, -1.01e-5])
    return [
        *draw(rng, ELEMENTS[:94], lambda n: np.full(n, rng.integers(1, 4)), 200),
        *draw(rng, ELEMENTS[:94], lambda n: rng.choice([1, 2], n), 100),
        *draw(rng, ELEMENTS[:94], lambda n: rng.choice(nearly, n), 100),
    ]


@functools.cache
def heavy_elements():
    rng = np.random.default_rng(5)
    return draw(rng, HEAVY, lambda n: rng.integers(1, 9, n), 300)


@functools.cache
def missing_values():
    rng = np.random.default_rng(6)
    return draw(rng, MISSING + ELEMENTS[:20], lambda n: rng.integers(1, 9, n), 300)


@functools.cache
def oxidation_states():
    """Species with oxidation states: balanced and not, several states of one element, some or all without one."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(400):
        elements = rng.choice(np.array(ELEMENTS[:94]), rng.integers(1, 5), replace=False)
        states = [None, *range(-3, 7)] if rng.random() < 0.3 else list(range(-3, 7))
        species = {
            Species(element.symbol, states[rng.integers(len(states))]): int(rng.integers(1, 7))
            for element in elements
            for _ in range(rng.integers(1, 4))
        }
        found.append(Composition(species))
    return [
        *filter(quick_in_matminer, found),
        Composition({"Fe2+": 1, "Fe3+": 2, "O2-": 4}),
        Composition({"O2-": 4, "Fe3+": 2, "Fe2+": 1}),
        Composition({"Fe2+": 1, "O2-": 2}),
        Composition({"Fe2+": 1, "Fe3+": 1}),
        Composition({Species("Ni", 2, spin=2): 2, Species("Ni", 2, spin=-2): 2, Species("O", -2): 4}),
        Composition({Species("Mn", None, spin=5): 2, Species("Mn", None, spin=-5): 1, Element("O"): 4}),
        Composition({Species("Fe", 8 / 3): 3, Species("O", -2): 4}),
        Composition({Element("Fe"): 1, Species("Fe", 3): 1, Species("O", -2): 3}),
    ]


FAMILIES = [
    single_elements,
    integer_amounts,
    balanced_compounds,
    fractional_amounts,
    tied_amounts,
    heavy_elements,
    missing_values,
    oxidation_states,
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_equals_matminer(family):
    compositions = family()
    expected = np.array(matminer_featurizer().featurize_many(compositions, pbar=False), dtype=np.float64)
    np.testing.assert_allclose(composition_module._features(compositions), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(magpie(compositions), expected, rtol=1e-6, atol=1e-6)


def test_the_families_are_many_and_awkward_enough():
    compositions = [composition for family in FAMILIES for composition in family()]
    assert len(compositions) >= 3000
    assert {len(composition.chemical_system_set) for composition in compositions} == set(range(1, 9))
    assert {element.symbol for element in ELEMENTS} == set().union(*(c.chemical_system_set for c in compositions))
    possible = magpie(compositions)["compound possible"]
    assert 0.2 < possible.mean() < 0.8


def test_columns_are_matminers_in_four_groups():
    features = magpie(["SrTiO3"])
    assert list(features.columns) == matminer_featurizer().feature_labels()
    assert [len(labels) for labels in feature_groups().values()] == [6, 132, 4, 3]
    assert list(itertools.chain(*feature_groups().values())) == list(features.columns)
    assert set(features.dtypes) == {np.dtype(np.float32)}


def test_values_worked_out_by_hand():
    features = magpie(["Fe2O3", "Fe3O4"]).loc[0]
    assert features["0-norm"] == 2
    assert features["2-norm"] == pytest.approx(np.hypot(0.4, 0.6))
    assert features["MagpieData mean Number"] == pytest.approx(0.4 * 26 + 0.6 * 8)
    assert features["MagpieData avg_dev Number"] == pytest.approx(0.4 * 10.8 + 0.6 * 7.2)
    assert features["MagpieData mode Number"] == 8
    assert features["avg d valence electrons"] == pytest.approx(0.4 * 6)
    bond = 1 - np.exp(-((3.44 - 1.83) ** 2) / 4)
    assert features["max ionic char"] == pytest.approx(bond)
    assert features["avg ionic char"] == pytest.approx(0.4 * 0.6 * bond)
    # One oxidation state per element: Fe2O3 balances, Fe3O4 (Fe2+ and Fe3+) does not.
    assert magpie(["Fe2O3", "Fe3O4"])["compound possible"].tolist() == [1, 0]


def test_charge_balance_with_very_many_choices_of_oxidation_states():
    rng = np.random.default_rng(8)
    chosen = [rng.choice(np.array(MULTIVALENT), 7, replace=False) for _ in range(40)]
    amounts = [rng.integers(20, 90, 7) for _ in chosen]
    expected = []
    for elements, numbers in zip(chosen, amounts, strict=True):
        charges = np.zeros(1)
        for element, number in zip(elements, numbers, strict=True):
            charges = np.add.outer(charges, number * np.array(element.common_oxidation_states)).ravel()
        expected.append(bool((charges == 0).any()))
    compositions = [Composition(dict(zip(e, a.tolist(), strict=True))) for e, a in zip(chosen, amounts, strict=True)]
    assert set(expected) == {True, False}
    assert magpie(compositions)["compound possible"].astype(bool).tolist() == expected


def test_many_elements_in_many_states_stay_cheap():
    everything = Composition(dict.fromkeys(MULTIVALENT, 0.05))  # 10^8 choices of oxidation states
    assert magpie([everything])["compound possible"].tolist() == [1]


def test_rows_do_not_depend_on_each_other(monkeypatch):
    compositions = integer_amounts()[:200] + oxidation_states()[:50]
    together = composition_module._features(compositions)
    order = np.random.default_rng(9).permutation(len(compositions))
    np.testing.assert_array_equal(composition_module._features([compositions[i] for i in order]), together[order])
    monkeypatch.setattr(composition_module, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(composition_module, "_MAX_PARTIAL_SUMS", 50)
    np.testing.assert_array_equal(composition_module._features(compositions), together)


def test_structures_formulas_and_compositions_agree():
    structure = Structure(Lattice.cubic(3.9), ["Sr", "Ti", "O", "O", "O"], np.arange(15).reshape(5, 3) / 15)
    disordered = Structure(Lattice.cubic(3.9), [{"Ba": 0.5, "Sr": 0.5}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    mixed = magpie([structure, "SrTiO3", Composition("SrTiO3"), disordered, "Ba0.5Sr0.5O"]).to_numpy()
    np.testing.assert_array_equal(mixed[0], mixed[1])
    np.testing.assert_array_equal(mixed[0], mixed[2])
    np.testing.assert_array_equal(mixed[3], mixed[4])


def test_index():
    frame = pd.DataFrame({"formula": ["NaCl", "MgO"]}, index=["first", "second"])
    assert magpie(frame["formula"]).index.tolist() == ["first", "second"]
    assert magpie(frame["formula"], ids=["a", "b"]).index.tolist() == ["a", "b"]
    assert magpie(["NaCl", "MgO"]).index.tolist() == [0, 1]
    assert magpie([]).shape == (0, 145)


def test_element_properties_are_those_of_the_features():
    table = element_properties()
    assert table.index.tolist() == [element.symbol for element in ELEMENTS]
    assert table.shape == (112, 22)
    assert not table.isna().any(axis=None)
    pure = magpie(table.index)[[f"MagpieData mean {name}" for name in table.columns]]
    np.testing.assert_allclose(pure, table, rtol=1e-6)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Composition({}), "the crystal has no atoms.*Drop the row"),
        ("Fe0", "the crystal has no atoms.*Drop the row"),
        (Composition({DummySpecies("X"): 1, "O": 1}), "'X' is not an element.*Replace it"),
        ("Zz2O", "'Zz' is not an element.*Replace it"),
        ("D2O", "'D' is an isotope.*Replace it with 'H'"),
        (Composition({Species("T", 1): 1, "Cl": 1}), "'T' is an isotope.*Replace it with 'H'"),
        ("OgTs2O", "no element data for Og, Ts.*end at Z = 112.*Drop the row"),
        (Composition({"Fe": -1, "O": 2}, allow_negative=True), "Fe has the amount -1.*Give a positive"),
        ("Fe1e400", "Fe has the amount inf.*Give a positive"),
        ("Fe2(O3", r"'Fe2\(O3' is not a chemical formula.*such as"),
        ("", "'' is not a chemical formula.*such as"),
        ("fe2o3", "'fe2o3' is not a chemical formula.*such as"),
        (float("nan"), "nan is not a composition.*Give a pymatgen Composition"),
        (None, "None is not a composition.*Give a pymatgen Composition"),
    ],
)
def test_bad_rows_are_named(item, message):
    with pytest.raises(ValueError, match=f"^row 1: {message}"):
        magpie(["NaCl", item, "MgO"])
    with pytest.raises(ValueError, match=f"^row 1 .id 'wrong'.: {message}"):
        magpie(["NaCl", item, "MgO"], ids=["salt", "wrong", "oxide"])


@pytest.mark.parametrize(
    "formula",
    ["CuSO4.5H2O", "Na2CO3.10H2O", "Zn(NO3)2.6H2O", "MgCl2.6H2O", "Cu SO4 . 5H2O", "KAl(SO4)2.12(H2O)", "CaCl2.4NH3",
     "Al2O3.2SiO2.2H2O", "Cu(SO4).5H2O", "CoCl2.2C5H5N", "ZnCl2.C4H8O2.2C3H6O", "NaCl.2C5H5N", "Cu(NO3)2.3C2H8N2"],
)  # fmt: skip
def test_a_full_stop_that_may_be_a_dot_is_refused(formula):
    with pytest.raises(ValueError, match=r"row 1: .* can be read in two ways: .*parentheses, such as 'CuSO4\(H2O\)5'"):
        magpie(["NaCl", formula])


@pytest.mark.parametrize(
    ("formula", "number"),
    [
        ("CuSO4(H2O)5", (29 + 16 + 9 * 8 + 10) / 21),
        ("CuSO4.H2O", (29 + 16 + 5 * 8 + 2) / 9),  # 4. is 4, and one water is one water
        ("Fe2.5O4", (2.5 * 26 + 32) / 6.5),
        ("Na0.5K0.5Cl", (0.5 * 11 + 0.5 * 19 + 17) / 2),
        ("Ba.5Sr.5TiO3", (28 + 19 + 22 + 24) / 5),
        ("Li6.4La3Zr1.4Ta0.6O12", (6.4 * 3 + 3 * 57 + 1.4 * 40 + 0.6 * 73 + 12 * 8) / 23.4),
        ("Bi2.1Sr1.9CaCu2O8", (2.1 * 83 + 1.9 * 38 + 20 + 2 * 29 + 8 * 8) / 15),
        ("La1.85Sr0.15CuO4", (1.85 * 57 + 0.15 * 38 + 29 + 4 * 8) / 7),
        ("LiMn1.5NiO4", (3 + 1.5 * 25 + 28 + 32) / 7.5),
        ("FeO1.5(OH)0.5", (26 + 1.5 * 8 + 0.5 * 9) / 3.5),
        ("UO2.25", (92 + 2.25 * 8) / 3.25),
    ],
)
def test_decimal_amounts_go_on_working(formula, number):
    assert magpie([formula])["MagpieData mean Number"].item() == pytest.approx(number, rel=1e-6)


def test_the_first_bad_row_is_named():
    with pytest.raises(ValueError, match=r"^row 1: the crystal has no atoms"):
        magpie(["NaCl", Composition({}), Composition({DummySpecies("X"): 1}), Composition({})])
    with pytest.raises(ValueError, match=r"^row 1 .id 'b'.: 'X' is not an element"):
        magpie(pd.Series(["NaCl", Composition({DummySpecies("X"): 1}), Composition({})], index=list("abc")))


def test_bad_arguments():
    with pytest.raises(ValueError, match="lengths differ"):
        magpie(["NaCl"], ids=["a", "b"])
    with pytest.raises(ValueError, match="duplicate id 'a' in rows"):
        magpie(["NaCl", "MgO"], ids=["a", "a"])
    with pytest.raises(ValueError, match="Give a list"):
        magpie("NaCl")


def test_import_is_light():
    heavy = "{'matminer', 'pymatgen', 'torch', 'sklearn', 'matplotlib'}"
    code = f"import course_lib.composition, sys; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_features_need_no_matminer():
    code = (
        "from course_lib.composition import magpie; magpie(['NaCl']); import sys; assert 'matminer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stored_element_data_are_matminers():
    assert json.loads(TABLES.read_text(encoding="utf-8")) == json.loads(json.dumps(of_matminer()))
