"""Which crystals are judged and which are trained on: nothing leaks, and nothing is left out."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Element

from course_lib.datasets import load_dataset
from course_lib.experiments.protocol import N_FOLDS, N_REPEATS, folds_of, members, set_aside, share_trained_on


@pytest.fixture(scope="module")
def crystals():
    return load_dataset("pbe_prototypes")


@pytest.fixture(scope="module")
def aside(crystals):
    return set_aside(crystals["formula"])


def test_a_third_is_set_aside_whatever_else_is_given(crystals, aside):
    assert aside.mean() == pytest.approx(1 / 3, abs=0.03)
    np.testing.assert_array_equal(set_aside(crystals["formula"].iloc[::-3]), aside[::-3])
    by_formula = crystals.assign(aside=aside).groupby("formula")["aside"].nunique()
    assert (by_formula == 1).all()


@pytest.mark.parametrize("split", ["random", "formula"])
def test_each_crystal_is_judged_once_in_each_repeat(crystals, aside, split):
    folds = folds_of(crystals, split)
    assert len(folds) == N_FOLDS * N_REPEATS
    for repeat in range(N_REPEATS):
        tests = np.concatenate([fold.test for fold in folds[repeat * N_FOLDS : (repeat + 1) * N_FOLDS]])
        np.testing.assert_array_equal(np.sort(tests), np.flatnonzero(~aside))
    assert len({tuple(fold.test) for fold in folds}) == len(folds), "the repeats differ"
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.arange(len(crystals)))
        trained = (len(fold.train) + len(fold.validation)) / len(crystals)
        assert trained == pytest.approx(share_trained_on(split), abs=0.02)


@pytest.mark.parametrize("split", ["formula", "tuning", "check", "prototype", "element"])
def test_no_formula_is_on_both_sides(crystals, split):
    formula = crystals["formula"].to_numpy()
    for fold in folds_of(crystals, split):
        if split in ("formula", "tuning", "check"):
            assert not set(formula[fold.test]) & set(formula[np.concatenate([fold.train, fold.validation])])
        assert not set(formula[fold.train]) & set(formula[fold.validation])
        assert min(map(len, fold)) > 0


def test_tuning_stays_among_those_set_aside(crystals, aside):
    folds = folds_of(crystals, "tuning")
    assert len(folds) == 3
    tests = np.concatenate([fold.test for fold in folds])
    np.testing.assert_array_equal(np.sort(tests), np.flatnonzero(aside))
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.flatnonzero(aside))
        trained = (len(fold.train) + len(fold.validation)) / len(crystals)
        assert trained == pytest.approx(share_trained_on("tuning"), abs=0.02)


def test_an_element_or_prototype_that_is_left_out_is_nowhere_trained_on(crystals, aside):
    elements = [{element.Z for element in structure.composition} for structure in crystals["structure"]]
    known = sorted(set().union(*elements))
    folds = folds_of(crystals, "element")
    assert len(folds) == len(known)
    for number, fold in zip(known, folds, strict=True):
        assert all(number in elements[row] for row in fold.test)
        assert not any(number in elements[row] for row in [*fold.train, *fold.validation])
        assert not aside[fold.test].any()
        expected = [row for row, of_row in enumerate(elements) if number in of_row and not aside[row]]
        assert fold.test.tolist() == expected
    assert [Element(symbol).Z for symbol in members(crystals, "element")] == known
    prototypes = sorted(crystals["prototype"].unique())
    assert [*members(crystals, "prototype")] == prototypes
    for name, fold in zip(prototypes, folds_of(crystals, "prototype"), strict=True):
        assert set(crystals["prototype"].iloc[fold.test]) == {name}
        assert name not in set(crystals["prototype"].iloc[np.concatenate([fold.train, fold.validation])])


def test_an_unknown_split_is_named(crystals):
    known = "random, formula, tuning, check, element"
    with pytest.raises(ValueError, match=rf"unknown split 'time'; the splits are {known}"):
        folds_of(crystals, "time")
