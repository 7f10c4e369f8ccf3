"""Mean and spread in any unit, and what trains on them: the same learning in eV, in joule and on an offset."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from course_lib import predictors
from course_lib.composition import magpie
from course_lib.flat_models import FlatForest
from course_lib.forest import Forest, fit_forest
from course_lib.graphs import CrystalGraphs
from course_lib.scaling import mean_and_std
from course_lib.training import FitConfig, TargetScaler, fit, load, predict

JOULE = 1.602176634e-19
UNITS = [1e-30, JOULE, 1e30]
ENERGIES = bundled(24)[TARGET].to_numpy()


def graphs(targets: np.ndarray) -> CrystalGraphs:
    frame = bundled(24)
    return CrystalGraphs.from_structures(
        frame["structure"], composition=magpie, targets=pd.DataFrame({"energy": targets}, frame.index)
    )


@settings(deadline=None, derandomize=True)
@given(
    values=st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=1, max_size=9),
    exponent=st.integers(-250, 37),
)
def test_mean_and_spread_in_any_unit(values, exponent):
    unit = 10.0**exponent
    targets = np.array([*values, np.nan])[:, None]
    mean, std = mean_and_std(targets * unit)
    np.testing.assert_allclose(mean, np.mean(values) * unit, rtol=1e-12, atol=1e-15 * unit)
    np.testing.assert_allclose(std, np.std(values) * unit if np.ptp(values) else 1.0, rtol=1e-12)


def test_spread_on_an_offset_and_without_one():
    targets = np.stack([ENERGIES + 1e8, np.full(24, 0.1), np.full(24, np.nan)], axis=1)
    mean, std = mean_and_std(targets)
    np.testing.assert_allclose(mean, [ENERGIES.mean() + 1e8, 0.1, 0], rtol=1e-12)
    np.testing.assert_allclose(std, [ENERGIES.std(), 1, 1], rtol=1e-6)


@pytest.mark.parametrize("offset", [1e15, -1e16])
def test_differences_that_are_lost_in_rounding(offset):
    targets = np.array([[np.nan, 1.0], [offset, 2.0], [offset + 4, 3.0]])
    message = r"energy: the labels differ by .* lost in rounding .* in row 1 \(id 'b'\). Subtract a number"
    with pytest.raises(ValueError, match=message):
        mean_and_std(targets, ("energy", "gap"), ["a", "b", "c"])


# --- networks ---


@cache
def crystals_without_targets() -> CrystalGraphs:
    return graphs(ENERGIES)


def trained(targets, **settings):
    """Return predictions of a small network, its history and the network."""
    crystals = replace(crystals_without_targets(), y=targets[:, None])
    torch.manual_seed(0)
    network = predictors.METHODS["cgcnn"].network(n_targets=1, hidden=8, n_conv=1)
    result = fit(network, crystals.subset(range(16)), crystals.subset(range(16, 24)), FitConfig(epochs=3, **settings))
    return predict(result.model, crystals)["energy"].to_numpy(), result.history, result.model


@pytest.mark.parametrize("settings", [{}, {"loss": "mse", "task_weights": (1.0,)}, {"task_weights": "uncertainty"}])
def test_a_network_learns_the_same_in_any_unit(settings):
    expected, history, _ = trained(ENERGIES, **settings)
    for unit in UNITS:
        found, in_unit, _ = trained(ENERGIES * unit, **settings)
        np.testing.assert_allclose(found / unit, expected, atol=1e-4)
        np.testing.assert_allclose(in_unit["val_mae_energy"] / unit, history["val_mae_energy"], rtol=1e-3)
        np.testing.assert_allclose(in_unit["val_error"], history["val_error"], rtol=1e-3)
        assert np.isfinite(in_unit.to_numpy()).all()
        assert (in_unit["lambda_energy"] > 0).all()


def test_a_network_learns_small_differences_on_a_large_offset(tmp_path):
    expected, _, _ = trained(ENERGIES)
    found, _, model = trained(ENERGIES + 1e8, folder=tmp_path)
    np.testing.assert_allclose(found - 1e8, expected, atol=1e-4)
    assert len(np.unique(found)) == len(np.unique(expected))
    loaded = load(tmp_path / "best.ckpt")
    assert loaded.target_scaler.mean.dtype == torch.float64
    torch.testing.assert_close(loaded.target_scaler.mean, model.target_scaler.mean, rtol=0, atol=0)
    np.testing.assert_array_equal(predict(loaded, graphs(ENERGIES))["energy"], found)


def test_labels_stay_different_until_they_are_standardised():
    crystals = graphs(ENERGIES + 1e8)
    np.testing.assert_array_equal(crystals.targets[:, 0], ENERGIES + 1e8)
    scaled = TargetScaler(1).fit(crystals).standardised(crystals)
    batch = scaled.batch(range(24))
    assert batch.y.dtype == torch.float32
    np.testing.assert_allclose(batch.y[:, 0], (ENERGIES - ENERGIES.mean()) / ENERGIES.std(), atol=1e-6)


def test_a_label_that_is_beyond_all_others_is_named():
    targets = ENERGIES * 1e-30
    targets[20] = 1e30
    with pytest.raises(ValueError, match=r"energy: row 4 \(id '20'\) is 1e\+30; .* for single precision"):
        trained(targets)


# --- forests ---

FEATURES = magpie(bundled(24)["structure"]).to_numpy()
SMALL = {"n_estimators": 20, "random_state": 0}


def test_on_ordinary_targets_the_forest_is_that_of_scikit_learn():
    for targets in (ENERGIES, ENERGIES * 37.3 - 100, ENERGIES.round(1), np.zeros(24)):
        ours, theirs = Forest(**SMALL).fit(FEATURES, targets), RandomForestRegressor(**SMALL).fit(FEATURES, targets)
        np.testing.assert_array_equal(ours.predict(FEATURES), theirs.predict(FEATURES))


@pytest.mark.parametrize("power", [-100, 100])
def test_a_forest_is_the_same_in_any_unit(power):
    unit = 2.0**power  # exact, so that rounding decides between no two splits
    expected = Forest(**SMALL).fit(FEATURES, ENERGIES)
    found = Forest(**SMALL).fit(FEATURES, ENERGIES * unit)
    np.testing.assert_array_equal(found.predict(FEATURES) / unit, expected.predict(FEATURES))
    flat = FlatForest.of(found, ["energy"])
    np.testing.assert_allclose(flat.predict(FEATURES)[:, 0], found.predict(FEATURES), rtol=1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_a_forest_learns_in_any_unit_and_on_an_offset(unit):
    both = np.stack([ENERGIES * unit, ENERGIES + 1e8], axis=1)
    forest = Forest(**SMALL).fit(FEATURES, both)
    for values in (forest.predict(FEATURES), FlatForest.of(forest, ["a", "b"]).predict(FEATURES)):
        for predicted in (values[:, 0] / unit, values[:, 1] - 1e8):
            assert np.abs(predicted - ENERGIES).mean() < 0.5 * np.abs(ENERGIES - ENERGIES.mean()).mean()


def test_out_of_fold_predictions_on_an_offset():
    frame = bundled(24)
    expected = fit_forest(frame["structure"], frame[TARGET]).out_of_fold
    found = fit_forest(frame["structure"], frame[TARGET] + 1e8).out_of_fold - 1e8
    assert np.abs(found - expected).max() < frame[TARGET].std()
    assert found.nunique() > 12
