"""Crystals, their graphs and their neighbour shells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from course_lib.graphs import NEIGHBORS, CrystalGraphs, nearest_neighbors, neighbor_weight
from course_lib.models.atom_features import element_properties
from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SMALL,
    WIDTH,
    bare,
    figure_function,
    paler,
    pick,
    text_color,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

# From light (electropositive) to dark (electronegative), so that elements stay apart in grey.
_ELEMENTS = LinearSegmentedColormap.from_list("elements", ["#f2c14e", "#c8553d", "#1d3557"])
_BALL = 0.35  # drawn radius of an atom, in units of its covalent radius
_SAME_PLACE = 0.01  # angstrom
_SAME_SHELL = 0.01  # angstrom


@dataclass(frozen=True)
class ElementStyle:
    """How the atoms of an element are drawn."""

    color: tuple[float, float, float]
    radius: float  # angstrom
    marker: str


def element_styles(structure: Structure) -> dict[str, ElementStyle]:
    """Return a style for each element of `structure`, in the order of their electronegativity."""
    numbers = set(structure.atomic_numbers)
    elements = [row for row in element_properties() if int(row["atomic_number"]) in numbers]
    elements.sort(key=lambda row: float(row["electronegativity"] or 0))  # noble gases first: they have none
    shades = np.linspace(0, 1, len(elements)) if len(elements) > 1 else [0.0]
    return {
        row["symbol"]: ElementStyle(to_rgb(_ELEMENTS(shade)), _BALL / 100 * float(row["covalent_radius_pm"]), marker)
        for row, shade, marker in zip(elements, shades, MARKERS[: len(elements)], strict=True)
    }


# --- one crystal next to its graph --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bond:
    """A line of the crystal graph."""

    source: int
    target: int
    length: float  # angstrom
    count: int
    mutual: bool  # whether the message goes both ways
    kind: tuple  # (length, elements, count): bonds of one kind look the same


@figure_function
def plot_crystal_and_graph(structure: Structure, site: int = 0) -> Figure:
    """Draw a crystal next to its crystal graph.

    Left, the conventional cell with the chosen site at its centre, joined to all its neighbours in the graph; atoms
    outside the cell are paler. Right, the graph: one node per atom of the given cell, one line per bond. Lines of one
    kind (elements, length, number of neighbours) look the same in both pictures, and each kind is labelled once, with
    how many neighbours a line stands for and their distance.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal; its primitive cell gives the graph that the course describes.
    site : int, default 0
        Whose neighbours are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the site does not exist.
    """
    _check_site(structure, site)
    bonds = _bonds(structure)
    lines = _line_styles(bonds)
    styles = element_styles(structure)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.4))
    neighbors = neighbors_of(structure, site)
    kinds = [_kind_between(bonds, other, site, np.linalg.norm(vector)) for other, vector in neighbors]
    draw_crystal(left, structure, site, neighbors, [lines[kind] for kind in kinds])
    _draw_graph(right, structure, site, styles, bonds, lines)
    left.set_title(f"Crystal: one {_symbols(structure)[site]} and its {len(neighbors)} neighbours")
    right.set_title(f"Graph: {_counted(len(structure), 'atom')}, {_counted(len(bonds), 'bond')}")
    return figure


def _check_site(structure: Structure, site: int) -> None:
    if not 0 <= site < len(structure):
        raise ValueError(f"site is {site}, but the structure has the sites 0 to {len(structure) - 1}.")


def _symbols(structure: Structure) -> list[str]:
    """Return the element of each site, without oxidation state."""
    return [site.specie.symbol for site in structure]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _bonds(structure: Structure) -> list[_Bond]:
    """Return the bonds of the graph, those that go both ways once."""
    batch = CrystalGraphs.from_structures([structure]).batch([0])
    symbols = _symbols(structure)
    count = batch.bond_count.tolist()
    length = _snapped(batch.bond_length.double().numpy())
    found = set(zip(*batch.bond_index.tolist(), length, count, strict=True))
    bonds = []
    for source, target, distance, number in sorted(found):
        mutual = (target, source, distance, number) in found
        if mutual and source > target:
            continue
        pair = (symbols[source], symbols[target])
        kind = (distance, tuple(sorted(pair)) if mutual else pair, number)
        bonds.append(_Bond(source, target, distance, number, mutual, kind))
    return bonds


def _snapped(lengths: np.ndarray) -> list[float]:
    """Return `lengths`, with those that differ only by rounding made equal."""
    ordered = np.sort(lengths)
    first = ordered[np.flatnonzero(np.diff(ordered, prepend=-1.0) > 1e-3)]
    return first[np.searchsorted(first, lengths, side="right") - 1].tolist()


def _line_styles(bonds: list[_Bond]) -> dict[tuple, dict]:
    """Return how the lines of each kind of bond look, the shortest the heaviest."""
    return {
        kind: {"color": pick(COLORS, rank), "linestyle": pick(LINES, rank), "linewidth": max(2.4 - 0.4 * rank, 1.3)}
        for rank, kind in enumerate(sorted({bond.kind for bond in bonds}))
    }


def _kind_between(bonds: list[_Bond], source: int, target: int, length: float) -> tuple:
    """Return the kind of the bond of this length that brings a message from `source` to `target`."""
    ends = ((source, target), (target, source))
    candidates = [b for b in bonds if (b.source, b.target) == ends[0] or (b.mutual and (b.source, b.target) == ends[1])]
    return min(candidates, key=lambda bond: abs(bond.length - length)).kind


class _View:
    """A mild perspective on the crystal: from the front, a little from the right and from above."""

    def __init__(self, size: float, azimuth: float = 20.0, elevation: float = 15.0):
        a, e = np.radians([azimuth, elevation])
        right = np.array([np.cos(a), np.sin(a), 0.0])
        away = np.array([-np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)])
        self._axes = np.stack([right, np.cross(right, away), away], axis=1)
        self._distance = 4.5 * size  # of the eye, in angstrom

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return places on the paper (..., 2), depths (...) and magnifications (...) of `positions` (..., 3)."""
        rotated = positions @ self._axes
        scale = self._distance / (self._distance + rotated[..., 2])
        return rotated[..., :2] * scale[..., None], rotated[..., 2], scale


def draw_crystal(
    axes: Axes,
    structure: Structure,
    site: int,
    neighbors: list[tuple[int, np.ndarray]],
    lines: list[dict],
    reach: float | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Draw the conventional cell round one site, joined to some neighbours.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    structure : pymatgen.core.Structure
        A crystal.
    site : int
        The atom at the centre.
    neighbors : list of (int, array of shape (3,))
        Which atom each neighbour is, and the vector to it in angstrom, as `neighbors_of` returns them.
    lines : list of dict
        How the line to each of them looks: arguments of matplotlib's ``plot``.
    reach : float, optional
        Half of the side of the square that is shown, in angstrom; as much as the atoms need where not given.

    Returns
    -------
    callable
        Takes vectors from the site, in angstrom, (n, 3), to places on the paper, (n, 2).
    """
    symbols = _symbols(structure)
    styles = element_styles(structure)
    radii = [styles[symbol].radius for symbol in symbols]
    cell, rotation = _conventional_cell(structure)
    view = _View(np.linalg.norm(cell.sum(0)))
    for ends in _cell_edges(cell):
        for piece in _pieces(ends):
            points, depth, _ = view(piece)
            # Behind the atom that it may be inside of.
            axes.plot(*points.T, color=MUTED, linewidth=1.0, zorder=-depth.mean() - max(radii))

    inside = _atoms_in_cell(structure, rotation, cell, site)
    around = [(other, rotation @ vector) for other, vector in neighbors]
    for (other, position), style in zip(around, lines, strict=True):
        length = np.linalg.norm(position)
        ends = np.outer([radii[site] / length, 1 - radii[other] / length], position)  # from surface to surface
        points, depth, _ = view(ends)
        axes.plot(*points.T, **style, solid_capstyle="butt", zorder=-depth.mean())
    places = np.array([position for _, position in inside])
    outside = [(atom, p) for atom, p in around if np.linalg.norm(places - p, axis=1).min() > _SAME_PLACE]

    corners = []
    for pale, atoms in ((False, inside), (True, outside)):
        for atom, position in atoms:
            place, depth, scale = view(position)
            radius = radii[atom] * scale
            color = styles[symbols[atom]].color
            _draw_ball(axes, place, radius, paler(color, 0.72) if pale else color, MUTED if pale else INK, -depth)
            corners += [place - radius, place + radius]
    axes.add_patch(Circle((0, 0), radii[site] * 1.3, fill=False, edgecolor=INK, linewidth=1.6, zorder=0))
    _square_limits(axes, np.array(corners) if reach is None else reach * np.array([[-1, -1], [1, 1]]))
    _legend_of_elements(axes, styles, bool(outside))
    return lambda vectors: view(vectors @ rotation.T)[0]


def _conventional_cell(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return the lattice vectors of the conventional cell as rows, and the rotation that sets the crystal upright."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(structure).get_symmetry_dataset()
    # spglib: with the vectors as columns, (a b c) = (a_s b_s c_s) P; then a rigid rotation.
    cell = np.linalg.inv(dataset.transformation_matrix).T @ structure.lattice.matrix
    return cell @ dataset.std_rotation_matrix.T, dataset.std_rotation_matrix


def neighbors_of(structure: Structure, site: int, neighbors: int = NEIGHBORS) -> list[tuple[int, np.ndarray]]:
    """Return the neighbours of `site`, nearest first: which atom, and the vector to it in angstrom."""
    found = nearest_neighbors(structure.cart_coords, structure.lattice.matrix, neighbors)
    mine = found.target == site
    return list(zip(found.source[mine].tolist(), found.vector[mine], strict=True))


def _cell_edges(cell: np.ndarray) -> list[np.ndarray]:
    """Return the twelve edges of a cell centred at the origin, each an array (2, 3)."""
    edges = []
    for axis in range(3):
        first, second = (cell[k] for k in range(3) if k != axis)
        for m, n in product((-0.5, 0.5), repeat=2):
            middle = m * first + n * second
            edges.append(np.stack([middle - cell[axis] / 2, middle + cell[axis] / 2]))
    return edges


def _pieces(ends: np.ndarray, number: int = 10) -> list[np.ndarray]:
    """Return a straight line (2, 3) in pieces, so that each can be in front of one atom and behind another."""
    points = ends[0] + np.linspace(0, 1, number + 1)[:, None] * (ends[1] - ends[0])
    return [points[k : k + 2] for k in range(number)]


def _atoms_in_cell(
    structure: Structure, rotation: np.ndarray, cell: np.ndarray, site: int
) -> list[tuple[int, np.ndarray]]:
    """Return all images of atoms in the closed cell round `site`: which atom, and where it is seen from there."""
    lattice = structure.lattice.matrix @ rotation.T
    reach = np.ceil(np.abs(cell @ np.linalg.inv(lattice)).sum(0)).astype(int) + 1
    images = np.array(list(product(*(range(-n, n + 1) for n in reach)))) @ lattice
    found = []
    for atom, position in enumerate((structure.cart_coords - structure.cart_coords[site]) @ rotation.T):
        places = position + images
        within = (np.abs(places @ np.linalg.inv(cell)) < 0.5 + 1e-3).all(axis=1)
        found += [(atom, place) for place in places[within]]
    return found


def _draw_ball(axes: Axes, place: np.ndarray, radius: float, color: tuple, edge: str, zorder: float) -> None:
    """Draw an atom as a shaded ball."""
    x, y = place
    extent = (x - radius, x + radius, y - radius, y + radius)
    axes.imshow(_ball_image(color), extent=extent, zorder=zorder, origin="lower", interpolation="bilinear")
    axes.add_patch(Circle(place, radius, fill=False, edgecolor=edge, linewidth=0.8, zorder=zorder))


def _ball_image(color: tuple, size: int = 64) -> np.ndarray:
    """Return a picture of a ball lit from the upper left, RGBA, shape (size, size, 4)."""
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, size)])
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    light = np.clip(-0.45 * x + 0.5 * y + 0.74 * height, 0, 1)[..., None]
    image = np.ones((size, size, 4))
    image[..., :3] = (np.asarray(color) * (0.6 + 0.45 * light) + 0.5 * light**12).clip(0, 1)
    image[..., 3] = x**2 + y**2 <= 1
    return image


def _square_limits(axes: Axes, points: np.ndarray) -> None:
    """Show `points` (n, 2) in a square without ticks, so that two panels side by side are of one size."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, 0.52 * (high - low).max()
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
    bare(axes)


def _legend_of_elements(axes: Axes, styles: dict[str, ElementStyle], any_outside: bool) -> None:
    def disc(color: tuple, size: float, edge: str, label: str) -> Line2D:
        return Line2D([], [], marker="o", linestyle="", markersize=size, color=color, markeredgecolor=edge, label=label)

    handles = [disc(style.color, 13 * style.radius**0.5, INK, symbol) for symbol, style in styles.items()]
    if any_outside:
        handles.append(disc(paler(MUTED, 0.75), 9, MUTED, "outside the cell"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5, handletextpad=0.2)


def _draw_graph(
    axes: Axes, structure: Structure, site: int, styles: dict[str, ElementStyle], bonds: list[_Bond], lines: dict
) -> None:
    """Draw the crystal graph, its nodes on a circle."""
    symbols = _symbols(structure)
    angles = _first_angle(len(symbols)) - 2 * np.pi * np.arange(len(symbols)) / len(symbols)
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1) * _circle_radius(len(symbols))
    radius = 0.2

    spots: dict[tuple, list[np.ndarray]] = {}  # where the label of each kind of bond may stand
    for bond, rank, among in _ranked(bonds):
        if bond.source == bond.target:
            path = _loop(places[bond.source], _loop_direction(angles, bond.source, rank, among), radius)
        else:
            path = _arc(places[bond.source], places[bond.target], rank, among, radius)
        arrow = "-" if bond.mutual else "-|>"
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle=arrow, mutation_scale=16, zorder=1, **lines[bond.kind]))
        shares = (0.5,) if bond.source == bond.target else (0.3, 0.4, 0.5, 0.6, 0.7)
        spots.setdefault(bond.kind, []).extend(_point_on(path, share) for share in shares)
    _label_bonds(axes, spots, places, lines)

    for atom, (place, symbol) in enumerate(zip(places, symbols, strict=True)):
        color = styles[symbol].color
        if atom == site:
            axes.add_patch(Circle(place, radius * 1.25, facecolor="white", edgecolor=INK, linewidth=1.6, zorder=3))
        axes.add_patch(Circle(place, radius, facecolor=color, edgecolor=INK, linewidth=0.8, zorder=4))
        axes.text(*place, symbol, ha="center", va="center", fontweight="bold", color=text_color(color), zorder=5)
    corners = [place + side * 1.3 * radius for place in places for side in (-1, 1)]
    labels = [spot + side * np.array([0.4, 0.1]) for found in spots.values() for spot in found for side in (-1, 1)]
    _square_limits(axes, np.array(corners + labels))
    if not all(bond.mutual for bond in bonds):
        axes.set_xlabel("arrow: the message goes one way only", fontsize=SMALL, color=MUTED)


def _circle_radius(n_atoms: int) -> float:
    """Return the radius of the circle of nodes, in the unit in which a node has the radius 0.2."""
    return {1: 0.0, 2: 0.8}.get(n_atoms, 1.2)


def _first_angle(n_atoms: int) -> float:
    """Return the angle of the first node: two lie side by side, four are the corners of a square."""
    return {2: np.pi, 4: 0.75 * np.pi}.get(n_atoms, np.pi / 2)


def _ranked(bonds: list[_Bond]) -> list[tuple[_Bond, int, int]]:
    """Return each bond with its place among the bonds of the same two atoms, and the number of those."""
    by_pair: dict[frozenset, list[_Bond]] = {}
    for bond in bonds:
        by_pair.setdefault(frozenset((bond.source, bond.target)), []).append(bond)
    return [(bond, rank, len(group)) for group in by_pair.values() for rank, bond in enumerate(group)]


def _loop_direction(angles: np.ndarray, node: int, rank: int, n_loops: int) -> float:
    """Return where a loop points: away from the other nodes, several of them fanned out."""
    if len(angles) == 1:
        return np.pi / 2 + 2 * np.pi * rank / n_loops
    if len(angles) == 2:  # up and down, which leaves the width to the bonds
        return np.pi / 2 - np.pi * rank
    return angles[node] + (rank - (n_loops - 1) / 2) * 1.0


def _loop(place: np.ndarray, direction: float, radius: float) -> Path:
    """Return a loop that leaves and enters a node in `direction`."""
    ends = [place + radius * _unit(direction + turn) for turn in (-0.6, 0.6)]
    handles = [place + 1.1 * _unit(direction + turn) for turn in (-0.55, 0.55)]
    return Path([ends[0], *handles, ends[1]], [Path.MOVETO, *3 * [Path.CURVE4]])


def _arc(start: np.ndarray, end: np.ndarray, rank: int, n_arcs: int, radius: float) -> Path:
    """Return an arc from one node to another; several between the same two are spread out."""
    across = end - start
    bulge = 0.06 if n_arcs == 1 else 0.45 * (rank - (n_arcs - 1) / 2)
    if tuple(start) > tuple(end):  # the side must not depend on the direction
        bulge = -bulge
    control = (start + end) / 2 + bulge * np.array([-across[1], across[0]])
    ends = [node + radius * (control - node) / np.linalg.norm(control - node) for node in (start, end)]
    return Path([ends[0], control, ends[1]], [Path.MOVETO, *2 * [Path.CURVE3]])


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _point_on(path: Path, share: float) -> np.ndarray:
    """Return a point on a Bezier curve, `share` of the way in its parameter (de Casteljau)."""
    points = path.vertices
    while len(points) > 1:
        points = (1 - share) * points[:-1] + share * points[1:]
    return points[0]


def _label_bonds(axes: Axes, spots: dict[tuple, list[np.ndarray]], places: np.ndarray, lines: dict) -> None:
    """Label each kind of bond once, where most room is left between the nodes and the other labels."""
    taken = list(places)
    for kind, found in sorted(spots.items(), key=lambda item: len(item[1])):
        length, _, count = kind
        others = [spot for other, far in spots.items() if other != kind for spot in far]
        best = max(found, key=lambda spot: _room(spot, taken) + 0.3 * _room(spot, others))
        taken.append(best)
        axes.text(
            *best, f"{count} × {length:.2f} Å", ha="center", va="center", fontsize=SMALL, zorder=6,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": lines[kind]["color"]},
        )  # fmt: skip


def _room(spot: np.ndarray, others: list[np.ndarray]) -> float:
    """Return how far the nearest of `others` is, for a label, which is wider than it is high."""
    return min((float(np.linalg.norm((spot - other) * (0.4, 1.0))) for other in others), default=0.0)


# --- shells -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shell:
    """The neighbours at one distance."""

    distance: float  # angstrom
    first: int  # rank of its nearest neighbour, from 1
    symbols: list[str]

    @property
    def last(self) -> int:
        """Rank of its farthest neighbour."""
        return self.first + len(self.symbols) - 1


@figure_function
def plot_shells(structure: Structure, site: int = 0, neighbors: int = NEIGHBORS) -> Figure:
    """Draw the neighbours of one site in the order of their distance, and where a fixed number of them cuts.

    Every mark is a neighbour; the neighbours at one distance, a shell, stand above one another. Shells are drawn up to
    the first one beyond the cut.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal.
    site : int, default 0
        Whose neighbours.
    neighbors : int, default 12
        Where a fixed number of neighbours cuts.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the site does not exist.
    """
    _check_site(structure, site)
    if neighbors < 1:
        raise ValueError(f"neighbors is {neighbors}; it must be at least 1.")
    shells = shells_of(structure, site, neighbors)
    styles = element_styles(structure)
    figure, axes = plt.subplots(figsize=(6.8, 4.0))
    height = -1.0
    for shell in shells:
        height = max(shell.first, height + 0.06 * shells[-1].last)  # a line of text above the label before
        _draw_shell(axes, shell, neighbors, styles, height)
    axes.axhline(neighbors + 0.5, color=INK, linewidth=1.2, linestyle="--")
    span = shells[-1].distance - shells[0].distance
    axes.set_xlim(shells[0].distance - 0.25 * span, shells[-1].distance + 0.45 * span)
    axes.set_ylim(0, shells[-1].last + 1.5)
    axes.set_xlabel(f"distance from the {_symbols(structure)[site]} atom (Å)")
    axes.set_ylabel("neighbours, counted outwards")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(_shell_message(shells, neighbors, _cutoff_of(structure, site, neighbors)))
    handles = [
        *(Line2D([], [], linestyle="", marker=s.marker, color=s.color, label=symbol) for symbol, s in styles.items()),
        Line2D([], [], linestyle="--", color=INK, linewidth=1.2, label=f"cut after {neighbors}"),
        Line2D([], [], linestyle="", marker="o", color=MUTED, markerfacecolor="white", label="beyond the cut"),
    ]
    axes.legend(handles=handles, loc="upper left")
    return figure


@figure_function
def plot_neighbor_weights(structure: Structure, site: int = 0, neighbors: int = NEIGHBORS) -> Figure:
    """Draw how a neighbour's weight falls with its distance, and how the weights change while a crystal is stretched.

    Left, `course_lib.graphs.neighbor_weight`. Right, the crystal is stretched along its third lattice vector: one line
    for all neighbours that move together, with how many they are.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal.
    site : int, default 0
        Whose neighbours.
    neighbors : int, default 12
        What the weights add up to.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the site does not exist.
    """
    _check_site(structure, site)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    distance = np.linspace(-0.3, 0.3, 121)
    left.plot(distance, neighbor_weight(distance, np.zeros(121)), color=COLORS[0])
    left.set(xlabel="distance beyond the atom's cutoff (Å)", ylabel="weight of the neighbour", title="The weight fades")
    strains = np.linspace(0, 0.12, 61)
    for rank, (number, weights) in enumerate(_weights_on_path(structure, site, neighbors, strains)):
        right.plot(
            100 * strains, weights, color=pick(COLORS, rank), linestyle=pick(LINES, rank), label=f"{number} atoms"
        )
    right.set(xlabel="stretched by (%)", ylabel="weight of each", title=f"The weights always add up to {neighbors}")
    right.legend(fontsize=SMALL, loc="lower right", bbox_to_anchor=(1, 0.08))
    for axes in (left, right):
        axes.set_ylim(-0.05, 1.05)
    return figure


def _weights_on_path(
    structure: Structure, site: int, neighbors: int, strains: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Return, for each group of neighbours with equal weights all along, how many they are and their weights."""
    cell = structure.lattice.matrix
    axis = cell[2] / np.linalg.norm(cell[2])
    offset = np.array([vector for _, vector in neighbors_of(structure, site, 2 * neighbors)])
    weights = []
    for strain in strains:
        stretch = np.eye(3) + strain * np.outer(axis, axis)
        cutoff = nearest_neighbors(structure.cart_coords @ stretch, cell @ stretch, neighbors).cutoff[site]
        weights.append(neighbor_weight(np.linalg.norm(offset @ stretch, axis=1), np.full(len(offset), cutoff)))
    groups: dict[tuple, list[np.ndarray]] = {}
    for path in np.array(weights).T:
        if path.max() > 0:
            groups.setdefault(tuple(path.round(3)), []).append(path)
    return [(len(paths), paths[0]) for paths in groups.values()]


def shells_of(structure: Structure, site: int, neighbors: int) -> list[Shell]:
    """Return the shells round `site` that hold its first `neighbors` neighbours, and the next one."""
    symbols = _symbols(structure)
    shells: list[Shell] = []
    # One neighbour more than those that have a weight is in the next shell, or farther out.
    reach = len(neighbors_of(structure, site, neighbors)) + 1
    for rank, (other, vector) in enumerate(neighbors_of(structure, site, reach), start=1):
        distance = float(np.linalg.norm(vector))
        if not shells or distance - shells[-1].distance > _SAME_SHELL:
            if shells and shells[-1].first > neighbors:
                break
            shells.append(Shell(distance, rank, []))
        shells[-1].symbols.append(symbols[other])
    return shells


def _cutoff_of(structure: Structure, site: int, neighbors: int) -> float:
    """Return the distance in angstrom at which a neighbour of `site` counts half."""
    return float(nearest_neighbors(structure.cart_coords, structure.lattice.matrix, neighbors).cutoff[site])


def _draw_shell(axes: Axes, shell: Shell, neighbors: int, styles: dict[str, ElementStyle], label_height: float) -> None:
    """Draw a mark for each neighbour of a shell: filled up to the cut, open beyond it."""
    ordered = sorted(shell.symbols, key=list(styles).index)
    axes.plot(2 * [shell.distance], [shell.first, shell.last], color="#e3e6eb", linewidth=15, solid_capstyle="round")
    for rank, symbol in enumerate(ordered, start=shell.first):
        style = styles[symbol]
        axes.plot(shell.distance, rank, marker=style.marker, markersize=6, markeredgecolor=style.color,
                  markerfacecolor=style.color if rank <= neighbors else "white", markeredgewidth=1.2)  # fmt: skip
    counted = " + ".join(f"{ordered.count(symbol)} {symbol}" for symbol in dict.fromkeys(ordered))
    axes.annotate(f"{counted}, {shell.distance:.2f} Å", (shell.distance, label_height), (13, 0),
                  textcoords="offset points", va="center", fontsize=SMALL)  # fmt: skip


def _shell_message(shells: list[Shell], neighbors: int, cutoff: float) -> str:
    """Return what a fixed cut does to these shells, and the weight that the graph gives each atom instead."""
    for shell in shells:
        if shell.first <= neighbors < shell.last:
            return (
                f"A cut after {neighbors} takes {neighbors - shell.first + 1} of {len(shell.symbols)} atoms at one "
                f"distance;\nin our graph, each of the {len(shell.symbols)} has the weight "
                f"{neighbor_weight(np.float64(shell.distance), np.float64(cutoff)):.2f}"
            )
    return f"A cut after {neighbors} falls between two shells"
