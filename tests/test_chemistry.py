"""Chemistry in the graph: against matminer's tables; and without weights for it, it is the published network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from example_crystals import bundled, bundled_graphs, double_batch, randomize
from matminer.utils.data import MagpieData
from pymatgen.core import Element

from course_lib.models import ALIGNN, CGCNN, ChemicalALIGNN, ChemicalCGCNN
from course_lib.models.chemistry import Chemistry


def test_atoms_have_the_element_properties_of_magpie():
    """Standardised over the elements: values keep their order and their ratios of differences."""
    found = Chemistry(atoms=True, radii=False, electronegativity=False).properties
    assert found.shape == (113, 22)
    torch.testing.assert_close(found[1:].mean(0), torch.zeros(22), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1:].std(0, correction=0), torch.ones(22), rtol=0, atol=1e-5)
    data = MagpieData(impute_nan=True)
    names = ("Na", "Cl", "Fe", "U")
    for column, name in ((4, "Column"), (7, "Electronegativity"), (6, "CovalentRadius")):
        wanted = np.array([data.get_elemental_property(Element(e), name) for e in names], dtype=float)
        got = found[[Element(e).Z for e in names], column].numpy()
        np.testing.assert_allclose((got - got[0]) / (got[1] - got[0]), (wanted - wanted[0]) / (wanted[1] - wanted[0]),
                                   rtol=1e-4)  # fmt: skip


def test_bonds_tell_length_over_radii_and_electronegativity():
    """Of every bond of the bundled crystals, with radii and electronegativities from matminer."""
    chemistry, batch, data = Chemistry(True, True, True), bundled_graphs(24).batch(range(24)), MagpieData()
    found = chemistry.bonds(batch.species, batch.bond_index, batch.bond_length)
    assert found.shape == (len(batch.bond_length), chemistry.n_bond) == (len(batch.bond_length), 25 + 17)
    for k in range(0, len(found), 7):
        source, target = (Element.from_Z(int(batch.species[atom])) for atom in batch.bond_index[:, k])
        radii = sum(data.get_elemental_property(element, "CovalentRadius") for element in (source, target)) / 100
        difference = source.X - target.X
        ratio = float(batch.bond_length[k]) / radii
        wanted = np.concatenate(
            [
                np.exp(-(((ratio - np.linspace(0.6, 3, 25)) / 0.1) ** 2)),
                np.exp(-(((difference - np.linspace(-3.2, 3.2, 17)) / 0.4) ** 2)),
            ]
        )
        np.testing.assert_allclose(found[k], wanted, atol=2e-3)


def test_a_single_bond_has_the_length_of_its_radii():
    """Diamond, silicon and germanium: other elements and other lengths, but one ratio of about 1."""
    rows = bundled(400).query("prototype == 'diamond'")["structure"]
    radius = Chemistry(False, True, False).radius
    for structure in rows:
        ratio = structure.get_distance(0, 1) / float(radius[structure.atomic_numbers].sum())
        assert ratio == pytest.approx(1, abs=0.12), structure.formula


@pytest.mark.parametrize(("plain", "chemical"), [(CGCNN, ChemicalCGCNN), (ALIGNN, ChemicalALIGNN)])
def test_without_weights_for_the_chemistry_it_is_the_published_network(plain, chemical):
    sizes = {"hidden": 8, "n_conv": 2} if plain is CGCNN else {"hidden": 8, "alignn_layers": 2, "gcn_layers": 2}
    published, ours = randomize(plain(**sizes)).eval(), chemical(**sizes).double().eval()
    wanted = published.state_dict()
    state = ours.state_dict()
    for name, tensor in wanted.items():
        if state[name].shape == tensor.shape:
            state[name].copy_(tensor)
        else:  # the columns of what is read, chemistry last
            state[name].zero_()
            state[name][:, : tensor.shape[1]] = tensor
    batch = double_batch()
    with torch.no_grad():
        torch.testing.assert_close(ours(batch), published(batch), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("parts", "n_more"),
    [
        ({"radii": True}, 3 * 25 * 128),
        ({"electronegativity": True}, 3 * 17 * 128),
        ({"atoms": True}, 22 * 64),
        ({"atoms": True, "radii": True, "electronegativity": True}, 3 * 42 * 128 + 22 * 64),
    ],
)
def test_number_of_parameters(parts, n_more):
    off = {"atoms": False, "radii": False, "electronegativity": False}
    model = ChemicalCGCNN(**off | parts)
    assert sum(parameter.numel() for parameter in model.parameters()) == 80_833 + n_more


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="all False; give one, or use the plain network"):
        ChemicalCGCNN(atoms=False, radii=False, electronegativity=False)
