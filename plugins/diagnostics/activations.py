"""What the parts of a network give for a batch; the network is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.api import Compact, OptionError, UserError, did_you_mean

if TYPE_CHECKING:
    from core.api import AgentView, AnalysisBatch, BatchOptions

Modules = dict[str, nn.Module]
"""By path within a network."""
Select = Callable[[nn.Module], Modules]

HEADS = {"head", "heads"}
LINEAR = (nn.Linear, Compact, nn.Conv1d, nn.Conv2d, nn.Conv3d)
RECTIFIERS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
"""Activations that let through what is above zero, and little or nothing of the rest."""
ACTIVATIONS = (
    *RECTIFIERS,
    nn.Tanh,
    nn.Sigmoid,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Softplus,
    nn.Softsign,
)


# --- which parts ------------------------------------------------------------------------


def trunks(network: nn.Module) -> Modules:
    """Submodules called ``trunk``: what they give is the feature that the heads read."""
    found = {
        path: module for path, module in network.named_modules() if path.split(".")[-1] == "trunk"
    }
    # A trunk within a trunk is a part of it.
    return {path: module for path, module in found.items() if path.split(".").count("trunk") == 1}


def layers(network: nn.Module) -> Modules:
    """Linear and convolution layers, those of heads excluded; they give pre-activations."""
    return _below_heads(network, LINEAR)


def units(network: nn.Module) -> Modules:
    """Activation functions that are modules, those of heads excluded."""
    return _below_heads(network, ACTIVATIONS)


def rectifiers(network: nn.Module) -> Modules:
    """:func:`units` that have an off side."""
    return _below_heads(network, RECTIFIERS)


def _below_heads(network: nn.Module, kinds: tuple[type[Any], ...]) -> Modules:
    return {
        path: module
        for path, module in network.named_modules()
        if isinstance(module, kinds) and HEADS.isdisjoint(path.split("."))
    }


def label(role: str, network: nn.Module, path: str) -> str:
    """``critic.1`` for what belongs to one of several members, the role for all else."""
    first, *rest = path.split(".")
    members = getattr(network, "members", ())
    return f"{role}.{rest[0]}" if first == "members" and rest and len(members) > 1 else role


def suiting(
    asked: Sequence[str] | None, networks: Mapping[str, nn.Module], select: Select, what: str
) -> tuple[str, ...]:
    """The roles that a diagnostic looks at: those asked for, or all that have ``what``.

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
        if not select(networks[role]):
            raise OptionError("networks", f"names '{role}', which has {what.format('no')}")
    found = asked or [role for role, network in networks.items() if select(network)]
    if not found:
        raise UserError(f"none of the agent's networks ({choices}) has {what.format('any')}")
    return tuple(found)


# --- what they give ---------------------------------------------------------------------


def features(probe: AgentView, batch: BatchOptions, roles: Sequence[str]) -> dict[str, Tensor]:
    """The features of a batch, ``[B, F]`` by :func:`label`; several trunks' side by side."""
    found = by_label(probe.batch(batch), probe.networks, roles, trunks, torch.clone)
    return {
        name: torch.cat([feature.flatten(1) for feature in given], 1)
        for name, given in found.items()
    }


def by_label(
    examined: AnalysisBatch,
    networks: Mapping[str, nn.Module],
    roles: Sequence[str],
    select: Select,
    keep: Callable[[Tensor], Tensor],
) -> dict[str, list[Tensor]]:
    """:func:`outputs` of every role's selected parts for a batch, by :func:`label`."""
    found: dict[str, list[Tensor]] = {}
    for role in roles:
        network = networks[role]
        given = outputs(network, examined.inputs[role], select(network), keep)
        for path, values in given.items():
            if values:
                found.setdefault(label(role, network, path), []).extend(values)
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
