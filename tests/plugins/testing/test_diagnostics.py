"""The built-in diagnostics, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import DiagnosticSuite
from tests.plugins.testing.complete import all_have_a_class

SMALL = {"size": 64}


class TestEffectiveRank(DiagnosticSuite):
    component = "effective_rank"
    options: ClassVar = {"batch": SMALL}
    refused = ({"delta": 2.0}, {"every": 0})


class TestDormantRatio(DiagnosticSuite):
    component = "dormant_ratio"
    options: ClassVar = {"batch": SMALL, "activations": ["pre", "post"]}
    refused = ({"tau": [-1.0]}, {"batch": {"size": 0}})


class TestActiveUnits(DiagnosticSuite):
    component = "active_units"
    options: ClassVar = {"batch": SMALL}


class TestFeatureNorm(DiagnosticSuite):
    component = "feature_norm"
    options: ClassVar = {"batch": SMALL}


class TestWeightRank(DiagnosticSuite):
    component = "weight_rank"
    refused = ({"delta": 2.0},)


class TestGradientNorm(DiagnosticSuite):
    component = "gradient_norm"
    options: ClassVar = {"batch": SMALL}


class TestParameterNorm(DiagnosticSuite):
    component = "parameter_norm"


class TestGradientInterference(DiagnosticSuite):
    component = "gradient_interference"
    options: ClassVar = {"samples": 8}


class TestChurn(DiagnosticSuite):
    component = "churn"
    options: ClassVar = {"batch": SMALL}


class TestQBias(DiagnosticSuite):
    component = "q_bias"
    options: ClassVar = {"episodes": 2, "tail": 0.95}
    refused = ({"tail": 1.0}, {"episodes": 0})


class TestSimplicityBias(DiagnosticSuite):
    component = "simplicity_bias"
    options: ClassVar = {"points": 12}
    refused = ({"points": 3},)


def test_every_diagnostic_has_a_class():
    all_have_a_class("diagnostics", globals())
