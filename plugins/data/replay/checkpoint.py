"""Saving a buffer by what is new: files of consecutive transitions that are never rewritten.

A file holds, for transitions ``[start, stop)`` of every environment, the frames from the
oldest of the first one's stack to the observation after the last one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from core.api import UserError

if TYPE_CHECKING:
    from plugins.data.replay.storage import FrameStorage
    from plugins.data.replay.windows import Ints

PIECE_BYTES = 64 << 20
"""About how large one file may grow: bounds the memory that saving and loading take."""


class Segment(NamedTuple):
    """One file."""

    name: str
    start: int
    stop: int


def save_new(folder: Path, storage: FrameStorage, kept: Sequence[Segment]) -> list[Segment]:
    """Write the transitions that no segment of ``kept`` has; return all that are needed now."""
    ledger, layout = storage.ledger, storage.layout
    oldest = int(ledger.first.min())
    segments = [segment for segment in kept if segment.stop > oldest]
    start = max(kept[-1].stop if kept else 0, oldest)
    per_step = layout.environments * sum(
        column.bytes for column in (*layout.placed.values(), *layout.ledger.values())
    )
    length = max(1, PIECE_BYTES // per_step)
    folder.mkdir(parents=True, exist_ok=True)
    for begin in range(start, ledger.count, length):
        segments.append(_write(folder, storage, begin, min(begin + length, ledger.count)))
    return segments


def load_all(folder: Path, storage: FrameStorage, segments: Sequence[Segment]) -> None:
    """Put the frames of ``segments`` back, in order.

    Raises:
        UserError: a file is missing.
    """
    for segment in segments:
        path = folder / segment.name
        if not path.exists():
            raise UserError(f"the checkpoint's replay file is missing: {path}")
        piece = torch.load(path, weights_only=True)
        slots = _slots(piece["from"], piece["to"], storage.layout.frames)
        for name, values in piece["columns"].items():
            storage.put(name, slots, values)
        numbers = torch.arange(segment.start, segment.stop) % storage.layout.transitions
        storage.ledger.frame_of[:, numbers] = piece["frame_of"]


def _write(folder: Path, storage: FrameStorage, start: int, stop: int) -> Segment:
    piece = _piece(storage, start, stop)
    path = _unused(folder, f"frames-{start}-{stop}")
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(piece, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return Segment(path.name, start, stop)


def _unused(folder: Path, stem: str) -> Path:
    """A name not taken: an abandoned continuation may have left the same range behind."""
    path, attempt = folder / f"{stem}.pt", 1
    while path.exists():
        attempt += 1
        path = folder / f"{stem}-{attempt}.pt"
    return path


def _piece(storage: FrameStorage, start: int, stop: int) -> Mapping[str, Any]:
    ledger, layout = storage.ledger, storage.layout
    numbers = torch.arange(start, stop) % layout.transitions
    frame_of = ledger.frame_of[:, numbers]
    age = storage.columns["age"].numpy()
    begin, end = [], []
    for environment, first in enumerate(ledger.first.tolist()):
        ring = environment * layout.frames
        last_frame = int(frame_of[environment, -1]) + 1
        if first >= stop:  # this environment's ring has already overwritten all of it
            begin.append(last_frame + 1)
        else:
            frame = int(frame_of[environment, max(first, start) - start])
            begin.append(frame - int(age[ring + frame % layout.frames]))
        end.append(last_frame + 1)
    index = torch.from_numpy(_slots(begin, end, layout.frames))
    columns = {
        name: column.index_select(0, index.to(column.device)).cpu()
        for name, column in storage.columns.items()
    }
    return {"from": begin, "to": end, "frame_of": frame_of, "columns": columns}


def _slots(begin: Sequence[int], end: Sequence[int], ring: int) -> Ints:
    """Slots of the frames from ``begin`` up to ``end``, one environment after the other."""
    parts = [
        np.arange(a, b) % ring + environment * ring
        for environment, (a, b) in enumerate(zip(begin, end, strict=True))
    ]
    slots: Ints = np.concatenate(parts)
    return slots
