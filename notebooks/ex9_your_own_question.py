# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 9: Your own question
#
# **Question.** You have crystals, a property, and an idea of which method predicts it better. How do you turn that into
# a study whose result you can believe, whichever way it comes out?
#
# **You will**
#
# - state a claim, and the smallest difference that your study can detect, before the first training run;
# - choose folds without leaks, and let the checker test them;
# - train two methods, compare them fold by fold, and correct the interval;
# - report what the interval shows, and nothing beyond it.
#
# **You need** notebooks 1, 2 and 7. **Difficulty:** hard. **Time to work:** 120 min. **Time to run:** at most 90 s on two
# cores.

# %% [markdown]
# ## Your data
#
# Unchanged, this page asks about the band gaps of the course's crystals: does a graph network predict them better than
# a forest? Change `DATASET` and `TARGET` in the next cell to ask about your own crystals. `load_dataset` takes
#
# - the path of a folder with CIF or POSCAR files and a table `id_prop.csv`, one line `id,target` for each file; the
#   property is then called `target`;
# - a name of the catalogue, which `python -m course_lib data list` prints, after `python -m course_lib data fetch NAME`.
#
# These functions of the library do the work:
#
# | for | use |
# |---|---|
# | reading crystals, also from CIF files | `course_lib.datasets.load_dataset` |
# | folds | `course_lib.datasets.folds` |
# | training any method by its name, and predicting | `course_lib.predictors.train`, `Predictor.predict` |
# | a paired interval, and the level that it needs | `corrected_interval` and `level_of_each` of `course_lib.experiments.analysis` |
# | a table with many methods at once, and what it could have shown | `summarize_differences` and `detectable_differences` of the same module |

# %%
from course_lib.datasets import load_dataset

DATASET, TARGET = "pbe_prototypes", "band_gap"

crystals = load_dataset(DATASET).dropna(subset=[TARGET])
unit = crystals.attrs["units"][TARGET]
interval = ...  # the result of the study, not known yet
print(f"{len(crystals)} crystals; {TARGET} in {unit}")
crystals[TARGET].describe()[["mean", "std", "min", "max"]].round(2)

# %% [markdown]
# > **Predict.** Five folds, one seed, 15 epochs, and band gaps of which most are zero. On new formulas, which of the
# > two has the smaller mean error, and will that be shown?
# >
# > <!-- predict: study; the graph network, shown; the graph network, not shown; the forest, shown; the forest, not shown -->

# %% [markdown] tags=["task"]
# ## Task 1: What could you detect?
#
# Suppose that the differences of two errors have the standard deviation $s$ over $k$ folds. The folds share training
# crystals, so the standard error of their mean is not $s/\sqrt{k}$, but larger (notebook 1): $s \sqrt{1/k +
# n_\text{test}/n_\text{train}}$, with $n_\text{test}/n_\text{train} = 1/(k-1)$ for folds of equal size. A study with
# $m$ comparisons shows a difference with a probability of about 80 % if the true difference is
#
# $$ \bigl(t_{1 - 0.025/m} + t_{0.8}\bigr)\; s \sqrt{\frac{1}{k} + \frac{1}{k-1}} $$
#
# Here $t_p$ is the quantile of Student's t with $k - 1$ degrees of freedom, `stats.t.ppf(p, k - 1)`. The first
# quantile belongs to the interval, which has the level $1 - 0.05/m$ (notebook 2). The second makes the interval
# exclude zero in four studies out of five.
#
# 1. Write `detectable_effect(spread, n_folds, n_comparisons)`.

# %% tags=["answer"]
import numpy as np
from scipy import stats


def detectable_effect(spread, n_folds, n_comparisons):
    """Return the difference that is shown with a probability of 80 %."""
    # BEGIN SOLUTION
    error = spread * np.sqrt(1 / n_folds + 1 / (n_folds - 1))
    of_interval = stats.t.ppf(1 - 0.025 / n_comparisons, n_folds - 1)
    return (of_interval + stats.t.ppf(0.8, n_folds - 1)) * error
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.capstone import check_detectable

check_detectable(detectable_effect)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# You need three numbers: the standard error with its root, and two quantiles with the same degrees of freedom. Add the
# quantiles, then multiply.
#
# </details>

# %% [markdown]
# How large is $s$? Nobody knows before the study. An earlier study on similar crystals gives an idea, here the recorded
# runs of the course for formation energies on new formulas. We take $s$ as a share of the standard deviation of the
# target.

# %%
from course_lib.experiments.analysis import paired_differences
from course_lib.experiments.records import load_results

ENERGY = "formation_energy_per_atom"
known = load_dataset("pbe_prototypes")
earlier = load_results(
    crystals=known, target=ENERGY, methods=["cgcnn", "random_forest"]
)
earlier = paired_differences(earlier[earlier["split"] == "formula"], "cgcnn")
share = earlier["difference"].std() / known[ENERGY].std()
N_FOLDS = 5
spread = share * crystals[TARGET].std()
print(f"expected spread from fold to fold: {spread:.3f} {unit}")

# %% [markdown] tags=["task"]
# ## Task 2: The claim
#
# Write down what you expect, in a form that can turn out to be wrong. `first` is the method that you expect to be better,
# `second` the other. The names are those of `course_lib.methods.trained()`, such as `"random_forest"`, `"cgcnn"`,
# `"early_fusion"`, `"alignn"`. (The last one takes several minutes here. Methods that read a pretrained network cannot be
# trained here.)
#
# 1. Fill in the claim. `folds` is `"random"` or `"formula"`: you want to know about new formulas. `comparisons` is the
#    number of comparisons that you will look at. `at_least` is the gain that would matter to you, in the unit of the
#    target.

# %% tags=["answer"]
claim = {
    "first": "cgcnn",  # SOLUTION
    "second": "random_forest",  # SOLUTION
    "folds": "formula",  # SOLUTION
    "comparisons": 1,  # SOLUTION
    "at_least": 0.08,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.capstone import check_claim

check_claim(claim, spread, N_FOLDS, crystals[TARGET])

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `detectable_effect(spread, N_FOLDS, 1)` says what your study can see. Claim no less than that.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 3: Folds
#
# 1. Choose `my_folds`, five folds for your claim: a list with (training, validation, test) for each, as row numbers of
#    `crystals`. Each crystal is tested once. No formula has structures in two of the three parts.

# %% tags=["answer"]
from course_lib.datasets import folds

my_folds = folds(crystals, kind="formula", n_splits=N_FOLDS)  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.capstone import check_folds

check_folds(my_folds, crystals)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `folds` has a parameter `kind`. For folds of your own (by element, by prototype), assign whole groups:
# `sklearn.model_selection.GroupKFold`.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 4: Train and compare
#
# 1. Write `compare(errors, n_comparisons)`. `errors` has a row for each method and fold, in any order, with the columns
#    `method` (`"first"` or `"second"`), `fold` and `mae`. Return three numbers: the mean over the folds of the error of
#    the second minus that of the first, and the two ends of its interval.

# %% tags=["answer"]
from course_lib.experiments.analysis import corrected_interval, level_of_each


def compare(errors, n_comparisons):
    """Return mean, low and high of the gain of the first method."""
    # BEGIN SOLUTION
    table = errors.pivot(index="fold", columns="method", values="mae")
    gain = (table["second"] - table["first"]).to_numpy()
    return gain.mean(), *corrected_interval(gain, level_of_each(n_comparisons))
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.capstone import check_comparison

check_comparison(compare)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# `pivot` gives one row per fold and one column per method. `corrected_interval(differences, level)` takes one number
# per fold.
#
# </details>

# %% [markdown] tags=["after"]
# Each method is trained on each fold, with one seed. Networks run for only 15 epochs, so that this page is quick. For a
# result that you want to report, use the method's own settings (leave `settings` out) and three seeds.

# %% tags=["after"] mystnb={"image": {"alt": "Mean absolute error of the two methods of the claim on new formulas, one dot per fold, mean and standard deviation alongside."}}
import tempfile

import pandas as pd
from IPython.display import display

from course_lib.composition import magpie
from course_lib.graphs import CrystalGraphs
from course_lib.methods import LABELS, METHODS
from course_lib.predictors import train
from course_lib.teaching.figures.results import plot_errors

graphs = CrystalGraphs.from_structures(
    crystals["structure"],
    ids=crystals.index,
    composition=magpie(crystals["structure"]),
    targets=crystals[[TARGET]],
    attrs=crystals.attrs,
)


def error_of(method, fold):
    """Train a method on a fold; return its mean absolute error on the test crystals."""
    learned, validation, test = (graphs.subset(rows) for rows in fold)
    settings = {"epochs": 15} if METHODS[method].network else {}
    with tempfile.TemporaryDirectory() as folder:
        predictor = train(method, learned, validation, folder, settings=settings)
    difference = predictor.predict(test)[TARGET] - crystals[TARGET].iloc[fold[2]]
    return difference.abs().mean()


ready = (
    check_claim(claim, spread, N_FOLDS, crystals[TARGET])
    and check_folds(my_folds, crystals)
    and check_comparison(compare)
)
if ready:  # once your answers are right
    errors = pd.DataFrame(
        [
            (role, claim[role], number, error_of(claim[role], fold))
            for number, fold in enumerate(my_folds)
            for role in ("first", "second")
        ],
        columns=["role", "method", "fold", "mae"],
    )
    display(plot_errors(errors.assign(split="formula", seed=0), unit))
    by_role = errors.drop(columns="method").rename(columns={"role": "method"})
    interval = compare(by_role, claim["comparisons"])

# %% tags=["after"]
if ready:
    first, second = (LABELS[claim[role]] for role in ("first", "second"))
    mean, low, high = interval
    print(f"{second} minus {first}: {mean:.3f}, from {low:.3f} to {high:.3f} {unit}")
    print(f"expected spread {spread:.3f}", end=", ")
    found = by_role.pivot(index="fold", columns="method", values="mae")
    print(f"found {(found['second'] - found['first']).std():.3f} {unit}")

# %% tags=["after"]
from course_lib.teaching.predictions import measured

if ready:
    ahead = first if mean > 0 else second
    verdict = "shown" if low > 0 or high < 0 else "not shown"
    display(measured("study", f"{ahead}, by {abs(mean):.3f} {unit}, {verdict}"))

# %% [markdown] tags=["task"]
# ## Task 5: The report
#
# Which of these sentences may your report contain? Judge them only by your own `interval`:
#
# - `first better`: the first method is shown to have the smaller error on new formulas of this dataset.
# - `second better`: the second method is shown to have the smaller error there.
# - `neither shown`: neither is shown to have the smaller error there.
# - `as claimed`: the gain is shown to be at least as large as claimed.
# - `claim excluded`: a gain as large as claimed is excluded.
# - `equal`: the two methods are shown to be equally good.
# - `any crystals`: what is shown holds for crystals of any kind.
# - `because`: it is shown why one of them is better.

# %% tags=["answer"]
report = {
    "first better": False,  # SOLUTION
    "second better": False,  # SOLUTION
    "neither shown": True,  # SOLUTION
    "as claimed": False,  # SOLUTION
    "claim excluded": False,  # SOLUTION
    "equal": False,  # SOLUTION
    "any crystals": False,  # SOLUTION
    "because": False,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.capstone import check_report

check_report(report, interval, claim["at_least"])

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Something is shown if *every* value in the interval agrees with it.
#
# </details>

# %% tags=["solution"]
assert interval[1] < 0 < interval[2], "nothing shown"
assert interval[2] > claim["at_least"], "and the claim not excluded"
assert found.diff(axis=1)["second"].std() > 1.3 * spread, "more spread than expected"

# %% [markdown] tags=["solution"]
# This is an honest end: the graph network is ahead on average, but nothing is shown, and the claim is not excluded
# either. The differences scatter about twice as much from fold to fold as we expected from the earlier study. So the
# study could only detect effects twice as large as planned. Possible reasons: the networks had one seed and few
# epochs, and most gaps are zero (notebook 6). The report says so, with the interval and the spread. The next study
# has a new plan: the methods' own settings, three seeds, and the spread that was found here. What you must not do is
# add folds to this study until its interval excludes zero.
#
# Compare this with your guess: it had two parts, and a method can be ahead without being shown to be better.

# %% [markdown]
# ## What to remember
#
# - The claim, the number of comparisons and the smallest effect come first. A claim chosen after the result can fit any
#   result.
# - Each kind of folds answers one question: whole formulas for new formulas, whole elements for new elements.
# - "Not shown" says something only where the study could have shown it.
# - An interval is about these crystals, these settings and this question. Reasons need an ablation, other crystals another
#   study.
#
# To continue, try three seeds per fold, the methods' own settings, a third method (and $m = 2$), or a dataset of the
# catalogue. Back to [notebook 7, *All methods side by side*](07_side_by_side.ipynb).
