"""Index patterns of masks, against the dense matrix and plain loops."""

from __future__ import annotations

import copy
import ctypes
import gc
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.execution.pattern.blocks16 import Blocks16
from plugins.execution.pattern.build import pattern_of, tile_sizes
from plugins.execution.pattern.index import NativePattern, by_number
from plugins.execution.pattern.tiled_csr import TiledCSR
from tests.plugins.execution.pattern.patterns import equal, expect_sound, mask_of

torch.set_num_threads(1)


@st.composite
def masks(draw):
    """Bool ``[N, K]``: any density, with empty and full rows and columns, or one entry."""
    rows, columns = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.9, 1.0]))
    mask = torch.rand(rows, columns, generator=generator) < density
    row, column = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    change = draw(st.sampled_from(["nothing", "row", "column", "one"]))
    if change == "row":
        mask[row] = draw(st.booleans())
    elif change == "column":
        mask[:, column] = draw(st.booleans())
    elif change == "one":
        mask.zero_()[row, column] = True
    return mask


tiles = st.tuples(
    st.sampled_from([1, 3, 16, 64, 256]) | st.integers(1, 256), st.sampled_from([1, 7, 16, 256])
)


def numbered(mask):
    """A matrix of the mask's shape, every kept entry with a number of its own, from 1 on."""
    return torch.arange(1, mask.numel() + 1, dtype=torch.float64).view(mask.shape) * mask


def panel_major(mask, panel, block):
    """What the pattern of ``mask`` must be, by plain loops."""
    rows, columns = mask.shape
    kept = mask.tolist()
    starts, numbers, place = [], [], {}
    for first in range(0, columns, panel):
        line = []
        for i in range(rows):
            line.append(len(numbers))
            for k in range(first, min(first + panel, columns)):
                if kept[i][k]:
                    place[i, k] = len(numbers)
                    numbers.append(k - first)
        starts.append([*line, len(numbers)])
    t_starts, t_rows, t_places = [], [], []
    for first in range(0, rows, block):
        line = []
        for k in range(columns):
            line.append(len(t_rows))
            for i in range(first, min(first + block, rows)):
                if kept[i][k]:
                    t_rows.append(i - first)
                    t_places.append(place[i, k] - starts[k // panel][first])
        t_starts.append([*line, len(t_rows)])
    return {
        "starts": starts,
        "columns": numbers,
        "t_starts": t_starts,
        "t_rows": t_rows,
        "t_places": t_places,
    }


@settings(max_examples=150, deadline=None)
@given(mask=masks(), tiles=tiles)
def test_entries_lie_by_panel_then_row_then_column(mask, tiles):
    pattern = pattern_of(mask, tiles)
    assert isinstance(pattern, TiledCSR)
    assert (pattern.panel, pattern.block) == tiles
    assert pattern.shape == mask.shape
    assert pattern.nnz == mask.count_nonzero()
    for name, expected in panel_major(mask, *tiles).items():
        tensor = getattr(pattern, name)
        assert tensor.tolist() == expected, name
        assert tensor.dtype is TiledCSR.dtypes[name]
        assert tensor.is_contiguous()
    expect_sound(pattern)


def test_a_full_tile_of_the_largest_size_fits_its_places():
    pattern = pattern_of(torch.ones(256, 300, dtype=torch.bool), (256, 256))
    assert int(pattern.t_places.int().max()) == 65535
    expect_sound(pattern)


@settings(max_examples=100, deadline=None)
@given(mask=masks(), tiles=st.none() | tiles, lead=st.sampled_from([(), (1,), (2, 3), (0,)]))
def test_values_go_between_orders_exactly(mask, tiles, lead):
    pattern = pattern_of(mask, tiles)
    matrix = numbered(mask) + torch.arange(math.prod(lead)).view(*lead, 1, 1) * mask
    values = pattern.compacted(matrix)
    assert values.shape == (*lead, pattern.nnz)
    assert torch.equal(pattern.expanded(values), matrix)
    portable = pattern.to_portable(values)
    assert torch.equal(portable, matrix[..., mask])
    assert torch.equal(pattern.from_portable(portable), values)
    assert torch.equal(mask_of(pattern), mask)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_whole_blocks_are_recognised(data, rows, columns):
    kept = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    ).view(rows, columns)
    mask = kept.repeat_interleave(16, 0).repeat_interleave(16, 1)
    pattern = pattern_of(mask)
    assert isinstance(pattern, Blocks16)
    assert pattern.nnz == mask.count_nonzero()
    assert pattern.density == pytest.approx(kept.float().mean().item())
    places = [(i, k) for i in range(rows) for k in range(columns) if kept[i, k]]
    by_column = sorted(range(len(places)), key=lambda b: places[b][::-1])
    assert pattern.columns.tolist() == [k for _, k in places]
    assert pattern.t_rows.tolist() == [places[b][0] for b in by_column]
    assert pattern.t_places.tolist() == by_column
    assert pattern.starts.tolist() == [sum(i < row for i, _ in places) for row in range(rows + 1)]
    assert pattern.t_starts.tolist() == [
        sum(k < column for _, k in places) for column in range(columns + 1)
    ]
    expect_sound(pattern)
    matrix = numbered(mask)
    values = pattern.compacted(matrix)
    for block, (i, k) in zip(values.view(-1, 16, 16), places, strict=True):
        assert torch.equal(block, matrix[16 * i : 16 * i + 16, 16 * k : 16 * k + 16])
    assert torch.equal(pattern.expanded(values), matrix)
    assert torch.equal(pattern.to_portable(values), matrix[mask])
    assert torch.equal(pattern.from_portable(matrix[mask]), values)


@pytest.mark.parametrize("place", [(0, 0), (15, 31), (33, 17), (47, 79)])
def test_one_entry_more_or_less_and_there_are_no_whole_blocks(place):
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = mask.repeat_interleave(16, 0).repeat_interleave(16, 1)
    mask[place] = ~mask[place]
    pattern = pattern_of(mask)
    assert isinstance(pattern, TiledCSR)
    assert torch.equal(mask_of(pattern), mask)


@pytest.mark.parametrize("entries", [(slice(0, 16), 3), (3, slice(0, 16))])
def test_a_line_less_and_a_block_is_not_whole(entries):
    mask = torch.ones(32, 48, dtype=torch.bool)
    assert isinstance(pattern_of(mask), Blocks16)
    mask[entries] = False
    assert isinstance(pattern_of(mask), TiledCSR)


def test_panels_of_whole_blocks_if_tiles_are_named():
    mask = torch.ones(32, 48, dtype=torch.bool)
    pattern = pattern_of(mask, (16, 16))
    assert isinstance(pattern, TiledCSR)
    assert torch.equal(mask_of(pattern), mask)


def test_blocks_out_of_step_are_none():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    assert isinstance(pattern_of(mask), TiledCSR)


def test_strips_of_every_height_give_the_same(monkeypatch):
    mask = torch.rand(97, 61, generator=torch.Generator().manual_seed(0)) < 0.2
    blocks = torch.zeros(96, 64, dtype=torch.bool)
    blocks[64:80, 16:32] = True
    almost = blocks.clone()
    almost[95, 63] = True
    whole = pattern_of(mask)
    for most in (1, 61 * 16, 61 * 50):
        monkeypatch.setattr("plugins.execution.pattern.build.STRIP", most)
        assert equal(pattern_of(mask), whole)
        assert isinstance(pattern_of(blocks), Blocks16)
        assert isinstance(pattern_of(almost), TiledCSR)


@pytest.mark.parametrize(
    "mask",
    [
        torch.zeros(3, dtype=torch.bool),
        torch.zeros(3, 4),
        torch.zeros(0, 4, dtype=torch.bool),
        torch.zeros(2, 3, 4, dtype=torch.bool),
    ],
)
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(ValueError, match=r"bool \[N, K\]"):
        pattern_of(mask)


@pytest.mark.parametrize("tiles", [(0, 16), (257, 16), (16, 0), (16, 257)])
def test_tiles_beyond_a_byte_are_refused(tiles):
    with pytest.raises(ValueError, match="of 1 to 256"):
        pattern_of(torch.ones(3, 4, dtype=torch.bool), tiles)


def test_masks_need_not_be_contiguous_nor_their_bytes_one():
    mask = torch.rand(40, 30, generator=torch.Generator().manual_seed(1)) < 0.3
    expected = pattern_of(mask)
    assert equal(pattern_of(mask.t().contiguous().t()), expected)
    assert equal(pattern_of((mask.to(torch.uint8) * 3).view(torch.bool)), expected)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.3, 1.0])
def test_the_default_tiles_are_those_of_the_density(density):
    size = 257
    mask = torch.rand(size, size, generator=torch.Generator().manual_seed(1)) < density
    pattern = pattern_of(mask)
    assert (pattern.panel, pattern.block) == tile_sizes(pattern.density)
    assert all(1 <= tile <= 256 for tile in tile_sizes(density))


# --- what others are given --------------------------------------------------------------


def small(seed=0, rows=20, columns=30, density=0.3):
    generator = torch.Generator().manual_seed(seed)
    return pattern_of(torch.rand(rows, columns, generator=generator) < density, (16, 8))


def whole_blocks():
    return pattern_of(torch.ones(32, 48, dtype=torch.bool))


@pytest.mark.parametrize("pattern", [small(), whole_blocks()], ids=["panels", "blocks"])
def test_kernels_find_it_at_its_address(pattern):
    layer = NativePattern.from_address(pattern.address)
    assert (layer.outputs, layer.inputs, layer.count) == (*pattern.shape, pattern.nnz)
    kind = int(isinstance(pattern, Blocks16))
    assert (layer.kind, layer.panel, layer.block) == (kind, pattern.panel, pattern.block)
    assert [name for name, _ in NativePattern._fields_[:6]] == [
        "outputs", "inputs", "count", "kind", "panel", "block",
    ]  # fmt: skip
    assert ctypes.sizeof(NativePattern) == 11 * 8
    for name in pattern.dtypes:
        assert getattr(layer, name) == getattr(pattern, name).data_ptr()
    size = pattern.starts.numel()
    ints = ctypes.cast(layer.starts, ctypes.POINTER(ctypes.c_int32))
    assert np.ctypeslib.as_array(ints, (size,)).tolist() == pattern.starts.flatten().tolist()


def test_numbers_lead_to_patterns_that_live():
    one, two = small(), small()
    assert one.number != two.number
    assert by_number(one.number) is one
    assert by_number(torch.tensor(two.number)) is two
    gone = two.number
    del two
    gc.collect()
    with pytest.raises(ValueError, match=f"number {gone}"):
        by_number(gone)


@pytest.mark.parametrize("pattern", [small(), whole_blocks()], ids=["panels", "blocks"])
def test_copies_are_the_same_and_pickles_equal(pattern):
    assert copy.deepcopy([pattern])[0] is pattern
    assert copy.copy(pattern) is pattern
    again = pickle.loads(pickle.dumps(pattern))
    assert again is not pattern
    assert equal(again, pattern)
    assert again.number != pattern.number
    assert again.address != pattern.address
    assert by_number(again.number) is again


def test_equality_is_of_every_entry():
    assert equal(small(), small())
    assert not equal(small(), small(seed=1))
    assert not equal(small(), small(rows=21))
    mask = mask_of(small())
    assert not equal(small(), pattern_of(mask, (16, 16)))
    assert not equal(small(), pattern_of(mask, (8, 8)))
    assert not equal(small(), whole_blocks())
    wide = pattern_of(mask, (32, 8))
    assert not equal(pattern_of(mask, (64, 8)), wide)  # the tensors are the same


def test_nothing_of_it_can_be_set():
    pattern = small()
    with pytest.raises(AttributeError, match="panel"):
        pattern.panel = 3


@pytest.mark.parametrize("name", ["starts", "columns", "t_starts", "t_rows", "t_places"])
def test_writing_into_it_is_noticed(name):
    pattern = small()
    tensor = getattr(pattern, name)
    tensor.view(-1)[:1].zero_()
    with pytest.raises(ValueError, match="was written into"):
        _ = pattern.address


def test_one_that_is_made_in_inference_mode_serves_outside():
    with torch.inference_mode():
        pattern = small()
        again = pickle.loads(pickle.dumps(pattern))
    assert pattern.address
    assert again.address


def test_its_size_in_memory():
    rows, columns = 512, 1024
    pattern = pattern_of(
        torch.rand(rows, columns, generator=torch.Generator().manual_seed(0)) < 0.1
    )
    tables = 4 * (rows + 1) * 8 + 4 * (columns + 1) * 4  # 8 panels, 4 row blocks
    assert pattern.bytes == 4 * pattern.nnz + tables
    assert pattern.density == pytest.approx(0.1, abs=0.005)


def test_orders_are_differentiable_and_batched():
    pattern = small()
    values = torch.randn(pattern.nnz, dtype=torch.float64, requires_grad=True)
    matrix = torch.randn(pattern.shape, dtype=torch.float64)
    (pattern.expanded(values) * matrix).sum().backward()
    assert torch.equal(values.grad, pattern.compacted(matrix))
    batch = torch.randn(3, pattern.nnz)
    expected = torch.stack([pattern.expanded(row) for row in batch])
    assert torch.equal(torch.vmap(pattern.expanded)(batch), expected)
    assert torch.equal(torch.vmap(pattern.compacted)(expected), batch)
    assert torch.equal(torch.vmap(pattern.to_portable)(batch), pattern.to_portable(batch))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.bool])
def test_orders_are_of_any_type(dtype):
    pattern = small()
    matrix = mask_of(pattern).to(dtype)
    values = pattern.compacted(matrix)
    assert values.dtype is dtype
    assert torch.equal(pattern.expanded(values), matrix)


@settings(max_examples=60, deadline=None)
@given(mask=masks(), data=st.data(), seed=st.integers(0, 1000), lead=st.sampled_from([(), (2,)]))
def test_values_are_carried_to_other_masks(mask, data, seed, lead):
    generator = torch.Generator().manual_seed(seed)
    other = torch.rand(mask.shape, generator=generator) < data.draw(st.sampled_from([0, 0.3, 1]))
    old, new = pattern_of(mask, (16, 8)), pattern_of(other, (8, 32))
    matrix = torch.randn(*lead, *mask.shape, generator=generator) * mask
    got = old.carrying(new)(old.compacted(matrix))
    assert torch.equal(new.expanded(got), matrix * other)


def test_another_layers_sizes_are_refused():
    pattern = small()
    pattern.expect((20, 30), pattern.nnz)
    with pytest.raises(ValueError, match=r"another layer's: this one has shape \[30, 20\]"):
        pattern.expect((30, 20), pattern.nnz)
    with pytest.raises(ValueError, match="another layer's: this one has 7 weights"):
        pattern.expect((20, 30), 7)
    for use in (pattern.to_portable, pattern.from_portable, pattern.expanded):
        with pytest.raises(ValueError, match=r"needs \[\.\.\., \d+\], got \[3\]"):
            use(torch.zeros(3))
    with pytest.raises(ValueError, match=r"needs \[\.\.\., 20, 30\], got \[30, 20\]"):
        pattern.compacted(torch.zeros(30, 20))
    with pytest.raises(ValueError, match="another layer's"):
        pattern.carrying(small(rows=21))
