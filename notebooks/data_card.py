# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The crystals: a data card
#
# **Question.** What are the crystals that come with the course, where do their numbers come from, and how far can you
# trust them?
#
# **You will learn to**
#
# - say what is in the dataset and what is not;
# - say how each number was computed, and how accurate it is;
# - recompute one of its rows.
#
# **You need** nothing but notebook 0. **Time to read:** 15 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## What it is
#
# Each row is a crystal in one of 17 *prototypes*: rock salt, zinc blende, perovskite and so on. A prototype fixes where
# the atoms sit; only the elements and one or two lattice constants are free. For each crystal the lattice constants
# were relaxed and two properties were computed with density-functional theory:
#
# - the **formation energy** in eV per atom: the energy of the crystal minus that of its pure elements. A negative value
#   means that the crystal is more stable than the elements;
# - the **band gap** in eV; 0 for a metal.
#
# Most formulas appear in several prototypes. That is the point of the dataset: composition alone cannot tell them apart.

# %%
import json

import pandas as pd

from course_lib.datasets import DATA, load_dataset

crystals = load_dataset("pbe_prototypes")
built = json.loads((DATA / "results" / "pbe_build.json").read_text())
assert built["crystals"] == len(crystals)
pd.Series(
    {
        "crystals": built["crystals"],
        "formulas": built["formulas"],
        "formulas with two or more structures": built[
            "formulas_with_several_structures"
        ],
        "prototypes": len(built["prototypes"]),
        "elements": len(built["elements"]),
        "with a band gap": built["with_band_gap"],
        "computed, but rejected": sum(built["rejected"].values()),
        "not converged": built["not_converged"],
    },
    name="number",
).to_frame()

# %% mystnb={"image": {"alt": "Periodic table with the number of crystals that contain each element. Magnetic metals from chromium to nickel, noble gases, lanthanides and technetium, rhenium and osmium have none; the others have between some thirty and some 150 each, oxygen most."}}
from course_lib.teaching.figures.dataset import plot_periodic_table

plot_periodic_table(pd.Series(built["elements"]))

# %% mystnb={"image": {"alt": "Formation energy and band gap of every crystal by prototype, one dot per crystal, a bar at the median. Formation energies reach from about minus 4 to plus 3 electronvolts per atom, with medians near zero. Most crystals are metals; gaps are found mainly in zinc blende, rock salt, fluorite, CsCl, perovskite and wurtzite, and in half of the cuprites."}}
from course_lib.teaching.figures.dataset import plot_by_prototype

labels = {
    "formation_energy_per_atom": "formation energy (eV/atom)",
    "band_gap": "band gap (eV)",
}
plot_by_prototype(crystals, labels)

# %% [markdown]
# The numbers in brackets count the crystals. The bars are medians.
#
# ## Polymorphs
#
# Two crystals with the same formula and different structures are *polymorphs*. How far apart are their energies?

# %% mystnb={"image": {"alt": "Histogram of the difference in formation energy between every two crystals with the same formula. Half of the pairs differ by less than a quarter of an electronvolt per atom, some by more than one."}}
from course_lib.teaching.figures.dataset import plot_polymorph_differences

plot_polymorph_differences(crystals, "formation_energy_per_atom", "eV/atom")

# %%
from itertools import combinations

pairs = [
    (formula, first.prototype, second.prototype, abs(first.energy - second.energy))
    for formula, group in crystals.groupby("formula")
    for first, second in combinations(
        group[["prototype", "formation_energy_per_atom"]]
        .set_axis(["prototype", "energy"], axis=1)
        .itertuples(),
        2,
    )
]
columns = ["formula", "first", "second", "difference"]
pairs = pd.DataFrame(pairs, columns=columns).sort_values("difference")
print(f"{len(pairs)} pairs; the nearest and the farthest, in eV/atom:")
pd.concat([pairs.head(4), pairs.tail(4)]).set_index("formula").round(3)

# %% [markdown]
# The next table lists the pairs of prototypes that share most formulas, and how far apart their energies are:

# %%
meeting = pairs.groupby(["first", "second"])["difference"].agg(["size", "median"])
meeting.nlargest(8, "size").round(3)

# %% [markdown]
# ## How it was computed
#
# | | |
# |---|---|
# | code | GPAW {cite:p}`enkovaara2010gpaw,mortensen2024gpaw`, plane waves |
# | functional | PBE {cite:p}`perdew1996pbe`, without spin |
# | cutoff | 600 eV where an element has a hard PAW data set (H B C N O F Be Ti V Cu Zn Ga Sc), else 400 eV |
# | k-points | at least 2.4 per inverse angstrom, even and Gamma-centred |
# | occupations | Fermi smearing of 0.05 eV |
# | relaxation | lattice constants only, until the next step would change them by less than 1.2 %; the residual stress is recorded |
# | references | the crystals of the Delta-codes project {cite:p}`lejaeghere2016delta`; molecules for H, N, O and F; the S₈ ring for sulfur |
# | corrections | none |
#
# Why even and Gamma-centred? An odd mesh leaves out the boundary of the Brillouin zone, where many gaps are smallest.
# `data/README.md` has the details, known flaws included. Every row has its residual stress:

# %%
stress = crystals["residual_stress"]
print(f"half of the crystals below {stress.median():.2f} GPa, 95 % below", end=" ")
print(f"{stress.quantile(0.95):.2f} GPa, the largest {stress.max():.1f} GPa")
pd.Series(built["rejected"], name="crystals").rename_axis("why rejected").to_frame()

# %% [markdown]
# ## How accurate it is
#
# Some of the crystals are also in the Materials Project {cite:p}`jain2013materialsproject`. It used another code and
# other settings, and it shifts the energies of some classes of compounds so that they agree better with experiments. We
# do not shift energies. So the two must differ for those classes, and should agree elsewhere. We compare crystals with
# the same formula and space group, and a volume within 10 %, that are not magnetic there.

# %%
validation = json.loads((DATA / "results" / "pbe_validation.json").read_text())
assert validation["data_sha256"] == crystals.attrs["sha256"], "validate again"
energy = validation["formation_energy_ev_per_atom"]
plain, shifted = energy["without_correction"], energy["with_correction"]
print(f"not shifted there: {plain['n']} crystals, mean absolute difference", end=" ")
print(f"{1000 * plain['mean_absolute']:.0f} meV/atom")
print(f"shifted there:     {shifted['n']} crystals, mean absolute difference", end=" ")
print(f"{1000 * shifted['mean_absolute']:.0f} meV/atom")
assert plain["mean_absolute"] <= 0.030
assert shifted["mean_absolute"] > 3 * plain["mean_absolute"]

# %% mystnb={"image": {"alt": "Mean difference in formation energy from the Materials Project by class of compound. Intermetallics, carbides, selenides, tellurides and others that are not shifted there lie near zero, hydrides at plus 0.07; nitrides, sulfides, chlorides, fluorides and oxides, which are shifted there, lie at plus 0.2 to 0.4 electronvolts per atom."}}
from course_lib.teaching.figures.dataset import plot_validation

by_class = pd.DataFrame(energy["by_class"]).T
by_class["n"] = by_class["n"].astype(int)
shifted_there = energy["shift_per_anion_of_corrected_classes"]
by_class["corrected"] = by_class.index.isin(list(shifted_there))
plot_validation(by_class, "eV/atom")

# %% [markdown]
# We examined every crystal that differs by more than 0.1 eV/atom although no shift applies. For most of them the other
# database holds another state or another crystal:

# %%
from IPython.display import display

outliers = pd.DataFrame(validation["beyond_100_mev_without_correction"])
with pd.option_context("display.max_colwidth", None):
    display(outliers.set_index("id"))

# %% [markdown]
# Band gaps agree as well as one can expect of two calculations with different k-meshes and volumes:

# %%
gaps = validation["band_gap_ev"]
agree, n = gaps["metal_or_insulator_agree"], gaps["all"]["n"]
print(f"metal or not: {agree} of {n} agree")
print(
    f"where one of the two has a gap: {gaps['either_insulates']['n']} crystals,",
    end=" ",
)
print(f"mean absolute difference {gaps['either_insulates']['mean_absolute']:.2f} eV")

# %% [markdown]
# ## What it is not good for
#
# - **Magnetic elements, lanthanides, actinides**: there are none. A model trained here knows nothing about them.
# - **Stability.** Many of the crystals do not exist in nature: each formula was put into a prototype whether or not it
#   is stable there. And atoms could not move off their sites, so a structure that would distort stays as it is.
# - **Band gaps for devices.** PBE gaps are too small, by a third or more, and spin-orbit coupling is missing.
# - **Layered crystals and molecules**: van der Waals forces are not included.
# - **Comparison with energies of the Materials Project** where that database shifts them (see above).
#
# ## Recompute a row
#
# With GPAW installed, one command recomputes recorded crystals at their recorded cells and prints the difference:
#
# ```
# python3 -m data.pbe_prototypes.check row zincblende-Be-O --folder data/pbe_prototypes/raw
# ```
#
# `python -m data.pbe_prototypes.build` makes the file of the course from the raw results; the same results give the
# same bytes, and a test checks this.
#
# ## Licence and citation
#
# The data are our own, under CC BY 4.0. Please cite the course, as `README.md` in its repository says, and give the
# version by its checksum:

# %%
print("sha256", crystals.attrs["sha256"][:16], "...,", crystals.attrs["licence"])
assert crystals.attrs["licence"] == "CC BY 4.0"
