"""What the two blocks of a hybrid contribute: in either order, and by two measures."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course_lib.interpret import shapley_values
from course_lib.teaching.figures.schematics import COMPOSITION, STRUCTURE
from course_lib.teaching.figures.style import (
    INK,
    MUTED,
    SMALL,
    WIDTH,
    check_known,
    figure_function,
    text_color,
    with_unit,
)

_COLORS = {"composition": COMPOSITION, "structure": STRUCTURE}
_HATCHES = {"composition": "", "structure": "//"}  # told apart without colour, too


@figure_function
def plot_block_orders(errors: pd.DataFrame, unit: str) -> Figure:
    """Draw how the error falls from a model with neither block to one with both: in two orders, and on average.

    Parameters
    ----------
    errors : DataFrame
        As from `course_lib.interpret.block_errors`; the means over its rows are drawn.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    error = errors.mean()
    shapley = shapley_values(errors)["mean"]
    rows = {
        "composition first": ("composition", error["neither"] - error["composition"]),
        "structure first": ("structure", error["neither"] - error["structure"]),
        "mean of both:\nShapley values": ("composition", shapley["composition"]),
    }
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
    for row, (first, by_first) in enumerate(rows.values()):
        second = "structure" if first == "composition" else "composition"
        right = error["neither"]
        for block, width in ((first, by_first), (second, error["neither"] - error["both"] - by_first)):
            color = _COLORS[block]
            axes.barh(row, -width, left=right, height=0.6, color=color, edgecolor="white", hatch=_HATCHES[block],
                      label=block if row == 0 else None)  # fmt: skip
            label = axes.text(right - width / 2, row, f"{width:.2f}", ha="center", va="center", fontsize=SMALL,
                              fontweight="bold", color=text_color(color))  # fmt: skip
            label.set_bbox({"facecolor": color, "edgecolor": "none", "boxstyle": "round,pad=0.15"})
            right -= width
    axes.axhline(1.5, color=MUTED, linewidth=0.8)
    for name, side in (("both", "right"), ("neither", "left")):
        axes.axvline(error[name], color=INK, linewidth=1.2, linestyle="--", zorder=0)
        offset = 4 if side == "left" else -4
        axes.annotate(name, (error[name], 1), (offset, -2), xycoords=("data", "axes fraction"), ha=side, va="top",
                      textcoords="offset points", fontsize=SMALL)  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.set_xlim(0, 1.15 * error["neither"])
    axes.set_xlabel(with_unit("mean absolute error, from right to left with one block more", unit))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@figure_function
def plot_block_values(tables: Mapping[str, pd.DataFrame], unit: str) -> Figure:
    """Draw what the composition and the structure contribute, by one measure or several, with the spread.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        For each measure a table indexed by ``"composition"`` and ``"structure"`` with ``mean`` and ``std``, as from
        `course_lib.interpret.block_permutation_importance` and `course_lib.interpret.shapley_values`.
    unit : str
        Unit of the values.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a table lacks a column.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 1.3 + 0.75 * len(tables)))
    for rank, block in enumerate(_COLORS):
        for table in tables.values():
            check_known(["mean", "std"], table.columns, "column")
        rows = np.arange(len(tables)) + 0.36 * (rank - 0.5)
        mean, std = (np.array([table.loc[block, column] for table in tables.values()]) for column in ("mean", "std"))
        axes.barh(rows, mean, height=0.34, color=_COLORS[block], edgecolor="white", hatch=_HATCHES[block], label=block)
        axes.errorbar(mean, rows, xerr=std, fmt="none", ecolor=INK, capsize=3, linewidth=1.4)
        for row, value, spread in zip(rows, mean, std, strict=True):
            text = f"{value:.2f} ± {spread:.2f}".replace("-", "−")
            axes.annotate(text, (max(value, 0) + spread, row), (6, 0), va="center", textcoords="offset points",
                          fontsize=SMALL)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.0)
    axes.set_yticks(range(len(tables)), tables)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(tables) - 0.5, -0.5)
    axes.margins(x=0.18)
    axes.grid(axis="x")
    axes.set_xlabel(with_unit("contribution; bar: standard deviation over the repeats", unit))
    figure.legend(loc="outside upper center", ncols=2)
    return figure
