"""Predictions, training curves and the errors of methods."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from course_lib.experiments.analysis import level_of_each, paired_differences, summarize_differences
from course_lib.methods import LABELS
from course_lib.teaching.figures.style import (
    INK,
    LINES,
    MARKERS,
    MUTED,
    PROTOTYPES,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    folds_title,
    paler,
    pick,
    with_unit,
)

_RUN = ("fold", "seed")  # columns that tell the runs of a method on a split apart
_QUANTITIES = {"train_loss": "training loss", "val_error": "validation error"}


@figure_function
def plot_parity(y: pd.Series, predictions: dict[str, pd.Series], unit: str = "eV/atom") -> Figure:
    """Draw predicted against true values, one panel per model.

    Parameters
    ----------
    y : Series
        True values by crystal id.
    predictions : dict of str to Series
        Predicted values by crystal id, in any order, for each model.
    unit : str, default "eV/atom"
        Unit of all values.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the ids of a model are not those of `y`, or repeat.
    """
    true = y.to_numpy(dtype=float)
    aligned = {label: _aligned(values, y, label) for label, values in predictions.items()}
    everything = np.concatenate([true, *aligned.values()])
    margin = 0.04 * (everything.max() - everything.min())
    limits = (everything.min() - margin, everything.max() + margin)
    columns = min(3, len(aligned))
    rows = -(-len(aligned) // columns)
    side = WIDTH / max(columns, 2)
    figure, panels = plt.subplots(
        rows, columns, figsize=(side * columns, (side + 0.25) * rows), sharex=True, sharey=True, squeeze=False
    )
    for axes in panels.flat[len(aligned) :]:
        axes.set_visible(False)
    colors = colors_of(aligned)
    for axes, (label, values) in zip(panels.flat, aligned.items(), strict=False):
        axes.plot(limits, limits, color=MUTED, linewidth=1.0, zorder=1)
        axes.plot(true, values, linestyle="", marker="o", markersize=4, color=colors[label], alpha=0.6,
                  markeredgewidth=0, zorder=2)  # fmt: skip
        mae = np.abs(values - true).mean()
        axes.text(0.04, 0.97, f"MAE {mae:.3f} {unit}\n{len(true)} crystals", transform=axes.transAxes, va="top",
                  fontsize=SMALL)  # fmt: skip
        axes.set(title=label, xlim=limits, ylim=limits, aspect="equal")
    figure.supxlabel(with_unit("true", unit), fontsize=10)
    figure.supylabel(with_unit("predicted", unit), fontsize=10)
    return figure


def _aligned(values: pd.Series, y: pd.Series, label: str) -> np.ndarray:
    """Return `values` in the order of the ids of `y`."""
    for name, index in (("the true values", y.index), (label, values.index)):
        if index.has_duplicates:
            raise ValueError(f"{name}: id {index[index.duplicated()][0]!r} repeats. Give each crystal one value.")
    missing, extra = y.index.difference(values.index), values.index.difference(y.index)
    if len(missing):
        raise ValueError(
            f"{label} has no value for {len(missing)} of {len(y)} ids, for example {missing[0]!r}. "
            "Give all Series the same crystals: y.loc[predictions.index]."
        )
    if len(extra):
        raise ValueError(
            f"{label} has values for {len(extra)} ids that the others lack, for example {extra[0]!r}. "
            "Give all Series the same crystals: predictions.loc[y.index]."
        )
    return values.loc[y.index].to_numpy(dtype=float)


@figure_function
def plot_history(histories: dict[str, pd.DataFrame], column: str, unit: str) -> Figure:
    """Draw a quantity over the epochs of training, one line per model, with a mark at its smallest value.

    Parameters
    ----------
    histories : dict of str to DataFrame
        Training histories, one row per epoch, as ``FitResult.history``.
    column : str
        What to draw.
    unit : str
        Its unit; empty for none.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a history lacks the column.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    colors = colors_of(histories)
    for rank, (label, history) in enumerate(histories.items()):
        check_known([column], history.columns, f"column in the history of {label}:")
        best, value = history[column].idxmin(), history[column].min()
        axes.plot(history.index, history[column], color=colors[label], linestyle=pick(LINES, rank))
        axes.plot(best, value, marker=pick(MARKERS, rank), color=colors[label], markersize=8, markeredgecolor=INK)
        axes.plot([], [], color=colors[label], linestyle=pick(LINES, rank), marker=pick(MARKERS, rank),
                  markeredgecolor=INK, label=f"{label}: {value:.3g} at best")  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("epoch")
    axes.set_ylabel(with_unit(_quantity(column), unit))
    axes.grid(axis="y")
    axes.legend(handlelength=3.5)
    return figure


def _quantity(column: str) -> str:
    """Return what a column of a history is called."""
    if column.startswith("val_mae_"):
        return "validation MAE"
    return _QUANTITIES.get(column, column.replace("_", " "))


@figure_function
def plot_errors(errors: pd.DataFrame, unit: str) -> Figure:
    """Draw the errors of methods: one panel per split, one row per method, one dot per run, with mean and spread.

    Parameters
    ----------
    errors : DataFrame
        One row per run, with the columns ``method``, ``split``, ``mae`` and ``fold`` or ``seed`` or both. Methods and
        splits are drawn in the order in which they appear.
    unit : str
        Unit of ``mae``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing, or a run stands there twice.
    """
    _check_errors(errors)
    methods = list(errors["method"].unique())
    figure, panels = _panels_by_split(errors, methods)
    colors = colors_of(methods)
    for axes, (_, group) in zip(panels, errors.groupby("split", sort=False), strict=True):
        for row, method in enumerate(methods):
            values = group.loc[group["method"] == method, "mae"]
            if values.empty:
                continue
            spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
            half = values.std() if spread else 0.0
            _draw_row(axes, row, colors[method], values, half, f"{values.mean():.3f}{spread}")
    panels[-1].set_xlim(0, 1.05 * errors["mae"].max())
    panels[-1].set_xlabel(
        with_unit("mean absolute error", unit) + "\ndots: runs; diamond and bar: their mean ± standard deviation"
    )
    return figure


def mean_and_interval(n_comparisons: int) -> str:
    """Return what diamond and bar of a comparison are called, with the level of each interval."""
    each = f"{100 * level_of_each(n_comparisons):.3g} %"
    return f"mean and {each} interval" + (f" ({n_comparisons} together: 95 %)" if n_comparisons > 1 else "")


@figure_function
def plot_paired_differences(errors: pd.DataFrame, reference: str, unit: str) -> Figure:
    """Draw how much each method's error differs from that of `reference` on the same test crystals.

    A dot is a fold, averaged over the seeds. The diamond is the mean over folds, the bar its interval, as in
    `course_lib.experiments.analysis.summarize_differences`.

    Parameters
    ----------
    errors : DataFrame
        One row per run, with the columns ``method``, ``split``, ``fold``, ``seed`` and ``mae``.
    reference : str
        The method that the others are compared with.
    unit : str
        Unit of ``mae``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing, a run stands there twice, or a method lacks a run that another has.
    """
    check_known(_RUN, errors.columns, "column")
    _check_errors(errors)
    colors = colors_of(errors["method"].unique())
    others = [method for method in colors if method != reference]
    if not others:
        raise ValueError(f"{reference!r} is the only method. Give the runs of another to compare it with.")
    differences, summary = paired_differences(errors, reference), summarize_differences(errors, reference)
    figure, panels = _panels_by_split(errors, others)
    for axes, split in zip(panels, errors["split"].unique(), strict=True):
        for row, method in enumerate(others):
            mine = differences[(differences["split"] == split) & (differences["method"] == method)]["difference"]
            mean, low, high = summary.loc[(split, method)]
            _draw_row(axes, row, colors[method], mine, (high - low) / 2, f"{mean:+.3f}".replace("-", "−"))
        axes.axvline(0, color=INK, linewidth=1.2)
    name = LABELS.get(reference, reference)
    _label_sides(panels, name)
    panels[-1].set_xlabel(
        with_unit(f"mean absolute error minus that of {name}", unit)
        + f"\ndots: folds (mean over seeds); diamond and bar: {mean_and_interval(len(summary))}",
        labelpad=20,
    )
    return figure


def _label_sides(panels: np.ndarray, reference: str) -> None:
    """Put zero in the middle, and say below the axis which side is better."""
    reach = max(abs(limit) for axes in panels for limit in axes.get_xlim())
    panels[-1].set_xlim(-reach, reach)
    for offset, side, text in ((-8, "right", f"← better than {reference}"), (8, "left", f"worse than {reference} →")):
        panels[-1].annotate(text, (0, 0), (offset, -19), xycoords=("data", "axes fraction"), ha=side, va="top",
                            textcoords="offset points", fontweight="bold", fontsize=SMALL)  # fmt: skip


def _check_errors(errors: pd.DataFrame) -> None:
    """Raise ``ValueError`` unless `errors` has the columns, and every run once."""
    check_known(["method", "split", "mae"], errors.columns, "column")
    run = ["method", "split", *_run_columns(errors)]
    repeated = errors.duplicated(run)
    if repeated.any():
        raise ValueError(f"two rows for one run: {errors.loc[repeated.to_numpy(), run].iloc[0].to_dict()}. Keep one.")


def _run_columns(errors: pd.DataFrame) -> list[str]:
    columns = [name for name in _RUN if name in errors]
    if not columns:
        raise ValueError("no column 'fold' or 'seed' tells the runs of a method apart. Add one.")
    return columns


def _panels_by_split(errors: pd.DataFrame, methods: list) -> tuple[Figure, np.ndarray]:
    """Return a figure with one panel per split and one row per method."""
    splits = errors["split"].unique()
    height = 0.9 + len(splits) * (0.45 + 0.45 * len(methods))
    figure, panels = plt.subplots(len(splits), 1, figsize=(WIDTH, height), sharex=True, squeeze=False)
    for axes, split in zip(panels[:, 0], splits, strict=True):
        axes.set_title(folds_title(split))
        label_rows(axes, methods)
    return figure, panels[:, 0]


def label_rows(axes: Axes, labels: list) -> None:
    """Name the rows of a panel, the first at the top: a method by its label, anything else as it is."""
    axes.set_yticks(range(len(labels)), [LABELS.get(label, str(label)) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _draw_row(axes: Axes, row: int, color: str, values: pd.Series, half: float, text: str) -> None:
    """Draw the results of a method, below them their mean with a bar, and the text at the right."""
    axes.plot(values, np.full(len(values), row - 0.13), linestyle="", marker="o", markersize=6, alpha=0.8,
              color=paler(color, 0.25), markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip
    axes.errorbar(values.mean(), row + 0.2, xerr=half, fmt="D", color=INK, markersize=5, capsize=3, linewidth=1.4)
    axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


@figure_function
def plot_errors_by_group(groups: pd.Series, errors: dict[str, pd.Series], unit: str) -> Figure:
    """Draw the mean absolute error of each model on each group of crystals, the hardest group first.

    Parameters
    ----------
    groups : Series
        A label for each crystal id, for example its prototype.
    errors : dict of str to Series
        Absolute errors by crystal id for each model, all of the same crystals.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a crystal has no group, or the models' crystals differ.
    """
    first = next(iter(errors.values()))
    check_known(first.index, groups.index, "group for the crystal")
    table = pd.DataFrame({label: _aligned(values, first, label) for label, values in errors.items()}, index=first.index)
    by_group = table.groupby(groups.loc[table.index])
    means, counts = by_group.mean(), by_group.size()
    means = means.loc[means.mean(axis=1).sort_values(ascending=False).index]
    rows = np.arange(len(means))
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.3 * len(means)))
    axes.hlines(rows, means.min(axis=1), means.max(axis=1), color="#e3e6eb", linewidth=6, zorder=1)
    colors = colors_of(means)
    for rank, label in enumerate(means):
        axes.plot(means[label], rows, linestyle="", marker=pick(MARKERS, rank), markersize=7, color=colors[label],
                  markeredgecolor=INK, markeredgewidth=0.6, label=label)  # fmt: skip
    label_rows(axes, [f"{PROTOTYPES.get(group, group)} ({counts[group]})" for group in means.index])
    axes.set_xlim(0, 1.05 * means.to_numpy().max())
    axes.set_xlabel(with_unit("mean absolute error", unit) + "; in brackets, the number of crystals")
    figure.legend(loc="outside upper center", ncols=4)
    return figure
