"""What all figures share: sizes, colours, names, and how a figure is made and handed over."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial, wraps
from inspect import signature

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from course_lib.methods import LABELS

WIDTH = 7.5
"""Width of a full-width figure in inches."""

NARROW_WIDTH = 4.4
"""Width in inches on a phone: on 390 pixels, letters of 9 points are as high as those of 10 pixels."""

SMALL = 9.0
"""Smallest font in points."""

INK = "#1b1b1b"
MUTED = "#5f6670"
FAINT = "#c9ced6"
PANEL = "#f3f5f8"

COLORS = ("#12355b", "#d95f02", "#56b4e9", "#7b3294", "#009e73", "#e6a700", "#8c8c8c")
"""Colours of series, told apart by colour-blind readers; neighbours in the list differ in lightness as well."""

METHOD_COLORS = {
    "random_forest": COLORS[2],
    "cgcnn": COLORS[0],
    "early_fusion": COLORS[3],
    "intermediate_fusion": COLORS[4],
    "attention_fusion": COLORS[5],
    "late_fusion": COLORS[1],
    "alignn": "#a50f3c",
    "alignn_simple": COLORS[6],
    "alignn_no_angles": "#e78ac3",
    "alignn_published_size": "#8b6b4b",
    "multitask_gat": "#8c510a",
    "multitask_megnet": "#7869ff",
    "cgcnn_chemistry": "#c63997",
    "kernel_ridge_composition": "#7eb474",
    "kernel_ridge": "#19574d",
    "embedding": "#3968c6",
    "embedding_composition": "#6d1503",
    "pretrained_references": "#2ed8fa",
    "delta_learning": "#0505d1",
}
"""One method, one colour, in every figure and explorer that tells methods apart by colour."""

FREE_COLORS = ("#47048b", "#c69739", "#b62efa", "#cdc6a2", "#492732")
"""Colours that belong to no method, for series that are none; neighbours in the list differ in lightness as well."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8", "H", (4, 1, 45), (6, 1, 0))
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

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
"""How the prototypes of the bundled crystals are written; those that are not in this table, as they are."""

_STYLE = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so a figure looks the same everywhere
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e6eb",
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
}


def course_style() -> AbstractContextManager:
    """Return the context in which matplotlib draws in the course's style, whatever the user's own settings are."""
    return plt.style.context(["default", _STYLE])


def figure_function(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let `draw` work in the course's style and hand its figure over closed.

    A notebook shows a figure twice when it is the value of a cell and pyplot still holds it; here pyplot lets go of
    it. What matplotlib makes only when it draws, such as tick labels, is made before the style ends.

    Where `draw` has a parameter ``narrow``, the attribute ``redraw`` of its figure draws that again for a phone.
    """

    @wraps(draw)
    def styled(*args, **kwargs) -> Figure:
        open_before = set(plt.get_fignums())
        try:
            with course_style():
                figure = draw(*args, **kwargs)
                figure.draw_without_rendering()
        finally:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
        if "narrow" in signature(draw).parameters:
            figure.redraw = partial(styled, *args, **kwargs | {"narrow": True})
        return figure

    return styled


def pick(styles: tuple, rank: int):
    """Return the style of the series number `rank`; after the last, the first again."""
    return styles[rank % len(styles)]


def colors_of(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each series: a method's own (`METHOD_COLORS`), for others one that belongs to no method.

    Parameters
    ----------
    names : iterable of str
        Methods by name or label, which may go on in brackets, as in "CGCNN (structure)", or with a version, as in
        "CGCNN v2019"; or anything else.

    Returns
    -------
    dict of str to str
    """
    names = list(names)
    labels = {LABELS[method]: color for method, color in METHOD_COLORS.items()}
    stems = {_stem(label): color for label, color in reversed(labels.items())}  # of two sizes, the first
    known = stems | labels | METHOD_COLORS
    own = {name: known.get(name, known.get(_stem(name))) for name in names}
    others = [name for name in names if own[name] is None]
    return {name: own[name] or pick(FREE_COLORS, others.index(name)) for name in names}


def _stem(name: str) -> str:
    """Return a name without brackets and version."""
    return re.split(r" \(| v\d", name)[0]


def wrapped(text: str, width: int) -> str:
    """Return `text` in lines of at most `width` characters, longer words whole."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def with_unit(label: str, unit: str) -> str:
    """Return ``"label (unit)"``, or the label alone without a unit."""
    return f"{label} ({unit})" if unit else label


def folds_title(split: str) -> str:
    """Return the title of what shows one split, such as ``"folds by formula"``."""
    return {"random": "random folds", "formula": "folds by formula"}.get(split, split)


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def paler(color: str | tuple, share: float = 0.6) -> tuple[float, float, float]:
    """Return `color` mixed with the given share of white."""
    return tuple(channel + (1 - channel) * share for channel in to_rgb(color))


def text_color(background: str | tuple) -> str:
    """Return white or the colour of ink, whichever can be read on `background`."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2
    return "white" if luminance < 0.22 else INK


def check_known(wanted: Iterable, known: Iterable, what: str) -> None:
    """Raise ``ValueError`` naming what of `wanted` is not among `known`."""
    known = list(dict.fromkeys(known))
    missing = [item for item in wanted if item not in known]
    if missing:
        listed = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
        raise ValueError(f"no {what} {missing[0]!r} ({len(missing)} not found). There are: {listed}.")
