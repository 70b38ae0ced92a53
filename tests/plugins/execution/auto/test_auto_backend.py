"""``auto`` as a backend: what it attaches, and what it reports."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn

from core.api import ExecutionContext
from plugins.execution import compiled, register_execution
from plugins.execution.auto import rule
from plugins.execution.auto.rule import Choice
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.online import library
from plugins.execution.options import AutoOptions
from plugins.networks.modules import Critic, Member

torch.set_num_threads(1)
CPU = torch.device("cpu")


@pytest.fixture
def kernels_work(monkeypatch):
    """As if there were compiled kernels; nothing here runs them."""
    monkeypatch.setattr(native_product, "available", lambda: None)


def always(monkeypatch, form):
    """Let the rule say this; returns what it was asked."""
    asked = []

    def choose(chain, setting):
        asked.append((chain, setting.batch))
        return Choice(form, "because")

    monkeypatch.setattr(rule, "choose", choose)
    return asked


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.contract(self.expand(x).relu())


def mask_of(layer, density, seed=0):
    return torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(seed)) < density


def block_and_masks(width=64, density=0.3, expand=None):
    block = Block(width)
    masks = {
        "expand.weight": mask_of(block.expand, expand or density),
        "contract.weight": mask_of(block.contract, density),
    }
    return block, masks


def build(*, batch=256, device=CPU, chosen=None, **options):
    (component,) = [c for c in register_execution() if c.name == "auto"]
    return component.build(AutoOptions(**options), ExecutionContext(device, batch, chosen or {}))


def choices(backend):
    return {name: layer["choice"] for name, layer in backend.report()["layers"].items()}


# --- choosing ---------------------------------------------------------------------------


@pytest.mark.parametrize(("density", "form"), [(0.35, "compact"), (0.55, "masked")])
def test_layers_get_the_form_that_the_rule_says(kernels_work, density, form):
    backend, (block, masks) = build(), block_and_masks(density=density)
    assert backend.attach(block, masks, "critic") is block
    assert choices(backend) == {f"critic.{name}": form for name in masks}
    assert [type(layer) for layer in block.children()] == [
        SparseLinear if form == "compact" else nn.Linear
    ] * 2
    assert "not measured" in backend.report()["layers"]["critic.expand.weight"]["reason"]


def test_layers_of_a_block_get_one_answer(monkeypatch, kernels_work):
    asked = always(monkeypatch, "compact")
    backend, (block, masks) = build(), block_and_masks(density=0.1, expand=0.6)
    backend.attach(block, masks, "critic")
    ((chain, batch),) = asked
    assert [layer.density for layer in chain] == pytest.approx([0.6, 0.1], abs=0.01)
    assert batch == 256
    assert set(choices(backend).values()) == {"compact"}


def a_critic(width):
    """Of a kind that runs one row at a time, and masks of a tenth of its hidden weights."""
    trunk = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    critic = Critic([Member(trunk, nn.Linear(width, 1))])
    return critic, {"members.0.trunk.2.weight": mask_of(trunk[2], 0.1)}


def test_one_row_at_a_time_goes_by_its_own_limits(kernels_work):
    wide, narrow, phases = build(batch=1), build(batch=1), build(batch=1, native=False)
    wide.attach(*a_critic(128), "critic")
    narrow.attach(*a_critic(64), "critic")
    phases.attach(*a_critic(128), "critic")
    assert [*choices(wide).values(), *choices(narrow).values(), *choices(phases).values()] == [
        "compact",
        "masked",
        "masked",
    ]


def test_without_kernels_for_rows_a_batch_of_one_is_masked(monkeypatch, kernels_work):
    monkeypatch.setattr(library, "missing", lambda: "were not built")
    compiled.warn.cache_clear()
    one, many = build(batch=1), build()
    with pytest.warns(RuntimeWarning, match="one row at a time were not built"):
        one.attach(*a_critic(128), "critic")
    many.attach(*a_critic(128), "critic")
    assert (set(choices(one).values()), set(choices(many).values())) == ({"masked"}, {"compact"})


def test_off_the_cpu_all_is_masked(kernels_work):
    backend = build(device=torch.device("cuda"))
    block, masks = block_and_masks(width=256, density=0.05)
    backend.attach(block, masks, "critic")
    assert set(choices(backend).values()) == {"masked"}
    assert "cuda" in backend.report()["layers"]["critic.expand.weight"]["reason"]
    assert type(block.expand) is nn.Linear


def test_without_kernels_all_is_masked_and_said_once(monkeypatch):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    compiled.warn.cache_clear()
    first, second = build(), build()
    with pytest.warns(RuntimeWarning, match="kernels were not built"):
        first.attach(*block_and_masks(width=256, density=0.05), "critic")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.attach(*block_and_masks(width=256, density=0.05), "critic")
    assert set(choices(second).values()) == {"masked"}


def test_without_kernels_nothing_is_said_where_they_would_not_be_used(monkeypatch, recwarn):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    compiled.warn.cache_clear()
    build().attach(*block_and_masks(width=16), "critic")
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


# --- what an earlier process chose ------------------------------------------------------


def reported():
    """What a first process writes down, and reads back from JSON."""
    backend = build()
    backend.attach(*block_and_masks(), "critic")
    return json.loads(json.dumps(backend.report()))


def test_what_an_earlier_process_chose_is_chosen_again(monkeypatch, kernels_work):
    report = reported()
    asked = always(monkeypatch, "masked")
    again, anew = build(chosen=report), build()
    again.attach(*block_and_masks(), "critic")
    anew.attach(*block_and_masks(), "critic")
    assert set(choices(again).values()) == {"compact"}
    assert set(choices(anew).values()) == {"masked"}
    assert len(asked) == 1  # by the other one
    assert again.report()["layers"] == report["layers"]


@pytest.mark.parametrize("change", [{"backend": "sparse"}, {"device": "cuda"}, {"layers": {}}])
def test_a_report_of_something_else_does_not_count(monkeypatch, kernels_work, change):
    report = reported() | change
    always(monkeypatch, "masked")
    backend = build(chosen=report)
    backend.attach(*block_and_masks(), "critic")
    assert set(choices(backend).values()) == {"masked"}


# --- what it does as a backend ----------------------------------------------------------


def test_the_report_has_every_masked_parameter(kernels_work):
    net = nn.Sequential(nn.Conv1d(1, 64, 3), nn.Linear(64, 64), nn.Linear(64, 80))
    masks = {
        "0.weight": torch.rand(64, 1, 3) < 0.5,
        "1.weight": torch.ones(64, 64, dtype=torch.bool),
        "2.weight": mask_of(net[2], 0.3),
    }
    backend = build(batch=64)
    backend.attach(net, masks, "encoder")
    report = backend.report()
    assert json.loads(json.dumps(report)) == report
    assert (report["backend"], report["device"], report["batch_size"]) == ("auto", "cpu", 64)
    assert report["threads"] == 1
    layers = report["layers"]
    assert [layers[f"encoder.{name}"]["choice"] for name in masks] == [
        "masked",
        "masked",
        "compact",
    ]
    assert "linear" in layers["encoder.0.weight"]["reason"]
    assert "every weight" in layers["encoder.1.weight"]["reason"]
    assert layers["encoder.2.weight"]["shape"] == [80, 64]
    density = masks["2.weight"].float().mean().item()
    assert layers["encoder.2.weight"]["density"] == pytest.approx(density, abs=1e-6)


def test_masked_layers_are_held_at_zero_beside_compact_ones(kernels_work):
    backend = build()
    net = nn.Sequential(nn.Linear(128, 128), nn.Linear(128, 32))
    masks = {f"{at}.weight": mask_of(net[at], 0.3, at) for at in range(2)}
    backend.attach(net, masks, "actor")
    compact, dense = net
    assert isinstance(compact, SparseLinear)
    assert not dense.weight[~masks["1.weight"]].any()
    gradients = [torch.ones_like(compact.weight), torch.ones_like(dense.weight)]
    backend.constrain_gradients([compact.weight, dense.weight], gradients)
    assert gradients[0].all()
    assert torch.equal(gradients[1].bool(), masks["1.weight"])
    with torch.no_grad():
        dense.weight.fill_(1.0)
    backend.reapply()
    assert torch.equal(dense.weight.bool(), masks["1.weight"])


@pytest.mark.parametrize("name", ["wieght", "other.weight"])
def test_a_mask_of_no_parameter_is_refused(name):
    with pytest.raises(KeyError, match=name):
        build().attach(nn.Linear(2, 2), {name: torch.eye(2, dtype=torch.bool)}, "actor")
