"""The sparse backend: what becomes compact, under which names, where it lies, how it is copied."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn

from core.api import Compact, ExecutionContext, UserError, dense
from plugins.execution import compiled, register_execution
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.options import SparseOptions
from plugins.execution.sparse import Sparse
from tests.plugins.execution.linear.sparse_pairs import random_mask
from tests.plugins.execution.sparse_networks import IMAGES, attached, masks_of, network
from tests.support.agents import CPU

torch.set_num_threads(1)


@pytest.mark.parametrize("product", ["auto", "densified"])
def test_masked_linear_layers_become_compact_in_their_place(product):
    module, masks, _ = attached(product=product)
    masked = Masked().attach(network(), masks)
    assert [type(layer) for layer in module] == [
        nn.Conv2d,
        nn.Flatten,
        SparseLinear,
        nn.ReLU,
        SparseLinear,
        nn.LayerNorm,
        SparseLinear,
    ]
    assert [n for n, _ in module.named_parameters()] == [n for n, _ in masked.named_parameters()]
    for name, parameter in masked.named_parameters():
        assert torch.equal(dense(module, name), parameter), name
    for name in ("2.weight", "4.weight", "6.weight"):
        assert module.get_parameter(name).shape == (masks[name].sum(),)
    torch.testing.assert_close(module(IMAGES), masked(IMAGES))
    assert all(isinstance(module[i], Compact) for i in (2, 4, 6))


def test_parameters_are_views_of_one_vector_in_the_modules_order():
    module, *_ = attached()
    parameters = list(module.parameters())
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == 1
    places = [p.storage_offset() for p in parameters]
    sizes = [p.numel() for p in parameters]
    assert places == [sum(sizes[:i]) for i in range(len(sizes))]
    assert all(p.is_leaf and p.requires_grad for p in parameters)


def test_the_parameter_objects_stay():
    module = network()
    before = dict(module.named_parameters())
    module = Sparse().attach(module, masks_of(module))
    assert all(parameter is before[name] for name, parameter in module.named_parameters())


@pytest.mark.parametrize("keep", ["all", "none"])
def test_masks_that_keep_everything_or_nothing_leave_a_layer_dense(keep):
    module = nn.Sequential(nn.Linear(4, 3))
    mask = torch.full((3, 4), keep == "all")
    weight = module[0].weight.detach().clone()
    execution = Sparse()
    module = execution.attach(module, {"0.weight": mask})
    assert type(module[0]) is nn.Linear
    assert torch.equal(module[0].weight, weight * mask)
    gradient = torch.ones(3, 4)
    execution.constrain_gradients([module[0].weight], [gradient])
    assert torch.equal(gradient, mask.float())


def test_what_else_is_masked_is_held_at_zero():
    module, masks, execution = attached()
    convolution, compact = module[0].weight, module[2].weight
    assert not convolution[~masks["0.weight"]].any()
    gradients = [torch.ones_like(convolution), torch.ones(2, *compact.shape)]
    execution.constrain_gradients([convolution, compact], gradients)
    assert torch.equal(gradients[0], masks["0.weight"].float())
    assert gradients[1].all()
    with torch.no_grad():
        convolution.fill_(torch.nan)
    execution.reapply()
    assert not convolution[~masks["0.weight"]].any()


def test_a_mask_of_a_bias_is_held_too():
    module = nn.Sequential(nn.Linear(6, 4))
    masks = {"0.weight": random_mask(4, 6, 0.5), "0.bias": torch.tensor([True, False, True, True])}
    module = Sparse().attach(module, masks)
    assert type(module[0]) is SparseLinear
    assert (module[0].bias == 0).tolist() == [False, True, False, False]


def test_shared_and_watched_layers():
    shared = nn.Linear(6, 6)
    module = nn.Sequential(shared, nn.ReLU(), shared)
    module = Sparse().attach(module, {"0.weight": random_mask(6, 6, 0.5)})
    assert type(module[0]) is SparseLinear
    assert module[0] is module[2]
    tied = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    tied[1].weight = tied[0].weight
    tied = Sparse().attach(tied, {"0.weight": random_mask(6, 6, 0.5)})
    assert type(tied[0]) is nn.Linear
    watched = nn.Sequential(nn.Linear(6, 6))
    watched[0].register_forward_hook(lambda *_: None)
    watched = Sparse().attach(watched, {"0.weight": random_mask(6, 6, 0.5)})
    assert type(watched[0]) is nn.Linear


def test_a_layer_by_itself_is_answered_as_another():
    layer = nn.Linear(6, 4)
    compact = Sparse().attach(layer, {"weight": random_mask(4, 6, 0.5)})
    assert type(compact) is SparseLinear
    assert compact.bias is layer.bias


def test_a_predicate_says_which():
    asked = []

    def wanted(name, shape, density):
        asked.append((name, tuple(shape), density))
        return name == "4.weight"

    module, masks, execution = attached(wanted=wanted)
    assert [type(module[i]) for i in (2, 4, 6)] == [nn.Linear, SparseLinear, nn.Linear]
    density = masks["2.weight"].float().mean().item()
    assert asked[0] == ("2.weight", (20, 12), pytest.approx(density))
    gradient = torch.ones(20, 12)
    execution.constrain_gradients([module[2].weight], [gradient])
    assert torch.equal(gradient, masks["2.weight"].float())


def test_a_mask_for_no_parameter_is_an_error():
    with pytest.raises(KeyError, match="wieght"):
        Sparse().attach(nn.Linear(2, 2), {"wieght": torch.ones(2, 2, dtype=torch.bool)})


# --- what it says -------------------------------------------------------------------------


def test_the_report_is_plain_and_says_how_each_is_stored():
    module, masks, execution = attached()
    report = json.loads(json.dumps(execution.report()))
    assert report["backend"] == "sparse"
    assert set(report["layers"]) == {f"critic.{name}" for name in masks}
    compact = report["layers"]["critic.2.weight"]
    assert compact["shape"] == [20, 12]
    assert compact["density"] == pytest.approx(masks["2.weight"].float().mean().item(), abs=1e-6)
    assert compact["bytes"] == module[2].pattern.bytes + 4 * module[2].weight.numel()
    assert {compact["choice"], report["layers"]["critic.0.weight"]["choice"]} == {
        "compact",
        "masked",
    }
    assert "kept=" in repr(module)


def build(**options):
    (component,) = [c for c in register_execution() if c.name == "sparse"]
    return component.build(SparseOptions(**options), ExecutionContext(CPU))


def test_without_kernels_there_is_one_warning_and_native_is_refused(monkeypatch):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    compiled.warn.cache_clear()
    with pytest.warns(RuntimeWarning, match="were not built.*densified"):
        module = build().attach(network(), masks_of(network()))
    assert module(IMAGES).shape == (5, 2)
    with pytest.raises(UserError, match="product: native needs compiled kernels"):
        build(product="native")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build().attach(network(), masks_of(network()))
        compiled.warn.cache_clear()
        build(product="densified").attach(network(), masks_of(network()))
    compiled.warn.cache_clear()


@pytest.mark.skipif(native_product.available() is not None, reason="kernels were not built")
def test_options_reach_the_layers():
    module = build(product="native", precision="bfloat16").attach(network(), masks_of(network()))
    assert (module[2].native, module[2].bf16) == (True, True)
    module = build(product="densified").attach(network(), masks_of(network()))
    assert (module[2].native, module[2].bf16) == (False, False)
    (component,) = [c for c in register_execution() if c.name == "sparse"]
    with pytest.raises(UserError, match="is for the CPU"):
        component.build(SparseOptions(product="native"), ExecutionContext(torch.device("cuda")))
    assert build(native=False).online(module) is None
