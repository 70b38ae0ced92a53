"""The cache of trials: found again, and harmless whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugins.execution.auto import cache
from plugins.execution.auto.cache import Timing, default_path, forget, recall, remember

TIMING = Timing(masked=0.003, compact=0.001)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def test_what_is_remembered_is_found_by_a_later_process(home):
    assert recall("key") is None
    remember("key", TIMING)
    forget()
    assert recall("key") == TIMING
    assert recall("other") is None
    assert [path.name for path in (home / "openwork").iterdir()] == ["execution.json"]


def test_several_answers_stay_beside_each_other():
    remember("a", TIMING)
    forget()
    remember("b", Timing(1.0, 2.0))
    forget()
    assert (recall("a"), recall("b")) == (TIMING, Timing(1.0, 2.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"key": null}',
        '{"key": {"masked": 1.0}}',
        '{"key": {"masked": "fast", "compact": 1.0}}',
        '{"key": {"masked": 1.0, "compact": 0.0}}',
        '{"key": {"masked": 1.0, "compact": NaN}}',
        '{"key": {"masked": -1.0, "compact": 1.0}}',
        "\x00\xff",
    ],
)
def test_a_damaged_file_is_as_good_as_none_and_written_anew(text):
    path = default_path()
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="latin-1")
    assert recall("key") is None
    remember("key", TIMING)
    forget()
    assert recall("key") == TIMING


def test_where_nothing_can_be_written_the_process_remembers(home, monkeypatch):
    (home / "openwork").write_text("a file where the folder should be")
    remember("key", TIMING)
    assert recall("key") == TIMING
    forget()
    assert recall("key") is None


def test_a_failed_write_leaves_the_old_file(home, monkeypatch):
    remember("key", TIMING)
    monkeypatch.setattr(cache.os, "replace", lambda *paths: (_ for _ in ()).throw(OSError))
    remember("other", TIMING)
    forget()
    assert recall("key") == TIMING
    assert recall("other") is None
    assert set(json.loads(default_path().read_text())) == {"key"}
    assert [path.name for path in (home / "openwork").iterdir()] == ["execution.json"]


def test_the_folder_is_the_users(home, monkeypatch):
    assert default_path() == home / "openwork" / "execution.json"
    monkeypatch.setenv("HOME", str(home))
    for ignored in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_path() == home / ".cache" / "openwork" / "execution.json"


def test_without_a_home_only_the_process_remembers(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert default_path() is None
    remember("key", TIMING)
    assert recall("key") == TIMING
