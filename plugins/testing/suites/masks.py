"""What holds for every pruning scheme, whether its masks change in training or not."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from core.agent.masks import PackedMasks
from core.agent.randomness import random_state, seed_everything
from core.training.checkpoint import pack, trimmed
from plugins.testing.harness import agents, generators, newprocess, schedules
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness import mask_trials as trials
from plugins.testing.harness.mask_tried import TriedMasks, dense_parameters, dense_shapes


class MaskSuite(TriedMasks):
    """Checks of a pruning scheme, in tiny agents as a run wires them."""

    # --- the first masks ----------------------------------------------------------------

    def test_names_its_target(self) -> None:
        target = self.build().target
        roles = ("encoder", "actor", "critic", "all")
        assert target in roles, f"'target' is to be one of {', '.join(roles)}, got {target!r}"

    def test_draws_masks_that_fit(self) -> None:
        for role, masks in self.drawn().items():
            wrong = list(trials.misfits(masks, dense_shapes(self.modes[0])[role]))
            assert not wrong, f"draw() for '{role}': {'; '.join(wrong)}"

    def test_leaves_vectors_dense(self) -> None:
        if self.prunes_vectors:
            self.skip("prunes_vectors = True")
        for trial in map(self.trial, self.modes):
            for masks in (trial.drawn, *trial.history):
                found = [f"{r}.{n}" for r, m in masks.items() for n in m if len(m.shape(n)) < 2]
                assert not found, (
                    f"biases and norms are pruned: {', '.join(found)}; leave out parameters of one "
                    "dimension, or say prunes_vectors = True"
                )

    def test_draws_from_the_given_generator_only(self) -> None:
        self.drawn()  # what it is tried on is made once, and seeds the generators
        seed_everything(3)
        before = random_state()
        self.drawn()
        changed = generators.changed(before)
        assert not changed, f"draw() drew from {changed}; draw from its 'generator' alone"

    def test_leaves_weights_as_they_are(self) -> None:
        for role, parameters in dense_parameters(self.modes[0]).items():
            scheme = self.build()
            before = {name: p.detach().clone() for name, p in parameters.items()}
            drawn = scheme.draw(parameters, torch.Generator().manual_seed(0))
            list(drawn.items() if isinstance(drawn, Mapping) else drawn)
            written = [name for name, p in parameters.items() if not torch.equal(p, before[name])]
            assert not written, f"draw() wrote into {role}: {', '.join(written)}; core prunes them"

    def test_same_seed_gives_same_masks(self) -> None:
        first, second = _packed(self.drawn(seed=5)), _packed(self.drawn(seed=5))
        assert first == second, (
            "two draws with equally seeded generators differ; let nothing else decide"
        )

    def test_other_seed_gives_other_masks(self) -> None:
        self.require("random")
        mode = self.modes[0]
        other = trials.attempt(self.start(mode, mask_seed=agents.MASK_SEED + 1))
        same = other.history[-1] == self.trial(mode).history[-1]
        assert not same, (
            "another mask seed gives the same masks: draw from the given generator, or say "
            "capabilities = {'random': False}"
        )

    def test_densities_are_met(self) -> None:
        self.require("exact")
        sparsity = getattr(self.made_options(), "sparsity", None)
        for mode in self.modes:
            trial = self.trial(mode)
            shapes = trial.run.agent.parts.initial
            wrong = list(trials.density_problems(trial.history[-1], shapes, self.density))
            for role, masks in trial.history[-1].items():
                names = list(self.counted(shapes[role]))
                total = sum(shapes[role][name].numel() for name in names)
                kept = sum(masks.kept(n) if n in masks else shapes[role][n].numel() for n in names)
                if sparsity is not None and abs(kept - (1 - sparsity) * total) > len(names):
                    wrong.append(f"{role} keeps {kept} of {total} where sparsity is {sparsity:g}")
            assert not wrong, (
                f"{'; '.join(wrong)}; one weight off for each layer is allowed. Override density() "
                "or counted() if more is meant, or say capabilities = {'exact': False}"
            )

    def test_prunes_each_network_that_is_asked_for(self) -> None:
        if "target" not in {f.name for f in fields(self.found.options)}:
            self.skip("there is no option 'target'")
        for target in ("actor", "critic", "all", *(["encoder"] * self.capable("encoder"))):
            mode = "pixels" if target == "encoder" else self.modes[0]
            run = self.start(mode, {"target": target})
            masks = run.agent.masks.masks
            asked = list(masks) if target == "all" else [target]
            assert list(masks) == asked, f"target '{target}' prunes {', '.join(masks)}"
            while self.capable("prunes") and trials.whole(masks) and run.done < trials.UPDATES:
                run.advance(1)
            alive = trials.whole(masks) if self.capable("prunes") else []
            assert not alive, (
                f"with target '{target}' every weight of '{alive[0]}' lives; if that is meant, say "
                "capabilities = {'prunes': False}"
            )

    # --- in training --------------------------------------------------------------------

    def test_removed_weights_stay_zero_with_replay(self) -> None:
        self._removed_weights_stay_zero("replay")

    def test_removed_weights_stay_zero_when_streaming(self) -> None:
        self._removed_weights_stay_zero("streaming")

    def _removed_weights_stay_zero(self, mode: str) -> None:
        if mode not in self.modes:
            self.skip(f"it is not for '{mode}' agents")
        agent = self.trial(mode).run.agent
        found = list(trials.lively(agent))
        assert not found, (
            f"after {trials.UPDATES} updates something of a removed weight is not zero: "
            f"{', '.join(found)}. A scheme answers with masks and never writes into weights"
        )

    def test_masks_are_the_same_whatever_the_execution(self) -> None:
        for mode in self.modes:
            masked, sparse = self.trial(mode), self.trial(mode, "sparse")
            assert masked.drawn == sparse.drawn, "the first masks depend on the execution backend"
            share = trials.differing(masked.history[-1], sparse.history[-1])
            assert share <= 0.01, (
                f"after a run under 'sparse', {share:.1%} of the mask differ from those under "
                "'masked' (1% may, by rounding); read weights by view.weight(name)"
            )

    def test_goes_on_alike_in_a_new_process(self) -> None:
        where = offered.importable(self.plugin)
        if where is None:
            self.skip("the plugin is an object that no other process can import")
        for mode in self.modes:
            run = self.start(mode)
            run.advance(trials.UPDATES // 2)
            with tempfile.TemporaryDirectory() as folder:
                torch.save(pack(trimmed(run.state_dict())), Path(folder) / "state.pt")
                request = {
                    "folder": folder,
                    "plugin": where,
                    "values": dict(run.config.loaded.values),
                    "spec": asdict(run.spec),
                    "stride": run.stride,
                    "updates": trials.UPDATES - trials.UPDATES // 2,
                }
                answer = newprocess.go_on(request)
            trial = self.trial(mode)
            assert _restored(answer["drawn"]) == trial.drawn, (
                "another process draws other first masks: nothing may depend on the order of a "
                "set, on hash() or on the time"
            )
            assert _restored(answer["state"]["masks"]) == trial.history[-1], (
                "a run that was saved, loaded in a new process and continued has other masks than "
                "one that was not interrupted; keep what must be remembered in state_dict() and "
                "load_state_dict()"
            )

    # --- masks that change in training --------------------------------------------------

    def test_is_complete(self) -> None:
        scheme = self.build()
        for parts, meaning in schedules.INTERFACES.items():
            there = [part for part in parts if hasattr(scheme, part)]
            lacking = [part for part in parts if part not in there]
            assert not there or not lacking, (
                f"{type(scheme).__name__} has '{there[0]}' but not {', '.join(lacking)}: {meaning}"
            )

    def test_states_its_needs(self) -> None:
        batch = self.dynamic().batch
        if batch is None:
            self.skip("it asks for no gradients")
        needs, given = self.found.needs, self.made_options()
        missing = ({"inspection"} | batch.needs) - (needs(given) if callable(needs) else needs)
        assert not missing, f"its gradients need {', '.join(missing)}: say so in 'needs'"

    def test_schedule_is_of_frames(self) -> None:
        wrong = schedules.contradiction(self.dynamic().due, self.frames)
        assert wrong is None, (
            f"{wrong}. due(last, frame) says whether one of the scheme's frames lies in "
            "(last, frame], whoever asks and however often"
        )

    def test_schedule_touches_no_tensor(self) -> None:
        scheme = self.dynamic()
        try:
            with trials.NoTensors():
                scheme.due(-1, self.frames)
        except AssertionError as error:
            raise AssertionError(
                f"due() is asked before every update and calls torch ({error}), which may wait for "
                "a GPU; use plain numbers"
            ) from None

    def test_masks_change_in_the_run(self) -> None:
        self.dynamic()
        for mode in self.modes:
            trial = self.trial(mode)
            steps = [trial.drawn, *trial.history]
            changes = sum(a != b for a, b in pairwise(steps))
            frames = self.frames
            assert changes, (
                f"no mask changed in {frames} frames; give a schedule that fits in 'options', or "
                "a longer run by 'frames'"
            )

    def test_count_is_kept(self) -> None:
        if not self.keeps_count:
            self.skip("keeps_count = False")
        for mode in self.modes:
            trial = self.trial(mode)
            for masks in trial.history:
                assert _counts(masks) == _counts(trial.drawn), (
                    "a change left another number of living weights: grow as many as are dropped, "
                    "layer by layer, or say keeps_count = False"
                )

    def test_changes_fit_and_touch_nothing_else(self) -> None:
        self.dynamic()
        for mode in self.modes:
            first = schedules.ask(self.start(mode))
            assert first, f"no change is ever due within {self.frames} frames"
            for asked in first:
                assert not asked.problems, f"change() for '{asked.role}': {asked.problems[0]}"
            again = schedules.ask(self.start(mode))
            same = [a.masks == b.masks for a, b in zip(first, again, strict=True)]
            assert all(same), "change() answers otherwise the second time, all else being equal"


def _packed(masks: Mapping[str, Any]) -> dict[str, PackedMasks]:
    return {role: PackedMasks(named) for role, named in masks.items()}


def _restored(state: Mapping[str, Any]) -> dict[str, PackedMasks]:
    return {role: PackedMasks.restored(masks) for role, masks in state["masks"].items()}


def _counts(masks: trials.Masks) -> dict[str, int]:
    return {f"{role}.{name}": named.kept(name) for role, named in masks.items() for name in named}
