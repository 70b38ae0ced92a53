"""What is about to run, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.agent.agent import Agent
    from core.training.experiment import Experiment


def count_parameters(agent: Agent, role: str) -> tuple[int, int]:
    """Parameters of a network in all, and those that live."""
    shapes = agent.parts.initial[role]
    return sum(shape.numel() for shape in shapes.values()), agent.masks.kept(role, shapes)


def readable_bytes(count: int) -> str:
    """``21.3 GB``, decimal."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def held(count: int) -> str:
    """What a data source holds."""
    return f"{readable_bytes(count)} when full" if count else "keeps nothing"


def execution_line(name: str, report: Mapping[str, Any]) -> str:
    """``auto: 8 compact, 2 masked``: what a backend of this ``name`` chose, if it chose."""
    chosen = Counter(layer["choice"] for layer in report.get("layers", {}).values())
    counts = ", ".join(f"{count} {choice}" for choice, count in sorted(chosen.items()))
    return f"{name}: {counts}" if counts else name


def summary(experiment: Experiment) -> dict[str, str]:
    """Environment, networks, data and device, a line each."""
    agent, config = experiment.agent, experiment.config
    lines = {"environment": experiment.environments.description}
    for role in agent.parts.modules:
        total, alive = count_parameters(agent, role)
        share = f"{alive:,} kept ({alive / total:.1%})" if alive != total else "dense"
        lines[role] = f"{total:,} parameters, {share}"
    report = agent.learner.execution.report()
    lines["execution"] = execution_line(config.execution.component.name, report)
    lines["data"] = f"{config.data.component.name}, {held(experiment.data.bytes)}"
    if experiment.diagnostics.diagnostics:
        lines["diagnostics"] = ", ".join(experiment.diagnostics.diagnostics)
    if experiment.left_out:
        lines["left out of all"] = ", ".join(experiment.left_out)
    if experiment.diagnostics.interventions:
        lines["interventions"] = ", ".join(name for name, _ in experiment.diagnostics.interventions)
    lines["device"] = str(agent.device)
    return lines
