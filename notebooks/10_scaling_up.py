# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scaling up
#
# **Question.** The crystals of this course fit on a laptop. What changes with a hundred thousand of them: for the
# models, for the memory, for the time, and for the machine?
#
# **You will learn to**
#
# - read a public leaderboard with the size of each dataset in mind;
# - run a method on the official folds of Matbench, and write the file that the leaderboard accepts;
# - keep memory bounded, whatever the number of crystals;
# - train on several devices and check that they compute the same as one device;
# - continue a run that was killed, and estimate what a run costs before you start it.
#
# **You need** notebooks 1 to 3; notebook 5 for ALIGNN. **Time to read:** 40 min. **Time to run:** at most 90 s on two
# cores.

# %% [markdown]
# ## More crystals, different winners?
#
# Matbench {cite:p}`dunn2020matbench` is a set of public tasks, from hundreds of crystals to more than a hundred
# thousand. Everybody uses the same folds, so results can be compared. We look at five entries of its leaderboard. The
# forest, RF-SCM/Magpie, reads Magpie features and the sine Coulomb matrix of the crystal (notebook 7), so it is a
# hybrid, unlike the forest of this course. MODNet {cite:p}`debreuck2021modnet` reads selected features of composition
# and structure. CGCNN, ALIGNN and coGN {cite:p}`ruff2024cogn` are graph networks. ALIGNN reads angles on a line
# graph; coGN does without them, and its sister coNGN adds them.
#
# The units differ from task to task. So each error is divided by that of a *dummy* that always predicts the mean.
#
# > **Predict.** On which two of the eight tasks is the forest closest to ALIGNN? (Small: fewer than 5,000 crystals.)
# >
# > <!-- predict: closest; two small ones; two large ones; one of each -->

# %% [markdown]
# > **Predict.** Is there a task that no graph network wins?
# >
# > <!-- predict: winner; no; yes, small ones; yes, large ones; yes, small and large ones -->

# %% mystnb={"image": {"alt": "Errors of five models on eight Matbench tasks, from 636 to 132,752 crystals, divided by the error of a dummy. On two of the three smallest tasks the models lie close together; on the largest one the graph networks have a third of the forest's error and less."}}
import pandas as pd

from course_lib.datasets import DATA, catalogue
from course_lib.teaching.figures.scaling import plot_leaderboard

board = pd.read_csv(DATA / "matbench_leaderboard.csv", index_col="model")
board.columns = [column.split(" (")[0] for column in board]
crystals_of = catalogue()["crystals"]
sizes = {task: int(crystals_of[f"matbench_{task}"]) for task in board}
models = ["RF-SCM/Magpie", "MODNet (v0.1.12)", "CGCNN v2019", "ALIGNN", "coGN"]
plot_leaderboard(board, sizes, models, reference="Dummy")

# %%
tasks = pd.DataFrame({"crystals": sizes, "best": board.idxmin()})
tasks["forest / ALIGNN"] = board.loc["RF-SCM/Magpie"] / board.loc["ALIGNN"]
tasks = tasks.sort_values("crystals")
few, many = tasks[tasks["crystals"] < 5000], tasks[tasks["crystals"] > 10_000]
assert (few["best"] == "MODNet (v0.1.12)").sum() == 2, "of three"
assert many["best"].isin(["coGN", "coNGN"]).all(), "graph networks win all large ones"
assert (many.nlargest(3, "crystals")["best"] == "coGN").all(), "without line graphs"
tasks.round(2)

# %%
from course_lib.teaching.predictions import measured

closest = tasks["forest / ALIGNN"].nsmallest(2).index
assert closest.isin(few.index).all()
measured("closest", f"two small ones, {' and '.join(closest)}")

# %%
by_features = tasks.index[tasks["best"].str.startswith("MODNet")]  # no graph network
assert by_features.isin(few.index).all()
measured("winner", f"yes, small ones: {' and '.join(by_features)}")

# %% [markdown]
# The column *best* covers all entries of our copy, not only the five in the figure. With few crystals, selected
# features win two of three tasks: no graph network is best there. With more than 10,000, a graph network wins every
# time. coGN, which has no line graph, is best on the three largest tasks: angles are one way to improve a graph
# network, but not the only one.
#
# The forest comes closest to ALIGNN on two of the three smallest tasks. But size is not everything. On the third it is
# far behind. It is furthest behind on the perovskites, which are not the largest task. And `mp_e_form` and `mp_gap` are
# of similar size, yet the distance between forest and ALIGNN is very different: the property matters as well.

# %%
gap = tasks["forest / ALIGNN"]
assert gap.idxmax() == "perovskites"
assert gap["mp_e_form"] > 2 * gap["mp_gap"]

# %% [markdown]
# ## A recorder that checks
#
# A result counts if it follows the rules: official folds, every test crystal predicted once, and nothing chosen on a
# test set. The `matbench` package provides the folds and records the predictions. `course_lib` does the rest:
#
# ```bash
# course-lib benchmark --task matbench_jdft2d --method random_forest --folder runs/jdft2d
# ```
#
# That command downloads the data. This page must run without a network, so the next cell writes a stand-in: a file in
# the format of Matbench, with as many crystals as its smallest task, but with our own crystals. The errors below are
# therefore *not* errors on Matbench. The procedure is the same.

# %%
import os
import tempfile

from matminer.utils.io import store_dataframe_as_json

from course_lib.datasets import load_dataset

TASK = "matbench_jdft2d"
place = tempfile.TemporaryDirectory()
os.chdir(place.name)  # all that this page writes goes there, and is gone with it
ours = load_dataset("pbe_prototypes").iloc[: crystals_of[TASK]]
energies = ours["formation_energy_per_atom"].to_numpy()
frame = pd.DataFrame({"structure": list(ours["structure"]), "exfoliation_en": energies})
store_dataframe_as_json(frame, "stand_in.json.gz", compression="gz", pbar=False)

# %% [markdown]
# The file is read crystal by crystal, and each graph is written as soon as it is made (more on this below). The ids are
# those that Matbench gives its crystals, because its folds refer to them.

# %%
from course_lib.composition import magpie
from course_lib.datasets import stream_dataset
from course_lib.graphs import CrystalGraphs

stream = stream_dataset("stand_in.json.gz")
ids = [f"mb-jdft2d-{number + 1:03d}" for number in range(len(stream.ids))]
graphs = CrystalGraphs.from_structures(
    stream.structures,
    ids=ids,
    targets=stream.targets.set_axis(ids),
    composition=magpie,
    attrs={"name": TASK},
    folder="stand_in/graphs",
)
print(f"{len(graphs)} crystals, {len(graphs.vector):,} edges")

# %%
import logging

from matbench.bench import MatbenchBenchmark

from course_lib.matbench_tasks import benchmark

forest = {"n_estimators": 20, "n_jobs": 1}
scores = benchmark(TASK, "random_forest", "stand_in", settings=forest)
logging.getLogger("matbench").setLevel(logging.ERROR)  # it tells each of its steps
read = MatbenchBenchmark.from_file("stand_in/results.json.gz")
assert read.is_recorded
assert read.is_valid
assert abs(read.tasks_map[TASK].scores.mae.mean - scores["mae"].mean()) < 1e-9
scores.round(3)

# %% [markdown]
# The table has five folds, each with the package's own scores: the mean absolute error, the root of the mean squared
# error, the mean absolute error as a share of the true value (huge where that is near zero), and the largest error.
# `is_valid` is the package's verdict: no fold is missing, and each has a prediction for each of its test crystals.
# `from_file` refuses a file that was changed after it was written.
#
# The rules cannot check how you chose your settings. If you try ten networks on the test folds and submit the best, the
# leaderboard will accept the result, although it is too optimistic. `benchmark` sets aside one eighth of each training
# part to choose the epoch. Choose everything else on other data, as this course does on its own crystals.

# %%
fold = read.tasks_map[TASK].results["fold_0"].data
others = [read.tasks_map[TASK].results[f"fold_{k}"].data for k in range(1, 5)]
assert not any(set(fold) & set(other) for other in others), "no crystal is tested twice"
assert len(fold) + sum(map(len, others)) == len(graphs), "and none is left out"

# %% [markdown]
# ## Where the memory goes
#
# > **Predict.** A crystal graph of 30 atoms has about 400 edges, and an edge takes some 20 bytes: two atoms and three
# > coordinates, four bytes each. How much do the graphs of 130,000 such crystals take?
# >
# > <!-- predict: disk; about 10 MB; about 100 MB; about 1 GB; about 10 GB -->

# %% [markdown]
# > **Predict.** One process trains a network on graphs from a folder with 1,000 such crystals, another on graphs from a
# > folder with 130,000. How much memory does the second need, compared with the first?
# >
# > <!-- predict: memory; less than twice as much; 2 to 10 times as much; more than 10 times as much -->

# %% [markdown]
# We start with one batch of the crystals of this page, which are smaller. A training step needs only 64 of them:

# %%
one = graphs.batch(range(64))
size = sum(value.nbytes for _, value in one if hasattr(value, "nbytes")) / 1e6
stored = sum(file.stat().st_size for file in os.scandir("stand_in/graphs")) / 1e6
print(f"one batch: {size:.1f} MB; all graphs on disk: {stored:.1f} MB")

# %% [markdown]
# Everything else can stay on the disk. `CrystalGraphs` keeps a dataset as a few long arrays, one file each. The files
# are **memory-mapped**: to Python they look like arrays, but the system reads a piece when it is accessed, and drops it
# when the memory is needed for something else. A second process that maps the same files shares the pieces with the
# first.

# %%
import numpy as np

print(type(graphs.vector).__name__, graphs.vector.shape)
assert isinstance(graphs.vector, np.memmap)

# %% [markdown]
# Building works in the same way, a few hundred crystals at a time. The next figure shows what was measured, up to the
# size of `matbench_mp_e_form`, on generated crystals of 30 atoms.
#
# - **Lines**: peak memory of a process, without the pieces of files that the system can drop at any time.
# - **Crosses**: what two users of the published ALIGNN code reported in its public issues. In
#   [93](https://github.com/usnistgov/alignn/issues/93) a job with 28,000 CIF files was killed at 500 GB, for a reason
#   that the thread does not settle. In [90](https://github.com/usnistgov/alignn/issues/90) two processes with 400,000
#   crystals took 66 GB. Their crystals were different, so this is not a race. Since then, that code has gained a
#   database on disk.

# %% mystnb={"image": {"alt": "Peak memory against the number of crystals on logarithmic axes. Building from a stream stays flat up to 130,000 crystals, training nearly so, both below one gigabyte; building in memory rises. Two crosses far above: 500 gigabytes at 28,000 crystals and 66 at 400,000."}}
from course_lib.teaching.figures.scaling import plot_memory

recorded = pd.read_json(DATA / "results" / "large_data.jsonl", lines=True)
recorded = recorded[~recorded["step"].str.contains("CIF")]  # generated crystals only
drawn = recorded["step"].isin(["build in memory", "build from a stream", "train"])
reported = {
    "ALIGNN issue 93: killed": (28_000, 500),
    "ALIGNN issue 90: two processes": (400_000, 66),
}
plot_memory(recorded[drawn], reported)

# %%
columns = ["step", "crystals", "seconds", "own_mb", "all_mb", "disk_mb"]
large = recorded.loc[recorded["crystals"] >= 28_000, columns].set_index("step")
large.round().astype("Int64").astype("string").fillna("")

# %%
built = recorded[recorded["step"] == "build from a stream"].set_index("crystals")
largest = built.index.max()
on_disk = built["disk_mb"][largest] / 1000
measured("disk", f"{on_disk:.1f} GB for {largest:,} crystals")

# %%
own = recorded[recorded["step"] == "train"].set_index("crystals")["own_mb"].sort_index()
times = own.iloc[-1] / own.iloc[0]
sizes_in_mb = f"{own.iloc[-1]:.0f} MB and {own.iloc[0]:.0f} MB"
measured("memory", f"{times:.1f} times as much ({sizes_in_mb})")

# %% [markdown]
# All sizes are in megabytes. `disk_mb` answers your first prediction: 130,000 times 400 edges times 20 bytes are
# about 1 GB, and what belongs to atoms and crystals adds a little. `own_mb` answers the second, and is the line in
# the figure; `all_mb` also includes the pieces of the mapped files. For training, `own_mb` hardly
# grows with the number of crystals: most of it is Python, its libraries and the network. To save time, training used
# at most 20,000 crystals of a folder. The machine was also doing other work, so take the seconds as a rough guide.
#
# A straight line through the last two points of building from a stream estimates what 400,000 crystals would take:

# %%
first, last = sorted(built.index)[-2:]
for quantity in ("own_mb", "disk_mb"):
    slope = (built[quantity][last] - built[quantity][first]) / (last - first)
    would = built[quantity][last] + slope * (400_000 - last)
    print(f"{quantity}: {built[quantity][last]:.0f} measured, {would:.0f} expected")
shared = recorded[recorded["step"].str.contains("processes read")].iloc[0]
print(f"two processes on one map: {shared['own_mb']:.0f} MB of their own in all")
of_step = recorded.set_index("step")["own_mb"]
assert of_step["train"].max() < 1000, "batches included"
assert of_step["build from a stream"].max() < 500 < of_step["build in memory"].max()

# %% [markdown]
# ## Two processes that work as one
#
# With several GPUs, each gets its part of every batch. Each computes the gradient of its part; the gradients are
# averaged; all take the same step {cite:p}`li2020ddp`. This is *data-parallel training*, DDP in PyTorch. For a step
# to be the same as on one device with the whole batch, three things must hold:
#
# - the batch size counts all devices together. Eight devices with 64 crystals each make a batch of 512: a different
#   training run, which needs a different learning rate {cite:p}`goyal2017minibatch`;
# - no crystal is used twice (common loaders repeat some, to make all parts equally large);
# - the **batch norm** {cite:p}`ioffe2015batchnorm` uses the mean and spread of the whole batch.
#
# The last one is easily forgotten. Without it, every process normalises by its own part. The smaller the part, the
# noisier its mean. Here are made-up features, normalised in parts and as a whole. (The mean difference is in
# standard deviations.)

# %%
import torch

torch.manual_seed(0)
values = torch.randn(64, 16)
norm = torch.nn.BatchNorm1d(16, affine=False)
whole = norm(values)
for n_processes in (1, 2, 8, 32):
    parts = torch.cat([norm(part) for part in values.chunk(n_processes)])
    off = (parts - whole).abs().mean()
    rows = 64 // n_processes
    print(f"{n_processes:2d} processes, {rows:2d} rows each: off by {off:.2f}")
assert off > 0.3

# %% [markdown]
# `course_lib` takes the sums for the mean and the spread over all processes. Let us see whether two processes then do
# the same as one. We do the same training run once in this process and once in two. The commands are those of
# a terminal, after the word `course-lib`.
#
# > **Predict.** To how many digits will the two validation errors agree?
# >
# > <!-- predict: digits; one or two; three or more, but not all; all -->

# %%
import io
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

from course_lib import cli


def course_lib(command):
    """Run a command of `course-lib` here, which saves the imports; return its table."""
    table, messages = io.StringIO(), io.StringIO()
    with redirect_stdout(table), redirect_stderr(messages):
        code = cli.main(shlex.split(command))
    assert code == 0, messages.getvalue()
    return pd.read_csv(io.StringIO(table.getvalue()))


# %%
TRAINING = "train --size hidden=16 n_conv=2 --set epochs=5 accelerator=cpu"
alone = course_lib(f"{TRAINING} --folder alone")

command = [sys.executable, "-m", "course_lib", *shlex.split(TRAINING)]
two = [*command, "devices=2", "--folder", "two"]
done = subprocess.run(two, capture_output=True, text=True)
assert done.returncode == 0, done.stderr
together = pd.read_csv(io.StringIO(done.stdout))
pd.concat({"one process": alone, "two processes": together}).droplevel(1)

# %%
difference = abs(alone["mae"][0] - together["mae"][0])
print(f"difference of the validation errors: {difference:.6f} eV/atom")
assert difference < 1e-4

# %%
measured("digits", f"{alone['mae'][0]:.6f} and {together['mae'][0]:.6f} eV/atom")

# %% [markdown]
# The first digits agree, but the last ones need not. Sums in another order round differently, and over many steps such
# differences grow. The tests of this library do the same with every network of the course, and check that each
# crystal is used once.
#
# ## Killed at night
#
# A cluster ends your job when its time is up. So the run writes a checkpoint after each epoch. It writes it under a
# temporary name first and renames it in one step, so a half-written checkpoint never occurs. We start the same training
# run again and kill it, with the signal that no program can catch, as soon as a checkpoint exists.

# %%
import time
from pathlib import Path

quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen([*command, "--folder", "killed"], **quiet)
while not Path("killed/last.ckpt").exists() and process.poll() is None:
    time.sleep(0.02)
process.kill()
print("ended by signal", -process.wait(), "after epoch", end=" ")
print(torch.load("killed/last.ckpt", weights_only=True)["epoch"] + 1, "of 5")

# %%
course_lib(f"{TRAINING} --folder killed --resume")
states = [
    torch.load(f"{folder}/best.ckpt", weights_only=True)["state_dict"]
    for folder in ("alone", "killed")
]
off = max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0])
print(f"largest difference of any weight: {off}")
assert off < 1e-6

# %% [markdown]
# Shuffling and dropout also continued where they had stopped. If you continue with other crystals, other settings, or
# another version of the library, you get an error that says what differs.
#
# The trained model predicts crystals from files. The second crystal has elements that no training crystal had. The
# column `outside` says what is out of domain:

# %%
from pymatgen.core import Lattice, Structure

ours["structure"].iloc[0].to(filename="known.cif")
xenon = Structure(Lattice.cubic(4.0), ["Xe", "Pu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
xenon.to(filename="foreign.cif")
answer = course_lib("predict --model killed known.cif foreign.cif")
assert answer["outside"].tolist()[0] == "no"
assert answer["outside"].str.startswith("element").tolist() == [False, True]
answer.drop(columns="target")

# %% [markdown]
# ## What will it cost?
#
# $$ \text{time} = \frac{\text{folds} \times \text{epochs} \times \text{training crystals}}{\text{crystals per second}}
# $$
#
# The denominator must be measured, for your network, your crystals and your machine. We recorded it for CGCNN, and for
# ALIGNN at its published size (4 ALIGNN layers, 4 GCN layers and 256 features), on generated crystals of 30 atoms.

# %%
speed = pd.read_json(DATA / "results" / "device.jsonl", lines=True)
shown = ["device", "model", "precision", "batch_size", "crystals_per_second"]
speed[shown]

# %%
on_cpu = speed[speed["device"].str.startswith("cpu")]
fastest = on_cpu.groupby("model")["crystals_per_second"].max()
epochs = {"cgcnn": 100, "alignn": 500}  # our default; what the leaderboard's entry used
rows = {}
for task in ("jdft2d", "mp_gap", "mp_e_form"):
    learned = sizes[task] * 4 / 5 * 7 / 8
    for name, rate in fastest.items():
        rows[task, name] = 5 * epochs[name] * learned / rate / 3600 / 24
cost = pd.Series(rows).unstack().loc[["jdft2d", "mp_gap", "mp_e_form"]].round(2)
assert cost.loc["mp_e_form", "alignn"] > 300, "no task for this machine"
cost

# %% [markdown]
# The table shows days on the CPU for all five folds, if every crystal had 30 atoms. (In notebook 5 ALIGNN cost only a
# few times as much as CGCNN. That was a small ALIGNN, on crystals whose symmetry saves most of the angles. Here it has
# its published size, and the crystals have no symmetry.) With patience, CGCNN can be trained on the largest task on
# this machine. ALIGNN cannot. How fast would the machine have to be to finish in a week?

# %%
needed = 5 * 500 * sizes["mp_e_form"] * 4 / 5 * 7 / 8 / (7 * 24 * 3600)
print(
    f"{needed:.0f} crystals per second, {needed / fastest['alignn']:.0f} times as many"
)

# %% [markdown]
# **The tables hold what was measured, on the devices that the column `device` names. We do not guess how fast others
# are.** If you have a GPU, you can add its rows with
#
# ```bash
# python tools/benchmarks/bench_device.py --record data/results/device.jsonl
# ```
#
# It measures both networks in 32-bit and in 16-bit precision (`bf16`), and with and without `torch.compile`. Batches
# are made in the loop in one measurement, and are already on the device in another. It also measures how the time of a
# step divides into its parts. On the CPU they are, in percent of a step:

# %%
parts = ["batch", "move", "forward", "backward", "optimizer"]
share = on_cpu.set_index("model")[parts]
assert (share["batch"] < 0.1).all(), "the crystals are not what one waits for"
(100 * share).round(1)

# %% [markdown]
# How fast is the library? We compare each network with a plain one of the same size, written as one
# usually writes it with PyG. Both train in turn in one process, on one thread. The table says how many times as long
# the plain network takes. It was recorded on two kinds of crystals: on the bundled ones, and on the same with all atoms
# displaced by 0.1 Å. Symmetry makes many edges of the bundled crystals equivalent, and the library computes equivalent
# edges only once. Most real crystals have little symmetry, so expect the right column there.

# %%
recorded_speed = pd.read_json(DATA / "results" / "speed.jsonl", lines=True)
kinds_of_crystals = ["bundled", "bundled, atoms displaced"]
with_pyg = recorded_speed[
    recorded_speed["compared with"].str.startswith("PyG")
    & recorded_speed["crystals"].isin(kinds_of_crystals)
]
of_kind = with_pyg.pivot(
    index=["network", "processor"], columns="crystals", values="times the cost"
)
of_kind = of_kind[kinds_of_crystals].dropna()
assert (of_kind > 1).all(axis=None)
assert (of_kind["bundled, atoms displaced"] < of_kind["bundled"]).all()
of_kind

# %% [markdown]
# The ratio depends on the processor as well as on the crystals. (The processors were also measured differently. On the
# first one, the plain networks computed with numbers closer to zero than $10^{-38}$. Some processors are very slow with
# such numbers, so on the second one they were rounded to zero for all, as the library always does.)
#
# And where does the library's own time go on displaced crystals? The table has it for the second processor, in percent
# of a step. The last two columns are not shares of the time. The first of them compares the library's matrix products
# with the product of two large matrices, which a processor does about as fast as it can. The other one compares the
# operations that go through a table once (exponentials and other passes) with adding 1 to a table that fits into no
# cache, by the bytes they read and write per second. Above 100 %, tables stay in the cache.

# %%
kinds = ["matrix products", "exponentials", "gathers and sums by index", "other passes"]
low = with_pyg[with_pyg["crystals"] == "bundled, atoms displaced"].set_index("network")
columns = [*kinds, "speed of products", "speed of passes"]
(100 * low[columns].dropna()).round().astype(int)  # the first processor lacks the last

# %% [markdown]
# `make bench` measures all this on your machine.

# %% [markdown]
# ## On a cluster
#
# You can write the options of a run into a file; every run stores its own as `config.yaml`:
#
# ```yaml
# # alignn.yaml
# dataset: graphs/e_form
# method: alignn
# folder: runs/e_form
# size: {hidden: 256, alignn_layers: 4, gcn_layers: 4}
# set: {epochs: 300, batch_size: 64, accelerator: gpu, devices: 4, num_nodes: 2, precision: bf16-mixed}
# ```
#
# Build the graphs once, on any machine: `course-lib data build matbench_mp_e_form --folder graphs/e_form --jobs -1`. All
# processes of all machines then map the same folder. With SLURM, start one task per GPU. The first line of the script
# is `#!/bin/bash`, followed by:
#
# ```bash
# #SBATCH --nodes=2
# #SBATCH --ntasks-per-node=4
# #SBATCH --gpus-per-node=4
# #SBATCH --time=24:00:00
# srun course-lib train --config alignn.yaml --resume
# ```
#
# `--resume` does no harm the first time. When the time is up, submit the same script again. Without SLURM, run on each
# of the two machines:
#
# ```bash
# torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29500 \
#     -m course_lib train --config alignn.yaml --resume
# ```
#
# We have tested two processes on one machine without a GPU, started as above and by `torchrun`. We have not tested
# several machines, nor SLURM.
#
# ## Submit a result
#
# 1. Run `course-lib benchmark --task matbench_mp_gap --method alignn --config gap.yaml --folder runs/gap`, with sizes and
#    settings in `gap.yaml`. Folds can run at the same time, in one folder: `--folds 0`, `--folds 1` and so on.
# 2. Write `info.json`: authors, description of the algorithm, references.
# 3. Put it into a folder with `results.json.gz` and your code (a notebook or script), and open a pull request at the
#    [repository of Matbench](https://github.com/materialsproject/matbench), which explains each step.
#
# ## What we saw
#
# - On two of the three small tasks selected features win; on all large ones graph networks win, with line graphs and
#   without.
# - Memory need not grow with the number of crystals: whatever a step does not need stays on the disk.
# - Several processes take the same steps as one, if batch size, shuffling and batch norm refer to the whole batch.
# - A run that can be killed at any time is worth more than a fast one.
# - Crystals per second and the number of epochs tell you before the start whether a run will finish in time.
#
# **When this stops being true.** With very large crystals, memory grows with the atoms of a batch, so take smaller
# batches. With disks on a slow network, reading random pieces is slow; copy the folder to each machine first. With
# hundreds of devices, their parts get small, and they wait for each other.
#
# ## Check yourself
#
# 1. A colleague trains on four GPUs with a batch of 64 each, and finds the error worse than on one GPU with a batch of
#    64. Which differences between the runs do you suspect first?
#    - `a` The order of the crystals, and rounding: four GPUs add the numbers up in another order.
#    - `b` Each GPU trains a network of its own.
#    - `c` The batch and the number of steps, and the crystals that batch norm sees.
# 2. You have 3,000 crystals, and one week of a GPU. What does the leaderboard suggest that you try first?
#    - `a` The largest graph network, for the whole week.
#    - `b` Features with a forest or MODNet; then a network, and a blend.
#    - `c` Five networks with different seeds, and the mean of their predictions.
# 3. Your job is killed at 40 GB while it *builds* graphs from CIF files. What do you look for?
#    - `a` A batch that is too large for the memory of the machine: half of it may fit.
#    - `b` A list that collects crystals or graphs before they are written.
#    - `c` A network with too many weights.
# 4. You try five learning rates on fold 0 of a Matbench task, take the best, and run all five folds with it. Is
#    `is_valid` true? Is the result?
#    - `a` Neither: the crystals of fold 0 were used twice.
#    - `b` Both: each fold was tested once, with one learning rate for all.
#    - `c` `is_valid` is true, the result too optimistic.
#
# <details><summary>Check your answers in JupyterLab</summary>
#
# In a new cell, put a letter or a number in the place of the dots:
#
# ```python
# from course_lib.teaching.checkers.check_yourself import check_yourself_10
#
# check_yourself_10(..., ..., ..., ...)
# ```
#
# </details>
#
# <details><summary>Answers</summary>
#
# 1. The batch is 256, four times as large, with a quarter of the steps in an epoch at the old learning rate. And unless
#    batch norm is synchronised, each GPU normalises by its own 64; if it is, by 256.
# 2. Features and a forest, or MODNet, which takes minutes; then a network, and the blend of the two (notebook 3).
# 3. Whether the crystals, or their graphs, are collected in a list before they are written. It is better to read one,
#    then write one.
# 4. `is_valid` is true: it cannot know. The result is too optimistic, because the test part of fold 0 chose the
#    learning rate.
#
# </details>
#
# ## Exercises
#
# [Exercise 5: Choosing a method](ex5_choosing_a_method.ipynb) asks which method fits which situation, among them one with
# 100,000 crystals and several GPUs. In JupyterLab, work in the copy in `work/exercises`, which has no solutions.
#
# ## Further reading
#
# The benchmark: {cite:t}`dunn2020matbench`. Data-parallel training, and the cost of communication: {cite:t}`li2020ddp`.
# Large batches and their learning rate: {cite:t}`goyal2017minibatch`. The library that starts the processes here:
# {cite:t}`falcon2019lightning`. The networks at the top: {cite:t}`choudhary2021alignn`, {cite:t}`ruff2024cogn`.
#
# ## A quest
#
# This page used the first of our crystals. The next cell builds the graphs of the last 200. Suppose that a database
# holds five million crystals like these. How many gigabytes do their edges take, at 20 bytes per edge?

# %%
crystals = load_dataset("pbe_prototypes")
others = CrystalGraphs.from_structures(crystals["structure"].iloc[-200:])
print(f"{len(others)} crystals, {len(others.vector):,} edges")
gigabytes = ...  # your answer, in units of a billion bytes

# %%
from course_lib.teaching.checkers.quests import check_quest_10

check_quest_10(gigabytes, crystals)
