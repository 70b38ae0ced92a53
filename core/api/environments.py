"""Environments: what an agent acts in. Hook: ``register_environments``.

An example is ``plugins/environments/gymnasium.py``. Shapes, here and on the other pages: ``B``
batch, ``N`` environments in one process, ``T`` agent steps, ``A`` action dimensions, ``M``
members of a critic ensemble. No page imports torch at run time, so that listings and checks
stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy import ndarray
    from torchrl.envs import EnvBase

TIME_INPUT = "time input"
"""The capability that a component needs to have the time appended to observations."""


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


@dataclass(frozen=True)
class EnvironmentContext:
    """What the rest of the preset asks of an environment."""

    count: int = 1
    """How many environments one process will hold for training."""
    time_input: bool = False
    """Append the time to flat observations (:attr:`core.api.EnvironmentSpec.time_input`)."""
