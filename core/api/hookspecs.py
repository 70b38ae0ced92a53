"""Everything a plugin can offer, and everything it can watch: the whole contract.

Offer hooks return components of one kind, once, at start. Watch hooks are told what
happened; they return nothing and change nothing. There are no others: where order would
matter, the preset holds a list instead.

A plugin is a module (or an object) with functions marked by ``core.api.hookimpl``::

    from core.api import Component, MaskContext, hookimpl

    @hookimpl
    def register_masks():
        return [Component("mine", MineOptions, build, "keeps every third weight")]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from core.api.component import Component

if TYPE_CHECKING:
    from core.api.commands import Command, CommandContext
    from core.api.data import DataContext, DataSource
    from core.api.diagnostics import Diagnostic, DiagnosticContext
    from core.api.environments import EnvironmentContext, Environments
    from core.api.execution import Execution, ExecutionContext
    from core.api.figures import Figure, FigureContext
    from core.api.interventions import Intervention
    from core.api.loggers import Logger, LoggerContext, RunInfo
    from core.api.losses import Loss, LossContext
    from core.api.masks import MaskContext, MaskScheme
    from core.api.networks import NetworkContext, Networks
    from core.api.optimizers import OptimizerContext, OptimizerFactory

PROJECT = "openwork"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Offers(Protocol):
    """One hook per kind of component."""

    @hookspec
    def register_environments(
        self,
    ) -> Iterable[Component[Any, EnvironmentContext, Environments]]:
        """Offer environments."""

    @hookspec
    def register_networks(self) -> Iterable[Component[Any, NetworkContext, Networks]]:
        """Offer network families: encoder, actor and critic of one design."""

    @hookspec
    def register_masks(self) -> Iterable[Component[Any, MaskContext, MaskScheme]]:
        """Offer pruning schemes."""

    @hookspec
    def register_execution(self) -> Iterable[Component[Any, ExecutionContext, Execution]]:
        """Offer ways to store and multiply kept weights."""

    @hookspec
    def register_losses(self) -> Iterable[Component[Any, LossContext, Loss]]:
        """Offer algorithms."""

    @hookspec
    def register_optimizers(
        self,
    ) -> Iterable[Component[Any, OptimizerContext, OptimizerFactory]]:
        """Offer optimizers."""

    @hookspec
    def register_data(self) -> Iterable[Component[Any, DataContext, DataSource]]:
        """Offer data sources."""

    @hookspec
    def register_diagnostics(self) -> Iterable[Component[Any, DiagnosticContext, Diagnostic]]:
        """Offer measurements of an agent in training."""

    @hookspec
    def register_interventions(
        self,
    ) -> Iterable[Component[Any, DiagnosticContext, Intervention]]:
        """Offer changes of an agent at stated frames, such as resets."""

    @hookspec
    def register_figures(self) -> Iterable[Component[Any, FigureContext, Figure]]:
        """Offer pictures for ``python -m core report``."""

    @hookspec
    def register_commands(self) -> Iterable[Component[Any, CommandContext, Command]]:
        """Offer verbs of the command line."""

    @hookspec
    def register_loggers(self) -> Iterable[Component[Any, LoggerContext, Logger]]:
        """Offer loggers; ``metrics.jsonl`` is always written."""


class Watches:
    """What happened in a run. Arguments may be left out of an implementation."""

    @hookspec
    def run_started(self, run: RunInfo, resumed: bool) -> None:
        """Everything is built; no frame has been collected in this process."""

    @hookspec
    def evaluated(self, run: RunInfo, step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation ended; ``step`` counts environment frames."""

    @hookspec
    def checkpoint_saved(self, run: RunInfo, step: int, path: Path) -> None:
        """A checkpoint is on disk."""

    @hookspec
    def run_finished(self, run: RunInfo, step: int, outcome: str) -> None:
        """The run left its loop: ``finished``, ``interrupted`` or ``failed``."""


@dataclass(frozen=True)
class Kind:
    """A kind of component; ``register_NAME`` is its hook, ``core/api/NAME.py`` its page."""

    name: str
    word: str
    """What one of it is called."""
    key: str = ""
    """The key of a preset that holds it; none where a preset does not choose it."""
    many: bool = False
    """Whether the key holds a list."""


PRESET_KINDS = (
    Kind("environments", "environment", "environment"),
    Kind("networks", "network", "network"),
    Kind("masks", "mask", "masks", many=True),
    Kind("execution", "execution backend", "execution"),
    Kind("losses", "loss", "loss"),
    Kind("optimizers", "optimizer", "optimizer"),
    Kind("data", "data source", "data"),
    Kind("diagnostics", "diagnostic", "diagnostics", many=True),
    Kind("interventions", "intervention", "interventions", many=True),
    Kind("loggers", "logger", "loggers", many=True),
)
"""What a run is made of."""
TOOL_KINDS = (Kind("figures", "figure"), Kind("commands", "command"))
"""What reads runs; no run needs one."""
KINDS = {kind.name: kind.word for kind in (*PRESET_KINDS, *TOOL_KINDS)}
"""Every kind, and what one of it is called."""

ALL = "all"
"""In a preset's list of diagnostics: every one that suits the agent."""
