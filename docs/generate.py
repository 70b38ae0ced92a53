"""Write ``docs/reference/options.md`` from the options dataclasses: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from core.api.component import AnyComponent
from core.config.schema import DEFAULTS, LISTED, SINGLE, RunOptions
from core.config.text import as_yaml
from core.plugins import Plugins
from plugins.testing.harness.options import needs_by_default, options_of

PAGE = Path(__file__).parent / "reference" / "options.md"
HEAD = """\
<!-- Made by docs/generate.py from the options dataclasses; do not edit. -->

# Options

Every key that a preset may hold: first those of the run itself, then those of each component,
by the key that the component stands under. A key with a dot is a key of a nested mapping. An
option without a default must be given. Every mistake in a preset is one message that names the
file and the line.

A component stands in a preset as a mapping with its `name`, or as its bare name where no option
is to be set. `environment` also takes `count`, the number of environments that are stepped side
by side in one process (a whole number, at least 1, default `1`), whichever component it names.
"""
MORE = {
    "diagnostics": """\
`all`, as the whole list or in it, stands for every diagnostic that suits the agent: those whose
needs are not met, or that refuse the agent, are left out, and the run says which. Options beside
it (`{name: all, every: 5_000}`) go to each diagnostic that has them; a diagnostic that the list
also names by itself has its own. What they say: {doc}`../explanation/diagnostics`.
""",
    "interventions": """\
They run in the order of the list, and one may be there several times. Either `every` or `at` must
be given. How to use them: {doc}`../how-to/reset-an-agent`.
""",
}
"""What is to be said of a key besides its components."""


def entries(kind: type) -> Iterator[str]:
    """One definition per option."""
    for option in options_of(kind):
        text = _flowing(option.text)
        if option.is_mapping:
            if text:
                yield f"`{option.name}`\n: a mapping. {text}\n"
            continue
        missing = option.default is MISSING
        given = "required" if missing else f"default `{as_yaml(option.default)}`"
        yield f"`{option.name}`\n: {option.kind}, {given}. {text}".rstrip() + "\n"


def _flowing(text: str) -> str:
    """Docstring text as one line of Markdown."""
    return " ".join(text.split()).replace("``", "`").replace("None:", "null:")


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return f"{text[0].upper()}{text[1:]}."


def section(component: AnyComponent) -> str:
    """A component: its summary, what its options class says, its options."""
    paragraphs = inspect.cleandoc(component.options.__doc__ or "").split("\n\n")
    listed = list(entries(component.options)) or ["It has no options.\n"]
    head = [f"### `{component.name}`", _sentence(component.summary), *map(_flowing, paragraphs)]
    head += [*_needs(component), *_capabilities("Provides", component.provides)]
    return "\n\n".join(head) + "\n\n" + "\n".join(listed)


def _needs(component: AnyComponent) -> list[str]:
    """What it needs; by the docstring of the function, where that depends on options."""
    if not callable(component.needs):
        return _capabilities("Needs", component.needs)
    words = inspect.getdoc(component.needs)
    assert words, f"{component.name}: the function of its needs has no docstring"
    depends = f"Needs: {_flowing(words).rstrip('.')}."
    by_default = needs_by_default(component)
    if by_default is None:
        return [depends]
    shown = ", ".join(f"`{name}`" for name in sorted(by_default)) or "nothing"
    return [f"{depends} With the defaults: {shown}."]


def _capabilities(word: str, names: frozenset[str]) -> list[str]:
    return [f"{word}: {', '.join(f'`{name}`' for name in sorted(names))}."] if names else []


def page() -> str:
    """The whole page."""
    plugins = Plugins()
    plugins.load_built_ins()
    parts = [HEAD, "## The run\n", _flowing(inspect.cleandoc(RunOptions.__doc__ or "")) + "\n"]
    parts += entries(RunOptions)
    for key, kind in {**SINGLE, **LISTED}.items():
        listed = " (a list)" if key in LISTED else ""
        parts.append(f"## `{key}`{listed}\n")
        if key in DEFAULTS:
            default = DEFAULTS[key]
            given = f"`{default['name']}`" if isinstance(default, dict) else "none"
            parts.append(f"May be left out: {given}.\n")
        parts += [MORE[key]] if key in MORE else []
        parts += [section(component) for component in plugins.components(kind)]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
