"""When interventions happen, and to which networks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.api import did_you_mean, require


@dataclass(frozen=True)
class Scheduled:
    """The frames at which something happens; ``every`` or ``at`` must be given."""

    every: int | None = None
    """Environment frames between interventions: at this many, twice as many, and so on."""
    at: tuple[int, ...] = ()
    """Environment frames, above 0, at which it happens besides."""
    until: int | None = None
    """The last environment frame at which it may happen; null: to the end of the run. The
    frame at which the run ends is never one."""

    def __post_init__(self) -> None:
        require(
            self.every is not None or len(self.at) > 0, "every", "must be given, unless 'at' is"
        )
        require(
            self.every is None or self.every > 0, "every", f"must be positive, got {self.every}"
        )
        require(min(self.at, default=1) > 0, "at", f"must be positive frames, got {list(self.at)}")
        first = min([*self.at, *([] if self.every is None else [self.every])])
        require(
            self.until is None or self.until >= first,
            "until",
            f"must not be before the first intervention ({first}), got {self.until}",
        )


def is_due(schedule: Scheduled, last: int, frame: int) -> bool:
    """Whether one of the scheduled frames lies in ``(last, frame]``."""
    end = frame if schedule.until is None else min(frame, schedule.until)
    every = schedule.every
    periodic = every is not None and end // every > last // every
    return periodic or any(last < at <= end for at in schedule.at)


def choose(wanted: Collection[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """The networks that an option ``networks`` names, in the agent's order; None names all.

    Raises:
        OptionError: the agent has no such network, or none is named.
    """
    if wanted is None:
        return tuple(known)
    require(len(wanted) > 0, "networks", f"must name one of: {', '.join(known)}")
    for name in wanted:
        problem = f"names '{name}', which is not one of: {', '.join(known)}"
        hint = did_you_mean(name, known)
        require(name in known, "networks", f"{problem}.{hint}" if hint else problem)
    return tuple(name for name in known if name in wanted)
