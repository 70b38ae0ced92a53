"""A compiled update does what the plain one does."""

from __future__ import annotations

import pytest
import torch

from plugins.losses.options import SACOptions
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import (
    DRQ,
    DRQ_DDPG,
    PIXELS,
    SIMBA,
    SIMBA_DDPG,
    STATE,
    make_batch,
    make_learner,
)

AGENTS = {
    "sac": (SACOptions(critics=2), SIMBA, STATE),
    "ddpg": (SIMBA_DDPG, SIMBA, STATE),
    "drq": (DRQ_DDPG, DRQ, PIXELS),
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compiled code draws noise as plain code does; nothing is left for other tests."""
    from torch._inductor import config

    torch.set_num_threads(1)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with config.patch(fallback_random=True):
        yield
    torch._dynamo.reset()


# Inductor's C++ takes many seconds to build; aot_eager traces and differentiates alike.
@pytest.mark.parametrize(
    ("agent", "backend"), [("sac", "aot_eager"), ("drq", "aot_eager"), ("ddpg", "inductor")]
)
def test_a_compiled_update_gives_the_same_numbers(agent, backend):
    options, network, spec = AGENTS[agent]
    # A large eps: with the usual one, Adam's first steps turn rounding into signs.
    learners = [
        make_learner(options, network, optimizer=AdamWOptions(lr=1e-3, eps=1e-3)) for _ in "ab"
    ]
    learners[1].compile(backend)
    ends = []
    for learner in learners:
        torch.manual_seed(4)
        for update in range(3):
            learner.loss.set_progress(1000 * update)
            learner.update(make_batch(spec, seed=update))
        ends.append((learner.loss.state_dict(), learner.means.take()))
    (plain, plain_means), (compiled, compiled_means) = ends
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert not torch._dynamo.utils.counters["graph_break"]
    assert compiled_means == pytest.approx(plain_means, rel=1e-4, abs=1e-5)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert all(p.grad is None for p in learners[1].loss.parameters())
    assert all(p.requires_grad for p in learners[1].loss.critic.parameters())


def leaves(node, found):
    """Parameters that a backward through ``node`` would reach."""
    if node is None:
        return found
    if hasattr(node, "variable"):
        found.add(id(node.variable))
    for following, _ in node.next_functions:
        leaves(following, found)
    return found


def test_a_compiled_actor_phase_reaches_the_actor_alone():
    learner = make_learner(SACOptions(critics=2), SIMBA)
    learner.compile("aot_eager")
    (step,) = [step for step in learner.steps if step.phase.name == "actor"]
    objective, _ = step._run(learner.loss.prepare(make_batch(STATE)))
    assert leaves(objective.grad_fn, set()) == {id(p) for p in learner.loss.actor.parameters()}
