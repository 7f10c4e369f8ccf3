"""Composition features, atom features, the distance basis, and the energies of polymorphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

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
from course_lib.plots.style import (
    COLORS,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    bare,
    check_known,
    figure_function,
    paler,
    text_color,
    wrapped,
)

_HATCHES = ("", "///", "...", "xxx")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#5b84b1"])

PROTOTYPES = {
    "rocksalt": "rock salt",
    "zincblende": "zinc blende",
    "cscl": "CsCl",
    "nias": "NiAs",
    "wc": "WC",
    "l10": "L1₀",
    "alb2": "AlB₂",
    "laves_c15": "Laves C15",
    "reo3": "ReO₃",
    "d03": "D0₃",
    "l12": "L1₂",
    "half_heusler": "half-Heusler",
    "heusler": "Heusler",
}
"""How the prototypes of the bundled crystals are written; the others are written as they are."""


@figure_function
def plot_polymorphs(df: pd.DataFrame, formulas: Sequence[str]) -> Figure:
    """Draw the formation energies of crystals that share a formula.

    Parameters
    ----------
    df : DataFrame
        With the columns ``formula``, ``prototype`` and ``formation_energy_per_atom`` (eV/atom), as
        ``load_dataset("pbe_prototypes")`` gives it.
    formulas : sequence of str
        Which formulas to draw, one row each, from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a formula is not in `df`.
    """
    check_known(formulas, df["formula"].unique(), "formula")
    figure, axes = plt.subplots(figsize=(WIDTH, 1.3 + 0.42 * len(formulas)))
    order = list(df["prototype"].unique())
    shown = df[df["formula"].isin(list(formulas))]
    for row, formula in enumerate(formulas):
        energies = shown.loc[shown["formula"] == formula, "formation_energy_per_atom"]
        axes.plot(
            [energies.min(), energies.max()], [row, row], color=FAINT, linewidth=3, solid_capstyle="round", zorder=1
        )
        axes.annotate(f"{energies.max() - energies.min():.2f}", (1.01, row), xycoords=("axes fraction", "data"),
                      va="center", fontsize=SMALL)  # fmt: skip
    for prototype in [name for name in order if name in set(shown["prototype"])]:
        index = order.index(prototype)
        mine = shown[shown["prototype"] == prototype]
        axes.plot(
            mine["formation_energy_per_atom"], [list(formulas).index(formula) for formula in mine["formula"]],
            linestyle="", marker=MARKERS[index % len(MARKERS)], markersize=8, markerfacecolor=COLORS[index % len(COLORS)],
            markeredgecolor=INK, markeredgewidth=0.7, label=PROTOTYPES.get(prototype, prototype),
        )  # fmt: skip
    axes.annotate("spread", (1.01, 1.0), xycoords="axes fraction", va="bottom", fontsize=SMALL, color=MUTED)
    axes.set_yticks(range(len(formulas)), formulas)
    axes.set_ylim(len(formulas) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("formation energy (eV/atom)")
    figure.legend(loc="outside lower center", ncols=5)
    return figure


@figure_function
def plot_feature_groups(groups: dict[str, list[str]]) -> Figure:
    """Draw how the composition features fall into groups, as a bar cut to scale.

    Parameters
    ----------
    groups : dict of str to list of str
        Column labels by group, as `course_lib.composition.feature_groups` gives them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sizes = [len(labels) for labels in groups.values()]
    total = sum(sizes)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.7))
    card = total / len(groups)
    for rank, (name, labels) in enumerate(groups.items()):
        start = sum(sizes[:rank])
        color = COLORS[rank % len(COLORS)]
        axes.add_patch(Rectangle((start, 2.0), len(labels), 0.7, facecolor=color, edgecolor="white", linewidth=0.8,
                                 hatch=_HATCHES[rank % len(_HATCHES)]))  # fmt: skip
        left = rank * card
        corners = [(start, 1.98), (start + len(labels), 1.98), (left + card - 2, 1.35), (left + 1, 1.35)]
        axes.add_patch(Polygon(corners, facecolor=paler(color, 0.75), edgecolor="none"))
        axes.add_patch(Rectangle((left + 1, -0.1), card - 3, 1.45, facecolor=paler(color, 0.85), edgecolor="none"))
        axes.text(left + 2.2, 1.2, f"{len(labels)}", fontsize=15, fontweight="bold", va="top")
        axes.text(left + 2.2, 0.82, name, fontweight="bold", va="top")
        examples = "\n".join(wrapped(label.removeprefix("MagpieData "), 22) for label in labels[:2])
        axes.text(left + 2.2, 0.55, examples, fontsize=SMALL, va="top", color=MUTED)
    axes.set_title(f"One composition, {total} numbers")
    axes.set_xlim(0, total)
    axes.set_ylim(-0.1, 2.75)
    bare(axes)
    return figure


@figure_function
def plot_feature_table(features: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Draw some features of some compositions as a table, shaded column by column.

    Parameters
    ----------
    features : DataFrame
        Features by composition; the index holds the formulas.
    columns : sequence of str
        Which features.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is not in `features`.
    """
    check_known(columns, features.columns, "feature")
    values = features[list(columns)].to_numpy(dtype=float)
    low, high = values.min(0), values.max(0)
    shade = (values - low) / np.where(high > low, high - low, 1.0)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.36 * len(features)))
    axes.imshow(shade, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        axes.text(column, row, f"{values[row, column]:.4g}", ha="center", va="center",
                  color=text_color(_SHADES(shade[row, column])))  # fmt: skip
    width = max(8, int(78 / (len(columns) + 1)))
    axes.set_xticks(
        range(len(columns)), [wrapped(str(column).removeprefix("MagpieData "), width) for column in columns]
    )
    axes.set_yticks(range(len(features)), [str(formula) for formula in features.index], fontweight="bold")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(features)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    return figure


@figure_function
def plot_feature_scales(raw: pd.DataFrame, scaled: pd.DataFrame) -> Figure:
    """Draw the range of every composition feature before and after standardisation.

    Every feature is a bar from its 2.5th to its 97.5th percentile with a dot at its median; features stand in the order
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
        raise ValueError("raw and scaled have different columns. Standardise the very frame that you give as raw.")
    low, middle, high = np.percentile(raw.to_numpy(dtype=float), [2.5, 50, 97.5], axis=0)
    spread = high - low
    order = np.argsort(spread, kind="stable")
    varying = spread[spread > 0]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 4.8), sharex=True)
    _draw_ranges(top, low[order], middle[order], high[order])
    _draw_ranges(bottom, *np.percentile(scaled.to_numpy(dtype=float), [2.5, 50, 97.5], axis=0)[:, order])
    top.set_yscale("symlog", linthresh=0.01)
    top.set_title(f"As computed: ranges from {varying.min():.2g} to {varying.max():,.0f}")
    bottom.set_title("Standardised: all of one size")
    top.set_ylabel("value\n(each in its own unit)")
    bottom.set_ylabel("value\n(standard deviations)")
    bottom.set_xlabel(f"the {raw.shape[1]} features, in the order of their raw range")
    bottom.set_xlim(-1, raw.shape[1])
    return figure


def _draw_ranges(axes: Axes, low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> None:
    """Draw a bar from `low` to `high` with a dot at `middle` for each feature."""
    places = np.arange(len(low))
    axes.vlines(places, low, high, color=paler(COLORS[0], 0.5), linewidth=2.0)
    axes.plot(places, middle, ".", color=INK, markersize=3)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.grid(axis="y")


@figure_function
def plot_gaussian_basis(distances: Sequence[float]) -> Figure:
    """Draw the 41 Gaussians of the distance basis, and what they make of some distances.

    Parameters
    ----------
    distances : sequence of float
        Distances in angstrom, a row each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    basis = GaussianBasis()
    centers = basis.centers.numpy()
    grid = np.linspace(0, centers[-1], 1601)
    curves = basis(torch.as_tensor(grid)).numpy()
    values = basis(torch.as_tensor(distances, dtype=torch.float64)).numpy()
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 2.9 + 0.3 * len(distances)), sharex=True, height_ratios=(1.6, 0.25 + 0.3 * len(distances))
    )
    for k, curve in enumerate(curves.T):
        top.plot(
            grid,
            curve,
            color=COLORS[0] if k % 5 == 0 else FAINT,
            linewidth=1.4 if k % 5 == 0 else 0.9,
            zorder=2 if k % 5 == 0 else 1,
        )
    step = centers[1] - centers[0]
    top.vlines(distances, 0, 1.12, color=COLORS[1], linestyle="--", linewidth=1.4, zorder=3)
    top.set_ylim(0, 1.15)
    top.set_ylabel("value")
    top.set_title(f"{len(centers)} Gaussians, {step:.1f} Å apart")
    image = bottom.imshow(
        values, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(centers[0] - step / 2, centers[-1] + step / 2, len(distances) - 0.5, -0.5),
    )  # fmt: skip
    bottom.set_yticks(range(len(distances)), [f"{distance:.2f} Å" for distance in distances])
    bottom.set_yticks(np.arange(1, len(distances)) - 0.5, minor=True)
    bottom.grid(which="minor", axis="y", color="white", linewidth=3)
    bottom.tick_params(axis="y", which="both", length=0)
    bottom.set_title("What the network reads instead of the distance")
    bottom.set_xlabel("centre of the Gaussian (Å)")
    figure.colorbar(image, ax=bottom, label="value", aspect=8, pad=0.01)
    return figure


@figure_function
def plot_atom_features(symbols: Sequence[str]) -> Figure:
    """Draw the 92 atom features of some elements as a matrix of bits.

    Parameters
    ----------
    symbols : sequence of str
        Elements, a row each.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a symbol is no element or has no features.
    """
    from pymatgen.core import Element

    unknown = [symbol for symbol in symbols if not Element.is_valid_symbol(symbol)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no element. Write it as in the periodic table, for example 'Na'.")
    bits = atom_features([Element(symbol).Z for symbol in symbols]).numpy()
    ends = list(accumulate(ATOM_FEATURE_BLOCKS.values()))
    half = min(ends, key=lambda end: abs(end - ends[-1] / 2))
    figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 1.7 + 0.42 * len(symbols)))
    for axes, (first, last) in zip(panels, [(0, half), (half, ends[-1])], strict=True):
        _draw_bits(axes, bits, first, last)
        axes.set_yticks(range(len(symbols)), symbols, fontweight="bold")
    return figure


def _draw_bits(axes: Axes, bits: np.ndarray, first: int, last: int) -> None:
    """Draw the bits from `first` to `last`, with the names and the ranges of their blocks."""
    axes.imshow(bits[:, first:last], cmap="Greys", vmin=0, vmax=1.15, aspect="auto", interpolation="nearest",
                extent=(first, last, len(bits) - 0.5, -0.5))  # fmt: skip
    axes.set_xticks(range(first, last + 1), minor=True)
    axes.set_yticks(np.arange(1, len(bits)) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    labels, start = feature_labels(), 0
    for name, size in ATOM_FEATURE_BLOCKS.items():
        if first <= start < last:
            axes.add_patch(
                Rectangle(
                    (start, -0.5), size, len(bits), fill=False, edgecolor=INK, linewidth=1.4, clip_on=False, zorder=3
                )
            )
            low, high = (labels[k].removeprefix(f"{name} ") for k in (start, start + size - 1))
            middle = start + size / 2
            axes.text(middle, -0.6, wrapped(name, max(8, int(1.7 * size))), ha="center", va="bottom")
            axes.text(middle, len(bits) - 0.4, f"{low.split(' to ')[0]} to {high.split(' to ')[-1]}", ha="center", va="top",
                      fontsize=SMALL, color=MUTED)  # fmt: skip
        start += size
