"""Losses: the algorithms. Hook: ``register_losses``.

A loss owns actor, critics and targets, and lists the phases of its update in the paper's order.
What it shows of itself to diagnostics (:class:`Inspectable`, :class:`Soft`) is at the end. An
example is ``plugins/losses/sac.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api.environments import EnvironmentSpec
    from core.api.execution import OnlineNetwork
    from core.api.networks import Networks

Metrics = dict[str, "Tensor"]
"""Scalar tensors on the learner's device; they are read on the host only when logged."""
Scalars = dict[str, float]
"""What a fused update on a CPU reports: its metrics, already on the host."""
Batch = dict[str, "Tensor"]
"""What the phases of one update share; a loss's ``prepare`` makes it from a sampled batch."""


@dataclass(frozen=True)
class Phase:
    """One step of an update, in the order in which the loss lists them.

    With ``modules``, ``run(batch)`` returns the objective, which is minimised over the
    parameters of these modules, and metrics. Without, it changes what it must by itself
    (a target average) and returns None and metrics.
    """

    name: str
    run: Callable[[Batch], tuple[Tensor | None, Metrics]]
    modules: tuple[nn.Module, ...] = ()
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    """Optimizer options that this phase fixes, such as ``{"lr": 1e-4, "weight_decay": 0.0}``."""
    step: Callable[[Batch], Mapping[str, Any]] | None = None
    """For optimizers with eligibility traces: what their ``step`` takes besides gradients,
    such as ``delta`` and ``reset``. The objective is then one number per environment,
    ``[N]``, and the optimizer gets the gradient of each (:class:`TraceOptimizer`)."""


@dataclass(frozen=True)
class Returns:
    """How a loss wants rewards summed by the data source."""

    gamma: float
    """Discount per agent step, in [0, 1]."""
    n_step: int = 1
    """Rewards summed before bootstrapping, at least 1."""


class Loss(Protocol):
    """An algorithm: an ``nn.Module`` that owns actor, critics and targets."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The update, in order. The learner makes one optimizer per phase with modules."""

    @property
    def returns(self) -> Returns: ...

    def prepare(self, batch: TensorDictBase) -> Batch:
        """Normalise, augment and encode a sampled batch (keys: :class:`DataSource`)."""

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """Told of every observation ``[N, *observation]`` in training before it is acted on.

        The place to update statistics. ``begins`` ``[N]``, on the host: the first of an episode.
        """

    def act(self, observation: Tensor, *, explore: bool) -> Tensor:
        """``[N, *observation] -> [N, A]``, normalised inside; no gradients."""

    def set_progress(self, agent_steps: int) -> None:
        """Told before acting and learning at each iteration; moves schedules, without a sync."""


@runtime_checkable
class Fusable(Protocol):
    """A loss that can do its whole update in one call, to the same numbers."""

    def fuse(
        self,
        online: Callable[[nn.Module], OnlineNetwork | None],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> Callable[[TensorDictBase], Scalars] | None:
        """The update (and from then on ``act``) without autograd, or None where it cannot be.

        ``online`` is :meth:`Execution.online`; ``optimizers`` are by phase, in the phases' order.
        The metrics carry the names that the learner gives to those of the phases.
        """


@dataclass(frozen=True)
class LossContext:
    """What a loss is made of."""

    spec: EnvironmentSpec
    parts: Networks
    """Already masked, in the backend's form, on the device; each is built once."""
    device: torch.device
    count: int = 1
    """Training environments, ``N``."""


@dataclass(frozen=True)
class AnalysisBatch:
    """A batch as the agent's networks see it, with the statistics as they are."""

    observation: Tensor
    """Raw, ``[B, *observation]``: what :meth:`core.api.Loss.act` takes."""
    batch: Batch
    """What the phases take, ``B`` first in every entry; slices of it are batches too. It has
    no graph. ``reward`` and ``discount`` are there for every loss, in the form it learns from;
    where there is an encoder, ``features`` is what it gives for its input."""
    inputs: Mapping[str, tuple[Tensor, ...]]
    """What each network is called with, by role: ``encoder``, ``actor``, ``critic``."""


@runtime_checkable
class Inspectable(Protocol):
    """A loss that can be looked into; it provides the capability ``inspection``."""

    def analyse(self, batch: TensorDictBase) -> AnalysisBatch:
        """A batch ``[B]`` (keys: :class:`core.api.DataSource`, and under ``next`` ``done``
        where the source keeps it). Changes nothing, running statistics included."""

    def predict(self, batch: Batch) -> Tensor:
        """``[M, B]``: each critic's value of an analysed batch's states and actions."""

    @property
    def targets(self) -> Mapping[str, nn.Module]:
        """Target networks, by the role of the network that they follow."""


@runtime_checkable
class Soft(Protocol):
    """A loss whose values hold more than rewards."""

    def bonus(self, batch: Batch) -> Tensor:
        """``[B]``: an unbiased draw of what each state adds to its reward, such as SAC's
        ``-alpha log pi(a|s)`` with ``a`` of the policy."""


class Trained(NamedTuple):
    """A phase that trains some of these networks."""

    phase: Phase
    networks: dict[str, nn.Module]
    """Those that it trains, by role; what else it may train is left out."""
    batch: Batch
    """As the phase finds it, with what earlier phases have written."""
    after: Batch
    """As the phase leaves it: what :attr:`core.api.Phase.step` takes."""
    objective: Tensor
    """A scalar; of a phase with eligibility traces ``[B]``."""


def objectives(
    phases: Sequence[Phase], networks: Mapping[str, nn.Module], analysed: AnalysisBatch
) -> Iterator[Trained]:
    """Each phase's objective in the order of an update, all at the present weights.

    The analysed batch is not written to. Where an encoder is among ``networks``, ``features``
    is taken from it anew, so that an objective that trains it has its graph. Phases without
    modules are left out: they move weights themselves. Those that train none of ``networks``
    are run, since later ones may read what they write, and are not answered.
    """
    from torch import is_grad_enabled, set_grad_enabled

    batch = dict(analysed.batch)
    if "encoder" in networks:
        batch["features"] = networks["encoder"](*analysed.inputs["encoder"])
    for phase in phases:
        if not phase.modules:
            continue
        found, batch = batch, dict(batch)
        trained = {r: n for r, n in networks.items() if any(m is n for m in phase.modules)}
        with set_grad_enabled(bool(trained) and is_grad_enabled()):
            objective, _ = phase.run(batch)
        if trained and objective is not None:
            yield Trained(phase, trained, found, batch, objective)
