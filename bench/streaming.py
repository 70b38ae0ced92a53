"""What a step of Stream AC(lambda) costs, against a plain PyTorch loop of the same agent.

``python bench/streaming.py [--rounds 7] [--steps 1000] [--json]``

``bench/plain_streaming.py`` is the rival. Before anything is timed, both are given the same
weights and the same seed and must walk the same way. *Act and update* feeds both the same
recorded transitions; the plain agent gets them normalised for nothing, ours normalises and
scales them within the time. *End to end* is Gymnasium's HalfCheetah-v4: the plain loop with
its wrappers, ours as ``python -m core.run`` runs it, collector, episode records, running means
and log lines included.
The ways take turns, so that a busy machine slows all of them; times are process CPU time per
step on one thread. Ratios are taken within a round.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import mujoco
import numpy as np
import torch
from tensordict import TensorDict

from bench.plain_streaming import PlainAgent, PlainLoop
from bench.timing import Times, Way, arguments, extremes, named, ratios, shown, table, take_turns
from core.config import load, resolve
from core.plugins import load_plugins
from core.training import experiment as assembly
from core.training.events import Collected
from core.training.loop import Run

PRESET = Path(__file__).parents[1] / "presets" / "base" / "streaming.yaml"
TASK = "HalfCheetah-v4"
OBSERVATIONS, ACTIONS = 17, 6
PLAIN = "plain PyTorch loop"
OURS = {
    "openwork": [],
    "openwork, PyTorch phases": ["execution={name: masked, native: false}"],
    "openwork, 80% removed": ["masks=[{name: erdos_renyi, target: all, sparsity: 0.8}]"],
}


def make_run(width: int, way: str) -> Run:
    """A run that never evaluates and only saves at its end, which it does not reach."""
    fixed = [f"environment.id={TASK}", f"network.width={width}", "frames=100_000_000"]
    quiet = ["evaluation.every=null", "checkpoint.every=null"]
    config = resolve(load([PRESET], [*fixed, *quiet, *OURS[way]]), load_plugins())
    directory = Path(tempfile.mkdtemp(prefix="bench-streaming-"))
    return Run(assembly.build(config, directory), directory, lambda: False)


def stepper(run: Run) -> Way:
    events = run.events()
    collected: Iterator[Collected] = (e for e in events if isinstance(e, Collected))

    def steps(count: int) -> None:
        for _ in range(count):
            next(collected)

    return steps


# --- the same agent ---------------------------------------------------------------------


def copy_weights(run: Run, plain: PlainAgent) -> None:
    loss = run.experiment.agent.loss
    for ours, theirs in ((loss.actor, plain.actor), (loss.critic, plain.critic)):
        with torch.no_grad():
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                q.copy_(p)


def check_same(way: str, steps: int = 30) -> None:
    """From the same weights and seed both loops walk the same way.

    Not for long: contacts make rounding errors grow, here a millionfold within 70 steps.

    Raises:
        AssertionError: the weights differ by more than rounding after ``steps`` steps.
    """
    run, plain = make_run(64, way), PlainLoop(TASK, 64)
    copy_weights(run, plain.agent)
    loss = run.experiment.agent.loss
    for walk in (stepper(run), plain.run):
        torch.manual_seed(1)
        walk(steps)
    for ours, theirs in ((loss.actor, plain.agent.actor), (loss.critic, plain.agent.critic)):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


# --- act and update ---------------------------------------------------------------------


def recorded(count: int = 500) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(count + 1, OBSERVATIONS + 1)).astype(np.float32)
    return {"observations": observations, "rewards": rng.normal(size=count).astype(np.float32)}


def plain_agent(width: int, data: dict[str, Any]) -> Way:
    agent = PlainAgent(OBSERVATIONS + 1, ACTIONS, width)
    observations, rewards, place = data["observations"], data["rewards"], 0

    def steps(count: int) -> None:
        nonlocal place
        for _ in range(count):
            place = (place + 1) % len(rewards)
            now, then = observations[place], observations[place + 1]
            agent.update(now, agent.act(now), float(rewards[place]), then, False)

    return steps


def our_agent(width: int, data: dict[str, Any], way: str) -> Way:
    experiment = make_run(width, way).experiment
    policy, learner = experiment.policy, experiment.agent.learner
    policy.recording = True
    observations = torch.from_numpy(data["observations"])
    no, discount = torch.zeros(1, 1, dtype=torch.bool), torch.full((1, 1), 0.99)
    flags = {"done": no, "terminated": no, "truncated": no}
    transitions = []
    for i, reward in enumerate(data["rewards"]):
        then = {"observation": observations[i + 1 : i + 2], "reward": torch.full((1, 1), reward)}
        then |= {"discount": discount, **flags}
        now = {"observation": observations[i : i + 1], "is_init": no, "next": then}
        transitions.append(TensorDict(now, [1]))
    place = 0

    def steps(count: int) -> None:
        nonlocal place
        for _ in range(count):
            place = (place + 1) % len(transitions)
            learner.update(policy(transitions[place]))

    return steps


# --- measuring --------------------------------------------------------------------------


def measure(ways: dict[str, Way], rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Per way: microseconds a step, and how many times as fast as the plain loop."""
    for way in ways.values():
        way(max(steps // 4, 20))
    times = take_turns(ways, rounds, steps)
    return {name: summary(times, name) for name in times}


def summary(times: Times, name: str) -> dict[str, float]:
    taken, faster = statistics.median(times[name]), extremes(ratios(times, PLAIN, name))
    return {
        "us_per_step": 1e6 * taken,
        "steps_per_second": 1 / taken,
        **named(faster, "times_as_fast", "times_min", "times_max"),
    }


def act_and_update(width: int, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    data = recorded()
    ways = {PLAIN: plain_agent(width, data)}
    ways |= {name: our_agent(width, data, name) for name in OURS}
    return measure(ways, rounds, steps)


def end_to_end(width: int, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    ways: dict[str, Way] = {PLAIN: PlainLoop(TASK, width).run}
    ways |= {name: stepper(make_run(width, name)) for name in OURS}
    return measure(ways, rounds, steps)


def show(title: str, results: dict[str, dict[str, float]]) -> None:
    rows = []
    for name, row in results.items():
        us, steps, *faster = row.values()
        rows.append([name, f"{us:.0f}", f"{steps:.0f}", shown(faster)])
    table(title, ["way", "µs/step", "steps/s", "times as fast (of rounds)"], rows)


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--steps", type=int, default=1000, help="per way and round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="gymnasium|torchrl")
    mujoco.set_mju_user_warning(lambda text: None)  # that the task's model is an old one
    for way, overrides in OURS.items():
        if not any("masks" in override for override in overrides):
            check_same(way)
    results = {
        "act and update, width 128": act_and_update(128, options.rounds, options.steps),
        "act and update, width 512": act_and_update(512, options.rounds, options.steps // 4),
        f"end to end on {TASK}, width 128": end_to_end(128, options.rounds, options.steps),
    }
    if options.json:
        print(json.dumps({"torch": torch.__version__, "results": results}, indent=2))
        return
    for title, rows in results.items():
        show(title, rows)


if __name__ == "__main__":
    main()
