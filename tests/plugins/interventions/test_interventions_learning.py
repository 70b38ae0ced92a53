"""Agents go on learning after an intervention, by whatever path, and from a checkpoint."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from core.api import BatchOptions
from plugins.interventions.options import PeriodicResetOptions, ReDoOptions, ShrinkAndPerturbOptions
from tests.plugins.losses.fused_lives import assert_same_life, live
from tests.support import intervened as t

OPTIONS = {
    "periodic_reset": PeriodicResetOptions(every=10),
    "shrink_and_perturb": ShrinkAndPerturbOptions(every=10, shrink=0.6, perturb=0.5),
    "redo": ReDoOptions(every=10, tau=0.7, batch=BatchOptions(size=64)),
}


@pytest.mark.parametrize("kind", ["sac", "ddpg", "drq", "obgd", "adaptive", "q", "cnn"])
def test_an_agent_goes_on_learning_and_resumes(kind):
    agent, resumed = t.make_agent(kind), t.make_agent(kind)
    t.train(agent, 3)
    for name, options in OPTIONS.items():
        assert sum(t.intervene(agent, t.intervention(agent, name, options)).values()) > 0
    before = t.everything(agent)
    resumed.learner.load_state_dict(deepcopy(agent.learner.state_dict()))
    for each in (agent, resumed):
        t.train(each, 4, seed=3)
    after, other = t.everything(agent), t.everything(resumed)
    assert all(torch.equal(after[key], other[key]) for key in after)
    assert all(value.isfinite().all() for value in after.values())
    for role, module in agent.parts.modules.items():
        for key, _ in module.named_parameters():
            full = f"loss.{role}.{key}"
            if not full.endswith("bias") and "norm" not in full:
                assert not torch.equal(after[full], before[full]), full
    t.assert_masked(agent)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("obgd", "periodic_reset"), ("q", "redo"), *(("adaptive", n) for n in OPTIONS)],
)
def test_fused_updates_follow_an_intervention(kind, name):
    fused, plain = t.make_agent(kind, fuse=True), t.make_agent(kind)
    if fused.learner._run == fused.learner.step:
        pytest.skip("the kernels for one observation are not built")
    live(fused.learner, 20)
    report = t.intervene(fused, t.intervention(fused, name, OPTIONS[name]))
    assert sum(report.values()) > 0
    state = deepcopy(fused.learner.state_dict())
    plain.learner.load_state_dict(state | {"means": plain.learner.means.state_dict()})
    assert_same_life(plain.learner, fused.learner, 30)
    t.assert_masked(fused)
