"""Masks saved here, loaded and drawn again in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from core.agent.masks import MaskSet
from plugins.masks.options import StructureOptions
from tests.plugins.masks.mask_schemes import SMALL, build, weights

ROOT = Path(__file__).parents[3]
SCHEMES = {
    "magnitude": {"sparsity": 0.8},
    "magnitude global": {"sparsity": 0.8, "distribution": "global"},
    "magnitude blocks": {"sparsity": 0.5, "structure": StructureOptions("blocks", side=8)},
    "nm": {"n": 1, "m": 4},
    "block": {"sparsity": 0.7},
    "small_world": {"sparsity": 0.8, "rewiring": 0.3},
    "erdos_renyi": {"sparsity": 0.8},
}
IN_A_NEW_PROCESS = """\
import sys, torch
from core.agent.masks import MaskSet
from tests.plugins.masks.test_mask_static_saved import drawn_now
saved = torch.load(sys.argv[1], weights_only=True)
loaded = MaskSet.restored(saved)
again = drawn_now()
assert loaded.seed == again.seed == 3
assert loaded.masks.keys() == again.masks.keys()
for role, masks in again.masks.items():
    assert masks, role
    assert loaded.masks[role] == masks, role
    for name, mask in masks.items():
        assert torch.equal(loaded.masks[role][name], mask)
print("same", len(again.masks))
"""


class Weights(nn.Module):
    """A module with the parameters of a small network."""

    def __init__(self) -> None:
        super().__init__()
        for layer in dict.fromkeys(name.split(".")[0] for name in SMALL):
            self.add_module(layer, nn.Module())
        for name, value in weights().items():
            layer, kind = name.split(".")
            self.get_submodule(layer).register_parameter(kind, nn.Parameter(value))


def drawn_now(seed=3):
    masks = MaskSet(seed)
    for role, options in SCHEMES.items():
        masks.draw(role, Weights(), build(role.split()[0], **options))
    return masks


@pytest.fixture
def saved(tmp_path):
    torch.save(drawn_now().state_dict(), tmp_path / "masks.pt")
    return tmp_path / "masks.pt"


def test_a_new_process_has_the_same_masks(saved):
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(saved)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["same", str(len(SCHEMES))]


def test_another_mask_seed_has_others():
    one, other = drawn_now(3), drawn_now(4)
    for role in ("nm", "block", "small_world"):
        assert one.masks[role] != other.masks[role]
