"""The checks of invariance: they write the same crystal in other ways, and they find what breaks."""

import numpy as np
import pytest
import torch
from example_crystals import bundled, examples
from pymatgen.analysis.structure_matcher import StructureMatcher

from course_lib.composition import magpie
from course_lib.invariance import BATCH, TRANSFORMATIONS, prediction_changes
from course_lib.models import CGCNN, AttentionFusion, CrystalModel

STRUCTURES = list(bundled(24)["structure"])[::2]


class Pooled(CrystalModel):
    """A CGCNN whose atoms are pooled by a function of (x, batch)."""

    def __init__(self, pool):
        super().__init__(n_targets=1)
        torch.manual_seed(0)
        self.trunk, self.pool = CGCNN(hidden=16, n_conv=1), pool

    def forward(self, batch):
        x, e = self.trunk.atoms_and_bonds(batch)
        for conv in self.trunk.convs:
            x = conv(x, batch.bond_index, batch.bond_weight, e)
        return self.pool(x, batch)


def sums(x, batch):
    return x.new_zeros(batch.num_graphs, x.shape[1]).index_add(0, batch.batch, x)


def means(x, batch):
    return sums(x, batch) / sums(torch.ones_like(x), batch)


def first_atoms(x, batch):
    return x[batch.ptr[:-1]]


def means_and_a_direction(x, batch):
    lengths = sums(batch.edge_vector[:, :1].abs() @ torch.ones(1, x.shape[1]), Edges(batch))
    return means(x, batch) + lengths / sums(torch.ones(batch.num_edges, x.shape[1]), Edges(batch))


def shares_of_the_batch(x, batch):
    return means(x, batch) / x.sum(0)


class Edges:
    """Says for each edge, rather than each atom, to which crystal it belongs."""

    def __init__(self, batch):
        self.num_graphs, self.batch = batch.num_graphs, batch.batch[batch.edge_index[1]]


# The matcher asks for the electronegativity of every element, and pymatgen says where there is none.
@pytest.mark.filterwarnings("ignore:No Pauling electronegativity:UserWarning")
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_each_transformation_writes_the_same_crystal_in_another_way(name):
    """As pymatgen's matcher sees it, which maps one structure onto the other without our help."""
    matcher = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=1e-2)
    changed = 0
    for seed, structure in enumerate(examples()):
        other = TRANSFORMATIONS[name](structure, np.random.default_rng(seed))
        assert matcher.fit(structure, other)
        assert other.composition.reduced_formula == structure.composition.reduced_formula
        same_shape = len(other) == len(structure) and np.allclose(other.lattice.matrix, structure.lattice.matrix)
        changed += not (same_shape and np.allclose(other.frac_coords, structure.frac_coords))
        if name == "supercell":
            assert len(other) / len(structure) in (2, 3, 4, 5, 6)
    assert changed > len(examples()) / 2


def test_crystals_are_written_the_same_way_with_the_same_seed():
    changes = [prediction_changes(Pooled(sums), STRUCTURES, seed) for seed in (1, 1, 2)]
    assert changes[0].equals(changes[1])
    assert not changes[0].equals(changes[2])


@pytest.mark.parametrize(
    ("pool", "broken"),
    [
        (means, set()),
        (sums, {"supercell"}),
        (first_atoms, {"order of atoms"}),
        (means_and_a_direction, {"orientation"}),
        (shares_of_the_batch, {"supercell", BATCH}),
    ],
)
def test_finds_what_is_broken(pool, broken):
    largest = prediction_changes(Pooled(pool), STRUCTURES).max()
    assert list(largest.index) == [*TRANSFORMATIONS, BATCH]
    assert set(largest.index[largest > 1e-2]) == broken
    assert (largest.drop(list(broken)) < 1e-4).all()


def test_networks_are_tested_in_evaluation_mode_and_left_as_they_were():
    torch.manual_seed(0)
    model = AttentionFusion(CGCNN(hidden=16, n_conv=1), dropout=0.5).train()
    model.fit_preprocessing(torch.from_numpy(magpie(STRUCTURES).to_numpy()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert prediction_changes(model, STRUCTURES).max(axis=None) < 1e-4
    assert model.training
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_several_targets_count_with_their_own_spread():
    one, two = Pooled(sums), Pooled(lambda x, batch: torch.cat([1e6 * means(x, batch), sums(x, batch)], dim=1))
    same = prediction_changes(one, STRUCTURES), prediction_changes(two, STRUCTURES)
    assert same[0]["supercell"].to_numpy() == pytest.approx(same[1]["supercell"].to_numpy(), rel=1e-3)


def test_a_network_that_predicts_one_number_for_all_is_refused():
    model = Pooled(lambda x, batch: torch.ones(batch.num_graphs, 1)).train()
    with pytest.raises(ValueError, match="same prediction for all crystals"):
        prediction_changes(model, STRUCTURES)
    assert model.training


def test_what_cannot_be_tested_is_refused():
    model = Pooled(sums)
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"the number of crystals is {count}; it must be at least 2"):
            prediction_changes(model, STRUCTURES[:count])
    for seed in (True, None, -1):
        with pytest.raises(ValueError, match=f"seed is {seed}"):
            prediction_changes(model, STRUCTURES, seed)
    with pytest.raises(ValueError, match="a prediction is not a finite number"):
        prediction_changes(Pooled(lambda x, batch: sums(x, batch) * torch.nan), STRUCTURES)
