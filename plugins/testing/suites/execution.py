"""Conformance of execution backends."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.agent.masks import PackedMasks
from core.agent.state import copies, put_in_force
from core.api.execution import ExecutionContext
from core.api.layers import assign_dense, dense
from plugins.testing.harness import agents
from plugins.testing.harness.agents import TinyRun, apart, slots, weights
from plugins.testing.harness.snapshots import differences, flat, named
from plugins.testing.suites.component import ComponentSuite

STEPS = 10


class ExecutionSuite(ComponentSuite):
    """Kept weights stored and multiplied to the same numbers as dense ones held at zero.

    Three tiny agents with half of their weights removed, whose networks are perceptrons, residual
    networks and convolutions, learn under the backend and under ``masked``, which is the oracle.
    """

    kind = "execution"
    tolerance: ClassVar[float] = 1e-5
    """Of outputs and gradients, relative to the largest."""
    drift: ClassVar[float] = 1e-3
    """Of weights after 10 updates, relative to the largest of a parameter."""

    def context(self) -> ExecutionContext:
        return ExecutionContext(torch.device("cpu"), batch_size=agents.BATCH)

    def start(self, mode: str, *, masked: bool = False, **nodes: Any) -> TinyRun:
        """A tiny agent under the backend, or under ``masked``."""
        own = {"name": "masked"} if masked else {"name": self.component, **self.options}
        values = agents.preset(mode, **{"masks": agents.HALVED, **nodes}, execution=own)
        return TinyRun(self.plugins, values, agents.SPECS[mode], fuse=False)

    def networks(self) -> Iterator[tuple[str, TinyRun, nn.Module, dict[str, Tensor]]]:
        """Of each agent each network: ``(where, run, module, masks)``."""
        for mode in agents.PRESETS:
            run = self.start(mode)
            for role, module in run.agent.parts.modules.items():
                yield f"{mode} {role}", run, module, dict(run.agent.masks.masks[role].items())

    # --- the same numbers ---------------------------------------------------------------

    def test_outputs_and_gradients_are_those_of_masked(self) -> None:
        for mode in agents.PRESETS:
            run, oracle = self.start(mode), self.start(mode, masked=True)
            for (where, found), wanted in zip(
                _outputs_and_gradients(run), _outputs_and_gradients(oracle), strict=True
            ):
                assert where == wanted[0], f"{mode}: '{wanted[0]}' is called '{where}' now"
                off = apart(wanted[1], found)
                assert off <= self.tolerance, f"{mode}: {where} off by {off:.1e} of the largest"

    def test_learns_what_masked_learns(self) -> None:
        for mode in agents.PRESETS:
            run, oracle = self.start(mode), self.start(mode, masked=True)
            for each in (run, oracle):
                each.advance(STEPS)
            run.agent.learner.check()
            agents.assert_removed_stay_zero(run.agent)
            found = weights(run.agent)
            for name, weight in weights(oracle.agent).items():
                off = apart(weight, found[name])
                assert off <= self.drift, f"{mode}: '{name}' is off by {off:.1e} of the largest"

    # --- removed weights ----------------------------------------------------------------

    def test_gradients_and_writes_are_constrained(self) -> None:
        for where, run, module, masks in self.networks():
            execution, parameters = run.agent.learner.execution, dict(module.named_parameters())
            given = {name: torch.ones(4, *p.shape) for name, p in parameters.items()}
            execution.constrain_gradients(list(parameters.values()), list(given.values()))
            for name, mask in masks.items():
                found = dense(module, name, given[name])
                assert torch.equal(found, mask.expand_as(found).to(found)), (
                    f"{where}: 'constrain_gradients' of ones [4, *shape] is to leave those of "
                    f"kept weights and zero the others, in place; '{name}' is not so"
                )
                assign_dense(module, name, torch.ones(mask.shape))
                execution.reapply()
                assert torch.equal(dense(module, name), mask.float()), (
                    f"{where}: after weights were written, 'reapply' is to zero the removed "
                    f"ones of '{name}' and leave the others"
                )

    def test_a_copy_is_a_network_of_its_own(self) -> None:
        for where, _, module, masks in self.networks():
            target = copy.deepcopy(module)
            held = flat(dict(target.named_parameters()))
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(1.0)
            changed = differences(held, dict(target.named_parameters()))
            assert not changed, f"{where}: writing into it changes {named(changed)} of its deepcopy"
            for name, mask in masks.items():
                gone = not bool(dense(target, name)[~mask].any())
                assert gone, f"{where}: a deepcopy has removed weights in '{name}'"

    def test_other_masks_keep_what_lives_on(self) -> None:
        for mode in agents.PRESETS:
            run = self.start(mode)
            run.advance(3)
            for role, networks in copies(run.agent.loss, run.agent.parts.modules).items():
                self._remask(run, role, networks)
            agents.assert_removed_stay_zero(run.agent)
            before = weights(run.agent)
            run.advance(3)
            assert differences(before, weights(run.agent)), f"{mode}: after 'remask' nothing moves"
            agents.assert_removed_stay_zero(run.agent)

    def _remask(self, run: TinyRun, role: str, networks: list[nn.Module]) -> None:
        """Other masks: half of them new, and none at all of the last layer."""
        draw, old = torch.Generator().manual_seed(9), dict(run.agent.masks.masks[role].items())
        others = {n: torch.rand(mask.shape, generator=draw) < 0.5 for n, mask in old.items()}
        others[list(others)[-1]].zero_()
        optimizers = list(run.agent.learner.optimizers.values())
        before = [{n: dense(m, n).detach().clone() for n in old} for m in networks]
        memory = {n: copy.deepcopy(slots(networks[0], n, optimizers)) for n in old}
        put_in_force(run.agent, role, PackedMasks(others))
        for name, mask in others.items():
            both, where = mask & old[name], f"{role}: after 'remask', '{name}'"
            for network, held in zip(networks, before, strict=True):
                assert torch.equal(dense(network, name), held[name] * both), (
                    f"{where}: weights that live on are kept, what begins to live is zero, and "
                    "what was dropped is zero, in copies too"
                )
            after = slots(networks[0], name, optimizers)
            for key, value in memory[name].items():
                assert key in after and torch.equal(after[key], value * both), (  # noqa: PT018
                    f"{where}: the optimizer's {key} is to be carried over, zero where "
                    "weights begin to live and where they were dropped"
                )

    # --- telling and saving -------------------------------------------------------------

    def test_report_is_plain_and_chosen_again(self) -> None:
        report, choices = self._reported()
        backend, taken = report.get("backend"), report.get("index_bytes")
        assert isinstance(backend, str), f"'report' is to name its 'backend', got {backend!r}"
        assert isinstance(taken, int), f"'index_bytes' is to be a number of bytes, got {taken!r}"
        _, now = self._reported(chosen=report)
        assert choices == now, (
            "given ExecutionContext.chosen, the report of an earlier process, it chooses "
            f"otherwise: {choices} before, {now} now"
        )

    def _reported(self, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A fresh backend's report, as ``run.json`` gives it back, and what it chose by layer."""
        context = ExecutionContext(torch.device("cpu"), batch_size=agents.BATCH, **more)
        execution = self.found.build(self.made_options(), context)
        plain = self.start("streaming", masks=[], masked=True).agent.parts.modules
        for role, module in plain.items():
            masks = {n: p > 0 for n, p in module.named_parameters() if p.dim() > 1}
            execution.attach(module, masks, role)
        try:
            report = json.loads(json.dumps(dict(execution.report())))
        except TypeError as error:
            raise AssertionError(f"'report' is to be plain Python, for run.json: {error}") from None
        return report, {t: entry.get("choice") for t, entry in report.get("layers", {}).items()}

    def test_state_goes_to_masked_and_back_bit_for_bit(self) -> None:
        for mode in agents.PRESETS:
            first, second, third = (self.start(mode, masked=m) for m in (False, True, False))
            first.advance(3)
            state = first.state_dict()
            second.load_state_dict(copy.deepcopy(state))
            third.load_state_dict(copy.deepcopy(second.state_dict()))
            other = differences(state, third.state_dict())
            other = [name for name in other if "means" not in name]
            assert not other, (
                f"saved, loaded under 'masked', saved and loaded again, {mode} has other "
                f"{named(other)}"
            )


def _outputs_and_gradients(run: TinyRun) -> Iterator[tuple[str, Tensor]]:
    """Of each network of an agent, for two rows; gradients of removed weights are zero."""
    found = run.loss.analyse(agents.transitions(run.spec, 2, 50, run.gamma))
    for role, module in run.agent.parts.modules.items():
        answer = module(*found.inputs[role])
        joined = torch.cat(answer, -1) if isinstance(answer, tuple) else answer
        yield f"the outputs of the {role}", joined.detach()
        parameters = list(module.parameters())
        gradients = list(torch.autograd.grad(joined.square().sum(), parameters))
        run.agent.learner.execution.constrain_gradients(parameters, gradients)
        for (name, _), gradient in zip(module.named_parameters(), gradients, strict=True):
            yield f"the gradient of {role}.{name}", dense(module, name, gradient)
