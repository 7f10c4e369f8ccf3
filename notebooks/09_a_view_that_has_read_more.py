# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A view that has read more
#
# **Question.** Someone else has trained a network on a million structures. What are its numbers worth for our crystals,
# and what if it has seen them before?
#
# **You will learn to**
#
# - use the energy and the embedding of a pretrained network as one more view of a crystal;
# - predict a *difference* instead of an energy (delta learning), first by hand;
# - say how many crystals of your own you need, and which;
# - say what "unseen" means for a model whose training data are not yours.
#
# **You need** notebooks 1, 2, 7 and 8. **Time to read:** 40 min. **Time to run:** at most 60 s on two cores.

# %% [markdown]
# ## What a pretrained network gives
#
# All models so far were trained by us, on crystals that we chose. CHGNet {cite:p}`deng2023chgnet` is a graph network that was
# trained on the energies, forces, stresses and magnetic moments of 1.5 million structures. They are steps of
# *relaxations* in the Materials Project {cite:p}`jain2013materialsproject`, in which the atoms are moved until the
# forces on them vanish. A network that others have trained before, on other data, is called a *pretrained network*.
# We do not train it further: it is *frozen*. We let it read our crystals and take two things from it:
#
# - its **energy** per atom, in eV/atom;
# - its **embedding**: the 64 numbers per atom from which it computes the energy, averaged over the atoms of the crystal.
#
# Both are stored with the course for the bundled crystals, so this page needs neither the network nor the internet.

# %%
import numpy as np
import pandas as pd

from course_lib.datasets import load_dataset
from course_lib.pretrained import ENERGY, stored_features

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
y = crystals[TARGET]
pretrained = stored_features(crystals)
print("crystals, numbers for each:", pretrained.shape)
pretrained.iloc[:3, :5].round(3)

# %% [markdown]
# 64 numbers cannot be drawn. We can draw the two directions in which they differ most, their first two principal
# components. Then we ask whether crystals with similar embeddings, of all 64 numbers, are similar crystals:

# %% mystnb={"image": {"alt": "Map of all bundled crystals: first against second principal component of the pretrained embedding, one dot per crystal, coloured by its most electronegative element: oxygen or another of its group, nitrogen or another of its group, a halogen, or another element. The right half holds almost only crystals of the last class; in the left half all classes overlap."}}
from course_lib.teaching.figures.pretrained import plot_embedding_map

CLASSES = {
    "halogen": "F Cl Br I",
    "O, S, Se, Te": "O S Se Te",
    "N, P, As, Sb": "N P As Sb",
}


def class_of(structure):
    """Which class the most electronegative element of a crystal belongs to."""
    symbol = max(structure.elements, key=lambda element: element.X).symbol
    found = [name for name, symbols in CLASSES.items() if symbol in symbols.split()]
    return found[0] if found else "another element"


classes = crystals["structure"].map(class_of)
embedding = pretrained.drop(columns=ENERGY)
plot_embedding_map(embedding, classes, "most electronegative element")

# %%
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

points = StandardScaler().fit_transform(embedding)
nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)[1][:, 1]
same_class = (classes.to_numpy()[nearest] == classes.to_numpy()).mean()
by_chance = (classes.value_counts(normalize=True) ** 2).sum()
print(
    f"nearest crystal in the same class: {same_class:.0%}, by chance: {by_chance:.0%}"
)
apart = (y - y.to_numpy()[nearest]).abs().median()
of_pairs = (y - y.sample(frac=1, random_state=0).to_numpy()).abs().median()
print(f"difference in formation energy: {apart:.2f} eV/atom, by chance {of_pairs:.2f}")
assert same_class > 0.6
assert apart < of_pairs / 2

# %% [markdown]
# Two directions show only part of it, and the classes overlap on the map. In all 64 numbers they hardly do: the nearest
# crystal is almost always of the same class and has a similar formation energy, although CHGNet was trained on neither
# classes nor our formation energies. The embedding has chemistry in it.
#
# ## Another zero of energy
#
# The pretrained energy should do even better, since an energy is what we want. Does it?

# %% mystnb={"image": {"alt": "Pretrained energy against formation energy in eV/atom, one dot per crystal. The cloud lies far below the diagonal, by several electronvolts, and shows hardly any order along it."}}
from course_lib.teaching.figures.results import plot_parity

plot_parity(y, {"pretrained energy as it is": pretrained[ENERGY]})

# %% [markdown]
# It is off by several electronvolts. CHGNet predicts a *total* energy, whose zero is a convention of the code that
# computed its training data; a formation energy is measured from the pure elements. On top of that, the Materials
# Project shifts the energies of some elements, oxygen and fluorine among them, to agree better with experiment
# {cite:p}`wang2021corrections`. Both differences have nearly one form: a fixed amount for each atom, which depends
# only on its element. So
#
# $$ E_\text{ours} \approx E^\text{pre} + \sum_z x_z\, \mu_z $$
#
# - $E^\text{pre}$: the pretrained energy per atom;
# - $x_z$: the share of element $z$ among the atoms of the crystal;
# - $\mu_z$: the **reference of an element**, in eV/atom, the same in all crystals. It is unknown, and we fit it by
#   least squares.
#
# By hand, with four crystals that hold four elements:

# %%
fitted = ["rocksalt-Na-F", "fluorite-O-Na", "rocksalt-Ca-O", "fluorite-Ca-F"]
symbols = ["Na", "Ca", "O", "F"]


def shares(ids):
    """The share of each element in some crystals: one row per crystal."""
    of = [crystals.loc[name, "structure"].composition for name in ids]
    return np.array([[c.get_atomic_fraction(symbol) for symbol in symbols] for c in of])


shift = y[fitted] - pretrained.loc[fitted, ENERGY]
references, _, rank, _ = np.linalg.lstsq(shares(fitted), shift)
print(dict(zip(symbols, references.round(2).tolist(), strict=True)))
print("unknowns:", len(symbols), " independent equations:", rank)
assert rank == 3

# %% [markdown]
# Four equations, but only three of them are independent. Why? All four crystals are neutral salts. Add to each
# reference the charge of its ion (+1 for Na, +2 for Ca, −2 for O, −1 for F), times the same number for all: no sum
# changes. So these crystals cannot tell us the four references, and of all that fit equally well `lstsq` returns the
# smallest. For other neutral crystals of these elements that does not matter. Let us predict the other structures of
# the same formulas:

# %%
same = crystals["formula"].isin(crystals.loc[fitted, "formula"])
others = crystals.index[same].difference(fitted)
by_hand = pretrained.loc[others, ENERGY] + shares(others) @ references
print(pd.DataFrame({"predicted": by_hand, "computed": y[others]}).round(2))
error = (by_hand - y[others]).abs().mean()
print(f"mean absolute error: {error:.3f} eV/atom, spread: {y[others].std():.2f}")
assert error < y[others].std() / 3

# %% [markdown]
# We fitted four numbers, none of them about structure. And yet the energies of structures that were not fitted come out
# with a small error: the differences between structures are CHGNet's work.
#
# The library does the same for all elements (`DeltaLearning` without a model). It reads one row per crystal: the
# energy, the shares of the elements and, later on, the features for a model. Here with the same four crystals:

# %%
from course_lib.composition import magpie
from course_lib.features import features_of
from course_lib.graphs import CrystalGraphs
from course_lib.tabular import DeltaLearning

graphs = CrystalGraphs.from_structures(
    crystals["structure"], ids=crystals.index, composition=magpie
)
place = {name: row for row, name in enumerate(crystals.index)}
energy_and_shares = features_of(graphs, ("energy", "fractions"), pretrained)
four = [place[name] for name in fitted]
library = DeltaLearning().fit(energy_and_shares[four], y[fitted].to_numpy())
from_library = library.predict(energy_and_shares[[place[name] for name in others]])
assert np.allclose(from_library, by_hand, atol=1e-2)

# %% [markdown]
# And fitted to all crystals, to look at the references themselves:

# %% mystnb={"image": {"alt": "Reference of each element against its atomic number, one dot on a stem per element, in eV/atom. All are positive. They rise and fall with each row of the periodic table, with the highest peaks at the transition metals in the middle of the rows."}}
from pymatgen.core import Element

from course_lib.teaching.figures.pretrained import plot_element_references

library.fit(energy_and_shares, y.to_numpy())
of_element = {
    Element.from_Z(int(z)).symbol: library.references_[z]
    for z in np.flatnonzero(energy_and_shares[:, 1:].any(0))
}
plot_element_references(of_element)

# %%
assert min(of_element.values()) > 0
assert 4 <= Element(max(of_element, key=of_element.get)).group <= 8
left = (library.predict(energy_and_shares) - y).abs().mean()
print(f"{(pretrained[ENERGY] - y).abs().mean():.2f} eV/atom without references")
print(f"{left:.2f} eV/atom with one reference per element")

# %% [markdown]
# The references are minus the energies of the elements, roughly: highest where the atoms of the pure element hold
# together best, in the middle of the transition metals. The physics in CHGNet's energies was hidden behind some fifty
# constants. (This last error is on crystals that the constants were fitted to. From here on we judge on others.)
#
# ## Delta learning
#
# What is left after the references can be learned. In *delta learning* {cite:p}`ramakrishnan2015delta` a model is not
# trained on the property itself, but on the difference between the property and a cheaper estimate of it:
#
# $$ \hat y = E^\text{pre} + \sum_z x_z\, \mu_z + g(f) $$
#
# Here $g$ is a model of any features $f$ of the crystal. The estimate already holds most of the answer, so $g$ learns
# only small corrections. A few crystals may be enough for that.
#
# Our model is the kernel ridge regression of notebook 8: its prediction is a weighted sum over the training crystals, in
# which those with similar features count most. The features are the two views of this course: Magpie for the composition, and the
# local environments of the atoms, from the crystal graph, for the structure.
#
# First the rules. The folds are by formula: the first five of the protocol (`data/results/PROTOCOL.md`). A third of
# the formulas is set aside for tuning: models are trained on them, but never judged on them. On this page nothing is
# tuned. All methods have the settings of the library.

# %%
from course_lib.experiments.protocol import N_FOLDS, folds_of

formula_folds = folds_of(crystals, "formula")[:N_FOLDS]


def parts_of(fold):
    """Training and test crystals; kernel ridge needs no validation crystals."""
    return np.concatenate([fold.train, fold.validation]), fold.test


train, test = parts_of(formula_folds[0])
print(len(train), "training crystals,", len(test), "test crystals in the first fold")

# %% [markdown]
# By hand:

# %%
from course_lib.tabular import kernel_ridge

views = features_of(graphs, ("composition", "environments"))
energy, fractions = energy_and_shares[:, 0], energy_and_shares[:, 1:]
true = y.to_numpy()
mu = np.linalg.lstsq(fractions[train], (true - energy)[train])[0]
rest = true - energy - fractions @ mu
g = kernel_ridge(views.shape[1]).fit(views[train], rest[train])
delta_by_hand = energy[test] + fractions[test] @ mu + g.predict(views[test])
print(f"to be learned without the pretrained energy: {true[train].std():.2f} eV/atom")
print(f"to be learned with it and its references:    {rest[train].std():.2f} eV/atom")
print(f"error on new formulas: {np.abs(delta_by_hand - true[test]).mean():.3f} eV/atom")
assert rest[train].std() < true[train].std() / 3

# %% [markdown]
# The library's `delta_learning` does just this:

# %%
from course_lib.makers import make_learner

table = features_of(
    graphs, ("energy", "fractions", "composition", "environments"), pretrained
)
delta = make_learner("delta_learning", table.shape[1]).fit(table[train], true[train])
assert np.abs(delta.predict(table[test]) - delta_by_hand).max() < 0.01

# %% [markdown]
# ## What is joining worth?
#
# We have a new view, as an embedding and as an energy, and can use either with our own features or without. We
# compare six methods:
#
# | method | reads |
# |---|---|
# | kernel ridge on composition | Magpie |
# | kernel ridge on both | Magpie and local environments: the two views of this course |
# | kernel ridge on pretrained embedding | the 64 numbers |
# | kernel ridge on embedding and composition | the 64 numbers and Magpie |
# | pretrained energy and references | the energy; no model at all |
# | delta learning | the energy, Magpie and local environments |
#
# > **Predict.** The embedding was made from the crystal with its elements. Does it still help to put Magpie next to it?
# >
# > <!-- predict: next_to; no, CHGNet knows the elements; a little, below 10 %; clearly, more than 10 % -->

# %%
from course_lib.methods import LABELS, METHODS

names = [
    "kernel_ridge_composition",
    "kernel_ridge",
    "embedding",
    "embedding_composition",
    "pretrained_references",
    "delta_learning",
]
tables = {
    name: features_of(graphs, METHODS[name].learner.reads, pretrained) for name in names
}


energies_and_gaps = crystals[[TARGET, "band_gap"]].to_numpy()


def judge(name, train, test, **about):
    """Train a method, and return a row with its errors on the test crystals."""
    reads_energy = "energy" in METHODS[name].learner.reads
    target = true if reads_energy else energies_and_gaps  # two targets cost no more
    learner = make_learner(name, tables[name].shape[1])
    learner.fit(tables[name][train], target[train])
    wrong = np.abs(learner.predict(tables[name][test]) - target[test])
    wrong = pd.DataFrame(wrong.reshape(len(test), -1), index=test)
    errors = {"errors": wrong[0], "mae": wrong[0].mean(), "gap": wrong.mean().get(1)}
    sizes = {"n_learned": len(train), "ratio": len(test) / len(train)}
    return {"method": name, "seed": 0} | errors | sizes | about


# %% mystnb={"image": {"alt": "Mean absolute error of six methods on five folds by formula, one dot per fold, with mean and standard deviation. From largest to smallest: kernel ridge on composition; about equal, kernel ridge on both views and on the embedding; embedding and composition; pretrained energy and references; delta learning."}}
from course_lib.teaching.figures.results import plot_errors

full = pd.DataFrame(
    judge(name, *parts_of(fold), split="formula", fold=number)
    for number, fold in enumerate(formula_folds)
    for name in names
)
plot_errors(full, "eV/atom")

# %%
mean = full.groupby("method", sort=False)["mae"].mean()
by_mean = [
    np.abs(true[test] - true[train].mean()).mean()
    for train, test in map(parts_of, formula_folds)
]
print(f"mean of the training crystals: {np.mean(by_mean):.2f} eV/atom")
assert 0.75 < mean["embedding"] / mean["kernel_ridge"] < 1.25
assert mean["embedding"] < 0.85 * mean["kernel_ridge_composition"]
assert mean["embedding_composition"] < 0.85 * mean["embedding"]
assert mean["pretrained_references"] < 0.9 * mean["embedding_composition"]
assert mean["pretrained_references"] < 0.7 * mean["kernel_ridge"]
assert mean["delta_learning"] < 0.6 * mean["kernel_ridge"]
mean.rename(LABELS).round(3)

# %%
from course_lib.teaching.predictions import measured

ratio = mean["embedding_composition"] / mean["embedding"]
less_or_more = "less" if ratio < 1 else "more"
measured("next_to", f"{abs(1 - ratio):.0%} {less_or_more} error than without Magpie")

# %% [markdown]
# (*Mean of the training crystals* is the error of always predicting this mean, averaged over the five folds.)
#
# The embedding alone is about as good as the two views of this course together, which have 303 numbers. Still, Magpie
# next to it lowers the error considerably on average. A likely reason: CHGNet knows the elements only as far as it
# needs them for forces and for its own zero of energy, and the mean over the atoms keeps only a part of that.
#
# But a larger step is to use the energy in place of the embedding. With nothing but one constant per element it has a
# smaller error than all models that learn from features. And delta learning adds the two views of this course on top.
# Which of these steps do five folds show? We ask four questions, so each interval has the level $1 - 0.05/4$
# (notebook 2):

# %%
from course_lib.experiments.analysis import (
    detectable_differences,
    level_of_each,
    summarize_differences,
)

questions = {
    "Magpie next to the embedding": ("embedding", "embedding_composition"),
    "the embedding next to Magpie": (
        "kernel_ridge_composition",
        "embedding_composition",
    ),
    "the energy, not our features": ("kernel_ridge", "pretrained_references"),
    "our features on top of the energy": ("pretrained_references", "delta_learning"),
}
each = level_of_each(len(questions))


def gain(runs, before, after):
    """Error before minus error after, its interval, and what five folds could show."""
    both = runs[runs["method"].isin([before, after])]
    row = summarize_differences(both, after, each).iloc[0]
    could = detectable_differences(both, after, each).iloc[0]
    return row.to_dict() | {"shown": row["low"] > 0, "detectable": could}


gains = pd.DataFrame({name: gain(full, *pair) for name, pair in questions.items()}).T
assert gains["shown"][
    ["the embedding next to Magpie", "the energy, not our features"]
].all()
assert (gains["mean"] > 0).all()
gains.infer_objects().round(3)

# %%
for name, row in gains[~gains["shown"].astype(bool)].iterrows():
    print(f"{name}: {row['mean']:.3f} eV/atom, not shown;")
    print(
        f"  a gain of {row['detectable']:.3f} would have been shown "
        "four times out of five"
    )

# %% [markdown]
# A gain is *shown* if its interval lies above zero. Where it does not, look at `detectable`, the detectable
# difference of notebook 8: five folds are few, and a smaller gain may well be real. (The protocol repeats the five
# folds five times; whether features on top of the energy pay is one of its primary questions.)
#
# ## Fifty crystals and a minute
#
# Delta learning should help most where crystals are few. Suppose that you have computed the energies of fifty. Is that
# enough?
#
# > **Predict.** How many training crystals, of all kinds, does the pretrained energy with references need to beat the
# > kernel ridge on both views that was trained on *all* of them?
# >
# > <!-- predict: needed; 50; 100; 200; 400 or more -->


# %%
def sizes_of(data, split, sizes, seed=0):
    """Judge all methods, trained on a few crystals, on the folds of `data`."""
    rows = np.array([place[name] for name in data.index])
    for number, fold in enumerate(folds_of(data, "formula")[:N_FOLDS]):
        train, test = (rows[part] for part in parts_of(fold))
        train = np.random.default_rng(number).permutation(train)
        for size in sizes:
            for name in names:
                yield judge(name, train[:size], test, split=split, fold=number)


ALL = "all kinds"
fewer = pd.DataFrame(sizes_of(crystals, ALL, (50, 100, 200, 400, 800)))
curves = pd.concat([fewer, full.assign(split=ALL)], ignore_index=True)

# %% mystnb={"image": {"alt": "Mean absolute error against the number of training crystals, from 50 to all, on logarithmic axes. The four kernel ridges fall slowly and steadily. Pretrained energy with references and delta learning start with the largest error of all at 50 crystals, fall steeply, cross the others at about 100 and are lowest from 200 on; at the right end delta learning is below the references."}}
from course_lib.teaching.figures.comparison import plot_learning_curves

plot_learning_curves(curves, "eV/atom")

# %%
by_size = curves.assign(
    size=curves["n_learned"].where(curves["n_learned"] < 1000, "all")
)
by_size = by_size.pivot_table(index="method", columns="size", values="mae", sort=False)
beats = by_size.loc["pretrained_references"] < by_size.loc["kernel_ridge", "all"]
needed = beats.idxmax()
assert by_size[50].idxmin() == "embedding_composition"
assert by_size.loc["pretrained_references", 50] > by_size.loc["kernel_ridge", 50]
assert by_size[200].idxmin() in ("pretrained_references", "delta_learning")
assert by_size["all"].idxmin() == "delta_learning"
assert needed <= 200
by_size.rename(index=LABELS).round(3)

# %%
measured("needed", f"{needed} crystals")

# %% [markdown]
# With fifty crystals of all kinds the pretrained energy is the *worst* choice, and the embedding with Magpie the best.
# With two hundred the pretrained energy is far ahead. What happens in between?

# %%
present = energy_and_shares[:, 1:] > 0
n_elements = present.any(0).sum()
first_fifty = np.random.default_rng(0).permutation(train)[:50]
unknown = ~present[first_fifty].any(0)
hit = present[test][:, unknown].any(1).mean()
lacking = (present.any(0) & unknown).sum()
print(f"{n_elements} elements, of which 50 crystals lack {lacking}")
print(f"{hit:.0%} of the test crystals hold one of these")
assert n_elements > 50
assert hit > 0.1

# %% [markdown]
# There are more unknown references than crystals. An element that occurs in no training crystal has the reference 0,
# which is wrong by as much as several electronvolts. The others are not settled either, as with our four salts. Kernel
# ridge regression has no such gaps: an element that it has not seen resembles others in its features.
#
# So the number that counts is crystals *per element*. Few people compute fifty crystals of fifty elements. Suppose
# that you study salts: alkali and alkaline-earth metals with oxygen, sulfur and their heavier relatives, and with
# halogens. Each salt holds at least one of these metals and at least one of the others. (The metals also form alloys
# with each other. These are not salts, so we leave them out.)


# %%
def is_salt(structure):
    """Whether a crystal consists of such metals and partners, at least one each."""
    metals = {e for e in structure.elements if e.is_alkali or e.is_alkaline}
    partners = {e for e in structure.elements if e.is_chalcogen or e.is_halogen}
    return bool(metals and partners) and metals | partners == set(structure.elements)


salts = crystals[crystals["structure"].map(is_salt)]
n_elements = len({e for structure in salts["structure"] for e in structure.elements})
SALTS = f"salts of {n_elements} elements"
print(f"{len(salts)} {SALTS}, {salts['formula'].nunique()} formulas")
of_salt = pd.DataFrame(sizes_of(salts, SALTS, (25, 50, 100)))

# %% mystnb={"image": {"alt": "Mean absolute error on salts against the number of training crystals, 25, 50 and 100, on logarithmic axes. The kernel ridges fall slowly and stay together. Pretrained energy with references and delta learning lie far below them, delta learning lowest."}}
plot_learning_curves(of_salt, "eV/atom")

# %%
few = of_salt.pivot_table(index="method", columns="n_learned", values="mae", sort=False)
assert few.loc["delta_learning", 50] < few.loc["kernel_ridge", 50] / 2
assert few.loc["delta_learning", 50] < by_size.loc["kernel_ridge", "all"]
few.rename(index=LABELS).round(3)

# %% [markdown]
# Now fifty crystals, nearly three per element, are enough: the error of delta learning is less than half that of kernel
# ridge on both views. And the minute?

# %%
import time

chosen = [place[name] for name in salts.index[:50]]
start = time.process_time()
delta = make_learner("delta_learning", table.shape[1]).fit(table[chosen], true[chosen])
delta.predict(table)
seconds = time.process_time() - start
print(
    f"training on 50 crystals and predicting {len(table)}: {seconds:.2f} s of CPU time"
)
assert seconds < 5

# %% [markdown]
# Training takes a fraction of a second. Most of the minute goes to CHGNet: about 30 ms per crystal on one core of a laptop,
# so a minute is enough for the pretrained features of two thousand crystals. What takes longer is not on this page: the
# fifty energies, each a calculation with density-functional theory.
#
# **With fifty crystals and a minute you can have a model for one family of compounds, if each of its elements occurs
# several times among the fifty.** For all kinds of crystals, fifty are too few for this, and the embedding with Magpie
# is the better start.
#
# ## Another property
#
# CHGNet was trained on energies, not on band gaps, which our crystals have as well. There is no pretrained gap to
# correct, but there is the embedding.

# %% mystnb={"image": {"alt": "Mean absolute error of the band gap against the number of training crystals, from 50 to all, on logarithmic axes, for four kernel ridges. All fall slowly. The embedding with composition is lowest at first; with all crystals composition with local environments is lowest, and the two that read a single view are highest."}}
has_gap = curves[curves["split"].eq(ALL) & curves["gap"].notna()]
gaps = has_gap.assign(mae=has_gap["gap"], split="band gap")
plot_learning_curves(gaps, "eV")

# %%
few_gaps = gaps[gaps["n_learned"] == 50].groupby("method")["mae"].mean()
all_gaps = gaps[gaps["n_learned"] > 1000]
assert few_gaps.idxmin() == "embedding_composition"
assert all_gaps.groupby("method")["mae"].mean().idxmin() == "kernel_ridge"
to_both = summarize_differences(all_gaps, "kernel_ridge")
to_both["detectable"] = detectable_differences(all_gaps, "kernel_ridge")
to_both.rename(LABELS).round(3)

# %% [markdown]
# The kernel ridge models above were trained on the gap as well, since a second target costs nothing. The table has the
# error of each method minus that of kernel ridge on both views, in eV, with all training crystals and intervals for
# three comparisons. With few crystals the embedding next to Magpie has the smallest mean error. With all of them Magpie
# with the local environments has it. (Where an interval includes zero, the order of two methods is not shown.) That
# fits what one expects: with enough crystals, a model learns what our own features say about gaps, while the embedding
# was made for something else. A pretrained view is best at what it was trained for.
#
# ## What it may have seen
#
# The models of notebooks 1 to 8 cannot have seen a test crystal: we decided what they were trained on. CHGNet's training
# data were chosen by others. Its makers took relaxations of the Materials Project, and many of our simple crystals are
# in that database: rock salt is rock salt. For a pretrained model, "unseen" can mean three things:
#
# 1. *this label was not seen*: true here, since our energies were computed for this course, with another code. But
#    they are PBE energies, and so are most of those that CHGNet was trained on. (Oxides and fluorides of some
#    transition metals have an additional term there, the Hubbard U.) For most crystals in both, the two labels differ
#    by little more than the references;
# 2. *this crystal was not seen*, with any label: not true for many of ours;
# 3. *nothing like it was seen*: hardly ever true of a network trained on a million structures.
#
# Our folds by formula hide a formula from the model that *we* train. They cannot hide it from the pretrained network.
# So we look at the second meaning. A crystal of ours *has a match* if the Materials Project holds one with the same
# formula and space group whose structure pymatgen's `StructureMatcher` fits. We searched only the crystals that the
# CGCNN paper {cite:p}`xie2018cgcnn` lists, a part of the database. So a match shows that the crystal is there, but
# "no match" does not show that CHGNet has not seen it.

# %%
from course_lib.matches import stored_matches

matched = stored_matches(crystals)
has_match = crystals.index.isin(matched.index)
print(f"{has_match.sum()} of {len(crystals)} crystals have a match, for example")
print(matched.head(3).to_string())
print(crystals.loc[has_match, "prototype"].value_counts().head(3).to_string())

# %% [markdown]
# > **Predict.** On which crystals is the pretrained energy (with references) better: with a match, without, or is there
# > no difference?
# >
# > <!-- predict: match; better with a match; no difference; better without -->


# %% mystnb={"image": {"alt": "Mean absolute error of six methods in two panels, for test crystals with and without a match in the Materials Project, one dot per fold, with mean and standard deviation. In both panels the order of the methods is the same. The errors of pretrained energy with references and of delta learning are smaller for crystals with a match; that of kernel ridge on composition is not."}}
def split_by_match(runs):
    """Each row as two: its error on test crystals with, and without, a match."""
    for row in runs.to_dict("records"):
        for label, wanted in (("with a match", True), ("without a match", False)):
            part = row["errors"][has_match[row["errors"].index] == wanted]
            yield row | {"split": label, "mae": part.mean(), "n_test": len(part)}


by_match = pd.DataFrame(split_by_match(full))
plot_errors(by_match, "eV/atom")

# %%
from course_lib.experiments.analysis import corrected_interval, detectable_difference

in_test = by_match.groupby("split", sort=False)["n_test"].sum() // len(names)
print("test crystals:", in_test.to_dict())
wide = by_match.pivot(index=["method", "fold"], columns="split", values="mae")
lead = wide["without a match"] - wide["with a match"]
ratio, level = full["ratio"].mean(), level_of_each(len(names))
leads = pd.DataFrame(
    {
        name: [lead[name].mean(), *corrected_interval(lead[name], level, ratio)]
        for name in names
    },
    index=["without minus with", "low", "high"],
).T
leads["detectable"] = [
    detectable_difference(lead[name], level, ratio) for name in names
]
leads.rename(LABELS).round(3)

# %%
using = ["pretrained_references", "delta_learning"]
without = wide["without a match"].groupby("method").mean()
assert (leads["without minus with"][using] > 0).all()
assert leads["without minus with"]["kernel_ridge_composition"] < 0.01
assert (without[using] < 0.7 * without["kernel_ridge"]).all(), "also without a match"
less = 1 - wide.groupby("method").mean().loc["pretrained_references"].pipe(
    lambda row: row["with a match"] / row["without a match"]
)
low, high = leads.loc["pretrained_references", ["low", "high"]]
shown = "shown" if low > 0 or high < 0 else "a difference that is not shown"
side = "better with a match" if less > 0 else "better without"
measured("match", f"{side} by {abs(less):.0%} on average, {shown}")

# %% [markdown]
# On average, the methods that use the pretrained energy are better on crystals with a match, while these crystals are
# not easier for a model of the composition. How sure is that? The intervals are for six comparisons. They are wide,
# because a fold has few crystals with a match. Where one includes zero, nothing is shown, and `detectable` says how
# large a difference could have been detected.
#
# A network that remembers its training crystals would look like this. But so would something else: crystals in a
# database are mostly those that exist, many of them rock salts and zinc blendes, and CHGNet was trained on crystals
# near their equilibrium, so it is at home there. These data cannot tell the two apart.
#
# The panel *without* a match matters more for you: there the pretrained energy still leaves the models far behind that
# read only our features. What it knows is not a list of crystals. If you want a number for the crystals that you will
# invent, quote the error on crystals without a match.
#
# One test would be worthless: a test on crystals of the Materials Project itself. There the network has seen the
# crystal *and* the label. An error on them, however small, says how well it remembers. In notebook 7, ALIGNN and the
# others were trained on such crystals from scratch, so for them it is a fair test. For CHGNet it is not.
#
# ## For your own crystals
#
# The pretrained features of other crystals need the package `chgnet`, an extra of this course. Run
# `%pip install 'course-lib[pretrained]'` in a cell of this notebook. Then
#
# ```python
# from course_lib.pretrained import pretrained_features
#
# features = pretrained_features(structures)  # pymatgen structures: one row per crystal
# ```
#
# gives a table with the 65 columns of `stored_features`.
#
# <details><summary>Has the Materials Project a match for my crystal?</summary>
#
# The stored matches are those of our crystals. For yours, apply the same rule: same formula, same space group, and
# `StructureMatcher` fits, whatever the volume. The candidates come from the Materials Project itself, which needs the
# internet and a free API key of its [website](https://next-gen.materialsproject.org/api):
#
# ```python
# from pymatgen.analysis.structure_matcher import StructureMatcher
# from pymatgen.core import Structure
# from pymatgen.ext.matproj import MPRester
#
# matcher = StructureMatcher(ltol=0.1, stol=0.1, angle_tol=3)
#
#
# def has_match(crystal, candidates):
#     """Return whether one of the candidates has the structure of a crystal."""
#     wanted = crystal.composition.reduced_formula, crystal.get_space_group_info()[0]
#     for other in candidates:
#         found = other.composition.reduced_formula, other.get_space_group_info()[0]
#         if found == wanted and matcher.fit(crystal, other):
#             return True
#     return False
#
#
# mine = Structure.from_file("my_crystal.cif")
# with MPRester("YOUR_API_KEY") as project:
#     candidates = project.get_structures(mine.composition.reduced_formula)
# print(has_match(mine, candidates))
# ```
#
# A match says that the crystal is in the database, so CHGNet may have seen it. No match is weaker evidence: the
# database grows, and CHGNet was trained on an earlier release.
#
# </details>
#
# What to know before you rely on the pretrained features:

# %%
from course_lib import pretrained as about

print(f"package {about.PACKAGE} {about.VERSION}, licence {about.LICENCE}")
try:
    about.pretrained_features(crystals["structure"].iloc[:1])
except ImportError as error:
    print(error)
else:
    print("It is installed here.")

# %% [markdown]
# - **Version.** The weights come with the package. Another version has other weights and gives other numbers, so it is
#   pinned, and the stored table names it.
# - **Installation.** There are ready-made wheels for Python 3.11 and 3.12 only. On a newer Python it is built from
#   source, which needs a C compiler.
# - **Licence.** BSD: you may use and pass on network and weights, also commercially, with its copyright notice. Data of
#   the Materials Project are under CC BY 4.0.
# - **Time.** About 30 ms per crystal on one core, more for large cells.
# - **Positions as they are.** Nothing is relaxed. A structure far from its equilibrium is read far from it.
#
# ## What we saw
#
# - A pretrained energy is useless as it is and very good with one fitted reference per element.
# - Delta learning trains a model on what is left. It has the smallest mean error of this page.
# - The embedding alone is about as good as Magpie and local environments together, and Magpie next to
#   it helps on average.
# - What counts is crystals per element: fifty are enough for a family of salts, and far too few for all kinds of
#   crystals.
# - For the band gap, which CHGNet was not trained on, its embedding next to Magpie has the smallest mean error only
#   while crystals are few.
# - "Unseen" needs care. Report crystals with and without a match, and never test on the data that it was trained on.
#
# | strengths | weaknesses |
# |---|---|
# | most of the physics is in it before you train anything | somebody else chose the training data, and you cannot take any of it out |
# | few crystals are enough where every element occurs | an element without a training crystal is off by electronvolts |
# | trains in a second, without a GPU | one more package, tied to one version |
#
# **When this stops being true.** For elements, pressures or bonds that the Materials Project hardly has, the pretrained
# network is as lost as any. For a property unlike an energy it is just one more table of features. And the more crystals of
# your own you have, the less there is to gain: draw the learning curves again.
#
# ## Check yourself
#
# 1. Two pretrained networks have energies that differ by 5 eV/atom on pure tungsten. By how many eV/atom do the two
#    references of tungsten differ, if both networks are right? (A number.)
# 2. Four neutral salts of four elements do not settle the four references. Why does that not matter for a fifth salt of
#    these elements?
#    - `a` Its energy is small.
#    - `b` What is not settled cancels in a neutral formula.
#    - `c` The model of the rest corrects it.
# 3. A paper reports a pretrained network's error on a random tenth of the Materials Project. What do you ask first?
#    - `a` Was that tenth taken out before the network was trained?
#    - `b` Is a tenth large enough?
#    - `c` Were references fitted for each element?
# 4. You have forty nitrides of thirty metals. What do you do first?
#    - `a` Trust delta learning: forty is nearly fifty.
#    - `b` Fit the references to all crystals of this course.
#    - `c` Take the embedding with Magpie, and compute more nitrides of the same metals.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_9
#
# check_yourself_9(..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. By the same 5 eV/atom: with references both give pure tungsten the same formation energy, 0. They count the energy from
#    different zeros.
# 2. A change of all references in proportion to the ions' charges leaves every neutral formula as it is, the fifth as
#    well.
# 3. Whether that tenth was taken out before the training, with all polymorphs and all relaxation steps of its crystals. If
#    not, the error says how well the network remembers.
# 4. With hardly more than one crystal per metal, references are not settled, and kernel ridge on the embedding with Magpie
#    needs none. More nitrides of the same metals settle them. (References from this course would be wrong for energies
#    that were computed in another way.)
#
# </details>
#
# ## Exercises
#
# [Exercise 9: Your own question](ex9_your_own_question.ipynb) plans a study of your own. If yours uses the pretrained
# view, report crystals with and without a match.
#
# ## Further reading
#
# The network: {cite:t}`deng2023chgnet`. Learning differences: {cite:t}`ramakrishnan2015delta`, where a model lifts cheap
# energies of molecules to the level of expensive ones. The corrections of the Materials Project:
# {cite:t}`wang2021corrections`.
#
# ## A quest
#
# The next cell fits references to three salts: KCl, MgS and K₂S. That is enough for a fourth salt, MgCl₂ in the
# fluorite structure. Which formation energy do its pretrained energy and these references predict?

# %%
symbols = ["K", "Mg", "S", "Cl"]
three = ["rocksalt-K-Cl", "rocksalt-Mg-S", "fluorite-S-K"]
shift = y[three] - pretrained.loc[three, ENERGY]
references = np.linalg.lstsq(shares(three), shift)[0]
print(dict(zip(symbols, references.round(3).tolist(), strict=True)))
energy_of_mgcl2 = pretrained.loc["fluorite-Mg-Cl", ENERGY]
print(f"pretrained energy of MgCl2: {energy_of_mgcl2:.3f} eV/atom")
predicted = ...  # your answer, in eV/atom

# %%
from course_lib.teaching.checkers.quests import check_quest_9

check_quest_9(predicted, crystals)
