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


class TestDescribe(CommandSuite):
    component = "describe"
    good_arguments = (("quickstart", "--json"),)
    bad_arguments = ((), ("quickstart", "seed=x"))


class TestValidate(CommandSuite):
    component = "validate"
    good_arguments = (("quickstart", "seed=1"), ("--each", "base/sac"))
    bad_arguments = ((), ("{folder}",), ("--each", "{folder}"))


class TestPresets(CommandSuite):
    component = "presets"
    good_arguments = (
        ("list", "--json"),
        ("show", "quickstart"),
        ("diff", "quickstart", "quickstart"),
        ("copy", "quickstart", "{folder}"),
    )
    bad_arguments = ((), ("lst",), ("show", "base/sac"), ("copy", "quikstart", "{folder}"))


class TestPlugins(CommandSuite):
    component = "plugins"
    good_arguments = (
        ("list", "--kind", "mask"),
        ("info", "sac"),
        ("doctor", "openwork"),
        ("new", "fan-in", "{folder}", "--kind", "mask"),
    )
    bad_arguments = ((), ("info", "sacc"), ("doctor", "nobody"), ("check", "no/such.py"))


def test_every_verb_has_a_class():
    all_have_a_class("commands", globals())
