"""All that a run is, flat, to be compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import nn

    from core.training.experiment import Experiment

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def snapshot(run: Experiment, folder: Path) -> dict[str, Any]:
    """Copies of a run's whole state by name: tensors, and plain values as text.

    ``folder`` is for the data source to save into, the same at every call. The global random
    generators are left out: core puts them back after diagnostics and interventions.
    """
    agent = run.agent
    state = {
        "learner": agent.learner.state_dict(),
        "masks": agent.masks.state_dict(),
        "topology": agent.topology.state_dict(),
        "loss": dict(_modules(agent.loss)),
        "policy": run.policy.agent_steps,
        "environments": run.training.state_dict(),
        "data": run.data.save(folder),
        "recent": run.recent.state_dict(),
        "torch": {
            "gradients enabled": torch.is_grad_enabled(),
            "threads": torch.get_num_threads(),
            "default dtype": str(torch.get_default_dtype()),
        },
    }
    return dict(flat("", state))


def _modules(loss: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a state dict does not tell."""
    for name, module in loss.named_modules():
        yield f"{name}: mode", "training" if module.training else "evaluation"
        yield f"{name}: hooks", sum(len(getattr(module, hooks)) for hooks in _HOOKS)
    for name, parameter in loss.named_parameters():
        yield f"{name}: requires_grad", parameter.requires_grad
        yield f"{name}: grad", "none" if parameter.grad is None else parameter.grad


def flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves of nested containers, copied, by path."""
    if isinstance(value, torch.Tensor):
        yield path, value.detach().clone()
    elif isinstance(value, np.ndarray):
        yield path, torch.from_numpy(value.copy())
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from flat(f"{path}.{name}" if path else str(name), item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from flat(f"{path}.{i}", item)
    else:
        yield path, repr(value)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of what is not the same, bit for bit (NaN equals NaN)."""
    names = dict.fromkeys([*before, *after])
    return [
        name
        for name in names
        if name not in before or name not in after or not _same(before[name], after[name])
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        if one.is_floating_point() and alike:
            return torch.equal(torch.nan_to_num(one, 7.25), torch.nan_to_num(other, 7.25))
        return alike and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def named(names: list[str], most: int = 5) -> str:
    """The first few of many, in a line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
