"""Batching rules for operations whose slices are computed one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def by_slice(op: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for ``torch.func.vmap``, as ``torch.library.register_vmap`` wants it.

    A loop: slices may differ in what a batched kernel could not vary (their patterns), and
    on a CPU a loop is the faster way for anything but tiny networks.
    """

    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> Any:
        answers = [
            op(*[_slice(value, dim, index) for value, dim in zip(arguments, in_dims, strict=True)])
            for index in range(info.batch_size)
        ]
        stacked = tuple([_stack(parts) for parts in zip(*answers, strict=True)])
        return stacked, tuple([[0] * len(p) if isinstance(p, list) else 0 for p in stacked])

    return rule


def by_row(op: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for ``is_grads_batched``, which is another, older vmap than ``torch.func``'s.

    Only the first argument, an incoming gradient, is batched there: the graph was built outside.
    """

    def rule(first: Tensor, *rest: Any) -> Any:
        level = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        rows = torch._remove_batch_dim(first, level, 0, 0)
        answers = [op(row, *rest) for row in rows]

        def batched(value: Any) -> Any:
            if isinstance(value, list):
                return [batched(item) for item in value]
            return torch._add_batch_dim(value, 0, level)

        return tuple([batched(_stack(parts)) for parts in zip(*answers, strict=True)])

    return rule


def _slice(value: Any, dim: Any, index: int) -> Any:
    if isinstance(value, list | tuple) and isinstance(dim, list | tuple):
        return [_slice(item, at, index) for item, at in zip(value, dim, strict=True)]
    return value if dim is None else value.select(dim, index)


def _stack(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.stack(list(parts))
    return [torch.stack(list(same)) for same in zip(*parts, strict=True)]
