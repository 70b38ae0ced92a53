"""Schemes that remove weights once: before training, or at one moment of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from core.api import BatchOptions, Component, MaskContext, UserError, require
from plugins.masks import PruningOptions

if TYPE_CHECKING:
    from core.api import MaskScheme

Rest = Literal["unstructured", "dense"]

# --- options ----------------------------------------------------------------------------


@dataclass(frozen=True)
class StructureOptions:
    """Which sets of weights may live together."""

    kind: Literal["unstructured", "blocks", "groups"] = "unstructured"
    """``unstructured``: any; ``blocks``: whole square blocks, scored by their mean;
    ``groups``: as many of every ``m`` consecutive inputs of each output (n:m). With ``groups``
    the pattern alone says how dense a kernel is: it takes ``distribution: uniform``,
    ``counted: kernels`` and a ``sparsity`` that keeps a whole number of ``m``."""
    side: int = 16
    """Side of a block, at least 2. Blocks of 16 are what ``execution: sparse`` is fastest with."""
    rest: Rest = "unstructured"
    """Kernels whose sides are not multiples of ``side``: pruned weight by weight, or left
    dense and out of the count."""
    m: int = 4
    """Size of a group, at least 2."""

    def __post_init__(self) -> None:
        require(self.side >= 2, "side", f"must be at least 2, got {self.side}")
        require(self.m >= 2, "m", f"must be at least 2, got {self.m}")


@dataclass(frozen=True)
class ScoredOptions(PruningOptions):
    """What schemes have in common that keep the weights of highest score."""

    distribution: Literal["erdos_renyi", "uniform", "global"] = "erdos_renyi"
    """How the sparsity is spread over kernels: ``erdos_renyi`` (wide ones are sparser),
    ``uniform``, or ``global``: one threshold for all kernels of a network, each of which keeps
    at least its best weight. ``global`` is for ``unstructured`` masks only."""
    structure: StructureOptions = field(default_factory=StructureOptions)
    """Which sets of weights may live together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, m = self.structure.kind, self.structure.m
        if kind != "unstructured":
            ok = self.distribution != "global"
            require(ok, "distribution", f"must not be global where structure is {kind}")
        if kind == "groups":
            ok = self.distribution == "uniform"
            require(ok, "distribution", "must be uniform where structure is groups")
            require(
                self.counted == "kernels", "counted", "must be kernels where structure is groups"
            )
            n = round((1 - self.sparsity) * m)
            ok = 0 < n < m and abs((1 - self.sparsity) * m - n) < 1e-6
            choices = ", ".join(f"{1 - n / m:.6g}" for n in range(m - 1, 0, -1))
            require(
                ok, "sparsity", f"must be one of {choices} in groups of {m}, got {self.sparsity}"
            )


@dataclass(frozen=True)
class MagnitudeOptions(ScoredOptions):
    """The weights of largest magnitude live (Han et al. 2015, arXiv 1506.02626), once chosen.

    For magnitude pruning in many steps see ``gmp``.
    """

    at: int | None = None
    """When to prune: the environment frame, at least 0, before which every weight lives; it
    happens just before the next update. null: at initialisation, by the first weights. A
    network that draws its weights anew inside its masks (``stream_mlp`` and ``stream_cnn``, as
    their ``sparse_init.order`` says) does so after that; and zeros, of which these have many at
    first, are equal: the first of them are kept. For these networks give a later frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.at is None or self.at >= 0, "at", f"must be at least 0, got {self.at}")


@dataclass(frozen=True)
class SnipOptions(ScoredOptions):
    """SNIP (Lee et al. 2019, arXiv 1810.02340): what the loss would miss most lives.

    The score is ``|gradient * weight|`` on one batch, at the first weights (section 4).
    It happens once, just before the first update for which the batch is there; until then every
    weight lives. Under replay that is the very first update. Where transitions are learned from
    one by one, it is when the last ``batch.size`` of them have gathered. A weight that is zero
    scores zero, and among equal scores the first are kept: for networks that begin with many
    zeros (``sparse_init`` of ``stream_mlp`` and ``stream_cnn``) ``sparsity`` should be above
    their share of zeros.
    """

    distribution: Literal["erdos_renyi", "uniform", "global"] = "global"
    """How the sparsity is spread over kernels: ``global``, the authors' one threshold for all
    kernels of a network, each of which keeps at least its best weight; ``erdos_renyi`` (wide
    ones are sparser) or ``uniform``. ``global`` is for ``unstructured`` masks only."""
    batch: BatchOptions = field(default_factory=BatchOptions)
    """The transitions that gradients are taken of (128 images: the authors)."""


@dataclass(frozen=True)
class NMOptions:
    """``n`` of every ``m`` consecutive inputs of each output live, from the beginning on.

    2:4 is what NVIDIA's sparse tensor cores multiply (Mishra et al. 2021, arXiv 2104.08378);
    Vrce et al. 2026 (arXiv 2602.14578) train agents at 2:4, 1:4 and 1:8 in rows, as here. In a
    convolution the groups run over input channels, apart for each position of the kernel, as in
    NVIDIA's ASP (apex, ``sparse_masklib.py``).
    Where ``m`` does not divide the inputs, the last, shorter group keeps in proportion: the
    nearest number to ``n / m`` of its size, a half upwards, and at least one. A kernel with one
    input stays dense.
    """

    n: int = 2
    """How many of a group live, in [1, m)."""
    m: int = 4
    """Size of a group, at least 2."""
    target: str = "all"
    """The network to prune: a role such as actor, critic or encoder, or all."""
    score: Literal["random", "magnitude"] = "random"
    """Which live: drawn at random, or those of largest first magnitude."""
    dense: tuple[str, ...] = ()
    """Patterns of parameters or modules to leave dense, as in fnmatch, such as ``heads.*``."""

    def __post_init__(self) -> None:
        require(self.m >= 2, "m", f"must be at least 2, got {self.m}")
        require(1 <= self.n < self.m, "n", f"must be in [1, {self.m}), got {self.n}")
        require(self.target != "", "target", "must name a network, or be all")


@dataclass(frozen=True)
class BlockOptions(PruningOptions):
    """Whole square blocks of weights live or not (Gray et al. 2017), from the beginning on.

    A kernel keeps the number of blocks nearest to its density, and at least one. Convolutions
    count as matrices ``[outputs, channels * height * width]``.
    """

    distribution: Literal["erdos_renyi", "uniform"] = "erdos_renyi"
    """How the sparsity is spread over kernels: ``erdos_renyi`` (wide ones are sparser) or
    ``uniform``."""
    side: int = 16
    """Side of a block, at least 2. Blocks of 16 are what ``execution: sparse`` is fastest with."""
    rest: Rest = "unstructured"
    """Kernels whose sides are not multiples of ``side``: pruned weight by weight, or left
    dense and out of the count."""
    score: Literal["random", "magnitude"] = "random"
    """Which live: drawn at random, or those of largest mean first magnitude."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.side >= 2, "side", f"must be at least 2, got {self.side}")


@dataclass(frozen=True)
class SmallWorldOptions(PruningOptions):
    """Small-world kernels: near inputs, and some far ones (Watts & Strogatz 1998).

    Outputs and inputs of a kernel lie evenly on one ring. Each output has the inputs nearest to
    it, as many as the kernel's density gives it; then each of these connections leaves with
    probability ``rewiring``, and the output gets as many anew, drawn from all inputs that it
    does not have. So in the bipartite model that Zhang et al. initialise Cannistraci-Hebb
    training with (arXiv 2501.19107; their code, ``create_ws_sparse_scheduler``), but there a
    connection may come back at any output. Here it stays with its own, as in Watts & Strogatz:
    outputs differ by at most one in how many inputs they have. Convolutions count as matrices
    ``[outputs, channels * height * width]``.
    """

    distribution: Literal["erdos_renyi", "uniform"] = "erdos_renyi"
    """How the sparsity is spread over kernels: ``erdos_renyi`` (wide ones are sparser) or
    ``uniform``."""
    rewiring: float = 0.1
    """Probability, in [0, 1], that a connection is moved. 0: a ring lattice; 1: each output has
    inputs drawn at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rewiring <= 1, "rewiring", f"must be in [0, 1], got {self.rewiring}")


# --- components -------------------------------------------------------------------------


def _build_magnitude(options: MagnitudeOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.magnitude import magnitude_masks

    if options.at is not None and 0 < context.frames <= options.at:
        raise UserError(
            f"masks 'magnitude' for '{options.target}': at {options.at} lies past the end of "
            f"the run ({context.frames} frames), so nothing would ever be pruned"
        )
    return magnitude_masks(options)


def _build_snip(options: SnipOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.snip import Snip

    return Snip(options)


def _build_nm(options: NMOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.nm import NMMasks

    return NMMasks(options)


def _build_block(options: BlockOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.block import BlockMasks

    return BlockMasks(options)


def _build_small_world(options: SmallWorldOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.small_world import SmallWorld

    return SmallWorld(options)


def _snip_needs(options: SnipOptions) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is that."""
    return frozenset({"inspection"}) | options.batch.needs


def components() -> list[Component[Any, MaskContext, MaskScheme]]:
    """The schemes that prune once."""
    return [
        Component(
            "magnitude",
            MagnitudeOptions,
            _build_magnitude,
            "the largest weights live; at initialisation, or once in training",
        ),
        Component(
            "snip",
            SnipOptions,
            _build_snip,
            "what the loss would miss most lives; once, before the first update",
            needs=_snip_needs,
            instead={"replay": "or let it look at the last transitions: batch.source: recent"},
        ),
        Component("nm", NMOptions, _build_nm, "of every m inputs of each unit n live (2:4, ...)"),
        Component("block", BlockOptions, _build_block, "whole blocks of weights live (16 x 16)"),
        Component(
            "small_world",
            SmallWorldOptions,
            _build_small_world,
            "each unit has its nearest inputs, and a few far ones",
        ),
    ]
