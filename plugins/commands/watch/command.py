"""``watch``: a live view of a run that goes on in another process."""

from __future__ import annotations

import argparse
import gc
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.api import RUNS, UserError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from plugins.commands.watch.follow import Watched

examples = """\
  python -m core watch runs/quickstart-s0-1a2b3c
  python -m core watch                               # the newest run in runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how often."""
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="the run's directory, or a folder of runs: the newest one (default: runs)",
    )
    parser.add_argument("--once", action="store_true", help="print the view once")
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="between redraws (default: 1)",
    )


def execute(options: argparse.Namespace) -> int:
    """Show the run until it ends; once where there is no terminal."""
    from rich.console import Console
    from rich.live import Live

    from plugins.commands.watch.follow import Watched
    from plugins.commands.watch.view import View

    if not 0 < options.every <= 3600:
        raise UserError(f"--every must be in (0, 3600] seconds, got {options.every}")
    gc.enable()  # a run may be watched for days
    console = Console()
    run = Watched(_find_run(options.run, console))
    run.poll()
    terminal = console.is_terminal and not console.is_dumb_terminal
    if terminal and not options.once and run.outcome is None:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while run.outcome is None:
                live.update(View(run, time.time(), console.height), refresh=True)
                time.sleep(options.every)
                run.poll()
    console.print(View(run, time.time()))
    if run.outcome is not None:
        _say(console, _last_words(run))
    return 0


def _last_words(run: Watched) -> str:
    words = f"{run.outcome}: {run.record['frames']:,} of {run.frames:,} frames"
    last = run.course.latest("eval/return")
    if not math.isnan(last):
        words += f"; evaluation return {last:,.1f} at frame {run.course.evaluated:,}"
    return f"{words}; {run.directory}"


def _find_run(given: Path | None, console: Console) -> Path:
    """The run that is meant.

    Raises:
        UserError: there is none; names the nearest one.
    """
    from plugins.commands.watch.follow import runs_in

    folder = given or RUNS
    if (folder / "run.json").is_file():
        return folder
    runs = runs_in(folder)
    if runs:
        _say(console, f"{runs[0]}: the newest of {len(runs)} in {folder}")
        return runs[0]
    known = map(str, [*runs_in(folder.parent), *runs_in(RUNS)])
    raise UserError(
        f"{folder}: not a run directory (there is no {folder / 'run.json'})"
        f"{did_you_mean(str(folder), known)}"
    )


def _say(console: Console, text: str) -> None:
    text = text.encode(console.encoding, "replace").decode(console.encoding)
    console.print(text, highlight=False, markup=False, soft_wrap=True)
