"""Interventions give the very same agent whether removed weights are stored or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.agent.state import agent_state, restore_agent
from core.api import BatchOptions
from core.api.layers import compact_layers
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.interventions.options import PeriodicResetOptions, ReDoOptions, ShrinkAndPerturbOptions
from plugins.interventions.wiring import Wiring, hidden_layers
from tests.support.intervened import KINDS, intervene, intervention, train
from tests.support.twins import agent_of, dense, same, twins

CASES: dict[str, tuple[str, Any]] = {
    "reset": ("periodic_reset", PeriodicResetOptions(every=1)),
    "reset of last layers": ("periodic_reset", PeriodicResetOptions(every=1, last=2)),
    "reset without moments": ("periodic_reset", PeriodicResetOptions(every=1, optimizer=False)),
    "shrink and forget": ("shrink_and_perturb", ShrinkAndPerturbOptions(every=1, optimizer=True)),
    "redo": ("redo", ReDoOptions(every=1, tau=0.6, batch=BatchOptions(size=64))),
}


PAIRS = [("sac", case) for case in CASES]
PAIRS += [(kind, "redo") for kind in KINDS if kind != "sac"]
PAIRS += [("drq", "reset of last layers"), ("obgd", "reset"), ("adaptive", "shrink and forget")]


@pytest.mark.parametrize(("kind", "case"), PAIRS)
def test_the_same_agent_comes_out_and_both_go_on_alike(kind: str, case: str) -> None:
    name, options = CASES[case]
    masked, sparse = pair = twins(kind)
    before = agent_state(sparse)["learner"]
    reports = [intervene(agent, intervention(agent, name, options)) for agent in pair]
    assert reports[0] == reports[1]
    assert sum(reports[0].values()) > 0
    moved = agent_of(kind, "sparse", seed=5)
    restore_agent(moved, agent_state(masked))
    assert same(agent_state(moved), agent_state(sparse))
    assert not same(agent_state(sparse)["learner"], before)
    for agent in pair:
        train(agent, 2, seed=3)
    a, b = map(dense, pair)
    for entry in a:
        torch.testing.assert_close(a[entry], b[entry], rtol=1e-4, atol=1e-6, msg=entry)


@pytest.mark.parametrize(
    ("kind", "case"),
    [("obgd", "reset"), ("adaptive", "shrink and forget"), ("adaptive", "redo"), ("q", "redo")],
)
def test_rows_see_what_changed(kind: str, case: str) -> None:
    name, options = CASES[case]
    ends = []
    for fuse in (True, False):
        agent = agent_of(kind, "sparse", fuse=fuse)
        assert (agent.learner._run != agent.learner.step) == fuse
        train(agent, 3)
        report = intervene(agent, intervention(agent, name, options))
        train(agent, 3, seed=2)
        ends.append((report, dense(agent), agent_state(agent)["learner"]["optimizers"]))
    (report, weights, moments), (other_report, others, other_moments) = ends
    assert report == pytest.approx(other_report)
    for entry in weights:
        torch.testing.assert_close(weights[entry], others[entry], rtol=1e-4, atol=1e-6, msg=entry)
    for phase, state in moments.items():
        for index, entries in state["state"].items():
            for key, value in entries.items():
                other = other_moments[phase]["state"][index][key]
                torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("kind", ["sac", "drq", "cnn"])
def test_units_are_found_through_compact_layers(kind: str) -> None:
    found = []
    for agent in twins(kind):
        inputs = {
            role: intervention(agent, *CASES["redo"])._wirings[role] for role in agent.parts.modules
        }
        found.append([(x.role, x.path, x.norms, x.readers) for x in hidden_layers(inputs)])
    assert found[0] == found[1]
    assert any(isinstance(x, SparseLinear) for x in compact_layers(agent.loss).values())


def test_a_trace_takes_compact_layers_one_by_one() -> None:
    _, sparse = twins("sac")
    wiring = Wiring(sparse.parts.modules["actor"], (torch.zeros(1, 5),))
    called = [str(node.target) for node in wiring.graph.nodes if node.op == "call_module"]
    assert [name for name in called if "blocks" in name] == [
        f"trunk.blocks.0.{part}" for part in ("norm", "expand", "activation", "contract")
    ]
