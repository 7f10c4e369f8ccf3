# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Intermediate fusion
#
# **Question.** Composition and structure can also meet inside the network, before it makes its prediction. Does the
# place where they meet matter?
#
# **You will learn to**
#
# - say where in the network each kind of fusion joins the two views;
# - let the composition set scale and shift of every atom, and follow one number through it;
# - give each crystal its own two weights, one per view;
# - explain why the weights that a network gives to its sources do not explain its predictions;
# - compare four kinds of fusion when the differences are small.
#
# **You need** notebooks 1 to 3. **Time to read:** 40 min. **Time to run:** at most 80 s on two cores.

# %% [markdown]
# ## Four ways to join
#
# Early fusion concatenated two vectors, late fusion averaged two predictions. Between the first layer and the last
# there are more places. Below is the same graph network four times; the part that makes the embedding is called the
# *trunk*. An orange circle is where the composition comes in.

# %% mystnb={"image": {"alt": "Four networks, each with the same parts: graph, three convolutions, mean, dense layers, prediction. Intermediate fusion: the composition enters before every convolution, as scale and shift of every atom. Early fusion: after the mean, side by side. Attention fusion: after the mean, as a sum with weights of this crystal. Late fusion: a forest and the network each predict, and the predictions are added with one weight for all crystals."}}
from course_lib.teaching.figures.intermediate_fusion import plot_fusion_places

plot_fusion_places()

# %% [markdown]
# The names are a little odd. *Early* means: before the dense layers that make the prediction. So *early* fusion comes
# after the convolutions here, and *intermediate* fusion before them. What counts is this: in intermediate fusion the
# composition influences **the messages between the atoms**. In the other three it comes in when the messages are
# finished.
#
# > **Predict.** Four kinds of fusion, the same crystals, the same trunk. Which one do you expect to have the smallest
# > error on new formulas? Think of a reason, too.
# >
# > <!-- predict: fusion; early; late; intermediate; attention; no difference to be seen -->

# %% [markdown]
# ## Scale and shift
#
# How can one row of composition features act on every atom? A simple way is to let it scale and shift the atoms'
# features. Each atom $i$ has a vector $x_i$ of 64 numbers. Before convolution $l$, every number is multiplied and
# shifted:
#
# $$ x_i \leftarrow \bigl(1 + \gamma^{(l)}(\tilde c)\bigr) \odot x_i + \beta^{(l)}(\tilde c) $$
#
# - $\tilde c$: the standardised composition features, as in notebook 2;
# - $\gamma^{(l)}, \beta^{(l)}$: 64 numbers each, computed from $\tilde c$ by a small network;
# - $\odot$: multiplication number by number.
#
# All atoms of a crystal get the same $\gamma$ and $\beta$, because the crystal has one composition. This is
# *feature-wise linear modulation*, FiLM {cite:p}`perez2018film`. Here is one number as an example, with $\gamma = 0.5$
# and $\beta = -0.5$:

# %%
# NBVAL_CHECK_OUTPUT
x, gamma, beta = 2.0, 0.5, -0.5
print(f"{x} becomes {(1 + gamma) * x + beta}")

# %% [markdown]
# With $\beta = 0$ and $1 + \gamma$ between 0 and 1, this is a **gate**: it lets a feature through, weakens it, or
# blocks it. So a gate is a special case of scale and shift.
#
# Here is the network's own code. `scale_and_shift` returns $\gamma$ and $\beta$ for each crystal and convolution,
# `batch.batch` says to which crystal each atom belongs, and `pool` takes the mean over the atoms and applies a dense
# layer:

# %%
import inspect

from course_lib.models import IntermediateFusion

print(inspect.getsource(IntermediateFusion.forward))

# %% [markdown]
# Why $1 + \gamma$, and not $\gamma$ alone? In the layer that computes $\gamma$ and $\beta$ all initial weights are
# zero.
#
# > **Predict.** So what does the network compute before it has learned anything? Does it use the composition?
# >
# > <!-- predict: start; the prediction of a plain CGCNN; the mean energy; noise made of the composition -->

# %%
from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
y = crystals[TARGET]
composition = magpie(crystals["structure"])
graphs = CrystalGraphs.from_structures(
    crystals["structure"], ids=crystals.index, composition=composition, targets=y
)
fold = folds(crystals)[0]
train = graphs.subset(fold.train[:500])  # a part: this page trains four times
validation, test = graphs.subset(fold.validation), graphs.subset(fold.test)

# %%
import torch

torch.manual_seed(0)
network = IntermediateFusion().eval()
some = test.batch(range(8))
with torch.no_grad():
    fused, plain = network(some), network.out(network.trunk.embed(some))
    assert (network.scale_and_shift(some) == 0).all()
assert torch.allclose(fused, plain), "at the start it is CGCNN, number by number"

# %%
from course_lib.teaching.predictions import measured

measured("start", "the prediction of a plain CGCNN; the composition changes nothing")

# %% [markdown]
# It starts as plain CGCNN, and learns from there how much to use the composition. Now we train it, on a part of the
# crystals and for a few epochs, to see how scale and shift develop. (Such a short training run says nothing about how
# good the network is.)

# %%
from course_lib.training import FitConfig, fit, predict

torch.manual_seed(0)
film = fit(IntermediateFusion(), train, validation, FitConfig(epochs=25))
print(f"trained in {film.seconds:.1f} s")

everything = test.batch(range(len(test)))
with torch.no_grad():
    turned = film.model.eval().network.scale_and_shift(everything).numpy()
print("crystals, convolutions, scale and shift, features:", turned.shape)

# %% mystnb={"image": {"alt": "The factors before the first convolution, each minus its mean over the crystals: one row per test crystal, sorted by the average deviation of electronegativity, one column per atom feature. The columns at the left go from bright at the bottom to dark at the top, those at the right from dark to bright."}}
from course_lib.teaching.figures.intermediate_fusion import plot_scales

IONIC = "MagpieData avg_dev Electronegativity"
ionic = composition.loc[test.names, IONIC]
factors = 1 + turned[:, 0, 0]  # before the first convolution
plot_scales(factors, ionic, "average deviation of electronegativity")

# %% [markdown]
# Each row is a crystal, sorted by the average deviation of the electronegativity (notebook 1): metal alloys at the
# bottom, ionic crystals at the top. Each column is one of the 64 atom features; bright means multiplied by more than
# in the average crystal. The features on the right have a larger factor in ionic crystals, those on the left a smaller
# one. So the same convolution works differently in an alloy and in a salt.

# %%
import numpy as np

correlation = [np.corrcoef(column, ionic)[0, 1] for column in factors.T]
strong = (np.abs(correlation) > 0.5).sum()
print(f"{strong} of {len(correlation)} factors correlate with it (beyond ±0.5)")
assert strong > 0

# %% [markdown]
# > **Predict.** Take the two polymorphs in the test set that are farthest apart in energy. Do they get the same
# > factors or different ones? The same prediction or different ones?
# >
# > <!-- predict: factors; same factors, same prediction; same factors, different predictions; different factors, different predictions -->

# %%
formula = crystals.loc[test.names, "formula"]
computed = y[test.names]
farthest = computed.groupby(formula).agg(np.ptp).idxmax()  # apart in energy
rows = np.flatnonzero(formula == farthest)
first, second = rows[computed.iloc[rows].argmin()], rows[computed.iloc[rows].argmax()]
predicted = predict(film.model, test)[TARGET].astype(float)
print(farthest)
for row in (first, second):
    name, energy = test.names[row], computed.iloc[row]
    print(f"{name}: computed {energy:.2f}, predicted {predicted.iloc[row]:.2f} eV/atom")
assert np.allclose(turned[first], turned[second], atol=1e-5), "same knobs"
assert predicted.iloc[second] > predicted.iloc[first] + 0.1, "told apart, the right way"

# %%
difference = predicted.iloc[second] - predicted.iloc[first]
measured("factors", f"same factors, predictions {difference:.2f} eV/atom apart")

# %% [markdown]
# The network tells the two apart, in the right order, even after such a short training run. The factors cannot be the
# reason, since they are the same. The composition tunes the instrument; the structure plays it.
#
# ## Attention: two weights for each crystal
#
# Late fusion had one $\alpha$ for all crystals, though some need structure more than others. Why not let each crystal
# have its own? Attention fusion makes one vector of 64 numbers from each view, $h_c$ from the composition and $h_s$
# from the structure. It gives each a score, and takes their weighted sum:
#
# $$ (w_c, w_s) = \operatorname{softmax}(a_c \cdot h_c + b_c,\; a_s \cdot h_s + b_s), \qquad \hat y = f(w_c h_c + w_s h_s) $$
#
# - $a_c, b_c, a_s, b_s$: learned; they turn a vector into one number, its score;
# - $\operatorname{softmax}(u, v)$: $e^u$ and $e^v$, divided by their sum, so the two weights add up to 1;
# - $f$: a small network.
#
# For example, the composition scores 1.0 and the structure 0.0.

# %%
# NBVAL_CHECK_OUTPUT
scores = torch.tensor([1.0, 0.0])
print("softmax:", [f"{weight:.2f}" for weight in scores.softmax(0)])
print(f"gate:    {torch.sigmoid(scores[0] - scores[1]):.2f}")

# %% [markdown]
# With two views, the softmax is a **gate**: $w_c = \sigma(u - v)$ for the scores $u$ of the composition and $v$ of the
# structure, and $w_s = 1 - w_c$. So "gated fusion" with one gate per crystal is the same thing as "attention fusion"
# of two views. The code:

# %%
from course_lib.models import AttentionFusion

print(inspect.getsource(AttentionFusion.views_and_weights))
print(inspect.getsource(AttentionFusion.forward))

# %% [markdown]
# `norm` gives both vectors the same size: mean 0 and standard deviation 1 over their 64 numbers. Without it the
# network could give a view a small weight and a huge vector, and the weight would mean nothing.
#
# > **Predict.** For which crystals does the composition get most weight? The [data card](data_card.ipynb) shows the
# > prototypes: think of those whose energy depends almost only on the formula. Choose one that you expect among the
# > first three.
# >
# > <!-- predict: lean; rock salt; zinc blende; wurtzite; CsCl; perovskite; ReO₃; D0₃; half-Heusler; another one -->
#
# We train three networks, with seeds 0 to 2. The table describes the weight of the composition over the test crystals.

# %%
import pandas as pd

from course_lib.interpret import attention_weights


def train_attention(seed):
    """Train an attention fusion network with one seed."""
    torch.manual_seed(seed)
    config = FitConfig(epochs=25, seed=seed)
    return fit(AttentionFusion(), train, validation, config).model


# %%
networks = {f"seed {seed}": train_attention(seed) for seed in range(3)}
weights = pd.DataFrame(
    {name: attention_weights(m, test)["composition"] for name, m in networks.items()}
)
weights.describe().loc[["mean", "std", "min", "max"]].round(2)

# %% mystnb={"image": {"alt": "Weight of the composition by prototype for one network: mean and standard deviation, prototypes sorted by the mean. The means differ, and within each prototype the weights scatter widely."}}
from course_lib.teaching.figures.intermediate_fusion import plot_weights_by_group

prototypes = crystals["prototype"]
label = "weight of the composition"
plot_weights_by_group({"seed 0": weights["seed 0"]}, prototypes, label)

# %%
assert weights["seed 0"].std() > 0.05, "each crystal has weights of its own"
same_formula = formula.iloc[rows]
pair = weights.loc[same_formula.index, "seed 0"].astype(float)
print(same_formula.iloc[0], pair.round(2).to_dict())
assert pair.max() - pair.min() > 1e-3, "so have polymorphs"

# %% [markdown]
# (The dashed line marks equal weights.) Each crystal has its own weights, even each of two polymorphs, because the
# structure has a score, too. It is tempting to read the figure as a finding about crystals: *these lean on
# composition, those on structure*. Before we write that into a paper, we look at the other two networks, which differ
# from the first only in what follows from the seed: initial weights, order of the crystals and dropout.
#
# > **Predict.** Will the three networks agree on which crystals lean on the composition? And on the energies?
# >
# > <!-- predict: agree; on both; on the energies only; on the weights only; on neither -->

# %% mystnb={"image": {"alt": "Weight of the composition by prototype for three networks with different initial weights. The order of the prototypes by the first network is not the order by the others, and one network may give more weight to the composition everywhere."}}
plot_weights_by_group(dict(weights.items()), prototypes, label)

# %%
answers = pd.DataFrame({name: predict(m, test)[TARGET] for name, m in networks.items()})
agreement = pd.DataFrame(
    {
        what: table.corr("spearman").to_numpy()[[0, 0, 1], [1, 2, 2]]
        for what, table in {"energies": answers, "weights": weights}.items()
    },
    index=["seeds 0 and 1", "seeds 0 and 2", "seeds 1 and 2"],
)
assert agreement["weights"].max() < agreement["energies"].min(), "agree less"
assert agreement["weights"].min() < agreement["energies"].min() - 0.2, "some much less"
agreement.round(2)

# %%
low, high = agreement.min(), agreement.max()
said = (f"{low[what]:.2f} to {high[what]:.2f} on the {what}" for what in agreement)
measured("agree", f"rank correlation {', '.join(said)}")

# %%
from course_lib.teaching.figures.style import PROTOTYPES  # how prototypes are written

by_prototype = weights.groupby(prototypes.loc[weights.index].replace(PROTOTYPES)).mean()
top = {name: set(by_prototype[name].nlargest(3).index) for name in by_prototype}
shared = set.intersection(*top.values())
print("on all three lists:", ", ".join(sorted(shared)) or "none")
assert len(shared) < 3, "the lists differ"
lists = "; ".join(f"{name}: {', '.join(sorted(three))}" for name, three in top.items())
measured("lean", f"the three with most weight, {lists}")

# %% [markdown]
# The table shows rank correlations: 1 where two networks put the crystals in the same order. On the energies the
# networks agree. On the weights they agree less, some pairs much less. Both views know the elements, the graph through
# its nodes. So there are many ways to share the work that give nearly the same predictions, and chance decides which
# of them a training run finds. Look for the prototype that you chose in the three lists above: the lists differ.
# **The weights describe a network, not the crystals** {cite:p}`jain2019attention`.
#
# What we *can* ask of a fitted model is how much worse it gets when it is given the composition of another crystal, or
# the structure of another. Exercise 8 does this carefully. Here is its method, for our three networks. The *gain* is
# the error when both views come from another crystal, minus the error when both are right. The composition's part of
# it is its *Shapley value*: how much the error falls when the composition is made right, once while the structure is
# still wrong and once when it is right, averaged. The rest is the structure's part.

# %%
from course_lib.interpret import block_errors, shapley_values

rows = {}
for name, model in networks.items():
    errors = block_errors(lambda g, model=model: predict(model, g), test, n_repeats=5)
    gains = shapley_values(errors)["mean"]
    rows[name] = {
        "mean weight of composition": weights[name].mean(),
        "its share of the gain": gains["composition"] / gains.sum(),
    }
shares = pd.DataFrame(rows).T
assert (shares["its share of the gain"] > 0.5).all()
shares.round(2)

# %% [markdown]
# In all three networks, more than half of the gain is attributed to the composition features. The weights do not say
# how much: networks with similar weights need not have similar shares. Both views know the formula. It seems that these
# networks read it mainly from the features.
#
# ## Does the place matter?
#
# Now we turn to the recorded runs: all crystals, five folds of both kinds, three seeds, each method with the best of
# eight settings. (The settings were chosen on validation crystals, as in notebook 2.)

# %%
from course_lib.experiments.analysis import with_late_fusion
from course_lib.experiments.records import load_results
from course_lib.methods import LABELS

FUSIONS = ["early_fusion", "intermediate_fusion", "attention_fusion"]
methods = ["random_forest", "cgcnn", *FUSIONS]
runs = load_results(crystals=crystals, target=TARGET, methods=methods)
runs = with_late_fusion(runs, y)
mean_error = runs.pivot_table(index="method", columns="split", values="mae", sort=False)
mean_error.rename(index=LABELS).round(3)

# %% mystnb={"image": {"alt": "Mean absolute error of random forest, CGCNN and the four kinds of fusion on random and on formula-grouped folds, one dot per run, mean and standard deviation alongside. The forest lies far behind; the dots of CGCNN and of the fusions overlap."}}
from course_lib.teaching.figures.results import plot_errors

plot_errors(runs, "eV/atom")

# %% [markdown]
# The dots overlap, so we compare on the same test crystals again. Five methods are compared with intermediate fusion
# on two tests. These are ten comparisons, so each interval has the level $1 - 0.05/10 = 99.5$ % (Bonferroni's correction,
# notebook 2), in the figure and in the table.

# %% mystnb={"image": {"alt": "Difference in mean absolute error to intermediate fusion on the same test crystals, for the five other methods on both kinds of folds: one dot per fold, mean and corrected interval, and a line at zero. The forest is far worse; those of CGCNN, early and late fusion reach to both sides of zero on new formulas; on random folds early fusion is a little behind on every fold."}}
from course_lib.teaching.figures.results import plot_paired_differences

plot_paired_differences(runs, "intermediate_fusion", "eV/atom")

# %%
from course_lib.experiments.analysis import summarize_differences

difference = summarize_differences(runs, "intermediate_fusion")
shown = [difference["low"] > 0, difference["high"] < 0]
difference["than intermediate fusion"] = np.select(shown, ["worse", "better"], "-")
difference.rename(index=LABELS).round(3)

# %%
verdict = difference["than intermediate fusion"].unstack("split")
assert (verdict.loc["random_forest"] == "worse").all()
assert (verdict.loc[["cgcnn", "early_fusion", "late_fusion"]] == "-").all(axis=None)
behind = difference.xs("attention_fusion", level="method")
assert (behind["mean"] > 0).all(), "attention fusion is behind on both tests"
assert verdict.loc["attention_fusion"].to_dict() == {"random": "worse", "formula": "-"}
hybrids = mean_error.loc[[*FUSIONS, "late_fusion"]]
spread = hybrids.max() / hybrids.min() - 1
print("worst over best of the four:", spread.map("+{:.0%}".format).to_dict())

# %%
from course_lib.experiments.analysis import paired_differences

by_fold = paired_differences(runs, "intermediate_fusion")
early = by_fold.query("split == 'random' and method == 'early_fusion'")
assert (early["difference"] > 0).all(), "behind on every random fold"
single = summarize_differences(runs, "intermediate_fusion", level=0.95)
assert single.loc[("random", "early_fusion"), "low"] > 0, "95 % would call it shown"

# %%
smallest = LABELS[hybrids["formula"].idxmin()]
others = verdict["formula"].drop("cgcnn")
equal = ", ".join(LABELS[name] for name in others.index[others == "-"]) or "none"
measured(
    "fusion",
    f"smallest mean: {smallest}; not shown to differ from intermediate fusion: {equal}",
)

# %% [markdown]
# Each row is that method minus intermediate fusion, in eV/atom. A dash means that neither is shown to be better.
#
# - **Against the forest** intermediate fusion wins, as all networks do.
# - **Against early and late fusion** no difference is shown, on either test. Their order may be chance. (Early fusion
#   is behind on every random fold. A single interval of 95 % would call that shown; one of 99.5 % does not.)
# - **Attention fusion** is behind on both tests, and on random folds it is shown to be worse. These runs do not say
#   why: it differs from early fusion in more than the weights. An *ablation* would tell: the same network with both
#   weights fixed at one half. (Notebook 5 has one of another network.)
# - **Against CGCNN**, which has no composition features at all, no difference is shown either. This is the finding of
#   notebook 2 again: with so many crystals no gain from these features is shown, wherever they come in.
#
# If you predicted a clear winner, think of what the four have in common: the same two sources. How they join them adds
# no information. So a good way gains little, but a clumsy one can lose.
#
# ## What does it cost?
#
# The composition is one row per crystal. Most of the work is in the edges, of which there are many more, so scale and
# shift should cost little. Here is the CPU time of training in the recorded runs. Some methods were trained for more
# epochs than others, so we look at one epoch.

# %%
epochs = runs["configuration"].map(lambda settings: settings.get("epochs"))
networks = runs.assign(epoch=runs["seconds"] / epochs).dropna(subset="epoch")
price = networks.groupby("method", sort=False)["epoch"].median()
price = price.loc[["cgcnn", *FUSIONS]] / price["cgcnn"]
assert price.max() < 1.3, "no kind of fusion costs much more than the graph network"
price.rename(index=LABELS).to_frame("an epoch, times CGCNN").round(2)

# %% [markdown]
# Late fusion is missing from the table: it costs as much as its two parents.
#
# ## What we saw
#
# - The composition can come in before the convolutions, after them, or after the prediction.
# - Scale and shift start as "no change", so the network starts as CGCNN and learns how much to use the composition.
# - A softmax over two views is a gate. It gives each crystal its own weights, but networks with similar predictions can
#   have different weights. Read such weights as a part of the network, not as a finding about crystals.
# - All four have the same two sources. Between early, intermediate and late fusion no difference is shown; attention
#   fusion is behind.
#
# | strengths | weaknesses |
# |---|---|
# | the composition shapes every message, not just the last layers | changes the inside of the network: each trunk needs its own version |
# | an epoch costs little more than one of CGCNN | more to learn: scale and shift for each layer |
# | attention: weights for each crystal, where late fusion has one for all | the weights look like an explanation, but are not one |
#
# **When this stops being true.** Our formulas have few elements and our crystals few atoms. Where the second view knows
# something that the graph does not hold (a temperature, a spectrum, a text), the place may matter more. And with more
# folds or many more crystals, small differences between the fusions may become visible.
#
# ## Check yourself
#
# 1. A feature has $1 + \gamma = 0$ in all oxides. What does the network then know about it in an oxide?
#    - `a` Nothing at all.
#    - `b` Only the shift $\beta$, the same for all atoms.
#    - `c` The feature as it was before scale and shift.
# 2. Late fusion has $\alpha = 0.4$. Attention fusion gives the composition 0.4 on average. Do the two mean the same?
#    - `a` No: one weights predictions, the other mixes vectors.
#    - `b` Yes: both are the share of the composition in the prediction.
#    - `c` Yes, if both models have the same error.
# 3. A colleague writes: "The attention weights prove that structure matters most in perovskites." What would you ask?
#    - `a` Whether the two weights add up to one.
#    - `b` How large the weights are in other crystals, so that perovskites can be compared with them.
#    - `c` Whether another seed agrees, and how the error changes without the structure.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_4
#
# check_yourself_4(..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. Only the shift $\beta$, which is the same for all atoms of the crystal. What the feature said about each atom is
#    gone.
# 2. No. $\alpha$ weights two predictions in eV/atom, and is the best one for their errors. The attention weight mixes
#    two vectors before a network reads them; nothing makes it a share of the prediction.
# 3. Whether a second seed gives the same result, and how the error changes when the structure is taken away.
#
# </details>
#
# ## Exercises
#
# [Exercise 6: Attention fusion](ex6_attention_fusion.ipynb) asks you to build the two weights, to test whether they
# depend on the crystal, and to find what a colleague's layer breaks. [Exercise 8: Composition or
# structure?](ex8_block_importance.ipynb) attributes the gain of a fitted hybrid to its two sources. In JupyterLab,
# work in the copies in `work/exercises`, which have no solutions.
#
# ## Further reading
#
# Scale and shift: {cite:t}`perez2018film`. A learned gate between two sources: {cite:t}`arevalo2017gated`. What to
# fuse, and where: {cite:t}`baltrusaitis2019multimodal`. Whether attention explains: {cite:t}`jain2019attention`.
#
# ## A quest
#
# Zinc sulfide has two forms, zinc blende and wurtzite. How many numbers, scales and shifts together, does the
# composition give to the network for one of them? And are they the same for the other?

# %%
from pymatgen.core import Lattice, Structure

zincblende = Structure.from_spacegroup(
    "F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]]
)
wurtzite = Structure.from_spacegroup(
    "P6_3mc",
    Lattice.hexagonal(3.82, 6.26),
    ["Zn", "S"],
    [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]],
)
sulfides = CrystalGraphs.from_structures(
    [zincblende, wurtzite], composition=magpie([zincblende, wurtzite])
)
numbers = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_4

check_quest_4(numbers)
