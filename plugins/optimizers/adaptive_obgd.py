"""AdaptiveObGD: ObGD with every weight's step divided by the root of a second moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from plugins.optimizers.checks import check_second_moment
from plugins.optimizers.obgd import ObGD, bounded

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from core.api import OptimizerContext, OptimizerFactory
    from plugins.optimizers.options import AdaptiveObGDOptions


@final
class AdaptiveObGD(ObGD):
    """ObGD whose norm and step use the trace divided by a running root mean square.

    With ``u = mean_i(delta_i z_i)`` (one environment: ``delta z``), ``t`` counting all steps
    across episodes, and everything else as in :class:`plugins.optimizers.obgd.ObGD`::

        v <- beta2 v + (1 - beta2) u^2
        s = sqrt(v / (1 - beta2^t) + eps)
        M = lr kappa mean_i(max(|delta_i|, 1) ||z_i / s||_1)
        w <- w - min(lr, lr / M) u / s

    The trace itself is never scaled. From the authors' code (streaming-drl, after arXiv
    2410.14606); several environments, with ``v`` of what would be the step, are ours.

    Args:
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to the second moment inside the root, above 0.
    """

    def __init__(  # noqa: PLR0913 (a torch optimizer takes its options as arguments)
        self,
        params: ParamsT,
        lr: float = 1.0,
        gamma: float = 0.99,
        lamda: float = 0.8,
        kappa: float = 2.0,
        *,
        beta2: float = 0.999,
        eps: float = 1e-8,
        environments: int = 1,
        maximize: bool = False,
    ) -> None:
        check_second_moment(beta2, eps)
        super().__init__(
            params, lr, gamma, lamda, kappa, environments=environments, maximize=maximize
        )
        for options in (self.defaults, *self.param_groups):
            options.update(beta2=beta2, eps=eps)

    def _divisor(self, delta: float | Tensor) -> Tensor:
        group = self.param_groups[0]
        step = torch.mv(self._trace.T, self._per_environment(delta) / group["environments"])
        moment = self._moment.lerp_(step.square_(), 1 - group["beta2"])
        corrected = moment.div(1 - group["beta2"] ** self._count.add_(1))
        return corrected.add_(group["eps"]).sqrt_()

    def _set_up(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["second_moment"] = torch.zeros_like(parameter.detach())
            # In float64: in float32, 1 - beta2^t loses four digits in the first steps.
            self.state[parameter]["step"] = parameter.new_zeros((), dtype=torch.float64)
        super()._set_up()

    def _gather(self) -> None:
        super()._gather()
        _, moment = self._join("second_moment", 1)
        self._moment = moment.view(-1)
        parameters = self.param_groups[0]["params"]
        # A copy, for the loaded state keeps its own; one count serves all parameters.
        self._count = self.state[parameters[0]]["step"].to(self._moment.device, copy=True)
        for parameter in parameters:
            self.state[parameter]["step"] = self._count


def adaptive_obgd(options: AdaptiveObGDOptions, context: OptimizerContext) -> OptimizerFactory:
    """AdaptiveObGD for every phase."""
    return bounded(AdaptiveObGD, options)
