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
        pixels = isinstance(options, ToyPixelsOptions)
        self.spec = EnvironmentSpec(
            observation=(options.frame_stack, options.size, options.size)
            if isinstance(options, ToyPixelsOptions)
            else (4 + time_input,),
            action=5 if options.discrete else 2,
            action_repeat=options.action_repeat,
            pixels=pixels,
            frame_stack=options.frame_stack if isinstance(options, ToyPixelsOptions) else 1,
            discrete=options.discrete,
            episode_steps=-(-options.limit // options.action_repeat),
            time_input=time_input,
        )
        self.description = "toy, pixels, drawn without a renderer" if pixels else "toy, states"

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
    kinds = {ToyPixelsOptions: ("pixels", "small pictures"), ToyStatesOptions: ("states", "states")}
    return [
        Component(
            *(f"toy_{name}", options, _build, f"a dot to be pushed to its target, seen in {seen}"),
            provides=frozenset({"time input"}),
        )
        for options, (name, seen) in kinds.items()
    ]
