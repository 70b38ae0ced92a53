"""Kinds of component as words of the command line."""

from __future__ import annotations

from core.api import UserError, did_you_mean
from core.api.hookspecs import KINDS

SINGULAR = {word.split()[0]: kind for kind, word in KINDS.items()}
"""``mask`` stands for ``masks``; a kind of two words goes by its first (``data source``)."""


def read_kind(word: str) -> str:
    """The kind that ``mask``, ``masks`` or ``data-source`` means, as in ``KINDS``.

    Raises:
        UserError: there is no such kind; with the nearest one, and all.
    """
    known = {kind: kind for kind in KINDS} | {named: kind for kind, named in KINDS.items()}
    asked = word.lower().replace("-", " ").replace("_", " ")
    if asked in known:
        return known[asked]
    hint = did_you_mean(asked, known)
    raise UserError(
        f"--kind {word}: there is no such kind.{hint}\n    kinds: {', '.join(SINGULAR)}"
    )
