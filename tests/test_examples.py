"""The pairs of crystals: equal for every network of distances, and different, or equal too, for one of angles."""

from collections import Counter
from fractions import Fraction
from functools import cache

import pytest
import torch
from example_crystals import bundled_graphs, random_crystal
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from torch.nn.functional import mse_loss

from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN, CGCNN, GAT, ALIGNNSimple, CrystalModel, MEGNet
from course_lib.teaching.examples import bent_trio, close_packings, ordered_alloys

PAIRS = {"ordered alloys": ordered_alloys, "close packings": close_packings}
both = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def batch_of(*structures: Structure):
    return CrystalGraphs.from_structures(structures).batch(range(len(structures)))


def colours(structure: Structure, rounds: int) -> dict[object, Fraction]:
    """Share of each colour after 1-WL refinement: an atom's own, and those of its neighbours with their distances."""
    batch = batch_of(structure)
    edges = list(zip(*batch.edge_index.tolist(), batch.edge_vector.norm(dim=1).tolist(), strict=True))
    colour = batch.species.tolist()
    for _ in range(rounds):
        around = [Counter() for _ in colour]
        for source, target, length in edges:
            around[target][colour[source], round(length, 3)] += 1
        colour = [hash((own, frozenset(seen.items()))) for own, seen in zip(colour, around, strict=True)]
    return {name: Fraction(count, len(colour)) for name, count in Counter(colour).items()}


@cache
def settled(network: type[CrystalModel]) -> CrystalModel:
    """Return a network with random weights, normalised over everyday crystals, that predicts with a spread of one."""
    torch.manual_seed(0)
    model, everyday = network().double(), as_double(bundled_graphs(24).batch(range(24)))
    with torch.no_grad():
        for _ in range(20):
            model(everyday)
        last = [module for module in model.eval().modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight /= model(everyday).std()
    return model


def as_double(batch):
    return batch.apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def small_alignn() -> ALIGNN:
    return ALIGNN(hidden=32, alignn_layers=2, gcn_layers=2)


def alignn_without_angles() -> ALIGNN:
    return ALIGNN(hidden=32, alignn_layers=2, gcn_layers=2, angles=False)


@both
def test_the_two_are_different_crystals_of_one_composition_and_density(pair):
    one, two = pair()
    assert one.composition.reduced_formula == two.composition.reduced_formula
    assert one.density == pytest.approx(two.density, rel=1e-9)
    for structure in (one, two):
        assert min(structure.make_supercell(2, in_place=False).distance_matrix[0, 1:]) > 1.5
    assert one.get_space_group_info()[1] != two.get_space_group_info()[1]
    assert not StructureMatcher().fit(one, two)


@both
def test_no_number_of_rounds_of_refinement_separates_them(pair):
    one, two = pair()
    for rounds in range(6):
        assert colours(one, rounds) == colours(two, rounds)
    # A round that splits no colour is followed by none that does.
    assert len(colours(one, 5)) == len(colours(one, 6))
    strained = one.copy().apply_strain([0.01, 0, 0], inplace=False)
    assert colours(strained, 1) != colours(one, 1)  # the refinement does see distances


@both
@pytest.mark.parametrize("network", [CGCNN, GAT, MEGNet, ALIGNNSimple, alignn_without_angles])
def test_networks_of_distances_cannot_separate_them(network, pair):
    with torch.no_grad():
        one, two, other = settled(network)(as_double(batch_of(*pair(), random_crystal(1))))
    assert one.item() == pytest.approx(two.item(), abs=1e-5)
    assert abs(one - other) > 0.01


def test_alignn_separates_the_ordered_alloys():
    """Already with random weights, though these give angles little weight; far above rounding (1e-15) in any case."""
    with torch.no_grad():
        one, two = settled(small_alignn)(as_double(batch_of(*ordered_alloys())))
    assert abs(one - two) > 1e-6


def test_alignn_learns_to_separate_the_ordered_alloys():
    """Two crystals with targets 1 and -1: a network that cannot tell them apart has a squared error of at least 1."""
    batch, wanted = batch_of(*ordered_alloys()), torch.tensor([[1.0], [-1.0]])
    for network, separates in ((CGCNN, False), (ALIGNNSimple, False), (small_alignn, True)):
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = mse_loss(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            for _ in range(30):  # until the running statistics have settled
                model(batch)
            one, two = model.eval()(batch)
        if separates:
            assert loss < 0.05
            assert abs(one - two) > 0.1
        else:
            assert loss > 0.99
            assert abs(one - two) < 1e-5


def test_alignn_is_blind_to_the_order_of_close_packed_layers():
    """All edges are equal, so their gated mean is the same for any gates, except for the 1e-6 in the denominator."""
    with torch.no_grad():
        fcc, hcp = settled(small_alignn)(as_double(batch_of(*close_packings())))
        d022, l12 = settled(small_alignn)(as_double(batch_of(*ordered_alloys())))
    assert abs(fcc - hcp) < 1e-2 * abs(d022 - l12)


@pytest.mark.parametrize("arguments", [(float("nan"),), ("90",), (90, 0), (90, float("inf"))])
def test_a_trio_that_cannot_be(arguments):
    with pytest.raises(ValueError, match=r"(angle|length) is"):
        bent_trio(*arguments)
