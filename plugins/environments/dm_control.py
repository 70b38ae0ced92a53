"""Tasks of the DeepMind Control Suite, from states or from pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from core.api import EnvironmentSpec, OptionError, RunStopped, UserError, did_you_mean
from plugins.environments import rendering
from plugins.environments.episodes import state_text, with_time

if TYPE_CHECKING:
    from core.api import EnvironmentContext
    from plugins.environments.batched import BatchedEnv
    from plugins.environments.options import DMControlOptions

Array = np.ndarray[Any, Any]
FAST_FLAGS = {"shadow": False, "reflection": False}
UNLIMITED = 1e9
"""Controls without a limit have MuJoCo's largest number, 1e10, as bounds: left as they are."""


@final
class DMControlEnvironments:
    """See :class:`core.api.Environments`."""

    def __init__(self, options: DMControlOptions, context: EnvironmentContext) -> None:
        if context.time_input and options.pixels:
            raise UserError(
                "the time can only be appended to states, and these are pixels; choose a network "
                "for pixels (stream_cnn), or set network.time_input: false"
            )
        self._renderer = rendering.choose(required=options.pixels)
        _check_task(options.task)
        self._options = options
        simulator = DMControlSimulator(options, seed=0)
        self.spec = with_time(simulator.spec()) if context.time_input else simulator.spec()
        simulator.close()

    @property
    def description(self) -> str:
        """Task, what is observed, renderer and versions."""
        options = self._options
        observed = state_text(self.spec)
        if options.pixels:
            size = f"{options.size}x{options.size}x3 stacked {options.frame_stack}"
            fast = ", fast rendering" if options.rendering == "fast" else ""
            observed = f"pixels {size}{fast}, {self._renderer}"
        packages = (f"{name} {version(name)}" for name in ("dm_control", "mujoco"))
        return ", ".join((f"dm_control {options.task}", observed, *packages))

    def make(self, count: int, seed: int) -> BatchedEnv:
        """``count`` environments in this process."""
        from plugins.environments.batched import BatchedEnv

        return BatchedEnv(
            lambda own_seed: DMControlSimulator(self._options, own_seed), self.spec, count, seed
        )


def _check_task(task: str) -> None:
    try:
        from dm_control import suite
    except ImportError as error:
        raise UserError(
            f"dm_control cannot be imported: {error}; pip install dm_control"
        ) from error
    tasks = ["-".join(pair) for pair in suite.ALL_TASKS]
    if task not in tasks:
        near = did_you_mean(task, tasks)
        raise OptionError("task", f"has no such choice: {task}.{near} Choices: {', '.join(tasks)}.")


@final
class DMControlSimulator:
    """One task; see :class:`plugins.environments.episodes.Simulator`.

    Steps as ``dm_control.rl.control.Environment.step`` does, except that the observation is
    only worked out where it is used: not within a repeated action, and not for pixels.
    """

    def __init__(self, options: DMControlOptions, seed: int) -> None:
        from dm_control.rl.control import PhysicsError

        self._diverged = PhysicsError
        self._environment = _load(options, seed)
        self._physics, self._task = self._environment.physics, self._environment.task
        self._options = options
        step = self._environment.control_timestep() / self._physics.timestep()
        self._physics_steps = round(step)
        # the only record of the time limit, in frames; infinite for some tasks
        self._frame_limit: float = self._environment._step_limit
        self._frames = 0
        self._low, self._scale = _control_range(self._environment.action_spec())
        self._camera_id = _camera(options, self._physics.model.ncam)
        self._cameras: dict[tuple[int, int], Any] = {}
        if options.rendering == "fast":
            _draw_fast(self._physics.model.vis)

    def spec(self) -> EnvironmentSpec:
        """Shapes and limits, found without drawing anything."""
        options, limit = self._options, self._frame_limit
        observation: tuple[int, ...]
        if options.pixels:
            observation = (3 * options.frame_stack, options.size, options.size)
        else:
            parts = self._environment.observation_spec().values()
            observation = (sum(int(np.prod(part.shape)) for part in parts),)
        frames = None if math.isinf(limit) else math.ceil(limit)
        return EnvironmentSpec(
            observation=observation,
            action=len(self._low),
            action_repeat=options.action_repeat,
            pixels=options.pixels,
            frame_stack=options.frame_stack if options.pixels else 1,
            episode_steps=None if frames is None else math.ceil(frames / options.action_repeat),
        )

    def random_state(self) -> dict[str, Any]:
        """The task's Mersenne Twister."""
        state = self._task.random.get_state(legacy=False)
        inner = dict(state["state"], key=torch.from_numpy(state["state"]["key"].astype(np.int64)))
        return {**state, "state": inner}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`random_state` answered."""
        inner = dict(state["state"], key=state["state"]["key"].numpy().astype(np.uint32))
        self._task.random.set_state({**state, "state": inner})

    def reset(self) -> None:
        """Begin an episode."""
        self._environment.reset()
        self._frames = 0

    def step(self, action: Array) -> tuple[float, bool, bool]:
        """Repeat the action; the end of the episode ends the repetition.

        Clipped here, not left to MuJoCo: the rewards of some tasks read the control itself.
        """
        task, physics = self._task, self._physics
        control, total = action.clip(-1.0, 1.0), 0.0
        if self._scale is not None:
            control = self._low + self._scale * (control.astype(np.float64) + 1.0)
        for _ in range(self._options.action_repeat):
            task.before_step(control, physics)
            try:
                physics.step(self._physics_steps)
            except self._diverged as error:
                raise RunStopped(f"dm_control {self._options.task}: {error}") from error
            task.after_step(physics)
            total += task.get_reward(physics)
            self._frames += 1
            if self._frames >= self._frame_limit:
                return total, False, True
            discount = task.get_termination(physics)
            if discount is not None:
                return total, discount == 0, discount != 0
        return total, False, False

    def observe(self, row: Array, *, first: bool) -> None:
        """The state, in the task's own order, or the pictures, oldest first."""
        if not self._options.pixels:
            parts = self._task.get_observation(self._physics).values()
            np.concatenate([np.ravel(part) for part in parts], out=row, casting="same_kind")
            return
        size = self._options.size
        picture = self._draw(size, size).transpose(2, 0, 1)
        if first:
            row.reshape(-1, 3, size, size)[:] = picture
        else:
            row[:-3] = row[3:]
            row[-3:] = picture

    def render(self, height: int, width: int) -> Array:
        """An RGB picture, uint8 ``[height, width, 3]``."""
        rendering.choose(required=True)
        return self._draw(height, width).copy()

    def _draw(self, height: int, width: int) -> Array:
        """The camera's own buffer, overwritten by its next picture."""
        from dm_control.mujoco import Camera

        camera = self._cameras.get((height, width))
        if camera is None:
            camera = Camera(self._physics, height, width, self._camera_id)
            self._cameras[height, width] = camera
        flags = FAST_FLAGS if self._options.rendering == "fast" else None
        picture: Array = camera.render(render_flag_overrides=flags)
        return picture

    def close(self) -> None:
        """Free the model and its OpenGL context."""
        self._cameras.clear()
        self._physics.free()


def _load(options: DMControlOptions, seed: int) -> Any:
    from dm_control import suite

    domain, _, task = options.task.partition("-")
    arguments: dict[str, Any] = {"random": seed}
    if options.time_limit is not None:
        arguments["time_limit"] = options.time_limit
    # the suite's own model files call forth a deprecation warning at every load
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return suite.load(domain, task, task_kwargs=arguments)
    finally:
        logger.setLevel(level)


def _control_range(spec: Any) -> tuple[Array, Array | None]:
    """The lower bounds and half the widths; no widths where nothing is to be rescaled."""
    low = np.broadcast_to(np.asarray(spec.minimum, np.float64), spec.shape)
    high = np.broadcast_to(np.asarray(spec.maximum, np.float64), spec.shape)
    limited = np.maximum(np.abs(low), np.abs(high)) < UNLIMITED
    low, high = np.where(limited, low, -1.0), np.where(limited, high, 1.0)
    unchanged = bool((low == -1.0).all() and (high == 1.0).all())
    return low, None if unchanged else (high - low) / 2.0


def _camera(options: DMControlOptions, cameras: int) -> int:
    if options.camera is None:
        return 2 if options.task.startswith("quadruped-") else 0
    if options.camera >= cameras:
        raise OptionError(
            "camera", f"must be below {cameras} for {options.task}, got {options.camera}"
        )
    return options.camera


def _draw_fast(vis: Any) -> None:
    """Before the OpenGL context is made: no multisampling, hardly a shadow map."""
    vis.quality.offsamples = 0
    vis.quality.shadowsize = 16
