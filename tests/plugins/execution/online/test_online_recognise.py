"""Which networks have a row, and what happens without the compiled kernels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from torch import nn

from core.api import EnvironmentSpec, NetworkContext
from plugins.execution import compiled
from plugins.execution.masked import Masked
from plugins.execution.online import library
from plugins.execution.online.network import CompiledNetwork
from plugins.networks import register_networks
from plugins.networks.modules import Actor
from plugins.networks.options import DrqOptions, MlpOptions, SimbaOptions
from plugins.networks.simba import Block
from tests.plugins.execution.online.dense_networks import a_critic, an_actor, outputs_of
from tests.support.intervened import make_agent

torch.set_num_threads(1)
KERNELS = library.kernels


@pytest.fixture
def kernels(find):
    """Those of the sources as they are."""
    find("compiled")


# --- what is recognised ---------------------------------------------------------------------


def made(options, name, spec=None):
    (component,) = [c for c in register_networks() if c.name == name]
    return component.build(options, NetworkContext(spec or EnvironmentSpec((5,), 2)))


def test_perceptrons_are_recognised(kernels):
    for options in (MlpOptions(), MlpOptions(activation="leaky_relu")):
        mlp = made(options, "mlp")
        assert Masked().online(mlp.actor({"mean": 2, "std": 2})) is not None
        assert Masked().online(mlp.critic(1, 3, action=False)) is not None
        row = Masked().online(mlp.critic(1))
        assert row.inputs == 5 + 2
    nested = an_actor()
    nested.trunk = nn.Sequential(nn.Sequential(*nested.trunk))
    assert Masked().online(nested) is not None


def test_the_streaming_perceptron_is_recognised(kernels):
    (component,) = [c for c in register_networks() if c.name == "stream_mlp"]
    networks = made(component.options(), "stream_mlp")
    for module in (networks.actor({"mean": 2, "std": 2}), networks.critic(1, action=False)):
        row = Masked().online(module)
        inputs = torch.randn(row.inputs)
        torch.testing.assert_close(row.forward(inputs), outputs_of(module, inputs).detach())


PROGRAMS = {
    "simba": lambda: made(SimbaOptions(), "simba").actor({"mean": 2, "std": 2}),
    "simba critic": lambda: made(SimbaOptions(), "simba").critic(1, action=False),
    "affine norm": lambda: made(MlpOptions(layer_norm=True), "mlp").actor({"mean": 2}),
    "norm after activation": lambda: Actor(
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.LayerNorm(8, elementwise_affine=False)),
        {"mean": nn.Linear(8, 1)},
    ),
}


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_other_orders_and_blocks_are_recognised(kernels, make):
    module = make()
    row = Masked().online(module)
    inputs = torch.randn(row.inputs)
    torch.testing.assert_close(row.forward(inputs), outputs_of(module, inputs).detach())


class Squashed(nn.Module):
    """Named like an actor, and yet something else."""

    def __init__(self):
        super().__init__()
        self.trunk, self.heads = (
            nn.Sequential(nn.Linear(5, 8)),
            nn.ModuleDict({"a": nn.Linear(8, 1)}),
        )

    def forward(self, x):
        return (torch.tanh(3 * self.heads["a"](self.trunk(x))),)


class Straight(nn.Module):
    """Named like SimBa's block, and yet something else."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.activation = nn.LayerNorm(width), nn.ReLU()
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.contract(self.activation(self.expand(self.norm(x))))


def with_extra_parameter():
    module = an_actor()
    module.temperature = nn.Parameter(torch.zeros(()))
    return module


def with_frozen_head():
    module = an_actor()
    module.heads["head0"].requires_grad_(False)
    return module


def with_tied_layers():
    module = an_actor(6, (6, 6))
    module.trunk[3].weight = module.trunk[0].weight
    return module


PIXELS = EnvironmentSpec((9, 20, 20), 2, pixels=True, frame_stack=3)
OTHERS = {
    "drq": lambda: made(DrqOptions(), "drq_cnn", PIXELS).actor({"mean": 2}),
    "projection": lambda: made(DrqOptions(), "drq_cnn", PIXELS).critic(1),
    "two members": lambda: a_critic(members=2),
    "tanh": lambda: made(MlpOptions(activation="tanh"), "mlp").critic(1),
    "norm at first": lambda: Actor(
        nn.Sequential(nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 8)),
        {"mean": nn.Linear(8, 1)},
    ),
    "norm of half": lambda: Actor(
        nn.Sequential(nn.Linear(5, 8), nn.Unflatten(-1, (2, 4)), nn.LayerNorm(4), nn.Flatten()),
        {"mean": nn.Linear(8, 1)},
    ),
    "block after activation": lambda: Actor(
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), Block(8)), {"mean": nn.Linear(8, 1)}
    ),
    "block without residual": lambda: Actor(
        nn.Sequential(nn.Linear(5, 8), Straight(8)), {"mean": nn.Linear(8, 1)}
    ),
    "other forward": Squashed,
    "float64": lambda: an_actor().double(),
    "another device": lambda: an_actor().to("meta"),
    "extra parameter": with_extra_parameter,
    "frozen head": with_frozen_head,
    "tied layers": with_tied_layers,
    "no network": lambda: nn.Linear(5, 2),
    "negative slope": lambda: an_actor(activation=lambda: nn.LeakyReLU(-0.5)),
    "no bare heads": lambda: Actor(nn.Sequential(), {"a": nn.Sequential(nn.Linear(5, 1))}),
    "no heads": lambda: an_actor(heads=()),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_other_networks_have_no_row(kernels, make):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Masked().online(make()) is None


# --- the library ----------------------------------------------------------------------------


@pytest.fixture
def real(monkeypatch):
    """The installed library itself, as if nobody had asked for it yet."""
    monkeypatch.setattr(library, "kernels", KERNELS)
    for cached in (compiled.warn, library._found):
        cached.cache_clear()
    yield monkeypatch
    for cached in (compiled.warn, library._found):
        cached.cache_clear()


def rows_twice():
    """Two networks' rows, and the warnings of both."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = [Masked().online(an_actor()) for _ in range(2)]
    return rows, [(w.category, str(w.message)) for w in caught]


def test_without_the_library_there_is_one_warning(real):
    real.setattr(compiled, "FOLDER", Path("nowhere"))
    rows, [(category, message)] = rows_twice()
    assert rows == [None, None]
    assert category is RuntimeWarning
    assert "not built" in message
    assert "on PyTorch" in message
    assert "C++ compiler" in message


def test_a_library_of_another_version_counts_as_absent(real, built):
    assert replace(library.LIBRARY, abi=library.ABI + 1).declared(built) == "are of another version"
    smaller = replace(library.LIBRARY, structures=(library.Step, library.Step))
    real.setattr(library, "LIBRARY", smaller)
    if library.missing() != "were not built":
        assert library.missing() == "are of another version"


def test_a_library_that_cannot_be_loaded_counts_as_absent(real, tmp_path):
    (tmp_path / f"_online{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    real.setattr(compiled, "FOLDER", tmp_path)
    rows, [(_, message)] = rows_twice()
    assert rows == [None, None]
    assert "cannot be loaded" in message


def test_the_installed_library_fits(real):
    if library.missing() == "were not built":
        pytest.skip("the package was installed without a C++ compiler")
    rows, messages = rows_twice()
    assert all(isinstance(row, CompiledNetwork) for row in rows)
    assert not messages


def test_native_can_be_turned_off_in_silence(real):
    real.setattr(compiled, "FOLDER", Path("nowhere"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Masked(native=False).online(an_actor()) is None


@pytest.mark.parametrize("kind", ["obgd", "q"])
def test_without_the_library_a_learner_runs_its_phases(real, kind):
    real.setattr(library, "kernels", lambda: None)
    learner = make_agent(kind, fuse=True).learner
    assert learner._run == learner.step
