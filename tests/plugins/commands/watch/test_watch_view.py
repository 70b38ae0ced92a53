"""What the view of a watched run shows, and that it fits."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from plugins.commands.watch.follow import Series, Watched, written
from plugins.commands.watch.view import BLOCKS, View, arrange, asked, fit, number, sparkline
from tests.support.recorded import write_run


def shown(run: Path, width: int, height: int | None, encoding: str = "utf-8") -> list[str]:
    watched = Watched(run)
    watched.poll()
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # strict, as a terminal's is
    console = Console(file=out, width=width)
    console.print(View(watched, written(run) + 3, height))
    out.seek(0)
    return out.read().splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    note = {"what": "diagnostic 'churn'", "frame": 20_000, "error": "ValueError: not\n  today"}
    return write_run(
        tmp_path / "run", reached=43_000, outcome=None, reset_every=15_000, disabled=[note]
    )


HEAD = (
    "quickstart  seed 0  dm_control walker-walk  cpu",
    "running, last line 0:00:03 ago",
    "43,000 of 60,000 frames",
    "0:01:17 left",
    "0:03:15 done",
    " frames/s",
    " updates/s",
    "% diagnostics",
    "periodic_reset, at frame: 15,000 30,000",
    "diagnostic 'churn' left out from 20,000 on: ValueError: not today",
    "evaluation  ",
    "training    ",
)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (60, 16), (200, 60), (80, 50)])
def test_everything_important_is_there_and_fits(run: Path, width: int, height: int) -> None:
    lines = shown(run, width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for part in HEAD if width > 60 else HEAD[1:6]:
        assert part in text, part
    assert lines[-1].startswith("Ctrl-C ends the view, not the run")
    for title in ("loss", "effective_rank", "dormant_ratio", "gradient_norm", "parameter_norm"):
        assert title in text or height < 24


def test_with_room_nothing_is_missing(run: Path) -> None:
    text = "\n".join(shown(run, 140, 50))
    assert "no room" not in text
    for label in ("critic/0.1", "critic/mean_abs", "actor/actor", "entropy", "target_q"):
        assert f" {label} " in text
    assert "trunk" not in text  # nothing per layer


def test_what_has_no_room_is_counted(run: Path) -> None:
    lines = shown(run, 80, 24)
    everything = [line for line in shown(run, 80, None) if line.startswith(" ")]
    cells = [half for line in lines[9:-1] for half in (line[:39], line[41:])]
    placed = [half for half in cells if half.startswith(" ") and half.strip()]
    assert lines[-1].endswith(f"; {len(everything) - len(placed)} metrics find no room")


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 9), max_size=8),
    st.integers(1, 200),
    st.one_of(st.none(), st.integers(-2, 40)),
)
def test_columns_hold_every_metric_or_count_it(
    sizes: list[int], width: int, room: int | None
) -> None:
    sections = {
        f"title{i}": [(f"{i}/{j}", Series()) for j in range(n)] for i, n in enumerate(sizes)
    }
    columns, hidden = arrange(sections, width, room)
    assert 1 <= len(columns) <= max(width // 38, 1)
    placed = []
    for column in columns:
        assert len(column) <= (sum(sizes) + len(sizes) if room is None else max(room, 0))
        title = ""
        for above, entry in zip([None, *column], column, strict=False):
            if isinstance(entry, str):
                title = entry
                assert not isinstance(above, str)  # no title without a metric
            else:
                assert title == f"title{entry[0][0]}"
                placed.append(entry[0])
        assert not column or not isinstance(column[-1], str)
    labels = [label for rows in sections.values() for label, _ in rows]
    assert placed == labels[: len(labels) - hidden]
    if room is None or sum(sizes) + len(sizes) <= room:
        assert hidden == 0
    elif hidden and room > 1:  # then no more columns were to be had, and these are full
        assert len(columns) == max(width // 38, 1)
        assert sum(sizes) + len(sizes) > len(columns) * (room - 1)


def test_a_section_that_goes_on_has_its_title_again(run: Path) -> None:
    lines = shown(run, 80, 24)[9:-1]
    right = [line[41:] for line in lines]
    assert not right[0].startswith(" ")
    assert right[1].startswith(" ")


def test_the_whole_view_where_there_is_no_terminal(run: Path) -> None:
    lines = shown(run, 80, None)
    assert "Ctrl-C" not in "\n".join(lines)
    assert lines[-1].split()[0] == "target_q"


@pytest.mark.parametrize("width", range(1, 60, 7))
def test_a_tiny_window_is_no_error(run: Path, width: int) -> None:
    for height in (1, 2, 5, 12):
        lines = shown(run, width, height)
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "cp1252"])
def test_a_terminal_that_knows_few_characters(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be cut to fit
    run = write_run(Path("läuft-运行"), reached=43_000, outcome=None)
    lines = shown(run, 80, 24, encoding)
    text = "\n".join(lines)
    assert not set(BLOCKS) & set(text)
    assert "#####" in text
    assert " +- " in text
    assert f"l{'?' if encoding == 'ascii' else 'ä'}uft-??" in text


def test_no_colour_where_none_is_wanted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(run)
    watched.poll()
    found = []
    for wanted in ("", "1"):
        monkeypatch.setenv("NO_COLOR", wanted)
        out = io.StringIO()
        console = Console(file=out, width=80, force_terminal=True, color_system="standard")
        console.print(View(watched, written(run)))
        found.append("\x1b[32m" in out.getvalue() or "\x1b[36m" in out.getvalue())
    assert found == [True, False]


def test_no_line_yet(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=0, outcome=None)
    (run / "metrics.jsonl").unlink()
    text = "\n".join(shown(run, 80, 24))
    assert "no line yet, after 0:00:03" in text
    assert "0 of 60,000 frames" in text
    assert "evaluation  no return yet" in text


@pytest.mark.parametrize("outcome", ["finished", "interrupted", "failed"])
def test_a_run_that_ended(tmp_path: Path, outcome: str) -> None:
    run = write_run(tmp_path / "run", outcome=outcome)
    lines = shown(run, 80, 24)
    assert lines[0].endswith(outcome)
    assert "left" not in "\n".join(lines)


def test_a_number_that_is_not_finite_is_shown(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 44_000, "loss/critic": None, "eval/return": None}) + "\n")
    lines = shown(run, 80, None)
    assert any(line.split()[:2] == ["critic", "nan"] for line in lines)
    assert any(line.startswith("evaluation  nan") for line in lines)


def test_intervention_frames_are_the_last_ones(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", reached=43_000, outcome=None, reset_every=5_000)
    text = "\n".join(shown(run, 80, 24))
    assert "at frame: 3 times, then 20,000 25,000 30,000 35,000 40,000" in text


# --- parts ------------------------------------------------------------------------------


def levels(values: list[float], width: int) -> list[int]:
    """By the definition, slowly."""
    count = min(len(values), width)
    bins: list[list[float]] = [[] for _ in range(count)]
    for i in range(count):
        bins[i] = values[i * len(values) // count : (i + 1) * len(values) // count]
    means = [math.fsum(b) / len(b) for b in bins]
    low, high = min(means), max(means)
    return [min(math.floor(8 * (m - low) / (high - low)), 7) for m in means]


@settings(max_examples=40)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=200), st.integers(1, 60))
def test_sparkline(values: list[int], width: int) -> None:
    drawn = sparkline([float(v) for v in values], width, False)
    assert len(drawn) == min(len(values), width)
    if len(set(drawn)) > 1:
        expected = levels([float(v) for v in values], width)
        # an integer sum is exact, so both round alike
        assert [BLOCKS.index(c) for c in drawn] == expected


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 10, ""),
        ([1.0, 2.0], 0, ""),
        ([1.0, 2.0], -3, ""),
        ([5.0, 5.0, 5.0], 10, "▄▄▄"),
        ([0.0, 7.0], 10, "▁█"),
        ([float(i) for i in range(8)], 8, BLOCKS),
        ([0.0, 0.0, 7.0, 7.0], 2, "▁█"),
        ([-1e308, 1e308], 2, "▄▄"),  # their difference is no number
    ],
)
def test_sparklines(values: list[float], width: int, drawn: str) -> None:
    assert sparkline(values, width, False) == drawn


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (201.0, "201"),
        (0.123456, "0.1235"),
        (-0.0012345, "-0.001234"),
        (-0.00012345, "-1.23e-04"),
        (12345.6, "12,346"),
        (-999_998.6, "-999,999"),
        (-999_999.6, "-1.00e+06"),
        (math.nan, "nan"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
    assert len(text) <= 9


@settings(max_examples=40)
@given(st.text(max_size=40), st.integers(-1, 50))
def test_fit_is_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == max(width, 0)


def test_what_was_asked_for() -> None:
    files = {"presets/a.yaml": "", "presets/base/sac.yaml": "", "b.yaml": ""}
    words = ["core/run.py", "presets/a.yaml", "b.yaml", "seed=1", "--run-dir=x=y"]
    record: dict[str, Any] = {"command": words, "presets": files}
    assert asked(record) == "presets/a.yaml b.yaml seed=1"
    assert asked({"command": ["-c"], "presets": files}) == "presets/a.yaml"
    assert asked({}) == ""
