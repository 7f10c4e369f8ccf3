"""Training steps of two tasks on one trunk against those of one task, for each trunk, same crystals, one thread."""

from __future__ import annotations

from time import process_time

import numpy as np
import torch
from bench_training import BATCH_SIZE, training
from timing import interleaved_ratio, verdict_of_cost

from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import MultiTask
from course_lib.models.multitask import TRUNKS

TARGET = 1.1
REPEATS = 15


def main() -> int:
    torch.set_num_threads(1)
    frame = load_dataset("pbe_prototypes")
    graphs = CrystalGraphs.from_structures(frame["structure"], targets=frame[["formation_energy_per_atom", "band_gap"]])
    order = np.random.default_rng(0).permutation(len(graphs))
    print(
        "Training step (forward, backward, optimiser) per bundled crystal: trunks of default size, batches of\n"
        f"{BATCH_SIZE} made before. One thread, CPU time, medians of {REPEATS} interleaved repeats.\n"
    )
    outcomes = []
    for trunk in TRUNKS:
        functions = {}
        for n_tasks in (1, 2):
            view = graphs.select_targets(graphs.target_names[:n_tasks])
            batches = [view.batch(rows) for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))]
            torch.manual_seed(0)
            model = MultiTask(trunk, n_targets=n_tasks)
            optimizer = torch.optim.AdamW(model.parameters(), fused=True)
            functions[f"{trunk}, heads: {n_tasks}"] = training(model, optimizer, batches, flush=True)
        table = interleaved_ratio(functions, REPEATS, clock=process_time)
        table["times the cost"] = 1 / table["times faster"]
        print(f"{table[['microseconds', 'times the cost']].round(2).to_string()}\n")
        outcomes.append(verdict_of_cost(f"two tasks on {trunk}", table["times the cost"].iloc[-1], TARGET))
        print()
    return max(outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
