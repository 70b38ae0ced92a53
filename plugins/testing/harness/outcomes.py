"""A run of a preset within a test's process, and what came of it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from core.agent.randomness import untouched_randomness


@dataclass(frozen=True)
class Outcome:
    """What ``python -m core run`` did."""

    code: int
    """The process's exit code: 0 finished, 1 failed, 2 a user's mistake."""
    out: str
    """What it printed."""
    err: str
    """What it printed to standard error; with the traceback of an exception that was ours."""
    directory: Path
    """The run directory, which is not there if nothing was run."""

    @property
    def record(self) -> dict[str, Any]:
        """``run.json``."""
        record: dict[str, Any] = json.loads((self.directory / "run.json").read_text())
        return record

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """``metrics.jsonl``, line by line."""
        lines = (self.directory / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def assert_ok(self) -> Outcome:
        """The run finished."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self

    def assert_fails(self, pattern: str) -> Outcome:
        """The run failed, and said something in which the regular expression is found."""
        said = f"{self.out}\n{self.err}"
        assert self.code != 0, f"the run finished:\n{said}"
        assert re.search(pattern, said), f"'{pattern}' is not in what it said:\n{said}"
        return self


def run(
    folder: Path, preset: str | Path, overrides: Sequence[str], plugins: Iterable[Any]
) -> Outcome:
    """Train in this process, in a new run directory within ``folder``."""
    from plugins.testing.toys import toy

    number = len(list(folder.glob("run-*")))
    directory = folder / f"run-{number}"
    files = [_file(plugin) for plugin in (toy, *plugins)]
    named = _written(folder / f"preset-{number}.yaml", preset)
    arguments = ["run", str(named), *overrides, "--run-dir", str(directory)]
    for file in files:
        arguments += ["--plugin", str(file)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _as_before():
        code = _execute(arguments)
    return Outcome(code, out.getvalue(), err.getvalue(), directory)


def _execute(arguments: Sequence[str]) -> int:
    from core.cli import main

    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Leave generators, torch's threads and the garbage collector as they are."""
    import torch

    threads = torch.get_num_threads()
    with untouched_randomness():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            gc.unfreeze()


def _file(plugin: Any) -> Path:
    if isinstance(plugin, ModuleType):
        plugin = plugin.__file__
    assert isinstance(plugin, str | Path), (
        f"a plugin is given as a file or a module, not as {type(plugin).__name__}"
    )
    return Path(plugin)


def _written(path: Path, preset: str | Path) -> Path:
    """The preset's file; made from its text if that is what was given."""
    if isinstance(preset, Path) or ("\n" not in preset and preset.endswith(".yaml")):
        return Path(preset)
    path.write_text(preset, encoding="utf-8")
    return path
