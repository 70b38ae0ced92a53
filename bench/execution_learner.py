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
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate, ValueEstimators

from bench.execution_parts import (
    ACTIONS,
    BATCH,
    CPU,
    OBSERVATIONS,
    SPEC,
    Clock,
    Masks,
    Way,
    component,
    density,
    draw,
    execution,
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


class Policy(nn.Module):
    """An actor as TorchRL's ``TanhNormal`` wants it: mean and standard deviation."""

    def __init__(self, actor: nn.Module) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(observation)
        return mean, (-10 + 6 * (1 + torch.tanh(raw))).exp()


class Side(nn.Module):
    """One member of a critic, called as TorchRL calls a Q network."""

    def __init__(self, critic: Any, member: int) -> None:
        super().__init__()
        self.member = critic.members[member]

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.member(torch.cat([observation, action], -1))
        return value


def make_batch() -> TensorDict:
    no = torch.zeros(BATCH, 1, dtype=torch.bool)
    following = {"observation": torch.randn(BATCH, OBSERVATIONS), "done": no, "terminated": no}
    following |= {"reward": torch.rand(BATCH, 1), "discount": torch.full((BATCH, 1), 0.99)}
    action = torch.rand(BATCH, ACTIONS) * 2 - 1
    observation = torch.randn(BATCH, OBSERVATIONS)
    batch = {"observation": observation, "action": action, "next": following}
    return TensorDict(batch, [BATCH])


def by_torchrl(actor: nn.Module, critic: Any, batch: TensorDict, *, vmap: bool) -> Way:
    """A step of TorchRL's loss as its documentation uses it: one backward, one optimizer.

    The critics come as a list: of one module TorchRL would make two and draw every weight
    anew, kept or not. TorchRL holds on to the first alone, and to copies of all parameters.
    """
    policy = ProbabilisticActor(
        TensorDictModule(Policy(actor), ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
    )
    values = [ValueOperator(Side(critic, i), ["observation", "action"]) for i in range(CRITICS)]
    loss: Any = SACLoss(
        policy,
        values,
        num_qvalue_nets=CRITICS,
        loss_function="l2",
        alpha_init=0.01,
        target_entropy=-0.5 * ACTIONS,
        deactivate_vmap=not vmap,
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.99)
    average = SoftUpdate(loss, tau=0.005)
    adamw = torch.optim.AdamW(list(loss.parameters()), lr=1e-4, fused=True)

    def step(modules: Any = values) -> None:  # structures live as long as their modules
        found = loss(batch)
        (found["loss_actor"] + found["loss_qvalue"] + found["loss_alpha"]).backward()
        adamw.step()
        adamw.zero_grad()
        average.step()

    return step


def by_openwork(networks: Any, batch: TensorDict) -> Way:
    """A step of our own loss, whose phases each see what the earlier ones moved."""
    execute = execution("sparse")
    scheme = component(register_masks(), "erdos_renyi", None, sparsity=SPARSITY)
    parts = MaskedNetworks(networks, MaskSet(0), [scheme], execute, CPU)
    loss = component(register_losses(), "sac", LossContext(SPEC, parts, CPU), critics=CRITICS)
    learner = Learner(loss, optimizer(), execute, CPU)
    return lambda: learner.step(batch)


def ways(width: int, batch: TensorDict) -> tuple[dict[str, Way], float]:
    """Every way, from the same weights and masks, and the density of the critics."""
    networks = simba(width, BLOCKS)
    actor = networks.actor({"mean": ACTIONS, "log_std": ACTIONS})
    critic = networks.critic(CRITICS)
    masks = {"actor": draw("actor", actor, SPARSITY), "critic": draw("critic", critic, SPARSITY)}
    made: dict[str, Way] = {}

    def add(name: str, form: Any, *, vmap: bool) -> None:
        both = form(actor, masks["actor"]), form(critic, masks["critic"])
        made[name] = by_torchrl(*both, batch, vmap=vmap)

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
        made, kept = ways(width, make_batch())
        for way in made.values():
            way()
        say(f"learner, width {width}: {rounds} rounds")
        times = take_turns(made, rounds, clock)
        results[str(width)] = {"times": times, "density": kept}
        rows = []
        for name, taken in times.items():
            middle, low, high = spread(taken)
            row = [name, f"{1e3 * middle:.1f} ({1e3 * low:.1f}-{1e3 * high:.1f})"]
            rivals = (MASKED_VMAP, DENSE_LOOP)
            rows.append(row + [shown(times_faster(times, rival, name)) for rival in rivals])
        headings = ["way", "ms (quartiles)", f"x {MASKED_VMAP}", f"x {DENSE_LOOP}"]
        title = f"SACLoss, critics {width} x {BLOCKS}, actor {width // 4} x 1"
        table(f"{title}, sparsity {SPARSITY:g}, batch {BATCH}", headings, rows)
    return results
