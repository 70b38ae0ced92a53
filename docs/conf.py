"""Sphinx: ``sphinx-build -W -n docs docs/_build``. Pages made from the code are written first."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import generate

from core import __version__

generate.write()

project = "Openwork"
author = "The Openwork authors"
project_copyright = "The Openwork authors, MIT licence"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "reference/generated/capabilities.md"]
highlight_language = "none"

add_module_names = False
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
nitpick_ignore_regex = [("py:.*", ".*")]
"""Types of torch and TorchRL, whose pages are not linked to, and names of core's own modules."""


def without_signature(_: Any, what: str, *about: Any) -> tuple[str, str] | None:
    """Of a class its name alone: fields follow, and nobody calls a protocol."""
    *_, arguments, _ = about
    return ("", "") if what == "class" and arguments else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", without_signature)


html_theme = "furo"
html_title = "Openwork"
html_copy_source = False
html_show_sphinx = False
