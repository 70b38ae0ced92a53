"""A watched run as lines of text, as wide and as high as there is room."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.text import Text

from core.api import readable_time
from plugins.commands.watch.follow import Series, Watched

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", ".:-=+*#@"
WIDE, NARROW = 60, 38
"""Cells of a column; of a narrow one where there are too many lines."""
NUMBER = 9
"""Cells of a number."""
STYLES = {"finished": "green", "running": "green", "starting": "cyan", "evaluating": "cyan"}
A_LAYER = re.compile(r"\.[^\d/]")
"""Part of a metric's name that is a path to a layer: ``critic.members.0.trunk.input``, but not
``critic.0`` and not ``0.1``."""
LEFT_OUT = ("eval/", "time/", "train/return", "train/episodes")
"""Metrics that stand above the columns, or nowhere."""

Row: TypeAlias = "tuple[str, Series]"


class View:
    """What is to be seen of a run at the time ``now``: a renderable.

    With ``height``, as many lines at most, and what to press.
    """

    def __init__(self, run: Watched, now: float, height: int | None = None) -> None:
        self.run = run
        self.now = now
        self.height = height
        self.state = run.state(now)
        self.style = STYLES.get(self.state, "bold red")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, plain = options.max_width, options.ascii_only
        lines = [self._title(width), self._bar(width, plain)]
        lines += [Text(fit(note, width), style) for note, style in self._notes()]
        lines += [Text(), *self._returns(width, plain)]
        room = None if self.height is None else self.height - len(lines) - 1
        columns, hidden = arrange(self._sections(), width, room)
        lines += side_by_side(columns, width, plain)
        if room is not None:
            more = f"; {hidden} metrics find no room" if hidden else ""
            lines.append(Text(fit(f"Ctrl-C ends the view, not the run{more}", width), "dim"))
        for line in lines:
            # names of files and of metrics may hold what the terminal's encoding does not
            line.plain = line.plain.encode(console.encoding, "replace").decode(console.encoding)
            line.rstrip()
            line.no_wrap, line.overflow = True, "crop"
            yield line

    def _title(self, width: int) -> Text:
        age = readable_time(int(self.run.age(self.now)))
        words = {
            "starting": f"no line yet, after {age}",
            "silent": f"no sign of life for {age}",
            "running": f"running, last line {age} ago",
            "evaluating": f"evaluating, last line {age} ago",
        }
        state = words.get(self.state, self.state)
        record = self.run.record
        summary = record.get("summary", {})
        task = summary.get("environment", "").partition(",")[0]
        parts = (record.get("name"), f"seed {record.get('seed')}", task, summary.get("device"))
        title = "  ".join(part for part in parts if part)
        return Text.assemble(
            (fit(title, width - len(state) - 2), "bold"), "  ", (state, self.style)
        )

    def _bar(self, width: int, plain: bool) -> Text:
        step, frames = self.run.course.step, self.run.frames
        share = min(step / frames, 1.0)
        count = f"  {share:.0%}  {step:,} of {frames:,} frames"
        cells = max(width - len(count), 0)
        done = int(share * cells)
        full, empty = "#-" if plain else "█░"
        return Text.assemble((full * done, self.style), (empty * (cells - done), "dim"), count)

    def _notes(self) -> Iterator[tuple[str, str]]:
        """Lines of words, and the style of each."""
        run = self.run
        yield "  ".join(self._rates()), ""
        yield f"{run.directory}  {asked(run.record)}", "dim"
        for resumed in run.record.get("resumed", [])[-1:]:
            yield " ".join([f"resumed at frame {resumed['frame']:,}", *resumed["with"]]), "yellow"
        for name in run.named("interventions"):
            frames = run.happened(name)
            at = " ".join(f"{frame:,}" for frame in frames[-5:]) if frames else "none yet"
            before = f"{len(frames) - 5} times, then " if len(frames) > 5 else ""
            yield f"{name}, at frame: {before}{at}", "yellow"
        for disabled in run.record.get("disabled", []):
            error = " ".join(disabled["error"].split())
            yield f"{disabled['what']} left out from {disabled['frame']:,} on: {error}", "red"

    def _rates(self) -> Iterator[str]:
        course, left = self.run.course, self.run.seconds_left
        if not course.clock:
            return
        if self.run.outcome is None and math.isfinite(left):
            yield f"{readable_time(int(left))} left"
        elapsed = course.clock[-1][1]
        yield f"{readable_time(int(elapsed))} done"
        yield f"{course.latest('time/frames_per_second'):,.0f} frames/s"
        yield f"{course.latest('time/updates_per_second'):,.1f} updates/s"
        if course.diagnosing:
            yield f"{course.diagnosing / elapsed:.1%} diagnostics"

    def _returns(self, width: int, plain: bool) -> Iterator[Text]:
        """Evaluation and training, over the whole width."""
        course = self.run.course
        spread = f" {'+-' if plain else '±'} {course.latest('eval/return_std'):.1f}"
        for label, key, more in (
            ("evaluation", "eval/return", spread),
            ("training", "train/return", ""),
        ):
            series = course.series.get(key)
            if series is None:
                yield Text(f"{label:10}  no return yet", "dim")
                continue
            known = series.values or [math.nan]
            reach = f"{min(known):,.1f} to {max(known):,.1f}"
            drawn = sparkline(series.values, width - 32 - len(reach), plain)
            value = f"{series.latest:,.1f}{more}"
            yield Text.assemble(
                f"{label:10}  ", (f"{value:<17} ", "bold"), (drawn, "cyan"), (f"  {reach}", "dim")
            )

    def _sections(self) -> dict[str, list[Row]]:
        """Metrics of the agent and of its networks, by the first part of their names."""
        names = ["loss", *self.run.named("diagnostics")]
        found: dict[str, list[Row]] = {name: [] for name in names}
        left_out = (*LEFT_OUT, *(f"{name}/" for name in self.run.named("interventions")))
        for key, series in self.run.course.series.items():
            title, _, label = key.partition("/")
            if not key.startswith(left_out) and not A_LAYER.search(label):
                found.setdefault(title, []).append((label, series))
        found["train"] = found.pop("train", [])  # last: the first to go where room is scarce
        return found


def asked(record: Mapping[str, Any]) -> str:
    """Presets and overrides, as they were given."""
    words, files = record.get("command", []), list(record.get("presets", []))
    given = [file for file in files if file in words] or files[:1]
    return " ".join([*given, *(w for w in words if "=" in w and not w.startswith("-"))])


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells; ``..`` where it was cut."""
    if cell_len(text) > width > 2:
        return set_cell_size(text, width - 2) + ".."
    return set_cell_size(text, max(width, 0))


def number(value: float) -> str:
    """Four digits or so."""
    if abs(value) >= 1e6 - 1 or 0 < abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def sparkline(values: Sequence[float], width: int, plain: bool) -> str:
    """Values from left to right, between their least and greatest.

    Where there are more than ``width``, each character is the mean of some.
    """
    levels = ASCII if plain else BLOCKS
    count = max(min(len(values), width), 0)
    edges = [i * len(values) // count for i in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if not 0 < high - low < math.inf:
        return levels[3] * count
    return "".join(levels[min(int(8 * (mean - low) / (high - low)), 7)] for mean in means)


def arrange(
    sections: Mapping[str, Sequence[Row]], width: int, room: int | None
) -> tuple[list[list[str | Row]], int]:
    """Columns, as few and as short as will do, and how many metrics found no place.

    A section that goes on in the next column has its title there too.
    """
    lines = sum(1 + len(rows) for rows in sections.values() if rows)
    count = max(width // WIDE, 1)
    if room is not None and lines + count - 1 > count * room:
        count = max(width // NARROW, 1)
    height = -(-(lines + count - 1) // count)
    height = height if room is None else min(height, max(room, 0))
    columns: list[list[str | Row]] = [[]]
    hidden = 0
    for title, rows in sections.items():
        for i, row in enumerate(rows):
            if len(columns[-1]) + (i == 0) >= height and len(columns) < count:
                columns.append([])
            titled = [] if i and columns[-1] else [title]
            if not hidden and len(columns[-1]) + len(titled) < height:
                columns[-1] += [*titled, row]
            else:
                hidden += 1
    return columns, hidden


def side_by_side(columns: Sequence[Sequence[str | Row]], width: int, plain: bool) -> Iterator[Text]:
    """The lines of columns of equal width."""
    each = (width + 2) // len(columns) - 2
    labels = [entry[0] for column in columns for entry in column if not isinstance(entry, str)]
    longest = min(max(map(cell_len, labels), default=0), each - NUMBER - 11)
    cells = each - longest - NUMBER - 3
    for i in range(max(map(len, columns))):
        line = Text()
        for column in columns:
            entry = column[i] if i < len(column) else ""
            if isinstance(entry, str):
                line.append(fit(entry, each), "bold")
            else:
                label, series = entry
                style = "" if math.isfinite(series.latest) else "bold red"
                line.append(f" {fit(label, longest)} ")
                line.append(f"{number(series.latest):>{NUMBER}} ", style)
                line.append(fit(sparkline(series.values, cells, plain), cells), "cyan")
            line.append("  ")
        yield line
