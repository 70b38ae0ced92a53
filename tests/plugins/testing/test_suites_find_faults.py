"""Every check of every suite is seen to fail on something, and to take something."""

from __future__ import annotations

import pytest

from plugins.testing import SUITES, ComponentSuite, checks, run_checks, suite_for
from tests.plugins.testing import (
    faulty_agents,
    faulty_data,
    faulty_environments,
    faulty_execution,
    faulty_losses,
    faulty_masks,
    faulty_networks,
    faulty_optimizers,
    faulty_tools,
)
from tests.plugins.testing.faulty import Fault, assert_found, offering

ALL: list[Fault] = [
    *faulty_masks.FAULTS,
    *faulty_networks.FAULTS,
    *faulty_losses.FAULTS,
    *faulty_optimizers.FAULTS,
    *faulty_data.FAULTS,
    *faulty_environments.FAULTS,
    *faulty_execution.FAULTS,
    *faulty_agents.FAULTS,
    *faulty_tools.FAULTS,
]


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault.check], ids=str)
def test_it_is_found(fault: Fault) -> None:
    assert_found(fault)


@pytest.mark.parametrize("good", [fault for fault in ALL if not fault.check], ids=str)
def test_without_the_fault_all_is_well(good: Fault) -> None:
    suite = suite_for(good.kind, "faulty", good.options, offering(good), **good.suite)
    assert [checked for checked in run_checks(suite) if checked.outcome == "failed"] == []


def test_every_check_has_a_fault() -> None:
    general = set(checks(ComponentSuite))
    assert {f"test_{fault.check}" for fault in ALL} >= general
    for kind, suite in SUITES.items():
        found = {f"test_{fault.check}" for fault in ALL if fault.kind == kind}
        assert found - general - {"test_"} == set(checks(suite)) - general, kind
        assert "test_" in found, f"no good component of {kind}"
