# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 2: Reading alpha
#
# **Question.** A blend of a forest and a graph network came out best with a weight of 0.20 for the forest. What does
# that number say about the two models, and what does it not say?
#
# **You will**
#
# - blend two predictions by hand;
# - tell what a weight means from what it does not mean;
# - derive the best weight from the sizes of two errors and their correlation;
# - reverse the question: which correlation does a weight of 0.20 imply?
# - find two bugs in a procedure that gives the wrong weight.
#
# **You need** notebook 3. **Difficulty:** easy. **Time to work:** 50 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## The picture
#
# Late fusion blends two predictions:
#
# $$ \hat y = \alpha\, \hat y_{\text{RF}} + (1 - \alpha)\, \hat y_{\text{GNN}} $$
#
# with the forest's prediction $\hat y_{\text{RF}}$, CGCNN's $\hat y_{\text{GNN}}$, and the forest's weight $\alpha$.
# To get round numbers, we made up both models' predictions for many crystals, with normally distributed errors.

# %% mystnb={"image": {"alt": "Mean absolute error of the blend against alpha, the weight of the forest: a curve that bends upwards, smallest at alpha 0.20, higher at 0, where CGCNN is alone, and highest at 1, where the forest is alone."}}
from course_lib.late_fusion import alpha_path
from course_lib.teaching.checkers.reading_alpha import two_models
from course_lib.teaching.figures.late_fusion import plot_alpha_paths

models = two_models()
path = alpha_path(models["y"], models["forest"], models["cgcnn"])
plot_alpha_paths({"two made-up models": path}, "eV/atom")

# %%
errors = models[["forest", "cgcnn"]].sub(models["y"], axis=0)
errors.abs().mean().rename("mean absolute error (eV/atom)").round(3).to_frame()

# %%
assert round(path.loc[path["mae"].idxmin(), "alpha"], 2) == 0.20
assert (errors.abs().mean().round(6) == [0.035, 0.028]).all()

# %% [markdown]
# > **Predict.** The forest's error is a quarter larger than CGCNN's. Without looking further: does that alone explain a
# > weight as small as 0.20?
# >
# > <!-- predict: explain; yes; no -->

# %% [markdown] tags=["task"]
# ## Task 1: Blend one prediction
#
# For one crystal the forest predicts `-1.50` eV/atom and CGCNN `-1.80` eV/atom. The forest's weight is $\alpha = 0.20$.
#
# 1. What does the blend predict, in eV/atom?

# %% tags=["answer"]
blended = 0.20 * -1.50 + (1 - 0.20) * -1.80  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.reading_alpha import check_blended_prediction

check_blended_prediction(blended)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# The two weights add up to one. The blend lies closer to the model with the larger weight.
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 2: What does 0.20 say?
#
# Which of these are true?
#
# - `one fifth`: in the prediction for every crystal, the forest's value has one fifth of the weight.
# - `four times`: CGCNN's mean absolute error is a quarter of the forest's.
# - `one in five`: for one crystal in five, the forest's prediction is taken; for the others, CGCNN's.
# - `forest helps`: the forest is the worse of the two, but the blend is better with it than without.
# - `cut off`: a weight so far below one half says that the forest adds nothing to the blend.
# - `both errors`: $\alpha$ depends on how large the two models' errors are, and on how similar they are.

# %% tags=["answer"]
statements = {
    "one fifth": True,  # SOLUTION
    "four times": False,  # SOLUTION
    "one in five": False,  # SOLUTION
    "forest helps": True,  # SOLUTION
    "cut off": False,  # SOLUTION
    "both errors": True,  # SOLUTION
}

# %% tags=["check"]
from course_lib.teaching.checkers.reading_alpha import check_alpha_statements

check_alpha_statements(statements)

# %% [markdown] tags=["hint"]
# <details><summary>Hint</summary>
#
# Three points of the curve help: $\alpha = 0$ is CGCNN alone, $\alpha = 1$ the forest alone, and the lowest lies in
# between. Which statements can you read off there?
#
# </details>

# %% [markdown] tags=["task"]
# ## Task 3: Derive the best weight
#
# Model a has errors $e_a$ with standard deviation $s_a$, model b has errors $e_b$ with $s_b$; both have mean zero, and
# their correlation is $\rho$. The error of the blend is $e = \alpha e_a + (1 - \alpha) e_b$.
#
# 1. Write down the variance of $e$, with $s_a$, $s_b$, $\rho$ and $\alpha$.
# 2. At which $\alpha$ is it smallest? Set the derivative to zero.
# 3. Write `best_alpha`. Where the result lies outside the range from 0 to 1, return the nearer end.

# %% tags=["answer"]
import numpy as np


def best_alpha(std_a, std_b, correlation):
    """Return the weight of model a with the smallest variance of the blend's error."""
    # BEGIN SOLUTION
    covariance = correlation * std_a * std_b
    alpha = (std_b**2 - covariance) / (std_a**2 + std_b**2 - 2 * covariance)
    return np.clip(alpha, 0, 1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.reading_alpha import check_best_alpha

check_best_alpha(best_alpha)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# The variance of a sum is not the sum of the variances, unless the two are uncorrelated:
# $\operatorname{var}(u + v) = \operatorname{var} u + \operatorname{var} v + 2 \operatorname{cov}(u, v)$. The covariance
# of the two errors is $\rho\, s_a s_b$.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# $$ s^2(\alpha) = \alpha^2 s_a^2 + (1 - \alpha)^2 s_b^2 + 2 \alpha (1 - \alpha)\, \rho s_a s_b $$
#
# Half its derivative is $\alpha s_a^2 - (1 - \alpha) s_b^2 + (1 - 2 \alpha)\, \rho s_a s_b$.
#
# </details>

# %% [markdown] tags=["solution"]
# We set half the derivative to zero and collect the terms with $\alpha$:
#
# $$ \alpha\, (s_a^2 + s_b^2 - 2 \rho s_a s_b) = s_b^2 - \rho s_a s_b $$
#
# The bracket is the variance of $e_a - e_b$, so it is positive unless the two models make exactly the same errors.
# Hence this $\alpha$ gives a minimum, not a maximum. The numerator is negative where $\rho > s_b / s_a$. Then model a
# is so much worse than model b, and so similar to it, that the best blend would subtract it. With the weight clipped at
# zero, model a is left out.

# %% tags=["after"] mystnb={"image": {"alt": "How much smaller the spread of the blend's error is than that of the better model alone, against the correlation of the two errors, for two equally good models and for one that is 25 percent worse. Both curves fall; the second reaches zero at a correlation of 0.8."}}
from IPython.display import display

from course_lib.teaching.figures.late_fusion import plot_blending_gain

if check_best_alpha(best_alpha):  # once your answer is right
    for correlation_of_errors in (0.0, 0.4, 0.8, 0.9):
        alpha = best_alpha(0.035, 0.028, correlation_of_errors)
        print(f"correlation {correlation_of_errors:.1f}: weight {alpha:.2f}")
    display(plot_blending_gain(ratios=(1.0, 0.035 / 0.028)))

# %% [markdown] tags=["task"]
# ## Task 4: What 0.20 implies
#
# The mean absolute errors are 0.035 eV/atom for the forest and 0.028 eV/atom for CGCNN. For normally distributed errors
# the standard deviation is the mean absolute error times $\sqrt{\pi/2}$. This holds for both models, so the factor
# cancels in $\alpha$. It holds for the blend, too, so the same $\alpha$ makes its variance and its mean absolute error
# smallest.
#
# 1. Which weight would the forest have if the errors were uncorrelated?
# 2. It has 0.20. Which correlation must the errors have?

# %% tags=["answer"]
alpha_uncorrelated = best_alpha(0.035, 0.028, 0)  # SOLUTION
correlation = 0.65  # SOLUTION

# %% tags=["check"]
from course_lib.teaching.checkers.reading_alpha import check_error_correlation

check_error_correlation(alpha_uncorrelated, correlation)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# Only the ratio of the errors matters. Take 1 for the forest and $0.028 / 0.035 = 0.8$ for CGCNN, and the numbers stay
# small.
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# For the second question, put $\alpha = 0.2$ into the formula of task 3 and solve for $\rho$: it appears once in the
# numerator and once in the denominator. Or try values with `best_alpha`, and close in.
#
# </details>

# %% [markdown] tags=["solution"]
# With $s_a = 1$ and $s_b = 0.8$: $0.2\,(1.64 - 1.6 \rho) = 0.64 - 0.8 \rho$, so $0.48\, \rho = 0.312$. The answer to
# the *Predict* box is no: the larger error alone would give the forest 0.39.

# %% tags=["after"]
from course_lib.late_fusion import blended_error_variance, optimal_alpha
from course_lib.teaching.predictions import measured

if check_error_correlation(alpha_uncorrelated, correlation):  # once both are right
    print(f"correlation of the made-up errors: {errors.corr().iloc[0, 1]:.2f}")
    fitted = optimal_alpha(models["y"], models["forest"], models["cgcnn"], loss="mse")
    print(f"weight with the smallest squared error: {fitted:.2f}")
    spread = blended_error_variance(0.2, 0.035, 0.028, correlation) ** 0.5
    print(
        f"spread of the blend's error: {100 * (1 - spread / 0.028):.1f} % below CGCNN's"
    )
    weight = f"without correlation the weight would be {float(alpha_uncorrelated):.2f}"
    display(measured("explain", f"no; {weight}"))

# %% tags=["solution"]
assert round(errors.corr().iloc[0, 1], 2) == correlation
assert round(fitted, 2) == 0.20

# %% [markdown]
# ## A colleague's procedure
#
# A colleague fits the weight of the forest like this. The code runs without a warning, and the weight looks sensible:
# nearly everything goes to the forest, which is very good on the crystals at hand. (The chapter that this course grew
# out of does the same.) `training` holds crystals that both models were trained on, `out_of_fold` crystals that neither
# has seen. Each has the true energies `y` and the predictions `forest` and `cgcnn`, by crystal id.

# %%
import pandas as pd

from course_lib.late_fusion import optimal_alpha
from course_lib.teaching.checkers.reading_alpha import two_parts


def colleagues_alpha(training, out_of_fold):
    """Return the weight of the forest."""
    y, forest, cgcnn = training
    cgcnn = pd.Series(cgcnn.to_numpy(), index=y.index)
    return optimal_alpha(y, forest, cgcnn)


training, out_of_fold = two_parts()
print(f"weight of the forest: {colleagues_alpha(training, out_of_fold):.2f}")

# %% [markdown] tags=["task"]
# ## Task 5: Find the bugs
#
# Two things are wrong with this procedure.
#
# 1. Look at the first rows of `training.y` and `training.cgcnn`, and at the mean absolute errors in both parts.
# 2. Write `fixed_alpha`, which does the same without the two bugs.


# %% tags=["answer"]
def fixed_alpha(training, out_of_fold):
    """Return the forest's weight, fitted on the right crystals in the right order."""
    # BEGIN SOLUTION
    y, forest, cgcnn = out_of_fold
    return optimal_alpha(y, forest, cgcnn[y.index])
    # END SOLUTION


# %% tags=["check"]
from course_lib.teaching.checkers.reading_alpha import check_fixed_alpha

check_fixed_alpha(fixed_alpha)

# %% [markdown] tags=["hint"]
# <details><summary>Hint 1</summary>
#
# A loader that shuffles gives predictions in its own order. What does `.to_numpy()` throw away?
#
# </details>

# %% [markdown] tags=["hint"]
# <details><summary>Hint 2</summary>
#
# `(training.forest - training.y).abs().mean()` is small. Compute the same for `out_of_fold`. Which of the two is more
# like the crystals on which the blend will be used?
#
# </details>

# %% [markdown] tags=["solution"]
# The line with `.to_numpy()` takes the ids away and puts the ids of `y` in their place: each prediction of CGCNN is now
# compared with the energy of some other crystal. `optimal_alpha` matches the ids, so it would have restored the order.
# The conversion prevents that. And both models know the crystals of `training`, the forest nearly by heart. Each bug
# alone gives the forest too much weight:

# %% tags=["solution"]
y, forest, cgcnn = out_of_fold
found = {
    "as it was": colleagues_alpha(training, out_of_fold),
    "order fixed": optimal_alpha(*training),
    "crystals fixed": colleagues_alpha(out_of_fold, None),
    "both fixed": fixed_alpha(training, out_of_fold),
}
error = {
    name: (y - alpha * forest - (1 - alpha) * cgcnn[y.index]).abs().mean()
    for name, alpha in found.items()
}
assert min(error, key=error.get) == "both fixed"
assert found["both fixed"] < 0.5 < min(list(found.values())[:3])
pd.DataFrame({"weight": found, "error on new crystals (eV/atom)": error}).round(3)

# %% [markdown]
# ## What to remember
#
# - $\alpha$ is the forest's share in each prediction. It is not a ratio of errors.
# - Here it is small for two reasons: the forest's errors are larger, and they are correlated with those of CGCNN.
# - The less correlated the errors of two models are, the more a blend gains. A worse model with independent errors can
#   be a better partner than a good one with the same errors.
# - A weight must be fitted on crystals that neither model has seen, and predictions must be joined to crystals by id.
#   Code that gets either wrong runs without complaint.
#
# Back to [notebook 3, *Late fusion*](03_late_fusion.ipynb); on to
# [exercise 3, *Atom graph and line graph*](ex3_line_graph.ipynb).
