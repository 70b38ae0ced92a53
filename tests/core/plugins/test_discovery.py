"""Installed plugins: each by itself, in one order, once; leaving out, strictness, clashes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.api.component import Provider
from core.api.errors import UserError
from core.cli import main
from core.plugins import load_plugins
from core.training.record import changed_plugins
from tests.support.installations import install, offering, on_path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder of Python's path to install to."""
    path = tmp_path / "site"
    path.mkdir()
    with on_path(path):
        yield path


def test_one_that_works_and_ones_that_do_not(site: Path) -> None:
    install(site, "sp-good", "2.0", {"good": "sp_good"}, {"sp_good.py": offering("good")})
    install(site, "sp-bad", points={"bad": "sp_bad"}, modules={"sp_bad.py": "import no_such_thing"})
    exits = "import sys\nsys.exit(3)"
    install(site, "sp-exit", points={"x": "sp_exit"}, modules={"sp_exit.py": exits})
    install(site, "sp-gone", points={"x": "sp_gone.nowhere"})
    late = offering().replace("return [", "yield 1 / 0\n    return [")
    install(site, "sp-late", points={"x": "sp_late"}, modules={"sp_late.py": late})
    plugins = load_plugins()
    provider = plugins.find("masks", "good").provider
    assert provider == Provider("sp-good", "2.0", "sp_good", None, "good")
    assert [str(broken) for broken in plugins.broken] == [
        "sp-bad 1.0 (sp_bad): ModuleNotFoundError: No module named 'no_such_thing'",
        "sp-exit 1.0 (sp_exit): SystemExit: 3",
        "sp-gone 1.0 (sp_gone.nowhere): ModuleNotFoundError: No module named 'sp_gone'",
        "sp-late 1.0 (sp_late): ZeroDivisionError: division by zero",
    ]
    assert 'sp_bad.py", line 1' in plugins.broken[0].traceback
    third = [p.distribution for p in plugins.providers if p.distribution != "openwork"]
    assert third == ["sp-good"]


def test_a_broken_one_matters_where_the_preset_asks_for_it(site: Path) -> None:
    install(site, "sp-bad", points={"bad": "sp_bad"}, modules={"sp_bad.py": "import no_such_thing"})
    plugins = load_plugins()
    assert plugins.find("masks", "uniform")
    with pytest.raises(LookupError) as caught:
        plugins.find("masks", "mine")
    said = str(caught.value)
    assert "no mask is called 'mine'" in said
    assert "broken plugin: sp-bad 1.0 (sp_bad): ModuleNotFoundError" in said
    assert "python -m core plugins doctor sp-bad" in said
    with pytest.raises(LookupError, match="sp_bad is broken"):
        plugins.find("masks", "sp_bad:mine")


def test_strictness_lists_all_that_is_broken(site: Path, capsys: Any, tiny: Path) -> None:
    for name in ("a", "b"):
        install(site, f"sp-{name}", points={"x": f"sp_{name}"}, modules={f"sp_{name}.py": "1 / 0"})
    assert main(["run", str(tiny), "--strict-plugins", "--run-dir", str(site / "run")]) == 2
    said = capsys.readouterr().err
    assert "sp-a 1.0 (sp_a): ZeroDivisionError" in said
    assert "sp-b 1.0 (sp_b): ZeroDivisionError" in said
    assert not (site / "run").exists()


def test_order_is_by_distribution_and_name(site: Path) -> None:
    for name in ("sp-c", "SP.a", "sp_b"):
        module = f"m_{name[-1]}"
        points = {"z": module, "y": f"{module}_y"}
        modules = {f"{m}.py": offering(f"{m}_offer") for m in points.values()}
        install(site, name, points=points, modules=modules)
    third = [p.source for p in load_plugins().providers if p.distribution != "openwork"]
    assert third == ["m_a_y", "m_a", "m_b_y", "m_b", "m_c_y", "m_c"]


def test_a_distribution_that_is_twice_on_the_path_counts_once(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    install(site, "sp-two", "2.0", {"x": "sp_two"}, {"sp_two.py": offering("two")})
    older = {"sp_two.py": offering("old"), "sp_two_more.py": offering("more")}
    install(other, "SP_Two", "1.0", {"x": "sp_two", "y": "sp_two_more"}, older)
    with on_path(site, other):
        plugins = load_plugins()
    third = [str(p) for p in plugins.providers if p.distribution != "openwork"]
    assert third == ["sp-two 2.0"]
    assert plugins.broken == []
    assert plugins.find("masks", "two")


def test_two_entry_points_of_one_object_are_one_plugin(site: Path) -> None:
    install(site, "sp-x", points={"x": "sp_x", "y": "sp_x"}, modules={"sp_x.py": offering("x")})
    plugins = load_plugins()
    assert plugins.broken == []
    assert plugins.find("masks", "x")


def test_damaged_metadata_is_a_row(site: Path) -> None:
    info = install(site, "sp-torn", modules={"sp_torn.py": offering("torn")})
    (info / "entry_points.txt").write_text("[openwork]\nthis is no entry point\n")
    nameless = install(site, "sp-nameless", points={"x": "sp_torn"})
    (nameless / "METADATA").write_text("")
    foreign = install(site, "sp-foreign")
    (foreign / "entry_points.txt").write_text("[else]\nthis is no entry point\n")
    plugins = load_plugins()
    assert [broken.provider.distribution for broken in plugins.broken] == ["sp-torn"]
    assert plugins.find("masks", "torn").provider == Provider(
        "unnamed", "unknown", "sp_torn", None, "x"
    )


def test_editable_installations_are_known_by_their_sources(site: Path) -> None:
    modules = {"sp_e/__init__.py": "", "sp_e/a.py": offering("e"), "sp_e/b/c.py": ""}
    install(site, "sp-e", points={"x": "sp_e.a"}, modules=modules, editable=True)

    def code() -> str:
        provider = load_plugins().find("masks", "e").provider
        assert provider is not None
        assert provider.editable
        assert len(str(provider.sha256)) == 64
        return str(provider.sha256)

    before = code()
    assert code() == before
    (site / "sp_e" / "b" / "c.py").write_text("x = 1")
    changed = code()
    assert changed != before
    record = {"plugins": [{"distribution": "sp-e", "version": "1.0", "sha256": before}]}
    assert changed_plugins(record, load_plugins().providers) == [
        f"plugin sp-e 1.0 is other code now: SHA-256 {changed[:12]}; "
        f"the run began with {before[:12]}"
    ]
    record["plugins"][0]["sha256"] = changed
    assert changed_plugins(record, load_plugins().providers) == []


# --- leaving out ------------------------------------------------------------------------


@pytest.fixture
def pair(site: Path) -> Path:
    """A distribution of two plugins, and a file."""
    modules = {"sp_pair/__init__.py": "", "sp_pair/a.py": offering("a")}
    modules["sp_pair/b.py"] = offering("b")
    points = {"first": "sp_pair.a", "second": "sp_pair.b"}
    install(site, "sp-pair", "3.1", points, modules)
    (site / "own.py").write_text(offering("own"))
    return site / "own.py"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sp-pair", ["own"]),
        ("SP_pair", ["own"]),
        ("sp-pair:first", ["b", "own"]),
        ("second", ["a", "own"]),
        ("own.py", ["a", "b"]),
    ],
)
def test_leaving_out(pair: Path, name: str, kept: list[str]) -> None:
    plugins = load_plugins([pair], without=[name])
    assert [c.name for c in plugins.components("masks") if c.summary == "a test's"] == kept
    assert plugins.left_out
    assert plugins.without == (name,)


def test_what_is_left_out_is_not_imported(site: Path) -> None:
    install(site, "sp-bad", points={"bad": "sp_bad"}, modules={"sp_bad.py": "1 / 0"})
    plugins = load_plugins(without=["sp-bad"], strict=True)
    assert plugins.broken == []
    with pytest.raises(LookupError, match="sp-bad is left out by --without"):
        plugins.find("masks", "sp-bad:foo")


def test_leaving_out_what_is_not_there(pair: Path) -> None:
    with pytest.raises(UserError, match=r"--without sp-pear: .*Did you mean 'sp-pair'\?"):
        load_plugins(without=["sp-pear"])
    with pytest.raises(UserError, match="--without openwork: no plugin is called so"):
        load_plugins(without=["openwork"])


def test_the_environment_variable(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offered() -> list[str]:
        masks = load_plugins([pair]).components("masks")
        return [c.name for c in masks if c.summary == "a test's"]

    monkeypatch.setenv("OPENWORK_PLUGINS", "")
    assert offered() == ["own"]
    monkeypatch.setenv("OPENWORK_PLUGINS", "sp-pair:second")
    assert offered() == ["b", "own"]
    monkeypatch.setenv("OPENWORK_PLUGINS", "sp-pears")
    with pytest.raises(UserError, match=r"OPENWORK_PLUGINS sp-pears: .*Did you mean 'sp-pair'"):
        offered()


def test_resuming_keeps_to_what_was_left_out(pair: Path, tiny: Path, tmp_path: Path) -> None:
    run, site = tmp_path / "run", pair.parent
    words = ["frames=100", "diagnostics=[]", "--without", "first", "--run-dir", str(run)]
    assert main(["run", str(tiny), *words, "masks=[{name: uniform, sparsity: 0.5}]"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["without"] == ["first"]
    third = [p for p in record["plugins"] if p["distribution"] != "openwork"]
    assert third == [
        {
            "distribution": "sp-pair",
            "version": "3.1",
            "source": "sp_pair.b",
            "sha256": None,
            "entry_point": "second",
            "editable": False,
        }
    ]
    (site / "sp_pair" / "a.py").write_text("raise RuntimeError('imported after all')")
    (site / "sp_pair-3.1.dist-info").rename(site / "sp_pair-4.0.dist-info")
    metadata = site / "sp_pair-4.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("3.1", "4.0"))
    assert main(["resume", str(run), "frames=120", "--strict-plugins"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["resumed"][0]["plugins"] == ["plugin sp-pair is 4.0 now; the run began with 3.1"]
    for path in (site / "sp_pair-4.0.dist-info").iterdir():
        path.unlink()
    (site / "sp_pair-4.0.dist-info").rmdir()
    assert main(["resume", str(run), "frames=140"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["resumed"][1]["plugins"] == [
        "plugin sp-pair is not loaded now; the run began with 3.1"
    ]


# --- clashes ----------------------------------------------------------------------------


def test_a_clash_of_two_distributions(site: Path) -> None:
    for name in ("sp-a", "sp-b"):
        module = name.replace("-", "_")
        install(site, name, "1.5", {"x": module}, {f"{module}.py": offering("foo")})
    plugins = load_plugins()
    with pytest.raises(LookupError) as caught:
        plugins.find("masks", "foo")
    assert str(caught.value) == (
        "mask 'foo' is offered by sp-a 1.5 and by sp-b 1.5; "
        "write 'sp-a:foo' or 'sp-b:foo' to choose, or leave one out, such as with --without sp-b"
    )
    for name in ("sp-b:foo", "SP_B:foo"):
        assert str(plugins.find("masks", name).provider) == "sp-b 1.5"
    with pytest.raises(LookupError, match=r"sp-a offers no mask of that name"):
        plugins.find("masks", "sp-a:fooo")
    with pytest.raises(LookupError, match=r"no plugin is called 'sp-q'\. Did you mean 'sp-"):
        plugins.find("masks", "sp-q:foo")


def test_a_clash_within_a_distribution_names_both_modules(site: Path) -> None:
    modules = {"m_a.py": offering("foo"), "m_b.py": offering("foo", "bar")}
    install(site, "sp-dup", points={"a": "m_a", "b": "m_b"}, modules=modules)
    plugins = load_plugins()
    for name in ("foo", "sp-dup:foo"):
        with pytest.raises(LookupError) as caught:
            plugins.find("masks", name)
        assert str(caught.value) == (
            "mask 'foo' is offered by sp-dup 1.0 (m_a) and by sp-dup 1.0 (m_b); "
            "leave one out, such as with --without sp-dup:a"
        )
    assert load_plugins(without=["sp-dup:a"]).find("masks", "foo")
    assert plugins.find("masks", "bar")


def test_provider_and_name_in_lists_of_a_preset(site: Path, tiny: Path, tmp_path: Path) -> None:
    again = """
import plugins.masks, plugins.diagnostics
from core.api import hookimpl

@hookimpl
def register_masks():
    return plugins.masks.register_masks()

@hookimpl
def register_diagnostics():
    return plugins.diagnostics.register_diagnostics()
"""
    install(site, "sp-again", points={"x": "again"}, modules={"again.py": again})
    run = tmp_path / "run"
    chosen = [
        "masks=[{name: 'sp-again:uniform', sparsity: 0.5}]",
        "diagnostics=['sp-again:parameter_norm', {name: 'openwork:gradient_norm'}]",
    ]
    assert main(["run", str(tiny), "frames=300", *chosen, "--run-dir", str(run)]) == 0
    resolved = (run / "resolved.yaml").read_text()
    for name in ("sp-again:uniform", "sp-again:parameter_norm", "openwork:gradient_norm"):
        assert f"name: {name}" in resolved
    record = json.loads((run / "run.json").read_text())
    places = {c["at"]: (c["provider"]["distribution"], c["name"]) for c in record["components"]}
    assert places["masks.0"] == ("sp-again", "uniform")
    assert places["diagnostics.0"] == ("sp-again", "parameter_norm")
    metrics = (run / "metrics.jsonl").read_text()
    assert '"parameter_norm/' in metrics
    assert "sp-again" not in metrics


# --- verbs ------------------------------------------------------------------------------

VERB = """
import sys
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    pass

class Verb:
    examples = "  none"
    def add_arguments(self, parser):
        {adding}
    def execute(self, arguments):
        {doing}

@hookimpl
def register_commands():
    return [Component({name!r}, Options, lambda options, context: Verb(), "a test's")]
"""


def verb(name: str, adding: str = "pass", doing: str = "print(__name__); return 0") -> str:
    return VERB.format(name=name, adding=adding, doing=doing)


def test_a_plugins_verb_hides_no_other(site: Path, capsys: Any) -> None:
    for name in ("report", "run", "mine"):
        install(site, f"sp-{name}", points={"x": f"v_{name}"}, modules={f"v_{name}.py": verb(name)})
    install(site, "sp-rival", points={"x": "v_rival"}, modules={"v_rival.py": verb("mine")})
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for shown in ("sp-report:report", "sp-run:run", "sp-mine:mine", "sp-rival:mine"):
        assert shown in said
    assert main(["sp-run:run"]) == 0
    assert capsys.readouterr().out == "v_run\n"
    assert main(["sp-rival:mine"]) == 0
    assert capsys.readouterr().out == "v_rival\n"
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    assert "a run's directory" in capsys.readouterr().out
    assert main(["mine"]) == 2
    assert "no verb is called 'mine'" in capsys.readouterr().err
    assert main(["mine", "--without", "sp-rival"]) == 0


def test_a_verb_that_cannot_be_made_spoils_no_other(site: Path, capsys: Any) -> None:
    torn = verb("torn", adding="parser.add_argument('x'); parser.add_argument('x', 1)")
    install(site, "sp-torn", points={"x": "v_torn"}, modules={"v_torn.py": torn})
    install(site, "sp-fine", points={"x": "v_fine"}, modules={"v_fine.py": verb("fine")})
    assert main(["fine"]) == 0
    with pytest.raises(Exception) as caught:  # noqa: PT011
        main(["torn"])
    assert re.search(
        r"this was plugin sp-torn 1\.0 \(v_torn\.py:\d+\)", str(caught.value.__notes__)
    )
    capsys.readouterr()
    assert main(["fien"]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'fine'" in said
    (verbs,) = [line for line in said.splitlines() if line.startswith("    verbs: ")]
    assert "fine" in verbs
    assert "torn" not in verbs
    assert "broken plugin: sp-torn 1.0" in said


def test_a_verb_that_raises_is_named(site: Path) -> None:
    text = verb("mine", doing="return 1 / 0")
    install(site, "sp-verb", "0.3", {"x": "v_mine"}, {"v_mine.py": text})
    with pytest.raises(ZeroDivisionError) as caught:
        main(["mine"])
    assert re.match(
        r"openwork: this was plugin sp-verb 0\.3 \(v_mine\.py:", caught.value.__notes__[0]
    )


def test_a_verb_may_exit_and_be_interrupted(site: Path, capsys: Any) -> None:
    text = verb("mine", doing="sys.exit(3)")
    install(site, "sp-exit", "0.3", {"x": "v_exit"}, {"v_exit.py": text})
    text = verb("stopped", doing="raise KeyboardInterrupt")
    install(site, "sp-stop", "0.3", {"x": "v_stop"}, {"v_stop.py": text})
    with pytest.raises(SystemExit, match="3"):
        main(["mine"])
    assert main(["stopped"]) == 130
    assert capsys.readouterr().err == ""


def test_verbs_of_a_plugin_file(tmp_path: Path, capsys: Any) -> None:
    adding = "from core.api import add_plugin_argument as add; add(parser)"
    for text in (verb("mine", adding=adding), verb("mine")):
        (tmp_path / "own.py").write_text(text)
        assert main(["mine", "--plugin", str(tmp_path / "own.py")]) == 0
        assert capsys.readouterr().out == "openwork_plugin_own\n"


# --- the process ------------------------------------------------------------------------


def test_a_failure_ends_with_its_traceback_and_the_plugin(site: Path, tiny: Path) -> None:
    text = offering("foo").replace("return None", "raise OSError('on fire')")
    install(site, "sp-bad", "1.0", {"x": "sp_bad.masks"}, {"sp_bad/__init__.py": ""})
    (site / "sp_bad" / "masks.py").write_text(text)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from core.cli import process; process()"
    words = ["run", str(tiny), "masks=[foo]", "--run-dir", str(site / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert re.fullmatch(
        r"openwork: this was plugin sp-bad 1\.0 \(sp_bad/masks\.py:\d+\), mask 'foo'", lines[-1]
    )
    assert "OSError: on fire" in lines
    assert not (site / "run").exists()


def test_nothing_heavy_is_imported_to_find_plugins(site: Path) -> None:
    install(site, "sp-good", "2.0", {"good": "sp_good"}, {"sp_good.py": offering("good")})
    code = f"""
        import sys
        sys.path.insert(0, {str(site)!r})
        from core.plugins import load_plugins
        assert load_plugins().find("masks", "good")
        heavy = {{"torch", "tensordict", "torchrl", "mujoco", "dm_control", "rich"}}
        print(sorted(heavy & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
