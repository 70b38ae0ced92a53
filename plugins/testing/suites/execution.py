"""Conformance of execution backends."""

from __future__ import annotations

import copy
import json
from typing import Any, ClassVar

import torch

from core.agent.masks import PackedMasks
from core.api.execution import ExecutionContext
from core.api.layers import assign_dense, dense
from plugins.testing.harness import layers, runs
from plugins.testing.harness.layers import Pair, apart, gradients, outputs, slots
from plugins.testing.harness.snapshots import differences, flat, named
from plugins.testing.suites.interventions import alive_but_removed
from plugins.testing.suites.row_checks import RowChecks

TRAINED = {
    "adamw": ("a SimBa actor", "two SimBa critics", "a convolutional encoder"),
    "obgd": ("a convolutional encoder", "a streaming actor", "a streaming critic"),
}
"""Which networks are trained by which optimizer."""


class ExecutionSuite(RowChecks):
    """Kept weights stored and multiplied to the same numbers as dense ones held at zero.

    The oracle is plain PyTorch: the dense network with its removed weights and their gradients
    multiplied by zero, perceptrons, residual networks and convolutions.
    """

    kind = "execution"
    drift: ClassVar[float] = 1e-3
    """Of weights after 50 steps, relative to the largest of a parameter."""

    # --- the same numbers ---------------------------------------------------------------

    def test_outputs_and_gradients_are_those_of_dense_weights(self) -> None:
        for one in self.pairs():
            for rows in (1, 6):
                inputs = one.inputs(rows)
                off = apart(outputs(one.oracle, inputs), outputs(one.module, inputs))
                assert off <= self.tolerance, (
                    f"{one.name}, {rows} rows: outputs are off by {off:.1e} of the largest"
                )
                found = gradients(one.module, inputs)
                for name, wanted in gradients(one.oracle, inputs).items():
                    keep = one.masks.get(name, torch.tensor(True))
                    off = apart(wanted * keep, found[name] * keep)
                    assert off <= self.tolerance, (
                        f"{one.name}, {rows} rows: the gradient of '{name}' is off by {off:.1e}"
                    )

    def test_parameters_keep_their_names(self) -> None:
        for one in self.pairs():
            wanted = [name for name, _ in one.oracle.named_parameters()]
            found = [name for name, _ in one.module.named_parameters()]
            assert sorted(found) == sorted(wanted), (
                f"{one.name}: parameters are named {named(found)}, but they were made as "
                f"{named(wanted)}: masks, checkpoints and diagnostics go by these names"
            )

    def test_masks_that_keep_everything_change_nothing(self) -> None:
        for one in self.pairs(density=1.1):
            inputs = one.inputs(6)
            off = apart(outputs(one.oracle, inputs), outputs(one.module, inputs))
            assert off <= self.tolerance, f"{one.name}, nothing removed: off by {off:.1e}"

    def test_a_network_without_masks_is_as_it_was(self) -> None:
        for one in self.pairs(masked=False):
            inputs = one.inputs(6)
            off = apart(outputs(one.oracle, inputs), outputs(one.module, inputs))
            assert off <= self.tolerance, f"{one.name} without masks: off by {off:.1e}"
            for name, parameter in one.oracle.named_parameters():
                assert torch.equal(dense(one.module, name), parameter), (
                    f"{one.name} has no masks, and yet '{name}' is another after 'attach'"
                )

    def test_a_layer_may_lose_all_its_weights(self) -> None:
        for one in self.pairs():
            last = list(one.masks)[-1]
            none = {last: torch.zeros_like(one.masks[last])}
            one.execution.remask([one.module], {**one.masks, **none}, [])
            found = dense(one.module, last)
            assert not bool(found.any()), f"{one.name}: '{last}' has weights where none is kept"
            assert bool(outputs(one.module, one.inputs(6)).isfinite().all())

    # --- removed weights ----------------------------------------------------------------

    def test_removed_weights_stay_removed_in_training(self) -> None:
        for optimizer, kinds in TRAINED.items():
            for one in self.pairs(kinds):
                moved = one.optimizer(optimizer, one.module)
                alone = one.optimizer(optimizer, one.oracle)
                one.train(one.module, moved, 50)
                one.train(one.oracle, alone, 50)
                for name, mask in one.masks.items():
                    where = f"{one.name}, 50 steps of {optimizer}: '{name}'"
                    weight = dense(one.module, name)
                    assert not bool(weight[~mask].any()), (
                        f"{where} has removed weights that are not exactly zero; zero their "
                        "gradients in 'constrain_gradients', or do not store them"
                    )
                    for key, value in slots(one.module, name, moved).items():
                        assert not bool(value[..., ~mask].any()), (
                            f"{where}: the optimizer's {key} of removed weights is not zero"
                        )
                    off = apart(one.oracle.get_parameter(name), weight)
                    assert off <= self.drift, f"{where} is off by {off:.1e} of the largest weight"

    def test_gradients_of_each_environment_are_constrained(self) -> None:
        for one in self.pairs():
            parameters = dict(one.module.named_parameters())
            given = {name: torch.ones(4, *p.shape) for name, p in parameters.items()}
            one.execution.constrain_gradients(list(parameters.values()), list(given.values()))
            for name, gradient in given.items():
                found = dense(one.module, name, gradient)
                mask = one.masks.get(name, torch.ones_like(found[0], dtype=torch.bool))
                assert bool((found == mask.expand_as(found).to(found)).all()), (
                    f"{one.name}: 'constrain_gradients' of ones [4, *shape] is to leave those of "
                    f"kept weights and zero the others, in place; '{name}' is not so"
                )

    def test_reapply_removes_again_what_was_written(self) -> None:
        for one in self.pairs():
            noise = {n: torch.randn(mask.shape) for n, mask in one.masks.items()}
            for name, values in noise.items():
                assign_dense(one.module, name, values)
            one.execution.reapply()
            for name, mask in one.masks.items():
                assert torch.equal(dense(one.module, name), noise[name] * mask), (
                    f"{one.name}: after weights were written, 'reapply' is to zero the removed "
                    f"ones of '{name}' and leave the others"
                )

    # --- copies and other masks ---------------------------------------------------------

    def test_a_copy_is_a_network_of_its_own(self) -> None:
        for one in self.pairs():
            inputs = one.inputs(6)
            before = outputs(one.module, inputs).detach().clone()
            target = copy.deepcopy(one.module)
            off = apart(before, outputs(target, inputs))
            assert off <= self.tolerance, (
                f"{one.name}: a deepcopy is off by {off:.1e} of the largest: targets are copies"
            )
            held = {name: p.detach().clone() for name, p in target.named_parameters()}
            one.train(one.module, one.optimizer("adamw", one.module), 3)
            for name, parameter in target.named_parameters():
                assert torch.equal(parameter, held[name]), (
                    f"{one.name}: training the network changed '{name}' of its deepcopy"
                )
            with torch.no_grad():
                for own, online in zip(target.parameters(), one.module.parameters(), strict=True):
                    own.lerp_(online, 0.25)
            for name, mask in one.masks.items():
                assert not bool(dense(target, name)[~mask].any()), (
                    f"{one.name}: '{name}' of an averaged target has removed weights"
                )

    def test_other_masks_keep_what_lives_on(self) -> None:
        for optimizer, kinds in TRAINED.items():
            for one in self.pairs(kinds):
                target, moved = copy.deepcopy(one.module), one.optimizer(optimizer, one.module)
                one.train(one.module, moved, 5, first=1)
                names = list(one.masks)
                before = {n: dense(one.module, n).detach().clone() for n in names}
                held = {n: dense(target, n).detach().clone() for n in names}
                memory = {n: copy.deepcopy(slots(one.module, n, moved)) for n in names}
                others = layers.random_masks(one.oracle, 0.5, seed=9)
                one.execution.remask([one.module, target], PackedMasks(others), [moved])
                for name, mask in others.items():
                    both, where = mask & one.masks[name], f"{one.name}, {optimizer}: '{name}'"
                    kept = "weights that live on are kept, what begins to live is zero"
                    assert torch.equal(dense(one.module, name), before[name] * both), (
                        f"{where}: after 'remask' {kept}, and what was dropped is zero"
                    )
                    assert torch.equal(dense(target, name), held[name] * both), (
                        f"{where} of the copy: after 'remask' {kept}"
                    )
                    after = slots(one.module, name, moved)
                    for key, value in memory[name].items():
                        assert key in after, f"{where}: the optimizer has lost its {key}"
                        assert torch.equal(after[key], value * both), (
                            f"{where}: the optimizer's {key} is to be carried over, zero where "
                            "weights begin to live and where they were dropped"
                        )
                one.masks = others
                self._goes_on(one, target, moved)

    def _goes_on(self, one: Pair, target: Any, optimizer: Any) -> None:
        """After other masks: forward, backward, step, and the copy."""
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for p in one.module.parameters()}, (
            f"{one.name}: after 'remask' the optimizer moves parameters that are not the network's"
        )
        one.train(one.module, optimizer, 3, first=20)
        for name, mask in one.masks.items():
            weight = dense(one.module, name)
            assert not bool(weight[~mask].any()), (
                f"{one.name}: in training after 'remask', removed weights of '{name}' move"
            )
            assert bool(weight[mask].any()), f"{one.name}: nothing of '{name}' moves after 'remask'"
        assert bool(outputs(target, one.inputs(6)).isfinite().all())

    # --- telling and saving -------------------------------------------------------------

    def test_report_is_plain(self) -> None:
        execution = self.build()
        for name in ("a streaming actor", "a streaming critic"):
            layers.pair(name, self.plugins, execution)
        report = execution.report()
        try:
            json.dumps(dict(report))
        except TypeError as error:
            raise AssertionError(f"'report' is to be plain Python, for run.json: {error}") from None
        backend, taken = report.get("backend"), report.get("index_bytes")
        assert isinstance(backend, str), "'report' is to say its 'backend', a name"
        assert backend.strip(), "'report' gives an empty 'backend'"
        assert isinstance(taken, int), f"'index_bytes' is to be a number of bytes, got {taken!r}"
        assert taken >= 0, f"'index_bytes' is {taken}"
        for title, entry in report.get("layers", {}).items():
            assert title.partition(".")[0] in ("actor", "critic"), (
                f"'layers' are named ROLE.PARAMETER, such as actor.head.weight; got '{title}'"
            )
            assert isinstance(entry.get("choice"), str), f"layers['{title}'] has no 'choice'"

    def test_a_later_process_chooses_the_same(self) -> None:
        first, device = self.build(), torch.device("cpu")
        layers.pair("a streaming critic", self.plugins, first)
        chosen = json.loads(json.dumps(dict(first.report())))
        context = ExecutionContext(device, batch_size=6, chosen=chosen)
        again = self.found.build(self.made_options(), context)
        layers.pair("a streaming critic", self.plugins, again)
        now = json.loads(json.dumps(dict(again.report())))
        choices = [
            {title: entry.get("choice") for title, entry in report.get("layers", {}).items()}
            for report in (chosen, now)
        ]
        assert choices[0] == choices[1], (
            "given ExecutionContext.chosen, the report of an earlier process, it chooses "
            f"otherwise: {choices[0]} before, {choices[1]} now"
        )

    def test_state_goes_to_masked_and_back_bit_for_bit(self) -> None:
        from core.agent.state import agent_state, restore_agent

        own = {"execution": {"name": self.component, **self.options}}
        masked = {"execution": {"name": "masked"}}
        for agent in runs.AGENTS:
            changed = [
                runs.experiment(self.plugins, {**runs.preset(agent), **execution})
                for execution in (own, masked, own)
            ]
            runs.live(changed[0], runs.STEPS)
            states = [agent_state(changed[0].agent)]
            for run in changed[1:]:
                restore_agent(run.agent, copy.deepcopy(states[-1]))
                states.append(agent_state(run.agent))
            there, back = dict(flat("", states[0])), dict(flat("", states[2]))
            other = [name for name in differences(there, back) if "means" not in name]
            assert not other, (
                f"saved, loaded under 'masked', saved and loaded again, the agent '{agent}' has "
                f"other {named(other)}"
            )

    def test_agents_learn_under_it(self) -> None:
        own = {"execution": {"name": self.component, **self.options}}
        for agent in runs.AGENTS:
            run = runs.lived(self.plugins, {**runs.preset(agent), **own})
            run.agent.learner.check()
            removed = list(alive_but_removed(run))
            assert not removed, f"the agent '{agent}' has removed weights in {named(removed)}"
