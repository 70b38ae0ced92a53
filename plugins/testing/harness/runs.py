"""Tiny agents in toy environments, wired as a preset wires them, for suites to try things on."""

from __future__ import annotations

import copy
import functools
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import __version__
from core.agent.state import agent_state, restore_agent
from core.api.component import Provider
from core.api.errors import UserError
from core.config import resolve
from core.config.load import Loaded
from core.training.experiment import build
from core.training.loop import Run
from core.training.recent_transitions import RecentTransitions
from core.training.record import amend_record, write_record
from plugins.testing.harness.agents import PRESETS
from plugins.testing.harness.snapshots import differences, snapshot
from plugins.testing.toys import toy

if TYPE_CHECKING:
    from core.plugins import Plugins
    from core.training.experiment import Experiment

STEPS = 80
"""Agent steps that an agent has lived when it is looked at."""
_COMMON: dict[str, Any] = {
    "device": "cpu",
    "seed": 0,
    "mask_seed": 0,
    "environment": {"name": "toy_states", "limit": 12},
    "masks": [{"name": "erdos_renyi", "target": "all", "sparsity": 0.5}],
}
_REPLAY = {"name": "replay", "capacity": 500, "batch_size": 16, "learning_starts": 70}
_STREAM = {"name": "stream_mlp", "width": 12, "sparse_init": {"sparsity": 0.3}}
AGENTS: dict[str, dict[str, Any]] = {
    "replay": {**PRESETS["replay"], **_COMMON, "data": _REPLAY},
    "streaming": {**PRESETS["streaming"], **_COMMON, "network": _STREAM},
}
"""What a suite tries a component with: an agent that learns from replay, one that streams."""
_SHORT: dict[str, Any] = {
    "frames": 120,
    "log_every": 20,
    "evaluation": {"every": 60, "episodes": 2},
    "diagnostics": [{"name": "parameter_norm", "every": 40}],
    "checkpoint": {"every": None},
}


# --- presets ----------------------------------------------------------------------------


def with_toys(plugins: Plugins) -> Plugins:
    """The same host, with the toy environments on offer."""
    if not any(c.name == "toy_states" for c in plugins.components("environments")):
        plugins.load_object(toy, Provider("openwork-toys", __version__, toy.__name__))
    return plugins


def preset(agent: str, *changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an agent's preset; of ``changes`` the later win, key by key.

    A component node that names another component starts afresh.
    """
    values = copy.deepcopy(AGENTS[agent])
    for change in changes:
        _merge(values, change)
    return values


def _merge(values: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        below = values.get(key)
        both = isinstance(below, dict) and isinstance(value, Mapping)
        if both and value.get("name", values[key].get("name")) == values[key].get("name"):
            _merge(values[key], value)
        else:
            values[key] = copy.deepcopy(value)


def unsuited(
    plugins: Plugins, values: Mapping[str, Any], listed: str, name: str, options: Mapping[str, Any]
) -> str:
    """Why a component cannot stand in a preset's list (``diagnostics``); empty if it can."""
    try:
        resolve(Loaded({**values, listed: [{"name": name, **options}]}), with_toys(plugins))
    except UserError as error:
        return str(error)
    return ""


# --- runs -------------------------------------------------------------------------------


def experiment(plugins: Plugins, values: Mapping[str, Any]) -> Experiment:
    """A wired run in a folder of its own, which goes with it; nothing was collected yet.

    Raises:
        UserError: something is wrong with the preset.
    """
    config = resolve(Loaded(dict(values)), with_toys(plugins))
    folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
    built = build(config, folder)
    weakref.finalize(built, shutil.rmtree, folder, ignore_errors=True)
    return built


def live(run: Experiment, steps: int, updates: int | None = None) -> None:
    """Collect so many agent steps and learn from them; stop early after so many ``updates``."""
    learner = run.agent.learner
    wanted = None if updates is None else learner.updates + updates
    collected = iter(run.collector())
    for _ in range(steps):
        transitions = next(collected)
        run.data.extend(transitions)
        run.recent.extend(transitions)
        run.counters.frames += transitions.numel() * run.agent.spec.action_repeat
        learner.loss.set_progress(run.policy.agent_steps)
        for batch in run.data.batches():
            learner.update(batch)
        if wanted is not None and learner.updates >= wanted:
            return
    assert wanted is None, f"{steps} agent steps brought no {updates} updates"


def record(plugins: Plugins, directory: Path) -> None:
    """Write a short finished run, as ``python -m core run`` does, with nothing printed."""
    shutil.copytree(_recorded(plugins), directory)


@functools.cache
def _recorded(plugins: Plugins) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
    weakref.finalize(plugins, shutil.rmtree, folder, ignore_errors=True)
    config = resolve(Loaded(preset("replay", _SHORT)), with_toys(plugins))
    run = Run(build(config, folder), folder, lambda: False)
    write_record(folder, "a-run", config, plugins, {})
    for _ in run.events():
        pass
    amend_record(folder, outcome="finished", frames=run.counters.frames)
    return folder


# --- runs that several checks look at ---------------------------------------------------

_kept: dict[Any, tuple[Experiment, Path, dict[str, Any], dict[str, Any]]] = {}
"""Runs with the folder of their snapshots, the state of their agent, and a snapshot."""
MOST = 8
"""Runs that are kept."""


@contextmanager
def borrowed(
    plugins: Plugins, values: Mapping[str, Any], steps: int = STEPS
) -> Iterator[Experiment]:
    """A run after so many agent steps, kept for others: what is done to its agent is undone.

    A run that cannot be put back to what it was, bit for bit, is not lent again.
    """
    key = (plugins, json.dumps(values, sort_keys=True, default=str), steps)
    run, folder, state, before = _kept.pop(key, None) or _lived(plugins, values, steps)
    # only after all went well it is there for the next
    yield run
    restore_agent(run.agent, copy.deepcopy(state))
    if not differences(before, snapshot(run, folder)):
        _kept[key] = run, folder, state, before
        if len(_kept) > MOST:
            del _kept[next(iter(_kept))]


def _lived(plugins: Plugins, values: Mapping[str, Any], steps: int) -> Any:
    run = experiment(plugins, values)
    run.recent = RecentTransitions(steps, run.agent.loss.returns.gamma)
    live(run, steps)
    folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    return run, folder, copy.deepcopy(agent_state(run.agent)), snapshot(run, folder)
