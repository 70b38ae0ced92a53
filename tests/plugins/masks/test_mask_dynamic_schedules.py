"""When masks change and how much of them, what they begin with, and which options are refused."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import OptionError
from plugins.masks.options import GMPOptions, RigLOptions, SETOptions
from plugins.masks.schedules import Periodic, cosine, cubic
from tests.plugins.masks.mask_views import scheme, view

# --- schedules --------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(1, 50), st.integers(0, 100), st.integers(0, 300), st.lists(st.integers(1, 40)))
def test_changes_fall_due_at_the_stated_frames(every, begin, length, steps):
    schedule = Periodic(every, begin, begin + length)
    stated = [f for f in range(begin + 1, begin + length + 1) if (f - begin) % every == 0]
    last, frame = -1, 0
    for step in steps:
        before, frame = frame, frame + step
        between = [f for f in stated if last < f <= frame]
        assert schedule.due(last, frame) == bool(between)
        assert schedule.due(before, frame) == any(before < f <= frame for f in stated)
        done = [f for f in stated if f <= frame]
        assert schedule.latest(frame) == (done[-1] if done else begin)
        assert schedule.progress(frame) == (len(done) / len(stated) if stated else 0)
        last = frame if between else last


def test_the_cosine_is_rigls():
    alpha, end = 0.3, 25_000
    for t in range(0, end, 100):
        expected = alpha / 2 * (1 + math.cos(t * math.pi / end))
        assert cosine(alpha, t, end) == pytest.approx(expected)
    assert cosine(alpha, 0, end) == alpha
    assert cosine(alpha, end // 2, end) == pytest.approx(alpha / 2)
    assert cosine(alpha, end, end) == cosine(alpha, end + 1, end) == 0


def test_the_ramp_is_zhu_and_guptas():
    s = [cubic(0.5, 0.875, k / 100) for k in range(101)]
    assert s[0] == 0.5
    assert s[100] == 0.875
    assert s[50] == pytest.approx(0.875 - 0.375 / 8)
    steps = [after - before for before, after in pairwise(s)]
    assert all(a > b > 0 for a, b in pairwise(steps))  # steep where redundant weights abound


def test_what_null_stands_for():
    due = {
        name: [f for f in range(1, 1001) if scheme(name, sparsity=0.5, every=50).due(f - 1, f)]
        for name in ("set", "rigl", "gmp")
    }
    assert due["set"] == [*range(50, 1000, 50)]  # not at the frame that ends the run
    assert due["rigl"] == [*range(50, 801, 50)]
    assert due["gmp"] == [*range(250, 801, 50)]
    for name in due:
        late = scheme(name, sparsity=0.5, every=2000)
        assert not any(late.due(-1, frame) for frame in range(3000))


def test_rigl_moves_less_and_less_and_at_its_end_none():
    mask, weights = torch.rand(40, 40) < 0.5, {"w": torch.randn(40, 40)}
    gradients = {"w": (~mask).float()}  # nothing that is dropped grows again
    rigl = scheme("rigl", sparsity=0.5, every=100)
    live = int(mask.sum())
    for frame in range(100, 800, 100):
        seen = view(weights, {"w": mask}, gradients, frame=frame + 7)
        largest = weights["w"].abs().masked_fill(~mask, -1).flatten().sort(descending=True).indices
        alpha = 0.5 / 2 * (1 + math.cos(math.pi * frame / 800))
        must_stay = largest[: live - int(alpha * live)]
        changed = rigl.change(seen)["w"]
        assert changed.flatten()[must_stay].all()
        assert (changed & mask).sum() == len(must_stay)
    never = view(weights, {"w": mask}, frame=805)  # no gradients: none may be asked for
    assert rigl.change(never) == {}


# --- drawing, options -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["set", "rigl"])
@pytest.mark.parametrize("distribution", ["erdos_renyi", "uniform"])
def test_they_begin_with_the_masks_of_the_static_scheme(name, distribution):
    parameters = {"a": torch.randn(30, 20), "b": torch.randn(20), "c": torch.randn(6, 30)}
    first = scheme(name, sparsity=0.7, distribution=distribution, dense=("c",))
    static = scheme(distribution, sparsity=0.7, dense=("c",))
    drawn, same = (
        dict(s.draw(parameters, torch.Generator().manual_seed(3))) for s in (first, static)
    )
    assert drawn.keys() == same.keys() == {"a"}
    assert torch.equal(drawn["a"], same["a"])


@pytest.mark.parametrize("options", [SETOptions, RigLOptions, GMPOptions])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"sparsity": 1.0}, "sparsity"),
        ({"sparsity": -0.1}, "sparsity"),
        ({"every": 0}, "every"),
        ({"begin": -1}, "begin"),
        ({"begin": 10, "end": 10}, "end"),
        ({"end": 0}, "end"),
        ({"target": ""}, "target"),
    ],
)
def test_wrong_options(options, wrong, field):
    with pytest.raises(OptionError, match=field):
        options(**{"sparsity": 0.5} | wrong)


@pytest.mark.parametrize("fraction", [0.0, 1.1, -1])
def test_a_wrong_fraction(fraction):
    with pytest.raises(OptionError, match="drop_fraction"):
        SETOptions(0.5, drop_fraction=fraction)


def test_nothing_is_pruned_at_sparsity_zero():
    parameters = {"a": torch.randn(30, 20)}
    for name in ("set", "rigl", "gmp"):
        none = scheme(name, sparsity=0.0)
        assert dict(none.draw(parameters, torch.Generator())) == {}
        assert none.change(view(parameters, {}, {}, frame=500)) == {}
