"""How dense each tensor is, and what stands in the way: arithmetic on shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from core.api import UserError
from plugins.masks.options import Counted, PruningOptions

Shape = tuple[int, ...]
Rule = Callable[[Mapping[str, Shape], float], dict[str, float]]
"""Spreads a budget of kept weights over kernels: ``(shapes, budget) -> densities in (0, 1]``."""


class InfeasibleError(ValueError):
    """What always stays dense is more than the sparsity lets live.

    ``largest`` is the largest sparsity, in thousandths, that leaves something for the
    kernels; None when there is no kernel to prune.
    """

    def __init__(self, largest: float | None) -> None:
        super().__init__(f"sparsity is out of reach; the largest possible is {largest}")
        self.largest = largest


def erdos_renyi(shapes: Mapping[str, Shape], budget: float) -> dict[str, float]:
    """Density ``eps * sum(shape) / prod(shape)``, with ``eps`` such that the budget is spent.

    Mocanu et al. 2018; for convolutions Evci et al. 2020. Layers whose density would exceed
    1 are set dense and the rest share what remains, until all fit. The code that Ma et al.
    2025 use (jaxpruner's ``sparsity_distributions.py``) sets only the layers of the largest
    ``sum / prod`` dense in each round, with the same result: ``eps`` never falls.
    """
    densities = dict.fromkeys(shapes, 1.0)
    free = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    while free:
        eps = budget / sum(sum(shapes[name]) for name in free)
        full = [name for name, p in free.items() if eps * p > 1.0]
        if not full:
            return densities | {name: eps * p for name, p in free.items()}
        for name in full:
            del free[name]
            budget -= math.prod(shapes[name])
    return densities


def uniform(shapes: Mapping[str, Shape], budget: float) -> dict[str, float]:
    """One density for every kernel, heads included."""
    density = min(1.0, budget / sum(map(math.prod, shapes.values())))
    return dict.fromkeys(shapes, density)


RULES: dict[str, Rule] = {"erdos_renyi": erdos_renyi, "uniform": uniform}


def expected_densities(
    shapes: Mapping[str, Shape],
    sparsity: float,
    counted: Counted = "all",
    dense: Iterable[str] = (),
    rule: Rule = erdos_renyi,
) -> dict[str, float]:
    """The share of weights that lives in each parameter of one network, in (0, 1].

    Tensors of one dimension stay dense. With ``counted="all"`` they still use up budget, so
    that ``sparsity`` is that of all parameters; with ``"kernels"`` it is that of the tensors
    of two dimensions and more. What matches ``dense`` (see :func:`matches`) stays dense and
    is left out of the budget. A tensor of n parameters brings ``n - floor(sparsity * n)`` to
    the budget, as in jaxpruner.

    Raises:
        InfeasibleError: nothing would be left for the kernels.
    """
    densities = dict.fromkeys(shapes, 1.0)
    if sparsity == 0.0:
        return densities
    listed = {name: s for name, s in shapes.items() if not matches(name, dense)}
    kernels = {name: s for name, s in listed.items() if len(s) >= 2}
    sizes = [math.prod(s) for s in (listed if counted == "all" else kernels).values()]
    prunable = sum(map(math.prod, kernels.values()))
    always_dense = sum(sizes) - prunable
    budget = sum(n - math.floor(sparsity * n) for n in sizes) - always_dense
    if prunable == 0:
        raise InfeasibleError(None)
    if budget <= 0:
        raise InfeasibleError((math.ceil(1000 * prunable / sum(sizes)) - 1) / 1000)
    return densities | rule(kernels, budget)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits the parameter's name or that of a module it lies in.

    Patterns are as in :mod:`fnmatch`, with case, and ``*`` runs across dots:
    ``members.*.head`` fits ``members.0.head.weight``.
    """
    parts = name.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatchcase(candidate, p) for p in patterns for candidate in names)


# --- what a scheme's options ask for ------------------------------------------------------


def layer_densities(
    scheme: str,
    options: PruningOptions,
    rule: Rule,
    shapes: Mapping[str, Shape],
    also_dense: Iterable[str] = (),
) -> dict[str, float]:
    """Expected density of each parameter of one network; ``scheme`` is a name, for messages.

    ``also_dense`` are names that the scheme leaves dense besides the options' patterns.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    check_patterns(scheme, options.target, options.dense, shapes)
    dense = (*options.dense, *also_dense)
    try:
        return expected_densities(shapes, options.sparsity, options.counted, dense, rule)
    except InfeasibleError as error:
        problem = (
            "there are no weights to prune"
            if error.largest is None
            else f"sparsity {options.sparsity:g} is out of reach: biases and norms stay dense; "
            f"the largest possible is {error.largest:g}"
        )
        raise UserError(f"masks '{scheme}' for '{options.target}': {problem}") from error


def check_patterns(
    scheme: str, target: str, dense: Iterable[str], shapes: Mapping[str, Shape]
) -> None:
    """Raise :class:`UserError` for a pattern of ``dense`` that fits no parameter."""
    if target == "all":  # a pattern may be meant for another network
        return
    for pattern in dense:
        if not any(matches(parameter, (pattern,)) for parameter in shapes):
            raise UserError(
                f"masks '{scheme}' for '{target}': the pattern '{pattern}' of "
                f"dense fits no parameter; they are {', '.join(shapes)}"
            )
