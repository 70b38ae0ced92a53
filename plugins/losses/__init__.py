"""Built-in losses: ``sac`` and ``ddpg``; streaming, ``stream_ac`` and ``stream_q``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from core.api import Component, LossContext, UserError, hookimpl, require

if TYPE_CHECKING:
    from plugins.losses.ddpg import DDPG
    from plugins.losses.sac import SAC
    from plugins.losses.stream_ac import StreamAC
    from plugins.losses.stream_q import StreamQ


def _check_returns(gamma: float, n_step: int, tau: float, critics: int) -> None:
    require(0 <= gamma <= 1, "gamma", f"must be in [0, 1], got {gamma}")
    require(n_step >= 1, "n_step", f"must be at least 1, got {n_step}")
    require(0 < tau <= 1, "tau", f"must be in (0, 1], got {tau}")
    require(critics >= 1, "critics", f"must be at least 1, got {critics}")


@dataclass(frozen=True)
class SACOptions:
    """Soft actor-critic. Defaults: SimBa's for the DeepMind Control suite."""

    gamma: float = 0.99
    """Discount per agent step, in [0, 1]."""
    tau: float = 0.005
    """Share of the online critic in each target average, in (0, 1]."""
    critics: int = 1
    """Members of the critic ensemble, at least 1. 2 is clipped double Q: the least value
    counts in the target and in the actor's objective. SimBa uses 1 on DMC."""
    n_step: int = 1
    """Rewards summed before bootstrapping, at least 1."""
    initial_temperature: float = 0.01
    """Entropy temperature at the start, above 0 (learned as its logarithm)."""
    temperature_lr: float = 1e-4
    """Learning rate of the temperature, at least 0; its weight decay is 0."""
    target_entropy: float | None = None
    """Policy entropy to hold, in nats; null: minus half the action dimensions (SimBa's code;
    the paper's table leaves the sign out)."""
    log_std_min: float = -10.0
    """Least log standard deviation before the action's tanh."""
    log_std_max: float = 2.0
    """Greatest log standard deviation, above ``log_std_min``; a tanh maps onto the range."""
    shift: int = 0
    """Random shifts of pixel observations, pixels each way, at least 0; DrQ uses 4."""

    def __post_init__(self) -> None:
        _check_returns(self.gamma, self.n_step, self.tau, self.critics)
        start, lr = self.initial_temperature, self.temperature_lr
        require(start > 0, "initial_temperature", f"must be above 0, got {start}")
        require(lr >= 0, "temperature_lr", f"must be at least 0, got {lr}")
        low, high = self.log_std_min, self.log_std_max
        require(high > low, "log_std_max", f"must be above log_std_min ({low}), got {high}")
        require(self.shift >= 0, "shift", f"must be at least 0, got {self.shift}")


@dataclass(frozen=True)
class NoiseOptions:
    """Standard deviation of the action noise: linear, then constant."""

    initial: float = 0.1
    """At agent step 0, at least 0, in units of the action range [-1, 1]."""
    final: float = 0.1
    """From agent step ``steps`` on, at least 0."""
    steps: int = 500_000
    """Agent steps of the linear part, at least 1 (DrQ-v2, medium tasks: 500,000)."""

    def __post_init__(self) -> None:
        require(self.initial >= 0, "initial", f"must be at least 0, got {self.initial}")
        require(self.final >= 0, "final", f"must be at least 0, got {self.final}")
        require(self.steps >= 1, "steps", f"must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class DDPGOptions:
    """Deterministic policy gradient. Defaults: SimBa's DDPG.

    DrQ-v2 is ``critics: 2, n_step: 3, tau: 0.01, noise: {initial: 1.0, final: 0.1},
    noise_clip: 0.3, clip: straight_through, order: critic_first, shift: 4``.
    """

    gamma: float = 0.99
    """Discount per agent step, in [0, 1]."""
    tau: float = 0.005
    """Share of the online critic in each target average, in (0, 1]; DrQ-v2: 0.01."""
    critics: int = 1
    """Members of the critic ensemble, at least 1; the least value counts. DrQ-v2: 2."""
    n_step: int = 1
    """Rewards summed before bootstrapping, at least 1; DrQ-v2: 3."""
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    """Gaussian noise on actions, when exploring, in the actor's objective and in the target."""
    noise_clip: float | None = None
    """Bound on the noise within updates only, above 0; null: none. DrQ-v2: 0.3."""
    clip: Literal["hard", "straight_through"] = "hard"
    """How a noisy action is held in the action range. ``hard``: to [-1, 1], no gradient
    outside (SimBa). ``straight_through``: to [-1+1e-6, 1-1e-6], gradient as if it were not
    clipped (DrQ-v2)."""
    order: Literal["actor_first", "critic_first"] = "actor_first"
    """Which network moves first in an update; SimBa: actor_first, DrQ-v2: critic_first."""
    shift: int = 0
    """Random shifts of pixel observations, pixels each way, at least 0; DrQ-v2: 4."""

    def __post_init__(self) -> None:
        _check_returns(self.gamma, self.n_step, self.tau, self.critics)
        bound = self.noise_clip
        require(bound is None or bound > 0, "noise_clip", f"must be above 0, got {bound}")
        require(self.shift >= 0, "shift", f"must be at least 0, got {self.shift}")


@dataclass(frozen=True)
class StreamACOptions:
    """Stream AC(lambda), arXiv 2410.14606; defaults are the authors'.

    The trace's lambda and the step size's bound are options of the optimizer.
    """

    gamma: float = 0.99
    """Discount per agent step, in [0, 1]; also in the decay of the traces."""
    entropy: float = 0.01
    """Weight of the policy's entropy in the actor's trace, at least 0."""
    truncation: Literal["end", "bootstrap"] = "end"
    """What a time limit is. ``end``: the end, with nothing to bootstrap from, as in the
    authors' code; meant for networks with a time input. ``bootstrap``: the value of the true
    final observation counts; better without a time input. Traces are emptied either way."""
    scale_rewards: bool = True
    """Divide rewards by the standard deviation of their running discounted sum."""
    reward_leak: bool = False
    """Let an episode's last reward, times gamma, enter that sum in the next episode, as in
    the authors' code."""
    overshoot_check: bool = False
    """Take the TD error again after the update and log how often its sign changed, as
    ``train/overshoot``; costs two more passes of the critic."""

    def __post_init__(self) -> None:
        require(0 <= self.gamma <= 1, "gamma", f"must be in [0, 1], got {self.gamma}")
        require(self.entropy >= 0, "entropy", f"must be at least 0, got {self.entropy}")


@dataclass(frozen=True)
class EpsilonOptions:
    """Probability of a uniformly random action: linear, then constant.

    The authors take 5% of the run for classic control (25,000 of 500,000 steps) and Atari
    (500,000 of 10 million), and 20% for MinAtar (1 of 5 million).
    """

    initial: float = 1.0
    """At agent step 0, in [0, 1]."""
    final: float = 0.01
    """From agent step ``steps`` on, in [0, 1]."""
    steps: int = 25_000
    """Agent steps of the linear part, over all environments, at least 1."""

    def __post_init__(self) -> None:
        require(0 <= self.initial <= 1, "initial", f"must be in [0, 1], got {self.initial}")
        require(0 <= self.final <= 1, "final", f"must be in [0, 1], got {self.final}")
        require(self.steps >= 1, "steps", f"must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class StreamQOptions:
    """Stream Q(lambda) for discrete actions, arXiv 2410.14606; defaults are the authors'.

    The trace's lambda and the step size's bound are options of the optimizer.
    """

    gamma: float = 0.99
    """Discount per agent step, in [0, 1]; also in the decay of the traces."""
    epsilon: EpsilonOptions = field(default_factory=EpsilonOptions)
    """Exploration."""
    exploratory_cut: Literal["after", "before", "never"] = "after"
    """When an action that is not the greedy one empties the trace. ``after``: after its own
    update, as in the authors' code, which they hold to be right. ``before``: before its own
    gradient enters, as in the paper's pseudocode. (Watkins's Q(lambda) is ``before``: no
    earlier pair learns from what follows an exploratory action.) ``never``: naive Q(lambda)."""
    truncation: Literal["end", "bootstrap"] = "end"
    """What a time limit is. ``end``: the end, with nothing to bootstrap from, as in the
    authors' code; meant for networks with a time input. ``bootstrap``: the value of the true
    final observation counts; better without a time input. Traces are emptied either way."""
    scale_rewards: bool = True
    """Divide rewards by the standard deviation of their running discounted sum."""
    reward_leak: bool = False
    """Let an episode's last reward, times gamma, enter that sum in the next episode, as in
    the authors' code."""
    overshoot_check: bool = False
    """Take the TD error again after the update and log how often its sign changed, as
    ``train/overshoot``; costs two more passes of the network."""

    def __post_init__(self) -> None:
        require(0 <= self.gamma <= 1, "gamma", f"must be in [0, 1], got {self.gamma}")


def _check_actions(name: str, discrete: bool, context: LossContext) -> None:
    if context.spec.discrete != discrete:
        kinds = ("discrete", "continuous") if discrete else ("continuous", "discrete")
        raise UserError(
            f"loss '{name}' needs {kinds[0]} actions; this environment's are {kinds[1]}. "
            "Choose another environment or loss."
        )


def _check_shift(name: str, shift: int, context: LossContext) -> None:
    if shift and not context.spec.pixels:
        raise UserError(
            f"loss '{name}': shift is {shift}, but observations are not pixels. "
            "Set loss.shift: 0 or environment.pixels: true."
        )


def _build_sac(options: SACOptions, context: LossContext) -> SAC:
    from plugins.losses.sac import SAC

    _check_actions("sac", False, context)
    _check_shift("sac", options.shift, context)
    return SAC(options, context)


def _build_ddpg(options: DDPGOptions, context: LossContext) -> DDPG:
    from plugins.losses.ddpg import DDPG

    _check_actions("ddpg", False, context)
    _check_shift("ddpg", options.shift, context)
    return DDPG(options, context)


def _build_stream_ac(options: StreamACOptions, context: LossContext) -> StreamAC:
    from plugins.losses.stream_ac import StreamAC

    _check_actions("stream_ac", False, context)
    return StreamAC(options, context)


def _build_stream_q(options: StreamQOptions, context: LossContext) -> StreamQ:
    from plugins.losses.stream_q import StreamQ

    _check_actions("stream_q", True, context)
    return StreamQ(options, context)


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
            _build_sac,
            "soft actor-critic, as SimBa runs it",
            _n_step_needs,
            _PROVIDES,
        ),
        Component(
            "ddpg",
            DDPGOptions,
            _build_ddpg,
            "deterministic policy gradient: SimBa's DDPG, or DrQ-v2 by options",
            _n_step_needs,
            _PROVIDES,
        ),
        Component(
            "stream_ac",
            StreamACOptions,
            _build_stream_ac,
            "Stream AC(lambda): actor-critic on one transition at a time",
            _STREAM_NEEDS,
            _STREAM_PROVIDES,
        ),
        Component(
            "stream_q",
            StreamQOptions,
            _build_stream_q,
            "Stream Q(lambda): Q-learning on one transition at a time, discrete actions",
            _STREAM_NEEDS,
            _STREAM_PROVIDES,
        ),
    ]
