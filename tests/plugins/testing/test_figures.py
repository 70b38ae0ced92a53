"""The built-in figures, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import FigureSuite
from tests.plugins.testing.complete import all_have_a_class


class TestReturns(FigureSuite):
    component = "returns"
    refused = ({"smooth": 2}, {"statistic": "median"})


class TestReturnsByIQM(FigureSuite):
    component = "returns"
    options: ClassVar = {"statistic": "iqm", "smooth": 3}


class TestLosses(FigureSuite):
    component = "losses"


class TestDiagnostics(FigureSuite):
    component = "diagnostics"


class TestInterference(FigureSuite):
    component = "interference"


class TestDensities(FigureSuite):
    component = "densities"


class TestTime(FigureSuite):
    component = "time"


def test_every_figure_has_a_class():
    all_have_a_class("figures", globals())
