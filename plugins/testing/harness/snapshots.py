"""All that something is, flat, to be compared bit for bit."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.training.checkpoint import pack, trimmed, unpack

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
    return flat(
        {
            "learner": agent.learner.state_dict(),
            "masks": agent.masks.state_dict(),
            "mask_updates": run.mask_updates.state_dict(),
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
    )


def _modules(loss: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a state dict does not tell."""
    for name, module in loss.named_modules():
        yield f"{name}: mode", module.training
        yield f"{name}: hooks", sum(len(getattr(module, hooks)) for hooks in _HOOKS)
    for name, parameter in loss.named_parameters():
        yield f"{name}: grad", (parameter.requires_grad, parameter.grad)


def flat(value: Any) -> dict[str, Any]:
    """Leaves of nested containers, copied, by dotted path; what is no tensor as text."""
    return dict(_leaves("", value))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        yield path, value.detach().clone()
    elif isinstance(value, np.ndarray):
        yield path, torch.from_numpy(value.copy())
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(f"{path}.{i}", item)
    else:
        yield path, repr(value)


def differences(before: Any, after: Any, within: float = 0.0) -> list[str]:
    """Names of what is not the same: bit for bit (NaN equals NaN), or ``within`` a tolerance."""
    one, other = flat(before), flat(after)
    names = dict.fromkeys([*one, *other])
    return [name for name in names if not _same(one.get(name), other.get(name), within)]


def _same(one: Any, other: Any, within: float) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return type(one) is type(other) and bool(one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=within, atol=within, equal_nan=True)


def named(names: list[str], most: int = 5) -> str:
    """The first few of many, in a line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def through_a_file(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back: tensors and plain Python, nothing shared."""
    file = io.BytesIO()
    try:
        torch.save(pack(trimmed(dict(state))), file)
        file.seek(0)
        loaded: dict[str, Any] = unpack(torch.load(file, weights_only=True))
    except Exception as error:
        raise AssertionError(
            f"its state cannot be saved and read back safely ({error}); it may hold tensors, "
            "arrays, numbers, texts, lists and mappings only"
        ) from error
    return loaded
