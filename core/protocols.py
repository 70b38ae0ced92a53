"""The seams of the toolkit: one protocol per kind of component.

What each kind is built from is in :mod:`core.contexts`.

Nothing here imports torch at run time, so that listings and checks stay fast.
Shapes: ``B`` batch, ``N`` environments in one process, ``T`` agent steps, ``A`` action
dimensions, ``M`` members of a critic ensemble.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from numpy import ndarray
    from tensordict import TensorDictBase
    from torch import Tensor, nn
    from torchrl.envs import EnvBase


# --- environments -----------------------------------------------------------------------


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the rest of the agent is derived from."""

    observation: tuple[int, ...]
    """Shape of one observation: ``(17,)``, or ``(9, 84, 84)`` for three stacked RGB frames."""
    action: int
    """Action dimensions (each in [-1, 1]), or the number of choices when ``discrete``."""
    action_repeat: int = 1
    """Environment frames per agent step."""
    pixels: bool = False
    """Observations are uint8 frames, channels first, in [0, 255]; float32 otherwise."""
    frame_stack: int = 1
    """Frames stacked on the channel axis, oldest first."""
    discrete: bool = False
    episode_steps: int | None = None
    """The time limit in agent steps, where there is one."""
    time_input: bool = False
    """The last entry of an observation is the time since the episode's beginning: ``-0.5 +
    max(k - 1, 0) / limit`` after ``k`` agent steps; no statistics are to be kept of it."""


class Environment(Protocol):
    """``N`` environments in this process, as a TorchRL ``EnvBase`` with ``batch_size [N]``.

    Keys: ``observation`` ``[N, *spec.observation]``, ``action`` ``[N, A]`` float32
    (``[N]`` int64 when discrete), ``reward``, ``done``, ``terminated``, ``truncated``
    ``[N, 1]``, and in the root ``is_init`` ``[N, 1]``: the episode's first observation.
    Besides the ``EnvBase`` interface:
    """

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly here, in the middle of an episode."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; the ``reset`` that follows returns the restored observation."""

    def render(self, index: int = 0, height: int = 240, width: int = 320) -> ndarray[Any, Any]:
        """An RGB picture of one environment, uint8 ``[height, width, 3]``."""


class Environments(Protocol):
    """An environment component, built: its spec, and as many environments as are wanted."""

    @property
    def spec(self) -> EnvironmentSpec: ...

    @property
    def description(self) -> str:
        """One line for the terminal and the run's record: task, renderer, versions."""

    def make(self, count: int, seed: int) -> EnvBase:
        """``count`` environments (see :class:`Environment`), seeded before their first reset."""


# --- networks ---------------------------------------------------------------------------


class Normaliser(Protocol):
    """Running observation statistics, shared by acting and learning."""

    def update(self, observation: Tensor) -> None:
        """Fold a batch ``[N, *observation]`` of new observations into the statistics."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Normalise with the statistics as they are."""


class Networks(Protocol):
    """A network component, built: a maker of an agent's modules.

    Every call returns a fresh module with its own initialisation, drawn from torch's
    global generator, on the CPU.
    """

    def normaliser(self) -> nn.Module | None:
        """A module that is a :class:`Normaliser`, or None where observations are used raw."""

    def encoder(self) -> nn.Module | None:
        """``[B, *observation] -> [B, features]``, or None: actor and critic take observations."""

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        """``[B, features] -> tuple of [B, size]``, one linear head per entry, in that order."""

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        """``([B, features], [B, A]) -> [M, B, outputs]``; without ``action``, features only.

        The members are separately initialised and never share a head.
        """


@runtime_checkable
class MaskAware(Protocol):
    """A network component whose initialisation depends on what is removed."""

    def masked(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        """Told the masks of a module that it made, before they come into force."""


# --- masks ----------- ----------------------------------------------------------------


class MaskScheme(Protocol):
    """Which weights of one network live."""

    @property
    def target(self) -> str:
        """The network it is for: a role of the agent, such as ``critic``, or ``all``."""

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]:
        """Boolean masks (True: the weight lives) by parameter name.

        As a mapping, or as pairs one by one: then no two masks of a large network need be in
        memory at a time. ``parameters`` are all of one network's, in the module's order.
        Parameters left out of the answer stay dense. Only ``generator`` may be drawn from.
        """


# --- data -------------------------------------------------------------------------------


class DataSource(Protocol):
    """Decides what is learned from, and when.

    Batches are TensorDicts of batch size ``[B]``, on the learner's device: ``observation``
    ``[B, *observation]``, ``action`` ``[B, A]``, and under ``next``: ``observation``
    ``[B, *observation]`` (the one to bootstrap from), ``reward`` ``[B, 1]`` (the n-step
    sum), ``discount`` ``[B, 1]`` (gamma to the number of rewards summed, and 0 where a
    true termination lies in the window; a time limit keeps it).
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


# --- watching ---------------------------------------------------------------------------


class Logger(Protocol):
    """Receives scalars; never changes the run. One that raises is disabled with a warning."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """``step`` counts environment frames."""

    def video(self, step: int, path: Path) -> None:
        """An evaluation episode was recorded."""

    def close(self) -> None: ...
