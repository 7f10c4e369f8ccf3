"""Timing that the benchmarks share: run the candidates in turn, several times, and compare medians."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import torch
from recording import ran_on, record

from course_lib.training import flush_denormals

KINDS = {
    "matrix products": ("mm", "matmul", "linear"),
    "exponentials": ("softplus", "sigmoid", "silu", "exp", "log", "tanh"),
    "gathers and sums by index": ("index", "gather", "scatter"),
}
"""Kinds of operations, by what their names in PyTorch hold; all else are other passes over the tables."""

_ONLY_VIEWS = (
    "view", "as_strided", "transpose", "aten::t", "slice", "select", "split", "chunk", "expand", "detach", "squeeze",
    "empty", "alias", "permute", "narrow", "resize", "unbind", "item", "local_scalar", "clone", "contiguous",
    "aten::to", "_to_copy",
)  # fmt: skip
"""Operations that read and write no table, or leave it to others."""


def interleaved_ratio(
    functions: Mapping[str, Callable[[], int]], repeats: int, clock: Callable[[], float] = perf_counter
) -> pd.DataFrame:
    """Return how long each function takes per item, and how many times faster than the first one it is.

    The functions run in turn in every repeat, so a slow spell of the machine falls on all of them; each ratio
    is taken within a repeat, and the median over the repeats is reported.

    Parameters
    ----------
    functions : mapping of str to callable
        What to compare, the reference first. Each does its work and returns the number of items it worked on.
        Each runs once before the clock starts, so that imports and caches do not count.
    repeats : int
        Number of timed runs of each.
    clock : callable, default time.perf_counter
        What to read the time from; ``time.process_time`` leaves out what other programs take.

    Returns
    -------
    pandas.DataFrame
        Index: the names. Columns: ``microseconds``, median time per item; ``times faster``, median ratio to
        the first function; ``lowest``, ``highest``: the extremes of that ratio.
    """
    for function in functions.values():
        function()
    seconds = np.empty((repeats, len(functions)))  # per item
    for repeat in range(repeats):
        for column, function in enumerate(functions.values()):
            begin = clock()
            n_items = function()
            seconds[repeat, column] = (clock() - begin) / n_items
    ratio = seconds[:, :1] / seconds
    return pd.DataFrame(
        {
            "microseconds": 1e6 * np.median(seconds, axis=0),
            "times faster": np.median(ratio, axis=0),
            "lowest": ratio.min(axis=0),
            "highest": ratio.max(axis=0),
        },
        index=list(functions),
    )


def verdict(what: str, times_faster: float, target: float) -> int:
    """Print the target and whether it is met; return the exit code of the script, 1 when it is not."""
    met = times_faster >= target
    outcome = "Met." if met else "NOT met."
    print(f"Target: {what} at least {target:g} times faster. Measured: {times_faster:.1f}. {outcome}")
    return 0 if met else 1


def verdict_of_cost(what: str, times_the_cost: float, limit: float) -> int:
    """Do as `verdict` does, for something that may cost at most `limit` times as much as the reference."""
    met = times_the_cost <= limit
    outcome = "Met." if met else "NOT met."
    print(f"Target: {what} at most {limit:g} times the cost. Measured: {times_the_cost:.2f}. {outcome}")
    return 0 if met else 1


def compare(
    network: str, crystals: str, functions: Mapping[str, Callable[[], int]], repeats: int, file: Path | None
) -> pd.Series:
    """Print, and record, how long training steps of the library and of others take, and where its time goes.

    Parameters
    ----------
    network, crystals : str
        What is trained, and on which crystals, as the record calls them.
    functions : mapping of str to callable
        As for `interleaved_ratio`; the library's comes first, then the others.
    repeats : int
        Number of timed runs of each.
    file : path, optional
        File that keeps the numbers, one JSON object per comparison and line.

    Returns
    -------
    Series
        By the names of the others: how many times as long they take, as the median over the repeats.
    """
    ours, *others = functions
    # As in the library's training. Else the tails of the Gaussians are denormal numbers in the plain networks, and some
    # processors are so slow with these that nothing else would be measured.
    with flush_denormals():
        table = interleaved_ratio(functions, repeats, clock=process_time)
        shares, products, passes = where_time_goes(functions[ours])
    times = 1 / table[["times faster", "highest", "lowest"]]
    times.columns = ["times the cost", "lowest", "highest"]
    print(table[["microseconds"]].join(times).round(2).to_string())
    listed = ", ".join(f"{kind} {share:.0%}" for kind, share in sorted(shares.items(), key=lambda item: -item[1]))
    print(
        f"Of its time: {listed}. Its products run at {products:.0%} of the speed of a large product, its passes at "
        f"{passes:.0%} of the speed at which a large table can be read and written.",
        flush=True,
    )
    for other in others if file else ():
        row = {"network": network, "compared with": other, "crystals": crystals} | times.loc[other].round(2).to_dict()
        row["microseconds"] = round(table.loc[ours, "microseconds"])
        row |= {kind: round(share, 3) for kind, share in shares.items()}
        row |= {"speed of products": round(products, 3), "speed of passes": round(passes, 3)}
        record(file, row | ran_on(), ("network", "compared with", "crystals", "processor"))
    return times["times the cost"].loc[others]


def where_time_goes(function: Callable[[], int]) -> tuple[dict[str, float], float, float]:
    """Return which share of the time each kind of operation takes, and how fast products and other passes are.

    Products are compared with one of two matrices of 1,024 rows and columns, which a processor does about as fast as it
    can: what they lack to 1 is spent on reading and writing tables. Passes (exponentials and those without a kind) are
    compared with adding 1 to a table that fits into no cache, by the bytes that they read and write: near 1, only fewer
    or smaller tables make them faster. They are above 1 where tables stay in the cache.
    """
    large, table = torch.ones(1024, 1024), torch.ones(64, 1024, 1024)
    seconds, flops, moved = _operations(function)
    for reference in (lambda: large @ large, lambda: table + 1):
        _operations(reference)  # the first call starts the library
    one, of_one, _ = _operations(lambda: large @ large)
    copy, _, copied = _operations(lambda: table + 1)
    product, passes = "matrix products", ("exponentials", "other passes")
    return (
        {kind: time / sum(seconds.values()) for kind, time in seconds.items()},
        flops / seconds[product] / (of_one / one[product]),
        moved / sum(map(seconds.get, passes)) / (copied / sum(map(copy.get, passes))),
    )


def _operations(function: Callable[[], object]) -> tuple[dict[str, float], float, float]:
    """Return the time (s) of each kind of operation in a call, the operations of its products, the bytes of passes."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True, record_shapes=True
    ) as profile:
        function()
    seconds, flops, moved = dict.fromkeys([*KINDS, "other passes"], 0.0), 0, 0
    for event in profile.key_averages(group_by_input_shape=True):
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "other passes")
        seconds[kind] += event.self_cpu_time_total / 1e6
        flops += event.flops
        if kind in ("exponentials", "other passes") and event.key.startswith("aten::"):
            moved += event.count * _bytes(event.key, event.input_shapes)
    return seconds, flops, moved


def _bytes(name: str, shapes: list[list[int]]) -> int:
    """Return what an operation reads and writes, in single precision: its tables, and one as large as the largest."""
    sizes = [math.prod(shape) for shape in shapes if shape]
    if not sizes or any(part in name for part in _ONLY_VIEWS):
        return 0
    return 4 * (sum(sizes) + (0 if name == "aten::copy_" else max(sizes)))
