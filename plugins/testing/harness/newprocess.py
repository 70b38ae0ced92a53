"""A new process: it shows what importing a plugin brings along, and how a run goes on."""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.api.component import AnyComponent
from core.plugins import Plugins
from core.plugins.discovery import file

T = TypeVar("T")
HEAVY = (
    "torch", "torchrl", "tensordict", "mujoco", "dm_control", "gymnasium", "matplotlib", "wandb",
    "tensorboard", "imageio", "av",
)  # fmt: skip
"""What no plugin may import before it is built."""
_CALL = """\
import pickle, sys
answer, sys.stdout = sys.stdout.buffer, sys.stderr
function, given = pickle.load(sys.stdin.buffer)
pickle.dump(function(*given), answer)
"""


def in_a_new_process(function: Callable[..., T], *given: object) -> T:
    """What the function of a module answers there; with another seed of ``hash()``, so that what
    depends on the order of a set comes out.

    Raises:
        AssertionError: it failed; with its traceback.
    """
    path = os.pathsep.join(filter(None, sys.path))
    fixed = {"PYTHONPATH": path, "PYTHONHASHSEED": "271828", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CALL],
        input=pickle.dumps((function, given)),
        env={**os.environ, **fixed},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"in a new process:\n{done.stderr.decode()}"
    answer: T = pickle.loads(done.stdout)
    return answer


def importable(plugins: Plugins, component: AnyComponent) -> str | None:
    """The file or module by which another process gets at the component's plugin.

    None if the plugin is an object, or a module that was made in memory.
    """
    provider = component.provider
    assert provider is not None
    if provider.source.endswith(".py"):
        return provider.source
    plugin = plugins._manager.get_plugin(f"{provider.distribution}:{provider.source}")
    name = plugins.modules[provider]
    return name if sys.modules.get(name) is plugin else None


@functools.cache
def heavy(wanted: str) -> list[str]:
    """The heavy libraries that importing this file or module imports."""
    return in_a_new_process(_imported, wanted)


def _imported(wanted: str) -> list[str]:
    if wanted.endswith(".py"):
        plugins = Plugins()
        error = plugins.load(file(Path(wanted)))
        if error is not None:
            plugins.raise_broken(error)
    else:
        importlib.import_module(wanted)
    return [name for name in HEAVY if name in sys.modules]
