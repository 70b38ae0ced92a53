"""The gradient of every weight, removed ones too: against the formulas on dense copies."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from core.api import BatchOptions
from core.training.mask_updates import MaskUpdates, View
from tests.support.intervened import KINDS, everything, make_agent, train, transitions
from tests.support.twins import twins
from tests.support.views import make_view

torch.set_num_threads(1)
SEED = 11


class Asking:
    """A scheme that asks for gradients and changes nothing."""

    target, batch = "all", BatchOptions(size=32)
    seen: dict

    def due(self, last, frame):
        return frame > last

    def change(self, view):
        self.seen = dict(view.gradients())
        torch.rand(100)  # what is drawn here is nobody else's business
        return {}


def view_of(agent, **wiring):
    return make_view(agent, transitions(agent.spec, 64, seed=9), **wiring)


def gradients(agent, role):
    torch.manual_seed(SEED)
    return View(role, Asking(), view_of(agent)).gradients()


def lived(kind, **wiring):
    agent = make_agent(kind, **wiring)
    train(agent, 3)
    return agent


def roles(agent):
    return list(agent.parts.modules)


EVERY = [(kind, role) for kind in KINDS for role in roles(make_agent(kind))]


# --- by hand ----------------------------------------------------------------------------


class Copy:
    """The networks of an agent, copied, and the transitions that it was asked about."""

    def __init__(self, agent):
        loss = copy.deepcopy(agent.loss)
        self.loss, self.options = loss, loss.options
        self.actor, self.critic = getattr(loss, "actor", None), loss.critic
        self.targets = loss.targets.get("critic")
        analysed = agent.loss.analyse(transitions(agent.spec, 64, seed=9)[:32])
        self.batch, self.seen = analysed.batch, analysed.inputs
        actions = (len(self.batch["action"]), agent.spec.action)
        torch.manual_seed(SEED)
        self.draws = [torch.randn(actions) for _ in range(2)]

    def features(self, role):
        if role == "encoder":
            return self.loss.encoder(*self.seen["encoder"])
        return self.batch["features"]

    def target(self, value):
        return (self.batch["reward"] + self.batch["discount"] * value).detach()

    # SAC: the actor's phase is the first to draw.
    def sac(self, role):
        alpha = self.loss.temperature.log_alpha.exp().detach()

        def policy(features, draw):
            mean, raw = self.actor(features)
            std = (-10 + 6 * (1 + raw.tanh())).exp()
            u = mean + std * draw
            log_prob = Normal(mean, std).log_prob(u) + 2 * u.cosh().log()  # of tanh(u)
            return u.tanh(), log_prob.sum(1, keepdim=True)

        if role == "actor":
            action, log_prob = policy(self.batch["features"], self.draws[0])
            value = self.critic(self.batch["features"], action).amin(0)
            return (alpha * log_prob - value).mean()
        action, log_prob = policy(self.batch["next_features"], self.draws[1])
        value = self.targets(self.batch["next_features"], action).amin(0)
        return self.squared(role, self.target(value - alpha * log_prob))

    mlp = sac

    def squared(self, role, target):
        values = self.critic(self.features(role), self.batch["action"])
        return sum(F.mse_loss(value, target) for value in values)

    def ddpg(self, role):
        first = self.options.order == "actor_first"
        mine, other = self.draws if first else self.draws[::-1]
        clip = self.options.noise_clip or torch.inf

        def noisy(features, draw):
            (head,) = self.actor(features)
            action = head.tanh() + (self.loss.sigma * draw).clamp(-clip, clip)
            if self.options.clip == "hard":
                return action.clamp(-1, 1)
            return action + (action.clamp(-1 + 1e-6, 1 - 1e-6) - action).detach()

        if role == "actor":
            action = noisy(self.batch["features"], mine)
            return -self.critic(self.batch["features"], action).amin(0).mean()
        action = noisy(self.batch["next_features"], other)
        value = self.targets(self.batch["next_features"], action).amin(0)
        return self.squared(role, self.target(value))

    drq = ddpg

    # Streaming: the mean of each transition's TD error times its own objective.
    def obgd(self, role):
        value = self.critic(self.batch["observation"]).flatten()
        after = self.critic(self.batch["next_observation"]).flatten()
        delta = (self.target(after) - value).detach()
        if role == "critic":
            return -(delta * value).mean()
        mean, raw = self.actor(self.batch["observation"])
        policy = Normal(mean, F.softplus(raw))
        log_prob = policy.log_prob(self.batch["action"]).sum(1)
        entropy = self.options.entropy * delta.sign() * policy.entropy().sum(1)
        return -(delta * (log_prob + entropy)).mean()

    adaptive = cnn = obgd

    def q(self, role):
        value = self.critic(self.batch["observation"])[0]
        after = self.critic(self.batch["next_observation"])[0].amax(1)
        value = value[torch.arange(len(value)), self.batch["action"]]
        delta = (self.target(after) - value).detach()
        return -(delta * value).mean()


@pytest.mark.parametrize(("kind", "role"), EVERY)
def test_they_are_those_of_a_dense_copy(kind, role):
    agent = lived(kind)
    found = gradients(agent, role)
    by_hand = Copy(agent)
    network = getattr(by_hand.loss, role)
    named = {name: p for name, p in network.named_parameters() if p.ndim >= 2}
    objective = getattr(by_hand, kind)(role)
    want = torch.autograd.grad(objective, list(named.values()), allow_unused=True)
    assert found.keys() == named.keys()
    masks = agent.masks.masks[role]
    reached = 0
    for (name, gradient), derived in zip(found.items(), want, strict=True):
        expected = torch.zeros_like(gradient) if derived is None else derived
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * scale)
        reached += int(gradient[~masks[name]].count_nonzero())
    assert reached, "no removed weight has a gradient: nothing was compared"


@pytest.mark.parametrize(("kind", "role"), EVERY)
def test_they_are_the_same_where_only_kept_weights_are_stored(kind, role):
    masked, sparse = (gradients(agent, role) for agent in twins(kind))
    assert masked.keys() == sparse.keys()
    for name, gradient in masked.items():
        scale = gradient.abs().max().item()
        close = {"rtol": 1e-4, "atol": 1e-5 * scale}
        torch.testing.assert_close(gradient, sparse[name], **close, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_to_ask_changes_nothing(kind):
    one, other = lived(kind, fuse=True), lived(kind, fuse=True)  # where it can be
    scheme = Asking()
    before, state = everything(one), torch.get_rng_state()
    frozen = {name: p.requires_grad for name, p in one.loss.named_parameters()}
    updates = MaskUpdates(dict.fromkeys(roles(one), scheme), seed=3)
    list(updates.change(updates.due(100), view_of(one, frame=100)))
    assert scheme.seen
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in everything(one).items())
    assert {name: p.requires_grad for name, p in one.loss.named_parameters()} == frozen
    assert all(p.grad is None for p in one.loss.parameters())
    for agent in (one, other):
        train(agent, 2, seed=4)
    after = everything(other)
    assert all(torch.equal(after[key], value) for key, value in everything(one).items())


def test_they_follow_the_frame_and_the_seed_of_the_run_alone():
    """SAC's objectives draw actions: at one frame always the same."""
    agent = lived("sac")
    found = []
    for seed, frame in ((3, 100), (3, 100), (3, 101), (4, 100)):
        torch.manual_seed(len(found))
        scheme = Asking()
        updates = MaskUpdates({"actor": scheme}, seed=seed)
        list(updates.change(["actor"], view_of(agent, frame=frame)))
        found.append(scheme.seen["trunk.input.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])


def test_without_a_batch_there_are_none():
    class Careless(Asking):
        batch = None

    agent = lived("sac")
    with pytest.raises(ValueError, match="must say of which 'batch'") as caught:
        list(MaskUpdates({"critic": Careless()}).change(["critic"], view_of(agent, frame=7)))
    assert "the masks of 'critic' were to change at frame 7" in "".join(caught.value.__notes__)
