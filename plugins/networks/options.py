"""What a preset can ask of network designs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.api import require


@dataclass(frozen=True)
class SimbaSize:
    """Size of one SimBa network before scaling."""

    width: int
    """Units of the residual stream, at least 1."""
    blocks: int
    """Residual blocks, at least 1."""

    def __post_init__(self) -> None:
        require(self.width >= 1, "width", f"must be at least 1, got {self.width}")
        require(self.blocks >= 1, "blocks", f"must be at least 1, got {self.blocks}")


@dataclass(frozen=True)
class SimbaOptions:
    """SimBa (Lee et al. 2025); sizes as in Ma et al. 2025, tables 2 and 3."""

    actor: SimbaSize = field(default_factory=lambda: SimbaSize(width=128, blocks=1))
    """The actor at scale 1."""
    critic: SimbaSize = field(default_factory=lambda: SimbaSize(width=512, blocks=2))
    """Each critic at scale 1: four times wider and twice deeper than the actor."""
    width_scale: float = 1.0
    """Multiplies both widths, above 0; they are rounded to whole units. Ma et al. 2025 use
    0.5, 1, 2, 3, 4 and 5."""
    depth_scale: int = 1
    """Multiplies both numbers of blocks, at least 1. Ma et al. 2025 use 1 to 4."""
    normalise: bool = True
    """Normalise observations by running mean and variance (SimBa's RSNorm)."""

    def __post_init__(self) -> None:
        narrowest = min(self.actor.width, self.critic.width)
        require(
            round(narrowest * self.width_scale) >= 1,
            "width_scale",
            f"must leave at least one unit of {narrowest}, got {self.width_scale}",
        )
        require(self.depth_scale >= 1, "depth_scale", f"must be at least 1, got {self.depth_scale}")

    def scaled(self, size: SimbaSize) -> SimbaSize:
        """``size`` with both multipliers applied."""
        return SimbaSize(round(size.width * self.width_scale), size.blocks * self.depth_scale)


@dataclass(frozen=True)
class DrqHidden:
    """Width of the two hidden layers behind a projection."""

    hidden: int = 1024
    """Units of each hidden layer, at least 1. Ma et al. 2025 widen the critic to 512, 1024,
    2048 and 4096 (figure 10)."""

    def __post_init__(self) -> None:
        require(self.hidden >= 1, "hidden", f"must be at least 1, got {self.hidden}")


@dataclass(frozen=True)
class DrqOptions:
    """DrQ-v2's networks for pixels (Yarats et al. 2022)."""

    channels: int = 32
    """Filters of each of the four 3x3 convolutions, at least 1."""
    feature_dim: int = 50
    """Units that actor and critic each project the encoder's features to, at least 1.
    DrQ-v2 uses 100 on humanoid tasks."""
    actor: DrqHidden = field(default_factory=DrqHidden)
    critic: DrqHidden = field(default_factory=DrqHidden)

    def __post_init__(self) -> None:
        require(self.channels >= 1, "channels", f"must be at least 1, got {self.channels}")
        require(self.feature_dim >= 1, "feature_dim", f"must be at least 1, got {self.feature_dim}")


@dataclass(frozen=True)
class MlpHidden:
    """Hidden layers of one perceptron."""

    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, first to last: at least one layer, at least 1 unit each."""

    def __post_init__(self) -> None:
        require(len(self.hidden) >= 1, "hidden", "must name at least one layer")
        require(min(self.hidden) >= 1, "hidden", f"must be at least 1 each, got {self.hidden}")


@dataclass(frozen=True)
class MlpOptions:
    """A plain perceptron; widths of Haarnoja et al. 2018 (SAC)."""

    actor: MlpHidden = field(default_factory=MlpHidden)
    critic: MlpHidden = field(default_factory=MlpHidden)
    activation: Literal["relu", "leaky_relu", "elu", "tanh"] = "relu"
    """After each hidden layer."""
    layer_norm: bool = False
    """Layer norm between each hidden layer and its activation."""
    normalise: bool = False
    """Normalise observations by running mean and variance."""


# --- streaming (Elsayed et al. 2024) ----------------------------------------------------


@dataclass(frozen=True)
class SparseInit:
    """Sparse initialisation of every weight, heads included (Elsayed et al. 2024)."""

    sparsity: float = 0.9
    """Of the ``n`` inputs of every unit, ``ceil(sparsity n)`` start at zero; in [0, 1)."""
    min_kept: int = 0
    """Inputs of a unit that start away from zero at the least, as far as it has so many; not
    negative. With 0 and a sparsity of 0.9, as published, nine inputs or fewer leave a whole
    layer at zero: layer norm's gradient, and LeakyReLU's at zero, still let it learn."""
    order: Literal["mask_over_init", "init_inside_mask"] = "mask_over_init"
    """How it goes with masks. ``mask_over_init``: zeros are drawn from all inputs, and what a
    mask removes goes on top; a mask of 0.8 then leaves about 2% of the weights away from
    zero. ``init_inside_mask``: a unit's zeros are drawn from its ``k`` living inputs,
    ``ceil(sparsity k)`` of them, so more of the rest starts away from zero. Ma et al. 2025,
    who use both together, do not state which."""

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, "sparsity", f"must be in [0, 1), got {self.sparsity}")
        require(self.min_kept >= 0, "min_kept", f"must not be negative, got {self.min_kept}")


@dataclass(frozen=True)
class StreamMlpOptions:
    """Stream-X's perceptrons for states: one for the actor, one of the same size per critic.

    A hidden layer is linear, layer norm without parameters, and LeakyReLU of slope 0.01;
    the heads are linear.
    """

    width: int = 128
    """Units of each hidden layer, of actor and critic alike, at least 1. Ma et al. 2025 use
    64, 128, 256 and 512; the authors 32 for classic control."""
    depth: int = 2
    """Hidden layers, at least 1."""
    layer_norm: bool = True
    """Normalise each hidden layer before its activation."""
    normalise: bool = True
    """Normalise observations by the mean and sample variance of all seen so far."""
    time_input: bool = True
    """Let the environment append the time since the episode's beginning to its observations;
    it is not normalised. It makes a time limit that counts as an end predictable."""
    sparse_init: SparseInit = field(default_factory=SparseInit)

    def __post_init__(self) -> None:
        require(self.width >= 1, "width", f"must be at least 1, got {self.width}")
        require(self.depth >= 1, "depth", f"must be at least 1, got {self.depth}")


@dataclass(frozen=True)
class StreamCnnOptions:
    """Stream-X's networks for pixels; actor and critic each have convolutions of their own.

    The defaults are the authors' for Atari. For frames of 10x10 (MinAtar) they use filters
    [16], kernels [3], strides [1] and width 128.
    """

    filters: tuple[int, ...] = (32, 64, 64)
    """Filters of each convolution, first to last: at least one convolution, at least 1 each."""
    kernels: tuple[int, ...] = (8, 4, 3)
    """Side of each convolution's kernel in pixels, at least 1; as many as ``filters``."""
    strides: tuple[int, ...] = (5, 3, 2)
    """Stride of each convolution in pixels, at least 1; as many as ``filters``."""
    width: int = 256
    """Units of the linear layer behind the convolutions, at least 1."""
    layer_norm: bool = True
    """Normalise each hidden layer before its activation; a convolution's over channels, height
    and width together."""
    normalise: bool = True
    """Normalise each pixel of the stacked frames by the mean and sample variance of all seen
    so far (the authors do so before stacking); otherwise frames are divided by 255."""
    sparse_init: SparseInit = field(default_factory=SparseInit)

    def __post_init__(self) -> None:
        require(len(self.filters) >= 1, "filters", "must name at least one convolution")
        for name in ("filters", "kernels", "strides"):
            values = getattr(self, name)
            require(
                len(values) == len(self.filters),
                name,
                f"must be as many as filters ({len(self.filters)}), got {len(values)}",
            )
            require(min(values) >= 1, name, f"must be at least 1 each, got {list(values)}")
        require(self.width >= 1, "width", f"must be at least 1, got {self.width}")

    @property
    def smallest(self) -> int:
        """Side in pixels of the smallest frames that the convolutions can take."""
        side = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            side = (side - 1) * stride + kernel
        return side
