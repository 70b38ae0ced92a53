"""The run directory: ``run.json``, ``resolved.yaml``, ``metrics.jsonl``.

``run.json`` says what ran: every component with its provider, version and options, the
packages, the commit, the host. ``resolved.yaml`` is the preset with every default filled in
and is a preset itself. ``metrics.jsonl`` is the truth about the run's course; other loggers
get the same numbers.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from core import __version__
from core.api.component import Provider
from core.api.errors import UserError
from core.api.figures import RUNS
from core.config import RunConfig
from core.config.source import dotted
from core.plugins import Plugins


@contextmanager
def new_run_directory(config: RunConfig, name: str, wanted: Path | None) -> Iterator[Path]:
    """Make ``runs/NAME-sSEED-ID``, or the directory that the user chose.

    What is in it by then is removed if the run fails before it begins.

    Raises:
        UserError: the chosen directory already holds a run.
    """
    directory = wanted or RUNS / f"{name}-s{config.run.seed}-{secrets.token_hex(3)}"
    if (directory / "run.json").exists():
        raise UserError(
            f"--run-dir {directory}: there is a run already; go on with "
            f"'python -m core resume {directory}' or choose another directory"
        )
    before = set(directory.iterdir()) if directory.is_dir() else None
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--run-dir {directory}: {error.strerror}") from None
    try:
        yield directory
    except BaseException:
        for path in set(directory.iterdir()) - (before or set()):
            whole = path.is_dir() and not path.is_symlink()
            shutil.rmtree(path) if whole else path.unlink()
        if before is None:
            directory.rmdir()
        raise


def write_record(
    directory: Path, name: str, config: RunConfig, plugins: Plugins, description: Mapping[str, Any]
) -> None:
    """Write ``run.json`` and ``resolved.yaml``, before the first frame."""
    record = {
        "id": directory.name,
        "name": name,
        "openwork": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "presets": config.loaded.files,
        "seed": config.run.seed,
        "mask_seed": config.run.mask_seed,
        "components": [_component(selection) for selection in config.selections],
        "plugins": [asdict(provider) for provider in plugins.providers],
        "broken_plugins": [str(broken) for broken in plugins.broken],
        "without": list(plugins.without),
        "set_by": {dotted(key): str(origin) for key, origin in config.loaded.origins.items()},
        **description,
        "git": git_state(Path(__file__).parent),
        "packages": installed_packages(),
        "host": host(),
    }
    write_atomically(directory / "run.json", json.dumps(record, indent=2) + "\n")
    write_atomically(directory / "resolved.yaml", OmegaConf.to_yaml(config.plain()))


def read_record(directory: Path) -> dict[str, Any]:
    """The run's ``run.json``.

    Raises:
        UserError: not a run directory, or a damaged one.
    """
    path = directory / "run.json"
    if not path.is_file():
        raise UserError(f"{directory}: not a run directory (there is no {path})")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: damaged: {error.msg}") from None
    return record


def amend_record(directory: Path, **fields: Any) -> None:
    """Add to ``run.json``: how the run ended, when it was resumed."""
    path = directory / "run.json"
    record = json.loads(path.read_text())
    for name, value in fields.items():
        if isinstance(value, list):
            record.setdefault(name, []).extend(value)
        else:
            record[name] = value
    write_atomically(path, json.dumps(record, indent=2) + "\n")


def changed_plugins(record: Mapping[str, Any], providers: Iterable[Provider]) -> list[str]:
    """A line for each plugin of other code than the run began with, or that is gone."""
    was = {p["distribution"]: (p["version"], p.get("sha256")) for p in record["plugins"]}
    now = {p.distribution: (p.version, p.sha256) for p in providers}
    lines = []
    for name, (version, digest) in was.items():
        there, code = now.get(name, ("not loaded", None))
        if there != version:
            lines.append(f"plugin {name} is {there} now; the run began with {version}")
        elif code and digest and code != digest:
            lines.append(
                f"plugin {name} {version} is other code now: SHA-256 {code[:12]}; "
                f"the run began with {digest[:12]}"
            )
    return lines


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either the old one or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class MetricsFile:
    """``metrics.jsonl``: one object a line, on disk as soon as it is written."""

    def __init__(self, directory: Path, keep: int) -> None:
        """Append to the first ``keep`` bytes of what is there."""
        self.path = directory / "metrics.jsonl"
        if self.path.exists():
            os.truncate(self.path, min(keep, self.path.stat().st_size))
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """``step`` counts environment frames. Non-finite numbers are written as null."""
        line = {"step": step} | {name: _finite(value) for name, value in scalars.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    @property
    def size(self) -> int:
        """Bytes written."""
        return self.path.stat().st_size

    def close(self) -> None:
        self._file.close()


def write_matrix(directory: Path, name: str, step: int, matrix: Any) -> None:
    """``matrices/NAME/STEP.npy``, float32."""
    path = directory / "matrices" / name / f"{step:010d}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, matrix)
    os.replace(temporary, path)


def _finite(value: float) -> float | None:
    # json would write NaN, which is not JSON
    number = float(value)
    return number if number - number == 0 else None


def _component(selection: Any) -> dict[str, Any]:
    component = selection.component
    return {
        "at": dotted(selection.key),
        "name": component.name,
        "provider": asdict(component.provider),
        "options": asdict(selection.options),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that ``folder`` lies in, and whether it was changed since."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def installed_packages() -> dict[str, str]:
    """Every installed distribution and its version."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def host() -> dict[str, Any]:
    """The machine, as far as it bears on speed and numbers."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "gpus": gpus,
    }
