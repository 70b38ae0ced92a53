"""What the page says of each run: facts from its record and its numbers, ready to be shown."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from core.api import RecordedRun, RunGroup, readable_time
from plugins.commands.report.metrics import last

NOTHING = "\N{EN DASH}"
"""Shown where a run does not tell."""
DIGITS = 12
"""Of a commit."""


@dataclass(frozen=True)
class RunFacts:
    """One run's row of the table."""

    title: str
    path: str
    seeds: str
    """``0``; with the mask's seed where that is another: ``0 (mask 3)``."""
    frames: str
    outcome: str
    whole: bool
    """It finished, and nothing of it is missing."""
    final: str
    """Last evaluation's return, mean and deviation over its episodes."""
    final_of: str
    """Which evaluation that was."""
    time: str
    diagnostics: str
    """Share of the wall time."""
    commands: tuple[str, ...]


def run_facts(run: RecordedRun, title: str) -> RunFacts:
    """What a run's row shows; :data:`NOTHING` where it does not tell."""
    seconds = wall_time(run)
    spent = diagnostics_time(run)
    return RunFacts(
        title=title,
        path=run.directory.as_posix(),
        seeds=_seeds(run),
        frames=_frames(run),
        outcome=outcome(run),
        whole=run.record.get("outcome") == "finished" and not run.problems,
        final=_final(run),
        final_of=_final_of(run),
        time=readable_time(round(seconds)) if seconds else NOTHING,
        diagnostics=f"{spent / seconds:.1%}" if spent and seconds else NOTHING,
        commands=(command(run), *resumptions(run)) if command(run) else (),
    )


def titles(runs: Sequence[RecordedRun]) -> list[str]:
    """The runs' names, with as many folders before them as it takes to tell them apart."""
    parts = [run.directory.parts for run in runs]
    found = []
    for mine in parts:
        length = 1
        while length < len(mine) and sum(p[-length:] == mine[-length:] for p in parts) > 1:
            length += 1
        found.append("/".join(mine[-length:]))
    return found


def part(value: Any, *keys: str) -> Any:
    """What stands below these keys; None if anything on the way is not as it should be."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def items(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; nothing if it is none."""
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


# --- how far it came --------------------------------------------------------------------


def reached(run: RecordedRun) -> int | None:
    """The last frame that the run tells of."""
    ends = [int(series.steps[-1]) for series in run.series.values() if len(series.steps)]
    done = run.record.get("frames")
    return max([*ends, done] if isinstance(done, int) else ends, default=None)


def _frames(run: RecordedRun) -> str:
    done, wanted = reached(run), run.config.get("frames")
    if done is None:
        return NOTHING
    if isinstance(wanted, int) and wanted != done:
        return f"{done:,} of {wanted:,}"
    return f"{done:,}"


def outcome(run: RecordedRun) -> str:
    """How the run ended, and where it was resumed."""
    if not run.record:
        return "unknown"
    word = run.record.get("outcome")
    text = str(word) if word else "still running or killed"
    frames = [r.get("frame") for r in items(run.record.get("resumed"))]
    at = ", ".join(f"{frame:,}" for frame in frames if isinstance(frame, int))
    return f"{text}; resumed at {at}" if at else text


def _seeds(run: RecordedRun) -> str:
    seed, mask = (
        run.config.get(key, run.record.get(key, NOTHING)) for key in ("seed", "mask_seed")
    )
    return f"{seed} (mask {mask})" if mask not in (0, NOTHING) else str(seed)


# --- the last evaluation ----------------------------------------------------------------


def _final(run: RecordedRun) -> str:
    found = last(run.series, "eval/return")
    if found is None:
        return NOTHING
    spread = last(run.series, "eval/return_std")
    text = f"{found[1]:,.1f}"
    return f"{text} ± {spread[1]:,.1f}" if spread and spread[0] == found[0] else text


def _final_of(run: RecordedRun) -> str:
    found, episodes = last(run.series, "eval/return"), last(run.series, "eval/episodes")
    if found is None:
        return ""
    of = f"{episodes[1]:.0f} episodes at " if episodes and episodes[0] == found[0] else ""
    return f"{of}frame {found[0]:,}"


def group_return(group: RunGroup) -> tuple[str, str]:
    """Mean and sample deviation of the last returns, if they were taken at one frame; of what."""
    found = [last(run.series, "eval/return") for run in group.runs]
    ends = [end for end in found if end is not None and math.isfinite(end[1])]
    if len(ends) < 2 or len({frame for frame, _ in ends}) > 1:
        return "", ""
    values = np.array([value for _, value in ends])
    return f"{values.mean():,.1f} ± {values.std(ddof=1):,.1f}", f"over {len(ends)} runs"


# --- time -------------------------------------------------------------------------------


def wall_time(run: RecordedRun) -> float:
    """Seconds that the run took, earlier processes included; 0 if it does not tell.

    The last line with the time stands before the last evaluation and the last measurements.
    """
    found = last(run.series, "time/elapsed")
    if found is None or not math.isfinite(found[1]):
        return 0.0
    step, seconds = found
    if run.record.get("outcome") == "finished":
        seconds += sum(_at(run, name, step) for name in [*_costs(run), "time/evaluation"])
    return seconds


def diagnostics_time(run: RecordedRun) -> float:
    """Seconds spent on diagnostics."""
    return float(sum(np.nansum(run.series[name].values) for name in _costs(run)))


def _costs(run: RecordedRun) -> Iterator[str]:
    return (name for name in run.series if name.startswith("time/diagnostics/"))


def _at(run: RecordedRun, name: str, step: int) -> float:
    found = last(run.series, name)
    return found[1] if found and found[0] == step and math.isfinite(found[1]) else 0.0


# --- where it ran -----------------------------------------------------------------------


def machine(run: RecordedRun) -> tuple[str, ...]:
    """Openwork, commit, PyTorch, Python, machine: what bears on speed and numbers."""
    record = run.record
    commit = part(record, "git", "commit")
    changed = " with changes" if part(record, "git", "dirty") else ""
    host = part(record, "host") or {}
    gpus = part(host, "gpus")
    parts = [
        part(host, "platform"),
        f"{part(host, 'cores')} cores" if part(host, "cores") else None,
        part(host, "cpu"),
        f"torch threads: {part(host, 'threads')}" if part(host, "threads") else None,
        *(gpus if isinstance(gpus, list) else []),
    ]
    return (
        str(record.get("openwork", NOTHING)),
        f"{str(commit)[:DIGITS]}{changed}" if commit else NOTHING,
        str(part(record, "packages", "torch") or NOTHING),
        str(part(host, "python") or NOTHING),
        ", ".join(str(p) for p in parts if p) or NOTHING,
    )


def command(run: RecordedRun) -> str:
    """The command line that made the run, without the directory that it wrote to."""
    words = run.record.get("command")
    if not isinstance(words, list) or not words:
        return ""
    start = {"run.py": "python -m core.run", "__main__.py": "python -m core"}
    program = PurePosixPath(str(words[0])).name
    rest = [str(word) for word in words[1:]]
    while "--run-dir" in rest:
        at = rest.index("--run-dir")
        del rest[at : at + 2]
    rest = [word for word in rest if not word.startswith("--run-dir=")]
    return " ".join([start.get(program, program), *map(shlex.quote, rest)])


def resumptions(run: RecordedRun) -> list[str]:
    """The command lines that went on with the run."""
    given = (entry.get("with") for entry in items(run.record.get("resumed")))
    return [go_on(run, *words) if isinstance(words, list) else go_on(run) for words in given]


def go_on(run: RecordedRun, *overrides: object) -> str:
    """The command line that goes on with a run."""
    words = (shlex.quote(str(word)) for word in (run.directory.as_posix(), *overrides))
    return f"python -m core resume {' '.join(words)}"
