"""Predictions, training curves and the errors of methods."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.experiments import LABELS, corrected_interval, paired_differences
from course_lib.plots.style import (
    COLORS,
    FAINT,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    check_known,
    figure_function,
    paler,
    with_unit,
)

_RUN = ("fold", "seed")  # columns that tell the runs of a method on a split apart


@figure_function
def plot_parity(y: pd.Series, predictions: dict[str, pd.Series], unit: str = "eV/atom") -> Figure:
    """Draw predicted against true values, a panel a model.

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
    aligned = {label: _aligned(values, y, label) for label, values in predictions.items()}
    everything = np.concatenate([y.to_numpy(dtype=float), *aligned.values()])
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
    for rank, (axes, (label, values)) in enumerate(zip(panels.flat, aligned.items(), strict=False)):
        mae = np.abs(values - y.to_numpy(dtype=float)).mean()
        axes.plot(limits, limits, color=MUTED, linewidth=1.0, zorder=1)
        axes.plot(
            y, values, linestyle="", marker=MARKERS[rank % len(MARKERS)], markersize=4,
            color=COLORS[rank % len(COLORS)], alpha=0.6, markeredgewidth=0, zorder=2,
        )  # fmt: skip
        axes.text(
            0.04, 0.96, f"MAE {mae:.3f} {unit}\n{len(y)} crystals", transform=axes.transAxes, va="top", fontsize=SMALL
        )
        axes.set(title=label, xlim=limits, ylim=limits, aspect="equal")
    figure.supxlabel(with_unit("true", unit), fontsize=10)
    figure.supylabel(with_unit("predicted", unit), fontsize=10)
    return figure


def _aligned(values: pd.Series, y: pd.Series, label: str) -> np.ndarray:
    """Return `values` in the order of the ids of `y`."""
    for name, index in (("y", y.index), (label, values.index)):
        if index.has_duplicates:
            raise ValueError(f"{name}: id {index[index.duplicated()][0]!r} repeats. Give each crystal one value.")
    missing, extra = y.index.difference(values.index), values.index.difference(y.index)
    if len(missing) or len(extra):
        which, ids = ("lacks", missing) if len(missing) else ("has other", extra)
        raise ValueError(
            f"{label}: {which} ids than y, {len(ids)} of them, for example {ids[0]!r}."
            if len(extra) and not len(missing)
            else f"{label}: no value for {len(ids)} of the {len(y)} ids, for example {ids[0]!r}. "
            "Give y.loc[predictions.index] to draw fewer crystals."
        )
    return values.loc[y.index].to_numpy(dtype=float)


@figure_function
def plot_history(histories: dict[str, pd.DataFrame], column: str, unit: str) -> Figure:
    """Draw a quantity over the epochs of training, a line a model, with a mark at its smallest value.

    Parameters
    ----------
    histories : dict of str to DataFrame
        Training histories, one row an epoch, as ``FitResult.history``.
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
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    for rank, (label, history) in enumerate(histories.items()):
        check_known([column], history.columns, f"column in the history of {label}:")
        color = COLORS[rank % len(COLORS)]
        axes.plot(history.index, history[column], color=color, linestyle=LINES[rank % len(LINES)], label=label)
        best = history[column].idxmin()
        axes.plot(
            best,
            history[column].min(),
            marker=MARKERS[rank % len(MARKERS)],
            color=color,
            markersize=8,
            markeredgecolor=INK,
        )
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel(with_unit(_quantity(column), unit))
    axes.grid(which="both", axis="y")
    axes.legend()
    return figure


def _quantity(column: str) -> str:
    """Return what a column of a history is called."""
    if column.startswith("val_mae_"):
        return "validation MAE"
    return {"train_loss": "training loss", "val_error": "validation error"}.get(column, column.replace("_", " "))


@figure_function
def plot_errors(errors: pd.DataFrame, unit: str) -> Figure:
    """Draw the errors of methods: a row a method, a dot a run, with mean and standard deviation.

    Parameters
    ----------
    errors : DataFrame
        One row a run, with the columns ``method``, ``split``, ``mae`` and ``fold`` or ``seed`` or both. Methods and
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
    figure, panels = _panels_by_split(errors, len(methods))
    for axes, (_, group) in zip(panels, errors.groupby("split", sort=False), strict=True):
        for row, method in enumerate(methods):
            values = group.loc[group["method"] == method, "mae"].to_numpy()
            _draw_runs(axes, values, row, row)
            if len(values):
                spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
                _draw_mean(axes, values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0, row)
                axes.annotate(
                    f"{values.mean():.3f}{spread}",
                    (1.01, row),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=SMALL,
                )
        _label_rows(axes, methods)
    panels[0].set_xlim(left=0)  # after all is drawn: the panels share this axis
    panels[-1].set_xlabel(
        with_unit("mean absolute error", unit) + "\ndots: runs; diamond and bar: mean ± standard deviation"
    )
    return figure


@figure_function
def plot_paired_differences(errors: pd.DataFrame, reference: str, unit: str) -> Figure:
    """Draw how much each method's error differs from the reference's on the same test crystals.

    Parameters
    ----------
    errors : DataFrame
        One row a run, with the columns ``method``, ``split``, ``fold``, ``seed`` and ``mae``.
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
    _check_errors(errors)
    differences = paired_differences(errors, reference)
    others = [method for method in errors["method"].unique() if method != reference]
    figure, panels = _panels_by_split(errors, len(others))
    for axes, split in zip(panels, errors["split"].unique(), strict=True):
        for row, method in enumerate(others):
            mine = differences[(differences["split"] == split) & (differences["method"] == method)]
            values = mine["difference"].to_numpy()
            low, high = corrected_interval(values)
            _draw_runs(axes, values, row, row)
            _draw_mean(axes, values.mean(), (high - low) / 2, row)
            axes.annotate(
                f"{values.mean():+.3f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL
            )
        _label_rows(axes, others)
        axes.axvline(0, color=INK, linewidth=1.2)
    name = LABELS.get(reference, reference)
    reach = max(abs(limit) for axes in panels for limit in axes.get_xlim())
    panels[0].set_xlim(-reach, reach)
    panels[-1].set_xlabel(
        f"← better than {name}      worse than {name} →\n"
        + with_unit("difference of the mean absolute errors", unit)
        + "\ndots: folds (mean over seeds); diamond and bar: mean and corrected 95 % interval"
    )
    return figure


def _check_errors(errors: pd.DataFrame) -> None:
    """Raise ``ValueError`` unless `errors` has the columns, and every run once."""
    check_known(["method", "split", "mae"], errors.columns, "column")
    repeated = errors.duplicated(["method", "split", *_run_columns(errors)])
    if repeated.any():
        row = errors[repeated].iloc[0]
        raise ValueError(
            f"two rows for one run: {row[['method', 'split', *_run_columns(errors)]].to_dict()}. Keep one."
        )


def _run_columns(errors: pd.DataFrame) -> list[str]:
    columns = [name for name in _RUN if name in errors]
    if not columns:
        raise ValueError("no column 'fold' or 'seed' tells the runs of a method apart. Add one.")
    return columns


def _panels_by_split(errors: pd.DataFrame, n_rows: int) -> tuple[Figure, np.ndarray]:
    """Return a figure with a panel for each split."""
    splits = errors["split"].unique()
    figure, panels = plt.subplots(
        len(splits), 1, figsize=(WIDTH, 0.9 + len(splits) * (0.45 + 0.42 * n_rows)), sharex=True, squeeze=False
    )
    for axes, split in zip(panels[:, 0], splits, strict=True):
        axes.set_title(str(split))
    return figure, panels[:, 0]


def _draw_runs(axes: Axes, values: np.ndarray, row: float, rank: int) -> None:
    color = COLORS[rank % len(COLORS)]
    axes.plot(values, np.full(len(values), row - 0.12), linestyle="", marker="o", markersize=5, color=paler(color, 0.3),
              markeredgecolor="white", markeredgewidth=0.4, alpha=0.9)  # fmt: skip


def _draw_mean(axes: Axes, mean: float, half: float, row: float) -> None:
    axes.errorbar(mean, row + 0.18, xerr=half, fmt="D", color=INK, markersize=5, capsize=3, linewidth=1.4)


def _label_rows(axes: Axes, labels: list) -> None:
    axes.set_yticks(range(len(labels)), [LABELS.get(label, str(label)) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


@figure_function
def plot_errors_by_group(groups: pd.Series, errors: dict[str, pd.Series], unit: str) -> Figure:
    """Draw the mean absolute error of each model on each group of crystals.

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
    order = means.mean(axis=1).sort_values(ascending=False).index
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.32 * len(order)))
    rows = np.arange(len(order))
    axes.hlines(rows, means.loc[order].min(axis=1), means.loc[order].max(axis=1), color=FAINT, linewidth=2.5, zorder=1)
    for rank, label in enumerate(means):
        axes.plot(means.loc[order, label], rows, linestyle="", marker=MARKERS[rank % len(MARKERS)], markersize=7,
                  color=COLORS[rank % len(COLORS)], markeredgecolor=INK, markeredgewidth=0.6, label=label)  # fmt: skip
    _label_rows(axes, [f"{label} ({counts[label]})" for label in order])
    axes.set_xlim(left=0)
    axes.set_xlabel(with_unit("mean absolute error", unit) + ", number of crystals in brackets")
    figure.legend(loc="outside upper center", ncols=4)
    return figure
