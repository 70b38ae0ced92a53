"""What holds for every network design: encoder, actor and critic of an agent."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.agent.randomness import random_state, seed_everything
from core.api.environments import EnvironmentSpec
from core.api.errors import UserError
from core.api.networks import NetworkContext, Networks
from plugins.testing.harness import agents, generators
from plugins.testing.harness import made_up as made
from plugins.testing.harness.host_reads import host_reads
from plugins.testing.suites.component import ComponentSuite


class NetworkSuite(ComponentSuite):
    """Checks of a network design, on the CPU, for every kind of environment that it is for."""

    kind = "networks"
    switches: ClassVar[Mapping[str, bool]] = {"rows": True}
    """``rows``: each observation is answered for itself, whatever else is in the batch."""
    specs: ClassVar[Sequence[EnvironmentSpec]] = (agents.STATES, EnvironmentSpec((3,), 1))
    """Environments that it is for."""
    unfit: ClassVar[Sequence[EnvironmentSpec]] = ()
    """Environments that it is to refuse with a ``UserError``."""

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> NetworkContext:
        return NetworkContext(self.specs[0])

    def networks(self, spec: EnvironmentSpec) -> Networks:
        """The design for one kind of environment."""
        return self.found.build(self.made_options(), NetworkContext(spec))  # type: ignore[no-any-return]

    def modules(self, spec: EnvironmentSpec, seed: int = 0) -> dict[str, nn.Module]:
        """One of each network by role, after seeding torch's generator."""
        torch.manual_seed(seed)
        return made.modules(self.networks(spec))

    def inputs(self, spec: EnvironmentSpec, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
        """What each network is called with, by role: normalised and encoded observations."""
        return made.inputs(self.networks(spec), spec, modules)

    def answers(self, spec: EnvironmentSpec, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """What each network answers, as one tensor with the rows first."""
        inputs = self.inputs(spec, modules)
        return {role: made.joined(role, net(*inputs[role])) for role, net in modules.items()}

    # --- shapes -------------------------------------------------------------------------

    def test_answers_have_the_right_shapes(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            inputs = self.inputs(spec, modules)
            features = inputs["actor"][0]
            assert features.dim() == 2 or "encoder" not in modules, (
                f"the encoder answers {list(features.shape)}; it is to be [B, features]"
            )
            for rows in (1, made.ROWS):
                given = {role: [x[:rows] for x in inputs[role]] for role in modules}
                heads = modules["actor"](*given["actor"])
                found = [list(head.shape) for head in heads]
                wanted = [[rows, size] for size in made.HEADS.values()]
                assert isinstance(heads, tuple), "actor(heads) is to answer with a tuple"
                assert found == wanted, f"the actor's heads {made.HEADS} have the shapes {found}"
                values = modules["critic"](*given["critic"])
                assert list(values.shape) == [made.MEMBERS, rows, made.OUTPUTS], (
                    f"critic({made.MEMBERS}, {made.OUTPUTS}) answers {list(values.shape)} for B = "
                    f"{rows}; it is to be [members, B, outputs]"
                )
            alone = self.networks(spec).critic(1, action=False)(features)
            assert list(alone.shape) == [1, made.ROWS, 1], (
                f"critic(1, action=False) takes features alone and answers [1, B, 1], got "
                f"{list(alone.shape)}"
            )

    def test_is_made_on_the_cpu_in_float32(self) -> None:
        for spec in self.specs:
            for name, p in made.parameters(self.modules(spec)).items():
                right = p.device.type == "cpu" and p.dtype is torch.float32
                assert right, f"{name} is {p.dtype} on {p.device}; core moves it"
                assert p.requires_grad, f"{name} does not ask for gradients: make it a buffer"

    def test_refuses_other_environments(self) -> None:
        if not self.unfit:
            self.skip(f"{type(self).__name__}: list specs that it is not for in 'unfit'")
        for spec in self.unfit:
            try:
                self.networks(spec)
            except UserError:
                continue
            except Exception as error:
                raise AssertionError(
                    f"observations {spec.observation} raise {type(error).__name__} ({error}); "
                    "raise core.api.UserError with what to choose instead"
                ) from error
            raise AssertionError(
                f"observations {spec.observation} are accepted; raise core.api.UserError when built"
            )

    # --- initialisation -----------------------------------------------------------------

    def test_same_seed_gives_same_weights(self) -> None:
        for spec in self.specs:
            first, second = made.weights(self.modules(spec, 3)), made.weights(self.modules(spec, 3))
            other = [name for name in first if not torch.equal(first[name], second[name])]
            assert not other, (
                f"after the same torch.manual_seed these differ: {', '.join(other)}; draw from "
                "torch's global generator alone"
            )

    def test_every_module_is_made_anew(self) -> None:
        for spec in self.specs:
            networks = self.networks(spec)
            first, second = made.modules(networks), made.modules(networks)
            for role, module in first.items():
                mine = {id(p) for p in module.parameters()}
                shared = [n for n, p in second[role].named_parameters() if id(p) in mine]
                assert not shared, f"two calls share {', '.join(shared)}: make new layers each time"
                drawn = made.weights({"": module}), made.weights({"": second[role]})
                assert any(not torch.equal(drawn[0][n], drawn[1][n]) for n in drawn[0]), (
                    f"two calls made the {role} with the same weights: draw them from torch's "
                    "global generator, and do not seed it"
                )

    def test_draws_from_torch_alone(self) -> None:
        seed_everything(3)
        before = random_state()
        self.modules(self.specs[0])
        others = generators.changed({**before, "torch": torch.get_rng_state()})
        assert not others, f"making networks drew from {others}; initialise by torch's alone"

    # --- the critic's members -----------------------------------------------------------

    def test_critics_differ(self) -> None:
        for spec in self.specs:
            values = self.answers(spec, self.modules(spec))["critic"]
            same = [
                (i, j)
                for i in range(made.MEMBERS)
                for j in range(i)
                if torch.equal(values[:, i], values[:, j])
            ]
            assert not same, f"members {same} of the critic answer alike: initialise each anew"

    def test_critics_share_no_head(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            critic = modules["critic"]
            sizes = {name: p.shape[0] for name, p in critic.named_parameters()}
            values = critic(*self.inputs(spec, modules)["critic"])
            seen: set[str] = set()
            for value in values:
                moved = made.moved(value.sum(), critic)
                shared = [n for n in moved & seen if sizes[n] == made.OUTPUTS]
                assert not shared, (
                    f"members of the critic share {', '.join(sorted(shared))}: give each a head"
                )
                seen |= moved

    # --- learning -----------------------------------------------------------------------

    def test_gradients_reach_every_parameter(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            for role, answer in self.answers(spec, modules).items():
                reached = made.reached(answer.sum(), modules[role])
                lost = {n for n, _ in modules[role].named_parameters()} - reached
                assert not lost, (
                    f"nothing that the {role} answers depends on {', '.join(sorted(lost))}: leave "
                    "them out, or do not detach"
                )

    def test_rows_are_independent(self) -> None:
        self.require("rows")
        for spec in self.specs:
            modules = self.modules(spec)
            inputs = self.inputs(spec, modules)
            for role, whole in self.answers(spec, modules).items():
                for row in range(made.ROWS):
                    given = [x[row : row + 1] for x in inputs[role]]
                    alone = made.joined(role, modules[role](*given))
                    assert torch.allclose(alone, whole[row : row + 1], atol=1e-4, rtol=1e-4), (
                        f"the {role} answers otherwise for a row in a batch than alone (is there a "
                        "batch norm?); if that is meant, say capabilities = {'rows': False}"
                    )

    def test_reads_nothing_on_the_host(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            inputs = self.inputs(spec, modules)
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
            modules = self.modules(spec)
            copied = copy.deepcopy(modules)
            before = self.answers(spec, modules)
            assert made.equal(before, self.answers(spec, copied)), "a deepcopy answers otherwise"
            with torch.no_grad():
                for parameter in (p for module in copied.values() for p in module.parameters()):
                    parameter.add_(1.0)
            assert made.equal(before, self.answers(spec, modules)), (
                "changing a deepcopy changes the original: a target network could not be made"
            )

    def test_weights_can_be_saved_and_loaded(self) -> None:
        for spec in self.specs:
            first, second = self.modules(spec, 1), self.modules(spec, 2)
            for role, module in first.items():
                second[role].load_state_dict(module.state_dict())
            assert made.equal(self.answers(spec, first), self.answers(spec, second)), (
                "with the state_dict of another they answer otherwise: hold every tensor as a "
                "parameter or a buffer"
            )

    def test_masks_can_be_put_in_force(self) -> None:
        for spec in self.specs:
            modules = self.modules(spec)
            answers = {}
            for backend, attached in made.attached(modules).items():
                try:
                    answers[backend] = self.answers(spec, attached)
                except Exception as error:
                    raise AssertionError(
                        f"under the backend '{backend}': {error}. Call an nn.Linear rather than "
                        "use its weight, which a backend may store otherwise"
                    ) from error
            pairs = [(answers["masked"][role], answers["sparse"][role]) for role in modules]
            assert all(torch.allclose(*pair, atol=1e-4, rtol=1e-4) for pair in pairs), (
                "under the backend 'sparse' it answers otherwise than under 'masked': call an "
                "nn.Linear rather than use its weight"
            )

    # --- observations and features ------------------------------------------------------

    def test_normaliser_keeps_statistics(self) -> None:
        for spec in self._normalised():
            made_one = self.networks(spec).normaliser()
            assert isinstance(made_one, nn.Module), "normaliser() is to answer with an nn.Module"
            normaliser: Any = made_one
            for step in range(5):
                normaliser.update(agents.observations(spec, 4, seed=step))
            state = copy.deepcopy(normaliser.state_dict())
            seen = agents.observations(spec, made.ROWS, seed=9)
            once = normaliser(seen)
            assert once.shape == seen.shape, f"it makes {list(seen.shape)} {list(once.shape)}"
            kept = all(torch.equal(state[n], value) for n, value in normaliser.state_dict().items())
            assert kept, "calling the normaliser changes its statistics; only update() may"
            again: Any = self.networks(spec).normaliser()
            again.load_state_dict(state)
            assert torch.equal(again(seen), once), (
                "its statistics are not all in its state_dict: hold them as buffers"
            )
            normaliser.update(seen)
            assert not torch.equal(normaliser(seen), once), "update() changes nothing"
            trained = [name for name, p in normaliser.named_parameters() if p.requires_grad]
            assert not trained, f"statistics are not trained: make {', '.join(trained)} buffers"

    def test_features_are_where_they_are_said_to_be(self) -> None:
        if "features" not in self.found.provides:
            self.skip("it does not provide 'features'")
        for spec in self.specs:
            modules = self.modules(spec)
            names = {role: dict(modules[role].named_modules()) for role in ("actor", "critic")}
            wanted = {
                "actor": ["trunk", *(f"heads.{head}" for head in made.HEADS)],
                "critic": [
                    f"members.{m}.{part}" for m in range(made.MEMBERS) for part in ("trunk", "head")
                ],
            }
            for role, parts in wanted.items():
                missing = [part for part in parts if part not in names[role]]
                assert not missing, (
                    f"it provides 'features', but its {role} has no submodule {', '.join(missing)}"
                )

    # --- helpers ------------------------------------------------------------------------

    def _normalised(self) -> list[EnvironmentSpec]:
        found = [spec for spec in self.specs if self.networks(spec).normaliser() is not None]
        if not found:
            self.skip("observations are used raw")
        return found
