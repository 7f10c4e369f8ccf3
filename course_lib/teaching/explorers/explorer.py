"""The general explorer: controls, a readout, and pictures that follow them without a kernel.

An ``ipywidgets.Stack`` shows one of its children, and ``ipywidgets.jslink`` joins it to a control in the browser. With
several controls, the children are stacks themselves: kinds of folds, each with kinds of predictions, each with alphas.

Google Colab has ipywidgets 7, which has no ``Stack``: there the kernel changes what a box shows (`_switched`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path

import ipywidgets
import pandas as pd
from IPython.display import HTML, display

_PANEL = {"flex": "1 1 280px", "max_width": "400px"}  # one on a phone
_WIDTH = "820px"  # two side by side on a page
_DESCRIBE = Path(__file__).with_name("describe.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Choice:
    """Something that the reader sets.

    Attributes
    ----------
    name : str
        A short name.
    options : tuple of str
        The options, as they are displayed.
    default : int
        Position of the option at the start.
    slider : bool
        Whether it is a slider; otherwise it is a row of radio buttons.
    """

    name: str
    options: tuple[str, ...]
    default: int = 0
    slider: bool = False


@dataclass(frozen=True)
class Frame:
    """The display for one setting of all choices.

    Attributes
    ----------
    pictures : tuple of tuple of str
        The layers of each picture as HTML, the lowest first (`course_lib.teaching.explorers.layers`).
    lines : tuple of dict of str to str
        The settings and numbers that belong to it, by name, as the lines of the readout have them.
    """

    pictures: tuple[tuple[str, ...], ...]
    lines: tuple[dict[str, str], ...]

    @property
    def values(self) -> dict[str, str]:
        """All lines together: a row of the table of values."""
        return {name: value for line in self.lines for name, value in line.items()}


class _Described(ipywidgets.VBox):
    """Widgets that name their controls to screen readers when shown in a notebook."""

    def beside(self) -> str:
        """Return the HTML that is shown next to the widgets."""
        return f"<script>\n{_DESCRIBE}</script>"

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        text = repr(self)[:110]  # the repr of other widgets prints all their content
        display({"text/plain": text, "application/vnd.jupyter.widget-view+json": view}, raw=True)
        display(HTML(self.beside()))


class Explorer(_Described):
    """Controls, a readout and pictures that follow the controls without a kernel.

    Parts that stay the same from frame to frame are stored once. In a notebook, it also shows what a page without
    scripts needs: the first frame, and all values in a folded table.

    Parameters
    ----------
    choices : sequence of Choice
        The reader's choices. Where one makes no difference, its control is off.
    frames : mapping of tuple of int to Frame
        The display of each setting, for every combination of positions in the options, in the order of `choices`.

    Attributes
    ----------
    choices, frames
        As given.
    controls : list of ipywidgets.Widget
        One for each choice; ``controls[k].index`` is the position that is set.

    Raises
    ------
    ValueError
        If a frame is missing or does not resemble the others, a default is not an option, or two options look the same.
    """

    def __init__(self, choices: Sequence[Choice], frames: Mapping[tuple[int, ...], Frame]):
        _check(choices, frames)
        self.choices, self.frames = tuple(choices), dict(frames)
        self.controls = [_control(choice) for choice in choices]
        # One layout and one style for all frames; else each would store its own. Layers share the cell of a grid.
        self._layout = ipywidgets.Layout(width="100%", margin="0", overflow="visible", grid_area="1 / 1 / 2 / 2")
        self._style = ipywidgets.HTML().style
        self._drawn: dict[str, ipywidgets.HTML] = {}

        settings = ipywidgets.Box(self.controls, layout=ipywidgets.Layout(flex_flow="row wrap", width="100%"))
        values = self._follow({place: readout(frame, self._idle(place)) for place, frame in frames.items()})
        values.add_class("explorer-readout")
        shapes = [len(layers) for layers in self.default.pictures]
        pictures = ipywidgets.Box([self._panel(rank, n_layers) for rank, n_layers in enumerate(shapes)])
        pictures.layout = ipywidgets.Layout(flex_flow="row wrap", width="100%", max_width=_WIDTH, overflow="visible")
        super().__init__([settings, values, pictures])
        self.add_class("explorer")

    @property
    def default(self) -> Frame:
        """The frame at the start."""
        return self.frames[tuple(choice.default for choice in self.choices)]

    @property
    def table(self) -> pd.DataFrame:
        """The values of all frames, one per row, each once."""
        return pd.DataFrame([frame.values for frame in self.frames.values()]).drop_duplicates(ignore_index=True)

    def beside(self) -> str:
        """Return the HTML that is shown next to the widgets.

        For pages without scripts the first frame; for all pages the folded table, and the script that names the
        controls to screen readers.
        """
        table = self.table.to_html(index=False, border=0)
        return (
            f"<noscript>{side_by_side(self.default)}</noscript>"
            '<details class="explorer-values"><summary>All values of this explorer as a table</summary>'
            f'<div style="overflow-x: auto" tabindex="0">{table}</div></details>{super().beside()}'
        )

    def __repr__(self) -> str:
        # The default one would print the data of all pictures.
        return f"Explorer of {', '.join(choice.name for choice in self.choices)}: {len(self.frames)} frames"

    def _idle(self, place: tuple[int, ...]) -> list[str]:
        """Return the names of the choices that make no difference to the frame at `place`."""
        return [
            choice.name
            for rank, choice in enumerate(self.choices)
            if len(choice.options) > 1
            and all(
                self.frames[(*place[:rank], other, *place[rank + 1 :])] == self.frames[place]
                for other in range(len(choice.options))
            )
        ]

    def _panel(self, rank: int, n_layers: int) -> ipywidgets.Widget:
        """Return the widget that shows picture number `rank` of the frames."""
        layers = [
            self._follow({place: frame.pictures[rank][layer] for place, frame in self.frames.items()})
            for layer in range(n_layers)
        ]
        layout = ipywidgets.Layout(**_PANEL, grid_template_columns="minmax(0, 1fr)", overflow="visible")
        return ipywidgets.GridBox(layers, layout=layout)

    def _follow(self, contents: dict[tuple[int, ...], str], place: tuple[int, ...] = ()) -> ipywidgets.Widget:
        """Return the widget that shows the content for the positions of all controls, the first ones being `place`."""
        if len(place) == len(self.choices):
            return self._html(contents[place])
        choice, control = self.choices[len(place)], self.controls[len(place)]
        children = [self._follow(contents, (*place, option)) for option in range(len(choice.options))]
        if all(child is children[0] for child in children):  # the choice makes no difference here
            return children[0]
        if not hasattr(ipywidgets, "Stack"):
            return _switched(children, control, self._layout)
        stack = ipywidgets.Stack(children, selected_index=choice.default, layout=self._layout)
        ipywidgets.jslink((control, "index"), (stack, "selected_index"))
        return stack

    def _html(self, content: str) -> ipywidgets.HTML:
        """Return the one widget with this content."""
        if content not in self._drawn:
            self._drawn[content] = ipywidgets.HTML(content, layout=self._layout, style=self._style)
        return self._drawn[content]


def readout(frame: Frame, off: Sequence[str] = ()) -> str:
    """Return names and values of a frame as lines of HTML, which also say which controls are off."""
    lines = (
        " · ".join(f"{escape(name)} <strong>{escape(value)}</strong>" for name, value in line.items())
        for line in frame.lines
    )
    marks = f' data-off="{escape(json.dumps(off, ensure_ascii=False))}"' if off else ""
    return f'<p{marks} style="margin: 0 0 .5rem; line-height: 1.5">{"<br>".join(lines)}</p>'


def side_by_side(frame: Frame) -> str:
    """Return a frame as one piece of HTML."""
    panels = (
        f'<div style="flex: {_PANEL["flex"]}; max-width: {_PANEL["max_width"]}; display: grid">'
        + "".join(f'<div style="grid-area: 1 / 1 / 2 / 2">{layer}</div>' for layer in layers)
        + "</div>"
        for layers in frame.pictures
    )
    pictures = f'<div style="display: flex; flex-wrap: wrap; max-width: {_WIDTH}">{"".join(panels)}</div>'
    return readout(frame) + pictures


def live(children: Sequence[ipywidgets.Widget]) -> ipywidgets.VBox:
    """Combine widgets that need a kernel; the website's style sheet shows a sentence in their place."""
    working = ipywidgets.VBox(children)
    working.add_class("needs-kernel")
    sentence = "A live cell belongs here. It needs Python: open this notebook in JupyterLab."
    instead = ipywidgets.HTML(f"<p>{sentence}</p>", layout=ipywidgets.Layout(display="none"))
    instead.add_class("without-kernel")
    return _Described([working, instead])


def _switched(
    children: Sequence[ipywidgets.Widget], control: ipywidgets.Widget, layout: ipywidgets.Layout
) -> ipywidgets.Box:
    """Return a box in which the kernel shows the child that `control` selects."""
    box = ipywidgets.Box([children[control.index]], layout=layout)

    def show(change: Mapping[str, int]) -> None:
        box.children = (children[change["new"]],)

    control.observe(show, "index")
    return box


def _control(choice: Choice) -> ipywidgets.Widget:
    kind = ipywidgets.SelectionSlider if choice.slider else ipywidgets.RadioButtons
    settings = {
        "options": choice.options,
        "index": choice.default,
        "description": choice.name,
        "style": {"description_width": "initial"},
        "tooltip": choice.name,
        "description_tooltip": choice.name,  # the name of "tooltip" in ipywidgets 7
    }
    if choice.slider:
        # The readout of ipywidgets looks editable but is not; the explorer has its own.
        settings |= {"readout": False, "layout": ipywidgets.Layout(flex="1 1 100%", max_width="560px")}
    else:
        settings |= {"orientation": "horizontal", "layout": ipywidgets.Layout(width="auto", margin="0 2rem 0 0")}
    return kind(**{name: value for name, value in settings.items() if name in kind.class_trait_names()})


def _check(choices: Sequence[Choice], frames: Mapping[tuple[int, ...], Frame]) -> None:
    for choice in choices:
        if not 0 <= choice.default < len(choice.options):
            raise ValueError(
                f"{choice.name}: default is {choice.default}, but there are {len(choice.options)} options."
            )
        if len(set(choice.options)) < len(choice.options):
            raise ValueError(f"{choice.name}: two options are written the same: {', '.join(choice.options)}.")
    wanted = set(product(*(range(len(choice.options)) for choice in choices)))
    for place in sorted(wanted ^ set(frames)):
        fault = "has no frame" if place in wanted else "is not a setting of the choices"
        raise ValueError(f"{place} {fault}. Give one for every combination of positions in the options.")
    shapes = {
        place: (list(frame.values), [len(layers) for layers in frame.pictures]) for place, frame in frames.items()
    }
    first = next(iter(shapes))
    for place, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(
                f"frame {place} has the values {shape[0]} and {shape[1]} layers in its pictures, frame {first} has "
                f"{shapes[first][0]} and {shapes[first][1]}. All frames must have the same shape."
            )
