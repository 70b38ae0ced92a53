"""The optimizers against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.api import OptimizerContext, OptionError
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import (
    AdamOptions,
    AdamWOptions,
    AdaptiveObGDOptions,
    KappaOptions,
    ObGDOptions,
)

COMPONENTS = {component.name: component for component in register_optimizers()}
TRACED = {"obgd": ObGDOptions, "adaptive_obgd": AdaptiveObGDOptions}


def make(name, options=None, device="cpu"):
    component = COMPONENTS[name]
    return component.build(options or component.options(), OptimizerContext(torch.device(device)))


@pytest.mark.parametrize(("name", "decay"), [("adamw", 0.1), ("adam", 0.0), ("adam", 0.1)])
def test_steps_equal_the_formula(name, decay):
    torch.manual_seed(0)
    options = COMPONENTS[name].options(lr=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=decay)
    parameter = nn.Parameter(torch.randn(4, dtype=torch.float64))
    w, m, v = parameter.detach().clone(), torch.zeros(4), torch.zeros(4)
    optimizer = make(name, options)([parameter], {}, "critic")
    for t in range(1, 4):
        gradient = torch.randn(4, dtype=torch.float64)
        parameter.grad = gradient.clone()
        optimizer.step()
        if name == "adam":
            gradient = gradient + decay * w
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        step = (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-3)
        w = w - 0.05 * step - (0.05 * decay * w if name == "adamw" else 0)
    torch.testing.assert_close(parameter.detach(), w, rtol=1e-10, atol=1e-12)


def test_a_phase_overrides_options():
    ps = [nn.Parameter(torch.zeros(1))]
    optimizer = make("adamw")(ps, {"lr": 0.5, "weight_decay": 0.0}, "actor")
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.5, 0.0, (0.9, 0.999))
    with pytest.raises(TypeError):
        make("adamw")(ps, {"momentum": 0.5}, "actor")


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_fused_everywhere_and_capturable_on_a_gpu(name):
    for device, capturable in (("cpu", False), ("cuda", True)):
        optimizer = make(name, device=device)([nn.Parameter(torch.zeros(1))], {}, "critic")
        (group,) = optimizer.param_groups
        assert group["fused"]
        assert group["capturable"] is capturable


def test_defaults_are_the_papers():
    assert AdamWOptions() == AdamWOptions(1e-4, (0.9, 0.999), 1e-8, 1e-2)
    assert AdamOptions() == AdamOptions(1e-4, (0.9, 0.999), 1e-8, 0.0)
    assert ObGDOptions() == ObGDOptions(1.0, 0.8, KappaOptions(actor=3.0, critic=2.0))
    assert AdaptiveObGDOptions() == AdaptiveObGDOptions(1.0, 0.8, KappaOptions(), 0.999, 1e-8)


@pytest.mark.parametrize("options", [AdamWOptions, AdamOptions])
@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", -1), ("betas", (0.9,)), ("betas", (0.9, 1.0)), ("eps", 0), ("weight_decay", -1)],
)
def test_options_out_of_range_are_refused(options, field, value):
    with pytest.raises(OptionError) as caught:
        options(**{field: value})
    assert caught.value.field == field


# --- with eligibility traces --------------------------------------------------------------


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.parametrize(("phase", "kappa"), [("actor", 5.0), ("critic", 7.0), ("q", 7.0)])
def test_a_phase_brings_its_discount_and_has_its_own_bound(name, phase, kappa):
    options = TRACED[name](lr=0.5, lamda=0.7, kappa=KappaOptions(5.0, 7.0))
    p = nn.Parameter(torch.zeros(2))
    optimizer = make(name, options)([p], {"gamma": 0.9, "environments": 3}, phase)
    (group,) = optimizer.param_groups
    wanted = {"lr": 0.5, "lamda": 0.7, "kappa": kappa, "gamma": 0.9, "environments": 3}
    if name == "adaptive_obgd":
        wanted |= {"beta2": 0.999, "eps": 1e-8}
    assert group.items() >= wanted.items()
    assert optimizer.state[p]["trace"].shape == (3, 2)
    with pytest.raises(TypeError):
        make(name)([p], {"weight_decay": 0.0}, phase)


@pytest.mark.parametrize("name", TRACED)
def test_traces_need_td_errors(name):
    component = COMPONENTS[name]
    assert component.needs == {"TD errors"}
    assert component.provides == {"eligibility traces"}


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        *[(kind, *wrong) for kind in TRACED.values() for wrong in [("lr", -1), ("lamda", 1.5)]],
        (AdaptiveObGDOptions, "beta2", 1.0),
        (AdaptiveObGDOptions, "eps", 0),
        (KappaOptions, "actor", 0),
        (KappaOptions, "critic", -2),
    ],
)
def test_trace_options_out_of_range_are_refused(options, field, value):
    with pytest.raises(OptionError) as caught:
        options(**{field: value})
    assert caught.value.field == field
