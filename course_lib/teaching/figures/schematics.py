"""Schematic drawings: the network of early fusion, and the pieces that others are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MUTED,
    NARROW_WIDTH,
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
def plot_early_fusion(n_composition: int, n_embedding: int, hidden: Sequence[int], narrow: bool = False) -> Figure:
    """Draw the network of early fusion, its vectors to scale.

    Parameters
    ----------
    n_composition : int
        Composition features.
    n_embedding : int
        Size of the graph embedding.
    hidden : sequence of int
        Sizes of the layers on top.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; it then runs from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    # Inches along the way to the prediction and across it.
    if narrow:
        places, half, x, step, last = (0.4, 1.25, 2.1), 0.3, 3.2, 0.65, 0.6
        middle, longest = NARROW_WIDTH / 2, 3.2
    else:
        places, half, x, step, last = (0.65, 2.0, 3.35), 0.55, 4.55, 1.5 / max(2, len(hidden)), 0.7
        middle, longest = 1.3, 2.2
    figure, axes, at = flow_canvas(3.1, x + step * len(hidden) + last + 0.3, narrow)
    joined = n_composition + n_embedding
    scale = longest / max(joined, *hidden)  # inches a number
    split = middle + (n_embedding - n_composition) / 2 * scale  # where the two blocks of the joined vector meet
    upper, lower = split + n_composition * scale / 2, split - n_embedding * scale / 2
    apart = max(0.8 - (upper - lower) / 2, 0) if narrow else 0  # where the blocks are too short for the boxes

    composition = ("composition", f"{n_composition}\nfeatures", "standardise\n(training set)")
    structure = ("crystal\ngraph", "CGCNN\nconvolutions", "mean over\natoms")
    for block, shift, names, color in (
        (upper, apart, composition, COMPOSITION),
        (lower, -apart, structure, STRUCTURE),
    ):
        ends = [*((place - half, block + shift) for place in places[1:]), (x - 0.17, block)]
        for name, place, end in zip(names, places, ends, strict=True):
            draw_box(axes, *at(place, block + shift), name, paler(color, 0.75))
            draw_arrow(axes, at(place + half, block + shift), at(*end))
    _vector(axes, at, x, upper, n_composition, scale, COMPOSITION)
    _vector(axes, at, x, lower, n_embedding, scale, STRUCTURE)
    above = at(x - 0.37, (upper + lower) / 2) if narrow else at(x, split + n_composition * scale + 0.1)
    axes.text(*above, f"concatenation\n{n_composition} + {n_embedding} = {joined}", ha="center", va="bottom",
              fontsize=SMALL)  # fmt: skip

    sizes = [joined, *hidden]
    places = [x + k * step for k in range(len(sizes))]
    beside = {"ha": "left", "va": "center"} if narrow else {"ha": "center", "va": "top"}
    for place, size in zip(places[1:], hidden, strict=True):
        _vector(axes, at, place, middle, size, scale, MUTED)
        axes.text(*at(place, middle - size * scale / 2 - 0.08), "dense", fontsize=SMALL, **beside)
    ends = [*zip(places, sizes, strict=True), (places[-1] + last, 0)]
    for (left, size), (right, next_size) in pairwise(ends):
        high, low = size * scale / 2, next_size * scale / 2
        corners = [(left, middle + high), (right, middle + low), (right, middle - low), (left, middle - high)]
        axes.add_patch(Polygon([at(*corner) for corner in corners], facecolor="#e3e6eb", edgecolor="none", zorder=0))
    end = ends[-1][0]
    axes.add_patch(Circle(at(end, middle), 0.2, facecolor="white", edgecolor=INK, linewidth=1.2))
    axes.text(*at(end, middle), "ŷ", ha="center", va="center", fontweight="bold")
    axes.text(*at(end, middle - 0.3), "prediction", fontsize=SMALL, **beside)
    return figure


def flow_canvas(height: float, length: float, narrow: bool) -> tuple[Figure, Axes, Callable]:
    """Return an `inch_canvas` for what runs from left to right, in the narrow figure from top to bottom.

    Parameters
    ----------
    height, length : float
        Of the canvas in inches: the one from bottom to top of the wide figure, the other from top to bottom of the
        narrow one.
    narrow : bool
        Whether the figure is the narrow one.

    Returns
    -------
    matplotlib.figure.Figure
    matplotlib.axes.Axes
    callable
        Of inches along and across the way, the place on the axes; what is above in the wide figure is left in the
        narrow one.
    """
    if narrow:
        return *inch_canvas(length, NARROW_WIDTH), lambda along, across: (NARROW_WIDTH - across, length - along)
    return *inch_canvas(height), lambda along, across: (along, across)


def inch_canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure whose data unit is an inch."""
    figure, axes = plt.subplots(figsize=(width, height), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    bare(axes)
    return figure, axes


def rectangle_between(first: tuple[float, float], second: tuple[float, float]) -> tuple[np.ndarray, float, float]:
    """Return the lower left corner, the width and the height of the rectangle between two opposite corners."""
    corners = np.array([first, second])
    return corners.min(0), *np.ptp(corners, axis=0)


def draw_box(axes: Axes, x: float, y: float, name: str, color: tuple) -> None:
    """Draw a named step, its middle at (x, y), 1.1 wide and 0.6 high (inches)."""
    shape = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x - 0.55, y - 0.3), 1.1, 0.6, boxstyle=shape, facecolor=color, edgecolor=INK))
    axes.text(x, y, name, ha="center", va="center", fontsize=SMALL)


def _vector(axes: Axes, at: Callable, along: float, across: float, size: int, scale: float, color: str) -> None:
    """Draw a vector as a bar as long as it has numbers, with that number on it."""
    half = size * scale / 2
    place = rectangle_between(at(along - 0.17, across - half), at(along + 0.17, across + half))
    axes.add_patch(Rectangle(*place, facecolor=color, edgecolor=INK))
    x, y = at(along, across)
    axes.text(x, y, str(size), ha="center", va="center", fontsize=SMALL, color=text_color(color), fontweight="bold")


def draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, linewidth=1.2, shrinkA=0, shrinkB=0)
    )
