"""What holds for every algorithm: a loss with its networks, targets and phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api.environments import EnvironmentSpec
from core.api.errors import UserError
from core.api.execution import ExecutionContext
from core.api.losses import Fusable, Inspectable, LossContext, Phase
from core.api.networks import NetworkContext
from plugins.testing.harness import agents, learned
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.host_reads import host_reads
from plugins.testing.suites.component import ComponentSuite

UPDATES = 50


class LossSuite(ComponentSuite):
    """Checks of an algorithm, in a tiny agent that learns from made-up transitions."""

    kind = "losses"
    switches: ClassVar[Mapping[str, bool]] = {
        "learns": True,
        "confined": True,
        "masks": True,
        "host_free": True,
    }
    """``learns``: what ``falling`` names falls on a fixed batch. ``confined``: continuous actions
    lie in [-1, 1]. ``masks``: its networks can be pruned. ``host_free``: an update reads no number
    on the host, on a CPU either."""
    agent: ClassVar[str] = "replay"
    """The tiny agent whose other parts it is tried with: ``replay`` (SimBa, AdamW), ``pixels``
    (DrQ-v2's networks, Adam) or ``streaming`` (Stream-X's networks, ObGD)."""
    nodes: ClassVar[Mapping[str, Any]] = {}
    """Nodes of that agent's preset to replace, such as ``network``."""
    spec: ClassVar[EnvironmentSpec | None] = None
    """The environment; None: the tiny agent's."""
    falling: ClassVar[Sequence[str]] = ()
    """The phases whose objective is lower after 50 updates on one batch; with eligibility traces,
    whose TD error is smaller. Empty: the last that has an optimizer."""

    # --- for the checks -----------------------------------------------------------------

    @property
    def environment(self) -> EnvironmentSpec:
        """The environment that there is not."""
        return self.spec or agents.SPECS[self.agent]

    def context(self) -> LossContext:
        node = dict(agents.preset(self.agent, **self.nodes)["network"])
        plugins, spec = self.plugins, self.environment
        context = NetworkContext(spec)
        networks = offered.build(plugins, "networks", node.pop("name"), node, context)
        execution = offered.build(plugins, "execution", "masked", {}, ExecutionContext(agents.CPU))
        parts = MaskedNetworks(networks, MaskSet(0), (), execution, agents.CPU)
        return LossContext(spec, parts, agents.CPU)

    def run(self, *, fuse: bool = False, **nodes: Any) -> TinyRun:
        """A fresh agent with the loss."""
        loss = {"name": self.component, **self.options}
        values = agents.preset(self.agent, **{**self.nodes, "loss": loss, **nodes})
        try:
            return TinyRun(self.plugins, values, self.environment, fuse=fuse)
        except UserError as error:
            raise AssertionError(
                f"{error}\nno agent can be made with it; choose another 'agent', 'spec' or 'nodes'"
            ) from None

    # --- phases -------------------------------------------------------------------------

    def test_phases_have_names_of_their_own(self) -> None:
        phases = self.run().loss.phases
        names = [phase.name for phase in phases]
        assert names, "a loss without phases learns nothing: list them in 'phases'"
        assert all(isinstance(phase, Phase) for phase in phases), "phases are core.api.Phase"
        assert len(set(names)) == len(names), f"two phases have one name: {', '.join(names)}"

    def test_phases_move_parts_of_the_loss(self) -> None:
        run = self.run()
        own = {id(module) for module in run.loss.modules()}
        for phase in run.loss.phases:
            for module in phase.modules:
                assert id(module) in own, (
                    f"phase '{phase.name}' moves a {type(module).__name__} that is not the loss's: "
                    "assign it to an attribute of the loss, or checkpoints lack it"
                )
                assert any(p.requires_grad for p in module.parameters()), (
                    f"phase '{phase.name}' is to move a {type(module).__name__} without parameters"
                )

    def test_every_parameter_is_moved_by_one_phase(self) -> None:
        run = self.run()
        moved = [id(p) for step in run.agent.learner.steps for p in step.parameters]
        twice = {p for p in moved if moved.count(p) > 1}
        named = {id(p): name for name, p in run.loss.named_parameters()}
        assert not twice, f"two phases move {', '.join(named[p] for p in twice)}"
        targets = {id(p) for target in learned.targets(run) for p in target.parameters()}
        idle = [
            name
            for name, p in run.loss.named_parameters()
            if p.requires_grad and id(p) not in {*moved, *targets}
        ]
        assert not idle, (
            f"no phase moves {', '.join(idle)}: add them to a phase's modules, or, for a target, "
            "call requires_grad_(False)"
        )

    def test_every_phase_moves_its_parameters(self) -> None:
        run = self.run()
        before = {n: p.detach().clone() for n, p in run.loss.named_parameters()}
        run.advance(5)
        names = {id(p): name for name, p in run.loss.named_parameters()}
        for step in run.agent.learner.steps:
            moved = [not torch.equal(p.detach(), before[names[id(p)]]) for p in step.parameters]
            assert not moved or any(moved), (
                f"five updates leave the parameters of phase '{step.phase.name}' as they were: "
                "does its objective depend on them?"
            )

    def test_learns_from_one_batch(self) -> None:
        self.require("learns")
        run = self.run()
        batch = run.batch(0)
        phases = [step.phase.name for step in run.agent.learner.steps if step.parameters]
        for name in self.falling or phases[-1:]:
            assert name in phases, f"'falling' names '{name}'; phases are {', '.join(phases)}"
        before = learned.objectives(run, batch)
        run.advance(UPDATES, batch)
        after = learned.objectives(run, batch)
        for name in self.falling or phases[-1:]:
            assert after[name] < before[name], (
                f"'{name}' went from {before[name]:.4g} to {after[name]:.4g} in {UPDATES} updates "
                "on one batch: is a sign wrong? Name the phases that are to fall in 'falling', or "
                "say capabilities = {'learns': False}"
            )

    def test_terminations_cut_the_future_off(self) -> None:
        found = []
        for step in (1, 2):
            run = self.run()
            batch = run.batch(0)
            following = batch["next"]
            following["observation"] = run.batch(step)["next", "observation"]
            for flag in ("done", "terminated"):
                following[flag] = torch.ones_like(following[flag])
            following["truncated"] = torch.zeros_like(following["truncated"])
            following["discount"] = torch.zeros_like(following["discount"])
            found.append(learned.objectives(run, batch))
        assert found[0] == found[1], (
            "where all transitions are terminations (discount 0), objectives depend on what "
            "follows: multiply what is bootstrapped by batch['next', 'discount']"
        )

    def test_says_how_rewards_are_summed(self) -> None:
        returns = self.run().loss.returns
        assert 0 <= returns.gamma <= 1, f"returns.gamma is {returns.gamma}, not in [0, 1]"
        assert returns.n_step >= 1, f"returns.n_step is {returns.n_step}, less than 1"
        needs = self.found.needs
        stated = needs(self.made_options()) if callable(needs) else needs
        assert returns.n_step == 1 or "n-step returns" in stated, (
            "with n_step above 1 the loss needs 'n-step returns': say so in 'needs'"
        )

    def test_metrics_are_finite_scalars(self) -> None:
        run = self.run()
        for step in range(3):
            for name, value in run.agent.learner.step(run.batch(step)).items():
                scalar = isinstance(value, torch.Tensor) and value.dim() == 0
                assert scalar, f"metric '{name}' is to be a 0-d tensor, got {value!r:.60}"
                assert not value.requires_grad, f"metric '{name}' has a graph: detach it"
                assert bool(value.isfinite()), f"metric '{name}' is {value.item()}"

    def test_batches_stay_as_they_are(self) -> None:
        run = self.run()
        for step in range(2):
            batch = run.batch(step)
            before = batch.clone()
            run.agent.learner.step(batch)
            changed = learned.differences(before, batch)
            assert not changed, (
                f"an update writes into its batch ({', '.join(changed)}), which the data source "
                "still holds: make new tensors"
            )

    def test_reads_nothing_on_the_host(self) -> None:
        self.require("host_free")
        run = self.run()
        run.advance(2)
        with host_reads() as found:
            run.loss.set_progress(100)
            shared = run.loss.prepare(run.batch(3))
            for phase in run.loss.phases:
                phase.run(shared)
                if phase.step is not None:
                    phase.step(shared)
        assert not found, (
            f"an update reads numbers on the host ({', '.join(found)}), which waits for a GPU: "
            "keep to tensors (torch.where instead of if), or, where it does so on a CPU alone, say "
            "capabilities = {'host_free': False}"
        )

    # --- acting -------------------------------------------------------------------------

    def test_acts(self) -> None:
        run, spec = self.run(), self.environment
        shape = () if spec.discrete else (spec.action,)
        for count in (1, 5):
            for explore in (True, False):
                seen = agents.observations(spec, count, seed=1)
                run.loss.observe(seen[: run.config.count], torch.ones(run.config.count).bool())
                action = run.loss.act(seen, explore=explore)
                assert action.shape == (count, *shape), (
                    f"act() answers {list(action.shape)} for {count} observations; it is to be "
                    f"{[count, *shape]}"
                )
                wanted = torch.int64 if spec.discrete else torch.float32
                assert action.dtype is wanted, f"actions are {action.dtype}, not {wanted}"
                assert not action.requires_grad, "act() leaves a graph: put it in torch.no_grad()"
                self._assert_in_range(action)

    def _assert_in_range(self, action: torch.Tensor) -> None:
        low, high = float(action.min()), float(action.max())
        if self.environment.discrete:
            fits = low >= 0 and high < self.environment.action
            assert fits, f"actions are to be among 0 to {self.environment.action - 1}"
        elif self.capable("confined"):
            assert -1 <= low <= high <= 1, (
                f"actions reach from {low:.3g} to {high:.3g}, not in [-1, 1]; if the environment "
                "is to clip them, say capabilities = {'confined': False}"
            )

    def test_acts_alike_without_exploring(self) -> None:
        run = self.run()
        seen = agents.observations(self.environment, 5, seed=1)
        acts = [run.loss.act(seen, explore=False) for _ in range(2)]
        assert torch.equal(*acts), "act(explore=False) draws: take the mean or the best action"

    # --- state --------------------------------------------------------------------------

    def test_goes_on_alike_from_a_checkpoint(self) -> None:
        whole, first, second = (self.run(fuse=True) for _ in range(3))
        whole.advance(2 * 10)
        first.advance(10)
        second.load_state_dict(learned.through_a_file(first.state_dict()))
        second.advance(10)
        wrong = learned.differing_states(whole.state_dict(), second.state_dict())
        assert not wrong, (
            f"an agent that was saved, loaded into a new one and continued differs in "
            f"{', '.join(wrong)}: hold all state as parameters, buffers or get_extra_state()"
        )

    def test_works_with_masks(self) -> None:
        self.require("masks")
        masks = [{"name": "uniform", "sparsity": 0.5, "counted": "kernels"}]
        for backend in ("masked", "sparse"):
            run = self.run(fuse=True, masks=masks, execution={"name": backend})
            run.advance(10)
            learned.assert_removed_stay_zero(run.agent)

    def test_one_call_does_what_the_phases_do(self) -> None:
        fused = self.run(fuse=True)
        if (
            not isinstance(fused.loss, Fusable)
            or fused.agent.learner._run == fused.agent.learner.step
        ):
            self.skip("there is no fuse(), or it is not for this agent")
        plain = self.run()
        for run in (fused, plain):
            run.advance(10)
        wrong = learned.differing_states(
            plain.loss.state_dict(), fused.loss.state_dict(), within=1e-4
        )
        assert not wrong, f"after ten updates by fuse() these differ: {', '.join(wrong)}"

    # --- inspection ---------------------------------------------------------------------

    def test_can_be_looked_into(self) -> None:
        if "inspection" not in self.found.provides:
            self.skip("it does not provide 'inspection'")
        run = self.run()
        inspectable = isinstance(run.loss, Inspectable)
        assert inspectable, "it provides 'inspection' but lacks examine(), predict() or targets"
        run.advance(3)
        before = learned.through_a_file(run.loss.state_dict())
        batch = agents.transitions(self.environment, 6, 50, run.gamma)
        found = run.loss.examine(batch)
        wrong = learned.differing_states(before, run.loss.state_dict())
        assert not wrong, f"examine() changes {', '.join(wrong)}, statistics included it must not"
        problems = list(learned.examined_problems(run, found))
        assert not problems, "; ".join(problems)
