"""``report``: one page with pictures of what runs measured."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.api import UserError, add_plugin_argument, did_you_mean
from core.config import load, read_plugins
from core.config.check import Checker
from core.plugins.attribution import blamed
from plugins.commands.columns import write

if TYPE_CHECKING:
    from core.api import AnyComponent, Study
    from core.config import Loaded
    from core.plugins import Plugins
    from plugins.commands.report.pictures import Gallery

examples = """\
  python -m core report runs/quickstart-s0-1a2b3c
  python -m core report runs/study --out reports/study
  python -m core report runs/dense-s0-1a2b3c runs/sparse-s0-4d5e6f --figures returns,diagnostics
"""
PAGE = "index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Runs, where to write, and what to draw."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a run's directory, finished or not, or a folder of them",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"where to write {PAGE} and pictures/ (default: RUN/report, ./report for several)",
    )
    parser.add_argument(
        "--format",
        choices=["png", "svg", "both"],
        default="both",
        help="of the pictures beside the page (default: both); with png the page has them too",
    )
    parser.add_argument(
        "--figures", metavar="NAME,NAME", help="only these figures (default: all there are)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIGURE.OPTION=VALUE",
        help="an option of a figure, such as returns.smooth=10 (may be repeated)",
    )
    add_plugin_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Read the runs, draw, write the page, say what was found."""
    plugins = read_plugins(options)
    with blamed(plugins, may_exit=True):
        return report(options, plugins)


def report(options: argparse.Namespace, plugins: Plugins) -> int:
    """:func:`execute` with what is installed and asked for."""
    from plugins.commands.report.groups import group_runs
    from plugins.commands.report.page import render
    from plugins.commands.report.pictures import draw
    from plugins.commands.report.read import find_runs, read_run

    figures = _with_options(_wanted(options.figures, plugins), options.set)
    directories = find_runs(options.runs)
    directory = _directory(options.out, options.runs)
    gc.enable()  # figures hold themselves in circles; the command line has it off
    study = group_runs([read_run(path) for path in directories])
    gallery = draw(study, figures, directory, options.format)
    page = directory / PAGE
    page.write_text(render(study, gallery), encoding="utf-8")
    _tell(study, gallery, page)
    return 0


def _wanted(names: str | None, plugins: Plugins) -> list[AnyComponent]:
    if names is None:
        return plugins.components("figures")
    try:
        return [plugins.find("figures", name.strip()) for name in names.split(",")]
    except LookupError as error:
        raise UserError(f"--figures {names}: {error.args[0]}") from None


def _with_options(
    figures: Sequence[AnyComponent], overrides: Sequence[str]
) -> list[tuple[AnyComponent, Any]]:
    """Each figure with its options, those of the command line checked."""
    loaded = load([], overrides)
    names = [figure.name for figure in figures]
    for name in loaded.values:
        if name not in names:
            hint = did_you_mean(name, names)
            raise UserError(f"--set {name}: no such figure.{hint} Figures: {', '.join(names)}")
    return [(figure, _options(figure, loaded)) for figure in figures]


def _options(figure: AnyComponent, loaded: Loaded) -> Any:
    """The figure's options, from overrides ``FIGURE.option=value``; all mistakes in one error."""
    check = Checker(loaded)
    values = loaded.values.get(figure.name, {})
    if not isinstance(values, Mapping):
        values = {str(values): values}
    owner = f"figure '{figure.name}' ({figure.provider})"
    options = check.dataclass(figure.options, values, (figure.name,), owner)
    if check.problems:
        raise UserError("\n".join(check.in_order()))
    return options


def _directory(wanted: Path | None, runs: Sequence[Path]) -> Path:
    directory = wanted or (runs[0] / "report" if len(runs) == 1 else Path("report"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be written to: {error.strerror}") from None
    return directory


def _tell(study: Study, gallery: Gallery, page: Path) -> None:
    from plugins.commands.report.page import troubles

    for who, texts in troubles(study, gallery):
        sys.stderr.writelines(f"{who}: {text}\n" for text in texts)
    write(f"{group.label}: {', '.join(run.title for run in group.runs)}" for group in study.groups)
    write([f"{len(gallery.pictures)} pictures: {page}"])
