"""Values as a preset would write them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_WORDS = re.compile(r"(?i)yes|no|on|off|y|n|true|false|null")


def as_yaml(value: Any) -> str:
    """One line of YAML: a scalar, or a list or mapping of them in brackets."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{as_yaml(k)}: {as_yaml(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    return json.dumps(value)


def _text(value: str) -> str:
    """Quoted wherever YAML, or OmegaConf's ``${...}``, could take it for something else."""
    if _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
        return value
    # OmegaConf halves the backslashes before an interpolation, and only those
    value = re.sub(r"(\\*)\$\{", lambda found: rf"{found[1]}{found[1]}\${{", value)
    return f'"{"".join(map(_character, value))}"'


def _character(letter: str) -> str:
    """As it stands between double quotes."""
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


def _number(value: float) -> str:
    """All its digits; with an exponent in the form that every version of YAML reads."""
    if not math.isfinite(value):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    if "e" not in repr(value) and (value == 0 or abs(value) >= 1e-3):
        return repr(value)
    digits, exponent = f"{Decimal(repr(value)):e}".split("e")
    return f"{digits if '.' in digits else f'{digits}.0'}e{int(exponent):+d}"
