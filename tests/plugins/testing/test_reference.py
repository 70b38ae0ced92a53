"""The page on tests for plugins names every suite with all that it has, and every fixture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugins.testing import SUITES, ComponentSuite, checks, fixtures

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "testing.md").read_text()
ALL = [ComponentSuite, *SUITES.values()]
SET_BY_A_KIND = {"kind", "switches"}


def named(title: str) -> set[str]:
    """Everything in backticks in the section of this title."""
    section = re.split(rf"^## {title}$", PAGE, flags=re.M)[1]
    return set(re.findall(r"`([^`]+)`", re.split(r"^## ", section, flags=re.M)[0]))


def attributes(suite: type) -> set[str]:
    """What an author may set: class attributes with an annotation, of the suite's own."""
    bases = [suite] if suite is ComponentSuite else suite.__mro__
    found = {
        name
        for base in bases
        if issubclass(base, ComponentSuite) and (base is not ComponentSuite or suite is base)
        for name in vars(base).get("__annotations__", {})
    }
    return {name for name in found if name[0] != "_"} - (
        set() if suite is ComponentSuite else SET_BY_A_KIND
    )


@pytest.mark.parametrize("suite", ALL)
def test_a_suites_attributes_capabilities_and_checks_are_named(suite):
    own = set(checks(suite)) - (set() if suite is ComponentSuite else set(checks(ComponentSuite)))
    there = attributes(suite) | set(suite.switches) | {name.removeprefix("test_") for name in own}
    missing = there - named(suite.__name__)
    assert not missing
    called = {
        word for word in named(suite.__name__) if re.fullmatch(r"[a-z]+(_[a-z0-9]+){2,}", word)
    }
    gone = called - there
    assert not gone, "the page names checks that there are not"


def test_nothing_is_named_that_there_is_not():
    titles = set(re.findall(r"^## (\w+Suite)$", PAGE, flags=re.M))
    assert titles == {suite.__name__ for suite in ALL}


def test_fixtures_are_named():
    made = {
        name for name, value in vars(fixtures).items() if "fixture" in type(value).__name__.lower()
    }
    assert made == {"plugin_host", "run_preset", "toy_pixels", "toy_states"}
    assert made <= named("Fixtures")
