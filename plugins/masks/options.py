"""What a preset can ask of pruning schemes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.api import BatchOptions, require

Counted = Literal["all", "kernels"]
Distribution = Literal["erdos_renyi", "uniform"]
Rest = Literal["unstructured", "dense"]


@dataclass(frozen=True)
class PruningOptions:
    """How much is to be removed of which weights: what most schemes have in common."""

    sparsity: float
    """Share of parameters removed, in [0, 1); see ``counted`` for which are meant."""
    target: str = "all"
    """The network to prune, each on its own: a role such as actor, critic or encoder, or all."""
    counted: Counted = "all"
    """Which parameters ``sparsity`` is the share of. Only tensors of two or more dimensions
    are ever pruned. ``all``: every parameter of the network, so biases and layer norms use
    up some of what may live (Ma et al. 2025, ``agents/sparse.py``); ``kernels``: those
    tensors alone."""
    dense: tuple[str, ...] = ()
    """Patterns of parameters or modules to leave dense, as in fnmatch, such as ``heads.*``;
    they are left out of the count: ``sparsity`` is that of the rest."""

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, "sparsity", f"must be in [0, 1), got {self.sparsity}")
        require(self.target != "", "target", "must name a network, or be all")


@dataclass(frozen=True)
class RandomMaskOptions(PruningOptions):
    """Random masks of a fixed sparsity (Ma et al. 2025, section 2.2)."""

    draw: Literal["exact", "bernoulli"] = "exact"
    """``exact``: each kernel keeps exactly the nearest number of weights to its density, and
    at least one. ``bernoulli``: each weight lives or not on its own (Ma et al. 2025)."""


@dataclass(frozen=True)
class NoMaskOptions:
    """No pruning."""

    target: str = "all"
    """The network to leave dense, or all."""

    def __post_init__(self) -> None:
        require(self.target != "", "target", "must name a network, or be all")


# --- pruned once ------------------------------------------------------------------------


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

    distribution: Distribution = "erdos_renyi"
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

    distribution: Distribution = "erdos_renyi"
    """How the sparsity is spread over kernels: ``erdos_renyi`` (wide ones are sparser) or
    ``uniform``."""
    rewiring: float = 0.1
    """Probability, in [0, 1], that a connection is moved. 0: a ring lattice; 1: each output has
    inputs drawn at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rewiring <= 1, "rewiring", f"must be in [0, 1], got {self.rewiring}")


# --- masks that change in training --------------------------------------------------------


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
