"""What is wrong with a plugin's hooks and components, in words that say how to mend it."""

from __future__ import annotations

import inspect
import re
import traceback
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union

from core.api.component import AnyComponent, Component, Provider
from core.api.errors import did_you_mean
from core.api.hookspecs import ALL, KINDS, PROJECT, Offers, Watches

OFFERS = {f"register_{kind}": kind for kind in KINDS}
HOOKS: dict[str, tuple[str, ...]] = {
    name: function.__code__.co_varnames[1 : function.__code__.co_argcount]
    for specs in (Offers, Watches)
    for name, function in vars(specs).items()
    if hasattr(function, f"{PROJECT}_spec")
}
"""Every hook with the names of its arguments."""
ORDERS = ("tryfirst", "trylast", "hookwrapper", "wrapper")
PLAIN = (int, float, bool, str, NoneType)
WRITE = "write int, float, bool, str, Literal[...], X | None, tuple[X, ...] or a frozen dataclass"


class PluginError(Exception):
    """A plugin that breaks the rules; the message says how to mend it."""


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used, and why."""

    provider: Provider
    error: str
    traceback: str = ""
    """Of what the plugin raised; empty where it was refused."""

    @staticmethod
    def of(provider: Provider, error: BaseException) -> Broken:
        if isinstance(error, PluginError):
            return Broken(provider, str(error))
        trace = "".join(traceback.format_exception(error))
        return Broken(provider, f"{type(error).__name__}: {error}", trace)

    def __str__(self) -> str:
        return f"{self.provider} ({self.provider.source}): {self.error}"

    @property
    def advice(self) -> str:
        """The command line that says more."""
        source, name = self.provider.source, self.provider.distribution
        which = f"--plugin {source}" if self.provider.is_file else name
        return f"python -m core plugins doctor {which}"


# --- hooks ------------------------------------------------------------------------------


def check_hooks(plugin: object, *, hookless: bool = False) -> list[str]:
    """What is wrong with the hooks of a plugin (a module or an object), one text each.

    ``hookless``: it need not have any, because importing it may be all that is wanted.
    """
    if isinstance(plugin, type):
        return [f"{plugin.__name__} is a class; give an instance: {plugin.__name__}()"]
    if inspect.isroutine(plugin):
        return [f"{plugin.__name__} is a function; give the module that it is in"]
    problems: list[str] = []
    marked = False
    for name, function in _functions(plugin):
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is not None:
            marked = True
            problems += _check_hook(options.get("specname") or name, function, options)
        elif (name in HOOKS or name.startswith("register_")) and _is_own(function, plugin):
            known = "" if name in HOOKS else f" No hook is called so.{did_you_mean(name, HOOKS)}"
            problems.append(
                f"{name} is not marked: did you forget @hookimpl?{known}"
                " (if it is no hook, call it something else)"
            )
    if not problems and not marked and not hookless:
        problems.append(
            "it offers and watches nothing: mark a function with @hookimpl, such as register_masks"
        )
    return problems


def _functions(plugin: object) -> Iterator[tuple[str, Any]]:
    for name in dir(plugin):
        try:
            value = getattr(plugin, name)
        except Exception:  # a property that needs more than there is
            continue
        if inspect.isroutine(value):
            yield name, value


def _is_own(function: Any, plugin: object) -> bool:
    """Whether it was written in the plugin, not imported into it."""
    if not isinstance(plugin, ModuleType):
        return True
    return getattr(function, "__module__", None) == plugin.__name__


def _check_hook(name: str, function: Any, options: Mapping[str, Any]) -> list[str]:
    if name not in HOOKS:
        hint = did_you_mean(name, HOOKS) or f" Hooks: {', '.join(HOOKS)}"
        return [f"no hook is called '{name}'.{hint}"]
    problems = []
    asked = [order for order in ORDERS if options.get(order)]
    if asked:
        problems.append(
            f"{name} asks for {', '.join(asked)}: hooks have no order here; write @hookimpl alone"
        )
    if inspect.iscoroutinefunction(function):
        problems.append(f"{name} is async: nobody awaits it; write def")
    if name not in OFFERS and inspect.isgeneratorfunction(function):
        problems.append(f"{name} is a generator, so its body would never run; leave out yield")
    return problems + _check_arguments(name, function)


def _check_arguments(name: str, function: Any) -> list[str]:
    problems = []
    for argument in inspect.signature(function).parameters.values():
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.POSITIONAL_ONLY):
            problems.append(f"{name} takes '{argument}': name plain arguments")
        elif argument.default is not argument.empty:
            plain = f"write '{argument.name}'"
            known = argument.name in HOOKS[name]
            problems.append(
                f"{name} has a default: '{argument.name}={argument.default!r}'; "
                + (plain if known else f"{_no_argument(name, argument.name)}")
            )
        elif argument.name not in HOOKS[name]:
            problems.append(f"{name}: {_no_argument(name, argument.name)}")
    return problems


def _no_argument(hook: str, name: str) -> str:
    known = HOOKS[hook]
    listing = f"it may take {', '.join(known)}" if known else "the hook takes none"
    return f"it is given no argument '{name}'.{did_you_mean(name, known)} ({listing})"


# --- components -------------------------------------------------------------------------


def components_of(kind: str, answer: Any) -> list[AnyComponent]:
    """What a hook answered, as a list of components.

    Raises:
        PluginError: anything else, or components that cannot be used.
    """
    hook = f"register_{kind}"
    if answer is None:
        raise PluginError(f"{hook} returned nothing; end it with 'return [Component(...)]'")
    if isinstance(answer, Component):
        raise PluginError(f"{hook} must return a list of components; write [Component(...)]")
    if not isinstance(answer, Iterable) or isinstance(answer, str | Mapping):
        raise PluginError(f"{hook} must return components, got {answer!r}")
    offers = list(answer)
    problems = [text for offer in offers for text in check_offer(kind, offer)]
    if not problems:
        names = Counter(offer.name for offer in offers)
        problems = [f"{hook} offers '{n}' {k} times" for n, k in names.items() if k > 1]
    if problems:
        raise PluginError("\n    ".join(problems))
    return offers


def check_offer(kind: str, offer: object) -> list[str]:
    """What is wrong with one component, one text each."""
    if not isinstance(offer, Component):
        hint = ""
        if isinstance(offer, type) or inspect.isroutine(offer):
            word = "class" if isinstance(offer, type) else "function"
            hint = f": a {word}; wrap it, Component('name', Options, build, 'what it does')"
        return [f"register_{kind} must return components, got {offer!r}{hint}"]
    allowed = "[a-z][a-z0-9_-]*" if kind == "commands" else "[a-z][a-z0-9_]*"
    if not re.fullmatch(allowed, str(offer.name)):
        return [
            f"a {KINDS[kind]} is called {offer.name!r}: a name is lower-case letters, digits and "
            "underscores, a letter first"
        ]
    problems = list(_check_options(kind, offer.options))
    problems += [*_check_words(offer), *_check_build(offer.build)]
    if kind == "diagnostics" and offer.name == ALL:
        problems.append(f"no diagnostic may be called '{ALL}': in a preset it stands for all")
    return [f"{KINDS[kind]} '{offer.name}': {problem}" for problem in problems]


def _check_words(offer: Any) -> Iterator[str]:
    if not isinstance(offer.summary, str) or len(offer.summary.strip().splitlines()) != 1:
        yield f"its summary must be one line of text, got {offer.summary!r}"
    for name in ("needs", "provides"):
        words = getattr(offer, name)
        if callable(words) and name == "needs":
            continue
        if not isinstance(words, frozenset) or not all(isinstance(w, str) for w in words):
            words = {words} if isinstance(words, str) else words
            yield f"{name} must be a frozenset of words; write frozenset({words!r})"
    if not isinstance(offer.instead, Mapping):
        yield f"instead must be a mapping, got {offer.instead!r}"


def _check_build(build: Any) -> Iterator[str]:
    if not callable(build):
        yield f"its build must be a function of options and context, got {build!r}"
        return
    try:
        inspect.signature(build).bind(None, None)
    except TypeError:
        yield "its build must take two arguments, the options and the context"
    except ValueError:  # written in C, with no signature to look at
        return


def _check_options(kind: str, options: object) -> Iterator[str]:
    if not isinstance(options, type):
        name = type(options).__name__
        hint = f"; give the class: {name}" if is_dataclass(options) else ""
        yield f"its options must be a frozen dataclass, got {options!r}{hint}"
        return
    if not _is_frozen(options):
        name = options.__name__
        yield f"its options must be a frozen dataclass; write @dataclass(frozen=True) over {name}"
        return
    taken = {"name"} | ({"count"} if kind == "environments" else set())
    for field in fields(options):
        if field.name in taken:
            yield f"no option may be called '{field.name}': in a preset it is taken"
    yield from _check_fields(options)


def _check_fields(options: type) -> Iterator[str]:
    try:
        hints = typing.get_type_hints(options)
    except Exception as error:
        yield (
            f"the annotations of {options.__name__} cannot be read ({error}); "
            "import what they name outside of 'if TYPE_CHECKING'"
        )
        return
    for field in fields(options):
        if not _is_checkable(hints[field.name]):
            yield f"option '{field.name}' is annotated {hints[field.name]!r}; {WRITE}"
    for name, value in vars(options).items():
        plain = type(value) in (*PLAIN, tuple) and name == name.lower() and name[0] != "_"
        if plain and name not in hints:
            yield f"'{name} = {value!r}' has no annotation and is no option; annotate it"


def _is_checkable(kind: Any) -> bool:
    """Whether the configuration check knows what to do with an option of this type."""
    if kind in PLAIN:
        return True
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return True
    if origin in (Union, UnionType):
        return all(map(_is_checkable, arguments))
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is ... and _is_checkable(arguments[0])
    return isinstance(kind, type) and _is_frozen(kind) and not list(_check_fields(kind))


def _is_frozen(kind: type) -> bool:
    return is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]
