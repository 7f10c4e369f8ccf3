# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 7: Negative transfer
#
# **Question.** Two networks have two errors. One of them shares its layers with a second task. Has sharing done harm,
# and if so, what helps?
#
# **You will**
#
# - see how much a verdict from a single training run is worth;
# - compare networks with their twins, fold by fold, and say what is shown;
# - predict which partner harms, and test it with partners whose effect you can know;
# - build a network that shares less, and measure three countermeasures.
#
# **You need** notebook 6, and exercise 1 for intervals. **Difficulty:** hard. **Time to work:** 75 min.
# **Time to run:** at most 90 s on two cores.

# %% [markdown]
# ## The picture
#
# In multi-task learning a shared trunk serves several heads. *Negative transfer* means that a task would have been
# better off on its own.

# %% mystnb={"image": {"alt": "Crystal graph, shared trunk and embedding, one after the other, then two heads, one for the energy and one for the band gap. Each head gives an error, multiplied by its weight; their sum is the loss."}}
from course_lib.teaching.figures.multitask import plot_multi_task

plot_multi_task()

# %% [markdown]
# Our task is the formation energy. It gets three partners: the band gap, and two made-up ones, whose effect we can work
# out by thinking. *Minus the energy* is the energy with the other sign. *Noise* is a random number for each crystal.

# %%
import numpy as np
import pandas as pd
import torch

from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, CrystalModel, MultiTask
from course_lib.training import FitConfig, fit, predict

crystals = load_dataset("pbe_prototypes")
energy = crystals["formation_energy_per_atom"]
labels = pd.DataFrame({"energy": energy, "minus the energy": -energy})
labels["band gap"] = crystals["band_gap"]
labels["noise"] = np.random.default_rng(0).normal(size=len(labels))
graphs = CrystalGraphs.from_structures(
    crystals["structure"], ids=crystals.index, targets=labels
)
five_folds = folds(crystals)


# %% [markdown]
# To train many networks, we keep all of them small and use the same small number of crystals and steps for each. A
# network and its twin get the same crystals and the same seed. The weights are those of inverse scale, with the
# partner's multiplied by `weight`.


# %%
def network(n_tasks):
    """A trunk with one head for each task."""
    return MultiTask(CGCNN(hidden=32, n_conv=2, embedding=64), n_targets=n_tasks)


def choose(number):
    """Return the training crystals of a fold: few, drawn at random."""
    return np.random.default_rng(number).permutation(five_folds[number].train)[:256]


def train_energy(number, seed=0, partner=None, weight=1.0, make=network, watch=None):
    """Train on a fold, alone or with a partner; return the test error of the energy."""
    data = graphs.select_targets(["energy"] if partner is None else ["energy", partner])
    few = data.subset(choose(number))
    if weight != "uncertainty":
        weight = (1.0, weight)[: few.targets.shape[1]] / few.targets.std(axis=0)
    watched = few.subset(range(64)) if watch is None else data.subset(watch)
    torch.manual_seed(seed)
    config = FitConfig(epochs=15, task_weights=weight, seed=seed)
    fitted = fit(make(few.targets.shape[1]), few, watched, config)
    predicted = predict(fitted.model, data.subset(five_folds[number].test))
    return (predicted["energy"] - energy).abs().mean()


# %% [markdown]
# (One thing is unusual: where `watch` is not given, the epoch is chosen by the error on *training* crystals. This
# error falls until the end, so every network is trained to the end. The solution of task 4 says why that matters.)
#
# Here is the energy alone and together with the band gap: five folds, two seeds.

# %%
runs = []
for fold in range(5):
    for seed in range(2):
        alone = train_energy(fold, seed)
        shared = train_energy(fold, seed, partner="band gap")
        runs.append({"method": "alone", "fold": fold, "seed": seed, "mae": alone})
        runs.append({"method": "shared", "fold": fold, "seed": seed, "mae": shared})
runs = pd.DataFrame(runs)
errors = runs.set_index(["fold", "seed", "method"])["mae"].unstack()
errors.loc[[(0, 0)]].round(3)

# %% [markdown]
# This is what you see if you train each of the two once (error of the energy in eV/atom).
#
# > **Predict.** What would you report: has sharing with the band gap done harm? In how many of the other training runs
# > will it look the other way round?
# >
# > <!-- predict: reversed; in none; in fewer than half; in half or more -->

# %% [markdown] tags=["task"]
# ## Task 1: A verdict from one training run
#
# For each fold and seed, take the error with sharing minus the error alone. Positive means that sharing was worse.
#
# 1. Write `share_of_contradictions(differences)`, for an array with one row per fold and one column per seed: in what
#    share of all training runs does the difference have a different sign from the mean over all of them?
# 2. What can somebody conclude from only the first training run?


# %% tags=["answer"]
def share_of_contradictions(differences):
    """Return the share of training runs (folds, seeds) that contradict the mean."""
    # BEGIN SOLUTION
    return np.mean(np.sign(differences) != np.sign(np.mean(differences)))
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.negative_transfer import check_contradictions

check_contradictions(share_of_contradictions)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `np.sign` gives −1, 0 or 1, for a whole array at once. The mean of `True` and `False` is a share.
#
# </details>

# %% tags=["after"]
from IPython.display import display

from course_lib.teaching.predictions import measured

if check_contradictions(share_of_contradictions):  # once your answer is right
    differences = (errors["shared"] - errors["alone"]).unstack("seed")
    display(differences.round(3).rename_axis(columns="with the band gap: seed"))
    share = share_of_contradictions(differences.to_numpy())
    mean = differences.to_numpy().mean()
    print(f"mean {mean:+.3f} eV/atom, contradicted by {share:.0%}")
    signs = np.sign(differences.to_numpy().flatten())
    n_reversed = (signs[1:] != signs[0]).sum()
    display(measured("reversed", f"in {n_reversed} of {len(signs) - 1}"))

# %% tags=["solution"]
assert share > 0, "there are training runs that contradict the mean"

# %% [markdown] tags=["after"]
# <details><summary>Answer to question 2</summary>
#
# Only which of the two networks did better in this one run, and nothing about sharing. The first difference is one of
# those in the table; the others differ from it, some even in sign. Somebody with a single run cannot see that, and so
# cannot know whether this run contradicts the mean. It takes several training runs to see how much they vary, and an
# interval to say what they show. That is task 2.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 2: A verdict from all runs
#
# 1. Write `transfer(runs)`. `runs` is a table with one row per training run, in any order, and the columns `method`
#    (`"alone"` or `"shared"`), `fold`, `seed` and `mae`. Pair by fold and seed, subtract, and average over the seeds.
#    Return three numbers: the mean over the folds, and the two ends of its 95 % interval. For the interval,
#    `corrected_interval` takes one number per fold; it accounts for the training crystals that the folds share
#    {cite:p}`nadeau2003inference`.
# 2. Write `verdict(mean, low, high)`. It says `"harm shown"`, `"gain shown"` or `"neither shown"`.

# %% tags=["answer"]
from course_lib.experiments.analysis import corrected_interval


def transfer(runs):
    """Return mean, low and high of the error with sharing minus the error alone."""
    # BEGIN SOLUTION
    errors = runs.pivot(index=["fold", "seed"], columns="method", values="mae")
    per_fold = (errors["shared"] - errors["alone"]).groupby("fold").mean()
    return per_fold.mean(), *corrected_interval(per_fold.to_numpy())
    # END SOLUTION


def verdict(mean, low, high):
    """Say what the interval shows."""
    # BEGIN SOLUTION
    if low > 0:
        return "harm shown"
    return "gain shown" if high < 0 else "neither shown"
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.negative_transfer import check_transfer

check_transfer(transfer, verdict)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `runs.pivot(index=..., columns=..., values=...)` puts matching runs into one row, whatever their order.
# `.groupby("fold").mean()` averages over the seeds.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# How many numbers go into `corrected_interval`? As many as there are folds. Training runs with other seeds on the same
# crystals do not add new crystals.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Error of the energy learned with the band gap minus the error alone: one dot per fold, their mean and its interval, and a line at zero."}}
from course_lib.teaching.figures.results import plot_paired_differences

ready = check_transfer(transfer, verdict)
if ready:  # once your answer is right
    mean, low, high = transfer(runs)
    print(f"{mean:+.3f} eV/atom, interval {low:+.3f} to {high:+.3f}:")
    print(verdict(mean, low, high))
    names = {"shared": "with the band gap", "alone": "the twin"}
    table = runs.replace({"method": names}).assign(split="error of the energy")
    display(plot_paired_differences(table, "the twin", "eV/atom"))

# %% [markdown] tags=["task"]
# ## Task 3: Which partner harms?
#
# The chapter that this course started from advises sharing where the correlation of the two properties is above 0.5.
# Let us test that.
#
# 1. Write `related(first, second)`: the *size* of the rank correlation (Spearman's), for two arrays of labels. A
#    missing label is `NaN`; leave such crystals out. Why use labels, and not the predictions of a network?
# 2. Now take the two made-up partners, each with ten times the weight of the energy. Before you train: which of these
#    do you *expect*? Answer `True` or `False`.
#
#    - `minus the energy`: trained with minus the energy, the network predicts the energy worse than its twin does.
#    - `noise`: trained with the noise, the network predicts the energy worse than its twin does.

# %% tags=["answer"]
from scipy import stats


def related(first, second):
    """Return the size of the rank correlation of two labels, NaN left out."""
    # BEGIN SOLUTION
    known = ~(np.isnan(first) | np.isnan(second))
    return abs(stats.spearmanr(first[known], second[known]).statistic)
    # END SOLUTION


harms = {
    "minus the energy": False,  # SOLUTION
    "noise": True,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.negative_transfer import check_partners

check_partners(related, harms)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `first[known]` keeps the rows where `known` is true, and `~` swaps true and false.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# What must the trunk compute so that a head can read minus the energy from it? And what must it compute so that a head
# can read the noise of the training crystals?
#
# </details>

# %% [markdown] tags=["after"]
# <details><summary>Answer: why labels?</summary>
#
# The *predictions* of a multi-task network come from one embedding, so they can be correlated whether or not the
# properties are. The labels of one task do not depend on those of the other in this way.
#
# </details>
#
# The table below has more than one comparison. With $n$ of them, `summary` widens your intervals from 95 % to the level
# $1 - 0.05/n$ (Bonferroni's correction, notebook 2), and your function `verdict` judges the wider ones.


# %% tags=["after"]
def with_partner(partner, **settings):
    """Train with a partner on five folds; return runs like those above."""
    found = [train_energy(fold, partner=partner, **settings) for fold in range(5)]
    found = {"method": "shared", "fold": range(5), "seed": 0, "mae": found}
    twins = runs[(runs["method"] == "alone") & (runs["seed"] == 0)]
    return pd.concat([twins, pd.DataFrame(found)], ignore_index=True)


def summary(tried):
    """Apply your functions to several runs, with intervals of 95 % for all together."""
    rows = {name: [*transfer(runs)] for name, runs in tried.items()}
    rows = pd.DataFrame(rows, index=["mean", "low", "high"]).T
    one, each = stats.t.ppf([1 - 0.05 / 2, 1 - 0.05 / 2 / len(tried)], 4)  # 5 folds
    for end in ("low", "high"):
        rows[end] = rows["mean"] + each / one * (rows[end] - rows["mean"])
    return rows.assign(verdict=[verdict(*row) for row in rows.to_numpy()])


ready = ready and check_partners(related, harms)
if ready:  # once your answers are right
    tried = {
        name: with_partner(name, weight=10) for name in ("minus the energy", "noise")
    }
    partners = summary(tried).round(3)
    columns = [labels[name].to_numpy() for name in tried]
    partners.insert(0, "related", [related(energy.to_numpy(), c) for c in columns])
    display(partners)

# %% tags=["solution"]
with_noise = tried["noise"].pivot(index="fold", columns="method", values="mae")
assert (with_noise["shared"] > with_noise["alone"]).all(), "in every fold"
assert partners.loc["noise", "verdict"] == "harm shown"
assert partners.loc["minus the energy", "verdict"] != "harm shown"
assert partners.loc["noise", "mean"] > 3 * partners.loc["minus the energy", "mean"]
gap = related(energy.to_numpy(), labels["band gap"].to_numpy())
print(f"energy and band gap are related by {gap:.2f}")

# %% [markdown] tags=["solution"]
# - **Minus the energy** has a correlation of −1 with the energy, far below 0.5, and no harm is shown: the same layers
#   serve both, and one head changes the sign.
# - **Noise** harms in every fold. The only thing to learn about it is which crystal has which number, and that takes
#   capacity of the trunk away from the energy.
#
# The size of the correlation tells these two extremes apart; its sign does not. For cases in between, such as the band
# gap, only training decides.

# %% [markdown] tags=["task"]
# ## Task 4: Share less
#
# Now suppose that you must keep the noise as a partner. What helps? One way is to share fewer layers. Write a network
# of two tasks that share the *atom embedding* and the *first convolution*. After that, each has its own layers.
#
# 1. In `__init__`, make a network for each task with `network(1)`. It has a `trunk` with the layers `atom_embedding` and
#    `convs` (a list of two). Let the second network use the two shared layers of the first.
# 2. In `forward`, return the predictions of both: (crystals, tasks).


# %% tags=["answer"]
class LessShared(CrystalModel):
    """Two networks with their first layers in common."""

    def __init__(self, n_tasks):
        super().__init__(n_targets=n_tasks)
        # BEGIN SOLUTION
        self.networks = torch.nn.ModuleList(network(1) for _ in range(n_tasks))
        first, second = (one.trunk for one in self.networks)
        second.atom_embedding = first.atom_embedding
        second.convs[0] = first.convs[0]
        # END SOLUTION

    def forward(self, batch):
        """Predict both properties: (crystals, tasks)."""
        # BEGIN SOLUTION
        return torch.cat([one(batch) for one in self.networks], dim=1)
        # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.negative_transfer import check_less_shared

check_less_shared(LessShared)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Layers are objects. After `second.trunk.atom_embedding = first.trunk.atom_embedding` there is one layer that both
# networks use, and both errors change it.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# PyTorch finds layers in `torch.nn.ModuleList([...])`, but not in a plain list. `torch.cat([a, b], dim=1)` puts two
# columns side by side.
#
# </details>

# %% [markdown] tags=["after"]
# Three countermeasures against the noise, all else equal: less sharing; weights that are learned with the network
# ("uncertainty", {cite:p}`kendall2018multitask`); and a small weight, a tenth of the energy's instead of ten times as
# much. A fourth, to have no partner, is the line at zero. With five comparisons, the intervals of the
# table and of the figure have the level $1 - 0.05/5 = 99$ %, so those that were in the table above are wider now.

# %% tags=["after"] mystnb={"image": {"alt": "Error of the energy minus that of the network alone, for four networks that learn noise as well. Plain sharing is far on the side that is worse than alone. Less sharing, learned weights and a small weight of the noise are all nearer to zero."}}
ready = ready and check_less_shared(LessShared)
if ready:  # once all answers are right
    tried["noise, less shared"] = with_partner("noise", weight=10, make=LessShared)
    tried["noise, learned weights"] = with_partner("noise", weight="uncertainty")
    tried["noise, small weight"] = with_partner("noise", weight=0.1)
    display(summary(tried).round(3))
    shown = [tried["noise"].query("method == 'alone'").assign(method="the twin")]
    for name, of_name in tried.items():
        shown.append(of_name.query("method == 'shared'").assign(method=name))
    shown = pd.concat(shown).assign(split="error of the energy")
    display(plot_paired_differences(shown, "the twin", "eV/atom"))

# %% tags=["solution"]
means = summary(tried)["mean"]
for name in ("less shared", "learned weights", "small weight"):
    assert means[f"noise, {name}"] < 0.85 * means["noise"], (
        f"{name}: nearer to the twin"
    )

# %% [markdown] tags=["solution"]
# All three bring the energy closer to its twin. Less sharing leaves the noise fewer layers to spoil. Learned weights
# detect that the noise cannot be learned: its error stays large, so its weight becomes small. A small weight does the
# same by hand. In the limit of weight zero the twin itself is trained: the harm came from a poorly chosen weight.
#
# (With intervals of 95 % the table might show a *gain* from noise: of verdicts at this level, one in twenty is wrong if
# there is no effect, and there are five here. That is what the wider intervals are for.)
#
# **Do two networks that share nothing harm each other?** They should not. But look at what happens when, as usual, the
# epoch is chosen by the validation errors of both tasks together:


# %% tags=["solution"]
class NothingShared(LessShared):
    def __init__(self, n_tasks):
        CrystalModel.__init__(self, n_targets=n_tasks)
        self.networks = torch.nn.ModuleList(network(1) for _ in range(n_tasks))


both = {"weight": 10, "partner": "noise", "make": NothingShared}
rows = []
for fold in range(2):
    watch = five_folds[fold].validation[:64]
    apart = train_energy(fold, watch=watch, **both)
    rows.append((train_energy(fold, watch=watch), apart))
apart = pd.DataFrame(rows, columns=["alone", "beside noise, nothing shared"])
assert apart.iloc[:, 1].mean() > apart.iloc[:, 0].mean(), (
    "harm without any shared layer"
)
apart.rename_axis("fold").round(3)

# %% [markdown] tags=["solution"]
# The error of the noise on new crystals is smallest at the beginning, before the network memorises any of it. With a
# large weight the noise selects an early epoch, and the energy is left half-trained. That is harm, too, but it does not
# come from shared layers. Networks that are compared must differ in only one thing, which is why we trained all of them
# to the end above.

# %% [markdown] tags=["task"]
# ## Task 5: What do you conclude?
#
# Which of these are true?
#
# - `one run`: with one training run each, one person could have reported harm by the band gap, and another a gain.
# - `opposite`: two properties with a strongly *negative* correlation should not be learned together.
# - `not shown`: "neither shown" proves that sharing makes no difference.
# - `small weight`: with the partner's weight near zero, hardly any harm is left, whatever the partner.
# - `always less`: the fewer layers are shared, the better for both tasks.

# %% tags=["answer"]
statements = {
    "one run": True,  # SOLUTION
    "opposite": False,  # SOLUTION
    "not shown": False,  # SOLUTION
    "small weight": True,  # SOLUTION
    "always less": False,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.negative_transfer import check_transfer_statements

check_transfer_statements(statements)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Go back to your tables: the signs of the single differences, the row of minus the energy, the widths of the intervals.
#
# </details>

# %% [markdown]
# ## What to remember
#
# - One training run each shows nothing. Pair each network with its twin, average over the seeds, and look at the
#   interval over the folds.
# - The size of a correlation of labels is a hint, its sign is not, and training decides.
# - Against harm: another partner, a smaller or a learned weight, fewer shared layers. Measure which.
# - Twins must differ in only one thing, and the choice of the epoch is one of the things to keep equal.
#
# Which tasks to learn together is a field of its own {cite:p}`standley2020tasks`.
#
# Back to [notebook 6, *Multi-task learning*](06_multi_task.ipynb); on to
# [exercise 8, *Composition or structure?*](ex8_block_importance.ipynb).
