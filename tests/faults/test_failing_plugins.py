"""Plugins that raise in the middle of a run: who is named, and what is left on disk."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.training import checkpoint
from plugins.testing.toys import toy
from tests.conftest import PRESETS

FAULTY = Path(__file__).with_name("faulty_plugin.py").read_text()
KEYS = {
    "environments": ("environment", "{name: faulty, limit: 20}", "environment"),
    "networks": ("network", "{name: faulty}", "network"),
    "masks": ("masks", "[faulty]", "mask"),
    "execution": ("execution", "{name: faulty}", "execution backend"),
    "losses": ("loss", "{name: faulty}", "loss"),
    "optimizers": ("optimizer", "{name: faulty}", "optimizer"),
    "data": ("data", "{name: faulty}", "data source"),
    "diagnostics": ("diagnostics", "[faulty]", "diagnostic"),
    "interventions": ("interventions", "[faulty]", "intervention"),
    "loggers": ("loggers", "[faulty]", "logger"),
}
MIDWAY = [
    # a point, and the call of it that fails: each after the first checkpoint, at frame 50
    *(
        ("environments.step_and_maybe_reset", 140),
        ("environments.reset", 2),
        ("environments.state_dict", 2),
    ),
    *(("networks.forward", 600), ("masks.due", 90), ("masks.change", 1)),
    *(("losses.prepare", 90), ("losses.phase", 300), ("losses.act", 130), ("losses.observe", 130)),
    *(("optimizers.step", 200), ("data.extend", 130), ("data.batches", 130), ("data.save", 2)),
    ("execution.constrain_gradients", 300),
    *(("interventions.intervene", 1), ("interventions.due", 120)),
]
BUILDING = [*(f"{kind}.build" for kind in KEYS), "masks.draw", "execution.attach"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""\
extends: {PRESETS / "base" / "sac.yaml"}
frames: 240
environment: {{name: toy_states, limit: 20}}
network: {{name: mlp, actor: {{hidden: [16]}}, critic: {{hidden: [16]}}}}
data: {{name: replay, capacity: 400, batch_size: 8, learning_starts: 20}}
optimizer: adam
execution: masked
collect: {{random_frames: 20}}
evaluation: {{every: 100, episodes: 1}}
checkpoint: {{every: 50}}
log_every: 50
threads: 1
"""
    )
    return path


def write(folder: Path, point: str = "", call: int = 0, error: str = "RuntimeError") -> Path:
    """The plugin that fails at ``point``; mended without one."""
    path = folder / "faulty.py"
    text = FAULTY.replace('POINT = ""', f"POINT = {point!r}").replace("CALL = 0", f"CALL = {call}")
    path.write_text(text.replace('ERROR = "RuntimeError"', f"ERROR = {error!r}"))
    return path


def arguments(tiny: Path, run: Path, point: str) -> list[str]:
    faulty = tiny.parent / "faulty.py"
    words = ["run", str(tiny), "--plugin", str(faulty), "--plugin", str(toy.__file__)]
    key, value, _ = KEYS.get(point.partition(".")[0], (None, None, None))
    return [*words, *([f"{key}={value}"] if key else []), "--run-dir", str(run)]


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def check_files(run: Path) -> None:
    """Metrics in whole lines, and a checkpoint that can be read."""
    text = (run / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    assert all(isinstance(json.loads(line)["step"], int) for line in text.splitlines())
    assert not list(run.glob("*.tmp"))
    saved = checkpoint.read(run)["counters"]["frames"]
    assert saved in (50, 100, 150)


def metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def last_note(error: BaseException) -> str:
    return str(error.__notes__[-1])


def check_named(said: str, run: Path, point: str) -> None:
    kind = KEYS[point.partition(".")[0]][2]
    named = rf"openwork: this was plugin faulty\.py \w{{12}} \(faulty\.py:\d+\), {kind} 'faulty'; "
    saved = checkpoint.read(run)["counters"]["frames"]
    assert re.fullmatch(
        named + re.escape(f"the run: {run}, last good checkpoint: frame {saved}"), said
    ), said


@pytest.mark.parametrize(("point", "call"), MIDWAY)
def test_a_run_that_a_plugin_ends(
    tiny: Path, tmp_path: Path, point: str, call: int, capsys: Any
) -> None:
    run, words = tmp_path / "run", arguments(tiny, tmp_path / "run", point)
    write(tmp_path, point, call)
    with pytest.raises(RuntimeError, match="a test's fault") as caught:
        main(words)
    check_files(run)
    check_named(last_note(caught.value), run, point)
    said = record(run)
    assert said["outcome"] == "failed"
    assert said["error"]["type"] == "RuntimeError"
    assert said["error"]["message"] == "a test's fault"
    assert said["error"]["plugin"]["distribution"] == "faulty.py"
    assert said["error"]["frame"] == said["frames"] >= 50
    was = said["error"]["plugin"]["version"]
    assert was in said["plugins"][-2]["sha256"]

    write(tmp_path)
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    (line,) = record(run)["resumed"][0]["plugins"]
    assert re.fullmatch(rf"plugin faulty\.py is \w{{12}} now; the run began with {was}", line)
    assert line in capsys.readouterr().out
    assert record(run)["outcome"] == "finished"
    assert record(run)["error"] is None
    assert metrics(run)[-1]["step"] == 240


@pytest.mark.parametrize(("point", "call"), [("data.save", 2), ("environments.state_dict", 2)])
def test_a_checkpoint_that_failed_midway_leaves_no_trace(
    tiny: Path, tmp_path: Path, point: str, call: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write(tmp_path)
    assert main(arguments(tiny, whole, point)) == 0
    write(tmp_path, point, call)
    with pytest.raises(RuntimeError):
        main(arguments(tiny, parts, point))
    assert checkpoint.read(parts)["counters"]["frames"] == 50
    write(tmp_path)
    assert main(["resume", str(parts)]) == 0
    assert metrics(parts) == metrics(whole)


@pytest.mark.parametrize("point", BUILDING)
def test_failing_while_it_is_built_leaves_no_run(tiny: Path, tmp_path: Path, point: str) -> None:
    write(tmp_path, point, 1)
    with pytest.raises(RuntimeError, match="a test's fault") as caught:
        main(arguments(tiny, tmp_path / "run", point))
    kind = KEYS[point.partition(".")[0]][2]
    who = rf"openwork: this was plugin faulty\.py \w{{12}} \(faulty\.py:\d+\), {kind} 'faulty'"
    assert re.fullmatch(who, last_note(caught.value))
    assert not (tmp_path / "run").exists()


def test_failing_while_it_is_built_keeps_what_was_there(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path, "loggers.build", 1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(RuntimeError):
        main(arguments(tiny, tmp_path / "run", "loggers"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("point", "kind"), [("masks.draw answers", "mask"), ("masks.change answers", "mask")]
)
def test_a_wrong_answer_is_its_fault_though_no_line_of_it_raised(
    tiny: Path, tmp_path: Path, point: str, kind: str
) -> None:
    write(tmp_path, point)
    with pytest.raises(ValueError, match="does not fit") as caught:
        main(arguments(tiny, tmp_path / "run", point))
    said = last_note(caught.value)
    assert re.match(rf"openwork: this was plugin faulty\.py \w{{12}}, {kind} 'faulty'", said)


def test_an_answer_that_is_no_number_is_its_fault(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path, "interventions.answers")
    with pytest.raises(ValueError, match="no number") as caught:
        main(arguments(tiny, tmp_path / "run", "interventions."))
    assert "plugin faulty.py" in last_note(caught.value)
    check_files(tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "code"), [("UserError", 2), ("RunStopped", 1), ("KeyboardInterrupt", 130)]
)
def test_errors_that_show_no_traceback_name_the_plugin_too(
    tiny: Path, tmp_path: Path, error: str, code: int, capsys: Any
) -> None:
    write(tmp_path, "losses.prepare", 90, error)
    run = tmp_path / "run"
    assert main(arguments(tiny, run, "losses")) == code
    said = capsys.readouterr()
    text = (said.out if error == "RunStopped" else said.err).strip().splitlines()
    assert "this was plugin faulty.py" in text[-1]
    assert "loss 'faulty'" in text[-1]
    check_files(run)
    assert record(run)["outcome"] == "failed"
    assert record(run)["error"]["type"] == error
    assert record(run)["error"]["plugin"]["distribution"] == "faulty.py"
    write(tmp_path)
    assert main(["resume", str(run)]) == 0


def test_a_plugin_cannot_end_the_process_without_a_word(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path, "losses.prepare", 90, "SystemExit")
    with pytest.raises(RuntimeError, match="sys.exit") as caught:
        main(arguments(tiny, tmp_path / "run", "losses"))
    assert "this was plugin faulty.py" in last_note(caught.value)
    assert record(tmp_path / "run")["outcome"] == "failed"


@pytest.mark.parametrize(
    ("point", "error"),
    [
        *(("loggers.write", "RuntimeError"), ("loggers.write", "SystemExit")),
        *(("diagnostics.measure", "RuntimeError"), ("diagnostics.measure", "SystemExit")),
        ("loggers.close", "RuntimeError"),
        *(("evaluated", "RuntimeError"), ("evaluated", "SystemExit")),
        ("run_finished", "RuntimeError"),
    ],
)
def test_who_only_looks_on_does_not_end_a_run(
    tiny: Path, tmp_path: Path, point: str, error: str
) -> None:
    write(tmp_path, point, 1, error)
    run = tmp_path / "run"
    with pytest.warns(UserWarning, match=r"faulty\.py \w{12}.* failed.*a test's fault"):
        assert main(arguments(tiny, run, point)) == 0
    assert record(run)["outcome"] == "finished"
    if point.startswith("diagnostics"):
        (note,) = record(run)["disabled"]
        assert re.fullmatch(r"diagnostic 'faulty' \(faulty\.py \w{12}\)", note["title"])


def test_a_watcher_that_interrupts_at_the_end_finds_all_written(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path, "run_finished", 1, "KeyboardInterrupt")
    assert main(arguments(tiny, tmp_path / "run", "")) == 130
    assert record(tmp_path / "run")["outcome"] == "finished"


def test_a_fault_of_ours_is_not_laid_on_a_plugin(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    write(tmp_path)
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.training.loop.Run._log", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            main(arguments(tiny, run, "losses"))
    assert last_note(caught.value) == f"openwork: the run: {run}, last good checkpoint: none"
    assert record(run)["error"]["plugin"] is None


def test_failing_while_it_is_restored_leaves_the_run_as_it_was(tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(tmp_path, "losses.prepare", 90)
    with pytest.raises(RuntimeError):
        main([*arguments(tiny, run, "environments"), "loss={name: faulty}"])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    write(tmp_path, "environments.load_state_dict", 1)
    with pytest.raises(RuntimeError) as caught:
        main(["resume", str(run)])
    assert "environment 'faulty'" in last_note(caught.value)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_plugin_file_that_is_gone_is_one_message(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path)
    run = tmp_path / "run"
    assert main([*arguments(tiny, run, "losses"), "frames=100"]) == 0
    moved = tmp_path / "elsewhere" / "faulty.py"
    moved.parent.mkdir()
    shutil.move(path, moved)
    assert main(["resume", str(run), "frames=120"]) == 2
    assert f"the run's plugin file {path} is gone" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["resume", str(run), "frames=120", "--plugin", str(moved)]) == 0
    assert "plugins" not in record(run)["resumed"][0]
