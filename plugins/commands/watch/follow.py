"""What the files of a run tell about it while another process writes them."""

from __future__ import annotations

import json
import math
from array import array
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.api import UserError
from core.config import load
from plugins.commands.lines import scalars_of

WINDOW = 11
"""Log lines that the time left is estimated from: with the usual intervals, one evaluation."""
PATIENCE, LONG_PATIENCE = 60.0, 600.0
"""Seconds without a line before a run is taken for dead; the long one while it starts or
evaluates, when nobody knows how long that takes."""


class Tail:
    """Reads what was added to a file of lines.

    The file may be cut and written again at any time, as ``metrics.jsonl`` is when its run is
    resumed: where the last line read is not in its place any more, all is read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = 0
        self._last = b""

    def read(self) -> tuple[list[bytes], bool]:
        """The new whole lines, and whether they begin anew."""
        if not self.path.exists():
            return [], False
        anew = False
        with self.path.open("rb") as file:
            file.seek(self._end - len(self._last))
            found = file.read()
            if not found.startswith(self._last):
                file.seek(0)
                found, anew = file.read(), True
                self._end, self._last = 0, b""
        new = found[len(self._last) : found.rfind(b"\n") + 1]
        lines = new.splitlines(keepends=True)
        self._end += len(new)
        self._last = lines[-1] if lines else self._last
        return lines, anew


@dataclass
class Series:
    """One metric so far."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    """The finite ones: there may be fewer than steps."""
    latest: float = math.nan


@dataclass
class Course:
    """A run's lines, taken together."""

    step: int = 0
    series: dict[str, Series] = field(default_factory=dict)
    diagnosing: float = 0.0
    """Seconds that diagnostics took."""
    clock: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """Frames and seconds of wall time at the last log lines."""

    def add(self, text: bytes) -> None:
        """Take in a line; one that is damaged counts for nothing."""
        line = scalars_of(text)
        if line is None:
            return
        step = self.step = line.pop("step")
        numbers = {k: math.nan if v is None else float(v) for k, v in line.items()}
        for name, value in numbers.items():
            series = self.series.setdefault(name, Series())
            series.steps.append(step)
            series.latest = value
            if math.isfinite(value):
                series.values.append(value)
                self.diagnosing += value if name.startswith("time/diagnostics/") else 0.0
        if "time/elapsed" in numbers:
            self.clock.append((step, numbers["time/elapsed"]))

    def latest(self, name: str) -> float:
        """NaN if there is none, or it was not finite."""
        return self.series.get(name, Series()).latest

    @property
    def evaluated(self) -> int:
        """The frame of the last evaluation."""
        return self.series["eval/return"].steps[-1] if "eval/return" in self.series else 0

    @property
    def gap(self) -> float | None:
        """The longest time between two of the last log lines, in seconds."""
        return max((b - a for (_, a), (_, b) in pairwise(self.clock)), default=None)

    @property
    def seconds_per_frame(self) -> float:
        """Of wall time lately, evaluations included; NaN as long as nobody knows."""
        if len(self.clock) < 2:
            return math.nan
        (first, started), (last, ended) = self.clock[0], self.clock[-1]
        return (ended - started) / max(last - first, 1)


class Watched:
    """A run in another process. ``poll`` brings it up to date."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record: dict[str, Any] = {}
        self.frames = 0
        self.course = Course()
        self._evaluate_every: int | None = None
        self._tail = Tail(directory / "metrics.jsonl")
        self._written = 0.0

    def poll(self) -> None:
        """Read what is new.

        Raises:
            UserError: the run is gone, or ``run.json`` or ``resolved.yaml`` is damaged.
        """
        self._read_record(self.directory / "run.json")  # once it tells the outcome, all is on disk
        lines, anew = self._tail.read()
        if anew:
            self.course = Course()
        for line in lines:
            self.course.add(line)
        self._written = written(self.directory)

    def _read_record(self, path: Path) -> None:
        preset = self.directory / "resolved.yaml"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record == self.record:
                return
            resumed = record.get("resumed")
            values = load([preset], resumed[-1]["with"] if resumed else []).values
            self.frames = int(values["frames"])
            self._evaluate_every = values["evaluation"]["every"]
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}: damaged: {error.msg}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} or {preset.name}: damaged: {error!r}") from None
        self.record = record

    @property
    def outcome(self) -> str | None:
        """``finished``, ``interrupted``, ``failed``; None as long as nobody wrote it."""
        return self.record.get("outcome")

    def age(self, now: float) -> float:
        """Seconds since the run wrote anything."""
        return max(now - self._written, 0.0)

    def state(self, now: float) -> str:
        """The outcome, or ``starting``, ``running``, ``evaluating``, ``silent``.

        Silent is what has written nothing for much longer than it used to take.
        """
        if self.outcome is not None:
            return self.outcome
        word = "running" if self.course.series else "starting"
        usual = [PATIENCE if self.course.gap else LONG_PATIENCE, 5 * (self.course.gap or 0.0)]
        if self._evaluating:
            word = "evaluating"
            usual += [LONG_PATIENCE, 5 * self.course.latest("time/evaluation")]
        patience = max(seconds for seconds in usual if math.isfinite(seconds))
        return word if self.age(now) <= patience else "silent"

    @property
    def _evaluating(self) -> bool:
        """Whether an evaluation is due whose line has not come."""
        step, last, every = self.course.step, self.course.evaluated, self._evaluate_every
        due = every is not None and step // every > last // every
        return last < step and (due or step >= self.frames)

    @property
    def seconds_left(self) -> float:
        """Until the last frame; NaN as long as nobody knows."""
        return max(self.frames - self.course.step, 0) * self.course.seconds_per_frame

    def named(self, kind: str) -> list[str]:
        """Names of the components in a list of the preset, each once."""
        listed = self.record.get("components", [])
        return list(dict.fromkeys(c["name"] for c in listed if c["at"].startswith(f"{kind}.")))

    def happened(self, intervention: str) -> list[int]:
        """The frames at which an intervention changed the agent."""
        series = self.course.series.items()
        frames = (s.steps for name, s in series if name.startswith(f"{intervention}/"))
        return sorted(set().union(*frames))


def written(run: Path) -> float:
    """When a run last wrote a line or its record."""
    files = (run / "run.json", run / "metrics.jsonl")
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, the one that last wrote anything first."""
    return sorted((path.parent for path in folder.glob("*/run.json")), key=written, reverse=True)
