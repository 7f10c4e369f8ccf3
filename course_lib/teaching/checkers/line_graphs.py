"""Exercise 3: from a crystal to its atom graph, from there to its line graph, and what the angles add."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from course_lib.teaching.checkers.declarative import Found, Function, Judge, Number, asks, numpy_array
from course_lib.teaching.checkers.feedback import Hint, as_array, checker, close

if TYPE_CHECKING:
    from pymatgen.core import Structure

EDGES = ((1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2))
"""Source and target of the edges of trigonal selenium with two neighbours per atom, in the library's order."""


def selenium() -> Structure:
    """Return trigonal selenium, helical chains of bent bonds (Cherin and Unger, Inorg. Chem. 6, 1589 (1967)).

    The three atoms of the cell are neighbours in one chain, which runs along the third axis.
    """
    from pymatgen.core import Lattice, Structure

    a, c, u = 4.3662, 4.9536, 0.2254  # angstrom, angstrom, fraction of a
    return Structure(Lattice.hexagonal(a, c), ["Se"] * 3, [[-u, -u, 0], [u, 0, 1 / 3], [0, u, 2 / 3]])


def straightened(chain: Structure) -> Structure:
    """Return a crystal that does not exist: the chains of `chain` pulled straight, their bonds as long as before."""
    from pymatgen.core import Lattice, Structure

    bond = chain.distance_matrix[0, 1]
    lattice = Lattice.hexagonal(chain.lattice.a, len(chain) * bond)
    return Structure(lattice, chain.species, [[0, 0, site / len(chain)] for site in range(len(chain))])


def along_chain(chain: Structure, count: int) -> np.ndarray:
    """Return the positions of `count` atoms in a row, in angstrom, (count, 3)."""
    turns, sites = np.divmod(np.arange(count), len(chain))
    return chain.cart_coords[sites] + turns[:, None] * chain.lattice.matrix[2]


# --- the cosine of an angle -----------------------------------------------------------------------------------------


def _cosine(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    first, second = a - b, c - b
    return first @ second / (np.linalg.norm(first) * np.linalg.norm(second))


_COSINES = (
    ("That is the angle itself, in radians. The network reads its cosine: leave out the last step.",
     lambda a, b, c: np.arccos(_cosine(a, b, c))),
    ("That is the angle itself, in degrees. The network reads its cosine: leave out the last step.",
     lambda a, b, c: np.degrees(np.arccos(_cosine(a, b, c)))),
    ("The size is right, the sign is not. Both vectors must start at the middle atom b: one of yours ends there. For "
     "a straight line a–b–c the cosine is −1.", lambda a, b, c: -_cosine(a, b, c)),
    ("That is the dot product. It also grows with the lengths of the two bonds; what must it be divided by?",
     lambda a, b, c: (a - b) @ (c - b)),
    ("Only one of the two vectors is of length one; the other one's length is still in the product.",
     lambda a, b, c: _cosine(a, b, c) * np.linalg.norm(a - b),
     lambda a, b, c: _cosine(a, b, c) * np.linalg.norm(c - b)),
    ("That is the angle at a. The angle at b lies between the bonds from b to a and from b to c.",
     lambda a, b, c: _cosine(b, a, c)),
    ("That is the angle at c. The angle at b lies between the bonds from b to a and from b to c.",
     lambda a, b, c: _cosine(b, c, a)),
    ("You took the positions as they are, so the result changes when the whole molecule is translated. Begin with the "
     "vectors from b to a and from b to c.", lambda a, b, c: a @ c / (np.linalg.norm(a) * np.linalg.norm(c))),
    ("That is the sine, which is the same for 75.5° and 104.5°. Which function of the angle tells the two apart?",
     lambda a, b, c: np.sqrt(1 - _cosine(a, b, c) ** 2)),
    ("You dropped the sign. It tells an acute angle from an obtuse one.", lambda a, b, c: abs(_cosine(a, b, c))),
    ("NumPy's `cos` wants radians, and yours got degrees. Better still, take the cosine from the vectors; no angle "
     "is needed in between.", lambda a, b, c: np.cos(np.degrees(np.arccos(_cosine(a, b, c))))),
)  # fmt: skip

WATER = np.array([[0.958, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.23986, 0.92748, 0.0]])
"""Positions of H, O and H in a water molecule, in angstrom: bonds of 0.958 angstrom at 104.5 degrees."""

_PROBES = (
    tuple(WATER),
    (np.array([1.0, 2.0, 3.0]), np.array([1.5, 0.5, 2.0]), np.array([4.0, 1.0, 0.5])),
    (np.array([0.0, 2.0, 0.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.5, 1.0])),
    (np.array([3.0, 0.0, 1.0]), np.array([2.0, 1.0, 1.0]), np.array([4.5, 1.0, 0.0])),
)


def _about_one_angle(found: Found) -> str:
    beyond = next((value for value in found.values if abs(value) > 1 + 1e-9), None)
    if beyond is not None:
        return f"A cosine lies between −1 and 1, but yours came out as {beyond:.3g}. Are both vectors of length one?"
    (a, b, c), value, wanted = found.first()
    return (
        f"For a = {a.tolist()}, b = {b.tolist()}, c = {c.tolist()} yours gives {value:.9g}, where the cosine is "
        f"{wanted:.6f}. Take the vectors from b to a and from b to c, scale both to length one, and multiply them."
    )


check_angle_cosine = asks(
    Function("angle_cosine", _cosine, _PROBES, _COSINES, _about_one_angle),
    shows=f"Water's H–O–H has the cosine {_cosine(*WATER):.2f}. A negative cosine means an obtuse angle.",
)

# --- pairs of edges -------------------------------------------------------------------------------------------------


def _pairs(joined: Callable[[tuple[int, int], tuple[int, int]], bool]) -> frozenset[tuple[int, int]]:
    """Return the pairs of different edges for which ``joined(first, second)``."""
    numbers = range(len(EDGES))
    return frozenset((e, f) for e in numbers for f in numbers if e != f and joined(EDGES[e], EDGES[f]))


_RIGHT = _pairs(lambda first, second: first[1] == second[0])

_WRONG_PAIRS = (
    ("Your pairs are right, but the other way round. In (first, second) the *first* edge ends where the second begins.",
     frozenset((second, first) for first, second in _RIGHT)),
    ("All of yours are right, but those that go back along the same bond are missing, such as 0 → 1 followed by 1 → 0. "
     "The task counts them, as ALIGNN does.",
     _pairs(lambda first, second: first[1] == second[0] and first[0] != second[1])),
    ("You joined edges that *end* at the same atom. A pair is a path of two steps: where must the second begin?",
     _pairs(lambda first, second: first[1] == second[1])),
    ("You joined edges that *begin* at the same atom. A pair is a path of two steps: where must the first end?",
     _pairs(lambda first, second: first[0] == second[0])),
    ("You joined each edge only to its own reverse. The path may also go on to the third atom.",
     _pairs(lambda first, second: first == second[::-1])),
    ("You joined all edges that have an atom in common. The direction counts: the first must end where the second "
     "begins.", _pairs(lambda first, second: bool(set(first) & set(second)))),
    ("All of yours are right, but you list only pairs with the smaller number first. (2, 0) is a path as well, and not "
     "the same as (0, 2).", frozenset(pair for pair in _RIGHT if pair[0] < pair[1])),
)  # fmt: skip


@checker
def check_pairs(answer: object) -> str:
    """Check the line graph of selenium, written down by hand.

    Parameters
    ----------
    answer : list of (int, int)
        For each path of two steps, the numbers of its first and its second edge.

    Returns
    -------
    Feedback
    """
    if isinstance(answer, set | frozenset):
        answer = list(answer)
    if isinstance(answer, list | tuple) and not answer:
        raise Hint("`pairs` is empty. Start with edge 0: at which atom does it end, and which edges begin there?")
    array = as_array(answer, "pairs", None)
    if array.ndim == 2 and len(array) == 2 != array.shape[1]:
        raise Hint(
            "`pairs` holds all first edges, then all second ones. Transpose it: each row is one pair of two numbers."
        )
    array = as_array(answer, "pairs", (None, 2))
    if (array != array.round()).any() or array.min() < 0 or array.max() >= len(EDGES):
        raise Hint(f"The pairs hold edge numbers: whole numbers from 0 to {len(EDGES) - 1}, as in the table.")
    listed = [tuple(map(int, pair)) for pair in array]
    pairs = frozenset(listed)
    if len(pairs) < len(listed):
        twice = next(pair for pair in listed if listed.count(pair) > 1)
        raise Hint(f"The pair {twice} appears twice. Each path counts once.")
    itself = [pair for pair in listed if pair[0] == pair[1]]
    if itself:
        raise Hint(
            f"The pair {itself[0]} joins an edge to itself, but no edge here ends where it begins. Leave it out."
        )
    if pairs == _RIGHT:
        return (
            f"{len(EDGES)} nodes and {len(_RIGHT)} edges: in the line graph, each edge of the crystal goes on to two "
            "others, one of them its own way back."
        )
    for hint, wrong in _WRONG_PAIRS:
        if pairs == wrong:
            raise Hint(hint)
    extra = sorted(pairs - _RIGHT)
    if extra:
        (first, second), ((_, end), (begin, _)) = extra[0], (EDGES[edge] for edge in extra[0])
        raise Hint(
            f"The pair ({first}, {second}) is not a path: edge {first} ends at atom {end}, edge {second} begins at "
            f"atom {begin}."
        )
    edge = min(first for first, _ in _RIGHT - pairs)
    raise Hint(
        f"All are right so far: {len(pairs)} of {len(_RIGHT)}. Look at edge {edge}, which ends at atom "
        f"{EDGES[edge][1]}: which edges begin there?"
    )


check_pairs.on_page = (  # without Python, the numbers of nodes and pairs show whether the list is complete
    Number("number of nodes", len(EDGES), (
        ("Did you count the atoms, or the bonds without their direction? What becomes a node here?", len(EDGES) / 2),
        ("{value:g} is not right. How many edges does the table list?", lambda value: True),
    ), atol=0),
    Number("number of pairs", len(_RIGHT), (
        ("Did you leave out the ways back, or write each pair in one order only?", len(_RIGHT) / 2),
        ("You joined all edges that have an atom in common. Where must the second begin?",
         len(_pairs(lambda first, second: bool(set(first) & set(second))))),
        ("You joined edges to themselves as well. Does any edge here end where it begins?", len(_RIGHT) + len(EDGES)),
        ("{value:g} is not right. At which atom does edge 0 end, and which edges begin there? And for the others?",
         lambda value: True),
    ), atol=0),
)  # fmt: skip


# --- cosines from edge vectors ----------------------------------------------------------------------------------------


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _pair_cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    units = _units(vectors)
    return -(units[pairs[:, 0]] * units[pairs[:, 1]]).sum(axis=1)


def _dots(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)


def _lengths(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)[pairs]


_PAIR_COSINES = (
    ("The sign is wrong. At the middle atom b, the first edge's vector points from b to a, away from b. The second "
     "edge ends at c: where does *its* vector start?", lambda v, p: -_pair_cosines(v, p)),
    ("The sign is right, but the vectors are not of length one, so the bond lengths are still in it.",
     lambda v, p: -_dots(v, p)),
    ("That is the dot product of the two vectors as they are. Two things are missing: scale them to length one, and "
     "check from which atom each of them starts.", _dots),
    ("Those are the angles, in degrees. Give their cosines.",
     lambda v, p: np.degrees(np.arccos(np.clip(_pair_cosines(v, p), -1, 1)))),
    ("Those are the angles, in radians. Give their cosines.",
     lambda v, p: np.arccos(np.clip(_pair_cosines(v, p), -1, 1))),
    ("You dropped the sign, which tells an acute angle from an obtuse one.", lambda v, p: np.abs(_pair_cosines(v, p))),
    ("You got a table of every first edge with every second edge. Each pair needs one number: multiply row by row "
     "and sum over x, y and z.", lambda v, p: -_units(v)[p[:, 0]] @ _units(v)[p[:, 1]].T),
    ("You have the three products of the components; the dot product is their sum.",
     lambda v, p: -_units(v)[p[:, 0]] * _units(v)[p[:, 1]]),
    ("You divided by three lengths, one for all x, one for all y, one for all z. A vector is a *row*: over which "
     "axis does its length run?",
     lambda v, p: -_dots(v / np.linalg.norm(v, axis=0), p), lambda v, p: _dots(v / np.linalg.norm(v, axis=0), p)),
    ("You divide by the first length and multiply by the second. In Python `a / b * c` is `(a / b) * c`: where are "
     "brackets needed?",
     lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 0] * _lengths(v, p)[:, 1],
     lambda v, p: _dots(v, p) / _lengths(v, p)[:, 0] * _lengths(v, p)[:, 1]),
    ("Only one of the two vectors is of length one; the other one's length is still in the product.",
     lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 0], lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 1]),
)  # fmt: skip


def _edge_vectors() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.normal(size=(6, 3)), np.array(sorted(_RIGHT))),
        (2 * rng.normal(size=(4, 3)), np.array([[0, 2], [3, 1]])),
        (rng.normal(size=(6, 3)), np.array(sorted(_RIGHT))),  # the pairs of the first, with other vectors
    ]


def _about_one_pair(found: Found) -> str:
    probes, values, right = found
    for (_, pairs), value, wanted in zip(probes, values, right, strict=True):
        if value.shape != wanted.shape:
            return (
                f"For {len(pairs)} pairs yours returns the shape {value.shape}. Return one number per pair, shape "
                f"({len(pairs)},)."
            )
    if close(values[0], values[2]):
        return (
            "For other vectors yours gives the same numbers. Does it use its argument `vectors`, or something that "
            "has a value outside the function?"
        )
    dots = [_dots(*probe) for probe in probes]
    if all(close(value, value @ dot / (dot @ dot) * dot) for value, dot in zip(values, dots, strict=True)):
        return (
            "You divide all dot products by the same number. But each vector has its own length: over which axis does "
            "`np.linalg.norm` run?"
        )
    largest = max(values[0], key=abs)
    if abs(largest) > 1 + 1e-9:
        return (
            f"A cosine lies between −1 and 1, but yours came out as {largest:.3f}. Are both vectors of length one when "
            "you multiply them?"
        )
    one = f"for one pair yours gives {values[0][0]:.3f}, where the cosine is {right[0][0]:.3f}."
    if all(close(np.sign(value), np.sign(wanted)) for value, wanted in zip(values, right, strict=True)):
        return f"The signs are right, the sizes are not: {one} By which two lengths do you divide?"
    return (
        f"F{one[1:]} Write down, for (a → b) and (b → c), from which atom to which each of the two vectors points; the "
        "angle is the one at b."
    )


check_pair_cosines = asks(
    Function("pair_cosines", _pair_cosines, _edge_vectors, _PAIR_COSINES, _about_one_pair, read=numpy_array),
    shows="One number per pair: −1 for straight on, 1 for back where it came from. The unit drops out.",
)

check_straight_or_bent = asks(
    Judge("statements", {
        "edges": (True, "Pulling the chain straight kept the bonds as long as they were, and each atom has two of "
         "them. What else does an edge know?"),
        "line graph": (True, "The pairs depend on which edges meet, not on where the atoms sit. Did that "
         "change?"),
        "distances tell": (False, "List everything that such a network reads: the elements, and the lengths of these "
         "edges. Does anything in the list differ between the two crystals?"),
        "cosines tell": (True, "What is the cosine of 180°, and which cosine did you find in selenium?"),
        "never": (False, "In a bent chain, how far is an atom from its second neighbour along the chain? And in a "
         "straight one? Which network has edges that long?"),
    }),
    shows="With few and short edges only the angles tell the two apart; with longer ones the distances do it as well.",
)  # fmt: skip
