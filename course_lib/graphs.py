"""Crystal graphs: every atom joined to its nearest neighbours, all periodic images counted.

The weights of an atom's neighbours add up to 12. A weight falls smoothly from 1 to 0 where the nearest 12 end, so a
graph, and the prediction of a network from it, is a continuous function of the positions: equal neighbours have equal
weights, and a neighbour that moves away fades out.

A whole dataset is a handful of flat arrays (species, neighbour indices, edge
vectors, offsets), so a batch is cut out by slicing and nothing is stored twice.
A dataset larger than the memory is built straight into files and memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from vesin import NeighborList

from course_lib import graph_files
from course_lib.validation import (
    CLOSEST,
    MOST_ATOMS,
    check_columns,
    check_given_ids,
    check_jobs,
    check_number,
    check_same_length,
    check_same_order,
    check_structure,
    check_targets,
    check_unique_ids,
    describe_row,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Batch

Values = TypeVar("Values", np.ndarray, torch.Tensor)

NEIGHBORS = 12
"""Number of nearest neighbours of every atom, by weight (Xie and Grossman, 2018)."""

FADE_WIDTH = 0.3
"""Width of the range of distances, in angstrom, within which the weight of a neighbour falls from 1 to 0."""

BOND_TOLERANCE = 1e-4
"""Edges between the same two atoms whose lengths differ by less than this (in angstrom) are one bond.

A bond has the mean length of its edges, so the resulting error of a prediction is of second order.
"""

_NEGLIGIBLE = 1e-6  # neighbours of a smaller weight are left out
_LONGEST = 500.0  # angstrom; no edge of a cell is longer
_FARTHEST = 1e5  # angstrom; larger coordinates lose their digits
_MOST_IMAGES = 100_000  # of a cell within the radius
_CROWD = 500  # from this number of atoms on, the code checks whether they lie in a heap
_CUBE, _MOST_IN_CUBE = 4.0, 30  # angstrom; atoms: there are 11 in diamond
_MOST_PAIRS = 5_000_000  # of atoms within the radius
_CHUNK = 250  # crystals searched together, and handed to a worker process
_COUNTS = {"n_atoms": "atom_offset", "n_bonds": "bond_offset", "n_edges": "edge_offset"}  # of a chunk; of all


@dataclass(frozen=True, eq=False)
class CrystalGraphs:
    """The graphs of many crystals as flat arrays; make it with `from_structures` or `load`.

    An *edge* joins an atom (``target``, the one that receives the message) to one periodic image of a neighbour
    (``source``). Symmetry makes many edges equivalent: in rock salt, an atom has six neighbours at one distance, all of
    them images of one atom. A *bond* stands for all edges between the same two atoms at the same distance, and
    ``count`` says how many there are. A model that sees only distances computes each message once per bond and counts
    it that many times; a model that sees directions reads the edges.

    Each atom has a *cutoff*, and an edge into it the weight `neighbor_weight`, which is 1 for the nearest neighbours
    and falls to 0 around the cutoff; the weights of an atom's edges add up to the number of neighbours asked for.

    Crystal ``b`` has the atoms ``atom_offset[b]:atom_offset[b + 1]``, and likewise its bonds and edges. Bonds are
    sorted by target, then by source, then by length; edges follow the order of their bonds.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (B,)
        Name of each crystal.
    species : numpy.ndarray of uint8, shape (n_atoms,)
        Atomic numbers.
    cutoff : numpy.ndarray of float32, shape (n_atoms,)
        Distance in angstrom at which a neighbour of the atom has the weight 1/2.
    atom_offset, bond_offset, edge_offset : numpy.ndarray of int64, shape (B + 1,)
        Where each crystal's atoms, bonds and edges begin.
    source, target : numpy.ndarray of int32, shape (n_bonds,)
        Atom indices within the crystal.
    count : numpy.ndarray of int32, shape (n_bonds,)
        How many edges the bond stands for.
    weight : numpy.ndarray of float32, shape (n_bonds,)
        Mean of the weights of these edges, between 0 and 1.
    vector : numpy.ndarray of float32, shape (n_edges, 3)
        From the target atom to this periodic image of the source atom, in angstrom.
    composition : numpy.ndarray of float32, shape (B, n_features)
        Composition features, not scaled; ``n_features`` is 0 where none were given.
    y : numpy.ndarray of float64, shape (B, n_targets)
        Targets in their own units; NaN marks a missing label.
    target_names : tuple of str
        Names of the columns of `y`.
    rows : numpy.ndarray of int64
        The crystals that this view shows; the arrays above always hold all of them.
    attrs : dict
        Other information about the dataset, in plain values, like ``DataFrame.attrs``.
    """

    ids: np.ndarray
    species: np.ndarray
    cutoff: np.ndarray
    atom_offset: np.ndarray
    bond_offset: np.ndarray
    edge_offset: np.ndarray
    source: np.ndarray
    target: np.ndarray
    count: np.ndarray
    weight: np.ndarray
    vector: np.ndarray
    composition: np.ndarray
    y: np.ndarray
    target_names: tuple[str, ...]
    rows: np.ndarray
    attrs: dict

    @classmethod
    def from_structures(
        cls,
        structures: Iterable[Structure],
        *,
        ids: Sequence[str] | None = None,
        composition: pd.DataFrame | np.ndarray | Callable[[list[Structure]], pd.DataFrame] | None = None,
        targets: pd.DataFrame | pd.Series | None = None,
        allow_missing: bool = False,
        neighbors: int = NEIGHBORS,
        n_jobs: int = 1,
        attrs: Mapping | None = None,
        folder: str | os.PathLike | None = None,
    ) -> CrystalGraphs:
        """Build the graphs of `structures`.

        Every atom is joined to its `neighbors` nearest neighbours and to all that are hardly farther away than the last
        of them, with weights that add up to `neighbors` (`neighbor_weight`), so that neighbours at equal distance are
        never split. The search radius grows until every atom has that many: a sparse crystal gets long edges, never an
        empty neighbourhood.

        With a `folder`, memory does not grow with the number of crystals: a few hundred structures are read at a
        time, their graphs are written at once, and the result is memory-mapped. `structures` may then be
        a generator that reads files, and `composition` is best a function.

        Parameters
        ----------
        structures : iterable of pymatgen.core.Structure
            Ordered crystals; B of them.
        ids : sequence of str, optional
            Their names, all different; the row numbers where not given.
        composition : DataFrame or array, shape (B, n_features), or function, optional
            Composition features, or what makes them from a list of structures, as `course_lib.composition.magpie` does.
        targets : DataFrame or Series, shape (B, n_targets) or (B,), optional
            What to predict, in any unit.
        allow_missing : bool, default False
            Accept NaN in `targets` as a missing label, to be left out of the loss.
        neighbors : int, default 12
            What the weights of each atom's neighbours add up to.
        n_jobs : int, default 1
            Worker processes; -1 for all cores. This pays off from about ten thousand crystals.
        attrs : mapping, optional
            What else to keep with the graphs, in plain values, for example the ``attrs`` of a dataset's frame.
        folder : path, optional
            Build straight into this folder, as `save` would write it, and `load` the graphs from there.

        Returns
        -------
        CrystalGraphs

        Raises
        ------
        FileExistsError
            If `folder` exists and holds anything other than graphs.
        ValueError
            For an empty or disordered structure, something that is not an element, two atoms nearer than 0.5 angstrom,
            a cell in which the search for neighbours would not end, a target that is NaN or infinite, lengths that
            differ, an id that repeats or a table whose index has the crystals in another order, or only some of them;
            the message names the row.
        """
        check_number("neighbors", neighbors, whole=True, least=1)
        check_jobs(n_jobs)
        check_columns("targets", targets)
        labels = structures.index if ids is None and isinstance(structures, pd.Series) else ids
        for name, table in (("composition", composition), ("targets", targets)):
            if labels is not None and isinstance(table, pd.DataFrame | pd.Series):
                check_same_order(name, table.index, labels)
        check_given_ids(labels)
        ids = None if ids is None else np.asarray(ids, dtype=str)
        given = _Given(ids, composition, *_as_targets(targets), dict(attrs or {}))
        _check_values(given, allow_missing)
        chunks = _chunks(structures, given, neighbors, n_jobs)
        if folder is None:
            return cls._from_arrays(_join(chunks), given)
        with graph_files.replaced(folder) as new:
            cls._from_arrays(_write(chunks, new), given)._write_rest(new)
        return cls.load(folder)

    @classmethod
    def _from_arrays(cls, arrays: dict[str, np.ndarray], given: _Given) -> CrystalGraphs:
        """Combine the graphs with the tables that were given; raise ``ValueError`` where their lengths differ."""
        n_crystals = len(arrays["atom_offset"]) - 1
        ids = np.arange(n_crystals).astype(str) if given.ids is None else given.ids
        composition = arrays.get("composition", None if callable(given.composition) else given.composition)
        composition = np.zeros((n_crystals, 0)) if composition is None else np.asarray(composition)
        y = np.zeros((n_crystals, 0)) if given.y is None else given.y
        check_same_length(structures=range(n_crystals), ids=ids)
        check_same_length(structures=range(n_crystals), composition=composition, targets=y)
        rest = {"composition": composition.astype(np.float32), "y": y.astype(np.float64), "attrs": given.attrs}
        return cls(**arrays | rest, ids=ids, target_names=given.target_names, rows=np.arange(n_crystals))

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, rows: Sequence[int] | np.ndarray) -> CrystalGraphs:
        """Return a view of the crystals at positions `rows`, or where a mask is true; it shares all arrays."""
        return replace(self, rows=self._rows_at(rows))

    def select_targets(self, names: Sequence[str]) -> CrystalGraphs:
        """Return the same crystals with only some of their targets, in the order of `names`.

        Raises
        ------
        ValueError
            If no target has one of the names, or a name occurs twice.
        """
        if len(set(names)) < len(names):
            raise ValueError(f"the targets {', '.join(names)} name one of them twice.")
        unknown = [name for name in names if name not in self.target_names]
        if unknown:
            raise ValueError(f"no target {unknown[0]!r}; the targets are {', '.join(self.target_names) or 'none'}.")
        columns = [self.target_names.index(name) for name in names]
        return replace(self, y=self.y[:, columns], target_names=tuple(names))

    def with_features(self, features: np.ndarray) -> CrystalGraphs:
        """Return the crystals of this view with other composition features; it shares no arrays.

        Parameters
        ----------
        features : array, shape (len(self), n_features)
            One row per crystal, in the order of this view.

        Raises
        ------
        ValueError
            If there are fewer or more rows than crystals, or a feature is NaN or infinite.
        """
        check_same_length(features=features, crystals=self)
        if np.ndim(features) != 2:
            raise ValueError(
                f"features has shape {np.shape(features)}; give a row per crystal and a column per feature."
            )
        check_targets(features, "composition feature", self.names)
        arrays = _join([self._gather(self.rows)]) | {"composition": np.asarray(features, dtype=np.float32)}
        return replace(self, ids=self.names, y=self.targets, rows=np.arange(len(self)), **arrays)

    @property
    def names(self) -> np.ndarray:
        """Ids of the crystals in this view, shape (len(self),)."""
        return self.ids[self.rows]

    @property
    def features(self) -> np.ndarray:
        """Composition features of the crystals in this view, float32, shape (len(self), n_features), not scaled."""
        return self.composition[self.rows]

    @property
    def targets(self) -> np.ndarray:
        """Targets of the crystals in this view, float64, shape (len(self), n_targets), NaN where missing."""
        return self.y[self.rows]

    @property
    def checksum(self) -> str:
        """SHA-256 of the crystals in this view, with their features and targets; it reads all of them once."""
        digest = hashlib.sha256(json.dumps([self.target_names, self.names.tolist()]).encode())
        for rows in _in_chunks(self.rows):
            for array in (*self._gather(rows).values(), self.y[rows]):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def species_of(self, row: int) -> np.ndarray:
        """Return the atomic numbers of the atoms of the crystal at position `row` of this view, uint8, shape (n,)."""
        b = self.rows[row]
        return self.species[self.atom_offset[b] : self.atom_offset[b + 1]]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Gather the crystals at positions `indices` of this view into one disconnected graph.

        Parameters
        ----------
        indices : sequence of int, length B
            Positions in this view, in the order wanted.

        Returns
        -------
        torch_geometric.data.Batch
            What `tensors` returns.
        """
        from torch_geometric.data import Batch  # importing PyG takes longer than many a use of this package

        tensors = self.tensors(indices)
        batch = Batch(**tensors, num_nodes=len(tensors["species"]))
        batch._num_graphs = len(tensors["y"])  # what Batch.num_graphs reads; from_data_list() sets it the same way
        return batch

    def tensors(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """Return the tensors of the disconnected graph of the crystals at positions `indices` of this view.

        Parameters
        ----------
        indices : sequence of int, length B
            Positions in this view, in the order wanted.

        Returns
        -------
        dict of str to Tensor
            ``species`` (N,) int64; ``bond_index`` (2, M) int64, row 0 the source and row 1 the target, sorted by
            target; ``bond_length`` (M,) float32, angstrom; ``bond_count`` (M,) int64, the edges of each bond, and
            ``bond_weight`` (M,) float32, the sum of their weights; ``edge_index`` (2, E) and ``edge_vector`` (E, 3)
            float32, angstrom, bond after bond; ``cutoff`` (N,) float32, angstrom; ``composition`` (B, n_features);
            ``y`` (B, n_targets) with 0 where missing and ``y_mask`` (B, n_targets) bool, true where there is a label;
            PyG's ``batch`` (N,) and ``ptr`` (B + 1,).
        """
        rows = self._rows_at(indices)
        atoms, n_atoms = _slices(self.atom_offset, rows)
        bonds, n_bonds = _slices(self.bond_offset, rows)
        edges, _ = _slices(self.edge_offset, rows)
        ptr = _offsets(n_atoms)
        shift = np.repeat(ptr[:-1], n_bonds)
        bond_index = np.stack([self.source[bonds] + shift, self.target[bonds] + shift])
        count, vector = self.count[bonds], self.vector[edges]
        length = np.sqrt(np.einsum("ek,ek->e", vector, vector))
        number = count.astype(np.float32)
        y = self.y[rows]
        known = ~np.isnan(y)
        return {
            "species": torch.from_numpy(self.species[atoms].astype(np.int64)),
            "cutoff": torch.from_numpy(self.cutoff[atoms]),
            "bond_index": torch.from_numpy(bond_index),
            "bond_length": torch.from_numpy(np.add.reduceat(length, _offsets(count)[:-1]) / number),
            "bond_count": torch.from_numpy(count.astype(np.int64)),
            "bond_weight": torch.from_numpy(number * self.weight[bonds]),
            "edge_index": torch.from_numpy(np.repeat(bond_index, count, axis=1)),
            "edge_vector": torch.from_numpy(vector),
            "composition": torch.from_numpy(self.composition[rows]),
            "y": torch.from_numpy(np.where(known, y, 0).astype(np.float32)),
            "y_mask": torch.from_numpy(known),
            "batch": torch.from_numpy(np.repeat(np.arange(len(rows)), n_atoms)),
            "ptr": torch.from_numpy(ptr),
        }

    def save(self, folder: str | os.PathLike) -> None:
        """Write the graphs to `folder` (made new, or replaced): one ``.npy`` file per array, no pickle.

        The old set changes into the new one in one step (`course_lib.graph_files`), so an interruption loses nothing.
        Graphs that are memory-mapped pass through the memory a few hundred at a time.

        Raises
        ------
        FileExistsError
            If `folder` exists and holds anything other than graphs.
        TimeoutError
            If another process writes there.
        """
        with graph_files.replaced(folder) as new:
            rest = {"ids": self.names, "y": self.targets, "rows": np.arange(len(self))}
            replace(self, **rest, **_write(map(self._gather, _in_chunks(self.rows)), new))._write_rest(new)

    def _write_rest(self, folder: Path) -> None:
        """Write to `folder` what `_write` has not written there."""
        for name in graph_files.ARRAYS:
            if not (folder / f"{name}.npy").exists():
                np.save(folder / f"{name}.npy", np.ascontiguousarray(getattr(self, name)), allow_pickle=False)
        about = {"target_names": self.target_names, "ids": self.ids.tolist(), "attrs": self.attrs}
        graph_files.finish(folder, about)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> CrystalGraphs:
        """Open graphs that `save` wrote; the arrays are checked once and then memory-mapped.

        Another process may replace the folder meanwhile: what is opened is the old set or the new one.

        Raises
        ------
        FileNotFoundError
            If the folder or one of its files is missing.
        ValueError
            If a file is damaged or of another format, or the files do not fit together.
        """
        about, arrays = graph_files.read(folder)
        ids = np.asarray(about["ids"], dtype=str)
        names = tuple(about["target_names"])
        return cls(**arrays, ids=ids, target_names=names, rows=np.arange(len(ids)), attrs=about["attrs"])

    def _rows_at(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the crystals at `positions` of this view; a mask of its length picks where it is true."""
        positions = np.asarray(positions)
        if positions.dtype == bool:
            check_same_length(mask=positions, crystals=self)
        return self.rows[positions if len(positions) else []]

    def _gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the crystals `rows` as one chunk, in the form that `_build_chunk` gives."""
        atoms, n_atoms = _slices(self.atom_offset, rows)
        bonds, n_bonds = _slices(self.bond_offset, rows)
        edges, n_edges = _slices(self.edge_offset, rows)
        return {
            "n_atoms": n_atoms,
            "n_bonds": n_bonds,
            "n_edges": n_edges,
            "species": self.species[atoms],
            "cutoff": self.cutoff[atoms],
            "source": self.source[bonds],
            "target": self.target[bonds],
            "count": self.count[bonds],
            "weight": self.weight[bonds],
            "vector": self.vector[edges],
            "composition": self.composition[rows],
        }


def neighbor_weight(distance: Values, cutoff: Values) -> Values:
    r"""Return how much neighbours count: 1 well inside the cutoff of their atom, 0 well outside, 1/2 at the cutoff.

    .. math:: w(d) = u^2 (3 - 2 u), \qquad u = 1/2 - (d - d_{\mathrm{cut}}) / \delta \ \text{ between 0 and 1}

    with :math:`\delta` the `FADE_WIDTH`. Value and slope are continuous.

    Parameters
    ----------
    distance, cutoff : numpy.ndarray or Tensor, shapes (E,)
        Of each neighbour, and of the atom whose neighbour it is; in angstrom.

    Returns
    -------
    numpy.ndarray or Tensor, shape (E,)
    """
    u = (0.5 - (distance - cutoff) / FADE_WIDTH).clip(0, 1)
    return u * u * (3 - 2 * u)


class Neighbors(NamedTuple):
    """The neighbours of all atoms, sorted by atom and then by distance.

    Attributes
    ----------
    source, target : numpy.ndarray of int, shape (E,)
        Neighbour and atom.
    vector : numpy.ndarray, shape (E, 3)
        From the atom to its neighbour, in angstrom.
    cutoff : numpy.ndarray, shape (n,)
        Distance in angstrom at which a neighbour of each atom has the weight 1/2.
    """

    source: np.ndarray
    target: np.ndarray
    vector: np.ndarray
    cutoff: np.ndarray


def nearest_neighbors(positions: np.ndarray, cell: np.ndarray, neighbors: int = NEIGHBORS) -> Neighbors:
    """Find all neighbours with a weight above zero of every atom.

    Parameters
    ----------
    positions : numpy.ndarray, shape (n, 3)
        Cartesian coordinates in angstrom.
    cell : numpy.ndarray, shape (3, 3)
        Lattice vectors as rows, in angstrom.
    neighbors : int, default 12
        What the weights of each atom's neighbours add up to.

    Returns
    -------
    Neighbors

    Raises
    ------
    ValueError
        If two atoms are nearer than 0.5 angstrom, a coordinate or the cell is not a finite number, or the search
        would not end: more than 20 000 atoms, an edge longer than 500 angstrom, a cell that is almost flat.
    """
    return _search([positions], [cell], neighbors, ["the crystal"])


def _search(positions: list[np.ndarray], cells: list[np.ndarray], neighbors: int, names: list[str]) -> Neighbors:
    """Do what `nearest_neighbors` does for many crystals, whose atoms are numbered consecutively.

    Only vesin's search runs crystal by crystal; all else is done for all edges at once.
    """
    _check_geometry(positions, cells, names)
    n_atoms = np.array([len(points) for points in positions])
    offset = _offsets(n_atoms)
    crystal = np.repeat(np.arange(len(n_atoms)), n_atoms)  # of each atom
    cutoff = np.zeros(len(crystal))
    radius = _first_radius(np.stack(cells), n_atoms, neighbors)
    search = NeighborList(cutoff=1.0, full_list=True, n_threads=1)
    todo, edges = np.arange(len(n_atoms)), []
    while len(todo):
        pairs, vectors = [], []
        for c in todo:
            _check_images(cells[c], radius[c], names[c])
            search.cutoff = radius[c]
            pair, vector = search.compute(positions[c], cells[c], True, "PD")
            if len(pair) > _MOST_PAIRS:
                raise ValueError(
                    f"{names[c]}: {len(pair)} pairs of atoms are nearer than {radius[c]:.1f} angstrom: its atoms lie "
                    "in a heap. Fix its file or drop the row."
                )
            pairs.append(pair.astype(np.int64) + offset[c])
            vectors.append(vector)
        (target, source), vector = np.concatenate(pairs).T, np.concatenate(vectors)
        distance = np.sqrt(np.einsum("ek,ek->e", vector, vector))
        order = np.lexsort((distance, target))
        source, target, vector, distance = source[order], target[order], vector[order], distance[order]
        _check_apart(source, target, distance, crystal, offset, names)

        count = np.bincount(target, minlength=len(crystal))
        enough = count >= neighbors
        last = np.full(len(crystal), np.inf)  # distance of the last of the nearest neighbours
        last[enough] = distance[(np.cumsum(count) - count)[enough] + neighbors - 1]
        # A crystal is done when, for each of its atoms, all neighbours that may have a weight lie within the radius.
        done = np.logical_and.reduceat(last + FADE_WIDTH < radius[crystal], offset[:-1])
        keep = done[crystal[target]] & (distance < last[target] + FADE_WIDTH)
        source, target, vector, distance = source[keep], target[keep], vector[keep], distance[keep]
        atoms = np.flatnonzero(done[crystal] & (count > 0))
        cutoff[atoms] = _solve_cutoff(distance, np.searchsorted(target, atoms), last[atoms], neighbors)
        keep = neighbor_weight(distance, cutoff[target]) > _NEGLIGIBLE
        edges.append((source[keep], target[keep], vector[keep]))
        todo = todo[~done[todo]]
        radius[todo] *= 1.25
    return Neighbors(*(np.concatenate(column) for column in zip(*edges, strict=True)), cutoff)


def _first_radius(cells: np.ndarray, n_atoms: np.ndarray, neighbors: int) -> np.ndarray:
    """Return the radius (angstrom) with which each search begins; it grows where it does not hold the neighbours.

    In a crystal of even density, a sphere of it holds a few more than are wanted. Beyond 8 angstrom the density is
    not even: there is a vacuum.
    """
    volume = np.abs(np.linalg.det(cells))
    return np.minimum((3 * 1.6 * (neighbors + 1) * volume / (4 * np.pi * n_atoms)) ** (1 / 3), 8.0) + FADE_WIDTH


def _solve_cutoff(distance: np.ndarray, first: np.ndarray, last: np.ndarray, neighbors: int) -> np.ndarray:
    """Return the cutoff of each atom with which the weights of its neighbours add up to `neighbors`.

    Parameters
    ----------
    distance : numpy.ndarray, shape (E,)
        Of the neighbours, atom after atom.
    first : numpy.ndarray of int, shape (n,)
        Position of each atom's first neighbour.
    last : numpy.ndarray, shape (n,)
        Distance of each atom's last one, counting `neighbors` of them.
    """
    if not len(first):
        return last
    count = np.diff(first, append=len(distance))
    # With the lower bound, at most `neighbors` - 1 have a weight; with the upper, at least `neighbors` have all of it.
    low, high = last - FADE_WIDTH / 2, last + FADE_WIDTH / 2
    for _ in range(50):  # bisection, to the last digit
        middle = (low + high) / 2
        total = np.add.reduceat(neighbor_weight(distance, np.repeat(middle, count)), first)
        low, high = np.where(total < neighbors, middle, low), np.where(total < neighbors, high, middle)
    return high


def _check_geometry(positions: list[np.ndarray], cells: list[np.ndarray], names: list[str]) -> None:
    """Raise ``ValueError`` for a crystal whose numbers would make vesin end the process."""
    if not (np.isfinite(np.concatenate(positions)).all() and np.isfinite(np.stack(cells)).all()):
        for points, cell, name in zip(positions, cells, names, strict=True):
            if not (np.isfinite(points).all() and np.isfinite(cell).all()):
                raise ValueError(
                    f"{name}: NaN or infinity among its coordinates or lattice vectors. Fix its file or drop the row."
                )
    for points, cell, name in zip(positions, cells, names, strict=True):
        longest = np.abs(cell).max()
        if len(points) > MOST_ATOMS:
            raise ValueError(f"{name}: {len(points)} atoms; crystals have at most {MOST_ATOMS} here. Drop the row.")
        if longest > _LONGEST:
            raise ValueError(
                f"{name}: an edge of its cell is {longest:.4g} angstrom long, more than the {_LONGEST:g} that are "
                "allowed. Fix its file or drop the row."
            )
        if np.abs(points).max() > _FARTHEST:
            raise ValueError(
                f"{name}: an atom has the coordinate {np.abs(points).max():.4g} angstrom, far outside the cell. "
                "Fix its file or drop the row."
            )
    volume = np.abs(np.linalg.det(np.stack(cells)))
    if volume.min() < CLOSEST**3:
        c = int(np.argmin(volume))
        raise ValueError(
            f"{names[c]}: its cell has a volume of {volume[c]:.2g} cubic angstrom, so its lattice vectors are wrong. "
            "Fix its file or drop the row."
        )
    for points, cell, name in zip(positions, cells, names, strict=True):
        if len(points) > _CROWD:
            _check_crowd(points, cell, name)


def _check_crowd(points: np.ndarray, cell: np.ndarray, name: str) -> None:
    """Raise ``ValueError`` when a cube holds more atoms than in any solid, which gives too many pairs to search."""
    points = np.linalg.solve(cell.T, points.T).T % 1 @ cell
    count = np.unique(np.floor(points / _CUBE), axis=0, return_counts=True)[1].max()
    if count > _MOST_IN_CUBE:
        raise ValueError(
            f"{name}: {count} atoms are in a cube of {_CUBE:g} angstrom, but no solid has more than {_MOST_IN_CUBE}. "
            "Fix its file or drop the row."
        )


def _check_images(cell: np.ndarray, radius: float, name: str) -> None:
    """Raise ``ValueError`` when too many images of a cell are within a radius, as with a tiny angle."""
    faces = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    heights = np.abs(np.linalg.det(cell)) / faces
    if np.prod(2 * np.ceil(radius / heights) + 1) > _MOST_IMAGES:
        raise ValueError(
            f"{name}: its cell is too flat: the distances between its faces are "
            f"{', '.join(f'{height:.2g}' for height in heights)} angstrom. Fix its file or drop the row."
        )


def _check_apart(
    source: np.ndarray, target: np.ndarray, distance: np.ndarray, crystal: np.ndarray, offset: np.ndarray, names: list
) -> None:
    """Raise ``ValueError`` naming the two sites when two atoms are nearer than in any crystal."""
    if distance.min(initial=np.inf) < CLOSEST:
        edge = int(np.argmin(distance))
        c = crystal[target[edge]]
        _raise_too_near(names[c], target[edge] - offset[c], source[edge] - offset[c], distance[edge])


def _raise_too_near(name: str, one: int, other: int, distance: float) -> None:
    sites = f"site {one} and its own image" if one == other else f"sites {one} and {other}"
    raise ValueError(
        f"{name}: {sites} are {distance:.3f} angstrom apart, nearer than {CLOSEST} angstrom. Remove the double site "
        "(structure.merge_sites) or fix the lattice vectors."
    )


class _Given(NamedTuple):
    """The tables that are given with the structures."""

    ids: np.ndarray | None
    composition: pd.DataFrame | np.ndarray | Callable[[list[Structure]], pd.DataFrame] | None
    y: np.ndarray | None
    target_names: tuple[str, ...]
    attrs: dict


def _check_values(given: _Given, allow_missing: bool) -> None:
    """Raise ``ValueError`` for an id that repeats or a number that is not finite, before the work starts."""
    if given.ids is not None:
        check_unique_ids(given.ids.tolist())

    def check(table: np.ndarray, name: str) -> None:
        # If lengths differ, the row number is used; the difference is reported at the end.
        check_targets(table, name, given.ids if given.ids is not None and len(given.ids) == len(table) else None)

    if given.composition is not None and not callable(given.composition):
        check(np.asarray(given.composition), "composition feature")
    if given.y is not None:
        check(np.where(np.isnan(given.y), 0.0, given.y) if allow_missing else given.y, "target")


def _chunks(
    structures: Iterable[Structure], given: _Given, neighbors: int, n_jobs: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the chunks of `_build_chunk`, a few hundred structures each; at least one."""
    built = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_build_chunk)(*chunk, neighbors) for chunk in _read_chunks(structures, given)
    )
    first = next(built, None)
    yield _no_crystals() if first is None else first
    yield from built


def _read_chunks(structures: Iterable[Structure], given: _Given) -> Iterator[tuple[list[tuple], np.ndarray | None]]:
    """Yield all that a worker process needs: (name of the row, atomic numbers, positions, cell); and the features."""
    rows = enumerate(structures)
    while chunk := list(islice(rows, _CHUNK)):
        arrays = []
        for row, structure in chunk:
            known = given.ids if given.ids is not None and row < len(given.ids) else None
            check_structure(structure, row, known)
            name = describe_row(row, known)
            arrays.append((name, structure.atomic_numbers, structure.cart_coords, structure.lattice.matrix))
        features = None
        if callable(given.composition):
            features = np.asarray(given.composition([structure for _, structure in chunk]), dtype=np.float32)
            check_targets(features, "composition feature", [str(row) for row, _ in chunk])
        yield arrays, features


def _in_chunks(rows: np.ndarray) -> list[np.ndarray]:
    """Cut positions of crystals into chunks, at least one."""
    return np.array_split(rows, -(-len(rows) // _CHUNK) or 1)


def _join(chunks: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Lay all chunks end to end, in memory."""
    chunks = list(chunks)
    arrays = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {_COUNTS.get(name, name): _offsets(array) if name in _COUNTS else array for name, array in arrays.items()}


def _write(chunks: Iterable[dict[str, np.ndarray]], folder: Path) -> dict[str, np.ndarray]:
    """Lay all chunks end to end in files of `folder`, without the offsets; return the arrays, memory-mapped."""
    counts, files = {name: [] for name in _COUNTS}, {}
    with ExitStack() as stack:
        for chunk in chunks:
            for name, array in chunk.items():
                if name in _COUNTS:
                    counts[name].append(array)
                    continue
                if name not in files:
                    files[name] = stack.enter_context(_NpyFile(folder / f"{name}.npy", array))
                files[name].append(array)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in files}
    return arrays | {_COUNTS[name]: _offsets(np.concatenate(lengths)) for name, lengths in counts.items()}


class _NpyFile:
    """A ``.npy`` file that is written piece by piece: its header gets the final length at the end.

    NumPy leaves room in the header for the length to grow, so the second header is as long as the first.
    """

    def __init__(self, path: Path, like: np.ndarray):
        self._file = path.open("wb")
        self._like = like
        self._length = 0
        self._write_header()

    def __enter__(self) -> _NpyFile:
        return self

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = np.lib.format.header_data_from_array_1_0(self._like) | {"fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (self._length, *self._like.shape[1:])})

    def append(self, rows: np.ndarray) -> None:
        """Write some more rows."""
        self._file.write(rows.tobytes())
        self._length += len(rows)


def _join_equivalent(source: np.ndarray, target: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order edges by target, source and length; return the order and the number of edges in each bond."""
    length = np.sqrt(np.einsum("ek,ek->e", vector, vector))
    order = np.lexsort((length, source, target))
    source, target, length = source[order], target[order], length[order]
    equivalent = (target[1:] == target[:-1]) & (source[1:] == source[:-1]) & (length[1:] - length[:-1] < BOND_TOLERANCE)
    first = np.flatnonzero(np.concatenate([[True], ~equivalent]))
    return order, np.diff(first, append=len(order))


def _build_chunk(crystals: list[tuple], features: np.ndarray | None, neighbors: int) -> dict[str, np.ndarray]:
    """Return the arrays of some crystals, laid end to end: of `graph_files.ARRAYS`, with lengths for offsets."""
    names, numbers, positions, cells = (list(column) for column in zip(*crystals, strict=True))
    source, target, vector, cutoff = _search(positions, cells, neighbors, names)
    order, count = _join_equivalent(source, target, vector)
    start = np.cumsum(count) - count
    first = order[start]  # edge of each bond
    weight = neighbor_weight(np.sqrt(np.einsum("ek,ek->e", vector, vector)), cutoff[target])[order]
    n_atoms = np.array([len(points) for points in positions])
    crystal = np.repeat(np.arange(len(names)), n_atoms)  # of each atom
    n_bonds, n_edges = (np.bincount(crystal[target[edges]], minlength=len(names)) for edges in (first, order))
    shift = np.repeat(_offsets(n_atoms)[:-1], n_bonds)  # atom numbers start again in each crystal
    chunk = {
        "n_atoms": n_atoms,
        "n_bonds": n_bonds,
        "n_edges": n_edges,
        "species": np.concatenate(numbers).astype(np.uint8),
        "cutoff": cutoff.astype(np.float32),
        "source": (source[first] - shift).astype(np.int32),
        "target": (target[first] - shift).astype(np.int32),
        "count": count.astype(np.int32),
        "weight": (np.add.reduceat(weight, start) / count).astype(np.float32),
        "vector": vector[order].astype(np.float32),
    }
    return chunk if features is None else chunk | {"composition": features}


def _no_crystals() -> dict[str, np.ndarray]:
    """Return what `_build_chunk` would for no crystals at all."""
    chunk = {name: np.zeros(0, np.int64) for name in _COUNTS}
    chunk |= {"species": np.zeros(0, np.uint8), "vector": np.zeros((0, 3), np.float32)}
    chunk |= {name: np.zeros(0, np.float32) for name in ("cutoff", "weight")}
    return chunk | {name: np.zeros(0, np.int32) for name in ("source", "target", "count")}


def _as_targets(targets: pd.DataFrame | pd.Series | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the targets as a float array (B, n_targets) and their names; raise ``ValueError`` where one is text."""
    if targets is None:
        return None, ()
    frame = targets.to_frame() if isinstance(targets, pd.Series) else targets
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    text = np.argwhere((numbers.isna() & frame.notna()).to_numpy())
    if len(text):
        row, column = text[0]
        raise ValueError(
            f"target {frame.columns[column]!r}: row {row} is {frame.iat[row, column]!r}, not a number. "
            "Fix the label or drop the row."
        )
    return numbers.to_numpy(dtype=float), tuple(map(str, frame.columns))


def _offsets(length: np.ndarray) -> np.ndarray:
    """Return where pieces of the given lengths begin when laid end to end, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(length)])


def _slices(offset: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions ``offset[r]:offset[r + 1]`` of all `rows`, concatenated, and their lengths."""
    start = offset[rows]
    length = offset[rows + 1] - start
    end = np.cumsum(length)
    return np.arange(end[-1] if len(end) else 0) + np.repeat(start - (end - length), length), length
