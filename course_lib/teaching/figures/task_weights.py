"""How much each task contributes to a loss."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_lib.teaching.figures.style import COLORS, WIDTH, figure_function, pick


@figure_function
def plot_loss_parts(parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw what part of a loss comes from each task, one bar per loss.

    Parameters
    ----------
    parts : mapping of str to mapping of str to float
        For each loss the contribution of each task, weight times error; all losses have the same tasks.

    Returns
    -------
    matplotlib.figure.Figure
    """
    losses, tasks = list(parts), list(next(iter(parts.values())))
    values = np.array([[parts[loss][task] for task in tasks] for loss in losses])
    shares = values / values.sum(axis=1, keepdims=True)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.5 * len(losses)))
    left = np.zeros(len(losses))
    for rank, task in enumerate(tasks):
        color = pick(COLORS[::2], rank)
        axes.barh(range(len(losses)), shares[:, rank], left=left, color=color, edgecolor="white", label=task)
        left = left + shares[:, rank]
    axes.set_yticks(range(len(losses)), losses)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(losses) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x")
    axes.set_xlabel("part of the loss")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper right", ncols=len(tasks))
    return figure
