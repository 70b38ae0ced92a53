"""When a diagnostic is due, and which transitions are kept for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import BatchOptions
from core.training.diagnostics import DiagnosticRunner


class Stub:
    batch: BatchOptions | None = None

    def __init__(self, every: int | None) -> None:
        self.every = every
        self.asked: list[int] = []

    def measure(self, probe: Any) -> dict[str, float]:
        self.asked.append(probe.frame)
        return {}


class Moment:
    def __init__(self, frame: int) -> None:
        self.frame = frame

    def has(self, options: Any) -> bool:
        return True


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60), st.one_of(st.none(), st.integers(1, 90))
)
def test_due_is_the_first_and_each_multiple_passed(gaps: list[int], every: int | None) -> None:
    stub = Stub(every)
    runner = DiagnosticRunner({"stub": stub}, [], seed=0)
    frames = np.cumsum(gaps).tolist()
    for frame in frames:
        due = runner.due(frame)
        if due:
            runner.measure(due, Moment(frame))  # type: ignore[arg-type]
    wanted, last = [], None
    for frame in frames:
        passed = last is None or (every is not None and frame // every > last // every)
        if passed:
            wanted.append(frame)
            last = frame
    assert stub.asked == wanted
    runner.measure(runner.due(frames[-1], last=True), Moment(frames[-1]))  # type: ignore[arg-type]
    assert stub.asked[-1] == frames[-1]
    assert len(stub.asked) == len(set(stub.asked))


@settings(deadline=None)
@given(
    block=st.integers(1, 9),
    every=st.integers(1, 60),
    size=st.integers(1, 12),
    repeat=st.integers(1, 3),
    blocks=st.integers(1, 60),
)
def test_the_last_transitions_are_kept_when_they_are_wanted(
    block: int, every: int, size: int, repeat: int, blocks: int
) -> None:
    stub = Stub(every)
    stub.batch = BatchOptions("recent", size)
    runner, held, seen = DiagnosticRunner({"stub": stub}, [], seed=0), [], []
    end = blocks * block * repeat
    for frame in range(block * repeat, end + 1, block * repeat):
        new = list(range(len(seen), len(seen) + block))
        seen += new
        if runner.wants_recent(frame, end, repeat):
            held = (held + new)[-size:]
        due = runner.due(frame, last=frame == end)
        if due:
            assert held == seen[-size:]
            if len(held) == size:
                runner.measure(due, Moment(frame))  # type: ignore[arg-type]
