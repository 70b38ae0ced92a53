"""What diagnostics of representations see of any PyTorch network, and what they refuse."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from core.api import (
    AnalysisBatch,
    DiagnosticContext,
    EnvironmentSpec,
    NetworkLayout,
    OptionError,
    UserError,
)
from plugins.diagnostics import activations, register_diagnostics

torch.set_num_threads(1)


def diagnostic(name, modules, **values):
    (component,) = [c for c in register_diagnostics() if c.name == name]
    context = DiagnosticContext(EnvironmentSpec((4,), 1), SimpleNamespace(), modules, 0.99)
    return component.build(component.options(**values), context)


class Plain(nn.Module):
    """Dropout, batch norm, and a rectifier in place, shared by two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.norm, self.drop, self.relu = nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ReLU(inplace=True)
        self.first.eval()  # A mode of its own is kept too.

    def forward(self, x):
        return self.relu(self.second(self.drop(self.relu(self.norm(self.first(x))))))


def test_other_networks_are_seen_in_evaluation_mode_and_left_alone():
    torch.manual_seed(0)
    network, inputs = Plain(), torch.randn(8, 4)
    network.norm.running_mean -= 1.0  # Most units live, or dropout would not show.
    before, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    analysed = AnalysisBatch(inputs, {}, {"actor": (inputs,)})
    given = {"networks": {"actor": network}, "roles": ["actor"], "keep": torch.clone}
    layers = activations.by_label(analysed, select=NetworkLayout.layers, **given)["actor"]
    units = activations.by_label(analysed, select=NetworkLayout.activations, **given)["actor"]
    assert modes == [m.training for m in network.modules()] == [True, False, True, True, True, True]
    assert not any(tensor.requires_grad for tensor in [*layers, *units])
    with torch.no_grad():
        network.eval()
        pre = network.first(inputs)
        post = torch.relu(network.norm(pre))
        expected = [pre, network.second(post)]
    torch.testing.assert_close(layers, expected)  # Not what the rectifier left in their place.
    torch.testing.assert_close(units, [post, torch.relu(expected[1])])
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_modes_and_hooks_come_back_after_an_error():
    network, calls = Plain(), []

    def fail(output):
        calls.append(output)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        activations.outputs(network, (torch.randn(2, 4),), NetworkLayout(network).layers(), fail)
    assert len(calls) == 1
    assert [m.training for m in network.modules()] == [True, False, True, True, True, True]
    assert all(not m._forward_hooks for m in network.modules())


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 3))
        self.head = nn.Linear(3, 1)


@pytest.mark.parametrize(
    ("name", "networks", "values", "error", "words"),
    [
        ("effective_rank", {"actor": nn.Linear(2, 2)}, {}, UserError, "has any feature"),
        ("feature_norm", {"actor": nn.Linear(2, 2)}, {}, UserError, "has any feature"),
        ("active_units", {"actor": Functional()}, {}, UserError, "has any ReLU"),
        ("dormant_ratio", {"actor": Functional()}, {"activations": ("post",)}, UserError, "unseen"),
        ("dormant_ratio", {"actor": nn.Identity()}, {}, UserError, "has any linear"),
        ("weight_rank", {"actor": nn.Identity()}, {}, UserError, "has any linear"),
        (
            "effective_rank",
            {"actor": Functional()},
            {"networks": ("encoder",)},
            OptionError,
            "lacks",
        ),
        (
            "weight_rank",
            {"critic": Functional()},
            {"networks": ("critics",)},
            OptionError,
            "mean 'c",
        ),
        (
            "active_units",
            {"actor": Plain(), "critic": Functional()},
            {"networks": ("actor", "critic")},
            OptionError,
            "'critic', which has no ReLU",
        ),
    ],
)
def test_what_an_agent_lacks_is_refused(name, networks, values, error, words):
    with pytest.raises(error, match=words):
        diagnostic(name, networks, **values)


def test_roles_without_the_part_are_passed_over_unless_named():
    networks = {"actor": Plain(), "critic": Functional()}
    assert activations.suiting(None, networks, NetworkLayout.activations) == ("actor",)
    assert activations.suiting(("critic",), networks, NetworkLayout.layers) == ("critic",)
