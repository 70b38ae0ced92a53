"""Who drew from the global random generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core.agent.randomness import random_state


def changed(before: Mapping[str, Any]) -> str:
    """The global generators that were drawn from since :func:`core.agent.randomness.random_state`."""
    after = random_state()
    same = {
        "Python's": before["python"] == after["python"],
        "NumPy's": all(map(_equal, before["numpy"], after["numpy"])),
        "torch's": torch.equal(before["torch"], after["torch"]),
    }
    return " and ".join(f"{name} global generator" for name, kept in same.items() if not kept)


def _equal(first: Any, second: Any) -> bool:
    return bool((first == second).all()) if hasattr(first, "all") else bool(first == second)
