"""What holds for every algorithm: a loss with its networks, targets and phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.agent.randomness import seed_everything
from core.api.environments import EnvironmentSpec
from core.api.errors import UserError
from core.api.execution import ExecutionContext
from core.api.losses import Inspectable, LossContext
from core.api.networks import NetworkContext
from plugins.testing.harness import agents
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.snapshots import differences, flat, named, through_a_file
from plugins.testing.harness.watching import host_reads
from plugins.testing.suites.component import ComponentSuite

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from core.api.losses import AnalysisBatch

UPDATES = 50


class LossSuite(ComponentSuite):
    """Checks of an algorithm, in a tiny agent that learns from made-up transitions."""

    kind = "losses"
    switches: ClassVar[Mapping[str, bool]] = dict.fromkeys(
        ("learns", "confined", "masks", "host_free"), True
    )
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
            told = "no agent can be made with it; choose another 'agent', 'spec' or 'nodes'"
            raise AssertionError(f"{error}\n{told}") from None

    # --- phases -------------------------------------------------------------------------

    def test_every_parameter_is_moved_by_one_phase(self) -> None:
        run = self.run()
        own, names = {id(module) for module in run.loss.modules()}, []
        for phase in run.loss.phases:
            assert phase.name not in names, f"two phases have one name: {phase.name}"
            names.append(phase.name)
            for module in phase.modules:
                assert id(module) in own, (
                    f"phase '{phase.name}' moves a {type(module).__name__} that is not the loss's: "
                    "assign it to an attribute of the loss, or checkpoints lack it"
                )
        parameters = dict(run.loss.named_parameters())
        before, steps = flat(parameters), run.agent.learner.steps
        moved = [id(p) for step in steps for p in step.parameters]
        twice = [name for name, p in parameters.items() if moved.count(id(p)) > 1]
        assert not twice, f"two phases move {named(twice)}"
        idle = [n for n, p in parameters.items() if p.requires_grad and id(p) not in moved]
        assert not idle, (
            f"no phase moves {named(idle)}: add them to a phase's modules, or, for a target, "
            "call requires_grad_(False)"
        )
        run.advance(5)
        changed = {id(parameters[name]) for name in differences(before, parameters)}
        for step in steps:
            assert not step.parameters or {id(p) for p in step.parameters} & changed, (
                f"five updates leave the parameters of phase '{step.phase.name}' as they were: "
                "does its objective depend on them?"
            )

    def test_learns_from_one_batch(self) -> None:
        self.require("learns")
        run = self.run()
        batch = run.batch(0)
        phases = [step.phase.name for step in run.agent.learner.steps if step.parameters]
        before = _objectives(run, batch)
        run.advance(UPDATES, batch)
        after = _objectives(run, batch)
        for name in self.falling or phases[-1:]:
            assert name in phases, f"'falling' names '{name}'; phases are {', '.join(phases)}"
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
            for key, value in (("done", 1), ("terminated", 1), ("truncated", 0), ("discount", 0)):
                following[key] = torch.full_like(following[key], value)
            found.append(_objectives(run, batch))
        assert found[0] == found[1], (
            "where all transitions are terminations (discount 0), objectives depend on what "
            "follows: multiply what is bootstrapped by batch['next', 'discount']"
        )

    def test_says_how_rewards_are_summed(self) -> None:
        returns = self.run().loss.returns
        right = 0 <= returns.gamma <= 1 and returns.n_step >= 1
        assert right, f"'returns' is to have gamma in [0, 1] and n_step from 1 on, got {returns}"
        assert returns.n_step == 1 or "n-step returns" in self.needs, (
            "with n_step above 1 the loss needs 'n-step returns': say so in 'needs'"
        )

    def test_an_update_gives_scalars_and_leaves_its_batch(self) -> None:
        run = self.run()
        for step in range(3):
            batch = run.batch(step)
            before = flat(batch.to_dict())
            for name, value in run.agent.learner.step(batch).items():
                scalar = isinstance(value, torch.Tensor) and value.dim() == 0
                assert scalar, f"metric '{name}' is to be a 0-d tensor, got {value!r:.60}"
                assert not value.requires_grad, f"metric '{name}' has a graph: detach it"
                assert bool(value.isfinite()), f"metric '{name}' is {value.item()}"
            changed = differences(before, batch.to_dict())
            assert not changed, f"an update writes into its batch ({named(changed)}): copy it"

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
        dtype = torch.int64 if spec.discrete else torch.float32
        low, high = (0, spec.action - 1) if spec.discrete else (-1, 1)
        for count, explore in ((1, True), (1, False), (5, True), (5, False)):
            seen = agents.observations(spec, count, seed=1)
            run.loss.observe(seen[: run.config.count], torch.ones(run.config.count).bool())
            action = run.loss.act(seen, explore=explore)
            assert (action.shape, action.dtype) == ((count, *shape), dtype), (
                f"act() answers {list(action.shape)} {action.dtype} for {count} observations; it "
                f"is to be {[count, *shape]} {dtype}"
            )
            assert not action.requires_grad, "act() leaves a graph: put it in torch.no_grad()"
            inside = low <= float(action.min()) <= float(action.max()) <= high
            assert inside or not (spec.discrete or self.capable("confined")), (
                f"actions are not in [{low}, {high}]; if the environment is to clip them, say "
                "capabilities = {'confined': False}"
            )
            same = explore or torch.equal(action, run.loss.act(seen, explore=False))
            assert same, "act(explore=False) draws: take the mean or the best action"

    # --- state --------------------------------------------------------------------------

    def test_goes_on_alike_from_a_checkpoint(self) -> None:
        whole, first, second = (self.run(fuse=True) for _ in range(3))
        whole.advance(2 * 10)
        first.advance(10)
        second.load_state_dict(through_a_file(first.state_dict()))
        second.advance(10)
        wrong = differences(whole.state_dict(), second.state_dict())
        assert not wrong, (
            f"an agent that was saved, loaded into a new one and continued differs in "
            f"{named(wrong)}: hold all state as parameters, buffers or get_extra_state()"
        )

    def test_removed_weights_stay_zero(self) -> None:
        self.require("masks")
        for backend in ("masked", "sparse"):
            run = self.run(fuse=True, masks=agents.HALVED, execution={"name": backend})
            run.advance(10)
            agents.assert_removed_stay_zero(run.agent)

    # --- inspection ---------------------------------------------------------------------

    def test_can_be_looked_into(self) -> None:
        if "inspection" not in self.found.provides:
            self.skip("it does not provide 'inspection'")
        run = self.run()
        inspectable = isinstance(run.loss, Inspectable)
        assert inspectable, "it provides 'inspection' but lacks analyse(), predict() or targets"
        run.advance(3)
        before = flat(run.loss.state_dict())
        found = run.loss.analyse(agents.transitions(self.environment, 6, 50, run.gamma))
        wrong = differences(before, run.loss.state_dict())
        assert not wrong, f"analyse() changes {named(wrong)}, statistics included it must not"
        problems = list(_examined_problems(run, found))
        assert not problems, "; ".join(problems)


def _objectives(run: TinyRun, batch: TensorDictBase) -> dict[str, float]:
    """Each phase's objective on a batch, the same draws every time, by name.

    Of a phase with eligibility traces, the mean square of its TD errors. No weight is moved.
    """
    seed_everything(5)
    shared = run.loss.prepare(batch)
    found = {}
    for phase in run.loss.phases:
        objective, _ = phase.run(shared) if phase.modules else (None, {})
        if objective is not None:
            errors = None if phase.step is None else phase.step(shared)["delta"]
            found[phase.name] = float(
                (objective if errors is None else errors.square().mean()).detach()
            )
    return found


def _examined_problems(run: TinyRun, found: AnalysisBatch) -> Iterator[str]:
    """What is wrong with what a loss shows of a batch."""
    networks, rows = run.agent.parts.modules, len(found.observation)
    yield from (f"analyse() gives no '{n}'" for n in {"reward", "discount"} - {*found.batch})
    for name, value in found.batch.items():
        if value.requires_grad or value.shape[:1] != (rows,):
            yield f"'{name}' of an analysed batch has a graph, or is not [{rows}, ...]"
    for role in {*found.inputs, *run.loss.targets} - {*networks}:
        yield f"'inputs' or 'targets' has '{role}', which is no network of the agent"
    for role, network in networks.items():
        network(*found.inputs[role])
    values = run.loss.predict(found.batch)
    if values.dim() != 2 or values.shape[1] != rows:
        yield f"predict() answers {list(values.shape)}, not [members, {rows}]"
        return
    part = run.loss.predict({name: value[:2] for name, value in found.batch.items()})
    if not torch.allclose(part, values[:, :2], atol=1e-5, rtol=1e-4):
        yield "predict() of a slice of a batch is not a slice of its answer"
