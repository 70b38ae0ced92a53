"""Saving and loading a replay buffer: incremental, exact, and safe to interrupt."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import UserError
from plugins.data.replay import checkpoint
from tests.plugins.data.replay_oracle import Oracle, make, matches, random_ends


def blocks(oracle: Oracle, number: int, steps: int, rate: float = 0.15) -> list:
    rng = oracle.rng
    return [oracle.collect(random_ends(rng, oracle.count, steps, rate)) for _ in range(number)]


def go_on(replay, batches) -> list[torch.Tensor]:
    """Extend and take all owed batches; everything that was sampled, in one list."""
    seen = []
    for batch in batches:
        replay.extend(batch)
        for sample in replay.batches():
            seen += [value.clone() for value in sample.values(True, True)]
    return seen


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) > 0 and all(map(torch.equal, left, right))


@st.composite
def runs(draw):
    return {
        "count": draw(st.integers(1, 3)),
        "frame_stack": draw(st.integers(1, 4)),
        "n_step": draw(st.integers(1, 5)),
        "rounds": draw(
            st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=6)
        ),
        "rate": draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        "storage": draw(st.sampled_from(["memory", "memmap"])),
        "piece": draw(st.sampled_from([1, 300, 1 << 20])),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=16, deadline=None)
@given(runs())
def test_going_on_after_any_rounds_of_saving(tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("run")
    oracle = Oracle(run["count"], run["frame_stack"], run["n_step"], run["seed"])
    kept = {"storage": run["storage"], "updates_per_step": 0.7, "learning_starts": 3}
    capacity, rate = 12 * run["count"], run["rate"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "PIECE_BYTES", run["piece"])
        one = make(oracle, capacity, folder, **kept)
        for number, steps in run["rounds"]:
            go_on(one, blocks(oracle, number, steps, rate))
            written = {path.name: path.read_bytes() for path in (folder / "c").glob("*")}
            state = copy.deepcopy(one.save(folder / "c"))
            for name, content in written.items():
                assert (folder / "c" / name).read_bytes() == content, "a saved file was changed"
            for path in (folder / "c").glob("*"):
                if path.name not in state["files"]:
                    path.unlink()  # as core does
        # killed long after the save: what the first buffer does now must not matter
        later = blocks(oracle, 8, 3, rate)
        expected = go_on(one, later)
        two = make(oracle, capacity, folder, seed=1234, **kept)
        two.load(folder / "c", state)
        assert same(go_on(two, later), expected)
        assert len(one) == len(two)
        # and the line of checkpoints goes on from the loaded buffer
        three = make(oracle, capacity, folder, seed=5, **kept)
        three.load(folder / "c", two.save(folder / "c"))
        last = blocks(oracle, 5, 4, rate)
        assert same(go_on(three, last), go_on(one, last))


@pytest.mark.filterwarnings("ignore:Got conflicting batch_sizes")
@pytest.mark.parametrize("steps", [1, 3])
def test_every_valid_start_is_there_after_loading(tmp_path, steps):
    oracle = Oracle(2, 3, 2, seed=4)
    one = make(oracle, 24, tmp_path)
    for _ in range(27 // steps):
        go_on(one, blocks(oracle, 1, steps))
        state = one.save(tmp_path)
        two = make(oracle, 24, tmp_path)
        two.load(tmp_path, state)
        expected = oracle.valid(two.layout.frames, two.layout.transitions)
        batch = two.buffer.sample(25 * len(expected) + 1) if expected else None
        assert batch is None or matches(batch, expected) == set(expected)


def test_only_new_rows_are_written_and_old_files_let_go(tmp_path):
    oracle = Oracle(1, 3, 3, 0)
    replay = make(oracle, 40, tmp_path)
    sizes, named = [], []
    for _ in range(12):
        go_on(replay, blocks(oracle, 1, 10, rate=0.0))
        before = set(tmp_path.glob("frames-*"))
        state = replay.save(tmp_path)
        new = set(tmp_path.glob("frames-*")) - before
        assert {path.name for path in new} == {state["files"][-1]}
        saved = torch.load(new.pop(), weights_only=True)["columns"]["reward"]
        sizes.append(len(saved))
        named.append(len(state["files"]))
    # ten transitions, the observation after them, and the stack of the first
    assert sizes == [11] + [13] * 11
    assert named == [1, 2, 3] + [4] * 9
    assert replay.save(tmp_path)["files"] == state["files"]


def test_a_name_of_an_abandoned_continuation_is_not_taken(tmp_path):
    oracle = Oracle(1, 1, 1, 0)
    one = make(oracle, 40, tmp_path)
    go_on(one, blocks(oracle, 1, 10))
    early = copy.deepcopy(one.save(tmp_path))
    go_on(one, blocks(oracle, 1, 5))
    late = copy.deepcopy(one.save(tmp_path))
    two = make(oracle, 40, tmp_path)
    two.load(tmp_path, early)
    go_on(two, blocks(oracle, 1, 5))
    other = two.save(tmp_path)
    assert other["files"][0] == late["files"][0]
    assert other["files"][1] != late["files"][1]
    three = make(oracle, 40, tmp_path)
    three.load(tmp_path, late)
    assert same(go_on(three, [x := blocks(oracle, 1, 3)[0]]), go_on(one, [x]))


def test_no_temporary_file_stays_and_the_memmap_leaves_none(tmp_path):
    oracle = Oracle(1, 2, 1, 0)
    replay = make(oracle, 40, tmp_path, storage="memmap")
    go_on(replay, blocks(oracle, 3, 5))
    replay.save(tmp_path / "c")
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".pt"}


def test_an_empty_buffer_can_be_saved(tmp_path):
    oracle = Oracle(2, 2, 3, 0)
    one, two = make(oracle, 40, tmp_path), make(oracle, 40, tmp_path, seed=7)
    state = one.save(tmp_path)
    assert state["files"] == []
    two.load(tmp_path, state)
    later = blocks(oracle, 6, 4)
    assert same(go_on(one, later), go_on(two, later))


def test_another_shape_is_refused(tmp_path):
    oracle = Oracle(1, 1, 1, 0)
    one = make(oracle, 40, tmp_path)
    go_on(one, blocks(oracle, 1, 10))
    state = one.save(tmp_path)
    with pytest.raises(UserError, match="the preset asks for"):
        make(oracle, 50, tmp_path).load(tmp_path, state)
    (tmp_path / state["files"][0]).unlink()
    with pytest.raises(UserError, match="missing"):
        make(oracle, 40, tmp_path).load(tmp_path, state)


def test_the_state_is_small_and_loads_without_trust(tmp_path):
    oracle = Oracle(2, 1, 1, 0)
    one = make(oracle, 400, tmp_path)
    go_on(one, blocks(oracle, 30, 10))
    torch.save(one.save(tmp_path), tmp_path / "state")
    assert (tmp_path / "state").stat().st_size < 12_000
    state = torch.load(tmp_path / "state", weights_only=True)
    two = make(oracle, 400, tmp_path)
    two.load(tmp_path, state)
    later = blocks(oracle, 3, 4)
    assert same(go_on(one, later), go_on(two, later))
    assert np.isfinite(float(two.owed))
