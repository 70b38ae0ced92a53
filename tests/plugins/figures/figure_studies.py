"""Studies made up in memory, and what every picture must be."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.api import FigureContext, Picture, RecordedRun, RunGroup, Series, Study
from plugins.figures import register_figures


def series(steps: Sequence[float], values: Sequence[float]) -> Series:
    return Series(np.asarray(steps, np.int64), np.asarray(values, np.float64))


def run(
    name: str = "run-s0",
    metrics: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    **wiring: Any,
) -> RecordedRun:
    """A run of these metrics; ``diagnostics``, ``interventions``: names in its preset."""
    config = {
        kind: [{"name": n} for n in wiring.get(kind, ())]
        for kind in ("diagnostics", "interventions")
    }
    found = {key: series(*columns) for key, columns in (metrics or {}).items()}
    record, matrices = wiring.get("record", {}), wiring.get("matrices", {})
    return RecordedRun(Path("runs") / name, record, wiring.get("config", config), found, matrices)


def study(*groups: Sequence[RecordedRun], labels: Sequence[str] | None = None) -> Study:
    named = labels or [f"group {i}" for i in range(len(groups))]
    return Study(tuple(RunGroup(n, tuple(g)) for n, g in zip(named, groups, strict=True)))


def draw(name: str, shown: Study, **options: Any) -> list[Picture]:
    """What a figure gives; any warning is an error."""
    (component,) = [c for c in register_figures() if c.name == name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return list(component.build(component.options(**options), FigureContext()).draw(shown))


def draw_all(shown: Study) -> list[Picture]:
    return [picture for c in register_figures() for picture in draw(c.name, shown)]


def line_of(axes: Any, label: str) -> Any:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def learning(
    name: str, seed: int, *, frames: int = 100_000, diagnosed: bool = True, members: int = 1
) -> RecordedRun:
    """A run with most of what a run can have, and noisy numbers."""
    noise = np.random.default_rng(seed)
    logged, rare = np.arange(1_000, frames + 1, 1_000), np.arange(10_000, frames + 1, 10_000)

    def of(steps: Any, size: float = 1.0) -> tuple[Any, Any]:
        return steps, size * (1 + steps / frames + noise.normal(0, 0.1, len(steps)))

    metrics = {"loss/actor": of(logged, -30), "loss/critic": of(logged, 0.1)}
    metrics |= {"train/q": of(logged, 50), "train/return": of(logged, 300)}
    metrics |= {"train/episode_length": of(logged, 500), "step_size/actor": of(logged, 1e-5)}
    metrics |= {"eval/return": of(rare, 400), "eval/return_std": of(rare, 30)}
    metrics |= {"time/evaluation": of(rare, 2), "time/elapsed": (logged, logged / 200)}
    metrics |= {"time/frames_per_second": of(logged, 200), "gradient_norm/critic": of(logged)}
    if diagnosed:
        for i in range(members):
            label = f"critic.{i}" if members > 1 else "critic"
            metrics |= {f"effective_rank/{label}": of(rare, 120)}
            metrics |= {f"dormant_ratio/{label}/{tau}": of(rare, 0.1) for tau in ("0.1", "0.025")}
            for layer in ("trunk.input", "trunk.blocks.0.expand", "head"):
                metrics[f"parameter_norm/critic.members.{i}.{layer}"] = of(rare, 9)
        metrics |= {"parameter_norm/critic": of(rare, 20), "q_bias/mean": of(rare, -3)}
        metrics |= {"time/diagnostics/effective_rank": of(rare, 0.02)}
        metrics |= {"periodic_reset/parameters": ([40_000, 80_000], [5.0, 5.0])}
    sparse = {"shape": [128, 30], "density": 0.05 + 0.9 * noise.random()}
    layers = {"trunk.input.weight": sparse, "head.weight": {"shape": [1, 128], "density": 1.0}}
    return run(
        name, metrics, interventions=["periodic_reset"], record={"densities": {"critic": layers}}
    )


def assert_legible(picture: Picture) -> None:
    """Every axes says what it shows; no labels overlap, or stick out of the picture."""
    figure: Any = picture.figure
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # missing glyphs, a layout that does not fit
        figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_ylabel(), picture.name
        assert axes.get_xlabel() or axes.get_label() == "<colorbar>", picture.name
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            _assert_apart(
                [t.label1 for t in ticks if t.label1.get_visible() and t.label1.get_text()]
            )
    texts = [text for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label)]
    titles = [axes._left_title for axes in figure.axes]
    legends = list(figure.legends)
    _assert_apart([t for t in texts + titles if t.get_text()] + legends)
    for artist in [*texts, *titles, *legends]:
        box = artist.get_window_extent()
        assert box.x0 >= -1, (picture.name, artist)
        assert box.y0 >= -1, (picture.name, artist)
        assert box.x1 <= figure.bbox.x1 + 1, (picture.name, artist)
        assert box.y1 <= figure.bbox.y1 + 1, (picture.name, artist)


def _assert_apart(artists: Sequence[Any]) -> None:
    boxes = [artist.get_window_extent() for artist in artists]
    for i, box in enumerate(boxes):
        for j, other in enumerate(boxes[:i]):
            assert not box.overlaps(other), (artists[i], artists[j])
