"""Runs are grouped by their presets, and each group is called by what sets it apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.figures import RecordedRun
from plugins.commands.report.differences import ABSENT, differences, written
from plugins.commands.report.groups import group_runs
from plugins.commands.report.labels import label_presets
from tests.support.recorded_preset import resolved, set_key

DDPG = {"name": "ddpg", "gamma": 0.9}
UNIFORM = {"name": "uniform", "sparsity": 0.8, "target": "critic", "dense": []}


def config(
    sparsity: float | None = 0.8,
    diagnostics: bool = False,
    reset: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A resolved preset; ``loss__gamma=0.9`` sets ``loss.gamma``."""
    made = resolved(0, sparsity, 60_000, diagnostics, reset)
    for key, value in changes.items():
        set_key(made, key.replace("__", "."), value)
    return made


@pytest.mark.parametrize(
    ("configs", "labels"),
    [
        ([config(None), config()], ["dense", "erdos_renyi 0.8"]),
        ([config(0.8), config(0.9)], ["sparsity 0.8", "sparsity 0.9"]),
        (
            [config(None), config(0.8), config(0.9)],
            ["dense", "erdos_renyi 0.8", "erdos_renyi 0.9"],
        ),
        (
            [config(), config(masks=[UNIFORM]), config(None)],
            ["erdos_renyi 0.8", "uniform critic 0.8", "dense"],
        ),
        (
            [config(), config(masks=[{**UNIFORM, "name": "erdos_renyi"}])],
            ["target all", "target critic"],
        ),
        ([config(reset=None), config(reset=10)], ["no interventions", "periodic_reset"]),
        ([config(reset=20), config(reset=10)], ["periodic_reset.every 20", "periodic_reset.every 10"]),
        ([config(diagnostics=True), config()], ["5 diagnostics", "no diagnostics"]),
        (
            [config(loss__gamma=0.9), config(optimizer__lr=1e-4)],
            ["gamma 0.9, lr 0.001", "gamma 0.99, lr 0.0001"],
        ),
        ([config(loss=DDPG), config(), config(loss=DDPG | {"gamma": 0.5})],
            ["ddpg, gamma 0.9", "sac", "ddpg, gamma 0.5"],
        ),
        ([config(execution__name="sparse"), config()], ["sparse", "masked"]),
        (
            [config(network__actor__width=1), config(network__critic__width=2)],
            ["actor.width 1, critic.width 128", "actor.width 64, critic.width 2"],
        ),
        ([config(network__actor__width=1), config()], ["actor.width 1", "actor.width 64"]),
        ([config(evaluation__every=7), config()], ["evaluation.every 7", "evaluation.every 10_000"]),
        ([config(environment__task="walker-run"), config()], ["task walker-run", "task walker-walk"]),
        ([config(0.9, diagnostics=True, evaluation__every=7), config()], ["sparsity 0.9", "sparsity 0.8"]),
        ([config(0.9, threads=2), config(0.9), config()], ["sparsity 0.9, threads 2", "sparsity 0.9, threads null", "sparsity 0.8, threads null"]),
        ([config(masks=[{"name": ["odd"], "target": []}]), config()], ["['odd'] []", "erdos_renyi 0.8"]),
        ([config(network__bias=False), config()], ["bias false", "no bias"]),
        ([config(threads=1), config(threads=True)], ["threads 1", "threads true"]),
    ],
)  # fmt: skip
def test_labels(configs: list[dict[str, Any]], labels: list[str]) -> None:
    assert label_presets(configs) == labels


def test_a_long_label_is_cut_and_stays_unique() -> None:
    long = "a-task-with-a-name-of-sixty-characters-and-a-little-more-than"
    both = [
        config(environment__task=long, loss__gamma=gamma, frames=5) for gamma in (0.1, 0.2, 0.3)
    ]
    labels = label_presets([config(), *both])
    assert len(set(labels)) == 4
    assert all(len(label) < 130 for label in labels)
    assert labels[1].startswith("gamma 0.1, ")
    same_start = [config(environment__task="x" * 200 + end) for end in "ab"]
    assert [label[-3:] for label in label_presets(same_start)] == ["(1)", "(2)"]


LEAF = st.sampled_from([1, 1.0, True, None, "a", "b", 0.5])
NODES = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["p", "q"]), "x": LEAF}), max_size=3
)
CONFIG = st.fixed_dictionaries(
    {"seed": st.integers(0, 2), "loss": st.fixed_dictionaries({"name": LEAF, "c": LEAF})},
    optional={"frames": LEAF, "masks": NODES, "network": st.dictionaries(st.sampled_from("xy"), LEAF)},
)  # fmt: skip


@settings(max_examples=25)
@given(configs=st.lists(CONFIG, min_size=1, max_size=4))
def test_groups_hold_what_differs_in_seeds_only_and_have_unique_labels(configs: list[Any]) -> None:
    runs = [RecordedRun(Path(f"run{i}"), config=c) for i, c in enumerate(configs)]
    study = group_runs(runs)
    assert sorted(run.title for run in study.runs) == [run.title for run in runs]
    assert len({group.label for group in study.groups}) == len(study.groups)
    assert all(group.label for group in study.groups)

    def essence(run: RecordedRun) -> str:
        return repr(sorted((k, v) for k, v in plain(run.config).items() if k != "seed"))

    groups = [{essence(run) for run in group.runs} for group in study.groups]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == len(groups)
    apart = differences([group.runs[0].config for group in study.groups])
    assert bool(apart) == (len(groups) > 1)


def plain(value: Any) -> Any:
    """With the keys of mappings in order."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_seeds_and_names_make_no_groups() -> None:
    changes: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2, "mask_seed": 3}, {"name": "other"}]
    runs = [RecordedRun(Path(f"r{i}"), config=config(**c)) for i, c in enumerate(changes)]
    (group,) = group_runs(runs).groups
    assert group.label == "all runs"
    assert [run.title for run in group.runs] == ["r0", "r1", "r2"]
    named = [RecordedRun(r.directory, {"name": "quickstart"}, r.config) for r in runs]
    assert group_runs(named).groups[0].label == "quickstart"
    assert group_runs(runs[:1]).groups[0].label == "r0"


def test_runs_without_a_preset_stand_for_themselves() -> None:
    known = RecordedRun(Path("a"), config=config())
    lost = [RecordedRun(Path(name)) for name in ("b", "c")]
    labels = [group.label for group in group_runs([lost[0], known, lost[1]]).groups]
    assert labels == ["b (preset unknown)", "a", "c (preset unknown)"]


def test_differences_name_every_key_once_with_its_value_in_each() -> None:
    configs = [config(None), config(0.8, loss__gamma=0.9, seed=5), config(0.9)]
    found = {d.key: d.values for d in differences(configs)}
    assert found == {
        "masks.0.name": (ABSENT, "erdos_renyi", "erdos_renyi"),
        "masks.0.sparsity": (ABSENT, 0.8, 0.9),
        "loss.gamma": (0.99, 0.9, 0.99),
    }
    fewer = config(diagnostics=True)
    fewer["diagnostics"] = [{**fewer["diagnostics"][4], "every": 5}, fewer["diagnostics"][0]]
    (*_, moved), named = (
        differences([config(diagnostics=True), fewer], named=named) for named in (False, True)
    )
    assert moved.key == "diagnostics.parameter_norm.every"
    assert moved.values == (10_000, 5)
    assert [d.key.removeprefix("diagnostics.") for d in named] == [
        *("dormant_ratio", "gradient_norm", "gradient_interference", "parameter_norm.every")
    ]
    (whole,) = differences([config(None), config()])
    assert whole.key == "masks.0"
    assert [written(value) for value in whole.values] == [
        "\N{EN DASH}",
        "{name: erdos_renyi, sparsity: 0.8, target: all, dense: []}",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (9_999, "9999"),
        (1_000_000, "1_000_000"),
        (0.001, "0.001"),
        (0.1 + 0.2, "0.30000000000000004"),
        (float("nan"), "nan"),
        (1e-8, "1e-08"),
        ([0.9, None], "[0.9, null]"),
        ({}, "{}"),
    ],
)
def test_values_are_written_as_a_preset_has_them(value: Any, text: str) -> None:
    assert written(value) == text
