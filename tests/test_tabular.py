"""Kernel ridge and boosting on the features of both views; the kernel against its formula."""

import numpy as np
import pytest
from example_crystals import TARGET, bundled, bundled_graphs
from scipy.spatial.distance import cdist

from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.local_environments import local_environments
from course_lib.tabular import boosting, features_of, kernel_ridge


def test_features_of_each_view():
    graphs = bundled_graphs(24)
    composition, structure, both = (features_of(graphs, views) for views in ("composition", "structure", "both"))
    np.testing.assert_array_equal(composition, magpie(bundled(24)["structure"]))
    np.testing.assert_array_equal(structure, local_environments(graphs))
    np.testing.assert_array_equal(both, np.hstack([composition, structure]))
    with pytest.raises(ValueError, match="views is 'all'; choose one of composition, structure, both"):
        features_of(graphs, "all")
    bare = CrystalGraphs.from_structures(bundled(24)["structure"])
    assert features_of(bare, "structure").shape == (24, 158)
    with pytest.raises(ValueError, match="no composition features"):
        features_of(bare)


def test_kernel_ridge_solves_its_equations():
    """(K + alpha 1) c = y, prediction k c, with the kernel written out."""
    rng = np.random.default_rng(0)
    x, new, y = rng.normal(2, 3, (40, 5)), rng.normal(2, 3, (7, 5)), rng.normal(size=40)

    def kernel(one, other):
        one, other = ((table - x.mean(0)) / x.std(0) for table in (one, other))
        return np.exp(-cdist(one, other, "cityblock") / (2.5 * 5))

    coefficients = np.linalg.solve(kernel(x, x) + 0.1 * np.eye(40), y)
    found = kernel_ridge(5, alpha=0.1, reach=2.5).fit(x, y).predict(new)
    np.testing.assert_allclose(found, kernel(new, x) @ coefficients, atol=1e-8)


@pytest.mark.parametrize("make", [lambda n: kernel_ridge(n), lambda n: boosting()], ids=["kernel ridge", "boosting"])
def test_both_views_beat_each_alone(make):
    """On 400 bundled crystals, a third of them left out: each view tells something that the other does not."""
    graphs, y = bundled_graphs(400), bundled(400)[TARGET].to_numpy()
    test = np.arange(400) % 3 == 0
    errors = {}
    for views in ("composition", "structure", "both"):
        x = features_of(graphs, views)
        errors[views] = np.abs(make(x.shape[1]).fit(x[~test], y[~test]).predict(x[test]) - y[test]).mean()
    assert errors["both"] < 0.95 * min(errors["composition"], errors["structure"]), errors
    assert max(errors.values()) < 0.7 * np.abs(y[test] - y[~test].mean()).mean()


def test_the_seed_decides():
    x, y = features_of(bundled_graphs(24)), bundled(24)[TARGET]
    one, same = (boosting(3).fit(x, y).predict(x) for _ in range(2))
    np.testing.assert_array_equal(one, same)
