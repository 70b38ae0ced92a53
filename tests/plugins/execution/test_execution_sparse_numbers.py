"""Sparse execution trains to the numbers of masked execution, update by update."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from core.agent.learner import Learner
from core.api import NetworkContext, OptimizerContext, dense
from core.api.layers import compact_owner
from plugins.execution.linear import native_product
from plugins.execution.linear.op import sparse_chain
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.sparse import Sparse
from plugins.losses.options import SACOptions
from plugins.networks.mlp import MlpNetworks
from plugins.networks.options import MlpHidden, MlpOptions, SimbaOptions, SimbaSize
from plugins.networks.simba import SimbaNetworks
from plugins.optimizers import register_optimizers
from plugins.optimizers.adaptive_obgd import AdaptiveObGD
from plugins.optimizers.obgd import ObGD
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import (
    CPU,
    DRQ,
    DRQ_DDPG,
    PIXELS,
    SIMBA_DDPG,
    STATE,
    build,
    make_batch,
    make_loss,
)

torch.set_num_threads(1)
SIMBA = SimbaOptions(actor=SimbaSize(8, 1), critic=SimbaSize(12, 1), normalise=False)
PRODUCTS = [
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            native_product.available() is not None, reason="kernels were not built"
        ),
    ),
    "densified",
]


class Some:
    """A scheme that keeps a share of every matrix and kernel."""

    target = "all"

    def __init__(self, density: float = 0.3) -> None:
        self.density = density

    def draw(self, parameters, generator):
        masks = {}
        for name, p in parameters.items():
            if p.ndim > 1:
                masks[name] = torch.rand(p.shape, generator=generator) < self.density
                masks[name].view(-1)[-1] = True
        return masks


def critics(product, dtype, seed=0):
    """A masked SimBa critic of two members, and its sparse twin."""
    found = []
    for execution in (Masked(), Sparse(product=product)):
        torch.manual_seed(seed)
        critic = SimbaNetworks(SIMBA, NetworkContext(STATE)).critic(2)
        masks = Some().draw(dict(critic.named_parameters()), torch.Generator().manual_seed(1))
        critic = execution.attach(critic, masks).to(dtype)
        for parameter in critic.parameters():  # biases begin at zero, which hides mistakes
            if parameter.ndim == 1 and compact_owner(critic, _name(critic, parameter)) is None:
                parameter.data.add_(torch.linspace(-0.1, 0.1, parameter.numel(), dtype=dtype))
        found.append((critic, execution))
    return found


def _name(module, parameter):
    return next(name for name, p in module.named_parameters() if p is parameter)


def step_gradients(critic, execution, batch):
    observation, action, target = batch
    values = critic(observation, action)
    parameters = list(critic.parameters())
    gradients = torch.autograd.grad((values - target).pow(2).mean(), parameters)
    execution.constrain_gradients(parameters, gradients)
    return values.detach(), gradients


def random_batch(seed, rows, dtype):
    draw = torch.Generator().manual_seed(seed)
    sizes = ((rows, 5), (rows, 3), (2, rows, 1))
    return [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype) for size in sizes]


def distance(sparse, masked):
    """The largest difference of any weight."""
    return max(
        (dense(sparse, name) - parameter).abs().max().item()
        for name, parameter in masked.named_parameters()
    )


@pytest.mark.parametrize("rows", [1, 7, 32])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_critics_values_and_gradients(product, rows):
    masked, sparse = critics(product, torch.float64)
    assert sum(type(m) is SparseLinear for m in sparse[0].modules()) == 8
    batch = random_batch(3, rows, torch.float64)
    (want_values, want), (values, got) = (step_gradients(*pair, batch) for pair in (masked, sparse))
    torch.testing.assert_close(values, want_values, rtol=1e-12, atol=1e-12)
    for (name, _), gradient, other in zip(sparse[0].named_parameters(), got, want, strict=True):
        torch.testing.assert_close(dense(sparse[0], name, gradient), other, rtol=1e-12, atol=1e-12)


def adamw(critic):
    return torch.optim.AdamW(critic.parameters(), lr=1e-3, eps=1e-3, weight_decay=0.1)


def make_factory_adamw(critic):
    options = AdamWOptions(lr=1e-3, eps=1e-3, weight_decay=0.1)
    factory = build(register_optimizers(), options, OptimizerContext(CPU))
    return factory(list(critic.parameters()), {}, "critic")


def run_adam(pair, make, dtype, updates):
    critic, execution = pair
    optimizer = make(critic)
    for update in range(updates):
        _, gradients = step_gradients(critic, execution, random_batch(update % 10, 16, dtype))
        for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        yield critic


def run_obgd(pair, make, dtype, updates):
    critic, execution = pair
    optimizer = make(list(critic.parameters()), lr=1.0, gamma=0.99, lamda=0.8, kappa=2.0)
    for update in range(updates):
        observation, action, target = random_batch(update % 50, 1, dtype)
        value = critic(observation, action).sum()
        parameters = list(critic.parameters())
        gradients = torch.autograd.grad(-value, parameters)
        execution.constrain_gradients(parameters, gradients)
        delta = target.sum() - value.detach()
        optimizer.step(delta=delta, reset=update % 40 == 39, gradients=[g[None] for g in gradients])
        yield critic


@pytest.mark.parametrize(
    ("drive", "make", "updates"),
    [
        pytest.param(run_adam, adamw, 200, id="adamw"),
        pytest.param(run_adam, make_factory_adamw, 50, id="one-pass adamw"),
        pytest.param(run_obgd, ObGD, 200, id="obgd"),
        pytest.param(run_obgd, AdaptiveObGD, 100, id="adaptive obgd"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_many_updates_end_where_masked_ones_do(drive, make, updates, dtype):
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    masked, sparse = (drive(pair, make, dtype, updates) for pair in critics("auto", dtype))
    start = critics("auto", dtype)[0][0]
    for update, (want, got) in enumerate(zip(masked, sparse, strict=True), 1):
        if update in (1, 10, updates):
            assert distance(got, want) <= tolerance * update, update
    assert distance(got, start) > 1e-2  # so it did learn


def test_a_gradient_that_is_off_by_a_millionth_would_be_seen(monkeypatch):
    def wrong(x, *rest, **options):
        return sparse_chain(x * (1 + 1e-6), *rest, **options)

    masked, sparse = critics("auto", torch.float64)
    monkeypatch.setattr("plugins.execution.linear.sparse_linear.sparse_chain", wrong)
    pairs = zip(*(run_adam(p, adamw, torch.float64, 10) for p in (masked, sparse)), strict=True)
    *_, (want, got) = pairs
    assert distance(got, want) > 1e-12 * 10


# --- whole agents -------------------------------------------------------------------------


def learner(execution, options, network, dtype):
    torch.manual_seed(0)
    loss = make_loss(options, network, [Some()], execution=execution).to(dtype)
    factory = build(register_optimizers(), AdamWOptions(lr=1e-3, eps=1e-3), OptimizerContext(CPU))
    return Learner(loss, factory, execution, CPU)


AGENTS = {
    "sac": (SACOptions(critics=2), SIMBA, STATE, torch.float64),
    "ddpg": (SIMBA_DDPG, SIMBA, STATE, torch.float64),
    # Its frames are float32.
    "drq": (DRQ_DDPG, DRQ, PIXELS, torch.float32),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("agent", AGENTS)
def test_whole_updates_of_an_agent(agent, product):
    options, network, spec, dtype = AGENTS[agent]
    rel, atol = (1e-10, 1e-11) if dtype is torch.float64 else (1e-3, 1e-5)
    found = []
    for execution in (Masked(), Sparse(product=product)):
        one = learner(execution, options, network, dtype)
        torch.manual_seed(4)
        for update in range(20):
            batch = make_batch(spec, seed=update)
            one.update(batch.double() if dtype is torch.float64 else batch)
        found.append(one)
    masked, sparse = found
    assert sparse.means.take() == pytest.approx(masked.means.take(), rel=rel, abs=atol)
    compact = 0
    for name, parameter in masked.loss.named_parameters():
        got = dense(sparse.loss, name)
        torch.testing.assert_close(got, parameter, rtol=0, atol=atol, msg=name)
        compact += compact_owner(sparse.loss, name) is not None
    assert compact > 5
    assert any(
        compact_owner(sparse.loss, n)
        for n, _ in sparse.loss.target_critic.named_parameters(prefix="target_critic")
    )


def test_targets_share_patterns_and_average_compactly():
    one = learner(Sparse(), SACOptions(critics=2), SIMBA, torch.float32)
    online, target = (
        [m for m in module.modules() if type(m) is SparseLinear]
        for module in (one.loss.critic, one.loss.target_critic)
    )
    assert len(online) == 8
    assert all(a.pattern is b.pattern for a, b in zip(online, target, strict=True))
    assert all(a.pattern is not b.pattern for a, b in pairwise(online))
    (step,) = [s for s in one.steps if s.phase.name == "critic"]
    one.update(make_batch(STATE))
    for layer in online:
        moments = step.optimizer.state[layer.weight]
        assert moments["exp_avg"].shape == layer.weight.shape == (layer.pattern.nnz,)


@pytest.mark.parametrize("agent", ["sac", "ddpg"])
def test_the_actor_phase_computes_no_weight_gradient_of_the_critic(agent, monkeypatch):
    options, network, *_ = AGENTS[agent]
    one = learner(Sparse(), options, network, torch.float32)
    critics_own = {m.pattern.number for m in one.loss.critic.modules() if type(m) is SparseLinear}
    asked = []
    right = native_product.backward if native_product.available() is None else None
    if right is None:
        pytest.skip("kernels were not built")

    def record(layers, *args, need, **rest):
        asked.extend(
            (layer.number in critics_own, wanted)
            for layer, wanted in zip(layers, need, strict=True)
        )
        return right(layers, *args, need=need, **rest)

    monkeypatch.setattr(native_product, "backward", record)
    (step,) = [s for s in one.steps if s.phase.name == "actor"]
    step(one.loss.prepare(make_batch(STATE)))
    assert {(True, False), (False, True)} == set(asked)
    assert all(p.requires_grad for p in one.loss.critic.parameters())
    assert all(p.grad is None for p in one.loss.parameters())


@pytest.mark.parametrize("layer_norm", [False, True])
def test_mlp_trunks_run_fused_to_the_same_numbers(layer_norm, monkeypatch):
    found = []
    for execution in (Masked(), Sparse(product="densified")):
        torch.manual_seed(0)
        options = MlpOptions(MlpHidden((9, 8, 7)), MlpHidden((9, 8, 7)), layer_norm=layer_norm)
        actor = MlpNetworks(options, NetworkContext(STATE)).actor({"mean": 3, "scale": 3})
        masks = Some().draw(dict(actor.named_parameters()), torch.Generator().manual_seed(1))
        found.append(execution.attach(actor, masks))
    from plugins.execution.linear import dense_product

    runs = []
    right = dense_product.forward
    monkeypatch.setattr(
        dense_product,
        "forward",
        lambda layers, *a, **o: runs.append(len(layers)) or right(layers, *a, **o),
    )
    x = torch.randn(4, 5)
    torch.testing.assert_close(found[1](x), found[0](x))
    assert runs == ([1, 1, 1, 1, 1] if layer_norm else [3, 1, 1])
    assert [n for n, _ in found[0].named_parameters()] == [
        n for n, _ in found[1].named_parameters()
    ]
