"""``resume``: go on with a run from its checkpoint."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from core.cli.common import Verbs, add_verb, report_broken
from core.config import RunConfig, load, resolve
from core.errors import UserError, did_you_mean
from core.plugins import Plugins, load_plugins

EXAMPLES = """\
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


def add_parser(verbs: Verbs) -> None:
    """Register the verb."""
    parser = add_verb(verbs, "resume", "go on with a run from its checkpoint", EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help=f"what may change: {', '.join(CHANGEABLE)}",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Build the run anew, restore its checkpoint, go on."""
    from rich.console import Console

    directory: Path = options.run
    record = read_record(directory)
    config, plugins = reread(directory, record, options.overrides)
    from core import checkpoint
    from core import experiment as assembly
    from core.contexts import RunInfo
    from core.loop import Run
    from core.record import amend_record
    from core.session import Session, StopRequest, show_start
    from core.summary import summary

    state = checkpoint.read(directory)
    if state["counters"]["frames"] >= config.run.frames:
        raise UserError(
            f"{directory}: all {config.run.frames:,} frames are done; give more, "
            f"such as frames={2 * config.run.frames}"
        )
    console = Console(soft_wrap=True)
    report_broken(plugins, console)
    anew = any(key_of(override) == "execution" for override in options.overrides)
    experiment = assembly.build(config, directory, {} if anew else record.get("execution"))
    stop = StopRequest()
    run = Run(experiment, directory, stop)
    run.restore(state)
    del state
    note: dict[str, Any] = {"frame": run.counters.frames, "with": options.overrides}
    if anew:
        note["execution"] = dict(experiment.agent.learner.execution.report())
    amend_record(directory, outcome=None, resumed=[note])
    show_start(console, directory, summary(experiment))
    console.print(f"resumed at frame {run.counters.frames:,}", highlight=False)
    info = RunInfo(record["name"], directory, config.plain())
    return Session(run, plugins, info, stop).drive(console, resumed=True)


def key_of(override: str) -> str:
    """``masks`` of ``masks.0.sparsity=0.5``."""
    return override.partition("=")[0].partition(".")[0]


def read_record(directory: Path) -> dict[str, Any]:
    """The run's ``run.json``.

    Raises:
        UserError: not a run directory, or a damaged one.
    """
    path = directory / "run.json"
    if not path.is_file():
        raise UserError(f"{directory}: not a run directory (there is no {path})")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: damaged: {error.msg}") from None
    return record


def reread(
    directory: Path, record: dict[str, Any], overrides: list[str]
) -> tuple[RunConfig, Plugins]:
    """The run's own configuration with what may change; the plugin files it had."""
    for override in overrides:
        key = key_of(override)
        if key not in CHANGEABLE:
            raise UserError(
                f"command line: {override}: '{key}' cannot change when a run is resumed."
                f"{did_you_mean(key, CHANGEABLE)} What may change: {', '.join(CHANGEABLE)}"
            )
    files = [Path(p["source"]) for p in record["plugins"] if p["source"].endswith(".py")]
    plugins = load_plugins(files)
    return resolve(load([directory / "resolved.yaml"], overrides), plugins), plugins
