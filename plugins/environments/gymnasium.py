"""Registered Gymnasium environments, with flat observations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, final

import numpy as np

from core.api import EnvironmentSpec, OptionError, UserError, did_you_mean
from plugins.environments import rendering
from plugins.environments.episodes import state_text, with_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.api import EnvironmentContext
    from plugins.environments.batched import BatchedEnv, Bounds
    from plugins.environments.options import GymnasiumOptions

Array = np.ndarray[Any, Any]


@final
class GymnasiumEnvironments:
    """See :class:`core.api.Environments`."""

    def __init__(self, options: GymnasiumOptions, context: EnvironmentContext) -> None:
        rendering.choose(required=False)
        self._options = options
        simulator = GymnasiumSimulator(options, seed=0)
        self.spec = with_time(simulator.spec()) if context.time_input else simulator.spec()
        self._bounds = simulator.bounds()
        simulator.close()

    @property
    def description(self) -> str:
        """Id, what is observed and versions."""
        return (
            f"gymnasium {self._options.id}, {state_text(self.spec)}, "
            f"gymnasium {version('gymnasium')}"
        )

    def make(self, count: int, seed: int) -> BatchedEnv:
        """``count`` environments in this process."""
        from plugins.environments.batched import BatchedEnv

        return BatchedEnv(
            lambda own_seed: GymnasiumSimulator(self._options, own_seed),
            *(self.spec, count, seed, self._bounds),
        )


@contextmanager
def _one_line(id_: str) -> Iterator[None]:
    """What Gymnasium says about a missing package, as one line."""
    import gymnasium

    try:
        yield
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"gymnasium {id_}: {' '.join(str(error).split())}") from error
    except ModuleNotFoundError as error:
        raise UserError(f"gymnasium {id_}: {error.msg}; pip install {error.name}") from error
    except ImportError as error:
        raise UserError(f"gymnasium {id_}: {' '.join(str(error).split())}") from error


def _registered(id_: str) -> Any:
    """The registration; raises ``OptionError`` with the nearest id."""
    import gymnasium

    package, _, name = id_.rpartition(":")
    with _one_line(id_):
        try:
            if package:
                import_module(package)
            return gymnasium.spec(name)
        except gymnasium.error.Error as error:
            near = did_you_mean(id_, gymnasium.registry)
            raise OptionError(
                "id",
                f"is not a registered environment: {id_}.{near} Environments of another "
                f"package are written package:ID; python -c 'import gymnasium; "
                f"gymnasium.pprint_registry()' lists the others.",
            ) from error


@contextmanager
def _quietly(registration: Any) -> Iterator[None]:
    """Without what every making of an older environment says: that it and its model are old.

    A preset names the version that its paper used, on purpose.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*is out of date", DeprecationWarning)
        if "mujoco" not in str(registration.entry_point):
            yield
            return
        import mujoco

        handler = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(lambda text: None)
        try:
            yield
        finally:
            mujoco.set_mju_user_warning(handler)


def _can_draw(registration: Any) -> bool:
    """Whether the environment can be made with ``render_mode="rgb_array"``."""
    from gymnasium.envs.registration import load_env_creator

    creator = registration.entry_point
    if isinstance(creator, str):
        creator = load_env_creator(creator)
    return "rgb_array" in getattr(creator, "metadata", {}).get("render_modes", ())


@final
class GymnasiumSimulator:
    """One environment; see :class:`plugins.environments.episodes.Simulator`."""

    def __init__(self, options: GymnasiumOptions, seed: int) -> None:
        import gymnasium

        registration = _registered(options.id)
        arguments: dict[str, Any] = {"disable_env_checker": True}
        if options.max_episode_steps is not None:
            arguments["max_episode_steps"] = options.max_episode_steps
        with _one_line(options.id), _quietly(registration):
            self._draws = _can_draw(registration)
            if self._draws:
                arguments["render_mode"] = "rgb_array"
            self._environment = gymnasium.make(options.id, **arguments)
        self._options = options
        self._space = self._environment.observation_space
        self._observation: Any = None
        self._seed: int | None = seed
        self._to_environment = _action_map(options, self._environment.action_space)

    def spec(self) -> EnvironmentSpec:
        """Shapes and limits."""
        from gymnasium.spaces import Discrete
        from gymnasium.spaces.utils import flatdim

        actions, registration = self._environment.action_space, self._environment.spec
        limit = None if registration is None else registration.max_episode_steps
        discrete = isinstance(actions, Discrete)
        return EnvironmentSpec(
            observation=(flatdim(self._space),),
            action=int(actions.n) if discrete else int(np.prod(actions.shape)),
            action_repeat=self._options.action_repeat,
            discrete=discrete,
            episode_steps=None if limit is None else math.ceil(limit / self._options.action_repeat),
        )

    def bounds(self) -> Bounds | None:
        """The bounds of the agent's actions, where they are not [-1, 1]."""
        from gymnasium.spaces import Box

        space = self._environment.action_space
        if not isinstance(space, Box) or self._options.rescale_actions:
            return None
        return space.low.ravel(), space.high.ravel()

    def random_state(self) -> dict[str, Any]:
        """The seed before the first reset, the generator's state after it."""
        if self._seed is not None:
            return {"seed": self._seed}
        state: dict[str, Any] = self._environment.unwrapped.np_random.bit_generator.state
        return {"generator": state}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`random_state` answered."""
        self._seed = state.get("seed")
        if self._seed is None:
            self._environment.unwrapped.np_random.bit_generator.state = state["generator"]

    def reset(self) -> None:
        """Begin an episode."""
        seed, self._seed = self._seed, None
        self._observation, _ = self._environment.reset(seed=seed)

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """Repeat the action; the end of the episode ends the repetition."""
        control, total = self._to_environment(action), 0.0
        for _ in range(self._options.action_repeat):
            self._observation, reward, terminated, truncated, _ = self._environment.step(control)
            total += float(reward)
            if terminated or truncated:
                return total, bool(terminated), bool(truncated)
        return total, False, False

    def observe(self, row: Array, *, first: bool) -> None:
        """The observation, flattened; discrete parts as one-hot vectors."""
        from gymnasium.spaces import Box
        from gymnasium.spaces.utils import flatten

        if isinstance(self._space, Box):
            row[:] = np.ravel(self._observation)
        else:
            row[:] = flatten(self._space, self._observation)

    def render(self, height: int, width: int) -> Array:
        """An RGB picture, uint8 ``[height, width, 3]``, by nearest pixel from Gymnasium's own."""
        if not self._draws:
            raise UserError(f"gymnasium {self._options.id} cannot be rendered")
        if hasattr(self._environment.unwrapped, "mujoco_renderer"):
            rendering.choose(required=True)
        with _one_line(self._options.id):
            picture = np.asarray(self._environment.render(), np.uint8)
        rows = np.arange(height) * picture.shape[0] // height
        columns = np.arange(width) * picture.shape[1] // width
        return np.ascontiguousarray(picture[rows][:, columns])

    def close(self) -> None:
        """Close the environment and its window or context."""
        self._environment.close()


def _action_map(options: GymnasiumOptions, space: Any) -> Any:
    """What turns the agent's action into one of ``space``."""
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete):
        return lambda action: int(action) + int(space.start)
    if not isinstance(space, Box):
        kind = type(space).__name__
        raise OptionError("id", f"has {kind} actions; Box and Discrete are supported")
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if not options.rescale_actions:
        return lambda action: np.clip(action.reshape(space.shape), space.low, space.high)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise OptionError("rescale_actions", f"must be false for {options.id}: no action bounds")
    half = (high - low) / 2.0

    def rescale(action: Array) -> Array:
        scaled = low + half * (action.reshape(space.shape).astype(np.float64) + 1.0)
        clipped: Array = np.clip(scaled, low, high).astype(space.dtype)
        return clipped

    return rescale
