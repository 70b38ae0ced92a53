"""The built-in loggers, by the suite that third parties use."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

import pytest

from plugins.testing import LoggerSuite
from tests.plugins.testing.complete import all_have_a_class


class TestTensorBoard(LoggerSuite):
    component = "tensorboard"
    refused = ({"flush_seconds": 0},)


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs pip install 'openwork[wandb]'")
class TestWandb(LoggerSuite):
    component = "wandb"
    options: ClassVar = {"mode": "disabled"}
    refused = ({"mode": "somewhere"},)
    capabilities: ClassVar = {"local": False}


def test_every_logger_has_a_class():
    all_have_a_class("loggers", globals())
