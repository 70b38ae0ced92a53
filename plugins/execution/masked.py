"""Dense weights, held at zero where the mask removes them: runs anywhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from plugins.execution.online.network import online_network
from plugins.execution.remask import change_state, refresh

if TYPE_CHECKING:
    from torch import nn

    from core.api import ExecutionContext
    from plugins.execution.online.network import CompiledNetwork
    from plugins.execution.options import MaskedOptions


def build(options: MaskedOptions, context: ExecutionContext) -> Masked:
    """The backend of a preset."""
    return Masked(native=options.native)


@final
class Masked:
    """Zero the removed weights once, then their gradients at every update.

    With a zero gradient Adam's moments stay zero, and so do the step and the decay of a zero
    weight: it never moves, exactly, without being touched after the step. A target made by
    copying the module has the same zeros, and averaging keeps them. (Ma et al. 2025 multiply
    the whole update by the mask instead: the same weights, but moments of removed ones.)

    A parameter whose mask keeps everything is left alone, so that a sparsity of zero trains
    bit for bit as no mask does.
    """

    def __init__(self, native: bool = True) -> None:
        self._native = native
        self._online: WeakKeyDictionary[CompiledNetwork, nn.Module] = WeakKeyDictionary()
        self._attached: list[tuple[nn.Parameter, Tensor]] = []
        # By identity, since tensors compare by value; _attached keeps the ids from reuse.
        self._masks: dict[int, Tensor] = {}
        self._factors: dict[int, Tensor] = {}

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """Zero the removed weights of ``module``; it is returned itself.

        Raises:
            KeyError: a mask names no parameter of the module.
        """
        parameters = dict(module.named_parameters())
        attached = [(parameters[name], mask) for name, mask in masks.items()]
        self._attached += attached
        self._zero(attached)
        return module

    def constrain_gradients(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]
    ) -> None:
        """Zero the gradients of removed weights, in place; parameters without masks pass.

        Args:
            parameters: any of those attached, or others.
            gradients: one each, of its shape or with leading dimensions.
        """
        masked, factors = [], []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            factor = self._factor(parameter)
            if factor is not None:
                masked.append(gradient)
                factors.append(factor)
        if masked:
            torch._foreach_mul_(masked, factors)

    def _factor(self, parameter: nn.Parameter) -> Tensor | None:
        """The mask in the weights' own type: multiplying by booleans is 2 to 4 times slower.

        Made when it is first needed, since it is as large as the weights.
        """
        key = id(parameter)
        if key not in self._factors and key in self._masks:
            self._factors[key] = torch.empty_like(parameter).copy_(self._masks[key])
        return self._factors.get(key)

    def reapply(self) -> None:
        """Put every removed weight back to zero; masks that were changed in place count."""
        self._zero(self._attached)

    def online(self, module: nn.Module) -> CompiledNetwork | None:
        """``module`` on one observation at a time, without autograd; follows its masks.

        By compiled kernels. None where these were not built (with a warning), without
        ``native``, and for modules that they do not know
        (:mod:`plugins.execution.online.recognise`).
        """
        if not self._native:
            return None
        network = online_network(module, lambda parameter: self._masks.get(id(parameter)))
        if network is not None:
            self._online[network] = module
        return network

    @torch.no_grad()
    def remask(
        self,
        networks: Sequence[nn.Module],
        masks: Mapping[str, Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """See :meth:`core.api.Execution.remask`.

        What begins to live is zero already, in weights and moments. The masks are held, not
        copied, as those of :meth:`attach`.

        Raises:
            KeyError: a mask names no parameter of the networks.
        """
        parameters = [dict(network.named_parameters()) for network in networks]
        for name, mask in masks.items():
            removed = mask.logical_not().to(parameters[0][name].device)
            zero = functools.partial(Tensor.masked_fill_, mask=removed, value=0.0)
            for parameter in (own[name] for own in parameters):
                change_state(optimizers, parameter, zero)
                zero(parameter)
        named = {
            id(parameters[0][name]): (parameters[0][name], mask) for name, mask in masks.items()
        }
        others = [pair for pair in self._attached if id(pair[0]) not in named]
        self._attached = [*others, *named.values()]
        self._zero(list(named.values()))
        refresh(optimizers)

    def release(self, parameters: Sequence[nn.Parameter]) -> None:
        """Have no masks for these any more: they are no longer held dense."""
        released = {id(parameter) for parameter in parameters}
        self._attached = [pair for pair in self._attached if id(pair[0]) not in released]
        for key in released:
            self._masks.pop(key, None)
            self._factors.pop(key, None)

    def rebind(self) -> None:
        """Let online networks read again where the weights are, and which of them live."""
        for network in self._online:
            network.bind()

    @property
    def index_bytes(self) -> int:
        """Of the masks that remove something, and of the same in the weights' own type."""
        removing = [(p, mask) for p, mask in self._attached if id(p) in self._masks]
        return sum(mask.nbytes + parameter.nbytes for parameter, mask in removing)

    def report(self) -> Mapping[str, Any]:
        """Nothing was chosen."""
        return {"backend": "masked", "index_bytes": self.index_bytes}

    @torch.no_grad()
    def _zero(self, attached: Sequence[tuple[nn.Parameter, Tensor]]) -> None:
        for parameter, mask in attached:
            if mask.all():
                self._masks.pop(id(parameter), None)
                self._factors.pop(id(parameter), None)
                continue
            self._masks[id(parameter)] = mask
            if id(parameter) in self._factors:
                # In place: a captured update goes on reading the same memory.
                self._factors[id(parameter)].copy_(mask)
            # Not a product: that would keep a NaN, and make negative zeros.
            parameter.masked_fill_(mask.logical_not().to(parameter.device), 0.0)
        self.rebind()
