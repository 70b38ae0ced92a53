"""Recorded runs made up in memory, of every form that a report meets, for figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.api.figures import RecordedRun, RunGroup, Series, Study

FRAMES = 20_000
ROLES = {"actor": ("trunk.input", "head"), "critic": ("members.0.trunk.input", "members.0.head")}
OFTEN = ("loss/actor", "loss/critic", "train/q", "train/return", "time/frames_per_second")
"""Metrics of every log line."""
RARE = (
    "eval/return", "eval/return_std", "time/evaluation", "effective_rank/critic",
    "dormant_ratio/critic/0.1", "parameter_norm/critic", "parameter_norm/critic.members.0.head",
    "gradient_interference/critic/mean_abs", "time/diagnostics/effective_rank",
    "mask/density/critic",
)  # fmt: skip
"""Metrics of evaluations, diagnostics and masks that change."""


def run(
    folder: Path,
    name: str,
    seed: int,
    *,
    reached: int = FRAMES,
    metrics: Sequence[str] = (),
    matrices: Sequence[str] = (),
) -> RecordedRun:
    """A run that came so far; ``metrics`` and ``matrices`` are there besides the usual."""
    noise = np.random.default_rng(seed)
    often, rare = np.arange(500, reached + 1, 500), np.arange(2_000, reached + 1, 2_000)
    series = {key: _curve(often, noise) for key in OFTEN}
    series |= {key: _curve(rare, noise) for key in (*RARE, *metrics)}
    series["time/elapsed"] = Series(often, often / 200.0)
    named = ("gradient_interference/critic", *matrices)
    files = {key: _matrices(folder / name, key, rare, noise) for key in named}
    return RecordedRun(folder / name, _record(), _config(seed), series, files)


def _curve(steps: Any, noise: np.random.Generator) -> Series:
    rise = 1.0 + steps / FRAMES + noise.normal(0, 0.1, len(steps))
    return Series(steps.astype(np.int64), rise.astype(np.float64))


def _matrices(folder: Path, name: str, steps: Any, noise: np.random.Generator) -> dict[int, Path]:
    found = {}
    for step in steps[[0, len(steps) // 2, -1]].tolist() if len(steps) else []:
        rows = noise.normal(size=(8, 6))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        path = folder / "matrices" / name / f"{step:010d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (rows @ rows.T).astype(np.float32))
        found[step] = path
    return found


def _record() -> dict[str, Any]:
    layer = {"shape": [16, 8], "density": 0.2}
    densities = {
        role: {f"{name}.weight": dict(layer) for name in names} for role, names in ROLES.items()
    }
    return {"name": "toy", "densities": densities, "outcome": "finished", "frames": FRAMES}


def _config(seed: int) -> dict[str, Any]:
    kinds = {"diagnostics": [{"name": "effective_rank"}], "interventions": []}
    return {"frames": FRAMES, "seed": seed, **kinds}


def learning(folder: Path, **more: Any) -> Study:
    """Two groups of two runs with all there is."""
    groups = []
    for label, first in (("sparsity 0", 0), ("sparsity 0.8", 10)):
        runs = [run(folder, f"{label}-s{i}".replace(" ", "-"), first + i, **more) for i in range(2)]
        groups.append(RunGroup(label, tuple(runs)))
    return Study(tuple(groups))


def forms(folder: Path, **more: Any) -> Mapping[str, Study]:
    """Studies of every form, by what is special about each."""
    whole, early = run(folder, "whole", 1, **more), run(folder, "early", 2, reached=2_500, **more)
    many = tuple(run(folder, f"many-s{i}", 20 + i, **more) for i in range(4))
    damaged = RecordedRun(folder / "damaged", problems=("run.json is missing",))

    def changed(name: str, change: Callable[[Series], Any]) -> RecordedRun:
        series = {}
        for key, own in whole.series.items():
            values = np.asarray(change(own), dtype=np.float64)
            series[key] = Series(own.steps[: len(values)], values)
        return RecordedRun(folder / name, whole.record, whole.config, series, whole.matrices)

    odd = (
        changed("broken", lambda own: np.where(own.steps // 500 % 3, own.values, np.nan)),
        changed("once", lambda own: own.values[:1]),
        changed("zero", lambda own: own.values * 0),
        changed("lost", lambda own: own.values * np.nan),
        changed("empty", lambda own: own.values[:0]),
    )
    return {
        "a group of four runs": Study((RunGroup("all", many),)),
        "a run that has begun beside a whole one and a damaged one": _study(whole, early, damaged),
        "runs of numbers some or all of which are not finite, of one, of zeros, of none": _study(
            *odd
        ),
    }


def nothing(folder: Path) -> Mapping[str, Study]:
    """Studies in which there is nothing to draw."""
    bare = RecordedRun(folder / "bare", problems=("metrics.jsonl is missing",))
    return {"a study without runs": Study(()), "a run without files": _study(bare)}


def _study(*runs: RecordedRun) -> Study:
    return Study(tuple(RunGroup(one.title, (one,)) for one in runs))
