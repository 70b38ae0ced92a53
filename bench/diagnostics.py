"""What diagnostics cost: CPU time of each, as a share of the training between measurements.

``python bench/diagnostics.py [--rounds 5] [--json] [PRESET ...]``

One process trains a preset past its first updates and then takes turns: some frames of training,
then every diagnostic once, its batch included. CPU time of the process, medians with the range.
The share is that of a diagnostic at its default schedule: its time over the time of as many
frames of training as lie between two measurements. The default set is what the presets list.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from bench.timing import Times, arguments, extremes, shown, table
from core.api.diagnostics import Bracketing
from core.config import load, resolve
from core.plugins import load_plugins
from core.training import experiment as assembly
from core.training.events import Collected
from core.training.loop import Run

ROOT = Path(__file__).parents[1]
PRESETS = ("quickstart", "streaming_quickstart")
DEFAULT = ("dormant_ratio", "effective_rank", "gradient_norm", "parameter_norm")
STRETCH = {"replay": 500, "stream": 4_000}
"""Frames of training in a round, by data source."""


class Bench:
    """A preset in training, its diagnostics taken out of the loop."""

    def __init__(self, preset: str, directory: Path) -> None:
        torch.set_num_threads(1)
        words = ["evaluation.every=null", "checkpoint.every=null", "threads=1"]
        loaded = load([ROOT / "presets" / f"{preset}.yaml"], [*words, "diagnostics=all"])
        config = resolve(loaded, load_plugins())
        self.stretch = STRETCH[config.data.component.name]
        self.experiment = assembly.build(config, directory)
        self.diagnostics = dict(self.experiment.diagnostics.diagnostics)
        self.experiment.diagnostics.diagnostics.clear()
        self.run = Run(self.experiment, directory, lambda: False)
        self.events = self.run.events()

    def rounds(self, count: int) -> Iterator[tuple[float, dict[str, float]]]:
        """CPU seconds per frame of training, and of every diagnostic, ``count`` times."""
        while self.experiment.agent.learner.updates < 50 or not self._ready():
            next(self.events)
        self._measure()  # the first calls of an operation are slow
        for _ in range(count):
            yield self._train(), self._measure()

    def _ready(self) -> bool:
        probe = self.experiment.view()
        return all(probe.has(diagnostic.batch) for diagnostic in self.diagnostics.values())

    def _train(self) -> float:
        begun, started = self.run.counters.frames, time.process_time()
        for event in self.events:
            if isinstance(event, Collected) and event.step >= begun + self.stretch:
                break
        return (time.process_time() - started) / (self.run.counters.frames - begun)

    def _measure(self) -> dict[str, float]:
        costs = {}
        for name, diagnostic in self.diagnostics.items():
            probe = self.experiment.view()
            started = time.process_time()
            if isinstance(diagnostic, Bracketing):
                diagnostic.before_update(probe)
            diagnostic.measure(probe)
            costs[name] = time.process_time() - started
        return costs


def measure(preset: str, rounds: int) -> tuple[Times, dict[str, int | None]]:
    """CPU seconds by diagnostic and of a ``frame``, and the default schedules."""
    times: Times = {}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(preset, Path(directory))
        for frame, costs in bench.rounds(rounds):
            for name, seconds in {"frame": frame, **costs}.items():
                times.setdefault(name, []).append(seconds)
        bench.events.close()
    return times, {name: d.every for name, d in bench.diagnostics.items()}


def shares(times: Times, schedules: dict[str, int | None], frames: int) -> dict[str, float]:
    """Share of training time at the default schedule; of two measurements, where there is none."""
    frame = statistics.median(times["frame"])
    found = {}
    for name, every in schedules.items():
        between = frames / 2 if every is None else every
        found[name] = statistics.median(times[name]) / (frame * between)
    return found


def show(preset: str, times: Times, schedules: dict[str, int | None], frames: int) -> None:
    share, rows = shares(times, schedules, frames), []
    for name, every in schedules.items():
        when = "first, last" if every is None else f"{every:,}"
        rows.append([name, shown(extremes(times[name]), 1, 1e3), when, f"{share[name]:.2%}"])
    default = sum(share[name] for name in DEFAULT if name in share)
    rows.append(["the default set", "", "", f"{default:.2%}"])
    rows.append(["all", "", "", f"{sum(share.values()):.2%}"])
    frame = 1e6 * statistics.median(times["frame"])
    headings = ["diagnostic", "ms (range)", "every", "share"]
    table(f"{preset}: {frame:.0f} us of CPU a frame", headings, rows)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for preset in options.presets:
        times, schedules = measure(preset, options.rounds)
        frames = resolve(load([ROOT / "presets" / f"{preset}.yaml"]), load_plugins()).run.frames
        results[preset] = {"seconds": times, "shares": shares(times, schedules, frames)}
        if not options.json:
            show(preset, times, schedules, frames)
    if options.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
