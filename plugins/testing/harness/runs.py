"""Tiny agents in toy environments, wired as a preset wires them, for suites to try things on."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.api.component import Provider
from core.api.errors import UserError
from core.config import Selection, resolve
from core.config.load import Loaded

if TYPE_CHECKING:
    from core.plugins import Plugins
    from core.training.experiment import Experiment

STEPS = 80
"""Agent steps that an agent has lived when it is looked at."""
_COMMON: dict[str, Any] = {
    "frames": 1_000,
    "device": "cpu",
    "environment": {"name": "toy_states", "limit": 12},
    "masks": [{"name": "erdos_renyi", "target": "all", "sparsity": 0.5}],
    "execution": {"name": "masked"},
}
AGENTS: dict[str, dict[str, Any]] = {
    "replay": {
        **_COMMON,
        "network": {
            "name": "simba",
            "actor": {"width": 8, "blocks": 1},
            "critic": {"width": 12, "blocks": 1},
        },
        "loss": {"name": "sac", "critics": 2},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-2},
        "data": {"name": "replay", "capacity": 500, "batch_size": 16, "learning_starts": 70},
    },
    "streaming": {
        **_COMMON,
        "network": {"name": "stream_mlp", "width": 12, "sparse_init": {"sparsity": 0.3}},
        "loss": {"name": "stream_ac"},
        "optimizer": {"name": "obgd", "lr": 1.0, "kappa": {"actor": 3.0, "critic": 2.0}},
        "data": {"name": "stream"},
    },
}
"""What a suite tries a component with: an agent that learns from replay, one that streams."""


# --- presets ----------------------------------------------------------------------------


def with_toys(plugins: Plugins) -> Plugins:
    """The same host, with the toy environments on offer."""
    from core import __version__
    from plugins.testing.toys import toy

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
        if isinstance(below, dict) and isinstance(value, Mapping) and _same_name(below, value):
            _merge(below, value)
        else:
            values[key] = copy.deepcopy(value)


def _same_name(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return bool(value.get("name", below.get("name")) == below.get("name"))


@dataclass(frozen=True)
class Unsuited:
    """Why a component cannot stand in an agent's preset."""

    reason: str


def selected(
    plugins: Plugins, values: Mapping[str, Any], listed: str, name: str, options: Mapping[str, Any]
) -> Selection | Unsuited:
    """A component of a preset's list (``diagnostics``), checked against the rest of it."""
    node = {"name": name, **options}
    try:
        config = resolve(Loaded({**values, listed: [node]}), with_toys(plugins))
    except UserError as error:
        return Unsuited(str(error))
    selections: tuple[Selection, ...] = getattr(config, listed)
    return selections[0]


# --- runs -------------------------------------------------------------------------------


def experiment(plugins: Plugins, values: Mapping[str, Any]) -> Experiment:
    """A wired run in a folder of its own, which goes with it; nothing was collected yet.

    Raises:
        UserError: something is wrong with the preset.
    """
    from core.training.experiment import build

    config = resolve(Loaded(dict(values)), with_toys(plugins))
    folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
    built = build(config, folder)
    weakref.finalize(built, shutil.rmtree, folder, ignore_errors=True)
    return built


def live(run: Experiment, steps: int, updates: int | None = None) -> None:
    """Collect so many agent steps and learn from them as the data source says.

    Args:
        run: What is wired.
        steps: Agent steps at most.
        updates: Stop as soon as there have been so many more.
    """
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


def lived(plugins: Plugins, values: Mapping[str, Any], steps: int = STEPS) -> Experiment:
    """A run after so many agent steps; the last of them are kept for whoever looks at them."""
    from core.training.recent_transitions import RecentTransitions

    run = experiment(plugins, values)
    run.recent = RecentTransitions(steps, run.agent.loss.returns.gamma)
    live(run, steps)
    return run


def record(plugins: Plugins, directory: Path) -> None:
    """Write a short finished run, as ``python -m core run`` does, with nothing printed."""
    if id(plugins) not in _recorded:
        folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
        weakref.finalize(plugins, shutil.rmtree, folder, ignore_errors=True)
        _record(plugins, folder / "run")
        _recorded[id(plugins)] = plugins, folder / "run"
    shutil.copytree(_recorded[id(plugins)][1], directory)


_recorded: dict[int, tuple[Plugins, Path]] = {}
"""One for each host, which is held so that its ``id`` stays its own."""


def _record(plugins: Plugins, directory: Path) -> None:
    from core.training.experiment import build
    from core.training.loop import Run
    from core.training.record import amend_record, write_record

    short = {
        "frames": 120,
        "log_every": 20,
        "evaluation": {"every": 60, "episodes": 2},
        "diagnostics": [{"name": "parameter_norm", "every": 40}],
        "checkpoint": {"every": None},
    }
    config = resolve(Loaded(preset("replay", short)), with_toys(plugins))
    directory.mkdir()
    run = Run(build(config, directory), directory, lambda: False)
    write_record(directory, "a-run", config, plugins, {})
    for _ in run.events():
        pass
    amend_record(directory, outcome="finished", frames=run.counters.frames)


# --- runs that several checks look at ---------------------------------------------------


@dataclass
class _Kept:
    plugins: Plugins
    """Held, so that its ``id`` stays its own."""
    run: Experiment
    folder: Path
    agent: dict[str, Any]
    snapshot: dict[str, Any]


_kept: dict[tuple[int, str, int], _Kept] = {}
MOST = 8
"""Runs that are kept."""


@contextmanager
def borrowed(
    plugins: Plugins, values: Mapping[str, Any], steps: int = STEPS
) -> Iterator[Experiment]:
    """:func:`lived`, kept for others; what is done to its agent is undone afterwards.

    A run that cannot be put back to what it was, bit for bit, is not lent again.
    """
    from core.agent.state import restore_agent
    from plugins.testing.harness.snapshots import differences, snapshot

    key = (id(plugins), json.dumps(values, sort_keys=True, default=str), steps)
    kept = _kept.pop(key, None) or _keep(plugins, values, steps)
    # only after all went well it is there for the next
    yield kept.run
    restore_agent(kept.run.agent, copy.deepcopy(kept.agent))
    if not differences(kept.snapshot, snapshot(kept.run, kept.folder)):
        _kept[key] = kept
        if len(_kept) > MOST:
            del _kept[next(iter(_kept))]


def _keep(plugins: Plugins, values: Mapping[str, Any], steps: int) -> _Kept:
    from core.agent.state import agent_state
    from plugins.testing.harness.snapshots import snapshot

    run = lived(plugins, values, steps)
    folder = Path(tempfile.mkdtemp(prefix="openwork-testing-"))
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    state = copy.deepcopy(agent_state(run.agent))
    return _Kept(plugins, run, folder, state, snapshot(run, folder))
