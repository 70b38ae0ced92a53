"""Whose fault an error is: the plugin whose code raised it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.api.component import Lazy, Provider
from core.api.errors import UserError
from core.api.hookspecs import PROJECT
from core.plugins.discovery import package_of, place_of

if TYPE_CHECKING:
    from core.api.component import AnyComponent
    from core.plugins.validation import Broken

    _Home = Mapping[Path, Path]


class Hosted(Protocol):
    """The plugins that were loaded, each with its module, and those that failed."""

    @property
    def modules(self) -> Mapping[Provider, str]: ...

    @property
    def broken(self) -> Sequence[Broken]: ...


class Chosen(Protocol):
    """A component that a run has, and what it is called in messages."""

    @property
    def component(self) -> AnyComponent: ...

    @property
    def title(self) -> str: ...


@dataclass(frozen=True)
class Blame:
    """A plugin, and the line of it that raised."""

    provider: Provider
    file: str = ""
    line: int = 0
    folder: str = ""
    """What ``file`` is shown relative to."""

    def __str__(self) -> str:
        where = self.file.removeprefix(self.folder).lstrip("/\\")
        who = str(self.provider)
        if self.provider.distribution != PROJECT:
            who = f"plugin {who}"
        return who + (f" ({where}:{self.line})" if where else "")

    def component(self, selections: Sequence[Chosen]) -> str:
        """``, mask 'foo'``: what a run has of the plugin, where that is told."""
        own = [s for s in selections if s.component.provider == self.provider]
        here = [s for s in own if _file_of(s.component.build) == self.file]
        titles = [s.title.partition(" (")[0] for s in here or own]
        return f", {' or '.join(dict.fromkeys(titles))}" if titles else ""


def blame(error: BaseException, plugins: Hosted) -> Provider | None:
    """The plugin whose code raised ``error``, by the innermost line that is a plugin's."""
    found = find(error, plugins)
    return found.provider if found else None


def find(error: BaseException, plugins: Hosted) -> Blame | None:
    """:func:`blame` with the line. A built-in is blamed only where nobody else is in it."""
    providers = [*plugins.modules, *(broken.provider for broken in plugins.broken)]
    homes = [(one, _home(one, plugins.modules.get(one))) for one in providers]
    found = [one for e in _chain(error) for one in _suspects(e, homes)]
    foreign = [one for one in found if one.provider.distribution != PROJECT]
    return next(iter([*foreign, *found]), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came of; ``from None`` hides them from users only."""
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        following = following.__cause__ or following.__context__


def _suspects(error: BaseException, homes: Sequence[tuple[Provider, _Home]]) -> Iterator[Blame]:
    """Innermost line first, then who was asked."""
    lines = [(f.f_code.co_filename, n) for f, n in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno or 0))
    for file, line in reversed(lines):
        for provider, home in homes:
            yield from (Blame(provider, file, line, folder) for folder in _folders(file, home))
    suspect = error.__dict__.get("suspect")
    if isinstance(suspect, Provider):
        yield Blame(suspect)
    elif suspect is not None:
        file = getattr(sys.modules.get(type(suspect).__module__), "__file__", None) or ""
        yield from (Blame(provider) for provider, home in homes if _folders(file, home))


def _home(provider: Provider, module: str | None) -> _Home:
    """The files of a plugin, or the folders they are in, each with what it is shown relative to."""
    paths: list[Path] = []
    depth = 0
    if provider.entry_point is not None:
        name = module or provider.source.partition(":")[0]
        paths = [*package_of(name), *_files(provider.distribution)]
    elif provider.sha256 is not None:
        paths = [Path(provider.source)]
    elif module is not None:
        paths, depth = [*place_of(module)], module.count(".")
    return {path: path.parents[depth] for path in paths}


def _folders(file: str, home: _Home) -> list[str]:
    """What a file is shown relative to, if it is of this home: one folder or none."""
    return [str(shown) for path, shown in home.items() if Path(file).is_relative_to(path)][:1]


def _files(distribution: str) -> list[Path]:
    """The modules that came with a distribution; none where it is a checkout."""
    try:
        files = metadata.distribution(distribution).files or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.suffix == ".py"]


def _file_of(function: Any) -> str:
    if isinstance(function, Lazy):
        return str(getattr(sys.modules.get(function.module), "__file__", ""))
    return str(getattr(getattr(function, "__code__", None), "co_filename", ""))


def verdict(
    error: BaseException, plugins: Hosted, selections: Sequence[Chosen] = (), more: str = ""
) -> str:
    """The last line of a failure: the plugin, its line and component, and ``more``; or ''."""
    found = find(error, plugins)
    who = f"this was {found}{found.component(selections)}" if found else ""
    said = "; ".join(part for part in (who, more) if part)
    own = found is not None and found.provider.distribution == PROJECT
    named = own or (found is not None and str(found.provider) in str(error))
    said_all = isinstance(error, KeyboardInterrupt) or (isinstance(error, UserError) and named)
    if said_all and not more:  # Ctrl-C is nobody's fault; in a run it is no exception
        return ""
    return f"{PROJECT}: {said}" if said else ""


@contextmanager
def blamed(
    plugins: Hosted,
    selections: Sequence[Chosen] = (),
    more: Callable[[], str] = str,
    *,
    may_exit: bool = False,
) -> Iterator[None]:
    """Let what is raised inside end with its verdict, as the note under its traceback.

    A ``sys.exit`` would end the process without a word: it becomes an error, unless it may.
    """
    try:
        yield
    except GeneratorExit:
        raise
    except SystemExit as error:
        if may_exit:
            raise
        failure = RuntimeError(f"sys.exit({error.code!r}) was called")
        failure.__cause__ = error
        _note(failure, verdict(failure, plugins, selections, more()))
        raise failure from error
    except BaseException as error:
        _note(error, verdict(error, plugins, selections, more()))
        raise


def _note(error: BaseException, text: str) -> None:
    known = getattr(error, "__notes__", [])
    if text and not any(note.startswith(f"{PROJECT}: ") for note in known):
        error.add_note(text)
