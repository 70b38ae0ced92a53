"""Watch hooks are told what a run does, with what it is."""

from __future__ import annotations

from pathlib import Path

from core.cli import main

WATCHER = """
from core.api import hookimpl
from pathlib import Path

def note(text):
    with Path({path!r}).open("a") as file:
        file.write(text + "\\n")

@hookimpl
def run_started(run, resumed):
    note(f"started {{run.name}} {{run.config['seed']}} {{resumed}}")

@hookimpl
def evaluated(run, step, metrics):
    note(f"evaluated {{step}} {{'eval/return' in metrics}}")

@hookimpl
def checkpoint_saved(step, path):
    note(f"saved {{step}} {{path.name}}")

@hookimpl
def run_finished(run, step, outcome):
    note(f"finished {{step}} {{outcome}}")
"""


def test_a_run_tells_its_watchers(tiny: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (tmp_path / "watcher.py").write_text(WATCHER.format(path=str(notes)))
    watcher = ["--plugin", str(tmp_path / "watcher.py")]
    run = ["--run-dir", str(tmp_path / "run")]
    assert main(["run", str(tiny), "frames=300", "seed=4", *watcher, *run]) == 0
    assert notes.read_text().splitlines() == [
        "started tiny 4 False",
        "saved 130 state.pt",
        "evaluated 200 True",
        "saved 260 state.pt",
        "evaluated 300 True",
        "saved 300 state.pt",
        "finished 300 finished",
    ]
