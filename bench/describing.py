"""How long ``python -m core describe`` takes, imports and all.

``python bench/describing.py [--rounds 3] [--json] [PRESET ...]``

Each call is a process of its own, as a user starts it; the presets take turns. Wall time and
the process's CPU time (which another busy process stretches less), medians with the range.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.timing import arguments, extremes, shown, table

ROOT = Path(__file__).parents[1]
PRESETS = ("quickstart", "state_sparse", "state_dense", "ddpg_sparse")


def once(preset: str) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    command = [sys.executable, "-m", "core", "describe", f"presets/{preset}.yaml", "--json"]
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, os.times()
    user = after.children_user - before.children_user
    return wall, user + after.children_system - before.children_system


def run(presets: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    times: dict[str, dict[str, list[float]]] = {p: {"wall": [], "cpu": []} for p in presets}
    for _ in range(rounds):
        for preset in presets:
            wall, cpu = once(preset)
            times[preset]["wall"].append(wall)
            times[preset]["cpu"].append(cpu)
    return times


def show(times: dict[str, dict[str, list[float]]]) -> None:
    rows = [
        [preset, *(shown(extremes(kinds[kind])) for kind in ("wall", "cpu"))]
        for preset, kinds in times.items()
    ]
    table("python -m core describe, seconds", ["preset", "wall (range)", "CPU (range)"], rows)


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    options = parser.parse_args()
    times = run(options.presets, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(times, indent=2) + "\n")
    else:
        show(times)


if __name__ == "__main__":
    main()
