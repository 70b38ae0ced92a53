"""The kept weights of linear layers are all that there is of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch

from core.api import UserError
from plugins.execution import compiled
from plugins.execution.convert import Wanted, convert, described, flatten, is_wanted
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.remask import Weight, is_compact, reformable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import ExecutionContext
    from plugins.execution.online.network import CompiledNetwork
    from plugins.execution.options import SparseOptions


LOST = (
    "products of sparse layers run densified, at the speed of dense ones or below; the memory is "
    "that of the kept weights all the same"
)


def build(options: SparseOptions, context: ExecutionContext) -> Sparse:
    """The backend of a preset.

    Raises:
        UserError: compiled kernels are asked for, and cannot be used.
    """
    if options.product == "native":
        expect_kernels(context.device)
    bf16 = options.precision == "bfloat16"
    return Sparse(product=options.product, bf16=bf16, online=options.native)


def every(name: str, shape: torch.Size, density: float) -> bool:
    """Every masked linear layer becomes compact."""
    return True


@final
class Sparse:
    """Masked linear layers become :class:`SparseLinear`; implements ``Execution``.

    Their gradients, moments, traces and targets are as small as they are, and nothing has to
    hold removed weights at zero. Masked weights of other layers (convolutions) stay dense, and
    so do linear layers whose mask keeps everything or nothing: :class:`Masked` has these.

    The form follows the masks that are in force, and not those of before: when they change, a
    layer gets the form that :meth:`attach` would give it, so that a run that is resumed has
    the forms of the one that was stopped. What cannot be replaced in training stays as it is:
    a network that is one layer itself, and layers that hooks watch.

    All parameters of a network are views of one vector, in the network's order.
    """

    def __init__(
        self,
        *,
        product: str = "auto",
        bf16: bool = False,
        online: bool = True,
        wanted: Wanted = every,
    ) -> None:
        """A backend without networks yet.

        Args:
            product: ``auto`` (compiled kernels where they can be used), ``native`` or
                ``densified``.
            bf16: round both factors of every product to bfloat16; sums are float32.
            online: run without autograd where that applies (:meth:`row`).
            wanted: which of the layers that could be compact are to be.
        """
        self._native, self._bf16 = product != "densified", bf16
        self._options = {"native": self._native, "bf16": bf16}
        self._wanted = wanted
        self._dense = Masked(native=online)
        self._networks: dict[str, nn.Module] = {}
        self._masked: dict[str, list[str]] = {}

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """``module`` with its masked linear layers replaced; they keep their kept weights.

        Raises:
            KeyError: a mask names no parameter of the module.
        """
        expect_names(module, masks)
        module, compact = convert(module, masks, self._wanted, **self._options)
        # Looking a mask up may mean to unpack it: one at a time, and no more than are needed.
        rest = {name: masks[name] for name in masks if name not in compact}
        flatten(module)
        self._dense.attach(module, rest, role)
        role = role or f"network {len(self._networks) + 1}"
        self._networks[role], self._masked[role] = module, list(masks)
        if compact and self._native and next(module.parameters()).is_cpu:
            missing = native_product.available()
            if missing is not None:
                compiled.warn(missing, LOST)
        return module

    def constrain_gradients(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]
    ) -> None:
        """Zero the gradients of removed weights that are held dense, in place."""
        self._dense.constrain_gradients(parameters, gradients)

    def reapply(self) -> None:
        """Put every removed weight that is held dense back to zero.

        Others are not there. Their masks change by :meth:`remask`, before weights are loaded.
        """
        self._dense.reapply()

    @torch.no_grad()
    def remask(
        self,
        networks: Sequence[nn.Module],
        masks: Mapping[str, Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """See :meth:`core.api.Execution.remask`.

        The parameter objects stay, with other data; gradients that they hold are dropped. So
        do the networks, but layers within them become others (:class:`SparseLinear` or
        ``nn.Linear``) where they change their form.

        Raises:
            KeyError: a mask names no parameter of the networks.
        """
        expect_names(networks[0], masks)
        role = self.role_of(networks[0])
        rest = {}
        for name in masks:
            mask = masks[name]
            weight = Weight(networks, name, optimizers)
            if self._to_be_compact(networks, name, mask):
                weight.store(mask, **self._options)
                continue
            if is_compact(networks[0], name):
                weight.expand()
            rest[name] = mask
        for network in networks:
            flatten(network)
        self._dense.release([networks[0].get_parameter(n) for n in masks if n not in rest])
        self._dense.remask(networks, rest, optimizers)
        self._dense.rebind()
        self._masked[role] = list(dict.fromkeys([*self._masked[role], *masks]))

    def _to_be_compact(self, networks: Sequence[nn.Module], name: str, mask: Tensor) -> bool:
        """Which form a weight is to have with this mask: of networks that are in use."""
        if not reformable(networks, name):
            return is_compact(networks[0], name)
        return is_wanted(name, mask, self._wanted)

    def role_of(self, network: nn.Module) -> str:
        """What a network is called that :meth:`attach` gave back."""
        return next(role for role, own in self._networks.items() if own is network)

    def online(self, module: nn.Module) -> CompiledNetwork | None:
        """See :meth:`Masked.online`; None with bfloat16, which rows do not have."""
        return None if self._bf16 else self._dense.online(module)

    @property
    def index_bytes(self) -> int:
        """Of the patterns, and of the masks of what is held dense."""
        patterns = {
            layer.pattern.number: layer.pattern.bytes
            for network in self._networks.values()
            for layer in network.modules()
            if isinstance(layer, SparseLinear)
        }
        return sum(patterns.values()) + self._dense.index_bytes

    def report(self) -> Mapping[str, Any]:
        """How the products are done, and of every masked parameter how it is stored."""
        missing = native_product.available() if self._native else "were not asked for"
        return {
            "backend": "sparse",
            "product": "native" if missing is None else f"densified: compiled kernels {missing}",
            "precision": "bfloat16" if self._bf16 else "float32",
            "index_bytes": self.index_bytes,
            "layers": {
                f"{role}.{name}": entry
                for role in self._networks
                for name, entry in self._described(role).items()
            },
        }

    def _described(self, role: str) -> dict[str, Any]:
        network = self._networks[role]
        found: dict[str, Any] = {
            f"{path}.weight".removeprefix("."): described(layer)
            for path, layer in network.named_modules()
            if isinstance(layer, SparseLinear)
        }
        for name in self._masked[role]:
            if name in found:
                continue
            parameter = network.get_parameter(name)
            found[name] = {
                "choice": "masked",
                "shape": list(parameter.shape),
                "bytes": parameter.nbytes,
            }
        return found


def expect_names(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Raise KeyError unless each mask is of a parameter of ``module``."""
    unknown = masks.keys() - {name for name, _ in module.named_parameters()}
    if unknown:
        raise KeyError(f"no parameter is called {', '.join(sorted(unknown))}")


def expect_kernels(device: torch.device) -> None:
    """Raise UserError unless the compiled kernels can be used on ``device``."""
    missing = native_product.available()
    if missing is not None:
        raise UserError(
            f"execution: product: native needs compiled kernels, which {missing}. Install a C++ "
            "compiler and then openwork again, or set product: auto"
        )
    if device.type != "cpu":
        raise UserError(
            f"execution: product: native is for the CPU, and the device is {device}; "
            "set product: auto"
        )
