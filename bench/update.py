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

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tensordict import TensorDict
from torch import Tensor

from bench.sac_ways import ByHand, Update, by_torchrl
from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import (
    EnvironmentSpec,
    ExecutionContext,
    LossContext,
    NetworkContext,
    OptimizerContext,
)
from plugins.execution import register_execution
from plugins.losses import register_losses
from plugins.networks import register_networks
from plugins.networks.options import SimbaOptions, SimbaSize
from plugins.optimizers import register_optimizers

OBSERVATIONS, ACTIONS, BATCH, SPARSITY = 67, 21, 256, 0.9
CPU = torch.device("cpu")
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


def component(components: Any, name: str, context: Any, options: Any = None) -> Any:
    (found,) = [c for c in components if c.name == name]
    return found.build(options or found.options(), context)


def make_learner(critic: SimbaSize, *, masked: bool) -> Learner:
    torch.manual_seed(0)
    options = SimbaOptions(critic=critic)
    networks = component(register_networks(), "simba", NetworkContext(SPEC), options)
    execution = component(register_execution(), "masked", ExecutionContext(CPU))
    schemes = [Kernels()] if masked else []
    parts = MaskedNetworks(networks, MaskSet(0), schemes, execution, CPU)
    loss = component(register_losses(), "sac", LossContext(SPEC, parts, CPU))
    make = component(register_optimizers(), "adamw", OptimizerContext(CPU))
    return Learner(loss, make, execution, CPU)


def make_batch() -> TensorDict:
    following = {
        "observation": torch.randn(BATCH, OBSERVATIONS),
        "reward": torch.rand(BATCH, 1),
        "discount": torch.full((BATCH, 1), 0.99),
        "terminated": torch.zeros(BATCH, 1, dtype=torch.bool),
        "done": torch.zeros(BATCH, 1, dtype=torch.bool),
    }
    action = torch.rand(BATCH, ACTIONS) * 2 - 1
    batch = {"observation": torch.randn(BATCH, OBSERVATIONS), "action": action, "next": following}
    return TensorDict(batch, [BATCH])


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


def time_of(update: Update, batch: TensorDict, updates: int) -> float:
    """Milliseconds of process CPU time per update."""
    start = time.process_time()
    for _ in range(updates):
        update(batch)
    return 1e3 * (time.process_time() - start) / updates


def measure(critic: SimbaSize, rounds: int, updates: int) -> dict[str, list[float]]:
    """Milliseconds per update by way, one number per round."""
    dense, masked = (make_learner(critic, masked=masked) for masked in (False, True))
    batch = make_batch()
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
    for update in ways.values():
        time_of(update, batch, 2)
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(time_of(ways[name], batch, updates))
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and spread by way; ratios to the matching update by hand, within rounds."""
    best = min(
        ("by hand, masked gradients", "by hand, masked weights"),
        key=lambda name: statistics.median(times[name]),
    )
    rows = {}
    for name, values in times.items():
        base = times[best if "masked" in name else "by hand"]
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        rows[name] = {
            "ms": statistics.median(values),
            "ms_min": min(values),
            "ms_max": max(values),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return rows


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n{'':28}{'ms per update (min-max)':>30}{'to by hand (min-max)':>26}")
    for name, row in rows.items():
        times = f"{row['ms']:.1f} ({row['ms_min']:.1f}-{row['ms_max']:.1f})"
        ratios = f"{row['ratio']:.3f} ({row['ratio_min']:.3f}-{row['ratio_max']:.3f})"
        print(f"{name:28}{times:>30}{ratios:>26}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print numbers as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", category=UserWarning, module="torchrl")
    sizes = {
        "critic 512 x 2": (SimbaSize(512, 2), 5),
        "critic 128 x 1": (SimbaSize(128, 1), 40),
    }
    results = {
        title: summary(measure(size, arguments.rounds, updates))
        for title, (size, updates) in sizes.items()
    }
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "results": results}, indent=2))
        return
    for title, rows in results.items():
        show(f"SAC, SimBa actor 128 x 1, {title}, batch {BATCH}", rows)


if __name__ == "__main__":
    main()
