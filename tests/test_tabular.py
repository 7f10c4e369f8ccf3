"""Kernel ridge and boosting on the features of both views; the kernel against its formula."""

import numpy as np
import pandas as pd
import pytest
from example_crystals import TARGET, bundled, bundled_graphs
from scipy.spatial.distance import cdist

from course_lib.composition import magpie
from course_lib.features import PARTS, features_of
from course_lib.graphs import CrystalGraphs
from course_lib.local_environments import local_environments
from course_lib.pretrained import ENERGY, element_fractions
from course_lib.tabular import boosting, kernel_ridge

BOTH = ("composition", "environments")


def test_features_of_each_part():
    graphs, crystals = bundled_graphs(24), bundled(24)
    columns = [ENERGY, *(f"embedding {k}" for k in range(64))]
    pretrained = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 65)), crystals.index, columns)
    expected = {
        "composition": magpie(crystals["structure"]).to_numpy(),
        "environments": local_environments(graphs).to_numpy(),
        "fractions": element_fractions(graphs),
        "energy": pretrained[[ENERGY]].to_numpy(),
        "embedding": pretrained.drop(columns=ENERGY).to_numpy(),
    }
    assert list(PARTS) == list(expected)
    shuffled = pretrained.sample(frac=1, random_state=0)  # ids say what belongs together
    for part, values in expected.items():
        np.testing.assert_array_equal(features_of(graphs, [part], shuffled), values)
    both = features_of(graphs, ["embedding", "composition"], pretrained)
    np.testing.assert_array_equal(both, np.hstack([expected["embedding"], expected["composition"]]))


def test_features_that_cannot_be_made():
    graphs = bundled_graphs(24)
    with pytest.raises(ValueError, match="unknown features 'all'; choose from composition, environments"):
        features_of(graphs, ["composition", "all"])
    with pytest.raises(ValueError, match="pretrained features are missing"):
        features_of(graphs, ["energy"])
    with pytest.raises(ValueError, match="no features are asked for; choose from composition"):
        features_of(graphs, [])
    with pytest.raises(ValueError, match=f"lack crystal '{graphs.names[1]}', the first of {len(graphs) - 1}"):
        features_of(graphs, ["energy"], pd.DataFrame({ENERGY: [0.0]}, index=graphs.names[:1]))
    bare = CrystalGraphs.from_structures(bundled(24)["structure"])
    assert features_of(bare, ["environments"]).shape == (24, 158)
    with pytest.raises(ValueError, match="no composition features"):
        features_of(bare, BOTH)


def test_kernel_ridge_solves_its_equations():
    """(K + alpha 1) c = y, prediction k c, with the kernel written out."""
    rng = np.random.default_rng(0)
    x, new, y = rng.normal(2, 3, (40, 5)), rng.normal(2, 3, (7, 5)), rng.normal(size=40)

    def kernel(one, other):
        one, other = ((table - x.mean(0)) / x.std(0) for table in (one, other))
        return np.exp(-cdist(one, other, "cityblock") / (2.5 * 5))

    coefficients = np.linalg.solve(kernel(x, x) + 0.1 * np.eye(40), y - y.mean())
    found = kernel_ridge(5, alpha=0.1, reach=2.5).fit(x, y).predict(new)
    np.testing.assert_allclose(found, y.mean() + kernel(new, x) @ coefficients, atol=1e-8)


@pytest.mark.parametrize("make", [kernel_ridge, boosting])
@pytest.mark.parametrize(("unit", "offset"), [(1e-30, 0.0), (1e30, 0.0), (1e-3, 1e3)])
def test_any_unit(make, unit, offset):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x[:, 0] + np.sin(x[:, 1])
    expected = make(3).fit(x, y).predict(x)
    found = make(3).fit(x, offset + unit * y).predict(x)
    np.testing.assert_allclose((found - offset) / unit, expected, atol=1e-6)


@pytest.mark.parametrize("make", [kernel_ridge, boosting])
def test_both_views_beat_each_alone(make):
    """On 400 bundled crystals, a third of them left out: each view holds something that the other does not."""
    graphs, y = bundled_graphs(400), bundled(400)[TARGET].to_numpy()
    test = np.arange(400) % 3 == 0
    errors = {}
    for views in (("composition",), ("environments",), BOTH):
        x = features_of(graphs, views)
        errors[views] = np.abs(make(x.shape[1]).fit(x[~test], y[~test]).predict(x[test]) - y[test]).mean()
    assert errors[BOTH] < 0.95 * min(errors["composition",], errors["environments",]), errors
    assert max(errors.values()) < 0.7 * np.abs(y[test] - y[~test].mean()).mean()


def test_the_seed_decides():
    x, y = features_of(bundled_graphs(24), BOTH), bundled(24)[TARGET]
    one, same = (boosting(x.shape[1], seed=3).fit(x, y).predict(x) for _ in range(2))
    np.testing.assert_array_equal(one, same)
