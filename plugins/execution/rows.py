"""A network on one observation at a time, by the compiled kernels of ``native/rows.cpp``.

:func:`row_of` makes it, or one of :mod:`plugins.execution.numpy_rows` where there are none.

At batch one nearly all of a PyTorch step is the cost of calling operations, some hundred of
them; here a step is three calls, and the time is that of reading the weights.
"""

from __future__ import annotations

from ctypes import PyDLL, addressof
from typing import final

import torch
from torch import Tensor, nn

from plugins.execution import library
from plugins.execution.chains import Chain, agrees, recognise
from plugins.execution.numpy_rows import NumpyRow
from plugins.execution.weights import MaskOf, Weights, fitting

LINE = 16
"""Floats in a cache line: buffers begin at multiples of it."""
PROBES = 4
"""Random observations on which a network and its row must agree."""


def row_of(module: nn.Module, mask_of: MaskOf) -> Row | NumpyRow | None:
    """``module`` by compiled kernels, by NumPy where there are none; None for other networks."""
    chain = recognise(module)
    if chain is None:
        return None
    kernels = library.rows()
    row = NumpyRow(chain, mask_of) if kernels is None else Row(chain, kernels, mask_of)
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(PROBES, row.inputs, generator=generator)
    outputs = torch.stack([row.forward(observation).clone() for observation in observations])
    return row if agrees(module, observations, outputs) else None


@final
class Row:
    """A chain of layers on one observation; implements ``RowNetwork``.

    The weights are the module's own and change in place, behind autograd's back: a graph that
    was built before ``move`` must not be run backward after it. Between ``forward`` and its
    ``accumulate`` the weights must stay as they are.
    """

    def __init__(self, chain: Chain, kernels: PyDLL, mask_of: MaskOf) -> None:
        self._weights = Weights(chain, mask_of)
        self.inputs = chain.linears[0].in_features
        self.outputs = sum(head.out_features for head in chain.heads)
        self.parameters = self._weights.count
        """Length of the flat vectors."""
        self._chain = chain
        self._forward = kernels.openwork_rows_forward
        self._accumulate = kernels.openwork_rows_accumulate
        self._move = kernels.openwork_rows_move
        self._layers = (library.Layer * len(chain.linears))()
        self._network = library.Network(layers=addressof(self._layers), count=len(self._layers))
        self._address = addressof(self._network)
        self._lay_out()
        self.bind()

    def _lay_out(self) -> None:
        """Make the buffers, and tell each layer what it reads and writes."""
        widths = [_padded(stage.linear.out_features) for stage in self._chain.hidden]
        self._input = torch.zeros(self.inputs)
        self._output = torch.zeros(self.outputs)
        self._hidden = torch.zeros(3, sum(widths))  # outputs, normalised, gradients
        self._gradient = torch.zeros(self.outputs)
        network = self._network
        network.input, network.inputs = self._input.data_ptr(), self.inputs
        network.hidden_gradients, network.hidden = self._hidden[2].data_ptr(), sum(widths)
        network.output_gradients, network.outputs = self._gradient.data_ptr(), self.outputs
        offset, source, gradient = 0, network.input, None
        for layer, linear in zip(self._layers, self._chain.linears, strict=True):
            layer.inputs, layer.outputs = linear.in_features, linear.out_features
            layer.offset = offset
            offset += sum(parameter.numel() for parameter in linear.parameters())
        at = 0
        for layer, stage, width in zip(self._layers, self._chain.hidden, widths, strict=False):
            layer.input, layer.input_gradient = source, gradient
            addresses = [row[at:].data_ptr() for row in self._hidden]
            layer.output, normal, layer.output_gradient = addresses
            layer.normal = None if stage.epsilon is None else normal
            layer.epsilon, layer.slope = stage.epsilon or 0.0, stage.slope
            source, gradient = layer.output, layer.output_gradient
            at += width
        at = 0
        for layer in self._layers[len(widths) :]:
            layer.input, layer.input_gradient, layer.slope = source, gradient, 1.0
            layer.output = self._output[at:].data_ptr()
            layer.output_gradient = self._gradient[at:].data_ptr()
            at += layer.outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call.

        Raises:
            ValueError: not so many contiguous float32 numbers on the CPU.
            RuntimeError: the module was moved to another device or type.
        """
        if self._weights.moved():
            self.bind()
        self._forward(self._address, _pointer(inputs, self.inputs))
        return self._output

    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``, in one pass; the L1 norm of the new trace.

        Entries of removed weights become exactly 0, and so do entries below the smallest
        normal number (1.2e-38), which would be slow to go on with. The norm adds up in float32
        within four rows of a weight, in float64 beyond.

        Raises:
            ValueError: ``gradient`` or ``trace`` is not of the right size and kind.
        """
        norm: float = self._accumulate(
            self._address,
            _pointer(gradient, self.outputs),
            _pointer(trace, self.parameters),
            decay,
        )
        return norm

    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, which must be 0 at removed weights, as traces are.

        Raises:
            ValueError: ``direction`` is not of the right size and kind.
        """
        self._move(self._address, _pointer(direction, self.parameters), scale)

    def bind(self) -> None:
        """Read again where the weights are, and which of them live."""
        self._weights.read()
        for layer, linear in zip(self._layers, self._chain.linears, strict=True):
            layer.weight = linear.weight.data_ptr()
            layer.weight_mask = _address(self._weights.mask(linear.weight))
            if linear.bias is not None:
                layer.bias = linear.bias.data_ptr()
                layer.bias_mask = _address(self._weights.mask(linear.bias))


def _padded(width: int) -> int:
    return -(-width // LINE) * LINE


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _pointer(tensor: Tensor, size: int) -> int:
    return fitting(tensor, size).data_ptr()
