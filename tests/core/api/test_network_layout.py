"""The parts of networks, by their names and types."""

from __future__ import annotations

from torch import nn

from core.api import NetworkLayout


def test_heads_and_inner_trunks_are_not_counted():
    inner = nn.ModuleDict({"trunk": nn.Linear(2, 2), "relu": nn.ReLU(), "tanh": nn.Tanh()})
    layout = NetworkLayout(nn.ModuleDict({"trunk": inner, "heads": nn.Sequential(nn.ReLU())}))
    assert list(layout.trunks()) == ["trunk"]
    assert list(layout.layers()) == ["trunk.trunk"]
    assert list(layout.activations()) == ["trunk.relu", "trunk.tanh"]
    assert list(layout.rectifiers()) == ["trunk.relu"]


def member():
    return nn.ModuleDict({"trunk": nn.Linear(2, 2), "head": nn.Linear(2, 1)})


def test_chains_lead_from_the_input_to_the_heads_of_every_member():
    heads = nn.ModuleDict({"mean": nn.Linear(2, 1), "std": nn.Linear(2, 1)})
    actor = NetworkLayout(nn.ModuleDict({"trunk": nn.Linear(2, 2), "heads": heads}))
    assert actor.chains() == [[["trunk"], ["heads.mean", "heads.std"]]]
    critic = nn.ModuleDict(
        {"projection": nn.Linear(2, 2), "members": nn.ModuleList([member(), member()])}
    )
    assert NetworkLayout(critic).chains() == [
        [["projection"], [f"members.{i}.trunk"], [f"members.{i}.head"]] for i in range(2)
    ]
    assert NetworkLayout(nn.Sequential(nn.ReLU(), nn.Linear(2, 2))).chains() == [[["1"]]]


def test_members_have_labels_of_their_own_where_there_are_several():
    two, one = (nn.ModuleDict({"members": nn.ModuleList([member()] * n)}) for n in (2, 1))
    assert NetworkLayout(two).label("critic", "members.1.trunk") == "critic.1"
    assert NetworkLayout(two).label("critic", "projection") == "critic"
    assert NetworkLayout(one).label("critic", "members.0.trunk") == "critic"
