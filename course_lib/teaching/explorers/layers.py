"""Small pictures for explorers: matplotlib draws the fixed part once; a few lines over it are the part that moves."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from course_lib.teaching.figures.style import INK, text_color

_DPI = 150
_COLORS = 128  # of a picture: a fifth of the bytes, and no colour is changed by more than a tenth
_POINTS = 96 / 72  # CSS pixels


def picture(figure: Figure, alt: str) -> str:
    """Return a figure as an HTML image that carries its own data.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From a function of `course_lib.teaching.figures`.
    alt : str
        A description for those who cannot see it.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If `alt` is empty.
    """
    _check_alt(alt)
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    image = Image.open(drawn).convert("RGB").quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(packed, "png", optimize=True)
    width, height = _size(figure)
    # The size reserves the space, and "sync" paints the image together with the rest: no flicker between two frames.
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}" alt="{escape(alt)}" '
        f'width="{width:.0f}" height="{height:.0f}" decoding="sync" style="display: block; width: 100%; height: auto">'
    )


class Layer:
    """Marks drawn over a picture, at the data coordinates of its axes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure that `picture` was made from.
    """

    def __init__(self, figure: Figure):
        self._figure = figure
        self._shapes: list[str] = []

    def _place(self, axes: Axes, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Return data coordinates in CSS pixels from the upper left corner, shape (n, 2)."""
        points = axes.transData.transform(np.column_stack([x, y])) * 96 / self._figure.dpi
        return points * (1, -1) + (0, _size(self._figure)[1])

    def dots(self, axes: Axes, x: np.ndarray, y: np.ndarray, color: str) -> Layer:
        """Draw a dot at each point."""
        # One path, from dot to dot in half pixels: six bytes per dot.
        places = np.round(2 * self._place(axes, x, y)).astype(int)
        steps = np.diff(places[np.lexsort(places.T[::-1])], axis=0, prepend=0)
        path = "".join(f"m{dx}{dy:+d}h0" for dx, dy in steps.tolist())
        self._shapes.append(
            f'<path transform="scale(.5)" d="{path}" stroke="{color}" stroke-width="9" stroke-opacity=".55" '
            'stroke-linecap="round" fill="none"/>'
        )
        return self

    def line(self, axes: Axes, x: tuple[float, float], y: tuple[float, float], color: str, width: float = 1.5) -> Layer:
        """Draw a line between two points; its width is in points."""
        (x1, y1), (x2, y2) = self._place(axes, x, y)
        self._shapes.append(
            f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{color}" stroke-width="{width * _POINTS:.1f}"/>'
        )
        return self

    def disc(self, axes: Axes, x: float, y: float, color: str) -> Layer:
        """Draw a filled mark at a point."""
        ((x, y),) = self._place(axes, x, y)
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{color}" stroke="{INK}"/>')
        return self

    def atom(self, axes: Axes, x: float, y: float, color: str, symbol: str) -> Layer:
        """Draw a disc at a point, with the symbol of an element in it."""
        ((x, y),) = self._place(axes, x, y)
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="14" fill="{color}" stroke="{INK}"/>'
            f'<text x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle" font-size="14" font-weight="bold" '
            f'font-family="DejaVu Sans, Verdana, sans-serif" fill="{text_color(color)}">{escape(symbol)}</text>'
        )
        return self

    def cells(self, axes: Axes, values: np.ndarray) -> Layer:
        """Fill the axes with a row of cells, white for the value 0 and black for 1."""
        corners = axes.get_xlim(), axes.get_ylim()[::-1]
        (left, top), (right, bottom) = self._place(axes, *corners)
        shades = (
            f'<rect x="{rank}" width="1" height="1" fill-opacity="{value:.2f}"/>'
            for rank, value in enumerate(values)
            if round(value, 2)
        )
        self._shapes.append(
            f'<g transform="translate({left:.1f} {top:.1f}) scale({(right - left) / len(values):.3f} '
            f'{bottom - top:.1f})">{"".join(shades)}</g>'
        )
        return self

    def ring(self, axes: Axes, x: float, y: float, color: str, radius: float | None = None) -> Layer:
        """Draw a circle round a point, of a radius in data coordinates or just larger than a mark."""
        (x1, y1), (x2, _) = self._place(axes, np.array([x, x + (radius or 0)]), np.array([y, y]))
        size = x2 - x1 if radius is not None else 10
        self._shapes.append(
            f'<circle cx="{x1:.1f}" cy="{y1:.1f}" r="{size:.1f}" fill="none" stroke="{color}" stroke-width="2.5"/>'
        )
        return self

    def band(self, axes: Axes, x: tuple[float, float], y: tuple[float, float], color: str) -> Layer:
        """Shade the rectangle between two corners."""
        (x1, y1), (x2, y2) = self._place(axes, x, y)
        self._shapes.append(
            f'<rect x="{min(x1, x2):.1f}" y="{min(y1, y2):.1f}" width="{abs(x2 - x1):.1f}" height="{abs(y2 - y1):.1f}" '
            f'fill="{color}" fill-opacity=".15"/>'
        )
        return self

    def text(self, axes: Axes, lines: str) -> Layer:
        """Write in the upper left corner of the axes."""
        left, top = axes.get_position().x0, axes.get_position().y1
        width, height = _size(self._figure)
        x, y = left * width + 8, (1 - top) * height + 4
        rows = (f'<tspan x="{x:.1f}" dy="16">{escape(line)}</tspan>' for line in lines.split("\n"))
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" font-family="DejaVu Sans, Verdana, sans-serif" fill="{INK}">'
            f"{''.join(rows)}</text>"
        )
        return self

    def html(self, alt: str) -> str:
        """Return the layer as an SVG element; `alt` says what it shows, and must not be empty."""
        _check_alt(alt)
        width, height = _size(self._figure)
        return (
            f'<svg viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{escape(alt)}" '
            f'style="display: block; width: 100%; height: auto">{"".join(self._shapes)}</svg>'
        )


def _size(figure: Figure) -> np.ndarray:
    """Return width and height of a figure in CSS pixels."""
    return 96 * figure.get_size_inches()


def _check_alt(alt: str) -> None:
    if not alt.strip():
        raise ValueError("alt is empty; describe the picture in a sentence.")
