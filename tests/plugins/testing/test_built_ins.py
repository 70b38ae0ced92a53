"""Every built-in component, by the suites that third parties use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from core.api.hookspecs import KINDS
from plugins.testing import ComponentSuite, checks, suite_for
from plugins.testing.harness.agents import CHOICES, PIXELS
from plugins.testing.harness.catalogue import built_ins
from plugins.testing.toys import toy

SPARSITY = ({"sparsity": 1.0}, {"sparsity": -0.1}, {"target": ""})
SCHEDULE = (*SPARSITY, {"every": 0}, {"begin": -1}, {"begin": 500, "end": 400})
RETURNS = ({"gamma": 1.5}, {"n_step": 0}, {"tau": 0.0}, {"critics": 0})
ADAM = ({"lr": -1.0}, {"betas": [0.9, 1.0]}, {"eps": 0.0}, {"weight_decay": -0.1})
OBGD = ({"lr": -1.0}, {"lamda": 1.5}, {"kappa": {"actor": 0.0}})
GIVEN, SURE, BLOCKS = {"random": False}, {"random": False, "prunes": False}, {"exact": False}
# On a CPU these losses take shorter ways: normalising by NumPy, cropping by numbers on the host.
ON_HOST, NOT_DRAWN = {"host_free": False}, {"render": False}
SMALL, FEW, NARROW = {"batch": {"size": 64}}, {"hidden": 8}, {"width": 8, "blocks": 1}
# Fewer zeros at first than by default: of a few inputs 90% are all, and nothing tells the members
# of a critic apart.
DENSER = {"sparse_init": {"sparsity": 0.2}, "width": 16}
REPLAY = {"capacity": 70, "batch_size": 8, "learning_starts": 20}
# RigL stands for all: states of changing masks are saved by one and the same code.
SAVED = ["goes_on_alike_in_a_new_process"]
# Schemes that never look at weights: what they draw is drawn and saved by common code.
COMMON = [*SAVED, "masks_are_the_same_whatever_the_execution"]
# What does not lie in pictures is checked of states; making one takes a quarter of a second.
NOT_OF_PICTURES = [
    "the_seed_decides_and_nothing_else",
    "other_seeds_begin_elsewhere",
    "a_reset_touches_only_the_chosen",
    "actions_beyond_the_bounds_count_as_the_bounds",
    "it_steps_as_torchrl_does",
    "observations_are_copies",
    "a_time_limit_truncates",
    "action_repeat_counts",
    "torchrl_accepts_its_specs",
    "episodes_are_marked_and_connected",
]
CHECKED: list[Any] = []


def of(kind: str, name: str, *out: str, marks: Sequence[Any] = (), **given: Any) -> None:
    """Check a component; ``out`` are checks to leave out, ``given`` attributes of its suite."""
    suite = suite_for(kind, name, **given)
    for check in checks(suite):
        if check.removeprefix("test_") not in out:
            label = f"{name}-{check.removeprefix('test_')}"
            CHECKED.append(pytest.param(suite, check, id=label, marks=marks))


def masks(name: str, *out: str, refused: Any = SPARSITY, can: Any = None, **options: Any) -> None:
    count = name in ("set", "rigl")
    more = {"refused": refused, "capabilities": can or {}, "keeps_count": count}
    of("masks", name, *out, options=options, **more)


masks("erdos_renyi", *SAVED, sparsity=0.6)
masks("erdos_renyi", *COMMON, sparsity=0.5, target="encoder")
masks("uniform", *COMMON, sparsity=0.75, counted="kernels")
masks("openwork:uniform", *COMMON, can=BLOCKS, sparsity=0.5, draw="bernoulli", target="critic")
masks("none", *COMMON, can=SURE, refused=({"target": ""},))
masks("magnitude", *COMMON, can=GIVEN, refused=(*SPARSITY, {"at": -1}), sparsity=0.7)
masks("magnitude", *SAVED, can=GIVEN, sparsity=0.7, at=500, distribution="global")
masks("snip", *SAVED, can=GIVEN, sparsity=0.8, batch={"size": 32})
masks("nm", *COMMON, refused=({"n": 4}, {"n": 0}, {"m": 1}, {"target": ""}), n=2, m=4)
masks("block", *COMMON, can=BLOCKS, refused=(*SPARSITY, {"side": 1}), sparsity=0.5, side=4)
masks("small_world", *COMMON, refused=(*SPARSITY, {"rewiring": 1.5}), sparsity=0.6)
masks("set", *SAVED, refused=(*SCHEDULE, {"drop_fraction": 0.0}), sparsity=0.6, every=100)
masks("rigl", refused=SCHEDULE, sparsity=0.6, every=200, batch={"size": 32})
masks("gmp", *SAVED, can=GIVEN, refused=SCHEDULE, sparsity=0.6, every=100, counted="kernels")

of("networks", "simba", options={"actor": NARROW, "critic": NARROW}, refused=({"width_scale": 0},))
of(
    *("networks", "mlp"),
    options={"actor": {"hidden": [16]}, "critic": {"hidden": [16, 8]}},
    refused=({"actor": {"hidden": []}}, {"critic": {"hidden": [0]}}, {"activation": "sine"}),
)
of(
    *("networks", "mlp"),
    options={"layer_norm": True, "normalise": True, "activation": "elu"},
)
of(
    *("networks", "drq_cnn"),
    options={"channels": 4, "feature_dim": 6, "actor": FEW, "critic": FEW},
    refused=({"channels": 0}, {"feature_dim": 0}),
    specs=(PIXELS,),
)
of(
    "networks",
    "stream_mlp",
    options=DENSER,
    refused=({"depth": 0}, {"sparse_init": {"sparsity": 1}}),
)
of(
    *("networks", "stream_cnn"),
    options={"filters": [4], "kernels": [5], "strides": [3], **DENSER},
    refused=({"width": 0}, {"filters": []}, {"kernels": [1, 2]}),
    specs=(PIXELS,),
)

of(
    *("losses", "sac"),
    options={"critics": 2},
    refused=(*RETURNS, {"initial_temperature": 0.0}, {"log_std_max": -20.0}, {"shift": -1}),
)
of("losses", "ddpg", refused=(*RETURNS, {"noise_clip": 0.0}, {"noise": {"steps": 0}}))
of(
    *("losses", "ddpg"),
    options={"shift": 4, "critics": 2, "n_step": 3, "order": "critic_first"},
    agent="pixels",
    falling=("critic",),
    capabilities=ON_HOST,
)
of(
    *("losses", "stream_ac"),
    refused=({"gamma": -0.1}, {"entropy": -1.0}, {"truncation": "never"}),
    agent="streaming",
    falling=("critic",),
    capabilities={"confined": False, **ON_HOST},
)
of(
    *("losses", "stream_q"),
    refused=({"gamma": 1.1}, {"epsilon": {"final": 2.0}}, {"exploratory_cut": "later"}),
    agent="streaming",
    spec=CHOICES,
    capabilities=ON_HOST,
)

of("optimizers", "adamw", refused=ADAM)
of("optimizers", "adam", options={"weight_decay": 0.01}, refused=ADAM)
of("optimizers", "obgd", refused=OBGD)
of("optimizers", "adaptive_obgd", refused=(*OBGD, {"beta2": 1.0}, {"eps": 0.0}))

of(
    *("data", "replay"),
    options=REPLAY,
    refused=({"capacity": 0}, {"updates_per_step": 0.0}, {"learning_starts": 71}, {"storage": "a"}),
    steps=40,
)
of(
    *("data", "replay", "draws_by_its_seed_alone", "sampling_changes_nothing"),
    options={**REPLAY, "storage": "memmap", "updates_per_step": 0.5},
    steps=40,
)
of("data", "stream")

of(
    *("environments", "toy_states"),
    plugin=toy,
    options={"limit": 30},
    refused=({"limit": 0}, {"action_repeat": 0}),
)
of(
    *("environments", "toy_states"),
    plugin=toy,
    options={"limit": 15, "discrete": True, "ends": False},
)
of(
    *("environments", "toy_pixels"),
    plugin=toy,
    options={"limit": 21, "frame_stack": 3, "action_repeat": 2},
    refused=({"size": 7}, {"frame_stack": 0}),
)
REACHER = {"task": "reacher-easy", "time_limit": 0.24}
of(
    *("environments", "dm_control"),
    options=REACHER,
    refused=({"action_repeat": 0}, {"camera": -2}, {"time_limit": 0.0}),
    capabilities=NOT_DRAWN,
)
of(
    *("environments", "dm_control", *NOT_OF_PICTURES),
    options={**REACHER, "pixels": True, "size": 16, "rendering": "fast"},
    steps=14,
    marks=[pytest.mark.render],
)
of(
    *("environments", "gymnasium"),
    options={"id": "CartPole-v1", "max_episode_steps": 25},
    refused=({"max_episode_steps": 0}, {"action_repeat": 0}),
    capabilities=NOT_DRAWN,
)
of(
    *("environments", "gymnasium"),
    options={"id": "Pendulum-v1", "max_episode_steps": 25, "rescale_actions": False},
    capabilities=NOT_DRAWN,
)

of("execution", "masked", "outputs_and_gradients_are_those_of_masked", "learns_what_masked_learns")
of("execution", "sparse")
of("execution", "sparse", options={"product": "densified"})
# on a CPU it chooses among the two above
of("execution", "auto", "a_copy_is_a_network_of_its_own", "other_masks_keep_what_lives_on")

of("diagnostics", "effective_rank", options=SMALL, refused=({"delta": 2.0}, {"every": 0}))
of(
    *("diagnostics", "dormant_ratio"),
    options={**SMALL, "activations": ["pre", "post"]},
    refused=({"tau": [-1.0]}, {"batch": {"size": 0}}),
)
of("diagnostics", "active_units", options=SMALL)
of("diagnostics", "feature_norm", options=SMALL)
of("diagnostics", "weight_rank", refused=({"delta": 2.0},))
of("diagnostics", "gradient_norm", options=SMALL)
of("diagnostics", "parameter_norm")
of("diagnostics", "gradient_interference", options={"samples": 8})
of("diagnostics", "churn", options=SMALL)
of("diagnostics", "q_bias", options={"episodes": 2, "tail": 0.95}, refused=({"tail": 1.0},))
of("diagnostics", "simplicity_bias", options={"points": 12}, refused=({"points": 3},))

of(
    *("interventions", "periodic_reset"),
    options={"every": 300, "at": [450], "until": 800},
    refused=({"every": 0}, {"last": 0}, {"until": 10}),
)
of(
    *("interventions", "periodic_reset", "is_due_at_its_frames"),
    options={"at": [500], "last": 1, "networks": ["critic"], "optimizer": False},
)
of(
    *("interventions", "shrink_and_perturb"),
    options={"every": 333},
    refused=({"shrink": 1.5}, {"perturb": -0.1}),
)
# so high a threshold that tiny networks have dormant units
of("interventions", "redo", options={"every": 400, "tau": 0.9, **SMALL}, refused=({"tau": -1.0},))

of("figures", "returns", refused=({"smooth": 2}, {"statistic": "median"}))
for name in ("losses", "diagnostics", "interference", "densities", "time"):
    # pictures follow from the runs alone, but for the bootstraps of returns
    of("figures", name, "draws_the_same_bytes_again")

QUICK = ("--widths", "32", "--sparsity", "0.5", "--batch", "4", "--seconds", "0.1", "--json")
VERBS: dict[str, tuple[list[str], list[str]]] = {
    "report": (
        ["{run} --out {folder} --figures returns,time --format png"],
        ["no-such-run", "{run} --figures retruns", "{run} --format gif", ""],
    ),
    "watch": (["{run}", "{run} --once"], ["no-such-run", "{run} --every 0", "{folder}"]),
    "bench-execution": ([" ".join(QUICK)], ["--widths 33", "--batch 0", "--sparsity 1.5"]),
    "describe": (["quickstart --json"], ["", "quickstart seed=x"]),
    "validate": (["quickstart seed=1", "--each base/sac"], ["", "{folder}", "--each {folder}"]),
    "presets": (
        [
            "list --json",
            "show quickstart",
            "diff quickstart quickstart",
            "copy quickstart {folder}",
        ],
        ["", "lst", "show base/sac", "copy quikstart {folder}"],
    ),
    "plugins": (
        ["list --kind mask", "info sac", "doctor openwork", "new fan-in {folder} --kind mask"],
        ["", "info sacc", "doctor nobody", "check no/such.py"],
    ),
}
for name, (good, bad) in VERBS.items():
    words = {"good": [g.split() for g in good], "bad": [b.split() for b in bad]}
    of("commands", name, good_arguments=words["good"], bad_arguments=words["bad"])

of("loggers", "tensorboard", refused=({"flush_seconds": 0},))
of(
    *("loggers", "wandb"),
    options={"mode": "disabled"},
    refused=({"mode": "somewhere"},),
    capabilities={"local": False},
    marks=[pytest.mark.skipif(find_spec("wandb") is None, reason="needs openwork[wandb]")],
)


@pytest.mark.parametrize(("suite", "check"), CHECKED)
def test_it_passes(suite: type[ComponentSuite], check: str) -> None:
    checked = suite()
    checked.setup_method()
    getattr(checked, check)()


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_forgotten(kind: str) -> None:
    suites = {param.values[0] for param in CHECKED if param.values[0].kind == kind}
    checked = {suite.component.rpartition(":")[2] for suite in suites}
    assert {component.name for component in built_ins().components(kind)} <= checked
