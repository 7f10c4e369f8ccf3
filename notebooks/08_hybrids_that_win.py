# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Hybrids that win
#
# **Question.** In notebook 7 no hybrid was shown to beat CGCNN. Where must chemistry enter, and what kind of partner
# does a network need, so that joining two views pays?
#
# **You will learn to**
#
# - say what a network reads when chemistry enters once per crystal, per atom, or per bond;
# - work out from two spreads and one correlation how much a blend can gain;
# - judge a blend against its control: a second seed of the network;
# - test models on elements and prototypes that they have never seen;
# - check whether the spread of an ensemble tells you how large the errors are.
#
# **You need** notebooks 1 to 7. **Time to read:** 50 min. **Time to run:** at most 60 s on two cores.

# %% [markdown]
# ## Three places for chemistry
#
# The hybrids so far had two weaknesses. The composition entered **once per crystal**, and a graph network can work out
# the composition from its atoms. And the partner in late fusion, a forest that cannot tell polymorphs apart, was weak.
# This page changes both. Here is where numbers about the elements can enter a graph:

# %% mystnb={"image": {"alt": "Three copies of one small crystal graph of two elements. The first, once per crystal: the frame around the graph is coloured, 145 numbers of the formula, the same for all polymorphs. The second, per atom: the atoms are coloured, 22 properties of its element on every atom. The third, per bond: the bonds are coloured, length over the sum of radii and difference of electronegativity."}}
from course_lib.teaching.figures.hybrids import plot_chemistry_places

plot_chemistry_places()

# %% [markdown]
# > **Predict.** Two salts have bonds of the same length, 3.0 Å. Which of the three places says, before the network has
# > learned anything, that this is long for one salt and normal for the other?
# >
# > <!-- predict: place; once per crystal; per atom; per bond; all three -->
#
# ## The rules first
#
# The more comparisons we ask for, the wider each interval must be (notebook 2). So we name the comparisons of this page
# first, and call no other result *shown*. Explorations suggested them, on these crystals and on an earlier version of
# them. That makes a result here weaker than that of a new experiment, whose rules are fixed before anybody has
# looked. (Kernel ridge, a learner that reads tables of features, is explained further down.)

# %%
from course_lib.experiments.analysis import level_of_each

COMPARISONS = (
    ("kernel ridge on both", "on composition"),
    ("kernel ridge on both", "on environments"),
    ("CGCNN and kernel ridge", "two seeds of CGCNN"),
    ("ALIGNN and kernel ridge", "two seeds of ALIGNN"),
)
LEVEL = level_of_each(len(COMPARISONS))
print(f"{len(COMPARISONS)} comparisons, each with a {LEVEL:.2%} interval")

# %% [markdown]
# The other rules:
#
# - formation energies, five folds by formula, the same test crystals for both sides of a comparison;
# - the networks' predictions are the recorded ones of notebook 7. Kernel ridge regression is trained here, on the same
#   training crystals (a network uses some of them for validation), with the library's default settings. Nothing is
#   tuned on this page;
# - the weight of a blend for one fold comes from the other four (notebook 3);
# - every blend has a control of two models: two seeds of the same network, averaged;
# - *shown* means that the interval excludes zero. Each interval is listed with its *detectable difference*: if the
#   true difference were that large, the interval would exclude zero in 80 % of such studies.
#
# Five folds can detect only large differences. A larger comparison, with 25 folds and tuned settings, has its rules
# in `data/results/PROTOCOL.md`; we call it *the protocol*. It decides; this page explains.

# %%
import numpy as np
import pandas as pd

from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.experiments.protocol import N_FOLDS
from course_lib.experiments.records import load_results
from course_lib.graphs import CrystalGraphs

TARGET = "formation_energy_per_atom"
crystals = load_dataset("pbe_prototypes")
y = crystals[TARGET]
graphs = CrystalGraphs.from_structures(
    crystals["structure"],
    ids=crystals.index,
    composition=magpie,
    targets=crystals[[TARGET]],
)
wanted = ["random_forest", "cgcnn", "alignn"]
runs = load_results(crystals=crystals, target=TARGET, methods=wanted)
runs = runs[(runs["split"] == "formula") & (runs["fold"] < N_FOLDS)]
RATIO = runs["ratio"].mean()  # of the sizes of test and training set
runs.groupby("method", sort=False)["mae"].agg(["mean", "std", "size"]).round(3)

# %% [markdown]
# ## One bond by hand
#
# Rock salt, NaCl, has a lattice constant of 5.64 Å, so its bonds are 2.82 Å long. Is that long? It depends on the
# atoms. The sum of the two covalent radii is a natural unit:
#
# $$ q = \frac{d}{r_i + r_j} $$
#
# - $d$: the length of the bond between atoms $i$ and $j$;
# - $r_i$, $r_j$: their covalent radii, from the same tables as the Magpie features;
# - $q$: the *relative distance*. It is about 1 for a single bond, whatever the elements are.

# %%
# NBVAL_CHECK_OUTPUT
from course_lib.composition import element_properties

elements = element_properties()
radius = elements["CovalentRadius"] / 100  # in angstrom
d = 5.64 / 2
q = d / (radius["Na"] + radius["Cl"])
print(f"d = {d:.2f} Å, radii {radius['Na']:.2f} + {radius['Cl']:.2f} Å, q = {q:.2f}")

# %% [markdown]
# Now two salts whose bonds are equally long, lithium iodide and caesium fluoride. Both crystallise as rock salt does:

# %%
# NBVAL_CHECK_OUTPUT
chi = elements["Electronegativity"]
rows = []
for cation, anion, a in (("Na", "Cl", 5.64), ("Li", "I", 6.00), ("Cs", "F", 6.01)):
    relative = a / 2 / (radius[cation] + radius[anion])
    rows.append((cation + anion, a / 2, relative, chi[anion] - chi[cation]))
columns = ["salt", "distance", "relative distance", "difference"]
bonds = pd.DataFrame(rows, columns=columns).set_index("salt")
assert abs(bonds.loc["LiI", "distance"] - bonds.loc["CsF", "distance"]) < 0.01
assert (
    bonds.loc["LiI", "relative distance"] > 1.1 * bonds.loc["CsF", "relative distance"]
)
bonds.round(2)

# %% [markdown]
# (`difference` is that of the electronegativities.) In LiI and CsF the distance is the same, 3.0 Å. In CsF it is the
# sum of the two radii. In LiI it is longer than that: the large iodide ions touch each other and keep the small
# lithium at a distance. And the bond in CsF is far more polar.
#
# A network does not read $q$ as one number, but in 25 Gaussians with centres from 0.6 to 3.0, as it reads distances in
# 41 (notebook 1):
#
# $$ e_k(q) = \exp\left(-\frac{(q - \mu_k)^2}{w^2}\right), \qquad \mu_k = 0.6, 0.7, \dots, 3.0, \quad w = 0.1 $$

# %%
# NBVAL_CHECK_OUTPUT
centers = np.linspace(0.6, 3.0, 25)
of_salt = np.exp(-(((bonds.loc["NaCl", "relative distance"] - centers) / 0.1) ** 2))
near = [0.9, 1.0, 1.1, 1.2]
print({mu: round(float(of_salt[np.isclose(centers, mu)][0]), 2) for mu in near})

# %% [markdown]
# The library's layer gives the same numbers. It takes the spacing of the centres, here 0.1, as the width:

# %%
import torch

from course_lib.models.layers import GaussianBasis

relative_basis, distance_basis = GaussianBasis(0.6, 3.0, 25), GaussianBasis()
by_library = relative_basis(torch.tensor(bonds["relative distance"].to_numpy()))
assert np.allclose(by_library[0], of_salt, atol=1e-6)

# %% mystnb={"image": {"alt": "Values of Gaussians for the bonds of NaCl, LiI and CsF, one row each, dark where large. With 41 Gaussians of the distance, the rows of LiI and CsF are the same. With 25 Gaussians of the relative distance, the rows of LiI and CsF are dark at different places."}}
from course_lib.teaching.figures.hybrids import plot_bond_numbers


def expanded(basis, column):
    """Centres of the Gaussians, and their values for each bond."""
    values = basis(torch.tensor(bonds[column].to_numpy()))
    return basis.centers.numpy(), pd.DataFrame(values.numpy(), index=bonds.index)


blocks = {
    "centre of the Gaussian: distance (Å)": expanded(distance_basis, "distance"),
    "centre: distance / sum of radii": expanded(relative_basis, "relative distance"),
}
plot_bond_numbers(blocks)

# %% [markdown]
# Dark means near 1. On the left, the rows of LiI and CsF are the same. On the right, they differ.
#
# ## Why means over the formula cannot say it
#
# The 145 Magpie features contain the mean and the range of the radii. But they do not know who is the neighbour of
# whom. The half-Heusler compound TiNiSn shows it: the atom in the middle has four neighbours of each of the other two
# elements. We exchange nickel and titanium. The formula, the cell and the occupied positions stay as they are; only
# the neighbours change. For comparison we also compute features of each atom's neighbourhood, the *local
# environments*. They are explained further down.

# %%
from pymatgen.core import Lattice, Structure

from course_lib.local_environments import local_environments


def half_heusler(order):
    """The cell of TiNiSn, its three sites occupied in this order."""
    sites = [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("F-43m", Lattice.cubic(5.93), order, sites)


two = [half_heusler(["Ti", "Ni", "Sn"]), half_heusler(["Ni", "Ti", "Sn"])]
names = ["Ni in the middle", "Ti in the middle"]
of_formula = magpie(two).to_numpy()
around = local_environments(CrystalGraphs.from_structures(two, ids=names)).T
differ = (around[names[0]] - around[names[1]]).abs() > 1e-3
print(f"Magpie: {(of_formula[0] != of_formula[1]).sum()} of 145 features differ")
print(f"local environments: {differ.sum()} of {len(around)} differ")
assert (of_formula[0] == of_formula[1]).all()
assert differ.sum() > 50

# %%
about = ["mean local difference in Electronegativity", "mean relative distance"]
about += ["minimum shortest relative distance"]
around.loc[about].round(3)

# %%
from course_lib.teaching.predictions import measured

q_of = bonds["relative distance"]
measured("place", f"per bond: q is {q_of['LiI']:.2f} in LiI, {q_of['CsF']:.2f} in CsF")

# %% [markdown]
# The bond says it before the network has learned anything. Once per crystal cannot say it, since the formula does not
# know the distance. With numbers per atom, a network could learn the quotient: a convolution reads both atoms and the
# distance together. But it has to find the quotient from examples, while the bond can simply carry it.
#
# ## Chemistry in the graph
#
# `ChemicalCGCNN` is CGCNN with larger first layers. Each atom carries 22 standardised element properties, in addition
# to its 92 bits; each bond carries 25 Gaussians of $q$ and 17 of the difference of electronegativity, in addition to
# the 41 of the distance. All scales are constants of the element tables: nothing is fitted.
# `ChemicalALIGNN` does the same to ALIGNN. Here are the numbers of all bonds of a made-up crystal, step by step. (It has
# `N` atoms and `M` bonds.)

# %%
from course_lib.models.chemistry import ChemicalCGCNN

network = ChemicalCGCNN()
chemistry = network.chemistry  # tables of radii and so on, by atomic number
one = CrystalGraphs.from_structures([half_heusler(["Na", "Cl", "Li"])]).batch([0])
length = one.bond_length  # (M,), in angstrom
source, target = one.species[one.bond_index]  # atomic numbers of both ends: (M,), (M,)
relative = length / (chemistry.radius[source] + chemistry.radius[target])
difference = chemistry.electronegativity[source] - chemistry.electronegativity[target]
difference_basis = GaussianBasis(-3.2, 3.2, 17)
on_bonds = torch.cat([relative_basis(relative), difference_basis(difference)], dim=1)
assert torch.allclose(on_bonds, chemistry.bonds(one.species, one.bond_index, length))
print("chemistry of the bonds:", tuple(on_bonds.shape))  # (M, 25 + 17)

# %% [markdown]
# The library computes the same, as the `assert` checks; the folded output below is its source.

# %% tags=["hide-output"]
import inspect

from course_lib.models.chemistry import Chemistry

print(inspect.getsource(Chemistry.bonds))
print(inspect.getsource(ChemicalCGCNN.atoms_and_bonds))

# %% [markdown]
# Now we make what the first convolution reads. On atoms and on bonds, the new numbers stand next to those that CGCNN
# reads anyway:

# %%
bits = network.atom_features[one.species]  # (N, 92)
properties = chemistry.properties[one.species]  # (N, 22)
atoms_read = network.atom_embedding(torch.cat([bits, properties], dim=1))  # (N, 64)
bonds_read = torch.cat([network.basis(length), on_bonds], dim=1)  # (M, 41 + 42)
by_library = network.atoms_and_bonds(one)
assert torch.allclose(atoms_read, by_library[0], atol=1e-6)
assert torch.allclose(bonds_read, by_library[1])
print("atoms:", tuple(atoms_read.shape), " bonds:", tuple(bonds_read.shape))

# %% [markdown]
# Does it help? Here are both networks on **one fold, with one seed and few epochs**. This is a demonstration, and
# *no verdict*: notebook 2 showed how much single runs scatter. The protocol decides. It also has the ablations:
# atoms, radii or electronegativities alone, and the element properties permuted among the elements.

# %%
from course_lib.datasets import folds
from course_lib.makers import make_config, make_network
from course_lib.methods import LABELS
from course_lib.training import fit, predict

fold = folds(crystals, "formula")[0]
train, validation, test = (graphs.subset(part) for part in fold)
histories, short = {}, {}
for name in ("cgcnn", "cgcnn_chemistry"):
    network, config = make_network(name), make_config(name, {"epochs": 6})
    result = fit(network, train, validation, config)
    histories[LABELS[name]] = result.history
    off = predict(result.model, test)[TARGET] - y.iloc[fold.test]
    n_weights = sum(p.numel() for p in network.parameters())
    short[LABELS[name]] = (n_weights, off.abs().mean(), result.seconds)
short = pd.DataFrame(short, index=["weights", "test error", "seconds"]).T
short.round(3).convert_dtypes()

# %% mystnb={"image": {"alt": "Validation error by epoch, on a logarithmic axis, of CGCNN and of CGCNN with chemistry, on one fold with one seed. Both fall over six epochs."}}
from course_lib.teaching.figures.results import plot_history

plot_history(histories, f"val_mae_{TARGET}", "eV/atom")

# %% [markdown]
# The chemistry adds some 20 % of weights, and hardly any time. What it is worth, one run cannot say.
#
# ## A partner of equal strength
#
# The forest reads the composition alone. We now give a learner both views as a table: the 145 Magpie features, and 158
# features of the **local environments** of the atoms, after {cite:t}`ward2017environments`. Each atom gets means over
# its neighbours: of the differences in element properties, of the distances and of the relative distances. Statistics
# of these over the atoms then describe the crystal.
#
# The learner is **kernel ridge regression**. It predicts a weighted sum of similarities to all training crystals
# $x_j$:
#
# $$ \hat y(x) = \bar y + \sum_j c_j\, k(x, x_j), \qquad
#    k(x, x') = \exp\Bigl(-\frac{1}{\ell n} \sum_{m=1}^{n} |x_m - x'_m|\Bigr) $$
#
# - $\bar y$: the mean of the training targets;
# - $x_m$: feature $m$ of crystal $x$, standardised; $n$: the number of features;
# - $\ell = 4$: the mean distance per feature over which the similarity falls to 1/e;
# - $c_j$: a coefficient for each training crystal. They solve one linear system, $(K + \lambda I)\, c = y - \bar y$,
#   with the matrix $K$ of the similarities of all pairs of training crystals, the unit matrix $I$, and a penalty
#   $\lambda$ on large coefficients (not the task weight of notebook 6).
#
# By hand, for three made-up crystals with one feature, $\lambda = 0.003$ and a new crystal at 0.5:

# %%
# NBVAL_CHECK_OUTPUT
x_three, y_three = np.array([-1.0, 0.0, 1.5]), np.array([-2.0, -1.0, -0.4])
K = np.exp(-np.abs(x_three[:, None] - x_three) / 4)
c = np.linalg.solve(K + 3e-3 * np.eye(3), y_three - y_three.mean())
new = np.exp(-np.abs(0.5 - x_three) / 4)
print("similarities of a new crystal:", new.round(2))
print(f"prediction: {y_three.mean() + new @ c:.2f} eV/atom")

# %% [markdown]
# The library's learner also standardises features and targets. It has no random numbers, and it takes a second to
# train. The same learner reads each view alone, which is the control of the hybrid:

# %%
from course_lib.features import features_of
from course_lib.makers import make_learner

table = features_of(graphs, ["composition", "environments"])
VIEWS = {
    "composition": table[:, :145],
    "environments": table[:, 145:],
    "both": table,
}
VIEWS = {name: pd.DataFrame(view, crystals.index) for name, view in VIEWS.items()}
KERNEL_RIDGE = {
    "composition": "kernel_ridge_composition",
    "environments": "kernel_ridge_structure",
    "both": "kernel_ridge",
}
pd.Series(
    {LABELS[KERNEL_RIDGE[name]]: x.shape[1] for name, x in VIEWS.items()},
    name="features",
)


# %%
def predicted(method, view, new, **settings):
    """Train on all crystals but the new ones, and predict these."""
    x = VIEWS[view]
    known = x.index.difference(new)
    model = make_learner(method, x.shape[1], settings=settings)
    model.fit(x.loc[known].to_numpy(), y[known])
    return pd.Series(model.predict(x.loc[new].to_numpy()), new)


tested = runs[(runs["method"] == "cgcnn") & (runs["seed"] == 0)].set_index("fold")[
    "ids"
]
fold_of = pd.concat([pd.Series(number, ids) for number, ids in tested.items()])
out_of_fold = pd.DataFrame(
    {
        method: pd.concat([predicted(method, view, ids) for ids in tested])
        for view, method in KERNEL_RIDGE.items()
    }
)
truth = y[out_of_fold.index]
mae = out_of_fold.sub(truth, axis=0).abs().mean()
mae.rename(LABELS).round(3)

# %%
assert mae["kernel_ridge"] < 0.9 * mae.drop("kernel_ridge").min()
by_cgcnn = runs.loc[runs["method"] == "cgcnn", "mae"].mean()
print(f"CGCNN: {by_cgcnn:.3f} eV/atom")
assert mae["kernel_ridge"] < 1.15 * by_cgcnn, "a partner of equal strength"

# %% [markdown]
# Here a second view helps a lot: both views together have a smaller error than either alone. The learner that reads
# both is about as good as CGCNN, although it is not a network. Is this a peculiarity of kernel ridge? Gradient
# boosting, which adds up many small trees, reads the same tables. Here is its first fold, with 60 trees to save time:

# %%
first = tested.iloc[0]
boosted = {}
for view, method in zip(
    VIEWS, ("boosting_composition", "boosting_structure", "boosting"), strict=True
):
    off = predicted(method, view, first, max_iter=60) - y[first]
    boosted[LABELS[method]] = off.abs().mean()
boosted = pd.Series(boosted, name="first fold, eV/atom")
assert boosted.idxmin() == LABELS["boosting"], "the same order"
boosted.round(3)

# %% [markdown]
# Boosting, too, is best with both views, as far as one fold can say.
#
# ## How much can a blend gain?
#
# We have a partner as strong as CGCNN. Is it a different one? We work out what "different" must mean. Two models have
# errors $e_a$ and $e_b$ with mean zero, standard deviations $s_a$ and $s_b$, and correlation $\rho$. The blend that
# gives model $a$ the weight $\alpha$ has the error $\alpha e_a + (1 - \alpha) e_b$, and its variance is
#
# $$ s^2(\alpha) = \alpha^2 s_a^2 + (1 - \alpha)^2 s_b^2 + 2 \alpha (1 - \alpha)\, \rho s_a s_b . $$
#
# Its derivative is zero at the best weight:
#
# $$ \alpha^* = \frac{s_b^2 - \rho s_a s_b}{s_a^2 + s_b^2 - 2 \rho s_a s_b}, \qquad
#    s^2(\alpha^*) = \frac{s_a^2 s_b^2 (1 - \rho^2)}{s_a^2 + s_b^2 - 2 \rho s_a s_b} . $$
#
# For two equally good models this is $\alpha^* = 1/2$ and $s(\alpha^*) = s \sqrt{(1 + \rho) / 2}$. Only the correlation
# is left. Some numbers:

# %%
# NBVAL_CHECK_OUTPUT
s_a, s_b = 0.28, 0.27
for rho in (0.85, 0.5):
    both = s_a**2 + s_b**2 - 2 * rho * s_a * s_b
    best = (s_b**2 - rho * s_a * s_b) / both
    spread = s_a * s_b * np.sqrt((1 - rho**2) / both)
    gain = 1 - spread / s_b
    print(f"rho {rho}: weight {best:.2f}, spread {spread:.3f}, gain {gain:.0%}")

# %%
from course_lib.late_fusion import alpha_from_errors, blended_error_variance

by_formula = alpha_from_errors(s_a, s_b, rho)
assert np.isclose(by_formula, best)
assert np.isclose(blended_error_variance(by_formula, s_a, s_b, rho) ** 0.5, spread)

# %% [markdown]
# So a partner that is a little worse but makes other errors can give far more than one that makes the same errors. Two
# seeds of one network are the extreme case: equally good, and highly correlated. That is the **control** of every
# blend: averaging two seeds also costs two models, and it gains something without any second view.
#
# > **Predict.** CGCNN is blended with kernel ridge on both views. What is the gain over CGCNN alone, compared with that
# > of a second seed of CGCNN?
# >
# > <!-- predict: partner; none; less than half as large; half to twice as large; more than twice as large -->

# %%
for name in wanted:
    rows = runs[(runs["method"] == name) & (runs["seed"] == 0)]
    of_method = pd.concat(
        [pd.Series(run.predictions, run.ids) for run in rows.itertuples()]
    )
    out_of_fold[name] = of_method[out_of_fold.index]
errors = out_of_fold.sub(truth, axis=0)
errors.corr()[["cgcnn", "alignn"]].rename(LABELS).rename(columns=LABELS).round(2)

# %% [markdown]
# These are the correlations with the errors of the two networks, on new formulas. Now each pair is blended, with
# cross-fitted weights, and compared with the better of the two. For two seeds we take the plain mean.

# %%
from itertools import combinations

from course_lib.late_fusion import cross_fitted

NETWORKS = ["cgcnn", "alignn"]


def kind_of(pair):
    """What a pair is made of."""
    n = len({*pair} & {*NETWORKS})
    if n == 2:
        return "two networks"
    if n == 1:
        hybrid = "kernel_ridge" in pair
        return "network and kernel ridge on both" if hybrid else "network and one view"
    return "two regressors on tables"


pairs = []
for pair in combinations(out_of_fold, 2):
    mixed, _ = cross_fitted(truth, *(out_of_fold[name] for name in pair), fold_of)
    better = errors[list(pair)].abs().mean().min()
    gain = 1 - (mixed - truth).abs().mean() / better
    pairs.append((*pair, errors[list(pair)].corr().iloc[0, 1], gain, kind_of(pair)))


# %%
def of_seeds(method):
    """Out-of-fold predictions of a network, one column per seed."""
    rows = runs[runs["method"] == method]
    columns = {
        seed: pd.concat(
            [pd.Series(run.predictions, run.ids) for run in group.itertuples()]
        )
        for seed, group in rows.groupby("seed")
    }
    return pd.DataFrame(columns).loc[truth.index]


seeds = {name: of_seeds(name) for name in NETWORKS}
averaged = {name: table[[0, 1]].mean(axis=1) for name, table in seeds.items()}
for name, table in seeds.items():
    off = table[[0, 1]].sub(truth, axis=0)
    gain = 1 - (averaged[name] - truth).abs().mean() / off.abs().mean().min()
    pairs.append((name, name, off.corr().iloc[0, 1], gain, "two seeds of a network"))
pairs = pd.DataFrame(pairs, columns=["first", "second", "correlation", "gain", "kind"])

# %% mystnb={"image": {"alt": "Gain of a blend in percent against the correlation of the two models' errors, one mark per pair, with three falling lines from the formula. Two seeds of a network lie at high correlation and small gain. A network with kernel ridge on both views lies at low correlation and the largest gain. Networks with a model on one view gain less, because the partner is weak."}}
from course_lib.teaching.figures.hybrids import plot_gain_against_correlation

plot_gain_against_correlation(pairs)

# %%
top = pairs.sort_values("gain", ascending=False).head(6).set_index("kind")
top.replace({name: LABELS[name] for name in out_of_fold}).round(3)

# %%
with_partner = pairs[pairs["kind"] == "network and kernel ridge on both"]
with_partner = with_partner.set_index("second")
second_seed = pairs[pairs["kind"] == "two seeds of a network"].set_index("first")
weak = pairs[pairs["kind"] == "network and one view"]
assert with_partner["correlation"].max() < second_seed["correlation"].min()
assert with_partner.loc["cgcnn", "gain"] > 2 * second_seed.loc["cgcnn", "gain"]
assert weak["gain"].median() < with_partner["gain"].min() / 2
share = with_partner.loc["cgcnn", "gain"] / second_seed.loc["cgcnn", "gain"]
measured("partner", f"{share:.1f} times as large as that of a second seed")

# %% [markdown]
# The lines come from the formula, which is about standard deviations. The measured gains are in the mean absolute
# error, and follow the lines only roughly. Low correlation alone is not enough: networks and models on one view have
# errors that are just as different, but the weaker the partner, the less it helps. **A partner pays if it is about as
# strong *and* errs differently.** In notebook 3 the partner was wrong, not the idea.
#
# ## The four comparisons
#
# Now the comparisons that were announced. A row is the error of the first minus that of the second; negative is
# better for the first. The grey bars are the detectable differences, to either side of zero.

# %%
stacks = {
    name: cross_fitted(truth, out_of_fold["kernel_ridge"], out_of_fold[name], fold_of)
    for name in NETWORKS
}
sides = (
    (out_of_fold["kernel_ridge"], out_of_fold["kernel_ridge_composition"]),
    (out_of_fold["kernel_ridge"], out_of_fold["kernel_ridge_structure"]),
    *((stacks[name][0], averaged[name]) for name in NETWORKS),
)
labels = ["\n− ".join(pair) for pair in COMPARISONS]
by_fold = pd.DataFrame(
    {
        label: ((one - truth).abs() - (other - truth).abs()).groupby(fold_of).mean()
        for label, (one, other) in zip(labels, sides, strict=True)
    }
)

# %% mystnb={"image": {"alt": "Four comparisons, one row each: dots for five folds, mean and corrected interval, and a grey bar for differences too small to be detected. Kernel ridge on both views against each view alone, and blends of CGCNN and of ALIGNN with it against two seeds of the same network. The means of all four lie on the side where the first is better; that of ALIGNN is closest to zero."}}
from course_lib.teaching.figures.hybrids import plot_comparisons

plot_comparisons(by_fold, "eV/atom", RATIO)

# %%
from course_lib.experiments.primary import summarize_comparisons

summary = summarize_comparisons(by_fold, RATIO)
summary.index = [label.replace("\n", " ") for label in summary.index]
assert (summary["mean"] < 0).all()
assert (summary["verdict"].iloc[:2] == "shown better").all()
assert (summary["verdict"].iloc[2:] == "not shown").all()
assert (by_fold.iloc[:, 2] < 0).all(), "CGCNN and kernel ridge: ahead in every fold"
assert (summary["mean"].abs() < summary["detectable"]).iloc[2:].all()
summary.round(4)

# %%
weights = pd.DataFrame({LABELS[name]: stacks[name][1] for name in NETWORKS})
weights = weights.rename_axis("weight of kernel ridge, by fold")
three = out_of_fold[["kernel_ridge", *NETWORKS]]
lowest = {"kernel ridge, CGCNN and ALIGNN": three.mean(axis=1)}
lowest |= {f"{LABELS[name]} and kernel ridge": stacks[name][0] for name in NETWORKS}
lowest |= {f"two seeds of {LABELS[name]}": averaged[name] for name in NETWORKS}
lowest = pd.DataFrame(lowest).sub(truth, axis=0).abs().mean().sort_values()
assert weights.gt(0.2).all(axis=None), "the partner is used in every fold"
print(lowest.round(3).to_string())
weights.round(2)

# %% [markdown]
# Kernel ridge on both views is shown to be better than on either view alone. So the idea of joining two views is sound.
# Neither table says what the other says, whereas a graph network has the elements of the crystal already.
#
# Neither blend is shown to be better than two seeds, although that of CGCNN is ahead in every single fold, and every
# fold gives kernel ridge more than a fifth of the weight. The control makes the question hard. It is not "better than
# CGCNN", but "better than what a second CGCNN would have given". And the differences are smaller than what five folds
# can detect with four questions asked: compare the columns `mean` and `detectable`. "Not shown" describes this
# experiment, not the blends. This is why the protocol has 25 folds. Until they are recorded, the figure of gains is a
# good reason to try such a partner, but no proof.
#
# ## New elements
#
# Folds by formula ask for new combinations of known elements. A harder question is a new *element*: nothing in the
# training set contains it. A model then depends on what its features say about the element. We leave out all crystals
# with fluorine, and then all with titanium.
#
# > **Predict.** Without which of the two do the errors grow less?
# >
# > <!-- predict: element; fluorine; titanium; no difference -->

# %%
LEARNERS = {
    "random_forest": ("composition", {"n_estimators": 40}),
    "kernel_ridge_structure": ("environments", {}),
    "kernel_ridge": ("both", {}),
}
new_errors, rows = {}, []
for element in ("F", "Ti"):
    has = [element in structure.symbol_set for structure in crystals["structure"]]
    ids = crystals.index[has]
    for method, (view, settings) in LEARNERS.items():
        new = (predicted(method, view, ids, **settings) - y[ids]).abs()
        known = errors.loc[ids, method].abs()
        new_errors[element, method] = new
        rows.append((element, method, known.mean(), new.mean()))
columns = ["element", "method", "known", "new"]
left_out = pd.DataFrame(rows, columns=columns)

# %% mystnb={"image": {"alt": "Mean absolute error on crystals with fluorine in one panel and with titanium in another, for the random forest and kernel ridge on environments and on both views: a mark for models that knew the element and one for models that did not, joined by a line. The lines are much longer for fluorine."}}
from course_lib.teaching.figures.hybrids import plot_left_out

plot_left_out(left_out, "eV/atom")

# %%
growth = left_out.set_index(["element", "method"])
growth = (growth["new"] - growth["known"]).unstack("element")
assert (growth["F"] > growth["Ti"]).all()
assert (growth["F"] > 0.1).all()
without_f = left_out[left_out["element"] == "F"].set_index("method")
assert without_f["known"].idxmin() == "kernel_ridge"
assert without_f["new"].idxmin() != "kernel_ridge", "the best is another one"
print(growth.rename(index=LABELS).round(3).to_string())
middle = growth.median().rename({"F": "fluorine", "Ti": "titanium"}).sort_values()
(easier, least), (harder, most) = middle.items()
measured(
    "element",
    f"without {easier} the error grows by {least:.2f} eV/atom, "
    f"without {harder} by {most:.2f} eV/atom",
)

# %% [markdown]
# (The models that know the element are those of the folds: there, the *formulas* are new, but not the elements. The
# forest without the element has 40 trees in place of 100, to save time.)
#
# All three models lose more without fluorine than without titanium. A likely reason: titanium lies in the middle of
# the periodic table, with zirconium, scandium and vanadium around it, and most of its properties lie between theirs.
# Fluorine is at the edge: no element has a larger electronegativity, and fluorides have the most negative energies. A
# model that has never seen such values has to extrapolate, whatever it reads. And the best model on known elements is
# not the best here: without fluorine, kernel ridge on both views falls behind a simpler one.
#
# ## New prototypes
#
# The other way to be new is a new structure. We leave out all perovskites, and then all wurtzites, whatever their
# elements.
#
# > **Predict.** A model that knew no wurtzite at all is compared with the models of the folds, which knew others of
# > them, but no polymorph of the tested formula. Which has the smaller error on wurtzites?
# >
# > <!-- predict: prototype; the one that knew no wurtzite; those of the folds; no difference -->

# %%
rows = {}
for prototype in ("perovskite", "wurtzite"):
    ids = crystals.index[crystals["prototype"] == prototype]
    off = predicted("kernel_ridge", "both", ids) - y[ids]
    known = errors.loc[ids, "kernel_ridge"].abs().mean()
    rows[prototype] = (known, off.abs().mean(), off.mean())
columns = ["error: known", "error: left out", "mean of prediction − truth"]
unseen = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
grows = unseen["error: left out"] / unseen["error: known"]
assert grows["perovskite"] > 1.5
assert grows["wurtzite"] < 0.8
formulas = crystals.groupby("prototype")["formula"].agg(set)
assert formulas["wurtzite"] <= formulas["zincblende"], "each has a near twin"
unseen.round(3)

# %%
of_folds, without = unseen.loc["wurtzite"].iloc[:2]
better = "the one that knew no wurtzite" if without < of_folds else "those of the folds"
low, high = sorted([of_folds, without])
measured("prototype", f"{better}: {low:.3f} against {high:.3f} eV/atom")

# %% [markdown]
# Without perovskites the errors grow, and most have one sign: the model has no example of how much energy this structure
# is worth. Without wurtzites the error *falls*. Every wurtzite here has a polymorph with nearly the same
# surroundings, the zinc blende of the same formula. Now this zinc blende is in the training set; in the folds by
# formula it was not. So a prototype that is left out is not always new: ask what the training set still knows of it.
#
# The protocol leaves out every element and every prototype in turn, for the networks as well.
#
# ## How sure?
#
# A prediction is more useful with an estimate of its error. An **ensemble** offers one: train several seeds,
# take their mean as the prediction, and their standard deviation as its uncertainty. The records have three seeds of
# ALIGNN.
#
# > **Predict.** If the errors were normally distributed with this standard deviation, the true energies of 95 % of the
# > crystals would lie within 1.96 standard deviations of the prediction. How many do?
# >
# > <!-- predict: sure; more than 90 %; 70 to 90 %; 50 to 70 %; fewer than half -->

# %%
ensemble = seeds["alignn"]
middle, spread = ensemble.mean(axis=1), ensemble.std(axis=1)
error = (middle - truth).abs()
inside = (error <= 1.96 * spread).mean()
print(f"mean spread {spread.mean():.3f}, mean error {error.mean():.3f} eV/atom")
assert spread.mean() < error.mean()
assert inside < 0.8
measured("sure", f"{inside:.0%} of the crystals")

# %% [markdown]
# Far too few. The spread says how much the *seed* matters. It does not contain what all seeds have in common: the same
# training crystals, the same features, the same architecture, the same missing elements. And three numbers estimate a
# standard deviation badly.
#
# Intervals are **calibrated** if those made to contain 80 % of the true values do contain 80 %, and so for every
# other share. Bad calibration can be repaired with crystals that the models were not trained on. We compare three
# kinds of intervals around the mean of the ensemble:
#
# - *spread as it is*: the normal distribution with the standard deviation of the seeds;
# - *spread, scaled*: the spread times a factor, which is chosen on the other folds so that the wanted share lies
#   inside;
# - *one width for all*: the errors on the other folds give one width; the spread is not used.

# %%
from scipy.stats import norm

shares = [0.1, 0.3, 0.5, 0.68, 0.8, 0.9, 0.95]
widths = {"spread as it is": {}, "spread, scaled": {}, "one width for all": {}}
for share in shares:
    scaled, constant = pd.Series(0.0, error.index), pd.Series(0.0, error.index)
    for number in fold_of.unique():
        here = fold_of == number
        factor = (error / spread)[~here].quantile(share)
        scaled[here], constant[here] = (
            factor * spread[here],
            error[~here].quantile(share),
        )
    as_it_is = norm.ppf((1 + share) / 2) * spread
    for name, width in zip(widths, (as_it_is, scaled, constant), strict=True):
        widths[name][share] = width
observed = pd.DataFrame(
    {
        name: {share: (error <= width).mean() for share, width in of_share.items()}
        for name, of_share in widths.items()
    }
)
mean_width = {name: of_share[0.9].mean() for name, of_share in widths.items()}
mean_width = pd.Series(mean_width, name="mean half width for 90 %, eV/atom")

# %% mystnb={"image": {"alt": "Calibration plot: share of crystals inside the intervals against the share that should be. The curve of the spread as it is lies far below the diagonal; the scaled spread and one width for all lie on it."}}
from course_lib.teaching.figures.hybrids import plot_calibration

plot_calibration(observed)

# %%
wanted_share = observed.index.to_numpy()
off = observed.sub(wanted_share, axis=0)
assert (off["spread as it is"].loc[0.3:] < -0.1).all(), "too sure of itself"
assert (off[["spread, scaled", "one width for all"]].abs() < 0.06).all(axis=None)
assert mean_width["spread, scaled"] > mean_width["one width for all"]
mean_width.round(2)

# %% [markdown]
# Both repaired kinds are calibrated, although one of them says the same for every crystal. The scaled spread is even
# wider on average: three seeds sometimes agree by chance, and the factor has to be large to cover those crystals, too.
# So calibration is not everything. An uncertainty should also tell *easy* crystals from *hard* ones. Does the spread do
# that? We sort the crystals by it, in five equal groups. A hybrid has a second kind of spread, for which nothing needs
# to be trained again: how much do the two partners, ALIGNN and kernel ridge, differ?

# %% mystnb={"image": {"alt": "Mean absolute error of five equal groups of crystals, sorted by spread from small to large, for the spread of three seeds of ALIGNN and for the difference between ALIGNN and kernel ridge. On both lines the error of the last group is far above that of the first; in between they need not rise at every step."}}
from course_lib.teaching.figures.hybrids import plot_error_by_spread

disagreement = (out_of_fold["kernel_ridge"] - middle).abs()
kinds = {"three seeds of ALIGNN": spread, "ALIGNN and kernel ridge": disagreement}
groups = {
    name: error.groupby(pd.qcut(values.rank(), 5, labels=False)).mean()
    for name, values in kinds.items()
}
groups = pd.DataFrame(groups)
plot_error_by_spread(groups, "eV/atom")

# %%
assert (groups.iloc[-1] > 1.5 * groups.iloc[0]).all()
ranks = {name: values.corr(error, method="spearman") for name, values in kinds.items()}
assert all(0.05 < rank < 0.6 for rank in ranks.values()), "a hint, no more"
print(
    "rank correlation with the error:",
    {k: round(float(v), 2) for k, v in ranks.items()},
)

# %% [markdown]
# Where predictions disagree, the errors are larger on average, whichever kind of disagreement we take. But the rank
# correlation is small: many crystals on which all agree are still wrong. Use the spread to decide which crystals to
# check first, not as an error bar.
#
# And calibration holds only for crystals like those it was made with. We take the 80 % width of kernel ridge from the
# folds, and apply it to crystals of an element that was left out:

# %%
by_ridge = errors["kernel_ridge"].abs()
width = by_ridge.quantile(0.8)
holds = {"all crystals of the folds": (by_ridge <= width).mean()}
for element in ("F", "Ti"):
    holds[f"{element} left out"] = (new_errors[element, "kernel_ridge"] <= width).mean()
assert holds["F left out"] < 0.6
pd.Series(holds, name="share inside the 80 % interval").round(2)

# %% [markdown]
# For fluorine the promise of 80 % is broken. A width that was measured on known elements cannot warn of that.
#
# ## What we saw
#
# - Means over a formula cannot say who is the neighbour of whom. A bond can carry its length in units of the radii, and
#   with it chemistry that a network would have to learn. What that is worth, 25 folds must say, not one short run.
# - One learner is better with both views than with either alone. This is shown, for kernel ridge on composition and
#   local environments.
# - A blend gains most if the partner is about as strong and errs differently. The formula of the best blend says how
#   much.
# - The control of a blend is a second seed, not the network alone. Without it, the gain of averaging is taken for a gain
#   of the second view. Against this control, five folds could not show a gain.
# - Fluorine, at the edge of the periodic table, is harder to do without than titanium. Perovskites are harder to do
#   without than wurtzites, each of which has a near twin.
# - The spread of seeds is not an error bar. It can be calibrated, for crystals like those that we have.
#
# | hybrid | try it when | costs |
# |---|---|---|
# | chemistry in the graph | the network has few examples to learn it from | one training run of a slightly larger network |
# | one learner on both tables | the learner cannot get one view from the other | seconds |
# | blend with an equal partner | errors correlate little, for example 0.5 | two models |
# | mean of two seeds | you can afford a second training run | two models |
#
# **When this stops being true.** With many more crystals a network can learn the chemistry by itself, and may leave
# kernel ridge behind. (The memory of kernel ridge grows with the square of their number, its training time with the
# cube.) Then the partner is no longer equal. With far fewer, the networks are the weak partners. Notebook 9 looks at
# a network that was trained on a million structures elsewhere.
#
# ## Check yourself
#
# 1. Two models have equally large errors with correlation 0.5. By how many percent does the best blend reduce the
#    spread? (A number.)
# 2. A paper blends its network with a forest and reports 5 % less error than the network alone. What do you ask first?
#    - `a` How many trees does the forest have?
#    - `b` How much does averaging two seeds of the network give?
#    - `c` On how many crystals was it trained?
# 3. The two orders of TiNiSn have the same Magpie features, but not the same local environments. Why?
#    - `a` Magpie reads how much there is of each element, not who is next to whom.
#    - `b` Their cells have different volumes.
#    - `c` Magpie rounds its features.
# 4. Intervals of one width for all crystals are calibrated. What are they still not good for?
#    - `a` They hold too few of the true values.
#    - `b` They cannot be computed without a network.
#    - `c` They do not tell easy crystals from hard ones.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_8
#
# check_yourself_8(..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. By $1 - \sqrt{(1 + 0.5) / 2}$, which is 13 %; at 0.9 by less than 3 %.
# 2. How much two seeds of the network gain when they are averaged, which settings were tuned on what, and how large the
#    interval of the difference is.
# 3. Magpie reads only how much there is of each element. Local environments read who is next to whom and how far away,
#    and this changes when two atoms exchange places.
# 4. They do not tell easy crystals from hard ones, and they hold only for crystals of the kind that they were made
#    with.
#
# </details>
#
# ## Exercises
#
# [Exercise 2: Reading alpha](ex2_reading_alpha.ipynb) derives the best weight from the two spreads and the correlation.
# In [Exercise 9: Your own question](ex9_your_own_question.ipynb) you can compare a hybrid with its control, for example
# kernel ridge on both views with kernel ridge on one.
#
# ## Further reading
#
# Local environments as features: {cite:t}`ward2017environments`. Combining forecasts: {cite:t}`bates1969combination`;
# any number of models: {cite:t}`breiman1996stacked`. Ensembles of networks: {cite:t}`lakshminarayanan2017ensembles`.
# Calibration of regressors: {cite:t}`kuleshov2018calibration`. Intervals over folds: {cite:t}`nadeau2003inference`.
#
# ## A quest
#
# Copper chloride crystallises in the zinc blende structure, with a lattice constant of 5.42 Å. An atom at (0, 0, 0) has
# its nearest neighbours at (1/4, 1/4, 1/4) and three equivalent places, in units of the lattice constant. What is the
# relative distance $q$ of this bond?

# %%
radii_of_both = radius[["Cu", "Cl"]]
relative_distance = ...  # your answer

# %%
from course_lib.teaching.checkers.quests import check_quest_8

check_quest_8(relative_distance)
