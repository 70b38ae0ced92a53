"""Conformance of interventions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from core.api.errors import RunStopped
from core.training.diagnostics import DiagnosticRunner
from plugins.testing.harness import agents, runs
from plugins.testing.harness.analysis import AnalysisSuite
from plugins.testing.harness.snapshots import differences, named

if TYPE_CHECKING:
    from core.training.experiment import Experiment


class InterventionSuite(AnalysisSuite):
    """Changes the agent at its frames only, and leaves one that can go on learning.

    Two tiny agents are changed, one that learns from replay (SAC) and one that streams (stream
    AC), where the component's needs allow it; both with half of their weights removed.
    """

    kind = "interventions"
    switches: ClassVar[Mapping[str, bool]] = {**AnalysisSuite.switches, "weights": True}
    """``replay``, ``streaming``: it suits such agents. ``sparse``: it gives the same weights
    under every execution backend. ``weights``: it changes weights of these agents."""
    frames: ClassVar[int] = 1_000
    """It is to be due at least once in so many frames, with ``options``."""
    tolerance: ClassVar[float] = 1e-4
    """Of weights between backends, relative to the largest of a parameter."""

    def changed(self, run: Experiment) -> dict[str, float]:
        """Let it change an agent, as core does; what it reports."""
        step, probe = self.built_for(run), run.view()
        self.check_gathered(probe, step)
        now: Any = SimpleNamespace(batch=step.batch, intervene=step.intervene, due=lambda *_: True)
        (report,) = DiagnosticRunner({}, [(self.found.name, now)], seed=0).intervene(probe)
        return report

    # --- when ---------------------------------------------------------------------------

    def test_is_due_at_its_frames(self) -> None:
        built, again = self.build(), self.build()
        assert built.due(0, self.frames), (
            f"with these options it is never due in {self.frames} frames; give 'options' an "
            "earlier frame, or the suite more 'frames'"
        )
        own = [frame for frame in range(1, self.frames + 1) if built.due(frame - 1, frame)]
        near = [frame + step for frame in own for step in (-1, 0, 1)]
        at = sorted({0, self.frames, *near[:30], *range(0, self.frames, self.frames // 7 or 1)})
        for last, frame in itertools.combinations_with_replacement(at, 2):
            wanted, given = any(last < f <= frame for f in own), built.due(last, frame)
            assert bool(given) == wanted == bool(again.due(last, frame)), (
                f"step by step it is due at {own[:5]}, but due({last}, {frame}) is {given}: answer "
                "whether one of its frames lies in (last, frame], from the two arguments alone"
            )

    # --- what ---------------------------------------------------------------------------

    def test_says_what_it_needs_and_did(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                self.check_batch(self.built_for(run))
                before = agents.weights(run.agent)
                self.check_numbers(self.changed(run))
                moved = differences(before, agents.weights(run.agent))
                assert moved or not self.capable("weights"), (
                    f"no weight of the agent '{agent}' changed; choose 'options' with which it "
                    "does something, or say capabilities = {'weights': False}"
                )

    def test_learning_goes_on_and_removed_weights_stay_zero(self) -> None:
        for agent, execution in self.cases:
            with self.lent(agent, execution) as run:
                parameters = dict(run.agent.loss.named_parameters())
                self.changed(run)
                there = dict(run.agent.loss.named_parameters())
                replaced = [name for name in parameters if parameters[name] is not there.get(name)]
                assert not replaced, (
                    f"{named(replaced)} are other nn.Parameters than before: optimizers go on "
                    "moving the old ones; copy into the tensors that are there"
                )
                agents.assert_removed_stay_zero(run.agent)
                before = agents.weights(run.agent)
                try:
                    runs.live(run, 100, updates=5)
                    run.agent.learner.check()
                except (RunStopped, RuntimeError) as error:
                    raise AssertionError(f"learning stops after it: {error}") from error
                moved = differences(before, agents.weights(run.agent))
                assert moved, "no weight moves in the updates after it"
                agents.assert_removed_stay_zero(run.agent)

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        for agent in self.suited:
            found = []
            for _ in range(2):
                with self.lent(agent) as run:
                    self.changed(run)
                    found.append(agents.weights(run.agent))
            other = differences(found[0], found[1])
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
                one, two = agents.weights(masked.agent), agents.weights(sparse.agent)
                for name, weight in one.items():
                    assert agents.apart(weight, two[name]) <= self.tolerance, (
                        f"'{name}' of the agent '{agent}' is another where only kept weights are "
                        "stored; see and write weights through core.api.dense and assign_dense"
                    )
