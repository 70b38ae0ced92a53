"""Schemes whose masks change while the agent trains: SET, RigL, gradual magnitude pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from core.api import BatchOptions, Component, MaskContext, require
from plugins.masks import PruningOptions, RandomMaskOptions

if TYPE_CHECKING:
    from core.api import MaskScheme
    from plugins.masks.random_masks import RandomMasks
    from plugins.masks.schedules import Periodic

Distribution = Literal["erdos_renyi", "uniform"]

# --- options ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangingMaskOptions(PruningOptions):
    """What all schemes have in common that change masks in training."""

    distribution: Distribution = "erdos_renyi"
    """How the sparsity is spread over kernels: ``erdos_renyi`` (wide ones are sparser) or
    ``uniform``."""
    every: int = 1_000
    """Environment frames between changes, at least 1: they are at ``begin + every``,
    ``begin + 2 every`` and so on, each just before the next update. (1,000 updates: Graesser et
    al. 2022, arXiv 2206.10369, ``sac_mujoco_sparse_config.gin``.)"""
    begin: int | None = None
    """The environment frame from which ``every`` counts; null: the first. Of changes that fall
    due before learning starts, one is made just before the first update."""
    end: int | None = None
    """The last environment frame at which masks may change; null: the last before the run
    ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        begin, end = self.begin or 0, self.end
        require(self.every >= 1, "every", f"must be at least 1, got {self.every}")
        require(begin >= 0, "begin", f"must be at least 0, got {begin}")
        if end is not None:
            require(end > begin, "end", f"must be above begin ({begin}), got {end}")


@dataclass(frozen=True)
class RewiringOptions(ChangingMaskOptions):
    """Drop some live weights, let as many grow."""

    drop_fraction: float = 0.3
    """Share of the live weights of each kernel that is dropped at a change, in (0, 1], rounded
    down to whole weights."""
    decay: Literal["constant", "cosine"] = "constant"
    """``cosine``: ``drop_fraction`` falls to 0 at ``end``, as ``1/2 (1 + cos(pi frame / end))``
    (Evci et al. 2020, section 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction = self.drop_fraction
        require(0 < fraction <= 1, "drop_fraction", f"must be in (0, 1], got {fraction}")


@dataclass(frozen=True)
class SETOptions(RewiringOptions):
    """Sparse evolutionary training (Mocanu et al. 2018, arXiv 1707.04780).

    Random masks at first. At a change the live weights of smallest magnitude are dropped and as
    many grow at random places, kernel by kernel. Defaults: the authors', whose ``zeta`` is 0.3
    at the end of every epoch (here: every 1,000 frames); Graesser et al. 2022 have for agents a
    cosine from 0.5 that ends at 80% of the run.
    """


@dataclass(frozen=True)
class RigLOptions(RewiringOptions):
    """RigL (Evci et al. 2020, arXiv 1911.11134).

    Random masks at first. At a change the live weights of smallest magnitude are dropped and as
    many grow where the loss's gradient is largest, kernel by kernel. Defaults: Graesser et al.
    2022 for SAC (arXiv 2206.10369, ``sac_mujoco_sparse_config.gin``).
    """

    end: int | None = None
    """The last environment frame at which masks may change; null: 80% of the run."""
    drop_fraction: float = 0.5
    """Share of the live weights of each kernel that is dropped at a change, in (0, 1], rounded
    down to whole weights. (Evci et al.: 0.3. A later version of the file named above: 0.1.)"""
    decay: Literal["constant", "cosine"] = "cosine"
    """``cosine``: ``drop_fraction`` falls to 0 at ``end``, as ``1/2 (1 + cos(pi frame / end))``
    (Evci et al. 2020, section 3)."""
    batch: BatchOptions = field(default_factory=BatchOptions)
    """The transitions that gradients are taken of."""


@dataclass(frozen=True)
class GMPOptions(ChangingMaskOptions):
    """Gradual magnitude pruning (Zhu & Gupta 2017, arXiv 1710.01878).

    Every weight lives at first. From ``begin`` to ``end`` the live weights of smallest magnitude
    are removed, kernel by kernel, so that each kernel's sparsity is ``s (1 - (1 - p)^3)``, with
    ``s`` its last one and ``p`` the share of all changes made so far. Between changes it stays.
    """

    distribution: Distribution = "uniform"
    """How the last sparsity is spread over kernels: ``uniform`` (Zhu & Gupta 2017) or
    ``erdos_renyi`` (Graesser et al. 2022, ``sac_mujoco_pruning_config.gin``)."""
    begin: int | None = None
    """The environment frame from which ``every`` counts; null: 20% of the run (Graesser et al.
    2022). Until the first change nothing is removed."""
    end: int | None = None
    """The last environment frame at which masks may change; null: 80% of the run (Graesser et
    al. 2022). ``sparsity`` is reached at the last change."""


# --- components -------------------------------------------------------------------------


def _schedule(options: ChangingMaskOptions, begin: int, end: int) -> Periodic:
    """``begin`` and ``end`` are what null stands for."""
    from plugins.masks.schedules import Periodic

    return Periodic(
        options.every,
        begin if options.begin is None else options.begin,
        end if options.end is None else options.end,
    )


def _densities(name: str, options: ChangingMaskOptions) -> RandomMasks:
    from plugins.masks.densities import erdos_renyi, uniform
    from plugins.masks.random_masks import RandomMasks

    rule = erdos_renyi if options.distribution == "erdos_renyi" else uniform
    plain = RandomMaskOptions(
        options.sparsity, options.target, options.counted, dense=options.dense
    )
    return RandomMasks(name, rule, plain)


def _fraction(options: RewiringOptions, end: int) -> Callable[[int], float]:
    from plugins.masks.schedules import cosine

    if options.decay == "cosine":
        return partial(cosine, options.drop_fraction, end=end)
    return lambda frame: options.drop_fraction


def _build_set(options: SETOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.rewiring import Rewiring
    from plugins.masks.set import random_growth

    schedule = _schedule(options, 0, context.frames - 1)
    fraction = _fraction(options, schedule.end)
    return Rewiring(_densities("set", options), schedule, fraction, random_growth)


def _build_rigl(options: RigLOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.rewiring import Rewiring
    from plugins.masks.rigl import gradient_growth

    schedule = _schedule(options, 0, round(0.8 * context.frames))
    fraction = _fraction(options, schedule.end)
    initial = _densities("rigl", options)
    return Rewiring(initial, schedule, fraction, gradient_growth, options.batch)


def _build_gmp(options: GMPOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.gmp import GradualMagnitude

    frames = context.frames
    schedule = _schedule(options, round(0.2 * frames), round(0.8 * frames))
    return GradualMagnitude(_densities("gmp", options), schedule)


def _rigl_needs(options: RigLOptions) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is that."""
    return frozenset({"inspection"}) | options.batch.needs


def components() -> list[Component[Any, MaskContext, MaskScheme]]:
    """SET, RigL and gradual magnitude pruning."""
    return [
        Component(
            "set",
            SETOptions,
            _build_set,
            "random; in training the smallest weights move to random places",
        ),
        Component(
            "rigl",
            RigLOptions,
            _build_rigl,
            "random; in training the smallest weights move to where gradients are largest",
            needs=_rigl_needs,
            instead={"replay": "or let it look at the last transitions: batch.source: recent"},
        ),
        Component(
            "gmp",
            GMPOptions,
            _build_gmp,
            "dense at first; in training the smallest weights are removed step by step",
        ),
    ]
