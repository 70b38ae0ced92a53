"""What trials measured, kept between processes in the user's cache directory.

Losing it costs a fraction of a second of measuring; so nothing here ever raises.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

_measured: dict[tuple[Path | None, str], Timing] = {}
"""Of this process: the same question has the same answer even where nothing can be written."""


@dataclass(frozen=True)
class Timing:
    """Process CPU seconds of a forward and backward pass, medians."""

    masked: float
    compact: float

    @property
    def ratio(self) -> float:
        """How many times faster the compact form is."""
        return self.masked / self.compact


def default_path() -> Path | None:
    """``$XDG_CACHE_HOME/openwork/execution.json``, or under ``~/.cache``; None without a home."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not given.is_absolute():  # the specification says to ignore it then
        try:
            given = Path.home() / ".cache"
        except RuntimeError:
            return None
    return given / "openwork" / "execution.json"


def recall(key: str) -> Timing | None:
    """What was measured under this key, by this process or an earlier one."""
    path = default_path()
    if (path, key) not in _measured:
        found = _timing(_read(path).get(key))
        if found is None:
            return None
        _measured[path, key] = found
    return _measured[path, key]


def remember(key: str, timing: Timing) -> None:
    """Keep it; where the file cannot be written, for this process only."""
    path = default_path()
    _measured[path, key] = timing
    if path is None:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    # another process may write at once: each writes a whole file, and at worst one trial is lost
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(_read(path) | {key: asdict(timing)}, indent=1) + "\n")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def forget() -> None:
    """Of this process only."""
    _measured.clear()


def _read(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _timing(entry: Any) -> Timing | None:
    """An entry of the file, if it is one."""
    if not isinstance(entry, dict):
        return None
    masked, compact = entry.get("masked"), entry.get("compact")
    if not (_is_time(masked) and _is_time(compact)):
        return None
    return Timing(masked, compact)


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, float) and math.isfinite(value) and value > 0
