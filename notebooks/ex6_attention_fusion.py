# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 6: Attention fusion
#
# **Question.** Each crystal gets its own two weights, one for its composition and one for its structure. How do you
# build that, and how do you know that it does what you intended?
#
# **You will**
#
# - write the two steps of attention fusion, and read the weights of a trained network;
# - write a test that checks whether weights depend on the crystal, and see it catch layers that cheat;
# - run the library's tests of invariance on a layer, find what it violates, and fix it.
#
# **You need** notebook 4. **Difficulty:** hard. **Time to work:** 90 min. **Time to run:** at most 50 s on two cores.

# %% [markdown]
# ## The picture
#
# Attention fusion makes one vector from each view, $h_c$ from the composition and $h_s$ from the structure, both of
# length $H$. Each gets a score, the scores become weights, and the weighted sum is used for the prediction $\hat y$:
#
# $$ z_v = a_v \cdot h_v + b_v, \qquad w_v = \frac{e^{z_v}}{e^{z_c} + e^{z_s}}, \qquad \hat y = f(w_c h_c + w_s h_s) $$
#
# - $v$: the view, $c$ or $s$;
# - $a_v$ (a vector of length $H$) and $b_v$ (a number): learned, the same for all crystals;
# - $z_v$ and $w_v$: score and weight of view $v$ for one crystal; the formula for $w_v$ is called *softmax*;
# - $f$: a small network.
#
# > **Predict.** A colleague proposes something simpler: learn two weights directly, and use them for all crystals. What
# > can attention do that this cannot?
# >
# > <!-- predict: colleague; give each crystal weights of its own; make the weights add up to one; leave a view out; nothing -->

# %% [markdown] tags=["task"]
# ## Task 1: Two weights for each crystal
#
# `views` holds both vectors of each crystal in a batch, shape (B, 2, H), composition first. `a` has the shape (2, H)
# and `b` the shape (2,), with one row or entry per view.
#
# 1. Write `attention_weights(views, a, b)`. It returns the two weights of each crystal, shape (B, 2).
# 2. It should also work for a batch with one crystal.

# %% tags=["answer"]
import torch


def attention_weights(views, a, b):
    """Return the weights of the two views of each crystal, (B, 2)."""
    # BEGIN SOLUTION
    scores = (views * a).sum(dim=2) + b  # (B, 2)
    return scores.softmax(dim=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.attention import check_attention_weights

check_attention_weights(attention_weights)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `views * a` multiplies every crystal's two views by the two rows of `a`; it has the shape (B, 2, H). A dot product is
# the sum of such products over the last axis.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `scores.softmax(dim=...)` gives numbers that add up to one along that axis. Which two numbers should add up to one?
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 2: A weighted sum
#
# 1. Write `fuse(views, weights)`. From `views` (B, 2, H) and `weights` (B, 2) it computes $w_c h_c + w_s h_s$, shape
#    (B, H).


# %% tags=["answer"]
def fuse(views, weights):
    """Return the weighted sum of the two views of each crystal, (B, H)."""
    # BEGIN SOLUTION
    return (views * weights[:, :, None]).sum(dim=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.attention import check_fuse

check_fuse(fuse)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# To multiply (B, 2, H) by (B, 2), give the second a third axis of length one: `weights[:, :, None]`.
#
# </details>

# %% [markdown] tags=["after"]
# With your two functions in place of the library's own steps, the library's network should give exactly the same
# predictions.

# %% tags=["after"]
from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, AttentionFusion

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
graphs = CrystalGraphs.from_structures(
    crystals["structure"],
    ids=crystals.index,
    composition=magpie(crystals["structure"]),
    targets=crystals[[TARGET]],
)


class MyAttentionFusion(AttentionFusion):
    """The library's network with your two steps."""

    def views_and_weights(self, batch):
        views, _ = super().views_and_weights(batch)
        a = torch.cat([score.weight for score in self.scores])  # (2, H)
        b = torch.cat([score.bias for score in self.scores])  # (2,)
        return views, attention_weights(views, a, b)

    def forward(self, batch):
        return self.head(fuse(*self.views_and_weights(batch)))


if check_attention_weights(attention_weights) and check_fuse(
    fuse
):  # once both are right
    torch.manual_seed(0)
    library, mine = AttentionFusion().eval(), MyAttentionFusion().eval()
    mine.load_state_dict(library.state_dict())
    batch = graphs.batch(range(64))
    difference = (mine(batch) - library(batch)).abs().max().item()
    print("the same predictions:", difference < 1e-5)

# %% tags=["solution"]
assert difference < 1e-5

# %% [markdown] tags=["task"]
# ## Task 3: A test that can fail
#
# Do the weights of a layer depend on the crystal? In the formula they do, but code need not follow the formula, so we
# test it. `layer(views)` returns weights (B, 2) for the views of B different crystals. Write `depends_on_crystal(layer,
# views)`, which returns True only if both of these hold:
#
# 1. in one batch, the weights differ between crystals by more than rounding error ($10^{-5}$);
# 2. the weights belong to the crystals: when the crystals are given in reverse order (`views.flip(0)`), each keeps its
#    own weights.
#
# The checker lets your test judge several layers, most of which cheat.


# %% tags=["answer"]
def depends_on_crystal(layer, views):
    """Return whether the weights `layer(views)` depend on the crystal."""
    # BEGIN SOLUTION
    weights = layer(views)  # (B, 2)
    differ = weights[:, 0].max() - weights[:, 0].min() > 1e-5
    reversed_back = layer(views.flip(0)).flip(0)
    return bool(differ) and torch.allclose(weights, reversed_back, atol=1e-5)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.attention import check_dependence_test

check_dependence_test(depends_on_crystal)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `weights[:, 0]` holds the weight of the composition for every crystal. What is its largest minus its smallest value if
# all crystals are treated in the same way?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# Reverse the views, compute the weights, and reverse the weights again: `layer(views.flip(0)).flip(0)`. Compare with
# `torch.allclose(..., atol=1e-5)`.
#
# </details>

# %% [markdown] tags=["after"]
# Now we look at the weights of trained networks. The two training runs, `seed 0` and `seed 1`, differ only in their
# seed. The figure shows the weight that each network gives to the composition, by prototype. Your colleague's two
# weights would give one number for all crystals; the lines below the figure say whether these networks do. They also
# give the smallest and the largest weight, since small differences cannot be seen in the figure.

# %% tags=["after"] mystnb={"image": {"alt": "Weight of the composition for the test crystals of each prototype, mean and standard deviation, for two networks with different initial weights. The weights differ from crystal to crystal, and the two networks do not agree."}}
from IPython.display import display

from course_lib import interpret
from course_lib.teaching.figures.intermediate_fusion import plot_weights_by_group
from course_lib.training import FitConfig, fit

train, validation, test = (graphs.subset(part) for part in folds(crystals)[0])


def trained(seed):
    """Train the library's attention fusion with one seed."""
    torch.manual_seed(seed)
    network = AttentionFusion(CGCNN(hidden=32, n_conv=2))
    return fit(network, train, validation, FitConfig(epochs=15, seed=seed)).model


if check_dependence_test(depends_on_crystal):  # once your test is right
    models = {f"seed {seed}": trained(seed) for seed in range(2)}
    weights = {
        name: interpret.attention_weights(model, test)["composition"]
        for name, model in models.items()
    }
    display(plot_weights_by_group(weights, crystals["prototype"], "weight"))

# %% tags=["after"]
from course_lib.teaching.predictions import measured

if check_dependence_test(depends_on_crystal):
    for name, model in models.items():
        network = model.network.eval()
        a = torch.cat([score.weight for score in network.scores]).detach()
        b = torch.cat([score.bias for score in network.scores]).detach()
        views, _ = network.views_and_weights(test.batch(range(32)))
        verdict = depends_on_crystal(
            lambda v, a=a, b=b: attention_weights(v, a, b), views
        )
        low, high = weights[name].min(), weights[name].max()
        print(f"{name}: weights from {low:.3f} to {high:.3f};", end=" ")
        print(f"they depend on the crystal: {verdict}")
    ranges = (f"{w.min():.3f} to {w.max():.3f} ({name})" for name, w in weights.items())
    answer = "give each crystal weights of its own, here from " + ", ".join(ranges)
    display(measured("colleague", answer))

# %% tags=["solution"]
assert verdict
first, second = weights.values()
assert first.std() > 1e-3
assert second.std() > 1e-3
print(f"rank correlation of the two: {first.corr(second, method='spearman'):.2f}")

# %% [markdown] tags=["solution"]
# The weights differ between crystals, so this is not a global $\alpha$: attention can weight the views of each crystal
# differently. By how much depends on the network. Where all weights of a network lie near 0 or 1, one of its views
# hardly enters the sum, and only the digits of the smallest and the largest show that the weights still differ. So read
# the weights with care: they belong to a network, not to nature. As the figure shows, another seed may share the work
# between the views differently {cite:p}`jain2019attention`. Exercise 8 asks how much each view *contributes* to the
# predictions.

# %% [markdown]
# ## A colleague's layer
#
# Attention can also act earlier, where the atoms are pooled: the composition gives a query, and each atom gets a score
# for it. A colleague has written that as a layer. It also adds a summary of the whole crystal to each query (`question`
# in the code).

# %%
from torch import nn


class ColleaguesAttention(nn.Module):
    """Pool each crystal's atoms with weights that its composition asks for."""

    def __init__(self):
        super().__init__()
        self.ask = nn.Linear(145, 32)
        self.summary = nn.Linear(32, 32)
        self.answer = nn.Linear(32, 32)

    def forward(self, atoms, composition, crystal):
        """Map (N, 32), (B, 145) and (N,) to one vector per crystal, (B, 32)."""
        empty = atoms.new_zeros(len(composition), 32)
        summary = empty.index_add(0, crystal, atoms)  # (B, 32)
        question = self.ask(composition) + self.summary(summary)  # (B, 32)
        scores = (question[crystal] * self.answer(atoms)).mean(1)  # (N,)
        weights = scores.softmax(0)  # (N,)
        return empty.index_add(0, crystal, weights[:, None] * atoms)


# %% [markdown]
# `atoms` holds a vector for each of the N atoms of the batch, `composition` the features of each of the B crystals, and
# `crystal` says which crystal each atom belongs to, with a number from 0 to B − 1.
# `empty.index_add(0, crystal, rows)` adds each atom's row to the row of its crystal.
#
# The layer runs, gives the right shapes, and could be trained. But does it keep the promises that a network must keep?
# A crystal's prediction must not depend on how somebody happened to write it down, nor on the other crystals in the
# batch. The library's own tests check every network for that, and you can use the same checks: `prediction_changes`
# rotates a crystal, shifts its origin, reorders its atoms, takes another cell, takes a supercell, and puts other
# crystals in its batch. It returns how much each prediction changes, in units of the spread between crystals. In the
# figure, what can be rounding error is shaded.

# %% mystnb={"image": {"alt": "Largest change of a prediction for each of six promises, on a logarithmic axis. Orientation, origin, order of atoms and choice of cell lie at rounding; supercell and rest of the batch lie far above it."}}
from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.invariance import prediction_changes
from course_lib.teaching.figures.invariance import plot_prediction_changes
from course_lib.teaching.network_around import NetworkAround

structures = list(load_dataset("pbe_prototypes")["structure"][::60])


def tested(layer):
    """Return how much predictions change that must not."""
    torch.manual_seed(0)
    network = NetworkAround(layer())
    network.fit_preprocessing(torch.from_numpy(magpie(structures).to_numpy()))
    return prediction_changes(network, structures)


plot_prediction_changes(tested(ColleaguesAttention))

# %% [markdown] tags=["task"]
# ## Task 4: Which promise, which line?
#
# 1. Which promises does the layer break? They are the labels of the figure's rows.
# 2. For each of them: which is the *first* variable of `forward` that changes where it must not? (A variable that is
#    wrong only because it is computed from a wrong one is not the first.)
#
# Answer with a dict: `{"promise": "variable"}`, one entry for each promise that is broken.

# %% tags=["answer"]
culprits = {"supercell": "summary", "rest of the batch": "weights"}  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.attention import check_culprits

check_culprits(culprits)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Go through `forward` line by line with a crystal of two atoms in mind. Now write it in a cell of twice the size: four
# atoms, in two equivalent pairs. What is each variable now?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# Go through it again, for a batch with one crystal, and then with a second one added. Which line mixes all atoms?
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 5: Fix it
#
# 1. Write `forward` again: copy the colleague's version, and change only what is wrong. It should remain attention.
# 2. Run the tests again. Are *all* rows at rounding error now?

# %% tags=["answer"]
from torch_geometric.utils import softmax


class FixedAttention(ColleaguesAttention):
    """The colleague's layer, fixed."""

    def forward(self, atoms, composition, crystal):
        """Map (N, 32), (B, 145) and (N,) to one vector per crystal, (B, 32)."""
        # BEGIN SOLUTION
        empty = atoms.new_zeros(len(composition), 32)
        count = torch.bincount(crystal, minlength=len(composition))
        summary = empty.index_add(0, crystal, atoms) / count[:, None]  # the mean
        question = self.ask(composition) + self.summary(summary)  # (B, 32)
        scores = (question[crystal] * self.answer(atoms)).mean(1)  # (N,)
        weights = softmax(scores, crystal)  # over the atoms of each crystal
        return empty.index_add(0, crystal, weights[:, None] * atoms)
        # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.attention import check_fixed_attention

check_fixed_attention(FixedAttention)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# A sum doubles with twice the atoms. Which other summary of many vectors does not? `torch.bincount(crystal)` counts the
# atoms of each crystal.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# The stub imports `softmax` from PyTorch Geometric. `softmax(scores, crystal)` makes the weights of the atoms of each
# crystal add up to one.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Largest change of a prediction for each of six promises with the fixed layer: all lie at rounding."}}
if check_fixed_attention(FixedAttention):  # once it is fixed
    fixed = tested(FixedAttention)
    display(plot_prediction_changes(fixed))

# %% tags=["solution"]
assert (fixed.max() < 1e-4).all()
broken = tested(ColleaguesAttention).max()
assert set(broken.index[broken > 1e-2]) == {"supercell", "rest of the batch"}

# %% [markdown]
# ## What to remember
#
# - Attention fusion is a softmax over the *views* of each crystal. With the wrong axis the code still runs without an
#   error.
# - A test is worth something only if it fails for wrong code. Try it on layers that cheat.
# - Rotate the crystal, translate it, reorder its atoms, take another cell, a larger cell, another batch: no prediction
#   may change. `course_lib.invariance` checks all six for any network, also for yours.
#
# Back to [notebook 4, *Intermediate fusion*](04_intermediate_fusion.ipynb); on to
# [exercise 7, *Negative transfer*](ex7_negative_transfer.ipynb).
