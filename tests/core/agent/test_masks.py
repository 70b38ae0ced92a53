"""The masks of an agent: a bit a weight, whole again whenever one is looked at."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.agent.masks import MaskSet, PackedMasks, removed_weights_are_zero, unpacked, zero_removed
from core.training.checkpoint import pack, unpack

torch.set_num_threads(1)

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def mask(shape, seed=0, density=0.4):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1000), density=st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_a_mask_comes_back_as_it_was(shape, seed, density):
    one = mask(shape, seed, density)
    packed = PackedMasks({"one": one})
    assert packed["one"].dtype is torch.bool
    assert torch.equal(packed["one"], one)
    assert packed.shape("one") == one.shape
    assert packed.kept("one") == int(one.sum())
    saved = packed.state_dict()
    assert saved["one"]["bits"].nbytes == -(-one.numel() // 8)
    again = PackedMasks.restored(saved)
    assert again == packed
    assert again.kept("one") == packed.kept("one")


def test_bits_are_in_the_order_of_the_entries():
    one = torch.tensor([[True, False, False], [True, True, False], [False, False, True]])
    saved = PackedMasks({"one": one}).state_dict()["one"]
    assert saved["bits"].tolist() == [0b10011000, 0b10000000]
    assert saved["shape"] == [3, 3]


def test_it_is_a_mapping_of_fresh_tensors():
    masks = {"a": mask((3, 4)), "b": mask((5, 3), 1)}
    packed = PackedMasks(masks)
    assert (list(packed), len(packed), "a" in packed, "c" in packed) == (["a", "b"], 2, True, False)
    assert packed.get("c") is None
    with pytest.raises(KeyError):
        packed["c"]
    assert all(torch.equal(value, masks[name]) for name, value in packed.items())
    packed["a"].fill_(True)
    masks["b"].fill_(True)
    assert not packed["a"].all()
    assert not packed["b"].all()
    assert PackedMasks((name, packed[name]) for name in packed) == packed
    assert copy.deepcopy(packed) == packed
    assert pickle.loads(pickle.dumps(packed)) == packed


def test_equality_is_of_names_shapes_and_entries():
    one = mask((3, 4))
    packed, other = PackedMasks({"a": one}), one.clone()
    other[2, 3] = ~other[2, 3]
    assert packed == PackedMasks({"a": one.clone()})
    assert packed != PackedMasks({"b": one})
    assert packed != PackedMasks({"a": one.view(4, 3)})
    assert packed != PackedMasks({"a": other})
    assert packed != PackedMasks({"a": one, "b": one})
    assert packed != {"a": one}


def test_masks_need_not_be_contiguous():
    one = mask((6, 5)).t()
    assert torch.equal(PackedMasks({"a": one})["a"], one)


def test_only_booleans_are_masks():
    with pytest.raises(ValueError, match=r"of type bool, got torch\.float32"):
        PackedMasks({"a": torch.ones(3)})


@pytest.mark.parametrize(
    "bits", [torch.zeros(1, dtype=torch.uint8), torch.zeros(2), torch.zeros(1, 2).byte()]
)
def test_bits_must_be_those_of_the_shape(bits):
    with pytest.raises(ValueError, match=r"bits of a mask \[3, 4\]"):
        unpacked(bits, (3, 4))


# --- the masks of an agent --------------------------------------------------------------


class Scheme:
    """Half of every kernel, as pairs or as a mapping."""

    target = "all"

    def __init__(self, masks=None, *, pairs=False):
        self.masks, self.pairs = masks, pairs

    def draw(self, parameters, generator):
        masks = self.masks or {
            name: torch.rand(p.shape, generator=generator) < 0.5
            for name, p in parameters.items()
            if p.ndim > 1
        }
        return iter(masks.items()) if self.pairs else masks


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


@pytest.mark.parametrize("pairs", [False, True])
def test_a_draw_follows_from_seed_and_role(pairs):
    module, scheme = network(), Scheme(pairs=pairs)
    masks = MaskSet(1)
    drawn = masks.draw("actor", module, scheme)
    assert list(drawn) == ["0.weight", "2.weight"]
    assert masks.masks["actor"] is drawn
    assert MaskSet(1).draw("actor", module, Scheme()) == drawn
    assert MaskSet(2).draw("actor", module, scheme) != drawn
    assert MaskSet(1).draw("critic", module, scheme) != drawn


@pytest.mark.parametrize("masks", [{"1.weight": mask((6, 4))}, {"0.weight": mask((4, 6))}])
def test_a_mask_for_no_parameter_is_refused(masks):
    with pytest.raises(ValueError, match=r"mask of 'actor\.\d\.weight' does not fit"):
        MaskSet(1).draw("actor", network(), Scheme(masks))


def test_densities_and_counts():
    module, masks = network(), MaskSet(1)
    drawn = masks.draw("actor", module, Scheme())
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    assert masks.density("actor", "0.weight") == drawn["0.weight"].float().mean().item()
    assert masks.density("actor", "0.bias") == 1.0
    assert masks.density("critic", "0.weight") == 1.0
    living = sum(int(drawn[name].sum()) for name in drawn)
    assert masks.kept("actor", shapes) == living + 8
    assert masks.kept("critic", shapes) == 24 + 12 + 8


def drawn_set(seed=1):
    masks = MaskSet(seed)
    for role in ("actor", "critic"):
        masks.draw(role, network(), Scheme())
    return masks


def through_a_file(state, tmp_path):
    torch.save(pack(state), tmp_path / "state.pt")
    return unpack(torch.load(tmp_path / "state.pt", weights_only=True))


def test_they_are_saved_as_bits_and_come_back(tmp_path):
    masks = drawn_set()
    state = through_a_file(masks.state_dict(), tmp_path)
    assert state["masks"]["actor"]["0.weight"]["bits"].nbytes == 3
    again = MaskSet.restored(state)
    assert again == masks
    assert again.seed == 1


def test_removed_weights_go_to_zero_and_are_seen_to_be():
    module, masks = network(), drawn_set().masks["actor"]
    assert not removed_weights_are_zero(module, masks)
    before = copy.deepcopy(module.state_dict())
    zero_removed(module, masks)
    assert removed_weights_are_zero(module, masks)
    for name, value in module.state_dict().items():
        kept = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value, torch.where(kept, before[name], torch.zeros(())))


class Compacted(nn.Module):
    """Stores four entries of a matrix."""

    dense_shape = torch.Size([6, 4])

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def expanded(self, values):
        raise NotImplementedError

    compacted = to_portable = from_portable = expanded


def test_what_is_not_stored_is_not_there_to_be_zero():
    assert removed_weights_are_zero(Compacted(), {"weight": mask((6, 4))})
