"""Choose an OpenGL backend, before dm_control and MuJoCo are imported and settle on one.

Importing ``torchrl.envs`` imports MuJoCo, and with a ``MUJOCO_GL`` that does not work that
import fails: so this comes first. ``MUJOCO_GL`` is honoured where it is set. Otherwise EGL is
tried, then OSMesa, each in a process of its own (see :mod:`plugins.environments.gl_probe`),
and ``MUJOCO_GL`` is set to the one that works: worker processes inherit it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.api import UserError, did_you_mean

VARIABLE = "MUJOCO_GL"
DISABLED = ("off", "disable", "disabled", "false", "0")
PROBED = {"egl": "EGL", "osmesa": "OSMesa"}
UNPROBED = ("glfw", "on", "enable", "enabled", "true", "1")
"""What else dm_control takes: it needs a display, or lets dm_control choose."""
INSTALL = "on Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri (or libosmesa6)"


@dataclass(frozen=True)
class Renderer:
    """What will draw the pictures."""

    backend: str
    """As in ``MUJOCO_GL``."""
    name: str | None = None
    """OpenGL's name of the renderer, such as ``llvmpipe (LLVM 15.0.6, 256 bits)``."""

    def __str__(self) -> str:
        backend = PROBED.get(self.backend, self.backend)
        return backend if self.name is None else f"{backend} on {self.name}"


@cache
def _probe(backend: str) -> tuple[bool, str]:
    """Whether a context could be made, and the renderer's name or the reason why not."""
    script = Path(__file__).with_name("gl_probe.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(script), backend],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    reason = done.stdout.strip() or f"the driver crashed (exit code {done.returncode})"
    return done.returncode == 0, reason


def choose(*, required: bool) -> Renderer | None:
    """The backend that works; None where there is none and none is ``required``.

    Raises ``UserError``, with the packages to install, also if the user chose a backend
    that does not work.
    """
    wanted = _settled() or os.environ.get(VARIABLE, "").lower()
    if not sys.platform.startswith("linux"):
        return Renderer(wanted or "the default backend")
    if wanted and wanted not in DISABLED:
        return _chosen(wanted)
    if wanted and not required:
        return None
    found, reasons = _first_working()
    if found is not None and wanted:
        raise UserError(f"pictures are wanted, but {VARIABLE}={wanted} switches rendering off")
    if found is None and required:
        raise UserError(f"no OpenGL to render with ({'; '.join(reasons)}); {INSTALL}")
    # "disable": left unset, dm_control would settle on a backend that fails at the first picture
    os.environ[VARIABLE] = "disable" if found is None else found.backend
    return found


def _settled() -> str | None:
    """The backend of dm_control, if somebody has imported it already."""
    module = sys.modules.get("dm_control._render")
    backend: str | None = getattr(module, "BACKEND", None)
    return backend


def _chosen(wanted: str) -> Renderer:
    if wanted in UNPROBED:
        return Renderer(wanted)
    if wanted not in PROBED:
        hint = did_you_mean(wanted, PROBED)
        raise UserError(f"{VARIABLE}={wanted} is no backend.{hint} Choices: {', '.join(PROBED)}")
    works, text = _probe(wanted)
    if not works:
        raise UserError(f"{VARIABLE}={wanted}, but {text}; {INSTALL}")
    return Renderer(wanted, text)


def _first_working() -> tuple[Renderer | None, list[str]]:
    reasons = []
    for backend in PROBED:
        works, text = _probe(backend)
        if works:
            return Renderer(backend, text), []
        reasons.append(text)
    return None, reasons
