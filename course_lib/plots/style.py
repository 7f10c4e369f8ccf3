"""What all figures share: sizes, colours, and how a figure is made and handed over."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from functools import wraps

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 7.5
"""Width of a full-width figure in inches."""

SMALL = 9.0
"""Smallest font in points."""

INK = "#1b1b1b"
MUTED = "#5f6670"
FAINT = "#c9ced6"
PANEL = "#f3f5f8"

COLORS = ("#12355b", "#d95f02", "#56b4e9", "#7b3294", "#009e73", "#e6a700", "#8c8c8c")
"""Colours of series. Neighbours in the list differ in lightness as well, so that they stay apart in grey."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H", "d", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_RC = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e3e6eb",
    "grid.linewidth": 0.8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "hatch.linewidth": 0.7,
}


def figure_function(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let `draw` work in the course's style and hand its figure over closed.

    A notebook shows a figure twice when it is the value of a cell and pyplot still holds it; here pyplot lets go of
    it. Everything that matplotlib makes only when it draws, such as tick labels, is made before the style ends.
    """

    @wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        open_before = set(plt.get_fignums())
        try:
            with plt.rc_context(), plt.style.context("default"):
                plt.rcParams.update(_RC)
                figure = draw(*args, **kwargs)
                figure.draw_without_rendering()
        finally:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
        return figure

    return styled


def wrapped(text: str, width: int) -> str:
    """Return `text` in lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(text, width))


def with_unit(label: str, unit: str) -> str:
    """Return ``"label (unit)"``, or the label alone where there is no unit."""
    return f"{label} ({unit})" if unit else label


def bare(axes: Axes) -> None:
    """Remove ticks and frame: for schematics."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def text_color(background: str | tuple) -> str:
    """Return black or white, whichever can be read on `background`."""
    return "white" if _luminance(background) < 0.4 else INK


def paler(color: str | tuple, share: float = 0.6) -> tuple[float, float, float]:
    """Return `color` mixed with the given share of white."""
    from matplotlib.colors import to_rgb

    return tuple(channel + (1 - channel) * share for channel in to_rgb(color))


def _luminance(color: str | tuple) -> float:
    """Return the relative luminance of `color`, from 0 to 1 (WCAG 2)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def check_known(wanted: Iterable, known: Iterable, what: str) -> None:
    """Raise ``ValueError`` naming what of `wanted` is not among `known`."""
    known = list(known)
    missing = [item for item in wanted if item not in set(known)]
    if missing:
        nearest = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
        raise ValueError(f"no {what} {missing[0]!r} ({len(missing)} not found). There are: {nearest}.")
