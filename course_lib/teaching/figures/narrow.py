"""A figure drawn again for a screen as narrow as a phone's: its panels stacked, its labels broken.

An IPython extension: in a notebook that loads it, ``%load_ext course_lib.teaching.figures.narrow``, the metadata of an
output hold its figure's narrow form, which notebooks do not show and the website does (``tools/narrow_figures.py``).
"""

from __future__ import annotations

import itertools
import pickle
import warnings
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO

from IPython.core.interactiveshell import InteractiveShell
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from course_lib.teaching.figures.style import NARROW_WIDTH, course_style, wrapped

KEY = "narrow"
"""Name of the narrow form, a PNG in base64, in an output's metadata of ``image/png``."""

_DPI = 170  # two pixels of the picture for each of such a screen, which has at least two itself
_LETTER = 0.6  # width of a bold letter as a share of the size of its font
_ROOM = 0.4  # smallest share of the width that the widest panel may have
_TITLES = 1.15  # stacked panels need more height, for the title that each has


def narrow(figure: Figure) -> Figure | None:
    """Return `figure` redrawn `NARROW_WIDTH` wide: by its own function if that can (``figure.redraw``).

    Parameters
    ----------
    figure : Figure
        It stays as it is.

    Returns
    -------
    Figure or None
        None if it is not wider, if its parts are placed by hand for one width only, or if the texts do not fit or
        leave it no room.
    """
    redraw = getattr(figure, "redraw", None)
    if figure.get_size_inches()[0] <= NARROW_WIDTH or (figure.get_layout_engine() is None and redraw is None):
        return None
    # matplotlib warns where it finds no room for a panel.
    with course_style(), warnings.catch_warnings(record=True) as no_room:
        warnings.simplefilter("always", UserWarning)
        copy = redraw() if redraw else _restacked(figure)
    return copy if not no_room and fits(copy) else None


def _restacked(figure: Figure) -> Figure:
    """Return a narrow copy with its panels below each other and its lines broken."""
    copy = pickle.loads(pickle.dumps(figure))
    _stack(copy)
    copy.draw_without_rendering()
    _break_lines(copy)
    copy.draw_without_rendering()
    return copy


def _stack(figure: Figure) -> None:
    """Make it narrow, with the panels of a single row below each other."""
    width, height = figure.get_size_inches()
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    grids = {axes.get_subplotspec().get_gridspec() for axes in panels}
    if len(panels) > 1 and [(grid.nrows, grid.ncols) for grid in grids] == [(1, len(panels))]:
        rows = GridSpec(len(panels), 1, figure=figure)
        for row, axes in enumerate(panels):
            axes.set_subplotspec(rows[row, 0])
            if axes.get_shared_y_axes().joined(axes, panels[0]):
                axes.tick_params(labelleft=True)  # beside each other, only the first has them
        height *= len(panels) * NARROW_WIDTH / width * _TITLES
    figure.set_size_inches(NARROW_WIDTH, height)


def _break_lines(figure: Figure) -> None:
    """Break titles and labels of the x axis where they are longer than the place that they have."""
    texts = [(text, width) for axes in figure.axes for text, width in _across(axes, figure.bbox)]
    texts += [(text, figure.bbox.width) for text in figure.texts]  # with the labels of the whole figure
    for text, width in texts:
        n_letters = int(width / figure.dpi * 72 / (_LETTER * text.get_fontsize()))
        lines = text.get_text().split("\n")
        text.set_text("\n".join(wrapped(line, n_letters) for line in lines))


def _across(axes: Axes, whole: Bbox) -> Iterator[tuple[Text, float]]:
    """Yield the titles, which begin at the left, and the centred label of the x axis, with the width that they have."""
    box, grid = axes.get_window_extent(), axes.get_gridspec()
    alone = grid is not None and grid.ncols == 1
    for text in _texts(axes):
        if text not in axes.texts:
            yield text, whole.x1 - box.x0 if alone else box.width
    if "$" not in axes.get_xlabel():  # a formula cannot be broken
        middle = (box.x0 + box.x1) / 2
        yield axes.xaxis.label, 2 * min(middle, whole.x1 - middle) if alone else box.width


def _texts(axes: Axes) -> list[Text]:
    """Return the texts in the axes and the three titles."""
    return [child for child in axes.get_children() if isinstance(child, Text)]


# --- does it fit? -------------------------------------------------------------------------------------------------


def fits(figure: Figure) -> bool:
    """Return whether the texts of a drawn figure lie on it and apart, also from legends, and leave a panel room."""
    boxes, canvas = list(_boxes(figure)), figure.bbox.padded(1)
    inside = all(
        canvas.x0 <= box.x0 and box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1 for box in boxes
    )
    room = max(axes.get_window_extent().width for axes in figure.axes) >= _ROOM * figure.bbox.width
    apart = not any(a.padded(-1).overlaps(b.padded(-1)) for a, b in itertools.combinations(boxes, 2))
    return inside and room and apart


def _boxes(figure: Figure) -> Iterator[Bbox]:
    """Yield where the texts are, in pixels; a legend is one box."""
    panels = [axes for axes in figure.axes if axes.get_visible()]
    texts = [*figure.texts, *itertools.chain.from_iterable(map(_texts, panels))]
    for axes in panels:
        if axes.axison:
            texts += [label for axis in (axes.xaxis, axes.yaxis) for label in (axis.label, *_tick_labels(axis))]
    for text in texts:
        if text.get_visible() and text.get_text().strip():
            yield (text.get_bbox_patch() or text).get_window_extent()
    for legend in (*figure.legends, *filter(None, map(Axes.get_legend, panels))):
        yield legend.get_window_extent()


def _tick_labels(axis: Axis) -> Iterator[Text]:
    """Yield the labels within the view; an axis keeps others that it does not draw."""
    low, high = sorted(axis.get_view_interval())
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if low <= tick.get_loc() <= high:
            yield from (tick.label1, tick.label2)


# --- in an output -------------------------------------------------------------------------------------------------


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Let the outputs of this notebook hold the narrow form of each figure too."""
    shell.display_formatter.mimebundle_formatter.for_type(Figure, _narrow_output)


def _narrow_output(figure: Figure, include: object = None, exclude: object = None) -> tuple[dict, dict]:
    copy = narrow(figure)
    if copy is None:
        return {}, {}
    picture = BytesIO()
    copy.savefig(picture, dpi=_DPI)
    return {}, {"image/png": {KEY: b64encode(picture.getvalue()).decode()}}
