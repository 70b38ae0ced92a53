"""The streaming networks: sizes, formulas, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from core.api import EnvironmentSpec, MaskAware, OptionError, UserError
from plugins.networks.options import SparseInit, StreamCnnOptions, StreamMlpOptions
from plugins.networks.welford import WelfordNormaliser
from tests.support.stream_builders import CHEETAH, COMPONENTS, FRAMES, HEADS, build, size

torch.set_num_threads(1)


def randomise(module):
    """Move every parameter, so that zeros and biases take part in what is compared."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


# --- architecture -----------------------------------------------------------------------


def test_mlp_has_the_published_size():
    networks = build(StreamMlpOptions(), CHEETAH)
    # 18*128+128, 128*128+128, and per head 128*6+6 or 128+1
    assert size(networks.actor(HEADS)) == 2432 + 16512 + 2 * 774
    assert size(networks.critic(1, action=False)) == 2432 + 16512 + 129
    assert size(networks.critic(2, 5)) == 2 * (24 * 128 + 128 + 16512 + 128 * 5 + 5)


def test_width_and_depth_are_those_of_both():
    networks = build(StreamMlpOptions(width=512, depth=3), CHEETAH)
    hidden = 18 * 512 + 512 + 2 * (512 * 512 + 512)
    assert size(networks.actor(HEADS)) == hidden + 2 * (512 * 6 + 6)
    assert size(networks.critic(1, action=False)) == hidden + 513


def test_cnn_has_the_published_sizes():
    networks = build(StreamCnnOptions(), FRAMES)
    hidden = (4 * 64 * 32 + 32) + (32 * 16 * 64 + 64) + (64 * 9 * 64 + 64) + (256 * 256 + 256)
    assert size(networks.actor({"q": 6})) == hidden + 256 * 6 + 6
    assert size(networks.critic(1, 6, action=False)) == hidden + 256 * 6 + 6
    minatar = StreamCnnOptions(filters=(16,), kernels=(3,), strides=(1,), width=128)
    networks = build(minatar, EnvironmentSpec((4, 10, 10), 3, pixels=True))
    assert size(networks.critic(1, 3, action=False)) == 592 + 1024 * 128 + 128 + 128 * 3 + 3


def test_trunk_is_the_pattern_that_kernels_recognise():
    trunk = build(StreamMlpOptions(), CHEETAH).actor(HEADS).trunk
    assert [type(layer) for layer in trunk] == 2 * [nn.Linear, nn.LayerNorm, nn.LeakyReLU]
    assert isinstance(trunk, nn.Sequential)
    assert all(not list(m.parameters()) for m in trunk if not isinstance(m, nn.Linear))
    plain = build(StreamMlpOptions(layer_norm=False), CHEETAH).actor(HEADS).trunk
    assert [type(layer) for layer in plain] == 2 * [nn.Linear, nn.LeakyReLU]


def test_nothing_is_shared_and_there_is_no_encoder():
    for options, spec in ((StreamMlpOptions(), CHEETAH), (StreamCnnOptions(), FRAMES)):
        networks = build(options, spec)
        assert networks.encoder() is None
        assert isinstance(networks, MaskAware)
        modules = networks.actor(HEADS), networks.critic(2, action=False)
        pointers = [p.data_ptr() for module in modules for p in module.parameters()]
        assert len(pointers) == len(set(pointers))


# --- formulas ---------------------------------------------------------------------------


def activate(x, layer_norm=True):
    """Over one sample: layer norm without parameters, then LeakyReLU."""
    if layer_norm:
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return np.where(x > 0, x, 0.01 * x)


def convolve(x, weight, bias, stride):
    """``[C, H, W]`` with ``[F, C, k, k]``."""
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,fcij->fhw", windows, weight) + bias[:, None, None]


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("action", [True, False])
def test_mlp_is_its_formula(layer_norm, action):
    torch.manual_seed(0)
    networks = build(StreamMlpOptions(width=128, layer_norm=layer_norm), CHEETAH)
    actor, critic = networks.actor({"mean": 6, "std": 3}), networks.critic(2, 4, action=action)
    x, a = torch.randn(3, 18), torch.randn(3, 6)

    def formula(w, prefix, inputs, head):
        for layer in (0, 3) if layer_norm else (0, 2):
            name = f"{prefix}trunk.{layer}"
            inputs = activate(w[f"{name}.weight"] @ inputs + w[f"{name}.bias"], layer_norm)
        return w[f"{head}.weight"] @ inputs + w[f"{head}.bias"]

    w = randomise(actor)
    for name, got in zip(("mean", "std"), actor(x), strict=True):
        expected = [formula(w, "", row, f"heads.{name}") for row in x.double().numpy()]
        np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    w = randomise(critic)
    got = critic(x, a) if action else critic(x)
    assert got.shape == (2, 3, 4)
    inputs = (torch.cat((x, a), -1) if action else x).double().numpy()
    for i in range(2):
        expected = [formula(w, f"members.{i}.", row, f"members.{i}.head") for row in inputs]
        np.testing.assert_allclose(got[i].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_cnn_is_its_formula(normalise):
    torch.manual_seed(0)
    options = StreamCnnOptions(
        filters=(5, 4), kernels=(4, 3), strides=(3, 2), width=16, normalise=normalise
    )
    networks = build(options, EnvironmentSpec((3, 15, 19), 2, pixels=True))
    actor, critic = networks.actor({"mean": 2}), networks.critic(2)
    frames = torch.randint(0, 256, (2, 3, 15, 19), dtype=torch.uint8)
    x = frames / 255 if normalise else frames
    a = torch.randn(2, 2)
    first = 0 if normalise else 1  # before the convolutions, frames become floats

    def convolved(w, prefix, image):
        image = image.double().numpy() / (1 if normalise else 255)
        for layer, stride in ((first, 3), (first + 3, 2)):
            name = f"{prefix}.{layer}"
            image = activate(convolve(image, w[f"{name}.weight"], w[f"{name}.bias"], stride))
        return image.reshape(-1)

    def last(w, name, features):
        return activate(w[f"{name}.weight"] @ features + w[f"{name}.bias"])

    w = randomise(actor)
    for image, got in zip(x, actor(x)[0], strict=True):
        features = last(w, f"trunk.{first + 7}", convolved(w, "trunk", image))
        expected = w["heads.mean.weight"] @ features + w["heads.mean.bias"]
        np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    w = randomise(critic)
    for row, got in enumerate(critic(x, a).transpose(0, 1)):
        inputs = np.concatenate((convolved(w, "projection", x[row]), a[row].double().numpy()))
        for i in range(2):
            features = last(w, f"members.{i}.trunk.0", inputs)
            expected = w[f"members.{i}.head.weight"] @ features + w[f"members.{i}.head.bias"]
            np.testing.assert_allclose(got[i].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


# --- options and refusals ---------------------------------------------------------------


def test_time_input_is_asked_of_the_environment():
    needs = COMPONENTS["stream_mlp"].needs
    assert needs(StreamMlpOptions()) == {"time input"}
    assert needs(StreamMlpOptions(time_input=False)) == frozenset()
    assert COMPONENTS["stream_cnn"].needs == frozenset()


def test_the_normaliser_leaves_the_time_alone():
    normaliser = build(StreamMlpOptions(), CHEETAH).normaliser()
    assert isinstance(normaliser, WelfordNormaliser)
    assert normaliser.mean.shape == (17,)
    plain = build(StreamMlpOptions(time_input=False), EnvironmentSpec((17,), 6)).normaliser()
    assert plain.mean.shape == (17,)
    assert build(StreamMlpOptions(normalise=False), CHEETAH).normaliser() is None
    assert build(StreamCnnOptions(), FRAMES).normaliser().mean.shape == (4, 84, 84)
    assert build(StreamCnnOptions(normalise=False), FRAMES).normaliser() is None


def test_states_and_pixels_are_told_apart():
    with pytest.raises(UserError, match="'stream_mlp' needs flat.*'stream_cnn'"):
        build(StreamMlpOptions(), FRAMES)
    with pytest.raises(UserError, match="'stream_cnn' needs pixel.*'stream_mlp'"):
        build(StreamCnnOptions(), CHEETAH)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_frames_must_be_large_enough_and_no_larger(data):
    depth = data.draw(st.integers(1, 3))
    several = st.tuples(*[st.integers(1, 4)] * depth)
    kernel, stride = data.draw(several), data.draw(several)
    options = StreamCnnOptions((2,) * depth, kernel, stride, width=3)
    side = options.smallest
    actor = build(options, EnvironmentSpec((1, side, side), 1, pixels=True)).actor({"mean": 1})
    assert actor(torch.zeros(2, 1, side, side))[0].shape == (2, 1)
    if side > 1:
        small = EnvironmentSpec((1, side + 3, side - 1), 1, pixels=True)
        with pytest.raises(
            UserError, match=rf"at least {side}x{side} pixels, got {side + 3}x{side - 1}"
        ):
            build(options, small)


def test_the_smallest_frames_of_the_default():
    assert StreamCnnOptions().smallest == 53


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("width", lambda: StreamMlpOptions(width=0)),
        ("depth", lambda: StreamMlpOptions(depth=0)),
        ("width", lambda: StreamCnnOptions(width=0)),
        ("filters", lambda: StreamCnnOptions((), (), ())),
        ("filters", lambda: StreamCnnOptions((4, 0, 4))),
        ("kernels", lambda: StreamCnnOptions((4, 4))),
        ("kernels", lambda: StreamCnnOptions(kernels=(8, 4, 0))),
        ("strides", lambda: StreamCnnOptions((4, 4), (3, 3))),
        ("strides", lambda: StreamCnnOptions(strides=(1, 1, -1))),
        ("sparsity", lambda: SparseInit(1.0)),
        ("sparsity", lambda: SparseInit(-0.1)),
        ("sparsity", lambda: SparseInit(math.nan)),
        ("min_kept", lambda: SparseInit(min_kept=-1)),
    ],
)
def test_options_out_of_range(field, make):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.field == field
