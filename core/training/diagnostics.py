"""When diagnostics and interventions run, and what becomes of what they answer."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from core.agent.randomness import derived_seed, drawing_from
from core.api.diagnostics import Bracketing
from core.api.errors import accusing

if TYPE_CHECKING:
    from numpy import ndarray

    from core.api.diagnostics import AgentView, BatchOptions, Diagnostic
    from core.api.interventions import ChangeableAgent, Intervention


@dataclass
class Findings:
    """What one occasion gave."""

    scalars: dict[str, float] = field(default_factory=dict)
    matrices: dict[str, ndarray[Any, Any]] = field(default_factory=dict)
    failed: dict[str, BaseException] = field(default_factory=dict)
    """Diagnostics that raised; they are not asked again."""
    seconds: float = 0.0
    """Wall time of the diagnostics."""

    def add(self, name: str, measured: Mapping[str, Any]) -> None:
        for key, value in measured.items():
            plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            if getattr(plain, "ndim", 0) == 0:
                self.scalars[f"{name}/{key}"] = float(plain)
            else:
                self.matrices[f"{name}/{key}"] = plain.astype("float32")


@final
class DiagnosticRunner:
    """A run's diagnostics and interventions, each with the frame at which it last ran.

    A diagnostic draws from generators seeded by its name and the frame, and these are put back
    afterwards: what a run measures has no influence on what it does.
    """

    def __init__(
        self,
        diagnostics: Mapping[str, Diagnostic],
        interventions: Iterable[tuple[str, Intervention]],
        seed: int,
        sampled: bool = True,
        asked: Iterable[BatchOptions | None] = (),
    ) -> None:
        """``sampled``: the data source can be drawn from; ``asked``: batches of mask schemes."""
        self.diagnostics = dict(diagnostics)
        """Those that still run, by name."""
        self.interventions = list(interventions)
        self._seed = seed
        self._recent = ("recent",) if sampled else ("recent", "auto")
        self._asked = [*asked, *(intervention.batch for _, intervention in self.interventions)]
        self._measured: dict[str, int] = {}
        self._intervened = [0] * len(self.interventions)
        self._next = 0.0
        """The first frame at which any diagnostic is due: looked at before every update."""

    @functools.cached_property
    def recent(self) -> int:
        """How many of the last transitions are to be kept for it."""
        wanted = [diagnostic.batch for diagnostic in self.diagnostics.values()]
        wanted += self._asked
        return max((b.size for b in wanted if b and b.source in self._recent), default=0)

    def wants_recent(self, frame: int, end: int, frames_each: int) -> bool:
        """Whether transitions collected up to ``frame`` may be the last ones at a measurement.

        Keeping them costs a fast streaming agent 3% of its time, and measurements are rare.
        """
        size = self.recent
        if not size:
            return False
        if any(batch and batch.source in self._recent for batch in self._asked):
            return True
        return frame + size * frames_each >= min(self._next, end)

    # --- diagnostics --------------------------------------------------------------------

    def due(self, frame: int, *, last: bool = False) -> list[str]:
        """The diagnostics to run now, before an update or at the end of the run."""
        if frame < self._next and not last:
            return []
        return [name for name in self.diagnostics if last or self._next_of(name) <= frame]

    def _next_of(self, name: str) -> float:
        """The frame from which a diagnostic is due."""
        if name not in self._measured:
            return 0
        every = self.diagnostics[name].every
        return math.inf if every is None else (self._measured[name] // every + 1) * every

    def measure(
        self, names: Iterable[str], view: AgentView, update: Callable[[], None] | None = None
    ) -> Findings:
        """Measure around ``update``, which is called once, whatever a diagnostic does.

        Those that are due although their transitions are not there yet stay due. Without an
        update, those that compare before with after have nothing to say.
        """
        findings = Findings()
        before: list[str] = []
        after: list[str] = []
        for name in names:
            diagnostic = self.diagnostics[name]
            compares = isinstance(diagnostic, Bracketing)
            if not view.has(diagnostic.batch) or self._measured.get(name) == view.frame:
                continue
            if compares and update is None:
                continue
            self._measured[name] = view.frame
            (after if compares else before).append(name)
        for name in before:
            self._ask(name, "measure", view, findings)
        for name in after:
            self._ask(name, "before_update", view, findings)
        if update is not None:
            update()
        for name in after:
            if name not in findings.failed:
                self._ask(name, "measure", view, findings)
        for name in findings.failed:
            del self.diagnostics[name]
        self._look_ahead()
        return findings

    def _look_ahead(self) -> None:
        self._next = min(map(self._next_of, self.diagnostics), default=math.inf)

    def _ask(self, name: str, method: str, view: AgentView, findings: Findings) -> None:
        started = time.perf_counter()
        try:
            with drawing_from(derived_seed(self._seed, f"diagnostic {name} at {view.frame}")):
                measured = getattr(self.diagnostics[name], method)(view)
            if measured is not None:
                findings.add(name, measured)
        except (Exception, SystemExit) as error:
            findings.failed[name] = error
        seconds = time.perf_counter() - started
        key = f"time/diagnostics/{name}"
        findings.scalars[key] = findings.scalars.get(key, 0.0) + seconds
        findings.seconds += seconds

    # --- interventions ------------------------------------------------------------------

    def intervene(self, view: ChangeableAgent) -> Iterator[dict[str, float]]:
        """Run what is due, in the order of the preset; what each reports, in turn."""
        for index, (name, intervention) in enumerate(self.interventions):
            frame = view.frame
            if not intervention.due(self._intervened[index], frame):
                continue
            if not view.has(intervention.batch):
                continue
            self._intervened[index] = frame
            seed = derived_seed(self._seed, f"intervention {index} {name} at {frame}")
            note = f"in intervention '{name}' at frame {frame}"
            with drawing_from(seed), accusing(intervention, note):
                answer = intervention.intervene(view)
                report = {f"{name}/{key}": float(value) for key, value in answer.items()}
            view.reapply()
            yield report

    def state_dict(self) -> dict[str, Any]:
        return {"measured": dict(self._measured), "intervened": list(self._intervened)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; diagnostics may have come and gone since."""
        self._measured = {k: v for k, v in state["measured"].items() if k in self.diagnostics}
        self._intervened = list(state["intervened"])
        self._look_ahead()
