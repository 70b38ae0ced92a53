"""The built-in execution backends, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import ExecutionSuite
from tests.plugins.testing.complete import all_have_a_class


class TestMasked(ExecutionSuite):
    component = "masked"


class TestSparse(ExecutionSuite):
    component = "sparse"


class TestSparseDensified(ExecutionSuite):
    component = "sparse"
    options: ClassVar = {"product": "densified"}


class TestAuto(ExecutionSuite):
    component = "auto"


def test_every_backend_has_a_class():
    all_have_a_class("execution", globals())
