"""What holds for every pruning scheme, whether its masks change in training or not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, ClassVar

import torch

from core.agent.masks import PackedMasks
from core.agent.randomness import random_state, seed_everything, untouched_randomness
from core.api.errors import UserError
from core.api.masks import DynamicMasks, MaskContext
from core.training.mask_updates import NEVER, View
from plugins.testing.harness import agents, newprocess
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.snapshots import differences, flat, named, through_a_file
from plugins.testing.harness.watching import NoTensors, drawn_from
from plugins.testing.suites.component import ComponentSuite

Shapes = Mapping[str, torch.Size]
Masks = Mapping[str, PackedMasks]
UPDATES = 25
INTERFACES = (("batch", "due", "change"), ("state_dict", "load_state_dict"))
"""What a scheme has all of or nothing: else its masks would never change, or be forgotten."""


@dataclass(frozen=True)
class Trial:
    """A run of a scheme, from its first masks on."""

    run: TinyRun
    drawn: Masks
    history: Sequence[Masks]
    """The masks after each update."""


class MaskSuite(ComponentSuite):
    """Checks of a pruning scheme, in tiny agents as a run wires them."""

    kind = "masks"
    switches: ClassVar[Mapping[str, bool]] = dict.fromkeys(
        ("random", "exact", "replay", "streaming", "encoder", "prunes"), True
    )
    """``random``: other mask seeds give other masks. ``exact``: densities are met to the weight.
    ``replay``, ``streaming``: it is for such agents. ``encoder``: it prunes convolutions too.
    ``prunes``: it removes something."""
    frames: ClassVar[int] = 1000
    """Environment frames of a run in the checks, in which there are 25 updates. A scheme that
    changes masks must do so at least once; its schedule is among ``options``."""
    keeps_count: ClassVar[bool] = False
    """Changes leave the number of living weights of every parameter as it is."""
    prunes_vectors: ClassVar[bool] = False
    """It prunes biases and norms too."""

    def counted(self, shapes: Shapes) -> Iterable[str]:
        """The parameters of a network that the option ``sparsity``, if there is one, counts.

        By default as the built-in schemes: by the options ``counted`` and ``dense``.
        """
        options = self.made_options()
        everything = getattr(options, "counted", "kernels") == "all"
        left = [p for pattern in getattr(options, "dense", ()) for p in (pattern, f"{pattern}.*")]
        for name, shape in shapes.items():
            if (everything or len(shape) > 1) and not any(fnmatchcase(name, p) for p in left):
                yield name

    # --- for the checks -----------------------------------------------------------------

    def context(self) -> MaskContext:
        return MaskContext(self.frames)

    @property
    def modes(self) -> list[str]:
        """The agents that the scheme is for, as ``agents.PRESETS`` of the harness names them."""
        if self.build().target == "encoder":
            return ["pixels"]
        found = [mode for mode in ("replay", "streaming") if self.capable(mode)]
        assert found, "capabilities say no to 'replay' and to 'streaming': nothing is left"
        return found

    def start(self, mode: str, changed: Any = None, **nodes: Any) -> TinyRun:
        """A run of such an agent with the scheme."""
        scheme = {"name": self.component, **self.options, **(changed or {})}
        values = agents.preset(mode, frames=self.frames, masks=[scheme], **nodes)
        stride = max(1, self.frames // UPDATES)
        try:
            return TinyRun(self.plugins, values, agents.SPECS[mode], stride=stride)
        except UserError as error:
            told = f"if no {mode} agent can have it, say capabilities = {{'{mode}': False}}"
            raise AssertionError(f"{error}\n{told}") from None

    def trial(self, mode: str, execution: str = "masked") -> Trial:
        """The scheme tried in a whole run; made once for all checks."""
        suite: Any = type(self)
        return _trial(suite, mode, execution)

    def dynamic(self) -> Any:
        """The scheme, if its masks change in training; else the check is skipped."""
        scheme = self.build()
        if not isinstance(scheme, DynamicMasks):
            self.skip("its masks do not change in training")
        return scheme

    def drawn(self, seed: int = 0) -> dict[str, PackedMasks]:
        """The first masks of each network that the scheme is for, by role."""
        scheme, found = self.build(), {}
        for role, parameters in _dense_parameters(self.modes[0]).items():
            if scheme.target in (role, "all"):
                drawn = scheme.draw(parameters, torch.Generator().manual_seed(seed))
                masks = dict(drawn.items() if isinstance(drawn, Mapping) else drawn)
                wrong = list(_misfits(masks, {name: p.shape for name, p in parameters.items()}))
                assert not wrong, f"draw() for '{role}': {'; '.join(wrong)}"
                found[role] = PackedMasks(masks)
        return found

    # --- the first masks ----------------------------------------------------------------

    def test_draws_masks_that_fit(self) -> None:
        target = self.build().target
        roles = ("encoder", "actor", "critic", "all")
        assert target in roles, f"'target' is to be one of {', '.join(roles)}, got {target!r}"
        for masks in (self.drawn(), *(self.trial(mode).history[-1] for mode in self.modes)):
            vectors = [f"{r}.{n}" for r, m in masks.items() for n in m if len(m.shape(n)) < 2]
            assert self.prunes_vectors or not vectors, (
                f"biases and norms are pruned: {named(vectors)}; leave out parameters of one "
                "dimension, or say prunes_vectors = True"
            )

    def test_draws_from_its_generator_alone(self) -> None:
        parameters = _dense_parameters(self.modes[0])  # made once, which seeds the generators
        weights = flat(parameters)
        seed_everything(3)
        before = random_state()
        first = self.drawn(seed=5)
        changed, written = drawn_from(before), differences(weights, parameters)
        assert not changed, f"draw() drew from {changed}; draw from its 'generator' alone"
        assert not written, f"draw() wrote into {named(written)}; core prunes them"
        same = first == self.drawn(seed=5)
        assert same, "two draws with equally seeded generators differ; let nothing else decide"
        assert first != self.drawn(seed=6) or not self.capable("random"), (
            "another mask seed gives the same masks: draw from the given generator, or say "
            "capabilities = {'random': False}"
        )

    def test_the_sparsity_is_met(self) -> None:
        self.require("exact")
        sparsity = getattr(self.made_options(), "sparsity", None)
        if sparsity is None:
            self.skip("there is no option 'sparsity'")
            return
        for trial in map(self.trial, self.modes):
            for role, masks in trial.history[-1].items():
                shapes = trial.run.agent.parts.initial[role]
                names = list(self.counted(shapes))
                total = sum(shapes[name].numel() for name in names)
                kept = sum(masks.kept(n) if n in masks else shapes[n].numel() for n in names)
                assert abs(kept - (1 - sparsity) * total) <= len(names), (
                    f"{role} keeps {kept} of {total} where sparsity is {sparsity:g}; if that is "
                    "meant, override counted() or say capabilities = {'exact': False}"
                )

    def test_prunes_each_network_that_is_asked_for(self) -> None:
        if "target" not in {f.name for f in fields(self.found.options)}:
            self.skip("there is no option 'target'")
        for target in ("actor", "critic", "all", *(["encoder"] * self.capable("encoder"))):
            run = self.start("pixels" if target == "encoder" else self.modes[0], {"target": target})
            masks = run.agent.masks.masks
            asked = list(masks) if target == "all" else [target]
            assert list(masks) == asked, f"target '{target}' prunes {', '.join(masks)}"
            while self.capable("prunes") and _whole(masks) and run.done < UPDATES:
                run.advance(1)
            alive = _whole(masks) if self.capable("prunes") else []
            assert not alive, (
                f"with target '{target}' every weight of '{alive[0]}' lives; if that is meant, say "
                "capabilities = {'prunes': False}"
            )

    # --- in training --------------------------------------------------------------------

    def test_removed_weights_stay_zero(self) -> None:
        for mode in self.modes:
            agents.assert_removed_stay_zero(self.trial(mode).run.agent)

    def test_masks_are_the_same_whatever_the_execution(self) -> None:
        for mode in self.modes:
            masked, sparse = self.trial(mode), self.trial(mode, "sparse")
            assert masked.drawn == sparse.drawn, "the first masks depend on the execution backend"
            share = _differing(masked.history[-1], sparse.history[-1])
            assert share <= 0.01, (
                f"after a run under 'sparse', {share:.1%} of the mask differ from those under "
                "'masked' (1% may, by rounding); read weights by view.weight(name)"
            )

    def test_goes_on_alike_in_a_new_process(self) -> None:
        where = newprocess.importable(self.plugins, self.found)
        if where is None:
            self.skip("the plugin is an object that no other process can import")
        runs = []
        for mode in self.modes:
            run = self.start(mode)
            run.advance(UPDATES // 2)
            values, state = dict(run.config.loaded.values), through_a_file(run.state_dict())
            runs.append((values, run.spec, run.stride, state))
        plugin = None if self.plugin is None else where
        answers = newprocess.in_a_new_process(_continued, plugin, runs)
        for trial, (drawn, later) in zip(map(self.trial, self.modes), answers, strict=True):
            assert _restored(drawn) == trial.drawn, (
                "another process draws other first masks: nothing may depend on the order of a "
                "set, on hash() or on the time"
            )
            assert _restored(later) == trial.history[-1], (
                "a run that was saved, loaded in a new process and continued has other masks; keep "
                "what must be remembered in state_dict() and load_state_dict()"
            )

    # --- masks that change in training --------------------------------------------------

    def test_is_due_at_its_frames(self) -> None:
        scheme = self.build()
        for parts in INTERFACES:
            lacking = [part for part in parts if not hasattr(scheme, part)]
            whole = len(lacking) in (0, len(parts))
            assert whole, f"it has some of {', '.join(parts)}, but not {', '.join(lacking)}"
        wrong = _contradiction(self.dynamic().due, self.frames)
        assert wrong is None, (
            f"{wrong}. due(last, frame) says whether one of the scheme's frames lies in "
            "(last, frame], whoever asks and however often"
        )
        try:
            with NoTensors():
                scheme.due(-1, self.frames)
        except AssertionError as error:
            told = "which may wait for a GPU before every update; use plain numbers"
            raise AssertionError(f"due() calls torch ({error}), {told}") from None

    def test_masks_change_in_the_run(self) -> None:
        self.dynamic()
        for trial in map(self.trial, self.modes):
            assert any(a != b for a, b in pairwise([trial.drawn, *trial.history])), (
                f"no mask changed in {self.frames} frames; give a schedule that fits in 'options', "
                "or a longer run by 'frames'"
            )
            for masks in trial.history if self.keeps_count else []:
                assert _counts(masks) == _counts(trial.drawn), (
                    "a change left another number of living weights: grow as many as are dropped, "
                    "layer by layer, or say keeps_count = False"
                )

    def test_changes_fit_and_touch_nothing_else(self) -> None:
        batch = self.dynamic().batch
        missing = set() if batch is None else {"inspection", *batch.needs} - self.needs
        assert not missing, f"its gradients need {', '.join(missing)}: say so in 'needs'"
        for mode in self.modes:
            first, again = _changes(self.start(mode)), _changes(self.start(mode))
            assert first, f"no change is ever due within {self.frames} frames"
            assert first == again, "change() answers otherwise the second time, all else alike"


# --- runs -------------------------------------------------------------------------------


@functools.cache
def _trial(suite: Any, mode: str, execution: str) -> Trial:
    run = suite().start(mode, execution={"name": execution})
    drawn, history = dict(run.agent.masks.masks), []
    for _ in range(UPDATES):
        run.advance(1)
        history.append(dict(run.agent.masks.masks))
    return Trial(run, drawn, history)


def _continued(plugin: str | None, runs: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Of runs that are built anew, loaded and updated on: the masks at first and at last."""
    plugins, found = offered.catalogue(plugin), []
    for values, spec, stride, state in runs:
        run = TinyRun(plugins, values, spec, stride=stride)
        drawn = run.agent.masks.state_dict()
        run.load_state_dict(state)
        run.advance(UPDATES - run.done)
        found.append((drawn, run.agent.masks.state_dict()))
    return found


@functools.cache
def _dense_parameters(mode: str) -> dict[str, dict[str, Any]]:
    """Of the networks of an agent without masks, by role."""
    run = TinyRun(offered.built_ins(), agents.preset(mode), agents.SPECS[mode])
    return {r: dict(network.named_parameters()) for r, network in run.agent.parts.modules.items()}


def _changes(run: TinyRun) -> dict[str, PackedMasks]:
    """The first change of every network, looked at for what it touches."""
    run.advance(2)
    found = {}
    for role, scheme in run.mask_updates.schemes.items():
        steps = range(run.frame, run.config.run.frames + 1, run.stride)
        first = next((frame for frame in steps if scheme.due(NEVER, frame)), None)
        if first is None:
            continue
        run.done = first // run.stride
        parameters = dict(run.agent.parts.modules[role].named_parameters())
        before, view = flat(parameters), View(role, scheme, run.view())
        # a loss's own noise is not the scheme's doing
        vars(view)["gradients"] = untouched_randomness()(view.gradients)
        seed_everything(3)
        state = random_state()
        masks: dict[str, Any] = dict(scheme.change(view))
        changed, where = drawn_from(state), f"change() for '{role}'"
        written, wrong = differences(before, parameters), list(_misfits(masks, view.shapes))
        assert not changed, f"{where} drew from {changed}; draw from view.generator alone"
        assert not written, f"{where} wrote into {named(written)}; core prunes them"
        assert not wrong, f"{where}: {wrong[0]}"
        found[role] = PackedMasks(masks)
    return found


# --- masks ------------------------------------------------------------------------------


def _misfits(masks: Mapping[str, Any], shapes: Shapes) -> Iterator[str]:
    """Masks that are of no parameter, of another shape or of another type."""
    for name, mask in masks.items():
        if name not in shapes:
            yield f"there is no parameter '{name}'"
        elif not isinstance(mask, torch.Tensor) or mask.dtype is not torch.bool:
            yield f"'{name}' is {getattr(mask, 'dtype', type(mask).__name__)}, not torch.bool"
        elif mask.shape != shapes[name]:
            yield f"'{name}' is {list(mask.shape)}, its parameter {list(shapes[name])}"


def _contradiction(due: Callable[[int, int], bool], frames: int) -> str | None:
    """What ``due`` answers that no set of frames would, for changes that could have been."""
    steps, last = range(0, frames + 1, max(1, frames // 20)), NEVER
    for frame in steps:
        asked = due(last, frame)
        if bool(asked) != bool(due(last, frame)):
            return f"due({last}, {frame}) answers otherwise when asked again"
        later = next((n for n in steps if asked and n > frame and not due(last, n)), None)
        if later is not None:
            return f"due({last}, {frame}) is true, but due({last}, {later}) is false"
        if asked and due(frame, frame):
            return f"due({frame}, {frame}) is true, although nothing lies in between"
        last = frame if asked else last
    return None


def _differing(first: Masks, second: Masks) -> float:
    """The share of entries in which two sets of masks differ; 1 if they are of other weights."""
    if {r: set(m) for r, m in first.items()} != {r: set(m) for r, m in second.items()}:
        return 1.0
    pairs = [(masks[n], second[r][n]) for r, masks in first.items() for n in masks]
    return sum(int((a != b).sum()) for a, b in pairs) / max(sum(a.numel() for a, _ in pairs), 1)


def _whole(masks: Masks) -> list[str]:
    """The networks of which every weight lives, by role."""
    return [r for r, m in masks.items() if all(m.kept(n) == m.shape(n).numel() for n in m)]


def _counts(masks: Masks) -> dict[str, int]:
    return {f"{role}.{name}": own.kept(name) for role, own in masks.items() for name in own}


def _restored(state: Mapping[str, Any]) -> dict[str, PackedMasks]:
    return {role: PackedMasks.restored(masks) for role, masks in state["masks"].items()}
