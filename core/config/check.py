"""Check plain values against dataclasses: unknown keys, missing keys, types, ranges.

Every mistake is noted, none is raised, so that a user sees all of them at once.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union

from core.api.errors import OptionError, did_you_mean, every_option_error
from core.config.load import Loaded
from core.config.source import Key, Origin, dotted

_YAML_1_1_WORDS = re.compile(r"(?i)yes|no|on|off|y|n")
_OCTAL = re.compile(r"0\d+")


class _Invalid:
    """Passes every check of its range: what is wrong with it is said already."""

    def _passes(self, other: object) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = _passes


INVALID: Any = _Invalid()
"""Stands for a value that was noted as wrong."""


class Checker:
    """Checks values, and collects what is wrong with them."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.problems: dict[str, Origin] = {}
        self.lacking: list[str] = []
        """Keys that must be given and are not; noted as problems too."""

    def note(self, key: Key, problem: str) -> None:
        origin = self.loaded.origin(key)
        self.problems[f"{origin}: {dotted(key)}: {problem}"] = origin

    def note_lack(self, key: Key, lacking: Key, problem: str) -> None:
        """Note at ``key`` that ``lacking`` must be given: by another preset, where that can be.

        A list is never merged, so what its items lack no other preset can give.
        """
        self.note(key, problem)
        if not any(isinstance(part, int) for part in lacking):
            self.lacking.append(dotted(lacking))

    def in_order(self) -> list[str]:
        """What was noted, as it stands in the files; the command line last."""
        places = {
            text: (o.line is None, o.source, o.line or 0) for text, o in self.problems.items()
        }
        return sorted(self.problems, key=places.__getitem__)

    def dataclass(self, kind: type, values: Mapping[str, Any], key: Key, owner: str) -> Any:
        """An instance of ``kind``, or INVALID. ``owner`` names what has these options."""
        known = {f.name: f for f in fields(kind)}
        types_ = _hints(kind)
        built: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                hint = did_you_mean(str(name), known)
                listing = f"\n    options: {describe_options(kind)}" if known else ""
                self.note((*key, name), f"{owner} has no option '{name}'.{hint}{listing}")
            else:
                whole = _completed(value, known[name])
                built[name] = self.value(whole, types_[name], (*key, name))
        for name, f in known.items():
            if name not in values and is_required(f):
                needed = f"{owner} needs '{name}' ({type_name(types_[name])})"
                self.note_lack(key, (*key, name), needed)
                built[name] = INVALID
        instance = self._build(kind, built, key, owner)
        return instance if values.keys() <= known.keys() else INVALID

    def _build(self, kind: type, built: dict[str, Any], key: Key, owner: str) -> Any:
        """An instance, or INVALID with every value noted that is out of its range."""
        noted = {name for name, value in built.items() if value is INVALID}
        instance: Any = INVALID
        with every_option_error() as errors:
            try:
                instance = kind(**built)
            except OptionError:
                raise
            except Exception:  # a check met a value that an earlier one, or we, found wrong
                if not (noted or errors):
                    raise
        for error in errors:
            if error.field not in noted:
                self.note((*key, error.field), f"{error.problem} ({owner})")
        return INVALID if noted or errors else instance

    def value(self, value: Any, kind: Any, key: Key) -> Any:
        """``value`` as ``kind``, or INVALID."""
        if self._mistyped_scalar(value, kind, key):
            return INVALID
        if is_dataclass(kind) and isinstance(kind, type):
            if isinstance(value, Mapping):
                return self.dataclass(kind, value, key, f"'{dotted(key)}'")
            return value if isinstance(value, kind) else self._wrong(value, kind, key)
        origin = typing.get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(value, kind, key)
        if origin in (tuple, list):
            return self._sequence(value, kind, key)
        return self._scalar(value, kind, key)

    def _mistyped_scalar(self, value: Any, kind: Any, key: Key) -> bool:
        """YAML 1.1's surprises: ``off`` is a boolean and ``010`` is eight."""
        if key not in self.loaded.origins:
            return False
        text = self.loaded.origins[key].text
        if isinstance(value, bool) and _YAML_1_1_WORDS.fullmatch(text):
            word = str(value).lower() if kind is bool else f'"{text}", quoted'
            self.note(key, f"{text} is a boolean in YAML; write {word}")
            return True
        if isinstance(value, int) and not isinstance(value, bool) and _OCTAL.fullmatch(text):
            self.note(key, f"{text} is an octal number ({value}) in YAML; drop the leading zero")
            return True
        return False

    def _union(self, value: Any, kind: Any, key: Key) -> Any:
        if value is None and type(None) in typing.get_args(kind):
            return None
        choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
        for choice in choices:
            trial = Checker(self.loaded)
            converted = trial.value(value, choice, key)
            if not trial.problems:
                return converted
        if len(choices) == 1:
            self.problems |= trial.problems
            self.lacking += trial.lacking
            return INVALID
        return self._wrong(value, kind, key)

    def _sequence(self, value: Any, kind: Any, key: Key) -> Any:
        if not isinstance(value, list | tuple):
            return self._wrong(value, kind, key)
        inner = typing.get_args(kind)[0]
        items = [self.value(item, inner, (*key, i)) for i, item in enumerate(value)]
        return INVALID if any(item is INVALID for item in items) else tuple(items)

    def _scalar(self, value: Any, kind: Any, key: Key) -> Any:
        if typing.get_origin(kind) is Literal:
            return self._literal(value, kind, key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            self.note(key, f"must be a whole number; write {int(value):_} instead of {value!r}")
            return INVALID
        if kind is Any or type(value) is kind:
            return value
        return self._wrong(value, kind, key)

    def _literal(self, value: Any, kind: Any, key: Key) -> Any:
        choices = typing.get_args(kind)
        if value in choices and type(value) in {type(c) for c in choices}:
            return value
        hint = did_you_mean(str(value), [str(c) for c in choices])
        self.note(key, f"must be {type_name(kind)}, got {value!r}.{hint}")
        return INVALID

    def _wrong(self, value: Any, kind: Any, key: Key) -> Any:
        self.note(key, f"must be {type_name(kind)}, got {_shown(value)}")
        return INVALID


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def is_required(field: Field[Any]) -> bool:
    """Whether an option has no default, so that a preset must give it."""
    return field.default is MISSING and field.default_factory is MISSING


def _completed(value: Any, field: Field[Any]) -> Any:
    """A node that is given in part keeps the rest of its field's default."""
    if not isinstance(value, Mapping) or field.default_factory is MISSING:
        return value
    default = field.default_factory()
    if not is_dataclass(default):
        return value
    return {**{f.name: getattr(default, f.name) for f in fields(default)}, **value}


def _shown(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", type(None): "nothing (null)"}
    if type(value) in names:
        return names[type(value)]
    return f"{value!r} ({type_name(type(value))})"


def type_name(kind: Any) -> str:
    """A type as users know it: ``a number``, ``'exact' or 'bernoulli'``, ``a list of texts``."""
    plain = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        type(None): "null",
    }
    if kind in plain:
        return plain[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin in (tuple, list):
        return f"a list, each item {type_name(arguments[0])}"
    return "a mapping"


def describe_options(kind: type) -> str:
    """``sparsity: a number, draw: 'exact' or 'bernoulli' = 'exact'``."""
    hints = _hints(kind)
    shown = []
    for f in fields(kind):
        if f.default is not MISSING:
            default = f" = {f.default!r}" if not is_dataclass(f.default) else ""
        else:
            default = "" if is_required(f) else " (optional)"
        shown.append(f"{f.name}: {type_name(hints[f.name])}{default}")
    return ", ".join(shown)
