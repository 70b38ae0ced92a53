"""Runs of one experiment put together."""

from __future__ import annotations

from collections.abc import Sequence

from core.api import RecordedRun, RunGroup, Study
from plugins.commands.report.differences import same, without_seeds
from plugins.commands.report.labels import label_presets, unique


def group_runs(runs: Sequence[RecordedRun]) -> Study:
    """Runs whose presets differ in nothing but seeds and name, together, in the order given.

    A run whose preset is not known stands for itself.
    """
    groups: list[list[RecordedRun]] = []
    for run in runs:
        alike = [group for group in groups if run.config and _same(group[0], run)]
        if alike:
            alike[0].append(run)
        else:
            groups.append([run])
    return Study(
        tuple(
            RunGroup(label, tuple(group))
            for label, group in zip(_labels(groups), groups, strict=True)
        )
    )


def _same(one: RecordedRun, other: RecordedRun) -> bool:
    return same([without_seeds(one.config), without_seeds(other.config)])


def _labels(groups: Sequence[Sequence[RecordedRun]]) -> list[str]:
    known = [group for group in groups if group[0].config]
    labels = label_presets([group[0].config for group in known]) if len(known) > 1 else []
    told = iter(labels or [_name(group) for group in known])
    return unique([next(told) if g[0].config else f"{g[0].title} (preset unknown)" for g in groups])


def _name(group: Sequence[RecordedRun]) -> str:
    """Of the only preset there is: the run's directory, or what the runs are called."""
    if len(group) == 1:
        return group[0].title
    names = {str(run.record.get("name") or "") for run in group} - {""}
    return names.pop() if len(names) == 1 else "all runs"
