"""The built-in optimizers, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import OptimizerSuite
from tests.plugins.testing.complete import all_have_a_class

ADAM = ({"lr": -1.0}, {"betas": [0.9, 1.0]}, {"eps": 0.0}, {"weight_decay": -0.1})
OBGD = ({"lr": -1.0}, {"lamda": 1.5}, {"kappa": {"actor": 0.0}})


class TestAdamW(OptimizerSuite):
    component = "adamw"
    refused = ADAM


class TestAdam(OptimizerSuite):
    component = "adam"
    options: ClassVar = {"weight_decay": 0.01}
    refused = ADAM


class TestObGD(OptimizerSuite):
    component = "obgd"
    refused = OBGD


class TestAdaptiveObGD(OptimizerSuite):
    component = "adaptive_obgd"
    refused = (*OBGD, {"beta2": 1.0}, {"eps": 0.0})


def test_every_optimizer_has_a_class():
    all_have_a_class("optimizers", globals())
