"""What importing a plugin brings along, seen in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

from core.api.component import AnyComponent
from core.plugins import Plugins

HEAVY = (
    "torch", "torchrl", "tensordict", "mujoco", "dm_control", "gymnasium", "matplotlib", "wandb",
    "tensorboard", "imageio", "av",
)  # fmt: skip
"""What no plugin may import before it is built."""

_SCRIPT = """\
import json, sys
from pathlib import Path
from core.plugins import Plugins
wanted, heavy = json.loads(sys.argv[1])
if wanted.endswith(".py"):
    Plugins().load_file(Path(wanted))
else:
    __import__(wanted)
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def heavy(plugins: Plugins, component: AnyComponent) -> list[str] | None:
    """The heavy libraries that importing the component's plugin imports, in a new process.

    None if the plugin is an object that a new process cannot import.
    """
    wanted = _importable(plugins, component)
    return None if wanted is None else list(_heavy(wanted))


@functools.cache
def _heavy(wanted: str) -> tuple[str, ...]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", _SCRIPT, json.dumps([wanted, HEAVY])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"'{wanted}' cannot be imported by itself:\n{done.stderr}"
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def plugin_object(plugins: Plugins, component: AnyComponent) -> Any:
    """The module or object whose hooks offer the component."""
    provider = component.provider
    assert provider is not None
    return plugins._manager.get_plugin(f"{provider.distribution}:{provider.source}")


def _importable(plugins: Plugins, component: AnyComponent) -> str | None:
    assert component.provider is not None
    if component.provider.source.endswith(".py"):
        return component.provider.source
    plugin = plugin_object(plugins, component)
    name = plugins.modules[component.provider]
    return name if sys.modules.get(name) is plugin else None
