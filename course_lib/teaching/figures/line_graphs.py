"""A small graph with its edges numbered, its line graph, and chains of atoms, bent and straight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    LINES,
    MUTED,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    pick,
)

_BEND = 0.18  # of arrows, so that two opposite ones stay apart


@figure_function
def plot_chains(chains: Mapping[str, np.ndarray]) -> Figure:
    """Draw chains of atoms from the side, one panel per chain, with the length of a bond and the angle between two.

    Parameters
    ----------
    chains : mapping of str to array, shape (n, 3)
        Positions of the atoms of each chain in their order, in angstrom; the third coordinate runs along the chain.
        At least three atoms.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, panels = plt.subplots(len(chains), 1, figsize=(WIDTH, 1.7 * len(chains)), sharex=True, squeeze=False)
    for axes, (label, positions) in zip(panels[:, 0], chains.items(), strict=True):
        along, across = positions[:, 2], positions[:, 0]
        axes.plot(along, across, color=MUTED, linewidth=2.5, zorder=1)
        axes.scatter(along, across, s=330, color=paler(COLORS[5], 0.2), edgecolor=INK, zorder=2)
        middle = len(positions) // 2
        first, second = positions[middle - 1] - positions[middle], positions[middle + 1] - positions[middle]
        length = np.linalg.norm(first)
        angle = np.degrees(np.arccos(np.clip(first @ second / length / np.linalg.norm(second), -1, 1)))
        axes.set_title(f"{label}: bonds of {length:.2f} Å, angles of {angle:.1f}°")
        axes.set_aspect("equal")
        axes.set_ylim(across.mean() - 1.7, across.mean() + 1.7)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    panels[-1, 0].set_xlabel("along the chain (Å)")
    return figure


@figure_function
def plot_numbered_edges(edge_index: np.ndarray) -> Figure:
    """Draw a directed graph with its edges numbered in their order.

    Parameters
    ----------
    edge_index : array of int, shape (2, E)
        Source and target of each edge; no two edges have both in common.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(figsize=(3.6, 3.2))
    _draw_numbered_edges(axes, edge_index)
    return figure


@figure_function
def plot_line_graph(edge_index: np.ndarray, pair_index: np.ndarray, cosine: np.ndarray) -> Figure:
    """Draw a graph with its edges numbered next to its line graph, whose edges differ in style by their cosine.

    Parameters
    ----------
    edge_index : array of int, shape (2, E)
        As for `plot_numbered_edges`.
    pair_index : array of int, shape (2, T)
        The edges of the line graph: positions of the first and of the second edge.
    cosine : array, shape (T,)
        Of the angle between the two.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.0), width_ratios=(0.8, 1))
    _draw_numbered_edges(left, edge_index)
    left.set_title("Atom graph")
    names = [f"{number}\n{source}→{target}" for number, (source, target) in enumerate(edge_index.T)]
    # Around the ring, so that an edge and its reverse, which are joined both ways, are side by side.
    order = sorted(range(len(names)), key=lambda edge: (*sorted(edge_index[:, edge]), edge_index[0, edge]))
    places = np.empty((len(names), 2))
    places[order] = _ring(len(names))
    nodes = [_draw_node(right, place, name, 0.23) for name, place in zip(names, places, strict=True)]
    kinds = sorted({round(float(value), 3) for value in cosine}, reverse=True)
    for (first, second), value in zip(pair_index.T, cosine, strict=True):
        rank = kinds.index(round(float(value), 3))
        _draw_arrow(right, nodes[first], nodes[second], pick(COLORS, rank), pick(LINES, rank))
    handles = [
        Line2D([], [], color=pick(COLORS, rank), linestyle=pick(LINES, rank), label=f"cosine {kind:.2f}")
        for rank, kind in enumerate(kinds)
    ]
    right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(kinds), handlelength=3)
    right.set_title("Line graph")
    _frame(right)
    return figure


def _draw_numbered_edges(axes: Axes, edge_index: np.ndarray) -> None:
    places = _ring(int(edge_index.max()) + 1)
    nodes = [_draw_node(axes, place, f"atom {number}", 0.28) for number, place in enumerate(places)]
    for number, (source, target) in enumerate(edge_index.T):
        middle = _draw_arrow(axes, nodes[source], nodes[target], INK, "-")
        axes.text(*middle, str(number), ha="center", va="center", fontsize=SMALL, zorder=4,
                  bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": MUTED})  # fmt: skip
    _frame(axes)


def _ring(count: int) -> np.ndarray:
    """Return `count` places around the unit circle, the first at the top, clockwise, (count, 2)."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def _draw_arrow(axes: Axes, start: Circle, end: Circle, color: str, line: str | tuple) -> np.ndarray:
    """Draw a bent arrow from one node to another and return the place of its middle."""
    tail, head = np.array(start.center), np.array(end.center)
    axes.add_patch(
        FancyArrowPatch(tail, head, connectionstyle=f"arc3,rad={_BEND}", arrowstyle="-|>", mutation_scale=13,
                        color=color, linestyle=line, linewidth=1.4, patchA=start, patchB=end, shrinkA=0, shrinkB=0)
    )  # fmt: skip
    across = np.array([(head - tail)[1], -(head - tail)[0]])
    return (tail + head) / 2 + _BEND / 2 * across


def _draw_node(axes: Axes, place: Sequence[float], name: str, radius: float) -> Circle:
    node = axes.add_patch(Circle(place, radius, facecolor="white", edgecolor=INK, linewidth=1.3, zorder=3))
    axes.text(*place, name, ha="center", va="center", fontsize=SMALL, zorder=4)
    return node


def _frame(axes: Axes) -> None:
    axes.set_xlim(-1.35, 1.35)
    axes.set_ylim(-1.35, 1.35)
    axes.set_aspect("equal")
    bare(axes)
