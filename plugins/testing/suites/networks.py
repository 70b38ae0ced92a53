"""What holds for every network design: encoder, actor and critic of an agent."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.agent.masks import MaskSet
from core.agent.randomness import random_state, seed_everything
from core.api.environments import EnvironmentSpec
from core.api.execution import ExecutionContext
from core.api.networks import NetworkContext, Networks
from plugins.testing.harness import agents
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness.snapshots import differences, named
from plugins.testing.harness.watching import drawn_from, host_reads
from plugins.testing.suites.component import ComponentSuite

ROWS, MEMBERS = 7, 3
OUTPUTS = 13
"""A number that no hidden layer has, so that a critic's heads are known by it."""
HEADS = {"mean": 3, "log_std": 2}
Modules = Mapping[str, nn.Module]


class NetworkSuite(ComponentSuite):
    """Checks of a network design, on the CPU, for every kind of environment that it is for."""

    kind = "networks"
    switches: ClassVar[Mapping[str, bool]] = {"rows": True}
    """``rows``: each observation is answered for itself, whatever else is in the batch."""
    specs: ClassVar[Sequence[EnvironmentSpec]] = (agents.STATES, EnvironmentSpec((3,), 1))
    """Environments that it is for."""

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> NetworkContext:
        return NetworkContext(self.specs[0])

    def networks(self, spec: EnvironmentSpec) -> Networks:
        """The design for one kind of environment."""
        return self.found.build(self.made_options(), NetworkContext(spec))  # type: ignore[no-any-return]

    def modules(self, spec: EnvironmentSpec, seed: int = 0) -> dict[str, nn.Module]:
        """One of each network by role, after seeding torch's generator."""
        torch.manual_seed(seed)
        networks = self.networks(spec)
        encoder = networks.encoder()
        made = {} if encoder is None else {"encoder": encoder}
        return {**made, "actor": networks.actor(HEADS), "critic": networks.critic(MEMBERS, OUTPUTS)}

    def inputs(self, spec: EnvironmentSpec, modules: Modules) -> dict[str, Any]:
        """What each network is called with, by role: normalised and encoded observations."""
        seen = agents.observations(spec, ROWS, seed=1)
        normaliser: Any = self.networks(spec).normaliser()
        if normaliser is not None:
            normaliser.update(seen)
            seen = normaliser(seen)
        with torch.no_grad():
            features = modules["encoder"](seen) if "encoder" in modules else seen
        action = torch.rand(ROWS, spec.action, generator=torch.Generator().manual_seed(2)) * 2 - 1
        return {"encoder": (seen,), "actor": (features,), "critic": (features, action)}

    def cases(self) -> Iterator[tuple[EnvironmentSpec, dict[str, nn.Module], dict[str, Any]]]:
        """Of every environment: its spec, the networks, and what they are called with."""
        for spec in self.specs:
            modules = self.modules(spec)
            yield spec, modules, self.inputs(spec, modules)

    def answers(self, spec: EnvironmentSpec, modules: Modules) -> dict[str, Tensor]:
        """What each network answers, as one tensor with the rows first."""
        inputs = self.inputs(spec, modules)
        return {role: _joined(role, net(*inputs[role])) for role, net in modules.items()}

    # --- shapes -------------------------------------------------------------------------

    def test_answers_have_the_right_shapes(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            for name, p in _parameters(modules).items():
                right = p.device.type == "cpu" and p.dtype is torch.float32
                assert right, f"{name} is {p.dtype} on {p.device}; core moves it"
                assert p.requires_grad, f"{name} does not ask for gradients: make it a buffer"
            inputs = self.inputs(spec, modules)
            features, action = inputs["critic"]
            flat = features.dim() == 2 or "encoder" not in modules
            assert flat, f"the encoder answers {list(features.shape)}, not [B, features]"
            for rows in (1, ROWS):
                heads = modules["actor"](features[:rows])
                wanted = [[rows, size] for size in HEADS.values()]
                assert isinstance(heads, tuple), "actor(heads) is to answer with a tuple"
                found = [list(head.shape) for head in heads]
                assert found == wanted, f"the actor's heads {HEADS} have the shapes {found}"
                values = modules["critic"](features[:rows], action[:rows])
                assert list(values.shape) == [MEMBERS, rows, OUTPUTS], (
                    f"critic({MEMBERS}, {OUTPUTS}) answers {list(values.shape)} for B = "
                    f"{rows}; it is to be [members, B, outputs]"
                )
            alone = self.networks(spec).critic(1, action=False)(features)
            right = list(alone.shape) == [1, ROWS, 1]
            assert right, f"critic(1, action=False) answers {list(alone.shape)}, not [1, B, 1]"

    # --- initialisation -----------------------------------------------------------------

    def test_weights_follow_from_the_seed(self) -> None:
        for spec in self.specs:
            seed_everything(3)
            before = random_state()
            first = self.modules(spec, 3)
            others = drawn_from({**before, "torch": torch.get_rng_state()})
            assert not others, f"making networks drew from {others}; initialise by torch's alone"
            again, other = (_parameters(self.modules(spec, seed)) for seed in (3, 4))
            differ = differences(_parameters(first), again)
            assert not differ, f"after the same torch.manual_seed these differ: {named(differ)}"
            for role in first:
                assert any(name.startswith(role) for name in differences(again, other)), (
                    f"the {role}'s weights are the same after another torch.manual_seed: draw them "
                    "from torch's global generator, and do not seed it"
                )
            mine = {id(p) for p in _parameters(first).values()}
            shared = [name for name, p in again.items() if id(p) in mine]
            assert not shared, f"two calls share {named(shared)}: make new layers each time"

    def test_critics_differ(self) -> None:
        for _, modules, inputs in self.cases():
            values = modules["critic"](*inputs["critic"])
            sizes = {name: p.shape[0] for name, p in modules["critic"].named_parameters()}
            seen: set[str] = set()
            for i, value in enumerate(values):
                same = [j for j in range(i) if torch.equal(value, values[j])]
                assert not same, f"members {i} and {same} answer alike: initialise each anew"
                found = _gradients(value.sum(), modules["critic"]).items()
                moved = {n for n, g in found if g is not None and bool(g.any())}
                shared = [n for n in moved & seen if sizes[n] == OUTPUTS]
                assert not shared, f"members of the critic share {named(shared)}: give each a head"
                seen |= moved

    # --- learning -----------------------------------------------------------------------

    def test_gradients_reach_every_parameter(self) -> None:
        for spec, modules, _ in self.cases():
            for role, answer in self.answers(spec, modules).items():
                lost = [n for n, g in _gradients(answer.sum(), modules[role]).items() if g is None]
                assert not lost, (
                    f"nothing that the {role} answers depends on {named(lost)}: leave them out, or "
                    "do not detach"
                )

    def test_rows_are_independent(self) -> None:
        self.require("rows")
        for spec, modules, inputs in self.cases():
            for role, whole in self.answers(spec, modules).items():
                for row in (0, ROWS - 1):
                    alone = modules[role](*(x[row : row + 1] for x in inputs[role]))
                    wanted = whole[row : row + 1]
                    assert torch.allclose(_joined(role, alone), wanted, atol=1e-4, rtol=1e-4), (
                        f"the {role} answers otherwise for a row in a batch than alone (is there a "
                        "batch norm?); if that is meant, say capabilities = {'rows': False}"
                    )

    def test_reads_nothing_on_the_host(self) -> None:
        for _, modules, inputs in self.cases():
            for role, module in modules.items():
                with host_reads() as found:
                    module(*inputs[role])
                assert not found, (
                    f"the {role}'s forward pass reads numbers on the host ({', '.join(found)}), "
                    "which waits for a GPU: keep to tensors"
                )

    # --- copies and masks ---------------------------------------------------------------

    def test_copies_are_independent(self) -> None:
        for spec in self.specs:
            modules, loaded = self.modules(spec, 1), self.modules(spec, 2)
            copied, before = copy.deepcopy(modules), self.answers(spec, modules)
            same = not differences(before, self.answers(spec, copied))
            assert same, "a deepcopy answers otherwise"
            for role, module in modules.items():
                loaded[role].load_state_dict(module.state_dict())
            assert not differences(before, self.answers(spec, loaded)), (
                "with the state_dict of another they answer otherwise: hold every tensor as a "
                "parameter or a buffer"
            )
            with torch.no_grad():
                for parameter in _parameters(copied).values():
                    parameter.add_(1.0)
            assert not differences(before, self.answers(spec, modules)), (
                "changing a deepcopy changes the original: a target network could not be made"
            )

    def test_masks_can_be_put_in_force(self) -> None:
        told = "call an nn.Linear rather than use its weight, which a backend may store otherwise"
        for spec in self.specs:
            answers = []
            for backend, attached in _attached(self.modules(spec)).items():
                try:
                    answers.append(self.answers(spec, attached))
                except Exception as error:
                    raise AssertionError(f"under '{backend}': {error}; {told}") from error
            other = differences(answers[0], answers[1], within=1e-4)
            assert not other, f"under 'sparse' the {named(other)} answers otherwise; {told}"

    def test_normaliser_keeps_statistics(self) -> None:
        for spec in self.specs:
            normaliser, again = (self.networks(spec).normaliser() for _ in range(2))
            if normaliser is None or again is None:
                self.skip("observations are used raw")
            own: Any = normaliser
            for step in range(5):
                own.update(agents.observations(spec, 4, seed=step))
            state, seen = copy.deepcopy(own.state_dict()), agents.observations(spec, ROWS, seed=9)
            once = own(seen)
            assert once.shape == seen.shape, f"it makes {list(seen.shape)} {list(once.shape)}"
            kept = not differences(state, own.state_dict())
            assert kept, "calling the normaliser changes its statistics; only update() may"
            loaded: Any = again
            loaded.load_state_dict(state)
            whole = torch.equal(loaded(seen), once)
            assert whole, "its statistics are not all in its state_dict: hold them as buffers"
            own.update(seen)
            assert not torch.equal(own(seen), once), "update() changes nothing"


def _joined(role: str, answer: Any) -> Tensor:
    """``[B, ...]``: heads side by side, members behind the rows."""
    if role == "actor":
        return torch.cat(answer, -1)
    whole: Tensor = answer.transpose(0, 1) if role == "critic" else answer
    return whole


def _gradients(answer: Tensor, module: nn.Module) -> dict[str, Tensor | None]:
    """By parameter; None where the answer does not depend on it."""
    own = dict(module.named_parameters())
    found = torch.autograd.grad(answer, list(own.values()), allow_unused=True, retain_graph=True)
    return dict(zip(own, found, strict=True))


def _parameters(modules: Modules) -> dict[str, nn.Parameter]:
    """Every parameter, by role and name."""
    return {f"{r}.{n}": p for r, m in modules.items() for n, p in m.named_parameters()}


def _attached(modules: Modules) -> dict[str, dict[str, nn.Module]]:
    """Copies of the networks by backend, with the same masks in force."""
    plugins, masks = offered.built_ins(), MaskSet(0)
    options = {"sparsity": 0.4, "counted": "kernels"}
    scheme = offered.build(plugins, "masks", "uniform", options, None)
    drawn = {role: masks.draw(role, module, scheme) for role, module in modules.items()}
    found: dict[str, dict[str, nn.Module]] = {}
    for backend in ("masked", "sparse"):
        context = ExecutionContext(agents.CPU, ROWS)
        execution = offered.build(plugins, "execution", backend, {}, context)
        found[backend] = {
            role: execution.attach(copy.deepcopy(module), drawn[role], role)
            for role, module in modules.items()
        }
    return found
