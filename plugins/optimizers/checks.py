"""Ranges shared by the options and by the optimizers that can be used without them."""

from __future__ import annotations

from core.api import require


def check_adam(lr: float, betas: tuple[float, ...], eps: float, weight_decay: float) -> None:
    """Raise ``OptionError`` unless Adam's and AdamW's options are in range."""
    require(lr >= 0, "lr", f"must be at least 0, got {lr}")
    pair = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    require(pair, "betas", f"must be two numbers in [0, 1), got {betas}")
    require(eps > 0, "eps", f"must be above 0, got {eps}")
    require(weight_decay >= 0, "weight_decay", f"must be at least 0, got {weight_decay}")


def check_trace(lr: float, lamda: float) -> None:
    """Raise ``OptionError`` unless the learning rate and the trace's decay are in range."""
    require(lr >= 0, "lr", f"must be at least 0, got {lr}")
    require(0 <= lamda <= 1, "lamda", f"must be in [0, 1], got {lamda}")


def check_kappa(value: float, field: str = "kappa") -> None:
    """Raise ``OptionError`` unless the bound's factor is in range."""
    require(value > 0, field, f"must be above 0, got {value}")


def check_second_moment(beta2: float, eps: float) -> None:
    """Raise ``OptionError`` unless the second moment's decay and floor are in range."""
    require(0 <= beta2 < 1, "beta2", f"must be in [0, 1), got {beta2}")
    require(eps > 0, "eps", f"must be above 0, got {eps}")
