"""What a preset can ask of optimizers."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugins.optimizers.checks import check_adam, check_kappa, check_second_moment, check_trace


@dataclass(frozen=True)
class AdamWOptions:
    """Adam with decoupled weight decay. Defaults: SimBa's (tables 2 and 3 of Ma et al. 2025)."""

    lr: float = 1e-4
    """Learning rate, at least 0, constant."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """Decay of the first and of the second moment, each in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, above 0."""
    weight_decay: float = 1e-2
    """Decoupled decay, at least 0, times ``lr`` per update, on every parameter."""

    def __post_init__(self) -> None:
        check_adam(self.lr, self.betas, self.eps, self.weight_decay)


@dataclass(frozen=True)
class AdamOptions:
    """Adam. Defaults: DrQ-v2's (its appendix B)."""

    lr: float = 1e-4
    """Learning rate, at least 0, constant."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """Decay of the first and of the second moment, each in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, above 0."""
    weight_decay: float = 0.0
    """L2 penalty, at least 0, added to the gradients."""

    def __post_init__(self) -> None:
        check_adam(self.lr, self.betas, self.eps, self.weight_decay)


@dataclass(frozen=True)
class KappaOptions:
    """How tightly the step of each network is bounded. Defaults: arXiv 2410.14606."""

    actor: float = 3.0
    """For the phase ``actor``, above 0: its weights move by at most 1/3 in L1 norm per step."""
    critic: float = 2.0
    """For every other phase, above 0."""

    def __post_init__(self) -> None:
        check_kappa(self.actor, "actor")
        check_kappa(self.critic, "critic")


@dataclass(frozen=True)
class ObGDOptions:
    """Overshooting-bounded gradient descent with eligibility traces.

    Defaults: stream AC(lambda) of Elsayed, Vasan and Mahmood 2024 (arXiv 2410.14606). The
    discount in the trace's decay is the loss's ``gamma``.
    """

    lr: float = 1.0
    """Step size, at least 0, where the bound is not active. Where it is, nearly always in
    practice, ``lr`` cancels: the step is 1 / (kappa max(|delta|, 1) ||trace||_1)
    whatever ``lr`` is. ``kappa`` and ``lamda`` are what to tune."""
    lamda: float = 0.8
    """Decay of the trace per step besides gamma, in [0, 1]; 0 leaves one-step learning."""
    kappa: KappaOptions = field(default_factory=KappaOptions)
    """The bound's factors."""

    def __post_init__(self) -> None:
        check_trace(self.lr, self.lamda)


@dataclass(frozen=True)
class AdaptiveObGDOptions:
    """ObGD with the trace divided, in norm and step, by the root of a running second moment.

    Defaults: the authors' code (streaming-drl, after arXiv 2410.14606).
    """

    lr: float = 1.0
    """Step size, at least 0, where the bound is not active; where it is, ``lr`` cancels."""
    lamda: float = 0.8
    """Decay of the trace per step besides gamma, in [0, 1]; 0 leaves one-step learning."""
    kappa: KappaOptions = field(default_factory=KappaOptions)
    """The bound's factors."""
    beta2: float = 0.999
    """Decay of the second moment of TD error times trace, in [0, 1)."""
    eps: float = 1e-8
    """Added to the second moment inside the root, above 0."""

    def __post_init__(self) -> None:
        check_trace(self.lr, self.lamda)
        check_second_moment(self.beta2, self.eps)
