"""Every check of every suite is seen to fail on something."""

from __future__ import annotations

import pytest

from plugins.testing import SUITES, ComponentSuite, checks
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
from tests.plugins.testing.faulty import Fault, assert_found

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


@pytest.mark.parametrize("fault", ALL, ids=str)
def test_it_is_found(fault: Fault) -> None:
    assert_found(fault)


def test_every_check_has_a_fault() -> None:
    general = set(checks(ComponentSuite))
    assert {f"test_{fault.check}" for fault in ALL} >= general
    for kind, suite in SUITES.items():
        found = {f"test_{fault.check}" for fault in ALL if fault.kind == kind}
        assert found - general == set(checks(suite)) - general, kind
