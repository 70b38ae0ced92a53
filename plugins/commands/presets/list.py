"""``presets list``: what is shipped."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import Any

from core.config.shipped import shipped
from plugins.commands.columns import columns, sides, write, write_json

examples = """\
  python -m core presets list
"""
EXPERIMENTS = "experiments"
FRAGMENTS = ("base", "scales")
"""Folders of shipped presets that are parts of others, not experiments by themselves."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to print."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(options: argparse.Namespace) -> int:
    """List."""
    listed = [_plain(name, path) for name, path in shipped().items()]
    if options.json:
        write_json(listed)
        return 0
    groups = dict.fromkeys(one["group"] for one in listed)
    rows = {g: [(p["name"], p["summary"]) for p in listed if p["group"] == g] for g in groups}
    widths = sides(row for some in rows.values() for row in some)
    for group, some in rows.items():
        note = ": parts of presets, to be extended or laid over" if group in FRAGMENTS else ""
        write([f"{group}{note}", *columns(some, widths), ""])
    return 0


def _plain(name: str, path: Path) -> dict[str, Any]:
    group = name.rpartition("/")[0]
    return {
        "name": name,
        "group": group or EXPERIMENTS,
        "fragment": group in FRAGMENTS,
        "summary": summary_of(path),
        "path": str(path),
    }


def summary_of(path: Path) -> str:
    """The first sentence of the comment that a preset begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    prose = itertools.takewhile(lambda line: re.match(r"# ?\S", line), lines)
    text = " ".join(line.lstrip("#").strip() for line in prose)
    return re.split(r"\.\s+(?=[A-Z])", text)[0].rstrip(".:")
