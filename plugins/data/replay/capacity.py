"""Whether a buffer fits where it is to be kept."""

from __future__ import annotations

import bisect
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from core.api import OptionError
from plugins.data.replay.layout import Layout

Need = Callable[[Layout], int]


def free_memory() -> int:
    """Bytes of RAM that can be taken without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_disk(folder: Path) -> int:
    """Bytes free on the disk of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def free_device(device: torch.device) -> int:
    """Bytes free on the learner's device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def require_fit(
    capacity: int, make: Callable[[int], Layout], need: Need, free: int, place: str
) -> None:
    """Raise :class:`OptionError` on ``capacity`` unless it fits into ``free`` bytes.

    ``make`` lays out a capacity; ``need`` says how much of a layout goes to ``place``.
    """
    needed = need(make(capacity))
    if needed <= free:
        return
    fits = bisect.bisect_right(range(1, capacity), free, key=lambda c: need(make(c)))
    raise OptionError(
        "capacity",
        f"is too large: {capacity} transitions need {size(needed)} ({needed} bytes) {place}, "
        f"of which {size(free)} ({free} bytes) are free; {fits} transitions would fit",
    )


def size(count: int) -> str:
    """``21.2 GB``: bytes for people, in decimal units."""
    value, unit = float(count), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "bytes" else f"{count} bytes"
