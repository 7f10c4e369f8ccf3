"""The explorer of multi-task learning: the effect of the second task's weight lambda on both errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
import pandas as pd

from course_lib.experiments.analysis import pareto_front
from course_lib.models import CrystalModel
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame, live, side_by_side
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.explorers import plot_errors_along_lambda, plot_trade_off
from course_lib.teaching.figures.style import COLORS
from course_lib.training import FitConfig, fit, predict

if TYPE_CHECKING:
    from course_lib.graphs import CrystalGraphs

SCHEMES = {"fixed": "fixed λ", "inverse_scale": "inverse scale", "uncertainty": "uncertainty"}
"""The ways to set the weights of the tasks, and their names."""

_MARK = COLORS[1]


def sweep_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return recorded runs on two targets as `lambda_explorer` reads them, one row per run.

    Parameters
    ----------
    runs : DataFrame
        One row per run and target, as ``load_results(study="lambda_sweep")`` returns them: ``fold``, ``seed``,
        ``target``, ``mae``, and ``settings`` with the run's ``task_weights``.

    Returns
    -------
    DataFrame
        ``scheme``: ``"fixed"``, or the name of the scheme that sets the weights; ``lambda``: the second weight over
        the first, NaN where the scheme sets them; ``fold``, ``seed``; and a column of errors for each target.
    """
    weights = [settings["task_weights"] for settings in runs["settings"]]
    named = [isinstance(weight, str) for weight in weights]
    keyed = runs.assign(
        scheme=[weight if is_name else "fixed" for weight, is_name in zip(weights, named, strict=True)],
        ratio=[np.nan if is_name else weight[1] / weight[0] for weight, is_name in zip(weights, named, strict=True)],
    ).rename(columns={"ratio": "lambda"})
    keys = ["scheme", "lambda", "fold", "seed"]
    columns = [group.set_index(keys)["mae"].rename(target) for target, group in keyed.groupby("target", sort=False)]
    return pd.concat(columns, axis=1).reset_index()


def lambda_explorer(sweep: pd.DataFrame, single_task: pd.DataFrame, tasks: Mapping[str, tuple[str, str]]) -> Explorer:
    """Let the reader set the weight of the second task, and see both errors and where they lie among all weights.

    Parameters
    ----------
    sweep : DataFrame
        One row per run (`sweep_table` makes it): ``scheme``, one of `SCHEMES`; ``lambda``, the weight of the second
        task, where the first has 1, NaN where the scheme sets it; and the mean absolute error of each task. Runs with
        one scheme and lambda (folds, seeds) give a mean and a standard deviation.
    single_task : DataFrame
        Runs of the networks with one task each: a column of errors for each task.
    tasks : mapping of str to (str, str)
        The two tasks: column, and its name and unit, for example ``{"band_gap": ("band gap", "eV")}``.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If there are not two tasks, a column is missing, a scheme is unknown, or a fixed weight is not positive.
    """
    results = _Sweep(sweep, single_task, tasks)
    frames = {(0, stop): results.frame("fixed", weight) for stop, weight in enumerate(results.weights)}
    for rank, scheme in enumerate(results.schemes, start=1):
        frame = results.frame(scheme, None)
        frames |= {(rank, stop): frame for stop in range(len(results.weights))}
    choices = [
        Choice("weights", tuple(SCHEMES[scheme] for scheme in ("fixed", *results.schemes))),
        Choice("λ", tuple(map(_written, results.weights)), len(results.weights) // 2, slider=True),
    ]
    return Explorer(choices, frames)


def live_lambda(
    make_model: Callable[[], CrystalModel],
    graphs: tuple[CrystalGraphs, CrystalGraphs, CrystalGraphs],
    sweep: pd.DataFrame,
    single_task: pd.DataFrame,
    tasks: Mapping[str, tuple[str, str]],
    config: FitConfig | None = None,
) -> ipywidgets.VBox:
    """Let the reader train a network on two tasks with any weight, and see it among the recorded ones. Needs a kernel.

    Parameters
    ----------
    make_model : callable
        Makes an untrained network with two outputs.
    graphs : (CrystalGraphs, CrystalGraphs, CrystalGraphs)
        Training, validation and test crystals, with the two tasks as targets.
    sweep, single_task, tasks
        As for `lambda_explorer`.
    config : FitConfig, optional
        How to train; the weights of the tasks come from the slider.

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        As for `lambda_explorer`, or if the targets of the graphs are not the tasks.
    """
    results = _Sweep(sweep, single_task, tasks)
    train, val, test = graphs
    if test.target_names != tuple(tasks):
        raise ValueError(
            f"the graphs have the targets {test.target_names}; they must be {tuple(tasks)}, in this order."
        )
    config = FitConfig() if config is None else config
    slider = ipywidgets.FloatLogSlider(1.0, min=-1.5, max=1.5, step=0.1, description="λ", tooltip="λ")
    button = ipywidgets.Button(description="Train", icon="play", tooltip="Train a network with this λ")
    progress, shown = ipywidgets.Output(), ipywidgets.HTML()

    def train_one(_: ipywidgets.Button) -> None:
        weight, button.disabled = slider.value, True
        progress.clear_output()
        with progress:  # it also shows an error, if one occurs
            model = fit(make_model(), train, val, replace(config, task_weights=(1.0, weight), progress=True)).model
            errors = (predict(model, test) - test.targets).abs().mean()
            shown.value = side_by_side(results.yours(errors, weight))
        button.disabled = False

    button.on_click(train_one)
    return live([ipywidgets.HBox([slider, button]), progress, shown])


class _Sweep:
    """Runs with many task weights, their references, and the two pictures of them all."""

    def __init__(self, sweep: pd.DataFrame, single_task: pd.DataFrame, tasks: Mapping[str, tuple[str, str]]):
        _check(sweep, single_task, tasks)
        self.tasks, self.single = dict(tasks), single_task
        self.fixed = sweep[sweep["scheme"] == "fixed"]
        self.weights = sorted(self.fixed["lambda"].unique().tolist())
        by_scheme = dict(list(sweep.groupby("scheme")))
        self.schemes = {scheme: by_scheme[scheme] for scheme in SCHEMES if scheme in by_scheme and scheme != "fixed"}
        means = [runs[list(tasks)].mean().to_frame(SCHEMES[scheme]).T for scheme, runs in self.schemes.items()]
        means = pd.concat([self.fixed.groupby("lambda")[list(tasks)].mean(), *means])
        self.front = pareto_front(means, list(tasks))

        labels = {task: f"{name} ({unit})" for task, (name, unit) in tasks.items()}
        named = {SCHEMES[scheme]: runs for scheme, runs in self.schemes.items()}
        first, second = (name for name, _ in tasks.values())
        self.along = plot_errors_along_lambda(self.fixed, single_task, labels)
        self.along_picture = picture(self.along, f"Errors of {first} and {second} along λ, and single-task networks.")
        self.front_figure = plot_trade_off(self.fixed, self.front, named, single_task, labels)
        self.front_picture = picture(
            self.front_figure,
            f"Error of {second} against error of {first}: a mark for each λ and scheme, those on the trade-off front "
            "filled, those far from it at the edge, and lines for the single-task networks.",
        )

    def frame(self, scheme: str, weight: float | None) -> Frame:
        """Return the frame of a recorded scheme, with one of its weights if they are fixed."""
        chosen = self.schemes[scheme] if weight is None else self.fixed[self.fixed["lambda"] == weight]
        written = "set by the scheme" if weight is None else _written(weight)
        on_front = "yes" if self.front[SCHEMES[scheme] if weight is None else weight] else "no"
        settings = {"weights": SCHEMES[scheme], "λ": written}
        rest = {"on the trade-off front": on_front}, {"±": f"standard deviation of {len(chosen)} runs"}
        lines = (settings, *self._errors(chosen), *rest)
        return Frame(self._pictures(chosen, weight, f"Chosen: {SCHEMES[scheme]}, λ {written}."), lines)

    def yours(self, errors: pd.Series, weight: float) -> Frame:
        """Return the frame of a run that is not among the recorded ones."""
        chosen = errors.to_frame().T
        lines = ({"your λ": _written(weight)}, *self._errors(chosen))
        return Frame(self._pictures(chosen, weight, f"Chosen: your λ, {_written(weight)}."), lines)

    def _errors(self, chosen: pd.DataFrame) -> list[dict[str, str]]:
        return [
            {
                name: _mean_and_spread(chosen[task], unit),
                f"{name}, single-task": _mean_and_spread(self.single[task], unit),
            }
            for task, (name, unit) in self.tasks.items()
        ]

    def _pictures(
        self, chosen: pd.DataFrame, weight: float | None, alt: str
    ) -> tuple[tuple[str, str], tuple[str, str]]:
        means, spreads = chosen[list(self.tasks)].mean(), chosen[list(self.tasks)].std().fillna(0.0)
        along = Layer(self.along)
        for axes, mean, spread in zip(self.along.axes, means, spreads, strict=True):
            low, high = mean - spread, mean + spread
            if weight is None:
                along.band(axes, axes.get_xlim(), (low, high), _MARK).line(axes, axes.get_xlim(), (mean, mean), _MARK)
            else:
                along.line(axes, (weight, weight), (low, high), _MARK).disc(axes, weight, mean, _MARK)
        axes = self.front_figure.axes[0]
        # Points that are too far away are marked at the edge.
        (left, x, right), (low, y, high) = (
            np.clip([mean - spread, mean, mean + spread], *limits)
            for mean, spread, limits in zip(means, spreads, (axes.get_xlim(), axes.get_ylim()), strict=True)
        )
        front = Layer(self.front_figure).line(axes, (left, right), (y, y), _MARK)
        front.line(axes, (x, x), (low, high), _MARK).ring(axes, x, y, _MARK)
        return (self.along_picture, along.html(alt)), (self.front_picture, front.html(alt))


def _written(weight: float) -> str:
    return f"{weight:.3g}"


def _mean_and_spread(errors: pd.Series, unit: str) -> str:
    spread = f" ± {errors.std():.3f}" if len(errors) > 1 else ""
    return f"{errors.mean():.3f}{spread} {unit}"


def _check(sweep: pd.DataFrame, single_task: pd.DataFrame, tasks: Mapping) -> None:
    if len(tasks) != 2:
        raise ValueError(f"tasks names {len(tasks)} task(s); give exactly two.")
    for name, table, columns in (("sweep", sweep, ["scheme", "lambda", *tasks]), ("single_task", single_task, tasks)):
        for column in columns:
            if column not in table.columns:
                raise ValueError(f"{name} has no column {column!r}; it has {', '.join(map(str, table.columns))}.")
    unknown = sorted(set(sweep["scheme"]) - set(SCHEMES))
    if unknown:
        raise ValueError(f"scheme {unknown[0]!r} is unknown; choose among {', '.join(SCHEMES)}.")
    fixed = sweep[sweep["scheme"] == "fixed"]
    if fixed.empty:
        raise ValueError("no run has the scheme 'fixed', so no lambda can be chosen. Add such runs.")
    for row in fixed.index[~(fixed["lambda"] > 0)]:
        raise ValueError(f"row {row!r} of sweep has lambda {fixed.loc[row, 'lambda']}; a fixed weight is above zero.")
