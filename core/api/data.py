"""Data sources: what is learned from, and when. Hook: ``register_data``.

Replay and streaming are two of them. An example is ``plugins/data/stream.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDict, TensorDictBase

    from core.api.environments import EnvironmentSpec
    from core.api.losses import Returns


class DataSource(Protocol):
    """Decides what is learned from, and when.

    Batches are TensorDicts of batch size ``[B]``, on the learner's device: ``observation``
    ``[B, *observation]``, ``action`` ``[B, A]``, and under ``next``: ``observation``
    ``[B, *observation]`` (the one to bootstrap from), ``reward`` ``[B, 1]`` (the n-step
    sum), ``discount`` ``[B, 1]`` (gamma to the number of rewards summed, and 0 where a
    true termination lies in the window; a time limit keeps it). ``B`` is the option
    ``batch_size``, where a source has one, and else the number of environments.
    """

    def extend(self, transitions: TensorDictBase) -> None:
        """Take what was just collected, ``[N, T]``, in order, as TorchRL's collectors give it."""

    def batches(self) -> Iterator[TensorDictBase]:
        """The batches to learn from now."""

    @property
    def learning_starts(self) -> int:
        """Transitions, over all environments, that are taken before the first batch."""

    def __len__(self) -> int:
        """Transitions held."""

    @property
    def bytes(self) -> int:
        """Bytes that the source will hold when full."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what is new into new files of ``folder``; return the small rest of the state.

        The answer's ``"files"`` lists every file of ``folder`` that the state needs. Files
        named by an earlier answer are never changed, so that the earlier checkpoint stays
        good until the new one is on disk; core then deletes the files no longer named.
        """

    def load(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Restore what ``save`` answered."""


@runtime_checkable
class Sampled(Protocol):
    """A data source that can be drawn from besides its batches; it provides ``replay``."""

    def sample(self, size: int, seed: int) -> TensorDictBase:
        """``[size]`` transitions, uniformly, by this seed alone; changes nothing."""


@dataclass(frozen=True)
class DataContext:
    """What a data source must know of the rest of the agent."""

    spec: EnvironmentSpec
    returns: Returns
    count: int
    """Environments that feed it, ``N``."""
    device: torch.device
    seed: int
    """For the source's own generator; no other generator of the run has it."""
    run_dir: Path | None = None
    """For memory-mapped storage; None when nothing is to be allocated (``describe``)."""


def blank_transition(spec: EnvironmentSpec) -> TensorDict:
    """One transition ``[1]`` of zeros, in the form of a data source's: shows what is called how."""
    import torch
    from tensordict import TensorDict

    kind = torch.uint8 if spec.pixels else torch.float32
    observation = torch.zeros(1, *spec.observation, dtype=kind)
    action = torch.zeros(1, dtype=torch.int64) if spec.discrete else torch.zeros(1, spec.action)
    number, flag = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
    following = {"observation": observation, "reward": number, "discount": number}
    flags = {"done": flag, "terminated": flag}
    root = {"observation": observation, "action": action}
    return TensorDict({**root, "next": {**following, **flags}}, [1])
