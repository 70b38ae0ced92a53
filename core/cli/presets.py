"""``presets``: what is shipped, what one comes to, how two differ, a copy of one's own."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import Any

from core.api.commands import add_plugin_argument
from core.cli.common import Verbs, add_preset_arguments, add_verb
from core.cli.layout import columns, sides, write, write_json
from core.cli.presets_copy import copy
from core.cli.presets_show import diff, show
from core.config.shipped import FRAGMENTS, shipped

EXAMPLES = """\
  python -m core presets list
  python -m core presets show quickstart seed=1
  python -m core presets diff state_sparse state_streaming
  python -m core presets copy quickstart mine.yaml
"""
SHOW_EXAMPLES = """\
  python -m core presets show presets/visual_sparse.yaml presets/scales/laptop.yaml
  python -m core presets show quickstart masks.0.sparsity=0.9 > mine.yaml
"""
DIFF_EXAMPLES = """\
  python -m core presets diff visual_sparse streaming_visual
  python -m core presets diff quickstart runs/quickstart-s0-1a2b3c
"""
COPY_EXAMPLES = """\
  python -m core presets copy quickstart mine.yaml
  python -m core presets copy studies/capacity . --force
"""
EXPERIMENTS = "experiments"


def add_parser(verbs: Verbs) -> None:
    """Register the verb, and the verbs below it."""
    parser = add_verb(verbs, "presets", "list, show, compare and copy presets", EXAMPLES)
    below = parser.add_subparsers(dest="presets_verb", required=True, metavar="VERB")
    listing = add_verb(below, "list", "the shipped presets", "  python -m core presets list\n")
    listing.set_defaults(execute=execute)
    showing = add_verb(below, "show", "every value, and who set it", SHOW_EXAMPLES)
    add_preset_arguments(showing)
    showing.set_defaults(execute=show)
    comparing = add_verb(below, "diff", "what differs; exit code 1 if something", DIFF_EXAMPLES)
    comparing.add_argument("one", metavar="A", help="a preset, or a run's directory")
    comparing.add_argument("other", metavar="B", help="the same")
    add_plugin_argument(comparing)
    comparing.set_defaults(execute=diff)
    copying = add_verb(below, "copy", "a shipped preset as a file of your own", COPY_EXAMPLES)
    copying.add_argument("name", metavar="NAME", help="of the shipped preset")
    copying.add_argument("file", type=Path, metavar="FILE", help="where to write it, or a folder")
    copying.add_argument("--force", action="store_true", help="replace a file that is there")
    copying.set_defaults(execute=copy)
    for one in (listing, showing, comparing):
        one.add_argument("--json", action="store_true", help="print JSON")


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
