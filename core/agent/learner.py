"""One update: the loss's phases in the order it states them, each with its optimizer.

The update reads nothing on the host and makes tensors on the learner's device only, so it
can be compiled, captured in a CUDA graph, and proved on fake tensors without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from core.agent.running_means import RunningMeans
from core.api.errors import RunStopped
from core.api.losses import Fusable

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api.execution import Execution
    from core.api.losses import Batch, Loss, Metrics, Phase, Scalars
    from core.api.optimizers import OptimizerFactory, TraceOptimizer

    Objective = Callable[[Batch], tuple[Tensor | None, Metrics]]


class PhaseStep:
    """A phase with the parameters that it moves and the optimizer that moves them."""

    def __init__(
        self,
        phase: Phase,
        make: OptimizerFactory,
        execution: Execution,
        trained: Sequence[nn.Parameter],
    ) -> None:
        """``trained`` are all the parameters that any phase of the loss moves."""
        self.phase = phase
        self.execution = execution
        self.parameters: list[nn.Parameter] = [
            p for module in phase.modules for p in module.parameters() if p.requires_grad
        ]
        self.optimizer = (
            make(self.parameters, phase.optimizer, phase.name) if self.parameters else None
        )
        own = {id(parameter) for parameter in self.parameters}
        self._others = [p for p in trained if id(p) not in own] if own else []
        self._run = self._alone(phase.run)

    def compile(self, backend: str) -> None:
        """Compile the objective."""
        if self.optimizer is not None:
            self._run = self._alone(torch.compile(self.phase.run, backend=backend))

    def _alone(self, run: Objective) -> Objective:
        """``run`` with all parameters but this phase's kept out of the graph.

        A fused or compiled backward computes the gradient of every input that asks for one:
        the critic's weights would cost as much as the actor's.
        """

        def objective(batch: Batch) -> tuple[Tensor | None, Metrics]:
            with _frozen(self._others):
                return run(batch)

        return objective if self._others else run

    def __call__(self, batch: Batch) -> Metrics:
        """Minimise the phase's objective by one step; returns detached scalars."""
        objective, metrics = self._run(batch)
        if objective is None or self.optimizer is None:
            return metrics
        if self.phase.step is not None:
            return metrics | self._trace(objective, self.phase.step(batch))
        # Not by backward(): nothing but this phase's parameters may be left with a gradient.
        gradients = torch.autograd.grad(objective, self.parameters)
        self.execution.constrain_gradients(self.parameters, gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        own = {"loss": objective.detach(), "gradient_norm": norm}
        return self._named(own) | metrics

    def _trace(self, objectives: Tensor, arguments: Mapping[str, Any]) -> Metrics:
        """A step of an optimizer with traces: each environment's gradient ``[N, *shape]``."""
        optimizer: TraceOptimizer = self.optimizer  # type: ignore[assignment]
        gradients = row_gradients(objectives, self.parameters)
        self.execution.constrain_gradients(self.parameters, gradients)
        optimizer.step(gradients=gradients, **arguments)
        return self._named(optimizer.report)

    def _named(self, metrics: Metrics) -> Metrics:
        return {f"{name}/{self.phase.name}": value for name, value in metrics.items()}


class Learner:
    """The loss, its phases' optimizers, and running means of what they report."""

    def __init__(
        self, loss: Any, make: OptimizerFactory, execution: Execution, device: torch.device
    ) -> None:
        self.loss: Loss = loss
        self.execution = execution
        self.device = device
        trained = [p for p in loss.parameters() if p.requires_grad]
        self.steps = [PhaseStep(phase, make, execution, trained) for phase in self.loss.phases]
        self.updates = 0
        self.means = RunningMeans()
        self._run: Callable[[TensorDictBase], Metrics | Scalars] = self.step
        self._prepare = self.loss.prepare

    def fuse(self) -> None:
        """Replace the phases by the loss's own single call, where it has one for this agent."""
        if isinstance(self.loss, Fusable):
            optimizers = {s.phase.name: s.optimizer for s in self.steps if s.optimizer is not None}
            self._run = self.loss.fuse(self.execution.online, optimizers) or self.step

    def compile(self, backend: str = "inductor") -> None:
        """Compile the networks' passes; on CUDA, capture the whole update in a CUDA graph too.

        State must be loaded before the first update: a capture keeps to the tensors it saw.
        """
        self._prepare = torch.compile(self.loss.prepare, backend=backend)
        for step in self.steps:
            step.compile(backend)
        self._capture()

    def _capture(self) -> None:
        if self.device.type == "cuda":
            from core.agent.cuda_graph import Captured

            self._run = Captured(self.step)

    def recapture(self) -> None:
        """Other masks are in force: what an update keeps of the former ones is made anew.

        A capture reads their memory, and a fused update may learn from a forward pass that
        acting made by them.
        """
        if self._run == self.step:
            return
        if self.device.type == "cuda":
            self._capture()
        else:
            self.fuse()

    def step(self, batch: TensorDictBase) -> Metrics:
        """All phases on one batch (keys: :class:`core.api.data.DataSource`)."""
        shared = self._prepare(batch)
        metrics: Metrics = {}
        for step in self.steps:
            metrics |= step(shared)
        return metrics

    def update(self, batch: TensorDictBase) -> None:
        """One update, and its metrics folded into the running means.

        Raises:
            RunStopped: a metric is not finite (looked at here on a CPU, where it costs no
                synchronisation, and by :meth:`check` elsewhere).
        """
        self.means.add(self._run(batch), self.updates)
        self.updates += 1
        if self.device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Raise :class:`RunStopped` if any update since the last call was not finite."""
        found = self.means.first_non_finite()
        if found is not None:
            update, name = found
            raise RunStopped(f"'{name}' became non-finite at update {update + 1}")

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss": self.loss.state_dict(),  # type: ignore[attr-defined]
            "optimizers": {
                step.phase.name: step.optimizer.state_dict()
                for step in self.steps
                if step.optimizer is not None
            },
            "updates": self.updates,
            "means": self.means.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss.load_state_dict(state["loss"])  # type: ignore[attr-defined]
        for step in self.steps:
            if step.optimizer is not None:
                step.optimizer.load_state_dict(state["optimizers"][step.phase.name])
        self.updates = state["updates"]
        self.means.load_state_dict(state["means"])
        self.execution.reapply()


def row_gradients(objectives: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
    """``[N] -> [N, *shape]`` per parameter: the gradient of each environment's objective."""
    count = objectives.shape[0]
    if count == 1:
        gradients = torch.autograd.grad(objectives.squeeze(0), parameters)
        return tuple([gradient.unsqueeze(0) for gradient in gradients])
    rows = torch.eye(count, dtype=objectives.dtype, device=objectives.device)
    return torch.autograd.grad(objectives, parameters, rows, is_grads_batched=True)


@contextmanager
def _frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Keep ``parameters`` out of the graphs that are built inside."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
