"""A step of TorchRL's SACLoss on our networks, dense, masked and sparse.

Actor, temperature and two critics, one backward, AdamW, TorchRL's own target averages. SimBa at
SimBa's proportions: the actor a quarter of the critics' width, with one block. The usual masked
form multiplies weight and mask in the forward pass, its critics stacked and run under vmap,
which is TorchRL's default; the dense rivals have no masks. The last way is Openwork's own loss,
for what TorchRL's machinery costs.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from bench.agents import (
    ACTIONS,
    BATCH,
    CPU,
    SPEC,
    Masks,
    component,
    density,
    draw,
    execution,
    multiplied,
    optimizer,
    simba,
    transitions,
)
from bench.sac_ways import torchrl_sac
from bench.timing import Clock, Way, compared, counts_for, repeated, say, table, take_turns
from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import LossContext
from plugins.losses import register_losses
from plugins.masks import register_masks

SPARSITY, BLOCKS, CRITICS = 0.9, 2, 2
MASKED_VMAP, MASKED_LOOP = "weight x mask, vmap", "weight x mask, loop"
DENSE_VMAP, DENSE_LOOP = "dense, vmap", "dense, loop"
SPARSE_LOOP, SPARSE_VMAP, OWN = "sparse, loop", "sparse, vmap", "openwork's sac, sparse"


class Side(nn.Module):
    """One member of a critic, called as TorchRL calls a Q network."""

    def __init__(self, critic: Any, member: int) -> None:
        super().__init__()
        self.member = critic.members[member]

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.member(torch.cat([observation, action], -1))
        return value


def by_openwork(networks: Any, batch: TensorDict) -> Way:
    """A step of our own loss, whose phases each see what the earlier ones moved."""
    execute = execution("sparse")
    scheme = component(register_masks(), "erdos_renyi", None, sparsity=SPARSITY)
    parts = MaskedNetworks(networks, MaskSet(0), [scheme], execute, CPU)
    loss = component(register_losses(), "sac", LossContext(SPEC, parts, CPU), critics=CRITICS)
    learner = Learner(loss, optimizer(), execute, CPU)
    return repeated(lambda: learner.step(batch))


def ways(width: int, batch: TensorDict) -> tuple[dict[str, Way], float]:
    """Every way, from the same weights and masks, and the density of the critics."""
    networks = simba(width, BLOCKS)
    actor = networks.actor({"mean": ACTIONS, "log_std": ACTIONS})
    critic = networks.critic(CRITICS)
    masks = {"actor": draw("actor", actor, SPARSITY), "critic": draw("critic", critic, SPARSITY)}
    made: dict[str, Way] = {}

    def add(name: str, form: Any, *, vmap: bool) -> None:
        own: Any = form(critic, masks["critic"])
        sides = [Side(own, member) for member in range(CRITICS)]
        update = torchrl_sac(form(actor, masks["actor"]), sides, ACTIONS, vmap=vmap)
        made[name] = repeated(lambda: update(batch))

    def plain(network: nn.Module, _: Masks) -> nn.Module:
        return deepcopy(network)

    def sparse(network: nn.Module, masks: Masks) -> Any:
        return execution("sparse").attach(deepcopy(network), masks)

    add(MASKED_VMAP, multiplied, vmap=True)
    add(MASKED_LOOP, multiplied, vmap=False)
    add(DENSE_VMAP, plain, vmap=True)
    add(DENSE_LOOP, plain, vmap=False)
    add(SPARSE_VMAP, sparse, vmap=True)
    add(SPARSE_LOOP, sparse, vmap=False)
    made[OWN] = by_openwork(networks, batch)
    return made, density(critic, masks["critic"])


def run(widths: list[int], rounds: int, clock: Clock) -> dict[str, Any]:
    """Measure and show every width."""
    results: dict[str, Any] = {}
    for width in widths:
        torch.manual_seed(0)
        say(f"learner, width {width}: building")
        made, kept = ways(width, transitions())
        for way in made.values():
            way(1)
        say(f"learner, width {width}: {rounds} rounds")
        times = take_turns(made, rounds, counts_for(made, 0.1, clock), clock)
        results[str(width)] = {"times": times, "density": kept}
        headings = ["way", "ms (quartiles)", f"x {MASKED_VMAP}", f"x {DENSE_LOOP}"]
        title = f"SACLoss, critics {width} x {BLOCKS}, actor {width // 4} x 1"
        rows = compared(times, (MASKED_VMAP, DENSE_LOOP))
        table(f"{title}, sparsity {SPARSITY:g}, batch {BATCH}", headings, rows)
    return results
