"""Patterns taken apart, put together again, and compared."""

from __future__ import annotations

import torch

from plugins.execution.pattern.blocks16 import Blocks16
from plugins.execution.pattern.tiled_csr import TiledCSR

NAMES = ["starts", "columns", "t_starts", "t_rows", "t_places"]


def parts(pattern):
    return {name: getattr(pattern, name).clone() for name in NAMES}


def make(pattern, tensors):
    """A pattern of ``tensors`` that claims to be of the shape of ``pattern``; checked."""
    if isinstance(pattern, Blocks16):
        return Blocks16(tuple(pattern.shape), tensors)
    return TiledCSR(tuple(pattern.shape), pattern.panel, pattern.block, tensors)


def expect_sound(pattern):
    assert equal(make(pattern, parts(pattern)), pattern)


def equal(one, other):
    """Whether both keep the same entries, and order them alike."""
    return (
        type(one) is type(other)
        and (one.shape, one.panel, one.block) == (other.shape, other.panel, other.block)
        and all(torch.equal(getattr(one, name), getattr(other, name)) for name in NAMES)
    )


def mask_of(pattern):
    return pattern.expanded(torch.ones(pattern.nnz, dtype=torch.bool))
