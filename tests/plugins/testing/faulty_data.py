"""Data sources that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from tests.plugins.testing.faulty import Fault, but


class Plain:
    """A good source: everything that happened, one-step, drawn uniformly."""

    learning_starts = 10
    bytes = 1_000_000
    size = 4

    def __init__(self, options, context):
        self.held = []
        self.gamma = context.returns.gamma
        self.generator = torch.Generator().manual_seed(context.seed)
        self.owed = 0

    def extend(self, transitions):
        for row in transitions.reshape(-1):
            kept = row.clone()
            alive = kept["next", "terminated"].logical_not()
            kept["next", "discount"] = self.gamma * alive.float()
            self.held.append(kept)
        if len(self.held) > self.learning_starts:
            self.owed += 1

    def batches(self):
        while self.owed:
            self.owed -= 1
            yield self.drawn(self.size, self.generator)

    def drawn(self, size, generator):
        rows = torch.randint(0, len(self.held), (size,), generator=generator)
        return torch.stack([self.held[int(row)] for row in rows])

    def sample(self, size, seed):
        return self.drawn(size, torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.held)

    def save(self, folder):
        file = f"rows-{len(self.held)}.pt"
        torch.save([row.to_dict() for row in self.held], folder / file)
        return {"files": [file], "generator": self.generator.get_state(), "owed": self.owed}

    def load(self, folder, state):
        from tensordict import TensorDict

        rows = torch.load(folder / state["files"][0])
        self.held = [TensorDict(row, []) for row in rows]
        for row in self.held:
            row["next"].batch_size = []
        self.generator.set_state(state["generator"])
        self.owed = state["owed"]


def drawing(change):
    """The good source, with each batch changed."""

    def drawn(self, size, generator):
        batch = Plain.drawn(self, size, generator)
        changed = change(self, batch)
        return batch if changed is None else changed

    return but(Plain, drawn=drawn)


class Early(Plain):
    def extend(self, transitions):
        super().extend(transitions)
        self.owed = 1


class Backwards(Plain):
    def batches(self):
        steps = range(self.owed)
        self.owed = 0
        for step in steps:
            yield torch.stack(self.held[-2 * step - 2 :][:2])

    def extend(self, transitions):
        for step in range(transitions.batch_size[1]):
            super().extend(transitions[:, step : step + 1])
        self.owed = transitions.batch_size[1]


class Unseeded(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.generator.seed()


class Rewriting(Plain):
    def save(self, folder):
        state = super().save(folder)
        (folder / state["files"][0]).rename(folder / "rows.pt")
        return {**state, "files": ["rows.pt"]}


REPLAY = frozenset({"replay"})
REPLAYS = {"component": {"provides": REPLAY}}
IN_ORDER = {"component": {"provides": REPLAY | {"transitions in order"}}}
HAPPENED, SEED = "batches_tell_what_happened", "draws_by_its_seed_alone"
_fault = partial(Fault, "data")
FAULTS = [
    _fault("gives_batches_when_learning_starts", "before learning_starts", Early),
    _fault(
        *(HAPPENED, "at a termination"),
        drawing(lambda self, b: b["next", "discount"].fill_(self.gamma) is None or None),
    ),
    _fault(
        *(HAPPENED, "at a time limit"),
        drawing(
            lambda s, b: b["next", "discount"].masked_fill_(b["next", "done"], 0.0) is None or None
        ),
    ),
    _fault("gives_every_transition_in_order", "oldest first", Backwards, **IN_ORDER),
    _fault(SEED, "context.seed alone", Unseeded),
    _fault(SEED, "NumPy's", drawing(lambda self, batch: np.random.rand() and None)),
    _fault(
        *("sampling_changes_nothing", "changes the batches"),
        but(Plain, sample=lambda s, size, seed: s.drawn(size, s.generator.manual_seed(seed))),
        **REPLAYS,
    ),
    _fault(
        *("goes_on_alike_from_a_checkpoint", "save generator"),
        but(
            Plain,
            load=lambda s, f, x: Plain.load(s, f, {**x, "generator": s.generator.get_state()}),
        ),
    ),
    _fault("never_changes_a_file_that_it_named", "write new files", Rewriting),
]
