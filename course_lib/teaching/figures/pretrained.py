"""What a pretrained network gives: a map of its embedding, and the references that its energies need."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pymatgen.core import Element
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    check_known,
    figure_function,
    pick,
    with_unit,
)


@figure_function
def plot_embedding_map(embedding: pd.DataFrame, groups: pd.Series, label: str) -> Figure:
    """Draw crystals on the two directions in which their standardised embeddings differ most, coloured by group.

    Parameters
    ----------
    embedding : DataFrame, shape (B, n_features)
        Embeddings by crystal id.
    groups : Series
        The group of each crystal by id, in any order; the largest group is drawn first.
    label : str
        What the groups are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a crystal has no group.
    """
    check_known(embedding.index, groups.index, "group for the crystal")
    components = PCA(2, svd_solver="full")
    places = components.fit_transform(StandardScaler().fit_transform(embedding))
    of_each = groups.loc[embedding.index].to_numpy()
    names = list(groups.loc[embedding.index].value_counts().index)
    figure, axes = plt.subplots(figsize=(WIDTH, 4.4))
    for rank, name in enumerate(names):
        axes.plot(*places[of_each == name].T, linestyle="", marker=pick(MARKERS, rank), markersize=4, alpha=0.7,
                  color=pick(COLORS, rank), markeredgewidth=0, label=name)  # fmt: skip
    figure.legend(title=label, loc="outside upper center", ncols=4, markerscale=1.6)
    first, second = components.explained_variance_ratio_
    axes.set_xlabel(f"first principal component (no unit, {first:.0%} of the variance)")
    axes.set_ylabel(f"second principal component (no unit, {second:.0%})")
    return figure


@figure_function
def plot_element_references(references: Mapping[str, float], unit: str = "eV/atom") -> Figure:
    """Draw the reference of each element against its atomic number.

    Parameters
    ----------
    references : mapping of str to float
        By symbol of the element.
    unit : str, default "eV/atom"
        Their unit.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no reference.
    """
    if not references:
        raise ValueError("no references. Give the reference of each element by its symbol.")
    table = pd.Series({Element(symbol).Z: value for symbol, value in references.items()}).sort_index()
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    axes.vlines(table.index, 0, table, color=MUTED, linewidth=0.8)
    axes.plot(table.index, table, linestyle="", marker="o", markersize=5, color=COLORS[0])
    for z in _highest(table):
        axes.annotate(Element.from_Z(z).symbol, (z, table[z]), (0, 5), textcoords="offset points", ha="center",
                      va="bottom", fontsize=SMALL, color=INK)  # fmt: skip
    axes.margins(y=0.12)
    axes.set_xlabel("atomic number (no unit)")
    axes.set_ylabel(with_unit("reference of the element", unit))
    axes.grid(axis="y")
    return figure


def _highest(table: pd.Series, room: int = 4) -> np.ndarray:
    """Return the atomic numbers with the largest reference of all within this distance: their names do not touch."""
    numbers = table.index.to_numpy()
    near = np.abs(numbers[:, None] - numbers) <= room
    return numbers[[table.iloc[row].max() == value for row, value in zip(near, table, strict=True)]]
