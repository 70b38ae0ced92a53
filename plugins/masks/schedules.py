"""When masks change and by how much: pure arithmetic on environment frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.masks.options import ChangingMaskOptions


@dataclass(frozen=True)
class Periodic:
    """Changes at the frames ``begin + k every``, ``k`` = 1, 2, ..., up to ``end`` inclusive.

    The authors' codes count updates; here all lengths are environment frames. A frame at which
    no update is made counts at the next update; several that fell due meanwhile count as one.
    """

    every: int
    begin: int
    end: int

    def changes(self, frame: int) -> int:
        """How many changes have fallen due up to and including ``frame``."""
        return max(0, (min(frame, self.end) - self.begin) // self.every)

    def due(self, last: int, frame: int) -> bool:
        """Whether a change falls due in ``(last, frame]``."""
        return self.changes(frame) > self.changes(last)

    def latest(self, frame: int) -> int:
        """The frame at which the last change fell due, ``begin`` before the first."""
        return self.begin + self.changes(frame) * self.every

    def progress(self, frame: int) -> float:
        """The share of all changes that have fallen due, in [0, 1]."""
        total = self.changes(self.end)
        return self.changes(frame) / total if total else 0.0


def periodic(options: ChangingMaskOptions, begin: int, end: int) -> Periodic:
    """As the options say; ``begin`` and ``end`` are what null stands for."""
    return Periodic(
        options.every,
        begin if options.begin is None else options.begin,
        end if options.end is None else options.end,
    )


def cosine(drop_fraction: float, frame: int, end: int) -> float:
    """``alpha / 2 (1 + cos(pi t / T_end))``, and 0 from ``T_end`` on (Evci et al. 2020)."""
    if frame >= end:
        return 0.0
    return drop_fraction / 2 * (1 + math.cos(math.pi * frame / end))


def cubic(initial: float, final: float, progress: float) -> float:
    """``s_f + (s_i - s_f) (1 - progress)^3`` (Zhu & Gupta 2017, equation 1).

    Of sparsities, or of densities, which comes to the same; exactly ``final`` at 1.
    """
    return final + (initial - final) * (1 - progress) ** 3
