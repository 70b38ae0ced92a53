"""Networks that only the compiled kernels for rows know: sparse layers, SimBa, affine norms."""

from __future__ import annotations

from copy import deepcopy

import torch
from hypothesis import strategies as st
from torch import nn

from plugins.execution.masked import Masked
from plugins.execution.sparse import Sparse
from plugins.networks.modules import Actor, Critic, Member
from plugins.networks.simba import Block

BACKENDS = {"masked": Masked, "sparse": Sparse}


def randomised(module):
    """Norms' weights and biases, and zero biases, would hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def simba(inputs, width, blocks=2, outputs=1, heads=None):
    trunk = nn.Sequential(
        nn.Linear(inputs, width),
        nn.Sequential(*(Block(width) for _ in range(blocks))),
        nn.LayerNorm(width, eps=1e-6),
    )
    if heads is None:
        return randomised(Critic([Member(trunk, nn.Linear(width, outputs))]))
    return randomised(Actor(trunk, {f"h{i}": nn.Linear(width, n) for i, n in enumerate(heads)}))


def perceptron(inputs, widths, heads, norm, activation):
    layers = []
    for width in widths:
        layers.append(nn.Linear(inputs, width))
        if norm is not None:
            layers.append(nn.LayerNorm(width, elementwise_affine=norm))
        layers.append(activation())
        inputs = width
    made = {f"h{i}": nn.Linear(inputs, n) for i, n in enumerate(heads)}
    return randomised(Actor(nn.Sequential(*layers), made))


def some_masks(module, density, blocks=False):
    """Of all matrices; with ``blocks`` whole 16 x 16 blocks where a matrix consists of such."""
    masks = {}
    for name, p in module.named_parameters():
        if p.ndim != 2:
            continue
        if blocks and p.shape[0] % 16 == 0 and p.shape[1] % 16 == 0:
            coarse = torch.rand(p.shape[0] // 16, p.shape[1] // 16) < density
            masks[name] = coarse.repeat_interleave(16, 0).repeat_interleave(16, 1)
        else:
            masks[name] = torch.rand(p.shape) < density
    return masks


def dense_twin(module, masks):
    """A float64 copy with removed weights at zero, of a module that is not attached yet."""
    twin = deepcopy(module).double()
    with torch.no_grad():
        for name, mask in masks.items():
            twin.get_parameter(name).mul_(mask)
    return twin


def kept(flat, module, masks):
    """A flat ``[P]`` in the dense order, removed entries at 0, as a list of parameters' parts."""
    parts = flat.split([p.numel() for p in module.parameters()])
    return {
        name: part.view_as(p) * masks.get(name, torch.ones_like(p))
        for part, (name, p) in zip(parts, module.named_parameters(), strict=True)
    }


def as_dense(flat, module):
    """Likewise of a vector in the order of an attached module's parameters."""
    parts = flat.split([p.numel() for p in module.parameters()])
    made = {}
    for part, (name, p) in zip(parts, module.named_parameters(), strict=True):
        owner = module.get_submodule(name.rpartition(".")[0])
        compact = hasattr(owner, "expanded") and name.endswith(".weight")
        made[name] = owner.expanded(part) if compact else part.view_as(p)
    return made


def flat_weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@st.composite
def drawn_networks(draw):
    """A module that is not attached, with masks."""
    width = st.integers(1, 90)
    torch.manual_seed(draw(st.integers(0, 2**31)))
    inputs, heads = draw(width), draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    kind = draw(st.sampled_from(["simba", "simba, blocks of 16", "perceptron"]))
    if kind == "simba":
        module = simba(inputs, draw(width), draw(st.integers(0, 2)), heads=heads)
    elif kind == "perceptron":
        activation = draw(st.sampled_from([nn.ReLU, nn.LeakyReLU]))
        norm = draw(st.sampled_from([None, False, True]))
        widths = draw(st.lists(width, min_size=1, max_size=3))
        module = perceptron(inputs, widths, heads, norm, activation)
    else:
        module = simba(16 * draw(st.integers(1, 3)), 16 * draw(st.integers(1, 4)), heads=heads)
    density = draw(st.sampled_from([0.02, 0.1, 0.3, 0.7, 1.1]))
    masks = some_masks(module, density, blocks=kind.endswith("16"))
    first = next(iter(masks.values()))
    special = draw(st.sampled_from(["", "empty row", "one kept", "empty column"]))
    if special == "empty row":
        first[0] = False
    elif special == "empty column":
        first[:, -1] = False
    elif special == "one kept":
        first[:] = False
        first[-1, -1] = True
    return module, masks
