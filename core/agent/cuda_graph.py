"""One update captured in a CUDA graph: one launch instead of thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

import torch

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from core.api.losses import Metrics

WARM_UP = 3
"""Updates before the capture, as PyTorch asks: they fill optimizer states and workspaces."""


@final
class Captured:
    """Calls ``step`` a few times as it is, then captures it and replays the graph.

    Every call is one real update on its own batch. Batches must keep their shapes. What is
    returned is overwritten by the next call.
    """

    def __init__(self, step: Callable[[TensorDictBase], Metrics]) -> None:
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: TensorDictBase | None = None
        self._outputs: Metrics = {}

    def __call__(self, batch: TensorDictBase) -> Metrics:
        """One update on ``batch``."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._on_side_stream(batch)
        if self._graph is None or self._inputs is None:
            self._inputs = batch.clone()
            self._graph = torch.cuda.CUDAGraph()
            # Capturing records the update without running it: the replay below runs it.
            with torch.cuda.graph(self._graph):
                self._outputs = self._step(self._inputs)
        else:
            self._inputs.update_(batch)
        self._graph.replay()
        return self._outputs

    def _on_side_stream(self, batch: TensorDictBase) -> Metrics:
        # A capture runs on a stream of its own; what is warmed up must not sit on the default.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            metrics = self._step(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return metrics
