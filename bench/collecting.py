"""How fast one process collects cheetah-run from states, against a bare dm_control loop.

``python bench/collecting.py [--rounds 5] [--steps 1000] [--json]``

Every way takes the same number of environment steps with the same policy (a 256x2
tanh-Gaussian), on one thread, with action repeat 1. The ways take turns, so that a busy
machine slows all of them; times are process CPU time per environment step. Ratios are taken
within a round: speed relative to the bare loop of that round.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
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

from bench.agents import component
from bench.timing import Way, arguments, extremes, named, ratios, shown, table, take_turns
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
    task = {"task": "cheetah-run", "action_repeat": 1}
    made = component(register_environments(), "dm_control", EnvironmentContext(), **task)
    return made.make(count, 0)


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


def measure(rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Per way: microseconds a step and speed relative to the bare loop, median and spread."""
    runs = ways()
    for run in runs.values():
        run(steps // 4)  # warm up
    times = take_turns(runs, rounds, steps)
    results = {}
    for name, taken in times.items():
        ratio = extremes(ratios(times, BARE, name))
        results[name] = {
            "us_per_step": 1e6 * statistics.median(taken),
            **named(ratio, "ratio", "ratio_min", "ratio_max"),
        }
    return results


def show(results: dict[str, dict[str, float]]) -> None:
    rows = []
    for name, row in results.items():
        us, *speed = row.values()
        rows.append([name, f"{us:.0f}", shown(speed)])
    table("cheetah-run from states, CPU time", ["way", "us/step", "speed (of rounds)"], rows)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--steps", type=int, default=1600, help="per way and round")
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
