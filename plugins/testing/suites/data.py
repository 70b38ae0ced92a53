"""What holds for every data source: replay, streams, and what lies between."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase

from core.agent.randomness import random_state, seed_everything
from core.api.data import DataContext, DataSource, Sampled
from core.api.environments import EnvironmentSpec
from core.api.losses import Returns
from plugins.testing.harness import agents
from plugins.testing.harness.experience import Experience
from plugins.testing.harness.snapshots import differences, through_a_file
from plugins.testing.harness.watching import drawn_from
from plugins.testing.suites.component import ComponentSuite

GAMMA = 0.9
COUNT = 2
FLAGS = ("done", "terminated", "truncated")


class DataSuite(ComponentSuite):
    """Checks of a data source that two made-up environments feed.

    Give options for which batches come within ``steps`` steps of each.
    """

    kind = "data"
    switches: ClassVar[Mapping[str, bool]] = {"random": True}
    """``random``: where it provides ``replay``, other seeds give other batches."""
    specs: ClassVar[Sequence[EnvironmentSpec]] = (agents.STATES, agents.CHOICES, agents.PIXELS)
    """Environments that it can hold transitions of."""
    steps: ClassVar[int] = 60
    """Agent steps of each environment in a check."""

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> DataContext:
        return self._context(self.specs[0], self.returns[0])

    @property
    def returns(self) -> list[Returns]:
        """How losses want rewards summed: one, and three where it provides ``n-step returns``."""
        several = "n-step returns" in self.found.provides
        return [Returns(GAMMA), *([Returns(GAMMA, 3)] if several else [])]

    @property
    def replays(self) -> bool:
        """Whether it says that it can be drawn from."""
        return "replay" in self.found.provides

    @contextmanager
    def source(
        self, spec: EnvironmentSpec | None = None, returns: Returns | None = None, seed: int = 0
    ) -> Iterator[DataSource]:
        """A fresh source, with a run folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            context = self._context(spec or self.specs[0], returns or self.returns[0], seed)
            made = {"run_dir": Path(folder)}
            yield self.found.build(self.made_options(), DataContext(**{**vars(context), **made}))

    def _context(self, spec: EnvironmentSpec, returns: Returns, seed: int = 0) -> DataContext:
        return DataContext(spec, returns, COUNT, agents.CPU, seed)

    def feed(self, source: DataSource, experience: Experience, steps: int) -> list[TensorDictBase]:
        """So many steps of each environment, one at a time; the batches that came, copied."""
        batches = []
        for _ in range(steps):
            source.extend(experience.collect(1))
            batches += [batch.clone() for batch in source.batches()]
        return batches

    def cases(self) -> Iterator[tuple[EnvironmentSpec, Returns]]:
        """The first environment with one reward, each with the most that are summed."""
        most = [(spec, self.returns[-1]) for spec in self.specs]
        yield from dict.fromkeys([(self.specs[0], self.returns[0]), *most])

    # --- batches ------------------------------------------------------------------------

    def test_gives_batches_when_learning_starts(self) -> None:
        built = self.build()
        asked = [len(built), built.bytes, built.learning_starts]
        assert all(isinstance(value, int) and value >= 0 for value in asked), (
            f"before it is given a folder, len, 'bytes' and 'learning_starts' are {asked}"
        )
        with self.source() as source:
            starts = source.learning_starts
            assert starts < self.steps * COUNT, (
                f"learning_starts is {starts}; set it below {self.steps * COUNT} in 'options'"
            )
            experience = Experience(self.specs[0], COUNT)
            early = self.feed(source, experience, starts // COUNT)
            assert not early, f"batches came before learning_starts ({starts}) transitions did"
            assert self.feed(source, experience, self.steps), (
                f"{experience.steps} transitions brought no batch"
            )

    def test_batches_tell_what_happened(self) -> None:
        for spec, returns in self.cases():
            # several steps at once make no difference between environments
            for at_once in (1, 4) if spec is self.specs[0] else (1,):
                with self.source(spec, returns) as source:
                    experience, came = Experience(spec, COUNT), 0
                    for _ in range(-(-self.steps // at_once)):
                        source.extend(experience.collect(at_once))
                        for batch in source.batches():
                            came += 1
                            wrong = self._misfit(batch, spec) or next(
                                experience.problems(batch, returns), ""
                            )
                            assert not wrong, (
                                f"a batch of {spec.observation}, n_step {returns.n_step}, "
                                f"{at_once} steps at once: {wrong}"
                            )
                    assert came, f"with {at_once} steps at once no batch came"

    def _misfit(self, batch: TensorDictBase, spec: EnvironmentSpec) -> str:
        """What of a batch has another form than it should; empty if all is well."""
        rows = batch.batch_size
        if len(rows) != 1:
            return f"its batch size is {list(rows)}, not [B]"
        seen = (spec.observation, torch.uint8 if spec.pixels else torch.float32)
        number = ((1,), torch.float32)
        wanted = {
            "observation": seen,
            "action": ((), torch.int64) if spec.discrete else ((spec.action,), torch.float32),
            ("next", "observation"): seen,
            ("next", "reward"): number,
            ("next", "discount"): number,
        }
        for key, (shape, dtype) in wanted.items():
            value = batch.get(key)
            if value is None:
                return f"there is no {key}"
            if value.shape != (*rows, *shape) or value.dtype is not dtype:
                return f"{key} is {list(value.shape)} {value.dtype}, not {[*rows, *shape]} {dtype}"
            if value.device.type != "cpu":
                return f"{key} is on {value.device}, not on cpu"
        return ""

    def test_gives_every_transition_in_order(self) -> None:
        if "transitions in order" not in self.found.provides:
            self.skip("it does not provide 'transitions in order'")
        spec = self.specs[0]
        with self.source(spec) as source:
            experience = Experience(spec, COUNT)
            for steps in (1, 4):
                collected = experience.collect(steps)
                source.extend(collected)
                batches = [batch.clone() for batch in source.batches()]
                assert len(batches) == steps, f"{steps} steps brought {len(batches)} batches"
                for step, batch in enumerate(batches):
                    for key in ("observation", "action", *(("next", flag) for flag in FLAGS)):
                        there = torch.equal(batch[key], collected[:, step][key])
                        assert there, f"'{key}' of a batch is not that of the step: oldest first"

    # --- randomness ---------------------------------------------------------------------

    def test_draws_by_its_seed_alone(self) -> None:
        seed_everything(3)
        before = random_state()
        first, second, other = (self._batches(seed) for seed in (1, 1, 2))
        changed = drawn_from(before)
        assert not changed, f"it drew from {changed}: use a generator seeded by context.seed"
        assert _equal(first, second), "two sources with one seed differ: draw by context.seed alone"
        assert not (self.replays and self.capable("random") and _equal(first, other)), (
            "another seed gives the same batches: seed a generator of its own by context.seed, or "
            "say capabilities = {'random': False}"
        )

    def _batches(self, seed: int) -> list[TensorDictBase]:
        with self.source(seed=seed) as source:
            return self.feed(source, Experience(self.specs[0], COUNT), self.steps)

    def test_sampling_changes_nothing(self) -> None:
        sampled = isinstance(self.build(), Sampled)
        assert sampled == self.replays, (
            "it provides 'replay' and has no sample()"
            if self.replays
            else "it has sample(): provide 'replay', which diagnostics look for"
        )
        if not sampled:
            self.skip("it cannot be drawn from")
        with self.source() as plain, self.source() as source:
            drawn: Any = source
            mine, theirs = (Experience(self.specs[0], COUNT) for _ in range(2))
            self.feed(plain, mine, self.steps)
            self.feed(source, theirs, self.steps)
            first, second = drawn.sample(5, seed=4), drawn.sample(5, seed=4)
            assert first.batch_size == (5,), f"sample(5, ...) gives {list(first.batch_size)}"
            wrong = next(theirs.problems(first, self.returns[0]), None)
            assert wrong is None, f"sample(): {wrong}"
            assert _equal([first], [second]), "sample() with one seed gives two things"
            after = self.feed(plain, mine, 5), self.feed(source, theirs, 5)
        assert _equal(*after), "sample() changes the batches that follow: draw by its seed alone"

    # --- state --------------------------------------------------------------------------

    def test_goes_on_alike_from_a_checkpoint(self) -> None:
        for spec, returns in self.cases():
            with self.source(spec, returns) as first, tempfile.TemporaryDirectory() as name:
                folder, experience = Path(name), Experience(spec, COUNT)
                self.feed(first, experience, self.steps)
                first.save(folder)
                self.feed(first, experience, 7)
                state = through_a_file(first.save(folder))
                twin = Experience(spec, COUNT)
                twin.collect(self.steps + 7)
                with self.source(spec, returns, seed=9) as second:
                    second.load(folder, state)
                    assert len(second) == len(first), "it holds another number once loaded"
                    after = self.feed(first, experience, 20), self.feed(second, twin, 20)
            assert _equal(*after), (
                f"saved, loaded into a new source and continued it gives other batches "
                f"({spec.observation}, n_step {returns.n_step}): save generator and counters too"
            )

    def test_never_changes_a_file_that_it_named(self) -> None:
        with self.source() as source, tempfile.TemporaryDirectory() as name:
            folder, experience = Path(name), Experience(self.specs[0], COUNT)
            known: dict[str, bytes] = {}
            for _ in range(3):
                self.feed(source, experience, self.steps // 2)
                state = source.save(folder)
                assert "files" in state, "save() is to list its files under 'files'"
                missing = [file for file in state["files"] if not (folder / file).is_file()]
                assert not missing, f"save() names {', '.join(missing)}, which it did not write"
                for file, content in known.items():
                    there = (folder / file).is_file() and (folder / file).read_bytes() == content
                    assert there, (
                        f"a later save() changed {file}, on which the checkpoint before relies: "
                        "write new files"
                    )
                known |= {file: (folder / file).read_bytes() for file in state["files"]}


def _equal(first: list[TensorDictBase], second: list[TensorDictBase]) -> bool:
    return not differences([b.to_dict() for b in first], [b.to_dict() for b in second])
