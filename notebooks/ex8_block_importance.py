# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 8: Composition or structure?
#
# **Question.** A hybrid reads the composition of a crystal and its structure. Which of the two contributes more to its
# predictions, and how do you attribute that fairly, in one number for each?
#
# **You will**
#
# - take a block of inputs away from a fitted model by giving it numbers of the kind that it knows;
# - measure the permutation importance of both blocks, in the same way and with its spread;
# - share the whole gain between two blocks by their Shapley values;
# - say what these numbers tell you about the model, and what they do not tell you about crystals.
#
# **You need** notebooks 2 and 4. **Difficulty:** medium. **Time to work:** 60 min. **Time to run:** at most 50 s on two
# cores.

# %% [markdown]
# ## The picture
#
# Early fusion puts two blocks of numbers side by side: composition features, and the graph network's embedding of the
# structure. All later layers read both.

# %% mystnb={"image": {"alt": "The network of early fusion: 145 composition features and a graph embedding of 128 numbers make 273 numbers, which two dense layers turn into the prediction."}}
from course_lib.teaching.figures.schematics import plot_early_fusion

plot_early_fusion(145, 128, (128, 64))

# %% [markdown]
# Here is such a network, trained on some of the course's crystals.

# %%
import numpy as np
import torch

from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import EarlyFusion
from course_lib.training import FitConfig, fit, predict

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
graphs = CrystalGraphs.from_structures(
    crystals["structure"],
    ids=crystals.index,
    composition=magpie(crystals["structure"]),
    targets=crystals[[TARGET]],
)
fold = folds(crystals)[0]
train = graphs.subset(np.random.default_rng(0).permutation(fold.train)[:600])
validation, test = graphs.subset(fold.validation), graphs.subset(fold.test)
torch.manual_seed(0)
fitted = fit(EarlyFusion(), train, validation, FitConfig(epochs=30)).model


# %% [markdown]
# To look at the two blocks we cut the network where they meet. `blocks` computes them once for all crystals; `model` is
# what comes after the cut. The structure is now a row of numbers, like the composition.


# %%
def blocks(part):
    """Composition features (B, 145), structure embeddings (B, 128), energies (B,)."""
    with torch.no_grad():
        embedding = fitted.network.trunk.embed(part.batch(range(len(part))))
    return part.features, embedding.numpy(), part.targets[:, 0]


def model(composition, structure):
    """Return the predicted energies (B,) in eV/atom for two blocks of any crystals."""
    scaled = fitted.network.standardize(torch.tensor(composition))
    with torch.no_grad():
        output = fitted.network.head(torch.cat([scaled, torch.tensor(structure)], 1))
    return fitted.target_scaler.inverse(output)[:, 0].numpy()


parts = {"training": blocks(train), "test": blocks(test)}

# %%
composition, structure, y = parts["test"]
predicted = model(composition, structure)
assert np.allclose(predicted, predict(fitted, test)[TARGET], atol=1e-4), "same network"
print(f"{len(y)} test crystals, error {np.abs(predicted - y).mean():.2f} eV/atom")

# %% [markdown]
# > **Predict.** Each test crystal keeps its structure, but is given the composition of another one. Then we do it the
# > other way round. Which of the two makes the error grow more, and how many times as much as the other?
# >
# > <!-- predict: harm; another composition, less than twice as much; another composition, twice as much or more; another structure, less than twice as much; another structure, twice as much or more -->

# %% [markdown] tags=["task"]
# ## Task 1: Take a block away
#
# A network has no switch for "composition not known". We need other numbers in its place. They should say nothing about
# the crystal, but still be numbers of the kind that the network knows.
#
# 1. Write `shuffled(block, rng)`: each crystal gets the row of another one, drawn at random. `block` has one row per
#    crystal, `rng` is a NumPy generator, such as `np.random.default_rng(0)`. Leave `block` itself as it is.
# 2. What would be wrong with zeros? And with shuffling each column by itself?


# %% tags=["answer"]
def shuffled(block, rng):
    """Return the rows of `block` (B, F) in random order."""
    # BEGIN SOLUTION
    return rng.permutation(block)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.block_importance import check_shuffled

check_shuffled(shuffled)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `rng.permutation(n)` gives the numbers from 0 to n − 1 in random order, and `block[order]` picks rows.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `rng.permutation(block)` does both at once, along the first axis, and returns a new array.
#
# </details>

# %% [markdown] tags=["after"]
# <details><summary>Answer to question 2</summary>
#
# - **Zeros** are a statement, too: an element with radius zero and electronegativity zero. The network has never seen
#   such a crystal, so its answer says nothing about which inputs it uses.
# - **Separately shuffled columns** give rows in which the melting point of one element stands next to the mass of
#   another. Whole rows keep together what belongs together.
#
# Even whole rows make pairs that do not exist, such as the composition of MgO with the structure of copper. This cannot
# be avoided: without one of its blocks, a crystal is unlike those that the network was trained on. But no *single*
# block is nonsense, and both are treated in the same way.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 2: Importance, with its spread
#
# The *permutation importance* of a block is the growth of the mean absolute error when this block is shuffled and the
# other one is not:
#
# $$ I_c = v(s) - v(c, s), \qquad I_s = v(c) - v(c, s) $$
#
# Here $v$ is the error of the model with what stands in the brackets: the composition $c$, the structure $s$, or
# both. What it does not have is shuffled. Another random order gives another number, so we repeat this `n_repeats`
# times.
#
# 1. Write `importance(...)`. It returns one row for the composition and one for the structure; each holds the mean and
#    the standard deviation over the repeats.
# 2. `parts["training"]` and `parts["test"]` hold composition, structure and energies of the training and the test
#    crystals. Choose one, and let `measured` be its importance, with `np.random.default_rng(0)` and ten repeats.


# %% tags=["answer"]
def importance(model, composition, structure, y, rng, n_repeats=10):
    """Return [[mean, std], [mean, std]] of composition and structure, in eV/atom."""
    # BEGIN SOLUTION
    both = np.abs(model(composition, structure) - y).mean()
    growth = []
    for _ in range(n_repeats):
        no_composition = model(shuffled(composition, rng), structure)
        no_structure = model(composition, shuffled(structure, rng))
        growth.append(
            [np.abs(p - y).mean() - both for p in (no_composition, no_structure)]
        )
    return np.stack([np.mean(growth, axis=0), np.std(growth, axis=0, ddof=1)], axis=1)
    # END SOLUTION


measured = importance(model, *parts["test"], np.random.default_rng(0))  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.block_importance import check_importance

check_importance(importance, measured, model, parts)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# In each repeat call the model twice: `model(shuffled(composition, rng), structure)`, and the other way round. Keep the
# two errors. `y` is never shuffled.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# With a list of pairs, `np.mean(pairs, axis=0)` is the mean of each of the two over the repeats, and `np.std` its spread.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Permutation importance of composition and structure on the test crystals, one bar each, with its spread over ten repeats. Shuffling the composition makes the error grow by far more than shuffling the structure."}}
import pandas as pd
from IPython.display import display

from course_lib.teaching.figures.block_importance import plot_block_values

if check_importance(importance, measured, model, parts):  # once your answer is right
    by_hand = pd.DataFrame(
        measured, columns=["mean", "std"], index=["composition", "structure"]
    )
    display(plot_block_values({"permutation\nimportance": by_hand}, "eV/atom"))

# %% tags=["after"]
from course_lib.teaching import predictions

if check_importance(importance, measured, model, parts):  # once your answer is right
    growth = by_hand["mean"].sort_values()
    factor = growth.iloc[1] / growth.iloc[0]
    result = f"another {growth.index[1]}, {factor:.1f} times as much"
    display(predictions.measured("harm", result))

# %% [markdown] tags=["solution"]
# Was your prediction near this quotient of the two bars? Now two other ways to measure: what if the composition had been
# set to zero, and only the structure shuffled? And what if both had been measured on the training crystals?

# %% tags=["solution"]
as_it_is = np.abs(model(composition, structure) - y).mean()
zeros = np.abs(model(0 * composition, structure) - y).mean() - as_it_is
on_training = importance(model, *parts["training"], np.random.default_rng(0))
print(f"composition shuffled, test crystals:     {measured[0, 0]:.2f} eV/atom")
print(f"composition shuffled, training crystals: {on_training[0, 0]:.2f} eV/atom")
print(f"composition set to zero, test crystals:  {zeros:.2f} eV/atom")
assert measured[0, 0] - measured[1, 0] > 3 * measured[:, 1].max(), "beyond the spread"
assert abs(zeros - measured[0, 0]) > 2 * measured[0, 1], "zero is another loss"

# %% [markdown] tags=["solution"]
# Zeros and shuffling give different numbers. With zeros, the network predicts the energy of a crystal that cannot
# exist. It cannot be compared fairly with a shuffled structure. On the training crystals, the importance of a block
# also includes what the network memorised.

# %% [markdown] tags=["task"]
# ## Task 3: Share the whole gain
#
# The two importances need not add up to the whole gain. Information that is in both blocks counts for neither, since
# the other block makes up for it. And a gain that needs both blocks counts twice. The *Shapley value* fixes that. Add
# the blocks one after the other, and note by how much each *lowers* the error when it is added. There are two orders.
# The value of a block is the mean over both.
#
# Suppose that the error of a model is 1.0 with neither block (each is that of some other crystal), 0.4 with its
# composition only, 0.7 with its structure only, and 0.3 with both, in eV/atom.
#
# 1. With pencil and paper: how much does the composition lower the error if it comes first? If it comes second? What is
#    its value?
# 2. Write `shapley(error)`. `error` is a dict with the keys `"neither"`, `"composition"`, `"structure"` and `"both"`; they
#    say which blocks the model *has*. It returns the values of composition and structure, in this order.


# %% tags=["answer"]
def shapley(error):
    """Return the Shapley values of composition and structure from four errors."""
    # BEGIN SOLUTION
    composition_first = error["neither"] - error["composition"]
    composition_second = error["structure"] - error["both"]
    structure_first = error["neither"] - error["structure"]
    structure_second = error["composition"] - error["both"]
    return [
        (composition_first + composition_second) / 2,
        (structure_first + structure_second) / 2,
    ]
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.block_importance import check_shapley

check_shapley(shapley)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# In the order "composition, then structure" the error goes from `neither` to `composition` to `both`. By how much does
# each step lower it?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# You can test your own function: whatever the four errors are, the two values add up to `neither` minus `both`.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 3: the answer to question 1</summary>
#
# If it comes first, the composition lowers the error from 1.0 to 0.4, by 0.6. If it comes second, after the structure,
# it lowers it from 0.7 to 0.3, by 0.4. Its value is the mean, 0.5 eV/atom. (That of the structure is 0.2, and both
# together are 1.0 − 0.3 = 0.7.)
#
# </details>

# %% [markdown] tags=["after"]
# Now we apply this to the network. `block_errors` of the library measures all four errors ten times, by giving each
# crystal a block of another one. It exchanges whole crystal graphs, so it works for any model, cut or not.

# %% tags=["after"] mystnb={"image": {"alt": "Three rows of two bars each, from the error with neither block, at the right, down to the error with both. In either order the composition takes off more than the structure. The last row is the mean of the two orders, the Shapley values."}}
from course_lib.interpret import block_errors
from course_lib.teaching.figures.block_importance import plot_block_orders

if check_shapley(shapley):  # once your answer is right
    errors = block_errors(lambda part: predict(fitted, part), test)
    values = np.array([shapley(row) for row in errors.to_dict("records")])
    display(errors.describe().loc[["mean", "std"]].round(3))
    display(plot_block_orders(errors, "eV/atom"))

# %% tags=["after"] mystnb={"image": {"alt": "Permutation importance and Shapley value of composition and structure, bars with their spread over ten repeats. By both measures the composition contributes more than the structure."}}
from course_lib.interpret import block_permutation_importance

if check_shapley(shapley):
    shares = pd.DataFrame(values, columns=["composition", "structure"]).agg(
        ["mean", "std"]
    )
    tables = {
        "permutation\nimportance": block_permutation_importance(errors),
        "Shapley value": shares.T,
    }
    sums = {
        name.replace("\n", " "): table["mean"].sum() for name, table in tables.items()
    }
    sums["neither minus both"] = (errors["neither"] - errors["both"]).mean()
    display(pd.Series(sums, name="sum of both blocks (eV/atom)").round(3).to_frame())
    display(plot_block_values(tables, "eV/atom"))

# %% tags=["solution"]
from course_lib.interpret import shapley_values

library = shapley_values(errors)
assert np.allclose(library["mean"], values.mean(axis=0)), "the library does the same"
assert np.isclose(values.mean(axis=0).sum(), sums["neither minus both"])
again = tables["permutation\nimportance"]
assert (np.abs(again["mean"] - measured[:, 0]) < 3 * again["std"]).all(), "as by hand"
for table in tables.values():
    gap = table.loc["composition", "mean"] - table.loc["structure", "mean"]
    assert gap > 3 * table["std"].max(), "composition first, far beyond the spread"

# %% [markdown] tags=["solution"]
# A block need not contribute the same in both orders. As the second block it contributes less if the first holds the
# same information. It contributes more as the second if it needs the first: the right structure is of little use to a
# model that is wrong about the elements. Permutation importance looks only at the second place, so its sum may be
# smaller or larger than the whole gain.

# %% [markdown] tags=["task"]
# ## Task 4: What do you conclude?
#
# Which of these are true?
#
# - `adds up`: the two Shapley values always add up to the whole gain from both blocks together.
# - `importances too`: so do the two permutation importances.
# - `zero is ignorance`: a block with importance zero knows nothing about the energy.
# - `this model`: another network, trained on the same crystals, may have other values.
# - `structure is minor`: the values prove that a crystal's energy depends mainly on its composition, so the arrangement
#   of the atoms can be left out.

# %% tags=["answer"]
statements = {
    "adds up": True,  # SOLUTION
    "importances too": False,  # SOLUTION
    "zero is ignorance": False,  # SOLUTION
    "this model": True,  # SOLUTION
    "structure is minor": False,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.block_importance import check_importance_statements

check_importance_statements(statements)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Try extremes: a model that reads only one block, and two blocks that hold the same numbers.
#
# </details>

# %% [markdown] tags=["solution"]
# Here is such an extreme. Both blocks are identical, and the model reads only the first.

# %% tags=["solution"]
one_number = y[:, None]


def reads_the_first(first, second):
    return first[:, 0]


shared = importance(
    reads_the_first, one_number, one_number, y, np.random.default_rng(0)
)
assert shared[0, 0] > 0.5 * y.std(), "it lives on the first"
assert shared[1, 0] == 0, "importance zero, and yet it knows the whole answer"
pd.DataFrame(shared, columns=["mean", "std"], index=["first", "second"]).round(3)

# %% [markdown] tags=["solution"]
# The second block holds the whole answer, and its importance is zero. Importance is what *this model takes from this
# block*. The same holds for the network above: its graph, too, says which elements there are, but the composition
# features hold the elements' properties directly, so it reads them there. And most of the differences between these
# crystals' energies are differences between elements. For the differences between polymorphs, only the structure can
# help.

# %% [markdown]
# ## What to remember
#
# - To take a block away, give each crystal the block of another one. Shuffle whole rows, treat both blocks in the same
#   way, use crystals that the model was not trained on, and repeat several times.
# - Permutation importance asks what would be lost. Information that is in both blocks counts for neither, and a gain
#   that needs both counts twice.
# - Shapley values share the whole gain, and add up to it.
# - Both describe the model. What is *in* a block, and what matters in nature, are different questions.
#
# Further reading: permutation importance for any model {cite:p}`fisher2019importance`; why shuffled pairs can
# mislead {cite:p}`hooker2021permute`; Shapley values {cite:p}`shapley1953value`, of a model's error {cite:p}`covert2020sage`.
#
# Back to [notebook 4, *Intermediate fusion*](04_intermediate_fusion.ipynb).
