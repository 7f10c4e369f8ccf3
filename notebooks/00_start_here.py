# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here
#
# **Question.** A chemical formula and a crystal structure both say something about a material. What does a model
# gain from seeing both?
#
# **You will learn**
#
# - what a *hybrid model* is, and what question this course answers about it;
# - how the course is built, and how to work through it;
# - whether your computer has all it needs.
#
# **You need** some Python, NumPy and pandas, and a basic idea of PyTorch and of how a neural network is trained
# (epochs, learning rate). You need no chemistry beyond the periodic table. The [glossary](../pages/glossary.md)
# explains the terms of the field.
#
# **Time to read:** 10 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## One crystal, two descriptions
#
# Ask two experts how stable a crystal of table salt is.
#
# The first knows only the formula, NaCl. She thinks of sodium, which gives an electron away easily, and of
# chlorine, which takes one eagerly. That alone tells her that the two will bind strongly. A few numbers about each
# element are enough. This is the **composition view**.
#
# The second looks at the crystal itself. Each sodium has six chlorine neighbours, 2.8 Å away, at the corners of an
# octahedron. He thinks about distances and neighbours. This is the **structure view**. In this course a *graph neural
# network* takes this view: atoms are nodes, and edges join neighbours.
#
# A **hybrid model** uses both. The course asks when that pays off, by how much, and which of three ways to join them is
# best:
#
# - **early fusion** joins the two descriptions, then one model predicts;
# - **late fusion** lets two models predict, then averages their answers;
# - **intermediate fusion** mixes the two inside the network, before it predicts.
#
# > **Predict.** Two crystals have the same formula, but their atoms are arranged differently. Which of the two
# > experts must give both crystals the same answer? The answer is below, under the first table.
# >
# > <!-- predict: experts; the one who reads the formula; the one who sees the structure; both -->

# %% [markdown]
# ## The course at a glance
#
# Each notebook starts with a question and asks you for a prediction before it shows the result. The
# [home page](../pages/index.md) lists them all, with the time that each takes and the exercises that belong to it. If
# this is your first course on the subject, read notebook 1 next; all others build on it.

# %% [markdown]
# ## The crystals
#
# The course brings its own crystals; there is nothing to download. Their energies were computed with
# density-functional theory, which finds the energy of a crystal from its electrons. It needs one approximation, the
# *functional*; ours is the usual one, called PBE. Here are the first rows:

# %%
from course_lib.datasets import load_dataset

crystals = load_dataset("pbe_prototypes")
print(f"{len(crystals)} crystals, {crystals['formula'].nunique()} formulas")
print(f"{crystals['prototype'].nunique()} prototypes")
crystals[["formula", "prototype", "formation_energy_per_atom", "band_gap"]].head()

# %% [markdown]
# - **formula**: the elements and their amounts.
# - **prototype**: the name of the arrangement of the atoms, for example *rocksalt*, the structure of NaCl. A
#   crystal's id is its prototype and its elements.
# - **formation energy per atom**, in eV/atom: the energy of the crystal minus that of its pure elements. A negative
#   value means that energy is released when the crystal forms from them. This is the first target of the course.
# - **band gap**, in eV: the energy an electron needs to become free to move; 0 for a metal. We use it where two
#   properties are learned together.

# %%
from course_lib.teaching.predictions import measured

share = crystals["formula"].duplicated(keep=False).mean()
measured(
    "experts",
    "the one who reads the formula; "
    f"{share:.0%} of our crystals have the same formula as another",
)

# %% [markdown]
# Such crystals are the same to her, so she must give them the same answer. The other expert sees that their atoms are
# arranged differently. Notebook 1 starts here and measures how much that matters.

# %% [markdown]
# ## Is everything installed?
#
# The next cell checks your installation. Every row should say `True`. Where one does not, its last column says what to
# do.

# %%
from course_lib.teaching.environment import check_environment

environment = check_environment()
environment

# %%
missing = environment[~environment["ok"]]
print("Everything is installed." if missing.empty else missing["fix"].to_string())

# %% [markdown]
# ## How to work through the course
#
# 1. Read a notebook from top to bottom, and run each cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.
# 2. When you meet a box that says **Predict**, stop. Commit to a number or a sentence before you go on. A wrong guess
#    that you remember teaches more than a right answer that you only read.
# 3. Change something and run the cell again. You cannot break anything: `make lab` opens copies of the notebooks, in
#    the folder `work`. To get notebook 2 back as it was, delete `work/02_early_fusion.ipynb` and run `make lab`
#    again.
#
# Two promises hold on every page. *Every number was computed*, either by a cell on the page or by a recorded run in
# `data/results/` that one command repeats. *Every claim is tested*: where a page says that one model beats another, a
# cell checks this, and stops with an error if it is not true.
#
# If a cell fails, look at the usual causes in `README.md` or on the website's page *When something fails*.

# %% [markdown]
# ## What we saw
#
# - A hybrid model reads the formula and the structure of a crystal together.
# - A model that reads only the formula must give all crystals with this formula the same answer. Most of our crystals
#   share their formula with another.
# - Your computer is ready, or you know what it lacks.
#
# Next: *Two views of a crystal*.
#
# ## Further reading
#
# Composition features: {cite:t}`ward2016magpie`. Crystal graph networks: {cite:t}`xie2018cgcnn`. How such models
# are compared: {cite:t}`dunn2020matbench`.
#
# ## A quest
#
# Our crystals include magnesium oxide, MgO, in several structures. The expert who reads the formula gives one number
# for all of them. She chooses it so that the largest of her errors is as small as possible. How large is that error?

# %%
oxide = crystals[crystals["formula"] == "MgO"]
print(oxide["formation_energy_per_atom"].round(3).to_string())
largest_error = ...  # your answer, in eV/atom

# %%
from course_lib.teaching.checkers.quests import check_quest_0

check_quest_0(largest_error, crystals)
