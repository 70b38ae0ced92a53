"""A critic update: two SimBa critics of two blocks, sparse against three dense rivals.

Target forward, clipped double Q, squared error, backward, AdamW, target averages; float32,
batch 256. The rivals are written by hand, with nothing around the update; ours are updates of
core's learner, which measures the gradient's norm besides.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from unittest import mock

import torch
from torch import Tensor, nn

from bench.agents import (
    ACTIONS,
    BATCH,
    BLOCK,
    CPU,
    OBSERVATIONS,
    Masks,
    Pattern,
    density,
    draw,
    execution,
    masked_copy,
    matrix_units,
    multiplied,
    optimizer,
    simba,
)
from bench.timing import (
    Clock,
    Way,
    compared,
    counts_for,
    quartiles,
    ratios,
    repeated,
    say,
    seconds,
    table,
    take_turns,
)
from core.agent.learner import Learner
from core.api import Batch, Metrics, Phase, dense
from plugins.execution.linear import native_product

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

    def run(count: int) -> None:
        torch.set_float32_matmul_precision("medium")
        way(count)
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
    ways = {name: repeated(partial(update, batch)) for name, update in by_hand.items()}
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
    ways |= {name: repeated(partial(ours.step, batch)) for name, ours in learners.items()}
    for way in ways.values():
        way(1)
    say(f"critic, width {width}: {rounds} rounds")
    times = take_turns(ways, rounds, counts_for(ways, 0.1, clock), clock)
    parts = {name: phases(learners[name], batch, clock) for name in densities}
    return {"times": times, "density": densities, "parts": parts}


# --- where the time goes ----------------------------------------------------------------


def phases(learner: Learner, batch: Batch, clock: Clock, updates: int = 5) -> dict[str, float]:
    """Seconds of an update by part, clocks around the kernels and the optimizer; medians."""
    found = [_phases(learner, batch, clock) for _ in range(updates)]
    parts = {name: statistics.median(f[name] for f in found) for name in found[0]}
    total = parts.pop("update")
    parts["layer norms"] = _layer_norms(learner.loss, clock, updates)
    return {**parts, "rest": total - sum(parts.values()), "update": total}


def _phases(learner: Learner, batch: Batch, clock: Clock) -> dict[str, float]:
    parts: dict[str, float] = {}
    with (
        _timed(native_product, "forward", "products forward", parts, clock),
        _timed(native_product, "backward", "products backward", parts, clock),
        _timed(learner.steps[0].optimizer, "step", "optimizer, averages", parts, clock),
        _timed(torch.nn.utils, "get_total_norm", "gradient norm", parts, clock),
    ):
        taken = seconds(lambda _: learner.step(batch), clock=clock)
    return {**parts, "update": taken}


@contextmanager
def _timed(
    owner: Any, name: str, part: str, parts: dict[str, float], clock: Clock
) -> Iterator[None]:
    """Add the time of every call of ``owner.name`` to ``parts[part]``."""
    call: Callable[..., Any] = getattr(owner, name)
    parts[part] = 0.0

    def timed(*arguments: Any, **options: Any) -> Any:
        started = clock()
        try:
            return call(*arguments, **options)
        finally:
            parts[part] += clock() - started

    with mock.patch.object(owner, name, timed):
        yield


def _layer_norms(loss: Any, clock: Clock, updates: int) -> float:
    """Of one update, run by themselves: forward for online and target, backward for online."""
    norms = [m for m in loss.critic.modules() if isinstance(m, nn.LayerNorm)]
    inputs = [torch.randn(BATCH, *m.normalized_shape, requires_grad=True) for m in norms]
    upstream = [torch.randn_like(x) for x in inputs]

    def all_of_them(_: int) -> None:
        with torch.no_grad():
            for norm, x in zip(norms, inputs, strict=True):
                norm(x)
        for norm, x, g in zip(norms, inputs, upstream, strict=True):
            torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), g)

    return statistics.median(seconds(all_of_them, clock=clock) for _ in range(updates))


# --- what is shown ----------------------------------------------------------------------


def show(width: int, results: Any) -> None:
    times, densities = results["times"], results["density"]
    rows = []
    for name, *cells in compared(times, RIVALS):
        kept = densities.get(name)
        reached = quartiles(ratios(times, DENSE, name))[0] * (kept or 0.0)
        rows.append([name, *cells, *([f"{1 / kept:.1f}", f"{reached:.0%}"] if kept else ["", ""])])
    headings = ["way", "ms (quartiles)", *(f"x {rival}" for rival in RIVALS), "1/density", "of it"]
    table(f"Critic update, two SimBa critics {width} x {BLOCKS}, batch {BATCH}", headings, rows)
    parts = results["parts"]
    if parts:
        lines = [[name, *(f"{1e3 * t:.1f}" for t in each.values())] for name, each in parts.items()]
        title = "Where it goes, ms (runs apart, with clocks inside)"
        table(title, ["way", *next(iter(parts.values()))], lines)


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
