"""Sphinx: ``sphinx-build -W -n docs docs/_build``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from core import __version__

project = "Openwork"
author = "The Openwork authors"
project_copyright = "The Openwork authors, MIT licence"
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
highlight_language = "none"

html_theme = "furo"
html_title = "Openwork"
html_copy_source = False
html_show_sphinx = False
