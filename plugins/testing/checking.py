"""Run a suite's checks without pytest: in a notebook, or from the command line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import SkipTest

from core.api.errors import UserError
from core.api.hookspecs import KINDS
from plugins.testing.by_kind import SUITES
from plugins.testing.suites.component import ComponentSuite


@dataclass(frozen=True)
class Checked:
    """How one check of a suite went."""

    name: str
    """The check's method without ``test_``."""
    outcome: Literal["passed", "failed", "skipped"]
    message: str = ""
    """What to mend, or why it was skipped."""


def suite_for(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    plugin: Any = None,
    **attributes: Any,
) -> type[ComponentSuite]:
    """A suite of this kind for one component.

    Args:
        kind: As in :data:`core.api.hookspecs.KINDS`, such as ``masks``.
        name: The component, as a preset names it.
        options: What a preset would write; defaults otherwise.
        plugin: See :attr:`ComponentSuite.plugin`.
        attributes: Other class attributes of the suite, such as ``capabilities``.
    """
    if kind not in SUITES:
        raise UserError(f"there is no kind '{kind}'; choose from: {', '.join(KINDS)}")
    given = {"component": name, "options": dict(options or {}), "plugin": plugin, **attributes}
    return type(f"Check_{name}", (SUITES[kind],), given)


def checks(suite: type[ComponentSuite]) -> list[str]:
    """The names of a suite's check methods, the general ones first."""
    names: dict[str, None] = {}
    for base in reversed(suite.__mro__):
        names |= dict.fromkeys(name for name in vars(base) if name.startswith("test_"))
    return [name for name in names if callable(getattr(suite, name, None))]


def run_checks(suite: type[ComponentSuite]) -> Iterator[Checked]:
    """Run every check, each on an instance of its own, as pytest does.

    Where the component is not even found, that is all.
    """
    for method in checks(suite):
        checked = _run(suite, method)
        yield checked
        if method == "test_is_found_by_its_name" and checked.outcome == "failed":
            return


def _run(suite: type[ComponentSuite], method: str) -> Checked:
    name = method.removeprefix("test_")
    checked = suite()
    checked.setup_method()
    try:
        getattr(checked, method)()
    except SkipTest as reason:
        return Checked(name, "skipped", str(reason))
    except AssertionError as error:
        return Checked(name, "failed", str(error))
    except Exception as error:
        return Checked(name, "failed", "".join(traceback.format_exception(error)).rstrip())
    return Checked(name, "passed")


def check_component(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    plugin: str | Path | Any = None,
    **attributes: Any,
) -> None:
    """Run the checks of a component's kind; arguments as of :func:`suite_for`.

    Raises:
        AssertionError: with every check that failed, and what to mend.
    """
    found = list(run_checks(suite_for(kind, name, options, plugin, **attributes)))
    failed = [checked for checked in found if checked.outcome == "failed"]
    if failed:
        listing = "\n".join(f"- {checked.name}: {checked.message}" for checked in failed)
        count = f"{len(failed)} of {len(found)} checks of {KINDS[kind]} '{name}' failed"
        raise AssertionError(f"{count}:\n{listing}")
