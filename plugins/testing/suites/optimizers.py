"""What holds for every optimizer, with and without eligibility traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from core.api.optimizers import OptimizerContext, Refreshable
from plugins.testing.harness import agents
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.snapshots import differences, through_a_file
from plugins.testing.harness.watching import host_reads
from plugins.testing.suites.component import ComponentSuite

STEPS = 30
SHAPES = ((5, 4), (5,), (3, 5))
"""Of a weight, a bias and another weight."""


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

    def stepper(self, steps: int = 0, **overrides: Any) -> Stepper:
        """A fresh optimizer with weights of its own, after so many steps."""
        made = Stepper(self.build(), self.traces, {**self.overrides, **overrides})
        for _ in range(steps):
            made.step()
        return made

    # --- stepping -----------------------------------------------------------------------

    def test_moves_the_weights_that_it_was_given(self) -> None:
        stepper, still = self.stepper(), self.stepper(lr=0.0)
        kind, before = type(stepper.optimizer).__name__, stepper.values()
        right = isinstance(stepper.optimizer, torch.optim.Optimizer)
        assert right, f"the factory makes a {kind}; derive it from torch.optim.Optimizer"
        moved = {id(p) for group in stepper.optimizer.param_groups for p in group["params"]}
        own = moved == {id(weight) for weight in stepper.weights}
        assert own, "its param_groups are not the parameters that it was given"
        gradients = stepper.gradients()
        stepper.step(gradients)
        still.step()
        assert not differences(before, still.values()), (
            "with {'lr': 0.0} fixed by the phase the weights move: let 'overrides' win over options"
        )
        pairs = zip(stepper.values(), before, gradients, strict=True)
        along = sum(float(((after - old) * g[0]).sum()) for after, old, g in pairs)
        assert along < 0 or not self.capable("descends"), (
            "a step goes along the gradient of the objective (it is minimised) or nowhere; turn "
            "the sign, or say capabilities = {'descends': False}"
        )

    def test_reads_nothing_on_the_host(self) -> None:
        self.require("host_free")
        stepper = self.stepper(1)
        with host_reads() as found:
            stepper.step()
        assert not found, (
            f"a step reads numbers on the host ({', '.join(found)}), which waits for a GPU: keep "
            "to tensors, or, where it does so on a CPU alone, say {'host_free': False}"
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
            for name, value in stepper.memory(weight).items():
                like = value.shape[-weight.dim() :] == weight.shape
                assert value.dim() == 0 or like, (
                    f"state '{name}' of a weight {list(weight.shape)} is {list(value.shape)}: make "
                    "it [..., *weight.shape], or a number, so that it can follow a mask that "
                    "changes"
                )
                zero = not like or not bool(value[..., gone].any())
                assert zero, f"'{name}' is not zero where weights are removed"

    def test_removed_weights_stay_zero_in_an_agent(self) -> None:
        mode = "streaming" if self.traces else "replay"
        optimizer = {"name": self.component, **self.options}
        for backend in ("masked", "sparse"):
            more = {"masks": agents.HALVED, "execution": {"name": backend}}
            values = agents.preset(mode, optimizer=optimizer, **more)
            run = TinyRun(self.plugins, values, agents.STATES)
            run.advance(STEPS // 2)
            agents.assert_removed_stay_zero(run.agent)

    # --- state --------------------------------------------------------------------------

    def test_goes_on_alike_from_a_checkpoint(self) -> None:
        whole, again = self.stepper(6), self.stepper(6)
        same = not differences(whole.values(), again.values())
        assert same, "two runs of the same steps differ"
        second = self.stepper(3).through_a_file()
        for _ in range(3):
            second.step()
        assert not differences(whole.values(), second.values()), (
            "saved, loaded into a new optimizer and continued it steps otherwise: keep everything "
            "in self.state, by parameter, or in param_groups"
        )

    def test_lets_its_memory_be_replaced(self) -> None:
        whole, moved = self.stepper(6), self.stepper(3)
        moved.replace(lambda index, value: value.clone())
        for _ in range(3):
            moved.step()
        assert not differences(whole.values(), moved.values()), (
            "after weights and state were given other memory it steps otherwise: look tensors up "
            "in self.state at each step, or implement refresh() (core.api.Refreshable)"
        )
        moved.replace(lambda i, value: value if i else value[..., :2, :].flatten(-2))
        before = moved.values()
        moved.step()
        went = differences(before, moved.values())
        assert went, "after weights shrank no step moves anything"

    # --- eligibility traces -------------------------------------------------------------

    def test_keeps_a_trace_of_each_environment(self) -> None:
        if not self.traces:
            self.skip("it does not provide 'eligibility traces'")
        kept, emptied = self.stepper(1), self.stepper()
        emptied.step(reset=True)
        for name, value in kept.optimizer.report.items():
            scalar = isinstance(value, Tensor) and value.dim() == 0
            assert scalar, f"report['{name}'] is to be a 0-d tensor, got {value!r}"
        before = kept.values()
        late = not differences(before, emptied.values())
        assert late, "reset counts after the step, not before it"
        for stepper in (kept, emptied):
            stepper.step([torch.zeros(1, *shape) for shape in SHAPES])
        assert not differences(before, emptied.values()), (
            "after reset=True something is left in the trace: empty it when an episode ends"
        )
        assert differences(before, kept.values()), (
            "without reset nothing is left in the trace: what was visited before learns nothing"
        )
        three = self.stepper(environments=3).values(), self.stepper(3, environments=3).values()
        assert differences(*three), "with three environments nothing moves"


@final
class Stepper:
    """One optimizer and a few weights; gradients follow from the number of the step."""

    def __init__(self, factory: Any, traces: bool, overrides: Mapping[str, Any]) -> None:
        """``overrides`` are what the phase fixes, besides what traces need."""
        draw = torch.Generator().manual_seed(1)
        self.weights = [nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]
        self.factory, self.traces, self.overrides, self.steps = factory, traces, overrides, 0
        fixed = {**({"gamma": 0.9, "environments": 1} if traces else {}), **overrides}
        self.count = int(fixed.get("environments", 1))
        self.optimizer: Any = factory(self.weights, fixed, "critic")

    def gradients(self) -> list[Tensor]:
        """``[N, *shape]`` for each weight, other ones at every step."""
        draw = torch.Generator().manual_seed(100 + self.steps)
        return [torch.randn(self.count, *w.shape, generator=draw) for w in self.weights]

    def step(
        self, gradients: list[Tensor] | None = None, *, reset: bool = False, delta: float = 1.0
    ) -> None:
        """One step by the ``gradients`` of the objective that is to fall."""
        given = self.gradients() if gradients is None else gradients
        self.steps += 1
        if self.traces:
            errors, ended = torch.full((self.count,), delta), torch.full((self.count,), reset)
            self.optimizer.step(gradients=given, delta=errors, reset=ended)
            return
        for weight, gradient in zip(self.weights, given, strict=True):
            weight.grad = gradient.mean(0)
        self.optimizer.step()
        for weight in self.weights:
            weight.grad = None

    def values(self) -> list[Tensor]:
        """The weights as they are, copied."""
        return [weight.detach().clone() for weight in self.weights]

    def through_a_file(self) -> Stepper:
        """Another one that goes on from the saved state."""
        state = {"weights": self.values(), "optimizer": self.optimizer.state_dict()}
        loaded, other = through_a_file(state), Stepper(self.factory, self.traces, self.overrides)
        for weight, value in zip(other.weights, loaded["weights"], strict=True):
            weight.data.copy_(value)
        other.optimizer.load_state_dict(loaded["optimizer"])
        other.steps = self.steps
        return other

    def memory(self, weight: Tensor) -> dict[str, Tensor]:
        """Every tensor that is remembered of a weight, by name."""
        held = self.optimizer.state.get(weight, {})
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def replace(self, change: Callable[[int, Tensor], Tensor]) -> None:
        """Change weights and what is remembered of them, as a backend does that changes masks."""
        for index, weight in enumerate(self.weights):
            for name, value in self.memory(weight).items():
                if value.shape[-weight.dim() :] == weight.shape:
                    self.optimizer.state[weight][name] = change(index, value)
            weight.data = change(index, weight.data)
        if isinstance(self.optimizer, Refreshable):
            self.optimizer.refresh()
