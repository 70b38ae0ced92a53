"""Saved state in a form that every execution backend can take.

A weight that a layer stores compactly (:class:`core.api.layers.Compact`) is saved as the vector
of its kept entries, row by row, ``matrix[mask]``; so is what an optimizer remembers of it. All
else is saved as it is. Saved tensors tell their form by their shapes, and the masks lie beside
them, so that either form can be read by a backend of either kind, to the same numbers.

Nothing here imports torch at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.agent.masks import removed_weights_are_zero
from core.api.layers import compact_layers, shaped_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from core.agent.agent import Agent
    from core.agent.learner import Learner


Masks = Mapping[str, Mapping[str, "Tensor"]]
"""Boolean, by role and parameter name."""


def copies(loss: Any, networks: Mapping[str, nn.Module]) -> dict[str, list[nn.Module]]:
    """Every network of a loss by role, each with the copies that the loss made of it (targets).

    A copy is a module of the same type with parameters of the same names and shapes.
    """
    found = {role: [network] for role, network in networks.items()}
    own = {id(network) for network in networks.values()}
    for module in loss.modules():
        if id(module) not in own:
            for role, network in networks.items():
                if type(module) is type(network) and _shapes(module) == _shapes(network):
                    found[role].append(module)
                    break
    return found


def prefixes(loss: Any, networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """The role of each network and copy, by where it lies in the loss: ``target_critic``."""
    role_of = {
        id(module): role for role, found in copies(loss, networks).items() for module in found
    }
    return {
        path: role_of[id(module)]
        for path, module in loss.named_modules(remove_duplicate=False)
        if id(module) in role_of
    }


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def portable(learner: Learner) -> dict[str, Any]:
    """The learner's state; layers put their weights into portable order themselves."""
    state = learner.state_dict()
    layers = compact_layers(learner.loss)  # type: ignore[arg-type]
    optimizers = dict(state["optimizers"])
    for name, parameters in _parameters(learner).items():

        def convert(index: int, value: Tensor, own: Sequence[nn.Parameter] = parameters) -> Tensor:
            layer = layers.get(id(own[index]))
            like = layer is not None and value.shape[-1:] == own[index].shape
            return layer.to_portable(value) if layer is not None and like else value

        optimizers[name] = _converted(optimizers[name], convert)
    return state | {"optimizers": optimizers}


def _parameters(learner: Learner) -> dict[str, list[nn.Parameter]]:
    """What each phase's optimizer moves, in the order in which it numbers them."""
    return {
        step.phase.name: [p for group in step.optimizer.param_groups for p in group["params"]]
        for step in learner.steps
        if step.optimizer is not None
    }


def _converted(state: Mapping[str, Any], convert: Callable[[int, Tensor], Tensor]) -> Any:
    """An optimizer's state with ``convert`` of every tensor that belongs to a parameter."""
    return {
        **state,
        "state": {
            index: {
                name: convert(index, value) if hasattr(value, "shape") else value
                for name, value in entries.items()
            }
            for index, entries in state["state"].items()
        },
    }


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
    optimizers = dict(state["optimizers"])

    def fitted(name: str, value: Tensor) -> Tensor:
        """What is saved with a parameter, ``[..., *its saved shape]``, in the present form."""
        parameter, compactly = parameters[name], saved[name].dim() == 1
        layer = layers.get(id(parameter))
        if layer is not None:
            return layer.from_portable(value) if compactly else layer.compacted(value)
        if compactly and parameter.dim() > 1:
            return _expanded(value, _mask(name, masks, roles))
        return value

    for phase, own in _parameters(learner).items():

        def convert(index: int, value: Tensor, own: Sequence[nn.Parameter] = own) -> Tensor:
            name = names[id(own[index])]
            like = name in saved and shaped_like(value, saved[name])
            return fitted(name, value) if like else value

        optimizers[phase] = _converted(optimizers[phase], convert)
    # Compact layers take either form of their weight, and say what is wrong with it.
    dense = {n for n, p in parameters.items() if id(p) not in layers}
    weights = {n: fitted(n, value) if n in dense else value for n, value in saved.items()}
    return {**state, "loss": weights, "optimizers": optimizers}


def dense_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a checkpoint's loss holds, every weight as a dense tensor, exactly.

    ``state`` is what :func:`core.training.checkpoint.read` gives. Named as in the loss:
    ``actor.trunk.input.weight``, ``target_critic...``; with an observation normaliser's
    statistics among them. A plain PyTorch network of the same layers takes those of its name
    by ``load_state_dict``. Removed weights are zeros.
    """
    from core.agent.masks import MaskSet

    masks = MaskSet(0)
    masks.load_state_dict(state["masks"])
    roles = state.get("networks", {})
    weights: dict[str, Tensor] = dict(state["learner"]["loss"])
    for name, value in weights.items():
        mask = _mask(name, masks.masks, roles)
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
    found = copies(agent.loss, agent.parts.modules)
    optimizers = [step.optimizer for step in agent.learner.steps if step.optimizer is not None]
    for role, masks in agent.masks.changed(state["masks"]).items():
        agent.learner.execution.remask(found[role], masks, optimizers)
    agent.masks.load_state_dict(state["masks"])
    roles = state.get("networks", {})
    fitted = fitting(state["learner"], agent.learner, agent.masks.masks, roles)
    agent.learner.load_state_dict(fitted)
