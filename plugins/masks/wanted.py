"""The densities that a scheme's options ask for, or what stands in their way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from core.api import UserError
from plugins.masks.densities import InfeasibleError, Rule, Shape, expected_densities, matches

if TYPE_CHECKING:
    from plugins.masks import PruningOptions


def wanted_densities(
    name: str,
    options: PruningOptions,
    rule: Rule,
    shapes: Mapping[str, Shape],
    also_dense: Iterable[str] = (),
) -> dict[str, float]:
    """Expected density of each parameter of one network; ``name`` is the scheme's.

    ``also_dense`` are names that the scheme leaves dense besides the options' patterns.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    check_patterns(name, options.target, options.dense, shapes)
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
        raise UserError(f"masks '{name}' for '{options.target}': {problem}") from error


def check_patterns(
    name: str, target: str, dense: Iterable[str], shapes: Mapping[str, Shape]
) -> None:
    """Raise :class:`UserError` for a pattern of ``dense`` that fits no parameter."""
    if target == "all":  # a pattern may be meant for another network
        return
    for pattern in dense:
        if not any(matches(parameter, (pattern,)) for parameter in shapes):
            raise UserError(
                f"masks '{name}' for '{target}': the pattern '{pattern}' of "
                f"dense fits no parameter; they are {', '.join(shapes)}"
            )
