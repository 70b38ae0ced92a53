"""What a user sees while a run goes on: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from core.api.commands import readable_time
from core.training.events import Collected, Event, Measured

PLAIN_EVERY = 10.0
"""Seconds between plain lines, at least."""
REFRESH_EVERY = 0.25


class ProgressView:
    """Shows a run's events. A context manager; ``show`` takes each event."""

    def __init__(self, console: Console, frames: int, start: int) -> None:
        self._console = console
        self._frames = frames
        self._bar = _make_bar(console) if console.is_terminal else None
        self._task = (
            self._bar.add_task("train", total=frames, completed=start, rates="", left="")
            if self._bar
            else None
        )
        self._clock = Clock()
        self._last_plain = time.monotonic()
        self._last_refresh = 0.0
        self._facts: dict[str, float] = {}

    def __enter__(self) -> ProgressView:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Event) -> None:
        """Take note of an event, and print what a user should see of it."""
        match event:
            case Collected():
                self._collected(event)
            case Measured(source="training"):
                self._facts |= event.scalars
                self._plain(event.step)
            case Measured(source="evaluation"):
                self._evaluated(event)
            case _:
                pass

    def _collected(self, event: Collected) -> None:
        now = time.monotonic()
        if now - self._last_refresh < REFRESH_EVERY:
            return
        self._last_refresh = now
        self._clock.tick(now, event.step, event.updates)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=event.step, rates=self._rates(), left=self._left(event.step)
            )

    def _evaluated(self, event: Measured) -> None:
        self._clock.pause()
        mean, std = event.scalars["eval/return"], event.scalars["eval/return_std"]
        text = f"frame {event.step:,}: evaluation return {mean:.1f} ± {std:.1f}"
        if event.video is not None:
            text += f"  ({event.video})"
        self._console.print(text, highlight=False)
        self._facts |= event.scalars

    def _plain(self, step: int) -> None:
        """A line at most every PLAIN_EVERY seconds, where there is no terminal."""
        now = time.monotonic()
        if self._bar is not None or now - self._last_plain < PLAIN_EVERY:
            return
        self._last_plain = now
        share = 100 * step / self._frames
        self._console.print(
            f"frame {step:,} of {self._frames:,} ({share:.1f}%)  {self._rates()}  "
            f"{self._left(step)} left",
            highlight=False,
            soft_wrap=True,
        )

    def _rates(self) -> str:
        parts = [f"{self._clock.frames:,.0f} frames/s", f"{self._clock.updates:,.1f} updates/s"]
        if "train/return" in self._facts:
            parts.append(f"return {self._facts['train/return']:.1f}")
        return "  ".join(parts)

    def _left(self, step: int) -> str:
        if self._clock.frames <= 0:
            return "--:--:--"
        return readable_time(int((self._frames - step) / self._clock.frames))


class Clock:
    """Rates of the last half minute or so, smoothed."""

    MEMORY = 30.0

    def __init__(self) -> None:
        self.frames = 0.0
        self.updates = 0.0
        self._last: tuple[float, int, int] | None = None
        self._seen = 0.0

    def tick(self, now: float, frames: int, updates: int) -> None:
        """Fold in what happened since the last call."""
        if self._last is not None:
            before, old_frames, old_updates = self._last
            seconds = max(now - before, 1e-9)
            self._seen += seconds
            weight = seconds / min(self._seen, self.MEMORY)
            self.frames += min(weight, 1.0) * ((frames - old_frames) / seconds - self.frames)
            self.updates += min(weight, 1.0) * ((updates - old_updates) / seconds - self.updates)
        self._last = (now, frames, updates)

    def pause(self) -> None:
        """What lies between the last call and the next does not count (an evaluation)."""
        self._last = None


def _make_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=8),
        TaskProgressColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TextColumn("{task.fields[rates]}"),
        TextColumn("{task.fields[left]} left"),
        console=console,
        transient=False,
    )
