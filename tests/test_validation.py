"""The checks on input, each on its own: what passes, and that a message names row, value and how to fix it."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition, DummySpecies, Lattice, Structure

from course_lib.validation import (
    check_columns,
    check_composition,
    check_given_ids,
    check_jobs,
    check_number,
    check_positions,
    check_same_length,
    check_same_order,
    check_structure,
    check_targets,
    check_unique_ids,
    describe_row,
    nearest_id,
    plain,
)


@pytest.mark.parametrize("ids", [["a", "mp-7"], np.array(["a", "mp-7"]), pd.Index(["a", "mp-7"])])
def test_a_row_is_named_alike_whatever_holds_the_ids(ids):
    assert describe_row(1, ids) == "row 1 (id 'mp-7')"
    assert describe_row(1) == "row 1"


def test_lengths():
    check_same_length(a=[1, 2], b=np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"lengths differ: a has 2, b has 3. Give one entry per crystal"):
        check_same_length(a=[1, 2], b="abc")


def test_unique_ids():
    check_unique_ids(["a", "b"])
    with pytest.raises(ValueError, match=r"duplicate id 'b' in rows \[1, 3\] \(2 ids are repeated\). Drop"):
        check_unique_ids(["a", "b", "c", "b", "c"])
    with pytest.raises(ValueError, match=r"duplicate id 100000.0 .*If they differ in the file: Read ids as text"):
        check_unique_ids([1e5, 2.0, 1e5])


def test_order():
    check_same_order("targets", ["a", "b"], np.array(["a", "b"]))
    check_same_order("targets", [0, 1], ["a", "b"])  # row numbers say nothing about the order
    check_same_order("targets", ["a"], ["a", "b"])  # lengths are checked elsewhere
    with pytest.raises(ValueError, match=r"row 1: crystal 'b' meets 'c' in targets.*targets.loc\[ids\]"):
        check_same_order("targets", ["a", "c", "b"], ["a", "b", "c"])
    for ids in (["7", "007"], ["c0", "C0"], ["1e400", "2e400"]):  # a spreadsheet may have changed one, but not both
        check_same_order("targets", ids, ids)
        with pytest.raises(ValueError, match=rf"row 0: crystal '{ids[0]}' meets '{ids[1]}' in targets"):
            check_same_order("targets", ids[::-1], ids)
    message = r"row 0: crystal 'a' meets 'b' .*Crystal 'a' has no row there.*\(1 have none\).*targets.reindex\(ids\)"
    with pytest.raises(ValueError, match=message):
        check_same_order("targets", ["b", "c", "d"], ["a", "b", "c"])


def test_targets():
    check_targets(np.array([1, 2]))
    check_targets(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"gap: row 2 \(id 'c'\) is inf \(2 such values\).*dropna.*fix the values"):
        check_targets(np.array([[0, 1], [2, 3], [4, np.inf], [np.nan, 5]]), "gap", ["a", "b", "c", "d"])
    check_targets(np.array([3.4e38, -3.4e38, 1e-300]))
    with pytest.raises(ValueError, match=r"row 1 is 1e\+39, more than single precision holds .*another unit"):
        check_targets(np.array([1.0, 1e39]))
    for moments in (np.array([1], "m8[s]"), np.array(["2020"], "M8[s]"), np.array([1j])):
        with pytest.raises(ValueError, match=r"row 0 is .*, not a number with a decimal point"):
            check_targets(moments)


def test_targets_that_are_text():
    check_targets(np.array(["1.5", " -2e-3 ", 3], dtype=object))
    for value in ("1,5", "1_5", "", "nan", "\uff11", 1j, [1]):
        targets = np.array([1.0, None], dtype=object)
        targets[1] = value
        with pytest.raises(ValueError, match=r"gap: row 1 \(id 'b'\) is .*, not a number with a decimal point"):
            check_targets(targets, "gap", ["a", "b"])
    with pytest.raises(ValueError, match=r"gap: row 1 \(id 'b'\) is larger than single precision holds. Use another"):
        check_targets(np.array([1.0, -(10**5000)], dtype=object), "gap", ["a", "b"])
    with pytest.raises(ValueError, match="row 1 is None"):
        check_targets(np.array([1.0, None], dtype=object))


@pytest.mark.parametrize(
    ("one", "other"), [(7, "007"), (1e5, "1e5"), (np.nan, "NaN"), ("mp-1 ", "MP-1"), ("\uff11", 1)]
)
def test_ids_that_a_reader_changed(one, other):
    assert nearest_id(one, ["x", other]) == other
    assert nearest_id(one, ["x", "8"]) is None
    check_same_order("targets", [one, "x"], [other, "x"])
    with pytest.raises(ValueError, match="in the same order"):
        check_same_order("targets", ["x", one], [other, "x"])


@pytest.mark.parametrize("formula", ["Fe2O3", "Fm", "Fe0.5Co0.5", "Og"])
def test_compositions_that_pass(formula):
    check_composition(Composition(formula), 0)


@pytest.mark.parametrize(
    ("composition", "message"),
    [
        (Composition({}), r"row 4 \(id 'e'\): the crystal has no atoms. Drop the row"),
        (Composition({"D": 2, "O": 1}), "'D' is an isotope.*Replace it with 'H'"),
        (Composition({"T+": 1}), "'T' is an isotope.*Replace it with 'H'"),
        (Composition({DummySpecies("X"): 1, "O": 1}), "'X' is not an element. Replace it"),
    ],
)
def test_compositions_that_do_not(composition, message):
    with pytest.raises(ValueError, match=message):
        check_composition(composition, 4, list("abcde"))


def test_a_disordered_site_is_named():
    ordered = Structure(Lattice.cubic(4), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    check_structure(ordered, 0)
    ordered[1] = {"Cl-": 0.5, "Br-": 0.5}
    with pytest.raises(ValueError, match=r"row 0: site 1 is disordered \(Br-:0.5, Cl-:0.5\). Choose one ordered"):
        check_structure(ordered, 0)


@pytest.mark.parametrize(("symbol", "passes"), [("Fm", True), ("Md", False), ("Og", False)])
def test_heaviest_element(symbol, passes):
    structure = Structure(Lattice.cubic(4), [symbol, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    if passes:
        check_structure(structure, 0)
    else:
        with pytest.raises(ValueError, match=rf"row 0: {symbol} \(Z = \d+\) is heavier than fermium.*Drop the row"):
            check_structure(structure, 0)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, False)])
def test_slabs_and_molecules_are_not_crystals(pbc):
    structure = Structure(Lattice(4 * np.eye(3), pbc=pbc), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(ValueError, match=r"row 0: it is not periodic in all directions: its pbc is .*False\]"):
        check_structure(structure, 0)


def test_crystals_of_other_libraries_are_not_structures():
    class Atoms:
        lattice = Lattice.cubic(4)

        def __repr__(self):
            return "Atoms(" + "0.25, " * 1000 + ")"

    with pytest.raises(ValueError, match=r"row 0: Atoms.{1,60} is not a pymatgen Structure. Convert it"):
        check_structure(Atoms(), 0)


@pytest.mark.parametrize("wrong", [None, 1.5, "Fe.cif"])
def test_something_else_than_a_structure(wrong):
    with pytest.raises(ValueError, match=rf"row 3: {wrong!r} is not a pymatgen Structure. Convert it or drop the row"):
        check_structure(wrong, 3)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), 2**63 - 1])
def test_whole_numbers_that_pass(value):
    check_number("x", value, whole=True, least=0)
    check_number("x", value, least=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "x is True, not a whole number"),
        (np.True_, "x is np.True_, not a whole number"),
        (np.timedelta64(3, "s"), "x is np.timedelta64.*, not a whole number"),
        (3.0, "x is 3.0, not a whole number"),
        ("3", "x is '3', not a whole number"),
        (None, "x is None, not a whole number"),
        (np.array([3]), "x is array.*, not a whole number"),
        (2**63, "x is about 1e19; whole numbers must be below 9.2e18"),
        (-(10**400), "x is about -1e400"),
    ],
)
def test_what_is_not_a_whole_number(value, message):
    with pytest.raises(ValueError, match=message):
        check_number("x", value, whole=True, least=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Fraction(1, 2), "x is Fraction.*, not a number"),
        (Decimal("0.5"), "x is Decimal.*, not a number"),
        (np.float16("nan"), "x is nan; it must be finite"),
        (np.longdouble("inf"), "x is inf; it must be finite"),
        (10**400, "x is about 1e400"),
        (1j, "x is 1j, not a number"),
    ],
)
def test_what_is_not_a_number(value, message):
    with pytest.raises(ValueError, match=message):
        check_number("x", value)


@pytest.mark.parametrize("n_jobs", [1, -1, np.int64(-1), 1024])
def test_numbers_of_processes(n_jobs):
    check_jobs(n_jobs)


@pytest.mark.parametrize("n_jobs", [0, -2, -1.0, True, None, "2", 100_000, np.array([-1, -1])])
def test_what_is_not_a_number_of_processes(n_jobs):
    with pytest.raises(ValueError, match="n_jobs is"):
        check_jobs(n_jobs)


def test_plain_values():
    found = plain([np.int64(3), (np.float32(0.5), "a"), np.array([[1, 2]]), None])
    assert found == [3, (0.5, "a"), [[1, 2]], None]
    assert [type(one) for one in (found[0], found[1][0], found[2][0][0])] == [int, float, int]


@pytest.mark.parametrize("positions", [[0.0, 1.0], ["0"], [[0, 1]], 3, [True, False, True, False]])
def test_what_is_no_list_of_positions_is_refused(positions):
    with pytest.raises(ValueError, match=r"test holds .* not positions\. Give a list of whole numbers"):
        check_positions("test", positions, 4)


def test_positions_lie_inside():
    for good in ([], [0, 3], np.array([2], dtype=np.uint8)):
        check_positions("test", good, 4)
    for bad in ([0, 4], [-1]):
        with pytest.raises(ValueError, match=rf"test has the position {bad[-1]}, but there are 4 rows"):
            check_positions("test", bad, 4)


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT, " ", ""])
def test_a_missing_id_is_named_with_its_row(nothing):
    check_given_ids(None)
    check_given_ids(["a", 0, "nan"])
    with pytest.raises(ValueError, match=r"row 1 has the id .* Give every crystal an id"):
        check_given_ids(["a", nothing])


def test_columns_of_labels_hold_no_dates_and_no_complex_numbers():
    for good in (None, pd.Series([1, 2]), pd.DataFrame({"a": [1.0], "b": [True]}), pd.Series(["1.5", None])):
        check_columns("targets", good)
    dates = pd.DataFrame({"gap": [1.0], "day": pd.to_datetime(["2026-01-01"])})
    for bad, what in ((dates, "'day' holds datetime"), (pd.Series([1j], name="gap"), "'gap' holds complex")):
        with pytest.raises(ValueError, match=f"targets: column {what}.*, not numbers"):
            check_columns("targets", bad)
    with pytest.raises(ValueError, match=r"targets is of type list\. Give a DataFrame or a Series"):
        check_columns("targets", [1.0, 2.0])
