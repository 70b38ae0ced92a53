"""The formulas of ObGD in NumPy, and what its tests share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from plugins.optimizers.adaptive_obgd import AdaptiveObGD
from plugins.optimizers.obgd import ObGD

OPTIMIZERS = [ObGD, AdaptiveObGD]
DOUBLE = torch.float64
TOLERANCE = {torch.float32: 1e-6, DOUBLE: 1e-12}


class Oracle:
    """The formulas in float64, on flat arrays."""

    def __init__(self, w, n=1, *, lr=1.0, gamma=0.99, lamda=0.8, kappa=2.0, beta2=None, eps=1e-8):
        self.w, self.z = np.array(w, dtype=np.float64), np.zeros((n, len(w)))
        self.v, self.t = np.zeros(len(w)), 0
        self.lr, self.decay, self.kappa, self.beta2, self.eps = lr, gamma * lamda, kappa, beta2, eps

    def step(self, g, delta, reset, cut):
        n, scale = len(self.z), np.ones_like(self.w)
        self.z = self.decay * self.z * (1 - cut[:, None]) + g
        direction = sum(delta[i] * self.z[i] for i in range(n)) / n
        if self.beta2 is not None:
            self.t += 1
            self.v = self.beta2 * self.v + (1 - self.beta2) * direction**2
            scale = np.sqrt(self.v / (1 - self.beta2**self.t) + self.eps)
        self.norms = [np.sum(np.abs(self.z[i] / scale)) for i in range(n)]
        reach = sum(max(abs(delta[i]), 1) * self.norms[i] for i in range(n)) / n
        m = self.lr * self.kappa * reach
        self.size = min(self.lr, self.lr / m) if m > 0 else self.lr
        self.w = self.w - self.size * direction / scale
        self.z = self.z * (1 - reset[:, None])
        self.active = m > 1


def parameters(shapes, dtype=DOUBLE, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=draw, dtype=DOUBLE).to(dtype)) for s in shapes]


def flat(tensors, lead=0):
    return np.concatenate(
        [t.detach().double().reshape(*t.shape[:lead], -1).numpy() for t in tensors], lead
    )


def traces(optimizer):
    ps = optimizer.param_groups[0]["params"]
    return flat([optimizer.state[p]["trace"] for p in ps], 1)


def gradients(shapes, n, rng, dtype=DOUBLE):
    return [torch.from_numpy(rng.normal(size=(n, *s))).to(dtype) for s in shapes]


def assert_close(got, wanted, tolerance):
    scale = max(np.abs(wanted).max(), 1e-30)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


SHAPES = [(3, 4), (3,), (2, 3), ()]


class LinearRow:
    """A :class:`core.api.OnlineNetwork`: a bias-free linear layer of one or more outputs."""

    def __init__(self, weights):
        self.weights = torch.cat([w.reshape(-1) for w in weights])
        self.inputs = weights[0].shape[-1]
        self.outputs = len(self.weights) // self.inputs

    def forward(self, inputs):
        self.seen = inputs.clone()
        return self.weights.view(self.outputs, self.inputs) @ inputs

    def accumulate(self, gradient, trace, decay):
        assert trace.shape == self.weights.shape
        assert trace.is_contiguous()
        trace.copy_(decay * trace + torch.outer(gradient, self.seen).reshape(-1))
        return trace.abs().sum().item()

    def move(self, direction, scale):
        self.weights += scale * direction
