"""A line of ``metrics.jsonl``."""

from __future__ import annotations

import json
from typing import Any

LIMIT = 2**63
"""Whole numbers below this fit an array."""


def scalars_of(line: str | bytes) -> dict[str, Any] | None:
    """A line's numbers with its step; None if it is not what a run writes."""
    try:
        scalars = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(scalars, dict) or type(scalars.get("step")) is not int:
        return None
    for value in scalars.values():
        if isinstance(value, float) or value is None:
            continue
        if not isinstance(value, int) or not -LIMIT < value < LIMIT:
            return None
    return scalars
