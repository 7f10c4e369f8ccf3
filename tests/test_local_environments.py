"""Features of local environments: matminer's own featurizers on the neighbours of our graphs; speed; invariance."""

from __future__ import annotations

import numpy as np
import pytest
from example_crystals import examples
from matminer.featurizers.site import chemical
from matminer.featurizers.structure import StructuralHeterogeneity, bonding
from matminer.featurizers.utils.stats import PropertyStats
from pymatgen.core import Element

from course_lib.composition import element_properties
from course_lib.graphs import CrystalGraphs
from course_lib.invariance import TRANSFORMATIONS
from course_lib.local_environments import local_environments

STRUCTURES = examples()[::2]


def test_no_crystal_is_refused():
    with pytest.raises(ValueError, match="there is no crystal to describe"):
        local_environments(CrystalGraphs.from_structures(STRUCTURES).subset([]))


def neighbors(structure) -> list[list[dict]]:
    """The neighbours of every site in the graph, as pymatgen's near-neighbour classes list them."""
    batch = CrystalGraphs.from_structures([structure]).batch([0])
    found = [[] for _ in structure]
    columns = batch.bond_index.T.tolist(), batch.bond_length.tolist(), batch.bond_weight.tolist()
    for (source, target), length, weight in zip(*columns, strict=True):
        info = {"face_dist": length / 2, "volume": weight}
        found[target].append({"site": structure[source], "weight": weight, "poly_info": info})
    return found


@pytest.fixture
def matminer_on_our_neighbors(monkeypatch):
    """Let matminer's featurizers read our graphs in the place of Voronoi cells."""
    monkeypatch.setattr(chemical, "get_nearest_neighbors", lambda _, structure, site: neighbors(structure)[site])
    monkeypatch.setattr(bonding, "get_all_nearest_neighbors", lambda _, structure: neighbors(structure))


def table():
    return local_environments(CrystalGraphs.from_structures(STRUCTURES))


@pytest.mark.filterwarnings("ignore")  # matminer's words about missing values, which it fills as we do
def test_local_differences_are_those_of_matminer(matminer_on_our_neighbors):
    featurizer = chemical.LocalPropertyDifference.from_preset("ward-prb-2017", impute_nan=True)
    found = table()
    for row, structure in enumerate(STRUCTURES):
        of_sites = np.array([featurizer.featurize(structure, site) for site in range(len(structure))])  # (N, 22)
        for column, label in enumerate(featurizer.feature_labels()):
            for statistic in ("minimum", "maximum", "range", "mean", "avg_dev"):
                expected = PropertyStats.calc_stat(of_sites[:, column], statistic)
                assert found.iloc[row][f"{statistic} {label}"] == pytest.approx(expected, rel=1e-4, abs=1e-3), label


def test_bond_lengths_are_those_of_matminer(matminer_on_our_neighbors):
    featurizer, found = StructuralHeterogeneity(), table()
    labels = featurizer.feature_labels()[:-1]  # the last is the size of Voronoi cells

    for row, structure in enumerate(STRUCTURES):
        expected = featurizer.featurize(structure)[:-1]
        np.testing.assert_allclose(found.iloc[row][labels].to_numpy(float), expected, rtol=1e-4, atol=1e-5)


def test_relative_distances_by_a_loop():
    found, radius = table(), element_properties()["CovalentRadius"] / 100
    for row, structure in enumerate(STRUCTURES):
        means, shortest = [], []
        shares = np.zeros(25)
        for site, around in zip(structure, neighbors(structure), strict=True):
            symbols = [other["site"].specie.symbol for other in around]
            weight = np.array([other["weight"] for other in around])
            length = np.array([2 * other["poly_info"]["face_dist"] for other in around])
            relative = length / (radius[symbols].to_numpy() + radius[Element(site.specie.symbol).symbol])
            means.append((weight * relative).sum() / weight.sum())
            shortest.append(relative.min())
            gaussians = np.exp(-(((relative[:, None] - np.linspace(0.6, 3, 25)) / 0.1) ** 2))
            shares += (weight[:, None] * gaussians).sum(0) / weight.sum() / len(structure)
        assert found.iloc[row]["mean relative distance"] == pytest.approx(np.mean(means), rel=1e-4)
        assert found.iloc[row]["minimum shortest relative distance"] == pytest.approx(min(shortest), rel=1e-4)
        np.testing.assert_allclose(found.iloc[row].iloc[-25:].to_numpy(float), shares, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_features_do_not_depend_on_how_a_crystal_is_written(name):
    rng = np.random.default_rng(0)
    others = [TRANSFORMATIONS[name](structure, rng) for structure in STRUCTURES]
    found = local_environments(CrystalGraphs.from_structures(others))
    expected = table()
    scale = expected.std().clip(lower=1e-3)
    assert ((found - expected).abs() / scale).max(axis=None) < 1e-2


def test_names_and_shape():
    graphs = CrystalGraphs.from_structures(STRUCTURES, ids=[f"c{k}" for k in range(len(STRUCTURES))])
    found = local_environments(graphs)
    assert found.shape == (len(STRUCTURES), 158)
    assert found.columns.is_unique
    assert list(found.index) == list(graphs.names)
    assert np.isfinite(found.to_numpy()).all()
