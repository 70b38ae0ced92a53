"""Options of the diagnostics; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from core.api import BatchOptions, require

EVERY = 10_000
"""Frames: the published code measures every 5,000 agent steps, at action repeat 2."""


@dataclass(frozen=True)
class Periodic:
    """A diagnostic with a schedule."""

    every: int | None = EVERY
    """Environment frames between measurements; null: only before the first update and at the
    end, where it always measures."""

    def __post_init__(self) -> None:
        require(
            self.every is None or self.every > 0, "every", f"must be positive, got {self.every}"
        )


@dataclass(frozen=True)
class Batched(Periodic):
    """A diagnostic that looks at transitions."""

    batch: BatchOptions = field(default_factory=BatchOptions)
    """The transitions that it looks at."""


# --- representations --------------------------------------------------------------------


@dataclass(frozen=True)
class OfNetworks(Batched):
    """A diagnostic that looks at what the agent's networks give for transitions."""

    networks: tuple[str, ...] | None = None
    """Which of ``encoder``, ``actor`` and ``critic``; null: all that the agent has and that
    have the parts in question. A critic's members count one by one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_networks(self.networks)


@dataclass(frozen=True)
class EffectiveRankOptions(OfNetworks):
    """Effective rank of the feature that the heads read, for one batch (Ma et al. 2025, 4.1).

    The feature is what a network's trunk gives (in SimBa, the output of its last layer norm):
    a matrix of one row per transition, of which the singular values are taken as it is, not
    centred. It cannot exceed the batch's size: the paper's figure 4 is for 256.
    """

    form: Literal["srank", "threshold", "entropy"] = "srank"
    """``srank``: the fewest singular values that sum to ``1 - delta`` of them all (Kumar et al.
    2021; the code of Ma et al. 2025, ``get_srank``, and so their figure 4). ``threshold``: how
    many exceed a threshold, as the text of Ma et al. has it, which states neither its value
    nor its scale. ``entropy``: the exponential of the entropy of the singular values, divided
    by their sum (Roy & Vetterli 2007, to whom the name belongs)."""
    delta: float = 0.01
    """For ``srank``: the share of the sum that may be left out, in (0, 1)."""
    threshold: float = 0.01
    """For ``threshold``: relative to the largest singular value, in (1e-6, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delta(self.delta)
        require(
            1e-6 < self.threshold < 1, "threshold", f"must be in (1e-6, 1), got {self.threshold}"
        )


@dataclass(frozen=True)
class DormantRatioOptions(OfNetworks):
    """Share of dormant neurons, pooled over a network's layers, heads excluded.

    A neuron is dormant where its mean absolute activation over the batch is at most tau times
    the mean over its layer's neurons (Sokar et al. 2023; Ma et al. 2025, equation 1).
    In a convolution a neuron is a channel, and the mean is over positions too. All neurons of
    a layer that gives zeros are dormant. It is a share of 1; Ma et al. log percent.
    """

    tau: tuple[float, ...] = (0.1, 0.2)
    """Thresholds, each logged by itself, in [0, 1). (0.1 and 0.2: the code of Ma et al. 2025,
    whose text states none.)"""
    activations: tuple[Literal["pre", "post"], ...] = ("pre",)
    """Where neurons are looked at, one place or both. ``pre``: what linear and convolution
    layers give, before any activation function, as the code of Ma et al. 2025 has it
    (``get_dormant_ratio``: input layer and both layers of every block) and so, it seems, their
    figure 5; a ReLU that is never on counts as alive if its input is far below zero. ``post``:
    what activation functions give, as in ReDo (Sokar et al. 2023), logged apart; in SimBa only
    the inner layer of a block has one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.tau) >= 1, "tau", "must name at least one threshold")
        fits = all(0 <= tau < 1 for tau in self.tau)
        require(fits, "tau", f"must be in [0, 1) each, got {list(self.tau)}")
        _check_distinct("tau", self.tau)
        _check_distinct("activations", self.activations)
        require(len(self.activations) >= 1, "activations", "must name at least one place")


@dataclass(frozen=True)
class ActiveUnitsOptions(OfNetworks):
    """Fraction of active units, FAU (Ma et al. 2024; Ma et al. 2025, appendix C.1, equation 3).

    The share of a network's rectified units that are above zero for a batch, pooled over its
    layers, heads excluded. For ReLU these are the units that pass a gradient; for leaky ReLU,
    ELU, GELU, SiLU and their kin, those on the side that passes more of it. Functions without
    an off side, such as tanh (DrQ-v2's projections), are left out, as in the authors' code.
    """

    count: Literal["samples", "units"] = "samples"
    """``samples``: every unit on every transition counts (the definition is for one input, and
    the code of Ma et al. 2024 averages it over the batch; about 0.5 in a new SimBa). ``units``: a
    unit counts as active where its mean over the batch is above zero, which for ReLU means on
    at least one transition. A convolution's positions count in the first form, its channels in
    the second."""


@dataclass(frozen=True)
class FeatureNormOptions(OfNetworks):
    """Mean L2 norm of the feature that the heads read, over a batch.

    Logged by the code of Ma et al. 2025 (``get_feature_norm``). Behind a layer norm, as in
    SimBa, it can move only with that norm's scale and shift.
    """


@dataclass(frozen=True)
class WeightRankOptions(Periodic):
    """Rank of every weight matrix, heads excluded, and its mean over each network.

    A convolution's kernel is taken as a matrix ``[out, in x height x width]``; removed weights
    are zeros. It needs no transitions. It takes all singular values, in time that grows with
    the cube of the width: about 4 s of one core for a matrix of 10240 x 2560.
    """

    networks: tuple[str, ...] | None = None
    """Which of ``encoder``, ``actor`` and ``critic``; null: all that the agent has."""
    form: Literal["stable", "srank"] = "stable"
    """``stable``: the squared Frobenius norm over the squared largest singular value, which
    is at most the rank and moves little with small singular values (Rudelson & Vershynin
    2007). ``srank``: as ``effective_rank`` has it."""
    delta: float = 0.01
    """For ``srank``: the share of the sum that may be left out, in (0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_networks(self.networks)
        _check_delta(self.delta)


def _check_networks(networks: tuple[str, ...] | None) -> None:
    if networks is not None:
        require(len(networks) >= 1, "networks", "must name at least one, or be null")
        _check_distinct("networks", networks)


def _check_distinct(field: str, values: tuple[Any, ...]) -> None:
    distinct = len(set(values)) == len(values)
    require(distinct, field, f"must differ from each other, got {list(values)}")


def _check_delta(delta: float) -> None:
    require(0 < delta < 1, "delta", f"must be in (0, 1), got {delta}")


# --- gradients and parameters -----------------------------------------------------------


@dataclass(frozen=True)
class GradientNormOptions(Batched):
    """L2 norm of the gradient of what each phase minimises, over living weights.

    As ``PHASE/ROLE`` and ``PHASE/LAYER``, where a layer is a module that owns parameters; all
    phases at the weights as they stand, on the batch as a whole, and without augmentation. (In
    an update, later phases see what earlier ones moved; the run logs those norms as
    ``gradient_norm/PHASE``, averaged over updates.) Of a streaming loss it is the gradient that
    enters the trace, averaged over the batch, before the TD error multiplies it. What is no
    network (the temperature) is left out. Ma et al. 2025, section 4.2, figure 5.
    """


@dataclass(frozen=True)
class ParameterNormOptions(Periodic):
    """L2 norm of each network's living parameters, biases and layer norms included.

    As ``ROLE`` and ``LAYER``, where a layer is a module that owns parameters. Target networks
    are left out. Ma et al. 2025, section 4.2, figure 7.
    """


@dataclass(frozen=True)
class GradientInterferenceOptions(Batched):
    """Cosine similarities of the gradients that single transitions give, over living weights.

    ``<g_i, g_j> / (|g_i| |g_j|)`` for ``g_i`` the gradient of what a phase minimises on
    transition ``i`` alone: the matrix as ``PHASE``, the mean magnitude of its entries off the
    diagonal as ``PHASE/mean_abs``, the share of them below zero as ``PHASE/negative``. Random
    actions are drawn for each transition by itself. A phase that trains an encoder counts the
    encoder's weights too (the paper does not say). Of a streaming loss it is the gradients that
    enter the trace, before the TD error multiplies them. Ma et al. 2025, section 4.4,
    equation 2, after Lyle et al. 2023; the paper shows the critic's. One measurement takes
    about as long as ten updates.
    """

    samples: int = 64
    """Transitions compared, at least 2 and at most ``batch.size``: the last of the batch.
    (64: the paper's figure.)"""
    epsilon: float = 1e-8
    """Added to each product of two norms, at least 0. (1e-8: the paper's code; the paper's
    equation has none.) A gradient of zeros has similarity 0 to all."""
    memory_mb: int = 1_000
    """Megabytes for the gradients held at once, at least 1, besides what a pass through the
    networks takes; one transition's gradient of the largest layer must fit. Less is slower,
    and the result is the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.batch.size
        within = 2 <= self.samples <= most
        require(within, "samples", f"must be in [2, batch.size = {most}], got {self.samples}")
        require(self.epsilon >= 0, "epsilon", f"must be at least 0, got {self.epsilon}")
        require(self.memory_mb >= 1, "memory_mb", f"must be at least 1, got {self.memory_mb}")


# --- values and functions ---------------------------------------------------------------


@dataclass(frozen=True)
class ChurnOptions(Batched):
    """Change of values and policy on held transitions by one update.

    The agent is asked before an update and right after it, on the same transitions as the
    networks saw them before: running statistics that moved count for nothing. ``value``: the mean
    absolute change of every critic's value of the stored actions; ``value_relative``: over the
    mean magnitude before (Tang & Berseth 2024, arXiv 2409.04792, section 3). ``policy``: the mean
    L2 norm of the change of the actor's first output, which is the deterministic action before
    any squashing (Tang & Berseth take the action itself, and in their SAC the divergence of the
    policies); ``policy_relative``: over the mean norm before. Where actions are discrete,
    ``policy`` is the share of states whose greedy action is another one (Schaul et al. 2022,
    arXiv 2206.00730). With a shared encoder, its change counts too. At the end of a run, where
    no update follows, it is not measured.
    """


@dataclass(frozen=True)
class QBiasOptions(Periodic):
    """Values that the critics predict, against the discounted returns that follow.

    It looks at no stored transitions, but at episodes of its own, played by the agent as it
    stands in a new environment. For every state of an episode the bias is the predicted value of
    what was done there minus the discounted sum of the rewards that followed, both as the loss
    sees them: rewards scaled where it scales them, SAC's entropy bonus included, a time limit as
    an end where it counts as one. ``mean``; ``std``, over the states; ``relative``: the mean over
    the magnitude of the mean return; ``predicted`` and ``return``: their means; ``states``: how
    many counted. (Chen et al. 2021, REDQ, section 3; their code divides state by state instead,
    by at least 10. Fujimoto et al. 2018, TD3, figure 1.)

    Where an episode is cut off rather than terminated, its later states are left out, because
    most of what they would return is missing (REDQ keeps the first 350 of 1,000 steps). If none
    is left, only ``states``, 0, is logged: raise ``tail``, or let episodes run longer.
    """

    episodes: int = 2
    """Episodes played at each measurement, at least 1. The time goes into these: one of 500
    agent steps takes about half a second in the DeepMind Control suite."""
    steps: int = 1_000
    """Agent steps after which an episode is broken off, at least 1."""
    tail: float = 0.05
    """A state of an episode that was cut off counts if what is missing has at most this weight
    in its return, in [0, 1): for gamma 0.99 and 0.05, the last 298 agent steps do not count.
    Where rewards are alike, returns are too small by up to this share of themselves, and so
    ``relative`` too large, by about 0.02 for 500 agent steps."""
    policy: Literal["learned", "exploring", "greedy"] = "learned"
    """Who plays. ``learned``: the policy whose values the critics learn, which is the exploring
    one, but for Q-learning (discrete actions, no entropy bonus) the greedy one."""
    critics: Literal["mean", "least"] = "mean"
    """What several critics predict: their mean (REDQ's code), or the least, which their targets
    and the actor's objective use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.episodes >= 1, "episodes", f"must be at least 1, got {self.episodes}")
        require(self.steps >= 1, "steps", f"must be at least 1, got {self.steps}")
        require(0 <= self.tail < 1, "tail", f"must be in [0, 1), got {self.tail}")


@dataclass(frozen=True)
class SimplicityBiasOptions(Periodic):
    """SimBa's simplicity score of actor and critic: one over the mean frequency of their output.

    A network's output is taken on a grid over a plane of its input space, and decomposed into
    frequencies; the score is one over their mean, weighted by magnitude, where 1 is the highest
    frequency of all (Lee et al. 2025, appendices A and B; Ma et al. 2025, section 4.3, figure 8).
    The higher, the simpler. Averaged over all outputs: every head of an actor, every member of a
    critic. It looks at no transitions.

    SimBa's code for it is not public. Frequencies are counted as by Teney et al. 2024 (Neural
    Redshift), from whom the measure comes. The plane is spanned by the first two entries of what
    the network takes (of the observation, as normalised), all others at zero, a critic's actions
    too; neither paper says what it did with more than two inputs. So measured, newly initialised
    dense networks of humanoid's sizes score 6.6 (SimBa's actor) and 6.5 (its critic), perceptrons
    of 256 units 6.0 and 5.6; Lee et al. have 6.3 and 5.8, Ma et al. 6.4 and 6.3 for SimBa. The
    rise with sparsity of Ma et al., 0.3, did not show: an actor five times as wide scored 6.6
    dense and at sparsity 0.9. Single outputs scatter by 0.5 about their design's mean, so that
    critics compare by many ``inits`` only, and scores depend on ``points``.
    """

    every: int | None = None
    """Environment frames between measurements; null: only before the first update and at the
    end, where it always measures."""
    inits: int = 0
    """0: the networks as they are. Else the mean over so many newly initialised ones (masks as
    they are), at least 1, whatever was learned; the papers: 100."""
    points: int = 300
    """Points along each side of the grid, at least 4; the cost grows with the square. (300: 90,000
    points, Lee et al., appendix B.)"""
    extent: float = 100.0
    """The grid spans [-extent, extent] along both axes, above 0. (100: Lee et al., appendix B.)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.inits >= 0, "inits", f"must be at least 0, got {self.inits}")
        require(self.points >= 4, "points", f"must be at least 4, got {self.points}")
        require(self.extent > 0, "extent", f"must be above 0, got {self.extent}")
