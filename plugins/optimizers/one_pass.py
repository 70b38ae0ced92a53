"""Adam and AdamW in one pass over each parameter's memory, target average included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ctypes import CDLL, byref, c_int64, c_void_p
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn
from torch.optim import Adam

from plugins.optimizers import kernels

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

KINDS = (torch.float32, torch.float64)
MOMENTS = ("exp_avg", "exp_avg_sq")
REFUSED = ("amsgrad", "maximize", "differentiable")
"""What PyTorch's Adam can do besides, by the names of its options."""


def fits(tensors: Iterable[Tensor]) -> bool:
    """Whether the kernel can work on these: contiguous, on the CPU, float32 or all float64."""
    tensors = list(tensors)
    types = {tensor.dtype for tensor in tensors}
    return len(types) == 1 and types <= set(KINDS) and all(map(_is_plain, tensors))


def _is_plain(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and tensor.is_contiguous() and type(tensor.data) is Tensor


@final
class OnePassAdam(Adam):
    """Adam, or with ``decoupled`` AdamW, by one native call per step and parameter group.

    The numbers are those of ``torch.optim.Adam(fused=True)`` and ``torch.optim.AdamW``, to the
    last bit on x86 processors with AVX2, for any number of threads (``torch.get_num_threads``).
    The state has the same names and shapes (``step``, ``exp_avg``, ``exp_avg_sq``), so that
    state dicts load both ways; all moments are views of one vector. Implements
    ``core.api.Averaging`` and ``core.api.Refreshable``.

    A step reads ``grad`` of every parameter; one without is left alone, but its target is
    averaged. Parameters and their targets may be given other memory between steps.

    Args:
        params: Parameters that :func:`fits` accepts.
        lr: Learning rate, at least 0.
        betas: Decay of the first and of the second moment, each in [0, 1).
        eps: Added to the root of the second moment, at least 0.
        weight_decay: At least 0; ``lr weight_decay`` of each weight per step with ``decoupled``,
            without it an L2 penalty added to the gradients.

    Raises:
        ValueError: parameters do not fit, or a loaded state is of other sizes, or of options
            that only PyTorch's own has (``amsgrad``, ``maximize``, ``differentiable``).
        RuntimeError: there is no compiled kernel.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, fused=True, decoupled_weight_decay=decoupled
        )
        if not fits(self._parameters()):
            raise ValueError("parameters must be contiguous, on the CPU, float32 or all float64")
        self._targets: dict[nn.Parameter, nn.Parameter] = {}
        self._tau = 0.0
        self._forget_addresses()

    # --- stepping -----------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; then every target's average.

        Raises:
            ValueError: parameters or targets were given memory that does not fit.
        """
        answer = None
        if closure is not None:
            with torch.enable_grad():
                answer = closure()
        if any(parameter not in self.state for parameter in self._parameters()):
            self._join()
        for index, group in enumerate(self.param_groups):
            self._step_group(index, group)
        return answer

    def _step_group(self, index: int, group: dict[str, Any]) -> None:
        parameters: list[nn.Parameter] = group["params"]
        gradients = [_contiguous(parameter) for parameter in parameters]
        addresses = [None if g is None else g.data_ptr() for g in gradients]
        _kernel().openwork_adam_step(
            self._table(index, parameters),
            (c_void_p * len(addresses))(*addresses),
            len(addresses),
            byref(self._rule(group)),
            torch.get_num_threads(),
        )
        # A graph that was built before must find out, as after any operation in place.
        moved = [p for p, g in zip(parameters, gradients, strict=True) if g is not None]
        targets = [self._targets[p] for p in parameters if p in self._targets]
        torch.autograd.graph.increment_version([*moved, *targets])

    def _rule(self, group: dict[str, Any]) -> kernels.Rule:
        beta1, beta2 = group["betas"]
        return kernels.Rule(
            float(group["lr"]),
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self._tau,
            group["decoupled_weight_decay"],
            group["params"][0].dtype == torch.float64,
        )

    def _table(self, index: int, parameters: Sequence[nn.Parameter]) -> Any:
        """Where everything is, :data:`kernels.FIELDS` words per parameter."""
        words: list[int] = []
        for parameter in parameters:
            state, target = self.state[parameter], self._targets.get(parameter)
            words += (
                parameter.data_ptr(),
                state["exp_avg"].data_ptr(),
                state["exp_avg_sq"].data_ptr(),
                0 if target is None else target.data_ptr(),
                state["step"].data_ptr(),
                parameter.numel(),
            )
        known = self._tables.get(index)
        if known is not None and known[0] == words:
            return known[1]
        self._check(parameters)
        table = (c_int64 * len(words))(*words)
        self._tables[index] = words, table
        return table

    def _check(self, parameters: Sequence[nn.Parameter]) -> None:
        """Refuse memory that the kernel cannot work on."""
        for parameter in parameters:
            state = self.state[parameter]
            like = [state[name] for name in MOMENTS]
            if parameter in self._targets:
                like.append(self._targets[parameter])
            if not fits([parameter, *like]) or any(t.shape != parameter.shape for t in like):
                raise ValueError(
                    "a parameter, its moments or its target are no longer contiguous, on the CPU, "
                    "of one shape and type"
                )

    # --- averages -----------------------------------------------------------------------

    def follow(self, pairs: Sequence[tuple[nn.Parameter, nn.Parameter]], tau: float) -> bool:
        """See :meth:`core.api.Averaging.follow`; one set of targets, one for each parameter."""
        own = {id(parameter) for parameter in self._parameters()}
        onlines = {id(online) for _, online in pairs}
        distinct = len(onlines) == len({id(target) for target, _ in pairs}) == len(pairs)
        alike = all(fits(pair) and pair[0].shape == pair[1].shape for pair in pairs)
        if self._targets or not (distinct and alike and onlines <= own):
            return False
        self._targets = {online: target for target, online in pairs}
        self._tau = tau
        return True

    # --- state --------------------------------------------------------------------------

    def refresh(self) -> None:
        """See :meth:`core.api.Refreshable.refresh`; ``ValueError`` if sizes do not agree."""
        self._forget_addresses()
        if self.state:
            self._join()

    def __getstate__(self) -> dict[str, Any]:
        # Copies go on averaging, towards the copied parameters.
        return super().__getstate__() | {"_targets": self._targets, "_tau": self._tau}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # After copying, unpickling and loading, the moments are tensors of their own.
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for group in self.param_groups:
            group["decoupled_weight_decay"] = self.defaults["decoupled_weight_decay"]
            asked = [name for name in REFUSED if group.get(name)]
            if asked:
                raise ValueError(f"the state is of an optimizer with {asked[0]}, unknown here")
        self.refresh()

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _forget_addresses(self) -> None:
        self._tables: dict[int, tuple[list[int], Any]] = {}

    def _join(self) -> None:
        """Gather the moments in one vector, and the counts of steps in another; zeros if new."""
        parameters = self._parameters()
        sizes = [parameter.numel() for parameter in parameters for _ in MOMENTS]
        moments = torch.zeros(sum(sizes), dtype=parameters[0].dtype)
        steps = torch.zeros(len(parameters))
        views = iter(torch.split(moments, sizes))
        for parameter, count in zip(parameters, steps, strict=True):
            state = self.state[parameter]
            for name in MOMENTS:
                state[name] = _moved(state.get(name), next(views).view(parameter.shape))
            state["step"] = _moved(state.get("step"), count)


def _moved(value: Tensor | None, place: Tensor) -> Tensor:
    """``place`` with ``value`` in it."""
    if value is not None:
        if value.shape != place.shape:
            raise ValueError(f"a state {list(value.shape)} for a parameter {list(place.shape)}")
        place.copy_(value)
    return place


def _contiguous(parameter: nn.Parameter) -> Tensor | None:
    """The gradient, of the parameter's size, as the kernel reads it."""
    gradient = parameter.grad
    if gradient is not None and gradient.numel() != parameter.numel():
        raise ValueError(f"a gradient {list(gradient.shape)} of a {list(parameter.shape)}")
    return gradient if gradient is None else gradient.contiguous()


def _kernel() -> CDLL:
    found = kernels.adam()
    if found is None:
        raise RuntimeError("this optimizer needs its compiled kernel")
    return found
