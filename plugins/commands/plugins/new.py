"""``plugins new``: a package with a plugin that works, to be changed from there."""

from __future__ import annotations

import argparse
import keyword
from pathlib import Path

from core.api import UserError
from core.api.hookspecs import ALL, KINDS
from core.plugins import load_plugins
from plugins.commands.columns import write as show
from plugins.commands.plugins.kinds import SINGULAR, read_kind
from plugins.commands.plugins.scaffold import (
    LONGEST,
    Names,
    module_of,
    names,
    render,
    suite_of,
    write,
)

examples = """\
  python -m core plugins new fan-in --kind mask
  python -m core plugins new saturation --kind diagnostic ../openwork-saturation
"""
RESERVED = frozenset({ALL, "y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What a preset takes for something else than a name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name, the kind, the folder."""
    parser.add_argument("name", metavar="NAME", help="the component's name, such as fan-in")
    parser.add_argument(
        "--kind", required=True, metavar="KIND", help=f"what it is: {', '.join(SINGULAR)}"
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="DIR",
        help="the new folder (default: openwork-NAME, here)",
    )


def execute(options: argparse.Namespace) -> int:
    """Check the name, write the files, say what comes next."""
    kind = read_kind(options.kind)
    named = _read_name(options.name, kind)
    if len(options.words) > 1:
        raise UserError(f"one folder is made, not {len(options.words)}: {' '.join(options.words)}")
    folder = Path(*(options.words or [named.distribution]))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: there is something already; give another folder: NAME DIR")
    files = render(kind, named)
    try:
        write(files, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    width = max(map(len, files))
    roles = [f"    {path:<{width}}  {_role(path, kind, named)}".rstrip() for path in files]
    show([f"{folder} has the {KINDS[kind]} '{named.component}':", *roles, "", "next:"])
    show(f"    {line}" for line in _next(folder, kind, named))
    return 0


def _read_name(text: str, kind: str) -> Names:
    """The names that follow from the one that was given.

    Raises:
        UserError: no component can be called so, or one is already.
    """
    named = names(text)
    if named is None:
        raise UserError(
            f"{text}: a name has lower-case letters, digits and dashes or underscores, begins "
            f"with a letter and has at most {LONGEST} characters, such as fan-in"
        )
    name = named.component
    if keyword.iskeyword(name) or name in RESERVED:
        raise UserError(f"{text}: that word means something else in presets; choose another name")
    for taken in (one for one in load_plugins().components(kind) if one.name == name):
        raise UserError(
            f"{text}: {taken.provider} has the {KINDS[kind]} '{name}' already: {taken.summary}\n"
            f"    choose another name, such as my-{name.replace('_', '-')}"
        )
    return named


def _role(path: str, kind: str, named: Names) -> str:
    """What a file is for, in a few words."""
    return {
        "pyproject.toml": "names the plugin as an entry point, and what it needs",
        f"{named.component}.yaml": "a preset that uses it",
        f"src/{named.package}/__init__.py": "its options, and the hook that offers it",
        f"src/{named.package}/{module_of(kind)}.py": "what it does: begin here",
        f"tests/test_{named.component}.py": f"every check of {suite_of(kind)}",
    }.get(path, "")


def _next(folder: Path, kind: str, named: Names) -> list[str]:
    use = {
        "figures": "python -m core report runs",
        "commands": f"python -m core {named.component} --help",
    }.get(kind, f"python -m core.run {named.component}.yaml")
    return [
        f"cd {folder}",
        "python -m pip install -e .",
        f"python -m core plugins check {named.distribution}",
        use,
    ]
