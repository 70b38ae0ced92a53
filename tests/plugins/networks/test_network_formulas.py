"""Forward passes of the networks, against the formulas written out again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from core.api import EnvironmentSpec, NetworkContext, Networks
from plugins.networks import register_networks
from plugins.networks.drq_cnn import encoded_side
from plugins.networks.options import (
    DrqHidden,
    DrqOptions,
    MlpHidden,
    MlpOptions,
    SimbaOptions,
    SimbaSize,
)

COMPONENTS = {component.name: component for component in register_networks()}
STATE = EnvironmentSpec((67,), 21)


def build(name: str, options: object, spec: EnvironmentSpec) -> Networks:
    return COMPONENTS[name].build(options, NetworkContext(spec))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters()}


def randomise(module: nn.Module) -> nn.Module:
    """Move every parameter, so that biases and norms take part in what is compared."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module.double()


def simba_formula(w: dict[str, Tensor], prefix: str, x: Tensor, blocks: int) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return unit * w[f"{prefix}{name}.weight"] + w[f"{prefix}{name}.bias"]

    def affine(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{prefix}{name}.weight"].T + w[f"{prefix}{name}.bias"]

    x = affine(x, "input")
    for i in range(blocks):
        inner = affine(norm(x, f"blocks.{i}.norm"), f"blocks.{i}.expand").clamp(min=0)
        x = x + affine(inner, f"blocks.{i}.contract")
    return norm(x, "norm")


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("action", [True, False])
def test_simba_is_its_formula(members, action):
    torch.manual_seed(0)
    options = SimbaOptions(SimbaSize(12, 1), SimbaSize(16, 2), width_scale=0.5, depth_scale=2)
    networks = build("simba", options, EnvironmentSpec((5,), 3))
    actor = randomise(networks.actor({"mean": 3, "log_std": 2}))
    critic = randomise(networks.critic(members, 4, action=action))
    x, a = torch.randn(7, 5).double(), torch.randn(7, 3).double()

    w = weights(actor)
    feature = simba_formula(w, "trunk.", x, blocks=2)
    assert feature.shape == (7, 6)
    got = actor(x)
    assert isinstance(got, tuple)
    for name, value in zip(("mean", "log_std"), got, strict=True):
        expected = feature @ w[f"heads.{name}.weight"].T + w[f"heads.{name}.bias"]
        torch.testing.assert_close(value, expected)

    w = weights(critic)
    inputs = torch.cat((x, a), -1) if action else x
    got = critic(x, a) if action else critic(x)
    assert got.shape == (members, 7, 4)
    for i in range(members):
        feature = simba_formula(w, f"members.{i}.trunk.", inputs, blocks=4)
        expected = feature @ w[f"members.{i}.head.weight"].T + w[f"members.{i}.head.bias"]
        torch.testing.assert_close(got[i], expected)


def drq_features(w: dict[str, Tensor], frames: Tensor) -> Tensor:
    x = frames / 255 - 0.5
    for index, stride in zip((0, 2, 4, 6), (2, 1, 1, 1), strict=True):
        weight, bias = w[f"layers.{index}.weight"], w[f"layers.{index}.bias"]
        x = F.conv2d(x, weight, bias, stride=stride).clamp(min=0)
    return x.reshape(len(x), -1)


def drq_formula(w: dict[str, Tensor], prefix: str, first: int, x: Tensor) -> Tensor:
    for index in (first, first + 2):
        x = (x @ w[f"{prefix}{index}.weight"].T + w[f"{prefix}{index}.bias"]).clamp(min=0)
    return x


def projection_formula(w: dict[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    x = x @ w[f"{prefix}.0.weight"].T + w[f"{prefix}.0.bias"]
    return F.layer_norm(x, x.shape[1:], w[f"{prefix}.1.weight"], w[f"{prefix}.1.bias"]).tanh()


def test_drq_is_its_formula():
    torch.manual_seed(0)
    options = DrqOptions(4, 10, DrqHidden(8), DrqHidden(12))
    networks = build("drq_cnn", options, EnvironmentSpec((6, 20, 17), 3, pixels=True))
    encoder = networks.encoder()
    assert encoder is not None
    actor, critic = networks.actor({"mean": 3}), networks.critic(2)
    for module in (encoder, actor, critic):
        randomise(module)
    frames = torch.randint(0, 256, (5, 6, 20, 17)).double()
    before = frames.clone()
    action = torch.randn(5, 3).double()

    features = encoder(frames)
    assert torch.equal(frames, before)
    torch.testing.assert_close(features, drq_features(weights(encoder), frames))

    w = weights(actor)
    hidden = drq_formula(w, "trunk.", 3, projection_formula(w, "trunk", features))
    expected = hidden @ w["heads.mean.weight"].T + w["heads.mean.bias"]
    torch.testing.assert_close(actor(features)[0], expected)

    w = weights(critic)
    got = critic(features, action)
    joined = torch.cat((projection_formula(w, "projection", features), action), -1)
    for i in range(2):
        hidden = drq_formula(w, f"members.{i}.trunk.", 0, joined)
        expected = hidden @ w[f"members.{i}.head.weight"].T + w[f"members.{i}.head.bias"]
        torch.testing.assert_close(got[i], expected)


@settings(max_examples=20, deadline=None)
@given(
    stack=st.integers(1, 12), height=st.integers(15, 40), width=st.integers(15, 40), c=st.just(2)
)
def test_drq_fits_any_frame(stack, height, width, c):
    spec = EnvironmentSpec((stack, height, width), 2, pixels=True)
    networks = build("drq_cnn", DrqOptions(c, 3, DrqHidden(4), DrqHidden(4)), spec)
    encoder = networks.encoder()
    assert encoder is not None
    frames = torch.randint(0, 256, (2, stack, height, width), dtype=torch.uint8)
    features = encoder(frames)
    torch.testing.assert_close(features, encoder(frames.float()))
    assert features.shape == (2, c * encoded_side(height) * encoded_side(width))
    assert networks.actor({"mean": 2})(features)[0].shape == (2, 2)
    assert networks.critic(2, 5, action=False)(features).shape == (2, 2, 5)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", F.relu), ("leaky_relu", F.leaky_relu), ("elu", F.elu), ("tanh", torch.tanh)],
)
@pytest.mark.parametrize("layer_norm", [True, False])
def test_mlp_is_its_formula(activation, function, layer_norm):
    torch.manual_seed(0)
    options = MlpOptions(MlpHidden((6,)), MlpHidden((7, 8, 9)), activation, layer_norm)
    networks = build("mlp", options, EnvironmentSpec((5,), 3))
    x, a = torch.randn(4, 5).double(), torch.randn(4, 3).double()

    def formula(module: nn.Module, x: Tensor) -> Tensor:
        for layer, norm in layers_of(module):
            x = x @ layer.weight.T + layer.bias
            if norm is not None:
                x = F.layer_norm(x, x.shape[1:], norm.weight, norm.bias)
            x = function(x)
        return x

    def layers_of(module: nn.Module) -> list[tuple[nn.Module, nn.Module | None]]:
        linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
        norms = [m for m in module.modules() if isinstance(m, nn.LayerNorm)]
        assert len(norms) == (len(linears) if layer_norm else 0)
        return list(zip(linears, norms or [None] * len(linears), strict=True))

    actor = randomise(networks.actor({"one": 2, "two": 1}))
    expected = [head(formula(actor.trunk, x)) for head in actor.heads.values()]
    torch.testing.assert_close(list(actor(x)), expected)
    critic = randomise(networks.critic(2))
    got = critic(x, a)
    for member, value in zip(critic.members, got, strict=True):
        joined = torch.cat((x, a), -1)
        torch.testing.assert_close(value, member.head(formula(member.trunk, joined)))
        assert [m.out_features for m, _ in layers_of(member.trunk)] == [7, 8, 9]


def test_one_member_is_not_copied():
    critic = build("simba", SimbaOptions(), STATE).critic(1)
    with torch.no_grad():
        value = critic(torch.zeros(2, 67), torch.zeros(2, 21))
    assert value.shape == (1, 2, 1)
    assert value._base is not None  # a view of the only member's output


def test_trunk_is_what_the_heads_read():
    networks = build("simba", SimbaOptions(), STATE)
    actor = networks.actor({"mean": 21, "log_std": 21})
    seen: list[Tensor] = []
    actor.trunk.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    mean, log_std = actor(torch.randn(3, 67))
    torch.testing.assert_close(actor.heads["mean"](seen[0]), mean)
    torch.testing.assert_close(actor.heads["log_std"](seen[0]), log_std)
