"""Which layers have hidden units, and which weights read them, found by tracing the networks.

A hidden layer here is a linear or convolution layer, norms perhaps, and an activation; its
units are numbers, or channels. They are followed to the linear and convolution layers that read
them, through flattening and joining, and from the encoder's output to actor and critic. A
layer that anything else reads (a residual sum, a norm, the network's output) is left out: no
weights are its outgoing ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from core.api import Compact, activation_types

ACTIVATION_FUNCTIONS = frozenset(
    ("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid")
)
"""Names of functions and methods that do what activation modules do."""
NORMS = (nn.LayerNorm, nn.GroupNorm)
TRANSPARENT = (nn.Identity, nn.Dropout)
FOLLOWERS = ("actor", "critic")
"""What reads an encoder's output, as its first input."""


@dataclass(frozen=True)
class Reader:
    """A layer that reads units: unit ``i`` is its inputs from ``start + i width``, ``width``."""

    role: str
    path: str
    start: int
    width: int

    def inputs(self, units: Tensor, count: int) -> Tensor:
        """``[count]``, of the layer's inputs: those that are of the flagged ``units``."""
        flags = units.new_zeros(count)
        flags[self.start : self.start + units.numel() * self.width] = units.repeat_interleave(
            self.width
        )
        return flags


@dataclass(frozen=True)
class HiddenLayer:
    """A layer with hidden units."""

    role: str
    path: str
    """Of the linear or convolution layer."""
    norms: tuple[str, ...]
    """Paths of the norms between it and its activation."""
    output: fx.Node
    """The activation's."""
    readers: tuple[Reader, ...]


@final
class Wiring:
    """The computation of one network, as calls of modules and functions."""

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        """Trace ``network`` as it runs on ``inputs``.

        Raises:
            Exception: of any kind, where what it does depends on the numbers.
        """
        self.network = network
        # What is not given keeps its default, so that a branch on None can be followed.
        given = list(signature(network.forward).parameters.values())
        defaults = {p.name: p.default for p in given[len(inputs) :] if p.default is not p.empty}
        self.graph = _Tracer().trace(network, concrete_args=defaults)
        self._calls = Counter(n.target for n in self.graph.nodes if n.op == "call_module")
        self.shapes = self._run(inputs, dict.fromkeys(self.graph.nodes, _shape))

    def activity(self, inputs: Sequence[Tensor], nodes: Sequence[fx.Node]) -> dict[fx.Node, Tensor]:
        """Mean absolute value of every unit over a batch, ``[units]`` for each of ``nodes``."""
        return self._run(inputs, dict.fromkeys(nodes, _mean_activity))

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, unless it is called more than once."""
        if node.op != "call_module" or self._calls[node.target] > 1:
            return None
        return self.network.get_submodule(str(node.target))

    @property
    def first_input(self) -> fx.Node:
        nodes: list[fx.Node] = self.graph.find_nodes(op="placeholder")
        return nodes[0]

    @torch.no_grad()
    def _run(self, inputs: Sequence[Tensor], watched: Mapping[fx.Node, Any]) -> dict[fx.Node, Any]:
        watcher = _Watcher(self.network, self.graph, watched)
        watcher.run(*inputs)
        return watcher.seen


class _Tracer(fx.Tracer):
    """Takes compact layers as they are, like PyTorch's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Compact) or super().is_leaf_module(m, module_qualified_name)


class _Watcher(fx.Interpreter):
    """Runs a graph, and keeps what functions make of some nodes' tensors."""

    def __init__(self, network: nn.Module, graph: fx.Graph, watched: Mapping[fx.Node, Any]) -> None:
        super().__init__(network, graph=graph)
        self.watched = watched
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self.watched and isinstance(result, Tensor):
            self.seen[n] = self.watched[n](result)
        return result


def hidden_layers(wirings: Mapping[str, Wiring]) -> list[HiddenLayer]:
    """The hidden layers of an agent's networks, by role, with all that reads them."""
    found = []
    for role, wiring in wirings.items():
        for node in wiring.graph.nodes:
            units = _units(wiring, node)
            if units is None:
                continue
            output, norms = _activated(wiring, node, units)
            readers = None if output is None else _readers(wirings, role, output, 0, 1)
            if output is not None and readers:
                found.append(HiddenLayer(role, str(node.target), norms, output, tuple(readers)))
    return found


def _shape(result: Tensor) -> torch.Size:
    return result.shape


def _mean_activity(result: Tensor) -> Tensor:
    return result.abs().transpose(0, 1).flatten(1).mean(1)


def _units(wiring: Wiring, node: fx.Node) -> int | None:
    """The units of the layer that a node calls, if they are the second axis of what it gives."""
    module = wiring.module(node)
    linear = isinstance(module, nn.Linear | Compact)
    convolution = isinstance(module, nn.Conv2d) and module.groups == 1
    shape: tuple[int, ...] = wiring.shapes.get(node, ())
    fits = (linear and len(shape) == 2) or (convolution and len(shape) == 4)
    return shape[1] if fits else None


def _activated(wiring: Wiring, node: fx.Node, units: int) -> tuple[fx.Node | None, tuple[str, ...]]:
    """The activation that follows a layer, and the norms on the way; None if it is read else."""
    norms: list[str] = []
    while len(node.users) == 1:
        (node,) = node.users
        if _is_activation(wiring, node):
            return node, tuple(norms)
        norm = wiring.module(node)
        weight = getattr(norm, "weight", None)
        if not isinstance(norm, NORMS) or (weight is not None and weight.shape[0] != units):
            break
        norms.append(str(node.target))
    return None, ()


def _readers(
    wirings: Mapping[str, Wiring], role: str, node: fx.Node, start: int, width: int
) -> list[Reader] | None:
    """Who reads units from ``start`` on, ``width`` entries each; None if not layers alone."""
    found: list[Reader] = []
    wiring = wirings[role]
    for user in node.users:
        further: list[Reader] | None = None
        if _units(wiring, user) is not None:
            further = [Reader(role, str(user.target), start, width)]
        elif isinstance(wiring.module(user), TRANSPARENT):
            further = _readers(wirings, role, user, start, width)
        elif _flattens(wiring, user):
            entries = wiring.shapes[user][1] // wiring.shapes[node][1]
            further = _readers(wirings, role, user, start * entries, width * entries)
        elif _joins(wiring, user, node):
            before = _before(wiring, user, node)
            further = _readers(wirings, role, user, start + before, width)
        elif user.op == "output" and role == "encoder" and user.args[0] is node:
            further = _across(wirings, start, width)
        if further is None:
            return None
        found += further
    return found


def _across(wirings: Mapping[str, Wiring], start: int, width: int) -> list[Reader] | None:
    """Who reads the encoder's output in actor and critic."""
    found: list[Reader] = []
    for role in FOLLOWERS:
        if role in wirings:
            further = _readers(wirings, role, wirings[role].first_input, start, width)
            if further is None:
                return None
            found += further
    return found


def _is_activation(wiring: Wiring, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(wiring.network.get_submodule(str(node.target)), activation_types())
    return _called(node) in ACTIVATION_FUNCTIONS


def _flattens(wiring: Wiring, node: fx.Node) -> bool:
    """Whether it makes ``[B, C, H, W]`` (or ``[B, C]``) into ``[B, C H W]``."""
    named = isinstance(wiring.module(node), nn.Flatten) or _called(node) == "flatten"
    if not named:
        return False
    (source,) = node.all_input_nodes
    before, after = wiring.shapes[source], wiring.shapes[node]
    return len(after) == 2 and after[0] == before[0] and len(before) >= 2


def _joins(wiring: Wiring, node: fx.Node, source: fx.Node) -> bool:
    """Whether it is ``torch.cat`` along the axis of units, of ``source`` among others."""
    if _called(node) not in ("cat", "concat") or _joined(node).count(source) != 1:
        return False
    dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return dim in ((1, -1) if len(wiring.shapes[node]) == 2 else (1,))


def _before(wiring: Wiring, join: fx.Node, source: fx.Node) -> int:
    """Entries that a join puts before those of ``source``."""
    parts = _joined(join)
    return sum(wiring.shapes[part][1] for part in parts[: parts.index(source)])


def _joined(join: fx.Node) -> list[Any]:
    parts: Any = join.args[0] if join.args else join.kwargs["tensors"]
    return list(parts)


def _called(node: fx.Node) -> str:
    """The name of the function or method that a node calls, or an empty string."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""
