"""The random forest: against plain scikit-learn; out-of-fold predictions know nothing of their own crystal."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from example_crystals import TARGET, bundled
from pymatgen.core import Composition
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold, KFold

from course_lib.composition import magpie
from course_lib.flat_models import FlatForest
from course_lib.forest import ForestResult, fit_forest, forest_pipeline


def crystals(count: int = 40) -> tuple[pd.Series, pd.Series]:
    frame = bundled(count)
    return frame["structure"], frame[TARGET]


@cache
def fitted() -> ForestResult:
    return fit_forest(*crystals(), seed=3)


def plain_forest(seed: int) -> RandomForestRegressor:
    return RandomForestRegressor(n_estimators=100, max_depth=30, random_state=seed)


def test_it_is_the_forest_of_scikit_learn():
    structures, targets = crystals()
    result = fitted()
    features = magpie(structures)
    expected = plain_forest(3).fit(features, targets)
    np.testing.assert_allclose(result.model.predict(structures), expected.predict(features), rtol=1e-10)
    assert list(result.model.named_steps) == ["magpie", "forest"]
    assert max(tree.get_depth() for tree in result.model["forest"].estimators_) <= 30
    assert result.seconds > 0

    pd.testing.assert_index_equal(result.out_of_fold.index, structures.index)
    assert result.out_of_fold.name == TARGET
    for train, test in KFold(5, shuffle=True, random_state=3).split(features):
        fold = plain_forest(3).fit(features.iloc[train], targets.iloc[train])
        np.testing.assert_allclose(result.out_of_fold.iloc[test], fold.predict(features.iloc[test]), rtol=1e-10)


def test_it_repeats():
    first, second, third = fitted(), fit_forest(*crystals(), seed=3), fit_forest(*crystals(), seed=2)
    # To the last digits: scikit-learn's threads add the trees up in no fixed order.
    np.testing.assert_allclose(first.out_of_fold, second.out_of_fold, rtol=1e-10)
    assert not np.allclose(third.out_of_fold, first.out_of_fold)


def test_out_of_fold_prediction_does_not_know_its_own_target():
    structures, targets = crystals()
    changed = targets.copy()
    changed.iloc[7] += 100
    before, after = fitted(), fit_forest(structures, changed, seed=3)
    moved = ~np.isclose(after.out_of_fold, before.out_of_fold, rtol=1e-10)
    assert not moved[7]
    assert moved.any()  # those of other folds do
    own = [result.model.predict(structures.iloc[[7]])[0] for result in (before, after)]
    assert own[1] > own[0] + 10  # and so does the forest fitted to all


def test_groups_stay_together():
    structures, targets = crystals()
    groups = np.arange(40) // 4  # four crystals each
    changed = targets.copy()
    changed.iloc[8] += 100
    before, after = (fit_forest(structures, t, groups=groups) for t in (targets, changed))
    group = slice(8, 12)
    np.testing.assert_allclose(after.out_of_fold.iloc[group], before.out_of_fold.iloc[group], rtol=1e-10)
    features = magpie(structures)
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(features, groups=groups):
        fold = plain_forest(0).fit(features.iloc[train], targets.iloc[train])
        np.testing.assert_allclose(before.out_of_fold.iloc[test], fold.predict(features.iloc[test]), rtol=1e-10)


def test_formulas_and_compositions_serve_as_well():
    structures, targets = crystals()
    formulas = structures.map(lambda structure: structure.formula)
    mixed = pd.Series([*formulas[:20], *formulas[20:].map(Composition)], index=formulas.index)
    pd.testing.assert_series_equal(fit_forest(mixed, targets, seed=3).out_of_fold, fitted().out_of_fold)


# ---------------------------------------------------------------- bad input


def test_lengths_and_order():
    structures, targets = crystals(10)
    with pytest.raises(ValueError, match="structures has 10, targets has 9"):
        fit_forest(structures, targets.iloc[:9])
    with pytest.raises(
        ValueError, match=r"row 0: structure '.*' stands next to target '.*'. Give both in the same order"
    ):
        fit_forest(structures, targets.iloc[::-1])
    with pytest.raises(ValueError, match="structures has 10, groups has 3"):
        fit_forest(structures, targets, groups=["a", "b", "c"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_target_that_is_no_number(value):
    structures, targets = crystals(10)
    targets = targets.copy()
    targets.iloc[4] = value
    with pytest.raises(ValueError, match=rf"target: row 4 \(id '{targets.index[4]}'\) is {value}.*dropna"):
        fit_forest(structures, targets)


def test_repeated_id():
    structures, targets = crystals(10)
    index = [*structures.index[:9], structures.index[2]]
    with pytest.raises(ValueError, match=rf"duplicate id '{index[2]}' in rows \[2, 9\]"):
        fit_forest(structures.set_axis(index), targets.set_axis(index))


def test_a_bad_composition_is_named_by_its_own_row():
    structures, targets = crystals(10)
    formulas = structures.map(lambda structure: structure.formula)
    formulas.iloc[7] = "Og2"
    with pytest.raises(ValueError, match=rf"row 7 \(id '{formulas.index[7]}'\): no element data for Og"):
        fit_forest(formulas, targets)


@pytest.mark.parametrize(
    ("n_folds", "groups", "message"),
    [
        (1, None, "n_folds is 1 for 10 crystals; choose a number from 2 to 10"),
        (11, None, "n_folds is 11 for 10 crystals"),
        ("3", None, "n_folds is '3', not a whole number"),
        (5, ["a", "b"] * 5, "n_folds is 5 for 2 groups; choose a number from 2 to 2"),
    ],
)
def test_number_of_folds(n_folds, groups, message):
    with pytest.raises(ValueError, match=message):
        fit_forest(*crystals(10), groups=groups, n_folds=n_folds)


@pytest.mark.parametrize("targets", [[TARGET], [TARGET, "band_gap"]])
def test_flat_forest_predicts_what_the_forest_does(tmp_path, targets):
    frame = bundled(80)
    features = magpie(frame["structure"]).to_numpy()
    forest = forest_pipeline()["forest"].set_params(n_estimators=20, n_jobs=1)
    forest.fit(features[:60], frame[targets].to_numpy()[:60].squeeze())
    flat = FlatForest.of(forest, targets)
    flat.save(tmp_path / "forest.npz")
    flat = FlatForest.load(tmp_path / "forest.npz")
    assert flat.target_names.tolist() == targets
    expected = forest.predict(features).reshape(80, len(targets))
    np.testing.assert_allclose(flat.predict(features), expected, rtol=1e-12)
    assert flat.predict(features[:0]).shape == (0, len(targets))
    assert [path.name for path in tmp_path.iterdir()] == ["forest.npz"]


def test_file_that_is_no_forest(tmp_path):
    np.savez(tmp_path / "other.npz", feature=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is not a FlatForest: it lacks left, reads, right, root"):
        FlatForest.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", **dict.fromkeys(FlatForest.__dataclass_fields__, np.array([{}], dtype=object)))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        FlatForest.load(tmp_path / "pickle.npz")
    with pytest.raises(FileNotFoundError):
        FlatForest.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("left", lambda array: np.zeros_like(array), "a node of it has none of the later nodes on its left"),
        ("right", lambda array: array + len(array), "a node of it has none of the later nodes on its right"),
        ("root", lambda array: array - 1, "trees do not begin at nodes"),
        ("root", lambda array: array[:0], "trees do not begin at nodes"),
        ("threshold", lambda array: array[1:], "features, but .* of threshold"),
        ("value", lambda array: array * np.nan, "values are not 1 finite numbers per node"),
        ("target_names", lambda array: np.array(["a", "b"]), "values are not 2 finite numbers per node"),
    ],
)
def test_a_forest_that_would_not_end_or_has_no_values_is_refused(tmp_path, name, change, message):
    forest = forest_pipeline(0)["forest"].set_params(n_estimators=2, n_jobs=1)
    forest.fit(np.eye(9)[:, :3], np.arange(9.0))
    arrays = vars(FlatForest.of(forest, ["energy"]))
    np.savez(tmp_path / "forest.npz", **arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match=rf"forest.npz: .*{message}"):
        FlatForest.load(tmp_path / "forest.npz")
