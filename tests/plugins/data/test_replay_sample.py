"""Samples of replay besides its batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from core.api import Sampled
from tests.plugins.data.replay_oracle import Oracle, make, random_ends

torch.set_num_threads(1)


def filled():
    replay = make(Oracle(2, 2, 3, seed=5), 60, Path())
    source = Oracle(2, 2, 3, seed=5)
    replay.extend(source.collect(random_ends(np.random.default_rng(0), 2, 25, 0.1)))
    return replay, source


def test_a_sample_is_its_seeds_alone():
    replay, _ = filled()
    assert isinstance(replay, Sampled)
    first, again = replay.sample(16, seed=3), replay.sample(16, seed=3)
    assert first.batch_size == (16,)
    assert (first == again).all()
    assert not (first == replay.sample(16, seed=4)).all()
    list(replay.batches())
    assert (first == replay.sample(16, seed=3)).all()


def test_samples_leave_the_runs_own_draws_alone():
    runs = []
    for looked in (False, True):
        replay, source = filled()
        batches = []
        for step in range(4):
            ends = random_ends(np.random.default_rng(step), 2, 3, 0.1)
            replay.extend(source.collect(ends))
            for batch in replay.batches():
                batches.append(batch.clone())
                if looked:
                    replay.sample(7, seed=0)
        runs.append((batches, replay.collected, replay.owed))
    (plain, *counts), (watched, *same) = runs
    assert counts == same
    assert len(plain) == len(watched) > 20
    assert all((one == other).all() for one, other in zip(plain, watched, strict=True))
