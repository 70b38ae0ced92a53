"""A GPU's rules without a GPU: one device that no CPU tensor may meet, and no host syncs.

Tensors hold no data; they only claim a device. Mixing devices raises
``FakeTensorDeviceMismatchError`` (or an ``AssertionError`` for a tensor that was made outside
and never moved), and reading one on the host (``.item()``, ``bool()``, ``.tolist()``) raises
``DataDependentOutputException``. Moving explicitly (``.to``, ``.cpu``) is allowed by fake tensors;
:class:`NoTransfers` forbids it as well.

Two devices are claimed. ``CUDA`` is what an agent will meet, but a CPU build of PyTorch aborts
in autograd for it, for want of a CUDA runtime: there :func:`without_backward` stands in
for the backward passes, and forward passes, masking, norms, optimizer steps and averaging are
checked. ``LAZY`` is a device type for which a CPU build does run autograd, and as foreign to CPU
tensors: there whole updates are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode

LAZY = torch.device("lazy:0")
CUDA = torch.device("cuda:0")


class Transfer(AssertionError):
    """Data went from one device to another."""


class NoTransfers(TorchDispatchMode):
    """Raises :class:`Transfer` when a tensor with more than one element changes device.

    Scalars are let through: a Python number reaches a kernel as an argument, without a sync.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = args[1] if func is torch.ops.aten.copy_.default else args[0]
            if source.device != out.device and (source.dim() or out.device.type == "cpu"):
                raise Transfer(f"{source.device} -> {out.device}, shape {tuple(source.shape)}")
        return out


class Mode(FakeTensorMode):
    """A fake mode that copies of its tensors (target networks) share, and the claimed device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(allow_non_fake_inputs=False)
        self.claimed = device

    def __deepcopy__(self, memo: Any) -> Mode:
        return self


@contextmanager
def fake_device(device: torch.device) -> Iterator[Mode]:
    """Inside, tensors are fakes; make the agent's on ``device`` or with :func:`claim`."""
    mode = Mode(device)
    known = optimizer._get_fused_kernels_supported_devices()
    # PyTorch's optimizers ask a list of device types whether they may use their fused kernel.
    ask = "_get_fused_kernels_supported_devices"
    allowed = patch.object(optimizer, ask, lambda: [*known, device.type])
    with mode, NoTransfers(), allowed:
        yield mode


def claim(mode: Mode, tensor: Tensor) -> Tensor:
    """A fake of ``tensor`` that claims the mode's device; a parameter stays one."""
    with unset_fake_temporarily():
        shell = torch.empty_like(tensor, device="meta", requires_grad=False)
    fake = FakeTensor(mode, shell, mode.claimed)
    return nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake


def claim_module(mode: Mode, module: nn.Module) -> nn.Module:
    """Replace every parameter and buffer of ``module`` by a fake; in place."""
    for child in module.modules():
        for store in (child._parameters, child._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    store[name] = claim(mode, tensor)
    return module


def claim_batch(mode: Mode, batch: TensorDict) -> dict[Any, Tensor]:
    """A batch's tensors by key, nested keys as tuples; enough of a TensorDict for a loss."""
    return {key: claim(mode, batch[key]) for key in batch.keys(True, True)}


@contextmanager
def without_backward() -> Iterator[None]:
    """Gradients are zeros on the parameters' device; no graph is built."""

    def zeros(
        outputs: Tensor,
        inputs: Sequence[Tensor],
        rows: Tensor | None = None,
        is_grads_batched: bool = False,
    ) -> tuple[Tensor, ...]:
        assert outputs.ndim == is_grads_batched
        leading = outputs.shape if is_grads_batched else ()
        return tuple(tensor.new_zeros((*leading, *tensor.shape)) for tensor in inputs)

    with torch.no_grad(), patch.object(torch.autograd, "grad", zeros):
        yield
