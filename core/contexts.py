"""What each kind of component is built from, besides its own options.

Nothing here imports torch at run time, so that listings and checks stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from core.learning import Parts, Returns
    from core.protocols import EnvironmentSpec


@dataclass(frozen=True)
class EnvironmentContext:
    """What the rest of the preset asks of an environment."""

    count: int = 1
    """How many environments one process will hold for training."""
    time_input: bool = False
    """Append the time to flat observations (:attr:`core.api.EnvironmentSpec.time_input`)."""


@dataclass(frozen=True)
class NetworkContext:
    """Input and output sizes follow from the environment."""

    spec: EnvironmentSpec


@dataclass(frozen=True)
class MaskContext:
    """What a schedule of masks may follow from; masks themselves follow from the shapes."""

    frames: int = 0
    """Environment frames that the run is to train for."""


@dataclass(frozen=True)
class ExecutionContext:
    """Where the networks live, and how they are used."""

    device: torch.device
    batch_size: int = 256
    """Rows of a batch in an update; 1 where transitions are learned from one at a time."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What an earlier process of the same run reported (:meth:`core.api.Execution.report`):
    a backend that chooses must choose the same again. Empty in a new run."""


@dataclass(frozen=True)
class LossContext:
    """What a loss is made of."""

    spec: EnvironmentSpec
    parts: Parts
    device: torch.device
    count: int = 1
    """Training environments, ``N``."""


@dataclass(frozen=True)
class OptimizerContext:
    """Where the parameters live."""

    device: torch.device


@dataclass(frozen=True)
class DataContext:
    """What a data source must know of the rest of the agent."""

    spec: EnvironmentSpec
    returns: Returns
    count: int
    """Environments that feed it, ``N``."""
    device: torch.device
    seed: int
    """For the source's own generator; no other generator of the run has it."""
    run_dir: Path | None = None
    """For memory-mapped storage; None when nothing is to be allocated (``describe``)."""


@dataclass(frozen=True)
class RunInfo:
    """A run, as watchers and loggers see it."""

    name: str
    directory: Path
    config: Mapping[str, Any]
    """The resolved configuration as plain Python."""


@dataclass(frozen=True)
class LoggerContext:
    """The run to log; ``resumed`` if its earlier part was logged by another process."""

    run: RunInfo
    resumed: bool
