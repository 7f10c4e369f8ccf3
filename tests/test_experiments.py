"""The comparison of methods: honest pairs, an honest interval, runs that survive being killed."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from forked import fork, wait
from scipy import stats

from course_lib.composition import magpie
from course_lib.datasets import Fold, folds, load_dataset
from course_lib.experiments import records, runs
from course_lib.experiments.__main__ import main
from course_lib.experiments.analysis import (
    best_settings,
    between_and_within_formula_errors,
    corrected_interval,
    detectable_difference,
    detectable_differences,
    errors_by_crystal,
    left_out_errors,
    negative_transfer,
    paired_differences,
    pareto_front,
    summarize_differences,
    task_correlation,
    training_set_size,
    with_ensemble,
    with_late_fusion,
)
from course_lib.experiments.protocol import N_FOLDS, N_REPEATS, folds_of, set_aside, with_fewer
from course_lib.experiments.records import load_results
from course_lib.experiments.runs import run_study
from course_lib.experiments.studies import (
    ADDED,
    AT_SIZES,
    GRIDS,
    N_TRIALS,
    PRIMARY,
    STUDIES,
    Run,
    Study,
    _grid_of,
    at_an_end,
    few_crystals,
    trials,
    tuned,
)
from course_lib.files import with_checksum
from course_lib.graphs import CrystalGraphs
from course_lib.late_fusion import optimal_alpha, optimal_weights
from course_lib.methods import METHODS, trained, twins


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
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]})
    shuffled = results.sample(frac=1, random_state=0)
    got = paired_differences(shuffled, "b").set_index("fold")["difference"]
    assert got.to_dict() == {0: pytest.approx((0.5 + 1.0) / 2), 1: pytest.approx((0.0 - 2.0) / 2)}


def test_methods_may_have_different_numbers_of_seeds():
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]}).drop(index=7)
    got = paired_differences(results, "b").set_index("fold")["difference"]
    assert got.to_dict() == {0: pytest.approx(2.0 - 1.25), 1: pytest.approx(11.0 - 10.0)}


def test_differences_keep_the_order_of_the_runs():
    runs = table({name: [1, 2, 3, 4] for name in "bza"})
    both = pd.concat([runs, runs.assign(split="formula")])
    got = paired_differences(both, "z")
    assert got["method"].unique().tolist() == ["b", "a"]
    assert got["split"].unique().tolist() == ["random", "formula"]
    summary = summarize_differences(both, "z")
    assert list(summary.index) == [(split, name) for name in "ba" for split in ("random", "formula")]


def test_a_missing_run_is_named():
    results = table({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}).drop(index=[2, 3])
    with pytest.raises(ValueError, match="split 'random', fold 1"):
        paired_differences(results, "b")
    sizes = pd.concat([results, results.assign(n_train=50)])
    with pytest.raises(ValueError, match=r"two runs of 'a' for split 'random', fold 0, seed 0.*number of training cry"):
        paired_differences(sizes, "b")
    with pytest.raises(ValueError, match="no runs of 'c'; the recorded methods are a, b"):
        paired_differences(results, "c")


def test_interval_is_the_wider_of_two():
    differences = np.array([0.1, 0.3, -0.1, 0.2, 0.4])
    low, high = corrected_interval(differences)
    plain = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (low + high) / 2 == pytest.approx(differences.mean())
    # 1/5 becomes 1/5 + 1/4: the interval grows by the root of their ratio.
    assert (high - low) / (plain.high - plain.low) == pytest.approx(np.sqrt(0.45 / 0.2))
    with pytest.raises(ValueError, match="at least 2"):
        corrected_interval(differences[:1])


def test_interval_with_the_true_ratio_of_the_sizes():
    """Against Student's t, whose variance is multiplied by 1 + k n_test / n_train."""
    differences = np.random.default_rng(0).normal(0.3, 1.0, 25)
    low, high = corrected_interval(differences, 0.99, ratio=0.15)
    plain = stats.ttest_1samp(differences, 0.0).confidence_interval(0.99)
    assert (high - low) / (plain.high - plain.low) == pytest.approx(np.sqrt(1 + 25 * 0.15))


def test_interval_of_equal_differences_has_no_width():
    assert corrected_interval(np.full(5, 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize(("k", "level"), [(25, 0.95), (25, 1 - 0.05 / 6), (5, 0.95)])
def test_detectable_difference_is_detected_in_four_of_five_studies(k, level):
    """Studies are simulated that differ by it, all with one spread."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20000, k))
    errors = noise.std(axis=1, ddof=1) / np.sqrt(k)
    half_width = stats.t.ppf((1 + level) / 2, k - 1) * errors
    unit = np.sqrt(k) * detectable_difference(np.array([-1.0, 1.0] * (k // 2) + [0.0] * (k % 2)), level, ratio=0.0)
    spread = np.std([-1.0, 1.0] * (k // 2) + [0.0] * (k % 2), ddof=1)
    seen = noise.mean(axis=1) + unit / spread / np.sqrt(k) > half_width
    assert seen.mean() == pytest.approx(0.8, abs=0.03)


def test_ratio_of_the_recorded_folds_enters_the_interval():
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]}).assign(ratio=0.1)
    row = summarize_differences(results, "b").loc[("random", "a")]
    differences = np.array([0.75, -1.0])
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(differences, ratio=0.1))
    found = detectable_differences(results, "b", 0.9).loc[("random", "a")]
    assert found == pytest.approx(detectable_difference(differences, 0.9, ratio=0.1))


def test_intervals_and_detectable_differences_are_those_of_one_comparison_by_default():
    differences = np.array([0.1, 0.3, -0.2, 0.4])
    assert corrected_interval(differences) == corrected_interval(differences, 0.95)
    assert detectable_difference(differences) == detectable_difference(differences, 0.95)


def test_summary_is_mean_and_interval_of_the_differences():
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]})
    row = summarize_differences(results, "b").loc[("random", "a")]
    assert row["mean"] == pytest.approx((0.75 - 1.0) / 2)
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(np.array([0.75, -1.0])))


def test_the_more_methods_are_compared_the_higher_the_level_of_each_interval():
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0], "c": [1.0, 1.0, 9.0, 9.0]})
    row = summarize_differences(results, "b").loc[("random", "a")]
    differences = np.array([0.75, -1.0])
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(differences, 1 - 0.05 / 2))
    on_both_splits = pd.concat([results, results.assign(split="formula")])
    row = summarize_differences(on_both_splits, "b").loc[("random", "a")]
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(differences, 1 - 0.05 / 4))
    expected = detectable_difference(differences, 1 - 0.05 / 4)
    detectable = detectable_differences(on_both_splits, "b")
    assert detectable[("random", "a")] == pytest.approx(expected)
    assert detectable.name == "detectable"  # a column, where tables are joined
    row = summarize_differences(results, "b", 0.95).loc[("random", "a")]
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(differences))


def test_errors_between_and_within_formulas_by_hand():
    crystals = pd.DataFrame(
        {"formula": ["AB", "AB", "CD", "CD", "EF"], "energy": [1.0, 3.0, 0.0, 0.0, 9.0]}, index=list("pqrst")
    )
    # AB: mean right, difference 2 too small; CD: mean 0.5 too high, difference right; EF has no polymorph.
    run = {"method": "m", "split": "formula", "fold": 0, "seed": 0, "target": "energy", "ids": list("tqrsp")}
    results = pd.DataFrame([run | {"predictions": [0.0, 2.0, 0.5, 0.5, 2.0]}])
    got = between_and_within_formula_errors(results, crystals).set_index("split")["mae"]
    assert got["between formulas"] == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)
    assert got["within a formula"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    with pytest.raises(ValueError, match="'random' folds split polymorphs across folds"):
        between_and_within_formula_errors(results.assign(split="random"), crystals)


def blendable(seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Runs of the two parents on two folds with two seeds, and the true values."""
    rng = np.random.default_rng(seed)
    y = pd.Series(rng.normal(size=20), index=[f"crystal-{k}" for k in range(20)])
    parts = [y.index[:8].tolist(), y.index[8:].tolist()]
    rows = [
        {"target": "energy", "method": method, "split": "random", "fold": fold, "seed": seed, "seconds": 2.0}
        | {"ids": ids, "predictions": (y[ids] + noise * rng.normal(size=len(ids))).tolist()}
        for method, noise in (("random_forest", 0.5), ("cgcnn", 0.3))
        for fold, ids in enumerate(parts)
        for seed in range(2)
    ]
    results = pd.DataFrame(rows)
    results["mae"] = [(y[run.ids] - run.predictions).abs().mean() for run in results.itertuples()]
    return results, y


def test_late_fusion_takes_its_weight_from_the_other_folds():
    results, y = blendable()
    blended = with_late_fusion(results, y)
    late = blended[blended["method"] == "late_fusion"].set_index(["fold", "seed"])
    assert len(late) == 4
    assert late["seconds"].eq(4.0).all()
    pd.testing.assert_frame_equal(blended.iloc[: len(results)][results.columns], results)

    def predictions(method, fold, seed):
        return next(
            pd.Series(run.predictions, run.ids)
            for run in results.itertuples()
            if (run.method, run.fold, run.seed) == (method, fold, seed)
        )

    for fold, seed in late.index:
        first, second = (predictions(method, 1 - fold, seed) for method in ("random_forest", "cgcnn"))
        alpha = optimal_alpha(y[first.index], first, second)
        assert late.loc[(fold, seed), "alpha"] == pytest.approx(alpha)
        here = [predictions(method, fold, seed) for method in ("random_forest", "cgcnn")]
        expected = alpha * here[0] + (1 - alpha) * here[1]
        assert late.loc[(fold, seed), "ids"] == list(expected.index)
        assert late.loc[(fold, seed), "predictions"] == pytest.approx(expected.tolist())
        assert late.loc[(fold, seed), "mae"] == pytest.approx((expected - y[expected.index]).abs().mean())
    both = with_late_fusion(pd.concat([results, results.assign(split="formula")]), y)
    assert both.index.tolist() == list(range(len(both)))
    assert both.query("method == 'late_fusion'")["split"].unique().tolist() == ["random", "formula"]


def of_five(methods: dict[str, float]) -> tuple[pd.DataFrame, pd.Series]:
    """Runs of some methods, by the noise of their predictions, on two repeats of five folds with two seeds."""
    rng = np.random.default_rng(1)
    y = pd.Series(rng.normal(size=50), index=[f"crystal-{k}" for k in range(50)])
    rows = [
        {"target": "energy", "method": method, "split": "formula", "fold": fold, "seed": seed, "seconds": 1.0}
        | {
            "ids": list(y.index[fold % 5 :: 5]),
            "predictions": (y[fold % 5 :: 5] + noise * rng.normal(size=10)).tolist(),
        }
        for method, noise in methods.items()
        for fold in range(10)
        for seed in range(2)
    ]
    results = pd.DataFrame(rows)
    results["mae"] = [(y[run.ids] - run.predictions).abs().mean() for run in results.itertuples()]
    return results, y


def test_three_are_blended_within_each_repeat():
    results, y = of_five({"kernel_ridge": 0.5, "cgcnn_chemistry": 0.4, "alignn": 0.3})
    blended = with_late_fusion(results, y, "three_blended").set_index(["method", "fold", "seed"])
    got = blended.loc[("three_blended", 7, 1)]
    names = METHODS["three_blended"].blends
    others = {
        name: pd.concat([pd.Series(*blended.loc[(name, fold, 1), ["predictions", "ids"]]) for fold in (5, 6, 8, 9)])
        for name in names
    }
    weights = optimal_weights(y[others[names[0]].index], others)
    expected = sum(weights[name] * np.array(blended.loc[(name, 7, 1), "predictions"]) for name in names)
    assert got["predictions"] == pytest.approx(expected.tolist())
    assert got["alpha"] == pytest.approx(weights[names[0]])
    assert len(blended.loc["three_blended"]) == 20


def test_sizes_of_training_sets_are_blended_apart():
    results, y = blendable()
    fewer = results.assign(n_train=50.0, predictions=[[2 * value for value in run] for run in results["predictions"]])
    both = with_late_fusion(pd.concat([results.assign(n_train=np.nan), fewer]), y)
    for of_size, size in ((results, np.nan), (fewer, 50.0)):
        apart = with_late_fusion(of_size.assign(n_train=size), y).query("method == 'late_fusion'")
        found = both[both["n_train"].isna() if np.isnan(size) else both["n_train"] == size]
        found = found.query("method == 'late_fusion'")
        pd.testing.assert_frame_equal(found.reset_index(drop=True), apart.reset_index(drop=True))


def test_a_blend_needs_all_its_parts():
    results, y = of_five({"kernel_ridge": 0.5, "alignn": 0.3})
    some = results[~((results["method"] == "alignn") & (results["fold"] == 8))]
    blended = with_late_fusion(some, y, "alignn_kernel_ridge")
    assert set(blended.loc[blended["method"] == "alignn_kernel_ridge", "fold"]) == set(range(5))
    alone = results[(results["method"] == "alignn") & (results["fold"] == 0)]
    with pytest.raises(ValueError, match=r"needs runs of kernel_ridge and alignn .*runs of alignn\."):
        with_late_fusion(alone, y, "alignn_kernel_ridge")


def test_folds_that_are_no_cross_validation_are_not_blended():
    """A crystal of two elements is judged twice where elements are left out."""
    results, y = of_five({"kernel_ridge": 0.5, "alignn": 0.3})
    elements = results.assign(split="element", ids=[list(y.index[:10])] * len(results))
    with pytest.raises(ValueError, match="on the same folds of a cross-validation"):
        with_late_fusion(elements, y, "alignn_kernel_ridge")


def test_ensemble_is_the_mean_over_the_seeds():
    results, y = of_five({"alignn": 0.3, "cgcnn": 0.5})
    both = with_ensemble(results, y, "alignn").set_index(["method", "fold", "seed"])
    got = both.loc[("alignn_ensemble", 3, 0)]
    mean = np.mean([both.loc[("alignn", 3, seed), "predictions"] for seed in range(2)], axis=0)
    assert pd.Series(got["predictions"], got["ids"])[y.index[3::5]].tolist() == pytest.approx(mean.tolist())
    assert got["mae"] == pytest.approx(np.abs(mean - y[3::5]).mean())
    assert got["seconds"] == 2.0
    assert len(both.loc["alignn_ensemble"]) == 10
    backwards = with_ensemble(results[::-1], y, "alignn")
    assert backwards.index.tolist() == list(range(len(backwards)))
    folds = backwards["fold"]
    ensemble = backwards["method"] == "alignn_ensemble"
    assert folds[ensemble].tolist() == folds[~ensemble].drop_duplicates().tolist()  # in the order of the runs
    sizes = pd.concat([results.assign(n_train=size) for size in (50, np.nan)])
    assert (with_ensemble(sizes, y, "alignn")["method"] == "alignn_ensemble").sum() == 20
    third = results[results["seed"] == 0].assign(seed=2)
    more = with_ensemble(pd.concat([results, third]), y, "alignn").set_index(["method", "fold", "seed"])
    assert more.loc[("alignn_ensemble", 3, 0), "predictions"] == pytest.approx(got["predictions"])


def test_several_targets_are_not_mixed():
    results, y = blendable()
    both = pd.concat([results, results.assign(target="gap")])
    for compare in (
        lambda: with_late_fusion(both, y),
        lambda: with_ensemble(both, y, "cgcnn"),
        lambda: errors_by_crystal(both, y, "random"),
        lambda: paired_differences(both, "cgcnn"),
    ):
        with pytest.raises(ValueError, match="there are runs on energy, gap; choose those on one"):
            compare()


def test_errors_by_crystal_are_means_over_seeds():
    results, y = blendable()
    errors = errors_by_crystal(results, y, "random")
    assert list(errors.columns) == ["random_forest", "cgcnn"]
    assert set(errors.index) == set(y.index)
    of_fold = results[(results["method"] == "cgcnn") & (results["fold"] == 1)]
    position = of_fold["ids"].iloc[0].index("crystal-9")
    mean = np.mean([values[position] for values in of_fold["predictions"]])
    assert errors.loc["crystal-9", "cgcnn"] == pytest.approx(mean - y["crystal-9"])
    more = pd.concat([y, pd.Series({"not predicted": 0.0})])
    pd.testing.assert_frame_equal(errors_by_crystal(results, more, "random"), errors)


def test_errors_on_what_is_left_out_by_hand():
    crystals = pd.DataFrame({"energy": [0.0, 1.0, 2.0], "prototype": ["b", "a", "b"]}, index=["B2", "A1", "B1"])
    run = {"method": "m", "target": "energy", "seed": 0}
    of_folds = pd.DataFrame(
        [
            run | {"split": "formula", "fold": 0, "ids": ["B2", "A1"], "predictions": [0.5, 0.0]},
            run | {"split": "formula", "fold": 1, "ids": ["B1"], "predictions": [4.0]},
            run | {"split": "formula", "fold": 1, "ids": ["B1"], "predictions": [1.0], "seed": 1},
            run | {"split": "random", "fold": 0, "ids": ["B2", "A1"], "predictions": [99.0, 99.0]},
        ]
    )
    left_out = pd.DataFrame(
        [
            run | {"split": "prototype", "fold": 0, "ids": ["A1"], "mae": 3.0},
            run | {"split": "prototype", "fold": 1, "ids": ["B2", "B1"], "mae": 5.0},
        ]
    )
    got = left_out_errors(left_out, of_folds, crystals)
    assert got.to_dict("records") == [
        {"split": "prototype", "name": "a", "method": "m", "known": 1.0, "new": 3.0},
        {"split": "prototype", "name": "b", "method": "m", "known": pytest.approx((0.5 + 1.5) / 2), "new": 5.0},
    ]
    with pytest.raises(ValueError, match=r"crystal 'A1' has no test prediction of other on folds by formula\. Give"):
        left_out_errors(left_out.assign(method="other"), of_folds, crystals)
    with pytest.raises(ValueError, match="there are runs on energy, gap; choose those on one"):
        left_out_errors(left_out, pd.concat([of_folds, of_folds.assign(target="gap")]), crystals)


def test_front_holds_what_nothing_beats():
    table = pd.DataFrame({"mae": [1.0, 2.0, 3.0, 2.5, 1.0], "seconds": [9.0, 4.0, 1.0, 5.0, 9.0]}, index=list("abcde"))
    # d is worse than b in both, f as fast and worse; a and e are equal, so neither beats the other.
    table.loc["f"] = [2.1, 4.0]
    front = pareto_front(table, ["mae", "seconds"])
    assert front.to_dict() == dict(a=True, b=True, c=True, d=False, e=True, f=False)
    assert front.name == "on_front"


def test_nearly_equal_training_sets_have_one_size():
    runs = pd.DataFrame({"n_learned": [200, 1610, 100, 1590, 205, 1600]}, index=list("abcdef"))
    assert training_set_size(runs).to_dict() == {"a": 202.5, "b": 1600, "c": 100, "d": 1600, "e": 202.5, "f": 1600}
    runs = pd.DataFrame({"n_learned": [1000, 1040, 1100]})  # the last is 4 % and 5.8 % larger
    assert training_set_size(runs).tolist() == [1020, 1020, 1100]
    assert training_set_size(pd.DataFrame({"n_learned": [100, 95]})).tolist() == [97.5, 97.5]  # 5 %, not more
    assert training_set_size(runs).name == "n_learned"


def test_negative_transfer_has_the_sign_of_harm():
    single = table({"gat": [1.0, 1.0, 1.0, 1.0], "megnet": [1.0, 1.1, 1.2, 1.3]})
    multi = table({"multitask_gat": [1.1, 1.2, 1.3, 0.9], "multitask_megnet": [0.9, 1.0, 1.1, 1.2]})
    got = negative_transfer(pd.concat([single, multi]).assign(target="gap"))
    assert got.loc[("gat", "gap", "random"), "mean"] == pytest.approx(0.125)
    assert got.loc[("gat", "gap", "random"), "share_worse"] == 0.75
    assert got.loc[("megnet", "gap", "random"), "mean"] == pytest.approx(-0.1)
    assert got.loc[("megnet", "gap", "random"), "share_worse"] == 0.0
    folds = np.array([0.15, 0.1])  # GAT: the mean over the seeds, two comparisons
    expected = corrected_interval(folds, 1 - 0.05 / 2)
    assert tuple(got.loc[("gat", "gap", "random"), ["low", "high"]]) == pytest.approx(expected)


def test_negative_transfer_keeps_the_order_of_the_targets_and_counts_no_ties():
    errors = {"gat": [1.0, 1.0, 1.0, 1.0], "multitask_gat": [1.0, 1.0, 1.2, 0.9], "megnet": [1.0] * 4}
    runs = table(errors | {"multitask_megnet": [1.0] * 4})
    got = negative_transfer(pd.concat([runs.assign(target=target) for target in ("gap", "energy")]))
    assert got.xs("gat").index.unique("target").tolist() == ["gap", "energy"]
    assert got.xs("gat")["share_worse"].tolist() == [0.25, 0.25]
    assert got.xs("megnet")["share_worse"].tolist() == [0.0, 0.0]
    expected = corrected_interval(np.array([0.0, 0.05]), 1 - 0.05 / 4)  # two trunks, two targets
    assert tuple(got.loc[("gat", "gap", "random"), ["low", "high"]]) == pytest.approx(expected)


def test_negative_transfer_needs_every_seed_of_both():
    runs = table({name: [1.0] * 4 for name in ("gat", "multitask_gat", "megnet", "multitask_megnet")})
    lacking = runs.drop(index=runs.index[(runs["method"] == "multitask_gat") & (runs["seed"] == 1)][1:])
    message = r"multitask_gat or gat has no run for split 'random', fold 1, seed 1\."
    with pytest.raises(ValueError, match=message):
        negative_transfer(lacking.assign(target="gap"))
    on_both = pd.concat([runs, runs.assign(split="formula")]).assign(target="gap")
    on_both["mae"] += 0.1 * on_both["fold"] * on_both["method"].eq("gat")
    got = negative_transfer(on_both).loc[("gat", "gap", "formula"), ["low", "high"]]
    assert tuple(got) == pytest.approx(corrected_interval(np.array([0.0, -0.1]), 1 - 0.05 / 4))


def test_task_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    crystals = pd.DataFrame({"a": x, "b": np.exp(0.5 * x + rng.normal(size=400))})
    crystals.loc[0, "b"] = np.nan
    got = task_correlation(crystals, "a", "b")
    known = crystals.dropna()
    assert got.loc["Pearson", "correlation"] == pytest.approx(stats.pearsonr(known["a"], known["b"])[0])
    assert got.loc["Spearman", "correlation"] == pytest.approx(stats.spearmanr(known["a"], known["b"])[0])
    for name, values in (("Pearson", known), ("Spearman", known.rank())):
        low, high = stats.bootstrap(
            (values["a"], values["b"]), lambda a, b: stats.pearsonr(a, b)[0], paired=True, n_resamples=2000,
            method="percentile", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        assert got.loc[name, ["low", "high"]].tolist() == pytest.approx([low, high], abs=1e-9)


TARGET = "formation_energy_per_atom"


@pytest.fixture(scope="module")
def crystals():
    return load_dataset("pbe_prototypes")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Forty crystals, a study of methods that learn for a moment, and a folder of their own for the results."""
    frame = load_dataset("pbe_prototypes").iloc[:40]
    frame.attrs["name"] = "small"
    short = (("epochs", 1),)

    def study(crystals):
        """Three methods."""
        both = f"{TARGET}+band_gap"
        named = [(TARGET, "random_forest", ()), (TARGET, "early_fusion", short), (both, "multitask_gat", short)]
        return [
            Run(target, method, split, fold, settings=settings)
            for split in ("random", "formula")
            for fold in range(5)
            for target, method, settings in named
        ]

    monkeypatch.setattr(runs, "load_dataset", lambda name: frame)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setitem(STUDIES, "study", Study(study))
    return frame


def test_killed_study_goes_on_where_it_was(small, tmp_path, capsys):
    run_study("study", "small")
    whole = load_results("small", "study")
    assert len(whole) == 4 * 5 * 2, "the multi-task runs have two targets"
    path = tmp_path / "study_small.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:13]) + "\n" + lines[13][:40])  # killed while it wrote the fourteenth
    capsys.readouterr()
    run_study("study", "small")
    assert "13 of 30 runs are recorded" in capsys.readouterr().out
    key = ["method", "split", "fold", "seed", "target"]
    again = load_results("small", "study").set_index(key).sort_index()
    before = whole.set_index(key).sort_index()
    pd.testing.assert_series_equal(again["mae"], before["mae"])
    assert again["predictions"].equals(before["predictions"])
    assert again["ids"].equals(before["ids"])


def test_recorded_predictions_belong_to_the_recorded_crystals(small):
    run_study("study", "small")
    for run in load_results("small", "study").itertuples():
        assert run.ids == small.index[folds_of(small, run.split)[run.fold].test].tolist()
        error = (small.loc[run.ids, run.target] - np.array(run.predictions)).abs().mean()
        assert run.mae == pytest.approx(error, abs=2e-4)
        assert run.seconds > 0
        assert run.n_learned == len(small) - len(run.ids)


def test_training_set_is_drawn_nested_and_never_from_the_test_set(small):
    fold = folds(small, kind="formula")[2]
    drawn = [with_fewer(fold, size, number=2) for size in (8, 16)]
    for size, part in zip((8, 16), drawn, strict=True):
        assert len(part.train) + len(part.validation) == size
        assert set(part.train) <= set(fold.train)
        assert set(part.validation) <= set(fold.validation)
        assert len(part.validation) >= 1
    assert set(drawn[0].train) <= set(drawn[1].train)
    assert with_fewer(fold, None, number=2) is fold
    assert set(with_fewer(fold, 8, number=7).train) != set(drawn[0].train)
    with pytest.raises(ValueError, match=r"n_train is 99, but fold 2 has .* training crystals"):
        with_fewer(fold, 99, number=2)


@pytest.mark.parametrize("part", ["test", "train", "validation"])
def test_predictions_of_a_smaller_training_set_belong_to_its_crystals(small, monkeypatch, part):
    """Whatever the method: seeds that are averaged must have been trained on the same crystals."""
    short = (("epochs", 1),)
    wanted = [Run(TARGET, "cgcnn", "formula", 2, part=part, n_train=8, settings=short)]
    wanted += [Run(TARGET, "early_fusion", "formula", 2, 1, part, 8, short), replace(wanted[0], n_train=None)]
    monkeypatch.setitem(STUDIES, "study", Study(lambda crystals: wanted))
    run_study("study", "small")
    first, second, whole = load_results("small", "study").itertuples()
    fold = folds_of(small, "formula")[2]
    assert first.ids == second.ids == small.index[getattr(with_fewer(fold, 8, 2), part)].tolist()
    assert whole.ids == small.index[getattr(fold, part)].tolist()
    for run in (first, second, whole):
        assert run.mae == pytest.approx((small.loc[run.ids, TARGET] - run.predictions).abs().mean(), abs=2e-4)


def test_tuning_reads_no_crystal_that_is_judged_elsewhere(crystals):
    tuned = STUDIES["tuning"].runs(crystals)
    assert {run.split for run in tuned} == {"tuning"}
    seen = np.unique(np.concatenate([np.concatenate(fold) for fold in folds_of(crystals, "tuning")]))
    for split in ("random", "formula", "element", "prototype"):
        assert not np.isin(seen, np.concatenate([fold.test for fold in folds_of(crystals, split)])).any()


def test_the_check_of_the_tuning_tries_the_same_settings_with_all_other_crystals(crystals):
    checked = STUDIES["tuning_check"].runs(crystals)
    for name in ("cgcnn", "early_fusion"):
        assert [dict(run.settings) for run in checked if run.method == name] == [*trials(name)]
    (fold,) = folds_of(crystals, "check")
    np.testing.assert_array_equal(np.sort(fold.test), np.flatnonzero(set_aside(crystals["formula"])))
    np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.arange(len(crystals)))


def test_every_method_gets_as_many_different_trials(crystals):
    tuned = pd.DataFrame(STUDIES["tuning"].runs(crystals))
    tuned["trial"] = tuned["settings"].map(str)
    counts = tuned.groupby("method")["trial"].nunique()
    without_settings = {"pretrained_references"}
    assert set(counts.index) == {name for name, one in trained().items() if one.tuned_as is None} - without_settings
    for name in counts.index:
        number = N_TRIALS + len(ADDED.get(_grid_of(name), ()))
        assert counts[name] == len({str(trial) for trial in trials(name)}) == number
        assert [*trials(name)] == [*trials(name)]
        for trial in trials(name):
            assert trial.keys() >= ({"epochs", "learning_rate", "weight_decay"} if METHODS[name].network else set())
    assert all("dropout" in trial for trial in trials("early_fusion"))
    drawn = [*trials("kernel_ridge")][:N_TRIALS]
    assert {trial["reach"] for trial in drawn} <= set(GRIDS["kernel_ridge"]["reach"])


def test_best_settings_at_an_end_are_found(monkeypatch):
    for grid in [*ADDED]:
        monkeypatch.delitem(ADDED, grid)
    inside = {"epochs": 100, "learning_rate": 0.005, "weight_decay": 1e-3}
    ridge = {"alpha": 1e-3, "reach": 4.0}
    assert at_an_end({"cgcnn": inside, "early_fusion": inside | {"dropout": 0.1}, "kernel_ridge": ridge}) == []
    natural = inside | {"epochs": 200, "weight_decay": 0.0, "dropout": 0.0}
    assert at_an_end({"early_fusion": natural, "random_forest": {"max_features": 1.0, "min_samples_leaf": 1}}) == []
    low, high = inside | {"epochs": 50, "learning_rate": 5e-4}, inside | {"weight_decay": 0.1}
    assert at_an_end({"gat": low, "delta_learning": ridge | {"reach": 32.0}, "cgcnn": high}) == [
        ("gat", "epochs"), ("gat", "learning_rate"), ("delta_learning", "reach"), ("cgcnn", "weight_decay"),
    ]  # fmt: skip
    before = {name: [*trials(name)] for name in ("kernel_ridge", "delta_learning", "cgcnn")}
    monkeypatch.setitem(ADDED, "kernel_ridge", (ridge | {"reach": 64.0},))
    assert at_an_end({"delta_learning": ridge | {"reach": 32.0}}) == []
    for name in ("kernel_ridge", "delta_learning"):  # they share the grid, and keep what was drawn
        assert [*trials(name)] == [*before[name], ridge | {"reach": 64.0}]
    assert [*trials("cgcnn")] == before["cgcnn"]


def test_methods_must_have_the_best_settings_of_the_tuning(monkeypatch):
    tried = [*trials("early_fusion")]
    best = next(k for k, trial in enumerate(tried) if not at_an_end({"early_fusion": trial}))
    tuning = pd.DataFrame([{"method": "early_fusion", "target": TARGET, "fold": 0}] * len(tried))
    tuning["settings"] = [dict(trial) for trial in tried]
    tuning["mae"] = [0.1 if k == best else 0.2 for k in range(len(tried))]
    wanted = [Run(TARGET, name, "formula", 0) for name in ("cgcnn", "early_fusion")]
    with pytest.raises(ValueError, match=r"early_fusion has not the best settings .*Give it \{'epochs'"):
        runs._check_tuned(wanted, tuning)
    arguments = {"dropout": tried[best].pop("dropout")}
    network = replace(METHODS["early_fusion"].network, arguments=arguments)
    monkeypatch.setitem(
        METHODS, "early_fusion", replace(METHODS["early_fusion"], settings=tried[best], network=network)
    )
    runs._check_tuned(wanted, tuning)
    with pytest.raises(ValueError, match=rf"tuning of early_fusion is not complete: 1 of {len(tried)} settings"):
        runs._check_tuned(wanted, tuning.iloc[1:])
    edge = next(k for k, trial in enumerate(trials("early_fusion")) if at_an_end({"early_fusion": trial}))
    tuning.loc[edge, "mae"] = 0.05
    with pytest.raises(ValueError, match=r"of early_fusion, .*, lies at an end of its grid\. Add settings beyond it"):
        runs._check_tuned(wanted, tuning)


def test_a_study_waits_for_the_tuning(small, monkeypatch):
    monkeypatch.setattr(runs, "_check_tuned", lambda wanted, tuning: pytest.fail(f"checked with {len(tuning)} runs"))
    monkeypatch.setitem(STUDIES, "tuning", Study(lambda crystals: [Run(TARGET, "random_forest", "tuning", 0)], False))
    run_study("tuning", "small")
    with pytest.raises(pytest.fail.Exception, match="checked with 1 runs"):
        run_study("study", "small")


def test_fewer_crystals_are_trained_on_in_as_many_steps(crystals):
    """And with enough validation crystals to choose an epoch by: ten of fifty."""
    whole = folds_of(crystals, "formula")[0]
    by_hand = METHODS["cgcnn"].settings["epochs"] * -(-len(whole.train) // 64)  # forty are one batch
    wanted = [run for run in STUDIES["learning_curves"].runs(crystals) if run.n_train == 50]
    assert [dict(run.settings)["epochs"] for run in wanted if run.method == "cgcnn"] == [by_hand] * N_FOLDS
    assert all(run.settings == () for run in wanted if METHODS[run.method].network is None)
    sizes = {size: len(with_fewer(whole, size, number=0).validation) for size in (50, 100, 400, 800)}
    share = len(whole.validation) / (len(whole.train) + len(whole.validation))
    assert sizes == {50: 10, 100: 20, 400: 32, 800: np.ceil(800 * share)}


def test_few_crystals_have_all_that_late_fusion_is_explored_with(crystals):
    wanted = few_crystals(crystals)
    assert len(wanted) == len(set(wanted)) == 2 * 2 * (N_FOLDS + 1)
    for split, name in product(("random", "formula"), METHODS["late_fusion"].blends):
        parts = [(run.fold, run.part) for run in wanted if (run.split, run.method) == (split, name)]
        assert parts == [*((fold, "test") for fold in range(N_FOLDS)), (0, "train")]
    steps = METHODS["cgcnn"].settings["epochs"] * -(-len(folds_of(crystals, "random")[0].train) // 64)
    epochs = {dict(run.settings).get("epochs") for run in wanted if run.split == "random"}
    assert epochs == {None, round(steps / -(-(300 - 38) // 64))}  # an eighth of 300 are for validation


def test_sizes_of_ones_own_crystals_are_tuned_on_those_set_aside():
    """Settings come from the same size, or the largest below it, and make as many steps."""
    formulas = [f"X{number}" for number in range(2250)]
    own = pd.DataFrame({"formula": formulas})
    tried = STUDIES["tuning_sizes"].runs(own)
    assert {(run.split, run.n_train) for run in tried} == {("tuning", 500)}
    assert {run.method for run in tried} == set(AT_SIZES)
    wanted = STUDIES["training_sizes"].runs(own)
    assert {run.n_train for run in wanted} == {500, 1950}
    assert len(wanted) == len(AT_SIZES) * 2 * N_FOLDS * 3

    table = pd.DataFrame([{"method": run.method, "n_train": 500, "settings": dict(run.settings)} for run in tried])
    table["mae"] = np.random.default_rng(0).random(len(table))
    drawn = [dict(run.settings) for run in tried if run.method == "cgcnn"]
    assert drawn == [*trials("cgcnn", 8)]  # no more epochs where there are fewer crystals
    large = STUDIES["tuning_sizes"].runs(pd.DataFrame({"formula": [f"X{number}" for number in range(15000)]}))
    shorter = next(dict(run.settings) for run in large if run.method == "cgcnn" and run.n_train > 3000)
    assert shorter["epochs"] == pytest.approx(drawn[0]["epochs"] * 1600 / 3333, abs=0.5)
    given = tuned(wanted, table)
    assert [replace(run, settings=()) for run in given] == wanted
    for run in given:
        of_method = table[table["method"] == run.method]
        best = of_method.loc[of_method["mae"].idxmin(), "settings"]
        settings = dict(run.settings)
        if "epochs" in best:
            assert settings.pop("epochs") == pytest.approx(best["epochs"] * 500 / run.n_train, abs=0.5)
        assert settings == {name: value for name, value in best.items() if name != "epochs"}


def test_primary_methods_are_run_on_all_repeats(crystals):
    table = pd.DataFrame(STUDIES["repeats"].runs(crystals))
    assert set(table["split"]) == {"formula"}
    folds_of_method = table.groupby("method")["fold"].agg(lambda folds: sorted(set(folds)))
    assert folds_of_method.to_dict() == {name: [*range(N_FOLDS, N_FOLDS * N_REPEATS)] for name in PRIMARY}
    assert table.groupby("method")["seed"].nunique().to_dict() == dict.fromkeys(PRIMARY, 1) | {"alignn": 2}


def test_no_pretrained_energy_where_an_element_is_left_out(crystals):
    """Its reference would be unknown, and no error of the method."""
    table = pd.DataFrame(STUDIES["left_out"].runs(crystals)).groupby("split")["method"].agg(set)
    assert table["prototype"] - table["element"] == {"pretrained_references", "delta_learning"}


def inputs_of(frame, *methods, pretrained=None):
    graphs = CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, targets=frame[[TARGET]], composition=magpie(frame["structure"])
    )
    splits = {split: folds_of(frame, split) for split in ("random", "formula", "tuning")}
    return runs.Inputs(frame[[TARGET]], "data", graphs, splits, runs._features(graphs, methods, pretrained))


def test_a_regressor_learns_from_all_but_the_test_set(small, monkeypatch):
    seen = {}

    class Recorder:
        def fit(self, x, y):
            seen["x"] = x

        def predict(self, x):
            return np.zeros(len(x))

    monkeypatch.setattr(runs, "make_learner", lambda *_, **__: Recorder())
    inputs = inputs_of(small, "random_forest")
    for split, number in (("formula", 7), ("tuning", 1)):
        fold = inputs.folds[split][number]
        runs.execute(Run(TARGET, "random_forest", split, number), inputs)
        others = np.concatenate([fold.train, fold.validation])
        np.testing.assert_array_equal(seen["x"], inputs.graphs.features[others])


@pytest.mark.parametrize("method", ["kernel_ridge", "boosting_structure", "embedding_composition", "delta_learning"])
def test_learners_on_features_are_run(small, method):
    columns = ["pretrained energy", *(f"embedding {k}" for k in range(64))]
    made_up = pd.DataFrame(np.random.default_rng(0).normal(size=(len(small), 65)), small.index, columns)
    made_up["pretrained energy"] = small[TARGET] + 1.0
    record = runs.execute(Run(TARGET, method, "random", 3), inputs_of(small, method, pretrained=made_up))
    test = folds_of(small, "random")[3].test
    error = np.abs(np.array(record["predictions"][0]) - small[TARGET].to_numpy()[test])
    assert record["mae"] == [pytest.approx(error.mean(), abs=1e-3)]
    assert record["mae"][0] < 1.2 * small[TARGET].std()
    if method == "delta_learning":
        assert record["mae"][0] < 0.2
        with pytest.raises(ValueError, match="pretrained features are missing"):
            inputs_of(small, method)


def test_a_table_of_features_is_made_once(small, monkeypatch):
    made = []
    monkeypatch.setattr(runs, "features_of", lambda graphs, parts, pretrained: made.append(parts))
    inputs = inputs_of(small, "kernel_ridge", "boosting", "random_forest", "cgcnn")
    assert sorted(made) == [("composition",), ("composition", "environments")]
    assert inputs.features.keys() == set(made)


def test_a_control_without_a_network_is_refused(small):
    run = Run(TARGET, "random_forest", "formula", 0, control="composition")
    with pytest.raises(ValueError, match="controls permute what a network reads"):
        runs.execute(run, inputs_of(small, "random_forest"))


@pytest.mark.parametrize(("method", "control"), [("early_fusion", "composition"), ("cgcnn_chemistry", "elements")])
def test_a_control_changes_what_is_read_and_nothing_else(small, method, control):
    inputs = inputs_of(small)
    before = inputs.graphs.composition.copy()
    run = Run(TARGET, method, "formula", 0, settings=(("epochs", 1),))
    plain, controlled = (runs.execute(one, inputs) for one in (run, replace(run, control=control)))
    assert plain["predictions"] != controlled["predictions"]
    assert plain["n_parameters"] == controlled["n_parameters"]
    np.testing.assert_array_equal(inputs.graphs.composition, before)
    assert runs.execute(run, inputs)["predictions"] == plain["predictions"]


def test_permuted_elements_have_the_properties_of_others():
    chemistry = METHODS["cgcnn_chemistry"].network().chemistry
    numbers = np.array([3, 8, 12, 26])
    before = chemistry.radius.clone()
    runs._permute_elements(chemistry, numbers, seed=0)
    changed = np.flatnonzero((chemistry.radius != before).numpy())
    assert set(changed) <= set(numbers)
    assert len(changed) > 1
    assert sorted(chemistry.radius[numbers].tolist()) == sorted(before[numbers].tolist())
    source = {float(before[number]): number for number in numbers}
    fresh = METHODS["cgcnn_chemistry"].network().chemistry
    for number in numbers:  # radius and properties come from the same element
        other = source[float(chemistry.radius[number])]
        assert torch.equal(chemistry.properties[number], fresh.properties[other])


def test_runs_on_other_data_with_other_settings_and_unwanted_ones_are_dropped(small, tmp_path, monkeypatch):
    path = tmp_path / "study_small.jsonl"
    method = replace(METHODS["cgcnn"], settings={"epochs": 7, "task_weights": "uncertainty"})
    monkeypatch.setitem(METHODS, "cgcnn", method)
    wanted = Run(TARGET, "cgcnn", "random", 1, settings=(("task_weights", (1.0, 0.5)),))
    current = small.attrs["sha256"]
    made = {"data_sha256": current, "configuration": {"epochs": 7, "task_weights": (1.0, 0.5)}}
    lines = [
        asdict(wanted) | made | {"data_sha256": "other"},
        asdict(wanted) | made | {"configuration": {"epochs": 9, "task_weights": (1.0, 0.5)}},
        asdict(wanted) | made,
        asdict(Run(TARGET, "cgcnn", "random", 2)) | made,
        asdict(wanted) | made | {"data_sha256": "another"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert records.keep(path, [wanted], current) == {wanted}
    assert path.read_text() == json.dumps(lines[2]) + "\n"
    dropped = path.with_name("study_small.jsonl.dropped").read_text().splitlines()
    assert dropped == [json.dumps(lines[k]) for k in (0, 1, 3, 4)], "they may have taken hours"


def test_results_of_some_methods_on_one_target(small):
    run_study("study", "small")
    energy = load_results("small", "study", target=TARGET, methods=["multitask_gat", "random_forest"])
    assert list(energy["method"].unique()) == ["multitask_gat", "random_forest"]
    assert set(energy["target"]) == {TARGET}
    assert len(energy) == 20
    assert set(load_results("small", "study", target="band_gap")["method"]) == {"multitask_gat"}
    with pytest.raises(ValueError, match="no run has the target 'volume'; recorded are band_gap, formation"):
        load_results("small", "study", target="volume")
    with pytest.raises(ValueError, match="no run has the method 'cgcnn'; recorded are early_fusion"):
        load_results("small", "study", methods=["random_forest", "cgcnn"])


def test_results_must_be_of_these_crystals(small):
    run_study("study", "small")
    assert len(load_results("small", "study", crystals=small)) == 40
    other = small.copy()
    other.attrs["sha256"] = "0" * 64
    with pytest.raises(ValueError, match=r"study_small.jsonl has runs on other crystals .*experiments study\."):
        load_results("small", "study", crystals=other)


def test_results_that_nobody_recorded():
    with pytest.raises(FileNotFoundError, match=r"python -m course_lib.experiments comparison\."):
        load_results("nothing")


def test_command_line(small, capsys):
    main(["study", "--dataset", "small", "--jobs", "1"])
    assert "study: 0 of 30 runs are recorded" in capsys.readouterr().out
    assert len(load_results("small", "study")) == 40
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "unknown study 'nonsense'; the studies are tuning, tuning_check, comparison" in capsys.readouterr().err


RECORDED = [name for name in STUDIES if records.results_file("pbe_prototypes", name).is_file()]


@pytest.mark.parametrize("study", RECORDED)
def test_bundled_results_belong_to_the_bundled_crystals(study, crystals):
    results = load_results("pbe_prototypes", study)
    assert set(results["data_sha256"]) == {crystals.attrs["sha256"]}
    with records.results_file("pbe_prototypes", study).open() as file:
        recorded = [records.key_of(json.loads(line)) for line in file]
    assert len(set(recorded)) == len(recorded)
    if "code_sha256" in results:  # those without were made before the protocol
        methods = {run.method for run in recorded}
        wanted = {run for run in STUDIES[study].runs(crystals) if run.method in methods}
        assert set(recorded) == wanted, f"run python -m course_lib.experiments {study}"
        assert results["predictions"].notna().eq(STUDIES[study].predictions).all()
    for run in results.itertuples():
        assert run.configuration == METHODS[run.method].settings | run.settings
    for run in results[results["predictions"].notna()].itertuples():
        error = (crystals.loc[run.ids, run.target] - np.array(run.predictions)).abs().mean()
        assert run.mae == pytest.approx(error, abs=2e-4)


def test_what_the_pages_read_is_recorded():
    assert {"tuning", "comparison", "learning_curves", "training_predictions"} <= set(RECORDED)


def test_settings_are_the_best_of_the_recorded_tuning(crystals):
    results = load_results("pbe_prototypes", "tuning")
    if "code_sha256" in results:  # those without were made before the protocol
        runs._check_tuned(STUDIES["tuning"].runs(crystals), results)
        return
    results["trial"] = [json.dumps(settings, sort_keys=True) for settings in results["settings"]]
    scale = results.groupby("target")["mae"].transform("mean")
    table = results.assign(error=results["mae"] / scale).groupby(["method", "trial"])["error"].mean()
    tuned = {name: method for name, method in trained().items() if (method.tuned_as or name) in table}
    assert len(tuned) > 10
    for name, method in tuned.items():
        expected = json.loads(table[method.tuned_as or name].idxmin())
        assert method.settings == expected, name


def test_a_blend_says_what_it_lacks(crystals):
    y = crystals[TARGET]
    forest = load_results(crystals=crystals, target=TARGET, methods=["random_forest"])
    with pytest.raises(ValueError, match=r"needs runs of random_forest and cgcnn .*runs of random_forest\."):
        with_late_fusion(forest, y)
    for method in ("cgcnn", "alignn_ensemble"):
        with pytest.raises(ValueError, match=f"{method} is no blend of different methods"):
            with_late_fusion(forest, y, method)


def test_a_candidate_without_a_cost_is_refused():
    table = pd.DataFrame({"mae": [1.0, 2.0], "weights": [10.0, np.nan]}, index=["network", "forest"])
    with pytest.raises(ValueError, match="'forest' has no 'weights', so nothing says what beats it"):
        pareto_front(table, ["mae", "weights"])


def test_runs_of_a_method_that_is_gone_are_dropped(small, tmp_path):
    path, sha256 = tmp_path / "study_small.jsonl", small.attrs["sha256"]
    run = Run(TARGET, "gone", "random", 0)
    line = json.dumps(with_checksum(asdict(run) | {"data_sha256": sha256, "configuration": {}})) + "\n"
    path.write_text(line)
    assert records.keep(path, [], sha256) == set()
    assert path.read_text() == ""
    assert path.with_name(f"{path.name}.dropped").read_text() == line


def test_best_settings_have_the_smallest_relative_error():
    """Of two targets in different units the smaller relative error decides."""
    rows = []
    for number, trial in enumerate(trials("multitask_gat")):
        for target, unit in (("energy", 1.0), ("gap", 100.0)):
            error = unit * (1.0 + abs(number - 5) + (0.5 if (target, number) == ("energy", 5) else 0.0))
            rows.append({"method": "multitask_gat", "target": target, "mae": error, "fold": 0})
            rows[-1]["settings"] = trial
    assert best_settings(pd.DataFrame(rows)) == {"multitask_gat": [*trials("multitask_gat")][5]}
    others = [
        {"method": "cgcnn", "target": "energy", "mae": 1.0, "fold": 0, "settings": trial} for trial in trials("cgcnn")
    ]
    assert list(best_settings(pd.DataFrame(rows + others))) == ["multitask_gat", "cgcnn"]  # in the order of the runs
    flat = [
        row | {"mae": 1000.0 + abs(n // 2 - 6)} if row["target"] == "gap" else row  # best elsewhere, but by little
        for n, row in enumerate(rows)
    ]
    assert best_settings(pd.DataFrame(flat)) == {"multitask_gat": [*trials("multitask_gat")][5]}


def record_of(tmp_path, monkeypatch, **changes):
    """Write one recorded run of the forest, with some of its entries changed."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    run = Run(TARGET, "random_forest", "random", 0)
    record = {
        **asdict(run),
        "configuration": METHODS["random_forest"].settings,
        "mae": [0.3],
        "predictions": None,
        "data_sha256": "data",
        "code_sha256": records.code_of("random_forest"),
    }
    path = records.results_file("made_up", "tuning")
    path.write_text(json.dumps(record | changes) + "\n")
    return path, run


def test_results_of_other_code_warn_and_are_made_again(tmp_path, monkeypatch):
    path, run = record_of(tmp_path, monkeypatch, code_sha256="of another version")
    with pytest.warns(
        UserWarning, match=r"tuning_made_up\.jsonl: runs of random_forest were made by code that has changed"
    ):
        load_results("made_up", "tuning")
    before = path.read_text()
    assert records.keep(path, [run], "data") == set()
    assert path.read_text() == ""
    assert path.with_name(f"{path.name}.dropped").read_text() == before


@pytest.mark.parametrize("changes", [{}, {"code_sha256": None}])
def test_results_of_this_code_or_unknown_code_are_kept(tmp_path, monkeypatch, changes):
    path, run = record_of(tmp_path, monkeypatch, **changes)
    assert len(load_results("made_up", "tuning")) == 1  # a warning would be an error here
    assert records.keep(path, [run], "data") == {run}


def test_hash_covers_the_arguments_and_the_trunk_of_a_network(monkeypatch):
    method, run = METHODS["early_fusion"], Run(TARGET, "early_fusion", "formula", 0)
    before = records.code_of("early_fusion"), records.configuration(run)

    def with_arguments(**arguments):
        records.code_of.cache_clear()
        network = replace(method.network, arguments=arguments)
        monkeypatch.setitem(METHODS, "early_fusion", replace(method, network=network))
        return records.code_of("early_fusion"), records.configuration(run)

    assert with_arguments(embedding=8)[0] != before[0]
    code, configuration = with_arguments(dropout=0.4)  # tuned like a setting: the tuning itself still counts
    assert code == before[0]
    assert configuration == before[1] | {"dropout": 0.4}
    assert records._modules(METHODS["alignn_early_fusion"].network) == {
        "course_lib.models.fusion", "course_lib.models.alignn",
    }  # fmt: skip
    records.code_of.cache_clear()


def test_the_results_that_pages_show_were_made_by_this_code():
    for path in sorted(records.RESULTS.glob("*.jsonl")):
        study, _, dataset = path.stem.partition("_pbe_prototypes")
        if study in STUDIES and not dataset:
            load_results(study=study)  # a warning is an error here


def test_twins_differ_in_one_thing():
    for multi, twin in twins().items():
        assert METHODS[multi].settings == METHODS[twin].settings
        assert METHODS[multi].network == METHODS[twin].network
    alignn, blind = METHODS["alignn"], METHODS["alignn_no_angles"]
    assert blind.settings == alignn.settings
    assert blind.network().config == alignn.network().config | {"angles": False}


def keys_of(path):
    return [records.key_of(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_study_that_is_started_twice_records_every_run_once(small, tmp_path, delay):
    def start(delay: float) -> None:
        time.sleep(delay)
        run_study("study", "small")

    codes = [wait(child, 120) for child in [fork(start, 0.0), fork(start, delay)]]
    assert 0 in codes
    assert set(codes) <= {0, 99}
    keys = keys_of(tmp_path / "study_small.jsonl")
    assert len(keys) == len(set(keys)) == 30
    assert sorted(os.listdir(tmp_path)) == ["folds_small.json", "study_small.jsonl"]


def test_who_waits_for_a_study_is_told_and_refused_in_time(small, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(records, "PATIENCE", 0.2)
    with runs.locked(tmp_path / ".study_small.jsonl.lock", "it", 0):
        assert wait(fork(run_study, "study", "small")) == 99
    said = capfd.readouterr().err
    assert "Another process is using the study in" in said
    assert "TimeoutError: another process is using the study in" in said
    assert not (tmp_path / "study_small.jsonl").exists()


def test_a_run_that_was_recorded_twice_is_kept_once(tmp_path, monkeypatch):
    path, run = record_of(tmp_path, monkeypatch)
    line = path.read_text()
    path.write_text(line + line)
    assert records.keep(path, [run], "data") == {run}
    assert path.read_text() == line


def test_results_are_not_written_through_a_link(small, tmp_path):
    theirs = tmp_path / "theirs.jsonl"
    theirs.touch()
    (tmp_path / "study_small.jsonl").symlink_to(theirs)
    with pytest.raises(FileExistsError, match=r"study_small.jsonl is a symbolic link"):
        run_study("study", "small")
    assert theirs.read_text() == ""


def test_two_studies_share_the_file_of_folds(tmp_path, monkeypatch):
    """Each keeps what the other has written meanwhile, and neither changes what results refer to."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    one, other = Fold(*np.split(np.arange(4), [2, 3])), Fold(*np.split(np.arange(4)[::-1], [2, 3]))
    ids = list("abcd")
    records.write_folds("small", ids, {"random": [one]})
    records._read_folds(records._folds_file("small"))  # this process remembers it
    assert wait(fork(records.write_folds, "small", ids, {"tuning": [one]})) == 0
    records.write_folds("small", ids, {"formula": [one]})
    content = json.loads((tmp_path / "folds_small.json").read_text())
    assert content.keys() >= {"random", "tuning", "formula"}
    with pytest.raises(ValueError, match=r"folds_small.json holds other folds for split 'random'"):
        records.write_folds("small", ids, {"random": [other]})
    records.write_folds("small", ids[::-1], {"random": [other]})  # other crystals


def test_results_have_the_folds_of_their_own_folder_as_they_are_now(tmp_path, monkeypatch):
    """A process that has read the folds of a dataset reads others in another folder, and new ones of other crystals."""
    run = asdict(Run(TARGET, "random_forest", "random", 0))
    record = run | {"mae": [0.3], "predictions": [[1.0]], "data_sha256": "data"}
    fold = Fold(*np.split(np.arange(4), [2, 3]))
    for folder, ids in (("one", "abcd"), ("another", "efgh"), ("another", "ijkl")):
        monkeypatch.setattr(records, "RESULTS", tmp_path / folder)
        records.RESULTS.mkdir(exist_ok=True)
        records.write_folds("small", list(ids), {"random": [fold]})
        records.results_file("small", "study").write_text(json.dumps(record) + "\n")
        assert load_results("small", "study")["ids"].tolist() == [[ids[3]]]
    records.write_folds("small", list("mnop"), {"random": [Fold(np.arange(2), np.arange(0), np.array([3]))]})
    assert load_results("small", "study")["ratio"].tolist() == [1 / 2]


@pytest.mark.parametrize("factor", [1e-19, 1.0, 1e19])
def test_records_have_the_digits_of_any_unit(small, factor):
    inputs = inputs_of(small, "random_forest")
    inputs = replace(inputs, targets=inputs.targets * factor)
    record = runs.execute(Run(TARGET, "random_forest", "random", 3), inputs)
    test = folds_of(small, "random")[3].test
    error = np.abs(np.array(record["predictions"][0]) - inputs.targets[TARGET].to_numpy()[test]).mean()
    assert record["mae"] == [pytest.approx(error, rel=1e-3)]
    assert 0.01 < error / factor < 1


@pytest.mark.parametrize("name", ["study_small.jsonl", "folds_small.json"])
def test_every_flipped_bit_of_a_record_is_noticed_or_changes_nothing(small, tmp_path, name):
    run_study("study", "small")
    path, reference = tmp_path / name, load_results("small", "study")
    good, rng, noticed = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        bad = bytearray(good)
        bad[int(rng.integers(len(bad) - 1))] ^= 1 << int(rng.integers(8))  # not the end of the last line
        path.write_bytes(bad)
        records._forget_folds()
        said = ""
        try:
            found = load_results("small", "study")
        except ValueError as error:
            said = str(error)
        if said:
            noticed += 1
            assert name in said
        else:
            pd.testing.assert_frame_equal(found, reference)
    assert noticed > 40


def test_a_line_that_is_being_written_is_left_out(small, tmp_path):
    run_study("study", "small")
    path, whole = tmp_path / "study_small.jsonl", load_results("small", "study")
    with path.open("a") as file:
        file.write(path.read_text()[:100])
    pd.testing.assert_frame_equal(load_results("small", "study"), whole)
