"""The page: one HTML file that needs nothing else, neither scripts nor a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.api import RunGroup, Study, colour
from plugins.commands.report.differences import differences, same, written
from plugins.commands.report.facts import (
    RunFacts,
    group_return,
    machine,
    part,
    run_facts,
    titles,
)
from plugins.commands.report.findings import findings
from plugins.commands.report.pictures import FOLDER, Drawn, Gallery
from plugins.commands.report.provenance import PresetLine, components, other_plugins, settings

SECTIONS = ("Returns", "Losses", "Diagnostics", "Gradient interference", "Densities", "Time")
"""Headings of pictures in their order; others come after them."""
TOLD = ("environment", "network", "loss", "optimizer", "data")
"""Components named at the top, where all runs have the same."""


@dataclass(frozen=True)
class GroupView:
    """A group as the page shows it."""

    label: str
    colour: str
    runs: list[RunFacts]
    final: str
    final_of: str
    settings: dict[str, list[PresetLine]]


@dataclass(frozen=True)
class Section:
    """Pictures under one heading."""

    title: str
    pictures: list[Drawn]

    @property
    def anchor(self) -> str:
        return "pictures-" + "".join(c if c.isalnum() else "-" for c in self.title.lower())


def render(study: Study, gallery: Gallery) -> str:
    """The whole page. The same runs and pictures give the same text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = written
    known = [group for group in study.groups if group.runs[0].config]
    configs = [group.runs[0].config for group in known]
    apart = differences(configs, named=True)
    return environment.get_template("page.html").render(
        groups=group_views(study, [difference.key for difference in apart]),
        count=len(study.runs),
        common=common(study),
        troubles=troubles(study, gallery),
        known=[(group.label, colour(study.groups.index(group))) for group in known],
        differences=differences(configs),
        sections=sections(gallery.pictures),
        markup=Markup,
        folder=FOLDER,
        machines=machines(study),
        components=components(study),
        others=other_plugins(study),
    )


def group_views(study: Study, differing: Sequence[str]) -> list[GroupView]:
    """Groups with their colours and their runs' rows."""
    names = iter(titles(study.runs))

    def view(index: int, group: RunGroup) -> GroupView:
        rows = [run_facts(run, next(names)) for run in group.runs]
        final, of = group_return(group)
        told = settings(group, differing)
        return GroupView(group.label, colour(index), rows, final, of, told)

    return [view(index, group) for index, group in enumerate(study.groups)]


def troubles(study: Study, gallery: Gallery) -> list[tuple[str, list[str]]]:
    """What a reader must know first: figures that failed, then runs in their order."""
    of_runs = zip(titles(study.runs), map(findings, study.runs), strict=True)
    return [(who, texts) for who, texts in [("This report", gallery.problems), *of_runs] if texts]


def common(study: Study) -> list[str]:
    """What all runs share: environment, networks, loss."""
    configs = [run.config for run in study.runs if run.config]
    found = []
    for key in TOLD:
        names = [part(config, key, "name") for config in configs]
        tasks = [part(config, key, "task") for config in configs]
        if names and names[0] is not None and same(names):
            task = f" {tasks[0]}" if tasks[0] is not None and same(tasks) else ""
            found.append(f"{names[0]}{task}")
    return found


def sections(pictures: Iterable[Drawn]) -> list[Section]:
    """Pictures by heading; within one in the order in which they were drawn."""
    found: dict[str, list[Drawn]] = {title: [] for title in SECTIONS}
    for picture in pictures:
        found.setdefault(picture.section, []).append(picture)
    return [Section(title, drawn) for title, drawn in found.items() if drawn]


def machines(study: Study) -> list[tuple[tuple[str, ...], str]]:
    """Versions and machines, each with the runs that had them."""
    found: dict[tuple[str, ...], list[str]] = {}
    for title, run in zip(titles(study.runs), study.runs, strict=True):
        if run.record:
            found.setdefault(machine(run), []).append(title)
    everyone = len(found) == 1 and len(study.runs) > 1
    return [(m, "all" if everyone else ", ".join(names)) for m, names in found.items()]
