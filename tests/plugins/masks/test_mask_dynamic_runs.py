"""Whole runs whose masks change: the density at every step, and other things beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.api import dense
from core.config import load, resolve
from core.plugins import load_plugins
from core.training import checkpoint
from core.training.events import Collected, Measured
from core.training.experiment import build
from core.training.loop import Run
from tests.plugins.masks.mask_runs import TWO, changes, masks, run, saved_masks, shared, written
from tests.support.run_directories import metrics, same

# --- density ----------------------------------------------------------------------------

KINDS: dict[str, tuple[str, list[str]]] = {
    "replay": ("replay", []),
    "replay, kept weights": ("replay", ["execution=sparse"]),
    "stream": ("stream", []),
    "stream, kept weights": ("stream", ["execution=sparse"]),
    "stream, two environments": ("stream", TWO),
    "stream, adaptive": ("stream", ["optimizer={name: adaptive_obgd}"]),
}
EVERY = [
    ("replay", "gmp"),
    ("replay, kept weights", "rigl"),
    ("stream", "set"),
    ("stream, kept weights", "gmp"),
    ("stream, two environments", "rigl"),
    ("stream, adaptive", "rigl"),
]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_update_of_a_run_has_the_target_density(kind: str, name: str, tmp_path: Path) -> None:
    preset, overrides = KINDS[kind]
    loaded = load([written(preset, tmp_path)], [masks(name), *overrides])
    experiment = build(resolve(loaded, load_plugins()), None)
    agent = experiment.agent
    drawn = counts(agent)
    expected = drawn
    changed: list[int] = []
    (tmp_path / "run").mkdir()
    for event in Run(experiment, tmp_path / "run", lambda: False).events():
        if isinstance(event, Measured) and event.source == "masks":
            changed.append(event.step)
        if not isinstance(event, Collected):
            continue
        if name == "gmp" and event.step in changed:
            expected = {place: ramp(agent, place, event.step, 600) for place in drawn}
        assert counts(agent) == expected, event.step
        for role, network in agent.parts.modules.items():
            for parameter in agent.masks.masks[role]:
                removed = ~agent.masks.masks[role][parameter]
                assert not (dense(network, parameter) * removed).any(), (event.step, parameter)
    frames = sorted(set(changed))
    assert len(changed) == 2 * len(frames)
    step = experiment.config.environment.options.__dict__.get("action_repeat", 1)
    step *= experiment.config.count
    stated = {"set": range(100, 600, 100), "rigl": range(100, 481, 100), "gmp": range(180, 481, 60)}
    first = 202 if preset == "replay" else 1
    assert frames == sorted({max(first, -(-frame // step) * step) for frame in stated[name]})


def counts(agent: Any) -> dict[tuple[str, str], int]:
    return {(r, n): m.kept(n) for r, m in agent.masks.masks.items() for n in m}


def ramp(agent: Any, place: tuple[str, str], frame: int, frames: int) -> int:
    """Zhu & Gupta's, from 20% to 80% of the run, every 60 frames; uniform over kernels."""
    role, name = place
    sizes = {n: shape.numel() for n, shape in agent.parts.initial[role].items()}
    kernels = sum(n for k, n in sizes.items() if k in agent.masks.masks[role])
    budget = sum(n - int(0.6 * n) for n in sizes.values()) - (sum(sizes.values()) - kernels)
    begin, end = frames // 5, frames * 4 // 5
    progress = (frame - begin) // 60 / ((end - begin) // 60)
    final = budget / kernels
    return max(1, round((final + (1 - final) * (1 - progress) ** 3) * sizes[name]))


# --- beside other things ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["rigl", "gmp"])
def test_changes_that_never_come_leave_the_run_as_it_would_be(name: str, tmp_path: Path) -> None:
    """As that of random masks, or of none."""
    late = f"{{name: {name}, sparsity: 0.6, every: 5000}}"
    assert run("stream", tmp_path / "late", masks(late)) == 0
    plain = [] if name == "gmp" else ["{name: erdos_renyi, sparsity: 0.6}"]
    assert changes(tmp_path / "late") == []
    assert same(tmp_path / "late", shared("stream", masks(*plain)))


def test_diagnostics_do_not_disturb_them(tmp_path: Path) -> None:
    words = [masks("rigl"), *TWO]
    watched = "diagnostics=[{name: all, every: 250, batch: {size: 32}, samples: 8, points: 16, tail: 0.9}]"
    assert run("stream", tmp_path / "watched", *words, watched) == 0
    alone = shared("stream", *words)
    one, other = checkpoint.read(tmp_path / "watched"), checkpoint.read(alone)
    learned = one["learner"]["loss"]
    assert all(torch.equal(learned[k], v) for k, v in other["learner"]["loss"].items())
    assert saved_masks(tmp_path / "watched") == saved_masks(alone)


@pytest.mark.parametrize(
    ("preset", "name", "execution"), [("replay", "rigl", "sparse"), ("stream", "gmp", "masked")]
)
def test_a_reset_between_changes_keeps_to_the_masks_of_the_moment(
    preset: str, name: str, execution: str, tmp_path: Path
) -> None:
    words = [masks(name), f"execution={execution}"]
    reset = "interventions=[{name: periodic_reset, at: [320, 400]}]"
    assert run(preset, tmp_path / "run", *words, reset) == 0
    lines = metrics(tmp_path / "run")
    assert [x["step"] for x in lines if "periodic_reset/parameters" in x] == [320, 400]
    densities = [x["mask/density/critic"] for x in lines if "mask/density/critic" in x]
    if name == "gmp":
        assert densities == sorted(densities, reverse=True)
    else:
        assert len(set(densities)) == 1
    # The checkpoint asserts that removed weights are zero; these were told of living ones only.
    parameters = [x["periodic_reset/parameters"] for x in lines if "periodic_reset/parameters" in x]
    assert (parameters[1] < parameters[0]) == (name == "gmp")


def test_each_network_has_a_scheme_of_its_own(tmp_path: Path) -> None:
    words = (
        "masks=[{name: rigl, target: critic, sparsity: 0.6, every: 100, batch: {size: 32}}, "
        "{name: erdos_renyi, target: actor, sparsity: 0.3}]"
    )
    assert run("stream", tmp_path / "run", words) == 0
    assert changes(tmp_path / "run") == [(f, "critic") for f in (100, 200, 300, 400)]


def test_rigl_learns_where_only_recent_transitions_are_there(tmp_path: Path) -> None:
    """It waits for as many as it wants."""
    scheme = "{name: rigl, sparsity: 0.6, every: 100, batch: {size: 150}}"
    assert run("stream", tmp_path / "run", masks(scheme)) == 0
    assert changes(tmp_path / "run")[0] == (150, "actor")


def test_replay_that_is_not_there_cannot_be_asked_for(tmp_path: Path, capsys: Any) -> None:
    scheme = "{name: rigl, sparsity: 0.6, batch: {source: replay}}"
    assert run("stream", tmp_path / "run", masks(scheme)) == 2
    message = capsys.readouterr().err
    assert "needs 'replay'" in message or "replay" in message
    assert "batch.source: recent" in message
