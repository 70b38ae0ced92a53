"""Where transitions go in a ring of frames, and what a batch reads around its starts.

Pure functions. ``N`` environments, ``T`` steps, ``B`` starts, ``K`` frames around a start.
A *slot* is a frame's place among all rings: ``environment * frames + frame % frames``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Placement(NamedTuple):
    """Where a block of transitions goes; frames count from the run's start, without wrapping."""

    frames: Ints
    """``[N, T]``: the frame of each transition's observation; the next frame holds the next one."""
    steps: Ints
    """``[N, T]``: transitions before it in its episode."""
    head: Ints
    """``[N]``: the frame that the following transition starts from."""
    step: Ints
    """``[N]``: the following transition's ``steps``; 0 where an episode begins."""


def place(ended: Bools, head: Ints, step: Ints) -> Placement:
    """Give frames to a block of transitions; every episode end takes one more frame.

    ``ended`` ``[N, T]``: the episode ended after that transition; ``head`` and ``step``
    ``[N]``: as the placement before this one left them.
    """
    time = np.arange(ended.shape[1])
    frames, steps = head[:, None] + time, step[:, None] + time
    if ended[:, :-1].any():
        earlier: Ints = np.cumsum(ended, axis=1) - ended
        last_end = np.maximum.accumulate(np.where(ended, time, -1), axis=1)
        frames += earlier
        steps = np.where(earlier > 0, time - 1 - np.roll(last_end, 1, axis=1), steps)
    final = ended[:, -1]
    return Placement(frames, steps, frames[:, -1] + 1 + final, (steps[:, -1] + 1) * ~final)


def slots_of(frames: Ints, ring: int) -> Ints:
    """The slots of ``frames`` ``[N, T]``."""
    slots: Ints = frames % ring + np.arange(len(frames))[:, None] * ring
    return slots


def around(start: Ints, offset: Ints, ring: int) -> Ints:
    """Slots ``offset`` frames from ``start``, round each start's own ring; shapes broadcast."""
    frame = start % ring
    return start - frame + (frame + offset) % ring


def stack_slots(start: Ints, age: Bytes, frame_stack: int, ring: int) -> Ints:
    """Slots of the frames stacked at ``start`` ``[B]``, oldest first: ``[B, frame_stack]``.

    ``age`` ``[B]`` is the number of earlier frames of the same episode, so an episode's first
    frame stands in for those before it.
    """
    back = np.minimum(np.arange(frame_stack - 1, -1, -1), age[:, None])
    return around(start[:, None], -back, ring)


def n_step(reward: Floats, end: Bytes, gamma: float) -> tuple[Floats, Ints, Floats]:
    """Discounted sums over windows of ``n`` transitions that stop where an episode ends.

    From the window's last transition back to its first: the sum is ``r + gamma * later``,
    the discount of the value after it is ``gamma * later``, and where an episode ended
    ``later`` is a sum of 0, and a discount of 1 at a time limit, 0 at a true termination.

    Args:
        reward: ``[n, B]``; what lies past an episode's end is ignored, whatever it is.
        end: ``[n, B]``, 0: goes on, 1: ended at a time limit, 2: truly terminated.
        gamma: discount per agent step.

    Returns:
        The sum ``[B]``; the number of rewards summed ``[B]``; the discount ``[B]``.
    """
    factor = np.float32(gamma)
    total, discount = reward[-1], factor * (end[-1] != 2)
    count = np.ones(len(total), dtype=np.int64)
    for r, e in zip(reward[-2::-1], end[-2::-1], strict=True):
        on = e == 0
        total = r + factor * np.where(on, total, np.float32(0))
        discount = factor * np.where(on, discount, e == 1)
        count = 1 + count * on
    return total, count, discount


def end_codes(done: Bools, terminated: Bools) -> Bytes:
    """The ``end`` column: 0 goes on, 1 ended, 2 truly terminated."""
    return done.astype(np.uint8) + (done & terminated).astype(np.uint8)
