"""Diagnostics of representations on every kind of network: what is looked at, and by what name."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from core.api import BatchOptions, DiagnosticContext, EnvironmentSpec, MaskContext
from core.training.recent_transitions import RecentTransitions
from plugins.diagnostics import register_diagnostics
from plugins.losses.options import DDPGOptions, SACOptions, StreamACOptions, StreamQOptions
from plugins.masks import register_masks
from plugins.masks.options import RandomMaskOptions
from plugins.networks.options import (
    MlpHidden,
    MlpOptions,
    SparseInit,
    StreamCnnOptions,
    StreamMlpOptions,
)
from plugins.optimizers.options import AdamWOptions, ObGDOptions
from tests.support.agents import DRQ, DRQ_DDPG, PIXELS, SIMBA, STATE, build, make_batch
from tests.support.intervened import make_agent
from tests.support.views import make_view

torch.set_num_threads(1)
GAMES = EnvironmentSpec((2, 20, 20), 3, pixels=True, frame_stack=2, discrete=True)
MLP = MlpOptions(actor=MlpHidden((7, 6)), critic=MlpHidden((9,)), activation="elu")
STREAM_MLP = StreamMlpOptions(8, sparse_init=SparseInit(min_kept=4))
CNN = StreamCnnOptions(filters=(4, 6), kernels=(4, 3), strides=(2, 2), width=8)
KINDS = {
    "simba": ("sac", SACOptions(critics=2), "simba", SIMBA, STATE),
    "mlp": ("ddpg", DDPGOptions(), "mlp", MLP, STATE),
    "drq_cnn": ("ddpg", DRQ_DDPG, "drq_cnn", DRQ, PIXELS),
    "stream_mlp": ("stream_ac", StreamACOptions(), "stream_mlp", STREAM_MLP, STATE),
    "stream_cnn": ("stream_q", StreamQOptions(), "stream_cnn", CNN, GAMES),
}
NAMES = ("effective_rank", "dormant_ratio", "active_units", "feature_norm", "weight_rank")
FEATURES = {
    "simba": {"actor", "critic.0", "critic.1"},
    "mlp": {"actor", "critic"},
    "drq_cnn": {"actor", "critic.0", "critic.1"},
    "stream_mlp": {"actor", "critic"},
    "stream_cnn": {"critic"},
}
"""By what label each agent's features go."""


def agent_of(kind):
    """An agent with half of its weights removed."""
    scheme = build(register_masks(), RandomMaskOptions(sparsity=0.5), MaskContext(), "erdos_renyi")
    still = ("obgd", ObGDOptions()) if kind.startswith("stream") else ("adamw", AdamWOptions())
    return make_agent((*KINDS[kind], *still), scheme=scheme)


def view_of(agent, size=64):
    batch = make_batch(agent.spec, size, seed=3)
    if agent.spec.discrete:
        batch["action"] = torch.randint(0, 3, (size, 1), generator=torch.Generator().manual_seed(0))
    batch["next", "terminated"] = batch["next", "discount"] == 0
    batch["next", "done"] = batch["next", "terminated"].clone()
    recent = RecentTransitions(size, 0.97)
    recent.extend(batch.unsqueeze(0))
    return make_view(agent, batch, recent=recent)


def diagnostic(name, modules, **values):
    (component,) = [c for c in register_diagnostics() if c.name == name]
    if name != "weight_rank":
        values = {"batch": BatchOptions(size=64), **values}
    context = DiagnosticContext(STATE, SimpleNamespace(), modules, 0.99)
    return component.build(component.options(**values), context)


def measured(view, name, **values):
    """What a diagnostic with these options finds, as plain numbers."""
    found = diagnostic(name, view.networks, **values).measure(view)
    return {key: value.item() for key, value in found.items()}


@pytest.fixture(scope="module", params=list(KINDS))
def case(request):
    return request.param, view_of(agent_of(request.param))


def walk(module, x, seen):
    """Run a module by hand; what every layer and activation gives, in order."""
    if type(module).__name__ == "Block":
        inner = x
        for name in ("norm", "expand", "activation", "contract"):
            inner = walk(getattr(module, name), inner, seen)
        return x + inner
    if type(module).__name__ == "Encoder":
        return walk(module.layers, x.float() / 255 - 0.5, seen).flatten(1)
    if isinstance(module, nn.Sequential):
        for child in module:
            x = walk(child, x, seen)
        return x
    x = module(x)
    if isinstance(module, nn.Linear | nn.Conv2d):
        seen["pre"].append(x.numpy())
    elif isinstance(module, nn.ReLU | nn.LeakyReLU | nn.ELU):
        seen["post"].append(x.numpy())
        seen["rectified"].append(x.numpy())
    elif isinstance(module, nn.Tanh):
        seen["post"].append(x.numpy())
    return x


@torch.no_grad()
def seen_by_hand(view):
    """``{label: {"feature", "pre", "post", "rectified"}}`` without hooks."""
    found = {}

    def start(label):
        return found.setdefault(label, {"pre": [], "post": [], "rectified": [], "feature": None})

    inputs = view.batch(BatchOptions(size=64)).inputs
    for role, network in view.networks.items():
        if role == "encoder":
            walk(network, *inputs[role], start(role))
        elif role == "actor":
            seen = start(role)
            seen["feature"] = walk(network.trunk, *inputs[role], seen).numpy()
        else:
            features, *action = inputs[role]
            if network.projection is not None:
                features = walk(network.projection, features, start(role))
            joined = torch.cat((features, *action), -1)
            for i, member in enumerate(network.members):
                label = f"{role}.{i}" if len(network.members) > 1 else role
                seen = start(label)
                seen["feature"] = walk(member.trunk, joined, seen).numpy()
    return found


def srank(features):
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    return int(np.argmax(np.cumsum(values) >= 0.99 * values.sum())) + 1


def dormant(layers, tau):
    flags = []
    for layer in layers:
        strength = np.abs(layer).mean(tuple(i for i in range(layer.ndim) if i != 1))
        flags += list(strength <= tau * strength.mean())
    return np.mean(flags)


def test_features_are_those_before_the_heads(case):
    kind, view = case
    seen = {label: s["feature"] for label, s in seen_by_hand(view).items()}
    seen = {label: feature for label, feature in seen.items() if feature is not None}
    assert set(seen) == FEATURES[kind]
    assert measured(view, "effective_rank") == {k: srank(v) for k, v in seen.items()}
    expected = {k: np.linalg.norm(v, axis=1).mean() for k, v in seen.items()}
    assert measured(view, "feature_norm") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("places", [("pre",), ("post",), ("pre", "post")])
def test_dormant_neurons_of_every_layer_below_the_heads(case, places):
    _, view = case
    found = measured(view, "dormant_ratio", tau=(0.025, 0.5), activations=places)
    names = {"pre": "", "post": "post/"}
    expected = {
        f"{label}/{names[place]}{tau}": dormant(seen[place], tau)
        for place in places
        for label, seen in seen_by_hand(view).items()
        if seen[place]
        for tau in (0.025, 0.5)
    }
    assert found == pytest.approx(expected)
    assert any(v > 0 for v in expected.values())  # Otherwise it would say little.


@pytest.mark.parametrize("count", ["samples", "units"])
def test_active_units_of_every_rectifier(case, count):
    _, view = case
    seen = {label: s["rectified"] for label, s in seen_by_hand(view).items() if s["rectified"]}

    def flags(layer):
        on = (
            layer
            if count == "samples"
            else layer.swapaxes(0, 1).reshape(layer.shape[1], -1).mean(1)
        )
        return (on > 0).ravel()

    expected = {k: np.concatenate([flags(x) for x in v]).mean() for k, v in seen.items()}
    assert measured(view, "active_units", count=count) == pytest.approx(expected)


def test_ranks_of_every_weight_below_the_heads(case):
    _, view = case
    together, layers = {}, {}
    for role, network in view.networks.items():
        for name, parameter in network.named_parameters():
            path, _, last = name.rpartition(".")
            if last != "weight" or parameter.ndim < 2 or ".head" in name or "heads." in name:
                continue
            array = parameter.detach().numpy().reshape(len(parameter), -1).astype(np.float64)
            norms = np.linalg.norm(array) ** 2, np.linalg.norm(array, 2) ** 2
            layers[f"{role}.{path}"] = norms[0] / norms[1] if norms[1] else 0.0
            several = role == "critic" and len(network.members) > 1 and "members" in path
            label = f"critic.{path.split('.')[1]}" if several else role
            together.setdefault(label, []).append(layers[f"{role}.{path}"])
    expected = layers | {label: np.mean(ranks) for label, ranks in together.items()}
    assert measured(view, "weight_rank") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_transitions_give_the_same_as_the_same_from_replay(case, name):
    _, view = case
    if name == "weight_rank":
        assert diagnostic(name, view.networks).batch is None
        return
    last = measured(view, name, batch=BatchOptions("recent", 64))
    assert last == pytest.approx(measured(view, name))


@pytest.mark.parametrize("name", NAMES)
def test_the_agent_is_left_as_it_was(case, name):
    _, view = case
    networks = view.networks
    analysed = copy.deepcopy(view.batch(BatchOptions(size=64)))
    before = {role: copy.deepcopy(network.state_dict()) for role, network in networks.items()}
    diagnostic(name, networks).measure(view)
    for role, network in networks.items():
        after = network.state_dict()
        assert all(torch.equal(before[role][key], after[key]) for key in after)
        assert all(p.grad is None and p.requires_grad for p in network.parameters())
        assert all(m.training and not m._forward_hooks for m in network.modules())
    now = view.batch(BatchOptions(size=64))
    for role, given in now.inputs.items():
        assert all(map(torch.equal, given, analysed.inputs[role]))


def test_one_role_can_be_asked_for():
    view = view_of(agent_of("drq_cnn"))
    found = measured(view, "dormant_ratio", networks=("encoder",))
    assert set(found) == {"encoder/0.1", "encoder/0.2"}
    found = measured(view, "dormant_ratio", networks=("critic",))
    assert {key.split("/")[0] for key in found} == {"critic", "critic.0", "critic.1"}
