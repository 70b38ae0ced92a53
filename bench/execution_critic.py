"""A critic update: two SimBa critics of two blocks, sparse against three dense rivals.

Target forward, clipped double Q, squared error, backward, AdamW, target averages; float32,
batch 256. The rivals are written by hand, with nothing around the update; ours are updates of
core's learner, which measures the gradient's norm besides.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.execution_parts import (
    ACTIONS,
    BATCH,
    BLOCK,
    CPU,
    OBSERVATIONS,
    Clock,
    Masks,
    Pattern,
    Times,
    Way,
    density,
    draw,
    execution,
    masked_copy,
    matrix_units,
    multiplied,
    optimizer,
    say,
    shown,
    simba,
    spread,
    table,
    take_turns,
    times_faster,
)
from bench.execution_phases import phases
from core.agent.learner import Learner
from core.api import Batch, Metrics, Phase, dense

GAMMA, TAU, LR, DECAY, BLOCKS = 0.99, 0.005, 1e-4, 1e-2, 2
DENSE, AFTER, PRODUCT = "dense", "mask after the step", "weight x mask"
RIVALS = (DENSE, AFTER, PRODUCT)
SPARSITIES = {512: (0.8, 0.9, 0.95), 1024: (0.8, 0.9, 0.95), 2048: (0.9, 0.95)}
ROUNDS = {512: 9, 1024: 5, 2048: 3}
CHECKED = 1024
"""Widths up to it have their numbers compared with a masked network's first."""
BLOCKED = (1024,)
"""Widths at which masks of whole blocks are measured too."""


# --- the update -------------------------------------------------------------------------


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    sizes = {"features": OBSERVATIONS, "action": ACTIONS, "reward": 1}
    sizes |= {"next_features": OBSERVATIONS, "next_action": ACTIONS}
    return {k: torch.randn(BATCH, size, generator=generator) for k, size in sizes.items()}


def objective(critic: nn.Module, target: nn.Module, batch: Batch) -> Tensor:
    """Squared TD error, clipped double Q."""
    with torch.no_grad():
        following = target(batch["next_features"], batch["next_action"]).amin(0)
        aim = batch["reward"] + GAMMA * following
    values: Tensor = critic(batch["features"], batch["action"])
    error: Tensor = (values - aim).square().mean((1, 2)).sum()
    return error


class CriticLoss(nn.Module):
    """What core's learner needs of an algorithm that trains critics only."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic
        self.target = deepcopy(critic).requires_grad_(False)
        self.phases = (
            Phase("critic", self._objective, (critic,)),
            Phase("target", self._average),
        )

    def prepare(self, batch: Any) -> Batch:
        return batch  # type: ignore[no-any-return]

    def _objective(self, batch: Batch) -> tuple[Tensor, Metrics]:
        return objective(self.critic, self.target, batch), {}

    @torch.no_grad()
    def _average(self, batch: Batch) -> tuple[None, Metrics]:
        target: list[Tensor] = list(self.target.parameters())
        torch._foreach_lerp_(target, list(self.critic.parameters()), TAU)
        return None, {}


class ByHand:
    """The same update in plain PyTorch; ``masks`` come in force again after every step."""

    def __init__(self, critic: nn.Module, masks: Masks | None = None) -> None:
        self.critic = critic
        self.target = deepcopy(critic).requires_grad_(False)
        self.online: list[Tensor] = list(critic.parameters())
        self.averages: list[Tensor] = list(self.target.parameters())
        self.step = torch.optim.AdamW(self.online, LR, weight_decay=DECAY, fused=True).step
        named = dict(critic.named_parameters())
        self.kernels = [named[name].detach() for name in masks or {}]
        self.masks = [mask.float() for mask in (masks or {}).values()]

    def __call__(self, batch: Batch) -> None:
        torch.autograd.backward(objective(self.critic, self.target, batch))
        self.step()
        for parameter in self.online:
            parameter.grad = None
        with torch.no_grad():
            if self.masks:
                torch._foreach_mul_(self.kernels, self.masks)
            torch._foreach_lerp_(self.averages, self.online, TAU)


def ours(backend: str, critic: nn.Module, masks: Masks, **options: Any) -> Learner:
    """A learner whose networks run as ``backend`` runs them."""
    execute = execution(backend, **options)
    return Learner(CriticLoss(execute.attach(critic, masks)), optimizer(), execute, CPU)


# --- ways -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sparse:
    """One sparse way: what of the network lives, and how it runs."""

    sparsity: float
    pattern: Pattern = "single"
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def label(self) -> str:
        pattern = f", blocks of {BLOCK}" if self.pattern == "blocks" else ""
        precision = ", bfloat16" if self.precision == "bfloat16" else ""
        return f"sparse {self.sparsity:g}{pattern}{precision}"

    def learner(self, network: nn.Module) -> tuple[Learner, Masks]:
        masks = draw("critic", network, self.sparsity, self.pattern)
        options = {} if self.precision == "float32" else {"precision": self.precision}
        return ours("sparse", deepcopy(network), masks, **options), masks


def check_same(learner: Learner, by_hand: ByHand, batch: Batch) -> None:
    """One update from the same weights, as dense matrices: else two things are compared.

    Raises:
        AssertionError: the weights differ by more than rounding.
    """
    learner.step(batch)
    by_hand(batch)
    loss: Any = learner.loss
    for network, plain in ((loss.critic, by_hand.critic), (loss.target, by_hand.target)):
        for name, expected in plain.named_parameters():
            # Where a gradient is all rounding, Adam's first step is lr either way.
            got = dense(network, name)
            torch.testing.assert_close(got, expected, rtol=0, atol=2.1 * LR)
            assert (got - expected).abs().mean() < 1e-6, name


def with_matrix_units(way: Way) -> Way:
    """The same in bfloat16 products where the CPU has units for them."""

    def run() -> None:
        torch.set_float32_matmul_precision("medium")
        way()
        torch.set_float32_matmul_precision("highest")

    return run


def measure(width: int, rounds: int, wanted: list[Sparse], clock: Clock) -> Any:
    """Times of every way and the density of the sparse ones, at one width."""
    torch.manual_seed(0)
    say(f"critic, width {width}: building")
    network, batch = simba(width, BLOCKS).critic(2), make_batch()
    masks = draw("critic", network, 0.9)
    by_hand = {
        DENSE: ByHand(deepcopy(network)),
        AFTER: ByHand(masked_copy(network, masks), masks),
        PRODUCT: ByHand(multiplied(network, masks)),
    }
    ways: dict[str, Way] = {name: lambda u=u: u(batch) for name, u in by_hand.items()}  # type: ignore[misc]
    if matrix_units():
        ways["dense, 'medium' (AMX)"] = with_matrix_units(ways[DENSE])
    learners = {"masked": ours("masked", deepcopy(network), masks)}
    check_same(learners["masked"], by_hand[AFTER], batch)
    densities = {}
    for sparse in wanted:
        learner, drawn = sparse.learner(network)
        if sparse == Sparse(0.9) and width <= CHECKED:
            check_same(learner, ByHand(masked_copy(network, drawn), drawn), batch)
        learners[sparse.label] = learner
        densities[sparse.label] = density(network, drawn)
    ways |= {name: lambda u=u: u.step(batch) for name, u in learners.items()}  # type: ignore[misc]
    for way in ways.values():
        way()
    say(f"critic, width {width}: {rounds} rounds")
    times = take_turns(ways, rounds, clock)
    parts = {name: phases(learners[name], batch, clock) for name in densities}
    return {"times": times, "density": densities, "parts": parts}


# --- what is shown ----------------------------------------------------------------------


def show(width: int, results: Any) -> None:
    times: Times = results["times"]
    rows = []
    for name, taken in times.items():
        middle, low, high = spread(taken)
        row = [name, f"{1e3 * middle:.1f} ({1e3 * low:.1f}-{1e3 * high:.1f})"]
        row += [shown(times_faster(times, rival, name)) for rival in RIVALS]
        kept = results["density"].get(name)
        reached = times_faster(times, DENSE, name)[0] * (kept or 0.0)
        row += [f"{1 / kept:.1f}", f"{reached:.0%}"] if kept else ["", ""]
        rows.append(row)
    headings = ["way", "ms (quartiles)", *(f"x {rival}" for rival in RIVALS), "1/density", "of it"]
    table(f"Critic update, two SimBa critics {width} x {BLOCKS}, batch {BATCH}", headings, rows)
    names = list(next(iter(results["parts"].values()), {}))
    parts = [
        [name, *(f"{1e3 * seconds:.1f}" for seconds in found.values())]
        for name, found in results["parts"].items()
    ]
    if parts:
        table("Where it goes, ms (runs apart, with clocks inside)", ["way", *names], parts)


def run(
    widths: list[int], rounds: int | None, clock: Clock, bfloat16: bool, sparsities: list[float]
) -> dict[str, Any]:
    """Measure and show every width."""
    results = {}
    for width in widths:
        wanted = [Sparse(s) for s in sparsities or SPARSITIES.get(width, (0.9,))]
        if bfloat16:
            wanted.append(Sparse(0.9, precision="bfloat16"))
        if width in BLOCKED:
            wanted.append(Sparse(0.9, "blocks"))
        turns = rounds or ROUNDS.get(width, 3)
        results[width] = measure(width, turns, wanted, clock)
        show(width, results[width])
    return {str(width): result for width, result in results.items()} | {"batch": BATCH}
