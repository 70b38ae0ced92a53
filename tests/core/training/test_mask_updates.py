"""Masks change in training: what carries over, what starts at zero, how many live."""

from __future__ import annotations

import pytest
import torch

from core.training.mask_updates import MaskUpdates
from tests.support.changing import (
    FRAMES,
    agent_with,
    assert_zero_outside,
    change,
    masks_of,
    scheme,
    snapshot,
)
from tests.support.intervened import KINDS, train
from tests.support.twins import BACKENDS, twins

# --- what carries over ------------------------------------------------------------------

STATES = {"adamw": {"exp_avg", "exp_avg_sq"}, "obgd": {"trace"}, "adaptive_obgd": {"trace"}}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
@pytest.mark.parametrize("kind", KINDS)
def test_survivors_keep_every_bit_and_what_grows_starts_at_zero(kind, name, backend):
    agent = agent_with(kind, backend, scheme(name))
    train(agent, 3)
    before, old = snapshot(agent), masks_of(agent)
    kinds = {what for _, _, what in before}
    states = {what for what in kinds if not what.startswith("weight")}
    assert states >= STATES[KINDS[kind][5]]
    if agent.loss.targets:
        assert "weight.1" in kinds
    report = change(agent, 200)
    after, new = snapshot(agent), masks_of(agent)
    assert before.keys() == after.keys()
    grown = dropped = 0
    for (role, parameter, what), value in after.items():
        was, now = old[role, parameter], new[role, parameter]
        # Exactly: what lived on is as it was, all else is zero.
        assert torch.equal(value, before[role, parameter, what] * (was & now)), (parameter, what)
    for place, now in new.items():
        grown += int((now & ~old[place]).sum())
        dropped += int((old[place] & ~now).sum())
    assert dropped
    assert bool(grown) == (name != "gmp")
    for label, count in (("grown", grown), ("dropped", dropped)):
        logged = [value for key, value in report.items() if key.startswith(f"mask/{label}/")]
        assert sum(logged) == count
    for role, masks in agent.masks.masks.items():
        kept = sum(masks.kept(n) for n in masks)
        total = sum(masks.shape(n).numel() for n in masks)
        assert report[f"mask/density/{role}"] == kept / total
    train(agent, 3, seed=2)
    assert_zero_outside(agent)
    trained = snapshot(agent)
    moved = sum(
        int((trained[role, parameter, "weight.0"] * (now & ~old[role, parameter])).count_nonzero())
        for (role, parameter), now in new.items()
    )
    assert moved >= 0.5 * grown  # what grew learns


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
@pytest.mark.parametrize("kind", ["sac", "drq", "obgd"])
def test_the_density_holds_at_every_step(kind, name, backend):
    agent = agent_with(kind, backend, scheme(name))
    drawn = live(agent)
    changes = 0
    for frame in range(20, FRAMES + 20, 20):
        before = live(agent)
        if change(agent, frame):
            changes += 1
            # A change moves weights, or removes some as its ramp says; the count is exact.
            progress = changes / 8
            share = {p: gmp_density(agent, p[0], progress) for p in drawn}
            ramp = {p: max(1, round(share[p] * size)) for p, size in drawn.items()}
            assert live(agent) == (ramp if name == "gmp" else drawn)
        else:
            assert live(agent) == before
        counted = live(agent)
        train(agent, 1, seed=frame)
        assert live(agent) == counted
        assert_zero_outside(agent)
    assert changes == {"set": 9, "rigl": 8, "gmp": 8}[name]


def live(agent):
    return {place: int(mask.sum()) for place, mask in masks_of(agent).items()}


def gmp_density(agent, role, progress):
    """Half of all parameters of the network go, all of them from the kernels, evenly."""
    sizes = {name: shape.numel() for name, shape in agent.parts.initial[role].items()}
    kernels = sum(sizes[name] for name in agent.masks.masks[role])
    budget = sum(size - size // 2 for size in sizes.values()) - (sum(sizes.values()) - kernels)
    final = budget / kernels
    return final + (1 - final) * (1 - progress) ** 3


@pytest.mark.parametrize("name", ["set", "rigl", "gmp"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_same_whether_removed_weights_are_stored_or_not(kind, name):
    pair = twins(kind)
    for agent in pair:
        agent.mask_updates = MaskUpdates(dict.fromkeys(agent.parts.modules, scheme(name)), seed=1)
    for frame in (200, 300, 400):
        reports = [change(agent, frame) for agent in pair]
        assert reports[0] == reports[1]
        masked, sparse = map(masks_of, pair)
        assert all(torch.equal(masked[place], sparse[place]) for place in masked)
        for agent in pair:
            train(agent, 2, seed=frame)
    one, other = map(snapshot, pair)
    for place, value in one.items():
        torch.testing.assert_close(value, other[place], rtol=1e-3, atol=1e-5, msg=str(place))
