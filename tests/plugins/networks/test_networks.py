"""Networks: published sizes, initialisation, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from core.api import EnvironmentSpec, NetworkContext, Networks, OptionError, UserError
from plugins.networks import register_networks
from plugins.networks.initialisers import he_truncated_, linear, orthogonal, truncated_normal_
from plugins.networks.options import (
    DrqHidden,
    DrqOptions,
    MlpHidden,
    MlpOptions,
    SimbaOptions,
    SimbaSize,
)

HUMANOID = EnvironmentSpec((67,), 21)
DOG = EnvironmentSpec((223,), 38)
FRAMES = EnvironmentSpec((9, 84, 84), 6, pixels=True, frame_stack=3)
COMPONENTS = {component.name: component for component in register_networks()}


def build(name: str, options: object, spec: EnvironmentSpec) -> Networks:
    return COMPONENTS[name].build(options, NetworkContext(spec))


def size(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


def heads(spec: EnvironmentSpec) -> dict[str, int]:
    return {"mean": spec.action, "log_std": spec.action}


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters()}


def assert_orthogonal(weight: Tensor, gain: float = 1.0) -> None:
    flat = weight.detach().double().flatten(1)
    gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    torch.testing.assert_close(
        gram, gain**2 * torch.eye(len(gram), dtype=torch.float64), atol=2e-5, rtol=0
    )


# --- sizes ------------------------------------------------------------------------------

# Ma et al. 2025: all parameters of the humanoid networks, by width and depth scale.
HUMANOID_SIZES = [
    (0.5, 1, 40_426, 1_075_713),
    (1, 1, 146_346, 4_248_577),
    (2, 1, 554_794, 16_885_761),
    (3, 1, 1_225_386, 37_911_553),
    (4, 1, 2_158_122, 67_325_953),
    (5, 1, 3_353_002, 105_128_961),
]
# Totals in millions for the deeper ones, and for the dog networks.
HUMANOID_TOTALS = [
    (2, 2, 1.08, 33.68, 34.8),
    (2, 3, 1.61, 50.47, 52.1),
    (2, 4, 2.13, 67.26, 69.4),
    (3, 2, 2.41, 75.68, 78.1),
    (4, 3, 6.36, 201.6, 208.0),
]
DOG_TOTALS = [
    (0.5, 1, 1.17),
    (1, 1, 4.51),
    (2, 1, 17.67),
    (3, 1, 39.5),
    (4, 1, 69.9),
    (5, 1, 109.0),
    (2, 2, 35.0),
    (2, 3, 52.3),
    (2, 4, 69.6),
    (3, 2, 78.4),
    (4, 3, 208.4),
]


def simba_sizes(spec: EnvironmentSpec, width: float, depth: int) -> tuple[int, int]:
    networks = build("simba", SimbaOptions(width_scale=width, depth_scale=depth), spec)
    with torch.device("meta"):
        return size(networks.actor(heads(spec))), size(networks.critic(1))


@pytest.mark.parametrize(("width", "depth", "actor", "critic"), HUMANOID_SIZES)
def test_simba_has_the_published_size(width, depth, actor, critic):
    assert simba_sizes(HUMANOID, width, depth) == (actor, critic)


@pytest.mark.parametrize(("width", "depth", "actor", "critic", "total"), HUMANOID_TOTALS)
def test_deep_simba_has_the_published_size(width, depth, actor, critic, total):
    got = simba_sizes(HUMANOID, width, depth)
    assert got[0] / 1e6 == pytest.approx(actor, abs=0.006)
    assert got[1] / 1e6 == pytest.approx(critic, abs=0.06)
    assert sum(got) / 1e6 == pytest.approx(total, abs=0.051)


@pytest.mark.parametrize(("width", "depth", "total"), DOG_TOTALS)
def test_simba_for_dogs_has_the_published_size(width, depth, total):
    assert sum(simba_sizes(DOG, width, depth)) / 1e6 == pytest.approx(total, abs=0.051)


def test_drq_has_the_published_size():
    networks = build("drq_cnn", DrqOptions(), FRAMES)
    assert size(networks.encoder()) == 30_368
    assert size(networks.actor({"mean": 6})) == 3_068_124
    assert size(networks.critic(2)) == 4_178_136


def test_size_on_the_meta_device_is_the_real_one():
    networks = build("simba", SimbaOptions(), HUMANOID)
    with torch.device("meta"):
        hollow = networks.critic(2)
    assert all(p.is_meta for p in hollow.parameters())
    shapes = {name: p.shape for name, p in hollow.named_parameters()}
    assert shapes == {name: p.shape for name, p in networks.critic(2).named_parameters()}


# --- initialisation ---------------------------------------------------------------------


def test_truncated_normal_follows_its_distribution():
    torch.manual_seed(0)
    count = 1_200_000  # more than one chunk
    values = truncated_normal_(torch.empty(3, count // 3)).view(-1).double().sort().values
    assert values.abs().max() <= 2.0

    def normal_cdf(x: Tensor | float) -> Tensor:
        return 0.5 * (1 + torch.erf(torch.as_tensor(x, dtype=torch.float64) / math.sqrt(2)))

    low, high = normal_cdf(-2.0), normal_cdf(2.0)
    expected = (normal_cdf(values) - low) / (high - low)
    empirical = torch.arange(1, count + 1, dtype=torch.float64) / count
    # Kolmogorov and Smirnov: above 1.95 / sqrt(n) once in a thousand seeds
    assert (expected - empirical).abs().max() < 1.95 / math.sqrt(count)


def test_he_truncated_has_variance_two_over_fan_in():
    torch.manual_seed(0)
    weight = he_truncated_(torch.empty(2048, 512))
    std = math.sqrt(2 / 512)
    assert weight.std().item() == pytest.approx(std, rel=5e-3)
    assert weight.mean().item() == pytest.approx(0, abs=5e-3 * std)
    cut = 2 * std / 0.87962566
    assert 0.999 * cut < weight.abs().max().item() <= cut * (1 + 1e-6)


def test_simba_starts_as_published():
    torch.manual_seed(0)
    networks = build("simba", SimbaOptions(), HUMANOID)
    actor, critic = networks.actor(heads(HUMANOID)), networks.critic(2)
    for name, value in {**weights(actor), **weights(critic)}.items():
        if name.endswith("bias"):
            assert not value.any(), name
        elif "norm" in name:
            assert (value == 1).all(), name
        elif "blocks" in name:
            std = math.sqrt(2 / value.shape[1])
            assert value.std().item() == pytest.approx(std, rel=0.01), name
        else:
            assert_orthogonal(value)
    norms = [m for net in (actor, critic) for m in net.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 + 2 * 3
    assert {norm.eps for norm in norms} == {1e-6}


def test_drq_starts_as_published():
    torch.manual_seed(0)
    spec = EnvironmentSpec((3, 19, 19), 2, pixels=True)
    networks = build("drq_cnn", DrqOptions(critic=DrqHidden(96), actor=DrqHidden(64)), spec)
    encoder = networks.encoder()
    assert encoder is not None
    for module in (encoder, networks.actor({"mean": 2}), networks.critic(2)):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                assert_orthogonal(layer.weight, math.sqrt(2))
            elif isinstance(layer, nn.Linear):
                assert_orthogonal(layer.weight)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                assert layer.bias is not None
                assert not layer.bias.any()


@pytest.mark.parametrize("name", ["simba", "mlp", "drq_cnn"])
def test_members_are_separate_and_keep_their_initialisation(name):
    spec = EnvironmentSpec((3, 21, 21), 2, pixels=True) if name == "drq_cnn" else HUMANOID
    torch.manual_seed(0)
    networks = build(name, COMPONENTS[name].options(), spec)
    critic = networks.critic(3)
    members = [weights(member) for member in critic.members]
    for key, value in members[0].items():
        if value.ndim > 1:
            assert not any(torch.equal(value, other[key]) for other in members[1:]), key
    for member in critic.members:
        assert_orthogonal(member.head.weight)
        gain = math.sqrt(2) if name == "mlp" else 1.0
        first = next(m for m in member.trunk.modules() if isinstance(m, nn.Linear))
        assert_orthogonal(first.weight, gain)
    pointers = [p.data_ptr() for p in critic.parameters()]
    assert len(pointers) == len(set(pointers))


def test_every_call_draws_anew_and_the_seed_decides():
    networks = build("simba", SimbaOptions(), HUMANOID)

    def draw(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        modules = [networks.actor({"mean": 3}), networks.actor({"mean": 3})]
        return [m.trunk.blocks[0].expand.weight for m in modules]

    first, second = draw(0)
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip((first, second), draw(0), strict=True))
    assert not torch.equal(first, draw(1)[0])


def test_layers_are_filled_once():
    torch.manual_seed(0)
    layer = linear(40, 30, orthogonal())
    torch.manual_seed(0)
    torch.testing.assert_close(layer.weight, nn.init.orthogonal_(torch.empty(30, 40)))


# --- options and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "normalises"), [("simba", True), ("mlp", False), ("drq_cnn", False)]
)
def test_defaults_of_normaliser_and_encoder(name, normalises):
    networks = build(name, COMPONENTS[name].options(), FRAMES if name == "drq_cnn" else HUMANOID)
    assert (networks.normaliser() is not None) == normalises
    assert (networks.encoder() is not None) == (name == "drq_cnn")


def test_normalise_is_an_option():
    assert build("simba", SimbaOptions(normalise=False), HUMANOID).normaliser() is None
    assert build("mlp", MlpOptions(normalise=True), HUMANOID).normaliser() is not None


@pytest.mark.parametrize("name", ["simba", "mlp"])
def test_state_networks_refuse_pixels(name):
    with pytest.raises(UserError, match=rf"'{name}' needs flat.*environment.pixels: false"):
        build(name, COMPONENTS[name].options(), FRAMES)


def test_drq_refuses_states():
    with pytest.raises(UserError, match=r"'drq_cnn' needs pixel.*environment.pixels: true"):
        build("drq_cnn", DrqOptions(), HUMANOID)


def test_drq_refuses_frames_that_are_too_small():
    with pytest.raises(UserError, match=r"at least 15x15 pixels, got 84x14"):
        build("drq_cnn", DrqOptions(), EnvironmentSpec((9, 84, 14), 2, pixels=True))


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("width", lambda: SimbaSize(0, 1)),
        ("blocks", lambda: SimbaSize(1, 0)),
        ("width_scale", lambda: SimbaOptions(width_scale=0.003)),
        ("width_scale", lambda: SimbaOptions(width_scale=-1)),
        ("depth_scale", lambda: SimbaOptions(depth_scale=0)),
        ("channels", lambda: DrqOptions(channels=0)),
        ("feature_dim", lambda: DrqOptions(feature_dim=0)),
        ("hidden", lambda: DrqHidden(0)),
        ("hidden", lambda: MlpHidden(())),
        ("hidden", lambda: MlpHidden((4, 0))),
    ],
)
def test_options_out_of_range(field, make):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.field == field
