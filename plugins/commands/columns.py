"""Columns of text: aligned, without colour, wrapped only where a terminal would cut them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

NARROWEST = 24
"""Letters a line that the last column keeps, however narrow the terminal is."""


def write(lines: Iterable[str]) -> None:
    """Print lines, for as long as somebody reads them (``| head`` does not)."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_json(value: Any) -> None:
    """Print as JSON."""
    write([json.dumps(value, indent=2)])


def terminal_width() -> int:
    """Letters a line: of the terminal; without bounds where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def sides(rows: Iterable[Sequence[str]]) -> list[int]:
    """The width of each column but the last."""
    return [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]


def columns(rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> Iterator[str]:
    """Rows with aligned columns; only the last one is wrapped, so that names stay whole."""
    widths = widths or sides(rows)
    start = sum(width + 2 for width in (0, *widths))
    for *cells, last in rows:
        aligned = "  ".join(
            f"{c:<{width}}" for c, width in zip(["", *cells], (0, *widths), strict=True)
        )
        first, *more = wrapped(last, terminal_width() - start) or [""]
        yield f"{aligned}  {first}".rstrip()
        yield from (" " * start + line for line in more)


def wrapped(text: str, width: int) -> list[str]:
    """A text as lines of at most ``width`` letters; never fewer than :data:`NARROWEST`."""
    return textwrap.wrap(
        text, max(width, NARROWEST), break_long_words=False, break_on_hyphens=False
    )
