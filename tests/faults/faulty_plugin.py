"""A plugin that fails where it is told to: tests copy this file, with the first lines changed.

Each component is a built-in's, of a class of its own whose methods may raise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import plugins.data
import plugins.execution
import plugins.loggers
import plugins.losses
import plugins.networks
import plugins.optimizers
from core.api import Component, RunStopped, UserError, hookimpl
from plugins.testing.toys import toy

POINT = ""
CALL = 0
ERROR = "RuntimeError"
# --- what tests change ends here
ERRORS = {
    e.__name__: e for e in (RuntimeError, UserError, RunStopped, KeyboardInterrupt, SystemExit)
}
calls: list[str] = []


def reach(point: str) -> None:
    if point == POINT:
        calls.append(point)
        if len(calls) >= CALL:
            raise ERRORS[ERROR]("a test's fault")


def failing(thing: Any, kind: str, *methods: str, late: bool = False) -> Any:
    """``thing`` with methods that reach a point first, or with ``late`` last."""
    known = type(thing)

    def wrap(method: str) -> Any:
        def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
            if not late:
                reach(f"{kind}.{method}")
            answer = getattr(known, method)(self, *arguments, **named)
            if late:
                reach(f"{kind}.{method}")
            return answer

        return wrapped

    thing.__class__ = type(known)(known.__name__, (known,), {m: wrap(m) for m in methods})
    return thing


def offer(kind: str, offered: Any, name: str, change: Any) -> list[Any]:
    (known,) = [c for c in offered if c.name == name]

    def build(options: Any, context: Any) -> Any:
        reach(f"{kind}.build")
        return change(known.build(options, context))

    return [dataclasses.replace(known, name="faulty", build=build)]


class Maker:
    """An environment component, or a network's, whose products fail."""

    def __init__(self, known: Any, change: Any) -> None:
        self.known, self.change = known, change

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.known, name)
        if name not in ("make", "actor", "critic"):
            return value
        return lambda *arguments, **named: self.change(value(*arguments, **named))


@hookimpl
def register_environments() -> list[Any]:
    methods = ("step_and_maybe_reset", "reset", "state_dict", "load_state_dict")
    return offer(
        "environments",
        toy.register_environments(),
        "toy_states",
        lambda maker: Maker(maker, lambda made: failing(made, "environments", *methods)),
    )


@hookimpl
def register_networks() -> list[Any]:
    return offer(
        "networks",
        plugins.networks.register_networks(),
        "mlp",
        lambda maker: Maker(maker, lambda made: failing(made, "networks", "forward")),
    )


@hookimpl
def register_losses() -> list[Any]:
    def change(loss: Any) -> Any:
        known = type(loss)

        def phases(self: Any) -> Any:
            def run(phase: Any) -> Any:
                def objective(batch: Any) -> Any:
                    reach("losses.phase")
                    return phase.run(batch)

                return dataclasses.replace(phase, run=objective)

            return tuple(run(phase) for phase in known.phases.fget(self))

        loss = failing(loss, "losses", "prepare", "act", "observe")
        loss.__class__ = type(known)(known.__name__, (type(loss),), {"phases": property(phases)})
        return loss

    return offer("losses", plugins.losses.register_losses(), "sac", change)


@hookimpl
def register_optimizers() -> list[Any]:
    def change(make: Any) -> Any:
        return lambda *arguments: failing(make(*arguments), "optimizers", "step")

    return offer("optimizers", plugins.optimizers.register_optimizers(), "adam", change)


@hookimpl
def register_data() -> list[Any]:
    def change(data: Any) -> Any:
        return failing(failing(data, "data", "extend", "batches"), "data", "save", late=True)

    return offer("data", plugins.data.register_data(), "replay", change)


@hookimpl
def register_execution() -> list[Any]:
    def change(execution: Any) -> Any:
        return failing(execution, "execution", "attach", "constrain_gradients")

    return offer("execution", plugins.execution.register_execution(), "masked", change)


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """None."""


class Rotating:
    """Masks that change at every hundredth frame."""

    target, batch = "critic", None

    def draw(self, parameters: Any, generator: Any) -> Any:
        reach("masks.draw")
        kernels = {n: p for n, p in parameters.items() if p.ndim > 1}
        wrong = POINT == "masks.draw answers"
        return {n: (p[:1] if wrong else p).bool() | True for n, p in kernels.items()}

    def due(self, last: int, frame: int) -> bool:
        reach("masks.due")
        return frame // 100 > max(last, 0) // 100

    def change(self, view: Any) -> Any:
        reach("masks.change")
        wrong = POINT == "masks.change answers"
        return {n: (m[:1] if wrong else m.roll(1)) for n, m in view.masks.items()}


class Stepping:
    """A diagnostic, an intervention, and a logger."""

    batch, every = None, 100

    def due(self, last: int, frame: int) -> bool:
        reach("interventions.due")
        return frame // 100 > last // 100

    def intervene(self, subject: Any) -> dict[str, Any]:
        reach("interventions.intervene")
        return {"x": "no number" if POINT == "interventions.answers" else 1.0}

    def measure(self, probe: Any) -> dict[str, float]:
        reach("diagnostics.measure")
        return {"x": 1.0}

    def write(self, step: int, scalars: Any) -> None:
        reach("loggers.write")

    def video(self, step: int, path: Any) -> None:
        pass

    def close(self) -> None:
        reach("loggers.close")


def plain(kind: str, thing: type) -> list[Any]:
    def build(options: NoOptions, context: Any) -> Any:
        if kind == "loggers" and POINT == "loggers.build":
            (context.run.directory / "own").mkdir()
            (context.run.directory / "own" / "log").touch()
        reach(f"{kind}.build")
        return thing()

    return [Component("faulty", NoOptions, build, "a test's")]


@hookimpl
def register_masks() -> list[Any]:
    return plain("masks", Rotating)


@hookimpl
def register_diagnostics() -> list[Any]:
    return plain("diagnostics", Stepping)


@hookimpl
def register_interventions() -> list[Any]:
    return plain("interventions", Stepping)


@hookimpl
def register_loggers() -> list[Any]:
    return plain("loggers", Stepping)


@hookimpl
def evaluated(step: int) -> None:
    reach("evaluated")


@hookimpl
def run_finished(outcome: str) -> None:
    reach("run_finished")
