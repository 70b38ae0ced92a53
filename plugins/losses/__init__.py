"""Built-in losses: ``sac`` and ``ddpg``; streaming, ``stream_ac`` and ``stream_q``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, LossContext, hookimpl, lazy
from plugins.losses.options import DDPGOptions, SACOptions, StreamACOptions, StreamQOptions


def _n_step_needs(options: SACOptions | DDPGOptions) -> frozenset[str]:
    """``n-step returns`` where ``n_step`` is above 1."""
    return frozenset({"n-step returns"}) if options.n_step > 1 else frozenset()


_STREAM_NEEDS = frozenset({"eligibility traces", "transitions in order"})
_PROVIDES = frozenset({"inspection"})
_STREAM_PROVIDES = _PROVIDES | {"TD errors"}


@hookimpl
def register_losses() -> Iterable[Component[Any, LossContext, Any]]:
    """Offer the built-in losses."""
    return [
        Component(
            "sac",
            SACOptions,
            lazy("plugins.losses.sac:SAC"),
            "soft actor-critic, as SimBa runs it",
            _n_step_needs,
            _PROVIDES,
        ),
        Component(
            "ddpg",
            DDPGOptions,
            lazy("plugins.losses.ddpg:DDPG"),
            "deterministic policy gradient: SimBa's DDPG, or DrQ-v2 by options",
            _n_step_needs,
            _PROVIDES,
        ),
        Component(
            "stream_ac",
            StreamACOptions,
            lazy("plugins.losses.stream_ac:StreamAC"),
            "Stream AC(lambda): actor-critic on one transition at a time",
            _STREAM_NEEDS,
            _STREAM_PROVIDES,
        ),
        Component(
            "stream_q",
            StreamQOptions,
            lazy("plugins.losses.stream_q:StreamQ"),
            "Stream Q(lambda): Q-learning on one transition at a time, discrete actions",
            _STREAM_NEEDS,
            _STREAM_PROVIDES,
        ),
    ]
