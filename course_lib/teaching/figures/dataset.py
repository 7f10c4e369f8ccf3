"""What is in the bundled dataset, and how accurate it is."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pymatgen.core import Element

from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    PROTOTYPES,
    SMALL,
    WIDTH,
    bare,
    check_known,
    figure_function,
    paler,
    text_color,
    with_unit,
)


@figure_function
def plot_periodic_table(counts: pd.Series) -> Figure:
    """Draw the periodic table with a count on each element, darker where it is larger.

    Lanthanides and actinides are left out where none of them has a count.

    Parameters
    ----------
    counts : Series of int
        Indexed by element symbol.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = [
        element for element in Element if element.Z <= 86 and not (element.is_lanthanoid and element.symbol != "La")
    ]
    shown += [Element(symbol) for symbol in counts.index if Element(symbol) not in shown]
    rows = max(element.row for element in shown)
    figure, axes = plt.subplots(figsize=(WIDTH, 0.45 * rows + 0.2))
    for element in shown:
        count = counts.get(element.symbol, 0)
        # The root, so that a few common elements do not leave all others pale.
        color = paler(COLORS[0], 1 - (0.12 + 0.88 * (count / counts.max()) ** 0.5)) if count else "white"
        x, y = element.group, element.row
        axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=color, edgecolor=INK if count else FAINT,
                                 linewidth=0.6))  # fmt: skip
        ink = text_color(color) if count else MUTED
        axes.text(x, y - 0.2, element.symbol, ha="center", va="center", fontsize=SMALL, color=ink, fontweight="bold")
        if count:
            axes.text(x, y + 0.22, str(count), ha="center", va="center", fontsize=SMALL, color=ink)
    axes.set(xlim=(0.4, 18.6), ylim=(rows + 0.6, 0.4))
    bare(axes)
    return figure


@figure_function
def plot_by_prototype(df: pd.DataFrame, columns: dict[str, str]) -> Figure:
    """Draw the values of some columns by prototype, one panel per column, one dot per crystal, a bar at the median.

    Parameters
    ----------
    df : DataFrame
        With the column ``prototype`` and those in `columns`.
    columns : dict of str to str
        Column and the label of its axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["prototype", *columns], df.columns, "column")
    order = df["prototype"].value_counts().index
    figure, panels = plt.subplots(1, len(columns), figsize=(WIDTH, 0.9 + 0.27 * len(order)), sharey=True, squeeze=False)
    spread = np.random.default_rng(0)
    for axes, (column, label) in zip(panels[0], columns.items(), strict=True):
        for row, prototype in enumerate(order):
            values = df.loc[df["prototype"] == prototype, column]
            axes.plot(values, row + spread.uniform(-0.28, 0.28, len(values)), linestyle="", marker="o", markersize=2.6,
                      markeredgewidth=0, alpha=0.5, color=COLORS[0])  # fmt: skip
            axes.plot([values.median()] * 2, [row - 0.38, row + 0.38], color=COLORS[1], linewidth=2.4)
        axes.set_xlabel(label)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    counts = df["prototype"].value_counts()
    labels = [f"{PROTOTYPES.get(name, name)} ({counts[name]})" for name in order]
    panels[0, 0].set_yticks(range(len(order)), labels)
    panels[0, 0].set_ylim(len(order) - 0.5, -0.5)
    return figure


@figure_function
def plot_polymorph_differences(df: pd.DataFrame, column: str, unit: str) -> Figure:
    """Draw how far apart the polymorphs of one formula lie: a histogram over all pairs with the same formula.

    Parameters
    ----------
    df : DataFrame
        With the columns ``formula`` and `column`.
    column : str
        Which property.
    unit : str
        Its unit.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing, or no formula has two crystals.
    """
    check_known(["formula", column], df.columns, "column")
    differences = polymorph_differences(df, column)
    if not len(differences):
        raise ValueError("no formula has two crystals, so no difference can be drawn. Add polymorphs.")
    figure, axes = plt.subplots(figsize=(6.5, 3.0))
    axes.hist(differences, bins=40, range=(0, differences.max()), color=COLORS[0], edgecolor="white",
              linewidth=0.5)  # fmt: skip
    median = np.median(differences)
    axes.axvline(median, color=COLORS[1], linewidth=2.0)
    axes.text(median, 1.02, f"half of them below {median:.2f}", transform=axes.get_xaxis_transform(), fontsize=SMALL)
    axes.set_xlim(left=0)
    axes.set_xlabel(with_unit("difference between two polymorphs", unit))
    axes.set_ylabel("pairs")
    axes.grid(axis="y")
    return figure


def polymorph_differences(df: pd.DataFrame, column: str) -> np.ndarray:
    """Return the absolute difference in `column` of every two crystals with one formula."""
    groups = (values.to_numpy() for _, values in df.groupby("formula")[column])
    pairs = [np.abs(values[:, None] - values)[np.triu_indices(len(values), 1)] for values in groups]
    return np.concatenate(pairs)


@figure_function
def plot_validation(by_class: pd.DataFrame, unit: str) -> Figure:
    """Draw how far the energies are from another database, one row per class of crystals.

    Parameters
    ----------
    by_class : DataFrame
        Indexed by class; columns ``mean`` (ours minus theirs), ``mean_absolute``, ``n`` (crystals) and ``corrected``
        (whether the other database shifts the energies of this class).
    unit : str
        Unit of the differences.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_known(["mean", "mean_absolute", "n", "corrected"], by_class.columns, "column")
    table = by_class.sort_values(["corrected", "mean"])
    figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.28 * len(table)))
    rows = np.arange(len(table))
    for corrected, color, label in ((False, COLORS[0], "not shifted there"), (True, COLORS[1], "shifted there")):
        here = (table["corrected"] == corrected).to_numpy()
        axes.barh(rows[here], table["mean"][here], color=color, height=0.6, label=f"mean difference, class {label}")
    axes.plot(table["mean_absolute"], rows, linestyle="", marker="D", color="white", markeredgecolor=INK, markersize=6,
              label="mean absolute difference")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.0)
    axes.set_yticks(rows, [f"{name} ({n})" for name, n in table["n"].items()])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(with_unit("formation energy, ours minus that of the Materials Project", unit))
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@figure_function
def plot_convergence(cells: pd.DataFrame, published: pd.Series, finer: pd.Series) -> Figure:
    """Draw how far cells and energies are from convergence, in three panels.

    Parameters
    ----------
    cells : DataFrame
        One row per crystal, in percent off the lattice constant with the lowest energy: columns ``coarse`` and
        ``plain`` (the stress of plane waves as it is, at a low and at the recorded cutoff; NaN where unknown) and
        ``recorded``.
    published : Series
        Lattice constants relative to published ones, in percent, by crystal.
    finer : Series
        Changes of the formation energy with finer settings, in eV/atom, by crystal.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column of `cells` is missing.
    """
    check_known(["coarse", "plain", "recorded"], cells.columns, "column")
    height = 3.2 + 0.22 * len(finer)
    figure, panels = plt.subplot_mosaic([["left", "top"], ["left", "bottom"]], figsize=(WIDTH, height),
                                        height_ratios=(1.6, 0.8 + 0.22 * len(finer)))  # fmt: skip
    left, top, bottom = panels["left"], panels["top"], panels["bottom"]
    rows = np.arange(len(cells))
    labels = {
        "coarse": "lower cutoff, plain stress",
        "plain": "plain stress",
        "recorded": "in the dataset",
    }
    for (column, label), color, marker in zip(labels.items(), COLORS, "sDo", strict=False):
        left.plot(cells[column], rows, linestyle="", marker=marker, markersize=5, color=color, label=label)
    left.axvline(0, color=INK, linewidth=1.0)
    left.set_yticks(rows, cells.index)
    left.set_ylim(len(cells) - 0.5, -0.5)
    left.set_xlabel("off the lowest energy (%)")
    top.hist(published, bins=np.linspace(-1, 1, 21), color=COLORS[0], edgecolor="white", linewidth=0.5)
    top.axvline(0, color=INK, linewidth=1.0)
    top.set_xlabel("off published lattice constant (%)")
    top.set_ylabel("crystals")
    bottom.barh(np.arange(len(finer)), 1000 * finer, color=COLORS[0], height=0.6)
    bottom.axvline(0, color=INK, linewidth=1.0)
    bottom.set_yticks(np.arange(len(finer)), finer.index)
    bottom.set_ylim(len(finer) - 0.5, -0.5)
    bottom.set_xlabel("change (meV/atom)")
    for axes in (left, bottom):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0, labelsize=SMALL)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
