"""Everything that a run is, saved and restored.

``checkpoint/state.pt`` holds weights, targets, optimizer moments, masks, normalisers,
counters, random generators and environments, whatever the execution backend in one form
(:mod:`core.agent.state`); ``checkpoint/data/`` what the data source writes. The state is written
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

from core.agent.randomness import random_state
from core.agent.state import agent_state, restore_agent
from core.api.errors import UserError

if TYPE_CHECKING:
    from core.training.episodes import EpisodeTracker
    from core.training.experiment import Experiment


FOLDER = "checkpoint"
FORMAT = 4
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
        "diagnostics": experiment.diagnostics.state_dict(),
        "mask_updates": experiment.mask_updates.state_dict(),
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
    if state.get("format") != FORMAT:
        raise UserError(f"{path}: format {state.get('format')}, this version reads {FORMAT}")
    return state


def restore(
    run_dir: Path, state: dict[str, Any], experiment: Experiment, episodes: EpisodeTracker
) -> None:
    """Put a state into a freshly built experiment, before its collector is built.

    All but the global generators, which building a collector may draw from.
    """
    restore_agent(experiment.agent, state)
    experiment.policy.agent_steps = state["policy"]["agent_steps"]
    experiment.training.load_state_dict(state["environments"])
    episodes.load_state_dict(state["episodes"])
    experiment.diagnostics.load_state_dict(state["diagnostics"])
    experiment.recent.load_state_dict(state["recent"])
    experiment.mask_updates.load_state_dict(state["mask_updates"])
    experiment.data.load(run_dir / FOLDER / "data", state["data"])
    for name, value in state["counters"].items():
        setattr(experiment.counters, name, value)


def trimmed(state: Any) -> Any:
    """``state`` with no tensor that would bring memory along which nothing in it uses.

    A file holds the whole memory that any of its tensors is a view of.
    """
    used: dict[int, dict[tuple[int, int], int]] = {}

    def note(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            views = used.setdefault(value.untyped_storage().data_ptr(), {})
            views[value.data_ptr(), value.nbytes] = value.nbytes
        return value

    def alone(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        storage = value.untyped_storage()
        whole = sum(used[storage.data_ptr()].values()) >= storage.nbytes()
        return value if whole else value.clone()

    return _mapped(_mapped(state, note), alone)


def pack(state: Any) -> Any:
    """Plain data for ``torch.save``: NumPy arrays become tensors, marked as what they were.

    With this a checkpoint holds tensors and plain Python only, and reading one never runs
    code that a file brought along.
    """

    def packed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {_ARRAY: torch.from_numpy(value.copy())}
        return value.item() if isinstance(value, np.generic) else value

    return _mapped(state, packed)


def unpack(state: Any) -> Any:
    """Undo :func:`pack`."""

    def unpacked(value: Any) -> Any:
        marked = isinstance(value, Mapping) and set(value) == {_ARRAY}
        return value[_ARRAY].numpy() if marked else value

    return _mapped(state, unpacked)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Plain data with ``change`` of everything in it, and at last of the whole."""
    if isinstance(value, Mapping):
        value = {name: _mapped(item, change) for name, item in value.items()}
    elif isinstance(value, tuple | list):
        value = type(value)(_mapped(item, change) for item in value)
    return change(value)
