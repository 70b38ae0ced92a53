"""What diagnostics and interventions see of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from core.agent.randomness import derived_seed
from core.api.data import Sampled
from core.api.diagnostics import BatchOptions
from core.api.losses import AnalysisBatch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.agent.agent import Agent
    from core.api.data import DataSource
    from core.api.environments import Environments
    from core.api.losses import Inspectable
    from core.training.recent_transitions import RecentTransitions


@final
class CurrentAgent:
    """The agent at one moment; implements :class:`core.api.interventions.ChangeableAgent`."""

    def __init__(
        self,
        agent: Agent,
        data: DataSource,
        recent: RecentTransitions,
        environments: Environments,
        frame: int,
        seed: int,
    ) -> None:
        self.agent = agent
        self.spec, self.device, self.loss = agent.spec, agent.device, agent.loss
        self.networks: Mapping[str, nn.Module] = agent.parts.modules
        self.masks: Mapping[str, Mapping[str, Tensor]] = agent.masks.masks
        self.phases = [(step.phase, step.optimizer) for step in agent.learner.steps]
        self.environments = environments
        self.frame = frame
        self._data: Any = data
        self._recent = recent
        self._seed = derived_seed(seed, f"examined at {frame}")
        self._batches: dict[BatchOptions, AnalysisBatch] = {}

    def batch(self, options: BatchOptions) -> AnalysisBatch:
        if options not in self._batches:
            loss: Inspectable = self.loss
            if self._draws(options):
                drawn = self._data.sample(options.size, self._seed)
            else:
                drawn = self._recent.take(options.size).to(self.device)
            self._batches[options] = loss.analyse(drawn)
        return self._batches[options]

    def has(self, options: BatchOptions | None) -> bool:
        if options is None:
            return True
        if self._draws(options):
            return len(self._data) > 0
        return len(self._recent) >= options.size

    def _draws(self, options: BatchOptions) -> bool:
        """Whether the batch is drawn from the data source."""
        if options.source == "auto":
            return isinstance(self._data, Sampled)
        return options.source == "replay"

    def fresh(self, role: str) -> nn.Module:
        return self.agent.parts.fresh(role)

    def reapply(self) -> None:
        self.agent.learner.execution.reapply()
        self.forget()

    def forget(self) -> None:
        """The agent changed: features that an encoder gave before are no longer its own."""
        self._batches.clear()
