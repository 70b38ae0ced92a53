"""``auto`` when masks change in training: the rule again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import nn

from core.api import ExecutionContext
from plugins.execution import compiled, register_execution
from plugins.execution.auto import backend as auto
from plugins.execution.auto import rule
from plugins.execution.auto.rule import Choice
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.options import AutoOptions

torch.set_num_threads(1)
NAMES = ("0.weight", "2.weight")


@pytest.fixture(autouse=True)
def kernels_work(monkeypatch: Any) -> None:
    """As if there were kernels; nothing here runs them."""
    monkeypatch.setattr(native_product, "available", lambda: None)


def build(batch: int = 256, chosen: Any = None, **options: Any) -> auto.Auto:
    (component,) = [c for c in register_execution() if c.name == "auto"]
    context = ExecutionContext(torch.device("cpu"), batch, chosen or {})
    backend: auto.Auto = component.build(AutoOptions(**options), context)
    return backend


def network(width: int = 256) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def masks(*densities: float, width: int = 256, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name, density in zip(NAMES, densities, strict=True):
        order = torch.rand(width * width, generator=draw).argsort()
        found[name] = (order < round(density * width * width)).view(width, width)
    return found


def forms(module: nn.Module) -> list[str]:
    layers = [module[0], module[2]]  # type: ignore[index]
    return ["compact" if isinstance(layer, SparseLinear) else "masked" for layer in layers]


def remasked(backend: auto.Auto, module: nn.Module, *densities: float, **draw: Any) -> list[str]:
    """The forms with other masks: those of the network, of its target, and of the report."""
    target = copy.deepcopy(module)
    backend.remask([module, target], masks(*densities, **draw), [])
    report = json.loads(json.dumps(backend.report()))["layers"]
    assert forms(target) == forms(module)
    assert [report[f"actor.{name}"]["choice"] for name in NAMES] == forms(module)
    assert [report[f"actor.{n}"]["density"] for n in NAMES] == pytest.approx(densities, abs=1e-3)
    return forms(module)


def started(*densities: float, width: int = 256, **options: Any) -> tuple[auto.Auto, nn.Module]:
    backend, module = build(**options), network(width)
    backend.attach(module, masks(*densities, width=width) if densities else {}, "actor")
    return backend, module


@pytest.mark.parametrize("first", [(), (1.0, 1.0)], ids=["absent", "full"])
def test_layers_become_compact_when_they_are_sparse_enough(first: Any) -> None:
    backend, module = started(*first)
    assert forms(module) == ["masked"] * 2
    assert remasked(backend, module, 0.9, 0.9) == ["masked"] * 2  # by the rule
    assert remasked(backend, module, 0.5, 0.5) == ["masked"] * 2  # likelier
    assert remasked(backend, module, 0.38, 0.38) == ["compact"] * 2  # likelier
    assert remasked(backend, module, 0.1, 0.1) == ["compact"] * 2  # by the rule
    reason = backend.report()["layers"]["actor.0.weight"]["reason"]
    assert reason.startswith("density 0.1 is at most 0.3")
    assert remasked(backend, module, 1.0, 1.0) == ["masked"] * 2  # and back
    assert "every weight" in backend.report()["layers"]["actor.0.weight"]["reason"]


def test_layers_that_run_together_still_get_one_answer() -> None:
    backend, module = started()
    assert remasked(backend, module, 0.5, 0.01) == ["compact"] * 2
    assert remasked(backend, module, 1.0, 0.5) == ["masked"] * 2
    assert remasked(backend, module, 1.0, 0.01) == ["masked", "compact"]


def test_narrow_layers_stay_masked() -> None:
    backend, module = started(width=32)
    assert remasked(backend, module, 0.05, 0.05, width=32) == ["masked"] * 2


def test_one_row_at_a_time_goes_by_its_own_limit() -> None:
    backend, module = started(batch=1)
    backend._attached[0].where = auto.replace(backend._attached[0].where, online=True)
    assert remasked(backend, module, 0.3, 0.3) == ["masked"] * 2
    assert remasked(backend, module, 0.2, 0.2) == ["compact"] * 2


@pytest.mark.parametrize("form", ["compact", "masked"])
def test_the_first_choice_holds_while_the_density_does(form: Any, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rule, "choose", lambda chain, setting: Choice(form, "at first"))
        backend, module = started(0.45, 0.45)
    assert forms(module) == [form] * 2
    assert remasked(backend, module, 0.45, 0.45, seed=1) == [form] * 2
    assert remasked(backend, module, 0.44, 0.46, seed=2) == [form] * 2
    assert backend.report()["layers"]["actor.0.weight"]["reason"] == "at first"
    assert remasked(backend, module, 0.36, 0.36) == ["compact"] * 2
    assert remasked(backend, module, 0.6, 0.6) == ["masked"] * 2
    assert remasked(backend, module, 0.45, 0.45, seed=3) == [form] * 2


@pytest.mark.parametrize("form", ["compact", "masked"])
@pytest.mark.parametrize("path", [(0.45,), (0.36, 0.45), (0.2, 0.6)])
def test_another_process_comes_to_the_same_forms(
    form: Any, path: tuple[float, ...], monkeypatch: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rule, "choose", lambda chain, setting: Choice(form, "at first"))
        backend, module = started(0.45, 0.45)
    written = json.loads(json.dumps(backend.report()))
    for density in path:
        wanted = remasked(backend, module, density, density)
    again, rebuilt = started(0.45, 0.45, chosen=written)
    assert remasked(again, rebuilt, path[-1], path[-1]) == wanted
    assert again.report() == backend.report()


def test_two_networks_are_kept_apart() -> None:
    backend, actor, critic = build(), network(), network()
    backend.attach(actor, masks(0.1, 0.1), "actor")
    backend.attach(critic, masks(1.0, 1.0), "critic")
    backend.remask([actor], masks(0.9, 0.9), [])
    backend.remask([critic], masks(0.1, 0.1), [])
    assert (forms(actor), forms(critic)) == (["masked"] * 2, ["compact"] * 2)
    choices = {name: layer["choice"] for name, layer in backend.report()["layers"].items()}
    assert choices == {f"actor.{n}": "masked" for n in NAMES} | {
        f"critic.{n}": "compact" for n in NAMES
    }
    with pytest.raises(KeyError, match="nowhere"):
        backend.remask([critic], {"nowhere": masks(0.1, 0.1)["0.weight"]}, [])


def test_without_kernels_all_stays_masked(monkeypatch: Any) -> None:
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    compiled.warn.cache_clear()
    backend, module = started()
    with pytest.warns(RuntimeWarning, match="were not built"):
        assert remasked(backend, module, 0.05, 0.05) == ["masked"] * 2
