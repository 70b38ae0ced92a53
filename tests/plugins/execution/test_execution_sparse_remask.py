"""Other masks come into force while training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from core.api import dense
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.pattern.build import pattern_of
from plugins.execution.sparse import Sparse
from tests.plugins.execution.linear.sparse_pairs import WAYS, random_mask
from tests.plugins.execution.sparse_networks import IMAGES, attached, masks_of, network

torch.set_num_threads(1)


def trained(module, optimizer, execution, steps=3):
    for step in range(steps):
        x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        module(x).pow(2).sum().backward()
        parameters = list(module.parameters())
        execution.constrain_gradients(parameters, [p.grad for p in parameters])
        optimizer.step()


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.SGD])
def test_other_masks_keep_what_stays_alive(optimizer_class):
    module, masks, execution = attached()
    target = copy.deepcopy(module)
    options = {"momentum": 0.9} if optimizer_class is torch.optim.SGD else {}
    optimizer = optimizer_class(module.parameters(), lr=0.01, **options)
    trained(module, optimizer, execution)
    before = {n: dense(module, n).clone() for n in masks}
    target_before = {n: dense(target, n).clone() for n in masks}
    state_before = {
        n: {
            k: dense(module, n, v).clone()
            for k, v in optimizer.state[p].items()
            if v is not None and v.shape == p.shape
        }
        for n, p in module.named_parameters()
        if n in masks
    }
    identities = [id(p) for p in module.parameters()]
    others = {name: torch.rand(mask.shape) < 0.3 for name, mask in masks.items()}
    execution.remask([module, target], others, [optimizer])
    assert [id(p) for p in module.parameters()] == identities
    assert len({p.untyped_storage().data_ptr() for p in module.parameters()}) == 1
    for name, mask in others.items():
        both = mask & masks[name]
        parameter = module.get_parameter(name)
        assert torch.equal(dense(module, name), before[name] * both), name
        assert torch.equal(dense(target, name), target_before[name] * both), name
        if name != "0.weight":
            assert parameter.shape == (mask.sum(),)
            assert parameter.grad is None
        assert state_before[name]
        for kind, value in state_before[name].items():
            got = optimizer.state[parameter][kind]
            # What grows starts at zero, and so does what was never alive.
            assert torch.equal(dense(module, name, got), value * both), (name, kind)
    assert execution.report()["layers"]["critic.2.weight"]["density"] == pytest.approx(
        others["2.weight"].float().mean().item(), abs=1e-6
    )
    gradient = torch.ones_like(module[0].weight)
    execution.constrain_gradients([module[0].weight], [gradient])
    assert torch.equal(gradient, others["0.weight"].float())
    trained(module, optimizer, execution)
    assert module(IMAGES).isfinite().all()
    assert target(IMAGES).isfinite().all()


def test_other_masks_of_masked_networks():
    module = network()
    masks = masks_of(module)
    execution = Masked()
    execution.attach(module, masks)
    target = copy.deepcopy(module)
    optimizer = torch.optim.AdamW(module.parameters())
    trained(module, optimizer, execution)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    moments = {n: optimizer.state[p]["exp_avg"].clone() for n, p in module.named_parameters()}
    others = {name: torch.rand(mask.shape) < 0.3 for name, mask in masks.items()}
    execution.remask([module, target], others, [optimizer])
    for name, mask in others.items():
        parameter = module.get_parameter(name)
        assert torch.equal(parameter, before[name] * mask)
        assert not target.get_parameter(name)[~mask].any()
        assert torch.equal(optimizer.state[parameter]["exp_avg"], moments[name] * mask)
        gradient = torch.ones_like(parameter)
        execution.constrain_gradients([parameter], [gradient])
        assert torch.equal(gradient, mask.float())
    with torch.no_grad():
        module[2].weight.fill_(1)
    execution.reapply()
    assert torch.equal(module[2].weight, others["2.weight"].float())


def test_optimizers_are_told():
    told = []

    class Watching(torch.optim.SGD):
        def refresh(self):
            told.append([p.shape for p in self.param_groups[0]["params"]])

    for execution in (Sparse(), Masked()):
        module = network()
        masks, others = masks_of(module), masks_of(module, 0.2)
        module = execution.attach(module, masks)
        execution.remask([module], others, [Watching(module.parameters())])
    assert [shapes[2] for shapes in told] == [(others["2.weight"].sum(),), (20, 12)]


@pytest.mark.parametrize("native", WAYS)
def test_a_pattern_gives_the_layer_its_size(native):
    pattern = pattern_of(random_mask(7, 9, 0.5))
    layer = SparseLinear(pattern, nn.Parameter(torch.zeros(pattern.nnz)), None, native=native)
    assert (layer.in_features, layer.out_features) == (9, 7)
    assert layer.dense_shape == (7, 9)
    assert layer(torch.ones(2, 9)).shape == (2, 7)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert list(layer.state_dict()) == ["weight"]
