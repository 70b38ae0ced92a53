"""ObGD: eligibility traces over a whole network, and a step bounded by their L1 norm.

Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works"
(arXiv 2410.14606). Usable without the rest of Openwork, as any ``torch.optim.Optimizer``::

    optimizer = ObGD(value.parameters(), gamma=0.99, lamda=0.8, kappa=2.0)
    loss = -value(observation)           # what would be minimised, without the TD error
    optimizer.zero_grad()
    loss.backward()
    optimizer.step(delta, reset=done)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from core.api import require
from plugins.optimizers.checks import check_kappa, check_trace

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from core.api import OnlineNetwork, OptimizerContext, OptimizerFactory
    from plugins.optimizers.options import AdaptiveObGDOptions, ObGDOptions

Number = TypeVar("Number", float, Tensor)
Flag = bool | Tensor


def at_least_one(value: Number) -> Number:
    """``max(value, 1)``, element by element, for a number or a tensor; a NaN stays one."""
    # Python's max keeps its first argument when a comparison with NaN fails.
    return value.clamp(min=1) if isinstance(value, Tensor) else max(value, 1.0)


def step_size(lr: float, kappa: float, reach: Number) -> Number:
    """The bounded step size, ``min(lr, lr / M)`` with ``M = lr kappa reach``.

    ``reach`` is ``max(|delta|, 1) ||z||_1`` (arXiv 2410.14606, ObGD; several environments:
    its mean). ``M`` estimates by how much the step overshoots ``delta``; the bound is active
    where ``M > 1``, and then ``lr`` cancels.
    """
    return lr / at_least_one(lr * kappa * reach)


class ObGD(torch.optim.Optimizer):
    """Overshooting-bounded gradient descent with accumulating traces (arXiv 2410.14606).

    Every step adds the gradient ``g`` of the minimised objective to the trace, bounds the
    step over the whole network at once, and moves along the trace by the TD error::

        z <- gamma lamda z + g
        M = lr kappa max(|delta|, 1) ||z||_1
        w <- w - min(lr, lr / M) delta z         (+ with ``maximize``)

    With ``N`` environments each has its own trace ``z_i`` and error ``delta_i``; there is one
    step, along ``mean_i(delta_i z_i)``, bounded by ``M = lr kappa mean_i(max(|delta_i|, 1)
    ||z_i||_1)``. The bound never changes the traces. No step reads anything on the host.

    Args:
        params: Parameters of one network, in one group, of one type and device.
        lr: Step size where the bound is not active, at least 0. Nearly always the bound is
            active, and then ``lr`` cancels: ``kappa`` and ``lamda`` set the step.
        gamma: Discount per step, in [0, 1].
        lamda: Decay of the trace besides ``gamma``, in [0, 1].
        kappa: The bound's factor, above 0: weights move by at most ``1 / kappa`` in L1 norm.
        environments: ``N``, at least 1.
        maximize: The gradients are of what is to be maximised.

    Raises:
        OptionError: an option is out of its range (a ``ValueError``).
        ValueError: there are several parameter groups, types or devices.
    """

    report: dict[str, Tensor]
    """Of the last step, 0-d tensors: ``trace_norm`` (L1, mean over environments),
    ``step_size`` (as bounded) and ``bound_active`` (0 or 1). Empty before the first."""

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        gamma: float = 0.99,
        lamda: float = 0.8,
        kappa: float = 2.0,
        *,
        environments: int = 1,
        maximize: bool = False,
    ) -> None:
        check_trace(lr, lamda)
        check_kappa(kappa)
        require(0 <= gamma <= 1, "gamma", f"must be in [0, 1], got {gamma}")
        require(environments >= 1, "environments", f"must be at least 1, got {environments}")
        options = {"lr": lr, "gamma": gamma, "lamda": lamda, "kappa": kappa}
        super().__init__(params, {**options, "environments": environments, "maximize": maximize})
        self._set_up()

    # --- stepping -----------------------------------------------------------------------

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        delta: float | Tensor,
        reset: Flag = False,
        *,
        cut: Flag = False,
        gradients: Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradients to the traces and move the parameters.

        Args:
            delta: TD error, a number or ``[]`` (the same for all) or ``[N]``. A non-finite
                one makes the weights NaN: the bound does not hide it.
            reset: Empty the trace after the step: the episode ended. As ``delta``, bool.
            cut: Empty it before the gradient enters (Watkins's Q(lambda)). As ``reset``.
            gradients: ``[N, *shape]`` for each parameter; by default every parameter's
                ``grad``, for one environment.

        Raises:
            ValueError: there are several environments, and no ``gradients``.
        """
        group = self.param_groups[0]
        errors = self._per_environment(delta)
        _empty(self._trace, cut)
        self._trace.mul_(group["gamma"] * group["lamda"])
        self._accumulate(gradients)
        divisor = self._divisor(errors)
        # Faster and more exact in float32 than torch.linalg.vector_norm.
        norms = (self._trace if divisor is None else self._trace / divisor).abs().sum(1)
        count = group["environments"]
        reach = torch.dot(at_least_one(errors.abs()), norms) / count
        size = step_size(group["lr"], group["kappa"], reach)
        sign = 1 if group["maximize"] else -1
        self._move.addmv_(self._trace.T, errors * (size * (sign / count)), beta=0)
        if divisor is not None:
            self._move.div_(divisor)
        torch._foreach_add_(group["params"], self._moves)
        _empty(self._trace, reset)
        active = (size < group["lr"]).to(size.dtype)
        self.report = {"trace_norm": norms.mean(), "step_size": size, "bound_active": active}

    @torch.no_grad()
    def online_step(
        self,
        network: OnlineNetwork,
        gradient: Tensor,
        delta: float,
        *,
        reset: bool = False,
        cut: bool = False,
    ) -> dict[str, float]:
        """As :meth:`step` for one environment, by a network's own kernels; the report.

        Args:
            network: Of exactly this optimizer's parameters, in their order.
            gradient: Of the minimised objective with respect to the outputs of the network's
                last ``forward``, ``[outputs]``.
            delta: TD error.
            reset: Empty the trace after the step.
            cut: Empty it before the gradient enters.

        Raises:
            ValueError: the optimizer is for several environments.
        """
        group = self.param_groups[0]
        if group["environments"] != 1:
            raise ValueError(f"online_step is for one environment, not {group['environments']}")
        trace = self._trace.view(-1)
        _empty(trace, cut)
        norm = network.accumulate(gradient, trace, group["gamma"] * group["lamda"])
        divisor = self._divisor(delta)
        direction = trace
        if divisor is not None:
            direction = torch.div(trace, divisor, out=self._move)
            norm = direction.abs().sum().item()
        lr = float(group["lr"])
        size = step_size(lr, group["kappa"], at_least_one(abs(delta)) * norm)
        network.move(direction, delta * (size if group["maximize"] else -size))
        if reset:
            trace.zero_()
        return {"trace_norm": norm, "step_size": size, "bound_active": float(size < lr)}

    def _divisor(self, delta: float | Tensor) -> Tensor | None:
        """``[P]``, by which norm and move are divided weight by weight; called once a step."""
        return None

    def _accumulate(self, gradients: Sequence[Tensor] | None) -> None:
        """Add ``gradients``, or every parameter's, to the decayed traces."""
        if gradients is not None:
            torch._foreach_add_(self._traces, list(gradients))
            return
        if self.param_groups[0]["environments"] != 1:
            raise ValueError("gradients are needed, one of every environment")
        grads = [p.grad for p in self.param_groups[0]["params"]]
        pairs = [(z, g[None]) for z, g in zip(self._traces, grads, strict=True) if g is not None]
        if pairs:
            torch._foreach_add_([z for z, _ in pairs], [g for _, g in pairs])

    def _per_environment(self, delta: float | Tensor) -> Tensor:
        """``[N]``, on the parameters' device."""
        count = self.param_groups[0]["environments"]
        if isinstance(delta, Tensor):
            return delta.detach().to(self._trace).reshape(-1).expand(count)
        return self._trace.new_full((count,), delta)

    # --- state --------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse a second group: there is one bound over the whole network."""
        if self.param_groups:
            raise ValueError("one parameter group only: the bound is over the whole network")
        super().add_param_group(param_group)
        kinds = {(p.dtype, p.device) for p in param_group["params"]}
        if len(kinds) > 1:
            raise ValueError(f"parameters must be of one type, on one device, got {kinds}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore traces and options; ``ValueError`` if for another number of environments."""
        theirs = state_dict["param_groups"][0]["environments"]
        ours = self.param_groups[0]["environments"]
        if theirs != ours:
            raise ValueError(f"the state has traces of {theirs} environments, not of {ours}")
        super().load_state_dict(state_dict)

    def refresh(self) -> None:
        """See :meth:`core.api.Refreshable.refresh`: traces of the parameters' present sizes."""
        self._gather()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # After copying, unpickling and loading, the traces are tensors of their own.
        super().__setstate__(state)
        self._gather()

    def _set_up(self) -> None:
        """Empty state for every parameter."""
        count = self.param_groups[0]["environments"]
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["trace"] = parameter.new_zeros(count, *parameter.shape)
        self._gather()

    def _gather(self) -> None:
        """Join every kind of state in one buffer, of which each parameter's is then a view."""
        parameters: list[nn.Parameter] = self.param_groups[0]["params"]
        self.report = {}
        self._traces, self._trace = self._join("trace", self.param_groups[0]["environments"])
        self._move = self._trace.new_empty(self._trace.shape[1])
        pieces = torch.split(self._move, [p.numel() for p in parameters])
        self._moves = [m.view(p.shape) for m, p in zip(pieces, parameters, strict=True)]

    def _join(self, name: str, rows: int) -> tuple[list[Tensor], Tensor]:
        """The parameters' views, of their shapes, and the buffer ``[rows, P]``."""
        parameters: list[nn.Parameter] = self.param_groups[0]["params"]
        parts = [self.state[parameter][name] for parameter in parameters]
        whole = torch.cat([part.reshape(rows, -1) for part in parts], 1)
        pieces = torch.split(whole, [p.numel() for p in parameters], 1)
        views = [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]
        for parameter, view in zip(parameters, views, strict=True):
            self.state[parameter][name] = view
        return views, whole


def _empty(trace: Tensor, flags: Flag) -> None:
    """Zero the trace, or the rows of it that are flagged."""
    if isinstance(flags, Tensor):
        trace.masked_fill_(flags.reshape(-1, 1), 0.0)
    elif flags:
        trace.zero_()


# --- the component ------------------------------------------------------------------------


def obgd(options: ObGDOptions, context: OptimizerContext) -> OptimizerFactory:
    """ObGD for every phase."""
    return bounded(ObGD, options)


def bounded(
    make: Callable[..., ObGD], options: ObGDOptions | AdaptiveObGDOptions
) -> OptimizerFactory:
    """``make`` for every phase, with the bound that ``options.kappa`` has for its name.

    The name of a phase is part of the contract (:class:`core.api.OptimizerFactory`), and what
    ``kappa.actor`` is documented to go by.
    """

    def optimizer(
        parameters: Sequence[nn.Parameter], overrides: Mapping[str, Any], phase: str
    ) -> ObGD:
        kappa = options.kappa.actor if phase == "actor" else options.kappa.critic
        return make(parameters, **{**asdict(options), "kappa": kappa, **overrides})

    return optimizer
