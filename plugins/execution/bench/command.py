"""``bench-execution``: what sparse execution brings on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, final

from core.api import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from plugins.execution.bench.measure import Line, Plan

EXAMPLES = """\
  python -m core bench-execution
  python -m core bench-execution --widths 256 --sparsity 0.5 0.8 --batch 64 --blocks
"""
LARGEST_WIDTH, LARGEST_BATCH = 8192, 65_536
ARGUMENTS: list[tuple[str, Any, str, str]] = [
    ("--widths", [512, 1024], "N", "of SimBa blocks, multiples of 16"),
    ("--sparsity", [0.8, 0.9, 0.95], "S", "shares of weights removed"),
    ("--batch", 256, "B", "rows of a batch"),
    ("--threads", 1, "T", "of torch"),
    ("--blocks", False, "", "masks of whole 16 x 16 blocks too"),
    ("--seconds", 24.0, "SECONDS", "of process time to measure for, over all widths"),
    ("--json", False, "", "print JSON"),
]


@final
class BenchExecution:
    """The verb; implements ``Command``."""

    examples = EXAMPLES

    def __init__(self, options: object, context: object) -> None:
        pass

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        for name, default, metavar, text in ARGUMENTS:
            if default is False:
                parser.add_argument(name, action="store_true", help=text)
                continue
            several = isinstance(default, list)
            kind = type(default[0] if several else default)
            shown = " ".join(map(str, default)) if several else f"{default:g}"
            parser.add_argument(
                name,
                type=kind,
                nargs="+" if several else None,
                default=default,
                metavar=metavar,
                help=f"{text} (default: {shown})",
            )

    def execute(self, arguments: argparse.Namespace) -> int:
        """Measure and print; the number of threads is put back."""
        plan = _plan(arguments)
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(arguments.threads)
        try:
            found, lines = _measure(plan)
        finally:
            torch.set_num_threads(before)
        if arguments.json:
            plain = {"machine": found, "batch": plan.batch, "lines": [asdict(x) for x in lines]}
            sys.stdout.write(json.dumps(plain, indent=2) + "\n")
        else:
            _show(found, plan, lines)
        return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    """What is asked for.

    Raises:
        UserError: a number is out of its range.
    """
    from plugins.execution.bench.measure import Plan

    for width in arguments.widths:
        good = 16 <= width <= LARGEST_WIDTH and width % 16 == 0
        _check(good, "--widths", f"multiples of 16 in [16, {LARGEST_WIDTH}]", width)
    for sparsity in arguments.sparsity:
        _check(0 < sparsity < 1, "--sparsity", "in (0, 1)", sparsity)
    batch, threads, seconds = arguments.batch, arguments.threads, arguments.seconds
    # one row runs through other kernels (streaming), without autograd
    _check(2 <= batch <= LARGEST_BATCH, "--batch", f"in [2, {LARGEST_BATCH}]", batch)
    _check(1 <= threads <= 1024, "--threads", "in [1, 1024]", threads)
    _check(0 < seconds <= 3600, "--seconds", "in (0, 3600]", seconds)
    return Plan(
        tuple(dict.fromkeys(arguments.widths)),
        tuple(dict.fromkeys(arguments.sparsity)),
        batch,
        arguments.blocks,
        seconds / len(set(arguments.widths)),
    )


def _check(good: bool, name: str, wanted: str, got: object) -> None:
    if not good:
        raise UserError(f"{name} must be {wanted}, got {got}")


def _measure(plan: Plan) -> tuple[dict[str, Any], list[Line]]:
    """With a progress bar on a terminal's error stream."""
    from rich.console import Console
    from rich.progress import Progress

    from plugins.execution.auto.machine import description
    from plugins.execution.bench.measure import measure

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {width: bar.add_task(f"width {width}", total=1.0) for width in plan.widths}
        lines = list(measure(plan, lambda width, share: bar.update(tasks[width], completed=share)))
    return description(), lines


def _show(found: dict[str, Any], plan: Plan, lines: Sequence[Line]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    say(f"{found['cpu']}, {found['instructions']}, {threads}, torch {found['torch']}")
    say(f"compiled kernels: {found['kernels']}")
    if found["matrix_units"]:
        say(
            "dense products in bfloat16 are what torch.set_float32_matmul_precision('medium') gives"
        )
    say(
        f"a SimBa block forward and backward, batch {plan.batch}, float32: process CPU time, and "
        "how many\ntimes faster it is than dense and than weight x mask (median, quartiles)"
    )
    for width in plan.widths:
        console.print(_table(width, [line for line in lines if line.width == width]))
    say("what auto does with layers like these:")
    for line in lines:
        if line.choice is not None:
            where = f"width {line.width}, sparsity {line.sparsity:g}, {line.form}"
            say(f"  {where}: {line.choice.form}; {line.choice.reason}")


def _table(width: int, lines: Sequence[Line]) -> Table:
    from rich import box
    from rich.table import Table

    title = f"width {width}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("sparsity", justify="right", no_wrap=True)
    table.add_column("form", no_wrap=True)
    for name in ("ms", "than dense", "than weight x mask"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            "any" if line.sparsity is None else f"{line.sparsity:g}",
            line.form,
            f"{line.seconds * 1e3:.2f}",
            _ratio(line.than_dense),
            _ratio(line.than_product),
        )
    return table


def _ratio(quartiles: tuple[float, float, float]) -> str:
    low, middle, high = (f"{x:.2f}" if x < 9.995 else f"{x:.1f}" for x in quartiles)
    return f"{middle} ({low}-{high})"
