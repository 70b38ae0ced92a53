"""Deterministic episodes on environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from core.agent.policy import deterministic_action
from core.agent.randomness import derived_seed, untouched_randomness

if TYPE_CHECKING:
    from numpy import ndarray
    from torchrl.envs import EnvBase

    from core.api.environments import Environments

AT_ONCE = 10
"""Episodes that run side by side in this process."""
FRAMES_PER_SECOND = 30


@dataclass
class Evaluation:
    """Undiscounted returns and lengths (agent steps), one per episode."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        returns = torch.tensor(self.returns, dtype=torch.float64)
        return {
            "eval/return": returns.mean().item(),
            "eval/return_std": returns.std(correction=0).item(),
            "eval/return_min": returns.min().item(),
            "eval/return_max": returns.max().item(),
            "eval/length": sum(self.lengths) / len(self.lengths),
            "eval/episodes": float(len(self.returns)),
        }


class Evaluator:
    """Evaluates an agent; disturbs neither its statistics nor any global generator.

    Every evaluation seeds its environments anew, from the run's seed and the frame it is
    made at, so that a resumed run evaluates exactly as an undisturbed one.
    """

    def __init__(
        self,
        environments: Environments,
        loss: Any,
        device: torch.device,
        seed: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._environments = environments
        self._loss = loss
        self._device = device
        self._seed = seed
        self._stop = stop

    def __call__(self, episodes: int, step: int, video: Path | None = None) -> Evaluation | None:
        """Run ``episodes`` episodes; None if a stop was asked for before they ended.

        With ``video``, the first episode is written to that mp4 file.
        """
        result = Evaluation()
        with untouched_randomness():
            while (left := episodes - len(result.returns)) > 0:
                purpose = f"evaluation at {step}, episode {len(result.returns)}"
                seed = derived_seed(self._seed, purpose)
                environment = self._environments.make(min(left, AT_ONCE), seed)
                draw = video is not None and not result.returns
                try:
                    pictures = self._episodes(environment, draw, result)
                finally:
                    environment.close()
                if pictures is None:
                    return None
                if video is not None and draw:
                    write_video(video, pictures)
        return result

    def _episodes(
        self, environment: EnvBase, draw: bool, result: Evaluation
    ) -> list[ndarray[Any, Any]] | None:
        """An episode of each environment, added to ``result``; the pictures, None if stopped."""
        count = environment.batch_size.numel()
        pictures: list[ndarray[Any, Any]] = []
        tensordict = environment.reset()
        returns = torch.zeros(count, dtype=torch.float64)
        lengths = torch.zeros(count, dtype=torch.int64)
        running = torch.ones(count, dtype=torch.bool)
        while bool(running.any()):
            if self._stop():
                return None
            if draw and running[0]:
                pictures.append(environment.render(0))
            observation = tensordict.get("observation")
            tensordict.set("action", deterministic_action(self._loss, observation, self._device))
            stepped, tensordict = environment.step_and_maybe_reset(tensordict)
            returns += stepped.get(("next", "reward"))[:, 0] * running
            lengths += running
            running &= ~stepped.get(("next", "done"))[:, 0]
        result.returns += returns.tolist()
        result.lengths += lengths.tolist()
        return pictures


def write_video(path: Path, pictures: list[ndarray[Any, Any]]) -> None:
    """Write RGB pictures, uint8 ``[height, width, 3]`` of even sides, as an H.264 mp4."""
    import imageio.v3 as imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, pictures, plugin="pyav", codec="libx264", fps=FRAMES_PER_SECOND)
