"""Episodes of the agent as it stands, in environments of their own."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict, TensorDictBase

if TYPE_CHECKING:
    from torch import Tensor
    from torchrl.envs import EnvBase

    from core.api import AgentView

ROOT = ("observation", "action")
NEXT = ("observation", "reward", "done", "terminated")


@torch.no_grad()
def episodes(
    view: AgentView, count: int, *, limit: int, explore: bool, gamma: float
) -> Generator[TensorDictBase]:
    """``count`` episodes one after another, each ``[T]`` with ``T`` at most ``limit``.

    On the host, with the keys of :class:`core.api.DataSource` and ``next/done``: one-step
    transitions with ``discount`` ``gamma`` unless terminated. The environment's seed is drawn
    from torch's global generator. The loss acts, as in evaluation: it is shown no observation
    for its statistics. One environment, because an agent made for one may act in one only.
    """
    environment = view.environments.make(1, int(torch.randint(2**31 - 1, ())))
    try:
        root: TensorDictBase | None = None
        for _ in range(count):
            root = environment.reset() if root is None else root
            taken: list[TensorDictBase] = []
            done = False
            while not done and len(taken) < limit:
                stepped, root = _step(view, environment, root, explore)
                taken.append(stepped)
                done = bool(stepped.get("next").get("done"))
            yield _joined(taken, gamma)
            root = root if done else None
    finally:
        environment.close()


def _step(
    view: AgentView, environment: EnvBase, root: TensorDictBase, explore: bool
) -> tuple[TensorDictBase, TensorDictBase]:
    """The transition, and the root of the next one: of a new episode where this one is done."""
    observation = root.get("observation")
    action: Tensor = view.loss.act(observation.to(view.device), explore=explore)
    # A copy: a loss may answer with a buffer that its next answer overwrites.
    root.set("action", action.to(observation.device, copy=True))
    stepped: tuple[TensorDictBase, TensorDictBase] = environment.step_and_maybe_reset(root)
    return stepped


def _joined(taken: list[TensorDictBase], gamma: float) -> TensorDictBase:
    following = {key: torch.cat([step.get("next").get(key) for step in taken]) for key in NEXT}
    following["discount"] = gamma * (~following["terminated"]).to(following["reward"].dtype)
    chosen = {key: torch.cat([step.get(key) for step in taken]) for key in ROOT}
    return TensorDict({**chosen, "next": TensorDict(following, [len(taken)])}, [len(taken)])
