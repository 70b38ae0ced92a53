"""Mask schemes that break what holds for every component."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.api import require
from tests.plugins.testing.faulty import Fault
from tests.plugins.testing.faulty_masks import Halves

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Bounded:
    """Options with a range that is checked too late."""

    sparsity: float = 0.5
    """Share removed."""

    def __post_init__(self) -> None:
        require(self.sparsity < 1, "sparsity", "must be below 1")


@dataclass(frozen=True)
class Silent:
    """Options that say nothing of themselves."""

    explained: int = 1
    """What it is."""
    unexplained: int = 2


def _local() -> type:
    @dataclass(frozen=True)
    class Hidden:
        """Options that pickle cannot find."""

    return Hidden


COMMON: list[int] = []


class Sharing(Halves):
    def __init__(self, *_):
        self.seen = COMMON


class SharingInTheClass(Halves):
    seen: dict[str, int] = {}  # noqa: RUF012 (the fault)


FAULTS = [
    Fault(
        "masks",
        "is_found_by_its_name",
        Halves,
        "Did you mean 'faulty'?",
        suite={"component": "fauty"},
    ),
    Fault(
        "masks",
        "is_found_by_its_name",
        Halves,
        "needs two arguments"[:0],
        component={"summary": "two\nlines"},
    ),
    Fault("masks", "is_found_by_its_name", Halves, "set component", suite={"component": ""}),
    Fault(
        "masks",
        "capabilities_are_known",
        Halves,
        "Did you mean 'random'?",
        suite={"capabilities": {"randon": False}},
    ),
    Fault("masks", "summary_is_one_line", Halves, "1 to 100", component={"summary": "x" * 101}),
    Fault("masks", "options_are_documented", Halves, "Silent.unexplained", options_type=Silent),
    Fault(
        "masks",
        "options_are_accepted",
        Halves,
        "sparsity",
        options={"sparsty": 0.5},
        options_type=Bounded,
    ),
    Fault(
        "masks",
        "values_out_of_range_are_refused",
        Halves,
        "is accepted",
        options_type=Bounded,
        suite={"refused": [{"sparsity": -1.0}]},
    ),
    Fault("masks", "options_pickle", Halves, "top level", options_type=_local()),
    Fault(
        "masks",
        "needs_are_words",
        Halves,
        "frozenset",
        component={"needs": lambda options: ["replay"]},
    ),
    Fault(
        "masks",
        "needs_are_words",
        Halves,
        "'replay'",
        component={"instead": {"replay": "do without"}},
    ),
    Fault("masks", "builds_share_no_state", Sharing, "seen"),
    Fault("masks", "builds_share_no_state", SharingInTheClass, "SharingInTheClass.seen"),
    Fault("masks", "builds_share_no_state", lambda *_: COMMON, "the object itself"),
    Fault(
        "masks",
        "importing_the_plugin_brings_no_heavy_library",
        Halves,
        "torch",
        suite={"plugin": HERE / "faulty_plugin.py"},
    ),
]
