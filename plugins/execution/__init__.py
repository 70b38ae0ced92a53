"""Built-in execution backends, ``masked``, ``sparse`` and ``auto``, and ``bench-execution``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.api import Command, CommandContext, Component, ExecutionContext, hookimpl

if TYPE_CHECKING:
    from plugins.execution.auto.backend import Auto
    from plugins.execution.masked import Masked
    from plugins.execution.sparse import Sparse


@dataclass(frozen=True)
class MaskedOptions:
    """How the networks run."""

    native: bool = True
    """Run without autograd where that applies, which is one environment on the CPU with
    perceptrons or SimBa (``stream_mlp``, ``mlp``, ``simba``): the same numbers within rounding,
    many times faster. By compiled kernels; where these were not built, dense perceptrons whose
    norms have no parameters run on NumPy, with a warning. ``false``: the
    phases of the update run on PyTorch, as they do everywhere else; the others are tested
    against this."""


@dataclass(frozen=True)
class SparseOptions:
    """How the networks run, where only kept weights are stored."""

    product: Literal["auto", "native", "densified"] = "auto"
    """How a compact layer is multiplied. ``native``: by compiled kernels, for float32 and float64
    on the CPU. ``densified``: its weight is scattered into a dense matrix for the duration of the
    product, which saves memory and no time; the same numbers within rounding. ``auto``: native
    where that can be, densified elsewhere (with a warning on a CPU without the kernels)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products of compact layers, forward and backward. ``bfloat16`` rounds both factors
    of each to 8 significant bits (a relative error of at most 2^-9) and sums in float32;
    weights, gradients and optimizer state stay float32. It shows what such products do to
    learning; it saves neither time nor memory, since rounded factors are multiplied as float32.
    One observation at a time then runs through autograd, since the kernels for that do not
    round."""
    native: bool = True
    """Run without autograd where that applies; see ``masked``."""


@dataclass(frozen=True)
class AutoOptions:
    """How the form of each masked layer is chosen: at the start, and, without measuring, when
    masks change in training. On a GPU all are masked: there ``sparse`` saves memory (compact
    state, dense products), at a speed that was never measured."""

    trials: bool = True
    """Where the rule is unsure (densities of about a third to three quarters, widths below 256,
    batches below 32), measure both forms at the start, 0.1 to 0.4 s for each kind of layer, and
    remember the answer in the user's cache directory (``$XDG_CACHE_HOME/openwork``, or
    ``~/.cache/openwork``). The very first trial of a close case may fall either way, and
    rounding with it; ``run.json`` has the choices and ``execution=sparse`` or
    ``execution=masked`` fixes them. ``false``: the likelier form, without measuring."""
    native: bool = True
    """Run without autograd where that applies; see ``masked``."""


@dataclass(frozen=True)
class BenchExecutionOptions:
    """A verb takes arguments, not options."""


def _build_masked(options: MaskedOptions, context: ExecutionContext) -> Masked:
    from plugins.execution.masked import Masked

    return Masked(native=options.native)


def _build_sparse(options: SparseOptions, context: ExecutionContext) -> Sparse:
    from plugins.execution.sparse import Sparse, expect_kernels

    if options.product == "native":
        expect_kernels(context.device)
    return Sparse(
        product=options.product, bf16=options.precision == "bfloat16", rows=options.native
    )


def _build_auto(options: AutoOptions, context: ExecutionContext) -> Auto:
    from plugins.execution.auto.backend import Auto, setting

    return Auto(options, setting(context.device, context.batch_size), context.chosen)


def _build_bench_execution(options: BenchExecutionOptions, context: CommandContext) -> Command:
    from plugins.execution.bench.command import BenchExecution

    return BenchExecution()


@hookimpl
def register_execution() -> Iterable[Component[Any, ExecutionContext, Any]]:
    """Offer the built-in execution backends."""
    return [
        Component(
            "masked", MaskedOptions, _build_masked, "dense weights, held at zero where removed"
        ),
        Component(
            "sparse", SparseOptions, _build_sparse, "kept weights alone, multiplied as they are"
        ),
        Component("auto", AutoOptions, _build_auto, "sparse where it is faster, masked elsewhere"),
    ]


@hookimpl
def register_commands() -> Iterable[Component[Any, CommandContext, Command]]:
    """Offer ``bench-execution``."""
    return [
        Component(
            "bench-execution",
            BenchExecutionOptions,
            _build_bench_execution,
            "what sparse execution brings on this machine",
        )
    ]
