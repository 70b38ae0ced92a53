"""Streaming: every transition is learned from once, in order, as it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from tensordict import TensorDict

from core.api import DataContext, UserError, require

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from plugins.data.options import StreamOptions

ROOT = ("observation", "action")
NEXT = ("observation", "reward", "done", "terminated", "truncated")


@final
class Stream:
    """A :class:`core.api.DataSource` that holds nothing.

    Each of the ``T`` steps of a collector's batch is one batch ``[N]``, of every
    environment's transition in that step: the keys of a ``DataSource``, and under ``next``
    also the flags ``done``, ``terminated`` and ``truncated``, all ``[N, 1]``. ``next``'s
    observation is the one before any reset, and its discount ``gamma (1 - terminated)``.

    On the CPU batches are views of what was collected, and a collector may write its next
    steps into the same memory: a batch is good until then, and who needs it longer copies it.

    Raises:
        OptionError: the loss wants sums of several rewards, which need transitions kept.
    """

    learning_starts = 0

    def __init__(self, options: StreamOptions, context: DataContext) -> None:
        steps, problem = context.returns.n_step, "must not be stream with a loss of n_step"
        require(steps == 1, "name", f"{problem} {steps}: nothing is kept")
        self._count = context.count
        self._size = torch.Size([context.count])
        self._device = context.device
        # tensors, so that the discount is float32 whatever torch's default is
        self._none, self._gamma = torch.tensor([0.0, context.returns.gamma], dtype=torch.float32)
        self._transitions: TensorDictBase | None = None
        self._left = 0
        """Steps that were not given out yet."""

    def extend(self, transitions: TensorDictBase) -> None:
        """Take ``[N, T]`` transitions, for the next call of :meth:`batches`.

        Raises:
            ValueError: the batch is not ``[N, T]`` with the context's ``N``.
            RuntimeError: steps of the last one are left, and might be overwritten by now.
        """
        size = transitions.batch_size
        if len(size) != 2 or size[0] != self._count:
            raise ValueError(f"expected a batch [{self._count}, steps], got {list(size)}")
        if self._left:
            raise RuntimeError(f"{self._left} steps collected before were not learned from yet")
        self._transitions, self._left = transitions, size[1]

    def batches(self) -> Iterator[TensorDictBase]:
        """One batch ``[N]`` per step, oldest first; each is given once."""
        if self._transitions is None:
            return
        root = dict(self._transitions.items())
        after = dict(root["next"].items())
        on_host = self._device.type == "cpu"
        steps = self._transitions.batch_size[1]
        while self._left:
            step = steps - self._left
            self._left -= 1
            batch = self._batch(root, after, step)
            yield batch if on_host else batch.to(self._device)

    def _batch(
        self, root: Mapping[str, Tensor], after: Mapping[str, Tensor], step: int
    ) -> TensorDict:
        then = {key: after[key].select(1, step) for key in NEXT}
        then["discount"] = torch.where(then["terminated"], self._none, self._gamma)
        now: dict[str, Any] = {key: root[key].select(1, step) for key in ROOT}
        # the constructor without its checks, which cost 2 us on each
        now["next"] = TensorDict._new_unsafe(then, batch_size=self._size)
        return TensorDict._new_unsafe(now, batch_size=self._size)

    def __len__(self) -> int:
        return 0

    @property
    def bytes(self) -> int:
        return 0

    def save(self, folder: Path) -> dict[str, Any]:
        return {"files": []}

    def load(self, folder: Path, state: Mapping[str, Any]) -> None:
        """There is nothing to restore.

        Raises:
            UserError: the state was saved by a data source that holds something.
        """
        if dict(state) != {"files": []}:
            raise UserError("the checkpoint was not saved by stream, which the preset asks for")
