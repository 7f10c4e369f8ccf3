"""Crystals, their graphs and their neighbour shells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path

from course_lib.graphs import NEIGHBORS, SHELL_TOLERANCE, CrystalGraphs, nearest_neighbors
from course_lib.plots.style import (
    COLORS,
    FAINT,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    text_color,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

# From light (electropositive) to dark (electronegative), so that elements stay apart in grey.
_ELEMENTS = LinearSegmentedColormap.from_list("elements", ["#f2c14e", "#c8553d", "#1d3557"])


@dataclass(frozen=True)
class ElementStyle:
    """How the atoms of an element are drawn."""

    color: tuple[float, float, float]
    radius: float  # angstrom
    marker: str


def element_styles(structure: Structure) -> dict[str, ElementStyle]:
    """Return a style for each element of `structure`, in the order of their electronegativity."""
    elements = sorted({site.specie for site in structure}, key=lambda element: (element.X, element.Z))
    shades = np.linspace(0, 1, len(elements)) if len(elements) > 1 else [0.0]
    return {
        element.symbol: ElementStyle(to_rgb(_ELEMENTS(shade)), 0.35 * float(element.atomic_radius or 1.5), marker)
        for element, shade, marker in zip(elements, shades, MARKERS * len(elements), strict=False)
    }


# --- one crystal beside its graph -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bond:
    """A line of the crystal graph: all bonds of one length between two atoms of the cell."""

    source: int
    target: int
    length: float  # angstrom
    count: int
    mutual: bool  # whether the message goes both ways
    kind: tuple  # bonds of one kind look alike: element of source and target, count, length


@figure_function
def plot_crystal_and_graph(structure: Structure, site: int = 0) -> Figure:
    """Draw a crystal beside its crystal graph.

    Left, the conventional cell with the chosen site at its centre, joined to all its neighbours in the graph; atoms
    outside the cell are paler. Right, the graph: one node an atom of the given cell, one line a bond, labelled with
    how many neighbours it stands for and their distance. Lines of one kind look alike in both pictures.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal; its primitive cell gives the graph that the course speaks of.
    site : int, default 0
        Which atom's neighbours are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no such site.
    """
    _check_site(structure, site)
    bonds = _bonds(structure)
    lines = _line_styles(bonds)
    styles = element_styles(structure)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), width_ratios=(1, 1))
    n_neighbors = _draw_crystal(left, structure, site, styles, lines)
    _draw_graph(right, structure, site, bonds, styles, lines)
    symbol = structure[site].specie.symbol
    left.set_title(f"Crystal: one {symbol} and its {n_neighbors} neighbours")
    right.set_title(f"Graph: {len(structure)} atoms, {len(bonds)} bonds")
    return figure


def _check_site(structure: Structure, site: int) -> None:
    if not 0 <= site < len(structure):
        raise ValueError(f"site is {site}, but the structure has the sites 0 to {len(structure) - 1}.")


def _bonds(structure: Structure) -> list[_Bond]:
    """Return the bonds of the graph, those that go both ways once."""
    batch = CrystalGraphs.from_structures([structure]).batch([0])
    symbols = [site.specie.symbol for site in structure]
    found = {}
    sources, targets = batch.bond_index.tolist()
    for source, target, length, count in zip(
        sources, targets, batch.bond_length.tolist(), batch.bond_count.int().tolist(), strict=True
    ):
        found[source, target, round(length, 2), count] = length
    bonds = []
    for (source, target, rounded, count), length in found.items():
        mutual = (target, source, rounded, count) in found
        if mutual and source > target:
            continue
        pair = (symbols[source], symbols[target])
        kind = (rounded, tuple(sorted(pair)) if mutual else pair, count)
        bonds.append(_Bond(source, target, length, count, mutual, kind))
    return sorted(bonds, key=lambda bond: (bond.kind, bond.source, bond.target))


def _line_styles(bonds: list[_Bond]) -> dict[tuple, dict]:
    """Return how the lines of each kind of bond look, the shortest the heaviest."""
    kinds = sorted({bond.kind for bond in bonds})
    return {
        kind: {
            "color": COLORS[rank % len(COLORS)],
            "linestyle": LINES[rank % len(LINES)],
            "linewidth": max(2.2 - 0.4 * rank, 1.2),
        }
        for rank, kind in enumerate(kinds)
    }


def _conventional_cell(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return the lattice vectors of the conventional cell as rows, and the rotation that sets it upright."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(structure).get_symmetry_dataset()
    # spglib: (a b c) = (a_s b_s c_s) P with the vectors as columns, then a rigid rotation.
    cell = np.linalg.inv(dataset.transformation_matrix).T @ structure.lattice.matrix
    return cell @ dataset.std_rotation_matrix.T, dataset.std_rotation_matrix


class _View:
    """A mild perspective on the crystal from the front, a little from the right and from above."""

    def __init__(self, size: float, azimuth: float = 20.0, elevation: float = 15.0):
        a, e = np.radians([azimuth, elevation])
        right = np.array([np.cos(a), np.sin(a), 0.0])
        away = np.array([-np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)])
        self._axes = np.stack([right, np.cross(right, away), away], axis=1)
        self._distance = 4.5 * size  # of the eye, in angstrom

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return places on the paper (..., 2), depths (...) and magnifications (...) of `positions` (..., 3)."""
        turned = positions @ self._axes
        depth = turned[..., 2]
        scale = self._distance / (self._distance + depth)
        return turned[..., :2] * scale[..., None], depth, scale


def _draw_crystal(
    axes: Axes, structure: Structure, site: int, styles: dict[str, ElementStyle], lines: dict[tuple, dict]
) -> int:
    """Draw the conventional cell round `site` and all its neighbours; return how many they are."""
    cell, rotation = _conventional_cell(structure)
    origin = rotation @ structure.cart_coords[site]
    corner = -cell.sum(0) / 2
    view = _View(np.linalg.norm(cell.sum(0)))
    around = _neighbors_of(structure, site)
    kind_of = {(k[0], *k[1], k[2]): style for k, style in lines.items()}  # noqa: F841
    for ends in _cell_edges(cell, corner):
        points, depth, _ = view(ends)
        axes.plot(*points.T, color=MUTED, linewidth=1.0, zorder=-depth.mean() - 0.01)

    atoms = _atoms_in_cell(structure, rotation, origin, cell, corner)
    inside = {tuple(np.round(position, 2) + 0.0) for _, position in atoms}
    for other, vector in around:
        position = rotation @ vector
        if tuple(np.round(position, 2) + 0.0) not in inside:
            atoms.append((other, position))
        points, depth, _ = view(np.stack([np.zeros(3), position]))
        axes.plot(
            *points.T, **_style_between(lines, structure, other, site, np.linalg.norm(vector)), zorder=-depth.mean()
        )
    for atom, position in atoms:
        style = styles[structure[atom].specie.symbol]
        outside = tuple(np.round(position, 2) + 0.0) not in inside
        place, depth, scale = view(position)
        _draw_ball(axes, place, style.radius * scale, style.color, -depth, outside)
    place, depth, scale = view(np.zeros(3))
    radius = styles[structure[site].specie.symbol].radius * scale * 1.25
    axes.add_patch(Circle(place, radius, fill=False, edgecolor=INK, linewidth=1.6, zorder=-depth))
    axes.autoscale_view()
    axes.set_aspect("equal")
    bare(axes)
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=14 * s.radius**0.5, markerfacecolor=s.color,
               markeredgecolor=INK, label=symbol)
        for symbol, s in styles.items()
    ]  # fmt: skip
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(handles))
    return len(around)


def _neighbors_of(structure: Structure, site: int, neighbors: int = NEIGHBORS) -> list[tuple[int, np.ndarray]]:
    """Return the neighbours of `site`, nearest first: which atom, and the vector to it in angstrom."""
    source, target, vector = nearest_neighbors(structure.cart_coords, structure.lattice.matrix, neighbors)
    mine = target == site
    return list(zip(source[mine].tolist(), vector[mine], strict=True))


def _style_between(lines: dict[tuple, dict], structure: Structure, other: int, site: int, length: float) -> dict:
    """Return the line style of the bond from `other` to `site`."""
    pair = (structure[other].specie.symbol, structure[site].specie.symbol)
    candidates = [kind for kind in lines if kind[1] in (pair, tuple(sorted(pair)))]
    return lines[min(candidates, key=lambda kind: abs(kind[0] - length))]


def _cell_edges(cell: np.ndarray, corner: np.ndarray) -> list[np.ndarray]:
    """Return the twelve edges of a cell, each an array (2, 3)."""
    edges = []
    for axis in range(3):
        others = [cell[k] for k in range(3) if k != axis]
        for m, n in product((0, 1), repeat=2):
            start = corner + m * others[0] + n * others[1]
            edges.append(np.stack([start, start + cell[axis]]))
    return edges


def _atoms_in_cell(
    structure: Structure, rotation: np.ndarray, origin: np.ndarray, cell: np.ndarray, corner: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Return all images of atoms in the closed cell: which atom, and where it is seen from the chosen site."""
    lattice = structure.lattice.matrix @ rotation.T
    reach = np.ceil(np.abs(cell @ np.linalg.inv(lattice)).sum(0)).astype(int) + 1
    images = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    positions = structure.cart_coords @ rotation.T - origin
    found = []
    for atom, position in enumerate(positions):
        places = position + images @ lattice
        fractional = (places - corner) @ np.linalg.inv(cell)
        within = ((fractional > -1e-3) & (fractional < 1 + 1e-3)).all(axis=1)
        found += [(atom, place) for place in places[within]]
    return found


def _draw_ball(axes: Axes, place: np.ndarray, radius: float, color: tuple, zorder: float, outside: bool) -> None:
    """Draw an atom as a shaded ball."""
    color = paler(color, 0.65) if outside else color
    edge = FAINT if outside else INK
    x, y = place
    axes.imshow(
        _ball_image(color), extent=(x - radius, x + radius, y - radius, y + radius), zorder=zorder, origin="lower",
        interpolation="bilinear",
    )  # fmt: skip
    axes.add_patch(Circle(place, radius, fill=False, edgecolor=edge, linewidth=0.7, zorder=zorder))


def _ball_image(color: tuple, size: int = 64) -> np.ndarray:
    """Return a picture of a ball lit from the upper left, RGBA, shape (size, size, 4)."""
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, size)])
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    light = np.clip(-0.45 * x + 0.5 * y + 0.74 * height, 0, 1)
    image = np.empty((size, size, 4))
    image[..., :3] = np.asarray(color) * (0.55 + 0.5 * light[..., None])
    image[..., :3] += 0.55 * (light[..., None] ** 12)
    image[..., 3] = (x**2 + y**2 <= 1).astype(float)
    return image.clip(0, 1)


def _draw_graph(
    axes: Axes, structure: Structure, site: int, bonds: list[_Bond], styles: dict[str, ElementStyle], lines: dict
) -> None:
    """Draw the crystal graph with its nodes on a circle."""
    n = len(structure)
    angles = np.pi - 2 * np.pi * np.arange(n) / n if n > 1 else np.array([-np.pi / 2])
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (1.0 if n > 1 else 0.0)
    node_radius = 0.2 if n < 5 else 0.17
    middles: dict[tuple, list[np.ndarray]] = {}
    for (source, target), group in groupby(
        sorted(bonds, key=lambda b: (b.source, b.target)),
        key=lambda b: (min(b.source, b.target), max(b.source, b.target)),
    ):
        group = list(group)
        for rank, bond in enumerate(group):
            if source == target:
                path, middle = _loop(places[source], angles[source], rank, len(group), node_radius)
            else:
                path, middle = _arc(places[bond.source], places[bond.target], rank, len(group), node_radius)
            axes.add_patch(PathPatch(path, fill=False, zorder=1, **lines[bond.kind]))
            if not bond.mutual:
                _draw_arrow_head(axes, path, lines[bond.kind])
            middles.setdefault(bond.kind, []).append(middle)
    _label_bonds(axes, middles, lines)
    for atom, place in enumerate(places):
        symbol = structure[atom].specie.symbol
        color = styles[symbol].color
        if atom == site:
            axes.add_patch(Circle(place, node_radius * 1.22, facecolor="white", edgecolor=INK, linewidth=1.6, zorder=3))
        axes.add_patch(Circle(place, node_radius, facecolor=color, edgecolor=INK, linewidth=0.8, zorder=4))
        axes.text(*place, symbol, ha="center", va="center", fontweight="bold", color=text_color(color), zorder=5)
    axes.autoscale_view()
    axes.margins(0.08)
    axes.set_aspect("equal")
    bare(axes)
    if not all(bond.mutual for bond in bonds):
        axes.text(0.5, -0.02, "arrow: the message goes one way only", transform=axes.transAxes, ha="center", va="top",
                  fontsize=SMALL, color=MUTED)  # fmt: skip


def _loop(place: np.ndarray, angle: float, rank: int, n_loops: int, node_radius: float) -> tuple[Path, np.ndarray]:
    """Return a loop from a node outwards, and where its label goes."""
    direction = angle + (rank - (n_loops - 1) / 2) * 1.1
    reach = 0.85
    ends = [place + node_radius * 0.9 * _unit(direction + turn) for turn in (-0.5, 0.5)]
    handles = [place + (node_radius + reach) * _unit(direction + turn) for turn in (-0.45, 0.45)]
    middle = place + (node_radius + reach * 0.72) * _unit(direction)
    return Path([ends[0], *handles, ends[1]], [Path.MOVETO] + 3 * [Path.CURVE4]), middle


def _arc(start: np.ndarray, end: np.ndarray, rank: int, n_arcs: int, node_radius: float) -> tuple[Path, np.ndarray]:
    """Return an arc between two nodes, and its middle; several between the same two spread out."""
    across = end - start
    bulge = (rank - (n_arcs - 1) / 2) * 0.9 + (0.12 if n_arcs == 1 else 0.0)
    control = (start + end) / 2 + bulge * np.array([-across[1], across[0]]) / 2
    begin = start + node_radius * (control - start) / np.linalg.norm(control - start)
    finish = end + node_radius * (control - end) / np.linalg.norm(control - end)
    return Path([begin, control, finish], [Path.MOVETO] + 2 * [Path.CURVE3]), (begin + 2 * control + finish) / 4


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _draw_arrow_head(axes: Axes, path: Path, style: dict) -> None:
    """Put an arrow head at the end of `path`."""
    before, tip = path.vertices[-2:]
    back = tip - 0.01 * (tip - before) / np.linalg.norm(tip - before)
    axes.annotate(
        "", xy=tip, xytext=back,
        arrowprops={"arrowstyle": "-|>", "color": style["color"], "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0},
        zorder=2,
    )  # fmt: skip


def _label_bonds(axes: Axes, middles: dict[tuple, list[np.ndarray]], lines: dict[tuple, dict]) -> None:
    """Label each kind of bond once, where there is most room."""
    taken: list[np.ndarray] = []
    for kind, places in sorted(middles.items()):
        length, _, count = kind
        place = max(places, key=lambda p: min((np.linalg.norm(p - other) for other in taken), default=0))
        taken.append(place)
        axes.text(
            *place, f"{count} × {length:.2f} Å", ha="center", va="center", fontsize=SMALL, zorder=6,
            color=lines[kind]["color"] if lines[kind]["color"] in COLORS[:1] else INK,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": lines[kind]["color"], "linewidth": 0.8},
        )  # fmt: skip


# --- shells -----------------------------------------------------------------------------------------------------


@figure_function
def plot_shells(structure: Structure, site: int = 0, neighbors: int = NEIGHBORS) -> Figure:
    """Draw the neighbours of one site in the order of their distance, and where a fixed number of them cuts.

    Every dot is a neighbour; neighbours at one distance, a shell, stand above one another.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal.
    site : int, default 0
        Whose neighbours.
    neighbors : int, default 12
        The fixed number to compare with whole shells.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no such site.
    """
    _check_site(structure, site)
    shells = _shells(structure, site, 2 * neighbors)
    styles = element_styles(structure)
    figure, axes = plt.subplots(figsize=(6.8, 4.2))
    total = 0
    for distance, symbols in shells:
        ranks = total + 1 + np.arange(len(symbols))
        for symbol in dict.fromkeys(symbols):
            mine = ranks[[s == symbol for s in symbols]]
            style = styles[symbol]
            split = ranks[0] <= neighbors < ranks[-1]
            for chosen, face in ((mine <= neighbors, style.color), (mine > neighbors, "white")):
                axes.plot(
                    np.full(chosen.sum(), distance), mine[chosen], linestyle="", marker=style.marker, markersize=6,
                    markerfacecolor=face, markeredgecolor=style.color if split or face != "white" else FAINT,
                    markeredgewidth=1.1,
                )  # fmt: skip
        counted = " + ".join(f"{symbols.count(symbol)} {symbol}" for symbol in dict.fromkeys(symbols))
        total += len(symbols)
        axes.annotate(f"{counted}\n{distance:.2f} Å", (distance, ranks[0]), (7, 0), textcoords="offset points",
                      va="bottom", fontsize=SMALL)  # fmt: skip
    axes.axhline(neighbors + 0.5, color=INK, linewidth=1.2, linestyle="--")
    axes.set_xlabel(f"distance from the {structure[site].specie.symbol} atom (Å)")
    axes.set_ylabel("neighbours, counted outwards")
    axes.set_ylim(0, total + 1.5)
    axes.set_xlim(left=min(shells[0][0] - 0.3, shells[0][0] * 0.9))
    axes.margins(x=0.2)
    axes.set_title(_shell_message(shells, neighbors))
    return figure


def _shells(structure: Structure, site: int, neighbors: int) -> list[tuple[float, list[str]]]:
    """Return the shells round `site` that hold at least `neighbors` atoms: distance and the elements in it."""
    shells: list[tuple[float, list[str]]] = []
    for other, vector in _neighbors_of(structure, site, neighbors):
        distance = float(np.linalg.norm(vector))
        if not shells or distance - shells[-1][0] > SHELL_TOLERANCE:
            shells.append((distance, []))
        shells[-1][1].append(structure[other].specie.symbol)
    return [(distance, sorted(symbols)) for distance, symbols in shells]


def _shell_message(shells: Sequence[tuple[float, list[str]]], neighbors: int) -> str:
    """Return what a fixed cut does to these shells."""
    counted = 0
    for _, symbols in shells:
        if counted < neighbors < counted + len(symbols):
            return (
                f"A cut after {neighbors} takes {neighbors - counted} of {len(symbols)} atoms at one distance;\n"
                f"whole shells give {counted + len(symbols)} neighbours"
            )
        counted += len(symbols)
    return f"A cut after {neighbors} splits no shell here"
