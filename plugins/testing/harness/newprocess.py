"""What only a new process shows: what importing a plugin brings along, and how a run goes on."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.api.component import AnyComponent
from core.plugins import Plugins

HEAVY = (
    "torch", "torchrl", "tensordict", "mujoco", "dm_control", "gymnasium", "matplotlib", "wandb",
    "tensorboard", "imageio", "av",
)  # fmt: skip
"""What no plugin may import before it is built."""
HASH_SEED = "271828"
"""Other than the parent's, so that what depends on the order of a set comes out."""

_IMPORT = """\
import json, sys
from pathlib import Path
from core.plugins import Plugins
from core.plugins.discovery import file
wanted, heavy = json.loads(sys.argv[1])
if wanted.endswith(".py"):
    plugins = Plugins()
    error = plugins.load(file(Path(wanted)))
    if error is not None:
        plugins.raise_broken(error)
else:
    __import__(wanted)
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


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
def heavy(wanted: str) -> tuple[str, ...]:
    """The heavy libraries that importing this file or module imports."""
    done = _python("-c", _IMPORT, json.dumps([wanted, HEAVY]))
    assert done.returncode == 0, f"'{wanted}' cannot be imported by itself:\n{done.stderr}"
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def go_on(folder: Path, plugin: str | None, runs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Build tiny runs anew in a new process, load what they had saved, and update on.

    Args:
        folder: Where ``state-0.pt`` and so on are, one for each run.
        plugin: As :func:`importable` gives it; None for what is installed.
        runs: Of each the preset's ``values``, the environment's ``spec``, the ``stride``, and the
            ``updates`` that it is to go on.

    Returns:
        Of each, the masks ``drawn`` at first, and its ``state`` at the end.

    Raises:
        AssertionError: it failed; with its traceback.
    """
    import torch

    from core.training.checkpoint import unpack

    (folder / "request.json").write_text(json.dumps({"plugin": plugin, "runs": list(runs)}))
    done = _python("-m", "plugins.testing.harness.newprocess", str(folder))
    assert done.returncode == 0, f"in a new process:\n{done.stderr}"
    found: list[Any] = unpack(torch.load(folder / "answer.pt", weights_only=True))
    return found


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONHASHSEED": HASH_SEED,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _answer(folder: Path) -> None:
    """What :func:`go_on` asks, in the new process."""
    import torch

    from core.training.checkpoint import pack, trimmed, unpack
    from plugins.testing.harness import agents, catalogue

    request = json.loads((folder / "request.json").read_text())
    plugins, answers = catalogue.catalogue(request["plugin"]), []
    for index, asked in enumerate(request["runs"]):
        spec = agents.spec_from(asked["spec"])
        run = agents.TinyRun(plugins, asked["values"], spec, stride=asked["stride"])
        drawn = run.agent.masks.state_dict()
        run.load_state_dict(unpack(torch.load(folder / f"state-{index}.pt", weights_only=True)))
        run.advance(asked["updates"])
        answers.append({"drawn": drawn, "state": run.state_dict()})
    torch.save(pack(trimmed(answers)), folder / "answer.pt")


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
