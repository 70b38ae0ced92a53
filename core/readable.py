"""Numbers as people read them."""

from __future__ import annotations


def readable_time(seconds: int) -> str:
    """``0:03:07``, and ``9d 8h`` from two days on."""
    hours = seconds // 3600
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
