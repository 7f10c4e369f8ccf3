"""Fusion inside the network: where each kind of it happens, what the composition sets there, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from course_lib.teaching.figures.schematics import COMPOSITION, STRUCTURE, draw_arrow, inch_canvas
from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MARKERS,
    PROTOTYPES,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    paler,
    pick,
)

_LANE = {"graph": 0.55, "conv 1": 1.55, "conv 2": 2.55, "conv 3": 3.55, "mean": 4.5, "dense": 6.0}  # inches
_HALF = 0.34  # of the width of a step
_MEET = 5.25  # where early and attention fusion join the views
_END = 7.1


@figure_function
def plot_fusion_places() -> Figure:
    """Draw four kinds of fusion on one network, one row for each: where the composition meets the structure."""
    figure, axes = inch_canvas(height=5.75)
    rows = (
        ("Intermediate fusion: before every convolution", _meets_before_convolutions),
        ("Early fusion: after the mean, side by side", _meets_side_by_side),
        ("Attention fusion: after the mean, as a weighted sum", _meets_in_a_weighted_sum),
        ("Late fusion: two predictions, as a weighted sum", _meets_in_the_prediction),
    )
    for row, (title, draw) in enumerate(rows):
        low = 4.45 - 1.42 * row  # height of the structure's lane
        axes.text(0.1, low + 1.02, title, va="center", fontweight="bold")
        _step(axes, _LANE["graph"], low + 0.6, "composition", COMPOSITION, half=_HALF + 0.09)
        for name, x in _LANE.items():
            if name != "dense":
                _step(axes, x, low, name, STRUCTURE)
        steps = list(_LANE.values())
        for x, next_x in pairwise(steps[:-1]):
            draw_arrow(axes, (x + _HALF, low), (next_x - _HALF, low))
        draw(axes, low)
        axes.text(_END + 0.15, low, "ŷ", ha="center", va="center", fontweight="bold")
    return figure


def _step(axes: Axes, x: float, y: float, name: str, color: str, half: float = _HALF) -> None:
    """Draw a named step, in front of its lane."""
    axes.add_patch(FancyBboxPatch(
        (x - half, y - 0.16), 2 * half, 0.32, boxstyle="round,pad=0,rounding_size=0.06", facecolor=paler(color, 0.75),
        edgecolor=INK, zorder=2.5,
    ))  # fmt: skip
    axes.text(x, y, name, ha="center", va="center", fontsize=SMALL, zorder=3)


def _join(axes: Axes, x: float, y: float, sign: str) -> None:
    """Draw the place where two views become one."""
    axes.add_patch(Circle((x, y), 0.15, facecolor=COLORS[1], edgecolor=INK, linewidth=1.2, zorder=3))
    axes.text(x, y, sign, ha="center", va="center", fontsize=SMALL, fontweight="bold", zorder=4)


def _meets_before_convolutions(axes: Axes, low: float) -> None:
    height = low + 0.6
    axes.plot([_LANE["graph"] + _HALF, 3.05], [height, height], color=INK, linewidth=1.2)
    for x in (1.05, 2.05, 3.05):
        draw_arrow(axes, (x, height), (x, low + 0.15))
        _join(axes, x, low, "×+")
    axes.text(3.15, height, "scale and shift of every atom", va="center", fontsize=SMALL)
    _dense_end(axes, low, _LANE["mean"])


def _meets_side_by_side(axes: Axes, low: float) -> None:
    height = low + 0.6
    axes.plot([_LANE["graph"] + _HALF, _MEET], [height, height], color=INK, linewidth=1.2)
    draw_arrow(axes, (_MEET, height), (_MEET, low + 0.15))
    _join(axes, _MEET, low, ";")
    _dense_end(axes, low, _MEET)


def _meets_in_a_weighted_sum(axes: Axes, low: float) -> None:
    height = low + 0.6
    axes.plot([_LANE["graph"] + _HALF, _MEET], [height, height], color=INK, linewidth=1.2)
    _step(axes, 2.55, height, "dense", COMPOSITION)
    draw_arrow(axes, (_MEET, height), (_MEET, low + 0.15))
    axes.text(_MEET + 0.08, low + 0.36, "weights of this crystal", va="center", fontsize=SMALL)
    _join(axes, _MEET, low, "+")
    _dense_end(axes, low, _MEET)


def _meets_in_the_prediction(axes: Axes, low: float) -> None:
    height, place = low + 0.6, 6.75
    axes.plot([_LANE["graph"] + _HALF, place], [height, height], color=INK, linewidth=1.2)
    _step(axes, 2.55, height, "forest", COMPOSITION)
    draw_arrow(axes, (place, height), (place, low + 0.15))
    axes.text(place - 0.08, low + 0.36, "one weight for all crystals", ha="right", va="center", fontsize=SMALL)
    draw_arrow(axes, (_LANE["mean"] + _HALF, low), (_LANE["dense"] - _HALF, low))
    _step(axes, _LANE["dense"], low, "dense", STRUCTURE)
    draw_arrow(axes, (_LANE["dense"] + _HALF, low), (place - 0.15, low))
    _join(axes, place, low, "+")
    draw_arrow(axes, (place + 0.15, low), (_END, low))


def _dense_end(axes: Axes, low: float, start: float) -> None:
    """Draw what comes after the mean over the atoms, or after the place where the views meet."""
    if start != _LANE["mean"]:
        draw_arrow(axes, (_LANE["mean"] + _HALF, low), (start - 0.15, low))
    left = start + (_HALF if start == _LANE["mean"] else 0.15)
    draw_arrow(axes, (left, low), (_LANE["dense"] - _HALF, low))
    _step(axes, _LANE["dense"], low, "dense", COLORS[6])
    draw_arrow(axes, (_LANE["dense"] + _HALF, low), (_END, low))


@figure_function
def plot_scales(scales: np.ndarray, by: pd.Series, label: str) -> Figure:
    """Draw by what each atom feature of each crystal is multiplied, compared with the mean over the crystals.

    Parameters
    ----------
    scales : array, shape (B, F)
        The factors.
    by : Series, length B
        A property of the crystals, by which the rows are sorted; the columns are sorted by their correlation with it.
    label : str
        What that property is called.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the property does not have one value per crystal.
    """
    scales = np.asarray(scales, dtype=float)
    if len(scales) != len(by):
        raise ValueError(f"scales has {len(scales)} rows, the property {len(by)} values; both need one per crystal.")
    values = by.to_numpy(dtype=float)
    changes = scales - scales.mean(0)
    covariance = (values - values.mean()) @ changes
    columns = np.argsort(covariance / (scales.std(0) + 1e-12))
    rows = np.argsort(values)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    image = axes.imshow(
        changes[rows][:, columns], cmap="cividis", vmin=-0.5, vmax=0.5, aspect="auto", interpolation="nearest",
        origin="lower",
    )  # fmt: skip
    places = np.linspace(0, len(rows) - 1, 5).astype(int)
    axes.set_yticks(places, [f"{values[rows[place]]:.2f}" for place in places])
    axes.set_ylabel(f"crystals, sorted by\n{label}")
    axes.set_xlabel("atom features, sorted by their correlation with it")
    figure.colorbar(image, ax=axes, label="factor minus its mean", ticks=[-0.5, 0, 0.5], extend="both", pad=0.01)
    return figure


@figure_function
def plot_weights_by_group(weights: Mapping[str, pd.Series], groups: pd.Series, label: str) -> Figure:
    """Draw the mean and the standard deviation of a weight over each group of crystals, for several networks.

    Parameters
    ----------
    weights : mapping of str to Series
        For each network a weight between 0 and 1 by crystal id. The first one's means order the groups.
    groups : Series
        A label for each crystal id, for example its prototype.
    label : str
        What the weight is called.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a crystal has no group.
    """
    for of_network in weights.values():
        check_known(of_network.index, groups.index, "group for the crystal")
    table = {name: w.groupby(groups.loc[w.index]).agg(["mean", "std"]).fillna(0.0) for name, w in weights.items()}
    first_name, first = next(iter(weights.items()))
    order = table[first_name]["mean"].sort_values().index
    counts = groups.loc[first.index].value_counts()
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.34 * len(order)))
    offsets = np.linspace(-0.2, 0.2, len(table)) if len(table) > 1 else [0.0]
    colors = colors_of(table)
    for rank, ((name, values), offset) in enumerate(zip(table.items(), offsets, strict=True)):
        mine = values.reindex(order)
        axes.errorbar(mine["mean"], np.arange(len(order)) + offset, xerr=mine["std"], fmt=pick(MARKERS, rank),
                      color=colors[name], markersize=6, markeredgecolor=INK, markeredgewidth=0.6, capsize=2,
                      linewidth=1.2, label=name)  # fmt: skip
    axes.axvline(0.5, color=INK, linewidth=1.0, linestyle="--")
    axes.set_yticks(range(len(order)), [f"{PROTOTYPES.get(group, group)} ({counts[group]})" for group in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"{label}; bars: standard deviation; in brackets, the number of crystals")
    figure.legend(loc="outside upper center", ncols=len(table))
    return figure
