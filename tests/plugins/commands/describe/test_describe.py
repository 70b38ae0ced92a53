"""``describe``: the table holds what its JSON does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from core.cli import main
from tests.conftest import PRESETS

QUICKSTART = str(PRESETS / "quickstart.yaml")


def test_describe_prints_what_json_holds(capsys: Any) -> None:
    assert main(["describe", QUICKSTART, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    critic = next(n for n in described["networks"] if n["role"] == "critic")
    assert critic["kept"] == pytest.approx(0.2 * critic["parameters"], rel=1e-3)
    total = sum(torch.Size(layer["shape"]).numel() for layer in critic["layers"])
    assert total == critic["parameters"]
    assert main(["describe", QUICKSTART, "execution=sparse"]) == 0
    table = capsys.readouterr().out
    assert f"{critic['parameters']:,} parameters, {critic['kept']:,} kept" in table
    assert "members.0.trunk.blocks.0.expand.weight" in table
    memory = next(line for line in table.splitlines() if line.startswith("memory"))
    parts = ("weights", "gradients", "optimizer", "targets", "masks", "index")
    assert all(f"{part} " in memory for part in parts)
