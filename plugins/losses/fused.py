"""What updates in one call, without autograd, need of networks and optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import OnlineNetwork, Scalars


class OnlineOptimizer(Protocol):
    """What a fused update needs of an optimizer."""

    def online_step(
        self,
        network: OnlineNetwork,
        gradient: Tensor,
        delta: float,
        *,
        reset: bool = False,
        cut: bool = False,
    ) -> Mapping[str, float]:
        """One step by ``gradient`` ``[outputs]`` of the last forward; the report."""


def named(report: Mapping[str, float], phase: str) -> Scalars:
    """A report under the names that the learner gives it."""
    return {f"{name}/{phase}": value for name, value in report.items()}


def online_networks(
    modules: Sequence[nn.Module],
    online: Callable[[nn.Module], OnlineNetwork | None],
    optimizers: Mapping[str, Any],
    count: int,
) -> list[OnlineNetwork] | None:
    """The modules' kernels, or None unless a fused update can have all that it needs."""
    if count != 1 or not all(hasattr(o, "online_step") for o in optimizers.values()):
        return None
    found = [network for network in map(online, modules) if network is not None]
    return found if len(found) == len(modules) else None
