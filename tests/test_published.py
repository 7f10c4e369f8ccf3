"""Checkpoints of the original CGCNN code: read safely, and predicting what that code predicts.

The original is written here once more from its description, as it stores crystals: twelve neighbours per atom, sorted
by distance and cut there, in dense arrays.
"""

from __future__ import annotations

import os
import pickle
from functools import cache

import numpy as np
import pytest
import torch
from example_crystals import bundled, random_crystal
from pymatgen.core import Lattice, Structure
from torch import nn
from torch.nn.functional import softplus

from course_lib.graphs import CrystalGraphs
from course_lib.models import PublishedCGCNN, build, describe
from course_lib.models.atom_features import atom_feature_table
from course_lib.models.published_cgcnn import share_of_neighbors
from course_lib.published import load_published
from course_lib.training import FitConfig, fit, load, predict

HIDDEN, N_CONV, EMBEDDING = 8, 2, 6


class DenseConv(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fc_full = nn.Linear(2 * hidden + 41, 2 * hidden)
        self.bn1, self.bn2 = nn.BatchNorm1d(2 * hidden), nn.BatchNorm1d(hidden)

    def forward(self, x, neighbor, e):  # (N, F), (N, 12), (N, 12, 41)
        pairs = torch.cat([x[:, None].expand(-1, 12, -1), x[neighbor], e], dim=2)
        gate, core = self.bn1(self.fc_full(pairs).flatten(0, 1)).unflatten(0, (-1, 12)).chunk(2, dim=2)
        return softplus(x + self.bn2((torch.sigmoid(gate) * softplus(core)).sum(1)))


class DenseCGCNN(nn.Module):
    """The original network, one crystal at a time; its parameters have the original's names."""

    def __init__(self, n_outputs=1):
        super().__init__()
        self.embedding = nn.Linear(92, HIDDEN)
        self.convs = nn.ModuleList(DenseConv(HIDDEN) for _ in range(N_CONV))
        self.conv_to_fc = nn.Linear(HIDDEN, EMBEDDING)
        self.fc_out = nn.Linear(EMBEDDING, n_outputs)

    def forward(self, structure):
        near = [sorted(some, key=lambda n: n.nn_distance)[:12] for some in structure.get_all_neighbors(8.0)]
        neighbor = torch.tensor([[n.index for n in some] for some in near])
        distance = torch.tensor([[n.nn_distance for n in some] for some in near], dtype=torch.float32)
        e = torch.exp(-((distance[:, :, None] - torch.linspace(0, 8, 41)) ** 2) / 0.2**2)
        x = self.embedding(atom_feature_table()[list(structure.atomic_numbers)])
        for conv in self.convs:
            x = conv(x, neighbor, e)
        return self.fc_out(softplus(self.conv_to_fc(softplus(x.mean(0)))))


@cache
def dense(n_outputs=1):
    generator = torch.Generator().manual_seed(n_outputs)
    model = DenseCGCNN(n_outputs).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_var.abs_().add_(0.1)
    return model


def checkpoint(n_outputs=1, **changes):
    """What the original's main.py saves; `changes` replace parts of it."""
    optimizer = torch.optim.SGD(dense(n_outputs).parameters(), 0.01, momentum=0.9)
    content = {
        "epoch": 30,
        "state_dict": dict(dense(n_outputs).state_dict()),
        "best_mae_error": torch.tensor(0.04),
        "optimizer": optimizer.state_dict(),
        "normalizer": {"mean": torch.tensor(-1.7), "std": torch.tensor(1.2)},
        "args": {"data_options": ["sample-regression"], "task": "regression", "lr_milestones": [100], "n_h": 1},
    }
    return content | changes


@pytest.fixture
def write(tmp_path):
    def write(content, **options):
        torch.save(content, tmp_path / "model_best.pth.tar", **options)
        return tmp_path / "model_best.pth.tar"

    return write


# Without symmetry, and with no two neighbours by chance equally far (as two are in crystal 3): nothing is arbitrary.
STRUCTURES = [random_crystal(seed) for seed in range(12) if seed != 3]


def originals(structures, n_outputs=1):
    with torch.no_grad():
        return torch.stack([dense(n_outputs)(structure) for structure in structures])


@pytest.mark.parametrize("zipped", [True, False], ids=["today's file format", "that of the published files"])
def test_predictions_are_those_of_the_original(write, zipped):
    model = load_published(write(checkpoint(), _use_new_zipfile_serialization=zipped))
    found = predict(model, CrystalGraphs.from_structures(STRUCTURES))
    expected = originals(STRUCTURES)[:, 0] * 1.2 - 1.7
    assert expected.std() > 0.01
    assert list(found.columns) == ["target"]
    np.testing.assert_allclose(found["target"], expected, atol=2e-6)


def test_neighbours_that_are_alike_share_the_places_left():
    """In rock salt the second shell is 12 neighbours for 6 places: the original uses any 6 of them."""
    rock_salts = bundled(400).query("prototype == 'rocksalt'")["structure"].iloc[:8].tolist()
    graphs = CrystalGraphs.from_structures(rock_salts)
    model = PublishedCGCNN(hidden=HIDDEN, n_conv=N_CONV, embedding=EMBEDDING).eval()
    assert torch.bincount(graphs.batch([0]).edge_index[1]).tolist() == [18, 18]
    share = share_of_neighbors(graphs.batch([0]), 12)
    batch = graphs.batch([0])
    inner = batch.bond_length < batch.bond_length.min() + 0.1
    torch.testing.assert_close(share / batch.bond_count, torch.where(inner, 1.0, 0.5))
    plain = build(describe(model) | {"neighbors": 18})
    plain.load_state_dict(model.state_dict())
    assert (plain(batch) - model(batch)).abs() > 1e-3  # whole shells would be another sum


def test_predictions_for_rock_salt_are_those_of_the_original(write):
    rock_salts = bundled(400).query("prototype == 'rocksalt'")["structure"].iloc[:8].tolist()
    found = predict(load_published(write(checkpoint())), CrystalGraphs.from_structures(rock_salts))
    np.testing.assert_allclose(found["target"], originals(rock_salts)[:, 0] * 1.2 - 1.7, atol=2e-6)


@pytest.mark.parametrize("neighbors", [1, 5, 12])
def test_shares_of_an_atom_add_up(neighbors):
    structures = [*bundled(24)["structure"], *STRUCTURES]
    batch = CrystalGraphs.from_structures(structures).batch(range(len(structures)))
    share = share_of_neighbors(batch, neighbors)
    total = torch.zeros(batch.num_nodes).index_add(0, batch.bond_index[1], share)
    torch.testing.assert_close(total, torch.full_like(total, neighbors))
    assert (share >= 0).all()
    assert (share <= batch.bond_count).all()


def test_predictions_do_not_depend_on_the_description_of_the_crystal(write):
    model = load_published(write(checkpoint()))
    # Caesium chloride: 8 neighbours and then 6, of which 4 count.
    cell = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = cell.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]], in_place=False)
    found = predict(model, CrystalGraphs.from_structures([cell, other]))["target"]
    assert found.iloc[0] == pytest.approx(found.iloc[1], abs=1e-5)


def test_classifier_gives_the_probability_of_class_1(write):
    # Its best score comes from scikit-learn and is a NumPy number.
    content = checkpoint(
        2,
        best_mae_error=np.float64(0.95),
        normalizer={"mean": 0.0, "std": 1.0},
        args={"data_options": ["x.json", "classification", "metal_semi"], "task": "classification"},
    )
    found = predict(load_published(write(content)), CrystalGraphs.from_structures(STRUCTURES))
    np.testing.assert_allclose(found["metal_semi"], originals(STRUCTURES, 2).softmax(1)[:, 1], atol=1e-6)


def test_files_older_than_the_counters_of_batch_norm(write):
    weights = {name: w for name, w in dense().state_dict().items() if not name.endswith("num_batches_tracked")}
    found = predict(load_published(write(checkpoint(state_dict=weights))), CrystalGraphs.from_structures(STRUCTURES))
    np.testing.assert_allclose(found["target"], originals(STRUCTURES)[:, 0] * 1.2 - 1.7, atol=2e-6)


def test_training_can_go_on_from_published_weights(write, tmp_path):
    frame = bundled(12)
    graphs = CrystalGraphs.from_structures(frame["structure"], targets=frame[["band_gap"]])
    model = load_published(write(checkpoint()))
    result = fit(
        model.network.train(), graphs.subset(range(8)), graphs.subset(range(8, 12)), FitConfig(2, folder=tmp_path)
    )
    again = predict(load(tmp_path / "best.ckpt"), graphs)
    np.testing.assert_allclose(again, predict(result.model, graphs), atol=1e-6)


class Danger:
    def __reduce__(self):
        return os.system, ("exit 3",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_is_refused(write, zipped):
    path = write(checkpoint(args=Danger()), _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"cannot read .*model_best.pth.tar: it holds \w+.system, which might run code"
    ):
        load_published(path)


def test_a_damaged_file_is_refused(write, tmp_path):
    path = write(checkpoint())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="it is damaged or was not written"):
        load_published(path)
    (tmp_path / "text").write_text("not at all")
    with pytest.raises(ValueError, match="it is damaged or was not written"):
        load_published(tmp_path / "text")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="it is damaged or was not written"):
        load_published(tmp_path / "empty")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(ValueError, match="it is damaged or was not written"):
        load_published(tmp_path / "pickle")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere"):
        load_published(tmp_path / "nowhere")


def weights_with(**changes):
    return checkpoint(state_dict={name.replace("__", "."): w for name, w in (dense().state_dict() | changes).items()})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "epoch": 3}, "not a checkpoint of the original CGCNN code: it has no args, normalizer"),
        ([1, 2], "it has no args, normalizer, state_dict"),
        (checkpoint(state_dict={}), "it has no weights 'embedding.weight'"),
        (weights_with(fcs__0__weight=torch.zeros(6, 6)), "more than one hidden layer after pooling"),
        (weights_with(**{"embedding.weight": torch.zeros(8, 90)}), "made with 90 features per atom.*92"),
        (weights_with(**{"convs.0.fc_full.weight": torch.zeros(16, 16 + 51)}), "made with 51 features per bond.*41"),
        (weights_with(extra__weight=torch.zeros(2)), "does not fit the network.*extra.weight"),
        (weights_with(**{"convs.1.bn2.bias": torch.zeros(9)}), "does not fit the network.*sum_norm.bias"),
        (weights_with(**{"fc_out.bias": torch.tensor([torch.nan])}), "fc_out.bias holds what is not a finite number"),
        (checkpoint(normalizer={"mean": 0.0, "std": 0.0}), "the standard deviation of the targets is 0.0; it must be"),
        (checkpoint(normalizer={"mean": float("nan"), "std": 1.0}), "the mean of the targets is nan; it must be"),
        (checkpoint(normalizer={"std": 1.0}), "KeyError: 'mean'"),
        (checkpoint(args={}), "KeyError: 'task'"),
        (checkpoint(args=None), "TypeError"),
    ],
)
def test_other_networks_are_refused(write, content, message):
    with pytest.raises(ValueError, match=rf"(?s)model_best.pth.tar.*{message}"):
        load_published(write(content))
