"""What holds for every component, whatever its kind; the other suites add to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from core.api.component import AnyComponent
from core.api.errors import UserError, did_you_mean
from core.plugins import Plugins
from core.plugins.validation import PluginError
from plugins.testing.harness import catalogue as offered
from plugins.testing.harness import newprocess
from plugins.testing.harness.options import options_of


class ComponentSuite:
    """Checks of one component; a plugin's tests subclass the suite of its kind.

    Every check is a method ``test_...`` without arguments, so that it runs with pytest and
    without. What a kind's suite has to know besides is in class attributes of its own.
    """

    kind: ClassVar[str] = ""
    """As in :data:`core.api.hookspecs.KINDS`; set by the suite of a kind."""
    component: ClassVar[str] = ""
    """The component's name, or ``distribution:name`` where several offer it."""
    options: ClassVar[Mapping[str, Any]] = {}
    """What a preset would write beside the name; the defaults otherwise."""
    refused: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Options, each set added to ``options``, that are to be refused: values out of range."""
    plugin: ClassVar[Any] = None
    """Where the component comes from. None: what is installed, by entry points; else a path to a
    ``.py`` file, a module, a module's name, or an object with hook implementations."""
    capabilities: ClassVar[Mapping[str, bool]] = {}
    """Yes or no to what the suite asks (``switches``); the suite's defaults otherwise."""
    switches: ClassVar[Mapping[str, bool]] = {}
    """What ``capabilities`` may name, with defaults; set by the suite of a kind."""

    # --- for suites ---------------------------------------------------------------------

    @property
    def plugins(self) -> Plugins:
        """Everything on offer, built-ins included."""
        return offered.catalogue(self.plugin)

    @property
    def found(self) -> AnyComponent:
        """The component that is checked."""
        return self.plugins.find(self.kind, self.component)

    @property
    def needs(self) -> frozenset[str]:
        """What the component says that it needs, with these options."""
        needs = self.found.needs
        stated: frozenset[str] = needs(self.made_options()) if callable(needs) else needs
        return stated

    def made_options(self, **changed: Any) -> Any:
        """Its options as a preset gives them, some ``changed``."""
        return offered.options_of(self.found, self.kind, {**self.options, **changed})

    def context(self) -> Any:
        """What it is built from; each kind's suite has its own."""
        raise NotImplementedError

    def build(self, **changed: Any) -> Any:
        """The component, built anew, with some options ``changed``."""
        return self.found.build(self.made_options(**changed), self.context())

    def capable(self, capability: str) -> bool:
        """What ``capabilities`` says, or the suite's default."""
        return self.capabilities.get(capability, self.switches[capability])

    def require(self, capability: str) -> None:
        """Skip the check unless the component says that it is capable."""
        if not self.capable(capability):
            raise SkipTest(f"{self.component}: capabilities say no to '{capability}'")

    @staticmethod
    def skip(reason: str) -> None:
        """Skip the check."""
        raise SkipTest(reason)

    def setup_method(self) -> None:
        """One thread, as pytest and :func:`run_checks` call it before each check: many operations
        on small tensors take several times as long on more."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch, where it is not imported yet
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    # --- checks -------------------------------------------------------------------------

    def test_is_found_by_its_name(self) -> None:
        assert self.component, f"{type(self).__name__}: set component = 'the name in presets'"
        try:
            assert self.found.provider is not None
        except (LookupError, UserError, PluginError) as error:
            hook = f"an '@hookimpl def register_{self.kind}()'"
            told = f"return it from {hook}; name the plugin in an entry point or in 'plugin'"
            raise AssertionError(f"{error}\n{told}") from None
        for name in self.capabilities:
            assert name in self.switches, (
                f"{type(self).__name__}.capabilities: there is no '{name}'."
                f"{did_you_mean(name, self.switches)} Choose from: {', '.join(self.switches)}"
            )

    def test_options_are_documented(self) -> None:
        found = options_of(self.found.options)
        missing = [o.name for o in found if not o.text and not o.is_mapping]
        assert not missing, (
            f"write a docstring under each option (meaning, unit, range, source), in triple "
            f"quotes on the next line; missing: {', '.join(missing)}"
        )

    def test_options_are_accepted(self) -> None:
        try:
            self.made_options()
        except UserError as error:
            raise AssertionError(f"mend 'options' of {type(self).__name__}: {error}") from None
        words = isinstance(self.needs, frozenset) and all(isinstance(n, str) for n in self.needs)
        assert words, f"'needs' is to answer with a frozenset of words, got {self.needs!r}"

    def test_values_out_of_range_are_refused(self) -> None:
        if not self.refused:
            self.skip(f"{type(self).__name__}: list options out of range in 'refused'")
        for wrong in self.refused:
            refusal = self._refusal(wrong)
            assert refusal is not None, (
                f"{dict(wrong)} is accepted; check it in __post_init__ with core.api.require"
            )
            assert any(name in refusal for name in wrong), (
                f"the error for {dict(wrong)} is to name the option: {refusal}"
            )

    def _refusal(self, wrong: Mapping[str, Any]) -> str | None:
        """What the user is told of these options; None if they are taken."""
        try:
            self.made_options(**wrong)
        except UserError as error:
            return str(error)
        except Exception as error:
            raise AssertionError(
                f"{dict(wrong)} raises {type(error).__name__} ({error}); check it in "
                "__post_init__ with core.api.require"
            ) from error
        return None

    def test_importing_the_plugin_brings_no_heavy_library(self) -> None:
        where = newprocess.importable(self.plugins, self.found)
        if where is None:
            self.skip("the plugin is an object that no other process can import")
        heavy = newprocess.heavy(str(where))
        assert not heavy, (
            f"importing the plugin imports {', '.join(heavy)}, which makes every listing "
            f"slow; import it within the build function, or under TYPE_CHECKING"
        )

    def test_builds_share_no_state(self) -> None:
        found = list(shared(self.build(), self.build()))
        assert not found, (
            f"two builds with the same options share {', '.join(found)}; make it anew in the "
            "build function or in __init__"
        )


def shared(first: Any, second: Any) -> Iterator[str]:
    """Attributes by which two objects could change each other, and the object if it is one.

    An empty container that stands in the class is for all its objects together.
    """
    if first is second:
        if _holds(first) or getattr(first, "__dict__", None):
            yield f"the object itself ({type(first).__name__})"
        return
    for name, value in vars(first).items() if hasattr(first, "__dict__") else ():
        if value is getattr(second, name, None) and _holds(value):
            yield name
    for base in type(first).__mro__:
        for name, value in vars(base).items():
            if isinstance(value, list | dict | set) and not value and not name.startswith("__"):
                yield f"{base.__name__}.{name}"


def _holds(value: Any) -> bool:
    """Whether ``value`` is a container, a tensor, an array, a module or a generator."""
    kinds: list[type] = [list, dict, set, bytearray]
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None:
        kinds += [torch.Tensor, torch.nn.Module, torch.Generator]
    if numpy is not None:
        kinds += [numpy.ndarray, numpy.random.Generator]
    return isinstance(value, tuple(kinds))
