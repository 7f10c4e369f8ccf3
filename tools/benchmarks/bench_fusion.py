"""Training steps of the networks that read both views against CGCNN's, same sizes, same crystals, one thread."""

from __future__ import annotations

from time import process_time

import numpy as np
import torch
from bench_training import BATCH_SIZE, training
from timing import interleaved_ratio, verdict_of_cost

from course_lib.composition import magpie
from course_lib.datasets import load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import CGCNN, AttentionFusion, EarlyFusion, IntermediateFusion

TARGET = 1.25
REPEATS = 15


def main() -> int:
    torch.set_num_threads(1)
    frame = load_dataset("pbe_prototypes")
    graphs = CrystalGraphs.from_structures(
        frame["structure"],
        composition=magpie(frame["structure"]),
        targets=frame[["formation_energy_per_atom"]],
    )
    order = np.random.default_rng(0).permutation(len(graphs))
    batches = [graphs.batch(rows) for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))]
    functions = {}
    for make in (CGCNN, EarlyFusion, IntermediateFusion, AttentionFusion):
        torch.manual_seed(0)
        model = make()
        model.fit_preprocessing(torch.from_numpy(graphs.features))
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        functions[make.__name__] = training(model, optimizer, batches, flush=True)
    print(
        "Training step (forward, backward, optimiser) per bundled crystal: networks of default size, batches of\n"
        f"{BATCH_SIZE} made before. One thread, CPU time, medians of {REPEATS} interleaved repeats."
    )
    table = interleaved_ratio(functions, REPEATS, clock=process_time)
    table["times the cost"] = 1 / table["times faster"]
    print(f"\n{table[['microseconds', 'times the cost']].round(2).to_string()}\n")
    fusions = table["times the cost"].drop("CGCNN")
    return max(verdict_of_cost(f"{name}'s training step", cost, TARGET) for name, cost in fusions.items())


if __name__ == "__main__":
    raise SystemExit(main())
