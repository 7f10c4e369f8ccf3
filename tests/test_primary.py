"""The primary comparisons, on made-up runs whose differences are known."""

import numpy as np
import pandas as pd
import pytest

from course_lib.experiments.analysis import corrected_interval, detectable_difference
from course_lib.experiments.primary import COMPARISONS, primary_differences, summarize_comparisons
from course_lib.experiments.studies import PRIMARY

ENERGY = "formation_energy_per_atom"
CRYSTALS = [f"crystal {k}" for k in range(20)]
OFF = {
    "cgcnn": 0.30, "early_fusion": 0.32, "cgcnn_chemistry": 0.25, "alignn_chemistry": 0.15, "kernel_ridge": 0.28,
    "kernel_ridge_composition": 0.50, "kernel_ridge_structure": 0.40, "pretrained_references": 0.12,
    "delta_learning": 0.10,
}  # fmt: skip
"""By how much each method is wrong on every crystal, in eV/atom."""


@pytest.fixture
def y():
    return pd.Series(np.linspace(-1.0, 1.0, 20), CRYSTALS)


@pytest.fixture
def runs(y):
    """Five repeats of five folds of four crystals. Seeds of ALIGNN err by 0.2 on either side, kernel ridge above."""
    rows = []
    for fold in range(25):
        ids = CRYSTALS[fold % 5 :: 5]
        for name in PRIMARY:
            n_seeds = 3 if fold < 5 else 2 if name == "alignn" else 1
            for seed in range(n_seeds):
                error = (0.2, -0.1, 0.2)[seed] if name == "alignn" else OFF[name] + 0.001 * fold
                predictions = (y[ids] + error).tolist()
                row = {"method": name, "split": "formula", "fold": fold, "seed": seed, "target": ENERGY, "ids": ids}
                rows.append(row | {"predictions": predictions, "mae": abs(error), "seconds": 1.0, "ratio": 0.15})
    return pd.DataFrame(rows)


def test_each_comparison_takes_the_runs_that_the_protocol_names(runs, y):
    found = primary_differences(pd.concat([runs, runs.assign(split="random", mae=9.0)]), y)
    assert list(found) == list(COMPARISONS)
    assert len(found) == 25
    fold = 0.001 * np.arange(25)
    alignn = np.where(np.arange(25) < 5, 0.5 / 3, 0.3 / 2)
    assert found["early_fusion", "cgcnn"].to_numpy() == pytest.approx(np.full(25, 0.02))
    assert found["cgcnn_chemistry", "cgcnn"].to_numpy() == pytest.approx(np.full(25, -0.05))
    assert found["alignn_chemistry", "alignn"].to_numpy() == pytest.approx(0.15 + fold - alignn)
    assert found["kernel_ridge", "the better view"].to_numpy() == pytest.approx(np.full(25, -0.12))
    assert found["delta_learning", "pretrained_references"].to_numpy() == pytest.approx(np.full(25, -0.02))


def test_a_blend_is_made_of_each_seed_and_compared_with_two_seeds_averaged(runs, y):
    """One seed errs to the same side as kernel ridge, so its best blend is the seed; the other's errors cancel."""
    blend = primary_differences(runs, y)["alignn_kernel_ridge", "alignn_ensemble"]
    ensemble = abs(0.2 - 0.1) / 2
    of_seeds = np.array([0.2, 0.0])  # alpha is exact where the other four folds have the same errors
    assert blend.iloc[5:].to_numpy() == pytest.approx(np.full(20, of_seeds.mean() - ensemble), abs=2e-3)
    assert blend.iloc[:5].to_numpy() == pytest.approx(np.full(5, 0.4 / 3 - ensemble), abs=2e-3)


def test_a_missing_fold_is_named(runs, y):
    lacking = runs[~((runs["method"] == "delta_learning") & (runs["fold"] == 7))]
    with pytest.raises(
        ValueError, match=r"no run of delta_learning on fold 7 by formula\. Run it: python -m course_lib"
    ):
        primary_differences(lacking, y)


def test_comparisons_are_summed_up_with_a_level_for_their_number():
    rng = np.random.default_rng(0)
    differences = pd.DataFrame(
        {"better": rng.normal(-1, 0.1, 25), "worse": rng.normal(1, 0.1, 25), "nothing": rng.normal(0.02, 1, 25)}
    )
    found = summarize_comparisons(differences, ratio=0.15)
    assert found["verdict"].tolist() == ["shown better", "shown worse", "not shown"]
    values, level = differences["nothing"].to_numpy(), 1 - 0.05 / 3
    assert tuple(found.loc["nothing", ["low", "high"]]) == pytest.approx(corrected_interval(values, level, 0.15))
    assert found.loc["nothing", "detectable"] == pytest.approx(detectable_difference(values, level, 0.15))
    assert found.loc["nothing", "mean"] == pytest.approx(values.mean())
