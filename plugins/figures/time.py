"""``time``: how fast the runs were, and what looking at them cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import numpy as np

from core.api import Picture, RecordedRun, RunGroup, Study
from plugins.figures import bars, style
from plugins.figures.catalogue import quantity_of
from plugins.figures.curves import Drawing, Panel, draw_panels, how_to_read, present

if TYPE_CHECKING:
    from core.api import FigureContext
    from plugins.figures.options import TimeOptions

SECTION = "Time"
SPEEDS = {"time/frames_per_second": "Environment frames", "time/updates_per_second": "Updates"}
EVALUATION = "time/evaluation"
DIAGNOSTICS = "time/diagnostics/"
ELAPSED = "time/elapsed"


@final
class Time:
    """Speed over frames, and shares of wall time; implements ``Figure``."""

    def __init__(self, options: TimeOptions, context: FigureContext) -> None:
        self._drawing = Drawing(smooth=options.smooth)

    def draw(self, study: Study) -> Iterator[Picture]:
        speeds = present(study, lambda key: key in SPEEDS)
        if speeds:
            panels = [Panel(key, SPEEDS[key], quantity_of(key)) for key in speeds]
            caption = (
                "Environment frames and updates per second of wall time; evaluations, "
                f"checkpoints and diagnostics left out.{how_to_read(study, speeds, self._drawing)}"
            )
            figure = draw_panels(study, panels, self._drawing)
            yield Picture("time-speed", SECTION, "Speed", caption, figure)
        if any(shares(run) for run in study.runs):
            yield _costs(study)


def shares(run: RecordedRun) -> dict[str, float]:
    """Share of the run's wall time that evaluations and each diagnostic took.

    ``time/elapsed`` was last read before the evaluation at the same frame, and before anything
    later; these seconds are added to it.
    """
    if ELAPSED not in run.series:
        return {}
    elapsed = run.series[ELAPSED]
    told = np.flatnonzero(np.isfinite(elapsed.values))
    if not len(told):
        return {}
    frame, total = elapsed.steps[told[-1]], float(elapsed.values[told[-1]])
    seconds = {}
    for key, series in run.series.items():
        if key == EVALUATION or key.startswith(DIAGNOSTICS):
            values = np.nan_to_num(series.values)
            late = series.steps >= frame if key == EVALUATION else series.steps > frame
            total += float(values[late].sum())
            seconds[key] = float(values.sum())
    return {key: spent / total for key, spent in seconds.items()} if total > 0 else {}


def _costs(study: Study) -> Picture:
    by_group = [_mean_shares(group) for group in study.groups]
    names = list(dict.fromkeys(name for shares in by_group for name in shares))
    shown = [index for index, shares in enumerate(by_group) if shares]
    entries = [(bars.patch(i), study.groups[i].label) for i in shown if len(study.groups) > 1]
    drawn = [(index, by_group[index]) for index in shown]
    height = bars.height(names, drawn) + 0.7
    figure, (axes,) = style.panel_grid(1, 1, height, style.legend_height(entries))
    style.dress(axes, "Evaluation and diagnostics", "share of wall time", "what took it")
    bars.draw_bars(axes, names, drawn, lambda share: f"{share:.2%}")
    axes.set_yticklabels([_written(name) for name in names])
    axes.margins(x=0.1)
    style.share_axis(axes.xaxis)
    style.legend(figure, entries)
    caption = (
        "Share of the whole run's wall time that evaluations and each diagnostic took, the mean "
        "over the runs of a group; the rest is collecting and learning."
    )
    return Picture("time-costs", SECTION, "Cost of looking", caption, figure)


def _mean_shares(group: RunGroup) -> dict[str, float]:
    """By metric, over the runs that have it."""
    found = [shares(run) for run in group.runs]
    names = dict.fromkeys(name for one in found for name in one)
    return {n: float(np.mean([one[n] for one in found if n in one])) for n in names}


def _written(key: str) -> str:
    return key.removeprefix(DIAGNOSTICS).removeprefix("time/").replace("_", " ")
