"""Replay against an oracle that keeps whole episodes in Python lists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrl.data import ReplayBuffer, TensorStorage

from core.api import DataContext, EnvironmentSpec, OptionError, Returns, UserError
from plugins.data import register_data
from plugins.data.options import ReplayOptions
from plugins.data.replay import capacity
from plugins.data.replay.layout import plan
from plugins.data.replay.outputs import Outputs
from plugins.data.replay.source import build
from tests.plugins.data.replay_oracle import Oracle, make, matches, random_ends

pytestmark = [
    pytest.mark.filterwarnings("ignore:Got conflicting batch_sizes"),
    pytest.mark.filterwarnings("ignore:Using `add"),
]
HERE = Path()
"""A run folder for buffers that write nothing."""


@st.composite
def histories(draw):
    return {
        "count": draw(st.integers(1, 3)),
        "frame_stack": draw(st.integers(1, 4)),
        "n_step": draw(st.integers(1, 5)),
        "per_environment": draw(st.integers(5, 20)),
        "chunks": draw(st.lists(st.integers(1, 12), min_size=1, max_size=8)),
        "rate": draw(st.sampled_from([0.0, 0.1, 0.4, 1.0])),
        "episode_steps": draw(st.sampled_from([1, 4, None])),
        "seed": draw(st.integers(0, 1000)),
    }


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_sample_is_the_oracles_and_every_valid_start_is_drawn(history):
    rng = np.random.default_rng(history["seed"])
    oracle = Oracle(history["count"], history["frame_stack"], history["n_step"], history["seed"])
    replay = make(
        oracle,
        history["per_environment"] * oracle.count,
        HERE,
        episode_steps=history["episode_steps"],
    )
    for steps in history["chunks"]:
        replay.extend(oracle.collect(random_ends(rng, oracle.count, steps, history["rate"])))
        expected = oracle.valid(replay.layout.frames, replay.layout.transitions)
        assert replay.storage.ledger.drawable == len(expected)
    if not expected:
        assert list(replay.batches()) == []
        return
    # a start is missed with probability below 60 e^-25
    batch = replay.buffer.sample(25 * len(expected) + 1)
    assert matches(batch, expected) == set(expected)


def test_chunks_do_not_matter():
    ends = random_ends(np.random.default_rng(3), 2, 60, 0.15)
    samples = []
    for sizes in ([60], [1] * 60, [7] * 8 + [4]):
        oracle = Oracle(2, 3, 3, seed=1)
        replay = make(oracle, 40, HERE)
        # the oracle numbers frames as it makes them: make them all, then cut
        everything = oracle.collect(ends)
        for part in everything.split(sizes, dim=1):
            replay.extend(part)
        samples.append(replay.buffer.sample(64))
    assert (samples[0] == samples[1]).all()
    assert (samples[0] == samples[2]).all()


def test_starts_are_uniform_over_environments_and_episodes():
    oracle = Oracle(3, 1, 3, seed=0)
    replay = make(oracle, 60, HERE)
    for _ in range(30):
        replay.extend(oracle.collect(random_ends(oracle.rng, 3, 1, 0.2)))
    expected = oracle.valid(replay.layout.frames, replay.layout.transitions)
    draws = 400 * len(expected)
    frames = replay.buffer.sample(draws)["observation"][:, 0]
    _, counts = torch.unique(frames, return_counts=True)
    assert len(counts) == len(expected)
    statistic = ((counts - 400.0) ** 2 / 400.0).sum().item()
    degrees = len(expected) - 1
    assert abs(statistic - degrees) < 4 * (2 * degrees) ** 0.5


def test_pixels_keep_their_bytes_and_order():
    spec = EnvironmentSpec((6, 4, 4), 2, pixels=True, frame_stack=2, episode_steps=5)
    context = DataContext(spec, Returns(0.99, 1), 1, torch.device("cpu"), 0, HERE)
    replay = build(ReplayOptions(capacity=20, learning_starts=0), context)
    batch = Oracle(1, 2, 1, 0).collect(np.array([["", "", "truncated"]]))
    frames = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 4, 4)
    at = [[0, 0], [0, 1], [1, 2], [2, 3]]
    stacks = torch.stack([torch.cat([frames[i] for i in pair]) for pair in at])
    batch["observation"] = stacks[None, :3]
    batch["next", "observation"] = stacks[None, 1:]
    replay.extend(batch)
    sample = replay.buffer.sample(64)
    assert sample["observation"].dtype == torch.uint8
    starts = sample["observation"][:, -1, 0, 0].long()
    assert set(starts.tolist()) == {0, 1, 2}
    assert torch.equal(sample["observation"], stacks[starts])
    assert torch.equal(sample["next", "observation"], stacks[starts + 1])


def test_discrete_actions_stay_integers():
    context = DataContext(
        EnvironmentSpec((6,), 4, frame_stack=2, discrete=True),
        Returns(0.99, 1),
        1,
        torch.device("cpu"),
        0,
        HERE,
    )
    replay = build(ReplayOptions(capacity=20, learning_starts=0), context)
    batch = Oracle(1, 2, 1, 0).collect(np.array([["", "", ""]]))
    batch["action"] = torch.tensor([[3, 1, 2]])
    replay.extend(batch)
    action = replay.buffer.sample(50)["action"]
    assert action.dtype == torch.int64
    assert set(action.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0, 0.3])
def test_batches_owed(ratio):
    oracle = Oracle(2, 1, 1, seed=0)
    replay = make(oracle, 400, HERE, updates_per_step=ratio, learning_starts=10, batch_size=3)
    given_out = 0
    for step in range(1, 61):
        replay.extend(oracle.collect(random_ends(oracle.rng, 2, 1, 0.1)))
        batches = list(replay.batches())
        assert all(batch.batch_size == (3,) for batch in batches)
        given_out += len(batches)
        # in integers: tenths of a batch
        assert given_out == round(10 * ratio) * max(0, 2 * step - 10) // 10
    assert list(replay.batches()) == []


def test_a_batch_survives_the_next_one():
    oracle = Oracle(1, 3, 3, seed=0)
    replay = make(oracle, 50, HERE, updates_per_step=2.0)
    replay.extend(oracle.collect(random_ends(oracle.rng, 1, 20, 0.1)))
    batches = replay.batches()
    first = next(batches)
    before = first.clone()
    next(batches)
    replay.extend(oracle.collect(random_ends(oracle.rng, 1, 20, 0.1)))
    assert (first == before).all()
    assert first.is_contiguous()


def test_seed_decides_the_samples_and_nothing_else():
    def sample(seed: int, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        oracle = Oracle(1, 1, 1, seed=0)
        replay = make(oracle, 50, HERE, seed=seed)
        replay.extend(oracle.collect(random_ends(oracle.rng, 1, 30, 0.1)))
        return replay.buffer.sample(32)["observation"]

    assert torch.equal(sample(1, 0), sample(1, 99))
    assert not torch.equal(sample(1, 0), sample(2, 0))


def test_it_is_torchrls_buffer_and_takes_its_transforms():
    oracle = Oracle(1, 2, 3, seed=0)
    replay = make(oracle, 50, HERE)
    assert type(replay.buffer) is ReplayBuffer
    assert isinstance(replay.buffer.storage, TensorStorage)
    assert "FrameStorage" in repr(replay.buffer)
    replay.extend(oracle.collect(random_ends(oracle.rng, 1, 30, 0.1)))
    assert len(replay.buffer) == len(replay) == 30
    replay.buffer.append_transform(lambda td: td.set("twice", 2 * td["observation"]))
    sample = replay.buffer.sample()
    assert torch.equal(sample["twice"], 2 * sample["observation"])


@pytest.mark.parametrize("way", ["state_dict", "dumps"])
def test_torchrls_own_checkpoints_work(way, tmp_path):
    oracle = Oracle(2, 2, 3, seed=0)
    one, two = make(oracle, 30, HERE), make(oracle, 30, HERE)
    one.extend(oracle.collect(random_ends(oracle.rng, 2, 40, 0.1)))
    if way == "dumps":
        one.buffer.dumps(tmp_path)
        two.buffer.loads(tmp_path)
    else:
        two.buffer.load_state_dict(one.buffer.state_dict())
    two.generator.set_state(one.generator.get_state())
    assert (one.buffer.sample(50) == two.buffer.sample(50)).all()
    two.buffer.empty()
    assert len(two.buffer) == 0
    with pytest.raises(RuntimeError, match="no transition"):
        two.buffer.sample(1)


def test_add_is_one_step_of_every_environment():
    oracle = Oracle(2, 1, 1, seed=0)
    one, two = make(oracle, 30, HERE), make(oracle, 30, HERE)
    batch = oracle.collect(random_ends(oracle.rng, 2, 5, 0.3))
    one.extend(batch)
    for step in batch.unbind(1):
        two.buffer.add(step)
    assert (one.buffer.sample(40) == two.buffer.sample(40)).all()


def test_a_batch_of_another_width_is_refused():
    replay = make(Oracle(3, 1, 1, 0), 30, HERE)
    with pytest.raises(ValueError, match="3, steps"):
        replay.extend(Oracle(2, 1, 1, 0).collect(random_ends(np.random.default_rng(0), 2, 1, 0)))


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_are_those_of_the_storage(count):
    spec = EnvironmentSpec((9, 20, 20), 6, pixels=True, frame_stack=3, episode_steps=10)
    context = DataContext(spec, Returns(0.99, 3), count, torch.device("cpu"), 0, HERE)
    replay = build(ReplayOptions(capacity=100, learning_starts=0), context)
    held = [*replay.storage.columns.values(), replay.storage.ledger.frame_of]
    assert replay.bytes == sum(column.untyped_storage().nbytes() for column in held)


def test_a_million_pixel_transitions_stay_below_22_kb_each():
    spec = EnvironmentSpec((9, 84, 84), 6, pixels=True, frame_stack=3, episode_steps=500)
    assert plan(spec, 1_000_000, 1).bytes <= 22_000 * 1_000_000


def test_full_length_episodes_fill_the_capacity_exactly():
    oracle = Oracle(2, 3, 3, seed=0)
    replay = make(oracle, 60, HERE, episode_steps=7)
    ends = np.array([["", "", "", "", "", "", "truncated"] * 20] * 2)
    held = set()
    for t in range(ends.shape[1]):
        replay.extend(oracle.collect(ends[:, t : t + 1]))
        if t >= 30:
            held.add(len(replay))
    assert held == {60}


SPEC = EnvironmentSpec((9, 84, 84), 6, pixels=True, frame_stack=3, episode_steps=500)


def big(tmp_path: Path | None, **options: object) -> object:
    context = DataContext(SPEC, Returns(0.99, 3), 1, torch.device("cpu"), 0, tmp_path)
    return build(ReplayOptions(**options), context)


def test_a_buffer_that_cannot_fit_is_refused(tmp_path, monkeypatch):
    free = 1_000_000_000
    monkeypatch.setattr("plugins.data.replay.source.free_memory", lambda: free)
    with pytest.raises(OptionError) as caught:
        big(tmp_path)
    needed = plan(SPEC, 1_000_000, 1).bytes
    words = caught.value.problem.split()
    fits = int(words[words.index("transitions", words.index("free;")) - 1])
    assert caught.value.field == "capacity"
    assert f"({needed} bytes)" in caught.value.problem
    assert f"({free} bytes)" in caught.value.problem
    assert plan(SPEC, fits, 1).bytes <= free < plan(SPEC, fits + 1, 1).bytes
    big(tmp_path, capacity=fits)
    big(None)  # describing checks nothing


def test_memmap_is_measured_against_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.data.replay.source.free_memory", lambda: 100_000_000)
    monkeypatch.setattr("plugins.data.replay.source.free_disk", lambda folder: 10_000_000_000)
    with pytest.raises(OptionError, match="on the disk of"):
        big(tmp_path / "not" / "yet", storage="memmap")
    big(tmp_path, capacity=400_000, storage="memmap")
    monkeypatch.setattr("plugins.data.replay.source.free_memory", lambda: 1000)
    with pytest.raises(OptionError, match="of memory"):
        big(tmp_path, capacity=400_000, storage="memmap")


def test_free_space_is_plausible(tmp_path):
    assert 1e6 < capacity.free_memory() < 1e14
    assert capacity.free_device(torch.device("cpu")) > 1e6
    assert 1e6 < capacity.free_disk(tmp_path / "missing" / "folder") < 1e17


def test_building_allocates_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.data.replay.source.free_memory", lambda: 10**15)
    monkeypatch.setattr("plugins.data.replay.source.free_disk", lambda folder: 10**15)
    for storage in ("memory", "memmap"):
        replay = big(tmp_path, capacity=10**9, learning_starts=0, storage=storage)
        assert replay.bytes > 2e13
        assert len(replay) == 0
        assert list(replay.batches()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capacity", 0),
        ("batch_size", 0),
        ("updates_per_step", 0.0),
        ("updates_per_step", float("nan")),
        ("updates_per_step", float("inf")),
        ("learning_starts", -1),
        ("learning_starts", 2_000_000),
        ("storage", "disk"),
    ],
)
def test_options_out_of_range(field, value):
    with pytest.raises(OptionError) as caught:
        ReplayOptions(**{field: value})
    assert caught.value.field == field


def test_capacity_must_hold_a_window_of_every_environment():
    oracle = Oracle(4, 1, 5, 0)
    make(oracle, 20, HERE)
    with pytest.raises(OptionError, match="at least 20"):
        make(oracle, 19, HERE)


def test_the_component():
    component = next(c for c in register_data() if c.name == "replay")
    assert component.provides == {"replay", "n-step returns", "batches"}
    context = DataContext(EnvironmentSpec((3,), 1), Returns(0.9), 1, torch.device("cpu"), 0)
    replay = component.build(ReplayOptions(learning_starts=7), context)
    assert replay.bytes > 0
    assert replay.learning_starts == 7


def test_memmap_needs_a_run_folder():
    context = DataContext(EnvironmentSpec((3,), 1), Returns(0.9), 1, torch.device("cpu"), 0)
    replay = build(ReplayOptions(storage="memmap"), context)
    with pytest.raises(UserError, match="run folder"):
        _ = replay.storage


def test_columns_on_another_device_hold_the_same(monkeypatch):
    """Without a GPU: the code for columns off the host, on columns that are on it."""
    ends = random_ends(np.random.default_rng(0), 2, 40, 0.15)
    samples = []
    for hidden in (False, True):
        oracle = Oracle(2, 3, 3, seed=0)
        replay = make(oracle, 30, HERE, storage="device")
        if hidden:
            monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
            for name in ("observation", "action"):
                del replay.storage._arrays[name]
        replay.extend(oracle.collect(ends))
        samples.append(replay.buffer.sample(40))
    assert (samples[0] == samples[1]).all()


def test_batch_memory_is_reused_only_when_nothing_refers_to_it():
    outputs = Outputs()
    first = outputs.empty((4, 3), torch.uint8)
    place = first.data_ptr()
    view = first.view(2, 6)[1:]
    del first
    second = outputs.empty((4, 3), torch.uint8)
    assert second.data_ptr() != place  # the view still refers to it
    del view
    assert outputs.empty((4, 3), torch.uint8).data_ptr() == place
    held = [outputs.empty((4, 3), torch.uint8) for _ in range(20)]
    assert len({tensor.data_ptr() for tensor in held}) == 20
    other = outputs.empty((5, 3), torch.float32)
    assert other.shape == (5, 3)
    assert other.dtype == torch.float32


def test_large_batches_stay_valid(monkeypatch):
    monkeypatch.setattr("plugins.data.replay.storage.LARGE", 1)
    oracle = Oracle(1, 3, 3, seed=0)
    replay = make(oracle, 50, HERE)
    replay.extend(oracle.collect(random_ends(oracle.rng, 1, 40, 0.1)))
    expected = oracle.valid(replay.layout.frames, replay.layout.transitions)
    held = [replay.buffer.sample() for _ in range(8)]
    for _ in range(20):
        matches(replay.buffer.sample(), expected)
    assert all(matches(batch, expected) for batch in held)


def test_the_kind_is_listed_without_torch():
    code = "import sys, plugins.data as d; d.register_data(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
