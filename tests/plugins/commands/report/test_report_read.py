"""Run directories are read whatever their state, and what is wrong with them is told."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.errors import UserError
from core.cli import main
from plugins.commands.report.metrics import read_metrics
from plugins.commands.report.read import find_runs, read_run
from tests.support.recorded import write_run, write_study

METRICS = "metrics.jsonl"


def metrics(tmp_path: Path, text: str) -> tuple[dict[str, list[Any]], list[str]]:
    """Metrics as lists, NaN as None, and the problems."""
    path = tmp_path / METRICS
    path.write_text(text)
    problems: list[str] = []
    series = read_metrics(path, problems)
    plain = {
        name: [
            (int(s), None if math.isnan(v) else v) for s, v in zip(o.steps, o.values, strict=True)
        ]
        for name, o in series.items()
    }
    return plain, problems


# --- a whole run ------------------------------------------------------------------------


def test_a_whole_run_is_read_without_complaint(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "sparse-s0")
    run = read_run(directory)
    assert run.problems == ()
    assert run.title == "sparse-s0"
    assert run.record["outcome"] == "finished"
    assert run.config["masks"][0]["sparsity"] == 0.8
    assert run.config["optimizer"]["lr"] == 1e-3
    for line in map(json.loads, (directory / METRICS).read_text().splitlines()):
        step = line.pop("step")
        for name, value in line.items():
            series = run.series[name]
            assert series.values[np.searchsorted(series.steps, step)] == value
    assert run.series["eval/return"].steps.tolist() == [10_000 * i for i in range(1, 7)]
    matrices = run.matrices["gradient_interference/critic"]
    assert list(matrices) == [5_000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
    assert np.load(matrices[60_000]).shape == (16, 16)


def test_made_up_runs_have_the_records_of_real_ones(tiny: Path, tmp_path: Path) -> None:
    assert main(["run", str(tiny), "frames=300", "--run-dir", str(tmp_path / "real")]) == 0
    real, made = read_run(tmp_path / "real"), read_run(write_run(tmp_path / "made"))
    assert real.problems == ()
    assert set(real.record) == set(made.record)
    for key in ("host", "git", "densities"):
        if real.record[key] is not None:
            assert set(real.record[key]) == set(made.record[key])
    assert set(real.record["components"][0]) == set(made.record["components"][0])
    layers = [next(iter(run.record["densities"]["critic"].values())) for run in (real, made)]
    assert set(layers[0]) == set(layers[1])
    assert list(made.config) == list(real.config)
    kinds = {name.partition("/")[0] for name in made.series} - {"gradient_interference"}
    assert kinds <= {name.partition("/")[0] for name in real.series}


# --- metrics ----------------------------------------------------------------------------


def test_lines_that_share_a_step_are_one_and_the_later_value_counts(tmp_path: Path) -> None:
    text = '{"step": 1, "a": 1, "b": 2}\n{"step": 2, "a": 3}\n{"step": 2, "b": 4, "a": 5}\n'
    assert metrics(tmp_path, text) == ({"a": [(1, 1), (2, 5)], "b": [(1, 2), (2, 4)]}, [])


def test_steps_are_put_in_order(tmp_path: Path) -> None:
    text = '{"step": 3, "a": 1}\n{"step": 1, "a": 2}\n{"step": 3, "a": 4}\n'
    assert metrics(tmp_path, text)[0] == {"a": [(1, 2), (3, 4)]}


def test_what_is_not_finite_is_nan(tmp_path: Path) -> None:
    text = '{"step": 1, "a": null}\n{"step": 2, "a": Infinity}\n{"step": 3, "a": NaN}\n'
    assert metrics(tmp_path, text) == ({"a": [(1, None), (2, None), (3, None)]}, [])


@pytest.mark.parametrize(
    "end", ['{"step": 2, "a"', "{", '{"step": 2}}', "\0\0\0\0", '{"step": 2, "a": 1']
)
def test_a_half_written_last_line_is_dropped_without_a_word(tmp_path: Path, end: str) -> None:
    assert metrics(tmp_path, '{"step": 1, "a": 1}\n' + end) == ({"a": [(1, 1)]}, [])


def test_a_last_line_that_only_lacks_its_end_counts(tmp_path: Path) -> None:
    assert metrics(tmp_path, '{"step": 1, "a": 1}') == ({"a": [(1, 1)]}, [])


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 2, "a": 1',
        "[1, 2]",
        "3",
        '{"a": 1}',
        '{"step": 2.5, "a": 1}',
        '{"step": true, "a": 1}',
        '{"step": 2, "a": "one"}',
        '{"step": 2, "a": [1]}',
        '{"step": 99999999999999999999999, "a": 1}',
        "[" * 100_000,
        "\0\0",
        " ",
    ],
)
def test_a_damaged_line_is_told_by_its_number(tmp_path: Path, line: str) -> None:
    text = f'{{"step": 1, "a": 1}}\n{line}\n{{"step": 3, "a": 3}}\n'
    expected = ["metrics.jsonl: line 2 is damaged and was left out"]
    assert metrics(tmp_path, text) == ({"a": [(1, 1), (3, 3)]}, expected)


def test_many_damaged_lines_are_one_sentence(tmp_path: Path) -> None:
    _, problems = metrics(tmp_path, "?\n" * 11 + '{"step": 1, "a": 1}\n')
    numbers = "1, 2, 3, 4, 5, 6, 7, 8 and 3 more"
    assert problems == [f"metrics.jsonl: 11 damaged lines were left out: {numbers}"]


LINES = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, 9),
            st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(-9, 9), max_size=3),
        ),
        st.sampled_from(["", "{", "nonsense"]),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(lines=LINES)
def test_any_mixture_is_read_as_by_a_plain_loop(
    lines: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected: dict[str, dict[int, Any]] = {}
    text, damaged = "", 0
    for line in lines:
        if isinstance(line, str):
            text += line + "\n"
            damaged += line != ""
            continue
        step, scalars = line
        text += json.dumps({"step": step} | scalars) + "\n"
        for name, value in scalars.items():
            expected.setdefault(name, {})[step] = value
    found, problems = metrics(tmp_path_factory.getbasetemp(), text)
    assert found == {name: sorted(values.items()) for name, values in expected.items()}
    assert any("damaged" in problem for problem in problems) == (damaged > 0)


def test_reading_is_fast(tmp_path: Path) -> None:
    scalars = {f"group/metric{i}": i + 0.123456789 for i in range(15)}
    lines = "".join(json.dumps({"step": 1000 * i} | scalars) + "\n" for i in range(5_000))
    (tmp_path / METRICS).write_text(lines)
    started = time.process_time()
    series = read_metrics(tmp_path / METRICS, [])
    assert time.process_time() - started < 0.5  # 0.06 s where this was written
    assert len(series["group/metric3"].steps) == 5_000


# --- what is missing or damaged ---------------------------------------------------------


def problems_of(directory: Path) -> str:
    return "\n".join(read_run(directory).problems)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("run.json", None, "run.json is missing"),
        ("run.json", "", "run.json is damaged: line 1: Expecting value"),
        ("run.json", '{\n"id": ', "run.json is damaged: line 2: Expecting value"),
        ("run.json", "[]", "run.json is damaged: not a mapping"),
        ("resolved.yaml", None, "resolved.yaml is missing"),
        ("resolved.yaml", "", "resolved.yaml is empty"),
        ("resolved.yaml", "a: [1\nb: 2\n", "resolved.yaml is damaged: line 2"),
        ("resolved.yaml", "1: 2\n", "resolved.yaml is damaged: not a mapping"),
        ("resolved.yaml", "a: !!python/name:os.system\n", "resolved.yaml is damaged: line 1"),
        (METRICS, None, "metrics.jsonl is missing: there are no metrics"),
        (METRICS, "", "metrics.jsonl holds no numbers yet"),
    ],
)
def test_each_file_may_be_missing_or_damaged(
    tmp_path: Path, name: str, content: str | None, problem: str
) -> None:
    directory = write_run(tmp_path / "run")
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_text(content)
    run = read_run(directory)
    assert len(run.problems) == 1
    assert problem in run.problems[0]
    emptied = {"run.json": run.record, "resolved.yaml": run.config, METRICS: run.series}
    assert [key for key, value in emptied.items() if not value] == [name]


def test_a_directory_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    for name in ("run.json", "resolved.yaml", METRICS):
        (tmp_path / name).mkdir()
    assert problems_of(tmp_path).count("cannot be read: Is a directory") == 3


def test_damaged_matrices_are_left_out_and_told(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", frames=10_000)
    folder = directory / "matrices" / "gradient_interference" / "critic"
    whole = (folder / "0000010000.npy").read_bytes()
    (folder / "0000010001.npy").write_bytes(whole[:200])
    (folder / "0000010002.npy").write_bytes(b"")
    (folder / "0000010003.npy").write_bytes(b"no array at all")
    np.save(folder / "0000010004.npy", np.zeros(3))
    np.save(folder / "0000010005.npy", np.array([[{}]]), allow_pickle=True)
    np.save(folder / "latest.npy", np.zeros((2, 2)))
    run = read_run(directory)
    assert list(run.matrices["gradient_interference/critic"]) == [5_000, 10_000]
    told = [p for p in run.problems if p.startswith("matrices/gradient_interference/critic/")]
    assert len(told) == len(run.problems) == 6
    assert "left out, its name is no frame" in told[-1]
    assert "float64 of shape [3]" in told[3]


# --- finding runs -----------------------------------------------------------------------


def test_folders_of_runs_are_opened_one_level_and_each_run_is_taken_once(tmp_path: Path) -> None:
    runs = write_study(tmp_path / "study", seeds=1, frames=2_000)
    (tmp_path / "study" / "notes").mkdir()
    found = find_runs([tmp_path / "study", runs[0], tmp_path / "study" / "." / "dense-s0"])
    assert found == runs
    assert find_runs([runs[1]]) == [runs[1]]
    only_checkpoint = tmp_path / "killed" / "checkpoint"
    only_checkpoint.mkdir(parents=True)
    assert find_runs([tmp_path / "killed"]) == [tmp_path / "killed"]


def test_a_path_without_runs_is_one_message_with_what_there_is(tmp_path: Path) -> None:
    write_study(tmp_path / "study", seeds=1, frames=2_000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "deep").mkdir(parents=True)
    cases = {
        "stdy": "there is no such run or folder. Did you mean 'study'?",
        "nowhere/run": f"there is no such run or folder (nor a folder {tmp_path / 'nowhere'})",
        "empty": "neither a run nor a folder of runs: it is empty",
        "other": "neither a run nor a folder of runs: it holds deep",
        "study/dense-s0/run.json": "a file; give a run's directory, or a folder of runs",
    }
    for path, message in cases.items():
        with pytest.raises(UserError) as caught:
            find_runs([tmp_path / path])
        assert str(caught.value).startswith(f"{tmp_path / path}: {message}")
