"""Comparing the speed of things on a machine that others use too."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping

Case = Callable[[], object]
Times = dict[str, list[float]]
"""Process CPU seconds of one call by case, one number per round."""


def take_turns(
    cases: Mapping[str, Case],
    budget: float,
    *,
    fewest: int = 3,
    told: Callable[[float], object] | None = None,
) -> Times:
    """Call the cases in turn, round after round, until ``budget`` seconds are used.

    At least ``fewest`` rounds; one before them is not counted. Process CPU time: it leaves out
    what others on the machine get, and with several threads it is the sum over them. ``told``
    hears after each round what share of the budget is used.
    """
    times: Times = {name: [] for name in cases}
    for case in cases.values():
        case()
    begun = time.process_time()
    for turn in itertools.count(1):
        for name, case in cases.items():
            before = time.process_time()
            case()
            times[name].append(time.process_time() - before)
        used = time.process_time() - begun
        if told is not None:
            told(min(1.0, used / budget))
        if turn >= fewest and used > budget:
            break
    return times


def ratios(times: Times, slower: str, faster: str) -> tuple[float, float, float]:
    """How many times faster, round by round: lower quartile, median, upper quartile."""
    found = [a / b for a, b in zip(times[slower], times[faster], strict=True)]
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return low, middle, high
