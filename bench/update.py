"""What a SAC update costs, against the same update written by hand in plain PyTorch.

``python bench/update.py [--rounds 7] [--json]``

SimBa networks at humanoid sizes (67 observations, 21 actions), batch 256, one thread. All
ways take the same batch and use fused AdamW. The ways take turns, so that a busy machine
slows all of them; times are process CPU time per update. Ratios are taken within a round.
The hand-written update measures no gradient norms and keeps no statistics. ``masked`` removes
nine weights in ten of every kernel; by hand, the gradients are masked before the step, or the
weights after it, whichever is faster.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tensordict import TensorDict
from torch import Tensor

from bench.agents import BATCH, CPU, component, execution, optimizer, transitions
from bench.sac_ways import ByHand, Update, by_torchrl
from bench.timing import (
    Times,
    Way,
    arguments,
    extremes,
    named,
    ratios,
    repeated,
    shown,
    table,
    take_turns,
)
from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import EnvironmentSpec, LossContext, NetworkContext
from plugins.losses import register_losses
from plugins.networks import register_networks
from plugins.networks.options import SimbaSize

OBSERVATIONS, ACTIONS, SPARSITY = 67, 21, 0.9
SPEC = EnvironmentSpec((OBSERVATIONS,), ACTIONS)


class Kernels:
    """A scheme that removes the same share of every kernel."""

    target = "all"

    def draw(self, parameters: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {
            name: torch.rand(p.shape, generator=generator) >= SPARSITY
            for name, p in parameters.items()
            if p.ndim > 1
        }


def make_learner(critic: SimbaSize, *, masked: bool) -> Learner:
    torch.manual_seed(0)
    networks = component(register_networks(), "simba", NetworkContext(SPEC), critic=critic)
    backend = execution("masked")
    schemes = [Kernels()] if masked else []
    parts = MaskedNetworks(networks, MaskSet(0), schemes, backend, CPU)
    loss = component(register_losses(), "sac", LossContext(SPEC, parts, CPU))
    return Learner(loss, optimizer(), backend, CPU)


def check_same(learner: Learner, by_hand: ByHand, batch: TensorDict) -> None:
    """One update from the same weights and noise: a benchmark of two different things is none.

    Raises:
        AssertionError: the weights differ by more than rounding.
    """
    loss: Any = learner.loss
    for update in (learner.update, by_hand):
        torch.manual_seed(0)
        update(batch)
    for ours, theirs in (
        (loss.actor, by_hand.actor),
        (loss.critic, by_hand.critic),
        (loss.target_critic, by_hand.target),
    ):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            # Where a gradient is all rounding, Adam's first step is lr either way.
            torch.testing.assert_close(p, q, rtol=0, atol=2.1e-4)
            assert (p - q).abs().mean() < 1e-6
    torch.testing.assert_close(loss.temperature.log_alpha, by_hand.log_alpha)


def measure(critic: SimbaSize, rounds: int, updates: int) -> Times:
    dense, masked = (make_learner(critic, masked=masked) for masked in (False, True))
    batch = transitions(OBSERVATIONS, ACTIONS)
    by_hand = ByHand(dense.loss, "none")
    gradients, weights = ByHand(masked.loss, "gradients"), ByHand(masked.loss, "weights")
    stock = by_torchrl(dense.loss, ACTIONS)
    check_same(dense, by_hand, batch)
    check_same(masked, gradients, batch)
    ways: dict[str, Update] = {
        "by hand": by_hand,
        "openwork": dense.update,
        "TorchRL SACLoss": stock,
        "by hand, masked gradients": gradients,
        "by hand, masked weights": weights,
        "openwork, masked": masked.update,
    }
    return take_turns({name: on(update, batch) for name, update in ways.items()}, rounds, updates)


def on(update: Update, batch: TensorDict) -> Way:
    """Updates on one batch, warm."""
    way = repeated(lambda: update(batch))
    way(2)
    return way


def summary(times: Times) -> dict[str, dict[str, float]]:
    """Median and spread by way; ratios to the matching update by hand, within rounds."""
    best = min(
        ("by hand, masked gradients", "by hand, masked weights"),
        key=lambda name: statistics.median(times[name]),
    )
    rows = {}
    for name, values in times.items():
        base = best if "masked" in name else "by hand"
        rows[name] = {
            **named(extremes([1e3 * v for v in values]), "ms", "ms_min", "ms_max"),
            **named(extremes(ratios(times, name, base)), "ratio", "ratio_min", "ratio_max"),
        }
    return rows


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    cells = []
    for name, row in rows.items():
        values = list(row.values())
        cells.append([name, shown(values[:3], 1), shown(values[3:], 3)])
    table(title, ["way", "ms per update (min-max)", "to by hand (min-max)"], cells)


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning, module="torchrl")
    sizes = {
        "critic 512 x 2": (SimbaSize(512, 2), 5),
        "critic 128 x 1": (SimbaSize(128, 1), 40),
    }
    results = {
        title: summary(measure(size, options.rounds, updates))
        for title, (size, updates) in sizes.items()
    }
    if options.json:
        print(json.dumps({"torch": torch.__version__, "results": results}, indent=2))
        return
    for title, rows in results.items():
        show(f"SAC, SimBa actor 128 x 1, {title}, batch {BATCH}", rows)


if __name__ == "__main__":
    main()
