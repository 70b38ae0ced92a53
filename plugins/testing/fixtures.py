"""Fixtures for the tests of plugins; pytest finds them by itself where openwork is installed.

Imported before any test: it imports nothing of openwork until a fixture is asked for.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from core.api.component import AnyComponent
    from core.plugins import Plugins

# A failing check of a suite then shows the values in its assertion.
pytest.register_assert_rewrite("plugins.testing.suites", "plugins.testing.harness")


@pytest.fixture
def plugin_host() -> Plugins:
    """The built-in plugins, whatever is installed.

    ``with plugin_host.temporary(module_or_object): ...`` adds another for a while.
    """
    from plugins.testing.harness.catalogue import fresh_host

    return fresh_host()


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


@pytest.fixture
def run_preset(tmp_path: Path) -> Callable[..., Outcome]:
    """``run_preset(preset, *overrides, plugin=None, plugins=())``: train as the command does.

    ``preset`` is a file or its text, ``overrides`` are ``key=value``, ``plugin`` and ``plugins``
    are files or modules to load besides what is installed. Every call has a run directory of its
    own, in ``tmp_path``. The environments ``toy_states`` and ``toy_pixels`` are on offer.
    """
    from plugins.testing.toys import toy

    def train(
        preset: str | Path, *overrides: str, plugin: Any = None, plugins: Any = ()
    ) -> Outcome:
        number = len(list(tmp_path.glob("run-*")))
        directory, file = tmp_path / f"run-{number}", Path(preset)
        if "\n" in str(preset):
            file = tmp_path / f"preset-{number}.yaml"
            file.write_text(str(preset), encoding="utf-8")
        words = ["run", str(file), *overrides, "--run-dir", str(directory)]
        for added in (toy, *plugins, *([] if plugin is None else [plugin])):
            words += ["--plugin", str(getattr(added, "__file__", added))]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _as_before():
            code = _execute(words)
        return Outcome(code, out.getvalue(), err.getvalue(), directory)

    return train


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


def _execute(words: Sequence[str]) -> int:
    from core.cli import main

    try:
        return main(words)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Leave generators, torch's threads and the garbage collector as they are."""
    import torch

    from core.agent.randomness import untouched_randomness

    threads = torch.get_num_threads()
    with untouched_randomness():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            gc.unfreeze()
