"""Saved state in a form that every execution backend can take.

A weight that a layer stores compactly (:class:`core.api.layers.Compact`) is saved as the vector
of its kept entries, row by row, ``matrix[mask]``; so is what an optimizer remembers of it. All
else is saved as it is. Saved tensors tell their form by their shapes, and the masks lie beside
them, so that either form can be read by a backend of either kind, to the same numbers.

Nothing here imports torch at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from core.agent.masks import MaskSet, PackedMasks, removed_weights_are_zero
from core.api.layers import compact_layers, shaped_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from core.agent.agent import Agent
    from core.agent.learner import Learner


Masks = Mapping[str, Mapping[str, "Tensor"]]
"""Boolean, by role and parameter name."""


def copies(loss: Any, networks: Mapping[str, nn.Module]) -> dict[str, list[nn.Module]]:
    """Every network of a loss by role, each with the copies that the loss made of it (targets)."""
    found = {role: [network] for role, network in networks.items()}
    for module in loss.modules():
        role = _role(module, networks)
        if role is not None and module is not networks[role]:
            found[role].append(module)
    return found


def prefixes(loss: Any, networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """The role of each network and copy, by where it lies in the loss: ``target_critic``."""
    modules = loss.named_modules(remove_duplicate=False)
    return {path: role for path, module in modules if (role := _role(module, networks))}


def _role(module: nn.Module, networks: Mapping[str, nn.Module]) -> str | None:
    """That of a network, or of a copy: of the same type, its parameters of the same shapes."""
    own = [role for role, network in networks.items() if module is network]
    like = (
        role
        for role, network in networks.items()
        if type(module) is type(network) and _shapes(module) == _shapes(network)
    )
    return next(iter(own or like), None)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def portable(learner: Learner) -> dict[str, Any]:
    """The learner's state; layers put their weights into portable order themselves."""
    state, layers = learner.state_dict(), compact_layers(learner.loss)  # type: ignore[arg-type]

    def convert(parameter: nn.Parameter, value: Tensor) -> Tensor:
        layer = layers.get(id(parameter))
        like = layer is not None and value.shape[-1:] == parameter.shape
        return layer.to_portable(value) if layer is not None and like else value

    return state | {"optimizers": _converted(learner, state["optimizers"], convert)}


def _converted(
    learner: Learner, saved: Mapping[str, Any], convert: Callable[[nn.Parameter, Tensor], Tensor]
) -> dict[str, Any]:
    """Optimizers' state by phase, with ``convert`` of every tensor that belongs to a parameter."""
    found: dict[str, Any] = {}
    for phase, optimizer in learner.optimizers.items():
        # An optimizer's state numbers the parameters in this order.
        own = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            i: {n: convert(own[i], v) if hasattr(v, "shape") else v for n, v in slots.items()}
            for i, slots in saved[phase]["state"].items()
        }
        found[phase] = {**saved[phase], "state": state}
    return found


def fitting(
    state: Mapping[str, Any], learner: Learner, masks: Masks, roles: Mapping[str, str]
) -> dict[str, Any]:
    """A learner's saved state in the forms that this learner's layers have.

    ``masks`` are those that were in force, ``roles`` as :func:`prefixes` gave them.
    """
    saved: Mapping[str, Tensor] = state["loss"]
    loss: Any = learner.loss
    parameters, layers = dict(loss.named_parameters()), compact_layers(loss)
    names = {id(parameter): name for name, parameter in parameters.items()}

    def fitted(name: str, value: Tensor) -> Tensor:
        """What is saved with a parameter, ``[..., *its saved shape]``, in the present form."""
        parameter, compactly = parameters[name], saved[name].dim() == 1
        layer = layers.get(id(parameter))
        if layer is not None:
            return layer.from_portable(value) if compactly else layer.compacted(value)
        if compactly and parameter.dim() > 1:
            return _expanded(value, _mask(name, masks, roles))
        return value

    def convert(parameter: nn.Parameter, value: Tensor) -> Tensor:
        name = names[id(parameter)]
        like = name in saved and shaped_like(value, saved[name])
        return fitted(name, value) if like else value

    # Compact layers take either form of their weight, and say what is wrong with it.
    dense = {n for n, p in parameters.items() if id(p) not in layers}
    weights = {n: fitted(n, value) if n in dense else value for n, value in saved.items()}
    optimizers = _converted(learner, state["optimizers"], convert)
    return {**state, "loss": weights, "optimizers": optimizers}


def dense_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a checkpoint's loss holds, every weight as a dense tensor, exactly.

    ``state`` is what :func:`core.training.checkpoint.read` gives. Named as in the loss:
    ``actor.trunk.input.weight``, ``target_critic...``; with an observation normaliser's
    statistics among them. A plain PyTorch network of the same layers takes those of its name
    by ``load_state_dict``. Removed weights are zeros.
    """
    masks, roles = MaskSet.restored(state["masks"]).masks, state["networks"]
    weights: dict[str, Tensor] = dict(state["learner"]["loss"])
    for name, value in weights.items():
        mask = _mask(name, masks, roles)
        if mask is not None and value.shape != mask.shape:
            weights[name] = _expanded(value, mask)
    return weights


def _mask(name: str, masks: Masks, roles: Mapping[str, str]) -> Tensor | None:
    """The mask of an entry of the loss's state."""
    for prefix, role in roles.items():
        if name.startswith(f"{prefix}."):
            return masks.get(role, {}).get(name.removeprefix(f"{prefix}."))
    return None


def _expanded(values: Tensor, mask: Tensor | None) -> Tensor:
    """``[..., K]``, the kept entries row by row, to ``[..., *mask.shape]``, zero elsewhere."""
    assert mask is not None, "a weight was saved compactly and has no mask"
    matrix = values.new_zeros(*values.shape[:-1], *mask.shape)
    return matrix.masked_scatter_(mask.to(values.device).expand_as(matrix), values)


def agent_state(agent: Agent) -> dict[str, Any]:
    """What learns, in a form that any execution backend takes.

    Raises:
        AssertionError: a removed weight is not zero.
    """
    for role, module in agent.parts.modules.items():
        masks: Mapping[str, Tensor] = agent.masks.masks.get(role, {})
        assert removed_weights_are_zero(module, masks), f"a removed weight of '{role}' is not zero"
    return {
        "learner": portable(agent.learner),
        "networks": prefixes(agent.loss, agent.parts.modules),
        "masks": agent.masks.state_dict(),
    }


def restore_agent(agent: Agent, state: Mapping[str, Any]) -> None:
    """Put :func:`agent_state` into an agent that was built alike, its execution apart."""
    # Masks first: where others are in force than were drawn, layers have other sizes.
    saved = MaskSet.restored(state["masks"])
    agent.masks.seed = saved.seed
    for role, masks in saved.masks.items():
        if masks != agent.masks.masks.get(role, PackedMasks()):
            put_in_force(agent, role, masks)
    fitted = fitting(state["learner"], agent.learner, agent.masks.masks, state["networks"])
    agent.learner.load_state_dict(fitted)


def put_in_force(agent: Agent, role: str, masks: PackedMasks) -> None:
    """Other masks for one network and its copies, weights and optimizer state carried over."""
    networks = copies(agent.loss, agent.parts.modules)[role]
    optimizers = list(agent.learner.optimizers.values())
    agent.learner.execution.remask(networks, masks, optimizers)
    agent.masks.masks[role] = masks
    agent.learner.recapture()
