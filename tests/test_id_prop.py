"""The table next to structure files: what is read, what is refused with its line, and nothing else."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from course_lib.datasets import load_dataset
from course_lib.id_prop import read_id_prop

NAMES = ("a", "b", "007", "NaN", "größe")
KINDS = {
    "C1": "C1.CIF",
    "c2": "c2.cif.gz",
    "c3": "c3.mcif",
    "c4": "c4.json.xz",
    "c5": "POSCAR-c5",
    "c6": "c6_CONTCAR",
    "c7": "CONTCAR_c7.vasp",
    "CONTCAR_c7": "CONTCAR_c7.vasp",
    "c8": "c8.cif.txt",
}
TWINS = ("t.cif", "t.json", "u.cif", "POSCAR-u", "v.vasp", "v.vasp.gz")
NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hold empty structure files: the table is read before any of them is."""
    folder = tmp_path_factory.mktemp("crystals")
    others = ("POSCAR_p", "c.vasp", "both", "both.cif", "c9.xyz")
    for name in (*(f"{name}.cif" for name in NAMES), *KINDS.values(), *TWINS, *others):
        (folder / name).touch()
    return folder


def write(folder: Path, content: str | bytes) -> Path:
    table = folder / "id_prop.csv"
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    return table


@pytest.mark.parametrize(
    ("content", "ids", "files", "targets"),
    [
        ("a,1.5\nb,-2\n", ["a", "b"], ["a.cif", "b.cif"], [[1.5], [-2]]),
        (
            "a.cif,1.5\nPOSCAR_p,2\nc,3\n",
            ["a.cif", "POSCAR_p", "c"],
            ["a.cif", "POSCAR_p", "c.vasp"],
            [[1.5], [2], [3]],
        ),
        ("both.cif,1\n", ["both.cif"], ["both.cif"], [[1]]),
        ("p,1\n", ["p"], ["POSCAR_p"], [[1]]),
        *[(f"{one},1\n", [one], [one], [[1]]) for one in (*KINDS.values(), *TWINS)],
        *[(f"{one},1\n", [one], [file], [[1]]) for one, file in KINDS.items()],
        ("\ufeffa, 1.5 ,+2.\r\n\r\n , , \r\nb,.5,-3E-1", ["a", "b"], ["a.cif", "b.cif"], [[1.5, 2], [0.5, -0.3]]),
        ("a,1\rb,2\r", ["a", "b"], ["a.cif", "b.cif"], [[1], [2]]),  # as an old Macintosh ends lines
        ('"007","1"\n"NaN","0.0"\n', ["007", "NaN"], ["007.cif", "NaN.cif"], [[1], [0]]),
        ("größe,3.4e38\na,-1e-300\n", ["größe", "a"], ["größe.cif", "a.cif"], [[3.4e38], [-1e-300]]),
    ],
)
def test_what_is_read(folder, content, ids, files, targets):
    found = read_id_prop(write(folder, content))
    assert found.ids == ids
    assert [file.name for file in found.files] == files
    assert found.targets.tolist() == targets


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,1\ngröße,2\n".encode("cp1252"), r"id_prop.csv, line 2: the text is not encoded in UTF-8. .*CSV UTF-8"),
        ("a,1\n".encode("utf-16"), r"line 1: the text is not encoded in UTF-8"),
        ("a,1\nb,2\n".encode("utf-16-le"), r"line 1: the text is not encoded in UTF-8"),
        ("a;1.5\nb;2\n", r"line 1: 'a;1.5' is separated by semicolons"),
        ("a;1,5\nb;2,5\n", r"line 1: 'a;1,5' is separated by semicolons"),
        ("a,1\nb\t2\n", r"line 2: 'b\\t2' is separated by tabs"),
        ("a 1\n", r"line 1: 'a 1' has 1 fields, expected 2"),
        ("a,1\nb,2,5\n", r"line 2: 'b,2,5' has 3 fields, expected 2.*not a comma"),
        ('a,"1,5"\n', r"line 1 \(id 'a'\): target '1,5' is not a number. Write a decimal point"),
        ("a,1,05\n", r"line 1 \(id 'a'\): '05' seems to be the part after a decimal comma"),
        ("a,1_5\n", r"line 1 \(id 'a'\): target '1_5' is not a number"),
        ("a,1\nb,\n", r"line 2 \(id 'b'\): target '' is not a number. Write a number or drop the line"),
        ("id,energy\na,1\n", r"line 1 \(id 'id'\): target 'energy' is not a number. Delete the line if it is a header"),
        ("a,nan\n", r"line 1 \(id 'a'\): target 'nan' is not a number"),
        ("a,-inf\n", r"target '-inf' is not a number"),
        ("a,\uff11\n", "target '\uff11' is not a number"),
        ("a,1\nb,1e39\n", r"line 2 \(id 'b'\): target 1e39 is too large for single precision"),
        ("a,1e999\n", r"target 1e999 is too large for single precision"),
        ("a,1e-400\n", r"target 1e-400 is too small for single precision"),
        ("a,1\n,2\n", r"line 2: ',2' has no id"),
        ("a,1\n\ufeffb,2\n", r"line 2: .* has an invisible character, U\+FEFF"),
        ('a,1\n"b\nc",2\n', r"line 3: .* has an invisible character, U\+000A"),
        ('a,1\n"b,2\n', r"line 2: unexpected end of data"),
        ("a,1\nb,2\na,3\n", r"line 3: duplicate id 'a', first in line 1"),
        ("a,1\na.cif,2\n", r"line 2: duplicate id 'a.cif', first in line 1"),
        ("t,1\n", r"line 1 \(id 't'\): the files t.cif and t.json match. Write the whole name"),
        ("u,1\n", r"the files POSCAR-u and u.cif match"),
        ("v,1\n", r"the files v.vasp and v.vasp.gz match"),
        ("both,1\n", r"line 1 \(id 'both'\): the files both and both.cif match. Write the whole name"),
        ("", "is empty"),
        ("\n ,\n", "is empty"),
    ],
)
def test_what_is_refused_with_its_line(folder, content, message):
    with pytest.raises(ValueError, match=message):
        read_id_prop(write(folder, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,1\nq,2\n", r"line 2 \(id 'q'\): .*q.cif is missing, .* Add the file or leave out the line"),
        ("7,1\n", r"line 1 \(id '7'\): .* The folder has '007', whose name a spreadsheet may have changed"),
        ("A,1\n", r"The folder has 'a'"),
        ("c1,1\n", r"The folder has 'C1'"),
        ("c9,1\n", r"c9.cif is missing, .* By its name, c9.xyz is none of these. Add the file"),
        ("sub/a,1\n", "is missing"),
        (f"{'x' * 5000},1\n", "is missing"),
        ("..,1\n", "is missing"),
    ],
)
def test_file_that_is_missing(folder, content, message):
    with pytest.raises(FileNotFoundError, match=message):
        read_id_prop(write(folder, content))


@pytest.mark.parametrize("other", ["d/../a", "link/a.cif", "./d/..//a"])
def test_one_file_under_two_names_is_refused(tmp_path, other):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(".")
    NACL.to(filename=str(tmp_path / "a.cif"))
    with pytest.raises(ValueError, match=f"line 2: duplicate id '{other}', first in line 1"):
        read_id_prop(write(tmp_path, f"a,1\n{other},2\n"))


def test_folders_as_alignn_has_them(tmp_path):
    NACL.to(filename=str(tmp_path / "one.cif"))
    (tmp_path / "POSCAR-two.vasp").write_text(NACL.to(fmt="poscar"))
    (tmp_path / "POSCAR_three").write_text(NACL.to(fmt="poscar"))
    write(tmp_path, "one.cif,1.5\nPOSCAR-two.vasp,2.5\nPOSCAR_three,3.5\n")
    df = load_dataset(tmp_path)
    assert df.index.tolist() == ["one.cif", "POSCAR-two.vasp", "POSCAR_three"]
    assert df["formula"].tolist() == ["NaCl"] * 3
    assert df["target"].tolist() == [1.5, 2.5, 3.5]


# --- fuzzing ---

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_or_refuse(folder: Path, content: bytes) -> None:
    """Read a table; if that succeeds, every row must be what a reader of its own makes of the line."""
    table = write(folder, content)
    found, said = None, ""
    try:
        found = read_id_prop(table)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
    if found is None:
        assert f"{table}, line " in said or f"{table} is empty" in said
        return
    text = content.decode("utf-8").removeprefix("\ufeff")
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(field.strip() for field in row)]
    assert found.ids == [row[0].strip() for row in rows]
    np.testing.assert_array_equal(found.targets, [[float(field) for field in row[1:]] for row in rows])
    assert all(math.isfinite(value) for value in found.targets.flat)
    assert [file.stem for file in found.files] == [Path(name).stem for name in found.ids]


@FUZZ
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(folder, content):
    read_or_refuse(folder, content)


FIELDS = st.sampled_from(
    [*NAMES, "a.cif", "both", "7", "1.5", "-2e-3", "1e39", "1_5", "nan", "05", "", '"', ";", "\t", "\ufeff", "\0", "ü"]
)
MARKS = st.sampled_from([",", ",", ",", ";", "\t", '"', " ", "\n", "\r\n", "\r", "\n"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1"])


@FUZZ
@given(pieces=st.lists(st.tuples(FIELDS, MARKS), max_size=12), encoding=ENCODINGS)
def test_almost_tables_are_read_or_refused(folder, pieces, encoding):
    read_or_refuse(folder, "".join(field + mark for field, mark in pieces).encode(encoding, errors="ignore"))


FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@FUZZ
@given(
    rows=st.lists(st.tuples(st.sampled_from(NAMES), FLOATS, FLOATS), min_size=1, max_size=5, unique_by=lambda r: r[0]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
)
def test_a_right_table_comes_back_as_it_was_written(folder, rows, ends, mark):
    text = "".join(f"{name},{one!r},{other!r}{ends}" for name, one, other in rows)
    found = read_id_prop(write(folder, text.encode("utf-8-sig" if mark else "utf-8")))
    assert found.ids == [row[0] for row in rows]
    assert found.targets.tolist() == [list(row[1:]) for row in rows]
