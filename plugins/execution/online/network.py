"""A network on one observation at a time, by the compiled kernels of ``native/online/``.

At batch one nearly all of a PyTorch step is the cost of calling operations, some hundred of
them; here a step is three calls, and the time is that of reading the weights. A move that may
be put off is carried out while the next forward pass reads them.
"""

from __future__ import annotations

from ctypes import CDLL
from typing import NoReturn, final

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
    """A feedforward network on one observation; implements ``RowNetwork``.

    The weights are the module's own and change in place, behind autograd's back: a graph that
    was built before ``move`` must not be run backward after it. Between ``forward`` and its
    ``accumulate`` the weights must stay as they are. Layers that are replaced by others of
    their kind and size, dense or compact, are followed.
    """

    def __init__(self, module: nn.Module, net: Feedforward, kernels: CDLL, mask_of: MaskOf) -> None:
        self._module = module
        self._mask_of = mask_of
        self.defers = False
        """Whether moves may be put off; they are carried out at once unless somebody, who sees
        to :meth:`settle`, says so."""
        self._forward = kernels.openwork_online_forward
        self._accumulate = kernels.openwork_online_accumulate
        self._move = kernels.openwork_online_move
        self._pending: Tensor | None = None
        self._version = 0
        self._take(net)
        self.inputs, self.outputs = self._program.inputs, self._program.outputs
        self.bind()

    def _take(self, net: Feedforward) -> None:
        """Run these layers from now on; nothing may be pending."""
        self._net = net
        self._weights = Weights(net, self._mask_of)
        self._program = Program(net)
        self._network, self._address = self._program.network, self._program.address
        self._output, self._other_output = self._program.output, self._program.other_output

    @property
    def parameters(self) -> int:
        """Length of the flat vectors."""
        return self._weights.count

    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call.

        Raises:
            ValueError: not so many contiguous float32 numbers on the CPU.
            RuntimeError: the module was moved to another device or type, or the direction of
                a move that was put off was changed.
        """
        if self._weights.moved():
            self.bind()
        pointer = _pointer(inputs, self.inputs)
        if self._pending is not None:
            self._expect_direction(self._pending)
        self._forward(self._address, pointer, None)
        if self._pending is not None:
            self._pending = self._network.direction = None
        return self._output

    def forward_both(self, inputs: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of both in one pass over the weights; the Jacobian is the first's."""
        if self._weights.moved():
            self.bind()
        pointers = _pointer(inputs, self.inputs), _pointer(others, self.inputs)
        if self._pending is not None:
            self._expect_direction(self._pending)
        self._forward(self._address, *pointers)
        if self._pending is not None:
            self._pending = self._network.direction = None
        return self._output, self._other_output

    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``, in one pass; the L1 norm of the new trace.

        Entries of removed weights become exactly 0, and so do entries below the smallest
        normal number (1.2e-38), which would be slow to go on with. The norm adds up in float32
        within a few rows of a weight, in float64 beyond.

        Raises:
            ValueError: ``gradient`` or ``trace`` is not of the right size and kind.
        """
        if self._pending is not None:
            self.settle()
        norm: float = self._accumulate(
            self._address,
            _pointer(gradient, self.outputs),
            _pointer(trace, self._weights.count),
            decay,
        )
        return norm

    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, which must be 0 at removed weights, as traces are.

        Put off, if it may be (:attr:`defers`), until the next :meth:`forward`.

        Raises:
            ValueError: ``direction`` is not of the right size and kind.
        """
        pointer = _pointer(direction, self._weights.count)
        if self._pending is not None:
            self.settle()
        if self.defers:
            self._pending, self._version = direction, direction._version
            self._network.direction, self._network.scale = pointer, scale
        else:
            self._move(self._address, pointer, scale)

    def settle(self) -> None:
        """Carry out a move that was put off.

        Raises:
            RuntimeError: its direction was changed since, or does not fit the weights any more.
        """
        if self._pending is None:
            return
        if self._weights.moved():
            self.bind()  # Which settles.
            return
        direction, scale = self._pending, self._network.scale
        self._pending = self._network.direction = None
        self._expect_direction(direction)
        self._move(self._address, direction.data_ptr(), scale)

    def _expect_direction(self, direction: Tensor) -> None:
        if direction._version != self._version or direction.numel() != self._weights.count:
            self._refuse()

    def _refuse(self) -> NoReturn:
        self._pending = self._network.direction = None
        raise RuntimeError(
            "a step was put off until the next forward pass, and meanwhile its direction or "
            "the number of weights was changed: call settle() before"
        )

    def bind(self) -> None:
        """Read again where the weights are, and which of them live; settles.

        Raises:
            RuntimeError: the module is no longer such as can run here, or layers were replaced
                while a move was put off.
        """
        net = recognise(self._module)
        if net is None:
            raise RuntimeError(NO_LONGER)
        if net.layers != self._net.layers:
            if self._pending is not None:
                self._refuse()
            self._take(net)
        self._weights.read()
        self._program.bind(self._weights)
        self.settle()


def _pointer(tensor: Tensor, size: int) -> int:
    return fitting(tensor, size).data_ptr()
