"""Diagnostics of values and functions: options and components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.api import Component, Diagnostic, DiagnosticContext, Soft, UserError, require
from plugins.diagnostics.common import INSTEAD, Batched, Scheduled, batch_needs

if TYPE_CHECKING:
    from plugins.diagnostics.churn import Churn
    from plugins.diagnostics.q_bias import QBias
    from plugins.diagnostics.simplicity_bias import SimplicityBias


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
class QBiasOptions(Scheduled):
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
class SimplicityBiasOptions(Scheduled):
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


def _build_churn(options: ChurnOptions, context: DiagnosticContext) -> Churn:
    from plugins.diagnostics.churn import Churn

    return Churn(options)


def _build_q_bias(options: QBiasOptions, context: DiagnosticContext) -> QBias:
    from plugins.diagnostics.q_bias import QBias

    explore = options.policy == "exploring"
    if options.policy == "learned":
        explore = not context.spec.discrete or isinstance(context.loss, Soft)
    return QBias(options, context.gamma, explore)


def _build_simplicity_bias(
    options: SimplicityBiasOptions, context: DiagnosticContext
) -> SimplicityBias:
    shape = context.spec.observation
    if context.spec.pixels or len(shape) != 1 or shape[0] < 2:
        raise UserError(
            "diagnostic 'simplicity_bias' needs flat observations of at least two numbers; the "
            f"environment gives {shape}. Set environment.pixels: false, or leave it out."
        )
    from plugins.diagnostics.simplicity_bias import SimplicityBias

    return SimplicityBias(options)


_INSPECTION = frozenset({"inspection"})


def components() -> list[Component[Any, DiagnosticContext, Diagnostic]]:
    """The components."""
    return [
        Component(
            "churn",
            ChurnOptions,
            _build_churn,
            "change of values and policy on held transitions by one update",
            batch_needs,
            instead=INSTEAD,
        ),
        Component(
            "q_bias",
            QBiasOptions,
            _build_q_bias,
            "predicted values against the discounted returns that follow",
            _INSPECTION,
            instead={need: INSTEAD[need] for need in _INSPECTION},
        ),
        Component(
            "simplicity_bias",
            SimplicityBiasOptions,
            _build_simplicity_bias,
            "SimBa's simplicity score: one over the mean frequency of a network's output",
            _INSPECTION,
            instead={need: INSTEAD[need] for need in _INSPECTION},
        ),
    ]
