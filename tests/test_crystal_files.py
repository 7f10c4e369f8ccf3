"""Crystals in files: what a file says is read to the letter, or is an error that names the file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import re
import time

import numpy as np
import pytest
from damaged_text import damaged
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.symmetry.groups import SpaceGroup

from course_lib.cif import read_cif
from course_lib.datasets import load_dataset, read_structure
from course_lib.graphs import CrystalGraphs
from course_lib.structure_files import read_poscar, structure_from_dict

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
P1 = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n"
ATOMS = "Na1 Na 0 0 0 1\nCl1 Cl 0.5 0.5 0.5 1\n"
COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")


def cell(a="4.2", b="4.2", c="4.2", alpha="90", beta="90", gamma="90"):
    values = {
        "length_a": a,
        "length_b": b,
        "length_c": c,
        "angle_alpha": alpha,
        "angle_beta": beta,
        "angle_gamma": gamma,
    }
    return "".join(f"_cell_{name} {value}\n" for name, value in values.items())


def loop(atoms=ATOMS, columns=COLUMNS):
    return "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns) + atoms


CUBE = cell()


def cif(atoms=ATOMS, *, symmetry=P1, cell=CUBE, columns=COLUMNS, more=""):
    """Return a CIF file: caesium chloride's structure where nothing else is given."""
    return f"data_x\n{cell}{symmetry}{more}{loop(atoms, columns)}"


def named(name):
    return f"_symmetry_space_group_name_H-M '{name}'\n"


UNITS = "_cell_formula_units_Z {}\n_chemical_formula_sum '{}'\n"
OPERATIONS = {
    name: P1.replace("'x, y, z'\n", "".join(f"'{one.as_xyz_str()}'\n" for one in SpaceGroup(name).symmetry_ops))
    for name in ("F m -3 m", "P m -3 m")
}


# --- sites ---


@pytest.mark.parametrize("symbol", ["Na", "Na1", "Na+", "Na1+", "Na+1", "Na0.9+", "'Na'", '"Na0+"'])
def test_symbols_that_are_certain(symbol):
    assert read_cif(cif(f"A1 {symbol} 0 0 0 1\nCl1 Cl2- .5 .5 .5 1\n")).formula == "Na1 Cl1"


@pytest.mark.parametrize(
    "symbol",
    [
        "Va",
        "Du",
        "X",
        "?",
        ".",
        "2H",
        "11",
        "na",
        "NA",
        "Na/K",
        "Na,K",
        "(Na,K)",
        "'0.5Na+0.5K'",
        "'Na + K'",
        "NaK",
        "OH",
        *["Na0.5", "Na1.0", "Na.5", "Na0.5K0.5", "Na+0.5"],
        *["OH2", "Wat", "M", "Vac", "Xx", "*", "-", "H2O", "NO3", "Ow", "''", "□", "Na−"],
    ],
)
@pytest.mark.parametrize("formula", ["", "_chemical_formula_sum 'Na Cl'\n"])
def test_an_atom_with_an_unreadable_symbol_is_not_dropped(symbol, formula):
    with pytest.raises(ValueError, match=r"site 0 \(A1\)"):
        read_cif(cif(f"A1 {symbol} 0 0 0 1\nCl1 Cl 0.5 0.5 0.5 1\n", more=formula))


@pytest.mark.parametrize(
    ("label", "symbol"),
    [
        ("Na", "Na"),
        ("Na1", "Na"),
        ("O1a", "O"),
        ("C(12)", "C"),
        ("O1'", "O"),
        ("Fe2+", "Fe"),
        ("CaM2", "Ca"),
        ("OA1", "O"),
        ("Na0", "Na"),
        ("Na1.5", "Na"),  # atom 5 of the first unit
    ],
)
def test_labels_without_types(label, symbol):
    columns = [name for name in COLUMNS if name != "type_symbol"]
    assert read_cif(cif(f'"{label}" 0 0 0 1\n', columns=columns)).formula == f"{symbol}1"


@pytest.mark.parametrize(
    "label",
    [
        "NA1",
        "CA1",
        "OH1",
        "O-H",
        "OW",
        "Wat1",
        "M1",
        "X1",
        "Du1",
        "Na/K",
        "Na,K1",
        "NaK",
        "Na0.5K0.5",
        "Na0.5",
        "Na.5",
        "H2O",
        "?",
        ".",
        "1",
    ],
)
def test_labels_that_are_not_certain(label):
    columns = [name for name in COLUMNS if name != "type_symbol"]
    with pytest.raises(ValueError, match=rf"site 0 \({re.escape(label)}\)"):
        read_cif(cif(f"{label} 0 0 0 1\n", columns=columns))


def test_a_label_that_names_two_elements():
    with pytest.raises(ValueError, match="'Na/K1' with the type 'Na' names several elements"):
        read_cif(cif("Na/K1 Na 0 0 0 1\n"))


@pytest.mark.parametrize(
    "occupancy", ["1", "1.0", "1.000(5)", ".", "0.99999999", "1.0000001", "0.9999", "+1.", "10e-1"]
)
def test_occupancies_of_one(occupancy):
    structure = read_cif(cif(f"Na1 Na 0 0 0 {occupancy}\nCl1 Cl .5 .5 .5 1\n"))
    assert structure.formula == "Na1 Cl1"
    assert structure.is_ordered


@pytest.mark.parametrize("occupancy", ["0.5", "0.999", "1.001", "0.0", "-1.0", "2.0"])
def test_other_occupancies_are_shown_as_they_are(occupancy):
    with pytest.raises(ValueError, match=rf"site 0 \(Na1\) is disordered: its occupancy is {re.escape(occupancy)}\."):
        read_cif(cif(f"Na1 Na 0 0 0 {occupancy}\n"))


@pytest.mark.parametrize(
    "text", ["?", "one", "0,5", "1/2", "nan", "inf", "1_0", "0x1", "−0.5", "0.5(", "(3)", "1e", "٣"]
)
@pytest.mark.parametrize("what", ["coordinate x", "occupancy", "length"])
def test_what_is_not_a_number(text, what):
    row = {"coordinate x": f"Cl1 Cl 0.5 0.5 0.5 1\nNa1 Na {text} 0 0 1\n", "occupancy": f"Na1 Na 0 0 0 {text}\n"}.get(
        what, ATOMS
    )
    size = cell(a=text) if what == "length" else cell()
    with pytest.raises(ValueError, match=rf"{what}.* is .*, not a number"):
        read_cif(cif(row, cell=size))


def test_a_dot_is_no_coordinate():
    for row in ("Na1 Na . 0 0 1", "Na1 Na 0 . 0 1", "Na1 Na 0 0 . 1"):
        with pytest.raises(ValueError, match=r"site 1 \(Na1\): the coordinate [xyz] is '\.', not a number"):
            read_cif(cif(f"Cl1 Cl 0.5 0.5 0.5 1\n{row}\n"))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("calc_flag", "dum", "site 1 .* is a dummy"),
        ("attached_hydrogens", "2", "site 1 .* has 2 attached hydrogen atoms"),
        ("disorder_group", "-1", "disordered: .*alternatives -1"),
    ],
)
def test_sites_that_are_no_whole_atoms(column, value, message):
    rows = f"Na1 Na 0 0 0 1 .\nCl1 Cl 0.5 0.5 0.5 1 {value}\n"
    with pytest.raises(ValueError, match=message):
        read_cif(cif(rows, columns=(*COLUMNS, column)))
    assert read_cif(cif(rows.replace(value, "."), columns=(*COLUMNS, column))).formula == "Na1 Cl1"


def test_alternative_arrangements():
    columns = (*COLUMNS, "disorder_group")
    with pytest.raises(ValueError, match=r"disordered: .*alternatives 1, 2"):
        read_cif(cif("Na1 Na 0 0 0 1 1\nCl1 Cl 0.5 0.5 0.5 1 2\n", columns=columns))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Na1 Na 0 0 0 1\nK1 K 0 0 0 1\n", r"site 0 \(Na1\) and site 1 \(K1\) are 0.000 angstrom apart: a mixed"),
        ("Na1 Na 0 0 0 1\nNa2 Na 1 -1 0 1\n", r"site 0 \(Na1\) and site 1 \(Na2\) are 0.000 angstrom apart"),
        (
            "O1A O .5 .5 .5 1\nO1B O .55 .5 .5 1\n",
            r"\(O1A\) and site 1 \(O1B\) are 0.210 angstrom apart: a mixed or split",
        ),
        ("O1A O .01 .5 .5 1\nO1B O .97 .5 .5 1\n", r"are 0.168 angstrom apart"),
    ],
)
def test_sites_that_share_a_place(rows, message):
    with pytest.raises(ValueError, match=message):
        read_cif(cif(rows))


def test_hydrogen_molecule_is_read(tmp_path):
    (tmp_path / "h.cif").write_text(cif("H1 H .426 .5 .5 1\nH2 H .574 .5 .5 1\n", cell=cell("5", "5", "5")))
    graphs = CrystalGraphs.from_structures([read_structure(tmp_path / "h.cif")], ids=["h"])
    assert len(graphs.species) == 2


# --- blocks and text ---


GLOBAL = (
    "data_global\n_journal_name_full 'A Journal'\nloop_\n_publ_author_name\n'A. Author'\n"
    "_publ_section_title\n;\nOf data_x\n;\n"
)
PATTERN = "data_pattern\n_pd_meas_scan_method step\nloop_\n_pd_meas_counts_total\n1 2 3\n"
FORM = f"data_form\n{cell('?', '?', '?')}{loop('? ? ? ? ? ?', COLUMNS)}\n"


@pytest.mark.parametrize(
    "text",
    [
        GLOBAL + cif(),
        cif() + PATTERN,
        GLOBAL + cif() + PATTERN,
        FORM + cif(),
        cif().replace("data_x", "data_a_powder_pattern"),
        "# a comment with data_y\n" + cif(),
        cif().replace("\n", "\r\n"),
        cif().replace("\n", "\r"),
        "\ufeff" + cif(),
        cif().replace("_atom_site_fract", "_atom_site.Fract").replace("data_x", "DATA_X").replace("loop_", "LOOP_"),
        cif(more="_publ_author_address\n;\ndata_y\n_cell_length_a 7\nloop_\n'Na\n;\n"),
        cif(more="_citation_author_name 'M. Author',\n_note it is # not quoted\n_publ_x 'one' two\n"),
        cif(more="_publ_contact 'a' _publ_contact 'b' loop_ _publ_author _publ_address A B C\n"),
        cif(more="_note 'it''s # no comment'\n"),
        cif() + "# end",
        cif() + "_note ?",
        cif(more="_cell_modulation_dimension 0\n"),
    ],
)
def test_one_structure_among_other_data(text):
    structure = read_cif(text)
    assert structure.formula == "Na1 Cl1"
    assert structure.lattice.abc == (4.2, 4.2, 4.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cif() + cif(), r"it holds 2 structures \(x, x\); keep one per file"),
        (cif() + cif(cell=cell("5", "5", "5")).replace("data_x", "data_y"), "it holds 2 structures"),
        (cif() + cif().replace("data_x", "DATA_Y"), "it holds 2 structures"),
        (cif() + cif().replace("data_x", "data_powder_pattern"), "it holds 2 structures"),
        (cif() + cif().replace("data_x", "data_y").replace("_fract_", "_Cartn_"), "it holds 2 structures"),
        (cif().replace("_fract_", "_Cartn_") + cif().replace("data_x", "data_y"), "it holds 2 structures"),
        (cif() + loop("K1 K 0.2 0.2 0.2 1\n"), "_atom_site_.* it occurs twice with different values"),
        (cif(more="_cell_length_a 7\n"), "_cell_length_a: it occurs twice with different values"),
        (cif(more="_Cell_Length_A 7\n"), "_cell_length_a: it occurs twice with different values"),
        (
            cif(more="_cell_length_b\n").replace("_cell_length_b 4.2\n", ""),
            "_cell_length_b: line .* 1 names have 0 values",
        ),
        (
            cif().replace("_cell_length_a 4.2", "_cell_length_a 4.2 4.3"),
            "_cell_length_a: line .* 1 names have 2 values",
        ),
        (cif().replace("_cell_angle_beta 90\n", ""), "_cell_angle_beta is '', not a number"),
        (cif(ATOMS + "Na2 Na 0.2\n"), "_atom_site.*: line .*: 6 names have 15 values"),
        (cif(ATOMS.replace("Cl1 Cl", "'Cl1 Cl")) + "'", r"6 names have 13 values"),
        (cif(more="_note\n;\nnever ends\n"), "line .*: the text that starts with ';' has no end"),
        ("", "no atoms with fractional coordinates"),
        (GLOBAL, "no atoms with fractional coordinates"),
        (cif().replace("_fract_", "_Cartn_"), "no atoms with fractional coordinates"),
        ("hello", "line 1: 'hello' cannot stand here in a CIF file"),
        (cif() + "save_frame\n_x 1\nsave_\n", "'save_frame' cannot stand here"),
        (cif(more="_cell_modulation_dimension 1\n"), r"it is modulated \(_cell_modulation_dimension is 1\)"),
        (cif(more="_chemical_formula_sum 'Na Cl2'\n"), "its atoms are Na1 Cl1, but its formula 'Na Cl2'"),
        (cif(more="_chemical_formula_sum 'H2 Na Cl'\n"), "its atoms are Na1 Cl1, but its formula 'H2 Na Cl'"),
    ],
)
def test_what_is_not_one_structure(text, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read_cif(text)


def test_a_million_atoms_are_refused_at_once(tmp_path):
    (tmp_path / "a.cif").write_text(cif(ATOMS * 500_000))
    (tmp_path / "POSCAR").write_text(POSCAR.replace("1 1", "500000 500000") + "0.5 0.5 0.5\n" * 999_998)
    for name in ("a.cif", "POSCAR"):
        begin = time.process_time()
        with pytest.raises(ValueError, match=f"cannot read .*{name}"):
            read_structure(tmp_path / name)
        assert time.process_time() - begin < 5  # a second on an idle machine
    with pytest.raises(ValueError, match="1000000 atoms; crystals have at most 20000"):
        structure_from_dict(changed(sites=NACL.as_dict()["sites"] * 125_000))
    with pytest.raises(ValueError, match="it has 20001 sites"):
        read_cif(cif("Na1 Na 0 0 0 1\n" * 20_001))


NOTE = cif() + "_note "
LONG = 30_000  # what was quadratic takes minutes


@pytest.mark.parametrize(
    "text",
    [
        *[NOTE + word * LONG for word in ("'a ", '"a ', "'a' ", "'a \"b ", "#a ", "'#\" ", "\n;", "\n;\n")],
        *[cif(f"Na1 {symbol} 0 0 0 1\n") for symbol in ("Na" + "1" * LONG + "x", "'A" + "," * LONG + "'")],
        *[cif(f"Na1 Na {number} 0 0 1\n") for number in ("1" * LONG + "x", "1" * LONG + ".1x", "1" * LONG)],
        *[cif(symmetry=P1.replace("z'", f"z{part}'")) for part in ("+1" * LONG, "+" + "1" * LONG, "1" * LONG + "y")],
        cif(ATOMS.replace("\n", " ") * LONG),
        cif(ATOMS.replace("Na ", "'Na' ").replace("\n", " ") * LONG),
        cif("Na1 Na 0.1 0.2 0.3 1\n" * 20_000, symmetry=OPERATIONS["F m -3 m"]),
        cif("data_y\n" * LONG),
        cif("loop_\n" + "_a\n" * LONG),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_long_text_takes_little_time(text):
    begin = time.process_time()
    with contextlib.suppress(ValueError):
        assert read_cif(text).formula == "Na1 Cl1"
    assert time.process_time() - begin < 3


@pytest.mark.parametrize("name", ["a.cif", "a.cif.gz", "a.CIF.bz2", "a.mcif", "a.cif.txt"])
def test_compressed_files_and_other_names(tmp_path, name):
    squeeze = {"gz": gzip.compress, "bz2": bz2.compress}.get(name[-3:].strip("."), lambda content: content)
    path = tmp_path / name
    path.write_bytes(squeeze(cif().encode()))
    assert read_structure(path).formula == "Na1 Cl1"
    path.write_bytes(squeeze((cif() + cif()).encode()))
    with pytest.raises(ValueError, match=rf"row 7: cannot read .*{re.escape(name)}: it holds 2 structures"):
        read_structure(path, "row 7")


def test_a_message_is_short(tmp_path):
    (tmp_path / "a.cif").write_text(cif(f"Na1 Na {'1' * LONG}x 0 0 1\n"))
    with pytest.raises(ValueError, match=r"cannot read .*: the coordinate x is '1{400,500}\. Fix the file"):
        read_structure(tmp_path / "a.cif")


@pytest.mark.parametrize("name", ["a.cif.gz", "a.cif.bz2", "a.cif.xz"])
def test_damaged_compression(tmp_path, name):
    squeeze = {"gz": gzip.compress, "z2": bz2.compress, "xz": lzma.compress}[name[-2:]]
    content = squeeze((cif() + "# " + "x" * 999).encode())
    for damage in (content[:-20], content[:20] + b"\0\1\2\3" + content[24:], b"plain", b""):
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(ValueError, match=f"cannot read .*{name}: "):
            read_structure(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "XDATCAR", "vasprun.xml", "a.xyz", "a.yaml", "a.cssr", "cif"])
def test_other_kinds_of_files_are_refused(tmp_path, name):
    (tmp_path / name).write_text(cif())
    with pytest.raises(ValueError, match=rf"cannot read .*{re.escape(name)}: by its name it is not CIF"):
        read_structure(tmp_path / name)


# --- symmetry ---


@pytest.mark.parametrize(
    ("symmetry", "formula"),
    [
        (named("F m -3 m"), "Na4 Cl4"),
        (named("Fm-3m"), "Na4 Cl4"),
        (named("F 4/m -3 2/m"), "Na4 Cl4"),
        ("_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 225\n", "Na4 Cl4"),
        ("_space_group_IT_number 225\n", "Na4 Cl4"),
        ("_space_group_name_Hall '-F 4 2 3'\n", "Na4 Cl4"),
        (named("F m 3 m"), "Na4 Cl4"),  # as before 1983
        (named("P m m m") + "_space_group_name_H-M_alt 'P 2/m 2/m 2/m'\n", "Na1 Cl1"),
        (named("P 1"), "Na1 Cl1"),
        (named("P m -3 m") + "_symmetry_Int_Tables_number ?\n", "Na1 Cl1"),
        (
            "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n1/2-x,-y,z\nloop_\n_space_group_symop_operation_xyz\n"
            "-x-0.5,-Y,+z\nX,Y,Z\n",
            "Na2 Cl2",
        ),
        (named("F d -3 m") + P1, "Na1 Cl1"),  # the operations count where nothing contradicts them
        (named("F m -3 m") + P1 + UNITS.format(1, "Na Cl"), "Na1 Cl1"),  # a primitive cell
        (named("P m -3 m") + OPERATIONS["P m -3 m"] + UNITS.format(4, "Na Cl"), "Na1 Cl1"),  # the number may be wrong
        (OPERATIONS["F m -3 m"] + UNITS.format(4, "Na4 Cl4"), "Na4 Cl4"),  # as pymatgen writes it
    ],
)
def test_symmetry_that_is_certain(symmetry, formula):
    assert read_cif(cif(symmetry=symmetry)).formula == formula


@pytest.mark.parametrize("name", ["R -3 m", "F d -3 m", "P 4/n m m", "R 3 c", "P n n n", "C m m e", "I 41/a m d"])
def test_a_name_of_several_settings_is_refused(name):
    with pytest.raises(ValueError, match=rf"the space group '{name}' has \d+ settings or origins"):
        read_cif(cif(symmetry=named(name)))


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        ("", "it states no symmetry"),
        (named("?") + "_symmetry_equiv_pos_as_xyz ?\n", "it states no symmetry"),
        ("_space_group_IT_number 14\n", "the space group '14' has 9 settings"),
        ("_space_group_IT_number 62\n", "the space group '62' has 6 settings"),
        ("_space_group_IT_number 166\n", "the space group '166' has 2 settings"),
        ("_space_group_IT_number 231\n", "'231'"),
        (named("Q m m"), "'Q m m'"),
        (named("F m -3 m") + "_space_group_IT_number 221\n", "'F m -3 m' and '221'"),
        (named("F m -3 m") + "_space_group_name_H-M_alt 'P 1'\n", "'P 1' and 'F m -3 m' is not a space group"),
        (P1.replace("x, y, z", "x, y"), "'x, y' is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, y"), "is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, zz"), "is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, z; import"), "is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, 1/0+z"), "is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, 2z"), "is not a symmetry operation"),
        (P1.replace("x, y, z", f"x, y, z+1{'0' * 400}/3"), "is not a symmetry operation"),
        (P1.replace("x, y, z", "x, y, z+9007199254740993/2"), "is not a symmetry operation"),
        (P1 + "loop_\n_space_group_symop_operation_xyz\nx,y,z\n-x,-y,-z\n", "differ"),
        (P1 + "-x,-y,-z\nloop_\n_space_group_symop_operation_xyz\nx,y,z\n-x,-y,z\n", "differ"),
        (P1 + "-x,-y,z\nx+1/2,y,z\n", "3 symmetry operations are not a group: some are missing"),
        (P1 + "-x+1/2,-y,z\n-x,-y,z\n", "3 symmetry operations are not a group: some are missing"),
        (P1 + "-y,x,z\n", "2 symmetry operations are not a group: some are missing"),
        ("loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n", "magnetic"),
        ("loop_\n_symmetry_equiv_pos_as_xyz\n" + "x,y,z\n" * 200, "200 symmetry operations"),
    ],
)
def test_symmetry_that_is_not_certain(symmetry, message):
    with pytest.raises(ValueError, match=message):
        read_cif(cif(symmetry=symmetry))


@pytest.mark.parametrize(
    "symmetry",
    [
        named("F m -3 m") + P1 + UNITS.format(4, "Na Cl"),
        named("F m -3 m") + P1 + UNITS.format(4, "Na4 Cl4"),
        named("?") + P1 + UNITS.format(4, "Na Cl"),
        named("F m -3 m") + P1 + "-x,-y,-z\n" + UNITS.format(4, "Na Cl"),
    ],
)
def test_operations_that_were_cut_drop_no_atoms(symmetry):
    with pytest.raises(ValueError, match=r"its atoms are Na1 Cl1, but _cell_formula_units_Z 4 and the formula 'Na"):
        read_cif(cif(symmetry=symmetry))


@pytest.mark.parametrize("column", ["symmetry_multiplicity", "site_symmetry_multiplicity"])
def test_multiplicities(column):
    def read(multiplicity, symmetry):
        return read_cif(cif(f"Na1 Na 0 0 0 1 {multiplicity}\n", columns=(*COLUMNS, column), symmetry=symmetry)).formula

    for stated in ("4", "4.0", ".", "48"):  # SHELXL wrote the order of the site symmetry
        assert read(stated, OPERATIONS["F m -3 m"]) == "Na4"
    for stated, symmetry, images in (("4", P1, 1), ("1", OPERATIONS["F m -3 m"], 4), ("8", OPERATIONS["F m -3 m"], 4)):
        with pytest.raises(ValueError, match=rf"site 0 \(Na1\) has {images} images .* multiplicity {stated} "):
            read(stated, symmetry)
    with pytest.raises(ValueError, match=r"site 0 \(Na1\): the multiplicity is '4a', not a number"):
        read("4a", P1)


@pytest.mark.parametrize(
    ("names", "position", "count", "parameters"),
    [
        (["F d -3 m :1", "F d -3 m S", "Fd-3m:1"], (0, 0, 0), 8, (5.43, 5.43, 5.43, 90, 90, 90)),
        (["F d -3 m :2", "F d -3 m Z"], (0.125, 0.125, 0.125), 8, (5.43, 5.43, 5.43, 90, 90, 90)),
        (["R -3 m :R", "R -3 m R"], (0, 0, 0), 1, (4, 4, 4, 60, 60, 60)),
        (["R -3 m :H", "R -3 m H", "R-3m:h"], (0, 0, 0), 3, (4, 4, 10, 90, 90, 120)),
        (["P 21/c", "P 1 21/c 1", "P2(1)/c", "P2_1/c"], (0.1, 0.2, 0.3), 4, (5, 6, 7, 90, 100, 90)),
        (["P 21/n", "P 1 21/n 1"], (0.1, 0.2, 0.3), 4, (5, 6, 7, 90, 100, 90)),
        (["C m c e", "C m c a"], (0.1, 0.2, 0.3), 16, (5, 6, 7, 90, 90, 90)),
        (["P n m a", "P b n m", "P n a m"], (0.1, 0.2, 0.3), 8, (5, 6, 7, 90, 90, 90)),
    ],
)
def test_names_with_their_setting(names, position, count, parameters):
    rows = "Si1 Si {} {} {} 1\n".format(*position)
    for name in names:
        structure = read_cif(cif(rows, symmetry=named(name), cell=cell(*map(str, parameters))))
        assert len(structure) == count


def test_a_setting_is_the_one_that_is_meant():
    # In the setting n of P21/c, the image of (x, y, z) under the screw axis is at (1/2-x, 1/2+y, 1/2-z).
    size = cell("5", "6", "7", beta="100")
    structure = read_cif(cif("Si1 Si 0.1 0.2 0.3 1\n", symmetry=named("P 21/n"), cell=size))
    assert any(np.allclose(place, (0.4, 0.7, 0.2)) for place in structure.frac_coords)
    structure = read_cif(cif("Si1 Si 0.1 0.2 0.3 1\n", symmetry=named("P 21/c"), cell=size))
    assert any(np.allclose(place, (0.9, 0.7, 0.2)) for place in structure.frac_coords)


@pytest.mark.parametrize("digits", [3, 4, 5])
def test_rounded_special_positions(digits):
    third, two_thirds = f"{1 / 3:.{digits}f}", f"{2 / 3:.{digits}f}"
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-y,x-y,z'\n'-x+y,-x,z'\n"
    size = cell("5", "5", "10", gamma="120")
    structure = read_cif(cif(f"O1 O {third} {two_thirds} 0.5 1\n", symmetry=operations, cell=size))
    assert structure.formula == "O1"
    np.testing.assert_allclose(structure.frac_coords, [[1 / 3, 2 / 3, 0.5]], atol=1e-6)


def test_three_digits_in_a_large_cell_are_one_atom():
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-y,x-y,z'\n'-x+y,-x,z'\n"
    size = cell("25", "25", "10", gamma="120")
    structure = read_cif(cif("O1 O 0.333 0.667 0.5 1\n", symmetry=operations, cell=size))  # images 0.025 angstrom apart
    np.testing.assert_allclose(structure.frac_coords, [[1 / 3, 2 / 3, 0.5]], atol=1e-6)


def test_a_site_next_to_a_special_position():
    # Of the six images around the axis, some are nearer than 0.1 angstrom and some are not.
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-y,x-y,z\n-x+y,-x,z\ny,x,z\nx-y,-y,z\n-x,-x+y,z\n"
    size = cell("10", "10", "10", gamma="120")
    with pytest.raises(ValueError, match=r"site 0 \(O1\) is next to a special position, but not on it"):
        read_cif(cif("O1 O 0.0060 0.0030 0.5 1\n", symmetry=operations, cell=size))


def test_a_coordinate_far_outside_the_cell():
    with pytest.raises(ValueError, match=r"site 0 \(Na1\) has the coordinate 1e\+12, far outside the cell"):
        read_cif(cif("Na1 Na 1e12 0 0 1\n"))


def test_a_position_that_is_rounded_too_much_names_its_site():
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-y,x-y,z'\n'-x+y,-x,z'\n"
    size = cell("25", "25", "10", gamma="120")
    with pytest.raises(ValueError, match=r"site 0 \(O1\) and site 0 \(O1\) are 0.250 angstrom apart"):
        read_cif(cif("O1 O 0.33 0.67 0.5 1\n", symmetry=operations, cell=size))


@pytest.mark.parametrize(
    ("group", "lattice", "position"),
    [
        ("Fd-3m", Lattice.cubic(3.57), (0.125, 0.125, 0.125)),
        ("P6_3/mmc", Lattice.hexagonal(3.2, 5.2), (1 / 3, 2 / 3, 0.25)),
        ("P6_122", Lattice.hexagonal(5, 9), (0.1, 0.3, 0.07)),
        ("R-3c", Lattice.hexagonal(4.8, 13), (0.3, 0, 0.25)),
        ("Ia-3d", Lattice.cubic(12), (0.03, 0.05, 0.65)),
        ("C2/m", Lattice.monoclinic(9, 3, 6, 110), (0.2, 0, 0.3)),
        ("P-1", Lattice.from_parameters(5, 6, 7, 80, 95, 103), (0.12, 0.23, 0.34)),
    ],
)
def test_operations_are_applied_as_pymatgen_applies_them(group, lattice, position):
    made = Structure.from_spacegroup(group, lattice, ["C"], [position])
    read = read_cif(str(CifWriter(made, symprec=1e-3)))
    assert len(read) == len(made)
    assert read.density == pytest.approx(made.density, rel=1e-5)
    for one, other in ((made, read), (read, made)):
        nearest = one.distance_matrix + 1e9 * np.eye(len(one)), other.distance_matrix + 1e9 * np.eye(len(other))
        np.testing.assert_allclose(*(np.sort(part.min(axis=0)) for part in nearest), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (cell(a="0"), "_cell_length_a is 0, which no crystal has"),
        (cell(c="-3"), "_cell_length_c is -3, which no crystal has"),
        (cell(gamma="180"), "_cell_angle_gamma is 180, which no crystal has"),
        (cell(alpha="30", beta="30", gamma="120"), "no cell has the angles 30, 30, 120"),
    ],
)
def test_cells_that_do_not_exist(size, message):
    with pytest.raises(ValueError, match=message):
        read_cif(cif(cell=size))


# --- any file ---


@settings(deadline=None, derandomize=True, max_examples=60, database=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 7)] * 3), min_size=1, max_size=6, unique=True),
    st.permutations(COLUMNS),
    st.sampled_from(["", "  # comment\n", "\n\n", "_note\n;\ntext 'of two\nlines\n;\n"]),
    st.sampled_from([str, lambda value: f"'{value}'", lambda value: f'"{value}"']),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_read(places, columns, note, quote, end):
    rows = ""
    for number, place in enumerate(places):
        x, y, z = (f"{part / 8:.3f}(2)" for part in place)
        values = dict(zip(COLUMNS, (f"A{number}", "NaClK"[number % 3 :][:1] or "K", x, y, z, "."), strict=True))
        values["type_symbol"] = ("Na", "Cl", "K")[number % 3]
        rows += " ".join(quote(values[name]) for name in columns) + "\n"
    text = cif(rows, columns=columns, more=note, cell=cell("8", "9(1)", "7.5", beta="100.0(3)"))
    structure = read_cif(text.replace("\n", end))
    assert [site.specie.symbol for site in structure] == [("Na", "Cl", "K")[k % 3] for k in range(len(places))]
    np.testing.assert_allclose(structure.frac_coords, np.array(places) / 8)
    np.testing.assert_allclose(structure.lattice.parameters, (8, 9, 7.5, 90, 100, 90))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.cif", cif()),
        (
            "b.cif",
            GLOBAL
            + cif(symmetry=named("F m -3 m"), cell=cell("5.6", "5.6", "5.6"), more="_chemical_formula_sum 'Na Cl'\n"),
        ),
        ("long.cif", cif() + "_note " + "'a \"b " * 500),
        ("POSCAR", NACL.to(fmt="poscar")),
        ("a.json", json.dumps(NACL.as_dict())),
    ],
)
def test_damage_is_an_error_that_names_the_file(tmp_path, name, text):
    begin = time.perf_counter()

    @settings(deadline=None, derandomize=True, max_examples=150, database=None)
    @given(damaged(text))
    @example("")
    @example("\0" * 100)
    def check(content):
        (tmp_path / name).write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            structure = read_structure(tmp_path / name)
        except ValueError as error:
            if name not in str(error):
                raise
            return
        assert structure.is_ordered
        assert {site.specie.symbol for site in structure} <= {symbol for symbol in re.findall("[A-Z][a-z]?", content)}
        assert np.isfinite(structure.frac_coords).all()

    check()
    assert time.perf_counter() - begin < 60


# --- POSCAR ---

POSCAR = "salt\n1.0\n4.2 0 0\n0 4.2 0\n0 0 4.2\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


@pytest.mark.parametrize(
    "text",
    [
        POSCAR,
        POSCAR.replace("\n", "\r\n"),
        POSCAR.replace("salt", "salt\u2028of\x85kitchens\x0b\x0c"),  # ends of lines only to Unicode
        POSCAR.replace("Na Cl", "Na_pv/f474ac0d  Cl/79d9987ad87"),
        POSCAR.replace("1.0", "-74.088"),
        POSCAR.replace("1.0", "2.0").replace("4.2", "2.1"),
        POSCAR.replace("1.0", "-74.088").replace("Direct", "Cartesian").replace("0.5 0.5 0.5", "2.1 2.1 2.1"),
        POSCAR.replace("Direct", "Selective dynamics\nDirect").replace(
            "0 0 0\n0.5 0.5 0.5", "0 0 0 T T F\n.5 .5 .5 F F F"
        ),
        POSCAR.replace("Na Cl\n", "").replace("0 0 0\n0.5 0.5 0.5", "0 0 0 Na\n.5 .5 .5 Cl"),
        POSCAR.replace("0 0 0\n0.5 0.5 0.5", "0 0 0 Na1\n.5 .5 .5 Cl ! chlorine"),
        POSCAR.replace("0 0 0\n0.5 0.5 0.5", "0 0 0 Na0.9+\n.5 .5 .5 Cl-,spin=5"),  # as pymatgen writes them
        POSCAR.replace("0 0 0\n0.5 0.5 0.5", "0 0 0 Na_pv/f474ac0d\n.5 .5 .5 Cl1a 0.5 a comment"),
        POSCAR.replace("0 0 0\n0.5 0.5 0.5", "0 0 0 ! sodium\n.5 .5 .5 # chlorine"),
        POSCAR.replace("Direct", "fractional"),
        POSCAR + "\n 0.0E+00 0.0E+00 0.0E+00\n 0.0E+00 0.0E+00 0.0E+00\n\n",
        POSCAR + "\nCartesian\n 0.0E+00 0.0E+00 0.0E+00\n 0.0E+00 0.0E+00 0.0E+00\n",
    ],
)
def test_poscar(text):
    structure = read_poscar(text)
    assert structure.formula == "Na1 Cl1"
    assert structure.volume == pytest.approx(4.2**3)
    np.testing.assert_allclose(structure.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POSCAR + POSCAR, "it continues after the 2 atoms"),
        (POSCAR + "\n" + POSCAR, "it continues after the 2 atoms"),
        (POSCAR + "0.2 0.2 0.2\n", "it continues after the 2 atoms"),
        (POSCAR[: POSCAR.rindex("0.5 0.5 0.5")], "not a whole POSCAR"),
        (POSCAR.replace("Na Cl", "Na Cl K"), "3 elements and 2 counts"),
        (POSCAR.replace("1 1", "1 1 1"), "2 elements and 3 counts"),
        (POSCAR.replace("1 1", "1 0"), "the counts of atoms are"),
        (POSCAR.replace("1 1", "1 -1"), "not a whole POSCAR|counts"),
        (POSCAR.replace("1 1", "1 1000000"), "the counts of atoms are"),
        (POSCAR.replace("Na Cl", "Na/K Cl"), "'Na/K' is not an element"),
        (POSCAR.replace("Na Cl", "Va Cl"), "'Va' is not an element"),
        (POSCAR.replace("Na Cl", "X Cl"), "'X' is not an element"),
        (POSCAR.replace("Na Cl\n", ""), "it does not say which element atom 0 is"),
        (
            POSCAR.replace("0 0 0\n0.5 0.5 0.5", "0 0 0 Cl\n.5 .5 .5 Na"),
            "atom 0 is Na by the counts, but Cl on its line",
        ),
        *[
            (
                POSCAR.replace("0.5 0.5 0.5", f"0.5 {number} 0.5"),
                rf"not a whole POSCAR \('{re.escape(number)}' is not",
            )
            for number in ("0.2_5", "nan", "inf", "0x1", "٣", "½", "1e")
        ],
        (POSCAR.replace("1.0", "1_0"), r"not a whole POSCAR \('1_0' is not a number"),
        (POSCAR.replace("1.0", "1.0 1.0 2.0"), r"not a whole POSCAR \('1.0 1.0 2.0' is not a number"),
        (POSCAR.replace("1.0", ""), "not a whole POSCAR"),
        (POSCAR.replace("4.2 0 0", "4_2 0 0"), r"not a whole POSCAR \('4_2' is not a number"),
        (POSCAR.replace("1.0", "0"), "its cell has no volume"),
        (POSCAR.replace("1.0", "1e39"), "a number in it is larger than"),
        (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5 1e999"), "a number in it is larger than"),
        (POSCAR.replace("0 4.2 0", "4.2 0 0"), "its cell has no volume"),
        (POSCAR.replace("1 1", "١ ١"), "not a whole POSCAR"),
        *[
            (
                POSCAR.replace("0.5 0.5 0.5", f"0.5 0.5 0.5 {word}"),
                f"atom 1 has '{re.escape(word)}' after its coordinates",
            )
            for word in ("Xx", "Na/K", "Na,K", "Na0.5", "NaK", "Na0.5+K0.5", "chlorine", "É")
        ],
        (
            POSCAR.replace("Direct", "Selective\nDirect").replace(
                "0 0\n0.5 0.5 0.5", "0 0 T F T\n0 0 .5 F T .TRUE. Xx"
            ),
            "atom 1 has 'Xx' after its coordinates",
        ),
        (POSCAR.replace("Direct", "Selective dynamics\nDirect"), "not three flags T or F after the coordinates"),
        (POSCAR.replace("Direct", ""), "line 8 is '', not 'Direct' or 'Cartesian'"),
        (POSCAR.replace("Direct", "Selective dynamics\n"), "line 9 is '', not 'Direct' or 'Cartesian'"),
        (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5"), "not a whole POSCAR"),
        (POSCAR.replace("0.5 0.5 0.5", "0.5 0.5-0.5"), "not a whole POSCAR"),
        (POSCAR.replace("Direct\n", ""), "not a whole POSCAR|it does not say how"),
    ],
)
def test_bad_poscar(text, message):
    with pytest.raises(ValueError, match=message):
        read_poscar(text)


def test_a_potcar_alongside_changes_nothing(tmp_path):
    (tmp_path / "POSCAR").write_text(POSCAR)
    (tmp_path / "POTCAR").write_text("PAW_PBE K_sv 06Sep2000\n")
    assert read_structure(tmp_path / "POSCAR").formula == "Na1 Cl1"


# --- structures as dicts ---


def test_dicts_are_what_pymatgen_writes(tmp_path):
    charged = NACL.copy().add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert structure_from_dict(NACL.as_dict()) == NACL
    assert structure_from_dict(charged.as_dict()) == charged
    charged.to(str(tmp_path / "a.json"))
    assert read_structure(tmp_path / "a.json") == charged


def changed(**changes):
    content = json.loads(json.dumps(NACL.as_dict()))
    for name, value in changes.items():
        part, key = (content["sites"][3], name) if name in ("species", "abc") else (content, name)
        part[key] = value
    return content


@pytest.mark.parametrize("occupancy", [0.99999999, 1.0000001, 1])
def test_occupancies_of_one_in_dicts(occupancy):
    structure = structure_from_dict(changed(species=[{"element": "Na", "occu": occupancy}]))
    assert structure.is_ordered
    assert structure == NACL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("NaCl", "'NaCl' is not a pymatgen Structure"),
        (None, "None is not a pymatgen Structure"),
        ([NACL.as_dict()] * 2, "is not a pymatgen Structure"),
        ({"@module": "planted", "@class": "A"}, "is not a pymatgen Structure"),
        (changed(**{"@class": "Molecule"}), "is not a pymatgen Structure"),
        (changed(lattice=None), "is not a pymatgen Structure"),
        (changed(sites=None), "is not a pymatgen Structure"),
        *[
            (changed(abc=place), "site 3: .* is not three numbers")
            for place in ([0, 0], ["x", 0, 0], [None, 0, 0], [float("nan"), 0, 0], [0, 10**400, 0], None, "abc")
        ],
        *[(changed(abc=[0, 0.5, number]), "site 3: .* is not three numbers") for number in (True, "0.5", "0.2_5")],
        *[
            (changed(lattice={"matrix": [[5, 0, 0], [0, number, 0], [0, 0, 5]]}), "lattice vector 1: .* is not three")
            for number in (True, "5", None, float("inf"), [5])
        ],
        (changed(lattice={"matrix": [[5, 0, 0], [0, 5, 0]]}), "is not a pymatgen Structure"),
        *[
            (changed(lattice=NACL.lattice.as_dict() | {"pbc": pbc}), "it is not periodic in all directions")
            for pbc in (False, [True, True, False], [1, 0, 0], None)
        ],
        *[
            (
                changed(species=[{"element": "Na", "occu": 1, "oxidation_state": state}]),
                "site 3: its oxidation state is",
            )
            for state in ("x", "1", True, [1], float("nan"))
        ],
        *[
            (changed(species=[{"element": "Na", "occu": occupancy}]), "site 3: its occupancy is .*, not a number")
            for occupancy in ("half", "1", True, None, float("nan"))
        ],
        (changed(species=[]), r"site 3 is disordered \(no atom\)"),
        (changed(species=[{"element": "Na", "occu": 0.999}]), "site 3 is disordered: its occupancy is 0.999"),
        (
            changed(species=[{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]),
            r"site 3 is disordered \(Na: 0.5, K: 0.5\)",
        ),
        (changed(species=[{"element": "X", "occu": 1}]), "site 3: 'X' is not an element"),
        (changed(species=[{"element": "X", "oxidation_state": 1, "occu": 1}]), "site 3: 'X' is not an element"),
        (changed(species=[{"element": None, "occu": 1}]), "site 3: None is not an element"),
        (changed(species=[{"element": ["Na"], "occu": 1}]), "site 3: .* is not an element"),
    ],
)
def test_bad_dicts(content, message):
    with pytest.raises(ValueError, match=message):
        structure_from_dict(content)


# --- frames ---


@pytest.fixture
def frame(tmp_path):
    """Write a frame as JSON: ``frame(index, **columns)``; the structures are rock salt where not given."""

    def write(index, **columns):
        columns = {"structure": [NACL.as_dict()] * len(index)} | columns
        content = {"index": index, "columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
        (tmp_path / "mine.json").write_text(json.dumps(content))
        return tmp_path / "mine.json"

    return write


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1.5", "2.5"], r"mine\.json: column 'y': row 0 \(id 'a'\) is '1\.5', not a number that fits"),
        ([1.5, "2.5"], r"mine\.json: column 'y': row 1 \(id 'b'\) is '2\.5', not a number"),
        ([1.5, "n/a"], r"column 'y': row 1 \(id 'b'\) is 'n/a', not a number"),
        ([True, None], r"column 'y': row 1 \(id 'b'\) is 'None', not a number"),
        ([1, 10**30], r"column 'y': row 1 \(id 'b'\) is '1000+', not a number that fits"),
        ([1, 10**400], r"mine\.json: row 1 \(id 'b'\) has a number beyond 2e\+308"),
        ([1.5, None], r"y: row 1 \(id 'b'\) is nan"),
        ([{"@module": "planted", "@class": "A"}, 1], "row 0: it names the Python module 'planted'"),
    ],
)
def test_columns_that_are_not_numbers(frame, cells, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(frame(["a", "b"], y=cells))


@pytest.mark.parametrize("name", ["A.JSON", "a.json.GZ", "ID_PROP.CSV"])
def test_extensions_in_capitals(frame, tmp_path, name):
    content = frame(["a"], y=[1]).read_bytes()
    NACL.to(filename=str(tmp_path / "a.cif"))
    (tmp_path / name).write_bytes({"V": b"a,1", "Z": gzip.compress(content)}.get(name[-1], content))
    assert load_dataset(tmp_path / name)["formula"].tolist() == ["NaCl"]


def test_text_beside_numbers_is_no_target(frame):
    df = load_dataset(frame(["a", "b"], y=[1, 2], icsd=["1", "2"], note=[None, "x"]))
    assert df.attrs["targets"] == ["y"]
    assert list(df["icsd"]) == ["1", "2"]


def test_names_that_are_numbers(frame):
    path = frame([0, 1.5], five=[1.0, 2.0])
    path.write_text(path.read_text().replace('"five"', "5"))
    df = load_dataset(path)
    assert list(df.index) == ["0", "1.5"]
    assert df.attrs["targets"] == ["5"]
    assert list(df["5"]) == [1, 2]


def test_an_error_in_a_structure_names_its_row(frame):
    path = frame(["a", "b"], structure=[NACL.as_dict(), changed(species=[{"element": "Na", "occu": 0.5}])])
    with pytest.raises(ValueError, match=r"row 1 \(id 'b'\): site 3 is disordered: its occupancy is 0.5"):
        load_dataset(path)
