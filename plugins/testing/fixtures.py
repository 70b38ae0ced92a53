"""Fixtures for the tests of plugins; pytest finds them by itself where openwork is installed.

Imported before any test: it imports nothing of openwork until a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from core.api.component import AnyComponent
    from core.plugins import Plugins
    from plugins.testing.harness.outcomes import Outcome

# A failing check of a suite then shows the values in its assertion.
pytest.register_assert_rewrite("plugins.testing.suites", "plugins.testing.harness")


@pytest.fixture
def plugin_host() -> Plugins:
    """The built-in plugins, whatever is installed.

    ``with plugin_host.temporary(module_or_object): ...`` adds another for a while.
    """
    from plugins.testing.harness.catalogue import fresh_host

    return fresh_host()


@pytest.fixture
def run_preset(tmp_path: Path) -> Callable[..., Outcome]:
    """``run_preset(preset, *overrides, plugin=None, plugins=())``: train as the command does.

    ``preset`` is a file or its text, ``overrides`` are ``key=value``, ``plugin`` and ``plugins``
    are files or modules to load besides what is installed. Every call has a run directory of its
    own, in ``tmp_path``. The environments ``toy_states`` and ``toy_pixels`` are on offer.
    """
    from plugins.testing.harness.outcomes import run

    def train(
        preset: str | Path, *overrides: str, plugin: Any = None, plugins: Any = ()
    ) -> Outcome:
        added = [*plugins] if plugin is None else [plugin, *plugins]
        return run(tmp_path, preset, overrides, added)

    return train


@pytest.fixture(scope="session")
def toy_pixels() -> AnyComponent:
    """A component: small pictures, continuous actions, short episodes, no simulator."""
    return _toy("toy_pixels")


@pytest.fixture(scope="session")
def toy_states() -> AnyComponent:
    """A component: the same task from four numbers."""
    return _toy("toy_states")


def _toy(name: str) -> AnyComponent:
    from plugins.testing.harness.catalogue import catalogue

    return catalogue("plugins.testing.toys.toy").find("environments", name)
