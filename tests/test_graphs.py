"""The graphs: against pymatgen's neighbours and PyG's collate; saving, views, bad input."""

from __future__ import annotations

import gc
import itertools
import json
import os
import time
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import AWKWARD, SLAB, TARGET, bundled, bundled_graphs, examples, random_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel
from pymatgen.core import Lattice, Species, Structure
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from torch_geometric.data import Batch, Data

from course_lib import graph_files
from course_lib import graphs as graphs_module
from course_lib.composition import magpie
from course_lib.graphs import BOND_TOLERANCE, CrystalGraphs, nearest_neighbors, neighbor_weight
from course_lib.invariance import TRANSFORMATIONS
from course_lib.validation import CLOSEST

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def pymatgen_neighbors(structure: Structure, reach: float, neighbors: int = 12):
    """The neighbours with a weight, of pymatgen's within `reach`: rows (target, source, vector); and the weights."""
    target, source, image, distance = structure.get_neighbor_list(reach)
    position = structure.cart_coords
    vector = position[source] + image @ structure.lattice.matrix - position[target]
    weight = np.zeros(len(target))
    for atom in range(len(structure)):
        mine = np.flatnonzero(target == atom)

        def missing(cutoff, mine=mine):
            return plain_weight(distance[mine], cutoff).sum() - neighbors

        weight[mine] = plain_weight(distance[mine], brentq(missing, 0, reach, xtol=1e-14))
    kept = weight > 1e-6
    return (target[kept], source[kept], vector[kept]), weight[kept]


def plain_weight(distance, cutoff):
    """The cubic that is 1 where it begins and 0 where it ends, 0.3 angstrom farther out, and flat at both."""
    inside = np.clip((distance - cutoff) / 0.3 + 0.5, 0, 1)
    return 1 - 3 * inside**2 + 2 * inside**3


def assert_same_edges(batch, structure, neighbors=12):
    """Every edge of the batch stands exactly once in pymatgen's list, with the same weight."""
    source, target = batch.edge_index.numpy()
    length = batch.edge_vector.norm(dim=1)
    expected, expected_weight = pymatgen_neighbors(structure, float(length.max()) + 0.5, neighbors)
    one, other = (
        np.column_stack([1e3 * np.asarray(target), 1e3 * np.asarray(source), np.asarray(vector, dtype=float)])
        for target, source, vector in ((target, source, batch.edge_vector), expected)
    )
    assert len(one) == len(other)
    distance, match = cKDTree(other).query(one)
    assert distance.max() < 1e-4
    assert len(np.unique(match)) == len(one)
    bond = np.repeat(np.arange(len(batch.bond_count)), batch.bond_count)
    weight = (batch.bond_weight / batch.bond_count).numpy()[bond]
    np.testing.assert_allclose(weight, expected_weight[match], atol=5e-5)  # of a bond: the mean length's
    total = np.bincount(target, weight, minlength=len(structure))
    np.testing.assert_allclose(total, neighbors, rtol=1e-4)


@pytest.mark.parametrize("structure", [*AWKWARD.values(), ROCKSALT], ids=[*AWKWARD, "rock salt"])
def test_edges_of_awkward_crystals_are_those_of_pymatgen(structure):
    assert_same_edges(CrystalGraphs.from_structures([structure]).batch([0]), structure)


def test_edges_are_those_of_pymatgen():
    graphs = CrystalGraphs.from_structures(examples())
    for b, structure in enumerate(examples()):
        batch = graphs.batch([b])
        assert batch.species.tolist() == list(structure.atomic_numbers)
        assert_same_edges(batch, structure)


def test_neighbours_of_a_tiny_weight_are_kept():
    """Those at the very end of the step: a hundredth of a percent is not nothing."""
    rng = np.random.default_rng(1)
    places = np.argwhere(np.ones((4, 4, 4))) * 3.0 + rng.uniform(-0.6, 0.6, (64, 3))
    structure = Structure(Lattice.cubic(12), ["Na"] * 64, places, coords_are_cartesian=True)
    batch = CrystalGraphs.from_structures([structure]).batch([0])
    assert 1e-6 < batch.bond_weight.min() < 1e-5
    assert_same_edges(batch, structure)


@pytest.mark.parametrize("neighbors", [1, 4, 30])
def test_number_of_neighbors(neighbors):
    structure = random_crystal(2)
    batch = CrystalGraphs.from_structures([structure], neighbors=neighbors).batch([0])
    assert_same_edges(batch, structure, neighbors)
    found = nearest_neighbors(structure.cart_coords, structure.lattice.matrix, neighbors)
    distance = np.linalg.norm(found.vector, axis=1)
    assert np.array_equal(np.lexsort((distance, found.target)), np.arange(len(distance)))  # sorted, as documented
    assert sorted(found.source) == sorted(batch.edge_index[0].tolist())
    np.testing.assert_allclose(batch.cutoff, found.cutoff, rtol=1e-6)


def test_weights_are_those_of_the_formula():
    distance, cutoff = np.linspace(2, 4, 201), np.full(201, 3.1)
    found = neighbor_weight(distance, cutoff)
    np.testing.assert_allclose(found, plain_weight(distance, cutoff), atol=1e-12)
    tensors = neighbor_weight(torch.from_numpy(distance), torch.from_numpy(cutoff))
    np.testing.assert_allclose(tensors.numpy(), found, rtol=0, atol=0)
    assert found[0] == 1
    assert found[-1] == 0


# Two neighbour distances that differ by what any tolerance might be; written with two decimals, as in a CIF file.
@pytest.mark.parametrize("a", np.arange(2.5, 4.5, 0.1).round(2))
def test_ties_are_no_matter_of_rounding(a):
    """The weights of a crystal with nearly equal distances do not depend on how it is written."""
    crystal = Structure(Lattice.tetragonal(a, round(2 * a + 0.01, 2)), ["Na"], [[0, 0, 0]])
    rng = np.random.default_rng(0)
    expected = weights_of_an_atom(crystal)
    for change in TRANSFORMATIONS.values():
        found = weights_of_an_atom(change(crystal, rng))
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, atol=2e-5)


def weights_of_an_atom(structure, neighbors=12):
    """The weights of the edges into the last atom, in order."""
    batch = CrystalGraphs.from_structures([structure], neighbors=neighbors).batch([0])
    mine = batch.bond_index[1] == len(structure) - 1
    each = (batch.bond_weight / batch.bond_count)[mine].repeat_interleave(batch.bond_count[mine])
    return each.sort()[0].numpy()


def test_one_place_is_shared_by_a_whole_shell():
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    expected = [1 / 24] * 24 + [1] * 18  # 12 and 6 nearest neighbours, then 24
    np.testing.assert_allclose(weights_of_an_atom(copper, 19), expected, atol=1e-6)


def test_one_neighbour_is_enough():
    pair = Structure(Lattice.cubic(30), ["H", "H"], [[0, 0, 0], [0, 0, 0.74 / 30]])
    np.testing.assert_allclose(weights_of_an_atom(pair, 1), [1], atol=1e-6)


def test_atoms_may_be_as_near_as_half_an_angstrom():
    graphs = CrystalGraphs.from_structures([Structure(Lattice.cubic(0.5), ["He"], [[0, 0, 0]])])
    assert float(graphs.batch([0]).bond_length.min()) == 0.5


def test_a_shell_shares_the_places_left_in_rock_salt():
    batch = CrystalGraphs.from_structures([ROCKSALT]).batch([0])
    # 6 neighbours at half the lattice constant and 12 at a face diagonal, for the 6 places that are left.
    weight = batch.bond_weight / batch.bond_count
    torch.testing.assert_close(weight, torch.where(batch.bond_length < 3, 1.0, 0.5), rtol=0, atol=1e-5)
    assert torch.bincount(batch.edge_index[1]).tolist() == [18] * 8
    length = batch.edge_vector.norm(dim=1)
    assert sorted({round(float(d), 3) for d in length}) == [2.82, 3.988]


def test_bonds_stand_for_edges():
    graphs = CrystalGraphs.from_structures(examples())
    batch = graphs.batch(range(len(graphs)))
    count = batch.bond_count
    assert int(count.sum()) == batch.edge_index.shape[1] == len(batch.edge_vector)
    torch.testing.assert_close(batch.edge_index, batch.bond_index.repeat_interleave(count, dim=1))
    bond = torch.arange(len(count)).repeat_interleave(count)
    length = batch.edge_vector.double().norm(dim=1)
    mean = torch.zeros(len(count), dtype=torch.double).index_add(0, bond, length) / count
    torch.testing.assert_close(batch.bond_length.double(), mean, atol=2e-6, rtol=0)
    assert (length - mean[bond]).abs().max() < 10 * BOND_TOLERANCE
    source, target = batch.bond_index.numpy()
    key = list(zip(target, source, batch.bond_length.tolist(), strict=True))
    assert key == sorted(key)
    # No two bonds could have been one.
    same_atoms = (np.diff(source) == 0) & (np.diff(target) == 0)
    assert np.diff(batch.bond_length.numpy())[same_atoms].min() > BOND_TOLERANCE / 2
    assert len(count) < len(bond)  # symmetry leaves something to join


def test_batch_equals_the_collate_of_pyg():
    graphs = bundled_graphs(24)
    rows = [3, 0, 23, 7, 7]
    singles = [Data(**dict(graphs.batch([row]).items())) for row in rows]
    for single in singles:
        del single.batch, single.ptr
    expected, found = Batch.from_data_list(singles), graphs.batch(rows)
    assert found.num_graphs == expected.num_graphs == 5
    assert found.num_nodes == expected.num_nodes
    assert set(found.keys()) - {"num_nodes"} == set(expected.keys()) - {"num_nodes"}
    for name in set(found.keys()) - {"num_nodes"}:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0, msg=name)
        assert found[name].dtype == expected[name].dtype, name


def test_batch_holds_features_targets_and_mask():
    frame = bundled(6)
    targets = pd.DataFrame({"a": [1.0, np.nan, 3, 4, 5, 6], "b": [np.nan, 2.0, 3, 4, 5, 6]}, index=frame.index)
    features = magpie(frame["structure"])
    graphs = CrystalGraphs.from_structures(
        frame["structure"], ids=frame.index, composition=features, targets=targets, allow_missing=True
    )
    batch = graphs.batch([1, 0])
    assert batch.y.tolist() == [[0, 2], [1, 0]]
    assert batch.y_mask.tolist() == [[False, True], [True, False]]
    np.testing.assert_array_equal(batch.composition, features.to_numpy()[[1, 0]])
    assert graphs.target_names == ("a", "b")
    np.testing.assert_array_equal(graphs.targets, targets.astype(np.float32))
    swapped = graphs.select_targets(["b", "a"])
    assert swapped.target_names == ("b", "a")
    np.testing.assert_array_equal(swapped.targets, graphs.targets[:, ::-1])
    with pytest.raises(ValueError, match=r"no target 'c'; the targets are a, b\."):
        graphs.select_targets(["a", "c"])


def test_a_sparse_crystal_behind_a_dense_one_is_searched_farther():
    alone, last = (CrystalGraphs.from_structures([*before, AWKWARD["isolated"]]) for before in ([], [ROCKSALT]))
    torch.testing.assert_close(last.batch([1]).edge_vector, alone.batch([0]).edge_vector, rtol=0, atol=0)


def test_graphs_without_features_or_targets():
    graphs = CrystalGraphs.from_structures([ROCKSALT])
    assert graphs.features.shape == graphs.targets.shape == (1, 0)
    assert graphs.target_names == ()


def test_positions_count_from_the_end_and_may_be_none():
    graphs = bundled_graphs(24)
    torch.testing.assert_close(graphs.batch([-1]).edge_vector, graphs.batch([23]).edge_vector, rtol=0, atol=0)
    nothing = graphs.batch([])
    assert nothing.num_graphs == 0
    assert nothing.ptr.tolist() == [0]
    assert nothing.bond_index.shape == nothing.edge_index.shape == (2, 0)
    assert nothing.composition.shape == (0, 145)
    with pytest.raises(IndexError, match="24 is out of bounds"):
        graphs.batch([24])
    with pytest.raises(IndexError, match="integer"):
        graphs.batch([0.5])


def test_views():
    graphs = bundled_graphs(24)
    view = graphs.subset([5, 2, 9]).subset([2, 0])
    assert view.names.tolist() == graphs.ids[[9, 5]].tolist()
    assert len(view) == 2
    assert view.vector is graphs.vector
    torch.testing.assert_close(view.batch([1]).edge_vector, graphs.batch([5]).edge_vector, rtol=0, atol=0)
    np.testing.assert_array_equal(view.features, graphs.composition[[9, 5]])
    np.testing.assert_array_equal(view.targets, graphs.y[[9, 5]])
    np.testing.assert_array_equal(view.batch([1]).cutoff, graphs.cutoff[slice(*graphs.atom_offset[5:7])])
    assert view.species_of(1).tolist() == list(bundled(24)["structure"].iloc[5].atomic_numbers)
    mask = np.zeros(24, dtype=bool)
    mask[[4, 8]] = True
    assert graphs.subset(mask).rows.tolist() == [4, 8]
    assert graphs.batch(mask).num_graphs == 2
    assert len(graphs.subset([])) == 0
    with pytest.raises(ValueError, match="the targets gap, gap name one of them twice"):
        graphs.select_targets(["gap", "gap"])
    with pytest.raises(ValueError, match="mask has 3, crystals has 24"):
        graphs.subset([True, False, True])


def test_features_in_one_row_are_refused():
    with pytest.raises(ValueError, match=r"features has shape \(24,\); give a row per crystal"):
        bundled_graphs(24).with_features(np.zeros(24))


def test_other_features_for_the_same_crystals():
    graphs = bundled_graphs(24)
    view = graphs.subset([5, 2, 9, 2])
    features = np.arange(12.0).reshape(4, 3)
    changed = view.with_features(features)
    assert changed.names.tolist() == view.names.tolist()
    assert changed.target_names == view.target_names
    assert changed.attrs == view.attrs
    np.testing.assert_array_equal(changed.features, features)
    assert changed.features.dtype == np.float32
    np.testing.assert_array_equal(changed.targets, view.targets)
    found, expected = changed.batch(range(4)), view.batch(range(4))
    for name in set(expected.keys()) - {"composition"}:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    np.testing.assert_array_equal(found.composition, features)
    assert graphs.features.shape == (24, 145)
    assert view.checksum == graphs.subset([5, 2, 9, 2]).checksum != changed.checksum
    with pytest.raises(ValueError, match="features has 3, crystals has 4"):
        view.with_features(features[:3])
    with pytest.raises(ValueError, match=r"composition feature: row 1 \(id '.*'\) is nan"):
        view.with_features(np.where(features == 3, np.nan, features))


def assert_equal_graphs(one: CrystalGraphs, other: CrystalGraphs):
    assert one.ids.tolist() == other.ids.tolist()
    assert one.ids.dtype.kind == other.ids.dtype.kind == "U"
    assert one.target_names == other.target_names
    assert one.attrs == other.attrs
    for name in graph_files.ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_no_crystals_at_all(tmp_path):
    graphs = CrystalGraphs.from_structures([])
    assert len(graphs) == 0
    assert graphs.batch([]).num_graphs == 0
    assert graphs.vector.shape == (0, 3)
    graphs.save(tmp_path / "none")
    assert_equal_graphs(CrystalGraphs.load(tmp_path / "none"), graphs)


def test_generator_chunks_and_processes_give_the_same(monkeypatch):
    structures = examples()
    expected = CrystalGraphs.from_structures(structures)
    monkeypatch.setattr(graphs_module, "_CHUNK", 3)
    assert_equal_graphs(CrystalGraphs.from_structures(s for s in structures), expected)
    assert_equal_graphs(CrystalGraphs.from_structures(iter(structures), n_jobs=2), expected)
    asked = []
    monkeypatch.setattr(graphs_module, "Parallel", lambda **how: asked.append(how.pop("n_jobs")) or Parallel(1, **how))
    assert_equal_graphs(CrystalGraphs.from_structures(structures, n_jobs=7), expected)
    assert asked == [7]
    monkeypatch.setattr(graphs_module, "Parallel", Parallel)
    # An error in a worker, and one while the work is handed out, both arrive with their row.
    double = Structure(Lattice.cubic(3), ["Na", "Cl"], [[0, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"row 33: sites 0 and 1 are 0.000 angstrom apart"):
        CrystalGraphs.from_structures([*structures[:33], double, *structures[33:]], n_jobs=2)
    empty = Structure(Lattice.cubic(3), [], [])
    with pytest.raises(ValueError, match="row 33: the crystal has no atoms"):
        CrystalGraphs.from_structures([*structures[:33], empty, *structures[33:]], n_jobs=2)


# ---------------------------------------------------------------- straight to files


def arguments_of_bundled(count: int) -> dict:
    frame = bundled(count)
    return {
        "ids": frame.index,
        "targets": frame[[TARGET, "band_gap"]],
        "composition": magpie,
        "attrs": {"units": {TARGET: "eV/atom"}},
    }


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_graphs_built_into_a_folder_are_those_built_in_memory(tmp_path, monkeypatch, n_jobs):
    structures = bundled(24)["structure"]
    expected = CrystalGraphs.from_structures(structures, **arguments_of_bundled(24))
    assert expected.composition.tobytes() == bundled_graphs(24).composition.tobytes()
    monkeypatch.setattr(graphs_module, "_CHUNK", 5)
    found = CrystalGraphs.from_structures(
        iter(structures), **arguments_of_bundled(24), n_jobs=n_jobs, folder=tmp_path / "a" / "graphs"
    )
    assert_equal_graphs(found, expected)
    assert all(isinstance(getattr(found, name), np.memmap) for name in graph_files.ARRAYS)
    assert_equal_graphs(CrystalGraphs.load(tmp_path / "a" / "graphs"), expected)
    found.subset(range(3, 20)).save(tmp_path / "part")
    assert_equal_graphs(
        CrystalGraphs.load(tmp_path / "part"),
        CrystalGraphs.from_structures(
            structures.iloc[3:20],
            ids=expected.ids[3:20],
            targets=bundled(24)[[TARGET, "band_gap"]].iloc[3:20],
            composition=bundled_graphs(24).composition[3:20],
            attrs=expected.attrs,
        ),
    )


def test_few_structures_are_in_memory_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs_module, "_CHUNK", 5)
    made, most = [], []

    def one_by_one():
        for seed in range(60):
            structure = random_crystal(seed % 4).copy()
            made.append(weakref.ref(structure))
            yield structure
            gc.collect()  # a structure and its sites hold on to each other
            most.append(sum(one() is not None for one in made))

    gc.freeze()  # what is there already need not be looked through 60 times
    try:
        graphs = CrystalGraphs.from_structures(one_by_one(), composition=magpie, folder=tmp_path / "graphs")
    finally:
        gc.unfreeze()
    assert len(graphs) == 60
    assert max(most) <= 3 * 5


def test_no_crystals_built_into_a_folder(tmp_path):
    graphs = CrystalGraphs.from_structures([], composition=magpie, folder=tmp_path / "none")
    assert_equal_graphs(graphs, CrystalGraphs.from_structures([]))


def test_features_of_any_precision_are_stored_in_single(tmp_path):
    graphs = CrystalGraphs.from_structures(TWO, composition=lambda some: np.ones((len(some), 2)), folder=tmp_path / "a")
    assert graphs.features.dtype == np.load(tmp_path / "a" / "composition.npy").dtype == np.float32


def test_an_error_while_building_leaves_the_old_graphs(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs_module, "_CHUNK", 5)
    bundled_graphs(24).save(tmp_path / "graphs")
    structures = list(bundled(24)["structure"])
    structures[17] = Structure(Lattice.cubic(3), [], [])
    with pytest.raises(ValueError, match="row 17: the crystal has no atoms"):
        CrystalGraphs.from_structures(structures, folder=tmp_path / "graphs")
    with pytest.raises(ValueError, match="structures has 24, ids has 2"):
        CrystalGraphs.from_structures(bundled(24)["structure"], ids=["a", "b"], folder=tmp_path / "graphs")
    assert_equal_graphs(CrystalGraphs.load(tmp_path / "graphs"), bundled_graphs(24))
    assert [path.name for path in tmp_path.iterdir()] == ["graphs"]
    (tmp_path / "thesis" / "chapters").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="holds no crystal graphs"):
        CrystalGraphs.from_structures([ROCKSALT], folder=tmp_path / "thesis")


def test_bad_labels_are_found_before_the_work_begins():
    def never():
        raise AssertionError("the structures were read")
        yield

    for arguments in (
        {"targets": pd.Series([1.0, np.nan])},
        {"composition": np.array([[np.inf]])},
        {"ids": ["a", "a"]},
    ):
        with pytest.raises(ValueError, match="row"):
            CrystalGraphs.from_structures(never(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neighbors": 2.5}, "neighbors is 2.5, not a whole number"),
        ({"neighbors": 0}, "neighbors is 0; it must be at least 1"),
        ({"n_jobs": "2"}, "n_jobs is '2', not a whole number"),
        ({"ids": ["a", None]}, "row 1 has the id None"),
        ({"targets": [1.0, 2.0]}, "targets is of type list"),
        ({"targets": pd.Series(pd.to_datetime(["2026-01-01"] * 2), name="day")}, "column 'day' holds datetime"),
    ],
)
def test_what_is_no_setting_no_id_or_no_table_of_labels_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrystalGraphs.from_structures([ROCKSALT, SLAB], **arguments)


def test_features_that_are_no_numbers_are_named():
    with pytest.raises(ValueError, match=r"composition feature: row 1 .*is nan"):
        CrystalGraphs.from_structures([ROCKSALT, SLAB], composition=lambda structures: np.array([[1.0], [np.nan]]))


# ---------------------------------------------------------------- files


def test_save_and_load(tmp_path):
    graphs = bundled_graphs(24)
    graphs.save(tmp_path / "deeper" / "graphs")
    loaded = CrystalGraphs.load(tmp_path / "deeper" / "graphs")
    assert_equal_graphs(loaded, graphs)
    assert all(isinstance(getattr(loaded, name), np.memmap) for name in graph_files.ARRAYS)
    for file in (tmp_path / "deeper" / "graphs").glob("*.npy"):
        np.load(file, allow_pickle=False)
    for name, value in loaded.batch([4, 2]).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, graphs.batch([4, 2])[name], rtol=0, atol=0)


def test_saved_view_holds_only_its_crystals(tmp_path):
    graphs = bundled_graphs(24)
    graphs.subset([7, 3]).save(tmp_path / "view")
    loaded = CrystalGraphs.load(tmp_path / "view")
    assert loaded.ids.tolist() == graphs.ids[[7, 3]].tolist()
    assert len(loaded.species) == len(graphs.batch([7, 3]).species)
    torch.testing.assert_close(loaded.batch([0, 1]).edge_vector, graphs.batch([7, 3]).edge_vector, rtol=0, atol=0)
    loaded.subset([1]).save(tmp_path / "view")  # over the files from which it is mapped
    assert CrystalGraphs.load(tmp_path / "view").ids.tolist() == [graphs.ids[3]]


def fail_at_call(number: int, function):
    """Return `function` that raises at its call of that number."""
    calls = itertools.count(1)

    def failing(*args, **kwargs):
        if next(calls) == number:
            raise OSError("no space left")
        return function(*args, **kwargs)

    return failing


@pytest.mark.parametrize(("module", "name", "call"), [(np, "save", 4), (os, "replace", 1)])
def test_an_interrupted_save_leaves_the_old_files(tmp_path, monkeypatch, module, name, call):
    folder = tmp_path / "graphs"
    graphs = bundled_graphs(24)
    graphs.save(folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail_at_call(call, getattr(module, name)))
        with pytest.raises(OSError, match="no space left"):
            graphs.subset([1, 2]).save(folder)
    assert_equal_graphs(CrystalGraphs.load(folder), graphs)
    assert sorted(path.stem for path in folder.iterdir()) == sorted(["meta", *graph_files.ARRAYS])


def test_save_overwrites_nothing_but_graphs(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(FileExistsError, match=r"holds no crystal graphs. Choose another folder"):
        bundled_graphs(24).save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "irreplaceable"


def test_damaged_files_are_refused(tmp_path):
    graphs = bundled_graphs(24)
    with pytest.raises(FileNotFoundError, match=r"no crystal graphs in .*nowhere"):
        CrystalGraphs.load(tmp_path / "nowhere")

    for name in graph_files.ARRAYS:
        graphs.save(tmp_path / "graphs")
        file = tmp_path / "graphs" / f"{name}.npy"
        file.write_bytes(file.read_bytes()[:-4])
        with pytest.raises(ValueError, match=rf"{name}.npy: .*Save the graphs again"):
            CrystalGraphs.load(tmp_path / "graphs")
        file.unlink()
        with pytest.raises(FileNotFoundError, match=f"{name}.npy"):
            CrystalGraphs.load(tmp_path / "graphs")

    graphs.save(tmp_path / "graphs")
    meta = tmp_path / "graphs" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"format": 0}))
    with pytest.raises(ValueError, match=r"meta.json: it has format 0, but this library reads 4"):
        CrystalGraphs.load(tmp_path / "graphs")


# ---------------------------------------------------------------- bad input


def crystal(species, coordinates=((0, 0, 0),), lattice=None):
    return Structure(Lattice.cubic(3) if lattice is None else lattice, species, coordinates)


BAD_STRUCTURES = {
    "disordered": (crystal([{"Na": 0.5, "K": 0.5}]), "site 0 is disordered.*OrderDisorderedStructureTransformation"),
    "vacancies": (crystal([{"Na": 0.5}]), "site 0 is disordered"),
    "empty": (crystal([], []), "no atoms. Drop the row"),
    "deuterium": (crystal(["D"]), "'D' is an isotope.*Replace it with 'H'"),
    "tritium ion": (crystal([Species("T", 1)]), "'T' is an isotope.*Replace it with 'H'"),
    "dummy": (crystal(["X"]), "'X' is not an element. Replace it with a real element"),
    "too heavy": (crystal(["Md"]), r"Md \(Z = 101\) is heavier than fermium \(Z = 100\).*Drop the row"),
    "double site": (crystal(["Na", "Cl"], [[0, 0, 0], [1, 0, 0]]), "sites 0 and 1 are 0.000 angstrom.*merge_sites"),
    "near sites": (
        crystal(["O", "Na", "O"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0.5, 0.66]]),
        "sites 0 and 2 are 0.480 angstrom apart, nearer than 0.5 angstrom",
    ),
    "almost full": (crystal([{"Na": 0.99999999}]), r"site 0 is disordered \(Na:0.99999999\)"),
    "thin cell": (
        crystal(["Na"], lattice=Lattice.orthorhombic(0.4, 5, 5)),
        "site 0 and its own image are 0.400 angstrom apart",
    ),
    "tiny cell": (crystal(["Na"], lattice=Lattice.cubic(0.05)), "a volume of 0.0001. cubic.*lattice vectors are wrong"),
    "small cell": (crystal(["Na"], lattice=Lattice.cubic(0.48)), "a volume of 0.11 cubic.*lattice vectors are wrong"),
    "flat cell": (crystal(["Na"], lattice=Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]])), "a volume of 0 cubic"),
    "NaN coordinate": (crystal(["Na"], [[0, np.nan, 0]]), "NaN or infinity among its coordinates"),
    "infinite cell": (crystal(["Na"], lattice=Lattice.cubic(np.inf)), "NaN or infinity"),
    "no structure": (np.nan, "nan is not a pymatgen Structure"),
}


def grid(n, spacing, edge, far=()):
    """Return a cubic crystal of `n` atoms that stand together in one corner of its cell; others are far from them."""
    places = np.stack(np.unravel_index(np.arange(n), [int(np.ceil(n ** (1 / 3)))] * 3), axis=1) * spacing
    places = [*places, *far]
    return Structure(Lattice.cubic(edge), ["Na"] * len(places), places, coords_are_cartesian=True)


def scattered(structure):
    """Return the same crystal with every atom in another cell."""
    cells = np.arange(3 * len(structure)).reshape(-1, 3) % 7
    return Structure(structure.lattice, structure.species, structure.frac_coords + cells)


ENDLESS = {
    "long edge": (crystal(["Na"], lattice=Lattice.orthorhombic(3, 3, 501)), "an edge of its cell is 501 angstrom"),
    "longer edge": (
        crystal(["Na"], lattice=Lattice.orthorhombic(3, 1e200, 3)),
        "an edge of its cell is 1e.200 angstrom",
    ),
    "flat angle": (
        crystal(["Na"], lattice=Lattice.from_parameters(4, 4, 4, 90, 90, 0.001)),
        "cell has a volume of 0.001",
    ),
    "wide flat angle": (
        crystal(["Na"], lattice=Lattice.from_parameters(400, 300, 200, 90, 90, 179.99)),
        "its cell is too flat: .*0.07, 0.052, 2e.02 angstrom",
    ),
    "far atom": (crystal(["Na"], [[1e9, 0, 0]]), "an atom has the coordinate 3e.09 angstrom"),
    "heap": (grid(1000, 0.51, 400), "512 atoms are in a cube of 4 angstrom"),
    "heap of atoms in many cells": (scattered(grid(1000, 0.51, 400)), "512 atoms are in a cube of 4 angstrom"),
    "cluster and a far atom": (grid(5000, 2.2, 500, [[250, 250, 250]]), "pairs of atoms are nearer than"),
    "too many": (grid(21_000, 3.0, 90), "21000 atoms; crystals have at most 20000 here"),
}


def test_what_is_just_within_the_limits_is_searched():
    """The longest cell, the farthest atom and the densest crystal; what is beyond stands above."""
    edge = nearest_neighbors(np.zeros((1, 3)), np.diag([500.0, 500.0, 500.0]), neighbors=6)
    np.testing.assert_allclose(np.linalg.norm(edge.vector, axis=1), 500)
    far = nearest_neighbors(np.array([[1e5, 0, 0], [1e5, 2, 2]]), 4 * np.eye(3))
    near = nearest_neighbors(np.array([[0.0, 0, 0], [0, 2, 2]]), 4 * np.eye(3))
    np.testing.assert_allclose(far.cutoff, near.cutoff)
    least = nearest_neighbors(np.zeros((1, 3)), CLOSEST * np.eye(3), neighbors=6)
    np.testing.assert_allclose(np.linalg.norm(least.vector, axis=1).min(), CLOSEST)


@pytest.mark.parametrize(("n_atoms", "n_near", "refused"), [(500, 31, False), (501, 30, False), (501, 31, True)])
def test_a_crystal_with_31_atoms_in_a_cube_is_a_heap(n_atoms, n_near, refused):
    near = np.array(list(itertools.product(*[np.arange(0.1, 4, 1.2)] * 3)))[:n_near]
    others = np.array(list(itertools.product(*[np.arange(2, 40, 4)] * 3)))[1:]
    positions = np.concatenate([near, others[: n_atoms - n_near]])
    if refused:
        with pytest.raises(ValueError, match="31 atoms are in a cube of 4 angstrom"):
            nearest_neighbors(positions, 40 * np.eye(3))
    else:
        assert len(np.unique(nearest_neighbors(positions, 40 * np.eye(3)).target)) == n_atoms


@pytest.mark.parametrize(("height", "images"), [(0.1, 83_667), (0.08, 131_043), (0.05, 334_668)])
def test_a_flat_cell_is_searched_while_it_has_few_images(height, images):
    """The search takes those within 8.3 angstrom, from cells whose atoms are in fact 1 angstrom apart."""
    cell = np.array([[400.0, 0, 0], [-399, height, 0], [0, 0, 400]])
    if images > 100_000:
        with pytest.raises(ValueError, match="its cell is too flat"):
            nearest_neighbors(np.zeros((1, 3)), cell)
    else:
        length = np.linalg.norm(nearest_neighbors(np.zeros((1, 3)), cell).vector, axis=1)
        np.testing.assert_allclose(np.sort(length), np.hypot(1, height) * np.repeat(np.arange(1, 7), 2))


@pytest.mark.parametrize("name", ENDLESS)
def test_a_search_that_would_not_end_is_refused(name):
    structure, message = ENDLESS[name]
    begin = time.process_time()
    with pytest.raises(ValueError, match=rf"row 1 \(id 'mp-2'\): .*{message}"):
        CrystalGraphs.from_structures([ROCKSALT, structure], ids=["mp-1", "mp-2"])
    assert time.process_time() - begin < 10  # of CPU time; a second on an idle machine


def test_a_million_atoms_are_refused_at_once():
    begin = time.perf_counter()
    with pytest.raises(ValueError, match="1000000 atoms; crystals have at most 20000"):
        nearest_neighbors(np.zeros((1_000_000, 3)), 300 * np.eye(3))
    assert time.perf_counter() - begin < 2


def test_neighbours_do_not_depend_on_where_the_search_begins(monkeypatch):
    """Those that fade out lie beyond the twelfth, so a radius that holds twelve is not always enough."""
    rng = np.random.default_rng(0)
    positions, cell = rng.uniform(0, 6, (6, 3)), 6 * np.eye(3)
    found = []
    for radius in np.arange(2.5, 8, 0.05):
        monkeypatch.setattr(graphs_module, "_first_radius", lambda *of, radius=radius: np.array([radius]))
        neighbors = nearest_neighbors(positions, cell)
        order = np.lexsort((*neighbors.vector.T.round(6), neighbors.target))
        found.append((neighbors.target[order], neighbors.vector[order], neighbors.cutoff))
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_allclose(other[1], found[0][1])
        np.testing.assert_allclose(other[2], found[0][2])


@pytest.mark.parametrize("which", ["positions", "cell"])
def test_one_bad_crystal_among_good_ones_is_named(which):
    good = Structure(Lattice.cubic(4.2), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    positions, cells = [good.cart_coords] * 3, [good.lattice.matrix] * 3
    bad = (positions if which == "positions" else cells)[1].copy()
    bad[0, 1] = np.inf
    (positions if which == "positions" else cells)[1] = bad
    with pytest.raises(ValueError, match="second: NaN or infinity among its coordinates or lattice vectors"):
        graphs_module._check_geometry(positions, cells, ["first", "second", "third"])


def test_limits_are_the_most_that_is_allowed(monkeypatch):
    """Two atoms and 5 x 5 x 5 images of the cell are searched where that many are allowed, and refused above."""
    positions, cell = np.array([[0.0, 0, 0], [1.5, 1.5, 1.5]]), 3 * np.eye(3)
    monkeypatch.setattr(graphs_module, "MOST_ATOMS", 2)
    assert len(nearest_neighbors(positions, cell).target)
    monkeypatch.setattr(graphs_module, "MOST_ATOMS", 1)
    with pytest.raises(ValueError, match="2 atoms; crystals have at most 1 here"):
        nearest_neighbors(positions, cell)
    monkeypatch.setattr(graphs_module, "MOST_ATOMS", 2)
    n_pairs = len(Structure(cell, ["Na"] * 2, positions, coords_are_cartesian=True).get_neighbor_list(6.1)[0])
    monkeypatch.setattr(graphs_module, "_first_radius", lambda *of: np.array([6.1]))
    monkeypatch.setattr(graphs_module, "_MOST_PAIRS", n_pairs)
    assert len(nearest_neighbors(positions, cell).target)
    monkeypatch.setattr(graphs_module, "_MOST_PAIRS", n_pairs - 1)
    with pytest.raises(ValueError, match=rf"{n_pairs} pairs of atoms are nearer than 6\.1 angstrom"):
        nearest_neighbors(positions, cell)
    monkeypatch.setattr(graphs_module, "_MOST_IMAGES", 125)
    graphs_module._check_images(cell, 6.0, "crystal")
    monkeypatch.setattr(graphs_module, "_MOST_IMAGES", 124)
    with pytest.raises(ValueError, match="crystal: its cell is too flat"):
        graphs_module._check_images(cell, 6.0, "crystal")


@settings(deadline=None, derandomize=True, max_examples=60, database=None)
@given(
    st.tuples(*[st.floats(-3, 4).map(lambda power: 10**power)] * 3),
    st.tuples(*[st.floats(0.001, 179.999)] * 3),
    st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=1, max_size=4),
)
def test_any_cell_is_searched_or_refused_in_bounded_time(lengths, angles, places):
    lattice, begin = Lattice.from_parameters(*lengths, *angles), time.perf_counter()
    try:
        graphs = CrystalGraphs.from_structures([Structure(lattice, ["Na"] * len(places), places)], ids=["mine"])
    except ValueError as error:
        if "row 0 (id 'mine')" not in str(error):
            raise
    else:
        assert np.linalg.norm(graphs.vector, axis=1).min() > 0.49
    assert time.perf_counter() - begin < 10


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # pymatgen, as it makes the infinite cell
@pytest.mark.parametrize("name", BAD_STRUCTURES)
def test_bad_structure_is_named(name):
    structure, message = BAD_STRUCTURES[name]
    with pytest.raises(ValueError, match=rf"row 1 \(id 'mp-2'\): .*{message}"):
        CrystalGraphs.from_structures([ROCKSALT, structure], ids=["mp-1", "mp-2"])
    with pytest.raises(ValueError, match=rf"row 1: .*{message}"):
        CrystalGraphs.from_structures([ROCKSALT, structure])


def test_nearest_neighbors_names_bad_numbers():
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest_neighbors(np.zeros((1, 3)), np.full((3, 3), np.nan))


def test_oxidation_states_are_fine():
    graphs = CrystalGraphs.from_structures([crystal([Species("Na", 1)])])
    assert graphs.species.tolist() == [11]


TWO = [ROCKSALT, SLAB]
BAD_ARGUMENTS = {
    "NaN target": ({"targets": pd.Series([1.0, np.nan])}, "target: row 1 .*is nan.*dropna"),
    "infinite target": ({"targets": pd.Series([-np.inf, 1.0])}, "target: row 0 .*is -inf"),
    "infinite target beside missing": (
        {"targets": pd.Series([np.nan, np.inf]), "allow_missing": True}, "target: row 1 .*is inf",
    ),
    "NaN target by id": ({"targets": pd.Series([1.0, np.nan]), "ids": ["a", "b"]}, r"row 1 \(id 'b'\) is nan"),
    "NaN feature": ({"composition": np.array([[1.0], [np.nan]])}, "composition feature: row 1 .*is nan"),
    "text as target": ({"targets": pd.Series([1.0, "high"], name="gap")}, "target 'gap'.*row 1 is 'high'"),
    "few ids": ({"ids": ["a"]}, "structures has 2, ids has 1"),
    "many ids": ({"ids": ["a", "b", "c"]}, "structures has 2, ids has 3"),
    "few targets": ({"targets": pd.Series([1.0])}, "structures has 2.*targets has 1"),
    "few features": ({"composition": np.zeros((3, 4))}, "structures has 2, composition has 3"),
    "same id": ({"ids": ["a", "a"]}, r"duplicate id 'a' in rows \[0, 1\].*Drop the repeated rows"),
    "other order": (
        {"ids": ["a", "b"], "targets": pd.Series([1.0, 2.0], index=["b", "a"])},
        r"row 0: crystal 'a' meets 'b' in targets.*targets.loc\[ids\]",
    ),
    "features in other order": (
        {"ids": [7, 8], "composition": pd.DataFrame({"f": [1.0, 2.0]}, index=[8, 7])},
        "row 0: crystal '7' meets '8' in composition",
    ),
    "no neighbours": ({"neighbors": 0}, "neighbors is 0; it must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_argument_is_named(name):
    arguments, message = BAD_ARGUMENTS[name]
    with pytest.raises(ValueError, match=message):
        CrystalGraphs.from_structures(TWO, **arguments)


def test_a_series_of_structures_beside_a_table_in_another_order():
    frame = bundled(6)
    with pytest.raises(ValueError, match=r"row 0: crystal .* in targets"):
        CrystalGraphs.from_structures(frame["structure"], targets=frame[TARGET].iloc[::-1])


def test_targets_of_several_kinds_become_numbers():
    targets = pd.DataFrame({"gap": [1.5, np.nan], "metal": [False, True]})
    graphs = CrystalGraphs.from_structures(TWO, targets=targets, allow_missing=True)
    np.testing.assert_array_equal(graphs.targets, [[1.5, 0], [np.nan, 1]])


def test_ids_are_text():
    assert CrystalGraphs.from_structures(TWO, ids=[7, 8]).names.tolist() == ["7", "8"]


def test_an_index_that_holds_no_ids_is_ignored():
    targets = pd.Series([1.0, 2.0], index=[5, 9], name="gap")
    graphs = CrystalGraphs.from_structures(TWO, ids=["a", "b"], targets=targets)
    assert graphs.targets.tolist() == [[1], [2]]
    assert graphs.target_names == ("gap",)
