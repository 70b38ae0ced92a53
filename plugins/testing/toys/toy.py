"""Environments without a simulator, for tests: push a dot to its target.

A plugin module: register it with a host, or give its file to ``--plugin``. The pictures are
drawn with NumPy, so that neither MuJoCo nor OpenGL is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, final

from core.api import (
    Component,
    EnvironmentContext,
    Environments,
    EnvironmentSpec,
    UserError,
    hookimpl,
)
from plugins.testing.toys.options import ToyPixelsOptions, ToyStatesOptions

if TYPE_CHECKING:
    from plugins.testing.toys.toy_env import ToyEnv


@final
class ToyEnvironments:
    """See :class:`core.api.Environments`."""

    def __init__(self, options: ToyStatesOptions, *, time_input: bool) -> None:
        self._options = options
        self.spec = options.spec()
        if time_input:
            size = self.spec.observation[0] + 1
            self.spec = EnvironmentSpec(
                **{**vars(self.spec), "observation": (size,), "time_input": True}
            )

    @property
    def description(self) -> str:
        """What is observed."""
        if isinstance(self._options, ToyPixelsOptions):
            size, stack = self._options.size, self._options.frame_stack
            return f"toy, pixels {size}x{size}x1 stacked {stack}, drawn without a renderer"
        size = self.spec.observation[0]
        return f"toy, states of {size - 1} and the time" if self.spec.time_input else "toy, states"

    def make(self, count: int, seed: int) -> ToyEnv:
        """``count`` environments in this process, seeded before their first reset."""
        from plugins.testing.toys.toy_env import ToyEnv

        return ToyEnv(self._options, self.spec, count, seed)


def _build(options: ToyStatesOptions, context: EnvironmentContext) -> Environments:
    if context.time_input and isinstance(options, ToyPixelsOptions):
        raise UserError(
            "the time can only be appended to states, and these are pixels; take toy_states, or "
            "set network.time_input: false"
        )
    return ToyEnvironments(options, time_input=context.time_input)


@hookimpl
def register_environments() -> Iterable[Component[Any, EnvironmentContext, Environments]]:
    """Offer the toy environments."""
    brings = frozenset({"time input"})
    return [
        Component(
            *("toy_pixels", ToyPixelsOptions, _build),
            "a dot to be pushed to its target, seen in small pictures",
            provides=brings,
        ),
        Component(
            *("toy_states", ToyStatesOptions, _build),
            "a dot to be pushed to its target, from four numbers",
            provides=brings,
        ),
    ]
