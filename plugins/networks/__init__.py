"""Network designs: what an agent's encoder, actor and critic look like.

All name their parts alike, for diagnostics and mask patterns: ``trunk`` ends in the
feature, and the linear layers that read it are ``heads.NAME`` of an actor and
``members.I.head`` of a critic (each member has its own ``members.I.trunk``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from core.api import Component, EnvironmentSpec, NetworkContext, UserError, hookimpl, require
from plugins.networks.stream_options import SparseInit as SparseInit
from plugins.networks.stream_options import StreamCnnOptions as StreamCnnOptions
from plugins.networks.stream_options import StreamMlpOptions as StreamMlpOptions

if TYPE_CHECKING:
    from core.api import Networks


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


SMALLEST_FRAME = 15
"""Side in pixels of the smallest frames that DrQ-v2's encoder can take."""


def encoded_side(side: int) -> int:
    """Side of DrQ-v2's encoder output for a frame of this side."""
    return (side - 3) // 2 + 1 - 6  # one 3x3 convolution of stride 2, then three of stride 1


def _flat(name: str, spec: EnvironmentSpec, other: str = "drq_cnn") -> int:
    if spec.pixels or len(spec.observation) != 1:
        raise UserError(
            f"network '{name}' needs flat observations; the environment gives "
            f"{spec.observation}. Choose network '{other}', or set environment.pixels: false"
        )
    return spec.observation[0]


def _check_frames(name: str, spec: EnvironmentSpec, smallest: int, other: str) -> None:
    """``smallest``: side of the smallest frames that fit; ``other``: the network for states."""
    if not spec.pixels or len(spec.observation) != 3:
        raise UserError(
            f"network '{name}' needs pixel observations; the environment gives "
            f"{spec.observation}. Set environment.pixels: true, or choose network '{other}'"
        )
    _, height, width = spec.observation
    if min(height, width) < smallest:
        raise UserError(
            f"network '{name}' needs frames of at least {smallest}x{smallest} pixels, "
            f"got {height}x{width}; raise environment.size"
        )


def _build_simba(options: SimbaOptions, context: NetworkContext) -> Networks:
    observation = _flat("simba", context.spec)
    from plugins.networks.simba import SimbaNetworks

    return SimbaNetworks(options, observation, context.spec.action)


def _build_mlp(options: MlpOptions, context: NetworkContext) -> Networks:
    observation = _flat("mlp", context.spec)
    from plugins.networks.mlp import MlpNetworks

    return MlpNetworks(options, observation, context.spec.action)


def _build_drq(options: DrqOptions, context: NetworkContext) -> Networks:
    _check_frames("drq_cnn", context.spec, SMALLEST_FRAME, "simba")
    from plugins.networks.drq_cnn import DrqNetworks

    return DrqNetworks(options, context.spec.observation, context.spec.action)


def _build_stream_mlp(options: StreamMlpOptions, context: NetworkContext) -> Networks:
    _flat("stream_mlp", context.spec, other="stream_cnn")
    from plugins.networks.stream_mlp import StreamMlpNetworks

    return StreamMlpNetworks(options, context.spec)


def _build_stream_cnn(options: StreamCnnOptions, context: NetworkContext) -> Networks:
    _check_frames("stream_cnn", context.spec, options.smallest, "stream_mlp")
    from plugins.networks.stream_cnn import StreamCnnNetworks

    return StreamCnnNetworks(options, context.spec)


def _stream_mlp_needs(options: StreamMlpOptions) -> frozenset[str]:
    """``time input`` with ``time_input``."""
    return frozenset({"time input"} if options.time_input else ())


_PROVIDES = frozenset({"features"})
"""Actors have a ``trunk``, and so has each of a critic's ``members`` (see ``modules``)."""


@hookimpl
def register_networks() -> list[Component[Any, NetworkContext, Networks]]:
    """The built-in network designs."""
    return [
        Component(
            "simba",
            SimbaOptions,
            _build_simba,
            "SimBa: residual blocks with pre-layer norm, for state observations",
            provides=_PROVIDES,
        ),
        Component(
            "drq_cnn",
            DrqOptions,
            _build_drq,
            "DrQ-v2: a convolutional encoder with perceptron actor and critics, for pixels",
            provides=_PROVIDES,
        ),
        Component(
            "mlp",
            MlpOptions,
            _build_mlp,
            "plain multi-layer perceptrons, for state observations",
            provides=_PROVIDES,
        ),
        Component(
            "stream_mlp",
            StreamMlpOptions,
            _build_stream_mlp,
            "Stream-X: layer-normed perceptrons that start sparse, for state observations",
            needs=_stream_mlp_needs,
            provides=_PROVIDES,
        ),
        Component(
            "stream_cnn",
            StreamCnnOptions,
            _build_stream_cnn,
            "Stream-X: layer-normed convolutions that start sparse, for pixels",
            provides=_PROVIDES,
        ),
    ]
