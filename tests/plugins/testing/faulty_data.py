"""Data sources that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from tests.plugins.testing.faulty import Fault


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


class Early(Plain):
    def extend(self, transitions):
        super().extend(transitions)
        self.owed = 1


class Doubles(Plain):
    def drawn(self, size, generator):
        batch = super().drawn(size, generator)
        batch["next", "reward"] = batch["next", "reward"].double()
        return batch


class Immortal(Plain):
    def drawn(self, size, generator):
        batch = super().drawn(size, generator)
        batch["next", "discount"].fill_(self.gamma)
        return batch


class TimeLimitsEnd(Plain):
    def drawn(self, size, generator):
        batch = super().drawn(size, generator)
        batch["next", "discount"].masked_fill_(batch["next", "done"], 0.0)
        return batch


class OneStepOnly(Plain):
    def extend(self, transitions):
        if transitions.batch_size[1] == 1:
            super().extend(transitions)


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


class Elsewhere(Plain):
    def drawn(self, size, generator):
        return super().drawn(size, generator).to("meta")


class Boasting(Plain):
    def __len__(self):
        return 2 * len(self.held)


class Modest(Plain):
    bytes = 8


class Impatient(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.folder = context.run_dir

    @property
    def bytes(self):
        return 1_000_000 if self.folder else -1


class Unseeded(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.generator = torch.Generator()
        self.generator.seed()


class Fixed(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.generator = torch.Generator().manual_seed(1)


class Global(Plain):
    def drawn(self, size, generator):
        np.random.rand()
        return super().drawn(size, generator)


class Disturbed(Plain):
    def sample(self, size, seed):
        return self.drawn(size, self.generator.manual_seed(seed))


class Forgetful(Plain):
    def load(self, folder, state):
        super().load(folder, {**state, "generator": self.generator.get_state()})


class Rewriting(Plain):
    def save(self, folder):
        state = super().save(folder)
        (folder / state["files"][0]).rename(folder / "rows.pt")
        return {**state, "files": ["rows.pt"]}


REPLAY = frozenset({"replay"})
REPLAYS = {"component": {"provides": REPLAY}}
IN_ORDER = {"component": {"provides": REPLAY | {"transitions in order"}}}
_fault = partial(Fault, "data")
FAULTS = [
    _fault("gives_batches_when_learning_starts", Early, "before learning_starts"),
    _fault("batches_have_the_right_form", Doubles, "float64"),
    _fault("batches_tell_what_happened", Immortal, "at a termination"),
    _fault("batches_tell_what_happened", TimeLimitsEnd, "at a time limit"),
    _fault("takes_several_steps_at_once", OneStepOnly, "no batch came"),
    _fault("gives_every_transition_in_order", Backwards, "oldest first", **IN_ORDER),
    _fault("batches_are_on_the_device", Elsewhere, "meta"),
    _fault("counts_what_it_holds", Boasting, "it says that it holds"),
    _fault("counts_what_it_holds", Modest, "observations take"),
    _fault("can_be_asked_before_it_is_given_a_folder", Impatient, "-1"),
    _fault("same_seed_gives_same_batches", Unseeded, "context.seed alone"),
    _fault("other_seed_gives_other_batches", Fixed, "'random': False", **REPLAYS),
    _fault("draws_from_its_own_generator", Global, "NumPy's"),
    _fault("sampling_changes_nothing", Plain, "provide 'replay'"),
    _fault("sampling_changes_nothing", Disturbed, "changes the batches", **REPLAYS),
    _fault("goes_on_alike_from_a_checkpoint", Forgetful, "save generator"),
    _fault("never_changes_a_file_that_it_named", Rewriting, "write new files"),
]
