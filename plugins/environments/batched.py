"""Simulators of one task as a TorchRL environment, lean enough to be stepped one by one.

TorchRL's general path (``step``, then ``step_mdp``, then ``maybe_reset``) costs more than a
small simulator's step; :meth:`BatchedEnv.step_and_maybe_reset` does the same in one go.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  its exit hook must be older than ours, below
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from core.api import EnvironmentSpec, UserError
from plugins.environments.episodes import Episode, Simulator

Bounds = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


_FLAGS = ("done", "terminated", "truncated")
_KEPT = ("observation", "is_init", *_FLAGS)
"""What a step's ``next`` hands on to the following root."""
_open: weakref.WeakSet[BatchedEnv] = weakref.WeakSet()


def _close_all() -> None:
    for env in list(_open):
        env.close(raise_if_closed=False)


# OSMesa contexts are freed on an executor's thread. Executors shut down before atexit's
# functions run, so that later is too late; threading's own hooks run newest first.
getattr(threading, "_register_atexit", atexit.register)(_close_all)


@final
class BatchedEnv(EnvBase):
    """``count`` simulators in this process; see :class:`core.api.Environment`.

    ``make`` builds one simulator from a seed. The first gets ``seed`` itself, so that one
    environment is the same as the bare simulator with this seed; the others get seeds
    derived from it. ``bounds`` are those of the actions where they are not [-1, 1].
    """

    def __init__(
        self,
        make: Callable[[int], Simulator],
        spec: EnvironmentSpec,
        count: int,
        seed: int,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__(batch_size=torch.Size([count]))
        self._make_simulator = make
        self._agent_spec = spec
        self._discrete = spec.discrete
        dtype = np.uint8 if spec.pixels else np.float32
        self._observations = np.zeros((count, *spec.observation), dtype)
        self._keep_restored = False
        self._episodes: list[Episode] = []
        self._seeds: list[int] = []
        self._set_specs(spec, bounds)
        self._set_seed(seed)
        self.is_closed = False
        _open.add(self)

    def _set_specs(self, spec: EnvironmentSpec, bounds: Bounds | None) -> None:
        n = len(self._observations)
        observation: Any = Unbounded((n, *spec.observation), dtype=torch.float32)
        if spec.pixels:
            observation = Bounded(0, 255, (n, *spec.observation), dtype=torch.uint8)
        self.observation_spec = Composite(
            observation=observation, is_init=Binary(1, (n, 1), dtype=torch.bool), shape=(n,)
        )
        self.action_spec = _action_spec(n, spec, bounds)
        self.reward_spec = Unbounded((n, 1), dtype=torch.float32)
        flags = {key: Binary(1, (n, 1), dtype=torch.bool) for key in _FLAGS}
        self.done_spec = Composite(flags, shape=(n,))

    # --- stepping

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """``tensordict`` with ``next`` added, and the root of the step after it."""
        following = self._advance(tensordict.get("action"))
        tensordict.set("next", self._tensordict(following))
        over = [episode for episode in self._episodes if episode.over]
        if not over:
            # as TorchRL's step_mdp: the same tensors, and every flag is False
            return tensordict, self._tensordict({key: following[key] for key in _KEPT})
        for episode in over:
            episode.begin()
        return tensordict, self._root()

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._tensordict(self._advance(tensordict.get("action")))

    def _advance(self, action: Tensor) -> dict[str, Tensor]:
        # the copy: the episodes keep the actions, and the policy may reuse its tensor
        dtype = np.int64 if self._discrete else np.float32
        actions = action.detach().cpu().numpy().astype(dtype)
        stepped = [e.step(own) for e, own in zip(self._episodes, actions, strict=True)]
        rewards = np.array([[reward] for reward, _, _ in stepped], np.float32)
        # of is_init and the flags; no step leads to an episode's first observation
        flags = np.zeros((4, len(stepped), 1), np.bool_)
        for i, (_, terminal, cut) in enumerate(stepped):
            if terminal or cut:
                flags[1:, i, 0] = True, terminal, cut
        is_init, done, terminated, truncated = map(torch.from_numpy, flags)
        return {
            "observation": self._observation(),
            "is_init": is_init,
            "reward": torch.from_numpy(rewards),
            "done": done,
            "terminated": terminated,
            "truncated": truncated,
        }

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        chosen = [True] * len(self._episodes) if mask is None else mask.flatten().tolist()
        for episode, wanted in zip(self._episodes, chosen, strict=True):
            if wanted and (episode.over or not self._keep_restored):
                episode.begin()
        self._keep_restored = False
        return self._root()

    def _observation(self) -> Tensor:
        return torch.from_numpy(self._observations.copy())

    def _root(self) -> TensorDict:
        flags = {key: torch.zeros(*self.batch_size, 1, dtype=torch.bool) for key in _FLAGS}
        begins = torch.tensor([[episode.fresh] for episode in self._episodes])
        return self._tensordict({"observation": self._observation(), "is_init": begins, **flags})

    def _tensordict(self, source: dict[str, Tensor]) -> TensorDict:
        # the constructor without its checks, which cost 6 us on each of two a step
        return TensorDict._new_unsafe(source, batch_size=self.batch_size)

    # --- seeds and state

    def _set_seed(self, seed: int | None) -> None:
        """Build the simulators anew: a seed may also decide what the model is like."""
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        n = len(self._observations)
        derived = np.random.SeedSequence(seed).generate_state(n)
        self._populate([seed, *(int(derived[i]) for i in range(1, n))])

    def _populate(self, seeds: list[int]) -> None:
        for episode in self._episodes:
            episode.simulator.close()
        self._seeds = seeds
        self._episodes = [
            Episode(self._make_simulator(seed), row, self._agent_spec)
            for seed, row in zip(seeds, self._observations, strict=True)
        ]

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Seeds, and each episode's record: plain Python values and tensors."""
        return {
            "seeds": list(self._seeds),
            "episodes": [episode.state_dict() for episode in self._episodes],
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Go on where ``state`` was taken: the next full ``reset`` answers its observations.

        Build a collector only afterwards, because it resets its environment. Raises
        ``UserError`` if the number of environments differs; warns if the simulator does
        not repeat itself, as another version of it may not.
        """
        if len(state["seeds"]) != len(self._episodes):
            raise UserError(
                f"the checkpoint holds {len(state['seeds'])} environments, "
                f"this run has {len(self._episodes)}"
            )
        if list(state["seeds"]) != self._seeds:
            self._populate(list(state["seeds"]))
        exact = [
            episode.load_state_dict(saved)
            for episode, saved in zip(self._episodes, state["episodes"], strict=True)
        ]
        self._keep_restored = True
        if not all(exact):
            warnings.warn(
                "replaying the running episode did not lead to the saved observation (another "
                "simulator version or machine?); the run goes on from the replayed one",
                stacklevel=2,
            )

    # --- pictures and the end

    def render(self, index: int = 0, height: int = 240, width: int = 320) -> np.ndarray[Any, Any]:
        """An RGB picture of one environment, uint8 ``[height, width, 3]``."""
        return self._episodes[index].simulator.render(height, width)

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Free the simulators and their OpenGL contexts."""
        episodes, self._episodes = self._episodes, []
        for episode in episodes:
            episode.simulator.close()
        super().close(raise_if_closed=raise_if_closed)


def _action_spec(n: int, spec: EnvironmentSpec, bounds: Bounds | None) -> Any:
    if spec.discrete:
        return Categorical(spec.action, (n,), dtype=torch.int64)
    shape = (n, spec.action)
    if bounds is None:
        return Bounded(-1.0, 1.0, shape, dtype=torch.float32)
    if not all(np.isfinite(bound).all() for bound in bounds):
        return Unbounded(shape, dtype=torch.float32)
    low, high = (torch.as_tensor(bound, dtype=torch.float32).expand(shape) for bound in bounds)
    return Bounded(low, high, shape, dtype=torch.float32)
