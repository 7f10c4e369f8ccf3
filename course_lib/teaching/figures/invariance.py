"""What must not change a prediction, and how much it does."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from course_lib.teaching.figures.style import COLORS, INK, MUTED, SMALL, WIDTH, figure_function

_ROUNDING = 1e-4  # in units of the spread; rounding in single precision lies below


@figure_function
def plot_prediction_changes(changes: pd.DataFrame) -> Figure:
    """Draw the largest change of a prediction for each way of writing the crystals down again.

    Parameters
    ----------
    changes : DataFrame
        As from `course_lib.invariance.prediction_changes`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    largest = changes.max().clip(lower=1e-8)
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.32 * len(largest)))
    axes.axvspan(1e-8, _ROUNDING, color="#eef1f5", zorder=0)
    axes.text(1.3e-8, -0.72, "rounding", va="bottom", fontsize=SMALL, color=MUTED)
    for row, value in enumerate(largest):
        broken = value > _ROUNDING
        axes.hlines(row, 1e-8, value, color=COLORS[1] if broken else MUTED, linewidth=1.6)
        axes.plot(value, row, marker="X" if broken else "o", color=COLORS[1] if broken else COLORS[0], markersize=9,
                  markeredgecolor=INK, markeredgewidth=0.6)  # fmt: skip
        axes.text(1.02, row, "broken" if broken else "kept", transform=axes.get_yaxis_transform(), va="center",
                  fontweight="bold" if broken else "normal", fontsize=SMALL)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(1e-8, max(10.0, 2 * largest.max()))
    axes.set_yticks(range(len(largest)), largest.index)
    axes.set_ylim(len(largest) - 0.5, -0.75)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("largest change of a prediction (in standard deviations over the crystals)")
    return figure
