"""``watch`` as it is called: which run, which exit code, what is left on the terminal."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.cli.session import Session
from plugins.commands.watch.follow import Watched
from tests.support.recorded import write_run

ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
HIDDEN, VISIBLE = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """``watch`` in a pseudo-terminal of 80x24."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        gone = {"COLUMNS", "LINES", "NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR"}
        environment = {k: v for k, v in os.environ.items() if k not in gone}
        # As a terminal starts it: what runs in the background of a script ignores Ctrl-C.
        previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core", "watch", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )
        signal.signal(signal.SIGINT, previous)
        os.close(theirs)
        self._end = ours
        self.output = b""

    def read(self, until: bytes | None = None, seconds: float = 30) -> bytes:
        """Read on until these bytes come, or the process ends."""
        start, deadline = len(self.output), time.monotonic() + seconds
        while until is None or until not in self.output[start:]:
            assert time.monotonic() < deadline, self.output
            if not select.select([self._end], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._end, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not data:
                break
            self.output += data
        return self.output[start:]


def append(run: Path, **scalars: Any) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(scalars) + "\n")


def end(run: Path, **fields: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "new.json").write_text(json.dumps(record | fields))
    os.replace(run / "new.json", run / "run.json")


def test_it_follows_a_run_and_ends_with_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    terminal = Terminal(str(run), "--every", "0.05")
    first = terminal.read(b"Ctrl-C")
    assert ALTERNATE in first
    assert HIDDEN in first
    assert b"43,000 of 60,000 frames" in first
    append(run, step=44_000, **{"loss/critic": 0.0123})
    terminal.read(b"0.0123")
    append(run, step=60_000, **{"eval/return": 512.34})
    end(run, outcome="finished", frames=60_000)
    terminal.read()
    assert terminal.process.wait(10) == 0
    after = terminal.output.partition(BACK)[2]
    assert VISIBLE in terminal.output.partition(ALTERNATE)[2]
    assert b"100%" in after  # the last view stays to be read
    words = b"finished: 60,000 of 60,000 frames; evaluation return 512.3 at frame 60,000"
    assert words in after
    assert b"\x1b[2J" not in terminal.output  # never blank between two views


def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    terminal = Terminal(str(run))
    terminal.read(b"Ctrl-C")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read()
    assert terminal.process.wait(10) == 130
    after = terminal.output.partition(BACK)[2]
    assert BACK in terminal.output
    assert terminal.output.rindex(VISIBLE) > terminal.output.rindex(HIDDEN)
    assert after.replace(VISIBLE, b"").strip() == b""  # no traceback, nothing at all
    assert before == {path: path.read_bytes() for path in before}


def test_a_run_that_vanishes_is_a_message_on_a_clean_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    terminal = Terminal(str(run), "--every", "0.05")
    terminal.read(b"Ctrl-C")
    run.rename(tmp_path / "gone")
    terminal.read()
    assert terminal.process.wait(10) == 2
    after = terminal.output.partition(BACK)[2]
    assert b"run.json: No such file" in after
    assert b"Traceback" not in after


def test_a_run_with_no_line_yet_is_waited_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=0, outcome=None)
    (run / "metrics.jsonl").unlink()
    terminal = Terminal(str(run), "--every", "0.05")
    assert b"no line yet" in terminal.read(b"Ctrl-C")
    append(run, step=1_000, **{"train/return": 12.5})
    terminal.read(b"1,000 of 60,000 frames")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read()
    assert terminal.process.wait(10) == 130


# --- once, and where there is no terminal -----------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--once"]])
def test_without_a_terminal_the_view_is_printed_once(
    tmp_path: Path, capsys: Any, arguments: list[str]
) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    assert main(["watch", str(run), *arguments]) == 0
    out = capsys.readouterr().out
    assert "43,000 of 60,000 frames" in out
    assert "target_q" in out
    assert "\x1b" not in out
    assert "finished" not in out


def test_garbage_is_collected_while_a_run_is_watched(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    poll, collecting = Watched.poll, []

    def watched(self: Watched) -> None:
        collecting.append(gc.isenabled())  # the command line turns it off for the start
        poll(self)

    monkeypatch.setattr(Watched, "poll", watched)
    assert main(["watch", str(run)]) == 0
    assert collecting == [True]


def test_once_in_a_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    terminal = Terminal(str(run), "--once")
    out = terminal.read()
    assert terminal.process.wait(10) == 0
    assert ALTERNATE not in out
    assert out.count(b"43,000 of 60,000 frames") == 1


@pytest.mark.parametrize("outcome", ["finished", "interrupted", "failed"])
def test_a_run_that_ended_is_shown_with_its_outcome(
    tmp_path: Path, capsys: Any, outcome: str
) -> None:
    run = write_run(tmp_path / "run", reached=30_000, outcome=outcome)
    assert main(["watch", str(run)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{outcome}: 30,000 of 60,000 frames; evaluation return ")
    assert last.endswith(f"at frame 30,000; {run}")


def test_a_writer_in_another_thread(tmp_path: Path, capsys: Any) -> None:
    run = write_run(tmp_path / "run", reached=0, outcome=None)
    steps = [0]

    def write() -> None:
        for step in range(1, 200):
            append(run, step=step, **{"train/return": float(step)})
            steps[0] = step

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        before = steps[0]
        assert main(["watch", str(run), "--once"]) == 0
        count = next(x for x in capsys.readouterr().out.splitlines() if " of 60,000" in x)
        assert before <= int(count.split("%")[1].split()[0]) <= steps[0] + 1
    writer.join()


# --- which run --------------------------------------------------------------------------


def test_the_newest_of_a_folder(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    for i, name in enumerate(("b", "c", "a")):
        run = write_run(tmp_path / "runs" / name, reached=1_000 * i, outcome=None)
        for path in (run / "run.json", run / "metrics.jsonl"):
            os.utime(path, (1e9 + i, 1e9 + i))
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["runs"]):
        assert main(["watch", *arguments]) == 0
        first, *view = capsys.readouterr().out.splitlines()
        assert first == "runs/a: the newest of 3 in runs"
        assert "2,000 of 60,000 frames" in "\n".join(view)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dense-s0"], "dense-s0: not a run directory (there is no dense-s0/run.json)"),
        (["runs/dense-s0-1a2b"], "Did you mean 'runs/dense-s0-1a2b3c'?"),
        (["dense-s0-1a2b3c"], "Did you mean 'runs/dense-s0-1a2b3c'?"),
        (["empty"], "empty: not a run directory"),
        (["file.txt"], "file.txt: not a run directory"),
        (["runs", "--every", "0"], "--every must be in (0, 3600] seconds, got 0.0"),
        (["runs", "--every", "nan"], "--every must be in (0, 3600] seconds, got nan"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: Any, monkeypatch: Any, arguments: list[str], message: str
) -> None:
    write_run(tmp_path / "runs" / "dense-s0-1a2b3c")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_no_run_at_all(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch"]) == 2
    assert "runs: not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--oncee"], ["a", "b"], ["a", "seed=1"]])
def test_what_it_does_not_take_is_refused(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["watch", *arguments])
    assert arguments[-1] in capsys.readouterr().err


# --- what it rests on -------------------------------------------------------------------


def test_it_starts_without_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None)
    code = (
        "import sys; from core.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'torchrl', 'tensordict', 'matplotlib', 'mujoco'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    command = [sys.executable, "-c", code, "watch", str(run)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "43,000 of 60,000 frames" in done.stdout


def test_a_real_run_and_its_resumption(
    tiny: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    run = tmp_path / "run"
    assert main(["run", str(tiny), "frames=200", "--run-dir", str(run)]) == 0
    capsys.readouterr()
    assert main(["watch", str(run)]) == 0
    assert "finished: 200 of 200 frames; evaluation return" in capsys.readouterr().out
    seen = []
    drive = Session.drive

    def watched(self: Session, *arguments: Any, **named: Any) -> int:
        assert main(["watch", str(run)]) == 0
        seen.append(capsys.readouterr().out)
        return drive(self, *arguments, **named)

    monkeypatch.setattr(Session, "drive", watched)
    assert main(["resume", str(run), "frames=300"]) == 0
    assert "running, last line" in seen[0]  # what it was before does not count any more
    assert "200 of 300 frames" in seen[0]
    assert "resumed at frame 200 frames=300" in seen[0]
    assert "finished:" not in seen[0]
