"""The comparison of methods: honest pairs, an honest interval, runs that survive being killed."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from forked import fork, wait
from scipy import stats

from course_lib.datasets import folds, load_dataset
from course_lib.experiments import runs
from course_lib.experiments.__main__ import main
from course_lib.experiments.analysis import (
    corrected_interval,
    errors_by_crystal,
    level_and_difference_errors,
    negative_transfer,
    paired_differences,
    pareto_front,
    summarize_differences,
    task_correlation,
    training_set_size,
    with_late_fusion,
)
from course_lib.experiments.runs import STUDIES, Run, load_results, run_study
from course_lib.late_fusion import optimal_alpha
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


def test_a_missing_run_is_named():
    results = table({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}).drop(index=3)
    with pytest.raises(ValueError, match="split 'random', fold 1, seed 1"):
        paired_differences(results, "b")
    with pytest.raises(ValueError, match="no runs of 'c'; there are runs of a, b"):
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


def test_summary_is_mean_and_interval_of_the_differences():
    results = table({"a": [1.0, 3.0, 10.0, 12.0], "b": [0.5, 2.0, 10.0, 14.0]})
    row = summarize_differences(results, "b").loc[("random", "a")]
    assert row["mean"] == pytest.approx((0.75 - 1.0) / 2)
    assert (row["low"], row["high"]) == pytest.approx(corrected_interval(np.array([0.75, -1.0])))


def test_level_and_difference_by_hand():
    crystals = pd.DataFrame(
        {"formula": ["AB", "AB", "CD", "CD", "EF"], "energy": [1.0, 3.0, 0.0, 0.0, 9.0]}, index=list("pqrst")
    )
    # AB: level right, difference 2 too small; CD: level 0.5 too high, difference right; EF has no polymorph.
    run = {"method": "m", "split": "formula", "fold": 0, "seed": 0, "target": "energy", "ids": list("tqrsp")}
    results = pd.DataFrame([run | {"predictions": [0.0, 2.0, 0.5, 0.5, 2.0]}])
    got = level_and_difference_errors(results, crystals).set_index("split")["mae"]
    assert got["level"] == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)
    assert got["difference"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    with pytest.raises(ValueError, match="'random' folds tear polymorphs apart"):
        level_and_difference_errors(results.assign(split="random"), crystals)


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


def test_several_targets_are_not_mixed():
    results, y = blendable()
    both = pd.concat([results, results.assign(target="gap")])
    for compare in (lambda: with_late_fusion(both, y), lambda: paired_differences(both, "cgcnn")):
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


def test_front_holds_what_nothing_beats():
    table = pd.DataFrame({"mae": [1.0, 2.0, 3.0, 2.5, 1.0], "seconds": [9.0, 4.0, 1.0, 5.0, 9.0]}, index=list("abcde"))
    # d is worse than b in both; a and e are equal, so neither beats the other.
    assert pareto_front(table, ["mae", "seconds"]).to_dict() == dict(a=True, b=True, c=True, d=False, e=True)


def test_nearly_equal_training_sets_have_one_size():
    runs = pd.DataFrame({"n_learned": [200, 1610, 100, 1590, 205, 1600]}, index=list("abcdef"))
    assert training_set_size(runs).to_dict() == {"a": 202.5, "b": 1600, "c": 100, "d": 1600, "e": 202.5, "f": 1600}


def test_negative_transfer_has_the_sign_of_harm():
    single = table({"gat": [1.0, 1.0, 1.0, 1.0], "megnet": [1.0, 1.1, 1.2, 1.3]})
    multi = table({"multitask_gat": [1.1, 1.2, 1.3, 0.9], "multitask_megnet": [0.9, 1.0, 1.1, 1.2]})
    got = negative_transfer(pd.concat([single, multi]).assign(target="gap"))
    assert got.loc[("gat", "gap", "random"), "mean"] == pytest.approx(0.125)
    assert got.loc[("gat", "gap", "random"), "share_worse"] == 0.75
    assert got.loc[("megnet", "gap", "random"), "mean"] == pytest.approx(-0.1)
    assert got.loc[("megnet", "gap", "random"), "share_worse"] == 0.0


def test_task_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    crystals = pd.DataFrame({"a": x, "b": np.exp(0.5 * x + rng.normal(size=400))})
    crystals.loc[0, "b"] = np.nan
    got = task_correlation(crystals, "a", "b")
    known = crystals.dropna()
    assert got.loc["Pearson", "correlation"] == pytest.approx(stats.pearsonr(known["a"], known["b"])[0])
    assert got.loc["Spearman", "correlation"] == pytest.approx(stats.spearmanr(known["a"], known["b"])[0])
    for name, method in (("Pearson", stats.pearsonr), ("Spearman", stats.spearmanr)):
        low, high = stats.bootstrap(
            (known["a"], known["b"]), lambda a, b, f=method: f(a, b)[0], paired=True, vectorized=False,
            n_resamples=500, method="percentile", rng=0,
        ).confidence_interval  # fmt: skip
        assert got.loc[name, ["low", "high"]].tolist() == pytest.approx([low, high], abs=0.03)


TARGET = "formation_energy_per_atom"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Forty crystals, a study of methods that learn for a moment, and a folder of their own for the results."""
    frame = load_dataset("pbe_prototypes").iloc[:40]
    frame.attrs["name"] = "small"
    short = (("epochs", 1),)

    def study(n_crystals):
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
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    monkeypatch.setitem(STUDIES, "study", runs.Study(study))
    runs._ids.cache_clear()
    yield frame
    runs._ids.cache_clear()


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
        assert run.ids == small.index[folds(small, kind=run.split)[run.fold].test].tolist()
        error = (small.loc[run.ids, run.target] - np.array(run.predictions)).abs().mean()
        assert run.mae == pytest.approx(error, abs=2e-4)
        assert run.seconds > 0
        assert run.n_learned == len(small) - len(run.ids)


def test_training_set_is_drawn_nested_and_never_from_the_test_set(small):
    fold = folds(small, kind="formula")[2]
    drawn = [runs._fewer(fold, Run(TARGET, "cgcnn", "formula", 2, seed=1, n_train=size)) for size in (8, 16)]
    for size, part in zip((8, 16), drawn, strict=True):
        assert len(part.train) + len(part.validation) == size
        assert set(part.train) <= set(fold.train)
        assert set(part.validation) <= set(fold.validation)
        assert len(part.validation) >= 1
    assert set(drawn[0].train) <= set(drawn[1].train)
    other = runs._fewer(fold, Run(TARGET, "cgcnn", "formula", 2, seed=2, n_train=8))
    assert set(other.train) != set(drawn[0].train)
    with pytest.raises(ValueError, match=r"n_train is 99, but fold 2 has .* crystals to learn from"):
        runs._fewer(fold, Run(TARGET, "cgcnn", "formula", 2, n_train=99))


def test_tuning_reads_no_test_set():
    tuned = STUDIES["tuning"].runs(1000)
    assert {run.part for run in tuned} == {"validation"}
    trials = pd.DataFrame(tuned).groupby("method").size()
    assert set(trials.index) == {name for name, method in trained().items() if method.tuned_as is None}
    assert trials.nunique() == 1, "every method gets as many trials"


def test_forest_in_tuning_does_not_learn_from_what_judges_it(small, monkeypatch):
    seen = {}

    class Recorder:
        def fit(self, x, y):
            seen["rows"] = len(x)

        def predict(self, x):
            return np.zeros(len(x))

    monkeypatch.setattr(runs, "make_forest", lambda method, **_: Recorder())
    graphs = runs.CrystalGraphs.from_structures(
        small["structure"], ids=small.index, targets=small[[TARGET, "band_gap"]]
    )
    fold = folds(small, kind="random")[0]
    for part, expected in (
        ("test", len(fold.train) + len(fold.validation)),
        ("train", len(fold.train) + len(fold.validation)),
        ("validation", len(fold.train)),
    ):
        runs.execute(Run(TARGET, "random_forest", "random", 0, part=part), small, graphs)
        assert seen["rows"] == expected


def test_runs_on_other_data_with_other_settings_and_unwanted_ones_are_dropped(small, tmp_path, monkeypatch):
    path = tmp_path / "study_small.jsonl"
    method = replace(METHODS["cgcnn"], settings={"epochs": 7, "task_weights": "uncertainty"})
    monkeypatch.setitem(METHODS, "cgcnn", method)
    wanted = Run(TARGET, "cgcnn", "random", 1, settings=(("task_weights", (1.0, 0.5)),))
    current = small.attrs["sha256"]
    made = {"data_sha256": current, "configuration": {"epochs": 7, "task_weights": (1.0, 0.5)}}
    records = [
        asdict(wanted) | made | {"data_sha256": "other"},
        asdict(wanted) | made | {"configuration": {"epochs": 9, "task_weights": (1.0, 0.5)}},
        asdict(wanted) | made,
        asdict(Run(TARGET, "cgcnn", "random", 2)) | made,
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert runs._recorded(path, [wanted], current) == {wanted}
    assert path.read_text() == json.dumps(records[2]) + "\n"


def test_results_of_some_methods_on_one_target(small):
    run_study("study", "small")
    energy = load_results("small", "study", target=TARGET, methods=["multitask_gat", "random_forest"])
    assert list(energy["method"].unique()) == ["multitask_gat", "random_forest"]
    assert set(energy["target"]) == {TARGET}
    assert len(energy) == 20
    assert set(load_results("small", "study", target="band_gap")["method"]) == {"multitask_gat"}
    with pytest.raises(ValueError, match="no run has the target 'volume'; there are band_gap, formation"):
        load_results("small", "study", target="volume")
    with pytest.raises(ValueError, match="no run has the method 'cgcnn'; there are early_fusion"):
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
    assert "there is no study 'nonsense'; there are tuning, comparison" in capsys.readouterr().err


RECORDED = [name for name in STUDIES if runs.results_file("pbe_prototypes", name).is_file()]


@pytest.mark.parametrize("study", RECORDED)
def test_bundled_results_belong_to_the_bundled_crystals(study):
    results = load_results("pbe_prototypes", study)
    crystals = load_dataset("pbe_prototypes")
    assert set(results["data_sha256"]) == {crystals.attrs["sha256"]}
    with runs.results_file("pbe_prototypes", study).open() as file:
        recorded = [runs._key(json.loads(line)) for line in file]
    assert len(set(recorded)) == len(recorded)
    methods = {run.method for run in recorded}
    wanted = {run for run in STUDIES[study].runs(len(crystals)) if run.method in methods}
    assert set(recorded) == wanted, f"run python -m course_lib.experiments {study}"
    for run in results.itertuples():
        assert run.configuration == METHODS[run.method].settings | run.settings
    for run in results.itertuples() if STUDIES[study].predictions else ():
        error = (crystals.loc[run.ids, run.target] - np.array(run.predictions)).abs().mean()
        assert run.mae == pytest.approx(error, abs=2e-4)


def test_what_the_pages_read_is_recorded():
    assert {"tuning", "comparison", "learning_curves", "training_predictions"} <= set(RECORDED)


def test_settings_are_the_best_of_the_recorded_tuning():
    results = load_results("pbe_prototypes", "tuning")
    results["trial"] = [json.dumps(settings, sort_keys=True) for settings in results["settings"]]
    scale = results.groupby("target")["mae"].transform("mean")
    table = results.assign(error=results["mae"] / scale).groupby(["method", "trial"])["error"].mean()
    for name, method in trained().items():
        expected = json.loads(table[method.tuned_as or name].idxmin())
        assert method.settings == expected, name


def record_of(tmp_path, monkeypatch, **changes):
    """Write one recorded run of the forest, with some of its entries changed."""
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    run = Run(TARGET, "random_forest", "random", 0)
    record = {
        **asdict(run),
        "configuration": METHODS["random_forest"].settings,
        "mae": [0.3],
        "predictions": None,
        "data_sha256": "data",
        "code_sha256": runs._code("random_forest"),
    }
    path = runs.results_file("made_up", "tuning")
    path.write_text(json.dumps(record | changes) + "\n")
    return path, run


def test_results_of_other_code_warn_and_are_made_again(tmp_path, monkeypatch):
    path, run = record_of(tmp_path, monkeypatch, code_sha256="of another version")
    with pytest.warns(UserWarning, match=r"tuning_made_up\.jsonl: runs of random_forest were made by other code"):
        load_results("made_up", "tuning")
    assert runs._recorded(path, [run], "data") == set()
    assert path.read_text() == ""


@pytest.mark.parametrize("changes", [{}, {"code_sha256": None}])
def test_results_of_this_code_or_unknown_code_are_kept(tmp_path, monkeypatch, changes):
    path, run = record_of(tmp_path, monkeypatch, **changes)
    assert len(load_results("made_up", "tuning")) == 1  # a warning would be an error here
    assert runs._recorded(path, [run], "data") == {run}


def test_the_results_that_pages_show_were_made_by_this_code():
    for path in sorted(runs.RESULTS.glob("*.jsonl")):
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
    return [runs._key(json.loads(line)) for line in path.read_text().splitlines()]


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
    monkeypatch.setattr(runs, "_PATIENCE", 0.2)
    with runs.locked(tmp_path / ".study_small.jsonl.lock", "it", 0):
        assert wait(fork(run_study, "study", "small")) == 99
    said = capfd.readouterr().err
    assert "Another process works on the study in" in said
    assert "TimeoutError: another process works on the study in" in said
    assert not (tmp_path / "study_small.jsonl").exists()


def test_a_run_that_was_recorded_twice_is_kept_once(tmp_path, monkeypatch):
    path, run = record_of(tmp_path, monkeypatch)
    line = path.read_text()
    path.write_text(line + line)
    assert runs._recorded(path, [run], "data") == {run}
    assert path.read_text() == line


def test_results_are_not_written_through_a_link(small, tmp_path):
    theirs = tmp_path / "theirs.jsonl"
    theirs.touch()
    (tmp_path / "study_small.jsonl").symlink_to(theirs)
    with pytest.raises(FileExistsError, match=r"study_small.jsonl is a symbolic link"):
        run_study("study", "small")
    assert theirs.read_text() == ""


@pytest.mark.parametrize("name", ["study_small.jsonl", "folds_small.json"])
def test_every_flipped_bit_of_a_record_is_noticed_or_changes_nothing(small, tmp_path, name):
    run_study("study", "small")
    path, reference = tmp_path / name, load_results("small", "study")
    good, rng, noticed = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        bad = bytearray(good)
        bad[int(rng.integers(len(bad) - 1))] ^= 1 << int(rng.integers(8))  # not the end of the last line
        path.write_bytes(bad)
        runs._ids.cache_clear()
        runs._read_folds.cache_clear()
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
    runs._read_folds.cache_clear()
    assert noticed > 40


def test_a_line_that_is_being_written_is_left_out(small, tmp_path):
    run_study("study", "small")
    path, whole = tmp_path / "study_small.jsonl", load_results("small", "study")
    with path.open("a") as file:
        file.write(path.read_text()[:100])
    pd.testing.assert_frame_equal(load_results("small", "study"), whole)
