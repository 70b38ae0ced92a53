"""Following a run's files while another process writes them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.errors import UserError
from plugins.commands.watch.follow import Course, Tail, Watched, runs_in
from tests.support.recorded import write_run

NOW = 1_800_000_000.0


def whole_lines(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)


# --- the lines --------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 60)),  # bytes, wherever they end
            st.tuples(st.just("cut"), st.integers(0, 12)),  # to so many lines
            st.tuples(st.just("read"), st.just(0)),
        ),
        max_size=40,
    )
)
def test_what_was_read_is_what_the_file_holds(
    tmp_path_factory: Any, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "metrics.jsonl"
    tail, seen, written, line = Tail(path), [], b"", 0
    for what, amount in [*steps, ("read", 0)]:
        if what == "append":
            while len(written) < amount:  # every line is another one, also after a cut
                line += 1
                written += b'{"step": %d}\n' % line
            with path.open("ab") as file:
                file.write(written[:amount])
            written = written[amount:]
        elif what == "cut" and path.exists():
            # as a resumed run does it: whatever was written after the checkpoint goes
            os.truncate(path, len(b"".join(whole_lines(path)[:amount])))
            written = b""
        elif what == "read":
            lines, anew = tail.read()
            seen = lines if anew else seen + lines
            assert seen == (whole_lines(path) if path.exists() else [])


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    line = b'{"step": 1000, "loss/critic": 0.5}\n'
    path.write_bytes(line * 10_000)
    tail = Tail(path)
    assert len(tail.read()[0]) == 10_000
    taken: list[int] = []
    opened = Path.open

    def counting(self: Path, *arguments: Any) -> Any:
        file = opened(self, *arguments)
        read = file.read

        class Counted:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *exception: object) -> None:
                file.close()

            def seek(self, place: int) -> None:
                file.seek(place)

            def read(self) -> bytes:
                data: bytes = read()
                taken.append(len(data))
                return data

        return Counted()

    with path.open("ab") as file:
        file.write(line)
    monkeypatch.setattr(Path, "open", counting)
    assert tail.read() == ([line], False)
    assert sum(taken) == 2 * len(line)  # the last one known, and the new one


def test_a_line_counts_once_its_end_is_there(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st')
    tail = Tail(path)
    assert tail.read() == ([b'{"step": 1}\n'], False)
    assert tail.read() == ([], False)
    with path.open("ab") as file:
        file.write(b'ep": 2}\n')
    assert tail.read() == ([b'{"step": 2}\n'], False)


WRITER = """
import os, sys, time
path, lines = sys.argv[1], 300
def write(first, last, mark):
    with open(path, "a") as file:
        for step in range(first, last + 1):
            line = '{"step": %d, "loss/critic": %d.5, "mark": %d}\\n' % (step, step, mark)
            file.write(line[:9]); file.flush()
            file.write(line[9:]); file.flush()
            time.sleep(0.0005)
    return os.path.getsize(path)
kept = write(1, 150, 1)
write(151, lines, 1)
while not os.path.exists(path + ".seen"):
    time.sleep(0.001)
os.truncate(path, kept)  # what a resumed run does
write(151, lines, 2)
"""


def test_another_process_writes_and_the_run_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail, course, restarts, partial = Tail(path), Course(), 0, 0
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    running = True
    while running:
        running = writer.poll() is None
        lines, anew = tail.read()
        course = Course() if anew else course
        restarts += anew
        for line in lines:
            course.add(line)
        partial += 0 < course.step < 300
        if course.step == 300:
            (tmp_path / "metrics.jsonl.seen").touch()
    assert writer.returncode == 0
    assert restarts == 1
    assert partial > 0  # it was read while it was written
    assert list(course.series["loss/critic"].steps) == list(range(1, 301))
    assert list(course.series["loss/critic"].values) == [step + 0.5 for step in range(1, 301)]
    assert list(course.series["mark"].values) == [1.0] * 150 + [2.0] * 150


@pytest.mark.parametrize(
    "text",
    [
        b"\n",
        b"[1]\n",
        b'{"loss": 1}\n',
        b'{"step": null}\n',
        b'{"step": "a"}\n',
        b'{"step": 2, "loss": [1]}\n',
        b'{"step": 2, "loss": "high"}\n',
        b'{"step": 2, "lo\n',
        b"\xff\n",
    ],
)
def test_a_damaged_line_counts_for_nothing(text: bytes) -> None:
    course = Course()
    course.add(b'{"step": 1, "loss": 0.5}\n')
    course.add(text)
    assert course.step == 1
    assert set(course.series) == {"loss"}
    assert list(course.series["loss"].values) == [0.5]


def test_what_is_not_finite_is_the_latest_and_no_part_of_the_curve() -> None:
    course = Course()
    for value in ("1.0", "null", "2.0", "null"):
        course.add(b'{"step": 1, "loss": %s}\n' % value.encode())
    assert math.isnan(course.latest("loss"))
    assert list(course.series["loss"].values) == [1.0, 2.0]


def test_speed_and_time_left_are_of_the_last_lines(tmp_path: Path) -> None:
    run = Watched(write_run(tmp_path / "run", reached=0, outcome=None))
    with (run.directory / "metrics.jsonl").open("a") as file:
        for step in range(1, 31):  # the first ten thousand frames are quick, as random ones are
            seconds = step if step <= 10 else 10 + 10 * (step - 10)
            file.write(json.dumps({"step": 1000 * step, "time/elapsed": seconds}) + "\n")
    run.poll()
    assert run.course.gap == 10
    assert run.seconds_left == pytest.approx(30 * 10)


def test_with_the_outcome_all_lines_are_there(tmp_path: Path, monkeypatch: Any) -> None:
    run = Watched(write_run(tmp_path / "run", reached=9_000, outcome=None))
    read = Tail.read

    def just_before_the_end(self: Tail) -> Any:
        found = read(self)
        write_run(run.directory, reached=60_000)  # the last lines, and then the outcome
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Tail, "read", just_before_the_end)
        run.poll()
    assert run.outcome is None
    run.poll()
    assert (run.outcome, run.course.step) == ("finished", 60_000)


# --- the state --------------------------------------------------------------------------


def aged(run: Path, seconds: float) -> None:
    for path in (run / "run.json", run / "metrics.jsonl"):
        os.utime(path, (NOW - seconds, NOW - seconds))


@pytest.mark.parametrize(
    ("reached", "outcome", "age", "state"),
    [
        (0, None, 30, "starting"),
        (0, None, 700, "silent"),
        (9_000, None, 1, "running"),
        (9_000, None, 50, "running"),
        (9_000, None, 70, "silent"),  # a line came every 4.5 seconds
        (60_000, None, 1, "running"),  # the last evaluation is done, the outcome not written
        (60_000, "finished", 10_000, "finished"),
        (9_000, "interrupted", 1, "interrupted"),
        (9_000, "failed", 1, "failed"),
    ],
)
def test_state(tmp_path: Path, reached: int, outcome: str | None, age: float, state: str) -> None:
    directory = write_run(tmp_path / "run", reached=reached, outcome=outcome, diagnostics=False)
    aged(directory, age)
    run = Watched(directory)
    run.poll()
    assert run.age(NOW) == pytest.approx(age, abs=0.01)
    assert run.state(NOW) == state


def test_silence_is_measured_by_the_usual_gap(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", reached=0, outcome=None)
    lines = [{"step": 1000 * i, "loss/critic": 1.0, "time/elapsed": 100.0 * i} for i in (1, 2)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text)
    for age, state in ((400, "running"), (600, "silent")):
        aged(directory, age)
        run = Watched(directory)
        run.poll()
        assert run.state(NOW) == state


def test_an_evaluation_is_told_by_the_line_that_is_due(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", reached=20_000, outcome=None, diagnostics=False)
    path = directory / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"eval/return" in lines[-1]
    run = Watched(directory)
    path.write_bytes(b"".join(lines[:-1]))
    for age, state in ((1, "evaluating"), (500, "evaluating"), (700, "silent")):
        aged(directory, age)
        run.poll()
        assert run.state(NOW) == state
    path.write_bytes(b"".join(lines))
    aged(directory, 1)
    run.poll()
    assert run.state(NOW) == "running"
    assert run.course.evaluated == 20_000


def test_the_last_evaluation_is_due_at_the_last_frame(tmp_path: Path) -> None:
    changes = {"evaluation.every": None}
    directory = write_run(
        tmp_path / "run", reached=9_000, frames=9_000, outcome=None, changes=changes
    )
    run = Watched(directory)
    run.poll()
    assert run.state(time.time()) == "evaluating"


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", reached=30_000, outcome="interrupted")
    run = Watched(directory)
    run.poll()
    assert (run.outcome, run.frames) == ("interrupted", 60_000)
    path = directory / "run.json"
    record = json.loads(path.read_text())
    record |= {"outcome": None, "resumed": [{"frame": 30_000, "with": ["frames=90_000"]}]}
    path.write_text(json.dumps(record))
    run.poll()
    assert (run.outcome, run.frames) == (None, 90_000)
    assert run.state(time.time()) == "running"


def test_frames_that_are_trained_again_count_once(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", reached=30_000, outcome=None)
    path = directory / "metrics.jsonl"
    run = Watched(directory)
    run.poll()
    spent = run.course.diagnosing
    kept = [line for line in whole_lines(path) if json.loads(line)["step"] <= 20_000]
    path.write_bytes(b"".join(kept))
    run.poll()
    assert run.course.step == run.course.evaluated == 20_000
    assert list(run.course.series["eval/return"].steps) == [10_000, 20_000]
    assert len(run.course.series["train/return"].values) == 20
    assert 0 < run.course.diagnosing < spent


def test_interventions_by_their_frames(tmp_path: Path) -> None:
    run = Watched(write_run(tmp_path / "run", reached=40_000, reset_every=15_000, outcome=None))
    run.poll()
    assert run.named("interventions") == ["periodic_reset"]
    assert run.happened("periodic_reset") == [15_000, 30_000]
    assert run.happened("redo") == []


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", '{"id": ', "run.json:1: damaged"),
        ("run.json", "[]", "damaged"),
        ("resolved.yaml", "frames: many\nevaluation: {every: 5}\n", "damaged"),
        ("resolved.yaml", "seed: 1\n", "damaged: KeyError('frames')"),
        ("resolved.yaml", "a: [", "resolved.yaml"),
    ],
)
def test_a_damaged_run_is_one_message(tmp_path: Path, name: str, text: str, message: str) -> None:
    directory = write_run(tmp_path / "run")
    (directory / name).write_text(text)
    with pytest.raises(UserError) as caught:
        Watched(directory).poll()
    assert message in str(caught.value)


def test_a_run_that_is_deleted_is_one_message(tmp_path: Path) -> None:
    run = Watched(write_run(tmp_path / "run", outcome=None))
    run.poll()
    run.directory.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="No such file"):
        run.poll()


def test_runs_of_a_folder_newest_first(tmp_path: Path) -> None:
    for seconds, name in ((30, "old"), (20, "new"), (25, "between")):
        aged(write_run(tmp_path / name), seconds)
    os.utime(tmp_path / "old" / "metrics.jsonl", (NOW, NOW))  # resumed
    (tmp_path / "none").mkdir()
    assert [run.name for run in runs_in(tmp_path)] == ["old", "new", "between"]
