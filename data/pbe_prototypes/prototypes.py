"""The crystal prototypes, the chemistries that decorate them, and the order in which they are computed.

Every prototype is a primitive cell without a free internal coordinate, so its relaxed geometry is given by
the lattice constants alone: ``a`` for the cubic ones, ``a`` and ``c`` for the uniaxial ones. Needs NumPy only:
`compute` runs in the Python that has GPAW, everything else in the project's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np


class Element(NamedTuple):
    """What the generator knows of an element.

    Electronegativity after Pauling; covalent radius in angstrom from Cordero et al., Dalton Trans. 2832 (2008).
    """

    number: int
    electronegativity: float
    covalent_radius: float


# fmt: off
ELEMENTS = {symbol: Element(*values) for symbol, values in {
    "H": (1, 2.20, 0.31), "Li": (3, 0.98, 1.28), "Be": (4, 1.57, 0.96), "B": (5, 2.04, 0.84),
    "C": (6, 2.55, 0.76), "N": (7, 3.04, 0.71), "O": (8, 3.44, 0.66), "F": (9, 3.98, 0.57),
    "Na": (11, 0.93, 1.66), "Mg": (12, 1.31, 1.41), "Al": (13, 1.61, 1.21), "Si": (14, 1.90, 1.11),
    "P": (15, 2.19, 1.07), "S": (16, 2.58, 1.05), "Cl": (17, 3.16, 1.02), "K": (19, 0.82, 2.03),
    "Ca": (20, 1.00, 1.76), "Sc": (21, 1.36, 1.70), "Ti": (22, 1.54, 1.60), "V": (23, 1.63, 1.53),
    "Cu": (29, 1.90, 1.32), "Zn": (30, 1.65, 1.22), "Ga": (31, 1.81, 1.22), "Ge": (32, 2.01, 1.20),
    "As": (33, 2.18, 1.19), "Se": (34, 2.55, 1.20), "Br": (35, 2.96, 1.20), "Rb": (37, 0.82, 2.20),
    "Sr": (38, 0.95, 1.95), "Y": (39, 1.22, 1.90), "Zr": (40, 1.33, 1.75), "Nb": (41, 1.60, 1.64),
    "Mo": (42, 2.16, 1.54), "Ru": (44, 2.20, 1.46), "Rh": (45, 2.28, 1.42), "Pd": (46, 2.20, 1.39),
    "Ag": (47, 1.93, 1.45), "Cd": (48, 1.69, 1.44), "In": (49, 1.78, 1.42), "Sn": (50, 1.96, 1.39),
    "Sb": (51, 2.05, 1.39), "Te": (52, 2.10, 1.38), "I": (53, 2.66, 1.39), "Cs": (55, 0.79, 2.44),
    "Ba": (56, 0.89, 2.15), "Hf": (72, 1.30, 1.75), "Ta": (73, 1.50, 1.70), "W": (74, 2.36, 1.62),
    "Ir": (77, 2.20, 1.41), "Pt": (78, 2.28, 1.36), "Au": (79, 2.54, 1.36), "Hg": (80, 2.00, 1.32),
    "Tl": (81, 1.62, 1.45), "Pb": (82, 2.33, 1.46), "Bi": (83, 2.02, 1.48),
}.items()}
# fmt: on
"""The elements of the dataset by symbol, in the order of their atomic numbers."""

_FRAMES = {
    "sc": np.eye(3),
    "fcc": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "hex": np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, 1]]),
    "tet": np.eye(3),
}


@dataclass(frozen=True)
class Prototype:
    """A crystal structure without a free internal coordinate.

    Attributes
    ----------
    name : str
    lattice : str
        ``"sc"`` or ``"fcc"`` (cubic), ``"hex"`` or ``"tet"`` (uniaxial).
    sites : tuple of (role, (x, y, z))
        One entry per atom of the primitive cell; coordinates in units of the conventional axes.
    space_group : int
        Number in the International Tables.
    c_over_a : float
        Where the relaxation of a uniaxial prototype starts.
    packing : float
        Starting volume per atom, relative to rock salt.
    """

    name: str
    lattice: str
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    space_group: int
    c_over_a: float = 1.0
    packing: float = 1.0

    @property
    def cubic(self) -> bool:
        """Whether one lattice constant gives the cell."""
        return self.lattice in ("sc", "fcc")

    @property
    def roles(self) -> list[str]:
        """The role of each site, shape (n_sites,)."""
        return [role for role, _ in self.sites]

    def symbols(self, species: dict[str, str]) -> list[str]:
        """Return the element of each site, shape (n_sites,), for ``species`` such as ``{"A": "Na", "B": "Cl"}``."""
        return [species[role] for role in self.roles]

    def cell(self, a: float, c: float | None = None) -> np.ndarray:
        """Return the primitive lattice vectors as rows, shape (3, 3), in the unit of ``a`` and ``c``."""
        frame = _FRAMES[self.lattice]
        if self.cubic:
            return frame * a
        return frame * np.array([[a], [a], [a * self.c_over_a if c is None else c]])

    def positions(self, a: float, c: float | None = None) -> np.ndarray:
        """Return the Cartesian coordinates, shape (n_sites, 3), in the unit of ``a`` and ``c``."""
        conventional = np.array([xyz for _, xyz in self.sites], dtype=float)
        return conventional * a if self.cubic else conventional @ self.cell(a, c)

    def fractional(self) -> np.ndarray:
        """Return the coordinates in units of the primitive lattice vectors, in [0, 1), shape (n_sites, 3)."""
        fractional = np.linalg.solve(self.cell(1.0).T, self.positions(1.0).T).T
        # Sites are multiples of 1/24; the solver's rounding would leave 0.9999... where 0 belongs.
        return np.round(fractional * 24) / 24 % 1.0


# fmt: off
PROTOTYPES = {prototype.name: prototype for prototype in (
    Prototype("rocksalt", "fcc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2))), 225),
    Prototype("cscl", "sc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2))), 221, packing=0.95),
    Prototype("zincblende", "fcc", (("A", (0, 0, 0)), ("B", (1/4, 1/4, 1/4))), 216, packing=1.22),
    Prototype("wurtzite", "hex", (("A", (1/3, 2/3, 0)), ("A", (2/3, 1/3, 1/2)),
                                  ("B", (1/3, 2/3, 3/8)), ("B", (2/3, 1/3, 7/8))), 186, c_over_a=1.633, packing=1.22),
    Prototype("nias", "hex", (("A", (0, 0, 0)), ("A", (0, 0, 1/2)),
                              ("B", (1/3, 2/3, 1/4)), ("B", (2/3, 1/3, 3/4))), 194, c_over_a=1.6),
    Prototype("wc", "hex", (("A", (0, 0, 0)), ("B", (1/3, 2/3, 1/2))), 187, c_over_a=0.97, packing=0.97),
    Prototype("l10", "tet", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2))), 123, c_over_a=1.38, packing=0.95),
    Prototype("fluorite", "fcc", (("A", (0, 0, 0)), ("B", (1/4, 1/4, 1/4)), ("B", (3/4, 3/4, 3/4))), 225),
    Prototype("cuprite", "sc", (("B", (1/4, 1/4, 1/4)), ("B", (3/4, 3/4, 1/4)), ("B", (3/4, 1/4, 3/4)),
                                ("B", (1/4, 3/4, 3/4)), ("A", (0, 0, 0)), ("A", (1/2, 1/2, 1/2))), 224, packing=1.25),
    Prototype("laves_c15", "fcc", (("A", (0, 0, 0)), ("A", (1/4, 1/4, 1/4)), ("B", (5/8, 5/8, 5/8)),
                                   ("B", (3/8, 7/8, 1/8)), ("B", (7/8, 1/8, 3/8)), ("B", (1/8, 3/8, 7/8))), 227,
              packing=0.9),
    Prototype("alb2", "hex", (("A", (0, 0, 0)), ("B", (1/3, 2/3, 1/2)), ("B", (2/3, 1/3, 1/2))), 191,
              c_over_a=1.08, packing=0.95),
    Prototype("l12", "sc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 0)), ("B", (1/2, 0, 1/2)), ("B", (0, 1/2, 1/2))), 221,
              packing=0.92),
    Prototype("d03", "fcc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2)),
                             ("B", (1/4, 1/4, 1/4)), ("B", (3/4, 3/4, 3/4))), 225, packing=0.92),
    Prototype("reo3", "sc", (("A", (0, 0, 0)), ("B", (1/2, 0, 0)), ("B", (0, 1/2, 0)), ("B", (0, 0, 1/2))), 221,
              packing=1.2),
    Prototype("half_heusler", "fcc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2)), ("C", (1/4, 1/4, 1/4))), 216),
    Prototype("heusler", "fcc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2)),
                                 ("C", (1/4, 1/4, 1/4)), ("C", (3/4, 3/4, 3/4))), 225, packing=0.92),
    Prototype("perovskite", "sc", (("A", (0, 0, 0)), ("B", (1/2, 1/2, 1/2)),
                                   ("C", (1/2, 1/2, 0)), ("C", (1/2, 0, 1/2)), ("C", (0, 1/2, 1/2))), 221),
)}
# fmt: on
"""The prototypes by name."""


class Decoration(NamedTuple):
    """A prototype with an element for each role: one crystal of the work list."""

    prototype: str
    species: dict[str, str]

    @property
    def id(self) -> str:
        """The name of the crystal: prototype, then the element of each role, as ``"rocksalt-Na-Cl"``."""
        return "-".join([self.prototype, *(self.species[role] for role in sorted(self.species))])


def start_volume(prototype: Prototype, species: dict[str, str]) -> float:
    """Return a first volume per atom (cubic angstrom) from covalent radii: rock salt with touching neighbours."""
    radii = [ELEMENTS[symbol].covalent_radius for symbol in prototype.symbols(species)]
    return (2 * np.mean(radii) * 1.03) ** 3 * prototype.packing


# The chemistries. The order of every list below is part of the work list, which is fixed for good.
_ALKALI = ["Li", "Na", "K", "Rb", "Cs"]
_ALKALINE_EARTH = ["Be", "Mg", "Ca", "Sr", "Ba"]
_GROUP3 = ["Sc", "Y"]
_EARLY = ["Ti", "Zr", "Hf", "V", "Nb", "Ta", "Mo", "W"]
_LATE = ["Ru", "Rh", "Pd", "Ir", "Pt", "Cu", "Ag", "Au"]
_ZINC = ["Zn", "Cd", "Hg"]
_TRIEL = ["B", "Al", "Ga", "In", "Tl"]
_TETREL = ["C", "Si", "Ge", "Sn", "Pb"]
_PNICTIDE = ["N", "P", "As", "Sb", "Bi"]
_CHALCOGEN = ["O", "S", "Se", "Te"]
_HALOGEN = ["F", "Cl", "Br", "I"]
_METALS = [*_ALKALI, *_ALKALINE_EARTH, *_GROUP3, *_EARLY, *_LATE, *_ZINC, "Al", "Ga", "In", "Tl", "Sn", "Pb"]

# Cations by charge, and the anions that balance them.
_PLUS1 = [*_ALKALI, "Cu", "Ag", "Tl", "Au"]
_PLUS2 = [*_ALKALINE_EARTH, *_ZINC, "Sn", "Pb", "Ge", "Pd", "Pt"]
_PLUS3 = [*_GROUP3, *_TRIEL, "V", "Rh", "Ir", "Bi", "Sb"]
_PLUS4 = ["Ti", "Zr", "Hf", "C", "Si", "Ge", "Sn", "Pb", "Ru", "Mo", "W", "Nb", "Ta"]
_MINUS1 = ["H", *_HALOGEN]

_Species = dict[str, str]
_Draw = Callable[[_Species, random.Random], list[Decoration]]


@dataclass(frozen=True)
class _Family:
    """A kind of chemistry: its compositions, how many a round takes, and which prototypes each is computed in."""

    quota: int
    compositions: list[_Species]
    draw: _Draw


def _decorate(*elements: list[str]) -> list[_Species]:
    """Return every combination of elements for the roles A, B, C that repeats no element."""
    return [
        dict(zip("ABC", chosen, strict=False)) for chosen in product(*elements) if len(set(chosen)) == len(elements)
    ]


def _each(certain: list[str], possible: Sequence[str] = (), probability: float = 0.0) -> _Draw:
    """Take the certain prototypes, and each possible one with the given probability."""

    def draw(species: _Species, rng: random.Random) -> list[Decoration]:
        drawn = [name for name in possible if rng.random() < probability]
        return [Decoration(name, species) for name in [*certain, *drawn]]

    return draw


def _together(certain: list[str], possible: Sequence[str] = ()) -> _Draw:
    """Take the certain prototypes, and all possible ones at once for every fifth composition."""

    def draw(species: _Species, rng: random.Random) -> list[Decoration]:
        drawn = [] if rng.random() < 0.8 else possible
        return [Decoration(name, species) for name in [*certain, *drawn]]

    return draw


def _half_heusler(species: _Species, rng: random.Random) -> list[Decoration]:
    """Take half-Heusler, and for every second composition also the crystal with A and C exchanged."""
    exchanged = {"A": species["C"], "B": species["B"], "C": species["A"]}
    drawn = [species] if rng.random() >= 0.5 else [species, exchanged]
    return [Decoration("half_heusler", each) for each in drawn]


def _perovskites() -> list[_Species]:
    """Return the charge-balanced ABX3 whose A is not the much smaller cation."""
    charge = {
        **dict.fromkeys([*_ALKALI, "Tl", "Ag"], 1),
        **dict.fromkeys([*_ALKALINE_EARTH, "Zn", "Cd", "Sn", "Pb", "Ge"], 2),
        **dict.fromkeys([*_GROUP3, "Al", "Ga", "In", "V", "Rh", "Bi"], 3),
        **dict.fromkeys(["Ti", "Zr", "Hf", "Ru", "Mo", "Si"], 4),
        **{"Nb": 5, "Ta": 5, "W": 6},
    }
    charge_of_three = {**dict.fromkeys([*_HALOGEN, "H"], 3), "O": 6, "S": 6, "Se": 6, "N": 9}
    return [
        {"A": a, "B": b, "C": anion}
        for anion, balance in charge_of_three.items()
        for a, b in product(charge, charge)
        if a != b
        and charge[a] + charge[b] == balance
        and ELEMENTS[a].covalent_radius >= ELEMENTS[b].covalent_radius - 0.1
    ]


def _families() -> list[_Family]:
    """Return the ten families in the order in which every round visits them."""
    ab_ionic = [
        *_decorate(_PLUS1, _MINUS1),
        *_decorate(_PLUS2, _CHALCOGEN),
        *_decorate(_PLUS3, _PNICTIDE),
        *_decorate(_EARLY + _GROUP3, [*_CHALCOGEN, "C"]),
        *_decorate(_PLUS4, ["C"]),
        *_decorate(_EARLY, _PNICTIDE),
    ]
    ab_metal = [species for species in _decorate(_METALS, _METALS) if species["A"] < species["B"]]
    ab2_ionic = [
        *_decorate(_PLUS2, _MINUS1),
        *_decorate(_PLUS4, _CHALCOGEN),
        *_decorate(_CHALCOGEN, _PLUS1),
        *_decorate(_TETREL, _ALKALINE_EARTH),
    ]
    ab2_metal = _decorate([*_METALS, "B", "Si", "Ge"], [*_METALS, "B", "Si", "Ge"])
    ab3_ionic = [
        *_decorate([*_PLUS3, "Nb", "Ta", "W", "Mo"], [*_MINUS1, "O"]),
        *_decorate(_PNICTIDE, _PLUS1),
    ]
    ab3_metal = _decorate([*_METALS, "Si", "Ge"], _METALS)
    abc = _decorate(
        [*_ALKALI[:3], *_ALKALINE_EARTH[1:], *_GROUP3, *_EARLY[:6]],
        [*_TETREL[1:], *_PNICTIDE, *_TRIEL[1:]],
        [*_ALKALI[:2], "Mg", "Zn", "Cd", *_LATE],
    )
    abc2 = _decorate(
        [*_ALKALINE_EARTH, *_GROUP3, *_EARLY],
        [*_TRIEL[1:], *_TETREL[1:], "Sb", "Bi", "Zn"],
        [*_LATE, "Zn", "Li", "Na"],
    )
    antiperovskites = _decorate(
        ["Sn", "Pb", "Ge", "Al", "Ga", "In", "Zn", "As", "Sb", "Bi", "Cl", "Br", "I"],
        ["C", "N", "O", "B", "H"],
        ["Li", "Na", "Mg", "Ca", "Sr", "Sc", "Y", "Ti"],
    )
    return [
        _Family(10, ab_ionic, _each(["rocksalt", "zincblende", "cscl"], ["nias", "wurtzite", "wc"], 0.34)),
        _Family(3, ab_metal, _each(["cscl", "l10"], ["rocksalt", "zincblende", "nias"], 0.15)),
        _Family(5, ab2_ionic, _each(["fluorite"], ["cuprite", "alb2", "laves_c15"], 0.4)),
        _Family(3, ab2_metal, _each(["laves_c15"], ["alb2", "fluorite"], 0.4)),
        _Family(3, ab3_ionic, _together(["reo3", "d03"], ["l12"])),
        _Family(3, ab3_metal, _together(["l12", "d03"])),
        _Family(4, abc, _half_heusler),
        _Family(4, abc2, _each(["heusler"])),
        _Family(5, _perovskites(), _each(["perovskite"])),
        _Family(2, antiperovskites, _each(["perovskite"])),
    ]


def work_list() -> Iterator[list[Decoration]]:
    """Yield the crystals of one composition after the other, round robin over ten families of chemistry.

    The order never changes, so any beginning of the list is a balanced dataset and a longer run only
    appends. A crystal that two families have in common is yielded twice.
    """
    rng = random.Random(0)
    families = _families()
    for family in families:
        rng.shuffle(family.compositions)
    start = [0] * len(families)
    while any(begin < len(family.compositions) for begin, family in zip(start, families, strict=True)):
        for index, family in enumerate(families):
            for species in family.compositions[start[index] : start[index] + family.quota]:
                yield family.draw(species, rng)
            start[index] += family.quota
