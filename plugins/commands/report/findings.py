"""What a reader of a report must know before looking at its pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.api import RecordedRun
from plugins.commands.report.facts import go_on, items, part, reached


def findings(run: RecordedRun) -> list[str]:
    """What is wrong with a run, a sentence each."""
    return [*run.problems, *_ending(run), *_disabled(run), *_not_finite(run), *_broken(run)]


def _ending(run: RecordedRun) -> Iterator[str]:
    outcome = run.record.get("outcome")
    if not run.record or outcome == "finished":
        return
    done, wanted = reached(run), run.config.get("frames")
    of = f" of {wanted:,}" if isinstance(wanted, int) else ""
    at = "before its first line" if done is None else f"frame {done:,}{of}"
    if outcome is None:
        yield f"it is still running or was killed; last seen at {at}"
    elif outcome == "failed":
        yield f"it failed at {at}; what stopped it stands in its output"
    else:
        yield f"it was {outcome} at {at}; go on with: {go_on(run)}"


def _disabled(run: RecordedRun) -> Iterator[str]:
    for entry in items(run.record.get("disabled")):
        frame = entry.get("frame")
        at = f" at frame {frame:,}" if isinstance(frame, int) else ""
        yield f"{entry.get('what')} failed{at} and was left out from then on: {entry.get('error')}"


def _not_finite(run: RecordedRun) -> Iterator[str]:
    for name, series in run.series.items():
        missing = np.flatnonzero(np.isnan(series.values))
        if len(missing):
            share = f"{len(missing)} of {len(series.values)} numbers are not finite"
            yield f"{name}: {share}, the first at frame {int(series.steps[missing[0]]):,}"


def _broken(run: RecordedRun) -> Iterator[str]:
    broken = part(run.record, "broken_plugins")
    for text in broken if isinstance(broken, list) else []:
        yield f"an installed plugin could not be loaded: {text}"
