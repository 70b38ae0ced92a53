"""Agents that have learned a little, of every built-in loss, to be looked into."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import EnvironmentSpec, LossContext, OptimizerContext
from plugins.losses import register_losses
from plugins.losses.options import DDPGOptions, SACOptions, StreamACOptions, StreamQOptions
from plugins.networks.options import SimbaOptions, SimbaSize, StreamMlpOptions
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import ObGDOptions
from tests.support import stream_builders
from tests.support import streaming_oracle as oracle
from tests.support.agents import (
    CPU,
    DRQ,
    DRQ_DDPG,
    build,
    make_batch,
    make_execution,
    make_learner,
    spec_of,
)

NORMALISING = SimbaOptions(actor=SimbaSize(8, 1), critic=SimbaSize(12, 1))
CONTINUOUS = EnvironmentSpec((oracle.FEATURES,), oracle.ACTIONS)
DISCRETE = EnvironmentSpec((oracle.FEATURES,), 3, discrete=True)
REPLAYED = {
    "sac": (SACOptions(critics=2), NORMALISING),
    "ddpg": (DDPGOptions(), NORMALISING),
    "drq": (DRQ_DDPG, DRQ),
    "pixel sac": (SACOptions(shift=4), DRQ),
}
STREAMED = {"stream_ac": StreamACOptions(), "stream_q": StreamQOptions()}
EVERY = [*REPLAYED, *STREAMED]


def view_of(learner, spec, batch=None, environments=None):
    """What diagnostics see of an agent, on one batch."""
    loss = learner.loss
    networks = {
        role: getattr(loss, role)
        for role in ("encoder", "actor", "critic")
        if getattr(loss, role, None) is not None
    }
    return SimpleNamespace(
        loss=loss,
        networks=networks,
        spec=spec,
        device=CPU,
        environments=environments,
        batch=lambda options: loss.analyse(batch[: options.size]),
    )


def stream_learner(options, count=2, spec=None):
    spec = spec or (CONTINUOUS if isinstance(options, StreamACOptions) else DISCRETE)
    networks = stream_builders.build(StreamMlpOptions(time_input=False), spec)
    execution = make_execution()
    parts = MaskedNetworks(networks, MaskSet(1), (), execution, CPU)
    name = "stream_q" if spec.discrete else "stream_ac"
    loss = build(register_losses(), options, LossContext(spec, parts, CPU, count), name)
    factory = build(register_optimizers(), ObGDOptions(), OptimizerContext(CPU), "obgd")
    return Learner(loss, factory, execution, CPU)


def lived(name):
    """A learner whose statistics and weights have moved, and its environment's spec."""
    torch.manual_seed(0)
    if name in REPLAYED:
        learner = make_learner(*REPLAYED[name])
        spec = spec_of(REPLAYED[name][1])
        if not spec.pixels:
            learner.loss.observe(3 + 2 * torch.randn(50, *spec.observation), torch.ones(50) > 0)
        learner.update(make_batch(spec))
        return learner, spec
    learner = stream_learner(STREAMED[name])
    spec = DISCRETE if name == "stream_q" else CONTINUOUS
    world = oracle.World(2, 12)
    for t in range(world.steps):
        observation, begins = world.root(t)
        learner.loss.observe(observation.float(), begins)
        learner.update(stream_batch(world, t, spec))
    return learner, spec


def stream_batch(world, t, spec):
    action = torch.randn(world.count, spec.action)
    if spec.discrete:
        action = action.argmax(-1)
    batch = world.batch(t, action, 0.9)
    return batch.apply(lambda x: x.float() if x.is_floating_point() else x)


def transitions(spec, size=8):
    """A batch of any source, with the ends that streaming keeps."""
    batch = make_batch(spec, size, seed=1)
    if spec.discrete:
        batch["action"] = torch.arange(size) % spec.action
    batch["next", "terminated"] = batch["next", "discount"] == 0
    batch["next", "done"] = batch["next", "terminated"].clone()
    batch["next", "done"][1] = True
    return batch
