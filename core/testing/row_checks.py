"""Checks of networks that an execution backend runs on one observation at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.api.execution import ExecutionContext
from core.api.layers import dense
from core.testing import layers
from core.testing.layers import Pair, apart, outputs
from core.testing.suite import ComponentSuite


class RowChecks(ComponentSuite):
    """A row, where the backend gives one, is the module on one observation, without autograd."""

    tolerance: ClassVar[float] = 1e-5
    """Of outputs and gradients, relative to the largest."""

    def context(self) -> ExecutionContext:
        return ExecutionContext(torch.device("cpu"), batch_size=6)

    def pairs(self, names: Any = layers.KINDS, **wiring: Any) -> Iterator[Pair]:
        """Each kind of network, dense and attached to a backend of its own."""
        for name in names:
            yield layers.pair(name, self.plugins, self.build(), **wiring)

    def rows(self) -> Iterator[tuple[Pair, Any]]:
        """The networks of which the backend gives a row, with that."""
        found = [(one, one.execution.row(one.module)) for one in self.pairs(layers.ROWS)]
        given = [(one, row) for one, row in found if row is not None]
        if not given:
            self.skip("it gives no rows ('row' answers None)")
        yield from given

    def test_a_row_gives_what_the_module_gives(self) -> None:
        for one, row in self.rows():
            (inputs,), (others,) = one.inputs(1), one.inputs(1, seed=5)
            wanted, wanted_other = (outputs(one.module, [x]) for x in (inputs, others))
            assert (row.inputs, row.outputs) == (inputs.shape[1], len(wanted)), (
                f"{one.name}: the row has inputs {row.inputs} and outputs {row.outputs}; outputs "
                "are the entries of all heads, side by side"
            )
            off = apart(wanted, row.forward(inputs[0]))
            assert off <= self.tolerance, f"{one.name}: 'forward' is off by {off:.1e}"
            both = [given.clone() for given in row.forward_both(inputs[0], others[0])]
            for given, right in zip(both, (wanted, wanted_other), strict=True):
                off = apart(right, given)
                assert off <= self.tolerance, f"{one.name}: 'forward_both' is off by {off:.1e}"

    def test_a_row_accumulates_what_autograd_gives(self) -> None:
        for one, row in self.rows():
            parameters = list(one.module.parameters())
            trace = torch.zeros(sum(p.numel() for p in parameters))
            wanted = torch.zeros_like(trace)
            for step in range(3):
                (inputs,) = one.inputs(1, seed=step)
                gradient = torch.linspace(-1, 1, row.outputs)
                row.forward_both(inputs[0], inputs[0] + 1)
                norm = row.accumulate(gradient, trace, 0.7)
                wanted = 0.7 * wanted + self._product(one, inputs, gradient)
                off = apart(wanted, trace)
                assert off <= self.tolerance, (
                    f"{one.name}: 'accumulate' is off by {off:.1e}: trace <- decay trace + "
                    "J^T gradient of the last 'forward', in the order of module.parameters()"
                )
                size = float(trace.abs().sum())
                assert abs(norm - size) <= 1e-4 * size, (
                    f"{one.name}: 'accumulate' answers {norm}, the trace's L1 norm is {size}"
                )

    def test_a_row_moves_the_modules_parameters(self) -> None:
        for one, row in self.rows():
            before = _flat(one.module)
            (inputs,) = one.inputs(1)
            row.forward(inputs[0])
            direction = torch.zeros(before.shape)
            row.accumulate(torch.ones(row.outputs), direction, 0.0)
            row.move(direction, -0.5)
            off = apart(before - 0.5 * direction, _flat(one.module))
            assert off <= self.tolerance, (
                f"{one.name}: the module's parameters are to have moved by scale times direction, "
                f"at once; they are off by {off:.1e}"
            )
            off = apart(outputs(one.module, [inputs]), row.forward(inputs[0]))
            assert off <= self.tolerance, (
                f"{one.name}: after a move, the row is off the module by {off:.1e}"
            )
            for name, mask in one.masks.items():
                assert not bool(dense(one.module, name)[~mask].any()), (
                    f"{one.name}: a move has made removed weights of '{name}' live"
                )

    def test_a_row_follows_other_masks(self) -> None:
        for one, row in self.rows():
            others = layers.random_masks(one.oracle, 0.6, seed=4)
            one.execution.remask([one.module], others, [])
            with torch.no_grad():
                for parameter in one.module.parameters():
                    parameter.add_(0.1)
            one.execution.reapply()
            again = one.execution.row(one.module)
            (inputs,) = one.inputs(1)
            for which in (row, again):
                off = apart(outputs(one.module, [inputs]), which.forward(inputs[0]))
                assert off <= self.tolerance, (
                    f"{one.name}: after 'remask' and 'reapply', a row is off the module by "
                    f"{off:.1e}: let it read again where the weights are, and which live"
                )

    def _product(self, one: Pair, inputs: Tensor, gradient: Tensor) -> Tensor:
        """``J^T gradient`` by autograd, removed weights constrained, ``[P]``."""
        parameters = list(one.module.parameters())
        found = torch.autograd.grad(outputs(one.module, [inputs]) @ gradient, parameters)
        parts = [part.clone() for part in found]
        one.execution.constrain_gradients(parameters, parts)
        return torch.cat([part.flatten() for part in parts])


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])
