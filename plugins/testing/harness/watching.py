"""What a piece of code did besides its work: numbers read on the host, generators drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from core.agent.randomness import random_state

READS = {"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"}
"""Methods that bring a tensor's numbers to the host."""
SIZED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim"}
"""Operations whose answer's size depends on numbers, which must be read for it."""


class _Methods(TorchFunctionMode):
    """Notes methods that read; some of them are not seen below."""

    def __init__(self, found: dict[str, None]) -> None:
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in READS:
            self._found[f"Tensor.{name}"] = None
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations that read, whoever calls them."""

    def __init__(self, found: dict[str, None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        picked = name == "index" and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name == "_local_scalar_dense":
            self._found["Tensor.item"] = None
        elif name in SIZED_BY_VALUES or picked:
            self._found["a boolean index" if picked else f"torch.{name}"] = None
        return func(*args, **(kwargs or {}))


@contextmanager
def host_reads() -> Iterator[dict[str, None]]:
    """Inside, whatever reads a tensor on the host is noted, by name: a GPU would be waited for."""
    found: dict[str, None] = {}
    with _Operations(found), _Methods(found):
        yield found


class NoTensors(TorchFunctionMode):
    """Inside, whatever does anything with a tensor raises."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(getattr(func, "__name__", str(func)))


def drawn_from(before: Mapping[str, Any]) -> str:
    """The global generators drawn from since this ``random_state`` was taken."""
    after = random_state()
    same = {
        "Python's": before["python"] == after["python"],
        "NumPy's": all(map(_equal, before["numpy"], after["numpy"])),
        "torch's": torch.equal(before["torch"], after["torch"]),
    }
    return " and ".join(f"{name} global generator" for name, kept in same.items() if not kept)


def _equal(first: Any, second: Any) -> bool:
    return bool((first == second).all()) if hasattr(first, "all") else bool(first == second)
