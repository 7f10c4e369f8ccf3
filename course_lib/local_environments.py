"""Features of a crystal's local environments: which atoms are neighbours, and how far apart.

After Ward et al., PRB 96, 024104 (2017), https://doi.org/10.1103/PhysRevB.96.024104, who take the neighbours of an
atom, and their weights, from its Voronoi cell; here both are those of the crystal graph. All crystals are computed
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from course_lib.composition import by_atomic_number, element_properties
from course_lib.graphs import CrystalGraphs

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev")  # of the atoms of a crystal; matminer's names
_CHUNK = 2000  # crystals computed together
_CENTERS = np.linspace(0.6, 3.0, 25)  # of the Gaussians of the length over the radii


def local_environments(graphs: CrystalGraphs) -> pd.DataFrame:
    """Return the features of the local environments of each crystal.

    For each atom the means over its neighbours, by their weight in the graph, of

    - the difference to the neighbour in each of Magpie's 22 element properties (*local difference*),
    - the distance, and its mean absolute deviation divided by it (*neighbor distance variation*),
    - the distance over the sum of the two covalent radii (*relative distance*).

    For each crystal five statistics of these over its atoms, three of the mean distances divided by their mean, and how
    the relative distances of all neighbours are distributed, in 25 Gaussians.

    Parameters
    ----------
    graphs : CrystalGraphs
        B crystals.

    Returns
    -------
    DataFrame of float32, shape (B, 158)
        Indexed by crystal id; distances in angstrom, element properties as in `course_lib.composition.magpie`.
    """
    if not len(graphs):
        raise ValueError("there is no crystal to describe. Give at least one.")
    chunks = np.array_split(np.arange(len(graphs)), -(-len(graphs) // _CHUNK) or 1)
    parts = [_features(graphs.batch(rows)) for rows in chunks]
    return pd.DataFrame(np.concatenate(parts).astype(np.float32), index=graphs.names, columns=_labels())


def _labels() -> list[str]:
    of_atoms = [f"local difference in {name}" for name in element_properties().columns]
    of_atoms += ["neighbor distance", "neighbor distance variation", "relative distance", "shortest relative distance"]
    labels = [f"{statistic} {name}" for name in of_atoms for statistic in _STATISTICS]
    labels += [f"{name} relative bond length" for name in ("mean absolute deviation in", "max", "min")]
    return labels + [f"share of relative distances near {center:.1f}" for center in _CENTERS]


def _features(batch: Batch) -> np.ndarray:
    """Return the features of a batch from `CrystalGraphs.batch`, (B, 158)."""
    table = element_properties()
    properties, radius = by_atomic_number(table), by_atomic_number(table["CovalentRadius"] / 100)  # radius in angstrom
    species, (source, target) = batch.species.numpy(), batch.bond_index.numpy()
    length, weight = batch.bond_length.double().numpy(), batch.bond_weight.double().numpy()
    ptr = batch.ptr.numpy()
    first = np.searchsorted(target, np.arange(len(species)))  # bond of each atom; every atom has some
    total = np.add.reduceat(weight, first)

    def mean(values: np.ndarray) -> np.ndarray:
        """Average over the neighbours of each atom."""
        return (np.add.reduceat(values * weight.reshape(-1, *[1] * (values.ndim - 1)), first).T / total).T

    relative = length / (radius[species[source]] + radius[species[target]])
    distance = mean(length)
    variation = mean(np.abs(length - distance[target])) / distance
    of_atoms = np.column_stack(
        [
            mean(np.abs(properties[species[source]] - properties[species[target]])),
            distance,
            variation,
            mean(relative),
            np.minimum.reduceat(relative, first),
        ]
    )  # (N, 26)
    over_mean = distance / _mean_of_crystals(distance, ptr)[batch.batch.numpy()]
    spread = _statistics(over_mean[:, None], ptr)[:, 0]  # (B, 5)
    gaussians = mean(np.exp(-(((relative[:, None] - _CENTERS) / 0.1) ** 2)))
    return np.column_stack(
        [_statistics(of_atoms, ptr).reshape(len(ptr) - 1, -1), spread[:, [4, 1, 0]], _mean_of_crystals(gaussians, ptr)]
    )


def _mean_of_crystals(values: np.ndarray, ptr: np.ndarray) -> np.ndarray:
    """Average values of atoms, (N, ...), over each crystal, (B, ...)."""
    return (np.add.reduceat(values, ptr[:-1]).T / np.diff(ptr)).T


def _statistics(values: np.ndarray, ptr: np.ndarray) -> np.ndarray:
    """Return `_STATISTICS` over the atoms of each crystal: (N, K) to (B, K, 5)."""
    low, high = np.minimum.reduceat(values, ptr[:-1]), np.maximum.reduceat(values, ptr[:-1])
    mean = _mean_of_crystals(values, ptr)
    deviation = _mean_of_crystals(np.abs(values - np.repeat(mean, np.diff(ptr), axis=0)), ptr)
    return np.stack([low, high, high - low, mean, deviation], axis=-1)
