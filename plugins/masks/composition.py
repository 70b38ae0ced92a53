"""Scores to masks: a structure, and a share of the kept weights for each kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import torch

from plugins.masks.densities import Shape, erdos_renyi, uniform
from plugins.masks.random_masks import kept
from plugins.masks.scores import highest, refuse_nan
from plugins.masks.structures import Blocks, Groups, Structure, Unstructured
from plugins.masks.wanted import wanted_densities

if TYPE_CHECKING:
    from torch import Tensor

    from plugins.masks import PruningOptions
    from plugins.masks.static import ScoredOptions, StructureOptions

Score = Callable[[str], "Tensor"]
"""A parameter's scores by its name; asked once for each that is pruned."""
RULES = {"erdos_renyi": erdos_renyi, "uniform": uniform}


@final
class Layerwise:
    """Structure and density of each kernel of one network."""

    def __init__(
        self, name: str, options: PruningOptions, distribution: str, structure: StructureOptions
    ) -> None:
        """``name`` is the scheme's; ``distribution`` is one of :data:`RULES`."""
        self._name = name
        self._options = options
        self._rule = RULES[distribution]
        self._structure = structure

    def plan(self, shapes: Mapping[str, Shape]) -> dict[str, tuple[Structure, int]]:
        """For each kernel that is pruned its structure, and how many weights are to live.

        Raises:
            UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
        """
        structures = {n: self._structure_of(s) for n, s in shapes.items() if len(s) >= 2}
        left = [name for name, structure in structures.items() if structure is None]
        densities = wanted_densities(self._name, self._options, self._rule, shapes, left)
        return {
            name: (structure, kept(math.prod(shapes[name]), densities[name]))
            for name, structure in structures.items()
            if structure is not None and densities[name] < 1.0
        }

    def masks(
        self, shapes: Mapping[str, Shape], choose: Callable[[str, Structure, int], Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """One mask after the other; ``choose`` makes that of a name."""
        plan = self.plan(shapes)
        return ((name, choose(name, *planned)) for name, planned in plan.items())

    def _structure_of(self, shape: Shape) -> Structure | None:
        """None where the kernel is to stay dense."""
        options = self._structure
        if options.kind == "groups":
            return Groups(round((1 - self._options.sparsity) * options.m), options.m)
        if options.kind == "blocks" and Blocks(options.side).fits(shape):
            return Blocks(options.side)
        if options.kind == "blocks" and options.rest == "dense":
            return None
        return Unstructured()


def composed(
    name: str, options: ScoredOptions, shapes: Mapping[str, Shape], score: Score
) -> Iterator[tuple[str, Tensor]]:
    """The masks that keep what scores highest, as a scheme's options say.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    if options.distribution == "global":
        return _by_one_threshold(name, options, shapes, score)
    layers = Layerwise(name, options, options.distribution, options.structure)
    return layers.masks(shapes, lambda n, structure, count: structure.keep(score(n), count))


def _by_one_threshold(
    name: str, options: ScoredOptions, shapes: Mapping[str, Shape], score: Score
) -> Iterator[tuple[str, Tensor]]:
    densities = wanted_densities(name, options, uniform, shapes)
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
