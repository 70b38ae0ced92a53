"""Which observations a design can take, in words that name the one to choose instead."""

from __future__ import annotations

from core.api import EnvironmentSpec, UserError


def flat_size(network: str, spec: EnvironmentSpec, other: str = "drq_cnn") -> int:
    """How many numbers an observation is; ``other`` is the network for pixels.

    Raises:
        UserError: observations are not flat.
    """
    if spec.pixels or len(spec.observation) != 1:
        raise UserError(
            f"network '{network}' needs flat observations; the environment gives "
            f"{spec.observation}. Choose network '{other}', or set environment.pixels: false"
        )
    return spec.observation[0]


def frame_shape(
    network: str, spec: EnvironmentSpec, smallest: int, other: str
) -> tuple[int, int, int]:
    """Channels, height and width of a frame; ``other`` is the network for states.

    Raises:
        UserError: observations are not frames, or a side is below ``smallest``.
    """
    if not spec.pixels or len(spec.observation) != 3:
        raise UserError(
            f"network '{network}' needs pixel observations; the environment gives "
            f"{spec.observation}. Set environment.pixels: true, or choose network '{other}'"
        )
    channels, height, width = spec.observation
    if min(height, width) < smallest:
        raise UserError(
            f"network '{network}' needs frames of at least {smallest}x{smallest} pixels, "
            f"got {height}x{width}; raise environment.size"
        )
    return channels, height, width
