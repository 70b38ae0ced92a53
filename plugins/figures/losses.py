"""``losses``: what the updates report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from core.api import Picture, Study
from plugins.figures.catalogue import quantity_of
from plugins.figures.curves import Drawing, Panel, draw_panels, how_to_read, interventions, present
from plugins.figures.keys import diagnostics_of

if TYPE_CHECKING:
    from core.api import FigureContext
    from plugins.figures.options import LossesOptions

SECTION = "Losses"
EPISODES = {"train/return", "train/episode_length", "train/episodes"}
ELSEWHERE = {"eval", "time"}
MEANS = "Means over the updates between two lines of the log."


@final
class Losses:
    """Losses, values and whatever else updates report; implements ``Figure``."""

    def __init__(self, options: LossesOptions, context: FigureContext) -> None:
        self._drawing = Drawing(smooth=options.smooth)

    def draw(self, study: Study) -> Iterator[Picture]:
        diagnosed = diagnostics_of(study) | {name for name, _ in interventions(study.runs)}

        def of(group: str) -> list[str]:
            return present(study, lambda key: key.startswith(group + "/") and key not in EPISODES)

        def is_other(key: str) -> bool:
            return key.partition("/")[0] not in {"loss", "train"} | ELSEWHERE | diagnosed

        what = "Each phase's objective, which it minimises."
        yield from self._picture(study, "losses", "Losses", of("loss"), what)
        what = "What the losses report of values, policy and exploration."
        yield from self._picture(study, "losses-training", "Training", of("train"), what)
        what = "What the optimizer and other parts report of their steps."
        yield from self._picture(study, "losses-steps", "Steps", present(study, is_other), what)

    def _picture(
        self, study: Study, name: str, title: str, drawn: list[str], what: str
    ) -> Iterator[Picture]:
        if drawn:
            panels = [Panel(key, _title(key), quantity_of(key)) for key in drawn]
            caption = f"{what} {MEANS}{how_to_read(study, drawn, self._drawing)}"
            figure = draw_panels(study, panels, self._drawing)
            yield Picture(name, SECTION, title, caption, figure)


def _title(key: str) -> str:
    """``step_size/actor``: step size, actor; ``loss/`` and ``train/`` go without saying."""
    group, _, name = key.partition("/")
    title = name if group in {"loss", "train"} else f"{group}, {name}" if name else group
    return title.replace("_", " ")
