"""Changes of an agent in training, at stated frames.

They happen between updates. Removed weights stay removed; replay and running statistics
stay; parameters change in place, and so does what optimizers remember of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core.api import BatchOptions, Component, DiagnosticContext, Intervention, hookimpl, require
from plugins.interventions.common import Scheduled


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


def _build_periodic_reset(
    options: PeriodicResetOptions, context: DiagnosticContext
) -> Intervention:
    from plugins.interventions.periodic_reset import PeriodicReset

    return PeriodicReset(options, context)


def _build_shrink_and_perturb(
    options: ShrinkAndPerturbOptions, context: DiagnosticContext
) -> Intervention:
    from plugins.interventions.shrink_and_perturb import ShrinkAndPerturb

    return ShrinkAndPerturb(options, context)


def _build_redo(options: ReDoOptions, context: DiagnosticContext) -> Intervention:
    from plugins.interventions.redo import ReDo

    return ReDo(options, context)


_TARGETS = frozenset({"inspection"})


def _reset_needs(options: PeriodicResetOptions) -> frozenset[str]:
    """``inspection``, and ``features`` where ``last`` is given."""
    return _TARGETS | ({"features"} if options.last is not None else set())


def _redo_needs(options: ReDoOptions) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is that."""
    return _TARGETS | options.batch.needs


@hookimpl
def register_interventions() -> Iterable[Component[Any, DiagnosticContext, Intervention]]:
    """Offer the built-in interventions."""
    return [
        Component(
            "periodic_reset",
            PeriodicResetOptions,
            _build_periodic_reset,
            "networks, or their last layers, put back to a new initialisation",
            needs=_reset_needs,
        ),
        Component(
            "shrink_and_perturb",
            ShrinkAndPerturbOptions,
            _build_shrink_and_perturb,
            "weights moved towards zero and towards a new initialisation",
            needs=_TARGETS,
        ),
        Component(
            "redo",
            ReDoOptions,
            _build_redo,
            "dormant units recycled: new incoming weights, no outgoing ones",
            needs=_redo_needs,
            instead={"replay": "or let it look at the last transitions: batch.source: recent"},
        ),
    ]
