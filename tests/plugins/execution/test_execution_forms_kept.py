"""Layers and networks whose form stays when masks change in training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from core.agent.learner import Learner
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.sparse import Sparse
from tests.support.pruned import dense_at_first

torch.set_num_threads(1)


def test_a_network_that_is_one_layer_keeps_its_form() -> None:
    dense_one, compact_one = nn.Linear(6, 4), nn.Linear(6, 4)
    full = torch.ones(4, 6, dtype=torch.bool)
    some = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    execution = Sparse()
    assert execution.attach(dense_one, {"weight": full}, "a") is dense_one
    layer = execution.attach(compact_one, {"weight": some}, "b")
    weight = layer.weight.detach().clone()
    execution.remask([dense_one], {"weight": some}, [])
    execution.remask([layer], {"weight": full}, [])
    assert not dense_one.weight[~some].any()
    assert layer.weight.shape == (24,)
    assert torch.equal(layer.expanded(layer.weight)[some].sort()[0], weight.sort()[0])
    assert {k: v["choice"] for k, v in execution.report()["layers"].items()} == {
        "a.weight": "masked",
        "b.weight": "compact",
    }


def test_layers_that_hooks_watch_keep_their_form() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    target = copy.deepcopy(module)
    masks = {f"{i}.weight": torch.rand(module[i].weight.shape) < 0.5 for i in (0, 2)}
    execution = Sparse()
    execution.attach(module, {})
    target[2].register_forward_hook(lambda *_: None)
    execution.remask([module, target], masks, [])
    assert [type(m[0]) for m in (module, target)] == [SparseLinear] * 2
    assert [type(m[2]) for m in (module, target)] == [nn.Linear] * 2
    assert not target[2].weight[~masks["2.weight"]].any()
    with pytest.raises(KeyError, match="nowhere"):
        execution.remask([module, target], {"nowhere": masks["2.weight"]}, [])


def test_learners_without_a_fused_update_are_left_alone() -> None:
    agent = dense_at_first("sac", Sparse(), fuse=True)
    learner: Learner = agent.learner
    assert learner._run == learner.step
    learner.recapture()
    assert learner._run == learner.step
