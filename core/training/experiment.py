"""From a checked preset to wired objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from core.agent.agent import build_agent, choose_device
from core.agent.policy import Policy
from core.agent.randomness import derived_seed, untouched_randomness
from core.api.data import DataContext, Sampled
from core.api.diagnostics import DiagnosticContext
from core.api.environments import TIME_INPUT, EnvironmentContext
from core.api.errors import UserError
from core.config import RunConfig
from core.training.agent_view import CurrentAgent
from core.training.diagnostics import DiagnosticRunner
from core.training.mask_updates import MaskUpdates
from core.training.recent_transitions import RecentTransitions

if TYPE_CHECKING:
    from torchrl.collectors import Collector
    from torchrl.envs import EnvBase

    from core.agent.agent import Agent
    from core.api.data import DataSource
    from core.api.environments import Environments


@dataclass
class Counters:
    """Where a run is. Frames are environment frames: agent steps times action repeat."""

    frames: int = 0
    logged: int = 0
    """The frame of the last log line; likewise below."""
    evaluated: int = 0
    saved: int = -1
    seconds: float = 0.0
    """Wall time of the run so far, earlier processes included."""
    measuring: float = 0.0
    """The part of it that diagnostics took."""
    finished: bool = False


@dataclass
class Experiment:
    """A run, wired."""

    config: RunConfig
    environments: Environments
    agent: Agent
    data: DataSource
    policy: Policy
    training: EnvBase
    diagnostics: DiagnosticRunner
    mask_updates: MaskUpdates
    recent: RecentTransitions
    left_out: dict[str, str] = field(default_factory=dict)
    """Diagnostics that ``all`` brought and that do not suit the agent, and why."""
    counters: Counters = field(default_factory=Counters)

    def collector(self) -> Collector:
        """A collector that goes on from where the training environments are.

        Built late, after a checkpoint was loaded.
        """
        from core.training.collector import make_collector

        collector = make_collector(self.training, self.policy, self.config.run.collect.steps)
        self.policy.recording = True
        return collector

    def view(self) -> CurrentAgent:
        """The agent as it is now, for diagnostics and interventions."""
        return CurrentAgent(
            self.agent,
            self.data,
            self.recent,
            self.environments,
            self.counters.frames,
            self.config.run.seed,
        )

    def close(self) -> None:
        self.training.close(raise_if_closed=False)


def build_data(config: RunConfig, agent: Agent, run_dir: Path | None) -> DataSource:
    """The data source that feeds the agent's loss."""
    context = DataContext(
        spec=agent.spec,
        returns=agent.loss.returns,
        count=config.count,
        device=agent.device,
        seed=derived_seed(config.run.seed, "replay"),
        run_dir=run_dir,
    )
    source: DataSource = config.data.build(context)
    return source


def build_environments(config: RunConfig) -> Environments:
    """The environment component; makes no environment yet."""
    context = EnvironmentContext(config.count, time_input=TIME_INPUT in config.needs)
    environments: Environments = config.environment.build(context)
    return environments


def build(config: RunConfig, run_dir: Path, chosen: Mapping[str, Any] | None = None) -> Experiment:
    """Everything but the collector (see :meth:`Experiment.collector`).

    ``chosen`` is what the execution backend reported in an earlier process of this run.
    """
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    environments = build_environments(config)
    if config.run.record_video:
        _check_rendering(environments)
    device = choose_device(config.run.device)
    agent = build_agent(config, environments.spec, device, chosen)
    if config.run.compile:
        agent.learner.compile()
    else:
        agent.learner.fuse()
    data = build_data(config, agent, run_dir)
    frames = config.run.collect.random_frames
    random_steps = (
        data.learning_starts if frames is None else -(-frames // environments.spec.action_repeat)
    )
    policy = Policy(agent.loss, environments.spec, device, random_steps)
    mask_updates = MaskUpdates(agent.parts.schemes, config.run.seed)
    diagnostics, left_out = _build_diagnostics(config, agent, data, mask_updates)
    recent = RecentTransitions(diagnostics.recent, agent.loss.returns.gamma)
    training = environments.make(config.count, config.run.seed)
    kept = tuple(s for s in config.diagnostics if s.component.name not in left_out)
    config = replace(config, diagnostics=kept)
    return Experiment(
        config=config,
        environments=environments,
        agent=agent,
        data=data,
        policy=policy,
        training=training,
        diagnostics=diagnostics,
        mask_updates=mask_updates,
        recent=recent,
        left_out=left_out,
    )


def _build_diagnostics(
    config: RunConfig, agent: Agent, data: DataSource, mask_updates: MaskUpdates
) -> tuple[DiagnosticRunner, dict[str, str]]:
    """Diagnostics and interventions; and of ``all``, those that refused this agent, and why.

    Raises:
        UserError: one asked for by name refuses the agent.
    """
    context = DiagnosticContext(
        agent.spec, agent.loss, agent.parts.modules, agent.loss.returns.gamma
    )
    diagnostics: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with untouched_randomness():
        for selection in config.diagnostics:
            name = selection.component.name
            try:
                diagnostics[name] = selection.build(context)
            except UserError as error:
                if not selection.optional:
                    raise
                left_out[name] = str(error)
        steps = [(s.component.name, s.build(context)) for s in config.interventions]
    sampled, asked = isinstance(data, Sampled), mask_updates.batches
    return DiagnosticRunner(diagnostics, steps, config.run.seed, sampled, asked), left_out


def _check_rendering(environments: Environments) -> None:
    """Draw one picture now: a run must not find out at its first video that it cannot."""
    environment = environments.make(1, seed=0)
    try:
        environment.reset()
        environment.render(0)
    finally:
        environment.close()
