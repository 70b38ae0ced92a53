"""The built-in verbs, by the suite that third parties use."""

from __future__ import annotations

from plugins.testing import CommandSuite
from tests.plugins.testing.complete import all_have_a_class


class TestReport(CommandSuite):
    component = "report"
    good_arguments = (
        ("{run}", "--out", "{folder}", "--figures", "returns,time", "--format", "png"),
    )
    bad_arguments = (
        ("no-such-run",),
        ("{run}", "--figures", "retruns"),
        ("{run}", "--format", "gif"),
        (),
    )


class TestWatch(CommandSuite):
    component = "watch"
    good_arguments = (("{run}",), ("{run}", "--once"))
    bad_arguments = (("no-such-run",), ("{run}", "--every", "0"), ("{folder}",))


class TestBenchExecution(CommandSuite):
    component = "bench-execution"
    good_arguments = (
        ("--widths", "32", "--sparsity", "0.5", "--batch", "4", "--seconds", "0.1", "--json"),
    )
    bad_arguments = (("--widths", "33"), ("--batch", "0"), ("--sparsity", "1.5"))


def test_every_verb_has_a_class():
    all_have_a_class("commands", globals())
