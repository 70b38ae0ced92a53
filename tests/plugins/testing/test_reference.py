"""The page on tests for plugins names every suite with all that it has, and every fixture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugins.testing import SUITES, ComponentSuite, checks

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "testing.md").read_text()
ALL = [ComponentSuite, *SUITES.values()]


def named(title: str) -> set[str]:
    """Everything in backticks in the section of this title."""
    section = re.split(rf"^## {title}$", PAGE, flags=re.M)[1]
    return set(re.findall(r"`([^`]+)`", re.split(r"^## ", section, flags=re.M)[0]))


@pytest.mark.parametrize("suite", ALL)
def test_every_check_capability_and_attribute_is_named(suite):
    own = set(checks(suite)) - (set() if suite is ComponentSuite else set(checks(ComponentSuite)))
    there = {name.removeprefix("test_") for name in own} | set(suite.switches)
    there |= {name for name in vars(suite).get("__annotations__", {}) if name[0] != "_"}
    shown = named(suite.__name__)
    assert there - {"switches"} <= shown
    long_words = {word for word in shown if re.fullmatch(r"[a-z]+(_[a-z0-9]+){2,}", word)}
    assert long_words <= there, "the page names checks that there are not"


def test_fixtures_are_named():
    assert {"plugin_host", "run_preset", "toy_pixels", "toy_states"} <= named("Fixtures")
