"""The optimizers against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.api import OptimizerContext, OptionError
from plugins.optimizers import AdamOptions, AdamWOptions, register_optimizers

COMPONENTS = {component.name: component for component in register_optimizers()}


def make(name, options=None, device="cpu"):
    component = COMPONENTS[name]
    return component.build(options or component.options(), OptimizerContext(torch.device(device)))


@pytest.mark.parametrize(("name", "decay"), [("adamw", 0.1), ("adam", 0.0), ("adam", 0.1)])
def test_steps_equal_the_formula(name, decay):
    torch.manual_seed(0)
    options = COMPONENTS[name].options(lr=0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=decay)
    parameter = nn.Parameter(torch.randn(4, dtype=torch.float64))
    w, m, v = parameter.detach().clone(), torch.zeros(4), torch.zeros(4)
    optimizer = make(name, options)([parameter], {})
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
    optimizer = make("adamw")([nn.Parameter(torch.zeros(1))], {"lr": 0.5, "weight_decay": 0.0})
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.5, 0.0, (0.9, 0.999))
    with pytest.raises(TypeError):
        make("adamw")([nn.Parameter(torch.zeros(1))], {"momentum": 0.5})


@pytest.mark.parametrize("name", COMPONENTS)
def test_fused_everywhere_and_capturable_on_a_gpu(name):
    for device, capturable in (("cpu", False), ("cuda", True)):
        (group,) = make(name, device=device)([nn.Parameter(torch.zeros(1))], {}).param_groups
        assert group["fused"]
        assert group["capturable"] is capturable


def test_defaults_are_the_papers():
    assert AdamWOptions() == AdamWOptions(1e-4, (0.9, 0.999), 1e-8, 1e-2)
    assert AdamOptions() == AdamOptions(1e-4, (0.9, 0.999), 1e-8, 0.0)


@pytest.mark.parametrize("options", [AdamWOptions, AdamOptions])
@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", -1), ("betas", (0.9,)), ("betas", (0.9, 1.0)), ("eps", 0), ("weight_decay", -1)],
)
def test_options_out_of_range_are_refused(options, field, value):
    with pytest.raises(OptionError) as caught:
        options(**{field: value})
    assert caught.value.field == field
