"""The explorer of a crystal graph: what a cutoff radius takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_lib.graphs import NEIGHBORS
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.crystals import Shell, shells_of
from course_lib.teaching.figures.explorers import plot_neighbor_count, plot_shells_in_crystal
from course_lib.teaching.figures.style import INK, MUTED
from course_lib.validation import check_number

if TYPE_CHECKING:
    from pymatgen.core import Structure


def graph_explorer(structure: Structure, site: int = 0, cutoffs: Sequence[float] | None = None) -> Explorer:
    """Let the reader set the cutoff radius of a crystal graph, and see neighbours, shells and edges.

    Parameters
    ----------
    structure : pymatgen.core.Structure
        A crystal.
    site : int, default 0
        The atom whose neighbours are drawn.
    cutoffs : sequence of float, optional
        The radii in angstrom, ascending, the last one beyond the first shell. Where not given: every quarter of an
        angstrom, from below the first shell to the one that holds the 48th neighbour.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If the site does not exist, or the cutoffs are not positive numbers, do not ascend or take in no neighbour.
    """
    check_number("site", site, whole=True, least=0, most=len(structure) - 1)
    cutoffs = _quarters(structure, site) if cutoffs is None else list(cutoffs)
    for cutoff in cutoffs:
        check_number("a number of cutoffs", cutoff, above=0)
    if not cutoffs or cutoffs != sorted(set(cutoffs)):
        raise ValueError(f"cutoffs are {cutoffs}; give each once, in ascending order.")
    shells = _shells_within(structure, site, cutoffs[-1])
    if not shells:
        raise ValueError(f"the largest cutoff, {cutoffs[-1]} Å, takes in no neighbour. Give a larger one.")
    frames = _Frames(structure, site, shells, cutoffs[-1])
    enough = [rank for rank, cutoff in enumerate(cutoffs) if frames.n_neighbors(cutoff) >= NEIGHBORS]
    start = enough[0] if enough else len(cutoffs) - 1
    choice = Choice("cutoff", tuple(map(_angstrom, cutoffs)), start, slider=True)
    return Explorer([choice], {(rank,): frames.frame(cutoff) for rank, cutoff in enumerate(cutoffs)})


def _quarters(structure: Structure, site: int) -> list[float]:
    """Return cutoffs from below the first shell to the one that holds the fourth dozen of neighbours."""
    *shells, _ = shells_of(structure, site, 4 * NEIGHBORS)
    first, last = np.ceil(4 * shells[0].distance) - 1, np.ceil(4 * shells[-1].distance)
    return (np.arange(first, last + 1) / 4).tolist()


def _shells_within(structure: Structure, site: int, cutoff: float) -> list[Shell]:
    neighbors = NEIGHBORS
    while (shells := shells_of(structure, site, neighbors))[-1].distance <= cutoff:
        neighbors *= 2
    return [shell for shell in shells if shell.distance <= cutoff]


def _angstrom(distance: float) -> str:
    return f"{distance:.2f} Å"


class _Frames:
    """The frames of one crystal: a picture of it for each shell, and one of the counts."""

    def __init__(self, structure: Structure, site: int, shells: list[Shell], reach: float):
        self.structure, self.site, self.shells = structure, site, shells
        self.element = structure[site].specie.symbol
        self.crystals = [plot_shells_in_crystal(structure, site, shells[:n], reach) for n in range(len(shells) + 1)]
        self.crystal_pictures = [picture(figure, self._crystal_alt(n)) for n, figure in enumerate(self.crystals)]
        self.count = plot_neighbor_count(shells, reach)
        self.count_picture = picture(self.count, "Number of neighbours against the radius, with a step at each shell.")

    def n_neighbors(self, cutoff: float) -> int:
        return sum(len(shell.symbols) for shell in self._inside(cutoff))

    def frame(self, cutoff: float) -> Frame:
        inside = self._inside(cutoff)
        n_edges = len(self.structure.get_neighbor_list(cutoff)[0])
        counts = {
            f"neighbours of {self.element}": f"{self.n_neighbors(cutoff)}",
            "edges in the cell": f"{n_edges}",
            "edges per atom": f"{n_edges / len(self.structure):.4g}",
        }
        lines = {"cutoff": _angstrom(cutoff)}, counts, {"shells": "; ".join(map(_describe, inside)) or "none"}
        crystal = (self.crystal_pictures[len(inside)], self._sphere(len(inside), cutoff))
        return Frame((crystal, (self.count_picture, self._mark(cutoff))), lines)

    def _inside(self, cutoff: float) -> list[Shell]:
        return [shell for shell in self.shells if shell.distance <= cutoff]

    def _crystal_alt(self, n_shells: int) -> str:
        n_lines = sum(len(shell.symbols) for shell in self.shells[:n_shells])
        return f"The crystal, one {self.element} atom at its centre, with lines to its {n_lines} nearest neighbours."

    def _sphere(self, n_shells: int, cutoff: float) -> str:
        figure = self.crystals[n_shells]
        layer = Layer(figure).ring(figure.axes[0], 0.0, 0.0, MUTED, radius=cutoff)
        return layer.html(f"A circle shows the cutoff of {_angstrom(cutoff)}.")

    def _mark(self, cutoff: float) -> str:
        axes = self.count.axes[0]
        (start, _), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        layer = Layer(self.count).line(axes, (cutoff, cutoff), (bottom, top), INK, 2.0)
        layer.band(axes, (start, cutoff), (bottom, top), MUTED)
        return layer.html(f"The cutoff of {_angstrom(cutoff)} takes in {self.n_neighbors(cutoff)} neighbours.")


def _describe(shell: Shell) -> str:
    counted = " + ".join(f"{shell.symbols.count(symbol)} {symbol}" for symbol in sorted(set(shell.symbols)))
    return f"{counted} at {_angstrom(shell.distance)}"
