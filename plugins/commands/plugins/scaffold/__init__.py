"""New plugins: small packages that work as they are made, to be changed from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core import __version__
from core.api.hookspecs import KINDS

TEMPLATES = Path(__file__).parent / "templates"
PREFIX = "openwork-"
"""Of the distributions; the import package has an underscore for each dash."""
LONGEST = 30
"""Characters of a name: lines of the templates stay within 100 with it."""


@dataclass(frozen=True)
class Template:
    """What a kind's package holds besides what is common to all."""

    title: str
    """What the component does as it is made; a noun phrase."""
    node: str = ""
    """The lines of a preset that ask for it, ``NAME`` for the component; empty: none do."""


WATCHED = "diagnostics: [parameter_norm]  # the quickstart's others look into the loss\n"
TEMPLATE: Mapping[str, Template] = {
    "environments": Template(
        "A point mass to be brought to the middle", "environment: {name: NAME, limit: 200}"
    ),
    "networks": Template("Perceptrons with layer norm", "network: {name: NAME, width: 128}"),
    "masks": Template("A pruning scheme of constant fan-in", "masks:\n  - {name: NAME, inputs: 8}"),
    "execution": Template("Dense weights with masked gradients", "execution: {name: NAME}"),
    "losses": Template(
        "Deterministic policy gradient", f"{WATCHED}loss: {{name: NAME, noise: 0.1}}"
    ),
    "optimizers": Template("Gradient descent with momentum", "optimizer: {name: NAME, lr: 1.0e-2}"),
    "data": Template(
        "Uniform replay",
        "data: {name: NAME, capacity: 100_000, batch_size: 128, learning_starts: 2_500}",
    ),
    "diagnostics": Template(
        "A diagnostic of how many weights are small",
        "diagnostics:\n  - {name: NAME, every: 2_000}",
    ),
    "interventions": Template(
        "Weight clipping", "interventions:\n  - {name: NAME, every: 1_000, bound: 0.5}"
    ),
    "loggers": Template("A logger that writes a table", "loggers:\n  - {name: NAME}"),
    "figures": Template("A figure of the last value of a metric"),
    "commands": Template("A verb that prints the last value of a metric"),
}
"""By kind, as in :data:`core.api.hookspecs.KINDS`."""


def suite_of(kind: str) -> str:
    """The class of :mod:`plugins.testing` that the package passes: ``MaskSuite``."""
    return f"{KINDS[kind].split()[0].capitalize()}Suite"


def module_of(kind: str) -> str:
    """The file of the implementation, without suffix: the template that is not ``init``."""
    names = {path.name.removesuffix(".py.jinja") for path in (TEMPLATES / kind).iterdir()}
    (module,) = names - {"init"}
    return module


@dataclass(frozen=True)
class Names:
    """What a plugin's name becomes in each place."""

    component: str
    """``fan_in``: what a preset writes."""

    @property
    def distribution(self) -> str:
        """``openwork-fan-in``."""
        return PREFIX + self.component.replace("_", "-")

    @property
    def package(self) -> str:
        """``openwork_fan_in``."""
        return self.distribution.replace("-", "_")

    @property
    def camel(self) -> str:
        """``FanIn``."""
        return "".join(word.capitalize() for word in self.component.split("_"))


def names(text: str) -> Names | None:
    """Of ``fan-in``, ``fan_in`` or ``openwork-fan-in``; None if no component can have that name."""
    component = text.removeprefix(PREFIX).replace("-", "_")
    fits = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", component)
    return Names(component) if fits and len(component) <= LONGEST else None


def requirement(version: str) -> str:
    """``>=0.4,<0.5`` of version 0.4.2: the releases that keep what plugins use."""
    major, minor, *_ = (int(part) for part in version.split("."))
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def render(kind: str, named: Names, version: str = __version__) -> dict[str, str]:
    """The files of a new plugin: contents by path, folders written with ``/``.

    Args:
        kind: As in :data:`core.api.hookspecs.KINDS`.
        named: What the plugin is called.
        version: Openwork's, which the package asks for.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    template = TEMPLATE[kind]
    snippet = template.node.replace("NAME", named.component)
    values = {
        "kind": kind,
        "module": module_of(kind),
        "word": KINDS[kind],
        "name": named.component,
        "distribution": named.distribution,
        "package": named.package,
        "camel": named.camel,
        "title": template.title,
        "suite": suite_of(kind),
        "snippet": snippet,
        "requirement": requirement(version),
    }
    loader = FileSystemLoader(TEMPLATES)  # of Python, YAML and Markdown: nothing to be escaped
    templates = Environment(
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    return {
        path: templates.get_template(f"{source}.jinja").render(values)
        for path, source in _sources(kind, named).items()
    }


def _sources(kind: str, named: Names) -> dict[str, str]:
    """The template of each file."""
    source, module = f"src/{named.package}", module_of(kind)
    preset = {f"{named.component}.yaml": "common/preset.yaml"} if TEMPLATE[kind].node else {}
    return {
        "pyproject.toml": "common/pyproject.toml",
        "README.md": "common/README.md",
        "LICENSE": "common/LICENSE",
        ".gitignore": "common/gitignore",
        ".github/workflows/tests.yml": "common/tests.yml",
        **preset,
        f"{source}/__init__.py": f"{kind}/init.py",
        f"{source}/{module}.py": f"{kind}/{module}.py",
        f"{source}/py.typed": "common/py.typed",
        f"tests/test_{named.component}.py": "common/test.py",
    }


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write rendered files below ``folder``."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
