"""Whether a network keeps its promise: the same crystal, written in another way, gets the same prediction.

A crystal has no first atom, no preferred direction and many unit cells; how it is written in a file is somebody's
choice. `TRANSFORMATIONS` makes other choices, and `prediction_changes` says how much they change the predictions of a
network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation
from torch import Tensor

from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.models import CrystalModel
from course_lib.validation import check_number, check_seed


def rotated(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the crystal in another orientation, every second time as its mirror image."""
    rotation = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    return _written_again(structure, structure.lattice.matrix @ rotation.T, structure.cart_coords @ rotation.T)


def translated(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the crystal with its origin elsewhere, and each atom in another cell."""
    images = rng.integers(-3, 4, (len(structure), 3)) @ structure.lattice.matrix
    shift = rng.uniform(-20, 20, 3)  # angstrom
    return _written_again(structure, structure.lattice.matrix, structure.cart_coords + shift + images)


def reordered(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the crystal with its atoms in another order."""
    return Structure.from_sites([structure[i] for i in rng.permutation(len(structure))])


def in_another_cell(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the crystal in another cell of the same volume."""
    cell = structure.lattice.matrix.copy()
    for _ in range(4):
        a, b = rng.permutation(3)[:2]
        cell[a] += rng.integers(-2, 3) * cell[b]  # keeps the volume and the lattice
    return _written_again(structure, cell, structure.cart_coords)


def as_supercell(structure: Structure, rng: np.random.Generator) -> Structure:
    """Return the crystal in a cell that is two to six times as large."""
    while True:
        scaling = rng.integers(-2, 3, (3, 3))
        if 2 <= abs(round(np.linalg.det(scaling))) <= 6:
            return structure.make_supercell(scaling, in_place=False)


def _written_again(structure: Structure, cell: np.ndarray, positions: np.ndarray) -> Structure:
    return Structure(Lattice(cell), structure.species, positions, coords_are_cartesian=True)


TRANSFORMATIONS: dict[str, Callable[[Structure, np.random.Generator], Structure]] = {
    "orientation": rotated,
    "origin": translated,
    "order of atoms": reordered,
    "choice of cell": in_another_cell,
    "supercell": as_supercell,
}
"""The free choices in writing a crystal down: each transformation makes another one, drawn at random."""

BATCH = "rest of the batch"
"""The free choice in predicting: the other crystals in the batch."""


def prediction_changes(model: CrystalModel, structures: Sequence[Structure], seed: int = 0) -> pd.DataFrame:
    """Return how much the predictions of a network change where they must not.

    Each crystal is predicted by itself, then by itself after each of `TRANSFORMATIONS`, then in one batch with all the
    others. A change is given in units of the standard deviation of the predictions over the crystals, because a number
    is small or large only in comparison with others. In single precision, rounding alone makes changes of about 1e-6.

    Parameters
    ----------
    model : CrystalModel
        Any network, trained or not; it is used in evaluation mode, and left in the mode that it was in.
    structures : sequence of pymatgen.core.Structure
        At least two different crystals.
    seed : int, default 0
        Seed of the random draws.

    Returns
    -------
    DataFrame, shape (B, 6)
        One row per crystal, a column for each of `TRANSFORMATIONS` and one for `BATCH`; of several targets the one that
        changes most.

    Raises
    ------
    ValueError
        If a target has the same prediction for all crystals: such a network would pass every test. If there are fewer
        than two crystals, or a prediction is not a finite number.
    """
    check_number("the number of crystals", len(structures), least=2)
    check_seed(seed)
    training = model.training
    model.eval()
    try:
        return _changes(model, structures, np.random.default_rng(seed))
    finally:
        model.train(training)


def _changes(model: CrystalModel, structures: Sequence[Structure], rng: np.random.Generator) -> pd.DataFrame:
    alone = _one_by_one(model, structures)
    if not alone.isfinite().all():
        raise ValueError("a prediction is not a finite number; give the network other weights.")
    spread = alone.std(0)  # (T,)
    if not (spread > 0).all():
        raise ValueError(
            "a target has the same prediction for all crystals; give the network random weights, or train it."
        )
    others = {
        name: _one_by_one(model, [written(structure, rng) for structure in structures])
        for name, written in TRANSFORMATIONS.items()
    }
    others[BATCH] = _predict(model, structures, [range(len(structures))])
    return pd.DataFrame({name: ((other - alone).abs() / spread).amax(1).numpy() for name, other in others.items()})


def _one_by_one(model: CrystalModel, structures: Sequence[Structure]) -> Tensor:
    return _predict(model, structures, [[row] for row in range(len(structures))])


@torch.no_grad()
def _predict(model: CrystalModel, structures: Sequence[Structure], batches: Sequence[Sequence[int]]) -> Tensor:
    """Return predictions (B, T) in double precision, made batch by batch."""
    graphs = CrystalGraphs.from_structures(structures, composition=magpie(structures))
    return torch.cat([model(graphs.batch(rows)) for rows in batches]).double()
