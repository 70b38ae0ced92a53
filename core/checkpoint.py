"""Everything that a run is, saved and restored.

``checkpoint/state.pt`` holds weights, targets, optimizer moments, masks, normalisers,
counters, random generators and environments, whatever the execution backend in one form
(:mod:`core.portable`); ``checkpoint/data/`` what the data source writes. The state is written
beside the old one and then renamed, and data files are deleted only once no checkpoint names
them: a run that is killed at any moment can go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core import portable
from core.errors import UserError
from core.masks import removed_weights_are_zero
from core.randomness import random_state, restore_random_state

if TYPE_CHECKING:
    from torch import Tensor

    from core.episodes import EpisodeTracker
    from core.experiment import Agent, Experiment

FOLDER = "checkpoint"
FORMAT = 3
READABLE = (2, 3)
"""2: before there were compact weights."""
_ARRAY = "numpy array"


def save(run_dir: Path, experiment: Experiment, episodes: EpisodeTracker, metrics: int) -> Path:
    """Write a checkpoint; ``metrics`` is the size of ``metrics.jsonl`` in bytes.

    Raises:
        AssertionError: a removed weight is not zero. That is a fault of ours (or of a
            plugin), and a checkpoint must not hide it.
    """
    learned = agent_state(experiment.agent)
    folder = run_dir / FOLDER
    data_folder = folder / "data"
    data_folder.mkdir(parents=True, exist_ok=True)
    data = experiment.data.save(data_folder)
    state = {
        "format": FORMAT,
        **learned,
        "policy": {"agent_steps": experiment.policy.agent_steps},
        "environments": experiment.training.state_dict(),
        "episodes": episodes.state_dict(),
        "data": data,
        "examiner": experiment.examiner.state_dict(),
        "topology": experiment.agent.topology.state_dict(),
        "recent": experiment.recent.state_dict(),
        "counters": asdict(experiment.counters),
        "metrics": metrics,
        "random": random_state(),
    }
    path = folder / "state.pt"
    temporary = folder / "state.pt.tmp"
    with temporary.open("wb") as file:
        torch.save(pack(trimmed(state)), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    named = set(data.get("files", ()))
    for file_path in data_folder.iterdir():
        if file_path.name not in named:
            file_path.unlink()
    return path


def read(run_dir: Path) -> dict[str, Any]:
    """The state of a run's checkpoint.

    Raises:
        UserError: there is none, or it is damaged or of another format.
    """
    path = run_dir / FOLDER / "state.pt"
    if not path.is_file():
        raise UserError(f"{run_dir}: there is no checkpoint in it ({path})")
    try:
        state: dict[str, Any] = unpack(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UserError(f"{path}: the checkpoint cannot be read: {error}") from None
    if state.get("format") not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise UserError(f"{path}: format {state.get('format')}, this version reads {known}")
    return state


def restore(
    run_dir: Path, state: dict[str, Any], experiment: Experiment, episodes: EpisodeTracker
) -> None:
    """Put a state into a freshly built experiment, before its collector is built."""
    restore_agent(experiment.agent, state)
    experiment.policy.agent_steps = state["policy"]["agent_steps"]
    experiment.training.load_state_dict(state["environments"])
    episodes.load_state_dict(state["episodes"])
    if "examiner" in state:  # runs of before there were diagnostics can go on
        experiment.examiner.load_state_dict(state["examiner"])
        experiment.recent.load_state_dict(state["recent"])
    if "topology" in state:  # likewise of before masks changed
        experiment.agent.topology.load_state_dict(state["topology"])
    experiment.data.load(run_dir / FOLDER / "data", state["data"])
    for name, value in state["counters"].items():
        setattr(experiment.counters, name, value)


def restore_randomness(state: dict[str, Any]) -> None:
    """The global generators, last of all: building a collector may draw from them."""
    restore_random_state(state["random"])


def agent_state(agent: Agent) -> dict[str, Any]:
    """What learns, in a form that any execution backend takes.

    Raises:
        AssertionError: a removed weight is not zero.
    """
    agent.learner.execution.settle()
    for role, module in agent.parts.modules.items():
        masks: Mapping[str, Tensor] = agent.masks.masks.get(role, {})
        assert removed_weights_are_zero(module, masks), f"a removed weight of '{role}' is not zero"
    return {
        "learner": portable.portable(agent.learner),
        "networks": portable.prefixes(agent.loss, agent.parts.modules),
        "masks": agent.masks.state_dict(),
    }


def restore_agent(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put :func:`agent_state` into an agent that was built alike, its execution apart."""
    # Masks first: where others are in force than were drawn, layers have other sizes.
    found = portable.copies(agent.loss, agent.parts.modules)
    optimizers = [step.optimizer for step in agent.learner.steps if step.optimizer is not None]
    for role, masks in agent.masks.changed(state["masks"]).items():
        agent.learner.execution.remask(found[role], masks, optimizers)
    agent.masks.load_state_dict(state["masks"])
    roles = state.get("networks", {})
    fitting = portable.fitting(state["learner"], agent.learner, agent.masks.masks, roles)
    agent.learner.load_state_dict(fitting)


def trimmed(state: Any) -> Any:
    """``state`` with no tensor that would bring memory along which nothing in it uses.

    A file holds the whole memory that any of its tensors is a view of.
    """
    used: dict[int, dict[tuple[int, int], int]] = {}
    _visit(state, lambda tensor: _note(tensor, used))

    def alone(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        whole = sum(used[storage.data_ptr()].values()) >= storage.nbytes()
        return tensor if whole else tensor.clone()

    return _visit(state, alone)


def _note(tensor: Tensor, used: dict[int, dict[tuple[int, int], int]]) -> Tensor:
    views = used.setdefault(tensor.untyped_storage().data_ptr(), {})
    views[tensor.data_ptr(), tensor.nbytes] = tensor.nbytes
    return tensor


def _visit(value: Any, visit: Callable[[Tensor], Tensor]) -> Any:
    """Plain data with ``visit`` of every tensor in it."""
    if isinstance(value, torch.Tensor):
        return visit(value)
    if isinstance(value, Mapping):
        return {name: _visit(item, visit) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_visit(item, visit) for item in value)
    return value


def pack(value: Any) -> Any:
    """Plain data for ``torch.save``: NumPy arrays become tensors, marked as what they were.

    With this a checkpoint holds tensors and plain Python only, and reading one never runs
    code that a file brought along.
    """
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(value.copy())}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: pack(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(pack(item) for item in value)
    return value


def unpack(value: Any) -> Any:
    """Undo :func:`pack`."""
    if isinstance(value, Mapping):
        if set(value) == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {name: unpack(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(unpack(item) for item in value)
    return value
