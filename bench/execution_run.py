"""Whole runs of ``presets/state_sparse.yaml``, sparse against masked: speed, and sameness.

*run*: both runs live in this process, as ``python -m core.run`` makes them, and take turns of a
few agent steps each, once they learn; collecting, replay and metrics are in the time.
Evaluations and checkpoints are off. *same*: both are run from the command line with one seed,
one after the other, and the lines of their ``metrics.jsonl`` are compared. Rounding grows: Adam
moves a weight whose gradient is all rounding as far as any other, and simulated bodies do the rest.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.timing import Times, quartiles, ratios, say, shown, table
from core.config import load, resolve
from core.plugins import load_plugins
from core.training import experiment as assembly
from core.training.events import Collected
from core.training.loop import Run

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "presets" / "state_sparse.yaml"
STARTS, FRAMES_PER_STEP, UPDATES_PER_STEP = 300, 2, 2
"""Transitions before learning; of the preset: action repeat, replay ratio."""
BACKENDS = ("masked", "sparse")
STEPS = {"masked": 3, "sparse": 9}
"""Agent steps of a turn."""
SHORT = [f"data.learning_starts={STARTS}", "data.capacity=10000"]
QUIET = [*SHORT, "evaluation.every=null", "checkpoint.every=null", "frames=100_000_000"]


# --- speed ------------------------------------------------------------------------------


def stepper(backend: str, scale: float) -> Callable[[int], None]:
    """A run that is past its first updates; a call takes so many agent steps."""
    say(f"run: {backend}, width_scale {scale:g}: building")
    words = [f"execution={backend}", f"network.width_scale={scale}", *QUIET]
    config = resolve(load([PRESET], words), load_plugins())
    directory = Path(tempfile.mkdtemp(prefix="bench-execution-"))
    run = Run(assembly.build(config, directory), directory, lambda: False)
    events = run.events()
    collected = (event for event in events if isinstance(event, Collected))
    while next(collected).updates < 2 * UPDATES_PER_STEP:
        pass

    def steps(count: int) -> None:
        for _ in range(count):
            next(collected)

    return steps


def run(rounds: int, threads: int, scale: float | None) -> dict[str, Any]:
    """Frames per second of both, and how many times faster sparse is."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    scale = scale or 5.0
    ways = {backend: stepper(backend, scale) for backend in BACKENDS}
    wall: Times = {backend: [] for backend in BACKENDS}
    cpu: Times = {backend: [] for backend in BACKENDS}
    for turn in range(rounds):
        say(f"run: round {turn + 1} of {rounds}")
        for backend in BACKENDS[:: 1 if turn % 2 else -1]:
            frames = STEPS[backend] * FRAMES_PER_STEP
            started, processed = time.perf_counter(), time.process_time()
            ways[backend](STEPS[backend])
            wall[backend].append((time.perf_counter() - started) / frames)
            cpu[backend].append((time.process_time() - processed) / frames)
    torch.set_num_threads(before)
    rows = []
    for backend in BACKENDS:
        fast, less = (quartiles(ratios(times, "masked", backend)) for times in (wall, cpu))
        rate, spent = 1 / statistics.median(wall[backend]), statistics.median(cpu[backend])
        rows.append([backend, f"{rate:.3g}", shown(fast), f"{spent:.3g}", shown(less)])
    title = f"Whole run, {PRESET.stem}, width_scale {scale:g}, {threads} threads"
    headings = ["execution", "frames/s", "times as fast, wall", "CPU s/frame"]
    table(title, [*headings, "times as fast, CPU"], rows)
    return {"wall": wall, "cpu": cpu, "scale": scale, "threads": threads}


# --- sameness ---------------------------------------------------------------------------


def lines_of(backend: str, updates: int, threads: int, scale: float) -> list[dict[str, Any]]:
    """The metrics of a run of so many updates, a line for every agent step."""
    say(f"same: {backend}, width_scale {scale:g}, {updates} updates")
    frames = FRAMES_PER_STEP * (STARTS - 1 + updates // UPDATES_PER_STEP)
    words = [f"execution={backend}", f"network.width_scale={scale}", f"threads={threads}"]
    words += [*SHORT, "seed=0", f"frames={frames}", f"log_every={FRAMES_PER_STEP}"]
    words += ["environment.time_limit=1", "evaluation={every: null, final_episodes: 3}"]
    words += ["checkpoint.every=null", "diagnostics=[]"]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        command = [sys.executable, "-m", "core.run", str(PRESET), *words]
        subprocess.run(
            [*command, "--run-dir", str(directory)], cwd=ROOT, check=True, capture_output=True
        )
        text = (directory / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def differences(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, list[float]]:
    """By metric: relative difference of each value, in order."""
    found: dict[str, list[float]] = {}
    for a, b in zip(one, other, strict=True):
        for name in a.keys() & b.keys():
            if not name.startswith(("time/", "step")) and a[name] is not None:
                scale = max(abs(a[name]), abs(b[name]), 1e-12)
                found.setdefault(name, []).append(abs(a[name] - b[name]) / scale)
    return found


def same(updates: int, threads: int, scale: float | None) -> dict[str, Any]:
    """How far the metrics of two runs with one seed are apart, along the way.

    The yardstick is ``masked`` on another number of threads: its products add up in another
    order, and nothing else differs.
    """
    scale = scale or 1.0
    masked, sparse = (lines_of(backend, updates, threads, scale) for backend in BACKENDS)
    other = 1 if threads > 1 else 2
    reordered = lines_of("masked", updates, other, scale)
    found, rounding = differences(masked, sparse), differences(masked, reordered)
    rows = []
    for name in sorted(found):
        row = [name, str(len(found[name]))]
        for values in (found[name], rounding[name]):
            parts = [values[: math.ceil(len(values) * share)] for share in (0.1, 0.5, 1)]
            row += [f"{max(part):.1e}" for part in parts]
        rows.append(row)
    title = f"Largest relative difference to masked on {threads} threads, one seed, up to a share"
    shares = ["10%", "50%", "100%"]
    headings = ["metric", "values", *(f"sparse {s}" for s in shares)]
    headings += [f"masked, {other} threads {s}" for s in shares]
    table(f"{title} of {updates} updates, width_scale {scale:g}", headings, rows)
    return {"updates": updates, "scale": scale, "sparse": found, "other threads": rounding}
