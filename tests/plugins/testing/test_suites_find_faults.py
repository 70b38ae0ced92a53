"""Every check of the suites of masks, networks, losses, optimizers and data sources, and every
check that all suites have, is seen to fail on something."""

from __future__ import annotations

import pytest

from plugins.testing import SUITES, ComponentSuite, checks, run_checks, suite_for
from tests.plugins.testing import (
    faulty_data,
    faulty_general,
    faulty_losses,
    faulty_masks,
    faulty_networks,
    faulty_optimizers,
)
from tests.plugins.testing.faulty import Fault, assert_found, offering

OWN = {
    "masks": faulty_masks.FAULTS,
    "networks": faulty_networks.FAULTS,
    "losses": faulty_losses.FAULTS,
    "optimizers": faulty_optimizers.FAULTS,
    "data": faulty_data.FAULTS,
}
FAULTS = [*faulty_general.FAULTS, *(fault for faults in OWN.values() for fault in faults)]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_it_is_found(fault: Fault) -> None:
    assert_found(fault)


@pytest.mark.parametrize("kind", OWN)
def test_every_check_has_a_fault(kind):
    own = set(checks(SUITES[kind])) - set(checks(ComponentSuite))
    assert {f"test_{fault.check}" for fault in OWN[kind]} == own


def test_every_general_check_has_a_fault():
    found = {f"test_{fault.check}" for fault in faulty_general.FAULTS}
    assert found == set(checks(ComponentSuite))


GOOD = [
    ("masks", faulty_masks.Halves, {}),
    ("masks", faulty_masks.Turning, {"keeps_count": True}),
    ("networks", faulty_networks.Plain, {}),
    ("losses", faulty_losses.Plain, {}),
    ("optimizers", faulty_optimizers.plain, {}),
    ("optimizers", faulty_optimizers.traced, faulty_optimizers.TRACES),
    ("data", faulty_data.Plain, faulty_data.REPLAYS),
]


@pytest.mark.parametrize(("kind", "build", "more"), GOOD)
def test_without_the_fault_all_is_well(kind, build, more):
    component = more.get("component", {})
    suite = {name: value for name, value in more.items() if name != "component"}
    plugin = offering(Fault(kind, "", build, "", component=component))
    found = list(run_checks(suite_for(kind, "faulty", None, plugin, **suite)))
    assert [checked for checked in found if checked.outcome == "failed"] == []
