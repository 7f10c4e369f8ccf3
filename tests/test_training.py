"""Training: it learns, repeats, continues after an interruption, masks missing labels, and stays quiet."""

from __future__ import annotations

import copy
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import TARGET, bundled, bundled_graphs, random_crystal
from killed_training import go_on
from pymatgen.core import Lattice, Structure

import course_lib
from course_lib import training
from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.lightning_parts import Fitting, History, WholeFiles
from course_lib.models import CGCNN, CrystalModel, EarlyFusion, describe
from course_lib.training import FitConfig, FitResult, fit, load, predict

QUICK = FitConfig(epochs=4, batch_size=8)


def graphs() -> CrystalGraphs:
    return bundled_graphs(40)


def split() -> tuple[CrystalGraphs, CrystalGraphs]:
    return graphs().subset(range(0, 30)), graphs().subset(range(30, 40))


def contrary(train: CrystalGraphs) -> CrystalGraphs:
    """Return the same crystals with targets mirrored at their mean: the better the fit, the larger the error here."""
    return replace(train, y=2 * train.targets.mean() - train.y)


def small(n_targets: int = 1, fusion: bool = False) -> CrystalModel:
    """Return a small network with the same initial weights each time."""
    torch.manual_seed(3)
    trunk = CGCNN(n_targets=n_targets, hidden=16, n_conv=1, embedding=16)
    return EarlyFusion(trunk, n_targets=n_targets, hidden=(16,)) if fusion else trunk


def two_targets(missing: dict[str, list[int]], rows=range(20)) -> CrystalGraphs:
    """Return crystals with two targets, some labels of which are missing."""
    frame = bundled(40).iloc[list(rows)]
    targets = frame[[TARGET, "band_gap"]].copy()
    for name, without in missing.items():
        targets.iloc[without, targets.columns.get_loc(name)] = np.nan
    return CrystalGraphs.from_structures(frame["structure"], ids=frame.index, targets=targets, allow_missing=True)


def assert_same_weights(one: dict, other: dict):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=0, msg=name)


def raise_at_step(monkeypatch, number: int, error: BaseException):
    """Let the training step of that number raise."""
    step, calls = Fitting.training_step, []

    def failing(self, *args):
        calls.append(1)
        if len(calls) == number:
            raise error
        return step(self, *args)

    monkeypatch.setattr(Fitting, "training_step", failing)


# ---------------------------------------------------------------- fitting


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_it_learns(loss):
    train = bundled_graphs(24)
    trivial = np.abs(train.targets - np.median(train.targets)).mean()
    torch.manual_seed(0)
    result = fit(CGCNN(), train, train, FitConfig(epochs=60, batch_size=12, loss=loss))
    loss = result.history["train_loss"]
    assert loss.iloc[-10:].median() < 0.3 * loss.iloc[0]  # batches of 12 make single epochs noisy
    error = np.abs(predict(result.model, train).to_numpy() - train.targets).mean()
    assert error < 0.4 * trivial


def test_the_best_epoch_is_returned():
    train = graphs()
    val = contrary(train)
    result = fit(small(), train, val, FitConfig(epochs=10, batch_size=8, learning_rate=0.05))
    error = result.history["val_error"]
    assert list(result.history.columns) == ["train_loss", f"val_mae_{TARGET}", f"lambda_{TARGET}", "val_error"]
    assert result.history.index.tolist() == list(range(10))
    assert result.best_epoch == error.idxmin() != 9
    found = np.abs(predict(result.model, val).to_numpy() - val.targets).mean()
    assert found == pytest.approx(result.history.loc[result.best_epoch, f"val_mae_{TARGET}"], rel=1e-5)
    std = train.targets.astype(float).std()
    np.testing.assert_allclose(error, result.history[f"val_mae_{TARGET}"] / std, rtol=1e-5)
    assert not result.model.training
    assert result.seconds > 0


def test_history_has_the_loss_of_each_epoch(monkeypatch):
    losses = []
    step = Fitting.training_step

    def remember(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        losses.append((loss.item(), batch.num_graphs))
        return loss

    monkeypatch.setattr(Fitting, "training_step", remember)
    result = fit(small(), *split(), QUICK)
    steps = np.array(losses).reshape(4, 4, 2)  # epochs, batches, (loss, crystals)
    assert steps[0, :, 1].tolist() == [8, 8, 8, 6]
    np.testing.assert_allclose(result.history["train_loss"], (steps[..., 0] * steps[..., 1]).sum(1) / 30, rtol=1e-5)


@pytest.mark.parametrize("fusion", [False, True])
def test_seeded_runs_repeat_bit_for_bit(fusion):
    runs: list[FitResult] = []
    for seed in (0, 0, 1):
        torch.rand(7)  # whatever was drawn before
        runs.append(fit(small(fusion=fusion), *split(), replace(QUICK, seed=seed)))
    assert_same_weights(runs[0].model.state_dict(), runs[1].model.state_dict())
    pd.testing.assert_frame_equal(runs[0].history, runs[1].history, check_exact=True)
    assert not runs[0].history.equals(runs[2].history)


@pytest.mark.parametrize("step", [1, 5, 10, 12])  # in the first epoch; first, second and last step of later ones
@pytest.mark.parametrize("fusion", [False, True])  # early fusion draws random numbers for its dropout
def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, fusion, step):
    whole = fit(small(fusion=fusion), *split(), replace(QUICK, folder=tmp_path / "whole"))
    config = replace(QUICK, folder=tmp_path / "killed")
    with monkeypatch.context() as patch:
        raise_at_step(patch, step, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(small(fusion=fusion), *split(), config)
    torch.rand(7)
    resumed = fit(small(fusion=fusion), *split(), replace(config, resume=True))
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)
    assert_same_weights(resumed.model.state_dict(), whole.model.state_dict())
    last = [load(tmp_path / name / "last.ckpt").state_dict() for name in ("whole", "killed")]
    assert_same_weights(*last)


@pytest.fixture(scope="module")
def child():
    """Return what starts `go_on` in a process of its own, in which all that takes long is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course_lib.graphs", "course_lib.lightning_parts", "pytest"])

    def start(*arguments: object) -> multiprocessing.Process:
        process = context.Process(target=go_on, args=arguments)
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, child) -> Path:
    """Return the folder of an uninterrupted run; the graphs are next to it."""
    folder = tmp_path_factory.mktemp("killed") / "whole"
    graphs().save(folder.parent / "graphs")
    child(folder).join()  # not in this process, whose number of threads other tests may have changed
    return folder


def assert_same_files(folder: Path, whole: Path):
    for name in ("best.ckpt", "last.ckpt"):
        found, expected = (torch.load(path / name, weights_only=True) for path in (folder, whole))
        assert_same_weights(found["state_dict"], expected["state_dict"])
        assert str(found["callbacks"]["History"]["rows"]) == str(expected["callbacks"]["History"]["rows"])
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("moment", [("write", 1), ("write", 2), ("write", 5), ("rename", 1), ("rename", 4)])
def test_killed_while_a_checkpoint_is_written(undisturbed, child, moment):
    folder = undisturbed.with_name(f"{moment[0]}-{moment[1]}")
    process = child(folder, moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process = child(folder)
    process.join()
    assert process.exitcode == 0
    assert_same_files(folder, undisturbed)


def test_killed_at_any_moment(undisturbed, child):
    start = time.perf_counter()
    child(undisturbed.with_name("timed")).join()
    seconds = time.perf_counter() - start
    folder, rng = undisturbed.with_name("any"), np.random.default_rng()
    for _ in range(6):  # each gets some part of the way
        process = child(folder)
        process.join(rng.uniform(0, seconds))
        process.kill()
        process.join()
    process = child(folder)
    process.join()
    assert process.exitcode == 0
    assert_same_files(folder, undisturbed)


def test_a_finished_run_is_only_read_again(tmp_path):
    config = replace(QUICK, folder=tmp_path)
    whole = fit(small(), *split(), config)
    again = fit(small(), *split(), replace(config, resume=True))
    pd.testing.assert_frame_equal(again.history, whole.history, check_exact=True)
    assert_same_weights(again.model.state_dict(), whole.model.state_dict())


def test_without_resume_the_folder_is_written_anew(tmp_path):
    config = replace(QUICK, folder=tmp_path)
    fit(small(), *split(), config)
    second = fit(small(), *split(), replace(config, seed=5))
    assert_same_weights(load(tmp_path / "best.ckpt").state_dict(), second.model.state_dict())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"epochs": 9}, "epochs = 4, not 9"), ({"learning_rate": 0.1}, r"learning_rate = 0.005, not 0.1")],
)
def test_going_on_with_other_settings(tmp_path, changed, message):
    fit(small(), *split(), replace(QUICK, folder=tmp_path))
    with pytest.raises(ValueError, match=f"{message}. Continue with the same settings, or choose another folder"):
        fit(small(), *split(), replace(QUICK, folder=tmp_path, resume=True, **changed))


def test_going_on_with_another_model(tmp_path):
    fit(small(), *split(), replace(QUICK, folder=tmp_path))
    with pytest.raises(ValueError, match=r"was started with model = .*'CGCNN'.*, not .*EarlyFusion"):
        fit(small(fusion=True), *split(), replace(QUICK, folder=tmp_path, resume=True))


@pytest.mark.parametrize("part", ["training", "validation"])
def test_going_on_with_other_crystals(tmp_path, part):
    parts = dict(zip(("training", "validation"), split(), strict=True))
    fit(small(), *parts.values(), replace(QUICK, folder=tmp_path))
    before = parts[part].checksum
    parts[part] = replace(parts[part], y=parts[part].y * np.float32(1.001))
    wanted = (
        rf"was started with {part} crystals of checksum = '{before}', not '{parts[part].checksum}'. Continue with the"
    )
    with pytest.raises(ValueError, match=wanted):
        fit(small(), *parts.values(), replace(QUICK, folder=tmp_path, resume=True))


def test_checksum_of_crystals(tmp_path):
    """It is that of what a view shows, wherever the arrays are, and another one as soon as anything differs."""
    view = graphs().subset([3, 1, 7])
    view.save(tmp_path / "graphs")
    assert CrystalGraphs.load(tmp_path / "graphs").checksum == view.checksum
    others = [view.subset([0, 1]), view.subset([1, 0, 2]), replace(view, target_names=("other",))]
    first = {
        **dict.fromkeys(("source", "target", "count"), view.bond_offset[3]),
        **dict.fromkeys(("composition", "y", "ids"), 3),
        "species": view.atom_offset[3],
        "vector": view.edge_offset[3],
    }
    for name, position in first.items():
        changed = getattr(view, name).copy()
        changed[position] = "99" if name == "ids" else 99
        others.append(replace(view, **{name: changed}))
    assert len({view.checksum, *(other.checksum for other in others)}) == 1 + len(others)


def test_going_on_with_another_version(tmp_path, monkeypatch):
    fit(small(), *split(), replace(QUICK, folder=tmp_path))
    monkeypatch.setattr(training, "__version__", "99.0")
    with pytest.raises(ValueError, match=f"version of course_lib = '{course_lib.__version__}', not '99.0'"):
        fit(small(), *split(), replace(QUICK, folder=tmp_path, resume=True))
    load(tmp_path / "best.ckpt")  # reading what is older does no harm
    monkeypatch.setattr(training, "__version__", "0.0.9")
    for read in (load, lambda _: fit(small(), *split(), replace(QUICK, folder=tmp_path, resume=True))):
        with pytest.raises(ValueError, match=f"written by course_lib {course_lib.__version__}, this is 0.0.9: install"):
            read(tmp_path / "last.ckpt")


def test_a_new_run_that_is_killed_at_once_does_not_go_on_with_the_old_one(tmp_path, monkeypatch):
    """The settings are the same, the initial weights are not."""
    config = replace(QUICK, folder=tmp_path)
    fit(small(), *split(), config)
    torch.manual_seed(4)
    new = CGCNN(hidden=16, n_conv=1, embedding=16)
    expected = fit(copy.deepcopy(new), *split(), QUICK)
    with monkeypatch.context() as patch:
        raise_at_step(patch, 1, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(copy.deepcopy(new), *split(), config)
    assert list(tmp_path.iterdir()) == []
    found = fit(new, *split(), replace(config, resume=True))
    pd.testing.assert_frame_equal(found.history, expected.history, check_exact=True)


def test_the_random_numbers_of_a_gpu_go_on_too(monkeypatch):
    """Dropout draws from them; without a GPU here, its generator is played by another."""
    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", generator.get_state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", generator.set_state)
    state = History().state_dict()
    expected = torch.rand(3, generator=generator)
    History().load_state_dict(state)
    assert torch.equal(torch.rand(3, generator=generator), expected)


def test_early_stopping():
    config = FitConfig(epochs=60, batch_size=16, learning_rate=0.05, patience=3)
    history = fit(small(), graphs(), contrary(graphs()), config).history
    assert len(history) < 60
    assert history["val_error"].idxmin() == len(history) - 1 - 3


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_steps(epochs):
    train, val = split()
    assert len(fit(small(), train, val, FitConfig(epochs=epochs, batch_size=64)).history) == epochs


def test_a_last_batch_of_one_atom():
    """One atom has no spread to normalise by: with nine crystals and batches of eight, one would stay alone."""
    copper = Structure(Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    crystals = CrystalGraphs.from_structures([copper] * 9, targets=pd.Series(np.arange(9.0), name="y"))
    assert len(fit(small(), crystals, crystals, QUICK).history) == 4
    assert predict(fit(small(), crystals, crystals, QUICK).model, crystals.subset([4])).shape == (1, 1)


def test_mixed_precision():
    result = fit(small(), *split(), replace(QUICK, precision="bf16-mixed"))
    full = fit(small(), *split(), QUICK)
    assert result.history["val_error"].iloc[-1] == pytest.approx(full.history["val_error"].iloc[-1], rel=0.05)


def test_nothing_is_printed_or_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    result = fit(small(), *split(), QUICK)  # warnings are errors in these tests
    predict(result.model, split()[1])
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_progress_bar(capfd):
    fit(small(), *split(), replace(QUICK, epochs=1, progress=True))
    assert "Epoch 0" in "".join(capfd.readouterr())


def test_denormal_numbers_are_back_afterwards():
    """Left switched off they would change NumPy and SciPy in the same process, which warn about it."""
    fit(small(), *split(), replace(QUICK, epochs=1))
    assert torch.tensor(torch.finfo(torch.float32).tiny) / 2 > 0
    torch.set_flush_denormal(True)
    fit(small(), *split(), replace(QUICK, epochs=1))
    try:
        assert torch.tensor(torch.finfo(torch.float32).tiny) / 2 == 0
    finally:
        torch.set_flush_denormal(False)


def test_an_interruption_by_the_user_arrives(monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    raise_at_step(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(small(), *split(), QUICK)
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_that_is_no_number_is_not_left_out():
    """A single prediction that is NaN makes the validation error NaN; the mean of the others would look fine."""
    network = small()
    forward = network.forward

    def one_is_nan(batch):
        output = forward(batch)
        return output if network.training else torch.cat([output[:-1], torch.full((1, 1), torch.nan)])

    network.forward = one_is_nan
    with pytest.raises(FloatingPointError, match="never a number"):
        fit(network, *split(), replace(QUICK, epochs=1))


def test_diverged_run():
    with pytest.raises(FloatingPointError, match="the validation error was never a number: lower the learning rate"):
        fit(small(), *split(), FitConfig(epochs=2, batch_size=8, learning_rate=1e30))


# ---------------------------------------------------------------- targets


def test_the_scalers_know_the_training_set_only():
    train, val = split()
    extreme = replace(graphs(), y=graphs().y.copy(), composition=graphs().composition.copy())
    extreme.y[30:] *= 1e4
    extreme.composition[30:] += 1e6
    plain = fit(small(fusion=True), train, val, replace(QUICK, epochs=1)).model
    other = fit(small(fusion=True), extreme.subset(range(30)), extreme.subset(range(30, 40)), replace(QUICK, epochs=1))
    assert_same_weights(plain.state_dict(), other.model.state_dict())
    assert plain.target_scaler.mean.item() == pytest.approx(train.targets.mean(), rel=1e-5)
    assert plain.target_scaler.std.item() == pytest.approx(train.targets.std(), rel=1e-5)
    np.testing.assert_allclose(plain.network.standardize.mean, train.features.astype(float).mean(0), rtol=1e-5)


def test_missing_labels_contribute_nothing():
    crystals = two_targets({TARGET: [1, 4], "band_gap": [0, 1, 2]})
    regressor = fit(small(2), crystals, crystals, QUICK).model.train()
    batch = regressor.target_scaler.standardised(crystals).batch(range(6))
    mean, std = regressor.target_scaler.mean, regressor.target_scaler.std
    np.testing.assert_allclose(mean, np.nanmean(crystals.targets, 0), rtol=1e-5)
    np.testing.assert_allclose(std, np.nanstd(crystals.targets, 0), rtol=1e-5)

    def gradients(batch):
        regressor.zero_grad()
        loss = Fitting(regressor).training_step(batch, 0)
        loss.backward()
        return loss, [parameter.grad.clone() for parameter in regressor.parameters() if parameter.requires_grad]

    loss, expected = gradients(batch)
    error = np.abs(regressor.network(batch).detach().numpy() - (crystals.targets[:6] - mean.numpy()) / std.numpy())
    assert np.isnan(error).sum() == 5
    assert loss.item() == pytest.approx(np.nanmean(error, axis=0).sum(), rel=1e-5)

    poisoned = batch.clone()
    poisoned.y[~batch.y_mask] = 1e6
    _, found = gradients(poisoned)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_batch_without_any_label():
    crystals = two_targets({TARGET: list(range(18)), "band_gap": list(range(18))})
    history = fit(small(2), crystals, crystals, FitConfig(epochs=2, batch_size=2)).history
    assert np.isfinite(history.to_numpy()).all()


def test_validation_error_of_each_target():
    crystals = two_targets({"band_gap": [0, 1, 2]})
    result = fit(small(2), crystals, crystals, QUICK)
    best = result.history.loc[result.best_epoch]
    error = np.nanmean(np.abs(predict(result.model, crystals).to_numpy() - crystals.targets), axis=0)
    np.testing.assert_allclose(best[[f"val_mae_{TARGET}", "val_mae_band_gap"]], error, rtol=1e-5)
    assert best["val_error"] == pytest.approx((error / np.nanstd(crystals.targets, 0)).mean(), rel=1e-5)


# ---------------------------------------------------------------- several targets as one loss


def in_other_unit(crystals: CrystalGraphs, factor: float) -> CrystalGraphs:
    """Return the same crystals with the first target in another unit."""
    return replace(crystals, y=crystals.y * np.array([factor, 1.0], np.float32))


def assert_same_network(one: FitResult, other: FitResult):
    assert_same_weights(one.model.network.state_dict(), other.model.network.state_dict())


@pytest.mark.parametrize("task_weights", ["inverse_scale", "uncertainty"])
def test_the_unit_of_a_target_does_not_matter(task_weights):
    """The factor is a power of two, so that not even rounding differs."""
    crystals, config = two_targets({"band_gap": [3]}), replace(QUICK, task_weights=task_weights)
    one, other = (fit(small(2), graphs, graphs, config) for graphs in (crystals, in_other_unit(crystals, 1024)))
    assert_same_network(one, other)
    np.testing.assert_array_equal(one.history[["train_loss", "val_error"]], other.history[["train_loss", "val_error"]])
    for name, factor in ((f"val_mae_{TARGET}", 1024), (f"lambda_{TARGET}", 1 / 1024), ("lambda_band_gap", 1)):
        np.testing.assert_array_equal(one.history[name] * factor, other.history[name])


def test_the_unit_of_a_target_matters_to_fixed_weights():
    crystals, config = two_targets({}), replace(QUICK, task_weights=(1.0, 1.0))
    one, other = (fit(small(2), graphs, graphs, config) for graphs in (crystals, in_other_unit(crystals, 1024)))
    assert not torch.equal(one.model.network.out.weight, other.model.network.out.weight)
    undone = replace(QUICK, task_weights=(1 / 1024, 1.0))
    assert_same_network(one, fit(small(2), in_other_unit(crystals, 1024), in_other_unit(crystals, 1024), undone))


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_fixed_weights_equal_to_the_inverse_scale(loss):
    crystals = two_targets({})
    std = np.nanstd(crystals.targets.astype(float), 0)
    inverse = fit(small(2), crystals, crystals, replace(QUICK, loss=loss)).history
    np.testing.assert_allclose(
        inverse[[f"lambda_{TARGET}", "lambda_band_gap"]], np.tile(std ** (-1 if loss == "mae" else -2), (4, 1)), 1e-5
    )
    fixed = FitConfig(epochs=4, batch_size=8, loss=loss, task_weights=tuple(std ** (-1 if loss == "mae" else -2)))
    pd.testing.assert_frame_equal(
        fit(small(2), crystals, crystals, fixed).history, inverse, rtol=1e-2
    )  # rounding grows


def test_a_target_of_weight_zero_is_not_learned_and_chooses_no_epoch():
    crystals = two_targets({})
    nonsense = replace(crystals, y=crystals.y * np.array([1, -5], np.float32))
    config = replace(QUICK, task_weights=(3.0, 0.0), weight_decay=0.0)
    first = small(2).out.weight[1].clone()
    one, other = (fit(small(2), crystals, val, config) for val in (crystals, nonsense))
    assert torch.equal(one.model.network.out.weight[1], first)
    assert not torch.equal(one.model.network.out.weight[0], small(2).out.weight[0])
    assert one.history["val_error"].equals(other.history["val_error"])
    std = crystals.targets[:, 0].astype(float).std()
    np.testing.assert_allclose(one.history["val_error"], one.history[f"val_mae_{TARGET}"] / std, rtol=1e-5)
    assert not one.history["val_mae_band_gap"].equals(other.history["val_mae_band_gap"])
    assert one.history["lambda_band_gap"].eq(0).all()


def test_the_epoch_is_chosen_by_the_weights_of_the_loss():
    crystals = two_targets({})
    history = fit(small(2), crystals, crystals, replace(QUICK, task_weights=(3.0, 1.0))).history
    std = crystals.targets.astype(float).std(axis=0)
    expected = (3 * history[f"val_mae_{TARGET}"] + history["val_mae_band_gap"]) / (3 * std[0] + std[1])
    np.testing.assert_allclose(history["val_error"], expected, rtol=1e-5)


def test_a_crystal_with_one_label_still_trains():
    """If only two gaps are known, all crystals still train the energy, and nothing becomes NaN."""
    crystals = two_targets({"band_gap": list(range(18))})
    config = FitConfig(epochs=15, batch_size=4, learning_rate=0.02)
    for task_weights in ("inverse_scale", "uncertainty", (1.0, 1.0)):
        history = fit(small(2), crystals, crystals, replace(config, task_weights=task_weights)).history
        assert np.isfinite(history.to_numpy()).all()
        assert history[f"val_mae_{TARGET}"].min() < 0.8 * history[f"val_mae_{TARGET}"].iloc[0]


@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_learned_weights_follow_the_errors(loss):
    """They start from the spreads of the targets and are near those of the errors, which are smaller, at the end."""
    crystals = two_targets({})
    config = FitConfig(epochs=60, batch_size=10, loss=loss, task_weights="uncertainty")
    result = fit(small(2), crystals, crystals, config)
    weights = result.history[[f"lambda_{TARGET}", "lambda_band_gap"]].to_numpy()
    assert (weights[-1] > 2.5 * weights[0]).all()
    errors = result.history[[f"val_mae_{TARGET}", "val_mae_band_gap"]].to_numpy()
    if loss == "mae":  # where the weight belongs is 1 / error
        assert (weights[0] * errors[0] < 1).all()
        assert ((weights[-1] * errors[-1] > 0.4) & (weights[-1] * errors[-1] < 2.5)).all()
    # The recorded weights of the best epoch are those that the model carries.
    np.testing.assert_allclose(result.model.task_weights.lambda_k, weights[result.best_epoch], rtol=1e-6)


def test_learned_weights_do_not_decay(monkeypatch):
    """A batch without labels gives no gradient: then only decay could move a weight, and it moves the network's."""
    crystals = two_targets({TARGET: list(range(18)), "band_gap": list(range(18))})
    optimizers = []
    configure = Fitting.configure_optimizers

    def remember(self):
        optimizers.append(configure(self))
        return optimizers[-1]

    monkeypatch.setattr(Fitting, "configure_optimizers", remember)
    config = FitConfig(epochs=1, batch_size=10, weight_decay=0.25, task_weights="uncertainty")
    model = fit(small(2), crystals, crystals, config).model
    network, learned = optimizers[0]["optimizer"].param_groups
    assert (network["weight_decay"], learned["weight_decay"]) == (0.25, 0.0)
    assert [id(parameter) for parameter in learned["params"]] == [id(model.task_weights.log_spread)]
    assert len(network["params"]) == len(list(model.network.parameters()))


def test_learned_weights_travel_in_the_checkpoint(tmp_path, monkeypatch):
    crystals, config = two_targets({"band_gap": [2]}), replace(QUICK, task_weights="uncertainty")
    whole = fit(small(2), crystals, crystals, replace(config, folder=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        raise_at_step(patch, 8, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(small(2), crystals, crystals, replace(config, folder=tmp_path / "killed"))
    resumed = fit(small(2), crystals, crystals, replace(config, folder=tmp_path / "killed", resume=True))
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)
    loaded = load(tmp_path / "killed" / "best.ckpt")
    assert torch.equal(loaded.task_weights.spread, whole.model.task_weights.spread)
    with pytest.raises(ValueError, match=r"was started with task_weights = 'uncertainty', not \(1.0, 2.0\)"):
        fit(
            small(2),
            crystals,
            crystals,
            replace(config, folder=tmp_path / "killed", resume=True, task_weights=(1.0, 2.0)),
        )


def test_weights_from_a_list():
    """As a JSON file gives them; to resume the same run they must equal the tuple."""
    assert FitConfig(task_weights=[1.0, 2.0]) == FitConfig(task_weights=(1.0, 2.0))


def test_as_many_weights_as_targets():
    with pytest.raises(ValueError, match=r"task_weights has 3 numbers, \(1.0, 2.0, 3.0\), for 2 targets"):
        fit(small(2), two_targets({}), two_targets({}), replace(QUICK, task_weights=(1.0, 2.0, 3.0)))


# ---------------------------------------------------------------- predicting and loading


def test_predictions_by_id_and_whatever_the_batch(monkeypatch):
    train, val = split()
    model = fit(small(fusion=True), train, val, QUICK).model
    found = predict(model, graphs())
    assert found.index.name == "id"
    assert found.index.tolist() == graphs().ids.tolist()
    assert found.columns.tolist() == [TARGET]
    assert found.to_numpy().dtype == np.float64
    shuffled = np.random.default_rng(0).permutation(40)
    monkeypatch.setattr(training, "_PREDICT_BATCH", 3)
    other = predict(model, graphs().subset(shuffled)).loc[found.index]
    np.testing.assert_allclose(other, found, rtol=1e-5, atol=1e-5)
    assert predict(model, graphs().subset([])).shape == (0, 1)


def test_targets_of_the_crystals_are_not_read():
    train, val = split()
    model = fit(small(), train, val, QUICK).model
    frame = bundled(40)
    unlabelled = CrystalGraphs.from_structures(frame["structure"], ids=frame.index)
    pd.testing.assert_frame_equal(predict(model, unlabelled), predict(model, graphs()), check_exact=True)


def test_checkpoint_holds_plain_values_and_predicts_the_same(tmp_path):
    train, val = split()
    result = fit(small(fusion=True), train, val, replace(QUICK, folder=tmp_path))
    torch.load(tmp_path / "last.ckpt", weights_only=True)
    loaded = load(tmp_path / "best.ckpt")
    pd.testing.assert_frame_equal(predict(loaded, val), predict(result.model, val), check_exact=True)
    assert loaded.target_names == [TARGET]
    assert loaded.about["config"]["epochs"] == 4


def test_checkpoint_says_where_it_comes_from(tmp_path):
    train, val = split()
    model = fit(small(fusion=True), train, val, replace(QUICK, folder=tmp_path)).model
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert content["course_lib"] == course_lib.__version__
    about = content["hyper_parameters"]
    assert about["checksums"] == {"training": train.checksum, "validation": val.checksum}
    assert about["description"] == describe(model.network)
    for name in ("target_scaler.mean", "target_scaler.std", "network.standardize.mean", "task_weights.scale"):
        assert name in content["state_dict"]


def test_damaged_checkpoint(tmp_path):
    config = replace(QUICK, folder=tmp_path)
    fit(small(), *split(), config)
    for path in (tmp_path / "best.ckpt", tmp_path / "last.ckpt"):
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"best.ckpt is damaged, or not a checkpoint"):
        load(tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"last.ckpt is damaged, or not a checkpoint"):
        fit(small(), *split(), replace(config, resume=True))
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"best.ckpt is damaged, or not a checkpoint"):
        load(tmp_path / "best.ckpt")


@pytest.mark.parametrize("part", ["state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers"])
@pytest.mark.parametrize("value", [None, 3, [1]], ids=str)
def test_a_checkpoint_to_go_on_from_with_a_part_that_is_none(tmp_path, part, value):
    config = replace(QUICK, epochs=1, folder=tmp_path)
    fit(small(), *split(), config)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    if content[part] == value:
        pytest.skip("this is what stands there")
    torch.save(content | {part: value}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt|Tried to step"):
        fit(small(), *split(), replace(config, resume=True))


@pytest.mark.parametrize("content", [{"state_dict": {}}, torch.zeros(3)], ids=["dict", "tensor"])
def test_checkpoint_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "model.pth.tar")
    with pytest.raises(
        ValueError, match=r"not a checkpoint of this library.* read by course_lib.published.load_published"
    ):
        load(tmp_path / "model.pth.tar")


class Dangerous:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"course_lib": "0.1.0", "state_dict": Dangerous()}, "best.ckpt")
    with pytest.raises(ValueError, match=r"best.ckpt is damaged, or not a checkpoint"):
        load("best.ckpt")
    assert not Path("ran").exists()


def test_settings_in_numpy_numbers(tmp_path):
    """As a grid made with NumPy gives them; a checkpoint may hold plain numbers only."""
    config = FitConfig(
        epochs=np.int64(1), learning_rate=np.float64(1e-3), task_weights=np.ones(1, np.float32), folder=tmp_path
    )
    fit(small(), *split(), config)
    assert load(tmp_path / "best.ckpt").about["config"]["learning_rate"] == 1e-3


def test_checkpoint_loads_in_a_fresh_process(tmp_path):
    result = fit(small(fusion=True), *split(), replace(QUICK, folder=tmp_path))
    graphs().subset([3, 5]).save(tmp_path / "graphs")
    code = (
        "import sys; from course_lib.training import load, predict; from course_lib.graphs import CrystalGraphs\n"
        "print(predict(load(sys.argv[1]), CrystalGraphs.load(sys.argv[2])).to_numpy().ravel().tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "best.ckpt"), str(tmp_path / "graphs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = predict(result.model, graphs().subset([3, 5])).to_numpy().ravel()
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-5)


# ---------------------------------------------------------------- bad input


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*best.ckpt. fit\(..., FitConfig\(folder=...\)\)"):
        load(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "huber"}, "loss is 'huber'; choose one of mae, mse"),
        ({"task_weights": "equal"}, "task_weights is 'equal'; choose one of inverse_scale, uncertainty"),
        ({"task_weights": (1.0, -1.0)}, "number 1 of task_weights is -1.0"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"epochs": 1.5}, "epochs is 1.5, not a whole number"),
        ({"epochs": True}, "epochs is True, not a whole number"),
        ({"batch_size": "8"}, "batch_size is '8', not a whole number"),
        ({"patience": -1}, "patience is -1; it must be at least 1"),
        ({"patience": 2.5}, "patience is 2.5, not a whole number"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be finite"),
        ({"learning_rate": [1]}, r"learning_rate is \[1\], not a number"),
        ({"weight_decay": -1e-9}, "weight_decay is -1e-09; it must be at least 0"),
        ({"weight_decay": float("inf")}, "weight_decay is inf; it must be finite"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"seed": 2**32}, "seed is 4294967296; it must be at most"),
        ({"devices": 0}, "devices is 0; it must be at least 1"),
        ({"devices": -1}, "devices is -1; it must be at least 1"),
        ({"devices": "auto"}, "devices is 'auto', not a whole number"),
        ({"num_nodes": 0}, "num_nodes is 0; it must be at least 1"),
        ({"precision": "bf16-true"}, "precision is 'bf16-true'; choose one of 32-true"),
        ({"precision": 16}, "precision is 16; choose one of 32-true"),
        ({"accelerator": "quantum"}, "accelerator is 'quantum'; choose one of auto, cpu"),
        ({"loss": ["mae"]}, r"loss is \['mae'\]; choose one of"),
        ({"task_weights": 5}, "task_weights is 5; choose one of"),
        ({"task_weights": {"a": 1}}, "task_weights is .*; choose one of"),
        ({"task_weights": ("1",)}, "number 0 of task_weights is 1; give numbers"),
        ({"task_weights": ()}, r"task_weights is \(\): nothing would be learned"),
        ({"resume": "yes"}, "resume is 'yes'; it must be true or false"),
        ({"progress": 1}, "progress is 1; it must be true or false"),
        ({"resume": True}, "resume=True needs the folder"),
        ({"folder": "~/run"}, r"folder is '~/run': only a shell expands '~'\. Give Path\('~/run'\)\.expanduser"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**settings)


@pytest.mark.filterwarnings("ignore:.*fp16 is not supported on CPU")
@pytest.mark.parametrize("precision", training.PRECISIONS)
def test_every_precision_trains_and_predicts_the_same_when_loaded(precision, tmp_path):
    config = replace(QUICK, epochs=1, precision=precision, accelerator="cpu", folder=tmp_path)
    expected = predict(fit(small(), *split(), config).model, graphs())
    np.testing.assert_allclose(predict(load(tmp_path / "best.ckpt"), graphs()), expected, rtol=1e-5)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="the settings accelerator, devices, num_nodes and precision do not work here"):
        fit(small(), *split(), replace(QUICK, accelerator="mps"))


def test_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch):
    def full(content, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    fit(small(), *split(), replace(QUICK, folder=tmp_path))
    before = (tmp_path / "last.ckpt").read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"last.ckpt cannot be written; is the disk full"):
        WholeFiles().save_checkpoint({}, str(tmp_path / "last.ckpt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_told_to_end(tmp_path, number, code, monkeypatch):
    """It ends at once, with the exit code of a program that was told to end; the checkpoint stays, and goes on."""
    whole = fit(small(), *split(), replace(QUICK, folder=tmp_path / "whole"))
    step, calls = Fitting.training_step, []

    def told(self, *arguments):
        calls.append(1)
        if len(calls) == 6:  # in the second epoch
            signal.raise_signal(number)
        return step(self, *arguments)

    config, before = replace(QUICK, folder=tmp_path / "ended"), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "training_step", told)
        with pytest.raises(SystemExit if code else KeyboardInterrupt) as ended:
            fit(small(), *split(), config)
    assert len(calls) == 6
    assert code is None or ended.value.code == code
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = fit(small(), *split(), replace(config, resume=True))
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)


def test_too_few_crystals():
    train, val = split()
    with pytest.raises(ValueError, match="the training set has 1 crystals; it needs at least 2"):
        fit(small(), train.subset([0]), val)
    with pytest.raises(ValueError, match="the validation set has 0 crystals; it needs at least 1"):
        fit(small(), train, val.subset([]))


def test_outputs_and_targets_that_do_not_fit():
    train, val = split()
    with pytest.raises(ValueError, match=rf"predicts 2 targets, the graphs have 1 \({TARGET}\). Make .* n_targets=1"):
        fit(small(2), train, val)
    without = CrystalGraphs.from_structures([random_crystal(seed) for seed in range(3)])
    with pytest.raises(ValueError, match=r"predicts 1 targets, the graphs have 0 \(none\)"):
        fit(small(), without, without)
    both = two_targets({})
    with pytest.raises(ValueError, match="training and validation targets differ"):
        fit(small(), train, both)


@pytest.mark.parametrize(("part", "name"), [("training", TARGET), ("validation", "band_gap")])
def test_a_target_without_labels(part, name):
    full, empty = two_targets({}), two_targets({name: list(range(20))})
    train, val = (empty, full) if part == "training" else (full, empty)
    with pytest.raises(ValueError, match=f"target '{name}' has no label in the {part} set"):
        fit(small(2), train, val)


def test_features_that_do_not_fit():
    frame = bundled(6)
    features = magpie(frame["structure"]).iloc[:, :7]
    crystals = CrystalGraphs.from_structures(frame["structure"], composition=features, targets=frame[[TARGET]])
    with pytest.raises(ValueError, match="the crystals have 7 composition features, the model reads 145"):
        fit(small(fusion=True), crystals, crystals, QUICK)
