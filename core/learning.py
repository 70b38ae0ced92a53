"""The seams of learning: how weights are stored, what an update is, and who moves them.

Split from :mod:`core.protocols`, which has the other kinds of component. Shapes as there.
Nothing here imports torch at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDictBase
    from torch import Tensor, nn

Metrics = dict[str, "Tensor"]
"""Scalar tensors on the learner's device; they are read on the host only when logged."""
Scalars = dict[str, float]
"""What a fused update on a CPU reports: its metrics, already on the host."""
Batch = dict[str, "Tensor"]
"""What the phases of one update share; a loss's ``prepare`` makes it from a sampled batch."""


# --- execution --------------------------------------------------------------------------


class Execution(Protocol):
    """How kept weights are stored and multiplied."""

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """The module with the masks in force. Called once, on the learner's device.

        ``role`` (``critic``) is what :meth:`report` calls the module.
        """

    def constrain_gradients(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]
    ) -> None:
        """Zero in place the gradients of removed weights, between backward and step.

        One gradient per parameter, of its shape or with leading dimensions ``[N, *shape]``.
        """

    def reapply(self) -> None:
        """Put every removed weight back to zero, after weights were loaded or reset."""

    def remask(
        self,
        networks: Sequence[nn.Module],
        masks: Mapping[str, Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """Put other masks in force; weights and optimizer state that stay alive are kept.

        ``networks`` are one that was attached and its copies (targets), ``masks`` those of
        all its masked parameters, by the names of :meth:`attach`. What begins to live starts
        at zero, in every optimizer state too; what ceases to live loses its state.
        """

    def row(self, module: nn.Module) -> RowNetwork | None:
        """The module on one observation at a time, or None: only autograd can run it."""

    def defer(self) -> None:
        """Allow rows to put moves off, until :meth:`settle`.

        For a loop in which nobody reads parameters but through rows.
        """

    def settle(self) -> None:
        """Carry out moves that rows put off; from now on they are carried out at once."""

    def report(self) -> Mapping[str, Any]:
        """What was chosen, and why, in plain Python; for ``run.json``.

        ``backend`` is a name; ``layers``, if there are such, has by ``ROLE.PARAMETER`` at least
        the ``choice`` (``compact``) for each, and where there was a choice its ``reason``;
        ``index_bytes`` is the memory taken besides parameters, by indices and masks.
        """


class RowNetwork(Protocol):
    """A network on one observation at a time, without autograd: acting and streaming.

    For contiguous float32 tensors on the CPU. ``P`` counts the parameters, which are flat
    in the order of ``module.parameters()``.
    """

    inputs: int
    outputs: int
    """Entries of all heads together."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call."""

    def forward_both(self, inputs: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of both, reading the weights once; it is as if of ``inputs`` alone."""

    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``; the L1 norm of the new trace.

        ``J`` is the Jacobian of the last ``forward``, zero at removed weights;
        ``gradient`` ``[outputs]``, ``trace`` ``[P]``.
        """

    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, ``direction`` ``[P]``.

        After :meth:`Execution.defer` it may be put off until the next :meth:`forward` or
        :meth:`settle`; until then ``direction`` must stay as it is.
        """

    def settle(self) -> None:
        """Carry out a move that was put off."""


# --- losses -----------------------------------------------------------------------------


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
    average: Average | None = None
    """All that a phase without modules does, if it is a target average: then the optimizer of
    the phase before may do it in the pass that moves the weights (:class:`Averaging`)."""


@dataclass(frozen=True)
class Average:
    """A target network that follows another: ``target <- (1 - tau) target + tau online``."""

    target: nn.Module
    online: nn.Module
    tau: float
    """In [0, 1]."""


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
        row: Callable[[nn.Module], RowNetwork | None],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> Callable[[TensorDictBase], Scalars] | None:
        """The update (and from then on ``act``) without autograd, or None where it cannot be.

        ``row`` is :meth:`Execution.row`; ``optimizers`` are by phase, in the phases' order.
        The metrics carry the names that the learner gives to those of the phases.
        """


class Parts(Protocol):
    """Hands a loss its networks, already masked and on the learner's device."""

    def normaliser(self) -> Any: ...
    def encoder(self) -> nn.Module | None: ...
    def actor(self, heads: Mapping[str, int]) -> nn.Module: ...
    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module: ...


# --- optimizers -------------------------------------------------------------------------


class OptimizerFactory(Protocol):
    """Makes one optimizer per phase."""

    def __call__(
        self, parameters: Sequence[nn.Parameter], overrides: Mapping[str, Any], phase: str
    ) -> torch.optim.Optimizer:
        """An optimizer for the phase of this name; ``overrides`` are what the phase fixes."""


class TraceOptimizer(Protocol):
    """What phases with ``step`` need of their optimizer, besides ``torch.optim.Optimizer``."""

    report: Metrics
    """Scalars of the last step, logged as ``NAME/PHASE``."""

    def step(self, *, gradients: Sequence[Tensor], **arguments: Any) -> None:
        """One step; ``gradients`` ``[N, *shape]`` per parameter, ``arguments`` the phase's."""


@runtime_checkable
class Averaging(Protocol):
    """An optimizer that can average targets in the pass that moves the weights."""

    def follow(self, pairs: Sequence[tuple[nn.Parameter, nn.Parameter]], tau: float) -> bool:
        """From now on, at the end of every step, move each ``(target, online)`` pair's target.

        False if it cannot: then nothing changes, and the phase goes on doing it. ``online``
        are parameters of this optimizer.
        """


@runtime_checkable
class Refreshable(Protocol):
    """An optimizer that keeps views or addresses of its state."""

    def refresh(self) -> None:
        """State tensors or parameters' data were replaced, perhaps by others of other sizes."""
