"""TorchRL's collector, and a lean form of it for one step at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.collectors import Collector

if TYPE_CHECKING:
    from torchrl.envs import EnvBase

    from core.agent.policy import Policy


@final
class StepCollector(Collector):
    """Hands out each step, ``[N, 1]``, as the environment gave it, without end.

    TorchRL's own copies every batch into a stack and looks for keys to leave out, which for a
    batch of one step costs several times what a small simulator's step does.
    """

    _carrier: TensorDictBase

    def iterator(self) -> Iterator[TensorDictBase]:
        """One batch after the other."""
        while True:
            yield self.rollout()

    @torch.no_grad()
    def rollout(self) -> TensorDictBase:
        """One step of every environment."""
        stepped, self._carrier = self.env.step_and_maybe_reset(self.policy(self._carrier))
        return _with_time(stepped)


def _with_time(step: TensorDictBase) -> TensorDict:
    """``[N] -> [N, 1]``, as views."""
    views = {
        key: _with_time(value) if isinstance(value, TensorDictBase) else value.unsqueeze(1)
        for key, value in step.items()
    }
    # the constructor without its checks, which are most of its cost
    return TensorDict._new_unsafe(views, batch_size=torch.Size([*step.batch_size, 1]))


def make_collector(environment: EnvBase, policy: Policy, steps: int) -> Collector:
    """A collector of ``steps`` agent steps per environment and batch.

    Building it resets the environments, which gives a restored observation back
    (:class:`core.api.environments.Environment`).
    """
    kind = StepCollector if steps == 1 else Collector
    return kind(
        environment,
        policy,
        frames_per_batch=steps * environment.batch_size.numel(),
        total_frames=-1,
        track_traj_ids=False,
        trust_policy=True,
        auto_register_policy_transforms=False,
        return_same_td=steps == 1,
    )
