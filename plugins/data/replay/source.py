"""Uniform replay: TorchRL's buffer over rings of single frames, with a replay ratio.

An episode of ``L`` transitions takes ``L + 1`` frames; stacks and n-step returns are built
when sampled, and never reach across an episode's end or the write head. Near an episode's
end the window shortens, as in TorchRL's ``MultiStepTransform``, so that every transition
can be drawn. DrQ-v2's own loader differs: it never draws the last ``n - 1`` starts of an
episode, nor anything of the running one (facebookresearch/drqv2, replay_buffer.py). It also
draws an episode first and then a start in it, which is the same where all have one length.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torchrl.data import ReplayBuffer

from core.api import DataContext, UserError, require
from plugins.data.replay.capacity import free_device, free_disk, free_memory, require_fit
from plugins.data.replay.checkpoint import Segment, load_all, save_new
from plugins.data.replay.layout import Layout, plan
from plugins.data.replay.storage import FrameStorage, FrameWriter, StartSampler, in_memory

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from plugins.data.options import ReplayOptions


def build(options: ReplayOptions, context: DataContext) -> Replay:
    """The ``replay`` component; allocates nothing yet.

    Raises:
        OptionError: ``capacity`` cannot hold one window per environment, or does not fit
            (checked only where ``context.run_dir`` is given).
    """
    least = context.count * context.returns.n_step
    require(
        options.capacity >= least,
        "capacity",
        f"must be at least {least} ({context.returns.n_step}-step returns in "
        f"{context.count} environments), got {options.capacity}",
    )
    if context.run_dir is not None:
        _check_fit(options, context, context.run_dir)
    return Replay(options, context)


def _check_fit(options: ReplayOptions, context: DataContext, run_dir: Path) -> None:
    def make(capacity: int) -> Layout:
        return plan(context.spec, capacity, context.count)

    if options.storage == "memory" or (
        options.storage == "device" and context.device.type == "cpu"
    ):
        require_fit(options.capacity, make, lambda x: x.bytes, free_memory(), "of memory")
        return
    require_fit(options.capacity, make, lambda x: x.ledger_bytes, free_memory(), "of memory")
    if options.storage == "memmap":
        free, place = free_disk(run_dir), f"on the disk of {run_dir}"
    else:
        free, place = free_device(context.device), f"on {context.device}"
    require_fit(options.capacity, make, lambda x: x.placed_bytes, free, place)


@final
class Replay:
    """A :class:`core.api.DataSource`; :attr:`buffer` is the TorchRL buffer beneath it.

    The memory-mapped file is removed from the folder as soon as it is open, so the disk's
    space comes back however the process ends; what a checkpoint needs is in its own files.
    """

    def __init__(self, options: ReplayOptions, context: DataContext) -> None:
        self.options = options
        self.context = context
        self.layout = plan(context.spec, options.capacity, context.count)
        self.collected = 0
        """Agent steps taken, over all environments."""
        # the decimal that was written, not the binary fraction nearest to it
        self.ratio = Fraction(str(options.updates_per_step))
        self.owed = Fraction(0)
        """Batches owed; the fraction that is left is carried over."""
        self.generator = torch.Generator().manual_seed(context.seed)
        self._segments: list[Segment] = []

    @functools.cached_property
    def storage(self) -> FrameStorage:
        """The frames, allocated at first use."""
        allocate = {"memory": in_memory, "memmap": self._on_disk, "device": self._on_device}
        pin = self.context.device.type == "cuda" and self.options.storage != "device"
        return FrameStorage(
            self.layout, self.context.returns, allocate[self.options.storage], pin=pin
        )

    @functools.cached_property
    def buffer(self) -> ReplayBuffer:
        """TorchRL's buffer; its ``sample`` gives batches before they go to the device."""
        return ReplayBuffer(
            storage=self.storage,
            sampler=StartSampler(),
            writer=FrameWriter(),
            batch_size=self.options.batch_size,
            generator=self.generator,
        )

    def extend(self, transitions: TensorDictBase) -> None:
        """Take ``[N, T]`` transitions, each environment's following on from its last ones.

        Steps owe nothing before ``learning_starts``, nor while no start can be drawn yet.

        Raises:
            ValueError: the batch is not ``[N, T]`` with the context's ``N``.
        """
        self.buffer.extend(transitions)
        steps = transitions.numel()
        self.collected += steps
        if self.storage.ledger.drawable:
            owing = min(steps, self.collected - self.options.learning_starts)
            self.owed += self.ratio * max(0, owing)

    def batches(self) -> Iterator[TensorDictBase]:
        """The batches owed by what was collected since the last call."""
        device = self.context.device
        while self.owed >= 1:
            self.owed -= 1
            batch = self.buffer.sample()
            yield batch if device.type == "cpu" else batch.to(device, non_blocking=True)

    def sample(self, size: int, seed: int) -> TensorDictBase:
        """A batch ``[size]`` by a seed of its own: the run's own draws go on undisturbed."""
        generator = torch.Generator().manual_seed(seed)
        starts = self.storage.ledger.draw(size, generator)
        return self.storage.get(starts).to(self.context.device)

    @property
    def learning_starts(self) -> int:
        return self.options.learning_starts

    def __len__(self) -> int:
        return self.storage.ledger.held if self.collected else 0

    @property
    def bytes(self) -> int:
        return self.layout.bytes

    def save(self, folder: Path) -> dict[str, Any]:
        self._segments = save_new(folder, self.storage, self._segments)
        return {
            "files": [segment.name for segment in self._segments],
            "segments": [tuple(segment) for segment in self._segments],
            "shape": self._shape,
            "ledger": self.storage.ledger.state_dict(),
            "collected": self.collected,
            "owed": self.owed.as_integer_ratio(),
            "generator": self.generator.get_state(),
        }

    def load(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Restore what ``save`` answered.

        Raises:
            UserError: it was saved by a buffer of another shape, or a file is missing.
        """
        if dict(state["shape"]) != self._shape:
            raise UserError(
                f"the checkpoint's replay has {dict(state['shape'])}, the preset asks for "
                f"{self._shape}"
            )
        self._segments = [Segment(*segment) for segment in state["segments"]]
        load_all(folder, self.storage, self._segments)
        self.storage.ledger.load_state_dict(state["ledger"])
        self.collected = state["collected"]
        self.owed = Fraction(*state["owed"])
        self.generator.set_state(state["generator"].cpu())

    @property
    def _shape(self) -> dict[str, int]:
        layout = self.layout
        return {
            "environments": layout.environments,
            "transitions": layout.transitions,
            "frames": layout.frames,
            "frame_stack": layout.frame_stack,
        }

    def _on_disk(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if self.context.run_dir is None:
            raise UserError("storage: memmap needs a run folder to keep its file in")
        folder = self.context.run_dir / "replay"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.bin"
        path.unlink(missing_ok=True)
        size = int(torch.Size(shape).numel())
        mapped = torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(shape)
        path.unlink()
        return mapped

    def _on_device(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.context.device)
