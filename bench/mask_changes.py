"""What a change of masks costs: RigL on the critic of ``state_sparse.yaml``, by network width.

``python bench/mask_changes.py [--widths 1024 2560] [--rounds 3] [--json]``

Each width and execution backend has a process of its own, with one thread. An agent with the
sizes of humanoid-run learns from random transitions, so that moments exist; then changes (20% of
the critic's live weights dropped and grown) and updates take turns. Times are medians of process
CPU time. Memory is the highest that was in use during a change, above what was in use before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tensordict import TensorDict

from bench.timing import arguments, forget_peak, memory, repeated, seconds, table
from core.agent.agent import Agent, build_agent
from core.api import EnvironmentSpec
from core.config import load, resolve
from core.plugins import load_plugins
from core.training.agent_view import CurrentAgent
from core.training.mask_updates import MaskUpdates
from core.training.recent_transitions import RecentTransitions

ROOT = Path(__file__).parents[1]
HUMANOID = EnvironmentSpec((67,), 21, action_repeat=2)
BACKENDS = ("masked", "sparse")


class Random:
    """A data source of random transitions."""

    def __len__(self) -> int:
        return 1

    def sample(self, size: int, seed: int) -> TensorDict:
        draw = torch.Generator().manual_seed(seed)
        following = {
            "observation": torch.randn(size, 67, generator=draw),
            "reward": torch.randn(size, 1, generator=draw),
            "discount": torch.full((size, 1), 0.99),
        }
        root = {
            "observation": torch.randn(size, 67, generator=draw),
            "action": torch.rand(size, 21, generator=draw) * 2 - 1,
        }
        return TensorDict({**root, "next": TensorDict(following, [size])}, [size])


def built(width: int, backend: str, sparsity: float) -> Agent:
    """``state_sparse`` with a RigL critic of this width, which changes at every frame."""
    masks = (
        f"masks=[{{name: rigl, target: critic, sparsity: {sparsity}, drop_fraction: 0.2, "
        f"decay: constant, every: 1}}, {{name: erdos_renyi, target: actor, sparsity: {sparsity}}}]"
    )
    sizes = ["network.width_scale=1", f"network.critic.width={width}"]
    words = [*sizes, f"execution={backend}", masks]
    config = resolve(load([ROOT / "presets" / "state_sparse.yaml"], words), load_plugins())
    return build_agent(config, HUMANOID, torch.device("cpu"))


def measure(width: int, backend: str, sparsity: float, rounds: int) -> dict[str, Any]:
    agent = built(width, backend, sparsity)
    mask_updates = MaskUpdates(agent.parts.schemes)
    data: Any = Random()
    frames = iter(range(1, 10**6))

    def update() -> None:
        agent.learner.update(data.sample(256, next(frames)))

    def change() -> None:
        environments: Any = None
        probe = CurrentAgent(agent, data, RecentTransitions(0, 0.99), environments, next(frames), 0)
        moved.extend(mask_updates.change(["critic"], probe))

    moved: list[dict[str, float]] = []
    update()
    change()
    update()
    updates, changes, peaks = [], [], []
    for _ in range(rounds):
        updates.append(1e3 * seconds(repeated(update)))
        forget_peak()
        before = memory("VmRSS")
        changes.append(1e3 * seconds(repeated(change)))
        peaks.append((memory("VmHWM") - before) // 2**20)
    shapes = agent.parts.initial["critic"]
    return {
        "width": width,
        "execution": backend,
        "weights": sum(shape.numel() for shape in shapes.values()),
        "moved": moved[-1]["mask/grown/critic"],
        "update_ms": statistics.median(updates),
        "change_ms": statistics.median(changes),
        "peak_mb": statistics.median(peaks),
    }


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2560])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--only", help=argparse.SUPPRESS)  # a process of its own: WIDTH,BACKEND
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        width, backend = options.only.split(",")
        print(json.dumps(measure(int(width), backend, options.sparsity, options.rounds)))
        return
    rows = []
    for width in options.widths:
        for backend in BACKENDS:
            command = [sys.executable, __file__, "--only", f"{width},{backend}"]
            command += ["--sparsity", str(options.sparsity), "--rounds", str(options.rounds)]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=-1).stdout))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    cells = [
        [
            *(str(row["width"]), f"{row['weights']:,}", row["execution"]),
            *(f"{row['change_ms']:,.0f}", f"{row['update_ms']:,.0f}"),
            *(f"{row['change_ms'] / row['update_ms']:.1f}", f"{row['peak_mb']:,.0f}"),
        ]
        for row in rows
    ]
    headings = ["width", "weights", "execution", "a change, ms", "an update, ms", "of updates"]
    table("Changes of masks", [*headings, "memory, MB"], cells)


if __name__ == "__main__":
    main()
