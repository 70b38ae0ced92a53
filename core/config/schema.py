"""What a preset says besides its components."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.api.errors import require
from core.api.hookspecs import PRESET_KINDS


def _require_least(options: object, least: int, words: str, *names: str) -> None:
    """Require that options of these names, where they are set, are not below ``least``."""
    for name in names:
        value = getattr(options, name)
        require(value is None or value >= least, name, f"must {words}, got {value}")


@dataclass(frozen=True)
class CollectOptions:
    """How the agent acts while it learns."""

    steps: int = 1
    """Agent steps per environment between updates. The papers take 1; more is faster to
    collect and learns from slightly older actions. The replay ratio is kept either way."""
    random_frames: int | None = None
    """Environment frames of uniformly random actions at the start; null: until the data
    source's ``learning_starts``."""

    def __post_init__(self) -> None:
        _require_least(self, 1, "be at least 1", "steps")
        _require_least(self, 0, "not be negative", "random_frames")


@dataclass(frozen=True)
class EvaluationOptions:
    """Deterministic episodes on environments of their own, normalisers frozen."""

    every: int | None = 10_000
    """Environment frames between evaluations; null: only at the end."""
    episodes: int = 10
    """Episodes of each evaluation, at least 1."""
    final_episodes: int | None = None
    """Episodes of the last evaluation; null: as many as of the others."""

    def __post_init__(self) -> None:
        _require_least(self, 1, "be positive", "every")
        _require_least(self, 1, "be at least 1", "episodes", "final_episodes")


@dataclass(frozen=True)
class CheckpointOptions:
    """When the whole run is saved. Ctrl-C and SIGTERM always save."""

    every: int | None = 100_000
    """Environment frames between checkpoints; null: only when the run ends or is stopped."""

    def __post_init__(self) -> None:
        _require_least(self, 1, "be positive", "every")


@dataclass(frozen=True)
class RunOptions:
    """The run itself. All lengths and intervals count environment frames: agent steps times
    action repeat."""

    frames: int
    """Environment frames to train for."""
    name: str | None = None
    """The run's name; null: the first preset's file name."""
    seed: int = 0
    """Seeds initialisation, environments, exploration and sampling."""
    mask_seed: int = 0
    """Seeds the masks, and nothing else."""
    device: str = "auto"
    """Where the agent learns: ``cpu``, ``cuda`` or ``cuda:1``; ``auto``: CUDA if there is one."""
    compile: bool = False
    """torch.compile the update; on CUDA, CUDA graphs too."""
    threads: int | None = None
    """torch's CPU threads; null: as torch decides."""
    log_every: int = 1_000
    """Environment frames between lines of ``metrics.jsonl``."""
    record_video: bool = False
    """Write an mp4 of one episode at every evaluation."""
    collect: CollectOptions = field(default_factory=CollectOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    checkpoint: CheckpointOptions = field(default_factory=CheckpointOptions)

    def __post_init__(self) -> None:
        _require_least(self, 1, "be positive", "frames", "log_every")
        _require_least(self, 0, "not be negative", "seed", "mask_seed")
        _require_least(self, 1, "be at least 1", "threads")
        parts = self.device.split(":")
        known = self.device == "auto" or parts[0] in {"cpu", "cuda"}
        require(known, "device", f"must be auto, cpu, cuda or cuda:N, got '{self.device}'")


SINGLE = {kind.key: kind.name for kind in PRESET_KINDS if not kind.many}
"""Keys that hold one component, and the kind of each."""

LISTED = {kind.key: kind.name for kind in PRESET_KINDS if kind.many}
"""Keys that hold a list of components, and the kind of each."""

DEFAULTS = {"execution": {"name": "auto"}, **{name: [] for name in LISTED}}
"""Nodes that a preset may leave out."""
