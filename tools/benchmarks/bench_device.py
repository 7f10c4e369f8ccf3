"""Training speed of CGCNN and the full ALIGNN on the available device, and where the time goes.

On a GPU every variant runs: single precision and bf16, with and without ``torch.compile``, with batches made in the
loop and with batches that are on the device already. Without one, only the first of each runs, with smaller batches.
The recorded results come from

    python tools/benchmarks/bench_device.py --record data/results/device.jsonl
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from bench_large_data import N_ATOMS, crystal, energies
from recording import ran_on, record
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch_geometric.data import Batch

from course_lib.graphs import CrystalGraphs
from course_lib.models import ALIGNN, CGCNN

MODELS = {"cgcnn": (CGCNN, 256), "alignn": (ALIGNN, 64)}  # and crystals in a batch on a GPU
LESS = 8  # how many times smaller the batches are without a GPU
MATBENCH = 132_752 * 4 // 5 * 7 // 8  # training crystals of a fold of matbench_mp_e_form
PARTS = ("batch", "move", "forward", "backward", "optimizer")
KEYS = ("device", "model", "precision", "compiled", "batches")


class Clock:
    """Adds up what each part of a step takes, after the device has finished it."""

    def __init__(self, device: torch.device):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        self._wait()
        self._last = perf_counter()

    def stop(self, part: str) -> None:
        """Count the time since the last call for `part`."""
        self._wait()
        now = perf_counter()
        self.seconds[part] += now - self._last
        self._last = now


def training(
    network: nn.Module, get: Callable[[int], Batch], device: torch.device, bf16: bool
) -> Callable[[int, Clock], None]:
    """Return a function that takes one step on the batch of a number."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def step(number: int, clock: Clock) -> None:
        batch = get(number)
        clock.stop("batch")
        batch = batch.to(device, non_blocking=True)
        clock.stop("move")
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss: Tensor = l1_loss(network(batch).float(), batch.y)
        clock.stop("forward")
        optimizer.zero_grad()
        loss.backward()
        clock.stop("backward")
        optimizer.step()
        clock.stop("optimizer")

    return step


def measure(name: str, device: torch.device, steps: int, bf16: bool, compiled: bool, ready: bool) -> dict:
    """Train one variant for some steps, after two that do not count, and return what it took."""
    make, size = MODELS[name]
    size //= 1 if device.type == "cuda" else LESS
    number = size * min(steps, 8)
    graphs = CrystalGraphs.from_structures(map(crystal, range(number)), targets=energies(number))
    parts = np.split(np.random.default_rng(0).permutation(number), number // size)
    batches = [graphs.batch(rows).to(device) for rows in parts] if ready else None
    torch.manual_seed(0)
    network = make().to(device).train()
    step = training(
        torch.compile(network, dynamic=True) if compiled else network,
        lambda k: batches[k % len(parts)] if ready else graphs.batch(parts[k % len(parts)]),
        device,
        bf16,
    )
    for k in range(2):
        step(k, Clock(device))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    clock = Clock(device)
    for k in range(steps):
        step(k, clock)
    seconds = sum(clock.seconds.values())
    rate = steps * size / seconds
    found = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread",
        "model": name,
        "precision": "bf16" if bf16 else "float32",
        "compiled": compiled,
        "batches": "on the device" if ready else "made in the loop",
        "batch_size": size,
        "crystals_per_second": round(rate, 2),
        "epochs_per_minute": round(60 * rate / MATBENCH, 4),
        **{part: round(taken / seconds, 3) for part, taken in clock.seconds.items()},
    }
    if device.type == "cuda":
        found["memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="steps that are timed (50 on a GPU, 4 without)")
    parser.add_argument("--record", type=Path, help="file to keep the numbers in, one variant per line")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(
        f"Training steps on crystals of {N_ATOMS} atoms. An epoch is one of a fold of matbench_mp_e_form: {MATBENCH} "
        "crystals.\nThe last columns are shares of the time: making a batch, moving it, forward, backward, optimiser."
    )
    rows = []
    choices = (False, True) if on_gpu else (False,)
    for name, bf16, compiled, ready in itertools.product(MODELS, choices, choices, choices):
        machine = ran_on()
        rows.append(measure(name, device, options.steps or (50 if on_gpu else 4), bf16, compiled, ready))
        if options.record is not None:
            record(options.record, rows[-1] | {"atoms": N_ATOMS} | machine, KEYS)
    print(pd.DataFrame(rows).to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
