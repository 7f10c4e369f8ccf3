"""How much each task contributes to a loss, or to its gradient."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_lib.teaching.figures.style import COLORS, WIDTH, figure_function, pick


@figure_function
def plot_task_shares(parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw what share each task has in a sum, such as a loss, one bar per sum.

    Parameters
    ----------
    parts : mapping of str to mapping of str to float
        For each sum what each task adds to it, such as weight times error; all have the same tasks.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sums, tasks = list(parts), list(next(iter(parts.values())))
    values = np.array([[parts[one][task] for task in tasks] for one in sums])
    shares = values / values.sum(axis=1, keepdims=True)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.5 * len(sums)))
    left = np.zeros(len(sums))
    for rank, task in enumerate(tasks):
        color = pick(COLORS[::2], rank)
        axes.barh(range(len(sums)), shares[:, rank], left=left, color=color, edgecolor="white", label=task)
        left = left + shares[:, rank]
    axes.set_yticks(range(len(sums)), sums)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(sums) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x")
    axes.set_xlabel("share")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper right", ncols=len(tasks))
    return figure
