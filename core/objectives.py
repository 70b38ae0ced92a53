"""What an update would minimise: the objectives of a loss's phases, nothing being moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tensordict import TensorDict
    from torch import Tensor, nn

    from core.api.environments import EnvironmentSpec
    from core.api.losses import AnalysisBatch, Batch, Phase


class Trained(NamedTuple):
    """A phase that trains some of these networks."""

    phase: Phase
    networks: dict[str, nn.Module]
    """Those that it trains, by role; what else it may train is left out."""
    batch: Batch
    """As the phase finds it, with what earlier phases have written."""
    after: Batch
    """As the phase leaves it: what :attr:`core.api.Phase.step` takes."""
    objective: Tensor
    """A scalar; of a phase with eligibility traces ``[B]``."""


def objectives(
    phases: Sequence[Phase], networks: Mapping[str, nn.Module], examined: AnalysisBatch
) -> Iterator[Trained]:
    """Each phase's objective in the order of an update, all at the present weights.

    The examined batch is not written to. Where an encoder is among ``networks``, ``features``
    is taken from it anew, so that an objective that trains it has its graph. Phases without
    modules are left out: they move weights themselves. Those that train none of ``networks``
    are run, since later ones may read what they write, and are not answered.
    """
    from torch import is_grad_enabled, set_grad_enabled

    batch = dict(examined.batch)
    if "encoder" in networks:
        batch["features"] = networks["encoder"](*examined.inputs["encoder"])
    for phase in phases:
        if not phase.modules:
            continue
        found, batch = batch, dict(batch)
        trained = {r: n for r, n in networks.items() if any(m is n for m in phase.modules)}
        with set_grad_enabled(bool(trained) and is_grad_enabled()):
            objective, _ = phase.run(batch)
        if trained and objective is not None:
            yield Trained(phase, trained, found, batch, objective)


def blank_transition(spec: EnvironmentSpec) -> TensorDict:
    """One transition ``[1]`` of zeros, in the form of a data source's: shows what is called how."""
    import torch
    from tensordict import TensorDict

    kind = torch.uint8 if spec.pixels else torch.float32
    observation = torch.zeros(1, *spec.observation, dtype=kind)
    action = torch.zeros(1, dtype=torch.int64) if spec.discrete else torch.zeros(1, spec.action)
    number, flag = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
    following = {"observation": observation, "reward": number, "discount": number}
    flags = {"done": flag, "terminated": flag}
    root = {"observation": observation, "action": action}
    return TensorDict({**root, "next": {**following, **flags}}, [1])
