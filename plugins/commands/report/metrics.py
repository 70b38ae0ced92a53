"""``metrics.jsonl`` as one series per metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.api import Series
from plugins.commands.lines import scalars_of

NAMED = 8
"""Line numbers in a message, at most."""
Columns = dict[str, tuple[list[int], list[float | None]]]


def read_metrics(path: Path, problems: list[str]) -> dict[str, Series]:
    """Every metric of a run, by name; what is missing or damaged is added to ``problems``.

    A last line without its end is what a process that is still writing leaves: it is dropped
    without a word. Several lines may share a step; the later value of a key counts.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        problems.append(f"{path.name} is missing: there are no metrics")
        return {}
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}")
        return {}
    columns, damaged = _parse(text)
    if damaged:
        problems.append(_about(path.name, damaged))
    if not columns:
        problems.append(f"{path.name} holds no numbers yet")
    return {name: _series(*column) for name, column in columns.items()}


def _parse(text: str) -> tuple[Columns, list[int]]:
    """Steps and values of every metric, and the numbers of the damaged lines."""
    columns: Columns = {}
    damaged: list[int] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        scalars = scalars_of(line)
        if scalars is None:
            if line and number < len(lines):  # the last piece has no end of line
                damaged.append(number)
            continue
        step = scalars.pop("step")
        for name, value in scalars.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = ([], [])
            column[0].append(step)
            column[1].append(value)
    return columns, damaged


def _series(steps: list[int], values: list[float | None]) -> Series:
    ascending = np.array(steps, dtype=np.int64)
    numbers = np.array(values, dtype=np.float64)  # None becomes NaN
    numbers[~np.isfinite(numbers)] = np.nan
    if (np.diff(ascending) <= 0).any():
        # of the values of one step the last: the first of the reversed ones
        ascending, first = np.unique(ascending[::-1], return_index=True)
        numbers = numbers[::-1][first]
    return Series(ascending, numbers)


def _about(name: str, damaged: list[int]) -> str:
    """One sentence about all damaged lines."""
    named = ", ".join(map(str, damaged[:NAMED]))
    if len(damaged) == 1:
        return f"{name}: line {named} is damaged and was left out"
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return f"{name}: {len(damaged)} damaged lines were left out: {named}{more}"


def last(series: Mapping[str, Series], name: str) -> tuple[int, float] | None:
    """The last step of a metric and its value there."""
    found = series.get(name)
    if found is None or not len(found.steps):
        return None
    return int(found.steps[-1]), float(found.values[-1])
