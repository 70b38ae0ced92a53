"""A network on one observation at a time in NumPy, where the compiled kernels are missing.

A call of NumPy costs a fraction of one of PyTorch, and there is no graph to build. What goes
over all weights is one call for the whole network: the outer products of all layers are written
side by side, in the order of the trace, and enter it together.

NumPy's linear algebra starts threads of its own for very wide layers (OpenBLAS: from about 700
by 700), which a busy machine pays for; ``OPENBLAS_NUM_THREADS=1`` prevents it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy, nn

from plugins.execution.chains import Bend, Chain, Linear, Norm
from plugins.execution.weights import MaskOf, Weights, fitting

Array = NDArray[np.float32]
TINY = np.finfo(np.float32).smallest_normal
LARGEST_FADED = TINY.view(np.uint32) - 1


@dataclass(frozen=True)
class Stage:
    """A linear layer, then perhaps a layer norm without parameters, then an activation."""

    linear: nn.Linear
    epsilon: float | None = None
    """Of the layer norm; None without one."""
    slope: float = 1.0
    """Of the activation below zero: 1 is none, 0 is ReLU."""


def _stages(chain: Chain) -> list[Stage] | None:
    """The steps of a chain as stages, or None if they are others."""
    stages: list[Stage] = []
    before: Linear | Norm | Bend | None = None
    for step in chain.steps:
        match step:
            case Linear(nn.Linear() as layer, adds=False):
                stages.append(Stage(layer))
            case Norm(layer) if isinstance(before, Linear) and not layer.elementwise_affine:
                stages[-1] = replace(stages[-1], epsilon=layer.eps)
            case Bend(slope) if before is not None and not isinstance(before, Bend):
                stages[-1] = replace(stages[-1], slope=slope)
            case _:
                return None
        before = step
    return stages


@final
class NumpyRow:
    """A chain of layers on one observation; implements ``RowNetwork`` as ``rows.Row`` does.

    The weights are the module's own, as there: they change in place, behind autograd's back,
    and must stay as they are between ``forward`` and its ``accumulate``.
    """

    def __init__(
        self, chain: Chain, stages: Sequence[Stage], heads: Sequence[nn.Linear], mask_of: MaskOf
    ) -> None:
        self._weights = Weights(chain, mask_of)
        self._own = chain.parameters
        self.inputs = chain.linears[0].in_features
        self.outputs = sum(head.out_features for head in heads)
        self.parameters = self._weights.count
        """Length of the flat vectors."""
        # J^T gradient until it has entered the trace; after that, and in move, scratch.
        self._product = np.zeros(self.parameters, np.float32)
        self._sizes = np.zeros(self.parameters, np.float32)
        self._input = np.zeros(self.inputs, np.float32)
        self._output = np.zeros(self.outputs, np.float32)
        self._answer = from_numpy(self._output)
        self._other_answer = self._answer.clone()
        self._lay_out(stages, heads)
        self.bind()

    @classmethod
    def of(cls, chain: Chain, mask_of: MaskOf) -> NumpyRow | None:
        """The row of ``chain``, or None if it has more than dense layers in stages."""
        stages = _stages(chain)
        heads = [head for head in chain.heads if isinstance(head, nn.Linear)]
        if stages is None or len(heads) < len(chain.heads):
            return None
        return cls(chain, stages, heads, mask_of)

    def _lay_out(self, stages: Sequence[Stage], heads: Sequence[nn.Linear]) -> None:
        """Make the layers, each with its place in the flat product."""
        pieces = self._pieces()
        self._hidden: list[_Hidden] = []
        self._heads: list[_Linear] = []
        source = self._input
        for stage in stages:
            output = np.zeros(stage.linear.out_features, np.float32)
            self._hidden.append(_Hidden(_Linear(stage.linear, source, output, pieces), stage))
            source = self._hidden[-1].output
        at = 0
        for head in heads:
            output = self._output[at : at + head.out_features]
            self._heads.append(_Linear(head, source, output, pieces))
            at += head.out_features

    def _pieces(self) -> Iterator[Array]:
        """The part of the product that belongs to each parameter, of its shape, in order."""
        at = 0
        for parameter in self._own:
            piece = self._product[at : at + parameter.numel()]
            yield piece.reshape(tuple(parameter.shape))
            at += parameter.numel()

    @np.errstate(all="ignore")
    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call.

        Raises:
            ValueError: not so many contiguous float32 numbers on the CPU.
            RuntimeError: the module was moved to another device or type.
        """
        if self._weights.moved():
            self.bind()
        self._input[:] = _array(inputs, self.inputs)
        for layer in self._hidden:
            layer.forward()
        for head in self._heads:
            head.forward()
        return self._answer

    def forward_both(self, inputs: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of both; the Jacobian is the first's."""
        self._other_answer.copy_(self.forward(others))
        return self.forward(inputs), self._other_answer

    @np.errstate(all="ignore")
    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``; the L1 norm of the new trace.

        Entries of removed weights become exactly 0, and so do entries below the smallest
        normal number (1.2e-38), which would be slow to go on with. The norm adds up pairwise
        in float32.

        Raises:
            ValueError: ``gradient`` or ``trace`` is not of the right size and kind.
        """
        z = _array(trace, self.parameters)
        self._backward(_array(gradient, self.outputs))
        z *= decay
        z += self._product
        if self._mask is not None:
            words = z.view(np.int32)
            words &= self._mask  # not a product: that would keep a NaN
        np.abs(z, out=self._sizes)
        self._drop_subnormal(z)
        return float(np.add.reduce(self._sizes))

    def _backward(self, gradient: Array) -> None:
        """``J^T gradient`` into the flat product, layer by layer."""
        below = self._hidden[-1].linear.gradient if self._hidden else None
        at = 0
        for number, head in enumerate(self._heads):
            end = at + len(head.gradient)
            head.gradient[:] = gradient[at:end]
            at = end
            head.backward(below, add=number > 0)
        for index in range(len(self._hidden) - 1, -1, -1):
            below = self._hidden[index - 1].linear.gradient if index else None
            self._hidden[index].backward(below)

    def _drop_subnormal(self, trace: Array) -> None:
        """Zero what has faded; ``_sizes`` are the absolute values of ``trace``."""
        # Bits of positive floats are in their order. Less one, those of zero come last.
        bits = self._product.view(np.uint32)
        np.subtract(self._sizes.view(np.uint32), 1, out=bits)
        if np.minimum.reduce(bits) < LARGEST_FADED:
            faded = self._sizes < TINY
            trace[faded] = 0.0
            self._sizes[faded] = 0.0

    @np.errstate(all="ignore")
    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, which must be 0 at removed weights, as traces are.

        Raises:
            ValueError: ``direction`` is not of the right size and kind.
        """
        np.multiply(_array(direction, self.parameters), scale, out=self._product)
        for weight, change in self._moves:
            np.add(weight, change, out=weight)

    def bind(self) -> None:
        """Read again where the weights are, and which of them live."""
        self._weights.read()
        for linear in (*(layer.linear for layer in self._hidden), *self._heads):
            linear.bind()
        arrays = [parameter.detach().numpy() for parameter in self._own]
        self._moves = list(zip(arrays, self._pieces(), strict=True))
        masks = [self._weights.mask(parameter) for parameter in self._own]
        self._mask = None if all(mask is None for mask in masks) else self._joined(masks)

    def _joined(self, masks: list[Tensor | None]) -> NDArray[np.int32]:
        """Masks of all parameters ``[P]``, all bits set where there is none."""
        whole = [
            np.full(parameter.numel(), -1, np.int32) if mask is None else mask.numpy().ravel()
            for parameter, mask in zip(self._own, masks, strict=True)
        ]
        return np.concatenate(whole)


class _Linear:
    """A linear layer between two buffers."""

    def __init__(
        self, layer: nn.Linear, source: Array, output: Array, pieces: Iterator[Array]
    ) -> None:
        self._layer, self._input, self.output = layer, source, output
        self._product = next(pieces)
        # The gradient of the output is that of the bias: one array for both.
        self.gradient = np.zeros_like(output) if layer.bias is None else next(pieces)
        self.bind()

    def bind(self) -> None:
        weight, bias = self._layer.weight, self._layer.bias
        self._weight: Array = weight.detach().numpy()
        self._bias: Array | None = None if bias is None else bias.detach().numpy()

    def forward(self) -> None:
        np.dot(self._weight, self._input, out=self.output)
        if self._bias is not None:
            np.add(self.output, self._bias, out=self.output)

    def backward(self, below: Array | None, *, add: bool = False) -> None:
        """The weight's part of the product, and the gradient of the input into ``below``."""
        np.multiply(self.gradient[:, None], self._input, out=self._product)
        if add and below is not None:
            below += np.dot(self.gradient, self._weight)
        elif below is not None:
            np.dot(self.gradient, self._weight, out=below)


class _Hidden:
    """A linear layer, then perhaps layer norm, then an activation."""

    def __init__(self, linear: _Linear, stage: Stage) -> None:
        self.linear = linear
        self._epsilon, self._slope = stage.epsilon, stage.slope
        self._normal = linear.output  # after layer norm, which is done in place
        self.output = self._normal if self._slope == 1.0 else np.zeros_like(self._normal)
        # The line that is the activation on both sides of 0; unlike maximum, fmax keeps an
        # infinite output of ReLU, whose other line is NaN.
        self._bend = np.fmax if self._slope < 1.0 else np.fmin
        self._scale = np.float32(1.0)

    def forward(self) -> None:
        self.linear.forward()
        normal = self._normal
        if self._epsilon is not None:
            width = len(normal)
            normal -= np.add.reduce(normal) / width
            self._scale = 1 / np.sqrt(np.dot(normal, normal) / width + self._epsilon)
            normal *= self._scale
        if self._slope != 1.0:
            np.multiply(normal, self._slope, out=self.output)
            self._bend(normal, self.output, out=self.output)

    def backward(self, below: Array | None) -> None:
        """From the gradient of ``output``, which ``linear.gradient`` holds and loses."""
        gradient, normal = self.linear.gradient, self._normal
        if self._slope != 1.0:
            np.multiply(gradient, self._slope, out=gradient, where=normal <= 0)
        if self._epsilon is not None:
            # dx = (g - mean(g) - normal mean(g normal)) / sqrt(variance + epsilon)
            width = len(normal)
            share = np.dot(gradient, normal) / width
            gradient -= np.add.reduce(gradient) / width
            gradient -= normal * share
            gradient *= self._scale
        self.linear.backward(below)


def _array(tensor: Tensor, size: int) -> Array:
    """``size`` numbers of a tensor, in its own memory."""
    array: Array = fitting(tensor, size).detach().numpy()
    return array.reshape(size)
