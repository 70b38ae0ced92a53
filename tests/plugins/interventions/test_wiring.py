"""Dormant units and the layers that have them, against networks followed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.api import DiagnosticContext, OptionError, UserError
from plugins.interventions.options import ReDoOptions
from plugins.interventions.redo import ReDo, dormant
from plugins.interventions.wiring import Wiring, hidden_layers
from tests.support import intervened as t

# --- the score --------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 10, width=32), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.025, 0.1, 0.5]),
)
def test_a_unit_is_dormant_below_a_share_of_its_layers_mean(activity, tau):
    scores = np.array(activity) / (np.mean(activity) + 1e-9)
    got = dormant(torch.tensor(activity, dtype=torch.float64), tau).numpy()
    sure = abs(scores - tau) > 1e-12
    assert (got == (scores <= tau))[sure].all()


def test_the_activity_of_a_feature_map_is_its_mean_over_all_places():
    layers = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 1))
    x = torch.randn(5, 2, 3, 3)
    wiring = Wiring(layers, (x[:1],))
    (hidden,) = hidden_layers({"critic": wiring})
    activity = wiring.activity((x,), [hidden.output])[hidden.output]
    maps = layers[1](layers[0](x))
    assert maps.min() == 0
    expected = maps.detach().numpy().swapaxes(0, 1).reshape(3, -1).mean(1)
    np.testing.assert_allclose(activity, expected, rtol=1e-6)


# --- which layers -----------------------------------------------------------------------


def found(agent):
    return {
        f"{layer.role}.{layer.path}": {
            f"{r.role}.{r.path}": (r.start, r.width) for r in layer.readers
        }
        for layer in t.intervention(agent, "redo", ReDoOptions(every=10))._layers
    }


def test_units_of_simba_are_those_inside_the_blocks():
    assert found(t.make_agent("ddpg")) == {
        "actor.trunk.blocks.0.expand": {"actor.trunk.blocks.0.contract": (0, 1)},
        "critic.members.0.trunk.blocks.0.expand": {
            "critic.members.0.trunk.blocks.0.contract": (0, 1)
        },
        "critic.members.0.trunk.blocks.1.expand": {
            "critic.members.0.trunk.blocks.1.contract": (0, 1)
        },
    }


def test_units_of_drq_lead_from_the_encoder_into_actor_and_critic():
    places = 9  # the encoder gives 3x3 maps for frames of 20
    assert found(t.make_agent("drq")) == {
        "encoder.layers.0": {"encoder.layers.2": (0, 1)},
        "encoder.layers.2": {"encoder.layers.4": (0, 1)},
        "encoder.layers.4": {"encoder.layers.6": (0, 1)},
        "encoder.layers.6": {"actor.trunk.0": (0, places), "critic.projection.0": (0, places)},
        "actor.trunk.0": {"actor.trunk.3": (0, 1)},
        "actor.trunk.3": {"actor.trunk.5": (0, 1)},
        "actor.trunk.5": {"actor.heads.action": (0, 1)},
        "critic.projection.0": {
            "critic.members.0.trunk.0": (0, 1),
            "critic.members.1.trunk.0": (0, 1),
        },
        "critic.members.0.trunk.0": {"critic.members.0.trunk.2": (0, 1)},
        "critic.members.0.trunk.2": {"critic.members.0.head": (0, 1)},
        "critic.members.1.trunk.0": {"critic.members.1.trunk.2": (0, 1)},
        "critic.members.1.trunk.2": {"critic.members.1.head": (0, 1)},
    }


def test_units_of_the_streaming_networks():
    assert found(t.make_agent("obgd")) == {
        "actor.trunk.0": {"actor.trunk.3": (0, 1)},
        "actor.trunk.3": {"actor.heads.mean": (0, 1), "actor.heads.std": (0, 1)},
        "critic.members.0.trunk.0": {"critic.members.0.trunk.3": (0, 1)},
        "critic.members.0.trunk.3": {"critic.members.0.head": (0, 1)},
    }
    convolutions = found(t.make_agent("cnn"))
    assert convolutions["actor.trunk.0"] == {"actor.trunk.3": (0, 1)}
    assert convolutions["actor.trunk.3"] == {"actor.trunk.7": (0, 16)}
    assert convolutions["critic.projection.3"] == {"critic.members.0.trunk.0": (0, 16)}


class Joined(nn.Module):
    """Two hidden layers side by side, behind an input, before one that reads all."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(3, 5)
        self.head = nn.Linear(11, 2)

    def forward(self, x):
        left, right = torch.relu(self.left(x)), self.right(x).tanh()
        return self.head(torch.cat([x[:, :2], left, right], dim=1))


class Residual(nn.Module):
    """A hidden layer that a sum reads besides."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        hidden = self.first(x).relu()
        return self.head(hidden + self.second(hidden).relu())


class Twice(nn.Module):
    """A layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.head(torch.relu(self.layer(torch.relu(self.layer(x)))))


def paths(network):
    wiring = Wiring(network, (torch.zeros(1, 3),))
    return {
        layer.path: [(r.path, r.start, r.width) for r in layer.readers]
        for layer in hidden_layers({"critic": wiring})
    }


def test_units_are_followed_through_joins():
    network = Joined()
    assert paths(network) == {"left": [("head", 2, 1)], "right": [("head", 6, 1)]}
    layers = hidden_layers({"critic": Wiring(network, (torch.zeros(1, 3),))})
    units = torch.tensor([False, True, False, False, True])
    read = layers[1].readers[0].inputs(units, network.head.in_features)
    assert read.nonzero().flatten().tolist() == [7, 10]


def test_units_that_anything_but_layers_reads_are_left_alone():
    assert paths(Residual()) == {}
    assert paths(Twice()) == {}
    assert paths(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 1))) == {}
    assert paths(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))) == {}


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_followed_is_refused_before_the_run():
    agent = t.make_agent("obgd")

    def context(critic):
        networks = {"actor": agent.parts.modules["actor"], "critic": critic}
        return DiagnosticContext(agent.spec, agent.loss, networks, 0.99)

    with pytest.raises(UserError, match="cannot follow what the network 'critic' computes"):
        ReDo(ReDoOptions(every=1), context(Branching()))
    with pytest.raises(OptionError, match="no hidden unit that can be recycled in: critic"):
        ReDo(ReDoOptions(every=1, networks=("critic",)), context(nn.Linear(5, 1)))
