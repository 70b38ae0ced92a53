"""The built-in interventions, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import InterventionSuite
from tests.plugins.testing.complete import all_have_a_class


class TestPeriodicReset(InterventionSuite):
    component = "periodic_reset"
    options: ClassVar = {"every": 300, "at": [450], "until": 800}
    refused = ({"every": 0}, {"last": 0}, {"until": 10})


class TestPeriodicResetOfLastLayers(InterventionSuite):
    component = "periodic_reset"
    options: ClassVar = {"at": [500], "last": 1, "networks": ["critic"], "optimizer": False}


class TestShrinkAndPerturb(InterventionSuite):
    component = "shrink_and_perturb"
    options: ClassVar = {"every": 333}
    refused = ({"shrink": 1.5}, {"perturb": -0.1})


class TestReDo(InterventionSuite):
    component = "redo"
    # so high a threshold that tiny networks have dormant units
    options: ClassVar = {"every": 400, "tau": 0.9, "batch": {"size": 64}}
    refused = ({"tau": -1.0},)


def test_every_intervention_has_a_class():
    all_have_a_class("interventions", globals())
