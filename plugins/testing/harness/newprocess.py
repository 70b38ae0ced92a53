"""Tiny runs that go on in another process, as a run does that is resumed.

``python -m plugins.testing.harness.newprocess`` serves requests, one line of JSON each. The libraries are
imported once; every request then has a fresh process of its own, in which no plugin was loaded.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HASH_SEED = "271828"
"""Other than the parent's, so that what depends on the order of a set comes out."""


def go_on(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a new process finds (:func:`_answer`).

    Raises:
        AssertionError: it failed; with its traceback.
    """
    from core.training.checkpoint import unpack

    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    error = json.loads(server.stdout.readline() or '"the process ended"')
    assert not error, f"in a new process:\n{error}"
    import torch

    found: dict[str, Any] = unpack(torch.load(Path(request["folder"]) / "answer.pt"))
    return found


@functools.cache
def _server() -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONHASHSEED": HASH_SEED,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "plugins.testing.harness.newprocess"]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()


# --- in the new process -----------------------------------------------------------------


def serve() -> None:
    """Answer every line of standard input by ``""`` or an error, as JSON."""
    _import_libraries()
    for line in sys.stdin:
        if not hasattr(os, "fork"):
            _tell(_attempt(line))
            continue
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _tell(_attempt(line))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            _tell("the process was killed")


def _import_libraries() -> None:
    """Whatever built-in agents are made of, for all requests together. Nothing is trained.

    A process that ran backward passes could not be forked any more.
    """
    import torch

    from plugins.testing.harness import agents, catalogue

    torch.set_num_threads(1)
    for name, values in agents.PRESETS.items():
        agents.TinyRun(catalogue.built_ins(), values, agents.SPECS[name])


def _tell(error: str) -> None:
    sys.stdout.write(json.dumps(error) + "\n")
    sys.stdout.flush()


def _attempt(line: str) -> str:
    try:
        _answer(json.loads(line))
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    return ""


def _answer(request: Mapping[str, Any]) -> None:
    """Build the run of ``request`` anew, load its state, update on, and save what came of it.

    ``plugin`` is as :func:`plugins.testing.harness.catalogue.importable` gives it; ``values``, ``spec``
    and ``stride`` are the run's, ``updates`` how far it is to go on. The answer has the masks
    ``drawn`` at first, and the ``state`` at the end.
    """
    import torch

    from core.training.checkpoint import pack, trimmed, unpack
    from plugins.testing.harness import agents, catalogue

    torch.set_num_threads(1)
    folder = Path(request["folder"])
    plugins = catalogue.catalogue(request["plugin"] or None)
    spec = agents.spec_from(request["spec"])
    run = agents.TinyRun(plugins, request["values"], spec, stride=request["stride"])
    drawn = run.agent.masks.state_dict()
    run.load_state_dict(unpack(torch.load(folder / "state.pt", weights_only=True)))
    run.advance(request["updates"])
    torch.save(pack(trimmed({"drawn": drawn, "state": run.state_dict()})), folder / "answer.pt")


if __name__ == "__main__":
    serve()
