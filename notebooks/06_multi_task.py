# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Multi-task learning
#
# **Question.** A crystal has many properties. Should one network learn several of them together, or is each better off
# with a network of its own?
#
# **You will learn to**
#
# - join the labels of two properties crystal by crystal, and see what happens when rows are joined by their position;
# - write down the layers of two shared trunks, graph attention and MEGNet, and say what each of them updates;
# - weight two errors with different units in three ways, and vary the weight between two tasks;
# - train on crystals when only some of them have both labels;
# - measure negative transfer on several folds and with several seeds, not from one run.
#
# **You need** notebooks 1 and 2. **Time to read:** 55 min. **Time to run:** at most 80 s on two cores.

# %% [markdown]
# ## The idea
#
# So far each network learned one property. Here it learns two, the formation energy $E$ and the band gap $E_g$. The
# *trunk* turns the crystal graph into one vector, its embedding, and both tasks use that vector. Each task has a small
# network of its own on top, its *head*.

# %% mystnb={"image": {"alt": "Crystal graph, shared trunk and embedding, one after the other. From the embedding, one arrow leads to the head of the energy and one to the head of the band gap. Each head gives an error, L1 and L2; each is multiplied by its weight lambda, and their sum is the loss L."}}
from course_lib.teaching.figures.multitask import plot_multi_task

plot_multi_task()

# %% [markdown]
# $$ L = \sum_k \lambda_k L_k $$
#
# - $L_k$: the mean absolute error of task $k$ over the crystals whose label $k$ is known, in the unit of the task;
# - $\lambda_k$: the weight of the task, in the inverse of that unit, so that the terms can be added up;
# - $L$: the one number that training minimises.
#
# Each head learns from its own error. The trunk learns from all of them. What one task teaches the trunk may help the
# other task (*positive transfer*). It may also harm it (*negative transfer*).
#
# > **Predict.** Strongly bound crystals, such as oxides and halides, often have wide gaps. Does a network that learns
# > the energies as well predict gaps better, on average? And the other way round?
# >
# > <!-- predict: sharing; both are predicted better; the gap only; the energy only; neither -->

# %% [markdown]
# ## Two labels for one crystal
#
# How are the two properties of the bundled crystals related? Pearson's correlation is that of the values, Spearman's
# that of their ranks; `low` and `high` are the ends of a 95 % interval.

# %%
from course_lib.datasets import folds, load_dataset
from course_lib.experiments.analysis import task_correlation

ENERGY, GAP = "formation_energy_per_atom", "band_gap"
TASKS = {ENERGY: ("formation energy", "eV/atom"), GAP: ("band gap", "eV")}
AXES = {task: f"{name} ({unit})" for task, (name, unit) in TASKS.items()}
crystals = load_dataset("pbe_prototypes")
labels = crystals[list(TASKS)]
related = task_correlation(crystals, ENERGY, GAP)
assert (related["high"] < 0).all(), "related, in opposite directions"
related.round(2)

# %% [markdown]
# The lower the energy, the wider the gap tends to be. The sign does not matter: a head can change it.
#
# Often two properties come in two lists. Say that our second list lacks one crystal in twenty, because the calculation
# of the gap failed. Otherwise the two lists have the same order. It is tempting to put row 1 next to row 1, row 2 next
# to row 2, and so on. The chapter that this course started from does so with two Matbench lists of different crystals.

# %%
import numpy as np

gap_list = labels[GAP].drop(labels.index[10::20])
n = len(gap_list)

by_position = labels.iloc[:n].copy()
by_position[GAP] = gap_list.to_numpy()  # row 1 next to row 1
by_id = labels[[ENERGY]].join(gap_list)  # NaN where there is no gap
assert by_id[GAP].isna().sum() == len(labels) - n
by_position.assign(correct=labels[GAP]).iloc[8:13].round(2)

# %% [markdown]
# Above are five rows of the table paired by position; `correct` is the right gap. Its first ten rows are correct. From
# the first missing crystal on, each row has the gap of another crystal.
#
# > **Predict.** How wrong are these labels on average, compared with saying "0 eV" for every crystal?
# >
# > <!-- predict: pairing; less wrong; about as wrong, within 10 %; more wrong -->

# %% mystnb={"image": {"alt": "Band gap against formation energy, one dot per crystal, in two panels. Joined by id, wide gaps occur only at low energies, and most crystals lie on the line of gap zero. Paired by position, wide gaps are scattered over all energies, and the correlation is near zero."}}
from course_lib.teaching.figures.multitask import plot_task_pairs

plot_task_pairs({"joined by id": by_id, "paired by position": by_position}, AXES)

# %%
from course_lib.teaching.predictions import measured

label_noise = (by_position[GAP] - labels[GAP]).abs().mean()
always_zero = labels[GAP].abs().mean()
print(f"error of the labels paired by position: {label_noise:.2f} eV")
print(f"error of saying 0 eV for every crystal: {always_zero:.2f} eV")
assert label_noise > always_zero, "further off than zero is"
assert abs(by_position.corr().iloc[0, 1]) < 0.5 * abs(by_id.corr().iloc[0, 1])
measured("pairing", f"{label_noise / always_zero:.1f} times as wrong as saying 0 eV")

# %% [markdown]
# The wrong labels are further from the truth than "0 eV" for every crystal. And yet nothing failed: the lengths agree,
# and all numbers are gaps. We train a network on each table, with the same settings. Errors are measured against the
# correct labels of the test crystals.

# %%
import torch

from course_lib.graphs import CrystalGraphs
from course_lib.models import MultiTask
from course_lib.training import FitConfig, fit, predict

fold = folds(crystals)[0]
learn_from = fold.train[:600]  # a part of them: this page trains six times
everything = CrystalGraphs.from_structures(crystals["structure"], ids=crystals.index)
truth = labels.iloc[fold.test]


# %%
def as_targets(table):
    """The crystals with the labels of a table, joined by id; NaN is a missing label."""
    return CrystalGraphs.from_structures(
        crystals["structure"],
        ids=crystals.index,
        targets=table.reindex(crystals.index),
        allow_missing=True,
    )


# %%
def train(graphs, rows=learn_from, epochs=25, **settings):
    """Train a two-task GAT on some rows; return the result and both test errors."""
    torch.manual_seed(0)
    result = fit(
        MultiTask("gat"),
        graphs.subset(rows),
        as_targets(labels).subset(fold.validation),
        FitConfig(epochs=epochs, **settings),
    )
    predicted = predict(result.model, everything.subset(fold.test))
    return result, (predicted - truth).abs().mean()


joined_by_id, right = train(as_targets(by_id))
_, wrong = train(as_targets(by_position))

# %%
import pandas as pd

joined = pd.DataFrame({"joined by id": right, "paired by position": wrong})
assert wrong[GAP] > 1.15 * right[GAP], "wrong labels, wrong gaps"
joined.rename(AXES).round(3)

# %% [markdown]
# The gap suffers. The energies are correct in both tables. Their errors differ, too, but one training run of each does
# not say whether that is chance or an effect of the wrong gaps on the shared trunk. In this library tables are joined
# by their ids, and `CrystalGraphs.from_structures` refuses a table whose ids are in a different order.
#
# ## Most gaps are zero
#
# Look at the picture again: many dots lie on the line at gap zero. These crystals are metals, at least according to
# PBE, the approximation behind the data.

# %%
metals = labels[GAP] == 0
constants = {"mean": labels[GAP].mean(), "median": labels[GAP].median()}
mae = {name: (labels[GAP] - c).abs().mean() for name, c in constants.items()}
print(f"metals: {metals.mean():.0%} of the crystals")
for name, constant in constants.items():
    print(f"always the {name}, {constant:.2f} eV: error {mae[name]:.2f} eV")
assert 0.7 < metals.mean() < 0.8, "three in four"
assert constants["median"] == 0
assert mae["median"] < mae["mean"]

# %% [markdown]
# The constant with the smallest mean absolute error is the median. Where more than half of the gaps are zero, the
# median *is* zero: a model that calls every crystal a metal is the best constant. So
#
# - a mean absolute error of the gap that looks small may be due to the metals. Compare it with that of always saying
#   zero, above;
# - the error should be reported separately for metals and for the others;
# - a regression model must spend its effort on hitting zero exactly, which is really a yes-or-no question.
#
# Here are the errors of the network that we just trained, on the test crystals, separately for metals and for the
# others.

# %%
predicted = predict(joined_by_id.model, everything.subset(fold.test))[GAP]
errors = {
    "always 0 eV": truth[GAP],
    "multi-task GAT": (predicted - truth[GAP]).abs(),
}
kind = pd.cut(truth[GAP], [-1, 0, 2, np.inf], labels=["metal", "up to 2 eV", "wider"])

# %% mystnb={"image": {"alt": "Mean absolute error of the gap for crystals with wide gaps, narrow gaps and metals: always saying zero, and the multi-task GAT. Zero is perfect for metals and far off for wide gaps, where the network is much better."}}
from course_lib.teaching.figures.results import plot_errors_by_group

plot_errors_by_group(kind.astype(str), errors, "eV")

# %%
by_kind = pd.DataFrame(errors).groupby(kind, observed=True).mean()
assert by_kind.loc["wider", "multi-task GAT"] < by_kind.loc["wider", "always 0 eV"]
assert by_kind.loc["metal", "multi-task GAT"] > 0, "saying 0 cannot be beaten on metals"
clipped = (predicted.clip(lower=0) - truth[GAP]).abs().mean()
before = errors["multi-task GAT"].mean()
print(f"multi-task GAT: {before:.3f} eV; negative gaps set to zero: {clipped:.3f} eV")
assert clipped <= before
by_kind.round(3)

# %% [markdown]
# On metals the constant cannot be beaten; what a network knows shows in the crystals with wide gaps. Setting negative
# predictions to zero costs nothing and can only help, since no gap is negative. A cleaner way is to use two models: one
# decides whether there is a gap, the other predicts how wide it is. We do not use a classifier in this notebook, but
# keep it in mind.
#
# ## Two trunks
#
# ### Graph attention
#
# A graph attention network (GAT) {cite:p}`velickovic2018gat` lets each atom decide how much it takes from each
# neighbour. Atom $i$ gives each neighbour $j$ a score $s_{ij}$, made from both atoms' vectors and the features $e_{ij}$
# of their bond. The scores become weights $\alpha_{ij}$ that add up to one:
#
# $$ s_{ij} = \mathrm{LeakyReLU}\bigl(a_t \cdot W x_i + a_s \cdot W x_j + a_e \cdot V e_{ij}\bigr) $$
#
# $$ \alpha_{ij} = \frac{\exp s_{ij}}{\sum_k \exp s_{ik}}, \qquad x_i' = \sum_j \alpha_{ij} W x_j $$
#
# $W$ and $V$ are learned matrices, $a_t$, $a_s$ and $a_e$ learned vectors (for target, source and edge), and
# $\mathrm{LeakyReLU}(s)$ is $s$ where it is positive and $0.2\,s$ where it is not. In the network, the atom itself is
# among its neighbours, at distance zero. Edges count by their weights here, too: each $\exp s_{ij}$ is multiplied by
# that of its edge. ($\alpha$ is not the weight of late fusion here.) Several such *attention heads*, each with its own
# scores and its own $W$, are averaged; they have nothing to do with the heads of the tasks. Below, we compute scores,
# weights and messages of five crystals by hand, and compare each step with the library's layer. (It is the network
# that adds the atom itself, so it is missing here.)

# %%
from torch.nn.functional import leaky_relu

from course_lib.models import GAT

batch = everything.batch(range(5))
source, target = batch.bond_index
gat = GAT()
layer = gat.convs[0]
with torch.no_grad():
    x = gat.atom_embedding(gat.atom_features)[batch.species]
    e = gat.basis(batch.bond_length)
    bonds = (batch.bond_index, batch.bond_weight, e)

    # One row per atom or bond, one column per head.
    wx = layer.linear(x).unflatten(1, (layer.heads, -1))
    ve = layer.linear_edge(e).unflatten(1, (layer.heads, -1))
    parts = layer.score_target * wx[target] + layer.score_source * wx[source]
    scores = leaky_relu((parts + layer.score_edge * ve).sum(2), 0.2)
    top = batch.bond_weight[:, None] * scores.exp()
    bottom = torch.zeros(len(x), layer.heads).index_add_(0, target, top)
    weights = top / bottom[target]
    assert torch.allclose(weights, layer.attention(x, *bonds), atol=1e-5)

    received = torch.zeros_like(wx)
    received.index_add_(0, target, weights[:, :, None] * wx[source])
    assert torch.allclose(received.mean(1), layer(x, *bonds), atol=1e-5)

# %%
total = torch.zeros(len(x), layer.heads).index_add_(0, target, weights)
print(f"sum of the weights an atom gives: {total.min():.4f} to {total.max():.4f}")
assert torch.allclose(total, torch.ones_like(total), atol=1e-5)

# %% [markdown]
# Look at the last formula again: the bond enters the weight $\alpha_{ij}$, but not the message $W x_j$. The weights
# only decide the shares of the neighbours' messages.
#
# > **Predict.** Take copper, and copper stretched by 5 %. Can GAT tell the two crystals apart?
# >
# > <!-- predict: stretched; yes; no -->

# %%
from pymatgen.core import Lattice, Structure

from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN

copper = [
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Cu"], [[0, 0, 0]])
    for a in (3.63, 1.05 * 3.63)
]
both = CrystalGraphs.from_structures(copper).batch([0, 1])
told_apart = {}
torch.manual_seed(0)
with torch.no_grad():
    for network in (GAT().eval(), CGCNN().eval()):
        first, second = network(both).flatten().tolist()
        print(f"{type(network).__name__:6s}{first:.6f} and {second:.6f}")
        told_apart[type(network).__name__] = abs(first - second) > 1e-5
assert told_apart == {"GAT": False, "CGCNN": True}

# %%
answers = (f"{name}: {'yes' if can else 'no'}" for name, can in told_apart.items())
measured("stretched", ", ".join(answers))

# %% [markdown]
# GAT cannot, with any weights: all atoms are equal, so all messages are, and a mean of equal messages is that message,
# however it is weighted. In a compound the messages differ, and then the weights carry some information about the
# distances.
#
# GAT updates atoms. Bonds keep their features from the first layer to the last, and nothing represents the crystal as a
# whole until the mean over its atoms at the end.
#
# <details><summary>The same in PyG</summary>
#
# PyTorch Geometric has this layer as `GATConv`. Each crystal is a `Data` as in notebook 1, and `Batch` joins them:
#
# ```python
# import torch
# from torch_geometric.data import Batch
# from torch_geometric.nn import GATConv, global_mean_pool
#
# class PlainGAT(torch.nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.embed = torch.nn.Linear(92, 128)
#         options = {"heads": 4, "concat": False, "edge_dim": 41}
#         self.convs = torch.nn.ModuleList(
#             GATConv(128, 128, add_self_loops=False, **options) for _ in range(3)
#         )
#         self.out = torch.nn.Linear(128, 1)
#
#     def forward(self, data):
#         x = self.embed(data.x)
#         for conv in self.convs:
#             x = torch.nn.functional.softplus(conv(x, data.edge_index, data.edge_attr))
#         return self.out(global_mean_pool(x, data.batch))
#
# predictions = PlainGAT()(Batch.from_data_list(list_of_data))
# ```
#
# What differs: by default, `GATConv` joins each atom to itself, but drops the edges from an atom to its own images in
# other cells (hence `add_self_loops=False`); our network has both. `GATConv` adds a bias, and its neighbours have no
# weights. And our network has a batch norm after each layer.
#
# </details>
#
# ### MEGNet
#
# MEGNet {cite:p}`chen2019megnet` updates all three: bonds $e_{ij}$, atoms (here $v_i$, above $x_i$) and the *state of
# the crystal* $u$. The order matters, since each update reads the result of the one before.

# %% mystnb={"image": {"alt": "The three updates of a MEGNet layer on three atoms, two bonds and a state. First, a bond is updated from its two atoms, itself and the state. Second, an atom is updated from the mean of its new bonds, itself and the state. Third, the state is updated from the means of all new bonds and atoms and itself."}}
from course_lib.teaching.figures.multitask import plot_megnet_updates

plot_megnet_updates()

# %% [markdown]
# $\phi_e$, $\phi_v$ and $\phi_u$ are small networks of three layers; a prime marks an updated value. Again we write the
# layer out and compare it with the library's:

# %%
from course_lib.models import MEGNet
from course_lib.models.megnet import MEGNetConv


def mean(values, group, n_groups, count):
    """Return the mean of the values in each group, each as often as ``count`` says."""
    total = torch.zeros(n_groups, values.shape[1]).index_add_(0, group, values * count)
    return total / torch.zeros(n_groups, 1).index_add_(0, group, count)


# %%
layer = MEGNetConv()
crystal = batch.batch  # of each atom
count, once = batch.bond_weight[:, None], torch.ones(len(crystal), 1)
with torch.no_grad():
    v = torch.randn(len(crystal), 32)
    e = torch.randn(len(source), 32)
    u = torch.randn(5, 32)

    ends = [v[target], v[source], e, u[crystal[target]]]
    new_e = layer.bond_out(layer.bond_in(torch.cat(ends, 1)))
    received = mean(new_e, target, len(v), count)
    new_v = layer.atom(torch.cat([received, v, u[crystal]], 1))
    of_bonds = mean(new_e, crystal[target], 5, count)
    of_atoms = mean(new_v, crystal, 5, once)
    new_u = layer.state(torch.cat([of_bonds, of_atoms, u], 1))

    for ours, its in zip((new_v, new_e, new_u), layer(v, e, u, batch), strict=True):
        assert torch.allclose(ours, its, atol=1e-4)

# %% [markdown]
# The library's layer does the same, but faster: whatever depends only on an atom is computed once per atom instead of
# once per bond. A bond may stand for several periodic images at one distance; `count` is the sum of their weights, and
# all means over bonds are weighted with it.
#
# Through $u$ each atom receives something of the whole crystal, from the second layer on. A temperature or a pressure
# could be stored there, too; here it starts empty. At the end, *Set2Set* {cite:p}`vinyals2016set2set` summarises the
# atoms, and a second one the bonds. Three times, $t = 1, 2, 3$, it sends a query $q_t$ to the set, gives each member
# $x_i$ a weight $a_i$ by how well it matches, and refines the query:
#
# $$ q_t = \mathrm{LSTM}(q_{t-1}^*), \qquad a_i = \frac{\exp(x_i \cdot q_t)}{\sum_k \exp(x_k \cdot q_t)}, \qquad
# q_t^* = \bigl[q_t,\ \textstyle\sum_i a_i x_i\bigr], \qquad q_0^* = 0 $$
#
# $[\cdot, \cdot]$ concatenates two vectors. LSTM is a small recurrent network: its output depends on its input and on
# what it keeps of the steps before. $q_3^*$ is the result. Unlike a mean, Set2Set can pick out single atoms. Like a
# mean, it does not depend on their order:

# %%
megnet = MEGNet().eval()
with torch.no_grad():
    atoms = torch.randn(6, 16)
    one_crystal = torch.zeros(6, dtype=torch.long)
    summary = megnet.atom_set(atoms, one_crystal, 1)
    reversed_order = megnet.atom_set(atoms.flip(0), one_crystal, 1)
assert torch.allclose(summary, reversed_order, atol=1e-6)
for model in (GAT(), MEGNet()):
    n_weights = sum(p.numel() for p in model.parameters())
    print(f"{type(model).__name__}: {n_weights:,} weights")

# %% [markdown]
# The network that the chapter calls MEGNet is a graph attention network. It has no update of bonds, no state and no
# Set2Set. Both are good networks, but they are not the same. And neither is multi-task by itself: any trunk becomes so
# with several heads on it. This is all the code it takes:

# %%
import inspect
from textwrap import dedent

print(dedent(inspect.getsource(MultiTask.forward)))

# %% [markdown]
# ## Choosing the weights
#
# An eV of gap and an eV/atom of energy are not the same thing. With $\lambda = (1, 1)$, for energy and gap, how much
# each task counts is an accident of its spread and its unit.
#
# > **Predict.** Someone writes the gaps in meV and leaves $\lambda = (1, 1)$. What does the trunk learn?
# >
# > <!-- predict: unit; both about equally; the energy, hardly the gap; the gap, hardly the energy -->

# %%
from course_lib.losses import make_task_weights

spread = torch.from_numpy(labels.iloc[learn_from].std().to_numpy())
shares = {}
for unit, factor in {"eV": 1, "meV": 1000}.items():
    scale = spread * torch.tensor([1, factor])
    for weights in ((1.0, 1.0), "inverse_scale"):
        share = make_task_weights(weights, scale, "mae").shares
        shares[f"{weights}, gap in {unit}"] = share.numpy()
table = pd.DataFrame(shares, index=["energy", "gap"]).T
assert table.loc["(1.0, 1.0), gap in meV", "gap"] > 0.99
table.round(3)

# %%
share = table.loc["(1.0, 1.0), gap in meV"]
measured("unit", f"{share['gap']:.1%} the gap, {share['energy']:.1%} the energy")

# %% [markdown]
# The table has the shares $\lambda_k s_k / \sum_j \lambda_j s_j$, with the standard deviation $s_k$ of the labels in
# the training set. With meV the gap has nearly all of it.
#
# Why this expression, without the *errors*? Training follows the gradient. The head of task $k$ gives a standardised
# number $z_k$; its prediction is $m_k + s_k z_k$, with the mean $m_k$ of the labels. So if $z_k$ changes by 1, the
# error $r$ changes by $s_k$. And the derivative of the absolute error $|r|$ is 1 or −1, however large $r$ is. So the
# task with the larger $\lambda_k s_k$ changes the trunk more, not the task with the larger error. (With the squared
# error, whose derivative is $2r$, the size of the error counts as well.)
#
# We measure this for the network trained above and for one that has just started to train. For a loss with
# $\lambda = (1, 1)$, the table has the gap's share of the loss, and its share of the gradient with respect to the
# weights of the trunk. Both are means over batches of 64 training crystals.

# %%
from course_lib.losses import task_errors, task_shares

known = as_targets(labels).subset(learn_from)


def gap_shares(model, loss):
    """Return the gap's mean share of the loss and of the gradient, for lambda (1, 1)."""
    found, scaler = [], model.target_scaler
    for start in range(0, 512, 64):
        batch = known.batch(range(start, start + 64))
        predicted = scaler.std.float() * model.network(batch) + scaler.mean.float()
        terms = task_errors(predicted, batch.y.float(), batch.y_mask, loss)
        found.append(task_shares(terms, model.network.trunk)[:, 1])
    return torch.stack(found).mean(0).tolist()


begun, _ = train(as_targets(labels), epochs=3)
measured_shares = pd.DataFrame(
    {
        (f"{name} error", when): gap_shares(result.model, loss)
        for loss, name in {"mae": "absolute", "mse": "squared"}.items()
        for when, result in {"3 epochs": begun, "25 epochs": joined_by_id}.items()
    },
    index=["gap's share of the loss", "gap's share of the gradient"],
).T
absolute = measured_shares.loc["absolute error"]
of_loss, of_gradient = absolute.columns
assert (absolute[of_gradient] > absolute[of_loss]).all()
measured_shares.round(2)

# %% [markdown]
# With absolute errors, the gap has a larger share of the gradient than of the loss, as its larger spread suggests.
# During training its share of the gradient drifts, since the gradients of different crystals partly cancel.
# Exercise 4 and [errata](errata.ipynb), 13, make the errors of one task ten times as large, and the share of the
# gradient stays.
#
# There are three ways to choose the weights:
#
# - **fixed**: you choose the numbers $\lambda_k$. This is right if you know what an error costs you;
# - **inverse scale**: $\lambda_k = 1/s_k$. The unit cancels;
# - **uncertainty** {cite:p}`kendall2018multitask`: each task gets a spread $b_k$ that is learned with the network:
#
# $$ L = \sum_k \left( \frac{L_k}{b_k} + \ln b_k \right), \qquad \lambda_k = \frac{1}{b_k} $$
#
# Up to a constant, this is the negative log-likelihood of the labels if the errors of task $k$ follow a Laplace
# distribution of width $b_k$. Set the derivative with respect to $b_k$ to zero and you find $b_k = L_k$: each error is
# measured in units of its own current value. The logarithm keeps $b_k$ from growing without limit, which would make
# the first term vanish. Training starts from $b_k = s_k$. (For the squared error the term is
# $L_k / (2 b_k^2) + \ln b_k$.)

# %%
learned, _ = train(as_targets(labels), task_weights="uncertainty")
history = learned.history[[f"lambda_{ENERGY}", f"lambda_{GAP}"]]
history.columns = ["λ energy (atom/eV)", "λ gap (1/eV)"]
on_training = predict(learned.model, everything.subset(learn_from))
now = (on_training - labels.iloc[learn_from]).abs().mean()
b = learned.model.task_weights.spread
b = pd.Series(b.numpy(), index=list(TASKS))
print(pd.DataFrame({"b": b, "training error": now}).rename(AXES).round(2))
assert (b / now).between(0.4, 2.5).all(), "b has come down to the size of the error"
assert (history.iloc[-1] > history.iloc[0]).all(), "the smaller the error, the larger λ"
history.iloc[[0, 5, 10, 15, 20, 24]].round(2)

# %% [markdown]
# From the first epoch to the last both weights grow, because the errors on the training crystals shrink and $b_k$
# comes down towards the error of its task. Note what this scheme does *not* know: which task matters to you.
#
# ### The trade-off
#
# Now we vary the weights. One short training run per weight would tell us little: where two choices differ by a few
# percent, another seed can reverse their order. So `python -m course_lib.experiments lambda_sweep` trained a two-task
# GAT on the five folds of new formulas, with the weight of the gap from 1/30 to 30 times that of the energy, and with
# inverse scale and uncertainty. The references are networks with the same trunk that learned only one property.
#
# > **Predict.** Is one choice of $\lambda$, the weight of the gap where the energy has 1, the best for both errors?
# >
# > <!-- predict: lambda; one λ for both; a smaller λ for the energy; a smaller λ for the gap -->

# %%
from course_lib.experiments.records import load_results
from course_lib.methods import LABELS, twins

sweep_runs = load_results(study="lambda_sweep", crystals=crystals)
runs = load_results(crystals=crystals, methods=[*twins(), *twins().values()])
runs = runs[runs["split"] == "formula"]

# %%
from course_lib.teaching.explorers.multitask import (
    lambda_explorer,
    live_lambda,
    sweep_table,
)

sweep = sweep_table(sweep_runs)
alone = runs[(runs["method"] == "gat") & (runs["seed"] == 0)]
alone = alone.pivot(index="fold", columns="target", values="mae")
lambda_explorer(sweep, alone, TASKS)

# %% [markdown]
# One panel has both errors against $\lambda$, with the single-task networks as lines. The grey bands are ± one standard
# deviation of the five training runs, one per fold. The other has the same choices as points, error of the energy
# against error of the gap, up to a quarter above the smallest errors. A small triangle at the edge stands for a point
# farther away. Filled marks are on the *trade-off front*: no other choice, weight or scheme, beats them in both errors.
#
# 1. Move the slider to either end. Which error is far above its smallest value at the left end, and which at the
#    right?
# 2. Stop where the error of the energy is smallest. How far is it from the single-task line?
# 3. Choose the schemes that set the weights themselves. Where are they?
#
# The slider above shows recorded training runs, and needs no Python. With Python running, you can train a network with
# a $\lambda$ of your own; its point appears among the recorded ones. (It is trained on fewer crystals and for fewer
# epochs, so expect larger errors.)

# %%
both = as_targets(labels)
parts = [both.subset(rows) for rows in (learn_from, fold.validation, fold.test)]
live_lambda(lambda: MultiTask("gat"), parts, sweep, alone, TASKS, FitConfig(epochs=25))

# %%
from course_lib.experiments.analysis import pareto_front

sweep = sweep.sort_values("lambda")  # the schemes, which have none, come last
fixed_ones = sweep["scheme"] == "fixed"
choice = sweep["lambda"].map("{:.3g}".format).where(fixed_ones, sweep["scheme"])
means = sweep.groupby(choice.rename("choice"), sort=False)[list(TASKS)].mean()
means["on the front"] = pareto_front(means, list(TASKS))
means.rename(columns=AXES).round(3)

# %%
fixed = sweep[fixed_ones].groupby("lambda")[list(TASKS)].mean()
quiet, loud = fixed.iloc[0], fixed.iloc[-1]
best = fixed.idxmin()
assert best[ENERGY] < best[GAP], "the energy wants a smaller weight of the gap"
assert best.between(fixed.index[1], fixed.index[-2]).all(), "neither wants an end"
assert loud[ENERGY] > 1.5 * fixed[ENERGY].min()
assert quiet[GAP] > 1.2 * fixed[GAP].min()
assert quiet[GAP] < 0.7 * always_zero, "and yet the gap is learned"
assert means.loc["uncertainty", "on the front"]
swing = fixed.max() / fixed.min() - 1
print(
    {
        TASKS[task][0]: f"largest error {swing[task]:.0%} above the smallest"
        for task in TASKS
    }
)

# %%
smallest = (f"{TASKS[task][0]} with λ = {best[task]:.3g}" for task in TASKS)
measured("lambda", "smallest error: " + ", ".join(smallest))

# %% [markdown]
# No single choice of $\lambda$ is best for both: a small weight of the gap is good for the energy, a larger one for
# the gap. But neither error is smallest at an end of the range. At the right end, where the energy hardly counts, its
# error is more than half as large again as at its best, and the gap gains nothing from that. At the left end the gap
# suffers, though less. The network still learns it, much better than by predicting zero. This is to be expected: the
# head of the gap gets its gradient from the gap alone, and the optimiser (AdamW) divides every gradient by its usual
# size, so a head learns at full speed whatever $\lambda$ is. What $\lambda$ decides is how much each task changes the
# *trunk*.
#
# No scheme can tell you which point of the front to choose; that depends on what you need. Here the learned weights
# are on the front. Do not read too much into that: each choice is a mean over five folds with one seed, and the
# choices in the middle of the table are close together. Exercise 4 continues from here.
#
# ## Crystals with one label
#
# The gap list lacked some crystals. Real data are worse: every calculation gives an energy, but a gap needs another
# calculation. If we dropped all crystals without a gap, we would lose good energies. Instead, the missing label is
# *masked*: it adds nothing to $L_k$, whatever number stands in its place.

# %%
no_gaps = as_targets(labels.assign(**{GAP: np.nan})).batch(range(64))
network = MultiTask("gat")
per_task = task_errors(network(no_gaps), no_gaps.y, no_gaps.y_mask, "mae")
per_task.sum().backward()


def moved(part):
    return any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


assert moved(network.trunk)
assert moved(network.heads[0])
assert not moved(network.heads[1]), "no gap, nothing to learn for the head of the gap"

# %% [markdown]
# > **Predict.** We keep the gaps of one training crystal in six. One network is trained only on the crystals with both
# > labels, another on all crystals, with the mask. Which errors are more than a tenth smaller with the mask?
# >
# > <!-- predict: mask; neither; the energy's; the gap's; both -->

# %%
chosen = np.random.default_rng(0).permutation(learn_from)
few, rest = chosen[: len(chosen) // 6], chosen[len(chosen) // 6 :]
few_gaps = labels.copy()
few_gaps.loc[crystals.index[rest], GAP] = np.nan
print(f"{len(learn_from)} crystals with an energy, {len(few)} of them with a gap")
steps = 25 * -(-len(learn_from) // 64)  # as many steps for both
epochs = steps // -(-len(few) // 64)

_, both_labels_only = train(as_targets(few_gaps), rows=few, epochs=epochs)
_, masked = train(as_targets(few_gaps))
result = pd.DataFrame({"both labels only": both_labels_only, "all, masked": masked})
assert masked[ENERGY] < both_labels_only[ENERGY], "the energies were not thrown away"
result.rename(AXES).round(3)

# %%
change = masked / both_labels_only - 1
measured("mask", f"energy {change[ENERGY]:+.0%}, gap {change[GAP]:+.0%} with the mask")

# %% [markdown]
# With the mask, the trunk sees all crystals, and the energies benefit directly: they have six times as many labels.
# Both networks are trained on the same gaps, so whether the gap benefits as well is the question of transfer. One run
# does not answer it.
#
# ## Does sharing help or harm?
#
# *Negative transfer* means that the multi-task network is worse at a task than a network that learned only that task.
# The network to compare with is its **single-task twin**: same trunk, same head, same folds, same seeds, same
# settings. A single run of each says little: the next one may come out the other way. So here are all recorded runs of
# both trunks, five folds with three seeds each, on new formulas.

# %% mystnb={"image": {"alt": "Error of a two-task network minus that of its single-task twin, in a panel for the energy and one for the gap, a row for GAT and one for MEGNet: one dot per training run, mean and corrected interval, and a line at zero. The dots of the energy lie on both sides of zero, and so do both intervals. Most dots of the gap lie on the side where sharing helps, those of MEGNet farther out; the interval of GAT just reaches zero, that of MEGNet is much wider and reaches it, too."}}
from course_lib.teaching.figures.multitask import plot_negative_transfer

plot_negative_transfer(runs, TASKS)

# %%
from course_lib.experiments.analysis import negative_transfer, summarize_differences

transfer = negative_transfer(runs)
outside = [transfer["low"] > 0, transfer["high"] < 0]
transfer["verdict"] = np.select(outside, ["harm shown", "gain shown"], "neither shown")
transfer = transfer.droplevel("split")
of_twin = (
    runs.groupby(["method", "target"])["mae"].mean().rename_axis(transfer.index.names)
)
transfer["gain"] = (-transfer["mean"] / of_twin).map("{:+.0%}".format)
transfer.rename({ENERGY: "energy", GAP: "gap"} | dict(LABELS)).round(3)

# %%
energy, gap = (transfer.xs(task, level="target") for task in (ENERGY, GAP))
assert (transfer["verdict"] == "neither shown").all()
assert energy["share_worse"].between(0.2, 0.8).all(), (
    "single runs contradict each other"
)
assert (gap["share_worse"] <= 0.2).all(), "sharing did harm in at most one run of five"
gat = runs[runs["method"].isin(["gat", "multitask_gat"]) & (runs["target"] == GAP)]
one_question = summarize_differences(gat, "gat").iloc[0]
print("gap, GAT, if that had been the only question:", end=" ")
print(f"{one_question['low']:.3f} to {one_question['high']:.3f} eV")
assert one_question["high"] < 0

# %%
gains = transfer["gain"].unstack("target")
gains = [f"{LABELS[k]}: energy {g[ENERGY]}, gap {g[GAP]}" for k, g in gains.iterrows()]
n_shown = (transfer["verdict"] == "gain shown").sum()
measured(
    "sharing", f"mean gain {'; '.join(gains)} ({n_shown} of {len(transfer)} shown)"
)

# %% [markdown]
# `mean`, `low` and `high` are in the unit of the task, `share_worse` is the share of training runs in which sharing
# did harm, and `gain` is the gain in percent of the twin's error. Compare `gain` with your guess from the beginning of
# this page, and `verdict` with how sure you were.
#
# - **Gap, GAT.** Trained together with the energies, the gaps are predicted better in most training runs. But we make
#   four comparisons, two tasks with two trunks, so each interval has the level $1 - 0.05/4 = 98.75$ % (Bonferroni's
#   correction, notebook 2), and this one just reaches zero: the gain is not shown. If we had asked only this
#   question, and had said so beforehand, the 95 % interval would have shown it. More folds would decide.
# - **Gap, MEGNet.** The mean gain is much larger, and at least four of five training runs were better. But it was
#   large on some folds and small on others, so the interval is wide. That is "not shown", too. Do not read it as "no
#   effect".
# - **Energy.** Neither is shown, with either trunk: the effect, if there is one, is smaller than what five folds can
#   show. That is an answer, too. About half of the training runs were worse. A single run could have been reported as
#   negative transfer or as positive transfer, each with a number.
#
# Here is a guess why the gap seems to gain: three crystals in four have a gap of zero, so they say little about what
# makes a gap wide. But their energies differ, and the trunk can learn from those.
#
# Two things in this comparison are not about sharing at all. First, the twins have the settings that were best for the
# two tasks together; settings of their own might make them better, and the gain smaller. Second, each training run
# keeps its best epoch. A twin has one for its task, the two-task network one for both tasks, which need not be the
# best for either. Exercise 7 removes this second effect and measures transfer from the gap to the energy.
#
# The chapter that this course started from declares negative transfer from one run each, 0.0295 against 0.0286 eV/atom,
# without spread. It then advises sharing where the correlation between the tasks is above 0.5, and takes the
# correlation from the network's own predictions ([errata](errata.ipynb), 10 and 11). Here even the correlation of the
# labels is far *below* zero. But a head can change the sign, so only the size counts:

# %%
size = related.loc["Pearson", "correlation"]
assert size < -0.3
print(f"correlation {size:.2f}: by that advice, do not share")
print(f"with gaps of the other sign, {-size:.2f}: by that advice, share")

# %% [markdown]
# A word on the trunks: MEGNet's errors are larger, for both properties and with or without sharing:

# %%
both_trunks = runs.pivot_table(
    index="target", columns="method", values="mae", sort=False
)
assert (both_trunks["gat"] < both_trunks["megnet"]).all()
assert (both_trunks["multitask_gat"] < both_trunks["multitask_megnet"]).all()
both_trunks.rename(index=AXES, columns=LABELS).round(3)

# %%
tuning = load_results(study="tuning", crystals=crystals, methods=[*twins()])
settings = pd.DataFrame(tuning["settings"].tolist())
tried = pd.concat([tuning[["method", "target", "mae"]], settings], axis=1)
tried = tried.groupby(["method", "epochs", "learning_rate", "target"])["mae"].mean()
errors = tried.unstack("target")
relative = (errors / errors.min()).mean(axis=1)
assert relative["multitask_megnet"].idxmin()[0] == 200, "the longest training"
table = relative.unstack("learning_rate").rename(index=LABELS)
table.map("{:.2f}".format).replace("nan", "")

# %% [markdown]
# This table holds the validation errors of all eight settings that were tried for each network. Each error is divided
# by the smallest one of its task, then the mean over both tasks is taken. MEGNet does not do well at high learning
# rates, and its best training run is the longest that was tried. An even longer one might bring it closer; we gave no
# method more than eight trials. So this is not a verdict on MEGNet: its authors trained it on many more crystals.
#
# What sharing certainly saves is work. One network does what two did:

# %%
cost = runs.drop_duplicates(["method", "task", "split", "fold", "seed"])
cost = cost.groupby(["method", "task"])[["seconds", "n_parameters"]].mean()
total = cost.groupby("method").sum()  # of the twins: both together
saved = total.loc[list(twins())].div(total.loc[list(twins().values())].to_numpy())
assert (saved < 0.8).all(axis=None), "one network costs less than two"
saved.rename(index=LABELS, columns="{} (multi-task over twins)".format).round(2)

# %% [markdown]
# ## What we saw
#
# - Labels of two properties are joined by crystal id. Paired by position, they say next to nothing.
# - Most gaps are zero, so the best constant is zero, and an error of the gap means little unless metals and the others
#   are looked at separately.
# - GAT updates atoms; MEGNet updates bonds, atoms and the state of the crystal, and pools with Set2Set. Either becomes
#   multi-task by adding heads.
# - The weights $\lambda_k$, times the spreads of the targets, decide which task changes the trunk more. Too small a
#   weight harms its own task, too large a weight harms the other. Inverse scale removes the unit, uncertainty follows
#   the errors, and neither knows your needs.
# - With a mask, every crystal contributes the labels that it has.
# - Transfer is a difference with a sign and an interval. It needs twins and several runs. Here the gap gains from
#   sharing in most training runs, but with four comparisons and five folds that is not shown. For the energy
#   single runs could have been read either way.
#
# | strengths | weaknesses |
# |---|---|
# | one network and one training run for several properties | the tasks can harm each other, and you must measure whether they do |
# | crystals with one label still teach the trunk | weights to choose, one more for each task |
# | one embedding for all properties | a new property needs another training run, or a frozen trunk |
# | a scarce label can benefit from a plentiful one | the best epoch of one task is not that of the other |
#
# **When this stops being true.** We shared between two properties with about equally many labels. Sharing helps most
# where one label is scarce and the other plentiful, and least where each task has enough data for a network of its own.
# With many tasks, finding out which to train together becomes a study of its own {cite:p}`standley2020tasks`.
#
# ## Check yourself
#
# 1. Energies have a standard deviation of 1 eV/atom and gaps of 2 eV. With weights of inverse scale, how many times
#    larger is the energy's $\lambda$ than the gap's?
# 2. The labels of one task are multiplied by 1000. For which of the three schemes does the training change?
#    - `a` Only for fixed weights.
#    - `b` For fixed weights and inverse scale.
#    - `c` For all three.
# 3. A colleague runs each network once and finds the multi-task network 3 % worse. What do you ask first?
#    - `a` Whether a larger trunk, with more room for two tasks, would help.
#    - `b` Which of the two properties is harder to predict.
#    - `c` How much the results scatter over seeds and folds.
# 4. The correlation of two properties is −0.8. Is that a reason against learning them together?
#    - `a` Yes: the shared trunk would be pulled in two directions.
#    - `b` No: a head can change the sign.
#    - `c` No: it shows that sharing helps.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_6
#
# check_yourself_6(..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. Twice as large: the weights are $1/1$ atom/eV and $1/2$ per eV. Only their ratio matters for what is learned.
# 2. Only for fixed weights. Inverse scale divides by the standard deviation, which grows by the same factor;
#    uncertainty starts from there and learns the rest.
# 3. How much the results scatter over seeds and folds, whether the twin had the same trunk, settings and test crystals,
#    and how $\lambda$ was chosen: perhaps it is just another point of the front.
# 4. No. A head can change the sign. A large value of either sign says that the properties are related, but not that
#    sharing helps.
#
# </details>
#
# ## Exercises
#
# [Exercise 4: Choosing lambda](ex4_task_weights.ipynb) gives two tasks of different size the same importance. [Exercise
# 7: Negative transfer](ex7_negative_transfer.ipynb) compares networks with their twins, and tries ways to reduce the
# harm. In JupyterLab, work in the copies in `work/exercises`, which have no solutions.
#
# ## Further reading
#
# Multi-task learning: {cite:t}`caruana1997multitask`. With CGCNN, for energy, gap and Fermi level:
# {cite:t}`sanyal2018mtcgcnn`. Networks that update edges, nodes and a global state: {cite:t}`battaglia2018graphnets`.
# Which tasks to learn together: {cite:t}`standley2020tasks`.
#
# ## A quest
#
# The table says how far recorded runs of the two-task GAT are off for the nitrides among our crystals, predicted as new
# formulas: prediction minus label, in eV/atom and eV. Suppose that the head of the gap is to learn only from crystals
# that have one, so the gaps of metals are masked (NaN). The weights of energy and gap are $\lambda = (1, 0.5)$. How
# large is the loss over all these nitrides?

# %%
from course_lib.teaching.checkers.quests import nitrides

off_by = nitrides(crystals)
print(off_by.round(2).head(3))
loss = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_6

check_quest_6(loss, crystals)
