# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 5: Choosing a method
#
# **Question.** Three people ask you which method they should use. What can you tell them, and on what evidence?
#
# **You will**
#
# - weigh error against training time without dividing one by the other;
# - estimate how long a study takes on more crystals;
# - tell methods that are shown to be worse from those that are not;
# - choose a method for three situations, and name the evidence for each.
#
# **You need** notebook 7. **Difficulty:** medium. **Time to work:** 60 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## The three
#
# - **A** has 30,000 crystals with formation energies, one GPU and two weeks, of which one is for computing. Accuracy
#   on *new formulas* comes first.
# - **B** has 100,000 crystals with formation energies, several GPUs and no deadline. Only the error counts.
# - **C** has a forest and a CGCNN, both trained and in use, and the predictions of both for crystals that they were
#   not trained on. Something better is welcome, but without risk: nothing may be trained again.
#
# There are two kinds of evidence. The first is the course's own runs: the same folds for all methods, several seeds,
# everything recorded. Late fusion is computed from the predictions of its two parents.

# %%
from course_lib.datasets import DATA, load_dataset
from course_lib.experiments.analysis import with_late_fusion
from course_lib.experiments.records import load_results
from course_lib.methods import LABELS, compared

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
trained = load_results(crystals=crystals, target=TARGET, methods=compared())
runs = with_late_fusion(trained, crystals[TARGET])  # the nine methods of notebook 7
new_formulas = runs[runs["split"] == "formula"]
cost = new_formulas.groupby("method")[["mae", "seconds", "n_learned"]].mean()
cost.rename(index=LABELS).round({"mae": 3, "seconds": 1, "n_learned": 0})

# %% [markdown]
# `mae` is the mean absolute error in eV/atom, `seconds` the time of one training run on one core, and `n_learned` the
# number of training crystals.
#
# > **Predict.** Somebody proposes to divide the error by the time, and to take the method with the smallest quotient. Which
# > one is it?
# >
# > <!-- predict: quotient; random forest; CGCNN; late fusion; ALIGNN (small); another one -->

# %% [markdown] tags=["task"]
# ## Task 1: Worth considering
#
# Nobody can tell how many seconds an eV/atom is worth. But a method is out if another one is no worse in error and in
# time, and better in at least one of the two.
#
# 1. Write `worth_considering(errors, seconds)` for two arrays with an entry for each method. It returns an array of
#    True and False: True for each method that no other one rules out.


# %% tags=["answer"]
def worth_considering(errors, seconds):
    """Return an array: True for each method that no other one rules out."""
    # BEGIN SOLUTION
    not_worse = (errors <= errors[:, None]) & (seconds <= seconds[:, None])
    better = (errors < errors[:, None]) | (seconds < seconds[:, None])
    return ~(not_worse & better).any(axis=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.choosing import check_worth_considering

check_worth_considering(worth_considering)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Start with two loops: for each method, look at each other one. `errors[:, None]` makes a column of the array; compared
# with the row `errors` it gives a table of all pairs.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Mean absolute error on new formulas against training time, one mark per method; a dashed line joins those that no other beats in both: random forest, CGCNN, late fusion, intermediate fusion and ALIGNN (small)."}}
from IPython.display import display

from course_lib.teaching.figures.comparison import plot_error_against_time
from course_lib.teaching.predictions import measured

if check_worth_considering(worth_considering):  # once your answer is right
    kept = worth_considering(cost["mae"].to_numpy(), cost["seconds"].to_numpy())
    print("worth considering:", ", ".join(LABELS[name] for name in cost.index[kept]))
    quotient = cost["mae"] / cost["seconds"]
    print("longest training:", LABELS[cost["seconds"].idxmax()])
    display(measured("quotient", LABELS[quotient.idxmin()]))
    display(plot_error_against_time(new_formulas, "eV/atom"))

# %% tags=["solution"]
assert quotient.idxmin() == cost["seconds"].idxmax()

# %% [markdown] tags=["solution"]
# Was this your prediction? Here the quotient picks the method that takes longest, because a long time makes it small.
# It rewards wasted time.

# %% [markdown] tags=["task"]
# ## Task 2: How long will it take?
#
# The times depend on the number of training crystals. One epoch over twice as many takes a graph network twice as long.
# And a study is more than one training run: here it is eight settings on two folds, then three seeds on each of five
# folds, which makes 31 training runs.
#
# 1. Write `campaign_days(seconds, n_learned, n_crystals, n_trainings)`. `seconds` is the recorded time of one training
#    run on `n_learned` crystals. Return the *days* that `n_trainings` training runs on `n_crystals` take, one after the
#    other.


# %% tags=["answer"]
def campaign_days(seconds, n_learned, n_crystals, n_trainings):
    """Return the days that all training runs take, one after the other."""
    # BEGIN SOLUTION
    one_training = seconds * n_crystals / n_learned
    return n_trainings * one_training / (24 * 60 * 60)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.choosing import check_campaign_days

check_campaign_days(campaign_days)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `seconds / n_learned` is the time for one crystal. A day has 24 · 60 · 60 seconds.
#
# </details>

# %% tags=["after"]
if check_campaign_days(campaign_days):  # once your answer is right
    for situation, n_learned in {
        "A": 24_000,
        "B": 80_000,
    }.items():  # four folds of five
        days = [
            campaign_days(row.seconds, row.n_learned, n_learned, 31)
            for row in cost.itertuples()
        ]
        table = cost.assign(days=days).rename(index=LABELS)["days"].round(2)
        print(f"{situation}: days on one core\n{table.to_string()}\n")

# %% [markdown] tags=["after"]
# That is on one core, with four fifths of the crystals in each training set. A GPU should be faster; by how much has
# to be measured. The estimate makes two assumptions: the same number of epochs, and crystals as large as ours.

# %% [markdown] tags=["task"]
# ## Task 3: Which methods remain?
#
# A's formulas are new, so look at the folds by formula (`split` is `"formula"`). Some folds are harder than others, for every
# method. So compare in pairs, on the same test crystals:
#
# 1. Write `contenders(runs)`. Among the runs on new formulas it finds the method with the smallest mean error. It
#    returns a list of this method and all methods that are *not shown to be worse* than it: those whose interval of the
#    difference does not lie above zero.
#
# `summarize_differences(runs, reference)` gives the `mean` of the difference to a reference method and its interval from
# `low` to `high`, positive where the reference is better. The more methods are compared, the wider it makes each interval
# (Bonferroni's correction, notebook 2). Its rows are labelled (split, method). The figure below the task shows both
# kinds of folds, twice as many comparisons, so its intervals are wider than yours.

# %% tags=["answer"]
from course_lib.experiments.analysis import summarize_differences


def contenders(runs):
    """Return the best method on new formulas, and those not shown to be worse."""
    # BEGIN SOLUTION
    new = runs[runs["split"] == "formula"]
    best = new.groupby("method")["mae"].mean().idxmin()
    differences = summarize_differences(new, best).loc["formula"]
    return [best, *differences.index[differences["low"] <= 0]]
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.choosing import check_contenders

check_contenders(contenders)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# `runs.groupby("method")["mae"].mean()` has a mean for each method, and `.idxmin()` names the smallest. Keep the runs that
# you need before you do that.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `summarize_differences(new, best).loc["formula"]` is a table with one row for each of the other methods. The reference
# itself has no row.
#
# </details>

# %% tags=["after"] mystnb={"image": {"alt": "Difference in mean absolute error to the method with the smallest mean on new formulas, for each other method on both kinds of folds: one dot per fold, mean and corrected interval, and a line at zero."}}
from course_lib.teaching.figures.results import plot_paired_differences

if check_contenders(contenders):  # once your answer is right
    best, *tied = contenders(runs)
    print("smallest mean:", LABELS[best])
    print("not shown worse:", ", ".join(LABELS[name] for name in tied) or "no other")
    display(plot_paired_differences(runs, best, "eV/atom"))

# %% tags=["solution"]
assert "random_forest" not in contenders(runs)

# %% [markdown]
# ## The other evidence
#
# Our runs had fewer than two thousand training crystals. For large data there is a public leaderboard, Matbench
# {cite:p}`dunn2020matbench`, with mean absolute errors of other people's models on eight sets of crystals. Each column
# has its own crystals and its own unit, so errors can be compared only *within* a column. Between columns we can
# compare the ratio of two errors of the same column:

# %% mystnb={"image": {"alt": "Error of a random forest on prepared features divided by the error of ALIGNN, for eight Matbench datasets from the smallest to the largest. The ratio is above one everywhere, largest for the two energies. The number of crystals alone does not order it."}}
import pandas as pd

from course_lib.datasets import catalogue
from course_lib.teaching.figures.choosing import plot_error_ratios

board = pd.read_csv(DATA / "matbench_leaderboard.csv", index_col="model")
ratios = board.loc["RF-SCM/Magpie"] / board.loc["ALIGNN"]
crystals_of = catalogue()["crystals"]
sizes = {task: crystals_of[f"matbench_{task.split()[0]}"] for task in board}
plot_error_ratios(ratios, sizes, "error of the forest divided by the error of ALIGNN")

# %%
board[["perovskites (eV/cell)", "mp_e_form (eV/atom)"]]

# %% [markdown]
# Three of these models are of a kind that the course has, too: `CGCNN v2019`, `ALIGNN` and the forest
# `RF-SCM/Magpie`. But this forest reads a description of the structure alongside Magpie, the sine Coulomb matrix;
# that of the course reads only Magpie. And this ALIGNN is larger than ours.

# %% [markdown] tags=["task"]
# ## Task 4: Three answers
#
# 1. For A, B and C, give a pair: a method of this course, and a reason. The methods are those in the column `method` of
#    `runs`. (The leaderboard may have better rows still. They are not part of this task.)
#
# The reasons to choose from:
#
# - `"holds and fits"`: it is not shown to be worse than the best on new formulas, and 31 training runs fit into seven
#   days;
# - `"large data"`: on a public dataset of this size and property it has the smallest error of the methods compared;
# - `"no new training"`: it is made from existing models, without another training run;
# - `"smallest mean"`: its mean error in our runs is the smallest;
# - `"smallest quotient"`: its error divided by its time is the smallest;
# - `"random folds"`: it is the best one on random folds;
# - `"across datasets"`: its error on the leaderboard is smaller than any of our errors.

# %% tags=["answer"]
choices = {
    "A": ("alignn", "holds and fits"),  # SOLUTION
    "B": ("alignn", "large data"),  # SOLUTION
    "C": ("late_fusion", "no new training"),  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.choosing import check_choices

check_choices(choices, runs, board)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# What is scarce in each situation: time, evidence at that size, or trust in something new? This gives the reason, and
# the reason gives the method.
#
# </details>

# %% tags=["after"]
if check_choices(choices, runs, board):  # once your answer is right
    for reference in ("cgcnn", "random_forest"):
        pair = runs[runs["method"].isin(["late_fusion", reference])]
        print(f"late fusion minus {LABELS[reference]} (eV/atom)")
        display(summarize_differences(pair, reference).round(3))

# %% tags=["solution"]
for reference in ("cgcnn", "random_forest"):
    pair = runs[runs["method"].isin(["late_fusion", reference])]
    against = summarize_differences(pair, reference)
    assert (against["low"] <= 0).all(), "not shown to be worse"
    assert (against["high"] < 0).all() == (reference == "random_forest")

# %% [markdown] tags=["solution"]
# - **A.** ALIGNN has the smallest mean, and its 31 training runs fit into the week. Not all others are shown to be
#   worse on new formulas, so CGCNN, for example, would be a choice, too: eight comparisons need wide intervals, and
#   five folds are few. Our runs had far fewer crystals, and perhaps smaller ones: time one training run of your own, and let
#   *your* folds by formula decide.
# - **B.** At this size, and for energies, ALIGNN is ahead of CGCNN, and far ahead of a forest. The leaderboard has no
#   row for the hybrids of this course, so it says nothing about them.
# - **C.** A blend of the existing models costs one number. By the tables above it is shown to be better than the
#   forest, and neither better nor worse than CGCNN. So do not promise much. But with a weight of zero or one the blend
#   can be undone. (Its time in the tables is that of its two parents, which C has already spent.)

# %% [markdown]
# ## What to remember
#
# - Error divided by time rewards wasted time. Say which methods are beaten in both; the choice among the rest is a
#   decision.
# - A time holds for a number of crystals, an error for a dataset.
# - "Not shown to be worse" is often all that an experiment says. Then choose by other criteria.
#
# Back to [notebook 7, *All methods side by side*](07_side_by_side.ipynb); on to
# [exercise 6, *Attention fusion*](ex6_attention_fusion.ipynb).
