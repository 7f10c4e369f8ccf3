"""Composition features, atom features, the distance basis, and the energies of polymorphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from course_lib.models.atom_features import ATOM_FEATURE_BLOCKS, atom_features, feature_labels
from course_lib.models.layers import GaussianBasis
from course_lib.teaching.figures.schematics import rectangle_between
from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    NARROW_WIDTH,
    PROTOTYPES,
    SMALL,
    WIDTH,
    bare,
    check_known,
    figure_function,
    paler,
    pick,
    text_color,
    wrapped,
)

_HATCHES = ("", "///", "...", "xxx")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#7fa3c9"])


@figure_function
def plot_polymorphs(df: pd.DataFrame, formulas: Sequence[str], narrow: bool = False) -> Figure:
    """Draw the formation energies of crystals that share a formula.

    Parameters
    ----------
    df : DataFrame
        With the columns ``formula``, ``prototype`` and ``formation_energy_per_atom`` (eV/atom), as
        ``load_dataset("pbe_prototypes")`` gives it.
    formulas : sequence of str
        Which formulas to draw, one row each, from top to bottom.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a formula is not in `df`.
    """
    formulas = list(formulas)
    check_known(formulas, df["formula"], "formula")
    shown = df[df["formula"].isin(formulas)]
    energy = shown["formation_energy_per_atom"]
    figure, axes = plt.subplots(figsize=(NARROW_WIDTH if narrow else WIDTH, 1.4 + 0.42 * len(formulas)))
    height = pd.Series(0.0, index=shown.index)
    apart = (0.04 if narrow else 0.022) * (energy.max() - energy.min())
    for row, formula in enumerate(formulas):
        mine = energy[shown["formula"] == formula]
        height[mine.index] = row + _dodged(mine.to_numpy(), apart)
        axes.plot([mine.min(), mine.max()], [row, row], color="#e3e6eb", linewidth=10, solid_capstyle="round", zorder=1)
        axes.text(1.02, row, f"{mine.max() - mine.min():.2f}", transform=axes.get_yaxis_transform(), va="center",
                  fontsize=SMALL)  # fmt: skip
    # The mark of a prototype goes by its place in the whole frame, so that it is the same in every figure of it.
    for rank, prototype in enumerate(df["prototype"].unique()):
        mine = shown["prototype"] == prototype
        if mine.any():
            axes.plot(
                energy[mine], height[mine], linestyle="", marker=pick(MARKERS, rank), markersize=8,
                markerfacecolor=pick(COLORS, rank), markeredgecolor=INK, markeredgewidth=0.7,
                label=PROTOTYPES.get(prototype, prototype),
            )  # fmt: skip
    axes.text(
        1.02, -0.6, "spread\n(eV/atom)", transform=axes.get_yaxis_transform(), va="bottom", fontsize=SMALL, color=MUTED
    )
    axes.set_yticks(range(len(formulas)), formulas, fontweight="bold")
    axes.set_ylim(len(formulas) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("formation energy (eV/atom)")
    n_rows = -(-shown["prototype"].nunique() // (3 if narrow else 6))
    n_columns = -(-shown["prototype"].nunique() // n_rows)
    figure.legend(loc="outside lower center", ncols=n_columns, handletextpad=0.2)
    return figure


def _dodged(values: np.ndarray, width: float) -> np.ndarray:
    """Return which of three lanes each mark takes, so that marks of the given width at `values` are apart."""
    lanes = np.array([0.0, -0.28, 0.28])
    last = np.full(3, -np.inf)  # the last mark in each lane
    chosen = np.zeros(len(values))
    for here in np.argsort(values):
        free = values[here] - last >= width
        lane = int(np.argmax(free)) if free.any() else int(np.argmin(last))
        chosen[here], last[lane] = lanes[lane], values[here]
    return chosen


@figure_function
def plot_feature_groups(groups: dict[str, list[str]], narrow: bool = False) -> Figure:
    """Draw how the composition features fall into groups, as a bar cut to scale.

    Parameters
    ----------
    groups : dict of str to list of str
        Column labels by group, as `course_lib.composition.feature_groups` gives them.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the bar then stands upright.

    Returns
    -------
    matplotlib.figure.Figure
    """
    total = sum(map(len, groups.values()))
    gap = 0.02 * total
    width = (total - gap * (len(groups) - 1)) / len(groups)
    figure, axes = plt.subplots(figsize=(NARROW_WIDTH, 5.5) if narrow else (WIDTH, 2.6))

    def at(along: float, across: float) -> tuple[float, float]:
        return (2.6 - across, total - along) if narrow else (along, across)

    start = 0
    for rank, (name, labels) in enumerate(groups.items()):
        color, left = pick(COLORS, rank), rank * (width + gap)
        end = start + len(labels)
        axes.add_patch(Rectangle(*rectangle_between(at(start, 2.0), at(end, 2.6)), facecolor=color, edgecolor="white",
                                 linewidth=0.8, hatch=pick(_HATCHES, rank)))  # fmt: skip
        shadow = [at(start, 1.97), at(end, 1.97), at(left + width, 1.4), at(left, 1.4)]
        axes.add_patch(Polygon(shadow, facecolor=paler(color, 0.75), edgecolor="none"))
        card = rectangle_between(at(left, 0), at(left + width, 1.4))
        axes.add_patch(Rectangle(*card, facecolor=paler(color, 0.85), edgecolor="none"))
        example = wrapped(f"{_short(labels[0])}, …, {_short(labels[-1])}", 26 if narrow else 20)
        for text, down, style in (
            (len(labels), 6.2, {"fontsize": 15, "fontweight": "bold"}),
            (name, 32.4, {"fontsize": 9.5, "fontweight": "bold"}),
            (example, 48.6, {"fontsize": SMALL, "color": MUTED}),
        ):
            axes.annotate(text, at(left, 1.4), (4.4, -down), textcoords="offset points", va="top", **style)
        start = end
    axes.set_title(f"One composition, {total} numbers")
    axes.set(xlim=(0, 2.6) if narrow else (0, total), ylim=(0, total) if narrow else (0, 2.65))
    bare(axes)
    return figure


def _short(label: str) -> str:
    """Return a column label without the name of the table that it comes from."""
    return str(label).removeprefix("MagpieData ")


@figure_function
def plot_feature_table(features: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Draw some features of some compositions as a table: one row per feature, shaded from its smallest to its largest.

    Parameters
    ----------
    features : DataFrame
        Features by composition; the index holds the formulas.
    columns : sequence of str
        Which features, from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is not in `features`.
    """
    check_known(columns, features.columns, "feature")
    values = features[list(columns)].to_numpy(dtype=float).T
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    shade = (values - low) / np.where(high > low, high - low, 1.0)
    names = [_short(column) for column in columns]
    width = min(WIDTH, 0.4 + 0.085 * max(map(len, names)) + 0.95 * len(features))
    figure, axes = plt.subplots(figsize=(width, 0.6 + 0.34 * len(names)))
    axes.imshow(shade, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        axes.text(column, row, f"{values[row, column]:.4g}", ha="center", va="center",
                  color=text_color(_SHADES(shade[row, column])))  # fmt: skip
    axes.set_xticks(range(len(features)), [str(formula) for formula in features.index], fontweight="bold", fontsize=10)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(1, len(features)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.xaxis.tick_top()
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


@figure_function
def plot_feature_scales(raw: pd.DataFrame, scaled: pd.DataFrame) -> Figure:
    """Draw the range of every composition feature before and after standardisation.

    Every feature is a bar from its 2.5th to its 97.5th percentile with a dot at its median; features are in the order
    of their raw range.

    Parameters
    ----------
    raw, scaled : DataFrame, shape (B, n_features)
        The features of the same crystals, as computed and standardised.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the two have different columns.
    """
    if list(raw.columns) != list(scaled.columns):
        raise ValueError("raw and scaled have different columns. Standardise the same frame that you give as raw.")
    before, after = (np.percentile(frame.to_numpy(dtype=float), [2.5, 50, 97.5], axis=0) for frame in (raw, scaled))
    order = np.argsort(before[2] - before[0], kind="stable")
    spread = (before[2] - before[0])[order]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 4.6), sharex=True)
    for axes, (low, middle, high) in ((top, before[:, order]), (bottom, after[:, order])):
        axes.vlines(np.arange(len(order)), low, high, color=paler(COLORS[0], 0.45), linewidth=2.2)
        axes.plot(middle, ".", color=INK, markersize=3.5)
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
        axes.grid(axis="y")
    top.set_yscale("symlog", linthresh=1)
    top.set_ylim(min(1.5 * before.min(), -0.3), 3 * before.max())
    top.yaxis.set_major_formatter("{x:,.0f}")
    top.yaxis.set_minor_locator(plt.NullLocator())
    top.set_title(f"As computed: half of them span less than {np.median(spread):.2g}, one spans {spread[-1]:,.0f}")
    bottom.set_title("Standardised: one scale for all")
    top.set_ylabel("value\n(each in its own unit)")
    bottom.set_ylabel("value\n(standard deviations)")
    bottom.set_xlabel(f"the {len(order)} features, by their range as computed (bar: 95 % of the crystals, dot: median)")
    bottom.set_xlim(-1, len(order))
    return figure


@figure_function
def plot_gaussian_basis(distances: Sequence[float]) -> Figure:
    """Draw the 41 Gaussians of the distance basis, and the expansion of some distances.

    Parameters
    ----------
    distances : sequence of float
        Distances in angstrom, one row for each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    basis = GaussianBasis()
    centers = basis.centers.numpy()
    step = centers[1] - centers[0]
    grid = torch.linspace(0, float(centers[-1]), 1601)
    curves = basis(grid).numpy()
    values = basis(torch.tensor(distances, dtype=torch.float32)).numpy()
    rows = len(distances)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 2.9 + 0.3 * rows), sharex=True, height_ratios=(1.6, 0.25 + 0.3 * rows)
    )
    for k, curve in enumerate(curves.T):
        heavy = {"color": COLORS[0], "linewidth": 1.6, "zorder": 2} if k % 5 == 0 else {"color": FAINT, "linewidth": 1}
        top.plot(grid, np.where(curve > 1e-3, curve, np.nan), **heavy)
    top.vlines(distances, 0, 1.15, color=COLORS[1], linestyle="--", linewidth=1.4, zorder=3)
    top.set_ylim(0, 1.15)
    top.set_ylabel("value")
    top.set_title(
        f"{len(centers)} Gaussians, {step:.1f} Å apart (every fifth drawn heavy), and {rows} distances (dashed)"
    )
    image = bottom.imshow(
        values, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(centers[0] - step / 2, centers[-1] + step / 2, rows - 0.5, -0.5),
    )  # fmt: skip
    bottom.set_yticks(range(rows), [f"{distance:.2f} Å" for distance in distances])
    bottom.set_yticks(np.arange(1, rows) - 0.5, minor=True)
    bottom.grid(which="minor", axis="y", color="white", linewidth=3)
    bottom.tick_params(axis="y", which="both", length=0)
    bottom.set_title(f"What the network reads: {len(centers)} values for each distance")
    bottom.set_xlabel("centre of the Gaussian (Å)")
    figure.colorbar(image, ax=bottom, label="value", ticks=[0, 0.5, 1], aspect=8, pad=0.01)
    return figure


@figure_function
def plot_atom_features(symbols: Sequence[str], narrow: bool = False) -> Figure:
    """Draw the 92 atom features of some elements as a matrix of bits.

    Parameters
    ----------
    symbols : sequence of str
        Elements, one row for each.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the blocks then take more rows.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a symbol is not an element or has no features.
    """
    from pymatgen.core import Element

    unknown = [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not an element. Write it as in the periodic table, for example 'Na'.")
    bits = atom_features([Element(symbol).Z for symbol in symbols]).numpy()
    ends = np.array([0, *accumulate(ATOM_FEATURE_BLOCKS.values())])
    rows, width = (4, NARROW_WIDTH) if narrow else (2, WIDTH)
    cuts = [ends[np.abs(ends - share).argmin()] for share in np.linspace(0, ends[-1], rows + 1)]
    figure, panels = plt.subplots(rows, 1, figsize=(width, rows * (0.95 + 0.2 * len(symbols))))
    for axes, (first, last) in zip(panels, pairwise(cuts), strict=True):
        _draw_bits(axes, bits, first, last)
        axes.set_yticks(range(len(symbols)), symbols, fontweight="bold", fontsize=10)
    figure.supxlabel("atom features in blocks (dark: 1, white: 0)", fontsize=10)
    return figure


def _draw_bits(axes: Axes, bits: np.ndarray, first: int, last: int) -> None:
    """Draw the bits from `first` to `last`, with the names and the ranges of their blocks."""
    rows = len(bits)
    axes.imshow(bits[:, first:last], cmap="Greys", vmin=0, vmax=1.15, aspect="auto", interpolation="nearest",
                extent=(first, last, rows - 0.5, -0.5))  # fmt: skip
    axes.set_xticks(range(first, last + 1), minor=True)
    axes.set_yticks(np.arange(1, rows) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.5)
    axes.set_xticks([])
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    labels, start = feature_labels(), 0
    for name, size in ATOM_FEATURE_BLOCKS.items():
        if first <= start < last:
            frame = Rectangle(
                (start, -0.5), size, rows, fill=False, edgecolor=INK, linewidth=1.6, clip_on=False, zorder=3
            )
            axes.add_patch(frame)
            low, high = (labels[k].removeprefix(f"{name} ") for k in (start, start + size - 1))
            extent = f"{low.split(' to ')[0]} to {high.split(' to ')[-1]}".replace("cm3", "cm³").replace("-", "−")
            middle = start + size / 2
            axes.annotate(wrapped(name, max(8, int(1.7 * size))), (middle, -0.5), (0, 4), textcoords="offset points",
                          ha="center", va="bottom")  # fmt: skip
            axes.annotate(extent, (middle, rows - 0.5), (0, -4), textcoords="offset points", ha="center", va="top",
                          fontsize=SMALL, color=MUTED)  # fmt: skip
        start += size
