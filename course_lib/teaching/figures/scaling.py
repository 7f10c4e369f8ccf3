"""Many crystals: what a public leaderboard says about the size of a dataset, and what memory the data take."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    pick,
)


@figure_function
def plot_leaderboard(board: pd.DataFrame, sizes: dict[str, int], models: Sequence[str], reference: str) -> Figure:
    """Draw the errors of models on tasks of growing size, as shares of the error of a reference.

    Parameters
    ----------
    board : DataFrame
        Mean absolute errors; one row per model, one column per task.
    sizes : dict of str to int
        Number of crystals of each task that is drawn.
    models : sequence of str
        Rows that are drawn.
    reference : str
        The row whose errors count as one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a model or a task is not in the table.
    """
    check_known([*models, reference], board.index, "model")
    check_known(sizes, board.columns, "task")
    tasks = sorted(sizes, key=sizes.get)
    share = board.loc[list(models), tasks] / board.loc[reference, tasks]
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2))
    for rank, (model, color) in enumerate(colors_of(models).items()):
        axes.plot(range(len(tasks)), share.loc[model], color=color, linestyle=pick(LINES, rank),
                  marker=pick(MARKERS, rank), markersize=7, linewidth=1.0, markeredgecolor=INK, markeredgewidth=0.6,
                  label=model)  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(tasks)), [f"{task}\n{sizes[task]:,}" for task in tasks], rotation=30, ha="right")
    axes.set_xlabel("task, and how many crystals it has")
    axes.set_ylabel(f"error / error of {reference}")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3, handlelength=3.5)
    return figure


@figure_function
def plot_memory(steps: pd.DataFrame, reported: dict[str, tuple[int, float]]) -> Figure:
    """Draw the highest memory of steps against the number of crystals, and single numbers that others reported.

    Parameters
    ----------
    steps : DataFrame
        One row per measurement, with the columns ``step``, ``crystals`` and ``own_mb``; one line per step.
    reported : dict of str to (int, float)
        Crystals and gigabytes, by label.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["step", "crystals", "own_mb"], steps.columns, "column")
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2))
    for rank, (step, group) in enumerate(steps.groupby("step", sort=False)):
        group = group.sort_values("crystals")
        axes.plot(group["crystals"], group["own_mb"] / 1000, color=pick(COLORS, rank), linestyle=pick(LINES, rank),
                  marker=pick(MARKERS, rank), markersize=7, markeredgecolor=INK, markeredgewidth=0.6,
                  label=step)  # fmt: skip
    for label, (crystals, gigabytes) in reported.items():
        axes.plot(crystals, gigabytes, marker="x", color=INK, markersize=9, markeredgewidth=2, linestyle="")
        axes.annotate(label, (crystals, gigabytes), (-10, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=SMALL)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("crystals")
    axes.set_ylabel("highest memory (GB)")
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3, handlelength=3.5)
    return figure
