"""What the explorers show: small figures, two of which stand side by side on a page and one below the other on a phone.

They hold what stays the same; what moves with the slider is laid upon them (`course_lib.teaching.explorers`). So the
axes of a figure lie where its arguments put them, and a layer can be placed by ``axes.transData``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from course_lib.graphs import NEIGHBORS
from course_lib.methods import LABELS
from course_lib.teaching.figures.crystals import Shell, draw_crystal, neighbors_of
from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    LINES,
    MARKERS,
    METHOD_COLORS,
    MUTED,
    SMALL,
    bare,
    colors_of,
    figure_function,
    paler,
    pick,
    with_unit,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

SIDE = 3.6  # inches
_BEYOND_X, _BEYOND_Y = ">", "^"  # marks at the edge, of points that are farther away
_TRIO = 4.3  # inches, height of the figures of three atoms
_HALO = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}  # of text that lines may run through


def _single_axes(height: float, above: float = 0.15) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes, with fixed margins."""
    left, right, below = 0.72, 0.2, 0.62  # inches
    figure, axes = plt.subplots(figsize=(SIDE, height), layout="none")
    axes.set_position((left / SIDE, below / height, 1 - (left + right) / SIDE, 1 - (below + above) / height))
    return figure, axes


# --- a crystal and a cutoff ---------------------------------------------------------------------------------------


@figure_function
def plot_shells_in_crystal(structure: Structure, site: int, shells: list[Shell], reach: float) -> Figure:
    """Draw a crystal with a line from one atom to each neighbour in some shells, a style of line for each shell.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal.
    site : int
        Which atom; it is drawn at the origin.
    shells : list of Shell
        The innermost shells round it (`course_lib.teaching.figures.crystals.shells_of`); may be empty.
    reach : float
        How far to show the crystal, in angstrom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    lines = [
        {"color": pick(COLORS, rank), "linestyle": pick(LINES, rank), "linewidth": max(2.2 - 0.4 * rank, 0.9)}
        for rank, shell in enumerate(shells)
        for _ in shell.symbols
    ]
    neighbors = neighbors_of(structure, site, len(lines))[: len(lines)] if lines else []
    figure, axes = plt.subplots(figsize=(SIDE, SIDE + 0.25), layout="none")
    axes.set_position((0.01, 0.09, 0.98, 0.9))
    draw_crystal(axes, structure, site, neighbors, lines, reach=1.08 * reach)
    return figure


@figure_function
def plot_neighbor_count(shells: list[Shell], reach: float) -> Figure:
    """Draw how many neighbours an atom has within a radius: a step at every shell.

    Parameters
    ----------
    shells : list of Shell
        All shells round the atom up to `reach`, nearest first.
    reach : float
        The largest radius, in angstrom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _single_axes(SIDE + 0.25)
    start = 0.75 * shells[0].distance
    radii = [start, *(shell.distance for shell in shells), reach]
    counts = [0, *(shell.last for shell in shells), shells[-1].last]
    axes.axhline(NEIGHBORS, color=MUTED, linewidth=1.0, linestyle=":")
    axes.text(reach, NEIGHBORS + 0.5, f"{NEIGHBORS} ", color=MUTED, fontsize=SMALL, va="bottom", ha="right")
    axes.plot(radii, counts, drawstyle="steps-post", color=MUTED, linewidth=1.2)
    for rank, shell in enumerate(shells):
        axes.plot(shell.distance, shell.last, marker=pick(MARKERS, rank), markersize=8, color=pick(COLORS, rank),
                  linestyle="")  # fmt: skip
        axes.annotate(f"+{len(shell.symbols)}", (shell.distance, shell.last), (-7, 3), textcoords="offset points",
                      ha="right", fontsize=SMALL)  # fmt: skip
    axes.set(xlim=(start, reach), ylim=(0, 1.1 * shells[-1].last))
    axes.set_xlabel("radius (Å)")
    axes.set_ylabel("neighbours of the atom")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


# --- a line graph -------------------------------------------------------------------------------------------------


@figure_function
def plot_trio_axes(reach: float, symbols: tuple[str, str], n_cells: int) -> Figure:
    """Draw the axes for three atoms in a plane, and below them those for a row of cells over the cosine.

    Parameters
    ----------
    reach : float
        Largest distance of an atom from the middle one, in angstrom.
    symbols : (str, str)
        The atom that moves, and the middle one.
    n_cells : int
        How many cells the row will have.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (atoms, row) = plt.subplots(2, 1, figsize=(SIDE, _TRIO), layout="none")
    width, height = 0.96 * SIDE, _TRIO - 1.6  # inches
    wide = 1.3 * reach
    high = 2 * wide * height / width
    atoms.set_position((0.02, 1.3 / _TRIO, width / SIDE, height / _TRIO))
    atoms.set(xlim=(-wide, wide), ylim=(-0.25 * high, 0.75 * high))
    arc = reach * np.exp(1j * np.linspace(np.pi / 3, np.pi, 50))
    atoms.plot(arc.real, arc.imag, color=MUTED, linewidth=1.0, linestyle=":")
    bare(atoms)
    atoms.set_title(f"{symbols[0]} moves; θ is the angle at {symbols[1]}", fontsize=10, pad=4)
    row.set_position((0.06, 0.62 / _TRIO, 0.88, 0.3 / _TRIO))
    half = 1 / (n_cells - 1)  # of a cell, from -1 to 1
    row.set(xlim=(-1 - half, 1 + half), ylim=(0, 1), yticks=[])
    row.spines[:].set_visible(True)
    row.set_title(f"cos θ, as {n_cells} numbers from 0 to 1", fontsize=10, pad=5)
    row.set_xlabel("centre of the Gaussian (cosine)")
    return figure


@figure_function
def plot_trio_line_graph(symbols: Sequence[str], pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]],
                         energies: pd.DataFrame, limits: tuple[float, float], unit: str) -> Figure:  # fmt: skip
    """Draw the line graph of three atoms, and below it energies against the angle.

    Parameters
    ----------
    symbols : sequence of str
        Elements of the atoms 0, 1 and 2.
    pairs : sequence of ((int, int), (int, int))
        The pairs of the line graph: two edges, each with its source and its target.
    energies : DataFrame
        Indexed by the angle in degrees; the first column is what the networks learn, the others are their predictions.
    limits : (float, float)
        Ends of the axis of energies.
    unit : str
        Unit of the energies.

    Returns
    -------
    matplotlib.figure.Figure
        The second of its axes are those of the energies.
    """
    figure, (graph, curves) = plt.subplots(2, 1, figsize=(SIDE, _TRIO), layout="none")
    graph.set_position((0.02, 2.4 / _TRIO, 0.96, 1.63 / _TRIO))
    graph.set(xlim=(-1.6, 1.6), ylim=(-1.4, 1.15))
    bare(graph)
    _draw_trio_line_graph(graph, symbols, pairs)
    graph.set_title(f"line graph: {len(pairs)} pairs", fontsize=10, pad=4)
    curves.set_position((0.72 / SIDE, 0.6 / _TRIO, 1 - 0.92 / SIDE, 1.75 / _TRIO))
    truth, *networks = energies.columns
    colors = colors_of(networks)
    curves.plot(energies.index, energies[truth], color=INK, linestyle="--", linewidth=1.2, label=truth)
    for name in networks:
        curves.plot(energies.index, energies[name], color=colors[name], label=LABELS.get(name, name))
    curves.set(xlim=(energies.index.min(), energies.index.max()), ylim=limits)
    curves.xaxis.set_major_formatter("{x:g}°")
    curves.set_xlabel("θ")
    curves.set_ylabel(with_unit("energy", unit))
    curves.grid(axis="y")
    curves.legend(loc="upper right", handlelength=2.4, labelspacing=0.2)
    return figure


def _draw_trio_line_graph(axes: Axes, symbols: Sequence[str], pairs: Sequence) -> None:
    """Draw the edges round the triangle in one direction above, their reverses below, and what joins them."""
    ways = [(0, 1), (1, 2), (2, 0)]
    places = {way: (x, 0.55) for way, x in zip(ways, (-1.05, 0.0, 1.05), strict=True)}
    places |= {way[::-1]: (x, -0.55) for way, (x, _) in places.items()}
    present = {edge for pair in pairs for edge in pair}
    for edge, place in places.items():
        here = edge in present
        axes.text(*place, f"{symbols[edge[0]]}→{symbols[edge[1]]}", ha="center", va="center", zorder=3,
                  color=INK if here else MUTED, fontsize=SMALL,
                  bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": INK if here else FAINT,
                        "linestyle": "-" if here else ":"})  # fmt: skip
    for first, second in pairs:
        there_and_back = first == second[::-1]
        at_middle = first[1] == 1 and not there_and_back
        long = {first, second} in ({(0, 1), (2, 0)}, {(1, 0), (0, 2)})  # from one end of a row to the other
        line = {"color": COLORS[1] if at_middle else MUTED, "linestyle": ":" if there_and_back else "-"}
        gap = 11 if there_and_back else 15 if long else 21  # points
        axes.add_patch(
            FancyArrowPatch(places[first], places[second], arrowstyle="-|>", mutation_scale=10, shrinkA=gap,
                            shrinkB=gap, linewidth=2.2 if at_middle else 1.1, **line,
                            connectionstyle=f"arc3,rad={0.3 if long else 0.12 if there_and_back else 0}")
        )  # fmt: skip
    axes.text(-0.52, 0.68, "θ", color=COLORS[1], ha="center", fontweight="bold")
    axes.text(-0.52, -0.84, "θ", color=COLORS[1], ha="center", fontweight="bold")
    axes.text(0, -1.4, "dotted: there and back, cosine 1", ha="center", va="bottom", fontsize=SMALL)


# --- late fusion --------------------------------------------------------------------------------------------------


@figure_function
def plot_parity_axes(limits: tuple[float, float], unit: str) -> Figure:
    """Draw the axes and the diagonal of a parity plot, without points.

    Parameters
    ----------
    limits : (float, float)
        Ends of both axes.
    unit : str
        Unit of both.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _single_axes(3.5)
    axes.plot(limits, limits, color=MUTED, linewidth=1.0)
    axes.set(xlim=limits, ylim=limits)
    axes.set_xlabel(with_unit("true", unit))
    axes.set_ylabel(with_unit("predicted", unit))
    return figure


@figure_function
def plot_alpha_path(
    path: pd.DataFrame,
    best: tuple[float, float],
    others: Mapping[str, pd.DataFrame],
    names: tuple[str, str],
    unit: str,
    top: float,
) -> Figure:
    """Draw the error of a blend along alpha, with its two parents at the ends and its smallest value.

    Parameters
    ----------
    path : DataFrame
        Columns ``alpha`` and ``mae``, from 0 to 1 (`course_lib.late_fusion.alpha_path`).
    best : (float, float)
        The best alpha and its error.
    others : mapping of str to DataFrame
        Paths of other predictions, drawn pale, by name.
    names : (str, str)
        The parents: at alpha 1 and at alpha 0.
    unit : str
        Unit of the error.
    top : float
        Upper end of the axis of errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _single_axes(3.5)
    for label, other in others.items():
        axes.plot(other["alpha"], other["mae"], color=MUTED, linewidth=1.2, linestyle="--")
        axes.annotate(label, (0.25, np.interp(0.25, other["alpha"], other["mae"])), (0, 5), textcoords="offset points",
                      ha="center", color=MUTED, fontsize=SMALL, bbox=_HALO)  # fmt: skip
    axes.plot(path["alpha"], path["mae"], color=METHOD_COLORS["late_fusion"])
    colors = colors_of(names)
    for end, name, align in ((-1, names[0], "right"), (0, names[1], "left")):
        alpha, error = path["alpha"].iloc[end], path["mae"].iloc[end]
        axes.plot(alpha, error, marker=MARKERS[1], markersize=8, color=colors[name], markeredgecolor=INK, clip_on=False)
        axes.annotate(name, (alpha, error), (0, 9), textcoords="offset points", ha=align, fontsize=SMALL, bbox=_HALO)
    axes.plot(*best, marker="*", markersize=13, color="white", markeredgecolor=INK, linestyle="", clip_on=False,
              label=f"smallest: {best[1]:.3f} at α = {best[0]:.2f}")  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, top))
    axes.set_xlabel("α")
    axes.set_ylabel(with_unit("mean absolute error", unit))
    axes.grid(axis="y")
    axes.legend(loc="lower left", handletextpad=0.2)
    return figure


# --- learning curves ----------------------------------------------------------------------------------------------


@figure_function
def plot_errors_along_size(runs: pd.DataFrame, unit: str) -> Figure:
    """Draw the mean error of each method against the number of training crystals, on logarithmic axes.

    Parameters
    ----------
    runs : DataFrame
        One row per run: ``method``, ``size`` (number of training crystals) and ``mae``.
    unit : str
        Unit of ``mae``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _single_axes(3.6)
    for rank, (method, color) in enumerate(colors_of(runs["method"].unique()).items()):
        means = runs[runs["method"] == method].groupby("size")["mae"].mean()
        axes.plot(means.index, means, color=color, linestyle=pick(LINES, rank), label=LABELS.get(method, method))
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(runs["size"].unique())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    axes.set_xlabel("training crystals")
    axes.set_ylabel(with_unit("mean absolute error", unit))
    axes.legend(handlelength=3.0)
    return figure


@figure_function
def plot_difference_axes(methods: Sequence[str], reference: str, limits: tuple[float, float], unit: str) -> Figure:
    """Draw axes for differences in error from one method: a row for each of the others, and a line at zero.

    Parameters
    ----------
    methods : sequence of str
        The rows, from the top.
    reference : str
        The method that the differences are from.
    limits : (float, float)
        What the x axis must show.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    label = LABELS.get(reference, reference)
    figure, axes = _single_axes(3.6, above=0.5)
    margin = 0.08 * (limits[1] - limits[0])
    axes.axvline(0.0, color=INK, linewidth=1.0)
    axes.set(xlim=(limits[0] - margin, limits[1] + margin), ylim=(len(methods) - 0.4, -0.6))
    for row, method in enumerate(methods):
        axes.text(0.02, row - 0.18, LABELS.get(method, method), transform=axes.get_yaxis_transform(), fontsize=SMALL)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set_title(f"← better than {label}    worse →", fontsize=10)
    axes.set_xlabel(with_unit("difference in error", unit))
    return figure


# --- multi-task learning ------------------------------------------------------------------------------------------


@figure_function
def plot_errors_along_lambda(fixed: pd.DataFrame, single: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Draw the errors of two tasks along the weight of the second one, and those of single-task networks.

    Parameters
    ----------
    fixed : DataFrame
        One row per run: ``lambda``, and a column of errors for each task.
    single : DataFrame
        Runs of the single-task networks, with the tasks' columns.
    labels : mapping of str to str
        The two tasks: column, and label with its unit.

    Returns
    -------
    matplotlib.figure.Figure
        With a pair of axes for each task, in the order of `labels`.
    """
    height = 4.2
    figure, panels = plt.subplots(2, 1, figsize=(SIDE, height), sharex=True, layout="none")
    for axes, below, (task, label) in zip(panels, (2.4, 0.6), labels.items(), strict=True):
        axes.set_position((0.72 / SIDE, below / height, 1 - 0.84 / SIDE, 1.45 / height))
        along = fixed.groupby("lambda")[task].agg(["mean", "std"]).fillna(0.0)
        axes.fill_between(along.index, along["mean"] - along["std"], along["mean"] + along["std"],
                          color=paler(COLORS[0], 0.8), linewidth=0)  # fmt: skip
        axes.plot(along.index, along["mean"], color=COLORS[0], marker=MARKERS[0], markersize=3)
        axes.axhline(single[task].mean(), color=INK, linewidth=1.2, linestyle="--")
        axes.text(0.99, single[task].mean(), "single-task", transform=axes.get_yaxis_transform(), ha="right",
                  va="bottom", fontsize=SMALL)  # fmt: skip
        axes.set(xscale="log", ylim=_span([fixed[task], single[task]]))
        axes.set_title(label, fontsize=10)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y")
    panels[1].xaxis.set_major_formatter("{x:g}")
    panels[1].xaxis.set_minor_formatter(NullFormatter())
    panels[1].set_xlabel("λ, weight of the second task")
    return figure


@figure_function
def plot_trade_off(
    fixed: pd.DataFrame,
    front: pd.Series,
    schemes: Mapping[str, pd.DataFrame],
    single: pd.DataFrame,
    labels: Mapping[str, str],
) -> Figure:
    """Draw the error of one task against that of the other for all weights, and which of them no other beats in both.

    Parameters
    ----------
    fixed, single, labels
        As for `plot_errors_along_lambda`.
    front : Series of bool
        Which weights no other beats in both errors, by ``lambda`` and by the names of the schemes.
    schemes : mapping of str to DataFrame
        Runs of the schemes that set the weights themselves, by name.

    Returns
    -------
    matplotlib.figure.Figure
        It shows errors up to a quarter above the smallest; what is farther away has a triangle at the edge.
    """
    figure, axes = _single_axes(4.2, above=0.8)
    tasks = list(labels)
    means, reference = fixed.groupby("lambda")[tasks].mean(), single[tasks].mean()
    of_schemes = pd.DataFrame({name: runs[tasks].mean() for name, runs in schemes.items()}, index=tasks).T
    x, y = (_near_smallest(means[task], [*of_schemes[task], reference[task]]) for task in tasks)
    axes.axvline(reference.iloc[0], color=INK, linewidth=1.2, linestyle="--", label="single-task")
    axes.axhline(reference.iloc[1], color=INK, linewidth=1.2, linestyle="--")
    axes.plot(*means.to_numpy().T, color=paler(COLORS[0], 0.5), linewidth=1.0)
    ends = x[1], y[1]
    for weight, errors in means.iterrows():
        beyond = errors.to_numpy() > ends
        marker = _BEYOND_X if beyond[0] else _BEYOND_Y if beyond[1] else MARKERS[0]
        axes.plot(*np.minimum(errors, ends), marker=marker, markersize=6, markeredgecolor=COLORS[0],
                  markerfacecolor=COLORS[0] if front[weight] else "white", clip_on=False)  # fmt: skip
    for face, label in ((COLORS[0], "fixed λ, on the front"), ("white", "fixed λ, off the front")):
        axes.plot([], [], linestyle="", marker=MARKERS[0], markersize=6, label=label, markeredgecolor=COLORS[0],
                  markerfacecolor=face)  # fmt: skip
    others = tuple(marker for marker in MARKERS[1:] if marker not in (_BEYOND_X, _BEYOND_Y))
    for rank, (label, errors) in enumerate(of_schemes.iterrows()):
        color = pick(COLORS, rank + 2)
        axes.plot(*errors, linestyle="", marker=pick(others, rank), markersize=9, markeredgecolor=color,
                  markerfacecolor=color if front[label] else "white", markeredgewidth=1.6,
                  label=label)  # fmt: skip
    axes.set(xlim=x, ylim=y)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(labels[tasks[0]])
    axes.set_ylabel(labels[tasks[1]])
    figure.legend(loc="upper center", ncols=2, columnspacing=0.8, handletextpad=0.4)
    return figure


def _near_smallest(errors: pd.Series, others: list[float]) -> tuple[float, float]:
    """Return the ends of an axis that shows errors up to a quarter above the smallest, and all `others`."""
    low, high = min(errors.min(), *others), max(1.25 * errors.min(), *others)
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _span(values: list[pd.Series]) -> tuple[float, float]:
    """Return the ends of an axis that shows all `values`."""
    everything = pd.concat(values)
    margin = 0.06 * (everything.max() - everything.min())
    return everything.min() - margin, everything.max() + margin
