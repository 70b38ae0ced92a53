"""Every check of the suites of environments, execution, diagnostics, interventions, figures,
verbs and loggers is seen to fail on something."""

from __future__ import annotations

import pytest

from plugins.testing import SUITES, ComponentSuite, checks, run_checks, suite_for
from tests.plugins.testing import (
    faulty_agents,
    faulty_environments,
    faulty_execution,
    faulty_others,
)
from tests.plugins.testing.faulty import Fault, assert_found, offering

FAULTS = [
    *faulty_environments.FAULTS,
    *faulty_agents.FAULTS,
    *faulty_execution.FAULTS,
    *faulty_others.FAULTS,
]
KINDS = (
    *("environments", "execution", "diagnostics", "interventions"),
    *("figures", "commands", "loggers"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_it_is_found(fault: Fault) -> None:
    assert_found(fault)


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_fault(kind):
    found = {fault.check for fault in FAULTS if fault.kind == kind}
    general = set(checks(ComponentSuite))
    own = {name.removeprefix("test_") for name in checks(SUITES[kind]) if name not in general}
    assert found >= own


GOOD = {
    "environments": faulty_environments.GOOD,
    "execution": faulty_execution.GOOD,
    "diagnostics": faulty_agents.GOOD_DIAGNOSTIC,
    "interventions": faulty_agents.GOOD_INTERVENTION,
    "figures": faulty_others.GOOD_FIGURE,
    "commands": faulty_others.GOOD_VERB,
    "loggers": faulty_others.GOOD_LOGGER,
}


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_fault_all_is_well(kind):
    good = GOOD[kind]
    suite = suite_for(kind, "faulty", good.options, offering(good), **good.suite)
    failed = [checked for checked in run_checks(suite) if checked.outcome == "failed"]
    assert failed == []
