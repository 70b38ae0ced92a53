"""A pruning scheme tried: what its first masks are, and what becomes of them in runs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch

from core.api.errors import UserError
from core.api.masks import DynamicMasks, MaskContext
from plugins.testing.harness import agents
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness import mask_trials as trials
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.mask_trials import Trial
from plugins.testing.suites.component import ComponentSuite

Shapes = Mapping[str, torch.Size]


class TriedMasks(ComponentSuite):
    """What the checks of :class:`plugins.testing.MaskSuite` look at, and what an author states."""

    kind = "masks"
    switches: ClassVar[Mapping[str, bool]] = {
        "random": True,
        "exact": True,
        "replay": True,
        "streaming": True,
        "encoder": True,
        "prunes": True,
    }
    """``random``: other mask seeds give other masks. ``exact``: densities are met to the weight.
    ``replay``, ``streaming``: it is for such agents. ``encoder``: it prunes convolutions too.
    ``prunes``: it removes something."""
    frames: ClassVar[int] = 1000
    """Environment frames of a run in the checks, in which there are 50 updates. A scheme that
    changes masks must do so at least once; its schedule is among ``options``."""
    keeps_count: ClassVar[bool] = False
    """Changes leave the number of living weights of every parameter as it is."""
    prunes_vectors: ClassVar[bool] = False
    """It prunes biases and norms too."""

    def density(self, role: str, name: str, shape: torch.Size) -> float | None:
        """The density that a parameter is to have when the run ends; None: not stated.

        For schemes that state densities layer by layer; override it.
        """
        return None

    def counted(self, shapes: Shapes) -> Iterable[str]:
        """The parameters of a network that the option ``sparsity``, if there is one, counts.

        By default as the built-in schemes: by the options ``counted`` and ``dense``.
        """
        options = self.made_options()
        everything = getattr(options, "counted", "kernels") == "all"
        for name, shape in shapes.items():
            left = any(_matches(name, pattern) for pattern in getattr(options, "dense", ()))
            if (everything or len(shape) > 1) and not left:
                yield name

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> MaskContext:
        return MaskContext(self.frames)

    @property
    def modes(self) -> list[str]:
        """The agents that the scheme is for, as :data:`plugins.testing.harness.agents.PRESETS` names them."""
        if self.build().target == "encoder":
            return ["pixels"]
        return [mode for mode in ("replay", "streaming") if self.capable(mode)]

    def start(self, mode: str | None = None, changed: Any = None, **nodes: Any) -> TinyRun:
        """A run with the scheme, by default of the first agent that it is for."""
        scheme = {"name": self.component, **self.options, **(changed or {})}
        assert self.modes, "capabilities say no to 'replay' and to 'streaming': nothing is left"
        try:
            run: TinyRun = trials.start(
                self.plugins, mode or self.modes[0], scheme, self.frames, **nodes
            )
        except UserError as error:
            raise AssertionError(
                f"{error}\nno {mode} agent can be made with it; if that is as it should be, say "
                f"capabilities = {{'{mode}': False}}"
            ) from None
        return run

    def trial(self, mode: str, execution: str = "masked") -> Trial:
        """The scheme tried in a whole run; made once for all checks."""
        suite: Any = type(self)
        return _trial(suite, mode, execution)

    def dynamic(self) -> Any:
        """The scheme, if its masks change in training; else the check is skipped."""
        scheme = self.build()
        if not isinstance(scheme, DynamicMasks):
            self.skip("its masks do not change in training")
        return scheme

    def drawn(self, seed: int = 0) -> dict[str, dict[str, Any]]:
        """The first masks of each network that the scheme is for, by role."""
        scheme, found = self.build(), {}
        for role, parameters in dense_parameters(self.modes[0]).items():
            if scheme.target in (role, "all"):
                masks = scheme.draw(parameters, torch.Generator().manual_seed(seed))
                found[role] = dict(masks.items() if isinstance(masks, Mapping) else masks)
        return found


@functools.cache
def _trial(suite: Any, mode: str, execution: str) -> Trial:
    return trials.attempt(suite().start(mode, execution={"name": execution}))


@functools.cache
def _dense(mode: str) -> TinyRun:
    values = agents.preset(mode)
    return TinyRun(offered.built_ins(), values, agents.SPECS[mode])


def dense_parameters(mode: str) -> dict[str, dict[str, Any]]:
    """Of the networks of an agent without masks, by role."""
    networks = _dense(mode).agent.parts.modules
    return {role: dict(network.named_parameters()) for role, network in networks.items()}


def dense_shapes(mode: str) -> Mapping[str, Shapes]:
    """Of the same parameters."""
    return _dense(mode).agent.parts.initial


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
