"""Suites without pytest, the fixtures, and what importing them costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.api.errors import UserError
from plugins.testing import check_component, run_checks, suite_for
from tests.plugins.testing.faulty import Fault, but, offering
from tests.plugins.testing.faulty_masks import Halves, Turning

HERE = Path(__file__).parent
QUICK = """\
frames: 60
environment: {name: toy_states}
network: {name: mlp, actor: {hidden: [8]}, critic: {hidden: [8]}}
loss: {name: sac}
optimizer: {name: adamw}
data: {name: replay, capacity: 200, batch_size: 8, learning_starts: 40}
evaluation: {every: 60, episodes: 1}
log_every: 20
device: cpu
"""


def plugin(build):
    return offering(Fault("masks", "", "", build))


# --- check_component --------------------------------------------------------------------


def test_it_is_silent_where_all_is_well():
    check_component("optimizers", "adamw", {"lr": 0.01})


def test_it_says_everything_that_is_wrong():
    with pytest.raises(AssertionError) as caught:
        check_component("masks", "faulty", plugin=plugin(but(Halves, target="brain")))
    text = str(caught.value)
    assert re.match(r"\d+ of \d+ checks of mask 'faulty' failed:\n- ", text)
    assert "- draws_masks_that_fit: 'target' is to be one of" in text


def test_attributes_of_the_suite_can_be_given():
    suite = suite_for(
        "masks",
        "faulty",
        None,
        plugin(Turning),
        keeps_count=True,
        frames=200,
        capabilities={"streaming": False},
    )
    found = {checked.name: checked for checked in run_checks(suite)}
    assert found["masks_change_in_the_run"].outcome == "passed"
    assert found["values_out_of_range_are_refused"].outcome == "skipped"
    assert "'refused'" in found["values_out_of_range_are_refused"].message
    assert "failed" not in {checked.outcome for checked in found.values()}


def test_an_unknown_component_is_one_failure_with_a_hint():
    (found,) = run_checks(suite_for("networks", "simb"))
    assert found.outcome == "failed"
    assert "Did you mean 'simba'?" in found.message


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="no kind 'pruners'"):
        check_component("pruners", "rigl")


def test_a_check_that_raises_shows_where():
    class Raising(Turning):
        def draw(self, parameters, generator):
            raise RuntimeError("out of order")

    found = {c.name: c for c in run_checks(suite_for("masks", "faulty", None, plugin(Raising)))}
    assert found["draws_masks_that_fit"].outcome == "failed"
    assert "faulty_masks.py" not in found["draws_masks_that_fit"].message
    assert "in draw" in found["draws_masks_that_fit"].message


@pytest.mark.parametrize("form", [HERE / "faulty_plugin.py", f"{__package__}.faulty_plugin"])
def test_a_plugin_is_given_as_a_file_or_a_module(form):
    assert suite_for("masks", "faulty", None, form)().found.name == "faulty"


def test_neither_torch_nor_pytest_is_imported_before_a_check_needs_it():
    script = "import sys, plugins.testing.checking; print({'torch', 'pytest'} & {*sys.modules})"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- fixtures ---------------------------------------------------------------------------


def test_the_host_has_built_ins_and_takes_others_for_a_while(plugin_host):
    module = plugin(Turning)
    assert [c for c in plugin_host.components("masks") if c.name == "faulty"] == []
    with plugin_host.temporary(module, name="mine", version="3"):
        assert str(plugin_host.find("masks", "faulty").provider) == "mine 3"
    with pytest.raises(LookupError):
        plugin_host.find("masks", "faulty")


def test_toys_are_components(toy_pixels, toy_states):
    assert (toy_pixels.name, toy_states.name) == ("toy_pixels", "toy_states")


def test_a_preset_is_run(run_preset, tmp_path):
    masks = "masks=[{name: faulty}]"
    first = run_preset(QUICK, masks, plugin=HERE / "faulty_plugin.py").assert_ok()
    assert first.directory.parent == tmp_path
    assert first.record["outcome"] == "finished"
    assert any("eval/return" in line for line in first.metrics)
    mistaken = run_preset(QUICK, masks).assert_fails("no mask is called 'faulty'")
    assert mistaken.code == 2
    assert mistaken.directory != first.directory
    assert not mistaken.directory.exists()
    with pytest.raises(AssertionError, match="no mask is called"):
        mistaken.assert_ok()
    with pytest.raises(AssertionError, match="the run finished"):
        first.assert_fails("anything")
