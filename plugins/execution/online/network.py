"""A network on one observation at a time, by the compiled kernels of ``native/online/``.

At batch one nearly all of a PyTorch step is the cost of calling operations, some hundred of
them; here a step is three calls, and the time is that of reading the weights.
"""

from __future__ import annotations

from ctypes import CDLL
from typing import final

import torch
from torch import Tensor, nn

from plugins.execution.online import library
from plugins.execution.online.program import Program
from plugins.execution.online.recognise import Feedforward, agrees, recognise
from plugins.execution.online.weights import NO_LONGER, MaskOf, Weights, fitting

PROBES = 4
"""Random observations on which a network and its row must agree."""


def online_network(module: nn.Module, mask_of: MaskOf) -> CompiledNetwork | None:
    """``module`` by compiled kernels; None where there are none, and for other networks."""
    net = recognise(module)
    kernels = library.kernels() if net is not None else None
    if net is None or kernels is None:
        return None
    row = CompiledNetwork(module, net, kernels, mask_of)
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(PROBES, row.inputs, generator=generator)
    outputs = torch.stack([row.forward(observation).clone() for observation in observations])
    return row if agrees(module, observations, outputs) else None


@final
class CompiledNetwork:
    """A feedforward network on one observation; implements ``OnlineNetwork``.

    The weights are the module's own and change in place, behind autograd's back: a graph that
    was built before ``move`` must not be run backward after it. Between ``forward`` and its
    ``accumulate`` the weights must stay as they are. Layers that are replaced by others of
    their kind and size, dense or compact, are followed.
    """

    def __init__(self, module: nn.Module, net: Feedforward, kernels: CDLL, mask_of: MaskOf) -> None:
        self._module = module
        self._mask_of = mask_of
        self._forward = kernels.openwork_online_forward
        self._accumulate = kernels.openwork_online_accumulate
        self._move = kernels.openwork_online_move
        self._take(net)
        self.inputs, self.outputs = self._program.inputs, self._program.outputs
        self.bind()

    def _take(self, net: Feedforward) -> None:
        """Run these layers from now on."""
        self._net = net
        self._weights = Weights(net, self._mask_of)
        self._program = Program(net)
        self._address = self._program.address
        self._output, self._other_output = self._program.output, self._program.other_output

    @property
    def parameters(self) -> int:
        """Length of the flat vectors."""
        return self._weights.count

    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call.

        Raises:
            ValueError: not so many contiguous float32 numbers on the CPU.
            RuntimeError: the module was moved to another device or type.
        """
        if self._weights.moved():
            self.bind()
        self._forward(self._address, _pointer(inputs, self.inputs), None)
        return self._output

    def forward_both(self, inputs: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of both in one pass over the weights; the Jacobian is the first's."""
        if self._weights.moved():
            self.bind()
        pointers = _pointer(inputs, self.inputs), _pointer(others, self.inputs)
        self._forward(self._address, *pointers)
        return self._output, self._other_output

    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``, in one pass; the L1 norm of the new trace.

        Entries of removed weights become exactly 0, and so do entries below the smallest
        normal number (1.2e-38), which would be slow to go on with. The norm adds up in float32
        within a few rows of a weight, in float64 beyond.

        Raises:
            ValueError: ``gradient`` or ``trace`` is not of the right size and kind.
        """
        norm: float = self._accumulate(
            self._address,
            _pointer(gradient, self.outputs),
            _pointer(trace, self._weights.count),
            decay,
        )
        return norm

    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, which must be 0 at removed weights, as traces are.

        Raises:
            ValueError: ``direction`` is not of the right size and kind.
        """
        self._move(self._address, _pointer(direction, self._weights.count), scale)

    def bind(self) -> None:
        """Read again where the weights are, and which of them live.

        Raises:
            RuntimeError: the module is no longer such as can run here.
        """
        net = recognise(self._module)
        if net is None:
            raise RuntimeError(NO_LONGER)
        if net.layers != self._net.layers:
            self._take(net)
        self._weights.read()
        self._program.bind(self._weights)


def _pointer(tensor: Tensor, size: int) -> int:
    return fitting(tensor, size).data_ptr()
