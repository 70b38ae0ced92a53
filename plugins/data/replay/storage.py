"""TorchRL buffer parts over rings of frames: storage, sampler and writer.

Together in a ``torchrl.data.ReplayBuffer`` they take ``[N, T]`` batches from a collector and
give n-step transitions with rebuilt frame stacks; transforms can be appended as to any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from tensordict import TensorDict
from torchrl.data import TensorStorage
from torchrl.data.replay_buffers.samplers import Sampler
from torchrl.data.replay_buffers.writers import Writer

from core.api import Returns
from plugins.data.replay.layout import Layout
from plugins.data.replay.ledger import Ledger, placed_slots
from plugins.data.replay.outputs import Outputs
from plugins.data.replay.windows import (
    Bytes,
    Ints,
    Placement,
    around,
    end_codes,
    n_step,
    stack_slots,
)

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from plugins.data.replay.layout import Column

Allocate = Callable[[str, tuple[int, ...], torch.dtype], "Tensor"]
"""``(column, shape, dtype) -> tensor``: makes one large column, untouched."""
LARGE = 1 << 20
"""Bytes from which a batch's memory is worth keeping for the next."""


@final
class FrameStorage(TensorStorage):
    """Frames of all rings, one after the other; read as transitions.

    ``get(starts)`` builds the transitions that start in these slots. ``pin`` puts batches
    into pinned memory, from which copies to a GPU overlap with computing.
    """

    def __init__(self, layout: Layout, returns: Returns, allocate: Allocate, pin: bool) -> None:
        self.layout = layout
        self.returns = returns
        self.ledger = Ledger(layout, returns.n_step)
        self._pin = pin
        self._outputs = Outputs()
        self._ahead = np.arange(returns.n_step)[:, None]
        size = layout.environments * layout.frames

        def columns(kind: Mapping[str, Column], make: Allocate) -> dict[str, Tensor]:
            return {name: make(name, (size, *c.shape), c.dtype) for name, c in kind.items()}

        self.columns = columns(layout.placed, allocate) | columns(layout.ledger, zeroed)
        self._arrays = {n: c.numpy() for n, c in self.columns.items() if c.device.type == "cpu"}
        self._reward, self._end, self._age = (self._arrays[n] for n in ("reward", "end", "age"))
        super().__init__(TensorDict(self.columns, batch_size=[size]))

    def __len__(self) -> int:
        """Transitions held."""
        return self.ledger.held

    def get(self, index: Tensor) -> TensorDictBase:
        """Transitions from the starts ``index`` ``[B]``; see ``core.api.DataSource`` for keys."""
        starts, ring = index.numpy(), self.layout.frames
        window = around(starts, self._ahead, ring)
        reward, count, discount = n_step(
            self._reward.take(window), self._end.take(window), self.returns.gamma
        )
        size = [len(index)]
        following = {
            "observation": self._observation(around(starts, count, ring)),
            "reward": torch.from_numpy(reward).unsqueeze(1),
            "discount": torch.from_numpy(discount).unsqueeze(1),
        }
        return TensorDict(
            {
                "observation": self._observation(starts),
                "action": self._take("action", starts),
                "next": TensorDict(following, batch_size=size),
            },
            batch_size=size,
        )

    def _observation(self, slots: Ints) -> Tensor:
        """Observations ``[B, *observation]`` at ``slots``, stacks rebuilt."""
        stack = self.layout.frame_stack
        if stack == 1:
            return self._take("observation", slots)
        frames = stack_slots(slots, self._age.take(slots), stack, self.layout.frames)
        taken = self._take("observation", frames.reshape(-1))
        return taken.view(len(slots), -1, *taken.shape[2:])

    def _take(self, name: str, slots: Ints) -> Tensor:
        """Frames ``[B, ...]`` of one column."""
        if name not in self._arrays:
            column = self.columns[name]
            index = torch.from_numpy(slots).pin_memory().to(column.device, non_blocking=True)
            return column.index_select(0, index)
        source = self._arrays[name]
        if not self._pin and len(slots) * source.strides[0] < LARGE:
            return torch.from_numpy(source.take(slots, axis=0))
        shape, dtype = (len(slots), *source.shape[1:]), self.columns[name].dtype
        if self._pin:
            out = torch.empty(shape, dtype=dtype, pin_memory=True)
        else:
            out = self._outputs.empty(shape, dtype)
        # "raise" would fill a copy of `out` first; the slots are in range
        source.take(slots, axis=0, out=out.numpy(), mode="clip")
        return out

    def put(self, name: str, slots: Ints, values: Tensor) -> None:
        """Write frames ``[*slots.shape, ...]`` of one column."""
        values = values.detach()
        if name in self._arrays:
            # many times faster than index_copy_ for frames of several kilobytes
            self._arrays[name][slots] = values.cpu().numpy()
            return
        column = self.columns[name]
        index = torch.from_numpy(slots.reshape(-1)).to(column.device)
        values = values.reshape(-1, *column.shape[1:]).to(column.device, column.dtype)
        column.index_copy_(0, index, values)

    def note(self, slots: Ints, after: Ints, end: Bytes, placement: Placement) -> None:
        """Write the bookkeeping of a block whose frames are in place."""
        self._end[slots] = end
        oldest = self.layout.frame_stack - 1
        if oldest:
            self._age[slots] = np.minimum(placement.steps, oldest)
            self._age[after] = np.minimum(placement.steps + 1, oldest)
        self.ledger.settle(placement, self._age)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.columns)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for name, column in self.columns.items():
            column.copy_(state_dict[name])

    def dumps(self, path: str | Path) -> None:
        _dump(self.state_dict(), path)

    def loads(self, path: str | Path) -> None:
        self.load_state_dict(_undump(path))

    def _empty(self) -> None:
        self.ledger.empty()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.layout})"


@final
class StartSampler(Sampler):
    """Draws starts uniformly with replacement, from the buffer's generator."""

    def sample(self, storage: FrameStorage, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        return storage.ledger.draw(batch_size, self._rng), {}

    def _empty(self) -> None:
        """Nothing to forget: starts are drawn afresh each time."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Nothing to restore; the generator is the buffer's."""

    def dumps(self, path: str | Path) -> None:
        """Nothing to write."""

    def loads(self, path: str | Path) -> None:
        """Nothing to read."""


@final
class FrameWriter(Writer):
    """Writes each environment's steps into its own ring, every observation once."""

    _storage: FrameStorage

    def extend(self, data: TensorDictBase) -> Tensor:
        """Write ``[N, T]`` transitions; returns the slots ``[N, T]`` of their observations.

        Raises:
            ValueError: the batch is not ``[N, T]`` with this buffer's ``N``.
        """
        if data.ndim != 2 or data.batch_size[0] != self._storage.layout.environments:
            raise ValueError(
                f"expected a batch [{self._storage.layout.environments}, steps], "
                f"got {list(data.batch_size)}"
            )
        block, steps = self._storage.ledger.block, data.batch_size[1]
        if steps <= block:
            return torch.from_numpy(self._write(data))
        parts = [self._write(data[:, t : t + block]) for t in range(0, steps, block)]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def _write(self, data: TensorDictBase) -> Ints:
        storage = self._storage
        layout = storage.layout
        following = data.get("next")
        done = following.get("done").cpu().numpy()[..., 0]
        terminated = following.get("terminated").cpu().numpy()[..., 0]
        placement = storage.ledger.append(done)
        slots, after = placed_slots(placement, layout.frames)
        channels = layout.observation.shape[0]
        storage.put("observation", after, following.get("observation")[:, :, -channels:])
        fresh = placement.steps == 0
        if fresh.any():
            first = data.get("observation")[:, :, -channels:][torch.from_numpy(fresh)]
            storage.put("observation", slots[fresh], first)
        storage.put("action", slots, data.get("action"))
        storage.put("reward", slots, following.get("reward")[..., 0])
        storage.note(slots, after, end_codes(done, terminated), placement)
        return slots

    def add(self, data: TensorDictBase) -> Tensor:
        """Write one step of every environment, ``[N]``."""
        return self.extend(data.unsqueeze(1))

    def _empty(self, empty_write_count: bool = True) -> None:
        self._storage.ledger.empty()

    def state_dict(self) -> dict[str, Any]:
        ledger = self._storage.ledger
        return {**ledger.state_dict(), "frame_of": ledger.frame_of}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._storage.ledger.load_state_dict(state_dict)
        self._storage.ledger.frame_of.copy_(state_dict["frame_of"])

    def dumps(self, path: str | Path) -> None:
        _dump(self.state_dict(), path)

    def loads(self, path: str | Path) -> None:
        self.load_state_dict(_undump(path))


def in_memory(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A column in RAM; its pages are taken from the system as they are first written."""
    return torch.empty(shape, dtype=dtype)


def zeroed(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A small column in RAM. Where nothing is stacked, ages are 0 and never written."""
    return torch.zeros(shape, dtype=dtype)


def _dump(state: Mapping[str, Any], path: str | Path) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), Path(path) / "state.pt")


def _undump(path: str | Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(Path(path) / "state.pt", weights_only=True)
    return state
