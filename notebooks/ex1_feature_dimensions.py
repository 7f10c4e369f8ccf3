# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 1: How many inputs, and how to keep them in check
#
# **Question.** A network with more weights than training crystals can simply memorise them. What helps against that,
# and how do you show that it does?
#
# **You will**
#
# - count the inputs and the weights of a network that joins two vectors;
# - choose two remedies for overfitting and measure each of them on its own;
# - decide, with an interval, what the measurement shows and what it does not.
#
# **You need** notebook 2. **Difficulty:** easy. **Time to work:** 30 min. **Time to run:** at most 60 s on two cores.

# %% [markdown]
# ## The picture
#
# This is early fusion again, with a graph embedding of 256 numbers instead of 128, and few training crystals. Below
# is one training run that does little against overfitting.

# %%
import torch

from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, EarlyFusion
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
train, validation, test = (graphs.subset(part) for part in fold)


# %% [markdown]
# One training run takes about 120 steps of at most 32 crystals each, however many crystals there are, so all variants
# get about the same number of steps. With more crystals an epoch has more steps, so there are fewer epochs to choose
# the best one from. The seed decides which crystals are drawn from the training set, and it sets the initial weights.

# %%
import math

from course_lib.teaching.checkers.feature_dimensions import BASELINE

N_STEPS, BATCH = 120, 32


def train_once(seed, **changes):
    """Train the baseline with `changes`, on crystals drawn and started by `seed`."""
    settings = BASELINE | changes
    torch.manual_seed(seed)
    few = train.subset(torch.randperm(len(train))[: settings["n_crystals"]])
    network = EarlyFusion(
        CGCNN(embedding=256), dropout=settings["dropout"], hidden=settings["hidden"]
    )
    config = FitConfig(
        epochs=round(N_STEPS / math.ceil(len(few) / BATCH)),  # about equal work
        batch_size=BATCH,
        weight_decay=settings["weight_decay"],
        seed=seed,
    )
    return fit(network, few, validation, config), few


print("BASELINE =", BASELINE)

# %% mystnb={"image": {"alt": "Error on the training crystals and on the validation crystals over the epochs of one training run. The training error keeps falling; the validation error falls at first, then stays about the same, far above."}}
from course_lib.teaching.figures.results import plot_history

first_run, few = train_once(seed=0)
history = first_run.history
curves = {
    "training crystals": history[["train_loss"]].set_axis(["error"], axis=1),
    "validation crystals": history[["val_error"]].set_axis(["error"], axis=1),
}
plot_history(curves, "error", "in standard deviations of the target")

# %% [markdown]
# > **Predict.** The two curves diverge. What does the network learn after that? And which of these would bring them
# > closer: more crystals, or longer training?
# >
# > <!-- predict: closer; more crystals; longer training; both; neither -->

# %% [markdown] tags=["task"]
# ## Task 1: Count
#
# A composition vector of 145 numbers and a graph embedding of 256 are concatenated. A dense layer with 128 outputs reads
# the result.
#
# 1. How many inputs does the layer have?
# 2. How many numbers does it learn, its weights and biases together?

# %% tags=["answer"]
n_inputs = 145 + 256  # SOLUTION
n_weights = n_inputs * 128 + 128  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.feature_dimensions import check_dimensions

check_dimensions(n_inputs, n_weights)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Concatenation writes one vector after the other. Nothing is added or multiplied: $[a, b]$ and $[c, d, e]$ become
# $[a, b, c, d, e]$.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# A dense layer computes $y_k = \sum_j W_{kj} x_j + b_k$. Count the $W_{kj}$ and the $b_k$, with $j$ over all inputs and
# $k$ over all outputs.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "The network of early fusion, its vectors drawn to scale: 145 composition features and a graph embedding of 256 numbers make 401 numbers, which two dense layers turn into the prediction."}}
from IPython.display import display

from course_lib.teaching.figures.schematics import plot_early_fusion

if check_dimensions(n_inputs, n_weights):  # once your answer is right
    first_layer = EarlyFusion(CGCNN(embedding=256)).head[0]
    assert n_inputs == first_layer.in_features
    assert n_weights == sum(values.numel() for values in first_layer.parameters())
    print(f"PyTorch counts the same: {n_inputs} inputs, {n_weights:,} numbers")
    display(plot_early_fusion(145, 256, BASELINE["hidden"]))

# %% [markdown] tags=["task"]
# ## Task 2: Choose two remedies for overfitting
#
# `BASELINE` above holds four settings. Each can work against overfitting if you change it in the right direction:
#
# - `dropout`: the share of the outputs of the hidden layers that is set to zero at random in each step;
# - `weight_decay`: how strongly each step shrinks all weights;
# - `hidden`: the sizes of the hidden layers;
# - `n_crystals`: the number of training crystals, drawn from the training set, which has more.
#
# 1. Choose two of them. Change *one* setting in `first` and *another* in `second`, each in the form
#    `{"n_crystals": 50}`.
# 2. Before you go on: which of the two will lower the error on *test* crystals more, and why?

# %% tags=["answer"]
first = {"dropout": 0.5}  # SOLUTION
second = {"n_crystals": 300}  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.feature_dimensions import check_variants

check_variants(first, second, available=len(train))

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# A network memorises best when it has many weights, few crystals, and nothing that disturbs it. Reverse one of these.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# Usual sizes: dropout 0.1 to 0.5; with AdamW and such a short training run, weight decay 0.1 to 1; one hidden layer
# with 16 to 64 outputs. Or give it more crystals.
#
# </details>

# %% [markdown] tags=["after"]
# Now the baseline and your two variants are trained with five seeds each, and tested twice: on the crystals they were
# trained on, and on test crystals that none of them has seen. With the same seed, baseline and variant draw the same
# crystals. (A variant with more crystals gets others in addition.)

# %% tags=["after"] mystnb={"image": {"alt": "Mean absolute error of the baseline, of dropout and of three times as many crystals, five runs each, on the training crystals and on test crystals. Dropout raises the error on the training crystals and hardly changes that on test crystals. More crystals lower the error on test crystals clearly."}}
import pandas as pd

from course_lib.teaching.figures.results import plot_errors


def label(changes):
    return ", ".join(f"{name} {value}" for name, value in changes.items())


if check_variants(first, second, available=len(train)):  # once your answer is right
    rows = []
    for changes in ({}, first, second):
        for seed in range(5):
            trained, few = train_once(seed, **changes)
            for split, part in (("training crystals", few), ("test crystals", test)):
                error = predict(trained.model, part)[TARGET] - crystals[TARGET]
                name = label(changes) or "baseline"
                rows.append((name, split, seed, error.abs().mean()))
    runs = pd.DataFrame(rows, columns=["method", "split", "seed", "mae"])
    display(plot_errors(runs, "eV/atom"))

# %% [markdown] tags=["task"]
# ## Task 3: Shown, or not shown?
#
# For each seed, take the baseline's error minus the variant's: $d_1, \dots, d_n$. Positive means that the variant
# is better. Their mean $\bar d$ is uncertain; with their standard deviation $s$ (divided by $n - 1$, not by $n$) its
# interval is
#
# $$ \bar d \pm t\, \frac{s}{\sqrt n} $$
#
# where $t$ is a quantile of Student's distribution with $n - 1$ degrees of freedom. You compare two variants with the
# baseline, so each interval gets the level $1 - 0.05/2 = 97.5$ % (Bonferroni's correction, notebook 2). For this
# level 1.25 % of the distribution lies above $t$: `stats.t.ppf(0.9875, n - 1)`. The notebooks widen their intervals
# further, because folds share training crystals. Here every run draws new crystals and new initial weights, so the
# plain interval is right for these test crystals.
#
# 1. Write `shown_better(differences)`: `True` if the whole interval lies on the side where the variant is better.
# 2. Run the cell after the checker. Which of your two remedies is shown to lower the error on test crystals?

# %% tags=["answer"]
import numpy as np
from scipy import stats


def shown_better(differences):
    """Say whether baseline minus variant (n,) shows the variant to be better."""
    # BEGIN SOLUTION
    n = len(differences)
    half = stats.t.ppf(0.9875, n - 1) * np.std(differences, ddof=1) / np.sqrt(n)
    return bool(np.mean(differences) - half > 0)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.feature_dimensions import check_shown_better

check_shown_better(shown_better)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Only one end of the interval matters for the question. Which one, and on which side of zero must it lie?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `np.std(differences, ddof=1)` divides by $n - 1$. The standard error of the mean of $n$ runs is $\sqrt n$ times
# smaller than the spread of single runs.
#
# </details>

# %% tags=["after"]
ready = check_variants(first, second, available=len(train))
if ready and check_shown_better(shown_better):  # once both answers are right
    errors = runs.pivot_table(index="seed", columns=["split", "method"], values="mae")
    for name in (label(first), label(second)):
        for split in ("training crystals", "test crystals"):
            change = errors[split, "baseline"] - errors[split, name]
            verdict = "not shown"
            if shown_better(change.to_numpy()):
                verdict = "shown better"
            elif shown_better(-change.to_numpy()):
                verdict = "shown worse"
            print(f"{name:20s} {split:18s} {change.mean():+.3f} eV/atom  {verdict}")

# %% [markdown] tags=["task"]
# ## Task 4: What do you conclude?
#
# Which of these are true, whichever two remedies you chose? Your own figure helps.
#
# - `smaller gap`: a variant with a smaller difference between training and test error is a better model.
# - `not shown`: where the gain is not shown, the variant has no effect.
# - `one seed`: for a remedy whose gain is not shown, one person with a single run of each could report a success, and
#   another a failure.
# - `early stopping`: the choice of the epoch already keeps the baseline from some overfitting.

# %% tags=["answer"]
conclusions = {
    "smaller gap": False,  # SOLUTION
    "not shown": False,  # SOLUTION
    "one seed": True,  # SOLUTION
    "early stopping": True,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.feature_dimensions import check_conclusions

check_conclusions(conclusions)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Compare the dots of single runs, not only the means. And think of the extreme case: which model has no gap at all?
#
# </details>

# %% [markdown] tags=["solution"]
# This is what the measurement shows for the choice of this solution, dropout and more crystals:

# %% tags=["solution"]
seen, unseen = errors["training crystals"], errors["test crystals"]
dropout, more = label(first), label(second)
mean_gap = (unseen - seen).mean()
assert mean_gap[dropout] < mean_gap["baseline"], "dropout: a smaller gap on average ..."
assert seen[dropout].mean() > seen["baseline"].mean(), "... by a larger training error"
assert not shown_better(unseen["baseline"] - unseen[dropout]), "test: not shown better"
assert shown_better(unseen["baseline"] - unseen[more]), "test: shown better"
gain = unseen["baseline"] - unseen[dropout]
assert gain.min() < 0 < gain.max(), "one seed: dropout wins; another: it loses"
mean_gap.round(3).rename("test minus training error (eV/atom)").to_frame()

# %% tags=["solution"]
from course_lib.teaching.predictions import measured

between = history["val_error"] - history["train_loss"]  # the two curves of one run
early, late = between.iloc[: len(between) // 2], between.iloc[len(between) // 2 :]
measured(
    "closer",
    f"test minus training error {mean_gap[more]:.2f} eV/atom with {more}, "
    f"{mean_gap['baseline']:.2f} without; distance of the two curves, in standard "
    f"deviations, {early.mean():.2f} in the first half of training, "
    f"then {late.mean():.2f}",
)

# %% [markdown] tags=["solution"]
# - **Dropout** does what it promises: on average, training error and test error move closer. But they do so because the
#   *training* error rises. What counts is the error on test crystals, and it is not shown to become smaller.
# - **Three times as many crystals**, with the same number of training steps, are shown to lower the error on test
#   crystals. The two errors come closer as well.
#
# And your guess at the start? Once the two curves diverge, the network learns what holds only for its hundred crystals.
# Longer training drives them further apart, and more crystals bring them closer. But less overfitting is not the same
# as a better model.
#
# All runs keep the weights of the epoch with the smallest validation error, so early stopping is built in and holds
# back part of the overfitting in all of them. And *not shown* does not mean *no effect*: five runs with this spread
# cannot detect small effects.

# %% [markdown]
# ## What to remember
#
# - Concatenation adds the lengths, and the number of weights in the next layer grows with them.
# - A smaller gap between training and test error is not an aim in itself. Ask for the test error.
# - Change one thing at a time, repeat with several seeds, and look at the interval, not at the mean alone.
#
# Back to [notebook 2, *Early fusion*](02_early_fusion.ipynb); on to
# [exercise 2, *Reading alpha*](ex2_reading_alpha.ipynb).
