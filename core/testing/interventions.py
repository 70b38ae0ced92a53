"""Conformance of interventions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from core.agent import state as portable
from core.api.errors import RunStopped
from core.api.layers import dense
from core.testing import runs
from core.testing.examined import ExaminedSuite, Overheard
from core.testing.snapshots import named
from core.training.diagnostics import Examiner

if TYPE_CHECKING:
    from torch import Tensor

    from core.training.experiment import Experiment


class InterventionSuite(ExaminedSuite):
    """Changes the agent at its frames only, and leaves one that can go on learning.

    Two tiny agents are changed, one that learns from replay (SAC) and one that streams (stream
    AC), where the component's needs allow it; both with half of their weights removed.
    """

    kind = "interventions"
    switches: ClassVar[Mapping[str, bool]] = {**ExaminedSuite.switches, "weights": True}
    """``replay``, ``streaming``: it suits such agents. ``sparse``: it gives the same weights
    under every execution backend. ``weights``: it changes weights of these agents."""
    frames: ClassVar[int] = 1_000
    """It is to be due at least once in so many frames, with ``options``."""
    tolerance: ClassVar[float] = 1e-4
    """Of weights between backends, relative to the largest of a parameter."""

    # --- when ---------------------------------------------------------------------------

    def test_is_due_at_some_frame(self) -> None:
        assert self.build().due(0, self.frames), (
            f"with these options it is never due in {self.frames} frames; give 'options' an "
            "earlier frame, or the suite more 'frames'"
        )

    def test_is_due_where_one_of_its_frames_lies_between(self) -> None:
        built = self.build()
        own = [frame for frame in range(1, self.frames + 1) if built.due(frame - 1, frame)]
        near = [frame + step for frame in own for step in (-1, 0, 1)]
        at = sorted({0, self.frames, *near[:30], *range(0, self.frames, self.frames // 7 or 1)})
        for last, frame in itertools.combinations(at, 2):
            wanted, given = any(last < f <= frame for f in own), built.due(last, frame)
            assert bool(given) == wanted, (
                f"step by step it is due at {own[:5]}, but due({last}, {frame}) is {given}: answer "
                "whether one of its frames lies in (last, frame], from the two arguments alone"
            )

    def test_is_not_due_again_at_the_same_frame(self) -> None:
        built = self.build()
        for frame in range(self.frames + 1):
            assert not built.due(frame, frame), (
                f"due({frame}, {frame}) is true: (last, frame] is empty, so it would happen twice"
            )

    def test_asking_when_changes_nothing(self) -> None:
        built, other = self.build(), self.build()
        asked = [(frame, frame + step) for frame in range(0, self.frames, 97) for step in (1, 250)]
        first = [bool(built.due(*pair)) for pair in asked]
        again = [bool(built.due(*pair)) for pair in reversed(asked)][::-1]
        assert first == again == [bool(other.due(*pair)) for pair in asked], (
            "'due' answers another thing when asked again: core remembers when it happened last, "
            "and tells it; keep no counter"
        )

    # --- what ---------------------------------------------------------------------------

    def changed(self, run: Experiment, built: Any = None) -> dict[str, float]:
        """Let it change an agent, as core does; what it reports."""
        name = self.found.name
        step = self.built_for(run) if built is None else built
        probe: Any = run.probe()
        assert probe.has(step.batch), (
            f"'{name}' asks for {step.batch}, which no agent of the suite has gathered; name the "
            "transitions in an option 'batch' of type core.api.BatchOptions"
        )
        examiner = Examiner({}, [(name, _Now(step))], seed=0)
        (report,) = examiner.intervene(probe)
        return report

    def test_says_which_transitions_it_needs(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                built = self.built_for(run)
                self.check_batch(built)
                probe: Any = Overheard(run.probe())
                built.intervene(probe)
                self.check_asked(built, probe.asked)

    def test_reports_finite_numbers(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                self.check_numbers(self.changed(run))

    def test_weights_change(self) -> None:
        self.require("weights")
        for agent in self.suited:
            with self.lent(agent) as run:
                before = weights(run)
                self.changed(run)
                after = weights(run)
                assert any(not torch.equal(before[name], after[name]) for name in before), (
                    f"no weight of the agent '{agent}' changed; choose 'options' with which it "
                    "does something, or say capabilities = {'weights': False}"
                )

    def test_removed_weights_stay_exactly_zero(self) -> None:
        for agent in self.suited:
            for execution in self.executions:
                with self.lent(agent, execution) as run:
                    self.changed(run)
                    removed = list(alive_but_removed(run))
                    assert not removed, (
                        f"removed weights of {named(removed)} are not zero afterwards; write "
                        "weights with core.api.assign_dense and zero them by Probe.masks, in "
                        "target networks too"
                    )

    def test_parameters_change_in_place(self) -> None:
        for agent in self.suited:
            for execution in self.executions:
                with self.lent(agent, execution) as run:
                    before = _parameters(run)
                    self.changed(run)
                    after = _parameters(run)
                    replaced = [name for name in before if before[name] is not after.get(name)]
                    assert not replaced, (
                        f"{named(replaced)} are other nn.Parameters than before: optimizers go on "
                        "moving the old ones; copy into the tensors that are there"
                    )

    def test_optimizer_state_fits_its_parameters(self) -> None:
        for agent in self.suited:
            for execution in self.executions:
                with self.lent(agent, execution) as run:
                    before = _slots(run)
                    self.changed(run)
                    for name, shape in _slots(run).items():
                        assert before.get(name, shape) == shape, (
                            f"what an optimizer remembers, {name}, was {list(before[name])} and is "
                            f"{list(shape)} now; zero it in place, or drop the entry"
                        )

    def test_learning_goes_on(self) -> None:
        for agent in self.suited:
            for execution in self.executions:
                with self.lent(agent, execution) as run:
                    self.changed(run)
                    before = weights(run)
                    try:
                        runs.live(run, 100, updates=5)
                        run.agent.learner.check()
                    except RunStopped as error:
                        raise AssertionError(f"learning stops after it: {error}") from error
                    after = weights(run)
                    stuck = all(torch.equal(before[name], after[name]) for name in before)
                    assert not stuck, "no weight moves in the updates after it"
                    for name, weight in after.items():
                        assert bool(weight.isfinite().all()), f"'{name}' is not finite afterwards"
                    removed = list(alive_but_removed(run))
                    assert not removed, (
                        f"after 5 updates removed weights of {named(removed)} live: zero what "
                        "optimizers remember of them"
                    )

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                self.changed(run)
                first = weights(run)
            with self.lent(agent) as run:
                self.changed(run)
                second = weights(run)
            other = [name for name in first if not torch.equal(first[name], second[name])]
            assert not other, (
                f"done twice to the same agent, {named(other)} differ: draw from torch's, NumPy's "
                "or Python's global generators only, which core seeds"
            )

    def test_weights_are_the_same_under_sparse_execution(self) -> None:
        self.require("sparse")
        for agent in self.suited:
            with self.lent_twice(agent) as (masked, sparse):
                self.changed(masked)
                self.changed(sparse)
                one, two = weights(masked), weights(sparse)
                for name, weight in one.items():
                    size = float(weight.abs().max()) if weight.numel() else 0.0
                    close = torch.allclose(two[name], weight, rtol=0, atol=self.tolerance * size)
                    assert close, (
                        f"'{name}' of the agent '{agent}' is another where only kept weights are "
                        "stored; see and write weights through core.api.dense and assign_dense"
                    )


class _Now:
    """An intervention that is due whenever it is asked."""

    def __init__(self, step: Any) -> None:
        self._step = step
        self.batch = step.batch
        self.intervene = step.intervene

    def due(self, last: int, frame: int) -> bool:
        return True


def _networks(run: Experiment) -> Iterator[tuple[str, str, torch.nn.Module]]:
    """``(role, name in the loss, module)`` of every network and of its copies."""
    roles = portable.prefixes(run.agent.loss, run.agent.parts.modules)
    for name, role in roles.items():
        yield role, name, run.agent.loss.get_submodule(name)


def weights(run: Experiment) -> dict[str, Tensor]:
    """Copies of all parameters of the networks and their targets, in dense form."""
    return {
        f"{path}.{name}": dense(module, name).detach().clone()
        for _, path, module in _networks(run)
        for name, _ in module.named_parameters()
    }


def alive_but_removed(run: Experiment) -> Iterator[str]:
    """Parameters with a weight that masks remove and that is not exactly zero."""
    found = weights(run)
    for role, path, _ in _networks(run):
        for name, mask in run.agent.masks.masks.get(role, {}).items():
            if bool(found[f"{path}.{name}"][~mask].any()):
                yield f"{path}.{name}"


def _parameters(run: Experiment) -> dict[str, torch.nn.Parameter]:
    found: dict[str, torch.nn.Parameter] = dict(run.agent.loss.named_parameters())
    for step in run.agent.learner.steps:
        if step.optimizer is not None:
            held = (p for group in step.optimizer.param_groups for p in group["params"])
            found |= {f"the optimizer of {step.phase.name}, {i}": p for i, p in enumerate(held)}
    return found


def _slots(run: Experiment) -> dict[str, torch.Size]:
    """Shape of everything that optimizers remember."""
    names = {id(p): name for name, p in run.agent.loss.named_parameters()}
    return {
        f"'{key}' of {names.get(id(parameter), '?')}": value.shape
        for step in run.agent.learner.steps
        if step.optimizer is not None
        for parameter, state in step.optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
