"""Bond angles: crystals that only angles tell apart, one angle from atom to number, and the network that reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN
from course_lib.models.line_graph import line_graph, undirected
from course_lib.teaching.figures.crystals import draw_crystal, element_styles, neighbors_of
from course_lib.teaching.figures.schematics import STRUCTURE, draw_arrow, draw_box, flow_canvas
from course_lib.teaching.figures.style import (
    COLORS,
    FAINT,
    INK,
    MUTED,
    NARROW_WIDTH,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    text_color,
    wrapped,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

_FOLLOWED = COLORS[1]
_NODE, _BOND_NODE = 0.22, 0.17  # radii, where the ring of nodes has the radius 1
_BENDS = (0.12, 0.4, 0.7, 1.0)  # of parallel arrows


def _angle_basis() -> torch.nn.Module:
    """Return ALIGNN's expansion of cosines; it does not depend on the size of the network."""
    return ALIGNN(hidden=1, alignn_layers=1, gcn_layers=1).angle_basis


# --- crystals that only angles tell apart -------------------------------------------------------------------------


@figure_function
def plot_surroundings(crystals: Mapping[str, tuple[Structure, int]], element: str) -> Figure:
    """Draw crystals round one site each, joined to those of its nearest neighbours that are of one element.

    Parameters
    ----------
    crystals : mapping of str to (Structure, int)
        For each panel its title, the crystal and the site.
    element : str
        To which of the 12 nearest neighbours the site is joined.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no nearest neighbour is of the element.
    """
    figure, panels = plt.subplots(1, len(crystals), figsize=(WIDTH, 0.9 + WIDTH / max(len(crystals), 2)), squeeze=False)
    for axes, (title, (structure, site)) in zip(panels[0], crystals.items(), strict=True):
        around = [(n, vector) for n, vector in neighbors_of(structure, site) if structure[n].specie.symbol == element]
        if not around:
            raise ValueError(f"{title}: none of the nearest neighbours of site {site} is {element}.")
        draw_crystal(axes, structure, site, around, [{"color": _FOLLOWED, "linewidth": 2.4}] * len(around))
        axes.set_title(title)
    return figure


# --- one angle, from atom to number -------------------------------------------------------------------------------


@figure_function
def plot_angle_to_number(structure: Structure, neighbors: int, pair: int, narrow: bool = False) -> Figure:
    """Follow one bond angle from the crystal to the numbers that ALIGNN reads.

    Above, three panels: the crystal round the middle atom of the angle, the atom graph with its edges numbered, and the
    line graph, whose nodes are these edges. The lines of the angle are heavy. Below: the cosine, expanded.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal, small enough to be drawn: in its graph, no atom may be its own neighbour.
    neighbors : int
        Nearest neighbours of an atom in the graph.
    pair : int
        Which pair of edges of the line graph to follow, as `course_lib.models.line_graph.line_graph` numbers them.
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the panels are then below each other.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If an atom is its own neighbour, or the pair does not exist.
    """
    batch = CrystalGraphs.from_structures([structure], neighbors=neighbors).batch([0])
    edge_index, vectors, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    pairs, cosines = line_graph(edge_index, vectors, len(structure))
    edges, vectors, pairs = edge_index.numpy(), vectors.double().numpy(), pairs.numpy()
    if (edges[0] == edges[1]).any():
        raise ValueError(f"with {neighbors} neighbours, an atom is its own neighbour. Take fewer.")
    if not 0 <= pair < len(cosines):
        raise ValueError(f"pair is {pair}, but the line graph has the pairs 0 to {len(cosines) - 1}.")
    first, second = pairs[:, pair]
    middle, cosine = edges[1, first], float(cosines[pair])

    if narrow:
        figure = plt.figure(figsize=(NARROW_WIDTH, 10))
        crystal, atoms, bonds, number = figure.subplots(4, 1, height_ratios=(1, 1, 1, 0.14))
    else:
        figure = plt.figure(figsize=(WIDTH, 4.6))
        panels = figure.add_gridspec(2, 3, height_ratios=(1, 0.14), width_ratios=(1, 0.82, 1))
        crystal, atoms, bonds, number = map(figure.add_subplot, (*(panels[0, k] for k in range(3)), panels[1, :]))
    _draw_angle(crystal, structure, middle, vectors[first], -vectors[second], neighbors, cosine)
    _draw_atom_graph(atoms, structure, edges, {first, second})
    atoms.set_title(f"2. Atom graph: {len(edges[0])} edges")
    atoms.set_xlabel(f"heavy: {first} in, {second} out", fontsize=SMALL)
    _draw_line_graph(bonds, edges, pairs, cosines.numpy(), pair)
    bonds.set_title(f"3. Line graph: {len(cosines)} pairs")
    for axes in (crystal, atoms, bonds):
        axes.set_anchor("N")  # the titles in one line
    _draw_number(number, cosine, (first, second))
    if narrow:
        number.set_title(number.get_title(loc="left").replace(", as", ",\nas"))
    return figure


def _draw_angle(
    axes: Axes, structure: Structure, site: int, first: np.ndarray, second: np.ndarray, neighbors: int, cosine: float
) -> None:
    """Draw the crystal round a site, the angle between two of its bonds heavy."""
    around = neighbors_of(structure, site, neighbors)
    heavy = [min(np.linalg.norm(vector - of_angle) for of_angle in (first, second)) < 1e-3 for _, vector in around]
    lines = [{"color": _FOLLOWED if h else MUTED, "linewidth": 3.0 if h else 1.2} for h in heavy]
    on_paper = draw_crystal(axes, structure, site, around, lines)
    _draw_arc(axes, on_paper, first, second)
    degrees = np.degrees(np.arccos(cosine))
    axes.set_title(f"1. Crystal: {degrees:.1f}° at {structure[int(site)].specie.symbol}")


def _draw_arc(axes: Axes, on_paper: Callable[[np.ndarray], np.ndarray], first: np.ndarray, second: np.ndarray) -> None:
    steps = np.linspace(0, 1, 30)[:, None]
    arc = (1 - steps) * first / np.linalg.norm(first) + steps * second / np.linalg.norm(second)
    arc *= 0.5 * np.linalg.norm(first) / np.maximum(np.linalg.norm(arc, axis=1, keepdims=True), 1e-6)
    axes.plot(*on_paper(arc).T, color=_FOLLOWED, linewidth=1.4, linestyle="--", zorder=1e3)


def _draw_atom_graph(axes: Axes, structure: Structure, edges: np.ndarray, followed: set[int]) -> None:
    """Draw the atoms on a ring, and between them one numbered arrow per edge."""
    styles = element_styles(structure)
    places = _ring(len(structure))
    nodes = []
    for place, site in zip(places, structure, strict=True):
        color = styles[site.specie.symbol].color
        nodes.append(axes.add_patch(Circle(place, _NODE, facecolor=color, edgecolor=INK, zorder=3)))
        axes.text(*place, site.specie.symbol, ha="center", va="center", fontweight="bold", color=text_color(color),
                  zorder=4)  # fmt: skip
    seen: dict[tuple[int, int], int] = defaultdict(int)
    for number, (source, target) in enumerate(edges.T.tolist()):
        bend = _BENDS[seen[source, target] % len(_BENDS)]
        seen[source, target] += 1
        heavy = number in followed
        middle = _arrow(axes, nodes[source], nodes[target], bend, heavy)
        axes.text(*middle, str(number), ha="center", va="center", fontsize=SMALL, zorder=5,
                  fontweight="bold" if heavy else "normal",
                  bbox={"boxstyle": "round,pad=0.12", "facecolor": "white",
                        "edgecolor": _FOLLOWED if heavy else FAINT})  # fmt: skip
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    bare(axes)


def _draw_line_graph(axes: Axes, edges: np.ndarray, pairs: np.ndarray, cosines: np.ndarray, followed: int) -> None:
    """Draw the edges as nodes on a ring, and between them one line per pair."""
    places = _ring(edges.shape[1])
    chosen = set(pairs[:, followed].tolist())
    nodes = []
    for number, place in enumerate(places):
        edge = _FOLLOWED if number in chosen else INK
        width = 2.2 if number in chosen else 1.0
        nodes.append(
            axes.add_patch(Circle(place, _BOND_NODE, facecolor="white", edgecolor=edge, linewidth=width, zorder=3))
        )
        axes.text(*place, str(number), ha="center", va="center", fontsize=SMALL, zorder=4)
    back = np.isclose(cosines, 1, atol=1e-5)
    for (first, second), is_back in zip(pairs.T.tolist(), back, strict=True):
        line = {"color": INK, "linestyle": ":"} if is_back else {"color": FAINT, "linestyle": "-"}
        axes.plot(*places[[first, second]].T, linewidth=1.3, zorder=2 if is_back else 1, **line)
    _arrow(axes, *(nodes[k] for k in pairs[:, followed]), 0.0, heavy=True)
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    bare(axes)
    handles = [
        Line2D([], [], color=FAINT, label="an angle"),
        Line2D([], [], color=INK, linestyle=":", label="there and back"),
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2, handlelength=1.4)


def _draw_number(axes: Axes, cosine: float, pair: tuple[int, int]) -> None:
    """Draw a cosine, expanded in the basis of the network, as a row of grey cells."""
    basis = _angle_basis()
    centers = basis.centers.numpy()
    step = centers[1] - centers[0]
    axes.imshow(basis(torch.tensor([cosine])).numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto",
                interpolation="nearest", extent=(centers[0] - step / 2, centers[-1] + step / 2, 0, 1))  # fmt: skip
    axes.axvline(cosine, color=_FOLLOWED, linewidth=2.0)
    axes.set_yticks([])
    value = f"{cosine:.2f}".replace("-", "−")
    axes.set_title(f"4. Number: cos θ = {value} of pair {pair[0]} → {pair[1]}, as {len(centers)} values from 0 to 1")
    axes.set_xlabel("centre of the Gaussian (cosine)")


def _ring(count: int) -> np.ndarray:
    """Return `count` places on the unit circle, the first at the left, clockwise, (count, 2)."""
    angles = np.pi - 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _arrow(axes: Axes, start: Circle, end: Circle, bend: float, heavy: bool) -> np.ndarray:
    """Draw an arrow from one node to another and return the place of its middle."""
    tail, head = np.array(start.center), np.array(end.center)
    color, width = (_FOLLOWED, 2.6) if heavy else (MUTED, 1.0)
    axes.add_patch(
        FancyArrowPatch(tail, head, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=12,
                        color=color, linewidth=width, patchA=start, patchB=end, shrinkA=0, shrinkB=0,
                        zorder=2.5 if heavy else 1.5)
    )  # fmt: skip
    across = np.array([(head - tail)[1], -(head - tail)[0]])
    return (tail + head) / 2 + bend / 2 * across


# --- the numbers and the network ----------------------------------------------------------------------------------


@figure_function
def plot_angle_basis(angles: Sequence[float]) -> Figure:
    """Draw ALIGNN's 40 Gaussians over the cosine, and the expansion of some angles.

    Parameters
    ----------
    angles : sequence of float
        In degrees, one row for each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    basis = _angle_basis()
    centers = basis.centers.numpy()
    step = centers[1] - centers[0]
    grid = torch.linspace(-1, 1, 1001)
    cosines = np.cos(np.radians(angles))
    rows = len(angles)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 3.2 + 0.3 * rows), sharex=True, height_ratios=(1.6, 0.25 + 0.3 * rows)
    )
    for k, curve in enumerate(basis(grid).numpy().T):
        heavy = {"color": COLORS[0], "linewidth": 1.6, "zorder": 2} if k % 8 == 0 else {"color": FAINT, "linewidth": 1}
        top.plot(grid, curve, **heavy)
    top.vlines(cosines, 0, 1.15, color=_FOLLOWED, linestyle="--", linewidth=1.4, zorder=3)
    top.set_ylim(0, 1.15)
    top.set_ylabel("value")
    top.set_title(f"{len(centers)} Gaussians of the cosine (every eighth drawn heavy), and {rows} angles (dashed)")
    image = bottom.imshow(
        basis(torch.tensor(cosines, dtype=torch.float32)).numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto",
        interpolation="nearest", extent=(centers[0] - step / 2, centers[-1] + step / 2, rows - 0.5, -0.5),
    )  # fmt: skip
    bottom.set_yticks(range(rows), [f"{angle:.1f}°" for angle in angles])
    bottom.set_yticks(np.arange(1, rows) - 0.5, minor=True)
    bottom.grid(which="minor", axis="y", color="white", linewidth=3)
    bottom.tick_params(axis="y", which="both", length=0)
    bottom.set_title(f"What the network reads: {len(centers)} values for each angle")
    bottom.set_xlabel("centre of the Gaussian (cosine)")
    figure.colorbar(image, ax=bottom, label="value", ticks=[0, 0.5, 1], aspect=8, pad=0.01)
    return figure


@figure_function
def plot_alignn_layer(narrow: bool = False) -> Figure:
    """Draw an ALIGNN layer: a convolution on the atom graph and one on the line graph, which share the edges.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the layer then runs from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes, at = flow_canvas(2.75, 4.3, narrow)
    # Inches along and across the way through the layer; `aside` is where an arrow meets a convolution.
    if narrow:
        (start, first, second, end), half, aside = (0.4, 1.5, 2.75, 3.9), 0.3, 0.3
        lanes, convolved, notes = (3.65, 2.2, 0.75), (2.925, 1.475), ((first, 1.75), (second, 2.7), (2.05, 1.8))
    else:
        (start, first, second, end), half, aside = (0.7, 2.75, 4.75, 6.8), 0.55, 0.25
        lanes, convolved, notes = (2.35, 1.4, 0.45), (1.88, 0.93), ((first, 2.37), (second, 0.42), (3.8, 1.62))
    atoms, edges, angles = lanes
    for name, lane in zip(("atoms  x", "edges  y", "angles  z"), lanes, strict=True):
        draw_box(axes, *at(start, lane), name, paler(STRUCTURE, 0.75))
        draw_box(axes, *at(end, lane), name + "′", paler(STRUCTURE, 0.45))
    for along, lane, name in zip((first, second), convolved, ("atom graph", "line graph"), strict=True):
        draw_box(axes, *at(along, lane), f"convolution\non the\n{name}", paler(COLORS[1], 0.7))
    for here, lane, there, to in (
        (start, atoms, first, atoms - aside),
        (start, edges, first, edges + aside),
        (first, atoms - aside, end, atoms),
        (first, edges + aside, second, edges - aside),
        (start, angles, second, angles + aside),
        (second, edges - aside, end, edges),
        (second, angles + aside, end, angles),
    ):
        draw_arrow(axes, at(here + half, lane), at(there - half, to))
    for place, note in zip(notes, ("reads atoms and edges", "reads edges and angles", "edges"), strict=True):
        axes.text(*at(*place), wrapped(note, 11) if narrow else note, ha="center", va="center", fontsize=SMALL,
                  color=MUTED)  # fmt: skip
    return figure
