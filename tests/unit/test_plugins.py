"""The typed front: loading one by one, provenance, clashes, watchers."""

from __future__ import annotations

import types
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from core.api import Component, hookimpl
from core.component import Provider
from core.errors import UserError
from core.plugins import Plugins, load_plugins

PLUGIN = """
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    sparsity: float = 0.5

@hookimpl
def register_masks():
    return [Component("{name}", Options, lambda options, context: None, "a test's")]
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_built_ins_come_with_their_provider(plugins: Plugins) -> None:
    found = plugins.find("masks", "erdos_renyi")
    assert found.provider is not None
    assert str(found.provider).startswith("openwork ")
    assert [c.name for c in plugins.components("losses")] == [
        *("ddpg", "sac", "stream_ac", "stream_q"),
    ]


def test_a_file_plugin_is_found_and_its_hash_is_its_version(tmp_path: Path) -> None:
    import hashlib

    path = write(tmp_path, "mine", PLUGIN.format(name="mine"))
    found = load_plugins([path]).find("masks", "mine")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert found.provider == Provider("mine.py", digest, str(path))


def test_a_clash_names_both_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", PLUGIN.format(name="uniform"))
    plugins = load_plugins([path])
    with pytest.raises(LookupError, match=r"openwork .* and by mine\.py .*'openwork:uniform'"):
        plugins.find("masks", "uniform")
    assert plugins.find("masks", "mine.py:uniform").summary == "a test's"
    assert plugins.find("masks", "openwork:uniform").summary != "a test's"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("from core.api import hookimpl\n@hookimpl\ndef register_mask():\n    return []", "mask"),
        ("from core.api import hookimpl\n@hookimpl\ndef register_masks():\n    return [3]", "must return components"),
        ("from core.api import hookimpl\n@hookimpl\ndef register_masks():\n    raise OSError('x')", "OSError"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_message(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path, "broken", text)
    with pytest.raises(UserError, match=r"--plugin broken\.py") as caught:
        load_plugins([path])
    assert reason in str(caught.value)


def test_mutable_options_are_refused(tmp_path: Path) -> None:
    text = PLUGIN.format(name="mine").replace("(frozen=True)", "")
    with pytest.raises(UserError, match="frozen dataclass"):
        load_plugins([write(tmp_path, "mutable", text)])


class FakePoint:
    """An entry point of an installed distribution."""

    def __init__(self, name: str, load: Any) -> None:
        self.name, self.value, self._load = name, f"{name}:plugin", load
        self.dist = types.SimpleNamespace(name=f"dist-{name}", version="2.0")

    def load(self) -> Any:
        return self._load()


def _offering(name: str) -> Any:
    @dataclass(frozen=True)
    class Options:
        x: int = 0

    plugin = types.SimpleNamespace()

    @hookimpl
    def register_masks() -> list[Any]:
        return [Component(name, Options, lambda options, context: None, "offered")]

    plugin.register_masks = register_masks
    return plugin


def _fail() -> Any:
    raise ImportError("no such library")


def test_installed_plugins_load_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [FakePoint("b_good", lambda: _offering("good")), FakePoint("a_bad", _fail)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    plugins = load_plugins()
    provider = plugins.find("masks", "good").provider
    assert provider == Provider("dist-b_good", "2.0", "b_good:plugin")
    assert [str(broken) for broken in plugins.broken] == [
        "dist-a_bad 2.0 (a_bad:plugin): ImportError: no such library"
    ]
    with pytest.raises(LookupError, match="broken plugin: dist-a_bad 2.0"):
        plugins.find("masks", "something")


def test_a_watcher_that_raises_is_silenced(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    text = f"""
from core.api import hookimpl
from pathlib import Path

@hookimpl
def evaluated(step, metrics):
    with Path({str(calls)!r}).open("a") as file:
        file.write(f"{{step}} {{metrics['x']}}\\n")
    raise ValueError("boom")
"""
    plugins = load_plugins([write(tmp_path, "watcher", text)])
    with pytest.warns(UserWarning, match=r"watcher\.py.* failed in evaluated"):
        plugins.tell("evaluated", run=None, step=5, metrics={"x": 1.0})
    plugins.tell("evaluated", run=None, step=6, metrics={"x": 1.0})
    assert calls.read_text() == "5 1.0\n"
