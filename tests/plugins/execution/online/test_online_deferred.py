"""Steps that were put off until the next forward pass: nobody else can see weights without them.

Two runs walk alike, one of which defers. At each door through which weights are read, the one
that defers has a step open, and what is read is what the other one reads.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.config import load, resolve
from core.plugins import load_plugins
from core.training import checkpoint
from core.training import experiment as assembly
from core.training.events import Collected
from core.training.loop import Run
from plugins.execution.masked import Masked
from plugins.execution.online.network import CompiledNetwork
from plugins.optimizers.obgd import ObGD
from tests.plugins.execution.online.dense_networks import a_critic, an_actor

torch.set_num_threads(1)
PRESET = Path(__file__).parents[4] / "presets" / "base" / "streaming.yaml"
FIXED = [
    "environment={name: gymnasium, id: Pendulum-v1, max_episode_steps: 60}",
    "network.width=16",
    "frames=100_000",
    "evaluation.every=null",
    "checkpoint.every=null",
    "diagnostics=[parameter_norm]",
    "masks=[{name: erdos_renyi, target: all, sparsity: 0.5}]",
]


@pytest.fixture(params=["masked", "sparse", "auto"])
def walkers(request, tmp_path, find):
    """A run that defers, one that does not, and iterators over their steps."""
    find("compiled")
    made = []
    for watched in (False, True):
        config = resolve(load([PRESET], [*FIXED, f"execution={request.param}"]), load_plugins())
        directory = tmp_path / str(watched)
        directory.mkdir()
        run = Run(assembly.build(config, directory), directory, lambda: False)
        events = run.events(watched=watched)
        made.append((run, events))
    yield made
    for _, events in made:
        events.close()


def walk(walker, steps):
    _, events = walker
    torch.manual_seed(steps)  # of the exploration, which both would draw from
    while steps:
        steps -= isinstance(next(events), Collected)


def rows_of(run):
    execution = run.experiment.agent.learner.execution
    while not isinstance(execution, Masked):
        execution = getattr(execution, "_backend", None) or execution._dense
    return list(execution._rows)


def opened(run):
    return [row for row in rows_of(run) if row._pending is not None]


def state_of(run):
    return dict(run.experiment.agent.learner.state_dict()["loss"])


def portable_of(run):
    return checkpoint.agent_state(run.experiment.agent)["learner"]["loss"]


def read_probe(run):
    networks = run.experiment.view().networks
    return {f"{r}.{n}": p for r, m in networks.items() for n, p in m.named_parameters()}


def read_loss_of_probe(run):
    return dict(run.experiment.view().loss.named_parameters())


def read_phases(run):
    modules = [module for phase, _ in run.experiment.view().phases for module in phase.modules]
    return {str(i): p for i, p in enumerate(p for m in modules for p in m.parameters())}


def measured(run):
    """What a diagnostic says."""
    found = run.experiment.diagnostics.measure(["parameter_norm"], run.experiment.view())
    return {k: torch.tensor(v) for k, v in found.scalars.items() if "time" not in k}


def evaluated(run):
    result = run._evaluate()
    return {k: torch.tensor(v) for k, v in result.scalars.items() if "time" not in k}


DOORS = {
    "state dict": state_of,
    "checkpoint": portable_of,
    "probe": read_probe,
    "loss of the probe": read_loss_of_probe,
    "phases": read_phases,
    "diagnostic": measured,
    "evaluation": evaluated,
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_shows_stale_weights(walkers, door):
    for walker in walkers:
        walk(walker, 75)
    deferring, watched = (run for run, _ in walkers)
    assert len(opened(deferring)) == 2
    assert not opened(watched)
    seen, expected = DOORS[door](deferring), DOORS[door](watched)
    assert list(seen) == list(expected)
    assert seen
    for name, value in expected.items():
        assert torch.equal(seen[name], value), name
    assert not opened(deferring)
    for walker in walkers:
        walk(walker, 20)
    assert opened(deferring)
    for name, value in state_of(watched).items():
        assert torch.equal(state_of(deferring)[name], value), name


@pytest.mark.parametrize("end", ["closed", "failed", "stopped"])
def test_the_end_of_a_run_leaves_no_step_open(walkers, end):
    deferring, events = walkers[0]
    walk(walkers[0], 75)
    walk(walkers[1], 75)
    assert opened(deferring)
    if end == "closed":
        events.close()
    elif end == "stopped":
        deferring.stop = lambda: True
        list(events)
    else:
        deferring._due = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            list(events)
    assert not opened(deferring)
    for (n, p), q in zip(
        deferring.experiment.agent.loss.named_parameters(),
        walkers[1][0].experiment.agent.loss.parameters(),
        strict=True,
    ):
        assert torch.equal(p, q), n


def test_a_state_that_is_loaded_is_not_moved_by_a_step_from_before(walkers):
    deferring, _ = walkers[0]
    walk(walkers[0], 20)
    learner = deferring.experiment.agent.learner
    state = learner.state_dict()
    wanted = {name: value.clone() for name, value in state["loss"].items()}
    state["loss"] = wanted
    walk(walkers[0], 10)
    assert opened(deferring)
    learner.load_state_dict(state)
    assert not opened(deferring)
    for name, value in learner.loss.state_dict().items():
        assert torch.equal(value, wanted[name]), name


def test_outside_a_run_nothing_is_put_off(walkers):
    run, _ = walkers[0]
    assert not any(row.defers for row in rows_of(run))


# --- rows by themselves ---------------------------------------------------------------------


@pytest.fixture
def deferring(find):
    """A row that defers, its execution and its module."""
    find("compiled")
    torch.manual_seed(0)
    module, execution = a_critic(), Masked()
    row = execution.row(module)
    assert isinstance(row, CompiledNetwork)
    execution.defer()
    return row, execution, module


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_row_that_is_made_later_defers_too(deferring):
    _, execution, _ = deferring
    row = execution.row(an_actor())
    assert row.defers
    execution.settle()
    assert not row.defers


def test_moves_one_after_another_all_count(deferring):
    row, execution, module = deferring
    before, direction = flat(module).clone(), torch.randn(row.parameters)
    row.move(direction, 0.5)
    row.move(direction, 0.25)
    execution.settle()
    torch.testing.assert_close(flat(module), before + 0.75 * direction)


def test_accumulating_into_the_direction_comes_after_the_move(deferring):
    row, execution, module = deferring
    before, trace = flat(module).clone(), torch.randn(row.parameters)
    row.forward(torch.randn(5))
    old = trace.clone()
    row.move(trace, 0.5)
    row.accumulate(torch.ones(1), trace, 0.5)
    execution.settle()
    torch.testing.assert_close(flat(module), before + 0.5 * old)


@pytest.mark.parametrize("how", ["forward", "settle"])
def test_a_direction_that_was_changed_is_noticed(deferring, how):
    row, execution, module = deferring
    before, direction = flat(module).clone(), torch.randn(row.parameters)
    row.move(direction, 0.5)
    direction.zero_()
    with pytest.raises(RuntimeError, match="put off.*settle"):
        row.forward(torch.randn(5)) if how == "forward" else execution.settle()
    assert torch.equal(flat(module), before)
    row.forward(torch.randn(5))


def test_weights_that_were_moved_elsewhere_get_the_step(deferring):
    row, execution, module = deferring
    before, direction = flat(module).clone(), torch.randn(row.parameters)
    row.move(direction, 0.5)
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
    execution.settle()
    torch.testing.assert_close(flat(module), before + 0.5 * direction)


def test_an_emptied_trace_moves_the_weights_before(deferring):
    row, execution, module = deferring
    before = flat(module).clone()
    optimizer = ObGD(module.parameters())
    row.forward(torch.randn(5))
    optimizer.row_step(row, torch.ones(1), 0.7, reset=True)
    assert not optimizer._trace.any()
    execution.settle()
    assert not torch.equal(flat(module), before)
