"""Every global random generator: seeded together, saved together, left alone on request."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import torch


def derived_seed(seed: int, purpose: str) -> int:
    """A seed of its own for one purpose, the same on every machine.

    Two generators that are seeded alike draw alike, so no two share a seed. Hashed into 32
    bits, because torch's CPU generator looks at no more.
    """
    return int.from_bytes(sha256(f"{seed}/{purpose}".encode()).digest()[:4], "big")


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Python's, NumPy's and torch's generators, CUDA's included."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Undo everything drawn since :func:`random_state`."""
    python = state["python"]
    random.setstate((python[0], tuple(python[1]), python[2]))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """What runs inside draws from the global generators without the outside noticing."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """As :func:`untouched_randomness`; what runs inside draws from generators seeded alike."""
    with untouched_randomness():
        seed_everything(seed)
        yield
