"""Copies of sparse networks, and what they save."""

from __future__ import annotations

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn

from plugins.execution.masked import Masked
from plugins.execution.pattern.build import pattern_of
from plugins.execution.pattern.index import by_number
from plugins.execution.sparse import Sparse
from tests.plugins.execution.sparse_networks import IMAGES, attached, network

torch.set_num_threads(1)

# --- copies -------------------------------------------------------------------------------


def through_pickle(module):
    return pickle.loads(pickle.dumps(module))


def through_a_file(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("how", [copy.deepcopy, through_pickle, through_a_file])
def test_copies_compute_the_same_and_have_weights_of_their_own(how):
    module, *_ = attached()
    twin = how(module)
    want = module(IMAGES)
    assert torch.equal(twin(IMAGES), want)
    same = twin[2].pattern is module[2].pattern
    assert same == (how is copy.deepcopy)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(module(IMAGES), want)


def test_a_copy_outlives_the_original():
    """As in another process, where patterns have other numbers."""
    module = attached()[0]
    number = module[2].pattern.number
    want, twin = module(IMAGES).detach(), through_pickle(module)
    del module
    gc.collect()
    with pytest.raises(ValueError, match="no pattern has the number"):
        by_number(number)
    assert torch.equal(twin(IMAGES), want)


def test_moves_and_conversions():
    module, *_ = attached()
    want = module(IMAGES)
    numbers = [module[i].pattern_id.clone() for i in (2, 4, 6)]
    module.double()
    assert module[2].weight.dtype is torch.float64
    torch.testing.assert_close(module(IMAGES.double()).float(), want)
    module.to("meta")
    assert module[2].weight.device.type == "meta"
    assert [module[i].pattern_id for i in (2, 4, 6)] == numbers
    assert module(IMAGES.double().to("meta")).shape == want.shape
    assert callable(module[2].bfloat16)


# --- state dicts --------------------------------------------------------------------------


def test_a_state_dict_is_row_by_row_and_loads_into_another_order():
    module, masks, _ = attached()
    other = Sparse().attach(network(), masks)
    for name in ("2.weight", "4.weight"):
        layer = module.get_submodule(name.removesuffix(".weight"))
        old, new = layer.pattern, pattern_of(masks[name], (3, 5))  # narrow panels
        layer.weight.data = old.carrying(new)(layer.weight.data)
        layer.exchange_pattern(new)
    state = module.state_dict()
    assert list(state) == list(network().state_dict())
    plain = Masked().attach(network(), masks)
    for name in ("2.weight", "4.weight", "6.weight"):
        assert torch.equal(state[name], plain.get_parameter(name)[masks[name]])
    assert not torch.equal(state["2.weight"], module[2].weight)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    torch.testing.assert_close(other(IMAGES), module(IMAGES))
    module.load_state_dict(other.state_dict())
    torch.testing.assert_close(module(IMAGES), plain(IMAGES))


def test_a_dense_state_dict_loads_and_a_wrong_one_is_refused():
    module, masks, _ = attached()
    masked = Masked().attach(network(), masks)
    for parameter in masked.parameters():
        parameter.data.mul_(2)
    place = module[2].weight.data_ptr()
    module.load_state_dict(masked.state_dict())
    assert module[2].weight.data_ptr() == place
    torch.testing.assert_close(module(IMAGES), masked(IMAGES))
    state = {**masked.state_dict(), "2.weight": torch.ones(20, 12)}
    removed = int((~masks["2.weight"]).sum())
    with pytest.raises(RuntimeError, match=rf"2\.weight: {removed} entries .* are not zero"):
        module.load_state_dict(state)
    for wrong in (torch.ones(7), torch.ones(20, 13), torch.ones(())):
        with pytest.raises(RuntimeError, match=r"2\.weight: this layer keeps .* of \[20, 12\]"):
            module.load_state_dict({**masked.state_dict(), "2.weight": wrong})
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict({n: v for n, v in masked.state_dict().items() if n != "2.weight"})
    torch.testing.assert_close(module(IMAGES), masked(IMAGES))


def test_assigned_and_partial_state_dicts():
    module, *_ = attached()
    state = {name: value * 2 for name, value in module.state_dict().items()}
    module.load_state_dict({"2.weight": state["2.weight"]}, strict=False)
    module.load_state_dict(state, assign=True)
    assert torch.equal(module.state_dict()["4.weight"], state["4.weight"])
    assert isinstance(module[4].weight, nn.Parameter)
    assert module.state_dict(keep_vars=True)["2.bias"] is module[2].bias
