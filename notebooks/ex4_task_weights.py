# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 4: Choosing lambda
#
# **Question.** One network learns formation energies and band gaps together. Its loss is a weighted sum of two errors
# with different units. Which weights are fair, and what happens if nobody thinks about them?
#
# **You will**
#
# - distinguish a task's share of the loss from its effect on the shared trunk, for absolute and for squared errors;
# - compute weights from the spread of the targets, also where labels are missing;
# - train with three choices of weights and read off what they change.
#
# **You need** notebook 6. **Difficulty:** medium. **Time to work:** 45 min. **Time to run:** at most 80 s on two cores.

# %% [markdown]
# ## The picture
#
# The loss of two tasks is
#
# $$ L = \lambda_1 L_1 + \lambda_2 L_2 $$
#
# with the mean absolute errors $L_1$ of the formation energy (eV/atom) and $L_2$ of the band gap (eV), and their
# weights $\lambda_1$ and $\lambda_2$. Suppose that a network has reached $L_1 = 0.03$ eV/atom and $L_2 = 0.18$ eV
# (numbers of this size are usual on large datasets). With both weights 1, the loss consists of:

# %% mystnb={"image": {"alt": "One bar, the loss with both weights 1, split in two parts: a small one from the formation energy and a large one from the band gap."}}
from course_lib.teaching.figures.task_weights import plot_task_shares

error = {"formation energy": 0.03, "band gap": 0.18}
plot_task_shares({"λ₁ = λ₂ = 1": error})

# %% [markdown]
# > **Predict.** The network takes its next step downhill. What decides which task changes the shared trunk more?
# >
# > <!-- predict: louder; which task has the larger part; which has the smaller part; the slopes of the parts -->

# %% [markdown] tags=["task"]
# ## Task 1: Value and slope
#
# Training follows the *slope* of the loss, not its value. Take $L_1 = 0.03$ eV/atom, $L_2 = 0.18$ eV and both weights 1.
# The network works with standardised numbers: head $k$ gives $z_k$, and the prediction is $m_k + s_k z_k$ with the mean
# $m_k$ and the standard deviation $s_k$ of the training targets, here $s_1 = 1.5$ eV/atom and $s_2 = 2.0$ eV. A task
# acts on the trunk through $z_k$.
#
# 1. `share_loss`: what share of the loss comes from the band gap? Give a number between 0 and 1.
# 2. `share_absolute`: take one crystal whose predictions are off by $r_1 = 0.03$ eV/atom and $r_2 = 0.18$ eV. How
#    steeply does $|r_k|$ change with $z_k$? What share of the sum of both slopes is the band gap's? (Take slopes
#    without their sign.)
# 3. `share_squared`: the same for the squared error $r_k^2$.

# %% tags=["answer"]
share_loss = 0.18 / (0.03 + 0.18)  # SOLUTION
share_absolute = 2.0 / (1.5 + 2.0)  # SOLUTION
share_squared = 2 * 0.18 * 2.0 / (2 * 0.03 * 1.5 + 2 * 0.18 * 2.0)  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.task_weights import check_contributions

check_contributions(share_loss, share_absolute, share_squared)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# The slope of $|r|$ with respect to $r$ is 1 or −1. By how much does $r_k$ change when $z_k$ changes by 1?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# The slope of $r^2$ with respect to $r$ is $2r$. Multiply it by the same factor as in the second question.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Three bars with the shares of formation energy and band gap. Most of the loss is the band gap's. Of the slopes of the absolute errors little more than half is the band gap's, of those of the squared errors most."}}
from IPython.display import display

if check_contributions(share_loss, share_absolute, share_squared):  # once it is right
    shares = {
        "value of the loss": share_loss,
        "slope, absolute error": share_absolute,
        "slope, squared error": share_squared,
    }
    bars = {
        name: {"formation energy": 1 - share, "band gap": share}
        for name, share in shares.items()
    }
    display(plot_task_shares(bars))

# %% [markdown] tags=["task"]
# ## Task 2: Weights from the targets
#
# With absolute errors, a task changes the trunk in proportion to $\lambda_k s_k$. The size of its error does not count.
# So the weights that give both tasks the same effect are known before training:
#
# $$ \lambda_k = \frac{1/s_k}{\sum_j 1/s_j} $$
#
# with the standard deviation $s_k$ of target $k$ over the training set. Divided by their sum, the weights add up to
# one. (They have units, so this sum adds bare numbers. That does no harm: only the ratio of the weights matters.)
#
# 1. For $s_1 = 1.5$ eV/atom and $s_2 = 2.0$ eV: work out both weights with pencil and paper.
# 2. Write `inverse_scale(targets)`. `targets` has a row for each crystal and a column for each task. Some labels may be
#    missing: they are `NaN`.

# %% tags=["answer"]
import numpy as np


def inverse_scale(targets):
    """Return one weight for each column of `targets`, adding up to one."""
    # BEGIN SOLUTION
    weights = 1 / np.nanstd(targets, axis=0)
    return weights / weights.sum()
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.task_weights import check_inverse_scale

check_inverse_scale(inverse_scale)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `axis=0` runs over the crystals, so one number per task is left.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# A sum with one `NaN` in it is `NaN`. NumPy has versions of its functions that leave `NaN` out: `np.nanmean`,
# `np.nanstd`.
#
# </details>

# %% tags=["after"]
if check_inverse_scale(inverse_scale):  # once your answer is right
    example = np.array([[1.5, 2.0], [-1.5, -2.0]])  # spreads of exactly 1.5 and 2.0
    print("spreads 1.5 and 2.0, weights:", inverse_scale(example).round(2))

# %% tags=["solution"]
assert np.allclose(inverse_scale(example), [4 / 7, 3 / 7])

# %% [markdown]
# ## With real crystals
#
# The course's crystals have both labels. A small network with one trunk and two heads learns them together.

# %%
import pandas as pd
import torch

from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, MultiTask
from course_lib.training import FitConfig, fit, predict

TARGETS = ["formation_energy_per_atom", "band_gap"]
crystals = load_dataset("pbe_prototypes")
graphs = CrystalGraphs.from_structures(
    crystals["structure"], ids=crystals.index, targets=crystals[TARGETS]
)
train, validation, test = (graphs.subset(part) for part in folds(crystals)[0])
spread = train.targets.std(axis=0)
print(f"spread: {spread[0]:.2f} eV/atom and {spread[1]:.2f} eV")

# %% [markdown]
# Does the rule of task 1 hold for a whole network? Here is one after three epochs, with both weights 1, and 256 of its
# training crystals. We measure each task's share of the loss, and of its gradient with respect to all weights of the
# trunk, for absolute and for squared errors. Then we pretend that the errors of the band gap were ten times as large,
# and change nothing else.

# %%
from course_lib.losses import task_errors, task_shares

torch.manual_seed(0)
network = MultiTask(trunk=CGCNN(hidden=32, embedding=64))
early = fit(
    network, train, validation, FitConfig(epochs=3, task_weights=(1.0, 1.0))
).model
batch = train.batch(range(256))
scaler = early.target_scaler
predicted = scaler.std.float() * early.network(batch) + scaler.mean.float()
error = batch.y.float() - predicted.detach()

rows = {}
for factor in (1, 10):
    labels = predicted.detach() + error * torch.tensor([1, factor])
    for loss, name in {"mae": "absolute", "mse": "squared"}.items():
        terms = task_errors(predicted, labels, batch.y_mask, loss)
        rows[f"{name} errors, gap's error times {factor}"] = task_shares(
            terms, early.network.trunk
        )[:, 1].tolist()
measured_shares = pd.DataFrame(rows, index=["of the loss", "of the gradient"]).T
measured_shares.sort_index().round(2)

# %%
from course_lib.teaching.predictions import measured

absolute, squared = (
    measured_shares[measured_shares.index.str.startswith(name)]
    for name in ("absolute", "squared")
)
assert np.ptp(absolute["of the gradient"]) < 1e-4, "the size does not count"
assert np.ptp(absolute["of the loss"]) > 0.3
assert np.ptp(squared["of the gradient"]) > 0.1, "here it counts"
one, ten = absolute.to_numpy()  # gap's error times 1, and times 10
part, slope = (f"from {one[k]:.2f} to {ten[k]:.2f}" for k in (0, 1))
answer = f"gap's share of the loss {part}, of the gradient {slope}"
measured("louder", f"{answer}, if its error is ten times as large")

# %% [markdown]
# These are the band gap's shares. With absolute errors, the share of the loss grows with the gap's error, but the share
# of the gradient stays the same: what counts is the slopes of the parts. With squared errors both shares grow, since
# the slope of a square grows with the error. The share of the gradient is not exactly $s_2 / (s_1 + s_2)$, since the
# two tasks do not use the trunk in the same way, and the gradients of different crystals partly cancel.

# %% [markdown] tags=["task"]
# ## Task 3: Three losses
#
# Fill in the two weights, (formation energy, band gap), for errors in eV/atom and eV. A factor that both weights have
# in common does not matter here, so (2, 2) counts as (1, 1):
#
# 1. `one each`: both weights are 1.
# 2. `inverse scale`: from the spreads of the training targets, `train.targets`.
# 3. `gap in meV`: a colleague has the band gaps in meV and leaves both weights at 1. Which weights for errors in
#    *eV/atom* and *eV* give the same loss, up to a common factor?

# %% tags=["answer"]
task_weights = {
    "one each": (1, 1),  # SOLUTION
    "inverse scale": tuple(inverse_scale(train.targets).tolist()),  # SOLUTION
    "gap in meV": (1, 1000),  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.task_weights import check_three_losses

check_three_losses(task_weights, train.targets, graphs.targets)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `inverse_scale(train.targets)` returns two weights. `tuple(...)` makes a tuple of them.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# An error of 0.2 eV is an error of 200 meV. In the colleague's loss it counts as 200 times 1.
#
# </details>

# %% [markdown] tags=["after"]
# With each loss we train three networks with different seeds, for a few epochs.

# %% tags=["after"] mystnb={"image": {"alt": "Mean absolute test error of formation energy and band gap for the three losses, three runs each. With the gap in meV the error of the formation energy is much larger than with the other two; the error of the band gap is about the same for all three."}}
from course_lib.teaching.figures.results import plot_errors


def errors_of(weights, seed):
    """Train with these weights; return the test errors of both targets."""
    torch.manual_seed(seed)
    network = MultiTask(trunk=CGCNN(hidden=32, embedding=64))
    weights = tuple(map(float, weights))
    config = FitConfig(epochs=20, task_weights=weights, seed=seed)
    fitted = fit(network, train, validation, config)
    return (predict(fitted.model, test) - crystals[TARGETS]).abs().mean()


if check_three_losses(
    task_weights, train.targets, graphs.targets
):  # once your answer is right
    rows = []
    for name, weights in task_weights.items():
        for seed in range(3):
            energy, gap = errors_of(weights, seed)
            rows.append((name, "formation energy (eV/atom)", seed, energy))
            rows.append((name, "band gap (eV)", seed, gap))
    runs = pd.DataFrame(rows, columns=["method", "split", "seed", "mae"])
    display(plot_errors(runs, ""))

# %% tags=["after"]
if check_three_losses(task_weights, train.targets, graphs.targets):
    print(f"spread: {spread[0]:.2f} eV/atom and {spread[1]:.2f} eV")
    table = runs.pivot_table(index="method", columns="split", values="mae", sort=False)
    display(table.round(3))

# %% [markdown] tags=["task"]
# ## Task 4: What do you conclude?
#
# Which of these are true? For some of them your own figure and table help; for the others, think.
#
# - `larger error`: with absolute errors and weights of 1, the task with the larger error changes the trunk more.
# - `units`: with weights of 1, the choice of units decides which property is learned well.
# - `must exist`: for any two tasks there is a $\lambda$ for which each of the two errors is as small as it can be.
# - `common factor`: if both weights are multiplied by 10, the same network is still the best one.
# - `always`: inverse scales give clearly different results from weights of 1.

# %% tags=["answer"]
statements = {
    "larger error": False,  # SOLUTION
    "units": True,  # SOLUTION
    "must exist": False,  # SOLUTION
    "common factor": True,  # SOLUTION
    "always": False,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.task_weights import check_weight_statements

check_weight_statements(statements)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Which two losses gave nearly the same errors in your table? Compare the ratio of the two weights in all three.
#
# </details>

# %% tags=["solution"]
energy = runs[runs["split"].str.startswith("formation")]
energy = energy.pivot(index="seed", columns="method", values="mae")
assert (energy["gap in meV"] > energy["one each"]).all(), "in every run"
assert (energy["gap in meV"] > energy["inverse scale"]).all(), "in every run"
likeness = (energy["inverse scale"] - energy["one each"]).mean()
cost = (energy["gap in meV"] - energy["one each"]).mean()
print(f"formation energy: {cost:+.3f} eV/atom if the gap is in meV")
print(f"formation energy: {likeness:+.3f} eV/atom with inverse scales")
assert abs(likeness) < cost / 3

# %% [markdown] tags=["solution"]
# - **The size of an error** does not count with absolute errors, as you measured; the unit does, since it changes the
#   spread.
# - **The gap in meV** drowns out the formation energy, whose error is far larger in every run. Nothing about the
#   crystals changed, only the unit in which somebody wrote a number.
# - **Weights of 1 and inverse scales** are nearly the same *here*, because the spreads of the two targets, in eV/atom
#   and in eV, happen to be similar numbers. With a modulus in GPa as the second task they would differ.
# - **Nothing guarantees a weight that is best for both.** More weight for one task means less for the other. One weight
#   may still turn out best in both columns of a table, but that says nothing about other tasks. Notebook 6 varies this
#   weight. Inverse scales are a good starting point, but not the best for every purpose.

# %% [markdown]
# ## What to remember
#
# - With absolute errors, a task changes the trunk in proportion to its weight times the spread of its targets, however
#   large its error is. With squared errors the size of the error counts as well. A share of the loss is not a share of
#   the gradient.
# - Spreads have units, so weights have units.
# - Inverse standard deviations of the training targets remove the units. `fit` uses them by default.
# - Only the ratio of the weights matters.
#
# Back to [notebook 6, *Multi-task learning*](06_multi_task.ipynb); on to
# [exercise 5, *Choosing a method*](ex5_choosing_a_method.ipynb).
