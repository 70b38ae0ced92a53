"""Predicted values against returns: the metric against sums, the diagnostic on known returns."""

from __future__ import annotations

import math
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import DiagnosticContext, EnvironmentSpec, LossContext, NetworkContext, OptionError
from plugins.diagnostics import q_bias as module
from plugins.diagnostics import register_diagnostics
from plugins.diagnostics.options import QBiasOptions
from plugins.diagnostics.q_bias import discounted_returns, q_bias, remainder
from plugins.losses import register_losses
from plugins.losses.options import SACOptions
from plugins.networks import register_networks
from tests.plugins.diagnostics.corridor import GAMMA, SPEC, Corridor, Knowing, true_values
from tests.support.agents import CPU, SIMBA, build, make_execution
from tests.support.inspected import lived

torch.set_num_threads(1)
COMPONENT = {c.name: c for c in register_diagnostics()}["q_bias"]
number = st.floats(-2, 2)


# --- the metric -------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(number, st.floats(0, 1), number), min_size=1, max_size=12))
def test_returns_are_the_sums_written_out(steps):
    reward, discount, bonus = np.array(steps).T
    for with_bonus in (False, True):
        expected = []
        for t in range(len(steps)):
            total, weight = 0.0, 1.0
            for k in range(t, len(steps)):
                if k > t and with_bonus:
                    total += weight * bonus[k]
                total += weight * reward[k]
                weight *= discount[k]
            expected.append(total)
        given_bonus = torch.tensor(bonus) if with_bonus else None
        found = discounted_returns(torch.tensor(reward), torch.tensor(discount), given_bonus)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    left = [np.prod(discount[t:]) for t in range(len(steps))]
    np.testing.assert_allclose(
        remainder(torch.tensor(discount)).numpy(), left, rtol=1e-12, atol=1e-300
    )


@settings(deadline=None)
@given(st.lists(st.tuples(number, number), min_size=1, max_size=12))
def test_bias_is_the_difference(pairs):
    predicted, returns = np.array(pairs).T
    found = q_bias(torch.tensor(predicted), torch.tensor(returns))
    bias = predicted - returns
    expected = {
        "mean": bias.mean(),
        "std": bias.std(),
        "predicted": predicted.mean(),
        "return": returns.mean(),
    }
    relative = found.pop("relative").item()
    for key, value in found.items():
        assert value.item() == pytest.approx(expected[key], abs=1e-12)
    if returns.mean() == 0:
        assert math.isnan(relative)
    elif abs(returns.mean()) > 1e-6:
        assert relative == pytest.approx(bias.mean() / abs(returns.mean()), rel=1e-6, abs=1e-9)


def test_relative_to_a_negative_return_is_above_zero_where_values_are_too_high():
    assert q_bias(torch.tensor([-5.0]), torch.tensor([-10.0]))["relative"] == 0.5


# --- the diagnostic ---------------------------------------------------------------------


def measured(options, corridor, loss, *, discrete=False):
    spec = EnvironmentSpec((2,), 1, discrete=discrete)
    context = DiagnosticContext(spec, loss, {}, GAMMA)
    diagnostic = COMPONENT.build(options, context)
    assert diagnostic.batch is None
    view = SimpleNamespace(environments=corridor, loss=loss, device=CPU, spec=spec)
    return {key: float(value) for key, value in diagnostic.measure(view).items()}


@pytest.mark.parametrize("flat", [False, True])
def test_true_values_have_no_bias_and_wrong_ones_theirs(flat):
    corridor = Corridor((4, "terminated"), (7, "terminated"))
    values = true_values(4, 7)
    found = measured(QBiasOptions(episodes=2), corridor, Knowing(values, flat=flat))
    mean = np.mean(values[0] + values[1])
    assert found["states"] == 11
    assert found["mean"] == pytest.approx(0, abs=1e-6)
    assert found["std"] == pytest.approx(0, abs=1e-6)
    assert found["return"] == pytest.approx(mean)
    off = Knowing(values, offsets=(1.0, 2.0), flat=flat)
    found = measured(QBiasOptions(episodes=2), Corridor(*corridor.plan), off)
    assert found["mean"] == pytest.approx(1.5, abs=1e-6)
    assert found["relative"] == pytest.approx(1.5 / mean, abs=1e-6)
    assert found["predicted"] == pytest.approx(mean + 1.5)
    off = Knowing(values, offsets=(1.0, 2.0), flat=flat)
    options = QBiasOptions(episodes=2, critics="least")
    assert measured(options, Corridor(*corridor.plan), off)["mean"] == pytest.approx(1, abs=1e-6)


def test_rewards_are_those_that_the_loss_sees():
    values = [[v / 4 for v in true_values(6)[0]]]
    loss = Knowing(values, scale=4.0)
    found = measured(QBiasOptions(episodes=1), Corridor((6, "terminated")), loss)
    assert found["mean"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("kind", "steps"), [("truncated", 1000), ("terminated", 20)])
def test_what_is_cut_off_counts_where_little_is_missing(kind, steps):
    # 0.8^h <= 0.1 from h = 11 on: of 20 states that were played, the first 10
    loss = Knowing(true_values(30))
    corridor = Corridor((20 if kind == "truncated" else 30, kind))
    found = measured(QBiasOptions(episodes=1, steps=steps, tail=0.1), corridor, loss)
    assert found["states"] == 10
    cut = true_values(20)[0][:10]
    assert found["return"] == pytest.approx(np.mean(cut))
    assert found["mean"] > 0
    assert len(corridor.actions) == 20


def test_where_nothing_counts_only_that_is_said():
    loss = Knowing(true_values(5))
    assert measured(QBiasOptions(episodes=1), Corridor((5, "truncated")), loss) == {"states": 0}


def test_long_episodes_pass_in_pieces(monkeypatch):
    whole = measured(
        QBiasOptions(episodes=1), Corridor((11, "terminated")), Knowing(true_values(11), (0.5,))
    )
    monkeypatch.setattr(module, "TOGETHER", 4)
    pieces = measured(
        QBiasOptions(episodes=1), Corridor((11, "terminated")), Knowing(true_values(11), (0.5,))
    )
    assert pieces == pytest.approx(whole)


def test_who_plays(monkeypatch):
    for policy, discrete, soft, explores in (
        ("learned", False, False, True),
        ("learned", True, False, False),
        ("learned", True, True, True),
        ("exploring", True, False, True),
        ("greedy", False, False, False),
    ):
        kind = type("Soft", (Knowing,), {"bonus": lambda self, batch: torch.zeros(4)})
        loss = (kind if soft else Knowing)(true_values(4))
        options = QBiasOptions(episodes=1, policy=policy)
        measured(options, Corridor((4, "terminated")), loss, discrete=discrete)
        assert loss.explored == [explores] * 4


def test_a_bonus_enters_the_returns_from_the_next_state_on():
    class Generous(Knowing):
        def bonus(self, batch):
            return batch["at"][:, 1] + 10  # of step t: 10 + t

    loss = Generous(true_values(3))
    found = measured(QBiasOptions(episodes=1), Corridor((3, "terminated")), loss)
    extra = [GAMMA * 11 + GAMMA**2 * 12, GAMMA * 12, 0]
    assert -found["mean"] == pytest.approx(np.mean(extra), rel=1e-6)


def test_environments_are_seeded_by_torch_closed_and_given_each_action_as_it_was():
    seeds = []
    for manual in (1, 1, 2):
        torch.manual_seed(manual)
        corridor = Corridor((3, "terminated"), (3, "terminated"))
        measured(QBiasOptions(episodes=2), corridor, Knowing(true_values(3, 3)))
        seeds += corridor.seeds
        assert corridor.closed == 1
        assert [action.item() for action in corridor.actions] == [1, 2, 3, 4, 5, 6]
    assert seeds[0] == seeds[1] != seeds[2]
    assert len(seeds) == 3

    class Failing(Knowing):
        def predict(self, batch):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measured(QBiasOptions(), corridor, Failing([]))
    assert corridor.closed == 2


def test_soft_values_of_sac_are_met_by_their_expectation():
    """In one state for ever, with reward 1: the return is ``1 + d (b + G)``."""

    class Constant(Corridor):
        def root(self):
            return TensorDict({"observation": torch.ones(1, 2)}, [1])

        def step_and_maybe_reset(self, root):
            root, following = super().step_and_maybe_reset(root)
            root["next", "reward"] = torch.ones(1, 1)
            return root, following

    torch.manual_seed(0)
    networks = build(register_networks(), SIMBA, NetworkContext(SPEC))
    parts = MaskedNetworks(networks, MaskSet(1), (), make_execution(), CPU)
    options = SACOptions(initial_temperature=0.5, gamma=0.5)
    loss = build(register_losses(), options, LossContext(SPEC, parts, CPU))
    draws = loss.bonus({"features": torch.ones(20_000, 2)}).double()
    state = deepcopy(loss.state_dict())
    diagnostic = COMPONENT.build(
        QBiasOptions(episodes=1, steps=1000, tail=1e-6), DiagnosticContext(SPEC, loss, {}, 0.5)
    )
    view = SimpleNamespace(environments=Constant((9999, "")), loss=loss, device=CPU, spec=SPEC)
    found = {key: float(value) for key, value in diagnostic.measure(view).items()}
    expected = (1 + 0.5 * draws.mean().item()) / (1 - 0.5)
    assert abs(expected - 2) > 0.5  # the bonus matters
    spread = draws.std().item() / math.sqrt(2000)
    assert found["return"] == pytest.approx(expected, abs=6 * spread)
    assert found["predicted"] == pytest.approx(
        loss.critic(torch.ones(1, 2), torch.zeros(1, 1)).item(), abs=0.5
    )
    assert all(torch.equal(loss.state_dict()[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["sac", "ddpg", "stream_ac", "stream_q"])
def test_the_agent_stays_as_it_is(name):
    learner, spec = lived(name)

    class Noise(Corridor):
        def root(self):
            return TensorDict({"observation": torch.randn(1, *spec.observation)}, [1])

    state = deepcopy(learner.loss.state_dict())
    diagnostic = COMPONENT.build(QBiasOptions(), DiagnosticContext(spec, learner.loss, {}, 0.99))
    view = SimpleNamespace(
        environments=Noise((9, "terminated"), (7, "terminated"), (1, "")),
        loss=learner.loss,
        device=CPU,
        spec=spec,
    )
    found = diagnostic.measure(view)
    assert found["states"] == 16
    assert not any(value.requires_grad for value in found.values())
    assert all(torch.equal(learner.loss.state_dict()[key], state[key]) for key in state)
    assert all(p.grad is None for p in learner.loss.parameters())


def test_options_are_checked():
    for wrong in ({"episodes": 0}, {"steps": 0}, {"tail": 1.0}, {"tail": -0.1}, {"every": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            QBiasOptions(**wrong)
    assert COMPONENT.needs == {"inspection"}
