"""The kept weights of linear layers are all that there is of them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch

from core.api import UserError
from plugins.execution import kernels
from plugins.execution.conversion import Wanted, convert, described, flatten, give
from plugins.execution.masked import Masked
from plugins.execution.remasking import change_state
from plugins.execution.sparse_linear import SparseLinear
from plugins.execution.structure import Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plugins.execution.numpy_rows import NumpyRow
    from plugins.execution.rows import Row


def every(name: str, shape: torch.Size, density: float) -> bool:
    """Every masked linear layer becomes compact."""
    return True


@final
class Sparse:
    """Masked linear layers become :class:`SparseLinear`; implements ``Execution``.

    Their gradients, moments, traces and targets are as small as they are, and nothing has to
    hold removed weights at zero. Masked weights of other layers (convolutions) stay dense, and
    so do linear layers whose mask keeps everything or nothing: :class:`Masked` has these.

    All parameters of a network are views of one vector, in the network's order.
    """

    def __init__(
        self,
        *,
        product: str = "auto",
        bf16: bool = False,
        rows: bool = True,
        wanted: Wanted = every,
    ) -> None:
        """A backend without networks yet.

        Args:
            product: ``auto`` (compiled kernels where they can be used), ``native`` or
                ``densified``.
            bf16: round both factors of every product to bfloat16; sums are float32.
            rows: run without autograd where that applies (:meth:`row`).
            wanted: which of the layers that could be compact are to be.
        """
        self._native = product != "densified"
        self._bf16 = bf16
        self._wanted = wanted
        self._dense = Masked(native=rows)
        self._networks: dict[str, nn.Module] = {}
        self._masked: dict[str, list[str]] = {}

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """``module`` with its masked linear layers replaced; they keep their kept weights.

        Raises:
            KeyError: a mask names no parameter of the module.
        """
        unknown = masks.keys() - {name for name, _ in module.named_parameters()}
        if unknown:
            raise KeyError(f"no parameter is called {', '.join(sorted(unknown))}")
        module, compact = convert(module, masks, self._wanted, native=self._native, bf16=self._bf16)
        # Looking a mask up may mean to unpack it: one at a time, and no more than are needed.
        rest = {name: masks[name] for name in masks if name not in compact}
        flatten(module)
        self._dense.attach(module, rest, role)
        role = role or f"network {len(self._networks) + 1}"
        self._networks[role], self._masked[role] = module, list(rest)
        if compact and self._native and next(module.parameters()).is_cpu:
            _warn_of(kernels.available())
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

        The parameter objects stay, with other data; gradients that they hold are dropped.

        Raises:
            KeyError: a mask names no parameter of the networks.
        """
        self._dense.settle()
        rest = {}
        for name in masks:
            layers = [network.get_submodule(name.rpartition(".")[0]) for network in networks]
            if not isinstance(layers[0], SparseLinear) or not name.endswith("weight"):
                rest[name] = masks[name]
                continue
            structure = Structure.from_mask(masks[name])
            for layer in layers:
                _restructure(layer, structure, optimizers)
        for network in networks:
            flatten(network)
        self._dense.remask(networks, rest, optimizers)
        self._dense.rebind()

    def row(self, module: nn.Module) -> Row | NumpyRow | None:
        """See :meth:`Masked.row`."""
        return self._dense.row(module)

    def defer(self) -> None:
        """See :meth:`core.api.Execution.defer`."""
        self._dense.defer()

    def settle(self) -> None:
        """See :meth:`core.api.Execution.settle`."""
        self._dense.settle()

    @property
    def index_bytes(self) -> int:
        """Of the structures, and of the masks of what is held dense."""
        structures = {
            layer.structure.number: layer.structure.bytes
            for network in self._networks.values()
            for layer in network.modules()
            if isinstance(layer, SparseLinear)
        }
        return sum(structures.values()) + self._dense.index_bytes

    def report(self) -> Mapping[str, Any]:
        """How the products are done, and of every masked parameter how it is stored."""
        missing = kernels.available() if self._native else "were not asked for"
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
            parameter = network.get_parameter(name)
            found[name] = {
                "choice": "masked",
                "shape": list(parameter.shape),
                "bytes": parameter.nbytes,
            }
        return found


def _restructure(
    layer: nn.Module, structure: Any, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Other entries of a compact layer live; what stays alive keeps its values and its state."""
    assert isinstance(layer, SparseLinear)
    weight, carry = layer.weight, layer.structure.carrying(structure)
    change_state(optimizers, weight, carry)
    weight.grad = None
    give(weight, carry(weight.data))
    layer.restructure(structure)


def expect_kernels(device: torch.device) -> None:
    """Raise UserError unless the compiled kernels can be used on ``device``."""
    missing = kernels.available()
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


@functools.cache
def _warn_of(missing: str | None) -> None:
    """Say once what is lost without the compiled kernels."""
    if missing is not None:
        warnings.warn(
            f"compiled kernels {missing}: products of sparse layers run densified, at the speed "
            "of dense ones or below; the memory is that of the kept weights all the same. "
            "Install a C++ compiler, then install openwork again",
            RuntimeWarning,
            stacklevel=3,
        )
