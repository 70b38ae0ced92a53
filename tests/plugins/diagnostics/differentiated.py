"""Agents of every kind, their optimizers at rest, and their gradients by plain autograd."""

from __future__ import annotations

import pytest
import torch

from core.api import BatchOptions, DiagnosticContext, EnvironmentSpec, MaskContext
from plugins.diagnostics import register_diagnostics
from plugins.losses.options import DDPGOptions, SACOptions, StreamACOptions, StreamQOptions
from plugins.masks import register_masks
from plugins.masks.options import RandomMaskOptions
from plugins.networks.options import SparseInit, StreamCnnOptions, StreamMlpOptions
from plugins.optimizers.options import AdamWOptions, ObGDOptions
from tests.support.agents import DRQ, DRQ_DDPG, PIXELS, SIMBA, STATE, build, make_batch
from tests.support.intervened import make_agent
from tests.support.views import make_view

torch.set_num_threads(1)
GAMES = EnvironmentSpec((2, 20, 20), 3, pixels=True, frame_stack=2, discrete=True)
STREAM_MLP = StreamMlpOptions(8, sparse_init=SparseInit(min_kept=4))
CNN = StreamCnnOptions(filters=(4, 6), kernels=(4, 3), strides=(2, 2), width=8)
STILL_SAC = SACOptions(temperature_lr=0.0)
KINDS = {
    "sac": ("sac", STILL_SAC, "simba", SIMBA, STATE),
    "sac, two": ("sac", SACOptions(critics=2, temperature_lr=0.0), "simba", SIMBA, STATE),
    "ddpg": ("ddpg", DDPGOptions(), "simba", SIMBA, STATE),
    "drq": ("ddpg", DRQ_DDPG, "drq_cnn", DRQ, PIXELS),
    "pixel sac": ("sac", STILL_SAC, "drq_cnn", DRQ, PIXELS),
    "stream ac": ("stream_ac", StreamACOptions(), "stream_mlp", STREAM_MLP, STATE),
    "stream q": ("stream_q", StreamQOptions(), "stream_cnn", CNN, GAMES),
}
REPLAYED = [kind for kind, (loss, *_) in KINDS.items() if not loss.startswith("stream")]
MASKED = [pytest.param(0.5, id="masked"), pytest.param(0.0, id="dense")]
ROWS = 6
BATCH = BatchOptions(size=ROWS)


def make(kind, sparsity=0.5):
    """An agent whose update moves nothing (streaming: is never made), its view and batch."""
    loss, *_, spec = recipe = KINDS[kind]
    still = (
        ("obgd", ObGDOptions()) if loss.startswith("stream") else ("adamw", AdamWOptions(lr=0.0))
    )
    scheme = build(register_masks(), RandomMaskOptions(sparsity), MaskContext(), "uniform")
    agent = make_agent((*recipe, *still), masked=sparsity > 0, scheme=scheme)
    batch = make_batch(spec, ROWS)
    batch["next", "done"] = batch["next", "terminated"] = batch["next", "discount"] == 0
    if spec.discrete:
        batch["action"] = torch.arange(ROWS) % spec.action
    return agent, make_view(agent, batch), batch


def diagnostic(name, view, **options):
    (component,) = [c for c in register_diagnostics() if c.name == name]
    if name != "parameter_norm":
        options = {"batch": BATCH, **options}
    context = DiagnosticContext(view.spec, view.loss, view.networks, 0.99)
    return component.build(component.options(**options), context)


def gradients_of(agent, batch, phase_name):
    """Each parameter's masked gradient of one phase's objective, by ``role.parameter``."""
    loss, found = agent.loss, {}
    analysed = loss.analyse(batch)
    shared = dict(analysed.batch)
    if "encoder" in analysed.inputs:
        shared["features"] = loss.encoder(*analysed.inputs["encoder"])
    for phase in loss.phases:
        if not phase.modules:
            continue
        objective, _ = phase.run(shared)
        if phase.name != phase_name:
            continue
        objective.mean().backward()
        for role, network in agent.parts.modules.items():
            if any(network is module for module in phase.modules):
                for name, parameter in network.named_parameters():
                    gradient = parameter.grad.clone()
                    mask = agent.masks.masks.get(role, {}).get(name)
                    found[f"{role}.{name}"] = gradient if mask is None else gradient * mask
        loss.zero_grad(set_to_none=True)
    return found


def phases_of(agent):
    networks = {id(network) for network in agent.parts.modules.values()}
    return [p.name for p in agent.loss.phases if networks & {id(m) for m in p.modules}]
