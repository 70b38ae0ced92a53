"""The last transitions collected, against a plain list of them."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from core.training.recent_transitions import RecentTransitions

GAMMA = 0.9


def block(environments: int, steps: int, start: int) -> TensorDict:
    """Transitions whose numbers say which they are."""
    size = [environments, steps]
    number = torch.arange(start, start + environments * steps).reshape(size).float()
    ended = (number % 3 == 0).unsqueeze(-1)
    following = {
        "observation": number.unsqueeze(-1).expand(*size, 2) + 0.5,
        "reward": -number.unsqueeze(-1),
        "done": ended | (number % 5 == 0).unsqueeze(-1),
        "terminated": ended,
        "truncated": ~ended,
    }
    return TensorDict(
        {
            "observation": number.unsqueeze(-1).expand(*size, 2).clone(),
            "action": number.unsqueeze(-1).expand(*size, 3).clone(),
            "next": TensorDict(following, size),
        },
        size,
    )


def in_order(transitions: TensorDict) -> list[TensorDict]:
    """One by one, as they happened: a step of every environment, then the next."""
    count, steps = transitions.batch_size
    return [transitions[i, t] for t in range(steps) for i in range(count)]


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 12),
    environments=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
)
def test_holds_the_last_ones(size: int, environments: int, lengths: list[int]) -> None:
    recent, wanted = RecentTransitions(size, GAMMA), []
    for steps in lengths:
        transitions = block(environments, steps, len(wanted))
        wanted += [t.clone() for t in in_order(transitions)]
        recent.extend(transitions)
        assert len(recent) == min(size, len(wanted))
        transitions.zero_()  # a collector may write over what it gave
    restored = RecentTransitions(size, GAMMA)
    restored.load_state_dict(recent.state_dict())
    for held in (recent, restored):
        check(held.take(len(held)), wanted[-len(held) :])
        check(held.take(1), wanted[-1:])


def check(batch: Any, wanted: list[TensorDict]) -> None:
    for i, transition in enumerate(wanted):
        for key in ("observation", "action", ("next", "observation"), ("next", "reward")):
            assert torch.equal(batch[key][i], transition[key])
        assert torch.equal(batch["next", "done"][i], transition["next", "done"])
        alive = 0.0 if transition["next", "terminated"].item() else GAMMA
        assert torch.allclose(batch["next", "discount"][i], torch.tensor([alive]))


def test_nothing_is_kept_for_nobody() -> None:
    recent = RecentTransitions(0, GAMMA)
    recent.extend(block(1, 4, 0))
    assert len(recent) == 0
    assert recent.state_dict()["rings"] == {}


def test_another_size_starts_afresh() -> None:
    recent, other = RecentTransitions(4, GAMMA), RecentTransitions(5, GAMMA)
    recent.extend(block(1, 4, 0))
    other.load_state_dict(recent.state_dict())
    assert len(other) == 0
