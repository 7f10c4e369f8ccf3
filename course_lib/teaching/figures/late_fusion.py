"""Late fusion: two trained models, one weight."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from course_lib.late_fusion import alpha_from_errors, blended_error_variance
from course_lib.teaching.figures.schematics import COMPOSITION, STRUCTURE, draw_arrow, draw_box, flow_canvas
from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    check_known,
    figure_function,
    folds_title,
    paler,
    pick,
    with_unit,
)


@figure_function
def plot_late_fusion(narrow: bool = False) -> Figure:
    """Draw late fusion: two models, each with its own prediction, and the weighted mean of the two.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; it then runs from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes, at = flow_canvas(2.3, 4.75, narrow)
    # Inches along and across the way from the crystal to its prediction.
    lanes, half, step, sum_at = ((3.3, 1.1), 0.3, 0.85, 3.85) if narrow else ((1.75, 0.55), 0.55, 1.35, 6.25)
    middle, start = sum(lanes) / 2, half + 0.1
    rows = (
        (lanes[0], ("composition", "145 Magpie\nfeatures", "random\nforest"), COMPOSITION, "ŷ(RF)", "× α"),
        (lanes[1], ("crystal\ngraph", "CGCNN\nconvolutions", "mean and\ndense"), STRUCTURE, "ŷ(GNN)", "× (1 − α)"),
    )
    predicted = start + 2 * step + half + (0.4 if narrow else 0.78)
    for lane, names, color, prediction, weight in rows:
        for k, name in enumerate(names):
            along = start + k * step
            draw_box(axes, *at(along, lane), name, paler(color, 0.75))
            draw_arrow(axes, at(along + half, lane), at(along + half + (0.25 if k < 2 else 0.2), lane))
        axes.text(*at(predicted, lane), prediction, ha="center", va="center", fontweight="bold")
        towards = np.sign(lane - middle) * 0.12
        end = at(sum_at - 0.1, middle + 2 * towards) if narrow else at(sum_at - 0.25, middle + towards)
        draw_arrow(axes, at(predicted + (0.15 if narrow else 0.54), lane), end)
        beside = at(predicted + 0.5, lane + 2.5 * towards) if narrow else at(5.83, lane)
        axes.text(*beside, weight, ha="center", va="center", fontsize=SMALL)
    axes.add_patch(Circle(at(sum_at, middle), 0.24, facecolor="white", edgecolor=INK, linewidth=1.2))
    axes.text(*at(sum_at, middle), "+", ha="center", va="center", fontweight="bold", fontsize=14)
    draw_arrow(axes, at(sum_at + 0.24, middle), at(sum_at + 0.55, middle))
    axes.text(*at(sum_at + 0.75, middle), "ŷ", ha="center", va="center", fontweight="bold")
    return figure


@figure_function
def plot_alpha_paths(paths: dict[str, pd.DataFrame], unit: str) -> Figure:
    """Draw the error of the blend along alpha, one line per set of predictions, a mark at its smallest value.

    The error axis starts just below the data, and says so: a blend often gains only a few percent, which would be
    invisible on an axis from zero.

    Parameters
    ----------
    paths : dict of str to DataFrame
        Columns ``alpha`` and ``mae``, as `course_lib.late_fusion.alpha_path` returns them.
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
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    for rank, (label, path) in enumerate(paths.items()):
        check_known(["alpha", "mae"], path.columns, f"column in the path of {label}:")
        best = path.loc[path["mae"].idxmin()]
        axes.plot(path["alpha"], path["mae"], color=pick(COLORS, rank), linestyle=pick(LINES, rank))
        axes.plot(best["alpha"], best["mae"], marker=pick(MARKERS, rank), color=pick(COLORS, rank), markersize=9,
                  markeredgecolor=INK, linestyle="")  # fmt: skip
        axes.plot([], [], color=pick(COLORS, rank), linestyle=pick(LINES, rank), marker=pick(MARKERS, rank),
                  markeredgecolor=INK, label=f"{label}: smallest at α = {best['alpha']:.2f}")  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xlabel("α, the weight of the forest (0: CGCNN alone, 1: forest alone)")
    axes.set_ylabel(with_unit("mean absolute error", unit) + "\n(does not begin at zero)")
    axes.grid(axis="y")
    axes.legend(handlelength=3.5)
    return figure


@figure_function
def plot_error_pairs(errors: dict[str, pd.DataFrame], unit: str) -> Figure:
    """Draw the error of one model against that of another on the same crystals, one panel per table.

    Parameters
    ----------
    errors : dict of str to DataFrame
        For each kind of folds, or whatever else names a panel: signed errors by crystal id, two columns, one per model;
        the columns' names label the axes.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    reach = 1.02 * max(np.abs(table.to_numpy()).max() for table in errors.values())
    figure, panels = plt.subplots(
        1, len(errors), figsize=(WIDTH, WIDTH / len(errors) + 0.2), sharey=True, squeeze=False
    )
    for rank, (axes, (label, table)) in enumerate(zip(panels[0], errors.items(), strict=True)):
        first, second = table.columns
        axes.axhline(0, color=MUTED, linewidth=1.0)
        axes.axvline(0, color=MUTED, linewidth=1.0)
        axes.plot(table[first], table[second], linestyle="", marker="o", markersize=3.5, alpha=0.45, markeredgewidth=0,
                  color=pick(COLORS, rank))  # fmt: skip
        axes.text(0.04, 0.97, f"correlation {table.corr().iloc[0, 1]:.2f}", transform=axes.transAxes, va="top",
                  fontsize=SMALL)  # fmt: skip
        axes.set(title=folds_title(label), xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_xlabel(with_unit(f"error of {first}", unit))
    panels[0, 0].set_ylabel(with_unit(f"error of {second}", unit))
    return figure


@figure_function
def plot_blending_gain(ratios: tuple[float, ...] = (1.0, 1.25, 1.6), measured: dict | None = None) -> Figure:
    """Draw how much the best blend gains over the better model, against the correlation of the two errors.

    The gain is one minus the standard deviation of the best blend's error over that of the better model
    (`course_lib.late_fusion.alpha_from_errors`).

    Parameters
    ----------
    ratios : tuple of float
        Standard deviations of the worse model's error over the better one's; a line each.
    measured : dict of str to (float, float), optional
        Correlation and gain that were measured, by label; a mark each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    correlations = np.linspace(-0.2, 1.0, 241)
    for rank, ratio in enumerate(ratios):
        best = [
            blended_error_variance(alpha_from_errors(ratio, 1.0, correlation), ratio, 1.0, correlation) ** 0.5
            for correlation in correlations
        ]
        label = "two equally good models" if ratio == 1 else f"one {100 * (ratio - 1):.0f} % worse"
        axes.plot(correlations, 100 * (1 - np.array(best)), color=pick(COLORS, rank), linestyle=pick(LINES, rank),
                  label=label)  # fmt: skip
    for rank, (label, (correlation, gain)) in enumerate((measured or {}).items()):
        axes.plot(correlation, 100 * gain, linestyle="", marker=pick(MARKERS, rank), markersize=9, color="white",
                  markeredgecolor=INK, markeredgewidth=1.4, label=f"measured: {label}")  # fmt: skip
    axes.set_xlim(correlations[0], 1)
    axes.set_ylim(bottom=-1.5)
    axes.set_xlabel("correlation of the two models' errors")
    axes.set_ylabel("how much less the blend's errors spread\n(% of the better model's spread)")
    axes.grid(axis="y")
    axes.legend(handlelength=3.5)
    return figure
