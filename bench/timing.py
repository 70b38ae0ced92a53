"""What the benchmarks share: taking turns, medians with their spread, memory, tables.

What is compared takes turns in one process, so that a busy machine slows all of it; times are
CPU time of the process, unless said; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

Way = Callable[[int], object]
"""Does its work this many times."""
Clock = Callable[[], float]
Times = dict[str, list[float]]
"""Seconds that the work takes once, by way, one number per round."""
Spread = tuple[float, float, float]
"""Median, low, high."""


def clock(threads: int) -> Clock:
    """CPU time of the process; with several threads, which wait in it too, wall time."""
    return time.process_time if threads == 1 else time.perf_counter


def repeated(call: Callable[[], object]) -> Way:
    """A way of a call that does the work once."""

    def way(count: int) -> None:
        for _ in range(count):
            call()

    return way


def seconds(way: Way, count: int = 1, clock: Clock = time.process_time) -> float:
    """Of doing the work once, over ``count`` times."""
    started = clock()
    way(count)
    return (clock() - started) / count


def take_turns(
    ways: Mapping[str, Way],
    rounds: int,
    counts: int | Mapping[str, int],
    clock: Clock = time.process_time,
) -> Times:
    """Every way works ``counts`` times in every round; the order moves on by one each round."""
    names, times = list(ways), {name: list[float]() for name in ways}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            count = counts if isinstance(counts, int) else counts[name]
            times[name].append(seconds(ways[name], count, clock))
    return times


def counts_for(ways: Mapping[str, Way], least: float, clock: Clock) -> dict[str, int]:
    """How often each way must work to take ``least`` seconds; each is tried once."""
    return {
        name: max(1, round(least / max(seconds(way, clock=clock), 1e-7)))
        for name, way in ways.items()
    }


def extremes(values: Sequence[float]) -> Spread:
    """Median, smallest and largest."""
    return statistics.median(values), min(values), max(values)


def quartiles(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def named(spread: Spread, *names: str) -> dict[str, float]:
    """For JSON."""
    return dict(zip(names, spread, strict=True))


def ratios(times: Times, rival: str, way: str) -> list[float]:
    """How many times as long as ``way`` its rival took, round by round."""
    return [a / b for a, b in zip(times[rival], times[way], strict=True)]


def shown(spread: Iterable[float], digits: int = 2, scale: float = 1.0) -> str:
    middle, low, high = (f"{scale * value:,.{digits}f}" for value in spread)
    return f"{middle} ({low}-{high})"


def compared(times: Times, rivals: Sequence[str], digits: int = 1) -> list[list[str]]:
    """Rows of a table: milliseconds of each way, and how many times faster than each rival."""
    return [
        [name, shown(quartiles(taken), digits, 1e3)]
        + [shown(quartiles(ratios(times, rival, name))) for rival in rivals]
        for name, taken in times.items()
    ]


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    print(f"\n{title}")
    for row in (headings, *rows):
        cells = [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip(), flush=True)


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def memory(field: str) -> int:
    """``VmRSS``, what this process has in memory, or ``VmHWM``, the most it had; bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Set ``VmHWM`` back."""
    Path("/proc/self/clear_refs").write_text("5")


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--json", action="store_true", help="print numbers as JSON")
    return parser
