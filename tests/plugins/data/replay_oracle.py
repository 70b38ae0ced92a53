"""A replay buffer told in plain Python: whole episodes in lists, and loops over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict

from core.api import DataContext, EnvironmentSpec, Returns
from plugins.data.options import ReplayOptions
from plugins.data.replay.source import Replay, build

ACTION, WIDTH, GAMMA = 2, 3, 0.9


@dataclass
class Episode:
    frames: list[np.ndarray]
    numbered: list[int]
    """The number, since the run's start, of each of ``frames``."""
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    end: str = ""


class Oracle:
    """Makes up the experience of ``count`` environments and remembers all of it."""

    def __init__(self, count: int, frame_stack: int, n_step: int, seed: int) -> None:
        self.count, self.frame_stack, self.n_step = count, frame_stack, n_step
        self.rng = np.random.default_rng(seed)
        self.episodes: list[list[Episode]] = [[] for _ in range(count)]
        self.written = [0] * count
        self.steps = [0] * count
        self.serial = 0

    def frame(self) -> np.ndarray:
        """Unlike any other frame, so that a sample says where it came from."""
        self.serial += 1
        return np.arange(WIDTH, dtype=np.float32) + 10 * self.serial

    def stacked(self, frames: list[np.ndarray], at: int) -> np.ndarray:
        parts = [frames[max(0, i)] for i in range(at - self.frame_stack + 1, at + 1)]
        return np.concatenate(parts)

    def step(self, environment: int, end: str) -> dict[str, np.ndarray]:
        episodes = self.episodes[environment]
        if not episodes or episodes[-1].end:
            episodes.append(Episode([self.frame()], [self.written[environment]]))
            self.written[environment] += 1
        now = episodes[-1]
        now.actions.append(self.rng.uniform(-1, 1, ACTION).astype(np.float32))
        now.rewards.append(float(np.float32(self.rng.normal())))
        now.numbers.append(self.steps[environment])
        now.frames.append(self.frame())
        now.numbered.append(self.written[environment])
        now.end = end
        self.written[environment] += 1
        self.steps[environment] += 1
        last = len(now.actions)
        return {
            "observation": self.stacked(now.frames, last - 1),
            "action": now.actions[-1],
            "next_observation": self.stacked(now.frames, last),
            "reward": np.float32([now.rewards[-1]]),
            "done": np.array([bool(end)]),
            "terminated": np.array([end == "terminated"]),
            "truncated": np.array([end == "truncated"]),
        }

    def collect(self, ends: np.ndarray) -> TensorDict:
        """A collector's batch; ``ends`` ``[N, T]`` holds "", "truncated" or "terminated"."""
        steps = [[self.step(n, str(end)) for end in row] for n, row in enumerate(ends)]
        every = {
            key: torch.from_numpy(np.stack([np.stack([s[key] for s in row]) for row in steps]))
            for key in steps[0][0]
        }
        following = {k: every[k] for k in ("reward", "done", "terminated", "truncated")}
        following["observation"] = every["next_observation"]
        return TensorDict(
            {
                "observation": every["observation"],
                "action": every["action"],
                "next": TensorDict(following, ends.shape),
            },
            ends.shape,
        )

    def valid(
        self, frames: int, transitions: int
    ) -> dict[tuple[float, ...], tuple[np.ndarray, ...]]:
        """Every start that can be drawn from rings of this size, and what it must give.

        The key is the observation's newest frame, of which there is only one.
        """
        found = {}
        for environment, episodes in enumerate(self.episodes):
            oldest = self.written[environment] - frames
            for episode in episodes:
                for start in range(len(episode.actions)):
                    reach = episode.numbered[max(0, start - self.frame_stack + 1)]
                    lost = reach < oldest
                    old = episode.numbers[start] < self.steps[environment] - transitions
                    left = len(episode.actions) - start
                    unfinished = not episode.end and left < self.n_step
                    if not (lost or old or unfinished):
                        key = tuple(episode.frames[start].tolist())
                        found[key] = self.transition(episode, start)
        return found

    def transition(self, episode: Episode, start: int) -> tuple[np.ndarray, ...]:
        total, discount, at = 0.0, 1.0, start
        while at < len(episode.actions) and at < start + self.n_step:
            total += discount * episode.rewards[at]
            discount *= GAMMA
            at += 1
        if at == len(episode.actions) and episode.end == "terminated":
            discount = 0.0
        return (
            self.stacked(episode.frames, start),
            episode.actions[start],
            self.stacked(episode.frames, at),
            np.float32([total]),
            np.float32([discount]),
        )


def make(
    oracle: Oracle,
    capacity: int,
    run_dir: Path,
    seed: int = 0,
    episode_steps: int | None = 4,
    **options: object,
) -> Replay:
    spec = EnvironmentSpec(
        observation=(WIDTH * oracle.frame_stack,),
        action=ACTION,
        frame_stack=oracle.frame_stack,
        episode_steps=episode_steps,
    )
    context = DataContext(
        spec=spec,
        returns=Returns(GAMMA, oracle.n_step),
        count=oracle.count,
        device=torch.device("cpu"),
        seed=seed,
        run_dir=run_dir,
    )
    chosen = {"learning_starts": 0, "batch_size": 4, **options}
    return build(ReplayOptions(capacity=capacity, **chosen), context)


def random_ends(rng: np.random.Generator, count: int, steps: int, rate: float) -> np.ndarray:
    kinds = np.array(["", "truncated", "terminated"])
    return kinds[rng.choice(3, size=(count, steps), p=[1 - rate, rate / 2, rate / 2])]


def matches(batch: TensorDict, expected: dict) -> set[tuple[float, ...]]:
    """Compare every sample with the oracle's; answers the starts that were drawn."""
    keys = ["observation", "action", ("next", "observation"), ("next", "reward")]
    columns = [batch[key].numpy() for key in (*keys, ("next", "discount"))]
    drawn = [tuple(newest.tolist()) for newest in columns[0][:, -WIDTH:]]
    assert set(drawn) <= set(expected), "a start that may not be drawn"
    for place, column in enumerate(columns):
        wanted = np.stack([expected[key][place] for key in drawn])
        slack = 1e-5 if place >= 3 else 0  # sums may round differently
        np.testing.assert_allclose(column, wanted, rtol=slack, atol=slack)
    return set(drawn)
