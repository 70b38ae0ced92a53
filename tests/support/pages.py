"""The documentation's pages, as tests read them."""

from __future__ import annotations

import re

from tests.conftest import PRESETS

DOCS = PRESETS.parent / "docs"


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text(page), flags=re.DOTALL)


def first_column(page: str) -> set[str]:
    """The names in back-ticks that begin the rows of a page's tables."""
    rows = [line.split("|")[1] for line in text(page).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
