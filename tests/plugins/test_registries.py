"""The registries of built-in components: every name leads somewhere, and listing stays light."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from core.api.component import Lazy
from core.api.hookspecs import KINDS
from core.plugins import Plugins
from core.plugins.manager import DISTRIBUTION


@pytest.mark.parametrize("kind", KINDS)
def test_every_lazy_name_is_a_function_of_options_and_context(kind: str, plugins: Plugins) -> None:
    own = [c for c in plugins.components(kind) if c.provider.distribution == DISTRIBUTION]
    assert own
    for component in own:
        if isinstance(component.build, Lazy):
            inspect.signature(component.build.resolve()).bind(None, None)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from core.plugins import load_plugins; load_plugins();"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
