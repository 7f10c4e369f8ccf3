"""Pretrained features: stored and read again, refused for other crystals; delta learning against its equations."""

import sys

import numpy as np
import pandas as pd
import pytest
from example_crystals import bundled, bundled_graphs

from course_lib import pretrained
from course_lib.datasets import load_dataset
from course_lib.pretrained import (
    EMBEDDING_SIZE,
    ENERGY,
    checksum,
    element_fractions,
    pretrained_features,
    store,
    stored_features,
)
from course_lib.tabular import DeltaLearning, delta_learning, kernel_ridge, references_alone

COLUMNS = [ENERGY, *(f"embedding {k}" for k in range(EMBEDDING_SIZE))]


def made_up(crystals):
    values = np.random.default_rng(0).normal(size=(len(crystals), 65)).astype(np.float32)
    return pd.DataFrame(values, crystals.index, COLUMNS)


def test_what_is_stored_is_read_again(tmp_path):
    crystals, path = bundled(12), tmp_path / "folder" / "features.csv"
    features = made_up(crystals)
    store(features, crystals, path)
    pd.testing.assert_frame_equal(stored_features(crystals, path), features, check_names=False, rtol=1e-5)
    heading = path.read_text().splitlines()[0]
    assert "chgnet 0.4.2" in heading
    assert "BSD" in heading


def test_features_of_other_crystals_are_refused(tmp_path):
    crystals, path = bundled(12), tmp_path / "features.csv"
    store(made_up(crystals), crystals, path)
    for others in (bundled(24), crystals.iloc[:5], crystals.iloc[::-1]):
        with pytest.raises(ValueError, match=r"features.csv: it was made from other crystals; give all bundled ones"):
            stored_features(others, path)
    strained = crystals.copy()
    strained["structure"] = [structure.copy().apply_strain(0.01) for structure in crystals["structure"]]
    assert checksum(strained) != checksum(crystals)
    with pytest.raises(ValueError, match="was made from other crystals"):
        stored_features(strained, path)


def test_every_flipped_bit_of_stored_features_is_noticed(tmp_path):
    crystals, path = bundled(3), tmp_path / "features.csv"
    store(made_up(crystals), crystals, path)
    good, rng = path.read_bytes(), np.random.default_rng(0)
    ends = np.cumsum([len(line) for line in good.splitlines(keepends=True)])
    for at in (*rng.integers(ends[2], size=40), *rng.integers(ends[2], len(good), size=40)):  # heading and table
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << int(rng.integers(8)))]) + good[at + 1 :])
        with pytest.raises(ValueError, match=r"features.csv: .*Make it again: python -m data.pretrained_chgnet"):
            stored_features(crystals, path)
    path.write_bytes(good.replace(b"\n", b"\r\n"))  # an editor on Windows
    assert len(stored_features(crystals, path)) == 3


def test_features_of_the_bundled_crystals_are_stored():
    crystals = load_dataset("pbe_prototypes")
    features = stored_features(crystals)
    assert list(features.columns) == COLUMNS
    assert list(features.index) == list(crystals.index)
    assert np.isfinite(features.to_numpy()).all()


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "no-such-package")
    with pytest.raises(ImportError, match=r"not installed. Install it: pip install 'course-lib\[pretrained\]'"):
        pretrained_features(bundled(12)["structure"])
    monkeypatch.setattr(pretrained, "PACKAGE", "numpy")
    with pytest.raises(ImportError, match=r"numpy 0\.4\.2 is installed as"):
        pretrained_features(bundled(12)["structure"])
    assert "chgnet" not in sys.modules


@pytest.mark.filterwarnings("ignore")  # of the package
def test_features_come_from_the_package():
    """Optional: the energy is the package's own, crystal by crystal, and a supercell has the same."""
    pytest.importorskip("chgnet")
    crystals = bundled(12)
    found = pretrained_features(crystals["structure"])
    assert list(found.columns) == COLUMNS
    assert list(found.index) == list(crystals.index)
    network = pretrained._load_chgnet()
    for row in (0, 7):
        alone = network.predict_structure(crystals["structure"].iloc[row], task="e")["e"]
        assert found[ENERGY].iloc[row] == pytest.approx(float(alone), abs=1e-3)
    larger = pretrained_features([crystals["structure"].iloc[0].copy().make_supercell(2)])
    np.testing.assert_allclose(larger.iloc[0], found.iloc[0], atol=2e-3)


def problem(seed=0, size=300):
    rng = np.random.default_rng(seed)
    fractions = np.zeros((size, 119))
    for row in fractions:
        row[rng.choice([8, 11, 12, 17, 26], 2, replace=False)] = [0.25, 0.75]
    references = np.zeros(119)
    references[[8, 11, 12, 17, 26]] = [1.5, -2.0, 0.3, 4.0, -1.0]
    return rng, fractions, references, rng.normal(size=size)


def test_references_are_found():
    _, fractions, references, energy = problem()
    y = energy + fractions @ references
    table = np.column_stack([energy, fractions])
    model = DeltaLearning().fit(table, y)
    np.testing.assert_allclose(model.references_, references, atol=1e-4)
    np.testing.assert_allclose(model.predict(table), y, atol=1e-4)


def test_a_model_learns_what_the_references_leave():
    rng, fractions, references, energy = problem()
    x = rng.uniform(-1, 1, (300, 3))
    y = energy + fractions @ references + np.sin(3 * x[:, 0])
    table, train, test = np.column_stack([energy, fractions, x]), slice(0, 250), slice(250, 300)
    plain, delta = references_alone(table.shape[1]), delta_learning(table.shape[1])
    wrong = [
        np.abs(model.fit(table[train], y[train]).predict(table[test]) - y[test]).mean() for model in (plain, delta)
    ]
    assert wrong[1] < 0.3 * wrong[0]
    with pytest.raises(ValueError, match="the model needs features"):
        DeltaLearning(kernel_ridge(3)).fit(table[:, :120], y)


def test_an_element_that_was_not_trained_on_has_no_reference():
    _, fractions, references, energy = problem()
    model = DeltaLearning().fit(np.column_stack([energy, fractions]), energy + fractions @ references)
    unknown = np.zeros((1, 120))
    unknown[0, [0, 80]] = [0.7, 1.0]  # energy, and the column of gold
    assert model.predict(unknown)[0] == pytest.approx(0.7)


def test_fractions_are_those_of_pymatgen():
    crystals = bundled(24)["structure"]
    found = element_fractions(bundled_graphs(24))
    for row, structure in zip(found, crystals, strict=True):
        expected = {element.Z: share for element, share in structure.composition.fractional_composition.items()}
        assert {int(z): row[z] for z in np.flatnonzero(row)} == pytest.approx(expected)
