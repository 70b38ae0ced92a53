"""Streaming networks for tests, at the sizes that the tests know by heart."""

from __future__ import annotations

from core.api import EnvironmentSpec, NetworkContext
from plugins.networks import register_networks
from plugins.networks.options import StreamMlpOptions

COMPONENTS = {component.name: component for component in register_networks()}
CHEETAH = EnvironmentSpec((18,), 6, time_input=True)  # 17 observations and the time
FRAMES = EnvironmentSpec((4, 84, 84), 6, pixels=True, frame_stack=4)
HEADS = {"mean": 6, "std": 6}


def build(options, spec):
    name = "stream_mlp" if isinstance(options, StreamMlpOptions) else "stream_cnn"
    return COMPONENTS[name].build(options, NetworkContext(spec))


def size(module):
    return sum(p.numel() for p in module.parameters())
