"""What phases minimise, asked for without an update."""

from __future__ import annotations

import torch

from core.api import AnalysisBatch, Phase, objectives


def test_each_phase_finds_what_the_earlier_ones_wrote():
    network, other = torch.nn.Linear(2, 1), torch.nn.Linear(1, 1)

    def run(batch):
        batch["written"] = batch.get("written", torch.tensor(0.0)) + 1
        return network(batch["x"]).mean() * batch["written"], {}

    def moves(batch):
        raise AssertionError("it would change the agent")

    phases = (
        Phase("first", run, (other, network)),
        Phase("of no network", run, (other,)),
        Phase("target", moves),
        Phase("second", run, (network,)),
    )
    x = torch.ones(3, 2)
    found = list(objectives(phases, {"critic": network}, AnalysisBatch(x, {"x": x}, {})))
    assert [step.phase.name for step in found] == ["first", "second"]
    assert [step.networks for step in found] == [{"critic": network}] * 2
    assert [step.batch.get("written") for step in found] == [None, 2]
    assert [int(step.after["written"]) for step in found] == [1, 3]
    torch.testing.assert_close(found[1].objective, 3 * found[0].objective)
