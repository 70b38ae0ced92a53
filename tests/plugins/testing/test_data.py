"""The built-in data sources, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import DataSuite
from tests.plugins.testing.complete import all_have_a_class


class TestReplay(DataSuite):
    component = "replay"
    steps = 40
    options: ClassVar = {"capacity": 70, "batch_size": 8, "learning_starts": 20}
    refused = (
        {"capacity": 0},
        {"batch_size": 0},
        {"updates_per_step": 0.0},
        {"learning_starts": 71},
        {"storage": "tape"},
    )


class TestReplayOnDisk(DataSuite):
    component = "replay"
    steps = 40
    options: ClassVar = {**TestReplay.options, "storage": "memmap", "updates_per_step": 0.5}


class TestStream(DataSuite):
    component = "stream"


def test_every_source_has_a_class():
    all_have_a_class("data", globals())
