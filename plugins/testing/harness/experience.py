"""Made-up experience, remembered whole, so that a batch can be held against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, final

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from core.api.environments import EnvironmentSpec
from core.api.losses import Returns

LENGTHS = (4, 7, 1, 5)
"""Steps of episodes, in turn; every other one ends by termination, the rest by a time limit."""


@dataclass
class Episode:
    """One environment's episode so far, frames unstacked."""

    frames: list[Tensor]
    length: int
    terminates: bool
    actions: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


@final
class Experience:
    """What ``count`` environments went through; no two frames are alike."""

    def __init__(self, spec: EnvironmentSpec, count: int, seed: int = 0) -> None:
        self.spec, self.count = spec, count
        # one each, so that it does not matter how many steps are taken at once
        self._draws = [torch.Generator().manual_seed(100 * seed + n) for n in range(count)]
        self._episodes: list[list[Episode]] = [[] for _ in range(count)]
        self._places: dict[bytes, tuple[int, int, int]] = {}
        """Environment, episode and step by the bytes of a stacked observation."""

    @property
    def steps(self) -> int:
        """Transitions so far, over all environments."""
        return sum(len(e.actions) for episodes in self._episodes for e in episodes)

    def collect(self, steps: int) -> TensorDict:
        """``[N, steps]`` more, in the form of a collector's batch."""
        rows = [[self._step(n) for _ in range(steps)] for n in range(self.count)]
        every = {
            key: torch.stack([torch.stack([step[key] for step in row]) for row in rows])
            for key in rows[0][0]
        }
        size = [self.count, steps]
        following = {k.removeprefix("next_"): every.pop(k) for k in list(every) if k[:4] == "next"}
        return TensorDict({**every, "next": TensorDict(following, size)}, size)

    def _step(self, environment: int) -> dict[str, Tensor]:
        episodes, draw = self._episodes[environment], self._draws[environment]
        begins = not episodes or len(episodes[-1].actions) == episodes[-1].length
        if begins:
            number = len(episodes)
            length = LENGTHS[(number + environment) % len(LENGTHS)]
            episodes.append(Episode([self._frame(draw)], length, number % 2 == 0))
        episode, at = episodes[-1], len(episodes[-1].actions)
        episode.actions.append(self._action(draw))
        episode.rewards.append(float(torch.randn((), generator=draw)))
        episode.frames.append(self._frame(draw))
        done = len(episode.actions) == episode.length
        observation = self._stacked(episode, at)
        place = environment, len(episodes) - 1, at
        self._places[observation.numpy().tobytes()] = place
        flags = {
            "is_init": begins,
            "next_done": done,
            "next_terminated": done and episode.terminates,
            "next_truncated": done and not episode.terminates,
        }
        return {
            "observation": observation,
            "action": episode.actions[-1],
            "next_observation": self._stacked(episode, at + 1),
            "next_reward": torch.tensor([episode.rewards[-1]]),
            **{name: torch.tensor([flag]) for name, flag in flags.items()},
        }

    def _frame(self, draw: torch.Generator) -> Tensor:
        if not self.spec.pixels:
            return torch.randn(self.spec.observation, generator=draw)
        channels, *size = self.spec.observation
        shape = (channels // self.spec.frame_stack, *size)
        return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)

    def _action(self, draw: torch.Generator) -> Tensor:
        if self.spec.discrete:
            return torch.randint(0, self.spec.action, (), generator=draw)
        return torch.rand(self.spec.action, generator=draw) * 2 - 1

    def _stacked(self, episode: Episode, at: int) -> Tensor:
        """The frames up to ``at``; an episode's first stands in for what was before."""
        if not self.spec.pixels:
            return episode.frames[at]
        first = at - self.spec.frame_stack + 1
        return torch.cat([episode.frames[max(0, i)] for i in range(first, at + 1)])

    # --- holding batches against it -----------------------------------------------------

    def problems(self, batch: TensorDictBase, returns: Returns) -> Iterator[str]:
        """What is wrong with the rows of a batch."""
        for found in batch:
            place = self._places.get(found["observation"].numpy().tobytes())
            if place is None:
                yield "'observation' is none that was collected"
                continue
            environment, number, start = place
            episode = self._episodes[environment][number]
            end = min(start + returns.n_step, len(episode.actions))
            where = f"step {start} of an episode of {episode.length}"
            for wrong in self._misfits(found, episode, start, end, returns):
                yield f"{wrong} ({where})"

    def _misfits(
        self, found: Any, episode: Episode, start: int, end: int, returns: Returns
    ) -> Iterator[str]:
        steps, ended = end - start, end == episode.length
        terminated = ended and episode.terminates
        reward = sum(returns.gamma**i * episode.rewards[start + i] for i in range(steps))
        discount = 0.0 if terminated else returns.gamma**steps
        given = {key: float(found["next", key]) for key in ("reward", "discount")}
        if steps < returns.n_step and not ended:
            yield f"it is given before the {returns.n_step} rewards from it are there"
        if not torch.equal(found["action"], episode.actions[start]):
            yield "'action' is not the one taken"
        if not torch.equal(found["next", "observation"], self._stacked(episode, end)):
            yield f"'next' 'observation' is not the one {steps} steps on"
        if abs(given["reward"] - reward) > 1e-5:
            yield (
                f"'next' 'reward' is {given['reward']:.4g}, the discounted sum of {steps} is "
                f"{reward:.4g}"
            )
        if abs(given["discount"] - discount) > 1e-6:
            how = "a termination" if terminated else "a time limit" if ended else "going on"
            yield f"'next' 'discount' is {given['discount']:.4g} at {how}, not {discount:.4g}"
