"""How fast one process collects cheetah-run from states, against a bare dm_control loop.

``python bench/collecting.py [--rounds 5] [--steps 1000] [--json]``

Every way takes the same number of environment steps with the same policy (a 256x2
tanh-Gaussian), on one thread, with action repeat 1. The ways take turns, so that a busy
machine slows all of them; times are process CPU time per environment step. Ratios are taken
within a round: speed relative to the bare loop of that round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from core.api import EnvironmentContext
from core.training.collector import make_collector
from plugins.environments import register_environments


class Policy(TensorDictModuleBase):
    """A tanh-squashed Gaussian on two hidden layers of 256, on the actor's raw modules."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        self.in_keys, self.out_keys = ["observation"], ["action"]
        self.net = nn.Sequential(
            *(nn.Linear(observations, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
            nn.Linear(256, 2 * actions),
        )

    @torch.no_grad()
    def act(self, observation: Tensor) -> Tensor:
        mean, log_std = self.net(observation).chunk(2, -1)
        return torch.tanh(mean + log_std.clamp(-10.0, 2.0).exp() * torch.randn_like(mean))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        return tensordict.set("action", self.act(tensordict.get("observation")))


BARE = "bare dm_control loop"
Way = Callable[[int], None]
"""Takes this many environment steps."""


def bare_loop() -> Way:
    import numpy as np
    from dm_control import suite

    env = suite.load("cheetah", "run", task_kwargs={"random": 0})
    policy = Policy(17, 6)
    current = env.reset()

    def run(steps: int) -> None:
        nonlocal current
        for _ in range(steps):
            row = np.concatenate([np.ravel(v) for v in current.observation.values()])
            observation = torch.from_numpy(row.astype(np.float32))[None]
            current = env.step(policy.act(observation)[0].numpy())
            if current.last():
                current = env.reset()

    return run


def own_env(count: int) -> Any:
    component = next(c for c in register_environments() if c.name == "dm_control")
    options = component.options(task="cheetah-run", action_repeat=1)
    return component.build(options, EnvironmentContext()).make(count, 0)


def stock_env() -> Any:
    from torchrl.envs import CatTensors, Compose, DMControlEnv, DoubleToFloat, TransformedEnv

    env = DMControlEnv("cheetah", "run")
    cat = CatTensors(["position", "velocity"], "observation")
    return TransformedEnv(env, Compose(cat, DoubleToFloat()))


def stock_collector(env: Any, policy: Policy, steps: int) -> Any:
    from torchrl.collectors import Collector

    return Collector(
        env,
        policy,
        frames_per_batch=steps,
        total_frames=-1,
        auto_register_policy_transforms=False,
    )


def collected(env: Any, steps: int, make: Callable[..., Any] = make_collector) -> Way:
    frames = steps * env.batch_size.numel()
    batches = iter(make(env, Policy(17, 6), steps))

    def run(steps: int) -> None:
        for _ in range(max(1, steps // frames)):
            next(batches)

    return run


def ways() -> dict[str, Way]:
    """Our environments first: building one settles the OpenGL backend of this process."""
    ours = {
        f"ours, {count} in one process, batches of {batch * count}": collected(
            own_env(count), batch
        )
        for count, batch in ((1, 1), (1, 50), (16, 1), (16, 50))
    }
    stock = {"TorchRL's DMControlEnv, batches of 50": collected(stock_env(), 50, stock_collector)}
    return {BARE: bare_loop(), **ours, **stock}


def microseconds(run: Way, steps: int) -> float:
    start = time.process_time()
    run(steps)
    return (time.process_time() - start) / steps * 1e6


def measure(rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Per way: microseconds a step and speed relative to the bare loop, median and spread."""
    runs = ways()
    for run in runs.values():
        run(steps // 4)  # warm up
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(microseconds(run, steps))
    bare = times[BARE]
    return {name: _summary(taken, bare) for name, taken in times.items()}


def _summary(taken: list[float], bare: list[float]) -> dict[str, float]:
    ratios = [b / t for b, t in zip(bare, taken, strict=True)]
    return {
        "us_per_step": statistics.median(taken),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def show(results: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("way", title="cheetah-run from states, CPU time")
    for heading in ("us/step", "speed", "of rounds"):
        table.add_column(heading, justify="right")
    for name, row in results.items():
        spread = f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}"
        table.add_row(name, f"{row['us_per_step']:.0f}", f"{row['ratio']:.2f}", spread)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1600, help="per way and round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torchrl")
    results = measure(options.rounds, options.steps)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


if __name__ == "__main__":
    main()
