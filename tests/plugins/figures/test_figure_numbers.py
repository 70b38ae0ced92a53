"""What pictures compute and write: means over runs, ticks, the parts of names."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plugins.figures import aligning
from plugins.figures.catalogue import CAPTIONS, quantity_of
from plugins.figures.keys import by_network, in_order, parse, short_names
from plugins.figures.ticks import Numbers
from tests.plugins.figures.figure_studies import series

NUMBERS = st.floats(-1e3, 1e3)


@given(st.lists(NUMBERS, min_size=1, max_size=13))
def test_interquartile_mean_is_the_mean_of_the_middle_runs(values):
    cut = int(0.25 * len(values))
    middle = sorted(values)[cut : len(values) - cut]
    found = aligning.interquartile_mean(np.array(values)[:, None])
    assert found == pytest.approx([sum(middle) / len(middle)], abs=1e-9)


def test_the_bootstrap_interval_is_the_percentiles_of_means_over_drawn_runs():
    values = np.random.default_rng(3).normal(size=(6, 4)) * 10
    low, high = aligning.bootstrap_interval(values, aligning.mean, resamples=400, seed=7)
    draws = np.random.default_rng(7).integers(6, size=(400, 6)).tolist()
    for place in range(4):
        means = sorted(sum(values[i, place] for i in draw) / 6 for draw in draws)
        for share, bound in ((0.025, low), (0.975, high)):
            at = share * 399
            below, above = means[math.floor(at)], means[math.ceil(at)]
            assert bound[place] == pytest.approx(below + (above - below) * (at % 1))


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    noise = np.random.default_rng(0)
    low, high = aligning.bootstrap_interval(noise.normal(size=(20, 1_000)), aligning.mean, 500)
    covered = ((low <= 0) & (high >= 0)).mean()
    assert 0.88 < covered < 0.97  # a percentile interval of 20 is a little short


def test_runs_with_the_same_frames_are_put_side_by_side():
    steps, values = aligning.align([series([1, 2, 3], [4, 5, 6]), series([1, 2, 3], [7, 8, 9])])
    assert steps.tolist() == [1, 2, 3]
    assert values.tolist() == [[4, 5, 6], [7, 8, 9]]


@st.composite
def some_series(draw):
    steps = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=8)))
    values = draw(st.lists(NUMBERS, min_size=len(steps), max_size=len(steps)))
    return series(steps, values)


@given(st.lists(some_series(), min_size=1, max_size=4))
def test_runs_with_other_frames_go_straight_between_their_own(several):
    steps, values = aligning.align(several)
    begin, end = max(s.steps[0] for s in several), min(s.steps[-1] for s in several)
    wanted = {int(f) for s in several for f in s.steps if begin <= f <= end}
    assert steps.tolist() == sorted(wanted)
    for one, row in zip(several, values, strict=True):
        for frame, value in zip(steps, row, strict=True):
            assert value == pytest.approx(_straight(one, frame), abs=1e-6)


def _straight(one, frame):
    before = [(s, v) for s, v in zip(one.steps, one.values, strict=True) if s <= frame][-1]
    after = next((s, v) for s, v in zip(one.steps, one.values, strict=True) if s >= frame)
    if before == after:
        return before[1]
    share = (frame - before[0]) / (after[0] - before[0])
    return before[1] + share * (after[1] - before[1])


def test_a_number_that_was_not_finite_leaves_a_gap_between_its_neighbours_only():
    nan = float("nan")
    one, other = series([0, 10, 20, 30], [1, 1, nan, 1]), series([0, 5, 15, 20, 30], [2] * 5)
    steps, values = aligning.align([one, other])
    assert steps.tolist() == [0, 5, 10, 15, 20, 30]
    assert np.isnan(values[0]).tolist() == [False, False, False, True, True, False]
    assert np.isfinite(values[1]).all()


@given(
    st.lists(st.one_of(NUMBERS, st.just(float("nan"))), max_size=20),
    st.sampled_from([1, 3, 5, 31]),
)
def test_smoothing_is_the_mean_of_the_finite_numbers_around(values, window):
    found = aligning.smoothed(np.array(values, float), window)
    for i, value in enumerate(values):
        around = values[max(0, i - window // 2) : i + window // 2 + 1]
        finite = [v for v in around if math.isfinite(v)]
        if math.isnan(value):
            assert math.isnan(found[i])
        else:
            assert found[i] == pytest.approx(sum(finite) / len(finite), abs=1e-9)


@pytest.mark.parametrize(
    ("ticks", "written"),
    [
        ([0, 200_000, 1_000_000], ["0", "0.2M", "1.0M"]),
        ([0, 20_000, 40_000], ["0", "20k", "40k"]),
        ([12_500, 15_000], ["12.5k", "15.0k"]),
        ([0, 500, 1000], ["0", "500", "1000"]),
        ([-0.5, 0, 0.25], ["−0.50", "0", "0.25"]),
        ([0, 2e-5, 4e-5], ["0", "2e−5", "4e−5"]),
        ([1.0004e-4, 1.0008e-4], ["0.00010004", "0.00010008"]),
        ([0, 2e9], ["0", "2e9"]),
        ([-2e-17, 0.05, 0.1], ["0", "0.05", "0.10"]),
        ([1e-20, 2e-5], ["0", "2e−5"]),
        ([], []),
    ],
)
def test_ticks_are_short_and_alike(ticks, written):
    assert Numbers().format_ticks(ticks) == written


def test_shares_are_written_in_percent():
    assert Numbers(percent=True).format_ticks([0, 0.05, 0.1]) == ["0%", "5%", "10%"]
    assert Numbers(percent=True).format_ticks([0, 0.005]) == ["0%", "0.5%"]


@given(st.floats(-1e8, 1e8), st.sampled_from([1, 2, 5]), st.integers(-6, 6), st.integers(2, 8))
def test_ticks_tell_their_values(start, step, exponent, count):
    spacing = step * 10.0**exponent
    assume(abs(start) / spacing < 1e6)
    first = round(start / spacing)
    ticks = [(first + i) * spacing for i in range(count)]
    for tick, label in zip(ticks, Numbers().format_ticks(ticks), strict=True):
        plain = label.replace("−", "-")
        scale = {"M": 1e6, "k": 1e3}.get(plain[-1], 1)
        assert float(plain.rstrip("kM")) * scale == pytest.approx(tick, abs=spacing / 100)


@pytest.mark.parametrize(
    ("text", "around", "layer"),
    [
        ("effective_rank/actor", ("actor",), None),
        ("effective_rank/critic.1", ("critic.1",), None),
        ("dormant_ratio/critic.0/0.1", ("critic.0", "0.1"), None),
        ("gradient_norm/critic", ("critic",), None),
        ("gradient_norm/critic/encoder", ("critic", "encoder"), None),
        ("weight_rank/actor.heads.mean", (), "actor.heads.mean"),
        ("gradient_norm/actor/actor.trunk.0", ("actor",), "actor.trunk.0"),
        ("parameter_norm/critic.members.0.head", (), "critic.members.0.head"),
        ("churn/value_relative", ("value_relative",), None),
        ("q_bias/mean", ("mean",), None),
    ],
)
def test_a_layer_is_told_from_a_network(text, around, layer):
    key = parse(text)
    assert (key.diagnostic, key.around, key.layer) == (text.partition("/")[0], around, layer)


def test_members_of_an_ensemble_are_networks_of_their_own():
    paths = ["projection.0", "members.0.trunk.input", "members.1.trunk.input", "members.1.head"]
    keys = [parse(f"parameter_norm/critic.{path}") for path in paths]
    found = {network: len(keys) for (_, network), keys in by_network(keys).items()}
    assert found == {"critic": 1, "critic.0": 1, "critic.1": 2}
    assert list(by_network(keys[:2])) == [((), "critic")]


def test_orders_are_merged_where_names_have_their_neighbours():
    shallow, deep = ["input", "block.0", "head"], ["input", "block.0", "block.1", "norm", "head"]
    assert in_order([shallow, deep]) == deep
    assert in_order([deep, shallow]) == deep
    assert in_order([[], ["b"], ["a"]]) == ["a", "b"]


def test_short_names_leave_out_what_all_begin_with():
    assert short_names(["m.0.a.x", "m.0.a.y", "m.0.b"]) == ["a.x", "a.y", "b"]
    assert short_names(["m.0.head"]) == ["head"]
    assert short_names(["head", "head.x"]) == ["head", "head.x"]


def test_every_diagnostic_has_a_caption_and_an_axis():
    from plugins.diagnostics import register_diagnostics

    for component in register_diagnostics():
        assert component.name in CAPTIONS
        assert quantity_of(f"{component.name}/value").unit != "value", component.name
    assert quantity_of("mine/how_much").unit == "how much"
