"""What a leaderboard of many datasets says."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from course_lib.teaching.figures.style import COLORS, INK, SMALL, WIDTH, check_known, figure_function


@figure_function
def plot_error_ratios(ratios: pd.Series, sizes: Mapping[str, int], label: str) -> Figure:
    """Draw a ratio of two errors on each of several datasets, the smallest dataset first.

    Parameters
    ----------
    ratios : Series
        One number per dataset; errors of one dataset have the same unit, so that it cancels.
    sizes : mapping of str to int
        Crystals of each dataset.
    label : str
        What is divided by what.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a dataset has no size.
    """
    check_known(ratios.index, sizes, "size of the dataset")
    names = sorted(ratios.index, key=lambda name: sizes[name])
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.34 * len(names)))
    axes.barh(range(len(names)), ratios[names], color=COLORS[2], edgecolor=INK, linewidth=0.6, height=0.66)
    for row, name in enumerate(names):
        axes.text(ratios[name], row, f" {ratios[name]:.1f}", va="center", fontsize=SMALL)
    axes.set_xlim(0, 1.1 * ratios.max())  # the last number needs room
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(names)), [f"{name}: {sizes[name]:,} crystals" for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(label)
    return figure
