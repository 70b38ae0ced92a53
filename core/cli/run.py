"""``run``: train from presets."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.config import add_preset_arguments, read_presets, report_broken
from core.plugins.attribution import blamed

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
    from core.api.loggers import RunInfo
    from core.cli.session import Loggers, Session, StopRequest, show_start
    from core.training import experiment as assembly
    from core.training.loop import Run
    from core.training.record import new_run_directory, write_record
    from core.training.summary import densities, summary

    console = Console(soft_wrap=True)
    report_broken(plugins, console)
    name = config.run.name or Path(files[0]).stem
    with (
        blamed(plugins, config.selections),
        new_run_directory(config, name, options.run_dir) as directory,
    ):
        experiment = assembly.build(config, directory)
        info = RunInfo(name, directory, experiment.config.plain())
        loggers = Loggers(experiment.config, info, resumed=False)
        lines = summary(experiment)
        described = {
            "summary": lines,
            "densities": densities(experiment.agent),
            "execution": dict(experiment.agent.learner.execution.report()),
        }
        write_record(directory, name, experiment.config, plugins, described)
    show_start(console, directory, lines)
    stop = StopRequest()
    run = Run(experiment, directory, stop)
    return Session(run, plugins, info, stop, loggers).drive(console, resumed=False)
