"""Conformance of diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from core.api.diagnostics import Bracketing
from core.training.diagnostics import DiagnosticRunner, Findings
from plugins.testing.harness import runs
from plugins.testing.harness.analysis import AnalysisSuite
from plugins.testing.harness.snapshots import differences, named, snapshot

if TYPE_CHECKING:
    from core.training.experiment import Experiment


class DiagnosticSuite(AnalysisSuite):
    """Measures finite numbers, changes nothing, and says when and of what it measures.

    Two tiny agents are measured, one that learns from replay (SAC) and one that streams (stream
    AC), where the component's needs allow it; both with half of their weights removed.
    """

    kind = "diagnostics"
    switches: ClassVar[Mapping[str, bool]] = {
        **AnalysisSuite.switches,
        "same_names": True,
    }
    """``replay``, ``streaming``: it suits such agents. ``sparse``: removed weights count for
    nothing, so that numbers are the same under every execution backend. ``same_names``: it gives
    the same names at every measurement."""
    tolerance: ClassVar[float] = 1e-3
    """Of numbers between backends, relative to the largest of their kind."""

    def measured(
        self, run: Experiment, update: Callable[[], None] | None = None, diagnostic: Any = None
    ) -> Findings:
        """What it measures of an agent as it is now, asked as core asks."""
        name = self.found.name
        built = self.built_for(run) if diagnostic is None else diagnostic
        probe: Any = run.view()
        self.check_gathered(probe, built)
        runner = DiagnosticRunner({name: built}, [], seed=0)
        # one that compares before with after is asked about an update that changes nothing
        found = runner.measure([name], probe, update or (lambda: None))
        for error in found.failed.values():
            raise AssertionError(f"it raises {type(error).__name__}: {error}") from error
        found.scalars.pop(f"time/diagnostics/{name}", None)
        return found

    def test_says_when_and_of_what_it_measures(self) -> None:
        built = self.build()
        right = built.every is None or (isinstance(built.every, int) and built.every > 0)
        assert right, f"'every' is to be None or environment frames, at least 1; got {built.every}"
        self.check_batch(built)

    def test_measures_the_same_finite_numbers(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                built = self.built_for(run)
                found = self.measured(run, diagnostic=built)
                assert found.scalars or found.matrices, (
                    f"it measured nothing of the agent '{agent}'; 'measure' returns numbers by name"
                )
                self.check_numbers(found.scalars)
                for key, matrix in found.matrices.items():
                    assert np.isfinite(matrix).all(), f"the matrix '{key}' is not finite"
                    assert matrix.ndim == 2 and len(set(matrix.shape)) == 1, (  # noqa: PT018
                        f"'{key}' is to be a number or a matrix [k, k]; got {list(matrix.shape)}"
                    )
                other = _apart(found, self.measured(run), tolerance=0.0)
                assert not other, (
                    f"two measurements at one moment differ: {other}; draw only from torch's, "
                    "NumPy's or Python's global generators, which core seeds, and keep nothing"
                )
                if not self.capable("same_names"):
                    continue
                runs.live(run, steps=13)
                one, two = set(_all(found)), set(_all(self.measured(run, diagnostic=built)))
                assert one == two, (
                    f"the names of its numbers came and went between two measurements: "
                    f"{named(sorted(one ^ two))}; give every number at every measurement, under "
                    "a name without counts or values in it"
                )

    def test_measuring_changes_nothing(self) -> None:
        for agent, execution in self.cases:
            with self.lent(agent, execution) as run, TemporaryDirectory() as folder:
                built = self.built_for(run)
                before = snapshot(run, Path(folder))
                self.measured(run, diagnostic=built)
                changed = differences(before, snapshot(run, Path(folder)))
                assert not changed, (
                    f"measuring the agent '{agent}' changed {named(changed)}; work on copies, "
                    "leave no hooks, no .grad and no other mode behind, and draw from torch's "
                    "global generator only"
                )

    def test_numbers_are_the_same_under_sparse_execution(self) -> None:
        self.require("sparse")
        for agent in self.suited:
            with self.lent_twice(agent) as (masked, sparse):
                found = _apart(self.measured(masked), self.measured(sparse), self.tolerance)
                assert not found, (
                    f"of the agent '{agent}', dense weights held at zero and kept weights alone "
                    f"give other numbers: {found}; see weights and gradients through "
                    "core.api.dense, and let removed weights (AgentView.masks) count for nothing"
                )

    def test_compares_an_update_with_what_was_before(self) -> None:
        for agent in self.suited:
            with self.lent(agent) as run:
                built = self.built_for(run)
                if not isinstance(built, Bracketing):
                    self.skip("it does not compare (no method 'before_update')")
                still = self.measured(run, diagnostic=built)
                moved = self.measured(run, lambda: runs.live(run, 20, updates=1), built)
                assert _apart(still, moved, tolerance=0.0), (
                    "around an update that moves weights it gives the same numbers as around "
                    "one that does not: 'before_update' is to keep what 'measure' compares with"
                )


def _all(found: Findings) -> dict[str, Any]:
    return {**found.scalars, **found.matrices}


def _apart(one: Findings, other: Findings, tolerance: float) -> str:
    """What differs by more than the tolerance, in words; empty if nothing does."""
    first, second = _all(one), _all(other)
    if set(first) != set(second):
        return f"the names {named(sorted(set(first) ^ set(second)))}"
    for key, value in first.items():
        size = float(np.max(np.abs(value), initial=0.0))
        if not np.allclose(second[key], value, rtol=tolerance, atol=tolerance * size):
            shown = "a matrix" if np.ndim(value) else f"{value} and {second[key]}"
            return f"'{key}', {shown}"
    return ""
