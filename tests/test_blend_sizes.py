"""Blends of runs on crystals that the project does not hold are recorded with their errors alone."""

from __future__ import annotations

import blend_sizes
import numpy as np
import pandas as pd
import pytest

from course_lib.experiments import records
from course_lib.experiments.analysis import summarize_differences
from course_lib.experiments.studies import AT_SIZES, ENERGY, Run

METHODS_OF_BLENDS = ("random_forest", "cgcnn", "cgcnn_chemistry", "kernel_ridge", "alignn")


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """Crystals and runs of two sizes, three seeds and five folds, in the form of `load_results`."""
    rng = np.random.default_rng(0)
    crystals = pd.DataFrame({ENERGY: rng.normal(size=40)}, index=[f"crystal-{k}" for k in range(40)])
    crystals.attrs["name"] = "somewhere/made_up.json.gz"
    rows = []
    for fold in range(5):
        y = crystals[ENERGY].iloc[fold::5]
        for method in METHODS_OF_BLENDS:
            for seed in range(3):
                for size in (10, 20):
                    run = Run(ENERGY, method, "formula", fold, seed, n_train=size, settings=(("epochs", size),))
                    predictions = y + rng.normal(size=len(y)) / size
                    details = {"configuration": {"epochs": size}, "seconds": 1.0, "n_parameters": None}
                    details |= {"best_epoch": None, "n_learned": size, "ratio": 0.15, "data_sha256": "data"}
                    details |= {"version": "0", "commit": None, "code_sha256": records.code_of(method)}
                    details |= {"task": ENERGY, "ids": list(y.index), "mae": (predictions - y).abs().mean()}
                    rows.append(vars(run) | {"settings": dict(run.settings), "predictions": [*predictions]} | details)
    runs = pd.DataFrame(rows)
    monkeypatch.setattr(blend_sizes, "load_dataset", lambda name: crystals)
    monkeypatch.setattr(blend_sizes, "load_results", lambda name, study, crystals: runs)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    return crystals, runs


def test_blends_are_recorded_without_predictions(made_up):
    crystals, runs = made_up
    blend_sizes.main("made_up.json.gz")
    got = records.load_results("made_up", "sizes_and_blends")  # a warning about other code would be an error here
    assert got["predictions"].isna().all()
    assert "crystal-1" not in records.results_file("made_up", "sizes_and_blends").read_text()
    keys = ["method", "fold", "seed", "n_train"]
    trained = got[got["method"].isin(METHODS_OF_BLENDS)].set_index(keys)
    pd.testing.assert_frame_equal(
        trained[["mae", "settings", "configuration", "ratio"]],
        runs.set_index(keys)[["mae", "settings", "configuration", "ratio"]],
    )
    counts = got["method"].value_counts()
    assert (counts[[*blend_sizes.BLENDS]] == 2 * 3 * 5).all()
    assert (counts[[*blend_sizes.CONTROLS]] == 2 * 5).all()
    three = got[(got["method"] == "alignn_three") & (got["fold"] == 2) & (got["n_train"] == 20)]
    of_seeds = runs[(runs["method"] == "alignn") & (runs["fold"] == 2) & (runs["n_train"] == 20)]
    mean = np.mean([*of_seeds["predictions"]], axis=0)
    assert three["mae"].item() == pytest.approx(np.abs(mean - crystals[ENERGY].iloc[2::5]).mean())
    assert three["configuration"].item() == {}


def test_intervals_have_the_ratio_of_the_folds(made_up):
    blend_sizes.main("made_up.json.gz")
    got = records.load_results("made_up", "sizes_and_blends")
    of_size = got[got["n_train"] == 20]
    table = summarize_differences(of_size, "alignn_ensemble")
    pd.testing.assert_frame_equal(table, summarize_differences(of_size.assign(ratio=0.15), "alignn_ensemble"))
    assert not table.equals(summarize_differences(of_size.drop(columns="ratio"), "alignn_ensemble"))


def test_all_that_is_blended_is_trained():
    parts = {name for method in (*blend_sizes.BLENDS, *blend_sizes.CONTROLS) for name in records.METHODS[method].blends}
    assert parts == set(METHODS_OF_BLENDS) <= set(AT_SIZES)
