"""Verbs run in this process."""

from __future__ import annotations

from typing import Any

from core.cli import main


def said(capsys: Any, *words: str, code: int = 0) -> str:
    """What ``python -m core presets`` prints for these words; its mistakes, with code 2."""
    assert main(["presets", *words]) == code
    out, err = capsys.readouterr()
    return str(err if code == 2 else out)
