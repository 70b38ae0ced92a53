"""Peak memory while critics train, above what imports take: a fresh process for each way.

``python bench/execution_memory.py WAY WIDTH BLOCKS SPARSITY`` is one such process; it prints
JSON. The peak is that of Linux's VmHWM, set back after building; building has a peak of its
own, since networks are made dense. What the allocator holds back after building is returned
first, which a run does by itself only in part.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from bench import execution_critic as critic
from bench.agents import draw, masked_copy, multiplied, simba
from bench.timing import forget_peak, memory, repeated, say, seconds, table

LARGE, HUGE = (2048, 2), (4096, 1)
"""Width and blocks of two critics: 134.7 and 269 million parameters."""
CASES = (
    (critic.DENSE, *LARGE, 0.9),
    ("masked", *LARGE, 0.9),
    ("sparse", *LARGE, 0.9),
    ("sparse", *LARGE, 0.95),
    ("sparse", *HUGE, 0.9),
)
UPDATES = 3
OURS = ("masked", "sparse")


def megabytes(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process, in MB of 10^6 bytes."""
    return memory(field) / 1e6


def updater(way: str, width: int, blocks: int, sparsity: float) -> Any:
    """A call that makes one update."""
    torch.manual_seed(0)
    network, batch = simba(width, blocks).critic(2), critic.make_batch()
    if way == critic.DENSE:
        by_hand = critic.ByHand(network)
        return lambda: by_hand(batch)
    masks = draw("critic", network, sparsity)
    if way in OURS:
        learner = critic.ours(way, network, masks)
        return lambda: learner.step(batch)
    if way == critic.PRODUCT:
        by_hand = critic.ByHand(multiplied(network, masks))
    else:
        by_hand = critic.ByHand(masked_copy(network, masks), masks)
    return lambda: by_hand(batch)


def trim() -> None:
    """Return freed memory to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def worker(way: str, width: int, blocks: int, sparsity: float) -> dict[str, float]:
    """Build, train, and report MB above the imports."""
    torch.set_num_threads(1)
    critic.ours("masked", simba(16, 1).critic(2), {}).step(critic.make_batch())
    trim()
    base = megabytes("VmRSS")
    update = updater(way, width, blocks, sparsity)
    building = megabytes("VmHWM") - base
    trim()
    built = megabytes("VmRSS") - base
    forget_peak()
    taken = [seconds(repeated(update)) for _ in range(UPDATES)]
    peak, steady = megabytes("VmHWM") - base, megabytes("VmRSS") - base
    numbers = {"base": base, "building": building, "built": built, "peak": peak}
    return numbers | {"steady": steady, "ms": 1e3 * min(taken)}


def run(*, dense: bool) -> list[dict[str, Any]]:
    """Every case in a process of its own, and a table."""
    if not Path("/proc/self/clear_refs").is_file():
        say("memory: needs Linux's /proc")
        return []
    results = []
    for case in CASES:
        if not dense and case[0] != "sparse":
            continue
        way, width, blocks, sparsity = case
        say(f"memory: {way}, width {width}, {blocks} blocks, sparsity {sparsity:g}")
        command = [sys.executable, __file__, *map(str, case)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        case_named = {"way": way, "width": width, "blocks": blocks, "sparsity": sparsity}
        results.append(case_named | json.loads(answer.stdout.splitlines()[-1]))
    show(results)
    return results


def show(results: list[dict[str, Any]]) -> None:
    peaks = {row["way"]: row["peak"] for row in results if row["width"] == LARGE[0]}
    rows = []
    for row in results:
        # Dense networks take the same memory whatever is masked.
        less = (
            f"{peaks[critic.DENSE] / row['peak']:.1f}"
            if critic.DENSE in peaks and row["width"] == LARGE[0]
            else ""
        )
        name = row["way"] if row["way"] not in OURS else f"{row['way']} {row['sparsity']:g}"
        sizes = [f"{row[k]:,.0f}" for k in ("peak", "built", "building")]
        rows.append([name, f"{row['width']} x {row['blocks']}", *sizes, less, f"{row['ms']:.0f}"])
    headings = ["way", "critics", "peak in training", "built", "peak in building"]
    title = "Memory above the imports, MB (10^6 bytes); two critics, AdamW, target copies"
    table(title, [*headings, "times less", "ms an update"], rows)


if __name__ == "__main__":
    name, width, blocks, sparsity = sys.argv[1:]
    print(json.dumps(worker(name, int(width), int(blocks), float(sparsity))))
