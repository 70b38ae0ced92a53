"""A compiled streaming update does what the plain one does."""

from __future__ import annotations

import pytest
import torch

from plugins.losses.options import StreamACOptions, StreamQOptions
from tests.core.agent.test_compile import fresh_compiler
from tests.core.agent.test_gpu_streaming import CHOICES, STATE, make_batch
from tests.plugins.losses.fused_lives import Setting, make

__all__ = ["fresh_compiler"]  # used by name, as a fixture


@pytest.mark.parametrize(
    ("options", "spec", "count"),
    [(StreamACOptions(), STATE, 1), (StreamQOptions(), CHOICES, 3)],
    ids=["ac", "q"],
)
def test_a_compiled_streaming_update_gives_the_same_numbers(options, spec, count):
    ends = []
    for compiled in (False, True):
        learner = make(Setting(options), fuse=False, count=count)
        if compiled:
            learner.compile("aot_eager")
        torch.manual_seed(0)
        for step in range(4):
            learner.loss.set_progress(step)
            learner.update(make_batch(spec, count))
        ends.append((learner.loss.state_dict(), learner.means.take()))
    (plain, plain_means), (other, other_means) = ends
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert not torch._dynamo.utils.counters["graph_break"]
    assert other_means == pytest.approx(plain_means, rel=1e-4, abs=1e-5)
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5, msg=name)
