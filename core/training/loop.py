"""The training loop: one generator of events for every data source.

Replay and streaming differ only in what ``data.batches()`` yields. Whoever reads the events
(progress bar, loggers, plugins) cannot change the run; work that is part of the run's state
happens in here, and an event is handled before the loop goes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.agent.randomness import restore_random_state
from core.api.errors import RunStopped
from core.training import checkpoint
from core.training.episodes import EpisodeTracker
from core.training.evaluation import Evaluator
from core.training.events import Collected, Disabled, Ended, Measured, Saved
from core.training.record import MetricsFile, write_matrix
from core.training.throughput import Throughput

if TYPE_CHECKING:
    from core.training.events import Event, Source
    from core.training.experiment import Experiment


class Run:
    """A wired experiment in its directory, as a generator of events."""

    def __init__(self, experiment: Experiment, directory: Path, stop: Callable[[], bool]) -> None:
        self.experiment = experiment
        self.directory = directory
        self.options = experiment.config.run
        self.counters = experiment.counters
        self.episodes = EpisodeTracker(experiment.config.count)
        self.stop = stop
        self.evaluator = Evaluator(
            experiment.environments,
            experiment.agent.loss,
            experiment.agent.device,
            self.options.seed,
            stop,
        )
        self.throughput = Throughput(self.counters)
        self.metrics: MetricsFile | None = None
        self._saved_state: dict[str, Any] | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state that :func:`core.training.checkpoint.read` gave."""
        checkpoint.restore(self.directory, state, self.experiment, self.episodes)
        # What is still needed: the rest may be as large as the agent.
        self._saved_state = {key: state[key] for key in ("metrics", "random")}

    def events(self) -> Iterator[Event]:
        """Train to the end, or until a stop is asked for.

        Raises:
            RunStopped: an update was not finite. The last checkpoint stays as it is.
        """
        state = self._saved_state
        self.metrics = MetricsFile(self.directory, keep=0 if state is None else state["metrics"])
        collector = self.experiment.collector()
        if state is not None:
            restore_random_state(state["random"])
        self.throughput.start(self.counters.frames, self.experiment.agent.learner.updates)
        try:
            yield from self._train(iter(collector))
        except RunStopped as error:
            raise RunStopped(f"frame {self.counters.frames}: {error}") from None
        finally:
            self.metrics.close()
            self.experiment.close()

    def _train(self, collected: Iterator[Any]) -> Iterator[Event]:
        counters = self.counters
        while True:
            yield from self._due()
            if self.stop() or self.finished:
                break
            yield from self._iterate(next(collected))
            yield Collected(counters.frames, self.experiment.agent.learner.updates)
        counters.finished = self.finished and not self.stop()
        yield self._save()
        yield Ended(counters.frames, "finished" if counters.finished else "interrupted")

    @property
    def finished(self) -> bool:
        return self.counters.frames >= self.options.frames

    def _iterate(self, transitions: Any) -> Iterator[Event]:
        """Take one batch of transitions and learn what the data source asks for."""
        experiment, counters = self.experiment, self.counters
        experiment.data.extend(transitions)
        self.episodes.extend(transitions)
        repeat = experiment.agent.spec.action_repeat
        counters.frames += transitions.numel() * repeat
        learner, diagnostics = experiment.agent.learner, experiment.diagnostics
        if diagnostics.wants_recent(counters.frames, self.options.frames, repeat):
            experiment.recent.extend(transitions)
        learner.loss.set_progress(experiment.policy.agent_steps)
        due = diagnostics.due(counters.frames)
        changing = experiment.mask_updates.due(counters.frames)
        for batch in experiment.data.batches():
            if changing:
                for scalars in experiment.mask_updates.change(changing, experiment.view()):
                    yield self._measured("masks", scalars)
                changing = []
            if due:
                yield from self._measure(due, functools.partial(learner.update, batch))
                due = []
            else:
                learner.update(batch)

    def _due(self) -> Iterator[Event]:
        """What the frames reached call for: a log line, an evaluation, a checkpoint."""
        counters, options = self.counters, self.options
        if self._is_due(options.log_every, counters.logged):
            yield self._log()
        if self.finished:
            yield from self._last_look()
        if self._is_due(options.evaluation.every, counters.evaluated):
            event = self._evaluate()
            if event is None:  # stopped in the middle; done again when the run is resumed
                return
            yield event
        if self.finished:
            return
        yield from self._intervene()
        if self._is_due(options.checkpoint.every, max(counters.saved, 0)):
            yield self._save()

    def _is_due(self, every: int | None, last: int) -> bool:
        """Whether a multiple of ``every``, or the end, was reached since ``last``."""
        frames = self.counters.frames
        if self.finished:
            return frames > last
        return every is not None and frames // every > last // every

    def _log(self) -> Measured:
        counters, learner = self.counters, self.experiment.agent.learner
        learner.check()
        scalars = learner.means.take()
        ended = self.episodes.take()
        if ended:
            scalars["train/return"] = sum(r for r, _ in ended) / len(ended)
            scalars["train/episode_length"] = sum(n for _, n in ended) / len(ended)
            scalars["train/episodes"] = float(len(ended))
        scalars |= self.throughput.read(counters.frames, learner.updates)
        counters.logged = counters.frames
        return self._measured("training", scalars)

    def _measured(
        self, source: Source, scalars: dict[str, float], video: Path | None = None
    ) -> Measured:
        """The numbers, once they are in ``metrics.jsonl``."""
        assert self.metrics is not None
        self.metrics.write(self.counters.frames, scalars)
        return Measured(self.counters.frames, source, scalars, video)

    def _evaluate(self) -> Measured | None:
        counters, options = self.counters, self.options.evaluation
        episodes = options.episodes
        if self.finished and options.final_episodes is not None:
            episodes = options.final_episodes
        named = self.directory / "videos" / f"{counters.frames:010d}.mp4"
        video = named if self.options.record_video else None
        started = time.perf_counter()
        result = self.evaluator(episodes, counters.frames, video)
        if result is None:
            return None
        scalars = result.metrics() | {"time/evaluation": time.perf_counter() - started}
        counters.evaluated = counters.frames
        event = self._measured("evaluation", scalars, video)
        self.throughput.skip(time.perf_counter() - started)
        return event

    def _last_look(self) -> Iterator[Event]:
        """Measure the agent that training ends with, unless nothing was ever learned."""
        if self.experiment.agent.learner.updates:
            due = self.experiment.diagnostics.due(self.counters.frames, last=True)
            if due:
                yield from self._measure(due)

    def _measure(self, due: list[str], update: Callable[[], None] | None = None) -> Iterator[Event]:
        """Run diagnostics around an update; their time is not the update's."""
        found = self.experiment.diagnostics.measure(due, self.experiment.view(), update)
        self.throughput.skip(found.seconds)
        self.counters.measuring += found.seconds
        step = self.counters.frames
        for name, matrix in found.matrices.items():
            write_matrix(self.directory, name, step, matrix)
        if found.scalars:
            yield self._measured("diagnostics", found.scalars)
        for name, error in found.failed.items():
            yield Disabled(step, f"diagnostic '{name}'", error)

    def _intervene(self) -> Iterator[Event]:
        diagnostics = self.experiment.diagnostics
        if diagnostics.interventions and self.experiment.agent.learner.updates:
            for scalars in diagnostics.intervene(self.experiment.view()):
                yield self._measured("interventions", scalars)

    def _save(self) -> Saved:
        assert self.metrics is not None
        self.experiment.agent.learner.check()
        self.counters.saved = self.counters.frames
        started = time.perf_counter()
        self.throughput.stamp()
        path = checkpoint.save(self.directory, self.experiment, self.episodes, self.metrics.size)
        self.throughput.skip(time.perf_counter() - started)
        return Saved(self.counters.frames, path)
