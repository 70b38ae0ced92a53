"""The typed front: loading one by one, provenance, clashes, watchers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from core.api.component import Provider
from core.api.errors import UserError
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
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.provider == Provider("mine.py", digest[:12], str(path), digest)


def test_a_clash_names_both_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", PLUGIN.format(name="uniform"))
    plugins = load_plugins([path])
    with pytest.raises(LookupError, match=r"openwork .* and by mine\.py .*'openwork:uniform'"):
        plugins.find("masks", "uniform")
    assert plugins.find("masks", "mine.py:uniform").summary == "a test's"
    assert plugins.find("masks", "openwork:uniform").summary != "a test's"


def test_a_file_that_raises_raises_and_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "broken", "x = 1\nimport nothing_of_that_name")
    with pytest.raises(ModuleNotFoundError) as caught:
        load_plugins([path])
    assert re.fullmatch(
        r"openwork: this was plugin broken\.py \w{12} \(broken\.py:2\)", caught.value.__notes__[-1]
    )
    assert "openwork_plugin_broken" not in sys.modules


def test_a_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        load_plugins([write(tmp_path, "torn", "x = 1\nx = = 2\n")])
    assert "plugin torn.py" in caught.value.__notes__[-1]
    assert "(torn.py:2)" in caught.value.__notes__[-1]


def test_a_file_that_ends_the_process_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--plugin quits\.py .*SystemExit: 0"):
        load_plugins([write(tmp_path, "quits", "raise SystemExit(0)")])


def test_a_relative_path_is_recorded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine", PLUGIN.format(name="mine"))
    monkeypatch.chdir(tmp_path)
    for files in ([Path("mine.py")], [tmp_path / "mine.py", Path("mine.py")]):
        plugins = load_plugins(files)
        assert plugins.providers[-1].source == str(tmp_path / "mine.py")
        assert plugins.find("masks", "mine"), "one file, once"


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for folder, name in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "mine", PLUGIN.format(name=name))
    plugins = load_plugins([tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"])
    kinds = [plugins.find("masks", name).options for name in ("one", "two")]
    assert kinds[0] is not kinds[1]
    assert kinds == [getattr(sys.modules[kind.__module__], "Options") for kind in kinds]  # noqa: B009


def test_mutable_options_are_refused(tmp_path: Path) -> None:
    text = PLUGIN.format(name="mine").replace("(frozen=True)", "")
    with pytest.raises(UserError, match="frozen dataclass"):
        load_plugins([write(tmp_path, "mutable", text)])


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
