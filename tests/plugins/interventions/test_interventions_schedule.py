"""When interventions happen, and what is refused, against a plain account frame by frame."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import OptionError
from plugins.interventions.options import (
    PeriodicResetOptions,
    ReDoOptions,
    Scheduled,
    ShrinkAndPerturbOptions,
    is_due,
)
from tests.support import intervened as t

frames = st.integers(1, 60)
schedules = st.builds(
    lambda every, at, until: (every, tuple(at), until),
    st.none() | frames,
    st.lists(frames, max_size=4),
    st.none() | frames,
).filter(lambda s: s[0] is not None or s[1])


def allowed(every, at, until):
    """The frames at which it is to happen, one by one."""
    found = {f for f in range(1, 500) if every is not None and f % every == 0} | set(at)
    return {f for f in found if until is None or f <= until}


@settings(deadline=None)
@given(schedules, st.integers(0, 100), st.integers(0, 100))
def test_it_is_due_if_one_of_its_frames_was_passed(schedule, last, gap):
    every, at, until = schedule
    try:
        options = Scheduled(every, at, until)
    except OptionError:
        assert not allowed(every, at, until)
        return
    passed = any(last < f <= last + gap for f in allowed(every, at, until))
    assert is_due(options, last, last + gap) == passed


@settings(deadline=None)
@given(schedules, st.lists(st.integers(1, 40), max_size=12))
def test_a_run_in_uneven_steps_misses_no_frame_and_repeats_none(schedule, gaps):
    every, at, until = schedule
    if not allowed(every, at, until):
        return
    options, frame, last, left = Scheduled(every, at, until), 0, 0, allowed(every, at, until)
    for gap in gaps:
        frame += gap
        reached = {f for f in left if f <= frame}
        assert is_due(options, last, frame) == bool(reached)
        if reached:
            left, last = left - reached, frame


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({}, "every", "must be given, unless 'at' is"),
        ({"every": 0}, "every", "must be positive, got 0"),
        ({"at": (5, 0)}, "at", "must be positive frames, got \\[5, 0\\]"),
        ({"at": (5,), "until": 4}, "until", "not be before the first intervention \\(5\\), got 4"),
        ({"every": 8, "at": (9,), "until": 7}, "until", "before the first intervention \\(8\\)"),
    ],
)
@pytest.mark.parametrize("kind", [PeriodicResetOptions, ShrinkAndPerturbOptions, ReDoOptions])
def test_a_schedule_that_cannot_be_is_refused(kind, options, field, message):
    with pytest.raises(OptionError, match=message) as caught:
        kind(**options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: PeriodicResetOptions(at=(1,), last=0), "last"),
        (lambda: ShrinkAndPerturbOptions(at=(1,), shrink=1.1), "shrink"),
        (lambda: ShrinkAndPerturbOptions(at=(1,), perturb=-0.1), "perturb"),
        (lambda: ReDoOptions(at=(1,), tau=-0.1), "tau"),
    ],
)
def test_options_out_of_range_are_refused(make, field):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["periodic_reset", "shrink_and_perturb", "redo"])
def test_a_network_that_the_agent_lacks_is_refused_before_the_run(name):
    kinds = {"periodic_reset": PeriodicResetOptions, "redo": ReDoOptions}
    kind = kinds.get(name, ShrinkAndPerturbOptions)
    for networks, message in (
        (("critic", "encoder"), "names 'encoder', which is not one of: actor, critic"),
        (("critc",), "Did you mean 'critic'"),
        ((), "must name one of: actor, critic"),
    ):
        with pytest.raises(OptionError, match=message) as caught:
            t.intervention(t.make_agent("sac"), name, kind(every=1, networks=networks))
        assert caught.value.field == "networks"
