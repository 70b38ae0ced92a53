"""Removed weights stay exactly zero, and only they are touched."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from core.agent.masks import MaskSet, removed_weights_are_zero
from plugins.execution.masked import Masked
from plugins.losses.options import SACOptions
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import (
    DRQ,
    DRQ_DDPG,
    PIXELS,
    SIMBA,
    SIMBA_DDPG,
    STATE,
    make_batch,
    make_learner,
)

torch.set_num_threads(1)
DECAY = AdamWOptions(lr=1e-2, weight_decay=0.1)


class Half:
    """A scheme that removes half of every kernel, or nothing."""

    def __init__(self, keep: float = 0.5, target: str = "all") -> None:
        self.keep, self.target = keep, target

    def draw(self, parameters, generator):
        return {
            name: torch.rand(p.shape, generator=generator) < self.keep
            for name, p in parameters.items()
            if p.ndim > 1
        }


def masks_of(learner, role):
    """The masks that ``make_learner`` drew for a role, with the seed that it uses."""
    return MaskSet(1).draw(role, getattr(learner.loss, role), Half())


def test_many_decayed_updates_move_no_removed_weight():
    learner = make_learner(SACOptions(critics=2, tau=0.1), SIMBA, [Half()], DECAY)
    loss = learner.loss
    batches = [make_batch(STATE, seed=seed) for seed in range(10)]
    before = deepcopy(loss.state_dict())
    for update in range(200):
        learner.update(batches[update % 10])
    for role in ("actor", "critic"):
        masks = masks_of(learner, role)
        assert all(0.2 < mask.float().mean() < 0.8 for mask in masks.values())
        assert removed_weights_are_zero(getattr(loss, role), masks)
        (step,) = [step for step in learner.steps if step.phase.name == role]
        names = dict(getattr(loss, role).named_parameters())
        for name, mask in masks.items():
            state = step.optimizer.state[names[name]]
            for moment in ("exp_avg", "exp_avg_sq"):
                assert not state[moment][~mask].any()
                assert state[moment][mask].all()
            assert not torch.equal(before[f"{role}.{name}"], names[name])
    assert removed_weights_are_zero(loss.target_critic, masks_of(learner, "critic"))


def test_pixels_too():
    learner = make_learner(DRQ_DDPG, DRQ, [Half()], DECAY)
    for update in range(5):
        learner.update(make_batch(PIXELS, seed=update))
    for role in ("encoder", "actor", "critic"):
        assert removed_weights_are_zero(getattr(learner.loss, role), masks_of(learner, role))


@pytest.mark.parametrize("options", [SACOptions(), SIMBA_DDPG], ids=["sac", "ddpg"])
def test_nothing_removed_is_bit_identical_to_no_mask(options):
    learners = [make_learner(options, SIMBA, schemes) for schemes in ([], [Half(keep=1.0)])]
    for learner in learners:
        torch.manual_seed(5)
        for update in range(5):
            learner.update(make_batch(STATE, seed=update))
    bare, masked = (learner.state_dict() for learner in learners)
    for name, value in bare["loss"].items():
        assert torch.equal(value, masked["loss"][name]), name
    assert learners[0].means.take() == learners[1].means.take()


def test_masks_multiply_the_plain_initialisation():
    bare, masked = (make_learner(SACOptions(), SIMBA, schemes) for schemes in ([], [Half()]))
    for role in ("actor", "critic"):
        masks = masks_of(masked, role)
        got = dict(getattr(masked.loss, role).named_parameters())
        for name, plain in getattr(bare.loss, role).named_parameters():
            want = plain * masks[name] if name in masks else plain
            assert torch.equal(got[name], want), name


def attached():
    torch.manual_seed(0)
    module = nn.Linear(4, 4)
    mask = torch.rand(4, 4) < 0.5
    execution = Masked()
    assert execution.attach(module, {"weight": mask}) is module
    return module, mask, execution


def test_reapply_zeroes_what_came_back_even_if_not_finite():
    module, mask, execution = attached()
    with torch.no_grad():
        module.weight.fill_(2)
        module.weight[~mask] = torch.nan
    execution.reapply()
    assert torch.equal(module.weight, 2.0 * mask)


def test_reapply_follows_masks_changed_in_place():
    module, mask, execution = attached()
    mask.fill_(True)
    mask[0] = False
    with torch.no_grad():
        module.weight.fill_(1)
    execution.reapply()
    assert torch.equal(module.weight, mask.float())
    gradient = torch.ones(4, 4)
    execution.constrain_gradients([module.weight], [gradient])
    assert torch.equal(gradient, mask.float())
    mask.fill_(True)
    execution.reapply()
    gradient = torch.ones(4, 4)
    execution.constrain_gradients([module.weight], [gradient])
    assert gradient.all()


@pytest.mark.parametrize("leading", [(), (1,), (3,)])
def test_only_masked_gradients_are_touched(leading):
    module, mask, execution = attached()
    weight, bias, more = (torch.ones(*leading, *shape) for shape in ((4, 4), (4,), (2,)))
    other = nn.Parameter(torch.zeros(2))
    execution.constrain_gradients([module.weight, module.bias, other], [weight, bias, more])
    assert torch.equal(weight, mask.float().expand_as(weight))
    assert bias.all()
    assert more.all()


def test_a_mask_for_no_parameter_is_an_error():
    with pytest.raises(KeyError, match="wieght"):
        Masked().attach(nn.Linear(2, 2), {"wieght": torch.ones(2, 2, dtype=torch.bool)})


def test_the_reported_gradient_norm_is_that_of_kept_weights():
    learner = make_learner(SIMBA_DDPG, SIMBA, [Half()])
    loss, batch = learner.loss, make_batch(STATE)
    torch.manual_seed(3)
    norm = learner.step(batch)["gradient_norm/actor"]
    fresh = make_learner(SIMBA_DDPG, SIMBA, [Half()])
    torch.manual_seed(3)
    objective, _ = fresh.loss.phases[0].run(fresh.loss.prepare(batch))
    names, parameters = zip(*fresh.loss.actor.named_parameters(), strict=True)
    masks = masks_of(learner, "actor")
    gradients = torch.autograd.grad(objective, parameters)
    kept = [g * masks.get(n, torch.ones(())) for n, g in zip(names, gradients, strict=True)]
    want = torch.cat([g.flatten() for g in kept]).norm()
    torch.testing.assert_close(norm, want)
    assert want < 0.95 * torch.cat([g.flatten() for g in gradients]).norm()
    assert all(p.grad is None for p in loss.parameters())
