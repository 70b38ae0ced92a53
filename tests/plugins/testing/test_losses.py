"""The built-in losses, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import LossSuite
from plugins.testing.harness.agents import CHOICES
from tests.plugins.testing.complete import all_have_a_class

RETURNS = ({"gamma": 1.5}, {"n_step": 0}, {"tau": 0.0}, {"critics": 0})
# On a CPU they take shorter ways: normalising by NumPy, cropping by numbers on the host.
ON_HOST = {"host_free": False}


class TestSAC(LossSuite):
    component = "sac"
    options: ClassVar = {"critics": 2}
    refused = (*RETURNS, {"initial_temperature": 0.0}, {"log_std_max": -20.0}, {"shift": -1})


class TestDDPG(LossSuite):
    component = "ddpg"
    refused = (*RETURNS, {"noise_clip": 0.0}, {"noise": {"steps": 0}}, {"order": "none_first"})


class TestDrQ(LossSuite):
    component = "ddpg"
    options: ClassVar = {"shift": 4, "critics": 2, "n_step": 3, "order": "critic_first"}
    agent = "pixels"
    falling = ("critic",)
    capabilities = ON_HOST


class TestStreamAC(LossSuite):
    component = "stream_ac"
    agent = "streaming"
    refused = ({"gamma": -0.1}, {"entropy": -1.0}, {"truncation": "never"})
    capabilities: ClassVar = {"confined": False, **ON_HOST}
    falling = ("critic",)


class TestStreamQ(LossSuite):
    component = "stream_q"
    agent = "streaming"
    spec = CHOICES
    refused = ({"gamma": 1.1}, {"epsilon": {"final": 2.0}}, {"exploratory_cut": "later"})
    capabilities = ON_HOST


def test_every_loss_has_a_class():
    all_have_a_class("losses", globals())
