"""The numbers of several runs at common frames, and what sums them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from core.api import Series

Array = np.ndarray[Any, np.dtype[Any]]
Statistic = Callable[[Array], Array]
"""``[runs, n] -> [n]``."""

RESAMPLES = 2_000


def mean(values: Array) -> Array:
    """``[runs, n] -> [n]``."""
    return np.asarray(values.mean(0))


def interquartile_mean(values: Array) -> Array:
    """``[runs, n] -> [n]``: the mean without the least and the greatest quarter of the runs,
    each rounded down to whole runs (Agarwal et al. 2021, "Deep RL at the edge of the
    statistical precipice", section 4.3)."""
    cut = len(values) // 4
    return np.asarray(np.sort(values, axis=0)[cut : len(values) - cut].mean(0))


def bootstrap_interval(
    values: Array, statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Array, Array]:
    """``[runs, n]`` -> bounds ``[n]`` of the 95% percentile interval over drawings of runs,
    whole runs at a time (Agarwal et al. 2021, section 4.1; one task, so nothing to stratify).
    """
    runs = len(values)
    draws = np.random.default_rng(seed).integers(runs, size=(resamples, runs))
    low, high = np.quantile([statistic(values[draw]) for draw in draws], (0.025, 0.975), axis=0)
    return low, high


def align(series: Sequence[Series]) -> tuple[Array, Array]:
    """Frames ``[n]``, and each run's numbers at them ``[runs, n]``.

    The frames are all at which any run has a number, from where the last of the runs begins to
    where the first of them ends. A run without a number at one of them is taken to go straight
    from the one before to the one after; where one of these is NaN, so is what lies between.
    """
    begin = max(one.steps[0] for one in series)
    end = min(one.steps[-1] for one in series)
    steps = np.unique(np.concatenate([one.steps for one in series]))
    steps = steps[(steps >= begin) & (steps <= end)]
    return steps, np.stack([np.interp(steps, one.steps, one.values) for one in series])


def smoothed(values: Array, window: int) -> Array:
    """Centred running mean over ``window`` (odd) numbers, ``[n]``, fewer at the ends.

    NaN stays where it is, and counts for nothing elsewhere.
    """
    if window == 1 or len(values) == 0:
        return values
    kernel, finite = np.ones(window), np.isfinite(values)
    half = window // 2
    sums = np.convolve(np.where(finite, values, 0.0), kernel)[half : half + len(values)]
    counts = np.convolve(finite.astype(float), kernel)[half : half + len(values)]
    return np.where(finite, sums / np.maximum(counts, 1), np.nan)
