"""What the parts of a network give for a batch; the network is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from core.api import NetworkLayout, OptionError, UserError, did_you_mean

if TYPE_CHECKING:
    from core.api import AgentView, AnalysisBatch, BatchOptions

Select = Callable[[NetworkLayout], Mapping[str, nn.Module]]

ABSENT: dict[Select, str] = {
    NetworkLayout.trunks: "{} feature that heads read (a submodule 'trunk')",
    NetworkLayout.layers: "{} linear or convolution layer besides its heads",
    NetworkLayout.activations: "{} activation function as a module "
    "(calls of torch.relu and the like go unseen)",
    NetworkLayout.rectifiers: "{} ReLU or a function like it as a module "
    "(calls of torch.relu go unseen)",
}
"""What a network may lack."""


def suiting(
    asked: Sequence[str] | None, networks: Mapping[str, nn.Module], select: Select
) -> tuple[str, ...]:
    """The roles that a diagnostic looks at: those asked for, or all with such parts.

    Raises:
        OptionError: a network asked for does not exist or has none.
        UserError: none has.
    """
    choices = ", ".join(networks)
    for role in asked or ():
        if role not in networks:
            hint = did_you_mean(role, networks)
            problem = f"names '{role}', which this agent lacks.{hint} It has: {choices}"
            raise OptionError("networks", problem)
        if not select(NetworkLayout(networks[role])):
            raise OptionError(
                "networks", f"names '{role}', which has {ABSENT[select].format('no')}"
            )
    found = asked or [role for role, network in networks.items() if select(NetworkLayout(network))]
    if not found:
        what = ABSENT[select].format("any")
        raise UserError(f"none of the agent's networks ({choices}) has {what}")
    return tuple(found)


def features(view: AgentView, batch: BatchOptions, roles: Sequence[str]) -> dict[str, Tensor]:
    """The features of a batch, ``[B, F]`` by label; several trunks' side by side."""
    found = by_label(view.batch(batch), view.networks, roles, NetworkLayout.trunks, torch.clone)
    return {
        name: torch.cat([feature.flatten(1) for feature in given], 1)
        for name, given in found.items()
    }


def by_label(
    analysed: AnalysisBatch,
    networks: Mapping[str, nn.Module],
    roles: Sequence[str],
    select: Select,
    keep: Callable[[Tensor], Tensor],
) -> dict[str, list[Tensor]]:
    """:func:`outputs` of every role's selected parts for a batch, by ``NetworkLayout.label``."""
    found: dict[str, list[Tensor]] = {}
    for role in roles:
        layout = NetworkLayout(networks[role])
        given = outputs(layout.network, analysed.inputs[role], select(layout), keep)
        for path, values in given.items():
            if values:
                found.setdefault(layout.label(role, path), []).extend(values)
    return found


@torch.no_grad()
def outputs(
    network: nn.Module,
    inputs: Sequence[Tensor],
    modules: Mapping[str, nn.Module],
    keep: Callable[[Tensor], Tensor],
) -> dict[str, list[Tensor]]:
    """Call ``network`` once in evaluation mode: ``keep`` of what each module gave, per call.

    ``keep`` is applied at once, so that later work in place cannot change what was seen, and
    the pixels' large outputs need not be held; it must not answer its argument itself.
    """
    found: dict[str, list[Tensor]] = {path: [] for path in modules}
    handles = []

    def hook(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found[path].append(keep(output))

        return record

    try:
        for path, module in modules.items():
            handles.append(module.register_forward_hook(hook(path)))
        with _evaluating(network):
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Without dropout, and with batch norm's statistics left alone."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
