"""``python -m core report`` for tests: run it, and read what it wrote."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from core.cli import main

SHORT: dict[str, Any] = {"frames": 10_000}
FEW = ("--figures", "returns", "--format", "svg")
"""Arguments for a page with little to draw."""


def report(*arguments: object) -> int:
    return main(["report", *map(str, arguments)])


def page_of(directory: Path) -> str:
    return (directory / "index.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees, tags left out, white space closed up."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())
