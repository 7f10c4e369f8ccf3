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
# **You need** some Python, NumPy and pandas, a first idea of PyTorch, and of how a neural network is trained (epochs,
# learning rate). No chemistry beyond the periodic table. Words of the field stand in the [glossary](../pages/glossary.md).
#
# **Time to read:** 10 min. **Time to run:** at most 30 s on two cores.

# %% [markdown]
# ## One crystal, two descriptions
#
# Ask two experts how stable a crystal of table salt is.
#
# The first knows only the formula, NaCl. She thinks of sodium, which gives an electron away easily, and of
# chlorine, which takes one eagerly. That alone tells her: these two will bind strongly. A few numbers about each
# element were enough. This is the **composition view**.
#
# The second looks at the crystal itself. Each sodium has six chlorine neighbours, 2.8 Å away, at the corners of an
# octahedron. He thinks about distances and neighbours. This is the **structure view**. In this course a *graph
# neural network* takes it: atoms are the nodes, neighbours are joined by edges.
#
# A **hybrid model** listens to both. The course asks when that pays, how much, and in which of three ways the two
# should be joined:
#
# - **early fusion** joins the two descriptions, then one model predicts;
# - **late fusion** lets two models predict, then averages their answers;
# - **intermediate fusion** mixes the two while the network is still thinking.
#
# > **Predict.** Two crystals have the same formula, but their atoms are arranged differently. Which of the two
# > experts must give both the same answer? Keep your answer; notebook 1 opens with it.
# >
# > <!-- predict: experts; the one who reads the formula; the one who sees the structure; both -->

# %% [markdown]
# ## The course at a glance
#
# Each notebook starts with a question and asks you for a prediction before it shows the result.

# %% mystnb={"image": {"alt": "Map of the course: nine numbered boxes, from start here to scaling up, each with its question."}}
from course_lib.teaching.figures.schematics import plot_course_map

chapters = [
    (0, "Start here", "What is a hybrid model?"),
    (1, "Two views of a crystal", "What does structure add to a formula?"),
    (2, "Early fusion", "Does joining the descriptions help?"),
    (3, "Late fusion", "How to weigh two opinions?"),
    (4, "Intermediate fusion", "Where in the network to mix?"),
    (5, "ALIGNN", "What do bond angles add?"),
    (6, "Multi-task learning", "Can one network learn two properties?"),
    (7, "Side by side", "Which method for which situation?"),
    (8, "Scaling up", "What changes with 100,000 crystals?"),
]
plot_course_map(chapters)

# %% [markdown]
# ## The crystals
#
# The course brings its own data: crystals whose energy was computed for it with density-functional theory (the PBE
# functional), the usual method for such databases. Nothing has to be downloaded. Let us look at a few rows.

# %%
from course_lib.datasets import load_dataset

crystals = load_dataset("pbe_prototypes")
print(f"{len(crystals)} crystals, {crystals['formula'].nunique()} formulas")
print(f"{crystals['prototype'].nunique()} prototypes")
crystals[["formula", "prototype", "formation_energy_per_atom", "band_gap"]].head()

# %% [markdown]
# - **formula**: the elements and their amounts.
# - **prototype**: the name of the arrangement of the atoms, for example *rocksalt*, the structure of NaCl.
# - **formation energy per atom**, in eV/atom: the energy of the crystal minus that of its pure elements. Negative
#   means that energy is released when the crystal forms from them. This is what the course predicts first.
# - **band gap**, in eV: the energy an electron needs to become free to move; 0 for a metal. It comes in when two
#   properties are learned together.

# %% [markdown]
# ## Is everything here?
#
# The next cell looks at your installation. Every line should say `True`. If one does not, its last column says
# what to do.

# %%
from course_lib.teaching.environment import check_environment

environment = check_environment()
environment

# %%
missing = environment[~environment["ok"]]
print("All is here." if missing.empty else missing["fix"].to_string())

# %% [markdown]
# ## How to work through the course
#
# 1. Read a notebook from top to bottom, and run each cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>.
# 2. When you meet a box that says **Predict**, stop. Say a number or a sentence before you go on. A wrong guess
#    that you remember teaches more than a right answer that you read.
# 3. Change something and run the cell again. Nothing can break: `make lab` opened copies of the notebooks, in the
#    folder `work`. Delete `work/02_early_fusion.ipynb` and run `make lab` again, and notebook 2 is back as it was.
#
# Two promises hold on every page. *Every number was computed*: by a cell on the page, or by a recorded run under
# `data/results/` that one command makes again. *Every claim is tested*: where a page says that one model beats
# another, a cell checks it, and would stop with an error if it were not so.
#
# If a cell fails, the page *When something fails* of the website and `README.md` list the usual causes.

# %% [markdown]
# ## What we saw
#
# - A hybrid model reads the formula and the structure of a crystal together.
# - Whether that helps is a question for measurement, with several runs and their spread.
# - Your computer is ready, or you know what it lacks.
#
# Next: *Two views of a crystal*.
#
# ## Further reading
#
# Composition features: {cite:t}`ward2016magpie`. Crystal graph networks: {cite:t}`xie2018cgcnn`. How such models
# are compared: {cite:t}`dunn2020matbench`.
