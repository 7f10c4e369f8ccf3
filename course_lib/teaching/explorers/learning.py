"""The explorer of a training run: predictions after each epoch, the polymorphs of one formula marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from course_lib.methods import LABELS
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.explorers import plot_parity_axes
from course_lib.teaching.figures.style import COLORS, METHOD_COLORS


def learning_explorer(
    y: pd.Series,
    network: pd.DataFrame,
    forest: pd.Series,
    formulas: pd.Series,
    marked: Sequence[str],
    unit: str = "eV/atom",
) -> Explorer:
    """Let the reader go through the epochs of CGCNN, and see how the polymorphs of a formula move apart.

    Parameters
    ----------
    y : Series
        True values by crystal id.
    network : DataFrame
        Predictions of CGCNN by crystal id, one column per epoch.
    forest : Series
        Predictions of the random forest, which has no epochs, by crystal id.
    formulas : Series of str
        By crystal id.
    marked : sequence of str
        The formulas that the reader can have marked, each with two polymorphs at least.
    unit : str, default "eV/atom"
        Unit of all values.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If the tables have other crystals, or a formula has fewer than two polymorphs.
    """
    _check(y, {"network": network, "forest": forest, "formulas": formulas}, formulas, marked)
    frames = {}
    for row, formula in enumerate(marked):
        polymorphs = y.index[formulas[y.index] == formula]
        axes = _Parity(y, polymorphs, pd.concat([network, forest], axis=1), unit)
        still = axes.show("random_forest", forest, "")
        for column, epoch in enumerate(network):
            predicted = network[epoch]
            moving = axes.show("cgcnn", predicted, f", epoch {epoch}")
            settings = {"formula": formula, "polymorphs": f"{len(polymorphs)}", "epoch": f"{epoch}"}
            spreads = {"true": y, LABELS["cgcnn"]: predicted, LABELS["random_forest"]: forest}
            spread = {f"spread, {name}": f"{np.ptp(values[polymorphs]):.3f} {unit}" for name, values in spreads.items()}
            frames[row, column] = Frame((moving, still), (settings, spread))
    choices = [Choice("formula", tuple(marked)), Choice("epoch", tuple(map(str, network)), slider=True)]
    return Explorer(choices, frames)


class _Parity:
    """Parity plots on the same axes, round the polymorphs of a formula: one picture, and dots laid upon it."""

    def __init__(self, y: pd.Series, polymorphs: pd.Index, predictions: pd.DataFrame, unit: str):
        self.y, self.unit = y, unit
        self.marked = y[polymorphs].sort_values()
        values = np.concatenate([self.marked, predictions.loc[polymorphs].to_numpy().ravel()])
        margin = 0.15 * np.ptp(values)
        self.limits = (values.min() - margin, values.max() + margin)
        self.figure = plot_parity_axes(self.limits, unit)
        self.picture = picture(self.figure, "Axes for predicted against true values, with the diagonal.")

    def show(self, method: str, predicted: pd.Series, when: str) -> tuple[str, str]:
        (axes,) = self.figure.axes
        title = f"{LABELS[method]}{when}\nMAE of all {(predicted - self.y).abs().mean():.3f} {self.unit}"
        predicted = predicted[self.y.index]
        inside = self.y.between(*self.limits) & predicted.between(*self.limits)
        layer = Layer(self.figure).dots(axes, self.y[inside], predicted[inside], METHOD_COLORS[method])
        points = list(zip(self.marked, predicted[self.marked.index], strict=True))
        for start, end in pairwise(points):
            layer.line(axes, *zip(start, end, strict=True), COLORS[1])
        for point in points:
            layer.disc(axes, *point, COLORS[1])
        layer.text(axes, title)
        return self.picture, layer.html(f"{title.replace(chr(10), ': ')}; {len(points)} polymorphs marked and joined.")


def _check(y: pd.Series, tables: dict, formulas: pd.Series, marked: Sequence[str]) -> None:
    for name, table in tables.items():
        if not table.index.sort_values().equals(y.index.sort_values()):
            raise ValueError(f"{name} and y have different crystals. Give both the same ids.")
    counts = formulas.value_counts()
    for formula in marked:
        if counts.get(formula, 0) < 2:
            raise ValueError(f"{formula} has {counts.get(formula, 0)} polymorphs; to see them move apart takes two.")
