"""Run directories as they are found on disk, whatever their state."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.api import RecordedRun, UserError, did_you_mean
from plugins.commands.report.metrics import read_metrics

MARKS = ("run.json", "resolved.yaml", "metrics.jsonl", "checkpoint")
"""A directory with one of these is a run's."""
LISTED = 12
"""Names in a message, at most."""


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The run directories among ``paths``, and one level below those that are none; each once.

    Raises:
        UserError: a path that does not exist, or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for run in [path] if is_run(path) else _runs_in(path):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def is_run(path: Path) -> bool:
    """Whether a run was written here."""
    return path.is_dir() and any((path / mark).exists() for mark in MARKS)


def _runs_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise UserError(f"{folder}: there is no such run or folder{_nearby(folder)}")
    if not folder.is_dir():
        raise UserError(f"{folder}: a file; give a run's directory, or a folder of runs")
    inside = sorted(folder.iterdir())
    runs = [path for path in inside if is_run(path)]
    if not runs:
        what = f"it holds {_listed([p.name for p in inside])}" if inside else "it is empty"
        raise UserError(f"{folder}: neither a run nor a folder of runs: {what}")
    return runs


def _nearby(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f" (nor a folder {parent})"
    names = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    hint = did_you_mean(path.name, names)
    return f".{hint}\n    in {parent}: {_listed(names)}" if names else ""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def read_run(directory: Path) -> RecordedRun:
    """Everything a run directory tells. Nothing that is wrong with it is an error."""
    problems: list[str] = []
    record = _read_mapping(directory / "run.json", json.loads, problems)
    config = _read_mapping(directory / "resolved.yaml", yaml.safe_load, problems)
    series = read_metrics(directory / "metrics.jsonl", problems)
    matrices = _read_matrices(directory, problems)
    # absolute, so that the run has a name even as "."
    return RecordedRun(
        Path(directory).absolute(), record, config, series, matrices, tuple(problems)
    )


def _read_mapping(path: Path, parse: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    """Empty where the file does not hold one; the reason is added to ``problems``."""
    name = path.name
    try:
        value = parse(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
    except json.JSONDecodeError as error:
        problems.append(f"{name} is damaged: line {error.lineno}: {error.msg}")
    except yaml.YAMLError as error:
        mark, what = (getattr(error, key, None) for key in ("problem_mark", "problem"))
        line = f"line {mark.line + 1}: " if mark else ""
        problems.append(f"{name} is damaged: {line}{what or 'not YAML'}")
    else:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return value
        problems.append(f"{name} is {'empty' if value is None else 'damaged: not a mapping'}")
    return {}


def _read_matrices(directory: Path, problems: list[str]) -> dict[str, dict[int, Path]]:
    """Files by name and frame; only their heads are read."""
    found: dict[str, dict[int, Path]] = {}
    root = directory / "matrices"
    for path in sorted(root.rglob("*.npy")):
        here = path.relative_to(directory).as_posix()
        if not path.stem.isdecimal():
            problems.append(f"{here}: left out, its name is no frame")
        elif (fault := _matrix_fault(path)) is not None:
            problems.append(f"{here} is damaged: {fault}")
        else:
            name = path.parent.relative_to(root).as_posix()
            found.setdefault(name, {})[int(path.stem)] = path
    return {name: dict(sorted(files.items())) for name, files in sorted(found.items())}


def _matrix_fault(path: Path) -> str | None:
    """Why a file is not a matrix of numbers. Its length is checked, its numbers are not read."""
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        return str(error).splitlines()[0].rstrip(".") if str(error) else "cannot be read"
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.dtype.kind not in "fiu":
        return f"not a matrix of numbers, but {matrix.dtype} of shape {list(matrix.shape)}"
    return None
