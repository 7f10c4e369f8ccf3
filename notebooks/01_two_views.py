# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Two views of a crystal
#
# **Question.** What does a formula say about a crystal, what does its structure add, and which of the two views
# predicts better?
#
# **You will learn to**
#
# - compute composition features, and say what the 145 numbers are;
# - turn a crystal into a graph, and say which atoms it joins and why;
# - train a model on each view: a random forest, and the graph network CGCNN;
# - compare them on two kinds of test, and explain what each of them can and cannot show.
#
# **You need** notebook 0. **Time to read:** 45 min. **Time to run:** at most 80 s on two cores.

# %% [markdown]
# ## One formula, several crystals
#
# Atoms in given amounts can be stacked in different ways. Such crystals are called *polymorphs*. Carbon has two that
# everybody knows: graphite and diamond.
#
# > **Predict.** How far apart are the formation energies of two polymorphs: about 0.01, 0.1 or 1 eV/atom? For
# > comparison: the thermal energy $k_\mathrm{B}T$ at room temperature is 0.026 eV.
# >
# > <!-- predict: polymorphs; about 0.01 eV/atom; about 0.1 eV/atom; about 1 eV/atom -->

# %%
from course_lib.datasets import folds, load_dataset

crystals = load_dataset("pbe_prototypes")
by_formula = crystals.groupby("formula")["formation_energy_per_atom"]
n_polymorphs = by_formula.size().sort_values(ascending=False, kind="stable")
print(f"{len(crystals)} crystals, {len(n_polymorphs)} formulas")
print(f"{(n_polymorphs > 1).sum()} formulas with polymorphs")

# %% mystnb={"image": {"alt": "For eight formulas, the formation energy of each of their structures: one row per formula, one marker per structure. In most rows the markers spread over several tenths of an electronvolt per atom, in one over two."}}
from course_lib.teaching.figures.features import plot_polymorphs

plot_polymorphs(crystals, n_polymorphs.index[:8])

# %% [markdown]
# These formulas have the most structures in our data. Every row is one formula, and every marker is one way to stack its
# atoms. (Markers that would cover each other are drawn a little above or below their row.) In most rows the markers lie
# far apart. Now think of a model that sees only the formula, as the first expert of notebook 0 does. It must give all
# crystals of a row the same number. Whatever number it picks, it is wrong for most of them.
#
# How large is its error at least? The single number with the smallest mean absolute error for a row is the median of
# the row. A model that knew all these medians would still make the error that the next cell prints last:

# %%
import numpy as np
from scipy.spatial.distance import pdist

twins = crystals[by_formula.transform("size") > 1]
energies = twins.groupby("formula")["formation_energy_per_atom"]
spread = energies.max() - energies.min()
deviation = twins["formation_energy_per_atom"] - energies.transform("median")
floor = deviation.abs().mean()
apart = np.concatenate([pdist(group.to_numpy()[:, None]) for _, group in energies])
print(f"two polymorphs differ by {np.median(apart):.2f} eV/atom (median)")
print(f"highest minus lowest of a formula: {spread.median():.2f} eV/atom (median)")
print(f"least error of a composition-only model: {floor:.2f} eV/atom")
assert 0.1 < np.median(apart) < 1, "ten times the thermal energy at room temperature"
assert floor > 0.05, "the formula alone would nearly settle the energy"

# %%
from course_lib.teaching.predictions import measured

measured("polymorphs", f"{np.median(apart):.2f} eV/atom (median of all pairs)")

# %% [markdown]
# So of the three guesses, 0.1 is too small and 1 too large: polymorphs here differ by about ten times the thermal
# energy at room temperature. The last of the three numbers above is a floor for every composition-only model, on
# those of our crystals that have polymorphs. In a database of known materials the floor is lower. We gave most
# formulas several structures, some of which would never form in nature.
#
# Before we look at each view in turn, here is the usual comparison. Doubt each line for now; at the end of the notebook
# we compare it with our own numbers.
#
# | | composition view | structure view |
# |---|---|---|
# | granularity: what it describes | the whole crystal, by its elements | each atom and its neighbours |
# | sensitivity to structure | none: polymorphs look the same | high |
# | cost | seconds | minutes |
# | data it needs | few crystals | many |
# | interpretability | high: named features | lower: learned vectors |

# %% [markdown]
# ## The composition view: 145 numbers from a formula
#
# How can a formula become numbers that a model can use? The idea of {cite:t}`ward2016magpie`: look up properties of
# each element, and summarise them.
#
# Let $f_i$ be the fraction of atoms that are of element $i$, and $p_i$ a property of that element, for instance its
# electronegativity (how strongly it pulls electrons). Two of the summaries are
#
# $$\bar p = \sum_i f_i\, p_i \qquad \text{(mean)}, \qquad\qquad \sum_i f_i\, |p_i - \bar p| \qquad \text{(average deviation)}.$$
#
# For NaCl, $f_{\mathrm{Na}} = f_{\mathrm{Cl}} = 1/2$. We compute both by hand, then with the library.

# %%
from course_lib.composition import element_properties, magpie

electronegativity = element_properties()["Electronegativity"]
na, cl = electronegativity["Na"], electronegativity["Cl"]
mean = (na + cl) / 2
deviation = (abs(na - mean) + abs(cl - mean)) / 2
print(f"Na {na}, Cl {cl}: mean {mean:.3f}, average deviation {deviation:.3f}")

formulas = ["NaCl", "MgO", "GaAs", "AuCu3"]
names = ["MagpieData mean Electronegativity", "MagpieData avg_dev Electronegativity"]
magpie(formulas, ids=formulas)[names].round(3)

# %% [markdown]
# The average deviation tells an ionic crystal (NaCl: large) from an alloy (AuCu₃: small). With 22 properties and 6
# summaries we get 132 numbers. Three more groups bring the total to 145:

# %%
# NBVAL_CHECK_OUTPUT
from course_lib.composition import feature_groups

groups = feature_groups()
for name, columns in groups.items():
    print(f"{len(columns):4d}  {name}, e.g. {columns[0]!r}")
print(f"{sum(map(len, groups.values())):4d}  in all")

# %% mystnb={"image": {"alt": "A bar of 145 features cut into four groups: 6 stoichiometry norms, 132 element statistics, 4 mean numbers of valence electrons, 3 ionic character features."}}
from course_lib.teaching.figures.features import plot_feature_groups

plot_feature_groups(groups)

# %% [markdown]
# - **Stoichiometry norms** (6): how many elements, and how unequal their amounts. No element data at all.
# - **Element statistics** (132): minimum, maximum, range, mean, average deviation and mode (the value of the most
#   common element) of 22 properties.
# - **Valence orbitals** (4): how many valence electrons per atom are in s, p, d and f orbitals.
# - **Ionic character** (3): whether charges can balance, and how ionic the compound is by Pauling's formula.
#
# A warning: the preset `magpie` of the matminer package gives only the 132. Texts that speak of "145 Magpie features"
# but call only that preset are thirteen features short.
#
# Now back to the first figure. Polymorphs share one formula, so they share all 145 numbers:

# %%
pair = crystals[crystals["formula"] == n_polymorphs.index[0]].iloc[:2]
two = magpie(pair["structure"])
print(pair[["formula", "prototype", "formation_energy_per_atom"]].to_string())
print("number of features that differ:", int((two.iloc[0] != two.iloc[1]).sum()))
assert two.iloc[0].equals(two.iloc[1])

# %% [markdown]
# ## The structure view: a graph
#
# To a graph network a crystal is a set of atoms, each joined to its neighbours. But a crystal has no end: where do we
# stop? Here is what one atom sees as it looks further and further out.

# %% mystnb={"image": {"alt": "Neighbours of one atom of rock salt by distance: a shell of 6, then one of 12 and more. A line marks the twelfth neighbour, which lies in the middle of the second shell; in our graph each atom of that shell counts half."}}
from course_lib.teaching.figures.crystals import plot_shells

rocksalt = crystals[crystals["prototype"] == "rocksalt"].iloc[0]["structure"]
assert rocksalt.reduced_formula == "BeO"
plot_shells(rocksalt)

# %% [markdown]
# The first rock salt crystal of our data is BeO. Its atoms are small, so they sit closer together than those of table
# salt.
#
# Neighbours come in *shells*: several at exactly the same distance. CGCNN, the network of this notebook, was
# published with the twelve nearest. In rock salt the first shell has 6 atoms and the second 12, so a cut at twelve
# takes 6 of the 12 in the second shell. Which six? That would depend on the order in which a program lists them, and
# so would the prediction.
#
# So our rule is: **twelve neighbours, and those at the same distance share.** Each neighbour has a weight between 0 and
# 1, and the weights of an atom's neighbours add up to 12. In rock salt the first 6 count fully. The next 12 share the 6
# places that are left, so each counts ½. The *crystal graph* then depends only on the crystal, not on how somebody
# wrote it down.
#
# What if the distances within a shell differ a little? Then the nearer atoms must count more, and an atom that moves
# away must fade out instead of vanishing at once. So the weight of a neighbour falls smoothly from 1 to 0 over 0.3 Å:

# %% mystnb={"image": {"alt": "Two panels. The weight of a neighbour against its distance from the cutoff: a smooth step from 1 to 0 within 0.3 angstrom. And the weights of the nearest 18 neighbours of one atom while the crystal is stretched along one axis; they change without a jump and always add up to 12."}}
from course_lib.teaching.figures.crystals import plot_neighbor_weights

plot_neighbor_weights(rocksalt)

# %% [markdown]
# Each atom has its own *cutoff*, the distance at which a neighbour counts ½. It is chosen so that the weights of the
# atom's neighbours add up to 12. On the right the crystal is stretched along one axis. The twelve atoms of the second
# shell split into three groups. Their weights change without a jump, and so does the prediction of a network.
#
# The graph has a node for each atom of the *cell*, the box whose repetition gives the crystal. Each atom receives
# an edge from each of its neighbours. All edges with the same start, end and length tell a network the same thing. We
# store them once, as a **bond**, with their number and the sum of their weights. This changes no result and saves most
# of the work in crystals as symmetric as these.
#
# > **Predict.** Rock salt has two atoms in its smallest cell. How many edges does its graph have? (An edge and its way
# > back count as two.)
# >
# > <!-- predict: edges; 12; 18; 24; 36 -->

# %%
from course_lib.graphs import CrystalGraphs

one = CrystalGraphs.from_structures([rocksalt]).batch([0])
n_edges, n_bonds = one.edge_index.shape[1], one.bond_index.shape[1]
print(f"{one.num_nodes} atoms, {n_edges} edges, {n_bonds} bonds")
for ends, length, count, weight in zip(
    one.bond_index.T, one.bond_length, one.bond_count, one.bond_weight, strict=True
):
    print(f"{ends.tolist()}: {count:2d} edges of {length:.3f} Å count {weight:.1f}")

# %%
measured("edges", f"{n_edges} edges")

# %% mystnb={"image": {"alt": "Two pictures. A rock salt crystal with lines from one atom to its neighbours, also to those outside the cell. And its graph, two nodes joined by an arc that stands for 6 edges, and a loop at each node that stands for 12."}}
from course_lib.teaching.figures.crystals import plot_crystal_and_graph

plot_crystal_and_graph(rocksalt)

# %% [markdown]
# Each atom has 6 neighbours of the other kind and 12 of its own kind, 18 in all, so 36 edges for two atoms. (Their
# weights add up to only 24, because 12 neighbours of each atom count half.) An atom is its own neighbour in this
# graph, because the copy of it in the next cell looks exactly like it. The figure draws the bond from one atom to the
# other and the bond back as one line, so it counts three bonds where the output above has four.
#
# ### Why not all atoms within a radius?
#
# The other common rule joins an atom to all others within a *cutoff* radius. It does not split shells either.
#
# > **Predict.** You double the radius that just takes in the first shell of 6. How many neighbours are there then: 12,
# > 24 or more? And at which radii in between does the number change?
# >
# > <!-- predict: radius; 12; 24; more than 24 -->

# %%
from course_lib.teaching.explorers.crystal import graph_explorer

graph_explorer(rocksalt)

# %% [markdown]
# Move the slider with the mouse or the arrow keys. One picture shows the crystal and the sphere, the other the number
# of neighbours against the radius; the dotted line is at twelve.
#
# Nothing changes until the sphere reaches the next shell, and then a whole shell comes in at once. On average the
# number of neighbours grows with the volume of the sphere, so every further ångström costs more edges than the one
# before. And which radius is right? Let us apply one that suits this crystal to one of the same prototype with larger
# atoms:


# %%
def edges_per_atom(structure, radius):
    """Count the edges that a cutoff radius gives."""
    return len(structure.get_neighbor_list(radius)[0]) / len(structure)


nearest = rocksalt.get_distance(0, 1)
for radius in (nearest, 2 * nearest):
    print(f"{radius:.2f} Å: {edges_per_atom(rocksalt, radius):.0f} edges per atom")

same_type = crystals.loc[crystals["prototype"] == "rocksalt", "structure"]
largest = max(same_type, key=lambda structure: structure.volume)
for structure in (rocksalt, largest):
    print(
        f"2.75 Å: {edges_per_atom(structure, 2.75):.0f} in {structure.reduced_formula}"
    )
assert edges_per_atom(rocksalt, 2.75) > 12
assert edges_per_atom(largest, 2.75) == 0, "one radius does not suit all"

# %%
measured("radius", f"{edges_per_atom(rocksalt, 2 * nearest):.0f} neighbours")

# %% [markdown]
# Twice the radius is eight times the volume. The sphere now holds four shells, of 6, 12, 8 and 6 neighbours, and
# their number changes only where it reaches a shell.
#
# And the same radius gives one crystal more than twelve neighbours per atom and the other none. From a graph without
# edges, a network learns nothing about the structure. Our rule counts neighbours instead of ångströms, and gives both
# the same graph, with longer edges in the larger crystal.
#
# ### What an edge tells
#
# An edge tells the network a distance. A network learns poorly from a bare number such as 2.81, so the distance $d$ is
# expanded in a *Gaussian basis* of 41 numbers. Each of them asks "is $d$ close to $\mu_k$?":
#
# $$ e_k(d) = \exp\!\left(-\frac{(d - \mu_k)^2}{w^2}\right), \qquad \mu_k = 0,\ 0.2,\ \dots,\ 8\ \text{Å}, \qquad w = 0.2\ \text{Å}. $$

# %% mystnb={"image": {"alt": "41 Gaussian curves with centres from 0 to 8 angstrom, and three distances, each as a row of 41 grey cells; only the few cells with centres close to the distance are dark."}}
from course_lib.teaching.figures.features import plot_gaussian_basis

plot_gaussian_basis([2.4, 2.8, 5.0])

# %% [markdown]
# ### What a node tells
#
# A node tells the network its element, by 92 yes-or-no answers, or *bits*: which column of the periodic table, which
# row, is the electronegativity between 0.85 and 1.20, and so on. Similar elements share answers, so what the network
# learns about sodium also helps with potassium.

# %% mystnb={"image": {"alt": "The 92 binary features of six elements, one row per element, grouped in nine blocks from group to atomic volume. Sodium and potassium share four of their nine dark cells, among them those of group and valence electrons."}}
from course_lib.teaching.figures.features import plot_atom_features

plot_atom_features(["Na", "K", "Cl", "O", "Fe", "Cu"])

# %% [markdown]
# ## What do the two views cost?
#
# We compute both for all our crystals and measure the time.

# %%
import time

start = time.perf_counter()
composition = magpie(crystals["structure"])
middle = time.perf_counter()
graphs = CrystalGraphs.from_structures(
    crystals["structure"],
    ids=crystals.index,
    composition=composition,
    targets=crystals[["formation_energy_per_atom"]],
)
end = time.perf_counter()
per_crystal = 1e3 / len(crystals)
print(f"composition features: {(middle - start) * per_crystal:.2f} ms per crystal")
print(f"graph:                {(end - middle) * per_crystal:.2f} ms per crystal")

# %% [markdown]
# Both are cheap. What differs is the training, as we will see now.
#
# ## Two models, one test
#
# We split the crystals into three parts: training crystals, validation crystals, which serve to choose the best epoch,
# and test crystals. No model is trained or chosen on the test crystals.
#
# ### A random forest on the composition
#
# A decision tree branches at one question after another, each about one feature, and predicts a number at the end of
# each branch. A random forest averages many such trees, each grown on a random part of the data
# {cite:p}`breiman2001forests`. Ours has 100 trees, at most 30 levels deep, and otherwise the default settings of
# scikit-learn.

# %%
from course_lib.forest import fit_forest

fold = folds(crystals)[0]
train, test = crystals.iloc[fold.train], crystals.iloc[fold.test]
forest = fit_forest(train["structure"], train["formation_energy_per_atom"])
print(f"{len(train)} training crystals, {len(test)} test crystals")
print(f"{len(fold.validation)} validation crystals, for CGCNN only")
print(f"forest fitted in {forest.seconds:.1f} s")

# %% [markdown]
# A forest can say which features it used most. The importance of a feature is its share of the reduction in squared
# error, over all branchings of all trees:

# %%
import pandas as pd

importance = pd.Series(
    forest.model["forest"].feature_importances_, index=composition.columns
)
importance.nlargest(5).round(3)

# %% [markdown]
# ### CGCNN on the structure
#
# CGCNN {cite:p}`xie2018cgcnn` gives every atom a vector $x_i$ of 64 numbers, at first made from its 92 bits. Then
# each atom receives messages from its neighbours and updates its vector, in three rounds. Each round is a
# *convolution*. Before we write down the rule, here is one round by hand, for a crystal of two atoms, each with six
# edges to the other. To keep it short, the vector of an atom has two numbers, and an edge carries one.
#
# For each edge, the vectors of the two atoms and the number of the edge are concatenated and multiplied by a matrix
# $W$ of weights. This gives four numbers. The first two say how much of the message passes (the *gate*), and the other
# two become the message itself (the *core*).
#
# > **Predict.** The two atoms start with different vectors. Does one round with the weights below make them more
# > similar?
# >
# > <!-- predict: round; yes, closer; no, further apart; as far apart as before -->

# %%
x = np.array([[1.0, 0.0], [0.0, 1.0]])  # the vectors of atoms 0 and 1
e = np.array([0.5])  # what each edge tells
W = np.array(
    [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, -1], [1, 0, 0, -1, 1]], dtype=float
)

x_new = np.zeros_like(x)
for i, j in ((0, 1), (1, 0)):
    z = W @ np.concatenate([x[i], x[j], e])  # the two atoms and the edge, concatenated
    gate = 1 / (1 + np.exp(-z[:2]))  # how much of the message passes
    core = np.log(1 + np.exp(z[2:]))  # the message itself
    total = 6 * gate * core  # six equivalent edges
    new = np.log(1 + np.exp(x[i] + total))
    print(f"atom {i}: z {z}, gate {gate.round(3)}, core {core.round(3)}")
    print(f"        sum {total.round(3)}, new vector {new.round(3)}")
    x_new[i] = new

# %%
before, after = (np.linalg.norm(v[0] - v[1]) for v in (x, x_new))
measured("round", f"distance of the two vectors {before:.2f} before, {after:.2f} after")

# %%
from course_lib.teaching.explorers.convolution import convolution_explorer

convolution_explorer(x, e, W, n_edges=6)

# %% [markdown]
# Move the slider through the seven steps, for both atoms. That is all that a convolution does. With these weights the
# two vectors move apart; others would bring them closer, and training finds out which. In a formula, the edge from
# atom $j$ to atom $i$ carries the message
#
# $$ m_{ij} = \sigma(u_{ij}) \odot \operatorname{softplus}(v_{ij}), \qquad [u_{ij}, v_{ij}] = \mathrm{BN}\bigl(W\,[x_i, x_j, e_{ij}] + b\bigr). $$
#
# - $[x_i, x_j, e_{ij}]$: the two atoms' vectors and the 41 distance numbers, concatenated;
# - $W$, $b$: weights that are learned; $\mathrm{BN}$: batch normalisation, which keeps the numbers in a convenient
#   range (we left out $b$ and $\mathrm{BN}$ above);
# - $\sigma(u) = 1/(1 + e^{-u})$, between 0 and 1: the gate;
# - $\operatorname{softplus}(v) = \ln(1 + e^{v})$: the core; $\odot$ multiplies number by number.
#
# The atom adds up the messages of all its edges, each multiplied by the weight $w_{ij}$ of its edge, and updates its
# own vector: $x_i' = \operatorname{softplus}\bigl(x_i + \mathrm{BN}(\sum_j w_{ij}\, m_{ij})\bigr)$. The library's
# layer gives the same numbers:

# %%
import torch

from course_lib.models.cgcnn import CGCNNConv

layer = CGCNNConv(hidden=2, n_basis=1).eval()  # its batch norms still change nothing
with torch.no_grad():
    layer.linear.weight.copy_(torch.tensor(W))
    layer.linear.bias.zero_()
    bonds = torch.tensor([[1, 0], [0, 1]])  # from 1 to 0, from 0 to 1
    six = torch.tensor([6.0, 6.0])
    by_library = layer(torch.tensor(x).float(), bonds, six, torch.full((2, 1), 0.5))
print(by_library.numpy().round(3))
assert np.allclose(by_library, x_new, atol=1e-3)

# %% [markdown]
# Here is the layer again, for any number of atoms and bonds, written to be read:


# %%
def convolution(layer, x, bond_index, bond_weight, e):
    """Return the new vectors of all atoms."""
    j, i = bond_index  # source and target of each bond
    z = layer.linear(torch.cat([x[i], x[j], e], dim=1))
    u, v = layer.message_norm(z, bond_weight).chunk(2, dim=1)
    messages = torch.sigmoid(u) * torch.nn.functional.softplus(v)
    total = torch.zeros_like(x).index_add(0, i, bond_weight[:, None] * messages)
    return torch.nn.functional.softplus(x + layer.sum_norm(total))


with torch.no_grad():
    atoms, basis = torch.rand(2, 64), torch.rand(n_bonds, 41)
    arguments = atoms, one.bond_index, one.bond_weight, basis
    layer = CGCNNConv(hidden=64, n_basis=41).eval()
    assert torch.allclose(convolution(layer, *arguments), layer(*arguments), atol=1e-5)

# %% [markdown]
# `bond_weight` is the sum of the weights of a bond's edges, and `index_add` is the sum over $j$. The library computes
# the same with less work: it applies $W$ in three parts, so that the part that depends only on an atom is computed once
# per atom instead of once per bond. The folded output below is the library's source.

# %% tags=["hide-output"]
import inspect

print(inspect.getsource(CGCNNConv))

# %% [markdown]
# <details><summary>The same in PyG</summary>
#
# PyTorch Geometric has this layer as `CGConv`, without the batch norm on the messages and without the last softplus.
# Its graphs store every edge separately. A `DataLoader` joins the graphs of 64 crystals into one, a `Batch`, whose
# `batch` says which crystal each atom belongs to. In the list, each crystal is a
# `Data(x=..., edge_index=..., edge_attr=..., y=...)`:
#
# ```python
# import torch
# from torch_geometric.loader import DataLoader
# from torch_geometric.nn import CGConv, global_mean_pool
#
# class PlainCGCNN(torch.nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.embed = torch.nn.Linear(92, 64)
#         self.convs = torch.nn.ModuleList(
#             CGConv(64, dim=41, batch_norm=True) for _ in range(3)
#         )
#         self.out = torch.nn.Sequential(
#             torch.nn.Linear(64, 128), torch.nn.Softplus(), torch.nn.Linear(128, 1)
#         )
#
#     def forward(self, data):
#         x = self.embed(data.x)
#         for conv in self.convs:
#             x = conv(x, data.edge_index, data.edge_attr)
#         return self.out(global_mean_pool(x, data.batch))
#
# network = PlainCGCNN()
# for batch in DataLoader(list_of_data, batch_size=64, shuffle=True):
#     loss = torch.nn.functional.l1_loss(network(batch).squeeze(1), batch.y)
# ```
#
# Two more differences: neighbours have no weights, and symmetry-equivalent edges are computed one by one.
#
# </details>
#
# After three convolutions the vector of an atom depends on all atoms up to three edges away. One layer maps the mean
# over the atoms of a cell (64 numbers) to 128 numbers, the vector of the crystal: its *embedding*. Another layer
# turns it into the prediction. We train the network on the same crystals 50 times over, that is for 50 *epochs*. (The
# runs further down take 100.) In the end we keep the network as it was after the epoch with the smallest error on the
# validation crystals.

# %%
from course_lib.models import CGCNN
from course_lib.training import FitConfig, fit, predict

torch.manual_seed(0)
network = CGCNN()
train_graphs, validation_graphs = (
    graphs.subset(fold.train),
    graphs.subset(fold.validation),
)
cgcnn = fit(network, train_graphs, validation_graphs, FitConfig(epochs=50))
n_weights = sum(p.numel() for p in network.parameters())
print(f"{n_weights:,} weights, trained in {cgcnn.seconds:.1f} s")

# %% mystnb={"image": {"alt": "Validation error of CGCNN by epoch, on a logarithmic axis: it falls steeply at first, then slowly."}}
from course_lib.teaching.figures.results import plot_history

plot_history({"CGCNN": cgcnn.history}, "val_mae_formation_energy_per_atom", "eV/atom")

# %% mystnb={"image": {"alt": "Predicted against computed formation energy of the test crystals, one panel for the random forest and one for CGCNN; both clouds follow the diagonal."}}
from course_lib.teaching.figures.results import plot_parity

truth = test["formation_energy_per_atom"]
forest_prediction = pd.Series(forest.model.predict(test["structure"]), index=test.index)
cgcnn_prediction = predict(cgcnn.model, graphs.subset(fold.test))[
    "formation_energy_per_atom"
]
plot_parity(
    truth,
    {
        "random forest (composition)": forest_prediction,
        "CGCNN (structure)": cgcnn_prediction,
    },
)

# %%
from sklearn.metrics import mean_absolute_error, r2_score

of_model = {"random forest": forest_prediction, "CGCNN": cgcnn_prediction}
scores = {"MAE (eV/atom)": mean_absolute_error, "R²": r2_score}
pd.DataFrame(
    {
        score: {name: function(truth, p) for name, p in of_model.items()}
        for score, function in scores.items()
    }
).round(3)

# %% [markdown]
# In the figure each dot is a test crystal, and a perfect prediction lies on the diagonal. The table has two numbers
# for each cloud. Both compare the predictions $\hat y$ with the computed values $y$. The mean absolute error (MAE)
# has the unit of the target, so you can compare it with the accuracy you need. But it does not say whether a model
# does better than the mean $\bar y$ of the test crystals. The coefficient of determination
# $R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2$ says just that: 1 is perfect, and 0 is as good as the mean.
# But the same errors give a higher $R^2$ where energies vary more. And because errors are squared, the largest ones
# count most. We use the mean absolute error, and never $R^2$ alone.
#
# This is **one** training run on **one** split. Would another split, or another *seed* (it sets the initial weights),
# reverse the order? One run cannot tell.

# %% [markdown]
# ## Where does each view win?
#
# To answer that we need many runs. These were made once, on the same data, with `python -m course_lib.experiments`.
# The crystals are divided into five parts, the *folds*. Each fold is the test set once, for models trained on the
# other four, with three seeds for each model. (Here and in all later notebooks the recorded forests have tuned
# settings. Each leaf, where a branch ends, holds at least three crystals, and each branching chooses among a random half
# of the features.)
#
# There are two kinds of folds, which ask different questions:
#
# - **random**: test crystals are drawn at random. The model may have seen another polymorph of the same formula.
# - **formula**: all polymorphs of a formula stay together, either all among the training crystals or all among the test
#   crystals. The model has never seen the formula.
#
# > **Predict.** Which of the two tests is harder? Which model suffers more on the harder one?
# >
# > <!-- predict: tests; random, and the forest; random, and CGCNN; formula, and the forest; formula, and CGCNN -->

# %%
from course_lib.experiments.records import load_results
from course_lib.methods import LABELS

target, methods = "formation_energy_per_atom", ["random_forest", "cgcnn"]
runs = load_results(crystals=crystals, target=target, methods=methods)
tuned = runs.loc[runs["method"] == "random_forest", "configuration"]
told = {"max_features": 0.5, "min_samples_leaf": 3}
assert all(settings == told for settings in tuned), "tuned as told above"
mean_error = runs.pivot_table(index="split", columns="method", values="mae", sort=False)
mean_error.rename(columns=LABELS).round(3)

# %% mystnb={"image": {"alt": "Mean absolute errors of random forest and CGCNN on random and on formula-grouped folds, one dot per run, with mean and standard deviation of each. CGCNN's errors are clearly the smaller ones on both; on formula-grouped folds the errors of both methods are larger."}}
from course_lib.teaching.figures.results import plot_errors

plot_errors(runs, "eV/atom")

# %% [markdown]
# Are the differences more than luck? Some folds are hard for every model, so we compare on equal terms: on the same
# test crystals, the error of CGCNN minus that of the forest, averaged over the seeds. That gives five differences,
# one per fold, and a *confidence interval* for their mean, on each kind of folds. Each interval holds the true
# difference in 97.5 % of all studies made like this one, so in at least 95 % of them both do. The folds share training
# crystals, which makes the plain interval too narrow; this one is corrected for that {cite:p}`nadeau2003inference`. All
# numbers are in eV/atom.

# %%
from course_lib.experiments.analysis import summarize_differences

difference = summarize_differences(runs, "random_forest").xs("cgcnn", level="method")
difference.round(3)

# %%
random, formula = difference.loc["random"], difference.loc["formula"]
assert random["high"] < 0, "on random folds, CGCNN is better than the forest"
assert formula["high"] < 0, "on formula folds, too"
assert (mean_error.loc["formula"] > mean_error.loc["random"]).all(), (
    "unseen formulas are harder for both"
)
assert formula["mean"] > random["mean"], "and CGCNN's lead is smaller there on average"

# %%
harder = (mean_error.loc["formula"] / mean_error.loc["random"] - 1).rename(LABELS)
said = "; ".join(f"{name}: {more:+.0%}" for name, more in harder.items())
measured("tests", f"error on formula compared with random: {said}")

# %% [markdown]
# The structure view wins on both tests: both intervals lie below zero. But new formulas are harder for both models,
# and CGCNN suffers more: its lead is smaller there on average. The models and the crystals are the same; only the
# question has changed. A report of just one of the two tests tells half the story.
#
# ## Why? The error between formulas and within a formula
#
# We can look more closely, because most test formulas have several polymorphs. We split each error in two:
#
# - the **between-formula error**: is the mean over a formula's polymorphs right?
# - the **within-formula error**: given that mean, is each polymorph placed correctly above or below it?
#
# Let $\bar y$ be the mean energy of the polymorphs of a formula, and $\bar{\hat y}$ that of their predictions. The two
# errors of a crystal are $|\bar{\hat y} - \bar y|$ and $|(\hat y - \bar{\hat y}) - (y - \bar y)|$. Formulas with only
# one structure have no within-formula error, so they are left out of both.
#
# > **Predict.** Which of the two can a composition-only model never remove?
# >
# > <!-- predict: parts; the between-formula error; the within-formula error; both -->

# %% mystnb={"image": {"alt": "Two panels for formulas never seen in training. Within a formula, CGCNN has clearly the smaller error. Between formulas, CGCNN's is the smaller one on average, and the two come closer."}}
from course_lib.experiments.analysis import between_and_within_formula_errors

parts = between_and_within_formula_errors(runs[runs["split"] == "formula"], crystals)
plot_errors(parts, "eV/atom")

# %% [markdown]
# Again on equal terms, CGCNN minus forest, with the interval:

# %%
part = summarize_differences(parts, "random_forest").xs("cgcnn", level="method")
assert part.loc["within a formula", "high"] < 0, "better where composition says nothing"
assert part.loc["between formulas", "high"] < 0, "and between formulas, too"
lead = -part["mean"] / parts.groupby(["method", "split"])["mae"].mean()["random_forest"]
assert lead["within a formula"] > lead["between formulas"], "a smaller lead there"
part.round(3)

# %%
by_forest = runs[(runs["method"] == "random_forest") & (runs["split"] == "formula")]
within = [
    pd.Series(run.predictions, run.ids).groupby(crystals["formula"]).agg(np.ptp).max()
    for run in by_forest.itertuples()
]
assert max(within) < 1e-6, "one prediction per formula"
measured(
    "parts",
    "the within-formula error; the forest's predictions for polymorphs differ by "
    f"at most {max(within):.3f} eV/atom",
)

# %% [markdown]
# The within-formula error is the one that a composition-only model can never remove: the forest predicts no
# differences within a formula at all. CGCNN sees the structure and is better, as expected. But its between-formula
# error is smaller as well. There we might have bet on the forest: Magpie gives it ready-made chemistry, whereas CGCNN
# has to learn from these crystals what each element is like. Two things may help CGCNN there. The mean is over the
# structures that we *have* of a formula, so it does not depend on composition alone. And the 92 bits of an atom
# (group, period, electronegativity and so on) are prepared chemistry, too.
#
# ### Watch it learn
#
# When does a network learn that polymorphs differ? We train CGCNN again, with folds by formula, and keep its
# predictions for the validation crystals after each epoch. None of their formulas is in the training set. `fit` makes
# these predictions anyway, to choose the best epoch. To keep them we use a *forward hook*, which PyTorch calls with
# every output of a network.

# %%
from course_lib.makers import make_learner

new = folds(crystals, "formula")[0]
unseen = crystals.iloc[new.validation]
outputs = []


def keep(module, inputs, output):
    """Keep what the network says of validation crystals."""
    if not module.training:
        outputs.append(output.clone())


torch.manual_seed(0)
watched = CGCNN()
hook = watched.register_forward_hook(keep)
parts_of_fold = graphs.subset(new.train), graphs.subset(new.validation)
learned = fit(watched, *parts_of_fold, FitConfig(epochs=30))
hook.remove()
scaled = torch.cat(outputs).reshape(30, len(unseen), 1)  # in standard deviations
by_epoch = learned.model.target_scaler.inverse(scaled).squeeze(2).numpy()
by_epoch = pd.DataFrame(by_epoch.T, index=unseen.index, columns=range(1, 31))

energies = crystals["formation_energy_per_atom"]
trees = make_learner("random_forest", composition.shape[1])  # with tuned settings
trees.fit(composition.iloc[new.train], energies.iloc[new.train])
by_trees = trees.predict(composition.iloc[new.validation])
by_trees = pd.Series(by_trees, index=unseen.index)

# %% [markdown]
# The slider steps through the epochs. Marks are the polymorphs of one formula; dots are other validation crystals. On
# the right is a forest with the tuned settings of the recorded ones, trained on the same crystals.
#
# > **Predict.** After the first epoch, will CGCNN already give the polymorphs of a formula different energies?
# >
# > <!-- predict: first; yes, about as different as they are; hardly -->

# %%
from course_lib.teaching.explorers.learning import learning_explorer

of_formula = unseen.groupby("formula")["formation_energy_per_atom"]
true_spread = (of_formula.max() - of_formula.min())[of_formula.size() >= 4]
marked = true_spread.nlargest(3).index
truth = energies[unseen.index]
learning_explorer(truth, by_epoch, by_trees, unseen["formula"], marked)

# %%
of_marked = unseen["formula"][unseen["formula"].isin(marked)]
spread = by_epoch.loc[of_marked.index].groupby(of_marked).agg(np.ptp)
shares = spread.div(true_spread[marked], axis=0).mean()
assert by_trees.groupby(unseen["formula"]).agg(np.ptp).max() < 1e-9, "on a line"
assert shares[1] < 0.25 < 0.5 < shares[30], "they fan apart"
measured(
    "first", f"{shares[1]:.0%} of the true spread; after epoch 30 {shares[30]:.0%}"
)

# %% [markdown]
# At first CGCNN predicts nearly one energy for all crystals, so polymorphs hardly differ. Then the formulas separate,
# and with them the polymorphs: the marks fan apart and turn towards the diagonal, with some jumps on the way. For the
# forest they lie on a horizontal line, because it has one number per formula.
#
# **Structure improves both parts, most of all the one within a formula.** Does prepared chemistry, in turn, add
# anything to a network that sees the structure? The next notebooks ask that question, and by now you may doubt it.
#
# ## The table again, with numbers

# %%
seconds = runs.groupby("method")["seconds"].mean()
by_part = parts.pivot_table(index="method", columns="split", values="mae")
pd.DataFrame(
    {
        "what it describes": ["145 numbers per crystal", "92 per atom, 41 per bond"],
        "error within a formula (eV/atom)": by_part["within a formula"],
        "error between formulas (eV/atom)": by_part["between formulas"],
        "input, per crystal (ms)": [
            (middle - start) * per_crystal,
            (end - middle) * per_crystal,
        ],
        "training (s)": seconds,
        "error on new formulas (eV/atom)": mean_error.loc["formula"],
        "most used feature": [importance.idxmax(), "has no named ones"],
    },
    index=["random_forest", "cgcnn"],
).rename(index=LABELS).round(2).T

# %% [markdown]
# (About the times: the recorded forests were trained on the validation crystals, too, and the machine was also doing
# other work.) Of the usual table, granularity and sensitivity hold, and only the forest has features with names. The
# costs differ, but on crystals as small as ours neither is a burden. And *data it needs* does not hold as it stands:
# with fewer than two thousand crystals CGCNN is ahead, on both parts of the error.
#
# ## What we saw
#
# - Polymorphs have one formula and different energies. A composition-only model cannot tell them apart, and we computed
#   the smallest error that it can have.
# - 145 Magpie features describe a formula; a graph, in which each atom has twelve neighbours by weight, describes a
#   structure.
# - On these crystals the structure view is ahead on both kinds of test, although new formulas are harder than random
#   crystals for both models.
# - The structure view is better between formulas, too, but its lead is largest within a formula, where composition
#   says nothing. The composition view trains in a fraction of the time.
#
# **When this stops being true.** With one or two hundred crystals a graph network cannot learn the elements well, and
# it falls behind the forest (notebook 2). With many more its lead grows: in the public benchmark Matbench, on more
# than 100,000 crystals and random folds, CGCNN is far ahead of a forest that reads Magpie and even some structure
# features {cite:p}`dunn2020matbench`. In a database of known materials polymorphs are rarer and closer in energy, so
# composition alone does better there than here. Our crystals are also all small and highly symmetric.
#
# ## Check yourself
#
# 1. Two crystals have the same 145 features. Must they be the same crystal?
#    - `a` Yes: 145 numbers say so much about a crystal that there is no room for two.
#    - `b` No, but their cells hold the same number of atoms.
#    - `c` No: the structure does not enter the features.
# 2. Why is a cut at exactly twelve neighbours a bad idea in rock salt?
#    - `a` With twelve neighbours for each atom there are more edges than the network can use.
#    - `b` Of atoms at one distance, some become neighbours and others do not.
#    - `c` The neighbours change when the crystal is rotated.
# 3. A colleague reports a graph network's error on a random split, for a database full of polymorphs. What do you ask
#    first?
#    - `a` How many convolutions the network has, and how long it was trained.
#    - `b` How large the error is on the training set.
#    - `c` How large the error is on new formulas.
# 4. You describe the same rock salt with a cell twice as long. What changes?
#    - `a` Only the numbers of atoms and edges.
#    - `b` CGCNN's prediction: there are twice as many atoms, and each adds its part.
#    - `c` The 145 features: they count the atoms.
# 5. Where does a composition-only model make an error that no training can fix?
#    - `a` Between formulas.
#    - `b` Within a formula.
#    - `c` In both.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_1
#
# check_yourself_1(..., ..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. No. All polymorphs of a formula have the same features, and so do MgO and Mg₂O₂: only fractions count.
# 2. Six atoms are nearest and twelve share the next distance. A cut at twelve keeps six of those twelve, and which six
#    depends on the order in which the program meets them, not on the crystal.
# 3. How large is the error on formulas that were not in the training set? If the training set holds polymorphs of the
#    test formulas, it gives away the mean energy of the formula.
# 4. The features stay the same: they depend only on fractions. There are twice as many atoms and twice as many edges,
#    but each atom has the same neighbours as before. The mean over the atoms is the same, and so is the prediction.
# 5. Within a formula: it must give all its polymorphs one number. The between-formula error has no such floor; there,
#    more crystals or better features can help.
#
# </details>
#
# ## Further reading
#
# Magpie features: {cite:t}`ward2016magpie`, with the matminer package {cite:p}`ward2018matminer`. CGCNN:
# {cite:t}`xie2018cgcnn`. How models for crystals are compared: {cite:t}`dunn2020matbench`. The functional behind our
# energies: {cite:t}`perdew1996pbe`.
#
# ## A quest
#
# Strontium titanate, SrTiO₃, is a perovskite: strontium at the corners of a cube, titanium in its centre, oxygen in the
# middle of its faces. Its cell has one titanium atom and three oxygen atoms. In its crystal graph, how many edges lead
# from oxygen to titanium?

# %%
from pymatgen.core import Lattice, Structure

perovskite = Structure.from_spacegroup(
    "Pm-3m",
    Lattice.cubic(3.905),
    ["Sr", "Ti", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
)
graph = CrystalGraphs.from_structures([perovskite]).batch([0])
source, target = graph.edge_index
elements = graph.species  # atomic numbers: Sr 38, Ti 22, O 8
from_oxygen = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_1

check_quest_1(from_oxygen)
