# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Late fusion
#
# **Question.** We have two trained models, one on composition and one on structure. Is a weighted mean of their
# predictions better than either, and which weight is the right one?
#
# **You will learn to**
#
# - blend the predictions of two trained models with one number, $\alpha$;
# - choose $\alpha$ on crystals that the models were not trained on, and see what goes wrong otherwise;
# - find the best $\alpha$ exactly, without trying values;
# - use the correlation of two models' errors to estimate how much a blend can gain.
#
# **You need** notebooks 1 and 2. **Time to read:** 40 min. **Time to run:** at most 40 s on two cores.

# %% [markdown]
# ## The idea
#
# Early fusion trained one network on both views. Late fusion leaves the two models of notebook 1 as they are and
# averages their predictions:
#
# $$ \hat y = \alpha\, \hat y_{\text{RF}} + (1 - \alpha)\, \hat y_{\text{GNN}}, \qquad 0 \le \alpha \le 1 $$
#
# - $\hat y_{\text{RF}}$: what the random forest predicts from the composition;
# - $\hat y_{\text{GNN}}$: what the graph network, here CGCNN, predicts from the structure;
# - $\alpha$: the weight of the forest. With $\alpha = 0$ the blend is the network alone, with $\alpha = 1$ it is the
#   forest alone.

# %% mystnb={"image": {"alt": "Two branches. The first: composition, 145 Magpie features, random forest, prediction of the forest, times alpha. The second: crystal graph, CGCNN convolutions, mean and dense layers, prediction of the network, times one minus alpha. Both arrows meet in a sum, which is the prediction."}}
from course_lib.teaching.figures.late_fusion import plot_late_fusion

plot_late_fusion()

# %% [markdown]
# For example, the forest says −1.0 eV/atom, CGCNN says −1.5 eV/atom, and $\alpha = 0.2$:

# %%
# NBVAL_CHECK_OUTPUT
alpha, forest_says, cgcnn_says = 0.2, -1.0, -1.5
blended = alpha * forest_says + (1 - alpha) * cgcnn_says
print(f"{blended:.1f} eV/atom")

# %% [markdown]
# The blend lies between the two. Where one is too high and the other too low, their errors partly cancel, and the blend
# can be better than both.
#
# > **Predict.** CGCNN had the smaller error in notebook 1. Should the forest, the weaker model, get any weight at all?
# > Choose an $\alpha$ for folds by formula. For random folds, would you take a larger or a smaller one?
# >
# > <!-- predict: weight; none; about a tenth; about a third; half -->

# %% [markdown]
# ## Where do the predictions come from?
#
# $\alpha$ is fitted to data, like any other parameter. So we need predictions of both models together with the true
# values. We can take them from two places:
#
# - the **training set**: both models give predictions for it right away;
# - **out-of-fold** predictions: the data are split into five folds, and each crystal is predicted by models trained on
#   the other four.
#
# Predictions are matched by the ids of their crystals, never by their place in a list. The loader of the training
# batches shuffles, so its order is not that of the table. `course_lib.late_fusion` takes pandas Series and joins them
# by id.

# %%
import pandas as pd

from course_lib.datasets import load_dataset
from course_lib.experiments.records import load_results

TARGET = "formation_energy_per_atom"
FOREST, NETWORK = "random_forest", "cgcnn"
crystals = load_dataset("pbe_prototypes")
y = crystals[TARGET]
parents = {"crystals": crystals, "target": TARGET, "methods": [FOREST, NETWORK]}
runs = load_results(**parents)
memory = load_results(study="training_predictions", **parents)


def by_crystal(rows):
    """Predictions of some runs as one Series, indexed by crystal id."""
    return pd.concat([pd.Series(run.predictions, run.ids) for run in rows.itertuples()])


# %%
predictions = {}
for split in ("random", "formula"):
    first = runs[(runs["split"] == split) & (runs["seed"] == 0)]
    learned = memory[memory["split"] == split]
    for source, rows in {"training set": learned, "out of fold": first}.items():
        predictions[split, source] = pd.DataFrame(
            {name: by_crystal(group) for name, group in rows.groupby("method")}
        )
errors = pd.DataFrame(
    {key: table.sub(y, axis=0).abs().mean() for key, table in predictions.items()}
)
errors.T.round(3)

# %% [markdown]
# Mean absolute errors in eV/atom. *Training set* is that of the first fold; *out of fold* are the test crystals of
# all five. Both models are better on their training crystals than on others: they memorise.

# %%
for split in ("random", "formula"):
    flattery = errors[split, "out of fold"] / errors[split, "training set"]
    print(split, {name: f"{factor:.1f} times" for name, factor in flattery.items()})
    assert (flattery > 1.3).all(), "both flatter themselves on their training set"

# %% [markdown]
# The forest memorises less than the network, though decision trees can learn a training set by heart. There are three
# reasons. First, it cannot tell polymorphs apart. The best guess from the composition alone is the median of each
# formula's polymorphs, and even this guess has the error below. (It is smaller than in notebook 1, because some of
# these crystals have no polymorphs.)

# %%
seen = predictions["random", "training set"].index
formula = crystals.loc[seen, "formula"]
floor = (y[seen] - y[seen].groupby(formula).transform("median")).abs().mean()
print(f"{floor:.3f} eV/atom")
assert errors.loc[FOREST, ("random", "training set")] > floor

# %% [markdown]
# Second, its trees are not fully grown: a leaf holds at least three crystals. Third, each tree is grown on a
# *bootstrap sample*, drawn with replacement, which leaves out about a third of the crystals; for these the tree
# predicts as for new ones. We remove the reasons one after the other. The first one disappears if we keep one crystal
# of each formula:

# %%
from course_lib.composition import magpie
from course_lib.makers import make_learner
from course_lib.methods import METHODS

assert METHODS[FOREST].settings["min_samples_leaf"] == 3, "as told above"
once = crystals.loc[seen].drop_duplicates("formula")
features, remembered = magpie(once["structure"]), {}
for name, settings in {
    "one crystal per formula": {},
    "and leaves of one crystal": {"min_samples_leaf": 1},
    "and all crystals in each tree": {"min_samples_leaf": 1, "bootstrap": False},
}.items():
    forest = make_learner(FOREST, features.shape[1], settings=settings)
    forest.fit(features, once[TARGET])
    remembered[name] = (forest.predict(features) - once[TARGET]).abs().mean()
    print(f"{remembered[name]:.3f} eV/atom on the training set: {name}")
leaves_of_three, leaves_of_one, all_crystals = remembered.values()
assert leaves_of_three > leaves_of_one > 0.05
assert all_crystals < 1e-3, "now it knows them by heart"

# %% [markdown]
# The forest repeats what it was trained on only when all three reasons are removed. In this order, the last step has
# the largest effect.

# %% [markdown]
# ## Wrong: alpha from the training set
#
# > **Predict.** On random folds, the network fits its training set better than the forest can. Will the $\alpha$ from
# > that training set be too small or too large?
# >
# > <!-- predict: leak; too small; too large; about right -->
#
# First find out by hand. Choose the folds and the predictions, and move $\alpha$ with the mouse or the arrow keys.

# %%
from course_lib.teaching.explorers.late_fusion import alpha_explorer, live_alpha

pairs = {key: table[[FOREST, NETWORK]] for key, table in predictions.items()}
alpha_explorer(y, pairs, unit="eV/atom")

# %% [markdown]
# One panel has the error against $\alpha$ in steps of 0.01. The star marks its smallest value, and the dashed line
# belongs to the other predictions. The other panel has one dot per crystal, for the blend, for CGCNN alone and for the
# forest alone. Only some of the crystals are drawn; the errors are those of all.
#
# 1. Training set, random folds: move to the star. What is its $\alpha$?
# 2. Leave $\alpha$ there and switch to *out of fold*. What happens to the cloud of CGCNN, and to its error? How far
#    away is the new star?
# 3. Do the same with the folds by formula. Does $\alpha$ change in the same direction?
#
# The slider above moves in steps, and needs no Python. With Python running, you can set any $\alpha$, for any of the
# predictions:

# %%
table = predictions["formula", "out of fold"]
live_alpha(y, table[FOREST], table[NETWORK], "eV/atom")

# %% [markdown]
# Now we compute the best $\alpha$ for all four sets of predictions. Each is then judged on the out-of-fold predictions:

# %%
from course_lib.late_fusion import blend, optimal_alpha

rows = []
for (split, source), table in predictions.items():
    weight = optimal_alpha(y[table.index], table[FOREST], table[NETWORK])
    judged = predictions[split, "out of fold"]
    mixed = blend(weight, judged[FOREST], judged[NETWORK])
    rows.append((split, source, weight, (mixed - y).abs().mean()))
columns = ["split", "alpha from", "alpha", "error of the blend"]
weights = pd.DataFrame(rows, columns=columns).set_index(["split", "alpha from"])
weights.round(4)

# %%
ratio = weights["alpha"].unstack()
ratio = ratio["training set"] / ratio["out of fold"]
print(ratio.round(2).to_string())
assert ratio["random"] > 2
assert ratio["formula"] < 1 / 2

# %%
from course_lib.teaching.predictions import measured

direction = "too large" if ratio["random"] > 1 else "too small"
measured(
    "leak", f"{direction}: {ratio['random']:.1f} times the weight from out of fold"
)

# %% [markdown]
# The training set compares how well two models *memorise*. That says little about how well they *predict*. Both
# weights from it are wrong by more than a factor of two: too large on random folds, too small on folds by formula.
# The direction depends on the data and the models. The chapter that this course started from ([errata](errata.ipynb))
# chose $\alpha$ in this way. It also took the predictions from a shuffled loader, so predictions and true values did
# not even belong to the same crystals.
#
# Here the harm is small, because all of these weights are small: CGCNN is far ahead, and the forest hardly matters. You
# cannot know that before you have looked at predictions for crystals that the models have not seen.
#
# ## Right: alpha from the other folds
#
# One trap is left. If $\alpha$ is chosen on all out-of-fold predictions and judged on the same ones, each crystal has
# influenced its own weight. With one parameter and many crystals the bias is small, and it is easily avoided: the
# weight for a fold comes from the other four folds. This is *cross-fitting*.

# %%
from course_lib.late_fusion import cross_fitted

one_start = runs[(runs["split"] == "formula") & (runs["seed"] == 0)]
fold_of = pd.concat(
    [
        pd.Series(run.fold, run.ids)
        for run in one_start[one_start["method"] == NETWORK].itertuples()
    ]
)
out_of_fold = predictions["formula", "out of fold"]
mixed, alpha_of_fold = cross_fitted(
    y, out_of_fold[FOREST], out_of_fold[NETWORK], fold_of
)
print(f"error of the blend: {(mixed - y).abs().mean():.3f} eV/atom")
alpha_of_fold.round(3)

# %% [markdown]
# ## No grid needed
#
# One could try $\alpha = 0, 0.01, 0.02, \dots$, but there is an exact way. With the residual $r_i = y_i - \hat
# y_{\text{GNN},i}$ of the network and the difference $d_i = \hat y_{\text{RF},i} - \hat y_{\text{GNN},i}$, the error of
# crystal $i$ is $r_i - \alpha d_i$:
#
# $$ \sum_i |r_i - \alpha d_i| = \sum_i |d_i| \left| \frac{r_i}{d_i} - \alpha \right| $$
#
# This is the sum of the distances of $\alpha$ from the points $r_i / d_i$, each with the weight $|d_i|$. The number
# with the smallest weighted distance from given points is their **weighted median**: sort the points, and go up until
# half of the weight is reached. Sorting is all the work. Crystals on which the two models agree ($d_i = 0$) do not
# count. Where the median is below 0 or above 1, the nearer end is the best $\alpha$.

# %%
import numpy as np

from course_lib.late_fusion import alpha_path

rest = y - out_of_fold[NETWORK]
difference = out_of_fold[FOREST] - out_of_fold[NETWORK]
points = pd.DataFrame({"point": rest / difference, "weight": difference.abs()})
points = points.sort_values("point")
right = weights.loc[("formula", "out of fold"), "alpha"]
half = points["weight"].sum() / 2
median = points["point"][points["weight"].cumsum() >= half].iloc[0]
grid = alpha_path(y, out_of_fold[FOREST], out_of_fold[NETWORK], np.linspace(0, 1, 11))
print(f"weighted median {median:.4f}, optimal_alpha {right:.4f}")
print(f"best of a grid of 11: {grid.loc[grid['mae'].idxmin(), 'alpha']:.1f}")
assert abs(median - right) < 1e-6

# %% [markdown]
# ## When does blending help?
#
# Errors cancel only where they differ. If both models are wrong about the same crystals, by the same amounts, their
# mean is just as wrong. What counts is the **correlation** $\rho$ of their errors. For the squared error, and errors
# that are zero on average, the best weight of model $a$ follows from the standard deviations $s_a$ and $s_b$ of the
# two models' errors:
#
# $$ \alpha = \frac{s_b^2 - \rho\, s_a s_b}{s_a^2 + s_b^2 - 2 \rho\, s_a s_b} $$
#
# {cite:p}`bates1969combination`, clipped to the range from 0 to 1. [Exercise 2](ex2_reading_alpha.ipynb) derives it.
#
# > **Predict.** How similar are the errors of forest and CGCNN? Think of what each of them cannot see.
# >
# > <!-- predict: correlation; hardly (correlation below 0.3); somewhat (0.3 to 0.7); very much (above 0.7) -->

# %% mystnb={"image": {"alt": "Error of CGCNN against error of the random forest, one dot per crystal, in two panels for random folds and folds by formula. Both clouds rise slightly to the right and are wider than high, because the forest's errors are the larger ones."}}
from course_lib.experiments.analysis import errors_by_crystal
from course_lib.teaching.figures.late_fusion import plot_error_pairs

errors_of_both = {
    split: errors_by_crystal(runs, y, split).rename(
        columns={FOREST: "forest", NETWORK: "CGCNN"}
    )
    for split in ("random", "formula")
}
plot_error_pairs(errors_of_both, "eV/atom")

# %%
rho_of = {split: pair.corr().iloc[0, 1] for split, pair in errors_of_both.items()}
measured(
    "correlation", ", ".join(f"{rho:.2f} ({split})" for split, rho in rho_of.items())
)

# %% mystnb={"image": {"alt": "Gain of the best blend over the better model against the correlation of their errors: three falling lines for equally good models and for one that is 25 or 60 percent worse, and two marks for what was measured on random and formula folds."}}
from course_lib.late_fusion import alpha_from_errors, blended_error_variance
from course_lib.teaching.figures.late_fusion import plot_blending_gain

found = {}
for split, pair in errors_of_both.items():
    s_forest, s_cgcnn = pair.std()
    rho = rho_of[split]
    best = alpha_from_errors(s_forest, s_cgcnn, rho)
    after = blended_error_variance(best, s_forest, s_cgcnn, rho) ** 0.5
    gain = 1 - after / min(s_forest, s_cgcnn)
    found[split] = (rho, gain)
    print(f"{split}: correlation {rho:.2f}, alpha {best:.2f}, gain {gain:.1%}")
plot_blending_gain(measured=found)

# %%
for split, pair in errors_of_both.items():
    limit = pair["CGCNN"].std() / pair["forest"].std()
    print(f"{split}: the blend gains if the correlation is below {limit:.2f}")
assert all(rho > 0.3 for rho, _ in found.values()), "their errors correlate"
assert all(0 < gain < 0.02 for _, gain in found.values()), "little is left to gain"

# %% [markdown]
# The errors are somewhat similar; a formula that is unlike all others may be hard for both models. By the formula
# above, the worse model $a$ gets no weight at all when $\rho \ge s_b / s_a$. The errors of the forest are much
# larger, so this limit is low, and the correlations are only just below it. The network knows nearly everything that
# the forest knows, and a blend of the two gains next to nothing. The curves show what two equally good models with
# the same correlation would gain.
#
# ## Late fusion against its parents
#
# Now we use all folds and all seeds, and each blend takes its weight from the other folds.

# %%
from course_lib.experiments.analysis import summarize_differences, with_late_fusion

late = with_late_fusion(runs, y)
blends = late[late["method"] == "late_fusion"].groupby("split", sort=False)["alpha"]
blends.agg(["mean", "std"]).round(2)

# %%
said = (f"{alpha:.2f} on {split} folds" for split, alpha in blends.mean().items())
measured("weight", ", ".join(said))

# %% mystnb={"image": {"alt": "Mean absolute error of random forest, CGCNN and late fusion on random and on formula-grouped folds, one dot per run, with mean and standard deviation. CGCNN and late fusion look the same on both; the forest lies far above."}}
from course_lib.teaching.figures.results import plot_errors

plot_errors(late, "eV/atom")

# %% [markdown]
# $R^2$ from the same predictions (notebook 1 says what it hides) shows the same picture: the forest is behind, CGCNN
# and the blend are close together.

# %%
from sklearn.metrics import r2_score

r2 = [r2_score(y[run.ids], run.predictions) for run in late.itertuples()]
r2 = late.assign(r2=r2).pivot_table("r2", "split", "method", sort=False)
assert (r2[FOREST] < r2[[NETWORK, "late_fusion"]].min(axis=1) - 0.05).all()
assert (r2["late_fusion"] - r2[NETWORK]).abs().max() < 0.02
r2.round(3)

# %% mystnb={"image": {"alt": "Difference in mean absolute error to late fusion on the same test crystals, for random forest and CGCNN on both kinds of folds: one dot per fold, mean and corrected interval, and a line at zero."}}
from course_lib.teaching.figures.results import plot_paired_differences

plot_paired_differences(late, "late_fusion", "eV/atom")

# %%
difference = summarize_differences(late, "late_fusion")
difference["blend shown better"] = difference["low"] > 0
against = {name: difference.xs(name, level="method") for name in (FOREST, NETWORK)}
assert against[FOREST]["blend shown better"].all(), "the blend beats the forest"
assert not against[NETWORK]["blend shown better"].any(), "not shown to beat CGCNN"
assert (against[NETWORK]["low"] > -0.01).all(), "nor does it cost much"
assert (against[NETWORK]["high"] > 0).all(), "nor is it shown to be worse"
difference.round(4)

# %% [markdown]
# Each row is parent minus blend, in eV/atom. The blend beats the forest, but so does CGCNN alone. Compared with CGCNN
# the difference is at most about a hundredth of its error, and its interval includes zero. The forest does get some
# weight, but little on both tests. **On these crystals late fusion is CGCNN with a pinch of forest.** It does no
# harm: the weight from the other folds reflects that the forest has little to add. With two models that are equally
# good and differ in their errors, it would gain more; [notebook 8](08_hybrids_that_win.ipynb) has such a pair.
#
# ## What we saw
#
# - One number joins two trained models. Nothing is trained again.
# - $\alpha$ comes from predictions for crystals that the models were not trained on. The training set gives another
#   number, because there the models memorise.
# - The best $\alpha$ for the absolute error is a weighted median: exact, and as fast as sorting.
# - The less correlated the errors of two models are, and the closer the models are in quality, the more their blend
#   gains.
#
# | strengths | weaknesses |
# |---|---|
# | works with any two models, also with those that cannot be retrained | out-of-fold predictions cost one training run per fold |
# | two opinions: where they differ a lot, take care | two models to keep and to run |
# | only one number to tune, with an exact solution | one weight for all crystals, though some need structure more than others |
#
# **When this stops being true.** With few crystals the forest is ahead of CGCNN (the learning curves of notebook 2). Does
# a blend then give it more weight? We have not measured that. With more crystals, or for a property that depends on the
# composition alone, measure again.
#
# ## Check yourself
#
# 1. A blend has $\alpha = 0.2$. What does that say about the two models?
#    - `a` The network is four times as good as the forest: its error is a quarter as large.
#    - `b` The forest adds nothing.
#    - `c` Only that the network gets four times the weight of the forest.
# 2. Two models have errors with correlation 1, and one model's errors are larger. What is the best blend without
#    negative weights?
#    - `a` Half of each.
#    - `b` The better model alone.
#    - `c` Some of each, with more weight for the better model.
# 3. Why can the forest not memorise our training set?
#    - `a` It has too few trees: with ten times as many it would reach each training crystal, one after the other.
#    - `b` Polymorphs share a prediction, leaves hold three crystals or more, and each tree is grown without a third of
#      the crystals.
#    - `c` Only networks can memorise.
# 4. In the explorer, the error of the blend on the training set is far smaller than out of fold. Why not report that
#    one?
#    - `a` Because alpha was chosen there, so that the error had to come out smaller.
#    - `b` Because there are fewer training crystals.
#    - `c` Because it says how well the models remember their crystals.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_3
#
# check_yourself_3(..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. The network gets four times the weight of the forest. It does not say that the network is four times as good: the
#    weight depends on both errors *and* on their correlation.
# 2. If the errors are equally large, every blend is the same. If they are not, the best blend is the better model
#    alone, unless negative weights are allowed.
# 3. The polymorphs of a formula have the same composition, so it must give them one prediction. Its leaves hold three
#    crystals or more, and each tree is grown without about a third of the crystals. It could memorise them if every
#    crystal had its own formula, the trees were fully grown, and each of them saw all crystals.
# 4. It says how well the two models remember crystals that they were trained on. Nobody needs a prediction for those.
#    What counts is crystals that neither model has seen, and out-of-fold predictions are for exactly those.
#
# </details>
#
# ## Exercises
#
# [Exercise 2: Reading alpha](ex2_reading_alpha.ipynb) asks what a weight means, derives the best one, and lets you find
# the bugs in a procedure that gives the wrong one. In JupyterLab, work in the copy in `work/exercises`, which has no
# solutions.
#
# ## Further reading
#
# Combining forecasts by the correlation of their errors: {cite:t}`bates1969combination`. Learning the combination from
# out-of-fold predictions: {cite:t}`wolpert1992stacked`.
#
# ## A quest
#
# Now blend two other models, early fusion of notebook 2 and CGCNN, for the crystals with fluorine. The table has their
# energies in eV/atom: computed, and as recorded runs predict them for new formulas. Which $\alpha$, the weight of early
# fusion, gives the smallest mean absolute error over these crystals?

# %%
from course_lib.teaching.checkers.quests import fluorides

table = fluorides(crystals)
print(table.round(2).head(3))
alpha = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_3

check_quest_3(alpha, crystals)
