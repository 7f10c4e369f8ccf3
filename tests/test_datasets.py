import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import digest, in_matbench_format, serve_as
from pymatgen.core import Composition, Lattice, Structure
from sklearn.model_selection import KFold

from course_lib import cli, crystal_files, dataset_sources, datasets, json_frames
from course_lib.composition import magpie
from course_lib.dataset_sources import SOURCES, About, Download, matbench_folds
from course_lib.datasets import fold_of_test, folds, load_dataset, read_structure, stream_dataset
from course_lib.graphs import CrystalGraphs

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


# --- the bundled crystals ---


@pytest.fixture(scope="module")
def bundled():
    return load_dataset("pbe_prototypes")


def test_bundled_frame(bundled):
    assert bundled.index.name == "id"
    assert bundled.index.is_unique
    assert all(isinstance(structure, Structure) for structure in bundled["structure"])
    assert np.isfinite(bundled[bundled.attrs["targets"]].to_numpy()).all()
    assert (bundled["band_gap"] >= 0).all()
    assert bundled.attrs["targets"] == ["formation_energy_per_atom", "band_gap"]
    assert bundled.attrs["units"]["formation_energy_per_atom"] == "eV/atom"
    assert bundled.attrs["licence"] == "CC BY 4.0"
    json.dumps(bundled.attrs)  # plain types only


def test_bundled_structures_are_what_their_columns_say(bundled):
    for name, row in bundled.iloc[::7].iterrows():
        prototype, *symbols = name.split("-")
        assert row["prototype"] == prototype
        assert {site.specie.symbol for site in row["structure"]} == set(symbols)
        assert row["structure"].composition.reduced_formula == row["formula"]


def test_known_physics(bundled):
    # Textbook facts, not our own numbers: the stable structures, and that rock salt insulates.
    def energy(name):
        return bundled.loc[name, "formation_energy_per_atom"]

    assert energy("zincblende-Ga-P") < energy("rocksalt-Ga-P") < energy("cscl-Ga-P")
    assert energy("rocksalt-Ca-O") < energy("zincblende-Ca-O")
    assert bundled.loc["rocksalt-Li-F", "band_gap"] > 8  # PBE: about 8.7 eV
    edge = bundled.loc["rocksalt-Li-F", "structure"].lattice.a * np.sqrt(2)
    assert edge == pytest.approx(4.03, rel=0.03)  # experiment, angstrom


@pytest.fixture
def data_copy(tmp_path, monkeypatch):
    for name in ("pbe_prototypes.json", "checksums.sha256"):
        shutil.copy(datasets.DATA / name, tmp_path)
    monkeypatch.setattr(dataset_sources, "DATA", tmp_path)
    return tmp_path / "pbe_prototypes.json"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b'"band_gap":0.0', b'"band_gap":0.1', 1),
    ],
    ids=["truncated", "changed"],
)
def test_damaged_bundled_file_says_how_to_restore_it(data_copy, damage):
    data_copy.write_bytes(damage(data_copy.read_bytes()))
    with pytest.raises(ValueError, match=r"corrupt or truncated.*git checkout -- data/pbe_prototypes\.json.*build"):
        load_dataset("pbe_prototypes")


def test_missing_bundled_file_says_how_to_restore_it(data_copy):
    data_copy.unlink()
    with pytest.raises(FileNotFoundError, match=r"missing.*git checkout"):
        load_dataset("pbe_prototypes")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("pbe_prototype", "pbe_prototypes"), ("matbench_phonon", "matbench_phonons"), ("mp_e_form", "matbench_mp_e_form")],
)
def test_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown dataset {name!r}.*Nearest names:.*{nearest}"):
        load_dataset(name)


def test_task_without_structures_is_refused():
    with pytest.raises(ValueError, match="matbench_steels has compositions but no structures"):
        load_dataset("matbench_steels")


def test_matbench_package_missing():
    code = """if True:
        import sys
        sys.modules["matbench"] = None
        from course_lib.datasets import catalogue, load_dataset
        assert len(load_dataset("pbe_prototypes")) > 0
        assert list(catalogue().index) == ["pbe_prototypes"]
        load_dataset("matbench_phonons")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError: matbench_phonons needs" in done.stderr
    assert "pip install --no-deps matbench" in done.stderr


# --- a new dataset: one entry ---


@pytest.fixture
def made_up(server, tmp_path, monkeypatch, bundled):
    """The one entry of a dataset of two targets, with the crystals that the server has."""
    frame = bundled[["structure", "band_gap", "prototype"]].iloc[:8].assign(volume=np.arange(8.0), cutoff=400)
    server.content = in_matbench_format(frame, tmp_path)
    about = About(
        crystals=8,
        units={"volume": "angstrom^3", "band_gap": "eV"},
        task="regression",
        licence="CC0 1.0",
        citation="A. Author, J. Made Up Data 1, 1 (2020)",
    )
    entry = Download("made_up_gaps", about, url=server.url, sha256=digest(server.content), file="gaps.json.gz")
    monkeypatch.setitem(SOURCES, entry.name, entry)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "cache"))
    return frame


def test_one_entry_is_loaded_streamed_and_fetched(made_up, server, tmp_path):
    df, stream = load_dataset("made_up_gaps"), stream_dataset("made_up_gaps")
    assert list(df.columns) == ["structure", "formula", "band_gap", "prototype", "volume", "cutoff"]
    assert list(df.index) == stream.ids == list(made_up.index)
    assert list(df["structure"]) == list(stream.structures) == list(made_up["structure"])
    # The entry says what the targets are, and in which order: not all columns of numbers.
    pd.testing.assert_frame_equal(stream.targets, made_up[["volume", "band_gap"]], check_names=False)
    assert df.attrs == stream.attrs
    assert df.attrs["targets"] == ["volume", "band_gap"]
    assert df.attrs["units"] == {"volume": "angstrom^3", "band_gap": "eV"}
    assert df.attrs["licence"] == "CC0 1.0"
    assert df.attrs["source"] == f"{server.url} (A. Author, J. Made Up Data 1, 1 (2020))"
    assert [len(fold.test) for fold in folds(df)] == [2, 2, 2, 1, 1]  # no official ones
    assert datasets.fetch_dataset("made_up_gaps") == tmp_path / "cache" / "gaps.json.gz"
    assert server.ranges == [None]
    datasets.check_dataset("made_up_gaps")
    (tmp_path / "cache" / "gaps.json.gz").write_bytes(server.content[:-1])
    with pytest.raises(ValueError, match=r"gaps\.json\.gz is corrupt or truncated"):
        datasets.check_dataset("made_up_gaps")


def test_one_entry_is_in_the_catalogue_and_on_the_command_line(made_up, server, tmp_path, capsys):
    row = {
        "crystals": 8,
        "target": "volume, band_gap",
        "unit": "angstrom^3, eV",
        "task": "regression",
        "licence": "CC0 1.0",
        "file": str(tmp_path / "cache" / "gaps.json.gz"),
        "exists": False,
        "citation": "A. Author, J. Made Up Data 1, 1 (2020)",
    }
    assert datasets.catalogue().loc["made_up_gaps"].to_dict() == row
    assert cli.main(["data", "fetch", "made_up_gaps"]) == 0
    assert Path(row["file"]).read_bytes() == server.content
    capsys.readouterr()
    assert cli.main(["data", "list"]) == 0
    listed = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="name")
    assert listed.loc["made_up_gaps"].to_dict() == row | {"exists": True}
    assert cli.main(["data", "check"]) == 0
    assert f"made_up_gaps,{row['file']},right" in capsys.readouterr().out
    for use in (load_dataset, stream_dataset, datasets.fetch_dataset, datasets.check_dataset):
        with pytest.raises(ValueError, match=r"unknown dataset 'made_up_gap'.*Nearest names: made_up_gaps"):
            use("made_up_gap")


def test_an_entry_with_a_target_that_the_file_has_not(made_up, monkeypatch):
    entry = SOURCES["made_up_gaps"]
    about = entry.about._replace(units={"energy": "eV"})
    monkeypatch.setitem(SOURCES, "made_up_gaps", dataclasses.replace(entry, about=about))
    with pytest.raises(ValueError, match=r"gaps\.json\.gz has no column 'energy'; it has structure, band_gap"):
        load_dataset("made_up_gaps")


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_entry_is_complete(name):
    source = SOURCES[name]
    assert source.name == name
    assert source.about.crystals > 0
    assert source.about.task in ("regression", "classification")
    assert all([*source.about.units.values(), source.about.licence, source.about.citation])
    assert "\n" not in source.about.citation  # one line of the catalogue


# --- Matbench ---


@pytest.fixture
def matbench_server(server, tmp_path, monkeypatch, bundled):
    """The server has a small matbench_jdft2d, written by matminer itself, and matminer's metadata points at it."""
    frame = pd.DataFrame({"structure": list(bundled["structure"][:12]), "exfoliation_en": np.arange(12.0)})
    server.content = in_matbench_format(frame, tmp_path)
    serve_as("matbench_jdft2d", server, monkeypatch)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MATMINER_DATA", "untouched")
    return server


def test_matbench_task(matbench_server, tmp_path, bundled):
    df = load_dataset("matbench_jdft2d")
    assert df.index.name == "mbid"
    assert df.index[0] == "mb-jdft2d-01"
    assert list(df.columns) == ["structure", "formula", "exfoliation_en"]
    assert list(df["structure"]) == list(bundled["structure"][:12])
    assert list(df["formula"]) == list(bundled["formula"][:12])
    assert df.attrs["targets"] == ["exfoliation_en"]
    assert df.attrs["units"] == {"exfoliation_en": "meV/atom"}
    assert df.attrs["sha256"] == digest(matbench_server.content)
    assert os.environ["MATMINER_DATA"] == "untouched"
    load_dataset("matbench_jdft2d")
    assert len(matbench_server.ranges) == 1  # the second time from the cache


def test_a_task_can_be_fetched_before_it_is_needed(matbench_server, tmp_path):
    listed = datasets.catalogue()
    assert not listed.loc["matbench_jdft2d", "exists"]
    assert list(listed.loc["matbench_jdft2d", ["crystals", "target", "unit", "task"]]) == [
        636, "exfoliation_en", "meV/atom", "regression",
    ]  # fmt: skip
    assert listed.loc["pbe_prototypes", "exists"]
    assert set(listed.index) == {"pbe_prototypes", *STRUCTURE_TASKS}
    path = datasets.fetch_dataset("matbench_jdft2d")
    assert str(path) == listed.loc["matbench_jdft2d", "file"]
    assert path.read_bytes() == matbench_server.content
    assert datasets.catalogue().loc["matbench_jdft2d", "exists"]
    matbench_server.close()
    assert len(load_dataset("matbench_jdft2d")) == 12
    with pytest.raises(ValueError, match="unknown dataset 'matbench_phonon'"):
        datasets.fetch_dataset("matbench_phonon")


def test_a_matbench_task_is_streamed_as_it_is_loaded(matbench_server):
    stream, df = stream_dataset("matbench_jdft2d"), load_dataset("matbench_jdft2d")
    assert stream.ids == list(df.index)
    pd.testing.assert_frame_equal(stream.targets, df[["exfoliation_en"]])
    assert list(stream.structures) == list(df["structure"])
    assert stream.attrs == df.attrs


def test_matbench_without_network(matbench_server, tmp_path):
    matbench_server.close()
    with pytest.raises(ConnectionError) as caught:
        load_dataset("matbench_jdft2d")
    assert matbench_server.url in str(caught.value)
    assert str(tmp_path / "cache" / "matbench_jdft2d.json.gz") in str(caught.value)


STRUCTURE_TASKS = [name for name in SOURCES if name.startswith("matbench_")]


def matbench_frame(task):
    """A frame with the ids of a Matbench task and nothing else."""
    size = SOURCES[task].about.crystals
    prefix = task.replace("matbench", "mb").replace("_", "-")
    ids = [f"{prefix}-{number + 1:0{len(str(size))}d}" for number in range(size)]
    return pd.DataFrame(index=pd.Index(ids, name="mbid"))


@pytest.mark.parametrize("task", STRUCTURE_TASKS)
def test_random_folds_are_the_official_ones(task):
    frame = matbench_frame(task)
    frame.attrs["name"] = task
    official = matbench_folds()[task]
    for number, fold in enumerate(folds(frame)):
        assert list(frame.index[fold.test]) == official[f"fold_{number}"]["test"]
        train_and_validation = np.sort(np.concatenate([fold.train, fold.validation]))
        assert list(frame.index[train_and_validation]) == official[f"fold_{number}"]["train"]


@pytest.mark.parametrize("task", sorted(set(STRUCTURE_TASKS) - {"matbench_mp_is_metal"}))
def test_any_frame_is_split_as_matbench_does(task):
    # Matbench stratifies its classification task; all others it splits without looking at the target.
    frame = matbench_frame(task)
    official = matbench_folds()[task]
    for number, fold in enumerate(folds(frame)):
        assert list(frame.index[fold.test]) == official[f"fold_{number}"]["test"]


def test_matbench_frame_with_foreign_rows_has_no_official_folds():
    frame = matbench_frame("matbench_jdft2d").rename(index={"mb-jdft2d-001": "mine"})
    frame.attrs["name"] = "matbench_jdft2d"
    with pytest.raises(ValueError, match="some ids in the index do not belong to matbench_jdft2d"):
        folds(frame)


# --- the user's own files ---


@pytest.fixture
def cif_folder(tmp_path):
    """Make a folder of CIF files: ``cif_folder({id: structure or text}, lines of id_prop.csv)``."""

    def make(crystals: dict[str, Structure | str], lines: list[str]) -> Path:
        for name, crystal in crystals.items():
            text = crystal if isinstance(crystal, str) else crystal.to(fmt="cif")
            (tmp_path / f"{name}.cif").write_text(text)
        (tmp_path / "id_prop.csv").write_text("".join(f"{line}\n" for line in lines))
        (tmp_path / "atom_init.json").write_text("{}")
        return tmp_path

    return make


def test_cif_folder(cif_folder, bundled):
    chosen = bundled.iloc[:20]
    lines = [f"{name},{energy!r}" for name, energy in chosen["formation_energy_per_atom"].items()]
    df = load_dataset(cif_folder(dict(chosen["structure"]), lines))
    assert list(df.index) == list(chosen.index)
    assert list(df.columns) == ["structure", "formula", "target"]
    np.testing.assert_array_equal(df["target"], chosen["formation_energy_per_atom"])
    assert list(df["formula"]) == list(chosen["formula"])
    for read, written in zip(df["structure"], chosen["structure"], strict=True):
        assert read.composition == written.composition
        assert read.volume == pytest.approx(written.volume, rel=1e-6)
    assert df.attrs["targets"] == ["target"]
    json.dumps(df.attrs)


def test_csv_path_several_targets_and_awkward_ids(cif_folder):
    # Ids that look like numbers, sodium nitride, a byte order mark, spaces and an empty line.
    folder = cif_folder({"007": NACL, "NaN": NACL}, [])
    (folder / "id_prop.csv").write_text("\ufeff007, 1.5,2\r\n\r\nNaN,-3e-1,4\r\n", encoding="utf-8")
    df = load_dataset(folder / "id_prop.csv")
    assert list(df.index) == ["007", "NaN"]
    assert df[["target_1", "target_2"]].to_numpy().tolist() == [[1.5, 2.0], [-0.3, 4.0]]


DISORDERED = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
TWO_IN_ONE = NACL.to(fmt="cif") + NACL.to(fmt="cif").replace("data_NaCl", "data_second")


@pytest.mark.parametrize(
    ("crystals", "lines", "error", "message"),
    [
        ({"a": NACL}, ["a,1", "b,2"], FileNotFoundError, r"line 2 \(id 'b'\).*b\.cif is missing"),
        ({"a": NACL, "b": "nonsense"}, ["a,1", "b,2"], ValueError, r"row 1 \(id 'b'\): cannot read .*b\.cif"),
        ({"a": ""}, ["a,1"], ValueError, r"row 0 \(id 'a'\): cannot read"),
        ({"a": NACL.to(fmt="cif")[:-60]}, ["a,1"], ValueError, r"row 0 \(id 'a'\)"),
        (
            {"a": NACL.to(fmt="cif").replace("'Na4 Cl4'", "'Na4 Cl5'")},
            ["a,1"],
            ValueError,
            r"row 0 .*its atoms are Na4 Cl4, but its formula",
        ),
        ({"a": TWO_IN_ONE}, ["a,1"], ValueError, r"row 0 \(id 'a'\).*holds 2 structures"),
        (
            {"a": DISORDERED},
            ["a,1"],
            ValueError,
            r"row 0 \(id 'a'\): .*site 0 \(Cu0\) is disordered: its occupancy is 0.5",
        ),
        ({"a": NACL}, ["a,nan"], ValueError, r"line 1 \(id 'a'\): target 'nan' is not a number"),
        ({"a": NACL, "b": NACL}, ["a,1,2", "b,3,-inf"], ValueError, r"line 2 \(id 'b'\): target '-inf' is not"),
        ({"a": NACL}, ["a,1", "a,2"], ValueError, r"line 2: duplicate id 'a', first in line 1"),
        ({"a": NACL}, [], ValueError, "id_prop.csv is empty"),
        ({"a": NACL}, ["a"], ValueError, "line 1: 'a' has 1 fields, expected 2"),
        ({"a": NACL}, ["a,1", "b,2,3"], ValueError, "line 2: 'b,2,3' has 3 fields, expected 2"),
        (
            {"a": NACL},
            ["id,target", "a,1"],
            ValueError,
            "line 1.*'target' is not a number. Delete the line if it is a header",
        ),
        ({"a": NACL}, ["a,1", "b,"], ValueError, r"line 2 \(id 'b'\): target '' is not a number"),
    ],
)
def test_bad_cif_folder(cif_folder, crystals, lines, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        load_dataset(cif_folder(crystals, lines))


def test_a_folder_is_read_file_by_file(cif_folder, bundled, tmp_path, monkeypatch):
    chosen = bundled.iloc[:30]
    lines = [f"{name},{energy!r}" for name, energy in chosen["formation_energy_per_atom"].items()]
    folder = cif_folder(dict(chosen["structure"]), lines)
    monkeypatch.setattr(crystal_files, "_FILES_AT_A_TIME", 4)
    read = []
    monkeypatch.setattr(
        crystal_files, "read_structure", lambda *arguments: read.append(1) or read_structure(*arguments)
    )
    stream = stream_dataset(folder)
    assert not read
    next(stream.structures)
    assert len(read) == 4
    stream = stream_dataset(folder / "id_prop.csv")
    graphs = CrystalGraphs.from_structures(
        stream.structures,
        ids=stream.ids,
        targets=stream.targets,
        composition=magpie,
        attrs=stream.attrs,
        folder=tmp_path / "graphs",
    )
    df = load_dataset(folder)
    expected = CrystalGraphs.from_structures(df["structure"], ids=df.index, targets=df["target"])
    assert graphs.names.tolist() == list(df.index)
    np.testing.assert_array_equal(graphs.targets, expected.targets)
    np.testing.assert_array_equal(graphs.vector, expected.vector)
    np.testing.assert_array_equal(graphs.features, magpie(df["structure"]))
    assert graphs.attrs == df.attrs


def test_many_files_are_read_by_processes(cif_folder, bundled, monkeypatch):
    chosen = bundled["structure"].iloc[:6]
    folder = cif_folder(dict(chosen) | {"bad": "nonsense"}, [*(f"{name},1" for name in chosen.index), "bad,2"])
    monkeypatch.setattr(crystal_files, "_FILES_FOR_PROCESSES", 3)
    monkeypatch.setattr(crystal_files, "_FILES_AT_A_TIME", 4)
    structures = stream_dataset(folder).structures
    assert [next(structures).formula for _ in range(4)] == [structure.formula for structure in chosen[:4]]
    with pytest.raises(ValueError, match=r"row 6 \(id 'bad'\): cannot read"):
        next(structures)


def test_other_datasets_stream_too(bundled):
    stream = stream_dataset("pbe_prototypes")
    assert stream.ids == list(bundled.index)
    pd.testing.assert_frame_equal(stream.targets, bundled[bundled.attrs["targets"]])
    assert list(stream.structures) == list(bundled["structure"])
    assert stream.attrs == bundled.attrs


def test_noble_gases_are_not_suspect(tmp_path):
    # Where a CIF file has no formula, pymatgen sorts the elements by electronegativity.
    lines = NACL.to(fmt="cif").replace("Na", "Ne").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("_chemical_formula"))
    (tmp_path / "a.cif").write_text(text)
    assert read_structure(tmp_path / "a.cif").composition == Composition("Ne4Cl4")


@pytest.mark.parametrize("name", ["rock salt.cif", "POSCAR", "nacl.vasp", "POSCAR_nacl"])
def test_one_structure_from_a_file(tmp_path, name):
    text = NACL.to(fmt="cif" if name.endswith("cif") else "poscar")
    (tmp_path / name).write_text(text)
    structure = read_structure(tmp_path / name)
    assert structure.formula == "Na4 Cl4"
    assert structure.volume == pytest.approx(NACL.volume)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("POSCAR", NACL.to(fmt="poscar")[:90], "cannot read .*POSCAR"),
        (
            "POSCAR",
            NACL.to(fmt="poscar").replace("Na Cl\n", "").replace(" Na\n", "\n").replace(" Cl\n", "\n"),
            "POSCAR: it does not say which element atom 0 is",
        ),
        ("notes.txt", "hello", "cannot read .*notes.txt"),
        ("a.cif", TWO_IN_ONE, "a.cif: it holds 2 structures"),
    ],
)
def test_bad_structure_file(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_structure(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.cif is missing"):
        read_structure(tmp_path / "nowhere.cif")


def test_folder_without_id_prop(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"id_prop\.csv is missing"):
        load_dataset(tmp_path)


def test_file_of_another_kind(tmp_path):
    (tmp_path / "crystals.txt").write_text("")
    with pytest.raises(ValueError, match=r"cannot read '.*crystals.txt'"):
        load_dataset(tmp_path / "crystals.txt")


@pytest.fixture
def store(tmp_path):
    def write(frame: pd.DataFrame) -> Path:
        from matminer.utils.io import store_dataframe_as_json

        store_dataframe_as_json(frame, str(tmp_path / "mine.json.gz"), compression="gz", pbar=False)
        return tmp_path / "mine.json.gz"

    return write


def test_json_file(store, bundled):
    frame = bundled[["structure", "band_gap", "prototype"]].iloc[:5]
    df = load_dataset(store(frame))
    assert list(df.columns) == ["structure", "formula", "band_gap", "prototype"]
    assert list(df["structure"]) == list(frame["structure"])
    assert list(df.index) == list(frame.index)
    assert df.attrs["targets"] == ["band_gap"]


def test_json_file_is_read_row_by_row(store, bundled, monkeypatch):
    frame = bundled[["band_gap", "structure", "prototype"]].iloc[:40]
    path = store(frame)
    monkeypatch.setattr(json_frames, "_BLOCK", 500)
    stream = stream_dataset(path)
    assert stream.ids == list(frame.index)
    pd.testing.assert_frame_equal(stream.targets, frame[["band_gap"]], check_names=False)
    first = next(stream.structures)
    assert first == frame["structure"].iloc[0]
    assert list(stream.structures) == list(frame["structure"][1:])


def spoil(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame):
        frame[column] = [value if position == row else old for position, old in enumerate(frame[column])]
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="structure"), "has no column 'structure'; it has band_gap"),
        (spoil("band_gap", 2, np.nan), r"band_gap: row 2 \(id 'x2'\) is nan"),
        (spoil("structure", 1, "NaCl"), r"row 1 \(id 'x1'\): 'NaCl' is not a pymatgen Structure"),
        (spoil("structure", 0, DISORDERED), r"row 0 \(id 'x0'\): site 0 is disordered"),
        (lambda frame: frame.set_axis(["a", "b", "a"]), "duplicate id 'a'"),
        (lambda frame: frame[:0], "has no rows. Store at least one crystal"),
        (lambda frame: frame[:0][[]], "has no column 'structure'; it has none at all"),
    ],
)
def test_bad_json_file(store, change, message):
    frame = pd.DataFrame({"structure": [NACL] * 3, "band_gap": [5.0] * 3}, index=["x0", "x1", "x2"])
    with pytest.raises(ValueError, match=message):
        load_dataset(store(change(frame)))


def test_a_column_with_gaps_beside_the_targets(store):
    columns = {"structure": [NACL] * 3, "energy": [1.0, 2.0, 3.0], "kappa": [1.0, np.nan, np.inf], "note": list("abc")}
    df = load_dataset(store(pd.DataFrame(columns)))
    assert df.attrs["targets"] == ["energy"]
    assert df.attrs["other_columns"] == ["note"]
    assert list(df.attrs["incomplete"]) == ["kappa"]
    assert df.attrs["incomplete"]["kappa"].startswith("kappa: row 1 (id '1') is nan (2 such values)")
    assert df["kappa"].isna().tolist() == [False, True, False]


# --- folds ---


@settings(deadline=None, max_examples=60)
@given(
    formulas=st.lists(st.sampled_from([f"A{number}" for number in range(40)]), min_size=30, max_size=120),
    kind=st.sampled_from(["random", "formula"]),
    n_splits=st.integers(2, 6),
)
def test_parts_are_disjoint_and_cover_all(formulas, kind, n_splits):
    # At least 12 formulas, so that every number of splits is possible.
    frame = pd.DataFrame({"formula": formulas + [f"B{number}" for number in range(12)]})
    parts = folds(frame, kind, n_splits)
    assert len(parts) == n_splits
    for fold in parts:
        assert min(map(len, fold)) > 0
        np.testing.assert_array_equal(np.sort(np.concatenate(fold)), np.arange(len(frame)))
        for rows in fold:
            assert rows.dtype == np.int64
            assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in parts])), np.arange(len(frame)))
    if kind == "formula":
        for fold in parts:
            train, validation, test = (set(frame["formula"].iloc[rows]) for rows in fold)
            assert train.isdisjoint(validation)
            assert test.isdisjoint(train | validation)


def test_random_folds_follow_matbench(bundled):
    expected = KFold(5, shuffle=True, random_state=18012019).split(np.zeros(len(bundled)))
    for fold, (_, test) in zip(folds(bundled), expected, strict=True):
        np.testing.assert_array_equal(fold.test, test)
        share = len(fold.validation) / (len(fold.train) + len(fold.validation))
        assert share == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize("settings", [{"seed": None}, {"seed": -1}, {"n_splits": 2.0}, {"n_splits": 1}])
def test_folds_without_a_seed_or_a_number_are_refused(bundled, settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is"):
        folds(bundled, **settings)


def test_a_test_set_is_a_list_of_different_rows(bundled):
    few = bundled.iloc[:8]
    assert sorted(fold_of_test(few, [3, 0]).test) == [0, 3]
    mask = np.arange(8) < 2
    for test, message in (
        (mask, "test holds bool of shape .* not positions"),
        ([0.0, 1.0], "test holds float64"),
        ([8], "test has the position 8, but there are 8 rows"),
        ([1, 1, 2], "test has 3 positions of 2 rows"),
        ([0, -1], "test has the position -1"),
        ([], "test has 0 positions of 0 rows"),
        (np.arange(8), "test leaves fewer than two formulas"),
    ):
        with pytest.raises(ValueError, match=message):
            fold_of_test(few, test)


def test_folds_repeat_and_read_formulas_from_structures(bundled):
    first = folds(bundled, "formula")
    second = folds(bundled.drop(columns="formula"), "formula")
    for one, other in zip(first, second, strict=True):
        for rows, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(rows, same)


@pytest.mark.parametrize("number", [5, 7, -1])
def test_fold_that_does_not_exist(bundled, number):
    with pytest.raises(IndexError, match=f"fold {number} does not exist: the 5 folds are numbered 0 to 4"):
        folds(bundled)[number]


def test_unknown_kind_of_folds(bundled):
    with pytest.raises(ValueError, match="kind is 'random' or 'formula'"):
        folds(bundled, kind="group")


@pytest.mark.parametrize(
    ("rows", "kind", "n_splits", "counted"),
    [
        (3, "random", 5, "3 rows"),
        (2, "random", 2, "2 rows"),
        (3, "formula", 5, "3 formulas"),
        (0, "random", 5, "0 rows"),
    ],
)
def test_too_little_to_split(rows, kind, n_splits, counted):
    frame = pd.DataFrame(
        {"formula": [f"A{number}" for number in range(rows)] * 2 if kind == "formula" else ["A"] * rows}
    )
    with pytest.raises(ValueError, match=f"cannot split {counted}"):
        folds(frame, kind, n_splits)
