"""Crystals in CIF files, read to the letter: an atom is never dropped, replaced or put at a default position.

pymatgen's parser guesses where a file is odd: it leaves out sites whose symbol it cannot read, takes ``.`` for zero,
chooses a setting of the space group, and lets a repeated name overwrite the first one. Here each of these is an error
that says what is odd. pymatgen and spglib still do the crystallography.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from course_lib.validation import CLOSEST, MOST_ATOMS, NUMBER, check_occupancy, is_element

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

_MOST_WORDS = 500_000  # of atoms, diffraction data and so on; reading more takes too long
_MOST_OPERATIONS = 192  # of a space group, in the cell of any of its settings
_ONE_ATOM = 0.1  # angstrom; images of a site nearer than this are one atom whose special position was rounded
_FARTHEST = 1000  # cells; where coordinates are larger, their digits are lost
_SAME_TRANSLATION = 0.01  # cells; translations are rounded, too
_ABSENT = {"", ".", "?"}

_WORD = re.compile(r"\S+")
_QUOTE_ENDS = {quote: re.compile(rf"{quote}(?!\S)") for quote in ("'", '"')}  # 'it's' is one string
_NUMBER = re.compile(rf"({NUMBER.pattern})(?:\([0-9]+\))?")  # 0.25(3): 0.25 +- 0.03
_TYPE = re.compile(r"([A-Z][a-z]?)(?:[0-9]+|[0-9]+(?:\.[0-9]+)?[+-]|[+-][0-9]*)?")  # Na, Na1, Na0.9+, O2-
_LABEL = re.compile(r"([A-Z][a-z]?)((?:[^a-z].*)?)")
_MIXED = re.compile(r"[A-Z][a-z]?[^A-Za-z/,+]*[/,+][^A-Za-z]*[A-Z]")  # Na/K, Na0.5+K0.5
_TERM = re.compile(r"([+-]?)(?:([xyz])|([0-9]{1,6}/[1-9][0-9]{0,5}|[0-9]{0,6}\.[0-9]+|[0-9]{1,6}))")

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_UNITS = "_cell_formula_units_Z"
_OLD_NAMES = {191: "A b m 2", 203: "A b a 2", 304: "C m c a", 316: "C m m a"}  # before 1992, by spglib's numbers
_NAMES = {
    "hall": ("_space_group_name_hall", "_symmetry_space_group_name_hall"),
    "hermann_mauguin": ("_space_group_name_h_m_alt", "_symmetry_space_group_name_h_m"),
    "number": ("_space_group_it_number", "_symmetry_int_tables_number"),
}


class _Token(NamedTuple):
    word: str
    bare: bool  # not in quotes
    line: int


class _Block:
    """A data block: the values of each name, a list also where there is only one.

    A fault in a name is raised only when the name is read: journals write much that is not CIF around the structure.
    """

    def __init__(self, name: str):
        self.name = name
        self._values: dict[str, list[str]] = {}
        self._faults: dict[str, str] = {}

    def add(self, name: str, values: list[str], fault: str = "") -> None:
        """Add the values of a name, and what is wrong with them."""
        if self._values.setdefault(name, values) != values:
            fault = "it occurs twice with different values"
        if fault:
            self._faults.setdefault(name, fault)

    def get(self, name: str) -> list[str]:
        """Return the values of a name, an empty list where it does not occur; raise ``ValueError`` for a fault."""
        if name in self._faults:
            raise ValueError(f"{name}: {self._faults[name]}")
        return self._values.get(name, [])

    def one(self, *names: str) -> str:
        """Return the first known value of these names, or an empty text."""
        values = {value: None for name in names for value in self.get(name) if value not in _ABSENT}
        if len(values) > 1:
            raise ValueError(f"{names[0]} has different values: {', '.join(map(repr, values))}")
        return next(iter(values), "")

    @property
    def has_atoms(self) -> bool:
        """Whether it has coordinates of any kind; journals keep empty forms in some blocks."""
        return any(
            name.startswith(("_atom_site_fract_", "_atom_site_cartn_")) and not set(values) <= _ABSENT
            for name, values in self._values.items()
        )


class _Site(NamedTuple):
    name: str  # for messages
    symbol: str
    position: np.ndarray  # (3,), fractional
    multiplicity: str  # atoms in the cell, where the file says so


def read_cif(text: str) -> Structure:
    """Read the one crystal of a CIF file.

    Parameters
    ----------
    text : str
        The content of the file. Blocks without atoms, as journals write them, are skipped.

    Returns
    -------
    pymatgen.core.Structure
        All atoms of the cell, ordered as in the file, each site followed by its images.

    Raises
    ------
    ValueError
        If the file holds no structure or several, a site is not one whole atom of a certain element, a number is
        missing or unreadable, the setting of the space group is not certain, two sites share a position, the crystal
        is modulated or too large, or the atoms contradict multiplicities, the formula or its number in the file.
    """
    from pymatgen.core import Lattice, Structure

    blocks = [block for block in _blocks(text) if block.has_atoms]
    if len(blocks) > 1:
        names = ", ".join(block.name for block in blocks)
        raise ValueError(f"it holds {len(blocks)} structures ({names}); keep one per file")
    if not (blocks and blocks[0].get("_atom_site_fract_x")):
        raise ValueError("it has no atoms with fractional coordinates (_atom_site_fract_x)")
    block = blocks[0]
    waves = block.one("_cell_modulation_dimension")
    if waves and _number(waves, "_cell_modulation_dimension"):
        raise ValueError(f"it is modulated (_cell_modulation_dimension is {waves}); write it as a periodic supercell")
    lattice = Lattice.from_parameters(*_cell(block))
    if not np.allclose(lattice.parameters, _cell(block), rtol=1e-6, atol=1e-4):
        raise ValueError(f"no cell has the angles {', '.join(f'{angle:g}' for angle in _cell(block)[3:])}")
    sites = list(_sites(block))
    rotations, translations = _operations(block)
    images, atoms = [], 0
    for site in sites:
        images.append(_images(site, rotations, translations, lattice.matrix))
        _check_multiplicity(site, len(images[-1]), len(rotations))
        if (atoms := atoms + len(images[-1])) > MOST_ATOMS:
            raise ValueError(f"its cell has more than {MOST_ATOMS} atoms; such crystals are not read")
    _check_places(sites, images, lattice.matrix)
    symbols = [site.symbol for site, places in zip(sites, images, strict=True) for _ in places]
    structure = Structure(lattice, symbols, np.concatenate(images))
    _check_formula(block, structure.composition, len(rotations))
    return structure


# --- the text -----------------------------------------------------------------------------------------------------


def _tokens(text: str) -> Iterator[_Token]:
    """Yield the words, quoted strings and text fields of a CIF file, without comments, in time linear in its length."""
    text = re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff"))
    lines = enumerate((match[0] for match in re.finditer(".*\n|.+", text)), start=1)
    count = 0
    for number, line in lines:
        if line[0] == ";":
            field = [line[1:]]
            for _, later in lines:
                if re.match(r";(?!\S)", later):
                    break
                field.append(later)
            else:
                raise ValueError(f"line {number}: the text that starts with {line[:20].strip()!r} has no end")
            yield _Token("".join(field), False, number)
            line = later[1:]
        words = _words(line, number)
        count += len(words)
        if count > _MOST_WORDS:
            raise ValueError(
                f"line {number}: it has more than {_MOST_WORDS} words outside text fields; a crystal of up to "
                f"{MOST_ATOMS} atoms has fewer"
            )
        yield from words


def _words(line: str, number: int) -> list[_Token]:
    """Return the words and quoted strings of a line, hardly more than a file may have."""
    if not re.search("['\"#]", line):
        return [_Token(word, True, number) for word in line.split(maxsplit=_MOST_WORDS)]
    words, at = [], 0
    last = {quote: max((end.start() for end in ends.finditer(line)), default=0) for quote, ends in _QUOTE_ENDS.items()}
    while (word := _WORD.search(line, at)) and word[0][0] != "#" and len(words) <= _MOST_WORDS:
        start, at = word.span()
        quoted = start < last.get(line[start], 0)
        if quoted:
            at = _QUOTE_ENDS[line[start]].search(line, start + 1).end()
        words.append(_Token(line[start + 1 : at - 1] if quoted else word[0], not quoted, number))
    return words


def _blocks(text: str) -> list[_Block]:
    """Return the data blocks of a CIF file."""
    blocks = []
    tokens = [*_tokens(text), _Token("data_", True, 0)]  # an end to the last value
    at = 0
    while at < len(tokens) - 1:
        token = tokens[at]
        word, at = token.word.lower(), at + 1
        if token.bare and word.startswith("data_"):
            blocks.append(_Block(token.word[5:]))
        elif not (blocks and token.bare and (word == "loop_" or word.startswith("_"))):
            raise ValueError(f"line {token.line}: {token.word[:40]!r} cannot stand here in a CIF file")
        elif word == "loop_":
            at = _read(blocks[-1], tokens, at)
        else:
            at = _read(blocks[-1], tokens, at - 1, single=True)
    return blocks


def _read(block: _Block, tokens: list[_Token], at: int, single: bool = False) -> int:
    """Add the name or, in a loop, the columns that start at a position; return the position of what follows."""
    start = at
    while tokens[at].bare and tokens[at].word.startswith("_") and not (single and at > start):
        at += 1
    # Names are written in several ways: _atom_site.Fract_X is _atom_site_fract_x.
    names = [re.sub(r"[.-]", "_", token.word.lower()).rstrip("_") for token in tokens[start:at]]
    start = at
    while not _is_word_of_cif(tokens[at]):
        at += 1
    values = [token.word for token in tokens[start:at]]
    fault = ""
    if len(values) != 1 if single else len(values) % max(len(names), 1):
        fault = (
            f"line {tokens[start - 1].line}: {len(names)} names have {len(values)} values; some are missing or too many"
        )
    for column, name in enumerate(names):
        block.add(name, values[column :: len(names)], fault)
    return at


def _is_word_of_cif(token: _Token) -> bool:
    """Return whether a token is not a value."""
    word = token.word.lower()
    return token.bare and (word.startswith(("_", "data_", "save_")) or word in ("loop_", "global_", "stop_"))


def _number(text: str, what: str) -> float:
    """Return a number, without its uncertainty."""
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueError(f"{what} is {text!r}, not a number")
    return float(match[1])


# --- the crystal --------------------------------------------------------------------------------------------------


def _cell(block: _Block) -> list[float]:
    """Return lengths in angstrom and angles in degrees."""
    tags = [f"_cell_length_{axis}" for axis in "abc"] + [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    cell = [_number(block.one(tag), tag) for tag in tags]
    for tag, value in zip(tags, cell, strict=True):
        if value <= 0 or ("angle" in tag and value >= 180):
            raise ValueError(f"{tag} is {value:g}, which no crystal has")
    return cell


def _sites(block: _Block) -> Iterator[_Site]:
    """Yield the sites of the file; raise ``ValueError`` for one that is not a whole atom at a known position."""
    x = block.get("_atom_site_fract_x")
    if len(x) > MOST_ATOMS:
        raise ValueError(f"it has {len(x)} sites; crystals of more than {MOST_ATOMS} atoms are not read")

    def column(name: str) -> list[str]:
        values = block.get(f"_atom_site_{name}") or [""] * len(x)
        if len(values) != len(x):
            raise ValueError(f"_atom_site_{name} has {len(values)} values for {len(x)} sites")
        return values

    types, labels, occupancies = column("type_symbol"), column("label"), column("occupancy")
    kinds, attached = column("calc_flag"), column("attached_hydrogens")
    multiplicities = column("symmetry_multiplicity"), column("site_symmetry_multiplicity")
    _check_alternatives(column("disorder_group"))
    coordinates = [column(f"fract_{axis}") for axis in "xyz"]
    for row in range(len(x)):
        name = f"site {row} ({labels[row] or types[row]})"
        if kinds[row].lower() == "dum":
            raise ValueError(f"{name} is a dummy atom (_atom_site_calc_flag is 'dum'); remove it")
        hydrogens = attached[row]
        if hydrogens not in _ABSENT and _number(hydrogens, f"{name}: the number of attached hydrogens"):
            raise ValueError(f"{name} has {hydrogens} attached hydrogen atoms without positions; add them as sites")
        check_occupancy(
            1.0
            if occupancies[row] in ("", ".")  # the default of the standard
            else _number(occupancies[row], f"{name}: the occupancy"),
            name,
        )
        position = [
            _number(values[row], f"{name}: the coordinate {axis}")
            for axis, values in zip("xyz", coordinates, strict=True)
        ]
        if np.abs(position).max() > _FARTHEST:
            raise ValueError(f"{name} has the coordinate {np.abs(position).max():g}, far outside the cell")
        multiplicity = next((values[row] for values in multiplicities if values[row] not in _ABSENT), "")
        yield _Site(name, _symbol(types[row], labels[row], name), np.array(position), multiplicity)


def _check_alternatives(groups: list[str]) -> None:
    """Raise ``ValueError`` when the sites belong to several alternative arrangements."""
    alternatives = set(groups) - _ABSENT - {"0"}
    if len(alternatives) > 1 or any(group.startswith("-") for group in alternatives):
        raise ValueError(
            f"it is disordered: its sites belong to the alternatives {', '.join(sorted(alternatives))} "
            "(_atom_site_disorder_group). Keep one of them"
        )


def _symbol(type_symbol: str, label: str, name: str) -> str:
    """Return the element of a site; raise ``ValueError`` when it is not certain."""
    if _MIXED.search(type_symbol) or _MIXED.search(label):
        raise ValueError(f"{name} is disordered: {label!r} with the type {type_symbol!r} names several elements")
    if type_symbol:
        match = _TYPE.fullmatch(type_symbol)
        if not (match and is_element(match[1])):
            raise ValueError(f"{name}: its type symbol {type_symbol!r} is not an element")
        return match[1]
    match = _LABEL.fullmatch(label)
    if not (match and is_element(match[1])):
        raise ValueError(f"{name}: the label {label!r} does not start with an element, and the site has no type symbol")
    symbol, rest = match.groups()
    others = [other for other in re.findall(r"[A-Z][a-z]?", rest) if is_element(other)]
    if re.match(r"0?\.[0-9]", rest):
        raise ValueError(f"{name}: the label {label!r} seems to have an occupancy; give _atom_site_type_symbol")
    if len(symbol) == 1 and rest[:1].isalpha() and is_element(symbol + rest[0].lower()):
        others = [symbol + rest[0].lower()]  # CA: carbon or calcium
    if others:
        raise ValueError(f"{name}: the label {label!r} may mean {symbol} or {others[0]}; give _atom_site_type_symbol")
    return symbol


def _operations(block: _Block) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations, shape (k, 3, 3), and translations (k, 3), for fractional coordinates."""
    if any(block.get(f"_space_group_symop_magn_{name}_xyz") for name in ("operation", "centering")):
        raise ValueError("its symmetry operations are magnetic. Write the crystal without them, as plain CIF")
    given = [operations for tag in _OPERATIONS if set(operations := block.get(tag)) - _ABSENT]
    if not given:
        return _operations_by_name(block)
    groups = [_group(tuple(operations)) for operations in given]
    if not np.array_equal(*(np.unique(np.round(group, 4), axis=0) for group in (groups[0], groups[-1]))):
        raise ValueError(f"{_OPERATIONS[0]} and {_OPERATIONS[1]} differ")
    return groups[0][:, :, :3], groups[0][:, :, 3]


@lru_cache(maxsize=100)  # many files list the same ones
def _group(texts: tuple[str, ...]) -> np.ndarray:
    """Return the matrices of a list of symmetry operations, shape (k, 3, 4), which must be a group."""
    if len(texts) > _MOST_OPERATIONS:
        raise ValueError(f"it has {len(texts)} symmetry operations; no space group has more than {_MOST_OPERATIONS}")
    matrices = np.array([_operation(text) for text in texts])
    matrices[:, :, 3] %= 1
    _check_group(matrices[:, :, :3], matrices[:, :, 3])
    return matrices


def _check_group(rotations: np.ndarray, translations: np.ndarray) -> None:
    """Raise ``ValueError`` when two operations make one that is not listed: a list that was cut drops atoms."""
    digits = 3 ** np.arange(9)
    codes = (rotations.reshape(-1, 9) + 1) @ digits  # one number for each rotation
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    product_codes = (np.clip(products, -1, 1) + 1) @ digits
    moved = (np.einsum("aij,bj->abi", rotations, translations) + translations[:, None]).reshape(-1, 3)
    for code in np.unique(product_codes):
        between = moved[product_codes == code][:, None] - translations[codes == code]
        between -= np.round(between)
        if not (np.abs(between) < _SAME_TRANSLATION).all(axis=-1).any(axis=-1).all():
            raise ValueError(
                f"its {len(rotations)} symmetry operations are not a group: some are missing or wrong "
                f"({_OPERATIONS[0]})"
            )


def _operation(text: str) -> np.ndarray:
    """Return a symmetry operation such as ``-x, y+1/2, z`` as a matrix, shape (3, 4)."""
    matrix = np.zeros((3, 4))
    parts = re.sub(r"\s", "", text).lower().split(",")
    readable = len(parts) == 3 and all(
        re.fullmatch(rf"{_TERM.pattern}(?:(?=[+-]){_TERM.pattern})*", part) for part in parts
    )
    for row, part in zip(matrix, parts if readable else (), strict=False):
        for sign, axis, number in _TERM.findall(part):
            row["xyz".index(axis) if axis else 3] += float(Fraction(number or 1)) * (-1 if sign == "-" else 1)
    rotation = matrix[:, :3]
    if not (np.isin(rotation, (-1, 0, 1)).all() and round(abs(np.linalg.det(rotation))) == 1):
        raise ValueError(f"{text!r} is not a symmetry operation")
    return matrix


def _operations_by_name(block: _Block) -> tuple[np.ndarray, np.ndarray]:
    """Return the operations of the space group that is named; raise ``ValueError`` unless its setting is certain."""
    import spglib

    given = _given_names(block)
    if not given:
        raise ValueError(
            f"it states no symmetry: neither operations ({_OPERATIONS[0]}) nor a space group. Add 'x, y, z' if all "
            "atoms of the cell are listed"
        )
    settings = set.intersection(*given.values())
    if len(settings) != 1:
        words = " and ".join(map(repr, given))
        raise ValueError(
            f"the space group {words} has {len(settings)} settings or origins, and the file does not say which; list "
            f"the symmetry operations ({_OPERATIONS[0]})"
            if settings
            else f"{words} is not a space group; list the symmetry operations ({_OPERATIONS[0]})"
        )
    operations = spglib.get_symmetry_from_database(settings.pop())
    return operations["rotations"].astype(float), operations["translations"]


def _given_names(block: _Block) -> dict[str, set[int]]:
    """Return the names of the space group in the file, and the settings that each may mean."""
    return {
        name: _settings().get(_plain(kind, name), set())
        for kind, tags in _NAMES.items()
        for tag in tags
        for name in block.get(tag)
        if name not in _ABSENT
    }


def _plain(kind: str, name: str) -> tuple[str, str]:
    """Return a name of a space group in one spelling."""
    name = re.sub(r"[\s_()]", "", name).lower()
    if kind == "hermann_mauguin":
        # R -3 m H, F d -3 m S (first origin) and F d -3 m Z (second origin) are R-3m:H, Fd-3m:1 and Fd-3m:2.
        name = re.sub(r"(?<=.):?([hrsz])$", lambda match: ":" + match[1].replace("s", "1").replace("z", "2"), name)
    return kind, name


@cache
def _settings() -> dict[tuple[str, str], set[int]]:
    """Return the settings, as numbers of spglib's table, that each name of a space group may mean."""
    import spglib

    found: dict[tuple[str, str], set[int]] = {}
    for setting in range(1, 531):
        group = spglib.get_spacegroup_type(setting)
        first, *names = group.international.split(" = ")  # 'P 2_1/c = P 1 2_1/n 1' is of the second setting of P21/c
        names = [*(names or [first]), *(re.sub(r"^(\w) 1 (\S+) 1$", r"\1 \2", name) for name in names)]
        if not group.choice:
            names.append(group.international_full)
        if setting in _OLD_NAMES:
            names.append(_OLD_NAMES[setting])
        if group.pointgroup_international in ("m-3", "m-3m"):
            names += [name.replace("-3", "3") for name in names]  # F m 3 m, as before 1983
        names += [f"{name}:{group.choice}" for name in names if group.choice in ("1", "2", "H", "R")]
        for kind, one in (
            ("hall", group.hall_symbol),
            ("number", str(group.number)),
            *(("hermann_mauguin", name) for name in names),
        ):
            found.setdefault(_plain(kind, one), set()).add(setting)
    return found


def _images(site: _Site, rotations: np.ndarray, translations: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the fractional coordinates of a site and its images in the cell, shape (m, 3)."""
    places = rotations @ site.position + translations  # (k, 3)
    images, counts = [], set()
    while len(places):
        between = places - places[0]
        between -= np.round(between)
        same = np.linalg.norm(between @ matrix, axis=1) < _ONE_ATOM
        images.append(places[0] + between[same].mean(axis=0))
        counts.add(int(same.sum()))
        places = places[~same]
    if len(counts) > 1:
        raise ValueError(f"{site.name} is next to a special position, but not on it: give its coordinates more digits")
    return np.array(images) % 1


def _check_multiplicity(site: _Site, images: int, operations: int) -> None:
    """Raise ``ValueError`` when a site has another number of images than the file says: operations are missing."""
    if site.multiplicity:
        stated = _number(site.multiplicity, f"{site.name}: the multiplicity")
        if stated not in (images, operations / images):  # the second is what SHELXL wrote, the order of the site
            raise ValueError(
                f"{site.name} has {images} images by the {operations} symmetry operations, but the multiplicity "
                f"{site.multiplicity} (_atom_site_symmetry_multiplicity). List all operations, or correct it"
            )


def _check_places(sites: list[_Site], images: list[np.ndarray], matrix: np.ndarray) -> None:
    """Raise ``ValueError`` when two sites share a position: a mixed site, or one that is listed twice."""
    from scipy.spatial import KDTree

    places = np.concatenate(images) % 1  # a second time: -1e-17 % 1 is 1
    if len(places) == 1:
        return
    first, second = KDTree(places, boxsize=1).query(places, k=2)[1].T
    nearest = np.where(first == np.arange(len(places)), second, first)  # where they coincide, the order is any
    between = places - places[nearest]
    distance = np.linalg.norm((between - np.round(between)) @ matrix, axis=-1)
    if distance.min() < CLOSEST:
        atom = int(distance.argmin())
        names = [site.name for site, places in zip(sites, images, strict=True) for _ in places]
        raise ValueError(
            f"{names[atom]} and {names[nearest[atom]]} are {distance[atom]:.3f} angstrom apart: a mixed or split site, "
            "one that is listed twice, or one at a rounded special position"
        )


def _check_formula(block: _Block, found: Composition, operations: int) -> None:
    """Raise ``ValueError`` when the atoms are not those of the formula in the file."""
    from pymatgen.core import Composition

    text, units = block.one("_chemical_formula_sum"), block.one(_UNITS.lower())
    try:
        formula = Composition(text)
    except ValueError:  # no formula, or one with unknowns such as x
        return
    if formula and not formula.fractional_composition.almost_equals(found.element_composition.fractional_composition):
        raise ValueError(f"its atoms are {found.formula}, but its formula {text!r} has another stoichiometry")
    if not (formula and units):
        return
    # pymatgen writes the formula of the cell, and the number of reduced formulas in it.
    atoms = [_number(units, _UNITS) * one.num_atoms for one in (formula, formula.reduced_composition)]
    if np.isclose(atoms, found.num_atoms).any():
        return
    import spglib

    settings = set().union(*_given_names(block).values())
    if operations not in {len(spglib.get_symmetry_from_database(one)["rotations"]) for one in settings}:
        raise ValueError(
            f"its atoms are {found.formula}, but {_UNITS} {units} and the formula {text!r} need more or fewer. List "
            f"all symmetry operations ({_OPERATIONS[0]}), or correct what is wrong"
        )
