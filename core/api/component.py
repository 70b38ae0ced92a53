"""What a plugin offers: a component, and who provides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Generic, TypeVar

OptionsT = TypeVar("OptionsT")
ContextT = TypeVar("ContextT")
BuiltT_co = TypeVar("BuiltT_co", covariant=True)


@dataclass(frozen=True)
class Provider:
    """Where a component comes from; written into every run's record."""

    distribution: str
    """Name of the installed distribution, or the file name of a ``--plugin`` file."""
    version: str
    """The distribution's version, or the first 12 digits of the file's SHA-256."""
    source: str
    """The module, entry point or file that was loaded."""
    sha256: str | None = None
    """Of a ``--plugin`` file, or of the sources of a package that is installed as editable."""
    entry_point: str | None = None
    """The entry point's name, of an installed plugin."""
    editable: bool = False
    """Installed in editable mode: the version says little about the code."""

    @property
    def is_file(self) -> bool:
        """Whether it is a ``--plugin`` file, and not installed."""
        return self.sha256 is not None and self.entry_point is None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Component(Generic[OptionsT, ContextT, BuiltT_co]):
    """One named thing that a preset can ask for.

    ``build`` gets the checked options and the context of its kind, and returns the object.
    Heavy imports belong inside it, or it is :class:`Lazy`: listing and checking stay fast.
    """

    name: str
    """Lower case, digits and underscores; what the preset writes."""
    options: type[OptionsT]
    """A frozen dataclass: every field annotated, with a default unless it is required."""
    build: Callable[[OptionsT, ContextT], BuiltT_co]
    summary: str
    """One line, shown in listings and in error messages."""
    needs: frozenset[str] | Callable[[OptionsT], frozenset[str]] = frozenset()
    """Capabilities that other components of the preset must provide, such as ``"replay"``;
    or what answers them for the checked options."""
    provides: frozenset[str] = frozenset()
    """Capabilities that this component brings, such as ``"replay"`` or ``"pixels"``."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """What a user can do where one of its needs is not met, by need; ends the message."""
    provider: Provider | None = None
    """Filled in by the host, never by the plugin."""


AnyComponent = Component[Any, Any, Any]


@dataclass(frozen=True)
class Lazy:
    """A component's ``build`` in a module that is imported when it is first called.

    So a table of components imports nothing heavy, and needs no function for each. Entry
    points and Gymnasium's registry do likewise.
    """

    path: str
    """``module:name``, of a function, or of a class that is called as one."""

    @property
    def module(self) -> str:
        return self.path.partition(":")[0]

    def resolve(self) -> Any:
        """What ``path`` names; imports its module."""
        return getattr(import_module(self.module), self.path.partition(":")[2])

    def __call__(self, options: Any, context: Any) -> Any:
        return self.resolve()(options, context)


lazy = Lazy
"""As it stands in a table: ``lazy("plugins.losses.sac:SAC")``."""
