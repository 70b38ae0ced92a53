"""What the patterns have in common: identity, orders of the values, immutability."""

from __future__ import annotations

import ctypes
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from plugins.execution.compiled import fields
from plugins.execution.pattern import order

_numbers = itertools.count(1)
_living: WeakValueDictionary[int, Pattern] = WeakValueDictionary()


class NativePattern(ctypes.Structure):
    """What a kernel is told of a pattern; ``struct Pattern`` of the native sources."""

    _fields_ = fields(
        (ctypes.c_int64, "outputs inputs count kind panel block"),
        (ctypes.c_void_p, "starts columns t_starts t_rows t_places"),
    )


class Pattern(ABC):
    """Which entries of a matrix ``[N, K]`` are kept, and in which order their values lie.

    Never changed once made, so that all copies of a layer share one: a deep copy is the
    pattern itself, a pickled one comes back as an equal one and is validated first.
    Tensors cannot be frozen; those given are copied, and writing into the pattern's own is
    noticed by :attr:`address` (unless done through NumPy).
    """

    kind: ClassVar[int]
    """How kernels tell patterns apart: 0 panels, 1 blocks of 16."""
    each: ClassVar[int] = 1
    """Values of an entry of the index."""
    dtypes: ClassVar[Mapping[str, torch.dtype]]
    """Of its tensors, by name."""
    shape: torch.Size
    """``[N, K]``: outputs, inputs."""
    nnz: int
    """Kept entries."""
    panel: int
    """Columns of a panel."""
    block: int
    """Rows of a row block."""
    number: int
    """Names the pattern within this process (:func:`by_number`)."""
    starts: Tensor
    columns: Tensor
    t_starts: Tensor
    t_rows: Tensor
    t_places: Tensor

    _tensors: tuple[Tensor, ...]
    _expected: int
    _layer: NativePattern
    _address: int

    @classmethod
    def _trusted(
        cls, shape: tuple[int, int], tiles: tuple[int, int], tensors: dict[str, Tensor]
    ) -> Self:
        """Of tensors that were made for it, neither copied nor checked."""
        new = cls.__new__(cls)
        new._settle(shape, tiles, tensors)
        return new

    def _settle(
        self, shape: tuple[int, int], tiles: tuple[int, int], tensors: dict[str, Tensor]
    ) -> None:
        """Take, once and for all, what it consists of; ``tiles`` are ``(panel, block)``."""
        nnz = tensors["columns"].numel() * self.each
        layer = NativePattern(*shape, nnz, self.kind, *tiles)
        for name, tensor in tensors.items():
            setattr(layer, name, tensor.data_ptr())
        number = next(_numbers)
        self.__dict__.update(
            tensors,
            shape=torch.Size(shape),
            nnz=nnz,
            panel=tiles[0],
            block=tiles[1],
            number=number,
            _tensors=tuple(tensors.values()),
            _expected=_versions(tensors.values()),
            _layer=layer,
            _address=ctypes.addressof(layer),
        )
        _living[number] = self

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a pattern does not change, nor does its {name}")

    @property
    def address(self) -> int:
        """Where kernels find :class:`NativePattern`, for as long as this object lives.

        Raises:
            ValueError: a tensor of the pattern was written into.
        """
        if _versions(self._tensors) != self._expected:
            raise ValueError(f"{self}: a tensor of it was written into after it was made")
        return self._address

    @property
    def bytes(self) -> int:
        """Memory of the index, without values."""
        return sum(tensor.nbytes for tensor in self._tensors)

    @property
    def density(self) -> float:
        """Share of entries that are kept, in [0, 1]."""
        return self.nnz / self.shape.numel()

    # --- orders -------------------------------------------------------------------------

    @abstractmethod
    def positions(self) -> Tensor:
        """``[nnz]`` int64: the place of every value in the matrix, flat and row-major."""

    @abstractmethod
    def ranks(self) -> Tensor:
        """``[nnz]`` int64: the place of every value among all in row-major order."""

    def to_portable(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` in this pattern's order to row-major order, ``matrix[mask]``."""
        self._expect(values, (self.nnz,))
        return order.scattered(values, self.ranks(), self.nnz)

    def from_portable(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` in row-major order to this pattern's."""
        self._expect(values, (self.nnz,))
        return order.gathered(values, self.ranks())

    def expanded(self, values: Tensor) -> Tensor:
        """``[..., nnz]`` to ``[..., N, K]``, zero elsewhere."""
        self._expect(values, (self.nnz,))
        flat = order.scattered(values, self.positions(), self.shape.numel())
        return flat.view(*flat.shape[:-1], *self.shape)

    def compacted(self, matrix: Tensor) -> Tensor:
        """``[..., N, K]`` to its kept entries ``[..., nnz]``."""
        self._expect(matrix, self.shape)
        return order.gathered(matrix.flatten(-2), self.positions())

    def carrying(self, new: Pattern) -> Callable[[Tensor], Tensor]:
        """What brings ``[..., nnz]`` into the order of ``new``, zero if not kept here.

        Nothing of the size of the matrix is made.

        Raises:
            ValueError: ``new`` is of another shape.
        """
        new.expect(self.shape, new.nnz)
        here, there = (self.positions(), self.ranks()), (new.positions(), new.ranks())
        return order.carrying(here, there, self.shape.numel())

    # --- checks -------------------------------------------------------------------------

    def expect(self, shape: tuple[int, ...], count: int) -> None:
        """Raise ValueError unless it is the pattern of ``count`` weights of such a matrix."""
        if tuple(shape) != tuple(self.shape):
            raise ValueError(f"{self} is another layer's: this one has shape {list(shape)}")
        if count != self.nnz:
            raise ValueError(f"{self} is another layer's: this one has {count} weights")

    def _expect(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(tensor.shape[-len(shape) :]) != tuple(shape):
            wanted = ", ".join(map(str, shape))
            raise ValueError(f"{self} needs [..., {wanted}], got {list(tensor.shape)}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"{type(self).__name__}({rows} x {columns}, {self.nnz} kept)"


def reduced(
    pattern: Pattern, *first: Any
) -> tuple[Callable[..., Pattern], tuple[type[Pattern], tuple[Any, ...], dict[str, Any]]]:
    """How it is pickled: arguments of its class, the tensors as arrays.

    PyTorch cannot unpickle tensors of uint16.
    """
    arrays = {name: getattr(pattern, name).numpy() for name in pattern.dtypes}
    return restored, (type(pattern), first, arrays)


def restored(
    kind: Callable[..., Pattern], first: tuple[Any, ...], arrays: Mapping[str, Any]
) -> Pattern:
    """Undo :func:`reduced`; validated like any that is made of given tensors."""
    return kind(*first, {name: torch.from_numpy(array) for name, array in arrays.items()})


def by_number(number: int) -> Pattern:
    """The pattern of this number.

    Raises:
        ValueError: there is none, or none any more, in this process.
    """
    pattern = _living.get(int(number))
    if pattern is None:
        raise ValueError(f"no pattern has the number {int(number)} in this process")
    return pattern


def _versions(tensors: Iterable[Tensor]) -> int:
    """Rises with every operation that writes into one of them."""
    total = 0
    for tensor in tensors:
        total += tensor._version
    return total
