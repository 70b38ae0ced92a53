"""One update: the loss's phases in the order it states them, each with its optimizer.

The update reads nothing on the host and makes tensors on the learner's device only, so it
can be compiled, captured in a CUDA graph, and proved on fake tensors without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from core.errors import RunStopped

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.protocols import Batch, Execution, Loss, Metrics, OptimizerFactory, Phase


class PhaseStep:
    """A phase with the parameters that it moves and the optimizer that moves them."""

    def __init__(self, phase: Phase, make: OptimizerFactory, execution: Execution) -> None:
        self.phase = phase
        self.execution = execution
        self.parameters: list[nn.Parameter] = [
            p for module in phase.modules for p in module.parameters() if p.requires_grad
        ]
        self.optimizer = make(self.parameters, phase.optimizer) if self.parameters else None
        self._run = phase.run

    def compile(self, parameters: Iterable[nn.Parameter], backend: str) -> None:
        """Compile the objective; ``parameters`` are all that the loss trains."""
        if self.optimizer is None:
            return
        own = {id(parameter) for parameter in self.parameters}
        others = [p for p in parameters if p.requires_grad and id(p) not in own]
        compiled = torch.compile(self.phase.run, backend=backend)

        def run(batch: Batch) -> tuple[Tensor | None, Metrics]:
            # A compiled backward computes the gradient of every input that asks for one,
            # wanted or not: the critic's weights would cost as much as the actor's.
            with _frozen(others):
                return compiled(batch)

        self._run = run

    def __call__(self, batch: Batch) -> Metrics:
        """Minimise the phase's objective by one step; returns detached scalars."""
        objective, metrics = self._run(batch)
        if objective is None or self.optimizer is None:
            return metrics
        # Only this phase's parameters get gradients: an actor loss that runs through the
        # critic must not cost the critic's weight gradients, nor leave any behind.
        gradients = torch.autograd.grad(objective, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.execution.constrain_gradients(self.parameters)
        # The very tensors in which the backend has just zeroed what is removed.
        norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        return {"": objective.detach(), "gradient_norm": norm, **metrics}


class Learner:
    """The loss, its phases' optimizers, and running means of what they report."""

    def __init__(
        self, loss: Any, make: OptimizerFactory, execution: Execution, device: torch.device
    ) -> None:
        self.loss: Loss = loss
        self.execution = execution
        self.device = device
        self.steps = [PhaseStep(phase, make, execution) for phase in self.loss.phases]
        self.updates = 0
        self.means = Means()
        self._run: Callable[[TensorDictBase], Metrics] = self.step
        self._prepare = self.loss.prepare

    def compile(self, backend: str = "inductor") -> None:
        """Compile the networks' passes; on CUDA, capture the whole update in a CUDA graph too.

        State must be loaded before the first update: a capture keeps to the tensors it saw.
        """
        parameters = list(self.loss.parameters())  # type: ignore[attr-defined]
        self._prepare = torch.compile(self.loss.prepare, backend=backend)
        for step in self.steps:
            step.compile(parameters, backend)
        if self.device.type == "cuda":
            from core.capture import Captured

            self._run = Captured(self.step)

    def step(self, batch: TensorDictBase) -> Metrics:
        """All phases on one batch (keys: :class:`core.protocols.DataSource`)."""
        shared = self._prepare(batch)
        metrics: Metrics = {}
        for step in self.steps:
            for name, value in step(shared).items():
                metrics[_metric(step.phase.name, name)] = value
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


class Means:
    """Means of scalar tensors over a logging interval, kept on their device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._bad: Tensor | None = None
        self._count = 0

    def add(self, metrics: Metrics, update: int) -> None:
        names = list(metrics)
        values = torch.stack([value.float() for value in metrics.values()])
        if self._sums is None or self._bad is None or names != self._names:
            self._names, self._count = names, 0
            self._sums = torch.zeros_like(values)
            self._bad = torch.full_like(values, -1, dtype=torch.int64)
        self._sums += values
        self._count += 1
        fresh = torch.isfinite(values).logical_not() & (self._bad < 0)
        self._bad.masked_fill_(fresh, update)

    def first_non_finite(self) -> tuple[int, str] | None:
        """The earliest update with a non-finite metric, and the first such metric in order."""
        if self._bad is None:
            return None
        bad = [(update, i) for i, update in enumerate(self._bad.tolist()) if update >= 0]
        if not bad:
            return None
        update, index = min(bad)
        return update, self._names[index]

    def take(self) -> dict[str, float]:
        """The means since the last call, on the host; empties them."""
        if self._sums is None or self._count == 0:
            return {}
        means = (self._sums / self._count).tolist()
        self._sums.zero_()
        self._count = 0
        return dict(zip(self._names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """A copy: the sums go on in place."""
        sums = None if self._sums is None else self._sums.clone()
        bad = None if self._bad is None else self._bad.clone()
        return {"names": list(self._names), "sums": sums, "bad": bad, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._names, self._count = list(state["names"]), state["count"]
        self._sums = None if state["sums"] is None else state["sums"].clone()
        self._bad = None if state["bad"] is None else state["bad"].clone()


def _metric(phase: str, name: str) -> str:
    """``loss/PHASE`` for the objective, ``NAME/PHASE`` for the gradient norm, else as named."""
    if not name:
        return f"loss/{phase}"
    return f"gradient_norm/{phase}" if name == "gradient_norm" else name


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
