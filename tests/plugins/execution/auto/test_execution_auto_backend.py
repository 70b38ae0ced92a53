"""``auto`` as a backend: trials and their cache, what it attaches, what it reports."""

from __future__ import annotations

import json
import math
import warnings

import pytest
import torch
from torch import nn

from core.api import ExecutionContext
from plugins.execution import AutoOptions, register_execution
from plugins.execution.auto import backend as auto
from plugins.execution.auto import cache, machine, trials
from plugins.execution.auto.cache import Timing
from plugins.execution.auto.rule import LayerShape, Setting
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.online import library
from plugins.networks.modules import Critic, Member

torch.set_num_threads(1)
CPU = torch.device("cpu")
COMPACT, MASKED = Timing(masked=0.002, compact=0.001), Timing(masked=0.001, compact=0.002)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.forget()
    yield tmp_path
    cache.forget()


@pytest.fixture
def kernels_work(monkeypatch):
    """As if there were compiled kernels; nothing here runs them."""
    monkeypatch.setattr(native_product, "available", lambda: None)


def measured(monkeypatch, timing):
    """Let trials find this; returns what they were asked."""
    asked = []

    def measure(chain, batch):
        asked.append((tuple(chain), batch))
        return timing

    monkeypatch.setattr(trials, "measure", measure)
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


# --- trials -----------------------------------------------------------------------------


def test_a_trial_measures_both_forms_and_draws_from_no_generator_of_the_run():
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    found = trials.measure((LayerShape(64, 48, 0.2), LayerShape(32, 64, 0.2)), 16, budget=0.01)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert 0 < found.masked < math.inf
    assert 0 < found.compact < math.inf


@pytest.mark.parametrize("blocks", [False, True])
def test_trials_are_of_masks_of_the_density(blocks):
    mask = trials.draw(LayerShape(64, 160, 0.3, blocks), torch.Generator().manual_seed(0))
    assert mask.shape == (64, 160)
    assert mask.count_nonzero().item() / mask.numel() == pytest.approx(0.3, abs=1e-6)
    whole = mask.view(4, 16, 10, 16).sum((1, 3))
    assert bool(((whole == 0) | (whole == 256)).all()) is blocks


def test_a_trial_is_made_once_for_layers_that_are_alike(monkeypatch):
    asked = measured(monkeypatch, COMPACT)
    assert trials.trial((LayerShape(64, 128, 0.301),), 256) == COMPACT
    assert trials.trial((LayerShape(64, 128, 0.299),), 256) == COMPACT
    cache.forget()  # another process
    assert trials.trial((LayerShape(64, 128, 0.3),), 256) == COMPACT
    assert asked == [((LayerShape(64, 128, 0.3),), 256)]


@pytest.mark.parametrize(
    ("shape", "batch"),
    [
        (LayerShape(128, 64, 0.3), 256),
        (LayerShape(64, 128, 0.4), 256),
        (LayerShape(64, 128, 0.3, blocks=True), 256),
        (LayerShape(64, 128, 0.3), 255),
    ],
)
def test_other_layers_are_another_trial(monkeypatch, shape, batch):
    asked = measured(monkeypatch, COMPACT)
    trials.trial((LayerShape(64, 128, 0.3),), 256)
    trials.trial((shape,), batch)
    assert len(asked) == 2


def test_large_layers_are_tried_at_a_limited_size(monkeypatch):
    asked = measured(monkeypatch, COMPACT)
    trials.trial((LayerShape(16384, 4096, 0.3), LayerShape(4096, 16384, 0.3)), 4096)
    assert asked == [((LayerShape(1024, 1024, 0.3), LayerShape(1024, 1024, 0.3)), 256)]


@pytest.mark.parametrize("what", ["cpu", "torch", "kernels", "threads", "precision"])
def test_another_machine_is_another_trial(monkeypatch, what):
    asked = measured(monkeypatch, COMPACT)
    layers = (LayerShape(64, 128, 0.3),)
    trials.trial(layers, 256)
    if what == "cpu":
        monkeypatch.setattr(machine, "cpu_model", lambda: "Another 3000")
    elif what == "torch":
        monkeypatch.setattr(torch, "__version__", "99.0")
    elif what == "kernels":
        monkeypatch.setattr(native_product, "ABI", native_product.ABI + 1)
    elif what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    else:
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    trials.trial(layers, 256)
    assert len(asked) == 2


# --- choosing ---------------------------------------------------------------------------


@pytest.mark.parametrize(("timing", "form"), [(COMPACT, "compact"), (MASKED, "masked")])
def test_a_trial_decides_where_the_rule_is_unsure(monkeypatch, kernels_work, timing, form):
    measured(monkeypatch, timing)
    backend, (block, masks) = build(), block_and_masks()
    assert backend.attach(block, masks, "critic") is block
    assert choices(backend) == {f"critic.{name}": form for name in masks}
    assert [type(layer) for layer in block.children()] == [
        SparseLinear if form == "compact" else nn.Linear
    ] * 2
    reason = backend.report()["layers"]["critic.expand.weight"]["reason"]
    assert "measured" in reason
    assert "1 ms" in reason
    assert "2 ms" in reason


def test_nearly_equal_times_are_a_tie_that_compact_wins():
    chain, where = (LayerShape(64, 64, 0.4),), Setting(256)
    choose = auto.rule.by_trial
    assert choose(chain, where, Timing(0.98, 1.0)).form == "compact"
    assert choose(chain, where, Timing(0.96, 1.0)).form == "masked"


def test_layers_of_a_block_get_one_answer(monkeypatch, kernels_work):
    asked = measured(monkeypatch, COMPACT)
    backend, (block, masks) = build(), block_and_masks(density=0.1, expand=0.6)
    backend.attach(block, masks, "critic")
    ((chain, batch),) = asked
    assert [layer.density for layer in chain] == [0.6, 0.1]
    assert batch == 256
    assert set(choices(backend).values()) == {"compact"}


def test_without_trials_nothing_is_measured(monkeypatch, kernels_work):
    asked = measured(monkeypatch, COMPACT)
    backend, (block, masks) = build(trials=False), block_and_masks(density=0.55)
    backend.attach(block, masks, "critic")
    assert asked == []
    assert set(choices(backend).values()) == {"masked"}


def a_critic(width):
    """Of a kind that runs one row at a time, and masks of a tenth of its hidden weights."""
    trunk = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    critic = Critic([Member(trunk, nn.Linear(width, 1))])
    return critic, {"members.0.trunk.2.weight": mask_of(trunk[2], 0.1)}


def test_one_row_at_a_time_goes_by_the_rule(monkeypatch, kernels_work):
    asked = measured(monkeypatch, MASKED)
    wide, narrow = build(batch=1), build(batch=1)
    wide.attach(*a_critic(128), "critic")
    narrow.attach(*a_critic(64), "critic")
    assert (set(choices(wide).values()), set(choices(narrow).values())) == ({"compact"}, {"masked"})
    assert asked == []


@pytest.mark.parametrize("options", [{"native": False}, {}])
def test_one_row_that_needs_autograd_is_tried(monkeypatch, kernels_work, options):
    asked = measured(monkeypatch, MASKED)
    backend = build(batch=1, **options)
    backend.attach(*(block_and_masks(width=128) if not options else a_critic(128)), "critic")
    assert set(choices(backend).values()) == {"masked"}
    assert [batch for _, batch in asked] == [1]


def test_without_kernels_for_rows_a_batch_of_one_is_masked(monkeypatch, kernels_work):
    monkeypatch.setattr(library, "missing", lambda: "were not built")
    auto._warn_of.cache_clear()
    one, many = build(batch=1), build()
    with pytest.warns(RuntimeWarning, match="one row at a time were not built"):
        one.attach(*a_critic(128), "critic")
    measured(monkeypatch, COMPACT)
    many.attach(*a_critic(128), "critic")
    assert (set(choices(one).values()), set(choices(many).values())) == ({"masked"}, {"compact"})


def test_off_the_cpu_all_is_masked(monkeypatch, kernels_work):
    asked = measured(monkeypatch, COMPACT)
    backend = build(device=torch.device("cuda"))
    block, masks = block_and_masks(width=256, density=0.05)
    backend.attach(block, masks, "critic")
    assert set(choices(backend).values()) == {"masked"}
    assert asked == []
    assert "cuda" in backend.report()["layers"]["critic.expand.weight"]["reason"]
    assert type(block.expand) is nn.Linear


def test_without_kernels_all_is_masked_and_said_once(monkeypatch):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    auto._warn_of.cache_clear()
    first, second = build(), build()
    with pytest.warns(RuntimeWarning, match="kernels were not built"):
        first.attach(*block_and_masks(width=256, density=0.05), "critic")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.attach(*block_and_masks(width=256, density=0.05), "critic")
    assert set(choices(second).values()) == {"masked"}


def test_without_kernels_nothing_is_said_where_they_would_not_be_used(monkeypatch, recwarn):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    auto._warn_of.cache_clear()
    build().attach(*block_and_masks(width=16), "critic")
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


# --- what an earlier process chose ------------------------------------------------------


def reported(monkeypatch, timing):
    """What a first process writes down, and reads back from JSON."""
    measured(monkeypatch, timing)
    backend = build()
    backend.attach(*block_and_masks(), "critic")
    return json.loads(json.dumps(backend.report()))


def test_what_an_earlier_process_chose_is_chosen_again(monkeypatch, kernels_work):
    report = reported(monkeypatch, COMPACT)
    cache.forget()
    cache.default_path().unlink()
    asked = measured(monkeypatch, MASKED)
    again, anew = build(chosen=report), build()
    again.attach(*block_and_masks(), "critic")
    anew.attach(*block_and_masks(), "critic")
    assert set(choices(again).values()) == {"compact"}
    assert set(choices(anew).values()) == {"masked"}
    assert len(asked) == 1  # by the other one
    assert again.report()["layers"] == report["layers"]


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report | {"backend": "sparse"},
        lambda report: report | {"device": "cuda"},
        lambda report: report | {"layers": {}},
        lambda report: {},
    ],
)
def test_a_report_of_something_else_does_not_count(monkeypatch, kernels_work, change):
    report = change(reported(monkeypatch, COMPACT))
    cache.forget()
    cache.default_path().unlink()
    measured(monkeypatch, MASKED)
    backend = build(chosen=report)
    backend.attach(*block_and_masks(), "critic")
    assert set(choices(backend).values()) == {"masked"}


# --- what it does as a backend ----------------------------------------------------------


def test_the_report_has_every_masked_parameter(monkeypatch, kernels_work):
    measured(monkeypatch, COMPACT)
    net = nn.Sequential(nn.Conv1d(1, 64, 3), nn.Linear(64, 64), nn.Linear(64, 80))
    masks = {
        "0.weight": torch.rand(64, 1, 3) < 0.5,
        "1.weight": torch.ones(64, 64, dtype=torch.bool),
        "2.weight": mask_of(net[2], 0.3),
    }
    backend = build(batch=32)
    backend.attach(net, masks, "encoder")
    report = backend.report()
    assert json.loads(json.dumps(report)) == report
    assert (report["backend"], report["device"], report["batch_size"]) == ("auto", "cpu", 32)
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


def test_masked_layers_are_held_at_zero_beside_compact_ones(monkeypatch, kernels_work):
    measured(monkeypatch, COMPACT)
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
