# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ALIGNN: bond angles
#
# **Question.** A crystal graph holds which atoms are neighbours and how far apart they are. It does not hold angles.
# What do angles add, and what do they cost?
#
# **You will learn to**
#
# - see what a graph of distances says about two orders of one alloy;
# - follow one bond angle from three atoms to the numbers that a network reads;
# - build the line graph, whose nodes are the edges of the crystal graph, and see how fast it grows;
# - read the ALIGNN network, and its simplified namesake, which has no angles;
# - measure what ALIGNN gains and what it costs;
# - take the angles out of it, all else equal, to see how much of the gain is due to them.
#
# **You need** notebooks 1 and 2. **Time to read:** 45 min. **Time to run:** at most 60 s on two cores.

# %% [markdown]
# ## Two orders of one alloy
#
# Ni₃V is an alloy. Its atoms sit on the places of a cubic close-packed lattice, and the question is which places belong
# to vanadium. Here are two answers: the order that Ni₃V has in nature, called D0₂₂, and the order of another alloy,
# AuCu₃, called L1₂. We put both on the same ideal lattice, so that only the order differs. Look at one nickel atom and
# the vanadium atoms next to it.

# %% mystnb={"image": {"alt": "Two crystals, each with one nickel atom in the middle and lines to the four vanadium atoms next to it. In D0-22 the four lines point to the corners of a stretched tetrahedron, in L1-2 to the corners of a square."}}
from course_lib.teaching.examples import ordered_alloys
from course_lib.teaching.figures.angles import plot_surroundings

d022, l12 = ordered_alloys()
nickel = {
    "D0₂₂: a stretched tetrahedron": (d022, 1),
    "L1₂: a square": (l12, 3),
}
plot_surroundings(nickel, "V")

# %% [markdown]
# > **Predict.** CGCNN knows the elements and the distances. Will it give these two crystals the same energy?
# >
# > <!-- predict: energy; yes, the same; no, two energies -->
#
# For each element we list the edges that end at one of its atoms. Each edge counts by its weight (notebook 1):

# %%
import pandas as pd

from course_lib.graphs import CrystalGraphs


def neighbourhood(structure):
    """Count the edges into an atom, by the elements at both ends and by distance."""
    one = CrystalGraphs.from_structures([structure]).batch([0])
    symbols = pd.Series([site.specie.symbol for site in structure])
    table = pd.DataFrame(one.bond_index.T.numpy(), columns=["from", "to"])
    table = table.map(symbols.get)
    table["distance (Å)"] = one.bond_length.numpy().round(2)
    table["edges"] = one.bond_weight.numpy().round(3)
    edges = table.groupby(["to", "from", "distance (Å)"])["edges"].sum()
    return edges.div(symbols.value_counts().rename_axis("to"), level="to")


# %%
kinds = pd.DataFrame({"D0₂₂": neighbourhood(d022), "L1₂": neighbourhood(l12)})
assert (kinds["D0₂₂"] == kinds["L1₂"]).all(), "atoms see the same in both crystals"
kinds

# %% [markdown]
# For an atom, both crystals are the same: every V has 12 Ni around it, every Ni has 4 V and 8 Ni, all at the same
# distance. CGCNN computes an atom's new vector from exactly this. So all Ni atoms share one vector and all V atoms
# share another, in both crystals, after one round and after a hundred. Whatever its weights are, CGCNN must give both
# crystals the same energy:

# %%
import torch

from course_lib.models import CGCNN
from course_lib.teaching.predictions import measured

alloys = CrystalGraphs.from_structures([d022, l12], ids=["D0₂₂", "L1₂"])
for seed in range(3):
    torch.manual_seed(seed)
    with torch.no_grad():
        first, second = CGCNN().eval()(alloys.batch([0, 1])).squeeze(1)
    print(f"random weights {seed}: {first:.5f} and {second:.5f}")
    assert abs(first - second) < 1e-5

# %%
measured("energy", f"the same, whatever the weights: {first:.4f} and {second:.4f}")

# %% [markdown]
# But the two are different crystals. What differs are the **angles** between the lines in the picture, from a nickel
# atom to vanadium. (In D0₂₂ two nickel atoms in three have a tetrahedron; the third has a square, too.)

# %%
import numpy as np


def angles(structure, site):
    """Return the angles between the bonds of a site to V, in degrees."""
    near = structure.get_neighbors(structure[site], r=2.6)
    bonds = [n.coords - structure[site].coords for n in near if n.specie.symbol == "V"]
    unit = np.array(bonds) / np.linalg.norm(bonds, axis=1)[:, None]
    found = np.degrees(np.arccos((unit @ unit.T).clip(-1, 1)))
    return found[np.triu_indices(len(bonds), 1)].round().astype(int).tolist()


for name, (structure, site) in nickel.items():
    print(name, sorted(angles(structure, site)))
assert sorted(angles(*nickel["L1₂: a square"])) == [90] * 4 + [180] * 2

# %% [markdown]
# (With more neighbours per atom, the distances would differ, too. Angles show the difference with the nearest atoms
# alone.)
#
# ## From atom to number
#
# We follow one angle in a crystal that is small enough to draw completely: zinc blende, with the four nearest
# neighbours of each atom. From here on we call the crystal graph the *atom graph*. An edge of it goes from its
# *source* to its *target*. Two edges make an angle when the first ends where the second begins: a → b and b → c, with
# the angle $\theta$ at $b$.
#
# The **line graph** is the graph of these pairs. Its nodes are the *edges* of the atom graph, and its edges are pairs
# of such edges, each with its angle. The way back, c = a, is a pair, too.
#
# > **Predict.** The cell of zinc blende has two atoms with four neighbours each. How many edges are there, and how
# > many pairs?
# >
# > <!-- predict: pairs; 8 edges, 16 pairs; 8 edges, 32 pairs; 16 edges, 64 pairs -->
#
# The figure follows one pair. A line in its third picture stands for two pairs, one in each direction.

# %% mystnb={"image": {"alt": "Four steps. 1: a zinc blende crystal, an atom with four neighbours, two of its bonds heavy with an angle of 109.5 degrees between them. 2: its atom graph, two nodes and eight numbered arrows, four in each direction, two of them heavy. 3: its line graph, eight nodes and lines between them, the one between the two heavy edges drawn as an arrow. 4: the cosine, minus one third, as a row of 40 grey cells, dark around minus one third."}}
from course_lib.datasets import folds, load_dataset
from course_lib.teaching.figures.angles import plot_angle_to_number

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
zincblende = crystals[crystals["prototype"] == "zincblende"].iloc[0]["structure"]
PAIR = 1
plot_angle_to_number(zincblende, neighbors=4, pair=PAIR)

# %% [markdown]
# Now we do it by hand. The graph stores for each edge the vector from its target to its source. At the middle atom $b$
# we want the vector to $a$ and the vector to $c$. The first is stored as we need it. The second points from $c$ to $b$,
# so we change its sign:
#
# $$ \cos\theta = \frac{\vec u \cdot \vec v}{|\vec u|\,|\vec v|}, \qquad \vec u = \text{stored vector of } a \to b, \quad
# \vec v = -\,\text{stored vector of } b \to c $$

# %%
from course_lib.models.line_graph import line_graph, undirected

one = CrystalGraphs.from_structures([zincblende], neighbors=4).batch([0])
edges, vectors, _ = undirected(one.edge_index, one.edge_vector, one.cutoff)
pairs, cosines = line_graph(edges, vectors, one.num_nodes)

first, second = pairs[:, PAIR]
assert edges[1, first] == edges[0, second], "the first ends where the second begins"
u, v = vectors[first], -vectors[second]
cosine = u @ v / (u.norm() * v.norm())
print(f"{cosine:.4f}, that is {torch.rad2deg(torch.arccos(cosine)):.1f}°")
assert torch.isclose(cosine, cosines[PAIR], atol=1e-6)

# %% [markdown]
# This is the tetrahedral angle. `undirected` makes sure that each edge has its reverse: an atom may be among the
# nearest of another but not the other way round. (It also returns the weight of each edge, which we do not need here.)
#
# Now we count the edges and the pairs:


# %%
def sizes(structure, neighbors):
    """Return the numbers of atoms, edges and pairs."""
    graph = CrystalGraphs.from_structures([structure], neighbors=neighbors).batch([0])
    return sizes_of_batch(graph)


def sizes_of_batch(batch):
    """Return the numbers of atoms, edges and pairs of all its crystals."""
    index, vector, _ = undirected(batch.edge_index, batch.edge_vector, batch.cutoff)
    made = line_graph(index, vector, batch.num_nodes)
    return batch.num_nodes, index.shape[1], made.pair_index.shape[1]


counts = pd.DataFrame(
    {f"{k} neighbours": sizes(zincblende, k) for k in (4, 12)},
    index=["atoms", "edges", "pairs"],
)
assert counts["4 neighbours"].tolist() == [2, 2 * 4, 2 * 4 * 4]
assert counts["12 neighbours"].tolist() == [2, 2 * 16, 2 * 16 * 16]
counts.T

# %%
_, n_edges, n_pairs = counts["4 neighbours"]
measured("pairs", f"{n_edges} edges, {n_pairs} pairs")

# %% [markdown]
# (With twelve neighbours an atom has sixteen edges here: four to the first shell, and the twelve atoms of the second
# share the other eight places.)
#
# An atom with $k$ neighbours has $k$ edges in and $k$ edges out, so $k^2$ pairs meet at it. From atoms to edges to
# pairs, every step multiplies the number by $k$. **That is the price of angles.** One pair in $k$ goes there and back
# along the same edge (cosine 1). Our ALIGNN keeps these, as its authors' code does.
#
# In crystals as symmetric as ours, most of the pairs are equivalent to others. The library finds the pairs that no
# network with a given number of layers (`rounds`) could tell apart, computes each kind once, and counts how often it
# occurs. The result is the same up to rounding.

# %%
from course_lib.models.equivalent_edges import crystal_line_graph

full = CrystalGraphs.from_structures([zincblende]).batch([0])
merged = crystal_line_graph(full, rounds=4)
kept = len(merged.species), len(merged.length), len(merged.pair_cosine)
print("atoms, edges and pairs:", dict(zip(counts.index, kept, strict=True)))
assert kept[2] < counts.loc["pairs", "12 neighbours"] / 5

# %% [markdown]
# For a tenth of our crystals we find:

# %%
some = CrystalGraphs.from_structures(crystals["structure"].iloc[::10])
batch = some.batch(range(len(some)))
merged = crystal_line_graph(batch, rounds=4)
share = len(merged.pair_cosine) / sizes_of_batch(batch)[2]
print(f"{share:.0%} of the pairs are computed, the rest is counted")
assert share < 0.5

# %% [markdown]
# A crystal without symmetry gains nothing from this.
#
# ### Why the cosine?
#
# The cosine is a scalar product of two unit vectors. It needs no arccosine, whose slope is unbounded at 0° and 180°.
# Like distances, cosines are expanded in Gaussians, here 40 of them:
#
# $$ g_k = \exp\!\left(-\frac{(\cos\theta - \mu_k)^2}{w^2}\right), \qquad \mu_k = -1, \dots, 1, \qquad w^2 = \mu_2 - \mu_1 $$
#
# (It is the *square* of the width that equals the spacing, as in the authors' code.)

# %% mystnb={"image": {"alt": "40 Gaussian curves over the cosine from minus 1 to 1, and five angles, 60, 90, 109.5, 120 and 180 degrees, each as a row of 40 grey cells with a dark patch at its cosine."}}
from course_lib.teaching.figures.angles import plot_angle_basis

plot_angle_basis([60, 90, 109.47, 120, 180])

# %% [markdown]
# ## The network
#
# ALIGNN {cite:p}`choudhary2021alignn` keeps a vector for every atom ($x$), every edge ($y$) and every pair ($z$). A
# layer makes one convolution on the atom graph and one on the line graph. Both read and update the edges: this is
# where the angles meet the atoms. (In the figure a prime marks what leaves the layer.)

# %% mystnb={"image": {"alt": "An ALIGNN layer. Atoms x and edges y enter a convolution on the atom graph, which gives new atoms and new edges. These edges and the angles z enter a convolution on the line graph, which gives new edges and new angles."}}
from course_lib.teaching.figures.angles import plot_alignn_layer

plot_alignn_layer()

# %% [markdown]
# Both are *edge-gated convolutions*. In the formulas a prime marks what leaves one convolution. For an edge $e$ from
# $j$ to $i$:
#
# $$ s_e = A x_j + B x_i + C y_e, \qquad
# h_i = \frac{\sum_e \sigma(s_e) \odot D x_j}{\sum_e \sigma(s_e) + \varepsilon} $$
#
# $$ x_i' = x_i + \mathrm{SiLU}\bigl(\mathrm{BN}(E x_i + h_i)\bigr), \qquad
# y_e' = y_e + \mathrm{SiLU}\bigl(\mathrm{BN}(s_e)\bigr) $$
#
# - $A, B, C, D, E$: learned linear maps; $\mathrm{BN}$: batch normalisation, as in CGCNN;
# - $\sigma(s_e)$: a gate between 0 and 1 for each feature; $\varepsilon = 10^{-6}$ keeps the quotient finite;
# - $h_i$: the messages of the neighbours, a *weighted mean* over the edges $e$ that end in $i$, with the gates as weights;
# - $\mathrm{SiLU}(u) = u\,\sigma(u)$; the $x_i +$ and $y_e +$ are residual connections: the layer learns only the
#   change.
#
# On the line graph the same formulas hold, with edges in the place of atoms and angles in the place of edges. It reads
# the edges $y_e'$ from the first convolution, and its output is the edges for the next layer. Here is one layer,
# written out and compared with the library's, on a crystal whose atoms, edges and angles have random vectors. In both
# sums each gate is also multiplied by the weight of its edge; a pair has the weight of its first edge.

# %%
from torch.nn.functional import silu

from course_lib.models.alignn import ALIGNNLayer
from course_lib.models.equivalent_edges import CountedGraph


def edge_gated(conv, x, y, index, weight):
    """Update nodes x and edges y; `weight` says how much each edge counts."""
    j, i = index
    s = conv.gate_source(x)[j] + conv.gate_target(x)[i] + conv.gate_edge(y)
    gate = weight[:, None] * torch.sigmoid(s)
    sums = torch.zeros_like(x).index_add(0, i, gate * conv.message(x)[j])
    h = sums / (torch.zeros_like(x).index_add(0, i, gate) + 1e-6)
    x = x + silu(conv.node_norm(conv.update(x) + h))
    return x, y + silu(conv.edge_norm(s))


def alignn_layer(layer, x, y, z, edges, pairs, weight):
    """Update atoms, edges and angles: atom graph first, then line graph."""
    x, y = edge_gated(layer.atoms, x, y, edges, weight)
    y, z = edge_gated(layer.edges, y, z, pairs, weight[pairs[0]])
    return x, y, z


# %%
edges, vectors, weight = undirected(one.edge_index, one.edge_vector, one.cutoff)
pairs, _ = line_graph(edges, vectors, one.num_nodes)
layer = ALIGNNLayer(hidden=8).eval()
with torch.no_grad():
    x, y, z = (torch.rand(n, 8) for n in (one.num_nodes, len(weight), pairs.shape[1]))
    ones = [torch.ones(len(table)) for table in (x, y, z)]
    atoms = CountedGraph(edges, ones[0], ones[1], weight)
    lines = CountedGraph(pairs, ones[1], ones[2], weight[pairs[0]])
    by_hand = alignn_layer(layer, x, y, z, edges, pairs, weight)
    for ours, its in zip(by_hand, layer(x, y, z, atoms, lines), strict=True):
        assert torch.allclose(ours, its, atol=1e-5)
print("atoms, edges and angles agree")

# %% [markdown]
# The folded output below is the library's source. There `m` is first $C y_e$; `_GatedMean` adds the other two parts,
# and what it returns as `m` is $s_e$. Equivalent rows are computed once.

# %% tags=["hide-output"]
import inspect

from course_lib.models.alignn import EdgeGatedConv

print(inspect.getsource(ALIGNNLayer))
print(inspect.getsource(EdgeGatedConv.forward))

# %% [markdown]
# The paper and the authors' code differ in two places. We follow the code, because the published numbers come from it.
# In the paper the line graph comes first in a layer; in the code it comes second. And in the paper the gate is computed
# from the new edge $y_e'$; in the code it is computed from $s_e$, before the batch norm.
#
# The whole network, from the library, makes the graphs, embeds atoms, edges and angles, applies the layers and takes
# the mean over the atoms. Symmetry-equivalent rows are computed once, so each row has a weight (`node_weight`,
# `edge_weight`), which says how many copies it stands for.

# %% tags=["hide-output"]
from course_lib.models import ALIGNN, ALIGNNSimple

print(inspect.getsource(ALIGNN.embed))

# %% [markdown]
# ### The simplified model
#
# Some courses, among them the one that this course started from, teach an "ALIGNN simplified". It keeps the residual
# connections, and has one small network $M$ for the messages and one $U$ for the update. It has no line graph. A
# convolution of it (`conv` below) computes
#
# $$ x_i' = U\bigl(\bigl[x_i,\ \textstyle\sum_j M([x_i, x_j, e_{ij}])\bigr]\bigr) $$
#
# with the features $e_{ij}$ of the distance; $[\cdot, \cdot]$ concatenates.

# %%
print(inspect.getsource(ALIGNNSimple.embed))

# %% [markdown]
# The sizes of the two networks of a convolution, each of two layers:

# %%
conv = ALIGNNSimple().convs[0]
two_networks = {"M": (conv.message_in, conv.message_out), "U": conv.update[::2]}
for name, linear in two_networks.items():
    sizes_of_layers = [linear[0].in_features, *(part.out_features for part in linear)]
    n_weights = sum(p.numel() for part in linear for p in part.parameters())
    print(name, " → ".join(map(str, sizes_of_layers)), f"({n_weights:,} weights)")

# %% [markdown]
# How large are these networks?

# %%
# NBVAL_CHECK_OUTPUT
from course_lib.methods import LABELS, METHODS

NAMES = ["cgcnn", "alignn_simple", "alignn"]
networks = {LABELS[name]: METHODS[name].network() for name in NAMES}
networks["ALIGNN as published"] = ALIGNN()
for name, network in networks.items():
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{n_parameters:9,}  {name}")
assert n_parameters == 4_026_753

# %% [markdown]
# "ALIGNN (small)" is the same network with 64 features instead of 256, and 2 + 2 layers instead of 4 + 4: layers with
# angles, then layers that update only atoms and edges. The published size is meant for more crystals than ours and for
# a GPU.
#
# ## Can they learn the difference?
#
# Training shows what "cannot tell apart" means. We give each network only two crystals, Ni₃V in both orders, and ask
# for the answers 1 and −1. A network for which both are the same must give both the same answer. The best it can do is
# 0, with a squared error of 1.
#
# One warning: in training, batch norm divides by the spread of a batch. Where all atoms of a batch are equivalent, that
# spread is only rounding error, and batch norm amplifies it so much that the network can learn from it. A network then
# seems to see what it cannot see. So we keep batch norm fixed (`eval`) in this test.
#
# > **Predict.** Can the simplified model tell the two alloys apart?
# >
# > <!-- predict: simplified; yes; no -->


# %%
def learn_apart(network, two, steps=120):
    """Train on two crystals with the answers 1 and -1; return the squared errors."""
    network.eval()  # batch norm fixed
    wanted = torch.tensor([[1.0], [-1.0]])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    errors = []
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(network(two), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return pd.Series(errors, index=pd.RangeIndex(1, steps + 1, name="step"))


# %%
curves = {}
for name in NAMES:
    torch.manual_seed(0)
    network = METHODS[name].network()
    curves[LABELS[name]] = learn_apart(network, alloys.batch([0, 1]))
curves = pd.DataFrame(curves)
assert curves["CGCNN"].iloc[-1] > 0.99, "distances alone: one crystal"
assert curves["ALIGNN simplified"].iloc[-1] > 0.99, "no line graph, no angles"
assert curves["ALIGNN (small)"].iloc[-1] < 0.01, "angles: two crystals"
curves.iloc[[0, 39, 59, 79, -1]].round(3)

# %%
error = curves["ALIGNN simplified"].iloc[-1]
answer = "yes" if error < 0.5 else "no"
measured("simplified", f"{answer}: squared error {error:.2f} at the end")

# %% [markdown]
# The table shows squared errors after some steps. CGCNN and the simplified model end at 1, and longer training would
# not help: they cannot tell the two alloys apart. ALIGNN needs a while to find the small difference, and then learns
# both answers.
#
# ### Move one atom
#
# Now we put everything together in the smallest example: one atom each of sulfur, zinc and selenium, alone in a large
# cell. The graph has the nearest neighbours only. The sulfur moves around the zinc, at one of three distances. We make up
# the energy from two springs: one prefers the angle of a tetrahedron, the other a bond of 2.3 Å.

# %%
from itertools import product

from course_lib.teaching.examples import bent_trio

lengths, degrees = (2.3, 2.4, 2.5), range(60, 181, 5)
settings = pd.MultiIndex.from_tuples(product(lengths, degrees))
trios = pd.Series([bent_trio(a, d) for d, a in settings], index=settings)


def made_up_energy(length, angle):
    """Return the energy of two springs in eV, for angstrom and degrees."""
    bend = (np.cos(np.radians(angle)) + 1 / 3) ** 2
    return bend + 10 * (length - 2.3) ** 2


energies = pd.DataFrame(
    {"made up": [made_up_energy(*setting) for setting in settings]}, index=settings
)

# %% [markdown]
# We train CGCNN and ALIGNN (small) on every second of these 75 structures. The rest choose the epoch, and show whether
# the networks have learned the rule or only the examples.

# %%
from course_lib.training import FitConfig, fit, predict

of_trios = CrystalGraphs.from_structures(
    trios, neighbors=1, targets=energies["made up"]
)
even, odd = of_trios.subset(range(0, 75, 2)), of_trios.subset(range(1, 75, 2))
for name in ("cgcnn", "alignn"):
    torch.manual_seed(0)
    network = fit(METHODS[name].network(), even, odd).model
    energies[name] = predict(network, of_trios).to_numpy()

# %% [markdown]
# > **Predict.** Below, move the sulfur: first around the zinc, then away from it. Which of the two does CGCNN notice?
# >
# > <!-- predict: moves; neither; only the distance; the distance, and small angles; both -->

# %%
from course_lib.teaching.explorers.line_graph import line_graph_explorer

line_graph_explorer(trios, energies)

# %%
at_wide_angles = energies[energies.index.get_level_values(1) >= 70]
by_length = at_wide_angles.groupby(level=0)
spread = by_length.agg(np.ptp)
assert (spread["cgcnn"] < 1e-3).all(), "one energy for all of these angles"
assert (spread["alignn"] > 0.7 * spread["made up"]).all(), "it follows the angle"
assert np.ptp(by_length["cgcnn"].mean()) > 0.1, "the distance it does notice"
assert energies.loc[2.4, "cgcnn"].loc[60] > energies.loc[2.4, "cgcnn"].loc[70] + 0.1
measured("moves", "the distance, and small angles")

# %% [markdown]
# - **The angle** changes the cosine, and with it the 40 numbers of two pairs. ALIGNN follows the energy, also at
#   angles it was not trained on. For CGCNN nothing changes from 70° on, so it predicts one mean for all of these
#   angles.
# - **The distance** changes the numbers of the edges, and both networks follow.
# - **Below 70°** sulfur and selenium are so close that an edge joins them: 6 edges instead of 4, 12 pairs instead of
#   6. Now CGCNN follows the angle, too, because this distance depends on it. This is how more neighbours can stand in
#   for angles.
#
# ### What ALIGNN does not see
#
# Copper is cubic close-packed (fcc). The same spheres could be stacked in hexagonal close packing (hcp). The nearest
# neighbours have the same distance in both; their angles differ.
#
# > **Predict.** Will ALIGNN learn to tell these two apart? Look at the formula for $h_i$ before you answer. All atoms
# > are copper.
# >
# > <!-- predict: copper; yes; no -->

# %%
from course_lib.teaching.examples import close_packings

packings = CrystalGraphs.from_structures(close_packings(), ids=["fcc", "hcp"])
torch.manual_seed(0)
of_copper = learn_apart(METHODS["alignn"].network(), packings.batch([0, 1]))
error = of_copper.iloc[-1]
assert error > 0.99
answer = "yes" if error < 0.5 else "no"
measured("copper", f"{answer}: squared error {error:.2f} at the end")

# %% [markdown]
# It does not. In ALIGNN angles and distances decide the *weight* of a message in a mean. Where all messages are equal,
# as in a crystal of one element, their mean is the same whatever the weights. So ALIGNN sees more than CGCNN in Ni₃V,
# but not everything. {cite:t}`pozdnyakov2022incompleteness` show how far such blind spots of graph networks go. Our
# two orders of Ni₃V are ideal crystals; in real ones the distances nearly always differ a little.
#
# ## What does an angle cost?
#
# Now we train the three networks on energies, with a part of the crystals and for a few epochs, in one run on one
# machine. We measure CPU time, so that other programs hardly matter. (The first training run in a session also loads
# libraries, so it is not counted.)

# %%
graphs = CrystalGraphs.from_structures(
    crystals["structure"], ids=crystals.index, targets=crystals[[TARGET]]
)
fold = folds(crystals)[0]
train = graphs.subset(fold.train[:400])
validation = graphs.subset(fold.validation[:50])
warm_up = fit(CGCNN(), train, validation, FitConfig(epochs=1))  # not counted

# %%
import time

trained, seconds = {}, {}
for name in NAMES:
    torch.manual_seed(0)
    start = time.process_time()
    result = fit(METHODS[name].network(), train, validation, FitConfig(epochs=12))
    trained[name], seconds[name] = result.model, time.process_time() - start
price = pd.Series(seconds) / seconds["cgcnn"]
print({LABELS[name]: f"{factor:.1f} times CGCNN" for name, factor in price.items()})
assert price["alignn"] > 1.5

# %% [markdown]
# That is the price with equivalent pairs merged; expect a higher one for crystals with less symmetry. What do these
# networks, which are now trained on real energies, predict for the two orders of Ni₃V?

# %%
two = {LABELS[name]: predict(model, alloys)[TARGET] for name, model in trained.items()}
apart = pd.DataFrame(two).diff().iloc[1].abs()
rounding = 1e-6  # eV/atom
assert apart[["CGCNN", "ALIGNN simplified"]].max() < rounding
assert apart["ALIGNN (small)"] > rounding
(1000 * apart).rename("difference (meV/atom)").to_frame().round(5)

# %% [markdown]
# CGCNN and the simplified model give the same number for both crystals, up to rounding, as they must. ALIGNN gives two
# numbers, though they hardly differ yet. *How far* apart it puts them has to be learned, and such a short training run
# has not taught it about the order of alloys.
#
# ## Accuracy against cost
#
# Whether ALIGNN makes smaller *errors* is another question, which one short training run does not answer. So we turn to
# the recorded runs: all crystals, five folds of both kinds, three seeds, each method with the best of eight settings.
#
# > **Predict.** By how many percent is ALIGNN's error on new formulas smaller than that of CGCNN, if it is?
# >
# > <!-- predict: lead; not smaller; by less than 10 %; by 10 to 20 %; by more than 20 % -->

# %%
from course_lib.experiments.records import load_results

methods = ["random_forest", *NAMES, "early_fusion"]
runs = load_results(crystals=crystals, target=TARGET, methods=methods)
structural = runs[runs["method"].isin(NAMES)]

# %% mystnb={"image": {"alt": "Mean absolute error of CGCNN, ALIGNN simplified and ALIGNN (small) on random and on formula-grouped folds, one dot per run, mean and standard deviation alongside. ALIGNN has the smallest mean on both."}}
from course_lib.teaching.figures.results import plot_errors

plot_errors(structural, "eV/atom")

# %% [markdown]
# $R^2$ from the same predictions (notebook 1 says what it hides):

# %%
from sklearn.metrics import r2_score

r2 = [
    r2_score(crystals.loc[run.ids, TARGET], run.predictions)
    for run in structural.itertuples()
]
r2 = structural.assign(r2=r2).pivot_table("r2", "split", "method", sort=False)
r2 = r2[NAMES].rename(columns=LABELS)
assert (r2.idxmax(axis=1) == LABELS["alignn"]).all(), "first by this number, too"
r2.round(3)

# %% mystnb={"image": {"alt": "Difference in mean absolute error to ALIGNN (small) on the same test crystals, for CGCNN and the simplified model on both kinds of folds: one dot per fold, mean and corrected interval, and a line at zero. All dots and intervals lie on the side where ALIGNN is better."}}
from course_lib.teaching.figures.results import plot_paired_differences

plot_paired_differences(structural, "alignn", "eV/atom")

# %%
from course_lib.experiments.analysis import summarize_differences

difference = summarize_differences(structural, "alignn")
difference["ALIGNN shown better"] = difference["low"] > 0
assert difference["ALIGNN shown better"].all(), "than both, on both tests"
difference.rename(index=LABELS).round(3)

# %%
mean_error = structural.pivot_table(index="split", columns="method", values="mae")
gain = 1 - mean_error["alignn"] / mean_error["cgcnn"]
times = structural.groupby("method")["seconds"].median()
factor = times["alignn"] / times["cgcnn"]
print({split: f"{share:.0%} less error than CGCNN" for split, share in gain.items()})
print(f"for {factor:.1f} times the CPU time")
simple = summarize_differences(structural, "cgcnn").xs("alignn_simple", level="method")
assert (simple["low"] < 0).all()
assert (simple["high"] > 0).all(), "neither shown, on either test"
simple.round(3)

# %%
lead = (f"{-share:+.0%} on {split} folds" for split, share in gain.items())
measured("lead", "ALIGNN's error compared with CGCNN's: " + ", ".join(lead))

# %% [markdown]
# ALIGNN is better than CGCNN on both tests and on every fold, by nearly the same percentage. The last table shows the
# simplified model minus CGCNN: on neither test is one of the two shown to be better. So the model that borrows
# ALIGNN's name lacks what makes ALIGNN better.
#
# ### Is it the angles?
#
# Angles are what the network was made for. But it differs from CGCNN in other ways, too: edges have vectors of their
# own, which every layer updates; the gates are different; there are more layers. To see what the angles are worth, the
# same network was trained again on the folds of new formulas, with its angles hidden: it reads *every* angle as a right
# angle (`ALIGNN(angles=False)`). All else is equal: the line graph, the number of weights, the settings.
#
# > **Predict.** How much of ALIGNN's lead over CGCNN is left when it sees no angles?
# >
# > <!-- predict: angles; most of it; about half; hardly any -->

# %% mystnb={"image": {"alt": "Difference in mean absolute error to ALIGNN without angles on new formulas, for CGCNN and for ALIGNN (small): one dot per fold, mean and corrected interval, and a line at zero. ALIGNN with its angles is a little better on every fold; CGCNN is worse on every fold, by about five times as much."}}
trio = ["cgcnn", "alignn_no_angles", "alignn"]
hidden = load_results(crystals=crystals, target=TARGET, methods=trio)
hidden = hidden[hidden["split"] == "formula"]
plot_paired_differences(hidden, "alignn_no_angles", "eV/atom")

# %%
from course_lib.experiments.analysis import paired_differences

to_blind = summarize_differences(hidden, "alignn_no_angles").loc["formula"]
assert to_blind.loc["alignn", "high"] < 0, "the angles do help"
assert to_blind.loc["cgcnn", "low"] > 0, "and without them it still beats CGCNN"
to_blind.rename(index=LABELS).round(4)

# %%
of_folds = paired_differences(hidden, "alignn_no_angles")
of_folds = of_folds.pivot(index="fold", columns="method", values="difference")


def from_angles(minus):
    """Return the angles' share of the lead from both errors minus the blind one's."""
    return -minus["alignn"] / (minus["cgcnn"] - minus["alignn"])


share, shares = from_angles(to_blind["mean"]), from_angles(of_folds)
print(f"{share:.0%} of the lead over CGCNN is due to the angles (ratio of two means)")
print(f"on single folds: {shares.min():.0%} to {shares.max():.0%}")
assert share < 0.3

# %%
measured("angles", f"{1 - share:.0%} of the lead is left")

# %% [markdown]
# The angles help: the network that sees them is better on every fold, and that is shown. But they explain only a small
# part of the lead, and how large a part differs from fold to fold. Most of the lead is left: without a single angle
# the network still beats CGCNN. These runs do not say where the large part comes from. It may be the vectors of the
# edges, the gates, the number of layers, or the messages between edges on the line graph. It is not surprising that
# angles are worth little *here*: in our prototypes symmetry fixes nearly all positions, so elements and distances
# already settle most of the structure.
#
# Taking one part out of a network, all else equal, is called an *ablation*. "The network with the new part is better"
# does not mean that the part is the reason.
#
# ### Does it pay off?
#
# Is the smaller error worth the time? There is no general answer, but we can rule out some methods: those that another
# beats in error *and* time. The rest make up the *Pareto front*; the dashed line joins them. A bar is the standard
# deviation over the runs.

# %% mystnb={"image": {"alt": "Mean absolute error on new formulas against CPU time of one training run, on a logarithmic time axis: random forest, CGCNN, ALIGNN simplified, early fusion and ALIGNN (small). The forest is far to the left with the largest error, ALIGNN far to the right with the smallest; a dashed line joins the methods that no other beats in both."}}
from course_lib.teaching.figures.comparison import plot_error_against_time

new_formulas = runs[runs["split"] == "formula"]
plot_error_against_time(new_formulas, "eV/atom")

# %%
from course_lib.experiments.analysis import pareto_front

cost = new_formulas.groupby("method")[["mae", "seconds"]].mean()
cost["on the front"] = pareto_front(cost, ["mae", "seconds"])
on_front, steps = cost["on the front"], cost["seconds"]
assert on_front[["random_forest", "cgcnn", "alignn"]].all()
assert not on_front[["alignn_simple", "early_fusion"]].any()
assert steps["alignn"] > 2 * steps["cgcnn"] > 4 * steps["random_forest"]
cost["epochs"] = [METHODS[name].settings.get("epochs", "") for name in cost.index]
cost.rename(index=LABELS).round({"mae": 3, "seconds": 1})

# %% [markdown]
# Three of these five are on the front, and each costs several times as much as the one before. (The time is that of a
# whole training run with the best setting. How many epochs that takes is a part of the setting, and not the same for
# all networks.) For one model the time may not matter. For a search over many settings, with several folds and seeds
# each, it does.
#
# ## What we saw
#
# - A network that sees only distances to the nearest shells can give different crystals the same number. Angles can
#   tell them apart.
# - The line graph makes edges into nodes, and pairs of edges that meet into edges, each with the cosine of its angle.
# - From atoms to edges to pairs, each step multiplies by the number of neighbours. That is what makes ALIGNN expensive.
# - With equally many trials in tuning ALIGNN's error is smaller than CGCNN's, on random crystals and on new formulas,
#   at several times the cost.
# - Only a small part of that lead is due to the angles. Only an ablation can show this.
# - A model without a line graph is not an ALIGNN, whatever it is called, and does not gain what ALIGNN gains.
# - Even with angles a network has blind spots.
#
# | strengths | weaknesses |
# |---|---|
# | sees angles, without needing more neighbours | time and memory grow with the square of the number of neighbours |
# | tells crystals apart that a network of near distances cannot | several times the training time of CGCNN |
# | edges and angles are updated together with the atoms | no composition features: a hybrid could add them |
#
# **When this stops being true.** The cost ratio is that of symmetric crystals, where equivalent pairs are merged; with
# less symmetry expect a larger one. And where the distances to more atoms already settle the structure, there is little
# left for angles to add.
#
# ## Check yourself
#
# 1. An atom has 12 neighbours. How many pairs of edges meet at it, the pairs there and back included?
# 2. Three atoms lie on a line, b in the middle. What is the cosine of the angle at b?
# 3. Why can CGCNN with *more* neighbours tell D0₂₂ from L1₂?
#    - `a` The next shells hold different numbers of Ni and V.
#    - `b` With more edges, the angles between them enter the messages, too.
#    - `c` The network has more weights then.
# 4. A new network has a new part and beats an old one. What would show that the part is the reason?
#    - `a` A network with two such parts that is better still.
#    - `b` The new network without the part, all else equal.
#    - `c` A smaller error on every fold.
# 5. ALIGNN's pairs grow with the square of the number of neighbours. Is that a reason to take fewer neighbours?
#    - `a` Yes: time matters more than the last bit of accuracy.
#    - `b` No: more edges always help.
#    - `c` Perhaps: validation data can tell.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_5
#
# check_yourself_5(..., ..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. $12 \times 12 = 144$, of which 12 go there and back.
# 2. −1: the two vectors point in opposite directions. There and back: 1, because both vectors point to a.
# 3. The next shells hold different numbers of Ni and V, so the distances to them tell the two apart.
# 4. The new network without the part (or with its input hidden), all else equal, on the same folds and with the same
#    seeds.
# 5. It saves time, but loses edges that carry information. Validation data can tell which is better.
#
# </details>
#
# ## Exercises
#
# [Exercise 3: Atom graph and line graph](ex3_line_graph.ipynb) lets you follow angles by hand through a chain of
# selenium, and find two crystals that only the angles tell apart. In JupyterLab, work in the copy in `work/exercises`,
# which has no solutions.
#
# ## Further reading
#
# The network: {cite:t}`choudhary2021alignn`. Its convolution: {cite:t}`bresson2017residual`. Angles in messages,
# another way: {cite:t}`gasteiger2020dimenet`. What distances and angles cannot tell apart:
# {cite:t}`pozdnyakov2022incompleteness`.
#
# ## A quest
#
# In grey arsenic each atom has three equal bonds, and any two of them meet at the same angle. What is its cosine?

# %%
from pymatgen.core import Lattice, Structure

arsenic = Structure.from_spacegroup(
    "R-3m", Lattice.hexagonal(3.760, 10.548), ["As"], [[0, 0, 0.2271]]
)
graph = CrystalGraphs.from_structures([arsenic], neighbors=3).batch([0])
source, target = graph.edge_index
vectors = graph.edge_vector  # of each edge, from target to source, in angstrom
cosine = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_5

check_quest_5(cosine)
