"""Schematic drawings: the map of the course and the networks."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from course_lib.plots.style import COLORS, FAINT, INK, MUTED, PANEL, SMALL, WIDTH, bare, figure_function, paler, wrapped


@figure_function
def plot_early_fusion(n_composition: int, n_embedding: int, hidden: Sequence[int]) -> Figure:
    """Draw the network of early fusion.

    Parameters
    ----------
    n_composition : int
        Composition features.
    n_embedding : int
        Size of the graph embedding.
    hidden : sequence of int
        Sizes of the layers on top.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.3))
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 4.4)
    bare(axes)
    light, dark = paler(COLORS[2], 0.6), paler(COLORS[0], 0.75)
    top = [
        _box(axes, (1.0, 3.3), "composition\nfeatures", f"{n_composition}", light),
        _box(axes, (3.3, 3.3), "standardise", f"{n_composition}", light),
    ]
    bottom = [
        _box(axes, (1.0, 1.1), "crystal graph", "atoms, bonds", dark),
        _box(axes, (3.3, 1.1), "CGCNN\nconvolutions", "each atom", dark),
        _box(axes, (5.1, 1.1), "mean over\natoms", f"{n_embedding}", dark),
    ]
    joined = _box(axes, (6.3, 2.2), "join", f"{n_composition} + {n_embedding}\n= {n_composition + n_embedding}", PANEL)
    layers = " → ".join(str(size) for size in hidden)
    dense = _box(axes, (8.0, 2.2), "dense layers", layers, PANEL)
    out = _box(axes, (9.5, 2.2), "prediction", "ŷ", "white")
    for start, end in [
        *zip(top, top[1:]),
        *zip(bottom, bottom[1:]),
        (top[-1], joined),
        (bottom[-1], joined),
        (joined, dense),
        (dense, out),
    ]:
        _arrow(axes, start, end)
    return figure


def _box(axes: Axes, center: tuple[float, float], name: str, size: str, color: str | tuple) -> FancyBboxPatch:
    """Draw a box with a name and a size below it."""
    x, y = center
    box = FancyBboxPatch(
        (x - 0.7, y - 0.5), 1.4, 1.0, boxstyle="round,pad=0.05", facecolor=color, edgecolor=INK, linewidth=1.0
    )
    axes.add_patch(box)
    axes.text(x, y, name, ha="center", va="center", fontweight="bold", fontsize=SMALL)
    axes.text(x, y - 0.65, size, ha="center", va="top", fontsize=SMALL, color=MUTED)
    return box


def _arrow(axes: Axes, start: FancyBboxPatch, end: FancyBboxPatch) -> None:
    a = (start.get_x() + start.get_width() + 0.05, start.get_y() + start.get_height() / 2)
    b = (end.get_x() - 0.05, end.get_y() + end.get_height() / 2)
    axes.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=12, color=INK, linewidth=1.2))


@figure_function
def plot_course_map(chapters: Sequence[tuple[int, str, str, bool]]) -> Figure:
    """Draw the chapters of the course as stations of a path.

    Parameters
    ----------
    chapters : sequence of (int, str, str, bool)
        Number, title, question in one line, and whether the chapter is there already.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = 3
    rows = -(-len(chapters) // columns)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.65 * rows + 0.1))
    places = []
    for k in range(len(chapters)):
        row, column = divmod(k, columns)
        places.append((column if row % 2 == 0 else columns - 1 - column, -row))
    axes.plot([x + 0.13 - 0.5 for x, _ in places], [y + 0.3 for _, y in places], color=FAINT, linewidth=5, zorder=0,
              solid_capstyle="round", solid_joinstyle="round")  # fmt: skip
    for (x, y), (number, title, question, available) in zip(places, chapters, strict=True):
        left = x - 0.47
        axes.add_patch(FancyBboxPatch(
            (left, y - 0.4), 0.94, 0.8, boxstyle="round,pad=0,rounding_size=0.06", facecolor=PANEL if available else "white",
            edgecolor=COLORS[0] if available else MUTED, linestyle="-" if available else "--", linewidth=1.2, mutation_aspect=1.4,
        ))  # fmt: skip
        axes.plot(
            left + 0.1,
            y + 0.26,
            "o",
            markersize=20,
            color=COLORS[0] if available else "white",
            markeredgecolor=COLORS[0],
        )
        axes.text(
            left + 0.1,
            y + 0.255,
            str(number),
            ha="center",
            va="center",
            color="white" if available else COLORS[0],
            fontweight="bold",
        )
        axes.text(
            left + 0.2, y + 0.26, wrapped(title, 20), va="center", fontweight="bold", color=INK if available else MUTED
        )
        axes.text(
            left + 0.04, y + 0.06, wrapped(question, 29), va="top", fontsize=SMALL, color=INK if available else MUTED
        )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-rows + 0.55, 0.45)
    bare(axes)
    return figure
