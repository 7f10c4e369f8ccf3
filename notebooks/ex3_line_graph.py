# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 3: Atom graph and line graph
#
# **Question.** A graph of atoms and distances has no angles. How does a second graph, made from the first, add them,
# and when are they needed?
#
# **You will**
#
# - compute the cosine of a bond angle from three positions;
# - write down the line graph of a small crystal by hand;
# - get the cosines of all its pairs from the library's edge vectors, with the right sign;
# - judge which networks can tell a bent chain from a straight one.
#
# **You need** notebook 5. **Difficulty:** medium. **Time to work:** 60 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## The picture
#
# Grey selenium consists of chains. Each atom has two near neighbours, and the chain winds around an axis like a screw
# with three atoms per turn (structure: {cite:t}`cherin1967selenium`). Below is the real chain, seen from the side, and
# one that does not exist: the same bonds, pulled straight. All bonds have the same length; those that look shorter
# point towards you or away from you.

# %% mystnb={"image": {"alt": "Two chains of atoms seen from the side. Selenium: bonds of 2.37 angstrom, angles of 103.1 degrees, a zigzag. Pulled straight: bonds of 2.37 angstrom, angles of 180 degrees, a straight line."}}
from course_lib.teaching.checkers.line_graphs import along_chain, selenium, straightened
from course_lib.teaching.figures.line_graphs import plot_chains

bent, straight = selenium(), straightened(selenium())
chains = {
    "selenium": along_chain(bent, 9),
    "pulled straight": along_chain(straight, 9),
}
plot_chains(chains)

# %% [markdown]
# > **Predict.** A network sees the elements and the distances between neighbours, with two neighbours per atom. Can it
# > tell these two crystals apart?
# >
# > <!-- predict: chains; yes; no -->

# %% [markdown] tags=["task"]
# ## Task 1: The cosine of an angle
#
# Three atoms sit at $\mathbf a$, $\mathbf b$ and $\mathbf c$. The angle $\theta$ at $\mathbf b$ lies between the vectors
# from $\mathbf b$ to the other two:
#
# $$ \cos\theta = \frac{\mathbf u \cdot \mathbf v}{|\mathbf u|\,|\mathbf v|} $$
#
# with $\mathbf u$ and $\mathbf v$ these two vectors.
#
# 1. Write `angle_cosine(a, b, c)`.
# 2. Before you run it: the angle of water is 104.5°. Is its cosine positive or negative?

# %% tags=["answer"]
import numpy as np


def angle_cosine(a, b, c):
    """Return the cosine of the angle at b between a and c, three positions (3,)."""
    # BEGIN SOLUTION
    u, v = a - b, c - b
    return u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.line_graphs import check_angle_cosine

check_angle_cosine(angle_cosine)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Both vectors start at the middle atom: $\mathbf u = \mathbf a - \mathbf b$. In NumPy, `u @ v` is the dot product and
# `np.linalg.norm(u)` the length.
#
# </details>

# %% tags=["after"]
from course_lib.teaching.checkers.line_graphs import WATER

if check_angle_cosine(angle_cosine):  # once your answer is right
    cosine = angle_cosine(*WATER)
    print(f"H-O-H: cosine {cosine:.2f}, angle {np.degrees(np.arccos(cosine)):.1f}°")
    print(f"selenium: cosine {angle_cosine(*along_chain(bent, 3)):.3f}")
    print(f"pulled straight: cosine {angle_cosine(*along_chain(straight, 3)):.3f}")

# %% tags=["solution"]
assert round(cosine, 2) == -0.25

# %% [markdown]
# ## The atom graph of selenium
#
# With two neighbours per atom, the library makes this graph. Each edge goes from a *source* to a *target*, which
# receives the message. The chain closes on itself: the neighbour above atom 2 is atom 0 of the next cell, and for the
# graph that is atom 0.

# %% mystnb={"image": {"alt": "The atom graph of selenium: three atoms in a triangle and six numbered edges, one in each direction between every two atoms."}}
import pandas as pd

from course_lib.graphs import CrystalGraphs
from course_lib.teaching.figures.line_graphs import plot_numbered_edges

batch = CrystalGraphs.from_structures([bent], neighbors=2).batch([0])
source, target = batch.edge_index.numpy()
vectors = batch.edge_vector.numpy()
plot_numbered_edges(batch.edge_index.numpy())

# %% [markdown]
# Here it is as a table. The vector of an edge points from its **target to its source**: the atom that receives the
# message looks towards where it comes from.

# %%
edges = pd.DataFrame(vectors, columns=["x (Å)", "y (Å)", "z (Å)"]).rename_axis("edge")
edges.insert(0, "source", source)
edges.insert(1, "target", target)
edges["length (Å)"] = np.linalg.norm(vectors, axis=1)
edges.round(2)

# %% [markdown] tags=["task"]
# ## Task 2: The line graph, by hand
#
# Every edge of the atom graph becomes a *node* of the line graph: how many nodes does it have? Two of them are joined
# where they make a path of two steps: from (a → b) to (b → c). The way back, c = a, counts as well, as in ALIGNN's
# published code.
#
# 1. Write down all pairs that are joined, as edge numbers `(first, second)`. The first edge ends where the second
#    begins.

# %% tags=["answer"]
pairs = [
    # BEGIN SOLUTION
    (0, 2),  # 1 → 0, then 0 → 1
    (0, 4),  # 1 → 0, then 0 → 2
    (1, 2),
    (1, 4),
    (2, 0),
    (2, 5),
    (3, 0),
    (3, 5),
    (4, 1),
    (4, 3),
    (5, 1),
    (5, 3),
    # END SOLUTION
]

# %% tags=["check"]
from course_lib.teaching.checkers.line_graphs import check_pairs

check_pairs(pairs)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Edge 0 goes from atom 1 to atom 0. Which edges begin at atom 0? Each of them gives one pair with edge 0 as the first.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# Two edges begin at each atom. So each of the edges has two that follow it.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 3: A cosine for every pair
#
# The line graph's edges carry the cosine of the angle at the middle atom b, between a and c. Compute it from the edge
# vectors. Remember that they point from target to source.
#
# 1. For the pair of (a → b) and (b → c): from which atom to which does the first edge's vector point? And the second's?
# 2. Write `pair_cosines(vectors, pairs)`. `vectors` has one row per edge, shape (E, 3), and `pairs` one row per pair,
#    shape (T, 2).


# %% tags=["answer"]
def pair_cosines(vectors, pairs):
    """Return the cosine at the middle atom of each pair of edges, (T,)."""
    # BEGIN SOLUTION
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = units[pairs[:, 0]], units[pairs[:, 1]]
    return -(first * second).sum(axis=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.line_graphs import check_pair_cosines

check_pair_cosines(pair_cosines)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# (a → b) has the target b, so its vector points from b to a: good. (b → c) has the target c, so its vector points from
# c to b: it ends at the middle atom instead of starting there. What do you do with a vector that points the wrong way?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `vectors[pairs[:, 0]]` are the vectors of all first edges, one row per pair. Products of two such arrays, summed over
# `axis=1`, are the dot products row by row.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "The atom graph of selenium with its six numbered edges next to its line graph with six nodes. Pairs that go back along the same bond have the cosine 1.00, all others the cosine minus 0.23."}}
from IPython.display import display

from course_lib.models.line_graph import line_graph
from course_lib.teaching.figures.line_graphs import plot_line_graph

if check_pairs(pairs) and check_pair_cosines(pair_cosines):  # once both are right
    by_hand = np.unique(np.array(list(pairs)), axis=0)
    cosines = pair_cosines(vectors, by_hand)
    display(plot_line_graph(batch.edge_index.numpy(), by_hand.T, cosines))
    library = line_graph(batch.edge_index, batch.edge_vector, n_atoms=3)
    assert np.array_equal(np.unique(library.pair_index.T.numpy(), axis=0), by_hand)
    print("the library's line graph has the same pairs")

# %% tags=["solution"]
order = np.lexsort(library.pair_index.numpy()[::-1])  # by first, then by second edge
assert np.allclose(library.cosine.numpy()[order], cosines, atol=1e-6)
assert np.allclose(np.unique(cosines.round(3)), [-0.226, 1])

# %% [markdown] tags=["task"]
# ## Task 4: Bent or straight?
#
# Replace the three atoms of the cell by three elements, sulfur, selenium and tellurium, at the positions of the
# selenium atoms. This is a made-up crystal, once bent and once pulled straight. Each atom has two neighbours in the
# graph. Which of these are true?
#
# - `edges`: both atom graphs have the same edges, of the same length.
# - `line graph`: apart from the cosines, both line graphs have the same nodes and the same pairs.
# - `distances tell`: a network that reads the elements and the lengths of these edges can tell the two apart.
# - `cosines tell`: a network that also reads the cosines can.
# - `never`: without angles, no network can tell them apart, however many neighbours it is given.

# %% tags=["answer"]
statements = {
    "edges": True,  # SOLUTION
    "line graph": True,  # SOLUTION
    "distances tell": False,  # SOLUTION
    "cosines tell": True,  # SOLUTION
    "never": False,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.line_graphs import check_straight_or_bent

check_straight_or_bent(statements)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Two bonds of 2.37 Å meet at an atom. The distance between their far ends follows from the angle, by the law of
# cosines. A network with longer edges sees that distance.
#
# </details>

# %% [markdown] tags=["after"]
# We let two networks try: 150 training steps on these two crystals only, with the targets 1 and −1. A network for
# which both are the same must predict the same number for both. The best it can do is 0, with a squared error of 1. So
# where the error is near 0, the network tells the two crystals apart; where it is near 1, it does not. Which of your
# answers does each of the four numbers confirm?

# %% tags=["after"]
import torch
from pymatgen.core import Structure
from torch.nn.functional import mse_loss

from course_lib.models import ALIGNN, CGCNN
from course_lib.teaching.predictions import measured


def squared_error_after_training(network, batch):
    """Train on two crystals, targets 1 and -1; return the last squared error."""
    wanted = torch.tensor([[1.0], [-1.0]])
    network.eval()  # else batch norm would blow rounding up until even twins differ
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = mse_loss(network(batch), wanted)
        loss.backward()
        optimizer.step()
    return loss.item()


if check_straight_or_bent(statements):  # once your answer is right
    elements = ["S", "Se", "Te"]
    mixed = [Structure(c.lattice, elements, c.frac_coords) for c in (bent, straight)]
    rows = []
    for neighbors in (2, 12):
        graphs = CrystalGraphs.from_structures(mixed, neighbors=neighbors)
        for name in ("CGCNN", "ALIGNN"):
            torch.manual_seed(0)
            small = {"hidden": 32, "alignn_layers": 2, "gcn_layers": 2}
            network = ALIGNN(**small) if name == "ALIGNN" else CGCNN()
            error = squared_error_after_training(network, graphs.batch([0, 1]))
            rows.append((neighbors, name, error))
    table = pd.DataFrame(rows, columns=["neighbours", "network", "squared error"])
    display(table.pivot(index="neighbours", columns="network").round(2))
    of_cgcnn = table["squared error"][0]  # with two neighbours
    answer = "yes" if of_cgcnn < 0.5 else "no"
    display(measured("chains", f"{answer}: squared error {of_cgcnn:.2f}"))

# %% tags=["solution"]
apart = table.set_index(["neighbours", "network"])["squared error"] < 0.1
assert apart.sum() == 3
assert not apart[2, "CGCNN"]
assert abs(table["squared error"][0] - 1) < 0.01, "CGCNN with 2 neighbours: blind"

# %% [markdown] tags=["solution"]
# With two neighbours, CGCNN cannot learn the difference, however long it trains: the two crystals look identical to it.
# ALIGNN reads the cosines and learns it. With twelve neighbours CGCNN sees longer distances, which depend on the angle.
# So angles are not the only way to see a bend, but they are the most direct one. Notebook 5 has a pair of crystals that
# distances cannot tell apart at the course's own setting of twelve neighbours.
#
# Why three elements? In ALIGNN an angle decides how much *weight* a neighbour's message gets in a mean. In pure
# selenium all messages are equal, and the mean of equal numbers does not depend on the weights. So the cosines are
# computed, but they change nothing. We check this with a network that is not trained. Its predictions hardly depend on
# the angles, but with 64-bit numbers we can see which of the two differences is real and which is rounding error:


# %% tags=["solution"]
def difference(structures):
    """Return how far apart an untrained ALIGNN's predictions for two crystals are."""
    torch.manual_seed(0)
    batch = CrystalGraphs.from_structures(structures, neighbors=2).batch([0, 1])
    batch = batch.apply(lambda t: t.double() if t.is_floating_point() else t)
    with torch.no_grad():
        first, second = ALIGNN(**small).double().eval()(batch)
    return abs(first - second).item()


of_selenium, of_three = difference([bent, straight]), difference(mixed)
print(f"three elements: {of_three:.0e}, pure selenium: {of_selenium:.0e}")
assert of_selenium < 1e-3 * of_three

# %% [markdown]
# ## What to remember
#
# - A node of the line graph is an edge of the atom graph. An edge of it is a pair of such edges that meet, with the
#   cosine of the angle at the atom where they meet.
# - The cosine is −1 for a straight line, 0 for a right angle, and 1 for the way back along the same bond. The sign
#   depends on where the vectors start.
# - A network without angles may still see them through longer distances.
#
# Back to [notebook 5, *ALIGNN*](05_alignn.ipynb); on to
# [exercise 4, *Choosing lambda*](ex4_task_weights.ipynb).
