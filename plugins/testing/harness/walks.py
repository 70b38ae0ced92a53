"""Ways through an environment, for its suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from core.agent.randomness import seed_everything, untouched_randomness

if TYPE_CHECKING:
    from torch import Tensor

FLAGS = ("done", "terminated", "truncated")
NEXT = ("observation", "reward", *FLAGS)


@contextmanager
def closing(*environments: Any) -> Iterator[tuple[Any, ...]]:
    """The environments, closed afterwards."""
    try:
        yield environments
    finally:
        for environment in environments:
            environment.close(raise_if_closed=False)


def actions(environment: Any, steps: int, seed: int = 0) -> list[Tensor]:
    """Random actions of its specification, by this seed alone."""
    with untouched_randomness():
        seed_everything(seed)
        return [environment.action_spec.rand() for _ in range(steps)]


def walk(environment: Any, taken: Sequence[Tensor], root: Any = None) -> tuple[list[Any], Any]:
    """What each action led to, copied, and the root after the last; one reused action tensor.

    A policy may reuse its tensor too, so that an environment must copy what it keeps.
    """
    reused = torch.empty_like(taken[0])
    root = environment.reset() if root is None else root
    steps = []
    for action in taken:
        stepped, root = environment.step_and_maybe_reset(root.set("action", reused.copy_(action)))
        steps.append(stepped.clone())
    return steps, root


def apart(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Where two walks differ first, in words; empty if they are the same bit for bit."""
    for k, (first, second) in enumerate(zip(one, other, strict=True)):
        for key in ("observation", "is_init", *(("next", name) for name in NEXT)):
            if not torch.equal(first.get(key), second.get(key)):
                name = key if isinstance(key, str) else f"next {key[1]}"
                return f"'{name}' of step {k}"
    return ""


def episodes(steps: Sequence[Any], index: int) -> Iterator[list[Any]]:
    """The whole episodes of one environment of a walk, from its first step on."""
    episode: list[Any] = []
    for step in steps:
        episode.append(step[index])
        if bool(step[index].get(("next", "done"))):
            yield episode
            episode = []
