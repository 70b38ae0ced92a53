"""Run directories made up for tests of what shows runs: nothing was trained for them.

The files are those that a run writes (``tests/plugins/commands/report/test_report_read.py`` holds ``run.json``
against a real one); the numbers only look like learning. No torch is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.support.recorded_preset import (
    EVALUATE_EVERY,
    LAYERS,
    LOG_EVERY,
    MEASURE_EVERY,
    record_of,
    resolved,
    set_key,
)

FRAMES = 60_000
SAMPLES = 16
"""Side of the interference matrices; the real ones have 64."""

Numbers = dict[str, float | None]


def write_run(
    directory: Path,
    *,
    seed: int = 0,
    sparsity: float | None = 0.8,
    frames: int = FRAMES,
    reached: int | None = None,
    outcome: str | None = "finished",
    changes: Mapping[str, Any] | None = None,
    diagnostics: bool = True,
    reset_every: int | None = None,
    disabled: list[dict[str, Any]] | None = None,
) -> Path:
    """Write the directory of a SAC run on walker-walk, and answer its path.

    ``sparsity`` None is a dense agent. ``reached``: frames done, of ``frames``. ``outcome``
    None: the run goes on or was killed, so the end is not in ``run.json``. ``changes`` are
    overrides by dotted key. ``reset_every``: with the lines of a ``periodic_reset``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = resolved(seed, sparsity, frames, diagnostics, reset_every)
    for key, value in (changes or {}).items():
        set_key(config, key, value)
    (directory / "resolved.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    done = frames if reached is None else reached
    record = record_of(directory, config, sparsity, changes or {})
    if outcome is not None:
        record |= {"outcome": outcome, "frames": done, "ended": "2026-01-02T03:14:15+00:00"}
    if disabled is not None:
        record["disabled"] = disabled
    (directory / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    lines = list(_lines(seed, sparsity, done, frames, diagnostics, reset_every))
    text = "".join(json.dumps({"step": step} | scalars) + "\n" for step, scalars in lines)
    (directory / "metrics.jsonl").write_text(text)
    if diagnostics:
        for step in _measured(done, frames):
            write_matrices(directory, seed, sparsity, step, frames)
    return directory


def write_study(folder: Path, seeds: int = 3, **options: Any) -> list[Path]:
    """Dense and sparse runs, ``seeds`` of each: the runs' directories."""
    return [
        write_run(folder / f"{name}-s{seed}", seed=seed, sparsity=sparsity, **options)
        for name, sparsity in (("dense", None), ("sparse", 0.8))
        for seed in range(seeds)
    ]


# --- metrics.jsonl and matrices/ --------------------------------------------------------


def _measured(done: int, frames: int) -> list[int]:
    """Before the first update, at every multiple, and at the end."""
    steps = [5_000, *range(MEASURE_EVERY, done + 1, MEASURE_EVERY)]
    steps += [done] if done == frames else []
    return sorted({step for step in steps if step <= done})


def _lines(
    seed: int,
    sparsity: float | None,
    done: int,
    frames: int,
    diagnostics: bool,
    reset_every: int | None,
) -> Iterator[tuple[int, Numbers]]:
    noise = np.random.default_rng([seed, sparsity is None])
    lift = 1.0 if sparsity is None else 1.2
    measured = set(_measured(done, frames)) if diagnostics else set()
    for step in range(LOG_EVERY, done + 1, LOG_EVERY):
        level = 700 * lift * (1 - math.exp(-3 * step / frames)) + noise.normal(0, 25)
        yield step, _logged(step, level, noise)
        if step % EVALUATE_EVERY == 0:
            yield step, _evaluated(level + 20, noise)
        if step in measured:
            yield step, _diagnosed(step / frames, sparsity, noise)
        if reset_every is not None and step % reset_every == 0:
            yield step, {"periodic_reset/parameters": 304_013.0}


def _logged(step: int, level: float, noise: np.random.Generator) -> Numbers:
    times: Numbers = {
        "time/frames_per_second": 220.0 + noise.normal(0, 4),
        "time/updates_per_second": 110.0 + noise.normal(0, 2),
        "time/updates": max(0.0, (step - 5_000) / 2),
        "time/elapsed": step / 220,
    }
    training: Numbers = {}
    if step > 5_000:
        share = step / FRAMES
        training = {
            "loss/actor": -40 * share + noise.normal(0, 1),
            "gradient_norm/actor": 0.2 + abs(noise.normal(0, 0.05)),
            "train/entropy": -1 - 3 * share,
            "loss/temperature": 0.02 * (1 - share),
            "gradient_norm/temperature": 0.02 * (1 - share),
            "train/temperature": 0.01 * math.exp(-share),
            "loss/critic": 0.1 * math.exp(-share) + abs(noise.normal(0, 0.01)),
            "gradient_norm/critic": 0.4 + abs(noise.normal(0, 0.1)),
            "train/q": 40 * share,
            "train/target_q": 40 * share + noise.normal(0, 0.5),
        }
    episodes: Numbers = {
        "train/return": level,
        "train/episode_length": 500.0,
        "train/episodes": 1.0,
    }
    return training | episodes | times


def _evaluated(level: float, noise: np.random.Generator) -> Numbers:
    spread = 20 + abs(noise.normal(0, 10))
    return {
        "eval/return": level,
        "eval/return_std": spread,
        "eval/return_min": level - 2 * spread,
        "eval/return_max": level + 2 * spread,
        "eval/length": 500.0,
        "eval/episodes": 5.0,
        "time/evaluation": 1.5,
    }


def _diagnosed(share: float, sparsity: float | None, noise: np.random.Generator) -> Numbers:
    worse = 1.0 if sparsity is None else 0.4
    numbers: Numbers = {}
    for role, layers in LAYERS.items():
        numbers[f"effective_rank/{role}"] = float(round(60 - 25 * worse * share))
        for tau in ("0.1", "0.2"):
            extra = 0.05 if tau == "0.2" else 0.0
            numbers[f"dormant_ratio/{role}/{tau}"] = 0.02 + extra + 0.3 * worse * share
        numbers[f"gradient_norm/{role}/{role}"] = 0.5 + worse * share + noise.normal(0, 0.02)
        numbers[f"parameter_norm/{role}"] = 16 + 10 * worse * share
        for name in layers:
            numbers[f"gradient_norm/{role}/{role}.{name}"] = 0.1 + 0.3 * worse * share
            numbers[f"parameter_norm/{role}.{name}"] = 4 + 3 * worse * share
        numbers[f"gradient_interference/{role}/mean_abs"] = 0.1 + 0.2 * worse * share
        numbers[f"gradient_interference/{role}/negative"] = 0.45 + 0.05 * worse * share
    for name in ("effective_rank", "dormant_ratio", "gradient_norm", "gradient_interference"):
        numbers[f"time/diagnostics/{name}"] = 0.01 + abs(noise.normal(0, 0.002))
    return numbers | {"time/diagnostics/parameter_norm": 0.001}


def write_matrices(
    directory: Path, seed: int, sparsity: float | None, step: int, frames: int
) -> None:
    """Cosine similarities of actor and critic at one frame."""
    noise = np.random.default_rng([seed, step])
    common = (0.9 if sparsity is None else 0.4) * step / frames
    for role in LAYERS:
        rows = noise.normal(size=(SAMPLES, 32)) + 2 * common
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        path = directory / "matrices" / "gradient_interference" / role / f"{step:010d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (rows @ rows.T).astype(np.float32))
