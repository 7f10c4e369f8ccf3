"""Fusion inside the network: where each kind of it happens, what the composition sets there, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    NARROW_WIDTH,
    PROTOTYPES,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    paler,
    pick,
    wrapped,
)

_LANE = {"graph": 0.55, "conv 1": 1.55, "conv 2": 2.55, "conv 3": 3.55, "mean": 4.5, "dense": 6.0}  # along it
_BESIDE = 0.6  # how far from it the composition's lane is
_MEET = 5.25  # where early and attention fusion join the views
_END = 7.1
_RIM = 0.15  # inches, radius of a join


@dataclass(frozen=True)
class _Network:
    """A place to draw one network: from left to right, or in the narrow figure from top to bottom."""

    axes: Axes
    x: float  # inches, where the lane of the structure begins
    y: float
    narrow: bool

    @property
    def along(self) -> float:
        """Inches for one unit along the lane."""
        return 0.64 if self.narrow else 1.0

    @property
    def across(self) -> float:
        """Inches for one unit from the structure towards the composition."""
        return 1.75 if self.narrow else 1.0

    @property
    def half(self) -> float:
        """Half of what a step takes of the lane."""
        return 0.25 if self.narrow else 0.34

    def at(self, along: float, across: float = 0.0) -> tuple[float, float]:
        """Return where a place is on the axes."""
        if self.narrow:
            return self.x + self.across * across, self.y - self.along * along
        return self.x + self.along * along, self.y + self.across * across

    def step(self, along: float, name: str, color: str, across: float = 0.0) -> None:
        """Draw a named step, in front of its lane."""
        x, y = self.at(along, across)
        half = 0.43 if name == "composition" else 0.34
        self.axes.add_patch(FancyBboxPatch(
            (x - half, y - 0.16), 2 * half, 0.32, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=paler(color, 0.75), edgecolor=INK, zorder=2.5,
        ))  # fmt: skip
        self.axes.text(x, y, name, ha="center", va="center", fontsize=SMALL, zorder=3)

    def arrow(self, start: float, end: float) -> None:
        """Draw an arrow along the lane."""
        draw_arrow(self.axes, self.at(start), self.at(end))

    def join(self, along: float, sign: str) -> None:
        """Draw the place where two views become one, and the composition's way to it."""
        way = [self.at(_LANE["graph"] + self.half, _BESIDE), self.at(along, _BESIDE)]
        self.axes.plot(*zip(*way, strict=True), color=INK, linewidth=1.2)
        draw_arrow(self.axes, way[1], self.at(along, _RIM / self.across))
        center = self.at(along)
        self.axes.add_patch(
            Circle(center, _RIM, facecolor=paler(COLORS[1], 0.3), edgecolor=INK, linewidth=1.2, zorder=3)
        )
        self.axes.text(*center, sign, ha="center", va="center", fontsize=SMALL, fontweight="bold", zorder=4)

    def note(self, along: float, text: str, shift: float, across: float) -> None:
        """Write what joins at a place: next to the arrow, left or right by `shift`; in the narrow figure below it."""
        if self.narrow:
            place, text, style = self.at(along + 0.2, _BESIDE), wrapped(text, 15), {"ha": "center", "va": "top"}
        else:
            place, style = self.at(along + shift, across), {"ha": "left" if shift > 0 else "right", "va": "center"}
        self.axes.text(*place, text, fontsize=SMALL, **style)

    def end(self, start: float) -> None:
        """Draw what comes after the mean over the atoms (`start` is half a step behind it) or after a join."""
        dense = _LANE["dense"]
        self.arrow(start, dense - self.half)
        self.step(dense, "dense", COLORS[6])
        self.arrow(dense + self.half, _END)


@figure_function
def plot_fusion_places(narrow: bool = False) -> Figure:
    """Draw four kinds of fusion on one network, one by one: where the composition meets the structure.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the networks then run from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = inch_canvas(10.85, NARROW_WIDTH) if narrow else inch_canvas(5.75)
    kinds = (
        ("Intermediate fusion: before every convolution", _meets_before_convolutions),
        ("Early fusion: after the mean, side by side", _meets_side_by_side),
        ("Attention fusion: after the mean, as a weighted sum", _meets_in_a_weighted_sum),
        ("Late fusion: two predictions, as a weighted sum", _meets_in_the_prediction),
    )
    for number, (title, draw) in enumerate(kinds):
        if narrow:
            row, column = divmod(number, 2)
            network = _Network(axes, 0.47 + 2.2 * column, 10.25 - 5.4 * row, narrow)
            name, _, place = title.partition(" fusion: ")
            title, corner = f"{name} fusion:\n{wrapped(place, 20)}", (network.x - 0.37, network.y + 0.55)
        else:
            network = _Network(axes, 0.0, 4.45 - 1.42 * number, narrow)
            corner = (0.1, network.y + 1.12)
        axes.text(*corner, title, va="top", fontweight="bold")
        network.step(_LANE["graph"], "composition", COMPOSITION, _BESIDE)
        steps = [(name, place) for name, place in _LANE.items() if name != "dense"]
        for name, place in steps:
            network.step(place, name, STRUCTURE)
        for (_, place), (_, next_place) in pairwise(steps):
            network.arrow(place + network.half, next_place - network.half)
        draw(network)
        axes.text(*network.at(_END + 0.15), "ŷ", ha="center", va="center", fontweight="bold")
    return figure


def _meets_before_convolutions(network: _Network) -> None:
    for place in (1.05, 2.05, 3.05):
        network.join(place, "×+")
    network.note(3.05, "scale and shift of every atom", 0.1, _BESIDE)
    network.end(_LANE["mean"] + network.half)


def _meets_side_by_side(network: _Network) -> None:
    _meets_after_the_mean(network, ";")


def _meets_in_a_weighted_sum(network: _Network) -> None:
    network.step(2.55, "dense", COMPOSITION, _BESIDE)
    _meets_after_the_mean(network, "+")
    network.note(_MEET, "weights of this crystal", 0.08, 0.36)


def _meets_after_the_mean(network: _Network, sign: str) -> None:
    rim = _RIM / network.along
    network.arrow(_LANE["mean"] + network.half, _MEET - rim)
    network.join(_MEET, sign)
    network.end(_MEET + rim)


def _meets_in_the_prediction(network: _Network) -> None:
    place, dense, rim = 6.7, _LANE["dense"], _RIM / network.along
    network.step(2.55, "forest", COMPOSITION, _BESIDE)
    network.arrow(_LANE["mean"] + network.half, dense - network.half)
    network.step(dense, "dense", STRUCTURE)
    network.arrow(dense + network.half, place - rim)
    network.join(place, "+")
    network.note(place, "one weight for all crystals", -0.08, 0.36)
    network.arrow(place + rim, _END)


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
