"""``describe``: build the agent without training, and print its numbers."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.config import add_preset_arguments, read_presets, report_broken
from core.plugins.attribution import blamed
from plugins.commands.columns import write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from plugins.commands.describe.arithmetic import Description, Network
    from plugins.commands.describe.memory import Footprint

examples = """\
  python -m core describe presets/state_sparse.yaml
  python -m core describe presets/visual_sparse.yaml network.critic.hidden=2048 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A preset, and how to print."""
    add_preset_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(options: argparse.Namespace) -> int:
    """Build and print."""
    config, plugins, _ = read_presets(options)
    from rich.console import Console

    from plugins.commands.describe.arithmetic import describe

    with blamed(plugins, config.selections):
        description = describe(config)
    if options.json:
        write_json(asdict(description))
        return 0
    console = Console(soft_wrap=True)
    report_broken(plugins, console)
    _show(description, console)
    return 0


def _show(description: Description, console: Console) -> None:
    from core.training.summary import held

    console.print(f"environment: {description.environment}", highlight=False, markup=False)
    for network in description.networks:
        console.print(_table(network))
    console.print(f"data: {description.data}, {held(description.data_bytes)}", highlight=False)
    for text in _execution_lines(description):
        console.print(text, highlight=False, markup=False)
    console.print(_memory_line(description.memory), highlight=False)
    console.print(
        f"one update, batch {description.batch_size}: "
        f"{description.update_madds / 1e6:,.3f} M multiply-adds as dense products, "
        f"{description.kept_madds / 1e6:,.3f} M of them with weights that live",
        highlight=False,
    )


def _memory_line(memory: Footprint) -> str:
    """The whole, and its parts from the largest to the smallest."""
    from core.training.summary import readable_bytes

    parts = sorted(vars(memory).items(), key=lambda part: -part[1])
    named = ", ".join(f"{name} {readable_bytes(size)}" for name, size in parts if size)
    whole = readable_bytes(memory.total)
    return f"memory while learning, without activations and data: {whole} ({named})"


def _execution_lines(description: Description) -> list[str]:
    """What the backend chose in sum, then each reason with how many layers it is for."""
    from core.training.summary import execution_line

    report = description.execution
    reasons = Counter(
        f"{layer['choice']}: {layer['reason']}"
        for layer in report.get("layers", {}).values()
        if "reason" in layer
    )
    first = f"execution: {execution_line(report.get('backend', 'unnamed'), report)}"
    return [first, *(f"    {count} {reason}" for reason, count in reasons.items())]


def _table(network: Network) -> Table:
    from rich import box
    from rich.table import Table

    kept = network.kept / network.parameters
    title = (
        f"{network.role}: {network.parameters:,} parameters, {network.kept:,} kept ({kept:.2%}), "
        f"initial norm {network.norm:.2f}"
    )
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("parameter", no_wrap=True)
    for name in ("shape", "density", "initial norm"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in network.layers:
        shape = " x ".join(str(side) for side in layer.shape) or "scalar"
        density = "1" if layer.density == 1 else f"{layer.density:.4f}"
        table.add_row(layer.name, shape, density, f"{layer.norm:.3f}")
    return table
