"""Drives a run for the command line: progress, loggers, watchers, signals, last words."""

from __future__ import annotations

import gc
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from core.api.errors import RunStopped
from core.api.loggers import LoggerContext, RunInfo
from core.cli.progress import ProgressView
from core.plugins.attribution import blame, blamed, verdict
from core.training.events import Disabled, Event, Measured, Saved
from core.training.experiment import build
from core.training.loop import Run
from core.training.record import amend_record

if TYPE_CHECKING:
    from core.api.loggers import Logger
    from core.config import RunConfig
    from core.plugins import Plugins

FINISHED, FAILED = 0, 1


@dataclass
class StopRequest:
    """Set by Ctrl-C or SIGTERM; the loop looks at it between iterations."""

    signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @contextmanager
    def listening(self, console: Console) -> Iterator[None]:
        """The first signal asks for a clean stop, the second one ends the process at once."""
        previous = {}

        def handle(number: int, frame: FrameType | None) -> None:
            self.signal = number
            console.print("stopping: writing a checkpoint (again to stop without one)")
            signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Loggers:
    """The preset's loggers. One that raises is reported once and left out from then on."""

    def __init__(self, config: RunConfig, info: RunInfo, resumed: bool) -> None:
        self._loggers: dict[str, Logger] = {}
        for selection in config.loggers:
            context = LoggerContext(info, resumed)
            self._loggers[selection.title] = selection.build(context)

    def call(self, method: str, *arguments: Any) -> None:
        for title, logger in list(self._loggers.items()):
            try:
                getattr(logger, method)(*arguments)
            except (Exception, SystemExit) as error:
                del self._loggers[title]
                warnings.warn(
                    f"{title} failed and is left out from now on: {error!r}", stacklevel=2
                )


class Session:
    """One process's share of a run: wired, then driven."""

    def __init__(
        self,
        config: RunConfig,
        plugins: Plugins,
        directory: Path,
        name: str,
        *,
        state: dict[str, Any] | None = None,
        chosen: Mapping[str, Any] | None = None,
    ) -> None:
        """Wire the run; with the ``state`` of a checkpoint, go on from there.

        ``chosen`` is what the execution backend reported in an earlier process of the run.
        """
        experiment = build(config, directory, chosen)
        self.plugins = plugins
        self.resumed = state is not None
        self.info = RunInfo(name, directory, experiment.config.plain())
        self.loggers = Loggers(experiment.config, self.info, self.resumed)
        self.stop = StopRequest()
        self.run = Run(experiment, directory, self.stop)
        if state is not None:
            self.run.restore(state)
        self._saved = self.run.counters.saved
        """The frame of the checkpoint that is on disk."""

    def drive(self, console: Console, lines: Mapping[str, str]) -> int:
        """Run to the end, a signal or a failure; returns the process's exit code.

        ``lines`` are what is printed first, by title.
        """
        for title, text in ({"run directory": str(self.info.directory)} | dict(lines)).items():
            console.print(f"{title}: {text}", highlight=False, markup=False)
        if self.resumed:
            console.print(f"resumed at frame {self.run.counters.frames:,}", highlight=False)
        self.plugins.tell("run_started", run=self.info, resumed=self.resumed)
        outcome = "failed"
        failure: BaseException | None = None
        gc.freeze()  # what is wired by now stays: the collector need not look at it again
        gc.enable()
        try:
            view = ProgressView(console, self.run.options.frames, self.run.counters.frames)
            selections = self.run.experiment.config.selections
            with (
                blamed(self.plugins, selections, self._whereabouts),
                self.stop.listening(console),
                view,
            ):
                # Nobody here is handed the agent: loggers and watchers get numbers and paths.
                for event in self.run.events():
                    self._dispatch(event)
                    view.show(event)
            outcome = "finished" if self.run.counters.finished else "interrupted"
        except RunStopped as error:
            failure = error
            console.print(self._stopped(error), highlight=False, markup=False)
            return FAILED
        except BaseException as error:
            failure = error
            raise
        finally:
            self._end(outcome, failure)
        console.print(self._last_words(outcome), highlight=False, markup=False)
        return FINISHED if outcome == "finished" else 128 + (self.stop.signal or signal.SIGINT)

    def _end(self, outcome: str, failure: BaseException | None) -> None:
        """Write down how it ended, before anybody who might fail is told."""
        step = self.run.counters.frames
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        noted = {} if failure is None else {"error": self._noted(failure)}
        directory = self.info.directory
        amend_record(directory, outcome=outcome, frames=step, ended=ended, **noted)
        self.loggers.call("close")
        self.plugins.tell("run_finished", run=self.info, step=step, outcome=outcome)

    def _noted(self, failure: BaseException) -> dict[str, Any]:
        """What ``run.json`` says of a failure."""
        who = blame(failure, self.plugins)
        return {
            "type": type(failure).__name__,
            "message": str(failure),
            "plugin": who and {"distribution": who.distribution, "version": who.version},
            "frame": self.run.counters.frames,
        }

    def _dispatch(self, event: Event) -> None:
        loggers, tell = self.loggers, self.plugins.tell
        match event:
            case Measured():
                loggers.call("write", event.step, event.scalars)
                if event.video is not None:
                    loggers.call("video", event.step, event.video)
                if event.source == "evaluation":
                    tell("evaluated", run=self.info, step=event.step, metrics=event.scalars)
            case Disabled():
                self._disabled(event)
            case Saved():
                self._saved = event.step
                tell("checkpoint_saved", run=self.info, step=event.step, path=event.path)
            case _:
                pass

    def _disabled(self, event: Disabled) -> None:
        """Say so once, and note it in the run's record."""
        selections = self.run.experiment.config.diagnostics
        own = (s for s in selections if f"diagnostic '{s.component.name}'" == event.what)
        title = next((selection.title for selection in own), event.what)
        error = f"{type(event.error).__name__}: {event.error}"
        warnings.warn(f"{title} failed and is left out from now on: {error}", stacklevel=2)
        note = {"what": event.what, "title": title, "frame": event.step, "error": error}
        amend_record(self.info.directory, disabled=[note])

    def _stopped(self, error: RunStopped) -> str:
        if self._saved >= 0:
            kept = (
                f"last good checkpoint: frame {self._saved:,}, {self.info.directory / 'checkpoint'}"
            )
        else:
            kept = "no checkpoint had been written yet (see checkpoint.every)"
        metrics = self.info.directory / "metrics.jsonl"
        lines = [f"stopped: {error}", kept, f"metrics: {metrics}"]
        if blame(error, self.plugins) is not None:
            lines.append(verdict(error, self.plugins, self.run.experiment.config.selections))
        return "\n    ".join(lines)

    def _whereabouts(self) -> str:
        """Where a failed run is, and what is left of it."""
        saved = f"frame {self._saved:,}" if self._saved >= 0 else "none"
        return f"the run: {self.info.directory}, last good checkpoint: {saved}"

    def _last_words(self, outcome: str) -> str:
        counters = self.run.counters
        frames, measuring = counters.frames, counters.measuring
        if outcome == "finished":
            share = measuring / max(counters.seconds, 1e-9)
            looking = f"\ndiagnostics took {measuring:.1f} s, {share:.1%} of the time"
            words = f"finished: {frames:,} frames; {self.info.directory}"
            return words + (looking if measuring else "")
        return (
            f"stopped at frame {frames:,}; go on with:\n"
            f"    python -m core resume {self.info.directory}"
        )
