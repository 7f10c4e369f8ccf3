"""What every network promises: shapes, precisions, invariances, a description, training, compilation."""

import copy
import inspect
import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import AWKWARD, ROWS, bundled_graphs, double_batch, examples, one_by_one
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from torch import nn

from course_lib import models
from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.invariance import TRANSFORMATIONS
from course_lib.models import (
    ALIGNN,
    CGCNN,
    GAT,
    ALIGNNSimple,
    AttentionFusion,
    ChemicalALIGNN,
    ChemicalCGCNN,
    CrystalModel,
    EarlyFusion,
    IntermediateFusion,
    MEGNet,
    MultiTask,
    PublishedCGCNN,
    Trunk,
    build,
    describe,
)

NETWORKS = {
    "CGCNN": lambda n: CGCNN(n, hidden=32, n_conv=2),
    "PublishedCGCNN": lambda n: PublishedCGCNN(n_targets=n, hidden=32, n_conv=2),
    "EarlyFusion": lambda n: EarlyFusion(CGCNN(hidden=32, n_conv=2), n_targets=n, dropout=0.0),
    "IntermediateFusion": lambda n: IntermediateFusion(CGCNN(hidden=32, n_conv=2), n_targets=n, dropout=0.0),
    "AttentionFusion": lambda n: AttentionFusion(CGCNN(hidden=32, n_conv=2), n_targets=n, dropout=0.0),
    "ALIGNNSimple": lambda n: ALIGNNSimple(n, hidden=32, n_conv=2),
    "ALIGNN": lambda n: ALIGNN(n, hidden=32, alignn_layers=2, gcn_layers=2),
    "ChemicalCGCNN": lambda n: ChemicalCGCNN(n, hidden=32, n_conv=2),
    "ChemicalALIGNN": lambda n: ChemicalALIGNN(n, hidden=32, alignn_layers=2, gcn_layers=2),
    "EarlyFusion, ALIGNN": lambda n: EarlyFusion(
        ALIGNN(hidden=32, alignn_layers=2, gcn_layers=2), n_targets=n, dropout=0.0
    ),
    "GAT": lambda n: GAT(n, hidden=32, n_conv=2),
    "MEGNet": lambda n: MEGNet(n, n_blocks=2),
    "MultiTask, GAT": lambda n: MultiTask(GAT(hidden=32, n_conv=2), n_targets=n),
    "MultiTask, MEGNet": lambda n: MultiTask(MEGNet(n_blocks=2), n_targets=n),
    "MultiTask, CGCNN": lambda n: MultiTask(CGCNN(hidden=32, n_conv=2), n_targets=n),
}
# MEGNet's state starts as two zeros, and a matrix that multiplies zeros learns nothing.
UNTRAINED = {"MEGNet": {"dense.0.state.0.weight"}, "MultiTask, MEGNet": {"trunk.dense.0.state.0.weight"}}
COUNTS = [
    (kind, name)
    for kind in (
        ALIGNN,
        CGCNN,
        GAT,
        ALIGNNSimple,
        ChemicalALIGNN,
        ChemicalCGCNN,
        AttentionFusion,
        EarlyFusion,
        IntermediateFusion,
        MEGNet,
        MultiTask,
    )
    for name, parameter in inspect.signature(kind).parameters.items()
    if type(parameter.default) is int
] + [(PublishedCGCNN, "neighbors"), (PublishedCGCNN, "n_conv")]
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.mark.parametrize(("kind", "name"), COUNTS)
def test_sizes_out_of_range(kind, name):
    for value, message in (
        (0, "it must be at least 1"),
        (-1, "at least 1"),
        (1.5, "whole"),
        (True, "whole"),
        ("4", "4"),
    ):
        with pytest.raises(ValueError, match=f"^{name} is .*{message}"):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ALIGNN(angles=1), "angles is 1; it must be true or false"),
        (lambda: EarlyFusion(hidden=(8, 0)), "a number of hidden is 0; it must be at least 1"),
        (lambda: EarlyFusion(dropout=-0.1), "dropout is -0.1; it must be at least 0"),
        (lambda: IntermediateFusion(dropout=1.0), "dropout is 1.0; it must be less than 1"),
        (lambda: AttentionFusion(dropout=float("nan")), "dropout is nan; it must be finite"),
        (lambda: MultiTask(3), "3 is not a network. Give one of course_lib.models"),
        (lambda: EarlyFusion("cgcnn"), "'cgcnn' is not a network"),
    ],
)
def test_other_arguments_out_of_range(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_sizes_in_numpy_numbers():
    assert json.dumps(describe(CGCNN(hidden=np.int64(4)))) == json.dumps(describe(CGCNN(hidden=4)))


def make(name: str, n_targets: int = 2) -> CrystalModel:
    """Return a network with random weights, also where a network starts at zero and would hide what comes before."""
    torch.manual_seed(0)
    model = NETWORKS[name](n_targets)
    model.fit_preprocessing(torch.from_numpy(bundled_graphs(24).features))
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


@cache
def all_examples() -> CrystalGraphs:
    volume = [np.log(structure.volume / len(structure)) for structure in examples()]
    shortest = [np.log(structure.get_neighbor_list(12.0)[3].min()) for structure in examples()]
    targets = pd.DataFrame({"volume": volume, "shortest": shortest})
    return CrystalGraphs.from_structures(examples(), composition=magpie(examples()), targets=targets)


@cache
@torch.enable_grad()  # it may be called first where gradients are switched off
def trained(name: str) -> CrystalModel:
    """Return a network that has learned for a moment to look at distances, in evaluation mode; to be left as it is."""
    batch = all_examples().batch(range(len(all_examples())))
    target = (batch.y - batch.y.mean(0)) / batch.y.std(0)
    batch.composition = batch.composition.mean(0).expand_as(batch.composition)  # which would tell as much
    model = make(name).train()
    model.fit_preprocessing(torch.from_numpy(all_examples().features))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        (model(batch) - target).square().mean().backward()
        optimizer.step()
    return model.eval()


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return those of all parameters that are to be trained."""
    return {key: parameter.grad for key, parameter in model.named_parameters() if parameter.requires_grad}


def test_every_network_of_the_library_is_tested_here():
    public = (getattr(models, name) for name in models.__all__)
    networks = {value for value in public if isinstance(value, type) and issubclass(value, CrystalModel)}
    assert {type(make(name)) for name in NETWORKS} == networks - {CrystalModel, Trunk}


@pytest.mark.parametrize("n_targets", [1, 2, 3])
@every_network
def test_output_is_always_two_dimensional(name, n_targets):
    model = make(name, n_targets).eval()
    assert model.n_targets == n_targets
    for rows in ([4, 2, 9], [4], []):
        batch = bundled_graphs(24).batch(rows)
        assert model(batch).shape == (len(rows), n_targets)
        if isinstance(model, Trunk):
            assert model.embed(batch).shape == (len(rows), model.embedding_size)


@every_network
def test_a_batch_of_one_can_be_trained_on(name):
    model = make(name).train()
    output = model(bundled_graphs(24).batch([4]))
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_network
def test_prediction_does_not_depend_on_the_rest_of_the_batch(name):
    model, graphs = trained(name), bundled_graphs(24)
    together = model(graphs.batch(range(24)))
    alone = torch.cat([model(graphs.batch([row])) for row in range(24)])
    assert together.std(0).min() > 1e-3
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5 * together.std().item())


@every_network
def test_evaluation_changes_nothing(name):
    model = trained(name)
    before, batch = copy.deepcopy(model.state_dict()), bundled_graphs(24).batch(ROWS)
    torch.testing.assert_close(model(batch), model(batch), rtol=0, atol=0)
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


@every_network
def test_a_bond_stands_for_its_edges(name):
    """With every edge a bond of its own, outputs, gradients and statistics in training are the same."""
    merged, single = make(name).double().train(), make(name).double().train()
    batch = double_batch()
    assert batch.bond_count.max() > 1
    outputs = merged(batch), single(one_by_one(batch))
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-10)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(gradients(merged), gradients(single), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(merged.state_dict(), single.state_dict(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@every_network
def test_mixed_precision(name, training):
    model = copy.deepcopy(trained(name)).train(training)
    batch = bundled_graphs(24).batch(range(24))
    expected = model(batch)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch)
    found.float().square().sum().backward()
    assert (found - expected).abs().max() < 0.3 * expected.std()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_network
def test_double_precision(name):
    model = trained(name)
    single = model(bundled_graphs(24).batch(range(24)))
    double = copy.deepcopy(model).double()(double_batch(rows=range(24)))
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4 * double.std().item())


@every_network
def test_description_makes_the_network_anew(name):
    model = make(name, 3)
    again = build(json.loads(json.dumps(describe(model))))
    assert describe(again) == describe(model)
    again.load_state_dict(model.state_dict())
    batch = bundled_graphs(24).batch(ROWS)
    torch.testing.assert_close(again.eval()(batch), model.eval()(batch), rtol=0, atol=0)


def test_an_unknown_network_is_named_beside_those_that_are_there():
    with pytest.raises(ValueError, match="unknown model 'SchNet'; known are ") as error:
        build({"model": "SchNet"})
    assert all(type(make(name)).__name__ in str(error.value) for name in NETWORKS)


@every_network
def test_every_parameter_is_trained(name):
    """Also none is left over: a parameter without a gradient stops training on several machines.

    One whose gradient is nothing but rounding is moved by Adam all the same, and on several machines otherwise.
    """
    model = make(name).train().double()
    model(double_batch(rows=range(24))).square().sum().backward()
    largest = {key: float(gradient.abs().max()) for key, gradient in gradients(model).items()}
    assert {key for key, value in largest.items() if value < 1e-7} == UNTRAINED.get(name, set())


@every_network
def test_what_is_not_trained_changes_nothing(name):
    model, batch = make(name).train().double(), double_batch(rows=range(24))
    expected = model(batch)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            nn.init.normal_(parameter)
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-5)


# torch.compile itself does what these warn of: where there is a `torch.autograd.Function`, and where the graph breaks.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
# Around a break in the graph the compiler does itself what PyTorch warns of.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@every_network
def test_compiled_network_gives_the_same(name):
    """Outputs and gradients, all in one graph but for the line graph, whose shapes depend on the numbers."""
    torch.compiler.reset()
    model, batch = make(name).train(), bundled_graphs(24).batch(ROWS)
    same = copy.deepcopy(model)
    compiled = torch.compile(same, backend="aot_eager", fullgraph="ALIGNN" not in name or name == "ALIGNNSimple")
    expected, found = model(batch), compiled(batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for output in (expected, found):
        output.square().sum().backward()
    for (key, one), two in zip(model.named_parameters(), same.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(two.grad, one.grad, rtol=0, atol=1e-4 * one.grad.abs().max().item(), msg=key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_network
def test_a_gpu_gives_the_same(name):
    model, batch = trained(name), bundled_graphs(24).batch(range(24))
    expected = model(batch)
    found = copy.deepcopy(model).cuda()(batch.clone().to("cuda"))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4 * expected.std().item())


# Invariance


@cache
def spread(name: str) -> torch.Tensor:
    """Standard deviation of each prediction over the examples."""
    return trained(name)(all_examples().batch(range(len(all_examples())))).std(0).detach()


def predictions(structures: list[Structure]) -> dict[str, torch.Tensor]:
    """Predict with every network, in units of the spread over the examples."""
    batch = CrystalGraphs.from_structures(structures, composition=magpie(structures)).batch(range(len(structures)))
    with torch.no_grad():
        return {name: trained(name)(batch) / spread(name) for name in NETWORKS}


def assert_same_prediction(structure: Structure, other: Structure):
    for name, (one, two) in predictions([structure, other]).items():
        assert one.tolist() == pytest.approx(two.tolist(), rel=1e-5, abs=1e-5), name


def described_anew(structure: Structure, cell: np.ndarray, positions: np.ndarray) -> Structure:
    return Structure(Lattice(cell), structure.species, positions, coords_are_cartesian=True)


seeds = st.integers(0, 2**32 - 1)
crystals = st.sampled_from(examples())
quick = settings(max_examples=30, deadline=None, derandomize=True, database=None)


def test_predictions_tell_crystals_apart():
    structure = examples()[0]
    strained = described_anew(structure, structure.lattice.matrix * 1.01, structure.cart_coords * 1.01)
    for name, (one, two) in predictions([structure, strained]).items():
        assert (one - two).abs().max() > 3e-4, name


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@quick
@given(structure=crystals, seed=seeds)
def test_prediction_does_not_depend_on_how_a_crystal_is_written(name, structure, seed):
    assert_same_prediction(structure, TRANSFORMATIONS[name](structure, np.random.default_rng(seed)))


@quick
@given(st.sampled_from(examples()[:24]), seeds, st.floats(-6, -2.5))
def test_a_distortion_as_small_as_the_tolerance_of_bonds(structure, seed, exponent):
    # In the small cell such edges join one pair of atoms and may become one bond; in the supercell they join many.
    rng, size = np.random.default_rng(seed), 10**exponent
    cell = structure.lattice.matrix @ (np.eye(3) + size * rng.normal(size=(3, 3)))
    distorted = described_anew(
        structure, cell, structure.frac_coords @ cell + size * rng.normal(size=(len(structure), 3))
    )
    assert_same_prediction(distorted, distorted.make_supercell([2, 2, 2], in_place=False))


@every_network
@pytest.mark.parametrize("number", [0, 7, 15, 24, 30])
def test_predictions_are_continuous_in_the_positions(name, number):
    """Along a strain of 1 % in small steps, on which neighbours come and go, no prediction jumps."""
    structure = examples()[number]
    direction = np.diag([1.0, -0.4, 0.2]) + 0.1
    path = [
        described_anew(structure, structure.lattice.matrix @ stretch, structure.cart_coords @ stretch)
        for stretch in (np.eye(3) + strain * direction for strain in np.linspace(0, 0.01, 101))
    ]
    batch = CrystalGraphs.from_structures(path, composition=magpie(path)).batch(range(len(path)))
    with torch.no_grad():
        found = trained(name)(batch) / spread(name)
    assert found.diff(dim=0).abs().max() < 0.01


@pytest.mark.parametrize("name", AWKWARD)
def test_invariance_of_awkward_crystals(name):
    assert_same_prediction(AWKWARD[name], AWKWARD[name].make_supercell([2, 1, 1], in_place=False))
    assert_same_prediction(AWKWARD[name], AWKWARD[name].get_reduced_structure())


def test_a_class_that_is_defined_again_counts_as_the_newer_one():
    def define(size):
        class Redefined(CGCNN):
            embedding_of_mine = size

        return Redefined

    first, second = define(1), define(2)
    assert type(models.build(models.describe(first(hidden=4, n_conv=1)))) is second


def test_two_networks_of_one_name_are_told_apart():
    class CGCNN(Trunk):
        """Not the library's."""

    with pytest.raises(ValueError, match=r"course_lib\.models\.cgcnn has a network called CGCNN, too\. Rename yours"):
        models.describe(CGCNN())
