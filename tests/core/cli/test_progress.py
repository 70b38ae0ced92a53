"""What a user sees of a run, in a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from core.cli import progress
from core.cli.progress import Clock, ProgressView, readable_time
from core.training.events import Collected, Measured


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00:00"), (187, "0:03:07"), (100_000, "27:46:40"), (806_400, "9d 8h")],
)
def test_readable_time(seconds: int, shown: str) -> None:
    assert readable_time(seconds) == shown


def test_rates_are_of_the_last_half_minute_and_leave_pauses_out() -> None:
    clock = Clock()
    for second in range(300):  # 10 frames and 2 updates a second
        clock.tick(float(second), 10 * second, 2 * second)
    assert clock.frames == pytest.approx(10)
    assert clock.updates == pytest.approx(2)
    clock.pause()  # an evaluation of 1000 seconds
    clock.tick(1300.0, 2990, 598)
    for second in range(1, 200):  # then twice as fast
        clock.tick(1300.0 + second, 2990 + 20 * second, 598 + 4 * second)
    assert clock.frames == pytest.approx(20, rel=0.01)
    assert clock.updates == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "plain"])
def test_frames_rates_return_and_time_left_are_shown(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, no_color=True)
    with ProgressView(console, frames=2_000_000, start=0) as view:
        for step in range(0, 4_000, 100):
            now[0] += 1.0
            view.show(Collected(step, step // 4))
            view.show(Measured(step, "training", {"train/return": 494.8}))
        view.show(Measured(4_000, "evaluation", {"eval/return": 12.34, "eval/return_std": 5.0}))
    text = out.getvalue()
    for part in ("100 frames/s", "25.0 updates/s", "return 494.8", "left"):
        assert part in text
    assert "frame 4,000: evaluation return 12.3 ± 5.0" in text
    assert "…" not in text  # nothing is cut off at 80 columns
    assert ("of 2,000,000 (0.2%)" in text) is not terminal
