"""Schematic drawings: the network of early fusion, and the pieces that others are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MUTED,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    text_color,
)

COMPOSITION, STRUCTURE = COLORS[2], COLORS[0]
"""Colours of the two views of a crystal."""


@figure_function
def plot_early_fusion(n_composition: int, n_embedding: int, hidden: Sequence[int]) -> Figure:
    """Draw the network of early fusion, the heights of its vectors to scale.

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
    figure, axes = inch_canvas(height=3.1)
    joined = n_composition + n_embedding
    scale = 2.2 / max(joined, *hidden)  # inches a number
    middle, x = 1.3, 4.55
    split = middle + (n_embedding - n_composition) / 2 * scale  # where the two blocks of the joined vector meet
    upper, lower = split + n_composition * scale / 2, split - n_embedding * scale / 2

    composition = ("composition", f"{n_composition}\nfeatures", "standardise\n(training set)")
    structure = ("crystal\ngraph", "CGCNN\nconvolutions", "mean over\natoms")
    for y, names, color in ((upper, composition, COMPOSITION), (lower, structure, STRUCTURE)):
        for name, left, right in zip(names, (0.65, 2.0, 3.35), (2.0, 3.35, x + 0.38), strict=True):
            draw_box(axes, left, y, name, paler(color, 0.75))
            draw_arrow(axes, (left + 0.55, y), (right - 0.55, y))
    _vector(axes, x, upper, n_composition, scale, COMPOSITION)
    _vector(axes, x, lower, n_embedding, scale, STRUCTURE)
    top = split + n_composition * scale
    axes.text(x, top + 0.1, f"concatenation\n{n_composition} + {n_embedding} = {joined}", ha="center", va="bottom",
              fontsize=SMALL)  # fmt: skip

    sizes = [joined, *hidden]
    step = 1.5 / max(2, len(hidden))
    places = [x + k * step for k in range(len(sizes))]
    for place, size in zip(places[1:], hidden, strict=True):
        _vector(axes, place, middle, size, scale, MUTED)
        axes.text(place, middle - size * scale / 2 - 0.08, "dense", ha="center", va="top", fontsize=SMALL)
    ends = [*zip(places, sizes, strict=True), (places[-1] + 0.7, 0)]
    for (left, size), (right, next_size) in pairwise(ends):
        high, low = size * scale / 2, next_size * scale / 2
        corners = [(left, middle + high), (right, middle + low), (right, middle - low), (left, middle - high)]
        axes.add_patch(Polygon(corners, facecolor="#e3e6eb", edgecolor="none", zorder=0))
    axes.add_patch(Circle((ends[-1][0], middle), 0.2, facecolor="white", edgecolor=INK, linewidth=1.2))
    axes.text(ends[-1][0], middle, "ŷ", ha="center", va="center", fontweight="bold")
    axes.text(ends[-1][0], middle - 0.3, "prediction", ha="center", va="top", fontsize=SMALL)
    return figure


def inch_canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure whose data unit is an inch."""
    figure, axes = plt.subplots(figsize=(width, height), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    bare(axes)
    return figure, axes


def draw_box(axes: Axes, x: float, y: float, name: str, color: tuple) -> None:
    """Draw a named step, its middle at (x, y), 1.1 wide and 0.6 high (inches)."""
    shape = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x - 0.55, y - 0.3), 1.1, 0.6, boxstyle=shape, facecolor=color, edgecolor=INK))
    axes.text(x, y, name, ha="center", va="center", fontsize=SMALL)


def _vector(axes: Axes, x: float, y: float, size: int, scale: float, color: str) -> None:
    """Draw a vector as a bar as high as it has numbers, with that number on it."""
    axes.add_patch(Rectangle((x - 0.17, y - size * scale / 2), 0.34, size * scale, facecolor=color, edgecolor=INK))
    axes.text(x, y, str(size), ha="center", va="center", fontsize=SMALL, color=text_color(color), fontweight="bold")


def draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, linewidth=1.2, shrinkA=0, shrinkB=0)
    )
