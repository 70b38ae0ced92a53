"""The verbs, in this process: exit codes, messages, what is on disk."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.cli import main
from core.training.loop import Run
from tests.conftest import PRESETS, write_tiny
from tests.support.run_directories import metrics, same, weights

QUICKSTART = str(PRESETS / "quickstart.yaml")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 400 frames that nothing disturbed; its preset beside it."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*words(write_tiny(folder)), "--run-dir", str(folder / "run")]) == 0
    assert f"run directory: {folder / 'run'}" in out.getvalue()
    assert "finished: 400 frames" in out.getvalue()
    return folder / "run"


def words(preset: Path, *overrides: str) -> list[str]:
    return ["run", str(preset), "frames=400", *overrides]


def test_a_run_leaves_its_record(whole: Path) -> None:
    directory, tiny = whole, whole.parent / "tiny.yaml"
    record = json.loads((directory / "run.json").read_text())
    assert record["outcome"] == "finished"
    assert record["frames"] == 400
    by_place = {component["at"]: component for component in record["components"]}
    assert by_place["masks.0"]["name"] == "erdos_renyi"
    assert by_place["masks.0"]["options"]["sparsity"] == 0.8
    assert by_place["loss"]["provider"]["distribution"] == "openwork"
    assert record["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert record["set_by"]["data.capacity"] == f"{tiny}:5"

    lines = metrics(directory)
    steps = [line["step"] for line in lines if "loss/critic" in line]
    assert steps[-1] == 400
    assert all(b - a == 100 for a, b in itertools.pairwise(steps))
    evaluations = [line for line in lines if "eval/return" in line]
    assert [line["step"] for line in evaluations] == [200, 400]
    assert any("train/return" in line for line in lines)


def test_another_seed_gives_another_run(whole: Path, tiny: Path, tmp_path: Path) -> None:
    assert main([*words(tiny, "seed=1"), "--run-dir", str(tmp_path / "run")]) == 0
    assert not same(whole, tmp_path / "run")


def test_evaluation_does_not_disturb_training(whole: Path, tiny: Path, tmp_path: Path) -> None:
    arguments = words(tiny, "evaluation.every=1_000_000")
    assert main([*arguments, "--run-dir", str(tmp_path / "never")]) == 0
    a, b = weights(whole), weights(tmp_path / "never")
    assert all(torch.equal(a[k], b[k]) for k in a)


def interrupted(stop_at: int, arguments: list[str]) -> None:
    """Ctrl-C at a frame."""
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert main(arguments) == 130


def test_stopped_and_resumed_equals_undisturbed(whole: Path, tiny: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    interrupted(150, [*words(tiny), "--run-dir", str(parts)])  # in the random phase
    interrupted(334, ["resume", str(parts)])
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)


def test_so_with_several_environments_and_steps(tiny: Path, tmp_path: Path) -> None:
    several = words(tiny, "environment.count=3", "collect.steps=7")
    assert main([*several, "--run-dir", str(tmp_path / "whole")]) == 0
    interrupted(330, [*several, "--run-dir", str(tmp_path / "parts")])
    assert main(["resume", str(tmp_path / "parts")]) == 0
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_killed_without_warning_and_resumed_equals_undisturbed(
    whole: Path, tiny: Path, tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    # Anywhere between the first checkpoint and the end.
    frame = random.SystemRandom().randrange(132, 400)
    killer = (
        "import os, signal, sys; from core.training.loop import Run; old = Run._iterate\n"
        "def iterate(self, t):\n"
        "    yield from old(self, t)\n"
        f"    if self.counters.frames >= {frame}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Run._iterate = iterate\n"
        "from core.cli import main; main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", killer, *words(tiny), "--run-dir", str(parts)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts), f"killed at frame {frame}"


def test_sigterm_stops_cleanly(tiny: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    iterate = Run._iterate

    def terminate(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "_iterate", terminate)
    assert main(["run", str(tiny), "--run-dir", str(tmp_path / "run")]) == 143
    assert f"python -m core resume {tmp_path / 'run'}" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["outcome"] == "interrupted"


def test_resume_to_more_frames(whole: Path, tmp_path: Path, capsys: Any) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    assert main(["resume", str(run)]) == 2
    assert "all 400 frames are done; give more" in capsys.readouterr().err
    assert main(["resume", str(run), "frames=500"]) == 0
    assert metrics(run)[-1]["step"] == 500


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "seed=1"], "give at least one preset file"),
        (["run", str(PRESETS / "quikstart.yaml")], "Did you mean 'quickstart.yaml'"),
        (["run", QUICKSTART, "environment.task=walker-wlak"], "Did you mean 'walker-walk'"),
        (["run", QUICKSTART, "environment.task=wolker-walk"], "environment.task"),
        (["run", QUICKSTART, "masks.0.target=critc"], "actor, critic, all"),
        (["run", QUICKSTART, "device=cuda"], "no CUDA device"),
        (["run", QUICKSTART, "network=drq_cnn"], "needs pixel observations"),
        (["run", QUICKSTART, "data.capacity=1_000_000_000_000"], "data.capacity"),
        (["run", QUICKSTART, "--plugin", "gone.py"], "there is no such file"),
        (["resume", "nowhere"], "not a run directory"),
        (["describe", QUICKSTART, "loss.gamma=2"], "loss.gamma"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], expected: str, capsys: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    if torch.cuda.is_available() and "device=cuda" in arguments:
        pytest.skip("there is a CUDA device")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    # nothing is left behind, least of all an empty run
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_overrides_may_stand_behind_options(tiny: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["run", "frames=100", str(tiny), "--run-dir", str(run), "seed=9"]) == 0
    assert json.loads((run / "run.json").read_text())["seed"] == 9


def test_an_unknown_flag_is_refused(tiny: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(tiny), "--run-dri", "x"])
    assert "--run-dri" in capsys.readouterr().err


def test_a_run_directory_is_never_overwritten(whole: Path, tiny: Path, capsys: Any) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    assert main(["run", str(tiny), "--run-dir", str(whole)]) == 2
    assert "python -m core resume" in capsys.readouterr().err
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_what_may_not_change_on_resume(whole: Path, capsys: Any) -> None:
    assert main(["resume", str(whole), "loss.gamma=0.5"]) == 2
    assert "'loss' cannot change" in capsys.readouterr().err
