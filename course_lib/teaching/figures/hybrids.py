"""Hybrids that win: where chemistry enters a graph, when a blend pays, and how sure a prediction is."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.ticker import LogLocator, NullFormatter

from course_lib.experiments.primary import summarize_comparisons
from course_lib.late_fusion import alpha_from_errors, blended_error_variance
from course_lib.methods import LABELS
from course_lib.teaching.figures.results import label_rows, mean_and_interval
from course_lib.teaching.figures.schematics import COMPOSITION, inch_canvas
from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    LINES,
    MARKERS,
    MUTED,
    NARROW_WIDTH,
    PANEL,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    paler,
    pick,
    with_unit,
)

_CHEMISTRY = COLORS[1]
_PLACES = (
    ("once per crystal", "145 numbers of the formula,\nthe same for all polymorphs"),
    ("per atom", "22 properties of its element,\non every atom"),
    ("per bond", "length / sum of radii and\ndifference of electronegativity"),
)


@figure_function
def plot_chemistry_places(narrow: bool = False) -> Figure:
    """Draw one small crystal graph three times; what carries numbers about the elements is in another colour.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the graphs are then below each other.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = inch_canvas(5.3, NARROW_WIDTH) if narrow else inch_canvas(2.75)
    for number, (title, text) in enumerate(_PLACES):
        if narrow:
            x, y = 1.1, 4.4 - 1.75 * number
            title_at, text_at, across = (2.2, y + 0.4), (2.2, y - 0.05), "left"
        else:
            x, y = 1.3 + 2.45 * number, 1.5
            title_at, text_at, across = (x, 2.6), (x, 0.3), "center"
        axes.text(*title_at, title, ha=across, va="center", fontweight="bold")
        axes.text(*text_at, text, ha=across, va="center", fontsize=SMALL, linespacing=1.3)
        _draw_graph(axes, (x, y), title)
    return figure


def _draw_graph(axes: Axes, middle: tuple[float, float], place: str) -> None:
    """Draw four atoms of two elements and their bonds, with the chemistry at its place."""
    x, y = middle
    framed = place == "once per crystal"
    axes.add_patch(FancyBboxPatch(
        (x - 0.9, y - 0.75), 1.8, 1.5, boxstyle="round,pad=0,rounding_size=0.12", zorder=0,
        facecolor=paler(_CHEMISTRY, 0.75) if framed else PANEL, edgecolor=_CHEMISTRY if framed else FAINT,
        linewidth=3 if framed else 1,
    ))  # fmt: skip
    atoms = [(x + 0.5 * across, y + 0.42 * up) for across, up in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    on_bonds = place == "per bond"
    for first, second in zip(atoms, [*atoms[1:], atoms[0]], strict=True):
        axes.plot(*zip(first, second, strict=True), color=_CHEMISTRY if on_bonds else MUTED,
                  linewidth=6 if on_bonds else 2, solid_capstyle="round", zorder=1)  # fmt: skip
    for number, place_of_atom in enumerate(atoms):
        on_atoms = place == "per atom"
        axes.add_patch(Circle(
            place_of_atom, 0.2, zorder=2, edgecolor=_CHEMISTRY if on_atoms else INK, linewidth=4 if on_atoms else 1,
            facecolor=paler(COMPOSITION, 0.3) if number % 2 else paler(COLORS[0], 0.8),
        ))  # fmt: skip
        axes.text(*place_of_atom, "BA"[number % 2], ha="center", va="center", fontweight="bold", zorder=3)


@figure_function
def plot_bond_numbers(blocks: Mapping[str, tuple[np.ndarray, pd.DataFrame]]) -> Figure:
    """Draw what a network reads of some bonds, one row per bond and one panel per block of Gaussians.

    Parameters
    ----------
    blocks : mapping of str to (array, DataFrame)
        For each label of an x axis the centres of the Gaussians and their values, one row per bond.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n_bonds = len(next(iter(blocks.values()))[1])
    figure, panels = plt.subplots(1, len(blocks), figsize=(WIDTH, 1.1 + 0.4 * n_bonds), sharey=True, squeeze=False)
    for axes, (label, (centers, values)) in zip(panels[0], blocks.items(), strict=True):
        half = (centers[1] - centers[0]) / 2
        extent = (centers[0] - half, centers[-1] + half, n_bonds - 0.5, -0.5)
        axes.imshow(values.to_numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto", extent=extent)
        axes.hlines(np.arange(n_bonds - 1) + 0.5, *extent[:2], color=FAINT, linewidth=0.8)
        axes.set_xlabel(label)
        axes.set_yticks(range(n_bonds), list(values.index))
        axes.tick_params(axis="y", length=0)
    return figure


@figure_function
def plot_gain_against_correlation(pairs: pd.DataFrame, ratios: tuple[float, ...] = (1.0, 1.25, 1.6)) -> Figure:
    """Draw what blending gained for pairs of models against the correlation of their errors.

    Parameters
    ----------
    pairs : DataFrame
        One row per pair: ``correlation``; ``gain``, one minus the error of the blend over that of the better model;
        ``kind``, what the pair is made of, which has a marker of its own.
    ratios : tuple of float
        Spread of the worse model's errors over the better one's; for each a line with what the best blend gains
        (`course_lib.late_fusion.alpha_from_errors`).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["correlation", "gain", "kind"], pairs.columns, "column")
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2))
    correlations = np.linspace(min(0.3, pairs["correlation"].min() - 0.05), 1.0, 201)
    for rank, ratio in enumerate(ratios):
        best = [
            blended_error_variance(alpha_from_errors(ratio, 1.0, one), ratio, 1.0, one) ** 0.5 for one in correlations
        ]
        name = "two equally good" if ratio == 1 else f"one {100 * (ratio - 1):.0f} % worse"
        axes.plot(correlations, 100 * (1 - np.array(best)), color=MUTED, linewidth=1.2, linestyle=pick(LINES, rank),
                  label=f"formula: {name}")  # fmt: skip
    for rank, (kind, group) in enumerate(pairs.groupby("kind", sort=False)):
        axes.plot(group["correlation"], 100 * group["gain"], linestyle="", marker=pick(MARKERS, rank), markersize=8,
                  color=pick(COLORS, rank), markeredgecolor=INK, markeredgewidth=0.6, label=kind)  # fmt: skip
    axes.axhline(0, color=INK, linewidth=1.0)
    axes.set_xlim(correlations[0], 1)
    axes.set_xlabel("correlation of the two models' errors")
    axes.set_ylabel("gain of the blend (% of the better model's error)")
    axes.grid(axis="y")
    axes.legend(handlelength=3, loc="upper right")
    return figure


@figure_function
def plot_comparisons(differences: pd.DataFrame, unit: str, ratio: float | None = None) -> Figure:
    """Draw comparisons of two methods each: dots for the folds, mean and interval, and what could have been detected.

    Parameters
    ----------
    differences : DataFrame
        One column per comparison, one row per fold: the error of the first method minus that of the second.
    unit : str
        Unit of the errors.
    ratio : float, optional
        As for `course_lib.experiments.analysis.corrected_interval`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = differences.shape[1]
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.55 * n))
    summary = summarize_comparisons(differences, ratio)
    for row, (values, found) in enumerate(zip(differences.to_numpy().T, summary.itertuples(), strict=True)):
        mean, low, high, detectable = found.mean, found.low, found.high, found.detectable
        axes.plot([-detectable, detectable], [row - 0.3] * 2, color=FAINT, linewidth=5, solid_capstyle="butt")
        axes.plot(values, np.full(len(values), row - 0.08), linestyle="", marker="o", markersize=6,
                  color=paler(COLORS[0], 0.25), markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip
        axes.errorbar(mean, row + 0.2, xerr=[[mean - low], [high - mean]], fmt="D",
                      color=INK, markersize=5, capsize=3, linewidth=1.4)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set_yticks(range(n), list(differences))
    axes.set_ylim(n - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(
        with_unit("error of the first minus that of the second", unit)
        + f"\ndots: folds; diamond: {mean_and_interval(n)}"
        + "\ngrey: a true difference in here is shown in less than 80 % of studies"
    )
    return figure


@figure_function
def plot_left_out(errors: pd.DataFrame, unit: str) -> Figure:
    """Draw the error on the crystals with one element, by models that knew the element and by models that did not.

    Parameters
    ----------
    errors : DataFrame
        One row per element and method: ``element``, ``method``, and the errors ``known`` and ``new``.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["element", "method", "known", "new"], errors.columns, "column")
    elements, methods = errors["element"].unique(), list(errors["method"].unique())
    figure, panels = plt.subplots(
        1, len(elements), figsize=(WIDTH, 1.4 + 0.4 * len(methods)), sharey=True, sharex=True, squeeze=False
    )
    for axes, element in zip(panels[0], elements, strict=True):
        here = errors[errors["element"] == element].set_index("method").loc[methods]
        rows = np.arange(len(methods))
        axes.hlines(rows, here["known"], here["new"], color=FAINT, linewidth=4, zorder=1)
        for rank, (column, label) in enumerate((("known", "element known"), ("new", "element left out"))):
            axes.plot(here[column], rows, linestyle="", marker=pick(MARKERS, rank), markersize=8,
                      color=pick(COLORS, rank), markeredgecolor=INK, markeredgewidth=0.6, label=label)  # fmt: skip
        axes.set_title(f"crystals with {element}")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(with_unit("mean absolute error", unit))
    panels[0, 0].set_yticks(rows, [LABELS.get(method, method) for method in methods])
    panels[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    panels[0, 0].set_xlim(left=0)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


@figure_function
def plot_left_out_ratios(errors: pd.DataFrame) -> Figure:
    """Draw by which factor the error on an element's or prototype's crystals grows when the models do not know it.

    Parameters
    ----------
    errors : DataFrame
        As from `course_lib.experiments.analysis.left_out_errors`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["split", "name", "method", "known", "new"], errors.columns, "column")
    ratios = errors.assign(ratio=errors["new"] / errors["known"])
    rows = {split: list(group["method"].unique()) for split, group in ratios.groupby("split", sort=False)}
    heights = [len(methods) for methods in rows.values()]
    figure, panels = plt.subplots(
        len(rows), 1, figsize=(WIDTH, 1.2 + 0.5 * len(rows) + 0.4 * sum(heights)), sharex=True, squeeze=False,
        height_ratios=heights,
    )  # fmt: skip
    colors = colors_of(ratios["method"].unique())
    for axes, (split, methods) in zip(panels[:, 0], rows.items(), strict=True):
        for row, method in enumerate(methods):
            values = ratios.loc[(ratios["split"] == split) & (ratios["method"] == method), "ratio"]
            axes.plot(values, np.full(len(values), row - 0.1), linestyle="", marker="o", markersize=5,
                      color=paler(colors[method], 0.25), markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip
            axes.plot(values.median(), row + 0.22, linestyle="", marker="D", markersize=5, color=INK)
            axes.text(1.02, row, f"{values.median():.2f}", transform=axes.get_yaxis_transform(), va="center",
                      fontsize=SMALL)  # fmt: skip
        axes.axvline(1, color=INK, linewidth=1.2)
        axes.set_title(f"each {split} left out")
        label_rows(axes, methods)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[-1, 0].set_xlabel(
        "error without / error with it in the training set\ndots: one for each left out; diamond and number: median"
    )
    return figure


@figure_function
def plot_calibration(observed: pd.DataFrame) -> Figure:
    """Draw which share of the crystals lies inside intervals against the share that they were made for.

    Parameters
    ----------
    observed : DataFrame
        Indexed by the nominal share, one column for each way to make the intervals.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(figsize=(5.2, 4.2))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2)
    axes.text(0.3, 0.33, "calibrated", rotation=45, rotation_mode="anchor", transform_rotates_text=True, fontsize=SMALL)
    for rank, (name, shares) in enumerate(observed.items()):
        axes.plot(shares.index, shares, color=pick(COLORS, rank), linestyle=pick(LINES, rank), markersize=6,
                  marker=pick(MARKERS, rank), label=name)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("share of crystals that should lie inside")
    axes.set_ylabel("share that does")
    axes.grid()
    axes.legend(loc="upper left", handlelength=3)
    return figure


@figure_function
def plot_error_by_spread(errors: pd.DataFrame, unit: str) -> Figure:
    """Draw the mean error of groups of crystals, from those on which the predictions agree to those where they do not.

    Parameters
    ----------
    errors : DataFrame
        One row per group, in order; one column for each kind of spread.
    unit : str
        Unit of the errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.4))
    colors = colors_of(errors)
    for rank, (name, values) in enumerate(errors.items()):
        axes.plot(range(1, len(values) + 1), values, color=colors[name], linestyle=pick(LINES, rank),
                  marker=pick(MARKERS, rank), markersize=7, label=name)  # fmt: skip
    axes.set_xticks(range(1, len(errors) + 1))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("crystals in equal groups, 1: smallest spread")
    axes.set_ylabel(with_unit("mean absolute error", unit))
    axes.grid(axis="y")
    axes.legend(handlelength=3)
    return figure
