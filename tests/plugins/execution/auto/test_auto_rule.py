"""``auto``: which form the rule gives a layer, and which layers it takes together."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from plugins.execution.auto import rule
from plugins.execution.auto.rule import LayerShape, Setting

HERE = Setting(batch=256)


def pair(width, density, blocks=False):
    """The two layers of a SimBa block."""
    expand = LayerShape(4 * width, width, density, blocks)
    return expand, LayerShape(width, 4 * width, density, blocks)


@pytest.mark.parametrize(
    ("width", "density", "batch", "form"),
    [
        # What was measured to win everywhere, and what nowhere.
        (512, 0.05, 256, "compact"),
        (512, 0.2, 256, "compact"),
        (256, 0.2, 32, "compact"),
        (2048, 0.1, 1024, "compact"),
        (1024, 0.3, 64, "compact"),
        (1024, 0.8, 256, "masked"),
        (1024, 0.99, 256, "masked"),
        (32, 0.05, 256, "masked"),
        # Between them the likelier form.
        (1024, 0.5, 256, "masked?"),
        (1024, 0.41, 256, "masked?"),
        (1024, 0.4, 256, "compact?"),
        (1024, 0.31, 256, "compact?"),
        (1024, 0.75, 256, "masked?"),
        (128, 0.1, 256, "compact?"),
        (512, 0.1, 8, "compact?"),
        (512, 0.1, 4, "masked?"),
        (64, 0.1, 2, "masked?"),
        # One row at a time.
        (256, 0.1, 1, "compact"),
        (256, 0.25, 1, "compact"),
        (128, 0.25, 1, "compact"),
        (256, 0.3, 1, "masked"),
        (112, 0.1, 1, "masked"),
        (512, 0.5, 1, "compact"),
        (512, 0.55, 1, "masked"),
    ],
)
def test_the_rule(width, density, batch, form):
    assert chosen(pair(width, density), Setting(batch)) == form


def chosen(chain, setting):
    """The form, with a question mark where the rule is unsure."""
    choice = rule.choose(chain, setting)
    return choice.form + "?" * ("not measured" in choice.reason)


def test_one_row_with_autograd_is_a_batch():
    assert chosen(pair(256, 0.1), Setting(1, online=False)) == "masked?"
    assert chosen(pair(256, 0.8), Setting(1, online=False)) == "masked"


def test_blocks_pay_at_higher_densities():
    assert chosen(pair(512, 0.45), HERE) == "masked?"
    assert chosen(pair(512, 0.4, blocks=True), HERE) == "compact"
    assert chosen(pair(512, 0.5, blocks=True), HERE) == "compact?"
    assert chosen(pair(512, 0.8), HERE) == "masked"
    assert chosen(pair(512, 0.8, blocks=True), HERE) == "masked?"


def test_where_dense_products_run_in_bfloat16_fewer_cases_are_sure():
    fast = Setting(batch=256, matrix_units=True)
    assert chosen(pair(512, 0.2), HERE) == "compact"
    assert chosen(pair(512, 0.2), fast) == "compact?"
    assert chosen(pair(512, 0.3), fast) == "masked?"
    assert chosen(pair(512, 0.1), fast) == "compact"
    assert chosen(pair(512, 0.3, blocks=True), fast) == "compact?"


def test_a_choice_follows_from_its_arguments_alone(monkeypatch):
    """No clock, no file, no random number: the machine's load changes nothing."""
    for module, name in ((time, "perf_counter"), (time, "process_time"), (time, "time")):
        monkeypatch.setattr(module, name, lambda: pytest.fail("a clock was read"))
    for width, density, batch in itertools.product((64, 128, 512), (0.1, 0.35, 0.6), (1, 8, 256)):
        layers = pair(width, density)
        assert rule.choose(layers, Setting(batch)) == rule.choose(layers, Setting(batch))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (Setting(256, device="cuda"), "on cuda"),
        (Setting(256, missing="were not built"), "kernels were not built"),
    ],
)
@pytest.mark.parametrize("batch", [1, 256])
def test_without_kernels_or_off_the_cpu_all_is_masked(setting, reason, batch):
    choice = rule.choose(pair(1024, 0.05), setting)
    assert choice.form == "masked"
    assert reason in choice.reason


def test_reasons_have_the_numbers():
    reason = rule.choose(pair(512, 0.1), HERE).reason
    assert "0.1" in reason
    assert "512" in reason
    assert "256" in reason
    assert "0.8" in rule.choose(pair(512, 0.8), HERE).reason


def test_the_density_of_layers_together_is_that_of_their_weights():
    layers = (LayerShape(10, 10, 1.0), LayerShape(30, 10, 0.2))
    assert rule.density_of(layers) == pytest.approx((100 + 60) / 400)
    assert rule.width_of((LayerShape(10, 40, 1.0), LayerShape(7, 10, 1.0))) == 7


def test_layers_that_follow_each_other_in_one_module_are_chosen_together():
    shapes = {
        "trunk.input.weight": LayerShape(80, 64, 0.5),
        "trunk.blocks.0.expand.weight": LayerShape(320, 80, 0.5),
        "trunk.blocks.0.contract.weight": LayerShape(80, 320, 0.5),
        "trunk.blocks.1.expand.weight": LayerShape(320, 80, 0.5),
        "trunk.blocks.1.contract.weight": LayerShape(80, 320, 0.5),
        "heads.mean.weight": LayerShape(64, 80, 0.5),
        "heads.std.weight": LayerShape(64, 80, 0.5),
    }
    assert list(rule.chains(shapes, HERE)) == [
        ("trunk.input.weight",),
        ("trunk.blocks.0.expand.weight", "trunk.blocks.0.contract.weight"),
        ("trunk.blocks.1.expand.weight", "trunk.blocks.1.contract.weight"),
        ("heads.mean.weight",),
        ("heads.std.weight",),
    ]
    assert list(rule.chains({}, HERE)) == []


def test_layers_of_one_module_that_do_not_fit_are_apart():
    shapes = {"net.0.weight": LayerShape(80, 64, 0.5), "net.1.weight": LayerShape(80, 64, 0.5)}
    assert list(rule.chains(shapes, HERE)) == [("net.0.weight",), ("net.1.weight",)]


def test_a_narrow_layer_does_not_decide_for_its_neighbours():
    sizes = (20, 256, 256, 10)
    shapes = {
        f"trunk.{at}.weight": LayerShape(outputs, inputs, 0.1)
        for at, (inputs, outputs) in enumerate(zip(sizes, (256, 256, 10, 10), strict=True))
    }
    assert list(rule.chains(shapes, HERE)) == [
        ("trunk.0.weight",),
        ("trunk.1.weight",),
        ("trunk.2.weight",),
        ("trunk.3.weight",),
    ]


@pytest.mark.parametrize(("batch", "together"), [(256, True), (1, False)])
def test_what_is_narrow_depends_on_the_batch(batch, together):
    shapes = {"a.0.weight": LayerShape(96, 256, 0.1), "a.1.weight": LayerShape(256, 96, 0.1)}
    assert (list(rule.chains(shapes, Setting(batch))) == [tuple(shapes)]) is together


def test_shapes_are_those_of_masks():
    mask = torch.zeros(32, 48, dtype=torch.bool)
    mask[:16, 16:32] = True
    assert rule.density_of_mask(mask) == 1 / 6
    assert rule.shape_of(mask, 1 / 6) == LayerShape(32, 48, 1 / 6, blocks=True)
    mask[0, 0] = True
    assert rule.density_of_mask(mask) == 257 / 1536
    assert rule.shape_of(mask, 0.2) == LayerShape(32, 48, 0.2, blocks=False)
    assert not rule.shape_of(torch.ones(8, 8, dtype=torch.bool), 1.0).blocks


def test_only_linear_weights_that_lose_something_can_be_compact():
    assert rule.unsuitable(0.25, True) is None
    assert "linear" in rule.unsuitable(0.25, False)
    assert "every weight" in rule.unsuitable(1.0, True)
    assert "no weight" in rule.unsuitable(0.0, True)


@pytest.mark.parametrize(
    ("density", "bucket"), [(0.52, 0.5), (0.48, 0.5), (0.1, 0.1), (0.99, 1.0), (0.05, 0.046)]
)
def test_densities_are_put_into_buckets(density, bucket):
    assert rule.rounded(density) == pytest.approx(bucket)


def test_buckets_stay_within_a_tenth_of_the_density():
    for step in range(1, 1000):
        density = step / 1000
        assert abs(rule.rounded(density) / density - 1) < (0.11 if density < 0.1 else 0.25)
        assert 0 < rule.rounded(density) <= 1
