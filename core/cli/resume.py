"""``resume``: go on with a run from its checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.api.commands import add_plugin_argument
from core.api.errors import UserError, did_you_mean
from core.config import RunConfig, load, report_broken, resolve
from core.plugins import Plugins, load_plugins
from core.plugins.attribution import blamed
from core.plugins.discovery import file, installed

examples = """\
  python -m core resume runs/quickstart-s0-1a2b3c
  python -m core resume runs/quickstart-s0-1a2b3c frames=400000
"""
CHANGEABLE = (
    "frames",
    "log_every",
    "record_video",
    "evaluation",
    "checkpoint",
    "device",
    "threads",
    "compile",
    "execution",
    "diagnostics",
    "loggers",
)
"""Keys that may differ from the run's first part. Anything else would make it another run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and what may change."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help=f"what may change: {', '.join(CHANGEABLE)}",
    )
    add_plugin_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Build the run anew, restore its checkpoint, go on."""
    from rich.console import Console

    from core.training.record import amend_record, changed_plugins, read_record

    directory: Path = options.run
    record = read_record(directory)
    config, plugins = reread(directory, record, options)
    from core.cli.session import Session
    from core.training.summary import summary

    state = unfinished_state(directory, config)
    console = Console(soft_wrap=True)
    report_broken(plugins, console)
    changed = changed_plugins(record, plugins.providers)
    for line in changed:
        console.print(line, highlight=False, markup=False)
    anew = any(key_of(override) == "execution" for override in options.overrides)
    chosen = None if anew else record.get("execution")
    with blamed(plugins, config.selections):
        session = Session(config, plugins, directory, record["name"], state=state, chosen=chosen)
    del state
    experiment = session.run.experiment
    note: dict[str, Any] = {"frame": experiment.counters.frames, "with": options.overrides}
    if changed:
        note["plugins"] = changed
    if anew:
        note["execution"] = dict(experiment.agent.learner.execution.report())
    amend_record(directory, outcome=None, error=None, resumed=[note])
    return session.drive(console, summary(experiment))


def unfinished_state(directory: Path, config: RunConfig) -> dict[str, Any]:
    """The checkpoint to go on from.

    Raises:
        UserError: there is none that can be read, or the run is at its end.
    """
    from core.training import checkpoint

    state = checkpoint.read(directory)
    if state["counters"]["frames"] >= config.run.frames:
        raise UserError(
            f"{directory}: all {config.run.frames:,} frames are done; give more, "
            f"such as frames={2 * config.run.frames}"
        )
    return state


def key_of(override: str) -> str:
    """``masks`` of ``masks.0.sparsity=0.5``."""
    return override.partition("=")[0].partition(".")[0]


def reread(
    directory: Path, record: Mapping[str, Any], options: argparse.Namespace
) -> tuple[RunConfig, Plugins]:
    """The run's own configuration with what may change; the plugin files it had."""
    for override in options.overrides:
        key = key_of(override)
        if key not in CHANGEABLE:
            raise UserError(
                f"command line: {override}: '{key}' cannot change when a run is resumed."
                f"{did_you_mean(key, CHANGEABLE)} What may change: {', '.join(CHANGEABLE)}"
            )
    plugins = plugins_of(directory, record, options)
    return resolve(load([directory / "resolved.yaml"], options.overrides), plugins), plugins


def plugins_of(directory: Path, record: Mapping[str, Any], options: argparse.Namespace) -> Plugins:
    """What the run was started with, plugin files and ``--without``, and what is given now.

    Raises:
        UserError: a plugin file is gone, and no other of its name is given.
    """
    recorded = [Path(p["source"]) for p in record["plugins"] if p["source"].endswith(".py")]
    given = {path.name for path in options.plugin}
    files = [path for path in recorded if path.name not in {*given, *options.without}]
    for path in files:
        if not path.is_file():
            raise UserError(
                f"{directory}: the run's plugin file {path} is gone; put it back, or say where it "
                f"is now with --plugin, such as --plugin elsewhere/{path.name}"
            )
    files += options.plugin
    there = [*installed(), *map(file, files)]
    # a plugin that was left out and is not there any more is left out all the same
    without = [n for n in record.get("without", []) if any(one.is_called(n) for one in there)]
    without += options.without
    return load_plugins(files, without=without, strict=options.strict_plugins)
