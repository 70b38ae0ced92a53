"""What the metrics are: units for axes, and captions with their sources.

Metrics of other plugins are drawn as well, under the last part of their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal


@dataclass(frozen=True)
class Quantity:
    """What an axis shows."""

    unit: str
    scale: Literal["plain", "amount", "share"] = "plain"
    """``amount``: from 0; ``share``: from 0 to 1, written in percent."""


amount = partial(Quantity, scale="amount")
share = partial(Quantity, scale="share")

QUANTITIES = {
    "eval/return": Quantity("return"),
    "train/return": Quantity("return"),
    "train/episode_length": amount("agent steps"),
    "loss/temperature": Quantity("loss"),
    "loss/*": Quantity("loss"),
    "train/q": Quantity("value"),
    "train/value": Quantity("value"),
    "train/target_q": Quantity("value"),
    "train/entropy": Quantity("nats"),
    "train/temperature": amount("temperature"),
    "train/action": amount("mean absolute action"),
    "train/noise": amount("standard deviation"),
    "train/td_error": amount("mean absolute TD error"),
    "train/reward_scale": amount("divisor of rewards"),
    "train/epsilon": share("random actions"),
    "train/overshoot": share("share of updates"),
    "trace_norm/*": amount("L1 norm"),
    "step_size/*": amount("step size"),
    "bound_active/*": share("share of updates"),
    "time/frames_per_second": amount("frames / s"),
    "time/updates_per_second": amount("updates / s"),
    "effective_rank/*": amount("rank"),
    "dormant_ratio/*": share("share of units"),
    "active_units/*": share("share of units"),
    "feature_norm/*": amount("L2 norm"),
    "weight_rank/*": amount("rank"),
    "gradient_norm/*": amount("L2 norm"),
    "parameter_norm/*": amount("L2 norm"),
    "gradient_interference/*/negative": share("share of pairs"),
    "gradient_interference/*": amount("mean absolute cosine"),
    "simplicity_bias/*": amount("score"),
    "churn/*relative": share("change / size before"),
    "churn/value": amount("mean absolute change"),
    "churn/*": amount("mean change"),
    "q_bias/relative": Quantity("bias / return"),
    "q_bias/states": amount("states"),
    "q_bias/std": amount("discounted return"),
    "q_bias/*": Quantity("discounted return"),
}
"""By pattern of a metric's name; the first that matches."""

CAPTIONS = {
    "effective_rank": "How many directions the features of a batch span: unless the preset says "
    "otherwise, the fewest singular values that make up 99% of their sum. Higher is richer. "
    "(Kumar et al. 2021; Ma et al. 2025, section 4.1.)",
    "dormant_ratio": "Share of neurons whose mean absolute activation is at most tau times the "
    "mean of their layer. Lower is better. (Sokar et al. 2023; Ma et al. 2025, section 4.2.)",
    "active_units": "Share of rectified units that are above zero. Higher is better. (Ma et al. "
    "2024; Ma et al. 2025, appendix C.1.)",
    "feature_norm": "Mean L2 norm of the features that the heads read. (Ma et al. 2025, code.)",
    "weight_rank": "Rank of the weight matrices, heads left out, and its mean over a network: "
    "unless the preset says otherwise the stable rank, the squared Frobenius norm over the "
    "squared largest singular value. (Rudelson and Vershynin 2007.)",
    "gradient_norm": "L2 norm of the gradient over the living weights: near zero, hardly "
    "anything is learned; spikes are abrupt updates. (Ma et al. 2025, section 4.2.)",
    "parameter_norm": "L2 norm of the living parameters, biases and layer norms included. "
    "Growth without end goes with lost plasticity. (Ma et al. 2025, section 4.2.)",
    "gradient_interference": "Cosines between the loss gradients of every two samples of a "
    "batch: their mean size, and the share of pairs below zero, which pull in opposite "
    "directions. Lower is less interference. (Lyle et al. 2023; Ma et al. 2025, section 4.4.)",
    "simplicity_bias": "One over the mean frequency of a network's output on a plane of inputs. "
    "Higher is simpler. (Lee et al. 2025; Ma et al. 2025, section 4.3.)",
    "churn": "How much one update changes values and policy on held transitions. Lower is "
    "calmer. (Schaul et al. 2022; Tang and Berseth 2024.)",
    "q_bias": "Predicted values minus the discounted returns that followed, in units of the "
    "loss's rewards. Above zero: overestimated. (Fujimoto et al. 2018; Chen et al. 2021.)",
}
"""Of the built-in diagnostics: what is shown, how to read it, and where it comes from."""


def quantity_of(key: str) -> Quantity:
    """What the axis of this metric shows."""
    for pattern, quantity in QUANTITIES.items():
        if fnmatchcase(key, pattern):
            return quantity
    return Quantity(key.rpartition("/")[2].replace("_", " "))


def caption_of(diagnostic: str) -> str:
    """Of a diagnostic, built in or not."""
    name = diagnostic.replace("_", " ")
    return CAPTIONS.get(diagnostic, f"What the diagnostic {name} measured.")
