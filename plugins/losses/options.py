"""What a preset can ask of losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.api import require


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
class StreamOptions:
    """What losses on one transition at a time have in common (arXiv 2410.14606)."""

    gamma: float = 0.99
    """Discount per agent step, in [0, 1]; also in the decay of the traces."""
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


@dataclass(frozen=True)
class StreamACOptions(StreamOptions):
    """Stream AC(lambda), arXiv 2410.14606; defaults are the authors'.

    The trace's lambda and the step size's bound are options of the optimizer.
    """

    entropy: float = 0.01
    """Weight of the policy's entropy in the actor's trace, at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
class StreamQOptions(StreamOptions):
    """Stream Q(lambda) for discrete actions, arXiv 2410.14606; defaults are the authors'.

    The trace's lambda and the step size's bound are options of the optimizer.
    """

    epsilon: EpsilonOptions = field(default_factory=EpsilonOptions)
    """Exploration."""
    exploratory_cut: Literal["after", "before", "never"] = "after"
    """When an action that is not the greedy one empties the trace. ``after``: after its own
    update, as in the authors' code, which they hold to be right. ``before``: before its own
    gradient enters, as in the paper's pseudocode. (Watkins's Q(lambda) is ``before``: no
    earlier pair learns from what follows an exploratory action.) ``never``: naive Q(lambda)."""
