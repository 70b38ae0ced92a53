"""What holds for every optimizer, with and without eligibility traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.api.optimizers import OptimizerContext
from core.testing import agents, learned
from core.testing.agents import TinyRun
from core.testing.host_reads import host_reads
from core.testing.stepping import SHAPES, Stepper
from core.testing.suite import ComponentSuite

STEPS = 50


class OptimizerSuite(ComponentSuite):
    """Checks of an optimizer, on a few weights and in a tiny agent.

    One that provides ``eligibility traces`` is stepped as phases with traces do it:
    ``step(gradients=[...], delta=..., reset=...)``.
    """

    kind = "optimizers"
    switches: ClassVar[Mapping[str, bool]] = {"descends": True, "host_free": True}
    """``descends``: the first step goes against the gradient. ``host_free``: a step reads no number
    on the host, on a CPU either."""
    overrides: ClassVar[Mapping[str, Any]] = {}
    """Options that phases are to fix besides ``lr`` and, with traces, ``gamma`` and
    ``environments``."""

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> OptimizerContext:
        return OptimizerContext(agents.CPU)

    @property
    def traces(self) -> bool:
        """Whether it is for phases with eligibility traces."""
        return "eligibility traces" in self.found.provides

    def stepper(self, **overrides: Any) -> Stepper:
        """A fresh optimizer with weights of its own."""
        return Stepper(self.build(), self.traces, {**self.overrides, **overrides})

    def zeros(self) -> list[Tensor]:
        """Gradients ``[1, *shape]``."""
        return [torch.zeros(1, *shape) for shape in SHAPES]

    # --- stepping -----------------------------------------------------------------------

    def test_makes_a_torch_optimizer_of_the_weights(self) -> None:
        stepper = self.stepper()
        kind = type(stepper.optimizer)
        assert isinstance(stepper.optimizer, torch.optim.Optimizer), (
            f"the factory makes a {kind.__name__}; derive it from torch.optim.Optimizer"
        )
        moved = {id(p) for group in stepper.optimizer.param_groups for p in group["params"]}
        assert moved == {id(weight) for weight in stepper.weights}, (
            "its param_groups are not the parameters that it was given"
        )

    def test_goes_against_the_gradient(self) -> None:
        self.require("descends")
        stepper = self.stepper()
        before, gradients = stepper.values(), stepper.gradients()
        stepper.step(gradients)
        pairs = zip(stepper.values(), before, gradients, strict=True)
        along = sum(float(((after - old) * g[0]).sum()) for after, old, g in pairs)
        assert along < 0, (
            "a step goes along the gradient of the objective (it is minimised) or nowhere; turn "
            "the sign, or say capabilities = {'descends': False}"
        )

    def test_takes_the_learning_rate_of_a_phase(self) -> None:
        still, moving = self.stepper(lr=0.0), self.stepper()
        before = still.values()
        for stepper in (still, moving):
            stepper.step()
        assert _equal(before, still.values()), (
            "with {'lr': 0.0} fixed by the phase the weights move: let 'overrides' win over options"
        )
        assert not _equal(before, moving.values()), (
            "one phase's overrides count for another's optimizer, or no step moves anything"
        )

    def test_steps_alike_from_the_same_state(self) -> None:
        first, second = self.stepper(), self.stepper()
        for stepper in (first, second):
            for _ in range(5):
                stepper.step()
        assert _equal(first.values(), second.values()), "two runs of the same steps differ"

    def test_reads_nothing_on_the_host(self) -> None:
        self.require("host_free")
        stepper = self.stepper()
        stepper.step()
        with host_reads() as found:
            stepper.step()
        assert not found, (
            f"a step reads numbers on the host ({', '.join(found)}), which waits for a GPU: keep "
            "to tensors, or, where it does so on a CPU alone, say "
            "capabilities = {'host_free': False}"
        )

    # --- removed weights ----------------------------------------------------------------

    def test_removed_weights_stay_zero(self) -> None:
        stepper = self.stepper()
        removed = [torch.arange(w.numel()).view_as(w) % 3 == 0 for w in stepper.weights]
        for weight, gone in zip(stepper.weights, removed, strict=True):
            weight.data.masked_fill_(gone, 0.0)
        for step in range(STEPS):
            pairs = zip(stepper.gradients(), removed, strict=True)
            gradients = [gradient.masked_fill(gone, 0.0) for gradient, gone in pairs]
            stepper.step(gradients, reset=step % 10 == 9, delta=(-1.0) ** step)
        for weight, gone in zip(stepper.weights, removed, strict=True):
            assert not bool(weight.detach()[gone].any()), (
                f"weights that are zero and have no gradient moved in {STEPS} steps: a removed "
                "weight would come back. No noise, no centring, no step without a gradient"
            )
        for index, name, value in stepper.slots():
            shape = stepper.weights[index].shape
            like = value.shape[-len(shape) :] == shape
            assert not like or not bool(value[..., removed[index]].any()), (
                f"'{name}' is not zero where weights are removed"
            )

    def test_state_has_the_shape_of_the_weights(self) -> None:
        stepper = self.stepper()
        stepper.step()
        for index, name, value in stepper.slots():
            shape = stepper.weights[index].shape
            assert value.dim() == 0 or value.shape[-len(shape) :] == shape, (
                f"state '{name}' of a weight {list(shape)} is {list(value.shape)}: make it "
                "[..., *weight.shape], or a number, so that it can follow a mask that changes"
            )

    def test_removed_weights_stay_zero_in_an_agent(self) -> None:
        for backend in ("masked", "sparse"):
            run = self._agent(backend)
            run.advance(STEPS)
            learned.assert_removed_stay_zero(run.agent)

    # --- state --------------------------------------------------------------------------

    def test_goes_on_alike_from_a_checkpoint(self) -> None:
        whole, first, second = (self.stepper() for _ in range(3))
        for _ in range(6):
            whole.step()
        for _ in range(3):
            first.step()
        second.load(learned.through_a_file(first.state()))
        second.steps = first.steps
        for _ in range(3):
            second.step()
        assert _equal(whole.values(), second.values()), (
            "saved, loaded into a new optimizer and continued it steps otherwise: keep everything "
            "in self.state, by parameter, or in param_groups"
        )

    def test_lets_its_memory_be_replaced(self) -> None:
        whole, moved = self.stepper(), self.stepper()
        for _ in range(3):
            whole.step()
            moved.step()
        moved.move_memory()
        for _ in range(3):
            whole.step()
            moved.step()
        assert _equal(whole.values(), moved.values()), (
            "after weights and state were given other memory it steps otherwise: look tensors up "
            "in self.state at each step, or implement refresh() (core.api.Refreshable)"
        )

    def test_lets_weights_shrink(self) -> None:
        stepper = self.stepper()
        stepper.step()
        stepper.shrink()
        before = stepper.values()
        stepper.step()
        assert not _equal(before, stepper.values()), "after weights shrank no step moves anything"

    # --- eligibility traces -------------------------------------------------------------

    def test_reports_scalars(self) -> None:
        self._require_traces()
        stepper = self.stepper()
        stepper.step()
        for name, value in stepper.optimizer.report.items():
            assert isinstance(value, Tensor), f"report['{name}'] is to be a tensor, not a number"
            assert value.dim() == 0, f"report['{name}'] is {list(value.shape)}, not a 0-d tensor"

    def test_reset_empties_the_trace(self) -> None:
        self._require_traces()
        kept, emptied = self.stepper(), self.stepper()
        kept.step()
        emptied.step(reset=True)
        before = kept.values()
        assert _equal(before, emptied.values()), "reset counts after the step, not before it"
        for stepper in (kept, emptied):
            stepper.step(self.zeros())
        assert _equal(before, emptied.values()), (
            "after reset=True something is left in the trace: empty it when an episode ends"
        )
        assert not _equal(before, kept.values()), (
            "without reset nothing is left in the trace: what was visited before learns nothing"
        )

    def test_takes_several_environments(self) -> None:
        self._require_traces()
        stepper = self.stepper(environments=3)
        before = stepper.values()
        for _ in range(3):
            stepper.step()
        assert not _equal(before, stepper.values()), "with three environments nothing moves"

    # --- helpers ------------------------------------------------------------------------

    def _agent(self, backend: str) -> TinyRun:
        values = agents.preset(
            "streaming" if self.traces else "replay",
            optimizer={"name": self.component, **self.options},
            masks=[{"name": "uniform", "sparsity": 0.5, "counted": "kernels"}],
            execution={"name": backend},
        )
        return TinyRun(self.plugins, values, agents.STATES)

    def _require_traces(self) -> None:
        if not self.traces:
            self.skip("it does not provide 'eligibility traces'")


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))
