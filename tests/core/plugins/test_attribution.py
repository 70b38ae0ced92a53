"""Whose fault an error is, by where it was raised."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.api.component import Component, Provider
from core.api.errors import UserError, accuse
from core.api.hookspecs import hookimpl
from core.plugins import Plugins, load_plugins
from core.plugins.attribution import blame, blamed, find, verdict
from tests.support.installations import install, offering, on_path

RAISE = "def fail(inner=None):\n    return inner() if inner else 1 / 0\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "site"
    path.mkdir()
    with on_path(path):
        yield path


def raised(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        function()
    return caught.value


def module_of(name: str) -> Any:
    return __import__(name, fromlist=["x"])


@pytest.mark.parametrize(
    ("files", "point", "where", "shown"),
    [
        ({"sp_one.py": RAISE}, "sp_one", "sp_one", "sp_one.py:"),
        ({"sp_two/__init__.py": RAISE}, "sp_two", "sp_two", "sp_two/__init__.py:"),
        (
            {"sp_tri/__init__.py": "", "sp_tri/a.py": "", "sp_tri/b/deep.py": RAISE},
            *("sp_tri.a", "sp_tri.b.deep", "sp_tri/b/deep.py:"),
        ),
        (
            {"company/sp_four/__init__.py": "", "company/sp_four/a.py": RAISE},
            *("company.sp_four", "company.sp_four.a", "sp_four/a.py:"),
        ),
        ({"sp_front.py": "", "sp_back.py": RAISE}, "sp_front", "sp_back", "sp_back.py:"),
    ],
)  # fmt: skip
def test_where_distributions_have_their_code(
    site: Path, files: dict[str, str], point: str, where: str, shown: str
) -> None:
    (entry,) = [
        f
        for f in files
        if f.removesuffix(".py").removesuffix("/__init__") == point.replace(".", "/")
    ]
    files = {**files, entry: files[entry] + offering("foo")}
    install(site, "sp-x", "1.2", {"x": point}, files)
    (site / "bystander.py").write_text(RAISE)
    plugins = load_plugins()
    assert plugins.broken == []
    error = raised(module_of(where).fail)
    assert str(blame(error, plugins)) == "sp-x 1.2"
    assert f"plugin sp-x 1.2 ({shown}" in verdict(error, plugins)
    assert blame(raised(module_of("bystander").fail), plugins) is None


def test_the_innermost_plugin_is_blamed(site: Path) -> None:
    for name in ("sp_in", "sp_out"):
        install(site, name, points={"x": name}, modules={f"{name}.py": RAISE + offering(name)})
    plugins = load_plugins()
    inner, outer = module_of("sp_in").fail, module_of("sp_out").fail
    assert str(blame(raised(lambda: outer(inner)), plugins)) == "sp_in 1.0"
    assert str(blame(raised(lambda: inner(outer)), plugins)) == "sp_out 1.0"


def test_a_built_in_is_blamed_only_if_no_other_had_a_part(site: Path) -> None:
    install(site, "sp-x", points={"x": "sp_x"}, modules={"sp_x.py": RAISE + offering("x")})
    plugins = load_plugins()

    def build() -> Any:
        return plugins.find("networks", "mlp").build(None, None)

    alone = raised(build)
    assert str(blame(alone, plugins)).startswith("openwork ")
    assert "this was openwork " in verdict(alone, plugins)
    assert "(plugins/networks/mlp.py:" in verdict(alone, plugins)
    asked = raised(lambda: module_of("sp_x").fail(build))
    assert str(blame(asked, plugins)) == "sp-x 1.0"


def test_an_error_that_came_of_another(site: Path) -> None:
    install(site, "sp-x", points={"x": "sp_x"}, modules={"sp_x.py": RAISE + offering("x")})
    plugins = load_plugins()
    fail = module_of("sp_x").fail

    def because() -> None:
        try:
            fail()
        except ZeroDivisionError as error:
            raise ValueError from error

    def hiding() -> None:
        try:
            fail()
        except ZeroDivisionError:
            raise ValueError from None

    for function in (because, hiding):
        assert str(blame(raised(function), plugins)) == "sp-x 1.0"
    circle = ValueError()
    circle.__context__ = KeyError()
    circle.__context__.__context__ = circle
    assert blame(circle, plugins) is None


class Scheme:
    """Of this module."""

    @hookimpl
    def evaluated(self, step: int) -> None:
        """Nothing."""


def test_who_was_asked_is_blamed_where_no_line_tells() -> None:
    plugins = Plugins()
    provider = Provider("mine", "0", "mine")
    assert blame(accuse(ValueError(), Scheme()), plugins) is None
    plugins.load_object(Scheme(), provider)
    assert blame(accuse(ValueError(), Scheme()), plugins) == provider
    assert blame(accuse(ValueError(), provider), Plugins()) == provider
    first = accuse(accuse(ValueError(), provider), Provider("other", "0", "other"))
    assert blame(first, Plugins()) == provider, "who was asked last knows less"
    # of an object, its own module alone: what else the package holds is not the plugin's
    assert blame(raised(lambda: Path("/nowhere").read_text()), plugins) == provider


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Stands in for a selection."""

    title: str
    component: Any


def test_components_are_named_that_a_run_has_of_the_plugin(site: Path) -> None:
    two = {"sp_x/__init__.py": "from sp_x.a import *", "sp_x/a.py": RAISE + offering("x", "y")}
    two["sp_x/b.py"] = "def build(options, context): 1 / 0"
    install(site, "sp-x", points={"x": "sp_x"}, modules=two)
    plugins = load_plugins()
    error = raised(module_of("sp_x.a").fail)
    found = find(error, plugins)
    assert found is not None
    mine = plugins.find("masks", "x")
    other: Component[Any, Any, Any] = dataclasses.replace(
        mine, name="z", build=module_of("sp_x.b").build
    )
    foreign = plugins.find("masks", "uniform")
    x, y, z = (Chosen(f"mask '{c.name}' (w)", c) for c in (mine, plugins.find("masks", "y"), other))
    own = Chosen("mask 'uniform' (o)", foreign)
    assert found.component([own, x]) == ", mask 'x'"
    assert found.component([own]) == ""
    assert found.component([x, y, z]) == ", mask 'x' or mask 'y'"
    assert found.component([z]) == ", mask 'z'"


def test_notes_are_added_once_and_mistakes_of_built_ins_need_none() -> None:
    plugins = Plugins()
    plugins.load_object(
        types.SimpleNamespace(evaluated=hookimpl(lambda step: 1)), Provider("m", "0", "m")
    )

    def fail(error: BaseException, more: str) -> BaseException:
        def function() -> None:
            with blamed(plugins, more=lambda: "outer"), blamed(plugins, more=lambda: more):
                raise error

        return raised(function)

    assert fail(ValueError(), "inner").__notes__ == ["openwork: inner"]
    assert fail(KeyboardInterrupt(), "inner").__notes__ == ["openwork: inner"]
    assert isinstance(fail(SystemExit(2), "x"), RuntimeError)
    plugins = Plugins()
    plugins.load_built_ins()
    openwork = plugins.providers[0]
    mistake = accuse(UserError("of a built-in"), openwork)
    assert verdict(mistake, plugins) == ""
    assert verdict(mistake, plugins, (), "more").endswith("; more")
