"""Whole updates of sparse agents: compiled, and on a device that only claims to be there."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from core.agent.learner import Learner
from core.api import NetworkContext, OptimizerContext, dense
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.sparse import Sparse
from plugins.losses.options import SACOptions
from plugins.networks import register_networks
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import (
    CPU,
    DRQ,
    DRQ_DDPG,
    PIXELS,
    SIMBA,
    STATE,
    build,
    make_batch,
    make_loss,
)
from tests.support.fake_cuda import (
    CUDA,
    LAZY,
    claim_batch,
    claim_module,
    fake_device,
    without_backward,
)

torch.set_num_threads(1)
SAC = SACOptions(critics=2)


class Some:
    target = "all"

    def draw(self, parameters, generator):
        return {
            n: torch.rand(p.shape, generator=generator) < 0.4
            for n, p in parameters.items()
            if p.ndim > 1
        }


def test_a_compiled_update_gives_the_same_numbers():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        execution = Sparse()
        loss = make_loss(SAC, SIMBA, [Some()], execution=execution)
        # A large eps: with the usual one, Adam's first steps turn rounding into signs.
        factory = build(
            register_optimizers(), AdamWOptions(lr=1e-3, eps=1e-3), OptimizerContext(CPU)
        )
        learner = Learner(loss, factory, execution, CPU)
        if compiled:
            learner.compile("aot_eager")
        torch.manual_seed(4)
        for update in range(3):
            learner.update(make_batch(STATE, seed=update))
        found.append((loss, learner.means.take()))
    (plain, plain_means), (loss, means) = found
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert not torch._dynamo.utils.counters["graph_break"]
    assert means == pytest.approx(plain_means, rel=1e-4, abs=1e-5)
    for name, _ in plain.named_parameters():
        torch.testing.assert_close(dense(loss, name), dense(plain, name), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


class ClaimedParts:
    """Networks made sparse for real, then claimed: attaching is set-up, and looks at masks."""

    def __init__(self, mode, networks):
        self.mode, self.networks = mode, networks

    def normaliser(self):
        return None

    def encoder(self):
        return self._claimed("encoder")

    def actor(self, heads):
        return self._claimed("actor")

    def critic(self, members, outputs=1, *, action=True):
        return self._claimed("critic")

    def _claimed(self, role):
        module = self.networks[role]
        return module and claim_module(self.mode, module)


@pytest.mark.parametrize("device", [LAZY, CUDA], ids=["whole update", "cuda, no backward"])
@pytest.mark.parametrize(
    ("options", "network", "spec"),
    [(SAC, SIMBA, STATE), (DRQ_DDPG, DRQ, PIXELS)],
    ids=["sac", "drq"],
)
def test_an_update_stays_on_its_device_without_a_sync(options, network, spec, device):
    made = build(register_networks(), network, NetworkContext(spec))
    heads = (
        {"mean": spec.action, "log_std": spec.action} if options is SAC else {"action": spec.action}
    )
    networks = {"encoder": made.encoder(), "actor": made.actor(heads), "critic": made.critic(2)}
    execution, generator = Sparse(online=False), torch.Generator().manual_seed(0)
    for role in ("actor", "critic"):
        masks = Some().draw(dict(networks[role].named_parameters()), generator)
        networks[role] = execution.attach(networks[role], masks, role)
    real = make_batch(spec)
    no_backward = without_backward() if device == CUDA else nullcontext()
    with fake_device(device) as mode, no_backward:
        parts = ClaimedParts(mode, networks)
        loss = make_loss(options, network, device=device, parts=parts, execution=execution)
        assert any(type(module) is SparseLinear for module in loss.target_critic.modules())
        make = build(register_optimizers(), AdamWOptions(), OptimizerContext(torch.device("cuda")))
        learner = Learner(loss, make, execution, device)
        batch = claim_batch(mode, real)
        for _ in range(3):
            learner.update(batch)
        assert loss.act(batch["observation"], explore=True).device == device
        tensors = [*loss.parameters(), *learner.step(batch).values()]
        for step in learner.steps:
            if step.optimizer is not None:
                tensors += [slot for s in step.optimizer.state.values() for slot in s.values()]
        assert {tensor.device for tensor in tensors} == {device}
