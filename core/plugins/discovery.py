"""Where plugins are found: entry points of installed distributions, and files.

Nothing is imported here until a :class:`Found` is asked to load.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

from core.api.component import Provider
from core.api.errors import UserError, did_you_mean
from core.api.hookspecs import PROJECT

ONLY = "OPENWORK_PLUGINS"
"""Environment variable: the installed plugins to load, by name with commas; empty: none."""


@dataclass(frozen=True)
class Found:
    """A plugin that is there and not loaded yet."""

    provider: Provider
    load: Callable[[], object]
    """Import it; whatever the plugin raises."""

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is its distribution, entry point, both with a colon, or file."""
        return normal(name) in {normal(own) for own in self.names}

    @property
    def names(self) -> list[str]:
        distribution, point = self.provider.distribution, self.provider.entry_point
        return [distribution, *([f"{distribution}:{point}", point] if point else [])]


def normal(name: str) -> str:
    """A distribution's name as package installers compare it: ``Sp_RigL`` is ``sp-rigl``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> list[Found]:
    """The entry points of group ``openwork``, by distribution and name.

    A distribution that stands on the path twice is there once: the copy that Python imports.
    """
    found: dict[tuple[str, str], Found] = {}
    seen: set[str] = set()
    for distribution in metadata.distributions():
        if not _concerns_us(distribution):
            continue
        name = normal(distribution.metadata["Name"] or "unnamed")
        for one in [] if name in seen else _entry_points(distribution):
            # two entry points that name one object are one plugin
            found.setdefault((name, one.provider.source), one)
        seen.add(name)
    return sorted(found.values(), key=lambda one: [normal(name) for name in one.names])


def _concerns_us(distribution: metadata.Distribution) -> bool:
    try:
        return f"[{PROJECT}]" in (distribution.read_text("entry_points.txt") or "")
    except (OSError, UnicodeDecodeError):
        return False


def _entry_points(distribution: metadata.Distribution) -> Iterator[Found]:
    name, version = distribution.metadata["Name"] or "unnamed", distribution.version or "unknown"
    try:
        points = sorted(distribution.entry_points.select(group=PROJECT), key=lambda p: p.name)
    except Exception as error:
        failure = error  # the name of an except clause ends with it

        def fail() -> object:
            raise failure

        yield Found(Provider(name, version, "entry_points.txt"), fail)
        return
    editable = _is_editable(distribution)
    for point in points:
        provider = Provider(name, version, point.value, None, point.name, editable)
        yield Found(provider, point.load)


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (OSError, ValueError, AttributeError):
        return False


def file(path: Path) -> Found:
    """A plugin file; its version is the start of its SHA-256.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f"--plugin {path}: there is no such file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    provider = Provider(path.name, digest[:12], str(path.absolute()), digest)
    return Found(provider, lambda: _import_file(path.absolute()))


def _import_file(path: Path) -> ModuleType:
    name = f"openwork_plugin_{path.stem}"
    if getattr(sys.modules.get(name), "__file__", str(path)) != str(path):  # of another folder
        name += "_" + hashlib.sha256(bytes(path)).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    # dataclasses look postponed annotations up in the module of that name
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def place_of(module: str) -> list[Path]:
    """The file of a module that was imported, or its folder; nothing where it has none."""
    name = getattr(sys.modules.get(module), "__file__", None)
    if not name:
        return []
    file = Path(name)
    return [file.parent if file.name == "__init__.py" else file]


def package_of(module: str) -> list[Path]:
    """The place of the outermost package of a module that is no namespace."""
    names = module.split(".")
    outer = (place_of(".".join(names[: n + 1])) for n in range(len(names)))
    return next((place for place in outer if place), [])


def identified(provider: Provider) -> Provider:
    """With the SHA-256 of the package's sources, where it was imported from a checkout."""
    if not provider.editable:
        return provider
    digest = hashlib.sha256()
    for place in package_of(provider.source.partition(":")[0]):
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(b"%s\0%s\0" % (path.name.encode(), path.read_bytes()))
    return replace(provider, sha256=digest.hexdigest())


def wanted(found: Iterable[Found]) -> list[Found]:
    """Of what is installed, what the environment variable asks for: all, unless it is set."""
    only = os.environ.get(ONLY)
    if only is None:
        return list(found)
    names = [name.strip() for name in only.split(",") if name.strip()]
    return split(list(found), names, ONLY)[1]


def split(
    found: list[Found], names: Iterable[str], given_by: str
) -> tuple[list[Found], list[Found]]:
    """``found`` without those called by ``names``, and those.

    Raises:
        UserError: a name that no plugin has.
    """
    names = list(names)
    for name in names:
        if not any(one.is_called(name) for one in found):
            known = dict.fromkeys(own for one in found for own in one.names)
            listing = f"\n    plugins: {', '.join(known)}" if known else " None is installed."
            raise UserError(
                f"{given_by} {name}: no plugin is called so.{did_you_mean(name, known)}{listing}"
            )
    named = [one for one in found if any(one.is_called(name) for name in names)]
    return [one for one in found if one not in named], named
