"""Pages made from the code, whenever the documentation is built: options, hooks, capabilities.

``docs/conf.py`` calls :func:`write`; the pages go to ``docs/reference/generated/``, which git
ignores.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path

from core.api.component import AnyComponent
from core.api.hookspecs import KINDS
from core.config.schema import DEFAULTS, LISTED, SINGLE, RunOptions
from core.plugins import Plugins
from plugins.commands.yaml_text import as_yaml
from plugins.testing.harness.options import needs_by_default, options_of

FOLDER = Path(__file__).parent / "reference" / "generated"

# --- options ----------------------------------------------------------------------------

HEAD = """\
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
also names by itself has its own. What they say: {doc}`/explanation/diagnostics`.
""",
    "interventions": """\
They run in the order of the list, and one may be there several times. Either `every` or `at` must
be given. How to use them: {doc}`/how-to/reset-an-agent`.
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


def options_page(plugins: Plugins) -> str:
    """Options of the run, and of every component that a preset can name."""
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


# --- hooks ------------------------------------------------------------------------------

SHARED = {
    "component": "What a plugin offers, whatever its kind.",
    "layers": "Layers that store kept weights only, and how to read their matrices.",
    "errors": "What a plugin raises where a user can mend it.",
}
"""Pages of ``core.api`` that are of no kind."""


def hook_page(page: str) -> str:
    """A kind's page: its hook, and the contract; or a page of what kinds share."""
    shared = SHARED.get(page)
    hook = f".. automethod:: core.api.hookspecs.Offers.register_{page}"
    words = [f"# {page.capitalize()}", shared or f"```{{eval-rst}}\n{hook}\n```"]
    contract = f".. automodule:: core.api.{page}\n   :members:"
    return "\n\n".join(words) + f"\n\n```{{eval-rst}}\n{contract}\n```\n"


# --- capabilities -----------------------------------------------------------------------


def capabilities_page(plugins: Plugins) -> str:
    """A table of the words by which built-in components need and provide each other."""
    components = [component for kind in KINDS for component in plugins.components(kind)]
    rows = []
    for word in sorted({word for c in components for word in c.provides}):
        provided = ", ".join(f"`{c.name}`" for c in components if word in c.provides)
        needed = ", ".join(sorted(_needing(word, components)))
        rows.append(f"| `{word}` | {provided} | {needed or 'none'} |")
    return "\n".join(["| capability | provided by | needed by |", "|---|---|---|", *rows]) + "\n"


def _needing(word: str, components: Iterable[AnyComponent]) -> Iterator[str]:
    for component in components:
        if not callable(component.needs):
            if word in component.needs:
                yield f"`{component.name}`"
        elif f"``{word}``" in (inspect.getdoc(component.needs) or ""):
            always = word in (needs_by_default(component) or ())
            yield f"`{component.name}`" + ("" if always else " (some options)")


# --- all of them ------------------------------------------------------------------------


def pages() -> Mapping[str, str]:
    """Every page by its file's name."""
    plugins = Plugins()
    plugins.load_built_ins()
    return {
        "options.md": options_page(plugins),
        "capabilities.md": capabilities_page(plugins),
        **{f"{page}.md": hook_page(page) for page in (*KINDS, *SHARED)},
    }


def write() -> None:
    """Write what changed, so that Sphinx reads again only that; delete pages of before."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
