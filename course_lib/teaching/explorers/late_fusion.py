"""The explorer of late fusion: what the weight alpha does, on which predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course_lib.late_fusion import alpha_path, blend, optimal_alpha
from course_lib.methods import LABELS
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame, live, side_by_side
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.explorers import plot_alpha_path, plot_parity_axes
from course_lib.teaching.figures.style import METHOD_COLORS, colors_of
from course_lib.validation import check_number

_BLEND = METHOD_COLORS["late_fusion"]
_DOTS = 40_000
"""Dots in all clouds of an explorer together, so that a page stays light."""


def alpha_explorer(
    y: pd.Series, predictions: Mapping[tuple[str, str], pd.DataFrame], unit: str = "", stops: int = 101
) -> Explorer:
    """Let the reader set the weight of late fusion, and see the blend, its error and its parents.

    Parameters
    ----------
    y : Series
        True values by crystal id.
    predictions : mapping of (str, str) to DataFrame
        By kind of folds and kind of predictions, for example ``("random", "out of fold")``: predictions by crystal id,
        a column for each of the two models. The first has the weight alpha, the second 1 - alpha. Every kind of folds
        needs every kind of predictions.
    unit : str
        Unit of `y`.
    stops : int, default 101
        How many values of alpha from 0 to 1. With many stops and kinds of predictions, the clouds show only some of the
        crystals, and say so; the errors are those of all.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If a kind of predictions is missing, a table does not have two columns, a crystal has no true value, or there
        are fewer than two stops.
    """
    check_number("stops", stops, whole=True, least=2)  # 0 and 1
    splits, sources = (tuple(dict.fromkeys(names)) for names in zip(*predictions, strict=True))
    _check(y, predictions, list(product(splits, sources)))
    n_drawn = _DOTS // (stops * len(predictions))
    blends = {key: _Blend(y, table, unit, n_drawn) for key, table in predictions.items()}
    parity, top = _ParityAxes(blends.values(), unit), _top(blends.values())
    alphas = np.linspace(0, 1, stops)
    frames = {}
    for (row, split), (column, source) in product(enumerate(splits), enumerate(sources)):
        chosen = blends[split, source]
        curve = _Curve(chosen, {other: blends[split, other].path for other in sources if other != source}, top)
        parents = [parity.parent(chosen, which) for which in (0, 1)]
        for stop, alpha in enumerate(alphas):
            settings, *errors = chosen.lines(alpha)
            lines = ({"folds": split, "predictions": source} | settings, *errors)
            frames[row, column, stop] = Frame((curve.at(alpha), parity.blend(chosen, alpha), *parents), lines)
    choices = [
        Choice("folds", splits),
        Choice("predictions", sources),
        Choice("α", tuple(map(_written, alphas)), stops // 2, slider=True),
    ]
    return Explorer(choices, frames)


def live_alpha(y: pd.Series, a: pd.Series, b: pd.Series, unit: str = "") -> ipywidgets.VBox:
    """Let the reader set any weight of late fusion. Needs a kernel.

    Parameters
    ----------
    y, a, b : Series
        True values and the predictions of two models, by crystal id. `a` has the weight alpha; the names of `a` and
        `b` are the models'.
    unit : str
        Unit of `y`.

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        If a crystal has no true value.
    """
    predictions = pd.concat([a, b], axis=1)
    _check(y, {"a and b": predictions}, [])
    chosen = _Blend(y, predictions, unit)
    parity, curve = _ParityAxes([chosen], unit), _Curve(chosen, {}, _top([chosen]))
    slider = ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.001, readout_format=".3f", description="α", tooltip="α")
    shown = ipywidgets.HTML()

    def show(change: Mapping) -> None:
        alpha = change["new"]
        shown.value = side_by_side(Frame((curve.at(alpha), parity.blend(chosen, alpha)), chosen.lines(alpha)))

    slider.observe(show, "value")
    show({"new": slider.value})
    return live([slider, shown])


class _Blend:
    """Two models' predictions for the same crystals, and everything that does not depend on alpha."""

    def __init__(self, y: pd.Series, predictions: pd.DataFrame, unit: str, n_drawn: int | None = None):
        self.y, self.unit = y[predictions.index], unit
        self.a, self.b = (predictions[name].rename(LABELS.get(name, name)) for name in predictions.columns)
        self.drawn = self.y.index[:: -(-len(self.y) // n_drawn)] if n_drawn else self.y.index
        self.path = alpha_path(self.y, self.a, self.b)
        best = optimal_alpha(self.y, self.a, self.b)
        self.best = (best, self.error(best))

    def error(self, alpha: float) -> float:
        return float((blend(alpha, self.a, self.b) - self.y).abs().mean())

    def lines(self, alpha: float) -> tuple[dict[str, str], ...]:
        best, smallest = self.best
        blended = {
            "error of the blend": self._with_unit(self.error(alpha)),
            "smallest": f"{self._with_unit(smallest)} at α = {best:.2f}",
            "above the smallest": f"{self.error(alpha) - smallest:.4f} {self.unit}".rstrip(),
        }
        alone = {
            f"{self.b.name} alone": self._with_unit(self.error(0.0)),
            f"{self.a.name} alone": self._with_unit(self.error(1.0)),
        }
        return {"α": _written(alpha)}, blended, alone

    def _with_unit(self, value: float) -> str:
        return f"{value:.3f} {self.unit}".rstrip()


class _ParityAxes:
    """Parity plots on the same axes: one picture, and dots laid upon it."""

    def __init__(self, blends: Iterable[_Blend], unit: str):
        everything = pd.concat([values for of in blends for values in (of.y, of.a, of.b)])
        margin = 0.04 * (everything.max() - everything.min())
        self.figure = plot_parity_axes((everything.min() - margin, everything.max() + margin), unit)
        self.picture = picture(self.figure, "Axes for predicted against true values, with the diagonal.")

    def blend(self, of: _Blend, alpha: float) -> tuple[str, str]:
        return self._dots(of, blend(alpha, of.a, of.b), f"blend, α = {_written(alpha)}", of.error(alpha), _BLEND)

    def parent(self, of: _Blend, which: int) -> tuple[str, str]:
        """Draw the model with weight 1 at this alpha."""
        values = of.a if which else of.b
        color = colors_of([of.a.name, of.b.name])[values.name]
        return self._dots(of, values, f"{values.name} alone, α = {which}", of.error(which), color)

    def _dots(self, of: _Blend, predicted: pd.Series, title: str, error: float, color: str) -> tuple[str, str]:
        written = f"{title}\nMAE {error:.3f} {of.unit}".rstrip()
        some = f"{len(of.drawn)} of " if len(of.drawn) < len(of.y) else ""
        shown = f"{some}{len(of.y)} crystals"
        layer = Layer(self.figure).dots(self.figure.axes[0], of.y[of.drawn], predicted[of.drawn], color)
        layer.text(self.figure.axes[0], f"{written}\n{shown}")
        return self.picture, layer.html(f"{shown}, {written.replace(chr(10), ': ')}.")


class _Curve:
    """The error along alpha: one picture, and a mark laid upon it."""

    def __init__(self, of: _Blend, others: Mapping[str, pd.DataFrame], top: float):
        self.blend = of
        self.figure: Figure = plot_alpha_path(of.path, of.best, others, (of.a.name, of.b.name), of.unit, top)
        alt = f"Error of the blend along α, from {of.b.name} alone to {of.a.name} alone, smallest at {of.best[0]:.2f}."
        self.picture = picture(self.figure, alt)

    def at(self, alpha: float) -> tuple[str, str]:
        axes, error = self.figure.axes[0], self.blend.error(alpha)
        layer = Layer(self.figure).line(axes, (alpha, alpha), axes.get_ylim(), _BLEND)
        layer.disc(axes, alpha, error, _BLEND)
        return self.picture, layer.html(f"A mark at α = {_written(alpha)}, where the error is {error:.3f}.")


def _top(blends: Iterable[_Blend]) -> float:
    """Return the upper end of an axis of errors, with room for names."""
    return 1.15 * max(of.path["mae"].max() for of in blends)


def _written(alpha: float) -> str:
    return f"{alpha:.2f}" if round(alpha, 2) == round(alpha, 6) else f"{alpha:.3f}"


def _check(y: pd.Series, predictions: Mapping, wanted: list[tuple[str, str]]) -> None:
    for key in wanted:
        if key not in predictions:
            raise ValueError(
                f"predictions for {key} are missing. Give every kind of predictions for every kind of folds."
            )
    for key, table in predictions.items():
        if table.shape[1] != 2:
            raise ValueError(f"predictions for {key} have the columns {list(table.columns)}; give exactly two models.")
        unknown = table.index.difference(y.index)
        if len(unknown):
            raise ValueError(f"predictions for {key} name the crystal {unknown[0]!r}, which has no true value in y.")
