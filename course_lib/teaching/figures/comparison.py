"""What the comparison of methods shows: more data, and error against cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from course_lib.experiments.analysis import pareto_front, training_set_size
from course_lib.methods import KINDS, LABELS
from course_lib.teaching.figures.schematics import inch_canvas
from course_lib.teaching.figures.style import (
    FAINT,
    INK,
    LINES,
    MARKERS,
    MUTED,
    NARROW_WIDTH,
    PANEL,
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

_IN_PANEL = 4  # methods whose names have room inside a panel of learning curves
_KINDS = {
    "composition": ("o", "reads composition"),
    "structure": ("s", "reads structure"),
    "hybrid": ("^", "reads both"),
}
"""Mark and description of each kind of method; the colour is that of the method."""


@figure_function
def plot_learning_curves(runs: pd.DataFrame, unit: str) -> Figure:
    """Draw the error of each method against the number of training crystals, one panel per split.

    A point is the mean over folds and seeds, its bar their standard deviation. Nearly equal sizes are one point
    (`course_lib.experiments.training_set_size`).

    Parameters
    ----------
    runs : DataFrame
        One row per run, with the columns ``method``, ``split``, ``n_learned`` and ``mae``.
    unit : str
        Unit of ``mae``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["method", "split", "n_learned", "mae"], runs.columns, "column")
    splits, colors = runs["split"].unique(), colors_of(runs["method"].unique())
    figure, panels = plt.subplots(1, len(splits), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for axes, split in zip(panels[0], splits, strict=True):
        of_split = runs[runs["split"] == split]
        of_split = of_split.assign(size=training_set_size(of_split))
        for rank, method in enumerate(runs["method"].unique()):
            points = of_split[of_split["method"] == method].groupby("size")["mae"].agg(["mean", "std"])
            shift = 1.02 ** (rank - 1)  # bars side by side
            axes.errorbar(points.index * shift, points["mean"], yerr=points["std"], color=colors[method],
                          linestyle=pick(LINES, rank), marker=pick(MARKERS, rank), markersize=6, capsize=2,
                          label=LABELS.get(method, method))  # fmt: skip
        axes.set(title=folds_title(split), xscale="log", yscale="log")
        axes.xaxis.set_major_locator(FixedLocator(of_split["size"].unique()))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y")
        axes.set_xlabel("training crystals")
    low, high = panels[0, 0].get_ylim()
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high < 5 * low else (1, 2, 3, 5, 7)
    for axes in panels[0]:
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
    panels[0, 0].set_ylabel(with_unit("mean absolute error", unit))
    if len(colors) > _IN_PANEL:
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, handlelength=3.5)
    else:
        panels[0, -1].legend(handlelength=3.5)
    return figure


@figure_function
def plot_what_methods_read(methods: Sequence[str], narrow: bool = False) -> Figure:
    """Draw two views that overlap, composition and structure, with each method, in its colour, in what it reads.

    Parameters
    ----------
    methods : sequence of str
        Methods of the course (`course_lib.methods.METHODS`).
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the views are then below each other.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a method is not one of the course.
    """
    check_known(methods, KINDS, "method")
    if narrow:
        figure, axes = inch_canvas(5.3, NARROW_WIDTH)
        size, centers = (4.2, 3.0), ((NARROW_WIDTH / 2, 3.4), (NARROW_WIDTH / 2, 1.85))
        titles, names = ((NARROW_WIDTH / 2, 5.1), (NARROW_WIDTH / 2, 0.15)), ((1.5, 4.2), (1.5, 1.05), (1.5, 2.625))
    else:
        figure, axes = inch_canvas(2.75)
        size, centers = (4.6, 2.2), ((2.4, 1.15), (WIDTH - 2.4, 1.15))
        titles, names = ((1.6, 2.5), (WIDTH - 1.6, 2.5)), ((0.55, 1.15), (WIDTH - 2.1, 1.15), (3.05, 1.15))
    composition, structure, overlap = (Ellipse(center, *size) for center in (*centers, centers[1]))
    for patch, face in ((composition, PANEL), (structure, PANEL), (overlap, paler(FAINT, 0.5))):
        axes.add_patch(patch)
        patch.set(facecolor=face, edgecolor="none")
    overlap.set_clip_path(composition)
    for center in centers:
        axes.add_patch(Ellipse(center, *size, fill=False, edgecolor=INK, linewidth=1.2))
    for place, title in zip(titles, ("composition: Magpie features", "structure: crystal graph"), strict=True):
        axes.text(*place, title, ha="center", va="center", fontweight="bold")
    colors = colors_of(methods)
    for (kind, (mark, _)), (x, middle) in zip(_KINDS.items(), names, strict=True):
        of_kind = [method for method in methods if KINDS[method] == kind]
        for row, method in enumerate(of_kind):
            y = middle + 0.25 * ((len(of_kind) - 1) / 2 - row)
            axes.plot(x, y, marker=mark, color=colors[method], markersize=8, markeredgecolor=INK, markeredgewidth=0.6)
            axes.text(x + 0.15, y, LABELS[method], va="center")
    return figure


@figure_function
def plot_errors_by_kind(runs: pd.DataFrame, unit: str) -> Figure:
    """Draw the errors of methods, sorted within what they read: composition, structure or both; one panel per split.

    A bar is the mean over the runs of a method, its line the standard deviation.

    Parameters
    ----------
    runs : DataFrame
        One row per run, with the columns ``method``, ``split`` and ``mae``.
    unit : str
        Unit of ``mae``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing, or a method is not one of the course.
    """
    check_known(["method", "split", "mae"], runs.columns, "column")
    check_known(runs["method"].unique(), KINDS, "method")
    splits = runs["split"].unique()
    methods = runs.groupby("method")["mae"].mean().sort_values(ascending=False).index
    groups = {read: [method for method in methods if KINDS[method] == kind] for kind, (_, read) in _KINDS.items()}
    lines = [line for read, of_kind in groups.items() if of_kind for line in (read, *of_kind)]
    rows, order = pd.Series(range(len(lines)), lines), [line for line in lines if line not in groups]
    colors, size = colors_of(order), (WIDTH, 1.1 + 0.3 * len(lines))
    figure, panels = plt.subplots(1, len(splits), figsize=size, sharey=True, sharex=True, squeeze=False)
    for axes, split in zip(panels[0], splits, strict=True):
        table = runs[runs["split"] == split].groupby("method")["mae"].agg(["mean", "std"]).fillna(0.0)
        axes.barh(rows[table.index], table["mean"], xerr=table["std"], edgecolor=INK, linewidth=0.6, height=0.66,
                  color=[paler(colors[method], 0.25) for method in table.index],
                  error_kw={"capsize": 2, "linewidth": 1.2})  # fmt: skip
        for method, (mean, spread) in table.iterrows():
            axes.annotate(f"{mean:.3f}", (mean + spread, rows[method]), (5, 0), textcoords="offset points",
                          va="center", fontsize=SMALL)  # fmt: skip
        for read in rows.index.difference(order):
            axes.text(0, rows[read], read, va="center", fontsize=SMALL, color=MUTED)
        axes.set_title(folds_title(split))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(with_unit("mean absolute error", unit))
    panels[0, 0].set_yticks(rows[order], [LABELS[method] for method in order])
    panels[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


@figure_function
def plot_error_against_time(runs: pd.DataFrame, unit: str, narrow: bool = False) -> Figure:
    """Draw the error of each method against its training time; a line joins those that no other beats in both.

    Parameters
    ----------
    runs : DataFrame
        One row per run on one split, with the columns ``method``, ``mae`` and ``seconds``. A mark is the mean over the
        runs of a method, its bar the standard deviation.
    unit : str
        Unit of ``mae``.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the names are then above it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing, or a method is not one of the course.
    """
    check_known(["method", "mae", "seconds"], runs.columns, "column")
    check_known(runs["method"].unique(), KINDS, "method")
    by_method = runs.groupby("method", sort=False)
    table = by_method[["mae", "seconds"]].mean().assign(spread=by_method["mae"].std())
    front = table[pareto_front(table, ["mae", "seconds"])].sort_values("seconds")
    figure, axes = plt.subplots(figsize=(NARROW_WIDTH, 5.6) if narrow else (WIDTH, 4.8))
    axes.plot(front["seconds"], front["mae"], color=MUTED, linewidth=1.2, linestyle="--", zorder=1,
              label="no method is better in both")  # fmt: skip
    colors = colors_of(table.index)
    for kind, (mark, read) in _KINDS.items():
        of_kind = table[table.index.map(KINDS) == kind]
        if len(of_kind):
            axes.plot([], [], linestyle="", marker=mark, markersize=8, color="white", markeredgecolor=INK, label=read)
        for method, row in of_kind.iterrows():
            axes.errorbar(row["seconds"], row["mae"], yerr=row["spread"], fmt=mark, color=colors[method], markersize=8,
                          markeredgecolor=INK, markeredgewidth=0.6, capsize=2, linewidth=1.0,
                          label=LABELS[method] if narrow else None)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(table["seconds"].min() / 1.6, table["seconds"].max() * (1.6 if narrow else 3.2))
    axes.set_xlabel("CPU time of one training run (s)")
    axes.set_ylabel(with_unit("mean absolute error", unit))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    if narrow:
        figure.legend(loc="outside upper center", ncols=2, columnspacing=1.2)
    else:
        axes.legend(loc="upper right")
        _label_points(axes, table, front)
    return figure


def _label_points(axes: Axes, table: pd.DataFrame, front: pd.DataFrame) -> None:
    """Write each method's name near its mark, where it touches least of the other names, marks, bars and the front."""
    figure = axes.figure
    figure.draw_without_rendering()
    point = figure.dpi / 72
    marks, bars = [], []
    for x, mean, spread in table[["seconds", "mae", "spread"]].to_numpy():
        (x, low), (_, y), (_, high) = axes.transData.transform([(x, mean - spread), (x, mean), (x, mean + spread)])
        marks.append(Bbox([(x, y), (x, y)]).padded(9 * point))
        bars.append(Bbox([(x - point, low), (x + point, high)]))
    steps = np.linspace(0, len(front) - 1, 200)
    on_front = (np.interp(steps, range(len(front)), of) for of in axes.transData.transform(front[["seconds", "mae"]]).T)
    line = [Bbox([xy, xy]).padded(point) for xy in zip(*on_front, strict=True)]
    names: list[Bbox] = []
    for method, row in table.sort_values("mae").iterrows():
        trials = []
        for shift, side in product((0, 10, -10, 20, -20, 30, -30), ("left", "right")):
            place = (10 if side == "left" else -10, shift)  # points from the middle of the mark
            text = axes.annotate(LABELS[method], (row["seconds"], row["mae"]), place, ha=side, va="center",
                                 textcoords="offset points", fontsize=SMALL)  # fmt: skip
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            touched = 20 * box.count_overlaps(names + marks) + 6 * box.count_overlaps(bars)
            touched += 4 * (box.count_overlaps(line) > 0) + 100 * (not inside)
            trials.append((touched + abs(shift) / 10, len(trials), text, box))
        _, chosen, _, box = min(trials, key=lambda trial: trial[:2])
        names.append(box)
        for _, number, text, _ in trials:
            if number != chosen:
                text.remove()
