"""``returns``: what the agents earn, in evaluation and in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import numpy as np

from core.api import Picture, Study
from plugins.figures.aligning import interquartile_mean, mean
from plugins.figures.catalogue import quantity_of
from plugins.figures.curves import Drawing, Panel, draw_panels, how_to_read, present

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

    from core.api import FigureContext
    from plugins.figures.options import ReturnsOptions

SECTION = "Returns"
STATISTICS = {"mean": (mean, "mean"), "iqm": (interquartile_mean, "interquartile mean")}


@final
class Returns:
    """Returns over frames; implements ``Figure``."""

    def __init__(self, options: ReturnsOptions, context: FigureContext) -> None:
        statistic, named = STATISTICS[options.statistic]
        self._evaluation = Drawing(statistic, named, smooth=1)
        self._training = Drawing(statistic, named, options.smooth)

    def draw(self, study: Study) -> Iterator[Picture]:
        if present(study, lambda key: key == "eval/return"):
            yield self._evaluated(study)
        if present(study, lambda key: key == "train/return"):
            yield self._trained(study)

    def _evaluated(self, study: Study) -> Picture:
        panel = Panel("eval/return", "Evaluation", quantity_of("eval/return"))
        figure = draw_panels(study, [panel], self._evaluation)
        caption = "Undiscounted return of deterministic episodes, the mean of each evaluation."
        caption += how_to_read(study, [panel.key], self._evaluation)
        if len(study.runs) == 1 and _spread(figure, study):
            caption += " Band: one standard deviation over the episodes to either side."
        return Picture("returns", SECTION, "Evaluation return", caption, figure)

    def _trained(self, study: Study) -> Picture:
        titles = {"train/return": "Return"}
        if _varies(study, "train/episode_length"):
            titles["train/episode_length"] = "Episode length"
        panels = [Panel(key, title, quantity_of(key)) for key, title in titles.items()]
        figure = draw_panels(study, panels, self._training)
        caption = "Undiscounted return of the training episodes, exploration included."
        caption += how_to_read(study, list(titles), self._training)
        return Picture("returns-training", SECTION, "Training return", caption, figure)


def _spread(figure: MatplotlibFigure, study: Study) -> bool:
    """Shade a single run's standard deviation over episodes, if it was logged."""
    series = study.runs[0].series
    if "eval/return_std" not in series:
        return False
    centre, spread = series["eval/return"], series["eval/return_std"]
    if centre.steps.tolist() != spread.steps.tolist():
        return False
    low, high = centre.values - spread.values, centre.values + spread.values
    colour = figure.axes[0].lines[0].get_color()
    figure.axes[0].fill_between(centre.steps, low, high, color=colour, alpha=0.15, linewidth=0)
    return True


def _varies(study: Study, key: str) -> bool:
    values = [run.series[key].values for run in study.runs if key in run.series]
    return len(np.unique([v for one in values for v in one if np.isfinite(v)])) > 1
