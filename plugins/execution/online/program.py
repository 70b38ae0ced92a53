"""A feedforward network as the compiled kernels take it: steps, and all buffers between them."""

from __future__ import annotations

from ctypes import addressof
from typing import final

import torch
from torch import Tensor

from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.online import library
from plugins.execution.online.recognise import Activation, Feedforward, Linear, Norm, Step
from plugins.execution.online.weights import Weights

LINE = 16
"""Floats in a cache line: buffers begin at multiples of it."""
DENSE, SPARSE, NORM, ACTIVATION = range(4)
"""``enum Kind`` of ``native/online/online.h``."""
LARGE = 1 << 18
"""Weights of a layer that is worth several threads: some 100 microseconds of work."""
SLICES, SLICE = 8, 64
"""A large dense layer's backward pass is cut into so many runs of rows, each at least so long."""


@final
class Program:
    """Buffers, and the C structures that point to them and to the weights.

    Values of two observations lie in the two rows of one tensor, in the same places.
    Gradients of the first one's have the places of the values.
    """

    def __init__(self, net: Feedforward) -> None:
        self._net = net
        self.inputs = net.linears[0].in_features
        self.outputs = sum(head.out_features for head in net.heads)
        self._sources = [*net.steps, *map(Linear, net.heads)]
        self._steps = (library.Step * len(self._sources))()
        self.network = library.Network(steps=addressof(self._steps), count=len(self._steps))
        self.address = addressof(self.network)
        self._patterns: list[object] = []
        self._lay_out()

    def _lay_out(self) -> None:
        """Make the buffers, and tell every step which it reads and writes."""
        places, size = _places(self._sources, self.inputs, len(self._net.heads))
        start = _padded(self.inputs)
        values, gradients = torch.zeros(2, size), torch.zeros(size)
        self._kept = [values, gradients]
        output = size - _padded(self.outputs)
        self.output = values[0, output : output + self.outputs]
        """``[outputs]`` of the last forward pass, and next of its second observation."""
        self.other_output = values[1, output : output + self.outputs]

        def value(place: int) -> int:
            return values.data_ptr() + 4 * place

        def gradient(place: int) -> int | None:
            return gradients.data_ptr() + 4 * place if place else None

        network = self.network
        network.input, network.inputs = value(0), self.inputs
        network.output, network.outputs = value(output), self.outputs
        network.gradients, network.gradient_count = gradient(start), size - start
        network.output_gradients, network.other = gradient(output), size
        for step, (read, written, normal) in zip(self._steps, places, strict=True):
            step.input, step.output = value(read), value(written)
            step.input_gradient, step.output_gradient = gradient(read), gradient(written)
            step.normal = None if normal is None else value(normal)
        for step, source in zip(self._steps, self._sources, strict=True):
            _describe(step, source)
        _set_widths(self._steps)

    def bind(self, weights: Weights) -> None:
        """Point to the weights, their masks and patterns, as they are now."""
        offset, self._patterns = 0, []
        for step, source in zip(self._steps, self._sources, strict=True):
            if isinstance(source, Activation):
                continue
            layer = source.layer
            step.offset, step.count = offset, 0
            if layer.weight is not None:
                step.count = layer.weight.numel()
                step.weight = layer.weight.data_ptr()
                step.weight_mask = _address(weights.mask(layer.weight))
            if layer.bias is not None:
                step.bias = layer.bias.data_ptr()
                step.bias_mask = _address(weights.mask(layer.bias))
            offset += sum(parameter.numel() for parameter in layer.parameters())
            if isinstance(layer, SparseLinear):
                pattern = layer.pattern
                step.pattern = pattern.address
                self._patterns.append(pattern)
        self._cut()

    def _cut(self) -> None:
        """Room for what the parts of a backward pass give, before it is added up."""
        partial, tasks = 0, 1
        for step, source in zip(self._steps, self._sources, strict=True):
            if not isinstance(source, Linear):
                continue
            large = step.count >= LARGE
            step.threads = torch.get_num_threads() if large else 1
            step.slices = max(min(SLICES, step.outputs // SLICE), 1) if large else 1
            if isinstance(source.layer, SparseLinear):
                tasks = max(tasks, -(-step.inputs // source.layer.pattern.panel))
            elif step.slices > 1:
                partial = max(partial, step.slices * step.inputs)
            tasks = max(tasks, step.slices)
        sums, norms = torch.zeros(partial), torch.zeros(tasks, dtype=torch.float64)
        self._kept[2:] = [sums, norms]
        for step in self._steps:
            step.partial, step.norms = sums.data_ptr(), norms.data_ptr()


def _places(
    sources: list[Step], inputs: int, heads: int
) -> tuple[list[tuple[int, int, int | None]], int]:
    """Where each step's input, output and normalised values begin, and the size of it all.

    Place 0 is the network's input, which has no gradient.
    """
    places: list[tuple[int, int, int | None]] = []
    read, size, width, held = 0, _padded(inputs), inputs, 0
    for source in sources[: len(sources) - heads]:
        match source:
            case Linear(layer, adds):
                width, written = layer.out_features, held if adds else size
                places.append((read, written, None))
                size += 0 if adds else _padded(width)
                read = written
            case Norm():
                held = read
                places.append((read, size + _padded(width), size))
                read, size = size + _padded(width), size + 2 * _padded(width)
            case Activation():
                places.append((read, read, None))
    for head in sources[len(sources) - heads :]:
        assert isinstance(head, Linear)
        places.append((read, size, None))
        size += head.layer.out_features
    return places, _padded(size)


def _describe(step: library.Step, source: Step) -> None:
    """What of a step does not change."""
    match source:
        case Linear(layer, adds):
            step.kind = SPARSE if isinstance(layer, SparseLinear) else DENSE
            step.inputs, step.outputs = layer.in_features, layer.out_features
            step.add = adds
        case Norm(layer):
            step.kind, step.epsilon = NORM, layer.eps
            (step.inputs,) = (step.outputs,) = layer.normalized_shape
        case Activation(slope):
            step.kind, step.slope = ACTIVATION, slope


def _set_widths(steps: object) -> None:
    """An activation is as wide as what it bends."""
    width = 0
    for step in steps:  # type: ignore[attr-defined]
        if step.kind == ACTIVATION:
            step.inputs = step.outputs = width
        width = step.outputs


def _padded(width: int) -> int:
    return -(-width // LINE) * LINE


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
