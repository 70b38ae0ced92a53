"""Chains of layers for tests of rows, with masks, and what autograd says of them."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn

from plugins.networks.modules import Actor, Critic, Member

ACTIVATIONS = (
    None,
    nn.ReLU,
    nn.LeakyReLU,
    lambda: nn.LeakyReLU(0.3),
    lambda: nn.LeakyReLU(1.0),
    lambda: nn.LeakyReLU(2.5),
)


def stages(inputs, widths, norm, activation, bias=True):
    layers = []
    for width in widths:
        layers.append(nn.Linear(inputs, width, bias=bias))
        if norm:
            layers.append(nn.LayerNorm(width, eps=1e-5, elementwise_affine=False))
        if activation is not None:
            layers.append(activation())
        inputs = width
    return nn.Sequential(*layers), inputs


def an_actor(inputs=5, widths=(8, 6), heads=(2, 3), norm=True, activation=nn.LeakyReLU):
    trunk, width = stages(inputs, widths, norm, activation)
    return Actor(trunk, {f"head{i}": nn.Linear(width, size) for i, size in enumerate(heads)})


def a_critic(inputs=5, widths=(8, 6), outputs=1, norm=True, activation=nn.LeakyReLU, members=1):
    made = []
    for _ in range(members):
        trunk, width = stages(inputs, widths, norm, activation)
        made.append(Member(trunk, nn.Linear(width, outputs)))
    return Critic(made)


def random_masks(module, keep, generator, empty_row=False):
    masks = {}
    for name, parameter in module.named_parameters():
        masks[name] = torch.rand(parameter.shape, generator=generator) < keep
        if empty_row:
            masks[name][0] = False
    return masks


def flat_mask(module, masks):
    """``[P]``: 1 where a parameter lives."""
    return torch.cat(
        [masks.get(name, torch.ones(p.shape)).flatten().double() for name, p in named(module)]
    )


def named(module):
    return list(module.named_parameters())


def outputs_of(module, inputs):
    got = module(inputs.unsqueeze(0))
    return (torch.cat(got, -1) if isinstance(got, tuple) else got).flatten()


def jacobian_product(module, inputs, gradient):
    """``(outputs, J^T gradient [P])`` by autograd, in the module's type."""
    outputs = outputs_of(module, inputs)
    parameters = list(module.parameters())
    parts = torch.autograd.grad(outputs @ gradient, parameters)
    return outputs.detach(), torch.cat([part.flatten() for part in parts])


@st.composite
def networks(draw):
    """A module with its masks."""
    width = st.integers(1, 70)
    inputs = draw(width)
    widths = draw(st.lists(width, max_size=3))
    norm, activation = draw(st.booleans()), draw(st.sampled_from(ACTIVATIONS))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        heads = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
        module = an_actor(inputs, widths, heads, norm, activation)
    else:
        module = a_critic(inputs, widths, draw(st.integers(1, 7)), norm, activation)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    kind = draw(st.sampled_from(["none", "all kept", "half", "empty row"]))
    if kind == "none":
        return module, {}
    keep = 1.1 if kind == "all kept" else 0.5
    return module, random_masks(module, keep, generator, kind == "empty row")
