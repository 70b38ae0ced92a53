"""Replay against TorchRL's stock storages: time and bytes.

``python bench/replay.py [--rounds 9] [--transitions 4000] [--json]``

Pixels are batches of 256 DrQ-v2 transitions (three stacked 84x84 RGB frames, 3-step returns).
Stock TorchRL keeps whole stacks, present and next, in a ``LazyTensorStorage``; its 3-step
returns are worked out beforehand and cost nothing here, which favours it. States are 24
numbers and 6 actions; stock TorchRL is a ``TensorDictReplayBuffer`` of 1-step transitions.
One thread; the ways take turns, so that a busy machine slows all of them; times are process
CPU time, the median over rounds and the range. A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RL_LOGGING_LEVEL", "WARNING")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, ReplayBuffer, TensorDictReplayBuffer

from bench.timing import Times, arguments, extremes, named, ratios, repeated, table, take_turns
from core.api import DataContext, EnvironmentSpec, Returns
from plugins.data.options import ReplayOptions
from plugins.data.replay.source import Replay, build

BATCH, EPISODE, STATES = 256, 500, 100_000
PIXELS = EnvironmentSpec((9, 84, 84), 6, pixels=True, frame_stack=3, episode_steps=EPISODE)
STATE = EnvironmentSpec((24,), 6, episode_steps=EPISODE)
Work = tuple[str, str, Callable[[], Any], int]
"""``(what, whose, call, calls per round)``"""


def collected(spec: EnvironmentSpec, steps: int) -> TensorDict:
    """One environment's transitions, as a collector gives them, without an end."""
    if spec.pixels:
        stack, height, width = spec.observation
        frames = torch.randint(0, 256, (steps + 3, 3, height, width), dtype=torch.uint8)
        windows = torch.stack([frames[i : i + steps + 1] for i in range(3)], dim=1)
        every = windows.reshape(steps + 1, stack, height, width)
    else:
        every = torch.randn(steps + 1, *spec.observation)
    no = torch.zeros(1, steps, 1, dtype=torch.bool)
    following = {
        "observation": every[None, 1:],
        "reward": torch.rand(1, steps, 1),
        "done": no,
        "terminated": no.clone(),
        "truncated": no.clone(),
    }
    return TensorDict(
        {
            "observation": every[None, :-1],
            "action": torch.rand(1, steps, spec.action) * 2 - 1,
            "next": TensorDict(following, [1, steps]),
        },
        [1, steps],
    )


def ours(spec: EnvironmentSpec, transitions: int, n_step: int) -> Replay:
    context = DataContext(
        spec, Returns(0.99, n_step), 1, torch.device("cpu"), seed=0, run_dir=Path()
    )
    options = ReplayOptions(capacity=transitions, batch_size=BATCH, learning_starts=0)
    return build(options, context)


def fill(spec: EnvironmentSpec, transitions: int, replay: Replay, stock: ReplayBuffer) -> None:
    """The same experience into both, an episode at a time."""
    for _ in range(transitions // EPISODE):
        episode = collected(spec, EPISODE)
        episode["next", "done"][:, -1] = True
        episode["next", "truncated"][:, -1] = True
        replay.extend(episode)
        flat = episode.reshape(-1)
        if spec.pixels:
            # what a stock buffer of 3-step transitions holds: the next stack, 3 steps on
            stacks = flat["observation"]
            ahead = torch.cat([stacks[3:], flat["next", "observation"][-3:]])
            flat = flat.copy().set(("next", "observation"), ahead)
            flat["next", "discount"] = torch.full((EPISODE, 1), 0.97)
        stock.extend(flat)


def stock_bytes(buffer: ReplayBuffer, transitions: int) -> float:
    rows = buffer.storage[:]
    return sum(v.numel() * v.element_size() for v in rows.values(True, True)) / transitions


def measure(ways: list[Work], rounds: int) -> Times:
    """Seconds per call, by round."""
    calls = {f"{what}, {who}": repeated(call) for what, who, call, _ in ways}
    for way in calls.values():
        way(1)
    counts = {f"{what}, {who}": count for what, who, _, count in ways}
    return take_turns(calls, rounds, counts)


def run(rounds: int, transitions: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixel, state = ours(PIXELS, transitions, 3), ours(STATE, STATES, 1)
    state3 = ours(STATE, STATES, 3)
    pixel_stock = ReplayBuffer(storage=LazyTensorStorage(transitions), batch_size=BATCH)
    state_stock = TensorDictReplayBuffer(storage=LazyTensorStorage(STATES), batch_size=BATCH)
    fill(PIXELS, transitions, pixel, pixel_stock)
    fill(STATE, STATES, state, state_stock)
    fill(STATE, STATES, state3, TensorDictReplayBuffer(storage=LazyTensorStorage(STATES)))
    times = measure(
        [
            ("sample pixels, 3-step", "openwork", pixel.buffer.sample, 20),
            ("sample pixels, 3-step", "torchrl", pixel_stock.sample, 20),
            ("sample states, 1-step", "openwork", state.buffer.sample, 500),
            ("sample states, 1-step", "torchrl", state_stock.sample, 500),
            ("sample states, 3-step", "openwork", state3.buffer.sample, 500),
            *extending(pixel, state, pixel_stock, state_stock),
        ],
        rounds,
    )
    sizes = {
        "pixels, openwork": pixel.bytes / transitions,
        "pixels, torchrl": stock_bytes(pixel_stock, transitions),
        "states, openwork": state.bytes / STATES,
        "states, torchrl": stock_bytes(state_stock, STATES),
    }
    return {**summarise(times), "bytes_per_transition": sizes}


def extending(pixel: Any, state: Any, pixel_stock: Any, state_stock: Any) -> list[Any]:
    """What is measured of extending: the same transitions, flat for TorchRL's buffers."""
    one, many, frame = collected(STATE, 1), collected(STATE, 100), collected(PIXELS, 1)
    frame_stock = frame.reshape(-1).copy()
    frame_stock["next", "discount"] = torch.full((1, 1), 0.97)
    flat_one, flat_many = one.reshape(-1), many.reshape(-1)
    return [
        ("extend states, 1 step", "openwork", lambda: state.extend(one), 500),
        ("extend states, 1 step", "torchrl", lambda: state_stock.extend(flat_one), 500),
        ("extend states, 100 steps", "openwork", lambda: state.extend(many), 100),
        ("extend states, 100 steps", "torchrl", lambda: state_stock.extend(flat_many), 100),
        ("extend pixels, 1 step", "openwork", lambda: pixel.extend(frame), 200),
        ("extend pixels, 1 step", "torchrl", lambda: pixel_stock.extend(frame_stock), 200),
    ]


def summarise(times: Times) -> dict[str, Any]:
    """Medians with their spread, and how many times faster, round by round."""
    found = {name: extremes([1e6 * t for t in taken]) for name, taken in times.items()}
    both = [name.removesuffix(", torchrl") for name in times if name.endswith(", torchrl")]
    return {
        "microseconds": {
            name: named(spread, "median", "low", "high") for name, spread in found.items()
        },
        "times_faster": {
            what: statistics.median(ratios(times, f"{what}, torchrl", f"{what}, openwork"))
            for what in both
        },
    }


def show(result: dict[str, Any]) -> None:
    rows = [[name, *(f"{v:.1f}" for v in t.values())] for name, t in result["microseconds"].items()]
    table("Microseconds of CPU time", ["", "median", "low", "high"], rows)
    faster = [[name, f"{ratio:.2f}"] for name, ratio in result["times_faster"].items()]
    table("Times as fast as TorchRL's stock storage", ["", "ratio"], faster)
    sizes = [[name, f"{count:.0f}"] for name, count in result["bytes_per_transition"].items()]
    table("Bytes per transition", ["", "bytes"], sizes)


def main() -> None:
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--transitions", type=int, default=4000, help="pixel transitions held")
    given = parser.parse_args()
    result = run(given.rounds, given.transitions)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
