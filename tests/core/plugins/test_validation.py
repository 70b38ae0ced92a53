"""What a plugin may not do is refused, with what to write instead; nothing of it stays."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from pathlib import Path
from typing import Any, Literal

import pytest

from core.api import Component, hookimpl
from core.api.component import Provider
from core.api.errors import UserError
from core.api.hookspecs import KINDS
from core.plugins import Plugins, check_hooks, load_plugins
from core.plugins.validation import PluginError, check_offer

HEADER = "from core.api import hookimpl\n"


def module(text: str) -> types.ModuleType:
    made = types.ModuleType("mine")
    exec(HEADER + text, made.__dict__)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "@hookimpl\ndef register_mask(): return []",
            ["no hook is called 'register_mask'. Did you mean 'register_masks'?"],
        ),
        (
            "@hookimpl\ndef evaluatd(step): ...",
            ["no hook is called 'evaluatd'. Did you mean 'evaluated'?"],
        ),
        (
            "@hookimpl(optionalhook=True)\ndef register_mask(): return []",
            ["no hook is called 'register_mask'. Did you mean 'register_masks'?"],
        ),
        (
            "@hookimpl(specname='register_mask')\ndef offer(): return []",
            ["no hook is called 'register_mask'. Did you mean 'register_masks'?"],
        ),
        ("@hookimpl\ndef zzz(): ...", ["no hook is called 'zzz'. Hooks: register_environments, "]),
        ("def register_masks(): return []", ["register_masks is not marked: did you forget @hook"]),
        (
            "def register_mask(): return []",
            ["is not marked: did you forget @hookimpl? No hook is called so. Did you mean 'register_masks'"],
        ),
        ("def evaluated(step): ...", ["evaluated is not marked: did you forget @hookimpl?"]),
        (
            "@hookimpl\ndef evaluated(step, metrics=None): ...",
            ["evaluated has a default: 'metrics=None'; write 'metrics'"],
        ),
        (
            "@hookimpl\ndef evaluated(step, metrcs=None): ...",
            ["'metrcs=None'; it is given no argument 'metrcs'. Did you mean 'metrics'? (it may take run, step, metrics)"],
        ),
        (
            "@hookimpl\ndef evaluated(stepp): ...",
            ["evaluated: it is given no argument 'stepp'. Did you mean 'step'?"],
        ),
        ("@hookimpl\ndef register_masks(context): ...", ["(the hook takes none)"]),
        ("@hookimpl\ndef evaluated(*all): ...", ["evaluated takes '*all': name plain arguments"]),
        ("@hookimpl\ndef evaluated(**all): ...", ["evaluated takes '**all'"]),
        ("@hookimpl\ndef evaluated(*, step): ...", ["evaluated takes 'step': name plain"]),
        ("@hookimpl(tryfirst=True)\ndef register_masks(): ...", ["asks for tryfirst: hooks have"]),
        ("@hookimpl(trylast=True)\ndef register_masks(): ...", ["asks for trylast"]),
        ("@hookimpl(hookwrapper=True)\ndef register_masks(): yield", ["asks for hookwrapper"]),
        ("@hookimpl(wrapper=True)\ndef evaluated(): yield", ["asks for wrapper", "a generator"]),
        ("@hookimpl\ndef evaluated(): yield", ["is a generator, so its body would never run"]),
        ("@hookimpl\nasync def evaluated(): ...", ["evaluated is async: nobody awaits it"]),
        ("x = 1", ["it offers and watches nothing: mark a function with @hookimpl"]),
        (
            "@hookimpl\ndef register_mask(): ...\n@hookimpl\ndef evaluated(x=1): ...",
            ["evaluated has a default", "Did you mean 'register_masks'?"],
        ),
    ],
)  # fmt: skip
def test_hooks(text: str, expected: list[str]) -> None:
    problems = check_hooks(module(text))
    assert len(problems) == len(expected), problems
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


def test_what_is_fine_is_not_refused() -> None:
    text = """
from functools import wraps as register_wraps
@hookimpl
def register_masks(): yield from ()
@hookimpl
def evaluated(metrics, step): ...
@hookimpl(specname="checkpoint_saved")
def anything(path): ...
def _register_more(): ...
"""
    assert check_hooks(module(text)) == []
    for kind in KINDS:
        assert check_hooks(__import__(f"plugins.{kind}", fromlist=["x"])) == []


class Watcher:
    """A plugin as an object."""

    @property
    def broken(self) -> int:
        raise RuntimeError

    @hookimpl
    def evaluated(self, step: int) -> None:
        raise NotImplementedError


def test_objects() -> None:
    assert check_hooks(Watcher()) == []
    assert check_hooks(Watcher) == ["Watcher is a class; give an instance: Watcher()"]
    assert check_hooks(Watcher.evaluated) == [
        "evaluated is a function; give the module that it is in"
    ]
    assert "it offers and watches nothing" in check_hooks(object())[0]


# --- components -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Nested:
    x: int = 0


@dataclasses.dataclass(frozen=True)
class Fine:
    share: float
    count: int | None = None
    which: tuple[str, ...] = ()
    how: Literal["a", "b"] = "a"
    nested: Nested = dataclasses.field(default_factory=Nested)
    LIMIT = 3
    _hidden = 4


@dataclasses.dataclass
class Mutable:
    x: int = 0


@dataclasses.dataclass(frozen=True)
class Named:
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Bare:
    share = 0.5


@dataclasses.dataclass(frozen=True)
class Deep:
    inner: Mutable | None = None


@dataclasses.dataclass(frozen=True)
class Unreadable:
    x: Undefined = 0  # type: ignore[name-defined]  # noqa: F821


def typed(annotation: Any) -> type:
    return dataclasses.make_dataclass("Typed", [("x", annotation)], frozen=True)


def build(options: Any, context: Any) -> None:
    """Nothing."""


FINE = Component("fine", Fine, build, "does it")


def changed(**fields: Any) -> Any:
    return dataclasses.replace(FINE, **fields)


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (Fine, "register_masks must return components, got <class"),
        (Fine, "a class; wrap it, Component('name', Options, build, 'what it does')"),
        (build, "a function; wrap it, Component("),
        (3, "register_masks must return components, got 3"),
        (changed(name="RigL"), "a mask is called 'RigL': a name is lower-case letters"),
        (changed(name="a-b"), "a mask is called 'a-b'"),
        (changed(name="sp:b"), "a mask is called 'sp:b'"),
        (changed(name=None), "a mask is called None"),
        (changed(options=Fine(0.5)), "its options must be a frozen dataclass, got Fine("),
        (changed(options=Fine(0.5)), "; give the class: Fine"),
        (changed(options=Mutable), "write @dataclass(frozen=True) over Mutable"),
        (changed(options=int), "its options must be a frozen dataclass"),
        (changed(options=None), "its options must be a frozen dataclass, got None"),
        (changed(options=Named), "no option may be called 'name': in a preset it is taken"),
        (changed(options=Bare), "'share = 0.5' has no annotation and is no option; annotate it"),
        (changed(options=Deep), "option 'inner' is annotated"),
        (changed(options=Unreadable), "annotations of Unreadable cannot be read (name 'Undefined'"),
        (changed(options=typed(list[int])), "option 'x' is annotated list[int]; write int, float"),
        (changed(options=typed(dict[str, int])), "option 'x' is annotated dict[str, int]"),
        (changed(options=typed(Any)), "option 'x' is annotated typing.Any"),
        (changed(options=typed(Path)), "option 'x' is annotated"),
        (changed(options=typed(tuple[int, int])), "option 'x' is annotated tuple[int, int]"),
        (changed(options=typed(tuple[Path, ...])), "option 'x' is annotated"),
        (changed(build=None), "its build must be a function of options and context, got None"),
        (changed(build=lambda: None), "its build must take two arguments, the options and the"),
        (changed(build=lambda a, b, c: None), "its build must take two arguments"),
        (changed(needs="replay"), "needs must be a frozenset of words; write frozenset({'replay'})"),
        (changed(needs=set("replay")), "needs must be a frozenset of words"),
        (changed(provides="replay"), "provides must be a frozenset of words"),
        (changed(provides=frozenset({1})), "provides must be a frozenset of words"),
        (changed(provides=lambda options: frozenset()), "provides must be a frozenset of words"),
        (changed(summary="one\ntwo"), "its summary must be one line of text, got 'one\\ntwo'"),
        (changed(summary="  "), "its summary must be one line"),
        (changed(summary=None), "its summary must be one line"),
        (changed(instead="do"), "instead must be a mapping"),
    ],
)  # fmt: skip
def test_components(offer: Any, expected: str) -> None:
    (problem,) = check_offer("masks", offer)
    assert expected in problem


def test_components_that_are_fine() -> None:
    assert check_offer("masks", FINE) == []
    assert check_offer("masks", changed(build=functools.partial(lambda x, o, c: x, 1))) == []
    assert check_offer("masks", changed(build=dict.get)) == []
    assert check_offer("masks", changed(needs=lambda options: frozenset())) == []
    assert check_offer("commands", changed(name="a-b")) == []
    plugins = Plugins()
    plugins.load_built_ins()
    for kind in KINDS:
        for component in plugins.components(kind):
            assert check_offer(kind, component) == []


def test_names_that_presets_need_for_themselves() -> None:
    counted = dataclasses.make_dataclass("Counted", [("count", int)], frozen=True)
    assert check_offer("masks", changed(options=counted)) == []
    (problem,) = check_offer("environments", changed(options=counted))
    assert "no option may be called 'count'" in problem
    (problem,) = check_offer("diagnostics", changed(name="all"))
    assert "in a preset it stands for all" in problem


# --- what hooks answer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "register_masks returned nothing; end it with 'return [Component(...)]'"),
        (FINE, "register_masks must return a list of components; write [Component(...)]"),
        ("text", "register_masks must return components, got 'text'"),
        ({"fine": FINE}, "register_masks must return components, got {"),
        (7, "register_masks must return components, got 7"),
        ([FINE, FINE], "register_masks offers 'fine' 2 times"),
        ([], "it offers and watches nothing"),
    ],
)
def test_answers(answer: Any, expected: str) -> None:
    plugin = types.SimpleNamespace(register_masks=hookimpl(lambda: answer))
    plugins = Plugins()
    with pytest.raises(PluginError) as caught:
        plugins.load_object(plugin, Provider("mine", "1", "mine"))
    assert expected in str(caught.value)
    assert plugins.providers == []
    assert plugins.components("masks") == []


def test_nothing_half_registered_stays() -> None:
    told: list[int] = []

    def note(step: int) -> None:
        told.append(step)

    def late() -> Any:
        yield FINE
        raise OSError("half-way")

    plugin = types.SimpleNamespace(
        register_losses=hookimpl(lambda: [FINE]),
        register_execution=hookimpl(lambda: [FINE]),
        register_masks=hookimpl(late),
        evaluated=hookimpl(note),
    )
    plugins = Plugins()
    with pytest.raises(OSError, match="half-way"):
        plugins.load_object(plugin, Provider("mine", "1", "mine"))
    assert plugins.providers == []
    assert all(plugins.components(kind) == [] for kind in KINDS)
    plugins.tell("evaluated", run=None, step=1, metrics={})
    assert told == []
    plugin.register_masks = hookimpl(lambda: [FINE])  # mended, it can be loaded after all
    plugins.load_object(plugin, Provider("mine", "1", "mine"))
    assert plugins.find("masks", "fine")


def test_twice_is_refused() -> None:
    plugin = types.SimpleNamespace(register_masks=hookimpl(lambda: [FINE]))
    plugins = Plugins()
    plugins.load_object(plugin, Provider("mine", "1", "mine"))
    for source in ("mine", "other"):
        with pytest.raises(PluginError, match="it is loaded already"):
            plugins.load_object(plugin, Provider("mine", "1", source))
    assert plugins.find("masks", "fine")


def test_for_a_while() -> None:
    plugin = types.SimpleNamespace(
        register_masks=hookimpl(lambda: [FINE]), evaluated=hookimpl(lambda step: 1 / 0)
    )
    plugins = Plugins()
    plugins.load_built_ins()
    before = plugins.providers
    for _ in range(2):
        with plugins.temporary(plugin, name="mine", version="7") as provider:
            assert plugins.find("masks", "fine").provider == provider
            assert str(provider) == "mine 7"
            with pytest.warns(UserWarning, match="plugin mine 7 .* failed in evaluated"):
                plugins.tell("evaluated", run=None, step=1, metrics={})
        assert plugins.providers == before
        with pytest.raises(LookupError):
            plugins.find("masks", "fine")


def test_a_file_that_is_refused_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEADER + "@hookimpl\ndef register_mask(): ...\n@hookimpl\ndef evaluatd(): ...")
    with pytest.raises(UserError) as caught:
        load_plugins([path])
    assert str(caught.value).splitlines() == [
        f"--plugin mine.py {caught.value.args[0].split()[2]} ({path}): "
        "no hook is called 'evaluatd'. Did you mean 'evaluated'?",
        "    no hook is called 'register_mask'. Did you mean 'register_masks'?",
    ]
    rows = load_plugins([path], forgiving=True).broken
    assert [row.provider.distribution for row in rows] == ["mine.py"]


def test_the_page_about_it_quotes_what_is_said() -> None:
    """Every message in the table of ``docs/how-to/debug-a-plugin.md`` is one of these."""
    said = [text for case in cases(test_hooks) for text in check_hooks(module(case[0]))]
    said += [text for case in cases(test_components) for text in check_offer("masks", case[0])]
    said += [case[1] for case in cases(test_answers)]
    said += [*check_hooks(Watcher), *check_hooks(build), "it is loaded already"]
    said += check_offer("masks", changed(name="RigL"))
    everything = "\n".join(said).replace("Watcher", "Mine").replace("'fine'", "'foo'")
    everything = everything.replace("of Unreadable", "of Options")
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "debug-a-plugin.md").read_text()
    quoted = re.findall(r"^\| `(.+?)` \|", page, flags=re.MULTILINE)
    assert len(quoted) > 20
    for message in quoted:
        assert message.removesuffix(" ...>`").removesuffix("...>") in everything, message


def cases(test: Any) -> Any:
    return test.pytestmark[0].args[1]
