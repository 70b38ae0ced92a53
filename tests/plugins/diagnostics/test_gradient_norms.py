"""Norms of gradients and parameters on agents of every kind, and what all of them leave alone."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.api import (
    BatchOptions,
    DiagnosticContext,
    OptionError,
    Phase,
    UserError,
)
from plugins.diagnostics import register_diagnostics
from plugins.diagnostics.options import GradientInterferenceOptions
from tests.plugins.diagnostics.differentiated import (
    BATCH,
    KINDS,
    MASKED,
    REPLAYED,
    diagnostic,
    gradients_of,
    make,
    phases_of,
)


def norm(tensors):
    return np.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


@pytest.mark.parametrize("sparsity", MASKED)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_norms_are_those_of_a_backward_call(kind, sparsity):
    agent, view, batch = make(kind, sparsity)
    torch.manual_seed(3)
    found = diagnostic("gradient_norm", view).measure(view)
    expected = {}
    for phase in phases_of(agent):
        torch.manual_seed(3)
        gradients = gradients_of(agent, batch, phase)
        layers = {label.rpartition(".")[0] for label in gradients}
        for group in layers | {label.partition(".")[0] for label in gradients}:
            of = [g for label, g in gradients.items() if label.startswith(f"{group}.")]
            expected[f"{phase}/{group}"] = norm(of)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("sparsity", MASKED)
@pytest.mark.parametrize("kind", REPLAYED)
def test_gradient_norms_are_the_learner_s_where_nothing_moves(kind, sparsity):
    agent, view, batch = make(kind, sparsity)
    agent.loss.options = type(agent.loss.options)(  # what an update sees, without augmentation
        **{**vars(agent.loss.options), "shift": 0}
    )
    torch.manual_seed(3)
    found = diagnostic("gradient_norm", view).measure(view)
    torch.manual_seed(3)
    logged = agent.learner.step(batch)
    for phase in phases_of(agent):
        roles = [v for name, v in found.items() if name in {f"{phase}/{r}" for r in view.networks}]
        expected = logged[f"gradient_norm/{phase}"].item()
        assert norm(roles) == pytest.approx(expected, rel=1e-6), phase


@pytest.mark.parametrize("kind", KINDS)
def test_parameter_norms_are_numpy_s(kind):
    agent, view, _ = make(kind)
    found = diagnostic("parameter_norm", view).measure(view)
    expected = {}
    for role, network in agent.parts.modules.items():
        expected[role] = np.linalg.norm(
            np.concatenate([p.detach().numpy().ravel() for p in network.parameters()])
        )
        for path, module in network.named_modules():
            own = [p.detach().numpy().ravel() for p in module.parameters(recurse=False)]
            if own:
                expected[f"{role}.{path}"] = np.linalg.norm(np.concatenate(own))
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-5), name


def test_a_parameter_of_the_network_itself_is_a_layer():
    bare = torch.nn.Linear(2, 1)
    view = SimpleNamespace(networks={"critic": bare})
    (component,) = [c for c in register_diagnostics() if c.name == "parameter_norm"]
    found = component.build(component.options(), None).measure(view)
    assert set(found) == {"critic", "critic.weight", "critic.bias"}
    assert found["critic.weight"].item() == pytest.approx(bare.weight.norm().item())


def hooks_of(loss):
    kinds = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    modules = [[list(getattr(m, kind)) for kind in kinds] for m in loss.modules()]
    return modules, [p._backward_hooks for p in loss.parameters()]


@pytest.mark.parametrize("name", ["gradient_norm", "parameter_norm", "gradient_interference"])
@pytest.mark.parametrize("kind", KINDS)
def test_measuring_leaves_the_agent_as_it_was(kind, name):
    agent, view, _ = make(kind)
    agent.parts.modules["critic"].eval()
    next(agent.parts.modules["critic"].parameters()).requires_grad_(False)
    with torch.no_grad():  # targets of their own: averaging would move them
        for target in agent.loss.targets.values():
            [p.mul_(0.5) for p in target.parameters()]
    analysed = view.batch(BATCH)
    state = copy.deepcopy(agent.learner.state_dict())
    asks = [p.requires_grad for p in agent.loss.parameters()]
    modes, hooks = [m.training for m in agent.loss.modules()], hooks_of(agent.loss)
    parameters = list(agent.loss.parameters())
    before = {key: (entry, entry.clone()) for key, entry in analysed.batch.items()}
    options = {"samples": 3} if name == "gradient_interference" else {}
    assert diagnostic(name, view, **options).measure(view)
    after = agent.learner.state_dict()
    torch.testing.assert_close(after, state, rtol=0, atol=0, equal_nan=True)
    assert all(a is b for a, b in zip(parameters, agent.loss.parameters(), strict=True))
    assert all(p.grad is None for p in agent.loss.parameters())
    assert asks == [p.requires_grad for p in agent.loss.parameters()]
    assert modes == [m.training for m in agent.loss.modules()]
    assert hooks == hooks_of(agent.loss)
    assert list(analysed.batch) == list(before)
    for key, (entry, copied) in before.items():
        assert analysed.batch[key] is entry
        assert torch.equal(entry, copied)
        assert not entry.requires_grad


@pytest.mark.parametrize("name", ["gradient_norm", "gradient_interference"])
def test_a_loss_that_trains_no_network_is_refused(name):
    _, view, _ = make("sac")
    loss = SimpleNamespace(phases=(Phase("t", lambda batch: (None, {}), (view.loss.temperature,)),))
    (component,) = [c for c in register_diagnostics() if c.name == name]
    context = DiagnosticContext(view.spec, loss, view.networks, 0.99)
    with pytest.raises(UserError, match=f"'{name}': no phase of this loss trains a network"):
        component.build(component.options(), context)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"samples": 1}, "samples"),
        ({"samples": 65, "batch": BatchOptions(size=64)}, "samples"),
        ({"epsilon": -1e-8}, "epsilon"),
        ({"memory_mb": 0}, "memory_mb"),
        ({"every": 0}, "every"),
    ],
)
def test_options_out_of_range_are_named(options, field):
    with pytest.raises(OptionError) as caught:
        GradientInterferenceOptions(**options)
    assert caught.value.field == field
