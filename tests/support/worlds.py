"""Environments for tests, and a way through them."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase

from core.api import EnvironmentContext
from plugins.environments.gymnasium import GymnasiumEnvironments
from plugins.environments.options import GymnasiumOptions


def gymnasium_env(id_: str = "CartPole-v1", **options: Any) -> Any:
    return GymnasiumEnvironments(GymnasiumOptions(id_, **options), EnvironmentContext())


def rollout(env: Any, steps: int, seed: int = 0) -> TensorDictBase:
    """Transitions with random actions, stepped as a collector does."""
    torch.manual_seed(seed)
    root, taken = env.reset(), []
    for _ in range(steps):
        stepped, root = env.step_and_maybe_reset(env.rand_action(root))
        taken.append(stepped.clone())
    return torch.stack(taken, 1)
