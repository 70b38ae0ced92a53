"""Gradients of single samples of a batch, and their inner products in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.func import grad, vmap

if TYPE_CHECKING:
    from torch import Tensor

Objective = Callable[[dict[str, "Tensor"], dict[str, "Tensor"]], "Tensor"]
"""From parameters by name, and a batch of one sample, to the scalar to be minimised."""

MEMORY = 1_000_000_000
"""Bytes."""
HELD = 0.75
"""Share of the memory for the columns of a turn; the rest is for what they are taken from."""


def per_sample_gradients(
    objective: Objective, parameters: Mapping[str, Tensor], batch: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``[B, *shape]`` per parameter: the gradient of the objective of each sample alone.

    Every entry of ``batch`` is ``[B, ...]``, but for scalars, which all samples share. The
    objective is traced once, under ``torch.func.vmap``: it must not branch on values, and what
    it draws at random is drawn for each sample anew. For a module it is written with
    ``torch.func.functional_call``. The answer is as large as ``B`` copies of the parameters.
    """
    axes = {key: 0 if entry.dim() else None for key, entry in batch.items()}

    def of_one(parameters: dict[str, Tensor], sample: dict[str, Tensor]) -> Tensor:
        one = {k: x if axes[k] is None else x.unsqueeze(0) for k, x in sample.items()}
        return objective(parameters, one)

    detached = {name: parameter.detach() for name, parameter in parameters.items()}
    of_each = vmap(grad(of_one), in_dims=(None, axes), randomness="different")
    # Other weights in the objective ask for gradients too; this keeps no graph for them.
    with torch.no_grad():
        gradients: dict[str, Tensor] = of_each(detached, dict(batch))
    return gradients


def gradient_products(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    memory: int = MEMORY,
) -> Tensor:
    """``[B, B]``, float64: inner products of the samples' gradients, over living weights.

    ``masks`` are boolean (True: the weight lives), by the parameters' names. ``memory`` bounds
    the bytes of gradients held at once, though one sample's gradient of the largest parameter is
    always held; what the objective itself needs comes on top. What does not fit is done in
    turns: each holds some of the living weights' columns for all samples, taken from the gradients
    of as many samples at a time as fit. So the less fits, the more often the objective is run. It
    sees the same random numbers at every turn, and torch's generators are left as they were.
    """
    count = next(entry.shape[0] for entry in batch.values() if entry.dim())
    device = next(iter(parameters.values())).device
    turns, together = _turns(parameters, masks or {}, count, memory)
    products = torch.zeros(count, count, dtype=torch.float64, device=device)
    for turn in turns:
        with torch.random.fork_rng([] if device.type == "cpu" else [device]):
            products += _turn(objective, parameters, batch, turn, together)
    return products


class _Piece(NamedTuple):
    """Some of the living entries of one parameter: the columns of one turn."""

    name: str
    mask: Tensor | None
    """None: all live."""
    start: int
    stop: int

    def of(self, gradients: Tensor) -> Tensor:
        """``[B, *shape] -> [B, stop - start]``."""
        flat = gradients.flatten(1)
        if self.mask is None:
            return flat[:, self.start : self.stop]
        living = self.mask.flatten().nonzero().squeeze(1)[self.start : self.stop]
        return flat.index_select(1, living.to(flat.device))


def _turns(
    parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], count: int, memory: int
) -> tuple[list[list[_Piece]], int]:
    """Each turn's columns, and the samples whose gradients are taken at a time.

    Turns are filled with whole parameters; those that alone fill one are divided. The samples
    are as many at all turns, so that random draws are the same.
    """
    size = max(parameter.element_size() for parameter in parameters.values())
    width = max(1, int(HELD * memory) // (count * size))
    turns: list[list[_Piece]] = []
    room = 0
    for name, parameter in parameters.items():
        mask = masks.get(name)
        living = parameter.numel() if mask is None else int(mask.count_nonzero())
        mask = None if living == parameter.numel() else mask
        if 0 < living <= room:
            turns[-1].append(_Piece(name, mask, 0, living))
            room -= living
        elif living:
            step = -(-living // -(-living // width))
            pieces = [
                _Piece(name, mask, start, min(start + step, living))
                for start in range(0, living, step)
            ]
            turns += [[piece] for piece in pieces]
            room = width - (pieces[-1].stop - pieces[-1].start)
    held = max(sum(piece.stop - piece.start for piece in turn) for turn in turns)
    dense = max(sum(parameters[piece.name].numel() for piece in turn) for turn in turns)
    return turns, max(1, (memory - count * held * size) // (dense * size))


def _turn(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    pieces: list[_Piece],
    together: int,
) -> Tensor:
    """``[B, B]``: the part of the products that these columns make up."""
    wanted = {piece.name: parameters[piece.name] for piece in pieces}
    others = {n: p.detach() for n, p in parameters.items() if n not in wanted}

    def of_wanted(some: dict[str, Tensor], sample: dict[str, Tensor]) -> Tensor:
        return objective(others | some, sample)

    count = next(entry.shape[0] for entry in batch.values() if entry.dim())
    width = sum(piece.stop - piece.start for piece in pieces)
    columns = next(iter(wanted.values())).new_empty(count, width)
    for first in range(0, count, together):
        last = min(first + together, count)
        part = {key: entry[first:last] if entry.dim() else entry for key, entry in batch.items()}
        gradients = per_sample_gradients(of_wanted, wanted, part)
        offset = 0
        for piece in pieces:
            after = offset + piece.stop - piece.start
            columns[first:last, offset:after] = piece.of(gradients.pop(piece.name))
            offset = after
    return (columns @ columns.T).double()
