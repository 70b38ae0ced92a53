"""What a scheme of changing masks is shown, asked and refused, and what is saved of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.agent.masks import PackedMasks
from core.agent.state import agent_state, restore_agent
from core.api import BatchOptions
from core.training.mask_updates import MaskUpdates, View
from tests.support.changing import agent_with, change, masks_of, scheme, view_of
from tests.support.intervened import make_agent, train
from tests.support.twins import BACKENDS, same
from tests.support.views import make_view


def test_a_network_is_asked_about_what_the_networks_before_it_became():
    """The encoder's masks change first: the critic's gradients are of its new features."""
    agent = agent_with("drq", "masked", scheme("rigl"))
    train(agent, 3)
    frame = 200
    probe = view_of(agent, frame)
    list(agent.mask_updates.change(["encoder"], probe))
    fresh = view_of(agent, frame)
    options = BatchOptions(size=32)
    assert torch.equal(
        probe.batch(options).batch["features"], fresh.batch(options).batch["features"]
    )


# --- when, and from what state ----------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["sac", "drq", "obgd", "q"])
def test_saved_in_the_middle_and_restored_it_goes_on_alike(kind, backend):
    def course(agent, frames):
        for frame in frames:
            change(agent, frame)
            train(agent, 1, seed=frame)
        return agent_state(agent) | {"mask_updates": agent.mask_updates.state_dict()}

    undisturbed = agent_with(kind, backend, scheme("rigl"))
    course(undisturbed, range(50, 450, 50))
    saved = course(undisturbed, [450])
    later = agent_with(kind, backend, scheme("rigl"), seed=8)
    restore_agent(later, saved)
    later.updates.load_state_dict(saved["mask_updates"])
    rest = range(500, 900, 50)
    assert same(course(undisturbed, rest), course(later, rest))


def test_each_network_has_its_own_clock():
    class Unready:
        """Transitions that are not there yet."""

        def __len__(self):
            return 0

        sample = None

    agent = agent_with("sac", "masked", scheme("rigl"))
    agent.mask_updates = MaskUpdates({"actor": scheme("set"), "critic": scheme("rigl")}, seed=1)
    before = masks_of(agent)
    probe = make_view(agent, data=Unready(), frame=100)
    reports = list(agent.mask_updates.change(agent.mask_updates.due(100), probe))
    assert [list(report) for report in reports] == [
        [f"mask/{label}/actor" for label in ("density", "grown", "dropped")]
    ]
    changed = {
        role for (role, name), m in masks_of(agent).items() if not m.equal(before[role, name])
    }
    assert changed == {"actor"}
    assert agent.mask_updates.due(101) == ["critic"]  # still due
    assert agent.mask_updates.state_dict()["last"] == {"actor": 100, "critic": -1}
    assert agent.mask_updates.due(200) == ["actor", "critic"]


def test_schemes_that_draw_once_are_never_asked():
    agent = make_agent("sac")
    updates = MaskUpdates(agent.parts.schemes, seed=1)
    assert updates.schemes == {}
    assert updates.due(10**9) == []


class Scripted:
    """Answers what it is told to."""

    target, batch = "all", None

    def __init__(self, answer):
        self.answer = answer

    def draw(self, parameters, generator):
        return {
            n: torch.rand(p.shape, generator=generator) < 0.5
            for n, p in parameters.items()
            if p.ndim >= 2
        }

    def due(self, last, frame):
        return frame > last

    def change(self, view):
        return self.answer(view)


def test_masks_that_stay_cost_no_backend_anything(monkeypatch):
    agent = agent_with("sac", "masked", Scripted(lambda view: dict(view.masks)))
    monkeypatch.setattr(agent.learner.execution, "remask", None)
    report = change(agent, 5)
    assert report["mask/grown/critic"] == report["mask/dropped/critic"] == 0
    assert report["mask/density/critic"] == pytest.approx(0.5, abs=0.1)


def test_what_is_left_out_stays_and_what_had_no_mask_may_get_one():
    name = "trunk.input.bias"

    def answer(view):
        return {name: torch.arange(len(view.weight(name))) % 2 == 0}

    agent = agent_with("sac", "masked", Scripted(lambda v: answer(v) if v.role == "actor" else {}))
    before = masks_of(agent)
    change(agent, 5)
    after = masks_of(agent)
    assert after.keys() - before.keys() == {("actor", name)}
    assert all(torch.equal(after[place], mask) for place, mask in before.items())
    train(agent, 3)
    assert not agent.parts.modules["actor"].get_parameter(name)[1::2].any()


WRONG: dict[str, tuple[Any, str]] = {
    "another shape": (lambda v: {"trunk.input.weight": torch.ones(2, 2) > 0}, "does not fit"),
    "another name": (lambda v: {"trunk": torch.ones(2, 2) > 0}, "does not fit"),
    "another type": (lambda v: {"trunk.input.weight": torch.ones(8, 5)}, "of type bool"),
    "a fault of its own": (lambda v: 1 / 0, "division"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_mask_is_refused_and_changes_nothing(case):
    answer, message = WRONG[case]
    agent = agent_with("sac", "masked", Scripted(lambda v: answer(v) if v.role == "actor" else {}))
    train(agent, 1)
    before, state = agent_state(agent), torch.get_rng_state()
    with pytest.raises((ValueError, ZeroDivisionError), match=message) as caught:
        change(agent, 77)
    assert caught.value.__notes__ == ["while the masks of 'actor' were to change at frame 77"]
    assert same(before, agent_state(agent))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_a_scheme_sees():
    seen = []
    agent = agent_with("sac", "sparse", Scripted(lambda view: seen.append(view) or {}))
    train(agent, 2)
    change(agent, 40)
    assert {view.role for view in seen} == {"actor", "critic"}
    for view in seen:
        assert isinstance(view, View)
        assert view.frame == 40
        assert dict(view.shapes) == dict(agent.parts.initial[view.role])
        for name, mask in view.masks.items():
            assert view.weight(name).shape == mask.shape == view.shapes[name]
            assert not (view.weight(name) * ~mask).any()
            assert not view.weight(name).requires_grad
    drawn = {view.role: torch.rand(4, generator=view.generator) for view in seen}
    assert not torch.equal(drawn["actor"], drawn["critic"])
    again = View("actor", agent.mask_updates.schemes["actor"], view_of(agent, 40))
    assert torch.equal(torch.rand(4, generator=again.generator), drawn["actor"])
    later = View("actor", agent.mask_updates.schemes["actor"], view_of(agent, 41))
    assert not torch.equal(torch.rand(4, generator=later.generator), drawn["actor"])


def test_what_a_scheme_remembers_is_saved():
    class Counting(Scripted):
        count = 0

        def change(self, view):
            self.count += 1
            return {}

        def state_dict(self):
            return {"count": self.count, "scores": torch.ones(2)}

        def load_state_dict(self, state):
            self.count = state["count"]

    agent = agent_with("sac", "masked", Counting(None))
    agent.mask_updates = MaskUpdates(
        {"critic": Counting(None), "actor": Scripted(lambda v: {})}, seed=1
    )
    change(agent, 5)
    change(agent, 6)
    saved = agent.mask_updates.state_dict()
    assert saved["schemes"].keys() == {"critic"}
    later = MaskUpdates({"critic": Counting(None), "actor": Scripted(lambda v: {})}, seed=1)
    later.load_state_dict(saved)
    assert later.schemes["critic"].count == 2
    assert later.due(6) == []
    assert later.due(7) == ["critic", "actor"]


def test_masks_are_kept_in_bits():
    agent = agent_with("sac", "masked", scheme("set"))
    change(agent, 100)
    assert all(isinstance(masks, PackedMasks) for masks in agent.masks.masks.values())
