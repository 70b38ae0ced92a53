"""What the suites of diagnostics and of interventions share: the agents that they look at."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from core.api.diagnostics import BatchOptions, DiagnosticContext
from plugins.testing.harness import runs
from plugins.testing.suites.component import ComponentSuite

if TYPE_CHECKING:
    from core.training.experiment import Experiment

MASKED, SPARSE = {"execution": {"name": "masked"}}, {"execution": {"name": "sparse"}}
KEY = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


class AnalysisSuite(ComponentSuite):
    """A component that is asked about an agent in training, and stands in a list of the preset."""

    preset: ClassVar[Mapping[str, Any]] = {}
    """Changes of the tiny agents' presets (``AGENTS`` of ``plugins.testing.harness.runs``), where
    the component needs something that they have not: another loss, say."""
    switches: ClassVar[Mapping[str, bool]] = {"replay": True, "streaming": True, "sparse": True}

    def values(self, agent: str, *changes: Mapping[str, Any]) -> dict[str, Any]:
        """The preset of one of the agents, without the component."""
        return runs.preset(agent, self.preset, *changes)

    @property
    def suited(self) -> list[str]:
        """The agents whose presets may name the component."""
        reasons = {
            agent: runs.unsuited(
                self.plugins, self.values(agent), self.kind, self.component, self.options
            )
            for agent in runs.AGENTS
            if self.capable(agent)
        }
        found = [agent for agent, reason in reasons.items() if not reason]
        listing = "\n".join(f"{agent}: {reason}" for agent, reason in reasons.items())
        assert found, (
            f"no agent of the suite brings what '{self.component}' needs; mend 'needs', or bring "
            f"it by 'preset', changes of the agents' presets\n{listing}"
        )
        return found

    @property
    def cases(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every agent that it suits under every backend that the component is tried under."""
        executions = [MASKED, SPARSE] if self.capable("sparse") else [MASKED]
        yield from ((agent, execution) for agent in self.suited for execution in executions)

    def context(self) -> DiagnosticContext:
        with self.lent(self.suited[0]) as run:
            return self.context_of(run)

    @staticmethod
    def context_of(run: Experiment) -> DiagnosticContext:
        """What a component is built from for this agent."""
        agent = run.agent
        gamma = agent.loss.returns.gamma
        return DiagnosticContext(agent.spec, agent.loss, dict(agent.parts.modules), gamma)

    def built_for(self, run: Experiment) -> Any:
        """The component, built for this agent."""
        return self.found.build(self.made_options(), self.context_of(run))

    def steps(self, agent: str) -> int:
        """Agent steps after which the transitions that the component asks for are there."""
        batch = getattr(self.made_options(), "batch", None)
        gathered = isinstance(batch, BatchOptions) and (
            agent != "replay" or batch.source == "recent"
        )
        return max(runs.STEPS, batch.size) if gathered and batch else runs.STEPS

    def lent(self, agent: str, *changes: Mapping[str, Any]) -> AbstractContextManager[Experiment]:
        """An agent that has lived a little, to look at; what is done to it is undone."""
        return runs.borrowed(self.plugins, self.values(agent, *changes), self.steps(agent))

    @contextmanager
    def lent_twice(self, agent: str) -> Iterator[tuple[Experiment, Experiment]]:
        """The same agent, dense weights held at zero and kept weights alone, on the same data."""
        from core.agent.state import agent_state, restore_agent

        with self.lent(agent, MASKED) as masked, self.lent(agent, SPARSE) as sparse:
            restore_agent(sparse.agent, agent_state(masked.agent))
            data, recent = sparse.data, sparse.recent
            sparse.data, sparse.recent = masked.data, masked.recent
            try:
                yield masked, sparse
            finally:
                sparse.data, sparse.recent = data, recent

    # --- checks that both have ----------------------------------------------------------

    def check_batch(self, built: Any) -> None:
        """``batch`` is what it says, and the component's ``needs`` go with it."""
        batch = built.batch
        assert batch is None or isinstance(batch, BatchOptions), (
            f"'batch' is to be core.api.BatchOptions or None, got {batch!r}"
        )
        missing = set() if batch is None else {"inspection", *batch.needs} - self.needs
        assert not missing, (
            f"it looks at transitions ({batch}), so its component must need {sorted(missing)}: "
            "else a preset in which nothing provides it is not refused"
        )

    def check_gathered(self, probe: Any, built: Any) -> None:
        """The transitions that it asks for are there."""
        assert probe.has(built.batch), (
            f"'{self.component}' asks for {built.batch}, which no agent of the suite has gathered; "
            "name the transitions in an option 'batch' of type core.api.BatchOptions"
        )

    def check_numbers(self, numbers: Mapping[str, float]) -> None:
        """Named by words, and finite."""
        for key, value in numbers.items():
            assert KEY.fullmatch(key), (
                f"the number's name {key!r} is to be words of letters, digits and ._+- with '/' "
                "between them, as metrics.jsonl, logs and pictures name it"
            )
            assert math.isfinite(value), (
                f"'{key}' is {value}; leave a number out where it has no meaning"
            )
