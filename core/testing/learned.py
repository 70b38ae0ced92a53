"""What an update of a tiny agent did."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from core.agent.randomness import seed_everything
from core.api.losses import Inspectable
from core.testing.mask_trials import lively
from core.training.checkpoint import pack, trimmed, unpack

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import nn

    from core.agent.agent import Agent
    from core.api.losses import AnalysisBatch
    from core.testing.agents import TinyRun


def objectives(run: TinyRun, batch: TensorDictBase) -> dict[str, float]:
    """Each phase's objective on a batch, the same draws every time, by name.

    Of a phase with eligibility traces, the mean square of its TD errors. No weight is moved.
    """
    seed_everything(5)
    shared = run.loss.prepare(batch)
    found = {}
    for phase in run.loss.phases:
        objective, _ = phase.run(shared) if phase.modules else (None, {})
        if objective is None:
            continue
        if phase.step is None:
            found[phase.name] = float(objective.detach())
        else:
            found[phase.name] = float(phase.step(shared)["delta"].square().mean())
    return found


def targets(run: TinyRun) -> list[nn.Module]:
    """The target networks that the loss tells of."""
    return list(run.loss.targets.values()) if isinstance(run.loss, Inspectable) else []


def differences(first: TensorDictBase, second: TensorDictBase) -> list[str]:
    """The keys under which two batches differ."""
    keys = first.keys(include_nested=True, leaves_only=True)
    changed = [key for key in keys if not torch.equal(first[key], second[key])]
    return [key if isinstance(key, str) else ".".join(key) for key in changed]


def through_a_file(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back: tensors and plain Python, nothing shared."""
    file = io.BytesIO()
    torch.save(pack(trimmed(dict(state))), file)
    file.seek(0)
    try:
        loaded: dict[str, Any] = unpack(torch.load(file, weights_only=True))
    except Exception as error:
        raise AssertionError(
            f"its state holds something besides tensors and plain Python: {error}"
        ) from error
    return loaded


def differing_states(
    first: Mapping[str, Any], second: Mapping[str, Any], within: float = 0.0
) -> list[str]:
    """The dotted keys under which two states differ."""
    one, other = dict(_leaves(first)), dict(_leaves(second))
    if one.keys() != other.keys():
        return sorted(one.keys() ^ other.keys())
    return [key for key, value in one.items() if not _same(value, other[key], within)]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}.{index}")
    else:
        yield key, value


def _same(first: Any, second: Any, within: float) -> bool:
    if isinstance(first, torch.Tensor):
        if first.shape != second.shape:
            return False
        if within and first.is_floating_point():
            return torch.allclose(first, second, rtol=within, atol=within)
        return torch.equal(first, second)
    same = first == second
    return bool(same.all()) if hasattr(same, "all") else bool(same)


def assert_removed_stay_zero(agent: Agent) -> None:
    """Of weights, targets and what optimizers remember."""
    found = list(lively(agent))
    assert not found, f"something of a removed weight is not zero: {', '.join(found)}"


def examined_problems(run: TinyRun, found: AnalysisBatch) -> Iterator[str]:
    """What is wrong with what a loss shows of a batch."""
    yield from _batch_problems(found)
    yield from _input_problems(run, found)
    yield from _value_problems(run, found)
    for role, target in run.loss.targets.items():
        if role not in run.agent.parts.modules:
            yield f"'targets' has '{role}', which is no network of the agent"
        elif type(target) is not type(run.agent.parts.modules[role]):
            yield f"the target of '{role}' is a {type(target).__name__}"


def _batch_problems(found: AnalysisBatch) -> Iterator[str]:
    rows = len(found.observation)
    for name in ("reward", "discount"):
        if name not in found.batch:
            yield f"examine() gives no '{name}' in its batch"
    for name, value in found.batch.items():
        if value.requires_grad:
            yield f"'{name}' of an examined batch has a graph"
        if value.shape[:1] != (rows,):
            yield f"'{name}' of an examined batch is {list(value.shape)}, not [{rows}, ...]"


def _input_problems(run: TinyRun, found: AnalysisBatch) -> Iterator[str]:
    networks = run.agent.parts.modules
    for role in (role for role in found.inputs if role not in networks):
        yield f"'inputs' has '{role}', which is no network of the agent"
    for role, network in networks.items():
        if role not in found.inputs:
            yield f"'inputs' has nothing for the {role}"
        else:
            network(*found.inputs[role])


def _value_problems(run: TinyRun, found: AnalysisBatch) -> Iterator[str]:
    rows = len(found.observation)
    values = run.loss.predict(found.batch)
    if values.dim() != 2 or values.shape[1] != rows:
        yield f"predict() answers {list(values.shape)}, not [members, {rows}]"
        return
    part = run.loss.predict({name: value[:2] for name, value in found.batch.items()})
    if not torch.allclose(part, values[:, :2], atol=1e-5, rtol=1e-4):
        yield "predict() of a slice of a batch is not a slice of its answer"
