"""What can go wrong, in two kinds: what a user can mend, and a run that cannot go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import TypeVar


class UserError(Exception):
    """Something the user can mend: printed as it is, without a traceback; exit code 2."""


class OptionError(ValueError):
    """An option's value is out of its range.

    Raised from the ``__post_init__`` of an options dataclass, usually through :func:`require`;
    the configuration check adds the file, the line and the provider.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class RunStopped(Exception):
    """A run that cannot go on (a non-finite loss, say): one message, exit code 1."""


def require(condition: bool, field: str, problem: str) -> None:
    """Raise :class:`OptionError` for ``field`` unless ``condition`` holds.

    ``problem`` reads on from the field's name: ``require(0 <= s < 1, "sparsity",
    f"must be in [0, 1), got {s}")``.
    """
    if condition:
        return
    error, noted = OptionError(field, problem), _noted.get()
    if noted is None:
        raise error
    noted.append(error)


_noted: ContextVar[list[OptionError] | None] = ContextVar("_noted", default=None)


@contextmanager
def every_option_error() -> Iterator[list[OptionError]]:
    """Within it :func:`require` notes what is wrong and goes on, so that all is found at once."""
    noted: list[OptionError] = []
    token = _noted.set(noted)
    try:
        yield noted
    except OptionError as error:
        noted.append(error)
    finally:
        _noted.reset(token)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of ``choices``, or an empty string."""
    near = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


ErrorT = TypeVar("ErrorT", bound=BaseException)


def accuse(error: ErrorT, suspect: object) -> ErrorT:
    """Note who was asked when ``error`` arose, for where no line of the traceback is a plugin's.

    ``suspect`` is a provider, or an object of the plugin's, such as a mask scheme.
    """
    error.__dict__.setdefault("suspect", suspect)
    return error


@contextmanager
def accusing(suspect: object, note: str) -> Iterator[None]:
    """Within it, :func:`accuse` whoever is asked, and note under the traceback for what."""
    try:
        yield
    except Exception as error:
        accuse(error, suspect).add_note(note)
        raise
