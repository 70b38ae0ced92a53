"""``run``: train from presets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import add_preset_arguments, read_presets, report_broken
from core.plugins.attribution import blamed

if TYPE_CHECKING:
    from core.agent.agent import Agent

examples = """\
  python -m core.run presets/quickstart.yaml
  python -m core.run presets/visual_sparse.yaml presets/scales/laptop.yaml seed=1
  python -m core.run presets/state_sparse.yaml masks.0.sparsity=0.95 --run-dir runs/denser
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Presets, and where to write."""
    add_preset_arguments(parser)
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="where to write (default: runs/NAME-sSEED-ID)"
    )


def execute(options: argparse.Namespace) -> int:
    """Check everything, make the run directory, train."""
    from rich.console import Console

    config, plugins, files = read_presets(options)
    from core.cli.session import Session
    from core.training.record import new_run_directory, write_record
    from core.training.summary import summary

    console = Console(soft_wrap=True)
    report_broken(plugins, console)
    name = config.run.name or Path(files[0]).stem
    with (
        blamed(plugins, config.selections),
        new_run_directory(config, name, options.run_dir) as directory,
    ):
        session = Session(config, plugins, directory, name)
        experiment = session.run.experiment
        lines = summary(experiment)
        described = {
            "summary": lines,
            "densities": _densities(experiment.agent),
            "execution": dict(experiment.agent.learner.execution.report()),
        }
        write_record(directory, name, experiment.config, plugins, described)
    return session.drive(console, lines)


def _densities(agent: Agent) -> dict[str, dict[str, Any]]:
    """Shape and density of every weight matrix and kernel, by role and parameter name."""
    return {
        role: {
            name: {"shape": list(shape), "density": agent.masks.density(role, name)}
            for name, shape in shapes.items()
            if len(shape) > 1
        }
        for role, shapes in agent.parts.initial.items()
    }
