"""Network designs: what an agent's encoder, actor and critic look like.

All name their parts alike, for diagnostics and mask patterns: ``trunk`` ends in the
feature, and the linear layers that read it are ``heads.NAME`` of an actor and
``members.I.head`` of a critic (each member has its own ``members.I.trunk``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.api import Component, NetworkContext, hookimpl, lazy
from plugins.networks.options import (
    DrqOptions,
    MlpOptions,
    SimbaOptions,
    StreamCnnOptions,
    StreamMlpOptions,
)

if TYPE_CHECKING:
    from core.api import Networks


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
            lazy("plugins.networks.simba:SimbaNetworks"),
            "SimBa: residual blocks with pre-layer norm, for state observations",
            provides=_PROVIDES,
        ),
        Component(
            "drq_cnn",
            DrqOptions,
            lazy("plugins.networks.drq_cnn:DrqNetworks"),
            "DrQ-v2: a convolutional encoder with perceptron actor and critics, for pixels",
            provides=_PROVIDES,
        ),
        Component(
            "mlp",
            MlpOptions,
            lazy("plugins.networks.mlp:MlpNetworks"),
            "plain multi-layer perceptrons, for state observations",
            provides=_PROVIDES,
        ),
        Component(
            "stream_mlp",
            StreamMlpOptions,
            lazy("plugins.networks.stream_mlp:StreamMlpNetworks"),
            "Stream-X: layer-normed perceptrons that start sparse, for state observations",
            needs=_stream_mlp_needs,
            provides=_PROVIDES,
        ),
        Component(
            "stream_cnn",
            StreamCnnOptions,
            lazy("plugins.networks.stream_cnn:StreamCnnNetworks"),
            "Stream-X: layer-normed convolutions that start sparse, for pixels",
            provides=_PROVIDES,
        ),
    ]
