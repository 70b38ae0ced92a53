"""Scores to masks: a structure, and a share of the kept weights for each kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from plugins.masks.densities import RULES, Shape, layer_densities, uniform
from plugins.masks.random_masks import kept
from plugins.masks.scores import highest, magnitude, refuse_nan
from plugins.masks.structures import Blocks, Groups, Structure, Unstructured

if TYPE_CHECKING:
    from torch import Tensor

    from plugins.masks.options import PruningOptions, ScoredOptions, StructureOptions

Score = Callable[[str], "Tensor"]
"""A parameter's scores by its name; asked once for each that is pruned."""


def layerwise(
    scheme: str,
    options: PruningOptions,
    distribution: str,
    structure: StructureOptions,
    shapes: Mapping[str, Shape],
) -> dict[str, tuple[Structure, int]]:
    """For each kernel that is pruned its structure, and how many weights are to live.

    ``scheme`` is its name; ``distribution`` is one of :data:`~plugins.masks.densities.RULES`.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    found = {n: _structure(structure, s, options) for n, s in shapes.items() if len(s) >= 2}
    dense = [name for name, one in found.items() if one is None]
    densities = layer_densities(scheme, options, RULES[distribution], shapes, dense)
    return {
        name: (one, kept(math.prod(shapes[name]), densities[name]))
        for name, one in found.items()
        if one is not None and densities[name] < 1.0
    }


def _structure(
    options: StructureOptions, shape: Shape, pruning: PruningOptions
) -> Structure | None:
    """None where the kernel is to stay dense."""
    if options.kind == "groups":
        return Groups(round((1 - pruning.sparsity) * options.m), options.m)
    if options.kind == "blocks" and Blocks(options.side).fits(shape):
        return Blocks(options.side)
    if options.kind == "blocks" and options.rest == "dense":
        return None
    return Unstructured()


def random_or_largest(
    score: str, weight: Tensor, structure: Structure, count: int, generator: torch.Generator
) -> Tensor:
    """A kernel's mask: drawn if ``score`` is ``random``, by magnitude if it is that."""
    if score == "magnitude":
        return structure.keep(magnitude(weight), count)
    return structure.draw(weight.shape, count, generator)


def highest_scored(
    scheme: str, options: ScoredOptions, shapes: Mapping[str, Shape], score: Score
) -> Iterator[tuple[str, Tensor]]:
    """The masks that keep what scores highest, as a scheme's options say.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    if options.distribution == "global":
        return _by_one_threshold(scheme, options, shapes, score)
    plan = layerwise(scheme, options, options.distribution, options.structure, shapes)
    return ((n, structure.keep(score(n), count)) for n, (structure, count) in plan.items())


def _by_one_threshold(
    scheme: str, options: ScoredOptions, shapes: Mapping[str, Shape], score: Score
) -> Iterator[tuple[str, Tensor]]:
    densities = layer_densities(scheme, options, uniform, shapes)
    pruned = {n: shapes[n] for n, density in densities.items() if density < 1.0}
    budget = sum(densities[n] * math.prod(shape) for n, shape in pruned.items())
    return highest_overall(pruned, score, round(budget)) if pruned else iter(())


def highest_overall(
    shapes: Mapping[str, Shape], score: Score, count: int
) -> Iterator[tuple[str, Tensor]]:
    """Masks that keep the ``count`` highest scores of all kernels together.

    Each kernel keeps at least its best one: ``count`` is raised to the number of kernels if
    need be. Among equal scores the first are taken.

    Raises:
        ValueError: a score is not a number.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    flat: Any = torch.empty(sum(sizes.values()))
    start = 0
    for name, size in sizes.items():
        part = flat[start : start + size].copy_(score(name).flatten())
        refuse_nan(part, f" of '{name}'")
        part[part.argmax()] = math.inf
        start += size
    mask = highest(flat, max(count, len(sizes)))
    parts = torch.split(mask, list(sizes.values()))
    return ((n, part.view(shapes[n])) for n, part in zip(sizes, parts, strict=True))
