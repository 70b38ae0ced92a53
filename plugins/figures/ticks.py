"""How numbers are written along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from matplotlib.ticker import Formatter


@final
class Numbers(Formatter):
    """Ticks as 0, 20k, 1.0M: one unit and one number of decimals on an axis."""

    def __init__(self, percent: bool = False) -> None:
        self._percent = percent

    def __call__(self, value: float, position: int | None = None) -> str:
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All ticks of an axis together."""
        largest = max((abs(value) for value in values), default=0.0)
        values = [value if abs(value) > 1e-9 * largest else 0.0 for value in values]
        if self._percent:
            return [number + "%" for number in _plain([100 * value for value in values])]
        if 0 < largest < 1e-3 or largest >= 1e9:
            return _scientific(values)
        if largest < 1e4:
            return _plain(values)
        scale, unit, least = (1e6, "M", 1) if largest >= 1e6 else (1e3, "k", 0)
        numbers = _plain([value / scale for value in values], least)
        return [number + unit if number != "0" else number for number in numbers]


def _plain(values: Sequence[float], least: int = 0) -> list[str]:
    """With as many decimals as all need, at least ``least``; zero without."""
    exact = (d for d in range(least, 6) if all(abs(v - round(v, d)) < 1e-7 for v in values))
    decimals = next(exact, 6)
    return [_signed(f"{value:.{decimals}f}") if value else "0" for value in values]


def _scientific(values: Sequence[float]) -> list[str]:
    """With as few digits as all need."""
    for digits in range(1, 9):
        labels = [f"{value:.{digits}g}" for value in values]
        if all(
            math.isclose(float(x), v, rel_tol=1e-9) for x, v in zip(labels, values, strict=True)
        ):
            break
    return [_signed(label.replace("e-0", "e-").replace("e+0", "e")) for label in labels]


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
