"""Schematic drawings, the map of the course and the network of early fusion, and the pieces they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    PANEL,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    text_color,
    wrapped,
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


def inch_canvas(height: float) -> tuple[Figure, Axes]:
    """Return a figure whose data unit is an inch."""
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="none")
    axes.set_position((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
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


_COLUMNS = 3  # cards in a row of the map
_CARD = (2.28, 1.12)  # inches
_GAP = 0.28


@figure_function
def plot_course_map(chapters: Sequence[tuple[int, str, str]]) -> Figure:
    """Draw the chapters of the course as cards along a path.

    Parameters
    ----------
    chapters : sequence of (int, str, str)
        Number, title, and question in one line.

    Returns
    -------
    matplotlib.figure.Figure
    """
    width, height = _CARD
    rows = -(-len(chapters) // _COLUMNS)
    figure, axes = inch_canvas(rows * (height + _GAP) - _GAP + 0.1)
    top = axes.get_ylim()[1] - 0.05
    corners = [
        (0.05 + column * (width + _GAP), top - height - row * (height + _GAP))
        for row, column in (divmod(k, _COLUMNS) for k in range(len(chapters)))
    ]
    for (x, y), (next_x, next_y) in pairwise(corners):
        path = [(x + width, y + height / 2), (next_x, y + height / 2)]
        if next_y < y:  # to the next row, through the gap between the two
            path = [(x + width / 2, y), (x + width / 2, y - _GAP / 2), (next_x + width / 2, y - _GAP / 2),
                    (next_x + width / 2, next_y + height)]  # fmt: skip
        axes.plot(*zip(*path, strict=True), color=FAINT, linewidth=4, solid_joinstyle="round", zorder=0)
    for corner, chapter in zip(corners, chapters, strict=True):
        _draw_card(axes, corner, *chapter)
    return figure


def _draw_card(axes: Axes, corner: tuple[float, float], number: int, title: str, question: str) -> None:
    """Draw the card of a chapter."""
    (x, y), (width, height) = corner, _CARD
    axes.add_patch(FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.1", linewidth=1.3, edgecolor=COLORS[0],
        facecolor=PANEL,
    ))  # fmt: skip
    center = (x + 0.25, y + height - 0.27)
    axes.add_patch(Circle(center, 0.16, facecolor=COLORS[0], edgecolor=COLORS[0], linewidth=1.3))
    axes.text(*center, str(number), ha="center", va="center_baseline", color="white", fontweight="bold")
    axes.text(x + 0.5, center[1], wrapped(title, 20), va="center", fontweight="bold", linespacing=1.1)
    axes.text(x + 0.12, y + height - 0.53, wrapped(question, 31), va="top", fontsize=SMALL)
