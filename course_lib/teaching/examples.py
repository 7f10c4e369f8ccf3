"""Crystals that teach something: pairs that networks cannot tell apart, and why."""

from __future__ import annotations

import math

from pymatgen.core import Lattice, Structure

from course_lib.validation import check_number

_NI3V = 3.54  # cubic lattice constant in angstrom that gives the volume per atom of Ni3V
_BOND = 2.4  # angstrom; between those of zinc and sulfur and of zinc and selenium
_COPPER = 2.556  # distance of nearest neighbours in angstrom


def ordered_alloys() -> tuple[Structure, Structure]:
    """Return Ni3V as it is, in the order of Al3Ti (D0_22), and in the order of Cu3Au (L1_2), on one ideal fcc lattice.

    In both, every V has 12 Ni around it and every Ni has 4 V and 8 Ni, all at one distance; the next atoms are 1.41
    times as far. If edges hold only their lengths, graphs of the 12 nearest neighbours therefore look the same from
    every atom, to any depth. The angles differ: around Ni in L1_2 the 4 V form a square; in D0_22 they form a square
    around one Ni in three and a stretched tetrahedron around the others.

    Returns
    -------
    d022, l12 : pymatgen.core.Structure
        Both with 4 atoms in the cell, at equal density.
    """
    d022 = Structure.from_spacegroup(
        "I4/mmm", Lattice.tetragonal(_NI3V, 2 * _NI3V), ["V", "Ni", "Ni"], [[0, 0, 0], [0, 0, 1 / 2], [0, 1 / 2, 1 / 4]]
    )
    l12 = Structure.from_spacegroup("Pm-3m", Lattice.cubic(_NI3V), ["V", "Ni"], [[0, 0, 0], [0, 1 / 2, 1 / 2]])
    return d022.get_primitive_structure(), l12


def close_packings() -> tuple[Structure, Structure]:
    """Return copper as it is, cubic close-packed (fcc), and the same spheres in hexagonal close packing (hcp).

    In both, every atom has 12 neighbours at one distance and the next ones are 1.41 times as far: networks of
    distances cannot tell them apart, as with `ordered_alloys`. The angles differ here too, by the order of the layers,
    ABC or AB. But ALIGNN does not see that: an angle only sets the weights with which the edges that meet at an atom
    enter a *mean*, and the mean of equal edges does not depend on the weights.

    Returns
    -------
    fcc, hcp : pymatgen.core.Structure
        With 1 and 2 atoms in the cell, at equal density.
    """
    fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(math.sqrt(2) * _COPPER), ["Cu"], [[0, 0, 0]])
    axial_ratio = math.sqrt(8 / 3)  # at which all nearest neighbours have the same distance
    hcp = Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(_COPPER, axial_ratio * _COPPER), ["Cu"], [[1 / 3, 2 / 3, 1 / 4]]
    )
    return fcc.get_primitive_structure(), hcp


def bent_trio(angle: float, length: float = _BOND) -> Structure:
    """Return sulfur, zinc and selenium with an angle at the zinc, alone in a large cell.

    Selenium stays 2.4 angstrom from zinc; sulfur moves. In a graph of the nearest neighbours alone, sulfur and selenium
    are joined only where the angle is so small that they are about as near to each other as to zinc.

    Parameters
    ----------
    angle : float
        At the zinc, in degrees.
    length : float, default 2.4
        Distance from sulfur to zinc, in angstrom.

    Returns
    -------
    pymatgen.core.Structure
        With the sites S, Zn, Se.

    Raises
    ------
    ValueError
        If the angle is not a finite number, or the length is not positive.
    """
    check_number("angle", angle)
    check_number("length", length, above=0)
    turn = math.radians(angle)
    places = [[length * math.cos(turn), length * math.sin(turn), 0], [0, 0, 0], [_BOND, 0, 0]]
    return Structure(Lattice.cubic(20), ["S", "Zn", "Se"], places, coords_are_cartesian=True)
