"""Random shifts, and what of DrQ-v2 is about pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from plugins.losses import augment
from plugins.losses.options import SACOptions
from tests.support.agents import DRQ, DRQ_DDPG, PIXELS, make_batch, make_learner, make_loss

torch.set_num_threads(1)


def by_interpolation(frames, offsets, pad):
    """DrQ-v2's form: bilinear sampling of the padded frames at whole-pixel offsets."""
    count, _, size, _ = frames.shape
    padded = F.pad(frames.float(), (pad,) * 4, mode="replicate")
    step = 2 / (size + 2 * pad)
    line = torch.linspace(-1 + step / 2, 1 - step / 2, size + 2 * pad)[:size]
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).expand(count, -1, -1, -1)
    moves = torch.stack([offsets[1], offsets[0]], -1)[:, None, None] * step
    return F.grid_sample(padded, grid + moves, padding_mode="zeros", align_corners=False)


def random_frames(seed=0, size=84):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (6, 9, size, size), generator=draw, dtype=torch.uint8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), pad=st.integers(1, 5))
def test_a_shift_is_what_interpolation_gives_and_one_thing_on_every_device(seed, pad):
    frames = random_frames(seed, 20)
    offsets = torch.randint(0, 2 * pad + 1, (2, 6), generator=torch.Generator().manual_seed(seed))
    cropped = augment.shift_by_crop(frames, offsets, pad)
    assert cropped.dtype == torch.uint8
    assert torch.equal(cropped, augment.shift_by_gather(frames, offsets, pad))
    want = by_interpolation(frames, offsets, pad)
    torch.testing.assert_close(cropped.float(), want, rtol=0, atol=0.01)


def test_at_full_size_too():
    frames, offsets = random_frames(), torch.randint(0, 9, (2, 6))
    cropped = augment.shift_by_crop(frames, offsets, 4)
    torch.testing.assert_close(
        cropped.float(), by_interpolation(frames, offsets, 4), rtol=0, atol=0.01
    )


def test_the_middle_offset_moves_nothing_and_the_first_repeats_the_border():
    frames = random_frames()
    assert torch.equal(augment.shift_by_crop(frames, torch.full((2, 6), 4), 4), frames)
    moved = augment.shift_by_crop(frames, torch.zeros(2, 6, dtype=torch.int64), 4)
    assert torch.equal(moved[:, :, 4:, 4:], frames[:, :, :-4, :-4])
    assert torch.equal(moved[:, :, 0, 4:], frames[:, :, 0, :-4])


def test_offsets_are_uniform_and_independent(monkeypatch):
    seen = []
    monkeypatch.setattr(augment, "shift_by_crop", lambda f, o, pad: seen.append(o) or f)
    torch.manual_seed(0)
    augment.random_shift(torch.zeros(9000, 1, 1, 1, dtype=torch.uint8), 4)
    (offsets,) = seen
    joint = torch.histc((9 * offsets[0] + offsets[1]).float(), 81, 0, 80)
    # Chi squared with 80 degrees of freedom: 137 is passed once in 10,000 draws.
    assert ((joint - 9000 / 81) ** 2 / (9000 / 81)).sum() < 137
    assert not torch.equal(offsets[:, :-1], offsets[:, 1:])


@pytest.mark.parametrize("options", [DRQ_DDPG, SACOptions(shift=4)], ids=["drq", "sac"])
def test_observation_and_next_are_shifted_apart_and_acting_is_not(monkeypatch, options):
    calls = []

    def record(frames, pad):
        calls.append((frames.clone(), pad))
        return frames + len(calls)

    monkeypatch.setattr("plugins.losses.inputs.random_shift", record)
    loss, batch = make_loss(options, DRQ), make_batch(PIXELS)
    prepared = loss.prepare(batch)
    observation, following = batch["observation"], batch["next", "observation"]
    assert [pad for _, pad in calls] == [4, 4]
    assert torch.equal(calls[0][0], observation)
    assert torch.equal(calls[1][0], following)
    torch.testing.assert_close(prepared["features"], loss.encoder(observation + 1))
    torch.testing.assert_close(prepared["next_features"], loss.encoder(following + 2))
    loss.act(observation, explore=True)
    assert len(calls) == 2


def test_an_update_learns_from_pixels():
    learner = make_learner(DRQ_DDPG, DRQ)
    batch = make_batch(PIXELS, size=16)
    batch["next", "discount"].zero_()
    first = None
    for _ in range(150):
        learner.update(batch)
        if first is None:
            first = learner.means.take()["loss/critic"]
            learner.means.take()
    assert learner.means.take()["loss/critic"] < first
    torch.manual_seed(0)
    last = learner.step(batch)["loss/critic"].item()
    assert last < 0.9 * first
