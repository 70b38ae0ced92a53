"""Each masked layer compact or masked, as the rule says for this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final, get_args

import torch

from plugins.execution import compiled
from plugins.execution.auto import machine, rule
from plugins.execution.auto.rule import Choice, Form, LayerShape, Setting
from plugins.execution.convert import convertible
from plugins.execution.linear import native_product
from plugins.execution.online import library
from plugins.execution.online.recognise import recognise
from plugins.execution.remask import reformable
from plugins.execution.sparse import Sparse, expect_names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import ExecutionContext, OnlineNetwork
    from plugins.execution.options import AutoOptions

LOST = "layers that they would speed up stay dense, held at zero where removed"
Decide = Callable[[tuple[str, ...], tuple[LayerShape, ...]], Choice]
"""The form of layers that run one after the other, by the names of their weights and shapes."""


def setting(device: torch.device, batch: int) -> Setting:
    """What a choice hangs on besides the layers: this machine, as it is set now."""
    missing = native_product.available()
    if missing is None and batch == 1 and library.missing() is not None:
        missing = f"for one row at a time {library.missing()}"
    return Setting(batch, device=device.type, missing=missing, matrix_units=machine.fast_dense())


def build(options: AutoOptions, context: ExecutionContext) -> Auto:
    """The backend for this machine, as it is set now."""
    where = setting(context.device, context.batch_size)
    return Auto(where, context.chosen, native=options.native)


@dataclass
class _Attached:
    """A network, and what was chosen for it at first."""

    module: nn.Module
    role: str
    where: Setting
    first: dict[tuple[str, ...], tuple[tuple[LayerShape, ...], Choice]]
    """By the names of weights that got one answer."""

    def again(self, names: tuple[str, ...], chain: tuple[LayerShape, ...]) -> Choice | None:
        """The first choice, where it was for the same layers, about as dense as they are now."""
        known = self.first.get(names)
        return known[1] if known is not None and rule.alike(known[0], chain) else None


@final
class Auto:
    """``sparse`` for the layers where it is faster, ``masked`` for others.

    Implements ``Execution``. Choices are made when a network is attached, and anew when its
    masks change. Where layers are about as dense as they were at first, the first choice holds.
    So what is chosen follows from the first choices and the masks in force alone, and a resumed
    run, which has both, chooses as the one that was stopped had.
    """

    def __init__(self, where: Setting, before: Mapping[str, Any], *, native: bool) -> None:
        """A backend without networks yet; ``before`` is what an earlier process reported."""
        self._native = native
        self._where = where
        self._before = _usable(before, where)
        self._attached: list[_Attached] = []
        self._layers: dict[str, dict[str, Any]] = {}
        self._compact: set[str] = set()
        self._backend = Sparse(online=native, wanted=self._wanted)

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """Choose, and put the masks in force.

        Raises:
            KeyError: a mask names no parameter of the module.
        """
        where = replace(self._where, online=self._native and recognise(module) is not None)
        attached = _Attached(module, role, where, {})

        def decide(names: tuple[str, ...], chain: tuple[LayerShape, ...]) -> Choice:
            choice = self._before_of(role, names) or self._choose(chain, where)
            attached.first[names] = chain, choice
            return choice

        expect_names(module, masks)
        self._note(attached, masks, partial(convertible, module), decide)
        attached.module = self._backend.attach(module, masks, role)
        self._attached.append(attached)
        return attached.module

    def remask(
        self,
        networks: Sequence[nn.Module],
        masks: Mapping[str, Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """See :meth:`core.api.Execution.remask`; chooses the form of every layer anew.

        Raises:
            KeyError: a mask names no parameter of the networks.
        """
        attached = next(each for each in self._attached if each.module is networks[0])

        def decide(names: tuple[str, ...], chain: tuple[LayerShape, ...]) -> Choice:
            known = attached.again(names, chain)
            return known or self._choose(chain, attached.where)

        expect_names(networks[0], masks)
        self._note(attached, masks, partial(reformable, networks), decide)
        self._backend.remask(networks, masks, optimizers)

    def _note(
        self,
        attached: _Attached,
        masks: Mapping[str, Tensor],
        suits: Callable[[str], bool],
        decide: Decide,
    ) -> None:
        """Choose for all masked parameters of a network; the backend asks for it next."""
        entries = _entries(masks, suits, decide, attached.where)
        self._compact = {name for name, entry in entries.items() if entry["choice"] == "compact"}
        self._layers |= {_title(attached.role, name): entry for name, entry in entries.items()}

    def _wanted(self, name: str, shape: torch.Size, density: float) -> bool:
        return name in self._compact

    def _before_of(self, role: str, names: Sequence[str]) -> Choice | None:
        """What an earlier process of the run chose for these layers, if for all the same."""
        found = [self._before.get(_title(role, name)) for name in names]
        return found[0] if len(set(found)) == 1 else None

    def _choose(self, chain: tuple[LayerShape, ...], where: Setting) -> Choice:
        if where.missing is not None and where.device == "cpu":
            otherwise = rule.choose(chain, replace(where, missing=None))
            if otherwise.form == "compact":
                compiled.warn(where.missing, LOST)
        return rule.choose(chain, where)

    def constrain_gradients(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]
    ) -> None:
        """Zero in place the gradients of removed weights that are held dense."""
        self._backend.constrain_gradients(parameters, gradients)

    def reapply(self) -> None:
        """Put every removed weight that is held dense back to zero."""
        self._backend.reapply()

    def online(self, module: nn.Module) -> OnlineNetwork | None:
        """See :meth:`core.api.Execution.online`."""
        return self._backend.online(module)

    def report(self) -> Mapping[str, Any]:
        """What it chose for every masked parameter, why, and what that hung on."""
        where = self._where
        return {
            "backend": "auto",
            "device": where.device,
            "batch_size": where.batch,
            "index_bytes": self._backend.index_bytes,
            **machine.description(),
            "layers": self._layers,
        }


def _entries(
    masks: Mapping[str, Tensor], suits: Callable[[str], bool], decide: Decide, where: Setting
) -> dict[str, dict[str, Any]]:
    """What the report says of each masked parameter, in the masks' order."""
    choices, shapes = {}, {}
    described: dict[str, dict[str, Any]] = {}
    for name in masks:
        mask = masks[name]  # each look-up may unpack it: one at a time
        density = rule.density_of_mask(mask)
        described[name] = {"shape": list(mask.shape), "density": round(density, 6)}
        reason = rule.unsuitable(density, suits(name))
        if reason is None:
            shapes[name] = rule.shape_of(mask, density)
        else:
            choices[name] = Choice("masked", reason)
    for names in rule.chains(shapes, where):
        choices |= dict.fromkeys(names, decide(names, tuple(shapes[n] for n in names)))
    return {
        name: {"choice": choices[name].form, "reason": choices[name].reason, **described[name]}
        for name in masks
    }


def _usable(before: Mapping[str, Any], where: Setting) -> dict[str, Choice]:
    """Choices of an earlier process by parameter: none where they were of something else."""
    if (before.get("backend"), before.get("device")) != ("auto", where.device):
        return {}
    return {
        name: Choice(layer["choice"], layer.get("reason", "as before"))
        for name, layer in before.get("layers", {}).items()
        if layer.get("choice") in get_args(Form)
    }


def _title(role: str, name: str) -> str:
    return f"{role}.{name}" if role else name
