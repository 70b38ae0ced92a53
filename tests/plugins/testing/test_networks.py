"""The built-in network designs, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import NetworkSuite
from plugins.testing.harness.agents import PIXELS
from tests.plugins.testing.complete import all_have_a_class

SMALL: dict[str, int] = {"width": 8, "blocks": 1}


class TestSimba(NetworkSuite):
    component = "simba"
    options: ClassVar = {"actor": SMALL, "critic": SMALL}
    refused = ({"width_scale": 0.0}, {"depth_scale": 0})


class TestMlp(NetworkSuite):
    component = "mlp"
    options: ClassVar = {"actor": {"hidden": [16]}, "critic": {"hidden": [16, 8]}}
    refused = ({"actor": {"hidden": []}}, {"critic": {"hidden": [0]}}, {"activation": "sine"})


class TestMlpWithNorms(NetworkSuite):
    component = "mlp"
    options: ClassVar = {"layer_norm": True, "normalise": True, "activation": "elu"}


class TestDrq(NetworkSuite):
    component = "drq_cnn"
    options: ClassVar = {
        "channels": 4,
        "feature_dim": 6,
        "actor": {"hidden": 8},
        "critic": {"hidden": 8},
    }
    refused = ({"channels": 0}, {"feature_dim": 0})
    specs = (PIXELS,)


# Fewer zeros at first than by default: of a few inputs 90% are all, and nothing tells the
# members of a critic apart.
DENSER = {"sparsity": 0.2}


class TestStreamMlp(NetworkSuite):
    component = "stream_mlp"
    options: ClassVar = {"width": 16, "sparse_init": DENSER}
    refused = ({"width": 0}, {"depth": 0}, {"sparse_init": {"sparsity": 1.0}})


class TestStreamCnn(NetworkSuite):
    component = "stream_cnn"
    options: ClassVar = {
        "filters": [4],
        "kernels": [5],
        "strides": [3],
        "width": 16,
        "sparse_init": DENSER,
    }
    refused = ({"width": 0}, {"filters": []}, {"kernels": [1, 2]})
    specs = (PIXELS,)


def test_every_design_has_a_class():
    all_have_a_class("networks", globals())
