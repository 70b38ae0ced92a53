"""A linear layer that stores the kept entries of its weight only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from plugins.execution.linear.op import sparse_chain

if TYPE_CHECKING:
    from plugins.execution.pattern.index import Pattern


@final
class SparseLinear(nn.Module):
    """``[..., in_features] -> [..., out_features]``; implements ``Compact`` and ``Joining``.

    ``weight`` ``[nnz]`` is in the order of ``pattern``. A state dict has it row by row, as
    ``dense[mask]``; loading takes that or the dense matrix. Copies of the layer (targets) share
    the pattern.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    pattern_id: Tensor
    """Names the pattern to the operation: 0-d, and on the CPU wherever the weights are."""

    def __init__(
        self,
        pattern: Pattern,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        *,
        native: bool = True,
        bf16: bool = False,
    ) -> None:
        """Of parameters that exist: ``weight`` in the order of ``pattern``.

        Args:
            pattern: which entries are kept.
            weight: ``[nnz]``.
            bias: ``[out_features]``, or None.
            native: by the compiled kernels, where these can.
            bf16: round both factors of every product to bfloat16; sums are float32.

        Raises:
            ValueError: the pattern is not that of so many weights.
        """
        super().__init__()
        pattern.expect(pattern.shape, weight.numel())
        self.out_features, self.in_features = pattern.shape
        self.native, self.bf16 = native, bf16
        self.pattern = pattern
        self.weight = weight
        self.register_parameter("bias", bias)
        self.register_buffer("pattern_id", torch.tensor(pattern.number), persistent=False)

    def exchange_pattern(self, pattern: Pattern) -> None:
        """Other entries are kept from now on; who calls gives ``weight`` other data himself."""
        self.pattern = pattern
        self.pattern_id = torch.tensor(pattern.number)

    # --- running ------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        return _run(x, [self], [False])

    def together(self, x: Tensor, layers: Sequence[nn.Module]) -> tuple[Tensor, int]:
        """See :class:`core.api.layers.Joining`: takes ReLUs and compact layers along."""
        if not isinstance(x, Tensor) or is_watched(self):
            return self(x), 1
        chain, relu, taken = [self], [False], 1
        for layer in layers[1:]:
            if is_watched(layer):
                break
            if type(layer) is nn.ReLU:
                relu[-1] = True
            elif type(layer) is SparseLinear and layer.runs_as(self):
                chain.append(layer)
                relu.append(False)
            else:
                break
            taken += 1
        return _run(x, chain, relu), taken

    def runs_as(self, other: SparseLinear) -> bool:
        """Whether both can be parts of one operation."""
        return (self.native, self.bf16) == (other.native, other.bf16)

    # --- as a matrix --------------------------------------------------------------------

    @property
    def dense_shape(self) -> torch.Size:
        """``[out_features, in_features]``."""
        return self.pattern.shape

    def expanded(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` to ``[..., out_features, in_features]``, zero elsewhere."""
        return self.pattern.expanded(values)

    def compacted(self, matrix: Tensor) -> Tensor:
        """``[..., out_features, in_features]`` to its kept entries ``[..., nnz]``."""
        return self.pattern.compacted(matrix)

    def to_portable(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` in the weight's order to row by row."""
        return self.pattern.to_portable(values)

    def from_portable(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` row by row to the weight's order."""
        return self.pattern.from_portable(values)

    # --- copying, moving, saving --------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        number = self.pattern_id
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.pattern_id = number
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        # In another process the pattern has another number.
        self.pattern_id = torch.tensor(self.pattern.number)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        key = prefix + "weight"
        destination[key] = self.to_portable(destination[key])

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = prefix + "weight"
        problem = None
        if key in state_dict:
            value, problem = self._own(state_dict[key])
            state_dict = {**state_dict, key: value}
        if problem is not None:
            error_msgs.append(f"{key}: {problem}")
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _own(self, value: Tensor) -> tuple[Tensor, str | None]:
        """A loaded weight in this layer's order, or what is wrong with it."""
        layer = self.pattern
        if value.shape == layer.shape:
            kept = self.compacted(value)
            lost = int(value.count_nonzero()) - int(kept.count_nonzero())
            wrong = f"{lost} entries that this layer's mask removes are not zero" if lost else None
            return kept, wrong
        if value.shape == (layer.nnz,):
            return self.from_portable(value), None
        return value, (
            f"this layer keeps {layer.nnz} of {list(layer.shape)} weights, the loaded one is "
            f"{list(value.shape)}: it is of another size or mask"
        )

    def extra_repr(self) -> str:
        layer = self.pattern
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, kept={layer.nnz} ({layer.density:.2%})"
        )


def is_watched(layer: nn.Module) -> bool:
    """Whether a hook wants to know when ``layer`` runs; then it must run by itself."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        or hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )


def _run(x: Tensor, layers: list[SparseLinear], relu: list[bool]) -> Tensor:
    first = layers[0]
    if x.shape[-1] != first.in_features:
        raise RuntimeError(f"{first} got an input of shape {list(x.shape)}")
    flat = x if x.dim() == 2 else x.reshape(-1, first.in_features)
    y = sparse_chain(
        flat,
        [layer.weight for layer in layers],
        # An operation's list cannot hold None.
        [x.new_empty(0) if layer.bias is None else layer.bias for layer in layers],
        [layer.pattern_id for layer in layers],
        relu,
        [layer.out_features for layer in layers],
        native=first.native,
        bfloat16=first.bf16,
    )
    return y if flat is x else y.view(*x.shape[:-1], y.shape[-1])
