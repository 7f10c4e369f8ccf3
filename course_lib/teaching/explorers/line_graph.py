"""The explorer of a line graph: one atom moves, and angle, cosine, pairs and the predictions of networks follow."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from course_lib.graphs import CrystalGraphs
from course_lib.methods import LABELS
from course_lib.models import ALIGNN
from course_lib.models.line_graph import line_graph, undirected
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.explorers import plot_trio_axes, plot_trio_line_graph
from course_lib.teaching.figures.style import COLORS, INK, MUTED, colors_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

_MOVING, _MIDDLE, _FIXED = range(3)
_ATOM_COLORS = (COLORS[5], COLORS[6], COLORS[2])


def line_graph_explorer(trios: pd.Series, energies: pd.DataFrame, unit: str = "eV") -> Explorer:
    """Let the reader move one of three atoms, and see the angle, the line graph and the predictions of networks.

    Parameters
    ----------
    trios : Series of pymatgen.core.Structure
        Three atoms each, in the order: the one that moves, the middle one, the one that stays. Indexed by the distance
        of the first two in angstrom and the angle at the middle one in degrees, for each distance the same angles.
    energies : DataFrame
        With the same index: the first column is the target of the networks, the others are their predictions.
    unit : str, default "eV"
        Unit of the energies.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If a structure does not have three atoms, or the energies have another index.
    """
    _check(trios, energies)
    results = _Trios(trios, energies, unit)
    lengths, angles = (list(level.unique()) for level in (trios.index.get_level_values(k) for k in range(2)))
    frames = {
        (row, column): results.frame(length, angle)
        for row, length in enumerate(lengths)
        for column, angle in enumerate(angles)
    }
    choices = [
        Choice(results.distance, tuple(map(_angstrom, lengths)), len(lengths) // 2),
        Choice("θ", tuple(map(_degrees, angles)), angles.index(min(angles, key=lambda angle: abs(angle - 110))), True),
    ]
    return Explorer(choices, frames)


class _Trios:
    """The pictures of all trios: one of atoms, and one line graph with curves for each distance and set of pairs."""

    def __init__(self, trios: pd.Series, energies: pd.DataFrame, unit: str):
        self.trios, self.energies, self.unit = trios, energies, unit
        self.symbols = [site.specie.symbol for site in trios.iloc[0]]
        self.distance = f"{self.symbols[_MOVING]}–{self.symbols[_MIDDLE]}"
        self.basis = ALIGNN(hidden=1, alignn_layers=1, gcn_layers=1).angle_basis
        reach = max(trios.index.get_level_values(0))
        self.atoms = plot_trio_axes(reach, (self.symbols[_MOVING], self.symbols[_MIDDLE]), len(self.basis.centers))
        self.atoms_picture = picture(self.atoms, "Axes for three atoms, and for a row of cells over the cosine.")
        margin = 0.05 * np.ptp(energies.to_numpy())
        self.limits = (energies.to_numpy().min() - margin, energies.to_numpy().max() + margin)
        self.drawn = lru_cache(maxsize=None)(self._draw)

    def frame(self, length: float, angle: float) -> Frame:
        edges, pairs, cosine = _line_graph_of(self.trios[length, angle])
        energies = self.energies.loc[(length, angle)]
        settings = {self.distance: _angstrom(length), "θ": _degrees(angle)}
        graph = {"cos θ": f"{cosine:.2f}".replace("-", "−"), "edges": f"{len(edges)}", "pairs": f"{len(pairs)}"}
        predicted = {LABELS.get(name, name): f"{energy:.3f} {self.unit}" for name, energy in energies.items()}
        pictures = self._atoms(length, angle, cosine, edges), self._energies(length, angle, pairs)
        return Frame(pictures, (settings, graph, predicted))

    def _atoms(self, length: float, angle: float, cosine: float, edges: list) -> tuple[str, str]:
        axes, row = self.atoms.axes
        places = self.trios[length, angle].lattice.get_cartesian_coords(self.trios[length, angle].frac_coords)[:, :2]
        places = places - places[_MIDDLE]
        layer = Layer(self.atoms)
        for source, target in edges:
            if source < target:
                followed = _MIDDLE in (source, target)
                layer.line(
                    axes, *places[[source, target]].T, COLORS[1] if followed else MUTED, 3.0 if followed else 1.5
                )
        for place, color, symbol in zip(places, _ATOM_COLORS, self.symbols, strict=True):
            layer.atom(axes, *place, color, symbol)
        layer.cells(row, self.basis(torch.tensor([cosine]))[0].numpy()).line(row, (cosine, cosine), (0, 1), COLORS[1])
        alt = f"{', '.join(self.symbols)} with an angle of {_degrees(angle)} at {self.symbols[_MIDDLE]}, "
        alt += f"{len(edges)} edges, and a row of cells, dark around the cosine {cosine:.2f}."
        return self.atoms_picture, layer.html(alt)

    def _energies(self, length: float, angle: float, pairs: tuple) -> tuple[str, str]:
        figure, drawn = self.drawn(length, pairs)
        _, axes = figure.axes
        layer = Layer(figure).line(axes, (angle, angle), axes.get_ylim(), INK, 1.0)
        _, *networks = self.energies.columns
        for name, color in colors_of(networks).items():
            layer.disc(axes, angle, self.energies.loc[(length, angle), name], color)
        return drawn, layer.html(f"A mark for each network at {_degrees(angle)}.")

    def _draw(self, length: float, pairs: tuple) -> tuple:
        curves = self.energies.loc[length]
        figure = plot_trio_line_graph(self.symbols, pairs, curves, self.limits, self.unit)
        alt = (
            f"The line graph, with {len(pairs)} pairs of edges, and energies against the angle at {_angstrom(length)}."
        )
        return figure, picture(figure, alt)


def _line_graph_of(structure: Structure) -> tuple[list[tuple[int, int]], tuple, float]:
    """Return the edges of a trio, the pairs of its line graph, and the cosine at the middle atom."""
    batch = CrystalGraphs.from_structures([structure], neighbors=1).batch([0])
    edge_index, vectors, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    made = line_graph(edge_index, vectors, 3)
    edges = list(map(tuple, edge_index.T.tolist()))
    pairs = tuple((edges[first], edges[second]) for first, second in made.pair_index.T.tolist())
    return edges, pairs, made.cosine[pairs.index(((_MOVING, _MIDDLE), (_MIDDLE, _FIXED)))].item()


def _angstrom(length: float) -> str:
    return f"{length:.1f} Å"


def _degrees(angle: float) -> str:
    return f"{angle:g}°"


def _check(trios: pd.Series, energies: pd.DataFrame) -> None:
    for place, structure in trios.items():
        if len(structure) != 3:
            raise ValueError(f"the structure of {place} has {len(structure)} atoms; give exactly three atoms.")
    if not energies.index.equals(trios.index):
        raise ValueError("the energies and the trios have different indices. Give both the same distances and angles.")
