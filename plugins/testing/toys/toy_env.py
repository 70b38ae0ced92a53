"""The toy task as a TorchRL environment; :mod:`plugins.testing.toys.options` has its options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from core.api import EnvironmentSpec, UserError
from plugins.testing.toys.options import CHOICES

if TYPE_CHECKING:
    from plugins.testing.toys.options import ToyStatesOptions

    Array = np.ndarray[Any, Any]

STEP = 0.2
"""How far a frame moves the dot along an axis, at most."""
REACHED = 0.2
"""A dot as near to its target is there."""
LONGEST = 2 * math.sqrt(2)
BRIGHT, GREY = 255, 128
_FLAGS = ("done", "terminated", "truncated")
_KEPT = ("observation", "is_init", *_FLAGS)


@final
class Dot:
    """One dot, its target and the generator that places them."""

    def __init__(self, options: ToyStatesOptions, seed: list[int]) -> None:
        self._options = options
        self._generator = np.random.default_rng(seed)
        self._place = [0.0, 0.0, 0.0, 0.0]
        self.frames = self.steps = 0
        self.over = True

    def begin(self) -> None:
        """Draw dot and target, apart from each other."""
        self.frames = self.steps = 0
        self.over = False
        self._place = self._generator.uniform(-1, 1, 4).tolist()
        while self.distance < REACHED:
            self._place = self._generator.uniform(-1, 1, 4).tolist()

    @property
    def distance(self) -> float:
        x, y, to_x, to_y = self._place
        return math.hypot(to_x - x, to_y - y)

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """One agent step: the summed reward, and whether it terminated or was truncated."""
        if self.over:
            raise RuntimeError("the episode is over: reset the environment before the next step")
        moves = CHOICES[int(action)] if self._options.discrete else action
        total, self.steps = 0.0, self.steps + 1
        for _ in range(self._options.action_repeat):
            for axis in (0, 1):
                moved = self._place[axis] + STEP * min(1.0, max(-1.0, float(moves[axis])))
                self._place[axis] = min(1.0, max(-1.0, moved))
            self.frames += 1
            distance = self.distance
            total -= distance / LONGEST
            terminated = self._options.ends and distance < REACHED
            truncated = not terminated and self.frames >= self._options.limit
            if terminated or truncated:
                self.over = True
                return total, terminated, truncated
        return total, False, False

    def states(self, row: Array) -> None:
        """Write the dot's place and the way from there to the target."""
        x, y, to_x, to_y = self._place
        row[:4] = x, y, to_x - x, to_y - y

    def picture(self, picture: Array, target: Any = GREY, dot: Any = BRIGHT) -> None:
        """Draw both as squares of 3 pixels into ``[size, size]`` or ``[size, size, 3]``."""
        picture[:] = 0
        for x, y, colour in ((*self._place[2:], target), (*self._place[:2], dot)):
            left, top = (round((1 + at) / 2 * (len(picture) - 3)) for at in (x, -y))
            picture[top : top + 3, left : left + 3] = colour

    def state_dict(self) -> dict[str, Any]:
        return {
            "place": list(self._place),
            "generator": self._generator.bit_generator.state,
            "counts": [self.frames, self.steps],
            "over": self.over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._place = list(state["place"])
        self._generator.bit_generator.state = state["generator"]
        self.frames, self.steps = state["counts"]
        self.over = state["over"]


@final
class ToyEnv(EnvBase):
    """``count`` dots in this process; see :class:`core.api.Environment`."""

    def __init__(
        self, options: ToyStatesOptions, spec: EnvironmentSpec, count: int, seed: int
    ) -> None:
        super().__init__(batch_size=torch.Size([count]))
        self._options = options
        self._spec = spec
        self._keep_restored = False
        dtype = np.uint8 if spec.pixels else np.float32
        self._observations = np.zeros((count, *spec.observation), dtype)
        self._dots: list[Dot] = []
        self._set_specs(spec, count)
        self._set_seed(seed)
        self.is_closed = False

    def _set_specs(self, spec: EnvironmentSpec, count: int) -> None:
        shape = (count, *spec.observation)
        observation: Any = Unbounded(shape, dtype=torch.float32)
        if spec.pixels:
            observation = Bounded(0, 255, shape, dtype=torch.uint8)
        flag = Binary(1, (count, 1), dtype=torch.bool)
        self.observation_spec = Composite(
            observation=observation, is_init=flag.clone(), shape=(count,)
        )
        self.action_spec = (
            Categorical(spec.action, (count,), dtype=torch.int64)
            if spec.discrete
            else Bounded(-1.0, 1.0, (count, spec.action), dtype=torch.float32)
        )
        self.reward_spec = Unbounded((count, 1), dtype=torch.float32)
        self.done_spec = Composite({key: flag.clone() for key in _FLAGS}, shape=(count,))

    # --- stepping

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """As TorchRL's own, without its general path, which costs more than the task."""
        following = self._advance(tensordict.get("action"))
        tensordict.set("next", self._tensordict(following))
        over = [i for i, dot in enumerate(self._dots) if dot.over]
        if not over:
            return tensordict, self._tensordict({key: following[key] for key in _KEPT})
        self._begin(over)
        return tensordict, self._root()

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._tensordict(self._advance(tensordict.get("action")))

    def _advance(self, action: Tensor) -> dict[str, Tensor]:
        steps = [dot.step(own) for dot, own in zip(self._dots, action.tolist(), strict=True)]
        for i in range(len(self._dots)):
            self._observe(i, first=False)
        rewards = torch.tensor([[reward] for reward, _, _ in steps], dtype=torch.float32)
        ended = torch.tensor([[[one or two], [one], [two]] for _, one, two in steps])
        return {
            "observation": self._observation(),
            "is_init": torch.zeros(len(steps), 1, dtype=torch.bool),
            "reward": rewards,
            **{key: ended[:, i] for i, key in enumerate(_FLAGS)},
        }

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        chosen = [True] * len(self._dots) if mask is None else mask.flatten().tolist()
        kept = self._keep_restored
        self._keep_restored = False
        self._begin([i for i, dot in enumerate(self._dots) if chosen[i] and (dot.over or not kept)])
        return self._root()

    def _begin(self, which: list[int]) -> None:
        for i in which:
            self._dots[i].begin()
            self._observe(i, first=True)

    def _observe(self, index: int, *, first: bool) -> None:
        row, dot = self._observations[index], self._dots[index]
        if self._spec.pixels:
            row[:-1] = row[1:]
            dot.picture(row[-1])
            if first:
                row[:-1] = row[-1]
            return
        dot.states(row)
        if self._spec.time_input:
            row[-1] = -0.5 + max(dot.steps - 1, 0) / (self._spec.episode_steps or 1)

    def _observation(self) -> Tensor:
        return torch.from_numpy(self._observations.copy())

    def _root(self) -> TensorDict:
        begins = torch.tensor([[dot.steps == 0] for dot in self._dots])
        flags = {key: torch.zeros(len(self._dots), 1, dtype=torch.bool) for key in _FLAGS}
        return self._tensordict({"observation": self._observation(), "is_init": begins, **flags})

    def _tensordict(self, source: dict[str, Tensor]) -> TensorDict:
        # without the constructor's checks, which cost more than the task
        return TensorDict._new_unsafe(source, batch_size=self.batch_size)

    # --- seeds, state, pictures

    def _set_seed(self, seed: int | None) -> None:
        """Begin anew: each dot has a generator of its own."""
        base = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._dots = [Dot(self._options, [base, i]) for i in range(len(self._observations))]

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Plain Python and a tensor."""
        return {"dots": [dot.state_dict() for dot in self._dots], "seen": self._observation()}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Go on where ``state`` was taken: the next ``reset`` answers its observation."""
        saved_count, count = len(state["dots"]), len(self._dots)
        if saved_count != count:
            raise UserError(
                f"the checkpoint holds {saved_count} environments, this run has {count}"
            )
        for dot, saved in zip(self._dots, state["dots"], strict=True):
            dot.load_state_dict(saved)
        self._observations[:] = state["seen"].numpy()
        self._keep_restored = True

    def render(self, index: int = 0, height: int = 240, width: int = 320) -> Array:
        """An RGB picture, uint8 ``[height, width, 3]``: the dot red, its target green."""
        picture = np.zeros((48, 48, 3), np.uint8)
        self._dots[index].picture(picture, target=(0, BRIGHT, 0), dot=(BRIGHT, 0, 0))
        rows, columns = np.arange(height) * 48 // height, np.arange(width) * 48 // width
        return np.ascontiguousarray(picture[rows][:, columns])
