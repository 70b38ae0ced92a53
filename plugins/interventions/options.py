"""Options of the interventions, and when they happen; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.api import BatchOptions, require


@dataclass(frozen=True)
class Scheduled:
    """The frames at which something happens; ``every`` or ``at`` must be given."""

    every: int | None = None
    """Environment frames between interventions: at this many, twice as many, and so on."""
    at: tuple[int, ...] = ()
    """Environment frames, above 0, at which it happens besides."""
    until: int | None = None
    """The last environment frame at which it may happen; null: to the end of the run. The
    frame at which the run ends is never one."""

    def __post_init__(self) -> None:
        require(
            self.every is not None or len(self.at) > 0, "every", "must be given, unless 'at' is"
        )
        require(
            self.every is None or self.every > 0, "every", f"must be positive, got {self.every}"
        )
        require(min(self.at, default=1) > 0, "at", f"must be positive frames, got {list(self.at)}")
        first = min([*self.at, *([] if self.every is None else [self.every])])
        require(
            self.until is None or self.until >= first,
            "until",
            f"must not be before the first intervention ({first}), got {self.until}",
        )


def is_due(schedule: Scheduled, last: int, frame: int) -> bool:
    """Whether one of the scheduled frames lies in ``(last, frame]``."""
    end = frame if schedule.until is None else min(frame, schedule.until)
    every = schedule.every
    periodic = every is not None and end // every > last // every
    return periodic or any(last < at <= end for at in schedule.at)


@dataclass(frozen=True)
class PeriodicResetOptions(Scheduled):
    """Put networks back to a new initialisation (Nikishin et al. 2022, arXiv 2205.07802).

    Defaults: as the authors' code for SAC (``rl_with_resets``, ``train_dense.py``), which
    makes a whole new agent every 200,000 steps: networks, target, temperature and optimizers.
    Replay is kept; here the running statistics of observations and the masks are too. Ma et al.
    2025 (figure 6) reset once, at 500,000 frames, and do not say what.
    """

    networks: tuple[str, ...] | None = None
    """Which, by role (``encoder``, ``actor``, ``critic``), or by name what else is learned
    (``temperature``, which goes back to its first value); null: all. Target networks get the
    weights of those that they follow. For DrQ the authors reset all but the encoder
    (``train_pixels.py``): [actor, critic, temperature]."""
    last: int | None = None
    """Only this many of the last layers of each network, at least 1; null: all of it. The
    heads, or each critic's head, are the last; norms go with the layer before them."""
    optimizer: bool = True
    """Let optimizers forget what is reset: its moments, traces and counts of steps. What the
    weights of a network share (``adaptive_obgd``'s count) goes only with all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.last is None or self.last >= 1, "last", f"must be at least 1, got {self.last}")


@dataclass(frozen=True)
class ShrinkAndPerturbOptions(Scheduled):
    """Weights become ``shrink`` times themselves plus ``perturb`` times a new initialisation.

    Ash and Adams 2020 (arXiv 1910.08475), where the noise is a small normal one. Defaults:
    SR-SPR's for its encoder (D'Oro et al. 2023, ``SR_SPR.gin``); BBF has 0.5 and 0.5. In DrM
    (its code) ``shrink`` is 1 minus twice the dormant ratio, at least 0.2, and ``perturb`` the
    rest to 1, every 100,000 steps and for linear layers alone. Here norms change as all else.
    """

    networks: tuple[str, ...] | None = None
    """Which, by role (``encoder``, ``actor``, ``critic``); null: all. Target networks change
    with those that they follow (in SR-SPR's and DrM's code too, by draws of their own)."""
    shrink: float = 0.8
    """Factor of the weights, in [0, 1]."""
    perturb: float = 0.2
    """Factor of the new initialisation, at least 0."""
    optimizer: bool = False
    """Let optimizers forget these weights: moments, traces and counts of steps. SR-SPR's code
    keeps the encoder's moments, DrM's forgets all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.shrink <= 1, "shrink", f"must be in [0, 1], got {self.shrink}")
        require(self.perturb >= 0, "perturb", f"must be at least 0, got {self.perturb}")


@dataclass(frozen=True)
class ReDoOptions(Scheduled):
    """Recycle dormant units (ReDo; Sokar et al. 2023, arXiv 2302.12902).

    A unit whose mean absolute activation is at most ``tau`` times its layer's mean gets new
    incoming weights and a new bias, its outgoing weights become zero, and optimizers forget
    their moments (not their counts of steps). Units of linear and convolution layers (there:
    channels) with an activation, that only such layers read; in SimBa, those inside the blocks.
    Removed weights stay zero. The authors recycle every 1,000 updates in DQN and every 200,000
    in SAC; here ``every`` counts environment frames.
    """

    tau: float = 0.025
    """Threshold, at least 0. 0.025 and 0.1: the authors' for DQN; 0, which their code has for
    SAC, recycles only units that are zero on the whole batch."""
    networks: tuple[str, ...] | None = None
    """Which, by role (``encoder``, ``actor``, ``critic``); null: all."""
    batch: BatchOptions = field(default_factory=BatchOptions)
    """The transitions on which activations are taken (256: as in the authors' code)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tau >= 0, "tau", f"must be at least 0, got {self.tau}")
