"""What runs left on disk, for comparing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, wall times left out."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    state = torch.load(directory / "checkpoint" / "state.pt", weights_only=True)
    return dict(state["learner"]["loss"])


def same(a: Path, b: Path) -> bool:
    """Metrics and weights of two runs, bit for bit."""
    first, second = weights(a), weights(b)
    equal = first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    return equal and metrics(a) == metrics(b)
