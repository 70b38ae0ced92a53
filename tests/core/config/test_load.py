"""Loading: files, lines, extends, merging, overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.api.errors import UserError
from core.config import load


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_later_files_and_overrides_win(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "frames: 1\nnode: {x: 1, y: 2}\n")
    b = write(tmp_path, "b.yaml", "node: {y: 3, z: 4}\n")
    loaded = load([a, b], ["node.x=5", "frames=7"])
    assert loaded.values == {"frames": 7, "node": {"x": 5, "y": 3, "z": 4}}


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "frames: 1\nnode:\n  x: 1\nlist:\n  - p: 1\n  - p: 2\n")
    b = write(tmp_path, "b.yaml", "extends: a.yaml\n\nnode:\n  y: 3\n")
    loaded = load([b], ["list.1.p=9"])
    assert str(loaded.origin(("frames",))) == f"{a}:1"
    assert str(loaded.origin(("node", "x"))) == f"{a}:3"
    assert str(loaded.origin(("node", "y"))) == f"{b}:4"
    assert str(loaded.origin(("list", 0, "p"))) == f"{a}:5"
    assert str(loaded.origin(("list", 1, "p"))) == "command line"
    # a key that nobody wrote is reported where its nearest parent stands
    assert str(loaded.origin(("list", 0, "q"))) == f"{a}:5"


def test_extends_is_relative_to_its_file_and_may_be_a_list(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", "one.yaml", "extends: two.yaml\nx: 1\n")
    write(tmp_path / "base", "two.yaml", "x: 2\ny: 2\n")
    write(tmp_path / "base", "three.yaml", "y: 3\n")
    top = write(tmp_path, "top.yaml", "extends: [base/one.yaml, base/three.yaml]\nz: 4\n")
    assert load([top]).values == {"x": 1, "y": 3, "z": 4}


def test_naming_another_component_starts_the_node_afresh(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "data: {name: replay, capacity: 5}\n")
    b = write(tmp_path, "b.yaml", "data: {name: stream, x: 1}\n")
    assert load([a, b]).values["data"] == {"name": "stream", "x": 1}
    assert load([a], ["data.name=stream"]).values["data"] == {"name": "stream"}
    assert load([a], ["data=stream", "data.x=2"]).values["data"] == {"name": "stream", "x": 2}
    assert load([a], ["data={name: replay, x: 1}"]).values["data"] == {
        "name": "replay",
        "capacity": 5,
        "x": 1,
    }


def test_lists_are_replaced(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "masks: [{p: 1}, {p: 2}]\n")
    b = write(tmp_path, "b.yaml", "masks: [{p: 3}]\n")
    loaded = load([a, b])
    assert loaded.values["masks"] == [{"p": 3}]
    assert ("masks", 1, "p") not in loaded.origins


def test_an_override_is_the_origin_of_everything_in_it(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "masks: [{p: 1}]\ndata: replay\n")
    loaded = load([a], ["masks=[{name: b, q: {r: 2}}]", "loss={name: sac, gamma: 1}"])
    written = {key for key, origin in loaded.origins.items() if origin.source == "command line"}
    masks = [("masks", 0), ("masks", 0, "name"), ("masks", 0, "q"), ("masks", 0, "q", "r")]
    assert written == {("masks",), *masks, ("loss",), ("loss", "name"), ("loss", "gamma")}


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "a: 1e-4\nb: 1_000_000\nc: 3.0e-4\n")
    assert load([a]).values == {"a": 1e-4, "b": 1_000_000, "c": 3e-4}


def test_interpolation_is_resolved_after_the_overrides(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", "x: 1\ny: ${x}\n")
    assert load([a], ["x=5"]).values["y"] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: [1\n", "not valid YAML"),
        ("x: 1\nx: 2\n", "x"),
        ("- 1\n", "a preset is a mapping"),
        ("extends: gone.yaml\n", "there is no preset 'gone.yaml'"),
        ("extends: {a: 1}\n", "extends: must be a file"),
        ("x: ${nothing}\n", "nothing"),
    ],
)
def test_malformed_files_are_one_message_with_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, "bad.yaml", text)
    with pytest.raises(UserError, match=r"bad\.yaml") as caught:
        load([path])
    assert message in str(caught.value)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml\n")
    b = write(tmp_path, "b.yaml", "extends: a.yaml\n")
    with pytest.raises(UserError, match="extends itself"):
        load([b])


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "quickstart.yaml", "x: 1\n")
    with pytest.raises(UserError, match="Did you mean 'quickstart.yaml'"):
        load([tmp_path / "quikstart.yaml"])


@pytest.mark.parametrize("override", ["nonsense", "=3", "a b=3", "x=[1"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    path = write(tmp_path, "a.yaml", "x: 1\n")
    with pytest.raises(UserError, match="command line"):
        load([path], [override])


def test_an_index_beyond_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "masks: [{p: 1}]\n")
    with pytest.raises(UserError, match=r"masks\.3: the list has 1 items"):
        load([path], ["masks.3.p=1"])
