"""The comparison of methods: honest pairs, an honest interval, runs that survive being killed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from course_lib import experiments
from course_lib.datasets import load_dataset
from course_lib.experiments import (
    METHODS,
    compare,
    corrected_interval,
    level_and_difference_errors,
    load_results,
    paired_differences,
    summarize_differences,
)


def table(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Runs of some methods on two folds with two seeds each: errors in the order (fold, seed)."""
    return pd.DataFrame(
        [
            {"method": method, "split": "random", "fold": fold, "seed": seed, "mae": values[2 * fold + seed]}
            for method, values in errors.items()
            for fold in range(2)
            for seed in range(2)
        ]
    )


def test_differences_are_taken_run_by_run_and_averaged_over_seeds():
    runs = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]})
    shuffled = runs.sample(frac=1, random_state=0)
    got = paired_differences(shuffled, "b").set_index("fold")["difference"]
    assert got.to_dict() == {0: pytest.approx((0.5 + 1.0) / 2), 1: pytest.approx((0.0 - 2.0) / 2)}


def test_a_missing_run_is_named():
    runs = table({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}).drop(index=3)
    with pytest.raises(ValueError, match="split 'random', fold 1, seed 1"):
        paired_differences(runs, "b")
    with pytest.raises(ValueError, match="no runs of 'c'; there are runs of a, b"):
        paired_differences(runs, "c")


def test_interval_is_the_wider_of_two():
    differences = np.array([0.1, 0.3, -0.1, 0.2, 0.4])
    low, high = corrected_interval(differences)
    plain = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (low + high) / 2 == pytest.approx(differences.mean())
    # 1/5 becomes 1/5 + 1/4: the interval grows by the root of their ratio.
    assert (high - low) / (plain.high - plain.low) == pytest.approx(np.sqrt(0.45 / 0.2))
    with pytest.raises(ValueError, match="at least 2"):
        corrected_interval(differences[:1])


def test_summary_is_mean_and_interval_of_the_differences():
    runs = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]})
    row = summarize_differences(runs, "b").loc[("random", "a")]
    assert row["mean"] == pytest.approx((0.75 - 1.0) / 2)
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(np.array([0.75, -1.0])))


def test_level_and_difference_by_hand():
    crystals = pd.DataFrame(
        {"formula": ["AB", "AB", "CD", "CD", "EF"], "energy": [1.0, 3.0, 0.0, 0.0, 9.0]}, index=list("pqrst")
    )
    # AB: level right, difference 2 too small; CD: level 0.5 too high, difference right; EF has no polymorph.
    run = {"method": "m", "split": "formula", "fold": 0, "seed": 0, "target": "energy", "ids": list("tqrsp")}
    runs = pd.DataFrame([run | {"predictions": [0.0, 2.0, 0.5, 0.5, 2.0]}])
    got = level_and_difference_errors(runs, crystals).set_index("split")["mae"]
    assert got["level"] == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)
    assert got["difference"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    with pytest.raises(ValueError, match="'random' folds tear polymorphs apart"):
        level_and_difference_errors(runs.assign(split="random"), crystals)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Forty crystals, two methods that learn for a moment, and a folder of their own for the results."""
    frame = load_dataset("pbe_prototypes").iloc[:40]
    config = experiments.FitConfig
    monkeypatch.setattr(experiments, "load_dataset", lambda name: frame)
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    monkeypatch.setattr(experiments, "METHODS", ("random_forest", "early_fusion"))
    monkeypatch.setattr(experiments, "FitConfig", lambda seed: config(epochs=1, seed=seed))
    return frame


def test_killed_comparison_goes_on_where_it_was(small, tmp_path, capsys):
    compare("small", "formation_energy_per_atom", seeds=1)
    whole = load_results("small")
    assert len(whole) == 2 * 5 * 2
    path = tmp_path / "comparison_small.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:13]) + "\n" + lines[13][:40])  # killed while it wrote the fourteenth
    capsys.readouterr()
    compare("small", "formation_energy_per_atom", seeds=1)
    assert f"13 of {len(whole)} runs are recorded" in capsys.readouterr().out
    key = ["method", "split", "fold", "seed"]
    again = load_results("small").set_index(key).sort_index()
    before = whole.set_index(key).sort_index()
    pd.testing.assert_series_equal(again["mae"], before["mae"])
    assert again["predictions"].equals(before["predictions"])


def test_runs_on_other_data_are_dropped(small, tmp_path):
    key = dict(dataset="small", target="formation_energy_per_atom", method="cgcnn", split="random", seed=0)
    records = [key | {"fold": 0, "data_sha256": "other"}, key | {"fold": 1, "data_sha256": small.attrs["sha256"]}]
    path = tmp_path / "comparison_small.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert experiments._recorded("small", small.attrs["sha256"]) == {experiments.Run(**key, fold=1)}
    assert load_results("small")["fold"].tolist() == [1], "the line is gone from the file"


def test_results_that_nobody_recorded():
    with pytest.raises(FileNotFoundError, match="python -m course_lib"):
        load_results("nothing")


def test_bundled_results_belong_to_the_bundled_crystals():
    runs = load_results("pbe_prototypes")
    crystals = load_dataset("pbe_prototypes")
    assert set(runs["data_sha256"]) == {crystals.attrs["sha256"]}
    assert not runs.duplicated(["method", "split", "fold", "seed"]).any()
    assert (runs.groupby(["method", "split"]).size() >= 15).all(), "five folds, three seeds"
    assert set(runs["method"]) == set(METHODS)
    for run in runs.itertuples():
        error = (crystals.loc[run.ids, run.target] - np.array(run.predictions)).abs().mean()
        assert run.mae == pytest.approx(error, abs=2e-4)
