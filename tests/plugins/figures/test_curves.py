"""Curves: ``returns``, ``losses``, ``diagnostics``, and the speeds of ``time``."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from matplotlib.colors import to_hex

from core.api import COLOURS, OptionError, RecordedRun, colour
from plugins.commands.report.groups import group_runs
from plugins.commands.report.read import read_run
from plugins.figures.options import LossesOptions, ReturnsOptions
from tests.plugins.figures.figure_studies import (
    assert_legible,
    draw,
    draw_all,
    learning,
    line_of,
    run,
    study,
)
from tests.support.recorded import write_run, write_study

STEPS = [10, 20, 30, 40]
NAN = float("nan")


def returns_of(*values, **wiring):
    return run(metrics={"eval/return": (STEPS[: len(values)], values)}, **wiring)


def eval_axes(shown, **options):
    picture = draw("returns", shown, **options)[0]
    assert picture.name == "returns"
    return picture.figure.axes[0]


# --- a group's runs ---------------------------------------------------------------------


def test_a_single_run_is_drawn_as_it_is_with_the_spread_of_its_episodes():
    metrics = {"eval/return": (STEPS, [1, 5, 2, 8]), "eval/return_std": (STEPS, [1, 2, 1, 3])}
    axes = eval_axes(study([run(metrics=metrics)]))
    (line,) = axes.lines
    assert line.get_xdata().tolist() == STEPS
    assert line.get_ydata().tolist() == [1, 5, 2, 8]
    (band,) = [c for c in axes.collections if len(c.get_paths()) == 1 and c.get_alpha()]
    edges = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert {(20, 3), (20, 7), (40, 5), (40, 11)} <= edges


def test_runs_are_faint_and_their_mean_is_bold_over_the_frames_that_all_reached():
    runs = [returns_of(1, 5, 2, 8, name="a"), returns_of(3, 1, 7, name="b")]
    axes = eval_axes(study(runs, labels=["both"]))
    assert line_of(axes, "a").get_ydata().tolist() == [1, 5, 2, 8]
    assert line_of(axes, "b").get_ydata().tolist() == [3, 1, 7]
    bold = line_of(axes, "both")
    assert bold.get_xdata().tolist() == [10, 20, 30]
    assert bold.get_ydata().tolist() == [2, 3, 4.5]
    assert bold.get_linewidth() > 2 * line_of(axes, "a").get_linewidth()


def test_a_run_without_a_metric_does_not_count_for_its_mean():
    empty = run("c", {"loss/actor": (STEPS, STEPS)})
    broken = returns_of(NAN, NAN, NAN, name="d")
    axes = eval_axes(study([returns_of(1, 2), returns_of(3, 6), empty, broken], labels=["all"]))
    assert line_of(axes, "all").get_ydata().tolist() == [2, 4]


def test_the_interquartile_mean_leaves_out_the_least_and_the_greatest_quarter():
    runs = [returns_of(value, value, name=f"{value}") for value in (1, 100, 3, 2)]
    axes = eval_axes(study(runs, labels=["all"]), statistic="iqm")
    assert line_of(axes, "all").get_ydata().tolist() == [2.5, 2.5]


@pytest.mark.parametrize(("count", "bands"), [(4, 0), (5, 1)])
def test_from_five_runs_on_there_is_an_interval(count, bands):
    runs = [returns_of(i, 2 * i, name=f"{i}") for i in range(count)]
    axes = eval_axes(study(runs))
    assert sum(c.get_alpha() is not None for c in axes.collections) == bands


def test_groups_have_colours_of_their_own_and_dashes_when_these_come_round_again():
    shown = study(*[[returns_of(i, i + 1)] for i in range(9)])
    lines = eval_axes(shown).lines
    assert [to_hex(line.get_color()) for line in lines[:7]] == [c.lower() for c in COLOURS]
    assert to_hex(lines[7].get_color()) == colour(7).lower() == colour(0).lower()
    assert lines[7].get_linestyle() != lines[0].get_linestyle()


def test_gaps_stay_and_a_number_without_neighbours_is_a_dot():
    metrics = {"eval/return": ([10, 20, 30, 40, 50], [1, 2, NAN, 4, NAN])}
    (line,) = eval_axes(study([run(metrics=metrics)])).lines
    assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, True]
    assert line.get_marker() == "o"
    assert line.get_markevery() == [3]
    (dot,) = eval_axes(study([returns_of(7)])).lines
    assert dot.get_markevery() == [0]


def test_long_logs_are_smoothed_over_the_faint_numbers_and_evaluations_never():
    steps, values = np.arange(600), np.arange(600) % 2
    metrics = {"train/return": (steps, values), "eval/return": (steps, values)}
    evaluation, training = draw("returns", study([run("r", metrics)], labels=["g"]))
    assert [line.get_ydata().tolist() for line in evaluation.figure.axes[0].lines] == [
        values.tolist()
    ]
    axes = training.figure.axes[0]
    assert line_of(axes, "r").get_ydata().tolist() == values.tolist()
    smooth = line_of(axes, "g").get_ydata()
    assert smooth[300] == pytest.approx(values[297:304].mean())  # 7: about a hundredth
    assert "running mean over 7 numbers" in training.caption
    (plain,) = draw("returns", study([run("r", metrics)]), smooth=1)[1].figure.axes[0].lines
    assert plain.get_ydata().tolist() == values.tolist()


def test_amounts_start_at_zero_unless_they_span_orders_of_magnitude():
    values = {"train/temperature": [2, 3], "train/noise": [1e-4, 1], "train/q": [2, 3]}
    metrics = {key: ([10, 20], column) for key, column in values.items()}
    (picture,) = draw("losses", study([run(metrics=metrics)]))
    temperature, noise, q = picture.figure.axes
    assert temperature.get_ylim()[0] < 0 < temperature.get_ylim()[1] < 4
    assert noise.get_yscale() == "log"
    assert "log" in noise.get_ylabel()
    assert q.get_ylim()[0] > 1


# --- interventions ----------------------------------------------------------------------


def marks(axes):
    (lines,) = [c for c in axes.collections if type(c).__name__ == "LineCollection"]
    segments = [(float(s[0][0]), float(s[1][1])) for s in lines.get_segments()]
    return segments, [to_hex(c) for c in lines.get_colors()]


def test_interventions_are_marked_in_the_colour_of_the_group_that_had_them():
    both = {"eval/return": (STEPS, [1, 2, 3, 4]), "redo/units": ([20, 30], [0, 0])}
    one = both | {"redo/units": ([20], [0]), "reward/x": ([15], [1])}
    shown = study([run("a", both, interventions=["redo"])], [run("b", one, interventions=["redo"])])
    picture = draw("returns", shown)[0]
    segments, colours = marks(picture.figure.axes[0])
    assert segments == [(20, 1), (30, 1)]
    assert colours[1] == colour(0).lower() != colours[0]
    assert [t.get_text() for t in picture.figure.legends[0].get_texts()][-1] == "redo"
    assert "Vertical marks: redo." in picture.caption


def test_panels_of_groups_have_the_marks_of_their_group():
    metrics = {"weight_rank/actor.trunk": (STEPS, STEPS)}
    stepped = run("b", metrics | {"redo/units": ([20], [0])}, interventions=["redo"])
    (picture,) = draw("diagnostics", study([run("a", metrics)], [stepped]))
    assert [marks(axes)[0] for axes in picture.figure.axes] == [[], [(20, 1)]]


def test_many_interventions_are_ticks_along_the_bottom():
    metrics = {"eval/return": (STEPS, STEPS), "redo/units": (range(0, 41, 1), range(41))}
    segments, _ = marks(eval_axes(study([run(metrics=metrics, interventions=["redo"])])))
    assert len(segments) == 41
    assert all(top < 0.1 for _, top in segments)


def test_metrics_of_what_is_no_intervention_are_not_marked():
    metrics = {"eval/return": (STEPS, STEPS), "redo/units": ([20], [0])}
    segments, _ = marks(eval_axes(study([run(metrics=metrics)])))
    assert segments == []


# --- which metrics stand where ----------------------------------------------------------


def test_every_metric_is_drawn_once_and_where_it_belongs():
    drawn = {
        "loss/actor": "losses",
        "train/q": "losses-training",
        "step_size/actor": "losses-steps",
        "mine/odd": "losses-steps",
        "effective_rank/actor": "effective_rank",
        "gradient_norm/critic": "gradient_norm",
        "theirs/share/actor": "theirs",
        "parameter_norm/actor.trunk.input": "parameter_norm-layers-actor",
        "gradient_norm/critic/encoder.layers.0": "gradient_norm-layers-critic-encoder",
        "time/frames_per_second": "time-speed",
        "train/return": "returns-training",
        "eval/return": "returns",
    }
    metrics = {key: (STEPS, [i, i, i, i]) for i, key in enumerate(drawn)}
    metrics |= {"redo/units": ([20], [99]), "eval/length": (STEPS, [98] * 4)}
    shown = study([run(metrics=metrics, diagnostics=["theirs"], interventions=["redo"])])
    found = {}
    for picture in draw_all(shown):
        for axes in picture.figure.axes:
            for line in axes.lines:
                found.setdefault(int(line.get_ydata()[0]), []).append(picture.name)
    assert found == {i: [name] for i, name in enumerate(drawn.values())}


def test_diagnostics_of_a_run_whose_preset_is_lost_are_known_by_their_names():
    metrics = {"effective_rank/actor": (STEPS, STEPS), "loss/critic": (STEPS, STEPS)}
    shown = study([run(metrics=metrics, config={})])
    assert [p.name for p in draw_all(shown)] == ["losses", "effective_rank"]


def test_dormant_ratios_have_a_panel_for_each_network_and_threshold_in_percent():
    keys = [f"dormant_ratio/{n}/{tau}" for n in ("actor", "critic.1") for tau in ("0", "0.025")]
    metrics = {key: (STEPS, [0.1, 0.2, 0.3, 0.4]) for key in keys}
    (picture,) = draw("diagnostics", study([run(metrics=metrics)]))
    titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert titles == [f"{n}, tau {t}" for n in ("actor", "critic.1") for t in ("0", "0.025")]
    picture.figure.draw_without_rendering()
    for axes in picture.figure.axes:
        assert axes.get_ylabel() == "share of units"
        assert all(label.get_text().endswith("%") for label in axes.get_yticklabels())


def test_the_greatest_possible_rank_is_told_where_the_runs_tell_it():
    metrics = {"effective_rank/critic.1": (STEPS, STEPS)}
    preset = {"diagnostics": [{"name": "effective_rank", "batch": {"size": 64}}]}
    heads = {"members.0.head.weight": {"shape": [1, 48], "density": 1}}

    def unit(**wiring):
        (picture,) = draw("diagnostics", study([run(metrics=metrics, **wiring)]))
        return picture.figure.axes[0].get_ylabel()

    assert unit() == "rank"
    assert unit(config=preset) == "rank, at most 64"
    assert unit(config=preset, record={"densities": {"critic": heads}}) == "rank, at most 48"
    assert unit(record={"densities": {"critic": heads, "actor": 3}}) == "rank, at most 48"


def test_layers_are_folded_with_a_panel_per_group_on_one_scale():
    layers = ["critic.members.0.trunk.input", "critic.members.0.trunk.norm"]

    def having(name, scale, *shown):
        return run(name, {f"parameter_norm/{x}": (STEPS, [scale] * 4) for x in shown})

    dense = [having("a", 1, *layers), having("b", 3, *layers)]
    deeper = "critic.members.0.trunk.blocks.0"
    sparse = [having("c", 9, layers[0], deeper, layers[1])]
    (picture,) = draw("diagnostics", study(dense, sparse, labels=["dense", "sparse"]))
    assert picture.folded
    left, right = picture.figure.axes
    assert [line.get_label() for line in right.lines] == [layers[0], deeper, layers[1]]
    assert [line.get_ydata().tolist() for line in left.lines] == [[2] * 4, [2] * 4]
    assert [a.get_title(loc="left") for a in (left, right)] == ["dense", "sparse"]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] > 9
    assert left.get_shared_y_axes().joined(left, right)
    colours = [to_hex(right.lines[i].get_color()) for i in (0, 2)]
    assert [to_hex(line.get_color()) for line in left.lines] == colours
    names = [t.get_text() for t in picture.figure.legends[0].get_texts()]
    assert names == ["input", "blocks.0", "norm"]


def test_episode_length_is_shown_only_if_it_varies():
    metrics = {"train/return": (STEPS, STEPS), "train/episode_length": (STEPS, [5] * 4)}
    assert len(draw("returns", study([run(metrics=metrics)]))[0].figure.axes) == 1
    metrics["train/episode_length"] = (STEPS, [5, 5, 6, NAN])
    assert len(draw("returns", study([run(metrics=metrics)]))[0].figure.axes) == 2


# --- whole studies ----------------------------------------------------------------------


def test_numbers_on_disk_are_the_numbers_drawn(tmp_path):
    paths = write_study(tmp_path, seeds=2)
    short = write_run(tmp_path / "short", sparsity=0.8, seed=5, reached=21_000, outcome=None)
    shown = group_runs([read_run(path) for path in [*paths, short]])
    pictures = {picture.name: picture for picture in draw_all(shown)}
    for name, key in (("returns", "eval/return"), ("parameter_norm", "parameter_norm/actor")):
        axes = pictures[name].figure.axes[0]
        for path in [*paths, short]:
            rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
            told = {row["step"]: row[key] for row in rows if key in row}
            line = line_of(axes, path.name)
            assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == told
    sparse = line_of(pictures["returns"].figure.axes[0], shown.groups[1].label)
    assert sparse.get_xdata()[-1] == 20_000  # as far as the short run came


def test_pictures_are_legible_and_quickly_drawn():
    groups = (5, 2, 1, 1)
    runs = [
        [
            learning(f"g{i}-s{j}", 20 * i + j, frames=100_000 - 30_000 * (j == 1), diagnosed=i != 1)
            for j in range(size)
        ]
        for i, size in enumerate(groups)
    ]
    labels = [
        f"sparsity 0.{i}, optimizer.weight_decay 0.0{i}, network.critic.hidden {2**i}"
        for i in range(len(groups))
    ]
    shown = study(*runs, labels=labels)
    started = time.process_time()
    pictures = draw_all(shown)
    assert time.process_time() - started < 5
    assert len(pictures) >= 9
    assert len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert picture.caption.endswith(".")
        assert_legible(picture)


def test_long_words_are_legible_too():
    runs = [learning("x" * 90 + str(i), i, members=2) for i in range(2)]
    labels = ["environment.task humanoid_CMU-run " * 5, "_$x^$" + "x" * 130]
    shown = study(runs[:1], runs[1:], labels=labels)
    for name in ("returns", "diagnostics", "densities", "time"):
        for picture in draw(name, shown):
            assert_legible(picture)


@pytest.mark.parametrize(
    "shown",
    [
        study(),
        study([]),
        study([RecordedRun(run().directory)]),
        study([run(metrics={"eval/return": ([], []), "loss/actor": ([1], [NAN])})]),
    ],
)
def test_where_nothing_was_measured_nothing_is_drawn(shown):
    assert draw_all(shown) == []


@pytest.mark.parametrize("smooth", [0, 2, -1])
def test_even_windows_are_refused(smooth):
    with pytest.raises(OptionError, match="smooth"):
        LossesOptions(smooth=smooth)


def test_unknown_statistics_are_refused():
    with pytest.raises(OptionError, match="statistic"):
        ReturnsOptions(statistic="median")  # type: ignore[arg-type]
