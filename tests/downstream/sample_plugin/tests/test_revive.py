import torch
from plugins.testing import MaskSuite

from openwork_revive.scheme import revive


class TestRevive(MaskSuite):
    component = "revive"
    options = {"at": 300}
    refused = ({"sparsity": 1.0}, {"reserve": 0.2}, {"at": 0}, {"target": ""})


def test_the_poorest_units_get_weights_back():
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    generator = torch.Generator().manual_seed(0)
    assert revive(mask, 3, generator).sum(1).tolist() == [3, 2, 2]
    assert revive(mask, 5, generator).sum(1).tolist() == [3, 3, 3]
    assert revive(mask, 99, generator).all()
    after = revive(mask, 4, generator)
    assert (after & mask).equal(mask)
    assert after.sum() == mask.sum() + 4


def test_which_of_its_weights_a_unit_gets_is_random():
    mask = torch.zeros(1, 8, dtype=torch.bool)
    generators = [torch.Generator().manual_seed(seed) for seed in range(99)]
    drawn = {int(revive(mask, 1, generator).int().argmax()) for generator in generators}
    assert drawn == set(range(8))
