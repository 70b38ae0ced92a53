"""The toy task as a TorchRL environment; of what :mod:`plugins.testing.toys.options` says."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from core.api import EnvironmentSpec, UserError

if TYPE_CHECKING:
    from plugins.testing.toys.options import ToyStatesOptions

    Array = np.ndarray[Any, Any]

CHOICES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])
"""Of the discrete task: stay, left, right, down, up."""
STEP = 0.2
"""How far a frame moves the dot along an axis, at most."""
REACHED = 0.2
"""A dot as near to its target is there."""
LONGEST = 2 * math.sqrt(2)
FLAGS = ("done", "terminated", "truncated")


@final
class ToyEnv(EnvBase):
    """``count`` dots in this process; see :class:`core.api.Environment`."""

    def __init__(
        self, options: ToyStatesOptions, spec: EnvironmentSpec, count: int, seed: int
    ) -> None:
        super().__init__(batch_size=torch.Size([count]))
        self._options, self._spec, self._keep_restored = options, spec, False
        shape, flag = (count, *spec.observation), Binary(1, (count, 1), dtype=torch.bool)
        seen: Any = Unbounded(shape, dtype=torch.float32)
        if spec.pixels:
            seen = Bounded(0, 255, shape, dtype=torch.uint8)
        self.observation_spec = Composite(observation=seen, is_init=flag.clone(), shape=(count,))
        self.action_spec = (
            Categorical(spec.action, (count,), dtype=torch.int64)
            if spec.discrete
            else Bounded(-1.0, 1.0, (count, spec.action), dtype=torch.float32)
        )
        self.reward_spec = Unbounded((count, 1), dtype=torch.float32)
        self.done_spec = Composite({key: flag.clone() for key in FLAGS}, shape=(count,))
        self._set_seed(seed)
        self.is_closed = False

    def _set_seed(self, seed: int | None) -> None:
        """Begin anew: each dot has a generator of its own."""
        base = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        (count,) = self.batch_size
        self._generators = [np.random.default_rng([base, i]) for i in range(count)]
        self._places = np.zeros((count, 4))  # of each dot, and of its target
        self._frames, self._steps = (np.zeros(count, int) for _ in range(2))
        self._over = np.ones(count, bool)
        dtype = np.uint8 if self._spec.pixels else np.float32
        self._seen = np.zeros((count, *self._spec.observation), dtype)

    @property
    def _distances(self) -> Array:
        there: Array = np.hypot(*(self._places[:, 2:] - self._places[:, :2]).T)
        return there

    # --- stepping

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """As TorchRL's own, without its general path, which costs more than the task."""
        tensordict.set("next", self._step(tensordict))
        for i in self._over.nonzero()[0]:
            self._begin(i)
        return tensordict, self._answer()

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        if self._over.any():
            raise RuntimeError("the episode is over: reset the environment before the next step")
        action = tensordict["action"].numpy()
        moves = STEP * (CHOICES[action] if self._spec.discrete else action.clip(-1, 1))
        rewards, terminated = np.zeros(len(moves)), np.zeros(len(moves), bool)
        self._steps += 1
        for _ in range(self._options.action_repeat):
            on = ~self._over
            self._places[on, :2] = (self._places[on, :2] + moves[on]).clip(-1, 1)
            self._frames += on
            rewards -= on * self._distances / LONGEST
            if self._options.ends:
                terminated |= on & (self._distances < REACHED)
            self._over = terminated | (self._frames >= self._options.limit)
        self._observe(range(len(moves)))
        flags = (self._over, terminated, self._over & ~terminated)
        return self._answer(rewards, *(torch.tensor(flag)[:, None] for flag in flags))

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        """Begin the chosen episodes; after a state was loaded, only those that were over."""
        chosen = None if tensordict is None else tensordict.get("_reset", None)
        which = np.ones(len(self._over), bool) if chosen is None else chosen.numpy().flatten()
        which = which & (self._over if self._keep_restored else True)
        self._keep_restored = False
        for i in which.nonzero()[0]:
            self._begin(i)
        return self._answer()

    def _begin(self, i: Any) -> None:
        """Draw dot and target, apart from each other."""
        self._frames[i] = self._steps[i] = self._over[i] = 0
        self._places[i] = self._generators[i].uniform(-1, 1, 4)
        while self._distances[i] < REACHED:
            self._places[i] = self._generators[i].uniform(-1, 1, 4)
        self._observe([i])

    def _observe(self, which: Any) -> None:
        """Write what is seen of these dots now."""
        for i in which:
            if self._spec.pixels:
                self._seen[i, :-1] = self._seen[i, 1:]
                self._draw(i, self._seen[i, -1], target=128, dot=255)
                if self._steps[i] == 0:
                    self._seen[i, :-1] = self._seen[i, -1]
                continue
            self._seen[i, :2], target = self._places[i, :2], self._places[i, 2:]
            self._seen[i, 2:4] = target - self._places[i, :2]
            if self._spec.time_input:
                passed = max(self._steps[i] - 1, 0) / (self._spec.episode_steps or 1)
                self._seen[i, 4] = passed - 0.5

    def _answer(self, rewards: Any = None, *flags: torch.Tensor) -> TensorDict:
        """What is seen; after a step with the rewards and how episodes ended."""
        off = torch.zeros(*self.batch_size, 1, dtype=torch.bool)
        begins = torch.tensor(self._steps == 0)[:, None]
        given = {"observation": self._observation(), "is_init": begins}
        given |= dict(zip(FLAGS, flags or (off, off.clone(), off.clone()), strict=True))
        if rewards is not None:
            given["reward"] = torch.tensor(rewards, dtype=torch.float32)[:, None]
        return TensorDict(given, self.batch_size)

    def _observation(self) -> torch.Tensor:
        return torch.from_numpy(self._seen.copy())

    # --- state and pictures

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Plain Python and tensors."""
        arrays = (self._places, self._frames, self._steps, self._over, self._seen)
        return {
            "arrays": [torch.tensor(array) for array in arrays],
            "generators": copy.deepcopy([own.bit_generator.state for own in self._generators]),
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Go on where ``state`` was taken: the next ``reset`` answers its observation."""
        saved, count = len(state["generators"]), len(self._generators)
        if saved != count:
            raise UserError(f"the checkpoint holds {saved} environments, this run has {count}")
        arrays = [array.numpy().copy() for array in state["arrays"]]
        self._places, self._frames, self._steps, self._over, self._seen = arrays
        for own, generator in zip(self._generators, state["generators"], strict=True):
            own.bit_generator.state = generator
        self._keep_restored = True

    def render(self, index: int = 0, height: int = 240, width: int = 320) -> Array:
        """An RGB picture, uint8 ``[height, width, 3]``: the dot red, its target green."""
        picture = np.zeros((48, 48, 3), np.uint8)
        self._draw(index, picture, target=(0, 255, 0), dot=(255, 0, 0))
        rows, columns = np.arange(height) * 48 // height, np.arange(width) * 48 // width
        return np.ascontiguousarray(picture[rows][:, columns])

    def _draw(self, index: int, picture: Array, target: Any, dot: Any) -> None:
        """Both as squares of 3 pixels, into ``[size, size]`` or ``[size, size, 3]``."""
        picture[:] = 0
        for (x, y), colour in ((self._places[index, 2:], target), (self._places[index, :2], dot)):
            left, top = (round((1 + at) / 2 * (len(picture) - 3)) for at in (x, -y))
            picture[top : top + 3, left : left + 3] = colour
