"""Malformed index patterns are refused, and the message says what is wrong."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plugins.execution.pattern.blocks16 import Blocks16
from plugins.execution.pattern.build import pattern_of
from plugins.execution.pattern.tiled_csr import TiledCSR
from tests.plugins.execution.pattern.patterns import NAMES, equal, expect_sound, make, parts

torch.set_num_threads(1)
ROWS, COLUMNS, PANEL, BLOCK = 20, 30, 16, 8
"""Two panels, the last of 14 columns, and three row blocks, the last of 4 rows."""


def sound(seed=0, rows=ROWS, columns=COLUMNS, density=0.4):
    generator = torch.Generator().manual_seed(seed)
    return pattern_of(torch.rand(rows, columns, generator=generator) < density, (PANEL, BLOCK))


def blocks(seed=0, rows=4, columns=6):
    kept = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.5
    return pattern_of(kept.repeat_interleave(16, 0).repeat_interleave(16, 1))


def refused(pattern, tensors, match):
    with pytest.raises(ValueError, match=match):
        make(pattern, tensors)


BOTH = pytest.mark.parametrize("pattern", [sound(), blocks()], ids=["panels", "blocks"])


@BOTH
def test_what_is_sound_passes_and_is_copied(pattern):
    tensors = parts(pattern)
    made = make(pattern, tensors)
    assert equal(made, pattern)
    for tensor in tensors.values():
        tensor.zero_()
    assert equal(made, pattern)
    expect_sound(made)
    assert made.address


@pytest.mark.parametrize("name", NAMES)
@BOTH
def test_wrong_kinds_of_tensors(pattern, name):
    tensors = parts(pattern)
    right = tensors[name]
    dtype = str(pattern.dtypes[name]).removeprefix("torch.")
    refused(pattern, {**tensors, name: right.long()}, f"{name} must be torch.{dtype}, got .*64")
    spread = torch.stack([right, right], dim=-1)[..., 0]
    refused(pattern, {**tensors, name: spread}, f"{name} must be contiguous")
    elsewhere = right.to("meta")
    refused(pattern, {**tensors, name: elsewhere}, f"{name} must be on the CPU, got meta")
    del tensors[name]
    refused(pattern, tensors, f"a pattern has starts, .*; got (?!.*\\b{name}\\b)")


@pytest.mark.parametrize("name", NAMES)
@BOTH
def test_wrong_lengths(pattern, name):
    tensors = parts(pattern)
    right = tensors[name]
    shorter = {**tensors, name: right[..., :-1].clone()}
    refused(pattern, shorter, ": wrong length: must be|inconsistent: it counts")
    longer = {**tensors, name: torch.cat([right, right[..., -1:]], dim=-1)}
    refused(pattern, longer, ": wrong length: must be|inconsistent: it counts")
    if right.ndim == 2:
        refused(pattern, {**tensors, name: right[:-1].clone()}, f"{name}: wrong length")
    refused(pattern, {**tensors, name: right[None].clone()}, "wrong length")


@BOTH
def test_all_entries_cut_alike_are_missed_by_the_counts(pattern):
    tensors = parts(pattern)
    for name in ("columns", "t_rows", "t_places"):
        tensors[name] = tensors[name][:-1].clone()
    count = len(tensors["columns"])
    refused(pattern, tensors, f"starts: inconsistent: it counts from 0 to .*are {count} entries")


@pytest.mark.parametrize("name", ["starts", "t_starts"])
@BOTH
def test_ranges_that_do_not_follow_one_another(pattern, name):
    def changed(change):
        tensors = parts(pattern)
        change(tensors[name].view(-1, tensors[name].shape[-1]))
        return tensors

    def first(starts):
        starts[0, 0] = -1

    def last(starts):
        starts[-1, -1] += 1

    def falling(starts):
        starts[0, 2] = starts[0, 1] - 1

    def huge(starts):  # differences of int32 would overflow
        starts[0, 1], starts[0, 2], starts[0, 3] = 2**31 - 1, -(2**31), -1

    refused(pattern, changed(first), f"{name}: inconsistent: it counts from -1")
    refused(pattern, changed(last), f"{name}: inconsistent: it counts from 0")
    refused(pattern, changed(falling), f"{name}: unsorted: a range ends early")
    refused(pattern, changed(huge), f"{name}: unsorted")


@pytest.mark.parametrize("name", ["starts", "t_starts"])
def test_tiles_that_overlap_or_leave_a_gap(name):
    pattern = sound()
    for shift in (1, -1):
        tensors = parts(pattern)
        tensors[name][0, -1] += shift
        if shift < 0:
            tensors[name][0] = tensors[name][0].clamp(max=int(tensors[name][0, -1]))
        refused(pattern, tensors, f"{name}: inconsistent: a tile does not begin where")


def test_an_entry_that_belongs_to_another_row():
    pattern = sound()
    tensors = parts(pattern)
    row = int(torch.argmax(tensors["starts"][0].diff()))
    tensors["starts"][0, row + 1] -= 1
    refused(pattern, tensors, "columns: unsorted|columns: duplicate|transposed index")


@pytest.mark.parametrize(
    ("name", "number", "limit"),
    [("columns", PANEL, PANEL), ("t_rows", BLOCK, BLOCK), ("columns", 255, PANEL)],
)
def test_numbers_out_of_range(name, number, limit):
    pattern = sound()
    tensors = parts(pattern)
    tensors[name][0] = number
    refused(pattern, tensors, rf"{name}: out of range: {number}, must be in \[0, {limit}\)")


def test_numbers_beyond_the_last_smaller_tile():
    pattern = sound()
    tensors = parts(pattern)
    tensors["columns"][-1] = COLUMNS - PANEL
    refused(pattern, tensors, r"columns: out of range: 14, must be in \[0, 14\)")
    tensors = parts(pattern)
    tensors["t_rows"][-1] = 4
    refused(pattern, tensors, r"t_rows: out of range: 4, must be in \[0, 4\)")


@pytest.mark.parametrize(("name", "limit"), [("columns", 6), ("t_rows", 4), ("t_places", None)])
@pytest.mark.parametrize("number", [-1, "limit", 2**31 - 1])
def test_block_numbers_out_of_range(name, limit, number):
    pattern = blocks()
    tensors = parts(pattern)
    limit = len(tensors["columns"]) if limit is None else limit
    number = limit if number == "limit" else number
    tensors[name][1] = number
    refused(pattern, tensors, rf"{name}: out of range: {number}, must be in \[0, {limit}\)")


def line_of_two(starts, last):
    """Where a range of two entries or more has its first or last two, in the first tiles."""
    starts = starts.view(-1, starts.shape[-1])[0]
    lines = (starts.diff() >= 2).nonzero().flatten().tolist()
    return int(starts[lines[-1] + 1]) - 2 if last else int(starts[lines[0]])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("starts", "name"), [("starts", "columns"), ("t_starts", "t_rows")])
@BOTH
def test_unsorted_and_duplicate_entries(pattern, starts, name, last):
    tensors = parts(pattern)
    at = line_of_two(tensors[starts], last)
    small, large = tensors[name][at : at + 2].tolist()
    tensors[name][at], tensors[name][at + 1] = large, small
    refused(pattern, tensors, f"{name}: unsorted: {small} after {large} in a line")
    tensors[name][at] = small
    refused(pattern, tensors, f"{name}: duplicate: {small} twice in a line")


def test_a_place_outside_its_tile():
    pattern = sound()
    for row_block in range(3):
        tensors = parts(pattern)
        at = int(tensors["t_starts"][row_block, 0])
        places = tensors["t_places"].int()
        places[at] = 65535
        tensors["t_places"] = places.to(torch.uint16)
        refused(pattern, tensors, f"t_places: out of range in row block {row_block}: .* its tile")


NOT_THE_TRANSPOSE = r"transposed index \(t_starts, t_rows, t_places\) is not that of the same"


@BOTH
def test_places_of_other_entries(pattern):
    tensors = parts(pattern)
    places = tensors["t_places"].int()
    places[[0, 1]] = places[[1, 0]]
    tensors["t_places"] = places.to(pattern.dtypes["t_places"])
    refused(pattern, tensors, NOT_THE_TRANSPOSE)


@BOTH
def test_the_transposed_index_of_another_mask(pattern):
    kind = sound if isinstance(pattern, TiledCSR) else blocks
    other = next(
        found
        for found in map(kind, range(1, 1000))
        if found.nnz == pattern.nnz and not equal(found, pattern)
    )
    tensors = parts(pattern) | {n: getattr(other, n) for n in ("t_starts", "t_rows", "t_places")}
    refused(pattern, tensors, f"{NOT_THE_TRANSPOSE}|t_places: out of range")


@pytest.mark.parametrize(
    ("shape", "panel", "block"),
    [
        ((ROWS, COLUMNS + 1), PANEL, BLOCK),
        ((ROWS + 1, COLUMNS), PANEL, BLOCK),
        ((ROWS, 20), PANEL, BLOCK),
        ((COLUMNS, ROWS), PANEL, BLOCK),
        ((ROWS, COLUMNS), 32, BLOCK),
        ((ROWS, COLUMNS), PANEL, 16),
        ((ROWS, COLUMNS), 17, BLOCK),
        ((ROWS, COLUMNS), PANEL, 7),
    ],
)
def test_another_layers_tensors(shape, panel, block):
    with pytest.raises(ValueError, match="wrong length|out of range|transposed index"):
        TiledCSR(shape, panel, block, parts(sound()))


@pytest.mark.parametrize("shape", [(64, 112), (80, 96), (96, 64), (64, 95)])
def test_another_layers_blocks(shape):
    with pytest.raises(ValueError, match="wrong length|shape must be of 16s"):
        Blocks16(shape, parts(blocks()))


@pytest.mark.parametrize("shape", [(0, 3), (-1, 3), (3,), (2.0, 3)])
def test_shapes_that_no_matrix_has(shape):
    with pytest.raises(ValueError, match="shape must be two positive numbers"):
        TiledCSR(shape, PANEL, BLOCK, parts(sound()))


@pytest.mark.parametrize(("panel", "block"), [(0, 8), (257, 8), (16, 0), (16, 300), (-1, 8)])
def test_tiles_that_a_byte_cannot_number(panel, block):
    with pytest.raises(ValueError, match=r"(panel|block) must be in 1 to 256"):
        TiledCSR((ROWS, COLUMNS), panel, block, parts(sound()))


def test_a_tampered_pickle():
    pattern = sound()
    restore, (kind, first, arrays) = pattern.__reduce__()
    assert equal(restore(kind, first, arrays), pattern)
    arrays = {name: array.copy() for name, array in arrays.items()}
    arrays["columns"][0] = 99
    with pytest.raises(ValueError, match="columns: out of range: 99"):
        restore(kind, first, arrays)
    with pytest.raises(ValueError, match="wrong length"):
        restore(kind, ((ROWS, COLUMNS + 1), PANEL, BLOCK), pattern.__reduce__()[1][2])
    assert equal(pickle.loads(pickle.dumps(pattern)), pattern)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 3),
    of_blocks=st.booleans(),
    name=st.sampled_from(NAMES),
    place=st.integers(0, 10_000),
    number=st.integers(-3, 70) | st.sampled_from([255, 65535, 2**31 - 1, -(2**31)]),
)
def test_no_entry_can_be_another(seed, of_blocks, name, place, number):
    """A pattern says each thing twice, so that any single number that is changed shows."""
    pattern = blocks(seed) if of_blocks else sound(seed)
    limits = torch.iinfo(pattern.dtypes[name])
    assume(limits.min <= number <= limits.max)
    tensors = parts(pattern)
    flat = tensors[name].long().view(-1)
    place %= len(flat)
    assume(flat[place] != number)
    flat[place] = number
    tensors[name] = flat.view(tensors[name].shape).to(tensors[name].dtype)
    with pytest.raises(ValueError, match=r"starts|columns|t_starts|t_rows|t_places"):
        make(pattern, tensors)
